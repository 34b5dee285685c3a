// abbnn_shortcut.v : the residual of a downsampling block: 2x2 average, then a 1x1 convolution with binary weights
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// y = scale * sum over input channels of (+-1) * average2x2(x), on values: pool - fifo - resize - replay - sum_array -
// scale. In: S_LANES values a beat, HEIGHT x WIDTH pixels of IN_CHANNELS. Out: PE values a beat of SCALED_WIDTH bits,
// pixels of OUT_CHANNELS. Cycles a frame: positions * (OUT_CHANNELS / PE) * (IN_CHANNELS / SIMD).
// The FIFO holds a row of averages: they come in bursts, every second input row, and are used evenly.
module abbnn_shortcut #(
    // Prefix of the table files: PREFIX_weights.mem, PREFIX_bias.mem, PREFIX_scale.mem; "" leaves the tables empty.
    parameter PREFIX = "",
    // Channels in and out.
    parameter integer IN_CHANNELS = 4,
    parameter integer OUT_CHANNELS = 8,
    // Input map in pixels, both even.
    parameter integer HEIGHT = 4,
    parameter integer WIDTH = 4,
    // Lanes of the input stream, divides IN_CHANNELS.
    parameter integer S_LANES = 2,
    // Output lanes, divides OUT_CHANNELS.
    parameter integer PE = 2,
    // Inputs a cycle, divides IN_CHANNELS.
    parameter integer SIMD = 2,
    // Bits of a value.
    parameter integer VALUE_WIDTH = 16,
    // Bits of a sum.
    parameter integer SUM_WIDTH = 20,
    // abbnn_scale: terms, bits of a shift, guard bits, bits of the terms' sum and of the result.
    parameter integer SCALE_TERMS = 1,
    parameter integer SCALE_SHIFT_WIDTH = 3,
    parameter integer SCALE_GUARD = 3,
    parameter integer SCALE_SUM_WIDTH = 24,
    parameter integer SCALED_WIDTH = 20
) (
    input  wire                           clk,
    input  wire                           rst,

    input  wire [S_LANES*VALUE_WIDTH-1:0] s_axis_tdata,
    input  wire                           s_axis_tvalid,
    output wire                           s_axis_tready,

    output wire [PE*SCALED_WIDTH-1:0]     m_axis_tdata,
    output wire                           m_axis_tvalid,
    input  wire                           m_axis_tready
);

localparam integer FOLDS = OUT_CHANNELS / PE;
localparam integer SIMD_FOLD = IN_CHANNELS / SIMD;
localparam integer FIFO_DEPTH = (WIDTH / 2 + 4) * (IN_CHANNELS / S_LANES);

generate
    if (IN_CHANNELS < 1 || S_LANES < 1 || IN_CHANNELS % S_LANES != 0) begin : gen_check_s_lanes
        S_LANES_must_divide_IN_CHANNELS param_error ();
    end
    if (SIMD < 1 || IN_CHANNELS % SIMD != 0) begin : gen_check_simd
        SIMD_must_divide_IN_CHANNELS param_error ();
    end
    if (PE < 1 || OUT_CHANNELS % PE != 0) begin : gen_check_pe
        PE_must_divide_OUT_CHANNELS param_error ();
    end
endgenerate

wire [S_LANES*VALUE_WIDTH-1:0] pool_tdata;
wire                           pool_tvalid;
wire                           pool_tready;
wire [S_LANES*VALUE_WIDTH-1:0] stored_tdata;
wire                           stored_tvalid;
wire                           stored_tready;
wire [SIMD*VALUE_WIDTH-1:0]    group_tdata;
wire                           group_tvalid;
wire                           group_tready;
wire [SIMD*VALUE_WIDTH-1:0]    replay_tdata;
wire                           replay_tvalid;
wire                           replay_tready;
wire [PE*SUM_WIDTH-1:0]        sum_tdata;
wire                           sum_tvalid;
wire                           sum_tready;

abbnn_pool #(
    .LANES(S_LANES),
    .CHANNELS(IN_CHANNELS),
    .VALUE_WIDTH(VALUE_WIDTH),
    .HEIGHT(HEIGHT),
    .WIDTH(WIDTH)
) pool_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(s_axis_tdata),
    .s_axis_tvalid(s_axis_tvalid),
    .s_axis_tready(s_axis_tready),
    .m_axis_tdata(pool_tdata),
    .m_axis_tvalid(pool_tvalid),
    .m_axis_tready(pool_tready)
);

abbnn_fifo #(
    .DATA_WIDTH(S_LANES * VALUE_WIDTH),
    .DEPTH(FIFO_DEPTH)
) fifo_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(pool_tdata),
    .s_axis_tvalid(pool_tvalid),
    .s_axis_tready(pool_tready),
    .m_axis_tdata(stored_tdata),
    .m_axis_tvalid(stored_tvalid),
    .m_axis_tready(stored_tready)
);

abbnn_resize #(
    .LANE_WIDTH(VALUE_WIDTH),
    .S_LANES(S_LANES),
    .M_LANES(SIMD)
) resize_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(stored_tdata),
    .s_axis_tvalid(stored_tvalid),
    .s_axis_tready(stored_tready),
    .m_axis_tdata(group_tdata),
    .m_axis_tvalid(group_tvalid),
    .m_axis_tready(group_tready)
);

abbnn_replay #(
    .DATA_WIDTH(SIMD * VALUE_WIDTH),
    .DEPTH(SIMD_FOLD),
    .TIMES(FOLDS)
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
    .CHANNELS(OUT_CHANNELS),
    .PLANES(1),
    .DATA_WIDTH(VALUE_WIDTH),
    .SUM_WIDTH(SUM_WIDTH),
    .WEIGHT_FILE((PREFIX == "") ? "" : {PREFIX, "_weights.mem"}),
    .BIAS_FILE((PREFIX == "") ? "" : {PREFIX, "_bias.mem"})
) array_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(replay_tdata),
    .s_axis_tvalid(replay_tvalid),
    .s_axis_tready(replay_tready),
    .m_axis_tdata(sum_tdata),
    .m_axis_tvalid(sum_tvalid),
    .m_axis_tready(sum_tready)
);

abbnn_scale #(
    .LANES(PE),
    .CHANNELS(OUT_CHANNELS),
    .TERMS(SCALE_TERMS),
    .SHIFT_WIDTH(SCALE_SHIFT_WIDTH),
    .GUARD(SCALE_GUARD),
    .S_WIDTH(SUM_WIDTH),
    .SUM_WIDTH(SCALE_SUM_WIDTH),
    .M_WIDTH(SCALED_WIDTH),
    .TABLE_FILE((PREFIX == "") ? "" : {PREFIX, "_scale.mem"})
) scale_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(sum_tdata),
    .s_axis_tvalid(sum_tvalid),
    .s_axis_tready(sum_tready),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready)
);

endmodule

`resetall
