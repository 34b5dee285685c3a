"""abbnn_qprelu: every result against the golden model, around the thresholds, with and without saturation.

The fields are random over their whole width and the exponents over all that the shift field can say.
"""

import numpy as np
import pytest

from abbnn.export.layout import mem_text
from abbnn.export.tables import qprelu_table
from abbnn.golden import ops
from abbnn.tb.bench import rows
from abbnn.tb.streams import Stream, run_streams

LATENCY = 6
FRAMES = 3
PIXELS = 40

SIZES = ("LANES", "CHANNELS", "S_WIDTH", "M_WIDTH", "FIELD_WIDTH", "LEFT_MAX", "SHIFT_WIDTH")
GOOD_PARAMETERS = [
    (4, 12, 17, 16, 18, 7, 5),
    (1, 1, 2, 2, 2, 0, 1),
    (3, 3, 12, 24, 13, 3, 6),
    (1, 5, 9, 14, 9, 3, 3),
    (2, 4, 8, 30, 12, 2, 2),
]
LINT_PARAMETERS = rows(
    "LANES CHANNELS S_WIDTH M_WIDTH FIELD_WIDTH LEFT_MAX SHIFT_WIDTH",
    (1, 1, 2, 2, 2, 0, 1),
    (4, 4, 17, 16, 21, 3, 4),
    (2, 6, 12, 24, 13, 7, 5),
)
LINT_PARAMETERS += [{**corner, "LOAD_MEMORY": 16} for corner in LINT_PARAMETERS[-2:]]
BAD_PARAMETERS = [
    ("abbnn_qprelu", {"LANES": 0}, "LANES_must_be_at_least_1"),
    ("abbnn_qprelu", {"CHANNELS": 0}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_qprelu", {"LANES": 4, "CHANNELS": 6}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_qprelu", {"S_WIDTH": 1}, "S_WIDTH_must_be_at_least_2"),
    ("abbnn_qprelu", {"M_WIDTH": 1}, "M_WIDTH_must_be_at_least_2"),
    ("abbnn_qprelu", {"S_WIDTH": 16, "FIELD_WIDTH": 15}, "FIELD_WIDTH_must_be_at_least_S_WIDTH"),
    ("abbnn_qprelu", {"LEFT_MAX": -1}, "LEFT_MAX_must_not_be_negative"),
    ("abbnn_qprelu", {"SHIFT_WIDTH": 0}, "SHIFT_WIDTH_must_be_at_least_1_and_hold_LEFT_MAX"),
    ("abbnn_qprelu", {"LEFT_MAX": 8, "SHIFT_WIDTH": 3}, "SHIFT_WIDTH_must_be_at_least_1_and_hold_LEFT_MAX"),
]


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_qprelu(sizes):
    lanes, channels, s_width, m_width, field_width, left_max, shift_width = sizes
    rng = np.random.default_rng(sizes)
    low, high = ops.value_range(field_width)
    # Shifted right by random amounts, so that numbers of all magnitudes meet.
    fields = rng.integers(low, high + 1, (4, channels)) >> rng.integers(0, field_width, (4, channels))
    threshold, add_positive, add_before, add_after = fields
    threshold = np.clip(threshold, *ops.value_range(s_width))
    exponent = left_max - rng.integers(0, 1 << shift_width, channels)
    # Channel 0 takes every sum to its upper end, the last one to its lower end.
    add_positive[[0, -1]] = add_before[[0, -1]] = add_after[[0, -1]] = [high, low]
    exponent[[0, -1]] = left_max
    if channels > 2:
        threshold[1], add_positive[2], add_before[2], add_after[2] = low, -1, 1, 0
    low, high = ops.value_range(s_width)
    values = rng.integers(low, high + 1, (FRAMES, PIXELS, channels)) >> rng.integers(0, s_width, (PIXELS, 1))
    values[:, 0::4] = np.maximum(threshold, low)
    values[:, 1::8] = np.maximum(threshold - 1, low)
    values[:, 2] = low
    values[:, 3] = high
    fields = (threshold, add_positive, add_before, exponent, add_after)
    words = qprelu_table(*fields, lanes, field_width, left_max, shift_width)
    run_streams(
        "abbnn_qprelu",
        {**dict(zip(SIZES, sizes, strict=True)), "TABLE_FILE": "table.mem"},
        Stream(values, lanes, s_width),
        Stream(ops.qprelu(values, *fields, m_width), lanes, m_width),
        latency=LATENCY,
        resets=(7, 20),
        tables={"table.mem": mem_text(words, lanes * (4 * field_width + shift_width))},
    )
