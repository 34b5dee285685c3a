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

import numpy as np

from abbnn.errors import UserError
from abbnn.export.folding import balance
from abbnn.export.layout import mem_text
from abbnn.export.mem import HEADER, STAGES, write
from abbnn.golden.images import SHIPPED_IMAGES, read_images, resized
from abbnn.golden.model import forward
from abbnn.golden.network import IntegerNetwork, load_network
from abbnn.golden.ranges import analyse

PIXELS, RESULTS = "smoke_pixels.mem", "smoke_results.mem"
"""24 bits a pixel, red lowest, and 32 bits a beat of the results, for tb/smoke.v."""


def smoke_files(network: IntegerNetwork, count: int) -> dict[str, str]:
    """Name -> text: `count` shipped images in the network's size and the results that they must give."""
    structure = network.structure
    images = resized(read_images(SHIPPED_IMAGES)[0][:count], structure.height, structure.width)
    layers = forward(network, images, analyse(network))
    pixels = images.reshape(-1, 3).astype(np.int64) @ [1, 1 << 8, 1 << 16]
    beats = np.concatenate([layers["scores"], layers["class"][:, None]], axis=1).ravel() & 0xFFFFFFFF
    return {PIXELS: mem_text(pixels.tolist(), 24), RESULTS: mem_text(beats.tolist(), 32)}


def generate(request: dict[str, Any], out: Path) -> dict[str, Any]:
    """Writes the files into `out`; returns the core that lists them. ValueError names what is wrong."""
    options = request.get("parameters") or {}
    unknown = set(options) - {"network", "cycles", "images"}
    if unknown:
        raise UserError(f"no parameter {', '.join(sorted(unknown))}")
    network = load_network(Path(request["files_root"]) / options["network"])
    write(network, balance(network, options.get("cycles")), out / "mem")
    tables = sorted(path.name for path in (out / "mem").glob("*.mem"))
    if options.get("images", 0):
        for name, text in smoke_files(network, options["images"]).items():
            (out / "mem" / name).write_text(text, encoding="ascii")
            tables.append(name)
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
    yaml = importlib.import_module("yaml")  # comes with FuseSoC
    request = yaml.safe_load(Path(argv[1]).read_text(encoding="utf-8"))
    try:
        core = generate(request, Path.cwd())
    except (ValueError, OSError) as error:
        print(f"fusesoc_mem: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    name = request["vlnv"].split(":")[2]
    Path(f"{name}.core").write_text("CAPI=2:\n" + json.dumps(core, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
