"""`abbnn report scale`: each row is a frozen network's, the files hold the table, bad input is one line."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the float network needs torch")
pytest.importorskip("matplotlib", reason="the plot needs matplotlib")

from rich.console import Console

from abbnn.export.freeze import FreezeOptions, freeze
from abbnn.export.random_network import random_images
from abbnn.golden.model import forward
from abbnn.golden.structure import DECLARATIONS, Declaration, declared_network
from abbnn.report import scale
from abbnn.report.__main__ import main
from abbnn.train.checkpoint import save
from abbnn.train.random_checkpoint import random_checkpoint
from abbnn.train.variant import Variant

SEED = 5


@pytest.fixture(autouse=True)
def mini(monkeypatch):
    monkeypatch.setitem(DECLARATIONS, "mini", Declaration("reactnet", (8, 12), (1, 1)))
    return declared_network("mini", image=8, classes=4)


@pytest.fixture
def case(mini) -> scale.Case:
    """The logits are the scores of the network frozen with the defaults, so that its row is exact."""
    tensors = random_checkpoint(mini, np.random.default_rng(SEED))
    images = random_images(mini, SEED, 16)
    network = freeze(tensors, mini, Variant(), FreezeOptions())
    logits = forward(network, images)["scores"] * 2.0**-network.score_fraction_bits
    labels = logits.argmax(axis=1)
    labels[:4] = (labels[:4] + 1) % 4
    return scale.Case(mini, Variant(), tensors, images, logits, labels)


def test_a_row_says_what_was_measured(case) -> None:
    seen = []
    row = scale.measure(case, FreezeOptions(), "terms", seen.append)
    assert sum(seen) == 16
    assert (row.terms, row.value_width, row.stem_planes) == (3, 16, 12)
    assert (row.top1, row.agreement, row.error) == (75.0, 100.0, 0.0)
    assert row.correlation == pytest.approx(1.0, abs=1e-12)
    # Logits moved by a constant: all classes as before, and an error of that constant in standard deviations.
    moved = scale.measure(replace(case, logits=case.logits + 0.5), FreezeOptions(), "terms", seen.append)
    assert moved.error == pytest.approx(0.5 / (case.logits - case.logits.mean(axis=0)).std())
    # What a class gives to all images alike is no correlation.
    offsets = scale.measure(
        replace(case, logits=100.0 * np.arange(4) - case.logits), FreezeOptions(), "terms", seen.append
    )
    assert offsets.correlation == pytest.approx(-1.0, abs=1e-9)
    # Logits turned around: correlation -1, and the classes that have the least score.
    turned = scale.measure(replace(case, logits=-case.logits), FreezeOptions(), "terms", seen.append)
    assert turned.correlation == pytest.approx(-1.0, abs=1e-12)
    assert turned.agreement == 0.0


def test_one_quantity_varies_at_a_time(case) -> None:
    seen = []
    rows = scale.sweep(case, seen.append)
    assert sum(seen) == scale.runs() * 16 == len(rows) * 16
    columns = ("terms", "value_width", "stem_planes")
    default = dict(zip(columns, (3, 16, 12), strict=True))
    for field, values in scale.SWEEPS.items():
        varied = [row for row in rows if row.varied == field]
        assert [getattr(row, field) for row in varied] == list(values)
        for row in varied:
            assert all(getattr(row, other) == default[other] for other in columns if other != field)
            if getattr(row, field) == default[field]:
                assert (row.error, row.agreement) == (0.0, 100.0)
            else:
                assert row.error > 0


def test_files_hold_the_rows(case, tmp_path) -> None:
    rows = scale.sweep(replace(case, labels=None), lambda count: None)
    files = scale.write(replace(case, labels=None), rows, {"random": SEED}, tmp_path / "out")
    assert sorted(files) == sorted((tmp_path / "out").iterdir())
    written = json.loads((tmp_path / "out" / "scale.json").read_text())
    assert (written["random"], written["images"], written["float_top1"]) == (SEED, 16, None)
    with (tmp_path / "out" / "scale.csv").open() as file:
        table = list(csv.DictReader(file))
    for row, record, line in zip(rows, written["rows"], table, strict=True):
        assert scale.Row(**record) == row
        assert float(line["error"]) == row.error
        assert line["top1"] == ""
    assert (tmp_path / "out" / "scale.png").read_bytes().startswith(b"\x89PNG")
    console = Console(width=100, record=True, quiet=True)
    console.print(scale.table(case, rows))


@pytest.fixture
def files(mini, tmp_path, monkeypatch):
    """A folder with a checkpoint of `mini` and labelled images; it is the working folder."""
    tensors = random_checkpoint(mini, np.random.default_rng(SEED))
    save(tmp_path / "mini.pt", tensors, mini, Variant().to_dict())
    save(tmp_path / "qa.pt", tensors, mini, Variant(step="Qa").to_dict())
    images = random_images(mini, SEED, 8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(8) % 4)
    np.savez(tmp_path / "foreign.npz", images=images, labels=np.arange(8))
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_checkpoint(files, capsys) -> None:
    arguments = ["mini.pt", "--network", "mini", "--images", "images.npz", "--count", "6", "--out", "out"]
    assert main(["scale", *arguments]) == 0
    said = capsys.readouterr().out
    assert "mini on 6 images; float top-1" in said
    written = json.loads((files / "out" / "scale.json").read_text())
    assert written["images"] == 6
    assert written["checkpoint"] == "mini.pt"
    best = max(written["rows"], key=lambda row: row["correlation"])
    # Random weights amplify every rounding, so this is far from 1 on some seeds; a wrong network gives about 0.
    assert best["correlation"] > 0.9


def test_random_weights(files, capsys) -> None:
    arguments = ["--random", "1", "--network", "mini", "--image", "8", "--classes", "4", "--count", "4", "--out", "out"]
    assert main(["scale", *arguments]) == 0
    assert "float top-1" not in capsys.readouterr().out
    assert {row["top1"] for row in json.loads((files / "out" / "scale.json").read_text())["rows"]} == {None}


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["mini.pt"], "--images"),
        (["mini.pt", "--images", "images.npz", "--count", "9"], "8 images, not 9"),
        (["mini.pt", "--images", "images.npz", "--classes", "4"], "--classes"),
        (["mini.pt", "--images", "foreign.npz"], "label 7"),
        (["mini.pt", "--images", "none.npz"], "none.npz"),
        (["none.pt", "--images", "images.npz"], "none.pt"),
        (["file", "--images", "images.npz"], "file: not a checkpoint"),
        (["qa.pt", "--images", "images.npz"], "qa.pt: step Qa"),
        (["mini.pt", "--images", "images.npz", "--count", "1"], "one image"),
        (["--random", "1", "--image", "7"], "halves an odd map"),
    ],
)
def test_bad_input(files, capsys, arguments, culprit) -> None:
    before = sorted(files.iterdir())
    assert main(["scale", *arguments, "--network", "mini", "--out", "out"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("abbnn report scale: ")
    assert culprit in said.err
    assert sorted(files.iterdir()) == before


def test_out_that_is_a_file(files, capsys) -> None:
    assert main(["scale", "mini.pt", "--network", "mini", "--images", "images.npz", "--out", "file"]) == 2
    assert capsys.readouterr().err.startswith("abbnn report scale: file: ")


@pytest.mark.parametrize("arguments", [["--out", "out"], ["mini.pt", "--random", "1", "--out", "out"], ["mini.pt"]])
def test_bad_options(files, capsys, arguments) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["scale", "--network", "mini", *arguments])
    assert stop.value.code == 2
