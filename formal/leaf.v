// leaf.v : harness of lane arithmetic: each result is that of its definition
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`default_nettype none

// `DEFINITION is the result of `x and the table word `w, as a signed number of 32 bits. Any value and word come in any
// cycle, and the output is always taken; `LATENCY cycles later the result is there, saturated to `M_WIDTH bits where
// `SATURATE is 1. After so many cycles nothing is left of the first state, so any may be the first.
module abbnn_table #(
    parameter integer WIDTH = 1,
    parameter integer DEPTH = 1,
    parameter TABLE_FILE = "",
    parameter integer LOAD_MEMORY = -1
) (
    input  wire             clk,
    input  wire             rst,
    input  wire [76:0]      load,
    input  wire             step,
    output wire [WIDTH-1:0] word
);

assign word = load[WIDTH-1:0];

endmodule

module top (
    input  wire                clk,
    input  wire                s_valid,
    input  wire [`S_WIDTH-1:0] s_data,
    input  wire [76:0]         table_word,
    output wire                bad
);

localparam integer BITS = 32;

wire signed [BITS-1:0] x       = {{BITS-`S_WIDTH{s_data[`S_WIDTH-1]}}, s_data};
wire        [76:0]     w       = table_word;
wire signed [BITS-1:0] whole   = `DEFINITION;
wire signed [BITS-1:0] highest = (32'sd1 <<< (`M_WIDTH - 1)) - 32'sd1;
wire signed [BITS-1:0] limited = whole > highest ? highest : whole < ~highest ? ~highest : whole;
wire [`M_WIDTH-1:0]    result  = `SATURATE ? limited[`M_WIDTH-1:0] : whole[`M_WIDTH-1:0];

wire                m_valid;
wire [`M_WIDTH-1:0] m_data;

reg [`LATENCY*(`M_WIDTH+1)-1:0] expected;

`DUT #(`PARAMETERS) dut (
    .clk(clk), .rst(1'b0),
`ifdef HAS_TABLE
    .load(table_word),
`endif
    .s_axis_tdata(s_data), .s_axis_tvalid(s_valid),
    .m_axis_tdata(m_data), .m_axis_tvalid(m_valid), .m_axis_tready(1'b1)
);

wire [`M_WIDTH:0] now = expected[`LATENCY*(`M_WIDTH+1)-1 -: `M_WIDTH+1];

assign bad = m_valid != now[`M_WIDTH] || (m_valid && m_data != now[`M_WIDTH-1:0]);

always @(posedge clk) begin
    expected <= {expected, s_valid, result};
end

endmodule
