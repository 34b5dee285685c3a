// abbnn_link.v : the device's end of the byte protocol of docs/protocol.md
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// Bytes from the line in (rx_*), packets for the line out (m_axis, bytes). Requests are worked off one after the other:
//   image   payload to m_pixel_*, one pixel a beat; the result comes back under the image's tag. A damaged image becomes
//           a short frame, which the core drops. Waits while a load is under way; refused while the core has no tables.
//   load    payload to m_load_*, 32-bit words; a damaged load ends early.
//   read, write   one access to the core's registers by m_axil_*.
//   ping    who is there, and how much of the receive buffer is used.
// Every request but a good image is answered at once, a damaged one too if its header was good.
//
// Of the receive buffer's RX_BYTES bytes the host may use RX_BYTES - 64: the rest is for a ping of a host that has lost
// count.
//
// A write of 1 to bit 0 of the core's CONTROL drops the tags of all images under way once the core has dropped these, and
// with them what is left of a result that the core had begun to show.
module abbnn_link #(
    // Pixels of an image and scores of a result, each at least 1.
    parameter integer PIXELS = 1024,
    parameter integer CLASSES = 10,
    // Bytes of the receive buffer, at least 128: a power of two fills its memory.
    parameter integer RX_BYTES = 4096,
    // Words of the memory for tags, 2 to 251: TAGS + 4 good images can be waiting for their results; a further one waits.
    parameter integer TAGS = 28,
    // Cycles without a byte after which a packet that has begun is given up, at least 1.
    parameter integer GAP_CYCLES = 25000000,
    // Cycles between two looks at the core's STATUS while nothing else is to be done, at least 1.
    parameter integer POLL_CYCLES = 65536
) (
    input  wire        clk,
    input  wire        rst,

    input  wire [7:0]  rx_data,
    input  wire        rx_valid,
    input  wire        rx_error,

    output wire [7:0]  m_axis_tdata,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready,

    output wire [23:0] m_pixel_tdata,
    output wire        m_pixel_tvalid,
    input  wire        m_pixel_tready,
    output wire        m_pixel_tlast,

    output wire [31:0] m_load_tdata,
    output wire        m_load_tvalid,
    input  wire        m_load_tready,
    output wire        m_load_tlast,

    input  wire [31:0] s_result_tdata,
    input  wire        s_result_tvalid,
    output wire        s_result_tready,
    input  wire        s_result_tlast,

    output wire [11:0] m_axil_awaddr,
    output wire [2:0]  m_axil_awprot,
    output wire        m_axil_awvalid,
    input  wire        m_axil_awready,
    output wire [31:0] m_axil_wdata,
    output wire [3:0]  m_axil_wstrb,
    output wire        m_axil_wvalid,
    input  wire        m_axil_wready,
    input  wire [1:0]  m_axil_bresp,
    input  wire        m_axil_bvalid,
    output wire        m_axil_bready,
    output wire [11:0] m_axil_araddr,
    output wire [2:0]  m_axil_arprot,
    output wire        m_axil_arvalid,
    input  wire        m_axil_arready,
    input  wire [31:0] m_axil_rdata,
    input  wire [1:0]  m_axil_rresp,
    input  wire        m_axil_rvalid,
    output wire        m_axil_rready,

    // The core's STATUS when last seen: ready, loading, frame error, load error.
    output wire [3:0]  status_core,
    // A packet was bad, a byte had no stop bit, or bytes were lost since reset.
    output wire        status_error
);

generate
    if (PIXELS < 1) begin : gen_check_pixels
        PIXELS_must_be_at_least_1 param_error ();
    end
    if (TAGS < 2 || TAGS > 251) begin : gen_check_tags
        TAGS_must_be_2_to_251 param_error ();
    end
    if (POLL_CYCLES < 1) begin : gen_check_poll_cycles
        POLL_CYCLES_must_be_at_least_1 param_error ();
    end
endgenerate

localparam [7:0] VERSION = 8'd1;

