"""Folding: the cycles that follow from it, what `balance` chooses, and what is refused."""

import itertools
import math
from dataclasses import replace

import pytest
from random_network import random_network

from abbnn.export.folding import (
    Fold,
    Stage,
    balance,
    check,
    cycles,
    default_cycles,
    floors,
    read_folding,
    stages,
    stream_beats,
    to_json,
    window_column_steps,
)
from abbnn.golden.network import IntegerNetwork
from abbnn.golden.structure import CIFAR_STEM, NETWORKS, RESNET_STEM, STRIDED_STEM, member

SMALL = member("small", (4, 6), (2, 2), image=8, stem=STRIDED_STEM, classes=3)


@pytest.fixture(scope="module")
def small() -> IntegerNetwork:
    return random_network(SMALL, 1, stem_planes=5, head_planes=3)


FAMILIES = {
    "birealnet": member("birealnet", (4, 6), (1, 2), family="birealnet", image=24, stem=RESNET_STEM, classes=7),
    "xnornet": member("xnornet", (4, 8), (2, 1), family="xnornet", image=(8, 12), stem=CIFAR_STEM, classes=5),
    "reactneta": member("reactneta", (4, 8, 16), (0, 1, 2), family="reactneta", image=16, stem=STRIDED_STEM),
}


@pytest.fixture(scope="module", params=list(FAMILIES))
def other(request) -> IntegerNetwork:
    return random_network(FAMILIES[request.param], 2, stem_planes=4)


@pytest.fixture(scope="module")
def tiny() -> IntegerNetwork:
    return random_network(NETWORKS["tiny"], 1)


def divisors(number):
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def legal_folds(stage: Stage):
    return [Fold(pe, stage.taps * lanes) for pe in divisors(stage.outputs) for lanes in divisors(stage.channels)]


def test_stages_by_hand(small) -> None:
    assert stages(small) == [
        Stage("stem", 16, 4, 3, 9, 5, False, 64),
        Stage("block00", 16, 4, 4, 9, 1, True, 20, regroups=True),
        Stage("block01", 16, 4, 4, 9, 1, True, 20, regroups=True),
        Stage("block02", 4, 6, 4, 9, 1, True, 16),
        Stage("block02.shortcut", 4, 6, 4, 1, 1, False),
        Stage("block03", 4, 6, 6, 9, 1, True, 6, regroups=True),
        Stage("head", 1, 3, 6, 1, 3, False),
    ]


def test_stages_of_the_other_families_by_hand() -> None:
    """The stem's positions are its convolution's, not the max-pool's; a 1x1 window only takes beats in."""
    bireal = random_network(FAMILIES["birealnet"], 1, stem_planes=4, shortcut_planes=5)
    assert stages(bireal)[:4] == [
        Stage("stem", 144, 4, 3, 49, 4, False, 576),
        Stage("block00", 36, 4, 4, 9, 1, True, 42, regroups=True),
        Stage("block01", 9, 6, 4, 9, 1, True, 36),
        Stage("block01.shortcut", 9, 6, 4, 1, 5, False),
    ]
    xnor = random_network(FAMILIES["xnornet"], 1)
    assert stages(xnor)[3:5] == [
        Stage("block02", 24, 8, 4, 9, 1, True, 96),
        Stage("block02.shortcut", 24, 8, 4, 1, 1, False),
    ]
    assert stages(random_network(FAMILIES["reactneta"], 1, head_planes=6))[1:] == [
        Stage("block00", 64, 4, 4, 9, 1, True, 72, regroups=True),
        Stage("block01", 64, 8, 4, 1, 1, True, 64, regroups=True, parts=2),
        Stage("block02", 16, 8, 8, 9, 1, True, 64, regroups=True),
        Stage("block03", 16, 16, 8, 1, 1, True, 16, regroups=True, parts=2),
        Stage("block04", 16, 16, 16, 9, 1, True, 20, regroups=True),
        Stage("block05", 16, 16, 16, 1, 1, True, 16, regroups=True),
        Stage("head", 1, 10, 16, 1, 6, False),
    ]


def test_window_column_steps() -> None:
    """The columns of the map, and those that lie on the right padding of the last window."""
    assert window_column_steps(8, 3, 1) == 9
    assert window_column_steps(8, 3, 2) == 8
    assert window_column_steps(7, 3, 2) == 8
    assert window_column_steps(224, 7, 2) == 226


