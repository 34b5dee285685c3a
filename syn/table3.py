"""`make table3`: multipliers against shifts, the paper's Table 3 by open tools and on whole layers.

    abbnn table3 [--quick] [--family FAMILY] [--vectors N] [--seed N] [--jobs J] [--out FILE.json] [--markdown]

Each design is synthesised with DSPs allowed and, if it multiplies, with none, and each netlist is simulated beside its
source on random vectors. docs/table3.md holds the result.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from rich.table import Table

from abbnn import paths, verilog
from abbnn.errors import UserError
from abbnn.executor import Task, Workers
from abbnn.export.folding import Folding, balance, read_folding
from abbnn.export.layout import mem_text
from abbnn.export.pipeline import Pipeline
from abbnn.export.random_network import random_network
from abbnn.golden.files import replacing
from abbnn.golden.network import IntegerNetwork, load_network
from abbnn.golden.structure import declared_network
from abbnn.options import add_workers, positive
from abbnn.syn import trellis, yosys
from abbnn.syn.cells import FAMILIES, FamilyName, Resources
from abbnn.syn.proof import stat_modules
from abbnn.syn.yosys import version
from abbnn.tables import console, markdown, new_table

HERE = Path(__file__).resolve().parent / "table3"
REPORT = paths.BUILD / "reports" / "table3.json"
MODELS = paths.MODELS
TABLE_FAMILIES: tuple[FamilyName, ...] = ("xc7", "ecp5")
PARTS = ("abbnn_scale", "abbnn_add", "abbnn_qprelu", "abbnn_table")
"""Modules of rtl/ that designs of this folder are made of."""
MODELLED = {"ecp5": [HERE / "MULT18X18D.v"]}
"""Cells that Yosys' library has as shells only."""

OPTIONS = {"xc7": " -nosrl -nobram", "ecp5": " -nobram"}
"""Beside the family's command. Tables stay in LUTs: Yosys' libraries have block RAMs as shells that do not simulate.
And xilinx_srl of Yosys 0.23 drops the clock enable of the flip-flops that it turns into a shift register
(YosysHQ/yosys issue 6058): such a netlist does not compute what its source does."""

FACTOR_BITS = 16
"""Of a real-valued factor or slope in the designs with multipliers, sign included."""
SLOPE_FRACTION = 12


@dataclass(frozen=True)
class Paper:
    """A row of the paper's Table 3: Vivado, Zynq Z-7045."""

    lut: int
    dsp: int


@dataclass(frozen=True)
class Unit:
    """A design to synthesise."""

    name: str
    group: str
    top: str
    parameters: Mapping[str, int | str]
    ports: Mapping[str, tuple[str, int]]
    """Data ports: "input" or "output", bits. Of a stream, its tdata; tvalid and tready come with it."""
    multiplies: bool
    clocked: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    paper: Paper | None = None
    quick: bool = True


@dataclass(frozen=True)
class Row:
    """What became of a unit in one family."""

    name: str
    group: str
    family: FamilyName
    dsps_allowed: bool
    resources: Resources
    table_luts: int
    """Those LUTs of `resources` that hold or address the per-channel tables."""
    vectors: int
    mismatches: int
    """Vectors of which the netlist gives something else than its source."""
    paper: Paper | None


# ---- designs --------------------------------------------------------------------------------------------------------


