"""Frozen networks with random weights: as large as a trained one and with its statistics, to measure area and speed.

They are also what RTL and golden are compared on: every channel has other thresholds, shifts and signs. For that there
are random structures, foldings and images, too. NumPy only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from abbnn.export.folding import Fold, check, divisors, regroups, stages
from abbnn.export.freeze import FreezeOptions, freeze
from abbnn.golden.model import scores
from abbnn.golden.network import IntegerNetwork
from abbnn.golden.structure import CUSTOM, Activation, Block, Shortcut, Stem, Structure
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


def random_structure(seed: int) -> Structure:
    """Any stem and one to four blocks of any kind on small maps, whether or not a family has them together."""
    rng = np.random.default_rng(seed)

    def flip() -> bool:
        return bool(rng.integers(2))

    stem = Stem(3, int(rng.integers(1, 5)), int(rng.choice([1, 3, 5, 7])), int(rng.integers(1, 3)), flip(), flip())
    # The stem's output can be halved twice; the image is any that gives it.
    shrinks = stem.stride * (2 if stem.max_pool else 1)
    height, width = (4 * int(rng.integers(1, 3)) * shrinks - int(rng.integers(shrinks)) for _ in range(2))
    image, classes = (height, width), int(rng.integers(1, 6))
    blocks: list[Block] = []
    channels, (height, width), halvings = stem.out_channels, stem.output(height, width), 0
    for _ in range(max(1, int(rng.integers(0, 5)))):
        shortcut: Shortcut = rng.choice([kind for kind in get_args(Shortcut) if kind != "pool-real-conv"]).item()
        if shortcut == "pool-conv" and seed % 2:
            shortcut = "pool-real-conv"
        activation: Activation = rng.choice(get_args(Activation)).item()
        stride = 1 if shortcut in ("identity", "repeat") else 2
        halvings += stride == 2
        if halvings > 2:
            break
        if shortcut in ("identity", "pool"):
            out_channels = channels
        else:
            out_channels = 2 * channels if shortcut == "repeat" else int(rng.integers(1, 7))
        kernel, steps = int(rng.choice([1, 3])), int(rng.integers(0, 4))
        kernel = 3 if stride == 2 else kernel  # what abbnn_block has
        blocks.append(Block(channels, out_channels, kernel, stride, height, width, shortcut, activation, flip(), steps))
        channels, height, width = out_channels, blocks[-1].out_height, blocks[-1].out_width
    return Structure(f"random{seed}", CUSTOM, *image, stem, tuple(blocks), classes)


def random_folding(network: IntegerNetwork, seed: int) -> dict[str, Fold]:
    """Any legal folding, however unbalanced."""
    rng = np.random.default_rng(seed)
    result: dict[str, Fold] = {}
    entering, leaving = 0, network.structure.stem.in_channels
    for stage in stages(network):
        shortcut = stage.name.endswith(".shortcut")
        if not shortcut:
            entering = leaving
        options = [
            Fold(pe, stage.taps * lanes)
            for pe in ([leaving] if shortcut else divisors(stage.outputs // stage.parts))
            for lanes in divisors(stage.channels)
            if regroups(stage, entering, pe, lanes)
        ]
        result[stage.name] = options[int(rng.integers(len(options)))]
        leaving = result[stage.name].pe
    check(network, result)
    return result


def random_images(structure: Structure, seed: int, count: int) -> NDArray[np.uint8]:
    """`count` images (N, H, W, 3): black, white, flat colours and noise in turn, from faint to full contrast."""
    rng = np.random.default_rng(seed)
    shape = (structure.height, structure.width, structure.stem.in_channels)
    images = np.zeros((count, *shape), np.uint8)
    for index in range(count):
        if index % 8 in (1, 2):
            images[index] = 255 * (index % 8 == 1)
        elif index % 8 == 3:
            images[index] = rng.integers(0, 256, shape[-1:])
        elif index % 8 == 4:
            images[index] = 255 * rng.integers(0, 2, shape)
        else:
            contrast = rng.integers(1, 128)
            images[index] = np.clip(rng.normal(rng.integers(40, 216), contrast, shape), 0, 255)
    return images
