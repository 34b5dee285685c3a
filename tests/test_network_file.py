"""The frozen network's file: the same bytes again, and one line about whatever is wrong with it."""

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from random_network import random_network
from safetensors.numpy import save, save_file

from abbnn import paths
from abbnn.errors import UserError
from abbnn.export.random_network import random_structure
from abbnn.golden.network import (
    METADATA_KEY,
    IntegerNetwork,
    load_network,
    network_hash,
    save_network,
    serialize,
    to_tensors,
)
from abbnn.golden.structure import RESNET_STEM, STRIDED_STEM, StemForm, member

SMALL = member("small", (3, 5), (1, 2), image=8, stem=STRIDED_STEM, classes=4)
PRELUS = member("prelus", (3, 5), (1, 2), family="xnornet", image=32, stem=RESNET_STEM, classes=4)
PAIRED = member("paired", (2, 4, 8), (0, 1, 2), family="reactneta", image=8, classes=3)
Tensors = dict[str, NDArray[Any]]
Metadata = dict[str, Any]
Edit = Callable[[Tensors, Metadata], object]


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    return random_network(SMALL, 1, terms=2)


@pytest.fixture(scope="module")
def prelus() -> IntegerNetwork:
    """With the tensors that `network` lacks: stem.prelu and block02.prelu."""
    return random_network(PRELUS, 1)


def assert_equal_parts(left: Any, right: Any) -> None:
    """Field by field, arrays by value: IntegerNetwork itself compares by identity."""
    if isinstance(left, np.ndarray):
        np.testing.assert_array_equal(left, right)
    elif hasattr(left, "__dataclass_fields__"):
        assert type(left) is type(right)
        for name in left.__dataclass_fields__:
            assert_equal_parts(getattr(left, name), getattr(right, name))
    elif isinstance(left, tuple):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert_equal_parts(a, b)
    else:
        assert left == right


