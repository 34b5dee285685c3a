// abbnn_block.v : one binary residual block: sign, binary convolution, scale, residual, activation
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// y = activation(scale * conv(sign(x)) + residual), values in and values out:
//
//   s_axis -+- compare - resize - window - replay - xnor_array - scale -+
//           |                                                          add - activation - skid - m_axis
//           +- 0 identity: resize - fifo - resize ----------------------+
//           +- 1 repeat:   resize - fifo - resize - replay -------------+
//           +- 2 pool:     2x2 average - resize - fifo - resize ---------+
//           +- 3, 4:       abbnn_shortcut ------------------------------+
//
// In: S_LANES values a beat, HEIGHT x WIDTH pixels of IN_CHANNELS. Out: PE values a beat, pixels of OUT_CHANNELS.
// Cycles a frame: positions * (OUT_CHANNELS / PE) * (KERNEL * KERNEL * IN_CHANNELS / SIMD), or what the window needs.
// Deadlock-free: the residual FIFO holds more beats than the convolution path must see before its first result.
module abbnn_block #(
    // Prefix of the table files: PREFIX_threshold.mem and so on; "" leaves the tables empty (lint).
    parameter PREFIX = "",
    // Channels in and out.
    parameter integer IN_CHANNELS = 4,
    parameter integer OUT_CHANNELS = 4,
    // Input map in pixels; even with STRIDE 2.
    parameter integer HEIGHT = 4,
    parameter integer WIDTH = 4,
    // Side of the binary kernel, 1 or 3; padding is KERNEL / 2.
    parameter integer KERNEL = 3,
    // 1 with the residuals 0 and 1, else 2.
    parameter integer STRIDE = 1,
    // Residual. 0: the input. 1: the input twice. 2: its 2x2 average. 3: a 1x1 convolution with binary weights of the
    // average, 4: of the pixels of even rows and columns. OUT_CHANNELS is IN_CHANNELS with 0 and 2, twice that with 1.
    parameter integer SHORTCUT = 0,
    // 0: none, the sum only saturates. 1: biases and QPReLU. 2: PReLU.
    parameter integer ACTIVATION = 1,
    // Lanes of the input stream, divides IN_CHANNELS.
    parameter integer S_LANES = 2,
    // Output lanes, divides OUT_CHANNELS; with SHORTCUT 1 also IN_CHANNELS.
    parameter integer PE = 2,
    // Binary inputs a cycle: KERNEL * KERNEL times a divisor of IN_CHANNELS.
    parameter integer SIMD = 18,
    // Bits of a value.
    parameter integer VALUE_WIDTH = 16,
    // Bits of a convolution sum, holds +-KERNEL * KERNEL * IN_CHANNELS.
    parameter integer SUM_WIDTH = 8,
    // abbnn_scale behind the convolution: terms, bits of a shift, guard bits, bits of the terms' sum and of the result.
    parameter integer SCALE_TERMS = 1,
    parameter integer SCALE_SHIFT_WIDTH = 3,
    parameter integer SCALE_GUARD = 0,
    parameter integer SCALE_SUM_WIDTH = 15,
    parameter integer SCALED_WIDTH = 15,
    // abbnn_shortcut (SHORTCUT 3 and 4): input lanes, weight planes, bits of the sum, and its scale as above.
    parameter integer SHORTCUT_SIMD = 1,
    parameter integer SHORTCUT_PLANES = 1,
    parameter integer SHORTCUT_SUM_WIDTH = 20,
    parameter integer SHORTCUT_SCALE_TERMS = 1,
    parameter integer SHORTCUT_SCALE_SHIFT_WIDTH = 3,
    parameter integer SHORTCUT_SCALE_GUARD = 3,
    parameter integer SHORTCUT_SCALE_SUM_WIDTH = 24,
    parameter integer SHORTCUT_SCALED_WIDTH = 20,
    // abbnn_qprelu (ACTIVATION 1): bits of its fields, greatest left shift, bits of the shift amount.
    parameter integer FIELD_WIDTH = 21,
    parameter integer LEFT_MAX = 3,
    parameter integer ACTIVATION_SHIFT_WIDTH = 4,
    // abbnn_scale of negative values (ACTIVATION 2): terms and bits as above.
    parameter integer PRELU_TERMS = 1,
    parameter integer PRELU_SHIFT_WIDTH = 3,
    parameter integer PRELU_GUARD = 4,
    parameter integer PRELU_SUM_WIDTH = 25,
    // Where the convolution's weights go: as in abbnn_xnor_array.
    parameter integer WEIGHT_MEMORY = 0,
    // Number of the thresholds on the load bus (abbnn_memory); + 1 weights, + 2 corrections, + 3 scale, + 4 QPReLU,
    // + 5 PReLU, + 6 to + 8 the tables of abbnn_shortcut. -1: the tables come from files and stay.
    parameter integer LOAD_MEMORY = -1
) (
    input  wire                           clk,
    input  wire                           rst,
    input  wire [76:0]                    load,

    input  wire [S_LANES*VALUE_WIDTH-1:0] s_axis_tdata,
    input  wire                           s_axis_tvalid,
    output wire                           s_axis_tready,

    output wire [PE*VALUE_WIDTH-1:0]      m_axis_tdata,
    output wire                           m_axis_tvalid,
    input  wire                           m_axis_tready
);

