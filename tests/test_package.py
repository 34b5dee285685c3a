"""The installed package: its command and its Python interface, from another folder and an environment of its own."""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from abbnn import paths
from abbnn.__main__ import VERBS, main
from abbnn.api import Mismatch, export, golden, load, shipped_images, simulate


def test_the_api_from_a_file_to_the_simulator(tmp_path):
    network = load(paths.MODELS / "tiny.safetensors")
    images, labels = shipped_images(network)
    layers = golden(network, images[:2])
    assert layers["scores"].shape == (2, 10)
    pipeline = export(network, tmp_path / "mem", cycles=16384)
    assert pipeline.timing.interval == 16384
    assert (tmp_path / "mem" / "manifest.json").is_file()
    report = simulate(network, images[:1], labels=labels[:1], folder=tmp_path / "run")
    assert report.images[0]["predicted"] == layers["class"][0]
    assert all(row["mismatches"] == 0 for row in report.layers)


def test_a_simulation_that_fails_is_a_mismatch(tmp_path, monkeypatch):
    def failing(*arguments, **options):
        raise SystemExit("1 test failed")

    monkeypatch.setattr("abbnn.api.run_core", failing)
    network = load(paths.MODELS / "tiny.safetensors")
    with pytest.raises(Mismatch, match="the simulation failed: 1 test failed"):
        simulate(network, shipped_images(network)[0][:1], folder=tmp_path)


@pytest.mark.parametrize(("words", "said"), [([], "a verb is missing"), (["nothing"], "no verb nothing")])
def test_a_verb_that_is_none(words, said, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(f"abbnn: {said}\n")


def test_interrupted(monkeypatch, capsys):
    def stopped(words):
        raise KeyboardInterrupt

    monkeypatch.setattr("abbnn.golden.__main__.main", stopped)
    assert main(["golden"]) == 130
    assert capsys.readouterr().err == "abbnn golden: interrupted\n"


def test_a_fault_of_the_program_shows_its_traceback(monkeypatch):
    def faulty(words):
        raise ValueError("ours")

    monkeypatch.setattr("abbnn.golden.__main__.main", faulty)
    with pytest.raises(ValueError, match="ours"):
        main(["golden"])


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """bin/ of a new environment with the wheel of this checkout and what simulation needs, in the locked versions."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "-w", str(folder / "wheels"), str(paths.CHECKOUT)], check=True, cwd=folder
    )
    (wheel,) = (folder / "wheels").glob("abbnn-*.whl")
    venv.create(folder / "venv", with_pip=True)
    bin_folder = folder / "venv" / "bin"
    locked = ["-c", str(paths.CHECKOUT / "requirements.lock")]
    subprocess.run(
        [str(bin_folder / "python"), *pip[1:], "install", *locked, f"abbnn[sim] @ file://{wheel}"],
        check=True,
        cwd=folder,
    )
    return bin_folder


def command(installed: Path, folder: Path, *words: object) -> str:
    """What `abbnn WORDS` prints, run in `folder`, with nothing of this checkout in sight."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ABBNN", "COCOTB"))}
    done = subprocess.run(
        [installed / "abbnn", *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, f"abbnn {words}: {done.stdout}{done.stderr}"
    return done.stdout


def test_the_wheel_by_itself(installed, tmp_path):
    """Version, every --help, golden and a simulation of the shipped network, from an empty folder."""
    assert re.fullmatch(r"abbnn \d+\.\d+\.\d+\n", command(installed, tmp_path, "--version"))
    needs_torch = ("train", "teacher", "speed", "evaluate")
    for verb in VERBS:
        if verb not in needs_torch:
            assert f"abbnn {verb}" in command(installed, tmp_path, verb, "--help")
    where = subprocess.run(
        [installed / "python", "-c", "from abbnn import paths; print(paths.MODELS)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    models = Path(where.stdout.strip())
    assert installed.parent in models.parents
    scores = tmp_path / "scores.npy"
    said = command(
        installed, tmp_path, "golden", models / "tiny.safetensors", models / "cifar10_test100.npz", "--out", scores
    )
    assert "of 100: " in said
    assert np.load(scores).shape == (100, 10)
    said = command(installed, tmp_path, "sim", "--count", 1)
    assert "every value of every layer equals the golden model" in said
    assert (tmp_path / "build").is_dir()
