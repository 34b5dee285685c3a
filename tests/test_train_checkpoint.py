"""What `train.checkpoint` writes and reads, and what it refuses."""

import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from abbnn.golden.structure import RESNET_STEM, STRIDED_STEM, member  # noqa: E402
from abbnn.train import checkpoint  # noqa: E402
from abbnn.train.tensors import canonical_shapes, official_shapes, to_official  # noqa: E402
from abbnn.train.variant import Variant  # noqa: E402

TINY = member("tiny", (4, 6), (1, 1), stem=STRIDED_STEM, classes=3)


def random_tensors(structure, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in canonical_shapes(structure).items()}


@pytest.mark.parametrize(
    "structure",
    [
        TINY,
        member("reactnet34", (4, 6), (2, 1), image=40, stem=RESNET_STEM, classes=7),
        member("xnornet18", (4, 6), (2, 1), family="xnornet", image=8),
        member("reactneta", (3, 6, 12), (0, 2, 1), family="reactneta", image=16, stem=STRIDED_STEM),
    ],
    ids=lambda structure: structure.name,
)
def test_a_saved_network_loads_as_it_was(tmp_path: Path, structure) -> None:
    variant = Variant("Qa", 0.125, "pow2", "paper", (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    tensors, path = random_tensors(structure), tmp_path / "model.pt"
    checkpoint.save(path, tensors, structure, variant.to_dict() | {"seed": 3, "log": ["a"]})
    loaded = checkpoint.load(path, structure.name)
    assert loaded.structure == structure
    assert loaded.variant == variant
    assert (loaded.metadata["seed"], loaded.metadata["log"]) == (3, ["a"])
    assert (loaded.metadata["network"], loaded.metadata["image"]) == (structure.name, structure.height)
    assert loaded.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded.tensors[name].dtype == np.float32
        np.testing.assert_array_equal(loaded.tensors[name], tensor)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt"]
    assert list(checkpoint.read(path)[0]) == list(official_shapes(structure))


def official_file(path: Path, structure) -> dict[str, "torch.Tensor"]:
    state = {name: torch.from_numpy(t) for name, t in to_official(random_tensors(structure), structure).items()}
    torch.save({f"module.{name}": value for name, value in state.items()}, path)
    return state


def test_an_official_file_has_the_official_variant(tmp_path: Path) -> None:
    structure = member("reactnet18", (4, 6), (1, 1), classes=3)
    official_file(tmp_path / "official.h5", structure)
    loaded = checkpoint.load(tmp_path / "official.h5", "reactnet18")
    assert (loaded.structure, loaded.variant, loaded.metadata) == (structure, Variant(), {})


def test_whose_word_counts_for_the_images_side(tmp_path: Path) -> None:
    official, ours = tmp_path / "official.h5", tmp_path / "model.pt"
    structure = member("reactnet18", (4, 6), (1, 1), image=16)
    official_file(official, structure)
    checkpoint.save(ours, random_tensors(structure), structure, {})

    def side(path: Path, *image: int, **assumed: int) -> int:
        return checkpoint.load(path, "reactnet18", *image, **assumed).structure.height

    assert side(official) == 32
    assert side(official, assumed_image=24) == 24
    assert side(official, 8, assumed_image=24) == 8
    assert side(ours, assumed_image=24) == 16
    assert side(ours, 8) == 8


@pytest.mark.parametrize(
    ("network", "metadata", "complaint"),
    [
        ("tiny", {"network": "small"}, "holds small, not tiny"),
        ("small", {}, "holds tiny, not small"),
        ("tiny", {"step": "Qx"}, "step is 'Qx'"),
        ("tiny", {"alpha": -1.0}, "alpha is -1.0"),
        ("tiny", {"alpha": "x"}, "alpha is 'x'"),
        ("tiny", {"scales": None}, "scales is None"),
        ("tiny", {"form": 3}, "form is 3"),
        ("tiny", {"mean": [1.0]}, "mean"),
        ("tiny", {"std": 0}, "std 0"),
        ("tiny", {"image": "32"}, "'32' as image"),
        ("tiny", {"image": True}, "True as image"),
        ("tiny", {"image": 30}, "odd map of 15x15"),
        ("tiny", {"stem_stride": 0}, "0 as stem_stride"),
        ("tiny", {"note": float("nan")}, "metadata"),
        ("tiny", {"note": torch.zeros(1)}, "metadata"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(
    tmp_path: Path, network: str, metadata: dict[str, object], complaint: str
) -> None:
    path = tmp_path / "model.pt"
    checkpoint.save(path, random_tensors(TINY), TINY, metadata)
    with pytest.raises(ValueError, match=complaint) as error:
        checkpoint.load(path, network)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_an_official_state_dict_loses_its_prefix(tmp_path: Path) -> None:
    path = tmp_path / "official.h5"
    torch.save({"module.fc.bias": torch.ones(2, dtype=torch.float64), "module.x": torch.zeros(1)}, path)
    arrays, metadata = checkpoint.read(path)
    assert metadata == {}
    assert list(arrays) == ["fc.bias", "x"]
    assert arrays["fc.bias"].dtype == np.float32


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda state: {"model": state, "model_ema": {"x": torch.zeros(2)}},
        lambda state: {"ema": {"state_dict": state}},
        lambda state: {f"module.module.{key}": value for key, value in state.items()},
        lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}, "global_step": 1},
        lambda state: {f"module.{key}": value for key, value in state.items()} | {"n_averaged": torch.tensor(4)},
    ],
    ids=["script", "beside EMA", "EMA", "twice parallel", "compiled", "Lightning", "SWA"],
)
def test_common_wrappings_are_taken_off(tmp_path: Path, wrapped) -> None:
    structure = member("reactnet18", (4, 6), (1, 1), classes=3)
    state = official_file(tmp_path / "bare.pt", structure)
    torch.save(wrapped(state), tmp_path / "wrapped.pt")
    bare, loaded = (checkpoint.load(tmp_path / f"{name}.pt", "reactnet18") for name in ("bare", "wrapped"))
    for name, tensor in bare.tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], tensor)


def test_a_slope_beyond_the_format_is_refused(tmp_path: Path) -> None:
    tensors = random_tensors(TINY)
    tensors["block00.l_alpha"][1] = 1e30
    checkpoint.save(tmp_path / "steep.pt", tensors, TINY, {})
    with pytest.raises(ValueError, match=r"steep\.pt: tensor layer1\.0\.prelu\.L_alpha: a slope of 2\*\*1e\+30"):
        checkpoint.load(tmp_path / "steep.pt", "tiny")


def test_channels_last_weights_come_back_in_the_official_order(tmp_path: Path) -> None:
    weight = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    torch.save({"weight": weight}, tmp_path / "model.pt")
    array = checkpoint.read(tmp_path / "model.pt")[0]["weight"]
    assert array.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(array, weight.numpy())


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
        ({"fc.bias": torch.zeros(2, device="meta")}, "plain tensor"),
        ({"fc.bias": torch.eye(2).to_sparse()}, "plain tensor"),
        ({"module.a": torch.zeros(1), "a": torch.zeros(1)}, "twice"),
        ({"a": torch.zeros(1).expand(2**32)}, "a repeats its values: 4294967296 of them"),
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


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0")])
def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"model\.pt: cannot be written: (No space|unexpected)"):
        checkpoint.write_atomically(tmp_path / "model.pt", {})
    assert not list(tmp_path.iterdir())
