"""The folding for a device: PE, SIMD and weight memory of every stage, by dynamic programming over the stages.

A stage's area depends on its own fold and on the lanes that enter it, and what is legal on both: so the state between
two stages is the stream's lanes, and the number of block RAMs spent so far. `cheapest` finds, of all legal foldings
that need at most so many cycles a frame, the one with the fewest LUTs that fits the block RAMs, exactly; `fastest`
searches the cycle counts that foldings can have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from abbnn.errors import UserError
from abbnn.export.area import Device, NetworkArea, area_model
from abbnn.export.folding import Fold, Stage, WeightMemory, check, divisors, floors, regroups, stages
from abbnn.export.parts import FAMILIES, NOTHING, Area, total
from abbnn.export.schedule import stage_interval
from abbnn.golden.network import IntegerNetwork

FF_PRICES = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 8.0, 1e3)
"""LUTs that a flip-flop is taken for, in turn, until the flip-flops fit."""
BRAM_PRICE = 1e-3
"""LUTs that a block RAM is taken for: it decides between foldings of equal LUTs."""
WEIGHTS: tuple[WeightMemory, ...] = ("lut", "block")


DEFAULT_FILL = 0.8
"""Part of a device: routing gets hard, and estimates are off, beyond it."""


class Infeasible(UserError):
    """No folding does it; says what is short."""


class _Option(NamedTuple):
    """A way to build a unit: the fold of its stages, cycles a frame and area."""

    folds: Mapping[str, Fold]
    cycles: int
    area: Area


@dataclass(frozen=True)
class _Unit:
    """A link of the pipeline: stem, block with its shortcut, or head. Options by lanes that enter and leave."""

    name: str
    options: Mapping[tuple[int, int], list[_Option]]


def budget(device: Device, fill: float) -> Area:
    """`fill` of a device's LUTs, flip-flops and block RAMs."""
    return Area(fill * device.lut, fill * device.ff, fill * device.bram)


@dataclass(frozen=True)
class Solution:
    """A legal folding, the frame interval that it gives, and the area of each stage."""

    folding: Mapping[str, Fold]
    interval: int
    areas: Mapping[str, Area]
    fixed: Area

    @property
    def area(self) -> Area:
        return total([*self.areas.values(), self.fixed])


def _dominates(a: _Option, b: _Option) -> bool:
    return a.cycles <= b.cycles and all(x <= y for x, y in zip(a.area, b.area, strict=True))


def _undominated(options: list[_Option]) -> list[_Option]:
    """Without those that another one beats or equals in cycles, LUTs, flip-flops and block RAMs."""
    kept: list[_Option] = []
    for option in sorted(options, key=lambda o: (o.cycles, *o.area)):
        if not any(_dominates(other, option) for other in kept):
            kept.append(option)
    return kept


