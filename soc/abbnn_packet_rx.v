// abbnn_packet_rx.v : finds packets in a stream of bytes and checks them
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// Packet, docs/protocol.md: AB 4E, type, tag, length (3 bytes), check (2 bytes), payload, CRC-32 (4 bytes); numbers have
// the low byte first. check = low half of the CRC-32 of type, tag and length; the CRC-32 goes on over the payload.
//
// s_axis: bits 7:0 a byte, or with bit 8 set a mark in place of bytes that are worth nothing: LINE for one without a stop
// bit, LOST for any number that found no room.
//
// The last nine bytes are looked at together, so a header is found wherever it begins, whatever stands in front of it.
// Then, in this order:
//   header_*   offered until header_ready; header_take = 0 drops the packet, and what follows is looked at like any bytes.
//   m_axis     the payload. Nothing of it is checked yet.
//   end_*      offered until end_ready; end_reason is 0 for a packet that is whole, else why it is not: CHECKSUM, GAP
//              (GAP_CYCLES without a byte), LINE, LOST. A bad packet may end before all of its payload has come.
// `consumed` counts the bytes that have been looked at, marks LINE among them, marks LOST not; it wraps around.
//
// A byte takes two cycles: one in which it leaves its register, so that s_axis_tready depends on a register only, and one
// in which everything that it leads to is done, so that m_axis_tready and header_ready are at the end of short paths.
module abbnn_packet_rx #(
    // Cycles without a byte after which a packet that has begun is given up, at least 1.
    parameter integer GAP_CYCLES = 25000000
) (
    input  wire        clk,
    input  wire        rst,

    input  wire [8:0]  s_axis_tdata,
    input  wire        s_axis_tvalid,
    output wire        s_axis_tready,

    output wire [7:0]  m_axis_tdata,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready,

    output wire [7:0]  header_type,
    output wire [7:0]  header_tag,
    output wire [23:0] header_length,
    output wire        header_valid,
    input  wire        header_ready,
    input  wire        header_take,

    output wire [3:0]  end_reason,
    output wire        end_valid,
    input  wire        end_ready,

    output wire [31:0] consumed
);

generate
    if (GAP_CYCLES < 1) begin : gen_check_gap_cycles
        GAP_CYCLES_must_be_at_least_1 param_error ();
    end
endgenerate

localparam [15:0] SYNC = 16'h4eab;

localparam [3:0] CHECKSUM = 4'd1;
localparam [3:0] GAP      = 4'd4;

// Marks are the reasons that they lead to.
localparam [7:0] MARK_LOST = 8'd6;

localparam integer GAP_WIDTH = $clog2(GAP_CYCLES + 1);

localparam [2:0] HUNT    = 3'd0;
localparam [2:0] CHECK   = 3'd1;
localparam [2:0] MATCH   = 3'd2;
localparam [2:0] OFFER   = 3'd3;
localparam [2:0] PAYLOAD = 3'd4;
localparam [2:0] SUM     = 3'd5;
localparam [2:0] END     = 3'd6;
localparam [2:0] HASH    = 3'd7;

reg [2:0]           state_reg;
reg [8:0]           byte_reg;
reg                 full_reg;
// byte_reg has been taken in the cycle before.
reg                 taken_reg;
// The last nine bytes, the oldest lowest.
reg [71:0]          window_reg;
// What is to come into the header's CRC-32, the next byte lowest, and the bytes less 1.
reg [39:0]          hash_reg;
reg [2:0]           hash_count_reg;
// Of all bytes but crc_byte_reg, if that is one.
reg [31:0]          crc_reg;
reg [7:0]           crc_byte_reg;
reg                 crc_step_reg;
// The header says that there is no payload.
reg                 empty_reg;
reg [23:0]          remaining_reg;
reg                 last_reg;
reg [1:0]           sum_count_reg;
reg                 sum_wrong_reg;
reg [3:0]           reason_reg;
reg [GAP_WIDTH-1:0] gap_reg;
reg                 late_reg;
reg [31:0]          consumed_reg;

wire mark  = byte_reg[8];
wire begun = state_reg == PAYLOAD || state_reg == SUM;
wire take  = full_reg && (state_reg == HUNT || state_reg == SUM || (state_reg == PAYLOAD && (mark || m_axis_tready)));
wire late  = late_reg && !full_reg;
wire match = window_reg[71:56] == ~crc_reg[15:0];
wire wrong = byte_reg[7:0] != ~crc_reg[7:0];

