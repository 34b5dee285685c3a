// abbnn_popcount.v : number of agreeing bits of two vectors, the inner product of binary networks
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// count = number of ones of a ~^ b, LATENCY enabled clock edges later, one result a cycle.
//
// With ABBNN_COUNTONES it is one $countones (SystemVerilog, fast to simulate) and LATENCY registers. Without it, it is coded
// for 6-input LUTs, or for 4-input LUTs with ABBNN_LUT4. Yosys 0.23, cells after synth_xilinx -family xc7 and after
// synth_ecp5 -nowidelut with ABBNN_LUT4, in brackets a bit:
//
//   WIDTH  LATENCY  xc7: LUT       FF  CARRY4   ECP5: LUT4 + 2 CCU2C   FF
//     288        3      320 (1.11)   90      74           662 (2.30)   87
//     576        4      637 (1.11)  177     146          1320 (2.29)  282
//    1152        4     1233 (1.07)  324     295          2638 (2.29)  331
//    2304        4     2450 (1.06)  327     589          5274 (2.29)  623
module abbnn_popcount #(
    // Bits of each operand, at least 1.
    parameter integer WIDTH = 288,
    // Registers, at least 1.
    parameter integer LATENCY = 3
) (
    input  wire                       clk,
    // Clock enable of all registers.
    input  wire                       enable,

    input  wire [WIDTH-1:0]           a,
    input  wire [WIDTH-1:0]           b,
    output wire [$clog2(WIDTH+1)-1:0] count
);

generate
    if (WIDTH < 1) begin : gen_check_width
        WIDTH_must_be_at_least_1 param_error ();
    end
    if (LATENCY < 1) begin : gen_check_latency
        LATENCY_must_be_at_least_1 param_error ();
    end
endgenerate

`ifdef ABBNN_COUNTONES

localparam integer COUNT_WIDTH = $clog2(WIDTH + 1);

wire [31:0] ones = $countones(a ~^ b);
wire        unused_ones = &{1'b0, ones};

reg  [LATENCY*COUNT_WIDTH-1:0]     counts_reg;
wire [(LATENCY+1)*COUNT_WIDTH-1:0] counts = {counts_reg, ones[COUNT_WIDTH-1:0]};

always @(posedge clk) begin
    if (enable) begin
        counts_reg <= counts[LATENCY*COUNT_WIDTH-1:0];
    end
end

assign count = counts[LATENCY*COUNT_WIDTH +: COUNT_WIDTH];

`else
`ifdef ABBNN_LUT4

abbnn_popcount_lut4 #(
    .WIDTH(WIDTH),
    .LATENCY(LATENCY)
) counters_inst (
    .clk(clk),
    .enable(enable),
    .a(a),
    .b(b),
    .count(count)
);

`else

abbnn_popcount_lut6 #(
    .WIDTH(WIDTH),
    .LATENCY(LATENCY)
) counters_inst (
    .clk(clk),
    .enable(enable),
    .a(a),
    .b(b),
    .count(count)
);

`endif
`endif

endmodule

`resetall
