"""`make verify`: what stands behind each row of the verification plan, and whether it still holds.

    python -m tools.verify [--table] [--tree]

The plan is tests/plan.toml. Results come from `make test` (JUnit files), `make lint`, `make formal` and `abbnn proof`,
all in build/reports, and from docs/results. A row is red where a result is missing, or failed, or was measured on other
sources than this tree has. `--table` prints the table without status, as docs/verification.md has it; `--tree` the
hash by which `make test` names its results.

Exit status 1: a row is red.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from abbnn import paths, verilog
from abbnn.errors import UserError, run
from abbnn.golden.network import load_network, network_hash
from abbnn.syn.boards import board, sources_hash
from abbnn.tb.volume import rtl_hash
from tools import formal

CHECKOUT = Path(__file__).resolve().parents[1]
PLAN = CHECKOUT / "tests" / "plan.toml"
REPORTS = paths.BUILD / "reports"
RESULTS = CHECKOUT / "docs" / "results"
SOURCES = (
    *("Makefile", "pyproject.toml", "abbnn.core"),
    *("requirements.lock", "requirements-dask.lock", "requirements-fpga.lock", "requirements-train.lock"),
    *(
        "abbnn",
        "demo",
        "export",
        "formal",
        "golden",
        "host",
        "ip",
        "models",
        "report",
        "rtl",
        "soc",
        "syn",
        "tb",
        "tests",
    ),
    *("tools", "train"),
)
"""What results depend on, of the checkout's first level: all of it but documents, and what users put there."""


@dataclass(frozen=True)
class Row:
    """One feature of the plan; the fields are those of tests/plan.toml."""

    feature: str
    open: str
    tests: Sequence[str] = ()
    proofs: Sequence[str] = ()
    results: Sequence[str] = ()
    lint: bool = False
    multipliers: bool = False

    def evidence(self) -> str:
        """What the row rests on, in words."""
        parts = [f"`{pattern.removesuffix('::*')}`" for pattern in self.tests if pattern != "*"]
        parts += [f"proofs `{'`, `'.join(self.proofs)}`"] if self.proofs else []
        parts += [f"[{name}](results/{name})" for name in self.results]
        parts += ["`make lint`"] if self.lint else []
        parts += ["`abbnn proof`"] if self.multipliers else []
        return ", ".join(parts) or "`make test`"


