// stall.v : closes a stream at random; testbenches only (tb/stall.py)
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// Open: m_axis = s_axis. Closed: no tvalid to the consumer and no tready to the producer. It changes at falling edges of
// clk, and closes only if no beat was left waiting at the rising edge before: tvalid never falls without a transfer.
// A burst lasts 1 to 64 cycles, one in sixteen four times that. The testbench writes the registers `seed`, `share`,
// `active` and `shut`, and reads the rest.
module stall (
    input  wire clk,
    input  wire rst,

    input  wire s_axis_tvalid,
    output wire s_axis_tready,

    output wire m_axis_tvalid,
    input  wire m_axis_tready
);

// Random state; percentage of closed cycles, 1 to 99; random bursts; closed for good.
reg [31:0] seed   = 32'd1;
reg [31:0] share  = 32'd50;
reg        active = 1'b0;
reg        shut   = 1'b0;

// Transfers; cycles closed; cycles closed in which the producer had a beat.
reg [31:0] beats   = 32'd0;
reg [31:0] stalled = 32'd0;
reg [31:0] held    = 32'd0;

reg        closed  = 1'b0;
reg        waiting = 1'b0;
reg [31:0] left    = 32'd0;

assign m_axis_tvalid = s_axis_tvalid && !closed;
assign s_axis_tready = m_axis_tready && !closed;

always @(posedge clk) begin
    waiting <= m_axis_tvalid && !m_axis_tready;
    if (m_axis_tvalid && m_axis_tready && !rst) begin
        beats <= beats + 32'd1;
    end
    if (closed) begin
        stalled <= stalled + 32'd1;
    end
    if (closed && s_axis_tvalid) begin
        held <= held + 32'd1;
    end
end

// Xorshift: the same numbers in every simulator.
function [31:0] shuffled;
    input [31:0] value;
    begin
        shuffled = value ^ (value << 13);
        shuffled = shuffled ^ (shuffled >> 17);
        shuffled = shuffled ^ (shuffled << 5);
    end
endfunction

always @(negedge clk) begin
    if (left != 32'd0) begin
        left <= left - 32'd1;
    end
    if (closed) begin
        if (rst || (!shut && (!active || left == 32'd0))) begin
            closed <= 1'b0;
            seed   <= shuffled(seed);
            left   <= ({26'd0, seed[5:0]} + 32'd1) * (32'd100 - share) / share;
        end
    end else if (!waiting && (shut || (active && left == 32'd0)) && !rst) begin
        closed <= 1'b1;
        seed   <= shuffled(seed);
        left   <= (seed[9:6] == 4'd0) ? {24'd0, seed[5:0], 2'd3} : {26'd0, seed[5:0]};
    end
end

endmodule

`resetall
