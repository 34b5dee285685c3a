// abbnn_popcount.v : number of agreeing bits of two vectors, the inner product of binary networks
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// count = number of ones of a ~^ b, LATENCY = 3 enabled clock edges later for every WIDTH, one result a cycle.
//
// With ABBNN_COUNTONES it is one $countones (SystemVerilog, fast to simulate) and three registers. Without it, counters
// for 6-input LUTs, which take equal slices of a vector so that every step is a vector operation (which bits meet in a
// counter does not matter):
//   1. XNOR; three pairs (6 inputs) make a 2-bit count;
//   2. six bits of equal weight make a 3-bit count; register;
//   3. six bits of equal weight make a 3-bit count once more; counts of neighbouring weights are joined; register;
//   4. the sum of these words; register.
// yosys -p "read_verilog rtl/abbnn_popcount.v; synth_xilinx -flatten -top abbnn_popcount; stat" with Yosys 0.23 (WIDTH =
// 288): 419 LUT (1.45 a bit), 153 FF.
module abbnn_popcount #(
    // Bits of each operand, at least 1.
    parameter integer WIDTH = 288
) (
    input  wire                       clk,
    // Clock enable of all three registers.
    input  wire                       enable,

    input  wire [WIDTH-1:0]           a,
    input  wire [WIDTH-1:0]           b,
    output wire [$clog2(WIDTH+1)-1:0] count
);

generate
    if (WIDTH < 1) begin : gen_check_width
        WIDTH_must_be_at_least_1 param_error ();
    end
endgenerate

localparam integer COUNT_WIDTH = $clog2(WIDTH + 1);

`ifdef ABBNN_COUNTONES

wire [31:0] ones = $countones(a ~^ b);
wire        unused_ones = &{1'b0, ones};

reg [COUNT_WIDTH-1:0] ones0_reg;
reg [COUNT_WIDTH-1:0] ones1_reg;
reg [COUNT_WIDTH-1:0] ones2_reg;

always @(posedge clk) begin
    if (enable) begin
        ones0_reg <= ones[COUNT_WIDTH-1:0];
        ones1_reg <= ones0_reg;
        ones2_reg <= ones1_reg;
    end
end

assign count = ones2_reg;

`else

// Step 2 has one counter for every 18 bits (BLOCKS) and pair bit, step 3 one for every six bits of a weight: weights 1
// and 8 have BLOCKS bits each, weights 2 and 4 twice as many.
localparam integer BLOCKS = (WIDTH + 17) / 18;
localparam integer COUNTERS2 = 2 * BLOCKS;
localparam integer OUTER = (BLOCKS + 5) / 6;
localparam integer INNER = (2 * BLOCKS + 5) / 6;
localparam integer COUNTERS3 = 2 * (OUTER + INNER);
localparam integer WORDS = OUTER + INNER;
localparam integer SUM_WIDTH = COUNT_WIDTH + 6;

// Step 1. Bits that fill up the last block count 0.
wire [18*BLOCKS-1:0] agree;

