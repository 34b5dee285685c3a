// abbnn_drop.v : lets a frame pass or swallows it, as its verdict word says
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// Each frame on s_axis (tlast at its end) goes with one beat on s_verdict (tdata 1: drop the frame). A frame waits for
// its verdict; the verdict is taken with the frame's last beat. Latency 0, one beat a cycle, all outputs combinational.
module abbnn_drop #(
    // Bits of one beat, at least 1.
    parameter integer DATA_WIDTH = 32
) (
    input  wire                  clk,
    input  wire                  rst,

    input  wire [DATA_WIDTH-1:0] s_axis_tdata,
    input  wire                  s_axis_tvalid,
    output wire                  s_axis_tready,
    input  wire                  s_axis_tlast,

    input  wire                  s_verdict_tdata,
    input  wire                  s_verdict_tvalid,
    output wire                  s_verdict_tready,

    output wire [DATA_WIDTH-1:0] m_axis_tdata,
    output wire                  m_axis_tvalid,
    input  wire                  m_axis_tready,
    output wire                  m_axis_tlast,

    // Frames that have passed since reset, modulo 2**32.
    output wire [31:0]           frames
);

generate
    if (DATA_WIDTH < 1) begin : gen_check_data_width
        DATA_WIDTH_must_be_at_least_1 param_error ();
    end
endgenerate

reg [31:0] frames_reg;

assign m_axis_tdata  = s_axis_tdata;
assign m_axis_tlast  = s_axis_tlast;
assign m_axis_tvalid = s_axis_tvalid && s_verdict_tvalid && !s_verdict_tdata;
assign s_axis_tready = s_verdict_tvalid && (m_axis_tready || s_verdict_tdata);
assign s_verdict_tready = s_axis_tvalid && s_axis_tready && s_axis_tlast;
assign frames        = frames_reg;

always @(posedge clk) begin
    if (m_axis_tvalid && m_axis_tready && m_axis_tlast) begin
        frames_reg <= frames_reg + 32'd1;
    end
    if (rst) begin
        frames_reg <= 32'd0;
    end
end

endmodule

`resetall
