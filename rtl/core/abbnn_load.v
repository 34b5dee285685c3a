// abbnn_load.v : takes a load stream, checks it and writes the tables through the load bus
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// s_axis: one load a frame, 32-bit words (docs/formats.md, Load image): magic, layout, network (low word first), then for
// each table a word {slices - 1, number}, a word depth and depth * slices words of contents, address by address, slice 0
// first; at the end the CRC-32 of all words before it, tlast on it. The two words in front of each table must be those of
// HEADERS, all of them and in that order: so every word of every table comes once.
//
// A load with another magic or layout is refused: nothing is written. Any other waits for `idle`, with hold high so that
// no frame begins, and then writes as it comes, with load_rst high. From then on the tables are those of a good load or
// none: after a table that is not the next one, a wrong CRC, or an end that is early or late, ready stays low until a good
// load. What follows a fault is taken and dropped up to its tlast. A word every four cycles: the CRC-32 takes a byte a cycle.
//
// load is a register (abbnn_memory says what it holds). load_rst stays high for DRAIN cycles after the last write, for
// the bus to reach the last stage and its tables to be read again.
module abbnn_load #(
    // Layout that the loads must be for.
    parameter [31:0] LAYOUT = 32'h00000000,
    // Tables, 1 to 1024, and the two words in front of each, the first table's lowest.
    parameter integer TABLES = 1,
    parameter [64*TABLES-1:0] HEADERS = 64'h00000001_00000000,
    // Cycles from the last write to the end of load_rst, 1 to 255.
    parameter integer DRAIN = 16
) (
    input  wire        clk,
    input  wire        rst,

    input  wire [31:0] s_axis_tdata,
    input  wire        s_axis_tvalid,
    output wire        s_axis_tready,
    input  wire        s_axis_tlast,

    // No frame is in flight, and with hold none begins.
    input  wire        idle,
    output wire        hold,
    output wire        load_rst,
    output wire [76:0] load,

    // The tables are complete. network: first 64 bits of the sha256 of the last good load's, 0 before.
    output wire        ready,
    output wire [63:0] network,
    // A load has begun and not ended.
    output wire        loading,
    // Good loads, and those refused or broken, since reset; both stop at their greatest value.
    output wire [15:0] loads,
    output wire [15:0] errors
);

generate
    if (TABLES < 1 || TABLES > 1024) begin : gen_check_tables
        TABLES_must_be_1_to_1024 param_error ();
    end
    if (DRAIN < 1 || DRAIN > 255) begin : gen_check_drain
        DRAIN_must_be_1_to_255 param_error ();
    end
endgenerate

localparam [31:0] MAGIC = 32'h4c424241;

// The words that the loads for this core have in common, in their order; others stand between them.
localparam integer          KNOWN       = 2 + 2 * TABLES;
localparam integer          LAST_KNOWN  = KNOWN - 1;
localparam integer          INDEX_WIDTH = $clog2(KNOWN);
localparam [32*KNOWN-1:0]   KNOWN_WORDS = {HEADERS, LAYOUT, MAGIC};

// Bit 3 is 0 in the states that take words.
localparam [3:0] STATE_KNOWN        = 4'd0;
localparam [3:0] STATE_NETWORK_LOW  = 4'd1;
localparam [3:0] STATE_NETWORK_HIGH = 4'd2;
localparam [3:0] STATE_DATA         = 4'd3;
localparam [3:0] STATE_CRC          = 4'd4;
localparam [3:0] STATE_DISCARD      = 4'd5;
// Compares what STATE_KNOWN has taken, while its CRC-32 is computed.
localparam [3:0] STATE_CHECK        = 4'd8;
localparam [3:0] STATE_WAIT         = 4'd9;
localparam [3:0] STATE_CHECK_CRC    = 4'd10;
localparam [3:0] STATE_GOOD         = 4'd11;
localparam [3:0] STATE_BAD          = 4'd12;

// What crc_reg holds after any words and then their CRC-32.
localparam [31:0] RESIDUE = 32'hdebb20e3;

