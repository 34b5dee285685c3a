"""What is built: once for all that need the same, in folders that no two runs share, and never in long silence."""

from __future__ import annotations

import fcntl
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from abbnn.errors import UserError

TICK_SECONDS = 10.0
"""Nothing that takes long is silent for longer."""


_loud = True


def hush() -> None:
    """Of a worker, whose parent tells how far everything is."""
    global _loud
    _loud = False


@contextmanager
def ticking(said: Callable[[], str], bar: tqdm[Any] | None = None) -> Iterator[None]:
    """While the block runs, say on stderr what `said` gives and for how long; a bar that is shown moves instead.

    Of several at once, the first speaks.
    """
    global _loud
    if not _loud:
        yield
        return
    over, begun = threading.Event(), time.monotonic()
    shown = bar is not None and not bar.disable

    def tick() -> None:
        while not over.wait(1.0 if shown else TICK_SECONDS):
            text = said()
            if bar is not None and shown:
                bar.refresh()
            else:
                print(f"{text}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    _loud = False
    try:
        yield
    finally:
        _loud = True
        over.set()
        thread.join()


def made(folder: Path) -> Path:
    """The folder, made if need be. UserError if nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}); ABBNN_BUILD names another build folder"
        ) from None


def once(path: Path, make: Callable[[Path], object]) -> Path:
    """The file or folder `path`, whose name stands for its contents: `make` gets a folder in which it builds
    `path.name`, unless that is there.

    Of several processes that want the same at once, one builds and the others wait. What `make` leaves in its folder
    beside it is lost; if it fails, nothing is there.
    """
    if path.exists():
        return path
    made(path.parent)
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        with ticking(lambda: f"waiting for another process to build {path}"):
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as name:
                with ticking(lambda: f"building {path.name}"):
                    make(Path(name))
                (Path(name) / path.name).replace(path)
    return path


_held: dict[Path, tuple[Path, IO[str]]] = {}


def run_folder(path: Path) -> Path:
    """An empty folder for one run: `path`, or if another process has that, `path` with -2, -3 and so on behind it.

    It is this process's until the process ends; a later call with the same `path` empties it again.
    """
    if path not in _held:
        made(path.parent)
        number = 1
        while path not in _held:
            folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
            lock = folder.with_name(f".{folder.name}.lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _held[path] = folder, lock
            except BlockingIOError:
                lock.close()
                number += 1
    folder = _held[path][0]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
