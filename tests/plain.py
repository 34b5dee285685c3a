"""The slow twin of `golden.ops` and `golden.model`: one image, Python integers, the hardware's arithmetic.

Additions, subtractions, comparisons, bit operations and shifts are all there is. A map is a list of rows of pixels of
channels, a kernel a list of output channels of rows of taps of input channels; Python's integers are unbounded, so that
nothing here can overflow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbnn.golden.model import layer_names
from abbnn.golden.network import BlockNumbers, IntegerNetwork, Scale, SumLayer
from abbnn.golden.structure import Block, block_name

Vector = list[int]
Map = list[list[Vector]]
Kernel = list[list[list[Vector]]]


def saturate(value: int, width: int) -> int:
    """Clamp to signed `width` bits."""
    limit = 1 << (width - 1)
    if value >= limit:
        return limit - 1
    if value < -limit:
        return -limit
    return value


def compare(values: Map, thresholds: Vector) -> Map:
    """Bit 1 (+1) where a value reaches its channel's threshold, else 0 (-1)."""
    return [
        [[1 if value >= least else 0 for value, least in zip(pixel, thresholds, strict=True)] for pixel in row]
        for row in values
    ]


def _taps(maps: Map, kernel: int, row: int, column: int) -> Iterator[tuple[int, int, Vector]]:
    """(kernel row, kernel column, pixel) of the taps around (row, column) that lie in the map: padding is skipped."""
    pad = kernel >> 1
    for kernel_row in range(kernel):
        for kernel_column in range(kernel):
            y, x = row + kernel_row - pad, column + kernel_column - pad
            if 0 <= y < len(maps) and 0 <= x < len(maps[0]):
                yield kernel_row, kernel_column, maps[y][x]


def xnor_conv(bits: Map, weights: Kernel, stride: int) -> Map:
    """2 * popcount(activation xnor weight) - valid lanes: the agreeing lanes minus the others."""

    def output(filters: list[list[Vector]], row: int, column: int) -> int:
        popcount = valid = 0
        for kernel_row, kernel_column, pixel in _taps(bits, len(filters), row, column):
            for bit, weight in zip(pixel, filters[kernel_row][kernel_column], strict=True):
                popcount += 1 ^ bit ^ weight
                valid += 1
        return (popcount << 1) - valid

    return [
        [[output(filters, row, column) for filters in weights] for column in range(0, len(bits[0]), stride)]
        for row in range(0, len(bits), stride)
    ]


def sum_conv(values: Map, weights: Kernel, bias: Vector, stride: int, planes: int) -> Map:
    """Convolution with odd weights as planes of +-1, the most significant first; the sum doubles from plane to plane.

    Bit b of (weight + 2**planes - 1) / 2 is 1 where plane b adds its value 2**b times, 0 where it subtracts.
    """
    limit = (1 << planes) - 1

    def output(filters: list[list[Vector]], row: int, column: int) -> int:
        total = 0
        for plane in reversed(range(planes)):
            total <<= 1
            for kernel_row, kernel_column, pixel in _taps(values, len(filters), row, column):
                for value, weight in zip(pixel, filters[kernel_row][kernel_column], strict=True):
                    code = (weight + limit) >> 1
                    total += value if (code >> plane) & 1 else -value
        return total

    return [
        [
            [output(filters, row, column) + add for filters, add in zip(weights, bias, strict=True)]
            for column in range(0, len(values[0]), stride)
        ]
        for row in range(0, len(values), stride)
    ]


def scale(sums: Map, sign: list[Vector], shift: list[Vector], guard: int, width: int | None = None) -> Map:
    """Each channel's signed powers of two: add or subtract the sum shifted left, drop the guard bits, saturate.

    `width` None: nothing saturates, because the result is as wide as it needs to be.
    """

    def output(value: int, signs: Vector, shifts: Vector) -> int:
        total = 0
        for way, amount in zip(signs, shifts, strict=True):
            if way > 0:
                total += value << amount
            elif way < 0:
                total -= value << amount
        return total >> guard if width is None else saturate(total >> guard, width)

    return [[[output(*terms) for terms in zip(pixel, sign, shift, strict=True)] for pixel in row] for row in sums]


def add(left: Map, right: Map) -> Map:
    """The residual: value by value."""
    return [
        [[a + b for a, b in zip(*pixels, strict=True)] for pixels in zip(*rows, strict=True)]
        for rows in zip(left, right, strict=True)
    ]


def qprelu(
    sums: Map,
    threshold: Vector,
    add_positive: Vector,
    add_before: Vector,
    exponent: Vector,
    add_after: Vector,
    width: int,
) -> Map:
    """y >= threshold ? y + add_positive : shift(y + add_before) + add_after; exponent > 0 shifts left. Saturates."""

    def output(value: int, least: int, positive: int, before: int, power: int, after: int) -> int:
        if value >= least:
            return saturate(value + positive, width)
        inner = value + before
        return saturate((inner << power if power > 0 else inner >> -power) + after, width)

    fields = (threshold, add_positive, add_before, exponent, add_after)
    return [[[output(*values) for values in zip(pixel, *fields, strict=True)] for pixel in row] for row in sums]


