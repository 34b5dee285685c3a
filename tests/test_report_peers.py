"""`abbnn report peers`: the published accelerators, each with its source, beside what was measured here."""

import json

import pytest

from abbnn.report.__main__ import main
from abbnn.report.peers import PEERS, bench_rows, read_peers

DESIGN = {
    "network": "wide",
    "weights": "random",
    "top1_percent": None,
    "cycles": 1000,
    "interval": 1000,
    "latency": 4000,
    "gop_per_image": 0.5,
    "area": {
        "xc7": {"clock_mhz": 200, "lut": 1000, "ff": 2, "bram": 3.5, "dsp": 0, "gops": 1e5, "gops_per_klut": 1e5},
        "ecp5": {},
    },
}


def test_every_peer_names_its_source_and_none_is_recalled() -> None:
    rows = read_peers()
    assert len(rows) >= 10
    assert {row.how for row in rows} <= {"read", "abstract", "derived"}
    assert all(row.source for row in rows)
    finn = next(row for row in rows if row.name == "FINN (FPGA 2017)")
    assert (finn.top1_percent, finn.fps, finn.lut) == (80.1, 21906, None)


def test_bench_rows(tmp_path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"designs": [DESIGN, {**DESIGN, "area": {"ecp5": {}}}]}))
    (row,) = bench_rows(path)
    assert (row.fps, row.latency_us, row.bram36, row.top1_percent) == (200_000, 20, 3.5, None)


def test_command(tmp_path, capsys) -> None:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"designs": [DESIGN]}))
    assert main(["peers", "--bench", str(path)]) == 0
    said = capsys.readouterr().out
    assert "200,000" in said
    assert "21,906" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("dsp,", ""), "columns"),
        (lambda text: text.replace("80.1,", "eighty,"), "line 2: could not convert"),
        (lambda text: text.replace("arXiv 1612.07119 abstract,", ","), "line 2: not a whole row with a source"),
        (lambda text: text + "short,row\n", "not a whole row with a source"),
    ],
)
def test_bad_peers(tmp_path, change, message) -> None:
    path = tmp_path / "peers.csv"
    path.write_text(change(PEERS.read_text()))
    with pytest.raises(ValueError, match=message):
        read_peers(path)


@pytest.mark.parametrize(("text", "message"), [(None, "make bench writes it"), ("[]", "not what make bench")])
def test_bad_bench(tmp_path, capsys, text, message) -> None:
    path = tmp_path / "bench.json"
    if text is not None:
        path.write_text(text)
    assert main(["peers", "--bench", str(path)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
