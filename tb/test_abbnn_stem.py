"""abbnn_stem against golden: strides, foldings of the three channels, multi-term scales, saturation."""

import numpy as np
import pytest
from random_network import random_images, random_network
from stage import run_stage

from export.config import stem_config
from export.folding import Fold, cycles, stages
from golden.model import forward
from golden.ranges import analyse
from golden.structure import reactnet

# (stem stride, channels, PE, SIMD, options of the frozen network)
CASES = [
    (2, 8, 4, 27, {}),
    (1, 6, 3, 9, {"stem_planes": 5, "value_width": 12, "fraction_bits": 9}),
    (2, 4, 4, 27, {"stem_planes": 11, "terms": 2}),
]

BAD_PARAMETERS = [
    ("abbnn_stem", {"SIMD": 26}, "SIMD_must_be_KERNEL_squared_times_a_divisor_of_CHANNELS"),
    ("abbnn_stem", {"SIMD": 18}, "SIMD_must_be_KERNEL_squared_times_a_divisor_of_CHANNELS"),
    ("abbnn_stem", {"PE": 3}, "PE_must_divide_OUT_CHANNELS"),
]


@pytest.mark.parametrize(("stride", "channels", "pe", "simd", "options"), CASES)
def test_abbnn_stem(stride, channels, pe, simd, options):
    structure = reactnet("stem", (channels,), (1,), image=8, stem_stride=stride)
    network = random_network(structure, seed=3, **options)
    fold = Fold(pe, simd)
    folding = {"stem": fold}
    config = stem_config(network, analyse(network), folding)
    images = random_images(structure, 5, 4)
    values = forward(network, images)["stem"]
    stage = stages(network)[0]
    run_stage(
        "abbnn_stem",
        {**config.parameters, "PREFIX": config.name},
        {name: memory.text for name, memory in config.memories.items()},
        images.astype(np.int64),
        values,
        s_lanes=3,
        s_width=8,
        m_lanes=pe,
        m_width=network.value_width,
        interval=max(cycles(stage, fold), 64),
    )
