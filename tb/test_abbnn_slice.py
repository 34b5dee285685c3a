"""abbnn_slice: every beat in order; with registers one cycle later."""

import numpy as np
import pytest

from abbnn.tb.streams import Stream, run_streams

LATENCY = 1
"""With registers."""

BAD_PARAMETERS = [
    ("abbnn_slice", {"DATA_WIDTH": 0}, "DATA_WIDTH_must_be_at_least_1"),
    ("abbnn_slice", {"ENABLE": 2}, "ENABLE_must_be_0_or_1"),
]


@pytest.mark.parametrize("enable", [0, 1])
def test_abbnn_slice(enable):
    beats = Stream(np.random.default_rng(enable).integers(0, 1 << 12, (2, 50, 1)), 1, 12)
    run_streams(
        "abbnn_slice", {"DATA_WIDTH": 12, "ENABLE": enable}, beats, beats, latency=LATENCY * enable, accepted=2 * enable
    )