def plan() -> list[Row]:
    """UserError where a row is none."""
    try:
        return [Row(**row) for row in tomllib.loads(PLAN.read_text())["row"]]
    except (TypeError, KeyError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{PLAN}: {error}") from None


def tree() -> str:
    """First 64 bits of the sha256 of SOURCES."""
    digest = hashlib.sha256()
    for top in (CHECKOUT / name for name in SOURCES):
        for file in sorted([top, *top.rglob("*")]):
            name = str(file.relative_to(CHECKOUT))
            if file.is_file() and not file.is_symlink() and "__pycache__" not in name:
                digest.update(f"{name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


class Stale(Exception):
    """One line: a result that is not there, failed, or is of other sources."""


@dataclass(frozen=True)
class Results:
    """All results that were found. Of each kind: the results, or why there are none to count."""

    tests: Mapping[str, Counter[str]] | Stale
    """"folder/file.py::name" -> how often it "passed", "failed" or was "skipped"."""
    proofs: Mapping[str, bool] | Stale
    lint: str | Stale
    multipliers: str | Stale


def junit(files: Iterable[Path], now: str) -> dict[str, Counter[str]]:
    """Raises Stale if a file is of other sources than `now`, or there is none."""
    found: dict[str, Counter[str]] = {}
    suites = [suite for file in files for suite in ElementTree.parse(file).getroot().iter("testsuite")]
    if not suites:
        raise Stale("no results: make test")
    if any(suite.get("name") != now for suite in suites):
        raise Stale("of other sources: make test")
    for case in (case for suite in suites for case in suite.iter("testcase")):
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        verdict = {"failure": "failed", "error": "failed", "skipped": "skipped"}
        ends = [verdict[child.tag] for child in case if child.tag in verdict]
        found.setdefault(name, Counter())[ends[0] if ends else "passed"] += 1
    return found


def _report(name: str, command: str, now: str) -> Any:
    """The results of a report of build/reports, if it is of this Verilog."""
    try:
        report = json.loads((REPORTS / name).read_text())
    except FileNotFoundError:
        raise Stale(f"no results: {command}") from None
    if not isinstance(report, dict) or report.get("sources") != now:
        raise Stale(f"of other sources: {command}")
    return report


def proofs() -> dict[str, bool]:
    """Name of a proof -> whether it holds and finds its planted fault."""
    reports = [_report(path.name, "make formal", formal.sources()) for path in (formal.REPORT, formal.FAULTS_REPORT)]
    ends: dict[str, list[bool]] = {}
    for result in (result for report in reports for result in report["results"]):
        ends.setdefault(result["name"], []).append(result["holds"] != result["faulty"])
    return {name: ends == [True, True] for name, ends in ends.items()}


def _lint() -> str:
    report = _report("lint.json", "make lint", tree())
    if report["faults"]:
        raise Stale(f"{report['faults']} faults of lint")
    return f"{report['checks']} checks"


def _multipliers() -> str:
    report = _report("proof.json", "abbnn proof", verilog.digest(verilog.modules()))
    if report["multipliers"] or not report["results"]:
        raise Stale(f"{report['multipliers']} multipliers")
    return f"{len(report['results'])} netlists without a multiplier"


def _found(read: Any) -> Any:
    try:
        return read()
    except Stale as stale:
        return stale


def collected() -> Results:
    """Whatever there is."""
    files = sorted(REPORTS.glob("junit-*.xml"))
    return Results(_found(lambda: junit(files, tree())), _found(proofs), _found(_lint), _found(_multipliers))


def measured(name: str) -> str:
    """What a file of docs/results says, if this tree's sources say it. Raises Stale."""
    path = RESULTS / name
    try:
        report = json.loads(path.read_text())
    except FileNotFoundError:
        raise Stale(f"{name} is missing") from None
    network = paths.MODELS / f"{report['network']}.safetensors"
    if network_hash(load_network(network)) != report["network_sha256"]:
        raise Stale(f"{name} is of other weights")
    if "board" in report:
        if sources_hash(board(report["board"]).texts()) != report["sources"]:
            raise Stale(f"{name} is of other sources")
        if not report["timing_met"]:
            raise Stale(f"{name}: the clock is missed")
        return f"{report['clocks'][0]['achieved']:.1f} MHz routed"
    if rtl_hash() != report["rtl_sha256"]:
        raise Stale(f"{name} is of other sources")
    timed = (report["measured_interval"], report["measured_latencies"]) == (report["interval"], [report["latency"]])
    if not timed:
        raise Stale(f"{name}: other cycles than the formulas'")
    if report["mismatches"] or report["compared"] != report["images"]:
        raise Stale(f"{name}: {report['mismatches']} mismatches, {report['compared']:,} of {report['images']:,} images")
    return f"{report['compared']:,} images"


def status(row: Row, results: Results) -> tuple[list[str], list[str]]:
    """(what stands behind the row, why it is red)."""
    good: list[str] = []
    red: list[str] = []

    def add(read: Any) -> None:
        try:
            good.append(read())
        except Stale as stale:
            red.append(str(stale))

    if row.tests:
        add(lambda: _tests(row.tests, results.tests))
    if row.proofs:
        add(lambda: _proofs(row.proofs, results.proofs))
    for wanted, result in ((row.lint, results.lint), (row.multipliers, results.multipliers)):
        if wanted:
            add(lambda result=result: _value(result))
    for name in row.results:
        add(lambda name=name: measured(name))
    return good, red


def _value(result: Any) -> Any:
    if isinstance(result, Stale):
        raise result
    return result


def _tests(patterns: Sequence[str], results: Mapping[str, Counter[str]] | Stale) -> str:
    counts: Counter[str] = Counter()
    for pattern in patterns:
        matching = [ends for name, ends in _value(results).items() if fnmatchcase(name, pattern)]
        if not any(ends["passed"] or ends["failed"] for ends in matching):
            raise Stale(f"no test ran: {pattern}")
        for ends in matching:
            counts += ends
    if counts["failed"]:
        raise Stale(f"{counts['failed']} of {counts['failed'] + counts['passed']} tests failed")
    return f"{counts['passed']:,} tests" + (f" ({counts['skipped']} skipped)" if counts["skipped"] else "")


def _proofs(patterns: Sequence[str], results: Mapping[str, bool] | Stale) -> str:
    chosen: dict[str, bool] = {}
    for pattern in patterns:
        matching = {name: good for name, good in _value(results).items() if fnmatchcase(name, pattern)}
        if not matching:
            raise Stale(f"no proof ran: {pattern}")
        chosen |= matching
    if wrong := [name for name, good in chosen.items() if not good]:
        raise Stale(f"proof {wrong[0]} fails, or misses its planted fault")
    return f"{len(chosen)} proofs"


def table(rows: Sequence[Row]) -> str:
    """The plan as docs/verification.md has it."""
    lines = ["| feature | shown by | open |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {row.feature} | {row.evidence()} | {row.open} |" for row in rows)])


def _run(arguments: argparse.Namespace) -> int:
    rows = plan()
    if arguments.table or arguments.tree:
        print(table(rows) if arguments.table else tree())
        return 0
    results = collected()
    ends = [status(row, results) for row in rows]
    for row, (good, red) in zip(rows, ends, strict=True):
        print(f"{'red' if red else 'green':<6} {row.feature}\n       {'; '.join([*red, *good])}")
    count = sum(not red for _, red in ends)
    print(f"{count} of {len(rows)} rows are green, sources {tree()}")
    return 0 if count == len(rows) else 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.verify", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--table", action="store_true", help="print the plan as docs/verification.md has it")
    parser.add_argument("--tree", action="store_true", help="print the hash of this tree's sources")
    arguments = parser.parse_args(argv)
    return run("verify", lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
