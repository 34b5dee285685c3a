// abbnn_signed_sum.v : sums of values, each added or subtracted as a weight bit says
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// For each of PE outputs, LATENCY = 1 + max(1, clog2(SIMD)) enabled clock edges later, one result a cycle:
//
//   sum = sum over SIMD lanes of (weight ? value : -value) - number of zero weights of the lanes 1, 3, 5, ... and SIMD - 1
//
// signed, in DATA_WIDTH + clog2(SIMD) bits (one more for SIMD = 1): who wants the sum alone adds this number
// (`abbnn_sum_array` has it in its bias). Lane n's value is values[n * DATA_WIDTH +: DATA_WIDTH], its weight for output p is
// weights[p * SIMD + n]; sum p is sums[p * TREE_WIDTH +: TREE_WIDTH].
//
// Registers: the values and weights, with the sums and differences of pairs of lanes where more than two outputs share
// them; then one adder at each level. yosys -p "read_verilog rtl/nn/abbnn_signed_sum.v; chparam -set PE 32 -set SIMD 27 -set
// DATA_WIDTH 9 abbnn_signed_sum; synth_xilinx -flatten -noiopad -top abbnn_signed_sum; stat" with Yosys 0.23: 5,894
// LUT (184 an output), 233 SRL16E, 7,412 FF.
//
// Two forms for simulation compute the same. ABBNN_WIDE_SUM, for interpreting simulators: the lanes of an output are fields
// of one wide vector, which is added to itself shifted; tens of times faster in Icarus. ABBNN_TABLE_SUM, for compiling
// ones: a table of the 16 sums of every four lanes, made once a cycle, in which every output looks up its own; six times
// faster in Verilator.
module abbnn_signed_sum #(
    // Outputs, at least 1.
    parameter integer PE = 1,
    // Values, at least 1.
    parameter integer SIMD = 4,
    // Bits of a value, at least 2.
    parameter integer DATA_WIDTH = 16,
    // Bits of a sum: derived, leave it alone.
    parameter integer TREE_WIDTH = DATA_WIDTH + ((SIMD > 1) ? $clog2(SIMD) : 1)
) (
    input  wire                       clk,
    // Clock enable of all registers.
    input  wire                       enable,
    input  wire [SIMD*DATA_WIDTH-1:0] values,
    input  wire [PE*SIMD-1:0]         weights,
    output wire [PE*TREE_WIDTH-1:0]   sums
);

generate
    if (PE < 1) begin : gen_check_pe
        PE_must_be_at_least_1 param_error ();
    end
    if (SIMD < 1) begin : gen_check_simd
        SIMD_must_be_at_least_1 param_error ();
    end
    if (DATA_WIDTH < 2) begin : gen_check_data_width
        DATA_WIDTH_must_be_at_least_2 param_error ();
    end
    if (TREE_WIDTH != DATA_WIDTH + ((SIMD > 1) ? $clog2(SIMD) : 1)) begin : gen_check_tree_width
        TREE_WIDTH_is_derived_and_must_not_be_set param_error ();
    end
endgenerate

localparam integer LEVELS = (SIMD > 1) ? $clog2(SIMD) : 1;

