// abbnn_gather.v : bytes to wider beats, the last two of which wait for the verdict on the whole frame
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// A beat of m_axis is BYTES bytes of s_axis, the first lowest. The two newest beats are held back until end_valid brings
// the verdict on the frame, when all of its bytes have been taken:
//   end_good = 1: both follow, tlast on the last: the frame is whole.
//   end_good = 0: the older one follows, with tlast, and the newer one is dropped: the frame is short, by one beat at
//                 least. Where fewer than two beats have come, nothing follows, and nothing of the frame was seen.
// Bytes that make no whole beat are dropped. end_ready comes when everything of the frame has left; end_good has to stay
// until then, and the next frame's bytes have to wait. A byte takes two cycles: it waits in a register first, which cuts
// the path from s_axis to m_axis.
module abbnn_gather #(
    // Bytes of a beat, at least 2.
    parameter integer BYTES = 3
) (
    input  wire               clk,
    input  wire               rst,

    input  wire [7:0]         s_axis_tdata,
    input  wire               s_axis_tvalid,
    output wire               s_axis_tready,

    input  wire               end_good,
    input  wire               end_valid,
    output wire               end_ready,

    output wire [8*BYTES-1:0] m_axis_tdata,
    output wire               m_axis_tvalid,
    input  wire               m_axis_tready,
    output wire               m_axis_tlast
);

generate
    if (BYTES < 2) begin : gen_check_bytes
        BYTES_must_be_at_least_2 param_error ();
    end
endgenerate

localparam integer WIDTH       = 8 * BYTES;
localparam integer COUNT_WIDTH = $clog2(BYTES + 1);
localparam integer LAST        = BYTES - 1;

reg [7:0]             byte_reg;
reg                   byte_valid_reg;
reg [WIDTH-9:0]       part_reg;
reg [COUNT_WIDTH-1:0] count_reg;
reg [WIDTH-1:0]       newer_reg;
reg                   newer_valid_reg;
reg [WIDTH-1:0]       older_reg;
reg                   older_valid_reg;
reg [WIDTH-1:0]       data_reg;
reg                   last_reg;
reg                   valid_reg;
reg                   end_reg;

wire last_byte = count_reg == LAST[COUNT_WIDTH-1:0];
wire take      = byte_valid_reg && (!last_byte || !valid_reg || !older_valid_reg);
wire complete  = take && last_byte;
wire flush     = end_reg && !valid_reg && !byte_valid_reg;
// The older beat leaves: it gives way to a third one, or to the verdict.
wire leave     = older_valid_reg && (complete || flush);
wire leave_end = flush && !older_valid_reg && newer_valid_reg && end_good;

wire [WIDTH-1:0] beat = {byte_reg, part_reg};

assign s_axis_tready = !byte_valid_reg;
assign end_ready     = flush && !older_valid_reg && !newer_valid_reg;
assign m_axis_tdata  = data_reg;
assign m_axis_tvalid = valid_reg;
assign m_axis_tlast  = last_reg;

generate
if (BYTES == 2) begin : gen_pair
    always @(posedge clk) begin
        if (take) begin
            part_reg <= byte_reg;
        end
    end
end else begin : gen_more
    always @(posedge clk) begin
        if (take) begin
            part_reg <= {byte_reg, part_reg[WIDTH-9:8]};
        end
    end
end
endgenerate

always @(posedge clk) begin
    if (!byte_valid_reg) begin
        byte_reg <= s_axis_tdata;
    end
    if (complete) begin
        newer_reg <= beat;
        older_reg <= newer_reg;
    end
    // What leaves meets valid_reg low, so that these may follow the registers in front of them until then.
    if (!valid_reg) begin
        data_reg <= older_valid_reg ? older_reg : newer_reg;
        last_reg <= flush && (!older_valid_reg || !end_good);
    end
end

always @(posedge clk) begin
    if (leave || leave_end) begin
        valid_reg <= 1'b1;
    end else if (m_axis_tready) begin
        valid_reg <= 1'b0;
    end
    end_reg        <= end_valid;
    byte_valid_reg <= byte_valid_reg ? !take : s_axis_tvalid;
    if (flush) begin
        count_reg <= {COUNT_WIDTH{1'b0}};
    end else if (take) begin
        count_reg <= last_byte ? {COUNT_WIDTH{1'b0}} : count_reg + 1'b1;
    end
    if (flush) begin
        older_valid_reg <= 1'b0;
        newer_valid_reg <= newer_valid_reg && older_valid_reg && end_good;
    end else if (complete) begin
        older_valid_reg <= newer_valid_reg;
        newer_valid_reg <= 1'b1;
    end
    if (rst) begin
        end_reg         <= 1'b0;
        byte_valid_reg  <= 1'b0;
        valid_reg       <= 1'b0;
        count_reg       <= {COUNT_WIDTH{1'b0}};
        older_valid_reg <= 1'b0;
        newer_valid_reg <= 1'b0;
    end
end

endmodule

`resetall
