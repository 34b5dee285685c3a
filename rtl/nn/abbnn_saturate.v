// abbnn_saturate.v : clamps every value to fewer bits
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// Lane by lane, signed: the nearest value that M_WIDTH bits hold. A wider output only extends the sign.
//
// Latency 1 (register), one beat a cycle.
module abbnn_saturate #(
    // Elements of one beat, at least 1.
    parameter integer LANES = 1,
    // Bits of an input value, at least 2.
    parameter integer S_WIDTH = 17,
    // Bits of an output value, at least 2.
    parameter integer M_WIDTH = 16
) (
    input  wire                     clk,
    input  wire                     rst,

    input  wire [LANES*S_WIDTH-1:0] s_axis_tdata,
    input  wire                     s_axis_tvalid,
    output wire                     s_axis_tready,

    output wire [LANES*M_WIDTH-1:0] m_axis_tdata,
    output wire                     m_axis_tvalid,
    input  wire                     m_axis_tready
);

generate
    if (LANES < 1) begin : gen_check_lanes
        LANES_must_be_at_least_1 param_error ();
    end
    if (S_WIDTH < 2) begin : gen_check_s_width
        S_WIDTH_must_be_at_least_2 param_error ();
    end
    if (M_WIDTH < 2) begin : gen_check_m_width
        M_WIDTH_must_be_at_least_2 param_error ();
    end
endgenerate

reg [LANES*M_WIDTH-1:0] result_reg;
reg                     valid_reg;

wire [LANES*M_WIDTH-1:0] result_next;
wire                     advance = m_axis_tready || !valid_reg;

assign s_axis_tready = advance;
assign m_axis_tdata  = result_reg;
assign m_axis_tvalid = valid_reg;

genvar i;

generate
    for (i = 0; i < LANES; i = i + 1) begin : gen_lane
        wire [S_WIDTH-1:0] value = s_axis_tdata[i*S_WIDTH +: S_WIDTH];
        wire               sign  = value[S_WIDTH-1];

        if (S_WIDTH > M_WIDTH) begin : gen_saturate
            wire fits = value[S_WIDTH-1:M_WIDTH-1] == {S_WIDTH-M_WIDTH+1{sign}};

            assign result_next[i*M_WIDTH +: M_WIDTH] = fits ? value[M_WIDTH-1:0] : {sign, {M_WIDTH-1{!sign}}};
        end else begin : gen_extend
            assign result_next[i*M_WIDTH +: M_WIDTH] = {{M_WIDTH-S_WIDTH+1{sign}}, value[S_WIDTH-2:0]};
        end
    end
endgenerate

always @(posedge clk) begin
    if (advance) begin
        result_reg <= result_next;
        valid_reg  <= s_axis_tvalid;
    end
    if (rst) begin
        valid_reg <= 1'b0;
    end
end

endmodule

`resetall
