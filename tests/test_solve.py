"""`abbnn fold`: foldings are legal, fit, reach their goal, and are the cheapest there are."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from random_network import random_network

from abbnn.export.__main__ import main
from abbnn.export.area import FAMILIES, Area, NetworkArea, area_model, devices, total
from abbnn.export.folding import Fold, check, cycles, divisors, floors, read_folding, stages
from abbnn.export.random_network import random_structure
from abbnn.export.schedule import timing
from abbnn.export.solve import DEFAULT_FILL, Infeasible, Solver, budget, rate, solve
from abbnn.golden.network import IntegerNetwork, save_network
from abbnn.golden.structure import CIFAR_STEM, NETWORKS, STRIDED_STEM, member

PLENTY = Area(1e9, 1e9, 1e5)
DEVICES = devices()
FAMILY = "xc7"
SMALL = member("small", (2, 4), (1, 1), image=4, stem=STRIDED_STEM, classes=2)


@pytest.fixture(scope="module")
def tiny() -> IntegerNetwork:
    return random_network(NETWORKS["tiny"], 1)


@pytest.fixture(scope="module")
def solver(tiny) -> Solver:
    return Solver(tiny, FAMILY)


def verify(solver: Solver, solution, target: int | None, limit: Area) -> None:
    """Legal, within budget, at the rate it says, and of the area it says."""
    network = solver.network
    check(network, solution.folding)
    assert not limit.lacks(solution.area)
    assert timing(network, solution.folding).interval == solution.interval
    if target is not None:
        assert solution.interval <= target
    again = total([*NetworkArea(network, solver.model).folding(solution.folding).values(), solution.fixed])
    assert again == pytest.approx(solution.area)


# ---- the best there is


def every_folding(network: IntegerNetwork, weights):
    """All legal foldings, by trying all."""
    choices = []
    for stage in stages(network):
        kinds = weights if stage.binary else ("auto",)
        choices.append(
            [
                (stage.name, Fold(pe, stage.taps * lanes, kind))
                for pe in divisors(stage.outputs)
                for lanes in divisors(stage.channels)
                for kind in kinds
            ]
        )
    for chosen in itertools.product(*choices):
        folding = dict(chosen)
        try:
            check(network, folding)
        except ValueError:
            continue
        yield folding


@pytest.mark.parametrize(
    "structure",
    [
        member("one", (2,), (1,), image=4, stem=STRIDED_STEM, classes=2),
        member("conv", (2, 3), (0, 1), family="xnornet", image=4, stem=CIFAR_STEM, classes=1),
    ],
)
def test_cheapest_is_the_cheapest_of_all(structure) -> None:
    network = random_network(structure, 1)
    solver = Solver(network, FAMILY)
    fixed = solver.area.fixed
    rows = []
    for folding in every_folding(network, ("lut", "block")):
        area = total([*solver.area.folding(folding).values(), fixed])
        rows.append((timing(network, folding).interval, area))
    assert len(rows) > 100
    blocks = sorted({area.bram for _, area in rows})
    for target, bram in itertools.product(solver.intervals(), {blocks[0], blocks[len(blocks) // 2], blocks[-1]}):
        limit = PLENTY._replace(bram=bram)
        luts = [area.lut for interval, area in rows if interval <= target and area.bram <= bram]
        found = solver.cheapest(target, limit)
        assert (found is None) == (not luts)
        if found is not None:
            verify(solver, found, target, limit)
            assert found.area.lut == pytest.approx(min(luts), abs=0.1)
    assert {interval for interval, _ in rows} <= set(solver.intervals())
    fastest = solver.fastest(PLENTY)
    assert fastest is not None
    assert fastest.interval == min(interval for interval, _ in rows)


@pytest.mark.parametrize("widths", [(12,), (6, 10)])
def test_lanes_that_do_not_divide_one_another_do_not_meet(widths) -> None:
    structure = member("uneven", widths, (1,) * len(widths), family="xnornet", image=8, stem=CIFAR_STEM, classes=3)
    network = random_network(structure, 1)
    solver = Solver(network, FAMILY)
    for target in solver.intervals():
        found = solver.cheapest(target, PLENTY)
        if found is not None:
            verify(solver, found, target, PLENTY)
            for share in (0.5, 0.8):
                limit = PLENTY._replace(bram=share * found.area.bram)
                less = solver.cheapest(target, limit)
                if less is not None:
                    verify(solver, less, target, limit)


def test_equal_luts_take_the_fewest_block_rams(solver) -> None:
    """With any number of block RAMs none is wasted: one less and LUTs rise."""
    best = solver.cheapest(4096, PLENTY)
    assert best is not None
    less = solver.cheapest(4096, PLENTY._replace(bram=best.area.bram - FAMILIES[FAMILY].step))
    assert less is None or less.area.lut > best.area.lut


# ---- goals, budgets


def test_the_shortest_interval_is_reached_and_no_shorter_one(solver) -> None:
    counts = solver.intervals()
    assert counts == sorted(set(counts))
    for target in (counts[0], counts[len(counts) // 2], counts[-1]):
        found = solver.cheapest(target, PLENTY)
        assert found is not None
        verify(solver, found, target, PLENTY)
        assert found.interval == target or target != counts[0]
    assert solver.cheapest(counts[0] - 1, PLENTY) is None
    assert max(floors(solver.network).values()) == counts[0]


def test_slower_is_never_dearer_and_more_is_never_slower(solver) -> None:
    luts = []
    for target in solver.intervals():
        found = solver.cheapest(target, PLENTY)
        assert found is not None
        luts.append(found.area.lut)
    assert luts == sorted(luts, reverse=True)
    intervals = []
    for fill in (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 1.0):
        limit = budget(DEVICES["xc7a100t"], fill)
        found = solver.fastest(limit)
        intervals.append(math.inf if found is None else found.interval)
        if found is not None:
            verify(solver, found, None, limit)
    assert intervals == sorted(intervals, reverse=True)
    assert len(set(intervals)) > 2
    speeds = [solver.fastest(budget(DEVICES[name], 0.8)) for name in ("xc7a35t", "xc7a100t", "xc7vx690t")]
    assert [found.interval for found in speeds] == sorted((found.interval for found in speeds), reverse=True)


def test_stages_are_balanced(solver) -> None:
    """No binary stage is over twice as fast as the slowest: every lane costs, so the fewest that do are taken."""
    found = solver.cheapest(4096, PLENTY)
    assert found is not None
    binary = [stage for stage in stages(solver.network) if stage.binary]
    assert all(2 * cycles(stage, found.folding[stage.name]) > 4096 for stage in binary)


def test_flip_flops_are_a_limit_too(solver) -> None:
    best = solver.cheapest(65536, PLENTY)
    assert best is not None
    small = solver.cheapest(65536, PLENTY._replace(ff=0.99 * best.area.ff))
    if small is not None:
        assert small.area.ff <= 0.99 * best.area.ff
        assert small.area.lut >= best.area.lut
    assert solver.cheapest(65536, PLENTY._replace(ff=10)) is None
    assert "flip-flops" in solver.shortage(65536, PLENTY._replace(ff=10))


def test_weights_go_where_there_is_room(solver) -> None:
    def kinds(limit: Area) -> set[str]:
        found = solver.cheapest(65536, limit)
        assert found is not None
        return {fold.weights for name, fold in found.folding.items() if name.startswith("block") and "." not in name}

    few = next(b for b in range(100) if solver.cheapest(65536, PLENTY._replace(bram=b)) is not None)
    assert kinds(PLENTY) == {"block"}
    assert "lut" in kinds(PLENTY._replace(bram=few))


def test_fewer_block_rams_cost_no_more_luts_than_moving_weights_does(solver) -> None:
    """For every number of block RAMs: at least as good as the best weight memories with the lanes of the cheapest."""
    best = solver.cheapest(16384, PLENTY)
    assert best is not None
    binary = [stage.name for stage in stages(solver.network) if stage.binary]
    moved = []
    for kinds in itertools.product(("lut", "block"), repeat=len(binary)):
        weights = dict(zip(binary, kinds, strict=True))
        folding = {name: replace(fold, weights=weights.get(name, "auto")) for name, fold in best.folding.items()}
        moved.append(total([*solver.area.folding(folding).values(), solver.area.fixed]))
    for bram in sorted({area.bram for area in moved}):
        found = solver.cheapest(16384, PLENTY._replace(bram=bram))
        assert found is not None
        assert found.area.lut <= min(area.lut for area in moved if area.bram <= bram) + 0.1


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed) -> None:
    structure = random_structure(seed)
    network = random_network(structure, seed)
    if any(block.kernel < block.stride for block in structure.blocks):
        with pytest.raises(ValueError, match="abbnn_block has no 1x1 convolution of stride 2"):
            Solver(network, FAMILY)
        return
    solver = Solver(network, FAMILY)
    for name in ("xc7a35t", "xc7vx690t"):
        limit = budget(DEVICES[name], DEFAULT_FILL)
        found = solver.fastest(limit)
        if found is None:
            assert "more than" in solver.shortage(solver.intervals()[-1], limit)
        else:
            verify(solver, found, None, limit)
            slower = solver.cheapest(4 * found.interval, limit)
            assert slower is not None
            verify(solver, slower, 4 * found.interval, limit)


@pytest.mark.parametrize("name", ["small", "reactnet18", "reactnet34", "reactneta"])
def test_declared_networks(name) -> None:
    """21 and 28 Mbit of weights need the largest device; 16,384 cycles are what the full-size ones are aimed at."""
    network = random_network(NETWORKS[name], 1)
    solver = Solver(network, FAMILY)
    device = DEVICES["xc7z045" if name in ("small", "reactnet18") else "xc7vx690t"]
    limit = budget(device, DEFAULT_FILL)
    found = solver.cheapest(16384, limit)
    assert found is not None
    verify(solver, found, 16384, limit)
    fastest = solver.fastest(limit)
    assert fastest is not None
    verify(solver, fastest, found.interval, limit)


# ---- what is refused


def short(solver: Solver, device: str, **options) -> str:
    with pytest.raises(Infeasible) as caught:
        solve(solver, DEVICES[device], **({"target": None, "fill": DEFAULT_FILL, "clock_mhz": 100} | options))
    return str(caught.value)


def test_too_fast_names_the_nearest_rate(solver) -> None:
    limit = budget(DEVICES["xc7a35t"], DEFAULT_FILL)
    fastest = solver.fastest(limit)
    assert fastest is not None
    message = short(solver, "xc7a35t", target=fastest.interval - 1)
    assert f"tiny at {fastest.interval - 1} cycles a frame does not fit 80% of xc7a35t: at least " in message
    assert " LUT beside " in message
    assert "takes most" in message
    speed = f"{rate(fastest.interval, 100):,.1f} frames a second at 100 MHz"
    assert f"the fastest that does takes {fastest.interval} cycles, {speed}" in message
    assert solve(solver, DEVICES["xc7a35t"], target=fastest.interval, fill=DEFAULT_FILL, clock_mhz=1) == fastest


def test_what_no_lanes_reach_is_said(solver) -> None:
    assert "the image alone enters in 1024 cycles" in short(solver, "xc7vx690t", target=1000)
    stage = replace_stage(solver, "scores")
    assert "the scores alone leave in 20 cycles" in stage


def replace_stage(solver: Solver, name: str) -> str:
    """The message for a target that only `name`'s floor exceeds."""
    before = dict(solver._floors)
    solver._floors = {name: before[name]}
    try:
        return solver.shortage(before[name] - 1, PLENTY)
    finally:
        solver._floors = before


