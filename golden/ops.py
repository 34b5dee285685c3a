"""The arithmetic of every RTL block on exact integers, one function a module of the same name.

Maps are (N, H, W, C) integer arrays. Fixed-point values are signed, W bits with F fraction bits. Right shifts are
arithmetic: they round towards minus infinity. Values that leave W bits saturate, and only in `saturate`.
`tests/plain.py` holds the slow twin of these functions that uses adds, bit operations and shifts alone.

Results are int32 or int64. A `bits` argument is what the widest number on the way needs, as range analysis proves it;
without one everything is computed in int64.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbnn.errors import UserError

Integers = NDArray[np.integer[Any]]

EXACT_FLOAT32 = 1 << 24
EXACT_FLOAT64 = 1 << 53
WINDOWS_BYTES = 4 << 20
"""Of the windows that a convolution lays out at a time, beyond one image's: about what a core's cache holds."""
PAIRED_SUM = 2895
"""The greatest n with n * (2 * n + 2) < EXACT_FLOAT32: two sums of n signs fit one float32, see `sign_conv`."""
CHUNK_VALUES = 1 << 15
"""Values that `in_chunks` works on at a time: a few arrays of them stay in a core's second cache."""


def integer_type(bits: int) -> type[np.signedinteger[Any]]:
    """The faster of int32 and int64 that holds signed `bits`-bit numbers."""
    return np.int32 if bits <= 32 else np.int64


def float_type(bound: int) -> type[np.floating[Any]]:
    """The faster of float32 and float64 that holds every integer up to `bound` exactly; UserError if neither does."""
    if bound >= EXACT_FLOAT64:
        raise UserError(f"sums up to {bound} are not exact in float64")
    return np.float32 if bound < EXACT_FLOAT32 else np.float64


def _select(condition: NDArray[np.bool_], yes: Integers, no: Integers) -> Integers:
    """np.where for integers of one type, without its branch, which costs most where signs are random."""
    chosen: Integers = yes - no  # may wrap around, and then does so again
    chosen *= condition
    chosen += no
    return chosen


