"""Area by synthesis: prices of cells, contents of memories in the netlist, reuse of results, the command line.

The tests that run Yosys take a few seconds each; without it they are skipped, the others are not.
"""

import copy
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_network import random_network

import abbnn.syn.area
import abbnn.syn.yosys
from abbnn import paths, verilog
from abbnn.executor import Workers
from abbnn.export.area import read_calibration, rtl_hash
from abbnn.export.folding import balance
from abbnn.export.layout import mem_text, pack
from abbnn.export.schedule import timing
from abbnn.golden.network import save_network
from abbnn.golden.structure import STRIDED_STEM, member
from abbnn.syn.__main__ import main
from abbnn.syn.area import Measurement, Module, StageArea, faults, measure, measure_all, memory_summary, stage_designs
from abbnn.syn.calibrate import SOURCES, Plan, plan, run, write
from abbnn.syn.cells import FAMILIES, ROLES, Resources, owner, role_of
from abbnn.syn.memory import UNDEFINED, MemoryReport, UnreadableError, _lookup, _whole, memories, reads
from abbnn.syn.yosys import CORE, Design, Synthesis, carry_only, executable, own_cells, source_name, synthesise

try:
    executable()
    INSTALLED = True
except FileNotFoundError:
    INSTALLED = False

needs_yosys = pytest.mark.skipif(not INSTALLED, reason=verilog.INSTALL["yosys"])

SEED = 7
NETWORK = random_network(member("small", (4, 6), (1, 1), image=8, stem=STRIDED_STEM, classes=3), 1)


# ---- prices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "cells", "expected"),
    [
        ("xc7", {"LUT6": 3, "LUT1": 1, "INV": 5, "MUXF7": 9}, Resources(lut=4)),
        ("xc7", {"RAM32M": 2, "SRL16E": 3, "RAM64X1D": 1}, Resources(lut=13, lut_memory=13)),
        ("xc7", {"RAMB36E1": 1, "RAMB18E1": 3, "FDRE": 2, "FDSE": 1}, Resources(bram=2.5, ff=3)),
        ("xc7", {"DSP48E1": 1, "CARRY4": 4}, Resources(dsp=1, carry=4)),
        ("ecp5", {"LUT4": 10, "CCU2C": 3}, Resources(lut=16, carry=3)),
        ("ecp5", {"TRELLIS_DPR16X4": 2, "DP16KD": 3}, Resources(lut=12, lut_memory=12, bram=3)),
        ("ecp5", {"MULT18X18D": 2, "TRELLIS_FF": 7}, Resources(dsp=2, ff=7)),
        ("ice40", {"SB_LUT4": 5, "SB_DFFESR": 2, "SB_CARRY": 3, "SB_RAM40_4K": 1}, Resources(5, 2, 1, 0, 3)),
        ("gowin", {"LUT3": 5, "ALU": 2, "DFFRE": 1, "SDPX9": 1}, Resources(7, 1, 1, 0, 2)),
    ],
)
def test_prices(family, cells, expected) -> None:
    assert FAMILIES[family].resources(cells) == expected


@pytest.mark.parametrize(("family", "cell"), [("xc7", "LDCE"), ("xc7", "LUT7"), ("ecp5", "FDRE"), ("ice40", "$mul")])
def test_a_cell_without_a_price_is_an_error(family, cell) -> None:
    with pytest.raises(ValueError, match="no cost is known of cell"):
        FAMILIES[family].resources({cell: 1})


def test_every_module_has_a_role() -> None:
    for module in verilog.modules():
        assert role_of(module)
    assert set(ROLES) <= set(verilog.modules())
    assert owner("abbnn_popcount_lut6") == "abbnn_popcount"
    assert role_of("abbnn_popcount_lut6") == "array"
    with pytest.raises(ValueError, match="abbnn_unknown has no role"):
        role_of("abbnn_unknown")


# ---- what a netlist holds -------------------------------------------------------------------------------------------


