"""Folding: how many outputs (PE) and inputs (SIMD) each stage works on in a cycle, and the cycles that follow.

A stage of PE x SIMD lanes needs positions * ceil(outputs / PE) * ceil(fan-in / SIMD) * weight planes cycles a frame.
A 3x3 stage's SIMD is 9 * lanes with lanes a divisor of its input channels; every PE divides its output channels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden.network import IntegerNetwork
from golden.structure import Structure, block_name

DEFAULT_CYCLES = 4096
"""Cycles a frame that `balance` aims at when nobody says otherwise: 24 kFPS at 100 MHz."""


@dataclass(frozen=True)
class Stage:
    """One matrix-vector stage of the pipeline and the freedom it has."""

    name: str
    positions: int
    """Output positions a frame."""
    outputs: int
    channels: int
    """Input channels; the fan-in is taps * channels."""
    taps: int
    planes: int
    """Weight bit planes, one a cycle."""
    binary: bool
    """XNOR-popcount lanes; else add-subtract lanes."""
    identity: bool = False
    """The block's input itself is the residual and is regrouped to PE lanes."""

    @property
    def work(self) -> int:
        """Lane-cycles a frame: one lane does one input of one plane a cycle."""
        return self.positions * self.outputs * self.taps * self.channels * self.planes


@dataclass(frozen=True)
class Fold:
    """PE outputs by SIMD inputs a cycle."""

    pe: int
    simd: int


Folding = Mapping[str, Fold]
"""Stage name -> Fold, for every stage of `stages`."""


def stages(network: IntegerNetwork) -> list[Stage]:
    """All matrix-vector stages in pipeline order: stem, blockNN, blockNN.shortcut, head."""
    structure = network.structure
    stem, (height, width) = structure.stem, structure.stem_output
    taps = stem.kernel * stem.kernel
    result = [Stage("stem", height * width, stem.out_channels, stem.in_channels, taps, network.stem.planes, False)]
    for index, block in enumerate(structure.blocks):
        positions = block.out_height * block.out_width
        name = block_name(index)
        identity = not block.downsamples
        result.append(Stage(name, positions, block.out_channels, block.in_channels, 9, 1, True, identity))
        if block.downsamples:
            result.append(Stage(f"{name}.shortcut", positions, block.out_channels, block.in_channels, 1, 1, False))
    channels = structure.head_input[2]
    return [*result, Stage("head", 1, structure.classes, channels, 1, network.head.planes, False)]


def cycles(stage: Stage, fold: Fold) -> int:
    """Cycles a frame of a legal fold."""
    return stage.work // (fold.pe * fold.simd)


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def balance(network: IntegerNetwork, target: int = DEFAULT_CYCLES) -> dict[str, Fold]:
    """For each stage the fewest lanes that need at most `target` cycles a frame, the widest SIMD among equals.

    A shortcut takes its block's PE, since both results meet in one adder. ValueError if a stage cannot be fast enough.
    """
    pixels = network.structure.height * network.structure.width
    if target < pixels:
        raise ValueError(f"{target} cycles a frame: the image alone enters in {pixels}")
    result: dict[str, Fold] = {}
    entering, leaving = 0, network.structure.stem.in_channels
    for stage in stages(network):
        if stage.name.endswith(".shortcut"):
            pes = [leaving]
        else:
            entering = leaving
            pes = _divisors(stage.outputs)
        options = [
            Fold(pe, stage.taps * lanes)
            for pe in pes
            for lanes in _divisors(stage.channels)
            if cycles(stage, Fold(pe, stage.taps * lanes)) <= target
            and _regroups(stage, entering, pe, lanes)
        ]
        if not options:
            raise ValueError(
                f"{stage.name} cannot be folded to {target} cycles a frame behind {entering} stream lanes; "
                f"with a lane for every weight it takes {stage.positions * stage.planes}"
            )
        result[stage.name] = min(options, key=lambda fold: (fold.pe * fold.simd, -fold.simd))
        leaving = result[stage.name].pe
    check(network, result)
    return result


def _divides(a: int, b: int) -> bool:
    return a % b == 0 or b % a == 0


def _regroups(stage: Stage, entering: int, pe: int, lanes: int) -> bool:
    """Whether abbnn_resize can take `entering` stream lanes to a stage's input lanes and identity residual."""
    return _divides(entering, lanes) and (not stage.identity or _divides(entering, pe))


def check(network: IntegerNetwork, folding: Folding) -> None:
    """ValueError names the first stage whose fold is missing, foreign or illegal."""
    expected = {stage.name: stage for stage in stages(network)}
    for name in folding:
        if name not in expected:
            raise ValueError(f"folding: {name} is no stage of {network.structure.name}")
    entering, leaving = 0, network.structure.stem.in_channels
    for name, stage in expected.items():
        if name not in folding:
            raise ValueError(f"folding: stage {name} is missing")
        fold = folding[name]
        shortcut = name.endswith(".shortcut")
        if not shortcut:
            entering = leaving
        if fold.pe < 1 or stage.outputs % fold.pe:
            raise ValueError(f"folding: {name}: PE {fold.pe} does not divide {stage.outputs} outputs")
        if fold.simd < 1 or fold.simd % stage.taps or stage.channels % (fold.simd // stage.taps):
            raise ValueError(
                f"folding: {name}: SIMD {fold.simd} is not {stage.taps} times a divisor of {stage.channels} channels"
            )
        if shortcut and fold.pe != leaving:
            raise ValueError(f"folding: {name}: PE {fold.pe} differs from its block's {leaving}")
        if not _regroups(stage, entering, fold.pe, fold.simd // stage.taps):
            raise ValueError(f"folding: {name}: {entering} stream lanes cannot be regrouped for {fold}")
        leaving = fold.pe


def to_json(folding: Folding) -> str:
    stage_map = {name: {"pe": fold.pe, "simd": fold.simd} for name, fold in folding.items()}
    return json.dumps({"stages": stage_map}, indent=2) + "\n"


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no integer")
    return value


def read_folding(path: Path) -> dict[str, Fold]:
    """Read what `to_json` gives. ValueError names the file and what is wrong with it."""
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        return {name: Fold(_integer(fold["pe"]), _integer(fold["simd"])) for name, fold in data["stages"].items()}
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: not a folding file ({error!r})") from None


def stream_beats(structure: Structure, folding: Folding) -> dict[str, int]:
    """Beats a frame on the stream behind the stem and each block."""
    height, width = structure.stem_output
    beats = {"stem": height * width * structure.stem.out_channels // folding["stem"].pe}
    for index, block in enumerate(structure.blocks):
        name = block_name(index)
        beats[name] = block.out_height * block.out_width * block.out_channels // folding[name].pe
    return beats
