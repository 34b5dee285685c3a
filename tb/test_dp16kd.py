"""tb/cells/DP16KD.v: memories in plain Verilog against what Yosys maps them to, cycle by cycle on random vectors.

All memories of `MEMORIES` are in one design, synthesised once; source and netlist run side by side. What Yosys does not
map to (the output register, the chip select, resets) is compared with a few lines of Verilog here.
"""

import functools
import os
import random
import re
import shutil
import subprocess

import pytest

from abbnn.syn import gates
from abbnn.tb.bench import BUILD, seed, verilator_environment

CYCLES = 2000

WRITE = "if (we[0]) {name}[waddr[{abits}:0]] <= wdata[{bits}:0];"
READ = "if (re) {out} <= {name}[raddr[{abits}:0]];"


def simple(bits, depth):
    """One write port, one read port; a read of the word that is being written gives the old one."""
    return f"reg [{bits - 1}:0] mem [0:{depth - 1}];\n" + clocked(WRITE, READ), bits, depth


def clocked(*statements):
    return "always @(posedge clk) begin\n" + "\n".join(statements) + "\nend\n"


def rom(bits, depth):
    return f"reg [{bits - 1}:0] mem [0:{depth - 1}];\n" + filled(bits, depth) + clocked(READ), bits, depth


def filled(bits, depth):
    return f'initial $readmemh("{bits}x{depth}.mem", mem);\n'


def words(bits, depth):
    """What `filled` reads."""
    generator = random.Random(f"{seed()} {bits} {depth}")
    return "".join(f"{generator.getrandbits(bits):x}\n" for _ in range(depth))


def nines(count, depth):
    """Every nine bits have an enable of their own."""
    writes = [
        f"if (we[{k}]) mem[waddr[{{abits}}:0]][{9 * k + 8}:{9 * k}] <= wdata[{9 * k + 8}:{9 * k}];"
        for k in range(count)
    ]
    return (
        f"reg [{9 * count - 1}:0] mem [0:{depth - 1}];\n" + filled(9 * count, depth) + clocked(*writes, READ),
        9 * count,
        depth,
    )


def single(bits, depth, mode):
    """One port for both; what it shows of a word that it writes."""
    body = {
        "old": "if (re) begin {out} <= mem[waddr[{abits}:0]]; if (we[0]) mem[waddr[{abits}:0]] <= wdata[{bits}:0]; end",
        "new": "if (re) begin if (we[0]) begin mem[waddr[{abits}:0]] <= wdata[{bits}:0]; {out} <= wdata[{bits}:0]; end "
        "else {out} <= mem[waddr[{abits}:0]]; end",
        "none": "if (re) begin if (we[0]) mem[waddr[{abits}:0]] <= wdata[{bits}:0]; "
        "else {out} <= mem[waddr[{abits}:0]]; end",
    }[mode]
    return f"reg [{bits - 1}:0] mem [0:{depth - 1}];\n" + filled(bits, depth) + clocked(body), bits, depth


def cleared(bits, depth):
    """A read port whose register has a reset."""
    read = "if (rst) {out} <= 0; else if (re) {out} <= mem[raddr[{abits}:0]];"
    return f"reg [{bits - 1}:0] mem [0:{depth - 1}];\n" + filled(bits, depth) + clocked(WRITE, read), bits, depth


MEMORIES = {
    "simple36": simple(36, 512),
    "simple18": simple(18, 1024),
    "simple9": simple(9, 2048),
    "simple4": simple(4, 4096),
    "simple2": simple(2, 8192),
    "simple1": simple(1, 16384),
    "wide_and_deep": simple(30, 2048),
    "rom36": rom(36, 512),
    "rom18": rom(18, 1024),
    "rom9": rom(9, 2048),
    "rom4": rom(4, 4096),
    "rom2": rom(2, 8192),
    "rom1": rom(1, 16384),
    "nines4": nines(4, 512),
    "nines2": nines(2, 1024),
    "old18": single(18, 1024, "old"),
    "new18": single(18, 1024, "new"),
    "none9": single(9, 2048, "none"),
    "cleared36": cleared(36, 512),
    "cleared18": cleared(18, 1024),
}
PORTS = "clk, rst, we, waddr, wdata, re, raddr"


