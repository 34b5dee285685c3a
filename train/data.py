"""CIFAR-10 from disk, and augmentation. Nothing is downloaded."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.images import read_images

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

SIDE = 32
PIXELS = 3 * SIDE * SIDE
BATCH_IMAGES = 10_000
CLASSES = 10
PAD = 4
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCH = "test_batch"
BINARY_FOLDER = "cifar-10-batches-bin"
PICKLE_FOLDER = "cifar-10-batches-py"

# The official CIFAR code normalises with ImageNet's constants.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Cifar(NamedTuple):
    """Images uint8 (N, 32, 32, 3) and labels int64 (N,)."""

    images: Images
    labels: Labels


class _ArrayUnpickler(pickle.Unpickler):
    """Builds numpy arrays from containers, strings and numbers, and refuses every other global."""

    ALLOWED = frozenset(
        (module, name)
        for core in ("numpy.core", "numpy._core")
        for module, name in (
            (f"{core}.multiarray", "_reconstruct"),
            (f"{core}.multiarray", "scalar"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        )
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _find_folder(folder: Path) -> tuple[Path, bool]:
    """The folder that holds the batches, and whether they are in the binary layout."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    for candidate in (folder, folder / BINARY_FOLDER, folder / PICKLE_FOLDER):
        if (candidate / f"{TEST_BATCH}.bin").exists() or (candidate / f"{TRAIN_BATCHES[0]}.bin").exists():
            return candidate, True
        if (candidate / TEST_BATCH).exists() or (candidate / TRAIN_BATCHES[0]).exists():
            return candidate, False
    raise ValueError(f"{folder}: neither {BINARY_FOLDER} nor {PICKLE_FOLDER} is here")


def _read_binary(path: Path) -> Cifar:
    """One file of records (label byte, then 3072 bytes: the red, green and blue planes)."""
    size, expected = path.stat().st_size, BATCH_IMAGES * (1 + PIXELS)
    if size != expected:
        raise ValueError(f"{path}: {size} bytes, expected {expected}")
    images, labels = read_images(path)
    assert labels is not None
    return Cifar(images, labels)


def _read_pickle(path: Path) -> Cifar:
    """One pickled dict with b"data" uint8 (10000, 3072) and b"labels", a list."""
    try:
        with path.open("rb") as file:
            batch = _ArrayUnpickler(file, encoding="bytes").load()
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ValueError(f"{path}: not a CIFAR-10 batch: {error}") from None
    planes = batch.get(b"data") if isinstance(batch, dict) else None
    labels = batch.get(b"labels") if isinstance(batch, dict) else None
    if not isinstance(planes, np.ndarray) or planes.dtype != np.uint8 or planes.shape != (BATCH_IMAGES, PIXELS):
        raise ValueError(f'{path}: b"data" is not uint8 of shape ({BATCH_IMAGES}, {PIXELS})')
    if (
        not isinstance(labels, list)
        or len(labels) != BATCH_IMAGES
        or not all(isinstance(label, int) and 0 <= label < CLASSES for label in labels)
    ):
        raise ValueError(f'{path}: b"labels" is not a list of {BATCH_IMAGES} classes')
    return _cifar(path, planes, np.array(labels, dtype=np.int64))


def _cifar(path: Path, planes: Images, labels: Labels) -> Cifar:
    if int(labels.max()) >= CLASSES:
        raise ValueError(f"{path}: label {labels.max()}; there are {CLASSES} classes")
    return Cifar(np.ascontiguousarray(planes.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)), labels)


def _read(folder: Path, names: tuple[str, ...]) -> Cifar:
    folder, binary = _find_folder(folder)
    parts = []
    for name in names:
        path = folder / (f"{name}.bin" if binary else name)
        if not path.is_file():
            raise ValueError(f"{path}: missing")
        parts.append(_read_binary(path) if binary else _read_pickle(path))
    return Cifar(np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts]))


def read_train(folder: str | Path) -> Cifar:
    """The 50,000 training images of the official binary or Python folder, or of the folder that holds one.

    Raises ValueError with one line that names what is missing or wrong.
    """
    return _read(Path(folder), TRAIN_BATCHES)


def read_test(folder: str | Path) -> Cifar:
    """The 10,000 test images; as `read_train`."""
    return _read(Path(folder), (TEST_BATCH,))


def augmented_batches(data: Cifar, batch_size: int, seed: tuple[int, ...]) -> Iterator[Cifar]:
    """One epoch in random order: reflect-pad 4, random crop, random horizontal flip; the last short batch is kept.

    The order, the crops and the flips depend on `seed` alone, so an epoch can be repeated after a resume.
    """
    count, height, width, _ = data.images.shape
    random = np.random.default_rng(seed)
    order = random.permutation(count)
    tops = random.integers(0, 2 * PAD + 1, (count, 1))
    lefts = random.integers(0, 2 * PAD + 1, (count, 1))
    flips = random.random((count, 1)) < 0.5
    # Pad, crop and flip are one gather: where in the image each pixel of the result comes from.
    rows = _reflected(np.arange(height) + tops - PAD, height)
    columns = np.arange(width) + lefts - PAD
    columns = _reflected(np.where(flips, columns[:, ::-1], columns), width)
    for start in range(0, count, batch_size):
        batch = order[start : start + batch_size]
        index = batch[:, None, None], rows[batch][:, :, None], columns[batch][:, None, :]
        yield Cifar(data.images[index], data.labels[batch])


def _reflected(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Positions outside 0 .. size - 1 folded back without repeating the edge, as numpy.pad's "reflect"."""
    distance = np.abs(index)
    return np.where(distance >= size, 2 * (size - 1) - distance, distance)
