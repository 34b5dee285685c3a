"""abbnn_saturate: every value against the golden model, beyond, at and within both limits."""

import numpy as np
import pytest

from abbnn.golden import ops
from abbnn.tb.bench import rows
from abbnn.tb.streams import Stream, run_streams

LATENCY = 1
FRAMES = 3
BEATS = 60

SIZES = ("LANES", "S_WIDTH", "M_WIDTH")
GOOD_PARAMETERS = [(4, 18, 16), (1, 3, 2), (3, 21, 21), (2, 9, 24)]
LINT_PARAMETERS = rows("LANES S_WIDTH M_WIDTH", (1, 3, 2), (4, 16, 16), (3, 2, 16), (4, 20, 16))
BAD_PARAMETERS = [
    ("abbnn_saturate", {"LANES": 0}, "LANES_must_be_at_least_1"),
    ("abbnn_saturate", {"S_WIDTH": 1}, "S_WIDTH_must_be_at_least_2"),
    ("abbnn_saturate", {"M_WIDTH": 1}, "M_WIDTH_must_be_at_least_2"),
]


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_saturate(sizes):
    lanes, s_width, m_width = sizes
    low, high = ops.value_range(s_width)
    m_low, m_high = ops.value_range(m_width)
    values = np.random.default_rng(sizes).integers(low, high + 1, (FRAMES, BEATS, lanes))
    edges = np.clip([low, high, m_low, m_high, m_low - 1, m_high + 1, m_low + 1, m_high - 1, 0, -1], low, high)
    values[:, 5 : 5 + len(edges)] = edges[:, None]
    run_streams(
        "abbnn_saturate",
        dict(zip(SIZES, sizes, strict=True)),
        Stream(values, lanes, s_width),
        Stream(ops.saturate(values, m_width), lanes, m_width),
        latency=LATENCY,
    )
