"""abbnn_sum_array: every sum of stem-like, shortcut-like and head-like shapes, in a SUM_WIDTH that just holds them."""

import numpy as np
import pytest

from abbnn.export.layout import mem_text
from abbnn.export.tables import sum_array_tables
from abbnn.golden import ops
from abbnn.tb.bench import rows
from abbnn.tb.streams import Stream, run_streams

FRAMES = 3
POSITIONS = 4

SIZES = ("PE", "SIMD", "SIMD_FOLD", "CHANNELS", "PLANES", "DATA_WIDTH")
GOOD_PARAMETERS = [
    (2, 27, 1, 6, 8, 9),
    (1, 1, 1, 1, 1, 2),
    (4, 4, 3, 8, 1, 16),
    (1, 3, 5, 10, 8, 20),
    (3, 6, 2, 3, 2, 5),
    (2, 16, 1, 4, 1, 4),
]
LINT_PARAMETERS = rows(
    "PE SIMD SIMD_FOLD CHANNELS PLANES DATA_WIDTH SUM_WIDTH",
    (1, 1, 1, 1, 1, 2, 3),
    (1, 2, 3, 10, 8, 20, 32),
    (4, 1, 32, 64, 1, 16, 21),
    (4, 27, 1, 32, 8, 9, 22),
    (2, 3, 1, 2, 2, 5, 9),
)
LINT_PARAMETERS += [{**corner, "LOAD_MEMORY": 16} for corner in LINT_PARAMETERS[-2:]]
BAD_PARAMETERS = [
    ("abbnn_sum_array", {"PE": 0}, "PE_must_be_at_least_1"),
    ("abbnn_sum_array", {"CHANNELS": 0}, "CHANNELS_must_be_a_multiple_of_PE"),
    ("abbnn_sum_array", {"PE": 4, "CHANNELS": 6}, "CHANNELS_must_be_a_multiple_of_PE"),
    ("abbnn_sum_array", {"SIMD": 0}, "SIMD_must_be_at_least_1"),
    ("abbnn_sum_array", {"SIMD_FOLD": 0}, "SIMD_FOLD_must_be_at_least_1"),
    ("abbnn_sum_array", {"PLANES": 0}, "PLANES_must_be_at_least_1"),
    ("abbnn_sum_array", {"DATA_WIDTH": 1}, "DATA_WIDTH_must_be_at_least_2"),
    ("abbnn_sum_array", {"SUM_WIDTH": 1}, "SUM_WIDTH_must_be_at_least_2"),
]


def latency(simd):
    """Input register, one level of the adder tree a cycle (at least one), accumulator, bias, FIFO."""
    return 6 + max(1, (simd - 1).bit_length())


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_sum_array(sizes):
    parameters = dict(zip(SIZES, sizes, strict=True))
    pe, simd, simd_fold, channels, planes, data_width = sizes
    fan_in = simd * simd_fold
    rng = np.random.default_rng(sizes)
    limit = (1 << planes) - 1
    weights = 2 * rng.integers(0, limit + 1, (channels, 1, 1, fan_in)) - limit
    weights[0] = limit
    weights[-1] = -limit
    low, high = ops.value_range(data_width)
    bias = rng.integers(-1000, 1000, channels) if data_width > 5 else rng.integers(-2, 3, channels)
    values = rng.integers(low, high + 1, (FRAMES, POSITIONS, fan_in))
    values[0, 0], values[0, 1] = low, high
    if simd == 16:  # sums that need fewer bits than the adder tree gives
        values >>= 2
    bound = fan_in * limit * -low
    expected = ops.sum_conv(values[:, None], weights, bias, 1, bound)[:, 0]
    sum_width = max(int(expected.max()).bit_length(), int(-1 - expected.min()).bit_length()) + 1
    weight_words, bias_words = sum_array_tables(weights, bias, planes, pe, simd, sum_width)
    folds, fold_beats = channels // pe, planes * simd_fold
    # Every vector once for each plane of each fold, as abbnn_replay gives it.
    replayed = values[:, :, None].repeat(folds * planes, axis=2)
    outputs = POSITIONS * folds
    run_streams(
        "abbnn_sum_array",
        {**parameters, "SUM_WIDTH": sum_width, "WEIGHT_FILE": "weights.mem", "BIAS_FILE": "bias.mem"},
        Stream(replayed, simd, data_width),
        Stream(expected, pe, sum_width),
        latency=latency(simd),
        accepted=fold_beats * (-(-(latency(simd) + 3) // fold_beats) + 2),  # as many as credits
        needs=(np.arange(outputs) + 1) * fold_beats - 1,
        stalls=[(0.0, 0.95)],
        resets=(3, fold_beats + 7),
        tables={
            "weights.mem": mem_text(weight_words, pe * simd),
            "bias.mem": mem_text(bias_words, pe * sum_width),
        },
    )
