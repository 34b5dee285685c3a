"""The command line: what it writes, and bad input as one line and exit code 2."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from golden.structure import NETWORKS, reactnet  # noqa: E402
from train import checkpoint, data  # noqa: E402
from train.command import main  # noqa: E402

SMALL = reactnet("small", (4, 6), (1, 1), stem_stride=2)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CIFAR-10 folder with 12 images a file, and a network to match."""
    monkeypatch.setattr(data, "BATCH_IMAGES", 12)
    monkeypatch.setitem(NETWORKS, "small", SMALL)
    random = np.random.default_rng(0)
    cifar = tmp_path / "cifar-10-batches-bin"
    cifar.mkdir()
    for name in (*data.TRAIN_BATCHES, data.TEST_BATCH):
        records = random.integers(0, 256, (12, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (cifar / f"{name}.bin").write_bytes(records.tobytes())
    return tmp_path


def command(folder: Path, *more: str) -> int:
    words = ["--network", "small", "--data", str(folder), "--out", str(folder / "out"), "--batch-size", "30"]
    return main([*words, *more])


def refused(capsys: pytest.CaptureFixture[str], code: int, complaint: str) -> None:
    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(lines) == 1
    assert complaint in lines[0]


def test_train_then_evaluate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(folder, "--epochs", "3") == 0
    out = folder / "out"
    assert "seed 2023" in capsys.readouterr().out
    metadata = checkpoint.read(out / "model.pt")[1]
    assert metadata["epochs"] == {"Qa": 1, "Qaw": 2}

    words = ["evaluate", str(out / "model.pt"), "--network", "small", "--out", str(out / "logits.npy"), "--images"]
    assert main([*words, str(folder / "cifar-10-batches-bin")]) == 0
    assert f"{metadata['test_top1']:.2f}% of 12 images" in capsys.readouterr().out
    logits = np.load(out / "logits.npy")
    assert logits.dtype == np.float32
    assert logits.shape == (12, 10)

    np.save(out / "images.npy", data.read_test(folder).images[:5])
    assert main([*words, str(out / "images.npy")]) == 0
    np.testing.assert_allclose(np.load(out / "logits.npy"), logits[:5], rtol=1e-4, atol=1e-5)


def test_resume_and_the_refusal_to_overwrite(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(folder, "--epochs", "2", "--epochs-qa", "1") == 0
    model = (folder / "out" / "model.pt").read_bytes()
    capsys.readouterr()
    refused(capsys, command(folder, "--epochs", "2", "--epochs-qa", "1"), "exists; add --resume")
    refused(capsys, command(folder, "--epochs", "3", "--epochs-qa", "1", "--resume"), "epochs_qaw 1, not 2")
    assert (folder / "out" / "model.pt").read_bytes() == model
    assert command(folder, "--epochs", "2", "--epochs-qa", "1", "--resume") == 0


def test_bad_training_input(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, command(folder, "--epochs", "2", "--epochs-qa", "2"), "leaves nothing")
    refused(capsys, command(folder, "--resume"), "resume.pt: no such file")
    refused(capsys, command(folder, "--device", "nothing"), "--device nothing")
    (folder / "cifar-10-batches-bin" / "data_batch_2.bin").unlink()
    refused(capsys, command(folder), "data_batch_2.bin: missing")
    refused(capsys, main(["--network", "tiny", "--data", str(folder / "no"), "--out", str(folder / "out")]), "no such")
    assert not (folder / "out").exists()


@pytest.mark.parametrize("words", [["--epochs", "0"], ["--rate", "nan"], ["--seed", "-1"], ["--network", "huge"]])
def test_bad_options_exit_with_2(folder: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        command(folder, *words)
    assert error.value.code == 2


def test_bad_evaluation_input(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "logits.npy"
    model, images = folder / "model.pt", folder / "images.npy"

    def evaluate(*, network: str = "small") -> int:
        return main(
            ["evaluate", str(model), "--network", network, "--images", str(images), "--out", str(out), "--threads", "1"]
        )

    refused(capsys, evaluate(), "images.npy")
    images.write_bytes(b"junk")
    refused(capsys, evaluate(), "images.npy")
    for bad in (np.zeros((2, 32, 32, 3)), np.zeros((2, 3, 32, 32), np.uint8), np.zeros((0, 32, 32, 3), np.uint8)):
        np.save(images, bad)
        refused(capsys, evaluate(), "images.npy")
    np.save(images, np.zeros((2, 32, 32, 3), np.uint8))
    refused(capsys, evaluate(), "model.pt: no such file")

    from train.model import ReActNet

    state = ReActNet(SMALL).state_dict()
    for damage, complaint in (
        ({}, "fc.bias is missing"),
        ({"fc.bias": torch.zeros(3)}, "fc.bias has shape (3,), expected (10,)"),
        ({"fc.bias": torch.zeros(10), "extra": torch.zeros(1)}, "extra is no parameter"),
    ):
        torch.save({key: value for key, value in state.items() if key != "fc.bias"} | damage, model)
        refused(capsys, evaluate(), complaint)
    for metadata in ({"structure": SMALL.to_dict() | {"classes": 9}}, {"step": "Qx"}, {"alpha": "x"}, {"alpha": -1.0}):
        torch.save({"state": state, "metadata": metadata}, model)
        refused(capsys, evaluate(), "model.pt: ")
    assert not out.exists()
    torch.save({f"module.{key}": value for key, value in state.items()}, model)
    assert evaluate() == 0
