// gate.v : harness of abbnn_gate: no frame begins under hold and none is cut; idle is true when nothing is in flight
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`default_nettype none

// Up to three frames are in flight, of which `done` tells in any later cycle.
module top (
    input  wire clk,
    input  wire rst_in,
    input  wire send,
    input  wire last_in,
    input  wire m_ready,
    input  wire hold,
    input  wire done_in,
    output wire bad
);

reg       first   = 1'b1;
wire      rst     = first || rst_in;
reg       waiting = 1'b0;
reg       kept    = 1'b0;
reg       inside  = 1'b0;
reg [1:0] flight  = 2'd0;
// Of those in flight, the ones that have ended here.
reg [1:0] ended   = 2'd0;

wire s_valid = waiting || (send && (inside || flight != 2'd3));
wire s_last  = waiting ? kept : last_in;
wire done    = done_in && ended != 2'd0;
wire s_ready;
wire m_valid;
wire idle;

abbnn_gate dut (
    .clk(clk), .rst(rst), .s_axis_tvalid(s_valid), .s_axis_tready(s_ready), .s_axis_tlast(s_last),
    .m_axis_tvalid(m_valid), .m_axis_tready(m_ready), .hold(hold), .done(done), .idle(idle)
);

wire take = s_valid && s_ready;
wire give = m_valid && m_ready;

assign bad = !rst && (
    take != give
    || (give && !inside && hold)
    || (s_valid && m_ready && (inside || !hold) && !take)
    || idle != (!inside && flight == 2'd0));

always @(posedge clk) begin
    first   <= 1'b0;
    waiting <= s_valid && !s_ready;
    kept    <= s_last;
    if (take) begin
        inside <= !s_last;
    end
    flight <= flight + {1'b0, take && !inside} - {1'b0, done};
    ended  <= ended + {1'b0, take && s_last} - {1'b0, done};
    if (rst) begin
        waiting <= 1'b0;
        inside  <= 1'b0;
        flight  <= 2'd0;
        ended   <= 2'd0;
    end
end

endmodule
