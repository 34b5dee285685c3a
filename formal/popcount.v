// popcount.v : harness of the popcounts: as many ones as a loop counts
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`default_nettype none

module top (
    input  wire              clk,
    input  wire [`WIDTH-1:0] a,
    input  wire [`WIDTH-1:0] b,
    output wire              bad
);

localparam integer BITS = $clog2(`WIDTH + 1);

reg  [BITS-1:0]          ones;
reg  [`LATENCY*BITS-1:0] expected;
wire [BITS-1:0]          count;
integer                  i;

`DUT #(.WIDTH(`WIDTH), .LATENCY(`LATENCY)) dut (.clk(clk), .enable(1'b1), .a(a), .b(b), .count(count));

always @* begin
    ones = {BITS{1'b0}};
    for (i = 0; i < `WIDTH; i = i + 1) begin
        ones = ones + {{BITS-1{1'b0}}, a[i] ~^ b[i]};
    end
end

assign bad = count != expected[`LATENCY*BITS-1 -: BITS];

always @(posedge clk) begin
    expected <= {expected, ones};
end

endmodule
