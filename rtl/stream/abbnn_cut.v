// abbnn_cut.v : output register of an AXI4-Stream that ends the packet which a reset cuts
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// As abbnn_skid: m_axis = s_axis, one cycle later, one beat a cycle, s_axis_tready a register.
//
// While `cut` is high, what comes on s_axis is dropped, and so is a beat that waits and was never on m_axis. The beat on
// m_axis stays until it is taken. If its packet then still lacks its tlast, one beat ends it: all ones, with tlast.
// rst drops everything at once.
module abbnn_cut #(
    // Bits of one beat, at least 1.
    parameter integer DATA_WIDTH = 32
) (
    input  wire                  clk,
    input  wire                  rst,

    input  wire [DATA_WIDTH-1:0] s_axis_tdata,
    input  wire                  s_axis_tvalid,
    output wire                  s_axis_tready,
    input  wire                  s_axis_tlast,

    output wire [DATA_WIDTH-1:0] m_axis_tdata,
    output wire                  m_axis_tvalid,
    input  wire                  m_axis_tready,
    output wire                  m_axis_tlast,

    input  wire                  cut
);

generate
    if (DATA_WIDTH < 1) begin : gen_check_data_width
        DATA_WIDTH_must_be_at_least_1 param_error ();
    end
endgenerate

// tlast on top.
localparam [DATA_WIDTH:0] END = {DATA_WIDTH+1{1'b1}};

reg [DATA_WIDTH-1:0] data_reg;
// Of the last beat that was put on m_axis: 0 as long as a packet is open.
reg                  last_reg;
reg [DATA_WIDTH:0]   skid_reg;
reg                  valid_reg;
// The skid register is free.
reg                  ready_reg;

wire                advance    = m_axis_tready || !valid_reg;
wire [DATA_WIDTH:0] next       = cut ? END : ready_reg ? {s_axis_tlast, s_axis_tdata} : skid_reg;
wire                next_valid = cut ? !last_reg : !ready_reg || s_axis_tvalid;

assign s_axis_tready = ready_reg;
assign m_axis_tdata  = data_reg;
assign m_axis_tvalid = valid_reg;
assign m_axis_tlast  = last_reg;

always @(posedge clk) begin
    if (advance) begin
        data_reg  <= next[DATA_WIDTH-1:0];
        valid_reg <= next_valid;
    end
    if (advance && next_valid) begin
        last_reg <= next[DATA_WIDTH];
    end
    if (cut) begin
        skid_reg <= END;
    end else if (ready_reg) begin
        skid_reg <= {s_axis_tlast, s_axis_tdata};
    end
    ready_reg <= advance || (cut ? last_reg : ready_reg && !s_axis_tvalid);
    if (rst) begin
        last_reg  <= 1'b1;
        valid_reg <= 1'b0;
        ready_reg <= 1'b1;
    end
end

endmodule

`resetall
