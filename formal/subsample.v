// subsample.v : harness of abbnn_subsample: the beats of even rows and columns, and no others
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`default_nettype none

module top (
    input  wire clk,
    input  wire rst_in,
    input  wire send,
    input  wire any,
    input  wire m_ready,
    output wire bad
);

reg       first   = 1'b1;
wire      rst     = first || rst_in;
reg       waiting = 1'b0;
reg       kept    = 1'b0;
// The position of the source's beat.
reg [3:0] group   = 4'd0;
reg [3:0] column  = 4'd0;
reg [3:0] row     = 4'd0;

wire s_valid = waiting || send;
wire s_data  = waiting ? kept : any;
wire passes  = !row[0] && !column[0];

wire s_ready;
wire m_valid;
wire m_data;

abbnn_subsample #(.DATA_WIDTH(1), .GROUPS(`GROUPS), .HEIGHT(`HEIGHT), .WIDTH(`WIDTH)) dut (
    .clk(clk), .rst(rst), .s_axis_tdata(s_data), .s_axis_tvalid(s_valid), .s_axis_tready(s_ready),
    .m_axis_tdata(m_data), .m_axis_tvalid(m_valid), .m_axis_tready(m_ready)
);

assign bad = !rst && (
    m_valid != (s_valid && passes) || (m_valid && m_data != s_data)
    || (s_valid && s_ready != (!passes || m_ready)));

always @(posedge clk) begin
    first   <= 1'b0;
    waiting <= s_valid && !s_ready && !rst;
    kept    <= s_data;
    if (s_valid && s_ready) begin
        group <= group + 4'd1;
        if (group == `GROUPS - 1) begin
            group  <= 4'd0;
            column <= column + 4'd1;
            if (column == `WIDTH - 1) begin
                column <= 4'd0;
                row    <= row == `HEIGHT - 1 ? 4'd0 : row + 4'd1;
            end
        end
    end
    if (rst) begin
        group  <= 4'd0;
        column <= 4'd0;
        row    <= 4'd0;
    end
end

endmodule
