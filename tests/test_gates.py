"""syn/gates.py: cells as expressions against Yosys' models of them, names, faults, and what it says to wrong input."""

import itertools
import random
import re
import subprocess

import pytest
from random_network import random_network

from abbnn.export.folding import balance
from abbnn.golden.network import save_network
from abbnn.golden.structure import STRIDED_STEM, member
from abbnn.syn import gates
from abbnn.syn.__main__ import main

SEED = 1
INPUTS = 12


def bits(generator, count):
    return "".join(generator.choice("01") for _ in range(count))


def random_netlist(seed, cells=150):
    """Cells of every kind and setting that is modelled, each reading inputs, constants and cells before it."""
    generator = random.Random(seed)
    nets = [2 + index for index in range(INPUTS)]
    clock, count = 2, itertools.count(2 + INPUTS)

    def pick():
        return [generator.choice([*nets[1:], *nets[-20:], "0", "1"])]

    def make(kind, parameters, inputs, outputs, clocks=()):
        pins = {pin: pick() if width == 1 else [pick()[0] for _ in range(width)] for pin, width in inputs}
        pins |= {pin: [clock] for pin in clocks}
        made = {pin: [next(count) for _ in range(width)] for pin, width in outputs}
        directions = {**dict.fromkeys(pins, "input"), **dict.fromkeys(made, "output")}
        cell = {"type": kind, "parameters": parameters, "port_directions": directions, "connections": pins | made}
        return cell, [net for each in made.values() for net in each]

    def singles(names):
        return [(name, 1) for name in names.split()]

    result = {}
    for index in range(cells):
        kind = generator.choice(
            ["LUT4", "LUT4", "CCU2C", "TRELLIS_FF", "TRELLIS_FF", "TRELLIS_DPR16X4", "PFUMX", "L6MUX21"]
        )
        if kind == "LUT4":
            made = make(kind, {"INIT": bits(generator, 16)}, singles("A B C D"), singles("Z"))
        elif kind == "CCU2C":
            parameters = {"INIT0": bits(generator, 16), "INIT1": bits(generator, 16)}
            parameters |= {f"INJECT1_{half}": generator.choice(["YES", "NO"]) for half in "01"}
            made = make(kind, parameters, singles("A0 B0 C0 D0 A1 B1 C1 D1 CIN"), singles("S0 S1 COUT"))
        elif kind == "TRELLIS_FF":
            parameters = {
                "CEMUX": generator.choice(["CE", "INV", "1 "]),
                "LSRMUX": generator.choice(["LSR", "INV"]),
                "CLKMUX": "CLK",
                "REGSET": generator.choice(["SET", "RESET"]),
                "SRMODE": "LSR_OVER_CE",
            }
            made = make(kind, parameters, singles("DI CE LSR"), singles("Q"), ["CLK"])
        elif kind == "TRELLIS_DPR16X4":
            parameters = {"INITVAL": bits(generator, 64), "WREMUX": generator.choice(["WRE", "INV"])}
            parameters["WCKMUX"] = "WCK"
            made = make(kind, parameters, [("DI", 4), ("WAD", 4), ("WRE", 1), ("RAD", 4)], [("DO", 4)], ["WCK"])
        else:
            pins = "ALUT BLUT C0" if kind == "PFUMX" else "D0 D1 SD"
            made = make(kind, {}, singles(pins), singles("Z"))
        result[f"cell{index}"] = made[0]
        nets += made[1]
    outputs = nets[INPUTS:]
    ports = {
        "clk": {"direction": "input", "bits": [clock]},
        "in": {"direction": "input", "bits": nets[1:INPUTS]},
        "out": {"direction": "output", "bits": outputs},
    }
    return {"ports": ports, "cells": result, "netnames": {}}, len(outputs)


