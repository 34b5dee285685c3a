// abbnn_subsample.v : every second pixel of every second row
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// Passes the beats of even rows and even columns and swallows the others: what a 1x1 window of stride 2 sees.
//
// A map comes in raster order: row, column, group. A swallowed beat does not wait for m_axis_tready.
// Latency 0, one beat a cycle, all outputs combinational.
module abbnn_subsample #(
    // Bits of one beat, at least 1.
    parameter integer DATA_WIDTH = 16,
    // Beats of one pixel, at least 1.
    parameter integer GROUPS = 1,
    // Rows of the input map, at least 1.
    parameter integer HEIGHT = 2,
    // Columns of the input map, at least 1.
    parameter integer WIDTH = 2
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
    if (DATA_WIDTH < 1) begin : gen_check_data_width
        DATA_WIDTH_must_be_at_least_1 param_error ();
    end
    if (GROUPS < 1) begin : gen_check_groups
        GROUPS_must_be_at_least_1 param_error ();
    end
    if (HEIGHT < 1) begin : gen_check_height
        HEIGHT_must_be_at_least_1 param_error ();
    end
    if (WIDTH < 1) begin : gen_check_width
        WIDTH_must_be_at_least_1 param_error ();
    end
endgenerate

localparam integer GROUP_WIDTH = GROUPS > 1 ? $clog2(GROUPS) : 1;
localparam integer LAST_GROUP = GROUPS - 1;
localparam integer COLUMN_WIDTH = WIDTH > 1 ? $clog2(WIDTH) : 1;
localparam integer LAST_COLUMN = WIDTH - 1;
localparam integer ROW_WIDTH = HEIGHT > 1 ? $clog2(HEIGHT) : 1;
localparam integer LAST_ROW = HEIGHT - 1;

// The position of the input beat.
reg [GROUP_WIDTH-1:0]  group_reg;
reg [COLUMN_WIDTH-1:0] column_reg;
reg [ROW_WIDTH-1:0]    row_reg;

wire group_last  = group_reg == LAST_GROUP[GROUP_WIDTH-1:0];
wire column_last = column_reg == LAST_COLUMN[COLUMN_WIDTH-1:0];
wire row_last    = row_reg == LAST_ROW[ROW_WIDTH-1:0];
wire passes      = !row_reg[0] && !column_reg[0];

assign m_axis_tdata  = s_axis_tdata;
assign m_axis_tvalid = s_axis_tvalid && passes;
assign s_axis_tready = m_axis_tready || !passes;

always @(posedge clk) begin
    if (s_axis_tvalid && s_axis_tready) begin
        group_reg <= group_last ? {GROUP_WIDTH{1'b0}} : group_reg + 1'b1;
        if (group_last) begin
            column_reg <= column_last ? {COLUMN_WIDTH{1'b0}} : column_reg + 1'b1;
        end
        if (group_last && column_last) begin
            row_reg <= row_last ? {ROW_WIDTH{1'b0}} : row_reg + 1'b1;
        end
    end
    if (rst) begin
        group_reg  <= {GROUP_WIDTH{1'b0}};
        column_reg <= {COLUMN_WIDTH{1'b0}};
        row_reg    <= {ROW_WIDTH{1'b0}};
    end
end

endmodule

`resetall
