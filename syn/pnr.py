"""Place and route with nextpnr-ecp5, and what its report says: clocks, resources, the critical paths by instance."""

from __future__ import annotations

import functools
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abbnn import verilog
from abbnn.export.config import stage_kind
from abbnn.syn.trellis import ToolError, run

PHASES = {
    "Info: Packing IOs": "packing",
    "Info: Creating initial analytic placement": "placing",
    "Info: Running simulated annealing placer": "refining the placement",
    "Info: Routing..": "routing",
}
"""What nextpnr says when a part of its work begins."""
RESOURCES = {
    "TRELLIS_COMB": "LUT sites",
    "TRELLIS_FF": "flip-flops",
    "TRELLIS_RAMW": "LUT RAM write ports",
    "DP16KD": "block RAM",
    "MULT18X18D": "DSP",
    "EHXPLLL": "PLL",
    "TRELLIS_IO": "pins",
}
"""Of nextpnr's kinds of cell, those that a report shows, and their names in it."""
PLACER = ("--placer-heap-critexp", "4", "--placer-heap-timingweight", "20")
"""How much the analytic placer prefers short critical nets to little wire: twice nextpnr's own exponent and weight.

Four fifths of a critical path are routing. The netlist that `make bitstream` made of `tiny` for ulx3s-85f at commit
9f390e2, seed 1: 117.66 MHz, without these options 113.73. From seed to seed the clock moves by more than that.
"""


@dataclass(frozen=True)
class Clock:
    """MHz that the placed and routed design reaches, at the slow corner of its speed grade, and that were asked for."""

    name: str
    achieved: float
    wanted: float

    @property
    def met(self) -> bool:
        return self.achieved >= self.wanted


@dataclass(frozen=True)
class Step:
    """A part of a path that stays in one instance."""

    instance: str
    """From the top, with the generate blocks: "board_inst.axi_inst"; "" is the top."""
    module: str
    """What it is an instance of; "" if the sources do not tell."""
    logic_ns: float
    """Through cells, clock to output and setup included."""
    routing_ns: float
    """Of the nets that end here."""
    levels: int
    """LUTs and carry chains passed."""


@dataclass(frozen=True)
class CriticalPath:
    """The slowest path of a clock."""

    start: str
    end: str
    delay_ns: float
    logic_ns: float
    routing_ns: float
    first_cell: str
    last_cell: str
    steps: Sequence[Step]

    @property
    def routing_share(self) -> float:
        return self.routing_ns / self.delay_ns if self.delay_ns else 0.0


@dataclass(frozen=True)
class Report:
    clocks: Sequence[Clock]
    used: Mapping[str, tuple[int, int]]
    """Kind of cell to (used, available), kinds of RESOURCES only."""
    paths: Sequence[CriticalPath]


@dataclass(frozen=True)
class Routing:
    """What one seed of nextpnr gave."""

    seed: int
    config: str
    """The text configuration; "" where nextpnr failed, which `fault` then says in a line."""
    log: str
    report: Mapping[str, Any]
    fault: str = ""


def routing(
    options: Sequence[str],
    files: Mapping[str, bytes],
    seed: int,
    freq: float,
    phase: Callable[[str], object] = lambda name: None,
) -> Routing:
    """design.json and design.lpf of `files`, placed and routed in a folder of its own. A task of the executor.

    `freq`, MHz, is asked for of the clocks that design.lpf does not constrain. A clock that is not reached is no error.
    """
    command = [
        *(verilog.tool("nextpnr-ecp5"), *options, "--json", "design.json", "--lpf", "design.lpf"),
        *("--textcfg", "design.config", "--report", "pnr.json", "--seed", str(seed), "--freq", f"{freq:g}"),
        *PLACER,
        "--timing-allow-fail",
    ]

    def line(text: str) -> None:
        for begin, name in PHASES.items():
            if text.startswith(begin):
                phase(name)

    with tempfile.TemporaryDirectory(prefix="abbnn-route-") as temporary:
        folder = Path(temporary)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        log, fault = folder / "nextpnr.log", ""
        try:
            run("nextpnr-ecp5", command, folder, log, line)
        except ToolError as error:
            fault = str(error)
        config, report = (
            ("", "{}") if fault else ((folder / name).read_text() for name in ("design.config", "pnr.json"))
        )
        said = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        return Routing(seed, config, said, json.loads(report), fault)


