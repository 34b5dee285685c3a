// abbnn_skid.v : AXI4-Stream register that cuts every combinational path between its two sides
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// m_axis = s_axis, one cycle later, one beat a cycle. s_axis_tready is a register: when the consumer stalls, the beat
// that was accepted in the same cycle waits in the skid register. Latency 1, one beat a cycle.
module abbnn_skid #(
    // Bits of one beat, at least 1.
    parameter integer DATA_WIDTH = 8
) (
    input  wire                  clk,
    input  wire                  rst,

    input  wire [DATA_WIDTH-1:0] s_axis_tdata,
    input  wire                  s_axis_tvalid,
    output wire                  s_axis_tready,

    output wire [DATA_WIDTH-1:0] m_axis_tdata,
    output wire                  m_axis_tvalid,
    input  wire                  m_axis_tready
);

generate
    if (DATA_WIDTH < 1) begin : gen_check_data_width
        DATA_WIDTH_must_be_at_least_1 param_error ();
    end
endgenerate

reg [DATA_WIDTH-1:0] data_reg;
reg [DATA_WIDTH-1:0] skid_reg;
reg                  valid_reg;
// The skid register is free. Kept in this polarity because it is the clock enable of what stands in front.
reg                  ready_reg;

assign s_axis_tready = ready_reg;
assign m_axis_tdata  = data_reg;
assign m_axis_tvalid = valid_reg;

wire advance = m_axis_tready || !valid_reg;

always @(posedge clk) begin
    if (advance) begin
        data_reg  <= ready_reg ? s_axis_tdata : skid_reg;
        valid_reg <= !ready_reg || s_axis_tvalid;
    end
    if (ready_reg) begin
        skid_reg <= s_axis_tdata;
    end
    ready_reg <= advance || (ready_reg && !s_axis_tvalid);
    if (rst) begin
        valid_reg <= 1'b0;
        ready_reg <= 1'b1;
    end
end

endmodule

`resetall
