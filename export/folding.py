"""Folding: how many outputs (PE) and inputs (SIMD) each stage works on in a cycle, and the cycles that follow.

A stage of PE x SIMD lanes needs positions * outputs / PE * fan-in / SIMD * weight planes cycles a frame. Its window
needs a cycle for each beat in and for each column step read: that is more only where there are very many lanes.
SIMD is the taps of the kernel times a divisor of the input channels; PE divides the outputs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from abbnn.errors import UserError
from abbnn.golden.files import read_json
from abbnn.golden.network import IntegerNetwork
from abbnn.golden.structure import Structure, block_name

DEFAULT_CYCLES = 4096
"""The least that `default_cycles` gives: 24 kFPS at 100 MHz."""


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
    window_steps: int = 0
    """Cycles a frame and channel group that the window in front takes for beats in, or to read; 0 without a window."""
    regroups: bool = False
    """The block's input, or its 2x2 average, is the residual as it is and is regrouped to PE lanes."""
    parts: int = 1
    """2 where that residual is given twice: PE divides each half of the outputs."""

    @property
    def work(self) -> int:
        """Lane-cycles a frame: one lane does one input of one plane a cycle."""
        return self.positions * self.outputs * self.taps * self.channels * self.planes


WeightMemory = Literal["auto", "lut", "block"]
"""Where a binary stage's weights go when synthesized: as the tool likes, LUTs, block RAM (WEIGHT_MEMORY 0, 1, 2)."""


@dataclass(frozen=True)
class Fold:
    """PE outputs by SIMD inputs a cycle."""

    pe: int
    simd: int
    weights: WeightMemory = "auto"


Folding = Mapping[str, Fold]
"""Stage name -> Fold, for every stage of `stages`."""


def stages(network: IntegerNetwork) -> list[Stage]:
    """All matrix-vector stages in pipeline order: stem, blockNN, blockNN.shortcut, head."""
    structure = network.structure
    stem, (height, width) = structure.stem, structure.stem_conv_output
    taps, planes = stem.kernel * stem.kernel, network.stem.planes
    steps = _window_steps(structure.height, structure.width, stem.kernel, stem.stride)
    result = [Stage("stem", height * width, stem.out_channels, stem.in_channels, taps, planes, False, steps)]
    for index, (block, numbers) in enumerate(zip(structure.blocks, network.blocks, strict=True)):
        name, positions, taps = block_name(index), block.out_height * block.out_width, block.kernel * block.kernel
        result.append(
            Stage(
                name,
                positions,
                block.out_channels,
                block.in_channels,
                taps,
                1,
                True,
                _window_steps(block.height, block.width, block.kernel, block.stride),
                regroups=not block.projects,
                parts=2 if block.shortcut == "repeat" else 1,
            )
        )
        if numbers.shortcut is not None:
            size = positions, block.out_channels, block.in_channels
            result.append(Stage(f"{name}.shortcut", *size, 1, numbers.shortcut.planes, False))
    channels = structure.head_input[2]
    return [*result, Stage("head", 1, structure.classes, channels, 1, network.head.planes, False)]