def design():
    """(the memories' Verilog, declarations of the outputs, their names)"""
    modules, outputs, instances = [], [], []
    for name, (body, bits, depth) in MEMORIES.items():
        values = {"name": "mem", "out": "q", "abits": (depth - 1).bit_length() - 1, "bits": bits - 1}
        text = body
        for field, value in values.items():
            text = text.replace(f"{{{field}}}", str(value))
        modules.append(
            f"module {name} (input clk, input rst, input [3:0] we, input [13:0] waddr, input [35:0] wdata, input re, "
            f'input [13:0] raddr, output reg [{bits - 1}:0] q);\n(* ram_style = "block" *)\n{text}endmodule\n'
        )
        outputs.append((f"q_{name}", bits))
        instances.append(
            f"{name} {name}_inst (" + ", ".join(f".{p}({p})" for p in PORTS.split(", ")) + f", .q(q_{name}));"
        )
    head = ", ".join(f"output [{bits - 1}:0] {name}" for name, bits in outputs)
    top = (
        "module memories (input clk, input rst, input [3:0] we, input [13:0] waddr, input [35:0] wdata, input re, "
        f"input [13:0] raddr, {head});\n" + "\n".join(instances) + "\nendmodule\n"
    )
    return "\n".join([*modules, top]), outputs


def bench(outputs):
    """Both designs side by side; addresses in a small range half of the time, so that words are met again."""
    wires = "\n".join(f"wire [{bits - 1}:0] a_{name};\nwire [{bits - 1}:0] b_{name};" for name, bits in outputs)
    pins = {side: ", ".join(f".{name}({side}_{name})" for name, _ in outputs) for side in "ab"}
    shared = ", ".join(f".{port}({port})" for port in PORTS.split(", "))
    checks = "\n".join(
        f"        if ((^a_{name}) !== 1'bx) begin compared = compared + 1; if (a_{name} !== b_{name}) begin\n"
        f'            if (wrong < 20) $display("{name}, cycle %0d: %h, netlist %h", cycle, a_{name}, b_{name});\n'
        "            wrong = wrong + 1; end end"
        for name, _ in outputs
    )
    return f"""
`timescale 1ns / 1ps
module testbench;
reg clk = 0, rst = 0, re = 0;
reg [3:0] we = 0;
reg [13:0] waddr = 0, raddr = 0;
reg [35:0] wdata = 0;
integer cycle, seed = SEED, wrong = 0, compared = 0;
{wires}
memories source ({shared}, {pins["a"]});
memories_gates netlist ({shared}, {pins["b"]});

// What no inference gives: an output register, a chip select, a synchronous and an asynchronous reset.
reg oce = 0, cs = 0, pin_rst = 0;
wire [17:0] plain, late, selected, sync_cleared, async_cleared;
reg [17:0] late_ref = 0, selected_ref = 0, sync_ref = 0, async_ref = 0;
reg [17:0] words [0:1023];
reg [17:0] seen = 0;
// A word that is written and read at one edge is x here and has no word of the source to be compared with.
wire read = re && !(|we[1:0] && waddr[9:0] == raddr[9:0]);
integer n;
initial for (n = 0; n < 1024; n = n + 1) words[n] = 0;
INSTANCES
always @(posedge clk) begin
    if (read) seen <= words[raddr[9:0]];
    if (we[0]) words[waddr[9:0]][8:0] <= wdata[8:0];
    if (we[1]) words[waddr[9:0]][17:9] <= wdata[17:9];
    late_ref <= oce ? seen : late_ref;
    if (read && cs) selected_ref <= words[raddr[9:0]];
    if (pin_rst) sync_ref <= 0; else if (read) sync_ref <= words[raddr[9:0]];
end
always @(posedge clk or posedge pin_rst) if (pin_rst) async_ref <= 0; else if (read) async_ref <= words[raddr[9:0]];

initial begin
    for (cycle = 0; cycle < {CYCLES}; cycle = cycle + 1) begin
        #5 clk = 0;
        we = $random(seed); re = ($random(seed) & 3) != 0; rst = ($random(seed) & 7) == 0;
        oce = $random(seed); cs = $random(seed); pin_rst = ($random(seed) & 15) == 0;
        wdata = {{$random(seed), $random(seed)}};
        waddr = $random(seed); raddr = $random(seed);
        if ($random(seed) & 1) begin waddr = waddr & 14'h000f; raddr = raddr & 14'h000f; end
        #1 if (pin_rst && async_cleared !== 18'd0) begin
            $display("async_cleared is %h in reset", async_cleared); wrong = wrong + 1; end
        #4 clk = 1;
        #1
{checks}
        if (plain !== seen) begin
            $display("plain is %h, expected %h", plain, seen); wrong = wrong + 1; end
        if (late !== late_ref) begin
            $display("late is %h, expected %h", late, late_ref); wrong = wrong + 1; end
        if (selected !== selected_ref) begin
            $display("selected is %h, expected %h", selected, selected_ref); wrong = wrong + 1; end
        if (sync_cleared !== sync_ref) begin
            $display("sync_cleared is %h, expected %h", sync_cleared, sync_ref); wrong = wrong + 1; end
        if (async_cleared !== async_ref) begin
            $display("async_cleared is %h, expected %h", async_cleared, async_ref); wrong = wrong + 1; end
    end
    $display("compared %0d wrong %0d", compared, wrong);
    $finish;
end
endmodule
""".replace("INSTANCES", "\n".join(direct(*each) for each in DIRECT)).replace("SEED", str(seed()))


