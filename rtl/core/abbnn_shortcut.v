// abbnn_shortcut.v : a downsampling block's residual with weights: a 1x1 convolution of every second or averaged pixel
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// y = scale * sum over input channels of w * x', on values, with w of PLANES planes of +-1 (`abbnn_sum_array`; 1 plane:
// a sign) and x' the 2x2 average of x, or x at even rows and columns: pool or subsample - fifo - resize - replay - sum_array - scale (- fifo). In: S_LANES values a beat,
// HEIGHT x WIDTH pixels of IN_CHANNELS. Out: PE values a beat of SCALED_WIDTH bits, pixels of OUT_CHANNELS.
// Cycles a frame: positions * (OUT_CHANNELS / PE) * PLANES * (IN_CHANNELS / SIMD).
// x' comes in bursts, every second input row, and is used evenly. The FIFO holds a row of averages. A row of picked
// pixels is complete a row before the convolution beside it can use its first: there the FIFO holds two, and a second
// FIFO closes the gaps between the results that wait, which would halt the convolution later.
module abbnn_shortcut #(
    // Prefix of the table files: PREFIX_weights.mem, PREFIX_bias.mem, PREFIX_scale.mem; "" leaves the tables empty.
    parameter PREFIX = "",
    // 1: 2x2 average in front. 0: the pixels of even rows and columns.
    parameter integer POOL = 1,
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
    // Weight planes: weights are odd integers within +-(2**PLANES - 1).
    parameter integer PLANES = 1,
    // Bits of a value.
    parameter integer VALUE_WIDTH = 16,
    // Bits of a sum.
    parameter integer SUM_WIDTH = 20,
    // abbnn_scale: terms, bits of a shift, guard bits, bits of the terms' sum and of the result.
    parameter integer SCALE_TERMS = 1,
    parameter integer SCALE_SHIFT_WIDTH = 3,
    parameter integer SCALE_GUARD = 3,
    parameter integer SCALE_SUM_WIDTH = 24,
    parameter integer SCALED_WIDTH = 20,
    // Number of the weights on the load bus (abbnn_memory), biases and scale have the next two; -1: the tables come
    // from files and stay.
    parameter integer LOAD_MEMORY = -1
) (
    input  wire                           clk,
    input  wire                           rst,
    input  wire [76:0]                    load,

    input  wire [S_LANES*VALUE_WIDTH-1:0] s_axis_tdata,
    input  wire                           s_axis_tvalid,
    output wire                           s_axis_tready,

    output wire [PE*SCALED_WIDTH-1:0]     m_axis_tdata,
    output wire                           m_axis_tvalid,
    input  wire                           m_axis_tready
);

localparam integer FOLDS = OUT_CHANNELS / PE;
localparam integer SIMD_FOLD = IN_CHANNELS / SIMD;
localparam integer S_GROUPS = IN_CHANNELS / S_LANES;
localparam integer FIFO_PIXELS = (POOL == 1) ? WIDTH / 2 + 4 : WIDTH + 4;
// Beats that come while the convolution's registers delay it.
localparam integer PATH_BEATS = 16;
// More than the registers of array and scale, each of which may hold a gap.
localparam integer RESULTS = 32;

generate
    if (POOL != 0 && POOL != 1) begin : gen_check_pool
        POOL_must_be_0_or_1 param_error ();
    end
    if (HEIGHT < 2 || HEIGHT % 2 != 0 || WIDTH < 2 || WIDTH % 2 != 0) begin : gen_check_even
        HEIGHT_and_WIDTH_must_be_even param_error ();
    end
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

wire path_rst;

abbnn_reset reset_inst (
    .clk(clk),
    .s_rst(rst),
    .m_rst(path_rst)
);

wire [S_LANES*VALUE_WIDTH-1:0] small_tdata;
wire                           small_tvalid;
wire                           small_tready;
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
wire [PE*SCALED_WIDTH-1:0]     scaled_tdata;
wire                           scaled_tvalid;
wire                           scaled_tready;
wire [PE*SCALED_WIDTH-1:0]     product_tdata;
wire                           product_tvalid;
wire                           product_tready;

