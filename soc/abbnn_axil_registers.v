// abbnn_axil_registers.v : the registers of abbnn_axi on an AXI4-Lite slave
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// Registers, fields and responses: docs/registers.md. They show what the core says of itself; stall counters, cycle
// counter and interrupts are made here.
//
// One read and one write can be under way at a time, independent of each other; a write's address and data may come in
// either order. All outputs are functions of registers alone. A read is answered 3 cycles after its address is taken, a
// write 2 cycles after the later of address and data. A counter that counts an event shows it 2 cycles later.
//
// soft_rst is high for 8 cycles behind a write of 1 to CONTROL. It is for the core; of what is here it clears
// the stall counters and the cycle counter, and leaves the interrupt registers.
module abbnn_axil_registers #(
    // Stages of the core, 1 to 64: as many stall counters.
    parameter integer STAGES = 4,
    // Of an image, 1 to 65535 each.
    parameter integer HEIGHT = 32,
    parameter integer WIDTH = 32,
    // Scores of a result, 1 to 65535.
    parameter integer CLASSES = 10,
    // Which load images fit.
    parameter [31:0] LAYOUT = 32'd0
) (
    input  wire              clk,
    input  wire              rst,

    input  wire [11:0]       s_axil_awaddr,
    input  wire [2:0]        s_axil_awprot,
    input  wire              s_axil_awvalid,
    output wire              s_axil_awready,
    input  wire [31:0]       s_axil_wdata,
    input  wire [3:0]        s_axil_wstrb,
    input  wire              s_axil_wvalid,
    output wire              s_axil_wready,
    output wire [1:0]        s_axil_bresp,
    output wire              s_axil_bvalid,
    input  wire              s_axil_bready,
    input  wire [11:0]       s_axil_araddr,
    input  wire [2:0]        s_axil_arprot,
    input  wire              s_axil_arvalid,
    output wire              s_axil_arready,
    output wire [31:0]       s_axil_rdata,
    output wire [1:0]        s_axil_rresp,
    output wire              s_axil_rvalid,
    input  wire              s_axil_rready,

    // High in the cycle in which the last beat of a result leaves.
    input  wire              result,
    // The status outputs of abbnn_core.
    input  wire [63:0]       network,
    input  wire [31:0]       frames,
    input  wire [15:0]       short_frames,
    input  wire [15:0]       long_frames,
    input  wire              frame_error,
    input  wire              ready,
    input  wire              loading,
    input  wire [15:0]       loads,
    input  wire [15:0]       load_errors,
    input  wire [STAGES-1:0] stalled,

    output wire              soft_rst,
    // Level: an enabled bit is pending.
    output wire              irq
);

generate
    if (STAGES < 1 || STAGES > 64) begin : gen_check_stages
        STAGES_must_be_1_to_64 param_error ();
    end
    if (HEIGHT < 1 || HEIGHT > 65535) begin : gen_check_height
        HEIGHT_must_be_1_to_65535 param_error ();
    end
    if (WIDTH < 1 || WIDTH > 65535) begin : gen_check_width
        WIDTH_must_be_1_to_65535 param_error ();
    end
    if (CLASSES < 1 || CLASSES > 65535) begin : gen_check_classes
        CLASSES_must_be_1_to_65535 param_error ();
    end
endgenerate

localparam [31:0] ID      = 32'h4142424e;
localparam [31:0] VERSION = 32'h00010000;
localparam [1:0]  OKAY    = 2'b00;
localparam [1:0]  SLVERR  = 2'b10;

// Word addresses: 0 to 17, and 64 * STALL + stage.
localparam [9:0]   CONTROL     = 10'h007;
localparam [9:0]   IRQ_ENABLE  = 10'h009;
localparam [9:0]   IRQ_PENDING = 10'h00a;
localparam [9:0]   CYCLES_LO   = 10'h010;
localparam integer STALL       = 1;

// Low in reset, so that no channel takes anything there.
reg up_reg;

always @(posedge clk) begin
    up_reg <= !rst;
end

// ---- write channel

reg       aw_taken_reg;
reg       w_taken_reg;
reg       bvalid_reg;
reg [1:0] bresp_reg;
reg [9:0] write_word_reg;
// Byte 0 is the only one that has writable bits.
reg [3:0] write_data_reg;
reg       write_strobe_reg;

wire write         = aw_taken_reg && w_taken_reg && !bvalid_reg;
wire write_control = write && write_word_reg == CONTROL;
wire write_enable  = write && write_word_reg == IRQ_ENABLE;
wire write_pending = write && write_word_reg == IRQ_PENDING;

assign s_axil_awready = up_reg && !aw_taken_reg;
assign s_axil_wready  = up_reg && !w_taken_reg;
assign s_axil_bvalid  = bvalid_reg;
assign s_axil_bresp   = bresp_reg;

