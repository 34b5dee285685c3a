"""The exporter's folder: memory init files, the parameter header and the manifest, written together or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from abbnn import verilog
from abbnn.errors import UserError
from abbnn.export.config import STAGE_NUMBERS, StageConfig, pipeline_config, stage_kind, table_headers
from abbnn.export.folding import Folding, check, cycles, stages
from abbnn.export.layout import read_mem
from abbnn.golden.files import making, states
from abbnn.golden.network import IntegerNetwork, network_hash
from abbnn.golden.ranges import analyse

HEADER = "abbnn_config.vh"
STAGES = verilog.STAGES_HEADER
MANIFEST = "manifest.json"
FORMAT = "abbnn-memory-files"
VERSION = 2
MAX_STAGES = 64
"""As many as status_stalled of abbnn_core has bits, and abbnn_axil_registers stall counters."""


def _vector(values: Sequence[int]) -> str:
    """A localparam vector of 32-bit fields, field 0 lowest."""
    return "{" + ", ".join(f"32'd{value}" for value in reversed(values)) + "}"


def _size_lines(configs: Sequence[StageConfig]) -> list[str]:
    stem, *blocks, head = configs
    sizes = {
        "IMAGE_HEIGHT": stem.parameters["HEIGHT"],
        "IMAGE_WIDTH": stem.parameters["WIDTH"],
        "BLOCKS": len(blocks),
        "CLASSES": head.parameters["CLASSES"],
    }
    return [f"localparam integer {name} = {value};" for name, value in sizes.items()]


def _literal(name: str, value: int) -> str:
    """Of a stage's parameter; the number of classes is one of the sizes."""
    return {"CENTER": f"24'h{value:06x}", "CLASSES": "CLASSES"}.get(name, str(value))


def _stage_lines(configs: Sequence[StageConfig], folder: str = "") -> list[str]:
    """One instance a stage, with its output stream as wires of its name, and which of these wait.

    `folder` ("mem/") is where the memory files are below ABBNN_MEM_DIR.
    """
    lines = []
    before = "pixel"
    for index, config in enumerate(configs):
        name, parameters = config.name, config.parameters
        width = 32 if name == "head" else parameters["PE"] * parameters["VALUE_WIDTH"]
        ends = ["tvalid", "tready", *(["tlast"] if name == "head" else [])]
        values = {
            "PREFIX": f'{{`ABBNN_MEM_DIR, "/{folder}{name}"}}',
            **{key: _literal(key, value) for key, value in parameters.items()},
            "LOAD_MEMORY": f"(LOADABLE == 1) ? {STAGE_NUMBERS * index} : -1",
        }
        ports = {
            "clk": "clk",
            "rst": f"stage_rst[{index}]",
            "load": f"load_buses[LOAD_WIDTH*{index} +: LOAD_WIDTH]",
            **{f"s_axis_{end}": f"{before}_{end}" for end in ("tdata", "tvalid", "tready")},
            **{f"m_axis_{end}": f"{name}_{end}" for end in ("tdata", *ends)},
        }
        lines += [
            "",
            f"wire [{width - 1}:0] {name}_tdata;",
            *(f"wire {name}_{end};" for end in ends),
            "",
            f"abbnn_{stage_kind(name)} #(",
            ",\n".join(f"    .{key}({value})" for key, value in values.items()),
            f") {name} (",
            ",\n".join(f"    .{key}({value})" for key, value in ports.items()),
            ");",
        ]
        before = name
    waits = [f"    {config.name}_tvalid && !{config.name}_tready" for config in reversed(configs)]
    return [*lines, "", f"wire [{len(configs) - 1}:0] stage_stalled = {{", ",\n".join(waits), "};"]


def layout_id(configs: Sequence[StageConfig]) -> int:
    """32 bits that differ where the hardware of these stages does: a load image fits a core of the same LAYOUT_ID."""
    return int(_sha256("\n".join(_size_lines(configs) + _stage_lines(configs)).encode())[:8], 16)


