"""Table words: literal examples, the read functions as inverses, and the sums that the hardware would make of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from read_tables import (
    read_compare_table,
    read_qprelu_table,
    read_scale_table,
    read_sum_array_weights,
    read_xnor_array_weights,
)

from abbnn.export.tables import (
    border_taps,
    compare_table,
    fan_in_order,
    qprelu_table,
    scale_table,
    sum_array_tables,
    weight_planes,
    xnor_array_tables,
)
from abbnn.golden import ops

PROPERTY = settings(max_examples=40)
SEEDS = st.integers(0, 2**32 - 1)


def divisors(number):
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def signed(value, width):
    value %= 1 << width
    return value - (1 << width) if value >> (width - 1) else value


def field(word, index, width):
    return (word >> (index * width)) & ((1 << width) - 1)


def test_compare_table_by_hand() -> None:
    """Channel 0 in the low half of word 0, channel 3 in the high half of word 1."""
    assert compare_table(np.array([1, -1, 127, -128]), 2, 8) == [0xFF01, 0x807F]
    assert compare_table(np.array([1, -1, 7, -8]), 4, 4) == [0x87F1]
    assert compare_table(np.array([5, 6]), 1, 4) == [5, 6]


@given(SEEDS, st.integers(1, 12), st.integers(2, 24))
@PROPERTY
def test_compare_table_round_trip(seed, channels, width) -> None:
    rng = np.random.default_rng(seed)
    low, high = ops.value_range(width)
    thresholds = rng.integers(low, high, channels, endpoint=True)
    for lanes in divisors(channels):
        words = compare_table(thresholds, lanes, width)
        assert len(words) == channels // lanes
        np.testing.assert_array_equal(read_compare_table(words, lanes, width), thresholds)


def test_scale_table_by_hand() -> None:
    """Entry: term 0 lowest; each from bit 0: shift[3], negate, enable. +2**5, -2**2 | nothing, +2**0."""
    sign, shift = np.array([[1, -1], [0, 1]]), np.array([[5, 2], [7, 0]])
    entries = [0b1_1_010_1_0_101, 0b1_0_000_0_0_000]
    assert scale_table(sign, shift, 1, 3) == entries
    assert scale_table(sign, shift, 2, 3) == [entries[0] | entries[1] << 10]


@given(SEEDS, st.integers(1, 12), st.integers(1, 4), st.integers(1, 6))
@PROPERTY
def test_scale_table_round_trip(seed, channels, terms, shift_width) -> None:
    rng = np.random.default_rng(seed)
    sign = rng.integers(-1, 2, (channels, terms)).astype(np.int8)
    shift = rng.integers(0, 1 << shift_width, (channels, terms)).astype(np.uint8)
    for lanes in divisors(channels):
        words = scale_table(sign, shift, lanes, shift_width)
        assert len(words) == channels // lanes
        assert max(words) < 1 << (lanes * terms * (shift_width + 2))
        read_sign, read_shift = read_scale_table(words, lanes, terms, shift_width)
        np.testing.assert_array_equal(read_sign, sign)
        np.testing.assert_array_equal(read_shift, np.where(sign != 0, shift, 0))


def test_qprelu_table_by_hand() -> None:
    """From bit 0: threshold, add_positive, add_before, add_after (4 bits each), then LEFT_MAX - exponent."""
    fields = [np.array([value]) for value in (-1, 2, 3, -3, -4)]  # the exponent is the fourth argument
    assert qprelu_table(*fields, 1, 4, 2, 3) == [0b101_1100_0011_0010_1111]


@given(SEEDS, st.integers(1, 8), st.sampled_from([6, 16, 19, 40]), st.integers(0, 7))
@PROPERTY
def test_qprelu_table_round_trip(seed, channels, width, left_max) -> None:
    rng = np.random.default_rng(seed)
    low, high = ops.value_range(width)
    threshold, positive, before, after = rng.integers(low, high, (4, channels), endpoint=True)
    exponent = rng.integers(-19, left_max, channels, endpoint=True).astype(np.int8)
    fields = (threshold, positive, before, exponent, after)
    shift_width = (left_max + 19).bit_length()
    for lanes in divisors(channels):
        words = qprelu_table(*fields, lanes, width, left_max, shift_width)
        assert len(words) == channels // lanes
        for expected, read in zip(fields, read_qprelu_table(words, lanes, width, left_max, shift_width), strict=True):
            np.testing.assert_array_equal(read, expected)


def test_tables_refuse_what_does_not_fit() -> None:
    one, wide = np.array([1]), np.array([200])
    with pytest.raises(ValueError, match="3 lanes do not divide 4 channels"):
        compare_table(np.arange(4), 3, 8)
    # 200 fits 8 unsigned bits, but would be read as -56.
    for value in (wide, -wide):
        with pytest.raises(ValueError, match="200 do not fit signed 8 bits"):
            compare_table(value, 1, 8)
        for place in (0, 1, 2, 4):
            fields = [one] * 5
            fields[place] = value
            with pytest.raises(ValueError, match="200 do not fit signed 8 bits"):
                qprelu_table(*fields, 1, 8, 2, 5)
    with pytest.raises(ValueError, match="a shift of 4 does not fit 2 bits"):
        scale_table(np.array([[1]]), np.array([[4]]), 1, 2)
    for exponent in (3, -30):
        with pytest.raises(ValueError, match="leave the shifter's range"):
            qprelu_table(one, one, one, np.array([exponent]), one, 1, 8, 2, 5)


def test_fan_in_order_by_hand() -> None:
    """Two taps' worth shown: with 2 of 4 channels a beat, beat 1 holds channels 2 and 3 of every tap."""
    weights = np.arange(36).reshape(1, 3, 3, 4)
    ordered = fan_in_order(weights, 18)
    assert ordered.shape == (1, 2, 18)
    assert ordered[0, 0].tolist() == [0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29, 32, 33]
    assert ordered[0, 1].tolist() == [v + 2 for v in ordered[0, 0]]
    assert fan_in_order(weights, 36)[0, 0].tolist() == list(range(36))
    for simd in (1, 10, 27, 72):
        with pytest.raises(ValueError, match=f"SIMD {simd} is not 9 taps times a divisor of 4 channels"):
            fan_in_order(weights, simd)


