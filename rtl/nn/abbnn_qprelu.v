// abbnn_qprelu.v : biases and quantized PReLU of one channel, slope a power of two
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// Lane by lane, with the fields of the lane's channel:
//
//   out = y >= threshold ? y + add_positive : (((y + add_before) << LEFT_MAX) >>> shift) + add_after
//
// saturated to M_WIDTH bits; all values are signed, and no sum wraps around, whatever the fields hold. Both cases share
// one adder, the shifter and one more adder: y >= threshold takes the shift amount LEFT_MAX, which changes nothing, and
// adds 0 behind the shifter.
//
// Channel = group * LANES + lane; the groups of a pixel follow each other. Table word at address group: LANES entries,
// lane 0 lowest; an entry from bit 0: threshold, add_positive, add_before, add_after, shift.
//
// Latency 6 (register, compare, choose and add, shift, add, saturate), one beat a cycle. No beat may come in the cycles
// behind a reset in which abbnn_table loses a step.
module abbnn_qprelu #(
    // Elements of one beat, at least 1.
    parameter integer LANES = 1,
    // Channels of one pixel, a multiple of LANES.
    parameter integer CHANNELS = 1,
    // Bits of an input value, at least 2.
    parameter integer S_WIDTH = 16,
    // Bits of an output value, at least 2.
    parameter integer M_WIDTH = 16,
    // Bits of threshold, add_positive, add_before and add_after, at least S_WIDTH.
    parameter integer FIELD_WIDTH = 16,
    // Greatest left shift, at least 0: the exponent of 2 is LEFT_MAX - shift.
    parameter integer LEFT_MAX = 7,
    // Bits of the field shift, at least 1; LEFT_MAX fits them.
    parameter integer SHIFT_WIDTH = 5,
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
    if (S_WIDTH < 2) begin : gen_check_s_width
        S_WIDTH_must_be_at_least_2 param_error ();
    end
    if (M_WIDTH < 2) begin : gen_check_m_width
        M_WIDTH_must_be_at_least_2 param_error ();
    end
    if (FIELD_WIDTH < S_WIDTH) begin : gen_check_field_width
        FIELD_WIDTH_must_be_at_least_S_WIDTH param_error ();
    end
    if (LEFT_MAX < 0) begin : gen_check_left_max
        LEFT_MAX_must_not_be_negative param_error ();
    end
    if (SHIFT_WIDTH < 1 || (LEFT_MAX >> SHIFT_WIDTH) != 0) begin : gen_check_shift_width
        SHIFT_WIDTH_must_be_at_least_1_and_hold_LEFT_MAX param_error ();
    end
endgenerate

localparam integer STAGES = 6;
localparam integer GROUPS = CHANNELS / LANES;
localparam integer ENTRY_WIDTH = 4 * FIELD_WIDTH + SHIFT_WIDTH;
localparam integer WORD_WIDTH = LANES * ENTRY_WIDTH;
// y + add_positive or y + add_before; the same, shifted left by LEFT_MAX; the same + add_after.
localparam integer INNER_WIDTH = FIELD_WIDTH + 1;
localparam integer SHIFTED_WIDTH = INNER_WIDTH + LEFT_MAX;
localparam integer RESULT_WIDTH = SHIFTED_WIDTH + 1;

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

