// table3_prelu.v : PReLU with a multiplier, to compare with
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// y = x < 0 ? (x * slope) >>> FRACTION : x, signed; the product's upper bits are dropped. Combinational.
module table3_prelu #(
    parameter integer WIDTH = 32,
    // Fraction bits of the slope.
    parameter integer FRACTION = 16
) (
    input  wire signed [WIDTH-1:0] x,
    input  wire signed [WIDTH-1:0] slope,
    output wire signed [WIDTH-1:0] y
);

wire signed [2*WIDTH-1:0] product = x * slope;
wire                      unused_product = &{1'b0, product};

assign y = x[WIDTH-1] ? product[FRACTION +: WIDTH] : x;

endmodule

`resetall
