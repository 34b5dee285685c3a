"""abbnn_compare: every bit against the golden model, at thresholds and one below them, at both ends of the range."""

import numpy as np
import pytest

from abbnn.export.layout import mem_text
from abbnn.export.tables import compare_table
from abbnn.golden import ops
from abbnn.tb.bench import rows
from abbnn.tb.streams import Stream, run_streams

LATENCY = 2
FRAMES = 3
PIXELS = 40

SIZES = ("LANES", "CHANNELS", "VALUE_WIDTH")
GOOD_PARAMETERS = [(4, 12, 16), (1, 1, 2), (3, 3, 11), (1, 5, 21), (2, 130, 9)]
LINT_PARAMETERS = rows("LANES CHANNELS VALUE_WIDTH", (1, 1, 2), (2, 6, 16), (4, 4, 20), (4, 128, 16))
LINT_PARAMETERS += [{**corner, "LOAD_MEMORY": 16} for corner in LINT_PARAMETERS[-2:]]
BAD_PARAMETERS = [
    ("abbnn_compare", {"LANES": 0}, "LANES_must_be_at_least_1"),
    ("abbnn_compare", {"CHANNELS": 0}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_compare", {"LANES": 4, "CHANNELS": 6}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_compare", {"VALUE_WIDTH": 1}, "VALUE_WIDTH_must_be_at_least_2"),
]


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_compare(sizes):
    lanes, channels, value_width = sizes
    rng = np.random.default_rng(sizes)
    low, high = ops.value_range(value_width)
    thresholds = rng.integers(low, high + 1, channels)
    values = rng.integers(low, high + 1, (FRAMES, PIXELS, channels))
    values[:, 0::4] = thresholds
    values[:, 1::8] = np.maximum(thresholds - 1, low)
    values[0, 2] = low
    values[0, 3] = high
    run_streams(
        "abbnn_compare",
        {**dict(zip(SIZES, sizes, strict=True)), "TABLE_FILE": "table.mem"},
        Stream(values, lanes, value_width),
        Stream(ops.compare(values, thresholds), lanes, 1),
        latency=LATENCY,
        resets=(7, 20),
        settle=int(channels // lanes > 64),  # an abbnn_table of more words is a cycle later
        tables={"table.mem": mem_text(compare_table(thresholds, lanes, value_width), lanes * value_width)},
    )
