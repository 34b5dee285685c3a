// abbnn_reset.v : a leaf of the reset tree
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// m_rst = s_rst one cycle later. A module of its own, so that synthesis by modules does not merge the leaves into one
// register, whose net would span the device.
module abbnn_reset (
    input  wire clk,
    input  wire s_rst,
    output wire m_rst
);

reg rst_reg;

assign m_rst = rst_reg;

always @(posedge clk) begin
    rst_reg <= s_rst;
end

endmodule

`resetall
