// abbnn_sum_array.v : PE x SIMD add-subtract lanes for multi-bit values and weights of several +-1 planes
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// PE sums at a time of values x times weights w, where w = sum over plane b of 2**b * s_b with s_b = +1 or -1:
//
//   sum = bias + sum over planes b of 2**b * (sum over the vector of s_b * x)
//
// A beat brings SIMD values. An output position takes CHANNELS / PE folds, a fold PLANES planes from the most
// significant down, a plane SIMD_FOLD beats. acc = 2 * acc at every plane but the first of a fold.
//
// Weight word at address (fold * PLANES + plane from the top) * SIMD_FOLD + beat: bit pe * SIMD + lane, 1 = +1, belongs
// to output channel fold * PE + pe. A beat's sum is 1 short for each -1 among the lanes 1, 3, 5, ... and SIMD - 1. Bias word
// at address fold: PE signed fields of SUM_WIDTH bits, PE 0 lowest, that make up for it: bias + sum over planes of
// 2**b * (number of -1 weights on these lanes).
//
// One output beat a fold: PE sums of SUM_WIDTH bits. Wrap-around on the way to a sum that fits does no harm.
//
// Latency 6 + max(1, clog2(SIMD)): `abbnn_signed_sum`, accumulate, bias, `abbnn_credit`. One input beat a cycle; nothing in
// front of abbnn_credit stalls. In front of the first register is an adder: s_axis_tdata should come from a register.
module abbnn_sum_array #(
    // Output channels at a time, at least 1.
    parameter integer PE = 1,
    // Values of one beat, at least 1.
    parameter integer SIMD = 4,
    // Beats of one vector, at least 1.
    parameter integer SIMD_FOLD = 1,
    // Output channels, a multiple of PE.
    parameter integer CHANNELS = 1,
    // Bits of a weight, at least 1.
    parameter integer PLANES = 1,
    // Bits of a value, at least 2.
    parameter integer DATA_WIDTH = 16,
    // Bits of a sum, at least 2. They hold the result: nothing checks for overflow here.
    parameter integer SUM_WIDTH = 24,
    // $readmemh file of the weights; with "" they stay undefined.
    parameter WEIGHT_FILE = "",
    // $readmemh file of the biases; with "" they stay undefined.
    parameter BIAS_FILE = "",
    // Number of the weights on the load bus (abbnn_memory), the biases have the next; -1: both come from the files
    // and stay.
    parameter integer LOAD_MEMORY = -1
) (
    input  wire                       clk,
    input  wire                       rst,
    input  wire [76:0]                load,

    input  wire [SIMD*DATA_WIDTH-1:0] s_axis_tdata,
    input  wire                       s_axis_tvalid,
    output wire                       s_axis_tready,

    output wire [PE*SUM_WIDTH-1:0]    m_axis_tdata,
    output wire                       m_axis_tvalid,
    input  wire                       m_axis_tready
);

generate
    if (PE < 1) begin : gen_check_pe
        PE_must_be_at_least_1 param_error ();
    end else if (CHANNELS < 1 || CHANNELS % PE != 0) begin : gen_check_channels
        CHANNELS_must_be_a_multiple_of_PE param_error ();
    end
    if (SIMD < 1) begin : gen_check_simd
        SIMD_must_be_at_least_1 param_error ();
    end
    if (SIMD_FOLD < 1) begin : gen_check_simd_fold
        SIMD_FOLD_must_be_at_least_1 param_error ();
    end
    if (PLANES < 1) begin : gen_check_planes
        PLANES_must_be_at_least_1 param_error ();
    end
    if (DATA_WIDTH < 2) begin : gen_check_data_width
        DATA_WIDTH_must_be_at_least_2 param_error ();
    end
    if (SUM_WIDTH < 2) begin : gen_check_sum_width
        SUM_WIDTH_must_be_at_least_2 param_error ();
    end
endgenerate

// Latency less 1 and result width of abbnn_signed_sum.
localparam integer LEVELS = SIMD > 1 ? $clog2(SIMD) : 1;
localparam integer TREE_WIDTH = DATA_WIDTH + LEVELS;
// Bits of the tree's result that a sum has room for.
localparam integer KEPT_WIDTH = TREE_WIDTH < SUM_WIDTH ? TREE_WIDTH : SUM_WIDTH;

localparam integer FOLDS = CHANNELS / PE;
localparam integer PLANE_WIDTH = PLANES > 1 ? $clog2(PLANES) : 1;
localparam integer LAST_PLANE = PLANES - 1;
localparam integer BEAT_WIDTH = SIMD_FOLD > 1 ? $clog2(SIMD_FOLD) : 1;
localparam integer LAST_BEAT = SIMD_FOLD - 1;
localparam integer WORDS = FOLDS * PLANES * SIMD_FOLD;

// Index 0 to LEVELS are the registers of abbnn_signed_sum, LEVELS + 1 is the accumulator.
reg [LEVELS+1:0] valid_reg;
reg [LEVELS+1:0] last_reg;
reg [LEVELS:0]   first_reg;
reg [LEVELS:0]   double_reg;
reg              sum_valid_reg;

reg [BEAT_WIDTH-1:0]  beat_reg;
reg [PLANE_WIDTH-1:0] plane_reg;

wire ready;
wire step = s_axis_tvalid && ready;