localparam integer BIT_LANES = SIMD / (KERNEL * KERNEL);
localparam integer GROUPS = IN_CHANNELS / BIT_LANES;
localparam integer FOLDS = OUT_CHANNELS / PE;
localparam integer OUT_HEIGHT = HEIGHT / STRIDE;
localparam integer OUT_WIDTH = WIDTH / STRIDE;
localparam integer RESIDUAL_WIDTH = (SHORTCUT < 3) ? VALUE_WIDTH : SHORTCUT_SCALED_WIDTH;
localparam integer ADDED_WIDTH = ((SCALED_WIDTH > RESIDUAL_WIDTH) ? SCALED_WIDTH : RESIDUAL_WIDTH) + 1;
// A 3x3 convolution's first result needs one row and two pixels of the input; two more pixels are in the replay buffer,
// and every register of the path may hold another beat (PATH_BEATS bounds their number). With room for all of that the
// input is never held back by the residual alone. Averages come in bursts, every second row, and need room for a row.
// The FIFO's words have the wider side's lanes, so that a residual for every result is there in time.
localparam integer KEPT_LANES = (PE > S_LANES) ? PE : S_LANES;
localparam integer PATH_BEATS = (72 * S_LANES + KEPT_LANES - 1) / KEPT_LANES;
localparam integer RESIDUAL_PIXELS = (SHORTCUT == 2) ? WIDTH / 2 + 4 : (KERNEL == 3) ? WIDTH + 4 : 3;
localparam integer RESIDUAL_DEPTH = RESIDUAL_PIXELS * (IN_CHANNELS / KEPT_LANES) + PATH_BEATS;

