"""Load image: all tables of a network as the words that a loadable `abbnn_core` takes on s_load_axis.

docs/formats.md specifies the words; rtl/core/abbnn_load.v reads them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from abbnn.export.config import Memory, StageConfig, table_headers
from abbnn.export.mem import layout_id

MAGIC = 0x4C424241


def _slices(memory: Memory) -> Iterator[int]:
    """Its words, address by address, each in slices of 32 bits, the lowest first."""
    for word in memory.words:
        for index in range(memory.slices):
            yield word >> (32 * index) & 0xFFFFFFFF


def stage_image(configs: Sequence[StageConfig], network_id: int) -> list[int]:
    """The load image of `configs`. `network_id`: first 64 bits of the network's sha256."""
    words = [MAGIC, layout_id(configs), network_id & 0xFFFFFFFF, network_id >> 32]
    memories = [memory for config in configs for memory in config.memories.values()]
    for header, memory in zip(table_headers(configs), memories, strict=True):
        words += [*header, *_slices(memory)]
    return [*words, zlib.crc32(to_bytes(words))]


def to_bytes(words: Sequence[int]) -> bytes:
    """Little-endian."""
    return np.asarray(words, "<u4").tobytes()
