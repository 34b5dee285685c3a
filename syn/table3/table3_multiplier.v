// table3_multiplier.v : a multiplier, to compare with
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// product = a * b, signed, all bits. Combinational.
module table3_multiplier #(
    parameter integer WIDTH = 32
) (
    input  wire signed [WIDTH-1:0]   a,
    input  wire signed [WIDTH-1:0]   b,
    output wire signed [2*WIDTH-1:0] product
);

assign product = a * b;

endmodule

`resetall
