"""`abbnn ip`: a network as a folder that simulates and synthesises by itself, for the flows of others."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbnn import verilog
from abbnn.errors import UserError, run
from abbnn.export.config import table_headers
from abbnn.export.folding import cycles, fold_of, stages
from abbnn.export.layout import mem_text
from abbnn.export.load_image import MAGIC, to_bytes
from abbnn.export.mem import headers
from abbnn.export.pipeline import Pipeline
from abbnn.golden.files import making, read_json, replacing, states
from abbnn.golden.images import SHIPPED_IMAGES, read_images, resized
from abbnn.golden.network import IntegerNetwork, load_network, network_hash
from abbnn.host.registers import IDENTITY, REGISTERS, VERSION_MAJOR, markdown_table
from abbnn.ip.component import component, ports
from abbnn.ip.memories import memories, to_csv
from abbnn.ip.registers import c_header, systemrdl
from abbnn.ip.vectors import pixel_words, result_words
from abbnn.options import above_zero, add_folding, add_headroom, add_images, add_network, positive
from abbnn.syn.bitstream import HEADROOM

TOP = "abbnn_ip"
BELOW = "abbnn_axi"
"""What the top is made of."""
TEMPLATES = Path(__file__).resolve().parent / "templates"
PLACES = {
    "LICENSE": "LICENSE",
    "Makefile": "Makefile",
    "README.md": "README.md",
    "abbnn_ip.v": "rtl/abbnn_ip.v",
    "abbnn_ip_tb.v": "tb/abbnn_ip_tb.v",
    "abbnn_ip.sdc": "constraints/abbnn_ip.sdc",
    "abbnn_ip.xdc": "constraints/abbnn_ip.xdc",
    "abbnn.c": "software/abbnn.c",
    "abbnn.h": "software/abbnn.h",
}
"""Template to where it goes."""
MANIFEST = "manifest.json"
FORMAT = "abbnn-ip"
FORMAT_VERSION = 1
BUILD = "build"
"""Where the folder's Makefile builds: no part of the folder."""
MEM = "mem/"
LOAD_IMAGE = "load_image.bin"
PATIENCE = 10
"""Latencies and intervals without a result after which the testbench gives up."""
COUNT = 4


@dataclass(frozen=True)
class Block:
    """What is asked for."""

    pipeline: Pipeline
    headroom: int
    loadable: bool
    clock_mhz: float
    images: NDArray[np.uint8]
    """Of the testbench, (N, H, W, 3)."""


# ---- templates ------------------------------------------------------------------------------------------------------


def fill(template: str, values: Mapping[str, object], *, loadable: bool) -> str:
    """`template` with @NAME@ replaced, and of lines between `@if loadable` or `@if fixed` and `@end` those that hold.

    >>> fill("a\\n@if fixed\\nb @N@\\n@end\\n@if loadable\\nc\\n@end\\n", {"N": 1}, loadable=False)
    'a\\nb 1\\n'
    """
    form, wanted, lines = "loadable" if loadable else "fixed", True, []
    for line in template.splitlines():
        if line.startswith("@if "):
            wanted = line == f"@if {form}"
        elif line == "@end":
            wanted = True
        elif wanted:
            lines.append(line)
    return re.sub(r"@(\w+)@", lambda found: str(values[found[1]]), "\n".join(lines) + "\n")


def _offsets() -> dict[str, str]:
    """Name of each register -> its offset in three hexadecimal digits."""
    return {register.name: f"{register.offset:03X}" for register in REGISTERS}


def _accuracy(network: IntegerNetwork) -> str:
    """As far as the network's file tells."""
    top1, data = network.source.get("test_top1"), network.source.get("data")
    if not isinstance(top1, int | float):
        return "the network's file says nothing of it"
    return f"{top1}% of the test images of {data}, by the float network before it was frozen"


def _folding_rows(pipeline: Pipeline) -> str:
    rows = []
    for stage in stages(pipeline.network):
        fold = pipeline.folding[stage.name]
        rows.append(f"| {stage.name} | {fold.pe} | {fold.simd} | {cycles(stage, fold):,} |")
    return "\n".join(rows)