DIRECT = (
    ("plain", "", "", ""),
    ("late", '.REGMODE_B("OUTREG")', "", ".OCEB(oce)"),
    ("selected", '.CSDECODE_B("0b101")', ".CSB2(cs), .CSB1(1'b0), .CSB0(1'b1)", ""),
    ("sync_cleared", '.RESETMODE("SYNC")', "", ".RSTB(pin_rst)"),
    ("async_cleared", '.RESETMODE("ASYNC"), .ASYNC_RESET_RELEASE("ASYNC")', "", ".RSTB(pin_rst)"),
)


def direct(name, parameters, select, other):
    """A DP16KD of 18 bits: port A writes with both enables, port B reads."""

    def bus(pin, signal, count, low=0):
        return ", ".join(f".{pin}{low + k}({signal}[{k}])" for k in range(count))

    pins = [
        ".CLKA(clk), .CEA(1'b1), .WEA(we[0] | we[1]), .OCEA(1'b1), .RSTA(1'b0), .CSA0(1'b0), .CSA1(1'b0), .CSA2(1'b0)",
        bus("DIA", "wdata", 18),
        ".ADA0(we[0]), .ADA1(we[1]), .ADA2(1'b0), .ADA3(1'b0)",
        bus("ADA", "waddr", 10, 4),
        ".CLKB(clk), .CEB(read), .WEB(1'b0)",
        select or ".CSB0(1'b0), .CSB1(1'b0), .CSB2(1'b0)",
        other,
        "" if "OCEB" in other else ".OCEB(1'b1)",
        "" if "RSTB" in other else ".RSTB(1'b0)",
        ".ADB0(1'b0), .ADB1(1'b0), .ADB2(1'b0), .ADB3(1'b0)",
        bus("ADB", "raddr", 10, 4),
        bus("DOB", name, 18),
    ]
    widths = ", ".join(filter(None, [".DATA_WIDTH_A(18), .DATA_WIDTH_B(18)", parameters]))
    return f"DP16KD #({widths}) {name}_inst ({', '.join(filter(None, pins))});"


@functools.cache
def netlist():
    folder = BUILD / f"dp16kd-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memories.v").write_text(design()[0])
    for _, bits, depth in MEMORIES.values():
        (folder / f"{bits}x{depth}.mem").write_text(words(bits, depth))
    return gates.run_yosys("memories", ["memories.v"], folder), folder


def widths(result):
    """(DATA_WIDTH_A, DATA_WIDTH_B, WRITEMODE_A, whether a reset pin is used) of every block RAM."""
    found = set()
    for cell in result["cells"].values():
        if cell["type"] == "DP16KD":
            parameters, pins = cell["parameters"], cell["connections"]
            pair = tuple(int(parameters[f"DATA_WIDTH_{side}"], 2) for side in "AB")
            reset = any(isinstance(pins[f"RST{side}"][0], int) for side in "AB")
            found.add((*pair, parameters.get("WRITEMODE_A"), reset))
    return found


def simulated(command, folder, environment=None):
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    return result.returncode, result.stdout + result.stderr


def run_icarus(folder, cells):
    files = ["memories.v", "memories_gates.v", "testbench.v", *map(str, cells)]
    status, said = simulated(["iverilog", "-g2005", "-s", "testbench", "-o", "testbench.vvp", *files], folder)
    assert status == 0, said
    return simulated(["vvp", "-n", "testbench.vvp"], folder)[1]


def verdict(said):
    """(compared, wrong). AssertionError if the simulation did not end."""
    found = re.search(r"compared (\d+) wrong (\d+)", said)
    assert found, said
    return int(found[1]), int(found[2])


