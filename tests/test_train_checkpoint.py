"""What `train.checkpoint` reads, and what it refuses."""

import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from train import checkpoint  # noqa: E402


def test_a_saved_model_reads_back_with_its_metadata(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    checkpoint.save(tmp_path / "model.pt", model, {"step": "Qaw", "mean": [0.5], "structure": {"blocks": ({"a": 1},)}})
    arrays, metadata = checkpoint.read(tmp_path / "model.pt")
    assert metadata == {"step": "Qaw", "mean": [0.5], "structure": {"blocks": ({"a": 1},)}}
    assert list(arrays) == ["weight", "bias"]
    assert arrays["weight"].dtype == np.float32
    np.testing.assert_array_equal(arrays["weight"], model.weight.detach().numpy())
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_an_official_state_dict_loses_its_prefix(tmp_path: Path) -> None:
    path = tmp_path / "official.h5"
    torch.save({"module.fc.bias": torch.ones(2, dtype=torch.float64), "module.module.x": torch.zeros(1)}, path)
    arrays, metadata = checkpoint.read(path)
    assert metadata == {}
    assert list(arrays) == ["fc.bias", "module.x"]
    assert arrays["fc.bias"].dtype == np.float32


def test_channels_last_weights_come_back_in_the_official_order(tmp_path: Path) -> None:
    model = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    checkpoint.save(tmp_path / "model.pt", model, {})
    weight = checkpoint.read(tmp_path / "model.pt")[0]["weight"]
    assert weight.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(weight, model.weight.detach().numpy())


class Intruder:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('ran')",)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([torch.zeros(1)], "list"),
        ({}, "no tensors"),
        ({"fc.bias": 3}, "fc.bias"),
        ({3: torch.zeros(1)}, "3 is a Tensor"),
        ({"fc.bias": torch.tensor([1.0, float("nan")])}, "fc.bias holds"),
        ({"fc.bias": torch.tensor([float("inf")])}, "fc.bias holds"),
        ({"fc.bias": torch.tensor([1])}, "int64"),
        ({"module.a": torch.zeros(1), "a": torch.zeros(1)}, "twice"),
        ({"state": {"a": torch.zeros(1)}, "metadata": 3}, "dicts"),
        ({"state": 3, "metadata": {}}, "dicts"),
        (Intruder(), "not run"),
        ({"a": np.zeros(3)}, "not run"),
    ],
)
def test_odd_contents_are_refused_in_one_line(tmp_path: Path, content: object, complaint: str) -> None:
    path = tmp_path / "odd.pt"
    torch.save(content, path)
    with pytest.raises(ValueError, match=complaint) as error:
        checkpoint.read(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "truncated", "bare pickle"])
def test_files_that_are_no_checkpoint_are_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.pt"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("not a checkpoint\n")
    elif kind == "truncated":
        torch.save({"a": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "bare pickle":
        path.write_bytes(pickle.dumps(Intruder()))
    with pytest.raises(ValueError, match=r"bad\.pt") as error:
        checkpoint.read(path)
    assert "\n" not in str(error.value)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    checkpoint.write_atomically(path, {"a": torch.zeros(1)})
    before = path.read_bytes()
    with pytest.raises(Exception, match="pickle"):
        checkpoint.write_atomically(path, {"a": lambda: None})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt"]
