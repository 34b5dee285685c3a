"""abbnn_block against golden: every shortcut, kernel and activation, foldings, lane changes, T > 1, saturation."""

from typing import NamedTuple

import pytest
from random_network import random_network

from abbnn.export.config import block_config
from abbnn.export.folding import Fold, check, cycles, stages
from abbnn.export.random_network import random_images
from abbnn.golden.model import forward
from abbnn.golden.ranges import analyse
from abbnn.golden.structure import Block, Stem, Structure
from abbnn.tb.stage import run_stage


class Case(NamedTuple):
    """A block behind a stem of `s_lanes` lanes, on maps of `size`; the options are those of the frozen network."""

    channels: tuple[int, int]
    kernel: int
    shortcut: str
    activation: str
    s_lanes: int
    fold: Fold
    shortcut_fold: Fold | None = None
    options: dict = {}  # noqa: RUF012 (never changed)
    size: tuple[int, int] = (4, 6)


SATURATING = {"value_width": 12, "fraction_bits": 8, "spread": 2.0}
CASES = {
    "identity": Case((8, 8), 3, "identity", "qprelu", 4, Fold(2, 72)),
    "identity_saturating": Case((8, 8), 3, "identity", "qprelu", 1, Fold(4, 18), options=SATURATING),
    "identity_window_bound": Case((8, 8), 3, "identity", "none", 8, Fold(8, 72), options={"value_width": 11}),
    "pointwise": Case((8, 8), 1, "identity", "qprelu", 2, Fold(4, 4), options={"terms_of": {"block00": 2}}),
    "pointwise_unfolded": Case((6, 6), 1, "identity", "prelu", 6, Fold(6, 6)),
    "repeat": Case((8, 16), 1, "repeat", "qprelu", 8, Fold(2, 4), options={"terms_of": {"block00": 4}}),
    "repeat_unfolded": Case((6, 12), 1, "repeat", "none", 3, Fold(6, 6)),
    "repeat_3x3": Case((4, 8), 3, "repeat", "prelu", 4, Fold(2, 36), options={"terms_of": {"block00.prelu": 4}}),
    "pool": Case((8, 8), 3, "pool", "qprelu", 2, Fold(2, 72)),
    "pool_wide": Case((6, 6), 3, "pool", "none", 6, Fold(2, 54), options={"scales": "free", "terms": 3}),
    "pool_conv": Case((8, 16), 3, "pool-conv", "qprelu", 8, Fold(4, 36), Fold(4, 4), SATURATING | {"terms": 3}),
    "pool_conv_narrow": Case((8, 16), 3, "pool-conv", "none", 1, Fold(1, 9), Fold(1, 1)),
    "pool_real_conv": Case((8, 16), 3, "pool-real-conv", "none", 4, Fold(4, 72), Fold(4, 8), {"shortcut_planes": 6}),
    "conv": Case((8, 16), 3, "conv", "none", 4, Fold(4, 72), Fold(4, 8)),
    "conv_input_bound": Case((4, 8), 3, "conv", "prelu", 1, Fold(4, 36), Fold(4, 4), {"terms_of": {"block00": 2}}),
    "conv_window_bound": Case((8, 4), 3, "conv", "qprelu", 8, Fold(4, 36), Fold(4, 2)),
    # Rows far longer than what the registers and small buffers of a path hold: too small a FIFO stands still.
    "identity_wide": Case((2, 2), 3, "identity", "none", 2, Fold(1, 18), size=(3, 70)),
    "conv_wide": Case((2, 4), 3, "conv", "none", 2, Fold(1, 18), Fold(1, 2), size=(2, 60)),
}

