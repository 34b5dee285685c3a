// abbnn_xnor_array.v : PE x SIMD XNOR-popcount lanes, the multiply-accumulate array of a binary convolution
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// s_axis: SIMD activation bits a beat, 1 = +1 and 0 = -1 (a padded tap is 0). An output position takes
// NF = CHANNELS / PE folds of SIMD_FOLD beats: the same vector NF times. Positions in raster order.
// m_axis: after every fold one beat of PE signed sums of SUM_WIDTH bits, lane pe = output channel fold * PE + pe:
//   sum = 2 * (ones of activation ~^ weight over the fold) + correction.
//
// Weight word (PE * SIMD bits) at address fold * SIMD_FOLD + beat: bit pe * SIMD + lane, 1 = +1.
// Correction word (PE * SUM_WIDTH bits) at address class * NF + fold: -(fan-in), less what the padded taps of a border
// class add to the ones. BORDER = 1: class = row class * 3 + column class, each 0 for the first row (column), else 2 for
// the last, else 1. BORDER = 0: class 0 only.
//
// Latency from the last beat of a fold to its sums: 7 + clog2(SIMD / 4 + 1), one more with SIMD_FOLD > 1 (to accumulate).
// These are the memories and a register behind them, clog2(SIMD / 4 + 1) + 1 registers in the popcount, one behind each of
// its levels for 4-input LUTs, and at the end a register and abbnn_credit, latency 3. A beat every cycle; s_axis_tready is a
// register. Nothing in front of abbnn_credit stalls or needs a clock enable.
module abbnn_xnor_array #(
    // Output channels computed at once, at least 1.
    parameter integer PE = 8,
    // Activation bits of a beat, at least 1.
    parameter integer SIMD = 288,
    // Beats of a fold (fan-in / SIMD), at least 1.
    parameter integer SIMD_FOLD = 1,
    // Output channels, a multiple of PE.
    parameter integer CHANNELS = 32,
    // Rows of the output map, at least 1.
    parameter integer OUT_HEIGHT = 16,
    // Columns of the output map, at least 1.
    parameter integer OUT_WIDTH = 16,
    // 1: nine classes of corrections, by position; 0: one.
    parameter integer BORDER = 1,
    // Bits of a sum, at least clog2(SIMD * SIMD_FOLD + 1) + 1: it holds -fan-in to +fan-in.
    parameter integer SUM_WIDTH = 10,
    // Where the weights go when synthesized: 0 as the tool likes, 1 LUTs, 2 block RAM.
    parameter integer WEIGHT_MEMORY = 0,
    // $readmemh file of CHANNELS / PE * SIMD_FOLD weight words; with "" the weights stay undefined.
    parameter WEIGHT_FILE = "",
    // $readmemh file of CHANNELS / PE correction words a class; with "" the corrections stay undefined.
    parameter CORRECTION_FILE = "",
    // Number of the weights on the load bus (abbnn_memory), the corrections have the next; -1: both come from the
    // files and stay.
    parameter integer LOAD_MEMORY = -1
) (
    input  wire                    clk,
    input  wire                    rst,
    input  wire [76:0]             load,

    input  wire [SIMD-1:0]         s_axis_tdata,
    input  wire                    s_axis_tvalid,
    output wire                    s_axis_tready,

    output wire [PE*SUM_WIDTH-1:0] m_axis_tdata,
    output wire                    m_axis_tvalid,
    input  wire                    m_axis_tready
);

generate
    if (PE < 1) begin : gen_check_pe
        PE_must_be_at_least_1 param_error ();
    end else if (CHANNELS < 1 || CHANNELS % PE != 0) begin : gen_check_channels
        CHANNELS_must_be_a_multiple_of_PE param_error ();
    end
    if (SIMD < 1) begin : gen_check_simd
        SIMD_must_be_at_least_1 param_error ();
    end
    if (SIMD_FOLD < 1) begin : gen_check_simd_fold
        SIMD_FOLD_must_be_at_least_1 param_error ();
    end
    if (OUT_HEIGHT < 1) begin : gen_check_out_height
        OUT_HEIGHT_must_be_at_least_1 param_error ();
    end
    if (OUT_WIDTH < 1) begin : gen_check_out_width
        OUT_WIDTH_must_be_at_least_1 param_error ();
    end
    if (BORDER != 0 && BORDER != 1) begin : gen_check_border
        BORDER_must_be_0_or_1 param_error ();
    end
    if (SUM_WIDTH < $clog2(SIMD * SIMD_FOLD + 1) + 1) begin : gen_check_sum_width
        SUM_WIDTH_must_hold_plus_and_minus_the_fan_in param_error ();
    end
    if (WEIGHT_MEMORY < 0 || WEIGHT_MEMORY > 2) begin : gen_check_weight_memory
        WEIGHT_MEMORY_must_be_0_to_2 param_error ();
    end