wire unused_write = &{1'b0, s_axil_awprot, s_axil_awaddr[1:0], s_axil_wdata[31:4], s_axil_wstrb[3:1]};

always @(posedge clk) begin
    if (s_axil_awready) begin
        write_word_reg <= s_axil_awaddr[11:2];
    end
    if (s_axil_wready) begin
        write_data_reg   <= s_axil_wdata[3:0];
        write_strobe_reg <= s_axil_wstrb[0];
    end
    if (write) begin
        bresp_reg <= write_control || write_enable || write_pending ? OKAY : SLVERR;
    end
end

always @(posedge clk) begin
    if (s_axil_awready && s_axil_awvalid) begin
        aw_taken_reg <= 1'b1;
    end
    if (s_axil_wready && s_axil_wvalid) begin
        w_taken_reg <= 1'b1;
    end
    if (write) begin
        bvalid_reg <= 1'b1;
    end
    if (bvalid_reg && s_axil_bready) begin
        aw_taken_reg <= 1'b0;
        w_taken_reg  <= 1'b0;
        bvalid_reg   <= 1'b0;
    end
    if (rst) begin
        aw_taken_reg <= 1'b0;
        w_taken_reg  <= 1'b0;
        bvalid_reg   <= 1'b0;
    end
end

// ---- soft reset

reg       soft_reg;
reg [2:0] soft_count_reg;

assign soft_rst = soft_reg;

always @(posedge clk) begin
    soft_count_reg <= soft_reg ? soft_count_reg + 3'd1 : 3'd0;
    if (soft_count_reg == 3'd7) begin
        soft_reg <= 1'b0;
    end
    if (write_control && write_strobe_reg && write_data_reg[0]) begin
        soft_reg <= 1'b1;
    end
    if (rst) begin
        soft_count_reg <= 3'd0;
        soft_reg       <= 1'b0;
    end
end

// ---- interrupts

// A counter has counted when its lowest bit has changed and it is not 0: a soft reset may have made it that.
reg       short_was_reg;
reg       long_was_reg;
reg       loads_was_reg;
reg       load_errors_was_reg;
reg [3:0] event_reg;
reg [3:0] enable_reg;
reg [3:0] pending_reg;
reg       irq_reg;

assign irq = irq_reg;

always @(posedge clk) begin
    short_was_reg       <= short_frames[0];
    long_was_reg        <= long_frames[0];
    loads_was_reg       <= loads[0];
    load_errors_was_reg <= load_errors[0];

    event_reg[0] <= result;
    event_reg[1] <= (short_frames[0] != short_was_reg && short_frames != 16'd0)
                 || (long_frames[0] != long_was_reg && long_frames != 16'd0);
    event_reg[2] <= loads[0] != loads_was_reg && loads != 16'd0;
    event_reg[3] <= load_errors[0] != load_errors_was_reg && load_errors != 16'd0;

    if (write_enable && write_strobe_reg) begin
        enable_reg <= write_data_reg;
    end
    pending_reg <= (pending_reg & ~(write_data_reg & {4{write_pending && write_strobe_reg}})) | event_reg;
    irq_reg     <= (pending_reg & enable_reg) != 4'd0;
    if (rst) begin
        short_was_reg       <= 1'b0;
        long_was_reg        <= 1'b0;
        loads_was_reg       <= 1'b0;
        load_errors_was_reg <= 1'b0;
        event_reg           <= 4'd0;
        enable_reg          <= 4'd0;
        pending_reg         <= 4'd0;
        irq_reg             <= 1'b0;
    end
end

// ---- cycle counter

reg [31:0] cycles_lo_reg;
reg [31:0] cycles_hi_reg;
// The low half is at its greatest value.
reg        cycles_carry_reg;

always @(posedge clk) begin
    cycles_lo_reg    <= cycles_lo_reg + 32'd1;
    cycles_carry_reg <= cycles_lo_reg == 32'hfffffffe;
    if (cycles_carry_reg) begin
        cycles_hi_reg <= cycles_hi_reg + 32'd1;
    end
    if (rst || soft_reg) begin
        cycles_lo_reg    <= 32'd0;
        cycles_hi_reg    <= 32'd0;
        cycles_carry_reg <= 1'b0;
    end
end

// ---- read channel: taken, picked, answered

reg        busy_reg;
reg        pick_reg;
reg        answer_reg;
reg        rvalid_reg;
reg [9:0]  read_word_reg;
reg [31:0] latched_reg;
reg        load_error_reg;
reg        is_known_reg;
reg [31:0] rdata_reg;
reg [1:0]  rresp_reg;

assign s_axil_arready = up_reg && !busy_reg;
assign s_axil_rvalid  = rvalid_reg;
assign s_axil_rdata   = rdata_reg;
assign s_axil_rresp   = rresp_reg;

wire unused_read = &{1'b0, s_axil_arprot, s_axil_araddr[1:0]};

// No comparisons of size: their carry chains would be the longest paths here.
localparam [63:0] STAGE_MASK = {64{1'b1}} >> (64 - STAGES);

wire is_fixed = read_word_reg[9:5] == 5'd0 && !(read_word_reg[4] && read_word_reg[3:1] != 3'd0);
wire is_stall = read_word_reg[9:6] == STALL[3:0] && STAGE_MASK[read_word_reg[5:0]];

// The words 0 to 17, the lowest last, and none up to a multiple of eight.
wire [24*32-1:0] fixed = {
    {6{32'd0}},
    latched_reg,
    cycles_lo_reg,
    16'd0, load_errors,
    16'd0, loads,
    16'd0, long_frames,
    16'd0, short_frames,
    frames,
    28'd0, pending_reg,
    28'd0, enable_reg,
    28'd0, load_error_reg, frame_error, loading, ready,
    31'd0, soft_reg,
    STAGES[15:0], CLASSES[15:0],
    HEIGHT[15:0], WIDTH[15:0],
    LAYOUT,
    network,
    VERSION,
    ID
};

// Words by eights: three of fixed, then the stall counters. A counter's bit 32 says that the lower ones have overflowed: it
// counts no further and reads as all ones. Those of stages that are not there are 0.
localparam integer GROUPS = 3 + (STAGES + 7) / 8;

wire [33*8*GROUPS-1:0] words;
wire [33*GROUPS-1:0]   picked;
reg  [32:0]            merged;

generate
    genvar i;
    genvar g;
    for (i = 0; i < 24; i = i + 1) begin : gen_fixed
        assign words[33*i +: 33] = {1'b0, fixed[32*i +: 32]};
    end

    for (i = 0; i < 8 * GROUPS - 24; i = i + 1) begin : gen_stage
        if (i < STAGES) begin : gen_counter
            reg        waits_reg;
            reg [32:0] count_reg;

            assign words[33*(24+i) +: 33] = count_reg;

            always @(posedge clk) begin
                waits_reg <= stalled[i];
                if (waits_reg && !count_reg[32]) begin
                    count_reg <= count_reg + 33'd1;
                end
                if (rst || soft_reg) begin
                    waits_reg <= 1'b0;
                    count_reg <= 33'd0;
                end
            end
        end else begin : gen_none
            assign words[33*(24+i) +: 33] = 33'd0;
        end
    end

    // One of eight, and whether it is to be found there.
    for (g = 0; g < GROUPS; g = g + 1) begin : gen_group
        localparam integer EIGHT = (g < 3) ? g : 8 * STALL + g - 3;

        wire [33*8-1:0] eight = words[33*8*g +: 33*8];
        wire [33*4-1:0] four  = read_word_reg[2] ? eight[33*4 +: 33*4] : eight[0 +: 33*4];
        wire [33*2-1:0] two   = read_word_reg[1] ? four[33*2 +: 33*2] : four[0 +: 33*2];
        wire [32:0]     one   = read_word_reg[0] ? two[33 +: 33] : two[0 +: 33];
        reg  [32:0]     one_reg;
        reg             hit_reg;

        assign picked[33*g +: 33] = one_reg & {33{hit_reg}};

        always @(posedge clk) begin
            one_reg <= one;
            hit_reg <= read_word_reg[9:3] == EIGHT[6:0];
        end
    end
endgenerate

integer k;

always @* begin
    merged = 33'd0;
    for (k = 0; k < GROUPS; k = k + 1) begin
        merged = merged | picked[33*k +: 33];
    end
end

always @(posedge clk) begin
    load_error_reg <= load_errors != 16'd0;
    if (s_axil_arready) begin
        read_word_reg <= s_axil_araddr[11:2];
    end
    is_known_reg <= is_fixed || is_stall;
    if (answer_reg) begin
        rdata_reg <= merged[31:0] | {32{merged[32]}};
        rresp_reg <= is_known_reg ? OKAY : SLVERR;
    end
end

always @(posedge clk) begin
    pick_reg   <= s_axil_arready && s_axil_arvalid;
    answer_reg <= pick_reg;
    if (s_axil_arready && s_axil_arvalid) begin
        busy_reg <= 1'b1;
    end
    // In the cycle in which the low half is picked.
    if (pick_reg && read_word_reg == CYCLES_LO) begin
        latched_reg <= cycles_hi_reg;
    end
    if (answer_reg) begin
        rvalid_reg <= 1'b1;
    end
    if (rvalid_reg && s_axil_rready) begin
        rvalid_reg <= 1'b0;
        busy_reg   <= 1'b0;
    end
    if (rst) begin
        pick_reg    <= 1'b0;
        answer_reg  <= 1'b0;
        rvalid_reg  <= 1'b0;
        busy_reg    <= 1'b0;
        latched_reg <= 32'd0;
    end
end

endmodule

`resetall
