"""abbnn/building.py and tb/bench.py `simulate`: built once, folders of one run's own, and the user's environment."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cocotb
import numpy as np
import pytest

from abbnn import building, paths
from abbnn.errors import UserError
from abbnn.executor import Task, Workers
from abbnn.tb import bench


def make_slowly(path):
    def make(folder):
        with (path.parent / "made").open("a") as file:
            file.write("once\n")
        time.sleep(0.3)
        (folder / path.name).write_text("whole")

    return building.once(path, make).read_text()


def test_made_once(tmp_path):
    """Of several processes that want the same, one makes it."""
    tasks = [Task("make", make_slowly, (tmp_path / "thing",)) for _ in range(3)]
    assert Workers(3).all(tasks) == ["whole"] * 3
    assert (tmp_path / "made").read_text() == "once\n"


def test_what_fails_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / "thing").write_text("half")
        raise UserError("no")

    with pytest.raises(UserError):
        building.once(tmp_path / "thing", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".thing.lock"]


def test_no_two_runs_share_a_folder(tmp_path, monkeypatch):
    """Another process has the folder: this one gets the next, and the first again when that has ended."""
    code = f"from abbnn.building import *; print(run_folder(Path({str(tmp_path / 'run')!r})), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=paths.CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == f"{tmp_path / 'run'}\n"
        assert building.run_folder(tmp_path / "run") == tmp_path / "run-2"
        (tmp_path / "run-2" / "old").touch()
        assert building.run_folder(tmp_path / "run") == tmp_path / "run-2"
        assert not (tmp_path / "run-2" / "old").exists()
        other.communicate("\n")
    monkeypatch.setattr(building, "_held", {})
    assert building.run_folder(tmp_path / "run") == tmp_path / "run"


def test_a_build_folder_that_cannot_be_written():
    with pytest.raises(UserError, match=r"/proc/abbnn: cannot be written .*; ABBNN_BUILD names another"):
        building.made(Path("/proc/abbnn"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (np.zeros(2000), np.zeros(2000), True),
        (np.zeros(2000), np.eye(1, 2000, 1000)[0], False),  # repr() shows neither of the words that differ
        (np.zeros(4, np.int32), np.zeros(2, np.int64), False),
        ("text", "other", False),
        ([1, 2], [1, 2], True),
    ],
)
def test_a_run_is_named_by_all_its_values(one, other, same):
    assert (bench._digest({"case": one}) == bench._digest({"case": other})) == same


# ---- simulate

DESIGN = """`timescale 1ns / 1ps
module toggles (input wire clk, output reg q);
initial q = 0;
always @(posedge clk) q <= !q;
endmodule
"""
TESTS = """
import cocotb, os
from cocotb.triggers import Timer

@cocotb.test()
async def toggles(dut):
    for expected in (1, 0, 1):
        dut.clk.value = 0
        await Timer(1, "ns")
        dut.clk.value = 1
        await Timer(1, "ns")
        assert int(dut.q.value) == expected, "it does not toggle"
    print("the seed is", cocotb.RANDOM_SEED)

@cocotb.test()
async def fails(dut):
    assert False, "as it should"
"""


@pytest.fixture
def toggles(tmp_path, monkeypatch):
    """Simulates a design of three lines in a build folder of its own."""
    monkeypatch.setattr(bench, "BUILD", tmp_path / "build")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "toggles.v").write_text(DESIGN)
    (tmp_path / "toggle_tests.py").write_text(TESTS)
    (tmp_path / "run").mkdir()

    def simulate(testcase="toggles", **options):
        options = {"sim": "icarus", "work_dir": tmp_path / "run", **options}
        bench.simulate("toggles", "toggle_tests", verilog=[tmp_path / "toggles.v"], testcase=testcase, **options)

    return simulate


def test_variables_of_others_change_nothing(toggles, tmp_path, monkeypatch):
    def said():
        toggles()
        return (tmp_path / "run" / bench.SIM_LOG).read_text().splitlines()[-1]

    monkeypatch.setenv("SEED", "7")
    alone = said()
    for name, value in {
        "COVERAGE": "1",
        "COCOTB_TESTCASE": "nothing",
        "COCOTB_TEST_FILTER": "nothing",
        "COCOTB_RANDOM_SEED": "abc",
        "GPI_USERS": "nowhere",
        "GUI": "maybe",
        "WAVES": "1",
    }.items():
        monkeypatch.setenv(name, value)
    before, path = dict(os.environ), list(sys.path)
    assert said() == alone
    assert alone.startswith("the seed is")
    assert (dict(os.environ), sys.path) == (before, path)


def test_waves_are_named(toggles, tmp_path, monkeypatch):
    monkeypatch.setenv("WAVES", "1")
    monkeypatch.setattr(bench, "waves_written", [])
    toggles()
    [waves] = bench.waves_written
    assert waves.file == tmp_path / "run" / "toggles.fst"
    assert waves.file.stat().st_size > 0
    assert str(waves) == f"waves: gtkwave {waves.file} {tmp_path / 'run' / 'toggles.gtkw'}"


def test_a_failing_test_shows_its_log(toggles, capsys):
    with pytest.raises(SystemExit, match="toggles: toggle_tests: 1 of 1 tests failed: fails"):
        toggles("fails")
    assert "as it should" in capsys.readouterr().out


def test_a_simulator_that_ends_badly_has_not_passed(toggles, tmp_path, monkeypatch):
    """Though every test has: the tool is vvp, with another exit status."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "vvp").write_text(f'#!/bin/sh\n{shutil.which("vvp")} "$@"\n[ "$1" = -V ] || exit 5\n')
    (tmp_path / "bin" / "vvp").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(SystemExit, match="toggle_tests: Command failed with return code: 5"):
        toggles()


def test_the_default_run_folder_is_a_runs_own(toggles, tmp_path):
    toggles(work_dir=None)
    folders = {path.parent for path in (tmp_path / "build").glob("toggles-icarus-*/run-*/results.xml")}
    assert len(folders) == 1


def test_a_build_that_fails_shows_why(toggles, tmp_path, capsys):
    (tmp_path / "toggles.v").write_text("module toggles (;\nendmodule\n")
    with pytest.raises(UserError, match=r"toggles cannot be built on icarus, see above and .*/toggles-icarus-\w+\.log"):
        toggles()
    assert "syntax error" in capsys.readouterr().err


@pytest.mark.parametrize("tool", ["iverilog", "vvp"])
def test_a_broken_simulator_is_seen(toggles, tmp_path, monkeypatch, tool):
    """Though the design was built by a good one before."""
    toggles()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / tool).write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "bin" / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(UserError, match=f"{tool} -V: does not work, exit status 3"):
        toggles()


def test_no_simulator(toggles, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="iverilog is not installed"):
        toggles()


def test_an_old_cocotb(toggles, monkeypatch):
    monkeypatch.setattr(cocotb, "__version__", "1.9.2")
    with pytest.raises(UserError, match=r"/cocotb: cocotb 1\.9\.2, 2\.1 is needed; see PYTHONPATH"):
        toggles()


def test_seed(monkeypatch):
    monkeypatch.delenv("SEED", raising=False)
    assert bench.seed() == 1
    monkeypatch.setenv("SEED", "random")
    drawn = bench.seed()
    assert bench.seed() == drawn
    assert os.environ["SEED"] == str(drawn)
    monkeypatch.setenv("SEED", "abc")
    with pytest.raises(UserError, match="SEED=abc: a whole number, or random"):
        bench.seed()
