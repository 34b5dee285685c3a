// DP16KD.v : the block RAM of the ECP5, for simulation of netlists
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`resetall
`timescale 1ns / 1ps
`default_nettype none

// 1,024 rows of 18 bits with two ports, after Lattice's FPGA-TN-02204 and what Yosys' techlibs/ecp5 (brams.txt,
// brams_map.v) takes for granted of it. A port's address AD[13:0] counts bits, parity bits not counted:
//
//     DATA_WIDTH  18: row AD[13:4]; AD[1:0] enable the writing of bits 17:9 and 8:0
//                  9: half AD[3] of that row: bits 17:9 or 8:0
//            4, 2, 1: nibble AD[2], pair AD[2:1] or bit AD[2:0] of that half's lower eight bits
//                 36: rows 2*AD[13:5] (bits 17:0) and the one behind it; written through port A at ADA, bits 17:0 from
//                     DIA, 35:18 from DIB, AD[3:0] enabling nines; read through port B at ADB, bits 17:0 at DOA
//
// INITVAL_xx holds 16 rows, 20 bits each, the upper two unused. Data pins beyond the width are not read; what comes out
// of them is x. A port is selected while CS equals CSDECODE; CE and CS gate both reading and writing.
//
// Write mode NORMAL keeps the output while writing, WRITETHROUGH shows the new word, READBEFOREWRITE the old one.
// OUTREG adds a register behind the output latch that OCE enables. RST clears latch and register, with RESETMODE SYNC at
// the clock whatever CE is, and holds off that port's writes; it never clears the memory.
//
// Nines that both ports write at one edge, and bits that one reads while the other writes them, are x: nothing says what
// the device does. (Two clocks count as one edge while both are high.)
//
// GSR has no effect: registers start from 0. Refused: inverted pins but the clocks' (their parameters are missing here),
// and an asynchronous reset with a synchronous release.
module DP16KD #(
    parameter integer DATA_WIDTH_A = 18,
    parameter integer DATA_WIDTH_B = 18,
    parameter [127:0] REGMODE_A = "NOREG",
    parameter [127:0] REGMODE_B = "NOREG",
    parameter [127:0] RESETMODE = "SYNC",
    parameter [127:0] ASYNC_RESET_RELEASE = "SYNC",
    parameter [127:0] CSDECODE_A = "0b000",
    parameter [127:0] CSDECODE_B = "0b000",
    parameter [127:0] WRITEMODE_A = "NORMAL",
    parameter [127:0] WRITEMODE_B = "NORMAL",
    parameter [127:0] CLKAMUX = "CLKA",
    parameter [127:0] CLKBMUX = "CLKB",
    parameter [127:0] GSR = "ENABLED",
    parameter [319:0] INITVAL_00 = 320'd0,
    parameter [319:0] INITVAL_01 = 320'd0,
    parameter [319:0] INITVAL_02 = 320'd0,
    parameter [319:0] INITVAL_03 = 320'd0,
    parameter [319:0] INITVAL_04 = 320'd0,
    parameter [319:0] INITVAL_05 = 320'd0,
    parameter [319:0] INITVAL_06 = 320'd0,
    parameter [319:0] INITVAL_07 = 320'd0,
    parameter [319:0] INITVAL_08 = 320'd0,
    parameter [319:0] INITVAL_09 = 320'd0,
    parameter [319:0] INITVAL_0A = 320'd0,
    parameter [319:0] INITVAL_0B = 320'd0,
    parameter [319:0] INITVAL_0C = 320'd0,
    parameter [319:0] INITVAL_0D = 320'd0,
    parameter [319:0] INITVAL_0E = 320'd0,
    parameter [319:0] INITVAL_0F = 320'd0,
    parameter [319:0] INITVAL_10 = 320'd0,
    parameter [319:0] INITVAL_11 = 320'd0,
    parameter [319:0] INITVAL_12 = 320'd0,
    parameter [319:0] INITVAL_13 = 320'd0,
    parameter [319:0] INITVAL_14 = 320'd0,
    parameter [319:0] INITVAL_15 = 320'd0,
    parameter [319:0] INITVAL_16 = 320'd0,
    parameter [319:0] INITVAL_17 = 320'd0,
    parameter [319:0] INITVAL_18 = 320'd0,
    parameter [319:0] INITVAL_19 = 320'd0,
    parameter [319:0] INITVAL_1A = 320'd0,
    parameter [319:0] INITVAL_1B = 320'd0,
    parameter [319:0] INITVAL_1C = 320'd0,
    parameter [319:0] INITVAL_1D = 320'd0,
    parameter [319:0] INITVAL_1E = 320'd0,
    parameter [319:0] INITVAL_1F = 320'd0,
    parameter [319:0] INITVAL_20 = 320'd0,
    parameter [319:0] INITVAL_21 = 320'd0,
    parameter [319:0] INITVAL_22 = 320'd0,
    parameter [319:0] INITVAL_23 = 320'd0,
    parameter [319:0] INITVAL_24 = 320'd0,
    parameter [319:0] INITVAL_25 = 320'd0,
    parameter [319:0] INITVAL_26 = 320'd0,
    parameter [319:0] INITVAL_27 = 320'd0,
    parameter [319:0] INITVAL_28 = 320'd0,
    parameter [319:0] INITVAL_29 = 320'd0,
    parameter [319:0] INITVAL_2A = 320'd0,
    parameter [319:0] INITVAL_2B = 320'd0,
    parameter [319:0] INITVAL_2C = 320'd0,
    parameter [319:0] INITVAL_2D = 320'd0,
    parameter [319:0] INITVAL_2E = 320'd0,
    parameter [319:0] INITVAL_2F = 320'd0,
    parameter [319:0] INITVAL_30 = 320'd0,
    parameter [319:0] INITVAL_31 = 320'd0,
    parameter [319:0] INITVAL_32 = 320'd0,
    parameter [319:0] INITVAL_33 = 320'd0,
    parameter [319:0] INITVAL_34 = 320'd0,
    parameter [319:0] INITVAL_35 = 320'd0,
    parameter [319:0] INITVAL_36 = 320'd0,
    parameter [319:0] INITVAL_37 = 320'd0,
    parameter [319:0] INITVAL_38 = 320'd0,
    parameter [319:0] INITVAL_39 = 320'd0,
    parameter [319:0] INITVAL_3A = 320'd0,
    parameter [319:0] INITVAL_3B = 320'd0,
    parameter [319:0] INITVAL_3C = 320'd0,
    parameter [319:0] INITVAL_3D = 320'd0,
    parameter [319:0] INITVAL_3E = 320'd0,
    parameter [319:0] INITVAL_3F = 320'd0
) (
    input  wire DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3,
        DIA2, DIA1, DIA0,
    input  wire ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input  wire CLKA, CEA, OCEA, WEA, RSTA, CSA2, CSA1, CSA0,
    output wire DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3,
        DOA2, DOA1, DOA0,
    input  wire DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3,
        DIB2, DIB1, DIB0,
    input  wire ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input  wire CLKB, CEB, OCEB, WEB, RSTB, CSB2, CSB1, CSB0,
    output wire DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3,
        DOB2, DOB1, DOB0
);

// ---- parameters

localparam integer WIDTH_A = DATA_WIDTH_A;
localparam integer WIDTH_B = DATA_WIDTH_B;
localparam [0:0] WIDE_WRITE = WIDTH_A == 36;
localparam [0:0] WIDE_READ = WIDTH_B == 36;
localparam [0:0] ASYNC = RESETMODE == "ASYNC";

`define DP16KD_CS(DECODE) (DECODE == "0b000" ? 3'd0 : DECODE == "0b001" ? 3'd1 : DECODE == "0b010" ? 3'd2 : \
    DECODE == "0b011" ? 3'd3 : DECODE == "0b100" ? 3'd4 : DECODE == "0b101" ? 3'd5 : DECODE == "0b110" ? 3'd6 : 3'd7)
