// abbnn_memory.v : memory with one synchronous read port, whose words come from a file or through the load bus
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// word is memory word `address` of the last cycle with `enable`.
//
// LOAD_MEMORY = -1: the words come from TABLE_FILE and stay. Else they are undefined until the load bus has written them.
// It writes 32 bits a cycle; abbnn_load drives it, and whoever has memories takes it as `load`:
//   bit 76 write, 75:64 number of the memory, 63:52 slice, 51:32 address, 31:0 data.
// A word of WIDTH bits is ceil(WIDTH / 32) slices, slice s its bits 32 * s + 31 to 32 * s; data bits beyond WIDTH are
// dropped. A word can be read from the second cycle on after the bus had it; in the first it reads as anything. The core
// holds its stages in reset while it loads.
module abbnn_memory #(
    // Bits of a word, at least 1.
    parameter integer WIDTH = 8,
    // Words, at least 1.
    parameter integer DEPTH = 2,
    // $readmemh file of the words; with "" they stay undefined.
    parameter TABLE_FILE = "",
    // Number of this memory on the load bus, 0 to 4095; -1: the words come from the file.
    parameter integer LOAD_MEMORY = -1,
    // When synthesized: 0 as the tool likes, 1 LUTs, 2 block RAM.
    parameter integer STYLE = 0
) (
    input  wire                                            clk,
    input  wire [76:0]                                     load,

    input  wire                                            enable,
    input  wire [((DEPTH > 1) ? $clog2(DEPTH) : 1) - 1:0] address,
    output wire [WIDTH-1:0]                                word
);

generate
    if (WIDTH < 1 || WIDTH > 32 * 4096) begin : gen_check_width
        WIDTH_must_be_1_to_131072 param_error ();
    end
    if (DEPTH < 1 || DEPTH > 1048576) begin : gen_check_depth
        DEPTH_must_be_1_to_1048576 param_error ();
    end
    if (LOAD_MEMORY < -1 || LOAD_MEMORY > 4095) begin : gen_check_load_memory
        LOAD_MEMORY_must_be_minus_1_to_4095 param_error ();
    end
    if (STYLE < 0 || STYLE > 2) begin : gen_check_style
        STYLE_must_be_0_to_2 param_error ();
    end
endgenerate

localparam integer ADDRESS_WIDTH = (DEPTH > 1) ? $clog2(DEPTH) : 1;
localparam integer SLICES = (WIDTH + 31) / 32;
localparam integer DATA_WIDTH = (WIDTH < 32) ? WIDTH : 32;
localparam ROM_STYLE = (STYLE == 1) ? "logic" : (STYLE == 2) ? "block" : "auto";
localparam RAM_STYLE = (STYLE == 1) ? "distributed" : (STYLE == 2) ? "block" : "auto";
wire unused_style = &{1'b0, ROM_STYLE, RAM_STYLE};

genvar s;
generate
    if (LOAD_MEMORY < 0) begin : gen_fixed
        (* ram_style = ROM_STYLE *)
        reg [WIDTH-1:0] word_mem [0:DEPTH-1];
        reg [WIDTH-1:0] word_reg;

        wire unused_load = &{1'b0, load};

        assign word = word_reg;

        initial begin
            if (TABLE_FILE != "") begin
                $readmemh(TABLE_FILE, word_mem);
            end
        end

        always @(posedge clk) begin
            if (enable) begin
                word_reg <= word_mem[address];
            end
        end
    end else begin : gen_loadable
        // Which slice is written is decoded a cycle before it is: the memory's own decoder comes behind it.
        wire                     mine = load[76] && load[75:64] == LOAD_MEMORY[11:0];
        reg  [ADDRESS_WIDTH-1:0] write_address_reg;
        reg  [DATA_WIDTH-1:0]    write_data_reg;
        wire                     unused_load = &{1'b0, load[51:0]};

        always @(posedge clk) begin
            write_address_reg <= load[32 +: ADDRESS_WIDTH];
            write_data_reg    <= load[DATA_WIDTH-1:0];
        end

        for (s = 0; s < SLICES; s = s + 1) begin : gen_slice
            localparam integer SLICE_WIDTH = (WIDTH - 32 * s < 32) ? WIDTH - 32 * s : 32;

            // Each slice a memory of its own: a write enable a slice would otherwise be one a bit.
            (* no_rw_check *)
            (* ram_style = RAM_STYLE *)
            reg [SLICE_WIDTH-1:0] slice_mem [0:DEPTH-1];
            reg [SLICE_WIDTH-1:0] slice_reg;
            reg                   write_reg;

            always @(posedge clk) begin
                write_reg <= mine && load[63:52] == s;
                if (write_reg) begin
                    slice_mem[write_address_reg] <= write_data_reg[SLICE_WIDTH-1:0];
                end
            end

            always @(posedge clk) begin
                if (enable) begin
                    slice_reg <= slice_mem[address];
                end
            end

            assign word[32*s +: SLICE_WIDTH] = slice_reg;
        end
    end
endgenerate

endmodule

`resetall