def prelu(values: Map, sign: list[Vector], shift: list[Vector], guard: int, width: int) -> Map:
    """Values from 0 up pass, the others are scaled; both saturate."""
    scaled = scale(values, sign, shift, guard, width)
    return [
        [
            [saturate(v, width) if v >= 0 else s for v, s in zip(pixel, other, strict=True)]
            for pixel, other in zip(row, others, strict=True)
        ]
        for row, others in zip(values, scaled, strict=True)
    ]


def repeat(values: Map) -> Map:
    """Each pixel's channels twice, one copy behind the other."""
    return [[pixel + pixel for pixel in row] for row in values]


def subsample(values: Map) -> Map:
    """Every second pixel of every second row, from the first on."""
    return [row[::2] for row in values[::2]]


def max_pool(values: Map) -> Map:
    """Greatest of each channel in 3x3 windows of stride 2, padded by 1; taps outside the map do not count."""

    def greatest(row: int, column: int) -> Vector:
        taps = [pixel for _, _, pixel in _taps(values, 3, row, column)]
        return [max(channel) for channel in zip(*taps, strict=True)]

    return [[greatest(row, column) for column in range(0, len(values[0]), 2)] for row in range(0, len(values), 2)]


def pool(values: Map) -> Map:
    """2x2 average, stride 2: the sum of four, shifted right by 2."""
    return [
        [[(a + b + c + d) >> 2 for a, b, c, d in zip(*quad, strict=True)] for quad in _quads(upper, lower)]
        for upper, lower in zip(values[0::2], values[1::2], strict=True)
    ]


def _quads(upper: list[Vector], lower: list[Vector]) -> Iterator[tuple[Vector, Vector, Vector, Vector]]:
    return zip(upper[0::2], upper[1::2], lower[0::2], lower[1::2], strict=True)


def gap(values: Map, shift: int) -> Vector:
    """Global sum over all positions, shifted right."""
    totals = [0 for _ in values[0][0]]
    for row in values:
        for pixel in row:
            totals = [total + value for total, value in zip(totals, pixel, strict=True)]
    return [total >> shift for total in totals]


def argmax(scores: Vector) -> int:
    """Index of the greatest score: a later one must be greater to replace it."""
    best = 0
    for index, score in enumerate(scores):
        if score > scores[best]:
            best = index
    return best


def _scaled_sums(values: Map, layer: SumLayer, factors: Scale, stride: int, width: int | None) -> Map:
    sums = sum_conv(values, layer.weights.tolist(), layer.bias.tolist(), stride, layer.planes)
    return _scaled(sums, factors, width)


def _scaled(sums: Map, factors: Scale, width: int | None) -> Map:
    return scale(sums, factors.sign.tolist(), factors.shift.tolist(), factors.guard, width)


def _prelu(values: Map, slopes: Scale, width: int) -> Map:
    return prelu(values, slopes.sign.tolist(), slopes.shift.tolist(), slopes.guard, width)


def _residual(geometry: Block, numbers: BlockNumbers, values: Map) -> Map:
    if geometry.shortcut == "identity":
        return values
    if geometry.shortcut == "repeat":
        return repeat(values)
    values = subsample(values) if geometry.shortcut == "conv" else pool(values)
    if numbers.shortcut is None or numbers.shortcut_scale is None:
        return values
    return _scaled_sums(values, numbers.shortcut, numbers.shortcut_scale, 1, None)


def _activate(numbers: BlockNumbers, sums: Map, width: int) -> Map:
    act = numbers.activation
    if act is not None:
        fields = (act.threshold, act.add_positive, act.add_before, act.exponent, act.add_after)
        threshold, positive, before, exponent, after = (field.tolist() for field in fields)
        return qprelu(sums, threshold, positive, before, exponent, after, width)
    if numbers.prelu is not None:
        return _prelu(sums, numbers.prelu, width)
    return [[[saturate(value, width) for value in pixel] for pixel in row] for row in sums]


def forward(network: IntegerNetwork, image: NDArray[np.uint8]) -> dict[str, Any]:
    """`golden.model.forward` for one (H, W, 3) image: the same layers as nested lists, `class` as an integer.

    It knows nothing of range analysis: only the values between the blocks saturate, everything else has all its bits.
    """
    structure, width = network.structure, network.value_width
    center = network.center.tolist()
    pixels = [[[v - c for v, c in zip(pixel, center, strict=True)] for pixel in row] for row in image.tolist()]
    found: dict[str, Any] = {}
    values = _scaled_sums(pixels, network.stem, network.stem_scale, structure.stem.stride, width)
    found["stem.conv"] = values
    if network.stem_prelu is not None:
        values = found["stem.prelu"] = _prelu(values, network.stem_prelu, width)
    if structure.stem.max_pool:
        values = max_pool(values)
    found["stem"] = values
    for index, (geometry, numbers) in enumerate(zip(structure.blocks, network.blocks, strict=True)):
        name = block_name(index)
        bits = compare(values, numbers.threshold.tolist())
        conv = found[f"{name}.conv"] = xnor_conv(bits, numbers.weights.tolist(), geometry.stride)
        residual = found[f"{name}.shortcut"] = _residual(geometry, numbers, values)
        values = found[name] = _activate(numbers, add(_scaled(conv, numbers.scale, None), residual), width)
    pooled = found["pool"] = gap(values, network.pool_shift)
    head = network.head
    scores = found["scores"] = sum_conv([[pooled]], head.weights.tolist(), head.bias.tolist(), 1, head.planes)[0][0]
    found["class"] = argmax(scores)
    return {name: found[name] for name in layer_names(structure)}
