// colorlight_i5.v : top of the Colorlight i5 v7.0 (LFE5U-25F-6BG381C) on its extension board
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// The serial line is that of the extension board's DAPLink. The one LED, D2 of the i5: on = ready, dark while bytes go
// either way, blinking = an error was counted. Pins: colorlight_i5.lpf.
module colorlight_i5 #(
    // Frequency of everything but the oscillator in MHz: 50, 100 or 125.
    parameter integer CLOCK_MHZ = 100,
    // Bits a second of the line. The DAPLink firmware takes an interrupt a byte and drops, without a word, what its 512
    // bytes of buffer do not hold; 115,200 is what others run on this board, and nothing faster is known to be safe.
    parameter integer BAUD = 115200,
    // Load image in the bitstream: see abbnn_boot.
    parameter integer BOOT_WORDS = 0,
    parameter BOOT_FILE = "",
    // Cycles without a byte after which a packet that has begun is given up.
    parameter integer GAP_CYCLES = CLOCK_MHZ * 250000
) (
    input  wire clk_25mhz,

    input  wire uart_rxd,
    output wire uart_txd,

    // Low: on.
    output wire led_n
);

// ---- clock and reset
//
// Numbers that ecppll prints for 25 MHz in: feedback divider, output divider, coarse phase.
//    MHz   CLKFB_DIV  CLKOP_DIV  CLKOP_CPHASE   VCO
//     50       2         12           5         600
//    100       4          6           2         600
//    125       5          5           2         625
localparam integer CLKFB_DIV    = CLOCK_MHZ == 50 ? 2 : CLOCK_MHZ == 100 ? 4 : 5;
localparam integer CLKOP_DIV    = CLOCK_MHZ == 50 ? 12 : CLOCK_MHZ == 100 ? 6 : 5;
localparam integer CLKOP_CPHASE = CLOCK_MHZ == 50 ? 5 : 2;
localparam integer CLOCK_HZ     = CLOCK_MHZ * 1000000;

generate
    if (CLOCK_MHZ != 50 && CLOCK_MHZ != 100 && CLOCK_MHZ != 125) begin : gen_check_clock_mhz
        CLOCK_MHZ_must_be_50_100_or_125 param_error ();
    end
endgenerate

wire clk;
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

always @(posedge clk) begin
    go_reg <= {go_reg[0], locked};
    if (!go_reg[1]) begin
        count_reg <= 5'd0;
    end else if (!count_reg[4]) begin
        count_reg <= count_reg + 5'd1;
    end
    rst_reg <= !count_reg[4];
end

// ---- the board's inside

wire [7:0] leds;

abbnn_board #(
    .CLOCK_HZ(CLOCK_HZ),
    .BAUD(BAUD),
    .BOOT_WORDS(BOOT_WORDS),
    .BOOT_FILE(BOOT_FILE),
    .GAP_CYCLES(GAP_CYCLES)
) board_inst (
    .clk(clk),
    .rst(rst_reg),
    .uart_rxd(uart_rxd),
    .uart_txd(uart_txd),
    .leds(leds)
);

wire error = leds[3] || leds[2];
wire light = error ? leds[5] : leds[0] && !leds[4];

wire unused_leds = &{1'b0, leds};

assign led_n = !light;

endmodule

`resetall
