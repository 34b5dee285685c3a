"""Bit-exact inference: every layer's output of a frozen network, vectorised over images."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from abbnn.errors import UserError
from abbnn.golden import ops
from abbnn.golden.network import BlockNumbers, IntegerNetwork, Scale, SumLayer
from abbnn.golden.ops import Integers
from abbnn.golden.ranges import BlockRange, Ranges, SumRange, analyse
from abbnn.golden.structure import Block, Structure, block_name

Layers = dict[str, Integers]

BATCH_VALUES = 1 << 20
"""Values in the greatest map of a batch, about: few enough to stay near the caches."""
BATCH_IMAGES = (4, 32)
"""Fewer read each weight too often, more gain nothing."""


def layer_names(structure: Structure) -> list[str]:
    """Names of `forward`'s layers in the order of the pipeline."""
    stem = structure.stem
    names = ["stem"]
    if stem.prelu or stem.max_pool:
        names = ["stem.conv", "stem.prelu", "stem"] if stem.prelu and stem.max_pool else ["stem.conv", "stem"]
    for index, block in enumerate(structure.blocks):
        name = block_name(index)
        names.append(f"{name}.conv")
        if block.shortcut not in ("identity", "repeat"):
            names.append(f"{name}.shortcut")
        names.append(name)
    return [*names, "pool", "scores", "class"]


def saturating_layers(structure: Structure) -> list[str]:
    """Names of the layers whose values have saturated where they left the value width."""
    return [name for name in layer_names(structure) if name.startswith("stem") or "." not in name][:-3]


def _scaled(sums: Integers, factors: Scale, width: int | None, bits: int) -> Integers:
    return ops.scale(sums, factors.sign, factors.shift, factors.guard, width, bits)


def _prelu(values: Integers, slopes: Scale, width: int, bounds: SumRange | None) -> Integers:
    assert bounds is not None
    return ops.prelu(values, slopes.sign, slopes.shift, slopes.guard, width, bounds.products_bits)


class _SumConv:
    """A sum layer with its weights in the float type that `ops.dot` multiplies them in."""

    def __init__(self, layer: SumLayer, bound: int) -> None:
        self.weights = layer.weights.astype(ops.float_type(bound))
        self.bias = layer.bias
        self.bound = bound

    def __call__(self, values: Integers, stride: int = 1) -> Integers:
        return ops.sum_conv(values, self.weights, self.bias, stride, self.bound)


