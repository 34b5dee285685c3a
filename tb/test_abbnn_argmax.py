"""abbnn_argmax: every score and index of back-to-back frames, ties included, tlast on the index alone."""

import numpy as np
import pytest

from abbnn.golden import ops
from abbnn.tb.bench import rows
from abbnn.tb.streams import Stream, run_streams

LATENCY = 1
FRAMES = 12

SIZES = ("SCORE_WIDTH", "CLASSES", "M_WIDTH")
GOOD_PARAMETERS = [(20, 10, 32), (2, 2, 2), (8, 1, 8), (5, 33, 6), (3, 16, 4)]
LINT_PARAMETERS = rows("SCORE_WIDTH CLASSES M_WIDTH", (2, 2, 8), (28, 10, 32), (32, 1000, 32), (16, 16, 16))
BAD_PARAMETERS = [
    ("abbnn_argmax", {"SCORE_WIDTH": 1}, "SCORE_WIDTH_must_be_at_least_2"),
    ("abbnn_argmax", {"CLASSES": 0}, "CLASSES_must_be_at_least_1"),
    ("abbnn_argmax", {"SCORE_WIDTH": 17}, "M_WIDTH_must_hold_a_score_and_an_index"),
    ("abbnn_argmax", {"SCORE_WIDTH": 4, "CLASSES": 17, "M_WIDTH": 4}, "M_WIDTH_must_hold_a_score_and_an_index"),
]


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_argmax(sizes):
    score_width, classes, m_width = sizes
    low, high = ops.value_range(score_width)
    rng = np.random.default_rng(sizes)
    scores = rng.integers(low, high + 1, (FRAMES, classes))
    scores[1] = low
    scores[2] = high
    scores[3], scores[3, -1] = low, high
    scores[4], scores[4, 0] = -1, 0
    scores[5], scores[5, 1:] = -1, 0
    scores[6:9] = rng.integers(-1, 1, (3, classes))
    results = np.concatenate([scores, ops.argmax(scores)[:, None]], axis=1)
    run_streams(
        "abbnn_argmax",
        dict(zip(SIZES, sizes, strict=True)),
        Stream(scores, 1, score_width),
        Stream(results & ((1 << m_width) - 1), 1, m_width),  # scores are signed, indices are not
        latency=LATENCY,
        needs=np.minimum(np.arange(classes + 1), classes - 1),
        entries=2 * np.arange(FRAMES * classes),
        interval=2 * classes,
        resets=range(1, classes + 3),
    )
