// watch.v : holds an AXI4-Stream to its rules; testbenches only (tb/watch.py)
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// From the first reset on: tvalid is never unknown, and neither is what comes with it; a beat that is not taken is there
// unchanged at the next rising edge. A breach is told in one line and ends the simulation, which fails the test.
module watch #(
    // Bits of the payload: tlast, where there is one, and tdata.
    parameter integer WIDTH = 1
) (
    input wire             clk,
    input wire             rst,
    input wire [WIDTH-1:0] payload,
    input wire             tvalid,
    input wire             tready
);

reg             known   = 1'b0;
reg             stalled = 1'b0;
reg [WIDTH-1:0] kept;

always @(posedge clk) begin
    if (rst !== 1'b0) begin
        known   <= known || rst === 1'b1;
        stalled <= 1'b0;
    end else if (known) begin
        if (tvalid === 1'b1) begin
            if (stalled && payload !== kept) begin
                $display("watch: %m: the beat changes from %h to %h while it waits", kept, payload);
                $finish;
            end else if (^payload === 1'bx) begin
                $display("watch: %m: a beat with unknown bits, %h", payload);
                $finish;
            end
            stalled <= tready !== 1'b1;
            kept    <= payload;
        end else if (stalled || tvalid !== 1'b0) begin
            $display("watch: %m: tvalid is %b%0s", tvalid, stalled ? ", though a beat waits" : "");
            $finish;
        end
    end
end

endmodule

`resetall
