// abbnn_max_pool.v : greatest value of 3x3 windows with stride 2
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// For every output pixel, channel by channel, signed: the greatest of the nine values around in(2 row, 2 column). Those
// outside of the map do not count. The output map has ceil(HEIGHT / 2) x ceil(WIDTH / 2) pixels.
//
// Maps come and go in raster order: row, column, channel group; channel = group * LANES + lane. The window is taken
// apart, three columns first and then three rows. A window's last column (row) is odd, or the map's last; an odd one is
// the first of the next window as well. carry_mem holds a channel's greatest value so far in the row's current window,
// row_mem one row of those results, each the greatest so far of its column.
//
// Latency 3 from the last value of the window (register, columns, rows). Takes one beat a cycle; gives the
// CHANNELS / LANES beats of a pixel in successive cycles, as its last input pixel comes in.
module abbnn_max_pool #(
    // Elements of one beat, at least 1.
    parameter integer LANES = 1,
    // Channels of one pixel, a multiple of LANES.
    parameter integer CHANNELS = 1,
    // Bits of a value, at least 2.
    parameter integer VALUE_WIDTH = 16,
    // Rows of the input map, at least 2.
    parameter integer HEIGHT = 2,
    // Columns of the input map, at least 2.
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
    if (HEIGHT < 2) begin : gen_check_height
        HEIGHT_must_be_at_least_2 param_error ();
    end
    if (WIDTH < 2) begin : gen_check_width
        WIDTH_must_be_at_least_2 param_error ();
    end
endgenerate

localparam integer BEAT_WIDTH = LANES * VALUE_WIDTH;
localparam integer GROUPS = CHANNELS / LANES;
localparam integer GROUP_WIDTH = GROUPS > 1 ? $clog2(GROUPS) : 1;
localparam integer LAST_GROUP = GROUPS - 1;
localparam integer COLUMN_WIDTH = $clog2(WIDTH);
localparam integer LAST_COLUMN = WIDTH - 1;
localparam integer ROW_WIDTH = $clog2(HEIGHT);
localparam integer LAST_ROW = HEIGHT - 1;
localparam integer ROW_BEATS = (WIDTH + 1) / 2 * GROUPS;
localparam integer ADDRESS_WIDTH = ROW_BEATS > 1 ? $clog2(ROW_BEATS) : 1;

// Stage 2 holds the results of whole windows of columns only, stage 3 of rows too.
reg valid_1_reg;
reg valid_2_reg;
reg m_valid_reg;

wire advance = m_axis_tready || !m_valid_reg;
wire step    = advance && s_axis_tvalid;

assign s_axis_tready = advance;
assign m_axis_tvalid = m_valid_reg;

// The position of the input beat: in the map, and that of its result in the row of results.
reg [GROUP_WIDTH-1:0]   group_reg;
reg [COLUMN_WIDTH-1:0]  column_reg;
reg [ROW_WIDTH-1:0]     row_reg;
reg [ADDRESS_WIDTH-1:0] address_reg;

