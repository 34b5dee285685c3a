// ulx3s_85f.v : top of the ULX3S with an LFE5U-85F-6BG381C, board v2.x and v3.0.x
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// The serial line is the FT231X behind the US1 connector: ftdi_txd is its output, ftdi_rxd its input. FIRE1 (btn[1])
// resets. LEDs as in abbnn_board. Pins: ulx3s_85f.lpf.
module ulx3s_85f #(
    // Frequency of everything but the oscillator in MHz: see ecp5_clock.
    parameter integer CLOCK_MHZ = 100,
    // Bits a second of the line. The FT231X goes up to 3,000,000 and makes 2,000,000 below that; from 50 MHz the former is
    // 2 % off.
    parameter integer BAUD = CLOCK_MHZ == 50 ? 2000000 : 3000000,
    // Load image in the bitstream: see abbnn_boot.
    parameter integer BOOT_WORDS = 0,
    parameter BOOT_FILE = "",
    // Cycles without a byte after which a packet that has begun is given up.
    parameter integer GAP_CYCLES = CLOCK_MHZ * 250000
) (
    input  wire       clk_25mhz,

    input  wire [1:1] btn,

    input  wire       ftdi_txd,
    output wire       ftdi_rxd,

    output wire [7:0] led,

    // High: low lets the ESP32 reboot the board.
    output wire       wifi_gpio0
);

wire clk;
wire rst;

ecp5_clock #(
    .CLOCK_MHZ(CLOCK_MHZ)
) clock_inst (
    .clk_25mhz(clk_25mhz),
    .stop(btn[1]),
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
    .uart_rxd(ftdi_txd),
    .uart_txd(ftdi_rxd),
    .leds(leds)
);

assign led        = leds;
assign wifi_gpio0 = 1'b1;

endmodule

`resetall