generate
    if (KERNEL != 1 && KERNEL != 3) begin : gen_check_kernel
        KERNEL_must_be_1_or_3 param_error ();
    end
    if (SHORTCUT < 0 || SHORTCUT > 4) begin : gen_check_shortcut
        SHORTCUT_must_be_0_to_4 param_error ();
    end
    if (ACTIVATION < 0 || ACTIVATION > 2) begin : gen_check_activation
        ACTIVATION_must_be_0_to_2 param_error ();
    end
    if (STRIDE != ((SHORTCUT < 2) ? 1 : 2)) begin : gen_check_stride
        STRIDE_must_be_1_with_SHORTCUT_0_and_1_else_2 param_error ();
    end
    if (STRIDE == 2 && KERNEL == 1) begin : gen_check_window
        STRIDE_2_needs_KERNEL_3 param_error ();
    end
    if (STRIDE == 2 && (HEIGHT % 2 != 0 || WIDTH % 2 != 0)) begin : gen_check_even
        STRIDE_2_needs_an_even_HEIGHT_and_WIDTH param_error ();
    end
    if ((SHORTCUT == 0 || SHORTCUT == 2) && OUT_CHANNELS != IN_CHANNELS) begin : gen_check_same
        SHORTCUT_0_and_2_need_OUT_CHANNELS_equal_to_IN_CHANNELS param_error ();
    end
    if (SHORTCUT == 1 && OUT_CHANNELS != 2 * IN_CHANNELS) begin : gen_check_twice
        SHORTCUT_1_needs_OUT_CHANNELS_twice_IN_CHANNELS param_error ();
    end
    if (IN_CHANNELS < 1 || S_LANES < 1 || IN_CHANNELS % S_LANES != 0) begin : gen_check_s_lanes
        S_LANES_must_divide_IN_CHANNELS param_error ();
    end
    if (SIMD < KERNEL * KERNEL || SIMD % (KERNEL * KERNEL) != 0
            || IN_CHANNELS % (SIMD / (KERNEL * KERNEL)) != 0) begin : gen_check_simd
        SIMD_must_be_KERNEL_squared_times_a_divisor_of_IN_CHANNELS param_error ();
    end
    if (PE < 1 || OUT_CHANNELS % PE != 0 || (SHORTCUT == 1 && IN_CHANNELS % PE != 0)) begin : gen_check_pe
        PE_must_divide_OUT_CHANNELS_and_with_SHORTCUT_1_IN_CHANNELS param_error ();
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
wire [S_LANES-1:0]   compared_tdata;
wire                 compared_tvalid;
wire                 compared_tready;
wire [BIT_LANES-1:0] resized_tdata;
wire                 resized_tvalid;
wire                 resized_tready;
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
    .TABLE_FILE((PREFIX == "") ? "" : {PREFIX, "_threshold.mem"}),
    .LOAD_MEMORY(LOAD_MEMORY)
) compare_inst (
    .clk(clk),
    .rst(rst),
    .load(load),
    .s_axis_tdata(sign_tdata),
    .s_axis_tvalid(sign_tvalid),
    .s_axis_tready(sign_tready),
    .m_axis_tdata(compared_tdata),
    .m_axis_tvalid(compared_tvalid),
    .m_axis_tready(compared_tready)
);

abbnn_skid #(
    .DATA_WIDTH(S_LANES)
) bits_skid_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(compared_tdata),
    .s_axis_tvalid(compared_tvalid),
    .s_axis_tready(compared_tready),
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
    .m_axis_tdata(resized_tdata),
    .m_axis_tvalid(resized_tvalid),
    .m_axis_tready(resized_tready)
);

