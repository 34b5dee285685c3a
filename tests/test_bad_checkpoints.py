"""Checkpoints that cannot be taken: `export freeze` and `train evaluate` say so in one line, exit 2, write nothing."""

import os
import pickle
from itertools import product
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="reading a checkpoint needs torch")

from abbnn.export.__main__ import main as export_main  # noqa: E402
from abbnn.golden.structure import CIFAR_STEM, member  # noqa: E402
from abbnn.train.command import main as train_main  # noqa: E402
from abbnn.train.random_checkpoint import random_checkpoint  # noqa: E402
from abbnn.train.tensors import to_official  # noqa: E402

NARROW = {
    "reactnet18": member("reactnet18", (4, 6), (1, 2), image=8, stem=CIFAR_STEM),
    "birealnet18": member("birealnet18", (4, 6), (1, 2), family="birealnet", image=8),
    "xnornet18": member("xnornet18", (4, 6), (1, 2), family="xnornet", image=8),
    "reactneta": member("reactneta", (4, 8, 16), (0, 1, 1), family="reactneta", image=8),
}
KEYS = {
    "reactnet18": "module.layer2.0.downsample.1.weight",
    "birealnet18": "module.prelu2.weight",
    "xnornet18": "module.layer2.0.downsample.0.gain",
    "reactneta": "module.feature.2.binary_pw_down2.weight",
}
"""A tensor that only some families have."""


def official(network):
    """An official state dict of the narrow member of `network`."""
    structure = NARROW[network]
    tensors = to_official(random_checkpoint(structure, np.random.default_rng(3)), structure)
    return {f"module.{name}": torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()}


def refused(capsys, tmp_path, checkpoint, network, *parts):
    """Both commands refuse `checkpoint` in one line that holds all `parts`."""
    images = tmp_path / "images.npy"
    np.save(images, np.zeros((2, 8, 8, 3), np.uint8))
    before = sorted(tmp_path.iterdir())
    out = tmp_path / "out"
    for run, words in (
        (export_main, ["freeze", checkpoint, "--network", network, "--image", "8", "--out", out]),
        (train_main, ["evaluate", checkpoint, "--network", network, "--images", images, "--out", out]),
    ):
        assert run(list(map(str, words))) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert len(printed.err.splitlines()) == 1, printed.err
        for part in (str(checkpoint), *parts):
            assert part in printed.err
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("network", NARROW)
def test_the_undamaged_checkpoints_are_taken(network, tmp_path):
    """What the other tests damage is good before."""
    checkpoint, out = tmp_path / "good.h5", tmp_path / "out"
    torch.save(official(network), checkpoint)
    words = ["freeze", checkpoint, "--network", network, "--image", "8", "--out", out]
    assert export_main(list(map(str, words))) == 0
    assert out.is_file()


@pytest.mark.parametrize("network", NARROW)
@pytest.mark.parametrize(
    "damage", ["missing", "extra", "misshapen", "nan", "infinite", "huge", "integers", "twice", "no tensor"]
)
def test_damaged_tensors(network, damage, tmp_path, capsys):
    state = official(network)
    key = KEYS[network]
    name = key.removeprefix("module.")
    if damage == "missing":
        del state[key]
    elif damage == "extra":
        name = "layer1.0.conv1.bias" if network != "reactneta" else "feature.1.binary_3x3.bias"
        state[f"module.{name}"] = torch.zeros(4)
    elif damage == "misshapen":
        state[key] = state[key][1:]
    elif damage in ("nan", "infinite"):
        state[key].view(-1)[0] = float("nan") if damage == "nan" else float("inf")
    elif damage == "huge":  # beyond float32
        state[key] = torch.full_like(state[key], 1e300, dtype=torch.float64)
    elif damage == "integers":
        state[key] = state[key].to(torch.int32)
    elif damage == "twice":
        state[name] = state[key]
    else:
        state[key] = [1.0, 2.0]
    checkpoint = tmp_path / "bad.h5"
    torch.save(state, checkpoint)
    refused(capsys, tmp_path, checkpoint, network, name)


