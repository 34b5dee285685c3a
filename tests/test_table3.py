"""`make table3`: what docs/table3.md says is what a fresh run gives, and a wrong netlist is seen."""

import re
from dataclasses import replace

import pytest

from abbnn import paths, verilog
from abbnn.executor import Workers
from abbnn.golden.network import load_network
from abbnn.syn import table3
from abbnn.syn.__main__ import main
from abbnn.syn.cells import FAMILIES, Resources
from abbnn.syn.table3 import MODELS, Row, Unit, all_units, cells, faults, in_markdown, lines, measure_all, units
from abbnn.syn.yosys import executable, version

try:
    executable()
    INSTALLED = True
except FileNotFoundError:
    INSTALLED = False

needs_yosys = pytest.mark.skipif(not INSTALLED, reason=verilog.INSTALL["yosys"])
PAGE = paths.CHECKOUT / "docs" / "table3.md"
SEED = 3


def rows_of(names: list[str], vectors: int = 20) -> list[Row]:
    print(f"seed {SEED}")
    chosen = [unit for unit in units() if unit.name in names]
    assert len(chosen) == len(names)
    return measure_all(chosen, table3.TABLE_FAMILIES, Workers(), vectors=vectors, seed=SEED)


def documented() -> set[str]:
    return {line for line in PAGE.read_text().splitlines() if line.startswith("| ")}


@needs_yosys
def test_the_document_has_the_figures_of_a_fresh_run() -> None:
    if f"Yosys {version()}" not in PAGE.read_text():
        pytest.skip(f"docs/table3.md is of another Yosys than {version()}")
    names = ["shifter, wired amount", "shifter, run-time amount", "QPReLU, wired exponent", "QPReLU, run-time exponent"]
    rows = rows_of(names)
    assert faults(rows) == []
    fresh = [line for line in in_markdown(rows).splitlines() if line.startswith("| ") and "design" not in line]
    assert len(fresh) == len(names)
    assert set(fresh) <= documented()


@needs_yosys
def test_the_paper_s_multiplier_is_met() -> None:
    """47 LUT and 4 DSP, as the paper's Table 3 has it; and the document says so."""
    row = table3.measure(units()[0], "xc7", dsps=True, vectors=50, seed=SEED)
    assert (row.resources.lut, row.resources.dsp, row.mismatches) == (47, 4, 0)
    assert row.vectors == 50
    assert any(line.startswith("| multiplier, DSPs | 47 | 4 | 47 |") for line in documented())


@needs_yosys
@pytest.mark.parametrize("family", table3.TABLE_FAMILIES)
def test_a_netlist_of_something_else_is_seen(tmp_path, family) -> None:
    """The netlist of a shifter by 4 beside the source of one by 3."""
    unit = next(unit for unit in units() if unit.name == "QPReLU, wired exponent")
    table3.synthesise(replace(unit, parameters={"SHIFT": 4}), family, tmp_path, dsps=True)
    compared, wrong = table3.simulate(unit, family, tmp_path, 50, SEED)
    assert compared == 50
    assert wrong > 10


@needs_yosys
def test_a_stream_s_wrong_netlist_is_seen_and_silence_is_an_error(tmp_path) -> None:
    tiny = [unit for unit in all_units(quick=True, seed=1) if unit.top == "table3_rprelu"]
    assert len(tiny) == 1
    unit = tiny[0]
    table3.synthesise(replace(unit, parameters={**unit.parameters, "FRACTION": 11}), "ecp5", tmp_path, dsps=True)
    compared, wrong = table3.simulate(unit, "ecp5", tmp_path, 100, SEED)
    assert compared > 20
    assert wrong > 5
    with pytest.raises(ValueError, match="compared nothing"):
        table3.simulate(unit, "ecp5", tmp_path, 3, SEED)  # shorter than its latency


def test_faults_are_mismatches_and_forbidden_dsps() -> None:
    row = Row("a", "g", "xc7", True, Resources(dsp=2), 0, 9, 0, None)
    assert faults([row]) == []
    assert "differs from its source in 4 of 9" in faults([replace(row, mismatches=4)])[0]
    assert "2 DSPs" in faults([replace(row, dsps_allowed=False)])[0]


def test_cells_counts_instances_and_tables() -> None:
    stat = """{"modules": {
        "\\\\top": {"num_cells_by_type": {"LUT6": 3, "$paramod$1\\\\abbnn_table": 2}},
        "$paramod$1\\\\abbnn_table": {"num_cells_by_type": {"LUT6": 5, "FDRE": 1}}
    }, tree"""
    every, tables = cells(stat, "top")
    assert every == {"LUT6": 13, "FDRE": 2}
    assert tables == {"LUT6": 10, "FDRE": 2}


def test_rows_are_put_side_by_side() -> None:
    paper = table3.Paper(47, 4)
    rows = [
        Row("m", "g", "xc7", True, Resources(lut=47, dsp=4), 0, 1, 0, paper),
        Row("m", "g", "ecp5", True, Resources(lut=9, dsp=4), 0, 1, 0, paper),
        Row("m", "g", "xc7", False, Resources(lut=2000, ff=3), 7, 1, 0, paper),
        Row("s", "g", "ecp5", True, Resources(lut=1), 0, 1, 0, None),
    ]
    assert lines(rows) == [
        ("g", ("m, DSPs", "47", "4", "47", "", "", "4", "9", "", "", "4")),
        ("g", ("m, no DSPs", "", "", "2,000", "7", "3", "0", "", "", "", "")),
        ("g", ("s", "", "", "", "", "", "", "1", "", "", "0")),
    ]


def test_only_the_designs_to_compare_with_multiply() -> None:
    """Those that stand for the project have no multiplication in their sources, the others do."""
    for unit in all_units(quick=True, seed=1):
        paths = [path for path in table3.sources(unit) if path.stem == unit.top]
        assert len(paths) == 1
        text = paths[0].read_text()
        used = {unit.top, *re.findall(r"^\s*((?:table3|abbnn)_\w+) #\(", text, re.MULTILINE)}
        found = [fault for path in table3.sources(unit) if path.stem in used for fault in verilog.multiplications(path)]
        assert bool(found) == unit.multiplies, unit.name


def test_nothing_in_rtl_uses_them() -> None:
    assert not [path for path in verilog.files().values() if "table3" in path.read_text()]


def test_widths_and_tables_are_those_of_the_network() -> None:
    network = load_network(MODELS / "tiny.safetensors")
    designs: list[Unit] = all_units(quick=True, seed=1)
    lane = next(unit for unit in designs if unit.top == "abbnn_qprelu")
    channels = network.structure.blocks[0].out_channels
    assert lane.parameters["CHANNELS"] == channels
    assert len(re.findall(r"^[0-9a-f]+$", lane.files["activation.mem"], re.MULTILINE)) == channels


@pytest.mark.parametrize(("arguments", "message"), [(["--vectors", "0"], "--vectors"), (["--jobs", "0"], "--jobs")])
def test_bad_arguments_are_one_line(capsys, arguments, message) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["table3", *arguments])
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"abbnn table3: error: argument {message}: 0 is not")


def test_families_are_priced() -> None:
    assert set(table3.TABLE_FAMILIES) <= set(FAMILIES)
