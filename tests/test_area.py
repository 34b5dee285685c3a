"""The area model: where memories go, what is fitted, and its error on stages that it was not fitted to."""

import json
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from random_network import random_network

from abbnn.export import area
from abbnn.export.area import (
    CALIBRATION,
    Errors,
    NetworkArea,
    area_model,
    by_module,
    calibrate,
    devices,
    fit,
    read_calibration,
    rtl_hash,
    validate,
)
from abbnn.export.config import stage_kind
from abbnn.export.folding import balance
from abbnn.export.parts import FAMILIES, Area, parts, place, table_luts
from abbnn.export.pipeline import Pipeline
from abbnn.golden.structure import CIFAR_STEM, RESNET_STEM, STRIDED_STEM, member

CALIBRATED = read_calibration()
SMALL = member("small", (4, 6), (1, 1), image=8, stem=STRIDED_STEM, classes=3)
MEMBERS = [
    SMALL,
    member("xnor", (4, 8), (1, 1), family="xnornet", image=32, stem=RESNET_STEM, classes=3),
    member("bireal", (4, 6), (1, 1), family="birealnet", image=8, stem=CIFAR_STEM, classes=3),
    member("paired", (4, 8, 16), (0, 1, 1), family="reactneta", image=16, stem=STRIDED_STEM, classes=3),
]

LIMIT = 0.06
"""Greatest relative error of LUTs and flip-flops on a stage that nothing was fitted to."""
BLOCKS = 2.0
"""Greatest error of block RAMs: a stage has few, and one table's contents (constant columns, which the model does not
know) decide whether it needs another."""


def close(error: Errors) -> bool:
    return abs(error.lut) <= LIMIT and abs(error.ff) <= LIMIT and abs(error.bram) <= BLOCKS


# ---- memories


def test_tables_that_yosys_was_seen_to_map() -> None:
    """From memory_libmap's and stat's output: depth, width, family, block RAMs."""
    for depth, width, family, blocks in [
        (256, 2304, "xc7", 32),
        (1024, 2304, "xc7", 64),
        (64, 2304, "xc7", 0),
        (2304, 13, "xc7", 1),
        (512, 16, "xc7", 0),
        (2304, 13, "ecp5", 2),
        (64, 72, "ecp5", 2),
        (2304, 13, "ice40", 8),
        (64, 72, "ice40", 0),
    ]:
        assert place(FAMILIES[family], depth, width, rom=True).bram == blocks, (depth, width, family)


def test_small_memories_go_to_lut_ram_or_flip_flops() -> None:
    assert place(FAMILIES["xc7"], 32, 60) == (40, 60, 0)
    assert place(FAMILIES["ecp5"], 16, 64) == (96, 64, 0)
    assert place(FAMILIES["ice40"], 2, 16).ff == 3 * 16
    assert place(FAMILIES["xc7"], 1024, 64).bram == 2


def test_forced_tables() -> None:
    for family in FAMILIES.values():
        block = place(family, 16, 36, rom=True, style="block")
        table = place(family, 4096, 36, rom=True, style="lut")
        assert block.bram > 0
        assert (block.lut, table.bram) == (0, 0)
        assert table.lut > 36


def test_table_luts() -> None:
    assert table_luts(FAMILIES["xc7"], 64, 100) == 100
    assert table_luts(FAMILIES["xc7"], 256, 100) == 400
    assert table_luts(FAMILIES["ice40"], 16, 100) == pytest.approx(100, abs=0.1)
    assert table_luts(FAMILIES["xc7"], 1, 100) == 0
    assert table_luts(FAMILIES["xc7"], 2, 10**6) == pytest.approx(4)


# ---- fitting


def test_fit_finds_the_coefficients_that_made_the_values() -> None:
    rows = np.random.default_rng(1).random((20, 3))
    wanted = np.array([1.5, 0.0, 7.0])
    np.testing.assert_allclose(fit(rows, rows @ wanted, np.ones(3)), wanted, atol=0.001)


def test_fit_gives_no_negative_coefficient_and_the_prior_without_evidence() -> None:
    rows = np.array([[1.0, 1.0, 0.0], [2.0, 1.0, 0.0], [3.0, 1.0, 0.0]])
    found = fit(rows, np.array([1.0, 3.0, 5.0]), np.array([1.0, 1.0, 4.0]))
    assert found.min() >= 0
    assert found[2] == pytest.approx(4)


def test_a_family_without_points_names_those_with_some() -> None:
    with pytest.raises(ValueError, match=r"no synthesis results to estimate abacus with; .* ecp5, .*xc7"):
        calibrate(CALIBRATED, "abacus")


def test_modules_that_a_family_lacks_are_those_of_another() -> None:
    """A point of Gowin's with twice the ECP5's LUTs in all modules but one."""
    (block, *_) = (each for each in CALIBRATED.of("ecp5", "fit") if each["top"] == "abbnn_block")
    modules = {name: {**figures, "lut": 2 * figures["lut"]} for name, figures in block["modules"].items()}
    point = {**block, "family": "gowin", "modules": modules, "top": "abbnn_block"}
    only = replace(CALIBRATED, points=[*CALIBRATED.of("ecp5", "fit"), point])
    known, other = calibrate(only, "ecp5"), calibrate(only, "gowin")
    assert "abbnn_max_pool" not in other.measured
    assert other.coefficients.keys() == known.coefficients.keys()
    stem = "abbnn_signed_sum", "lut"
    assert ("abbnn_stem" in other.measured, "abbnn_stem" in known.measured) == (False, True)
    np.testing.assert_array_equal(other.coefficients["abbnn_stem", "lut"], known.coefficients["abbnn_stem", "lut"])
    assert other.coefficients[stem].sum() > 1.2 * known.coefficients[stem].sum()
    assert "abbnn_stem" in NetworkArea(random_network(SMALL, 1), other).guessed