def test_every_initialised_memory_of_the_sources_is_found() -> None:
    found = {module: [read.parameter for read in reads(module)] for module in verilog.modules()}
    for module, parameters in found.items():
        assert len(parameters) == verilog.file(module).read_text().count("$readmemh(")
    assert found["abbnn_memory"] == ["TABLE_FILE"]


def test_lookup_keeps_what_an_undefined_input_cannot_change() -> None:
    undefined, one, zero = (np.array([value], np.uint8) for value in (UNDEFINED, 1, 0))
    assert _lookup("1000", [undefined, zero]).tolist() == [0]
    assert _lookup("1000", [undefined, one]).tolist() == [UNDEFINED]
    assert _lookup("1000", [one, one]).tolist() == [1]
    assert _lookup("0010", [one, zero]).tolist() == [1]
    assert _lookup("1x10", [zero, one]).tolist() == [UNDEFINED]


def memory_design(depth: int, width: int, style: int = 0) -> tuple[Design, dict[str, tuple[list[int], int]]]:
    """An abbnn_memory with random words from a file."""
    print(f"seed {SEED}")
    words = pack(np.random.default_rng(SEED).integers(0, 2, (depth, width)), 1)
    parameters = {"WIDTH": width, "DEPTH": depth, "STYLE": style, "TABLE_FILE": "weights.mem"}
    design = Design("abbnn_memory", parameters, {"weights.mem": mem_text(words, width)})
    return design, {"weights.mem": (words, width)}


@pytest.fixture(scope="module", params=["xc7", "ecp5"])
def deep(request) -> tuple[str, Synthesis, dict[str, tuple[list[int], int]]]:
    """Weights of 512 x 72 bits, on two families."""
    if not INSTALLED:
        pytest.skip(verilog.INSTALL["yosys"])
    design, contents = memory_design(512, 72)
    return request.param, synthesise(design, request.param), contents


def report_of(family, synthesis, contents, file="weights.mem"):
    return next(report for report in memories(synthesis, family, contents) if report.file == file)


def test_deep_weights_are_in_block_ram_with_every_bit_right(deep) -> None:
    family, synthesis, _ = deep
    report = report_of(*deep)
    assert (report.where, report.check, report.depth, report.width) == ("block", "equal", 512, 72)
    assert report.blocks == {"xc7": 1, "ecp5": 2}[family]
    assert not report.wrong
    blocks = [kind for kind in own_cells(synthesis.mapped, "abbnn_memory").values() if FAMILIES[family].cost(kind).bram]
    assert len(blocks) == report.blocks


def memory_cells(synthesis: Synthesis) -> dict:
    return synthesis.mapped[synthesis.top]["cells"]


def block_ram(synthesis: Synthesis) -> dict:
    return next(cell for cell in memory_cells(synthesis).values() if cell["type"] in ("RAMB36E1", "DP16KD"))


def damaged(synthesis: Synthesis) -> Synthesis:
    return replace(synthesis, mapped=copy.deepcopy(synthesis.mapped))


def test_a_flipped_bit_is_found(deep) -> None:
    family, synthesis, contents = deep
    for parameter in ("INIT_00", "INIT_2A", "INITP_03") if family == "xc7" else ("INITVAL_00", "INITVAL_2A"):
        broken = damaged(synthesis)
        values = block_ram(broken)["parameters"]
        text = values[parameter]
        values[parameter] = text[:-4] + ("1" if text[-4] == "0" else "0") + text[-3:]
        report = report_of(family, broken, contents)
        assert report.check.startswith("1 bits differ"), parameter
        assert report.wrong
        if parameter in ("INIT_00", "INITVAL_00"):
            assert "at address 0, bit" in report.check


