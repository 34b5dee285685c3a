// waves.v : a stream's counters and golden beats for waveforms; testbenches only (tb/waves.py)
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// The counters say which beat is on the stream or comes next: count0 grows by STEP with every beat that is taken, and each
// of the others by one when the one before it begins again. All are 0 after a reset.
module waves #(
    // Bits of tdata.
    parameter integer WIDTH = 1,
    parameter integer STEP = 1,
    // Where a counter begins again; 0: never.
    parameter integer SIZE0 = 0,
    parameter integer SIZE1 = 0,
    parameter integer SIZE2 = 0,
    // File of the beats that are expected since the simulation's begin, a hexadecimal number a line; none if empty.
    parameter GOLDEN = ""
) (
    input  wire             clk,
    input  wire             rst,
    input  wire [WIDTH-1:0] tdata,
    input  wire             tvalid,
    input  wire             tready,
    output reg  [31:0]      count0,
    output reg  [31:0]      count1,
    output reg  [31:0]      count2,
    output reg  [31:0]      count3,
    // What tdata should be while tvalid is high; unknown behind the end of the file.
    output reg  [WIDTH-1:0] golden,
    // A beat is taken that differs.
    output wire             mismatch
);

wire taken = rst === 1'b0 && tvalid === 1'b1 && tready === 1'b1;
wire last0 = SIZE0 != 0 && count0 + STEP >= SIZE0;
wire last1 = SIZE1 != 0 && count1 + 1 >= SIZE1;
wire last2 = SIZE2 != 0 && count2 + 1 >= SIZE2;

initial begin
    count0 = 32'd0;
    count1 = 32'd0;
    count2 = 32'd0;
    count3 = 32'd0;
end

always @(posedge clk) begin
    if (taken) begin
        count0 <= last0 ? 32'd0 : count0 + STEP;
        if (last0) begin
            count1 <= last1 ? 32'd0 : count1 + 32'd1;
        end
        if (last0 && last1) begin
            count2 <= last2 ? 32'd0 : count2 + 32'd1;
        end
        if (last0 && last1 && last2) begin
            count3 <= count3 + 32'd1;
        end
    end
    if (rst !== 1'b0) begin
        count0 <= 32'd0;
        count1 <= 32'd0;
        count2 <= 32'd0;
        count3 <= 32'd0;
    end
end

generate
    if (GOLDEN != "") begin : gen_golden
        integer         file;
        integer         fields;
        reg [WIDTH-1:0] next;

        initial begin
            file   = $fopen(GOLDEN, "r");
            fields = $fscanf(file, "%h", next);
            golden = fields == 1 ? next : {WIDTH{1'bx}};
        end

        always @(posedge clk) begin
            if (taken) begin
                fields = $fscanf(file, "%h", next);
                golden <= fields == 1 ? next : {WIDTH{1'bx}};
            end
        end

        assign mismatch = taken && tdata !== golden;
    end else begin : gen_no_golden
        initial begin
            golden = {WIDTH{1'bx}};
        end

        assign mismatch = 1'b0;
    end
endgenerate

endmodule

`resetall
