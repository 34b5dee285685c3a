"""Load image: all tables of a network as the words that a loadable `abbnn_core` takes on s_load_axis.

docs/formats.md specifies the words; rtl/core/abbnn_load.v reads them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from abbnn.export.config import Memory, StageConfig, pipeline_config, table_headers
from abbnn.export.folding import Folding, check
from abbnn.export.mem import layout_id
from abbnn.golden.network import IntegerNetwork, network_hash
from abbnn.golden.ranges import analyse

MAGIC = 0x4C424241
HEADER_WORDS = 4


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


def load_image(network: IntegerNetwork, folding: Folding) -> list[int]:
    """All tables of `network`, folded so, as 32-bit words, the CRC last. ValueError as of `export.folding.check`."""
    check(network, folding)
    configs = pipeline_config(network, analyse(network), folding)
    return stage_image(configs, int(network_hash(network)[:16], 16))
