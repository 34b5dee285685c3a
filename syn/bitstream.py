"""From a network to the bitstream of a board: folding, load image, Yosys, nextpnr, ecppack, and a report.

The boot ROM is synthesized, placed and routed with random words, the same ones in every build: so every chunk of it is
a block RAM that can be told from all others by its contents, and so a bitstream depends on the network's layout only,
but for the words that are put into these blocks afterwards. `abbnn patch` puts others there in the same way.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from abbnn import paths, verilog
from abbnn.errors import UserError
from abbnn.executor import Task, Workers
from abbnn.export.area import NetworkArea, area_model
from abbnn.export.folding import Fold, Folding, balance, default_cycles
from abbnn.export.parts import Area, total
from abbnn.export.pipeline import Pipeline
from abbnn.export.solve import Infeasible, Solver
from abbnn.golden.files import replacing
from abbnn.golden.network import IntegerNetwork, load_network, network_hash
from abbnn.options import add_folding, add_headroom, add_network, add_workers, positive
from abbnn.syn import patch, pnr, trellis, yosys
from abbnn.syn.boards import LPF, Board, board, read_boards, sources_hash
from abbnn.syn.outreg import use_output_registers
from abbnn.tables import console, markdown, new_table

OUT = paths.BUILD / "bitstream"
FAMILY = "ecp5"
BOOT_FILE = "boot"
DEFINES = ("ABBNN_LUT4",)
NAMES = {"lut": "LUT", "ff": "flip-flops", "bram": "block RAM"}
HEADROOM = 2
"""Bits that a bitstream keeps free for networks trained anew, unless a user says otherwise."""
ATTEMPTS = 4
"""Foldings tried for one frame interval until one fits with the boot ROM, which depends on the folding."""
LOAD_BUS = 77
"""Its flip-flops, a stage."""
STEP = 1.05
"""Least ratio of the frame intervals that are tried one after the other."""


# ---- area -----------------------------------------------------------------------------------------------------------


def boot_area(words: int) -> Area:
    """Of abbnn_boot: a block RAM a chunk, a selector and a register a pair of chunks, and the OR of all pairs.

    A carry cell counts as two LUTs. As many as Yosys makes of it, but for what it finds in the words.
    """
    count = -(-words // trellis.CHUNK)
    pairs = -(-count // 2)
    merge = -(-(pairs - 1) // 3)
    return Area(55 + count + 32 * (pairs + merge), 47 + count + 32 * pairs, count) if count else Area(0, 0, 0)


@dataclass(frozen=True)
class Estimate:
    """What a folding takes on a board, before synthesis."""

    parts: Mapping[str, Area]
    """Stages with loadable tables, "rest" of the core, "load bus", "boot ROM", "reserve"."""

    @property
    def area(self) -> Area:
        return total(self.parts.values())


def estimate(
    network: IntegerNetwork, folding: Folding, where: Board, *, boot: bool = True, headroom: int = 0
) -> Estimate:
    """By the area model, and the board's reserve."""
    areas = NetworkArea(network, area_model(FAMILY), headroom=headroom, loadable=True)
    pipeline = Pipeline(network, folding).roomy(headroom)
    around = {
        "rest": areas.fixed,
        "load bus": Area(0, LOAD_BUS * len(pipeline.configs), 0),
        "boot ROM": boot_area(len(pipeline.load_image) if boot else 0),
        "reserve": where.reserve,
    }
    return Estimate(areas.folding(folding) | around)


def _excess(need: Area, limit: Area) -> str:
    """Empty if it fits."""
    return ", ".join(
        f"{math.ceil(excess):,} {NAMES[name]} too many ({math.ceil(getattr(need, name)):,} of "
        f"{math.floor(getattr(limit, name)):,})"
        for name, excess in limit.lacks(need).items()
    )


