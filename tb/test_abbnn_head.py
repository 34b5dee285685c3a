"""abbnn_head against golden: scores and class, foldings, map sizes that are no power of two, many classes."""

import numpy as np
import pytest
from random_network import random_network

from abbnn.export.config import head_config
from abbnn.export.folding import Fold, cycles, stages
from abbnn.export.random_network import random_images
from abbnn.golden.model import forward
from abbnn.golden.ranges import analyse
from abbnn.golden.structure import member
from abbnn.tb.stage import run_stage

# (image side, classes, lanes in, fold)
CASES = [
    (4, 10, 4, Fold(1, 4)),
    (3, 6, 1, Fold(3, 8)),
    (1, 4, 8, Fold(4, 1)),
    (7, 5, 2, Fold(1, 8)),
    (2, 150, 4, Fold(150, 8)),
]

LINT_PARAMETERS = [
    {"CHANNELS": 1, "POSITIONS": 1, "CLASSES": 2, "S_LANES": 1, "SIMD": 1, "PLANES": 1, "POOL_SHIFT": 0},
    {"CHANNELS": 128, "POSITIONS": 16, "CLASSES": 10, "S_LANES": 4, "PE": 1, "SIMD": 4, "POOL_SHIFT": 4},
    {"CLASSES": 4, "PE": 4, "SIMD": 4, "S_LANES": 1, "M_WIDTH": 28},
]
LINT_PARAMETERS += [{**corner, "LOAD_MEMORY": 16} for corner in LINT_PARAMETERS[-2:]]
BAD_PARAMETERS = [
    ("abbnn_head", {"S_LANES": 3}, "S_LANES_must_divide_CHANNELS"),
    ("abbnn_head", {"SIMD": 3}, "SIMD_must_divide_CHANNELS"),
    ("abbnn_head", {"PE": 2}, "PE_must_divide_CLASSES"),
]


@pytest.mark.parametrize(("side", "classes", "s_lanes", "fold"), CASES)
def test_abbnn_head(side, classes, s_lanes, fold):
    structure = member("head", (8,), (1,), image=side, classes=classes)
    network = random_network(structure, seed=classes)
    layers = forward(network, random_images(structure, 2, 5))
    config = head_config(network, analyse(network), {"block00": Fold(s_lanes, 0), "head": fold})
    results = np.concatenate([layers["scores"], layers["class"][:, None]], axis=1)
    stage = stages(network)[-1]
    pixels = side * side * 8 // s_lanes
    run_stage(
        "abbnn_head",
        {**config.parameters, "PREFIX": "head"},
        {name: memory.text for name, memory in config.memories.items()},
        layers["block00"],
        results,
        s_lanes=s_lanes,
        s_width=network.value_width,
        m_lanes=1,
        m_width=32,
        interval=max(cycles(stage, fold), pixels, 2 * classes),
    )
