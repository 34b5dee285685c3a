"""abbnn_scale: every result against the golden model, with and without saturation, as scale and as PReLU."""

import numpy as np
import pytest

from abbnn.export.layout import mem_text
from abbnn.export.tables import scale_table
from abbnn.golden import ops
from abbnn.tb.bench import rows
from abbnn.tb.streams import Stream, run_streams

LATENCY = 4
FRAMES = 3
PIXELS = 40

SIZES = ("LANES", "CHANNELS", "TERMS", "SHIFT_WIDTH", "GUARD", "S_WIDTH", "SUM_WIDTH", "M_WIDTH", "PRELU")
GOOD_PARAMETERS = [
    (4, 12, 2, 4, 5, 12, 28, 16, 0),
    (1, 1, 1, 1, 0, 2, 2, 2, 0),
    (3, 3, 1, 3, 8, 13, 21, 13, 0),
    (1, 5, 3, 4, 9, 10, 27, 24, 0),
    (2, 4, 5, 5, 37, 11, 45, 4, 0),
    (2, 6, 4, 2, 0, 7, 12, 16, 0),
    (4, 12, 2, 3, 8, 17, 26, 16, 1),
    (1, 1, 1, 1, 0, 2, 2, 2, 1),
    (2, 6, 3, 3, 4, 12, 22, 12, 1),
    (1, 5, 1, 2, 17, 9, 26, 4, 1),
]
LINT_PARAMETERS = rows(
    "LANES CHANNELS TERMS SHIFT_WIDTH GUARD S_WIDTH SUM_WIDTH M_WIDTH PRELU",
    (1, 1, 1, 1, 0, 2, 2, 2, 0),
    (2, 6, 3, 4, 12, 12, 28, 16, 0),
    (4, 4, 2, 5, 0, 8, 40, 40, 0),
    (4, 128, 1, 3, 23, 12, 24, 16, 0),
    (1, 1, 1, 1, 0, 2, 2, 2, 1),
    (2, 6, 1, 2, 17, 16, 33, 16, 1),
    (4, 64, 2, 4, 8, 17, 26, 16, 1),
)
LINT_PARAMETERS += [{**corner, "LOAD_MEMORY": 16} for corner in LINT_PARAMETERS[-2:]]
BAD_PARAMETERS = [
    ("abbnn_scale", {"LANES": 0}, "LANES_must_be_at_least_1"),
    ("abbnn_scale", {"CHANNELS": 0}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_scale", {"LANES": 4, "CHANNELS": 6}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_scale", {"TERMS": 0}, "TERMS_must_be_at_least_1"),
    ("abbnn_scale", {"SHIFT_WIDTH": 0}, "SHIFT_WIDTH_must_be_at_least_1"),
    ("abbnn_scale", {"GUARD": -1}, "GUARD_must_be_0_to_SUM_WIDTH_minus_1"),
    ("abbnn_scale", {"GUARD": 24, "SUM_WIDTH": 24}, "GUARD_must_be_0_to_SUM_WIDTH_minus_1"),
    ("abbnn_scale", {"S_WIDTH": 1}, "S_WIDTH_must_be_at_least_2"),
    ("abbnn_scale", {"S_WIDTH": 16, "SUM_WIDTH": 15}, "SUM_WIDTH_must_be_at_least_S_WIDTH"),
    ("abbnn_scale", {"M_WIDTH": 1}, "M_WIDTH_must_be_at_least_2"),
    ("abbnn_scale", {"PRELU": -1}, "PRELU_must_be_0_or_1"),
    ("abbnn_scale", {"PRELU": 2}, "PRELU_must_be_0_or_1"),
    (
        "abbnn_scale",
        {"PRELU": 1, "S_WIDTH": 16, "GUARD": 9, "SUM_WIDTH": 24},
        "SUM_WIDTH_must_be_at_least_S_WIDTH_plus_GUARD",
    ),
]


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_scale(sizes):
    lanes, channels, terms, shift_width, guard, s_width, sum_width, m_width, prelu = sizes
    rng = np.random.default_rng(sizes)
    low, high = ops.value_range(s_width)
    values = rng.integers(low, high + 1, (FRAMES, PIXELS, channels))
    values[:, 0::4] = low
    values[:, 1::8] = high
    values[:, 2::8], values[:, 3::8] = 0, -1
    # Where one term could leave SUM_WIDTH bits, smaller shifts and values keep the promise that none does.
    shift_limit = min(1 << shift_width, max(sum_width - s_width - terms + 1, 1))
    sign = rng.integers(-1, 2, (channels, terms))
    shift = rng.integers(0, shift_limit, (channels, terms))
    sign[0], shift[0] = -1, shift_limit - 1
    if channels > 1:
        sign[1], shift[1] = 0, shift_limit - 1
        sign[-1], shift[-1] = 1, shift_limit - 1
    if sum_width == s_width:
        values = np.maximum(values, low + 1)
    golden = ops.prelu if prelu else ops.scale
    width = lanes * terms * (shift_width + 2)
    run_streams(
        "abbnn_scale",
        {**dict(zip(SIZES, sizes, strict=True)), "TABLE_FILE": "table.mem"},
        Stream(values, lanes, s_width),
        Stream(golden(values, sign, shift, guard, m_width), lanes, m_width),
        latency=LATENCY,
        resets=(7, 20),
        tables={"table.mem": mem_text(scale_table(sign, shift, lanes, shift_width), width)},
    )
