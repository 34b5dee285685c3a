"""Random checkpoints with the statistics of trained ones. NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from abbnn.golden.structure import Structure
from abbnn.train.tensors import canonical_shapes

NEGATIVE_GAINS = 0.1
"""Share of the gains that are negative: learned gains may be."""
L_ALPHA_RANGE = (-8, 3)


def random_checkpoint(
    structure: Structure, rng: np.random.Generator, *, spread: float = 1.0
) -> dict[str, NDArray[np.float32]]:
    """Canonical float tensors (`train.tensors`), as `export.freeze.freeze` takes them.

    `spread` scales what tells a trained network from a fresh one: 0 gives gains of 1, biases of 0, slopes of 1/4 and
    L_alpha of -3, more than 1 exaggerates, up to values that saturate.
    """
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, shape in canonical_shapes(structure).items():
        kind = name.rpartition(".")[2]
        if name == "head.weight":
            values = rng.normal(0, shape[1] ** -0.5, shape)
        elif kind == "weight":
            # A mean per filter, so that the sign of a weight is not the sign of its standardized form.
            fan_in = int(np.prod(shape[1:]))
            values = rng.normal(0, (2 / fan_in) ** 0.5, shape) + rng.normal(0, 0.3 * fan_in**-0.5, (shape[0], 1, 1, 1))
        elif kind == "gain":
            sign = np.where(rng.random(shape) < NEGATIVE_GAINS * min(spread, 1), -1, 1)
            values = sign * np.exp(rng.normal(0, 0.5 * spread, shape))
        elif kind == "prelu":
            values = rng.normal(0.25, 0.25 * spread, shape)
        elif kind == "l_alpha":
            values = np.clip(rng.normal(-3, 2.5 * spread, shape), *L_ALPHA_RANGE)
        elif kind in ("bias", "bias0", "bias1", "bias2"):
            values = rng.normal(0, 0.2 * spread, shape)
        else:
            raise AssertionError(f"{name}: no statistics for this kind of tensor")
        tensors[name] = values.astype(np.float32)
    return tensors
