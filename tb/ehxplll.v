// ehxplll.v : ECP5's PLL as far as the board tops use it; testbenches only
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// CLKOP = CLKI * CLKFB_DIV / CLKI_DIV, whatever its phase; LOCK after LOCK_EDGES edges of CLKI. Real hardware multiplies
// by way of CLKOP_DIV, which with FEEDBK_PATH = "CLKOP" does not change the frequency but has to keep the VCO,
// CLKOP * CLKOP_DIV, between 400 and 800 MHz: a model of a PLL that runs otherwise gives X.
//
// In Verilator, which is used without delays (tb/board.py), CLKI stands for CLKOP: it has the frequency that CLKOP shall have.
module EHXPLLL #(
    parameter PLLRST_ENA = "DISABLED",
    parameter INTFB_WAKE = "DISABLED",
    parameter STDBY_ENABLE = "DISABLED",
    parameter DPHASE_SOURCE = "DISABLED",
    parameter OUTDIVIDER_MUXA = "DIVA",
    parameter OUTDIVIDER_MUXB = "DIVB",
    parameter OUTDIVIDER_MUXC = "DIVC",
    parameter OUTDIVIDER_MUXD = "DIVD",
    parameter integer CLKI_DIV = 1,
    parameter integer CLKFB_DIV = 1,
    parameter CLKOP_ENABLE = "ENABLED",
    parameter integer CLKOP_DIV = 8,
    parameter integer CLKOP_CPHASE = 0,
    parameter integer CLKOP_FPHASE = 0,
    parameter FEEDBK_PATH = "CLKOP"
) (
    input  wire CLKI,
    input  wire CLKFB,
    input  wire RST,
    input  wire STDBY,
    input  wire PHASESEL0,
    input  wire PHASESEL1,
    input  wire PHASEDIR,
    input  wire PHASESTEP,
    input  wire PHASELOADREG,
    input  wire PLLWAKESYNC,
    input  wire ENCLKOP,
    output wire CLKOP,
    output wire LOCK
);

`ifdef VERILATOR

assign CLKOP = CLKI;
assign LOCK  = 1'b1;

`else

localparam integer LOCK_EDGES = 20;

real    last   = 0.0;
real    period = 0.0;
integer edges  = 0;
reg     clk    = 1'b0;
integer half;

// Twice CLKFB_DIV half periods a period of CLKI, from each of its edges anew, so that the two never drift apart.
always @(posedge CLKI) begin
    period = $realtime - last;
    last   = $realtime;
    edges  = edges + 1;
    if (edges > 2) begin
        for (half = 0; half < 2 * CLKFB_DIV; half = half + 1) begin
            clk = half % 2 == 0 ? 1'b1 : 1'b0;
            if (half < 2 * CLKFB_DIV - 1) begin
                #(period / (2.0 * CLKFB_DIV));
            end
        end
    end
end

wire legal = CLKI_DIV == 1 && edges > 2 && 1000.0 * CLKFB_DIV / period * CLKOP_DIV >= 400.0 &&
             1000.0 * CLKFB_DIV / period * CLKOP_DIV <= 800.0;

assign CLKOP = clk;
assign LOCK  = edges < LOCK_EDGES ? 1'b0 : legal ? 1'b1 : 1'bx;

`endif

endmodule

`resetall
