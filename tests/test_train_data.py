"""The CIFAR-10 readers on made files, and augmentation against numpy.pad."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from train import data
from train.data import Cifar, augmented_batches, read_test, read_train


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "BATCH_IMAGES", 7)


def made(seed: int, count: int = 7) -> Cifar:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return Cifar(images, random.integers(0, 10, count))


def planes(cifar: Cifar) -> np.ndarray:
    return cifar.images.transpose(0, 3, 1, 2).reshape(len(cifar.images), -1)


def write_binary(folder: Path, name: str, cifar: Cifar) -> None:
    folder.mkdir(exist_ok=True)
    records = np.concatenate([cifar.labels[:, None].astype(np.uint8), planes(cifar)], axis=1)
    (folder / f"{name}.bin").write_bytes(records.tobytes())


def write_pickle(folder: Path, name: str, cifar: Cifar) -> None:
    folder.mkdir(exist_ok=True)
    content = {b"data": planes(cifar), b"labels": cifar.labels.tolist(), b"batch_label": b"made"}
    (folder / name).write_bytes(pickle.dumps(content, protocol=2))


def write_all(parent: Path, layout: str) -> tuple[Path, list[Cifar]]:
    batches = [made(seed) for seed in range(6)]
    folder = parent / ("cifar-10-batches-bin" if layout == "binary" else "cifar-10-batches-py")
    for name, cifar in zip([*data.TRAIN_BATCHES, data.TEST_BATCH], batches, strict=True):
        (write_binary if layout == "binary" else write_pickle)(folder, name, cifar)
    return folder, batches


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("layout", ["binary", "pickle"])
def test_both_layouts_read_back(tmp_path: Path, layout: str) -> None:
    folder, batches = write_all(tmp_path, layout)
    for where in (folder, tmp_path):
        train, test = read_train(where), read_test(where)
        assert train.images.dtype == np.uint8
        np.testing.assert_array_equal(train.images, np.concatenate([batch.images for batch in batches[:5]]))
        np.testing.assert_array_equal(train.labels, np.concatenate([batch.labels for batch in batches[:5]]))
        np.testing.assert_array_equal(test.images, batches[5].images)
        np.testing.assert_array_equal(test.labels, batches[5].labels)


def test_a_python_2_pickle_of_numpy_reads_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The official files name numpy.core.multiarray and hold byte strings, as Python 2 wrote them.
    monkeypatch.setattr(data, "BATCH_IMAGES", 1)
    shape = b"(I0\ntp2\nS'b'\ntp3\nRp4\n(I1\n(I1\nI3072\ntp5\n"
    dtype = b"cnumpy\ndtype\np6\n(S'u1'\np7\nI0\nI1\ntp8\nRp9\n(I3\nS'|'\np10\nNNNI-1\nI-1\nI0\ntp11\nb"
    array = b"cnumpy.core.multiarray\n_reconstruct\np1\n(cnumpy\nndarray\n" + shape + dtype
    array += b"I00\nS'" + b"\\x07" * 3072 + b"'\np12\ntp13\nb"
    (tmp_path / "test_batch").write_bytes(b"(dS'data'\n" + array + b"sS'labels'\n(lp14\nI4\nas.")
    test = read_test(tmp_path)
    assert (test.images == 7).all()
    assert test.images.shape == (1, 32, 32, 3)
    assert test.labels.tolist() == [4]


class Intruder:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('ran')",)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (pickle.dumps(Intruder()), "exec"),
        (pickle.dumps({b"data": 1}), "data"),
        (pickle.dumps([1]), "data"),
        (pickle.dumps({b"data": np.zeros((7, 3072), np.uint8), b"labels": [0] * 6}), "labels"),
        (pickle.dumps({b"data": np.zeros((7, 3072), np.uint8), b"labels": [10] * 7}), "labels"),
        (pickle.dumps({b"data": np.zeros((7, 3071), np.uint8), b"labels": [0] * 7}), "data"),
        (pickle.dumps({b"data": np.zeros((7, 3072), np.uint8)})[:100], "not a CIFAR-10 batch"),
        (b"", "not a CIFAR-10 batch"),
    ],
)
def test_a_bad_pickle_is_one_line_and_runs_nothing(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(ValueError, match=complaint) as error:
        read_test(tmp_path)
    assert str(tmp_path / "test_batch") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("small_batches")
def test_missing_and_damaged_binary_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        read_train(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="neither"):
        read_train(tmp_path)
    folder, _ = write_all(tmp_path, "binary")
    third = folder / "data_batch_3.bin"
    content = third.read_bytes()
    third.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"data_batch_3\.bin: 21510 bytes, expected 21511"):
        read_train(tmp_path)
    third.write_bytes(b"\x0a" + content[1:])
    with pytest.raises(ValueError, match=r"data_batch_3\.bin: label 10"):
        read_train(tmp_path)
    third.unlink()
    with pytest.raises(ValueError, match=r"data_batch_3\.bin: missing"):
        read_train(tmp_path)


def test_each_augmented_image_is_a_crop_of_its_reflected_original() -> None:
    cifar = made(1, 40)
    count = np.zeros(40, dtype=int)
    flipped = 0
    for images, labels in augmented_batches(cifar, 16, (3, 0, 0)):
        assert images.dtype == np.uint8
        for image, label in zip(images, labels, strict=True):
            matches = []
            for index, original in enumerate(cifar.images):
                padded = np.pad(original, ((4, 4), (4, 4), (0, 0)), mode="reflect")
                for mirror in (False, True):
                    view = image[:, ::-1] if mirror else image
                    for top, left in np.ndindex(9, 9):
                        corner = padded[top, left : left + 4]
                        if (corner == view[0, :4]).all() and (padded[top:, left:][:32, :32] == view).all():
                            matches.append((index, mirror))
            assert len(matches) == 1
            index, mirror = matches[0]
            assert cifar.labels[index] == label
            count[index] += 1
            flipped += mirror
    assert (count == 1).all()
    assert 8 <= flipped <= 32


def test_an_epoch_depends_on_its_seed_alone() -> None:
    cifar = made(2, 20)
    first, again, other = (list(augmented_batches(cifar, 8, seed)) for seed in ((1, 0, 4), (1, 0, 4), (1, 0, 5)))
    assert [len(batch.labels) for batch in first] == [8, 8, 4]
    assert all((a.images == b.images).all() for a, b in zip(first, again, strict=True))
    assert not all((a.images == b.images).all() for a, b in zip(first, other, strict=True))
