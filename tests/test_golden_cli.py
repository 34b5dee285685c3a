"""`python -m golden`: scores and layers equal the model's, bad input gives one line, exit code 2 and no file."""

from pathlib import Path

import numpy as np
import pytest
from random_network import random_images, random_network

from golden.__main__ import main
from golden.model import forward, layer_names
from golden.network import save_network
from golden.structure import reactnet

STRUCTURE = reactnet("cli", (4, 8), (1, 1), classes=5, image=8)
COUNT = 53
"""More than one batch, and no whole number of them."""


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


def test_scores_and_layers(files, network, tmp_path):
    out, folder = tmp_path / "new" / "scores.npy", tmp_path / "layers"
    assert run(*files, "--out", out, "--layers", folder) == 0
    expected = forward(network, np.load(files[1]))
    scores = np.load(out)
    assert scores.dtype == np.int32
    np.testing.assert_array_equal(scores, expected["scores"])
    assert sorted(path.stem for path in folder.iterdir()) == sorted(layer_names(network))
    for name in layer_names(network):
        np.testing.assert_array_equal(np.load(folder / f"{name}.npy"), expected[name])


def test_accuracy_is_printed_where_there_are_labels(files, network, tmp_path, capsys):
    images = np.load(files[1])
    labels = forward(network, images)["class"].copy()
    labels[:13] = (labels[:13] + 1) % STRUCTURE.classes
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    assert run(files[0], tmp_path / "set.npz", "--out", tmp_path / "scores.npy") == 0
    assert f"top-1 {COUNT - 13} of {COUNT}: 75.47%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("network_name", "image_name", "culprit"),
    [
        ("absent.safetensors", "images.npy", "absent.safetensors"),
        ("images.npy", "images.npy", "images.npy"),
        ("net.safetensors", "absent.npy", "absent.npy"),
        ("net.safetensors", "small.npy", "small.npy"),
        ("net.safetensors", "float.npy", "float.npy"),
        ("net.safetensors", "none.npy", "none.npy"),
    ],
)
def test_bad_input(files, tmp_path, capsys, network_name, image_name, culprit):
    np.save(tmp_path / "small.npy", np.zeros((2, 4, 4, 3), np.uint8))
    np.save(tmp_path / "float.npy", np.zeros((2, 8, 8, 3), np.float32))
    np.save(tmp_path / "none.npy", np.zeros((0, 8, 8, 3), np.uint8))
    before = sorted(tmp_path.rglob("*"))
    out, folder = tmp_path / "out" / "scores.npy", tmp_path / "out" / "layers"
    assert run(tmp_path / network_name, tmp_path / image_name, "--out", out, "--layers", folder) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert culprit in lines[0]
    assert sorted(tmp_path.rglob("*")) == before


def test_layers_wants_a_new_folder(files, tmp_path, capsys):
    (tmp_path / "kept").mkdir()
    assert run(*files, "--out", tmp_path / "scores.npy", "--layers", tmp_path / "kept") == 2
    assert "kept: exists" in capsys.readouterr().err
    assert not (tmp_path / "scores.npy").exists()
    assert list((tmp_path / "kept").iterdir()) == []
