"""Range analysis: intervals that hold for ANY image, by interval arithmetic a channel through the frozen integers.

Sums never overflow: their widths are taken from these intervals. Values between blocks have a fixed width and saturate
where their interval is wider; `Ranges.can_saturate` says where that is possible at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abbnn.errors import UserError
from abbnn.golden.network import PIXEL_BITS, Activation, IntegerNetwork, Scale, SumLayer
from abbnn.golden.ops import Integers, qprelu, value_range
from abbnn.golden.structure import block_name

SCORE_WIDTH_MAX = 32
EXACT_BITS = 62
"""What NumPy's 64 bits hold with a sign to spare."""


@dataclass(frozen=True, eq=False)
class Interval:
    """Inclusive bounds a channel."""

    low: Integers
    high: Integers

    @property
    def bits(self) -> int:
        """Signed bits that hold both bounds of every channel; at least 2, the narrowest that the RTL takes."""
        return max(2, signed_bits(int(self.low.min()), int(self.high.max())))

    @property
    def magnitude(self) -> int:
        return max(abs(int(self.low.min())), abs(int(self.high.max())))

    def clip(self, width: int) -> Interval:
        low, high = value_range(width)
        return Interval(np.clip(self.low, low, high), np.clip(self.high, low, high))

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high)


@dataclass(frozen=True)
class SumRange:
    """A sum layer or binary convolution and the scale behind it.

    `sum` holds the raw sums, `products` (in bits) every partial sum of the shifted terms, `scaled` the result before it
    saturates; `sum_bound` bounds the sum of |products| of one output, for exact BLAS.
    """

    sum: Interval
    sum_bound: int
    products_bits: int
    scaled: Interval


@dataclass(frozen=True)
class BlockRange:
    conv: SumRange
    shortcut: SumRange | None
    added_bits: int
    """Width of abbnn_add's result: the wider operand and one bit more."""
    field_bits: int
    """Width of a QPReLU's fields: holds each of them, and is no narrower than the sum it is compared with; else 1."""
    activation_bits: int
    """Holds every number inside the QPReLU, before it saturates; without one the sum alone."""
    prelu: SumRange | None
    """Of a PReLU, with the adder's result as its sums."""
    output: Interval
    """Before saturation."""


@dataclass(frozen=True)
class Ranges:
    stem: SumRange
    stem_prelu: SumRange | None
    blocks: tuple[BlockRange, ...]
    pool: Interval
    pool_bits: int
    scores: Interval
    head_bound: int
    can_saturate: tuple[str, ...]
    """Layers whose interval leaves the value width, so that some image might saturate there."""


def signed_bits(low: int, high: int) -> int:
    """Bits of the narrowest two's complement number that holds low..high.

    >>> signed_bits(-128, 127), signed_bits(0, 128), signed_bits(-129, 0), signed_bits(0, 0)
    (8, 9, 9, 1)
    """
    return 1 + max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0)


def _check_bits(where: str, bits: int) -> None:
    if bits > EXACT_BITS:
        raise UserError(f"{where} needs {bits} bits, {EXACT_BITS} are there")


def _sum_range(where: str, layer: SumLayer, values: Interval, scale: Scale | None) -> SumRange:
    weights = layer.weights.astype(np.int64)
    fan_in = tuple(range(1, weights.ndim))
    positive, negative = np.maximum(weights, 0), np.minimum(weights, 0)
    # A padded tap adds 0: take 0 into the inputs' intervals where the kernel can stand on padding.
    low, high = values.low, values.high
    if weights.shape[1] > 1:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    sums = Interval(
        (positive * low + negative * high).sum(axis=fan_in) + layer.bias,
        (positive * high + negative * low).sum(axis=fan_in) + layer.bias,
    )
    bound = int((np.abs(weights) * np.maximum(np.abs(low), np.abs(high))).sum(axis=fan_in).max())
    return _scaled_range(where, sums, bound, scale)


def _scaled_range(where: str, sums: Interval, bound: int, scale: Scale | None) -> SumRange:
    if scale is None:
        return SumRange(sums, bound, sums.bits, sums)
    reach = np.maximum(np.abs(sums.low), np.abs(sums.high))
    largest = max(a * b for a, b in zip(reach.tolist(), scale.magnitude.tolist(), strict=True))
    products_bits = max(sums.bits, signed_bits(-largest, largest))
    _check_bits(where, products_bits)
    ends = (sums.low * scale.multiplier) >> scale.guard, (sums.high * scale.multiplier) >> scale.guard
    return SumRange(sums, bound, products_bits, Interval(np.minimum(*ends), np.maximum(*ends)))


