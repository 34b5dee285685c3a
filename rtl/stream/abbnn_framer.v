// abbnn_framer.v : adds tlast to a stream of frames of known length, through a register slice
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// m_axis = s_axis with tlast on every BEATS-th beat, counted from reset. One beat a cycle, latency 1; both directions
// are registered (abbnn_skid).
module abbnn_framer #(
    // Bits of one beat, at least 1.
    parameter integer DATA_WIDTH = 8,
    // Beats of a frame, at least 1.
    parameter integer BEATS = 4
) (
    input  wire                  clk,
    input  wire                  rst,

    input  wire [DATA_WIDTH-1:0] s_axis_tdata,
    input  wire                  s_axis_tvalid,
    output wire                  s_axis_tready,

    output wire [DATA_WIDTH-1:0] m_axis_tdata,
    output wire                  m_axis_tvalid,
    input  wire                  m_axis_tready,
    output wire                  m_axis_tlast
);

localparam integer COUNT_WIDTH = (BEATS > 1) ? $clog2(BEATS) : 1;
localparam integer LAST = BEATS - 1;

generate
    if (DATA_WIDTH < 1) begin : gen_check_data_width
        DATA_WIDTH_must_be_at_least_1 param_error ();
    end
    if (BEATS < 1) begin : gen_check_beats
        BEATS_must_be_at_least_1 param_error ();
    end
endgenerate

reg  [COUNT_WIDTH-1:0] count_reg;
wire                   last = (count_reg == LAST[COUNT_WIDTH-1:0]);

always @(posedge clk) begin
    if (s_axis_tvalid && s_axis_tready) begin
        count_reg <= last ? {COUNT_WIDTH{1'b0}} : count_reg + 1'b1;
    end
    if (rst) begin
        count_reg <= {COUNT_WIDTH{1'b0}};
    end
end

abbnn_skid #(
    .DATA_WIDTH(DATA_WIDTH + 1)
) skid_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata({last, s_axis_tdata}),
    .s_axis_tvalid(s_axis_tvalid),
    .s_axis_tready(s_axis_tready),
    .m_axis_tdata({m_axis_tlast, m_axis_tdata}),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready)
);

endmodule

`resetall
