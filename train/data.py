"""Labelled images from disk, and their augmentation: CIFAR-10, CIFAR-100, ImageNet folders. Nothing is downloaded.

CIFAR lies in memory (on a GPU, in the GPU's) and is augmented a batch at a time; ImageNet's pictures are decoded and
augmented one by one, in worker processes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from abbnn.errors import UserError
from abbnn.golden.files import readable
from abbnn.golden.images import PICTURE_SUFFIXES, Cifar, find_cifar
from abbnn.golden.structure import CIFAR_SIDE, IMAGENET_SIDE
from abbnn.train.ranks import Ranks

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Indices = NDArray[np.int64]
Seed = tuple[int, ...]

SHIFT = 4  # pixels that a crop moves at most
FLIPS = 1  # tells a seed of flips from one of crops
CIFAR_TRAIN_IMAGES = 50_000
CIFAR_TEST_IMAGES = 10_000

CROP_AREA = (0.08, 1.0)  # part of the picture
CROP_RATIO = (3 / 4, 4 / 3)  # width to height
CROP_TRIALS = 10
SHORTER_SIDE = 256 / 224  # of the picture before the central crop, in sides of that
# Principal components of ImageNet's colours and their variances, pixels from 0 to 1 (Krizhevsky et al., 2012).
COLOURS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
COLOUR_VARIANCES = np.array([0.2175, 0.0188, 0.0045])
LIGHTING = 0.1


class Batch(NamedTuple):
    """One process's share of a batch: images uint8 (N, H, W, 3) and labels int64 (N,), on the process's device.

    `total` counts the whole batch's images, over all processes. `light`, float32 (N, 3) where there is any, is to be
    added to pixels from 0 to 1. `soft`, float32 (N, classes), are the soft labels where the images have any.
    """

    images: Tensor
    labels: Tensor
    total: int
    light: Tensor | None = None
    soft: Tensor | None = None


class LabelledImages(ABC):
    """Square images of `side` pixels; `labels` int64 (N,) are classes from 0.

    `soft`, float32 (N, classes), are a teacher's probabilities, where there are any.
    """

    labels: Labels
    side: int
    soft: Tensor | None = None

    @abstractmethod
    def subset(self, indices: Indices) -> LabelledImages:
        """The images at `indices`."""

    @abstractmethod
    def augmented(self, shift: int, alternate: bool) -> LabelledImages:
        """These images with crops that move them by up to `shift` pixels, and flips that alternate or do not."""

    @abstractmethod
    def _load(
        self, shares: Sequence[Indices], seed: Seed | None, random: np.random.Generator | None, device: str
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Images and lighting, as in `Batch`, of each of the shares in turn; augmented if there is a seed."""

    def batches(self, batch_size: int, ranks: Ranks, seed: Seed | None = None, *, first: int = 0) -> Iterator[Batch]:
        """All images once, the last short batch too, from batch number `first` on: as they are and in order or, with a
        seed, augmented and shuffled.

        What happens to an image depends on the seed and its index alone: an epoch can be repeated after a resume, and
        by any number of processes. A seed's last number is the epoch's.
        """
        random = None if seed is None else np.random.default_rng(seed)
        count = len(self.labels)
        order = np.arange(count) if random is None else random.permutation(count)
        wholes = [order[start : start + batch_size] for start in range(first * batch_size, count, batch_size)]
        shares = [ranks.share(whole) for whole in wholes]
        loaded = self._load(shares, seed, random, ranks.device)
        for whole, share, (images, light) in zip(wholes, shares, loaded, strict=True):
            soft = None if self.soft is None else self.soft[torch.from_numpy(share)].to(ranks.device)
            yield Batch(images, torch.from_numpy(self.labels[share]).to(ranks.device), len(whole), light, soft)


