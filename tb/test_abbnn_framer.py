"""abbnn_framer: the data pass unchanged, tlast stands on every BEATS-th beat and nowhere else."""

import numpy as np
import pytest

from abbnn.tb.streams import Stream, run_streams

FRAMES = 12

BAD_PARAMETERS = [
    ("abbnn_framer", {"DATA_WIDTH": 0}, "DATA_WIDTH_must_be_at_least_1"),
    ("abbnn_framer", {"BEATS": 0}, "BEATS_must_be_at_least_1"),
]


@pytest.mark.parametrize(("width", "beats"), [(8, 5), (1, 1), (33, 8)])
def test_abbnn_framer(width, beats):
    data = Stream(np.random.default_rng(beats).integers(0, 1 << width, (FRAMES, beats)), 1, width)
    run_streams("abbnn_framer", {"DATA_WIDTH": width, "BEATS": beats}, data, data, latency=1, accepted=2)