def test_swapped_pins_are_found(deep) -> None:
    family, synthesis, contents = deep
    first, second = {"xc7": ("DOADO", "DOADO"), "ecp5": ("DOA3", "DOA4")}[family]
    broken = damaged(synthesis)
    pins = block_ram(broken)["connections"]
    here, there = pins[first], pins[second]
    position = 1 if first == second else 0
    here[0], there[position] = there[position], here[0]
    assert "bits differ" in report_of(family, broken, contents).check
    broken = damaged(synthesis)
    pins = block_ram(broken)["connections"]
    if family == "xc7":
        pins["ADDRARDADDR"][8], pins["ADDRARDADDR"][9] = pins["ADDRARDADDR"][9], pins["ADDRARDADDR"][8]
    else:
        for side in "AB":
            pins[f"AD{side}8"], pins[f"AD{side}9"] = pins[f"AD{side}9"], pins[f"AD{side}8"]
    assert "bits differ" in report_of(family, broken, contents).check


def test_a_word_of_another_file_is_found(deep) -> None:
    family, synthesis, contents = deep
    words, width = contents["weights.mem"]
    other = {**contents, "weights.mem": ([*words[:300], words[300] ^ 1 << 71, *words[301:]], width)}
    assert report_of(family, synthesis, other).check == "1 bits differ, the first at address 300, bit 71"


def test_a_cut_address_line_is_no_equality(deep) -> None:
    family, synthesis, contents = deep
    broken = damaged(synthesis)
    cell = block_ram(broken)
    port = "ADDRARDADDR" if family == "xc7" else "ADB8"
    bit = 8 if family == "xc7" else 0
    cell["connections"][port][bit] = 10**6
    if family == "ecp5":
        cell["connections"]["ADA8"][0] = 10**6
    report = report_of(family, broken, contents)
    assert report.check.startswith("not read back")
    assert report.wrong


def test_a_register_whose_name_lost_its_upper_bits_is_found_by_another() -> None:
    """Yosys' wreduce shortens one of two names of a register; a name that is no longer whole must not be compared."""
    module = {"netnames": {"weight_reg": {"bits": [2, 3]}, "other": {"bits": [4, 3, 2]}, "word": {"bits": [2, 3, 4]}}}
    assert _whole(module, [2, 3], 2) == [2, 3]
    assert _whole(module, [2, 3], 3) == [2, 3, 4]
    with pytest.raises(UnreadableError, match="only 2 bits of 4 have a name"):
        _whole(module, [2, 3], 4)


@needs_yosys
def test_shallow_weights_stay_in_luts_and_are_right_there_too() -> None:
    design, contents = memory_design(16, 24)
    synthesis = synthesise(design, "xc7")
    report = report_of("xc7", synthesis, contents)
    assert (report.where, report.check, report.blocks) == ("lut", "equal", 0)
    # Every LUT inverted: those that hold weights show.
    found = []
    for name, kind in own_cells(synthesis.mapped, synthesis.top).items():
        if kind == "LUT4":
            broken = damaged(synthesis)
            parameters = memory_cells(broken)[name]["parameters"]
            parameters["INIT"] = "".join("10"[int(bit)] for bit in parameters["INIT"])
            found.append(report_of("xc7", broken, contents).wrong)
    assert sum(found) >= 24 / 2


@needs_yosys
def test_weights_that_are_told_to_be_in_block_ram_are() -> None:
    design, contents = memory_design(16, 24, style=2)
    report = report_of("ecp5", synthesise(design, "ecp5"), contents)
    assert (report.where, report.check) == ("block", "equal")


# ---- networks -------------------------------------------------------------------------------------------------------


def small_designs():
    return stage_designs(NETWORK, balance(NETWORK))


@needs_yosys
def test_core_without_its_stages() -> None:
    core = small_designs()[-1]
    assert core.stage == "core"
    assert core.parameters == {"IMAGE_HEIGHT": 8, "IMAGE_WIDTH": 8, "BLOCKS": 2}
    synthesis = synthesise(core.design, "ecp5")
    below = {"abbnn_gate", "abbnn_guard", "abbnn_fifo", "abbnn_drop", "abbnn_skid", "abbnn_cut"}
    instances = Counter(source_name(name) for name, count in synthesis.instances.items() for _ in range(count))
    assert instances == dict.fromkeys([CORE, *below], 1) | {"abbnn_reset": 4}
    # The counters of short and of long frames, the sticky error, and that a frame is done.
    assert list(own_cells(synthesis.mapped, CORE).values()).count("TRELLIS_FF") == 16 + 16 + 1 + 1


