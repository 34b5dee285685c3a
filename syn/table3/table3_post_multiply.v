// table3_post_multiply.v : what follows a binary convolution, with multipliers
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// table3_scale, abbnn_add, table3_rprelu: m_axis = activation(factor * s_axis + r_axis). Latency 10.
module table3_post_multiply #(
    parameter integer LANES = 1,
    parameter integer CHANNELS = 1,
    parameter integer SUM_WIDTH = 12,
    parameter integer SCALED_WIDTH = 16,
    parameter integer VALUE_WIDTH = 16,
    parameter integer FIELD_WIDTH = 20,
    parameter integer FACTOR_WIDTH = 16,
    parameter integer FACTOR_FRACTION = 12,
    parameter integer SLOPE_WIDTH = 16,
    parameter integer SLOPE_FRACTION = 12,
    parameter SCALE_FILE = "",
    parameter ACTIVATION_FILE = ""
) (
    input  wire                          clk,
    input  wire                          rst,

    input  wire [LANES*SUM_WIDTH-1:0]    s_axis_tdata,
    input  wire                          s_axis_tvalid,
    output wire                          s_axis_tready,

    input  wire [LANES*VALUE_WIDTH-1:0]  r_axis_tdata,
    input  wire                          r_axis_tvalid,
    output wire                          r_axis_tready,

    output wire [LANES*VALUE_WIDTH-1:0]  m_axis_tdata,
    output wire                          m_axis_tvalid,
    input  wire                          m_axis_tready
);

localparam integer ADDED_WIDTH = ((SCALED_WIDTH > VALUE_WIDTH) ? SCALED_WIDTH : VALUE_WIDTH) + 1;

wire [LANES*SCALED_WIDTH-1:0] scaled_tdata;
wire                          scaled_tvalid;
wire                          scaled_tready;
wire [LANES*ADDED_WIDTH-1:0]  added_tdata;
wire                          added_tvalid;
wire                          added_tready;

table3_scale #(
    .LANES(LANES),
    .CHANNELS(CHANNELS),
    .S_WIDTH(SUM_WIDTH),
    .FACTOR_WIDTH(FACTOR_WIDTH),
    .FRACTION(FACTOR_FRACTION),
    .M_WIDTH(SCALED_WIDTH),
    .TABLE_FILE(SCALE_FILE)
) scale_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(s_axis_tdata),
    .s_axis_tvalid(s_axis_tvalid),
    .s_axis_tready(s_axis_tready),
    .m_axis_tdata(scaled_tdata),
    .m_axis_tvalid(scaled_tvalid),
    .m_axis_tready(scaled_tready)
);

abbnn_add #(
    .LANES(LANES),
    .A_WIDTH(SCALED_WIDTH),
    .B_WIDTH(VALUE_WIDTH)
) add_inst (
    .clk(clk),
    .rst(rst),
    .s0_axis_tdata(scaled_tdata),
    .s0_axis_tvalid(scaled_tvalid),
    .s0_axis_tready(scaled_tready),
    .s1_axis_tdata(r_axis_tdata),
    .s1_axis_tvalid(r_axis_tvalid),
    .s1_axis_tready(r_axis_tready),
    .m_axis_tdata(added_tdata),
    .m_axis_tvalid(added_tvalid),
    .m_axis_tready(added_tready)
);

table3_rprelu #(
    .LANES(LANES),
    .CHANNELS(CHANNELS),
    .S_WIDTH(ADDED_WIDTH),
    .M_WIDTH(VALUE_WIDTH),
    .FIELD_WIDTH(FIELD_WIDTH),
    .SLOPE_WIDTH(SLOPE_WIDTH),
    .FRACTION(SLOPE_FRACTION),
    .TABLE_FILE(ACTIVATION_FILE)
) rprelu_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(added_tdata),
    .s_axis_tvalid(added_tvalid),
    .s_axis_tready(added_tready),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready)
);

endmodule

`resetall
