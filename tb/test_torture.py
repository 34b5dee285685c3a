"""tb/torture.py: seeds that are equal, a fault that is found, and how it is made smaller."""

import json
from dataclasses import replace

import pytest

from abbnn import verilog
from abbnn.errors import UserError
from abbnn.export.mem import write
from abbnn.golden.network import load_network
from abbnn.tb import torture
from abbnn.tb.bench import default_simulator

SEEDS = (7, 8, 21, 38, 51)
"""Few cycles each: all memories, loadable and not, up to 40 channels, one with stalls."""


@pytest.mark.parametrize("seed", SEEDS)
def test_torture_equal(seed):
    line, failing = torture.tried(seed, default_simulator())
    assert (line["result"], failing) == ("equal", None), line


@pytest.mark.parametrize("first", range(0, 24, 6))
def test_torture_elaborates(first, tmp_path):
    """More seeds, which Icarus elaborates without a word."""
    for seed in range(first, first + 6):
        case, folder = torture.drawn(seed), tmp_path / str(seed)
        network = case.network()
        write(network, case.folding(network), folder)
        defines = [f'ABBNN_MEM_DIR="{folder}"']
        command = verilog.icarus("abbnn_core", {"LOADABLE": int(case.loadable)}, includes=[folder], defines=defines)
        assert verilog.run(command) == (0, ""), seed


def test_torture_draws_all_kinds():
    cases = [torture.drawn(seed) for seed in range(60)]
    assert {block.shortcut for case in cases for block in case.structure.blocks} >= {
        "identity", "repeat", "pool", "pool-conv", "pool-real-conv", "conv"
    }  # fmt: skip
    assert {case.structure.classes for case in cases} >= {1, 100, 1000}
    assert {case.memory for case in cases} == {"auto", "lut", "block"}
    for what in ("balanced", "loadable"):
        assert {getattr(case, what) for case in cases} == {False, True}
    assert max(block.out_channels for case in cases for block in case.structure.blocks) > 16
    assert len({tuple(case.options.items()) for case in cases}) == len(cases)
    assert [torture.drawn(seed) for seed in range(60)] == cases


def test_torture_makes_a_failure_smaller(monkeypatch):
    """What fails with a repeated residual, however little else there is."""

    def fault(case, sim):
        if case.structure.classes == 1 and case.loadable:
            raise UserError("this one cannot be frozen")
        return "wrong" if any(block.shortcut == "repeat" for block in case.structure.blocks) else None

    monkeypatch.setattr(torture, "fault", fault)
    kinds = ([block.shortcut for block in torture.drawn(seed).structure.blocks] for seed in range(99))
    seed = next(seed for seed, shortcuts in enumerate(kinds) if "repeat" in shortcuts[:-1])
    case = replace(torture.drawn(seed), loadable=True, stalls=(0.3, 0.3))
    found = torture.shrunk(case, "none")
    assert found.structure.blocks[-1].shortcut == "repeat"
    assert (found.images, found.stalls, found.loadable, found.options) == (1, (0.0, 0.0), False, {})
    assert (found.structure.classes, found.balanced, found.memory, found.spread) == (1, True, "auto", 1.0)


def test_torture_tells_and_keeps_a_failure(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torture, "CASES", tmp_path / "cases")
    monkeypatch.setattr(torture, "fault", lambda case, sim: "planted" if case.seed == 3 else None)
    out = tmp_path / "reports" / "lines.jsonl"
    assert torture.main(["--first", "2", "--count", "2", "--jobs", "1", "--out", str(out)]) == 1
    said = capsys.readouterr().out
    assert "seed 3: planted" in said
    assert "1 of 2 random networks equal the golden model, 1 failed" in said
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["seed"], line["result"]) for line in lines] == [(2, "equal"), (3, "failed")]
    assert load_network(tmp_path / "cases" / "3" / "network.safetensors").structure.blocks


def test_torture_refusals_are_no_passes(monkeypatch, tmp_path, capsys):
    def refused(case):
        raise UserError("too wide")

    monkeypatch.setattr(torture.Case, "network", refused)
    assert torture.main(["--count", "1", "--jobs", "1", "--out", str(tmp_path / "x.jsonl")]) == 1
    assert "0 of 1 random networks" in capsys.readouterr().out


def test_torture_a_core_that_cannot_be_built_fails(monkeypatch):
    def broken(*arguments, **options):
        raise UserError("abbnn_core cannot be built")

    monkeypatch.setattr(torture, "run_core", broken)
    assert torture.fault(torture.drawn(3), "icarus") == "abbnn_core cannot be built"


@pytest.mark.parametrize(("late", "apart"), [(0, 0), (1, 0), (0, 1)])
def test_torture_compares_the_times(monkeypatch, late, apart):
    """Equal values at other times are a fault, if nothing stalls."""
    case = replace(torture.drawn(38), stalls=(0.0, 0.0))
    network = case.network()
    expected = torture.timing(network, case.folding(network))

    def run(*arguments, **options):
        left = [expected.latency + late + index * (expected.interval + apart) for index in range(case.images)]
        return torture.Report("none", "none", [{"entered": 0, "left": each} for each in left])

    monkeypatch.setattr(torture, "run_core", run)
    found = torture.fault(case, "none")
    assert (found is None) == (late == apart == 0)
    assert torture.fault(replace(case, stalls=(0.3, 0.3)), "none") is None
