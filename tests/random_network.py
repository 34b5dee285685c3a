"""Random networks with the statistics of trained ones, for tests and testbenches. NumPy only; torch is never imported.

>>> from golden.structure import reactnet
>>> random_network(reactnet("small", (4, 6), (1, 1), image=8), 1, terms=2).blocks[1].scale.terms
2
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from export.freeze import FreezeOptions, expected_tensors, freeze
from golden.network import IntegerNetwork
from golden.structure import Structure

ALPHA = 0.25
NEGATIVE_GAINS = 0.1
"""Share of the gains that are negative: learned gains may be."""
L_ALPHA_RANGE = (-8, 3)


def random_checkpoint(
    structure: Structure, rng: np.random.Generator, *, spread: float = 1.0
) -> dict[str, NDArray[np.float32]]:
    """Float tensors in the official spelling, as `export.freeze.freeze` takes them.

    `spread` scales what tells a trained network from a fresh one: 0 gives gains of 1, biases of 0 and L_alpha of -3,
    more than 1 exaggerates, up to values that saturate.
    """
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, shape in expected_tensors(structure).items():
        if name == "fc.weight":
            values = rng.normal(0, shape[1] ** -0.5, shape)
        elif name.endswith(".weight"):
            # A mean per filter, so that the sign of a weight is not the sign of its standardized form.
            fan_in = int(np.prod(shape[1:]))
            values = rng.normal(0, (2 / fan_in) ** 0.5, shape) + rng.normal(0, 0.3 * fan_in**-0.5, (shape[0], 1, 1, 1))
        elif name.endswith(".gain"):
            sign = np.where(rng.random(shape) < NEGATIVE_GAINS * min(spread, 1), -1, 1)
            values = sign * np.exp(rng.normal(0, 0.5 * spread, shape))
        elif name.endswith(".L_alpha"):
            values = np.clip(rng.normal(-3, 2.5 * spread, shape), *L_ALPHA_RANGE)
        elif name.endswith(".bias"):
            values = rng.normal(0, 0.2 * spread, shape)
        else:
            raise AssertionError(f"{name}: no statistics for this kind of tensor")
        tensors[name] = values.astype(np.float32)
    return tensors


def random_network(
    structure: Structure,
    seed: int,
    *,
    spread: float = 1.0,
    scales: Literal["pow2", "free"] = "pow2",
    **options: Any,
) -> IntegerNetwork:
    """A frozen `random_checkpoint`. `options` are those of FreezeOptions: terms, value_width, fraction_bits, ..."""
    checkpoint = random_checkpoint(structure, np.random.default_rng(seed), spread=spread)
    return freeze(checkpoint, structure, {"scales": scales, "alpha": ALPHA}, FreezeOptions(**options))


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
