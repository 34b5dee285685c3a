"""The folder of memory files: it holds the whole network, and nothing damaged or foreign passes for it."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from random_network import random_network
from read_tables import (
    read_compare_table,
    read_qprelu_table,
    read_scale_table,
    read_sum_array_weights,
    read_xnor_array_weights,
)

from abbnn import verilog
from abbnn.export.config import pipeline_config
from abbnn.export.folding import Fold, balance, cycles, stages
from abbnn.export.layout import read_mem, unpack
from abbnn.export.mem import FORMAT, HEADER, MANIFEST, STAGES, headers, layout_id, read_manifest, render, write
from abbnn.export.random_network import random_images
from abbnn.export.tables import (
    fan_in_order,
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


def stage_list(text: str) -> dict[str, dict[str, int]]:
    """Stage -> parameters that the header gives its instance, in order; the streams between them are checked."""
    found = re.findall(r"abbnn_(\w+) #\(\n(.*?)\n\) (\w+) \(\n(.*?)\n\);\n", text, re.DOTALL)
    result: dict[str, dict[str, int]] = {}
    before = "pixel"
    for index, (module, parameters, name, ports) in enumerate(found):
        values = dict(re.fullmatch(r"    \.(\w+)\((.*)\),?", line).groups() for line in parameters.splitlines())
        assert values.pop("PREFIX") == f'{{`ABBNN_MEM_DIR, "/{name}"}}'
        assert values.pop("LOAD_MEMORY") == f"(LOADABLE == 1) ? {16 * index} : -1"
        classes = values.pop("CLASSES", None)
        assert classes == ("CLASSES" if name == "head" else None)
        result[name] = {
            key: int(value.removeprefix("24'h"), 16 if "'h" in value else 10) for key, value in values.items()
        }
        wires = dict(re.fullmatch(r"    \.(\w+)\((.*)\),?", line).groups() for line in ports.splitlines())
        assert module == name.rstrip("0123456789")
        assert (wires["rst"], wires["s_axis_tdata"], wires["m_axis_tdata"]) == (
            f"stage_rst[{index}]",
            f"{before}_tdata",
            f"{name}_tdata",
        )
        before = name
    assert list(result) == ["stem", *(f"block{index:02d}" for index in range(len(result) - 2)), "head"]
    waits = re.findall(r"(\w+)_tvalid && !\1_tready", text)
    assert waits == list(reversed(result))
    return result


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
        self.stages = stage_list((path / STAGES).read_text())

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
        name = f"block{index:02d}"
        p = self.stages[name]
        pe, s_lanes = p["PE"], p["S_LANES"]
        assert s_lanes == list(self.stages.values())[index]["PE"]
        cin, cout, kernel = p["IN_CHANNELS"], p["OUT_CHANNELS"], p["KERNEL"]
        geometry = replace(
            like,
            in_channels=cin,
            out_channels=cout,
            kernel=kernel,
            stride=p["STRIDE"],
            height=p["HEIGHT"],
            width=p["WIDTH"],
            shortcut="pool-real-conv" if p.get("SHORTCUT_PLANES", 1) > 1 else get_args(Shortcut)[p["SHORTCUT"]],
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
                f"{name}_shortcut",
                (cout, 1, 1, cin),
                p["SHORTCUT_PLANES"],
                pe,
                p["SHORTCUT_SIMD"],
                p["SHORTCUT_SUM_WIDTH"],
            )
            parts["shortcut_scale"] = self.scale(
                f"{name}_shortcut_scale.mem",
                pe,
                p["SHORTCUT_SCALE_TERMS"],
                p["SHORTCUT_SCALE_SHIFT_WIDTH"],
                p["SHORTCUT_SCALE_GUARD"],
            )
        return geometry, BlockNumbers(
            read_compare_table(self.words(f"{name}_threshold.mem"), s_lanes, p["VALUE_WIDTH"]),
            weights.astype(np.uint8),
            self.scale(f"{name}_scale.mem", pe, p["SCALE_TERMS"], p["SCALE_SHIFT_WIDTH"], p["SCALE_GUARD"]),
            **parts,
        )

    def network(self, like: IntegerNetwork) -> IntegerNetwork:
        h, s, e = self.header, self.stages["stem"], self.stages["head"]
        assert h["BLOCKS"] == len(like.blocks)
        blocks = [self.block(index, block) for index, block in enumerate(like.structure.blocks)]
        stem = Stem(
            3,
            s["OUT_CHANNELS"],
            s["KERNEL"],
            s["STRIDE"],
            [False, True][s["PRELU"]],
            [False, True][s["MAX_POOL"]],
        )
        structure = replace(
            like.structure,
            height=h["IMAGE_HEIGHT"],
            width=h["IMAGE_WIDTH"],
            stem=stem,
            blocks=tuple(geometry for geometry, _ in blocks),
            classes=h["CLASSES"],
        )
        stem_prelu = None
        if stem.prelu:
            stem_prelu = self.scale(
                "stem_prelu.mem",
                s["PE"],
                s["PRELU_TERMS"],
                s["PRELU_SHIFT_WIDTH"],
                s["PRELU_GUARD"],
            )
        head = (h["CLASSES"], 1, 1, e["CHANNELS"])
        return replace(
            like,
            structure=structure,
            value_width=s["VALUE_WIDTH"],
            center=np.array([s["CENTER"] >> shift & 255 for shift in (0, 8, 16)]),
            stem=self.sum_layer(
                "stem",
                (stem.out_channels, stem.kernel, stem.kernel, 3),
                s["PLANES"],
                s["PE"],
                s["SIMD"],
                s["SUM_WIDTH"],
            ),
            stem_scale=self.scale(
                "stem_scale.mem",
                s["PE"],
                s["SCALE_TERMS"],
                s["SCALE_SHIFT_WIDTH"],
                s["SCALE_GUARD"],
            ),
            stem_prelu=stem_prelu,
            blocks=tuple(numbers for _, numbers in blocks),
            head=self.sum_layer("head", head, e["PLANES"], e["PE"], e["SIMD"], e["SCORE_WIDTH"]),
            pool_shift=e["POOL_SHIFT"],
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


def test_at_most_62_blocks(small) -> None:
    stem, block, *_, head = pipeline_config(small, analyse(small), balance(small))
    with pytest.raises(ValueError, match="63 blocks; a core has at most 62"):
        headers(small, [stem, *[block] * 63, head])


def test_header_values(small, folder) -> None:
    """Every number of the headers worked out from the network and the folding, none taken from the exporter."""
    folding, ranges = balance(small), analyse(small)
    h = parsed((folder / HEADER).read_text())
    lanes = [folding[name].pe for name in ("stem", "block00", "block01", "block02", "block03")]
    bounds, short = ranges.blocks, small.blocks[2]
    expected: dict[str, dict[str, int]] = {
        "stem": {
            "CHANNELS": 3,
            "OUT_CHANNELS": 4,
            "HEIGHT": 8,
            "WIDTH": 8,
            "KERNEL": 3,
            "STRIDE": 2,
            "CENTER": 124 + (116 << 8) + (104 << 16),
            "PE": folding["stem"].pe,
            "SIMD": folding["stem"].simd,
            "PLANES": 8,
            "SUM_WIDTH": ranges.stem.sum.bits,
            **scale_parameters("SCALE", small.stem_scale, ranges.stem.products_bits),
            "PRELU": 0,
            "MAX_POOL": 0,
            "VALUE_WIDTH": 16,
        }
    }
    for index, (numbers, bound) in enumerate(zip(small.blocks, bounds, strict=True)):
        left = max(0, int(numbers.activation.exponent.max()))
        expected[f"block0{index}"] = {
            "IN_CHANNELS": [4, 4, 4, 6][index],
            "OUT_CHANNELS": [4, 4, 6, 6][index],
            "HEIGHT": [4, 4, 4, 2][index],
            "WIDTH": [4, 4, 4, 2][index],
            "KERNEL": 3,
            "STRIDE": [1, 1, 2, 1][index],
            "SHORTCUT": [0, 0, 3, 0][index],
            "ACTIVATION": 1,
            "S_LANES": lanes[index],
            "PE": lanes[index + 1],
            "SIMD": folding[f"block0{index}"].simd,
            "VALUE_WIDTH": 16,
            "SUM_WIDTH": 7,  # -36..36 and -54..54
            **scale_parameters("SCALE", numbers.scale, bound.conv.products_bits),
            "SCALED_WIDTH": bound.conv.scaled.bits,
            "FIELD_WIDTH": bound.field_bits,
            "WEIGHT_MEMORY": 0,
            "LEFT_MAX": left,
            "ACTIVATION_SHIFT_WIDTH": max(1, (left - int(numbers.activation.exponent.min())).bit_length()),
        }
    expected["block02"] |= {
        "SHORTCUT_SIMD": folding["block02.shortcut"].simd,
        "SHORTCUT_PLANES": 1,
        "SHORTCUT_SUM_WIDTH": bounds[2].shortcut.sum.bits,
        **scale_parameters("SHORTCUT_SCALE", short.shortcut_scale, bounds[2].shortcut.products_bits),
        "SHORTCUT_SCALED_WIDTH": bounds[2].shortcut.scaled.bits,
    }
    expected["head"] = {
        "CHANNELS": 6,
        "POSITIONS": 4,
        "S_LANES": lanes[-1],
        "PE": folding["head"].pe,
        "SIMD": folding["head"].simd,
        "PLANES": 8,
        "VALUE_WIDTH": 16,
        "POOL_SHIFT": 2,
        "SCORE_WIDTH": ranges.scores.bits,
    }
    assert stage_list((folder / STAGES).read_text()) == expected
    # In the order of the manifest; 16 numbers a stage, each stage's first table has the lowest of them.
    memories = json.loads((folder / MANIFEST).read_text())["memories"]
    assert h.pop("LOAD_TABLES") == len(memories)
    loads = h.pop("LOAD_HEADERS")
    assert loads[1::2] == [memory["depth"] for memory in memories]
    assert [word >> 16 for word in loads[::2]] == [-(-memory["width"] // 32) - 1 for memory in memories]
    stages = ["stem", "block00", "block01", "block02", "block03", "head"]
    numbers = [word & 0xFFFF for word in loads[::2]]
    assert numbers == sorted(set(numbers))
    assert [number // 16 for number in numbers] == [stages.index(memory["stage"]) for memory in memories]
    assert numbers[:3] == [0, 1, 2]
    assert h == {
        "NETWORK_ID": int(network_hash(small)[:16], 16),
        "LAYOUT_ID": layout_id(pipeline_config(small, ranges, folding)),
        "IMAGE_HEIGHT": 8,
        "IMAGE_WIDTH": 8,
        "BLOCKS": 4,
        "CLASSES": 3,
    }


def scale_parameters(prefix: str, scale: Scale, products_bits: int) -> dict[str, int]:
    return {
        f"{prefix}_TERMS": scale.terms,
        f"{prefix}_SHIFT_WIDTH": max(1, int(scale.shift.max()).bit_length()),
        f"{prefix}_GUARD": scale.guard,
        f"{prefix}_SUM_WIDTH": products_bits,
    }


def test_header_values_of_the_other_families(tmp_path) -> None:
    """What the stage list has that the network of `test_header_values` lacks, and that it has nothing else."""
    lists: dict[str, dict[str, dict[str, int]]] = {}
    ranges: dict[str, Ranges] = {}
    networks: dict[str, IntegerNetwork] = {}
    for name in ("birealnet", "xnornet", "reactneta"):
        structure, options = CASES[name]
        networks[name] = random_network(structure, 7, **options)
        ranges[name] = analyse(networks[name])
        write(networks[name], balance(networks[name]), tmp_path / name)
        lists[name] = stage_list((tmp_path / name / STAGES).read_text())

    def column(key: str) -> list[int | None]:
        return [values.get(key) for stage, values in s.items() if stage.startswith("block")]

    s, network = lists["birealnet"], networks["birealnet"]
    stem, last = s["stem"], s["block02"]
    assert (stem["KERNEL"], stem["STRIDE"], stem["PRELU"], stem["MAX_POOL"]) == (7, 2, 1, 1)
    prelu = scale_parameters("PRELU", network.stem_prelu, ranges["birealnet"].stem_prelu.products_bits)
    assert stem.items() >= prelu.items()
    assert stem["PRELU_SUM_WIDTH"] >= stem["VALUE_WIDTH"] + stem["PRELU_GUARD"]
    assert (column("SHORTCUT"), column("ACTIVATION"), column("HEIGHT")) == ([0, 0, 3], [0, 0, 2], [4, 4, 4])
    assert (column("SHORTCUT_PLANES"), column("SHORTCUT_SCALE_TERMS")) == ([None, None, 8], [None, None, 1])
    prelu = scale_parameters("PRELU", network.blocks[2].prelu, ranges["birealnet"].blocks[2].prelu.products_bits)
    assert last.items() >= prelu.items()
    assert (column("SCALE_TERMS"), column("FIELD_WIDTH"), stem["PRELU_TERMS"]) == ([2, 3, 1], [None] * 3, 4)
    assert column("PRELU_TERMS")[:2] == [None, None]

    s = lists["xnornet"]
    assert (s["stem"]["PRELU"], s["stem"]["MAX_POOL"], s["head"]["POSITIONS"]) == (1, 0, 16)
    assert (column("SHORTCUT"), column("ACTIVATION")) == ([0, 4, 0], [0, 0, 2])
    assert (column("SHORTCUT_PLANES"), column("SHORTCUT_SCALE_TERMS")) == ([None, 1, None], [None, 4, None])
    assert column("SHORTCUT_SUM_WIDTH") == [None, ranges["xnornet"].blocks[1].shortcut.sum.bits, None]

    s = lists["reactneta"]
    assert (s["stem"]["PRELU"], s["stem"]["MAX_POOL"], s["stem"].get("PRELU_TERMS")) == (0, 0, None)
    assert column("KERNEL") == [3, 1] * 3
    assert column("STRIDE") == [1, 1, 2, 1, 1, 1]
    assert column("SHORTCUT") == [0, 1, 2, 1, 0, 0]
    assert column("ACTIVATION") == [1] * 6
    assert column("SUM_WIDTH") == [7, 4, 8, 5, 9, 6]  # -36..36, -4..4, -72..72, -8..8, -144..144, -16..16


def test_no_hardware_for_a_strided_1x1_convolution() -> None:
    block = Block(4, 4, 1, 2, 8, 8, "pool", "qprelu", biased=True, variance_steps=0)
    network = random_network(Structure("strided", "reactneta", 8, 8, Stem(3, 4, 3, 1), (block,), 2), 1)
    with pytest.raises(ValueError, match=r"^block00: abbnn_block has no 1x1 convolution of stride 2$"):
        render(network, balance(network))


def test_slopes_above_one_alone_elaborate(tmp_path) -> None:
    """The shifter takes the greatest exponent for every value above the threshold, so its field has to hold it."""
    network = random_network(member("steep", (4,), (1,), classes=3, image=8), 1)
    block = network.blocks[0]
    assert block.activation is not None
    exponent = np.array([1, 2, 2, 1], np.int64)
    steep = replace(network, blocks=(replace(block, activation=replace(block.activation, exponent=exponent)),))
    write(steep, balance(steep), tmp_path)
    parameters = stage_list((tmp_path / STAGES).read_text())["block00"]
    assert (parameters["LEFT_MAX"], parameters["ACTIVATION_SHIFT_WIDTH"]) == (2, 2)
    command = verilog.icarus("abbnn_core", {}, includes=[tmp_path], defines=[f'ABBNN_MEM_DIR="{tmp_path}"'])
    assert verilog.run(command) == (0, "")


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
    assert (h["IMAGE_HEIGHT"], h["IMAGE_WIDTH"], h["CLASSES"]) == (image, image, classes)
    head = stage_list((tmp_path / STAGES).read_text())["head"]
    assert h["BLOCKS"] == len(full.blocks)
    height, width, channels = full.head_input
    assert (head["POSITIONS"], head["CHANNELS"]) == (height * width, channels // 8)
    assert verilog.run(tool("abbnn_core", {}, includes=[tmp_path], defines=[f'ABBNN_MEM_DIR="{tmp_path}"'])) == (0, "")


def test_manifest_says_what_is_there(small, folder) -> None:
    manifest = read_manifest(folder)
    names = [memory["file"] for memory in manifest["memories"]]
    assert sorted([*names, HEADER, STAGES, MANIFEST]) == sorted(entry.name for entry in folder.iterdir())
    assert len(set(names)) == len(names) == 2 + 3 + 4 * 5 + 3
    assert manifest["network"] == "pow2"
    assert manifest["network_sha256"] == network_hash(small)
    assert manifest["headers"] == [
        {"file": name, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()} for name in (HEADER, STAGES)
    ]
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
        lambda m: m.update(version=1),
        lambda m: m.pop("headers"),
        lambda m: m["headers"][0].pop("sha256"),
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
