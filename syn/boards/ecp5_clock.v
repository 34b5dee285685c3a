// ecp5_clock.v : clock and reset of an ECP5 board with an oscillator of 25 MHz
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// rst is a register of clk: high from configuration on, whenever stop is high, and then for 16 cycles and a few more.
module ecp5_clock #(
    // Frequency of clk in MHz: 50, 75, 100 or 125.
    parameter integer CLOCK_MHZ = 100
) (
    input  wire clk_25mhz,
    // Asynchronous.
    input  wire stop,

    output wire clk,
    output wire rst
);

generate
    if (CLOCK_MHZ != 50 && CLOCK_MHZ != 75 && CLOCK_MHZ != 100 && CLOCK_MHZ != 125) begin : gen_check_clock_mhz
        CLOCK_MHZ_must_be_50_75_100_or_125 param_error ();
    end
endgenerate

// Numbers that ecppll prints for 25 MHz in: feedback divider, output divider, coarse phase.
//    MHz   CLKFB_DIV  CLKOP_DIV  CLKOP_CPHASE   VCO
//     50       2         12           5         600
//     75       3          8           4         600
//    100       4          6           2         600
//    125       5          5           2         625
localparam integer CLKFB_DIV    = CLOCK_MHZ / 25;
localparam integer CLKOP_DIV    = CLOCK_MHZ == 50 ? 12 : CLOCK_MHZ == 75 ? 8 : CLOCK_MHZ == 100 ? 6 : 5;
localparam integer CLKOP_CPHASE = CLOCK_MHZ == 50 ? 5 : CLOCK_MHZ == 75 ? 4 : 2;

wire locked;

(* ICP_CURRENT = "12" *)
(* LPF_RESISTOR = "8" *)
(* MFG_ENABLE_FILTEROPAMP = "1" *)
(* MFG_GMCREF_SEL = "2" *)
EHXPLLL #(
    .PLLRST_ENA("DISABLED"),
    .INTFB_WAKE("DISABLED"),
    .STDBY_ENABLE("DISABLED"),
    .DPHASE_SOURCE("DISABLED"),
    .OUTDIVIDER_MUXA("DIVA"),
    .OUTDIVIDER_MUXB("DIVB"),
    .OUTDIVIDER_MUXC("DIVC"),
    .OUTDIVIDER_MUXD("DIVD"),
    .CLKI_DIV(1),
    .CLKFB_DIV(CLKFB_DIV),
    .CLKOP_ENABLE("ENABLED"),
    .CLKOP_DIV(CLKOP_DIV),
    .CLKOP_CPHASE(CLKOP_CPHASE),
    .CLKOP_FPHASE(0),
    .FEEDBK_PATH("CLKOP")
) pll_inst (
    .RST(1'b0),
    .STDBY(1'b0),
    .CLKI(clk_25mhz),
    .CLKFB(clk),
    .CLKOP(clk),
    .PHASESEL0(1'b0),
    .PHASESEL1(1'b0),
    .PHASEDIR(1'b1),
    .PHASESTEP(1'b1),
    .PHASELOADREG(1'b1),
    .PLLWAKESYNC(1'b0),
    .ENCLKOP(1'b0),
    .LOCK(locked)
);

// Values at configuration.
reg [1:0] go_reg    = 2'b00;
reg [4:0] count_reg = 5'd0;
reg       rst_reg   = 1'b1;

assign rst = rst_reg;

always @(posedge clk) begin
    go_reg <= {go_reg[0], locked && !stop};
    if (!go_reg[1]) begin
        count_reg <= 5'd0;
    end else if (!count_reg[4]) begin
        count_reg <= count_reg + 5'd1;
    end
    rst_reg <= !count_reg[4];
end

endmodule

`resetall