@needs_yosys
def test_results_are_kept_until_something_changes(tmp_path, monkeypatch) -> None:
    head = small_designs()[-2]
    assert head.stage == "head"
    first = measure(head, "ecp5", cache=tmp_path)
    assert first.total.lut > 0
    assert first.total.dsp == 0
    assert first.modules["abbnn_head"].count == 1
    monkeypatch.setattr(abbnn.syn.area, "synthesise", lambda *_: pytest.fail("synthesised again"))
    assert measure(head, "ecp5", cache=tmp_path) == first
    name = next(iter(head.design.files))
    changed = replace(head.design, files={**head.design.files, name: head.design.files[name].replace("0", "1")})
    other = replace(head.design, parameters={**head.design.parameters, "PLANES": 9})
    keys = {head.design.key("ecp5"), head.design.key("xc7"), changed.key("ecp5"), other.key("ecp5")}
    assert len(keys) == 4


@needs_yosys
def test_a_cut_off_result_is_measured_again(tmp_path, monkeypatch) -> None:
    head = small_designs()[-2]
    path = tmp_path / f"{head.design.key('ecp5')}.json"
    path.write_text('{"family": "ecp5"')
    asked = []

    def fake(design: Design, family: str) -> Synthesis:
        asked.append(family)
        return Synthesis({}, {"abbnn_head": {"cells": {"a": {"type": "LUT4"}}, "netnames": {}}}, "abbnn_head")

    monkeypatch.setattr(abbnn.syn.area, "synthesise", fake)
    assert measure(head, "ecp5", cache=tmp_path).total == Resources(lut=1)
    assert measure(head, "ecp5", cache=tmp_path).total == Resources(lut=1)
    assert asked == ["ecp5"]


def fake_measure(wanted, workers, *, cache=None) -> list[Measurement]:
    cells = {"LUT6": 2, "FDRE": 3, "RAMB18E1": 1}
    return [Measurement(family, {stage.design.top: Module(1, cells)}, []) for stage, family in wanted]


def test_stages_of_equal_parameters_are_measured_once(monkeypatch) -> None:
    asked = []

    def counting(wanted, workers, *, cache):
        asked.extend(stage.stage for stage, _ in wanted)
        return fake_measure(wanted, workers)

    monkeypatch.setattr(abbnn.syn.area, "measure_each", counting)
    stem, block, *_ = small_designs()
    twin = replace(block, stage="twin", design=replace(block.design, files={}))
    other = replace(block, stage="other", parameters={**block.parameters, "PE": 2})
    designs = [stem, block, twin, other]
    areas = measure_all(designs, "xc7", Workers())
    assert [(area.design.stage, area.reused_from) for area in areas] == [
        ("stem", None),
        ("block00", None),
        ("twin", "block00"),
        ("other", None),
    ]
    assert sorted(asked) == ["block00", "other", "stem"]


def test_memory_bits() -> None:
    reports = [
        MemoryReport("abbnn_memory", "word_mem", 1, 512, 72, "block", 1, "block00_weights.mem", "equal"),
        MemoryReport("abbnn_memory", "word_mem", 1, 64, 16, "lut", 0, "block00_scale.mem", "equal"),
        MemoryReport("abbnn_window", "bank_mem", 4, 16, 8, "lut", 0),
        MemoryReport("abbnn_fifo", "memory", 2, 512, 18, "block", 0.5),
    ]
    area = StageArea(small_designs()[1], Measurement("xc7", {}, reports))
    assert memory_summary(area) == {
        "weight_bits": 36864,
        "weight_bits_in_block_ram": 36864,
        "block_ram_bits_needed": 36864 + 2 * 512 * 18,
        "block_ram_bits_used": 2 * 36864,
        "block_ram_fill": 0.75,
        "lut_memory_bits": 1024 + 512,
    }
    assert faults([area]) == []
    broken = replace(reports[0], check="3 bits differ, the first at address 1, bit 2")
    unproven = replace(reports[0], check="not read back: signal weight_reg is gone")
    cells = {"abbnn_scale": Module(1, {"DSP48E1": 2})}
    said = faults([replace(area, measured=Measurement("xc7", cells, [broken, unproven]))])
    assert len(said) == 3
    assert said[0].endswith("2 DSP cells")
    assert "block00_weights.mem in block: 3 bits differ" in said[1]


