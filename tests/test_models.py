"""The shipped files belong together: freezing a shipped checkpoint gives the frozen network, byte for byte."""

from pathlib import Path

import numpy as np
import pytest

from abbnn.golden.images import read_images
from abbnn.golden.model import forward
from abbnn.golden.network import load_network, serialize

MODELS = Path(__file__).resolve().parent.parent / "models"
WITH_CHECKPOINT = ("tiny", "small")


@pytest.mark.parametrize("name", WITH_CHECKPOINT)
def test_frozen_network_is_the_checkpoints(name, tmp_path):
    pytest.importorskip("torch", reason="reading a checkpoint needs torch")
    from abbnn.export.__main__ import main

    out = tmp_path / f"{name}.safetensors"
    assert main(["freeze", str(MODELS / f"{name}.pt"), "--network", name, "--out", str(out)]) == 0
    assert serialize(load_network(out)) == (MODELS / f"{name}.safetensors").read_bytes()


@pytest.mark.parametrize(("name", "right"), [("tiny", 89), ("small", 83), ("reactnet18", 90)])
def test_the_network_knows_the_shipped_images(name, right):
    """As many of the 100 as models/README.md says."""
    images, labels = read_images(MODELS / "cifar10_test100.npz")
    predicted = forward(load_network(MODELS / f"{name}.safetensors"), images)["class"]
    assert int(np.sum(predicted == labels)) == right
