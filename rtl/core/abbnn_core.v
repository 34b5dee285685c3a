// abbnn_core.v : the whole network: pixels in, class scores and class out
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// gate - guard - stem - block00 .. blockNN - head - drop - cut. The exporter writes for one frozen network and folding
// (abbnn mem) what is particular to them: sizes (abbnn_config.vh), the stages (abbnn_stages.vh, an instance each) and the
// table files, which are looked up in `ABBNN_MEM_DIR, by default the folder that the tool runs in.
//
// In:  one RGB pixel a beat in raster order, red in bits 7:0, green in 15:8, blue in 23:16; tlast on a frame's last.
// Out: CLASSES + 1 beats a frame: the signed scores, class 0 first, then the class; tlast on the last. A frame of the
//      wrong length gives no result, counts as an error, and does not harm the next one.
// Load (LOADABLE = 1): s_load_axis takes load images (docs/formats.md) at any time. A load waits until the frames that
//      have begun have left, holds the next ones back, and leaves the tables of a good load or none (abbnn_load).
`ifndef ABBNN_MEM_DIR
`define ABBNN_MEM_DIR "."
`endif

module abbnn_core #(
    // 0: the tables come from files and stay. 1: they are empty until a load stream has filled them.
    parameter integer LOADABLE = 0
) (
    input  wire        clk,
    // Both resets are high for two cycles or more.
    input  wire        rst,
    // Drops all frames in flight and clears the counters of frames; loaded tables stay. A result that m_axis has begun to
    // show ends with one beat of ones and tlast; every other result's last beat, the class, has a 0 on top.
    input  wire        soft_rst,

    input  wire [23:0] s_axis_tdata,
    input  wire        s_axis_tvalid,
    output wire        s_axis_tready,
    input  wire        s_axis_tlast,

    output wire [31:0] m_axis_tdata,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready,
    output wire        m_axis_tlast,

    input  wire [31:0] s_load_axis_tdata,
    input  wire        s_load_axis_tvalid,
    output wire        s_load_axis_tready,
    input  wire        s_load_axis_tlast,

    // First 64 bits of the frozen network's sha256: which network this is. 0 before the first load.
    output wire [63:0] status_network,
    // Results given since reset.
    output wire [31:0] status_frames,
    // Frames that ended early, and frames that ended late, since reset; both stop at their greatest value.
    output wire [15:0] status_short_frames,
    output wire [15:0] status_long_frames,
    // Set by the first bad frame, cleared by reset.
    output wire        status_error,
    // The tables are complete and frames are taken; a load has begun; good and bad loads since reset, as abbnn_load says.
    output wire        status_ready,
    output wire        status_loading,
    output wire [15:0] status_loads,
    output wire [15:0] status_load_errors,
    // Bit i: in this cycle the output of stage i waits. Stage 0 is the stem, then the blocks, then the head.
    output wire [63:0] status_stalled
);

`include "abbnn_config.vh"

// Frames on their way: each stage holds parts of at most two. A full verdict FIFO only holds the next frame's end back.
localparam integer VERDICT_DEPTH = 2 * BLOCKS + 8;

generate
    if (LOADABLE != 0 && LOADABLE != 1) begin : gen_check_loadable
        LOADABLE_must_be_0_or_1 param_error ();
    end
endgenerate

// ---- reset: that of the stages passes a register each, which takes as long as the first pixel in the guard's

wire core_rst = rst || soft_rst;
wire stages_rst;
// Register i is that of stage i.
wire [BLOCKS+1:0] stage_rst;

generate
    genvar r;
    for (r = 0; r < BLOCKS + 2; r = r + 1) begin : gen_reset
        abbnn_reset reset_inst (
            .clk(clk),
            .s_rst(stages_rst),
            .m_rst(stage_rst[r])
        );
    end
endgenerate

// ---- load port: the load bus passes one register a stage

localparam integer LOAD_WIDTH = 77;

