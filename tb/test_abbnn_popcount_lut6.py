"""abbnn_popcount_lut6: the coding for 6-input LUTs gives the exact count, by simulation and, where narrow, by proof.

Up to WIDTH = 20 there are row adders only; from 21 on counters, too, which take the solver too long.
"""

import pytest
from test_abbnn_popcount import compare, prove

from abbnn.tb.bench import rows

LINT_PARAMETERS = rows(
    "WIDTH LATENCY",
    *((width, 3) for width in (1, 2, 3, 7, 10, 11, 22, 36, 64)),
    (1, 1),
    (1, 6),
    (300, 1),
    (1152, 4),
)
BAD_PARAMETERS = [
    ("abbnn_popcount_lut6", {"WIDTH": 0}, "WIDTH_must_be_at_least_1"),
    ("abbnn_popcount_lut6", {"LATENCY": 0}, "LATENCY_must_be_at_least_1"),
]

SIZES = (
    (1, 1),
    (2, 3),
    (4, 6),
    (10, 2),
    (11, 3),
    (12, 3),
    (21, 3),
    (40, 3),
    (72, 1),
    (100, 4),
    (288, 3),
    (576, 4),
    (1152, 4),
)


@pytest.mark.parametrize(("width", "latency"), SIZES)
def test_abbnn_popcount_lut6(width, latency):
    compare("abbnn_popcount_lut6", width, latency)


@pytest.mark.parametrize("width", range(1, 14))
def test_equal_to_the_reference(width):
    prove("abbnn_popcount_lut6", width)
