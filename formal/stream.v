// stream.v : harness of modules that pass lanes on, each once and in order
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`default_nettype none

// The source, which keeps the rules, sends lanes of 0 and at most one of 1, any one. The modules do not look at data, so
// what holds for this lane holds for all. It comes out once, behind exactly those lanes that went in before it; no more
// than `CAPACITY lanes are inside; nothing comes out that did not go in; a beat that waits stays as it is. Any cycle may
// be one of reset. While the output is taken, a whole beat inside comes out, or one that lacks lanes goes in, within `IDLE
// cycles.
module top (
    input  wire clk,
    input  wire rst_in,
    input  wire send,
    input  wire [`S_LANES-1:0] mark,
    input  wire m_ready,
    output reg  bad
);

localparam integer BITS = 6;

reg            first  = 1'b1;
wire           rst    = first || rst_in;
// 0: not sent, 1: inside, with `ahead` lanes before it, 2: gone.
reg [1:0]      state  = 2'd0;
reg [BITS-1:0] inside = {BITS{1'b0}};
reg [BITS-1:0] ahead  = {BITS{1'b0}};

// The source: a beat that is not taken stays.
reg                 waiting = 1'b0;
reg  [`S_LANES-1:0] kept    = {`S_LANES{1'b0}};
wire                one     = state == 2'd0 && (mark & (mark - 1'b1)) == {`S_LANES{1'b0}};
wire                s_valid = waiting || send;
wire [`S_LANES-1:0] s_data  = waiting ? kept : one ? mark : {`S_LANES{1'b0}};

wire                s_ready;
wire                m_valid;
wire [`M_LANES-1:0] m_data;

`DUT #(`PARAMETERS) dut (
    .clk(clk), .rst(rst),
    .s_axis_tdata(s_data), .s_axis_tvalid(s_valid), .s_axis_tready(s_ready),
    .m_axis_tdata(m_data), .m_axis_tvalid(m_valid), .m_axis_tready(m_ready)
);

reg                 stalled = 1'b0;
reg  [`M_LANES-1:0] shown   = {`M_LANES{1'b0}};
reg  [3:0]          idle    = 4'd0;
wire                take    = s_valid && s_ready && !rst;
wire                give    = m_valid && m_ready && !rst;

reg [1:0]      state_next;
reg [BITS-1:0] inside_next;
reg [BITS-1:0] ahead_next;
integer        lane;

always @* begin
    state_next  = state;
    inside_next = inside;
    ahead_next  = ahead;
    bad         = 1'b0;
    if (take) begin
        for (lane = 0; lane < `S_LANES; lane = lane + 1) begin
            if (s_data[lane]) begin
                state_next = 2'd1;
                ahead_next = inside_next;
            end
            inside_next = inside_next + 1'b1;
        end
    end
    if (!rst && (inside_next > `CAPACITY || idle > `IDLE || (stalled && (!m_valid || m_data != shown)))) begin
        bad = 1'b1;
    end
    if (give) begin
        for (lane = 0; lane < `M_LANES; lane = lane + 1) begin
            if (inside_next == {BITS{1'b0}} || m_data[lane] != (state_next == 2'd1 && ahead_next == {BITS{1'b0}})) begin
                bad = 1'b1;
            end
            if (state_next == 2'd1 && ahead_next == {BITS{1'b0}}) begin
                state_next = 2'd2;
            end
            inside_next = inside_next - 1'b1;
            ahead_next  = ahead_next - 1'b1;
        end
    end
end

always @(posedge clk) begin
    first   <= 1'b0;
    waiting <= s_valid && !s_ready;
    kept    <= s_data;
    stalled <= m_valid && !m_ready;
    shown   <= m_data;
    idle    <= m_ready && (inside >= `M_LANES ? !m_valid : s_valid && !s_ready) ? idle + 4'd1 : 4'd0;
    state   <= state_next;
    inside  <= inside_next;
    ahead   <= ahead_next;
    if (rst) begin
        idle    <= 4'd0;
        waiting <= 1'b0;
        stalled <= 1'b0;
        state   <= 2'd0;
        inside  <= {BITS{1'b0}};
    end
end

endmodule
