"""golden.images: every source gives the same pixels, and whatever does not fit is one line that names the culprit."""

import re
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from abbnn.golden import images as module
from abbnn.golden.images import SHIPPED_IMAGES, image_size, open_images, read_images
from tools.pick_images import main as pick_images
from tools.pick_images import pick

IMAGES = np.random.default_rng(5).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(12) % 10


def cifar_records(images, labels, before=b""):
    pairs = zip(images, labels, strict=True)
    return b"".join(before + bytes([label]) + image.transpose(2, 0, 1).tobytes() for image, label in pairs)


def save_pictures(folder, suffix="png"):
    folder.mkdir()
    for index, image in enumerate(IMAGES):
        Image.fromarray(image).save(folder / f"{index:03}.{suffix}", lossless=True)
    return folder


def refused(path, *parts, **size):
    """`path` is refused with one line that begins with it and holds every part."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        read_images(path, **size)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_npy(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    images, labels = read_images(tmp_path / "x.npy")
    np.testing.assert_array_equal(images, IMAGES)
    assert images.dtype == np.uint8
    assert labels is None
    np.save(tmp_path / "x.npy", IMAGES[:, :24, :16].transpose(0, 1, 2, 3))
    assert read_images(str(tmp_path / "x.npy"), height=24, width=16)[0].shape == (12, 24, 16, 3)
    np.save(tmp_path / "x.npy", np.asfortranarray(IMAGES))
    np.testing.assert_array_equal(read_images(tmp_path / "x.npy")[0], IMAGES)


def test_npz(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", images=IMAGES, labels=LABELS.astype(np.uint8))
    images, labels = read_images(tmp_path / "x.npz")
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    assert labels.dtype == np.int64
    np.savez(tmp_path / "y.npz", images=IMAGES)
    assert read_images(tmp_path / "y.npz")[1] is None


def test_image_size(tmp_path):
    for version in (1, 2):
        with (tmp_path / "x.npy").open("wb") as file:
            np.lib.format.write_array(file, IMAGES[:, :24, :16], version=(version, 0))
        assert image_size(tmp_path / "x.npy") == (24, 16)
    np.savez(tmp_path / "x.npz", images=IMAGES[:, :24], labels=LABELS)
    assert image_size(str(tmp_path / "x.npz")) == (24, 32)
    for array in (IMAGES[0], IMAGES[:0], np.zeros(3), np.array([{}], dtype=object)):
        np.save(tmp_path / "x.npy", array, allow_pickle=True)
        assert image_size(tmp_path / "x.npy") is None
    np.savez(tmp_path / "x.npz", labels=LABELS)
    (tmp_path / "text.npy").write_text("text")
    for name in ("x.npz", "text.npy", "gone.npy", "gone", "."):
        assert image_size(tmp_path / name) is None


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tiff", "ppm"])
def test_folder_of_pictures(tmp_path, suffix):
    images, labels = read_images(save_pictures(tmp_path / "pictures", suffix))
    np.testing.assert_array_equal(images, IMAGES)
    assert labels is None


def test_folder_is_read_in_the_order_of_names(tmp_path):
    for index, name in enumerate(["b.png", "C.png", "a.png"]):
        Image.fromarray(IMAGES[index]).save(tmp_path / name)
    (tmp_path / ".hidden").write_text("not a picture")
    np.testing.assert_array_equal(read_images(tmp_path)[0], IMAGES[[1, 2, 0]])


def test_jpeg_grey_and_palette_pictures(tmp_path):
    grey = IMAGES[0, ..., 0]
    Image.fromarray(grey).save(tmp_path / "0.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "1.png")
    Image.fromarray(np.full((32, 32, 3), 128, np.uint8)).save(tmp_path / "2.jpg")
    images, _ = read_images(tmp_path)
    np.testing.assert_array_equal(images[:2], np.repeat(grey[np.newaxis, ..., np.newaxis], 2, 0).repeat(3, -1))
    np.testing.assert_array_equal(images[2], 128)


def test_one_picture(tmp_path):
    Image.fromarray(IMAGES[3]).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_images(tmp_path / "x.png")[0], IMAGES[3:4])


def test_labels_beside_pictures(tmp_path):
    folder = save_pictures(tmp_path / "pictures")
    (folder / "labels.csv").write_text("name,label\n" + "".join(f"{i:03}.png,{LABELS[i]}\n" for i in range(11, -1, -1)))
    np.testing.assert_array_equal(read_images(folder)[1], LABELS)
    (folder / "labels.csv").write_text("".join(f"{i:03}.png,{LABELS[i]}\n" for i in range(11)))
    refused(folder, "labels.csv", "no line for 011.png")
    (folder / "labels.csv").unlink()
    (folder / "labels.txt").write_text("\n".join(map(str, LABELS)) + "\n")
    np.testing.assert_array_equal(read_images(folder)[1], LABELS)
    (folder / "labels.txt").write_text("\n".join(map(str, LABELS[1:])))
    refused(folder, "labels.txt", "11 labels for 12 pictures")
    (folder / "labels.txt").write_text("cat " * 12)
    refused(folder, "labels.txt", "'cat' of 000.png")
    (folder / "labels.txt").write_bytes(b"\xff\xfe" * 12)
    refused(folder, "labels.txt", "not a text file")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("000.png,1\n000.png,2\n", ["two lines for 000.png"]),
        ("000.png,1,7\n", ["'000.png,1,7' is not name,label"]),
        ("000.png\n", ["'000.png' is not name,label"]),
        ("000.png," + 30 * "9", ["label '99999999999999999999' of 000.png is no class"]),
        ("000.png," + 200_000 * "9", ["not a readable list of name,label", "field limit"]),
    ],
)
def test_bad_lines_of_labels(tmp_path, text, parts):
    Image.fromarray(IMAGES[0]).save(tmp_path / "000.png")
    (tmp_path / "labels.csv").write_text(text)
    refused(tmp_path, "labels.csv", *parts)


def test_labels_that_would_fill_the_memory(tmp_path):
    Image.fromarray(IMAGES[0]).save(tmp_path / "000.png")
    with (tmp_path / "labels.txt").open("wb") as file:
        file.truncate(3 << 30)
    refused(tmp_path, "labels.txt: more than 268,435,456 bytes")


def test_labels_as_excel_writes_them(tmp_path):
    Image.fromarray(IMAGES[0]).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("a.png,7\r\n", encoding="utf-8-sig")
    np.testing.assert_array_equal(read_images(tmp_path)[1], [7])


def test_labels_beyond_the_classes(tmp_path):
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=LABELS)
    assert read_images(tmp_path / "x.npz", classes=10)[1] is not None
    refused(tmp_path / "x.npz", "label 9 of image 9; the network has 9 classes", classes=9)


def test_folder_of_class_folders(tmp_path):
    """As ImageNet's val/ is laid out: the label is the place of the folder's name."""
    for index, name in enumerate(["n02/b.png", "n01/x.png", "n02/a.png", "n10/c.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(IMAGES[index]).save(tmp_path / name)
    images, labels = read_images(tmp_path)
    np.testing.assert_array_equal(images, IMAGES[[1, 2, 0, 3]])
    np.testing.assert_array_equal(labels, [0, 1, 1, 2])
    (tmp_path / "n03").mkdir()
    refused(tmp_path, "n03: no pictures in it")
    (tmp_path / "n03" / "more").mkdir()
    refused(tmp_path, "more: a folder among the pictures")


def test_pictures_and_npy_are_read_a_slice_at_a_time(tmp_path, monkeypatch):
    folder, read = save_pictures(tmp_path / "pictures"), []
    exact = module._read_picture
    monkeypatch.setattr(module, "_read_picture", lambda path: (read.append(path.name), exact(path))[1])
    images, _ = open_images(folder)
    assert (len(images), read) == (12, [])
    np.testing.assert_array_equal(images[3:5], IMAGES[3:5])
    assert read == ["003.png", "004.png"]
    np.save(tmp_path / "x.npy", IMAGES)
    assert not open_images(tmp_path / "x.npy")[0].flags.owndata


def test_what_does_not_fit_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """Whatever the header says is judged before there is memory for it."""
    monkeypatch.setattr(np, "load", None)
    for name, shape in (("small", (1 << 20, 8, 8, 3)), ("many", (1 << 20, 32, 32, 3))):
        header = str({"descr": "|u1", "fortran_order": False, "shape": shape}).encode() + b"\n"
        array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w") as archive:
            archive.writestr("images.npy", array)
        (tmp_path / f"{name}.npy").write_bytes(array)
    refused(tmp_path / "small.npz", "shape (1048576, 8, 8, 3)")
    refused(tmp_path / "many.npz", "3,221,225,472 bytes of images; more than 2,147,483,648 go into an .npy file")
    monkeypatch.undo()
    refused(tmp_path / "many.npy", "not a readable NumPy array")


def test_cifar_in_another_layout(tmp_path):
    for name in ("cifar-10-python.tar.gz", "cifar-10-binary.tar"):
        (tmp_path / name).touch()
        refused(tmp_path / name, "an archive", "cifar-10-binary.tar.gz")
    for name, pickles in (("cifar-10-batches-py", "batches.meta"), ("cifar-100-python", "meta")):
        (tmp_path / name / name).mkdir(parents=True)
        (tmp_path / name / name / pickles).touch()
        for folder in (tmp_path / name, tmp_path / name / name):
            refused(folder, "CIFAR's Python version", "cifar-100-binary.tar.gz")


def test_cifar_folder_and_file(tmp_path):
    folder = tmp_path / "data" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "data_batch_1.bin").write_bytes(b"")
    refused(folder, "test_batch.bin", "missing")
    (folder / "test_batch.bin").write_bytes(cifar_records(IMAGES, LABELS))
    for path in (folder, folder.parent, folder / "test_batch.bin"):
        images, labels = read_images(path)
        np.testing.assert_array_equal(images, IMAGES)
        np.testing.assert_array_equal(labels, LABELS)
    refused(folder, "32x32, expected 24x24", height=24, width=24)
    (folder / "test_batch.bin").write_bytes(cifar_records(IMAGES, LABELS)[:-1])
    refused(folder, "test_batch.bin", f"{12 * 3073 - 1} bytes")
    (folder / "test_batch.bin").write_bytes(b"")
    refused(folder, "test_batch.bin", "0 bytes")
    (folder / "test_batch.bin").write_bytes(cifar_records(IMAGES, [*LABELS[:-1], 10]))
    refused(folder, "test_batch.bin", "label 10 of image 11")


def test_cifar100_folder_and_file(tmp_path):
    """Two label bytes: the coarse class, 19 here, and the fine one, which counts."""
    folder = tmp_path / "data" / "cifar-100-binary"
    folder.mkdir(parents=True)
    refused(folder, "test.bin", "missing")
    (folder / "test.bin").write_bytes(cifar_records(IMAGES, LABELS + 88, b"\x13"))
    for path in (folder, folder.parent, folder / "test.bin"):
        images, labels = read_images(path)
        np.testing.assert_array_equal(images, IMAGES)
        np.testing.assert_array_equal(labels, LABELS + 88)
    (folder / "test.bin").write_bytes(cifar_records(IMAGES, [*LABELS[:-1], 100], b"\x13"))
    refused(folder, "test.bin", "label 100 of image 11")


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (IMAGES.astype(np.float32), "type float32"),
        (np.full(IMAGES.shape, np.nan), "type float64"),
        (IMAGES.astype(np.int16), "type int16"),
        (IMAGES[0], "shape (32, 32, 3)"),
        (IMAGES.transpose(0, 3, 1, 2), "shape (12, 3, 32, 32)"),
        (IMAGES[..., :1], "shape (12, 32, 32, 1)"),
        (IMAGES[:, :31], "shape (12, 31, 32, 3)"),
        (IMAGES[:0], "no images"),
        (np.array(["text"]), "type <U4"),
        (np.array([{}], dtype=object), "type object"),
    ],
)
def test_bad_arrays(tmp_path, array, part):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    refused(tmp_path / "x.npy", part)
    np.savez(tmp_path / "x.npz", allow_pickle=True, images=array)
    refused(tmp_path / "x.npz", part)


@pytest.mark.parametrize(
    ("labels", "part"),
    [
        (LABELS[:-1], "labels of shape (11,), expected (12,)"),
        (LABELS.astype(np.float32), "labels of type float32"),
        (LABELS - 1, "label -1 of image 0"),
        (np.where(LABELS == 3, 2**64 - 1, LABELS).astype(np.uint64), "label 18446744073709551615 of image 3"),
    ],
)
def test_bad_labels(tmp_path, labels, part):
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=labels)
    refused(tmp_path / "x.npz", part)


def test_bad_files(tmp_path):
    refused(tmp_path / "gone.npy", "no such file or folder")
    refused(tmp_path, "no pictures in it")
    (tmp_path / "x.txt").write_text("text")
    refused(tmp_path / "x.txt", "neither .npy, .npz, .bin")
    refused(tmp_path, "x.txt: not a picture")
    np.savez(tmp_path / "x.npz", pictures=IMAGES)
    refused(tmp_path / "x.npz", "no array `images`")
    for suffix in ("npy", "npz", "png", "bin"):
        (tmp_path / f"text.{suffix}").write_text("text")
        refused(tmp_path / f"text.{suffix}")


def test_bad_pictures(tmp_path):
    folder = save_pictures(tmp_path / "pictures")
    Image.fromarray(IMAGES[0]).resize((32, 31)).save(folder / "004.png")
    refused(folder, "004.png", "32x31 pixels (width x height), expected 32x32")
    whole = (folder / "003.png").read_bytes()
    (folder / "004.png").write_bytes(whole[: len(whole) // 2])
    refused(folder, "004.png", "not a readable picture")
    Image.fromarray(IMAGES[..., 0][0].astype(np.uint16) * 200).save(folder / "004.png")
    refused(folder, "004.png", "colour mode I;16")
    rgba = np.dstack([IMAGES[0], np.full((32, 32), 254, np.uint8)])
    Image.fromarray(rgba).save(folder / "004.png")
    refused(folder, "004.png", "transparent")
    first, second = Image.fromarray(IMAGES[0]), Image.fromarray(IMAGES[1])
    (folder / "004.png").unlink()
    first.save(folder / "004.tiff", save_all=True, append_images=[second])
    refused(folder, "004.tiff", "2 frames")
    (folder / "004.tiff").unlink()
    (folder / "003.png").write_bytes(whole)
    (folder / "more").mkdir()
    refused(folder, "more", "a folder among the pictures")


def png_of_16_bits(kind, samples):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 32, 32, 16, kind, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x12\x34" * samples * 32) * 32)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rgb.png", png_of_16_bits(2, 3)),
        ("rgba.png", png_of_16_bits(6, 4)),
        ("grey_alpha.png", png_of_16_bits(4, 2)),
        ("rgb.ppm", b"P6\n32 32\n511\n" + bytes(6 * 1024)),
        ("text.ppm", b"P3\n32 32\n65535\n" + b"1 " * 3072),
    ],
)
def test_colours_of_16_bits_are_not_cut(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, "16 bits a colour")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from(["npy", "npz", "png", "bin"]))
def test_damaged_files_are_refused_or_read(tmp_path, data, suffix):
    """Whatever a few changed or missing bytes do, the answer is images of the right form or one line."""
    path = tmp_path / f"x.{suffix}"
    match suffix:
        case "npy":
            np.save(path, IMAGES)
        case "npz":
            np.savez_compressed(path, images=IMAGES[:1], labels=LABELS[:1])
        case "png":
            Image.fromarray(IMAGES[0]).save(path)
        case _:
            path.write_bytes(cifar_records(IMAGES[:1], LABELS[:1]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 400) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    path.write_bytes(content)
    message = ""
    try:
        images, _ = read_images(path)
    except ValueError as error:
        message = str(error)
    if message:
        assert message.startswith(str(path))
        assert "\n" not in message
    else:
        assert images.dtype == np.uint8
        assert images.shape[1:] == (32, 32, 3)


def test_shipped_images():
    images, labels = read_images(SHIPPED_IMAGES)
    assert images.shape == (100, 32, 32, 3)
    np.testing.assert_array_equal(labels, np.tile(np.arange(10), 10))
    assert len(np.unique(images.reshape(100, -1), axis=0)) == 100
    assert 100 < images.mean() < 140


def test_pick_images(tmp_path):
    labels = np.random.default_rng(2).permutation(np.repeat(np.arange(10), 11))
    images = np.arange(110, dtype=np.uint8).reshape(110, 1, 1, 1).repeat(32, 1).repeat(32, 2).repeat(3, 3)
    (tmp_path / "test_batch.bin").write_bytes(cifar_records(images, labels))
    assert pick_images(["--data", str(tmp_path), "--out", str(tmp_path / "x.npz")]) == 0
    picked, picked_labels = read_images(tmp_path / "x.npz")
    np.testing.assert_array_equal(picked_labels, np.tile(np.arange(10), 10))
    for label in range(10):
        expected = np.flatnonzero(labels == label)[:10]
        np.testing.assert_array_equal(picked[picked_labels == label][:, 0, 0, 0], expected)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["positions"], picked[:, 0, 0, 0])


def test_pick_images_refuses(tmp_path, capsys):
    assert pick_images(["--data", str(tmp_path / "gone"), "--out", str(tmp_path / "x.npz")]) != 0
    assert "gone: no such file or folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="0 images of class 1"):
        pick(np.zeros(10, dtype=np.int64), per_class=10, classes=2)