# ---- command line ---------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "net.safetensors"
    save_network(NETWORK, path)
    return path


def test_area_report(file, monkeypatch, capsys) -> None:
    monkeypatch.setattr(abbnn.syn.area, "measure_each", fake_measure)
    monkeypatch.setattr("abbnn.syn.__main__.executable", lambda: "yosys")
    monkeypatch.setattr("abbnn.syn.area.version", lambda: "0.0")
    out = file.parent / "area.json"
    assert main(["area", str(file), "--family", "xc7", "--clock", "100", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    report = json.loads(out.read_text())
    stages = len(report["stages"])
    assert report["total"] == {
        "lut": 2 * stages,
        "ff": 3 * stages,
        "bram": 0.5 * stages,
        "dsp": 0,
        "carry": 0,
        "lut_memory": 0,
        "carry_only": 0,
    }
    assert sum(module["lut"] for module in report["modules"].values()) == 2 * stages
    assert sum(role["lut"] for role in report["roles"].values()) == 2 * stages
    assert report["overhead_share"] == 1
    assert report["efficiency"]["clock_mhz"] == 100
    interval = timing(NETWORK, balance(NETWORK)).interval
    assert report["efficiency"]["interval"] == interval
    # Blocks of 4 to 4 channels on 4x4 pixels, of 4 to 6 on 2x2 with a shortcut of binary weights.
    macs = 16 * 9 * 4 * 4 + 4 * (9 + 1) * 4 * 6
    assert NETWORK.structure.binary_macs == macs
    assert report["efficiency"]["gops"] == pytest.approx(2 * macs * 100e6 / interval / 1e9)
    assert "GOPS/kLUT" in said
    assert "one by one" in said
    assert main(["memory", str(file), "--stage", "head", "--out", str(out)]) == 0
    part = json.loads(out.read_text())
    assert [stage["stage"] for stage in part["stages"]] == ["head"]
    assert not part["complete"]
    assert part["efficiency"] is None


def test_a_dsp_is_an_error(file, monkeypatch, capsys) -> None:
    def with_dsp(wanted, workers, *, cache):
        modules = {"abbnn_stem": Module(1, {"DSP48E1": 1, "LUT2": 1})}
        return [Measurement(family, modules, []) for _, family in wanted]

    monkeypatch.setattr(abbnn.syn.area, "measure_each", with_dsp)
    monkeypatch.setattr("abbnn.syn.__main__.executable", lambda: "yosys")
    monkeypatch.setattr("abbnn.syn.area.version", lambda: "0.0")
    assert main(["area", str(file), "--stage", "stem", "--out", str(file.parent / "area.json")]) == 1
    assert "stem: 1 DSP cells" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["nowhere.safetensors"], "nowhere.safetensors"),
        (["net.safetensors", "--stage", "block99"], "block99"),
        (["net.safetensors", "--fold", "none.json"], "none.json"),
        (["net.safetensors", "--cycles", "1"], "1 cycles a frame"),
    ],
)
def test_bad_input(file, monkeypatch, capsys, arguments, culprit) -> None:
    monkeypatch.setattr("abbnn.syn.__main__.executable", lambda: "yosys")
    monkeypatch.chdir(file.parent)
    assert main(["area", *arguments, "--out", "area.json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert culprit in said.err
    assert not Path("area.json").exists()


def test_without_yosys_it_says_what_to_install(file, monkeypatch, capsys) -> None:
    monkeypatch.setattr(verilog.shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "executable", str(file))
    assert main(["area", str(file)]) == 2
    assert capsys.readouterr().err == f"abbnn area: {verilog.INSTALL['yosys']}\n"


@needs_yosys
def test_what_yosys_refuses_is_told_in_a_line() -> None:
    design, _ = memory_design(16, 24)
    with pytest.raises(ValueError, match=r"abbnn_memory: Yosys: ERROR: .*WIDTH_must_be_1_to_131072"):
        synthesise(replace(design, parameters={**design.parameters, "WIDTH": 0}), "xc7")


def test_the_command_is_a_module() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "abbnn", "--help"], cwd=paths.CHECKOUT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0
    assert "calibrate" in result.stdout


# ---- calibration ----------------------------------------------------------------------------------------------------


def test_nothing_is_fitted_that_is_validated() -> None:
    fitted = {source.design for source in SOURCES if source.use == "fit"}
    validated = {source.design for source in SOURCES if source.use == "validation"}
    assert not fitted & validated
    assert {family for source in SOURCES if source.use == "validation" for family in source.families} == set(FAMILIES)


def test_plan_has_stages_that_exist_and_none_twice() -> None:
    plans = plan()
    shapes = [(each.family, each.stage.shape) for each in plans]
    assert len(set(shapes)) == len(shapes)
    planned = [(each.family, each.design, each.stage.stage) for each in plans]
    wanted = [(f, source.design, stage) for source in SOURCES for f in source.families for stage in source.stages]
    assert sorted(planned) == sorted(wanted)


def test_points_are_what_the_area_model_reads(tmp_path, monkeypatch) -> None:
    def parted(wanted, workers, *, cache):
        modules = {
            "abbnn_block": Module(1, {"LUT2": 1}),
            "abbnn_popcount": Module(4, {}),
            "abbnn_popcount_lut6": Module(4, {"LUT6": 8, "FDRE": 2}),
        }
        return [Measurement(family, modules, []) for _, family in wanted]

    monkeypatch.setattr("abbnn.syn.calibrate.measure_each", parted)
    monkeypatch.setattr("abbnn.syn.calibrate.version", lambda: "0.23")
    block = small_designs()[1]
    plans = [Plan("small/1", use, "xc7", block) for use in ("fit", "validation")]
    made = run(plans, Workers())
    assert made.points[0]["modules"]["abbnn_popcount"] == {"count": 4, "lut": 8, "ff": 2, "bram": 0}
    assert "abbnn_popcount_lut6" not in made.points[0]["modules"]
    assert made.points[0]["total"] == {"lut": 9, "ff": 2, "bram": 0}
    assert made.points[0]["parameters"] == dict(block.parameters)
    path = tmp_path / "calibration.json"
    write(made, path)
    assert read_calibration(path) == made
    assert (made.yosys, made.rtl, made.warning) == ("0.23", rtl_hash(), "")


def test_carry_positions_without_a_lut() -> None:
    """S[0] is a LUT's, S[1] a constant, S[2] a flip-flop's; S[3] of the second cell is behind all that is read."""

    def cell(kind: str, directions: dict[str, str], **nets: list[int | str]) -> dict[str, object]:
        return {"type": kind, "port_directions": directions, "connections": nets}

    carry = {"S": "input", "O": "output", "CO": "output"}
    module = {
        "ports": {"q": {"bits": [12, 22]}},
        "cells": {
            "lut": cell("LUT6", {"I0": "input", "O": "output"}, I0=[1], O=[2]),
            "ff": cell("FDRE", {"D": "input", "Q": "output"}, D=[13], Q=[3]),
            "first": cell("CARRY4", carry, S=[2, "0", 3, 2], O=[10, 11, 12, 13], CO=[14, 15, 16, 17]),
            "second": cell("CARRY4", carry, S=[2, 2, 2, "0"], O=[20, 21, 22, 23], CO=[24, 25, 26, 27]),
            "unread": cell("CARRY4", carry, S=["0"] * 4),
        },
    }
    assert carry_only(module) == 2
