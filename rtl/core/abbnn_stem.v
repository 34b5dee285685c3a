// abbnn_stem.v : the first convolution: centred pixels times multi-bit weights, by add-subtract and shift
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// y = saturate(scale * (conv(pixel - CENTER) + bias)), then a PReLU and a 3x3 max-pool of stride 2 where asked for:
// resize - window - replay - sum_array - scale - (scale of negatives) - (max_pool).
// In: one pixel a beat, CHANNELS unsigned bytes, channel 0 lowest. The centre is subtracted in front of the window, so
// that a padded tap is 0. Out: PE values a beat. Weights come in PLANES planes of +-1, one plane a cycle.
// Cycles a frame: the convolution's positions * (OUT_CHANNELS / PE) * PLANES * (KERNEL * KERNEL * CHANNELS / SIMD).
module abbnn_stem #(
    // Prefix of the table files: PREFIX_weights.mem, _bias.mem, _scale.mem, _prelu.mem; "" leaves the tables empty.
    parameter PREFIX = "",
    // Colour channels of a pixel.
    parameter integer CHANNELS = 3,
    // Output channels.
    parameter integer OUT_CHANNELS = 4,
    // Image in pixels.
    parameter integer HEIGHT = 8,
    parameter integer WIDTH = 8,
    // Kernel side (odd) and stride (1 or 2); padding is KERNEL / 2.
    parameter integer KERNEL = 3,
    parameter integer STRIDE = 2,
    // Integer subtracted from each channel's pixels, 8 bits a channel, channel 0 lowest.
    parameter [8*CHANNELS-1:0] CENTER = 0,
    // Output lanes, divides OUT_CHANNELS.
    parameter integer PE = 2,
    // Inputs a cycle: KERNEL * KERNEL times a divisor of CHANNELS.
    parameter integer SIMD = 27,
    // Weight planes: weights are odd integers within +-(2**PLANES - 1).
    parameter integer PLANES = 8,
    // Bits of a sum.
    parameter integer SUM_WIDTH = 24,
    // abbnn_scale: terms, bits of a shift, guard bits, bits of the terms' sum.
    parameter integer SCALE_TERMS = 1,
    parameter integer SCALE_SHIFT_WIDTH = 3,
    parameter integer SCALE_GUARD = 8,
    parameter integer SCALE_SUM_WIDTH = 28,
    // 1: a PReLU behind the scale, an abbnn_scale of negative values: its terms and bits, as above.
    parameter integer PRELU = 0,
    parameter integer PRELU_TERMS = 1,
    parameter integer PRELU_SHIFT_WIDTH = 3,
    parameter integer PRELU_GUARD = 4,
    parameter integer PRELU_SUM_WIDTH = 24,
    // 1: a 3x3 max-pool of stride 2, padded by 1, at the end.
    parameter integer MAX_POOL = 0,
    // Bits of a value.
    parameter integer VALUE_WIDTH = 16,
    // Number of the weights on the load bus (abbnn_memory); + 1 biases, + 2 scale, + 3 PReLU. -1: the tables come from
    // files and stay.
    parameter integer LOAD_MEMORY = -1
) (
    input  wire                      clk,
    input  wire                      rst,
    input  wire [76:0]               load,

    input  wire [8*CHANNELS-1:0]     s_axis_tdata,
    input  wire                      s_axis_tvalid,
    output wire                      s_axis_tready,

    output wire [PE*VALUE_WIDTH-1:0] m_axis_tdata,
    output wire                      m_axis_tvalid,
    input  wire                      m_axis_tready
);

localparam integer PIXEL_WIDTH = 9;
localparam integer LANES = SIMD / (KERNEL * KERNEL);
localparam integer GROUPS = CHANNELS / LANES;
localparam integer FOLDS = OUT_CHANNELS / PE;
localparam integer CONV_HEIGHT = (HEIGHT + STRIDE - 1) / STRIDE;
localparam integer CONV_WIDTH = (WIDTH + STRIDE - 1) / STRIDE;