class Model:
    """A network prepared for any number of batches, in any number of threads.

    Its weights are copied: a network that is changed afterwards needs another Model.
    """

    def __init__(self, network: IntegerNetwork, ranges: Ranges | None = None) -> None:
        self.network = network
        self.ranges = ranges = ranges or analyse(network)
        self._stem = _SumConv(network.stem, ranges.stem.sum_bound)
        self._head = _SumConv(network.head, ranges.head_bound)
        self._convs = [ops.signs(numbers.weights).astype(np.float32) for numbers in network.blocks]
        self._shortcuts = [
            _SumConv(numbers.shortcut, bounds.shortcut.sum_bound) if numbers.shortcut and bounds.shortcut else None
            for numbers, bounds in zip(network.blocks, ranges.blocks, strict=True)
        ]

    @property
    def batch_size(self) -> int:
        """Images in a batch that runs fast and in little memory."""
        structure = self.network.structure
        height, width = structure.stem_conv_output
        maps = [height * width * structure.stem.out_channels]
        maps += [block.out_height * block.out_width * block.out_channels for block in structure.blocks]
        return int(np.clip(BATCH_VALUES // max(maps), *BATCH_IMAGES))

    def layers(self, images: NDArray[np.uint8]) -> Iterator[tuple[str, Integers]]:
        """`forward`'s layers one after the other, each with its name; none is kept here beyond its use."""
        structure = self.network.structure
        expected = (structure.height, structure.width, structure.stem.in_channels)
        if images.dtype != np.uint8 or images.shape[1:] != expected or not len(images):
            wanted = f"uint8(N, {', '.join(map(str, expected))})"
            raise UserError(f"images are {images.dtype}{images.shape}, expected {wanted}")
        names = set(layer_names(structure))
        return ((name, values) for name, values in self._steps(images) if name in names)

    def _steps(self, images: NDArray[np.uint8]) -> Iterator[tuple[str, Integers]]:
        """Everything that has a name in some network; a name that only repeats what the next one gives is no layer."""
        network, width = self.network, self.network.value_width
        values = yield from self._stem_steps(images)
        for index, (geometry, numbers, bounds) in enumerate(
            zip(network.structure.blocks, network.blocks, self.ranges.blocks, strict=True)
        ):
            name = block_name(index)
            bits = ops.compare(values, numbers.threshold.astype(values.dtype))
            conv = ops.sign_conv(bits, self._convs[index], geometry.stride)
            yield f"{name}.conv", conv
            residual = _residual(geometry, numbers, bounds, values, self._shortcuts[index])
            yield f"{name}.shortcut", residual
            values = ops.in_chunks(partial(_added, numbers, bounds, width), conv, residual)
            yield name, values
        pooled = ops.gap(values, network.pool_shift)
        yield "pool", pooled
        scores = self._head(pooled[:, None, None]).reshape(len(images), -1)
        yield "scores", scores
        yield "class", ops.argmax(scores)

    def _stem_steps(self, images: NDArray[np.uint8]) -> Generator[tuple[str, Integers], None, Integers]:
        """The stem's part of `_steps`; returns the last of them."""
        network, ranges, width = self.network, self.ranges, self.network.value_width
        stem = network.structure.stem
        sums = self._stem(images.astype(np.int16) - network.center.astype(np.int16), stem.stride)
        bits = ranges.stem.products_bits
        values = ops.in_chunks(lambda part: _values(_scaled(part, network.stem_scale, width, bits)), sums)
        yield "stem.conv", values
        if network.stem_prelu is not None:
            values = _values(_prelu(values, network.stem_prelu, width, ranges.stem_prelu))
            yield "stem.prelu", values
        if stem.max_pool:
            values = ops.max_pool(values)
        yield "stem", values
        return values


def _values(numbers: Integers) -> Integers:
    """Saturated values in 32 bits, whatever they were computed in."""
    return numbers.astype(np.int32, copy=False)


def _residual(
    geometry: Block, numbers: BlockNumbers, bounds: BlockRange, values: Integers, conv: _SumConv | None
) -> Integers:
    """What the shortcut brings to the adder; `conv` is its convolution, if it has one."""
    if geometry.shortcut == "repeat":
        return np.concatenate([values, values], axis=-1)
    if geometry.averages:
        values = ops.pool(values)
    elif geometry.shortcut == "conv":
        values = ops.subsample(values)
    if conv is None:
        return values
    assert numbers.shortcut_scale is not None
    assert bounds.shortcut is not None
    scaled = bounds.shortcut.scaled
    return _scaled(conv(values), numbers.shortcut_scale, scaled.bits, bounds.shortcut.products_bits)


def _added(numbers: BlockNumbers, bounds: BlockRange, width: int, conv: Integers, residual: Integers) -> Integers:
    """A block's values from the sums of its convolution and what the shortcut brings."""
    # The width of a scaled sum is that of its range, so it needs no saturation.
    sums = _scaled(conv, numbers.scale, None, max(bounds.conv.products_bits, bounds.added_bits))
    sums += residual
    return _values(_activated(numbers, bounds, sums, width))


def _activated(numbers: BlockNumbers, bounds: BlockRange, sums: Integers, width: int) -> Integers:
    act = numbers.activation
    if act is not None:
        fields = (act.threshold, act.add_positive, act.add_before, act.exponent, act.add_after)
        return ops.qprelu(sums, *fields, width, bounds.activation_bits)
    if numbers.prelu is not None:
        return _prelu(sums, numbers.prelu, width, bounds.prelu)
    return ops.saturate(sums, width)


def forward(network: IntegerNetwork, images: NDArray[np.uint8], ranges: Ranges | None = None) -> Layers:
    """Run (N, H, W, 3) uint8 images through the network; for many batches, prepare a `Model` once.

    The result maps each of `layer_names` to its integers. Maps are (N, H, W, C): `stem.conv` the stem's scaled sums and
    `stem.prelu` its activation, where more follows; `stem` what the first block gets; `blockNN.conv` the sums of the
    binary convolution, `blockNN.shortcut` what a shortcut that computes brings to the adder, `blockNN` the block's
    values. `pool` is (N, C), `scores` (N, classes), `class` (N,).
    """
    return dict(Model(network, ranges).layers(images))


def batches(images: NDArray[np.uint8], size: int = 50) -> Iterator[NDArray[np.uint8]]:
    """Slices of at most `size` images, so that a whole data set runs in bounded memory."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def scores(network: IntegerNetwork, images: NDArray[np.uint8]) -> Iterator[Integers]:
    """Scores (n, classes) of successive batches, in one thread; nothing else is kept."""
    model = Model(network)
    for batch in batches(images, model.batch_size):
        yield dict(model.layers(batch))["scores"]


def values_at_limit(values: Integers, width: int) -> int:
    """How many values sit at an end of the `width`-bit range: an upper bound on those that saturated."""
    low, high = ops.value_range(width)
    return int(np.count_nonzero(values == low)) + int(np.count_nonzero(values == high))
