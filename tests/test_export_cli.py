"""`abbnn`: what it writes, and bad input as one line, exit code 2 and nothing written."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_network import random_network

from abbnn import paths
from abbnn.export.__main__ import main
from abbnn.export.folding import Fold, balance, cycles, stages, to_json
from abbnn.export.freeze import FreezeOptions, freeze, peak, scale_terms
from abbnn.export.mem import MANIFEST, read_manifest
from abbnn.export.random_network import random_images
from abbnn.golden.images import SHIPPED_IMAGES, read_images
from abbnn.golden.model import scores
from abbnn.golden.network import load_network, network_hash, save_network, serialize
from abbnn.golden.structure import DECLARATIONS, RESNET_STEM, STRIDED_STEM, Declaration, member
from abbnn.train.random_checkpoint import random_checkpoint
from abbnn.train.tensors import to_official
from abbnn.train.variant import Variant

SMALL = member("small", (4, 6), (1, 1), image=8, stem=STRIDED_STEM, classes=3)


@pytest.fixture(autouse=True)
def small_is_known(monkeypatch) -> None:
    monkeypatch.setitem(DECLARATIONS, "small", Declaration("reactnet", (4, 6), (1, 1), STRIDED_STEM))


@pytest.fixture
def network_file(tmp_path) -> Path:
    path = tmp_path / "small.safetensors"
    save_network(random_network(SMALL, 1), path)
    return path


def snapshot(folder: Path) -> dict:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refused(capsys, folder: Path, arguments, culprit: str) -> None:
    """Exit code 2, one line on stderr, nothing on stdout, and every file as it was."""
    before = snapshot(folder)
    assert main([str(argument) for argument in arguments]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.endswith("\n")
    assert written.err.count("\n") == 1
    assert written.err.startswith(f"abbnn {arguments[0]}: ")
    assert culprit in written.err
    assert snapshot(folder) == before


def test_mem(network_file, tmp_path, capsys) -> None:
    out = tmp_path / "mem"
    assert main(["mem", str(network_file), "--out", str(out)]) == 0
    network = load_network(network_file)
    assert read_manifest(out)["network_sha256"] == network_hash(network)
    written = capsys.readouterr()
    assert written.err == ""
    folding = balance(network)
    for stage in stages(network):
        fold = folding[stage.name]
        words = [stage.name, str(fold.pe), str(fold.simd), str(cycles(stage, fold))]
        assert any(line.split() == words for line in written.out.splitlines())


def test_mem_with_a_folding_and_with_a_target(network_file, tmp_path) -> None:
    network = load_network(network_file)
    fast, slow = balance(network, 200), balance(network, 10**6)
    assert fast != slow
    (tmp_path / "fold.json").write_text(to_json(fast))
    fold = ["--fold", str(tmp_path / "fold.json")]
    assert main(["mem", str(network_file), "--out", str(tmp_path / "fold"), *fold]) == 0
    assert main(["mem", str(network_file), "--out", str(tmp_path / "fast"), "--cycles", "200"]) == 0
    assert main(["mem", str(network_file), "--out", str(tmp_path / "slow"), "--cycles", "1000000"]) == 0
    assert snapshot(tmp_path / "fold") == snapshot(tmp_path / "fast") != snapshot(tmp_path / "slow")


def test_mem_as_a_process(network_file, tmp_path) -> None:
    out = tmp_path / "mem"
    words = [sys.executable, "-m", "abbnn", "mem"]
    good = subprocess.run(
        [*words, network_file, "--out", out], cwd=paths.CHECKOUT, capture_output=True, text=True, check=False
    )
    assert (good.returncode, good.stderr) == (0, "")
    read_manifest(out)
    bad = subprocess.run([*words, out, "--out", out], cwd=paths.CHECKOUT, capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.count("\n") == 1
    assert str(out) in bad.stderr


@pytest.mark.parametrize(("verb", "words"), [("freeze", ["--network", "CHECKPOINT"]), ("mem", ["--out", "DIR"])])
def test_help(verb, words, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    written = capsys.readouterr().out
    for word in words:
        assert word in written


def test_mem_refuses_bad_networks(network_file, tmp_path, capsys) -> None:
    data = network_file.read_bytes()
    out = ["--out", tmp_path / "mem"]
    refused(capsys, tmp_path, ["mem", tmp_path / "nowhere.safetensors", *out], "nowhere.safetensors: No such file")
    for content in (b"", b"text\n", data[:100], data[:-1]):
        network_file.write_bytes(content)
        refused(capsys, tmp_path, ["mem", network_file, *out], "small.safetensors")


def test_mem_names_the_network_whose_numbers_are_too_wide(tmp_path, capsys) -> None:
    network = random_network(SMALL, 1)
    network.head.bias[1] = 1 << 40
    path = tmp_path / "wide.safetensors"
    path.write_bytes(serialize(network))
    refused(capsys, tmp_path, ["mem", path, "--out", tmp_path / "mem"], "wide.safetensors: scores need")


def test_mem_refuses_bad_foldings(network_file, tmp_path, capsys) -> None:
    out = ["--out", tmp_path / "mem"]
    fold = tmp_path / "fold.json"
    refused(capsys, tmp_path, ["mem", network_file, *out, "--fold", fold], "fold.json: No such file")
    fold.write_text("{")
    refused(capsys, tmp_path, ["mem", network_file, *out, "--fold", fold], "fold.json: not a folding file")
    good = balance(load_network(network_file))
    for name, changed, culprit in (
        ("block00", Fold(3, 9), "block00: PE 3 does not divide 4 outputs"),
        ("block01", Fold(2, 10), "block01: SIMD 10 is not 9 times a divisor of 4 channels"),
        ("block07", Fold(1, 9), "block07 is no stage of small"),
    ):
        fold.write_text(to_json({**good, name: changed}))
        refused(capsys, tmp_path, ["mem", network_file, *out, "--fold", fold], culprit)
    refused(capsys, tmp_path, ["mem", network_file, *out, "--cycles", "5"], "5 cycles a frame")


def test_mem_leaves_foreign_things_alone(network_file, tmp_path, capsys) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    refused(capsys, tmp_path, ["mem", network_file, "--out", tmp_path / "mine"], "mine: exists")
    refused(capsys, tmp_path, ["mem", network_file, "--out", tmp_path / "file"], "file: exists")
    refused(capsys, tmp_path, ["mem", network_file, "--out", tmp_path / "file" / "deep"], "file")


def test_an_older_export_is_replaced(network_file, tmp_path) -> None:
    out = tmp_path / "mem"
    assert main(["mem", str(network_file), "--out", str(out)]) == 0
    save_network(random_network(SMALL, 2), network_file)
    assert main(["mem", str(network_file), "--out", str(out)]) == 0
    assert json.loads((out / MANIFEST).read_text())["network_sha256"] == network_hash(load_network(network_file))


def test_freezing_without_torch_says_what_to_do(tmp_path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from abbnn.export.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["freeze", "model.pt", "--network", "tiny", "--out", tmp_path / "n.safetensors"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=paths.CHECKOUT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "abbnn freeze: reading a checkpoint needs torch: make setup-train\n"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="reading a checkpoint needs torch")


POW2 = Variant(scales="pow2")


def tensors_of(structure=SMALL):
    return random_checkpoint(structure, np.random.default_rng(1), spread=0.7)


@pytest.fixture
def ours(torch, tmp_path):
    """Writes a float checkpoint as training does."""
    from abbnn.train.checkpoint import save

    def write(metadata=None, structure=SMALL):
        path = tmp_path / "model.pt"
        save(path, tensors_of(structure), structure, POW2.to_dict() | (metadata or {}))
        return path

    return write


@pytest.fixture
def official(torch, tmp_path):
    """Writes a state dict as the official code does."""

    def write(structure=SMALL):
        path = tmp_path / "official.h5"
        state = to_official(tensors_of(structure), structure)
        torch.save({f"module.{name}": torch.from_numpy(tensor) for name, tensor in state.items()}, path)
        return path

    return write


def freezing(checkpoint, out, *more, network="small"):
    return ["freeze", checkpoint, "--network", network, "--out", out, *more]


def frozen(checkpoint, out, *more, network="small"):
    """The network that freezing writes."""
    assert main([str(word) for word in freezing(checkpoint, out, *more, network=network)]) == 0
    return load_network(out)


def same_numbers(one, other) -> bool:
    """Equal but for what they say of where they come from."""
    return serialize(replace(one, source={})) == serialize(replace(other, source={}))


def test_freeze_then_mem(ours, tmp_path, capsys) -> None:
    path, out = ours({"epochs": 3}), tmp_path / "frozen" / "small.safetensors"
    network = frozen(path, out)
    metadata = {"network": "small", "image": 8, "stem_stride": 2, "epochs": 3}
    expected = freeze(tensors_of(), SMALL, POW2, FreezeOptions(), source=metadata)
    assert serialize(load_network(out)) == serialize(expected)
    assert network.source["epochs"] == 3
    written = capsys.readouterr()
    assert written.err == ""
    assert network_hash(network)[:16] in written.out
    assert main(["mem", str(out), "--out", str(tmp_path / "mem")]) == 0
    assert read_manifest(tmp_path / "mem")["network_sha256"] == network_hash(network)


OFFICIAL = [
    member("reactnet18", (4, 6, 8), (2, 1, 1), image=16, classes=100),
    member("reactnet34", (4, 6), (3, 2), image=32, classes=7, stem=RESNET_STEM),
    member("birealnet18", (4, 6), (1, 2), family="birealnet", image=16, classes=5),
    member("xnornet18", (4, 6), (2, 1), family="xnornet", image=64, classes=200, stem=RESNET_STEM),
    member("reactneta", (3, 6, 12), (0, 2, 1), family="reactneta", image=16, classes=1000, stem=STRIDED_STEM),
]


@pytest.mark.parametrize("structure", OFFICIAL, ids=lambda structure: structure.name)
def test_freeze_takes_official_checkpoints_as_they_are(official, tmp_path, structure) -> None:
    """Widths, depths, classes and stem unannounced; the official code's variant; 3 terms, 12 stem planes."""
    path, out = official(structure), tmp_path / "n.safetensors"
    network = frozen(path, out, "--image", structure.height, network=structure.name)
    assert network.structure == structure
    expected = freeze(tensors_of(structure), structure, Variant(), FreezeOptions())
    assert serialize(load_network(out)) == serialize(expected)
    assert set(scale_terms(network).values()) == {3}
    assert network.stem.planes == 12


