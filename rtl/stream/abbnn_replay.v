// abbnn_replay.v : gives each vector of a stream several times in a row, with two vectors buffered
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// A vector is DEPTH beats; m_axis = vector 0 TIMES times, vector 1 TIMES times, ...; a vector's beats keep their order.
// The first pass over a vector runs while it is still arriving. Latency 2. One beat out a cycle with no gap between
// passes or vectors, as long as the beats are there in time. s_axis_tready is a register.
//
// Memory: 2 * DEPTH words, beat b of vector v at address 2 * b + v % 2. The fill of vector v + 2 may begin the cycle
// after the last beat of vector v has been read for the last time; a stalled m_axis lets in 2 * DEPTH beats
// (3 where DEPTH = TIMES = 1: the output register holds one). No word is read in the cycle that writes it.
// DEPTH = 1 with TIMES > 1 needs no memory: the output register is the vector that is given, and one register in front of
// it the next. That one is free again the cycle after its vector has moved on.
module abbnn_replay #(
    // Bits of one beat, at least 1.
    parameter integer DATA_WIDTH = 8,
    // Beats of a vector, at least 1.
    parameter integer DEPTH = 4,
    // Passes over each vector, at least 1.
    parameter integer TIMES = 2
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
    if (DEPTH < 1) begin : gen_check_depth
        DEPTH_must_be_at_least_1 param_error ();
    end
    if (TIMES < 1) begin : gen_check_times
        TIMES_must_be_at_least_1 param_error ();
    end
endgenerate

localparam integer LAST_PASS  = TIMES - 1;
localparam integer PASS_WIDTH = TIMES > 1 ? $clog2(TIMES) : 1;

reg [DATA_WIDTH-1:0] data_reg;
reg                  valid_reg;
reg [PASS_WIDTH-1:0] pass_reg;

wire pass_last = pass_reg == LAST_PASS[PASS_WIDTH-1:0];

assign m_axis_tdata  = data_reg;
assign m_axis_tvalid = valid_reg;

generate
    if (DEPTH == 1 && TIMES > 1) begin : gen_registers
        reg [DATA_WIDTH-1:0] next_reg;
        reg                  next_valid_reg;

        wire given   = m_axis_tready && valid_reg;
        wire advance = !valid_reg || (given && pass_last);

        assign s_axis_tready = !next_valid_reg;

        always @(posedge clk) begin
            if (s_axis_tready) begin
                next_reg <= s_axis_tdata;
            end
            if (advance) begin
                data_reg <= next_reg;
            end
        end

        always @(posedge clk) begin
            if (given) begin
                pass_reg <= pass_last ? {PASS_WIDTH{1'b0}} : pass_reg + 1'b1;
            end
            if (advance) begin
                valid_reg <= next_valid_reg;
            end
            next_valid_reg <= next_valid_reg ? !advance : s_axis_tvalid;
            if (rst) begin
                pass_reg       <= {PASS_WIDTH{1'b0}};
                valid_reg      <= 1'b0;
                next_valid_reg <= 1'b0;
            end
        end
    end else begin : gen_memory
        localparam integer LAST_BEAT     = DEPTH - 1;
        localparam integer BEAT_WIDTH    = DEPTH > 1 ? $clog2(DEPTH) : 1;
        localparam integer ADDRESS_WIDTH = DEPTH > 1 ? $clog2(DEPTH) + 1 : 1;

        (* no_rw_check *)
        reg [DATA_WIDTH-1:0] memory [0:2*DEPTH-1];

        // Vectors are counted modulo 4: the write side is 0 to 2 vectors ahead of the read side.
        reg [1:0]            write_vector_reg;
        reg [BEAT_WIDTH-1:0] write_beat_reg;
        reg [1:0]            read_vector_reg;
        reg [BEAT_WIDTH-1:0] read_beat_reg;

        wire [ADDRESS_WIDTH-1:0] write_address;
        wire [ADDRESS_WIDTH-1:0] read_address;

        if (DEPTH > 1) begin : gen_address
            assign write_address = {write_beat_reg, write_vector_reg[0]};
            assign read_address  = {read_beat_reg, read_vector_reg[0]};
        end else begin : gen_address_of_one
            assign write_address = write_vector_reg[0];
            assign read_address  = read_vector_reg[0];
        end

        reg        room_reg;
        wire [1:0] vectors = write_vector_reg - read_vector_reg;
        // Where both sides are in the same vector, the read side is in its first pass and must stay behind the write side.
        wire empty = write_vector_reg == read_vector_reg && write_beat_reg == read_beat_reg;

        wire advance    = m_axis_tready || !valid_reg;
        wire write      = s_axis_tvalid && room_reg;
        wire read       = advance && !empty;
        wire write_last = write_beat_reg == LAST_BEAT[BEAT_WIDTH-1:0];
        wire read_last  = read_beat_reg == LAST_BEAT[BEAT_WIDTH-1:0];

        wire fills      = vectors == 2'd1 && write && write_last;
        // The last pass of several reads what the first one has read. `advance` comes last.
        wire frees      = read_last && pass_last && (TIMES > 1 || !empty) && advance;

        assign s_axis_tready = room_reg;

        always @(posedge clk) begin
            if (write) begin
                memory[write_address] <= s_axis_tdata;
            end
            if (advance) begin
                data_reg <= memory[read_address];
            end
        end

        always @(posedge clk) begin
            if (write) begin
                write_beat_reg   <= write_last ? {BEAT_WIDTH{1'b0}} : write_beat_reg + 1'b1;
                write_vector_reg <= write_vector_reg + {1'b0, write_last};
            end
            if (read) begin
                read_beat_reg <= read_last ? {BEAT_WIDTH{1'b0}} : read_beat_reg + 1'b1;
                if (read_last) begin
                    pass_reg        <= pass_last ? {PASS_WIDTH{1'b0}} : pass_reg + 1'b1;
                    read_vector_reg <= read_vector_reg + {1'b0, pass_last};
                end
            end
            if (advance) begin
                valid_reg <= !empty;
            end
            room_reg <= frees || !(vectors == 2'd2 || fills);
            if (rst) begin
                room_reg         <= 1'b1;
                write_vector_reg <= 2'd0;
                write_beat_reg   <= {BEAT_WIDTH{1'b0}};
                read_vector_reg  <= 2'd0;
                read_beat_reg    <= {BEAT_WIDTH{1'b0}};
                pass_reg         <= {PASS_WIDTH{1'b0}};
                valid_reg        <= 1'b0;
            end
        end
    end
endgenerate

endmodule

`resetall
