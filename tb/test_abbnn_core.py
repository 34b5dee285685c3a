"""abbnn_core: real images through the whole pipeline, every layer compared with the golden model value by value."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from random_network import random_network

from abbnn import building, paths
from abbnn.export.folding import Fold, balance
from abbnn.export.mem import read_manifest, write
from abbnn.export.random_network import random_folding, random_images, random_structure
from abbnn.export.schedule import timing
from abbnn.golden.images import read_images, resized
from abbnn.golden.model import forward, layer_names
from abbnn.golden.network import load_network, save_network
from abbnn.golden.structure import CIFAR_STEM, FAMILIES, RESNET_STEM, STRIDED_STEM, Stem, StemForm, member
from abbnn.syn.boards import board
from abbnn.tb import sim
from abbnn.tb.bench import BUILD, default_simulator, seed, simulate
from abbnn.tb.pipeline import MEM_FOLDER, Report, compare_layer, run_core, simulate_core
from abbnn.tb.stall import stalled_rtl

MODEL = paths.MODELS / "tiny.safetensors"
IMAGES = paths.MODELS / "cifar10_test100.npz"
LINT_PARAMETERS = [{"LOADABLE": 1}]
BAD_PARAMETERS = [("abbnn_core", {"LOADABLE": 2}, "LOADABLE_must_be_0_or_1")]


def shipped(count):
    images, labels = read_images(IMAGES)
    return images[:count], labels[:count]


def run_folder(name):
    return building.run_folder(BUILD / f"core-{name}-{default_simulator()}")


def test_abbnn_core_every_layer():
    """Every value of every layer of real images: two on Icarus, where one takes a minute, ten on Verilator."""
    images, labels = shipped(2 if default_simulator() == "icarus" else 10)
    report = run_core(load_network(MODEL), images, labels, run_folder("layers"))
    assert len(report.images) == len(images)
    assert {row["layer"] for row in report.layers} >= {"stem", "block00.conv", "block02.shortcut", "pool", "scores"}
    assert all(row["mismatches"] == 0 and row["values"] > 0 for row in report.layers)


@pytest.mark.skipif(default_simulator() != "verilator", reason="100 images take minutes on Icarus; Verilator does them")
def test_abbnn_core_all_shipped_images():
    """Scores and classes of all 100 images."""
    images, labels = shipped(100)
    report = run_core(load_network(MODEL), images, labels, run_folder("all"), monitor=False)
    assert len(report.images) == 100
    assert [row["values"] for row in report.layers] == [1000, 100]


@pytest.mark.skipif(
    default_simulator() != "verilator", reason="members under pressure cover it on Icarus, in less time"
)
def test_abbnn_core_stalled():
    """Random idle cycles and back-pressure change nothing but the time."""
    images, labels = shipped(2)
    run_core(load_network(MODEL), images, labels, run_folder("stalled"), idle=0.4, back_pressure=0.6)


def test_abbnn_core_bad_frames():
    network, folding = member_case("reactnet")
    images = random_images(network.structure, 9, 3)
    simulate_core(network, images, None, run_folder("bad"), "bad_frames", folding=folding, monitor=False)


def test_abbnn_core_names_the_first_mismatch():
    """One flipped weight bit in block 3: the report is that of a golden model with the same flip, layer by layer."""
    images, labels = shipped(1)
    network = load_network(MODEL)
    block = network.blocks[3]
    weights = block.weights.copy()
    weights[0, 1, 1, 0] ^= 1
    blocks = (*network.blocks[:3], replace(block, weights=weights), *network.blocks[4:])
    good, bad = forward(network, images), forward(replace(network, blocks=blocks), images)
    rows, mismatches = [], []
    for name in layer_names(network.structure):
        shape = (len(images), *(1,) * (4 - good[name].ndim), *good[name].shape[1:])
        row, mismatch = compare_layer(name, bad[name].reshape(shape), good[name])
        rows.append(row)
        mismatches += [mismatch] if mismatch else []
    assert mismatches[0].layer == "block03.conv"
    assert mismatches[0].channel == 0
    # PE 1, SIMD 576: word 0 holds output channel 0; the centre tap (4 of 9) is never padding.
    fold = balance(network)["block03"]
    assert (fold.pe, fold.simd) == (1, 576)
    folder = run_folder("damaged")
    with pytest.raises(SystemExit):
        run_core(network, images, labels, folder, damage={"block03_weights.mem": 4 * 64})
    report = Report.load(folder)
    assert report.first_mismatch == str(mismatches[0])
    assert report.layers == rows


class Member(NamedTuple):
    """A narrow and shallow member of a family; `options` are those of the frozen network."""

    family: str
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    image: int | tuple[int, int]
    stem: StemForm
    classes: int
    cycles: int
    options: dict = {}  # noqa: RUF012 (never changed)


MIXED_TERMS = {"block00": 1, "block01": 2, "block02": 3, "block03": 4}
MEMBERS = {
    # As many blocks in every stage, as in the 18-layer networks. The heads' pools divide by 9, 3, 1, 3, 9, 4 and 9.
    "reactnet": Member(
        "reactnet", (4, 6, 8), (2, 2, 2), 12, CIFAR_STEM, 7, 800, {"stem_planes": 4, "terms_of": MIXED_TERMS}
    ),
    "reactnet_imagenet": Member(
        "reactnet", (4, 8), (1, 1), (8, 24), RESNET_STEM, 10, 400, {"stem_planes": 2, "scales": "free", "terms": 3}
    ),
    # Unequal ones, as in ReActNet-34, and values that saturate.
    "reactnet_deep": Member(
        "reactnet",
        (6, 6, 12, 12),
        (1, 2, 3, 1),
        16,
        STRIDED_STEM,
        5,
        600,
        {"value_width": 12, "fraction_bits": 6, "spread": 2.0, "stem_planes": 5, "head_planes": 5},
    ),
    "birealnet": Member(
        "birealnet",
        (4, 8),
        (2, 2),
        (24, 8),
        RESNET_STEM,
        3,
        400,
        {"stem_planes": 2, "shortcut_planes": 5, "terms_of": {**MIXED_TERMS, "stem.prelu": 3, "block03.prelu": 2}},
    ),
    # The real weights' planes take more cycles than the convolutions beside them.
    "birealnet_planes": Member(
        "birealnet", (4, 6, 8), (1, 2, 1), 12, CIFAR_STEM, 5, 800, {"stem_planes": 4, "scales": "free", "terms": 2}
    ),
    "xnornet": Member(
        "xnornet", (4, 6, 8), (1, 2, 1), 12, CIFAR_STEM, 9, 800, {"stem_planes": 4, "scales": "free", "terms": 2}
    ),
    # Few channels: the waiting residuals would keep gaps between them that halt the convolution.
    "xnornet_narrow": Member("xnornet", (2, 2, 4), (1, 2, 1), 8, CIFAR_STEM, 7, 256, {"stem_planes": 4}),
    "reactneta": Member(
        "reactneta", (4, 8, 16), (0, 1, 2), 12, STRIDED_STEM, 11, 400, {"stem_planes": 4, "terms_of": MIXED_TERMS}
    ),
}


def member_case(name):
    """The member's random network, and its folding."""
    case = MEMBERS[name]
    structure = member(
        name, case.widths, case.depths, family=case.family, classes=case.classes, image=case.image, stem=case.stem
    )
    network = random_network(structure, seed=len(case.widths), **case.options)
    return network, balance(network, case.cycles)