def test_options_of_freeze(official, tmp_path) -> None:
    path, out = official(), tmp_path / "n.safetensors"
    image = ("--image", "8")
    more = ["--value-bits", "20", "--fraction-bits", "9", "--stem-bits", "5", "--head-bits", "6", "--terms", "2"]
    network = frozen(path, out, *image, *more)
    assert same_numbers(network, freeze(tensors_of(), SMALL, Variant(), FreezeOptions(20, 9, 5, 6, 2)))
    assert (network.value_width, network.fraction_bits) == (20, 9)
    assert (network.stem.planes, network.head.planes) == (5, 6)
    more = ["--terms-of", "block01=4", "--terms", "1", "--terms-of", "block01.shortcut=2"]
    assert scale_terms(frozen(path, out, *image, *more)) == {"block00": 1, "block01": 4, "block01.shortcut": 2}
    proven = frozen(path, out, *image, "--value-bits", "auto", "--fraction-bits", "7")
    assert same_numbers(proven, freeze(tensors_of(), SMALL, Variant(), FreezeOptions(None, 7)))


def test_what_an_official_checkpoint_does_not_tell(official, tmp_path) -> None:
    path, out = official(), tmp_path / "n.safetensors"
    assert frozen(path, out).structure == member("small", (4, 6), (1, 1), stem=STRIDED_STEM, classes=3)
    assert frozen(path, out, "--image", "12").structure.height == 12
    structure = member("small", (4, 6), (1, 1), image=8, classes=3)
    words = ["--image", "8", "--stem-stride", "1", "--alpha", "0.125", "--form", "paper"]
    network, variant = frozen(path, out, *words), Variant(alpha=0.125, form="paper")
    assert network.structure == structure
    assert same_numbers(network, freeze(tensors_of(), structure, variant, FreezeOptions()))
    assert (network.source["alpha"], network.source["form"]) == (0.125, "paper")


