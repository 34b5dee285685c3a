"""The foldings in models/: legal, as fast as they are meant to be, and elaborated at full size by Verilator."""

import json
import subprocess

import pytest

from abbnn import paths, verilog
from abbnn.export.folding import check, read_folding
from abbnn.export.mem import write
from abbnn.export.random_network import random_network
from abbnn.export.schedule import timing, utilisation
from abbnn.golden.structure import declared_network

MODELS = paths.MODELS
GOALS = {"reactnet18": (16_600, 100_000, 36_864), "reactnet18-low-cost": (131_072, 500_000, 36_864 // 8)}
"""Most cycles between frames, most cycles from first pixel to class, most XNOR lanes."""


@pytest.fixture(scope="module")
def network():
    return random_network(declared_network("reactnet18"), 1)


def test_every_folding_has_a_goal() -> None:
    assert {path.name.removesuffix(".fold.json") for path in MODELS.glob("*.fold.json")} == set(GOALS)


@pytest.mark.parametrize("name", GOALS)
def test_shipped_folding(network, name, tmp_path) -> None:
    path = MODELS / f"{name}.fold.json"
    folding = read_folding(path)
    check(network, folding)
    interval, latency, lanes = GOALS[name]
    expected = timing(network, folding)
    assert expected.interval <= interval
    assert expected.latency <= latency
    assert utilisation(network, folding, expected.interval)["binary"] >= 0.9
    binary = [fold.pe * fold.simd for stage, fold in folding.items() if stage[:5] == "block" and "." not in stage]
    assert sum(binary) <= lanes
    assert json.loads(path.read_text())["estimate"]["cycles"] == expected.interval
    write(network, folding, tmp_path / "mem")
    command = verilog.verilator("abbnn_core", {}, includes=[tmp_path / "mem"], defines=[verilog.COUNTONES])
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
