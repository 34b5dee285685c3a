"""Bit-exact inference: every layer's output of a frozen network, vectorised over images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from golden import ops
from golden.network import IntegerNetwork
from golden.ops import Integers
from golden.ranges import Ranges, analyse
from golden.structure import block_name

Layers = dict[str, Integers]


def layer_names(network: IntegerNetwork) -> list[str]:
    """Names of `forward`'s layers in the order of the pipeline."""
    names = ["stem"]
    for index, block in enumerate(network.blocks):
        name = block_name(index)
        names += [f"{name}.conv", f"{name}.shortcut", name] if block.shortcut is not None else [f"{name}.conv", name]
    return [*names, "pool", "scores", "class"]


def forward(network: IntegerNetwork, images: NDArray[np.uint8], ranges: Ranges | None = None) -> Layers:
    """Run (N, H, W, 3) uint8 images through the network.

    The result maps each of `layer_names` to its integers: maps are (N, H, W, C); `blockNN.conv` the sums of the binary
    convolution, `blockNN.shortcut` the scaled shortcut, `blockNN` the block's values; `pool` (N, C), `scores`
    (N, classes), `class` (N,).
    """
    structure = network.structure
    expected = (structure.height, structure.width, structure.stem.in_channels)
    if images.dtype != np.uint8 or images.shape[1:] != expected or not len(images):
        raise ValueError(f"images are {images.dtype}{images.shape}, expected uint8(N, {', '.join(map(str, expected))})")
    ranges = ranges or analyse(network)
    width = network.value_width
    layers: Layers = {}
    centred = images.astype(np.int16) - network.center.astype(np.int16)
    sums = ops.sum_conv(centred, network.stem.weights, network.stem.bias, structure.stem.stride, ranges.stem.sum_bound)
    scale = network.stem_scale
    values = layers["stem"] = ops.scale(sums, scale.sign, scale.shift, scale.guard, width)
    for index, (geometry, block, bounds) in enumerate(
        zip(structure.blocks, network.blocks, ranges.blocks, strict=True)
    ):
        name = block_name(index)
        bits = ops.compare(values, block.threshold)
        conv = layers[f"{name}.conv"] = ops.xnor_conv(bits, block.weights, geometry.stride)
        scale = block.scale
        scaled = ops.scale(conv, scale.sign, scale.shift, scale.guard, bounds.conv.scaled.bits)
        residual = values
        if block.shortcut is not None and block.shortcut_scale is not None and bounds.shortcut is not None:
            sums = ops.sum_conv(
                ops.pool(values), block.shortcut.weights, block.shortcut.bias, 1, bounds.shortcut.sum_bound
            )
            scale = block.shortcut_scale
            residual = ops.scale(sums, scale.sign, scale.shift, scale.guard, bounds.shortcut.scaled.bits)
            layers[f"{name}.shortcut"] = residual
        act = block.activation
        values = layers[name] = ops.qprelu(
            scaled + residual, act.threshold, act.add_positive, act.add_before, act.exponent, act.add_after, width
        )
    pooled = layers["pool"] = ops.gap(values, network.pool_shift)
    head = network.head
    scores = ops.sum_conv(pooled[:, None, None], head.weights, head.bias, 1, ranges.head_bound)
    layers["scores"] = scores.reshape(len(images), -1)
    layers["class"] = ops.argmax(layers["scores"])
    return layers


def batches(images: NDArray[np.uint8], size: int = 50) -> Iterator[NDArray[np.uint8]]:
    """Slices of at most `size` images, so that a whole data set runs in bounded memory."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def saturation_counts(network: IntegerNetwork, layers: Layers) -> dict[str, int]:
    """How many values of each saturating layer sit at an end of the value range: an upper bound on those clipped."""
    low, high = ops.value_range(network.value_width)
    names = ["stem", *(block_name(index) for index in range(len(network.blocks)))]
    return {name: int(((layers[name] == low) | (layers[name] == high)).sum()) for name in names}