endgenerate

localparam integer FOLDS = CHANNELS / PE;
localparam integer WEIGHT_WORDS = FOLDS * SIMD_FOLD;
localparam integer CORRECTION_WORDS = (BORDER == 1) ? 9 * FOLDS : FOLDS;
localparam integer COUNT_WIDTH = $clog2(SIMD + 1);
localparam integer TOTAL_WIDTH = $clog2(SIMD * SIMD_FOLD + 1);
// Registers between the input and sums_reg: two to fetch, LATENCY of abbnn_popcount, accumulator.
localparam integer POPCOUNT_LATENCY = $clog2(SIMD / 4 + 1) + 1;
localparam integer STAGES = 2 + POPCOUNT_LATENCY + ((SIMD_FOLD > 1) ? 1 : 0);

// Counter widths, at least 1.
localparam integer BEAT_WIDTH = (SIMD_FOLD > 1) ? $clog2(SIMD_FOLD) : 1;
localparam integer FOLD_WIDTH = (FOLDS > 1) ? $clog2(FOLDS) : 1;
localparam integer COLUMN_WIDTH = (OUT_WIDTH > 1) ? $clog2(OUT_WIDTH) : 1;
localparam integer ROW_WIDTH = (OUT_HEIGHT > 1) ? $clog2(OUT_HEIGHT) : 1;
localparam integer WEIGHT_ADDRESS_WIDTH = (WEIGHT_WORDS > 1) ? $clog2(WEIGHT_WORDS) : 1;
localparam integer CORRECTION_ADDRESS_WIDTH = (CORRECTION_WORDS > 1) ? $clog2(CORRECTION_WORDS) : 1;

localparam integer LAST_BEAT = SIMD_FOLD - 1;
localparam integer LAST_FOLD = FOLDS - 1;
localparam integer LAST_COLUMN = OUT_WIDTH - 1;
localparam integer LAST_ROW = OUT_HEIGHT - 1;
localparam integer LAST_WEIGHT = WEIGHT_WORDS - 1;

// ---- flow: valid_reg and last_reg (last beat of its fold) go along with the data -----------------------------------------

wire ready;
wire take = s_axis_tvalid && ready;

reg [BEAT_WIDTH-1:0]           beat_reg;
reg [WEIGHT_ADDRESS_WIDTH-1:0] weight_address_reg;
reg [STAGES-1:0]               valid_reg;
reg [STAGES-1:0]               last_reg;

wire beat_last = beat_reg == LAST_BEAT[BEAT_WIDTH-1:0];
wire weight_last = weight_address_reg == LAST_WEIGHT[WEIGHT_ADDRESS_WIDTH-1:0];

assign s_axis_tready = ready;

