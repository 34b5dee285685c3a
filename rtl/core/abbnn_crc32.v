// abbnn_crc32.v : CRC-32 of a stream of words, one step
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// next = the state after WIDTH more bits, bit 0 of data first: CRC-32 of IEEE 802.3 in its reflected form (polynomial
// 0xedb88320). Start with 32'hffffffff; the checksum is ~state. Equal to zlib's crc32 over bytes, words little-endian.
// Combinational: XORs only.
module abbnn_crc32 #(
    // Bits of a step, at least 1.
    parameter integer WIDTH = 8
) (
    input  wire [31:0]      state,
    input  wire [WIDTH-1:0] data,
    output wire [31:0]      next
);

generate
    if (WIDTH < 1) begin : gen_check_width
        WIDTH_must_be_at_least_1 param_error ();
    end
endgenerate

reg [31:0] next_state;

always @* begin : steps
    integer i;
    next_state = state;
    for (i = 0; i < WIDTH; i = i + 1) begin
        next_state = (next_state >> 1) ^ ((next_state[0] ^ data[i]) ? 32'hedb88320 : 32'h00000000);
    end
end

assign next = next_state;

endmodule

`resetall
