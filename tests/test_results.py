"""Results that the documents quote: what they quote is there, and whose Verilog it was is known."""

import json
import warnings

import pytest

from abbnn import paths
from abbnn.syn.boards import board, sources_hash

DOCS = paths.CHECKOUT / "docs"
REPORTS = {path.stem: json.loads(path.read_text()) for path in sorted((DOCS / "results").glob("*.json"))}
BITSTREAMS = [name for name, report in REPORTS.items() if "board" in report]
VOLUMES = [name for name, report in REPORTS.items() if report.get("format") == "abbnn-volume"]


def test_there_are_reports() -> None:
    assert BITSTREAMS
    assert VOLUMES
    assert {*BITSTREAMS, *VOLUMES} == {*REPORTS}


@pytest.mark.parametrize("name", BITSTREAMS)
def test_documents_quote_the_report(name) -> None:
    report = REPORTS[name]
    page = (DOCS / "bitstream.md").read_text()
    assert f"{name}.json" in page
    for clock in report["clocks"]:
        assert f"{clock['achieved']:.2f} MHz of {clock['wanted']:g}" in page
    quoted = [f"{round(report['frames_per_second']):,}", f"{report['interval']:,}"]
    quoted += [
        f"{one['used']:,}" for kind, one in report["utilisation"].items() if kind in ("TRELLIS_COMB", "TRELLIS_FF")
    ]
    assert [figure for figure in quoted if figure not in page] == []
    if sources_hash(board(report["board"]).texts()) != report["sources"]:
        warnings.warn(f"{name}.json was measured on other Verilog than this tree has", stacklevel=1)


def test_the_first_screen_quotes_them_too() -> None:
    report = REPORTS["tiny-ulx3s-85f"]
    readme = (paths.CHECKOUT / "README.md").read_text()
    assert f"**{round(report['frames_per_second']):,} frames/s**" in readme
    assert f"{report['clocks'][0]['achieved']:.2f} reached" in readme


@pytest.mark.parametrize("name", VOLUMES)
def test_the_first_screen_quotes_whole_data_sets(name) -> None:
    report = REPORTS[name]
    readme = (paths.CHECKOUT / "README.md").read_text()
    assert (report["mismatches"], report["compared"]) == (0, report["images"])
    assert f"**{report['compared']:,} of {report['images']:,}**" in readme
    assert f"{100 * report['right'] / report['images']:.2f}%" in readme