@pytest.mark.parametrize("name", MEMBERS)
def test_abbnn_core_members(name):
    """Every layer of a random member of each family, and the cycles that the formulas give."""
    network, folding = member_case(name)
    report = run_core(network, random_images(network.structure, 9, 5), None, run_folder(name), folding=folding)
    assert {row["layer"] for row in report.layers} == set(layer_names(network.structure))
    assert all(row["mismatches"] == 0 and row["values"] > 0 for row in report.layers)
    assert_timing(report, network, folding)


def assert_timing(report, network, folding):
    """The run shows the latency and the interval that the formulas give."""
    expected = timing(network, folding)
    left = [row["left"] for row in report.images]
    assert left[0] - report.images[0]["entered"] == expected.latency
    assert left[-1] - left[-2] == expected.interval


NARROW = member("narrow", (8,), (1,), image=(8, 12), stem=CIFAR_STEM, classes=10)
RANDOM = {
    # A block of twice as many lanes as come in: the residual must not come at half its speed.
    "narrow_residual": (NARROW, {"stem": Fold(4, 27), "block00": Fold(8, 72), "head": Fold(10, 2)}),
    # A stem that picks pixels, of which there are too many in every second row.
    "picked": (replace(NARROW, stem=Stem(3, 8, 1, 2), blocks=()), {"stem": Fold(4, 3), "head": Fold(2, 4)}),
    **{f"seed{seed}": (random_structure(seed), None) for seed in (2, 5, 36)},
}


@pytest.mark.parametrize("name", RANDOM)
def test_abbnn_core_timing_of_any_folding(name):
    """Legal foldings need not be balanced: the formulas hold for random ones as well."""
    structure, folding = RANDOM[name]
    network = random_network(structure, 1, stem_planes=3, head_planes=3)
    folding = folding or random_folding(network, 1)
    images = random_images(structure, 1, 4)
    report = run_core(network, images, None, run_folder(f"any-{name}"), folding=folding, monitor=False)
    assert_timing(report, network, folding)


@pytest.mark.parametrize("name", FAMILIES)
def test_abbnn_core_members_under_pressure(name):
    """Filled to the brim behind a closed output, then with random stalls: no residual of any kind gets stuck."""
    network, folding = member_case(name)
    expected = timing(network, folding)
    run_core(
        network,
        random_images(network.structure, 7, 14),
        None,
        run_folder(name),
        folding=folding,
        idle=0.3,
        back_pressure=0.6,
        held=expected.latency + 13 * expected.interval,
    )


