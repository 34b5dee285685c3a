"""The rows of the README's table of networks, in Markdown. A cell is computed, or measured, or empty."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abbnn.golden.model import scores
from abbnn.golden.network import IntegerNetwork, load_network
from abbnn.golden.ops import argmax
from abbnn.golden.structure import CIFAR_SIDE, DECLARATIONS, IMAGENET_SIDE, Structure, declared_network
from abbnn.report.operations import Precision, inner_layers, outer_layers, total, weight_bits

SHAPES = ((CIFAR_SIDE, 10), (IMAGENET_SIDE, 1000))
"""(side of the image, classes) of the declared networks' rows."""
HEADER = (
    "network",
    "image",
    "classes",
    "float top-1",
    "integer top-1",
    "binary MACs",
    "binary weight bits",
    "multiplications",
)
FLOAT_TOP1 = "test_top1"
"""What training calls it in the metadata, percent."""


def _cells(name: str, structure: Structure, precision: Precision, float_top1: str = "", top1: str = "") -> list[str]:
    rows = inner_layers(structure, precision) | outer_layers(structure, precision)
    macs = structure.binary_macs
    return [
        name,
        f"{structure.height}x{structure.width}",
        str(structure.classes),
        float_top1,
        top1,
        f"{macs / 1e6:,.1f} M",
        f"{weight_bits(structure):,}",
        str(total(rows)["hardware"].multiplications),
    ]


def declared_rows(shipped: Container[str]) -> list[list[str]]:
    """Every declared network but the shipped ones, untrained, with 10 classes on CIFAR's images and 1,000 on
    ImageNet's.
    """
    return [
        _cells(name, declared_network(name, classes=classes, image=side), Precision())
        for side, classes in SHAPES
        for name in DECLARATIONS
        if name not in shipped
    ]


def integer_top1(network: IntegerNetwork, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Percent of the images whose label the network gives."""
    classes = argmax(np.concatenate(list(scores(network, images))))
    return float(100 * (classes == labels).mean())


def frozen_row(
    path: Path, images: NDArray[np.uint8] | None = None, labels: NDArray[np.int64] | None = None
) -> list[str]:
    """A frozen network: its float accuracy as training recorded it, its own measured on labelled images."""
    network = load_network(path)
    recorded = network.source.get(FLOAT_TOP1)
    float_top1 = f"{recorded:.2f}%" if isinstance(recorded, (int, float)) else ""
    top1 = "" if images is None or labels is None else f"{integer_top1(network, images, labels):.2f}%"
    return _cells(path.stem, network.structure, Precision.of(network), float_top1, top1)