def test_binary_work_of_tiny(tiny) -> None:
    """11.8 M binary multiply-accumulates an image in the 3x3 convolutions, 0.31 M binary weights in all."""
    binary = [stage for stage in stages(tiny) if stage.name.startswith("block")]
    assert sum(stage.work for stage in binary if stage.binary) == 11_796_480
    assert sum(stage.outputs * stage.taps * stage.channels for stage in binary) == 305_152


def window_cycles(stage: Stage, fold: Fold) -> int:
    return stage.window_steps * stage.taps * stage.channels // fold.simd


def test_cycles_are_positions_times_folds_times_planes(small, tiny, other) -> None:
    """Or what the window takes, where the lanes are so many that it is the slower one."""
    seen = set()
    for stage in stages(small) + stages(tiny) + stages(other):
        for fold in legal_folds(stage):
            folds = math.ceil(stage.outputs / fold.pe) * math.ceil(stage.taps * stage.channels / fold.simd)
            lanes = stage.positions * folds * stage.planes
            assert cycles(stage, fold) == max(lanes, window_cycles(stage, fold))
            seen.add(lanes < window_cycles(stage, fold))
    assert seen == {False, True}
    assert cycles(Stage("block00", 256, 32, 32, 9, 1, True, 272), Fold(4, 144)) == 256 * 8 * 2
    assert cycles(Stage("block00", 256, 32, 32, 9, 1, True, 272), Fold(32, 144)) == 272 * 2


def fits(a, b):
    return a % b == 0 or b % a == 0


def residual_fits(network, name, entering, pe):
    """A residual without weights is regrouped from the stream's lanes to the outputs'; each of two is whole beats."""
    if not name.startswith("block") or name.endswith(".shortcut"):
        return True
    block = network.structure.blocks[int(name.removeprefix("block"))]
    return block.projects or (fits(entering, pe) and (block.shortcut != "repeat" or block.in_channels % pe == 0))


