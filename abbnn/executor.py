"""How work is spread: over this process, processes of this machine, or the machines of a Dask cluster.

A task is a function of this package with everything it needs as arguments: it reads nothing from a disk that another
machine may lack, and what it made comes back as its result. What it builds on the way it keeps in the build folder of
the machine it runs on, for the tasks behind it.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import logging
import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from tqdm import tqdm

from abbnn import paths
from abbnn.building import hush, ticking
from abbnn.errors import Stopped, UserError

LOCAL = "local"
DEATHS = 2
"""A task whose worker has died so often is not tried again."""
GRACE_SECONDS = 3.0
"""What a worker that is told to stop has for cleaning up."""
CONNECT_SECONDS = 30
SHOWN = 3
"""How many of the tasks that run a line of progress names."""


@dataclass(frozen=True)
class Task:
    """A call of a module's function; `name` says to people what it is."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()

    def run(self) -> Any:
        return self.function(*self.arguments)


@dataclass(frozen=True)
class Workers:
    """Where tasks run: in `jobs` processes of this machine, one being this process itself, or on a Dask cluster."""

    jobs: int = 1
    scheduler: str | None = None
    """Address of a Dask scheduler, or "local" for a cluster of `jobs` workers on this machine."""

    @staticmethod
    def of(arguments: argparse.Namespace) -> Workers:
        """What `options.add_workers` has read."""
        return Workers(arguments.jobs, arguments.scheduler)

    def results(
        self, tasks: Sequence[Task], unit: str = "task", bar: tqdm[Any] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """(index of the task, what it returned), each once, as they come; progress goes to stderr.

        A task whose worker dies runs again on another. The first exception of a task is raised; then, and when the
        caller goes away, all others are stopped and their subprocesses with them (on machines of a cluster, those that
        have begun end by themselves). `bar`: the caller's own, which it moves.
        """
        running: dict[int, None] = {}
        done = 0

        def said() -> str:
            names = [tasks[index].name for index in list(running)]
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            listed = f"running: {', '.join(names[:SHOWN])}{more}" if names else "waiting for workers"
            return f"{done} of {len(tasks)} done, {listed}"

        with ExitStack() as stack:
            own = bar is None
            bar = bar if bar is not None else stack.enter_context(tqdm(total=len(tasks), unit=unit, disable=None))
            stack.enter_context(ticking(said, bar))
            source = _cluster if self.scheduler else _processes if min(self.jobs, len(tasks)) > 1 else _here
            for index, result in source(tasks, self, running):
                done += 1
                if own:
                    bar.update()
                yield index, result

    def all(self, tasks: Sequence[Task], unit: str = "task") -> list[Any]:
        """The results in the order of the tasks."""
        found = dict(self.results(tasks, unit))
        return [found[index] for index in range(len(tasks))]


Results = Iterator[tuple[int, Any]]


def _here(tasks: Sequence[Task], workers: Workers, running: dict[int, None]) -> Results:
    for index, task in enumerate(tasks):
        running[index] = None
        result = task.run()
        del running[index]
        yield index, result


# ---- processes of this machine ----------------------------------------------------------------------------------


def _processes(tasks: Sequence[Task], workers: Workers, running: dict[int, None]) -> Results:
    """A pool of one worker for each job, so that a death has one culprit and disturbs no other task."""
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)

    def pool() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, context, _begin, (theirs,))

    idle = [pool() for _ in range(min(workers.jobs, len(tasks)))]
    todo = list(range(len(tasks)))[::-1]
    busy: dict[Future[Any], tuple[int, ProcessPoolExecutor]] = {}
    deaths: Counter[int] = Counter()
    try:
        while todo or busy:
            while todo and idle:
                index, own = todo.pop(), idle.pop()
                with _undisturbed():  # it is born here, and leaves the terminal's group later
                    busy[own.submit(_work, tasks[index])] = index, own
                running[index] = None
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                index, own = busy.pop(future)
                del running[index]
                try:
                    result = future.result()
                except BrokenProcessPool:
                    own.shutdown()
                    deaths[index] += 1
                    if deaths[index] == DEATHS:
                        raise ChildProcessError(f"{tasks[index].name}: {DEATHS} workers died of it") from None
                    todo.append(index)
                    idle.append(pool())
                    continue
                idle.append(own)
                yield index, result
    finally:
        ours.close()  # every worker sees it, as it would if this process were killed
        for own in [*idle, *(own for _, own in busy.values())]:
            own.shutdown()
        theirs.close()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No Ctrl-C for what is started in the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_working = False


def _begin(lifeline: Connection) -> None:
    """Of a worker: it has a session of its own, which ends, whatever was started in it, when the parent lets go."""
    os.setsid()
    hush()
    signal.signal(signal.SIGTERM, _stop)

    def watch() -> None:
        try:
            lifeline.recv_bytes()
        except (EOFError, OSError):
            os.killpg(0, signal.SIGTERM)
            time.sleep(GRACE_SECONDS)
            os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _stop(number: int, frame: object) -> None:
    if not _working:
        os._exit(143)
    raise Stopped


def _work(task: Task) -> Any:
    global _working
    _working = True
    try:
        return task.run()
    except Stopped:
        os._exit(143)
    finally:
        _working = False


# ---- a Dask cluster ---------------------------------------------------------------------------------------------


def _cluster(tasks: Sequence[Task], workers: Workers, running: dict[int, None]) -> Results:
    """Dask itself gives a dead worker's tasks to others. No more tasks are sent than the workers soon need, since a
    scheduler keeps all that it was sent."""
    try:
        distributed: Any = import_module("distributed")
    except ModuleNotFoundError:
        raise UserError("--scheduler: distributed is not installed: pip install abbnn[dask]") from None
    with ExitStack() as stack:
        logging.getLogger("distributed").setLevel(logging.ERROR)
        where: Any = workers.scheduler
        if where == LOCAL:
            where = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=workers.jobs, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
                )
            )
        try:
            client = stack.enter_context(distributed.Client(where, timeout=CONNECT_SECONDS, set_as_default=False))
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise UserError(f"--scheduler {workers.scheduler}: no workers there ({error})") from None
        sent: dict[str, int] = {}
        arrivals = distributed.as_completed(loop=client.loop)
        todo = list(range(len(tasks)))[::-1]
        while todo or sent:
            while todo and len(sent) < 2 * max(1, sum(client.nthreads().values())):
                index = todo.pop()
                key = f"{tasks[index].name} {uuid.uuid4().hex}"
                arrivals.add(client.submit(_call, fingerprint(), tasks[index], key=key, pure=False))
                sent[key] = index
                running[index] = None
            future = next(arrivals)
            index = sent.pop(future.key)
            del running[index]
            try:
                result = future.result()
            except distributed.KilledWorker as error:
                raise ChildProcessError(
                    f"{tasks[index].name}: {error.allowed_failures + 1} workers died of it"
                ) from None
            yield index, result


def _call(expected: str, task: Task) -> Any:
    if fingerprint() != expected:
        raise UserError(f"worker {import_module('distributed').get_worker().address}: its abbnn is another one")
    return task.run()


@functools.cache
def fingerprint() -> str:
    """Of this package's sources: a worker of other ones would give other results."""
    digest = hashlib.sha256()
    folders = sorted(path for path in paths.PACKAGE.iterdir() if path.is_dir())
    for folder in (paths.PACKAGE, *folders):
        files = folder.glob("*.py") if folder == paths.PACKAGE else folder.resolve().rglob("*")
        for path in sorted(files):
            if path.suffix in (".py", ".v", ".cpp", ".json") and not path.name.startswith("test_"):
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
