// abbnn_argmax.v : passes class scores on and adds the index of the greatest
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// In: one signed score a beat, CLASSES beats a frame. Out: each score, sign-extended to M_WIDTH bits, then one beat with
// the index of the greatest (the lowest among equals) and tlast.
// Latency 1; a frame takes CLASSES + 1 cycles: the input waits while the index leaves.
module abbnn_argmax #(
    // Bits of a score, at least 2.
    parameter integer SCORE_WIDTH = 28,
    // Scores of a frame, at least 1.
    parameter integer CLASSES = 10,
    // Bits of an output beat, at least SCORE_WIDTH; the index leaves one of them free.
    parameter integer M_WIDTH = 32
) (
    input  wire                   clk,
    input  wire                   rst,

    input  wire [SCORE_WIDTH-1:0] s_axis_tdata,
    input  wire                   s_axis_tvalid,
    output wire                   s_axis_tready,

    output wire [M_WIDTH-1:0]     m_axis_tdata,
    output wire                   m_axis_tvalid,
    input  wire                   m_axis_tready,
    output wire                   m_axis_tlast
);

localparam integer INDEX_WIDTH = (CLASSES > 1) ? $clog2(CLASSES) : 1;
localparam integer LAST = CLASSES - 1;

generate
    if (SCORE_WIDTH < 2) begin : gen_check_score_width
        SCORE_WIDTH_must_be_at_least_2 param_error ();
    end
    if (CLASSES < 1) begin : gen_check_classes
        CLASSES_must_be_at_least_1 param_error ();
    end
    if (M_WIDTH < SCORE_WIDTH || M_WIDTH <= INDEX_WIDTH) begin : gen_check_m_width
        M_WIDTH_must_hold_a_score_and_the_index param_error ();
    end
endgenerate

reg [INDEX_WIDTH-1:0] index_reg;
reg [INDEX_WIDTH-1:0] best_reg;
reg [SCORE_WIDTH-1:0] greatest_reg;
reg                   closing_reg;  // all scores are in, the index is next
reg [M_WIDTH-1:0]     data_reg;
reg                   valid_reg;
reg                   last_reg;

wire load   = m_axis_tready || !valid_reg;
wire take   = load && !closing_reg && s_axis_tvalid;
wire first  = index_reg == {INDEX_WIDTH{1'b0}};
wire last   = index_reg == LAST[INDEX_WIDTH-1:0];
wire better = first || $signed(s_axis_tdata) > $signed(greatest_reg);

assign s_axis_tready = load && !closing_reg;
assign m_axis_tdata  = data_reg;
assign m_axis_tvalid = valid_reg;
assign m_axis_tlast  = last_reg;

always @(posedge clk) begin
    if (load) begin
        data_reg <= closing_reg ? {{M_WIDTH-INDEX_WIDTH{1'b0}}, best_reg}
                                : {{M_WIDTH-SCORE_WIDTH+1{s_axis_tdata[SCORE_WIDTH-1]}}, s_axis_tdata[SCORE_WIDTH-2:0]};
        last_reg <= closing_reg;
    end
    if (take && better) begin
        greatest_reg <= s_axis_tdata;
        best_reg     <= index_reg;
    end
end

always @(posedge clk) begin
    if (load) begin
        valid_reg   <= s_axis_tvalid || closing_reg;
        closing_reg <= take && last;
    end
    if (take) begin
        index_reg <= last ? {INDEX_WIDTH{1'b0}} : index_reg + 1'b1;
    end
    if (rst) begin
        index_reg   <= {INDEX_WIDTH{1'b0}};
        closing_reg <= 1'b0;
        valid_reg   <= 1'b0;
    end
end

endmodule

`resetall
