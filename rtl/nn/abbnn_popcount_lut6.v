// abbnn_popcount_lut6.v : number of agreeing bits of two vectors, coded for 6-input LUTs with carry chains
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// count = number of ones of a ~^ b, LATENCY enabled clock edges later, one result a cycle.
//
// A heap of bits, sorted into columns by weight, that every step makes smaller until each column has one bit:
//   - Level 0: of 11 XNORs, nine go in threes into a full adder (6 inputs, so two LUTs with the XNORs inside) and two are
//     bits of weight 1 themselves: the LUT that reads them holds their XNOR.
//   - Steps while a column is higher than ADDED_ROWS: counters. Five bits of a column and one of the next, at most 7, become three
//     bits of neighbouring columns by the addition of two words of 2 bits and a carry in: two LUTs and a carry chain, as
//     either LUT of the chain reads five bits, of which it counts three, beside the bit that enters the chain directly.
//   - Then steps that add rows of the heap in pairs.
// A register is behind LATENCY of the steps, evenly spread and one behind the last.
//
// The steps are planned by the function `plan` at elaboration. Which bits of a column meet does not matter.
module abbnn_popcount_lut6 #(
    // Bits of each operand, at least 1.
    parameter integer WIDTH = 288,
    // Registers, at least 1.
    parameter integer LATENCY = 3
) (
    input  wire                       clk,
    // Clock enable of all registers.
    input  wire                       enable,

    input  wire [WIDTH-1:0]           a,
    input  wire [WIDTH-1:0]           b,
    output wire [$clog2(WIDTH+1)-1:0] count
);

generate
    if (WIDTH < 1) begin : gen_check_width
        WIDTH_must_be_at_least_1 param_error ();
    end
    if (LATENCY < 1) begin : gen_check_latency
        LATENCY_must_be_at_least_1 param_error ();
    end
endgenerate

localparam integer COUNT_WIDTH = $clog2(WIDTH + 1);
localparam integer ADDED_ROWS = 8;

// XNORs that are bits of level 0, and full adders.
localparam integer SINGLES = 2 * (WIDTH / 11);
localparam integer TRIPLES = (WIDTH - SINGLES + 2) / 3;

// A level has COUNT_WIDTH columns, and three that stay empty: carries into them are always 0.
localparam integer COLUMNS = COUNT_WIDTH + 3;
localparam integer MAX_STEPS = COUNT_WIDTH + LATENCY + 2;
localparam integer ENTRIES = (MAX_STEPS + 1) * COLUMNS + 1;

// 32-bit numbers, the entry of a level's column at level * COLUMNS + column:
//   starts, ENTRIES of them from 0 up: first bit of the column in `heap`, where columns and levels follow one another;
//   counters, ENTRIES from COUNTERS up, two zeros before them: counters of this column;
//   rows, one a level, from ROWS up: height of the highest column;
//   steps, at PLAN_STEPS: after so many all columns have one bit.
localparam integer COUNTERS = ENTRIES + 2;
localparam integer ROWS = COUNTERS + ENTRIES;
localparam integer PLAN_STEPS = ROWS + MAX_STEPS + 1;