@pytest.mark.parametrize(("held", "asked"), [pair for pair in product(NARROW, NARROW) if pair[0] != pair[1]])
def test_another_family(held, asked, tmp_path, capsys):
    checkpoint = tmp_path / "other.h5"
    torch.save(official(held), checkpoint)
    refused(capsys, tmp_path, checkpoint, asked, asked)


def test_another_declared_network(tmp_path, capsys):
    """All of ReActNet-34's widths and depths: that is not ReActNet-18."""
    structure = member("reactnet34", (64, 128, 256, 512), (6, 8, 12, 6), image=8)
    tensors = to_official(random_checkpoint(structure, np.random.default_rng(1)), structure)
    checkpoint = tmp_path / "deep.h5"
    torch.save({name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()}, checkpoint)
    refused(capsys, tmp_path, checkpoint, "reactnet18", "reactnet34")


class Malice:
    """Leaves a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("as_torch_file", [True, False])
def test_code_in_a_pickle_does_not_run(as_torch_file, tmp_path, capsys):
    trace, checkpoint = tmp_path / "trace", tmp_path / "malice.h5"
    content = official("reactnet18") | {"module.evil": Malice(trace)}
    if as_torch_file:
        torch.save(content, checkpoint)
    else:
        checkpoint.write_bytes(pickle.dumps(Malice(trace)))
    refused(capsys, tmp_path, checkpoint, "reactnet18", "not a checkpoint")
    assert not trace.exists()
    # The file does hold code: a reader that trusts it runs it.
    torch.load(checkpoint, weights_only=False) if as_torch_file else pickle.loads(checkpoint.read_bytes())
    assert trace.exists()


@pytest.mark.parametrize(
    "kind", ["truncated", "empty", "text", "hdf5", "npz", "folder", "nothing", "list", "no tensors"]
)
def test_files_that_are_no_checkpoint(kind, tmp_path, capsys):
    checkpoint = tmp_path / "bad.h5"
    if kind == "truncated":
        torch.save(official("reactnet18"), checkpoint)
        checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    elif kind == "empty":
        checkpoint.write_bytes(b"")
    elif kind == "text":
        checkpoint.write_text("conv1.weight\n")
    elif kind == "hdf5":
        checkpoint.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    elif kind == "npz":
        with checkpoint.open("wb") as file:
            np.savez(file, weight=np.zeros(3))
    elif kind == "folder":
        checkpoint.mkdir()
    elif kind == "list":
        torch.save([torch.zeros(3)], checkpoint)
    elif kind == "no tensors":
        torch.save({}, checkpoint)
    refused(capsys, tmp_path, checkpoint, "reactnet18")


def test_no_class_at_all(tmp_path, capsys):
    state = official("reactnet18")
    state["module.fc.weight"], state["module.fc.bias"] = torch.zeros(0, 6), torch.zeros(0)
    checkpoint = tmp_path / "bad.h5"
    torch.save(state, checkpoint)
    refused(capsys, tmp_path, checkpoint, "reactnet18", "fc.weight")


@pytest.mark.parametrize("out", ["good.h5/out", "folder"])
def test_nowhere_to_write(out, tmp_path, capsys):
    checkpoint, folder = tmp_path / "good.h5", tmp_path / "folder"
    torch.save(official("reactnet18"), checkpoint)
    folder.mkdir()
    images = tmp_path / "images.npy"
    np.save(images, np.zeros((2, 8, 8, 3), np.uint8))
    path = Path(tmp_path / out)
    for run, words in (
        (export_main, ["freeze", checkpoint, "--network", "reactnet18", "--image", "8", "--out", path]),
        (train_main, ["evaluate", checkpoint, "--network", "reactnet18", "--images", images, "--out", path]),
    ):
        assert run(list(map(str, words))) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "good.h5", "images.npy"]
        assert not list(folder.iterdir())