`define DP16KD_NARROW(WIDTH) (WIDTH == 1 || WIDTH == 2 || WIDTH == 4 || WIDTH == 9 || WIDTH == 18)

localparam [2:0] SELECT_A = `DP16KD_CS(CSDECODE_A);
localparam [2:0] SELECT_B = `DP16KD_CS(CSDECODE_B);

generate
    if (!(`DP16KD_NARROW(WIDTH_A) || WIDE_WRITE) || !(`DP16KD_NARROW(WIDTH_B) || WIDE_READ)) begin : gen_check_width
        DATA_WIDTH_must_be_1_2_4_9_18_or_36 param_error ();
    end
    if ((REGMODE_A != "NOREG" && REGMODE_A != "OUTREG") || (REGMODE_B != "NOREG" && REGMODE_B != "OUTREG"))
    begin : gen_check_regmode
        REGMODE_must_be_NOREG_or_OUTREG param_error ();
    end
    if (!ASYNC && RESETMODE != "SYNC") begin : gen_check_resetmode
        RESETMODE_must_be_SYNC_or_ASYNC param_error ();
    end
    if (ASYNC && ASYNC_RESET_RELEASE != "ASYNC") begin : gen_check_release
        a_synchronous_release_of_RST_is_not_modelled param_error ();
    end
    if ((WRITEMODE_A != "NORMAL" && WRITEMODE_A != "WRITETHROUGH" && WRITEMODE_A != "READBEFOREWRITE") ||
        (WRITEMODE_B != "NORMAL" && WRITEMODE_B != "WRITETHROUGH" && WRITEMODE_B != "READBEFOREWRITE"))
    begin : gen_check_writemode
        WRITEMODE_must_be_NORMAL_WRITETHROUGH_or_READBEFOREWRITE param_error ();
    end
    if ((SELECT_A == 3'd7 && CSDECODE_A != "0b111") || (SELECT_B == 3'd7 && CSDECODE_B != "0b111"))
    begin : gen_check_csdecode
        CSDECODE_must_be_0b000_to_0b111 param_error ();
    end
    if ((CLKAMUX != "CLKA" && CLKAMUX != "INV") || (CLKBMUX != "CLKB" && CLKBMUX != "INV")) begin : gen_check_clkmux
        CLKMUX_must_be_CLK_or_INV param_error ();
    end
endgenerate

// ---- pins

wire [17:0] dia = {
    DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9,
    DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0
};
wire [17:0] dib = {
    DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9,
    DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0
};
wire [13:0] ada = {
    ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7,
    ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0
};
wire [13:0] adb = {
    ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7,
    ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0
};

wire clka = CLKA ^ (CLKAMUX == "INV");
wire clkb = CLKB ^ (CLKBMUX == "INV");
wire on_a = CEA && {CSA2, CSA1, CSA0} == SELECT_A;
wire on_b = CEB && {CSB2, CSB1, CSB0} == SELECT_B;

// The place of a port's word in its pair of rows; `ad` is AD[4:0].
function [5:0] place;
    input integer width;
    input [4:0] ad;
    begin
        if (width == 36) begin
            place = 6'd0;
        end else if (width == 18) begin
            place = ad[4] ? 6'd18 : 6'd0;
        end else begin
            place = (ad[4] ? 6'd18 : 6'd0) + (ad[3] ? 6'd9 : 6'd0);
            if (width == 4) begin
                place = place + {3'd0, ad[2], 2'd0};
            end else if (width == 2) begin
                place = place + {3'd0, ad[2:1], 1'd0};
            end else if (width == 1) begin
                place = place + {3'd0, ad[2:0]};
            end
        end
    end
endfunction

// The bits of the pair that a write replaces.
function [35:0] enabled;
    input integer width;
    input [4:0] ad;
    begin
        if (width == 36) begin
            enabled = {{9{ad[3]}}, {9{ad[2]}}, {9{ad[1]}}, {9{ad[0]}}};
        end else if (width == 18) begin
            enabled = {18'd0, {9{ad[1]}}, {9{ad[0]}}} << place(width, ad);
        end else begin
            enabled = ((36'd1 << width) - 36'd1) << place(width, ad);
        end
    end
endfunction

// A port's word out of its pair; x where it has no bits.
function [35:0] word;
    input integer width;
    input [4:0] ad;
    input [35:0] pair;
    begin
        word = pair >> place(width, ad);
        if (width < 36) begin
            word = word | ({36{1'bx}} << width);
        end
    end
endfunction

// The nines in which `bits` has a one.
function [35:0] nines;
    input [35:0] bits;
    begin
        nines = {{9{|bits[35:27]}}, {9{|bits[26:18]}}, {9{|bits[17:9]}}, {9{|bits[8:0]}}};
    end
endfunction

// ---- memory: a pair of rows in four nines, the lower row in nines 0 and 1

reg [8:0] nine0 [0:511];
reg [8:0] nine1 [0:511];
reg [8:0] nine2 [0:511];
reg [8:0] nine3 [0:511];

// Sixteen rows of 20 bits.
function [319:0] initial_rows;
    input [5:0] index;
    begin
        case (index)
            6'h00: initial_rows = INITVAL_00;
            6'h01: initial_rows = INITVAL_01;
            6'h02: initial_rows = INITVAL_02;
            6'h03: initial_rows = INITVAL_03;
            6'h04: initial_rows = INITVAL_04;
            6'h05: initial_rows = INITVAL_05;
            6'h06: initial_rows = INITVAL_06;
            6'h07: initial_rows = INITVAL_07;
            6'h08: initial_rows = INITVAL_08;
            6'h09: initial_rows = INITVAL_09;
            6'h0a: initial_rows = INITVAL_0A;
            6'h0b: initial_rows = INITVAL_0B;
            6'h0c: initial_rows = INITVAL_0C;
            6'h0d: initial_rows = INITVAL_0D;
            6'h0e: initial_rows = INITVAL_0E;
            6'h0f: initial_rows = INITVAL_0F;
            6'h10: initial_rows = INITVAL_10;
            6'h11: initial_rows = INITVAL_11;
            6'h12: initial_rows = INITVAL_12;
            6'h13: initial_rows = INITVAL_13;
            6'h14: initial_rows = INITVAL_14;
            6'h15: initial_rows = INITVAL_15;
            6'h16: initial_rows = INITVAL_16;
            6'h17: initial_rows = INITVAL_17;
            6'h18: initial_rows = INITVAL_18;
            6'h19: initial_rows = INITVAL_19;
            6'h1a: initial_rows = INITVAL_1A;
            6'h1b: initial_rows = INITVAL_1B;
            6'h1c: initial_rows = INITVAL_1C;
            6'h1d: initial_rows = INITVAL_1D;
            6'h1e: initial_rows = INITVAL_1E;
            6'h1f: initial_rows = INITVAL_1F;
            6'h20: initial_rows = INITVAL_20;
            6'h21: initial_rows = INITVAL_21;
            6'h22: initial_rows = INITVAL_22;
            6'h23: initial_rows = INITVAL_23;
            6'h24: initial_rows = INITVAL_24;
            6'h25: initial_rows = INITVAL_25;
            6'h26: initial_rows = INITVAL_26;
            6'h27: initial_rows = INITVAL_27;
            6'h28: initial_rows = INITVAL_28;
            6'h29: initial_rows = INITVAL_29;
            6'h2a: initial_rows = INITVAL_2A;
            6'h2b: initial_rows = INITVAL_2B;
            6'h2c: initial_rows = INITVAL_2C;
            6'h2d: initial_rows = INITVAL_2D;
            6'h2e: initial_rows = INITVAL_2E;
            6'h2f: initial_rows = INITVAL_2F;
            6'h30: initial_rows = INITVAL_30;
            6'h31: initial_rows = INITVAL_31;
            6'h32: initial_rows = INITVAL_32;
            6'h33: initial_rows = INITVAL_33;
            6'h34: initial_rows = INITVAL_34;
            6'h35: initial_rows = INITVAL_35;
            6'h36: initial_rows = INITVAL_36;
            6'h37: initial_rows = INITVAL_37;
            6'h38: initial_rows = INITVAL_38;
            6'h39: initial_rows = INITVAL_39;
            6'h3a: initial_rows = INITVAL_3A;
            6'h3b: initial_rows = INITVAL_3B;
            6'h3c: initial_rows = INITVAL_3C;
            6'h3d: initial_rows = INITVAL_3D;
            6'h3e: initial_rows = INITVAL_3E;
            default: initial_rows = INITVAL_3F;
        endcase
    end
endfunction

integer i;
integer j;
reg [319:0] rows;
initial begin
    for (i = 0; i < 64; i = i + 1) begin
        rows = initial_rows(i[5:0]);
        for (j = 0; j < 8; j = j + 1) begin
            nine0[8*i+j] = rows[40*j +: 9];
            nine1[8*i+j] = rows[40*j+9 +: 9];
            nine2[8*i+j] = rows[40*j+20 +: 9];
            nine3[8*i+j] = rows[40*j+29 +: 9];
        end
    end
end

wire [8:0]  pair_a = ada[13:5];
wire [8:0]  pair_b = adb[13:5];
wire [35:0] old_a = {nine3[pair_a], nine2[pair_a], nine1[pair_a], nine0[pair_a]};
wire [35:0] old_b = {nine3[pair_b], nine2[pair_b], nine1[pair_b], nine0[pair_b]};

// ---- writing: new bits, and which of the pair they replace. A word of 36 bits leaves port B nothing to write with.

wire        write_a = on_a && WEA && (ASYNC || !RSTA);
wire        write_b = on_b && WEB && (ASYNC || !RSTB) && !WIDE_WRITE && !WIDE_READ;
wire [35:0] mask_a = write_a ? enabled(WIDTH_A, ada[4:0]) : 36'd0;
wire [35:0] mask_b = write_b ? enabled(WIDTH_B, adb[4:0]) : 36'd0;
wire [35:0] data_a = WIDE_WRITE ? {dib, dia} : {18'd0, dia} << place(WIDTH_A, ada[4:0]);
wire [35:0] data_b = {18'd0, dib} << place(WIDTH_B, adb[4:0]);

// The other port writes these bits of the pair at the same edge.
wire        together = clka == clkb && pair_a == pair_b;
wire [35:0] clash_a = together ? mask_b : 36'd0;
wire [35:0] clash_b = together ? mask_a : 36'd0;

wire [35:0] new_a = (old_a & ~mask_a) | (data_a & mask_a) | (nines(clash_a) & {36{1'bx}});
wire [35:0] new_b = (old_b & ~mask_b) | (data_b & mask_b) | (nines(clash_b) & {36{1'bx}});

always @(posedge clka) begin
    if (|mask_a[8:0]) begin
        nine0[pair_a] <= new_a[8:0];
    end
    if (|mask_a[17:9]) begin
        nine1[pair_a] <= new_a[17:9];
    end
    if (|mask_a[26:18]) begin
        nine2[pair_a] <= new_a[26:18];
    end
    if (|mask_a[35:27]) begin
        nine3[pair_a] <= new_a[35:27];
    end
end

always @(posedge clkb) begin
    if (|mask_b[8:0]) begin
        nine0[pair_b] <= new_b[8:0];
    end
    if (|mask_b[17:9]) begin
        nine1[pair_b] <= new_b[17:9];
    end
    if (|mask_b[26:18]) begin
        nine2[pair_b] <= new_b[26:18];
    end
    if (|mask_b[35:27]) begin
        nine3[pair_b] <= new_b[35:27];
    end
end

// ---- reading

wire        load_a = on_a && !(write_a && WRITEMODE_A == "NORMAL");
wire        load_b = on_b && !(write_b && WRITEMODE_B == "NORMAL");
wire [35:0] seen_a = (WRITEMODE_A == "WRITETHROUGH" ? new_a : old_a) & ~clash_a | (clash_a & {36{1'bx}});
wire [35:0] seen_b = (WRITEMODE_B == "WRITETHROUGH" ? new_b : old_b) & ~clash_b | (clash_b & {36{1'bx}});

wire [35:0] latch_a;
wire [35:0] latch_b;
wire [35:0] out_a;
wire [35:0] out_b;

DP16KD_register #(.ASYNC(ASYNC)) latch_a_inst (
    .clk(clka), .rst(RSTA), .ce(load_a), .d(word(WIDTH_A, ada[4:0], seen_a)), .q(latch_a)
);

DP16KD_register #(.ASYNC(ASYNC)) latch_b_inst (
    .clk(clkb), .rst(RSTB), .ce(load_b), .d(word(WIDTH_B, adb[4:0], seen_b)), .q(latch_b)
);

generate
    if (REGMODE_A == "OUTREG") begin : gen_outreg_a
        DP16KD_register #(.ASYNC(ASYNC)) reg_inst (.clk(clka), .rst(RSTA), .ce(OCEA), .d(latch_a), .q(out_a));
    end else begin : gen_noreg_a
        assign out_a = latch_a;
    end
    if (REGMODE_B == "OUTREG") begin : gen_outreg_b
        DP16KD_register #(.ASYNC(ASYNC)) reg_inst (.clk(clkb), .rst(RSTB), .ce(OCEB), .d(latch_b), .q(out_b));
    end else begin : gen_noreg_b
        assign out_b = latch_b;
    end
endgenerate

assign {
    DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9,
    DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0
} = WIDE_READ ? out_b[17:0] : WIDE_WRITE ? {18{1'bx}} : out_a[17:0];

assign {
    DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9,
    DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
} = WIDE_READ ? out_b[35:18] : out_b[17:0];

endmodule

`undef DP16KD_CS
`undef DP16KD_NARROW
`resetall
