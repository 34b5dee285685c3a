"""The folder of memory files: it holds the whole network, and nothing damaged or foreign passes for it."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from random_network import random_images, random_network

from abbnn import verilog
from abbnn.export.config import pipeline_config
from abbnn.export.folding import Fold, balance, cycles, stages
from abbnn.export.layout import read_mem, unpack
from abbnn.export.mem import FORMAT, HEADER, MANIFEST, layout_id, read_manifest, render, write
from abbnn.export.tables import (
    fan_in_order,
    read_compare_table,
    read_qprelu_table,
    read_scale_table,
    read_sum_array_weights,
    read_xnor_array_weights,
    xnor_array_tables,
)
from abbnn.golden.model import forward
from abbnn.golden.network import Activation, BlockNumbers, IntegerNetwork, Scale, SumLayer, network_hash
from abbnn.golden.ranges import Ranges, analyse
from abbnn.golden.structure import (
    CIFAR_STEM,
    DECLARATIONS,
    RESNET_STEM,
    STRIDED_STEM,
    Block,
    Shortcut,
    Stem,
    StemForm,
    Structure,
    declared_network,
    member,
)
from abbnn.golden.structure import Activation as ActivationKind

CASES = {
    "pow2": (member("pow2", (4, 6), (2, 2), image=8, stem=STRIDED_STEM, classes=3), {}),
    "free": (
        member("free", (4, 8, 6), (1, 2, 1), image=16, stem=StemForm(7, 2)),
        {"scales": "free", "stem_planes": 5, "head_planes": 3, "value_width": 12, "fraction_bits": 5, "spread": 2.0},
    ),
    "shortcut_first": (
        Structure(
            "shortcut_first",
            "reactnet",
            4,
            12,
            Stem(3, 4, 1, 1),
            (
                Block(4, 4, 3, 2, 4, 12, "pool-conv", "qprelu", biased=True, variance_steps=0),
                Block(4, 4, 3, 1, 2, 6, "identity", "qprelu", biased=True, variance_steps=0),
            ),
            2,
        ),
        {"terms": 2},
    ),
    "birealnet": (
        member("birealnet", (4, 6), (2, 1), family="birealnet", image=16, stem=RESNET_STEM, classes=3),
        {"terms_of": {"stem.prelu": 4, "block00": 2, "block01": 3, "block02.prelu": 1}, "stem_planes": 3},
    ),
    "xnornet": (
        member("xnornet", (4, 8), (1, 2), family="xnornet", image=8, stem=CIFAR_STEM, classes=9),
        {"terms_of": {"block01.shortcut": 4}, "stem_planes": 4},
    ),
    "reactneta": (
        member("reactneta", (4, 8, 16), (0, 1, 2), family="reactneta", image=16, stem=STRIDED_STEM, classes=5),
        {"scales": "free", "terms": 2, "stem_planes": 4},
    ),
}


@pytest.fixture(scope="module", params=list(CASES))
def network(request) -> IntegerNetwork:
    structure, options = CASES[request.param]
    return random_network(structure, 7, **options)


@pytest.fixture(scope="module")
def small() -> IntegerNetwork:
    structure, options = CASES["pow2"]
    return random_network(structure, 7, **options)


@pytest.fixture
def folder(small, tmp_path) -> Path:
    write(small, balance(small), tmp_path / "mem")
    return tmp_path / "mem"


def parsed(header: str) -> dict:
    """name -> integer, or the list of a vector's 32-bit fields with field 0 first."""
    values = {}
    for line in header.splitlines():
        if line.startswith("//"):
            continue
        match = re.fullmatch(r"localparam (integer|\[(\d+):0\]) (\w+) = (.+);", line)
        assert match, line
        kind, top, name, text = match.groups()
        assert name not in values
        if kind == "integer":
            values[name] = int(text)
        elif text.startswith("{"):
            fields = [re.fullmatch(r"32'd(\d+)", part) for part in text[1:-1].split(", ")]
            values[name] = [int(field.group(1)) for field in reversed(fields)]
            assert int(top) + 1 == 32 * len(fields)
        else:
            bits, digits = re.fullmatch(r"(\d+)'h([0-9a-f]+)", text).groups()
            assert int(bits) == int(top) + 1 == 4 * len(digits)
            values[name] = int(digits, 16)
    return values


