"""Command line: operations of a network, accuracy against precision, tables and pictures of README and docs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from abbnn import paths
from abbnn.building import run_folder
from abbnn.errors import UserError, run
from abbnn.export.freeze import calibration_images
from abbnn.export.pipeline import Pipeline
from abbnn.golden.files import replacing
from abbnn.golden.images import SHIPPED_IMAGES, ImageSource, open_images, read_images
from abbnn.golden.network import load_network, network_hash
from abbnn.golden.structure import CIFAR_SIDE_MAX, DECLARATIONS, Structure, declared_network
from abbnn.options import add_folding, add_images, add_network, natural, positive
from abbnn.report import networks, operations, page, peers, picture, scale
from abbnn.tables import console, markdown
from abbnn.tb.bench import default_simulator
from abbnn.tb.sim import shipped_images, simulated
from abbnn.train.random_checkpoint import random_checkpoint
from abbnn.train.variant import Variant

MODELS = paths.MODELS
RANDOM_IMAGES = 32
BENCH = paths.BUILD / "reports" / "bench.json"
PEERS_WIDTH = 200
WIDTH = 100
"""Columns of a table that goes to a file or a pipe."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="abbnn report", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser(
        "operations",
        help="multiplications, additions, binary operations and shifts of every layer",
        description="Operations of one image, a layer and in all, for the BN, BN-Free and A&B forms of the paper and "
        "for this project's hardware.",
    )
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("--network", choices=sorted(DECLARATIONS), help="a declared network")
    which.add_argument("--file", type=Path, metavar="FILE.safetensors", help="a frozen network")
    command.add_argument("--image", type=positive, metavar="SIDE", help="pixels, with --network; default 32")
    command.add_argument(
        "--classes", type=positive, metavar="N", help="with --network; default 10, 1000 above 100 pixels"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the same numbers there, too")

    command = commands.add_parser(
        "scale",
        help="accuracy against T, W and the stem's weight bits (needs torch)",
        description="Freeze a checkpoint with T, W and the stem's weight bits varied one at a time, run each network, "
        "and compare it with the float one: a table, scale.csv, scale.json and scale.png.",
    )
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("checkpoint", nargs="?", type=Path, metavar="CHECKPOINT", help="model.pt, or an official one")
    what.add_argument(
        "--random", type=natural, metavar="SEED", help="random weights with the statistics of trained ones"
    )
    command.add_argument("--network", required=True, choices=sorted(DECLARATIONS), help="what the checkpoint holds")
    command.add_argument(
        "--images",
        type=Path,
        metavar="IMAGES",
        help=f"as for abbnn golden; with --random they may be left out: {RANDOM_IMAGES} images of noise",
    )
    command.add_argument("--count", type=positive, metavar="N", help="the first N images only")
    command.add_argument("--image", type=positive, metavar="SIDE", help="pixels, where the checkpoint does not tell")
    command.add_argument("--classes", type=positive, metavar="N", help="with --random; default as for operations")
    command.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the three files")

    command = commands.add_parser(
        "networks",
        help="the README's table of networks, in Markdown",
        description="Rows of the declared networks, and of every frozen one in --models.",
    )
    command.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help="default %(default)s")
    command.add_argument("--images", type=Path, metavar="IMAGES", help="labelled: measure the integer networks on them")
    command = commands.add_parser(
        "picture",
        help="the pipeline of a network as an SVG",
        description="Stages with their maps, lanes and the share of cycles in which they work, and the residual paths.",
    )
    add_network(command)
    add_folding(command)
    command.add_argument("--out", required=True, type=Path, metavar="FILE.svg")
    command = commands.add_parser(
        "page",
        help="all that is known of a network and its hardware, as one HTML file",
        description="Stages, proven and seen value ranges, shifts, operations, accuracy, the RTL against the golden "
        "model, area and clock of the bitstreams that were built, and where it all comes from: one file that needs no "
        "other.",
    )
    add_network(command)
    add_images(command, default="the shipped ones, resized")
    add_folding(command)
    command.add_argument("--count", type=positive, metavar="N", help="the first N images only")
    command.add_argument("--simulate", type=positive, metavar="N", help="the first N images through the Verilog, too")
    command.add_argument("--date", default="", metavar="TEXT", help="to stand on the page, which has none by itself")
    command.add_argument("--out", required=True, type=Path, metavar="FILE.html")
    command = commands.add_parser(
        "peers",
        help="published accelerators beside what make bench measured",
        description="Published binary-network accelerators, each with its source, beside the designs of make bench.",
    )
    command.add_argument("--bench", type=Path, default=BENCH, metavar="FILE", help="default build/reports/bench.json")
    return parser


def _declared(arguments: argparse.Namespace) -> Structure:
    side = arguments.image or 32
    classes = arguments.classes or (1000 if side > CIFAR_SIDE_MAX else 10)
    return declared_network(arguments.network, classes=classes, image=side)


def _operations(arguments: argparse.Namespace) -> None:
    if arguments.file:
        for option in ("image", "classes"):
            if getattr(arguments, option):
                raise UserError(f"--{option}: {arguments.file} has its own")
        network = load_network(arguments.file)
        structure, precision = network.structure, operations.Precision.of(network)
    else:
        structure, precision = _declared(arguments), operations.Precision()
    if arguments.json:
        with replacing(arguments.json) as temporary:
            temporary.write_text(json.dumps(operations.to_json(structure, precision), indent=1) + "\n")
    screen = console(WIDTH)
    for table in operations.tables(structure, precision):
        screen.print(table)
    for note in operations.footnotes(structure, precision):
        screen.print(note, highlight=False)


