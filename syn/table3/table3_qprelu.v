// table3_qprelu.v : PReLU whose slope is a power of two, without biases, to compare with
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// y = x < 0 ? x >>> shift : x, signed. Combinational.
module table3_qprelu #(
    parameter integer WIDTH = 32,
    // The shift; -1: the input `shift`.
    parameter integer SHIFT = 3
) (
    input  wire signed [WIDTH-1:0]         x,
    input  wire        [$clog2(WIDTH)-1:0] shift,
    output wire signed [WIDTH-1:0]         y
);

wire signed [WIDTH-1:0] shifted;

table3_shifter #(
    .WIDTH(WIDTH),
    .AMOUNT(SHIFT)
) shifter_inst (
    .x(x),
    .amount(shift),
    .y(shifted)
);

assign y = x[WIDTH-1] ? shifted : x;

endmodule

`resetall
