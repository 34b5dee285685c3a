"""How fast training steps are here: CPU seconds an epoch of CIFAR and floating-point operations a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from abbnn.golden.structure import Structure
from abbnn.train import binary_conv
from abbnn.train.data import ArrayImages, DataSet
from abbnn.train.layers import fast_bfloat16
from abbnn.train.ranks import Ranks
from abbnn.train.recipe import Run, TrainOptions

EPOCH_IMAGES = 50_000
BATCHES = 3  # measured, behind one that compiles and warms up


class Speed(NamedTuple):
    """One path: CPU seconds of this process a batch and an epoch, and 10^12 operations a CPU second."""

    path: str
    batch_seconds: float
    epoch_seconds: float
    teraflops: float


def paths(options: TrainOptions) -> dict[str, TrainOptions]:
    """The ways that a step can be computed on this machine, from the plainest on."""
    eager = replace(options, compile=False, byte_gradients=False)
    result = {"eager": eager}
    if binary_conv.compiler():
        result["compiled"] = replace(eager, compile=True)
        if binary_conv.available() and not fast_bfloat16("cpu"):
            result["compiled, 8-bit gradients"] = replace(eager, compile=True, byte_gradients=True)
    return result


def measure(structure: Structure, options: TrainOptions) -> Iterator[Speed]:
    """Each path's speed on made images of the network's own size, the best of a few batches."""
    random = np.random.default_rng(0)
    count, side = options.batch_size, structure.height
    made = ArrayImages(
        random.integers(0, 256, (count, side, side, 3), np.uint8), random.integers(0, structure.classes, count)
    )
    data = DataSet("made", made, made, structure.classes)
    # A step computes each product forward and twice backward; two operations make one.
    operations = 6.0 * (structure.binary_macs + structure.stem_macs) * count
    for path, chosen in paths(options).items():
        run = Run(structure, data, [Path()], chosen, None, Ranks(), lambda line: None)
        run.prepare(None)
        run.trained.train()
        (batch,) = made.batches(count, run.ranks)
        seconds = []
        for _ in range(1 + BATCHES):
            start = time.process_time()
            run.train_batch(batch, 0.0)
            seconds.append(time.process_time() - start)
        best = min(seconds[1:])
        yield Speed(path, best, best * EPOCH_IMAGES / count, operations / best / 1e12)
