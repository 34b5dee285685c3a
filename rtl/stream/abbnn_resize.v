// abbnn_resize.v : regroups the lanes of an AXI4-Stream into wider or narrower beats
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// The lanes of m_axis are those of s_axis in the same order, lane 0 (least significant) of the first beat first.
//
// S_LANES > M_LANES: a shift register gives a beat of S_LANES in S_LANES / M_LANES beats, one a cycle with no gap, and
// takes the next in the cycle in which the last part of this one leaves. Latency 1 for the first part.
// S_LANES < M_LANES: a shift register collects M_LANES / S_LANES beats, one a cycle with no gap: the next beat's first
// part enters in the cycle in which the full one leaves. Latency 1 from the last part.
// S_LANES = M_LANES: wires, latency 0.
// s_axis_tready depends combinationally on m_axis_tready.
module abbnn_resize #(
    // Bits of one lane, at least 1.
    parameter integer LANE_WIDTH = 8,
    // Lanes of an input beat, at least 1. The greater of the two lane counts is a multiple of the other.
    parameter integer S_LANES = 4,
    // Lanes of an output beat, at least 1.
    parameter integer M_LANES = 2
) (
    input  wire                          clk,
    input  wire                          rst,

    input  wire [S_LANES*LANE_WIDTH-1:0] s_axis_tdata,
    input  wire                          s_axis_tvalid,
    output wire                          s_axis_tready,

    output wire [M_LANES*LANE_WIDTH-1:0] m_axis_tdata,
    output wire                          m_axis_tvalid,
    input  wire                          m_axis_tready
);

generate
    if (LANE_WIDTH < 1) begin : gen_check_lane_width
        LANE_WIDTH_must_be_at_least_1 param_error ();
    end
    if (S_LANES < 1) begin : gen_check_s_lanes
        S_LANES_must_be_at_least_1 param_error ();
    end else if (M_LANES < 1) begin : gen_check_m_lanes
        M_LANES_must_be_at_least_1 param_error ();
    end else if (S_LANES % M_LANES != 0 && M_LANES % S_LANES != 0) begin : gen_check_ratio
        one_of_S_LANES_and_M_LANES_must_be_a_multiple_of_the_other param_error ();
    end
endgenerate

localparam integer S_WIDTH     = S_LANES * LANE_WIDTH;
localparam integer M_WIDTH     = M_LANES * LANE_WIDTH;
localparam integer LEGAL       = S_LANES > 0 && M_LANES > 0 ? 1 : 0;
localparam integer LAST_PART   = LEGAL == 0 ? 1 : S_LANES > M_LANES ? S_LANES / M_LANES - 1 : M_LANES / S_LANES - 1;
localparam integer PART_WIDTH  = $clog2(LAST_PART + 1);

generate
    if (S_LANES > M_LANES) begin : gen_serialize
        reg [S_WIDTH-1:0]    data_reg;
        reg                  valid_reg;
        // The part on m_axis; the last one also while there is none, so that `last` alone selects what comes next.
        reg [PART_WIDTH-1:0] part_reg;

        wire last = part_reg == LAST_PART[PART_WIDTH-1:0];
        wire advance = m_axis_tready || !valid_reg;

        assign s_axis_tready = advance && last;
        assign m_axis_tdata  = data_reg[M_WIDTH-1:0];
        assign m_axis_tvalid = valid_reg;

        always @(posedge clk) begin
            if (advance) begin
                data_reg <= last ? s_axis_tdata : {data_reg[S_WIDTH-1 -: M_WIDTH], data_reg[S_WIDTH-1:M_WIDTH]};
            end
        end

        always @(posedge clk) begin
            if (advance) begin
                valid_reg <= s_axis_tvalid || !last;
                if (s_axis_tvalid || !last) begin
                    part_reg <= last ? {PART_WIDTH{1'b0}} : part_reg + 1'b1;
                end
            end
            if (rst) begin
                valid_reg <= 1'b0;
                part_reg  <= LAST_PART[PART_WIDTH-1:0];
            end
        end
    end else if (S_LANES < M_LANES) begin : gen_collect
        reg [M_WIDTH-1:0]    data_reg;
        reg                  valid_reg;
        reg [PART_WIDTH-1:0] part_reg;

        wire take = s_axis_tvalid && s_axis_tready;
        wire last = part_reg == LAST_PART[PART_WIDTH-1:0];

        assign s_axis_tready = !valid_reg || m_axis_tready;
        assign m_axis_tdata  = data_reg;
        assign m_axis_tvalid = valid_reg;

        always @(posedge clk) begin
            if (take) begin
                data_reg <= {s_axis_tdata, data_reg[M_WIDTH-1:S_WIDTH]};
            end
        end

        always @(posedge clk) begin
            if (take) begin
                part_reg <= last ? {PART_WIDTH{1'b0}} : part_reg + 1'b1;
            end
            if (s_axis_tready) begin
                valid_reg <= s_axis_tvalid && last;
            end
            if (rst) begin
                valid_reg <= 1'b0;
                part_reg  <= {PART_WIDTH{1'b0}};
            end
        end
    end else begin : gen_pass
        assign s_axis_tready = m_axis_tready;
        assign m_axis_tdata  = s_axis_tdata;
        assign m_axis_tvalid = s_axis_tvalid;

        wire unused_clock = &{1'b0, clk, rst};
    end
endgenerate

endmodule

`resetall
