// abbnn_window.v : sliding window over a streamed map, with zero padding and stride
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// s_axis: a HEIGHT x WIDTH map in raster order, GROUPS beats a pixel, LANES elements of DATA_WIDTH bits a beat.
// m_axis: for every output row, output column and group one beat of KERNEL * KERNEL * LANES elements; element
// (kernel row * KERNEL + kernel column) * LANES + lane is lane `lane` of input pixel (output row * STRIDE + kernel row
// - PAD, output column * STRIDE + kernel column - PAD), or 0 outside of the map. PAD = KERNEL / 2; the output map is
// OUT_HEIGHT x OUT_WIDTH = ceil(HEIGHT / STRIDE) x ceil(WIDTH / STRIDE).
//
// KERNEL + 1 row banks form a ring; the rows of all frames follow each other in it. An output row is read column step
// by column step, STEPS = (OUT_WIDTH - 1) * STRIDE + PAD + 1 of them, GROUPS cycles each: a step reads the KERNEL
// rows of one column at once; steps past WIDTH are the padded right edge and need no data. A step waits only until its
// beats of the lowest row are written. Earlier columns come from delays of GROUPS beats.
//
// Latency 3: an output beat is valid 3 edges after the transfer of the last input beat that its column step reads, and
// after that GROUPS cycles later for every padded step before it.
// Throughput: with an input and an output that never wait, a frame every
// max(HEIGHT * WIDTH * GROUPS, OUT_HEIGHT * STEPS * GROUPS) cycles, the next frame without a gap (STRIDE = 2 with
// WIDTH <= PAD: a few cycles more).
// A bank is free again when the last output row that reads it is through. With the output stalled from the start,
// KERNEL + 1 rows are accepted (OUT_WIDTH * GROUPS > 2; smaller maps: more).
// KERNEL = 1 has neither memory nor register (latency 0): it passes the pixels on that STRIDE keeps, in the same cycle.
module abbnn_window #(
    // Bits of one element, at least 1.
    parameter integer DATA_WIDTH = 1,
    // Elements of an input beat, at least 1.
    parameter integer LANES = 32,
    // Beats of a pixel (channels / LANES), at least 1.
    parameter integer GROUPS = 1,
    // Rows of the input map, at least 1.
    parameter integer HEIGHT = 16,
    // Columns of the input map, at least 1.
    parameter integer WIDTH = 16,
    // Rows and columns of the window: 1, 3, 5 or 7.
    parameter integer KERNEL = 3,
    // Rows and columns from one window to the next: 1 or 2.
    parameter integer STRIDE = 1
) (
    input  wire                                      clk,
    input  wire                                      rst,

    input  wire [LANES*DATA_WIDTH-1:0]               s_axis_tdata,
    input  wire                                      s_axis_tvalid,
    output wire                                      s_axis_tready,

    output wire [KERNEL*KERNEL*LANES*DATA_WIDTH-1:0] m_axis_tdata,
    output wire                                      m_axis_tvalid,
    input  wire                                      m_axis_tready
);

generate
    if (DATA_WIDTH < 1) begin : gen_check_data_width
        DATA_WIDTH_must_be_at_least_1 param_error ();
    end
    if (LANES < 1) begin : gen_check_lanes
        LANES_must_be_at_least_1 param_error ();
    end
    if (GROUPS < 1) begin : gen_check_groups
        GROUPS_must_be_at_least_1 param_error ();
    end
    if (HEIGHT < 1) begin : gen_check_height
        HEIGHT_must_be_at_least_1 param_error ();
    end
    if (WIDTH < 1) begin : gen_check_width
        WIDTH_must_be_at_least_1 param_error ();
    end
    if (KERNEL != 1 && KERNEL != 3 && KERNEL != 5 && KERNEL != 7) begin : gen_check_kernel
        KERNEL_must_be_1_3_5_or_7 param_error ();
    end
    if (STRIDE != 1 && STRIDE != 2) begin : gen_check_stride
        STRIDE_must_be_1_or_2 param_error ();
    end
endgenerate

localparam integer BEAT_WIDTH = LANES * DATA_WIDTH;
localparam integer COLUMN_WIDTH = KERNEL * BEAT_WIDTH;
localparam integer PAD = KERNEL / 2;
localparam integer BANKS = KERNEL + 1;
localparam integer DEPTH = WIDTH * GROUPS;
localparam integer OUT_HEIGHT = (STRIDE == 2) ? (HEIGHT + 1) / 2 : HEIGHT;
localparam integer OUT_WIDTH = (STRIDE == 2) ? (WIDTH + 1) / 2 : WIDTH;
localparam integer STEPS = (OUT_WIDTH - 1) * STRIDE + PAD + 1;