def wrapped(values, width):
    """Into the signed range: sums fit it, but an addend may stand in it modulo 2**width."""
    half = 1 << (width - 1)
    return ((np.asarray(values) + half) & ((1 << width) - 1)) - half


class Folder:
    """A network out of nothing but the header, the manifest's sizes and the words."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes = {m["file"]: (m["depth"], m["width"]) for m in read_manifest(path)["memories"]}
        self.header = parsed((path / HEADER).read_text())

    def words(self, name: str) -> list[int]:
        return read_mem(self.path / name, *self.sizes[name])

    def scale(self, name: str, lanes: int, terms: int, shift_width: int, guard: int) -> Scale:
        return Scale(*read_scale_table(self.words(name), lanes, terms, shift_width), guard)

    def sum_layer(self, name: str, shape, planes: int, pe: int, simd: int, width: int) -> SumLayer:
        weights = read_sum_array_weights(self.words(f"{name}_weights.mem"), shape, planes, pe, simd)
        words = unpack(self.words(f"{name}_bias.mem"), pe, width, signed=True).ravel()
        counted = [lane for lane in range(simd) if lane % 2 == 1 or lane == simd - 1]
        short = (((1 << planes) - 1 - fan_in_order(weights, simd)[:, :, counted]) // 2).sum(axis=(1, 2))
        return SumLayer(weights, wrapped(words - short, width), planes)

    def block(self, index: int, like: Block) -> tuple[Block, BlockNumbers]:
        """`like` gives what the hardware need not know: which thresholds were learned, and the variance's history."""
        h = self.header
        p = {key.removeprefix("BLOCK_"): v[index] for key, v in h.items() if key.startswith("BLOCK_")}
        pe, s_lanes, name = h["STREAM_LANES"][index + 1], h["STREAM_LANES"][index], f"block{index:02d}"
        cin, cout, kernel = p["IN_CHANNELS"], p["OUT_CHANNELS"], p["KERNEL"]
        geometry = replace(
            like,
            in_channels=cin,
            out_channels=cout,
            kernel=kernel,
            stride=p["STRIDE"],
            height=p["HEIGHT"],
            width=p["WIDTH"],
            shortcut=get_args(Shortcut)[p["SHORTCUT"]],
            activation=get_args(ActivationKind)[p["ACTIVATION"]],
        )
        weights = read_xnor_array_weights(self.words(f"{name}_weights.mem"), (cout, kernel, kernel, cin), pe, p["SIMD"])
        corrections = xnor_array_tables(
            weights.astype(np.uint8), p["SUM_WIDTH"], pe, p["SIMD"], p["HEIGHT"], p["WIDTH"], p["STRIDE"]
        )[1]
        assert self.words(f"{name}_correction.mem") == corrections
        parts = {}
        if geometry.activation == "qprelu":
            fields = read_qprelu_table(
                self.words(f"{name}_activation.mem"), pe, p["FIELD_WIDTH"], p["LEFT_MAX"], p["ACTIVATION_SHIFT_WIDTH"]
            )
            parts["activation"] = Activation(*fields)
        elif geometry.activation == "prelu":
            parts["prelu"] = self.scale(
                f"{name}_prelu.mem", pe, p["PRELU_TERMS"], p["PRELU_SHIFT_WIDTH"], p["PRELU_GUARD"]
            )
        if geometry.projects:
            parts["shortcut"] = self.sum_layer(
                f"{name}_shortcut", (cout, 1, 1, cin), 1, pe, p["SHORTCUT_SIMD"], p["SHORTCUT_SUM_WIDTH"]
            )
            parts["shortcut_scale"] = self.scale(
                f"{name}_shortcut_scale.mem",
                pe,
                p["SHORTCUT_SCALE_TERMS"],
                p["SHORTCUT_SCALE_SHIFT_WIDTH"],
                p["SHORTCUT_SCALE_GUARD"],
            )
        return geometry, BlockNumbers(
            read_compare_table(self.words(f"{name}_threshold.mem"), s_lanes, h["VALUE_WIDTH"]),
            weights.astype(np.uint8),
            self.scale(f"{name}_scale.mem", pe, p["SCALE_TERMS"], p["SCALE_SHIFT_WIDTH"], p["SCALE_GUARD"]),
            **parts,
        )

    def network(self, like: IntegerNetwork) -> IntegerNetwork:
        h = self.header
        assert h["BLOCKS"] == len(like.blocks)
        blocks = [self.block(index, block) for index, block in enumerate(like.structure.blocks)]
        stem = Stem(
            3,
            h["STEM_OUT_CHANNELS"],
            h["STEM_KERNEL"],
            h["STEM_STRIDE"],
            [False, True][h["STEM_PRELU"]],
            [False, True][h["STEM_MAX_POOL"]],
        )
        structure = replace(
            like.structure,
            height=h["IMAGE_HEIGHT"],
            width=h["IMAGE_WIDTH"],
            stem=stem,
            blocks=tuple(geometry for geometry, _ in blocks),
            classes=h["HEAD_CLASSES"],
        )
        stem_prelu = None
        if stem.prelu:
            stem_prelu = self.scale(
                "stem_prelu.mem",
                h["STEM_PE"],
                h["STEM_PRELU_TERMS"],
                h["STEM_PRELU_SHIFT_WIDTH"],
                h["STEM_PRELU_GUARD"],
            )
        head = (h["HEAD_CLASSES"], 1, 1, h["HEAD_CHANNELS"])
        return replace(
            like,
            structure=structure,
            value_width=h["VALUE_WIDTH"],
            center=np.array([h["STEM_CENTER"] >> shift & 255 for shift in (0, 8, 16)]),
            stem=self.sum_layer(
                "stem",
                (stem.out_channels, stem.kernel, stem.kernel, 3),
                h["STEM_PLANES"],
                h["STEM_PE"],
                h["STEM_SIMD"],
                h["STEM_SUM_WIDTH"],
            ),
            stem_scale=self.scale(
                "stem_scale.mem",
                h["STEM_PE"],
                h["STEM_SCALE_TERMS"],
                h["STEM_SCALE_SHIFT_WIDTH"],
                h["STEM_SCALE_GUARD"],
            ),
            stem_prelu=stem_prelu,
            blocks=tuple(numbers for _, numbers in blocks),
            head=self.sum_layer("head", head, h["HEAD_PLANES"], h["HEAD_PE"], h["HEAD_SIMD"], h["HEAD_SCORE_WIDTH"]),
            pool_shift=h["HEAD_POOL_SHIFT"],
        )