// Register i feeds stage i.
wire [LOAD_WIDTH*(BLOCKS+2)-1:0] load_buses;
// No frame begins while hold is high; idle says that none is on its way.
wire                             hold;
wire                             idle;

generate
    if (LOADABLE == 1) begin : gen_load
        wire                  load_rst;
        wire [LOAD_WIDTH-1:0] load;

        reg [LOAD_WIDTH*(BLOCKS+2)-1:0] load_buses_reg;

        assign load_buses = load_buses_reg;
        assign stages_rst = core_rst || load_rst;

        always @(posedge clk) begin
            load_buses_reg <= {load_buses_reg[LOAD_WIDTH*(BLOCKS+1)-1:0], load};
        end

        wire [31:0] load_tdata;
        wire        load_tvalid;
        wire        load_tready;
        wire        load_tlast;

        abbnn_skid #(
            .DATA_WIDTH(33)
        ) load_skid_inst (
            .clk(clk),
            .rst(rst),
            .s_axis_tdata({s_load_axis_tlast, s_load_axis_tdata}),
            .s_axis_tvalid(s_load_axis_tvalid),
            .s_axis_tready(s_load_axis_tready),
            .m_axis_tdata({load_tlast, load_tdata}),
            .m_axis_tvalid(load_tvalid),
            .m_axis_tready(load_tready)
        );

        abbnn_load #(
            .LAYOUT(LAYOUT_ID),
            .TABLES(LOAD_TABLES),
            .HEADERS(LOAD_HEADERS),
            .DRAIN(BLOCKS + 9)
        ) load_inst (
            .clk(clk),
            .rst(rst),
            .s_axis_tdata(load_tdata),
            .s_axis_tvalid(load_tvalid),
            .s_axis_tready(load_tready),
            .s_axis_tlast(load_tlast),
            .idle(idle),
            .hold(hold),
            .load_rst(load_rst),
            .load(load),
            .ready(status_ready),
            .network(status_network),
            .loading(status_loading),
            .loads(status_loads),
            .errors(status_load_errors)
        );
    end else begin : gen_no_load
        wire unused_load = &{1'b0, idle, s_load_axis_tdata, s_load_axis_tvalid, s_load_axis_tlast};

        assign load_buses         = {LOAD_WIDTH*(BLOCKS+2){1'b0}};
        assign stages_rst         = core_rst;
        assign hold               = 1'b0;
        assign s_load_axis_tready = 1'b0;
        assign status_network     = NETWORK_ID;
        assign status_ready       = 1'b1;
        assign status_loading     = 1'b0;
        assign status_loads       = 16'd0;
        assign status_load_errors = 16'd0;
    end
endgenerate

// ---- gate: a frame is through when its verdict has met its scores

wire verdict_due_tdata;
wire verdict_due_tvalid;
wire verdict_due_tready;
wire frame_tvalid;
wire frame_tready;
reg  frame_done_reg;

always @(posedge clk) begin
    frame_done_reg <= verdict_due_tvalid && verdict_due_tready && !core_rst;
end

abbnn_gate gate_inst (
    .clk(clk),
    .rst(core_rst),
    .s_axis_tvalid(s_axis_tvalid),
    .s_axis_tready(s_axis_tready),
    .s_axis_tlast(s_axis_tlast),
    .m_axis_tvalid(frame_tvalid),
    .m_axis_tready(frame_tready),
    .hold(hold),
    .done(frame_done_reg),
    .idle(idle)
);

// ---- input guard and error counters

wire [23:0] pixel_tdata;
wire        pixel_tvalid;
wire        pixel_tready;
wire        pixel_tlast;
wire        verdict_tdata;
wire        verdict_tvalid;
wire        verdict_tready;
wire        error_short;
wire        error_long;

abbnn_guard #(
    .DATA_WIDTH(24),
    .BEATS(IMAGE_HEIGHT * IMAGE_WIDTH)
) guard_inst (
    .clk(clk),
    .rst(core_rst),
    .s_axis_tdata(s_axis_tdata),
    .s_axis_tvalid(frame_tvalid),
    .s_axis_tready(frame_tready),
    .s_axis_tlast(s_axis_tlast),
    .m_axis_tdata(pixel_tdata),
    .m_axis_tvalid(pixel_tvalid),
    .m_axis_tready(pixel_tready),
    .m_axis_tlast(pixel_tlast),
    .m_verdict_tdata(verdict_tdata),
    .m_verdict_tvalid(verdict_tvalid),
    .m_verdict_tready(verdict_tready),
    .error_short(error_short),
    .error_long(error_long)
);

wire unused_pixel_tlast = &{1'b0, pixel_tlast};

reg [15:0] short_reg;
reg [15:0] long_reg;
reg        error_reg;

assign status_short_frames = short_reg;
assign status_long_frames  = long_reg;
assign status_error        = error_reg;

always @(posedge clk) begin
    if (error_short && short_reg != 16'hffff) begin
        short_reg <= short_reg + 16'd1;
    end
    if (error_long && long_reg != 16'hffff) begin
        long_reg <= long_reg + 16'd1;
    end
    if (error_short || error_long) begin
        error_reg <= 1'b1;
    end
    if (core_rst) begin
        short_reg <= 16'd0;
        long_reg  <= 16'd0;
        error_reg <= 1'b0;
    end
end

wire verdict_held_tdata;
wire verdict_held_tvalid;
wire verdict_held_tready;

abbnn_skid #(
    .DATA_WIDTH(1)
) verdict_skid_inst (
    .clk(clk),
    .rst(core_rst),
    .s_axis_tdata(verdict_tdata),
    .s_axis_tvalid(verdict_tvalid),
    .s_axis_tready(verdict_tready),
    .m_axis_tdata(verdict_held_tdata),
    .m_axis_tvalid(verdict_held_tvalid),
    .m_axis_tready(verdict_held_tready)
);

abbnn_fifo #(
    .DATA_WIDTH(1),
    .DEPTH(VERDICT_DEPTH)
) verdict_fifo_inst (
    .clk(clk),
    .rst(core_rst),
    .s_axis_tdata(verdict_held_tdata),
    .s_axis_tvalid(verdict_held_tvalid),
    .s_axis_tready(verdict_held_tready),
    .m_axis_tdata(verdict_due_tdata),
    .m_axis_tvalid(verdict_due_tvalid),
    .m_axis_tready(verdict_due_tready)
);

// ---- stages: pixel_* to head_*, and stage_stalled

`include "abbnn_stages.vh"

assign status_stalled = {{62-BLOCKS{1'b0}}, stage_stalled};

// ---- only the good frames' results

wire [31:0] kept_tdata;
wire        kept_tvalid;
wire        kept_tready;
wire        kept_tlast;

abbnn_drop #(
    .DATA_WIDTH(32)
) drop_inst (
    .clk(clk),
    .rst(core_rst),
    .s_axis_tdata(head_tdata),
    .s_axis_tvalid(head_tvalid),
    .s_axis_tready(head_tready),
    .s_axis_tlast(head_tlast),
    .s_verdict_tdata(verdict_due_tdata),
    .s_verdict_tvalid(verdict_due_tvalid),
    .s_verdict_tready(verdict_due_tready),
    .m_axis_tdata(kept_tdata),
    .m_axis_tvalid(kept_tvalid),
    .m_axis_tready(kept_tready),
    .m_axis_tlast(kept_tlast),
    .frames(status_frames)
);


abbnn_cut #(
    .DATA_WIDTH(32)
) cut_inst (
    .clk(clk),
    .rst(rst),
    .s_axis_tdata(kept_tdata),
    .s_axis_tvalid(kept_tvalid),
    .s_axis_tready(kept_tready),
    .s_axis_tlast(kept_tlast),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready),
    .m_axis_tlast(m_axis_tlast),
    .cut(soft_rst)
);

endmodule

`resetall
