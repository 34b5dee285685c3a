"""`make sim TOPLEVEL=abbnn_core`: stream images through the core in simulation and print what was compared."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from abbnn.building import run_folder
from abbnn.errors import UserError, run
from abbnn.export.pipeline import Pipeline
from abbnn.golden.images import CIFAR_CLASSES, CIFAR_SIDE, SHIPPED_IMAGES, read_images, resized
from abbnn.golden.structure import Structure
from abbnn.options import SHIPPED_NETWORK, add_folding, add_images, add_network, natural, positive
from abbnn.tb.bench import BUILD, SIM_LOG, default_simulator, waves_written
from abbnn.tb.pipeline import Report, counted, run_core


def shipped_images(structure: Structure) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """The images that come with the project in the network's size; their labels, if it has as many classes."""
    images, labels = read_images(SHIPPED_IMAGES)
    if (structure.height, structure.width) != (CIFAR_SIDE, CIFAR_SIDE):
        print(f"{SHIPPED_IMAGES.name}: resized to {structure.height}x{structure.width} by the nearest pixel")
        images = resized(images, structure.height, structure.width)
    return images, labels if structure.classes == CIFAR_CLASSES else None


def simulated(
    pipeline: Pipeline, images: NDArray[np.uint8], labels: NDArray[np.int64] | None, folder: Path, sim: str
) -> tuple[Report, str | None]:
    """What a run of the core in `folder` has shown and, if a value differs, which. UserError if it stopped early."""
    try:
        with counted(folder, len(images), sim):
            return run_core(pipeline.network, images, labels, folder, folding=pipeline.folding, sim=sim), None
    except SystemExit as error:
        try:
            report = Report.load(folder)
        except FileNotFoundError:
            raise UserError(f"the simulation stopped early, see above and {folder / SIM_LOG}: {error}") from None
        return report, report.first_mismatch or str(error)


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
    pipeline = Pipeline.read(arguments.network, arguments.fold, arguments.cycles)
    structure = pipeline.network.structure
    if arguments.images is None:
        images, labels = shipped_images(structure)
    else:
        images, labels = read_images(arguments.images, structure.height, structure.width, structure.classes)
    first, count = arguments.first, arguments.count
    if count > len(images) - first:
        source = arguments.images or SHIPPED_IMAGES
        raise UserError(f"{count} images from number {first} on: {source} has images 0 to {len(images) - 1}")
    images, labels = images[first : first + count], None if labels is None else labels[first : first + count]
    sim = default_simulator()
    folder = run_folder(BUILD / f"run-sim-{structure.name}-{sim}")
    console = Console()
    print(f"building and running abbnn_core for {arguments.network}, log in {folder / SIM_LOG}")
    report, failure = simulated(pipeline, images, labels, folder, sim)
    for table in tables(report):
        console.print(table)
    if labels is not None:
        right = sum(row["label"] == row["predicted"] for row in report.images)
        console.print(f"{right} of {len(report.images)} images classified as labelled")
    console.print(f"{report.cycles:,} cycles simulated in {report.seconds:.1f} s")
    for waves in waves_written:
        print(waves)
    if failure is not None:
        when = "" if report.first_mismatch_ns is None else f", at {report.first_mismatch_ns:,} ns"
        hint = "" if waves_written else "; with WAVES=1 it is marked in waveforms"
        console.print(f"MISMATCH: {failure}{when}{hint}", style="bold red")
        return 1
    console.print("every value of every layer equals the golden model")
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="abbnn sim", description=__doc__)
    add_network(parser, default=SHIPPED_NETWORK)
    add_images(parser, default="the shipped ones, resized")
    parser.add_argument("--count", type=positive, default=10, metavar="N", help="of the images; default %(default)s")
    parser.add_argument(
        "--first", type=natural, default=0, metavar="N", help="number of the first; default %(default)s"
    )
    add_folding(parser)
    arguments = parser.parse_args(argv)
    return run("abbnn sim", lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