def assert_same_scale(left: Scale | None, right: Scale | None) -> None:
    assert (left is None) == (right is None)
    if left is None or right is None:
        return
    assert left.guard == right.guard
    np.testing.assert_array_equal(left.sign, right.sign)
    np.testing.assert_array_equal(left.shift, np.where(right.sign != 0, right.shift, 0))


def assert_same_sums(left: SumLayer, right: SumLayer, width: int) -> None:
    assert left.planes == right.planes
    np.testing.assert_array_equal(left.weights, right.weights)
    np.testing.assert_array_equal(left.bias, wrapped(right.bias, width))


@pytest.mark.parametrize("target", [None, 150, 10**6])
def test_the_files_hold_the_whole_network(network, tmp_path, target) -> None:
    slowest = max(stage.positions * stage.planes for stage in stages(network))
    pixels = network.structure.height * network.structure.width
    folding = balance(network, 4096 if target is None else max(target, slowest, pixels))
    write(network, folding, tmp_path / "mem")
    ranges = analyse(network)
    back = Folder(tmp_path / "mem").network(network)
    assert back.structure == network.structure
    assert (back.value_width, back.pool_shift) == (network.value_width, network.pool_shift)
    np.testing.assert_array_equal(back.center, network.center)
    assert_same_sums(back.stem, network.stem, ranges.stem.sum.bits)
    assert_same_scale(back.stem_scale, network.stem_scale)
    assert_same_scale(back.stem_prelu, network.stem_prelu)
    assert_same_sums(back.head, network.head, ranges.scores.bits)
    for actual, expected, bounds in zip(back.blocks, network.blocks, ranges.blocks, strict=True):
        np.testing.assert_array_equal(actual.threshold, expected.threshold)
        np.testing.assert_array_equal(actual.weights, expected.weights)
        assert_same_scale(actual.scale, expected.scale)
        assert (actual.activation is None) == (expected.activation is None)
        if expected.activation is not None:
            for field in ("threshold", "add_positive", "add_before", "exponent", "add_after"):
                np.testing.assert_array_equal(getattr(actual.activation, field), getattr(expected.activation, field))
        assert_same_scale(actual.prelu, expected.prelu)
        assert (actual.shortcut is None) == (expected.shortcut is None)
        if expected.shortcut is not None:
            assert_same_sums(actual.shortcut, expected.shortcut, bounds.shortcut.sum.bits)
        assert_same_scale(actual.shortcut_scale, expected.shortcut_scale)
    images = random_images(network.structure, 1, 4)
    np.testing.assert_array_equal(forward(back, images)["stem"], forward(network, images)["stem"])
    np.testing.assert_array_equal(
        wrapped(forward(back, images)["scores"], ranges.scores.bits), forward(network, images)["scores"]
    )


