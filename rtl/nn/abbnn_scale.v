// abbnn_scale.v : per-channel factor as a sum of signed powers of two
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// Lane by lane, with the terms of the lane's channel:
//
//   out = (sum over terms of (enable ? (negate ? -x : x) << shift : 0)) >>> GUARD
//
// saturated to M_WIDTH bits; all values are signed. -x is made once a lane, each term chooses from x, -x and 0.
// PRELU = 1: x >= 0 passes with the factor 1 instead, as the single term x << GUARD.
//
// Channel = group * LANES + lane; the groups of a pixel follow each other. Table word at address group: LANES entries,
// lane 0 lowest; an entry holds TERMS fields, term 0 lowest; a field from bit 0: shift[SHIFT_WIDTH], negate, enable.
//
// Latency 4 (register and negate, shift, add, saturate), one beat a cycle. No beat may come in the cycles behind a reset in
// which abbnn_table loses a step.
module abbnn_scale #(
    // Elements of one beat, at least 1.
    parameter integer LANES = 1,
    // Channels of one pixel, a multiple of LANES.
    parameter integer CHANNELS = 1,
    // Powers of two a factor, at least 1. All are added in one cycle: beyond 4 that limits the clock.
    parameter integer TERMS = 1,
    // Bits of a shift amount, at least 1.
    parameter integer SHIFT_WIDTH = 4,
    // Fraction bits that the last shift drops, 0 to SUM_WIDTH - 1.
    parameter integer GUARD = 4,
    // Bits of an input value, at least 2.
    parameter integer S_WIDTH = 12,
    // Bits of the sum over the terms, at least S_WIDTH. They hold every partial sum: nothing checks for overflow here.
    parameter integer SUM_WIDTH = 24,
    // Bits of an output value, at least 2.
    parameter integer M_WIDTH = 16,
    // 0: the channel's factor for every value. 1: only for negative ones; SUM_WIDTH is then at least S_WIDTH + GUARD.
    parameter integer PRELU = 0,
    // $readmemh file of the table; with "" the table stays undefined.
    parameter TABLE_FILE = "",
    // Number of the table on the load bus (abbnn_memory); -1: it comes from the file and stays.
    parameter integer LOAD_MEMORY = -1
) (
    input  wire                     clk,
    input  wire                     rst,
    input  wire [76:0]              load,

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
    end else if (CHANNELS < 1 || CHANNELS % LANES != 0) begin : gen_check_channels
        CHANNELS_must_be_a_multiple_of_LANES param_error ();
    end
    if (TERMS < 1) begin : gen_check_terms
        TERMS_must_be_at_least_1 param_error ();
    end
    if (SHIFT_WIDTH < 1) begin : gen_check_shift_width
        SHIFT_WIDTH_must_be_at_least_1 param_error ();
    end
    if (GUARD < 0 || GUARD >= SUM_WIDTH) begin : gen_check_guard
        GUARD_must_be_0_to_SUM_WIDTH_minus_1 param_error ();
    end
    if (S_WIDTH < 2) begin : gen_check_s_width
        S_WIDTH_must_be_at_least_2 param_error ();
    end
    if (SUM_WIDTH < S_WIDTH) begin : gen_check_sum_width
        SUM_WIDTH_must_be_at_least_S_WIDTH param_error ();
    end
    if (PRELU != 0 && PRELU != 1) begin : gen_check_prelu
        PRELU_must_be_0_or_1 param_error ();
    end else if (PRELU == 1 && SUM_WIDTH < S_WIDTH + GUARD) begin : gen_check_prelu_sum_width
        SUM_WIDTH_must_be_at_least_S_WIDTH_plus_GUARD param_error ();
    end
    if (M_WIDTH < 2) begin : gen_check_m_width
        M_WIDTH_must_be_at_least_2 param_error ();
    end
endgenerate

localparam integer STAGES = 4;
localparam integer GROUPS = CHANNELS / LANES;
localparam integer FIELD_WIDTH = SHIFT_WIDTH + 2;
localparam integer WORD_WIDTH = LANES * TERMS * FIELD_WIDTH;
// Bits that hold x and -x, where the sum has room for them.
localparam integer X_WIDTH = SUM_WIDTH > S_WIDTH ? S_WIDTH + 1 : S_WIDTH;
localparam integer RESULT_WIDTH = SUM_WIDTH - GUARD;
// Bits that hold GUARD and, with a zero on top, a shift amount.
localparam integer AMOUNT_WIDTH = $clog2(GUARD + 1) > SHIFT_WIDTH ? $clog2(GUARD + 1) : SHIFT_WIDTH + 1;

reg [STAGES-1:0] valid_reg;

wire advance = m_axis_tready || !valid_reg[STAGES-1];

assign s_axis_tready = advance;
assign m_axis_tvalid = valid_reg[STAGES-1];

always @(posedge clk) begin
    if (advance) begin
        valid_reg <= {valid_reg[STAGES-2:0], s_axis_tvalid};
    end
    if (rst) begin
        valid_reg <= {STAGES{1'b0}};
    end
end

// The word of the beat that is accepted next, and its copy that goes along with the beat.
wire [WORD_WIDTH-1:0] word;
reg  [WORD_WIDTH-1:0] entry_reg;

abbnn_table #(
    .WIDTH(WORD_WIDTH),
    .DEPTH(GROUPS),
    .TABLE_FILE(TABLE_FILE),
    .LOAD_MEMORY(LOAD_MEMORY)
) table_inst (
    .clk(clk),
    .rst(rst),
    .load(load),
    .step(advance && s_axis_tvalid),
    .word(word)
);

always @(posedge clk) begin
    if (advance) begin
        entry_reg <= word;
    end
end

genvar i;
genvar t;

generate
    for (i = 0; i < LANES; i = i + 1) begin : gen_lane
        wire [X_WIDTH-1:0] x = {{X_WIDTH-S_WIDTH+1{s_axis_tdata[i*S_WIDTH+S_WIDTH-1]}},
                                s_axis_tdata[i*S_WIDTH +: S_WIDTH-1]};

        reg [X_WIDTH-1:0]         plus_reg;
        reg [X_WIDTH-1:0]         minus_reg;
        reg [TERMS*SUM_WIDTH-1:0] terms_reg;
        reg [RESULT_WIDTH-1:0]    sum_reg;
        reg [M_WIDTH-1:0]         result_reg;

        wire [TERMS*SUM_WIDTH-1:0] terms_next;
        // Two chains, of the terms with even and of those with odd numbers.
        wire [TERMS*SUM_WIDTH-1:0] chain;
        wire [SUM_WIDTH-1:0]       sum;
        wire [M_WIDTH-1:0]         result_next;
        wire                       passes = PRELU == 1 && !plus_reg[X_WIDTH-1];
        // The sum's GUARD lowest bits are dropped.
        wire                       unused_guard = &{1'b0, sum};

        for (t = 0; t < TERMS; t = t + 1) begin : gen_term
            wire [FIELD_WIDTH-1:0]  field  = entry_reg[(i*TERMS+t)*FIELD_WIDTH +: FIELD_WIDTH];
            wire [AMOUNT_WIDTH-1:0] shift  = {{AMOUNT_WIDTH-SHIFT_WIDTH{1'b0}}, field[SHIFT_WIDTH-1:0]};
            wire [AMOUNT_WIDTH-1:0] amount = (passes && t == 0) ? GUARD[AMOUNT_WIDTH-1:0] : shift;
            wire                    negate = field[SHIFT_WIDTH] && !passes;
            wire                    enable = passes ? t == 0 : field[SHIFT_WIDTH+1];
            wire [X_WIDTH-1:0]      chosen = {X_WIDTH{enable}} & (negate ? minus_reg : plus_reg);
            wire [SUM_WIDTH-1:0]    value  = {{SUM_WIDTH-X_WIDTH+1{chosen[X_WIDTH-1]}}, chosen[X_WIDTH-2:0]};

            assign terms_next[t*SUM_WIDTH +: SUM_WIDTH] = value << amount;

            if (t < 2) begin : gen_chain_start
                assign chain[t*SUM_WIDTH +: SUM_WIDTH] = terms_reg[t*SUM_WIDTH +: SUM_WIDTH];
            end else begin : gen_chain
                assign chain[t*SUM_WIDTH +: SUM_WIDTH] =
                    chain[(t-2)*SUM_WIDTH +: SUM_WIDTH] + terms_reg[t*SUM_WIDTH +: SUM_WIDTH];
            end
        end

        if (TERMS == 1) begin : gen_sum_of_one
            assign sum = chain;
        end else begin : gen_sum
            assign sum = chain[(TERMS-1)*SUM_WIDTH +: SUM_WIDTH] + chain[(TERMS-2)*SUM_WIDTH +: SUM_WIDTH];
        end

        if (RESULT_WIDTH > M_WIDTH) begin : gen_saturate
            wire sign = sum_reg[RESULT_WIDTH-1];
            wire fits = sum_reg[RESULT_WIDTH-1:M_WIDTH-1] == {RESULT_WIDTH-M_WIDTH+1{sign}};

            assign result_next = fits ? sum_reg[M_WIDTH-1:0] : {sign, {M_WIDTH-1{!sign}}};
        end else if (RESULT_WIDTH < M_WIDTH) begin : gen_extend
            assign result_next = {{M_WIDTH-RESULT_WIDTH{sum_reg[RESULT_WIDTH-1]}}, sum_reg};
        end else begin : gen_keep
            assign result_next = sum_reg;
        end

        always @(posedge clk) begin
            if (advance) begin
                plus_reg   <= x;
                minus_reg  <= {X_WIDTH{1'b0}} - x;
                terms_reg  <= terms_next;
                sum_reg    <= sum[SUM_WIDTH-1:GUARD];
                result_reg <= result_next;
            end
        end

        assign m_axis_tdata[i*M_WIDTH +: M_WIDTH] = result_reg;
    end
endgenerate

endmodule

`resetall