`ifdef ABBNN_WIDE_SUM

// All lanes of all outputs side by side in one vector, a field of FIELD bits each, LEAVES fields an output; fields never
// carry into each other. Values are made unsigned by turning their sign bit over, which adds 2**(DATA_WIDTH - 1) to each.
// Icarus works on whole words at &, |, ~, +, - and shifts, but bit by bit at ^.
localparam integer SPREAD = (SIMD > TREE_WIDTH - 1) ? SIMD : TREE_WIDTH - 1;
localparam integer FIELD = SPREAD + 1;
localparam integer LEAVES = 1 << LEVELS;
localparam integer ROW = LEAVES * FIELD;
localparam [TREE_WIDTH+31:0] LANES = {{TREE_WIDTH{1'b0}}, SIMD};
localparam [TREE_WIDTH+31:0] LANES_OFFSET = LANES << (DATA_WIDTH - 1);
localparam [TREE_WIDTH-1:0] OFFSET = LANES_OFFSET[TREE_WIDTH-1:0];
// Bit 0 of the fields of all values; bit n of the n-th of LEAVES copies of a SPREAD-bit vector is the same place.
localparam [ROW+SIMD*FIELD-1:0] WIDE_UNITS = {{ROW{1'b0}}, {SIMD{{SPREAD{1'b0}}, 1'b1}}};
localparam [ROW-1:0] UNITS = WIDE_UNITS[ROW-1:0];
// The same for the lanes 0, 2, 4, ... but SIMD - 1.
localparam [ROW-1:0] EVEN_UNITS = {LEAVES/2{{2*FIELD-1{1'b0}}, 1'b1}} & (UNITS >> FIELD);

reg [PE*TREE_WIDTH-1:0]            next;
reg [(LEVELS+1)*PE*TREE_WIDTH-1:0] sums_reg;

always @(posedge clk) begin
    if (enable) begin
        sums_reg <= {sums_reg[LEVELS*PE*TREE_WIDTH-1:0], next};
    end
end

assign sums = sums_reg[LEVELS*PE*TREE_WIDTH +: PE*TREE_WIDTH];

reg [PE*ROW-1:0] plain;     // the values of every field
reg [PE*ROW-1:0] inverted;  // and their complements

always @* begin : spread_values
    integer n;
    reg [ROW-1:0] row;
    row = {ROW{1'b0}};
    for (n = 0; n < SIMD; n = n + 1) begin
        row[n*FIELD +: DATA_WIDTH] = values[n*DATA_WIDTH +: DATA_WIDTH] ^ {1'b1, {DATA_WIDTH-1{1'b0}}};
    end
    plain = {PE{row}};
    inverted = {PE{~row & ((UNITS << DATA_WIDTH) - UNITS)}};
end

always @* begin : add_fields
    integer p;
    integer level;
    reg [SPREAD-1:0] row_weights;
    reg [PE*ROW-1:0] kept;
    reg [PE*ROW-1:0] even;
    reg [PE*ROW-1:0] total;
    row_weights = {SPREAD{1'b0}};
    for (p = 0; p < PE; p = p + 1) begin
        row_weights[SIMD-1:0] = weights[p*SIMD +: SIMD];
        kept[p*ROW +: ROW] = {{LEAVES{1'b0}}, {LEAVES{row_weights}}} & UNITS;
    end
    even = {PE{EVEN_UNITS}} & ~kept;
    // From a 1 in each field with weight 1 to DATA_WIDTH ones.
    kept = (kept << DATA_WIDTH) - kept;
    total = ((plain & kept) | (inverted & ~kept)) + even;
    for (level = 0; level < LEVELS; level = level + 1) begin
        total = total + (total >> (FIELD << level));
    end
    for (p = 0; p < PE; p = p + 1) begin
        next[p*TREE_WIDTH +: TREE_WIDTH] = total[p*ROW +: TREE_WIDTH] - OFFSET;
    end
end

`else
`ifdef ABBNN_TABLE_SUM

reg [PE*TREE_WIDTH-1:0]            next;
reg [(LEVELS+1)*PE*TREE_WIDTH-1:0] sums_reg;

always @(posedge clk) begin
    if (enable) begin
        sums_reg <= {sums_reg[LEVELS*PE*TREE_WIDTH-1:0], next};
    end
end

assign sums = sums_reg[LEVELS*PE*TREE_WIDTH +: PE*TREE_WIDTH];

// The sums of the LANES lanes of a group for all their weights, 1 << LANES entries a group.
localparam integer LANES = 4;
localparam integer ENTRIES = 1 << LANES;
localparam integer GROUPS = (SIMD + LANES - 1) / LANES;

reg [TREE_WIDTH-1:0] entries [0:GROUPS*ENTRIES-1];

// Lane by lane: each entry so far is one with this lane's weight 0, and its copy one with weight 1. With a list of what it
// depends on, as @* would take in every entry.
always @(values or weights) begin : look_up
    integer n;
    integer k;
    integer base;
    integer p;
    reg [TREE_WIDTH-1:0]   value;
    reg [TREE_WIDTH-1:0]   counted;
    reg [GROUPS*LANES-1:0] row;
    reg [TREE_WIDTH-1:0]   total;
    for (n = 0; n < SIMD; n = n + 1) begin
        base = (n / LANES) * ENTRIES;
        if (n % LANES == 0) begin
            entries[base] = {TREE_WIDTH{1'b0}};
        end
        value = {{LEVELS{values[n*DATA_WIDTH+DATA_WIDTH-1]}}, values[n*DATA_WIDTH +: DATA_WIDTH]};
        counted = {{TREE_WIDTH-1{1'b0}}, n % 2 == 1 || n == SIMD - 1};
        for (k = 0; k < 1 << (n % LANES); k = k + 1) begin
            entries[base+(1<<(n%LANES))+k] = entries[base+k] + value;
            entries[base+k] = entries[base+k] - value - counted;
        end
    end
    row = {GROUPS*LANES{1'b0}};
    for (p = 0; p < PE; p = p + 1) begin
        row[SIMD-1:0] = weights[p*SIMD +: SIMD];
        total = {TREE_WIDTH{1'b0}};
        for (n = 0; n < GROUPS; n = n + 1) begin
            total = total + entries[n*ENTRIES+{{32-LANES{1'b0}}, row[n*LANES +: LANES]}];
        end
        next[p*TREE_WIDTH +: TREE_WIDTH] = total;
    end
end

`else

