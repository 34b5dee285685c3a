"""The mapped netlist of a whole core as Verilog, for the testbenches that run the source.

    abbnn gates NETWORK [--fold FOLD.json] --out FILE.v

Yosys synthesises `abbnn_core` with a network's tables for the ECP5, module by module, and flattens the result.
`verilog` writes it as one module `abbnn_core` with the same ports: every LUT as its expression, the flip-flops of one
clock, enable and reset as one block, block RAMs as instances of tb/cells/DP16KD.v. That simulates many times faster
than one instance a cell, the form that `instances=True` gives, whose cells are Yosys' own models (`models`).

What `STREAMS` names keeps its name in the netlist, so that a testbench can watch every layer of it: bit by bit
`block03.conv_tdata` of the source is `block03_conv_tdata`.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from abbnn import paths, verilog
from abbnn.errors import UserError
from abbnn.export.folding import Folding, check
from abbnn.export.mem import render, write
from abbnn.export.pipeline import Pipeline
from abbnn.golden.files import replacing
from abbnn.golden.network import IntegerNetwork
from abbnn.options import add_folding, add_network
from abbnn.syn import yosys
from abbnn.syn.cells import FAMILIES
from abbnn.syn.outreg import use_output_registers
from abbnn.syn.yosys import CORE, version

FAMILY = "ecp5"
FORMAT = 3
"""Of what is kept of a run; another one makes older results unusable."""
BUILD = paths.BUILD / "gates"
CELLS = paths.TB / "cells"
"""Models of the cells that Yosys has none of."""
MEM_FOLDER = "mem"
MODELS = ("LUT4", "LUT2", "CCU2C", "TRELLIS_FF", "TRELLIS_DPR16X4", "PFUMX", "L6MUX21")
"""Cells, and the parts of cells, whose models Yosys has."""

STREAMS = re.compile(
    r"(stem|head|block\d\d)"
    r"\.((?:m_axis|conv|residual|scaled|active|pool)_t(?:data|valid|ready))"
)
"""Streams of the source that the netlist keeps; without tlast, which nothing reads inside and synthesis leaves out."""

Net = int | str
"""A net of Yosys' JSON: a number, or a constant "0", "1", "x", "z"."""

Module = Mapping[str, Any]
"""A module of Yosys' JSON: `ports`, `cells` and `netnames`."""


# ---- synthesis ------------------------------------------------------------------------------------------------------


def script(top: str, sources: Sequence[str]) -> list[str]:
    """Yosys' commands: from `sources` to netlist.json, one flat module of cells."""
    family = FAMILIES[FAMILY]
    defines = [*family.defines, f'ABBNN_MEM_DIR="{MEM_FOLDER}"']
    return [
        *verilog.yosys_elaboration(top, {}, sources, includes=[Path(MEM_FOLDER)], defines=defines),
        # Module by module: the report of a flat design would be of something else than what syn/area.py counts.
        f"{family.command} -top {top}",
        "flatten",
        "opt_clean",
        "json -o netlist.json",
    ]


def run_yosys(top: str, sources: Sequence[str], folder: Path) -> dict[str, Any]:
    """The flat, mapped module `top`, made in `folder`. ValueError with Yosys' last words if it fails."""
    yosys.run(top, script(top, sources), folder)
    module = json.loads((folder / "netlist.json").read_text())["modules"][top]
    cells = {
        name: {key: cell[key] for key in ("type", "parameters", "port_directions", "connections")}
        for name, cell in module["cells"].items()
    }
    netnames = {name: {"bits": net["bits"]} for name, net in module["netnames"].items() if STREAMS.fullmatch(name)}
    return {"ports": module["ports"], "cells": cells, "netnames": netnames}


