"""The arithmetic of every RTL block on exact integers, one function a module of the same name.

Maps are (N, H, W, C) integer arrays. Fixed-point values are signed, W bits with F fraction bits. Right shifts are
arithmetic: they round towards minus infinity. Values that leave W bits saturate, and only in `saturate`.
`tests/plain.py` holds the slow twin of these functions that uses adds, bit operations and shifts alone.

Results are int32 or int64. A `bits` argument is what the widest number on the way needs, as range analysis proves it;
without one everything is computed in int64.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbnn.errors import UserError

Integers = NDArray[np.integer[Any]]

EXACT_FLOAT32 = 1 << 24
EXACT_FLOAT64 = 1 << 53
WINDOWS_BYTES = 4 << 20
"""Of the windows that `convolve` lays out at a time, beyond one image's: about what a core's cache holds."""


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
    chosen: Integers = no ^ ((yes ^ no) & -condition.astype(no.dtype))
    return chosen


def value_range(width: int) -> tuple[int, int]:
    """Least and greatest value of a signed `width`-bit number."""
    return -(1 << (width - 1)), (1 << (width - 1)) - 1


def saturate(values: Integers, width: int) -> Integers:
    """Clamp to signed `width` bits."""
    return np.clip(values, *value_range(width))


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


def convolve(maps: NDArray[Any], weights: NDArray[Any], stride: int, bound: int) -> Integers:
    """Convolution padded by kernel // 2; a padded tap adds 0.

    maps (N, H, W, Cin), weights (Cout, k, k, Cin), `bound` as in `dot`. Windows are laid out for as many images at a
    time as `WINDOWS_BYTES` holds, so that memory does not grow with the batch.
    """
    kernel, fan_in = weights.shape[1], int(np.prod(weights.shape[1:]))
    windows = window(maps.astype(float_type(bound), copy=False), kernel, stride)
    flat = weights.reshape(len(weights), fan_in)
    step = max(1, WINDOWS_BYTES // max(1, windows[:1].size * windows.itemsize))
    parts = [
        dot(part.reshape(*part.shape[:3], fan_in), flat, bound)
        for part in (windows[start : start + step] for start in range(0, len(windows), step))
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def signs(bits: NDArray[np.uint8]) -> NDArray[np.int8]:
    """1 for +1 and 0 for -1 as +1 and -1."""
    return 2 * bits.astype(np.int8) - 1


def xnor_conv(bits: NDArray[np.uint8], weights: NDArray[np.uint8], stride: int) -> Integers:
    """Padded binary convolution: sum over the valid taps of (+-1)(+-1) = 2 * popcount(xnor) - valid.

    bits (N, H, W, Cin) and weights (Cout, k, k, Cin) hold 1 for +1 and 0 for -1; a padded tap adds 0.
    """
    return convolve(signs(bits), signs(weights), stride, int(np.prod(weights.shape[1:])))


def sum_conv(values: Integers, weights: NDArray[Any], bias: Integers, stride: int, bound: int) -> Integers:
    """Padded convolution of multi-bit values with integer weights, plus bias: stem, shortcut and head (both 1x1).

    values (N, H, W, Cin), weights (Cout, k, k, Cin) odd integers that the RTL holds as planes of +-1
    (`export.layout` and `abbnn_sum_array`), bias (Cout,). `bound` as in `dot`, proven by range analysis.
    """
    return convolve(values, weights, stride, bound) + bias


def scale(sums: Integers, sign: Integers, shift: Integers, guard: int, width: int, bits: int = 64) -> Integers:
    """Per-channel factor as T signed powers of two: saturate((sum over t of sign_t * (sums << shift_t)) >> guard).

    sums (..., C); sign (C, T) in {-1, 0, 1}, shift (C, T) >= 0: the factor is sum(sign_t * 2**(shift_t - guard)).
    Shifts to the left are exact, so the T terms are one product here.
    """
    kind = integer_type(bits)
    multiplier = (sign.astype(kind) << shift.astype(kind)).sum(axis=1, dtype=kind)
    total = sums.astype(kind, copy=False) * multiplier
    return saturate(total >> guard, width)


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
    shifted = ((sums + add_before) << np.maximum(exponent, 0)) >> np.maximum(-exponent, 0)
    return saturate(_select(sums >= threshold, sums + add_positive, shifted + add_after), width)


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
