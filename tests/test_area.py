"""The area model: where memories go, what is fitted, and its error on designs that it was not fitted on."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from random_network import random_network

from abbnn.export.area import (
    CALIBRATION,
    FAMILIES,
    Area,
    AreaModel,
    Coefficients,
    NetworkArea,
    area_model,
    calibrate,
    devices,
    fit,
    instances,
    measured_modules,
    module_counts,
    place,
    read_calibration,
    table_luts,
    validate,
)
from abbnn.export.config import pipeline_config
from abbnn.export.folding import balance
from abbnn.golden.ranges import analyse
from abbnn.golden.structure import STRIDED_STEM, member

POINTS = read_calibration()
CALIBRATED = sorted({point["family"] for point in POINTS})
SMALL = member("small", (4, 6), (1, 1), image=8, stem=STRIDED_STEM, classes=3)

LIMIT = 0.15
"""Greatest relative error of LUTs and flip-flops on a design that nothing was fitted on."""
BLOCKS = 2.0
"""Block RAMs that are granted where 15% are fewer: a small design has two or three, and one table's contents (constant
columns, which the model does not know) decide whether it needs another."""


def close(predicted: Area, measured: Area) -> bool:
    blocks = max(BLOCKS, LIMIT * measured.bram)
    return (
        abs(predicted.lut / measured.lut - 1) <= LIMIT
        and abs(predicted.ff / measured.ff - 1) <= LIMIT
        and abs(predicted.bram - measured.bram) <= blocks
    )


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
    assert place(FAMILIES["xc7"], 32, 60) == (40, 60, 0, 0)
    assert place(FAMILIES["ecp5"], 16, 64) == (96, 64, 0, 0)
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
    rng = np.random.default_rng(1)
    rows = rng.integers(1, 1000, (20, 3)).astype(np.float64)
    wanted = np.array([1.5, 0.0, 7.0])
    np.testing.assert_allclose(fit(rows, rows @ wanted), wanted, atol=0.05)  # RIDGE pulls towards 1


def test_fit_gives_no_negative_coefficient_and_1_without_evidence() -> None:
    rows = np.array([[1.0, 1.0, 0.0], [2.0, 1.0, 0.0], [3.0, 1.0, 0.0]])
    found = fit(rows, np.array([1.0, 3.0, 5.0]))
    assert found.min() >= 0
    assert found[2] == pytest.approx(1)
    assert fit(np.zeros((3, 0)), np.ones(3)).shape == (0,)


def test_a_family_without_points_names_those_with_some() -> None:
    with pytest.raises(ValueError, match=f"no synthesis results to estimate abacus with; .* {CALIBRATED[0]}"):
        calibrate(POINTS, "abacus")


def test_modules_that_a_family_lacks_are_guessed_from_another() -> None:
    """A family's numbers doubled are those of a family with the same memories: a module that it lacks comes doubled."""
    family, other = "ecp5", "gowin"
    mine = [point for point in POINTS if point["family"] == family]
    doubled = []
    for point in mine:
        modules = {
            name: {key: value if key == "count" else 2 * value for key, value in numbers.items()}
            for name, numbers in point["modules"].items()
            if name != "abbnn_qprelu"
        }
        doubled.append({**point, "family": other, "modules": modules})
    model = calibrate(mine + doubled, other)
    assert "abbnn_qprelu" in model.guessed
    theirs = calibrate(mine, family).coefficients["abbnn_qprelu"]
    np.testing.assert_allclose(model.coefficients["abbnn_qprelu"].ff, 2 * theirs.ff, rtol=0.1)
    np.testing.assert_allclose(model.coefficients["abbnn_qprelu"].lut, 2 * theirs.lut, rtol=0.1)


# ---- against synthesis