def test_each_resource_is_named(solver) -> None:
    need = solver.cheapest(65536, PLENTY)
    assert need is not None
    assert " block RAM, " in solver.shortage(65536, PLENTY._replace(bram=0.5))
    lut = solver.shortage(65536, PLENTY._replace(lut=100))
    least, luts = math.ceil(need.area.lut), max(need.areas, key=lambda name: need.areas[name].lut)
    assert f"at least {least:,} LUT beside {need.area.bram:g} block RAM, {least - 100:,} more than 100; {luts} " in lut


def test_networks_that_are_too_large_for_a_device(tiny) -> None:
    message = short(Solver(tiny, "ice40"), "ice40up5k")
    assert "tiny does not fit 80% of ice40up5k at any rate: " in message
    assert " LUT " in message or " block RAM, " in message
    message = short(Solver(random_network(NETWORKS["reactnet18"], 1), "ecp5"), "ecp5-45k", target=131072)
    assert "reactnet18 at 131072 cycles a frame does not fit 80% of ecp5-45k: at least " in message
    assert "block" in message.split("more than")[1]
    assert message.endswith("nor does any slower one")


# ---- the command


@pytest.fixture
def network_file(tmp_path) -> Path:
    path = tmp_path / "small.safetensors"
    save_network(random_network(SMALL, 1), path)
    return path


