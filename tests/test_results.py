"""Reports of bitstreams that the documents quote: what they quote is there, and whose Verilog it was is known."""

import json
import warnings

import pytest

from abbnn import paths
from abbnn.syn.boards import board, sources_hash

DOCS = paths.CHECKOUT / "docs"
REPORTS = sorted((DOCS / "results").glob("*.json"))


def test_there_are_reports() -> None:
    assert REPORTS


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_documents_quote_the_report(path) -> None:
    report = json.loads(path.read_text())
    page = (DOCS / "bitstream.md").read_text()
    assert f"{path.name}" in page
    for clock in report["clocks"]:
        assert f"{clock['achieved']:.2f} MHz of {clock['wanted']:g}" in page
    quoted = [f"{round(report['frames_per_second']):,}", f"{report['interval']:,}"]
    quoted += [
        f"{one['used']:,}" for kind, one in report["utilisation"].items() if kind in ("TRELLIS_COMB", "TRELLIS_FF")
    ]
    assert [figure for figure in quoted if figure not in page] == []
    if sources_hash(board(report["board"]).texts()) != report["sources"]:
        warnings.warn(f"{path.name} was measured on other Verilog than this tree has", stacklevel=1)


def test_the_first_screen_quotes_them_too() -> None:
    report = json.loads((DOCS / "results" / "tiny-ulx3s-85f.json").read_text())
    readme = (paths.CHECKOUT / "README.md").read_text()
    assert f"**{round(report['frames_per_second']):,} frames/s**" in readme
    assert f"{report['clocks'][0]['achieved']:.2f} reached" in readme