@pytest.mark.parametrize("seed", range(SEED, SEED + 4))
def test_expressions_equal_yosys_models(seed, tmp_path):
    """Random netlists, both ways: every output in every cycle, both clock phases."""
    netlist, outputs = random_netlist(seed)
    (tmp_path / "a.v").write_text(gates.verilog_text(netlist, name="a"))
    (tmp_path / "b.v").write_text(gates.verilog_text(netlist, name="b", instances=True))
    (tmp_path / "models.v").write_text(gates.models())
    (tmp_path / "testbench.v").write_text(f"""
module testbench;
reg clk = 0;
reg [{INPUTS - 2}:0] in = 0;
wire [{outputs - 1}:0] a, b;
integer step, seed = {seed}, wrong = 0, ones = 0;
a a_inst (.clk(clk), .in(in), .out(a));
b b_inst (.clk(clk), .in(in), .out(b));
initial begin
    #1 in = $random(seed);
    for (step = 0; step < 2000; step = step + 1) begin
        // At time 0 the clock's first edge is from x, and the models' registers have no first value yet.
        #1 if ((|(a ^ b)) === 1'b1 || (step >= 100 && (a !== b || (^a) === 1'bx))) begin
            if (!wrong) $display("step %0d: differ in %h", step, a ^ b);
            wrong = wrong + 1;
        end
        if (|a) ones = ones + 1;
        #1 in = $random(seed);
        #1 clk = !clk;
    end
    $display("wrong %0d ones %0d", wrong, ones);
end
endmodule
""")
    files = ["testbench.v", "a.v", "b.v", "models.v"]
    command = ["iverilog", "-g2005", "-s", "testbench", "-o", "testbench.vvp", *files]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
    said = subprocess.run(
        ["vvp", "-n", "testbench.vvp"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"wrong (\d+) ones (\d+)", said)
    assert found, said
    assert (found[1], found[2]) == ("0", "2000"), said


def evaluated(expression, values):
    """A LUT's expression on single bits, from the innermost brackets outwards."""
    text = re.sub(r"~([A-D])", lambda match: str(1 - values[match[1]]), expression.replace("1'b", ""))
    text = re.sub(r"[A-D]", lambda match: str(values[match[0]]), text)
    while found := re.search(r"\((\d) ([&|^?]) (\d)(?: : (\d))?\)", text):
        a, b = int(found[1]), int(found[3])
        value = {"&": a & b, "|": a | b, "^": a ^ b, "?": b if a else int(found[4] or 0)}[found[2]]
        text = text.replace(found[0], str(value), 1)
    return int(text)


def test_expressions_of_all_three_input_tables():
    for table, row in itertools.product(range(256), range(8)):
        values = {name: row >> index & 1 for index, name in enumerate("ABC")}
        assert evaluated(gates._expression(table, 3), values) == table >> row & 1, (table, row)


@pytest.mark.parametrize(
    ("kind", "parameter", "value"),
    [("TRELLIS_FF", "SRMODE", "ASYNC"), ("TRELLIS_FF", "CLKMUX", "INV"), ("TRELLIS_DPR16X4", "WCKMUX", "INV")],
)
def test_what_is_not_modelled_is_refused(kind, parameter, value):
    netlist, _ = random_netlist(SEED)
    name = next(name for name, cell in netlist["cells"].items() if cell["type"] == kind)
    netlist["cells"][name]["parameters"][parameter] = value
    with pytest.raises(ValueError, match=rf"^{name}: "):
        gates.verilog_text(netlist)


def test_an_unknown_cell_is_refused():
    netlist, _ = random_netlist(SEED)
    netlist["cells"]["cell3"]["type"] = "MULT18X18D"
    with pytest.raises(ValueError, match=r"^cell3: MULT18X18D "):
        gates.verilog_text(netlist)


def test_flipped_changes_one_bit():
    netlist, _ = random_netlist(SEED)
    name = next(name for name, cell in netlist["cells"].items() if cell["type"] == "LUT4")
    old = netlist["cells"][name]["parameters"]["INIT"]
    new = gates.flipped(netlist, name, "INIT", 3)["cells"][name]["parameters"]["INIT"]
    assert int(old, 2) ^ int(new, 2) == 8
    assert netlist["cells"][name]["parameters"]["INIT"] == old


def test_command_line(tmp_path, capsys):
    structure = member("gates", (2,), (1,), classes=3, image=(12, 8), stem=STRIDED_STEM)
    network = random_network(structure, 1, stem_planes=2)
    save_network(network, tmp_path / "net.safetensors")
    assert main(["gates", str(tmp_path / "net.safetensors"), "--out", str(tmp_path / "net.v")]) == 0
    assert " cells: CCU2C " in capsys.readouterr().out
    netlist = gates.synthesise(network, balance(network))
    assert (tmp_path / "net.v").read_text() == gates.verilog_text(netlist)
    streams = {gates.stream_name(name) for name in netlist["netnames"]}
    assert {"stem_m_axis_tdata", "block00_conv_tvalid", "block00_residual_tready", "head_pool_tdata"} <= streams
    assert main(["gates", str(tmp_path / "no.safetensors"), "--out", str(tmp_path / "no.v")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("abbnn gates: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "no.v").exists()