def run(*words) -> int:
    return main(["fold", *(str(word) for word in words)])


def test_the_file_is_what_mem_reads(network_file, tmp_path, capsys) -> None:
    out = tmp_path / "fold.json"
    assert run(network_file, "--target", "xc7z020", "--cycles", 200, "--out", out) == 0
    written = capsys.readouterr()
    assert written.err == ""
    folding = read_folding(out)
    network = random_network(SMALL, 1)
    check(network, folding)
    estimate = json.loads(out.read_text())["estimate"]
    interval = timing(network, folding).interval
    assert estimate["cycles"] == interval <= 200
    assert estimate["frames_per_second"] == pytest.approx(rate(interval, 200), abs=0.001)
    area = NetworkArea(network, area_model("xc7")).folding(folding)
    assert list(estimate["stages"]) == list(area)
    for stage in stages(network):
        fold, value = folding[stage.name], area[stage.name]
        rounded = {"lut": round(value.lut), "ff": round(value.ff), "bram": value.bram}
        assert estimate["stages"][stage.name] == rounded
        words = [stage.name, fold.pe, fold.simd, fold.weights, cycles(stage, fold), *rounded.values()]
        line = next(line for line in written.out.splitlines() if line.startswith(f"{stage.name} "))
        assert line.split() == [f"{word:g}" if isinstance(word, float) else str(word) for word in words]
    for resource in Area._fields:
        parts = [value[resource] for value in estimate["stages"].values()] + [estimate["rest"][resource]]
        assert estimate["total"][resource] == pytest.approx(sum(parts), abs=len(parts))
    for words in ("assumed 200 MHz", "estimates were off by up to", f"{interval} cycles a frame"):
        assert words in written.out
    assert main(["mem", str(network_file), "--fold", str(out), "--out", str(tmp_path / "mem")]) == 0