def choose_folding(network: IntegerNetwork, where: Board, *, boot: bool = True, headroom: int = 0) -> dict[str, Fold]:
    """The folding balanced to the board's `cycles` a frame, or to the network's usual number if that is more, if it
    fits the board's share of the device; else the fastest found that does.

    Infeasible says why nothing fits.

    The solver does not know the boot ROM, which grows and shrinks with the folding, in no simple way: a word of a table
    takes whole words of 32 bits. So frame intervals are tried one after the other: the balanced
    folding, and the cheapest, of which what exceeds the share is taken off the budget before it is asked for again.
    """
    share = Area(where.fill * where.device.lut, where.fill * where.device.ff, where.device.bram)

    def over(folding: Folding) -> dict[str, float]:
        return share.lacks(estimate(network, folding, where, boot=boot, headroom=headroom).area)

    def balanced(target: int) -> dict[str, Fold] | None:
        try:
            return balance(network, target)
        except ValueError:
            return None

    first = max(where.cycles, default_cycles(network))
    usual = balanced(first)
    if usual is not None and not over(usual):
        return usual
    solver = Solver(network, FAMILY, headroom=headroom, loadable=True)
    full = Area(*(getattr(share, name) - getattr(where.reserve, name) for name in Area._fields))
    slowest = solver.intervals()[-1]
    least, last = math.inf, 0
    closest = ""
    for target in solver.intervals():
        if target < max(min(first, slowest), STEP * last):
            continue
        last = target
        even = balanced(target)
        if even is not None and not over(even):
            return even
        left = full
        for _ in range(ATTEMPTS):
            solution = solver.cheapest(target, left)
            if solution is None:
                break
            folding = dict(solution.folding)
            excess = over(folding)
            if not excess:
                return folding
            worst = max(value / getattr(share, name) for name, value in excess.items())
            if worst < least:
                least = worst
                need = estimate(network, folding, where, boot=boot, headroom=headroom).area
                closest = f"{solution.interval} cycles a frame take {_excess(need, share)}"
            left = Area(*(getattr(left, name) - 1.05 * excess.get(name, 0) for name in Area._fields))
    closest = closest or f"{slowest} cycles a frame take {solver.shortage(slowest, full)}"
    raise Infeasible(f"{network.structure.name} does not fit {where.name} at any rate: {closest}")


# ---- building -------------------------------------------------------------------------------------------------------


def random_image(count: int) -> list[trellis.Words]:
    """`count` chunks that no other memory holds, always the same ones."""
    data = hashlib.shake_256(b"abbnn boot rom").digest(4 * trellis.CHUNK * count)
    return list(np.frombuffer(data, "<u4").astype(np.uint32).reshape(-1, trellis.CHUNK))


@dataclass
class Build:
    """A bitstream and all that is known of it."""

    bitstream: bytes
    config: str
    metadata: patch.Metadata
    report: pnr.Report
    cells: Mapping[str, int]
    """Of the netlist, by kind."""
    estimated: Estimate
    seconds: dict[str, float]
    words_read_back: int
    interval: int
    seeds: Mapping[int, float | None]
    """Of each seed of nextpnr that was tried, `reached`; None where nextpnr failed."""
    logs: dict[str, str] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        return all(clock.met for clock in self.report.clocks)


def reached(report: pnr.Report, clock_mhz: float) -> float:
    """MHz of the core's clock, if all clocks of the design were scaled until the most critical one is just met."""
    return clock_mhz * min(clock.achieved / clock.wanted for clock in report.clocks)


def script(where: Board, files: Sequence[str], words: int, clock_mhz: int) -> list[str]:
    """Yosys' commands: modules are mapped one by one and flattened afterwards, so that cells keep their instances."""
    values: dict[str, int | str] = {"CLOCK_MHZ": clock_mhz, "BOOT_WORDS": words, "BOOT_FILE": BOOT_FILE}
    read, elaborate = verilog.yosys_elaboration(where.top, values, files, includes=[Path(".")], defines=DEFINES)
    return [
        read,
        elaborate.replace(" -check", ""),  # synth_ecp5 checks when it has read the vendor's cells
        f"synth_ecp5 -nowidelut -noflatten -top {where.top}",
        "flatten",
        "opt_clean",
        "write_json mapped.json",
    ]


