"""The project from Python: load a network, run it, export it, simulate it.

from abbnn.api import golden, load, shipped_images, simulate

network = load("models/tiny.safetensors")
images, labels = shipped_images(network)
layers = golden(network, images[:2])                # every layer, layers["scores"] (2, 10) among them
report = simulate(network, images[:2])              # the same in Verilog; raises Mismatch where a value differs
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abbnn import paths
from abbnn.building import run_folder
from abbnn.errors import UserError
from abbnn.export.folding import balance, read_folding
from abbnn.export.mem import write
from abbnn.export.pipeline import Pipeline
from abbnn.golden.images import SHIPPED_IMAGES, read_images, resized
from abbnn.golden.model import Layers, forward
from abbnn.golden.network import IntegerNetwork, load_network
from abbnn.tb.pipeline import Report, run_core

__all__ = ["Mismatch", "export", "golden", "load", "shipped_images", "simulate"]


class Mismatch(AssertionError):
    """The Verilog and the golden model differ; the message names the first value."""


def load(path: str | Path) -> IntegerNetwork:
    """The frozen network in a file. UserError, one line, if it is none."""
    return load_network(Path(path))


def shipped_images(network: IntegerNetwork) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """100 CIFAR-10 test images uint8 (100, H, W, 3), resized to the network's input, and their labels (100,)."""
    images, labels = read_images(SHIPPED_IMAGES)
    if labels is None:
        raise UserError(f"{SHIPPED_IMAGES}: no labels")
    return resized(images, network.structure.height, network.structure.width), labels


def golden(network: IntegerNetwork, images: NDArray[np.uint8]) -> Layers:
    """Layer name -> integers (N, H, W, C), "scores" (N, classes) and "class" (N,), of images uint8 (N, H, W, 3)."""
    return forward(network, images)


def export(
    network: IntegerNetwork, folder: str | Path, *, cycles: int | None = None, fold: str | Path | None = None
) -> Pipeline:
    """Memory files, header and manifest for abbnn_core in `folder`, an earlier export there replaced.

    The folding is that of the file `fold`, else balanced to `cycles` cycles a frame.
    """
    pipeline = Pipeline(network, read_folding(Path(fold)) if fold else balance(network, cycles))
    write(network, pipeline.folding, Path(folder))
    return pipeline


def simulate(
    network: IntegerNetwork,
    images: NDArray[np.uint8],
    *,
    labels: NDArray[np.int64] | None = None,
    cycles: int | None = None,
    simulator: str = "icarus",
    folder: str | Path | None = None,
) -> Report:
    """Streams images uint8 (N, H, W, 3) through abbnn_core on "icarus" or "verilator" and compares every layer.

    Raises Mismatch if a value differs. What is built lies in `folder`, by default below build/.
    """
    where = Path(folder) if folder else run_folder(paths.BUILD / "api" / f"{network.structure.name}-{simulator}")
    try:
        return run_core(network, images, labels, where, folding=balance(network, cycles), sim=simulator)
    except SystemExit as error:
        try:
            first = Report.load(where).first_mismatch
        except FileNotFoundError:
            first = None
        raise Mismatch(first or f"the simulation failed: {error}") from None