def test_freeze_believes_our_checkpoints(ours, tmp_path, capsys) -> None:
    path, out = ours({"alpha": 0.125, "form": "paper"}), tmp_path / "n.safetensors"
    agreeing = ["--alpha", "0.125", "--form", "paper", "--stem-stride", "2"]
    assert same_numbers(frozen(path, out), frozen(path, out, *agreeing))
    out.unlink()
    capsys.readouterr()
    for option, value, stated in (("--alpha", 0.25, 0.125), ("--form", "code", "paper"), ("--stem-stride", 1, 2)):
        key = option[2:].replace("-", "_")
        refused(capsys, tmp_path, freezing(path, out, option, value), f"says that its {key} is {stated}, not {value}")


def test_calibration_images_decide_on_the_fraction_bits(official, tmp_path) -> None:
    path, out = official(), tmp_path / "n.safetensors"
    np.save(tmp_path / "grey.npy", np.full((3, 8, 8, 3), 116, np.uint8))
    np.save(tmp_path / "bright.npy", random_images(SMALL, 1, 8))
    words = ["--image", "8", "--value-bits", "12", "--calibrate"]
    grey = frozen(path, out, *words, tmp_path / "grey.npy")
    bright = frozen(path, out, *words, tmp_path / "bright.npy")
    assert grey.fraction_bits > bright.fraction_bits
    images = random_images(SMALL, 1, 8)
    assert same_numbers(bright, freeze(tensors_of(), SMALL, Variant(), FreezeOptions(12), images=images))