generate
    if (POOL == 1) begin : gen_pool
        abbnn_pool #(
            .LANES(S_LANES),
            .CHANNELS(IN_CHANNELS),
            .VALUE_WIDTH(VALUE_WIDTH),
            .HEIGHT(HEIGHT),
            .WIDTH(WIDTH)
        ) pool_inst (
            .clk(clk),
            .rst(path_rst),
            .s_axis_tdata(s_axis_tdata),
            .s_axis_tvalid(s_axis_tvalid),
            .s_axis_tready(s_axis_tready),
            .m_axis_tdata(small_tdata),
            .m_axis_tvalid(small_tvalid),
            .m_axis_tready(small_tready)
        );
    end else begin : gen_subsample
        abbnn_subsample #(
            .DATA_WIDTH(S_LANES * VALUE_WIDTH),
            .GROUPS(S_GROUPS),
            .HEIGHT(HEIGHT),
            .WIDTH(WIDTH)
        ) subsample_inst (
            .clk(clk),
            .rst(path_rst),
            .s_axis_tdata(s_axis_tdata),
            .s_axis_tvalid(s_axis_tvalid),
            .s_axis_tready(s_axis_tready),
            .m_axis_tdata(small_tdata),
            .m_axis_tvalid(small_tvalid),
            .m_axis_tready(small_tready)
        );
    end
endgenerate

abbnn_fifo #(
    .DATA_WIDTH(S_LANES * VALUE_WIDTH),
    .DEPTH(FIFO_PIXELS * S_GROUPS + PATH_BEATS)
) fifo_inst (
    .clk(clk),
    .rst(path_rst),
    .s_axis_tdata(small_tdata),
    .s_axis_tvalid(small_tvalid),
    .s_axis_tready(small_tready),
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
    .rst(path_rst),
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
    .TIMES(FOLDS * PLANES)
) replay_inst (
    .clk(clk),
    .rst(path_rst),
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
    .PLANES(PLANES),
    .DATA_WIDTH(VALUE_WIDTH),
    .SUM_WIDTH(SUM_WIDTH),
    .WEIGHT_FILE((PREFIX == "") ? "" : {PREFIX, "_weights.mem"}),
    .BIAS_FILE((PREFIX == "") ? "" : {PREFIX, "_bias.mem"}),
    .LOAD_MEMORY(LOAD_MEMORY)
) array_inst (
    .clk(clk),
    .rst(path_rst),
    .load(load),
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
    .TABLE_FILE((PREFIX == "") ? "" : {PREFIX, "_scale.mem"}),
    .LOAD_MEMORY((LOAD_MEMORY < 0) ? -1 : LOAD_MEMORY + 2)
) scale_inst (
    .clk(clk),
    .rst(path_rst),
    .load(load),
    .s_axis_tdata(sum_tdata),
    .s_axis_tvalid(sum_tvalid),
    .s_axis_tready(sum_tready),
    .m_axis_tdata(product_tdata),
    .m_axis_tvalid(product_tvalid),
    .m_axis_tready(product_tready)
);

abbnn_skid #(
    .DATA_WIDTH(PE * SCALED_WIDTH)
) scaled_skid_inst (
    .clk(clk),
    .rst(path_rst),
    .s_axis_tdata(product_tdata),
    .s_axis_tvalid(product_tvalid),
    .s_axis_tready(product_tready),
    .m_axis_tdata(scaled_tdata),
    .m_axis_tvalid(scaled_tvalid),
    .m_axis_tready(scaled_tready)
);

generate
    if (POOL == 1) begin : gen_at_once
        assign m_axis_tdata  = scaled_tdata;
        assign m_axis_tvalid = scaled_tvalid;
        assign scaled_tready = m_axis_tready;
    end else begin : gen_results
        abbnn_fifo #(
            .DATA_WIDTH(PE * SCALED_WIDTH),
            .DEPTH(RESULTS)
        ) results_inst (
            .clk(clk),
            .rst(path_rst),
            .s_axis_tdata(scaled_tdata),
            .s_axis_tvalid(scaled_tvalid),
            .s_axis_tready(scaled_tready),
            .m_axis_tdata(m_axis_tdata),
            .m_axis_tvalid(m_axis_tvalid),
            .m_axis_tready(m_axis_tready)
        );
    end
endgenerate

endmodule

`resetall