def _values(block: Block) -> dict[str, object]:
    pipeline, structure = block.pipeline, block.pipeline.network.structure
    pixels, beats = structure.height * structure.width, structure.classes + 1
    timing, period = pipeline.timing, 1000 / block.clock_mhz
    return {
        **_offsets(),
        "VERILOG": verilog.digest(verilog.reachable(BELOW)),
        "TABLES": "loaded over a stream, from `load_image.bin`" if block.loadable else "in the block, from `mem/`",
        "NETWORK": structure.name,
        "SHA256": network_hash(pipeline.network),
        "NETWORK_LOW": f"{pipeline.network_id & 0xFFFFFFFF:08x}",
        "NETWORK_HIGH": f"{pipeline.network_id >> 32:08x}",
        "LAYOUT_ID": f"{pipeline.layout_id:08x}",
        "ACCURACY": _accuracy(pipeline.network),
        "HEIGHT": structure.height,
        "WIDTH": structure.width,
        "CLASSES": structure.classes,
        "STAGES": len(pipeline.configs),
        "LOADABLE": int(block.loadable),
        "HEADROOM": block.headroom,
        "LATENCY": f"{timing.latency:,}",
        "INTERVAL": f"{timing.interval:,}",
        "CLOCK": f"{block.clock_mhz:g}",
        "PERIOD": f"{period:.3f}",
        "MARGIN": f"{period / 3:.3f}",
        "RATE": f"{block.clock_mhz * 1e6 / timing.interval:,.0f}",
        "IDENTITY": f"{IDENTITY:08X}",
        "MAJOR": VERSION_MAJOR,
        "IMAGES": len(block.images),
        "PIXELS": pixels,
        "BEATS": beats,
        "PIXEL_BYTES": f"{4 * pixels:,}",
        "RESULT_BYTES": f"{4 * beats:,}",
        "PATIENCE": PATIENCE * (timing.latency + timing.interval),
        "LOAD_WORDS": len(pipeline.load_image),
        "LOAD_MAGIC": f"{MAGIC:08X}",
        "REGISTERS": "\n".join(markdown_table()),
        "FOLDING": _folding_rows(pipeline),
    }


# ---- files ----------------------------------------------------------------------------------------------------------


def _port_names(verilog_text: str) -> dict[str, str]:
    """For the constraints: the inputs but the clock, and the outputs, as a list of Tcl."""
    listed = ports(verilog_text)

    def names(output: bool) -> str:
        chosen = [port for port in listed if port.output is output and port.name != "aclk"]
        return " ".join(port.name + ("[*]" if port.width > 1 else "") for port in chosen)

    return {"INPUTS": names(False), "OUTPUTS": names(True)}


def _constants(block: Block) -> dict[str, tuple[str, str]]:
    """For registers.h: name -> value and meaning."""
    pipeline, structure = block.pipeline, block.pipeline.network.structure
    return {
        "ABBNN_IMAGE_WIDTH": (str(structure.width), "of an image of this block, in pixels"),
        "ABBNN_IMAGE_HEIGHT": (str(structure.height), "of an image of this block, in pixels"),
        "ABBNN_CLASSES": (str(structure.classes), "scores of a result, which has one word more"),
        "ABBNN_LAYOUT": (f"0x{pipeline.layout_id:08X}", "what LAYOUT reads"),
        "ABBNN_LOAD_MAGIC": (f"0x{MAGIC:08X}", "first word of every load image"),
    }


def _rtl(block: Block) -> dict[str, str]:
    """rtl/: the headers first, and the top."""
    pipeline = block.pipeline
    texts = headers(pipeline.network, pipeline.configs, MEM)
    for path in map(Path, verilog.sources(BELOW)):
        texts[path.name] = path.read_text()
    return {f"rtl/{name}": text for name, text in texts.items()}