// Types of requests; the answer's is 80 more.
localparam [7:0] PING  = 8'h01;
localparam [7:0] READ  = 8'h02;
localparam [7:0] WRITE = 8'h03;
localparam [7:0] IMAGE = 8'h04;
localparam [7:0] LOAD  = 8'h05;
localparam [7:0] NACK  = 8'hff;

// Reasons of a NACK, with those of abbnn_packet_rx and abbnn_link_rx.
localparam [3:0] REASON_LENGTH    = 4'd2;
localparam [3:0] REASON_TYPE      = 4'd3;
localparam [3:0] REASON_REFUSED   = 4'd7;
localparam [3:0] REASON_NOT_READY = 4'd8;

localparam [11:0] CONTROL = 12'h01c;
localparam [11:0] STATUS  = 12'h020;

localparam integer IMAGE_BYTES  = 3 * PIXELS;
localparam integer WINDOW       = RX_BYTES - 64;
localparam integer CREDIT_BYTES = WINDOW / 4;
localparam integer POLL_WIDTH   = $clog2(POLL_CYCLES + 1);
// What the FIFO holds: its memory and two registers. Shown to hosts as the images that may be under way.
localparam integer IMAGES       = TAGS + 4;

// ---- packets in

wire [7:0]  payload_tdata;
wire        payload_tvalid;
wire        payload_tready;
wire [7:0]  header_type;
wire [7:0]  header_tag;
wire [23:0] header_length;
wire        header_valid;
wire        header_ready;
wire        header_take;
wire [3:0]  end_reason;
wire        end_valid;
wire        end_ready;
wire [31:0] consumed;
wire [15:0] line_errors;
wire [15:0] losses;

abbnn_link_rx #(
    .RX_BYTES(RX_BYTES),
    .GAP_CYCLES(GAP_CYCLES)
) receive_inst (
    .clk(clk),
    .rst(rst),
    .rx_data(rx_data),
    .rx_valid(rx_valid),
    .rx_error(rx_error),
    .m_axis_tdata(payload_tdata),
    .m_axis_tvalid(payload_tvalid),
    .m_axis_tready(payload_tready),
    .header_type(header_type),
    .header_tag(header_tag),
    .header_length(header_length),
    .header_valid(header_valid),
    .header_ready(header_ready),
    .header_take(header_take),
    .end_reason(end_reason),
    .end_valid(end_valid),
    .end_ready(end_ready),
    .consumed(consumed),
    .line_errors(line_errors),
    .losses(losses)
);

// ---- one request after the other

localparam [3:0] IDLE    = 4'd0;
localparam [3:0] DECIDE  = 4'd1;
localparam [3:0] LOOK    = 4'd2;
localparam [3:0] PASS    = 4'd3;
localparam [3:0] TAG     = 4'd4;
localparam [3:0] VERDICT = 4'd5;
localparam [3:0] QUIET   = 4'd6;
localparam [3:0] ACCESS  = 4'd7;
localparam [3:0] SETTLE  = 4'd8;
localparam [3:0] ANSWER  = 4'd9;

// Where the payload goes.
localparam [1:0] TO_NOWHERE = 2'd0;
localparam [1:0] TO_PIXELS  = 2'd1;
localparam [1:0] TO_WORDS   = 2'd2;
localparam [1:0] TO_FIELDS  = 2'd3;

reg [3:0]            state_reg;
reg [1:0]            target_reg;
reg [7:0]            type_reg;
reg [7:0]            tag_reg;
// What the header says is right: length_ok_reg for the type, type_ok_reg the type.
reg                  length_ok_reg;
reg                  type_ok_reg;
reg                  is_ping_reg;
reg                  is_write_reg;
reg                  is_image_reg;
reg                  header_ready_reg;
reg [3:0]            reason_reg;
// Payload of a read (address) or a write (address, value), the first byte lowest where all have come.
reg [47:0]           fields_reg;
// What the fields mean: they stay for a packet's four bytes of CRC.
reg                  is_reset_reg;
reg                  is_foreign_reg;
reg                  request_reg;
reg                  asked_reg;
reg                  idle_look_reg;
reg [3:0]            status_reg;
reg                  flush_reg;
reg                  hold_reg;
reg                  gathered_reg;
reg [15:0]           bad_packets_reg;
reg [POLL_WIDTH-1:0] poll_reg;