function [32*(PLAN_STEPS+1)-1:0] plan;
    input [31:0] triples;
    input [31:0] singles;
    integer level;
    integer column;
    integer row;
    integer low;
    integer high;
    integer rows;
    integer start;
    integer taken;
    integer free;
    integer counters;
    integer steps;
    reg [32*COLUMNS-1:0] heights;
    reg [32*COLUMNS-1:0] next;
    begin
        plan = 0;
        start = 0;
        steps = 0;
        heights = {32*COLUMNS{1'b0}};
        heights[31:0] = triples + singles;
        if (COUNT_WIDTH > 1) begin
            heights[63:32] = triples;
        end
        for (level = 0; level <= MAX_STEPS; level = level + 1) begin
            rows = 0;
            for (column = 0; column < COLUMNS; column = column + 1) begin
                plan[32*(level*COLUMNS+column) +: 32] = start;
                start = start + heights[32*column +: 32];
                if (heights[32*column +: 32] > rows) begin
                    rows = heights[32*column +: 32];
                end
            end
            plan[32*(ROWS+level) +: 32] = rows;
            if (rows > 1) begin
                steps = level + 1;
            end
            next = {32*COLUMNS{1'b0}};
            if (rows > ADDED_ROWS) begin
                taken = 0;
                for (column = 0; column < COUNT_WIDTH; column = column + 1) begin
                    free = heights[32*column +: 32] - taken;
                    counters = (free + 1) / 5;
                    plan[32*(COUNTERS+level*COLUMNS+column) +: 32] = counters;
                    if (free > 5 * counters) begin
                        next[32*column +: 32] = next[32*column +: 32] + free - 5 * counters;
                    end
                    next[32*column +: 32] = next[32*column +: 32] + counters;
                    next[32*(column+1) +: 32] = next[32*(column+1) +: 32] + counters;
                    next[32*(column+2) +: 32] = next[32*(column+2) +: 32] + counters;
                    taken = (counters < heights[32*(column+1) +: 32]) ? counters : heights[32*(column+1) +: 32];
                end
            end else begin
                for (row = 0; row < rows; row = row + 2) begin
                    low = COUNT_WIDTH;
                    high = 0;
                    for (column = 0; column < COUNT_WIDTH; column = column + 1) begin
                        if (heights[32*column +: 32] > row) begin
                            low = (low > column) ? column : low;
                            high = column + 1;
                        end
                    end
                    for (column = low; column <= high; column = column + 1) begin
                        next[32*column +: 32] = next[32*column +: 32] + 1;
                    end
                end
            end
            heights = {96'd0, next[32*COUNT_WIDTH-1:0]};
        end
        plan[32*(ENTRIES-1) +: 32] = start;
        plan[32*PLAN_STEPS +: 32] = steps;
    end
endfunction

localparam [32*(PLAN_STEPS+1)-1:0] PLAN = plan(TRIPLES, SINGLES);
localparam integer NEEDED = PLAN[32*PLAN_STEPS +: 32];
localparam integer STEPS = (NEEDED > LATENCY) ? NEEDED : LATENCY;
localparam integer BITS = PLAN[32*(STEPS+1)*COLUMNS +: 32];

// A level's bits as its step makes them, and behind the register that may be there.
wire [BITS-1:0] made;
wire [BITS-1:0] heap;

// Level 0. Bits that fill up the last full adder count 0.
wire [WIDTH-1:0]     agree = a ~^ b;
wire [3*TRIPLES-1:0] threes;
wire [TRIPLES-1:0]   three0 = threes[0 +: TRIPLES];
wire [TRIPLES-1:0]   three1 = threes[TRIPLES +: TRIPLES];
wire [TRIPLES-1:0]   three2 = threes[2*TRIPLES +: TRIPLES];
wire [TRIPLES-1:0]   threes_high = (three0 & three1) | (three0 & three2) | (three1 & three2);

genvar level;
genvar column;
genvar i;
generate
    if (3 * TRIPLES > WIDTH - SINGLES) begin : gen_fill
        assign threes = {{3 * TRIPLES - WIDTH + SINGLES{1'b0}}, agree[WIDTH-1:SINGLES]};
    end else begin : gen_full
        assign threes = agree[WIDTH-1:SINGLES];
    end
    // Counters read the lower bits of a column through their LUTs only.
    if (SINGLES > 0) begin : gen_singles
        assign made[SINGLES-1:0] = agree[SINGLES-1:0];
    end
    assign made[SINGLES +: TRIPLES] = three0 ^ three1 ^ three2;
    if (COUNT_WIDTH > 1) begin : gen_high
        assign made[SINGLES + TRIPLES +: TRIPLES] = threes_high;
    end else begin : gen_no_high
        wire unused_high = &{1'b0, threes_high};
    end

    for (level = 0; level <= STEPS; level = level + 1) begin : gen_register
        localparam integer FIRST = PLAN[32*level*COLUMNS +: 32];
        localparam integer BEHIND = PLAN[32*(level+1)*COLUMNS +: 32];
        if (level > 0 && level * LATENCY / STEPS != (level - 1) * LATENCY / STEPS) begin : gen_here
            reg [BEHIND-FIRST-1:0] level_reg;

            always @(posedge clk) begin
                if (enable) begin
                    level_reg <= made[BEHIND-1:FIRST];
                end
            end

            assign heap[BEHIND-1:FIRST] = level_reg;
        end else begin : gen_none
            assign heap[BEHIND-1:FIRST] = made[BEHIND-1:FIRST];
        end
    end

    for (level = 0; level < STEPS; level = level + 1) begin : gen_step
        localparam integer HEIGHT = PLAN[32*(ROWS+level) +: 32];
        if (HEIGHT > ADDED_ROWS) begin : gen_count
            for (column = 0; column < COUNT_WIDTH; column = column + 1) begin : gen_column
                localparam integer ENTRY = level * COLUMNS + column;
                localparam integer NEXT = ENTRY + COLUMNS;
                // Counters of this column, of the two below and of the two above.
                localparam integer UNITS = PLAN[32*(COUNTERS+ENTRY) +: 32];
                localparam integer UNITS_B1 = PLAN[32*(COUNTERS+ENTRY-1) +: 32];
                localparam integer UNITS_B2 = PLAN[32*(COUNTERS+ENTRY-2) +: 32];
                localparam integer UNITS_A1 = PLAN[32*(COUNTERS+ENTRY+1) +: 32];
                localparam integer UNITS_A2 = PLAN[32*(COUNTERS+ENTRY+2) +: 32];
                // The column's own counters read its bits from FREE up, those of the column below the bits before.
                localparam integer START = PLAN[32*ENTRY +: 32];
                localparam integer ABOVE = PLAN[32*(ENTRY+1) +: 32];
                localparam integer ABOVE_END = PLAN[32*(ENTRY+2) +: 32];
                localparam integer FREE = (START + UNITS_B1 < ABOVE) ? START + UNITS_B1 : ABOVE;
                localparam integer LEFT = ABOVE - FREE - 5 * UNITS;
                localparam integer NEXT_SUM = PLAN[32*NEXT +: 32];
                localparam integer NEXT_TWO = PLAN[32*(NEXT+1) +: 32] + UNITS_A1;
                localparam integer NEXT_FOUR = PLAN[32*(NEXT+2) +: 32] + UNITS_A2 + UNITS_A1;

                if (UNITS > 0) begin : gen_counters
                    wire [5*UNITS-1:0] fives;

                    if (LEFT < 0) begin : gen_fill
                        assign fives = {1'b0, heap[FREE +: 5*UNITS-1]};
                    end else begin : gen_full
                        assign fives = heap[FREE +: 5*UNITS];
                    end
                    for (i = 0; i < UNITS; i = i + 1) begin : gen_counter
                        wire p = fives[i];
                        wire q = fives[UNITS+i];
                        wire r = fives[2*UNITS+i];
                        wire x = fives[3*UNITS+i];
                        wire c = fives[4*UNITS+i];
                        wire y;

                        if (ABOVE + i < ABOVE_END) begin : gen_above
                            assign y = heap[ABOVE+i];
                        end else begin : gen_no_above
                            assign y = 1'b0;
                        end

                        // {y, x} + (p + q + r) + c. Written as a difference, so that Yosys gives y and x, not the sums, to
                        // the chain's direct inputs; the 1 that is missing in a + b = a - ~b - 1 makes c a carry.
                        wire [3:0] sum = {1'b0, y, x, c} - ~{1'b0, (p & q) | (p & r) | (q & r), p ^ q ^ r, 1'b0};
                        wire       unused_sum = &{1'b0, sum};

                        assign made[NEXT_SUM+i] = sum[1];
                        if (column + 1 < COUNT_WIDTH) begin : gen_two
                            assign made[NEXT_TWO+i] = sum[2];
                        end
                        if (column + 2 < COUNT_WIDTH) begin : gen_four
                            assign made[NEXT_FOUR+i] = sum[3];
                        end
                    end
                end
                if (LEFT > 0) begin : gen_left
                    assign made[NEXT_SUM+UNITS+UNITS_B1+UNITS_B2 +: LEFT] = heap[ABOVE-LEFT +: LEFT];
                end
            end
        end else begin : gen_add
            for (i = 0; i < HEIGHT; i = i + 2) begin : gen_rows
                wire [COUNT_WIDTH-1:0] x;
                wire [COUNT_WIDTH-1:0] y;
                wire [COUNT_WIDTH-1:0] sum = x + y;
                wire                   unused_sum = &{1'b0, sum};

                for (column = 0; column < COUNT_WIDTH; column = column + 1) begin : gen_column
                    localparam integer ENTRY = level * COLUMNS + column;
                    localparam integer NEXT = ENTRY + COLUMNS;
                    localparam integer START = PLAN[32*ENTRY +: 32];
                    localparam integer BEHIND = PLAN[32*(ENTRY+1) +: 32];
                    localparam integer NEXT_START = PLAN[32*NEXT +: 32];
                    localparam integer NEXT_BEHIND = PLAN[32*(NEXT+1) +: 32];

                    if (START + i < BEHIND) begin : gen_x
                        assign x[column] = heap[START+i];
                    end else begin : gen_no_x
                        assign x[column] = 1'b0;
                    end
                    if (START + i + 1 < BEHIND) begin : gen_y
                        assign y[column] = heap[START+i+1];
                    end else begin : gen_no_y
                        assign y[column] = 1'b0;
                    end
                    if (NEXT_START + i / 2 < NEXT_BEHIND) begin : gen_sum
                        assign made[NEXT_START+i/2] = sum[column];
                    end
                end
            end
        end
    end
endgenerate

assign count = heap[BITS-1 -: COUNT_WIDTH];

endmodule

`resetall
