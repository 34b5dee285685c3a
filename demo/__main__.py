"""`abbnn demo`: a folder with a page in which the core runs, for any web server of static files."""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from abbnn import paths
from abbnn.demo.wasm import FILES, build, streams
from abbnn.errors import UserError, run
from abbnn.export.config import stage_kind
from abbnn.export.mem import render
from abbnn.export.pipeline import Pipeline
from abbnn.golden.files import making, states
from abbnn.golden.network import network_hash
from abbnn.host.registers import IDENTITY, STATUS_READY, VERSION_MAJOR, find
from abbnn.options import SHIPPED_NETWORK, add_folding, add_network, whole
from abbnn.tb.pipeline import golden_layers
from abbnn.tb.sim import shipped_images

PAGE = Path(__file__).resolve().parent / "page"
BUILD = paths.BUILD / "demo"
NETWORK = "network.json"
MEMORIES = "memories.json"
IMAGES = "images.bin"
FORMAT = "abbnn-demo"
VERSION = 1
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""Names of the shipped images' classes, of a network that was trained on them."""
BRIGHTEST = 99
"""Percentile of a layer's magnitudes on the shipped images that the page shows as its strongest colour."""
PORT_MAX = 65535
REGISTERS = ("ID", "VERSION", "NETWORK_LO", "NETWORK_HI", "IMAGE", "SHAPE", "STATUS")
"""Those that the page reads from a board."""


def description(pipeline: Pipeline) -> tuple[dict[str, Any], bytes]:
    """What the page knows of the network (NETWORK), and the shipped images in its size (IMAGES)."""
    network, structure = pipeline.network, pipeline.network.structure
    images, labels = shipped_images(structure)
    layers = golden_layers(network, images)
    shown = []
    for stream in streams(pipeline):
        values = layers["scores" if stream.name == "head" else stream.name]
        brightest = max(1, int(np.percentile(np.abs(values), BRIGHTEST)))
        shown.append(
            {
                "name": stream.name,
                "kind": stage_kind(stream.name),
                "height": stream.height,
                "width": stream.width,
                "channels": stream.channels,
                "lanes": stream.lanes,
                "brightest": brightest,
            }
        )
    page = {
        "format": FORMAT,
        "version": VERSION,
        "name": structure.name,
        "sha256": network_hash(network),
        "height": structure.height,
        "width": structure.width,
        "classes": list(CIFAR10) if labels is not None else [f"class {i}" for i in range(structure.classes)],
        "latency": pipeline.timing.latency,
        "interval": pipeline.timing.interval,
        "stages": shown,
        "labels": None if labels is None else labels.tolist(),
        "golden": layers["scores"].tolist(),
        "board": {
            "registers": {name: find(name).offset for name in REGISTERS},
            "identity": IDENTITY,
            "major": VERSION_MAJOR,
            "ready": STATUS_READY,
        },
    }
    return page, images.tobytes()


def memories(pipeline: Pipeline) -> dict[str, str]:
    """File name -> text of all memory files."""
    files = render(pipeline.network, pipeline.folding)
    return {name: text for name, text in files.items() if name.endswith(".mem")}


def write(pipeline: Pipeline, out: Path) -> None:
    """Build the core and write the folder `out`; an earlier page in its place is replaced."""
    with making(out, "page", lambda folder: states(folder / NETWORK, FORMAT)) as folder:
        core = build(pipeline)
        page, images = description(pipeline)
        shutil.copytree(PAGE, folder, dirs_exist_ok=True)
        for name in FILES:
            shutil.copyfile(core / name, folder / name)
        (folder / NETWORK).write_text(json.dumps(page) + "\n")
        (folder / MEMORIES).write_text(json.dumps(memories(pipeline)) + "\n")
        (folder / IMAGES).write_bytes(images)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files as they are now: a page that was built again is not taken from the browser's cache."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the page's own requests are of no interest."""


def server(folder: Path, port: int) -> http.server.ThreadingHTTPServer:
    """Of the page in `folder`, for this machine alone; port 0 is any free one. UserError if the port is taken."""
    handler = functools.partial(Handler, directory=str(folder))
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise UserError(f"port {port}: {error.strerror}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="abbnn demo",
        description="A web page in which the core runs cycle by cycle, and which talks to a board (needs Emscripten).",
    )
    add_network(parser, default=SHIPPED_NETWORK)
    add_folding(parser)
    parser.add_argument(
        "--out", type=Path, default=BUILD, metavar="DIR", help="the page's folder; default: %(default)s"
    )
    parser.add_argument(
        "--serve", type=whole(0, PORT_MAX), metavar="PORT", help="then serve it on this machine; 0: any free port"
    )
    return parser


def _run(arguments: argparse.Namespace) -> None:
    out = arguments.out
    write(Pipeline.read(arguments.network, arguments.fold, arguments.cycles), out)
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"{out}: a page of {size:,} bytes, for any web server")
    if arguments.serve is None:
        print(f"to see it: {sys.executable} -m http.server -d {shlex.quote(str(out))}, then http://localhost:8000/")
        return
    with server(out, arguments.serve) as serving:
        print(f"http://localhost:{serving.server_port}/, until Ctrl-C", flush=True)
        serving.serve_forever()


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    return run("abbnn demo", lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
