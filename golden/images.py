"""Images from disk, as the golden model and the testbenches take them. NumPy, and Pillow for picture files only."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from abbnn import paths
from abbnn.errors import UserError
from abbnn.golden.files import readable

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


class ImageSource(Protocol):
    """Images uint8 (N, height, width, 3), an array or like one: a slice reads what it names."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> Images: ...


PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
PICTURE_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
LABEL_FILES = ("labels.txt", "labels.csv")
ARCHIVE_BYTES_MAX = 2 << 30
"""Of the images in an .npz, which has to be unpacked into memory whole; an .npy needs not."""
LABEL_BYTES_MAX = 1 << 28
HEADER_BYTES = 1 << 16
"""Enough for the header of any array that can be meant."""
SHIPPED_IMAGES = paths.MODELS / "cifar10_test100.npz"
"""100 of CIFAR-10's test images, ten a class, that come with the project."""
CIFAR_SIDE = 32
CIFAR_PIXELS = 3 * CIFAR_SIDE * CIFAR_SIDE


@dataclass(frozen=True)
class Cifar:
    """A CIFAR's binary version: `label_bytes` and a picture's planes a record; the last of these bytes is the class."""

    name: str
    folder: str
    train_batches: tuple[str, ...]
    test_batch: str
    label_bytes: int
    classes: int

    @property
    def record(self) -> int:
        return self.label_bytes + CIFAR_PIXELS

    def read(self, path: Path) -> tuple[Images, Labels]:
        """The records of one file."""
        if not path.is_file():
            raise UserError(f"{path}: missing")
        size = path.stat().st_size
        if not size or size % self.record:
            raise UserError(f"{path}: {size} bytes, expected a multiple of {self.record}")
        records = np.fromfile(path, dtype=np.uint8).reshape(-1, self.record)
        labels = records[:, self.label_bytes - 1].astype(np.int64)
        if labels.max() >= self.classes:
            culprit = f"label {labels.max()} of image {int(labels.argmax())}"
            raise UserError(f"{path}: {culprit}; there are {self.classes} classes")
        planes = records[:, self.label_bytes :].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE)
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


CIFARS = (
    Cifar(
        "CIFAR-10",
        "cifar-10-batches-bin",
        tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        "test_batch.bin",
        label_bytes=1,
        classes=10,
    ),
    Cifar("CIFAR-100", "cifar-100-binary", ("train.bin",), "test.bin", label_bytes=2, classes=100),
)
BINARY_CIFARS = "cifar-10-batches-bin or cifar-100-binary, from cifar-10-binary.tar.gz or cifar-100-binary.tar.gz"
CIFAR_CLASSES = CIFARS[0].classes


def read_images(
    path: str | Path, height: int = 32, width: int = 32, classes: int | None = None
) -> tuple[Images, Labels | None]:
    """`open_images` with all images in memory."""
    images, labels = open_images(path, height, width, classes)
    return np.require(images[:], requirements=("C", "W")), labels


def open_images(
    path: str | Path, height: int = 32, width: int = 32, classes: int | None = None
) -> tuple[ImageSource, Labels | None]:
    """Images uint8 (N, height, width, 3), and their labels int64 (N,) where the source has them.

    `path` is one of
    - a .npy file: uint8 (N, height, width, 3);
    - a .npz file: `images` as above and, if it is there, `labels`: integers (N,);
    - a folder of pictures, taken in the order of their names, with labels.txt (one integer a line, in that order) or
      labels.csv (lines of name,label) beside them or not; or one picture;
    - a folder of such folders, one a class: the label is the place of the folder's name;
    - a cifar-10-batches-bin or cifar-100-binary folder or the folder that holds it (its test batch, with the fine
      labels), or one .bin file of such a layout.

    Pictures and .npy files stay on the disk until a slice asks for them. Nothing is resized or guessed: what does not
    fit, and a label that is none of `classes` classes, is a UserError of one line that names the file and the fault.
    """
    path = Path(path)
    images, labels = _opened(path, height, width)
    if labels is not None and classes is not None and labels.max() >= classes:
        culprit = f"label {labels.max()} of image {int(labels.argmax())}"
        raise UserError(f"{path}: {culprit}; the network has {classes} classes")
    return images, labels