wire beat_first  = beat_reg == {BEAT_WIDTH{1'b0}};
wire beat_last   = beat_reg == LAST_BEAT[BEAT_WIDTH-1:0];
wire plane_first = plane_reg == {PLANE_WIDTH{1'b0}};
wire plane_last  = plane_reg == LAST_PLANE[PLANE_WIDTH-1:0];

assign s_axis_tready = ready;

always @(posedge clk) begin
    if (step) begin
        beat_reg <= beat_last ? {BEAT_WIDTH{1'b0}} : beat_reg + 1'b1;
        if (beat_last) begin
            plane_reg <= plane_last ? {PLANE_WIDTH{1'b0}} : plane_reg + 1'b1;
        end
    end
    valid_reg     <= {valid_reg[LEVELS:0], step};
    last_reg      <= {last_reg[LEVELS:0], beat_last && plane_last};
    first_reg     <= {first_reg[LEVELS-1:0], beat_first && plane_first};
    double_reg    <= {double_reg[LEVELS-1:0], beat_first && !plane_first};
    sum_valid_reg <= valid_reg[LEVELS+1] && last_reg[LEVELS+1];
    if (rst) begin
        beat_reg      <= {BEAT_WIDTH{1'b0}};
        plane_reg     <= {PLANE_WIDTH{1'b0}};
        valid_reg     <= {LEVELS+2{1'b0}};
        sum_valid_reg <= 1'b0;
    end
end

// The weights of the beat that is accepted next.
wire [PE*SIMD-1:0] weight_word;

abbnn_table #(
    .WIDTH(PE*SIMD),
    .DEPTH(WORDS),
    .TABLE_FILE(WEIGHT_FILE),
    .LOAD_MEMORY(LOAD_MEMORY)
) weight_inst (
    .clk(clk),
    .rst(rst),
    .load(load),
    .step(step),
    .word(weight_word)
);

// The biases of the next fold that is completed, and of the one in the accumulator.
wire                    fold_done = valid_reg[LEVELS] && last_reg[LEVELS];
wire [PE*SUM_WIDTH-1:0] bias_word;
reg  [PE*SUM_WIDTH-1:0] bias_reg;

abbnn_table #(
    .WIDTH(PE*SUM_WIDTH),
    .DEPTH(FOLDS),
    .TABLE_FILE(BIAS_FILE),
    .LOAD_MEMORY((LOAD_MEMORY < 0) ? -1 : LOAD_MEMORY + 1)
) bias_inst (
    .clk(clk),
    .rst(rst),
    .load(load),
    .step(fold_done),
    .word(bias_word)
);

always @(posedge clk) begin
    if (fold_done) begin
        bias_reg <= bias_word;
    end
end

wire [PE*TREE_WIDTH-1:0] tree_sums;

abbnn_signed_sum #(
    .PE(PE),
    .SIMD(SIMD),
    .DATA_WIDTH(DATA_WIDTH)
) tree_inst (
    .clk(clk),
    .enable(1'b1),
    .values(s_axis_tdata),
    .weights(weight_word),
    .sums(tree_sums)
);

reg [PE*SUM_WIDTH-1:0] acc_reg;
reg [PE*SUM_WIDTH-1:0] sum_reg;
reg [PE*SUM_WIDTH-1:0] acc_next;
reg [PE*SUM_WIDTH-1:0] sum_next;

// One block for all outputs: a loop in procedural code simulates faster than PE copies of it.
always @* begin : accumulate
    integer p;
    reg [SUM_WIDTH-1:0] tree;
    reg [SUM_WIDTH-1:0] acc;
    for (p = 0; p < PE; p = p + 1) begin
        tree = {SUM_WIDTH{tree_sums[p*TREE_WIDTH+TREE_WIDTH-1]}};
        tree[KEPT_WIDTH-1:0] = tree_sums[p*TREE_WIDTH +: KEPT_WIDTH];
        acc = acc_reg[p*SUM_WIDTH +: SUM_WIDTH];
        sum_next[p*SUM_WIDTH +: SUM_WIDTH] = acc + bias_reg[p*SUM_WIDTH +: SUM_WIDTH];
        if (first_reg[LEVELS]) begin
            acc = {SUM_WIDTH{1'b0}};
        end else if (double_reg[LEVELS]) begin
            acc = acc << 1;
        end
        acc_next[p*SUM_WIDTH +: SUM_WIDTH] = acc + tree;
    end
end

always @(posedge clk) begin
    if (valid_reg[LEVELS]) begin
        acc_reg <= acc_next;
    end
    sum_reg <= sum_next;
end

localparam integer BEATS = (PLANES * SIMD_FOLD > 0) ? PLANES * SIMD_FOLD : 1;
// Sums between their last beat and m_axis.
localparam integer CREDITS = (LEVELS + 9 + BEATS - 1) / BEATS + 2;

// The weights are there from the third cycle behind a reset on (abbnn_table); credit_inst is ready in the second.
reg late_rst_reg;

always @(posedge clk) begin
    late_rst_reg <= rst;
end

abbnn_credit #(
    .DATA_WIDTH(PE*SUM_WIDTH),
    .DEPTH(CREDITS)
) credit_inst (
    .clk(clk),
    .rst(rst || late_rst_reg),
    .ready(ready),
    .enter(step && beat_last && plane_last),
    .s_axis_tdata(sum_reg),
    .s_axis_tvalid(sum_valid_reg),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready)
);

endmodule

`resetall
