"""The shipped files belong together: freezing the checkpoint gives the frozen network, byte for byte."""

from pathlib import Path

import numpy as np
import pytest

from golden.images import read_images
from golden.model import forward
from golden.network import load_network

MODELS = Path(__file__).resolve().parent.parent / "models"


def test_frozen_tiny_is_the_checkpoints(tmp_path):
    pytest.importorskip("torch", reason="reading a checkpoint needs torch")
    from export.__main__ import main

    out = tmp_path / "tiny.safetensors"
    assert main(["freeze", str(MODELS / "tiny.pt"), "--network", "tiny", "--out", str(out)]) == 0
    assert out.read_bytes() == (MODELS / "tiny.safetensors").read_bytes()


def test_tiny_knows_the_shipped_images():
    """92 of the 100, as models/README.md says."""
    images, labels = read_images(MODELS / "cifar10_test100.npz")
    predicted = forward(load_network(MODELS / "tiny.safetensors"), images)["class"]
    assert int(np.sum(predicted == labels)) == 92
