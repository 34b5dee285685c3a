// abbnn_block.v : one binary residual block: sign, 3x3 binary convolution, scale, residual, QPReLU
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// y = QPReLU(scale * conv3x3(sign(x)) + residual), values in and values out:
//
//   s_axis -+- compare - resize - window - replay - xnor_array - scale -+
//           |                                                          add - qprelu - skid - m_axis
//           +- STRIDE 1: fifo - resize ---------------------------------+
//           +- STRIDE 2: abbnn_shortcut --------------------------------+
//
// In: S_LANES values a beat, HEIGHT x WIDTH pixels of IN_CHANNELS. Out: PE values a beat, pixels of OUT_CHANNELS.
// Cycles a frame: positions * (OUT_CHANNELS / PE) * (9 * IN_CHANNELS / SIMD), if OUT_CHANNELS / PE is at least 2.
// Deadlock-free: the residual FIFO holds more beats than the convolution path must see before its first result.
module abbnn_block #(
    // Prefix of the table files: PREFIX_threshold.mem and so on; "" leaves the tables empty (lint).
    parameter PREFIX = "",
    // Channels in and out; equal with STRIDE 1.
    parameter integer IN_CHANNELS = 4,
    parameter integer OUT_CHANNELS = 4,
    // Input map in pixels; even with STRIDE 2.
    parameter integer HEIGHT = 4,
    parameter integer WIDTH = 4,
    // 1: identity residual. 2: 2x2 average and 1x1 binary-weight convolution as residual.
    parameter integer STRIDE = 1,
    // Lanes of the input stream, divides IN_CHANNELS.
    parameter integer S_LANES = 2,
    // Output lanes, divides OUT_CHANNELS.
    parameter integer PE = 2,
    // Binary inputs a cycle: 9 times a divisor of IN_CHANNELS.
    parameter integer SIMD = 18,
    // Bits of a value.
    parameter integer VALUE_WIDTH = 16,
    // Bits of a convolution sum, holds +-9 * IN_CHANNELS.
    parameter integer SUM_WIDTH = 8,
    // abbnn_scale behind the convolution: terms, bits of a shift, guard bits, bits of the terms' sum and of the result.
    parameter integer SCALE_TERMS = 1,
    parameter integer SCALE_SHIFT_WIDTH = 3,
    parameter integer SCALE_GUARD = 0,
    parameter integer SCALE_SUM_WIDTH = 15,
    parameter integer SCALED_WIDTH = 15,
    // abbnn_shortcut (STRIDE 2 only): input lanes, bits of the sum, and its scale as above.
    parameter integer SHORTCUT_SIMD = 1,
    parameter integer SHORTCUT_SUM_WIDTH = 20,
    parameter integer SHORTCUT_SHIFT_WIDTH = 3,
    parameter integer SHORTCUT_GUARD = 3,
    parameter integer SHORTCUT_TERMS = 1,
    parameter integer SHORTCUT_SCALE_SUM_WIDTH = 24,
    parameter integer SHORTCUT_SCALED_WIDTH = 20,
    // abbnn_qprelu: bits of its fields, greatest left shift, bits of the shift amount.
    parameter integer FIELD_WIDTH = 21,
    parameter integer LEFT_MAX = 3,
    parameter integer ACTIVATION_SHIFT_WIDTH = 4
) (
    input  wire                           clk,
    input  wire                           rst,

    input  wire [S_LANES*VALUE_WIDTH-1:0] s_axis_tdata,
    input  wire                           s_axis_tvalid,
    output wire                           s_axis_tready,

    output wire [PE*VALUE_WIDTH-1:0]      m_axis_tdata,
    output wire                           m_axis_tvalid,
    input  wire                           m_axis_tready,
    output wire                           m_axis_tlast
);

localparam integer BIT_LANES = SIMD / 9;
localparam integer GROUPS = IN_CHANNELS / BIT_LANES;
localparam integer FOLDS = OUT_CHANNELS / PE;
localparam integer OUT_HEIGHT = HEIGHT / STRIDE;
localparam integer OUT_WIDTH = WIDTH / STRIDE;
localparam integer RESIDUAL_WIDTH = (STRIDE == 1) ? VALUE_WIDTH : SHORTCUT_SCALED_WIDTH;
localparam integer ADDED_WIDTH = ((SCALED_WIDTH > RESIDUAL_WIDTH) ? SCALED_WIDTH : RESIDUAL_WIDTH) + 1;
// The convolution's first result needs one row and two pixels; two more pixels are in the replay buffer, and every
// register of the path may hold another beat (PATH_BEATS bounds their number). With room for all of that the input is
// never held back by the residual alone.
localparam integer PATH_BEATS = 48;
localparam integer RESIDUAL_DEPTH = (WIDTH + 4) * (IN_CHANNELS / S_LANES) + PATH_BEATS;

