// abbnn_baud.v : marks the bits of an asynchronous serial line
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// tick is high for one cycle in every DIVIDER = CLOCK_HZ / BAUD, rounded: FIRST cycles after the last one with `idle`, and
// every DIVIDER cycles from then on, until `idle` is high again. It is a register.
module abbnn_baud #(
    // Clock frequency; at least 8 clocks a bit.
    parameter integer CLOCK_HZ = 100000000,
    // Bits a second; the nearest divider must meet it within 1.5 %.
    parameter integer BAUD = 3000000,
    // 1: FIRST is half a bit, rounded down. 0: it is a bit.
    parameter integer HALF = 0
) (
    input  wire clk,

    input  wire idle,
    output wire tick
);

// Clocks of a bit, rounded, and how far CLOCK_HZ is from as many clocks of an exact bit.
localparam integer RATE    = BAUD < 1 ? 1 : BAUD;
localparam integer DIVIDER = (CLOCK_HZ + RATE / 2) / RATE;
localparam integer EXACT   = DIVIDER * RATE;
localparam integer AWAY    = CLOCK_HZ > EXACT ? CLOCK_HZ - EXACT : EXACT - CLOCK_HZ;

generate
    if (BAUD < 1) begin : gen_check_baud
        BAUD_must_be_at_least_1 param_error ();
    end
    if (DIVIDER < 8) begin : gen_check_divider
        CLOCK_HZ_must_be_at_least_8_BAUD param_error ();
    end
    if (AWAY > EXACT / 200 * 3) begin : gen_check_error
        BAUD_must_divide_CLOCK_HZ_within_1_5_percent param_error ();
    end
    if (HALF != 0 && HALF != 1) begin : gen_check_half
        HALF_must_be_0_or_1 param_error ();
    end
endgenerate

localparam integer TIME_WIDTH = $clog2(DIVIDER);
localparam integer BIT        = DIVIDER - 1;
// tick is a cycle late, and time_reg at this in the first cycle without idle.
localparam integer START      = (HALF == 1 ? DIVIDER / 2 : DIVIDER) - 2;

reg [TIME_WIDTH-1:0] time_reg;
reg                  tick_reg;

wire last = time_reg == {TIME_WIDTH{1'b0}};

assign tick = tick_reg;

always @(posedge clk) begin
    time_reg <= idle ? START[TIME_WIDTH-1:0] : last ? BIT[TIME_WIDTH-1:0] : time_reg - 1'b1;
    tick_reg <= last && !idle;
end

endmodule

`resetall
