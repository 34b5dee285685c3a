"""The command line: what it writes, and bad input as one line and exit code 2."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="training needs torch")

from abbnn import paths  # noqa: E402
from abbnn.golden.structure import DECLARATIONS, STRIDED_STEM, Declaration, declared_network  # noqa: E402
from abbnn.train import checkpoint, data  # noqa: E402
from abbnn.train.command import main  # noqa: E402
from abbnn.train.model import Network  # noqa: E402
from abbnn.train.recipe import Run  # noqa: E402
from abbnn.train.teacher import TeacherOptions  # noqa: E402
from abbnn.train.tensors import to_official  # noqa: E402
from abbnn.train.variant import Variant  # noqa: E402

TINY = paths.MODELS / "tiny.pt"
SHIPPED_IMAGES = paths.MODELS / "cifar10_test100.npz"
COUNT = 12  # images in each of CIFAR's files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a CIFAR-10 of 12 images a file, and "small" as narrow and shallow as can be."""
    monkeypatch.setattr(data, "CIFAR_TRAIN_IMAGES", 5 * COUNT)
    monkeypatch.setattr(data, "CIFAR_TEST_IMAGES", COUNT)
    monkeypatch.setitem(DECLARATIONS, "small", Declaration("reactnet", (4, 6), (1, 1), STRIDED_STEM))
    random = np.random.default_rng(0)
    cifar = tmp_path / "cifar-10-batches-bin"
    cifar.mkdir()
    for name in ("test_batch", *(f"data_batch_{number}" for number in range(1, 6))):
        records = random.integers(0, 256, (COUNT, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (cifar / f"{name}.bin").write_bytes(records.tobytes())
    return tmp_path


def command(folder: Path, *more: str, out: str = "out") -> int:
    words = ["--network", "small", "--data", str(folder), "--out", str(folder / out), "--batch-size", "30"]
    return main([*words, "--preset", "two-step", *more])


def refused(capsys: pytest.CaptureFixture[str], code: int, complaint: str) -> None:
    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(lines) == 1
    assert complaint in lines[0]


def small_tensors(classes: int = 10) -> dict[str, np.ndarray]:
    torch.manual_seed(0)
    return Network(declared_network("small", classes=classes), Variant()).tensors()


def test_train_then_evaluate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(folder, "--epochs", "3") == 0
    out = folder / "out"
    assert "seed 2023" in capsys.readouterr().out
    metadata = checkpoint.load(out / "model.pt", "small").metadata
    assert metadata["epochs"] == {"Qa": 1, "Qaw": 2}
    assert (metadata["data"], metadata["chosen"]) == ("CIFAR-10", "last epoch")

    words = ["evaluate", str(out / "model.pt"), "--network", "small", "--out", str(out / "logits.npy"), "--images"]
    assert main([*words, str(folder / "cifar-10-batches-bin"), "--threads", "1"]) == 0
    assert f"{metadata['test_top1']:.2f}% of 12 images" in capsys.readouterr().out
    logits = np.load(out / "logits.npy")
    assert logits.dtype == np.float32
    assert logits.shape == (12, 10)

    np.save(out / "images.npy", data.read(folder).test.images[:5])
    assert main([*words, str(out / "images.npy"), "--threads", "1"]) == 0
    assert "top-1" not in capsys.readouterr().out
    np.testing.assert_allclose(np.load(out / "logits.npy"), logits[:5], rtol=1e-6)


def test_the_shipped_network_knows_the_shipped_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", str(TINY), "--network", "tiny", "--images", str(SHIPPED_IMAGES), "--threads", "1"]
    assert main([*words, "--out", str(tmp_path / "logits.npy")]) == 0
    assert "top-1 92.00% of 100 images" in capsys.readouterr().out
    assert np.load(tmp_path / "logits.npy").shape == (100, 10)


def test_options_reach_the_run(folder: Path) -> None:
    words = ["--preset", "paper-cifar", "--epochs-qa", "1", "--epochs-qaw", "2", "--alpha", "0.125", "--slope", "-3"]
    words += ["--form", "paper", "--scales", "pow2", "--validation", "20", "--seed", "5", "--rate", "0.01"]
    words += ["--weight-decay", "0", "--agc", "0.02", "--evaluate-every", "2", "--bfloat16", "--classes", "12"]
    assert command(folder, *words) == 0
    loaded = checkpoint.load(folder / "out" / "model.pt", "small")
    assert loaded.structure.classes == 12
    assert loaded.variant == Variant("Qaw", 0.125, "pow2", "paper")
    expected = {"epochs_qa": 1, "epochs_qaw": 2, "batch_size": 30, "rate": 0.01, "weight_decay": 0.0, "agc": 0.02}
    expected |= {"slope": -3, "validation": 20, "seed": 5, "evaluate_every": 2, "bfloat16": True, "device": "cpu"}
    assert loaded.metadata["options"].items() >= expected.items()
    assert loaded.metadata["chosen"] == "best of 20 held-out training images"


@pytest.mark.parametrize(
    ("words", "epochs"),
    [
        (["--epochs", "7"], (2, 5)),
        (["--epochs", "7", "--preset", "paper-cifar"], (3, 4)),
        (["--epochs", "1", "--steps", "Qaw"], (0, 1)),
        (["--epochs", "1", "--preset", "quick", "--no-compile"], (0, 1)),
        (["--epochs", "3", "--epochs-qa", "2"], (2, 1)),
        (["--epochs", "2", "--steps", "Qa"], (2, 0)),
        (["--epochs", "2", "--steps", "Qaw"], (0, 2)),
        (["--epochs-qaw", "1", "--steps", "Qaw"], (0, 1)),
        (["--epochs-qa", "1", "--epochs-qaw", "0"], (1, 0)),
    ],
)
def test_epochs_of_the_steps(folder: Path, words: list[str], epochs: tuple[int, int]) -> None:
    assert command(folder, *words) == 0
    metadata = checkpoint.load(folder / "out" / "model.pt", "small").metadata
    assert (metadata["epochs"]["Qa"], metadata["epochs"]["Qaw"]) == epochs


def test_step_two_alone_from_step_ones_result(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(folder, "--epochs", "2", "--epochs-qa", "1", out="both") == 0
    assert command(folder, "--epochs", "1", "--steps", "Qa", out="qa") == 0
    init = ["--epochs", "1", "--steps", "Qaw", "--init", str(folder / "qa" / "model.pt")]
    assert command(folder, *init, out="qaw") == 0
    both, alone = (checkpoint.load(folder / out / "model.pt", "small").tensors for out in ("both", "qaw"))
    for name, tensor in both.items():
        np.testing.assert_array_equal(tensor, alone[name])
    capsys.readouterr()
    refused(capsys, command(folder, *init, "--classes", "11", out="more"), "qa/model.pt: its small has other widths")
    refused(capsys, command(folder, "--init", str(TINY), out="more"), "tiny.pt: holds tiny, not small")
    refused(capsys, command(folder, "--init", str(folder / "no.pt"), out="more"), "no.pt: no such file")
    assert not (folder / "more").exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:DeprecationWarning")
def test_teachers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teach = ["--epochs", "2", "--epochs-qa", "1", "--teacher"]
    ours, script = folder / "teacher.pt", folder / "teacher.ts"
    checkpoint.save(ours, small_tensors(), declared_network("small"), Variant("Qa").to_dict())
    assert command(folder, *teach, str(ours), "--teacher-network", "small", out="a") == 0
    options = checkpoint.load(folder / "a" / "model.pt", "small").metadata["options"]
    assert len(options["teacher"]) == 64

    layers = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 10))
    torch.jit.script(layers).save(script)
    assert command(folder, *teach, str(script), "--teacher-torchscript", out="b") == 0
    capsys.readouterr()

    refused(capsys, command(folder, *teach, str(script), out="c"), "--teacher needs --teacher-network or")
    refused(capsys, command(folder, "--teacher-torchscript", out="c"), "tell what the file of --teacher is")
    refused(capsys, command(folder, *teach, str(ours), "--teacher-torchscript", out="c"), "not a TorchScript archive")
    refused(capsys, command(folder, *teach, str(script), "--teacher-network", "small", out="c"), "teacher.ts: ")
    refused(capsys, command(folder, *teach, str(TINY), "--teacher-network", "small", out="c"), "holds tiny, not small")
    refused(capsys, command(folder, *teach, str(folder / "no"), "--teacher-torchscript", out="c"), "no such file")
    refused(capsys, command(folder, "--preset", "paper-imagenet", out="c"), "preset paper-imagenet distils")
    wrong = ["--teacher-torchscript", "--classes", "11"]
    refused(capsys, command(folder, *teach, str(script), *wrong, out="c"), "logits of shape (2, 10)")
    assert not (folder / "c").exists()
    quiet = ["--preset", "paper-imagenet", "--no-distillation", "--epochs", "2"]
    assert command(folder, *quiet, out="c") == 0


def test_a_teacher_from_scratch_and_its_soft_labels(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(TeacherOptions, "__init__", partialmethod(TeacherOptions.__init__, widths=(8, 8, 8)))
    words = ["teacher", "--data", str(folder), "--out", str(folder / "teacher"), "--epochs", "1"]
    assert main(words) == 0
    assert "test top-1" in capsys.readouterr().out
    refused(capsys, main(words), "teacher_resume.pt: exists; add --resume")
    assert main([*words, "--resume", "--copy", str(folder / "copy")]) == 0
    assert (folder / "copy" / "labels.npz").read_bytes() == (folder / "teacher" / "labels.npz").read_bytes()
    labels = ["--soft-labels", str(folder / "teacher" / "labels.npz")]
    assert command(folder, *labels, "--epochs", "1", "--steps", "Qaw") == 0
    options = checkpoint.load(folder / "out" / "model.pt", "small").metadata["options"]
    digest = hashlib.sha256((folder / "teacher" / "teacher.pt").read_bytes()).hexdigest()
    assert options["teacher"] == digest


def test_a_stopped_run_says_so_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "train_batch", lambda *_: os.kill(os.getpid(), signal.SIGINT) or torch.zeros(3))
    assert command(folder, "--epochs", "1", "--steps", "Qaw") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "abbnn train: stopped by SIGINT; --resume goes on from here"
    assert (folder / "out" / "resume.pt").exists()


def test_resume_and_the_refusal_to_overwrite(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(folder, "--epochs", "2", "--epochs-qa", "1") == 0
    model = (folder / "out" / "model.pt").read_bytes()
    capsys.readouterr()
    refused(capsys, command(folder, "--epochs", "2", "--epochs-qa", "1"), "exists; add --resume")
    refused(capsys, command(folder, "--epochs", "3", "--epochs-qa", "1", "--resume"), "rates fell from the start")
    refused(capsys, command(folder, "--epochs", "2", "--epochs-qa", "1", "--alpha", "0.5", "--resume"), "alpha 0.25")
    assert (folder / "out" / "model.pt").read_bytes() == model
    assert command(folder, "--epochs", "2", "--epochs-qa", "1", "--resume") == 0


def test_bad_training_input(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, complaint in (
        (["--epochs", "2", "--epochs-qa", "2"], "leaves nothing"),
        (["--epochs", "1"], "--epochs 1 leaves nothing to step Qa: add --steps Qaw, or more epochs"),
        (["--sides", "16"], "'16' is no SIDExEPOCHS"),
        (["--soft-labels", str(TINY)], "tiny.pt: not a readable file of soft labels"),
        (["--soft-labels", "x", "--teacher", "y"], "--soft-labels and --teacher contradict"),
        (["--epochs", "2", "--epochs-qaw", "1"], "contradict"),
        (["--epochs", "2", "--epochs-qa", "1", "--steps", "Qaw"], "contradict"),
        (["--epochs-qa", "0", "--steps", "Qa"], "no epochs"),
        (["--resume"], "resume.pt: no such file"),
        (["--device", "nothing"], "--device nothing"),
        (["--classes", "9"], "--classes 9 is less than the 10"),
        (["--image", "64"], "32 pixels wide, not 64"),
        (["--validation", "60"], "60 images held out leave nothing of 60"),
    ):
        refused(capsys, command(folder, *words), complaint)
    (folder / "cifar-10-batches-bin" / "data_batch_2.bin").unlink()
    refused(capsys, command(folder), "data_batch_2.bin: missing")
    refused(capsys, main(["--network", "tiny", "--data", str(folder / "no"), "--out", str(folder / "out")]), "no such")
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--epochs", "0"],
        ["--rate", "nan"],
        ["--rate", "0"],
        ["--seed", "-1"],
        ["--network", "huge"],
        ["--slope", "-20"],
        ["--weight-decay", "-1"],
        ["--preset", "best"],
        ["--cooldown", "0"],
        ["--cooldown", "1.5"],
        ["--teacher-network", "tiny", "--teacher-torchscript"],
    ],
)
def test_bad_options_exit_with_2(folder: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        command(folder, *words)
    assert error.value.code == 2


def test_torchrun_trains_on_folders_of_pictures(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("ant", "bee", "cat"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(3):
                pixels = random.integers(0, 256, (48, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{number}.JPEG")
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "abbnn",
        "train",
    ]
    words = ["--network", "tiny", "--data", str(tmp_path), "--image", "32", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [
            *torchrun,
            *words,
            "--preset",
            "two-step",
            "--epochs",
            "2",
            "--epochs-qa",
            "1",
            "--batch-size",
            "4",
            "--workers",
            "1",
        ],
        cwd=paths.CHECKOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model.pt: test top-1 ") == 1
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [(record["step"], record["epoch"]) for record in log] == [("Qa", 1), ("Qaw", 1)]
    loaded = checkpoint.load(tmp_path / "out" / "model.pt", "tiny")
    assert (loaded.structure.classes, loaded.structure.height) == (3, 32)


def official_state() -> dict[str, "torch.Tensor"]:
    official = to_official(small_tensors(), declared_network("small"))
    return {f"module.{name}": torch.from_numpy(tensor) for name, tensor in official.items()}


def evaluate(folder: Path, model: Path, images: Path, *more: str, network: str = "small") -> int:
    words = ["evaluate", str(model), "--network", network, "--images", str(images), "--threads", "1"]
    return main([*words, "--out", str(folder / "logits.npy"), *more])


@pytest.mark.parametrize("network", sorted(set(DECLARATIONS) - {"small"}))
def test_a_checkpoint_of_another_network_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], network: str
) -> None:
    """Every other family lacks tensors or has foreign ones; within the family, our metadata tell."""
    official, ours, images = folder / "model.h5", folder / "model.pt", folder / "images.npy"
    np.save(images, np.zeros((2, 32, 32, 3), np.uint8))
    torch.save(official_state(), official)
    checkpoint.save(ours, small_tensors(), declared_network("small"), Variant().to_dict())
    refused(capsys, evaluate(folder, ours, images, network=network), f"holds small, not {network}")
    related = DECLARATIONS[network].family == "reactnet"
    if not related:
        refused(capsys, evaluate(folder, official, images, network=network), "model.h5: tensor ")
    assert not (folder / "logits.npy").exists()


def test_bad_files_and_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, images = folder / "model.h5", folder / "images.npy"
    np.save(images, np.zeros((2, 32, 32, 3), np.uint8))
    refused(capsys, evaluate(folder, model, images), "model.h5: no such file")
    torch.save(official_state(), model)
    whole = model.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        model.write_bytes(whole[:size])
        refused(capsys, evaluate(folder, model, images), "model.h5: not a checkpoint")
    model.write_bytes(whole)

    images.unlink()
    refused(capsys, evaluate(folder, model, images), "images.npy: no such file")
    images.write_bytes(b"junk")
    refused(capsys, evaluate(folder, model, images), "images.npy: ")
    for bad, complaint in (
        (np.zeros((2, 32, 32, 3)), "float64"),
        (np.zeros((2, 3, 32, 32), np.uint8), "shape"),
        (np.zeros((0, 32, 32, 3), np.uint8), "no images"),
        (np.zeros((2, 32, 30, 3), np.uint8), "shape (2, 32, 30, 3), expected (N, 32, 32, 3)"),
        (np.zeros((2, 30, 30, 3), np.uint8), "model.h5: small: block01 halves an odd map of 15x15"),
    ):
        np.save(images, bad)
        refused(capsys, evaluate(folder, model, images), complaint)
    np.save(images, np.zeros((2, 32, 32, 3), np.uint8))
    refused(capsys, evaluate(folder, model, images, "--image", "64"), "expected (N, 64, 64, 3)")
    refused(capsys, evaluate(folder, model, images, "--device", "nothing"), "--device nothing")
    assert sorted(path.name for path in folder.iterdir()) == ["cifar-10-batches-bin", "images.npy", "model.h5"]
    assert evaluate(folder, model, images) == 0
    (folder / "logits.npy").unlink()
    (folder / "logits.npy").mkdir()
    refused(capsys, evaluate(folder, model, images), "logits.npy")
