// smoke.v : abbnn_core alone with an event-driven simulator: shipped images in, results compared
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: SystemVerilog ($fatal)
`timescale 1ns / 1ps
`default_nettype none

// For FuseSoC's target sim. Its files come from tools/fusesoc_mem.py. The real testbenches are tb/test_*.py.
// Ends with exit status 0 when all results are right, and 1 at the first that is not, or when none comes.
module smoke #(
    parameter integer IMAGES = 2
);

`include "abbnn_config.vh"

localparam integer PIXELS = IMAGE_HEIGHT * IMAGE_WIDTH;
localparam integer BEATS  = CLASSES + 1;
localparam integer PATIENCE = 2000000;

reg [23:0] pixels  [0:IMAGES*PIXELS-1];
reg [31:0] results [0:IMAGES*BEATS-1];

reg         clk = 1'b0;
reg         rst = 1'b1;
integer     sent = 0;
integer     received = 0;
integer     waited = 0;
integer     cycle = 0;
wire        s_axis_tready;
wire [31:0] m_axis_tdata;
wire        m_axis_tvalid;
wire        m_axis_tlast;
wire [63:0] status_network;
wire [31:0] status_frames;

// Two cycles of five are taken, so that results wait.
wire m_axis_tready = cycle % 5 < 2;

always #5 clk = !clk;

abbnn_core #(
    .LOADABLE(0)
) dut (
    .clk(clk),
    .rst(rst),
    .soft_rst(1'b0),
    .s_axis_tdata(pixels[sent < IMAGES * PIXELS ? sent : 0]),
    .s_axis_tvalid(!rst && sent < IMAGES * PIXELS),
    .s_axis_tready(s_axis_tready),
    .s_axis_tlast(sent % PIXELS == PIXELS - 1),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready),
    .m_axis_tlast(m_axis_tlast),
    .s_load_axis_tdata(32'd0),
    .s_load_axis_tvalid(1'b0),
    .s_load_axis_tready(),
    .s_load_axis_tlast(1'b0),
    .status_network(status_network),
    .status_frames(status_frames),
    .status_short_frames(),
    .status_long_frames(),
    .status_error(),
    .status_ready(),
    .status_loading(),
    .status_loads(),
    .status_load_errors(),
    .status_stalled()
);

initial begin
    $readmemh("smoke_pixels.mem", pixels);
    $readmemh("smoke_results.mem", results);
end

always @(posedge clk) begin
    cycle <= cycle + 1;
    rst   <= cycle < 4;
    if (!rst) begin
        waited <= waited + 1;
        if (sent < IMAGES * PIXELS && s_axis_tready) begin
            sent <= sent + 1;
        end
        if (m_axis_tvalid && m_axis_tready) begin
            if (m_axis_tdata !== results[received] || m_axis_tlast !== (received % BEATS == BEATS - 1)) begin
                $fatal(1, "beat %0d: got %h, tlast %b, expected %h", received, m_axis_tdata, m_axis_tlast,
                       results[received]);
            end
            received <= received + 1;
            waited   <= 0;
            if (received + 1 == IMAGES * BEATS) begin
                if (status_network !== NETWORK_ID) begin
                    $fatal(1, "network %h, expected %h", status_network, NETWORK_ID);
                end
                $display("PASS: %0d results of network %h, %0d cycles", IMAGES, status_network, cycle);
                $finish;
            end
        end
        if (waited > PATIENCE) begin
            $fatal(1, "%0d of %0d beats, then none for %0d cycles", received, IMAGES * BEATS, PATIENCE);
        end
    end
end

endmodule
