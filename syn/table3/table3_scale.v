// table3_scale.v : per-channel factor with a multiplier, in the place of abbnn_scale
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// out = (x * factor) >>> FRACTION lane by lane, signed; M_WIDTH = S_WIDTH + FACTOR_WIDTH - FRACTION holds every result.
//
// Table word: LANES factors, lane 0 lowest. Latency 4 like abbnn_scale (register, multiply, two registers that a DSP
// may take as its own), one beat a cycle.
module table3_scale #(
    parameter integer LANES = 1,
    parameter integer CHANNELS = 1,
    parameter integer S_WIDTH = 12,
    parameter integer FACTOR_WIDTH = 16,
    parameter integer FRACTION = 12,
    parameter integer M_WIDTH = 16,
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

generate
    if (M_WIDTH != S_WIDTH + FACTOR_WIDTH - FRACTION) begin : gen_check_m_width
        M_WIDTH_must_be_S_WIDTH_plus_FACTOR_WIDTH_minus_FRACTION param_error ();
    end
endgenerate

localparam integer STAGES = 4;
localparam integer ENTRY_WIDTH = FACTOR_WIDTH;
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
        wire signed [FACTOR_WIDTH-1:0] factor = entry_reg[i*FACTOR_WIDTH +: FACTOR_WIDTH];

        reg signed [S_WIDTH-1:0]              x_reg;
        reg signed [S_WIDTH+FACTOR_WIDTH-1:0] product_reg;
        reg signed [S_WIDTH+FACTOR_WIDTH-1:0] product_2_reg;
        reg        [M_WIDTH-1:0]              result_reg;

        always @(posedge clk) begin
            if (advance) begin
                x_reg         <= s_axis_tdata[i*S_WIDTH +: S_WIDTH];
                product_reg   <= x_reg * factor;
                product_2_reg <= product_reg;
                result_reg    <= product_2_reg[S_WIDTH+FACTOR_WIDTH-1:FRACTION];
            end
        end

        assign m_axis_tdata[i*M_WIDTH +: M_WIDTH] = result_reg;
    end
endgenerate

endmodule

`resetall
