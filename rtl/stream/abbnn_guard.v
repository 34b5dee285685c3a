// abbnn_guard.v : makes every frame of an AXI4-Stream exactly the right length and tells which were not
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// A frame of BEATS beats, tlast on the last, passes unchanged. Latency 1, one beat a cycle, no gap between frames.
// Short frame (tlast comes early): its beats pass and zero beats complete it, one a cycle while s_axis waits.
// Long frame (no tlast on beat BEATS - 1): its first BEATS beats pass; the surplus up to and including its tlast is
// taken at one beat a cycle and discarded.
// m_axis has tlast on beat BEATS - 1 of every frame and nowhere else.
//
// m_verdict gives one beat a frame: tdata = 1 for a bad (short or long) frame, 0 for a good one. It is offered while the
// frame's last beat is at the input, in the cycle before that beat can be on m_axis, and the last beat goes on to m_axis
// only when the verdict has been taken: whoever sees the frame's end already has its verdict.
// error_short and error_long are high for one cycle, the one after the transfer that showed the error.
//
// s_axis_tready is low while rst is high, and depends combinationally on m_axis_tready and m_verdict_tready. What is
// left of a frame that a reset cut is a frame like any other: a short one.
module abbnn_guard #(
    // Bits of one beat, at least 1.
    parameter integer DATA_WIDTH = 8,
    // Beats of a frame, at least 1.
    parameter integer BEATS = 16
) (
    input  wire                  clk,
    input  wire                  rst,

    input  wire [DATA_WIDTH-1:0] s_axis_tdata,
    input  wire                  s_axis_tvalid,
    output wire                  s_axis_tready,
    input  wire                  s_axis_tlast,

    output wire [DATA_WIDTH-1:0] m_axis_tdata,
    output wire                  m_axis_tvalid,
    input  wire                  m_axis_tready,
    output wire                  m_axis_tlast,

    output wire [0:0]            m_verdict_tdata,
    output wire                  m_verdict_tvalid,
    input  wire                  m_verdict_tready,

    output wire                  error_short,
    output wire                  error_long
);

generate
    if (DATA_WIDTH < 1) begin : gen_check_data_width
        DATA_WIDTH_must_be_at_least_1 param_error ();
    end
    if (BEATS < 1) begin : gen_check_beats
        BEATS_must_be_at_least_1 param_error ();
    end
endgenerate

localparam integer NEXT_TO_LAST = BEATS - 2;
localparam [0:0]   ONE_BEAT     = BEATS == 1;
localparam integer BEAT_WIDTH   = BEATS > 1 ? $clog2(BEATS) : 1;

reg [BEAT_WIDTH-1:0] beat_reg;
reg                  beat_last_reg;
reg                  fill_reg;
reg                  discard_reg;
reg                  verdict_done_reg;
reg                  error_short_reg;
reg                  error_long_reg;

reg [DATA_WIDTH-1:0] data_reg;
reg                  last_reg;
reg                  valid_reg;

// The beat to pass on: from s_axis, or a zero beat.
wire beat_valid = !rst && (fill_reg || (s_axis_tvalid && !discard_reg));
wire beat_last  = beat_last_reg;

wire advance = m_axis_tready || !valid_reg;
wire go      = advance && (!beat_last || verdict_done_reg || m_verdict_tready);
wire pass = beat_valid && go;
wire take = pass && !fill_reg;

assign s_axis_tready   = !rst && !fill_reg && (discard_reg || go);
assign m_axis_tdata    = data_reg;
assign m_axis_tvalid   = valid_reg;
assign m_axis_tlast    = last_reg;
assign m_verdict_tdata  = fill_reg || !s_axis_tlast;
assign m_verdict_tvalid = beat_valid && beat_last && !verdict_done_reg;
assign error_short     = error_short_reg;
assign error_long      = error_long_reg;

always @(posedge clk) begin
    if (advance) begin
        data_reg <= fill_reg ? {DATA_WIDTH{1'b0}} : s_axis_tdata;
        last_reg <= beat_last;
    end
end

always @(posedge clk) begin
    if (advance) begin
        valid_reg <= pass;
    end
    if (pass) begin
        beat_reg <= beat_last ? {BEAT_WIDTH{1'b0}} : beat_reg + 1'b1;
        beat_last_reg <= ONE_BEAT[0] || (!beat_last && beat_reg == NEXT_TO_LAST[BEAT_WIDTH-1:0]);
        fill_reg <= !beat_last && (fill_reg || s_axis_tlast);
    end
    if (discard_reg ? s_axis_tvalid : take) begin
        discard_reg <= !s_axis_tlast && (discard_reg || beat_last);
    end
    if (beat_valid && beat_last) begin
        verdict_done_reg <= (verdict_done_reg || m_verdict_tready) && !advance;
    end
    error_short_reg <= take && s_axis_tlast && !beat_last;
    error_long_reg  <= take && !s_axis_tlast && beat_last;
    if (rst) begin
        beat_reg        <= {BEAT_WIDTH{1'b0}};
        beat_last_reg   <= ONE_BEAT[0];
        fill_reg        <= 1'b0;
        discard_reg     <= 1'b0;
        verdict_done_reg <= 1'b0;
        error_short_reg <= 1'b0;
        error_long_reg  <= 1'b0;
        valid_reg       <= 1'b0;
    end
end

endmodule

`resetall
