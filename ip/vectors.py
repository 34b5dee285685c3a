"""Images and results as the words of the streams, for testbenches in Verilog."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from abbnn.golden.model import forward
from abbnn.golden.network import IntegerNetwork
from abbnn.golden.ranges import analyse


def pixel_words(images: NDArray[np.uint8]) -> list[int]:
    """Of images (N, H, W, 3), a word a pixel in raster order: red in bits 7:0, green in 15:8, blue in 23:16.

    >>> [hex(word) for word in pixel_words(np.array([[[[1, 2, 3]]]], np.uint8))]
    ['0x30201']
    """
    words = images.reshape(-1, 3).astype(np.int64) @ np.array([1, 1 << 8, 1 << 16])
    return [int(word) for word in words]


def result_words(network: IntegerNetwork, images: NDArray[np.uint8]) -> list[int]:
    """What the core gives for `images` by the golden model: of each the scores, then the class, as 32 bits."""
    layers = forward(network, images, analyse(network))
    beats = np.concatenate([layers["scores"], layers["class"][:, None]], axis=1).ravel() & 0xFFFFFFFF
    return [int(beat) for beat in beats]
