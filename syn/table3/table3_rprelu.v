// table3_rprelu.v : biases and PReLU with a multiplier, in the place of abbnn_qprelu
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// inner = y + bias; out = (inner < 0 ? (inner * slope) >>> FRACTION : inner) + after, lane by lane, saturated to
// M_WIDTH bits; all values are signed and no sum wraps around.
//
// Table word: LANES entries, lane 0 lowest; an entry from bit 0: bias, after, slope. Latency 5 like abbnn_qprelu
// (register, add, multiply, choose, add and saturate), one beat a cycle.
module table3_rprelu #(
    parameter integer LANES = 1,
    parameter integer CHANNELS = 1,
    parameter integer S_WIDTH = 16,
    parameter integer M_WIDTH = 16,
    // Bits of bias and after, at least S_WIDTH.
    parameter integer FIELD_WIDTH = 16,
    parameter integer SLOPE_WIDTH = 16,
    // Fraction bits of the slope, fewer than SLOPE_WIDTH.
    parameter integer FRACTION = 12,
    parameter TABLE_FILE = ""
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

localparam integer STAGES = 5;
localparam integer ENTRY_WIDTH = 2 * FIELD_WIDTH + SLOPE_WIDTH;
localparam integer INNER_WIDTH = FIELD_WIDTH + 1;
localparam integer PRODUCT_WIDTH = INNER_WIDTH + SLOPE_WIDTH;
localparam integer CHOSEN_WIDTH = PRODUCT_WIDTH - FRACTION;
localparam integer RESULT_WIDTH = CHOSEN_WIDTH + 1;

generate
    if (RESULT_WIDTH <= M_WIDTH || FRACTION >= SLOPE_WIDTH || FIELD_WIDTH < S_WIDTH) begin : gen_check_widths
        widths_do_not_fit param_error ();
    end
endgenerate

localparam integer GROUPS = CHANNELS / LANES;
localparam integer WORD_WIDTH = LANES * ENTRY_WIDTH;

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

wire [WORD_WIDTH-1:0] word;
reg  [WORD_WIDTH-1:0] entry_reg;

abbnn_table #(
    .WIDTH(WORD_WIDTH),
    .DEPTH(GROUPS),
    .TABLE_FILE(TABLE_FILE)
) table_inst (
    .clk(clk),
    .rst(rst),
    .load(77'd0),
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
        wire        [ENTRY_WIDTH-1:0] entry  = entry_reg[i*ENTRY_WIDTH +: ENTRY_WIDTH];
        wire signed [FIELD_WIDTH-1:0] bias = entry[FIELD_WIDTH-1:0];

        reg signed [S_WIDTH-1:0]       y_reg;
        // Two readers: xilinx_dsp of Yosys 0.23 takes such a register into the DSP and leaves the other reader undriven.
        (* keep = 1 *)
        reg signed [INNER_WIDTH-1:0]   inner_reg;
        reg signed [SLOPE_WIDTH-1:0]   slope_reg;
        reg signed [FIELD_WIDTH-1:0]   after_reg;
        reg signed [PRODUCT_WIDTH-1:0] product_reg;
        reg signed [INNER_WIDTH-1:0]   inner_3_reg;
        reg signed [FIELD_WIDTH-1:0]   after_3_reg;
        reg signed [CHOSEN_WIDTH-1:0]  chosen_reg;
        reg signed [FIELD_WIDTH-1:0]   after_4_reg;
        reg        [M_WIDTH-1:0]       result_reg;

        wire signed [RESULT_WIDTH-1:0] result = chosen_reg + after_4_reg;
        wire                           sign   = result[RESULT_WIDTH-1];
        wire                           fits   = result[RESULT_WIDTH-1:M_WIDTH-1] == {RESULT_WIDTH-M_WIDTH+1{sign}};

        always @(posedge clk) begin
            if (advance) begin
                y_reg       <= s_axis_tdata[i*S_WIDTH +: S_WIDTH];

                inner_reg   <= y_reg + bias;
                slope_reg   <= entry[2*FIELD_WIDTH +: SLOPE_WIDTH];
                after_reg   <= entry[FIELD_WIDTH +: FIELD_WIDTH];

                product_reg <= inner_reg * slope_reg;
                inner_3_reg <= inner_reg;
                after_3_reg <= after_reg;

                chosen_reg  <= inner_3_reg < 0 ? $signed(product_reg[PRODUCT_WIDTH-1:FRACTION]) : inner_3_reg;
                after_4_reg <= after_3_reg;

                result_reg  <= fits ? result[M_WIDTH-1:0] : {sign, {M_WIDTH-1{!sign}}};
            end
        end

        assign m_axis_tdata[i*M_WIDTH +: M_WIDTH] = result_reg;
    end
endgenerate

endmodule

`resetall