def _images(path: Path, structure: Structure, count: int | None) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    images, labels = read_images(path, structure.height, structure.width, structure.classes)
    if count is not None and count > len(images):
        raise UserError(f"{path}: {len(images)} images, not {count}")
    return images[:count], None if labels is None else labels[:count]


def _case(arguments: argparse.Namespace) -> tuple[scale.Case, dict[str, Any]]:
    """The float network with its logits, and where it came from."""
    if arguments.random is not None:
        structure, variant = _declared(arguments), Variant()
        tensors = random_checkpoint(structure, np.random.default_rng(arguments.random))
        if arguments.images:
            images = _images(arguments.images, structure, arguments.count)[0]
        else:
            images = calibration_images(structure, arguments.count or RANDOM_IMAGES, arguments.random)
        labels = None
    else:
        from abbnn.train.checkpoint import load

        if arguments.classes:
            raise UserError(f"--classes: {arguments.checkpoint} has its own")
        if not arguments.images:
            raise UserError("a checkpoint wants --images")
        structure, variant, tensors, _ = load(arguments.checkpoint, arguments.network, arguments.image)
        images, labels = _images(arguments.images, structure, arguments.count)
    if len(images) < 2:
        raise UserError("one image tells nothing of a correlation; 2 are needed at least")
    logits = scale.float_logits(structure, variant, tensors, images)
    source = {
        "network": structure.to_dict(),
        "checkpoint": None if arguments.checkpoint is None else str(arguments.checkpoint),
        "random": arguments.random,
    }
    return scale.Case(structure, variant, tensors, images, logits, labels), source


def _scale(arguments: argparse.Namespace) -> None:
    if arguments.out.exists() and not arguments.out.is_dir():
        raise UserError(f"{arguments.out}: not a folder")
    try:
        case, source = _case(arguments)
        with tqdm(total=scale.runs() * len(case.images), unit="img", disable=None) as progress:
            try:
                rows = scale.sweep(case, progress.update)
            except UserError as error:
                raise UserError(f"{arguments.checkpoint or arguments.network}: {error}") from None
        written = scale.write(case, rows, source, arguments.out)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "matplotlib"):
            raise
        raise UserError(f"this report needs {error.name}: make setup-train") from None
    console(WIDTH).print(scale.table(case, rows))
    print(f"written: {', '.join(map(str, written))}")


def _networks(arguments: argparse.Namespace) -> None:
    if not arguments.models.is_dir():
        raise UserError(f"{arguments.models}: no such folder")
    paths = sorted(arguments.models.glob("*.safetensors"))
    rows = networks.declared_rows([path.stem for path in paths])
    for path in paths:
        images = labels = None
        if arguments.images:
            structure = load_network(path).structure
            images, labels = _images(arguments.images, structure, None)
            if labels is None:
                raise UserError(f"{arguments.images}: no labels")
        rows.append(networks.frozen_row(path, images, labels))
    print(markdown(networks.HEADER, rows, texts=3))


def _picture(arguments: argparse.Namespace) -> None:
    drawing = picture.svg(Pipeline.read(arguments.network, arguments.fold, arguments.cycles))
    with replacing(arguments.out) as temporary:
        temporary.write_text(drawing, encoding="utf-8")


def _page(arguments: argparse.Namespace, words: Sequence[str]) -> int:
    """Status 1 if the Verilog differs from the golden model; the page says where."""
    pipeline = Pipeline.read(arguments.network, arguments.fold, arguments.cycles)
    structure = pipeline.network.structure
    images: ImageSource
    if arguments.images is None:
        images, labels = shipped_images(structure)
    else:
        images, labels = open_images(arguments.images, structure.height, structure.width, structure.classes)
    source, count = arguments.images or SHIPPED_IMAGES, arguments.count or len(images)
    for wanted in (count, arguments.simulate or 0):
        if wanted > len(images):
            raise UserError(f"{source}: {len(images)} images, not {wanted}")
    with replacing(arguments.out) as temporary:
        with tqdm(total=count, unit="img", disable=None) as progress:
            measured = page.measure(pipeline, images, count, progress.update)
        sim, simulation = "", None
        if arguments.simulate:
            some = np.ascontiguousarray(images[: arguments.simulate])
            sim = default_simulator()
            folder = run_folder(paths.BUILD / f"run-page-{structure.name}-{sim}")
            simulation = simulated(
                pipeline, some, None if labels is None else labels[: arguments.simulate], folder, sim
            )
        made = page.Page(
            path=arguments.network,
            pipeline=pipeline,
            measured=measured,
            labels=None if labels is None else labels[:count],
            images_name=source.resolve().name,
            command=words,
            folding_options=[
                word
                for option, given in (("--fold", arguments.fold), ("--cycles", arguments.cycles))
                if given
                for word in (option, str(given))
            ],
            simulator=sim,
            simulation=simulation,
            bitstreams=page.read_bitstreams(arguments.network.stem, network_hash(pipeline.network)),
            date=arguments.date,
        )
        temporary.write_text(made.render(), encoding="utf-8")
    if simulation and simulation[1]:
        print(f"{arguments.out}: {simulation[1]}", file=sys.stderr)
        return 1
    return 0


def _peers(arguments: argparse.Namespace) -> None:
    rows = [*peers.bench_rows(arguments.bench), *peers.read_peers()]
    console(PEERS_WIDTH).print(peers.table(rows))


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(words)
    commands: dict[str, Callable[[argparse.Namespace], int | None]] = {
        "operations": _operations,
        "scale": _scale,
        "networks": _networks,
        "picture": _picture,
        "page": lambda given: _page(given, words),
        "peers": _peers,
    }
    command = commands[arguments.command]
    return run(f"abbnn report {arguments.command}", lambda: command(arguments))


if __name__ == "__main__":
    sys.exit(main())
