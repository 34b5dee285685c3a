// table3_shifter.v : a shifter, to compare with
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// y = x >>> amount, signed. Combinational.
module table3_shifter #(
    parameter integer WIDTH = 32,
    // The amount; -1: the input `amount`.
    parameter integer AMOUNT = 3
) (
    input  wire signed [WIDTH-1:0]         x,
    input  wire        [$clog2(WIDTH)-1:0] amount,
    output wire signed [WIDTH-1:0]         y
);

generate
    if (AMOUNT >= 0) begin : gen_wired
        wire unused_amount = &{1'b0, amount};

        assign y = x >>> AMOUNT;
    end else begin : gen_run_time
        assign y = x >>> amount;
    end
endgenerate

endmodule

`resetall
