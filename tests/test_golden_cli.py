"""`abbnn golden`: scores and layers equal the model's, bad input gives one line, exit code 2 and no file."""

import io
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from random_network import random_network

from abbnn import paths
from abbnn.export.random_network import random_images
from abbnn.golden import __main__ as cli
from abbnn.golden.__main__ import Outcome, evaluate, main
from abbnn.golden.model import Model, forward, layer_names
from abbnn.golden.network import save_network
from abbnn.golden.structure import STRIDED_STEM, member

STRUCTURE = member("cli", (4, 8), (1, 1), classes=5, image=8)
COUNT = 75
"""More than two batches, and no whole number of them."""


@pytest.fixture(scope="module")
def network():
    return random_network(STRUCTURE, 4)


@pytest.fixture
def files(tmp_path, network) -> tuple[Path, Path]:
    """A frozen network and a file of images."""
    save_network(network, tmp_path / "net.safetensors")
    np.save(tmp_path / "images.npy", random_images(STRUCTURE, 1, COUNT))
    return tmp_path / "net.safetensors", tmp_path / "images.npy"


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("jobs", [[], ["--jobs", 1], ["--jobs", 7]])
def test_scores_and_layers(files, network, tmp_path, jobs):
    out, folder = tmp_path / "new" / "scores.npy", tmp_path / "layers"
    assert run(*files, "--out", out, "--layers", folder, *jobs) == 0
    expected = forward(network, np.load(files[1]))
    scores = np.load(out)
    assert scores.dtype == np.int32
    np.testing.assert_array_equal(scores, expected["scores"])
    assert sorted(path.stem for path in folder.iterdir()) == sorted(layer_names(network.structure))
    for name in layer_names(network.structure):
        np.testing.assert_array_equal(np.load(folder / f"{name}.npy"), expected[name])


@pytest.mark.parametrize(
    "structure",
    [
        member("slopes", (3, 5), (1, 1), family="xnornet", image=8, classes=3),
        member("pairs", (2, 4, 8), (0, 1, 1), family="reactneta", image=16, stem=STRIDED_STEM, classes=3),
    ],
    ids=lambda structure: structure.name,
)
def test_layers_of_other_families(structure, tmp_path):
    network, images = random_network(structure, 1), random_images(structure, 1, 5)
    save_network(network, tmp_path / "net.safetensors")
    np.save(tmp_path / "images.npy", images)
    arguments = (tmp_path / "net.safetensors", tmp_path / "images.npy", "--out", tmp_path / "scores.npy")
    assert run(*arguments, "--layers", tmp_path / "layers") == 0
    expected = forward(network, images)
    assert sorted(path.stem for path in (tmp_path / "layers").iterdir()) == sorted(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(np.load(tmp_path / "layers" / f"{name}.npy"), values)


def test_values_at_the_end_of_their_range_are_counted(tmp_path, capsys):
    structure = member("full", (4, 8), (2, 1), family="birealnet", image=8)
    network = random_network(structure, 1, value_width=9, fraction_bits=6, spread=2.0)
    images = random_images(structure, 1, COUNT)
    save_network(network, tmp_path / "net.safetensors")
    np.save(tmp_path / "images.npy", images)
    assert run(tmp_path / "net.safetensors", tmp_path / "images.npy", "--out", tmp_path / "scores.npy") == 0
    layers = forward(network, images)
    names = ("stem.conv", "stem", "block00", "block01", "block02")
    counts = {name: int(np.isin(layers[name], (-256, 255)).sum()) for name in names}
    assert counts["stem"]
    assert f"values at the end of their range: { {n: c for n, c in counts.items() if c} }" in capsys.readouterr().out


def test_as_a_program(files, network, tmp_path):
    """In a process of its own, where BLAS has one thread and the command has two."""
    command = [
        sys.executable,
        "-m",
        "abbnn",
        "golden",
        *map(str, files),
        "--out",
        str(tmp_path / "scores.npy"),
        "--jobs",
        "2",
    ]
    done = subprocess.run(command, cwd=paths.CHECKOUT, capture_output=True, text=True, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), forward(network, np.load(files[1]))["scores"])
    assert re.search(r"^\d+\.\d images/s with --jobs 2$", done.stdout, re.MULTILINE)
    assert done.stderr == ""  # no progress bar where nobody looks


def test_importing_the_command_changes_no_environment():
    code = "import os; before = dict(os.environ); import golden.__main__; assert dict(os.environ) == before"
    subprocess.run([sys.executable, "-c", code], cwd=paths.CHECKOUT, check=True)


