"""abbnn_xnor_array: binary convolutions of several foldings against the golden model, latency and throughput."""

import numpy as np
import pytest

from abbnn.export.layout import mem_text
from abbnn.export.tables import xnor_array_tables
from abbnn.golden import ops
from abbnn.tb.bench import rows
from abbnn.tb.streams import Stream, run_streams

FRAMES = 3

SIZES = ("PE", "LANES", "IN_CHANNELS", "CHANNELS", "HEIGHT", "WIDTH", "KERNEL", "STRIDE")
GOOD_PARAMETERS = [  # and whether in the synthesis form of the popcount
    ((8, 32, 32, 32, 6, 6, 3, 1), False),
    ((4, 8, 24, 12, 7, 5, 3, 2), True),
    ((4, 2, 6, 4, 2, 2, 3, 1), False),
    ((3, 1, 1, 3, 4, 3, 3, 1), False),
    ((1, 3, 3, 2, 1, 1, 3, 1), True),
    ((2, 16, 32, 8, 3, 4, 1, 1), False),
    ((1, 1, 1, 1, 3, 3, 1, 2), False),
    ((1, 33, 66, 2, 3, 2, 3, 1), False),
    ((2, 33, 33, 2, 2, 3, 3, 1), True),
]
LINT_PARAMETERS = rows(
    "PE SIMD SIMD_FOLD CHANNELS OUT_HEIGHT OUT_WIDTH BORDER SUM_WIDTH WEIGHT_MEMORY",
    (1, 1, 1, 1, 1, 1, 0, 3, 0),
    (1, 9, 1, 1, 1, 1, 1, 6, 1),
    (2, 9, 5, 6, 3, 1, 1, 8, 2),
    (8, 8, 1, 8, 4, 4, 0, 5, 0),
    (4, 288, 2, 64, 8, 8, 1, 12, 0),
    (2, 289, 1, 2, 2, 2, 1, 11, 0),
)
LINT_PARAMETERS += [{**corner, "LOAD_MEMORY": 16} for corner in LINT_PARAMETERS[-2:]]
BAD_PARAMETERS = [
    ("abbnn_xnor_array", {"PE": 0}, "PE_must_be_at_least_1"),
    ("abbnn_xnor_array", {"CHANNELS": 0}, "CHANNELS_must_be_a_multiple_of_PE"),
    ("abbnn_xnor_array", {"PE": 4, "CHANNELS": 6}, "CHANNELS_must_be_a_multiple_of_PE"),
    ("abbnn_xnor_array", {"SIMD": 0}, "SIMD_must_be_at_least_1"),
    ("abbnn_xnor_array", {"SIMD_FOLD": 0}, "SIMD_FOLD_must_be_at_least_1"),
    ("abbnn_xnor_array", {"WEIGHT_MEMORY": -1}, "WEIGHT_MEMORY_must_be_0_to_2"),
    ("abbnn_xnor_array", {"WEIGHT_MEMORY": 3}, "WEIGHT_MEMORY_must_be_0_to_2"),
    ("abbnn_xnor_array", {"OUT_HEIGHT": 0}, "OUT_HEIGHT_must_be_at_least_1"),
    ("abbnn_xnor_array", {"OUT_WIDTH": 0}, "OUT_WIDTH_must_be_at_least_1"),
    ("abbnn_xnor_array", {"BORDER": 2}, "BORDER_must_be_0_or_1"),
    ("abbnn_xnor_array", {"SIMD": 255, "SUM_WIDTH": 8}, "SUM_WIDTH_must_hold_plus_and_minus_the_fan_in"),
    ("abbnn_xnor_array", {"SIMD": 256, "SUM_WIDTH": 9}, "SUM_WIDTH_must_hold_plus_and_minus_the_fan_in"),
]


def latency(simd, simd_fold):
    """Edges from the last beat of a fold to its sums."""
    return 7 + (simd // 4).bit_length() + (simd_fold > 1)


def accepted(simd, simd_fold):
    """Beats that enter behind a closed output: as many folds as there are credits."""
    return simd_fold * (-(-(latency(simd, simd_fold) + 3) // simd_fold) + 2)


@pytest.mark.parametrize(("sizes", "structural"), GOOD_PARAMETERS)
def test_abbnn_xnor_array(sizes, structural):
    pe, lanes, in_channels, channels, height, width, kernel, stride = sizes
    rng = np.random.default_rng(sizes)
    bits = rng.integers(0, 2, (FRAMES, height, width, in_channels), dtype=np.uint8)
    bits[1] = 1
    weights = rng.integers(0, 2, (channels, kernel, kernel, in_channels), dtype=np.uint8)
    weights[0], weights[-1] = 1, 0  # with the second frame: +fan-in and, in the last channel, -fan-in

    simd, simd_fold, folds = kernel * kernel * lanes, in_channels // lanes, channels // pe
    fan_in = simd * simd_fold
    sum_width = (fan_in).bit_length() + 1
    windows = ops.window(bits, kernel, stride)
    out_height, out_width = windows.shape[1:3]
    windows = windows.reshape(FRAMES, out_height * out_width, kernel * kernel, simd_fold, lanes)
    beats = windows.transpose(0, 1, 3, 2, 4)[:, :, None].repeat(folds, axis=2)
    sums = ops.xnor_conv(bits, weights, stride)
    if min(height, width) > 2:
        assert sums.min() == -fan_in

    weight_words, correction_words = xnor_array_tables(weights, sum_width, pe, simd, height, width, stride)
    parameters = {
        "PE": pe,
        "SIMD": simd,
        "SIMD_FOLD": simd_fold,
        "CHANNELS": channels,
        "OUT_HEIGHT": out_height,
        "OUT_WIDTH": out_width,
        "BORDER": int(kernel > 1),
        "SUM_WIDTH": sum_width,
        "WEIGHT_FILE": "weights.mem",
        "CORRECTION_FILE": "correction.mem",
    }
    tables = {
        "weights.mem": mem_text(weight_words, pe * simd),
        "correction.mem": mem_text(correction_words, pe * sum_width),
    }
    length = beats[0].size // simd
    run_streams(
        "abbnn_xnor_array",
        parameters,
        Stream(beats, simd, 1),
        Stream(sums, pe, sum_width),
        latency=latency(simd, simd_fold),
        needs=np.arange(simd_fold - 1, length, simd_fold),
        accepted=accepted(simd, simd_fold),
        resets=(simd_fold + 1, length // 2 + 2, length + 7),
        tables=tables,
        structural=structural,
    )