def in_chunks(function: Callable[..., Integers], *maps: Integers) -> Integers:
    """`function` of maps of one shape, a few of their pixels at a time; it keeps pixels apart, and so the shape."""
    shape = maps[0].shape
    flat = [each.reshape(-1, shape[-1]) for each in maps]
    step = max(1, CHUNK_VALUES // shape[-1])
    chunks = (function(*(each[start : start + step] for each in flat)) for start in range(0, len(flat[0]), step))
    first = next(chunks)
    result = np.empty(flat[0].shape, first.dtype)
    for index, chunk in enumerate(itertools.chain([first], chunks)):
        result[index * step : (index + 1) * step] = chunk
    return result.reshape(shape)


def value_range(width: int) -> tuple[int, int]:
    """Least and greatest value of a signed `width`-bit number."""
    return -(1 << (width - 1)), (1 << (width - 1)) - 1


def saturate(values: Integers, width: int) -> Integers:
    """Clamp to signed `width` bits; values of a type without more of them come back as they are."""
    if width >= 8 * values.itemsize:
        return values
    low, high = value_range(width)
    clamped: Integers = np.maximum(values, low)  # np.clip looks twice at its limits, which takes longer than a chunk
    return np.minimum(clamped, high, out=clamped)


def compare(values: Integers, thresholds: Integers) -> NDArray[np.uint8]:
    """sign() of the paper as one comparison: bit 1 (+1) where value >= its channel's threshold, else 0 (-1).

    values (..., C), thresholds (C,). The mask layer and beta have vanished into the threshold -bias0 / beta.
    """
    return (values >= thresholds).view(np.uint8)


def window(maps: NDArray[Any], kernel: int, stride: int) -> NDArray[Any]:
    """Sliding windows with zero padding of kernel // 2: (N, H, W, C) -> (N, OH, OW, kernel, kernel, C)."""
    pad = kernel // 2
    padded = np.pad(maps, ((0, 0), (pad, pad), (pad, pad), (0, 0))) if pad else maps
    views = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
    return views[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)


def dot(vectors: NDArray[Any], weights: NDArray[Any], bound: int) -> Integers:
    """Exact integer product (..., D) x (C, D) -> (..., C) through BLAS.

    `bound` is the greatest magnitude of any sum of |products|: below 2**24 float32 holds every partial sum exactly,
    below 2**53 float64 does; beyond that it is a UserError. Operands that already are of that `float_type` are taken
    as they are.
    """
    kind = float_type(bound)
    flat = np.ascontiguousarray(vectors.reshape(-1, vectors.shape[-1]), dtype=kind)
    product = flat @ weights.astype(kind, copy=False).T
    sums: Integers = product.astype(integer_type(bound.bit_length() + 1))
    return sums.reshape(*vectors.shape[:-1], len(weights))


def _rows(windows: NDArray[Any]) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Which images of `window`'s result, as many at a time as `WINDOWS_BYTES` holds, and their windows, one a row.

    So memory does not grow with the batch.
    """
    step = max(1, WINDOWS_BYTES // max(1, windows[:1].size * windows.itemsize))
    for start in range(0, len(windows), step):
        part = windows[start : start + step]
        yield slice(start, start + len(part)), part.reshape(-1, int(np.prod(part.shape[3:])))


def convolve(maps: NDArray[Any], weights: NDArray[Any], stride: int, bound: int) -> Integers:
    """Convolution padded by kernel // 2; a padded tap adds 0.

    maps (N, H, W, Cin), weights (Cout, k, k, Cin), `bound` as in `dot`.
    """
    windows = window(maps.astype(float_type(bound), copy=False), weights.shape[1], stride)
    flat = weights.reshape(len(weights), -1)
    parts = [dot(rows, flat, bound) for _, rows in _rows(windows)]
    sums = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return sums.reshape(*windows.shape[:3], len(weights))


def signs(bits: NDArray[np.uint8]) -> NDArray[np.int8]:
    """1 for +1 and 0 for -1 as +1 and -1."""
    return 2 * bits.astype(np.int8) - 1


def xnor_conv(bits: NDArray[np.uint8], weights: NDArray[np.uint8], stride: int) -> Integers:
    """Padded binary convolution: sum over the valid taps of (+-1)(+-1) = 2 * popcount(xnor) - valid.

    bits (N, H, W, Cin) and weights (Cout, k, k, Cin) hold 1 for +1 and 0 for -1; a padded tap adds 0.
    """
    return sign_conv(bits, signs(weights).astype(np.float32), stride)


def sign_conv(bits: NDArray[np.uint8], weights: NDArray[np.float32], stride: int) -> Integers:
    """`xnor_conv` with the weights as +-1, of two images at a time by one product of float32.

    A value is the first image's sign plus `base` times the second's. Both sums of at most `size` signs come back from
    their common one, since base is 2 * size + 1 and the first is in -size..size; it is exact by the choice of size.
    """
    count, fan_in = len(bits), int(np.prod(weights.shape[1:]))
    half = -(-count // 2)
    size = -(-fan_in // -(-fan_in // PAIRED_SUM))
    base = 2 * size + 1
    paired = bits[:half] * np.float32(2) - np.float32(1)
    if count > 1:
        paired[: count - half] += bits[half:] * np.float32(2 * base) - np.float32(base)
    windows = window(paired, weights.shape[1], stride)
    flat = weights.reshape(len(weights), fan_in)
    result = np.zeros((count, *windows.shape[1:3], len(weights)), np.int32)
    for where, rows in _rows(windows):
        ahead, behind = result[where], result[half + where.start : half + where.stop]
        for begin in range(0, fan_in, size):
            both = (rows[:, begin : begin + size] @ flat[:, begin : begin + size].T).astype(np.int32)
            both = both.reshape(ahead.shape)
            second = (both + np.int32(size)) // np.int32(base)
            behind += second[: len(behind)]
            second *= base
            both -= second
            ahead += both
    return result


def sum_conv(values: Integers, weights: NDArray[Any], bias: Integers, stride: int, bound: int) -> Integers:
    """Padded convolution of multi-bit values with integer weights, plus bias: stem, shortcut and head (both 1x1).

    values (N, H, W, Cin), weights (Cout, k, k, Cin) odd integers that the RTL holds as planes of +-1
    (`export.layout` and `abbnn_sum_array`), bias (Cout,). `bound` as in `dot`, proven by range analysis.
    """
    return convolve(values, weights, stride, bound) + bias


def scale(sums: Integers, sign: Integers, shift: Integers, guard: int, width: int | None, bits: int = 64) -> Integers:
    """Per-channel factor as T signed powers of two: saturate((sum over t of sign_t * (sums << shift_t)) >> guard).

    sums (..., C); sign (C, T) in {-1, 0, 1}, shift (C, T) >= 0: the factor is sum(sign_t * 2**(shift_t - guard)).
    Shifts to the left are exact, so the T terms are one product here. Without a `width` nothing saturates.
    """
    kind = integer_type(bits)
    multiplier = (sign.astype(kind) << shift.astype(kind)).sum(axis=1, dtype=kind)
    total = sums.astype(kind, copy=False) * multiplier
    total >>= guard
    return total if width is None else saturate(total, width)


def qprelu(
    sums: Integers,
    threshold: Integers,
    add_positive: Integers,
    add_before: Integers,
    exponent: Integers,
    add_after: Integers,
    width: int,
    bits: int = 64,
) -> Integers:
    """Biases and quantized PReLU in one form that covers the official code and the paper's Eq. 8; saturates to `width`.

    y >= threshold ? y + add_positive : shift(y + add_before, exponent) + add_after, where shift is << exponent for
    exponent >= 0 and the arithmetic >> -exponent below. All fields are (C,). The official code's
    z = y + b1; (z >= 0 ? z : 2**a * z) + b2 is (-b1, b1 + b2, b1, a, b2).
    """
    kind = integer_type(bits)
    sums, threshold, add_positive, add_before, exponent, add_after = (
        array.astype(kind, copy=False) for array in (sums, threshold, add_positive, add_before, exponent, add_after)
    )
    shifted = sums + add_before
    if (exponent > 0).any():
        shifted <<= np.maximum(exponent, 0)
    if (exponent < 0).any():
        shifted >>= np.maximum(-exponent, 0)
    shifted += add_after
    return saturate(_select(sums >= threshold, sums + add_positive, shifted), width)


def prelu(values: Integers, sign: Integers, shift: Integers, guard: int, width: int, bits: int = 64) -> Integers:
    """Slope a channel for negative values, a sum of signed powers of two as in `scale`; others pass. Saturates."""
    scaled = scale(values, sign, shift, guard, width, bits)
    return _select(values >= 0, saturate(values, width).astype(scaled.dtype, copy=False), scaled)


def subsample(values: Integers) -> Integers:
    """Every second pixel of every second row, from the first on: (N, H, W, C) -> (N, ceil(H / 2), ceil(W / 2), C)."""
    return values[:, ::2, ::2]


def pool(values: Integers) -> Integers:
    """2x2 average, stride 2, of a map of even height and width: the sum of four, shifted right by 2."""
    n, height, width, channels = values.shape
    quads = values.astype(np.int64).reshape(n, height // 2, 2, width // 2, 2, channels)
    rows = quads[:, :, 0] + quads[:, :, 1]
    average: Integers = (rows[:, :, :, 0] + rows[:, :, :, 1]) >> 2
    return average.astype(values.dtype)


def max_pool(values: Integers) -> Integers:
    """Greatest of each 3x3 window, stride 2, padded by 1: (N, H, W, C) -> (N, ceil(H / 2), ceil(W / 2), C).

    A padded tap never wins: only taps inside the map count.
    """
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=np.iinfo(values.dtype).min)
    rows = reduce(np.maximum, (padded[:, first : first + values.shape[1] : 2] for first in range(3)))
    greatest: Integers = reduce(np.maximum, (rows[:, :, first : first + values.shape[2] : 2] for first in range(3)))
    return greatest


def gap(values: Integers, shift: int) -> Integers:
    """Global sum, shifted right: (N, H, W, C) -> (N, C). A divisor beyond the shift is in the head's weights."""
    total: Integers = values.sum(axis=(1, 2), dtype=np.int64)
    return total >> shift


def argmax(scores: Integers) -> Integers:
    """Index of the greatest score, the lowest index among equals: (N, classes) -> (N,)."""
    greatest: Integers = np.argmax(scores, axis=-1)
    return greatest
