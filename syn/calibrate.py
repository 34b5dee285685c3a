"""Synthesis results that the area model (`export/area.py`) is fitted to, and others that it is validated on."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from abbnn import paths
from abbnn.executor import Workers
from abbnn.export.area import Calibration, rtl_hash
from abbnn.export.folding import balance
from abbnn.export.random_network import random_network
from abbnn.golden.files import replacing
from abbnn.golden.network import IntegerNetwork, load_network
from abbnn.golden.structure import RESNET_STEM, member
from abbnn.syn.area import CACHE, Measurement, StageDesign, measure_each, stage_designs
from abbnn.syn.cells import Resources, owner
from abbnn.syn.yosys import Design, version

MODELS = paths.MODELS
SEED = 1
"""Of the random weights of XNOR."""

Use = Literal["fit", "validation"]


@dataclass(frozen=True)
class Source:
    """Stages of one network at one folding."""

    network: str
    """A shipped one of models/, or XNOR with random weights."""
    cycles: int
    use: Use
    families: tuple[str, ...]
    stages: tuple[str, ...]
    loadable: bool = False
    """Tables that are written in place of those with the network's contents."""

    @property
    def design(self) -> str:
        return f"{self.network}/{self.cycles}{' loadable' if self.loadable else ''}"


BOTH = ("xc7", "ecp5")
EVERY = ("xc7", "ecp5", "ice40", "gowin")

XNOR = member("xnor", (16, 32), (1, 1), family="xnornet", image=48, stem=RESNET_STEM)
"""A small network with modules that no shipped one has."""

SOURCES = (
    Source("tiny", 65536, "fit", EVERY, ("block02",)),
    Source("tiny", 65536, "fit", BOTH, ("head", "core")),
    Source("tiny", 65536, "fit", ("xc7",), ("stem", "block00")),
    Source("tiny", 8192, "fit", BOTH, ("stem",)),
    Source("tiny", 4096, "fit", BOTH, ("block04",)),
    Source("xnor", 16384, "fit", BOTH, ("block01",)),
    Source("tiny", 65536, "fit", ("ecp5",), ("block02",), loadable=True),
    Source("tiny", 16384, "validation", EVERY, ("block01",)),
    Source("tiny", 16384, "validation", BOTH, ("stem",)),
    Source("tiny", 16384, "validation", ("ecp5",), ("block01",), loadable=True),
    Source("small", 32768, "validation", BOTH, ("block04", "head")),
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
    return random_network(XNOR, SEED) if name == XNOR.name else load_network(MODELS / f"{name}.safetensors")


def _loadable(stage: StageDesign) -> StageDesign:
    parameters = {**stage.parameters, "LOAD_MEMORY": 0}
    return StageDesign(stage.stage, Design(stage.design.top, parameters, {}), parameters, {})


def plan() -> list[Plan]:
    """What to synthesise, in the order of `SOURCES`. Of stages that differ in contents only, the first is taken.

    So no stage that the model is fitted to is there again for validation.
    """
    result: dict[tuple[Any, ...], Plan] = {}
    for source in SOURCES:
        network = _network(source.network)
        designs = stage_designs(network, balance(network, source.cycles))
        designs = [_loadable(each) for each in designs] if source.loadable else designs
        for family, each in itertools.product(source.families, designs):
            if each.stage in source.stages:
                result.setdefault((family, each.shape), Plan(source.design, source.use, family, each))
    return list(result.values())


def _point(planned: Plan, measured: Measurement) -> dict[str, Any]:
    """Of a module and its parts together: which parts it has is not the model's business."""

    def figures(resources: Resources) -> dict[str, float]:
        return {key: getattr(resources, key) for key in ("lut", "ff", "bram")}

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


def run(plans: Sequence[Plan], workers: Workers, *, cache: Path = CACHE) -> Calibration:
    """Their points, in the order of `plans`."""
    measured = measure_each([(planned.stage, planned.family) for planned in plans], workers, cache=cache)
    return Calibration(version(), rtl_hash(), [_point(*each) for each in zip(plans, measured, strict=True)])


def write(calibration: Calibration, path: Path) -> None:
    """A point a line, so that a difference names the stage."""
    lines = ",\n".join(json.dumps(point) for point in calibration.points)
    head = f'"yosys": {json.dumps(calibration.yosys)}, "rtl": {json.dumps(calibration.rtl)}'
    with replacing(path) as temporary:
        temporary.write_text(f'{{{head}, "points": [\n{lines}\n]}}\n', encoding="ascii")