assign s_axis_tready = !full_reg;
assign m_axis_tdata  = byte_reg[7:0];
assign m_axis_tvalid = state_reg == PAYLOAD && full_reg && !mark;
assign header_type   = window_reg[23:16];
assign header_tag    = window_reg[31:24];
assign header_length = window_reg[55:32];
assign header_valid  = state_reg == OFFER;
assign end_reason    = reason_reg;
assign end_valid     = state_reg == END;
assign consumed      = consumed_reg;

// Of a header byte in HASH, else of a payload byte: all five bytes of a header at once would be a path of ten LUTs.
wire [31:0] next_crc;

abbnn_crc32 #(
    .WIDTH(8)
) crc_inst (
    .state(crc_reg),
    .data(crc_byte_reg),
    .next(next_crc)
);

always @(posedge clk) begin
    if (s_axis_tready) begin
        byte_reg <= s_axis_tdata;
    end
    empty_reg <= header_length == 24'd0;
    last_reg  <= remaining_reg == 24'd1;
    if (state_reg == CHECK) begin
        hash_reg       <= window_reg[55:16];
        hash_count_reg <= 3'd4;
    end else if (state_reg == HASH) begin
        hash_reg       <= {8'd0, hash_reg[39:8]};
        hash_count_reg <= hash_count_reg - 3'd1;
    end else if (state_reg == OFFER) begin
        remaining_reg <= header_length;
        sum_count_reg <= 2'd0;
        sum_wrong_reg <= 1'b0;
    end else if (taken_reg && state_reg == PAYLOAD) begin
        remaining_reg <= remaining_reg - 24'd1;
    end else if (taken_reg) begin
        sum_count_reg <= sum_count_reg + 2'd1;
        sum_wrong_reg <= sum_wrong_reg || wrong;
    end
    // A byte is taken every other cycle at most, so that the last one of the payload is in when the CRC-32 is looked at.
    crc_byte_reg <= state_reg == HASH ? hash_reg[7:0] : byte_reg[7:0];
    crc_step_reg <= state_reg == HASH || (taken_reg && state_reg == PAYLOAD);
    if (state_reg == CHECK) begin
        crc_reg <= 32'hffffffff;
    end else if (crc_step_reg) begin
        crc_reg <= next_crc;
    end else if (taken_reg && state_reg == SUM) begin
        crc_reg <= {8'h00, crc_reg[31:8]};
    end
    if (begun && taken_reg && mark) begin
        reason_reg <= byte_reg[3:0];
    end else if (begun && taken_reg) begin
        reason_reg <= (sum_wrong_reg || wrong) ? CHECKSUM : 4'd0;
    end else if (begun && late) begin
        reason_reg <= GAP;
    end
    gap_reg  <= (begun && !full_reg) ? gap_reg + 1'b1 : {GAP_WIDTH{1'b0}};
    late_reg <= begun && !full_reg && gap_reg == GAP_CYCLES[GAP_WIDTH-1:0];
end

always @(posedge clk) begin
    full_reg  <= s_axis_tready ? s_axis_tvalid : !take;
    taken_reg <= take;
    if (taken_reg && !(mark && byte_reg[7:0] == MARK_LOST)) begin
        consumed_reg <= consumed_reg + 32'd1;
    end
    // Nothing of a packet is looked at again.
    if (taken_reg && mark || state_reg == END) begin
        window_reg <= 72'd0;
    end else if (taken_reg && state_reg == HUNT) begin
        window_reg <= {byte_reg[7:0], window_reg[71:8]};
    end
    case (state_reg)
        HUNT: begin
            if (taken_reg && !mark) begin
                state_reg <= CHECK;
            end
        end
        CHECK: begin
            state_reg <= window_reg[15:0] == SYNC ? HASH : HUNT;
        end
        HASH: begin
            state_reg <= hash_count_reg == 3'd0 ? MATCH : HASH;
        end
        MATCH: begin
            if (!crc_step_reg) begin
                state_reg <= match ? OFFER : HUNT;
            end
        end
        OFFER: begin
            if (header_ready && !header_take) begin
                state_reg <= HUNT;
            end else if (header_ready) begin
                state_reg <= empty_reg ? SUM : PAYLOAD;
            end
        end
        PAYLOAD: begin
            if (taken_reg && mark || late) begin
                state_reg <= END;
            end else if (taken_reg && last_reg) begin
                state_reg <= SUM;
            end
        end
        SUM: begin
            if (taken_reg && (mark || sum_count_reg == 2'd3) || late) begin
                state_reg <= END;
            end
        end
        default: begin
            if (end_ready) begin
                state_reg <= HUNT;
            end
        end
    endcase
    if (rst) begin
        state_reg    <= HUNT;
        full_reg     <= 1'b0;
        taken_reg    <= 1'b0;
        window_reg   <= 72'd0;
        consumed_reg <= 32'd0;
    end
end

endmodule

`resetall