# ---- instances ------------------------------------------------------------------------------------------------------


INSTANCE = re.compile(r"\w+_inst|stem|block\d\d|head")


def instance_of(cell: str) -> str:
    """The instance that a flattened cell came from: its name up to the last component that is an instance's.

    >>> instance_of("core_inst.block04.scale_inst.gen_a.sum_CCU2C_S0$CCU2_COMB0")
    'core_inst.block04.scale_inst'
    """
    parts = cell.split(".")
    last = max((index for index, part in enumerate(parts[:-1]) if INSTANCE.fullmatch(part)), default=-1)
    return ".".join(parts[: last + 1])


@functools.cache
def _children(text: str) -> dict[str, str]:
    """Instance name to module, of a module's source; "a or b" where generate branches differ."""
    result: dict[str, str] = {}
    kind = ""
    for line in text.splitlines():
        if found := re.match(r"\s*(abbnn_\w+)\b", line):
            kind = found[1]
        if kind and (named := re.match(r"(?:.*\)|\s*abbnn_\w+)\s*(\w+_inst)\s*\(", line)):
            before = result.get(named[1])
            result[named[1]] = kind if before in (None, kind) else f"{before} or {kind}"
    return result


def module_of(instance: str, top: str) -> str:
    """The module of an instance; `top` is the source of the top module. "" if the sources do not tell."""
    text, name = top, ""
    for part in instance.split("."):
        if INSTANCE.fullmatch(part):
            # The stages are in a header that the exporter writes.
            name = _children(text).get(part, "") if part.endswith("_inst") else f"abbnn_{stage_kind(part)}"
            if name not in verilog.files():
                return name
            text = verilog.file(name).read_text(encoding="utf-8")
    return name


# ---- report ---------------------------------------------------------------------------------------------------------


def _clock_name(net: str) -> str:
    """Without what nextpnr puts around it."""
    return re.sub(r"\$TRELLIS_IO_IN$", "", net.removeprefix("$glbnet$"))


def _event_name(event: str) -> str:
    edge, _, net = event.partition(" ")
    return f"{edge} {_clock_name(net)}" if net else event


def _path(data: Mapping[str, Any], top: str) -> CriticalPath:
    steps: list[dict[str, Any]] = []
    logic = routing = 0.0
    for segment in data["path"]:
        delay = float(segment["delay"])
        instance = instance_of(segment["to"]["cell"])
        if not steps or steps[-1]["instance"] != instance:
            module = module_of(instance, top)
            steps.append({"instance": instance, "module": module, "logic_ns": 0.0, "routing_ns": 0.0, "levels": 0})
        kind = "routing" if segment["type"] == "routing" else "logic"
        steps[-1][f"{kind}_ns"] += delay
        # A carry chain counts where the path leaves it.
        steps[-1]["levels"] += segment["type"] == "logic" and segment["to"]["port"] not in ("FCO", "FCI")
        if kind == "routing":
            routing += delay
        else:
            logic += delay
    rounded = [Step(**(step | {key: round(step[key], 3) for key in ("logic_ns", "routing_ns")})) for step in steps]
    return CriticalPath(
        _event_name(data["from"]),
        _event_name(data["to"]),
        round(logic + routing, 3),
        round(logic, 3),
        round(routing, 3),
        data["path"][0]["from"]["cell"],
        data["path"][-1]["to"]["cell"],
        rounded,
    )


def read_report(data: Mapping[str, Any], top: str) -> Report:
    """nextpnr's report in terms of the sources; `top` is the text of the top module. Paths between clocks, too."""
    clocks = [
        Clock(_clock_name(name), round(float(one["achieved"]), 2), round(float(one["constraint"]), 2))
        for name, one in sorted(data["fmax"].items())
    ]
    used = {
        kind: (int(data["utilization"][kind]["used"]), int(data["utilization"][kind]["available"]))
        for kind in RESOURCES
        if kind in data["utilization"]
    }
    paths = [_path(each, top) for each in data["critical_paths"] if each["path"]]
    return Report(clocks, used, sorted(paths, key=lambda path: -path.delay_ns))
