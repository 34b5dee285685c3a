// abbnn_uart_tx.v : sends bytes on an asynchronous serial line, 8N1
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// A start bit (low), the data bits, the lowest first, and a stop bit (high), each DIVIDER = CLOCK_HZ / BAUD clocks,
// rounded. A byte is taken every 10 * DIVIDER cycles; the line is high when there is none. txd is a register.
module abbnn_uart_tx #(
    // Clock frequency; at least 8 clocks a bit.
    parameter integer CLOCK_HZ = 100000000,
    // Bits a second; the nearest divider must meet it within 1.5 %.
    parameter integer BAUD = 3000000
) (
    input  wire       clk,
    input  wire       rst,

    input  wire [7:0] s_axis_tdata,
    input  wire       s_axis_tvalid,
    output wire       s_axis_tready,

    output wire       txd
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
endgenerate

localparam integer TIME_WIDTH = $clog2(DIVIDER);
localparam integer BIT        = DIVIDER - 1;

reg [TIME_WIDTH-1:0] time_reg;
// What follows the bit on the line, up to a 1 that stands behind the stop bit; 0 when the stop bit is on the line.
reg [9:0]            shift_reg;
reg                  busy_reg;
reg                  txd_reg;

wire elapsed = time_reg == {TIME_WIDTH{1'b0}};
wire last    = shift_reg == 10'd1;

assign s_axis_tready = !busy_reg || (elapsed && last);
assign txd           = txd_reg;

always @(posedge clk) begin
    time_reg <= (elapsed || !busy_reg) ? BIT[TIME_WIDTH-1:0] : time_reg - 1'b1;
end

always @(posedge clk) begin
    if (s_axis_tready) begin
        busy_reg  <= s_axis_tvalid;
        txd_reg   <= !s_axis_tvalid;
        shift_reg <= {2'b11, s_axis_tdata};
    end else if (elapsed) begin
        txd_reg   <= shift_reg[0];
        shift_reg <= {1'b0, shift_reg[9:1]};
    end
    if (rst) begin
        busy_reg  <= 1'b0;
        txd_reg   <= 1'b1;
        shift_reg <= 10'd0;
    end
end

endmodule

`resetall