def border_class(index, count):
    return 0 if index == 0 else 2 if index == count - 1 else 1


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_border_taps_of_every_position(stride) -> None:
    """Every output position of every small map has the valid taps of its class."""
    for height in range(1, 8):
        for width in range(1, 8):
            taps = border_taps(height, width, 3, stride)
            rows, columns = -(-height // stride), -(-width // stride)
            for row in range(rows):
                for column in range(columns):
                    expected = [
                        [0 <= row * stride + r - 1 < height and 0 <= column * stride + c - 1 < width for c in range(3)]
                        for r in range(3)
                    ]
                    place = 3 * border_class(row, rows) + border_class(column, columns)
                    assert taps[place].tolist() == expected


def test_border_taps_of_a_wide_kernel_are_refused() -> None:
    with pytest.raises(ValueError, match="kernel of more than 3"):
        border_taps(8, 8, 5, 1)


def window_beats(maps, kernel, stride, lanes, row, column):
    """What abbnn_window emits for one position: (beats, kernel * kernel * lanes), padded elements 0."""
    height, width, channels = maps.shape
    beats = []
    for group in range(channels // lanes):
        beat = []
        for r in range(kernel):
            for c in range(kernel):
                y, x = row * stride + r - kernel // 2, column * stride + c - kernel // 2
                inside = 0 <= y < height and 0 <= x < width
                for lane in range(lanes):
                    beat.append(int(maps[y, x, group * lanes + lane]) if inside else 0)
        beats.append(beat)
    return beats


def emulated_xnor_array(words, bits, shape, stride, pe, lanes, sum_width):
    """abbnn_xnor_array bit by bit from its memories, as docs/modules.md has it."""
    weight_words, correction_words = words
    out_channels, kernel, _, channels = shape
    simd, folds, beats = kernel * kernel * lanes, out_channels // pe, channels // lanes
    rows, columns = (-(-size // stride) for size in bits.shape[:2])
    result = np.zeros((rows, columns, out_channels), np.int64)
    for row in range(rows):
        for column in range(columns):
            window = window_beats(bits, kernel, stride, lanes, row, column)
            place = 3 * border_class(row, rows) + border_class(column, columns) if kernel > 1 else 0
            for fold in range(folds):
                for element in range(pe):
                    count = 0
                    for beat in range(beats):
                        word = weight_words[fold * beats + beat]
                        for lane in range(simd):
                            count += 1 - (field(word, element * simd + lane, 1) ^ window[beat][lane])
                    correction = field(correction_words[place * folds + fold], element, sum_width)
                    result[row, column, fold * pe + element] = signed(2 * count + correction, sum_width)
    return result


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4), (2, 2), (3, 3), (2, 5), (4, 3), (5, 6)])
def test_twice_the_popcount_plus_correction_is_the_convolution(kernel, stride, height, width) -> None:
    rng = np.random.default_rng(height * 100 + width * 10 + stride)
    for channels, out_channels, lanes, pe in ((1, 1, 1, 1), (2, 4, 1, 2), (4, 3, 2, 3), (3, 2, 3, 1)):
        weights = rng.integers(0, 2, (out_channels, kernel, kernel, channels), dtype=np.uint8)
        bits = rng.integers(0, 2, (height, width, channels), dtype=np.uint8)
        fan_in = kernel * kernel * channels
        sum_width = 1 + fan_in.bit_length()  # holds -fan_in..fan_in, not 2 * popcount
        words = xnor_array_tables(weights, sum_width, pe, kernel * kernel * lanes, height, width, stride)
        assert len(words[0]) == out_channels // pe * channels // lanes
        assert len(words[1]) == (9 if kernel == 3 else 1) * out_channels // pe
        assert max(words[1]) < 1 << (pe * sum_width)
        sums = emulated_xnor_array(words, bits, weights.shape, stride, pe, lanes, sum_width)
        np.testing.assert_array_equal(sums, ops.xnor_conv(bits[None], weights, stride)[0])


def test_xnor_tables_by_hand() -> None:
    """One channel, one filter with -1 in its upper row. Middle: -9. Upper left corner: 4 valid taps, 3 of the -1 on
    padding add 3 to the popcount: -4 - 2 * 3."""
    weights = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1], np.uint8).reshape(1, 3, 3, 1)
    weight_words, correction_words = xnor_array_tables(weights, 5, 1, 9, 3, 3, 1)
    assert weight_words == [0b111111000]
    corrections = [signed(word, 5) for word in correction_words]
    assert corrections == [-10, -12, -10, -8, -9, -8, -6, -6, -6]