@pytest.fixture(scope="module")
def prepared():
    result, folder = netlist()
    (folder / "memories_gates.v").write_text(gates.verilog_text(result, name="memories_gates"))
    (folder / "testbench.v").write_text(bench(design()[1]))
    return result, folder


def test_dp16kd_every_width_is_mapped_to(prepared):
    found = widths(prepared[0])
    assert {width for pair in found for width in pair[:2]} == {1, 2, 4, 9, 18, 36}, found
    assert {pair[2] for pair in found} >= {None, "READBEFOREWRITE", "WRITETHROUGH", "NORMAL"}, found


def test_dp16kd_against_plain_verilog_on_icarus(prepared):
    said = run_icarus(prepared[1], gates.cell_files())
    compared, wrong = verdict(said)
    assert not wrong, said
    assert compared > CYCLES * len(MEMORIES) // 2


def test_dp16kd_against_plain_verilog_on_verilator(prepared):
    folder = prepared[1]
    environment = {**os.environ, **verilator_environment()}
    assert shutil.which("verilator_bin", path=environment["PATH"])
    files = ["memories.v", "memories_gates.v", "testbench.v", *map(str, gates.cell_files())]
    command = ["verilator_bin", "--binary", "-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wno-MULTIDRIVEN", "-j", "1"]
    command += ["--top-module", "testbench", "-MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O1"]
    command += ["-CFLAGS", "-std=c++20 -fcoroutines"]  # what the wheel's configuration leaves out
    status, said = simulated([*command, "--Mdir", "obj", *files], folder, environment)
    assert status == 0, said[-2000:]
    said = simulated(["obj/Vtestbench"], folder)[1]
    compared, wrong = verdict(said)
    assert not wrong, said
    assert compared > CYCLES * len(MEMORIES) // 2


MUTATIONS = {
    "lower rows of a word of 36 come out of port B": ("out_b[17:0] : WIDE_WRITE", "out_b[35:18] : WIDE_WRITE"),
    "enables swapped": ("{18'd0, {9{ad[1]}}, {9{ad[0]}}}", "{18'd0, {9{ad[0]}}, {9{ad[1]}}}"),
    "halves swapped": ("(ad[3] ? 6'd9 : 6'd0)", "(ad[3] ? 6'd0 : 6'd9)"),
    "nibbles swapped": ("{3'd0, ad[2], 2'd0}", "{3'd0, ~ad[2], 2'd0}"),
    "initial rows of 18 bits": ("rows[40*j+20 +: 9]", "rows[40*j+18 +: 9]"),
    "reads while not enabled": ("load_b = on_b &&", "load_b ="),
    "the output register ignores OCE": (".ce(OCEB)", ".ce(1'b1)"),
    "writes show the old word": ('WRITEMODE_A == "WRITETHROUGH" ? new_a', 'WRITEMODE_A == "WRITETHROUGH" ? old_a'),
    "writes change the output": ('!(write_a && WRITEMODE_A == "NORMAL")', "1'b1"),
    "chip select ignored": ("{CSB2, CSB1, CSB0} == SELECT_B", "1'b1"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_dp16kd_a_wrong_model_is_seen(prepared, name, tmp_path):
    old, new = MUTATIONS[name]
    cells = []
    for path in gates.cell_files():
        text = path.read_text()
        if path.stem == "DP16KD":
            assert text.count(old) >= 1, f"{old} is not in {path}"
            text = text.replace(old, new)
        (tmp_path / path.name).write_text(text)
        cells.append(tmp_path / path.name)
    for file in ("memories.v", "memories_gates.v", "testbench.v", *(each.name for each in prepared[1].glob("*.mem"))):
        shutil.copy(prepared[1] / file, tmp_path)
    assert verdict(run_icarus(tmp_path, cells))[1] > 0


@pytest.mark.parametrize(
    "parameters",
    [
        "DATA_WIDTH_A=8",
        "DATA_WIDTH_B=72",
        'REGMODE_A="REG"',
        'RESETMODE="NONE"',
        'RESETMODE="ASYNC"',
        'WRITEMODE_B="OLD"',
        'CSDECODE_A="000"',
        'CLKAMUX="CLK"',
    ],
)
def test_dp16kd_bad_parameters(parameters, tmp_path):
    files = map(str, gates.cell_files())
    command = ["iverilog", "-g2005", "-t", "null", "-s", "DP16KD", f"-PDP16KD.{parameters}", *files]
    assert simulated(command, tmp_path)[0] != 0