def synthesise(network: IntegerNetwork, folding: Folding) -> dict[str, Any]:
    """The netlist of `abbnn_core` with the tables of `network`, block RAMs with their output registers in use as in a
    bitstream; kept in build/gates for the next time."""
    check(network, folding)
    files = render(network, folding)
    sources = verilog.sources(CORE)
    texts = [re.sub(r"//.*", "", Path(path).read_text()) for path in sources]
    key = json.dumps(
        [FORMAT, STREAMS.pattern, version(), script(CORE, [Path(path).name for path in sources]), texts, files]
    )
    kept = BUILD / f"{CORE}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    if kept.exists():
        netlist: dict[str, Any] = json.loads(kept.read_text())
        return netlist
    with tempfile.TemporaryDirectory(prefix="abbnn-gates-") as name:
        folder = Path(name)
        write(network, folding, folder / MEM_FOLDER)
        netlist = run_yosys(CORE, sources, folder)
    use_output_registers(netlist)
    with replacing(kept) as temporary:
        temporary.write_text(json.dumps(netlist))
    return netlist


# ---- cells ----------------------------------------------------------------------------------------------------------


def number(value: str) -> int:
    """A parameter that is a number, undefined bits as 0."""
    return int(value.replace("x", "0"), 2)


def text(value: str) -> str:
    """A parameter that is a text: Yosys' JSON puts a space behind one that could be taken for a number."""
    return value.removesuffix(" ")


def _literal(value: str) -> str:
    """A parameter of an instance."""
    return f"{len(value)}'b{value}" if value and set(value) <= set("01xz") else f'"{text(value)}"'


def _bit(net: Net) -> str:
    return f"n{net}" if isinstance(net, int) else f"1'b{net}"


def _vector(nets: Sequence[Net]) -> str:
    """Nets, lowest first, as one value."""
    return "{" + ", ".join(_bit(net) for net in reversed(nets)) + "}" if len(nets) != 1 else _bit(nets[0])


@functools.cache
def _expression(table: int, inputs: int) -> str:
    """A truth table of `inputs` inputs (row 0 lowest) as the shortest expression that decomposing by inputs gives.

    Input i stands as the i-th letter of "ABCD".

    >>> _expression(0b0110, 2), _expression(0b11100100, 3), _expression(0xFFFE, 4)
    ('(A ^ B)', '(A ? C : B)', '(A | (B | (C | D)))')
    """
    rows = 1 << inputs
    if table == 0:
        return "1'b0"
    if table == (1 << rows) - 1:
        return "1'b1"
    best = ""
    for index in range(inputs):
        halves = [0, 0]
        for row in range(rows):
            low, high = row & ((1 << index) - 1), row >> index + 1
            halves[row >> index & 1] |= (table >> row & 1) << (low | high << index)
        letters = "ABCD".replace("ABCD"[index], "", 1)[: inputs - 1]
        name, full = "ABCD"[index], (1 << (rows >> 1)) - 1

        def part(half: int, letters: str = letters) -> str:
            return _expression(half, inputs - 1).translate(str.maketrans("ABCD"[: len(letters)], letters))

        zero, one = halves
        if zero == one:
            found = part(zero)
        elif (zero, one) == (0, full):
            found = name
        elif (zero, one) == (full, 0):
            found = f"~{name}"
        elif zero == one ^ full:
            found = f"({name} ^ {part(zero)})"
        elif zero == 0:
            found = f"({name} & {part(one)})"
        elif one == 0:
            found = f"(~{name} & {part(zero)})"
        elif one == full:
            found = f"({name} | {part(zero)})"
        elif zero == full:
            found = f"(~{name} | {part(one)})"
        else:
            found = f"({name} ? {part(one)} : {part(zero)})"
        if not best or len(found) < len(best):
            best = found
    return best


def lut(table: int, nets: Sequence[Net]) -> str:
    """The expression of a LUT of `nets`, the input of weight 1 first. Constant inputs are taken in."""
    kept: list[Net] = []
    for position in range(len(nets) - 1, -1, -1):
        net = nets[position]
        if net not in ("0", "1"):
            kept.insert(0, net)
            continue
        rows = [row for row in range(1 << position + 1 + len(kept)) if (row >> position & 1) == int(net)]
        table = sum((table >> row & 1) << index for index, row in enumerate(rows))
    return re.sub("[A-D]", lambda letter: _bit(kept["ABCD".index(letter[0])]), _expression(table, len(kept)))