wire group_last   = group_reg == LAST_GROUP[GROUP_WIDTH-1:0];
wire column_first = column_reg == {COLUMN_WIDTH{1'b0}};
wire column_last  = column_reg == LAST_COLUMN[COLUMN_WIDTH-1:0];
wire row_first    = row_reg == {ROW_WIDTH{1'b0}};
wire row_last     = row_reg == LAST_ROW[ROW_WIDTH-1:0];
wire column_ends  = column_reg[0] || column_last;
wire row_ends     = row_reg[0] || row_last;

reg [GROUP_WIDTH-1:0]   group_1_reg;
reg                     column_first_1_reg;
reg                     column_odd_1_reg;
reg                     column_ends_1_reg;
reg [ADDRESS_WIDTH-1:0] address_1_reg;
reg                     row_first_1_reg;
reg                     row_odd_1_reg;
reg                     row_ends_1_reg;
reg [ADDRESS_WIDTH-1:0] address_2_reg;
reg                     row_first_2_reg;
reg                     row_odd_2_reg;
reg                     row_ends_2_reg;

always @(posedge clk) begin
    if (step) begin
        group_reg <= group_last ? {GROUP_WIDTH{1'b0}} : group_reg + 1'b1;
        if (group_last) begin
            column_reg <= column_last ? {COLUMN_WIDTH{1'b0}} : column_reg + 1'b1;
        end
        if (group_last && column_last) begin
            row_reg <= row_last ? {ROW_WIDTH{1'b0}} : row_reg + 1'b1;
        end
        if (column_ends) begin
            address_reg <= (group_last && column_last) ? {ADDRESS_WIDTH{1'b0}} : address_reg + 1'b1;
        end
    end
    if (advance) begin
        valid_1_reg        <= s_axis_tvalid;
        group_1_reg        <= group_reg;
        column_first_1_reg <= column_first;
        column_odd_1_reg   <= column_reg[0];
        column_ends_1_reg  <= column_ends;
        address_1_reg      <= address_reg;
        row_first_1_reg    <= row_first;
        row_odd_1_reg      <= row_reg[0];
        row_ends_1_reg     <= row_ends;

        valid_2_reg        <= valid_1_reg && column_ends_1_reg;
        address_2_reg      <= address_1_reg;
        row_first_2_reg    <= row_first_1_reg;
        row_odd_2_reg      <= row_odd_1_reg;
        row_ends_2_reg     <= row_ends_1_reg;

        m_valid_reg        <= valid_2_reg && row_ends_2_reg;
    end
    if (rst) begin
        group_reg   <= {GROUP_WIDTH{1'b0}};
        column_reg  <= {COLUMN_WIDTH{1'b0}};
        row_reg     <= {ROW_WIDTH{1'b0}};
        address_reg <= {ADDRESS_WIDTH{1'b0}};
        valid_1_reg <= 1'b0;
        valid_2_reg <= 1'b0;
        m_valid_reg <= 1'b0;
    end
end

reg [BEAT_WIDTH-1:0] value_1_reg;
reg [BEAT_WIDTH-1:0] value_2_reg;
reg [BEAT_WIDTH-1:0] result_reg;

// What the memories hold for the beat in stage 1 and 2, the greatest of it and the beat, and what is kept for the next.
wire [BEAT_WIDTH-1:0] carry;
wire [BEAT_WIDTH-1:0] row;
wire [BEAT_WIDTH-1:0] column_greatest;
wire [BEAT_WIDTH-1:0] row_greatest;
wire [BEAT_WIDTH-1:0] carry_next = column_odd_1_reg ? value_1_reg : column_greatest;
wire [BEAT_WIDTH-1:0] row_next   = row_odd_2_reg ? value_2_reg : row_greatest;
wire                  carry_step = advance && valid_1_reg;
wire                  row_step   = advance && valid_2_reg;

always @(posedge clk) begin
    if (advance) begin
        value_1_reg <= s_axis_tdata;
        value_2_reg <= column_greatest;
        result_reg  <= row_greatest;
    end
end

// A word is written one beat (row_mem: two) after it is read, and read again later than that, as long as other groups
// or columns are between: write and read never meet. A word that is alone is a register.
generate
    if (GROUPS > 1) begin : gen_carry_memory
        reg [BEAT_WIDTH-1:0] carry_mem [0:GROUPS-1];
        reg [BEAT_WIDTH-1:0] carry_1_reg;

        assign carry = carry_1_reg;

        always @(posedge clk) begin
            if (step) begin
                carry_1_reg <= carry_mem[group_reg];
            end
            if (carry_step) begin
                carry_mem[group_1_reg] <= carry_next;
            end
        end
    end else begin : gen_carry_register
        reg [BEAT_WIDTH-1:0] carry_reg;
        wire                 unused_group = &{1'b0, group_1_reg};

        assign carry = carry_reg;

        always @(posedge clk) begin
            if (carry_step) begin
                carry_reg <= carry_next;
            end
        end
    end

    if (ROW_BEATS > 1) begin : gen_row_memory
        reg [BEAT_WIDTH-1:0] row_mem [0:ROW_BEATS-1];
        reg [BEAT_WIDTH-1:0] row_1_reg;
        reg [BEAT_WIDTH-1:0] row_2_reg;

        assign row = row_2_reg;

        always @(posedge clk) begin
            if (step && column_ends) begin
                row_1_reg <= row_mem[address_reg];
            end
            if (row_step) begin
                row_mem[address_2_reg] <= row_next;
            end
            if (advance) begin
                row_2_reg <= row_1_reg;
            end
        end
    end else begin : gen_row_register
        reg [BEAT_WIDTH-1:0] row_1_reg;
        wire                 unused_address = &{1'b0, address_2_reg};

        assign row = row_1_reg;

        always @(posedge clk) begin
            if (row_step) begin
                row_1_reg <= row_next;
            end
        end
    end
endgenerate

genvar i;

generate
    for (i = 0; i < LANES; i = i + 1) begin : gen_lane
        wire [VALUE_WIDTH-1:0] value_1 = value_1_reg[i*VALUE_WIDTH +: VALUE_WIDTH];
        wire [VALUE_WIDTH-1:0] value_2 = value_2_reg[i*VALUE_WIDTH +: VALUE_WIDTH];
        wire [VALUE_WIDTH-1:0] carry_1 = carry[i*VALUE_WIDTH +: VALUE_WIDTH];
        wire [VALUE_WIDTH-1:0] row_2   = row[i*VALUE_WIDTH +: VALUE_WIDTH];
        wire                   first_1 = column_first_1_reg;
        wire                   first_2 = row_first_2_reg;

        assign column_greatest[i*VALUE_WIDTH +: VALUE_WIDTH] =
            (first_1 || $signed(value_1) > $signed(carry_1)) ? value_1 : carry_1;
        assign row_greatest[i*VALUE_WIDTH +: VALUE_WIDTH] =
            (first_2 || $signed(value_2) > $signed(row_2)) ? value_2 : row_2;
    end
endgenerate

assign m_axis_tdata = result_reg;

endmodule

`resetall