generate
    if (STRIDE != 1 && STRIDE != 2) begin : gen_check_stride
        STRIDE_must_be_1_or_2 param_error ();
    end
    if (STRIDE == 1 && IN_CHANNELS != OUT_CHANNELS) begin : gen_check_identity
        STRIDE_1_needs_OUT_CHANNELS_equal_to_IN_CHANNELS param_error ();
    end
    if (STRIDE == 2 && (HEIGHT % 2 != 0 || WIDTH % 2 != 0)) begin : gen_check_even
        STRIDE_2_needs_an_even_HEIGHT_and_WIDTH param_error ();
    end
    if (IN_CHANNELS < 1 || S_LANES < 1 || IN_CHANNELS % S_LANES != 0) begin : gen_check_s_lanes
        S_LANES_must_divide_IN_CHANNELS param_error ();
    end
    if (SIMD < 9 || SIMD % 9 != 0 || IN_CHANNELS % (SIMD / 9) != 0) begin : gen_check_simd
        SIMD_must_be_9_times_a_divisor_of_IN_CHANNELS param_error ();
    end
    if (PE < 1 || OUT_CHANNELS % PE != 0) begin : gen_check_pe
        PE_must_divide_OUT_CHANNELS param_error ();
    end
endgenerate

wire [S_LANES*VALUE_WIDTH-1:0] sign_tdata;
wire                           sign_tvalid;
wire                           sign_tready;
wire [S_LANES*VALUE_WIDTH-1:0] skip_tdata;
wire                           skip_tvalid;
wire                           skip_tready;

abbnn_fork #(
    .DATA_WIDTH(S_LANES * VALUE_WIDTH)
) fork_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(s_axis_tdata),
    .s_axis_tvalid(s_axis_tvalid),
    .s_axis_tready(s_axis_tready),
    .m0_axis_tdata(sign_tdata),
    .m0_axis_tvalid(sign_tvalid),
    .m0_axis_tready(sign_tready),
    .m1_axis_tdata(skip_tdata),
    .m1_axis_tvalid(skip_tvalid),
    .m1_axis_tready(skip_tready)
);

// ---- convolution path

wire [S_LANES-1:0]   bits_tdata;
wire                 bits_tvalid;
wire                 bits_tready;
wire [BIT_LANES-1:0] group_tdata;
wire                 group_tvalid;
wire                 group_tready;
wire [SIMD-1:0]      window_tdata;
wire                 window_tvalid;
wire                 window_tready;
wire [SIMD-1:0]      replay_tdata;
wire                 replay_tvalid;
wire                 replay_tready;
wire [PE*SUM_WIDTH-1:0]    conv_tdata;
wire                       conv_tvalid;
wire                       conv_tready;
wire [PE*SCALED_WIDTH-1:0] scaled_tdata;
wire                       scaled_tvalid;
wire                       scaled_tready;

abbnn_compare #(
    .LANES(S_LANES),
    .CHANNELS(IN_CHANNELS),
    .VALUE_WIDTH(VALUE_WIDTH),
    .TABLE_FILE((PREFIX == "") ? "" : {PREFIX, "_threshold.mem"})
) compare_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(sign_tdata),
    .s_axis_tvalid(sign_tvalid),
    .s_axis_tready(sign_tready),
    .m_axis_tdata(bits_tdata),
    .m_axis_tvalid(bits_tvalid),
    .m_axis_tready(bits_tready)
);

abbnn_resize #(
    .LANE_WIDTH(1),
    .S_LANES(S_LANES),
    .M_LANES(BIT_LANES)
) bits_resize_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(bits_tdata),
    .s_axis_tvalid(bits_tvalid),
    .s_axis_tready(bits_tready),
    .m_axis_tdata(group_tdata),
    .m_axis_tvalid(group_tvalid),
    .m_axis_tready(group_tready)
);

abbnn_window #(
    .DATA_WIDTH(1),
    .LANES(BIT_LANES),
    .GROUPS(GROUPS),
    .HEIGHT(HEIGHT),
    .WIDTH(WIDTH),
    .KERNEL(3),
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
    .DATA_WIDTH(SIMD),
    .DEPTH(GROUPS),
    .TIMES(FOLDS)
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

abbnn_xnor_array #(
    .PE(PE),
    .SIMD(SIMD),
    .SIMD_FOLD(GROUPS),
    .CHANNELS(OUT_CHANNELS),
    .OUT_HEIGHT(OUT_HEIGHT),
    .OUT_WIDTH(OUT_WIDTH),
    .BORDER(1),
    .SUM_WIDTH(SUM_WIDTH),
    .WEIGHT_FILE((PREFIX == "") ? "" : {PREFIX, "_weights.mem"}),
    .CORRECTION_FILE((PREFIX == "") ? "" : {PREFIX, "_correction.mem"})
) array_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(replay_tdata),
    .s_axis_tvalid(replay_tvalid),
    .s_axis_tready(replay_tready),
    .m_axis_tdata(conv_tdata),
    .m_axis_tvalid(conv_tvalid),
    .m_axis_tready(conv_tready)
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
    .s_axis_tdata(conv_tdata),
    .s_axis_tvalid(conv_tvalid),
    .s_axis_tready(conv_tready),
    .m_axis_tdata(scaled_tdata),
    .m_axis_tvalid(scaled_tvalid),
    .m_axis_tready(scaled_tready)
);