def _lut4(cell: Module) -> Iterator[str]:
    pins = cell["connections"]
    table = number(cell["parameters"]["INIT"])
    yield f"assign {_bit(pins['Z'][0])} = {lut(table, [pins[pin][0] for pin in 'ABCD'])};"


def _ccu2c(cell: Module) -> Iterator[str]:
    """Two bits of a carry chain: S = LUT4 ^ carry; carry out = LUT4 ? carry : LUT2 of the lower inputs. INJECT cuts
    both the carry into the sum and the LUT2."""
    pins, parameters = cell["connections"], cell["parameters"]
    carry = _bit(pins["CIN"][0])
    for half in "01":
        table = number(parameters[f"INIT{half}"])
        nets = [pins[f"{pin}{half}"][0] for pin in "ABCD"]
        propagate, inject = lut(table, nets), text(parameters[f"INJECT1_{half}"]) == "YES"
        generate = "1'b0" if inject else lut(table & 0xF, nets[:2])
        if f"S{half}" in pins:
            yield f"assign {_bit(pins[f'S{half}'][0])} = {propagate}{'' if inject else f' ^ {carry}'};"
        carry = f"({propagate} ? {carry} : {generate})"
    if "COUT" in pins:
        yield f"assign {_bit(pins['COUT'][0])} = {carry};"


def _mux(cell: Module) -> Iterator[str]:
    pins = {pin: _bit(nets[0]) for pin, nets in cell["connections"].items()}
    one, zero, select = ("ALUT", "BLUT", "C0") if cell["type"] == "PFUMX" else ("D1", "D0", "SD")
    yield f"assign {pins['Z']} = {pins[select]} ? {pins[one]} : {pins[zero]};"


def _switched(cell: Module, parameter: str, pin: str) -> str:
    """A control pin behind its mux: the pin, inverted, or a constant."""
    mux = text(cell["parameters"].get(parameter, pin))
    if mux in ("0", "1"):
        return f"1'b{mux}"
    bit = _bit(cell["connections"][pin][0])
    return {pin: bit, "INV": f"~{bit}"}[mux]


Control = tuple[str, str, str]
"""Clock, reset and enable of flip-flops, as Verilog."""


def _clock(name: str, cell: Module, parameter: str, pin: str) -> str:
    if text(cell["parameters"].get(parameter, pin)) != pin:
        raise UserError(f"{name}: an inverted clock is not modelled")
    return _bit(cell["connections"][pin][0])


def _flip_flop(name: str, cell: Module) -> tuple[Control, str, str, str]:
    """(control, output, data, value after a reset and at the start). ValueError for one with an asynchronous reset."""
    parameters, pins = cell["parameters"], cell["connections"]
    for parameter, usual in (("SRMODE", "LSR_OVER_CE"), ("LSRMODE", "LSR")):
        if text(parameters.get(parameter, usual)) != usual:
            raise UserError(f"{name}: a flip-flop with {parameter} {text(parameters[parameter])} is not modelled")
    clock = _clock(name, cell, "CLKMUX", "CLK")
    control = (clock, _switched(cell, "LSRMUX", "LSR"), _switched(cell, "CEMUX", "CE"))
    value = "1'b1" if text(parameters.get("REGSET", "RESET")) == "SET" else "1'b0"
    return control, _bit(pins["Q"][0]), _bit(pins["DI"][0]), value


