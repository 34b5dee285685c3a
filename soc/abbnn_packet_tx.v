// abbnn_packet_tx.v : puts header and CRC-32 around a payload
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// m_axis = AB 4E, type, tag, length (3 bytes), check (2 bytes), payload, CRC-32 (4 bytes), as abbnn_packet_rx takes them
// apart. The payload is what s_axis brings after the header has been taken, length bytes.
//
// For a slow line: a byte goes into the output register when that has been empty for a cycle, so every third cycle at most.
// Until then the CRC-32 of the byte before is there, and nothing but the output register hangs on m_axis_tready.
module abbnn_packet_tx (
    input  wire        clk,
    input  wire        rst,

    input  wire [7:0]  header_type,
    input  wire [7:0]  header_tag,
    input  wire [23:0] header_length,
    input  wire        header_valid,
    output wire        header_ready,

    input  wire [7:0]  s_axis_tdata,
    input  wire        s_axis_tvalid,
    output wire        s_axis_tready,

    output wire [7:0]  m_axis_tdata,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready
);

localparam [15:0] SYNC = 16'h4eab;

localparam [2:0] IDLE    = 3'd0;
localparam [2:0] START   = 3'd1;
localparam [2:0] HEADER  = 3'd2;
localparam [2:0] CHECK   = 3'd3;
localparam [2:0] PAYLOAD = 3'd4;
localparam [2:0] SUM     = 3'd5;

reg [2:0]  state_reg;
// Bytes of this state less 1; in PAYLOAD that of SUM.
reg [2:0]  count_reg;
// Type, tag and length, the next byte lowest.
reg [39:0] header_reg;
// Bytes of the payload that come behind the next one.
reg [23:0] remaining_reg;
reg        none_reg;
// Of all bytes but crc_byte_reg, if that is one.
reg [31:0] crc_reg;
reg [7:0]  crc_byte_reg;
reg        crc_step_reg;
reg        spent_reg;
// The next byte where it is none of the payload.
reg [7:0]  own_reg;
reg [7:0]  data_reg;
reg        valid_reg;
reg        late_reg;

wire       payload = state_reg == PAYLOAD;
wire       free    = !valid_reg && !late_reg;
wire       give    = free && (payload ? s_axis_tvalid : !header_ready);
wire       last    = count_reg == 3'd0;
wire [7:0] next    = payload ? s_axis_tdata : own_reg;

assign header_ready  = state_reg == IDLE;
assign s_axis_tready = payload && free;
assign m_axis_tdata  = data_reg;
assign m_axis_tvalid = valid_reg;

wire [31:0] next_crc;

abbnn_crc32 #(
    .WIDTH(8)
) crc_inst (
    .state(crc_reg),
    .data(crc_byte_reg),
    .next(next_crc)
);

always @(posedge clk) begin
    none_reg     <= remaining_reg == 24'd0;
    crc_byte_reg <= next;
    crc_step_reg <= give && (payload || state_reg == HEADER);
    spent_reg    <= give && (payload || (state_reg == CHECK && last));
    if (header_ready) begin
        header_reg    <= {header_length, header_tag, header_type};
        remaining_reg <= header_length;
        crc_reg       <= 32'hffffffff;
    end else begin
        if (crc_step_reg) begin
            // Around, as zeros would be a reset.
            header_reg <= {header_reg[7:0], header_reg[39:8]};
            crc_reg    <= next_crc;
        end
        if (spent_reg) begin
            remaining_reg <= remaining_reg - 24'd1;
        end
    end
    if (state_reg == START) begin
        own_reg <= last ? SYNC[15:8] : SYNC[7:0];
    end else if (state_reg == HEADER) begin
        own_reg <= header_reg[7:0];
    end else begin
        case ({state_reg == SUM && !count_reg[1], count_reg[0]})
            2'b01:   own_reg <= ~crc_reg[7:0];
            2'b00:   own_reg <= ~crc_reg[15:8];
            2'b11:   own_reg <= ~crc_reg[23:16];
            default: own_reg <= ~crc_reg[31:24];
        endcase
    end
    if (free) begin
        data_reg <= next;
    end
end

always @(posedge clk) begin
    valid_reg <= valid_reg ? !m_axis_tready : give;
    late_reg  <= valid_reg || header_ready;
    if (header_ready) begin
        count_reg <= 3'd1;
    end else if (give && !payload) begin
        count_reg <= !last ? count_reg - 3'd1 : state_reg == START ? 3'd4 : state_reg == HEADER ? 3'd1 : 3'd3;
    end
    case (state_reg)
        IDLE: begin
            state_reg <= header_valid ? START : IDLE;
        end
        START: begin
            state_reg <= (give && last) ? HEADER : START;
        end
        HEADER: begin
            state_reg <= (give && last) ? CHECK : HEADER;
        end
        CHECK: begin
            if (give && last) begin
                state_reg <= none_reg ? SUM : PAYLOAD;
            end
        end
        PAYLOAD: begin
            state_reg <= (give && none_reg) ? SUM : PAYLOAD;
        end
        default: begin
            state_reg <= (give && last) ? IDLE : SUM;
        end
    endcase
    if (rst) begin
        state_reg <= IDLE;
        valid_reg <= 1'b0;
    end
end

endmodule

`resetall