generate
    if (18 * BLOCKS > WIDTH) begin : gen_fill_agree
        assign agree = {{18 * BLOCKS - WIDTH{1'b0}}, a ~^ b};
    end else begin : gen_full_agree
        assign agree = a ~^ b;
    end
endgenerate

wire [6*BLOCKS-1:0] pair0 = agree[0 +: 6*BLOCKS];
wire [6*BLOCKS-1:0] pair1 = agree[6*BLOCKS +: 6*BLOCKS];
wire [6*BLOCKS-1:0] pair2 = agree[12*BLOCKS +: 6*BLOCKS];
wire [6*BLOCKS-1:0] pairs_low = pair0 ^ pair1 ^ pair2;
wire [6*BLOCKS-1:0] pairs_high = (pair0 & pair1) | (pair0 & pair2) | (pair1 & pair2);

// Step 2. Low halves count pairs_low (weight 1), high halves pairs_high (weight 2).
wire [6*COUNTERS2-1:0] six2;
reg  [3*COUNTERS2-1:0] counts2_reg;

genvar i;
generate
    for (i = 0; i < 6; i = i + 1) begin : gen_six2
        assign six2[i*COUNTERS2 +: COUNTERS2] = {pairs_high[i*BLOCKS +: BLOCKS], pairs_low[i*BLOCKS +: BLOCKS]};
    end
endgenerate

// COUNTERS2 6:3 counters side by side: result bit c of counter k at c * COUNTERS2 + k.
function [3*COUNTERS2-1:0] count2;
    input [6*COUNTERS2-1:0] six;
    reg [COUNTERS2-1:0] x0;
    reg [COUNTERS2-1:0] x1;
    reg [COUNTERS2-1:0] x2;
    reg [COUNTERS2-1:0] x3;
    reg [COUNTERS2-1:0] x4;
    reg [COUNTERS2-1:0] x5;
    reg [COUNTERS2-1:0] carry0;
    reg [COUNTERS2-1:0] carry1;
    reg [COUNTERS2-1:0] carry2;
    begin
        {x5, x4, x3, x2, x1, x0} = six;
        carry0 = (x0 & x1) | (x0 & x2) | (x1 & x2);
        carry1 = (x3 & x4) | (x3 & x5) | (x4 & x5);
        carry2 = (x0 ^ x1 ^ x2) & (x3 ^ x4 ^ x5);
        count2 = {(carry0 & carry1) | (carry0 & carry2) | (carry1 & carry2),
                  carry0 ^ carry1 ^ carry2,
                  x0 ^ x1 ^ x2 ^ x3 ^ x4 ^ x5};
    end
endfunction

always @(posedge clk) begin
    if (enable) begin
        counts2_reg <= count2(six2);
    end
end

// Step 3. The bits of each weight, filled up with zeros to whole counters.
wire [BLOCKS-1:0]      low0;
wire [BLOCKS-1:0]      low1;
wire [BLOCKS-1:0]      low2;
wire [BLOCKS-1:0]      high0;
wire [BLOCKS-1:0]      high1;
wire [BLOCKS-1:0]      high2;
wire [6*OUTER-1:0]     weight1;
wire [6*INNER-1:0]     weight2;
wire [6*INNER-1:0]     weight4;
wire [6*OUTER-1:0]     weight8;
wire [6*COUNTERS3-1:0] six3;
wire [3*COUNTERS3-1:0] counts3;
wire [6*WORDS-1:0]     words;
reg  [6*WORDS-1:0]     words_reg;

assign {high2, low2, high1, low1, high0, low0} = counts2_reg;

generate
    if (6 * OUTER > BLOCKS) begin : gen_fill_outer
        assign weight1 = {{6 * OUTER - BLOCKS{1'b0}}, low0};
        assign weight8 = {{6 * OUTER - BLOCKS{1'b0}}, high2};
    end else begin : gen_full_outer
        assign weight1 = low0;
        assign weight8 = high2;
    end
    if (6 * INNER > 2 * BLOCKS) begin : gen_fill_inner
        assign weight2 = {{6 * INNER - 2 * BLOCKS{1'b0}}, high0, low1};
        assign weight4 = {{6 * INNER - 2 * BLOCKS{1'b0}}, high1, low2};
    end else begin : gen_full_inner
        assign weight2 = {high0, low1};
        assign weight4 = {high1, low2};
    end
    for (i = 0; i < 6; i = i + 1) begin : gen_six3
        assign six3[i*COUNTERS3 +: COUNTERS3] = {weight8[i*OUTER +: OUTER], weight4[i*INNER +: INNER],
                                                 weight2[i*INNER +: INNER], weight1[i*OUTER +: OUTER]};
    end
endgenerate

function [3*COUNTERS3-1:0] count3;
    input [6*COUNTERS3-1:0] six;
    reg [COUNTERS3-1:0] x0;
    reg [COUNTERS3-1:0] x1;
    reg [COUNTERS3-1:0] x2;
    reg [COUNTERS3-1:0] x3;
    reg [COUNTERS3-1:0] x4;
    reg [COUNTERS3-1:0] x5;
    reg [COUNTERS3-1:0] carry0;
    reg [COUNTERS3-1:0] carry1;
    reg [COUNTERS3-1:0] carry2;
    begin
        {x5, x4, x3, x2, x1, x0} = six;
        carry0 = (x0 & x1) | (x0 & x2) | (x1 & x2);
        carry1 = (x3 & x4) | (x3 & x5) | (x4 & x5);
        carry2 = (x0 ^ x1 ^ x2) & (x3 ^ x4 ^ x5);
        count3 = {(carry0 & carry1) | (carry0 & carry2) | (carry1 & carry2),
                  carry0 ^ carry1 ^ carry2,
                  x0 ^ x1 ^ x2 ^ x3 ^ x4 ^ x5};
    end
endfunction

assign counts3 = count3(six3);

// Words of 6 bits: count of weight 8 beside count of weight 1; 4 * count of weight 4 + 2 * count of weight 2 (<= 42).
generate
    for (i = 0; i < OUTER; i = i + 1) begin : gen_outer_word
        assign words[6*i +: 6] = {counts3[2*COUNTERS3 + OUTER + 2*INNER + i], counts3[COUNTERS3 + OUTER + 2*INNER + i],
                                  counts3[OUTER + 2*INNER + i],
                                  counts3[2*COUNTERS3 + i], counts3[COUNTERS3 + i], counts3[i]};
    end
    for (i = 0; i < INNER; i = i + 1) begin : gen_inner_word
        assign words[6*(OUTER+i) +: 6] = {1'b0, counts3[2*COUNTERS3 + OUTER + INNER + i],
                                          counts3[COUNTERS3 + OUTER + INNER + i], counts3[OUTER + INNER + i], 2'b00}
                                         + {2'b00, counts3[2*COUNTERS3 + OUTER + i], counts3[COUNTERS3 + OUTER + i],
                                            counts3[OUTER + i], 1'b0};
    end
endgenerate

// Step 4.
function [SUM_WIDTH-1:0] sum_words;
    input [6*WORDS-1:0] all_words;
    reg [6*WORDS-1:0] rest;
    integer k;
    begin
        rest = all_words;
        sum_words = {SUM_WIDTH{1'b0}};
        for (k = 0; k < WORDS; k = k + 1) begin
            sum_words = sum_words + {{COUNT_WIDTH{1'b0}}, rest[5:0]};
            rest = rest >> 6;
        end
    end
endfunction

wire [SUM_WIDTH-1:0] sum = sum_words(words_reg);
wire                 unused_sum = &{1'b0, sum};

reg [COUNT_WIDTH-1:0] sum_reg;

always @(posedge clk) begin
    if (enable) begin
        words_reg <= words;
        sum_reg   <= sum[COUNT_WIDTH-1:0];
    end
end

assign count = sum_reg;

`endif

endmodule

`resetall
