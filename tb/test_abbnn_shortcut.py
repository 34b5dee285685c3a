"""abbnn_shortcut against golden: the scaled 1x1 convolution of averaged and picked pixels, binary and real weights."""

import pytest
from test_abbnn_block import Case, example

from abbnn.export.config import block_config
from abbnn.export.folding import Fold, cycles, stages
from abbnn.golden.ranges import analyse
from abbnn.tb.stage import run_stage

# (shortcut, lanes in, fold, options of the frozen network)
CASES = [
    ("pool-conv", 2, Fold(4, 4), {}),
    ("pool-conv", 8, Fold(1, 8), {"scales": "free", "terms": 2}),
    ("pool-conv", 1, Fold(16, 1), {"value_width": 10, "fraction_bits": 6, "spread": 2.0}),
    ("pool-real-conv", 2, Fold(4, 4), {"shortcut_planes": 5}),
    ("pool-real-conv", 8, Fold(8, 8), {"shortcut_planes": 3, "spread": 2.0}),
    ("pool-real-conv", 4, Fold(2, 1), {"shortcut_planes": 11, "value_width": 12, "fraction_bits": 6}),
    ("conv", 2, Fold(4, 8), {}),
    ("conv", 8, Fold(2, 2), {"terms_of": {"block00.shortcut": 4}}),
]

LINT_PARAMETERS = [
    {"IN_CHANNELS": 2, "OUT_CHANNELS": 4, "HEIGHT": 2, "WIDTH": 2, "S_LANES": 2, "PE": 4, "SIMD": 1},
    {"IN_CHANNELS": 32, "OUT_CHANNELS": 64, "HEIGHT": 16, "WIDTH": 16, "S_LANES": 4, "PE": 4, "SIMD": 1},
    {"IN_CHANNELS": 4, "OUT_CHANNELS": 6, "S_LANES": 1, "PE": 3, "SIMD": 4, "SCALE_TERMS": 2},
    {"PLANES": 8},
    {"POOL": 0},
    {"POOL": 0, "IN_CHANNELS": 2, "OUT_CHANNELS": 4, "HEIGHT": 2, "WIDTH": 2, "S_LANES": 2, "PE": 4, "SIMD": 1},
]
LINT_PARAMETERS += [{**corner, "LOAD_MEMORY": 16} for corner in LINT_PARAMETERS[-2:]]
BAD_PARAMETERS = [
    ("abbnn_shortcut", {"POOL": 2}, "POOL_must_be_0_or_1"),
    ("abbnn_shortcut", {"HEIGHT": 3}, "HEIGHT_and_WIDTH_must_be_even"),
    ("abbnn_shortcut", {"POOL": 0, "WIDTH": 5}, "HEIGHT_and_WIDTH_must_be_even"),
    ("abbnn_shortcut", {"S_LANES": 3}, "S_LANES_must_divide_IN_CHANNELS"),
    ("abbnn_shortcut", {"SIMD": 3}, "SIMD_must_divide_IN_CHANNELS"),
    ("abbnn_shortcut", {"PE": 3}, "PE_must_divide_OUT_CHANNELS"),
]


@pytest.mark.parametrize(("shortcut", "s_lanes", "fold", "options"), CASES)
def test_abbnn_shortcut(shortcut, s_lanes, fold, options):
    case = Case((8, 16), 3, shortcut, "none", s_lanes, Fold(fold.pe, 72), fold, options)
    network, folding, layers = example(case)
    config = block_config(network, analyse(network), folding, 0)
    prefix = "SHORTCUT_"
    own = {key.removeprefix(prefix): value for key, value in config.parameters.items() if key.startswith(prefix)}
    shared = ("IN_CHANNELS", "OUT_CHANNELS", "HEIGHT", "WIDTH", "S_LANES", "VALUE_WIDTH")
    stage = next(stage for stage in stages(network) if stage.name == "block00.shortcut")
    run_stage(
        "abbnn_shortcut",
        {
            **{key: config.parameters[key] for key in shared},
            **own,
            "PREFIX": "block00_shortcut",
            "POOL": int(shortcut != "conv"),
            "PE": fold.pe,
        },
        {file: memory.text for file, memory in config.memories.items()},
        layers["stem"],
        layers["block00.shortcut"],
        s_lanes=s_lanes,
        s_width=network.value_width,
        m_lanes=fold.pe,
        m_width=own["SCALED_WIDTH"],
        interval=max(cycles(stage, fold), layers["stem"][0].size // s_lanes),
        reset_cycles=2,  # abbnn_reset is a register
    )
