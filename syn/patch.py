"""New weights in a finished bitstream: the contents of the boot ROM are replaced, nothing else, without synthesis.

A bitstream of `abbnn bitstream` says in its header, which FPGAs skip, what it is: `Metadata`. Among it are the
block RAMs that the boot ROM became, and the layout that a load image must have. docs/bitstream.md specifies both.
"""

from __future__ import annotations

import argparse
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from abbnn import verilog
from abbnn.errors import UserError
from abbnn.export.config import pipeline_config
from abbnn.export.fit import fitted, with_headroom
from abbnn.export.folding import Folding, fold_of
from abbnn.export.load_image import MAGIC, to_bytes
from abbnn.export.pipeline import Pipeline
from abbnn.golden.files import parse_json, replacing
from abbnn.golden.network import IntegerNetwork, load_network, network_hash
from abbnn.syn import trellis

FORMAT = "abbnn-bitstream"
VERSION = 2
PREFIX = "abbnn: "
"""What the comment with the metadata begins with."""
BYTES_MAX = 1 << 24
"""Of a bitstream: far more than any ECP5 has."""


@dataclass(frozen=True)
class Metadata:
    """What a bitstream says of itself."""

    network: str
    network_sha256: str
    layout: str
    """LAYOUT_ID, 8 hexadecimal digits."""
    headroom: int
    """Bits that the layout has more than `network` needed when it was built."""
    board: str
    device: str
    clock_mhz: int
    folding: Mapping[str, Sequence[Any]]
    """Stage to [PE, SIMD, weight memory]."""
    sources: str
    """First 64 bits of the sha256 of all Verilog and of the pins."""
    tools: Mapping[str, str]
    seed: int
    pack: Sequence[str]
    """Options of ecppack."""
    boot_words: int
    boot_blocks: Sequence[int]
    """WID of the block RAM that holds words 512 n .. 512 n + 511, for n from 0."""
    parameters: Mapping[str, Mapping[str, int]]
    """What the hardware is built for, stage by stage."""

    def folds(self) -> Folding:
        return {stage: fold_of(fold) for stage, fold in self.folding.items()}

    def stages(self) -> list[dict[str, int]]:
        """`parameters` in pipeline order."""
        return [dict(each) for each in self.parameters.values()]

    def text(self) -> str:
        """One line of ASCII."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, separators=(",", ":"))


def read_bitstream(path: Path) -> bytes:
    """UserError if the file is far too great for a bitstream."""
    size = path.stat().st_size
    if size > BYTES_MAX:
        raise UserError(f"{path}: {size:,} bytes; no ECP5 has a bitstream of more than {BYTES_MAX:,}")
    return path.read_bytes()


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of JSON is of the type that a field of Metadata has."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Mapping:
        return isinstance(value, dict) and all(_fits(each, inner[1]) for each in value.values())
    if origin is Sequence:
        return isinstance(value, list) and all(_fits(each, inner[0]) for each in value)
    return hint is Any or type(value) is hint


def read_metadata(bitstream: bytes) -> Metadata:
    """UserError if it is no bitstream, one of another origin, or one of another version."""
    said = [text.removeprefix(PREFIX) for text in trellis.comments(bitstream) if text.startswith(PREFIX)]
    if not said:
        raise UserError("a bitstream, but not one of abbnn bitstream: its header says nothing of abbnn")
    unreadable = "its metadata cannot be read"
    fields = parse_json(said[0], unreadable)
    found = fields.pop("format", None), fields.pop("version", None)
    if found != (FORMAT, VERSION):
        raise UserError(f"{unreadable}: {str(found[0])[:40]} {str(found[1])[:40]}, not {FORMAT} {VERSION}")
    hints = get_type_hints(Metadata)
    for key in sorted(fields.keys() | hints.keys()):
        if key not in hints or key not in fields:
            raise UserError(f"{unreadable}: {key[:40]} is {'missing' if key in hints else 'unknown'}")
        if not _fits(fields[key], hints[key]):
            raise UserError(f"{unreadable}: {key} is {str(fields[key])[:80]}")
    result = Metadata(**fields)
    result.folds()
    if any(abs(value) >= 1 << 24 for stage in result.stages() for value in stage.values()):
        raise UserError(f"{unreadable}: a parameter of more than 24 bits")
    # They come from a file and go to a program: only options that write nothing else.
    if not all(re.fullmatch(r"--(compress|background|freq|spimode)|[a-z0-9][a-z0-9.-]*", each) for each in result.pack):
        raise UserError(f"{unreadable}: options for ecppack of {str(result.pack)[:80]}")
    wids = result.boot_blocks
    if len(wids) != -(-result.boot_words // trellis.CHUNK) or len(set(wids)) != len(wids):
        raise UserError(f"{unreadable}: the blocks of the boot ROM are not those of its words")
    return result


# ---- the image ------------------------------------------------------------------------------------------------------


def image_for(network: IntegerNetwork, metadata: Metadata) -> list[int]:
    """The load image of `network` for a core that was built as `metadata` says. UserError says what does not fit."""
    try:
        pipeline = Pipeline(network, metadata.folds(), metadata.stages())
    except UserError as error:
        raise UserError(f"its structure is not that of {metadata.network} in the bitstream: {error}") from None
    try:
        image = pipeline.load_image
    except UserError as error:
        needed = _headroom(pipeline, metadata)
        advice = "" if needed is None else f"; `abbnn bitstream --headroom {needed}` makes one that it fits"
        raise UserError(f"it does not fit the layout of the bitstream: {error}{advice}") from None
    if f"{pipeline.layout_id:08x}" != metadata.layout:
        raise UserError("the bitstream's layout is one of another version of the exporter")
    return image


def _headroom(pipeline: Pipeline, metadata: Metadata) -> int | None:
    """Bits more in the layout with which the network of `pipeline` would fit it; None if none up to 8 are enough."""
    own = pipeline_config(pipeline.network, pipeline.ranges, pipeline.folding)
    for bits in range(1, 9):
        try:
            fitted(own, with_headroom(metadata.stages(), bits))
        except UserError:
            continue
        return metadata.headroom + bits
    return None


def chunks(image: Sequence[int]) -> list[trellis.Words]:
    """Blocks of 512 words, the last one padded with zeros."""
    words = np.zeros(-(-len(image) // trellis.CHUNK) * trellis.CHUNK, np.uint32)
    words[: len(image)] = image
    return list(words.reshape(-1, trellis.CHUNK))


def with_image(config: str, image: Sequence[int], metadata: Metadata) -> str:
    """A text configuration with `image` in the boot ROM and `metadata` in the header."""
    contents = dict(zip(metadata.boot_blocks, chunks(image), strict=True))
    return trellis.with_comment(trellis.replaced(config, contents), PREFIX, metadata.text())


def image_in(config: str, metadata: Metadata) -> list[int]:
    """The words of the boot ROM in a text configuration. UserError if a block RAM is not there."""
    there = dict(trellis.blocks(config))
    missing = [wid for wid in metadata.boot_blocks if wid not in there]
    if missing:
        raise UserError(f"there is no block RAM of WID {', '.join(map(str, missing))}")
    words = [int(word) for wid in metadata.boot_blocks for word in there[wid]]
    if any(words[metadata.boot_words :]):
        raise UserError("the boot ROM goes on behind its last word")
    return words[: metadata.boot_words]


def differing_words(config: str, metadata: Metadata, image: Sequence[int]) -> int:
    """Words of the boot ROM in a text configuration that are not those of `image`."""
    found = image_in(config, metadata)
    return sum(one != other for one, other in zip(found, image, strict=True))


# ---- patching -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patched:
    bitstream: bytes
    metadata: Metadata
    words: int
    """Of the boot ROM."""
    changed: int
    """Words that differ from those before."""


def patched(old: bytes, network: IntegerNetwork) -> Patched:
    """`old` with the load image of `network` in its boot ROM. Everything else stays, and that is checked.

    UserError says why not, and whose fault it is: `Refused` if the network's, else the bitstream's.
    """
    metadata = read_metadata(old)
    if not metadata.boot_words:
        raise UserError("it was built without a boot ROM; load the network through the link instead")
    try:
        image = image_for(network, metadata)
    except UserError as error:
        raise Refused(str(error)) from None
    try:
        config = trellis.unpack(old)
    except trellis.ToolError as error:
        raise UserError(f"damaged or cut off ({error})") from None
    if trellis.pack(config, metadata.pack) != old:
        raise UserError(
            "it unpacks, but is not as abbnn bitstream has written it: of another ecppack or of other options, "
            "or cut off"
        )
    before = image_in(config, metadata)
    if before[0] != MAGIC or zlib.crc32(to_bytes(before[:-1])) != before[-1]:
        raise UserError("what its boot ROM holds is no load image")
    fresh = replace(metadata, network=network.structure.name, network_sha256=network_hash(network))
    bitstream = trellis.pack(with_image(config, image, fresh), metadata.pack)
    again = trellis.unpack(bitstream)
    if differing_words(again, fresh, image) or _skeleton(again) != _skeleton(config):
        raise UserError("ecppack and ecpunpack do not agree on it: the patched bitstream reads back otherwise")
    changed = sum(one != other for one, other in zip(before, image, strict=True))
    return Patched(bitstream, fresh, len(image), changed)


class Refused(UserError):
    """The network does not fit the bitstream."""


def _skeleton(config: str) -> str:
    """All that patching leaves: a text configuration without contents and without our comment."""
    return trellis.with_comment(trellis.without_contents(config), PREFIX, "")


# ---- command line ---------------------------------------------------------------------------------------------------

DESCRIPTION = (
    "Replace the network in a bitstream of abbnn bitstream by another one of the same structure, none of whose "
    "widths exceeds what it was built for. Takes seconds. Everything but the boot ROM stays as it is; that is checked."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bitstream", type=Path, metavar="OLD.bit")
    parser.add_argument("network", type=Path, metavar="NEW.safetensors")
    parser.add_argument("--out", required=True, type=Path, metavar="NEW.bit", help="may be OLD.bit itself")


def run(options: argparse.Namespace) -> int:
    """UserError or OSError, one line that names the culprit; then nothing is written."""
    for name in ("ecpunpack", "ecppack"):
        verilog.tool(name)
    network = load_network(options.network)
    old = read_bitstream(options.bitstream)
    try:
        result = patched(old, network)
    except Refused as error:
        raise UserError(f"{options.network}: {error}") from None
    except UserError as error:
        raise UserError(f"{options.bitstream}: {error}") from None
    with replacing(options.out) as temporary:
        temporary.write_bytes(result.bitstream)
    print(
        f"{options.out}: {result.metadata.network}, sha256 {result.metadata.network_sha256[:16]}, on "
        f"{result.metadata.board}; {result.changed:,} of {result.words:,} words of the boot ROM changed, nothing else"
    )
    return 0
