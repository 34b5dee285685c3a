// abbnn_axi.v : the network as an IP block: AXI4-Stream data and load, AXI4-Lite registers, interrupt
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// abbnn_core and its registers (abbnn_axil_registers, docs/registers.md) under the port names that IP tools look for.
// Streams: see abbnn_core. aresetn is synchronous and held low for at least two cycles; inside it is one cycle late.
//
// A soft reset (register CONTROL) may cut a result: it then ends with a beat of ones and tlast.
module abbnn_axi #(
    // As for abbnn_core. 0: tables from files. 1: tables by s_load_axis.
    parameter integer LOADABLE = 1
) (
    input  wire        aclk,
    input  wire        aresetn,

    input  wire [23:0] s_axis_tdata,
    input  wire        s_axis_tvalid,
    output wire        s_axis_tready,
    input  wire        s_axis_tlast,

    output wire [31:0] m_axis_tdata,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready,
    output wire        m_axis_tlast,

    input  wire [31:0] s_load_axis_tdata,
    input  wire        s_load_axis_tvalid,
    output wire        s_load_axis_tready,
    input  wire        s_load_axis_tlast,

    input  wire [11:0] s_axil_awaddr,
    input  wire [2:0]  s_axil_awprot,
    input  wire        s_axil_awvalid,
    output wire        s_axil_awready,
    input  wire [31:0] s_axil_wdata,
    input  wire [3:0]  s_axil_wstrb,
    input  wire        s_axil_wvalid,
    output wire        s_axil_wready,
    output wire [1:0]  s_axil_bresp,
    output wire        s_axil_bvalid,
    input  wire        s_axil_bready,
    input  wire [11:0] s_axil_araddr,
    input  wire [2:0]  s_axil_arprot,
    input  wire        s_axil_arvalid,
    output wire        s_axil_arready,
    output wire [31:0] s_axil_rdata,
    output wire [1:0]  s_axil_rresp,
    output wire        s_axil_rvalid,
    input  wire        s_axil_rready,

    // Level: an enabled bit of IRQ_PENDING is set. The name is a common word of C++, but reserved in neither language.
    // verilator lint_off SYMRSVDWORD
    output wire        interrupt
    // verilator lint_on SYMRSVDWORD
);

// The header is the core's: few of its parameters are of use here.
// verilator lint_off UNUSEDPARAM
`include "abbnn_config.vh"
// verilator lint_on UNUSEDPARAM

reg rst_reg;

always @(posedge aclk) begin
    rst_reg <= !aresetn;
end

wire        soft_rst;
wire [63:0] network;
wire [31:0] frames;
wire [15:0] short_frames;
wire [15:0] long_frames;
wire        frame_error;
wire        ready;
wire        loading;
wire [15:0] loads;
wire [15:0] load_errors;
wire [63:0] stalled;

wire unused_stalled = &{1'b0, stalled};

abbnn_core #(
    .LOADABLE(LOADABLE)
) core_inst (
    .clk(aclk),
    .rst(rst_reg),
    .soft_rst(soft_rst),
    .s_axis_tdata(s_axis_tdata),
    .s_axis_tvalid(s_axis_tvalid),
    .s_axis_tready(s_axis_tready),
    .s_axis_tlast(s_axis_tlast),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready),
    .m_axis_tlast(m_axis_tlast),
    .s_load_axis_tdata(s_load_axis_tdata),
    .s_load_axis_tvalid(s_load_axis_tvalid),
    .s_load_axis_tready(s_load_axis_tready),
    .s_load_axis_tlast(s_load_axis_tlast),
    .status_network(network),
    .status_frames(frames),
    .status_short_frames(short_frames),
    .status_long_frames(long_frames),
    .status_error(frame_error),
    .status_ready(ready),
    .status_loading(loading),
    .status_loads(loads),
    .status_load_errors(load_errors),
    .status_stalled(stalled)
);

abbnn_axil_registers #(
    .STAGES(BLOCKS + 2),
    .HEIGHT(IMAGE_HEIGHT),
    .WIDTH(IMAGE_WIDTH),
    .CLASSES(CLASSES),
    .LAYOUT(LAYOUT_ID)
) registers_inst (
    .clk(aclk),
    .rst(rst_reg),
    .s_axil_awaddr(s_axil_awaddr),
    .s_axil_awprot(s_axil_awprot),
    .s_axil_awvalid(s_axil_awvalid),
    .s_axil_awready(s_axil_awready),
    .s_axil_wdata(s_axil_wdata),
    .s_axil_wstrb(s_axil_wstrb),
    .s_axil_wvalid(s_axil_wvalid),
    .s_axil_wready(s_axil_wready),
    .s_axil_bresp(s_axil_bresp),
    .s_axil_bvalid(s_axil_bvalid),
    .s_axil_bready(s_axil_bready),
    .s_axil_araddr(s_axil_araddr),
    .s_axil_arprot(s_axil_arprot),
    .s_axil_arvalid(s_axil_arvalid),
    .s_axil_arready(s_axil_arready),
    .s_axil_rdata(s_axil_rdata),
    .s_axil_rresp(s_axil_rresp),
    .s_axil_rvalid(s_axil_rvalid),
    .s_axil_rready(s_axil_rready),
    .result(m_axis_tvalid && m_axis_tready && m_axis_tlast && !m_axis_tdata[31]),
    .network(network),
    .frames(frames),
    .short_frames(short_frames),
    .long_frames(long_frames),
    .frame_error(frame_error),
    .ready(ready),
    .loading(loading),
    .loads(loads),
    .load_errors(load_errors),
    .stalled(stalled[BLOCKS+1:0]),
    .soft_rst(soft_rst),
    .irq(interrupt)
);

endmodule

`resetall