// How the lanes make an output: CHAINS chains, the fewest that hold all lanes, start with one lane each and take in one
// term at each of DEPTH levels; a tree of JOINS levels adds the chains up. The first lanes are terms of two, 2n and
// 2n + 1, whose sum and difference all outputs share. Chain c starts with lane START + c, and its level n adds term
// DEPTH * c + n. Where one lane is left, the last, it is a term by itself. Without sharing DEPTH is 0, every lane a chain.
localparam integer SHARE = (PE > 2) ? 1 : 0;
localparam integer DEPTH = (SHARE == 0) ? 0
                         : (LEVELS > 2 && ((1 << LEVELS) - (1 << (LEVELS - 3))) >= SIMD) ? 3
                         : (LEVELS > 1) ? 2 : 1;
localparam integer JOINS = LEVELS - DEPTH;
localparam integer LEAVES = 1 << JOINS;
localparam integer CHAINS = (SIMD + 2 * DEPTH) / (2 * DEPTH + 1);
localparam integer PAIRS = (SIMD - CHAINS) / 2;
localparam integer START = 2 * PAIRS;
localparam integer TERMS = (SIMD + 1 - CHAINS) / 2;
// Vectors of terms have one more, which is 0, so that there is always one.
localparam integer TERM_WIDTH = DATA_WIDTH + 1;

