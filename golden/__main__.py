"""Command line: run images through a frozen network, bit-exact."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from abbnn.errors import UserError, run
from abbnn.golden.files import making, naming, replacing
from abbnn.golden.images import ImageSource, open_images
from abbnn.golden.model import Model, saturating_layers, values_at_limit
from abbnn.golden.network import load_network
from abbnn.golden.ops import Integers
from abbnn.options import add_images, add_jobs, add_network


class LayerFiles:
    """One .npy file a layer in `folder`, int32 with the images first, filled in any order and from any thread."""

    def __init__(self, folder: Path, model: Model, images: ImageSource) -> None:
        self.folder = folder
        self.starts: dict[str, int] = {}
        # An image on trial shows the shapes.
        for name, values in model.layers(np.ascontiguousarray(images[:1])):
            path = folder / f"{name}.npy"
            with naming(path), path.open("wb") as file:
                header = {"descr": "<i4", "fortran_order": False, "shape": (len(images), *values.shape[1:])}
                np.lib.format.write_array_header_1_0(file, header)
                self.starts[name] = file.tell()
                file.truncate(file.tell() + 4 * len(images) * values.size)
        self.bytes = sum(path.stat().st_size for path in folder.iterdir())

    def put(self, name: str, first: int, values: Integers) -> None:
        """A layer of the images from number `first` on."""
        data = np.ascontiguousarray(values, "<i4")
        path = self.folder / f"{name}.npy"
        with naming(path), path.open("r+b") as file:
            file.seek(self.starts[name] + first * data[0].nbytes)
            file.write(data.data)


@dataclass(frozen=True)
class Outcome:
    """What is kept of a batch: int32 (N, classes), and how many values of a layer sit at the end of their range."""

    scores: NDArray[np.int32]
    at_limit: Counter[str]


def run_batch(model: Model, images: ImageSource, first: int, files: LayerFiles | None) -> Outcome:
    """A batch from number `first` on through the network, layer by layer, each forgotten once it is written."""
    saturating = frozenset(saturating_layers(model.network.structure))
    scores = np.zeros((0, 0), np.int32)
    at_limit: Counter[str] = Counter()
    for name, values in model.layers(np.ascontiguousarray(images[first : first + model.batch_size])):
        if files:
            files.put(name, first, values)
        if name in saturating:
            at_limit[name] = values_at_limit(values, model.network.value_width)
        if name == "scores":
            scores = values.astype(np.int32)
    return Outcome(scores, at_limit)


def evaluate(
    model: Model, images: ImageSource, jobs: int, files: LayerFiles | None, progress: Callable[[int], object]
) -> Outcome:
    """All images in `jobs` threads; `progress` is told how many are done. No more than `jobs` batches are begun ahead
    of the one that is waited for, and each reads its own images, so that memory does not grow with them.
    """
    scores = np.zeros((len(images), model.network.structure.classes), np.int32)
    at_limit: Counter[str] = Counter()
    pool = ThreadPoolExecutor(jobs)

    def pending() -> Iterator[tuple[int, Future[Outcome]]]:
        waiting: deque[tuple[int, Future[Outcome]]] = deque()
        for first in range(0, len(images), model.batch_size):
            waiting.append((first, pool.submit(run_batch, model, images, first, files)))
            if len(waiting) > jobs:
                yield waiting.popleft()
        yield from waiting

    try:
        for first, future in pending():
            outcome = future.result()
            scores[first : first + len(outcome.scores)] = outcome.scores
            at_limit += outcome.at_limit
            progress(len(outcome.scores))
    finally:
        pool.shutdown(cancel_futures=True)
    return Outcome(scores, at_limit)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="abbnn golden",
        description="Class scores of images by the bit-exact integer model: what the RTL must give, value by value.",
    )
    add_network(parser)
    add_images(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="SCORES.npy", help="int32 (N, classes)")
    parser.add_argument("--layers", type=Path, metavar="DIR", help="also every layer's output, one .npy each, into DIR")
    add_jobs(parser)
    return parser


def _layer_files(stack: ExitStack, folder: Path, model: Model, images: ImageSource) -> LayerFiles:
    """Says how much will be written. UserError if that does not fit the disk."""
    files = LayerFiles(stack.enter_context(making(folder)), model, images)
    free = shutil.disk_usage(files.folder).free
    if files.bytes > free:
        raise UserError(f"{folder}: the layers have {files.bytes:,} bytes, on the disk {free:,} are free")
    print(f"{folder}: {files.bytes:,} bytes in {len(files.starts)} files", flush=True)
    return files


def _run(arguments: argparse.Namespace) -> None:
    network = load_network(arguments.network)
    structure = network.structure
    images, labels = open_images(arguments.images, structure.height, structure.width, structure.classes)
    model = Model(network)
    with ExitStack() as stack:
        temporary = stack.enter_context(replacing(arguments.out))
        files = _layer_files(stack, arguments.layers, model, images) if arguments.layers else None
        started = time.perf_counter()
        with tqdm(total=len(images), unit="img", disable=None) as progress:
            outcome = evaluate(model, images, arguments.jobs, files, progress.update)
        with temporary.open("wb") as file:
            np.save(file, outcome.scores)
    rate = len(images) / (time.perf_counter() - started)
    print(f"{arguments.out}: scores of {len(images)} images, worth 2**-{network.score_fraction_bits} each")
    at_limit = {name: outcome.at_limit[name] for name in saturating_layers(structure) if outcome.at_limit[name]}
    print(f"values at the end of their range: {at_limit or 'none'}")
    print(f"{rate:.1f} images/s with --jobs {arguments.jobs}")
    if labels is not None:
        right = int((outcome.scores.argmax(axis=1) == labels).sum())
        print(f"top-1 {right} of {len(labels)}: {100 * right / len(labels):.2f}%")


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    return run("abbnn golden", lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