@given(SEEDS, st.sampled_from([1, 3]), st.integers(1, 6), st.integers(1, 6))
@PROPERTY
def test_xnor_weights_round_trip(seed, kernel, channels, out_channels) -> None:
    weights = np.random.default_rng(seed).integers(0, 2, (out_channels, kernel, kernel, channels), dtype=np.uint8)
    for pe in divisors(out_channels):
        for lanes in divisors(channels):
            simd = kernel * kernel * lanes
            words = xnor_array_tables(weights, 9, pe, simd, 4, 4, 1)[0]
            assert max(words) < 1 << (pe * simd)
            np.testing.assert_array_equal(read_xnor_array_weights(words, weights.shape, pe, simd), weights)


def test_weight_planes_by_hand() -> None:
    """5 = 4 + 2 - 1, -7 = -4 - 2 - 1, 1 = 4 - 2 - 1."""
    assert weight_planes(np.array([5, -7, 1, 7]), 3).tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0], [1, 1, 1]]
    assert weight_planes(np.array([[1, -1]]), 1).tolist() == [[[1], [0]]]
    for bad in (2, 0, 9, -9):
        with pytest.raises(ValueError, match="must be odd and within"):
            weight_planes(np.array([1, bad]), 3)


@given(SEEDS, st.integers(1, 15))
@PROPERTY
def test_weight_planes_sum_up(seed, planes) -> None:
    limit = (1 << planes) - 1
    weights = 2 * np.random.default_rng(seed).integers(0, limit, (3, 5), endpoint=True) - limit
    digits = weight_planes(weights, planes)
    total = sum((2 * digits[..., plane].astype(int) - 1) << (planes - 1 - plane) for plane in range(planes))
    np.testing.assert_array_equal(total, weights)


