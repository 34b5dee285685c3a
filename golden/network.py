"""The frozen network: integers only, in one safetensors file. Golden model, exporter and reports all read this."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from abbnn.errors import UserError
from abbnn.golden.files import parse_json, replacing, what_is
from abbnn.golden.ops import Integers, value_range
from abbnn.golden.structure import Structure, block_name

FORMAT = "abbnn-integer-network"
VERSION = 2
METADATA_KEY = "abbnn"
PIXEL_BITS = 8
EXPONENT_RANGE = (-19, 7)
"""Slopes 2**-19 to 2**7: the widest that the paper reports after training."""
SHIFT_MAX = 40
TERMS_MAX = 8
PLANES_MAX = 15
BIAS_BITS = 48
SCORE_FRACTION_BITS = (-64, 64)
"""Together with the shifts' limit this keeps every number of the analysis within 64 bits."""


@dataclass(frozen=True, eq=False)
class Scale:
    """A factor a channel: sum over t of sign[c, t] * 2**(shift[c, t] - guard), as `golden.ops.scale` applies it."""

    sign: Integers
    shift: Integers
    guard: int

    @property
    def terms(self) -> int:
        return int(self.sign.shape[1])

    @property
    def multiplier(self) -> Integers:
        """The factor times 2**guard, (C,)."""
        factor: Integers = (self.sign.astype(np.int64) << self.shift.astype(np.int64)).sum(axis=1)
        return factor

    @property
    def magnitude(self) -> Integers:
        """Sum of |terms|, (C,): bounds every partial sum of the shift-adds."""
        bound: Integers = (np.abs(self.sign.astype(np.int64)) << self.shift.astype(np.int64)).sum(axis=1)
        return bound


@dataclass(frozen=True, eq=False)
class SumLayer:
    """A convolution of multi-bit values: odd weights in +-(2**planes - 1) of shape (Cout, k, k, Cin), bias (Cout,)."""

    weights: Integers
    bias: Integers
    planes: int


@dataclass(frozen=True, eq=False)
class Activation:
    """The five fields of `golden.ops.qprelu`, each (C,)."""

    threshold: Integers
    add_positive: Integers
    add_before: Integers
    exponent: Integers
    add_after: Integers


@dataclass(frozen=True, eq=False)
class BlockNumbers:
    """One binary block. threshold (Cin,); weights (Cout, k, k, Cin) hold 1 for +1 and 0 for -1.

    `activation` and `prelu` (the factor of negative values) are there as the structure's `Block.activation` says,
    `shortcut` and `shortcut_scale` where the shortcut has weights.
    """

    threshold: Integers
    weights: NDArray[np.uint8]
    scale: Scale
    activation: Activation | None = None
    prelu: Scale | None = None
    shortcut: SumLayer | None = None
    shortcut_scale: Scale | None = None


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Everything inference needs. Values: signed, `value_width` bits, `fraction_bits` of them fraction.

    Pixels are centred by `center` (one integer a channel) before the stem. The head's sum over the map is shifted right
    by `pool_shift`; a score is worth score * 2**-score_fraction_bits. `source` records where the numbers come from.
    """

    structure: Structure
    value_width: int
    fraction_bits: int
    center: Integers
    stem: SumLayer
    stem_scale: Scale
    stem_prelu: Scale | None
    blocks: tuple[BlockNumbers, ...]
    head: SumLayer
    pool_shift: int
    score_fraction_bits: int
    source: dict[str, Any] = field(default_factory=dict)


_SCALE: dict[str, type[Any]] = {"sign": np.int8, "shift": np.uint8}
_ACTIVATION: dict[str, type[Any]] = {
    "threshold": np.int32,
    "add_positive": np.int32,
    "add_before": np.int32,
    "exponent": np.int8,
    "add_after": np.int32,
}


def _store(array: Integers, kind: type[Any], name: str) -> NDArray[np.integer[Any]]:
    """Narrow to the file's type; a value that does not fit is an error, never a wrap-around."""
    info = np.iinfo(kind)
    if array.size and (array.min() < info.min or array.max() > info.max):
        raise UserError(f"{name}: {array.min()}..{array.max()} does not fit {np.dtype(kind).name}")
    return np.ascontiguousarray(array, dtype=kind)