def test_a_family_of_no_points_is_like_another() -> None:
    only = replace(CALIBRATED, points=CALIBRATED.of("ecp5", "fit"))
    np.testing.assert_equal(dict(calibrate(only, "ice40").coefficients), dict(calibrate(only, "ecp5").coefficients))
    assert not calibrate(only, "ice40").measured


# ---- against synthesis


def test_no_stage_is_fitted_and_validated() -> None:
    uses = {(point["family"], point["use"]) for point in CALIBRATED.points}
    assert uses >= {(family, use) for family in ("xc7", "ecp5") for use in ("fit", "validation")}
    shapes = [json.dumps([point["family"], point["top"], point["parameters"]]) for point in CALIBRATED.points]
    assert len(set(shapes)) == len(shapes)


def test_modules_are_counted_as_synthesis_counts_them() -> None:
    for point in CALIBRATED.points:
        if point["top"] != area.CORE:
            for module, (found, _) in by_module(point).items():
                counted = point["modules"][module]["count"]
                assert sum(part.times for part in found) == counted, (point["design"], point["stage"], module)


@pytest.mark.parametrize("family", FAMILIES)
def test_errors_on_other_stages(family) -> None:
    for error in validate(area_model(family), CALIBRATED):
        assert close(error), error


@pytest.mark.parametrize("module", ["abbnn_window", "abbnn_popcount", "abbnn_xnor_array", "abbnn_signed_sum"])
@pytest.mark.parametrize("family", ["xc7", "ecp5"])
def test_a_wrong_coefficient_would_fail(family, module) -> None:
    good = area_model(family)
    wrong = {**good.coefficients, **{(module, each): 4 * good.coefficients[module, each] for each in area.RESOURCES}}
    model = replace(good, coefficients=wrong, _known={})
    assert not all(map(close, validate(model, CALIBRATED)))


# ---- networks


@pytest.mark.parametrize("structure", MEMBERS, ids=lambda structure: structure.name)
@pytest.mark.parametrize(("headroom", "loadable"), [(0, False), (2, True)])
def test_a_networks_area_is_that_of_its_stages_as_configured(structure, headroom, loadable) -> None:
    """NetworkArea, which replaces lanes in one configuration, against export.config's parameters of the folding."""
    network = random_network(structure, 1)
    model = area_model("ecp5")
    known = NetworkArea(network, model, headroom=headroom, loadable=loadable)
    for target in (None, 10**6):
        folding = {
            name: replace(fold, weights="block") if name == "block00" else fold
            for name, fold in balance(network, target).items()
        }
        found = known.folding(folding)
        for config in Pipeline(network, folding).roomy(headroom).configs:
            p = {**config.parameters, "LOAD_MEMORY": 0 if loadable else -1}
            whole = model.stage(f"abbnn_{stage_kind(config.name)}", p)
            mine = [value for name, value in found.items() if name.split(".")[0] == config.name]
            assert min(whole) >= 0
            for resource in Area._fields:
                added = math.fsum(getattr(each, resource) for each in mine)
                assert added == pytest.approx(getattr(whole, resource)), (config.name, resource)


def test_loadable_tables_are_larger_and_hold_no_rom() -> None:
    config = Pipeline(random_network(SMALL, 1), balance(random_network(SMALL, 1))).configs[1]
    fixed, loadable = (
        [part.memory for part in parts(family, "abbnn_block", config.parameters) if part.module == "abbnn_memory"]
        for family in (FAMILIES["ecp5"], replace(FAMILIES["ecp5"], loadable=True))
    )
    assert sum(each.lut for each in fixed) == 0
    assert sum(each.lut for each in loadable) > 0


# ---- files


def test_devices() -> None:
    known = devices()
    assert {"xc7z020", "xc7z045", "ecp5-25k", "ecp5-45k", "ecp5-85k", "ice40up5k", "ice40hx8k"} <= set(known)
    assert (known["xc7z045"].lut, known["xc7z045"].ff, known["xc7z045"].bram) == (218_600, 437_200, 545)
    for device in known.values():
        assert device.family in FAMILIES
        assert device.clock_mhz > 0
        assert device.source
        largest = FAMILIES[device.family].blocks[-1]
        assert device.bram_bits == largest.bits * (9 if 9 in largest.widths else 8) // 8


@pytest.mark.parametrize("text", ["", "[]", '{"points": 1}', '{"points": [{}]}', '{"points": [], "yosys": "1"}'])
def test_bad_calibration_files_are_named(tmp_path, text) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"calibration\.json: not a calibration file"):
        read_calibration(path)
    path.unlink()
    with pytest.raises(ValueError, match=r"calibration\.json: No such file"):
        read_calibration(path)


def test_the_calibration_says_what_made_it(monkeypatch) -> None:
    """Its Verilog is compared by its code; that the shipped one is of other Verilog is no failure."""
    assert CALIBRATED.yosys
    assert replace(CALIBRATED, rtl=rtl_hash()).warning == ""
    assert "abbnn calibrate" in replace(CALIBRATED, rtl="of another").warning
    if CALIBRATED.warning:
        warnings.warn(f"{CALIBRATION}: {CALIBRATED.warning}", stacklevel=1)
    before = rtl_hash()
    code = area.verilog.code
    monkeypatch.setattr(area.verilog, "code", lambda module: code(module).replace("advance", "go"))
    rtl_hash.cache_clear()
    assert rtl_hash() != before
    rtl_hash.cache_clear()
