"""abbnn_gap: every sum of back-to-back frames, and the cycle of every output beat."""

import numpy as np
import pytest

from abbnn.golden import ops
from abbnn.tb.bench import rows
from abbnn.tb.streams import Stream, run_streams

LATENCY = 3
FRAMES = 3

SIZES = ("LANES", "CHANNELS", "VALUE_WIDTH", "POSITIONS", "SHIFT")
GOOD_PARAMETERS = [
    (4, 12, 16, 16, 4),
    (1, 1, 2, 1, 0),
    (2, 4, 9, 5, 1),
    (3, 3, 8, 7, 0),
    (1, 5, 12, 1, 3),
    (2, 8, 21, 9, 4),
]
LINT_PARAMETERS = rows(
    "LANES CHANNELS VALUE_WIDTH POSITIONS SHIFT",
    (1, 1, 2, 1, 0),
    (2, 2, 16, 4, 2),
    (2, 6, 16, 9, 0),
    (4, 128, 16, 16, 4),
)
BAD_PARAMETERS = [
    ("abbnn_gap", {"LANES": 0}, "LANES_must_be_at_least_1"),
    ("abbnn_gap", {"CHANNELS": 0}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_gap", {"LANES": 4, "CHANNELS": 6}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_gap", {"VALUE_WIDTH": 1}, "VALUE_WIDTH_must_be_at_least_2"),
    ("abbnn_gap", {"POSITIONS": 0}, "POSITIONS_must_be_at_least_1"),
    ("abbnn_gap", {"SHIFT": -1}, "SHIFT_must_leave_a_bit_of_the_sum"),
    ("abbnn_gap", {"VALUE_WIDTH": 8, "POSITIONS": 4, "SHIFT": 10}, "SHIFT_must_leave_a_bit_of_the_sum"),
]


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_gap(sizes):
    lanes, channels, value_width, positions, shift = sizes
    low, high = ops.value_range(value_width)
    values = np.random.default_rng(sizes).integers(low, high + 1, (FRAMES, positions, 1, channels))
    values[1, :, :, 0] = low
    values[1, :, :, -1] = high
    groups = channels // lanes
    run_streams(
        "abbnn_gap",
        dict(zip(SIZES, sizes, strict=True)),
        Stream(values, lanes, value_width),
        Stream(ops.gap(values, shift), lanes, value_width + (positions - 1).bit_length() - shift),
        latency=LATENCY,
        needs=(positions - 1) * groups + np.arange(groups),
        stalls=[(0.0, 0.9)],
        # In the first pixel, in the second, and with results on the way.
        resets=(3, groups + 3, groups * positions + 2),
    )
