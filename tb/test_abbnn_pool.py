"""abbnn_pool: every average of back-to-back frames, and the cycle of every output beat."""

import numpy as np
import pytest

from abbnn.golden import ops
from abbnn.tb.bench import rows
from abbnn.tb.streams import Stream, run_streams

LATENCY = 4
FRAMES = 3

SIZES = ("LANES", "CHANNELS", "VALUE_WIDTH", "HEIGHT", "WIDTH")
GOOD_PARAMETERS = [(4, 12, 16, 6, 8), (1, 1, 2, 2, 2), (3, 3, 9, 4, 6), (2, 4, 21, 4, 2), (1, 5, 8, 2, 4)]
LINT_PARAMETERS = rows(
    "LANES CHANNELS VALUE_WIDTH HEIGHT WIDTH",
    (1, 1, 2, 2, 2),
    (4, 4, 16, 4, 6),
    (2, 64, 16, 16, 16),
)
BAD_PARAMETERS = [
    ("abbnn_pool", {"LANES": 0}, "LANES_must_be_at_least_1"),
    ("abbnn_pool", {"CHANNELS": 0}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_pool", {"LANES": 4, "CHANNELS": 6}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_pool", {"VALUE_WIDTH": 1}, "VALUE_WIDTH_must_be_at_least_2"),
    ("abbnn_pool", {"HEIGHT": 0}, "HEIGHT_must_be_even_and_at_least_2"),
    ("abbnn_pool", {"HEIGHT": 5}, "HEIGHT_must_be_even_and_at_least_2"),
    ("abbnn_pool", {"WIDTH": 0}, "WIDTH_must_be_even_and_at_least_2"),
    ("abbnn_pool", {"WIDTH": 7}, "WIDTH_must_be_even_and_at_least_2"),
]


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_pool(sizes):
    lanes, channels, value_width, height, width = sizes
    low, high = ops.value_range(value_width)
    values = np.random.default_rng(sizes).integers(low, high + 1, (FRAMES, height, width, channels))
    values[1, :2, :2] = low
    values[1, -2:, -2:] = high
    groups = channels // lanes
    numbers = np.arange(height * width * groups).reshape(height, width, groups)
    run_streams(
        "abbnn_pool",
        dict(zip(SIZES, sizes, strict=True)),
        Stream(values, lanes, value_width),
        Stream(ops.pool(values), lanes, value_width),
        latency=LATENCY,
        needs=numbers[1::2, 1::2].ravel(),
        stalls=[(0.0, 0.9)],
        # In an odd column, in an odd row, and with results on the way.
        resets=(groups + 2, groups * width + 2, groups * width + groups + 5),
    )
