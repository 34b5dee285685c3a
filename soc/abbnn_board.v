// abbnn_board.v : what every board with a serial line has behind its clock and pins
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// Serial line - link - loadable core, with a boot ROM in front of the core's load stream. rst is held for 16 cycles or
// more. abbnn_config.vh says what the core is; its network comes from the boot ROM or, where BOOT_WORDS is 0, by the link.
module abbnn_board #(
    // Frequency of clk, at least 20, and bits a second of the line: see abbnn_uart_rx.
    parameter integer CLOCK_HZ = 100000000,
    parameter integer BAUD = 3000000,
    // Load image in the bitstream: see abbnn_boot.
    parameter integer BOOT_WORDS = 0,
    parameter BOOT_FILE = "",
    // Bytes of the receive buffer: see abbnn_link.
    parameter integer RX_BYTES = 4096,
    // Cycles without a byte after which a packet that has begun is given up; a quarter of a second.
    parameter integer GAP_CYCLES = CLOCK_HZ / 4
) (
    input  wire       clk,
    input  wire       rst,

    // Asynchronous.
    input  wire       uart_rxd,
    output wire       uart_txd,

    // 0 ready, 1 loading, 2 the core has counted a bad frame or load, 3 the link has seen a bad packet or byte,
    // 4 bytes are going either way, 5 on and off about once a second, 7:6 zero.
    output wire [7:0] leds
);

