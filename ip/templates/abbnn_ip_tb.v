// abbnn_ip_tb.v : abbnn_ip from reset to results, which are compared with those in results.mem
// SPDX-FileCopyrightText: 2026 The abbnn authors
// SPDX-License-Identifier: Apache-2.0
// Language: Verilog-2005
`timescale 1ns / 1ps
`default_nettype none

// Starts the block up as README.md says, then streams @IMAGES@ images back to back and takes their results slowly. Its last
// line begins with PASS, or with FAIL and the first difference. Files are read from tb/ below the folder that it runs in.
module abbnn_ip_tb;

localparam integer IMAGES   = @IMAGES@;
localparam integer PIXELS   = @PIXELS@;
localparam integer BEATS    = @BEATS@;
// Cycles without a result after which none will come.
localparam integer PATIENCE = @PATIENCE@;
@if loadable
localparam integer LOAD     = @LOAD_WORDS@;
@end

reg [31:0] pixels  [0:IMAGES*PIXELS-1];
reg [31:0] results [0:IMAGES*BEATS-1];
@if loadable
reg [31:0] load    [0:LOAD-1];
@end

reg         aclk = 1'b0;
reg         aresetn = 1'b0;
reg  [31:0] s_axis_tdata = 32'd0;
reg         s_axis_tvalid = 1'b0;
wire        s_axis_tready;
reg         s_axis_tlast = 1'b0;
wire [31:0] m_axis_tdata;
wire        m_axis_tvalid;
reg         m_axis_tready = 1'b0;
wire        m_axis_tlast;
@if loadable
reg  [31:0] s_load_axis_tdata = 32'd0;
reg         s_load_axis_tvalid = 1'b0;
wire        s_load_axis_tready;
reg         s_load_axis_tlast = 1'b0;
@end
reg  [11:0] s_axil_awaddr = 12'd0;
reg         s_axil_awvalid = 1'b0;
wire        s_axil_awready;
reg  [31:0] s_axil_wdata = 32'd0;
reg         s_axil_wvalid = 1'b0;
wire        s_axil_wready;
wire [1:0]  s_axil_bresp;
wire        s_axil_bvalid;
reg         s_axil_bready = 1'b0;
reg  [11:0] s_axil_araddr = 12'd0;
reg         s_axil_arvalid = 1'b0;
wire        s_axil_arready;
wire [31:0] s_axil_rdata;
wire [1:0]  s_axil_rresp;
wire        s_axil_rvalid;
reg         s_axil_rready = 1'b0;
wire        interrupt;

