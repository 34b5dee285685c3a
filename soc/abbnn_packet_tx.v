// abbnn_packet_tx.v : puts header and CRC-32 around a payload
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// m_axis = AB 4E, type, tag, length (3 bytes), check (2 bytes), payload, CRC-32 (4 bytes), as abbnn_packet_rx takes them
// apart. The payload is what s_axis brings after the header has been taken, length bytes.
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
localparam [2:0] CHECK   = 3'd1;
localparam [2:0] FILL    = 3'd2;
localparam [2:0] HEADER  = 3'd3;
localparam [2:0] PAYLOAD = 3'd4;
localparam [2:0] TURN    = 3'd5;
localparam [2:0] SUM     = 3'd6;

reg [2:0]  state_reg;
reg [39:0] header_reg;
// Bytes of the header or of the CRC-32 to come, the next lowest, and their number less 1.
reg [71:0] shift_reg;
reg [3:0]  count_reg;
// Of all bytes but crc_byte_reg, if that is one.
reg [31:0] crc_reg;
reg [7:0]  crc_byte_reg;
reg        crc_step_reg;
reg [23:0] remaining_reg;

wire payload = state_reg == PAYLOAD;
wire shift   = state_reg == HEADER || state_reg == SUM;
wire give    = m_axis_tvalid && m_axis_tready;
wire last    = count_reg == 4'd0;

assign header_ready  = state_reg == IDLE;
assign s_axis_tready = payload && m_axis_tready;
assign m_axis_tdata  = payload ? s_axis_tdata : shift_reg[7:0];
assign m_axis_tvalid = shift || (payload && s_axis_tvalid);

// A header byte in CHECK, else a payload byte: all five bytes of a header at once would be a path of ten LUTs.
wire [31:0] next_crc;

abbnn_crc32 #(
    .WIDTH(8)
) crc_inst (
    .state(crc_reg),
    .data(crc_byte_reg),
    .next(next_crc)
);

// The last byte of what stands in front of the CRC-32 leaves; FILL and TURN wait for the CRC-32 of all bytes.
wire        to_sum  = give && ((state_reg == HEADER && last && remaining_reg == 24'd0) ||
                               (payload && remaining_reg == 24'd1));
always @(posedge clk) begin
    if (header_ready) begin
        header_reg    <= {header_length, header_tag, header_type};
        remaining_reg <= header_length;
        crc_reg       <= 32'hffffffff;
    end else if (state_reg == CHECK) begin
        // Around once.
        header_reg <= {header_reg[7:0], header_reg[39:8]};
    end else if (give && payload) begin
        remaining_reg <= remaining_reg - 24'd1;
    end
    if (crc_step_reg) begin
        crc_reg <= next_crc;
    end
    if (header_ready) begin
        count_reg <= 4'd4;
    end else if (state_reg == CHECK) begin
        count_reg <= count_reg - 4'd1;
    end else if (state_reg == FILL) begin
        shift_reg <= {~crc_reg[15:0], header_reg, SYNC};
        count_reg <= 4'd8;
    end else if (state_reg == TURN) begin
        shift_reg <= {shift_reg[71:32], ~crc_reg};
        count_reg <= 4'd3;
    end else if (give && shift) begin
        // Around, as zeros would be a reset that hangs on the line's ready.
        shift_reg <= {shift_reg[7:0], shift_reg[71:8]};
        count_reg <= count_reg - 4'd1;
    end
end

always @(posedge clk) begin
    crc_byte_reg <= (state_reg == CHECK) ? header_reg[7:0] : s_axis_tdata;
    crc_step_reg <= state_reg == CHECK || (give && payload);
    case (state_reg)
        IDLE: begin
            state_reg <= header_valid ? CHECK : IDLE;
        end
        CHECK: begin
            state_reg <= last ? FILL : CHECK;
        end
        FILL: begin
            state_reg <= crc_step_reg ? FILL : HEADER;
        end
        HEADER: begin
            if (to_sum) begin
                state_reg <= TURN;
            end else if (give && last) begin
                state_reg <= PAYLOAD;
            end
        end
        PAYLOAD: begin
            state_reg <= to_sum ? TURN : PAYLOAD;
        end
        TURN: begin
            state_reg <= crc_step_reg ? TURN : SUM;
        end
        default: begin
            state_reg <= (give && last) ? IDLE : SUM;
        end
    endcase
    if (rst) begin
        state_reg    <= IDLE;
        crc_step_reg <= 1'b0;
    end
end

endmodule

`resetall