def _output_registers(folder: Path, top: str) -> dict[str, int]:
    """mapped.json -> design.json with the registers behind block RAMs in them; its cells by kind."""
    design = json.loads((folder / "mapped.json").read_text(encoding="utf-8"))
    use_output_registers(design["modules"][top])
    (folder / "design.json").write_text(json.dumps(design), encoding="utf-8")
    return dict(sorted(Counter(cell["type"] for cell in design["modules"][top]["cells"].values()).items()))


def cell_area(cells: Mapping[str, int]) -> Area:
    """LUT sites, flip-flops and block RAMs of a mapped netlist, before nextpnr packs it.

    A CCU2C takes two sites, a TRELLIS_DPR16X4 four for its bits and two for its write port.
    """
    lut = cells.get("LUT4", 0) + 2 * cells.get("CCU2C", 0) + 6 * cells.get("TRELLIS_DPR16X4", 0)
    return Area(lut, cells.get("TRELLIS_FF", 0), cells.get("DP16KD", 0))


def build(
    network: IntegerNetwork,
    folding: Folding,
    where: Board,
    *,
    seeds: Sequence[int] = (1,),
    workers: Workers | None = None,
    clock_mhz: int | None = None,
    boot: bool = True,
    headroom: int = 0,
    say: Callable[[str], object] = lambda text: None,
    logs: dict[str, str] | None = None,
) -> Build:
    """The bitstream of a network on a board: that of the seed of nextpnr which reaches the highest clock.

    `clock_mhz` is the core's clock, one that the top's PLL can make; default: the board's. Without `boot` there is no
    boot ROM: the core waits for a load of the host, and there is nothing to patch. `headroom` bits more than this
    network needs are in every sum, for those that come after it. `say` gets a line whenever a step
    begins or ends; `logs` gets what the tools said, also if one of them fails. ValueError says in a line what does not
    fit or which tool failed, FileNotFoundError what to install.
    """
    logs = {} if logs is None else logs
    clock = clock_mhz or where.clock_mhz
    if clock not in where.clocks_mhz:
        raise UserError(f"{where.name} has no clock of {clock} MHz; there are {', '.join(map(str, where.clocks_mhz))}")
    tools = {"yosys": yosys.version()} | {name: trellis.version(name) for name in ("nextpnr-ecp5", "ecppack")}
    verilog.tool("ecpunpack")
    seconds: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        say(f"{name} ...")
        start = time.monotonic()
        yield
        seconds[name] = round(time.monotonic() - start, 1)
        say(f"{name}: {seconds[name]:,.1f} s")

    with step("export"):
        pipeline = Pipeline(network, folding).roomy(headroom)
        image = pipeline.load_image if boot else []
        estimated = estimate(network, folding, where, boot=boot, headroom=headroom)
        device = Area(where.device.lut, where.device.ff, where.device.bram)
        if excess := _excess(estimated.area, device):
            raise UserError(f"{network.structure.name} is estimated not to fit {where.name}: {excess}")
    with tempfile.TemporaryDirectory(prefix="abbnn-bitstream-") as temporary:
        folder = Path(temporary)
        random = random_image(-(-len(image) // trellis.CHUNK))
        sources = where.texts()  # read once: what is built is what is hashed
        _write_sources(folder, sources, random, pipeline.headers)
        with step("yosys"):
            names = [name for name in sources if name != LPF]
            try:
                commands = script(where, names, len(image), clock)
                yosys.run(network.structure.name, commands, folder, log=folder / "yosys.log")
            finally:
                _keep(folder / "yosys.log", logs)
            cells = _output_registers(folder, where.top)
        if excess := _excess(cell_area(cells), device):
            raise UserError(f"{network.structure.name}, synthesized, does not fit {where.name}: {excess}")
        top = sources[where.sources[0].name].decode("utf-8")
        with step("nextpnr"):
            files = {name: (folder / name).read_bytes() for name in ("design.json", "design.lpf")}
            if len(seeds) == 1:
                tried = [pnr.routing(where.nextpnr, files, seeds[0], clock, lambda name: say(f"  {name}"))]
            else:
                tasks = [Task(f"seed {seed}", pnr.routing, (where.nextpnr, files, seed, clock)) for seed in seeds]
                tried = (workers or Workers()).all(tasks, unit="seed")
            reports = {each.seed: pnr.read_report(each.report, top) for each in tried if each.report}
            rates = {each.seed: reached(reports[each.seed], clock) if each.report else None for each in tried}
            best = max(tried, key=lambda each: rates[each.seed] or 0.0)
            logs["nextpnr.log"] = best.log
            if best.fault:
                raise trellis.ToolError(best.fault)
        with step("ecppack"):
            config = best.config
            metadata = patch.Metadata(
                network=network.structure.name,
                network_sha256=network_hash(network),
                layout=f"{pipeline.layout_id:08x}",
                headroom=headroom,
                board=where.name,
                device=where.device.name,
                clock_mhz=clock,
                folding={name: [fold.pe, fold.simd, fold.weights] for name, fold in folding.items()},
                sources=sources_hash(sources),
                tools=tools,
                seed=best.seed,
                pack=_pack_options(where.pack, trellis.sysconfig(config)),
                boot_words=len(image),
                boot_blocks=trellis.find_chunks(config, random),
                parameters={config.name: config.parameters for config in pipeline.configs},
            )
            config = patch.with_image(config, image, metadata)
            bitstream = trellis.pack(config, metadata.pack)
            again = trellis.unpack(bitstream)
            if wrong := patch.differing_words(again, metadata, image):
                raise UserError(f"{wrong} words of the boot ROM read back otherwise from the bitstream")
            if patch.read_metadata(bitstream) != metadata:
                raise UserError("the metadata read back otherwise from the bitstream")
    report, interval = reports[best.seed], pipeline.timing.interval
    return Build(bitstream, config, metadata, report, cells, estimated, seconds, len(image), interval, rates, logs)


def _write_sources(
    folder: Path, sources: Mapping[str, bytes], random: Sequence[trellis.Words], headers: Mapping[str, str]
) -> None:
    """Everything by its bare name, so that no tool learns where it lies."""
    for name, data in sources.items():
        (folder / name).write_bytes(data)
    for name, text in headers.items():
        (folder / name).write_text(text, encoding="ascii")
    for number, chunk in enumerate(random):
        text = "".join(f"{word:08x}\n" for word in chunk)
        (folder / f"{BOOT_FILE}.{number:03}.mem").write_text(text, encoding="ascii")


def _keep(log: Path, logs: dict[str, str]) -> None:
    if log.is_file():
        logs[log.name] = log.read_text(encoding="utf-8", errors="replace")


def _pack_options(options: Sequence[str], sysconfig: Mapping[str, str]) -> list[str]:
    """ecppack's options with those that it takes from the pin file: no unpacked bitstream has them."""
    result = list(options)
    if sysconfig.get("COMPRESS_CONFIG") == "ON" and "--compress" not in result:
        result += ["--compress"]
    if "MCCLK_FREQ" in sysconfig and "--freq" not in result:
        value = sysconfig["MCCLK_FREQ"]
        result += ["--freq", "62.0" if value == "62" else value]
    return result


# ---- report ---------------------------------------------------------------------------------------------------------


def _seeds(result: Build) -> dict[str, Any]:
    """The distribution over all seeds that nextpnr routed, MHz of the core's clock; a seed that failed has null."""
    routed = [mhz for mhz in result.seeds.values() if mhz is not None]
    median = statistics.median(routed)
    return {
        "mhz": {str(seed): None if mhz is None else round(mhz, 2) for seed, mhz in result.seeds.items()},
        "mhz_median": round(median, 2),
        "mhz_max": round(max(routed), 2),
        "frames_per_second_median": round(median * 1e6 / result.interval, 1),
    }


def to_json(result: Build) -> dict[str, Any]:
    meta = result.metadata
    return {
        **{key: value for key, value in asdict(meta).items() if not key.startswith("boot_") and key != "parameters"},
        "folding": {stage: dict(zip(("pe", "simd", "weights"), f, strict=True)) for stage, f in meta.folding.items()},
        "interval": result.interval,
        "frames_per_second": round(meta.clock_mhz * 1e6 / result.interval, 1),
        "timing_met": result.met,
        "clocks": [asdict(clock) | {"met": clock.met} for clock in result.report.clocks],
        "utilisation": {kind: {"used": used, "available": of} for kind, (used, of) in result.report.used.items()},
        "cells": dict(result.cells),
        "estimated": {name: part.rounded() for name, part in result.estimated.parts.items()}
        | {"all": result.estimated.area.rounded()},
        "synthesized": cell_area(result.cells).rounded(),
        "critical_paths": [
            {"routing_share": round(path.routing_share, 3), **asdict(path)} for path in result.report.paths
        ],
        "boot_rom": {"words": meta.boot_words, "blocks": list(meta.boot_blocks), "read_back": result.words_read_back},
        "bitstream": {"bytes": len(result.bitstream), "sha256": hashlib.sha256(result.bitstream).hexdigest()},
        "seeds": _seeds(result),
        "seconds": result.seconds,
    }


def sections(report: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str], list[Sequence[str]]]]:
    """Title, columns and rows of every table of a report."""
    yield (
        "clocks, MHz",
        ("clock", "reached", "asked for", "met"),
        [(c["name"], f"{c['achieved']:.2f}", f"{c['wanted']:.2f}", str(c["met"]).lower()) for c in report["clocks"]],
    )
    seeds = report["seeds"]
    if len(seeds["mhz"]) > 1:
        yield (
            f"seeds: median {seeds['mhz_median']:.2f} MHz, {seeds['frames_per_second_median']:,.1f} frames a second",
            ("seed", "MHz"),
            [(seed, "not routed" if mhz is None else f"{mhz:.2f}") for seed, mhz in seeds["mhz"].items()],
        )
    yield (
        "resources",
        ("what", "used", "of", "share"),
        [
            (pnr.RESOURCES[kind], f"{one['used']:,}", f"{one['available']:,}", f"{one['used'] / one['available']:.1%}")
            for kind, one in report["utilisation"].items()
            if one["available"]
        ],
    )
    yield (
        "area",
        ("", "LUT", "flip-flops", "block RAM"),
        [
            (name, *(f"{area[of]:,g}" for of in Area._fields))
            for name, area in (("estimated", report["estimated"]["all"]), ("synthesized", report["synthesized"]))
        ],
    )
    for path in report["critical_paths"]:
        title = (
            f"critical path {path['start']} -> {path['end']}: {path['delay_ns']:.2f} ns, logic {path['logic_ns']:.2f}, "
            f"routing {path['routing_ns']:.2f} ({path['routing_share']:.0%})"
        )
        rows: list[Sequence[str]] = [
            (
                step["instance"] or "(top)",
                step["module"],
                f"{step['logic_ns']:.2f}",
                f"{step['routing_ns']:.2f}",
                f"{step['levels']}",
            )
            for step in path["steps"]
        ]
        yield title, ("instance", "module", "logic, ns", "routing, ns", "levels"), rows
    yield "run time", ("step", "s"), [(name, f"{value:,.1f}") for name, value in report["seconds"].items()]


