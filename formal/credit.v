// credit.v : harness of abbnn_credit: leave for DEPTH results, in order
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`default_nettype none

// What makes a result begins (`begin_`) only with leave, and the result arrives any time later, in order. At most DEPTH are
// under way, so that the FIFO takes each; the results come out once and in order, as in stream.v; one that waits stays.
module top (
    input  wire clk,
    input  wire rst_in,
    input  wire begin_in,
    input  wire arrive,
    input  wire mark,
    input  wire m_ready,
    output wire bad
);

localparam integer BITS = 4;

reg            first  = 1'b1;
wire           rst    = first || rst_in;
reg [BITS-1:0] flying = {BITS{1'b0}};
reg [BITS-1:0] inside = {BITS{1'b0}};
reg [BITS-1:0] ahead  = {BITS{1'b0}};
reg [1:0]      state  = 2'd0;
reg            stalled = 1'b0;
reg            shown   = 1'b0;

wire ready;
wire m_valid;
wire m_data;
wire enter   = begin_in && ready && !rst;
wire s_valid = arrive && flying != {BITS{1'b0}} && !rst;
wire s_data  = mark && state == 2'd0;
wire give    = m_valid && m_ready && !rst;
wire due     = state == 2'd1 && ahead == {BITS{1'b0}};

abbnn_credit #(`PARAMETERS) dut (
    .clk(clk), .rst(rst), .ready(ready), .enter(enter),
    .s_axis_tdata(s_data), .s_axis_tvalid(s_valid),
    .m_axis_tdata(m_data), .m_axis_tvalid(m_valid), .m_axis_tready(m_ready)
);

assign bad = !rst && (
    {1'b0, flying} + {1'b0, inside} > `CAPACITY
    || (stalled && (!m_valid || m_data != shown))
    || (give && (inside == {BITS{1'b0}} || m_data != due)));

always @(posedge clk) begin
    first   <= 1'b0;
    stalled <= m_valid && !m_ready;
    shown   <= m_data;
    flying  <= flying + {{BITS-1{1'b0}}, enter} - {{BITS-1{1'b0}}, s_valid};
    inside  <= inside + {{BITS-1{1'b0}}, s_valid} - {{BITS-1{1'b0}}, give};
    if (s_valid && s_data) begin
        state <= 2'd1;
        ahead <= inside - {{BITS-1{1'b0}}, give};
    end else if (give && state == 2'd1) begin
        state <= due ? 2'd2 : 2'd1;
        ahead <= ahead - 1'b1;
    end
    if (rst) begin
        stalled <= 1'b0;
        flying  <= {BITS{1'b0}};
        inside  <= {BITS{1'b0}};
        state   <= 2'd0;
    end
end

endmodule
