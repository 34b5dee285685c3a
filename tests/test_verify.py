"""tools/verify.py: a row is green for the right reasons only."""

import json
import subprocess
from collections import Counter

import pytest

from abbnn import paths
from tools import verify

NOW = "0123456789abcdef"


def junit_file(folder, cases, name=NOW):
    """`cases`: name -> tag of what became of it, or ""."""
    inside = "".join(
        f'<testcase classname="tb.test_abbnn_x" name="{case}">{f"<{tag}/>" if tag else ""}</testcase>'
        for case, tag in cases.items()
    )
    path = folder / "junit-units.xml"
    path.write_text(f'<testsuites><testsuite name="{name}">{inside}</testsuite></testsuites>')
    return path


def test_the_document_has_the_plan():
    page = (verify.CHECKOUT / "docs" / "verification.md").read_text()
    assert verify.table(verify.plan()) in page


@pytest.mark.parametrize("row", verify.plan(), ids=lambda row: row.feature[:30])
def test_what_a_row_names_is_there(row):
    assert row.evidence()
    for pattern in row.tests:
        file, _, _ = pattern.partition("::")
        assert pattern == "*" or list(verify.CHECKOUT.glob(file)), pattern
    names = verify.formal.PROOFS
    assert [one for one in row.proofs if not any(verify.fnmatchcase(name, one) for name in names)] == []


def test_every_testbench_is_in_a_row():
    patterns = [pattern for row in verify.plan() for pattern in row.tests if pattern != "*"]
    files = {pattern.partition("::")[0] for pattern in patterns}
    testbenches = [f"tb/{path.name}" for path in (verify.CHECKOUT / "tb").glob("test_*.py")]
    left = [file for file in testbenches if not any(verify.fnmatchcase(file, one) for one in files)]
    assert left == []


def test_junit(tmp_path):
    file = junit_file(tmp_path, {"a": "", "b": "failure", "c": "skipped", "d": "error"})
    name = "tb/test_abbnn_x.py::"
    found = verify.junit([file], NOW)
    assert found == {
        f"{name}a": Counter(passed=1),
        f"{name}b": Counter(failed=1),
        f"{name}c": Counter(skipped=1),
        f"{name}d": Counter(failed=1),
    }
    for files, now in (([], NOW), ([file], "fedcba9876543210")):
        with pytest.raises(verify.Stale, match="make test"):
            verify.junit(files, now)


@pytest.mark.parametrize(
    ("cases", "red"),
    [
        ({"x::a": Counter(passed=2)}, []),
        ({"x::a": Counter(passed=1), "x::b": Counter(failed=1)}, ["1 of 2 tests failed"]),
        ({"x::a": Counter(skipped=1)}, ["no test ran: x::*"]),
        ({"y::a": Counter(passed=1)}, ["no test ran: x::*"]),
        (verify.Stale("of other sources: make test"), ["of other sources: make test"]),
    ],
)
def test_tests_of_a_row(cases, red):
    none = verify.Stale("none")
    row = verify.Row("feature", "open", tests=["x::*"])
    assert verify.status(row, verify.Results(cases, none, none, none))[1] == red


@pytest.mark.parametrize(
    ("found", "red"),
    [
        ({"skid": True, "fifo_2": True}, []),
        ({"skid": True, "fifo_2": False}, ["proof fifo_2 fails, or misses its planted fault"]),
        ({"skid": True}, ["no proof ran: fifo_*"]),
        (verify.Stale("no results: make formal"), ["no results: make formal"]),
    ],
)
def test_proofs_of_a_row(found, red):
    none = verify.Stale("none")
    row = verify.Row("feature", "open", proofs=["skid", "fifo_*"])
    assert verify.status(row, verify.Results(none, found, none, none))[1] == red


def volume_report(folder, **changes):
    network = verify.load_network(paths.MODELS / "tiny.safetensors")
    report = {"network": "tiny", "network_sha256": verify.network_hash(network), "rtl_sha256": verify.rtl_hash()}
    report |= {"images": 3, "compared": 3, "mismatches": 0, "interval": 9, "latency": 20}
    report |= {"measured_interval": 9, "measured_latencies": [20]} | changes
    (folder / "volume.json").write_text(json.dumps(report))


@pytest.mark.parametrize(
    ("changes", "red"),
    [
        ({"rtl_sha256": "0"}, "of other sources"),
        ({"network_sha256": "0"}, "of other weights"),
        ({"compared": 2}, "0 mismatches, 2 of 3 images"),
        ({"mismatches": 1}, "1 mismatches"),
        ({"measured_interval": 8}, "other cycles"),
    ],
)
def test_measured_results(tmp_path, monkeypatch, changes, red):
    monkeypatch.setattr(verify, "RESULTS", tmp_path)
    with pytest.raises(verify.Stale, match="is missing"):
        verify.measured("volume.json")
    volume_report(tmp_path)
    assert verify.measured("volume.json") == "3 images"
    volume_report(tmp_path, **changes)
    with pytest.raises(verify.Stale, match=red):
        verify.measured("volume.json")