def units() -> list[Unit]:
    """The paper's four units, and their forms with a run-time amount; 32 bits, combinational."""
    operands = {"x": ("input", 32), "y": ("output", 32)}
    amount = {**operands, "amount": ("input", 5)}
    shift = {**operands, "shift": ("input", 5)}
    product = {"a": ("input", 32), "b": ("input", 32), "product": ("output", 64)}
    slope = {**operands, "slope": ("input", 32)}
    return [
        Unit("multiplier", "32-bit units", "table3_multiplier", {}, product, True, paper=Paper(47, 4)),
        Unit(
            "shifter, wired amount", "32-bit units", "table3_shifter", {"AMOUNT": 3}, amount, False, paper=Paper(32, 0)
        ),
        Unit("shifter, run-time amount", "32-bit units", "table3_shifter", {"AMOUNT": -1}, amount, False),
        Unit("PReLU", "32-bit units", "table3_prelu", {}, slope, True, paper=Paper(57, 4)),
        Unit("QPReLU, wired exponent", "32-bit units", "table3_qprelu", {"SHIFT": 3}, shift, False, paper=Paper(32, 0)),
        Unit("QPReLU, run-time exponent", "32-bit units", "table3_qprelu", {"SHIFT": -1}, shift, False),
    ]


def _random_table(rng: np.random.Generator, depth: int, width: int) -> str:
    words = [int.from_bytes(rng.bytes((width + 7) // 8), "little") & ((1 << width) - 1) for _ in range(depth)]
    return mem_text(words, width)


def layer_units(
    label: str, network: IntegerNetwork, folding: Folding, stage: str, seed: int, *, quick: bool
) -> list[Unit]:
    """The activation of one lane and all that follows the convolution of `stage`, by shifts and by multipliers.

    Widths, lanes, channels and the tables of the shifts are those of the exported network; the tables of the
    multipliers are random, since the frozen network has no real-valued factors.
    """
    config = next(each for each in Pipeline(network, folding).configs if each.name == stage)
    value = config.parameters
    lanes, channels, bits = value["PE"], value["OUT_CHANNELS"], value["VALUE_WIDTH"]
    if value["SHORTCUT"] > 2 or value["ACTIVATION"] != 1:
        raise UserError(f"{stage} of {label}: a block without shortcut weights and with QPReLU is wanted")
    same = {"LANES": lanes, "CHANNELS": channels, "SUM_WIDTH": value["SUM_WIDTH"], "VALUE_WIDTH": bits}
    same["FIELD_WIDTH"] = value["FIELD_WIDTH"]
    shifts: dict[str, int | str] = {
        **same,
        "SCALED_WIDTH": value["SCALED_WIDTH"],
        **{key: value[key] for key in ("SCALE_TERMS", "SCALE_SHIFT_WIDTH", "SCALE_GUARD", "SCALE_SUM_WIDTH")},
        **{key: value[key] for key in ("LEFT_MAX", "ACTIVATION_SHIFT_WIDTH")},
        "SCALE_FILE": "scale.mem",
        "ACTIVATION_FILE": "activation.mem",
    }
    # The product's upper bits, as many as the shifted sum has: no saturation is needed there.
    fraction = max(0, value["SUM_WIDTH"] + FACTOR_BITS - value["SCALED_WIDTH"])
    products: dict[str, int | str] = {
        **same,
        "SCALED_WIDTH": value["SUM_WIDTH"] + FACTOR_BITS - fraction,
        "FACTOR_WIDTH": FACTOR_BITS,
        "FACTOR_FRACTION": fraction,
        "SLOPE_WIDTH": FACTOR_BITS,
        "SLOPE_FRACTION": SLOPE_FRACTION,
        "SCALE_FILE": "scale.mem",
        "ACTIVATION_FILE": "activation.mem",
    }
    rng = np.random.default_rng(seed)
    groups, entry = channels // lanes, 2 * value["FIELD_WIDTH"] + FACTOR_BITS
    random_files = {
        "scale.mem": _random_table(rng, groups, lanes * FACTOR_BITS),
        "activation.mem": _random_table(rng, groups, lanes * entry),
    }
    exported = {f"{table}.mem": config.memories[f"{stage}_{table}.mem"].text for table in ("scale", "activation")}
    post = {"s_axis": ("input", lanes * value["SUM_WIDTH"]), "r_axis": ("input", lanes * bits)}
    post["m_axis"] = ("output", lanes * bits)
    added = max(value["SCALED_WIDTH"], bits) + 1
    lane_ports = {"s_axis": ("input", added), "m_axis": ("output", bits)}
    lane: dict[str, int | str] = {
        "LANES": 1,
        "CHANNELS": channels,
        "S_WIDTH": added,
        "M_WIDTH": bits,
        "FIELD_WIDTH": value["FIELD_WIDTH"],
    }
    lane["TABLE_FILE"] = "activation.mem"
    one = _one_lane(
        exported["activation.mem"], groups, lanes, 4 * value["FIELD_WIDTH"] + value["ACTIVATION_SHIFT_WIDTH"]
    )
    exponent = {"LEFT_MAX": value["LEFT_MAX"], "SHIFT_WIDTH": value["ACTIVATION_SHIFT_WIDTH"]}
    slope = {"SLOPE_WIDTH": FACTOR_BITS, "FRACTION": SLOPE_FRACTION}
    group = f"{label} {stage}: {bits}-bit values, {channels} channels"
    lane_group, post_group = f"{group}, activation of one lane", f"{group}, all behind the convolution, {lanes} lanes"
    one_random = {"activation.mem": _random_table(rng, channels, entry)}
    make = functools.partial(Unit, clocked=True, quick=quick)
    return [
        make("RPReLU", lane_group, "table3_rprelu", {**lane, **slope}, lane_ports, True, files=one_random),
        make("abbnn_qprelu", lane_group, "abbnn_qprelu", {**lane, **exponent}, lane_ports, False, files=one),
        make("factor, add, RPReLU", post_group, "table3_post_multiply", products, post, True, files=random_files),
        make("abbnn_scale, add, qprelu", post_group, "table3_post_shift", shifts, post, False, files=exported),
    ]


def _one_lane(text: str, groups: int, lanes: int, width: int) -> dict[str, str]:
    """The table of all channels, a channel a word, of one that has `lanes` entries of `width` bits a word."""
    words = [int(line, 16) for line in text.split() if re.fullmatch(r"[0-9a-fA-F]+", line)]
    if len(words) != groups:
        raise UserError(f"a table of {len(words)} words where {groups} are wanted")
    entries = [word >> (index * width) & ((1 << width) - 1) for word in words for index in range(lanes)]
    return {"activation.mem": mem_text(entries, width)}


STAGE = "block00"


def all_units(*, quick: bool, seed: int) -> list[Unit]:
    """`quick`: without the full-size network."""
    tiny = load_network(MODELS / "tiny.safetensors")
    result = [*units(), *layer_units("tiny", tiny, balance(tiny), STAGE, seed, quick=True)]
    if not quick:
        network = random_network(declared_network("reactnet18", image=32, classes=10), 1)
        folding = read_folding(MODELS / "reactnet18.fold.json")
        result += layer_units("reactnet18", network, folding, STAGE, seed, quick=False)
    return result


# ---- synthesis ------------------------------------------------------------------------------------------------------


def sources(unit: Unit) -> list[Path]:
    """Verilog files that a unit may need: those of this folder but the models of cells, and parts of rtl/."""
    modules = sorted(set().union(*(verilog.reachable(part) for part in PARTS)))
    return [*sorted(HERE.glob("table3_*.v")), *(verilog.file(module) for module in modules)]


def cells(stat: str, top: str) -> tuple[Counter[str], Counter[str]]:
    """(all cells below the top, those of the tables) by type, instances counted."""
    modules = stat_modules(stat)
    every, tables = Counter[str](), Counter[str]()

    def visit(name: str, times: int, inside: bool) -> None:
        inside = inside or "abbnn_table" in name
        for kind, count in modules[name]["num_cells_by_type"].items():
            below = next((each for each in (kind, f"\\{kind}") if each in modules), None)
            if below is not None:
                visit(below, times * count, inside)
                continue
            every[kind] += times * count
            tables[kind] += times * count if inside else 0

    visit(f"\\{top}", 1, False)
    return every, tables


def synthesise(unit: Unit, family: FamilyName, folder: Path, *, dsps: bool) -> tuple[Resources, int]:
    """(resources, LUTs of tables); `folder` then holds the sources, and netlist.v with the module `netlist`."""
    description = FAMILIES[family]
    command = f"{description.command}{OPTIONS.get(family, '')} -top {unit.top}{'' if dsps else ' -nodsp'}"
    for file, text in unit.files.items():
        (folder / file).write_text(text)
    for path in sources(unit):  # a copy: the simulation must read the same
        shutil.copy(path, folder)
    files = [path.name for path in sources(unit)]
    script = [
        *verilog.yosys_elaboration(unit.top, unit.parameters, files, defines=description.defines),
        command,
        "tee -q -o stat.json stat -json",
        *("flatten", "clean", "rename -top netlist", "write_verilog -noattr netlist.v"),
    ]
    yosys.run(unit.top, script, folder)
    every, tables = cells((folder / "stat.json").read_text(), unit.top)
    return description.resources(every), description.resources(tables).lut


# ---- netlist beside source ------------------------------------------------------------------------------------------


def testbench(unit: Unit, vectors: int, seed: int) -> str:
    """Verilog: source and netlist get the same random inputs; prints how many outputs were compared and differ.

    Streams start and stop at random. An output word is compared while it is valid, tvalid and tready always.
    """
    streams = unit.clocked
    inputs: dict[str, int] = {}
    outputs: dict[str, int] = {}
    for name, (direction, width) in unit.ports.items():
        own, other = (inputs, outputs) if direction == "input" else (outputs, inputs)
        own[f"{name}_tdata" if streams else name] = width
        if streams:
            own[f"{name}_tvalid"] = 1
            other[f"{name}_tready"] = 1
    has_load = unit.top in PARTS
    parameters = ", ".join(
        f'.{name}("{value}")' if isinstance(value, str) else f".{name}({value})"
        for name, value in unit.parameters.items()
    )
    fixed = [".clk(clk)", ".rst(rst)", *([".load(77'd0)"] if has_load else [])] if streams else []
    lines = ["`timescale 1ns / 1ps", "module testbench;", "reg clk = 0, rst = 1;", "integer n, seed, compared, wrong;"]
    lines += [f"reg [{width - 1}:0] {name} = 0;" for name, width in inputs.items()]
    for suffix in ("source", "netlist"):
        lines += [f"wire [{width - 1}:0] {name}_{suffix};" for name, width in outputs.items()]
        connections = [*fixed, *(f".{name}({name})" for name in inputs)]
        connections += [f".{name}({name}_{suffix})" for name in outputs]
        kind = f"{unit.top} #({parameters})" if suffix == "source" and parameters else unit.top
        lines.append(f"{kind if suffix == 'source' else 'netlist'} {suffix}_inst ({', '.join(connections)});")
    lines += [
        # One word in eight is 0, -1, the greatest or the least value.
        "function [1023:0] random; input integer width; integer i; begin",
        "  for (i = 0; i < 32; i = i + 1) random[32 * i +: 32] = $random(seed);",
        "  case ($random(seed) & 31) 0: random = 0; 1: random = ~1024'd0; 2: random = (1024'd1 << (width - 1)) - 1;",
        "    3: random = 1024'd1 << (width - 1); default: ; endcase end endfunction",
        f"initial begin seed = {seed}; compared = 0; wrong = 0;",
        # abbnn_table has its first word in the third cycle behind the reset at the latest.
        *(["for (n = 0; n < 11; n = n + 1) begin rst = n < 8; #5 clk = 1; #5 clk = 0; end"] if streams else []),
        f"for (n = 0; n < {vectors}; n = n + 1) begin",
    ]
    for name, width in inputs.items():
        one_bit = name.endswith(("_tvalid", "_tready"))
        lines.append(f"  {name} = {'($random(seed) & 3) != 0' if one_bit else f'random({width})'};")
    lines.append("  #5;")
    # Of a stream's data, only valid words have a value.
    for name in outputs:
        when = "if (m_axis_tvalid_source === 1'b1) " if name == "m_axis_tdata" else ""
        counted = "" if streams and not when else "compared = compared + 1; "
        differs = f"{name}_source !== {name}_netlist || ^{name}_source === 1'bx"
        lines.append(f"  {when}begin {counted}wrong = wrong + ({differs}); end")
    lines += ["  clk = 1; #5 clk = 0;" if streams else "", "end"]
    lines += ['$display("compared %0d wrong %0d", compared, wrong); $finish; end', "endmodule"]
    return "\n".join(lines) + "\n"


def simulate(unit: Unit, family: FamilyName, folder: Path, vectors: int, seed: int) -> tuple[int, int]:
    """(outputs compared, outputs that differ) of netlist.v in `folder` and the unit's source, on Icarus Verilog."""
    (folder / "testbench.v").write_text(testbench(unit, vectors, seed))
    library = yosys.share() / {"xc7": "xilinx"}.get(family, family)
    files = [*(path.name for path in sources(unit)), library / "cells_sim.v", *MODELLED.get(family, [])]
    defines = [f"-D{define}" for define in FAMILIES[family].defines]
    build = ["iverilog", "-g2012", *defines, f"-I{library}", f"-I{library.parent}", "-s", "testbench", "-o", "sim.vvp"]
    trellis.run("iverilog", [*build, "testbench.v", "netlist.v", *map(str, files)], folder)
    said = trellis.run("vvp", ["vvp", "-n", "sim.vvp"], folder)
    found = re.search(r"^compared (\d+) wrong (\d+)$", said, re.MULTILINE)
    if found is None or int(found[1]) == 0:
        raise UserError(f"{unit.top}: the simulation compared nothing: {said.strip()[-200:]}")
    return int(found[1]), int(found[2])


def measure(unit: Unit, family: FamilyName, *, dsps: bool, vectors: int, seed: int) -> Row:
    with tempfile.TemporaryDirectory(prefix="abbnn-table3-") as name:
        try:
            resources, tables = synthesise(unit, family, Path(name), dsps=dsps)
            compared, wrong = simulate(unit, family, Path(name), vectors, seed)
        except UserError as error:
            raise UserError(f"{unit.name} on {family}: {error}") from None
    return Row(unit.name, unit.group, family, dsps, resources, tables, compared, wrong, unit.paper)


def measure_all(
    designs: Sequence[Unit], families: Sequence[FamilyName], workers: Workers, *, vectors: int, seed: int
) -> list[Row]:
    """Every unit: with DSPs allowed and, if it multiplies, without."""
    tasks = [
        Task(
            f"{unit.name} on {family}",
            functools.partial(measure, dsps=dsps, vectors=vectors, seed=seed),
            (unit, family),
        )
        for unit in designs
        for family in families
        for dsps in ((True, False) if unit.multiplies else (True,))
    ]
    rows: list[Row] = workers.all(tasks, "run")
    return rows


# ---- output ---------------------------------------------------------------------------------------------------------

COLUMNS = (
    "design",
    "paper: LUT",
    "DSP",
    "xc7: LUT",
    "of it tables",
    "FF",
    "DSP",
    "ECP5: LUT4",
    "of it tables",
    "FF",
    "DSP",
)


def lines(rows: Sequence[Row]) -> list[tuple[str, tuple[str, ...]]]:
    """(group, cells of COLUMNS) of every design with and without DSPs, families side by side."""
    found: dict[tuple[str, str, bool], dict[str, Row]] = {}
    for row in rows:
        found.setdefault((row.group, row.name, row.dsps_allowed), {})[row.family] = row
    names = Counter((group, name) for group, name, _ in found)
    result = []
    for (group, name, dsps), families in found.items():
        label = name if names[group, name] == 1 else f"{name}, {'DSPs' if dsps else 'no DSPs'}"
        paper = next(iter(families.values())).paper if dsps else None
        texts = [label, *((f"{paper.lut}", f"{paper.dsp}") if paper else ("", ""))]
        for family in TABLE_FAMILIES:
            if family not in families:
                texts += [""] * 4
                continue
            row = families[family]
            clocked = row.resources.ff > 0
            texts += [f"{row.resources.lut:,}", f"{row.table_luts:,}" if clocked else ""]
            texts += [f"{row.resources.ff:,}" if clocked else "", f"{row.resources.dsp}"]
        result.append((group, tuple(texts)))
    return result


def table(rows: Sequence[Row]) -> Table:
    result = new_table(f"multipliers and shifts, Yosys {version()}", COLUMNS)
    last = ""
    for group, texts in lines(rows):
        if group != last:
            result.add_section()
            result.add_row(f"[italic]{group}[/italic]")
            last = group
        result.add_row(*texts)
    return result


def in_markdown(rows: Sequence[Row]) -> str:
    """One table a group."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for group, texts in lines(rows):
        groups.setdefault(group, []).append(texts)
    return "\n\n".join(f"### {group[0].upper()}{group[1:]}\n\n{markdown(COLUMNS, of)}" for group, of in groups.items())


def to_json(rows: Sequence[Row], vectors: int, seed: int) -> dict[str, object]:
    return {
        "yosys": version(),
        "commands": {family: FAMILIES[family].command + OPTIONS.get(family, "") for family in TABLE_FAMILIES},
        "vectors": vectors,
        "seed": seed,
        "rows": [asdict(row) for row in rows],
    }


def faults(rows: Sequence[Row]) -> list[str]:
    """Netlists that do not compute what their source does; DSPs where there is no multiplication or none is allowed."""
    result = []
    for row in rows:
        where = f"{row.name} on {row.family}{'' if row.dsps_allowed else ' without DSPs'} ({row.group})"
        if row.mismatches:
            result.append(f"{where}: the netlist differs from its source in {row.mismatches} of {row.vectors} outputs")
        if row.resources.dsp and not row.dsps_allowed:
            result.append(f"{where}: {row.resources.dsp} DSPs")
    return result


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--quick", action="store_true", help="without full-size ReActNet-18")
    command.add_argument("--family", action="append", choices=TABLE_FAMILIES, help="default: all; may be repeated")
    command.add_argument("--vectors", type=positive, default=200, metavar="N", help="cycles a netlist; default 200")
    command.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "1")), metavar="N", help="of vectors")
    add_workers(command)
    command.add_argument("--markdown", action="store_true", help="print Markdown, as in docs/table3.md")
    command.add_argument(
        "--out", type=Path, default=REPORT, metavar="FILE.json", help="report; in build/reports by default"
    )


def run(arguments: argparse.Namespace) -> int:
    designs = all_units(quick=arguments.quick, seed=arguments.seed)
    families = [family for family in TABLE_FAMILIES if not arguments.family or family in arguments.family]
    workers, vectors, seed = Workers.of(arguments), arguments.vectors, arguments.seed
    rows = measure_all(designs, families, workers, vectors=vectors, seed=seed)
    with replacing(arguments.out) as temporary:
        temporary.write_text(json.dumps(to_json(rows, arguments.vectors, arguments.seed), indent=1) + "\n")
    if arguments.markdown:
        print(in_markdown(rows))
    else:
        console().print(table(rows))
        compared = sum(row.vectors for row in rows)
        print(f"{len(rows)} netlists beside their sources, seed {arguments.seed}: {compared:,} outputs compared")
        print(f"{arguments.out}: written")
    for fault in faults(rows):
        print(f"abbnn table3: {fault}", file=sys.stderr)
    return 1 if faults(rows) else 0
