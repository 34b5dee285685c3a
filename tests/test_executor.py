"""abbnn/executor.py: the same tasks here, in processes and on a cluster; nothing lost, nothing twice, no child left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from abbnn import executor, paths
from abbnn.errors import UserError
from abbnn.executor import Task, Workers


def square(number):
    return number * number, os.getpid()


def deadly(marker, deaths):
    """Takes its process with it for the first so many times."""
    with open(marker, "a") as file:
        file.write(f"{os.getpid()}\n")
    if len(Path(marker).read_text().split()) <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def refuse(number):
    raise UserError(f"{number} is not wanted")


def linger(folder):
    """Starts a child that would outlive it, and cleans up when it is stopped."""
    child = subprocess.Popen(["sleep", "600"])
    (folder / "child").write_text(str(child.pid))
    (folder / "half").write_text("")
    try:
        (folder / "ready").write_text("")
        time.sleep(600)
    finally:
        (folder / "half").unlink()


def work(number):
    """What a worker on another machine does: slow enough to be killed in the middle."""
    time.sleep(0.1)
    with open(paths.BUILD / "worked", "a") as file:
        file.write(f"{number}\n")
    return number, str(paths.BUILD)


def gone(pid):
    """Whether the process has ended within some seconds."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


TASKS = [Task(f"square {number}", square, (number,)) for number in range(20)]


def test_one_job_is_this_process():
    assert Workers(1).all(TASKS) == [(number * number, os.getpid()) for number in range(20)]


def test_processes():
    results = list(Workers(2).results(TASKS))
    assert sorted((index, value) for index, (value, _) in results) == [(n, n * n) for n in range(20)]
    pids = {pid for _, (_, pid) in results}
    assert os.getpid() not in pids
    assert len(pids) <= 2


def test_a_worker_that_dies_costs_nothing(tmp_path):
    tasks = [*TASKS[:5], Task("deadly", deadly, (str(tmp_path / "marker"), 1)), *TASKS[5:10]]
    results = Workers(2).all(tasks)
    assert results.pop(5) == "survived"
    assert [value for value, _ in results] == [n * n for n in range(10)]


def test_a_task_that_kills_is_named(tmp_path):
    tasks = [*TASKS[:5], Task("the deadly one", deadly, (str(tmp_path / "marker"), 99))]
    with pytest.raises(ChildProcessError, match="the deadly one: 2 workers died of it"):
        Workers(2).all(tasks)
    assert len((tmp_path / "marker").read_text().split()) == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_first_error_ends_it(jobs):
    with pytest.raises(UserError, match="7 is not wanted"):
        Workers(jobs).all([*TASKS[:3], Task("refuse", refuse, (7,)), *TASKS])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped(how, tmp_path):
    """Ctrl-C, SIGTERM, and a parent that is killed: workers clean up, and their children end with them."""
    code = (
        "import sys, pathlib, test_executor as t\n"
        "from abbnn.errors import run\n"
        "from abbnn.executor import Task, Workers\n"
        "if __name__ == '__main__':\n"
        "    folder = pathlib.Path(sys.argv[1])\n"
        "    tasks = [Task('linger', t.linger, (folder,)), *t.TASKS]\n"
        "    sys.exit(run('name', lambda: print(len(Workers(2).all(tasks)))))\n"
    )
    (tmp_path / "main.py").write_text(code)
    search = os.pathsep.join(paths.search_path())
    with subprocess.Popen(
        [sys.executable, tmp_path / "main.py", tmp_path],
        env={**os.environ, "PYTHONPATH": search},
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as process:
        while not (tmp_path / "ready").exists():
            assert process.poll() is None
            time.sleep(0.05)
        if how == signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does
        else:
            process.send_signal(how)
        said = process.stderr.read()
        status = process.wait()
    assert gone(int((tmp_path / "child").read_text()))
    assert not (tmp_path / "half").exists()
    if how != signal.SIGKILL:
        word = "interrupted" if how == signal.SIGINT else "terminated"
        assert (status, said) == (128 + how, f"name: {word}\n")


def test_grandchildren_end_too(tmp_path):
    """SIGTERM while a tool runs that has started others, as make does."""
    code = (
        "import subprocess, sys\n"
        "from abbnn.errors import run\n"
        "shell = f'sleep 600 & echo $! > {sys.argv[1]}/child; mv {sys.argv[1]}/child {sys.argv[1]}/ready; wait'\n"
        "sys.exit(run('name', lambda: subprocess.run(['sh', '-c', shell])))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], cwd=paths.CHECKOUT, stderr=subprocess.PIPE
    ) as process:
        while not (tmp_path / "ready").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        said = process.stderr.read()
    assert (process.returncode, said) == (143, b"name: terminated\n")
    assert gone(int((tmp_path / "ready").read_text()))


def test_progress_of_long_tasks(capfd, monkeypatch):
    monkeypatch.setattr("abbnn.building.TICK_SECONDS", 0.1)
    Workers(1).all([Task("a long one", time.sleep, (0.35,))])
    assert "0 of 1 done, running: a long one: 0 s" in capfd.readouterr().err


# ---- Dask


def test_cluster_worker_killed_in_mid_run(cluster, tmp_path):
    """Two workers in folders of their own, one killed: every task's result comes, once."""
    address, workers = cluster
    tasks = [Task(f"work {number}", work, (number,)) for number in range(40)]
    found, folders, killed = [], set(), False
    for index, (number, folder) in Workers(scheduler=address).results(tasks):
        found.append((index, number))
        folders.add(folder)
        if len(folders) == 2 and len(found) >= 10 and not killed:
            workers[0].kill()
            killed = True
    assert killed
    assert sorted(found) == [(number, number) for number in range(40)]
    logged = [(tmp_path / name / "build" / "worked").read_text().split() for name in ("one", "two")]
    assert all(logged)
    assert sum(map(len, logged)) <= 42  # what the dead one had in hand may have been begun twice


def test_cluster_errors(cluster, monkeypatch):
    address, _ = cluster
    with pytest.raises(UserError, match="7 is not wanted"):
        Workers(scheduler=address).all([*TASKS[:3], Task("refuse", refuse, (7,)), *TASKS])
    monkeypatch.setattr(executor, "fingerprint", lambda: "another")
    with pytest.raises(UserError, match=r"worker tcp://.*: its abbnn is another one"):
        Workers(scheduler=address).all(TASKS)


def test_cluster_of_this_machine():
    pytest.importorskip("distributed")
    assert [value for value, _ in Workers(2, "local").all(TASKS)] == [n * n for n in range(20)]


def test_no_scheduler_there(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(executor, "CONNECT_SECONDS", 1)
    with pytest.raises(UserError, match=r"--scheduler tcp://127\.0\.0\.1:9: no workers there"):
        Workers(scheduler="tcp://127.0.0.1:9").all(TASKS)