def contents(block: Block) -> dict[str, bytes]:
    """Path -> contents of all files that do not say what the others have become."""
    pipeline, values = block.pipeline, _values(block)
    rtl = _rtl(block)
    texts = dict(rtl)
    values |= _port_names(fill((TEMPLATES / "abbnn_ip.v").read_text(), values, loadable=block.loadable))
    for name, place in PLACES.items():
        if name != "README.md":
            texts[place] = fill((TEMPLATES / name).read_text(), values, loadable=block.loadable)
    sources = [*(path for path in rtl if path.endswith(".v")), PLACES["abbnn_ip.v"]]
    texts["files.f"] = "\n".join(["+incdir+rtl", *sources]) + "\n"
    texts["abbnn.rdl"] = systemrdl(len(pipeline.configs))
    texts["software/registers.h"] = c_header(_constants(block))
    texts["tb/pixels.mem"] = mem_text(pixel_words(block.images), 32)
    texts["tb/results.mem"] = mem_text(result_words(pipeline.network, block.images), 32)
    if block.loadable:
        texts["tb/load.mem"] = mem_text(pipeline.load_image, 32)
    else:
        for config in pipeline.configs:
            texts |= {f"{MEM}{name}": memory.text for name, memory in config.memories.items()}
    files = {path: text.encode() for path, text in texts.items()}
    return files | ({LOAD_IMAGE: to_bytes(pipeline.load_image)} if block.loadable else {})


def _filesets(paths: list[str]) -> dict[str, list[str]]:
    """For component.xml; headers come before what includes them."""

    def below(*folders: str) -> list[str]:
        return sorted((path for path in paths if path.startswith(folders)), key=lambda path: (path[-2:] == ".v", path))

    return {
        "rtl": below("rtl/"),
        "memory": below(MEM, LOAD_IMAGE),
        "constraints": below("constraints/"),
        "simulation": below("tb/"),
        "software": below("software/"),
    }


def _manifest(block: Block, files: Mapping[str, bytes]) -> dict[str, Any]:
    pipeline = block.pipeline
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "network": pipeline.network.structure.name,
        "network_sha256": network_hash(pipeline.network),
        "verilog_sha256": verilog.digest(verilog.reachable(BELOW)),
        "layout": f"{pipeline.layout_id:08x}",
        "loadable": block.loadable,
        "headroom": block.headroom,
        "folding": {name: [fold.pe, fold.simd, fold.weights] for name, fold in pipeline.folding.items()},
        "parameters": {config.name: dict(config.parameters) for config in pipeline.configs},
        "files": {path: hashlib.sha256(data).hexdigest() for path, data in sorted(files.items())},
    }


def write(block: Block, out: Path) -> None:
    """The folder `out`; an earlier one in its place is replaced. UserError if `out` is anything else."""
    pipeline, files = block.pipeline, contents(block)
    tables = {
        header & 0xFFFF: Path(name).stem
        for (header, _), name in zip(
            table_headers(pipeline.configs),
            (name for config in pipeline.configs for name in config.memories),
            strict=True,
        )
    }
    with making(out, "folder of abbnn ip", ours) as folder:

        def put(path: str, data: bytes) -> None:
            files[path] = data
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)

        for path, data in list(files.items()):
            put(path, data)
        sources = [line for line in files["files.f"].decode().splitlines() if line.endswith(".v")]
        found = memories(TOP, folder, "rtl", sources, tables)
        put("memories.csv", to_csv(found).encode())
        values = {
            **_values(block),
            "MEMORY_COUNT": f"{len(found):,}",
            "MEMORY_BITS": f"{sum(memory.words * memory.width for memory in found):,}",
        }
        put("README.md", fill((TEMPLATES / "README.md").read_text(), values, loadable=block.loadable).encode())
        name = pipeline.network.structure.name
        text = component(TOP, name, files[PLACES["abbnn_ip.v"]].decode(), len(pipeline.configs), _filesets(list(files)))
        put("component.xml", text.encode())
        put(MANIFEST, (json.dumps(_manifest(block, files), indent=1) + "\n").encode())


def _read_manifest(folder: Path) -> dict[str, Any]:
    manifest = read_json(folder / MANIFEST, "manifest of abbnn ip")
    found = manifest.get("format"), manifest.get("version")
    if found != (FORMAT, FORMAT_VERSION):
        raise UserError(f"{folder / MANIFEST}: {found[0]} {found[1]}, not {FORMAT} {FORMAT_VERSION}")
    return manifest