def _pack_bits(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(Cout, ...) of 0/1 -> (Cout, bytes), element 0 in bit 0 of byte 0."""
    return np.packbits(bits.reshape(len(bits), -1), axis=1, bitorder="little")


def to_tensors(network: IntegerNetwork) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Tensors and metadata of the file; docs/formats.md lists them."""
    tensors: dict[str, NDArray[Any]] = {"pixel.center": _store(network.center, np.uint8, "pixel.center")}
    guards: dict[str, int] = {}
    planes: dict[str, int] = {}

    def put_scale(name: str, scale: Scale) -> None:
        for key, kind in _SCALE.items():
            tensors[f"{name}.{key}"] = _store(getattr(scale, key), kind, f"{name}.{key}")
        guards[name] = scale.guard

    def put_sum(name: str, layer: SumLayer) -> None:
        tensors[f"{name}.bias"] = _store(layer.bias, np.int64, f"{name}.bias")
        planes[name] = layer.planes
        if layer.planes == 1:
            tensors[f"{name}.bits"] = _pack_bits((layer.weights > 0).astype(np.uint8))
        else:
            tensors[f"{name}.weights"] = _store(layer.weights, np.int16, f"{name}.weights")

    put_sum("stem", network.stem)
    put_scale("stem.scale", network.stem_scale)
    if network.stem_prelu is not None:
        put_scale("stem.prelu", network.stem_prelu)
    for index, block in enumerate(network.blocks):
        name = block_name(index)
        tensors[f"{name}.threshold"] = _store(block.threshold, np.int32, f"{name}.threshold")
        tensors[f"{name}.bits"] = _pack_bits(block.weights)
        put_scale(f"{name}.scale", block.scale)
        if block.activation is not None:
            for key, kind in _ACTIVATION.items():
                tensors[f"{name}.activation.{key}"] = _store(getattr(block.activation, key), kind, f"{name}.{key}")
        if block.prelu is not None:
            put_scale(f"{name}.prelu", block.prelu)
        if block.shortcut is not None and block.shortcut_scale is not None:
            put_sum(f"{name}.shortcut", block.shortcut)
            put_scale(f"{name}.shortcut.scale", block.shortcut_scale)
    put_sum("head", network.head)
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "structure": network.structure.to_dict(),
        "value_width": network.value_width,
        "fraction_bits": network.fraction_bits,
        "pool_shift": network.pool_shift,
        "score_fraction_bits": network.score_fraction_bits,
        "guards": guards,
        "planes": planes,
        "source": network.source,
    }
    return tensors, metadata


def serialize(network: IntegerNetwork, **more: str) -> bytes:
    """The network as a file, with `more` entries in its metadata; equal networks give equal bytes."""
    tensors, metadata = to_tensors(network)
    return save(tensors, metadata={METADATA_KEY: json.dumps(metadata | more, sort_keys=True)})


