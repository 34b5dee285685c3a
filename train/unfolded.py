"""A mapped network in floating point, as its owner trained it: what importing is measured against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from abbnn.golden.structure import Block
from abbnn.train.layers import by_channel
from abbnn.train.mapping import Conv, MappedBlock, MappedNetwork, Slopes, signs

BATCH = 50


def _vector(values: NDArray[np.float64]) -> Tensor:
    """(C,) for maps (N, C, H, W)."""
    return by_channel(torch.tensor(values))


def _prelu(x: Tensor, slopes: Slopes | None) -> Tensor:
    return x if slopes is None else torch.where(x >= 0, x, x * _vector(slopes.values))


def _conv(x: Tensor, conv: Conv, *, binary: bool, stride: int = 1, alpha: float = 1.0) -> Tensor:
    """In the type of x, then float64: sums of +-1 are exact in float32, too, and that is faster."""
    weight = torch.from_numpy(signs(conv.weight) if binary else conv.weight)
    out = functional.conv2d(x, weight.to(x.dtype), stride=stride, padding=weight.shape[2] // 2)
    return out.double() * _vector(alpha * (conv.factor if binary else conv.gain)) + _vector(conv.bias)


def _block(x: Tensor, block: MappedBlock, geometry: Block, alpha: float, beta: float) -> Tensor:
    ones = torch.where(beta * x + _vector(block.bias0) >= 0, 1.0, -1.0)
    out = _conv(ones, block.conv, binary=True, stride=geometry.stride, alpha=alpha)
    if geometry.averages:
        x = functional.avg_pool2d(x, 2, 2)
    if block.shortcut is not None:
        stride = 2 if geometry.shortcut == "conv" else 1
        x = _conv(x, block.shortcut, binary=not geometry.projects_real, stride=stride)
    residual = torch.cat((x, x), 1) if geometry.shortcut == "repeat" else x
    return _prelu(out + residual + _vector(block.bias1), block.slopes) + _vector(block.bias2)


@torch.inference_mode()
def logits(
    network: MappedNetwork, images: NDArray[np.uint8], advance: Callable[[int], object] = lambda done: None
) -> NDArray[np.float64]:
    """(N, classes) of images (N, H, W, 3) uint8; `advance` is told how many more are done."""
    structure, variant = network.structure, network.variant
    mean, std = (_vector(np.array(colours)) for colours in (variant.mean, variant.std))
    parts = []
    for start in range(0, len(images), BATCH):
        pixels = torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2).double() / 255
        x = _prelu(
            _conv((pixels - mean) / std, network.stem, binary=False, stride=structure.stem.stride), network.stem_slopes
        )
        if structure.stem.max_pool:
            x = functional.max_pool2d(x, 3, stride=2, padding=1)
        for block, geometry in zip(network.blocks, structure.blocks, strict=True):
            x = _block(x, block, geometry, variant.alpha, variant.beta(geometry.variance_steps))
        scores = x.mean(dim=(2, 3)).numpy() @ network.head_weight.T + network.head_bias
        parts.append(scores)
        advance(len(scores))
    return np.concatenate(parts)
