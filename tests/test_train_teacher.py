"""The teacher and its soft labels, on a few made images."""

import hashlib
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from test_train_recipe import DATA, made  # noqa: E402

from abbnn.errors import Stopped  # noqa: E402
from abbnn.train.data import DataSet  # noqa: E402
from abbnn.train.muon import Muon  # noqa: E402
from abbnn.train.ranks import Ranks  # noqa: E402
from abbnn.train.teacher import Teacher, TeacherOptions, colours, read_labels, train_teacher  # noqa: E402

torch.set_num_threads(1)  # a busy machine makes two threads wait for each other
OPTIONS = TeacherOptions(epochs=2, widths=(8, 8, 8), batch_size=20, part=10)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXX", "no-such-compiler")  # nothing to compile for so few images
        train_teacher(DATA, out, OPTIONS, report=str)
    return out


def test_it_learns_and_writes_its_files(taught: Path) -> None:
    log = [json.loads(line) for line in (taught / "teacher.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in log] == [1, 2]
    assert log[1]["train_loss"] < log[0]["train_loss"]
    assert "test_top1" in log[1]
    saved = torch.load(taught / "teacher.pt", weights_only=True)
    model = Teacher(10, OPTIONS.widths)
    model.load_state_dict(saved["state"])
    soft, digest = read_labels(taught / "labels.npz", DATA.train)
    assert digest == hashlib.sha256((taught / "teacher.pt").read_bytes()).hexdigest()
    images = torch.from_numpy(DATA.train.images[:5])
    with torch.no_grad():
        model.eval()
        expected = (model(images).softmax(1) + model(images.flip(2)).softmax(1)) / 2
    torch.testing.assert_close(soft[:5], expected, rtol=1e-2, atol=1e-3)


def test_one_stopped_within_an_epoch_goes_on_from_the_batch(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    step, steps = Muon.step, []

    def interrupted_step(self: Muon, *args: object) -> object:
        steps.append(1)
        if len(steps) == 3:  # the first batch of two of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Muon, "step", interrupted_step)
        with pytest.raises(Stopped, match="stopped by SIGTERM; --resume goes on"):
            train_teacher(DATA, tmp_path / "out", OPTIONS, report=str, copies=[tmp_path / "copy"])
    saved = torch.load(tmp_path / "copy" / "teacher_resume.pt", weights_only=True)
    assert (saved["epoch"], saved["batch"]) == (1, 1)
    again = tmp_path / "again"
    last = train_teacher(DATA, tmp_path / "copy", OPTIONS, report=str, resume=True, copies=[again])
    assert len(steps) == 3, "the patched step is gone"
    whole, parts = (torch.load(folder / "teacher.pt", weights_only=True) for folder in (taught, again))
    for name, tensor in whole["state"].items():
        assert torch.equal(tensor, parts["state"][name]), name
    assert [line | {"seconds": 0} for line in parts["log"]] == [line | {"seconds": 0} for line in whole["log"]]
    assert parts["log"][-1] == last
    assert json.loads((again / "teacher.jsonl").read_text().splitlines()[-1]) == last
    for name in ("teacher.pt", "labels.npz", "teacher.jsonl", "teacher_resume.pt"):
        assert (again / name).read_bytes() == (tmp_path / "copy" / name).read_bytes()
    assert torch.equal(
        read_labels(again / "labels.npz", DATA.train)[0], read_labels(taught / "labels.npz", DATA.train)[0]
    )


def test_what_a_teacher_does_not_resume_from(taught: Path, tmp_path: Path) -> None:
    def refused(message: str, data: DataSet = DATA, options: TeacherOptions = OPTIONS, out: Path = tmp_path) -> None:
        with pytest.raises(ValueError, match=rf"teacher_resume\.pt: {message}"):
            train_teacher(data, out, options, report=str, resume=True)

    refused("no such file")
    refused("it ran with epochs 2, not 3", options=replace(OPTIONS, epochs=3), out=taught)
    refused("it learned other training images", data=DataSet("x", DATA.test, DATA.test, 10), out=taught)
    saved = torch.load(taught / "teacher_resume.pt", weights_only=True)
    for name, value in (("epoch", "1"), ("state", {}), ("optimizers", []), ("options", {}), ("sums", None)):
        torch.save(saved | {name: value}, tmp_path / "teacher_resume.pt")
        refused("not a file to resume from")


def test_whitened_patches_have_unit_variance_and_no_covariance() -> None:
    model = Teacher(10, OPTIONS.widths)
    images = torch.from_numpy(made(3, 30).images)
    model.whiten(images)
    with torch.no_grad():
        out = model.whitening(colours(images)).permute(1, 0, 2, 3).flatten(1)
    torch.testing.assert_close(out[:12], -out[12:])
    torch.testing.assert_close(out[:12] @ out[:12].T / out.shape[1], torch.eye(12), rtol=0, atol=0.02)


def test_soft_labels_follow_their_images(taught: Path) -> None:
    soft, _ = read_labels(taught / "labels.npz", DATA.train)
    images = DATA.train.taught(soft).augmented(2, True).subset(np.arange(5, 25))
    for batch in images.batches(8, Ranks(), (1, 0)):
        for label, row in zip(batch.labels, batch.soft, strict=True):
            assert any(torch.equal(row, soft[index]) and label == DATA.train.labels[index] for index in range(5, 25))


def test_labels_of_other_images_and_other_files_are_refused(taught: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of other training images"):
        read_labels(taught / "labels.npz", DATA.test)
    (tmp_path / "x.npz").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"x\.npz: not a readable file of soft labels"):
        read_labels(tmp_path / "x.npz", DATA.train)
    with pytest.raises(ValueError, match=r"y\.npz: No such file"):
        read_labels(tmp_path / "y.npz", DATA.train)


def test_pictures_have_no_such_teacher(tmp_path: Path) -> None:
    class Pictures:
        pass

    with pytest.raises(ValueError, match="for CIFAR only"):
        train_teacher(DataSet("x", Pictures(), Pictures(), 2), tmp_path, OPTIONS)