def save_network(network: IntegerNetwork, path: Path) -> None:
    """Write the file, with the network's hash as a checksum, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(serialize(network, checksum=network_hash(network)))


def network_hash(network: IntegerNetwork) -> str:
    """sha256 of the serialized network, in hexadecimal: what manifest and header carry."""
    return hashlib.sha256(serialize(network)).hexdigest()


class _Reader:
    """Takes tensors out of the file one by one, checking kind and shape; what is left over is foreign."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> None:
        self.tensors = dict(tensors)
        self.metadata = metadata

    def take(self, name: str, kind: type[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        if name not in self.tensors:
            raise UserError(f"tensor {name} is missing")
        tensor = self.tensors.pop(name)
        if tensor.dtype != kind or tensor.shape != shape:
            raise UserError(f"tensor {name} is {tensor.dtype}{tensor.shape}, expected {np.dtype(kind).name}{shape}")
        return tensor

    def bits(self, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        count = int(np.prod(shape[1:]))
        packed = self.take(name, np.uint8, (shape[0], -(-count // 8)))
        return np.unpackbits(packed, axis=1, count=count, bitorder="little").reshape(shape)

    def limited(
        self, name: str, kind: type[np.integer[Any]], shape: tuple[int, ...], low: int, high: int
    ) -> NDArray[Any]:
        """`take`, and every number within low..high."""
        tensor = self.take(name, kind, shape)
        if tensor.size and (tensor.min() < low or tensor.max() > high):
            raise UserError(f"tensor {name} holds {tensor.min()}..{tensor.max()}, outside {low}..{high}")
        return tensor

    def number(self, key: str, low: int, high: int, of: str | None = None) -> int:
        """An integer of the metadata; `of` names it in the object `key`."""
        value, name = self.metadata.get(key), key
        if of is not None:
            if not isinstance(value, dict):
                raise UserError(f"metadata {key} is no object")
            name = f"{key} of {of}"
            if of not in value:
                raise UserError(f"metadata lacks {name}")
            value = value[of]
        if type(value) is not int or not low <= value <= high:
            raise UserError(f"metadata {name} {value!r} is no integer of {low}..{high}")
        return value

    def scale(self, name: str, channels: int) -> Scale:
        sign = self.tensors.get(f"{name}.sign")
        terms = sign.shape[1] if sign is not None and sign.ndim == 2 else 1
        if not 1 <= terms <= TERMS_MAX:
            raise UserError(f"{name} has {terms} terms; 1 to {TERMS_MAX} exist")
        return Scale(
            self.limited(f"{name}.sign", _SCALE["sign"], (channels, terms), -1, 1),
            self.limited(f"{name}.shift", _SCALE["shift"], (channels, terms), 0, SHIFT_MAX),
            self.number("guards", 0, SHIFT_MAX, name),
        )

    def sum_layer(self, name: str, shape: tuple[int, ...]) -> SumLayer:
        planes = self.number("planes", 1, PLANES_MAX, name)
        if planes == 1:
            weights = 2 * self.bits(f"{name}.bits", shape).astype(np.int16) - 1
        else:
            weights = self.take(f"{name}.weights", np.int16, shape)
        if np.any(weights % 2 == 0) or np.abs(weights).max() >= 1 << planes:
            raise UserError(f"{name}.weights must be odd and below 2**{planes}")
        return SumLayer(weights, self.limited(f"{name}.bias", np.int64, (shape[0],), *value_range(BIAS_BITS)), planes)

    def activation(self, name: str, channels: int) -> Activation:
        fields = {}
        for key, kind in _ACTIVATION.items():
            info = np.iinfo(kind)
            low, high = EXPONENT_RANGE if key == "exponent" else (int(info.min), int(info.max))
            fields[key] = self.limited(f"{name}.{key}", kind, (channels,), low, high)
        return Activation(**fields)


def from_tensors(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> IntegerNetwork:
    """The inverse of `to_tensors`. UserError names the first thing that is missing, misshapen, foreign or illegal."""
    if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
        raise UserError(f"not an {FORMAT} of version {VERSION}")
    for key in ("structure", "source"):
        if not isinstance(metadata.get(key), dict):
            raise UserError(f"metadata {key} is no object")
    try:
        structure = Structure.from_dict(metadata["structure"])
    except (KeyError, TypeError) as error:
        raise UserError(f"metadata structure: {error}") from None
    reader = _Reader(tensors, metadata)
    stem_shape = (structure.stem.out_channels, *[structure.stem.kernel] * 2, structure.stem.in_channels)
    center = reader.take("pixel.center", np.uint8, (structure.stem.in_channels,))
    stem = reader.sum_layer("stem", stem_shape)
    stem_scale = reader.scale("stem.scale", structure.stem.out_channels)
    stem_prelu = reader.scale("stem.prelu", structure.stem.out_channels) if structure.stem.prelu else None
    width = reader.number("value_width", 4, 24)
    fraction_bits = reader.number("fraction_bits", 0, width - 1)
    positions = structure.head_input[0] * structure.head_input[1]
    blocks = []
    for index, block in enumerate(structure.blocks):
        name = block_name(index)
        limits = value_range(width) if block.biased else (0, 0)
        threshold = reader.limited(f"{name}.threshold", np.int32, (block.in_channels,), *limits)
        activation = prelu = shortcut = shortcut_scale = None
        if block.activation == "qprelu":
            activation = reader.activation(f"{name}.activation", block.out_channels)
        elif block.activation == "prelu":
            prelu = reader.scale(f"{name}.prelu", block.out_channels)
        if block.projects:
            shortcut = reader.sum_layer(f"{name}.shortcut", (block.out_channels, 1, 1, block.in_channels))
            shortcut_scale = reader.scale(f"{name}.shortcut.scale", block.out_channels)
        weights = reader.bits(f"{name}.bits", (block.out_channels, block.kernel, block.kernel, block.in_channels))
        scale = reader.scale(f"{name}.scale", block.out_channels)
        blocks.append(BlockNumbers(threshold, weights, scale, activation, prelu, shortcut, shortcut_scale))
    head = reader.sum_layer("head", (structure.classes, 1, 1, structure.head_input[2]))
    if reader.tensors:
        raise UserError(f"tensor {min(reader.tensors)} does not belong to {structure.name}")
    return IntegerNetwork(
        structure=structure,
        value_width=width,
        fraction_bits=fraction_bits,
        center=center,
        stem=stem,
        stem_scale=stem_scale,
        stem_prelu=stem_prelu,
        blocks=tuple(blocks),
        head=head,
        pool_shift=reader.number("pool_shift", 0, positions.bit_length() - 1 + min(fraction_bits, width - 2)),
        score_fraction_bits=reader.number("score_fraction_bits", *SCORE_FRACTION_BITS),
        source=dict(metadata["source"]),
    )


def load_network(path: Path) -> IntegerNetwork:
    """Read a frozen network. Whatever is wrong with the file is a UserError of one line that names it."""
    tensors = {}
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(METADATA_KEY)
            if text is None:
                raise UserError("a safetensors file, but not a frozen network (abbnn freeze makes one)")
            for name in file.keys():  # noqa: SIM118 (not a dict)
                try:
                    tensors[name] = file.get_tensor(name)
                except (TypeError, AttributeError):
                    raise UserError(f"tensor {name} has a type that NumPy lacks") from None
        with path.open("rb") as raw:
            parse_json(raw.read(int.from_bytes(raw.read(8), "little")), "header")
        metadata = parse_json(text, "metadata")
        network = from_tensors(tensors, metadata)
        # The checksum is that of the file without it; files from before have none.
        if "checksum" in metadata and metadata["checksum"] != network_hash(network):
            raise UserError("damaged: its contents are not those of its checksum")
    except SafetensorError as error:
        what = what_is(path)
        said = f"{what}, not a frozen network: abbnn freeze makes one of a checkpoint" if what else str(error)
        raise UserError(f"{path}: {said.splitlines()[0]}") from None
    except OSError as error:
        raise UserError(f"{path}: {str(error).splitlines()[0]}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return network