def _lut_ram(index: int, name: str, cell: Module) -> Iterator[str]:
    parameters, pins = cell["parameters"], cell["connections"]
    initial = parameters.get("INITVAL", "0" * 64).zfill(64)
    clock = _clock(name, cell, "WCKMUX", "WCK")
    yield f"reg [3:0] ram{index} [0:15];"
    words = (f"ram{index}[{row}] = 4'b{initial[60 - 4 * row : 64 - 4 * row]};" for row in range(16))
    yield f"initial begin {' '.join(words)} end"
    write_enable = _switched(cell, "WREMUX", "WRE")
    if write_enable != "1'b0":
        word = f"ram{index}[{_vector(pins['WAD'])}]"
        yield f"always @(posedge {clock}) if ({write_enable}) {word} <= {_vector(pins['DI'])};"
    yield f"assign {_vector(pins['DO'])} = ram{index}[{_vector(pins['RAD'])}];"


def _instance(index: int, cell: Module) -> Iterator[str]:
    parameters = ", ".join(f".{name}({_literal(value)})" for name, value in sorted(cell["parameters"].items()))
    pins = ", ".join(f".{pin}({_vector(nets)})" for pin, nets in cell["connections"].items())
    yield f"{cell['type']} #({parameters}) cell{index} ({pins});"


# ---- Verilog --------------------------------------------------------------------------------------------------------


def stream_name(name: str) -> str:
    """
    >>> stream_name("block03.conv_tdata"), stream_name("head.pool_tvalid")
    ('block03_conv_tdata', 'head_pool_tvalid')
    """
    found = STREAMS.fullmatch(name)
    if found is None:
        raise UserError(f"{name} is no stream that a netlist keeps")
    return f"{found[1]}_{found[2]}"


def verilog_text(netlist: Module, *, name: str = CORE, instances: bool = False) -> str:
    """The netlist as one Verilog module; with `instances` every cell is one, else block RAMs alone.

    ValueError for a cell that nothing here knows.
    """
    ports, cells = netlist["ports"], netlist["cells"]
    clocked: defaultdict[Control, list[tuple[str, str, str]]] = defaultdict(list)
    body: list[str] = []
    registers: dict[str, str] = {}
    for index, (cell_name, cell) in enumerate(cells.items()):
        kind = cell["type"]
        if kind == "DP16KD" or (instances and kind in MODELS):
            body += _instance(index, cell)
        elif kind == "LUT4":
            body += _lut4(cell)
        elif kind == "CCU2C":
            body += _ccu2c(cell)
        elif kind in ("PFUMX", "L6MUX21"):
            body += _mux(cell)
        elif kind == "TRELLIS_FF":
            control, output, data, value = _flip_flop(cell_name, cell)
            registers[output] = value
            clocked[control].append((output, data, value))
        elif kind == "TRELLIS_DPR16X4":
            body += _lut_ram(index, cell_name, cell)
        else:
            raise UserError(f"{cell_name}: {kind} is no cell that can be simulated here")
    for (clock, reset, enable), members in clocked.items():
        branches = []
        if reset != "1'b0":
            branches.append((reset, [f"{output} <= {value};" for output, _, value in members]))
        if enable != "1'b0":
            branches.append((enable, [f"{output} <= {data};" for output, data, _ in members]))
        opening = f"always @(posedge {clock}) "
        for condition, statements in branches:
            head = "begin" if condition == "1'b1" else f"if ({condition}) begin"
            body += [opening + head, *statements, "end"]
            opening = "else "
            if condition == "1'b1":
                break
    named = [part["bits"] for part in (*ports.values(), *netlist["netnames"].values())]
    connected = (bits for cell in cells.values() for bits in cell["connections"].values())
    nets = sorted({net for bits in (*named, *connected) for net in bits if isinstance(net, int)})
    lines = [
        f"// {name} : mapped netlist, {len(cells)} cells, written by abbnn gates with Yosys {version()}",
        "`resetall",
        "`timescale 1ns / 1ps",
        "`default_nettype none",
        f"module {name} (",
        ",\n".join(
            f"{port['direction']} wire {_range(port['bits'])}{port_name}".replace("  ", " ")
            for port_name, port in ports.items()
        ),
        ");",
    ]
    lines += [f"{'reg' if net in registers else 'wire'} {net};" for net in (f"n{each}" for each in nets)]
    if registers:
        # In one block: Icarus needs many minutes for tens of thousands of initialised declarations in -g2012.
        lines += ["initial begin", *(f"{net} = {value};" for net, value in registers.items()), "end"]
    for port_name, port in ports.items():
        if port["direction"] == "input":
            lines.append(f"assign {_vector(port['bits'])} = {port_name};")
        else:
            lines.append(f"assign {port_name} = {_vector(port['bits'])};")
    for source_name, stream in netlist["netnames"].items():
        lines.append(f"wire {_range(stream['bits'])}{stream_name(source_name)} = {_vector(stream['bits'])};")
    return "\n".join([*lines, *body, "endmodule", "`resetall"]) + "\n"


