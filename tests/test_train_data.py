"""Readers on made files, augmentation against numpy.pad and Pillow, and what several processes share."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="training needs torch")

from abbnn.train import data  # noqa: E402
from abbnn.train.data import ArrayImages, Batch, LabelledImages, read  # noqa: E402
from abbnn.train.ranks import Ranks  # noqa: E402

torch.set_num_threads(1)  # a busy machine makes two threads wait for each other

ALONE = Ranks()
COUNT = 7


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "CIFAR_TRAIN_IMAGES", 5 * COUNT)
    monkeypatch.setattr(data, "CIFAR_TEST_IMAGES", COUNT)


def made(seed: int, count: int = COUNT, classes: int = 10) -> ArrayImages:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return ArrayImages(images, random.integers(0, classes, count))


def planes(cifar: ArrayImages) -> np.ndarray:
    return cifar.images.transpose(0, 3, 1, 2).reshape(len(cifar.images), -1)


def write_binary(path: Path, cifar: ArrayImages, coarse: bool) -> None:
    labels = cifar.labels[:, None].astype(np.uint8)
    columns = [labels // 5, labels] if coarse else [labels]
    path.with_name(f"{path.name}.bin").write_bytes(np.concatenate([*columns, planes(cifar)], axis=1).tobytes())


def write_all(parent: Path, name: str = "CIFAR-10") -> tuple[Path, list[ArrayImages]]:
    """Every file of a CIFAR, training first."""
    if name == "CIFAR-10":
        folder = parent / "cifar-10-batches-bin"
        names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
        batches = [made(seed) for seed in range(6)]
    else:
        folder, names = parent / "cifar-100-binary", ["train", "test"]
        batches = [made(0, 5 * COUNT, 100), made(1, COUNT, 100)]
    folder.mkdir()
    for file, batch in zip(names, batches, strict=True):
        write_binary(folder / file, batch, name == "CIFAR-100")
    return folder, batches


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(("name", "classes"), [("CIFAR-10", 10), ("CIFAR-100", 100)])
def test_a_cifar_reads_back(tmp_path: Path, name: str, classes: int) -> None:
    folder, batches = write_all(tmp_path, name)
    for where in (folder, tmp_path):
        found = read(where)
        assert (found.name, found.classes, found.train.side) == (name, classes, 32)
        for part, wanted in ((found.train, batches[:-1]), (found.test, batches[-1:])):
            assert part.images.dtype == np.uint8
            np.testing.assert_array_equal(part.images, np.concatenate([batch.images for batch in wanted]))
            np.testing.assert_array_equal(part.labels, np.concatenate([batch.labels for batch in wanted]))
    with pytest.raises(ValueError, match="32 pixels wide, not 64"):
        read(folder, side=64)


def test_the_python_version_and_archives_are_refused_with_what_to_do(tmp_path: Path) -> None:
    archive = tmp_path / "cifar-10-binary.tar.gz"
    archive.touch()
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz: an archive; unpack it"):
        read(archive)
    for name, meta in (("cifar-10-batches-py", "batches.meta"), ("cifar-100-python", "meta")):
        (tmp_path / name).mkdir()
        (tmp_path / name / meta).touch()
        for folder in (tmp_path, tmp_path / name):
            with pytest.raises(ValueError, match=r"CIFAR's Python version; .*cifar-10-binary\.tar\.gz") as error:
                read(folder)
            assert str(folder) in str(error.value)


@pytest.mark.usefixtures("small_batches")
def test_missing_and_damaged_binary_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="neither"):
        read(tmp_path)
    folder, _ = write_all(tmp_path)
    third = folder / "data_batch_3.bin"
    content = third.read_bytes()
    third.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"data_batch_3\.bin: 21510 bytes, expected a multiple of 3073"):
        read(tmp_path)
    third.write_bytes(content[:-3073])
    with pytest.raises(ValueError, match=r"data_batch_3\.bin: 6 images, expected 7"):
        read(tmp_path)
    third.write_bytes(b"\x0a" + content[1:])
    with pytest.raises(ValueError, match=r"data_batch_3\.bin: label 10"):
        read(tmp_path)
    third.unlink()
    with pytest.raises(ValueError, match=r"data_batch_3\.bin: missing"):
        read(tmp_path)


def epoch(images: LabelledImages, size: int, seed: tuple[int, ...] | None, ranks: Ranks = ALONE) -> list[Batch]:
    return list(images.batches(size, ranks, seed))


def test_each_augmented_image_is_a_crop_of_its_reflected_original() -> None:
    cifar = made(1, 40)
    count = np.zeros(40, dtype=int)
    flipped = 0
    for batch in epoch(cifar, 16, (3, 0, 0)):
        assert batch.images.dtype == torch.uint8
        assert batch.light is None
        for image, label in zip(batch.images.numpy(), batch.labels.tolist(), strict=True):
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


def test_plain_batches_come_in_order() -> None:
    cifar = made(3, 20)
    batches = epoch(cifar, 8, None)
    assert [(len(batch.labels), batch.total) for batch in batches] == [(8, 8), (8, 8), (4, 4)]
    np.testing.assert_array_equal(torch.cat([batch.images for batch in batches]).numpy(), cifar.images)
    np.testing.assert_array_equal(torch.cat([batch.labels for batch in batches]).numpy(), cifar.labels)
    part = cifar.subset(np.array([4, 2]))
    np.testing.assert_array_equal(epoch(part, 8, None)[0].images.numpy(), cifar.images[[4, 2]])


PICTURES = {"train": {"ant": [(64, 48), (40, 80)], "bee": [(90, 30), (33, 33), (50, 60)]}, "val": {"bee": [(70, 50)]}}


def write_pictures(folder: Path) -> dict[str, Image.Image]:
    """Smooth pictures of the sizes of PICTURES, as PNG under the official suffix."""
    random = np.random.default_rng(0)
    pictures = {}
    for part, classes in PICTURES.items():
        for name, sizes in classes.items():
            (folder / part / name).mkdir(parents=True)
            for number, size in enumerate(sizes):
                small = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
                picture = small.resize(size, Image.Resampling.BICUBIC)
                picture.save(folder / part / name / f"{number}.JPEG", format="png")
                pictures[f"{part}/{name}/{number}"] = picture
    return pictures


def test_imagenet_folders_read_back(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path)
    (tmp_path / "train" / "bee" / "notes.txt").write_text("no picture")
    found = read(tmp_path, side=28)
    assert (found.classes, found.train.side, len(found.train.labels)) == (2, 28, 5)
    assert found.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert found.test.labels.tolist() == [1]
    assert read(tmp_path).train.side == 224
    (batch,) = epoch(found.test, 4, None)
    # The shorter side becomes 28 * 256 / 224 = 32, the longer 45; then 28 x 28 from the centre.
    picture = pictures["val/bee/0"].resize((45, 32), Image.Resampling.BILINEAR).crop((8, 2, 36, 30))
    np.testing.assert_array_equal(batch.images.numpy(), np.array(picture)[None])


def test_augmented_pictures_are_parts_of_theirs_and_lit(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    found = read(tmp_path, side=16)
    batches = [epoch(found.train, 2, (1, 0, number)) for number in range(40)]
    for again, first in zip(epoch(found.train, 2, (1, 0, 0)), batches[0], strict=True):
        for one, other in ((again.images, first.images), (again.labels, first.labels), (again.light, first.light)):
            assert torch.equal(one, other)
    assert batches[0][0].images.shape == (2, 16, 16, 3)
    light = torch.cat([batch.light for epoch_batches in batches for batch in epoch_batches]).numpy()
    # Krizhevsky et al.: sum of p_i alpha_i lambda_i, alpha normal with deviation 0.1.
    covariance = data.COLOURS @ np.diag((0.1 * data.COLOUR_VARIANCES) ** 2) @ data.COLOURS.T
    np.testing.assert_allclose(np.cov(light.T), covariance, atol=0.4 * covariance.max())
    assert not torch.equal(batches[0][0].images, batches[1][0].images)


def test_augmented_pictures_are_cropped_and_flipped(tmp_path: Path) -> None:
    """Of a picture whose red is the column and whose green is the row, the corners tell which part was taken."""
    rows, columns = np.mgrid[:200, :240].astype(np.uint8)
    for part in ("train", "val"):
        (tmp_path / part / "one").mkdir(parents=True)
        Image.fromarray(np.stack([columns, rows, rows], axis=2)).save(tmp_path / part / "one" / "x.png")
    images = read(tmp_path, side=16).train
    drawn = [epoch(images, 1, (1, 0, number))[0].images[0].numpy().astype(int) for number in range(100)]
    across = np.array([image[8, -1, 0] - image[8, 0, 0] for image in drawn])
    down = np.array([image[-1, 8, 1] - image[0, 8, 1] for image in drawn])
    assert 30 < (across < 0).sum() < 70, "flips"
    assert (down > 0).all()
    area = np.abs(across) * down / (240 * 200)
    assert area.min() < 0.2
    assert area.max() > 0.7
    assert len({image[0, 0, 1] for image in drawn}) > 30, "places"


def test_workers_load_the_same(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    for seed in (None, (1, 0, 0)):
        alone, helped = (epoch(read(tmp_path, side=16, workers=workers).train, 2, seed) for workers in (0, 2))
        for one, other in zip(alone, helped, strict=True):
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_picture_is_one_line(tmp_path: Path, workers: int) -> None:
    write_pictures(tmp_path)
    bad = tmp_path / "train" / "ant" / "0.JPEG"
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"^\S*ant/0\.JPEG: not a readable picture: .*$") as error:
        epoch(read(tmp_path, side=16, workers=workers).train, 2, (1, 0, 0))
    assert "\n" not in str(error.value)


def test_bad_imagenet_folders(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    (tmp_path / "val" / "cat").mkdir()
    with pytest.raises(ValueError, match="val/cat: no such class"):
        read(tmp_path)
    (tmp_path / "val" / "cat").rmdir()
    (tmp_path / "val" / "bee" / "0.JPEG").unlink()
    with pytest.raises(ValueError, match="val: no pictures"):
        read(tmp_path)


def test_random_parts_cover_what_they_should() -> None:
    random = np.random.default_rng(0)
    areas, ratios = [], []
    for _ in range(2000):
        left, top, right, bottom = data.random_box(400, 300, random)
        assert 0 <= left < right <= 400
        assert 0 <= top < bottom <= 300
        areas.append((right - left) * (bottom - top) / 120_000)
        ratios.append((right - left) / (bottom - top))
    assert 0.07 < min(areas) < 0.1
    assert 0.9 < max(areas) <= 1.0
    assert 0.74 < min(ratios) < 0.78
    assert 1.28 < max(ratios) < 1.36
    # No part of a shape in between fits in here: the largest central one.
    assert data.random_box(1000, 10, random) == (493, 0, 506, 10)
    assert data.random_box(10, 1000, random) == (0, 493, 10, 506)


@pytest.mark.parametrize("kind", ["arrays", "pictures"])
@pytest.mark.parametrize("seed", [None, (5, 0, 1)])
def test_processes_share_every_batch(tmp_path: Path, kind: str, seed: tuple[int, ...] | None) -> None:
    write_pictures(tmp_path)
    images = made(2, 21) if kind == "arrays" else read(tmp_path, side=16).train
    whole = epoch(images, 4, seed)
    shares = [epoch(images, 4, seed, Ranks(rank, 3)) for rank in range(3)]
    assert all(len(share) == len(whole) for share in shares)
    for batch, *parts in zip(whole, *shares, strict=True):
        assert [part.total for part in parts] == [batch.total] * 3
        for rank, part in enumerate(parts):
            assert torch.equal(part.labels, batch.labels[rank::3])
            assert torch.equal(part.images, batch.images[rank::3])


def test_an_epoch_depends_on_its_seed_alone() -> None:
    cifar = made(2, 20)
    first, again, other = (epoch(cifar, 8, seed) for seed in ((1, 0, 4), (1, 0, 4), (1, 0, 5)))
    assert all(torch.equal(a.images, b.images) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a.images, b.images) for a, b in zip(first, other, strict=True))
