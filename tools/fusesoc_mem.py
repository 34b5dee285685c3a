"""FuseSoC generator: header and tables of one frozen network, and what the smoke bench needs.

FuseSoC calls it with a YAML file and takes the core that it writes into the folder it runs in. Parameters of a
`generate` section: `network` (a path below the core file's folder), `cycles` (see `abbnn mem`; default: its
own choice), `images` (how many of the shipped images the smoke bench gets; default 0: none).
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

# FuseSoC runs this file by itself, from a folder of its own.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from abbnn.errors import UserError, run
from abbnn.export.folding import balance
from abbnn.export.layout import mem_text
from abbnn.export.mem import HEADER, STAGES, write
from abbnn.golden.images import SHIPPED_IMAGES, read_images, resized
from abbnn.golden.network import IntegerNetwork, load_network
from abbnn.ip.vectors import pixel_words, result_words

PIXELS, RESULTS = "smoke_pixels.mem", "smoke_results.mem"
"""24 bits a pixel, red lowest, and 32 bits a beat of the results, for tb/smoke.v."""


def smoke_files(network: IntegerNetwork, count: int) -> dict[str, str]:
    """Name -> text: `count` shipped images in the network's size and the results that they must give."""
    structure, shipped = network.structure, read_images(SHIPPED_IMAGES)[0]
    if count > len(shipped):
        raise UserError(f"images is {count}; {len(shipped)} are shipped")
    images = resized(shipped[:count], structure.height, structure.width)
    return {PIXELS: mem_text(pixel_words(images), 24), RESULTS: mem_text(result_words(network, images), 32)}


def generate(request: dict[str, Any], out: Path) -> dict[str, Any]:
    """Writes the files into `out`; returns the core that lists them. UserError names what is wrong."""
    options = request.get("parameters") or {}
    unknown = set(options) - {"network", "cycles", "images"}
    if unknown:
        raise UserError(f"no parameter {', '.join(sorted(unknown))}")
    if not isinstance(options.get("network"), str):
        raise UserError("the parameter network is missing: a frozen network, below the core file's folder")
    cycles, images = options.get("cycles"), options.get("images", 0)
    for name, value, least in (("cycles", cycles, 1), ("images", images, 0)):
        if value is not None and (type(value) is not int or value < least):
            raise UserError(f"{name} is {value!r}, not a whole number from {least} on")
    network = load_network(Path(request["files_root"]) / options["network"])
    smoke = smoke_files(network, images) if images else {}
    write(network, balance(network, cycles), out / "mem")
    for name, text in smoke.items():
        (out / "mem" / name).write_text(text, encoding="ascii")
    tables = sorted(path.name for path in (out / "mem").glob("*.mem"))
    header = {"file_type": "verilogSource", "is_include_file": True}
    files: list[dict[str, Any]] = [{f"mem/{name}": header} for name in (HEADER, STAGES)]
    # Copied to where the tools run: the RTL looks for them there.
    files += [{f"mem/{name}": {"file_type": "user", "copyto": name}} for name in tables]
    return {
        "name": request["vlnv"],
        "filesets": {"mem": {"files": files}},
        "targets": {"default": {"filesets": ["mem"]}},
    }


def main(argv: list[str]) -> int:
    def command() -> None:
        try:
            yaml = importlib.import_module("yaml")
        except ModuleNotFoundError:
            raise UserError("PyYAML is missing beside the project's packages: pip install pyyaml") from None
        request = yaml.safe_load(Path(argv[1]).read_text(encoding="utf-8"))
        core = generate(request, Path.cwd())
        name = request["vlnv"].split(":")[2]
        Path(f"{name}.core").write_text("CAPI=2:\n" + json.dumps(core, indent=2), encoding="utf-8")

    return run("fusesoc_mem", command)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
