// abbnn_compare.v : sign of every value after its channel's bias, as one comparison with a threshold
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// Lane by lane: bit = value >= threshold of the lane's channel, both signed; 1 stands for +1, 0 for -1.
//
// Channel = group * LANES + lane; the groups of a pixel follow each other. Table word at address group: LANES
// thresholds, lane 0 lowest.
//
// Latency 2 (register the value with its threshold, compare), one beat a cycle. No beat may come in the cycles behind a
// reset in which abbnn_table loses a step.
module abbnn_compare #(
    // Elements of one beat, at least 1.
    parameter integer LANES = 1,
    // Channels of one pixel, a multiple of LANES.
    parameter integer CHANNELS = 1,
    // Bits of a value and of its threshold, at least 2.
    parameter integer VALUE_WIDTH = 16,
    // $readmemh file of the table; with "" the table stays undefined.
    parameter TABLE_FILE = "",
    // Number of the table on the load bus (abbnn_memory); -1: it comes from the file and stays.
    parameter integer LOAD_MEMORY = -1
) (
    input  wire                         clk,
    input  wire                         rst,
    input  wire [76:0]                  load,

    input  wire [LANES*VALUE_WIDTH-1:0] s_axis_tdata,
    input  wire                         s_axis_tvalid,
    output wire                         s_axis_tready,

    output wire [LANES-1:0]             m_axis_tdata,
    output wire                         m_axis_tvalid,
    input  wire                         m_axis_tready
);

generate
    if (LANES < 1) begin : gen_check_lanes
        LANES_must_be_at_least_1 param_error ();
    end else if (CHANNELS < 1 || CHANNELS % LANES != 0) begin : gen_check_channels
        CHANNELS_must_be_a_multiple_of_LANES param_error ();
    end
    if (VALUE_WIDTH < 2) begin : gen_check_value_width
        VALUE_WIDTH_must_be_at_least_2 param_error ();
    end
endgenerate

localparam integer STAGES = 2;
localparam integer GROUPS = CHANNELS / LANES;
localparam integer WORD_WIDTH = LANES * VALUE_WIDTH;

reg [STAGES-1:0] valid_reg;

wire advance = m_axis_tready || !valid_reg[STAGES-1];

assign s_axis_tready = advance;
assign m_axis_tvalid = valid_reg[STAGES-1];

always @(posedge clk) begin
    if (advance) begin
        valid_reg <= {valid_reg[STAGES-2:0], s_axis_tvalid};
    end
    if (rst) begin
        valid_reg <= {STAGES{1'b0}};
    end
end

// The thresholds of the beat that is accepted next.
wire [WORD_WIDTH-1:0] word;

abbnn_table #(
    .WIDTH(WORD_WIDTH),
    .DEPTH(GROUPS),
    .TABLE_FILE(TABLE_FILE),
    .LOAD_MEMORY(LOAD_MEMORY)
) table_inst (
    .clk(clk),
    .rst(rst),
    .load(load),
    .step(advance && s_axis_tvalid),
    .word(word)
);

reg [WORD_WIDTH-1:0] value_reg;
reg [WORD_WIDTH-1:0] threshold_reg;
reg [LANES-1:0]      bit_reg;

wire [LANES-1:0] bit_next;

always @(posedge clk) begin
    if (advance) begin
        value_reg     <= s_axis_tdata;
        threshold_reg <= word;
        bit_reg       <= bit_next;
    end
end

genvar i;

generate
    for (i = 0; i < LANES; i = i + 1) begin : gen_lane
        assign bit_next[i] = $signed(value_reg[i*VALUE_WIDTH +: VALUE_WIDTH])
                          >= $signed(threshold_reg[i*VALUE_WIDTH +: VALUE_WIDTH]);
    end
endgenerate

assign m_axis_tdata = bit_reg;

endmodule

`resetall
