// abbnn_pool.v : 2x2 average with stride 2
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// For every output pixel, channel by channel, signed:
//
//   out(row, column) = (in(2 row, 2 column) + in(2 row, 2 column + 1)
//                     + in(2 row + 1, 2 column) + in(2 row + 1, 2 column + 1)) >>> 2
//
// Maps come and go in raster order: row, column, channel group; channel = group * LANES + lane. The values of an even
// column wait in pair_mem for those of the odd one, the pair sums of an even row in row_mem for those of the odd one.
//
// Latency 4 from the last of the four values (register, register, add the pair, add the rows). Takes one beat a cycle;
// gives the CHANNELS / LANES beats of a pixel in successive cycles, as its last input pixel comes in.
module abbnn_pool #(
    // Elements of one beat, at least 1.
    parameter integer LANES = 1,
    // Channels of one pixel, a multiple of LANES.
    parameter integer CHANNELS = 1,
    // Bits of a value, at least 2.
    parameter integer VALUE_WIDTH = 16,
    // Rows of the input map, even, at least 2.
    parameter integer HEIGHT = 2,
    // Columns of the input map, even, at least 2.
    parameter integer WIDTH = 2
) (
    input  wire                         clk,
    input  wire                         rst,

    input  wire [LANES*VALUE_WIDTH-1:0] s_axis_tdata,
    input  wire                         s_axis_tvalid,
    output wire                         s_axis_tready,

    output wire [LANES*VALUE_WIDTH-1:0] m_axis_tdata,
    output wire                         m_axis_tvalid,
    input  wire                         m_axis_tready
);

generate
    if (LANES < 1) begin : gen_check_lanes
        LANES_must_be_at_least_1 param_error ();
    end else if (CHANNELS < 1 || CHANNELS % LANES != 0) begin : gen_check_channels
        CHANNELS_must_be_a_multiple_of_LANES param_error ();
    end
    if (VALUE_WIDTH < 2) begin : gen_check_value_width
        VALUE_WIDTH_must_be_at_least_2 param_error ();
    end
    if (HEIGHT < 2 || HEIGHT % 2 != 0) begin : gen_check_height
        HEIGHT_must_be_even_and_at_least_2 param_error ();
    end
    if (WIDTH < 2 || WIDTH % 2 != 0) begin : gen_check_width
        WIDTH_must_be_even_and_at_least_2 param_error ();
    end
endgenerate

localparam integer GROUPS = CHANNELS / LANES;
localparam integer GROUP_WIDTH = GROUPS > 1 ? $clog2(GROUPS) : 1;
localparam integer LAST_GROUP = GROUPS - 1;
localparam integer ROW_BEATS = WIDTH / 2 * GROUPS;
localparam integer ROW_ADDRESS_WIDTH = ROW_BEATS > 1 ? $clog2(ROW_BEATS) : 1;
localparam integer LAST_ROW_BEAT = ROW_BEATS - 1;
localparam integer PAIR_WIDTH = VALUE_WIDTH + 1;
localparam integer TOTAL_WIDTH = VALUE_WIDTH + 2;

// Stages 1 to 3 hold values of odd columns only, stages 4 only those of odd rows.
reg valid_1_reg;
reg valid_2_reg;
reg valid_3_reg;
reg m_valid_reg;

wire advance = m_axis_tready || !m_valid_reg;
wire step    = advance && s_axis_tvalid;

assign s_axis_tready = advance;
assign m_axis_tvalid = m_valid_reg;

// The position of the input beat. Rows and frames have an even number of columns, and need no counter.
reg [GROUP_WIDTH-1:0] group_reg;
reg                   column_odd_reg;

// The position of stage 1 in a row of pairs. Frames have an even number of rows.
reg [ROW_ADDRESS_WIDTH-1:0] row_address_reg;
reg                         row_odd_reg;
reg [ROW_ADDRESS_WIDTH-1:0] row_address_2_reg;
reg                         row_odd_2_reg;

wire group_last = group_reg == LAST_GROUP[GROUP_WIDTH-1:0];
wire row_last   = row_address_reg == LAST_ROW_BEAT[ROW_ADDRESS_WIDTH-1:0];