def window_column_steps(width: int, kernel: int, stride: int) -> int:
    """Columns that abbnn_window reads for an output row, the padded ones at the right edge among them."""
    return (-(-width // stride) - 1) * stride + kernel // 2 + 1


def _window_steps(height: int, width: int, kernel: int, stride: int) -> int:
    reads = 0 if kernel == 1 else -(-height // stride) * window_column_steps(width, kernel, stride)
    return max(height * width, reads)


def cycles(stage: Stage, fold: Fold) -> int:
    """Cycles a frame of a legal fold."""
    groups = stage.taps * stage.channels // fold.simd
    return max(stage.work // (fold.pe * fold.simd), stage.window_steps * groups)


def floors(network: IntegerNetwork) -> dict[str, int]:
    """Cycles a frame that no folding undercuts: those of each stage with a lane for every weight, pixels and scores."""
    structure = network.structure
    least = {stage.name: cycles(stage, Fold(stage.outputs, stage.taps * stage.channels)) for stage in stages(network)}
    return {"pixels": structure.height * structure.width, **least, "scores": 2 * structure.classes}


def default_cycles(network: IntegerNetwork) -> int:
    """Cycles a frame to aim at when nobody says otherwise: DEFAULT_CYCLES, doubled until it is twice every floor."""
    result = DEFAULT_CYCLES
    while result < 2 * max(floors(network).values()):
        result *= 2
    return result


def divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def balance(network: IntegerNetwork, target: int | None = None) -> dict[str, Fold]:
    """For each stage the fewest lanes that need at most `target` cycles a frame, the widest SIMD among equals.

    A shortcut takes its block's PE, since both results meet in one adder: it is enough for both. `default_cycles` is
    the target if there is none. UserError if a stage cannot be fast enough.
    """
    target = default_cycles(network) if target is None else target
    least = floors(network)
    for name, what in (("pixels", "the image alone enters in"), ("scores", "the scores alone leave in")):
        if target < least[name]:
            raise UserError(f"{target} cycles a frame: {what} {least[name]}")
    result: dict[str, Fold] = {}
    shortcuts = {stage.name.removesuffix(".shortcut"): stage for stage in stages(network) if ".shortcut" in stage.name}
    entering, leaving = 0, network.structure.stem.in_channels
    for stage in stages(network):
        if stage.name.endswith(".shortcut"):
            pes = [leaving]
        else:
            entering = leaving
            pes = divisors(stage.outputs // stage.parts)
            if shortcut := shortcuts.get(stage.name):
                # Its weights' planes may take more cycles than the convolution beside it; one PE a filter is the most.
                pes = [pe for pe in pes if cycles(shortcut, Fold(pe, shortcut.channels)) <= target] or pes[-1:]
        options = [
            fold
            for pe in pes
            for lanes in divisors(stage.channels)
            if cycles(stage, fold := Fold(pe, stage.taps * lanes)) <= target and regroups(stage, entering, pe, lanes)
        ]
        if not options:
            raise UserError(
                f"{stage.name} cannot be folded to {target} cycles a frame behind {entering} stream lanes; "
                f"with a lane for every weight it takes {least[stage.name]}"
            )
        result[stage.name] = min(options, key=lambda fold: (fold.pe * fold.simd, -fold.simd))
        leaving = result[stage.name].pe
    check(network, result)
    return result


def _divides(a: int, b: int) -> bool:
    return a % b == 0 or b % a == 0


def regroups(stage: Stage, entering: int, pe: int, lanes: int) -> bool:
    """Whether abbnn_resize can take `entering` stream lanes to a stage's input lanes and a plain residual to its PE."""
    return _divides(entering, lanes) and (not stage.regroups or _divides(entering, pe))


def check(network: IntegerNetwork, folding: Folding) -> None:
    """ValueError names the first stage whose fold is missing, foreign or illegal."""
    expected = {stage.name: stage for stage in stages(network)}
    for name in folding:
        if name not in expected:
            raise UserError(f"folding: {name} is no stage of {network.structure.name}")
    entering, leaving = 0, network.structure.stem.in_channels
    for name, stage in expected.items():
        if name not in folding:
            raise UserError(f"folding: stage {name} is missing")
        fold = folding[name]
        shortcut = name.endswith(".shortcut")
        if not shortcut:
            entering = leaving
        if fold.pe < 1 or stage.outputs // stage.parts % fold.pe:
            halves = "half of the " if stage.parts == 2 else ""
            raise UserError(f"folding: {name}: PE {fold.pe} does not divide {halves}{stage.outputs} outputs")
        if fold.simd < 1 or fold.simd % stage.taps or stage.channels % (fold.simd // stage.taps):
            raise UserError(
                f"folding: {name}: SIMD {fold.simd} is not {stage.taps} times a divisor of {stage.channels} channels"
            )
        if shortcut and fold.pe != leaving:
            raise UserError(f"folding: {name}: PE {fold.pe} differs from its block's {leaving}")
        if fold.weights not in get_args(WeightMemory) or (fold.weights != "auto" and not stage.binary):
            raise UserError(f"folding: {name}: its weights cannot go to {fold.weights!r}")
        if not regroups(stage, entering, fold.pe, fold.simd // stage.taps):
            raise UserError(f"folding: {name}: {entering} stream lanes cannot be regrouped for {fold}")
        leaving = fold.pe


def to_json(folding: Folding) -> str:
    """The file that `read_folding` reads: PE, SIMD and, unless "auto", "weights" of every stage."""
    stage_map = {
        name: {"pe": fold.pe, "simd": fold.simd} | ({} if fold.weights == "auto" else {"weights": fold.weights})
        for name, fold in folding.items()
    }
    return json.dumps({"stages": stage_map}, indent=2) + "\n"


def fold_of(values: Sequence[Any]) -> Fold:
    """PE, SIMD and, if it is there, the weight memory, as a file has them. UserError if they are of other types."""
    if [type(value) for value in values] not in ([int, int], [int, int, str]):
        raise UserError(f"{str(values)[:80]} is no PE, SIMD and weight memory")
    return Fold(*values)


def read_folding(path: Path) -> dict[str, Fold]:
    """Read what `to_json` gives. UserError names the file and what is wrong with it.

    "deep", which files of before version 0.2 may have, chose between two forms of the pipeline: it says nothing now.
    """
    found = read_json(path, "folding file").get("stages")
    if not isinstance(found, dict) or not all(isinstance(fold, dict) for fold in found.values()):
        raise UserError(f'{path}: not a folding file: no object "stages" of objects')
    try:
        return {
            name: fold_of([fold.get("pe"), fold.get("simd"), fold.get("weights", "auto")])
            for name, fold in found.items()
        }
    except UserError as error:
        raise UserError(f"{path}: not a folding file: {error}") from None


def stream_beats(structure: Structure, folding: Folding) -> dict[str, int]:
    """Beats a frame on the stream behind the stem and each block."""
    maps = {name: size for name, size in structure.outputs.items() if name != "head"}
    return {name: math.prod(size) // folding[name].pe for name, size in maps.items()}