always @(posedge clk) begin
    if (take) begin
        beat_reg           <= beat_last ? {BEAT_WIDTH{1'b0}} : beat_reg + 1'b1;
        weight_address_reg <= weight_last ? {WEIGHT_ADDRESS_WIDTH{1'b0}} : weight_address_reg + 1'b1;
    end
    valid_reg <= {valid_reg[STAGES-2:0], take};
    last_reg  <= {last_reg[STAGES-2:0], beat_last};
    if (rst) begin
        beat_reg           <= {BEAT_WIDTH{1'b0}};
        weight_address_reg <= {WEIGHT_ADDRESS_WIDTH{1'b0}};
        valid_reg          <= {STAGES{1'b0}};
    end
end

// ---- fetch -------------------------------------------------------------------------------------------------------------

wire [PE*SIMD-1:0] fetched_weights;
reg  [PE*SIMD-1:0] weight_word_reg;
reg  [SIMD-1:0]    activation_reg;
reg  [SIMD-1:0]    activation_word_reg;

always @(posedge clk) begin
    activation_reg      <= s_axis_tdata;
    activation_word_reg <= activation_reg;
    weight_word_reg     <= fetched_weights;
end

abbnn_memory #(
    .WIDTH(PE*SIMD),
    .DEPTH(WEIGHT_WORDS),
    .TABLE_FILE(WEIGHT_FILE),
    .LOAD_MEMORY(LOAD_MEMORY),
    .STYLE(WEIGHT_MEMORY)
) weight_inst (
    .clk(clk),
    .load(load),
    .enable(1'b1),
    .address(weight_address_reg),
    .word(fetched_weights)
);

// ---- corrections: read two stages before they are added, at an address that moves on with every last beat there -----------

localparam integer MOVE = STAGES - 3;

wire [PE*SUM_WIDTH-1:0] fetched_correction;
reg  [PE*SUM_WIDTH-1:0] correction_word_reg;

reg [FOLD_WIDTH-1:0]               fold_reg;
reg [CORRECTION_ADDRESS_WIDTH-1:0] correction_address_reg;

wire                                move = valid_reg[MOVE] && last_reg[MOVE];
wire                                fold_last = fold_reg == LAST_FOLD[FOLD_WIDTH-1:0];
wire [CORRECTION_ADDRESS_WIDTH-1:0] next_position_address;

always @(posedge clk) begin
    correction_word_reg <= fetched_correction;
    if (move) begin
        fold_reg               <= fold_last ? {FOLD_WIDTH{1'b0}} : fold_reg + 1'b1;
        correction_address_reg <= fold_last ? next_position_address : correction_address_reg + 1'b1;
    end
    if (rst) begin
        fold_reg               <= {FOLD_WIDTH{1'b0}};
        correction_address_reg <= {CORRECTION_ADDRESS_WIDTH{1'b0}};
    end
end

abbnn_memory #(
    .WIDTH(PE*SUM_WIDTH),
    .DEPTH(CORRECTION_WORDS),
    .TABLE_FILE(CORRECTION_FILE),
    .LOAD_MEMORY((LOAD_MEMORY < 0) ? -1 : LOAD_MEMORY + 1)
) correction_inst (
    .clk(clk),
    .load(load),
    .enable(1'b1),
    .address(correction_address_reg),
    .word(fetched_correction)
);

generate
    if (BORDER == 1) begin : gen_border
        localparam integer COLUMN_BEFORE_LAST = LAST_COLUMN - 1;
        localparam integer ROW_BEFORE_LAST = LAST_ROW - 1;
        localparam integer MIDDLE_COLUMN = FOLDS;
        localparam integer RIGHT_COLUMN = 2 * FOLDS;
        localparam integer MIDDLE_ROW = 3 * FOLDS;
        localparam integer BOTTOM_ROW = 6 * FOLDS;

        reg [COLUMN_WIDTH-1:0]             column_reg;
        reg [ROW_WIDTH-1:0]                row_reg;
        reg [CORRECTION_ADDRESS_WIDTH-1:0] row_base_reg;

        wire column_last = column_reg == LAST_COLUMN[COLUMN_WIDTH-1:0];
        wire row_last = row_reg == LAST_ROW[ROW_WIDTH-1:0];
        wire [CORRECTION_ADDRESS_WIDTH-1:0] next_column_base =
            column_last                                           ? {CORRECTION_ADDRESS_WIDTH{1'b0}} :
            (column_reg == COLUMN_BEFORE_LAST[COLUMN_WIDTH-1:0]) ? RIGHT_COLUMN[CORRECTION_ADDRESS_WIDTH-1:0]
                                                                  : MIDDLE_COLUMN[CORRECTION_ADDRESS_WIDTH-1:0];
        wire [CORRECTION_ADDRESS_WIDTH-1:0] next_row_base =
            !column_last                                 ? row_base_reg :
            row_last                                     ? {CORRECTION_ADDRESS_WIDTH{1'b0}} :
            (row_reg == ROW_BEFORE_LAST[ROW_WIDTH-1:0]) ? BOTTOM_ROW[CORRECTION_ADDRESS_WIDTH-1:0]
                                                         : MIDDLE_ROW[CORRECTION_ADDRESS_WIDTH-1:0];

        assign next_position_address = next_row_base + next_column_base;

        always @(posedge clk) begin
            if (move && fold_last) begin
                column_reg   <= column_last ? {COLUMN_WIDTH{1'b0}} : column_reg + 1'b1;
                row_base_reg <= next_row_base;
                if (column_last) begin
                    row_reg <= row_last ? {ROW_WIDTH{1'b0}} : row_reg + 1'b1;
                end
            end
            if (rst) begin
                column_reg   <= {COLUMN_WIDTH{1'b0}};
                row_reg      <= {ROW_WIDTH{1'b0}};
                row_base_reg <= {CORRECTION_ADDRESS_WIDTH{1'b0}};
            end
        end
    end else begin : gen_no_border
        assign next_position_address = {CORRECTION_ADDRESS_WIDTH{1'b0}};
    end
endgenerate

// ---- lanes: popcount, accumulate over the fold, sum --------------------------------------------------------------------

wire [PE*COUNT_WIDTH-1:0] counts;
wire [PE*TOTAL_WIDTH-1:0] totals;
wire [PE*SUM_WIDTH-1:0]   sums;

genvar p;
generate
    for (p = 0; p < PE; p = p + 1) begin : gen_pe
        abbnn_popcount #(
            .WIDTH(SIMD),
            .LATENCY(POPCOUNT_LATENCY)
        ) popcount_inst (
            .clk(clk),
            .enable(1'b1),
            .a(activation_word_reg),
            .b(weight_word_reg[p*SIMD +: SIMD]),
            .count(counts[p*COUNT_WIDTH +: COUNT_WIDTH])
        );

        // A bit more than a sum, so that the zeros in front are never none.
        wire [SUM_WIDTH:0] twice = {{SUM_WIDTH - TOTAL_WIDTH{1'b0}}, totals[p*TOTAL_WIDTH +: TOTAL_WIDTH], 1'b0};
        wire               unused_twice = &{1'b0, twice[SUM_WIDTH]};

        assign sums[p*SUM_WIDTH +: SUM_WIDTH] = twice[SUM_WIDTH-1:0] + correction_word_reg[p*SUM_WIDTH +: SUM_WIDTH];
    end

    if (SIMD_FOLD == 1) begin : gen_no_accumulator
        assign totals = counts;
    end else begin : gen_accumulator
        reg                      restart_reg;
        reg [PE*TOTAL_WIDTH-1:0] totals_reg;

        wire accumulate = valid_reg[STAGES-2];

        always @(posedge clk) begin
            if (accumulate) begin
                restart_reg <= last_reg[STAGES-2];
            end
            if (rst) begin
                restart_reg <= 1'b1;
            end
        end

        for (p = 0; p < PE; p = p + 1) begin : gen_total
            wire [TOTAL_WIDTH-1:0] count = {{TOTAL_WIDTH - COUNT_WIDTH{1'b0}}, counts[p*COUNT_WIDTH +: COUNT_WIDTH]};

            always @(posedge clk) begin
                if (accumulate) begin
                    totals_reg[p*TOTAL_WIDTH +: TOTAL_WIDTH] <=
                        restart_reg ? count : totals_reg[p*TOTAL_WIDTH +: TOTAL_WIDTH] + count;
                end
            end
        end

        assign totals = totals_reg;
    end
endgenerate

// ---- output ----------------------------------------------------------------------------------------------------------------

// Results between their last beat and m_axis.
localparam integer BEATS = (SIMD_FOLD > 0) ? SIMD_FOLD : 1;
localparam integer CREDITS = (STAGES + 7 + BEATS - 1) / BEATS + 2;

reg [PE*SUM_WIDTH-1:0] sums_reg;
reg                    sums_valid_reg;

always @(posedge clk) begin
    sums_reg       <= sums;
    sums_valid_reg <= valid_reg[STAGES-1] && last_reg[STAGES-1] && !rst;
end

abbnn_credit #(
    .DATA_WIDTH(PE*SUM_WIDTH),
    .DEPTH(CREDITS)
) credit_inst (
    .clk(clk),
    .rst(rst),
    .ready(ready),
    .enter(take && beat_last),
    .s_axis_tdata(sums_reg),
    .s_axis_tvalid(sums_valid_reg),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready)
);

endmodule

`resetall