def to_markdown(report: Mapping[str, Any]) -> str:
    lines = [
        f"# {report['network']} on {report['board']}",
        "",
        f"{report['interval']:,} cycles a frame, {report['clock_mhz']:g} MHz: {report['frames_per_second']:,.1f} "
        f"frames a second. Network sha256 {report['network_sha256'][:16]}, layout {report['layout']}, "
        f"seed {report['seed']}; " + ", ".join(f"{name} {version}" for name, version in report["tools"].items()) + ".",
        "",
    ]
    for title, columns, rows in sections(report):
        lines += [f"## {title}", "", markdown(columns, rows, texts=len(columns)), ""]
    return "\n".join(lines)


def tables(report: Mapping[str, Any]) -> list[Table]:
    result = []
    for title, columns, rows in sections(report):
        result.append(new_table(title, columns, texts=2 if "module" in columns else 1))
        for row in rows:
            result[-1].add_row(*row)
    return result


# ---- command line ---------------------------------------------------------------------------------------------------

DESCRIPTION = (
    "Export, synthesize, place, route and pack. With neither --fold nor --cycles: folded for the board's usual cycles "
    "a frame if that fits, else the fastest that does. Status 1 if a clock is not reached; the bitstream is there all "
    "the same."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_network(parser)
    parser.add_argument("--board", required=True, metavar="BOARD", help=f"one of {', '.join(sorted(read_boards()))}")
    add_folding(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="default build/bitstream/NAME-BOARD")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of nextpnr; default %(default)s")
    parser.add_argument(
        "--seeds",
        type=positive,
        default=1,
        metavar="N",
        help="so many seeds from --seed on, spread over the workers: the best is kept, the report has all of them",
    )
    add_workers(parser)
    parser.add_argument(
        "--no-boot",
        dest="boot",
        action="store_false",
        help="no boot ROM, whatever the board's default: the network comes from the host after configuration, and the "
        "bitstream cannot be patched",
    )
    add_headroom(parser, HEADROOM)
    parser.add_argument(
        "--freq", type=int, metavar="MHZ", help="clock of the core, one that the top's PLL makes; default: the board's"
    )


def _without_boot(network: IntegerNetwork, where: Board, headroom: int) -> str:
    """What to say of a network that does not fit with a boot ROM."""
    try:
        choose_folding(network, where, boot=False, headroom=headroom)
    except Infeasible:
        return ""
    return "; with --no-boot it fits"


def run(options: argparse.Namespace) -> int:
    """0, or 1 if a clock is not reached. ValueError or OSError for main to print; then no bitstream is written."""
    where = board(options.board)
    for path in [*where.sources, where.lpf]:
        if not path.is_file():
            raise UserError(f"{where.name}: {path} is missing")
    network, boot = load_network(options.network), options.boot and where.boot
    for name in verilog.INSTALL:
        verilog.tool(name)
    if options.fold or options.cycles is not None:
        folding = Pipeline.read(options.network, options.fold, options.cycles).folding
    else:
        try:
            folding = choose_folding(network, where, boot=boot, headroom=options.headroom)
        except Infeasible as error:
            advice = _without_boot(network, where, options.headroom) if boot else ""
            raise UserError(f"{options.network}: {error}{advice}") from None
    name = f"{options.network.stem}-{where.name}"
    out = options.out or OUT / name
    screen = console(160)
    logs: dict[str, str] = {}
    try:
        result = build(
            network,
            folding,
            where,
            seeds=range(options.seed, options.seed + options.seeds),
            workers=Workers.of(options),
            clock_mhz=options.freq,
            boot=boot,
            headroom=options.headroom,
            say=lambda text: screen.print(text, highlight=False),
            logs=logs,
        )
    finally:
        for log, text in logs.items():
            with replacing(out / log) as temporary:
                temporary.write_text(text, encoding="utf-8")
    report = to_json(result)
    for file, data in (
        (f"{name}.bit", result.bitstream),
        (f"{name}.config", result.config.encode("ascii")),
        ("report.json", (json.dumps(report, indent=1) + "\n").encode("ascii")),
        ("report.md", to_markdown(report).encode("ascii")),
    ):
        with replacing(out / file) as temporary:
            temporary.write_bytes(data)
    for table in tables(report):
        screen.print(table)
    print(f"{out / (name + '.bit')}: {len(result.bitstream):,} bytes, {result.words_read_back:,} words read back equal")
    for clock in result.report.clocks:
        if not clock.met:
            print(
                f"abbnn bitstream: {clock.name} reaches {clock.achieved:.2f} MHz of {clock.wanted:.2f}",
                file=sys.stderr,
            )
    return 0 if result.met else 1
