// abbnn_table.v : table whose next word is always in a register
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// word = table word 0 after reset; every step moves on by one word, and from the last back to word 0. The memory is
// read ahead, so that the word behind the present one is there in the cycle after the step: a user that steps with every
// beat finds the word of its next beat here at any time. Word 0 is read behind the reset and not in it, which keeps rst out
// of the address: it is there from the second cycle after reset on, and a step in the first one is lost; with more than 64
// words from the third on, with two lost.
//
// One synchronous read port: it fits LUTs and block RAM. One step a cycle.
module abbnn_table #(
    // Bits of a word, at least 1.
    parameter integer WIDTH = 8,
    // Words, at least 1.
    parameter integer DEPTH = 2,
    // $readmemh file of the table; with "" the table stays undefined.
    parameter TABLE_FILE = "",
    // Number of the table on the load bus (abbnn_memory); -1: it comes from the file and stays.
    parameter integer LOAD_MEMORY = -1
) (
    input  wire             clk,
    input  wire             rst,
    input  wire [76:0]      load,

    input  wire             step,
    output wire [WIDTH-1:0] word
);

generate
    if (WIDTH < 1) begin : gen_check_width
        WIDTH_must_be_at_least_1 param_error ();
    end
    if (DEPTH < 1) begin : gen_check_depth
        DEPTH_must_be_at_least_1 param_error ();
    end
endgenerate

localparam integer ADDRESS_WIDTH = DEPTH > 1 ? $clog2(DEPTH) : 1;
localparam integer LAST = DEPTH - 1;
// More words than LUTs hold well: a block RAM's own register stands behind them, so that the user's is one that can be
// placed where it is used.
localparam integer LUT_WORDS = 64;
// Also 0 where DEPTH is unknown, for want of a legal parameter above: the check there is what stops elaboration.
localparam integer IN_BLOCKS = ((DEPTH > LUT_WORDS) === 1'b1) ? 1 : 0;

// Address of the word behind `word`.
reg  [ADDRESS_WIDTH-1:0] ahead_reg;
reg  [1:0]               primed_reg;
wire                     read = step || !primed_reg[IN_BLOCKS];
wire                     unused_primed = &{1'b0, primed_reg};
wire [WIDTH-1:0]         fetched;

always @(posedge clk) begin
    if (read) begin
        ahead_reg <= ahead_reg == LAST[ADDRESS_WIDTH-1:0] ? {ADDRESS_WIDTH{1'b0}} : ahead_reg + 1'b1;
    end
    primed_reg <= {primed_reg[0], 1'b1};
    if (rst) begin
        ahead_reg  <= {ADDRESS_WIDTH{1'b0}};
        primed_reg <= 2'b00;
    end
end

abbnn_memory #(
    .WIDTH(WIDTH),
    .DEPTH(DEPTH),
    .TABLE_FILE(TABLE_FILE),
    .LOAD_MEMORY(LOAD_MEMORY),
    // A loadable block RAM for so few words would be nearly empty.
    .STYLE((LOAD_MEMORY < 0) ? 0 : 1 - IN_BLOCKS)
) memory_inst (
    .clk(clk),
    .load(load),
    .enable(read),
    .address(ahead_reg),
    .word(fetched)
);

generate
    if (IN_BLOCKS == 1) begin : gen_behind
        reg [WIDTH-1:0] behind_reg;

        assign word = behind_reg;

        always @(posedge clk) begin
            if (read) begin
                behind_reg <= fetched;
            end
        end
    end else begin : gen_direct
        assign word = fetched;
    end
endgenerate

endmodule

`resetall