def brute_force(network, target):
    """The same choice from all folds: stage by stage, fewest lanes, then widest SIMD; None where there is none."""
    result = {}
    stream = entering = network.structure.stem.in_channels
    named = {stage.name: stage for stage in stages(network)}
    for stage in stages(network):
        beside = named.get(f"{stage.name}.shortcut")
        shortcut = stage.name.endswith(".shortcut")
        entering = entering if shortcut else stream
        best = None
        for fold in legal_folds(stage):
            beats = stage.positions * stage.outputs // fold.pe
            legal = (
                cycles(stage, fold) <= target
                and beats <= target
                and fits(entering, fold.simd // stage.taps)
                and residual_fits(network, stage.name, entering, fold.pe)
                and (not shortcut or fold.pe == stream)
                and (beside is None or min(cycles(beside, f) for f in legal_folds(beside) if f.pe == fold.pe) <= target)
            )
            if legal and (best is None or (fold.pe * fold.simd, -fold.simd) < (best.pe * best.simd, -best.simd)):
                best = fold
        if best is None:
            return None
        result[stage.name] = best
        stream = best.pe
    return result


@pytest.mark.parametrize("target", [80, 95, 100, 150, 256, 1000, 10**6])
def test_balance_is_legal_and_minimal(small, target) -> None:
    expected = brute_force(small, target)
    assert expected is not None
    chosen = balance(small, target)
    assert chosen == expected
    check(small, chosen)
    assert max(cycles(stage, chosen[stage.name]) for stage in stages(small)) <= target


@pytest.mark.parametrize("target", [2048, 3000, 4096, 20000])
def test_balance_of_tiny(tiny, target) -> None:
    chosen = balance(tiny, target)
    assert chosen == brute_force(tiny, target)
    check(tiny, chosen)


@pytest.mark.parametrize("factor", [1, 1.4, 3, 20])
def test_balance_of_the_other_families(other, factor) -> None:
    target = int(factor * max(floors(other).values()))
    chosen = balance(other, target)
    assert chosen == brute_force(other, target)
    check(other, chosen)


@pytest.mark.parametrize("widths", [(3, 5), (6, 10), (4, 12), (5, 7)])
def test_balance_of_odd_widths(widths) -> None:
    """Widths that share few divisors: what `balance` gives is legal, and it gives up only where nothing fits."""
    network = random_network(member("odd", widths, (2, 2), image=8, classes=7), 1)
    for target in (64, 128, 512, 3000, 10**5):
        expected = brute_force(network, target)
        if expected is None:
            with pytest.raises(ValueError, match=rf"^\S+ cannot .*{target} cycles"):
                balance(network, target)
        else:
            assert balance(network, target) == expected
            check(network, expected)


def test_default_target_is_met(tiny) -> None:
    assert default_cycles(tiny) == 4096
    chosen = balance(tiny)
    assert max(cycles(stage, chosen[stage.name]) for stage in stages(tiny)) <= 4096


def test_default_target_of_slower_networks() -> None:
    """Twice the slowest floor or more: 32 * 32 positions of 8 planes, 224 * 224 pixels, 5000 scores of two cycles."""
    for structure, floor, target in (
        (member("stride1", (4,), (1,)), {"stem": 8192}, 16384),
        (member("large", (4,), (1,), image=224, stem=STRIDED_STEM), {"pixels": 50176, "stem": 100352}, 262144),
        (member("classes", (4,), (1,), image=8, classes=5000), {"scores": 10000}, 32768),
    ):
        network = random_network(structure, 1)
        assert floor.items() <= floors(network).items()
        assert default_cycles(network) == target
        assert balance(network) == balance(network, target)


def test_balance_refuses_what_no_folding_reaches(small) -> None:
    with pytest.raises(ValueError, match="63 cycles a frame: the image alone enters in 64"):
        balance(small, 63)
    many = random_network(member("many", (4,), (1,), image=8, classes=99, stem=STRIDED_STEM), 1)
    with pytest.raises(ValueError, match="197 cycles a frame: the scores alone leave in 198"):
        balance(many, 197)
    # Every position takes one cycle a plane at least: 64 positions of 15 planes.
    slow = random_network(member("slow", (4,), (1,), image=8), 1, stem_planes=15)
    with pytest.raises(ValueError, match=r"stem cannot .*100 cycles.* it takes 960$"):
        balance(slow, 100)


@pytest.mark.parametrize("structure", [SMALL, FAMILIES["reactneta"], FAMILIES["xnornet"]], ids=lambda s: s.name)
def test_every_single_illegal_fold_is_refused(structure) -> None:
    """All (PE, SIMD) pairs in a grid, one stage changed at a time: `check` takes exactly the legal ones."""
    network = random_network(structure, 1, stem_planes=3)
    good = balance(network)
    names = [stage.name for stage in stages(network)]
    for number, stage in enumerate(stages(network)):
        shortcut = stage.name.endswith(".shortcut")
        ahead = [name for name in names[:number] if not name.endswith(".shortcut")]
        if shortcut:
            ahead = ahead[:-1]
        entering = good[ahead[-1]].pe if ahead else 3
        for pe, simd in itertools.product(range(8), range(60)):
            changed = {**good, stage.name: Fold(pe, simd)}
            fold_legal = (
                pe > 0
                and stage.outputs % pe == 0
                and simd > 0
                and simd % stage.taps == 0
                and stage.channels % (simd // stage.taps) == 0
                and fits(entering, simd // stage.taps)
                and residual_fits(network, stage.name, entering, pe)
            )
            if shortcut:
                fold_legal = fold_legal and pe == good[stage.name.removesuffix(".shortcut")].pe
            if not fold_legal:
                with pytest.raises(ValueError, match=f"^folding: {stage.name}"):
                    check(network, changed)
            elif pe == good[stage.name].pe:  # else the next stages may object, which is theirs to say
                check(network, changed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block00": None}, "folding: stage block00 is missing"),
        ({"head": None}, "folding: stage head is missing"),
        ({"block09": Fold(1, 9)}, "folding: block09 is no stage of small"),
        ({"block01": Fold(3, 9)}, "folding: block01: PE 3 does not divide 4 outputs"),
        ({"block01": Fold(0, 9)}, "folding: block01: PE 0 does not divide 4 outputs"),
        ({"block01": Fold(-1, 9)}, "folding: block01: PE -1 does not divide 4 outputs"),
        ({"block01": Fold(1, 12)}, "folding: block01: SIMD 12 is not 9 times a divisor of 4 channels"),
        ({"block01": Fold(1, 27)}, "folding: block01: SIMD 27 is not 9 times a divisor of 4 channels"),
        ({"stem": Fold(1, 0)}, "folding: stem: SIMD 0 is not 9 times a divisor of 3 channels"),
        ({"block00": Fold(1, 9, "distributed")}, "folding: block00: its weights cannot go to 'distributed'"),  # type: ignore[arg-type]
        ({"stem": Fold(1, 9, "block")}, "folding: stem: its weights cannot go to 'block'"),
        ({"head": Fold(1, 4)}, "folding: head: SIMD 4 is not 1 times a divisor of 6 channels"),
        ({"block02.shortcut": Fold(6, 1)}, "folding: block02.shortcut: PE 6 differs from its block's"),
        ({"block02": Fold(2, 9), "block02.shortcut": Fold(2, 1), "block03": Fold(3, 27)}, "folding: block03: 2 stream"),
    ],
)
def test_bad_foldings(small, changes, message) -> None:
    folding = {name: fold for name, fold in {**balance(small, 256), **changes}.items() if fold is not None}
    with pytest.raises(ValueError, match=f"^{message}[^\n]*$"):
        check(small, folding)


def test_a_repeated_residual_is_whole_beats() -> None:
    """A beat of all outputs would hold both halves, which the residual gives one after the other."""
    network = random_network(FAMILIES["reactneta"], 1)
    folding = balance(network)
    with pytest.raises(ValueError, match=r"^folding: block01: PE 8 does not divide half of the 8 outputs$"):
        check(network, {**folding, "block01": Fold(8, 1)})


def test_json_round_trip(small, tmp_path) -> None:
    folding = balance(small)
    folding |= {"block00": replace(folding["block00"], weights="block")}
    path = tmp_path / "fold.json"
    path.write_text(to_json(folding))
    assert read_folding(path) == folding
    assert to_json(folding).count("weights") == 1
    assert '"block02.shortcut": {\n      "pe": ' in to_json(folding)
    path.write_text('{"stages": {"stem": {"pe": 16, "simd": 27}}}')  # the example of docs/formats.md
    assert read_folding(path) == {"stem": Fold(16, 27)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b'{"stages": 3}',
        b'{"stages": []}',
        b'{"stages": {"stem": 3}}',
        b'{"stages": {"stem": {"pe": 1}}}',
        b'{"stages": {"stem": {"pe": 1, "simd": 4.5}}}',
        b'{"stages": {"stem": {"pe": "1", "simd": 9}}}',
        b'{"stages": {"stem": {"pe": true, "simd": 9}}}',
        b'{"stages": {"stem": {"pe": null, "simd": 9}}}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"stages": {"stem": {"pe": 1, "simd": 9}, "stem": {"pe": 2, "simd": 9}}}',
        b'{"stages": {"stem": {"pe": 1, "simd": 9, "weights": ["lut"]}}}',
        b'{"stages": {"stem": {"pe": 1, "simd": 9}}}' + b" " * (1 << 24),
    ],
    ids=lambda content: str(content[:70]),
)
def test_bad_folding_files(tmp_path, content) -> None:
    path = tmp_path / "fold.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"fold\.json: not a folding file[^\n]*$"):
        read_folding(path)


def test_missing_folding_file(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"nothing\.json: No such file"):
        read_folding(tmp_path / "nothing.json")
    with pytest.raises(ValueError, match="Is a directory"):
        read_folding(tmp_path)


def test_stream_beats(small) -> None:
    folding = {**balance(small), "stem": Fold(2, 9), "block00": Fold(4, 9), "block02": Fold(3, 9)}
    beats = stream_beats(small.structure, folding)
    assert list(beats) == ["stem", "block00", "block01", "block02", "block03"]
    assert (beats["stem"], beats["block00"], beats["block02"]) == (16 * 2, 16, 4 * 2)


def test_planes_make_a_stage_longer(small) -> None:
    stem, *_ = stages(small)
    deeper = stages(replace(small, stem=replace(small.stem, planes=10)))[0]
    assert cycles(deeper, Fold(4, 27)) == 2 * cycles(stem, Fold(4, 27)) == 160