wire         asking       = state_reg == LOOK || state_reg == ACCESS || state_reg == SETTLE;
wire [15:0]  address      = is_write_reg ? fields_reg[15:0] : fields_reg[47:32];
wire         poll         = poll_reg == {POLL_WIDTH{1'b0}};
wire         pixel_tready;
wire         word_tready;
wire         pixel_end_ready;
wire         word_end_ready;
wire         gather_end   = state_reg == VERDICT;
wire         gathered     = target_reg == TO_PIXELS ? pixel_end_ready : word_end_ready;
wire         good         = reason_reg == 4'd0;
wire         tag_tready;
wire         request_ready;
wire         done;
wire [31:0]  read_data;
wire         error;
wire         answer_ready;
wire         results_idle;

wire look_ready   = read_data[1:0] == 2'b01;
wire look_refused = read_data[1:0] == 2'b00;

assign header_ready   = header_ready_reg;
assign header_take    = type_ok_reg && length_ok_reg;
assign payload_tready = target_reg == TO_PIXELS ? pixel_tready : target_reg == TO_WORDS ? word_tready : 1'b1;
assign end_ready      = state_reg == PASS;

always @(posedge clk) begin
    if (state_reg == IDLE) begin
        type_reg     <= header_type;
        tag_reg      <= header_tag;
        type_ok_reg  <= header_type >= PING && header_type <= LOAD;
        is_ping_reg  <= header_type == PING;
        is_write_reg <= header_type == WRITE;
        is_image_reg <= header_type == IMAGE;
        case (header_type)
            PING:    length_ok_reg <= header_length == 24'd0;
            READ:    length_ok_reg <= header_length == 24'd2;
            WRITE:   length_ok_reg <= header_length == 24'd6;
            IMAGE:   length_ok_reg <= header_length == IMAGE_BYTES[23:0];
            default: length_ok_reg <= header_length[1:0] == 2'd0 && header_length[23:2] != 22'd0;
        endcase
        idle_look_reg <= !header_valid;
    end
    if (payload_tvalid && target_reg == TO_FIELDS) begin
        fields_reg <= {payload_tdata, fields_reg[47:8]};
    end
    is_reset_reg   <= is_write_reg && address[15:2] == {4'd0, CONTROL[11:2]} && fields_reg[16];
    is_foreign_reg <= address[15:12] != 4'd0;
end

always @(posedge clk) begin
    // A cycle late: what is known of the header stays for longer.
    header_ready_reg <= (state_reg == DECIDE && !(header_take && is_image_reg)) ||
                        (state_reg == LOOK && done && !idle_look_reg && (look_ready || look_refused));
    flush_reg <= 1'b0;
    // Until then the gatherer's verdict stays.
    gathered_reg <= gather_end && gathered;
    poll_reg  <= state_reg == LOOK ? POLL_CYCLES[POLL_WIDTH-1:0] : poll ? poll_reg : poll_reg - 1'b1;
    asked_reg   <= asked_reg ? !done : asking;
    request_reg <= request_reg ? !request_ready : asking && !asked_reg;
    if (end_valid && end_ready && end_reason != 4'd0 && bad_packets_reg != 16'hffff) begin
        bad_packets_reg <= bad_packets_reg + 16'd1;
    end
    case (state_reg)
        IDLE: begin
            if (header_valid) begin
                state_reg <= DECIDE;
            end else if (poll) begin
                state_reg <= LOOK;
            end
        end
        DECIDE: begin
            reason_reg <= type_ok_reg ? REASON_LENGTH : REASON_TYPE;
            target_reg <= type_reg == LOAD ? TO_WORDS : TO_FIELDS;
            if (!header_take) begin
                state_reg <= ANSWER;
            end else begin
                state_reg <= is_image_reg ? LOOK : PASS;
            end
        end
        LOOK: begin
            if (done) begin
                status_reg <= read_data[3:0];
                target_reg <= look_ready ? TO_PIXELS : TO_NOWHERE;
                if (idle_look_reg) begin
                    state_reg <= IDLE;
                end else if (look_ready || look_refused) begin
                    state_reg <= PASS;
                end
            end
        end
        PASS: begin
            reason_reg <= end_reason;
            if (end_valid) begin
                if (target_reg == TO_PIXELS) begin
                    state_reg <= end_reason == 4'd0 ? TAG : VERDICT;
                end else if (target_reg == TO_WORDS) begin
                    state_reg <= VERDICT;
                end else if (end_reason != 4'd0) begin
                    state_reg <= ANSWER;
                end else if (target_reg == TO_NOWHERE) begin
                    reason_reg <= REASON_NOT_READY;
                    state_reg  <= ANSWER;
                end else begin
                    state_reg <= is_ping_reg ? ANSWER : QUIET;
                end
            end
        end
        TAG: begin
            state_reg <= tag_tready ? VERDICT : TAG;
        end
        VERDICT: begin
            if (gathered_reg) begin
                state_reg <= (target_reg == TO_PIXELS && good) ? IDLE : ANSWER;
            end
        end
        QUIET: begin
            // A soft reset takes no result that is on its way to the line.
            hold_reg <= is_reset_reg;
            if (is_foreign_reg) begin
                reason_reg <= REASON_REFUSED;
                state_reg  <= ANSWER;
            end else if (!is_reset_reg || (hold_reg && results_idle)) begin
                state_reg <= ACCESS;
            end
        end
        ACCESS: begin
            if (done) begin
                reason_reg <= error ? REASON_REFUSED : 4'd0;
                state_reg  <= is_reset_reg ? SETTLE : ANSWER;
            end
        end
        SETTLE: begin
            if (done && !read_data[0]) begin
                flush_reg <= 1'b1;
                hold_reg  <= 1'b0;
                state_reg <= ANSWER;
            end
        end
        default: begin
            if (answer_ready) begin
                state_reg <= IDLE;
            end
        end
    endcase
    if (rst) begin
        state_reg       <= IDLE;
        target_reg      <= TO_NOWHERE;
        request_reg     <= 1'b0;
        asked_reg       <= 1'b0;
        status_reg      <= 4'd0;
        hold_reg        <= 1'b0;
        poll_reg        <= POLL_CYCLES[POLL_WIDTH-1:0];
        bad_packets_reg <= 16'd0;
    end
end

assign status_core  = status_reg;
assign status_error = |bad_packets_reg || |line_errors || |losses;

abbnn_gather #(
    .BYTES(3)
) pixel_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(payload_tdata),
    .s_axis_tvalid(payload_tvalid && target_reg == TO_PIXELS),
    .s_axis_tready(pixel_tready),
    .end_good(good),
    .end_valid(gather_end && target_reg == TO_PIXELS),
    .end_ready(pixel_end_ready),
    .m_axis_tdata(m_pixel_tdata),
    .m_axis_tvalid(m_pixel_tvalid),
    .m_axis_tready(m_pixel_tready),
    .m_axis_tlast(m_pixel_tlast)
);

abbnn_gather #(
    .BYTES(4)
) word_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(payload_tdata),
    .s_axis_tvalid(payload_tvalid && target_reg == TO_WORDS),
    .s_axis_tready(word_tready),
    .end_good(good),
    .end_valid(gather_end && target_reg == TO_WORDS),
    .end_ready(word_end_ready),
    .m_axis_tdata(m_load_tdata),
    .m_axis_tvalid(m_load_tvalid),
    .m_axis_tready(m_load_tready),
    .m_axis_tlast(m_load_tlast)
);