abbnn_skid #(
    .DATA_WIDTH(BIT_LANES)
) group_skid_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(resized_tdata),
    .s_axis_tvalid(resized_tvalid),
    .s_axis_tready(resized_tready),
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
    .BORDER((KERNEL == 3) ? 1 : 0),
    .SUM_WIDTH(SUM_WIDTH),
    .WEIGHT_MEMORY(WEIGHT_MEMORY),
    .WEIGHT_FILE((PREFIX == "") ? "" : {PREFIX, "_weights.mem"}),
    .CORRECTION_FILE((PREFIX == "") ? "" : {PREFIX, "_correction.mem"}),
    .LOAD_MEMORY((LOAD_MEMORY < 0) ? -1 : LOAD_MEMORY + 1)
) array_inst (
    .clk(clk),
    .rst(rst),
    .load(load),
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
    .TABLE_FILE((PREFIX == "") ? "" : {PREFIX, "_scale.mem"}),
    .LOAD_MEMORY((LOAD_MEMORY < 0) ? -1 : LOAD_MEMORY + 3)
) scale_inst (
    .clk(clk),
    .rst(rst),
    .load(load),
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
    if (SHORTCUT < 3) begin : gen_values
        wire [S_LANES*VALUE_WIDTH-1:0]    small_tdata;
        wire                              small_tvalid;
        wire                              small_tready;
        wire [KEPT_LANES*VALUE_WIDTH-1:0] kept_tdata;
        wire                              kept_tvalid;
        wire                              kept_tready;
        wire [KEPT_LANES*VALUE_WIDTH-1:0] delayed_tdata;
        wire                              delayed_tvalid;
        wire                              delayed_tready;
        wire [PE*VALUE_WIDTH-1:0]         grouped_tdata;
        wire                              grouped_tvalid;
        wire                              grouped_tready;

        if (SHORTCUT == 2) begin : gen_pool
            abbnn_pool #(
                .LANES(S_LANES),
                .CHANNELS(IN_CHANNELS),
                .VALUE_WIDTH(VALUE_WIDTH),
                .HEIGHT(HEIGHT),
                .WIDTH(WIDTH)
            ) pool_inst (
                .clk(clk),
                .rst(rst),
                .s_axis_tdata(skip_tdata),
                .s_axis_tvalid(skip_tvalid),
                .s_axis_tready(skip_tready),
                .m_axis_tdata(small_tdata),
                .m_axis_tvalid(small_tvalid),
                .m_axis_tready(small_tready)
            );
        end else begin : gen_all
            assign small_tdata  = skip_tdata;
            assign small_tvalid = skip_tvalid;
            assign skip_tready  = small_tready;
        end

        abbnn_resize #(
            .LANE_WIDTH(VALUE_WIDTH),
            .S_LANES(S_LANES),
            .M_LANES(KEPT_LANES)
        ) kept_resize_inst (
            .clk(clk),
            .rst(rst),
            .s_axis_tdata(small_tdata),
            .s_axis_tvalid(small_tvalid),
            .s_axis_tready(small_tready),
            .m_axis_tdata(kept_tdata),
            .m_axis_tvalid(kept_tvalid),
            .m_axis_tready(kept_tready)
        );

        abbnn_fifo #(
            .DATA_WIDTH(KEPT_LANES * VALUE_WIDTH),
            .DEPTH(RESIDUAL_DEPTH)
        ) fifo_inst (
            .clk(clk),
            .rst(rst),
            .s_axis_tdata(kept_tdata),
            .s_axis_tvalid(kept_tvalid),
            .s_axis_tready(kept_tready),
            .m_axis_tdata(delayed_tdata),
            .m_axis_tvalid(delayed_tvalid),
            .m_axis_tready(delayed_tready)
        );

        abbnn_resize #(
            .LANE_WIDTH(VALUE_WIDTH),
            .S_LANES(KEPT_LANES),
            .M_LANES(PE)
        ) resize_inst (
            .clk(clk),
            .rst(rst),
            .s_axis_tdata(delayed_tdata),
            .s_axis_tvalid(delayed_tvalid),
            .s_axis_tready(delayed_tready),
            .m_axis_tdata(grouped_tdata),
            .m_axis_tvalid(grouped_tvalid),
            .m_axis_tready(grouped_tready)
        );

        if (SHORTCUT == 1) begin : gen_repeat
            abbnn_replay #(
                .DATA_WIDTH(PE * VALUE_WIDTH),
                .DEPTH(IN_CHANNELS / PE),
                .TIMES(2)
            ) repeat_inst (
                .clk(clk),
                .rst(rst),
                .s_axis_tdata(grouped_tdata),
                .s_axis_tvalid(grouped_tvalid),
                .s_axis_tready(grouped_tready),
                .m_axis_tdata(residual_tdata),
                .m_axis_tvalid(residual_tvalid),
                .m_axis_tready(residual_tready)
            );
        end else begin : gen_once
            assign residual_tdata  = grouped_tdata;
            assign residual_tvalid = grouped_tvalid;
            assign grouped_tready  = residual_tready;
        end
    end else begin : gen_shortcut
        abbnn_shortcut #(
            .PREFIX((PREFIX == "") ? "" : {PREFIX, "_shortcut"}),
            .POOL((SHORTCUT == 3) ? 1 : 0),
            .IN_CHANNELS(IN_CHANNELS),
            .OUT_CHANNELS(OUT_CHANNELS),
            .HEIGHT(HEIGHT),
            .WIDTH(WIDTH),
            .S_LANES(S_LANES),
            .PE(PE),
            .SIMD(SHORTCUT_SIMD),
            .PLANES(SHORTCUT_PLANES),
            .VALUE_WIDTH(VALUE_WIDTH),
            .SUM_WIDTH(SHORTCUT_SUM_WIDTH),
            .SCALE_TERMS(SHORTCUT_SCALE_TERMS),
            .SCALE_SHIFT_WIDTH(SHORTCUT_SCALE_SHIFT_WIDTH),
            .SCALE_GUARD(SHORTCUT_SCALE_GUARD),
            .SCALE_SUM_WIDTH(SHORTCUT_SCALE_SUM_WIDTH),
            .SCALED_WIDTH(SHORTCUT_SCALED_WIDTH),
            .LOAD_MEMORY((LOAD_MEMORY < 0) ? -1 : LOAD_MEMORY + 6)
        ) shortcut_inst (
            .clk(clk),
            .rst(rst),
            .load(load),
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
wire [PE*ADDED_WIDTH-1:0] sum_tdata;
wire                      sum_tvalid;
wire                      sum_tready;
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
    .m_axis_tdata(sum_tdata),
    .m_axis_tvalid(sum_tvalid),
    .m_axis_tready(sum_tready)
);