abbnn_ip dut (
    .aclk(aclk),
    .aresetn(aresetn),
    .s_axis_tdata(s_axis_tdata),
    .s_axis_tvalid(s_axis_tvalid),
    .s_axis_tready(s_axis_tready),
    .s_axis_tlast(s_axis_tlast),
    .m_axis_tdata(m_axis_tdata),
    .m_axis_tvalid(m_axis_tvalid),
    .m_axis_tready(m_axis_tready),
    .m_axis_tlast(m_axis_tlast),
@if loadable
    .s_load_axis_tdata(s_load_axis_tdata),
    .s_load_axis_tvalid(s_load_axis_tvalid),
    .s_load_axis_tready(s_load_axis_tready),
    .s_load_axis_tlast(s_load_axis_tlast),
@end
    .s_axil_awaddr(s_axil_awaddr),
    .s_axil_awprot(3'd0),
    .s_axil_awvalid(s_axil_awvalid),
    .s_axil_awready(s_axil_awready),
    .s_axil_wdata(s_axil_wdata),
    .s_axil_wstrb(4'hf),
    .s_axil_wvalid(s_axil_wvalid),
    .s_axil_wready(s_axil_wready),
    .s_axil_bresp(s_axil_bresp),
    .s_axil_bvalid(s_axil_bvalid),
    .s_axil_bready(s_axil_bready),
    .s_axil_araddr(s_axil_araddr),
    .s_axil_arprot(3'd0),
    .s_axil_arvalid(s_axil_arvalid),
    .s_axil_arready(s_axil_arready),
    .s_axil_rdata(s_axil_rdata),
    .s_axil_rresp(s_axil_rresp),
    .s_axil_rvalid(s_axil_rvalid),
    .s_axil_rready(s_axil_rready),
    .interrupt(interrupt)
);

always #5 aclk = !aclk;

// Inputs change at the falling edge; what a rising edge transfers is looked at there.

reg     failed = 1'b0;
reg     started = 1'b0;
integer cycle = 0;
integer waited = 0;
integer received = 0;
integer sent;
integer polls;
reg [31:0] value;

task fail;
    begin
        failed = 1'b1;
        $finish;
    end
endtask

task read_register;
    input [11:0] address;
    begin
        @(negedge aclk);
        s_axil_araddr  = address;
        s_axil_arvalid = 1'b1;
        s_axil_rready  = 1'b1;
        @(posedge aclk);
        while (!s_axil_arready) @(posedge aclk);
        @(negedge aclk);
        s_axil_arvalid = 1'b0;
        @(posedge aclk);
        while (!s_axil_rvalid) @(posedge aclk);
        value = s_axil_rdata;
        if (s_axil_rresp !== 2'b00 && !failed) begin
            $display("FAIL: reading register 0x%h is answered by %b", address, s_axil_rresp);
            fail;
        end
        @(negedge aclk);
        s_axil_rready = 1'b0;
    end
endtask

task write_register;
    input [11:0] address;
    input [31:0] data;
    begin
        @(negedge aclk);
        s_axil_awaddr  = address;
        s_axil_wdata   = data;
        s_axil_awvalid = 1'b1;
        s_axil_wvalid  = 1'b1;
        s_axil_bready  = 1'b1;
        while (s_axil_awvalid || s_axil_wvalid) begin
            @(posedge aclk);
            // Both are read before either changes.
            value = {30'd0, s_axil_awready, s_axil_wready};
            @(negedge aclk);
            s_axil_awvalid = s_axil_awvalid && !value[1];
            s_axil_wvalid  = s_axil_wvalid && !value[0];
        end
        @(posedge aclk);
        while (!s_axil_bvalid) @(posedge aclk);
        if (s_axil_bresp !== 2'b00 && !failed) begin
            $display("FAIL: writing register 0x%h is answered by %b", address, s_axil_bresp);
            fail;
        end
        @(negedge aclk);
        s_axil_bready = 1'b0;
    end
endtask

task expect_register;
    input [11:0] address;
    input [31:0] wanted;
    begin
        read_register(address);
        if (value !== wanted && !failed) begin
            $display("FAIL: register 0x%h is 0x%h, expected 0x%h", address, value, wanted);
            fail;
        end
    end
endtask

initial begin
    $readmemh("tb/pixels.mem", pixels);
    $readmemh("tb/results.mem", results);
@if loadable
    $readmemh("tb/load.mem", load);
@end
    for (sent = 0; sent < 4; sent = sent + 1) @(negedge aclk);
    aresetn = 1'b1;
    expect_register(12'h@ID@, 32'h@IDENTITY@);
    read_register(12'h@VERSION@);
    if (value[31:16] !== 16'd@MAJOR@ && !failed) begin
        $display("FAIL: the register map is of version %0d", value[31:16]);
        fail;
    end
    expect_register(12'h@IMAGE@, {16'd@HEIGHT@, 16'd@WIDTH@});
    expect_register(12'h@SHAPE@, {16'd@STAGES@, 16'd@CLASSES@});
    expect_register(12'h@LAYOUT@, 32'h@LAYOUT_ID@);
@if loadable
    for (sent = 0; sent < LOAD; sent = sent + 1) begin
        @(negedge aclk);
        s_load_axis_tdata  = load[sent];
        s_load_axis_tvalid = 1'b1;
        s_load_axis_tlast  = sent == LOAD - 1;
        @(posedge aclk);
        while (!s_load_axis_tready) @(posedge aclk);
    end
    @(negedge aclk);
    s_load_axis_tvalid = 1'b0;
@end
    read_register(12'h@STATUS@);
    for (polls = 0; !value[0] && polls < 1000; polls = polls + 1) read_register(12'h@STATUS@);
    if (value[3:0] !== 4'b0001 && !failed) begin
        $display("FAIL: STATUS is 0x%h, expected 0x00000001", value);
        fail;
    end
    expect_register(12'h@NETWORK_LO@, 32'h@NETWORK_LOW@);
    expect_register(12'h@NETWORK_HI@, 32'h@NETWORK_HIGH@);
    write_register(12'h@IRQ_PENDING@, 32'hf);
    write_register(12'h@IRQ_ENABLE@, 32'h1);
    started = 1'b1;
    for (sent = 0; sent < IMAGES * PIXELS; sent = sent + 1) begin
        @(negedge aclk);
        s_axis_tdata  = pixels[sent];
        s_axis_tvalid = 1'b1;
        s_axis_tlast  = sent % PIXELS == PIXELS - 1;
        @(posedge aclk);
        while (!s_axis_tready) @(posedge aclk);
    end
    @(negedge aclk);
    s_axis_tvalid = 1'b0;
    s_axis_tlast  = 1'b0;
    while (received < IMAGES * BEATS) @(negedge aclk);
    // Nothing may follow, and the interrupt is a few cycles late.
    for (polls = 0; polls < 64; polls = polls + 1) @(negedge aclk);
    if (!interrupt && !failed) begin
        $display("FAIL: no interrupt");
        fail;
    end
    expect_register(12'h@IRQ_PENDING@, 32'h1);
    write_register(12'h@IRQ_PENDING@, 32'h1);
    @(negedge aclk);
    @(negedge aclk);
    if (interrupt && !failed) begin
        $display("FAIL: the interrupt stays");
        fail;
    end
    expect_register(12'h@FRAMES@, IMAGES);
    expect_register(12'h@SHORT_FRAMES@, 32'd0);
    expect_register(12'h@LONG_FRAMES@, 32'd0);
    if (!failed) begin
        $display("PASS: %0d results of network @NETWORK_HIGH@@NETWORK_LOW@ are right, %0d cycles", IMAGES, cycle);
    end
    $finish;
end

// Three cycles of five are taken, so that results wait, too.
always @(negedge aclk) begin
    m_axis_tready = cycle % 5 < 3;
end

always @(posedge aclk) begin
    cycle  <= cycle + 1;
    waited <= started && received < IMAGES * BEATS ? waited + 1 : 0;
    if (aresetn && m_axis_tvalid && m_axis_tready && !failed) begin
        if (received == IMAGES * BEATS) begin
            $display("FAIL: a beat behind the last result: 0x%h", m_axis_tdata);
            fail;
        end else if (m_axis_tdata !== results[received] || m_axis_tlast !== (received % BEATS == BEATS - 1)) begin
            $display("FAIL: beat %0d of result %0d is 0x%h, tlast %b, expected 0x%h", received % BEATS, received / BEATS,
                     m_axis_tdata, m_axis_tlast, results[received]);
            fail;
        end
        received <= received + 1;
        waited   <= 0;
    end
    if (waited == PATIENCE && !failed) begin
        $display("FAIL: %0d of %0d beats, then none for %0d cycles", received, IMAGES * BEATS, PATIENCE);
        fail;
    end
end

endmodule
