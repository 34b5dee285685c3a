"""Cycle-exact timing of the pipeline by formula: when each beat of each stream is transferred, without simulating.

Every module is a recurrence on arrays of cycle numbers: beat k leaves no earlier than `LATENCY` after the last input
beat that it needs, and no earlier than one cycle after beat k - 1. That is exact while nothing downstream holds a beat
back: buffers are dimensioned so that they only hold back what comes early anyway. A stem that picks pixels has no such
buffer, so there the recurrence goes both ways (`picked`).
`tools/bench.py` requires the results to equal the simulated cycles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbnn.export.folding import Fold, Folding, Stage, cycles, stages, stream_beats, window_column_steps
from abbnn.golden.network import IntegerNetwork
from abbnn.golden.structure import Block, Structure, block_name

Times = NDArray[np.int64]

LATENCY: Mapping[str, int] = {
    "skid": 1,
    "fifo": 3,
    "fork": 0,
    "resize": 1,
    "replay": 2,
    "guard": 1,
    "window": 3,
    "compare": 2,
    "scale": 4,
    "add": 1,
    "saturate": 1,
    "qprelu": 6,
    "pool": 4,
    "max_pool": 3,
    "subsample": 0,
    "gap": 3,
    "argmax": 1,
    "drop": 0,
}
"""Clock edges from the transfer of the last input beat needed to the first cycle of the output beat, idle pipeline.

Each module's testbench measures its own; tests/test_schedule.py compares. The arrays' latencies depend on parameters.
"""


def xnor_array_latency(simd: int, simd_fold: int) -> int:
    """Two registers to fetch, popcount, output register, FIFO; one more where beats are accumulated.

    The popcount has a register behind each of its levels.
    """
    popcount = (simd // 4).bit_length() + 1
    return 3 + popcount + LATENCY["fifo"] + (simd_fold > 1)


def sum_array_latency(simd: int) -> int:
    """Register, one level of adders a cycle, accumulator, bias, FIFO."""
    return 3 + max(1, (simd - 1).bit_length()) + LATENCY["fifo"]


def _paced(earliest: Times, cycles: int = 1) -> Times:
    """One beat in so many cycles: time[k] = max(earliest[k], time[k - 1] + cycles)."""
    index = cycles * np.arange(len(earliest))
    return np.maximum.accumulate(earliest - index) + index


def resize(times: Times, s_lanes: int, m_lanes: int) -> Times:
    if s_lanes == m_lanes:
        return times
    if s_lanes > m_lanes:
        return _paced(np.repeat(times + LATENCY["resize"], s_lanes // m_lanes))
    ratio = m_lanes // s_lanes
    return times[ratio - 1 :: ratio] + LATENCY["resize"]


def replay(times: Times, depth: int, passes: int) -> Times:
    vectors = times.reshape(-1, 1, depth)
    return _paced(np.broadcast_to(vectors, (len(vectors), passes, depth)).ravel() + LATENCY["replay"])


def window(times: Times, height: int, width: int, groups: int, kernel: int, stride: int) -> Times:
    """Column steps read one beat a cycle, each as soon as its column of the lowest row needed is written.

    A 1x1 window has neither steps nor memory.
    """
    if kernel == 1:
        return times if stride == 1 else subsample(times, height, width, groups)
    pad = kernel // 2
    out_height, steps = -(-height // stride), window_column_steps(width, kernel, stride)
    written = times.reshape(height, width, groups)
    low = np.minimum(np.arange(out_height) * stride + pad, height - 1)
    column = np.minimum(np.arange(steps), width - 1)
    needed = written[low[:, None], column[None, :], :]
    read = _paced(needed.ravel() + 1).reshape(out_height, steps, groups)
    emits = (np.arange(steps) >= pad) & ((np.arange(steps) - pad) % stride == 0)
    return read[:, emits].ravel() + LATENCY["window"] - 1


def picked(times: Times, height: int, width: int, groups: int, passes: int) -> Times:
    """A replay behind a 1x1 window of stride 2, over one frame or several.

    The window has no memory and the replay holds two pixels, so one that finds no room holds back all behind it: the
    pixels of a row that are picked come too fast, and none comes while the next row passes.
    """
    numbers = np.arange(len(times)).reshape(-1, height, width, groups)
    beats = numbers[:, ::2, ::2].reshape(-1, groups)
    first = np.empty(beats.shape, np.int64)
    starts, ends = [0, 0], [0, 0]
    before, at = -1, -1
    for pixel, beat in enumerate(beats.tolist()):
        room = starts[-1] if groups == 1 and passes > 1 else ends[-2]
        at, out = max(at + beat[0] - before, room), ends[-1]
        for index, number in enumerate(beat):
            at = max(int(times[number]), at + (index > 0))
            first[pixel, index] = out = max(at + LATENCY["replay"], out + 1)
        before = beat[-1]
        starts.append(int(first[pixel, 0]))
        ends.append(out + (passes - 1) * groups)
    later = first[:, -1:] + 1 + np.arange((passes - 1) * groups)
    return np.concatenate([first, later], axis=1).ravel()


def folds(times: Times, beats: int, latency: int) -> Times:
    """An array's results: one behind every `beats` input beats."""
    return times[beats - 1 :: beats] + latency


