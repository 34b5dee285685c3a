// drop.v : harness of abbnn_drop: a frame passes whole or not at all, as its verdict says
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`default_nettype none

module top (
    input  wire clk,
    input  wire rst_in,
    input  wire send,
    input  wire any,
    input  wire last,
    input  wire v_send,
    input  wire v_any,
    input  wire m_ready,
    output wire bad
);

reg       first     = 1'b1;
wire      rst       = first || rst_in;
reg       waiting   = 1'b0;
reg [1:0] kept      = 2'd0;
reg       v_waiting = 1'b0;
reg       v_kept    = 1'b0;
// A frame has begun, and whether it is dropped; frames that have passed.
reg       inside    = 1'b0;
reg       dropped   = 1'b0;
reg [3:0] passed    = 4'd0;
reg       stalled   = 1'b0;
reg [1:0] shown     = 2'd0;

wire       s_valid = waiting || send;
wire [1:0] s_beat  = waiting ? kept : {last, any};
wire       v_valid = v_waiting || v_send;
wire       v_data  = v_waiting ? v_kept : v_any;
wire       s_ready;
wire       v_ready;
wire       m_valid;
wire       m_data;
wire       m_last;
wire [31:0] frames;

abbnn_drop #(.DATA_WIDTH(1)) dut (
    .clk(clk), .rst(rst), .s_axis_tdata(s_beat[0]), .s_axis_tvalid(s_valid), .s_axis_tready(s_ready), .s_axis_tlast(s_beat[1]),
    .s_verdict_tdata(v_data), .s_verdict_tvalid(v_valid), .s_verdict_tready(v_ready),
    .m_axis_tdata(m_data), .m_axis_tvalid(m_valid), .m_axis_tready(m_ready), .m_axis_tlast(m_last), .frames(frames)
);

wire take = s_valid && s_ready && !rst;
wire give = m_valid && m_ready && !rst;

assign bad = !rst && (
    (stalled && (!m_valid || {m_last, m_data} != shown))
    || (take && !v_valid)
    || (take && give == v_data) || (give && !take) || (give && {m_last, m_data} != s_beat)
    || (take && inside && give == dropped)
    || (v_valid && v_ready) != (take && s_beat[1])
    || (v_valid && s_valid && !s_ready && (m_ready || v_data))
    || frames[3:0] != passed);

always @(posedge clk) begin
    first     <= 1'b0;
    waiting   <= s_valid && !s_ready;
    kept      <= s_beat;
    v_waiting <= v_valid && !v_ready;
    v_kept    <= v_data;
    stalled   <= m_valid && !m_ready;
    shown     <= {m_last, m_data};
    if (take) begin
        inside  <= !s_beat[1];
        dropped <= !give;
    end
    if (give && m_last) begin
        passed <= passed + 4'd1;
    end
    if (rst) begin
        waiting   <= 1'b0;
        v_waiting <= 1'b0;
        inside    <= 1'b0;
        passed    <= 4'd0;
        stalled   <= 1'b0;
    end
end

endmodule