def test_header_values(small, folder) -> None:
    """Every number of the header worked out from the network and the folding, none taken from the exporter."""
    folding, ranges = balance(small), analyse(small)
    h = parsed((folder / HEADER).read_text())
    lanes = [folding[name].pe for name in ("stem", "block00", "block01", "block02", "block03")]
    assert h.pop("NETWORK_ID") == int(network_hash(small)[:16], 16)
    assert h.pop("STEM_CENTER") == 124 + (116 << 8) + (104 << 16)
    blocks, bounds = small.blocks, ranges.blocks
    short, short_bounds = small.blocks[2], ranges.blocks[2].shortcut
    left = [max(0, int(block.activation.exponent.max())) for block in blocks]
    steps = [up - int(block.activation.exponent.min()) for up, block in zip(left, blocks, strict=True)]
    expected = {
        "VALUE_WIDTH": 16,
        "IMAGE_HEIGHT": 8,
        "IMAGE_WIDTH": 8,
        "STEM_OUT_CHANNELS": 4,
        "STEM_KERNEL": 3,
        "STEM_STRIDE": 2,
        "STEM_PE": folding["stem"].pe,
        "STEM_SIMD": folding["stem"].simd,
        "STEM_PLANES": 8,
        "STEM_SUM_WIDTH": ranges.stem.sum.bits,
        "STEM_SCALE_TERMS": 1,
        "STEM_SCALE_SHIFT_WIDTH": max(1, int(small.stem_scale.shift.max()).bit_length()),
        "STEM_SCALE_GUARD": small.stem_scale.guard,
        "STEM_SCALE_SUM_WIDTH": ranges.stem.products_bits,
        "STEM_PRELU": 0,
        "STEM_MAX_POOL": 0,
        "BLOCKS": 4,
        "STREAM_BITS": 16 * sum(lanes),
        "STREAM_LANES": lanes,
        "STREAM_OFFSET": [16 * sum(lanes[:index]) for index in range(5)],
        "BLOCK_IN_CHANNELS": [4, 4, 4, 6],
        "BLOCK_OUT_CHANNELS": [4, 4, 6, 6],
        "BLOCK_HEIGHT": [4, 4, 4, 2],
        "BLOCK_WIDTH": [4, 4, 4, 2],
        "BLOCK_KERNEL": [3] * 4,
        "BLOCK_STRIDE": [1, 1, 2, 1],
        "BLOCK_SHORTCUT": [0, 0, 3, 0],
        "BLOCK_ACTIVATION": [1] * 4,
        "BLOCK_SIMD": [folding[f"block0{index}"].simd for index in range(4)],
        "BLOCK_SUM_WIDTH": [7, 7, 7, 7],  # -36..36 and -54..54
        "BLOCK_SCALE_TERMS": [1] * 4,
        "BLOCK_SCALE_SHIFT_WIDTH": [max(1, int(block.scale.shift.max()).bit_length()) for block in blocks],
        "BLOCK_SCALE_GUARD": [block.scale.guard for block in blocks],
        "BLOCK_SCALE_SUM_WIDTH": [bound.conv.products_bits for bound in bounds],
        "BLOCK_SCALED_WIDTH": [bound.conv.scaled.bits for bound in bounds],
        "BLOCK_SHORTCUT_SIMD": [1, 1, folding["block02.shortcut"].simd, 1],
        "BLOCK_SHORTCUT_SUM_WIDTH": [1, 1, short_bounds.sum.bits, 1],
        "BLOCK_SHORTCUT_SCALE_TERMS": [1] * 4,
        "BLOCK_SHORTCUT_SCALE_SHIFT_WIDTH": [1, 1, max(1, int(short.shortcut_scale.shift.max()).bit_length()), 1],
        "BLOCK_SHORTCUT_SCALE_GUARD": [1, 1, short.shortcut_scale.guard, 1],
        "BLOCK_SHORTCUT_SCALE_SUM_WIDTH": [1, 1, short_bounds.products_bits, 1],
        "BLOCK_SHORTCUT_SCALED_WIDTH": [1, 1, short_bounds.scaled.bits, 1],
        "BLOCK_FIELD_WIDTH": [bound.field_bits for bound in bounds],
        "BLOCK_WEIGHT_MEMORY": [0] * 4,
        "BLOCK_LEFT_MAX": left,
        "BLOCK_ACTIVATION_SHIFT_WIDTH": [max(1, step.bit_length()) for step in steps],
        "HEAD_CHANNELS": 6,
        "HEAD_POSITIONS": 4,
        "HEAD_CLASSES": 3,
        "HEAD_S_LANES": lanes[-1],
        "HEAD_PE": folding["head"].pe,
        "HEAD_SIMD": folding["head"].simd,
        "HEAD_PLANES": 8,
        "HEAD_POOL_SHIFT": 2,
        "HEAD_SCORE_WIDTH": ranges.scores.bits,
        "LAYOUT_ID": layout_id(pipeline_config(small, ranges, folding)),
    }
    # In the order of the manifest; 16 numbers a stage, each stage's first table has the lowest of them.
    memories = json.loads((folder / MANIFEST).read_text())["memories"]
    assert h.pop("LOAD_TABLES") == len(memories)
    headers = h.pop("LOAD_HEADERS")
    assert headers[1::2] == [memory["depth"] for memory in memories]
    assert [word >> 16 for word in headers[::2]] == [-(-memory["width"] // 32) - 1 for memory in memories]
    stages = ["stem", "block00", "block01", "block02", "block03", "head"]
    numbers = [word & 0xFFFF for word in headers[::2]]
    assert numbers == sorted(set(numbers))
    assert [number // 16 for number in numbers] == [stages.index(memory["stage"]) for memory in memories]
    assert numbers[:3] == [0, 1, 2]
    # What a stage lacks has fillers, 1 everywhere.
    for key in ("TERMS", "SHIFT_WIDTH", "GUARD", "SUM_WIDTH"):
        assert h.pop(f"STEM_PRELU_{key}") == 1
        assert h.pop(f"BLOCK_PRELU_{key}") == [1] * 4
    assert h == expected


def scale_parameters(scale: Scale, products_bits: int) -> list[int]:
    return [scale.terms, max(1, int(scale.shift.max()).bit_length()), scale.guard, products_bits]


def test_header_values_of_the_other_families(tmp_path) -> None:
    """What the header has that the network of `test_header_values` lacks."""
    headers: dict[str, dict] = {}
    ranges: dict[str, Ranges] = {}
    networks: dict[str, IntegerNetwork] = {}
    for name in ("birealnet", "xnornet", "reactneta"):
        structure, options = CASES[name]
        networks[name] = random_network(structure, 7, **options)
        ranges[name] = analyse(networks[name])
        write(networks[name], balance(networks[name]), tmp_path / name)
        headers[name] = parsed((tmp_path / name / HEADER).read_text())
    keys = ("TERMS", "SHIFT_WIDTH", "GUARD", "SUM_WIDTH")

    h, network = headers["birealnet"], networks["birealnet"]
    assert (h["STEM_KERNEL"], h["STEM_STRIDE"], h["STEM_PRELU"], h["STEM_MAX_POOL"]) == (7, 2, 1, 1)
    assert [h[f"STEM_PRELU_{key}"] for key in keys] == scale_parameters(
        network.stem_prelu, ranges["birealnet"].stem_prelu.products_bits
    )
    assert h["STEM_PRELU_SUM_WIDTH"] >= h["VALUE_WIDTH"] + h["STEM_PRELU_GUARD"]
    assert (h["BLOCK_SHORTCUT"], h["BLOCK_ACTIVATION"], h["BLOCK_HEIGHT"]) == ([0, 0, 3], [0, 0, 2], [4, 4, 4])
    assert [h[f"BLOCK_PRELU_{key}"][2] for key in keys] == scale_parameters(
        network.blocks[2].prelu, ranges["birealnet"].blocks[2].prelu.products_bits
    )
    assert (h["BLOCK_SCALE_TERMS"], h["BLOCK_FIELD_WIDTH"], h["STEM_PRELU_TERMS"]) == ([2, 3, 1], [1] * 3, 4)

    h = headers["xnornet"]
    assert (h["STEM_PRELU"], h["STEM_MAX_POOL"], h["HEAD_CLASSES"]) == (1, 0, 9)
    assert (h["BLOCK_SHORTCUT"], h["BLOCK_ACTIVATION"]) == ([0, 4, 0], [0, 0, 2])
    assert h["BLOCK_SHORTCUT_SCALE_TERMS"] == [1, 4, 1]
    assert h["BLOCK_SHORTCUT_SUM_WIDTH"][1] == ranges["xnornet"].blocks[1].shortcut.sum.bits

    h = headers["reactneta"]
    assert (h["STEM_PRELU"], h["STEM_MAX_POOL"]) == (0, 0)
    assert h["BLOCK_KERNEL"] == [3, 1] * 3
    assert h["BLOCK_STRIDE"] == [1, 1, 2, 1, 1, 1]
    assert h["BLOCK_SHORTCUT"] == [0, 1, 2, 1, 0, 0]
    assert h["BLOCK_ACTIVATION"] == [1] * 6
    assert h["BLOCK_SUM_WIDTH"] == [7, 4, 8, 5, 9, 6]  # -36..36, -4..4, -72..72, -8..8, -144..144, -16..16


def test_no_hardware_for_a_strided_1x1_convolution() -> None:
    block = Block(4, 4, 1, 2, 8, 8, "pool", "qprelu", biased=True, variance_steps=0)
    network = random_network(Structure("strided", "reactneta", 8, 8, Stem(3, 4, 3, 1), (block,), 2), 1)
    with pytest.raises(ValueError, match=r"^block00: abbnn_block has no 1x1 convolution of stride 2$"):
        render(network, balance(network))


@pytest.mark.parametrize(
    ("classes", "image", "tool"),
    [pytest.param(100, 32, verilog.icarus, id="32"), pytest.param(1000, 224, verilog.verilator, id="224")],
)
@pytest.mark.parametrize("name", [name for name in DECLARATIONS if name not in ("tiny", "small")])
def test_every_network_elaborates(name, classes, image, tool, tmp_path) -> None:
    """The paper's networks with all blocks and an eighth of the channels: the tool has nothing to say about them."""
    full = declared_network(name, classes=classes, image=image)
    structure = member(
        name,
        tuple(width // 8 for width in DECLARATIONS[name].widths),
        DECLARATIONS[name].depths,
        family=full.family,
        classes=classes,
        image=image,
        stem=StemForm(full.stem.kernel, full.stem.stride, full.stem.max_pool),
    )
    network = random_network(structure, 1)
    write(network, balance(network), tmp_path)
    h = parsed((tmp_path / HEADER).read_text())
    assert (h["IMAGE_HEIGHT"], h["IMAGE_WIDTH"], h["HEAD_CLASSES"]) == (image, image, classes)
    assert h["BLOCKS"] == len(full.blocks)
    height, width, channels = full.head_input
    assert (h["HEAD_POSITIONS"], h["HEAD_CHANNELS"]) == (height * width, channels // 8)
    assert verilog.run(tool("abbnn_core", {}, includes=[tmp_path], defines=[f'ABBNN_MEM_DIR="{tmp_path}"'])) == (0, "")


def test_manifest_says_what_is_there(small, folder) -> None:
    manifest = read_manifest(folder)
    names = [memory["file"] for memory in manifest["memories"]]
    assert sorted([*names, HEADER, MANIFEST]) == sorted(entry.name for entry in folder.iterdir())
    assert len(set(names)) == len(names) == 2 + 3 + 4 * 5 + 3
    assert manifest["network"] == "pow2"
    assert manifest["network_sha256"] == network_hash(small)
    assert manifest["header"] == {
        "file": HEADER,
        "sha256": hashlib.sha256((folder / HEADER).read_bytes()).hexdigest(),
    }
    folding = balance(small)
    assert manifest["folding"] == {
        stage.name: {
            "pe": folding[stage.name].pe,
            "simd": folding[stage.name].simd,
            "cycles": cycles(stage, folding[stage.name]),
        }
        for stage in stages(small)
    }
    for memory in manifest["memories"]:
        data = (folder / memory["file"]).read_bytes()
        assert memory["sha256"] == hashlib.sha256(data).hexdigest()
        lines = data.decode().split("\n")
        assert lines.pop() == ""
        assert len(lines) == memory["depth"] > 0
        assert {len(line) for line in lines} == {-(-memory["width"] // 4)}
        assert memory["stage"] == memory["file"].split("_")[0]
        assert memory["meaning"]
        assert memory["word"].startswith("lowest bits first: ")


def test_equal_networks_give_equal_bytes(small, tmp_path) -> None:
    folding = balance(small)
    assert render(small, folding) == render(small, dict(reversed(folding.items())))
    for out in ("a", "b", "a"):
        write(small, folding, tmp_path / out)
    contents = [{entry.name: entry.read_bytes() for entry in (tmp_path / out).iterdir()} for out in ("a", "b")]
    assert contents[0] == contents[1]
    assert {name: text.encode() for name, text in render(small, folding).items()} == contents[0]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "b"]


def test_an_older_export_is_replaced_whole(small, folder) -> None:
    old = {entry.name for entry in folder.iterdir()}
    structure, options = CASES["shortcut_first"]
    other = random_network(structure, 1, **options)
    (folder / "stem_bias.mem").unlink()  # even a damaged one
    write(other, balance(other), folder)
    new = {entry.name for entry in folder.iterdir()}
    assert "block03_weights.mem" in old - new
    assert read_manifest(folder)["network"] == "shortcut_first"
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name]


def snapshot(path: Path) -> dict:
    return {str(entry.relative_to(path)): entry.read_bytes() if entry.is_file() else None for entry in path.rglob("*")}


def test_what_is_no_export_is_left_alone(small, tmp_path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("mine")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / MANIFEST).write_text('{"name": "My page", "icons": []}')
    (tmp_path / "web" / "index.html").write_text("mine")
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / MANIFEST).write_bytes(b"\xff\xfe")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / MANIFEST).write_text('{"format": "other-memory-files", "version": 1}')
    (tmp_path / "other" / "dump.mem").write_text("mine")
    write(small, balance(small), tmp_path / "mixed")
    (tmp_path / "mixed" / "notes.txt").write_text("mine")
    before = snapshot(tmp_path)
    for name in ("file", "folder", "web", "noise", "other", "mixed"):
        with pytest.raises(ValueError, match=rf"{name}: exists and is no earlier export"):
            write(small, balance(small), tmp_path / name)
    assert snapshot(tmp_path) == before


def test_an_empty_folder_is_taken(small, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    write(small, balance(small), tmp_path / "empty")
    write(small, balance(small), tmp_path / "deep" / "er")
    read_manifest(tmp_path / "empty")
    read_manifest(tmp_path / "deep" / "er")


def test_a_bad_folding_touches_nothing(small, folder) -> None:
    before = snapshot(folder.parent)
    with pytest.raises(ValueError, match="folding: block00: PE 3"):
        write(small, {**balance(small), "block00": Fold(3, 9)}, folder)
    assert snapshot(folder.parent) == before


def refused(folder: Path, culprit: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        read_manifest(folder)
    assert culprit in str(caught.value)
    assert str(folder) in str(caught.value)


def test_every_file_is_checked(folder) -> None:
    for path in sorted(folder.iterdir()):
        if path.name == MANIFEST:
            continue
        data = path.read_bytes()
        middle = len(data) // 2
        flipped = b"0" if data[middle : middle + 1] != b"0" else b"1"
        for damaged in (data[:middle] + flipped + data[middle + 1 :], data[:-1], data[:middle], b"", data + b"\n"):
            path.write_bytes(damaged)
            refused(folder, f"{path.name}: differs from {MANIFEST}")
        path.unlink()
        refused(folder, f"{path.name}: missing")
        path.mkdir()
        refused(folder, f"{path.name}: missing")
        path.rmdir()
        path.write_bytes(data)
    read_manifest(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"format": "abbnn-memory-files"}'],
)
def test_a_manifest_that_is_none(folder, content) -> None:
    (folder / MANIFEST).write_bytes(content)
    refused(folder, f"{MANIFEST}: not a manifest")


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(format="other"),
        lambda m: m.update(version=2),
        lambda m: m.pop("header"),
        lambda m: m["header"].pop("sha256"),
        lambda m: m.update(memories=3),
        lambda m: m["memories"][2].pop("depth"),
        lambda m: m["memories"][2].pop("width"),
        lambda m: m["memories"][2].pop("file"),
        lambda m: m["memories"][2].update(depth="4"),
        lambda m: m["memories"][2].update(file=7),
    ],
)
def test_a_manifest_of_something_else(folder, edit) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["format"] == FORMAT
    edit(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    refused(folder, f"{MANIFEST}: not a manifest")


def test_a_manifest_with_wrong_sizes(folder) -> None:
    good = (folder / MANIFEST).read_text()
    for number, memory in enumerate(json.loads(good)["memories"]):
        for key, value in (("depth", memory["depth"] + 1), ("width", memory["width"] + 4)):
            manifest = json.loads(good)
            manifest["memories"][number][key] = value
            (folder / MANIFEST).write_text(json.dumps(manifest))
            refused(folder, memory["file"])


def test_no_folder_at_all(tmp_path) -> None:
    refused(tmp_path / "nowhere", f"{MANIFEST}: No such file")
    refused(tmp_path, f"{MANIFEST}: No such file")
