"""tools/formal.py: the quick proofs hold, each finds its planted fault, and what is missing or unknown is said."""

import json
import os
import shutil
from dataclasses import replace

import pytest

from abbnn import verilog
from abbnn.executor import Workers
from tools import formal

INSTALLED = any(map(shutil.which, formal.ABC)) and bool(shutil.which("yosys") or verilog.packaged("yosys"))
needs_tools = pytest.mark.skipif(
    not INSTALLED and not os.environ.get("CI"), reason="apt-get install yosys berkeley-abc"
)
"""`make test` installs them; in CI a missing tool is a failure."""
QUICK = [proof for proof in formal.PROOFS.values() if proof.seconds <= formal.QUICK_SECONDS]


@needs_tools
@pytest.mark.parametrize("faulty", [False, True], ids=["proofs", "faults"])
def test_formal_quick(faulty):
    results = formal.prove(QUICK, faulty, Workers())
    assert [result.name for result in results if not result.good] == []
    assert len(results) == len(QUICK)


@needs_tools
def test_formal_a_proof_that_fails_is_status_1(monkeypatch, tmp_path, capsys):
    """A fault that is none: the harness cannot see it."""
    fork = formal.PROOFS["fork"]
    unseen = replace(fork, fault=("assign m0_axis_tdata  = s_axis_tdata;", "assign m0_axis_tdata = s_axis_tdata;"))
    monkeypatch.setitem(formal.PROOFS, "fork", unseen)
    out = tmp_path / "formal.json"
    assert formal.main(["fork", "--faults", "--out", str(out)]) == 1
    assert "WRONG fork" in capsys.readouterr().out
    assert json.loads(out.read_text())["results"][0]["holds"]


def test_formal_has_every_stream_module():
    proven = {proof.module for proof in formal.PROOFS.values()}
    assert {path.stem for path in (verilog.RTL / "stream").glob("*.v")} - proven == {"abbnn_reset"}


@pytest.mark.parametrize("name", formal.PROOFS)
def test_formal_faults_fit(name):
    """Each fault's text is in its module once."""
    proof = formal.PROOFS[name]
    text = verilog.file(proof.module).read_text()
    assert formal.planted(proof, text) != text


def test_formal_missing_tool(monkeypatch, capsys):
    monkeypatch.setattr(formal.shutil, "which", lambda name: None)
    assert formal.main(["fork"]) == 2
    said = capsys.readouterr().err
    assert said == "formal: berkeley-abc and yosys-abc: neither is installed: apt-get install berkeley-abc\n"


def test_formal_unknown_proof(capsys):
    assert formal.main(["spoon"]) == 2
    assert capsys.readouterr().err.startswith("formal: spoon: no such proof; there are: skid ")