def _opened(path: Path, height: int, width: int) -> tuple[ImageSource, Labels | None]:
    if found := find_cifar(path):
        folder, cifar = found
        return _read_cifar(folder / cifar.test_batch, height, width, cifar)
    if path.is_dir():
        return _read_folder(path, height, width)
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _open_npy(path, height, width), None
    if suffix == ".npz":
        return _read_npz(path, height, width)
    if suffix == ".bin":
        return _read_cifar(path, height, width)
    if suffix in PICTURE_SUFFIXES:
        return Pictures([path], height, width), None
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
                    shape, _ = _header(file)
            case ".npz":
                with zipfile.ZipFile(path) as archive, archive.open("images.npy") as file:
                    shape, _ = _header(file)
            case _:
                return None
    except Exception:  # a damaged header or directory can raise nearly anything
        return None
    return (shape[1], shape[2]) if len(shape) == 4 and min(shape) > 0 else None


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array in NumPy's format, before anything is made for it."""
    start = io.BytesIO(file.read(HEADER_BYTES))
    version = np.lib.format.read_magic(start)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read_header(start)
    return shape, kind


def _check_images(name: str | Path, shape: tuple[int, ...], kind: np.dtype[Any], height: int, width: int) -> None:
    if kind != np.uint8:
        raise UserError(f"{name}: images of type {kind}, expected uint8")
    if len(shape) != 4 or shape[1:] != (height, width, 3):
        raise UserError(f"{name}: images of shape {shape}, expected (N, {height}, {width}, 3)")
    if not shape[0]:
        raise UserError(f"{name}: no images")


def _open_npy(path: Path, height: int, width: int) -> Images:
    with readable(path, "NumPy array"):
        with path.open("rb") as file:
            _check_images(path, *_header(file), height, width)
        return np.asarray(np.load(path, mmap_mode="r"))


def _read_npz(path: Path, height: int, width: int) -> tuple[Images, Labels | None]:
    """What does not fit is refused before it is unpacked."""
    with readable(path, ".npz file"), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if "images.npy" not in names:
            raise UserError(f"{path}: no array `images` in it")
        with archive.open("images.npy") as file:
            shape, kind = _header(file)
        _check_images(path, shape, kind, height, width)
        size = int(np.prod(shape, dtype=object))
        if size > ARCHIVE_BYTES_MAX:
            raise UserError(f"{path}: {size:,} bytes of images; more than {ARCHIVE_BYTES_MAX:,} go into an .npy file")
        if "labels.npy" in names:
            with archive.open("labels.npy") as file:
                label_shape, kind = _header(file)
            if kind.kind not in "iu":
                raise UserError(f"{path}: labels of type {kind}, expected integers")
            if label_shape != shape[:1]:
                raise UserError(f"{path}: labels of shape {label_shape}, expected {shape[:1]}")
        with np.load(path) as arrays:
            images = np.ascontiguousarray(arrays["images"])
            labels = arrays["labels"] if "labels.npy" in names else None
    if labels is None:
        return images, None
    if labels.min() < 0 or labels.max() > np.iinfo(np.int32).max:
        culprit = int(labels.argmin() if labels.min() < 0 else labels.argmax())
        raise UserError(f"{path}: label {labels[culprit]} of image {culprit} is no class")
    return images, labels.astype(np.int64)


def find_cifar(folder: Path) -> tuple[Path, Cifar] | None:
    """The folder of a CIFAR's binary version: `folder` or one in it; None if there is none.

    UserError says what to do with the Python version and with an archive as downloaded.
    """
    if folder.suffix.lower() in (".gz", ".tar", ".tgz") and folder.is_file():
        raise UserError(f"{folder}: an archive; unpack it (tar xf) and name the folder, {BINARY_CIFARS}")
    for cifar in CIFARS:
        for candidate in (folder, folder / cifar.folder):
            files = (candidate / name for name in (cifar.test_batch, *cifar.train_batches))
            if (candidate.name == cifar.folder and candidate.is_dir()) or any(file.is_file() for file in files):
                return candidate, cifar
    for pickled in ("batches.meta", "cifar-10-batches-py/batches.meta", "meta", "cifar-100-python/meta"):
        if (folder / pickled).is_file():
            raise UserError(f"{folder}: CIFAR's Python version; its binary one is read, {BINARY_CIFARS}")
    return None


def _read_cifar(path: Path, height: int, width: int, cifar: Cifar | None = None) -> tuple[Images, Labels]:
    """One file of a CIFAR; without `cifar` the size tells which one it is of."""
    if (height, width) != (CIFAR_SIDE, CIFAR_SIDE):
        raise UserError(f"{path}: images of {CIFAR_SIDE}x{CIFAR_SIDE}, expected {height}x{width}")
    if cifar is None:
        size = path.stat().st_size
        cifar = next((cifar for cifar in CIFARS if size % cifar.record == 0), None)
    if cifar is None:
        wanted = " or ".join(str(cifar.record) for cifar in CIFARS)
        raise UserError(f"{path}: {size} bytes, expected a multiple of {wanted}")
    return cifar.read(path)