abbnn_axil_master #(
    .ADDRESS_WIDTH(12)
) access_inst (
    .clk(clk),
    .rst(rst),
    .request_write(state_reg == ACCESS && is_write_reg),
    .request_address(state_reg == LOOK ? STATUS : state_reg == SETTLE ? CONTROL : address[11:0]),
    .request_data(fields_reg[47:16]),
    .request_valid(request_reg),
    .request_ready(request_ready),
    .done(done),
    .read_data(read_data),
    .error(error),
    .m_axil_awaddr(m_axil_awaddr),
    .m_axil_awprot(m_axil_awprot),
    .m_axil_awvalid(m_axil_awvalid),
    .m_axil_awready(m_axil_awready),
    .m_axil_wdata(m_axil_wdata),
    .m_axil_wstrb(m_axil_wstrb),
    .m_axil_wvalid(m_axil_wvalid),
    .m_axil_wready(m_axil_wready),
    .m_axil_bresp(m_axil_bresp),
    .m_axil_bvalid(m_axil_bvalid),
    .m_axil_bready(m_axil_bready),
    .m_axil_araddr(m_axil_araddr),
    .m_axil_arprot(m_axil_arprot),
    .m_axil_arvalid(m_axil_arvalid),
    .m_axil_arready(m_axil_arready),
    .m_axil_rdata(m_axil_rdata),
    .m_axil_rresp(m_axil_rresp),
    .m_axil_rvalid(m_axil_rvalid),
    .m_axil_rready(m_axil_rready)
);

