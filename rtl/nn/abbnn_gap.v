// abbnn_gap.v : global sum of every channel over all positions
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// Channel by channel, signed:
//
//   out = (sum over the frame's POSITIONS pixels of in) >>> SHIFT
//
// Input: the CHANNELS / LANES groups of a pixel follow each other, channel = group * LANES + lane. Output: the same
// groups once a frame, VALUE_WIDTH + clog2(POSITIONS) - SHIFT bits a lane; no bit of the sum above SHIFT is lost.
//
// Latency 3 from the group's beat of the last pixel (register, register, add). Takes one beat a cycle; the results leave
// in the cycles in which the last pixel comes in, so that the next frame can follow at once.
module abbnn_gap #(
    // Elements of one beat, at least 1.
    parameter integer LANES = 1,
    // Channels of one pixel, a multiple of LANES.
    parameter integer CHANNELS = 1,
    // Bits of a value, at least 2.
    parameter integer VALUE_WIDTH = 16,
    // Pixels of one frame, at least 1.
    parameter integer POSITIONS = 1,
    // Lowest bits of a sum that are dropped, 0 to VALUE_WIDTH + clog2(POSITIONS) - 1.
    parameter integer SHIFT = 0
) (
    input  wire                                                     clk,
    input  wire                                                     rst,

    input  wire [LANES*VALUE_WIDTH-1:0]                             s_axis_tdata,
    input  wire                                                     s_axis_tvalid,
    output wire                                                     s_axis_tready,

    output wire [LANES*(VALUE_WIDTH+$clog2(POSITIONS)-SHIFT)-1:0]   m_axis_tdata,
    output wire                                                     m_axis_tvalid,
    input  wire                                                     m_axis_tready
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
    if (POSITIONS < 1) begin : gen_check_positions
        POSITIONS_must_be_at_least_1 param_error ();
    end
    if (SHIFT < 0 || SHIFT >= VALUE_WIDTH + $clog2(POSITIONS)) begin : gen_check_shift
        SHIFT_must_leave_a_bit_of_the_sum param_error ();
    end
endgenerate

localparam integer GROUPS = CHANNELS / LANES;
localparam integer GROUP_WIDTH = GROUPS > 1 ? $clog2(GROUPS) : 1;
localparam integer LAST_GROUP = GROUPS - 1;
localparam integer POSITION_WIDTH = POSITIONS > 1 ? $clog2(POSITIONS) : 1;
localparam integer LAST_POSITION = POSITIONS - 1;
localparam integer SUM_WIDTH = VALUE_WIDTH + $clog2(POSITIONS);
localparam integer M_WIDTH = SUM_WIDTH - SHIFT;
localparam integer SUMS_WIDTH = LANES * SUM_WIDTH;

reg [GROUP_WIDTH-1:0]       group_reg;
reg [POSITION_WIDTH-1:0]    position_reg;
reg                         valid_1_reg;
reg                         valid_2_reg;
reg                         valid_3_reg;
reg                         first_1_reg;
reg                         first_2_reg;
reg                         last_1_reg;
reg                         last_2_reg;
reg                         m_valid_reg;
reg [LANES*VALUE_WIDTH-1:0] value_1_reg;
reg [LANES*VALUE_WIDTH-1:0] value_2_reg;
// The new sum of the group in stage 3.
reg [SUMS_WIDTH-1:0]        sum_reg;

wire advance = m_axis_tready || !m_valid_reg;
wire step    = advance && s_axis_tvalid;

wire group_last     = group_reg == LAST_GROUP[GROUP_WIDTH-1:0];
wire position_first = position_reg == {POSITION_WIDTH{1'b0}};
wire position_last  = position_reg == LAST_POSITION[POSITION_WIDTH-1:0];

// The sum so far of the group in stage 2, and the sum with the value.
wire [SUMS_WIDTH-1:0] so_far;
wire [SUMS_WIDTH-1:0] sum;

// What is shifted out.
wire unused_sum = &{1'b0, sum_reg};

assign s_axis_tready = advance;
assign m_axis_tvalid = m_valid_reg;

always @(posedge clk) begin
    if (step) begin
        group_reg <= group_last ? {GROUP_WIDTH{1'b0}} : group_reg + 1'b1;
        if (group_last) begin
            position_reg <= position_last ? {POSITION_WIDTH{1'b0}} : position_reg + 1'b1;
        end
    end
    if (advance) begin
        value_1_reg <= s_axis_tdata;
        first_1_reg <= position_first;
        last_1_reg  <= position_last;
        valid_1_reg <= s_axis_tvalid;

        value_2_reg <= value_1_reg;
        first_2_reg <= first_1_reg;
        last_2_reg  <= last_1_reg;
        valid_2_reg <= valid_1_reg;

        sum_reg     <= sum;
        valid_3_reg <= valid_2_reg;
        m_valid_reg <= valid_2_reg && last_2_reg;
    end
    if (rst) begin
        group_reg    <= {GROUP_WIDTH{1'b0}};
        position_reg <= {POSITION_WIDTH{1'b0}};
        valid_1_reg  <= 1'b0;
        valid_2_reg  <= 1'b0;
        valid_3_reg  <= 1'b0;
        m_valid_reg  <= 1'b0;
    end
end

// The sums are kept in the order of the groups. A memory takes three cycles from its read to the write of the new sum, so
// that up to three groups, which come back sooner, are kept in registers.
generate
    if (GROUPS > 3) begin : gen_memory
        reg [SUMS_WIDTH-1:0]  sum_mem [0:GROUPS-1];
        reg [SUMS_WIDTH-1:0]  sum_1_reg;
        reg [SUMS_WIDTH-1:0]  sum_2_reg;
        reg [GROUP_WIDTH-1:0] group_1_reg;
        reg [GROUP_WIDTH-1:0] group_2_reg;
        reg [GROUP_WIDTH-1:0] group_3_reg;

        wire store = advance && valid_3_reg;

        assign so_far = sum_2_reg;

        always @(posedge clk) begin
            if (step) begin
                // The two addresses never meet: stage 3 is one to three groups behind. So a memory may do as it likes there.
                sum_1_reg <= (store && group_3_reg == group_reg) ? {SUMS_WIDTH{1'bx}} : sum_mem[group_reg];
            end
            if (store) begin
                sum_mem[group_3_reg] <= sum_reg;
            end
            if (advance) begin
                sum_2_reg   <= sum_1_reg;
                group_1_reg <= group_reg;
                group_2_reg <= group_1_reg;
                group_3_reg <= group_2_reg;
            end
        end
    end else begin : gen_registers
        // That of the group in stage 2 highest.
        reg  [GROUPS*SUMS_WIDTH-1:0] sums_reg;
        wire [GROUPS*SUMS_WIDTH-1:0] sums_next;

        wire unused_valid = &{1'b0, valid_3_reg};

        assign so_far = sums_reg[GROUPS*SUMS_WIDTH-1 -: SUMS_WIDTH];

        if (GROUPS == 1) begin : gen_one
            assign sums_next = sum;
        end else begin : gen_more
            assign sums_next = {sums_reg[(GROUPS-1)*SUMS_WIDTH-1:0], sum};
        end

        always @(posedge clk) begin
            if (advance && valid_2_reg) begin
                sums_reg <= sums_next;
            end
        end
    end
endgenerate

genvar i;

generate
    for (i = 0; i < LANES; i = i + 1) begin : gen_lane
        wire [VALUE_WIDTH-1:0] value = value_2_reg[i*VALUE_WIDTH +: VALUE_WIDTH];
        wire [SUM_WIDTH-1:0]   old   = so_far[i*SUM_WIDTH +: SUM_WIDTH] & {SUM_WIDTH{!first_2_reg}};

        assign sum[i*SUM_WIDTH +: SUM_WIDTH] =
            old + {{SUM_WIDTH-VALUE_WIDTH+1{value[VALUE_WIDTH-1]}}, value[VALUE_WIDTH-2:0]};
        assign m_axis_tdata[i*M_WIDTH +: M_WIDTH] = sum_reg[i*SUM_WIDTH+SHIFT +: M_WIDTH];
    end
endgenerate

endmodule

`resetall
