"""The arithmetic of every RTL block on exact integers, one function a module of the same name.

Maps are (N, H, W, C) integer arrays. Fixed-point values are signed, W bits with F fraction bits. Right shifts are
arithmetic: they round towards minus infinity. Values that leave W bits saturate, and only in `saturate`.
`golden.plain` holds the slow twin of these functions that uses adds, bit operations and shifts alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.integer[Any]]

EXACT_FLOAT32 = 1 << 24
EXACT_FLOAT64 = 1 << 53


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
    return (values >= thresholds).astype(np.uint8)


def window(maps: Integers, kernel: int, stride: int) -> Integers:
    """Sliding windows with zero padding of kernel // 2: (N, H, W, C) -> (N, OH, OW, kernel, kernel, C)."""
    pad = kernel // 2
    padded = np.pad(maps, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
    return views[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)


def dot(vectors: Integers, weights: Integers, bound: int) -> Integers:
    """Exact integer product (..., D) x (C, D) -> (..., C) through BLAS.

    `bound` is the greatest magnitude of any sum of |products|: below 2**24 float32 holds every partial sum exactly,
    below 2**53 float64 does; beyond that it is a ValueError.
    """
    if bound >= EXACT_FLOAT64:
        raise ValueError(f"sums up to {bound} are not exact in float64")
    kind = np.float32 if bound < EXACT_FLOAT32 else np.float64
    flat = np.ascontiguousarray(vectors.reshape(-1, vectors.shape[-1]), dtype=kind)
    product = flat @ np.ascontiguousarray(weights.T, dtype=kind)
    sums: Integers = product.astype(np.int64).reshape(*vectors.shape[:-1], len(weights))
    return sums


def xnor_conv(bits: NDArray[np.uint8], weights: NDArray[np.uint8], stride: int) -> Integers:
    """Padded binary convolution: sum over the valid taps of (+-1)(+-1) = 2 * popcount(xnor) - valid.

    bits (N, H, W, Cin) and weights (Cout, k, k, Cin) hold 1 for +1 and 0 for -1; a padded tap adds 0.
    """
    kernel, channels = weights.shape[1], weights.shape[3]
    signs = 2 * bits.astype(np.int8) - 1
    windows = window(signs, kernel, stride)
    fan_in = kernel * kernel * channels
    return dot(
        windows.reshape(*windows.shape[:3], fan_in),
        2 * weights.reshape(len(weights), fan_in).astype(np.int8) - 1,
        fan_in,
    )


def sum_conv(values: Integers, weights: Integers, bias: Integers, stride: int, bound: int) -> Integers:
    """Padded convolution of multi-bit values with integer weights, plus bias: stem, shortcut and head (both 1x1).

    values (N, H, W, Cin), weights (Cout, k, k, Cin) odd integers that the RTL holds as planes of +-1
    (`export.layout` and `abbnn_sum_array`), bias (Cout,). `bound` as in `dot`, proven by range analysis.
    """
    kernel, fan_in = weights.shape[1], int(np.prod(weights.shape[1:]))
    windows = window(values, kernel, stride)
    return dot(windows.reshape(*windows.shape[:3], fan_in), weights.reshape(len(weights), fan_in), bound) + bias


def scale(sums: Integers, sign: Integers, shift: Integers, guard: int, width: int) -> Integers:
    """Per-channel factor as T signed powers of two: saturate((sum over t of sign_t * (sums << shift_t)) >> guard).

    sums (..., C); sign (C, T) in {-1, 0, 1}, shift (C, T) >= 0: the factor is sum(sign_t * 2**(shift_t - guard)).
    """
    total = np.zeros(sums.shape, np.int64)
    for term in range(sign.shape[1]):
        total += sign[:, term].astype(np.int64) * (sums.astype(np.int64) << shift[:, term].astype(np.int64))
    return saturate(total >> guard, width)


def qprelu(
    sums: Integers,
    threshold: Integers,
    add_positive: Integers,
    add_before: Integers,
    exponent: Integers,
    add_after: Integers,
    width: int,
) -> Integers:
    """Biases and quantized PReLU in one form that covers the official code and the paper's Eq. 8; saturates to `width`.

    y >= threshold ? y + add_positive : shift(y + add_before, exponent) + add_after, where shift is << exponent for
    exponent >= 0 and the arithmetic >> -exponent below. All fields are (C,). The official code's
    z = y + b1; (z >= 0 ? z : 2**a * z) + b2 is (-b1, b1 + b2, b1, a, b2).
    """
    sums = sums.astype(np.int64)
    exponent = exponent.astype(np.int64)
    inner = sums + add_before
    shifted = (inner << np.maximum(exponent, 0)) >> np.maximum(-exponent, 0)
    return saturate(np.where(sums >= threshold, sums + add_positive, shifted + add_after), width)


def pool(values: Integers) -> Integers:
    """2x2 average, stride 2: the sum of four, shifted right by 2."""
    n, height, width, channels = values.shape
    quads = values.reshape(n, height // 2, 2, width // 2, 2, channels).astype(np.int64)
    average: Integers = quads.sum(axis=(2, 4)) >> 2
    return average


def gap(values: Integers, shift: int) -> Integers:
    """Global sum, shifted right: (N, H, W, C) -> (N, C). A divisor beyond the shift is in the head's weights."""
    total: Integers = values.astype(np.int64).sum(axis=(1, 2))
    return total >> shift


def argmax(scores: Integers) -> Integers:
    """Index of the greatest score, the lowest index among equals: (N, classes) -> (N,)."""
    greatest: Integers = np.argmax(scores, axis=-1)
    return greatest
