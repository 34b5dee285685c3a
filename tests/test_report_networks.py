"""`abbnn report networks`: the README's table, computed or measured."""

import re
from dataclasses import replace

import numpy as np
import pytest
from random_network import random_network

from abbnn.export.random_network import random_images
from abbnn.golden.model import forward
from abbnn.golden.network import save_network
from abbnn.golden.structure import DECLARATIONS, member
from abbnn.report.__main__ import main

STRUCTURE = member("small", (4, 6), (1, 1), image=8)


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    network = random_network(STRUCTURE, 1)
    save_network(network, folder / "blank.safetensors")
    save_network(replace(network, source={"test_top1": 80.031}), folder / "told.safetensors")
    images = random_images(STRUCTURE, 2, 8)
    labels = forward(network, images)["class"].astype(np.int64)
    labels[3] = (labels[3] + 1) % STRUCTURE.classes
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    np.savez(tmp_path / "unlabelled.npz", images=images)
    np.savez(tmp_path / "beyond.npz", images=images, labels=[*labels[:-1], 10])
    return folder


def cells(text: str) -> dict[tuple[str, str], list[str]]:
    """(network, image) -> the other cells."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert len({len(line) for line in lines}) == 1
    assert all(re.fullmatch(r"-+:?", cell) for cell in lines[1])
    return {(line[0], line[1]): line[2:] for line in lines[2:]}


def test_rows(models, capsys) -> None:
    assert main(["networks", "--models", str(models)]) == 0
    rows = cells(capsys.readouterr().out)
    assert {name for name, _ in rows} == {*DECLARATIONS, "blank", "told"}
    assert rows["reactnet18", "32x32"] == ["10", "", "", "553.6 M", "11,157,504", "0"]
    assert rows["reactneta", "224x224"][0] == "1000"
    weights = 9 * 4 * 4 + 9 * 4 * 6 + 4 * 6
    assert rows["blank", "8x8"][:3] == ["10", "", ""]
    assert rows["told", "8x8"] == ["10", "80.03%", "", "0.0 M", f"{weights:,}", "0"]


def test_a_shipped_network_is_no_declared_one(models, capsys) -> None:
    (models / "told.safetensors").rename(models / "reactnet18.safetensors")
    assert main(["networks", "--models", str(models)]) == 0
    rows = cells(capsys.readouterr().out)
    assert [key for key in rows if key[0] == "reactnet18"] == [("reactnet18", "8x8")]


def test_integer_accuracy_is_measured(models, capsys) -> None:
    assert main(["networks", "--models", str(models), "--images", str(models.parent / "images.npz")]) == 0
    rows = cells(capsys.readouterr().out)
    assert rows["told", "8x8"][1:3] == ["80.03%", "87.50%"]


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["--models", "nowhere"], "nowhere"),
        (["--models", "models", "--images", "unlabelled.npz"], "no labels"),
        (["--models", "models", "--images", "none.npz"], "none.npz"),
        (["--models", "models", "--images", "beyond.npz"], "label 10 of image 7; the network has 10 classes"),
    ],
)
def test_bad_input(models, monkeypatch, capsys, arguments, culprit) -> None:
    monkeypatch.chdir(models.parent)
    assert main(["networks", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert culprit in said.err
