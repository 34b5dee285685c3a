// abbnn_head.v : global pool, linear layer and argmax
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// score = weights * (sum over POSITIONS pixels >>> POOL_SHIFT) + bias, by add-subtract and shift:
// gap - resize - replay - sum_array - resize - argmax. In: S_LANES values a beat, POSITIONS pixels of CHANNELS.
// Out: CLASSES scores, sign-extended to M_WIDTH bits, class 0 first, then one beat with the index of the greatest.
// Cycles a frame: (CLASSES / PE) * PLANES * (CHANNELS / SIMD); the next frame is pooled meanwhile.
module abbnn_head #(
    // Prefix of the table files: PREFIX_weights.mem, PREFIX_bias.mem; "" leaves the tables empty.
    parameter PREFIX = "",
    // Input channels, pixels of the map, and classes.
    parameter integer CHANNELS = 4,
    parameter integer POSITIONS = 4,
    parameter integer CLASSES = 3,
    // Lanes of the input stream, divides CHANNELS.
    parameter integer S_LANES = 2,
    // Classes a cycle, divides CLASSES.
    parameter integer PE = 1,
    // Inputs a cycle, divides CHANNELS.
    parameter integer SIMD = 2,
    // Weight planes: weights are odd integers within +-(2**PLANES - 1).
    parameter integer PLANES = 8,
    // Bits of a value.
    parameter integer VALUE_WIDTH = 16,
    // Right shift of the pool's sum.
    parameter integer POOL_SHIFT = 2,
    // Bits of a score.
    parameter integer SCORE_WIDTH = 28,
    // Bits of an output beat.
    parameter integer M_WIDTH = 32,
    // Number of the weights on the load bus (abbnn_memory), the biases have the next; -1: the tables come from files
    // and stay.
    parameter integer LOAD_MEMORY = -1
) (
    input  wire                           clk,
    input  wire                           rst,
    input  wire [76:0]                    load,

    input  wire [S_LANES*VALUE_WIDTH-1:0] s_axis_tdata,
    input  wire                           s_axis_tvalid,
    output wire                           s_axis_tready,

    output wire [M_WIDTH-1:0]             m_axis_tdata,
    output wire                           m_axis_tvalid,
    input  wire                           m_axis_tready,
    output wire                           m_axis_tlast
);

localparam integer POOL_WIDTH = VALUE_WIDTH + $clog2(POSITIONS) - POOL_SHIFT;
localparam integer SIMD_FOLD = CHANNELS / SIMD;
localparam integer FOLDS = CLASSES / PE;

generate
    if (CHANNELS < 1 || S_LANES < 1 || CHANNELS % S_LANES != 0) begin : gen_check_s_lanes
        S_LANES_must_divide_CHANNELS param_error ();
    end
    if (SIMD < 1 || CHANNELS % SIMD != 0) begin : gen_check_simd
        SIMD_must_divide_CHANNELS param_error ();
    end
    if (PE < 1 || CLASSES % PE != 0) begin : gen_check_pe
        PE_must_divide_CLASSES param_error ();
    end
endgenerate

wire [S_LANES*POOL_WIDTH-1:0] pool_tdata;
wire                          pool_tvalid;
wire                          pool_tready;
wire [SIMD*POOL_WIDTH-1:0]    group_tdata;
wire                          group_tvalid;
wire                          group_tready;
wire [SIMD*POOL_WIDTH-1:0]    replay_tdata;
wire                          replay_tvalid;
wire                          replay_tready;
wire [PE*SCORE_WIDTH-1:0]     sum_tdata;
wire                          sum_tvalid;
wire                          sum_tready;
wire [PE*SCORE_WIDTH-1:0]     sums_tdata;
wire                          sums_tvalid;
wire                          sums_tready;
wire [SCORE_WIDTH-1:0]        score_tdata;
wire                          score_tvalid;
wire                          score_tready;

