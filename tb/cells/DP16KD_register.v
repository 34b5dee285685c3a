// DP16KD_register.v : the output latch and the output register of a DP16KD's port
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// 36 bits, 0 at the start and after a reset.
module DP16KD_register #(
    // 1: rst acts at once, 0: at the clock.
    parameter [0:0] ASYNC = 1'b0
) (
    input  wire        clk,
    input  wire        rst,
    input  wire        ce,
    input  wire [35:0] d,
    output wire [35:0] q
);

reg [35:0] q_reg = 36'd0;

assign q = q_reg;

generate
    if (ASYNC) begin : gen_async
        always @(posedge clk or posedge rst) begin
            if (rst) begin
                q_reg <= 36'd0;
            end else if (ce) begin
                q_reg <= d;
            end
        end
    end else begin : gen_sync
        always @(posedge clk) begin
            if (rst) begin
                q_reg <= 36'd0;
            end else if (ce) begin
                q_reg <= d;
            end
        end
    end
endgenerate

endmodule

`resetall