def headers(network: IntegerNetwork, configs: Sequence[StageConfig], folder: str = "") -> dict[str, str]:
    """File name -> text of what rtl/core/abbnn_core.v includes into itself: sizes, and the stages.

    The memory files are in `folder` below ABBNN_MEM_DIR.
    """
    if len(configs) > MAX_STAGES:
        raise UserError(f"{network.structure.name}: {len(configs) - 2} blocks; a core has at most {MAX_STAGES - 2}")
    loads = [word for header in table_headers(configs) for word in header]
    config = [
        f"// {HEADER} : sizes of abbnn_core for {network.structure.name}, written by abbnn mem",
        f"localparam [63:0] NETWORK_ID = 64'h{network_hash(network)[:16]};",
        f"localparam [31:0] LAYOUT_ID = 32'h{layout_id(configs):08x};",
        f"localparam integer LOAD_TABLES = {len(loads) // 2};",
        f"localparam [{32 * len(loads) - 1}:0] LOAD_HEADERS = {_vector(loads)};",
        *_size_lines(configs),
    ]
    stages = [
        f"// {STAGES} : the stages of abbnn_core for {network.structure.name}, written by abbnn mem",
        *_stage_lines(configs, folder),
    ]
    return {HEADER: "\n".join(config) + "\n", STAGES: "\n".join(stages) + "\n"}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def render(network: IntegerNetwork, folding: Folding) -> dict[str, str]:
    """File name -> text of everything in the folder. Pure; docs/formats.md specifies the files."""
    check(network, folding)
    configs = pipeline_config(network, analyse(network), folding)
    files = headers(network, configs)
    memories = []
    for config in configs:
        for name, memory in config.memories.items():
            files[name] = memory.text
            memories.append(
                {
                    "file": name,
                    "stage": config.name,
                    "meaning": memory.meaning,
                    "depth": len(memory.words),
                    "width": memory.width,
                    "word": f"lowest bits first: {memory.fields}",
                    "sha256": _sha256(memory.text.encode()),
                }
            )
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "network": network.structure.name,
        "network_sha256": network_hash(network),
        "headers": [{"file": name, "sha256": _sha256(files[name].encode())} for name in (HEADER, STAGES)],
        "folding": {
            stage.name: {
                "pe": folding[stage.name].pe,
                "simd": folding[stage.name].simd,
                "cycles": cycles(stage, folding[stage.name]),
            }
            for stage in stages(network)
        },
        "memories": memories,
    }
    files[MANIFEST] = json.dumps(manifest, indent=2) + "\n"
    return files


def _ours(out: Path) -> bool:
    """Whether `out` is an export, damaged or of another version: our manifest, no foreign file."""
    names = (entry.name for entry in out.iterdir())
    own = all(name in (HEADER, STAGES, MANIFEST) or name.endswith(".mem") for name in names)
    return own and states(out / MANIFEST, FORMAT)


def write(network: IntegerNetwork, folding: Folding, out: Path) -> None:
    """Write the folder `out`. An older export in its place is replaced; a folder of anything else is a ValueError."""
    files = render(network, folding)
    with making(out, "export", _ours) as folder:
        for name, text in files.items():
            (folder / name).write_text(text, encoding="ascii")


def _manifest(folder: Path) -> dict[str, Any]:
    """The folder's manifest by itself. ValueError if it is none, or one of another version."""
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT or manifest["version"] != VERSION:
            raise UserError(f"not of {FORMAT} {VERSION}")
        for entry in (*manifest["headers"], *manifest["memories"]):
            name, digest = entry["file"], entry["sha256"]
            if not (isinstance(name, str) and isinstance(digest, str) and Path(name).name == name):
                raise UserError(f"{name!r} is no file name with a digest")
        for memory in manifest["memories"]:
            if type(memory["depth"]) is not int or type(memory["width"]) is not int:
                raise UserError(f"{memory['file']} has no size")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not a manifest ({error!r})") from None
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The folder's manifest, every file checked against it. ValueError names the first that does not match."""
    manifest = _manifest(folder)
    for entry in (*manifest["headers"], *manifest["memories"]):
        file = folder / entry["file"]
        if not file.is_file():
            raise UserError(f"{file}: missing, but {MANIFEST} lists it")
        if _sha256(file.read_bytes()) != entry["sha256"]:
            raise UserError(f"{file}: differs from {MANIFEST}; export the network again")
    for memory in manifest["memories"]:
        read_mem(folder / memory["file"], memory["depth"], memory["width"])
    return manifest
