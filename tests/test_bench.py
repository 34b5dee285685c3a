"""`make bench`: what it reports of a design, and what it does not let pass, with stand-ins for simulators and Yosys."""

import json

import numpy as np
import pytest

from abbnn.export.folding import balance
from abbnn.export.random_network import random_network
from abbnn.export.schedule import timing
from abbnn.golden.network import save_network
from abbnn.golden.structure import member
from abbnn.report import bench
from abbnn.report.peers import bench_rows

NETWORK = random_network(member("narrow", (4, 6), (1, 1), image=8), 1)
EXPECTED = timing(NETWORK, balance(NETWORK))
IMAGES = np.zeros((2, 8, 8, 3), np.uint8)
AREA = {
    **{"lut": 100, "ff": 1, "bram": 0.5, "dsp": 0, "carry": 3, "carry_only": 1, "stages": {}},
    **{"block_ram_fill": None, "overhead_share": 0.3, "clock_mhz": 200.0, "frames_per_second": 1.0},
    **{"gops": 2.0, "gops_per_klut": 20.0},
}


@pytest.fixture
def design(monkeypatch, tmp_path):
    """A shipped network whose simulators say what the formulas say, and whose area is AREA."""
    save_network(NETWORK, tmp_path / "narrow.safetensors")
    monkeypatch.setattr(bench, "MODELS", tmp_path)
    monkeypatch.setattr(bench, "GOLDEN_SECONDS", 0.01)
    # So small a network has few foldings, and none that is balanced.
    monkeypatch.setattr(bench, "LEAST_UTILISATION", 0.2)
    run = {"latency": EXPECTED.latency, "interval": EXPECTED.interval, "images": 2, "cycles": 10}
    rates = {"cycles_per_second": 1.0, "images_per_second": 1.0}
    monkeypatch.setattr(bench, "volume_run", lambda *_: run | rates)
    monkeypatch.setattr(bench, "cocotb_run", lambda *_: run | rates)
    monkeypatch.setattr(bench, "synthesised", lambda *_: (AREA, []))
    return bench.Design("narrow", "narrow", None, {"icarus": 1, "volume": 2})


def test_entry(design) -> None:
    entry, faults = bench.measured(design, IMAGES, ["xc7"])
    assert faults == []
    assert (entry["interval"], entry["latency"]) == (EXPECTED.interval, EXPECTED.latency)
    assert set(entry["simulated"]) == {"icarus", "volume"}
    assert 0.2 < entry["utilisation_3x3"] < 1
    lanes = sum(row["pe"] * row["simd"] for name, row in entry["stages"].items() if name in ("block00", "block01"))
    assert entry["xnor_lanes"] == lanes


def test_command(design, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(bench, "DESIGNS", (design,))
    monkeypatch.setattr(bench, "REPORT", tmp_path / "build" / "bench.json")
    monkeypatch.setattr(bench.yosys, "executable", lambda: "yosys")
    assert bench.main([]) == 0
    assert "GOPS/kLUT" in capsys.readouterr().out
    data = json.loads((tmp_path / "build" / "bench.json").read_text())
    assert [each["name"] for each in data["designs"]] == ["narrow"]
    assert bench_rows(tmp_path / "build" / "bench.json")[0].lut == 100


@pytest.mark.parametrize("name", ["latency", "interval"])
def test_a_simulation_that_differs_from_the_formula_fails(design, monkeypatch, name) -> None:
    run = {"latency": EXPECTED.latency, "interval": EXPECTED.interval}
    monkeypatch.setattr(bench, "volume_run", lambda *_: run | {name: run[name] + 1})
    _, faults = bench.measured(design, IMAGES, [])
    assert len(faults) == 1
    assert f"narrow: volume: {name}" in faults[0]


def test_idle_lanes_fail(design, monkeypatch) -> None:
    monkeypatch.setattr(bench, "LEAST_UTILISATION", 0.9)
    entry, faults = bench.measured(design, IMAGES, [])
    assert faults == [f"narrow: the lanes of the 3x3 stages are {entry['utilisation_3x3']:.1%} used"]


def test_synthesis_faults_are_told(design, monkeypatch) -> None:
    monkeypatch.setattr(bench, "synthesised", lambda *_: (AREA, ["block00: 1 DSP cells"]))
    _, faults = bench.measured(design, IMAGES, ["xc7"])
    assert faults == ["narrow: xc7: block00: 1 DSP cells"]
