"""abbnn_shortcut against golden: the scaled 1x1 convolution of the 2x2 average, under several foldings."""

import pytest
from stage import run_stage
from test_abbnn_block import example

from export.config import block_config
from export.folding import Fold, cycles, stages
from golden.ranges import analyse

# (lanes in, fold, options of the frozen network)
CASES = [
    (2, Fold(4, 4), {}),
    (8, Fold(1, 8), {"scales": "free", "terms": 2}),
    (1, Fold(16, 1), {"value_width": 10, "fraction_bits": 6, "spread": 2.0}),
]

BAD_PARAMETERS = [
    ("abbnn_shortcut", {"S_LANES": 3}, "S_LANES_must_divide_IN_CHANNELS"),
    ("abbnn_shortcut", {"SIMD": 3}, "SIMD_must_divide_IN_CHANNELS"),
    ("abbnn_shortcut", {"PE": 3}, "PE_must_divide_OUT_CHANNELS"),
]


@pytest.mark.parametrize(("s_lanes", "fold", "options"), CASES)
def test_abbnn_shortcut(s_lanes, fold, options):
    network, before, layers = example(1, options)
    folding = {"block00": Fold(s_lanes, 0), "block01": Fold(fold.pe, 72), "block01.shortcut": fold}
    config = block_config(network, analyse(network), folding, 1)
    prefix = "SHORTCUT_"
    own = {key.removeprefix(prefix): value for key, value in config.parameters.items() if key.startswith(prefix)}
    parameters = {key: config.parameters[key] for key in ("IN_CHANNELS", "OUT_CHANNELS", "HEIGHT", "WIDTH", "S_LANES")}
    parameters |= {
        "PREFIX": "block01_shortcut",
        "PE": fold.pe,
        "SIMD": own["SIMD"],
        "VALUE_WIDTH": network.value_width,
        "SUM_WIDTH": own["SUM_WIDTH"],
        "SCALE_TERMS": own["TERMS"],
        "SCALE_SHIFT_WIDTH": own["SHIFT_WIDTH"],
        "SCALE_GUARD": own["GUARD"],
        "SCALE_SUM_WIDTH": own["SCALE_SUM_WIDTH"],
        "SCALED_WIDTH": own["SCALED_WIDTH"],
    }
    stage = next(stage for stage in stages(network) if stage.name == "block01.shortcut")
    run_stage(
        "abbnn_shortcut",
        parameters,
        {file: memory.text for file, memory in config.memories.items()},
        before,
        layers["block01.shortcut"],
        s_lanes=s_lanes,
        s_width=network.value_width,
        m_lanes=fold.pe,
        m_width=own["SCALED_WIDTH"],
        interval=max(cycles(stage, fold), before[0].size // s_lanes),
    )