LINT_PARAMETERS = [
    {"STRIDE": 2, "SHORTCUT": 3, "OUT_CHANNELS": 8, "SHORTCUT_PLANES": 3},
    {"STRIDE": 2, "SHORTCUT": 3, "OUT_CHANNELS": 8, "S_LANES": 4, "PE": 8, "SIMD": 9, "SHORTCUT_SIMD": 4},
    {"STRIDE": 2, "SHORTCUT": 4, "OUT_CHANNELS": 8, "ACTIVATION": 0},
    {"STRIDE": 2, "SHORTCUT": 4, "OUT_CHANNELS": 6, "S_LANES": 1, "PE": 6, "SIMD": 36, "ACTIVATION": 2},
    {"STRIDE": 2, "SHORTCUT": 2, "S_LANES": 4, "PE": 1, "SIMD": 9},
    {"STRIDE": 2, "SHORTCUT": 2, "S_LANES": 1, "PE": 4, "SIMD": 36, "ACTIVATION": 2, "PRELU_TERMS": 3},
    {"KERNEL": 1, "SIMD": 1, "SUM_WIDTH": 4, "WEIGHT_MEMORY": 2},
    {"KERNEL": 1, "SIMD": 4, "S_LANES": 4, "PE": 4, "ACTIVATION": 0},
    {"KERNEL": 1, "SHORTCUT": 1, "OUT_CHANNELS": 8, "SIMD": 2, "S_LANES": 1, "PE": 4},
    {"KERNEL": 1, "SHORTCUT": 1, "OUT_CHANNELS": 8, "SIMD": 4, "S_LANES": 4, "PE": 1},
    {"SHORTCUT": 1, "OUT_CHANNELS": 8, "ACTIVATION": 2},
    {"IN_CHANNELS": 32, "OUT_CHANNELS": 32, "S_LANES": 4, "PE": 4, "SIMD": 288, "SUM_WIDTH": 11, "HEIGHT": 16},
    {"S_LANES": 1, "PE": 4, "SIMD": 36, "SCALE_TERMS": 2},
    {"HEIGHT": 1, "WIDTH": 1, "S_LANES": 4, "PE": 1, "SIMD": 9},
]
LINT_PARAMETERS += [{**corner, "LOAD_MEMORY": 16} for corner in LINT_PARAMETERS[-2:]]
BAD_PARAMETERS = [
    ("abbnn_block", {"KERNEL": 5, "SIMD": 25}, "KERNEL_must_be_1_or_3"),
    ("abbnn_block", {"SHORTCUT": 5}, "SHORTCUT_must_be_0_to_4"),
    ("abbnn_block", {"SHORTCUT": -1}, "SHORTCUT_must_be_0_to_4"),
    ("abbnn_block", {"ACTIVATION": 3}, "ACTIVATION_must_be_0_to_2"),
    ("abbnn_block", {"STRIDE": 2}, "STRIDE_must_be_1_with_SHORTCUT_0_and_1_else_2"),
    ("abbnn_block", {"SHORTCUT": 3}, "STRIDE_must_be_1_with_SHORTCUT_0_and_1_else_2"),
    ("abbnn_block", {"STRIDE": 2, "SHORTCUT": 3, "KERNEL": 1, "SIMD": 2}, "STRIDE_2_needs_KERNEL_3"),
    ("abbnn_block", {"STRIDE": 2, "SHORTCUT": 3, "HEIGHT": 5}, "STRIDE_2_needs_an_even_HEIGHT_and_WIDTH"),
    ("abbnn_block", {"STRIDE": 2, "SHORTCUT": 4, "WIDTH": 5}, "STRIDE_2_needs_an_even_HEIGHT_and_WIDTH"),
    ("abbnn_block", {"OUT_CHANNELS": 8}, "SHORTCUT_0_and_2_need_OUT_CHANNELS_equal_to_IN_CHANNELS"),
    (
        "abbnn_block",
        {"STRIDE": 2, "SHORTCUT": 2, "OUT_CHANNELS": 8},
        "SHORTCUT_0_and_2_need_OUT_CHANNELS_equal_to_IN_CHANNELS",
    ),
    ("abbnn_block", {"SHORTCUT": 1}, "SHORTCUT_1_needs_OUT_CHANNELS_twice_IN_CHANNELS"),
    ("abbnn_block", {"S_LANES": 3}, "S_LANES_must_divide_IN_CHANNELS"),
    ("abbnn_block", {"SIMD": 27}, "SIMD_must_be_KERNEL_squared_times_a_divisor_of_IN_CHANNELS"),
    ("abbnn_block", {"KERNEL": 1, "SIMD": 3}, "SIMD_must_be_KERNEL_squared_times_a_divisor_of_IN_CHANNELS"),
    ("abbnn_block", {"PE": 3}, "PE_must_divide_OUT_CHANNELS_and_with_SHORTCUT_1_IN_CHANNELS"),
    (
        "abbnn_block",
        {"SHORTCUT": 1, "OUT_CHANNELS": 8, "PE": 8},
        "PE_must_divide_OUT_CHANNELS_and_with_SHORTCUT_1_IN_CHANNELS",
    ),
]


def example(case):
    """A random network of a stem and the case's block, its folding, and its layers on a few images."""
    height, width = case.size
    block = Block(
        *case.channels,
        kernel=case.kernel,
        stride=1 if case.shortcut in ("identity", "repeat") else 2,
        height=height,
        width=width,
        shortcut=case.shortcut,
        activation=case.activation,
        biased=case.activation == "qprelu",
        variance_steps=1,
    )
    stem = Stem(3, case.channels[0], 3, 1)
    structure = Structure("block", "reactnet", height, width, stem, (block,), 3)
    network = random_network(structure, seed=sum(case.channels), **case.options)
    folding = {"stem": Fold(case.s_lanes, 27), "block00": case.fold}
    if case.shortcut_fold:
        folding["block00.shortcut"] = case.shortcut_fold
    check(network, folding | {"head": Fold(1, 1)})
    return network, folding, forward(network, random_images(structure, 11, 3))


@pytest.mark.parametrize("name", CASES)
def test_abbnn_block(name):
    case = CASES[name]
    network, folding, layers = example(case)
    config = block_config(network, analyse(network), folding, 0)
    own = [stage for stage in stages(network) if stage.name.startswith("block")]
    run_stage(
        "abbnn_block",
        {**config.parameters, "PREFIX": "block00"},
        {file: memory.text for file, memory in config.memories.items()},
        layers["stem"],
        layers["block00"],
        s_lanes=case.s_lanes,
        s_width=network.value_width,
        m_lanes=case.fold.pe,
        m_width=network.value_width,
        interval=max(*(cycles(stage, folding[stage.name]) for stage in own), layers["stem"][0].size // case.s_lanes),
    )
