// abbnn_gate.v : lets whole frames of an AXI4-Stream through, or none, and knows of those in flight
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// m_axis = s_axis, combinational. While hold is high no frame begins; one that has begun goes on to its tlast.
// idle: no frame has begun and not ended here, and `done`, one cycle for each frame that has left what comes behind, was
// seen for every frame that went in. At most 65,535 frames are in flight.
module abbnn_gate (
    input  wire clk,
    input  wire rst,

    input  wire s_axis_tvalid,
    output wire s_axis_tready,
    input  wire s_axis_tlast,

    output wire m_axis_tvalid,
    input  wire m_axis_tready,

    input  wire hold,
    input  wire done,
    output wire idle
);

reg        inside_reg;
// Counted a cycle late.
reg        start_reg;
reg [15:0] flight_reg;

wire open  = inside_reg || !hold;
wire take  = m_axis_tvalid && m_axis_tready;
wire start = take && !inside_reg;

assign m_axis_tvalid = s_axis_tvalid && open;
assign s_axis_tready = m_axis_tready && open;
assign idle          = !inside_reg && !start_reg && flight_reg == 16'd0;

always @(posedge clk) begin
    if (take) begin
        inside_reg <= !s_axis_tlast;
    end
    start_reg <= start;
    if (start_reg != done) begin
        flight_reg <= start_reg ? flight_reg + 16'd1 : flight_reg - 16'd1;
    end
    if (rst) begin
        inside_reg <= 1'b0;
        start_reg  <= 1'b0;
        flight_reg <= 16'd0;
    end
end

endmodule

`resetall
