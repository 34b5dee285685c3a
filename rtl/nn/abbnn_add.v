// abbnn_add.v : lane by lane sum of two streams
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// m_axis lane = s0_axis lane + s1_axis lane, signed, in max(A_WIDTH, B_WIDTH) + 1 bits, so that no sum overflows.
//
// A beat of s0_axis and one of s1_axis are taken in the same cycle: each tready waits for the other stream's tvalid.
// Latency 1 (register), one beat a cycle.
module abbnn_add #(
    // Elements of one beat, at least 1.
    parameter integer LANES = 1,
    // Bits of an element of s0_axis, at least 2.
    parameter integer A_WIDTH = 16,
    // Bits of an element of s1_axis, at least 2.
    parameter integer B_WIDTH = 16
) (
    input  wire                                                         clk,
    input  wire                                                         rst,

    input  wire [LANES*A_WIDTH-1:0]                                     s0_axis_tdata,
    input  wire                                                         s0_axis_tvalid,
    output wire                                                         s0_axis_tready,

    input  wire [LANES*B_WIDTH-1:0]                                     s1_axis_tdata,
    input  wire                                                         s1_axis_tvalid,
    output wire                                                         s1_axis_tready,

    output wire [LANES*((A_WIDTH > B_WIDTH ? A_WIDTH : B_WIDTH)+1)-1:0] m_axis_tdata,
    output wire                                                         m_axis_tvalid,
    input  wire                                                         m_axis_tready
);

generate
    if (LANES < 1) begin : gen_check_lanes
        LANES_must_be_at_least_1 param_error ();
    end
    if (A_WIDTH < 2) begin : gen_check_a_width
        A_WIDTH_must_be_at_least_2 param_error ();
    end
    if (B_WIDTH < 2) begin : gen_check_b_width
        B_WIDTH_must_be_at_least_2 param_error ();
    end
endgenerate

localparam integer M_WIDTH = (A_WIDTH > B_WIDTH ? A_WIDTH : B_WIDTH) + 1;

reg [LANES*M_WIDTH-1:0] sum_reg;
reg                     valid_reg;

wire [LANES*M_WIDTH-1:0] sum_next;
wire                     advance = m_axis_tready || !valid_reg;

assign s0_axis_tready = advance && s1_axis_tvalid;
assign s1_axis_tready = advance && s0_axis_tvalid;
assign m_axis_tdata   = sum_reg;
assign m_axis_tvalid  = valid_reg;

genvar i;

generate
    for (i = 0; i < LANES; i = i + 1) begin : gen_lane
        wire [A_WIDTH-1:0] a = s0_axis_tdata[i*A_WIDTH +: A_WIDTH];
        wire [B_WIDTH-1:0] b = s1_axis_tdata[i*B_WIDTH +: B_WIDTH];

        assign sum_next[i*M_WIDTH +: M_WIDTH] =
            {{M_WIDTH-A_WIDTH{a[A_WIDTH-1]}}, a} + {{M_WIDTH-B_WIDTH{b[B_WIDTH-1]}}, b};
    end
endgenerate

always @(posedge clk) begin
    if (advance) begin
        sum_reg   <= sum_next;
        valid_reg <= s0_axis_tvalid && s1_axis_tvalid;
    end
    if (rst) begin
        valid_reg <= 1'b0;
    end
end

endmodule

`resetall