class Solver:
    """All options of a network on a family of devices, evaluated once; questions about them are quick."""

    def __init__(self, network: IntegerNetwork, family: str, *, headroom: int = 0, loadable: bool = False) -> None:
        """`headroom` and `loadable` are those of NetworkArea."""
        self.network = network
        self.model = area_model(family)
        self.area = NetworkArea(network, self.model, headroom=headroom, loadable=loadable)
        self.step = FAMILIES[family].step
        self._floors = floors(network)
        self._least = max(self._floors["pixels"], self._floors["scores"])
        self._units = self._build()

    # ---- options

    def _fold_options(self, stage: Stage, entering: int, pe: int) -> Iterator[_Option]:
        for lanes in divisors(stage.channels):
            if not regroups(stage, entering, pe, lanes):
                continue
            for weights in WEIGHTS if stage.binary else ("auto",):
                fold = Fold(pe, stage.taps * lanes, weights)
                area = self.area.stage(stage.name, fold, entering)
                yield _Option({stage.name: fold}, stage_interval(self.network, stage, fold), area)

    def _build(self) -> list[_Unit]:
        groups: list[list[Stage]] = []
        for stage in stages(self.network):
            if stage.name.endswith(".shortcut"):
                groups[-1].append(stage)
            else:
                groups.append([stage])
        entering = [self.network.structure.stem.in_channels]
        units = []
        for group in groups:
            first = group[0]
            leaving = divisors(first.outputs // first.parts)
            options: dict[tuple[int, int], list[_Option]] = {}
            for before in entering:
                for pe in leaving:
                    found = [_Option({}, 0, NOTHING)]
                    for stage in group:
                        more = _undominated(list(self._fold_options(stage, before, pe)))
                        found = _undominated(
                            [
                                _Option({**a.folds, **b.folds}, max(a.cycles, b.cycles), total((a.area, b.area)))
                                for a in found
                                for b in more
                            ]
                        )
                    if found:
                        options[before, pe] = found
            units.append(_Unit(first.name, options))
            entering = leaving
        return units

    def intervals(self) -> list[int]:
        """Every frame interval that a folding can have, ascending."""
        counts = {o.cycles for unit in self._units for options in unit.options.values() for o in options}
        slowest = max(
            min((o.cycles for options in unit.options.values() for o in options), default=0) for unit in self._units
        )
        return sorted({max(self._least, slowest, count) for count in counts})

    # ---- the cheapest folding

    def _path(self, target: int, brams: float, ff_price: float) -> list[_Option] | None:
        """The options of least LUT + ff_price * FF that need at most `target` cycles and `brams` blocks, or None.

        cost[lanes][b]: the least cost of the units so far that leave with so many lanes and spend at most b steps of
        block RAM.
        """
        width = math.floor((brams - self.area.fixed.bram) / self.step + 1e-9) + 1
        if width < 1:
            return None
        cost: dict[int, NDArray[np.float64]] = {self.network.structure.stem.in_channels: np.zeros(width)}
        trace: list[dict[int, tuple[NDArray[np.int32], list[tuple[int, int, _Option]]]]] = []
        for unit in self._units:
            reached: dict[int, NDArray[np.float64]] = {}
            steps: dict[int, tuple[NDArray[np.int32], list[tuple[int, int, _Option]]]] = {}
            for (before, pe), options in unit.options.items():
                if before not in cost:
                    continue
                for option in options:
                    spent = round(option.area.bram / self.step)
                    if option.cycles > target or spent >= width:
                        continue
                    if pe not in reached:
                        reached[pe] = np.full(width, math.inf)
                        steps[pe] = np.full(width, -1, np.int32), []
                    price = option.area.lut + ff_price * option.area.ff + BRAM_PRICE * option.area.bram
                    offered = cost[before][: width - spent] + price
                    better = offered < reached[pe][spent:]
                    if better.any():
                        reached[pe][spent:][better] = offered[better]
                        choice, taken = steps[pe]
                        choice[spent:][better] = len(taken)
                        taken.append((before, spent, option))
            if not reached:
                return None
            cost = reached
            trace.append(steps)
        pe = min(cost, key=lambda lanes: float(cost[lanes][-1]))
        if not math.isfinite(cost[pe][-1]):
            return None
        left, path = width - 1, []
        for steps in reversed(trace):
            choice, taken = steps[pe]
            pe, spent, option = taken[choice[left]]
            left -= spent
            path.append(option)
        return path[::-1]

    def _solution(self, path: list[_Option]) -> Solution:
        folding = {name: fold for option in path for name, fold in option.folds.items()}
        check(self.network, folding)
        interval = max(self._least, *(option.cycles for option in path))
        return Solution(folding, interval, self.area.folding(folding), self.area.fixed)

    def _attempts(self, target: int, limit: Area) -> Iterator[Solution]:
        for price in FF_PRICES:
            path = self._path(target, limit.bram, price)
            if path is None:
                return
            yield self._solution(path)

    def cheapest(self, target: int, limit: Area) -> Solution | None:
        """The folding of fewest LUTs that needs at most `target` cycles a frame and fits; None if none does.

        Exact unless its flip-flops do not fit: then of those that are cheapest with FF_PRICES for the flip-flops.
        """
        if target < self._least:
            return None
        for solution in self._attempts(target, limit):
            lacks = limit.lacks(solution.area)
            if not lacks:
                return solution
            if "lut" in lacks:
                break
        return None

    def fastest(self, limit: Area) -> Solution | None:
        """The folding of the shortest frame interval that fits, and of those the one with the fewest LUTs."""
        counts = self.intervals()
        low, high = 0, len(counts)
        found = None
        while low < high:
            middle = (low + high) // 2
            solution = self.cheapest(counts[middle], limit)
            if solution is None:
                low = middle + 1
            else:
                found, high = solution, middle
        return found

    # ---- why there is none

    def shortage(self, target: int, limit: Area) -> str:
        """What is short for `target` cycles a frame: lanes, or a resource and the stage that takes most of it."""
        for name, least in self._floors.items():
            if least > target:
                what = {"pixels": "the image alone enters in", "scores": "the scores alone leave in"}
                return f"{what.get(name, name + ', with a lane for every weight, takes')} {least} cycles"
        path = self._path(target, limit.bram, 0.0)
        if path is None:
            path = self._fewest_blocks(target)
            if path is None:
                return "no lanes of neighbouring stages divide one another"
            return self._over(self._solution(path), limit, ("bram",))
        nearest = self._solution(path)
        if limit.lut >= nearest.area.lut:
            *_, nearest = self._attempts(target, limit)
            if limit.ff < nearest.area.ff:
                return self._over(nearest, limit, ("ff",))
        return self._over(nearest, limit, ("lut",))

    def _fewest_blocks(self, target: int) -> list[_Option] | None:
        """A path with the fewest block RAMs that `target` cycles can be had with."""
        low, high = 0, math.ceil(self._most_blocks() / self.step)
        while low < high:
            middle = (low + high) // 2
            if self._path(target, middle * self.step, 0.0) is None:
                low = middle + 1
            else:
                high = middle
        return self._path(target, low * self.step, 0.0)

    def _most_blocks(self) -> float:
        most = (max(o.area.bram for options in unit.options.values() for o in options) for unit in self._units)
        return self.area.fixed.bram + sum(most)

    def _over(self, solution: Solution, limit: Area, names: tuple[str, ...]) -> str:
        (name,) = names
        need, have = getattr(solution.area, name), getattr(limit, name)
        stage = max(solution.areas, key=lambda key: float(getattr(solution.areas[key], name)))
        share = getattr(solution.areas[stage], name)
        units = {"lut": "LUT", "ff": "flip-flops", "bram": "block RAM"}
        beside = "" if name == "bram" else f" beside {_number(solution.area.bram)} block RAM"
        return (
            f"at least {_number(need)} {units[name]}{beside}, {_number(need - have)} more than {_number(have)}; "
            f"{stage} takes most, {_number(share)}"
        )


def _number(value: float) -> str:
    """Whole, or in halves: 1,234 or 12.5."""
    rounded = math.ceil(2 * value - 1e-9) / 2
    return f"{math.ceil(value - 1e-9):,}" if value >= 1000 or rounded.is_integer() else f"{rounded:g}"


def rate(interval: int, clock_mhz: float) -> float:
    """Frames a second."""
    return clock_mhz * 1e6 / interval


def solve(solver: Solver, device: Device, *, target: int | None, fill: float, clock_mhz: float) -> Solution:
    """The cheapest folding of at most `target` cycles a frame that fits `fill` of a device, or without one the fastest.

    Infeasible says what is short and the nearest rate that is not.
    """
    network, limit = solver.network, budget(device, fill)
    name, part = network.structure.name, f"{fill:.0%} of {device.name}"
    found = solver.fastest(limit) if target is None else solver.cheapest(target, limit)
    if found is not None:
        return found
    if target is None:
        slowest = solver.intervals()[-1]
        raise Infeasible(
            f"{name} does not fit {part} at any rate: {slowest} cycles a frame take {solver.shortage(slowest, limit)}"
        )
    nearest = solver.fastest(limit)
    if nearest is None:
        offer = "nor does any slower one"
    else:
        speed = rate(nearest.interval, clock_mhz)
        clock = f"{'assumed ' if clock_mhz == device.clock_mhz else ''}{clock_mhz:g} MHz"
        offer = f"the fastest that does takes {nearest.interval} cycles, {speed:,.1f} frames a second at {clock}"
    raise Infeasible(
        f"{name} at {target} cycles a frame does not fit {part}: {solver.shortage(target, limit)}; {offer}"
    )


def estimate(solution: Solution, device: Device, fill: float, clock_mhz: float) -> dict[str, Any]:
    """What stands beside the stages in a folding file: areas of every stage, of the rest and of all; the rate."""
    return {
        "device": device.name,
        "fill": fill,
        "cycles": solution.interval,
        "clock_mhz": clock_mhz,
        "frames_per_second": round(rate(solution.interval, clock_mhz), 3),
        "stages": {name: area.rounded() for name, area in solution.areas.items()},
        "rest": solution.fixed.rounded(),
        "total": solution.area.rounded(),
    }