localparam integer LAST_DRAIN = DRAIN - 1;

reg [3:0]  state_reg;
reg [3:0]  state_next;
reg        tready_reg;
reg        load_rst_reg;
reg        ready_reg;
reg        loading_reg;
reg [7:0]  drain_reg;
reg        finished_reg;
reg [15:0] loads_reg;
reg [15:0] errors_reg;

reg        hold_reg;
// `idle` and `hold` in one cycle; whether both were high.
reg        idle_then_reg;
reg        hold_then_reg;
reg        idle_reg;
// Bytes of the last word that are not yet in crc_reg, the lowest next, and a 1 for each.
reg [31:0] hash_reg;
reg [3:0]  left_reg;
reg [31:0] crc_reg;
// The known word that comes next, its number, and that it is what has come.
reg [31:0] known_reg;
reg        match_reg;
reg [INDEX_WIDTH-1:0] index_reg;
// All known words have come.
reg        complete_reg;
reg [63:0] fresh_network_reg;
reg [63:0] network_reg;
reg [11:0] memory_reg;
reg [11:0] last_slice_reg;
reg [11:0] slice_reg;
reg [19:0] last_address_reg;
reg [19:0] address_reg;
// The next word of data is the memory's last: settled long before that word comes.
reg        data_last_reg;
reg        write_reg;
reg [75:0] bus_reg;

wire        take = s_axis_tvalid && tready_reg;
wire        slice_last = slice_reg == last_slice_reg;
// That of the last cycle.
wire [31:0] word = bus_reg[31:0];
wire [31:0] crc_next;

assign s_axis_tready = tready_reg;
assign hold          = hold_reg;
assign load_rst      = load_rst_reg;
assign load          = {write_reg, bus_reg};
assign ready         = ready_reg;
assign network       = network_reg;
assign loading       = loading_reg;
assign loads         = loads_reg;
assign errors        = errors_reg;

abbnn_crc32 #(
    .WIDTH(8)
) crc_inst (
    .state(crc_reg),
    .data(hash_reg[7:0]),
    .next(crc_next)
);

always @* begin
    state_next = state_reg;
    case (state_reg)
        STATE_KNOWN:        state_next = STATE_CHECK;
        STATE_NETWORK_LOW:  state_next = STATE_NETWORK_HIGH;
        STATE_NETWORK_HIGH: state_next = STATE_WAIT;
        STATE_DATA:         state_next = !data_last_reg ? STATE_DATA : complete_reg ? STATE_CRC : STATE_KNOWN;
        STATE_CRC:          state_next = STATE_DISCARD;
        default: ;
    endcase
    if (s_axis_tlast) begin
        state_next = (state_reg == STATE_CRC) ? STATE_CHECK_CRC : STATE_BAD;
    end
    if (!take) begin
        state_next = state_reg;
    end
    case (state_reg)
        // Known words come in pairs: magic and layout, with the network behind them; those of a table, with its contents.
        STATE_CHECK:           state_next = left_reg[3] ? STATE_CHECK : !match_reg ? STATE_DISCARD :
                                            !index_reg[0] ? STATE_KNOWN : load_rst_reg ? STATE_DATA : STATE_NETWORK_LOW;
        STATE_CHECK_CRC:       state_next = left_reg[0] ? STATE_CHECK_CRC :
                                            (crc_reg == RESIDUE) ? STATE_GOOD : STATE_BAD;
        STATE_WAIT:            state_next = idle_reg ? STATE_KNOWN : STATE_WAIT;
        STATE_GOOD, STATE_BAD: state_next = finished_reg ? STATE_KNOWN : state_reg;
        default: ;
    endcase
end