generate
    if (PRELU != 0 && PRELU != 1) begin : gen_check_prelu
        PRELU_must_be_0_or_1 param_error ();
    end
    if (MAX_POOL != 0 && MAX_POOL != 1) begin : gen_check_max_pool
        MAX_POOL_must_be_0_or_1 param_error ();
    end
    if (CHANNELS < 1 || SIMD < KERNEL * KERNEL || SIMD % (KERNEL * KERNEL) != 0
            || CHANNELS % (SIMD / (KERNEL * KERNEL)) != 0) begin : gen_check_simd
        SIMD_must_be_KERNEL_squared_times_a_divisor_of_CHANNELS param_error ();
    end
    if (PE < 1 || OUT_CHANNELS % PE != 0) begin : gen_check_pe
        PE_must_divide_OUT_CHANNELS param_error ();
    end
endgenerate

wire [CHANNELS*PIXEL_WIDTH-1:0] centred;

generate
    genvar c;
    for (c = 0; c < CHANNELS; c = c + 1) begin : gen_centre
        assign centred[c*PIXEL_WIDTH +: PIXEL_WIDTH] = {1'b0, s_axis_tdata[8*c +: 8]} - {1'b0, CENTER[8*c +: 8]};
    end
endgenerate

wire [CHANNELS*PIXEL_WIDTH-1:0] pixel_tdata;
wire                            pixel_tvalid;
wire                            pixel_tready;
wire [LANES*PIXEL_WIDTH-1:0]    group_tdata;
wire                            group_tvalid;
wire                            group_tready;
wire [SIMD*PIXEL_WIDTH-1:0]     window_tdata;
wire                            window_tvalid;
wire                            window_tready;
wire [SIMD*PIXEL_WIDTH-1:0]     replay_tdata;
wire                            replay_tvalid;
wire                            replay_tready;
wire [PE*SUM_WIDTH-1:0]         sum_tdata;
wire                            sum_tvalid;
wire                            sum_tready;
wire [PE*SUM_WIDTH-1:0]         array_tdata;
wire                            array_tvalid;
wire                            array_tready;
wire [PE*VALUE_WIDTH-1:0]       scaled_tdata;
wire                            scaled_tvalid;
wire                            scaled_tready;
wire [PE*VALUE_WIDTH-1:0]       active_tdata;
wire                            active_tvalid;
wire                            active_tready;
wire [PE*VALUE_WIDTH-1:0]       value_tdata;
wire                            value_tvalid;
wire                            value_tready;

abbnn_skid #(
    .DATA_WIDTH(CHANNELS * PIXEL_WIDTH)
) input_skid_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(centred),
    .s_axis_tvalid(s_axis_tvalid),
    .s_axis_tready(s_axis_tready),
    .m_axis_tdata(pixel_tdata),
    .m_axis_tvalid(pixel_tvalid),
    .m_axis_tready(pixel_tready)
);

abbnn_resize #(
    .LANE_WIDTH(PIXEL_WIDTH),
    .S_LANES(CHANNELS),
    .M_LANES(LANES)
) resize_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(pixel_tdata),
    .s_axis_tvalid(pixel_tvalid),
    .s_axis_tready(pixel_tready),
    .m_axis_tdata(group_tdata),
    .m_axis_tvalid(group_tvalid),
    .m_axis_tready(group_tready)
);

abbnn_window #(
    .DATA_WIDTH(PIXEL_WIDTH),
    .LANES(LANES),
    .GROUPS(GROUPS),
    .HEIGHT(HEIGHT),
    .WIDTH(WIDTH),
    .KERNEL(KERNEL),
    .STRIDE(STRIDE)
) window_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(group_tdata),
    .s_axis_tvalid(group_tvalid),
    .s_axis_tready(group_tready),
    .m_axis_tdata(window_tdata),
    .m_axis_tvalid(window_tvalid),
    .m_axis_tready(window_tready)
);

abbnn_replay #(
    .DATA_WIDTH(SIMD * PIXEL_WIDTH),
    .DEPTH(GROUPS),
    .TIMES(FOLDS * PLANES)
) replay_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(window_tdata),
    .s_axis_tvalid(window_tvalid),
    .s_axis_tready(window_tready),
    .m_axis_tdata(replay_tdata),
    .m_axis_tvalid(replay_tvalid),
    .m_axis_tready(replay_tready)
);

