// abbnn_signed_sum.v : sums of values, each taken as it is or inverted as a weight bit says
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// For each of PE outputs, LATENCY = max(1, clog2(SIMD)) enabled clock edges later, one result a cycle:
//
//   sum = sum over SIMD lanes of (weight ? value : ~value), signed, in DATA_WIDTH + LATENCY bits
//
// ~value is -value - 1: who wants -value adds the number of zero weights (`abbnn_sum_array` has it in its bias).
// Lane n's value is values[n * DATA_WIDTH +: DATA_WIDTH], its weight for output p is weights[p * SIMD + n]; sum p is
// sums[p * (DATA_WIDTH + LATENCY) +: DATA_WIDTH + LATENCY].
//
// A balanced tree of adders with a register behind every level. With ABBNN_WIDE_SUM, for interpreting simulators, the
// lanes of an output are fields of one wide vector instead, which is added to itself shifted, and the registers follow:
// tens of times faster in Icarus.
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

// LEAVES leaves, of which SIMD are values and the others 0.
localparam integer LEAVES = 1 << LEVELS;

`ifdef ABBNN_WIDE_SUM

// All lanes of all outputs side by side in one vector, a field of FIELD bits each, LEAVES fields an output; fields never
// carry into each other. Values are made unsigned by turning their sign bit over, which adds 2**(DATA_WIDTH - 1) to each.
// Icarus works on whole words at &, |, ~, +, - and shifts, but bit by bit at ^.
localparam integer SPREAD = (SIMD > TREE_WIDTH - 1) ? SIMD : TREE_WIDTH - 1;
localparam integer FIELD = SPREAD + 1;
localparam integer ROW = LEAVES * FIELD;
localparam [TREE_WIDTH+31:0] LANES = {{TREE_WIDTH{1'b0}}, SIMD};
localparam [TREE_WIDTH+31:0] LANES_OFFSET = LANES << (DATA_WIDTH - 1);
localparam [TREE_WIDTH-1:0] OFFSET = LANES_OFFSET[TREE_WIDTH-1:0];
// Bit 0 of the fields of all values; bit n of the n-th of LEAVES copies of a SPREAD-bit vector is the same place.
localparam [ROW+SIMD*FIELD-1:0] WIDE_UNITS = {{ROW{1'b0}}, {SIMD{{SPREAD{1'b0}}, 1'b1}}};
localparam [ROW-1:0] UNITS = WIDE_UNITS[ROW-1:0];

reg [PE*ROW-1:0]               plain;     // the values of every field
reg [PE*ROW-1:0]               inverted;  // and their complements
reg [PE*TREE_WIDTH-1:0]        next;
reg [LEVELS*PE*TREE_WIDTH-1:0] sums_reg;

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
    reg [PE*ROW-1:0] total;
    row_weights = {SPREAD{1'b0}};
    for (p = 0; p < PE; p = p + 1) begin
        row_weights[SIMD-1:0] = weights[p*SIMD +: SIMD];
        kept[p*ROW +: ROW] = {{LEAVES{1'b0}}, {LEAVES{row_weights}}} & UNITS;
    end
    // From a 1 in each field with weight 1 to DATA_WIDTH ones.
    kept = (kept << DATA_WIDTH) - kept;
    total = (plain & kept) | (inverted & ~kept);
    for (level = 0; level < LEVELS; level = level + 1) begin
        total = total + (total >> (FIELD << level));
    end
    for (p = 0; p < PE; p = p + 1) begin
        next[p*TREE_WIDTH +: TREE_WIDTH] = total[p*ROW +: TREE_WIDTH] - OFFSET;
    end
end

generate
    if (LEVELS == 1) begin : gen_one_register
        always @(posedge clk) begin
            if (enable) begin
                sums_reg <= next;
            end
        end
    end else begin : gen_registers
        always @(posedge clk) begin
            if (enable) begin
                sums_reg <= {sums_reg[(LEVELS-1)*PE*TREE_WIDTH-1:0], next};
            end
        end
    end
endgenerate

assign sums = sums_reg[(LEVELS-1)*PE*TREE_WIDTH +: PE*TREE_WIDTH];

`else

genvar p;
genvar level;
genvar n;

generate
    for (p = 0; p < PE; p = p + 1) begin : gen_pe
        // A heap: node n is the sum of nodes 2n and 2n + 1, the root is node 1, the leaves are LEAVES and up. A node
        // that is `level` levels above the leaves has DATA_WIDTH + level bits of its own.
        wire [TREE_WIDTH-1:0] node [1:2*LEAVES-1];

        for (n = 0; n < LEAVES; n = n + 1) begin : gen_leaf
            if (n < SIMD) begin : gen_value
                wire [DATA_WIDTH-1:0] value = values[n*DATA_WIDTH +: DATA_WIDTH] ^ {DATA_WIDTH{!weights[p*SIMD+n]}};

                assign node[LEAVES+n] = {{LEVELS{value[DATA_WIDTH-1]}}, value};
            end else begin : gen_zero
                assign node[LEAVES+n] = {TREE_WIDTH{1'b0}};
            end
        end

        for (level = 1; level <= LEVELS; level = level + 1) begin : gen_level
            for (n = LEAVES >> level; n < (2 * LEAVES) >> level; n = n + 1) begin : gen_node
                if (((n << level) - LEAVES) < SIMD) begin : gen_sum
                    reg [DATA_WIDTH+level-1:0] sum_reg;

                    always @(posedge clk) begin
                        if (enable) begin
                            sum_reg <= node[2*n][DATA_WIDTH+level-1:0] + node[2*n+1][DATA_WIDTH+level-1:0];
                        end
                    end

                    assign node[n] = {{LEVELS-level+1{sum_reg[DATA_WIDTH+level-1]}}, sum_reg[DATA_WIDTH+level-2:0]};
                end else begin : gen_zero
                    assign node[n] = {TREE_WIDTH{1'b0}};
                end
            end
        end

        assign sums[p*TREE_WIDTH +: TREE_WIDTH] = node[1];
    end
endgenerate

`endif

endmodule

`resetall