always @(posedge clk) begin
    state_reg  <= state_next;
    // The next word may come with the last byte of this one.
    tready_reg <= !state_next[3] && !take && !left_reg[2];
    drain_reg  <= (state_reg == STATE_GOOD || state_reg == STATE_BAD) ? drain_reg + 8'd1 : 8'd0;
    finished_reg <= drain_reg == LAST_DRAIN[7:0] && (state_reg == STATE_GOOD || state_reg == STATE_BAD);
    write_reg  <= take && state_reg == STATE_DATA;
    if (state_reg == STATE_WAIT) begin
        loading_reg <= 1'b1;
    end
    hold_reg <= loading_reg || !ready_reg;
    idle_then_reg <= idle;
    hold_then_reg <= hold_reg;
    idle_reg      <= idle_then_reg && hold_then_reg;
    if (state_reg == STATE_WAIT && idle_reg) begin
        load_rst_reg <= 1'b1;
        ready_reg    <= 1'b0;
    end
    if (finished_reg) begin
        load_rst_reg <= 1'b0;
        loading_reg  <= 1'b0;
    end
    if (finished_reg && state_reg == STATE_GOOD) begin
        ready_reg   <= 1'b1;
        network_reg <= fresh_network_reg;
        if (loads_reg != 16'hffff) begin
            loads_reg <= loads_reg + 16'd1;
        end
    end
    if (finished_reg && state_reg == STATE_BAD && errors_reg != 16'hffff) begin
        errors_reg <= errors_reg + 16'd1;
    end
    if (rst) begin
        state_reg     <= STATE_KNOWN;
        tready_reg    <= 1'b0;
        hold_reg      <= 1'b1;
        hold_then_reg <= 1'b0;
        idle_reg      <= 1'b0;
        finished_reg  <= 1'b0;
        write_reg     <= 1'b0;
        loading_reg   <= 1'b0;
        load_rst_reg  <= 1'b0;
        ready_reg     <= 1'b0;
        network_reg   <= 64'd0;
        loads_reg     <= 16'd0;
        errors_reg    <= 16'd0;
    end
end

always @(posedge clk) begin
    if (take) begin
        hash_reg <= s_axis_tdata;
        left_reg <= 4'b1111;
    end else begin
        hash_reg <= {8'd0, hash_reg[31:8]};
        left_reg <= {1'b0, left_reg[3:1]};
    end
    if (left_reg[0]) begin
        crc_reg <= crc_next;
    end
    if (state_reg == STATE_GOOD || state_reg == STATE_BAD || rst) begin
        left_reg <= 4'b0000;
        crc_reg  <= 32'hffffffff;
    end
    if (take && state_reg == STATE_NETWORK_LOW) begin
        fresh_network_reg[31:0] <= s_axis_tdata;
    end
    if (take && state_reg == STATE_NETWORK_HIGH) begin
        fresh_network_reg[63:32] <= s_axis_tdata;
    end
    match_reg <= word == known_reg;
    known_reg <= KNOWN_WORDS[{index_reg, 5'd0} +: 32];
    if (state_reg == STATE_CHECK && !left_reg[3]) begin
        index_reg    <= index_reg + 1'b1;
        complete_reg <= index_reg == LAST_KNOWN[INDEX_WIDTH-1:0];
    end
    if (state_reg == STATE_GOOD || state_reg == STATE_BAD || rst) begin
        index_reg <= {INDEX_WIDTH{1'b0}};
    end
    if (take && state_reg == STATE_KNOWN && !index_reg[0]) begin
        memory_reg     <= s_axis_tdata[11:0];
        last_slice_reg <= s_axis_tdata[27:16];
    end
    if (take && state_reg == STATE_KNOWN && index_reg[0]) begin
        last_address_reg <= s_axis_tdata[19:0] - 20'd1;
        address_reg      <= 20'd0;
        slice_reg        <= 12'd0;
    end
    if (take && state_reg == STATE_DATA) begin
        slice_reg   <= slice_last ? 12'd0 : slice_reg + 12'd1;
        address_reg <= slice_last ? address_reg + 20'd1 : address_reg;
    end
    data_last_reg <= slice_last && address_reg == last_address_reg;
    bus_reg <= {memory_reg, slice_reg, address_reg, s_axis_tdata};
end

endmodule

`resetall
