"""What the exporter's tables say, read back: the inverses of the functions of export/tables.py."""

import numpy as np

from abbnn.export.layout import unpack, unpack_bits
from abbnn.golden.ops import Integers


def unpack_wide(words: list[int], lanes: int, width: int) -> list[int]:
    """The inverse of `pack` for wide fields, all lanes of all words in one list."""
    mask = (1 << width) - 1
    return [(word >> (lane * width)) & mask for word in words for lane in range(lanes)]


def read_compare_table(words: list[int], lanes: int, value_width: int) -> Integers:
    """The inverse of `compare_table`: thresholds (C,)."""
    return unpack(words, lanes, value_width, signed=True).ravel()


def read_scale_table(words: list[int], lanes: int, terms: int, shift_width: int) -> tuple[Integers, Integers]:
    """The inverse of `scale_table`: sign and shift, each (C, T); the shift of an unused term reads 0."""
    entries = unpack(words, lanes * terms, shift_width + 2, signed=False).reshape(-1, terms)
    shift = entries & ((1 << shift_width) - 1)
    sign = (entries >> (shift_width + 1)) * (1 - 2 * (entries >> shift_width & 1))
    return sign, shift


def read_qprelu_table(
    words: list[int], lanes: int, field_width: int, left_max: int, shift_width: int
) -> tuple[Integers, Integers, Integers, Integers, Integers]:
    """The inverse of `qprelu_table`: threshold, add_positive, add_before, exponent, add_after, each (C,)."""
    width = 4 * field_width + shift_width
    entries = unpack_wide(words, lanes, width)
    fields = unpack(entries, 4, field_width, signed=True)
    exponent = left_max - np.array([entry >> 4 * field_width for entry in entries], np.int64)
    threshold, add_positive, add_before, add_after = fields.T
    return threshold, add_positive, add_before, exponent, add_after


def _fan_in_original(ordered: Integers, kernel: int, channels: int) -> Integers:
    """The inverse of `fan_in_order`: (Cout, SIMD_FOLD, SIMD) -> (Cout, k, k, Cin)."""
    out_channels, groups, _ = ordered.shape
    split = ordered.reshape(out_channels, groups, kernel * kernel, channels // groups)
    return split.transpose(0, 2, 1, 3).reshape(out_channels, kernel, kernel, channels)


def read_sum_array_weights(
    words: list[int], shape: tuple[int, int, int, int], planes: int, pe: int, simd: int
) -> Integers:
    """The inverse of `sum_array_tables`' weight words; `shape` is (Cout, k, k, Cin)."""
    out_channels, kernel, _, channels = shape
    folds = kernel * kernel * channels // simd
    bits = unpack_bits(words, pe * simd).reshape(out_channels // pe, planes, folds, pe, simd)
    ordered = bits.transpose(0, 3, 2, 4, 1).reshape(out_channels, folds, simd, planes).astype(np.int64)
    code = ordered @ (1 << np.arange(planes, dtype=np.int64)[::-1])
    return _fan_in_original(2 * code - ((1 << planes) - 1), kernel, channels).astype(np.int64)


def read_xnor_array_weights(words: list[int], shape: tuple[int, int, int, int], pe: int, simd: int) -> Integers:
    """The inverse of `xnor_array_tables`' weight words: 0 and 1 of `shape` (Cout, k, k, Cin)."""
    return (read_sum_array_weights(words, shape, 1, pe, simd) + 1) >> 1