generate
    for (i = 0; i < LANES; i = i + 1) begin : gen_lane
        // Stage 1: the value with its entry.
        reg  [S_WIDTH-1:0]     y_reg;
        wire [ENTRY_WIDTH-1:0] entry     = entry_reg[i*ENTRY_WIDTH +: ENTRY_WIDTH];
        wire [FIELD_WIDTH-1:0] y         = {{FIELD_WIDTH-S_WIDTH+1{y_reg[S_WIDTH-1]}}, y_reg[S_WIDTH-2:0]};
        wire [FIELD_WIDTH-1:0] threshold = entry[FIELD_WIDTH-1:0];

        // Stage 2: which case it is.
        reg                   positive_reg;
        reg [S_WIDTH-1:0]     y_2_reg;
        reg [FIELD_WIDTH-1:0] add_positive_reg;
        reg [FIELD_WIDTH-1:0] add_before_reg;
        reg [FIELD_WIDTH-1:0] add_after_reg;
        reg [SHIFT_WIDTH-1:0] shift_reg;

        wire [FIELD_WIDTH-1:0] add = positive_reg ? add_positive_reg : add_before_reg;
        wire [INNER_WIDTH-1:0] y_2 = {{INNER_WIDTH-S_WIDTH{y_2_reg[S_WIDTH-1]}}, y_2_reg};

        // Stage 3: shifter input and amount, and what is added behind it.
        reg [INNER_WIDTH-1:0] inner_reg;
        reg [SHIFT_WIDTH-1:0] amount_reg;
        reg [FIELD_WIDTH-1:0] after_reg;

        wire signed [SHIFTED_WIDTH-1:0] inner =
            {{LEFT_MAX+1{inner_reg[INNER_WIDTH-1]}}, inner_reg[INNER_WIDTH-2:0]} << LEFT_MAX;

        // Stage 4: shifter output.
        reg [SHIFTED_WIDTH-1:0] shifted_reg;
        reg [FIELD_WIDTH-1:0]   after_4_reg;

        wire [RESULT_WIDTH-1:0] result =
            {shifted_reg[SHIFTED_WIDTH-1], shifted_reg}
            + {{RESULT_WIDTH-FIELD_WIDTH{after_4_reg[FIELD_WIDTH-1]}}, after_4_reg};

        // Stage 5: the whole result.
        reg [RESULT_WIDTH-1:0] whole_reg;

        // Stage 6: the saturated result.
        reg  [M_WIDTH-1:0] result_reg;
        wire [M_WIDTH-1:0] result_next;

        if (RESULT_WIDTH > M_WIDTH) begin : gen_saturate
            wire sign = whole_reg[RESULT_WIDTH-1];
            wire fits = whole_reg[RESULT_WIDTH-1:M_WIDTH-1] == {RESULT_WIDTH-M_WIDTH+1{sign}};

            assign result_next = fits ? whole_reg[M_WIDTH-1:0] : {sign, {M_WIDTH-1{!sign}}};
        end else if (RESULT_WIDTH < M_WIDTH) begin : gen_extend
            assign result_next = {{M_WIDTH-RESULT_WIDTH{whole_reg[RESULT_WIDTH-1]}}, whole_reg};
        end else begin : gen_keep
            assign result_next = whole_reg;
        end

        always @(posedge clk) begin
            if (advance) begin
                y_reg            <= s_axis_tdata[i*S_WIDTH +: S_WIDTH];

                positive_reg     <= $signed(y) >= $signed(threshold);
                y_2_reg          <= y_reg;
                add_positive_reg <= entry[FIELD_WIDTH +: FIELD_WIDTH];
                add_before_reg   <= entry[2*FIELD_WIDTH +: FIELD_WIDTH];
                add_after_reg    <= entry[3*FIELD_WIDTH +: FIELD_WIDTH];
                shift_reg        <= entry[4*FIELD_WIDTH +: SHIFT_WIDTH];

                inner_reg        <= y_2 + {add[FIELD_WIDTH-1], add};
                amount_reg       <= positive_reg ? LEFT_MAX[SHIFT_WIDTH-1:0] : shift_reg;
                after_reg        <= positive_reg ? {FIELD_WIDTH{1'b0}} : add_after_reg;

                shifted_reg      <= inner >>> amount_reg;
                after_4_reg      <= after_reg;

                whole_reg        <= result;

                result_reg       <= result_next;
            end
        end

        assign m_axis_tdata[i*M_WIDTH +: M_WIDTH] = result_reg;
    end
endgenerate

endmodule

`resetall
