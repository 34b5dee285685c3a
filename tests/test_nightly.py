"""tools/nightly.py: every step runs, failures are told and kept, and the trend shows them."""

import json
import sys

import pytest

from tools import nightly


@pytest.fixture
def commands(monkeypatch):
    """Two steps, of which the second fails."""
    found = {
        "good": [sys.executable, "-c", "import os; print(os.environ['SEED'], os.environ['NIGHTLY'])"],
        "bad": [sys.executable, "-c", "print('why'); raise SystemExit(3)"],
    }
    monkeypatch.setattr(nightly, "steps", lambda arguments, seed: found)


@pytest.mark.parametrize(("chosen", "status"), [([], 1), (["good"], 0), (["bad"], 1)])
def test_a_night(commands, chosen, status, tmp_path, capsys):
    out = tmp_path / "reports" / "nightly.jsonl"
    assert nightly.main([*chosen, "--seed", "7", "--out", str(out)]) == status
    line = json.loads(out.read_text())
    assert (line["seed"], line["sources"]) == (7, nightly.tree())
    wanted = {"good": 0, "bad": 3}
    assert {name: end["status"] for name, end in line["steps"].items()} == {
        name: wanted[name] for name in chosen or wanted
    }
    if "good" in line["steps"]:
        assert (out.parent / "nightly-good.log").read_text() == "7 1\n"
    said = capsys.readouterr().out
    assert ("bad: failed with status 3" in said) == ("bad" in line["steps"])
    assert nightly.main(["--trend", "--out", str(out)]) == 0
    assert ("failed, 3" in capsys.readouterr().out) == ("bad" in line["steps"])


def test_bad_input(tmp_path, capsys):
    assert nightly.main(["nap"]) == 2
    assert "nap: no such step; there are: test formal" in capsys.readouterr().err
    assert nightly.main(["--trend", "--out", str(tmp_path / "none")]) == 2
    assert "no results yet" in capsys.readouterr().err
