"""Load image: all tables of a network as the words that a loadable `abbnn_core` takes on s_load_axis.

docs/formats.md specifies the words; rtl/abbnn_load.v reads them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from abbnn.export.config import Memory, StageConfig, pipeline_config
from abbnn.export.folding import Folding, check
from abbnn.export.mem import layout_id
from abbnn.golden.network import IntegerNetwork, network_hash
from abbnn.golden.ranges import analyse

MAGIC = 0x4C424241
HEADER_WORDS = 4
SLOTS = {
    "stem": ("weights", "bias", "scale", "prelu"),
    "block": (
        "threshold",
        "weights",
        "correction",
        "scale",
        "activation",
        "prelu",
        "shortcut_weights",
        "shortcut_bias",
        "shortcut_scale",
    ),
    "head": ("weights", "bias"),
}
"""Tables of a stage in the order of their numbers on the load bus (LOAD_MEMORY of rtl/abbnn_stem.v and so on)."""
STAGE_NUMBERS = 16
"""Numbers on the load bus that each stage has."""


def memory_number(stages: Sequence[str], stage: str, file: str) -> int:
    """The number on the load bus of the table `file` ("block00_scale.mem") of a stage; `stages` in pipeline order."""
    slot = SLOTS[stage.rstrip("0123456789")].index(file.removeprefix(f"{stage}_").removesuffix(".mem"))
    return stages.index(stage) * STAGE_NUMBERS + slot


def _slices(memory: Memory) -> Iterator[int]:
    """Its words, address by address, each in slices of 32 bits, the lowest first."""
    count = -(-memory.width // 32)
    for word in memory.words:
        for index in range(count):
            yield word >> (32 * index) & 0xFFFFFFFF


def stage_image(configs: Sequence[StageConfig], network_id: int) -> list[int]:
    """The load image of `configs`. `network_id`: first 64 bits of the network's sha256."""
    words = [MAGIC, layout_id(configs), network_id & 0xFFFFFFFF, network_id >> 32]
    stages = [config.name for config in configs]
    for config in configs:
        for file, memory in config.memories.items():
            slices = -(-memory.width // 32)
            words += [(slices - 1) << 16 | memory_number(stages, config.name, file), len(memory.words)]
            words += _slices(memory)
    return [*words, zlib.crc32(to_bytes(words))]


def to_bytes(words: Sequence[int]) -> bytes:
    """Little-endian."""
    return np.asarray(words, "<u4").tobytes()


def load_image(network: IntegerNetwork, folding: Folding) -> list[int]:
    """All tables of `network`, folded so, as 32-bit words, the CRC last. ValueError as of `export.folding.check`."""
    check(network, folding)
    configs = pipeline_config(network, analyse(network), folding)
    return stage_image(configs, int(network_hash(network)[:16], 16))
