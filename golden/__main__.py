"""Command line: run images through a frozen network, bit-exact."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    # Threads work on batches of their own; BLAS reads this once, when NumPy loads it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from abbnn.errors import UserError, run
from abbnn.golden.files import replacing
from abbnn.golden.images import read_images
from abbnn.golden.model import Model, saturating_layers, values_at_limit
from abbnn.golden.network import load_network
from abbnn.golden.ops import Integers
from abbnn.golden.structure import Structure


class LayerFiles:
    """One .npy file a layer, int32 with the images first, filled in any order in a hidden folder beside `folder`."""

    def __init__(self, folder: Path, structure: Structure, images: int) -> None:
        if folder.exists():
            raise UserError(f"{folder}: exists; --layers wants a new folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        self.images = images
        self.files: dict[str, NDArray[np.int32]] = {}
        self.opening = threading.Lock()

    def put(self, name: str, first: int, values: Integers) -> None:
        """A layer of the images from number `first` on; from any thread."""
        with self.opening:
            if name not in self.files:
                self.files[name] = np.lib.format.open_memmap(
                    self.temporary / f"{name}.npy", "w+", np.int32, (self.images, *values.shape[1:])
                )
        self.files[name][first : first + len(values)] = values

    def close(self, *, keep: bool) -> None:
        self.files.clear()
        if keep:
            self.temporary.chmod(0o755)
            self.temporary.rename(self.folder)
        else:
            shutil.rmtree(self.temporary)


@dataclass(frozen=True)
class Outcome:
    """What is kept of a batch: int32 (N, classes), and how many values of a layer sit at the end of their range."""

    scores: NDArray[np.int32]
    at_limit: Counter[str]


def run_batch(model: Model, images: NDArray[np.uint8], first: int, files: LayerFiles | None) -> Outcome:
    """Images from number `first` on through the network, layer by layer, each forgotten once it is written."""
    saturating = frozenset(saturating_layers(model.network.structure))
    scores = np.zeros((0, 0), np.int32)
    at_limit: Counter[str] = Counter()
    for name, values in model.layers(images):
        if files:
            files.put(name, first, values)
        if name in saturating:
            at_limit[name] = values_at_limit(values, model.network.value_width)
        if name == "scores":
            scores = values.astype(np.int32)
    return Outcome(scores, at_limit)


def evaluate(
    model: Model, images: NDArray[np.uint8], jobs: int, files: LayerFiles | None, progress: Callable[[int], object]
) -> Outcome:
    """All images in `jobs` threads; `progress` is told how many are done. No more than `jobs` batches are begun ahead
    of the one that is waited for, so that memory does not grow with the images.
    """
    scores = np.zeros((len(images), model.network.structure.classes), np.int32)
    at_limit: Counter[str] = Counter()
    pool = ThreadPoolExecutor(jobs)

    def pending() -> Iterator[tuple[int, Future[Outcome]]]:
        waiting: deque[tuple[int, Future[Outcome]]] = deque()
        for first in range(0, len(images), model.batch_size):
            batch = images[first : first + model.batch_size]
            waiting.append((first, pool.submit(run_batch, model, batch, first, files)))
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


def _check_labels(path: Path, labels: NDArray[np.int64], structure: Structure) -> None:
    if labels.max() >= structure.classes:
        culprit = f"label {labels.max()} of image {int(labels.argmax())}"
        raise UserError(f"{path}: {culprit}; {structure.name} has {structure.classes} classes")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="abbnn golden",
        description="Class scores of images by the bit-exact integer model: what the RTL must give, value by value.",
    )
    parser.add_argument("network", type=Path, metavar="FILE.safetensors", help="a frozen network")
    parser.add_argument(
        "images",
        type=Path,
        metavar="IMAGES",
        help=".npy uint8 (N,H,W,3), .npz of images and labels, a folder of pictures, or a cifar-10-batches-bin folder",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="SCORES.npy", help="int32 (N, classes)")
    parser.add_argument("--layers", type=Path, metavar="DIR", help="also every layer's output, one .npy each, into DIR")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="threads; %(default)s, all cores, by default"
    )
    return parser


def _run(arguments: argparse.Namespace) -> None:
    if arguments.jobs < 1:
        raise UserError(f"--jobs {arguments.jobs}: at least 1 works")
    if arguments.out.is_dir():
        raise UserError(f"{arguments.out}: a folder; --out wants a file")
    network = load_network(arguments.network)
    structure = network.structure
    images, labels = read_images(arguments.images, structure.height, structure.width)
    if labels is not None:
        _check_labels(arguments.images, labels, structure)
    model = Model(network)
    files = LayerFiles(arguments.layers, structure, len(images)) if arguments.layers else None
    started = time.perf_counter()
    try:
        with (
            replacing(arguments.out) as temporary,
            temporary.open("wb") as file,
            tqdm(total=len(images), unit="img", disable=None) as progress,
        ):
            outcome = evaluate(model, images, arguments.jobs, files, progress.update)
            np.save(file, outcome.scores)
    except BaseException:
        if files:
            files.close(keep=False)
        raise
    if files:
        files.close(keep=True)
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
