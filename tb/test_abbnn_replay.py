"""abbnn_replay: every vector comes TIMES times in a row, with no lost cycle and no word overwritten too early."""

import numpy as np
import pytest

from abbnn.tb.bench import rows
from abbnn.tb.streams import Stream, run_streams

LATENCY = 2
FRAMES = 3
VECTORS = 4
"""of a frame"""

LINT_PARAMETERS = rows("DATA_WIDTH DEPTH TIMES", (1, 1, 1), (27, 1, 5), (9, 3, 1), (288, 2, 32))
BAD_PARAMETERS = [
    ("abbnn_replay", {"DATA_WIDTH": 0}, "DATA_WIDTH_must_be_at_least_1"),
    ("abbnn_replay", {"DEPTH": 0}, "DEPTH_must_be_at_least_1"),
    ("abbnn_replay", {"TIMES": 0}, "TIMES_must_be_at_least_1"),
]

SIZES = [(8, 1, 1), (3, 1, 2), (40, 1, 5), (1, 3, 1), (16, 9, 4), (60, 4, 3), (9, 2, 2)]


def entries(depth, times):
    """The first cycle in which every beat may enter, at one output beat a cycle from cycle LATENCY on."""
    if depth == 1 and times > 1:
        # The register in front frees up the cycle after its vector has moved into the output register.
        return [0, *(LATENCY + vector * times for vector in range(FRAMES * VECTORS - 1))]
    cycles = list(range(min(2, FRAMES * VECTORS) * depth))
    for vector in range(2, FRAMES * VECTORS):
        # The last read of vector - 2 ends the cycle before its beat is on the output.
        first = max(cycles[-1] + 1, LATENCY + (vector - 1) * depth * times - 1)
        cycles += range(first, first + depth)
    return cycles


@pytest.mark.parametrize(("width", "depth", "times"), SIZES)
def test_abbnn_replay(width, depth, times):
    values = np.random.default_rng([width, depth, times]).integers(0, 1 << width, (FRAMES, VECTORS, 1, depth))
    values[0, 0, 0, -1] = (1 << width) - 1
    run_streams(
        "abbnn_replay",
        {"DATA_WIDTH": width, "DEPTH": depth, "TIMES": times},
        Stream(values, 1, width),
        Stream(values.repeat(times, axis=2), 1, width),
        latency=LATENCY,
        needs=np.arange(VECTORS * depth).reshape(VECTORS, 1, depth).repeat(times, axis=1).ravel(),
        entries=entries(depth, times),
        # Two vectors, and one beat more where the output register frees a vector.
        accepted=2 * depth + (depth * times == 1),
        resets=(3, 2 * depth + 4, depth * times + 5),
    )