@dataclass(eq=False)
class ArrayImages(LabelledImages):
    """Images uint8 (N, side, side, 3) in memory: reflect-pad `shift`, random crop, flip.

    A flip is random or, where `alternate`, random in epochs of even number and the other way in the next.
    """

    images: Pixels
    labels: Labels
    shift: int = SHIFT
    alternate: bool = False
    soft: Tensor | None = None

    def __post_init__(self) -> None:
        self.side = self.images.shape[1]
        self._on_device: dict[str, Tensor] = {}

    def subset(self, indices: Indices) -> ArrayImages:
        soft = None if self.soft is None else self.soft[torch.from_numpy(indices)]
        return replace(self, images=self.images[indices], labels=self.labels[indices], soft=soft)

    def augmented(self, shift: int, alternate: bool) -> ArrayImages:
        return replace(self, shift=shift, alternate=alternate)

    def taught(self, soft: Tensor) -> ArrayImages:
        """These images with soft labels (N, classes)."""
        return replace(self, soft=soft)

    def _load(
        self, shares: Sequence[Indices], seed: Seed | None, random: np.random.Generator | None, device: str
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        if device not in self._on_device:
            self._on_device[device] = torch.from_numpy(self.images).to(device)
        images = self._on_device[device]
        if random is None or seed is None:
            for share in shares:
                yield images[torch.from_numpy(share).to(device)], None
            return
        count = len(images)
        tops = random.integers(0, 2 * self.shift + 1, (count, 1))
        lefts = random.integers(0, 2 * self.shift + 1, (count, 1))
        if self.alternate:
            *run, epoch = seed
            flips = np.random.default_rng((*run, epoch // 2, FLIPS)).random((count, 1)) < 0.5
            flips ^= bool(epoch % 2)
        else:
            flips = random.random((count, 1)) < 0.5
        # Pad, crop and flip are one gather: where in the image each pixel of the result comes from.
        rows = _reflected(np.arange(self.side) + tops - self.shift, self.side)
        columns = np.arange(self.side) + lefts - self.shift
        columns = _reflected(np.where(flips, columns[:, ::-1], columns), self.side)
        for share in shares:
            index = share[:, None, None], rows[share][:, :, None], columns[share][:, None, :]
            yield images[tuple(torch.from_numpy(part).to(device) for part in index)], None


def _reflected(index: Indices, size: int) -> Indices:
    """Positions outside 0 .. size - 1 folded back without repeating the edge, as numpy.pad's "reflect"."""
    distance = np.abs(index)
    return np.where(distance >= size, 2 * (size - 1) - distance, distance)


@dataclass(frozen=True)
class PictureImages(LabelledImages):
    """Picture files of any size, by `workers` processes (0: this one): a random part resized, lighting, random flip.

    Without augmentation, the centre: the shorter side resized to 256 / 224 of `side`, then cropped.
    """

    files: tuple[Path, ...]
    labels: Labels
    side: int
    workers: int

    def subset(self, indices: Indices) -> PictureImages:
        return replace(self, files=tuple(self.files[index] for index in indices), labels=self.labels[indices])

    def augmented(self, shift: int, alternate: bool) -> PictureImages:
        if alternate:
            raise UserError("flips alternate for CIFAR only")
        return self

    def _load(
        self, shares: Sequence[Indices], seed: Seed | None, random: np.random.Generator | None, device: str
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        loader = DataLoader(
            _Pictures(self.files, self.side, seed),
            batch_sampler=[share.tolist() for share in shares],
            num_workers=self.workers,
            collate_fn=partial(_collate, self.side),
            pin_memory=device != "cpu",
            generator=torch.Generator(),  # its own: drawing a seed from torch's would disturb that
        )
        try:
            for images, light in loader:
                images = images.to(device, non_blocking=True)
                yield images, None if seed is None else light.to(device, non_blocking=True)
        except ValueError as error:  # what a worker raised comes with its traceback
            raise UserError(str(error).strip().splitlines()[-1].split("Error: ", 1)[-1]) from None


class _Pictures(Dataset):
    """Index -> (uint8 (side, side, 3), lighting float32 (3,)); with a seed, augmented as seed and index say."""

    def __init__(self, files: tuple[Path, ...], side: int, seed: Seed | None) -> None:
        self.files = files
        self.side = side
        self.seed = seed

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Pixels, NDArray[np.float32]]:
        path = self.files[index]
        with readable(path, "picture"), Image.open(path) as file:
            picture = file.convert("RGB")
        if self.seed is None:
            return np.array(centre(picture, self.side)), np.zeros(3, np.float32)
        random = np.random.default_rng((*self.seed, index))
        picture = picture.crop(random_box(picture.width, picture.height, random))
        pixels = np.array(picture.resize((self.side, self.side), Image.Resampling.BILINEAR))
        if random.random() < 0.5:
            pixels = pixels[:, ::-1]
        light = COLOURS @ (random.normal(0.0, LIGHTING, 3) * COLOUR_VARIANCES)
        return pixels, light.astype(np.float32)


def _collate(side: int, items: list[tuple[Pixels, NDArray[np.float32]]]) -> tuple[Tensor, Tensor]:
    if not items:  # a process without a share in the last batch
        return torch.zeros((0, side, side, 3), dtype=torch.uint8), torch.zeros((0, 3))
    images, lights = zip(*items, strict=True)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(lights))


def random_box(width: int, height: int, random: np.random.Generator) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a random part of a picture: uniform in area, log-uniform in shape.

    Where no part of such a shape fits ten times in a row, the largest central one.
    """
    low, high = CROP_RATIO
    for _ in range(CROP_TRIALS):
        area = width * height * random.uniform(*CROP_AREA)
        ratio = math.exp(random.uniform(math.log(low), math.log(high)))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = int(random.integers(0, width - across + 1)), int(random.integers(0, height - down + 1))
            return left, top, left + across, top + down
    across, down = min(width, round(height * high)), min(height, round(width / low))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def centre(picture: Image.Image, side: int) -> Image.Image:
    """The central `side` x `side` pixels of a picture whose shorter side is resized to 256 / 224 of that."""
    scale = round(side * SHORTER_SIDE) / min(picture.size)
    width, height = (max(round(length * scale), side) for length in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - side) / 2), round((height - side) / 2)
    return picture.crop((left, top, left + side, top + side))


class DataSet(NamedTuple):
    """What to train on, what to test with, and how many classes there are."""

    name: str
    train: LabelledImages
    test: LabelledImages
    classes: int


def read(folder: str | Path, *, side: int | None = None, workers: int = 0) -> DataSet:
    """The data set in `folder`: a CIFAR in the binary version, or the folder that holds it; or train/ and val/ with one
    folder of pictures a class, whose images become `side` pixels (224) wide and high.

    Raises ValueError with one line that names what is missing or wrong.
    """
    folder = Path(folder)
    if found := find_cifar(folder):
        where, cifar = found
        if side not in (None, CIFAR_SIDE):
            raise UserError(f"{folder}: images of {cifar.name} are {CIFAR_SIDE} pixels wide, not {side}")
        learned = _read_cifar(where, cifar, cifar.train_batches, CIFAR_TRAIN_IMAGES)
        tested = _read_cifar(where, cifar, [cifar.test_batch], CIFAR_TEST_IMAGES)
        return DataSet(cifar.name, learned, tested, cifar.classes)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    if not (folder / "train").is_dir() or not (folder / "val").is_dir():
        raise UserError(f"{folder}: here is neither a CIFAR nor folders train and val")
    classes = sorted(entry.name for entry in (folder / "train").iterdir() if entry.is_dir())
    side = side or IMAGENET_SIDE
    train, test = (_read_pictures(folder / part, classes, side, workers) for part in ("train", "val"))
    return DataSet(folder.name, train, test, len(classes))


def _read_cifar(folder: Path, cifar: Cifar, names: Sequence[str], count: int) -> ArrayImages:
    batches = []
    for name in names:
        batches.append(cifar.read(folder / name))
        found, wanted = len(batches[-1][1]), count // len(names)
        if found != wanted:
            raise UserError(f"{folder / name}: {found} images, expected {wanted}")
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return ArrayImages(images, labels)


def _read_pictures(folder: Path, classes: list[str], side: int, workers: int) -> PictureImages:
    """The class of a picture is the place of its folder in `classes`."""
    strangers = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name not in classes)
    if strangers:
        raise UserError(f"{folder / strangers[0]}: no such class among the training images")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        if not (folder / name).is_dir():
            continue
        found = sorted(path for path in (folder / name).iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
        files += found
        labels += [label] * len(found)
    if not files:
        raise UserError(f"{folder}: no pictures in folders of classes")
    return PictureImages(tuple(files), np.array(labels, np.int64), side, workers)