def pool(times: Times, height: int, width: int, groups: int) -> Times:
    """A pixel's average behind the last of its four."""
    return _paced(times.reshape(height, width, groups)[1::2, 1::2].ravel() + LATENCY["pool"])


def subsample(times: Times, height: int, width: int, groups: int) -> Times:
    return times.reshape(height, width, groups)[::2, ::2].ravel() + LATENCY["subsample"]


def max_pool(times: Times, height: int, width: int, groups: int) -> Times:
    """A pixel's greatest behind the last of its window that lies in the map."""
    rows = np.minimum(np.arange(1, height + 1, 2), height - 1)
    columns = np.minimum(np.arange(1, width + 1, 2), width - 1)
    return _paced(times.reshape(height, width, groups)[rows][:, columns].ravel() + LATENCY["max_pool"])


def residual(times: Times, geometry: Block, s_lanes: int, pe: int) -> Times:
    """Transfers on the adder's second input for those on the block's input, of a residual without weights."""
    times = times + LATENCY["fork"]
    if geometry.shortcut == "pool":
        times = pool(times, geometry.height, geometry.width, geometry.in_channels // s_lanes)
    times = resize(times, s_lanes, pe) + LATENCY["fifo"]
    return replay(times, geometry.in_channels // pe, 2) if geometry.shortcut == "repeat" else times


def projected(times: Times, geometry: Block, s_lanes: int, fold: Fold, planes: int, convolved: Times) -> Times:
    """Transfers at the adder of a residual with weights, for those on the block's input and of the other operand.

    Its results wait for the convolution in a few places: those that come later are held back until a place is free.
    Result by result, with the places of abbnn_replay, abbnn_credit, abbnn_scale, whose registers move together,
    abbnn_skid and, behind picked pixels, another abbnn_fifo.
    """
    size = geometry.height, geometry.width, geometry.in_channels // s_lanes
    picks = geometry.shortcut == "conv"
    small = (subsample if picks else pool)(times + LATENCY["fork"], *size)
    groups = resize(small + LATENCY["fifo"], s_lanes, fold.simd).tolist()
    depth, passes = geometry.in_channels // fold.simd, geometry.out_channels // fold.pe
    beats = depth * planes
    step, latency = max(1, fold.simd // s_lanes), sum_array_latency(fold.simd)
    credits = -(-(max(1, (fold.simd - 1).bit_length()) + 9) // beats) + 2
    registers = depth == 1 and passes * planes > 1
    far = -(10**9)
    rooms = [far, far]  # for a vector, from the second before it: its last beat comes to the replay's output
    given = taken = far  # the replay's last beat out and in
    left: list[int] = []  # transfers from abbnn_credit to abbnn_scale,
    shown: list[int] = [far] * 4  # from there the first cycle at its output,
    scaled: list[int] = [far] * 4  # and the transfer
    passed = [far, far]  # transfers out of the skid buffer
    reads, moves = [far], [far]  # of the FIFO's memory, and from its first register to its second
    joined = [far]
    for result, operand in enumerate(convolved.tolist()):
        vector, turn = divmod(result, passes)
        leave = left[result - credits] + 2 if result >= credits else far
        for beat in range(beats):
            comes = given + 1
            if turn == 0 and beat < depth:
                room = rooms[-1 if registers else -2] if beat == 0 else far
                taken = max(groups[vector * depth + beat], taken + step, room)
                comes = max(comes, taken + LATENCY["replay"])
                if registers:
                    rooms.append(comes)
            if turn == passes - 1 and beat == beats - 1 and not registers:
                rooms.append(comes)
            given = max(comes, leave)
        enters = max(given + latency, left[-1] + 1 if left else far)
        for begin, end in zip(shown[-4:], scaled[-4:], strict=True):
            enters = end if begin <= enters < end else enters
        appears = enters + LATENCY["scale"]
        for begin, end in zip(shown[-4:], scaled[-4:], strict=True):
            appears += end - begin if enters < begin < appears else 0
        left.append(enters)
        shown.append(appears)
        scaled.append(max(appears, passed[-2] + 1))
        offered = max(scaled[-1] + LATENCY["skid"], passed[-1] + 1)
        if picks:
            # A place is seen to be free three cycles after a read; a word of the last cycle is not counted yet.
            if result > RESULTS and not (offered == passed[-1] + 1 and reads[result - RESULTS] + 3 <= offered):
                offered = max(offered, passed[-1] + 2, reads[result - RESULTS + 1] + 3)
            passed.append(offered)
            reads.append(max(offered + 1, reads[-1] + 1, moves[-1]))
            moves.append(max(reads[-1] + 1, joined[-1]))
            offered = moves[-1] + 1
        joined.append(max(offered, operand, joined[-1] + 1))
        if not picks:
            passed.append(joined[-1])
    return np.array(joined[1:])


RESULTS = 32
"""Beats in the FIFO behind the scale of a residual of picked pixels, as rtl/core/abbnn_shortcut.v has it."""
ACTIVATIONS: Mapping[str, str] = {"none": "saturate", "qprelu": "qprelu", "prelu": "scale"}
"""Module behind a block's adder."""


def block(times: Times, geometry: Block, s_lanes: int, fold: Fold, shortcut: Fold | None, planes: int = 1) -> Times:
    """Transfers on a block's output for those on its input."""
    lanes = fold.simd // geometry.kernel**2
    groups, passes = geometry.in_channels // lanes, geometry.out_channels // fold.pe
    compared = times + LATENCY["fork"] + LATENCY["compare"] + LATENCY["skid"]
    bits = resize(compared, s_lanes, lanes) + LATENCY["skid"]
    taps = window(bits, geometry.height, geometry.width, groups, geometry.kernel, geometry.stride)
    sums = folds(replay(taps, groups, passes), groups, xnor_array_latency(fold.simd, groups))
    convolved = sums + LATENCY["scale"]
    if shortcut is None:
        joined = _paced(np.maximum(convolved, residual(times, geometry, s_lanes, fold.pe)))
    else:
        joined = projected(times, geometry, s_lanes, shortcut, planes, convolved)
    added = joined + LATENCY["add"] + LATENCY["skid"]
    return added + LATENCY[ACTIVATIONS[geometry.activation]] + LATENCY["skid"]


def stem(times: Times, structure: Structure, planes: int, fold: Fold) -> Times:
    geometry = structure.stem
    lanes = fold.simd // geometry.kernel**2
    groups, passes = geometry.in_channels // lanes, geometry.out_channels // fold.pe
    pixels = resize(times + LATENCY["skid"], geometry.in_channels, lanes)
    size = structure.height, structure.width, groups
    if (geometry.kernel, geometry.stride) == (1, 2):
        taps = picked(pixels, *size, passes * planes)
    else:
        taps = replay(window(pixels, *size, geometry.kernel, geometry.stride), groups, passes * planes)
    sums = folds(taps, groups * planes, sum_array_latency(fold.simd))
    values = sums + LATENCY["skid"] + LATENCY["scale"]
    if geometry.prelu:
        values = values + LATENCY["scale"]
    if geometry.max_pool:
        values = max_pool(values, *structure.stem_conv_output, passes)
    return values + LATENCY["skid"]


def head(times: Times, structure: Structure, planes: int, s_lanes: int, fold: Fold) -> Times:
    """Transfers of the scores and, last, of the class."""
    channels = structure.head_input[2]
    pooled = times[-(channels // s_lanes) :] + LATENCY["gap"]
    grouped = resize(pooled, s_lanes, fold.simd)
    depth = channels // fold.simd
    replayed = replay(grouped, depth, structure.classes // fold.pe * planes)
    sums = folds(replayed, depth * planes, sum_array_latency(fold.simd)) + LATENCY["skid"]
    scores = resize(sums, fold.pe, 1)
    passed = _paced(scores, 2) + LATENCY["argmax"]
    return np.append(passed, passed[-1] + 1) + LATENCY["skid"]


def stage_interval(network: IntegerNetwork, stage: Stage, fold: Fold) -> int:
    """Cycles from frame to frame that a stage needs by itself: `cycles`, and what a stem that picks pixels waits for.

    Of the latter those of the fourth frame, when pixels are always there.
    """
    geometry, size = network.structure.stem, (network.structure.height, network.structure.width)
    if stage.name != "stem" or (geometry.kernel, geometry.stride) != (1, 2):
        return cycles(stage, fold)
    groups = stage.channels // fold.simd
    passes = stage.outputs // fold.pe * network.stem.planes
    ends = picked(np.arange(4 * size[0] * size[1] * groups), *size, groups, passes).reshape(4, -1)[:, -1]
    return int(ends[3] - ends[2])


@dataclass(frozen=True)
class Timing:
    """What the formulas give. `latency`: cycles from the first pixel's transfer to the class's, idle pipeline."""

    latency: int
    interval: int
    bottleneck: str
    ideal: Mapping[str, int]
    """Cycles a frame that each stage needs by itself."""


def stage_times(network: IntegerNetwork, folding: Folding) -> dict[str, Times]:
    """Transfers on the outputs of stem, blocks and head, for a frame whose pixels come one a cycle from cycle 0 on."""
    structure = network.structure
    times = np.arange(structure.height * structure.width) + LATENCY["guard"]
    result = {"stem": stem(times, structure, network.stem.planes, folding["stem"])}
    last = "stem"
    for index, (geometry, numbers) in enumerate(zip(structure.blocks, network.blocks, strict=True)):
        name = block_name(index)
        planes = numbers.shortcut.planes if numbers.shortcut else 1
        shortcut = folding.get(f"{name}.shortcut")
        result[name] = block(result[last], geometry, folding[last].pe, folding[name], shortcut, planes)
        last = name
    scores = head(result[last], structure, network.head.planes, folding[last].pe, folding["head"])
    return result | {"head": scores}


def timing(network: IntegerNetwork, folding: Folding) -> Timing:
    """Latency and interval of abbnn_core."""
    structure = network.structure
    latency = int(stage_times(network, folding)["head"][-1]) + LATENCY["drop"] + LATENCY["skid"]
    ideal = {stage.name: cycles(stage, folding[stage.name]) for stage in stages(network)}
    busy = {stage.name: stage_interval(network, stage, folding[stage.name]) for stage in stages(network)}
    busy["scores"] = 2 * structure.classes
    for name, beats in stream_beats(structure, folding).items():
        busy[name] = max(busy[name], beats)
    bottleneck = max(busy, key=lambda name: busy[name])
    return Timing(latency, busy[bottleneck], bottleneck, ideal)


def utilisation(network: IntegerNetwork, folding: Folding, interval: int) -> dict[str, Any]:
    """Useful lane-cycles over (lanes x interval): a stage, and all binary (XNOR) lanes together."""
    rows = {}
    work = lanes = 0
    for stage in stages(network):
        fold = folding[stage.name]
        rows[stage.name] = stage.work / (fold.pe * fold.simd * interval)
        if stage.binary:
            work, lanes = work + stage.work, lanes + fold.pe * fold.simd
    return {"stages": rows, "binary": work / (lanes * interval)}