class Pictures:
    """The ImageSource of picture files: their headers are checked at once, pixels are read when a slice asks."""

    def __init__(self, files: Sequence[Path], height: int, width: int) -> None:
        from PIL import Image

        self.files = files
        for path in files:
            with readable(path, "picture"), Image.open(path) as picture:
                fault = _picture_fault(picture, height, width)
                if fault:
                    raise UserError(f"{path}: {fault}")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: slice, /) -> Images:
        return np.stack([_read_picture(path) for path in self.files[index]])


def _read_folder(folder: Path, height: int, width: int) -> tuple[Pictures, Labels | None]:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if entries and all(entry.is_dir() for entry in entries):
        files = [_picture_files(entry) for entry in entries]
        labels = np.repeat(np.arange(len(entries)), [len(each) for each in files])
        return Pictures([path for each in files for path in each], height, width), labels
    pictures = _picture_files(folder)
    return Pictures(pictures, height, width), _read_labels(folder, [picture.name for picture in pictures])


def _picture_files(folder: Path) -> list[Path]:
    """The pictures in `folder` in the order of their names; nothing else may be there but their labels."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    pictures = [entry for entry in entries if entry.name not in LABEL_FILES]
    for entry in pictures:
        if entry.is_dir():
            raise UserError(f"{entry}: a folder among the pictures")
        if entry.suffix.lower() not in PICTURE_SUFFIXES:
            raise UserError(f"{entry}: not a picture ({', '.join(sorted(PICTURE_SUFFIXES))})")
    if not pictures:
        raise UserError(f"{folder}: no pictures in it")
    return pictures


def _read_picture(path: Path) -> Images:
    from PIL import Image

    with readable(path, "picture"), Image.open(path) as picture:
        pixels = np.array(picture.convert("RGBA"), dtype=np.uint8)
        if pixels[..., 3].min() < 255:
            raise UserError(f"{path}: has transparent pixels")
    return pixels[..., :3]


def _picture_fault(picture: Any, height: int, width: int) -> str:
    """What an opened picture's header says against it; empty if nothing."""
    if picture.size != (width, height):
        return f"{picture.size[0]}x{picture.size[1]} pixels (width x height), expected {width}x{height}"
    if picture.mode not in PICTURE_MODES:
        return f"colour mode {picture.mode}, expected 8-bit RGB"
    # Pillow would cut these to 8 bits: how they lie in the file is all that tells.
    details = [tile[-1] for tile in picture.tile]
    deep_ppm = picture.format == "PPM" and any(
        isinstance(part, int) and part > 255 for each in details for part in each
    )
    if deep_ppm or re.search(r";16[BLN]", str(details)):
        return "16 bits a colour, expected 8"
    if getattr(picture, "n_frames", 1) != 1:
        return f"{picture.n_frames} frames, expected one"
    return ""


def _read_labels(folder: Path, names: list[str]) -> Labels | None:
    """The labels of the pictures `names`, from the folder's labels.txt or labels.csv; None if there is neither."""
    path = next((folder / name for name in LABEL_FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    if path.stat().st_size > LABEL_BYTES_MAX:
        raise UserError(f"{path}: more than {LABEL_BYTES_MAX:,} bytes")
    try:
        text = path.read_text(encoding="utf-8-sig")  # Excel begins with a byte-order mark
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file") from None
    if path.suffix == ".txt":
        values = text.split()
        if len(values) != len(names):
            raise UserError(f"{path}: {len(values)} labels for {len(names)} pictures")
    else:
        rows = _label_rows(path, text)
        missing = [name for name in names if name not in rows]
        if missing:
            raise UserError(f"{path}: no line for {missing[0]}")
        values = [rows[name] for name in names]
    for name, value in zip(names, values, strict=True):
        if not re.fullmatch(r"[0-9]{1,9}", value):
            raise UserError(f"{path}: label {value[:20]!r} of {name} is no class")
    return np.array([int(value) for value in values], dtype=np.int64)


def _label_rows(path: Path, text: str) -> dict[str, str]:
    """Name -> label of the lines of a labels.csv; a heading is one of them."""
    rows: dict[str, str] = {}
    with readable(path, "list of name,label"):
        for row in filter(None, csv.reader(text.splitlines())):
            if len(row) != 2:
                raise UserError(f"{path}: {','.join(row)[:60]!r} is not name,label")
            name, label = (cell.strip() for cell in row)
            if name in rows:
                raise UserError(f"{path}: two lines for {name}")
            rows[name] = label
    return rows


def resized(images: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """(N, H, W, C) -> (N, height, width, C) by the nearest pixel."""
    rows, columns = (
        (2 * np.arange(wanted) + 1) * had // (2 * wanted)
        for wanted, had in zip((height, width), images.shape[1:3], strict=True)
    )
    return np.ascontiguousarray(images[:, rows[:, None], columns])
