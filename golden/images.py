"""Images from disk, as the golden model and the testbenches take them. NumPy, and Pillow for picture files only."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from abbnn import paths
from abbnn.errors import UserError

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
PICTURE_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
LABEL_FILES = ("labels.txt", "labels.csv")
SHIPPED_IMAGES = paths.MODELS / "cifar10_test100.npz"
"""100 of CIFAR-10's test images, ten a class, that come with the project."""
CIFAR_SIDE = 32
CIFAR_PIXELS = 3 * CIFAR_SIDE * CIFAR_SIDE


@dataclass(frozen=True)
class CifarLayout:
    """A CIFAR's binary version: `label_bytes` and a picture's planes a record; the last of these bytes is the class."""

    folder: str
    test_batch: str
    train_batches: str
    label_bytes: int
    classes: int

    @property
    def record(self) -> int:
        return self.label_bytes + CIFAR_PIXELS


CIFARS = (
    CifarLayout("cifar-10-batches-bin", "test_batch.bin", "data_batch_*.bin", 1, 10),
    CifarLayout("cifar-100-binary", "test.bin", "train.bin", 2, 100),
)
CIFAR_CLASSES = CIFARS[0].classes


def read_images(path: str | Path, height: int = 32, width: int = 32) -> tuple[Images, Labels | None]:
    """Images uint8 (N, height, width, 3), and their labels int64 (N,) where the source has them.

    `path` is one of
    - a .npy file: uint8 (N, height, width, 3);
    - a .npz file: `images` as above and, if it is there, `labels`: integers (N,);
    - a folder of pictures, taken in the order of their names, with labels.txt (one integer a line, in that order) or
      labels.csv (lines of name,label) beside them or not; or one picture;
    - a cifar-10-batches-bin or cifar-100-binary folder or the folder that holds it (its test batch, with the fine
      labels), or one .bin file of such a layout.

    Nothing is resized or guessed: what does not fit raises ValueError with one line that names the file and the fault.
    """
    path = Path(path)
    if path.is_dir():
        batch = _cifar_test_batch(path)
        if batch is not None:
            return _read_cifar(batch, height, width)
        return _read_folder(path, height, width)
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _checked_images(path, _read_array(lambda: path.open("rb"), str(path)), height, width), None
    if suffix == ".npz":
        return _read_npz(path, height, width)
    if suffix == ".bin":
        return _read_cifar(path, height, width)
    if suffix in PICTURE_SUFFIXES:
        return _read_picture(path, height, width)[np.newaxis], None
    raise UserError(f"{path}: neither .npy, .npz, .bin, a picture nor a folder of pictures")


def image_size(path: str | Path) -> tuple[int, int] | None:
    """(height, width) of the images in a .npy or .npz file, from its header; None for all that says nothing of it.

    It judges nothing: whether the file can be read, `read_images` finds out.
    """
    path = Path(path)
    try:
        match path.suffix.lower():
            case ".npy":
                with path.open("rb") as file:
                    shape = _array_shape(file)
            case ".npz":
                with zipfile.ZipFile(path) as archive, archive.open("images.npy") as file:
                    shape = _array_shape(file)
            case _:
                return None
    except Exception:  # a damaged header or directory can raise nearly anything
        return None
    return (shape[1], shape[2]) if len(shape) == 4 and min(shape) > 0 else None


def _array_shape(file: IO[bytes]) -> tuple[int, ...]:
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return tuple(read_header(file)[0])


