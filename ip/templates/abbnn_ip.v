// abbnn_ip.v : @NETWORK@ as an IP block, with pixels as 32-bit words
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// abbnn_axi under a port of whole words for the pixels, so that a DMA engine of 32 bits fits. README.md describes the ports,
// registers.h and abbnn.rdl the registers. aresetn is synchronous and held low for at least two cycles.
module abbnn_ip (
    input  wire        aclk,
    input  wire        aresetn,

    // A pixel a beat in raster order: red in bits 7:0, green in 15:8, blue in 23:16; bits 31:24 are ignored. tlast comes with
    // the last pixel of an image.
    input  wire [31:0] s_axis_tdata,
    input  wire        s_axis_tvalid,
    output wire        s_axis_tready,
    input  wire        s_axis_tlast,

    // The signed scores, class 0 first, then the class; tlast comes with the class.
    output wire [31:0] m_axis_tdata,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready,
    output wire        m_axis_tlast,

@if loadable
    // A load image, which load_image.bin is one of, in words; tlast comes with its last.
    input  wire [31:0] s_load_axis_tdata,
    input  wire        s_load_axis_tvalid,
    output wire        s_load_axis_tready,
    input  wire        s_load_axis_tlast,

@end
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

wire unused_pixel = &{1'b0, s_axis_tdata[31:24]};
@if fixed
wire unused_load_tready;
wire unused_load = &{1'b0, unused_load_tready};
@end

abbnn_axi #(
    .LOADABLE(@LOADABLE@)
) axi_inst (
    .aclk(aclk),
    .aresetn(aresetn),
    .s_axis_tdata(s_axis_tdata[23:0]),
    .s_axis_tvalid(s_axis_tvalid),
    .s_axis_tready(s_axis_tready),
    .s_axis_tlast(s_axis_tlast),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready),
    .m_axis_tlast(m_axis_tlast),
@if loadable
    .s_load_axis_tdata(s_load_axis_tdata),
    .s_load_axis_tvalid(s_load_axis_tvalid),
    .s_load_axis_tready(s_load_axis_tready),
    .s_load_axis_tlast(s_load_axis_tlast),
@end
@if fixed
    .s_load_axis_tdata(32'd0),
    .s_load_axis_tvalid(1'b0),
    .s_load_axis_tready(unused_load_tready),
    .s_load_axis_tlast(1'b0),
@end
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
    .interrupt(interrupt)
);

endmodule

`resetall