def test_freeze_tells_what_it_did(official, tmp_path, capsys) -> None:
    path, out = official(), tmp_path / "n.safetensors"
    np.save(tmp_path / "images.npy", random_images(SMALL, 1, 5))
    words = ["--image", "8", "--value-bits", "12", "--calibrate", tmp_path / "images.npy", "--terms-of", "block01=4"]
    network = frozen(path, out, *words)
    lines = capsys.readouterr().out.splitlines()
    assert "3 classes, images of 8x8, stem of 3x3 and stride 2, 2 blocks, widths 4/6" in lines
    assert "values: 12 bits (as asked)" in lines
    assert f"fraction bits: {network.fraction_bits} (the most for the calibration images)" in lines
    greatest = peak(network, random_images(SMALL, 1, 5))
    assert f"peak of the values on 5 calibration images: {greatest} of 2047" in lines
    assert "weights: stem 12 bits, head 8 bits" in lines
    assert "terms a scale: 3, but block01 4" in lines
    assert any(line.startswith("bits proven for any image: stem 1") and ", scores " in line for line in lines)
    assert any(line.startswith("layers whose proven range exceeds the value width") for line in lines)
    frozen(path, out, "--image", "8", "--value-bits", "auto", "--fraction-bits", "5")
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith(" bits (the fewest that no image can saturate)") for line in lines)
    assert "fraction bits: 5 (as asked)" in lines
    assert "terms a scale: 3" in lines
    assert any(line.endswith("might saturate there: none") for line in lines)


@pytest.mark.parametrize(
    ("metadata", "culprit"),
    [
        ({"step": "Qa"}, "step Qa has real weights"),
        ({"alpha": "a quarter"}, "alpha"),
        ({"alpha": -1.0}, "alpha"),
        ({"network": "tiny"}, "holds tiny, not small"),
        ({"image": 6}, "odd map of 3x3"),
        ({"image": "8"}, "'8' as image"),
        ({"note": b"bytes"}, "metadata"),
    ],
)
def test_freeze_refuses_bad_metadata(ours, tmp_path, capsys, metadata, culprit) -> None:
    path = ours(metadata)
    refused(capsys, tmp_path, freezing(path, tmp_path / "n.safetensors"), f"{path}: ")
    refused(capsys, tmp_path, freezing(path, tmp_path / "n.safetensors"), culprit)


