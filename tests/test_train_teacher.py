"""The teacher and its soft labels, on a few made images."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from test_train_recipe import DATA, made  # noqa: E402

from abbnn.train.data import DataSet  # noqa: E402
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
    assert len(digest) == 64
    images = torch.from_numpy(DATA.train.images[:5])
    with torch.no_grad():
        model.eval()
        expected = (model(images).softmax(1) + model(images.flip(2)).softmax(1)) / 2
    torch.testing.assert_close(soft[:5], expected, rtol=1e-2, atol=1e-3)


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
    with pytest.raises(ValueError, match=r"x\.npz: not a file of soft labels"):
        read_labels(tmp_path / "x.npz", DATA.train)
    with pytest.raises(ValueError, match=r"y\.npz: No such file"):
        read_labels(tmp_path / "y.npz", DATA.train)


def test_pictures_have_no_such_teacher(tmp_path: Path) -> None:
    class Pictures:
        pass

    with pytest.raises(ValueError, match="for CIFAR only"):
        train_teacher(DataSet("x", Pictures(), Pictures(), 2), tmp_path, OPTIONS)
