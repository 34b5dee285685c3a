"""The one type of errors that users cause, and what a command makes of them and of being stopped."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType


class UserError(ValueError):
    """Input that cannot be used: its message is one line that names the culprit. Anything else is a fault of ours."""


class Stopped(BaseException):
    """A signal ends the program: raised wherever the main thread is, so that what is half done is cleaned up."""

    def __init__(self, signum: int = signal.SIGTERM, said: str = "terminated") -> None:
        super().__init__(said)
        self.signum = signum


def _stop(number: int, frame: FrameType | None) -> None:
    for process in _below(os.getpid()):  # killing a child, as subprocess does, would leave its children to themselves
        with suppress(OSError):
            os.kill(process, signal.SIGTERM)
    raise Stopped


def _below(process: int) -> list[int]:
    """All that a process has started, directly or not; where there is no /proc, none."""
    children: list[int] = []
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            children += map(int, thread.read_text().split())
    return [each for child in children for each in (*_below(child), child)]


def run(name: str, command: Callable[[], int | None]) -> int:
    """The exit status of `command`, called `name`; a user's error and a signal become one line on stderr.

    2 after an error of the user or the system, 130 after Ctrl-C, 143 after SIGTERM. Other exceptions pass: they are
    faults of the program, and their traceback is what helps.
    """
    # Python lets the main thread alone say what a signal does; in another one signals are its business.
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _stop) if main else None
    try:
        return command() or 0
    except BrokenPipeError:  # `abbnn ... | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (UserError, OSError) as error:
        said, status = " ".join(str(error).split()), 2
    except KeyboardInterrupt:
        said, status = "interrupted", 130
    except Stopped as stop:
        said, status = str(stop), 128 + stop.signum
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
    print(f"{name}: {said}", file=sys.stderr)
    return status