// ---- tags of the images under way, and what goes back

wire [7:0] first_tag_tdata;
wire       first_tag_tvalid;
wire       first_tag_tready;
wire [7:0] result_tag_tdata;
wire       result_tag_tvalid;
wire       result_tag_tready;

abbnn_fifo #(
    .DATA_WIDTH(8),
    .DEPTH(TAGS)
) tag_inst (
    .clk(clk),
    .rst(rst || flush_reg),
    .s_axis_tdata(tag_reg),
    .s_axis_tvalid(state_reg == TAG),
    .s_axis_tready(tag_tready),
    .m_axis_tdata(first_tag_tdata),
    .m_axis_tvalid(first_tag_tvalid),
    .m_axis_tready(first_tag_tready)
);

// The choice of what to send is a long path, and all of the FIFO's reading would hang on it.
abbnn_skid #(
    .DATA_WIDTH(8)
) tag_skid_inst (
    .clk(clk),
    .rst(rst || flush_reg),
    .s_axis_tdata(first_tag_tdata),
    .s_axis_tvalid(first_tag_tvalid),
    .s_axis_tready(first_tag_tready),
    .m_axis_tdata(result_tag_tdata),
    .m_axis_tvalid(result_tag_tvalid),
    .m_axis_tready(result_tag_tready)
);

wire [127:0] identity = {losses, line_errors, consumed, WINDOW[31:0], bad_packets_reg, IMAGES[7:0], VERSION};
wire [15:0]  refusal  = {type_reg, 4'd0, reason_reg};

// How to answer, one cycle after it is settled: it is chosen far from where it is sent.
reg [7:0] answer_type_reg;
reg [4:0] answer_length_reg;
reg       refused_reg;
reg       answer_valid_reg;

// Only as many bytes of it are sent as answer_length_reg says.
wire [31:0] answer_low = refused_reg ? {16'd0, refusal} : is_ping_reg ? identity[31:0] : read_data;

always @(posedge clk) begin
    answer_type_reg   <= good ? type_reg | 8'h80 : NACK;
    answer_length_reg <= !good ? 5'd2 : is_ping_reg ? 5'd16 : type_reg == READ ? 5'd4 : 5'd0;
    refused_reg       <= !good;
    answer_valid_reg  <= state_reg == ANSWER && !answer_ready && !rst;
end

abbnn_link_tx #(
    .CLASSES(CLASSES),
    .CREDIT_BYTES(CREDIT_BYTES)
) send_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(s_result_tdata),
    .s_axis_tvalid(s_result_tvalid),
    .s_axis_tready(s_result_tready),
    .s_axis_tlast(s_result_tlast),
    .s_tag_tdata(result_tag_tdata),
    .s_tag_tvalid(result_tag_tvalid),
    .s_tag_tready(result_tag_tready),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready),
    .answer_type(answer_type_reg),
    .answer_tag(tag_reg),
    .answer_length(answer_length_reg),
    .answer_data({identity[127:32], answer_low}),
    .answer_valid(answer_valid_reg),
    .answer_ready(answer_ready),
    .consumed(consumed),
    .hold(hold_reg),
    .drop(state_reg == SETTLE),
    .idle(results_idle)
);

endmodule

`resetall
