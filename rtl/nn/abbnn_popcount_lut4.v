// abbnn_popcount_lut4.v : number of agreeing bits of two vectors, coded for 4-input LUTs beside separate carry chains
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// count = number of ones of a ~^ b, LATENCY enabled clock edges later, one result a cycle.
//
// A binary tree of adders. A leaf is a full adder of three XNORs; every adder takes two words and one more XNOR as its carry
// in. The words of level n have n + 2 bits; an odd one is passed on. A register is behind LATENCY of the levels, evenly
// spread and one behind the last; the leaves have one only if all levels have.
//
// Adders lie side by side in carry chains of about CHAIN bits: the bit between two is where the carry in of the upper one is
// added to itself, so that it gives this carry, and takes up the carry out of the lower one, which is the bit's sum.
module abbnn_popcount_lut4 #(
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

localparam integer CHAIN = 48;
localparam integer COUNT_WIDTH = $clog2(WIDTH + 1);

// WORDS leaves, and WORDS - 1 adders with a carry in, take 4 * WORDS - 1 bits.
localparam integer WORDS = WIDTH / 4 + 1;
localparam integer SINGLES = WORDS - 1;
localparam integer ADDERS = $clog2(WORDS);
localparam integer LEAF_REGISTERS = (LATENCY > ADDERS) ? 1 : 0;
localparam integer LEVEL_REGISTERS = LATENCY - LEAF_REGISTERS;
localparam integer STEPS = (ADDERS > LEVEL_REGISTERS) ? ADDERS : LEVEL_REGISTERS;

// First bit of a level, which holds its words and above them the carries in of all adders that are still to come.
function [31:0] start_of;
    input [31:0] level;
    integer n;
    begin
        start_of = 0;
        for (n = 0; n < level; n = n + 1) begin
            start_of = start_of + ((WORDS + (1 << n) - 1) >> n) * (n + 3) - 1;
        end
    end
endfunction

localparam integer BITS = start_of(STEPS + 1);

// A level's bits as its adders make them, and behind the register that may be there.
wire [BITS-1:0] made;
wire [BITS-1:0] tree;

// Level 0. Bits that fill up the last leaf count 0.
wire [4*WORDS-2:0] agree;
wire [WORDS-1:0]   three0 = agree[SINGLES +: WORDS];
wire [WORDS-1:0]   three1 = agree[SINGLES + WORDS +: WORDS];
wire [WORDS-1:0]   three2 = agree[SINGLES + 2*WORDS +: WORDS];

genvar level;
genvar i;
genvar k;
generate
    if (4 * WORDS - 1 > WIDTH) begin : gen_fill
        assign agree = {{4 * WORDS - 1 - WIDTH{1'b0}}, a ~^ b};
    end else begin : gen_full
        assign agree = a ~^ b;
    end
    if (SINGLES > 0) begin : gen_singles
        assign made[2*WORDS +: SINGLES] = agree[0 +: SINGLES];
    end
    for (i = 0; i < WORDS; i = i + 1) begin : gen_leaf
        assign made[2*i] = three0[i] ^ three1[i] ^ three2[i];
        assign made[2*i+1] = (three0[i] & three1[i]) | (three0[i] & three2[i]) | (three1[i] & three2[i]);
    end

    for (level = 0; level <= STEPS; level = level + 1) begin : gen_register
        localparam integer START = start_of(level);
        localparam integer NEXT = start_of(level + 1);

        // Registers behind levels 1 to `level`, and 1 to `level - 1`.
        localparam integer THROUGH = (STEPS > 0) ? level * LEVEL_REGISTERS / STEPS : 0;
        localparam integer BEFORE = (STEPS > 0 && level > 0) ? (level - 1) * LEVEL_REGISTERS / STEPS : 0;

        if ((level == 0) ? LEAF_REGISTERS == 1 : THROUGH != BEFORE) begin : gen_here
            reg [NEXT-START-1:0] level_reg;

            always @(posedge clk) begin
                if (enable) begin
                    level_reg <= made[NEXT-1:START];
                end
            end

            assign tree[NEXT-1:START] = level_reg;
        end else begin : gen_none
            assign tree[NEXT-1:START] = made[NEXT-1:START];
        end
    end

    for (level = 0; level < STEPS; level = level + 1) begin : gen_step
        localparam integer START = start_of(level);
        localparam integer NEXT = start_of(level + 1);
        localparam integer COUNT = (WORDS + (1 << level) - 1) >> level;
        localparam integer PAIRS = COUNT / 2;
        localparam integer SIZE = level + 2;
        localparam integer FIELD = SIZE + 1;
        localparam integer FIELDS = (CHAIN > FIELD) ? CHAIN / FIELD : 1;
        localparam integer CARRIES = START + COUNT * SIZE;
        localparam integer NEXT_CARRIES = NEXT + (COUNT - PAIRS) * FIELD;
        localparam integer LEFT = (COUNT > 1) ? COUNT - 1 - PAIRS : 0;

        for (i = 0; i < PAIRS; i = i + FIELDS) begin : gen_chain
            localparam integer HERE = (PAIRS - i < FIELDS) ? PAIRS - i : FIELDS;

            wire [HERE*FIELD:0] x;
            wire [HERE*FIELD:0] y;
            wire [HERE*FIELD:0] sum = x + y;
            wire                unused_sum = &{1'b0, sum[0]};

            assign x[HERE*FIELD] = 1'b0;
            assign y[HERE*FIELD] = 1'b0;
            for (k = 0; k < HERE; k = k + 1) begin : gen_adder
                assign x[k*FIELD +: FIELD] = {tree[START+(i+k)*SIZE +: SIZE], tree[CARRIES+i+k]};
                assign y[k*FIELD +: FIELD] = {tree[START+(PAIRS+i+k)*SIZE +: SIZE], tree[CARRIES+i+k]};
            end
            assign made[NEXT+i*FIELD +: HERE*FIELD] = sum[HERE*FIELD:1];
        end
        if (COUNT > 2 * PAIRS) begin : gen_odd
            assign made[NEXT+PAIRS*FIELD +: FIELD] = {1'b0, tree[START+2*PAIRS*SIZE +: SIZE]};
        end
        if (LEFT > 0) begin : gen_left
            assign made[NEXT_CARRIES +: LEFT] = tree[CARRIES+PAIRS +: LEFT];
        end
    end
endgenerate

wire unused_tree = &{1'b0, tree[BITS-1:start_of(STEPS)]};

assign count = tree[start_of(STEPS) +: COUNT_WIDTH];

endmodule

`resetall
