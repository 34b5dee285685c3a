"""abbnn_resize: every lane comes out once and in order, and the narrower side never misses a cycle."""

import numpy as np
import pytest

from abbnn.tb.bench import rows
from abbnn.tb.streams import Stream, run_streams

LATENCY = 1
"""From the last input beat that an output beat needs; equal lane counts are wires (0)."""

FRAMES = 4

LINT_PARAMETERS = rows(
    "LANE_WIDTH S_LANES M_LANES",
    (1, 1, 1),
    (16, 4, 4),
    (1, 1, 2),
    (1, 2, 1),
    (16, 2, 6),
    (16, 12, 4),
)
BAD_PARAMETERS = [
    ("abbnn_resize", {"LANE_WIDTH": 0}, "LANE_WIDTH_must_be_at_least_1"),
    ("abbnn_resize", {"S_LANES": 0}, "S_LANES_must_be_at_least_1"),
    ("abbnn_resize", {"M_LANES": 0}, "M_LANES_must_be_at_least_1"),
    ("abbnn_resize", {"S_LANES": 6, "M_LANES": 4}, "one_of_S_LANES_and_M_LANES_must_be_a_multiple_of_the_other"),
    ("abbnn_resize", {"S_LANES": 2, "M_LANES": 3}, "one_of_S_LANES_and_M_LANES_must_be_a_multiple_of_the_other"),
]


@pytest.mark.parametrize(
    ("width", "s_lanes", "m_lanes"), [(8, 6, 2), (1, 8, 1), (13, 2, 1), (8, 2, 6), (1, 1, 9), (16, 4, 8), (5, 3, 3)]
)
def test_abbnn_resize(width, s_lanes, m_lanes):
    size = 10 * max(s_lanes, m_lanes)
    values = np.random.default_rng([width, s_lanes, m_lanes]).integers(0, 1 << width, (FRAMES, size))
    values[0, :2] = 0, (1 << width) - 1
    parts = max(s_lanes // m_lanes, 1)
    run_streams(
        "abbnn_resize",
        {"LANE_WIDTH": width, "S_LANES": s_lanes, "M_LANES": m_lanes},
        Stream(values, s_lanes, width),
        Stream(values, m_lanes, width),
        latency=0 if s_lanes == m_lanes else LATENCY,
        needs=((np.arange(size // m_lanes) + 1) * m_lanes - 1) // s_lanes,
        entries=np.arange(values.size // s_lanes) * parts,
        resets=(3, 4, 5, 21),
    )
