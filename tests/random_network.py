"""Networks with the statistics of trained ones, for tests and testbenches. NumPy only; torch is never imported.

>>> from abbnn.golden.structure import member
>>> random_network(member("narrow", (4, 6), (1, 1), image=8), 1, terms=2).blocks[1].scale.terms
2
"""

from __future__ import annotations

from typing import Any

import abbnn.export.random_network
from abbnn.export.freeze import FreezeOptions
from abbnn.golden.model import Layers, saturating_layers, values_at_limit
from abbnn.golden.network import IntegerNetwork
from abbnn.golden.structure import Structure
from abbnn.train.variant import Scales


def random_network(
    structure: Structure,
    seed: int,
    *,
    spread: float = 1.0,
    scales: Scales = "pow2",
    **options: Any,
) -> IntegerNetwork:
    """A frozen `random_checkpoint`. `options` are those of FreezeOptions; fraction bits are 9 unless they say other."""
    return abbnn.export.random_network.random_network(
        structure, seed, spread=spread, scales=scales, options=FreezeOptions(**{"fraction_bits": 9} | options)
    )


def saturation_counts(network: IntegerNetwork, layers: Layers) -> dict[str, int]:
    """`values_at_limit` of each of `saturating_layers`."""
    return {name: values_at_limit(layers[name], network.value_width) for name in saturating_layers(network.structure)}
