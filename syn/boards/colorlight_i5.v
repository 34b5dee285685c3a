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
    // Frequency of everything but the oscillator in MHz: see ecp5_clock.
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

wire clk;
wire rst;

ecp5_clock #(
    .CLOCK_MHZ(CLOCK_MHZ)
) clock_inst (
    .clk_25mhz(clk_25mhz),
    .stop(1'b0),
    .clk(clk),
    .rst(rst)
);

wire [7:0] leds;

abbnn_board #(
    .CLOCK_HZ(CLOCK_MHZ * 1000000),
    .BAUD(BAUD),
    .BOOT_WORDS(BOOT_WORDS),
    .BOOT_FILE(BOOT_FILE),
    .GAP_CYCLES(GAP_CYCLES)
) board_inst (
    .clk(clk),
    .rst(rst),
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
