// abbnn_link_tx.v : merges answers, credits and results into one stream of packets
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// Sends, in this order of preference, whatever waits when a packet has ended:
//   answer_*   a packet of answer_length bytes, the lowest of answer_data first; taken as a whole.
//   credit     type FE, tag 0: `consumed`, when it has grown by CREDIT_BYTES or more since the last credit.
//   result     type 84: one frame of s_axis (CLASSES + 1 words) under the next tag of s_tag_*.
// While `hold` is high no result begins; `idle` is high when none is under way. An s_axis frame is taken only with a tag
// and only once its packet has begun, or while `drop` is high, when it goes nowhere; drop needs hold and idle.
module abbnn_link_tx #(
    // Scores of a result, at least 1.
    parameter integer CLASSES = 10,
    // Growth of `consumed` that is worth a credit, at least 1.
    parameter integer CREDIT_BYTES = 1024
) (
    input  wire         clk,
    input  wire         rst,

    input  wire [31:0]  s_axis_tdata,
    input  wire         s_axis_tvalid,
    output wire         s_axis_tready,
    input  wire         s_axis_tlast,

    input  wire [7:0]   s_tag_tdata,
    input  wire         s_tag_tvalid,
    output wire         s_tag_tready,

    output wire [7:0]   m_axis_tdata,
    output wire         m_axis_tvalid,
    input  wire         m_axis_tready,

    input  wire [7:0]   answer_type,
    input  wire [7:0]   answer_tag,
    input  wire [4:0]   answer_length,
    input  wire [127:0] answer_data,
    input  wire         answer_valid,
    output wire         answer_ready,

    input  wire [31:0]  consumed,

    input  wire         hold,
    input  wire         drop,
    output wire         idle
);

generate
    if (CLASSES < 1) begin : gen_check_classes
        CLASSES_must_be_at_least_1 param_error ();
    end
    if (CREDIT_BYTES < 1) begin : gen_check_credit_bytes
        CREDIT_BYTES_must_be_at_least_1 param_error ();
    end
endgenerate

localparam [7:0] RESULT = 8'h84;
localparam [7:0] CREDIT = 8'hfe;

localparam integer RESULT_BYTES = 4 * (CLASSES + 1);

localparam [1:0] PICK   = 2'd0;
localparam [1:0] HEADER = 2'd1;
localparam [1:0] BODY   = 2'd2;

reg [1:0]   state_reg;
reg [7:0]   type_reg;
reg [7:0]   tag_reg;
reg [23:0]  length_reg;
reg [127:0] data_reg;
reg         result_reg;
// The frame's words are let in.
reg         open_reg;
reg [31:0]  reported_reg;
reg [31:0]  growth_reg;
reg         due_reg;

wire pick        = state_reg == PICK;
wire pick_answer = pick && answer_valid;
wire pick_credit = pick && !answer_valid && due_reg;
wire pick_result = pick && !answer_valid && !due_reg && !hold && s_tag_tvalid && s_axis_tvalid;

wire        header_ready;
wire        taken_tready;
wire [31:0] word_tdata;
wire        word_tvalid;
wire        word_tready;
wire [7:0]  byte_tdata;
wire        byte_tvalid;
wire        payload_tready;

assign answer_ready  = pick_answer;
assign s_tag_tready  = pick_result;
assign s_axis_tready = drop || (open_reg && taken_tready);
assign idle          = !result_reg;

always @(posedge clk) begin
    if (pick_answer) begin
        type_reg   <= answer_type;
        tag_reg    <= answer_tag;
        length_reg <= {19'd0, answer_length};
        data_reg   <= answer_data;
    end else if (pick_credit) begin
        type_reg   <= CREDIT;
        tag_reg    <= 8'h00;
        length_reg <= 24'd4;
        data_reg   <= {data_reg[127:32], consumed};
    end else if (pick) begin
        type_reg   <= RESULT;
        tag_reg    <= s_tag_tdata;
        length_reg <= RESULT_BYTES[23:0];
    end else if (payload_tready) begin
        // Around, as zeros would be a reset that hangs on the line's ready.
        data_reg <= {data_reg[7:0], data_reg[127:8]};
    end
    growth_reg <= consumed - reported_reg;
end

always @(posedge clk) begin
    if (pick_credit) begin
        reported_reg <= consumed;
    end
    // Late by two cycles, far fewer than a packet takes.
    due_reg <= growth_reg >= CREDIT_BYTES;
    if (pick_result) begin
        result_reg <= 1'b1;
        open_reg   <= 1'b1;
    end else if (pick) begin
        result_reg <= 1'b0;
    end else if (s_axis_tvalid && s_axis_tready && s_axis_tlast) begin
        open_reg <= 1'b0;
    end
    case (state_reg)
        PICK: begin
            state_reg <= (pick_answer || pick_credit || pick_result) ? HEADER : PICK;
        end
        HEADER: begin
            state_reg <= header_ready ? BODY : HEADER;
        end
        default: begin
            // The packet's writer is back at its start.
            state_reg <= header_ready ? PICK : BODY;
        end
    endcase
    if (rst) begin
        state_reg    <= PICK;
        result_reg   <= 1'b0;
        open_reg     <= 1'b0;
        due_reg      <= 1'b0;
        reported_reg <= 32'd0;
    end
end

// The line's ready ends here: behind s_axis stands a core.
abbnn_skid #(
    .DATA_WIDTH(32)
) word_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(s_axis_tdata),
    .s_axis_tvalid(s_axis_tvalid && open_reg),
    .s_axis_tready(taken_tready),
    .m_axis_tdata(word_tdata),
    .m_axis_tvalid(word_tvalid),
    .m_axis_tready(word_tready)
);

abbnn_resize #(
    .LANE_WIDTH(8),
    .S_LANES(4),
    .M_LANES(1)
) bytes_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(word_tdata),
    .s_axis_tvalid(word_tvalid),
    .s_axis_tready(word_tready),
    .m_axis_tdata(byte_tdata),
    .m_axis_tvalid(byte_tvalid),
    .m_axis_tready(payload_tready && result_reg)
);

abbnn_packet_tx packet_inst (
    .clk(clk),
    .rst(rst),
    .header_type(type_reg),
    .header_tag(tag_reg),
    .header_length(length_reg),
    .header_valid(state_reg == HEADER),
    .header_ready(header_ready),
    .s_axis_tdata(result_reg ? byte_tdata : data_reg[7:0]),
    .s_axis_tvalid(!result_reg || byte_tvalid),
    .s_axis_tready(payload_tready),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready)
);

endmodule

`resetall