always @(posedge clk) begin
    if (step) begin
        group_reg      <= group_last ? {GROUP_WIDTH{1'b0}} : group_reg + 1'b1;
        column_odd_reg <= column_odd_reg ^ group_last;
    end
    if (advance) begin
        if (valid_1_reg) begin
            row_address_reg <= row_last ? {ROW_ADDRESS_WIDTH{1'b0}} : row_address_reg + 1'b1;
            row_odd_reg     <= row_odd_reg ^ row_last;
        end
        row_address_2_reg <= row_address_reg;
        row_odd_2_reg     <= row_odd_reg;
        valid_1_reg       <= s_axis_tvalid && column_odd_reg;
        valid_2_reg       <= valid_1_reg;
        valid_3_reg       <= valid_2_reg && row_odd_2_reg;
        m_valid_reg       <= valid_3_reg;
    end
    if (rst) begin
        group_reg       <= {GROUP_WIDTH{1'b0}};
        column_odd_reg  <= 1'b0;
        row_address_reg <= {ROW_ADDRESS_WIDTH{1'b0}};
        row_odd_reg     <= 1'b0;
        valid_1_reg     <= 1'b0;
        valid_2_reg     <= 1'b0;
        valid_3_reg     <= 1'b0;
        m_valid_reg     <= 1'b0;
    end
end

reg [LANES*VALUE_WIDTH-1:0] pair_mem [0:GROUPS-1];
reg [LANES*VALUE_WIDTH-1:0] pair_1_reg;
reg [LANES*VALUE_WIDTH-1:0] pair_2_reg;
reg [LANES*VALUE_WIDTH-1:0] value_1_reg;
reg [LANES*VALUE_WIDTH-1:0] value_2_reg;

always @(posedge clk) begin
    if (step) begin
        if (column_odd_reg) begin
            pair_1_reg <= pair_mem[group_reg];
        end else begin
            pair_mem[group_reg] <= s_axis_tdata;
        end
    end
    if (advance) begin
        value_1_reg <= s_axis_tdata;
        value_2_reg <= value_1_reg;
        pair_2_reg  <= pair_1_reg;
    end
end

reg [LANES*PAIR_WIDTH-1:0]  row_mem [0:ROW_BEATS-1];
reg [LANES*PAIR_WIDTH-1:0]  row_2_reg;
reg [LANES*PAIR_WIDTH-1:0]  row_3_reg;
reg [LANES*PAIR_WIDTH-1:0]  sum_3_reg;
reg [LANES*VALUE_WIDTH-1:0] average_reg;

wire [LANES*PAIR_WIDTH-1:0]  sum;
wire [LANES*VALUE_WIDTH-1:0] average;

// Write and read never meet: before an odd row's first pair comes an even column, a beat with nothing in stage 1.
always @(posedge clk) begin
    if (advance) begin
        if (valid_2_reg && !row_odd_2_reg) begin
            row_mem[row_address_2_reg] <= sum;
        end else if (valid_1_reg && row_odd_reg) begin
            row_2_reg <= row_mem[row_address_reg];
        end
        row_3_reg   <= row_2_reg;
        sum_3_reg   <= sum;
        average_reg <= average;
    end
end

genvar i;

generate
    for (i = 0; i < LANES; i = i + 1) begin : gen_lane
        wire [VALUE_WIDTH-1:0] left  = pair_2_reg[i*VALUE_WIDTH +: VALUE_WIDTH];
        wire [VALUE_WIDTH-1:0] right = value_2_reg[i*VALUE_WIDTH +: VALUE_WIDTH];
        wire [PAIR_WIDTH-1:0]  upper = row_3_reg[i*PAIR_WIDTH +: PAIR_WIDTH];
        wire [PAIR_WIDTH-1:0]  lower = sum_3_reg[i*PAIR_WIDTH +: PAIR_WIDTH];
        wire [TOTAL_WIDTH-1:0] total = {upper[PAIR_WIDTH-1], upper} + {lower[PAIR_WIDTH-1], lower};
        wire                   unused_fraction = &{1'b0, total[1:0]};

        assign sum[i*PAIR_WIDTH +: PAIR_WIDTH]       = {left[VALUE_WIDTH-1], left} + {right[VALUE_WIDTH-1], right};
        assign average[i*VALUE_WIDTH +: VALUE_WIDTH] = total[TOTAL_WIDTH-1:2];
    end
endgenerate

assign m_axis_tdata = average_reg;

endmodule

`resetall