def ours(folder: Path) -> bool:
    """Whether `folder` is an earlier one with nothing added to it but what its Makefile builds."""
    if not states(folder / MANIFEST, FORMAT):
        return False
    known = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("files", {})
    there = {path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()}
    return all(str(path) in known or str(path) == MANIFEST or path.parts[0] == BUILD for path in there)


def load_image_for(folder: Path, network: IntegerNetwork) -> list[int]:
    """The load image of `network` for the loadable block in `folder`. UserError says why there is none."""
    manifest = _read_manifest(folder)
    try:
        folding = {str(name): fold_of(fold) for name, fold in manifest["folding"].items()}
        layout = [{str(key): int(value) for key, value in each.items()} for each in manifest["parameters"].values()]
        loadable, wanted = manifest["loadable"], manifest["layout"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{folder / MANIFEST}: not a manifest of abbnn ip ({error!r})") from None
    if loadable is not True:
        raise UserError(f"{folder}: its tables are fixed; `abbnn ip --loadable` makes a block that takes others")
    try:
        pipeline = Pipeline(network, folding, layout)
        image = pipeline.load_image
    except UserError as error:
        raise UserError(
            f"it does not fit the block in {folder}: {error}; one made with more --headroom may take it"
        ) from None
    if f"{pipeline.layout_id:08x}" != wanted:
        raise UserError(f"the layout of {folder} is one of another version of the exporter")
    return image


# ---- command line ---------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="abbnn ip",
        description="A network as an IP block: a folder with Verilog, memories, IP-XACT, registers, a driver, "
        "constraints and a testbench, which needs nothing outside itself. Yosys elaborates it before it is there.",
    )
    add = parser.add_argument
    add_network(parser)
    add_images(parser, default="the shipped ones, resized")
    add("--count", type=positive, metavar="N", help=f"of the images, for the testbench; default {COUNT}")
    add_folding(parser)
    add_headroom(parser, f"{HEADROOM} if loadable, else 0")
    add("--loadable", action="store_true", help="tables are loaded over a stream; else they are in the block")
    add("--clock", type=above_zero(), default=100.0, metavar="MHZ", help="of the constraints; default %(default)g")
    add("--out", type=Path, required=True, metavar="DIR", help="an earlier one there is replaced")
    add(
        "--load-image-for",
        type=Path,
        metavar="DIR",
        help="write no folder, but NETWORK as a load image for the loadable block in DIR; --out is its file",
    )
    return parser


def _images(arguments: argparse.Namespace, network: IntegerNetwork) -> NDArray[np.uint8]:
    structure, count = network.structure, arguments.count or COUNT
    if arguments.images is None:
        images = resized(read_images(SHIPPED_IMAGES)[0], structure.height, structure.width)
    else:
        images, _ = read_images(arguments.images, structure.height, structure.width)
    if count > len(images):
        raise UserError(f"--count {count}: {arguments.images or SHIPPED_IMAGES} has {len(images)} images")
    return images[:count]


def _load_image(arguments: argparse.Namespace) -> None:
    for name in ("images", "count", "fold", "cycles", "headroom", "loadable"):
        if getattr(arguments, name):
            raise UserError(f"{'' if name == 'images' else '--'}{name} says nothing to --load-image-for")
    try:
        words = load_image_for(arguments.load_image_for, load_network(arguments.network))
    except UserError as error:
        raise UserError(f"{arguments.network}: {error}") from None
    with replacing(arguments.out) as temporary:
        temporary.write_bytes(to_bytes(words))
    print(f"{arguments.out}: a load image of {4 * len(words):,} bytes")


def _run(arguments: argparse.Namespace) -> None:
    if arguments.load_image_for:
        _load_image(arguments)
        return
    headroom = arguments.headroom
    if headroom is None:
        headroom = HEADROOM if arguments.loadable else 0
    pipeline = Pipeline.read(arguments.network, arguments.fold, arguments.cycles).roomy(headroom)
    images = _images(arguments, pipeline.network)
    write(Block(pipeline, headroom, arguments.loadable, arguments.clock, images), arguments.out)
    print(f"{arguments.out}: {TOP} for {pipeline.network.structure.name}")
    print(f"next: make -C {shlex.quote(str(arguments.out))} sim")


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    return run("abbnn ip", lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