def test_fps_and_clock(network_file, tmp_path, capsys) -> None:
    """N frames a second at the clock are clock / N cycles, rounded down."""
    out = tmp_path / "new" / "fold.json"  # a folder that is made
    assert run(network_file, "--target", "xc7z020", "--fps", 300_000, "--clock", 50, "--out", out) == 0
    assert "at 50 MHz" in capsys.readouterr().out
    by_rate = out.read_bytes()
    assert json.loads(by_rate)["estimate"]["frames_per_second"] >= 300_000
    assert run(network_file, "--target", "xc7z020", "--cycles", 166, "--clock", 50, "--out", out) == 0
    assert out.read_bytes() == by_rate


def test_fps_between_two_intervals_takes_the_shorter(network_file, tmp_path, capsys) -> None:
    out = tmp_path / "fold.json"
    for interval in Solver(random_network(SMALL, 1), "xc7").intervals()[1:]:
        fps = 50e6 / (interval - 0.5)
        assert run(network_file, "--target", "xc7z045", "--fps", fps, "--clock", 50, "--out", out) == 0
        assert json.loads(out.read_text())["estimate"]["frames_per_second"] >= fps


def test_without_a_goal_the_fastest(network_file, tmp_path, capsys) -> None:
    out = tmp_path / "fold.json"
    intervals = []
    for fill in ("0.05", "0.1", "1"):
        assert run(network_file, "--target", "xc7z020", "--fill", fill, "--out", out) == 0
        estimate = json.loads(out.read_text())["estimate"]
        assert estimate["total"]["lut"] <= float(fill) * DEVICES["xc7z020"].lut + 1
        intervals.append(estimate["cycles"])
    assert intervals == sorted(intervals, reverse=True)


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        (["--target", "xc9"], "no device xc9; there are ecp5-25k, "),
        (["--target", "ice40up5k", "--cycles", "17"], "small at 17 cycles a frame does not fit 80% of ice40up5k: "),
        (["--target", "xc7z020", "--cycles", "1"], "the image alone enters in 16 cycles"),
        (["--target", "xc7z020", "--fps", "1e12"], "the image alone enters in 16 cycles"),
        (["--target", "xc7a35t", "--fill", "1e-6"], "does not fit 0% of xc7a35t at any rate"),
    ],
)
def test_bad_requests(network_file, tmp_path, capsys, words, culprit) -> None:
    out = tmp_path / "fold.json"
    assert run(network_file, *words, "--out", out) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.count("\n") == 1
    assert written.err.startswith("abbnn fold: ")
    assert culprit in written.err
    assert not out.exists()


@pytest.mark.parametrize(
    "words", [["--fill", "0"], ["--fill", "1.5"], ["--fps", "-1"], ["--cycles", "0"], ["--fps", "1", "--cycles", "1"]]
)
def test_bad_numbers(network_file, tmp_path, capsys, words) -> None:
    with pytest.raises(SystemExit) as caught:
        run(network_file, "--target", "xc7z020", *words, "--out", tmp_path / "fold.json")
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_help_lists_the_devices(capsys) -> None:
    with pytest.raises(SystemExit):
        run("--help")
    words = capsys.readouterr().out.replace(",", " ").split()
    assert set(DEVICES) <= set(words)


def test_nothing_is_written_where_the_network_is_bad(tmp_path, capsys) -> None:
    out = tmp_path / "fold.json"
    assert run(tmp_path / "nowhere.safetensors", "--target", "xc7z020", "--out", out) == 2
    assert "nowhere.safetensors" in capsys.readouterr().err
    assert not out.exists()
