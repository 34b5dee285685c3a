"""`make sim TOPLEVEL=abbnn_core`: stream images through the core in simulation and print what was compared."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from abbnn import paths
from abbnn.building import run_folder
from abbnn.errors import UserError, run
from abbnn.export.folding import read_folding
from abbnn.golden.images import CIFAR_CLASSES, CIFAR_SIDE, SHIPPED_IMAGES, read_images, resized
from abbnn.golden.network import load_network
from abbnn.golden.structure import Structure
from abbnn.tb.bench import BUILD, SIM_LOG, default_simulator
from abbnn.tb.pipeline import Report, counted, run_core


def shipped_images(structure: Structure) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """The images that come with the project in the network's size; their labels, if it has as many classes."""
    images, labels = read_images(SHIPPED_IMAGES)
    if (structure.height, structure.width) != (CIFAR_SIDE, CIFAR_SIDE):
        print(f"{SHIPPED_IMAGES.name}: resized to {structure.height}x{structure.width} by the nearest pixel")
        images = resized(images, structure.height, structure.width)
    return images, labels if structure.classes == CIFAR_CLASSES else None


def tables(report: Report) -> list[Table]:
    """The two tables of the closing report."""
    images = Table(title=f"{report.network} on {report.simulator}", caption="cycles: first pixel in to class out")
    for column in ("image", "label", "predicted", "cycles"):
        images.add_column(column, justify="right")
    for index, result in enumerate(report.images):
        label = str(result["label"]) if result["label"] >= 0 else "-"
        images.add_row(str(index), label, str(result["predicted"]), str(result["left"] - result["entered"]))
    layers = Table()
    layers.add_column("layer")
    for column in ("values compared", "mismatches"):
        layers.add_column(column, justify="right")
    for row in report.layers:
        layers.add_row(row["layer"], f"{row['values']:,}", f"{row['mismatches']:,}")
    total = sum(row["values"] for row in report.layers), sum(row["mismatches"] for row in report.layers)
    layers.add_section()
    layers.add_row("all", f"{total[0]:,}", f"{total[1]:,}")
    return [images, layers]


def _run(arguments: argparse.Namespace) -> int:
    network = load_network(arguments.network)
    structure = network.structure
    if arguments.data is None:
        images, labels = shipped_images(structure)
    else:
        images, labels = read_images(arguments.data, structure.height, structure.width)
    first, count = arguments.first, arguments.images
    if not (first >= 0 and 1 <= count <= len(images) - first):
        source = arguments.data or SHIPPED_IMAGES
        raise UserError(f"FIRST={first} IMAGES={count}: {source} has images 0 to {len(images) - 1}")
    images, labels = images[first : first + count], None if labels is None else labels[first : first + count]
    folding = None if arguments.fold is None else read_folding(arguments.fold)
    sim = default_simulator()
    folder = run_folder(BUILD / f"run-sim-{structure.name}-{sim}")
    console = Console()
    print(f"building and running abbnn_core for {arguments.network}, log in {folder / SIM_LOG}")
    failure = None
    try:
        with counted(folder, len(images), sim):
            report = run_core(network, images, labels, folder, folding=folding)
    except SystemExit as error:
        failure = str(error)
        try:
            report = Report.load(folder)
        except FileNotFoundError:
            raise UserError(f"the simulation stopped early, see above and {folder / SIM_LOG}: {failure}") from None
    for table in tables(report):
        console.print(table)
    if labels is not None:
        right = sum(row["label"] == row["predicted"] for row in report.images)
        console.print(f"{right} of {len(report.images)} images classified as labelled")
    console.print(f"{report.cycles:,} cycles simulated in {report.seconds:.1f} s")
    if failure is not None:
        console.print(f"MISMATCH: {report.first_mismatch or failure}", style="bold red")
        return 1
    console.print("every value of every layer equals the golden model")
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="abbnn sim", description=__doc__)
    parser.add_argument("--network", type=Path, default=paths.MODELS / "tiny.safetensors", metavar="FILE.safetensors")
    parser.add_argument(
        "--images", type=int, default=10, metavar="N", help="how many of the images; default %(default)s"
    )
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first; default %(default)s")
    parser.add_argument(
        "--fold", type=Path, metavar="FOLD.json", help="PE and SIMD of every stage; default: as export mem chooses"
    )
    parser.add_argument(
        "--data", type=Path, metavar="IMAGES", help="of the network's size; default: the shipped ones, resized"
    )
    arguments = parser.parse_args(argv)
    return run("abbnn sim", lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
