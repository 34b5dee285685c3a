"""The netlist that Yosys maps abbnn_core to, in the testbench of the source: every layer of real images against golden.

A small network by default. GATES=full runs the shipped one, on Verilator, with IMAGES images (minutes to build).
"""

import functools
import os
from dataclasses import replace

import pytest
from random_network import random_network
from test_abbnn_core import IMAGES, MODEL

from abbnn.building import run_folder
from abbnn.export.folding import balance
from abbnn.export.schedule import timing
from abbnn.golden.images import read_images, resized
from abbnn.golden.model import layer_names
from abbnn.golden.network import load_network
from abbnn.golden.structure import STRIDED_STEM, member
from abbnn.syn import gates
from abbnn.tb.bench import BUILD, default_simulator
from abbnn.tb.pipeline import Report, run_core

FULL = os.environ.get("GATES") == "full"


@functools.cache
def small():
    """(network, folding, netlist) of three blocks of two shortcuts."""
    structure = member("gates", (4, 8), (2, 1), classes=10, image=12, stem=STRIDED_STEM)
    network = random_network(structure, 3, stem_planes=4)
    folding = balance(network, 600)
    return network, folding, gates.synthesise(network, folding)


def pictures(network, count):
    images, labels = read_images(IMAGES)
    return resized(images[:count], network.structure.height, network.structure.width), labels[:count]


def files(netlist, name, instances=False):
    """What `simulate` builds, written into a folder of this process."""
    folder = run_folder(BUILD / f"gates-{name}-{default_simulator()}")
    (folder / "netlist.v").write_text(gates.verilog_text(netlist, instances=instances))
    written = [folder / "netlist.v", *gates.cell_files()]
    if instances:
        (folder / "models.v").write_text(gates.models())
        written.append(folder / "models.v")
    return folder, written


def compare(network, folding, netlist, name, count, instances=False, **options):
    folder, verilog = files(netlist, name, instances)
    images, labels = pictures(network, count)
    report = run_core(network, images, labels, folder, folding=folding, verilog=verilog, **options)
    assert len(report.images) == count
    assert {row["layer"] for row in report.layers} == set(layer_names(network.structure))
    assert all(row["mismatches"] == 0 and row["values"] > 0 for row in report.layers)
    return report


def test_gate_level_every_layer():
    """Every layer of three images, and the cycles of the source."""
    network, folding, netlist = small()
    report = compare(network, folding, netlist, "layers", 3)
    expected = timing(network, folding)
    left = [row["left"] for row in report.images]
    assert left[0] - report.images[0]["entered"] == expected.latency
    assert left[-1] - left[-2] == expected.interval


def test_gate_level_weights_in_block_ram():
    """Weights in block RAM: the registers behind it are its own, as in a bitstream."""
    network, folding, _ = small()
    blocks = {
        name: replace(fold, weights="block" if name.startswith("block") and "." not in name else "auto")
        for name, fold in folding.items()
    }
    netlist = gates.synthesise(network, blocks)
    weights = [
        {cell["parameters"][f"REGMODE_{side}"] for side in "AB"}
        for name, cell in netlist["cells"].items()
        if cell["type"] == "DP16KD" and "array_inst.weight_inst.gen_fixed.word_mem" in name
    ]
    assert weights
    assert all("OUTREG" in modes for modes in weights)
    report = compare(network, blocks, netlist, "blocks", 2)
    assert report.images[0]["left"] - report.images[0]["entered"] == timing(network, blocks).latency


def test_gate_level_stalled():
    network, folding, netlist = small()
    compare(network, folding, netlist, "stalled", 2, idle=0.4, back_pressure=0.6)


@pytest.mark.skipif(default_simulator() != "icarus", reason="Verilator has nothing to gain from an instance a cell")
def test_gate_level_yosys_models():
    """Every cell an instance of Yosys' model of it."""
    network, folding, netlist = small()
    compare(network, folding, netlist, "models", 1, instances=True)


def lut_before(netlist, stream):
    """(cell, parameter, bit): one bit of the nearest LUT or carry cell that `stream` comes out of, before any register
    or behind it."""
    drivers = {
        net: name
        for name, cell in netlist["cells"].items()
        for port, nets in cell["connections"].items()
        if cell["port_directions"][port] == "output"
        for net in nets
    }
    todo, seen = list(netlist["netnames"][stream]["bits"]), set()
    while todo:
        net = todo.pop(0)
        if net in seen or net not in drivers:
            continue
        seen.add(net)
        name = drivers[net]
        cell = netlist["cells"][name]
        pins = cell["connections"]
        if cell["type"] == "CCU2C":
            return name, "INIT0", 10
        if cell["type"] == "LUT4" and all(isinstance(pins[pin][0], int) for pin in "ABCD"):
            return name, "INIT", 0
        todo += [each for port, nets in pins.items() if cell["port_directions"][port] == "input" for each in nets]
    raise AssertionError(f"no logic drives {stream}")


def test_gate_level_a_flipped_bit_is_seen():
    """One bit of one LUT in front of block 0's sums: the report names block 0's convolution."""
    network, folding, netlist = small()
    cell, parameter, bit = lut_before(netlist, "block00.conv_tdata")
    print(f"flipped: bit {bit} of {parameter} of {cell}")
    folder, verilog = files(gates.flipped(netlist, cell, parameter, bit), "flipped")
    images, labels = pictures(network, 2)
    with pytest.raises(SystemExit):
        run_core(network, images, labels, folder, folding=folding, verilog=verilog)
    rows = {row["layer"]: row["mismatches"] for row in Report.load(folder).layers}
    assert rows["stem"] == 0
    assert rows["block00.conv"] > 0


@pytest.mark.skipif(not FULL, reason="GATES=full: the shipped network takes minutes to synthesise and build")
def test_gate_level_shipped_network():
    network = load_network(MODEL)
    folding = balance(network)
    netlist = gates.synthesise(network, folding)
    compare(network, folding, netlist, "shipped", int(os.environ.get("IMAGES", "10")), sim="verilator")
