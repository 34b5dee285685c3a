// abbnn_fork.v : copies one AXI4-Stream to two
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// m0_axis = m1_axis = s_axis, latency 0, one beat a cycle. Each branch takes its copy of a beat as soon as it is ready,
// in any order; the beat leaves s_axis in the cycle in which the slower branch takes it. No tvalid depends on a tready;
// s_axis_tready depends combinationally on both m_axis_tready.
module abbnn_fork #(
    // Bits of one beat, at least 1.
    parameter integer DATA_WIDTH = 8
) (
    input  wire                  clk,
    input  wire                  rst,

    input  wire [DATA_WIDTH-1:0] s_axis_tdata,
    input  wire                  s_axis_tvalid,
    output wire                  s_axis_tready,

    output wire [DATA_WIDTH-1:0] m0_axis_tdata,
    output wire                  m0_axis_tvalid,
    input  wire                  m0_axis_tready,

    output wire [DATA_WIDTH-1:0] m1_axis_tdata,
    output wire                  m1_axis_tvalid,
    input  wire                  m1_axis_tready
);

generate
    if (DATA_WIDTH < 1) begin : gen_check_data_width
        DATA_WIDTH_must_be_at_least_1 param_error ();
    end
endgenerate

// The branch has taken the beat that still waits on s_axis for the other branch.
reg m0_done_reg;
reg m1_done_reg;

wire m0_done = m0_done_reg || m0_axis_tready;
wire m1_done = m1_done_reg || m1_axis_tready;

assign s_axis_tready  = m0_done && m1_done;
assign m0_axis_tdata  = s_axis_tdata;
assign m1_axis_tdata  = s_axis_tdata;
assign m0_axis_tvalid = s_axis_tvalid && !m0_done_reg;
assign m1_axis_tvalid = s_axis_tvalid && !m1_done_reg;

always @(posedge clk) begin
    if (s_axis_tvalid) begin
        m0_done_reg <= m0_done && !m1_done;
        m1_done_reg <= m1_done && !m0_done;
    end
    if (rst) begin
        m0_done_reg <= 1'b0;
        m1_done_reg <= 1'b0;
    end
end

endmodule

`resetall
