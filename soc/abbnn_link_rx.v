// abbnn_link_rx.v : what comes from the line: buffer of bytes and marks, then packets
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// rx_* bring a byte in every cycle with rx_valid, or with rx_error in addition one without a stop bit. They wait in a
// buffer of RX_BYTES bytes for abbnn_packet_rx, whose outputs these are. What finds no room is marked, counted, and fails
// the packet that it belongs to; one mark stands for all that is lost in a row.
module abbnn_link_rx #(
    // Bytes of the buffer, at least 128: a power of two fills its memory.
    parameter integer RX_BYTES = 4096,
    // Cycles without a byte after which a packet that has begun is given up, at least 1.
    parameter integer GAP_CYCLES = 25000000
) (
    input  wire        clk,
    input  wire        rst,

    input  wire [7:0]  rx_data,
    input  wire        rx_valid,
    input  wire        rx_error,

    output wire [7:0]  m_axis_tdata,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready,

    output wire [7:0]  header_type,
    output wire [7:0]  header_tag,
    output wire [23:0] header_length,
    output wire        header_valid,
    input  wire        header_ready,
    input  wire        header_take,

    output wire [3:0]  end_reason,
    output wire        end_valid,
    input  wire        end_ready,

    output wire [31:0] consumed,
    // Bytes without a stop bit, and bytes without room; both stop at their greatest value.
    output wire [15:0] line_errors,
    output wire [15:0] losses
);

generate
    if (RX_BYTES < 128) begin : gen_check_rx_bytes
        RX_BYTES_must_be_at_least_128 param_error ();
    end
endgenerate

// Marks, for abbnn_packet_rx.
localparam [7:0] LINE = 8'd5;
localparam [7:0] LOST = 8'd6;

localparam integer HALF_WORDS = (RX_BYTES + 1) / 2;

reg        lost_reg;
reg [15:0] line_errors_reg;
reg [15:0] losses_reg;

wire       store_tready;
wire       loss = rx_valid && (!store_tready || lost_reg);
wire [8:0] stored_tdata;
wire       stored_tvalid;
wire       stored_tready;
wire [8:0] older_tdata;
wire       older_tvalid;
wire       older_tready;
wire [8:0] received_tdata;
wire       received_tvalid;
wire       received_tready;

assign line_errors = line_errors_reg;
assign losses      = losses_reg;

always @(posedge clk) begin
    if (loss) begin
        lost_reg <= 1'b1;
    end else if (store_tready) begin
        lost_reg <= 1'b0;
    end
    if (rx_valid && rx_error && line_errors_reg != 16'hffff) begin
        line_errors_reg <= line_errors_reg + 16'd1;
    end
    if (loss && losses_reg != 16'hffff) begin
        losses_reg <= losses_reg + 16'd1;
    end
    if (rst) begin
        lost_reg        <= 1'b0;
        line_errors_reg <= 16'd0;
        losses_reg      <= 16'd0;
    end
end

abbnn_skid #(
    .DATA_WIDTH(9)
) store_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(lost_reg ? {1'b1, LOST} : rx_error ? {1'b1, LINE} : {1'b0, rx_data}),
    .s_axis_tvalid(lost_reg || rx_valid),
    .s_axis_tready(store_tready),
    .m_axis_tdata(stored_tdata),
    .m_axis_tvalid(stored_tvalid),
    .m_axis_tready(stored_tready)
);

// Two of half the size, one behind the other: what a block RAM holds by itself comes out of its own register, and what
// takes two goes through a multiplexer first.
abbnn_fifo #(
    .DATA_WIDTH(9),
    .DEPTH(HALF_WORDS - 1)
) newer_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(stored_tdata),
    .s_axis_tvalid(stored_tvalid),
    .s_axis_tready(stored_tready),
    .m_axis_tdata(older_tdata),
    .m_axis_tvalid(older_tvalid),
    .m_axis_tready(older_tready)
);

abbnn_fifo #(
    .DATA_WIDTH(9),
    .DEPTH(HALF_WORDS - 1)
) older_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(older_tdata),
    .s_axis_tvalid(older_tvalid),
    .s_axis_tready(older_tready),
    .m_axis_tdata(received_tdata),
    .m_axis_tvalid(received_tvalid),
    .m_axis_tready(received_tready)
);

abbnn_packet_rx #(
    .GAP_CYCLES(GAP_CYCLES)
) packet_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(received_tdata),
    .s_axis_tvalid(received_tvalid),
    .s_axis_tready(received_tready),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready),
    .header_type(header_type),
    .header_tag(header_tag),
    .header_length(header_length),
    .header_valid(header_valid),
    .header_ready(header_ready),
    .header_take(header_take),
    .end_reason(end_reason),
    .end_valid(end_valid),
    .end_ready(end_ready),
    .consumed(consumed)
);

endmodule

`resetall