abbnn_skid #(
    .DATA_WIDTH(PE * ADDED_WIDTH)
) added_skid_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(sum_tdata),
    .s_axis_tvalid(sum_tvalid),
    .s_axis_tready(sum_tready),
    .m_axis_tdata(added_tdata),
    .m_axis_tvalid(added_tvalid),
    .m_axis_tready(added_tready)
);

generate
    if (ACTIVATION == 0) begin : gen_none
        abbnn_saturate #(
            .LANES(PE),
            .S_WIDTH(ADDED_WIDTH),
            .M_WIDTH(VALUE_WIDTH)
        ) saturate_inst (
            .clk(clk),
            .rst(rst),
            .s_axis_tdata(added_tdata),
            .s_axis_tvalid(added_tvalid),
            .s_axis_tready(added_tready),
            .m_axis_tdata(active_tdata),
            .m_axis_tvalid(active_tvalid),
            .m_axis_tready(active_tready)
        );
    end else if (ACTIVATION == 1) begin : gen_qprelu
        abbnn_qprelu #(
            .LANES(PE),
            .CHANNELS(OUT_CHANNELS),
            .S_WIDTH(ADDED_WIDTH),
            .M_WIDTH(VALUE_WIDTH),
            .FIELD_WIDTH(FIELD_WIDTH),
            .LEFT_MAX(LEFT_MAX),
            .SHIFT_WIDTH(ACTIVATION_SHIFT_WIDTH),
            .TABLE_FILE((PREFIX == "") ? "" : {PREFIX, "_activation.mem"}),
            .LOAD_MEMORY((LOAD_MEMORY < 0) ? -1 : LOAD_MEMORY + 4)
        ) qprelu_inst (
            .clk(clk),
            .rst(rst),
            .load(load),
            .s_axis_tdata(added_tdata),
            .s_axis_tvalid(added_tvalid),
            .s_axis_tready(added_tready),
            .m_axis_tdata(active_tdata),
            .m_axis_tvalid(active_tvalid),
            .m_axis_tready(active_tready)
        );
    end else begin : gen_prelu
        abbnn_scale #(
            .LANES(PE),
            .CHANNELS(OUT_CHANNELS),
            .PRELU(1),
            .TERMS(PRELU_TERMS),
            .SHIFT_WIDTH(PRELU_SHIFT_WIDTH),
            .GUARD(PRELU_GUARD),
            .S_WIDTH(ADDED_WIDTH),
            .SUM_WIDTH(PRELU_SUM_WIDTH),
            .M_WIDTH(VALUE_WIDTH),
            .TABLE_FILE((PREFIX == "") ? "" : {PREFIX, "_prelu.mem"}),
            .LOAD_MEMORY((LOAD_MEMORY < 0) ? -1 : LOAD_MEMORY + 5)
        ) prelu_inst (
            .clk(clk),
            .rst(rst),
            .load(load),
            .s_axis_tdata(added_tdata),
            .s_axis_tvalid(added_tvalid),
            .s_axis_tready(added_tready),
            .m_axis_tdata(active_tdata),
            .m_axis_tvalid(active_tvalid),
            .m_axis_tready(active_tready)
        );
    end
endgenerate

abbnn_skid #(
    .DATA_WIDTH(PE * VALUE_WIDTH)
) output_skid_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(active_tdata),
    .s_axis_tvalid(active_tvalid),
    .s_axis_tready(active_tready),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready)
);

endmodule

`resetall
