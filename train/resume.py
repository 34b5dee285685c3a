"""What long runs share: state that each of several folders gets whole, and an end behind a batch on a signal."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Any

from abbnn.errors import Stopped, UserError
from abbnn.golden.files import replacing
from abbnn.train import checkpoint

RESUME_EVERY = 300.0  # seconds


class Stop:
    """SIGINT or SIGTERM, where one came within `listening`: `check` ends the run when it is ready for that."""

    def __init__(self) -> None:
        self.signum: int | None = None

    @contextmanager
    def listening(self, signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM)) -> Iterator[None]:
        # Python lets the main thread alone say what a signal does.
        main = threading.current_thread() is threading.main_thread()
        before = {number: signal.signal(number, self._note) for number in signals if main}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, signum: int, frame: object) -> None:
        self.signum = signum

    def check(self) -> None:
        if self.signum is not None:
            name = signal.Signals(self.signum).name
            raise Stopped(self.signum, f"stopped by {name}; --resume goes on from here")


def refuse_other(path: Path, resume: bool) -> None:
    """A new run does not take the folder of one that can be resumed."""
    if path.exists() and not resume:
        raise UserError(f"{path}: exists; add --resume, or choose another --out")


def read_state(path: Path, kinds: Mapping[str, type | UnionType]) -> dict[str, Any]:
    """The file that a run resumes from: exactly these entries, of these kinds."""
    content = checkpoint.load_file(path)
    if (
        not isinstance(content, dict)
        or set(content) != set(kinds)
        or not all(isinstance(content[key], kind) for key, kind in kinds.items())
    ):
        raise UserError(f"{path}: not a file to resume from")
    return content


def same_options(path: Path, ran: Mapping[str, Any], options: Mapping[str, Any], free: Container[str]) -> None:
    """UserError names the first option, but for the `free` ones, that a run did not have before."""
    for name, value in options.items():
        if ran[name] != value and name not in free:
            raise UserError(f"{path}: it ran with {name} {ran[name]}, not {value}")


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """What torch says of state that does not fit is a UserError that names `path`."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
        raise UserError(f"{path}: not a file to resume from: {said}") from None


def write_state(folders: Iterable[Path], name: str, content: object) -> None:
    for folder in folders:
        checkpoint.write_atomically(folder / name, content)


def write_log(folders: Iterable[Path], name: str, log: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, into a file `name` in each of the folders."""
    text = "".join(json.dumps(record) + "\n" for record in log)
    for folder in folders:
        with replacing(folder / name) as temporary:
            temporary.write_text(text)
