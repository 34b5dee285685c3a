"""abbnn_skid: the stream passes unchanged, one beat a cycle, through any stalls and after a reset in mid-stream."""

import numpy as np
import pytest

from abbnn.tb.bench import rows
from abbnn.tb.streams import Stream, run_streams

LATENCY = 1

LINT_PARAMETERS = rows("DATA_WIDTH", (1,), (576,))
BAD_PARAMETERS = [("abbnn_skid", {"DATA_WIDTH": 0}, "DATA_WIDTH_must_be_at_least_1")]


@pytest.mark.parametrize("width", [1, 8, 61])
def test_abbnn_skid(width):
    beats = Stream(np.random.default_rng(width).integers(0, 1 << width, (3, 100)), 1, width)
    run_streams("abbnn_skid", {"DATA_WIDTH": width}, beats, beats, latency=LATENCY, accepted=2)