// The header is the core's: few of its parameters are of use here.
// verilator lint_off UNUSEDPARAM
`include "abbnn_config.vh"
// verilator lint_on UNUSEDPARAM

localparam integer PIXELS = IMAGE_HEIGHT * IMAGE_WIDTH;

generate
    if (CLOCK_HZ < 20) begin : gen_check_clock_hz
        CLOCK_HZ_must_be_at_least_20 param_error ();
    end
endgenerate

// ---- line

// The core makes its own.
wire link_rst;

abbnn_reset reset_inst (
    .clk(clk),
    .s_rst(rst),
    .m_rst(link_rst)
);

wire [7:0] rx_data;
wire       rx_valid;
wire       rx_error;
wire [7:0] tx_tdata;
wire       tx_tvalid;
wire       tx_tready;

abbnn_uart_rx #(
    .CLOCK_HZ(CLOCK_HZ),
    .BAUD(BAUD)
) uart_rx_inst (
    .clk(clk),
    .rst(link_rst),
    .rxd(uart_rxd),
    .data(rx_data),
    .valid(rx_valid),
    .error(rx_error)
);

abbnn_uart_tx #(
    .CLOCK_HZ(CLOCK_HZ),
    .BAUD(BAUD)
) uart_tx_inst (
    .clk(clk),
    .rst(link_rst),
    .s_axis_tdata(tx_tdata),
    .s_axis_tvalid(tx_tvalid),
    .s_axis_tready(tx_tready),
    .txd(uart_txd)
);

// ---- link

wire [23:0] pixel_tdata;
wire        pixel_tvalid;
wire        pixel_tready;
wire        pixel_tlast;
wire [31:0] host_load_tdata;
wire        host_load_tvalid;
wire        host_load_tready;
wire        host_load_tlast;
wire [31:0] load_tdata;
wire        load_tvalid;
wire        load_tready;
wire        load_tlast;
wire [31:0] result_tdata;
wire        result_tvalid;
wire        result_tready;
wire        result_tlast;
wire [11:0] awaddr;
wire [2:0]  awprot;
wire        awvalid;
wire        awready;
wire [31:0] wdata;
wire [3:0]  wstrb;
wire        wvalid;
wire        wready;
wire [1:0]  bresp;
wire        bvalid;
wire        bready;
wire [11:0] araddr;
wire [2:0]  arprot;
wire        arvalid;
wire        arready;
wire [31:0] rdata;
wire [1:0]  rresp;
wire        rvalid;
wire        rready;
wire [3:0]  core_status;
wire        link_error;

abbnn_link #(
    .PIXELS(PIXELS),
    .CLASSES(CLASSES),
    .RX_BYTES(RX_BYTES),
    .GAP_CYCLES(GAP_CYCLES)
) link_inst (
    .clk(clk),
    .rst(link_rst),
    .rx_data(rx_data),
    .rx_valid(rx_valid),
    .rx_error(rx_error),
    .m_axis_tdata(tx_tdata),
    .m_axis_tvalid(tx_tvalid),
    .m_axis_tready(tx_tready),
    .m_pixel_tdata(pixel_tdata),
    .m_pixel_tvalid(pixel_tvalid),
    .m_pixel_tready(pixel_tready),
    .m_pixel_tlast(pixel_tlast),
    .m_load_tdata(host_load_tdata),
    .m_load_tvalid(host_load_tvalid),
    .m_load_tready(host_load_tready),
    .m_load_tlast(host_load_tlast),
    .s_result_tdata(result_tdata),
    .s_result_tvalid(result_tvalid),
    .s_result_tready(result_tready),
    .s_result_tlast(result_tlast),
    .m_axil_awaddr(awaddr),
    .m_axil_awprot(awprot),
    .m_axil_awvalid(awvalid),
    .m_axil_awready(awready),
    .m_axil_wdata(wdata),
    .m_axil_wstrb(wstrb),
    .m_axil_wvalid(wvalid),
    .m_axil_wready(wready),
    .m_axil_bresp(bresp),
    .m_axil_bvalid(bvalid),
    .m_axil_bready(bready),
    .m_axil_araddr(araddr),
    .m_axil_arprot(arprot),
    .m_axil_arvalid(arvalid),
    .m_axil_arready(arready),
    .m_axil_rdata(rdata),
    .m_axil_rresp(rresp),
    .m_axil_rvalid(rvalid),
    .m_axil_rready(rready),
    .status_core(core_status),
    .status_error(link_error)
);

// ---- core

abbnn_boot #(
    .WORDS(BOOT_WORDS),
    .FILE(BOOT_FILE)
) boot_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(host_load_tdata),
    .s_axis_tvalid(host_load_tvalid),
    .s_axis_tready(host_load_tready),
    .s_axis_tlast(host_load_tlast),
    .m_axis_tdata(load_tdata),
    .m_axis_tvalid(load_tvalid),
    .m_axis_tready(load_tready),
    .m_axis_tlast(load_tlast)
);

wire interrupt;
wire unused_interrupt = &{1'b0, interrupt};

abbnn_axi #(
    .LOADABLE(1)
) axi_inst (
    .aclk(clk),
    .aresetn(!rst),
    .s_axis_tdata(pixel_tdata),
    .s_axis_tvalid(pixel_tvalid),
    .s_axis_tready(pixel_tready),
    .s_axis_tlast(pixel_tlast),
    .m_axis_tdata(result_tdata),
    .m_axis_tvalid(result_tvalid),
    .m_axis_tready(result_tready),
    .m_axis_tlast(result_tlast),
    .s_load_axis_tdata(load_tdata),
    .s_load_axis_tvalid(load_tvalid),
    .s_load_axis_tready(load_tready),
    .s_load_axis_tlast(load_tlast),
    .s_axil_awaddr(awaddr),
    .s_axil_awprot(awprot),
    .s_axil_awvalid(awvalid),
    .s_axil_awready(awready),
    .s_axil_wdata(wdata),
    .s_axil_wstrb(wstrb),
    .s_axil_wvalid(wvalid),
    .s_axil_wready(wready),
    .s_axil_bresp(bresp),
    .s_axil_bvalid(bvalid),
    .s_axil_bready(bready),
    .s_axil_araddr(araddr),
    .s_axil_arprot(arprot),
    .s_axil_arvalid(arvalid),
    .s_axil_arready(arready),
    .s_axil_rdata(rdata),
    .s_axil_rresp(rresp),
    .s_axil_rvalid(rvalid),
    .s_axil_rready(rready),
    .interrupt(interrupt)
);

// ---- lights

localparam integer BEAT_WIDTH = $clog2(CLOCK_HZ);
// A byte is seen for 2**GLOW_WIDTH cycles: a twentieth of a second, or up to twice that.
localparam integer GLOW_WIDTH = $clog2(CLOCK_HZ / 20);

reg [BEAT_WIDTH-1:0] heart_reg;
// Cycles since the last byte; it stops when the highest bit is set.
reg [GLOW_WIDTH:0]   glow_reg;
reg                  byte_reg;

always @(posedge clk) begin
    heart_reg <= heart_reg + 1'b1;
    byte_reg  <= rx_valid || (tx_tvalid && tx_tready);
    if (byte_reg) begin
        glow_reg <= {GLOW_WIDTH+1{1'b0}};
    end else if (!glow_reg[GLOW_WIDTH]) begin
        glow_reg <= glow_reg + 1'b1;
    end
    if (rst) begin
        heart_reg <= {BEAT_WIDTH{1'b0}};
        glow_reg  <= {1'b1, {GLOW_WIDTH{1'b0}}};
    end
end

assign leds = {2'b00, heart_reg[BEAT_WIDTH-1], !glow_reg[GLOW_WIDTH], link_error, |core_status[3:2], core_status[1:0]};

endmodule

`resetall