// ---- residual path

wire [PE*RESIDUAL_WIDTH-1:0] residual_tdata;
wire                         residual_tvalid;
wire                         residual_tready;

generate
    if (STRIDE == 1) begin : gen_identity
        wire [S_LANES*VALUE_WIDTH-1:0] delayed_tdata;
        wire                           delayed_tvalid;
        wire                           delayed_tready;

        abbnn_fifo #(
            .DATA_WIDTH(S_LANES * VALUE_WIDTH),
            .DEPTH(RESIDUAL_DEPTH)
        ) fifo_inst (
            .clk(clk),
            .rst(rst),
            .s_axis_tdata(skip_tdata),
            .s_axis_tvalid(skip_tvalid),
            .s_axis_tready(skip_tready),
            .m_axis_tdata(delayed_tdata),
            .m_axis_tvalid(delayed_tvalid),
            .m_axis_tready(delayed_tready)
        );

        abbnn_resize #(
            .LANE_WIDTH(VALUE_WIDTH),
            .S_LANES(S_LANES),
            .M_LANES(PE)
        ) resize_inst (
            .clk(clk),
            .rst(rst),
            .s_axis_tdata(delayed_tdata),
            .s_axis_tvalid(delayed_tvalid),
            .s_axis_tready(delayed_tready),
            .m_axis_tdata(residual_tdata),
            .m_axis_tvalid(residual_tvalid),
            .m_axis_tready(residual_tready)
        );
    end else begin : gen_shortcut
        abbnn_shortcut #(
            .PREFIX((PREFIX == "") ? "" : {PREFIX, "_shortcut"}),
            .IN_CHANNELS(IN_CHANNELS),
            .OUT_CHANNELS(OUT_CHANNELS),
            .HEIGHT(HEIGHT),
            .WIDTH(WIDTH),
            .S_LANES(S_LANES),
            .PE(PE),
            .SIMD(SHORTCUT_SIMD),
            .VALUE_WIDTH(VALUE_WIDTH),
            .SUM_WIDTH(SHORTCUT_SUM_WIDTH),
            .SCALE_TERMS(SHORTCUT_TERMS),
            .SCALE_SHIFT_WIDTH(SHORTCUT_SHIFT_WIDTH),
            .SCALE_GUARD(SHORTCUT_GUARD),
            .SCALE_SUM_WIDTH(SHORTCUT_SCALE_SUM_WIDTH),
            .SCALED_WIDTH(SHORTCUT_SCALED_WIDTH)
        ) shortcut_inst (
            .clk(clk),
            .rst(rst),
            .s_axis_tdata(skip_tdata),
            .s_axis_tvalid(skip_tvalid),
            .s_axis_tready(skip_tready),
            .m_axis_tdata(residual_tdata),
            .m_axis_tvalid(residual_tvalid),
            .m_axis_tready(residual_tready)
        );
    end
endgenerate

// ---- residual addition and activation

wire [PE*ADDED_WIDTH-1:0] added_tdata;
wire                      added_tvalid;
wire                      added_tready;
wire [PE*VALUE_WIDTH-1:0] active_tdata;
wire                      active_tvalid;
wire                      active_tready;

abbnn_add #(
    .LANES(PE),
    .A_WIDTH(SCALED_WIDTH),
    .B_WIDTH(RESIDUAL_WIDTH)
) add_inst (
    .clk(clk),
    .rst(rst),
    .s0_axis_tdata(scaled_tdata),
    .s0_axis_tvalid(scaled_tvalid),
    .s0_axis_tready(scaled_tready),
    .s1_axis_tdata(residual_tdata),
    .s1_axis_tvalid(residual_tvalid),
    .s1_axis_tready(residual_tready),
    .m_axis_tdata(added_tdata),
    .m_axis_tvalid(added_tvalid),
    .m_axis_tready(added_tready)
);

abbnn_qprelu #(
    .LANES(PE),
    .CHANNELS(OUT_CHANNELS),
    .S_WIDTH(ADDED_WIDTH),
    .M_WIDTH(VALUE_WIDTH),
    .FIELD_WIDTH(FIELD_WIDTH),
    .LEFT_MAX(LEFT_MAX),
    .SHIFT_WIDTH(ACTIVATION_SHIFT_WIDTH),
    .TABLE_FILE((PREFIX == "") ? "" : {PREFIX, "_activation.mem"})
) qprelu_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(added_tdata),
    .s_axis_tvalid(added_tvalid),
    .s_axis_tready(added_tready),
    .m_axis_tdata(active_tdata),
    .m_axis_tvalid(active_tvalid),
    .m_axis_tready(active_tready)
);

abbnn_framer #(
    .DATA_WIDTH(PE * VALUE_WIDTH),
    .BEATS(OUT_HEIGHT * OUT_WIDTH * FOLDS)
) framer_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(active_tdata),
    .s_axis_tvalid(active_tvalid),
    .s_axis_tready(active_tready),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready),
    .m_axis_tlast(m_axis_tlast)
);

endmodule

`resetall