@pytest.mark.parametrize(
    ("structure", "options"),
    [
        (SMALL, {}),
        (member("free", (4, 6), (2, 1), image=8, stem=StemForm(7, 1)), {"scales": "free"}),
        (member("odd", (3,), (2,), image=7, classes=1), {"terms": 4, "stem_planes": 2, "head_planes": 15}),
        (member("bireal", (4, 6), (1, 2), family="birealnet", image=8), {"terms": 2}),
        (member("bireal_fine", (4, 6), (1, 2), family="birealnet", image=8), {"shortcut_planes": 15}),
        (PRELUS, {"scales": "free", "terms_of": {"stem.prelu": 1, "block02.prelu": 5}}),
        (PAIRED, {"value_width": 20, "fraction_bits": 10}),
        *((random_structure(seed), {}) for seed in range(12)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_round_trip(structure, options, tmp_path) -> None:
    network = random_network(structure, 2, **options)
    path = tmp_path / "new" / "network.safetensors"
    save_network(network, path)
    loaded = load_network(path)
    assert_equal_parts(network, loaded)
    assert serialize(loaded) == serialize(network)
    assert network_hash(loaded) == hashlib.sha256(serialize(network)).hexdigest()
    assert path.read_bytes() == serialize(network, checksum=network_hash(network))
    assert [entry.name for entry in path.parent.iterdir()] == ["network.safetensors"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_source_is_kept(network, tmp_path) -> None:
    source = {"alpha": 0.25, "mean": [0.5, 0.4, 0.3], "step": "Qaw", "best": None}
    save_network(replace(network, source=source), tmp_path / "n.safetensors")
    assert load_network(tmp_path / "n.safetensors").source == source


def test_stored_as_documented(network) -> None:
    """Bits: order (row, column, channel), first element in bit 0 of byte 0; every kind in its type."""
    tensors, metadata = to_tensors(network)
    block = network.blocks[1]
    bits = [int(bit) for bit in block.weights[2].ravel()]
    assert len(bits) == 27
    assert tensors["block01.bits"][2].tolist() == [
        sum(bit << place for place, bit in enumerate(bits[start : start + 8])) for start in (0, 8, 16, 24)
    ]
    assert block.shortcut is not None
    signs = [int(weight > 0) for weight in block.shortcut.weights[4].ravel()]
    assert tensors["block01.shortcut.bits"][4].tolist() == [signs[0] + 2 * signs[1] + 4 * signs[2]]
    kinds = {name: str(tensor.dtype) for name, tensor in tensors.items()}
    assert kinds["pixel.center"] == "uint8"
    assert kinds["stem.weights"] == kinds["head.weights"] == "int16"
    assert kinds["stem.bias"] == kinds["block01.shortcut.bias"] == "int64"
    assert kinds["block00.scale.sign"] == kinds["block00.activation.exponent"] == "int8"
    assert kinds["block00.scale.shift"] == kinds["block00.bits"] == "uint8"
    assert kinds["block00.threshold"] == kinds["block00.activation.add_before"] == "int32"
    assert metadata["version"] == 2
    assert metadata["planes"] == {"stem": 8, "block01.shortcut": 1, "head": 8}
    assert set(metadata["guards"]) == {"stem.scale"} | {
        f"{name}.scale" for name in ("block00", "block01", "block01.shortcut", "block02")
    }


def test_one_weight_changes_the_hash(network) -> None:
    before = network_hash(network)
    network.blocks[0].weights[1, 2, 0, 1] ^= 1
    after = network_hash(network)
    network.blocks[0].weights[1, 2, 0, 1] ^= 1
    assert before != after
    assert network_hash(network) == before


def test_a_number_that_does_not_fit_is_not_wrapped(tmp_path) -> None:
    network = random_network(SMALL, 1)
    path = tmp_path / "n.safetensors"
    save_network(network, path)
    before = path.read_bytes()
    network.blocks[2].activation.add_after[1] = 1 << 31
    with pytest.raises(ValueError, match=r"block02.*add_after.*int32"):
        save_network(network, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["n.safetensors"]


def test_an_unwritable_place_leaves_nothing(network, tmp_path) -> None:
    (tmp_path / "n.safetensors").mkdir()
    (tmp_path / "n.safetensors" / "kept").touch()
    with pytest.raises(UserError, match=r"n\.safetensors: a folder"):
        save_network(network, tmp_path / "n.safetensors")
    assert [entry.name for entry in tmp_path.iterdir()] == ["n.safetensors"]


def test_which_tensors_there_are(network, prelus) -> None:
    """Activations, slopes and shortcuts exactly where the structure has them."""
    activation = {f"activation.{key}" for key in ("threshold", "add_positive", "add_before", "exponent", "add_after")}
    scale, shortcut = {"scale.sign", "scale.shift"}, {"bits", "bias", "scale.sign", "scale.shift"}
    slopes = {"prelu.sign", "prelu.shift"}

    def parts(tensors: Tensors, prefix: str) -> set[str]:
        return {name.removeprefix(f"{prefix}.") for name in tensors if name.startswith(f"{prefix}.")}

    tensors = to_tensors(network)[0]
    assert parts(tensors, "stem") == {"weights", "bias"} | scale
    assert parts(tensors, "block00") == {"threshold", "bits"} | scale | activation
    assert parts(tensors, "block01.shortcut") == shortcut
    tensors, metadata = to_tensors(prelus)
    assert parts(tensors, "stem") == {"weights", "bias"} | scale | slopes
    assert parts(tensors, "block00") == {"threshold", "bits"} | scale
    assert parts(tensors, "block01.shortcut") == shortcut
    assert parts(tensors, "block02") == {"threshold", "bits"} | scale | slopes
    assert {"stem.prelu", "block02.prelu"} <= set(metadata["guards"])
    tensors, metadata = to_tensors(random_network(member("real", (4, 6), (1, 1), family="birealnet", image=8), 1))
    assert parts(tensors, "block01.shortcut") == {"weights", "bias"} | scale
    assert (metadata["planes"]["block01.shortcut"], tensors["block01.shortcut.weights"].dtype) == (8, np.int16)
    tensors = to_tensors(random_network(PAIRED, 1))[0]
    for index, block in enumerate(PAIRED.blocks):
        assert parts(tensors, f"block{index:02d}") == {"threshold", "bits"} | scale | activation, block.shortcut


def refused(path: Path, culprit: str) -> None:
    """load_network raises ValueError with one line that names the file and the culprit."""
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        load_network(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert culprit in message.removeprefix(f"{path}: ")


def refused_when(network: IntegerNetwork, folder: Path, edit: Edit, culprit: str) -> None:
    tensors, metadata = to_tensors(network)
    tensors, metadata = {name: tensor.copy() for name, tensor in tensors.items()}, json.loads(json.dumps(metadata))
    edit(tensors, metadata)
    path = folder / "edited.safetensors"
    path.write_bytes(save(tensors, metadata={METADATA_KEY: json.dumps(metadata)}))
    refused(path, culprit)


def test_an_edit_of_nothing_is_accepted(network, tmp_path) -> None:
    """What `refused_when` writes is refused for its edit alone."""
    tensors, metadata = to_tensors(network)
    path = tmp_path / "same.safetensors"
    save_file(tensors, path, metadata={METADATA_KEY: json.dumps(metadata)})
    assert serialize(load_network(path)) == serialize(network)


@pytest.mark.parametrize(("fixture", "count"), [("network", 38), ("prelus", 27)])
def test_every_tensor_is_needed_in_its_shape_and_type(fixture, count, tmp_path, request) -> None:
    network = request.getfixturevalue(fixture)
    names = sorted(to_tensors(network)[0])
    assert len(names) == count
    for name in names:
        refused_when(network, tmp_path, lambda t, m, n=name: t.pop(n), f"tensor {name} is missing")
        refused_when(network, tmp_path, lambda t, m, n=name: t.update({n: t[n][:-1]}), name)
        refused_when(network, tmp_path, lambda t, m, n=name: t.update({n: t[n][None]}), name)
        refused_when(network, tmp_path, lambda t, m, n=name: t.update({n: t[n].reshape(1, 1, -1)}), name)
        refused_when(network, tmp_path, lambda t, m, n=name: t.update({n: t[n][:0]}), name)
        refused_when(network, tmp_path, lambda t, m, n=name: t.update({n: t[n].astype(np.float32)}), name)
        refused_when(network, tmp_path, lambda t, m, n=name: t.update({n: t[n].astype(np.uint32)}), name)


BAD_NAMES = ("", "a\n// b", "x\n`define y", "../up", ".hidden", "a/b", "a b", "-n", "n" * 65, "\u00fc", 7, None)
"""What would leave a comment of Verilog or a folder."""


def put(name: str, value: int, *index: int) -> Edit:
    def edit(tensors: Tensors, metadata: Metadata) -> None:
        tensors[name].reshape(-1)[index or (0,)] = value

    return edit


def describe(key: str, value: Any, inner: str | None = None) -> Edit:
    def edit(tensors: Tensors, metadata: Metadata) -> None:
        if inner is None:
            metadata[key] = value
        else:
            metadata[key][inner] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "culprit"),
    [
        (lambda t, m: t.update({"extra": np.zeros(3, np.int8)}), "tensor extra does not belong to small"),
        (lambda t, m: t.update({"block03.bits": t["block02.bits"]}), "block03.bits"),
        (lambda t, m: t.update({"block00.shortcut.bits": t["block01.shortcut.bits"]}), "block00.shortcut.bits"),
        (put("stem.weights", 4), "stem.weights"),
        (put("stem.weights", 257), "stem.weights"),
        (put("stem.weights", -257), "stem.weights"),
        (put("head.weights", -32768), "head.weights"),
        (put("head.weights", 0), "head.weights"),
        (put("block01.threshold", 1 << 15), "block01.threshold"),
        (put("block01.threshold", -(1 << 15) - 1), "block01.threshold"),
        (put("block02.scale.shift", 41), "block02.scale"),
        (put("block02.scale.shift", 255), "block02.scale"),
        (put("block02.scale.sign", 2), "block02.scale"),
        (put("block02.scale.sign", -2), "block02.scale"),
        (put("stem.scale.sign", -128), "stem.scale"),
        (put("block01.shortcut.scale.shift", 99), "block01.shortcut.scale"),
        (put("block00.activation.exponent", 8), "block00.activation.exponent"),
        (put("block00.activation.exponent", -20), "block00.activation.exponent"),
        (put("stem.bias", 1 << 60), "stem.bias"),
        (put("head.bias", -(1 << 62)), "head.bias"),
        (lambda t, m: [t.update({f"stem.scale.{k}": np.zeros((3, 0), d)}) for k, d in SCALE_TYPES], "stem.scale"),
        (lambda t, m: [t.update({f"stem.scale.{k}": np.zeros((3, 9), d)}) for k, d in SCALE_TYPES], "stem.scale"),
        (describe("version", 1), "version 2"),
        (describe("version", 3), "version 2"),
        (describe("version", "1"), "version"),
        (describe("format", "something-else"), "abbnn-integer-network"),
        (lambda t, m: m.pop("format"), "abbnn-integer-network"),
        (describe("value_width", 3), "value_width 3"),
        (describe("value_width", 25), "value_width 25"),
        (describe("value_width", 16.5), "value_width 16.5"),
        (describe("value_width", "16"), "value_width"),
        (describe("value_width", None), "value_width"),
        (describe("fraction_bits", 16), "fraction_bits 16"),
        (describe("fraction_bits", -1), "fraction_bits -1"),
        (describe("pool_shift", -1), "pool_shift -1"),
        (describe("pool_shift", 40), "pool_shift 40"),
        (describe("pool_shift", True), "pool_shift"),
        (describe("score_fraction_bits", [8]), "score_fraction_bits"),
        (describe("planes", 0, "stem"), "planes of stem"),
        (describe("planes", 16, "head"), "planes of head"),
        (describe("planes", 7, "stem"), "stem.weights"),
        (describe("planes", 2, "block01.shortcut"), "block01.shortcut"),
        (describe("planes", 1, "head"), "head.bits"),
        (describe("guards", -1, "stem.scale"), "guards of stem.scale"),
        (describe("guards", 64, "block00.scale"), "guards of block00.scale"),
        (describe("guards", "3", "block00.scale"), "guards of block00.scale"),
        (lambda t, m: m["guards"].pop("block00.scale"), "block00.scale"),
        (lambda t, m: m["planes"].pop("head"), "head"),
        (describe("guards", 3), "guards"),
        (lambda t, m: m.pop("pool_shift"), "pool_shift"),
        (lambda t, m: m.pop("structure"), "structure"),
        (lambda t, m: m.pop("source"), "source"),
        (describe("source", 4), "source"),
        (describe("structure", "small"), "structure"),
        (lambda t, m: t.update({"stem.prelu.sign": t["stem.scale.sign"]}), "stem.prelu.sign does not belong"),
        (lambda t, m: t.update({"block00.prelu.shift": t["block00.scale.shift"]}), "block00.prelu.shift does not"),
        (lambda t, m: m["structure"].update(height=9), "block00"),
        (lambda t, m: m["structure"].update(family="resnet"), "family is 'resnet'"),
        (lambda t, m: m["structure"].update(family=None), "family is None"),
        (
            lambda t, m: m["structure"].update(family="birealnet"),
            "block00.activation is qprelu; family birealnet",
        ),
        (lambda t, m: m["structure"].update(family="xnornet"), "block00.activation is qprelu; family xnornet"),
        (
            lambda t, m: m["structure"].update(family="reactneta"),
            "block01.shortcut is pool-conv; family reactneta",
        ),
        (lambda t, m: m["structure"].pop("family"), "family"),
        (lambda t, m: m["structure"]["stem"].update(prelu=True), "stem.prelu"),
        (lambda t, m: m["structure"]["stem"].update(prelu="yes"), "stem.prelu is 'yes'"),
        (lambda t, m: m["structure"]["stem"].update(max_pool=2), "stem.max_pool is 2"),
        (lambda t, m: m["structure"]["stem"].update(max_pool=True), "block00"),
        (lambda t, m: m["structure"]["stem"].pop("stride"), "stride"),
        (lambda t, m: m["structure"]["blocks"][0].update(shortcut="none"), "block00.shortcut is 'none'"),
        (lambda t, m: m["structure"]["blocks"][0].update(shortcut=["identity"]), "block00.shortcut"),
        (lambda t, m: m["structure"]["blocks"][0].update(shortcut="repeat"), "block00"),
        (lambda t, m: m["structure"]["blocks"][1].update(shortcut="identity"), "block01"),
        (lambda t, m: m["structure"]["blocks"][1].update(shortcut="pool"), "block01"),
        (lambda t, m: m["structure"]["blocks"][0].update(activation="relu"), "block00.activation is 'relu'"),
        (lambda t, m: m["structure"]["blocks"][0].update(activation=None), "block00.activation is None"),
        (lambda t, m: m["structure"]["blocks"][0].update(activation="none"), "block00.activation"),
        (lambda t, m: m["structure"]["blocks"][0].update(activation="prelu"), "block00.activation is prelu"),
        (lambda t, m: m["structure"]["blocks"][2].update(biased=None), "block02.biased is None"),
        (lambda t, m: m["structure"]["blocks"][2].update(variance_steps=-1), "block02.variance_steps is -1"),
        (lambda t, m: m["structure"]["blocks"][2].update(kernel=5), "kernel of 5"),
        (lambda t, m: m["structure"]["blocks"][2].update(kernel=1), "block02.kernel is 1; family reactnet has 3"),
        (lambda t, m: m["structure"]["blocks"][2].pop("shortcut"), "shortcut"),
        (lambda t, m: m["structure"]["blocks"][2].update(dilation=2), "dilation"),
        (lambda t, m: m["structure"].update(classes=5), "head"),
        (lambda t, m: m["structure"].update(classes=0), "small"),
        (lambda t, m: m["structure"].update(classes="4"), "classes"),
        (lambda t, m: m["structure"].update(depth=4), "depth"),
        (lambda t, m: m["structure"].pop("width"), "width"),
        (lambda t, m: m["structure"]["stem"].update(kernel=2), "kernel"),
        (lambda t, m: m["structure"]["stem"].update(stride=0), "stride"),
        (lambda t, m: m["structure"]["stem"].update(out_channels=-3), "out_channels"),
        (lambda t, m: m["structure"]["stem"].update(in_channels=4), "pixel.center"),
        (lambda t, m: m["structure"]["blocks"][1].update(stride=3), "stride 3"),
        (lambda t, m: m["structure"]["blocks"].pop(), "block02"),
        (lambda t, m: m["structure"]["blocks"][2].update(in_channels=6), "block02"),
        (lambda t, m: m["structure"].update(blocks=None), "structure"),
        (lambda t, m: m["structure"].update(blocks=[]), "a network without a block"),
        (lambda t, m: m["structure"]["blocks"][2].update(variance_steps=1_000_000), "variance_steps is 1000000"),
        (lambda t, m: m["structure"]["blocks"][2].update(biased=False), "block02.biased is False; family reactnet"),
        (lambda t, m: m["structure"].update(height=1 << 40), "height is 1099511627776"),
        (lambda t, m: m["structure"].update(classes=65536), "classes is 65536"),
        *((lambda t, m, n=name: m["structure"].update(name=n), "is no name") for name in BAD_NAMES),
    ],
)
def test_illegal_content(network, tmp_path, edit, culprit) -> None:
    refused_when(network, tmp_path, edit, culprit)


@pytest.mark.parametrize(
    ("edit", "culprit"),
    [
        (put("stem.prelu.sign", 2), "stem.prelu.sign"),
        (put("stem.prelu.shift", 41), "stem.prelu.shift"),
        (put("block02.prelu.sign", -2), "block02.prelu.sign"),
        (put("block02.prelu.shift", 255), "block02.prelu.shift"),
        (lambda t, m: [t.update({f"stem.prelu.{k}": np.zeros((3, 9), d)}) for k, d in SCALE_TYPES], "stem.prelu has 9"),
        (lambda t, m: [t.update({f"block02.prelu.{k}": np.zeros((5, 0), d)}) for k, d in SCALE_TYPES], "block02.prelu"),
        (lambda t, m: t.update({"stem.prelu.shift": t["stem.prelu.shift"][:, :1]}), "stem.prelu.shift"),
        (lambda t, m: m["guards"].pop("stem.prelu"), "guards of stem.prelu"),
        (lambda t, m: m["guards"].pop("block02.prelu"), "guards of block02.prelu"),
        (describe("guards", 41, "block02.prelu"), "guards of block02.prelu"),
        (describe("guards", 2.0, "stem.prelu"), "guards of stem.prelu"),
        (lambda t, m: t.update({"block00.prelu.sign": t["block02.prelu.sign"]}), "block00.prelu.sign does not belong"),
        (lambda t, m: m["structure"]["stem"].update(prelu=1), "stem.prelu is 1"),
        (lambda t, m: m["structure"]["blocks"][2].update(biased=1), "block02.biased is 1"),
        (lambda t, m: m["structure"]["stem"].update(prelu=False), "stem.prelu.shift does not belong"),
        (lambda t, m: m["structure"]["blocks"][2].update(activation="none"), "block02.prelu.shift does not belong"),
        (lambda t, m: m["structure"]["blocks"][2].update(activation="qprelu"), "block02.activation is qprelu"),
        (lambda t, m: m["structure"]["blocks"][0].update(activation="prelu"), "block00.prelu.sign is missing"),
    ],
)
def test_illegal_slopes(prelus, tmp_path, edit, culprit) -> None:
    refused_when(prelus, tmp_path, edit, culprit)


SCALE_TYPES = (("sign", np.int8), ("shift", np.uint8))


def raw_file(path: Path, header: bytes, data: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def test_truncated_at_any_place(network, tmp_path) -> None:
    data = serialize(network)
    path = tmp_path / "cut.safetensors"
    for length in [0, 1, 7, 8, 9, 100, *range(200, len(data), 311), len(data) - 1]:
        path.write_bytes(data[:length])
        refused(path, "")
    path.write_bytes(data + b"\0")
    refused(path, "")


def test_not_safetensors(tmp_path) -> None:
    path = tmp_path / "noise.safetensors"
    for content in (b"hello\n", np.random.default_rng(1).bytes(3000), b"PK\x03\x04" + bytes(500), bytes(64)):
        path.write_bytes(content)
        refused(path, "")
    refused(tmp_path / "nowhere.safetensors", "No such file")
    refused(tmp_path, "")
    (tmp_path / "empty.safetensors").touch()
    refused(tmp_path / "empty.safetensors", "")


def test_foreign_safetensors(tmp_path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": np.zeros((3, 3), np.float32)}, path)
    refused(path, "not a frozen network")
    save_file({"weight": np.zeros((3, 3), np.float32)}, path, metadata={"format": "pt"})
    refused(path, "not a frozen network")
    for kind, size in (("BF16", 2), ("F8_E4M3", 1)):
        header = {"weight": {"dtype": kind, "shape": [4], "data_offsets": [0, 4 * size]}}
        raw_file(path, json.dumps(header).encode(), bytes(4 * size))
        refused(path, "not a frozen network")
        header |= {"__metadata__": {METADATA_KEY: "{}"}}
        raw_file(path, json.dumps(header).encode(), bytes(4 * size))
        refused(path, "")


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "null", '"abbnn"', "[" * 50_000])
def test_metadata_that_is_no_object(text, tmp_path) -> None:
    path = raw_file(tmp_path / "n.safetensors", json.dumps({"__metadata__": {METADATA_KEY: text}}).encode())
    refused(path, "metadata")


def header_of(data: bytes) -> tuple[bytes, bytes]:
    size = struct.unpack("<Q", data[:8])[0]
    return data[8 : 8 + size], data[8 + size :]


def test_a_key_that_is_there_twice(network, tmp_path) -> None:
    """JSON's readers take the last one."""
    header, content = header_of(serialize(network))
    path = raw_file(
        tmp_path / "n.safetensors", header.replace(b"pool_shift", b'pool_shift\\":1,\\"pool_shift', 1), content
    )
    refused(path, "metadata: pool_shift is there twice")
    entry = b'"stem.bias":' + json.dumps(json.loads(header)["stem.bias"]).encode()
    raw_file(path, b"{" + entry + b"," + header[1:], content)
    refused(path, "header: stem.bias is there twice")


def test_one_bit_is_found_by_the_checksum(network, tmp_path) -> None:
    path = tmp_path / "n.safetensors"
    save_network(network, path)
    data = bytearray(path.read_bytes())
    tensors = to_tensors(network)[0]
    position = data.index(tensors["head.bias"].tobytes())
    data[position] ^= 1
    path.write_bytes(data)
    refused(path, "damaged: its contents are not those of its checksum")


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_a_file_without_a_checksum_is_read(name) -> None:
    path = paths.MODELS / f"{name}.safetensors"
    assert serialize(load_network(path)) == path.read_bytes()


@pytest.mark.parametrize(
    ("name", "what"), [("tiny.pt", "a checkpoint of torch"), ("cifar10_test100.npz", "an archive of NumPy arrays")]
)
def test_a_file_of_another_verb(name, what) -> None:
    refused(paths.MODELS / name, f"{what}, not a frozen network: abbnn freeze makes one of a checkpoint")


def test_bf16_tensor_in_a_network(network, tmp_path) -> None:
    """A type that NumPy lacks, in an otherwise good file."""
    text, content = header_of(serialize(network))
    header = json.loads(text)
    header["stem.weights"]["dtype"] = "BF16"
    path = raw_file(tmp_path / "n.safetensors", json.dumps(header).encode(), content)
    refused(path, "stem.weights")
