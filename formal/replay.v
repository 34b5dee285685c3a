// replay.v : harness of abbnn_replay: each vector comes out as often as it shall, and in order
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`default_nettype none

// As stream.v, with one marked beat. Vectors and passes are counted; the marked beat is the one of its place in its vector,
// in every pass, and no other is.
module top (
    input  wire clk,
    input  wire rst_in,
    input  wire send,
    input  wire mark,
    input  wire m_ready,
    output wire bad
);

localparam integer BITS = 4;

reg            first   = 1'b1;
wire           rst     = first || rst_in;
reg [BITS-1:0] s_beat  = {BITS{1'b0}};
reg [BITS-1:0] m_beat  = {BITS{1'b0}};
reg [BITS-1:0] pass    = {BITS{1'b0}};
// Whole vectors that have come, without those that have left.
reg [BITS-1:0] vectors = {BITS{1'b0}};
reg [1:0]      state   = 2'd0;
reg [BITS-1:0] place   = {BITS{1'b0}};
reg [BITS-1:0] ahead   = {BITS{1'b0}};
reg            waiting = 1'b0;
reg            kept    = 1'b0;
reg            stalled = 1'b0;
reg            shown   = 1'b0;

wire s_valid = waiting || send;
wire s_data  = waiting ? kept : mark && state == 2'd0;
wire s_ready;
wire m_valid;
wire m_data;

abbnn_replay #(.DATA_WIDTH(1), .DEPTH(`DEPTH), .TIMES(`TIMES)) dut (
    .clk(clk), .rst(rst), .s_axis_tdata(s_data), .s_axis_tvalid(s_valid), .s_axis_tready(s_ready),
    .m_axis_tdata(m_data), .m_axis_tvalid(m_valid), .m_axis_tready(m_ready)
);

wire take   = s_valid && s_ready && !rst;
wire give   = m_valid && m_ready && !rst;
wire s_last = s_beat == `DEPTH - 1;
wire m_last = m_beat == `DEPTH - 1;
wire leaves = give && m_last && pass == `TIMES - 1;
wire due    = state == 2'd1 && ahead == {BITS{1'b0}} && m_beat == place;

assign bad = !rst && (
    (stalled && (!m_valid || m_data != shown))
    || vectors > 3
    || (give && m_data != due)
    || (give && vectors == {BITS{1'b0}} && (m_beat >= s_beat || pass != {BITS{1'b0}})));

always @(posedge clk) begin
    first   <= 1'b0;
    waiting <= s_valid && !s_ready;
    kept    <= s_data;
    stalled <= m_valid && !m_ready;
    shown   <= m_data;
    if (take) begin
        s_beat <= s_last ? {BITS{1'b0}} : s_beat + 1'b1;
    end
    if (give) begin
        m_beat <= m_last ? {BITS{1'b0}} : m_beat + 1'b1;
        if (m_last) begin
            pass <= leaves ? {BITS{1'b0}} : pass + 1'b1;
        end
    end
    vectors <= vectors + {{BITS-1{1'b0}}, take && s_last} - {{BITS-1{1'b0}}, leaves};
    if (take && s_data) begin
        state <= 2'd1;
        place <= s_beat;
        ahead <= vectors - {{BITS-1{1'b0}}, leaves};
    end else if (leaves && state == 2'd1) begin
        state <= ahead == {BITS{1'b0}} ? 2'd2 : 2'd1;
        ahead <= ahead - 1'b1;
    end
    if (rst) begin
        s_beat  <= {BITS{1'b0}};
        m_beat  <= {BITS{1'b0}};
        pass    <= {BITS{1'b0}};
        vectors <= {BITS{1'b0}};
        state   <= 2'd0;
        waiting <= 1'b0;
        stalled <= 1'b0;
    end
end

endmodule
