"""abbnn_max_pool: every maximum of back-to-back frames, also at the edges, and the cycle of every output beat."""

import numpy as np
import pytest

from abbnn.golden import ops
from abbnn.tb.bench import rows
from abbnn.tb.streams import Stream, run_streams

LATENCY = 3
FRAMES = 4

SIZES = ("LANES", "CHANNELS", "VALUE_WIDTH", "HEIGHT", "WIDTH")
GOOD_PARAMETERS = [
    (4, 12, 16, 6, 8),
    (1, 1, 2, 2, 2),
    (3, 3, 9, 5, 3),
    (2, 4, 21, 4, 2),
    (1, 2, 8, 7, 5),
    (1, 5, 12, 3, 4),
    (2, 2, 6, 8, 9),
]
LINT_PARAMETERS = rows(
    "LANES CHANNELS VALUE_WIDTH HEIGHT WIDTH",
    (1, 1, 2, 2, 2),
    (4, 4, 16, 5, 3),
    (1, 2, 8, 4, 2),
    (4, 64, 16, 112, 112),
)
BAD_PARAMETERS = [
    ("abbnn_max_pool", {"LANES": 0}, "LANES_must_be_at_least_1"),
    ("abbnn_max_pool", {"CHANNELS": 0}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_max_pool", {"LANES": 4, "CHANNELS": 6}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_max_pool", {"VALUE_WIDTH": 1}, "VALUE_WIDTH_must_be_at_least_2"),
    ("abbnn_max_pool", {"HEIGHT": 1}, "HEIGHT_must_be_at_least_2"),
    ("abbnn_max_pool", {"WIDTH": 1}, "WIDTH_must_be_at_least_2"),
]


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_max_pool(sizes):
    lanes, channels, value_width, height, width = sizes
    low, high = ops.value_range(value_width)
    rng = np.random.default_rng(sizes)
    values = rng.integers(low, high + 1, (FRAMES, height, width, channels))
    # Negative values alone: a padded tap or one of the frame before must not win.
    values[1] = rng.integers(low, 0, values[1].shape)
    values[2] = low
    # One great value in each corner and in the middle: every window that sees it, and no other.
    values[3] = low
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1), (height // 2, width // 2)):
        values[3, row, column] = rng.integers(0, high + 1, channels)
    groups = channels // lanes
    rows = np.minimum(np.arange(1, height + 1, 2), height - 1)
    columns = np.minimum(np.arange(1, width + 1, 2), width - 1)
    numbers = np.arange(height * width * groups).reshape(height, width, groups)
    run_streams(
        "abbnn_max_pool",
        dict(zip(SIZES, sizes, strict=True)),
        Stream(values, lanes, value_width),
        Stream(ops.max_pool(values), lanes, value_width),
        latency=LATENCY,
        needs=numbers[np.ix_(rows, columns)].ravel(),
        stalls=[(0.0, 0.9), (0.9, 0.0)],
        # In an odd column, in an odd row, and with results on the way.
        resets=(groups + 2, groups * width + 2, groups * width + groups + 5),
    )
