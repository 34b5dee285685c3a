// abbnn_fifo.v : AXI4-Stream FIFO in a memory with registered read and output register
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// m_axis = s_axis, 3 cycles later when empty (latency 3), one beat a cycle. s_axis_tready is a register, and so is whether
// there is a word to read. s_axis_tready falls a beat late, so the memory has room for DEPTH + 1 beats; the two registers
// behind it (memory read, output) hold one each. A stalled m_axis lets in DEPTH + 2 beats, or one more if they come without
// a break. No word is read in the cycle that writes it.
module abbnn_fifo #(
    // Bits of one beat, at least 1.
    parameter integer DATA_WIDTH = 8,
    // Beats that the memory takes at least, 2 or more; any number, not only powers of two.
    parameter integer DEPTH = 16
) (
    input  wire                  clk,
    input  wire                  rst,

    input  wire [DATA_WIDTH-1:0] s_axis_tdata,
    input  wire                  s_axis_tvalid,
    output wire                  s_axis_tready,

    output wire [DATA_WIDTH-1:0] m_axis_tdata,
    output wire                  m_axis_tvalid,
    input  wire                  m_axis_tready
);

generate
    if (DATA_WIDTH < 1) begin : gen_check_data_width
        DATA_WIDTH_must_be_at_least_1 param_error ();
    end
    if (DEPTH < 2) begin : gen_check_depth
        DEPTH_must_be_at_least_2 param_error ();
    end
endgenerate

localparam integer WORDS         = DEPTH + 1;
localparam integer LAST_ADDRESS  = WORDS - 1;
localparam integer ADDRESS_WIDTH = $clog2(WORDS);
localparam integer COUNT_WIDTH   = $clog2(DEPTH + 2);
localparam integer ONE           = 1;
localparam integer TWO           = 2;

(* no_rw_check *)
reg [DATA_WIDTH-1:0] memory [0:WORDS-1];
reg [DATA_WIDTH-1:0] read_data_reg;
reg [DATA_WIDTH-1:0] data_reg;
reg                  read_valid_reg;
reg                  valid_reg;

reg [ADDRESS_WIDTH-1:0] write_address_reg;
reg [ADDRESS_WIDTH-1:0] read_address_reg;

// Words in the memory, one that was read in the last cycle included: `read` comes late.
reg [COUNT_WIDTH-1:0] count_reg;
reg                   read_reg;
reg                   room_reg;
reg                   some_reg;

wire advance      = m_axis_tready || !valid_reg;
wire read_advance = advance || !read_valid_reg;
wire write        = s_axis_tvalid && room_reg;
wire read         = read_advance && some_reg;
wire write_last   = write_address_reg == LAST_ADDRESS[ADDRESS_WIDTH-1:0];
wire read_last    = read_address_reg == LAST_ADDRESS[ADDRESS_WIDTH-1:0];
// Words are left when one is read now.
wire more         = count_reg != (read_reg ? TWO[COUNT_WIDTH-1:0] : ONE[COUNT_WIDTH-1:0]);

assign s_axis_tready = room_reg;
assign m_axis_tdata  = data_reg;
assign m_axis_tvalid = valid_reg;

always @(posedge clk) begin
    if (write) begin
        memory[write_address_reg] <= s_axis_tdata;
    end
    if (read_advance) begin
        read_data_reg <= memory[read_address_reg];
    end
    if (advance) begin
        data_reg <= read_data_reg;
    end
end

always @(posedge clk) begin
    read_reg  <= read;
    count_reg <= count_reg + {{COUNT_WIDTH-1{1'b0}}, write} - {{COUNT_WIDTH-1{1'b0}}, read_reg};
    room_reg  <= count_reg < DEPTH[COUNT_WIDTH-1:0];
    some_reg  <= write || (read ? more : some_reg);
    if (write) begin
        write_address_reg <= write_last ? {ADDRESS_WIDTH{1'b0}} : write_address_reg + 1'b1;
    end
    if (read) begin
        read_address_reg <= read_last ? {ADDRESS_WIDTH{1'b0}} : read_address_reg + 1'b1;
    end
    if (read_advance) begin
        read_valid_reg <= some_reg;
    end
    if (advance) begin
        valid_reg <= read_valid_reg;
    end
    if (rst) begin
        read_reg          <= 1'b0;
        count_reg         <= {COUNT_WIDTH{1'b0}};
        room_reg          <= 1'b1;
        some_reg          <= 1'b0;
        write_address_reg <= {ADDRESS_WIDTH{1'b0}};
        read_address_reg  <= {ADDRESS_WIDTH{1'b0}};
        read_valid_reg    <= 1'b0;
        valid_reg         <= 1'b0;
    end
end

endmodule

`resetall
