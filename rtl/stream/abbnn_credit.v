// abbnn_credit.v : FIFO behind a pipeline that cannot stall, and the leave to feed that pipeline
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// A pipeline without clock enable takes what makes a result only while `ready` is high; `enter` tells of each result, in the
// cycle in which its last input is taken; the results come on s_axis when they come. At most DEPTH results are between
// enter and m_axis, so that none finds the FIFO full. m_axis = s_axis, 3 cycles later when empty.
//
// For a result every n cycles without a break, DEPTH is at least (cycles from enter to s_axis + 5) / n, rounded up.
module abbnn_credit #(
    // Bits of a result, at least 1.
    parameter integer DATA_WIDTH = 8,
    // Results under way, at least 2.
    parameter integer DEPTH = 16
) (
    input  wire                  clk,
    input  wire                  rst,

    output wire                  ready,
    input  wire                  enter,

    input  wire [DATA_WIDTH-1:0] s_axis_tdata,
    input  wire                  s_axis_tvalid,

    output wire [DATA_WIDTH-1:0] m_axis_tdata,
    output wire                  m_axis_tvalid,
    input  wire                  m_axis_tready
);

generate
    if (DATA_WIDTH < 1) begin : gen_check_data_width
        DATA_WIDTH_must_be_at_least_1 param_error ();
    end
    if (DEPTH < 2) begin : gen_check_depth
        DEPTH_must_be_at_least_2 param_error ();
    end
endgenerate

localparam integer COUNT_WIDTH = $clog2(DEPTH + 1);
localparam integer ALMOST      = DEPTH - 1;

reg                    ready_reg;
reg  [COUNT_WIDTH-1:0] count_reg;
reg                    leave_reg;
// Without the sum of the three: `enter` is late.
wire                   full   = count_reg == DEPTH[COUNT_WIDTH-1:0];
wire                   almost = count_reg == ALMOST[COUNT_WIDTH-1:0];
wire                   fifo_tready;
wire                   unused_fifo_tready = &{1'b0, fifo_tready};

assign ready = ready_reg;

always @(posedge clk) begin
    leave_reg <= m_axis_tvalid && m_axis_tready;
    count_reg <= count_reg + {{COUNT_WIDTH-1{1'b0}}, enter} - {{COUNT_WIDTH-1{1'b0}}, leave_reg};
    ready_reg <= leave_reg || !(full || (almost && enter));
    if (rst) begin
        leave_reg <= 1'b0;
        count_reg <= {COUNT_WIDTH{1'b0}};
        ready_reg <= 1'b0;
    end
end

abbnn_fifo #(
    .DATA_WIDTH(DATA_WIDTH),
    .DEPTH(DEPTH)
) fifo_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(s_axis_tdata),
    .s_axis_tvalid(s_axis_tvalid),
    .s_axis_tready(fifo_tready),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready)
);

endmodule

`resetall
