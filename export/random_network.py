"""Frozen networks with random weights: as large as a trained one and with its statistics, to measure area and speed.

They are also what RTL and golden are compared on: every channel has other thresholds, shifts and signs. NumPy only.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from abbnn.export.freeze import FreezeOptions, freeze
from abbnn.golden.model import scores
from abbnn.golden.network import IntegerNetwork
from abbnn.golden.structure import Structure
from abbnn.train.random_checkpoint import random_checkpoint
from abbnn.train.variant import Scales, Variant


def random_network(
    structure: Structure,
    seed: int,
    *,
    spread: float = 1.0,
    scales: Scales = "pow2",
    options: FreezeOptions | None = None,
    images: NDArray[np.uint8] | None = None,
) -> IntegerNetwork:
    """A frozen `random_checkpoint` of `seed` and `spread`; `scales` "pow2" is what `abbnn train` trains (T = 1).

    With `images` (N, H, W, 3) each class's bias is moved so that its scores on them have the mean 0: random weights
    make some classes far likelier than others, and a network that always says the same tests no argmax.
    """
    checkpoint = random_checkpoint(structure, np.random.default_rng(seed), spread=spread)
    options = options or FreezeOptions()
    network = freeze(checkpoint, structure, Variant(scales=scales), options, source={"random_seed": seed})
    if images is None:
        return network
    means = np.concatenate(list(scores(network, images))).mean(axis=0).astype(np.int64)
    return replace(network, head=replace(network.head, bias=network.head.bias - means))
