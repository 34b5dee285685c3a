"""abbnn_popcount_lut4: the coding for 4-input LUTs gives the exact count, by simulation and, where narrow, by proof."""

import pytest
from test_abbnn_popcount import compare, prove

from abbnn.tb.bench import rows

LINT_PARAMETERS = rows(
    "WIDTH LATENCY",
    *((width, 3) for width in (1, 2, 3, 4, 7, 8, 36, 64)),
    (1, 1),
    (1, 6),
    (300, 1),
    (1152, 4),
)
BAD_PARAMETERS = [
    ("abbnn_popcount_lut4", {"WIDTH": 0}, "WIDTH_must_be_at_least_1"),
    ("abbnn_popcount_lut4", {"LATENCY": 0}, "LATENCY_must_be_at_least_1"),
]

SIZES = (
    (1, 1),
    (2, 3),
    (4, 6),
    (7, 2),
    (8, 3),
    (15, 3),
    (16, 3),
    (40, 3),
    (72, 1),
    (100, 4),
    (288, 3),
    (288, 7),
    (288, 8),
    (17, 4),
    (16, 6),
    (576, 4),
    (1152, 4),
)


@pytest.mark.parametrize(("width", "latency"), SIZES)
def test_abbnn_popcount_lut4(width, latency):
    compare("abbnn_popcount_lut4", width, latency)


@pytest.mark.parametrize("width", range(1, 14))
def test_equal_to_the_reference(width):
    prove("abbnn_popcount_lut4", width)