reg [SIMD*DATA_WIDTH-1:0] values_reg;
reg [PE*SIMD-1:0]         weights_reg;
wire                      unused_values = &{1'b0, values_reg};

always @(posedge clk) begin
    if (enable) begin
        values_reg  <= values;
        weights_reg <= weights;
    end
end

// Term t at the level that adds it: what is added or subtracted where its weights are equal, and where they differ.
wire [(TERMS+1)*TERM_WIDTH-1:0] equal_terms;
wire [(TERMS+1)*TERM_WIDTH-1:0] differ_terms;
wire                            unused_terms = &{1'b0, equal_terms, differ_terms};

assign equal_terms[TERMS*TERM_WIDTH +: TERM_WIDTH] = {TERM_WIDTH{1'b0}};
assign differ_terms[TERMS*TERM_WIDTH +: TERM_WIDTH] = {TERM_WIDTH{1'b0}};

genvar p;
genvar t;
genvar c;
genvar level;
genvar n;

generate
    for (t = 0; t < TERMS; t = t + 1) begin : gen_term
        localparam integer DELAY = t % DEPTH;
        localparam integer LANES = (t < PAIRS) ? 2 : 1;
        localparam integer FIRST = (t < PAIRS) ? 2 * t : SIMD - 1;

        wire [LANES*DATA_WIDTH-1:0] lanes [0:DELAY];
        reg  [TERM_WIDTH-1:0]       equal_reg;

        assign lanes[0] = values[FIRST*DATA_WIDTH +: LANES*DATA_WIDTH];

        for (n = 0; n < DELAY; n = n + 1) begin : gen_delay
            reg [LANES*DATA_WIDTH-1:0] lanes_reg;

            always @(posedge clk) begin
                if (enable) begin
                    lanes_reg <= lanes[n];
                end
            end

            assign lanes[n+1] = lanes_reg;
        end

        wire [DATA_WIDTH-1:0] low = lanes[DELAY][DATA_WIDTH-1:0];

        assign equal_terms[t*TERM_WIDTH +: TERM_WIDTH] = equal_reg;

        if (LANES == 2) begin : gen_pair
            wire [DATA_WIDTH-1:0] high = lanes[DELAY][DATA_WIDTH +: DATA_WIDTH];
            // low - high - 1: the bit below the value takes 1 more.
            wire [TERM_WIDTH:0]   difference = {low[DATA_WIDTH-1], low, 1'b0} - {high[DATA_WIDTH-1], high, 1'b1};
            wire                  unused_difference = &{1'b0, difference[0]};

            reg [TERM_WIDTH-1:0] differ_reg;

            always @(posedge clk) begin
                if (enable) begin
                    equal_reg  <= {low[DATA_WIDTH-1], low} + {high[DATA_WIDTH-1], high};
                    differ_reg <= difference[TERM_WIDTH:1];
                end
            end

            assign differ_terms[t*TERM_WIDTH +: TERM_WIDTH] = differ_reg;
        end else begin : gen_single
            always @(posedge clk) begin
                if (enable) begin
                    equal_reg <= {low[DATA_WIDTH-1], low};
                end
            end

            assign differ_terms[t*TERM_WIDTH +: TERM_WIDTH] = equal_reg;
        end
    end

    for (p = 0; p < PE; p = p + 1) begin : gen_pe
        // The weights of term t's first and last lane at the level that adds it.
        wire [TERMS:0] first;
        wire [TERMS:0] last;
        wire           unused_weights = &{1'b0, first, last};

        assign first[TERMS] = 1'b0;
        assign last[TERMS] = 1'b0;

        for (t = 0; t < TERMS; t = t + 1) begin : gen_term
            localparam integer DELAY = t % DEPTH;

            wire [1:0] pair [0:DELAY];

            assign pair[0] = (t < PAIRS) ? weights_reg[p*SIMD+2*t +: 2] : {2{weights_reg[p*SIMD+SIMD-1]}};

            for (n = 0; n < DELAY; n = n + 1) begin : gen_delay
                reg [1:0] pair_reg;

                always @(posedge clk) begin
                    if (enable) begin
                        pair_reg <= pair[n];
                    end
                end

                assign pair[n+1] = pair_reg;
            end

            assign {last[t], first[t]} = pair[DELAY];
        end

        // A heap: node n is made of nodes 2n and 2n + 1, the root is node 1, the chains' ends are LEAVES and up. A node
        // stands for minus ? ~node : node, so that of two operands only the second is inverted, which takes no LUT of
        // its own; minus is that of the node's first lane, and 0 for chain 0 and what holds it. a + b + carry is written
        // as {a, carry} - {~b, 1}: synthesis leaves the operands of a subtraction in their order. A carry of a's minus
        // takes back the -1 that ~a leaves out later.
        wire [TREE_WIDTH-1:0] node [1:2*LEAVES-1];
        wire [2*LEAVES-1:1]   minus;
        wire                  unused_minus = &{1'b0, minus};

        for (c = 0; c < LEAVES; c = c + 1) begin : gen_chain
            if (c < CHAINS) begin : gen_lanes
                localparam integer LANE = START + c;
                wire [DATA_WIDTH-1:0] value = values_reg[LANE*DATA_WIDTH +: DATA_WIDTH];
                wire                  weight = weights_reg[p*SIMD+LANE];
                wire [TREE_WIDTH-1:0] link [0:DEPTH];
                wire [DEPTH:0]        link_minus;

                if (c == 0) begin : gen_start
                    wire [DATA_WIDTH-1:0] start = value ^ {DATA_WIDTH{!weight}};

                    assign link[0] = {{LEVELS{start[DATA_WIDTH-1]}}, start};
                    assign link_minus[0] = 1'b0;
                end else begin : gen_start
                    assign link[0] = {{LEVELS{value[DATA_WIDTH-1]}}, value};
                    assign link_minus[0] = !weight;
                end

                for (n = 0; n < DEPTH; n = n + 1) begin : gen_link
                    localparam integer TERM = DEPTH * c + n;
                    localparam integer GROWTH = $clog2(2 * n + 3);
                    localparam integer WIDTH = (GROWTH < LEVELS) ? DATA_WIDTH + GROWTH : TREE_WIDTH;

                    reg [WIDTH-1:0] link_reg;

                    if (TERM < TERMS) begin : gen_add
                        wire                  equal = first[TERM] ~^ last[TERM];
                        wire [TERM_WIDTH-1:0] term = (equal ? equal_terms[TERM*TERM_WIDTH +: TERM_WIDTH]
                                                            : differ_terms[TERM*TERM_WIDTH +: TERM_WIDTH])
                                                     ^ {TERM_WIDTH{first[TERM] ^ link_minus[n]}};
                        // A first lane that is counted (odd or last) is so later; with chain 0 that has been done.
                        wire                  carry = (n > 0) ? link_minus[n]
                                                    : (LANE % 2 == 1 || LANE == SIMD - 1) == (c > 0) && !weight;
                        wire [WIDTH:0]        sum = {link[n][WIDTH-1:0], carry}
                                                    - {{WIDTH-DATA_WIDTH{term[DATA_WIDTH]}}, term[DATA_WIDTH-1:0], 1'b1};
                        wire                  unused_sum = &{1'b0, sum[0]};

                        always @(posedge clk) begin
                            if (enable) begin
                                link_reg <= sum[WIDTH:1];
                            end
                        end
                    end else begin : gen_pass
                        always @(posedge clk) begin
                            if (enable) begin
                                link_reg <= link[n][WIDTH-1:0];
                            end
                        end
                    end

                    assign link[n+1] = {{TREE_WIDTH-WIDTH+1{link_reg[WIDTH-1]}}, link_reg[WIDTH-2:0]};

                    if (c == 0) begin : gen_plus
                        assign link_minus[n+1] = 1'b0;
                    end else begin : gen_minus
                        reg minus_reg;

                        always @(posedge clk) begin
                            if (enable) begin
                                minus_reg <= link_minus[n];
                            end
                        end

                        assign link_minus[n+1] = minus_reg;
                    end
                end

                assign node[LEAVES+c] = link[DEPTH];
                assign minus[LEAVES+c] = link_minus[DEPTH];
            end else begin : gen_zero
                assign node[LEAVES+c] = {TREE_WIDTH{1'b0}};
                assign minus[LEAVES+c] = 1'b0;
            end
        end

        for (level = 1; level <= JOINS; level = level + 1) begin : gen_level
            for (n = LEAVES >> level; n < (2 * LEAVES) >> level; n = n + 1) begin : gen_node
                localparam integer GROWTH = $clog2((2 * DEPTH + 1) << level);
                localparam integer WIDTH = (GROWTH < LEVELS) ? DATA_WIDTH + GROWTH : TREE_WIDTH;
                // The node's first chain, and the first of its second operand.
                localparam integer CHAIN = (n << level) - LEAVES;
                localparam integer SECOND = CHAIN + (1 << (level - 1));

                if (CHAIN < CHAINS) begin : gen_join
                    reg [WIDTH-1:0] sum_reg;

                    if (SECOND < CHAINS) begin : gen_add
                        // Two lanes without a chain: the first is an even one.
                        wire             carry = (DEPTH > 0 || level > 1) ? minus[2*n]
                                               : CHAIN == 0 && !weights_reg[p*SIMD];
                        wire [WIDTH-1:0] second = node[2*n+1][WIDTH-1:0] ^ {WIDTH{minus[2*n] ~^ minus[2*n+1]}};
                        wire [WIDTH:0]   sum = {node[2*n][WIDTH-1:0], carry} - {second, 1'b1};
                        wire             unused_sum = &{1'b0, sum[0]};

                        always @(posedge clk) begin
                            if (enable) begin
                                sum_reg <= sum[WIDTH:1];
                            end
                        end
                    end else begin : gen_pass
                        always @(posedge clk) begin
                            if (enable) begin
                                sum_reg <= node[2*n][WIDTH-1:0];
                            end
                        end
                    end

                    assign node[n] = {{TREE_WIDTH-WIDTH+1{sum_reg[WIDTH-1]}}, sum_reg[WIDTH-2:0]};

                    if (CHAIN == 0) begin : gen_plus
                        assign minus[n] = 1'b0;
                    end else begin : gen_minus
                        reg minus_reg;

                        always @(posedge clk) begin
                            if (enable) begin
                                minus_reg <= minus[2*n];
                            end
                        end

                        assign minus[n] = minus_reg;
                    end
                end else begin : gen_zero
                    assign node[n] = {TREE_WIDTH{1'b0}};
                    assign minus[n] = 1'b0;
                end
            end
        end

        assign sums[p*TREE_WIDTH +: TREE_WIDTH] = node[1];
    end
endgenerate

`endif
`endif

endmodule

`resetall
