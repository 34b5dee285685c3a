// abbnn_slice.v : register slice of an AXI4-Stream, or wires
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// ENABLE = 1: abbnn_skid, which cuts tvalid and tready: latency 1, one beat a cycle. ENABLE = 0: m_axis = s_axis, latency 0.
module abbnn_slice #(
    // Bits of one beat, at least 1.
    parameter integer DATA_WIDTH = 8,
    // 1: registers. 0: wires.
    parameter integer ENABLE = 1
) (
    input  wire                  clk,
    input  wire                  rst,

    input  wire [DATA_WIDTH-1:0] s_axis_tdata,
    input  wire                  s_axis_tvalid,
    output wire                  s_axis_tready,

    output wire [DATA_WIDTH-1:0] m_axis_tdata,
    output wire                  m_axis_tvalid,
    input  wire                  m_axis_tready
);

generate
    if (ENABLE != 0 && ENABLE != 1) begin : gen_check_enable
        ENABLE_must_be_0_or_1 param_error ();
    end
    if (ENABLE == 1) begin : gen_registers
        abbnn_skid #(
            .DATA_WIDTH(DATA_WIDTH)
        ) skid_inst (
            .clk(clk),
            .rst(rst),
            .s_axis_tdata(s_axis_tdata),
            .s_axis_tvalid(s_axis_tvalid),
            .s_axis_tready(s_axis_tready),
            .m_axis_tdata(m_axis_tdata),
            .m_axis_tvalid(m_axis_tvalid),
            .m_axis_tready(m_axis_tready)
        );
    end else begin : gen_wires
        wire unused_clk = &{1'b0, clk, rst};

        assign m_axis_tdata  = s_axis_tdata;
        assign m_axis_tvalid = s_axis_tvalid;
        assign s_axis_tready = m_axis_tready;
    end
endgenerate

endmodule

`resetall
