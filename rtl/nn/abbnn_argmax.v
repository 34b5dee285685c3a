// abbnn_argmax.v : passes the scores of a frame on, followed by the index of the greatest
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// Input: CLASSES signed scores a frame, one a beat, class 0 first. Output: the same scores, sign-extended to M_WIDTH
// bits, then one more beat with tlast and the index of the greatest score, the lowest index among equals.
//
// Latency 1 (register); the index follows the last score in the next cycle. A score is taken every other cycle, as it is
// compared in one and kept in the next: a frame takes 2 * CLASSES cycles.
module abbnn_argmax #(
    // Bits of a score, at least 2.
    parameter integer SCORE_WIDTH = 16,
    // Scores of one frame, at least 1.
    parameter integer CLASSES = 10,
    // Bits of an output beat, at least SCORE_WIDTH, and enough for CLASSES - 1.
    parameter integer M_WIDTH = 16
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

localparam integer CLASS_WIDTH = CLASSES > 1 ? $clog2(CLASSES) : 1;
localparam integer LAST_CLASS = CLASSES - 1;

generate
    if (SCORE_WIDTH < 2) begin : gen_check_score_width
        SCORE_WIDTH_must_be_at_least_2 param_error ();
    end
    if (CLASSES < 1) begin : gen_check_classes
        CLASSES_must_be_at_least_1 param_error ();
    end
    if (M_WIDTH < SCORE_WIDTH || M_WIDTH < CLASS_WIDTH) begin : gen_check_m_width
        M_WIDTH_must_hold_a_score_and_an_index param_error ();
    end
endgenerate

// The last score, until it or the index behind it has left.
reg [SCORE_WIDTH-1:0] score_reg;
reg                   valid_reg;
reg                   last_reg;

// The class of the next score; whether the index comes next.
reg [CLASS_WIDTH-1:0] class_reg;
reg                   index_next_reg;
// Class of the score in score_reg; the score came with this cycle; it is greater than all before, with the last cycle.
reg [CLASS_WIDTH-1:0] score_class_reg;
reg                   fresh_reg;
reg                   greater_reg;
// The greatest score before, or with it, and its class.
reg [SCORE_WIDTH-1:0] best_reg;
reg [CLASS_WIDTH-1:0] best_class_reg;

wire [M_WIDTH-1:0] score;
wire [M_WIDTH-1:0] index;

wire advance    = m_axis_tready || !valid_reg;
wire step       = s_axis_tvalid && s_axis_tready;
wire class_last = class_reg == LAST_CLASS[CLASS_WIDTH-1:0];

wire [CLASS_WIDTH-1:0] best_class = greater_reg ? score_class_reg : best_class_reg;

assign s_axis_tready = advance && !index_next_reg && !fresh_reg;
assign m_axis_tdata  = last_reg ? index : score;
assign m_axis_tvalid = valid_reg;
assign m_axis_tlast  = last_reg;

generate
    if (M_WIDTH > SCORE_WIDTH) begin : gen_extend_score
        assign score = {{M_WIDTH-SCORE_WIDTH{score_reg[SCORE_WIDTH-1]}}, score_reg};
    end else begin : gen_score
        assign score = score_reg;
    end
    if (M_WIDTH > CLASS_WIDTH) begin : gen_extend_index
        assign index = {{M_WIDTH-CLASS_WIDTH{1'b0}}, best_class};
    end else begin : gen_index
        assign index = best_class;
    end
endgenerate

always @(posedge clk) begin
    if (step) begin
        class_reg       <= class_last ? {CLASS_WIDTH{1'b0}} : class_reg + 1'b1;
        score_reg       <= s_axis_tdata;
        score_class_reg <= class_reg;
    end
    fresh_reg   <= step;
    greater_reg <= fresh_reg && (score_class_reg == {CLASS_WIDTH{1'b0}} || $signed(score_reg) > $signed(best_reg));
    if (greater_reg) begin
        best_reg       <= score_reg;
        best_class_reg <= score_class_reg;
    end
    if (advance) begin
        valid_reg      <= index_next_reg || step;
        last_reg       <= index_next_reg;
        index_next_reg <= step && class_last;
    end
    if (rst) begin
        class_reg      <= {CLASS_WIDTH{1'b0}};
        index_next_reg <= 1'b0;
        fresh_reg      <= 1'b0;
        valid_reg      <= 1'b0;
    end
end

endmodule

`resetall