abbnn_gap #(
    .LANES(S_LANES),
    .CHANNELS(CHANNELS),
    .VALUE_WIDTH(VALUE_WIDTH),
    .POSITIONS(POSITIONS),
    .SHIFT(POOL_SHIFT)
) gap_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(s_axis_tdata),
    .s_axis_tvalid(s_axis_tvalid),
    .s_axis_tready(s_axis_tready),
    .m_axis_tdata(pool_tdata),
    .m_axis_tvalid(pool_tvalid),
    .m_axis_tready(pool_tready)
);

abbnn_resize #(
    .LANE_WIDTH(POOL_WIDTH),
    .S_LANES(S_LANES),
    .M_LANES(SIMD)
) pool_resize_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(pool_tdata),
    .s_axis_tvalid(pool_tvalid),
    .s_axis_tready(pool_tready),
    .m_axis_tdata(group_tdata),
    .m_axis_tvalid(group_tvalid),
    .m_axis_tready(group_tready)
);

abbnn_replay #(
    .DATA_WIDTH(SIMD * POOL_WIDTH),
    .DEPTH(SIMD_FOLD),
    .TIMES(FOLDS * PLANES)
) replay_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(group_tdata),
    .s_axis_tvalid(group_tvalid),
    .s_axis_tready(group_tready),
    .m_axis_tdata(replay_tdata),
    .m_axis_tvalid(replay_tvalid),
    .m_axis_tready(replay_tready)
);

abbnn_sum_array #(
    .PE(PE),
    .SIMD(SIMD),
    .SIMD_FOLD(SIMD_FOLD),
    .CHANNELS(CLASSES),
    .PLANES(PLANES),
    .DATA_WIDTH(POOL_WIDTH),
    .SUM_WIDTH(SCORE_WIDTH),
    .WEIGHT_FILE((PREFIX == "") ? "" : {PREFIX, "_weights.mem"}),
    .BIAS_FILE((PREFIX == "") ? "" : {PREFIX, "_bias.mem"}),
    .LOAD_MEMORY(LOAD_MEMORY)
) array_inst (
    .clk(clk),
    .rst(rst),
    .load(load),
    .s_axis_tdata(replay_tdata),
    .s_axis_tvalid(replay_tvalid),
    .s_axis_tready(replay_tready),
    .m_axis_tdata(sum_tdata),
    .m_axis_tvalid(sum_tvalid),
    .m_axis_tready(sum_tready)
);

abbnn_skid #(
    .DATA_WIDTH(PE * SCORE_WIDTH)
) sum_skid_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(sum_tdata),
    .s_axis_tvalid(sum_tvalid),
    .s_axis_tready(sum_tready),
    .m_axis_tdata(sums_tdata),
    .m_axis_tvalid(sums_tvalid),
    .m_axis_tready(sums_tready)
);

abbnn_resize #(
    .LANE_WIDTH(SCORE_WIDTH),
    .S_LANES(PE),
    .M_LANES(1)
) score_resize_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(sums_tdata),
    .s_axis_tvalid(sums_tvalid),
    .s_axis_tready(sums_tready),
    .m_axis_tdata(score_tdata),
    .m_axis_tvalid(score_tvalid),
    .m_axis_tready(score_tready)
);

wire [M_WIDTH:0] result_tdata;
wire             result_tvalid;
wire             result_tready;

abbnn_argmax #(
    .SCORE_WIDTH(SCORE_WIDTH),
    .CLASSES(CLASSES),
    .M_WIDTH(M_WIDTH)
) argmax_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(score_tdata),
    .s_axis_tvalid(score_tvalid),
    .s_axis_tready(score_tready),
    .m_axis_tdata(result_tdata[M_WIDTH-1:0]),
    .m_axis_tvalid(result_tvalid),
    .m_axis_tready(result_tready),
    .m_axis_tlast(result_tdata[M_WIDTH])
);

abbnn_skid #(
    .DATA_WIDTH(M_WIDTH + 1)
) result_skid_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(result_tdata),
    .s_axis_tvalid(result_tvalid),
    .s_axis_tready(result_tready),
    .m_axis_tdata({m_axis_tlast, m_axis_tdata}),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready)
);

endmodule

`resetall