def test_a_proof_counts_with_its_planted_fault_found(tmp_path, monkeypatch):
    names = {"REPORT": tmp_path / "formal.json", "FAULTS_REPORT": tmp_path / "faults.json"}
    for name, path in names.items():
        monkeypatch.setattr(verify.formal, name, path)
    monkeypatch.setattr(verify, "REPORTS", tmp_path)

    def write(file, faulty, holds, sources=None):
        results = [{"name": name, "holds": end, "faulty": faulty} for name, end in holds.items()]
        report = {"sources": sources or verify.formal.sources(), "results": results}
        names[file].write_text(json.dumps(report))

    with pytest.raises(verify.Stale, match="no results: make formal"):
        verify.proofs()
    write("REPORT", False, {"good": True, "fails": False, "blind": True, "alone": True})
    write("FAULTS_REPORT", True, {"good": False, "fails": False, "blind": True})
    assert verify.proofs() == {"good": True, "fails": False, "blind": False, "alone": False}
    write("FAULTS_REPORT", True, {"good": False}, sources=NOW)
    with pytest.raises(verify.Stale, match="of other sources: make formal"):
        verify.proofs()


@pytest.mark.parametrize(
    ("changes", "red"),
    [
        ({"sources": NOW}, "of other sources"),
        ({"timing_met": False}, "the clock is missed"),
        ({"network_sha256": "0"}, "of other weights"),
    ],
)
def test_a_bitstream(tmp_path, monkeypatch, changes, red):
    network = verify.load_network(paths.MODELS / "tiny.safetensors")
    report = {
        "network": "tiny",
        "network_sha256": verify.network_hash(network),
        "board": "ulx3s-85f",
        "sources": verify.sources_hash(verify.board("ulx3s-85f").texts()),
        "timing_met": True,
        "clocks": [{"achieved": 101.04}],
    }
    monkeypatch.setattr(verify, "RESULTS", tmp_path)
    (tmp_path / "board.json").write_text(json.dumps(report))
    assert verify.measured("board.json") == "101.0 MHz routed"
    (tmp_path / "board.json").write_text(json.dumps(report | changes))
    with pytest.raises(verify.Stale, match=red):
        verify.measured("board.json")


@pytest.mark.parametrize(("count", "results", "red"), [(0, [1], []), (3, [1], ["3 multipliers"]), (0, [], ["0 mul"])])
def test_multipliers(tmp_path, monkeypatch, count, results, red):
    monkeypatch.setattr(verify, "REPORTS", tmp_path)
    report = {"sources": verify.verilog.digest(verify.verilog.modules()), "multipliers": count, "results": results}
    (tmp_path / "proof.json").write_text(json.dumps(report))
    row = verify.Row("none multiplies", "nothing", multipliers=True)
    found = verify.status(row, verify.collected())[1]
    assert [said[: len(start)] for said, start in zip(found, red, strict=True)] == red


def test_a_result_of_other_sources_is_red(tmp_path, monkeypatch, capsys):
    """Nothing there; then lint's report of this tree, and of another."""
    monkeypatch.setattr(verify, "REPORTS", tmp_path)
    monkeypatch.setattr(verify, "plan", lambda: [verify.Row("lints", "nothing", lint=True)])
    report = {"sources": verify.tree(), "checks": 7, "faults": 0}
    for changes, status, said in (
        (None, 1, "no results: make lint"),
        ({}, 0, "7 checks"),
        ({"sources": NOW}, 1, "of other sources"),
        ({"faults": 2}, 1, "2 faults"),
    ):
        if changes is not None:
            (tmp_path / "lint.json").write_text(json.dumps(report | changes))
        assert verify.main([]) == status
        assert said in capsys.readouterr().out


def test_the_tree_changes_with_a_source_and_with_nothing_else(tmp_path, monkeypatch):
    """Neither with a document nor with what a user has put beside the sources."""
    others = ("docs/a.md", "README.md", "build/x", "cifar/x.bin", "ip-tiny/rtl/a.v")
    monkeypatch.setattr(verify, "CHECKOUT", tmp_path)
    for name in ("rtl/a.v", *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    first = verify.tree()
    for name in others:
        (tmp_path / name).write_text("2")
    assert verify.tree() == first
    (tmp_path / "rtl/a.v").write_text("2")
    assert verify.tree() != first


def test_the_tree_is_all_that_is_tracked_but_documents():
    listed = subprocess.run(["git", "ls-files"], cwd=verify.CHECKOUT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no checkout of git")
    tops = {name.partition("/")[0] for name in listed.stdout.splitlines()}
    documents = {"docs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE"}
    assert {name for name in tops if not name.startswith(".")} == {*verify.SOURCES} | documents


def test_a_plan_that_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verify, "PLAN", tmp_path / "plan.toml")
    (tmp_path / "plan.toml").write_text('[[row]]\nfeature = "x"\n')
    assert verify.main([]) == 2
    assert "plan.toml" in capsys.readouterr().err