WIDE = member("wide", (32,), (1,), image=(4, 6), stem=STRIDED_STEM, classes=8)
ATTACKED = {
    # As boards have them: with a load port.
    **{name: (True, 14) for name in FAMILIES},
    "wide": (True, 14),
    # More streams need more time until each has been closed while it had a beat to give.
    "reactnet_deep": (False, 28),
}


@pytest.mark.parametrize("name", ATTACKED)
def test_abbnn_core_attacked(name, tmp_path, monkeypatch):
    """Random stalls on every stream inside at once, each case with a seed of its own: members of all families, one of
    unequal depths, one of 32 lanes in and out; a load and then every result come through."""
    monkeypatch.setenv("SEED", str(seed() + list(ATTACKED).index(name)))
    if name == "wide":
        network = random_network(WIDE, 1, stem_planes=2)
        folding = {"stem": Fold(32, 27), "block00": Fold(32, 288), "head": Fold(8, 32)}
    else:
        network, folding = member_case(name)
    loadable, count = ATTACKED[name]
    images = random_images(network.structure, 8, count)
    folder = run_folder(f"attacked-{name}")
    with stalled_rtl(tmp_path):
        simulate_core(network, images, None, folder, "attacked", folding=folding, monitor=False, loadable=loadable)


def test_abbnn_core_loadable_every_layer():
    """What a board has: the folding that is balanced to the board's cycles a frame, and tables from the load port."""
    network, _ = member_case("xnornet_narrow")
    folding = balance(network, board("ulx3s-85f").cycles)
    images = random_images(network.structure, 9, 3)
    report = run_core(network, images, None, run_folder("loadable"), folding=folding, loadable=True)
    assert all(row["mismatches"] == 0 and row["values"] > 0 for row in report.layers)
    assert_timing(report, network, folding)


def test_abbnn_core_resized_images():
    """The pixel nearest to each centre, up and down."""
    image = np.arange(8).reshape(1, 2, 4, 1)
    assert resized(image, 2, 4).tolist() == image.tolist()
    assert resized(image, 4, 2)[0, :, :, 0].tolist() == [[1, 3], [1, 3], [5, 7], [5, 7]]
    assert resized(image, 1, 6)[0, :, :, 0].tolist() == [[4, 5, 5, 6, 7, 7]]


@pytest.mark.parametrize(("classes", "labels"), [(10, True), (3, False)])
def test_abbnn_core_make_sim_of_another_size(classes, labels, tmp_path, capsys):
    """`make sim` takes the shipped images for any network; they have labels for those of ten classes."""
    network = random_network(
        member(f"sim{classes}", (2,), (1,), classes=classes, image=(12, 8), stem=STRIDED_STEM), 1, stem_planes=2
    )
    save_network(network, tmp_path / "net.safetensors")
    assert sim.main([str(tmp_path / "net.safetensors"), "--count", "2"]) == 0
    said = capsys.readouterr().out
    assert "cifar10_test100.npz: resized to 12x8 by the nearest pixel" in said
    assert ("of 2 images classified as labelled" in said) == labels
    assert "every value of every layer equals the golden model" in said


def test_abbnn_core_refuses_another_foldings_files(tmp_path, capsys):
    """The same network's files for another folding have another header: the simulation stops before the first pixel."""
    network = random_network(member("small", (4,), (1,), classes=3, image=8), seed=1)
    write(network, balance(network, 640), tmp_path / "built" / MEM_FOLDER)
    write(network, balance(network, 1280), tmp_path / "run" / MEM_FOLDER)
    images = random_images(network.structure, 1, 3)
    layers = forward(network, images)
    with pytest.raises(SystemExit):
        simulate(
            "abbnn_core",
            "abbnn.tb.core_tests",
            includes=[tmp_path / "built" / MEM_FOLDER],
            defines=[f'ABBNN_MEM_DIR="{MEM_FOLDER}"'],
            case={"images": images, "layer.scores": layers["scores"], "layer.class": layers["class"], "timeout": 0},
            testcase="bad_frames",
            work_dir=tmp_path / "run",
        )
    assert "the memory files belong to another header" in capsys.readouterr().out


def test_abbnn_core_without_a_test_fails(tmp_path):
    """A test case that does not exist is a failure, not a run in which nothing failed."""
    network = random_network(member("small", (4,), (1,), classes=3, image=8), seed=1)
    with pytest.raises(SystemExit, match="no test no_such_case"):
        simulate_core(network, random_images(network.structure, 1, 1), None, tmp_path, "no_such_case")


def test_abbnn_core_refuses_damaged_files(tmp_path):
    """A memory file that its manifest does not list as it is."""
    network = load_network(MODEL)
    write(network, balance(network), tmp_path / MEM_FOLDER)
    file = tmp_path / MEM_FOLDER / "head_bias.mem"
    file.write_text(file.read_text().replace("0", "1", 1))
    with pytest.raises(ValueError, match=r"head_bias\.mem: differs from manifest\.json"):
        read_manifest(tmp_path / MEM_FOLDER)
