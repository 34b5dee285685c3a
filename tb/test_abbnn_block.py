"""abbnn_block against golden: identity and downsampling blocks, foldings, lane changes, T > 1, saturation."""

import pytest
from random_network import random_images, random_network
from stage import run_stage

from export.config import block_config
from export.folding import Fold, cycles, stages
from golden.model import forward
from golden.ranges import analyse
from golden.structure import reactnet

# (index of the block, lanes in, fold, shortcut fold, options of the frozen network) in a net of two stages
CASES = [
    (0, 4, Fold(2, 72), None, {}),
    (0, 1, Fold(4, 18), None, {"value_width": 12, "fraction_bits": 8, "spread": 2.0}),
    (1, 2, Fold(2, 72), Fold(2, 8), {}),
    (1, 8, Fold(4, 36), Fold(4, 4), {"scales": "free", "terms": 3, "value_width": 12}),
    (1, 1, Fold(1, 9), Fold(1, 1), {}),
]

BAD_PARAMETERS = [
    ("abbnn_block", {"STRIDE": 3}, "STRIDE_must_be_1_or_2"),
    ("abbnn_block", {"OUT_CHANNELS": 8}, "STRIDE_1_needs_OUT_CHANNELS_equal_to_IN_CHANNELS"),
    ("abbnn_block", {"STRIDE": 2, "HEIGHT": 5}, "STRIDE_2_needs_an_even_HEIGHT_and_WIDTH"),
    ("abbnn_block", {"S_LANES": 3}, "S_LANES_must_divide_IN_CHANNELS"),
    ("abbnn_block", {"SIMD": 27}, "SIMD_must_be_9_times_a_divisor_of_IN_CHANNELS"),
    ("abbnn_block", {"PE": 3}, "PE_must_divide_OUT_CHANNELS"),
]


def example(index, options):
    """A random network of two stages, the values in front of block `index`, its output and its stage."""
    structure = reactnet("blocks", (8, 16), (1, 1), image=6, stem_stride=1)
    network = random_network(structure, seed=7 + index, **options)
    layers = forward(network, random_images(structure, 11, 3))
    before = layers["stem" if index == 0 else f"block{index - 1:02d}"]
    return network, before, layers


@pytest.mark.parametrize(("index", "s_lanes", "fold", "shortcut", "options"), CASES)
def test_abbnn_block(index, s_lanes, fold, shortcut, options):
    network, before, layers = example(index, options)
    name = f"block{index:02d}"
    folding = {("stem" if index == 0 else f"block{index - 1:02d}"): Fold(s_lanes, 0), name: fold}
    if shortcut:
        folding[f"{name}.shortcut"] = shortcut
    config = block_config(network, analyse(network), folding, index)
    by_name = {stage.name: stage for stage in stages(network)}
    busiest = max(cycles(by_name[stage], folding[stage]) for stage in folding if stage.startswith(name))
    run_stage(
        "abbnn_block",
        {**config.parameters, "PREFIX": name},
        {file: memory.text for file, memory in config.memories.items()},
        before,
        layers[name],
        s_lanes=s_lanes,
        s_width=network.value_width,
        m_lanes=fold.pe,
        m_width=network.value_width,
        interval=max(busiest, before[0].size // s_lanes),
    )
