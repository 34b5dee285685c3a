"""Output files and folders that appear whole or not at all; JSON that is read with care; what an unreadable file is."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from abbnn.errors import UserError

JSON_BYTES_MAX = 1 << 24


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError of the block that names no file, such as that of a full disk, names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # NumPy's: "1000 requested and 24 written"
            raise OSError(f"{path}: {error}") from None
        if error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def readable(what: str | Path, kind: str) -> Iterator[None]:
    """Whatever a damaged file makes a library raise is a UserError that begins with `what`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"{what}: {error.strerror}") from None
        raise UserError(f"{what}: not a readable {kind}: {' '.join(str(error).split()) or repr(error)}") from None


def _beside(path: Path, folder: Path) -> Path:
    """A hidden name for what is to become `path`."""
    return folder / f".{path.name}-{secrets.token_hex(4)}{path.suffix}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file to write to; it takes the place of `path` when the block ends well.

    The folder of `path` is made if need be, and a symbolic link stays one. A device or a FIFO, and a file in a folder
    where nothing new may be made, gets the contents written into it. An error in the block leaves no temporary file,
    and `path` as it was; an OSError names `path`.
    """
    if path.is_dir():
        raise UserError(f"{path}: a folder; a file is wanted")
    new, regular = not path.exists(), path.is_file()
    # Only a file's path can be resolved: /dev/stdout may lead to a pipe, which has none.
    target = Path(os.path.realpath(path)) if new or regular else path
    if new:
        target.parent.mkdir(parents=True, exist_ok=True)
    into = not new and not (regular and os.access(target.parent, os.W_OK | os.X_OK))
    temporary = _beside(target, Path(tempfile.gettempdir()) if into else target.parent)
    try:
        with naming(path):
            # With this mode the system applies the umask: to ask for it is to set it, for all threads.
            temporary.touch(0o666, exist_ok=False)
            yield temporary
            if into:
                with temporary.open("rb") as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
            else:
                temporary.replace(target)
    except OSError as error:
        if error.filename == str(temporary):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def making(folder: Path, what: str = "", ours: Callable[[Path], bool] = lambda folder: False) -> Iterator[Path]:
    """A temporary folder to fill; it becomes `folder` when the block ends well.

    Nothing may be there before but, where the folder has a name `what`, an empty one or one that is `ours`.
    """
    if folder.exists() and not (what and folder.is_dir() and (ours(folder) or not any(folder.iterdir()))):
        said = f"exists and is no earlier {what}; it is left alone" if what else "exists; a new folder is wanted"
        raise UserError(f"{folder}: {said}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = _beside(folder, folder.parent), _beside(folder, folder.parent)
    try:
        temporary.mkdir()
        yield temporary
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def states(path: Path, format: str) -> bool:
    """Whether a file is JSON that names this format."""
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["format"] == format)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads`, which would take the last of them."""
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise UserError(f"{key} is there twice")
        result[key] = value
    return result


def parse_json(text: str | bytes, what: object) -> dict[str, Any]:
    """A JSON object. UserError begins with `what`, also for one that has a key twice."""
    try:
        data = json.loads(text, object_pairs_hook=_no_key_twice)
    except UserError as error:
        raise UserError(f"{what}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{what}: no JSON: {error}") from None
    if not isinstance(data, dict):
        raise UserError(f"{what}: no JSON object")
    return data


def read_json(path: Path, kind: str) -> dict[str, Any]:
    """The JSON object in a file of some kind. UserError names both, also if it is far too great to be meant."""
    try:
        with path.open("rb") as file:
            text = file.read(JSON_BYTES_MAX + 1)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if len(text) > JSON_BYTES_MAX:
        raise UserError(f"{path}: not a {kind}: more than {JSON_BYTES_MAX:,} bytes")
    return parse_json(text, f"{path}: not a {kind}")


def what_is(path: Path) -> str:
    """What a file seems to be, for the line that refuses it; empty if that is unknown."""
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"\x93NUMPY"):
        return "an array of NumPy"
    if start[8:9] == b"{":
        return "a safetensors file"
    if start.startswith(b"\x89HDF"):
        return "an HDF5 file"
    if start.startswith(b"\x80"):
        return "a pickle, as torch once wrote checkpoints"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("data.pkl") for name in names):
            return "a checkpoint of torch"
        if names and all(name.endswith(".npy") for name in names):
            return "an archive of NumPy arrays"
    return ""