def _range(bits: Sequence[Net]) -> str:
    return f"[{len(bits) - 1}:0] " if len(bits) > 1 else ""


def watched(netlist: Module) -> str:
    """Verilator's configuration that makes the ports and streams, and nothing else, visible to a testbench."""
    names = [*netlist["ports"], *(stream_name(each) for each in netlist["netnames"])]
    lines = [f'public_flat_rw -module "{CORE}" -var "{each}"' for each in names]
    return "\n".join(["`verilator_config", *lines]) + "\n"


# ---- models of cells ------------------------------------------------------------------------------------------------


def models() -> str:
    """Yosys' models of `MODELS`, read from where it is installed, without the shells of what it has no model of."""
    folder = yosys.share() / "ecp5"
    whole = (folder / "cells_sim.v").read_text()
    whole += "\n".join(path.read_text() for path in sorted(folder.glob("*_sim.vh")))
    found = {cell: re.search(rf"^module {cell} *\(.*?^endmodule\n", whole, re.MULTILINE | re.DOTALL) for cell in MODELS}
    missing = [cell for cell, match in found.items() if match is None]
    if missing:
        raise UserError(f"{folder}: no model of {', '.join(missing)}")
    # What a path costs is no part of what a cell does, and Verilator says so for each.
    return "\n".join(
        re.sub(r"\bspecify\b.*?\bendspecify\b", "", match[0], flags=re.DOTALL) for match in found.values() if match
    )


def cell_files() -> list[Path]:
    """Models of this project."""
    return sorted(CELLS.glob("*.v"))


# ---- faults ---------------------------------------------------------------------------------------------------------


def flipped(netlist: Module, cell: str, parameter: str, bit: int) -> dict[str, Any]:
    """The netlist with one bit of a cell's parameter inverted: a wrong LUT, or a wrong word in a memory."""
    old = netlist["cells"][cell]
    value = old["parameters"][parameter]
    place = len(value) - 1 - bit
    changed = value[:place] + ("0" if value[place] == "1" else "1") + value[place + 1 :]
    parameters = {**old["parameters"], parameter: changed}
    return {**netlist, "cells": {**netlist["cells"], cell: {**old, "parameters": parameters}}}


# ---- command line ---------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `abbnn gates`."""
    add_network(parser)
    add_folding(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.v")
    parser.add_argument(
        "--instances", action="store_true", help="every cell as an instance, for models of one's own (slow to simulate)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the netlist and say what it has. ValueError and OSError for what cannot be used."""
    pipeline = Pipeline.read(arguments.network, arguments.fold, arguments.cycles)
    netlist = synthesise(pipeline.network, pipeline.folding)
    with replacing(arguments.out) as temporary:
        temporary.write_text(verilog_text(netlist, instances=arguments.instances), encoding="ascii")
    counts = Counter(cell["type"] for cell in netlist["cells"].values())
    total = sum(counts.values())
    print(f"{arguments.out}: {total:,} cells: {', '.join(f'{kind} {n:,}' for kind, n in sorted(counts.items()))}")
    return 0