def _read_array(opened: Callable[[], IO[bytes]], what: str) -> NDArray[Any]:
    """One array in NumPy's format; `what` begins the error. Pickled objects are refused."""
    try:
        with opened() as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except Exception as error:  # a damaged header can raise nearly anything
        raise UserError(f"{what}: not a readable NumPy array: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _checked_images(name: str | Path, array: NDArray[Any], height: int, width: int) -> Images:
    if array.dtype != np.uint8:
        raise UserError(f"{name}: images of type {array.dtype}, expected uint8")
    if array.ndim != 4 or array.shape[1:] != (height, width, 3):
        raise UserError(f"{name}: images of shape {array.shape}, expected (N, {height}, {width}, 3)")
    if not len(array):
        raise UserError(f"{name}: no images")
    return np.ascontiguousarray(array)


def _checked_labels(name: str | Path, labels: NDArray[Any], count: int) -> Labels:
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{name}: labels of type {labels.dtype}, expected integers")
    if labels.shape != (count,):
        raise UserError(f"{name}: labels of shape {labels.shape}, expected ({count},)")
    if labels.min() < 0:
        raise UserError(f"{name}: label {labels.min()} of image {int(labels.argmin())} is negative")
    return labels.astype(np.int64)


def _read_npz(path: Path, height: int, width: int) -> tuple[Images, Labels | None]:
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # a damaged directory can raise nearly anything
        raise UserError(f"{path}: not a readable .npz file: {_one_line(error)}") from None
    arrays = {}
    with archive:
        for name in ("images", "labels"):
            if f"{name}.npy" in archive.namelist():
                arrays[name] = _read_array(partial(archive.open, f"{name}.npy"), f"{path}: `{name}`")
    if "images" not in arrays:
        raise UserError(f"{path}: no array `images` in it")
    images = _checked_images(path, arrays["images"], height, width)
    return images, _checked_labels(path, arrays["labels"], len(images)) if "labels" in arrays else None


def _cifar_test_batch(folder: Path) -> Path | None:
    """The test batch that this folder is about, or None if it is no CIFAR folder. Raises if it should be there."""
    for cifar in CIFARS:
        for candidate in (folder, folder / cifar.folder):
            batch = candidate / cifar.test_batch
            if batch.is_file():
                return batch
            if (candidate.name == cifar.folder and candidate.is_dir()) or any(candidate.glob(cifar.train_batches)):
                raise UserError(f"{batch}: missing")
    return None


def _read_cifar(path: Path, height: int, width: int) -> tuple[Images, Labels]:
    """Records of label bytes and the red, green and blue planes of 32 x 32 pixels; the size tells which CIFAR it is."""
    if (height, width) != (CIFAR_SIDE, CIFAR_SIDE):
        raise UserError(f"{path}: images of {CIFAR_SIDE}x{CIFAR_SIDE}, expected {height}x{width}")
    data = np.fromfile(path, dtype=np.uint8)
    cifar = next((cifar for cifar in CIFARS if data.size and data.size % cifar.record == 0), None)
    if cifar is None:
        wanted = " or ".join(str(cifar.record) for cifar in CIFARS)
        raise UserError(f"{path}: {data.size} bytes, expected a multiple of {wanted}")
    records = data.reshape(-1, cifar.record)
    labels = records[:, cifar.label_bytes - 1].astype(np.int64)
    if labels.max() >= cifar.classes:
        culprit = f"label {labels.max()} of image {int(labels.argmax())}"
        raise UserError(f"{path}: {culprit}; there are {cifar.classes} classes")
    planes = records[:, cifar.label_bytes :].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def _read_folder(folder: Path, height: int, width: int) -> tuple[Images, Labels | None]:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    pictures = [entry for entry in entries if entry.name not in LABEL_FILES]
    for entry in pictures:
        if entry.is_dir():
            raise UserError(f"{entry}: a folder among the pictures")
        if entry.suffix.lower() not in PICTURE_SUFFIXES:
            raise UserError(f"{entry}: not a picture ({', '.join(sorted(PICTURE_SUFFIXES))})")
    if not pictures:
        raise UserError(f"{folder}: no pictures in it")
    images = np.stack([_read_picture(picture, height, width) for picture in pictures])
    return images, _read_labels(folder, [picture.name for picture in pictures])


def _read_picture(path: Path, height: int, width: int) -> Images:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            fault = _picture_fault(picture, height, width)
            pixels = np.zeros(0, np.uint8) if fault else np.array(picture.convert("RGBA"), dtype=np.uint8)
    except Exception as error:  # a damaged picture can raise nearly anything
        raise UserError(f"{path}: not a readable picture: {_one_line(error)}") from None
    if not fault and pixels[..., 3].min() < 255:
        fault = "has transparent pixels"
    if fault:
        raise UserError(f"{path}: {fault}")
    return pixels[..., :3]


def _picture_fault(picture: Any, height: int, width: int) -> str:
    """What an opened picture's header says against it; empty if nothing."""
    if picture.size != (width, height):
        return f"{picture.size[0]}x{picture.size[1]} pixels (width x height), expected {width}x{height}"
    if picture.mode not in PICTURE_MODES:
        return f"colour mode {picture.mode}, expected 8-bit RGB"
    if getattr(picture, "n_frames", 1) != 1:
        return f"{picture.n_frames} frames, expected one"
    return ""


def _read_labels(folder: Path, names: list[str]) -> Labels | None:
    """The labels of the pictures `names`, from the folder's labels.txt or labels.csv; None if there is neither."""
    path = next((folder / name for name in LABEL_FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file") from None
    values: list[str]
    if path.suffix == ".txt":
        values = text.split()
        if len(values) != len(names):
            raise UserError(f"{path}: {len(values)} labels for {len(names)} pictures")
    else:
        rows = {row[0].strip(): row[-1].strip() for row in csv.reader(text.splitlines()) if len(row) == 2}
        missing = [name for name in names if name not in rows]
        if missing:
            raise UserError(f"{path}: no line for {missing[0]}")
        values = [rows[name] for name in names]
    for name, value in zip(names, values, strict=True):
        if not (value.isascii() and value.isdigit()):
            raise UserError(f"{path}: label {value!r} of {name} is not a number")
    return _checked_labels(path, np.array([int(value) for value in values], dtype=np.int64), len(names))


def resized(images: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """(N, H, W, C) -> (N, height, width, C) by the nearest pixel."""
    rows, columns = (
        (2 * np.arange(wanted) + 1) * had // (2 * wanted)
        for wanted, had in zip((height, width), images.shape[1:3], strict=True)
    )
    return np.ascontiguousarray(images[:, rows[:, None], columns])
