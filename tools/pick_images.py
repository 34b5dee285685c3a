"""Make models/cifar10_test100.npz: the first ten test images of each CIFAR-10 class.

    python -m tools.pick_images --data DIR --out models/cifar10_test100.npz

The images are interleaved by class: 0, 1 .. 9, 0, 1 .. 9, so every run of ten holds one of each. The file holds
`images` uint8 (100, 32, 32, 3), `labels` int64 (100,), and `positions` int64 (100,): each image's place in the test
batch. The same input gives the same arrays.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abbnn.errors import UserError, run
from abbnn.golden.files import replacing
from abbnn.golden.images import CIFAR_CLASSES, read_images

PER_CLASS = 10


def pick(labels: NDArray[np.int64], per_class: int = PER_CLASS, classes: int = CIFAR_CLASSES) -> NDArray[np.int64]:
    """Positions of the first `per_class` images of each class, interleaved by class.

    >>> pick(np.array([1, 1, 0, 1, 0, 0]), per_class=2, classes=2).tolist()
    [2, 0, 4, 1]
    """
    positions = [np.flatnonzero(labels == index)[:per_class] for index in range(classes)]
    for index, found in enumerate(positions):
        if len(found) < per_class:
            raise UserError(f"{len(found)} images of class {index}, {per_class} are needed")
    return np.stack(positions, axis=1).reshape(-1)


def _pick(data: Path, out: Path) -> None:
    images, labels = read_images(data)
    if labels is None:
        raise UserError(f"{data}: no labels")
    positions = pick(labels)
    with replacing(out) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, images=images[positions], labels=labels[positions], positions=positions)
    print(f"{out}: {len(positions)} images, {out.stat().st_size} bytes")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.pick_images", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="cifar-10-batches-bin, or the folder that holds it")
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    options = parser.parse_args(arguments)
    return run("pick_images", lambda: _pick(options.data, options.out))


if __name__ == "__main__":
    sys.exit(main())