// Counter widths, at least 1; a row number has room for row + KERNEL.
localparam integer GROUP_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1;
localparam integer ADDRESS_WIDTH = (DEPTH > 1) ? $clog2(DEPTH) : 1;
localparam integer STEP_WIDTH = $clog2(WIDTH + KERNEL + 1);
localparam integer ROW_WIDTH = $clog2(HEIGHT + KERNEL + 1);
localparam integer BANK_WIDTH = $clog2(BANKS + 1);

generate
    if (KERNEL == 1 && STRIDE == 1) begin : gen_pass
        wire unused_clock = &{1'b0, clk, rst};

        assign s_axis_tready = m_axis_tready;
        assign m_axis_tdata  = s_axis_tdata;
        assign m_axis_tvalid = s_axis_tvalid;
    end else if (KERNEL == 1) begin : gen_subsample
        abbnn_subsample #(
            .DATA_WIDTH(BEAT_WIDTH),
            .GROUPS(GROUPS),
            .HEIGHT(HEIGHT),
            .WIDTH(WIDTH)
        ) subsample_inst (
            .clk(clk),
            .rst(rst),
            .s_axis_tdata(s_axis_tdata),
            .s_axis_tvalid(s_axis_tvalid),
            .s_axis_tready(s_axis_tready),
            .m_axis_tdata(m_axis_tdata),
            .m_axis_tvalid(m_axis_tvalid),
            .m_axis_tready(m_axis_tready)
        );
    end else begin : gen_window
        localparam integer LAST_GROUP = GROUPS - 1;
        localparam integer LAST_STEP = STEPS - 1;
        localparam integer LAST_ADDRESS = DEPTH - 1;
        localparam integer LAST_CENTER = (OUT_HEIGHT - 1) * STRIDE;
        localparam integer LAST_ROW = HEIGHT - 1;
        localparam integer ROWS_TO_NEXT_FRAME = HEIGHT - LAST_CENTER;
        localparam integer FIRST_NEED = (PAD < HEIGHT) ? PAD : HEIGHT - 1;
        localparam integer FIRST_ROTATION = BANKS - PAD;

        // ---- write: row n of all frames' rows into bank n mod BANKS, as long as that bank is free -----------------

        reg [BANKS-1:0]         write_bank_reg;  // one-hot
        reg [ADDRESS_WIDTH-1:0] write_address_reg;
        reg [BANK_WIDTH-1:0]    held_reg;        // complete rows that some output row still needs

        wire write = s_axis_tvalid && s_axis_tready;
        wire write_last = write_address_reg == LAST_ADDRESS[ADDRESS_WIDTH-1:0];
        wire row_written = write && write_last;

        assign s_axis_tready = held_reg != BANKS[BANK_WIDTH-1:0];

        // ---- read position: output row, column step, group -------------------------------------------------------

        reg [GROUP_WIDTH-1:0]   group_reg;
        reg [STEP_WIDTH-1:0]    step_reg;
        reg [ADDRESS_WIDTH-1:0] read_address_reg;
        reg [ROW_WIDTH-1:0]     center_reg;      // input row under the window's centre
        reg [BANK_WIDTH-1:0]    rotation_reg;    // bank of the window's top row
        reg [BANK_WIDTH-1:0]    need_reg;        // lowest row that is read, counted from the oldest held one

        reg                     valid_reg;

        wire advance = m_axis_tready || !valid_reg;
        wire group_last = group_reg == LAST_GROUP[GROUP_WIDTH-1:0];
        wire step_last = step_reg == LAST_STEP[STEP_WIDTH-1:0];
        wire center_last = center_reg == LAST_CENTER[ROW_WIDTH-1:0];
        wire in_map = step_reg < WIDTH[STEP_WIDTH-1:0];
        // The column's beats of the lowest row are written, or it is padding: all but `read` and `write`, which come late,
        // is compared a cycle ahead.
        reg  can_read_reg;
        wire read = advance && can_read_reg;
        wire row_read = read && group_last && step_last;

        // Both before row_read is known, which comes last.
        wire [BANK_WIDTH-1:0] held_more = held_reg + {{BANK_WIDTH - 1{1'b0}}, row_written};
        wire [BANK_WIDTH-1:0] held_less;

        // What changes with the output row is computed ahead, in two cycles, or in one where an output row takes no more
        // than two.
        wire [ROW_WIDTH-1:0] next_center = center_last ? {ROW_WIDTH{1'b0}} : center_reg + STRIDE[ROW_WIDTH-1:0];
        wire [ROW_WIDTH-1:0] top = (center_reg > PAD[ROW_WIDTH-1:0]) ? center_reg - PAD[ROW_WIDTH-1:0]
                                                                     : {ROW_WIDTH{1'b0}};
        wire [ROW_WIDTH-1:0] next_top = (next_center > PAD[ROW_WIDTH-1:0]) ? next_center - PAD[ROW_WIDTH-1:0]
                                                                           : {ROW_WIDTH{1'b0}};
        wire [ROW_WIDTH-1:0] row_top;
        wire [ROW_WIDTH-1:0] row_next_top;
        wire [ROW_WIDTH-1:0] row_next_center;
        wire                 row_center_last;

        if (STEPS * GROUPS > 2) begin : gen_two_ahead
            reg [ROW_WIDTH-1:0] top_reg;
            reg [ROW_WIDTH-1:0] next_top_reg;
            reg [ROW_WIDTH-1:0] next_center_reg;
            reg                 center_last_reg;

            assign row_top         = top_reg;
            assign row_next_top    = next_top_reg;
            assign row_next_center = next_center_reg;
            assign row_center_last = center_last_reg;

            always @(posedge clk) begin
                top_reg         <= top;
                next_top_reg    <= next_top;
                next_center_reg <= next_center;
                center_last_reg <= center_last;
            end
        end else begin : gen_one_ahead
            assign row_top         = top;
            assign row_next_top    = next_top;
            assign row_next_center = next_center;
            assign row_center_last = center_last;
        end

        wire [ROW_WIDTH-1:0] next_low = row_next_center + PAD[ROW_WIDTH-1:0];
        wire [ROW_WIDTH-1:0] next_bottom = (next_low > LAST_ROW[ROW_WIDTH-1:0]) ? LAST_ROW[ROW_WIDTH-1:0] : next_low;
        wire [ROW_WIDTH-1:0] release_count = (row_center_last ? HEIGHT[ROW_WIDTH-1:0] : row_next_top) - row_top;
        wire [ROW_WIDTH-1:0] next_need = next_bottom - row_next_top;
        wire [BANK_WIDTH-1:0] rotation_sum = rotation_reg + (center_last ? ROWS_TO_NEXT_FRAME[BANK_WIDTH-1:0]
                                                                         : STRIDE[BANK_WIDTH-1:0]);
        wire unused_high_bits = &{1'b0, release_count, next_need};

        reg [BANK_WIDTH-1:0] release_reg;
        reg [BANK_WIDTH-1:0] next_need_reg;

        assign held_less = held_more - release_reg;

        localparam integer LAST_COLUMN = WIDTH - 1;
        localparam integer ONE = 1;

        // Where the lowest row that is read is the one being written: its beats that are written and not read.
        reg [ADDRESS_WIDTH-1:0] ahead_reg;

        wire some = ahead_reg != {ADDRESS_WIDTH{1'b0}};
        wire more = some && ahead_reg != ONE[ADDRESS_WIDTH-1:0];
        wire begun = write_address_reg != {ADDRESS_WIDTH{1'b0}};
        wire [BANK_WIDTH-1:0] held_then = held_reg - release_reg;

        wire in_time = need_reg < held_reg;
        wire same_row = need_reg == held_reg;
        wire in_time_then = next_need_reg < held_then;
        wire same_row_then = next_need_reg == held_then;
        wire stays_in_map = in_map && !(group_last && step_reg == LAST_COLUMN[STEP_WIDTH-1:0]);

        wire can_wait = in_time || !in_map || (same_row && (some || write));
        wire can_step = in_time || !stays_in_map || (same_row && (more || write));
        wire can_begin = in_time_then || (same_row_then && (begun || write));

        always @(posedge clk) begin
            can_read_reg <= !read ? can_wait : (group_last && step_last) ? can_begin : can_step;
            if (row_written) begin
                ahead_reg <= {ADDRESS_WIDTH{1'b0}};
            end else if (row_read) begin
                ahead_reg <= write ? write_address_reg + 1'b1 : write_address_reg;
            end else if (read != write) begin
                ahead_reg <= write ? ahead_reg + 1'b1 : ahead_reg - 1'b1;
            end
            if (rst) begin
                can_read_reg <= 1'b0;
                ahead_reg    <= {ADDRESS_WIDTH{1'b0}};
            end
        end

        always @(posedge clk) begin
            release_reg   <= release_count[BANK_WIDTH-1:0];
            next_need_reg <= next_need[BANK_WIDTH-1:0];
        end

        always @(posedge clk) begin
            if (write) begin
                write_address_reg <= write_last ? {ADDRESS_WIDTH{1'b0}} : write_address_reg + 1'b1;
            end
            if (row_written) begin
                write_bank_reg <= {write_bank_reg[BANKS-2:0], write_bank_reg[BANKS-1]};
            end
            held_reg <= row_read ? held_less : held_more;
            if (read) begin
                group_reg        <= group_last ? {GROUP_WIDTH{1'b0}} : group_reg + 1'b1;
                read_address_reg <= row_read ? {ADDRESS_WIDTH{1'b0}} : read_address_reg + 1'b1;
                if (group_last) begin
                    step_reg <= step_last ? {STEP_WIDTH{1'b0}} : step_reg + 1'b1;
                end
            end
            if (row_read) begin
                center_reg   <= next_center;
                need_reg     <= next_need_reg;
                rotation_reg <= (rotation_sum < BANKS[BANK_WIDTH-1:0]) ? rotation_sum
                                                                       : rotation_sum - BANKS[BANK_WIDTH-1:0];
            end
            if (rst) begin
                write_bank_reg    <= {{BANKS - 1{1'b0}}, 1'b1};
                write_address_reg <= {ADDRESS_WIDTH{1'b0}};
                held_reg          <= {BANK_WIDTH{1'b0}};
                group_reg         <= {GROUP_WIDTH{1'b0}};
                step_reg          <= {STEP_WIDTH{1'b0}};
                read_address_reg  <= {ADDRESS_WIDTH{1'b0}};
                center_reg        <= {ROW_WIDTH{1'b0}};
                need_reg          <= FIRST_NEED[BANK_WIDTH-1:0];
                rotation_reg      <= FIRST_ROTATION[BANK_WIDTH-1:0];
            end
        end

        // ---- banks ----------------------------------------------------------------------------------------------

        wire [BANKS*BEAT_WIDTH-1:0] bank_data;

        genvar b;
        for (b = 0; b < BANKS; b = b + 1) begin : gen_bank
            reg [BEAT_WIDTH-1:0] bank_mem [0:DEPTH-1];
            reg [BEAT_WIDTH-1:0] data_reg;

            always @(posedge clk) begin
                if (write && write_bank_reg[b]) begin
                    bank_mem[write_address_reg] <= s_axis_tdata;
                end
                if (advance) begin
                    data_reg <= bank_mem[read_address_reg];
                end
            end

            assign bank_data[b*BEAT_WIDTH +: BEAT_WIDTH] = data_reg;
        end

        // ---- what is known of the column in bank_data ----------------------------------------------------------------

        // Kernel rows inside the map.
        wire [KERNEL-1:0] rows_inside;

        genvar k;
        for (k = 0; k < KERNEL; k = k + 1) begin : gen_row_inside
            localparam integer LEAST_CENTER = PAD - k;
            localparam integer CENTERS = HEIGHT + PAD - k;

            if (k < PAD) begin : gen_above
                assign rows_inside[k] = center_reg >= LEAST_CENTER[ROW_WIDTH-1:0];
            end else if (k == PAD) begin : gen_center
                assign rows_inside[k] = 1'b1;
            end else if (CENTERS > 0) begin : gen_below
                assign rows_inside[k] = center_reg < CENTERS[ROW_WIDTH-1:0];
            end else begin : gen_never
                assign rows_inside[k] = 1'b0;
            end
        end

        wire emit = step_reg >= PAD[STEP_WIDTH-1:0] && (STRIDE == 1 || step_reg[0] == PAD[0]);

        reg                  column_valid_reg;
        reg                  column_emit_reg;      // completes a window
        reg [BANK_WIDTH-1:0] column_rotation_reg;

        always @(posedge clk) begin
            if (advance) begin
                column_valid_reg    <= read;
                column_emit_reg     <= emit;
                column_rotation_reg <= rotation_reg;
                valid_reg           <= column_valid_reg && column_emit_reg;
            end
            if (rst) begin
                column_valid_reg <= 1'b0;
                valid_reg        <= 1'b0;
            end
        end

        // ---- rotate the banks into kernel rows ----------------------------------------------------------------------

        wire [BANKS*BEAT_WIDTH-1:0] rotated1 = column_rotation_reg[0] ?
            {bank_data[BEAT_WIDTH-1:0], bank_data[BANKS*BEAT_WIDTH-1:BEAT_WIDTH]} : bank_data;
        wire [BANKS*BEAT_WIDTH-1:0] rotated2 = column_rotation_reg[1] ?
            {rotated1[2*BEAT_WIDTH-1:0], rotated1[BANKS*BEAT_WIDTH-1:2*BEAT_WIDTH]} : rotated1;
        wire [BANKS*BEAT_WIDTH-1:0] rotated;

        if (BANKS > 4) begin : gen_rotate4
            assign rotated = column_rotation_reg[2] ?
                {rotated2[4*BEAT_WIDTH-1:0], rotated2[BANKS*BEAT_WIDTH-1:4*BEAT_WIDTH]} : rotated2;
        end else begin : gen_no_rotate4
            assign rotated = rotated2;
        end

        wire unused_rotation = &{1'b0, column_rotation_reg, rotated[BANKS*BEAT_WIDTH-1:COLUMN_WIDTH]};

        // ---- window: the newest column, and PAST earlier ones, each GROUPS beats behind the one before -----------------

        localparam integer PAST = KERNEL - 1;

        wire shift = advance && column_valid_reg;
        // Zeros for padding, in the form of a flip-flop's synchronous reset. All but `advance` comes from a register: what
        // reaches many registers is one LUT away from a few.
        reg [KERNEL-1:0] clear_reg;
        reg              clear_past_reg;

        wire [KERNEL-1:0] clear = clear_reg & {KERNEL{advance}};
        wire              clear_past = clear_past_reg && advance;

        always @(posedge clk) begin
            if (advance) begin
                clear_reg      <= ~(rows_inside & {KERNEL{in_map}}) & {KERNEL{read}};
                clear_past_reg <= step_reg == {STEP_WIDTH{1'b0}} && read;
            end
        end

        wire [COLUMN_WIDTH-1:0] newest;
        wire [PAST*COLUMN_WIDTH-1:0] past_next;
        reg  [PAST*COLUMN_WIDTH-1:0] past_reg;
        wire [KERNEL*COLUMN_WIDTH-1:0] columns = {past_reg, newest};

        for (k = 0; k < KERNEL; k = k + 1) begin : gen_newest
            reg [BEAT_WIDTH-1:0] newest_reg;

            always @(posedge clk) begin
                if (clear[k]) begin
                    newest_reg <= {BEAT_WIDTH{1'b0}};
                end else if (shift) begin
                    newest_reg <= rotated[k*BEAT_WIDTH +: BEAT_WIDTH];
                end
            end

            assign newest[k*BEAT_WIDTH +: BEAT_WIDTH] = newest_reg;
        end

        if (GROUPS == 1) begin : gen_no_delay
            assign past_next = columns[PAST*COLUMN_WIDTH-1:0];
        end else begin : gen_delay
            // A ring of GROUPS - 1 beats and past_reg.
            localparam integer LAST_SLOT = GROUPS - 2;
            localparam integer SLOT_WIDTH = (GROUPS > 2) ? $clog2(GROUPS - 1) : 1;

            reg [PAST*COLUMN_WIDTH-1:0] delay_mem [0:GROUPS-2];
            reg [SLOT_WIDTH-1:0]        slot_reg;

            assign past_next = delay_mem[slot_reg];

            always @(posedge clk) begin
                if (shift) begin
                    delay_mem[slot_reg] <= columns[PAST*COLUMN_WIDTH-1:0];
                    slot_reg <= (slot_reg == LAST_SLOT[SLOT_WIDTH-1:0]) ? {SLOT_WIDTH{1'b0}} : slot_reg + 1'b1;
                end
                if (rst) begin
                    slot_reg <= {SLOT_WIDTH{1'b0}};
                end
            end
        end

        always @(posedge clk) begin
            if (clear_past) begin
                past_reg <= {PAST * COLUMN_WIDTH{1'b0}};
            end else if (shift) begin
                past_reg <= past_next;
            end
        end

        genvar c;
        for (k = 0; k < KERNEL; k = k + 1) begin : gen_out_row
            for (c = 0; c < KERNEL; c = c + 1) begin : gen_out_column
                assign m_axis_tdata[(k*KERNEL + c)*BEAT_WIDTH +: BEAT_WIDTH] =
                    columns[((PAST - c)*KERNEL + k)*BEAT_WIDTH +: BEAT_WIDTH];
            end
        end

        assign m_axis_tvalid = valid_reg;
    end
endgenerate

endmodule

`resetall
