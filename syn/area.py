"""Area of a folded network: every stage synthesised by itself, what it consists of, and all of them added up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from rich.table import Table

from abbnn import paths
from abbnn.errors import UserError
from abbnn.executor import Task, Workers
from abbnn.export.config import stage_kind
from abbnn.export.folding import Folding
from abbnn.export.pipeline import Pipeline
from abbnn.export.schedule import timing
from abbnn.golden.files import replacing
from abbnn.golden.network import IntegerNetwork, network_hash
from abbnn.syn.cells import CARRY_ONLY, FAMILIES, OVERHEAD, Resources, Role, role_of
from abbnn.syn.memory import MemoryReport, memories
from abbnn.syn.yosys import CORE, Design, carry_only, core_files, own_cells, source_name, synthesise, version
from abbnn.tables import new_table

CACHE = paths.BUILD / "syn"
CORE_STAGE = "core"
"""Guard, verdict FIFO, drop, output register and counters: what is around the stages."""
CLOCK_MHZ = 200.0


@dataclass(frozen=True)
class StageDesign:
    """One stage of a network as Yosys gets it."""

    stage: str
    design: Design
    parameters: Mapping[str, int]
    """What decides its area: its RTL parameters; of the core, the sizes that it takes from the header."""
    contents: Mapping[str, tuple[Sequence[int], int]]
    """File name to (words, bits of a word)."""

    @property
    def shape(self) -> tuple[Any, ...]:
        """Equal for stages that differ in the contents of their memories only."""
        return (self.design.top, *sorted(self.parameters.items()))


def stage_designs(network: IntegerNetwork, folding: Folding) -> list[StageDesign]:
    """Stem, blocks, head and what is around them."""
    pipeline = Pipeline(network, folding)
    result = []
    for config in pipeline.configs:
        files = {name: memory.text for name, memory in config.memories.items()}
        contents = {name: (memory.words, memory.width) for name, memory in config.memories.items()}
        design = Design(f"abbnn_{stage_kind(config.name)}", {**config.parameters, "PREFIX": config.name}, files)
        result.append(StageDesign(config.name, design, config.parameters, contents))
    structure = network.structure
    size = {"IMAGE_HEIGHT": structure.height, "IMAGE_WIDTH": structure.width, "BLOCKS": len(structure.blocks)}
    core = Design(CORE, {}, core_files(pipeline.headers))
    return [*result, StageDesign(CORE_STAGE, core, size, {})]


@dataclass(frozen=True)
class Module:
    """Own cells of a module, those below it left out, of all its instances in a stage together."""

    count: int
    cells: Mapping[str, int]


@dataclass(frozen=True)
class Measurement:
    """What Yosys made of one stage."""

    family: str
    modules: Mapping[str, Module]
    memories: Sequence[MemoryReport]

    def resources(self, module: str) -> Resources:
        return FAMILIES[self.family].resources(self.modules[module].cells)

    @property
    def total(self) -> Resources:
        return sum((self.resources(module) for module in self.modules), Resources())


def measure(stage: StageDesign, family: str, *, cache: Path = CACHE) -> Measurement:
    """Synthesise, or take the result of an earlier run of the same sources, parameters, contents and tool.

    UserError if Yosys fails, if a cell is unknown, or if a block RAM belongs to no memory.
    """
    return measure_each([(stage, family)], Workers(), cache=cache)[0]


def measure_each(
    wanted: Sequence[tuple[StageDesign, str]], workers: Workers, *, cache: Path = CACHE
) -> list[Measurement]:
    """`measure` for each (stage, family)."""
    files = [cache / f"{stage.design.key(family)}.json" for stage, family in wanted]
    found = {index: kept for index, path in enumerate(files) if (kept := _kept(path))}
    missing = [index for index in range(len(wanted)) if index not in found]
    tasks = [
        Task(f"{wanted[index][0].stage} on {wanted[index][1]}", synthesised, (*wanted[index], files[index].stem))
        for index in missing
    ]
    for number, result in workers.results(tasks, "stage"):
        found[missing[number]] = result
        with replacing(files[missing[number]]) as temporary:
            temporary.write_text(json.dumps(asdict(result)) + "\n")
    return [found[index] for index in range(len(wanted))]


def synthesised(stage: StageDesign, family: str, key: str) -> Measurement:
    """`key`: of the design where the run was started, whose tool and sources must be those of this worker."""
    if stage.design.key(family) != key:
        raise UserError(f"{stage.stage}: this worker has another Yosys (its is {version()}) or other sources")
    synthesis = synthesise(stage.design, family)
    cells: dict[str, Counter[str]] = {}
    counts: Counter[str] = Counter()
    for name, times in synthesis.instances.items():
        module = source_name(name)
        counts[module] += times
        own = Counter(own_cells(synthesis.mapped, name).values())
        own[CARRY_ONLY] = carry_only(synthesis.mapped[name])
        cells.setdefault(module, Counter()).update({cell: times * count for cell, count in own.items() if count})
    modules = {module: Module(counts[module], dict(sorted(cells[module].items()))) for module in sorted(cells)}
    result = Measurement(family, modules, memories(synthesis, family, stage.contents))
    _ = result.total  # every cell has a price
    return result


def _kept(path: Path) -> Measurement | None:
    """None if it is not there, cut off, or of another version."""
    try:
        return _from_json(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _from_json(data: Mapping[str, Any]) -> Measurement:
    modules = {name: Module(**module) for name, module in data["modules"].items()}
    return Measurement(data["family"], modules, [MemoryReport(**memory) for memory in data["memories"]])


@dataclass(frozen=True)
class StageArea:
    """A stage of a network with its measurement."""

    design: StageDesign
    measured: Measurement
    reused_from: str | None = None
    """The stage of the same parameters and other contents that was synthesised in its place."""


def measure_all(
    designs: Sequence[StageDesign], family: str, workers: Workers, *, cache: Path = CACHE
) -> list[StageArea]:
    """Every design. Of stages that differ in memory contents only the first is run."""
    first: dict[tuple[Any, ...], StageDesign] = {}
    for each in designs:
        first.setdefault(each.shape, each)
    results = measure_each([(each, family) for each in first.values()], workers, cache=cache)
    measured = dict(zip(first, results, strict=True))
    return [
        StageArea(each, measured[each.shape], None if first[each.shape] is each else first[each.shape].stage)
        for each in designs
    ]


# ---- what comes of it -----------------------------------------------------------------------------------------------


def roles(modules: Mapping[str, Resources]) -> dict[Role, Resources]:
    """Sum over the modules of each role. ValueError for a module without one."""
    result = dict.fromkeys(get_args(Role), Resources())
    for module, resources in modules.items():
        result[role_of(module)] += resources
    return result


def by_module(areas: Iterable[StageArea]) -> dict[str, tuple[int, Resources]]:
    """Module to its instances and their own cells, over all stages."""
    result: dict[str, tuple[int, Resources]] = {}
    for area in areas:
        for name, module in area.measured.modules.items():
            count, resources = result.get(name, (0, Resources()))
            result[name] = (count + module.count, resources + area.measured.resources(name))
    return dict(sorted(result.items()))


def memory_summary(area: StageArea) -> dict[str, float]:
    """Of a stage. Block RAM bits count whole blocks; of LUT memory, what the memories need, not what the LUTs hold."""
    reports = area.measured.memories
    family = FAMILIES[area.measured.family]
    block = [report for report in reports if report.where == "block"]
    needed = sum(report.bits * report.instances for report in block)
    used = sum(report.blocks * report.instances for report in block) * family.block_bits
    weights = [report for report in reports if report.file is not None and report.file.endswith("_weights.mem")]
    return {
        "weight_bits": sum(report.bits * report.instances for report in weights),
        "weight_bits_in_block_ram": sum(report.bits * report.instances for report in weights if report in block),
        "block_ram_bits_needed": needed,
        "block_ram_bits_used": used,
        "block_ram_fill": needed / used if used else 1.0,
        "lut_memory_bits": sum(report.bits * report.instances for report in reports if report.where == "lut"),
    }


def faults(areas: Iterable[StageArea]) -> list[str]:
    """DSP cells, and contents in block RAM that are not proven to be those of their file: a line each."""
    result = []
    for area in areas:
        if area.measured.total.dsp:
            result.append(f"{area.design.stage}: {area.measured.total.dsp} DSP cells")
        if area.reused_from is None:
            for report in area.measured.memories:
                if report.wrong:
                    result.append(f"{area.design.stage}: {report.file} in {report.where}: {report.check}")
    return result


def efficiency(network: IntegerNetwork, folding: Folding, total: Resources, clock_mhz: float) -> dict[str, float]:
    """Of a whole network at an assumed clock; GOPS are twice the binary MACs a second."""
    interval = timing(network, folding).interval
    frames = clock_mhz * 1e6 / interval
    gops = 2 * network.structure.binary_macs * frames / 1e9
    return {
        "interval": interval,
        "clock_mhz": clock_mhz,
        "frames_per_second": frames,
        "gops": gops,
        "gops_per_klut": gops / (total.lut / 1000),
    }


def total_of(areas: Iterable[StageArea]) -> Resources:
    return sum((area.measured.total for area in areas), Resources())


def to_json(
    network: IntegerNetwork, folding: Folding, family: str, areas: Sequence[StageArea], clock_mhz: float | None
) -> dict[str, Any]:
    """The report. `clock_mhz` None: a part of the network, of which no efficiency is told."""
    total = total_of(areas)
    modules = by_module(areas)
    shares = roles({name: resources for name, (_, resources) in modules.items()})
    stages = []
    for area in areas:
        name = area.design.stage
        fold = folding.get(name)
        stages.append(
            {
                "stage": name,
                "top": area.design.design.top,
                **({"pe": fold.pe, "simd": fold.simd, "weights": fold.weights} if fold else {}),
                "reused_from": area.reused_from,
                "parameters": dict(area.design.parameters),
                "total": asdict(area.measured.total),
                "modules": {
                    module: {"count": one.count, **asdict(area.measured.resources(module))}
                    for module, one in area.measured.modules.items()
                },
                "memory": memory_summary(area),
                "memories": [asdict(report) for report in area.measured.memories],
            }
        )
    return {
        "network": network.structure.name,
        "network_sha256": network_hash(network),
        "family": family,
        "yosys": version(),
        "command": FAMILIES[family].command,
        "hierarchy": "kept, a netlist a module",
        "added_up": "stages are synthesised one by one; one with reused_from not, its figures are those of that stage",
        "complete": clock_mhz is not None,
        "total": asdict(total),
        "modules": {name: {"count": count, **asdict(resources)} for name, (count, resources) in modules.items()},
        "roles": {role: asdict(resources) for role, resources in shares.items()},
        "overhead_share": sum(shares[role].lut for role in OVERHEAD) / max(1, total.lut),
        "efficiency": None if clock_mhz is None else efficiency(network, folding, total, clock_mhz),
        "faults": faults(areas),
        "stages": stages,
    }


# ---- tables ---------------------------------------------------------------------------------------------------------


FIGURES = {
    "LUT": "lut",
    "of it memory": "lut_memory",
    "carry sites": "carry_only",
    "FF": "ff",
    "BRAM": "bram",
    "carry": "carry",
    "DSP": "dsp",
}


def _figures(resources: Resources) -> list[str]:
    numbers = (getattr(resources, name) for name in FIGURES.values())
    return [f"{number:,g}" if isinstance(number, float) else f"{number:,}" for number in numbers]


def area_tables(name: str, family: str, areas: Sequence[StageArea]) -> list[Table]:
    """Stages, modules, and what the modules are there for."""
    total = total_of(areas)
    stages = new_table(f"{name}: stages on {family}, Yosys {version()}", ("stage", "measured", *FIGURES), texts=2)
    for area in areas:
        measured = f"as {area.reused_from}" if area.reused_from else ""
        stages.add_row(area.design.stage, measured, *_figures(area.measured.total))
    stages.add_section()
    stages.add_row("all", "", *_figures(total))
    modules = by_module(areas)
    each = new_table("modules, own cells", ("module", "instances", *FIGURES))
    for module, (count, resources) in sorted(modules.items(), key=lambda item: -item[1][1].lut):
        each.add_row(module, f"{count:,}", *_figures(resources))
    shares = new_table("what for", ("", "share of LUTs", *FIGURES))
    for role, resources in roles({module: resources for module, (_, resources) in modules.items()}).items():
        shares.add_row(role, f"{resources.lut / max(1, total.lut):.1%}", *_figures(resources))
    return [stages, each, shares]


def memory_tables(name: str, areas: Sequence[StageArea]) -> list[Table]:
    """Bits needed and used a stage, and every initialised memory with what became of it."""
    summary = new_table(
        f"{name}: memory, bits",
        ("stage", "weights", "in block RAM", "blocks need", "blocks have", "fill", "in LUTs"),
    )
    for area in areas:
        bits = memory_summary(area)
        fill = f"{bits['block_ram_fill']:.1%}" if bits["block_ram_bits_used"] else ""
        keys = ("weight_bits", "weight_bits_in_block_ram", "block_ram_bits_needed", "block_ram_bits_used")
        summary.add_row(area.design.stage, *(f"{bits[key]:,.0f}" for key in keys), fill, f"{bits['lut_memory_bits']:,}")
    columns = ("file", "where", "contents", "depth", "width", "blocks")
    contents = new_table("contents, read back from the netlist", columns, texts=3)
    for area in areas:
        if area.reused_from is not None:
            contents.add_row(f"those of {area.design.stage}", "", f"not synthesised, see {area.reused_from}")
            continue
        for report in area.measured.memories:
            if report.file is not None:
                sizes = (f"{report.depth:,}", f"{report.width:,}", f"{report.blocks:g}")
                contents.add_row(report.file, report.where, report.check, *sizes)
    return [summary, contents]
