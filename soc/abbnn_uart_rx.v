// abbnn_uart_rx.v : receives bytes from an asynchronous serial line, 8N1
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// A bit lasts DIVIDER = CLOCK_HZ / BAUD clocks, rounded. The line goes through two registers against metastability and
// a majority of three samples, which swallows pulses of one clock. A start bit that is no longer low in its middle was
// none. Data bits, the lowest first, and the stop bit are sampled in their middle; behind the middle of a stop bit the
// next start bit may come at once.
//
// `valid` is high for one cycle a byte: data is the byte, or, with `error`, worth nothing, because the stop bit was low;
// then nothing is received until the line is high again.
module abbnn_uart_rx #(
    // Clock frequency and bits a second: see abbnn_baud.
    parameter integer CLOCK_HZ = 100000000,
    parameter integer BAUD = 3000000
) (
    input  wire       clk,
    input  wire       rst,

    input  wire       rxd,

    output wire [7:0] data,
    output wire       valid,
    output wire       error
);

localparam [1:0] IDLE  = 2'd0;
localparam [1:0] START = 2'd1;
localparam [1:0] BITS  = 2'd2;
localparam [1:0] BREAK = 2'd3;

reg [1:0] sync_reg;
reg [1:0] past_reg;
reg       line_reg;
reg [1:0] state_reg;
// A 1 shifted in front of the data bits: it has reached bit 0 when the next bit is the stop bit.
reg [8:0] shift_reg;
reg       valid_reg;
reg       error_reg;

// The middle of a bit.
wire tick;
wire stop = shift_reg[0];

assign data  = shift_reg[8:1];
assign valid = valid_reg;
assign error = error_reg;

abbnn_baud #(
    .CLOCK_HZ(CLOCK_HZ),
    .BAUD(BAUD),
    .HALF(1)
) baud_inst (
    .clk(clk),
    .idle(state_reg == IDLE),
    .tick(tick)
);

always @(posedge clk) begin
    if (state_reg == START) begin
        shift_reg <= 9'h100;
    end else if (state_reg == BITS && tick && !stop) begin
        shift_reg <= {line_reg, shift_reg[8:1]};
    end
end

always @(posedge clk) begin
    sync_reg  <= {sync_reg[0], rxd};
    past_reg  <= {past_reg[0], sync_reg[1]};
    line_reg  <= (sync_reg[1] && past_reg[0]) || (sync_reg[1] && past_reg[1]) || (past_reg[0] && past_reg[1]);
    valid_reg <= state_reg == BITS && tick && stop;
    error_reg <= state_reg == BITS && tick && stop && !line_reg;
    case (state_reg)
        IDLE: begin
            state_reg <= line_reg ? IDLE : START;
        end
        START: begin
            if (tick) begin
                state_reg <= line_reg ? IDLE : BITS;
            end
        end
        BITS: begin
            if (tick && stop) begin
                state_reg <= line_reg ? IDLE : BREAK;
            end
        end
        default: begin
            state_reg <= line_reg ? IDLE : BREAK;
        end
    endcase
    if (rst) begin
        sync_reg  <= 2'b11;
        past_reg  <= 2'b11;
        line_reg  <= 1'b1;
        state_reg <= IDLE;
        valid_reg <= 1'b0;
        error_reg <= 1'b0;
    end
end

endmodule

`resetall
