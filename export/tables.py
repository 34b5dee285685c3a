"""The words of every table memory, in the layouts that docs/modules.md specifies.

Each function returns lists of unsigned words for `export.layout.mem_text`; the widths of the words follow from the
arguments as their docstrings say. Lane 0 (or PE 0) is always in the least significant bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbnn.errors import UserError
from abbnn.export.layout import pack, pack_fields
from abbnn.golden.ops import Integers, value_range

BORDER_CLASSES = 9


def _groups(values: NDArray[Any], lanes: int) -> NDArray[Any]:
    """(C, ...) -> (C / lanes, lanes, ...): a table's word g holds channels g * lanes and up."""
    if len(values) % lanes:
        raise UserError(f"{lanes} lanes do not divide {len(values)} channels")
    return values.reshape(-1, lanes, *values.shape[1:])


def _signed(values: Integers, width: int) -> Integers:
    """`values`, if they can be read back as signed `width`-bit fields: `pack` itself takes unsigned ones as well."""
    low, high = value_range(width)
    if values.size and (values.min() < low or values.max() > high):
        raise UserError(f"values {values.min()}..{values.max()} do not fit signed {width} bits")
    return values


def _wrap(values: Integers, width: int) -> Integers:
    """Modulo 2**width into the signed range: addends of a sum whose result is proven to fit may wrap on the way."""
    half = 1 << (width - 1)
    return ((values + half) & ((1 << width) - 1)) - half


def compare_table(thresholds: Integers, lanes: int, value_width: int) -> list[int]:
    """Words of lanes * value_width bits."""
    return pack(_groups(_signed(thresholds, value_width), lanes), value_width)


def scale_table(sign: Integers, shift: Integers, lanes: int, shift_width: int) -> list[int]:
    """sign, shift (C, T) as in `golden.ops.scale`: words of lanes * T * (shift_width + 2) bits."""
    shift = np.where(sign != 0, shift, 0)
    if shift.max() >= 1 << shift_width:
        raise UserError(f"a shift of {shift.max()} does not fit {shift_width} bits")
    columns: list[tuple[NDArray[Any], int]] = []
    for term in range(sign.shape[1]):
        columns += [(shift[:, term], shift_width), (sign[:, term] < 0, 1), (sign[:, term] != 0, 1)]
    entries, width = pack_fields(columns)
    return pack(_groups(entries, lanes), width)


def qprelu_table(
    threshold: Integers,
    add_positive: Integers,
    add_before: Integers,
    exponent: Integers,
    add_after: Integers,
    lanes: int,
    field_width: int,
    left_max: int,
    shift_width: int,
) -> list[int]:
    """Fields (C,) as in `golden.ops.qprelu`: words of lanes * (4 * field_width + shift_width) bits."""
    amount = left_max - exponent.astype(np.int64)
    if amount.min() < 0 or amount.max() >= 1 << shift_width:
        raise UserError(f"exponents {exponent.min()}..{exponent.max()} leave the shifter's range")
    fields = (threshold, add_positive, add_before, add_after)
    entries, width = pack_fields(
        [*((_signed(field, field_width), field_width) for field in fields), (amount, shift_width)]
    )
    return pack(_groups(entries, lanes), width)


