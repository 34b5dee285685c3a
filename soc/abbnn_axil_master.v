// abbnn_axil_master.v : one AXI4-Lite read or write at a time
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// A request is taken when request_valid and request_ready meet; `done` is high for one cycle when its answer is there,
// with read_data and error (the response was not OKAY). One request is under way at a time. All outputs are registers
// but request_ready, which is one inverted.
module abbnn_axil_master #(
    // Bits of an address, at least 1.
    parameter integer ADDRESS_WIDTH = 12
) (
    input  wire                     clk,
    input  wire                     rst,

    input  wire                     request_write,
    input  wire [ADDRESS_WIDTH-1:0] request_address,
    input  wire [31:0]              request_data,
    input  wire                     request_valid,
    output wire                     request_ready,

    output wire                     done,
    output wire [31:0]              read_data,
    output wire                     error,

    output wire [ADDRESS_WIDTH-1:0] m_axil_awaddr,
    output wire [2:0]               m_axil_awprot,
    output wire                     m_axil_awvalid,
    input  wire                     m_axil_awready,
    output wire [31:0]              m_axil_wdata,
    output wire [3:0]               m_axil_wstrb,
    output wire                     m_axil_wvalid,
    input  wire                     m_axil_wready,
    input  wire [1:0]               m_axil_bresp,
    input  wire                     m_axil_bvalid,
    output wire                     m_axil_bready,
    output wire [ADDRESS_WIDTH-1:0] m_axil_araddr,
    output wire [2:0]               m_axil_arprot,
    output wire                     m_axil_arvalid,
    input  wire                     m_axil_arready,
    input  wire [31:0]              m_axil_rdata,
    input  wire [1:0]               m_axil_rresp,
    input  wire                     m_axil_rvalid,
    output wire                     m_axil_rready
);

generate
    if (ADDRESS_WIDTH < 1) begin : gen_check_address_width
        ADDRESS_WIDTH_must_be_at_least_1 param_error ();
    end
endgenerate

reg [ADDRESS_WIDTH-1:0] address_reg;
reg [31:0]              write_data_reg;
reg [31:0]              read_data_reg;
reg                     busy_reg;
reg                     awvalid_reg;
reg                     wvalid_reg;
reg                     bready_reg;
reg                     arvalid_reg;
reg                     rready_reg;
reg                     done_reg;
reg                     error_reg;

wire start = request_valid && !busy_reg;
wire wrote = m_axil_bvalid && bready_reg;
wire read  = m_axil_rvalid && rready_reg;

assign request_ready  = !busy_reg;
assign done           = done_reg;
assign read_data      = read_data_reg;
assign error          = error_reg;
assign m_axil_awaddr  = address_reg;
assign m_axil_awprot  = 3'b000;
assign m_axil_awvalid = awvalid_reg;
assign m_axil_wdata   = write_data_reg;
assign m_axil_wstrb   = 4'b1111;
assign m_axil_wvalid  = wvalid_reg;
assign m_axil_bready  = bready_reg;
assign m_axil_araddr  = address_reg;
assign m_axil_arprot  = 3'b000;
assign m_axil_arvalid = arvalid_reg;
assign m_axil_rready  = rready_reg;

always @(posedge clk) begin
    if (start) begin
        address_reg    <= request_address;
        write_data_reg <= request_data;
    end
    if (read) begin
        read_data_reg <= m_axil_rdata;
    end
    error_reg <= read ? m_axil_rresp != 2'b00 : m_axil_bresp != 2'b00;
end

always @(posedge clk) begin
    awvalid_reg <= awvalid_reg && !m_axil_awready;
    wvalid_reg  <= wvalid_reg && !m_axil_wready;
    arvalid_reg <= arvalid_reg && !m_axil_arready;
    bready_reg  <= bready_reg && !wrote;
    rready_reg  <= rready_reg && !read;
    done_reg    <= wrote || read;
    if (start) begin
        busy_reg    <= 1'b1;
        awvalid_reg <= request_write;
        wvalid_reg  <= request_write;
        bready_reg  <= request_write;
        arvalid_reg <= !request_write;
        rready_reg  <= !request_write;
    end else if (done_reg) begin
        busy_reg <= 1'b0;
    end
    if (rst) begin
        busy_reg    <= 1'b0;
        awvalid_reg <= 1'b0;
        wvalid_reg  <= 1'b0;
        bready_reg  <= 1'b0;
        arvalid_reg <= 1'b0;
        rready_reg  <= 1'b0;
        done_reg    <= 1'b0;
    end
end

endmodule

`resetall
