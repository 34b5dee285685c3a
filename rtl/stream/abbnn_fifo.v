// abbnn_fifo.v : AXI4-Stream FIFO in a memory with registered read and output register
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// m_axis = s_axis, 3 cycles later when empty (latency 3), one beat a cycle. The memory holds DEPTH beats and the two
// registers behind it (memory read, output) one each: a stalled m_axis lets in exactly DEPTH + 2 beats.
// s_axis_tready depends on registers only. No word is read in the cycle that writes it.
module abbnn_fifo #(
    // Bits of one beat, at least 1.
    parameter integer DATA_WIDTH = 8,
    // Words of the memory, at least 2; any number, not only powers of two.
    parameter integer DEPTH = 16,
    // 1: s_axis_tready is a register, and so is whether there is a word to read, for a high clock. s_axis_tready falls a
    // beat late, so the memory has room for one more: DEPTH + 2 beats are let in, or one more if they come without a break.
    parameter integer DEEP = 0
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
    if (DEEP != 0 && DEEP != 1) begin : gen_check_deep
        DEEP_must_be_0_or_1 param_error ();
    end
endgenerate

localparam integer WORDS         = DEPTH + DEEP;
localparam integer LAST_ADDRESS  = WORDS - 1;
localparam integer ADDRESS_WIDTH = $clog2(WORDS);

(* no_rw_check *)
reg [DATA_WIDTH-1:0] memory [0:WORDS-1];
reg [DATA_WIDTH-1:0] read_data_reg;
reg [DATA_WIDTH-1:0] data_reg;
reg                  read_valid_reg;
reg                  valid_reg;

// The wrap bit of a side flips each time its address returns to 0: equal addresses mean empty where the wrap bits are
// equal too, and full where they differ.
reg [ADDRESS_WIDTH-1:0] write_address_reg;
reg [ADDRESS_WIDTH-1:0] read_address_reg;
reg                     write_wrap_reg;
reg                     read_wrap_reg;

wire same_address = write_address_reg == read_address_reg;
wire full;
wire empty;
wire write_last   = write_address_reg == LAST_ADDRESS[ADDRESS_WIDTH-1:0];
wire read_last    = read_address_reg == LAST_ADDRESS[ADDRESS_WIDTH-1:0];

wire load      = m_axis_tready || !valid_reg;
wire read_load = load || !read_valid_reg;
wire write     = s_axis_tvalid && !full;
wire read      = read_load && !empty;

generate
    if (DEEP == 0) begin : gen_full
        assign full  = same_address && write_wrap_reg != read_wrap_reg;
        assign empty = same_address && write_wrap_reg == read_wrap_reg;
    end else begin : gen_room
        localparam integer COUNT_WIDTH = $clog2(DEPTH + 2);
        localparam integer ONE = 1;
        localparam integer TWO = 2;

        wire unused_address = &{1'b0, same_address, write_wrap_reg, read_wrap_reg};

        // Words in the memory, one that was read in the last cycle included: `read` comes late.
        reg [COUNT_WIDTH-1:0] count_reg;
        reg                   read_reg;
        reg                   room_reg;
        reg                   some_reg;

        // Words are left when one is read now.
        wire more = count_reg != (read_reg ? TWO[COUNT_WIDTH-1:0] : ONE[COUNT_WIDTH-1:0]);

        assign full  = !room_reg;
        assign empty = !some_reg;

        always @(posedge clk) begin
            read_reg  <= read;
            count_reg <= count_reg + {{COUNT_WIDTH-1{1'b0}}, write} - {{COUNT_WIDTH-1{1'b0}}, read_reg};
            room_reg  <= count_reg < DEPTH[COUNT_WIDTH-1:0];
            some_reg  <= write || (read ? more : some_reg);
            if (rst) begin
                read_reg  <= 1'b0;
                count_reg <= {COUNT_WIDTH{1'b0}};
                room_reg  <= 1'b1;
                some_reg  <= 1'b0;
            end
        end
    end
endgenerate

assign s_axis_tready = !full;
assign m_axis_tdata  = data_reg;
assign m_axis_tvalid = valid_reg;

always @(posedge clk) begin
    if (write) begin
        memory[write_address_reg] <= s_axis_tdata;
    end
    if (read_load) begin
        read_data_reg <= memory[read_address_reg];
    end
    if (load) begin
        data_reg <= read_data_reg;
    end
end

always @(posedge clk) begin
    if (write) begin
        write_address_reg <= write_last ? {ADDRESS_WIDTH{1'b0}} : write_address_reg + 1'b1;
        write_wrap_reg    <= write_wrap_reg ^ write_last;
    end
    if (read) begin
        read_address_reg <= read_last ? {ADDRESS_WIDTH{1'b0}} : read_address_reg + 1'b1;
        read_wrap_reg    <= read_wrap_reg ^ read_last;
    end
    if (read_load) begin
        read_valid_reg <= !empty;
    end
    if (load) begin
        valid_reg <= read_valid_reg;
    end
    if (rst) begin
        write_address_reg <= {ADDRESS_WIDTH{1'b0}};
        read_address_reg  <= {ADDRESS_WIDTH{1'b0}};
        write_wrap_reg    <= 1'b0;
        read_wrap_reg     <= 1'b0;
        read_valid_reg    <= 1'b0;
        valid_reg         <= 1'b0;
    end
end

endmodule

`resetall