def fan_in_order(weights: NDArray[Any], simd: int) -> NDArray[Any]:
    """Order a (Cout, k, k, Cin) kernel as the window emits its fan-in: (Cout, SIMD_FOLD, SIMD).

    simd = k * k * lanes; beat = channel group, element = (kernel row * k + kernel column) * lanes + lane.
    """
    out_channels, kernel, _, channels = weights.shape
    taps = kernel * kernel
    if simd % taps or channels % (simd // taps):
        raise UserError(f"SIMD {simd} is not {taps} taps times a divisor of {channels} channels")
    lanes = simd // taps
    grouped = weights.reshape(out_channels, taps, channels // lanes, lanes)
    return grouped.transpose(0, 2, 1, 3).reshape(out_channels, channels // lanes, simd)


def border_taps(height: int, width: int, kernel: int, stride: int) -> NDArray[np.bool_]:
    """Which taps of a padded kernel are valid in each border class: (9, kernel, kernel).

    class = row class * 3 + column class; 0 is the first row (column), else 2 the last, else 1.
    """

    def valid(size: int) -> NDArray[np.bool_]:
        out, pad = -(-size // stride), kernel // 2
        representatives = [0, 1 if out > 2 else 0, out - 1 if out > 1 else 0]
        taps = np.array(representatives)[:, None] * stride - pad + np.arange(kernel)
        return (taps >= 0) & (taps < size)

    if kernel > 3:
        raise UserError("a kernel of more than 3 has more than three border classes a side")
    rows, columns = valid(height), valid(width)
    return (rows[:, None, :, None] & columns[None, :, None, :]).reshape(BORDER_CLASSES, kernel, kernel)


def xnor_array_tables(
    weights: NDArray[np.uint8], sum_width: int, pe: int, simd: int, height: int, width: int, stride: int
) -> tuple[list[int], list[int]]:
    """Weight words (pe * simd bits) and correction words (pe * sum_width bits) of a (Cout, k, k, Cin) binary kernel.

    (height, width) are those of the input map. sum = 2 * popcount + correction. Padded bits are 0, so that a padded
    tap adds (weight == -1) to the popcount instead of nothing: correction = -valid taps - 2 * (-1 weights on padded
    taps). A 1x1 kernel has one class, a 3x3 kernel nine (`border_taps`).
    """
    _, kernel, _, channels = weights.shape
    ordered = fan_in_order(weights, simd)
    folds = _groups(ordered, pe).transpose(0, 2, 1, 3)
    weight_words = pack(folds.reshape(-1, pe * simd), 1)
    valid = border_taps(height, width, kernel, stride) if kernel > 1 else np.ones((1, 1, 1), np.bool_)
    minus = (weights == 0).sum(axis=3)
    on_padding = np.einsum("ckl,bkl->bc", minus, ~valid)
    correction = -channels * valid.sum(axis=(1, 2))[:, None] - 2 * on_padding
    correction_words = pack(_wrap(correction, sum_width).reshape(-1, pe), sum_width)
    return weight_words, correction_words


def weight_planes(weights: Integers, planes: int) -> NDArray[np.uint8]:
    """Odd integers in +-(2**planes - 1) as planes of +-1, most significant first: (..., planes), 1 for +1.

    w = sum over b of 2**b * s_b, so that (w + 2**planes - 1) / 2 is the number whose bits are the planes.
    """
    limit = (1 << planes) - 1
    if np.any(weights % 2 == 0) or np.abs(weights).max(initial=0) > limit:
        raise UserError(f"weights must be odd and within +-{limit}")
    code = (weights.astype(np.int64) + limit) >> 1
    return ((code[..., None] >> np.arange(planes)[::-1]) & 1).astype(np.uint8)


def sum_array_tables(
    weights: Integers, bias: Integers, planes: int, pe: int, simd: int, sum_width: int
) -> tuple[list[int], list[int]]:
    """Weight words (pe * simd bits) and bias words (pe * sum_width bits) of a (Cout, k, k, Cin) kernel of odd integers.

    The bias word takes in what `abbnn_signed_sum` leaves out: 1 for each -1 on the lanes 1, 3, 5, ... and simd - 1.
    """
    ordered = weight_planes(fan_in_order(weights, simd), planes)  # (Cout, SIMD_FOLD, SIMD, planes)
    folds = _groups(ordered, pe).transpose(0, 4, 2, 1, 3)
    weight_words = pack(folds.reshape(-1, pe * simd), 1)
    lane = np.arange(simd)
    counted = (lane % 2 == 1) | (lane == simd - 1)
    minus = (ordered[:, :, counted] == 0).sum(axis=(1, 2)) @ (1 << np.arange(planes, dtype=np.int64)[::-1])
    bias_words = pack(_groups(_wrap(bias.astype(np.int64) + minus, sum_width), pe), sum_width)
    return weight_words, bias_words
