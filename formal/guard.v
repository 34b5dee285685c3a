// guard.v : harness of abbnn_guard: frames of BEATS beats, each with its verdict
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`default_nettype none

// Any frames come in. Those that go out have BEATS beats with tlast on the last, and what waits stays; a frame's verdict has
// been taken before its last beat leaves, and says whether the input's tlast came on its beat. At most one beat of the
// input is 1; if it is one of the first BEATS of its frame, it is the next one to go out, in its place, and the only 1.
module top (
    input  wire clk,
    input  wire rst_in,
    input  wire send,
    input  wire mark,
    input  wire last,
    input  wire m_ready,
    input  wire v_ready,
    output wire bad
);

reg        first   = 1'b1;
wire       rst     = first || rst_in;
reg        waiting = 1'b0;
reg  [1:0] kept    = 2'd0;
reg        marked  = 1'b0;
reg  [2:0] s_beat  = 3'd0;
reg        long    = 1'b0;
reg        short   = 1'b0;
reg  [2:0] m_beat  = 3'd0;
// Verdicts taken, without the frames that have left.
reg  [1:0] told    = 2'd0;
reg        due     = 1'b0;
reg  [2:0] place   = 3'd0;
reg        m_stalled = 1'b0;
reg  [1:0] m_shown   = 2'd0;
reg        v_stalled = 1'b0;
reg        v_shown   = 1'b0;

wire       s_valid = waiting || send;
wire [1:0] s_beat_ = waiting ? kept : {last, mark && !marked};
wire       s_last  = s_beat_[1];
wire       s_data  = s_beat_[0];
wire       s_ready;
wire       m_valid;
wire       m_data;
wire       m_last;
wire       v_valid;
wire       verdict;
wire       error_short;
wire       error_long;

abbnn_guard #(.DATA_WIDTH(1), .BEATS(`BEATS)) dut (
    .clk(clk), .rst(rst), .s_axis_tdata(s_data), .s_axis_tvalid(s_valid), .s_axis_tready(s_ready), .s_axis_tlast(s_last),
    .m_axis_tdata(m_data), .m_axis_tvalid(m_valid), .m_axis_tready(m_ready), .m_axis_tlast(m_last),
    .m_verdict_tdata(verdict), .m_verdict_tvalid(v_valid), .m_verdict_tready(v_ready),
    .error_short(error_short), .error_long(error_long)
);

wire take = s_valid && s_ready && !rst;
wire give = m_valid && m_ready && !rst;
wire tell = v_valid && v_ready && !rst;
wire full = s_beat == `BEATS - 1;

assign bad = (rst && s_ready) || (!rst && (
    (m_stalled && (!m_valid || {m_last, m_data} != m_shown))
    || (v_stalled && (!v_valid || verdict != v_shown))
    || (m_valid && m_last != (m_beat == `BEATS - 1))
    || (m_valid && m_last && told == 2'd0)
    || (tell && told == 2'd2)
    || (tell && verdict != (short || !s_last))
    || (tell && !short && !(s_valid && full && !long))
    || (give && m_data != (due && m_beat == place))
    || (give && due && m_beat != place)));

always @(posedge clk) begin
    first     <= 1'b0;
    waiting   <= s_valid && !s_ready;
    kept      <= s_beat_;
    m_stalled <= m_valid && !m_ready;
    m_shown   <= {m_last, m_data};
    v_stalled <= v_valid && !v_ready;
    v_shown   <= verdict;
    if (take) begin
        marked <= marked || s_data;
        long   <= !s_last && (long || full);
        s_beat <= s_last || full || long ? 3'd0 : s_beat + 3'd1;
        if (s_last && !full && !long) begin
            short <= 1'b1;
        end
    end
    if (tell && short) begin
        short <= 1'b0;
    end
    if (give) begin
        m_beat <= m_last ? 3'd0 : m_beat + 3'd1;
        due    <= 1'b0;
    end
    if (take && s_data && !long) begin
        due   <= 1'b1;
        place <= s_beat;
    end
    told <= told + {1'b0, tell} - {1'b0, give && m_last};
    if (rst) begin
        waiting   <= 1'b0;
        marked    <= 1'b0;
        s_beat    <= 3'd0;
        long      <= 1'b0;
        short     <= 1'b0;
        m_beat    <= 3'd0;
        told      <= 2'd0;
        due       <= 1'b0;
        m_stalled <= 1'b0;
        v_stalled <= 1'b0;
    end
end

endmodule