def _activation_range(activation: Activation, sums: Interval) -> Interval:
    """Both branches are monotone in y, so their ends bound them; a branch that no y reaches does not count."""
    unlimited = 62
    fields = (
        activation.threshold,
        activation.add_positive,
        activation.add_before,
        activation.exponent,
        activation.add_after,
    )
    threshold = activation.threshold.astype(np.int64)
    ends = [
        qprelu(point, *fields, unlimited)
        for point in (
            sums.low,
            sums.high,
            np.clip(threshold, sums.low, sums.high),
            np.clip(threshold - 1, sums.low, sums.high),
        )
    ]
    return Interval(np.minimum.reduce(ends), np.maximum.reduce(ends))


def _prelu_range(where: str, slopes: Scale, values: Interval, bits: int) -> SumRange:
    """A PReLU on `bits`-bit values: above 0 its factor is 1, so that the guard bits are shifted in there too."""
    scaled = _scaled_range(where, values, 0, slopes)
    products_bits = max(bits + slopes.guard, scaled.products_bits)
    _check_bits(where, products_bits)
    points = [np.clip(point, values.low, values.high) for point in (values.low, values.high, -1, 0)]
    ends = [np.where(p >= 0, p, p * slopes.multiplier >> slopes.guard) for p in points]
    return SumRange(values, 0, products_bits, Interval(np.minimum.reduce(ends), np.maximum.reduce(ends)))


def analyse(network: IntegerNetwork) -> Ranges:
    """Intervals of every sum and value of `network`.

    UserError if the scores cannot be held in 32 bits, or if anything might leave the 64 bits of the golden model.
    """
    width = network.value_width
    saturates = []
    center = network.center.astype(np.int64)
    pixels = Interval(-center, (1 << PIXEL_BITS) - 1 - center)
    stem = _sum_range("stem", network.stem, pixels, network.stem_scale)
    if stem.scaled.bits > width:
        saturates.append("stem")
    values = stem.scaled.clip(width)
    stem_prelu = None
    if network.stem_prelu is not None:
        stem_prelu = _prelu_range("stem.prelu", network.stem_prelu, values, width)
        if stem_prelu.scaled.bits > width:
            saturates.append("stem.prelu")
        values = stem_prelu.scaled.clip(width)
    blocks = []
    for index, (geometry, numbers) in enumerate(zip(network.structure.blocks, network.blocks, strict=True)):
        out_channels, fan_in = len(numbers.weights), int(np.prod(numbers.weights.shape[1:]))
        limit = np.full(out_channels, fan_in, np.int64)
        name = block_name(index)
        conv = _scaled_range(f"{name}.conv", Interval(-limit, limit), fan_in, numbers.scale)
        shortcut = prelu = None
        residual, residual_bits = values, width
        if geometry.shortcut == "repeat":
            residual = Interval(np.tile(values.low, 2), np.tile(values.high, 2))
        if numbers.shortcut is not None:
            # The 2x2 average of values in an interval stays in it.
            shortcut = _sum_range(f"{name}.shortcut", numbers.shortcut, values, numbers.shortcut_scale)
            residual, residual_bits = shortcut.scaled, shortcut.scaled.bits
        added_bits = max(conv.scaled.bits, residual_bits) + 1
        sums = output = conv.scaled + residual
        field_bits, activation_bits = 1, added_bits
        if numbers.activation is not None:
            act = numbers.activation
            fields = (act.threshold, act.add_positive, act.add_before, act.add_after)
            field_bits = max(added_bits, *(signed_bits(int(f.min()), int(f.max())) for f in fields))
            # One bit for either addition, around the shift.
            activation_bits = field_bits + 1 + max(0, int(act.exponent.max())) + 1
            _check_bits(name, activation_bits)
            output = _activation_range(act, sums)
        if numbers.prelu is not None:
            prelu = _prelu_range(name, numbers.prelu, sums, added_bits)
            output = prelu.scaled
        if output.bits > width:
            saturates.append(name)
        blocks.append(BlockRange(conv, shortcut, added_bits, field_bits, activation_bits, prelu, output))
        values = output.clip(width)
    height, columns, _ = network.structure.head_input
    positions = height * columns
    pool = Interval(values.low * positions >> network.pool_shift, values.high * positions >> network.pool_shift)
    pool_bits = width + (positions - 1).bit_length() - network.pool_shift
    head = _sum_range("head", network.head, pool, None)
    if head.sum.bits > SCORE_WIDTH_MAX:
        raise UserError(f"scores need {head.sum.bits} bits, {SCORE_WIDTH_MAX} are there: lower the head's weight bits")
    return Ranges(stem, stem_prelu, tuple(blocks), pool, pool_bits, head.sum, head.sum_bound, tuple(saturates))