def test_progress_bar(files, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert run(*files, "--out", tmp_path / "scores.npy") == 0
    assert f"{COUNT}/{COUNT}" in terminal.getvalue()


def test_memory_does_not_grow_with_the_images(network, monkeypatch):
    """No batch begins before the one that lies `jobs` + 1 before it is done with, however slow that is."""
    monkeypatch.setattr(Model, "batch_size", 2)
    images = random_images(STRUCTURE, 1, 61)
    started, finished, most = [], [], []
    lock = threading.Lock()
    exact = cli.run_batch

    def run_batch(model, batch, first, files):
        with lock:
            started.append(first)
        if first == 0:
            time.sleep(0.5)
        outcome = exact(model, batch, first, files)
        assert list(vars(outcome)) == ["scores", "at_limit"]
        return outcome

    def progress(count):
        with lock:
            finished.append(count)
            most.append(len(started) - len(finished))

    monkeypatch.setattr(cli, "run_batch", run_batch)
    outcome = evaluate(Model(network), images, 3, None, progress)
    np.testing.assert_array_equal(outcome.scores, forward(network, images)["scores"])
    assert finished == [2] * 30 + [1]
    assert max(most) <= 4
    assert isinstance(outcome, Outcome)


def test_accuracy_is_printed_where_there_are_labels(files, network, tmp_path, capsys):
    images = np.load(files[1])
    labels = forward(network, images)["class"].copy()
    labels[:19] = (labels[:19] + 1) % STRUCTURE.classes
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    assert run(files[0], tmp_path / "set.npz", "--out", tmp_path / "scores.npy") == 0
    assert f"top-1 {COUNT - 19} of {COUNT}: 74.67%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("network_name", "image_name", "culprit"),
    [
        ("absent.safetensors", "images.npy", "absent.safetensors"),
        ("images.npy", "images.npy", "images.npy"),
        ("net.safetensors", "absent.npy", "absent.npy"),
        ("net.safetensors", "small.npy", "small.npy"),
        ("net.safetensors", "float.npy", "float.npy"),
        ("net.safetensors", "none.npy", "none.npy"),
        ("net.safetensors", "labels.npz", "labels.npz: label 5 of image 2; the network has 5 classes"),
    ],
)
def test_bad_input(files, tmp_path, capsys, network_name, image_name, culprit):
    np.save(tmp_path / "small.npy", np.zeros((2, 4, 4, 3), np.uint8))
    np.save(tmp_path / "float.npy", np.zeros((2, 8, 8, 3), np.float32))
    np.save(tmp_path / "none.npy", np.zeros((0, 8, 8, 3), np.uint8))
    np.savez(tmp_path / "labels.npz", images=np.zeros((3, 8, 8, 3), np.uint8), labels=[0, 4, 5])
    before = sorted(tmp_path.rglob("*"))
    out, folder = tmp_path / "out" / "scores.npy", tmp_path / "out" / "layers"
    assert run(tmp_path / network_name, tmp_path / image_name, "--out", out, "--layers", folder) == 2
    assert culprit in one_line(capsys)
    assert sorted(tmp_path.rglob("*")) == before


def one_line(capsys) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("jobs", ["0", "-3", "many"])
def test_no_jobs(files, tmp_path, capsys, jobs):
    with pytest.raises(SystemExit):
        run(*files, "--out", tmp_path / "scores.npy", "--jobs", jobs)
    said = capsys.readouterr().err
    assert jobs in said
    assert "is not a whole number" in said


def test_out_wants_a_file(files, tmp_path, capsys, monkeypatch):
    """Said before the work, not after it."""
    monkeypatch.setattr(cli, "evaluate", None)
    (tmp_path / "folder").mkdir()
    assert run(*files, "--out", tmp_path / "folder") == 2
    assert "folder: a folder" in one_line(capsys)
    (tmp_path / "file").touch()
    assert run(*files, "--out", tmp_path / "file" / "scores.npy") == 2
    assert str(tmp_path / "file") in one_line(capsys)


def test_an_error_on_the_way_leaves_nothing(files, tmp_path, capsys, monkeypatch):
    exact = cli.run_batch

    def failing(model, images, first, layer_files):
        if first:
            raise OSError("disk full")
        return exact(model, images, first, layer_files)

    monkeypatch.setattr(cli, "run_batch", failing)
    before = sorted(tmp_path.rglob("*"))
    assert run(*files, "--out", tmp_path / "scores.npy", "--layers", tmp_path / "layers", "--jobs", 2) == 2
    assert "disk full" in one_line(capsys)
    assert sorted(tmp_path.rglob("*")) == before


def test_layers_wants_a_new_folder(files, tmp_path, capsys):
    (tmp_path / "kept").mkdir()
    assert run(*files, "--out", tmp_path / "scores.npy", "--layers", tmp_path / "kept") == 2
    assert "kept: exists" in capsys.readouterr().err
    assert not (tmp_path / "scores.npy").exists()
    assert list((tmp_path / "kept").iterdir()) == []


def test_the_bytes_of_the_layers_are_announced(files, tmp_path, capsys, monkeypatch):
    """And refused, before the work, where there is no room for them."""
    assert run(*files, "--out", tmp_path / "scores.npy", "--layers", tmp_path / "layers") == 0
    written = sum(path.stat().st_size for path in (tmp_path / "layers").iterdir())
    assert f"layers: {written:,} bytes in 9 files\n" in capsys.readouterr().out
    monkeypatch.setattr(cli, "evaluate", None)
    monkeypatch.setattr(cli.shutil, "disk_usage", lambda folder: cli.shutil._ntuple_diskusage(0, 0, written - 1))
    before = sorted(tmp_path.rglob("*"))
    assert run(*files, "--out", tmp_path / "other.npy", "--layers", tmp_path / "more") == 2
    assert f"more: the layers have {written:,} bytes, on the disk {written - 1:,} are free" in one_line(capsys)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_disk_that_fills_up_is_named(files, tmp_path):
    """The limit on the size of a file stands for a full disk: a write fails, mapped memory would be a bus error."""
    code = (
        "import resource, signal, sys; from abbnn.golden.__main__ import main; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000)); "
        "sys.exit(main(sys.argv[1:]))"
    )
    before = sorted(tmp_path.rglob("*"))
    words = [*map(str, files), "--out", str(tmp_path / "scores.npy"), "--layers", str(tmp_path / "layers")]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=paths.CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "layers" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_nothing(files, tmp_path, number, status):
    np.save(files[1], np.zeros((20_000, 8, 8, 3), np.uint8))
    before = sorted(tmp_path.rglob("*"))
    words = [*map(str, files), "--out", str(tmp_path / "scores.npy"), "--layers", str(tmp_path / "layers")]
    command = [sys.executable, "-m", "abbnn", "golden", *words]
    with subprocess.Popen(command, cwd=paths.CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert b"layers" in process.stdout.readline()
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == status
    assert len(said.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