def test_every_family_has_designs_that_nothing_is_fitted_on() -> None:
    assert CALIBRATED
    for family in CALIBRATED:
        uses = {point["use"] for point in POINTS if point["family"] == family}
        assert uses == {"fit", "validation"}, family
    fitted = {(point["family"], point["design"]) for point in POINTS if point["use"] == "fit"}
    assert not fitted & {(point["family"], point["design"]) for point in POINTS if point["use"] == "validation"}


def test_modules_are_counted_as_synthesis_counts_them() -> None:
    for point in POINTS:
        counts = module_counts(point["top"], point["parameters"])
        cells = {name: numbers for name, numbers in measured_modules(point).items() if numbers["lut"] + numbers["ff"]}
        assert cells
        for module, numbers in cells.items():
            assert numbers["count"] == counts[module], (point["design"], point["stage"], module)


@pytest.mark.parametrize("family", CALIBRATED)
def test_errors_on_other_designs(family) -> None:
    errors = validate(area_model(family), POINTS)
    assert errors
    for error in errors:
        assert close(error.predicted, error.measured), error


def large_modules(family: str) -> list[str]:
    """Those with more than 15% of the LUTs of a validation design."""
    result = set()
    for error in validate(area_model(family), POINTS):
        points = [p for p in POINTS if (p["family"], p["design"], p["use"]) == (family, error.design, "validation")]
        for module in area_model(family).coefficients:
            luts = sum(measured_modules(point).get(module, {"lut": 0})["lut"] for point in points)
            if luts > LIMIT * error.measured.lut:
                result.add(module)
    return sorted(result)


@pytest.mark.parametrize(("family", "module"), [(f, module) for f in CALIBRATED for module in large_modules(f)])
def test_a_wrong_coefficient_would_fail(family, module) -> None:
    good = area_model(family)
    wrong = Coefficients(good.coefficients[module].lut * 4, good.coefficients[module].ff)
    model = AreaModel(family, good.mapping, {**good.coefficients, module: wrong}, good.guessed)
    assert not all(close(error.predicted, error.measured) for error in validate(model, POINTS))


def test_some_modules_are_large() -> None:
    for family in CALIBRATED:
        assert large_modules(family), family


# ---- networks


@pytest.mark.parametrize("family", CALIBRATED)
def test_a_networks_area_is_that_of_its_stages_as_configured(family) -> None:
    """NetworkArea, which replaces lanes in one configuration, against export.config's parameters of the folding."""
    network = random_network(SMALL, 1)
    model = area_model(family)
    area = NetworkArea(network, model)
    for target in (200, 1000, 10**6):
        folding = {
            name: replace(fold, weights="block") if name == "block00" else fold
            for name, fold in balance(network, target).items()
        }
        found = area.folding(folding)
        for config in pipeline_config(network, analyse(network), folding):
            top = f"abbnn_{'block' if config.name.startswith('block') else config.name}"
            whole = model.instance(top, config.parameters)
            parts = [value for name, value in found.items() if name.split(".")[0] == config.name]
            for resource in Area._fields:
                mine = math.fsum(getattr(part, resource) for part in parts)
                assert mine == pytest.approx(getattr(whole, resource)), (config.name, resource)


def test_no_area_is_negative_and_every_module_is_known() -> None:
    network = random_network(SMALL, 1)
    for family in CALIBRATED:
        model = area_model(family)
        for config in pipeline_config(network, analyse(network), balance(network)):
            top = f"abbnn_{'block' if config.name.startswith('block') else config.name}"
            for module, parameters in instances(top, config.parameters):
                assert min(model.own(module, parameters)) >= 0


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


@pytest.mark.parametrize("text", ["", "[]", '{"points": 1}', '{"points": [{}]}', '{"points": [{"family": "xc7"}]}'])
def test_bad_calibration_files_are_named(tmp_path, text) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"calibration\.json: not a calibration file"):
        read_calibration(path)
    path.unlink()
    with pytest.raises(ValueError, match=r"calibration\.json: No such file"):
        read_calibration(path)


def test_the_calibration_says_which_yosys_made_it() -> None:
    assert json.loads(CALIBRATION.read_text())["yosys"]
