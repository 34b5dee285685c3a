"""What several test files need. Examples that hypothesis makes are the same in every run and place, and none fails
because the machine is busy."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import settings

from abbnn import paths

# A shell starts what runs in the background with Ctrl-C ignored, and so would be what tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

collect_ignore = ["brevitas_network.py"]
"""It needs a package that nothing else does; test_import.py reads what it wrote."""

settings.register_profile("abbnn", deadline=None, derandomize=True)
settings.load_profile("abbnn")


@pytest.fixture
def cluster(tmp_path):
    """The address of a scheduler with two workers, each a process with a build folder of its own, and the workers."""
    pytest.importorskip("distributed")
    processes = []

    def start(kind, name, *words):
        folder = tmp_path / name
        folder.mkdir()
        search = os.pathsep.join(paths.search_path())
        environment = {**os.environ, "ABBNN_BUILD": str(folder / "build"), "PYTHONPATH": search}
        (folder / "build").mkdir()
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{kind}", *words],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
        processes.append(process)
        return process

    file = tmp_path / "scheduler.json"
    fixed = ["--scheduler-file", str(file), "--no-dashboard"]
    start("scheduler", "scheduler", *fixed, "--host", "127.0.0.1", "--port", "0")
    while not file.exists():
        assert processes[0].poll() is None, (tmp_path / "scheduler" / "log").read_text()
        time.sleep(0.1)
    address = json.loads(file.read_text())["address"]
    workers = [start("worker", name, *fixed, "--nthreads", "1", "--no-nanny") for name in ("one", "two")]
    yield address, workers
    for process in processes[::-1]:
        process.kill()
        process.wait()
