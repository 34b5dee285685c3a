"""Area of every pipeline stage by formula: LUTs, flip-flops and block RAMs of a folding on a family of FPGAs.

`export.parts` says what a stage is made of. One coefficient a feature, module and family, none of them negative, is
fitted by least squares to the syntheses of `calibration.json` when a family is first asked for; without evidence it
stays near 1, which is what features are scaled to. Memories are counted as they are placed.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from abbnn import verilog
from abbnn.errors import UserError
from abbnn.export.config import stage_kind
from abbnn.export.fit import with_headroom
from abbnn.export.folding import Fold, WeightMemory, stages
from abbnn.export.parts import CORE, FAMILIES, Area, Family, Parameters, Part, alone, parts, total
from abbnn.export.pipeline import Pipeline
from abbnn.golden.network import IntegerNetwork

CALIBRATION = Path(__file__).with_name("calibration.json")
DEVICES = Path(__file__).with_name("devices.json")
RIDGE = 1e-5
"""Weight of a coefficient's squared distance from 1, beside squared errors relative to a stage's total."""


@dataclass(frozen=True)
class Device:
    """What a chip has, and the clock that is assumed where nobody gives one."""

    name: str
    family: str
    lut: int
    ff: int
    bram: int
    bram_bits: int
    clock_mhz: float
    source: str


def devices() -> dict[str, Device]:
    return {name: Device(name, **fields) for name, fields in json.loads(DEVICES.read_text(encoding="utf-8")).items()}


# ---- coefficients from synthesis results

Vector = NDArray[np.float64]
RESOURCES = ("lut", "ff")


@dataclass(frozen=True)
class Calibration:
    """What was synthesised, a point a stage, by which Yosys and from which Verilog."""

    yosys: str
    rtl: str
    points: Sequence[Mapping[str, Any]]

    def of(self, family: str, use: str) -> list[Mapping[str, Any]]:
        """The points of a family for "fit" or "validation"."""
        return [point for point in self.points if (point["family"], point["use"]) == (family, use)]

    @property
    def warning(self) -> str:
        """Empty if the Verilog is still that of the points."""
        stale = self.rtl != rtl_hash()
        return f"{CALIBRATION.name} is of other Verilog than this; abbnn calibrate makes it anew" if stale else ""


@cache
def rtl_hash() -> str:
    """Of the code that a core is made of."""
    return verilog.digest(verilog.reachable(CORE))


def read_calibration(path: Path = CALIBRATION) -> Calibration:
    """UserError names the file."""
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        needed = {"family", "use", "design", "stage", "top", "parameters", "modules", "total"}
        if not all(needed <= set(point) for point in data["points"]):
            raise ValueError(f"a point lacks one of {', '.join(sorted(needed))}")
        return Calibration(data["yosys"], data["rtl"], data["points"])
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a calibration file ({error!r})") from None


def _area(figures: Mapping[str, float]) -> Area:
    return Area(figures["lut"], figures["ff"], figures["bram"])


@cache
def _loadable(family: str) -> Family:
    return replace(FAMILIES[family], loadable=True)


def _family(name: str, p: Parameters) -> Family:
    return _loadable(name) if p.get("LOAD_MEMORY", -1) >= 0 else FAMILIES[name]


def by_module(point: Mapping[str, Any]) -> dict[str, tuple[list[Part], Area]]:
    """The parts of a point, and what synthesis made of them; what has no part, as abbnn_fork, counts as the stage's."""
    found: dict[str, list[Part]] = {}
    for part in parts(_family(point["family"], point["parameters"]), point["top"], point["parameters"]):
        found.setdefault(part.module, []).append(part)
    made: dict[str, list[Area]] = {module: [] for module in found}
    for module, figures in point["modules"].items():
        made[module if module in found else point["top"]].append(_area(figures))
    return {module: (each, total(made[module])) for module, each in found.items()}


def fit(rows: Vector, values: Vector, prior: Vector) -> Vector:
    """The coefficients >= 0 with the least |rows @ c - values|**2 + RIDGE * |c - prior|**2."""
    columns = rows.shape[1]
    matrix = np.concatenate([rows, math.sqrt(RIDGE) * np.eye(columns)])
    target = np.concatenate([values, math.sqrt(RIDGE) * prior])
    best, least = np.zeros(columns), math.inf
    for chosen in itertools.product((True, False), repeat=columns):
        kept, solution = np.flatnonzero(chosen), np.zeros(columns)
        solution[kept] = np.linalg.lstsq(matrix[:, kept], target, rcond=None)[0]
        error = float(((matrix @ solution - target) ** 2).sum())
        if solution.min(initial=0.0) >= 0 and error < least:
            best, least = solution, error
    return best


