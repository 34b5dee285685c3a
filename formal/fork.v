// fork.v : harness of abbnn_fork: both branches get each beat once, and neither runs ahead
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`default_nettype none

module top (
    input  wire clk,
    input  wire rst_in,
    input  wire send,
    input  wire [1:0] any,
    input  wire m0_ready,
    input  wire m1_ready,
    output wire bad
);

reg       first   = 1'b1;
wire      rst     = first || rst_in;
reg       waiting = 1'b0;
reg [1:0] kept    = 2'd0;
wire      s_valid = waiting || send;
wire [1:0] s_data = waiting ? kept : any;
// The branch has taken its copy of the beat that the source shows.
reg       done0 = 1'b0;
reg       done1 = 1'b0;

wire       s_ready;
wire       m0_valid;
wire       m1_valid;
wire [1:0] m0_data;
wire [1:0] m1_data;

abbnn_fork #(`PARAMETERS) dut (
    .clk(clk), .rst(rst), .s_axis_tdata(s_data), .s_axis_tvalid(s_valid), .s_axis_tready(s_ready),
    .m0_axis_tdata(m0_data), .m0_axis_tvalid(m0_valid), .m0_axis_tready(m0_ready),
    .m1_axis_tdata(m1_data), .m1_axis_tvalid(m1_valid), .m1_axis_tready(m1_ready)
);

wire give0 = m0_valid && m0_ready;
wire give1 = m1_valid && m1_ready;

// Shown to a branch exactly until it has taken it, which is stability too; gone exactly when both have.
assign bad = !rst && (
    m0_valid != (s_valid && !done0) || (m0_valid && m0_data != s_data)
    || m1_valid != (s_valid && !done1) || (m1_valid && m1_data != s_data)
    || (s_valid && s_ready != ((done0 || give0) && (done1 || give1))));

always @(posedge clk) begin
    first   <= 1'b0;
    waiting <= s_valid && !s_ready && !rst;
    kept    <= s_data;
    done0   <= s_valid && !s_ready && !rst && (done0 || give0);
    done1   <= s_valid && !s_ready && !rst && (done1 || give1);
end

endmodule
