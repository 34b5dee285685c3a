"""Synthesis results that the area model (`export/area.py`) is fitted to, and others that it is validated on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from abbnn import paths
from abbnn.errors import UserError
from abbnn.executor import Workers
from abbnn.export.area import CALIBRATION
from abbnn.export.folding import balance
from abbnn.export.random_network import random_network
from abbnn.golden.files import replacing
from abbnn.golden.network import IntegerNetwork, load_network
from abbnn.golden.structure import declared_network
from abbnn.syn.area import CACHE, Measurement, StageDesign, measure_each, stage_designs
from abbnn.syn.cells import FAMILIES, Resources, owner

FILE = CALIBRATION
MODELS = paths.MODELS
SEED = 1
"""Of the random weights of networks that are not shipped."""

Use = Literal["fit", "validation"]


@dataclass(frozen=True)
class Source:
    """Stages of one network at one folding."""

    network: str
    """A shipped one of models/, else a declared one with random weights."""
    cycles: int
    use: Use
    families: tuple[str, ...]
    stages: tuple[str, ...] = ()
    """Empty: all."""

    @property
    def design(self) -> str:
        return f"{self.network}/{self.cycles}"


BOTH = ("xc7", "ecp5")
EVERY = ("xc7", "ecp5", "ice40", "gowin")

SOURCES = (
    Source("tiny", 65536, "fit", EVERY),
    Source("tiny", 4096, "fit", BOTH),
    Source("small", 16384, "fit", BOTH, ("stem", "block00", "block02", "block05")),
    Source("reactnet18", 16384, "fit", BOTH, ("block01", "block07")),
    Source("reactnet18", 131072, "fit", BOTH, ("block04",)),
    Source("xnornet18", 131072, "fit", BOTH, ("stem", "block04")),
    Source("tiny", 16384, "validation", EVERY, ("stem", "block01", "block02", "block05")),
    Source("small", 32768, "validation", BOTH, ("block01", "block04")),
    Source("reactnet18", 32768, "validation", BOTH, ("block06",)),
    Source("reactneta", 65536, "validation", BOTH, ("block02", "block03")),
    Source("birealnet18", 131072, "validation", BOTH, ("block08",)),
)


@dataclass(frozen=True)
class Plan:
    """One synthesis."""

    design: str
    use: Use
    family: str
    stage: StageDesign


@cache
def _network(name: str) -> IntegerNetwork:
    path = MODELS / f"{name}.safetensors"
    return load_network(path) if path.is_file() else random_network(declared_network(name), SEED)


def plan(families: Sequence[str] | None = None) -> list[Plan]:
    """What to synthesise, in the order of `SOURCES`. Of stages that differ in contents only, the first is taken.

    So no stage that the model is fitted to is there again for validation.
    """
    chosen = families or sorted(FAMILIES)
    result: list[Plan] = []
    planned: set[tuple[Any, ...]] = set()
    for source in SOURCES:
        wanted = [family for family in source.families if family in chosen]
        if not wanted:
            continue
        network = _network(source.network)
        designs = stage_designs(network, balance(network, source.cycles))
        for family in wanted:
            for each in designs:
                if (not source.stages or each.stage in source.stages) and (family, each.shape) not in planned:
                    planned.add((family, each.shape))
                    result.append(Plan(source.design, source.use, family, each))
    return result


def _point(planned: Plan, measured: Measurement) -> dict[str, Any]:
    """Of a module and its parts together: which parts it has is not the model's business."""

    def figures(resources: Resources) -> dict[str, float]:
        return {key: getattr(resources, key) for key in ("lut", "ff", "bram", "dsp")}

    modules: dict[str, Resources] = {}
    counts: Counter[str] = Counter()
    for name, module in measured.modules.items():
        whole = owner(name)
        modules[whole] = modules.get(whole, Resources()) + measured.resources(name)
        counts[whole] += module.count if whole == name else 0
    return {
        "design": planned.design,
        "use": planned.use,
        "family": planned.family,
        "stage": planned.stage.stage,
        "top": planned.stage.design.top,
        "parameters": dict(planned.stage.parameters),
        "modules": {name: {"count": counts[name], **figures(resources)} for name, resources in sorted(modules.items())},
        "total": figures(measured.total),
    }


def run(plans: Sequence[Plan], workers: Workers, *, cache: Path = CACHE) -> list[dict[str, Any]]:
    """The points of the calibration file, in the order of `plans`."""
    measured = measure_each([(planned.stage, planned.family) for planned in plans], workers, cache=cache)
    return [_point(*each) for each in zip(plans, measured, strict=True)]


def kept(path: Path, families: Sequence[str], yosys: str) -> list[dict[str, Any]]:
    """Points of `path` of other families than these. ValueError if they are of another Yosys, or the file is none."""
    if not path.exists():
        return []
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        points = [point for point in data["points"] if point["family"] not in families]
        other = data["yosys"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a calibration file ({error!r})") from None
    if points and other != yosys:
        raise UserError(f"{path}: its other families are of Yosys {other}, not {yosys}: run all of them")
    return points


def write(points: Sequence[dict[str, Any]], path: Path, yosys: str) -> None:
    """A point a line, so that a difference names the stage."""
    lines = ",\n".join(json.dumps(point) for point in points)
    with replacing(path) as temporary:
        temporary.write_text(f'{{"yosys": {json.dumps(yosys)}, "points": [\n{lines}\n]}}\n', encoding="ascii")
