// abbnn_boot.v : plays the load image of one network from block RAM after reset, then passes the host's loads
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// m_axis = words 0 .. WORDS-1 of the image, tlast on the last, then s_axis for good; every reset plays the image again.
// s_axis_tready is low until the last word is taken. WORDS = 0: m_axis = s_axis from the start.
//
// Word w of the image is word w % 512 of chunk w / 512, a memory of its own: one block RAM of 512 x 36 bits (ECP5's
// DP16KD), 4 of them unused. Exactly one block a chunk and no logic in front of its outputs: so a tool that changes the
// contents of block RAMs in a finished bitstream can change the image.
//
// A word takes 5 cycles and those that the consumer waits: what was read is registered three times, since a block RAM's
// output is late, the second time within it, the third time for two chunks together.
//
// s_axis to m_axis is combinational in both directions. Nothing passes while rst is high.
module abbnn_boot #(
    // Words of the image, 0 to 512000.
    parameter integer WORDS = 1,
    // Chunk n is read from the $readmemh file FILE.nnn.mem, nnn = n in three decimal digits; 512 words of 32 bits each.
    // With "" the image stays undefined.
    parameter FILE = ""
) (
    input  wire        clk,
    input  wire        rst,

    input  wire [31:0] s_axis_tdata,
    input  wire        s_axis_tvalid,
    output wire        s_axis_tready,
    input  wire        s_axis_tlast,

    output wire [31:0] m_axis_tdata,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready,
    output wire        m_axis_tlast
);

generate
    if (WORDS < 0) begin : gen_check_words
        WORDS_must_be_at_least_0 param_error ();
    end
    if (WORDS > 512000) begin : gen_check_words_most
        WORDS_must_be_at_most_512000 param_error ();
    end
endgenerate

genvar i;
generate
if (WORDS <= 0) begin : gen_pass

    assign s_axis_tready = m_axis_tready && !rst;
    assign m_axis_tdata  = s_axis_tdata;
    assign m_axis_tvalid = s_axis_tvalid && !rst;
    assign m_axis_tlast  = s_axis_tlast;

    wire unused_gen_pass = &{1'b0, clk};

end else begin : gen_boot

    localparam integer CHUNKS = (WORDS + 511) / 512;
    localparam integer PAIRS  = (CHUNKS + 1) / 2;
    // Address of the last word in the last chunk.
    localparam integer LAST = (WORDS - 1) % 512;

    reg  [8:0]        address_reg;
    // One bit a chunk; none when all is played.
    reg  [CHUNKS-1:0] select_reg;
    // How far the word at the address has come: 0001 it is in the memories' outputs, 1000 in data_reg.
    reg  [3:0]        step_reg;
    // The address is the highest of a chunk.
    reg               wrap_reg;
    reg               last_reg;
    reg               done_reg;

    // The selected word in its pair, 0 in all others; with an odd number of chunks the last pair has none above.
    wire [64*PAIRS-1:0] words;
    wire [2*PAIRS-1:0]  select;
    reg  [32*PAIRS-1:0] pairs_reg;
    reg  [31:0]         data_reg;
    reg  [31:0]         merged;

    wire taken = step_reg[3] && m_axis_tready;

    assign s_axis_tready = done_reg && !rst && m_axis_tready;
    assign m_axis_tdata  = done_reg ? s_axis_tdata : data_reg;
    assign m_axis_tvalid = done_reg ? s_axis_tvalid && !rst : step_reg[3];
    assign m_axis_tlast  = done_reg ? s_axis_tlast : last_reg;

    always @* begin : merge
        integer k;
        merged = 32'd0;
        for (k = 0; k < PAIRS; k = k + 1) begin
            merged = merged | pairs_reg[32*k +: 32];
        end
    end

    always @(posedge clk) begin
        data_reg <= merged;
        wrap_reg <= address_reg == 9'd511;
        last_reg <= select_reg[CHUNKS-1] && address_reg == LAST[8:0];
        step_reg <= taken ? 4'b0000 : {step_reg[3] || step_reg[2], step_reg[1:0], step_reg == 4'b0000};
        if (taken) begin
            address_reg <= address_reg + 9'd1;
            done_reg    <= last_reg;
            if (last_reg) begin
                select_reg <= {CHUNKS{1'b0}};
            end else if (wrap_reg) begin
                select_reg <= select_reg << 1;
            end
        end
        if (done_reg) begin
            step_reg <= 4'b0000;
        end
        if (rst) begin
            address_reg <= 9'd0;
            select_reg  <= {{(CHUNKS-1){1'b0}}, 1'b1};
            step_reg    <= 4'b0000;
            done_reg    <= 1'b0;
        end
    end

    for (i = 0; i < CHUNKS; i = i + 1) begin : gen_chunk
        localparam integer HUNDREDS = 48 + i / 100;
        localparam integer TENS = 48 + (i / 10) % 10;
        localparam integer UNITS = 48 + i % 10;
        localparam CHUNK_FILE = {FILE, ".", HUNDREDS[7:0], TENS[7:0], UNITS[7:0], ".mem"};

        (* ram_style = "block" *)
        reg [31:0] rom [0:511];
        reg [31:0] word_reg;
        reg [31:0] word_out_reg;

        assign words[32*i +: 32] = word_out_reg;
        assign select[i]         = select_reg[i];

        initial begin
            if (FILE != "") begin
                $readmemh(CHUNK_FILE, rom);
            end
        end

        always @(posedge clk) begin
            word_reg     <= rom[address_reg];
            word_out_reg <= word_reg;
        end
    end

    if (CHUNKS % 2 == 1) begin : gen_odd
        assign words[32*CHUNKS +: 32] = 32'd0;
        assign select[CHUNKS]         = 1'b0;
    end

    for (i = 0; i < PAIRS; i = i + 1) begin : gen_pair
        always @(posedge clk) begin
            pairs_reg[32*i +: 32] <= (words[64*i +: 32] & {32{select[2*i]}}) |
                                     (words[64*i + 32 +: 32] & {32{select[2*i+1]}});
        end
    end

end
endgenerate

endmodule

`resetall
