"""abbnn_stem against golden: kernels, strides, foldings, PReLU and max-pool, multi-term scales, saturation."""

from typing import NamedTuple

import numpy as np
import pytest
from random_network import random_network

from abbnn.export.config import stem_config
from abbnn.export.folding import Fold, stages
from abbnn.export.random_network import random_images
from abbnn.export.schedule import stage_interval
from abbnn.golden.model import forward
from abbnn.golden.ranges import analyse
from abbnn.golden.structure import Stem, Structure
from abbnn.tb.stage import run_stage


class Case(NamedTuple):
    """A stem on images of (height, width); the options are those of the frozen network."""

    stem: Stem
    image: tuple[int, int]
    fold: Fold
    options: dict = {}  # noqa: RUF012 (never changed)


NARROW = {"stem_planes": 5, "value_width": 12, "fraction_bits": 9}
CASES = {
    "strided": Case(Stem(3, 8, 3, 2), (8, 8), Fold(4, 27)),
    "cifar": Case(Stem(3, 6, 3, 1), (5, 4), Fold(3, 9), NARROW),
    "many_planes": Case(Stem(3, 4, 3, 2), (8, 8), Fold(4, 27), {"stem_planes": 11, "terms": 2}),
    "prelu": Case(Stem(3, 4, 3, 1, prelu=True), (4, 5), Fold(2, 27), {"stem_planes": 4, "terms_of": {"stem.prelu": 3}}),
    "imagenet": Case(Stem(3, 4, 7, 2, max_pool=True), (8, 8), Fold(2, 147), {"stem_planes": 2}),
    "imagenet_prelu": Case(
        Stem(3, 2, 7, 2, prelu=True, max_pool=True), (9, 6), Fold(1, 49), {"stem_planes": 2, "spread": 2.0}
    ),
    "pool_of_odd_map": Case(Stem(3, 4, 3, 1, max_pool=True), (5, 3), Fold(1, 27), {"stem_planes": 2}),
    # No window's memory behind the pixels: they come in rows that are picked, and in rows that are not.
    "picked": Case(Stem(3, 4, 1, 2), (6, 7), Fold(2, 3), {"stem_planes": 3}),
    "picked_in_groups": Case(Stem(3, 4, 1, 2), (5, 8), Fold(4, 1), {"stem_planes": 2}),
    "window_bound": Case(Stem(3, 4, 7, 2), (4, 6), Fold(4, 49), {"stem_planes": 2}),
}

LINT_PARAMETERS = [
    {"KERNEL": 1, "STRIDE": 1, "PE": 1, "SIMD": 3, "PLANES": 1},
    {"KERNEL": 7, "STRIDE": 2, "PE": 4, "SIMD": 49, "CENTER": "24'h7a7680"},
    {"OUT_CHANNELS": 32, "HEIGHT": 32, "WIDTH": 32, "PE": 4, "SCALE_TERMS": 3, "CENTER": "24'h7a7680"},
    {"CHANNELS": 1, "SIMD": 9, "STRIDE": 1, "PE": 4},
    {"PRELU": 1, "PRELU_TERMS": 3, "PRELU_GUARD": 0, "PRELU_SUM_WIDTH": 16},
    {"KERNEL": 7, "SIMD": 147, "HEIGHT": 9, "WIDTH": 7, "PRELU": 1, "MAX_POOL": 1},
    {"OUT_CHANNELS": 64, "HEIGHT": 224, "WIDTH": 224, "KERNEL": 7, "PE": 16, "SIMD": 147, "MAX_POOL": 1},
]
LINT_PARAMETERS += [{**corner, "LOAD_MEMORY": 16} for corner in LINT_PARAMETERS[-2:]]
BAD_PARAMETERS = [
    ("abbnn_stem", {"PRELU": 2}, "PRELU_must_be_0_or_1"),
    ("abbnn_stem", {"MAX_POOL": -1}, "MAX_POOL_must_be_0_or_1"),
    ("abbnn_stem", {"SIMD": 26}, "SIMD_must_be_KERNEL_squared_times_a_divisor_of_CHANNELS"),
    ("abbnn_stem", {"SIMD": 18}, "SIMD_must_be_KERNEL_squared_times_a_divisor_of_CHANNELS"),
    ("abbnn_stem", {"PE": 3}, "PE_must_divide_OUT_CHANNELS"),
]


@pytest.mark.parametrize("name", CASES)
def test_abbnn_stem(name):
    stem, image, fold, options = CASES[name]
    structure = Structure("stem", "birealnet" if stem.prelu else "reactnet", *image, stem, (), 3)
    network = random_network(structure, seed=3, **options)
    config = stem_config(network, analyse(network), {"stem": fold})
    images = random_images(structure, 5, 4)
    stage = stages(network)[0]
    run_stage(
        "abbnn_stem",
        {**config.parameters, "PREFIX": config.name},
        {name: memory.text for name, memory in config.memories.items()},
        images.astype(np.int64),
        forward(network, images)["stem"],
        s_lanes=3,
        s_width=8,
        m_lanes=fold.pe,
        m_width=network.value_width,
        interval=max(stage_interval(network, stage, fold), image[0] * image[1]),
    )
