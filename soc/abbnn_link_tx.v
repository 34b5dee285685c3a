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
localparam [1:0] TAKE   = 2'd1;
localparam [1:0] HEADER = 2'd2;
localparam [1:0] BODY   = 2'd3;

reg [1:0]   state_reg;
reg [7:0]   type_reg;
reg [7:0]   tag_reg;
reg [23:0]  length_reg;
// The payload or, of a result, a word of it, the next byte lowest.
reg [127:0] data_reg;
// There is a next byte; of a result's word, how many more follow it.
reg         some_reg;
reg [1:0]   more_reg;
// What has been picked; neither is a credit.
reg         answer_reg;
reg         result_reg;
// The frame's words are let in.
reg         open_reg;
reg [31:0]  reported_reg;
reg [31:0]  growth_reg;
reg         due_reg;
reg         step_reg;

wire pick        = state_reg == PICK;
wire take        = state_reg == TAKE;
wire pick_result = pick && !answer_valid && !due_reg && !hold && s_tag_tvalid && s_axis_tvalid;

wire        header_ready;
wire        payload_tready;

assign answer_ready  = take && answer_reg;
assign s_tag_tready  = take && result_reg;
assign s_axis_tready = drop || (open_reg && !some_reg);
assign idle          = !result_reg;

always @(posedge clk) begin
    // The packet's writer takes a byte every third cycle at most.
    step_reg <= payload_tready && some_reg;
    if (take) begin
        type_reg   <= answer_reg ? answer_type : result_reg ? RESULT : CREDIT;
        tag_reg    <= answer_reg ? answer_tag : result_reg ? s_tag_tdata : 8'h00;
        length_reg <= answer_reg ? {19'd0, answer_length} : result_reg ? RESULT_BYTES[23:0] : 24'd4;
        data_reg   <= {answer_data[127:32], answer_reg ? answer_data[31:0] : consumed};
    end else if (step_reg) begin
        // Around, as zeros would be a reset.
        data_reg <= {data_reg[7:0], data_reg[127:8]};
    end else if (!some_reg) begin
        data_reg[31:0] <= s_axis_tdata;
    end
    if (!some_reg) begin
        more_reg <= 2'd3;
    end else if (step_reg) begin
        more_reg <= more_reg - 2'd1;
    end
    growth_reg <= consumed - reported_reg;
end

always @(posedge clk) begin
    if (pick) begin
        answer_reg <= answer_valid;
        result_reg <= pick_result;
    end
    if (take && !answer_reg && !result_reg) begin
        reported_reg <= consumed;
    end
    // Late by two cycles, far fewer than a packet takes.
    due_reg <= growth_reg >= CREDIT_BYTES;
    if (take) begin
        some_reg <= !result_reg;
    end else if (!some_reg) begin
        some_reg <= s_axis_tvalid && open_reg;
    end else if (step_reg && result_reg && more_reg == 2'd0) begin
        some_reg <= 1'b0;
    end
    if (take && result_reg) begin
        open_reg <= 1'b1;
    end else if (s_axis_tvalid && s_axis_tready && s_axis_tlast) begin
        open_reg <= 1'b0;
    end
    case (state_reg)
        PICK: begin
            state_reg <= (answer_valid || due_reg || pick_result) ? TAKE : PICK;
        end
        TAKE: begin
            state_reg <= HEADER;
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
        some_reg     <= 1'b0;
        due_reg      <= 1'b0;
        reported_reg <= 32'd0;
    end
end

abbnn_packet_tx packet_inst (
    .clk(clk),
    .rst(rst),
    .header_type(type_reg),
    .header_tag(tag_reg),
    .header_length(length_reg),
    .header_valid(state_reg == HEADER),
    .header_ready(header_ready),
    .s_axis_tdata(data_reg[7:0]),
    .s_axis_tvalid(some_reg),
    .s_axis_tready(payload_tready),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready)
);

endmodule

`resetall