@dataclass(frozen=True)
class AreaModel:
    """Predicts for one family."""

    family: str
    coefficients: Mapping[tuple[str, str], Vector]
    """What a unit of each feature costs, by module and resource."""
    measured: frozenset[str]
    """Modules that a point of this family has: the coefficients of others come from another family, or are 1."""
    _known: dict[Part, Area] = field(default_factory=dict, repr=False, compare=False)

    def part(self, part: Part) -> Area:
        if part not in self._known:
            lut, ff = (
                float(np.dot(self.coefficients.get((part.module, resource), np.ones(len(features))), features))
                for resource, features in zip(RESOURCES, (part.lut, part.ff), strict=True)
            )
            memory = part.memory
            self._known[part] = Area(
                part.times * (lut + memory.lut), part.times * (ff + memory.ff), part.times * memory.bram
            )
        return self._known[part]

    def alone(self, top: str, p: Parameters) -> Area:
        """Of a stage, a block's abbnn_shortcut left out; of that with the block's parameters."""
        return total(map(self.part, alone(_family(self.family, p), top, p)))

    def stage(self, top: str, p: Parameters) -> Area:
        """Of a stage with everything in it."""
        return total(map(self.part, parts(_family(self.family, p), top, p)))


def calibrate(calibration: Calibration, name: str) -> AreaModel:
    """Fit to a family's points, errors relative to the total of each one's stage. UserError if there are none."""
    points, like = calibration.of(name, "fit"), FAMILIES[name].like if name in FAMILIES else None
    if not points and like is None:
        known = sorted({point["family"] for point in calibration.points})
        raise UserError(f"no synthesis results to estimate {name} with; there are some for {', '.join(known)}")
    rows: dict[tuple[str, str], list[tuple[Vector, float]]] = {}
    for point in points:
        for module, (found, made) in by_module(point).items():
            for resource in RESOURCES:
                scale = 1 / max(1, point["total"][resource])
                features = sum(part.times * np.array(getattr(part, resource), np.float64) for part in found)
                value = getattr(made, resource) - sum(part.times * getattr(part.memory, resource) for part in found)
                rows.setdefault((module, resource), []).append((scale * features, scale * value))
    coefficients = dict(calibrate(calibration, like).coefficients) if like else {}
    for key, pairs in rows.items():
        features, values = (np.array(column) for column in zip(*pairs, strict=True))
        coefficients[key] = fit(features, values, coefficients.get(key, np.ones(features.shape[1])))
    return AreaModel(name, coefficients, frozenset(module for module, _ in rows))


@cache
def area_model(family: str) -> AreaModel:
    """The model of a family, fitted to `calibration.json`."""
    return calibrate(read_calibration(), family)


class Errors(NamedTuple):
    """Relative errors on LUTs and flip-flops, and block RAMs too many, of a stage that nothing was fitted to."""

    stage: str
    lut: float
    ff: float
    bram: float


def validate(model: AreaModel, calibration: Calibration) -> list[Errors]:
    """The model against synthesis on each stage for validation."""
    result = []
    for point in calibration.of(model.family, "validation"):
        made, said = _area(point["total"]), model.stage(point["top"], point["parameters"])
        name = f"{point['design']} {point['stage']}"
        result.append(Errors(name, said.lut / made.lut - 1, said.ff / made.ff - 1, said.bram - made.bram))
    return result


# ---- the stages of a network


class NetworkArea:
    """Areas of a network's stages for any folding, with `headroom` bits of room and fixed or `loadable` tables.

    The folding's `weights` are part of it.
    """

    def __init__(self, network: IntegerNetwork, model: AreaModel, *, headroom: int = 0, loadable: bool = False) -> None:
        self.model = model
        self.stages = [stage.name for stage in stages(network)]
        configs = Pipeline(network, {stage.name: Fold(1, stage.taps) for stage in stages(network)}).configs
        layout = with_headroom([config.parameters for config in configs], headroom)
        self._parameters = {
            config.name: {**p, "LOAD_MEMORY": 0 if loadable else -1} for config, p in zip(configs, layout, strict=True)
        }
        structure = network.structure
        size = {"IMAGE_HEIGHT": structure.height, "IMAGE_WIDTH": structure.width, "BLOCKS": len(structure.blocks)}
        self.fixed = model.stage(CORE, size)
        """Guard, verdict FIFO, drop, output register."""

    @property
    def guessed(self) -> frozenset[str]:
        """Modules that the network needs and that were never measured on the family."""
        family = FAMILIES[self.model.family]
        used = {
            part.module
            for name, p in self._parameters.items()
            for part in parts(family, f"abbnn_{stage_kind(name)}", p | {"S_LANES": 1})
        }
        return frozenset(used - self.model.measured)

    def stage(self, name: str, fold: Fold, entering: int) -> Area:
        """Of stem, blockNN without its shortcut, blockNN.shortcut or head, behind `entering` stream lanes."""
        stage, _, shortcut = name.partition(".")
        p = self._parameters[stage] | {"S_LANES": entering, "PE": fold.pe}
        if shortcut:
            return self.model.alone("abbnn_shortcut", p | {"SHORTCUT_SIMD": fold.simd})
        style = get_args(WeightMemory).index(fold.weights)
        return self.model.alone(f"abbnn_{stage_kind(stage)}", p | {"SIMD": fold.simd, "WEIGHT_MEMORY": style})

    def folding(self, folding: Mapping[str, Fold]) -> dict[str, Area]:
        """Of every stage of a folding."""
        result: dict[str, Area] = {}
        entering, leaving = 0, 0
        for name in self.stages:
            if not name.endswith(".shortcut"):
                entering = leaving
            result[name] = self.stage(name, folding[name], entering)
            leaving = folding[name].pe
        return result