abbnn_sum_array #(
    .PE(PE),
    .SIMD(SIMD),
    .SIMD_FOLD(GROUPS),
    .CHANNELS(OUT_CHANNELS),
    .PLANES(PLANES),
    .DATA_WIDTH(PIXEL_WIDTH),
    .SUM_WIDTH(SUM_WIDTH),
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
    .m_axis_tdata(array_tdata),
    .m_axis_tvalid(array_tvalid),
    .m_axis_tready(array_tready)
);

abbnn_skid #(
    .DATA_WIDTH(PE * SUM_WIDTH)
) sum_skid_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(array_tdata),
    .s_axis_tvalid(array_tvalid),
    .s_axis_tready(array_tready),
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
    .M_WIDTH(VALUE_WIDTH),
    .TABLE_FILE((PREFIX == "") ? "" : {PREFIX, "_scale.mem"}),
    .LOAD_MEMORY((LOAD_MEMORY < 0) ? -1 : LOAD_MEMORY + 2)
) scale_inst (
    .clk(clk),
    .rst(rst),
    .load(load),
    .s_axis_tdata(sum_tdata),
    .s_axis_tvalid(sum_tvalid),
    .s_axis_tready(sum_tready),
    .m_axis_tdata(scaled_tdata),
    .m_axis_tvalid(scaled_tvalid),
    .m_axis_tready(scaled_tready)
);

generate
    if (PRELU == 1) begin : gen_prelu
        abbnn_scale #(
            .LANES(PE),
            .CHANNELS(OUT_CHANNELS),
            .PRELU(1),
            .TERMS(PRELU_TERMS),
            .SHIFT_WIDTH(PRELU_SHIFT_WIDTH),
            .GUARD(PRELU_GUARD),
            .S_WIDTH(VALUE_WIDTH),
            .SUM_WIDTH(PRELU_SUM_WIDTH),
            .M_WIDTH(VALUE_WIDTH),
            .TABLE_FILE((PREFIX == "") ? "" : {PREFIX, "_prelu.mem"}),
            .LOAD_MEMORY((LOAD_MEMORY < 0) ? -1 : LOAD_MEMORY + 3)
        ) prelu_inst (
            .clk(clk),
            .rst(rst),
            .load(load),
            .s_axis_tdata(scaled_tdata),
            .s_axis_tvalid(scaled_tvalid),
            .s_axis_tready(scaled_tready),
            .m_axis_tdata(active_tdata),
            .m_axis_tvalid(active_tvalid),
            .m_axis_tready(active_tready)
        );
    end else begin : gen_no_prelu
        assign active_tdata  = scaled_tdata;
        assign active_tvalid = scaled_tvalid;
        assign scaled_tready = active_tready;
    end
    if (MAX_POOL == 1) begin : gen_max_pool
        abbnn_max_pool #(
            .LANES(PE),
            .CHANNELS(OUT_CHANNELS),
            .VALUE_WIDTH(VALUE_WIDTH),
            .HEIGHT(CONV_HEIGHT),
            .WIDTH(CONV_WIDTH)
        ) max_pool_inst (
            .clk(clk),
            .rst(rst),
            .s_axis_tdata(active_tdata),
            .s_axis_tvalid(active_tvalid),
            .s_axis_tready(active_tready),
            .m_axis_tdata(value_tdata),
            .m_axis_tvalid(value_tvalid),
            .m_axis_tready(value_tready)
        );
    end else begin : gen_no_max_pool
        assign value_tdata   = active_tdata;
        assign value_tvalid  = active_tvalid;
        assign active_tready = value_tready;
    end
endgenerate

abbnn_skid #(
    .DATA_WIDTH(PE * VALUE_WIDTH)
) output_skid_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(value_tdata),
    .s_axis_tvalid(value_tvalid),
    .s_axis_tready(value_tready),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready)
);

endmodule

`resetall