def emulated_sum_array(words, values, shape, stride, planes, pe, lanes, sum_width):
    """abbnn_sum_array beat by beat: planes from the top, 1 short for a -1 on odd lanes and the last, a doubled
    accumulator that wraps."""
    weight_words, bias_words = words
    out_channels, kernel, _, channels = shape
    simd, folds, beats = kernel * kernel * lanes, out_channels // pe, channels // lanes
    rows, columns = (-(-size // stride) for size in values.shape[:2])
    result = np.zeros((rows, columns, out_channels), np.int64)
    for row in range(rows):
        for column in range(columns):
            window = window_beats(values, kernel, stride, lanes, row, column)
            for fold in range(folds):
                for element in range(pe):
                    total = 0
                    for plane in range(planes):
                        total = signed(2 * total, sum_width)
                        for beat in range(beats):
                            word = weight_words[(fold * planes + plane) * beats + beat]
                            for lane in range(simd):
                                value = window[beat][lane]
                                short = lane % 2 == 1 or lane == simd - 1
                                total += value if field(word, element * simd + lane, 1) else -value - short
                            total = signed(total, sum_width)
                    total += field(bias_words[fold], element, sum_width)
                    result[row, column, fold * pe + element] = signed(total, sum_width)
    return result


@pytest.mark.parametrize(
    ("kernel", "stride", "planes", "channels", "lanes", "out_channels", "pe"),
    [
        (1, 1, 1, 4, 2, 6, 3),
        (1, 1, 8, 6, 3, 4, 1),
        (3, 1, 8, 3, 3, 2, 2),
        (3, 2, 5, 3, 1, 4, 2),
        (3, 2, 1, 2, 2, 1, 1),
        (5, 1, 2, 1, 1, 2, 2),
        (7, 2, 3, 3, 3, 2, 1),
        (1, 1, 15, 2, 1, 2, 2),
    ],
)
def test_plane_serial_inverted_adds_are_the_sum(kernel, stride, planes, channels, lanes, out_channels, pe) -> None:
    rng = np.random.default_rng(kernel * 100 + planes)
    shape = (out_channels, kernel, kernel, channels)
    limit = (1 << planes) - 1
    weights = 2 * rng.integers(0, limit, shape, endpoint=True) - limit
    weights[0] = -limit  # the most inverted lanes
    bias = rng.integers(-5000, 5000, out_channels)
    values = rng.integers(-128, 128, (5, 4, channels))
    values[0, 0] = -128
    expected = ops.sum_conv(values[None], weights, bias, stride, 1 << 40)[0]
    largest = max(abs(int(expected.min())), abs(int(expected.max())))
    sum_width = 1 + largest.bit_length()  # the result alone: what is on the way may wrap
    words = sum_array_tables(weights, bias, planes, pe, kernel * kernel * lanes, sum_width)
    assert len(words[0]) == out_channels // pe * planes * channels // lanes
    assert len(words[1]) == out_channels // pe
    sums = emulated_sum_array(words, values, shape, stride, planes, pe, lanes, sum_width)
    np.testing.assert_array_equal(sums, expected)


def test_sum_tables_by_hand() -> None:
    """Weights 3 and -1 of two planes: planes +- and ++: the bias takes in 1 of weight 2 for lane 1.

    Weights -3, 1 and 5 of three planes: -++, +-+ and ---: lane 0 is not counted, lane 2 as the last is.
    """
    weight_words, bias_words = sum_array_tables(np.array([[[[3, -1]]]]), np.array([10]), 2, 1, 2, 8)
    assert weight_words == [0b01, 0b11]
    assert bias_words == [12]
    weight_words, bias_words = sum_array_tables(np.array([[[[-3, 1, 5]]]]), np.array([10]), 3, 1, 3, 8)
    assert weight_words == [0b110, 0b101, 0b000]
    assert bias_words == [10 + 2 + (1 + 1)]


@given(SEEDS, st.sampled_from([1, 3, 5]), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))
@PROPERTY
def test_sum_weights_round_trip(seed, kernel, planes, channels, out_channels) -> None:
    limit = (1 << planes) - 1
    shape = (out_channels, kernel, kernel, channels)
    weights = 2 * np.random.default_rng(seed).integers(0, limit, shape, endpoint=True) - limit
    for pe in divisors(out_channels):
        for lanes in divisors(channels):
            simd = kernel * kernel * lanes
            words, _ = sum_array_tables(weights.astype(np.int16), np.zeros(out_channels, int), planes, pe, simd, 20)
            np.testing.assert_array_equal(read_sum_array_weights(words, shape, planes, pe, simd), weights)


def test_array_tables_refuse_a_fold_that_does_not_divide() -> None:
    weights = np.ones((4, 3, 3, 2), np.int64)
    with pytest.raises(ValueError, match="3 lanes do not divide 4 channels"):
        sum_array_tables(weights, np.zeros(4, int), 1, 3, 9, 8)
    with pytest.raises(ValueError, match="3 lanes do not divide 4 channels"):
        xnor_array_tables(weights.astype(np.uint8), 6, 3, 9, 4, 4, 1)
    with pytest.raises(ValueError, match="SIMD 8 is not 9 taps"):
        sum_array_tables(weights, np.zeros(4, int), 1, 2, 8, 8)
