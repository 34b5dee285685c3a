// cut.v : harness of abbnn_cut: what is shown stays, and no packet holds beats from before and behind a cut
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`default_nettype none

// Beats carry the parity of the cuts before them, in bit 0; bit 1 is 0, so that the beat of ones that ends a packet is known.
module top (
    input  wire clk,
    input  wire rst_in,
    input  wire send,
    input  wire last,
    input  wire m_ready,
    input  wire cut,
    output wire bad
);

reg       first   = 1'b1;
wire      rst     = first || rst_in;
reg       parity  = 1'b0;
reg       was_cut = 1'b0;
reg       waiting = 1'b0;
reg       kept    = 1'b0;
reg       stalled = 1'b0;
reg [2:0] shown   = 3'd0;
// A packet has begun on m_axis, with this parity.
reg       open    = 1'b0;
reg       began   = 1'b0;

wire       s_valid = !cut && ((waiting && !was_cut) || send);
wire       s_last  = waiting && !was_cut ? kept : last;
wire       s_ready;
wire       m_valid;
wire [1:0] m_data;
wire       m_last;

abbnn_cut #(.DATA_WIDTH(2)) dut (
    .clk(clk), .rst(rst), .s_axis_tdata({1'b0, parity}), .s_axis_tvalid(s_valid), .s_axis_tready(s_ready),
    .s_axis_tlast(s_last), .m_axis_tdata(m_data), .m_axis_tvalid(m_valid), .m_axis_tready(m_ready), .m_axis_tlast(m_last),
    .cut(cut)
);

wire end_beat = m_data == 2'b11;

assign bad = !rst && (
    (stalled && (!m_valid || {m_last, m_data} != shown))
    || (m_valid && m_data[1] && !(end_beat && m_last))
    || (m_valid && end_beat && !open)
    || (m_valid && open && !end_beat && m_data[0] != began));

always @(posedge clk) begin
    first   <= 1'b0;
    was_cut <= cut;
    if (cut && !was_cut) begin
        parity <= !parity;
    end
    waiting <= s_valid && !s_ready;
    kept    <= s_last;
    stalled <= m_valid && !m_ready;
    shown   <= {m_last, m_data};
    if (m_valid && m_ready) begin
        open  <= !m_last;
        began <= m_data[0];
    end
    if (rst) begin
        waiting <= 1'b0;
        stalled <= 1'b0;
        open    <= 1'b0;
    end
end

endmodule
