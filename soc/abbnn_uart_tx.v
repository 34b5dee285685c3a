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
    // Clock frequency and bits a second: see abbnn_baud.
    parameter integer CLOCK_HZ = 100000000,
    parameter integer BAUD = 3000000
) (
    input  wire       clk,
    input  wire       rst,

    input  wire [7:0] s_axis_tdata,
    input  wire       s_axis_tvalid,
    output wire       s_axis_tready,

    output wire       txd
);

// What follows the bit on the line, up to a 1 that stands behind the stop bit; 0 when the stop bit is on the line.
reg [9:0] shift_reg;
// Of shift_reg a cycle ago; a tick comes later than that.
reg       last_reg;
reg       busy_reg;
reg       txd_reg;

// The last cycle of a bit.
wire tick;

assign s_axis_tready = !busy_reg || (tick && last_reg);
assign txd           = txd_reg;

abbnn_baud #(
    .CLOCK_HZ(CLOCK_HZ),
    .BAUD(BAUD),
    .HALF(0)
) baud_inst (
    .clk(clk),
    .idle(!busy_reg),
    .tick(tick)
);

always @(posedge clk) begin
    last_reg <= shift_reg == 10'd1;
    if (s_axis_tready) begin
        busy_reg  <= s_axis_tvalid;
        txd_reg   <= !s_axis_tvalid;
        shift_reg <= {2'b11, s_axis_tdata};
    end else if (tick) begin
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
