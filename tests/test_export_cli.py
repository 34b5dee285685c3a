"""`python -m export`: what it writes, and bad input as one line, exit code 2 and nothing written."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from random_network import ALPHA, random_checkpoint, random_network

from export.__main__ import main
from export.folding import Fold, balance, cycles, stages, to_json
from export.freeze import FreezeOptions, freeze
from export.mem import MANIFEST, read_manifest
from golden.network import load_network, network_hash, save_network, serialize
from golden.structure import NETWORKS, reactnet

ROOT = Path(__file__).parent.parent
SMALL = reactnet("small", (4, 6), (1, 1), image=8, stem_stride=2, classes=3)


@pytest.fixture(autouse=True)
def small_is_known(monkeypatch) -> None:
    monkeypatch.setitem(NETWORKS, "small", SMALL)


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
    assert written.err.startswith(f"python -m export {arguments[0]}: ")
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
    words = [sys.executable, "-m", "export", "mem"]
    good = subprocess.run([*words, network_file, "--out", out], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stderr) == (0, "")
    read_manifest(out)
    bad = subprocess.run([*words, out, "--out", out], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.count("\n") == 1
    assert str(out) in bad.stderr


@pytest.mark.parametrize("words", [[], ["freeze"], ["mem"]])
def test_help(words, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*words, "--help"])
    assert caught.value.code == 0
    written = capsys.readouterr().out
    for word in ["--out", "DIR"] if words == ["mem"] else ["--network", "CHECKPOINT"] if words else ["freeze", "mem"]:
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
    refused(capsys, tmp_path, ["mem", network_file, *out, "--cycles", "-1"], "-1 cycles a frame")


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
    code = "import sys; sys.modules['torch'] = None; from export.__main__ import main; sys.exit(main(sys.argv[1:]))"
    words = ["freeze", "model.pt", "--network", "tiny", "--out", tmp_path / "n.safetensors"]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "python -m export freeze: freezing a checkpoint needs torch: make setup-train\n"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def save_checkpoint(tmp_path):
    """Writes a float checkpoint as training does, or a bare state dict if `metadata` is None."""
    torch = pytest.importorskip("torch", reason="reading a checkpoint needs torch")

    def save(metadata, tensors=None, prefix=""):
        tensors = random_checkpoint(SMALL, np.random.default_rng(1)) if tensors is None else tensors
        state = {prefix + name: torch.from_numpy(np.asarray(tensor)) for name, tensor in tensors.items()}
        path = tmp_path / "model.pt"
        torch.save(state if metadata is None else {"state": state, "metadata": metadata}, path)
        return path

    return save


GOOD = {"scales": "pow2", "alpha": ALPHA, "step": "Qaw", "structure": SMALL.to_dict()}


def freezing(checkpoint, out, *more):
    return ["freeze", checkpoint, "--network", "small", "--out", out, *more]


def test_freeze_then_mem(save_checkpoint, tmp_path, capsys) -> None:
    path, out = save_checkpoint(GOOD), tmp_path / "frozen" / "small.safetensors"
    assert main([str(word) for word in freezing(path, out)]) == 0
    network = load_network(out)
    checkpoint = random_checkpoint(SMALL, np.random.default_rng(1))
    assert out.read_bytes() == serialize(freeze(checkpoint, SMALL, GOOD, FreezeOptions()))
    written = capsys.readouterr()
    assert written.err == ""
    assert network_hash(network)[:16] in written.out
    assert main(["mem", str(out), "--out", str(tmp_path / "mem")]) == 0
    assert read_manifest(tmp_path / "mem")["network_sha256"] == network_hash(network)


def test_freeze_takes_official_state_dicts_and_options(save_checkpoint, tmp_path) -> None:
    path, out = save_checkpoint(None, prefix="module."), tmp_path / "small.safetensors"
    more = ["--value-bits", "20", "--fraction-bits", "9", "--stem-bits", "5", "--head-bits", "6", "--terms", "2"]
    assert main([str(word) for word in freezing(path, out, *more)]) == 0
    network = load_network(out)
    assert (network.value_width, network.fraction_bits) == (20, 9)
    assert (network.stem.planes, network.head.planes) == (5, 6)
    assert network.blocks[0].scale.terms == 2
    assert main([str(word) for word in freezing(path, out)]) == 0
    assert load_network(out).blocks[0].scale.terms == 3  # an official checkpoint has free scales


@pytest.mark.parametrize(
    ("metadata", "culprit"),
    [
        ({"step": "Qa"}, "step Qa has real weights"),
        ({"alpha": "a quarter"}, "alpha"),
        ({"alpha": -1.0}, "alpha"),
        ({"structure": NETWORKS["tiny"].to_dict()}, "holds tiny, not small"),
        ({"structure": {**SMALL.to_dict(), "height": 16}}, "another small"),
        ({"structure": "small"}, "structure"),
        ({"structure": None}, "structure"),
        ({"note": b"bytes"}, "metadata"),
    ],
)
def test_freeze_refuses_bad_metadata(save_checkpoint, tmp_path, capsys, metadata, culprit) -> None:
    path = save_checkpoint({**GOOD, **metadata})
    refused(capsys, tmp_path, freezing(path, tmp_path / "n.safetensors"), culprit)


def test_freeze_refuses_bad_tensors(save_checkpoint, tmp_path, capsys) -> None:
    good = random_checkpoint(SMALL, np.random.default_rng(1))
    out = tmp_path / "n.safetensors"
    missing = {name: tensor for name, tensor in good.items() if name != "layer2.0.move1.bias"}
    nan = {**good, "fc.bias": np.full(3, np.nan, np.float32)}
    for tensors, culprit in (
        (missing, "model.pt: tensor layer2.0.move1.bias of small is missing"),
        ({**good, "bn1.weight": np.ones(3, np.float32)}, "model.pt: tensor bn1.weight does not belong to small"),
        ({**good, "conv1.gain": np.ones(4, np.float32)}, "model.pt: tensor conv1.gain has shape (4,)"),
        (nan, "model.pt: fc.bias"),
        ({}, "model.pt: holds no tensors"),
    ):
        path = save_checkpoint(GOOD, tensors)
        refused(capsys, tmp_path, freezing(path, out), culprit)


def test_freeze_refuses_bad_files_and_options(save_checkpoint, tmp_path, capsys) -> None:
    path, out = save_checkpoint(GOOD), tmp_path / "n.safetensors"
    data = path.read_bytes()
    refused(capsys, tmp_path, freezing(tmp_path / "nowhere.pt", out), "nowhere.pt: no such file")
    for option, value in (
        ("--value-bits", 99),
        ("--fraction-bits", 0),
        ("--stem-bits", 1),
        ("--head-bits", 16),
        ("--terms", 0),
        ("--terms", 9),
    ):
        refused(capsys, tmp_path, freezing(path, out, option, value), f"{value} is outside")
    wide = ("--value-bits", 24, "--fraction-bits", 20, "--head-bits", 15)
    refused(capsys, tmp_path, freezing(path, out, *wide), "scores need")
    (tmp_path / "taken").mkdir()
    refused(capsys, tmp_path, freezing(path, tmp_path / "taken"), "taken")
    refused(capsys, tmp_path, freezing(path, path / "n.safetensors"), "model.pt")
    for content in (b"", b"text\n", data[: len(data) // 2]):
        path.write_bytes(content)
        refused(capsys, tmp_path, freezing(path, out), "model.pt: not a checkpoint")


def test_freeze_keeps_an_older_file_on_error(save_checkpoint, tmp_path, capsys) -> None:
    out = tmp_path / "n.safetensors"
    assert main([str(word) for word in freezing(save_checkpoint(GOOD), out)]) == 0
    capsys.readouterr()
    path = save_checkpoint({**GOOD, "step": "Qa"})
    refused(capsys, tmp_path, freezing(path, out), "step Qa")