def test_freeze_refuses_bad_options(ours, official, tmp_path, capsys) -> None:
    path, out = ours(), tmp_path / "n.safetensors"
    for option, value in (
        ("--value-bits", 99),
        ("--fraction-bits", 0),
        ("--stem-bits", 1),
        ("--head-bits", 16),
        ("--terms", 0),
        ("--terms", 9),
        ("--terms-of", "block00=9"),
    ):
        refused(capsys, tmp_path, freezing(path, out, option, value), f"{str(value)[-2:].strip('=')} is outside")
    for words, culprit in (
        (("--terms-of", "block02=2"), "model.pt: block02 is no scale of small; there are block00, block01, "),
        (("--value-bits", "auto", "--fraction-bits", 20), "model.pt: with 20 fraction bits, no value width up to 24"),
        (("--value-bits", 8, "--fraction-bits", 8), "8 fraction bits leave nothing of 8"),
        (("--calibrate", tmp_path / "nothing.npy"), "nothing.npy: no such file"),
        (("--image", 9), "odd map of 5x5"),
    ):
        refused(capsys, tmp_path, freezing(path, out, *words), culprit)
    for alpha in ("-1.0", "0.0", "nan", "inf"):
        refused(capsys, tmp_path, freezing(official(), out, "--alpha", alpha), f"alpha is {alpha}")
    np.save(tmp_path / "images.npy", np.zeros((2, 32, 32, 3), np.uint8))
    refused(capsys, tmp_path, freezing(path, out, "--calibrate", tmp_path / "images.npy"), "expected (N, 8, 8, 3)")
    (tmp_path / "taken").mkdir()
    refused(capsys, tmp_path, freezing(path, tmp_path / "taken"), "taken")
    refused(capsys, tmp_path, freezing(path, path / "n.safetensors"), "model.pt")


@pytest.mark.parametrize(
    "words",
    [
        ["--network", "resnet18"],
        ["--terms-of", "block00"],
        ["--terms-of", "=3"],
        ["--terms-of", "block00=x"],
        ["--value-bits", "wide"],
        ["--image", "0"],
        ["--stem-stride", "-1"],
        ["--form", "prose"],
    ],
)
def test_misspelled_options_exit_with_2(tmp_path, capsys, words) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in freezing(tmp_path / "model.pt", tmp_path / "n.safetensors")] + words)
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err.splitlines()[-1]


def test_freeze_says_what_a_file_of_another_verb_is(tmp_path, capsys) -> None:
    words = freezing(SHIPPED_IMAGES, tmp_path / "n.safetensors")
    refused(capsys, tmp_path, words, "cifar10_test100.npz: an archive of NumPy arrays, not a checkpoint")
    words = freezing(paths.MODELS / "tiny.safetensors", tmp_path / "n.safetensors")
    refused(capsys, tmp_path, words, "tiny.safetensors: a safetensors file, not a checkpoint")


def test_freeze_keeps_an_older_file_on_error(ours, tmp_path, capsys) -> None:
    out = tmp_path / "n.safetensors"
    frozen(ours(), out)
    capsys.readouterr()
    refused(capsys, tmp_path, freezing(ours({"step": "Qa"}), out), "step Qa")


def test_random_network(tmp_path, capsys) -> None:
    """The same seed gives the same file; its classes are balanced on the shipped images."""
    files = [tmp_path / f"{name}.safetensors" for name in ("one", "same", "other")]
    for file, seed in zip(files, ("3", "3", "4"), strict=True):
        assert main(["random", "--network", "tiny", "--seed", seed, "--out", str(file)]) == 0
    assert "tiny, random weights of seed 3" in capsys.readouterr().out
    contents = [file.read_bytes() for file in files]
    assert contents[0] == contents[1] != contents[2]
    network = load_network(files[0])
    assert network.structure.classes == 10
    images, _ = read_images(SHIPPED_IMAGES)
    means = np.concatenate(list(scores(network, images))).mean(axis=0)
    assert np.abs(means).max() < 1
