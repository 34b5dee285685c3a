"""What a file holds, for those who bring their own: tensors as freezing sees them, or a frozen network's layers.

A checkpoint is compared with the structure that its shapes suggest, tensor by tensor. Nothing is decided here: the
names are those of `train.tensors`, and a checkpoint is accepted if `export.freeze.freeze` takes it as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from rich.text import Text

from abbnn.errors import UserError
from abbnn.export.freeze import FreezeOptions, freeze
from abbnn.golden.network import IntegerNetwork, Scale, SumLayer
from abbnn.golden.ranges import Interval, SumRange, analyse
from abbnn.golden.structure import DECLARATIONS, Structure, block_name, declared_network
from abbnn.tables import console, new_table
from abbnn.train.tensors import NORM_STATISTICS, check_tensor, infer_structure, official_names, official_shapes

if TYPE_CHECKING:
    from abbnn.train.checkpoint import Entry

Shape = tuple[int, ...]
Status = Literal["recognised", "rename", "batch norm", "missing", "refused"]

NORM_MODULE = re.compile(r"(^|\.)(bn|batch_?norm)\d*$", re.IGNORECASE)
NO_BATCH_NORM = (
    "A&B BNN has no batch norm: standardized weights with a gain a filter, and biases where the family has them, take "
    "its place. abbnn import folds that of a trained network into scales and biases (docs/import.md)."
)

_ODD = "odd integers"
FOLDED: dict[str, tuple[tuple[str, ...], str]] = {
    "stem.weight": (("stem.weights", "stem.bias", "stem.scale"), _ODD),
    "stem.gain": (("stem.weights", "stem.bias", "stem.scale"), "a factor of the weights"),
    "stem.prelu": (("stem.prelu",), "slopes as sums of powers of two"),
    "bias0": (("threshold",), "where the sign changes"),
    "weight": (("bits", "scale"), "signs; mean |w| as a factor"),
    "gain": (("scale",), "a factor: sums of powers of two"),
    "shortcut.weight": (("shortcut.bits", "shortcut.bias", "shortcut.scale"), "signs; mean |w| as a factor"),
    "shortcut.gain": (("shortcut.bias", "shortcut.scale"), "a factor: sums of powers of two"),
    "bias1": (("activation.threshold", "activation.add_positive", "activation.add_before"), "fixed point"),
    "l_alpha": (("activation.exponent", "activation.add_before"), "slopes as shifts"),
    "bias2": (("activation.add_positive", "activation.add_after"), "fixed point"),
    "prelu": (("prelu",), "slopes as sums of powers of two"),
    "head.weight": (("head.weights", "head.bias"), "odd integers"),
    "head.bias": (("head.bias",), "fixed point"),
}
"""A tensor's canonical name, without its block -> the frozen tensors that depend on it, and as what."""
FOLDED_REAL: dict[str, tuple[tuple[str, ...], str]] = {
    "shortcut.weight": (("shortcut.weights", "shortcut.bias", "shortcut.scale"), _ODD),
    "shortcut.gain": (("shortcut.weights", "shortcut.bias", "shortcut.scale"), "a factor of the weights"),
}
"""The same of shortcuts with real weights."""


@dataclass(frozen=True)
class TensorRow:
    """A tensor of a checkpoint, or one that is missing there.

    `layer` is the canonical name that it has or should have; `note` says what freezing makes of it, or what is wrong.
    """

    tensor: str
    shape: Shape
    dtype: str
    status: Status
    layer: str = ""
    folded_into: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class LayerRow:
    """A sum of a frozen network, for any image: (low, high) and width of the raw sum and of the result behind scale or
    activation, and the width between the two, of shifted terms or of the numbers within the activation.

    `saturates` says whether a result might leave the values' width; None where nothing saturates.
    """

    layer: str
    output: Shape
    terms: int | None
    planes: int | None
    sum: tuple[int, int] | None
    sum_bits: int
    inner_bits: int | None
    result: tuple[int, int]
    result_bits: int
    saturates: bool | None


def folded(canonical: str, structure: Structure) -> tuple[tuple[str, ...], str]:
    """Names of the frozen tensors that canonical tensor `canonical` goes into (a scale's without `.sign` and `.shift`),
    and as what.
    """
    if canonical in FOLDED:
        return FOLDED[canonical]
    block, _, kind = canonical.partition(".")
    real = structure.blocks[int(block.removeprefix("block"))].projects_real
    names, note = (FOLDED | FOLDED_REAL if real else FOLDED)[kind]
    return tuple(f"{block}.{name}" for name in names), note


def structure_of(shapes: Mapping[str, Shape], network: str, geometry: Mapping[str, int]) -> Structure:
    """The member of the family of `network` that tensors of these official names and shapes fit best.

    `geometry` has the `image` and the `stem_stride` where they are known.
    Where `infer_structure` fails, it is tried with what all names begin with left out, and with each foreign tensor in
    the place of each missing one; the declared network is what remains.
    """
    inferred = _inferred(shapes, network, geometry)
    if inferred is not None:
        return inferred
    declared = _declared(shapes, network)
    guesses = (_inferred(guess, network, geometry) for guess in _renamed(shapes, official_shapes(declared)))
    return max([declared, *filter(None, guesses)], key=lambda structure: matches(shapes, structure))


def likeliest(shapes: Mapping[str, Shape], geometry: Mapping[str, int]) -> str:
    """The declared network that tensors of these names and shapes fit best."""
    fits = {name: _inferred(shapes, name, geometry) or _declared(shapes, name) for name in DECLARATIONS}
    return max(fits, key=lambda name: matches(shapes, fits[name]))


def matches(shapes: Mapping[str, Shape], structure: Structure) -> tuple[int, int, int]:
    """How many tensors have a name of `structure` and its shape, how many a name, and how many a shape."""
    wanted = official_shapes(structure)
    same = sum(shapes.get(name) == shape for name, shape in wanted.items())
    alike = Counter(shapes.values()) & Counter(wanted.values())
    return same, len(shapes.keys() & wanted.keys()), alike.total()


def _inferred(shapes: Mapping[str, Shape], network: str, geometry: Mapping[str, int]) -> Structure | None:
    # Only the shapes count: these arrays take no memory.
    arrays = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    try:
        return infer_structure(arrays, network, **geometry)
    except UserError:
        return None


def _declared(shapes: Mapping[str, Shape], network: str) -> Structure:
    """The declared network, with as many classes as there are biases of a head."""
    (classes, *_) = shapes.get("fc.bias") or (0,)
    return declared_network(network, classes=classes or 10)


def _renamed(shapes: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> Iterator[dict[str, Shape]]:
    if len({name.partition(".")[0] for name in shapes}) == 1:
        yield {name.partition(".")[2]: shape for name, shape in shapes.items()}
    foreign = [name for name in shapes if name not in wanted]
    for missing in (name for name, shape in wanted.items() if name not in shapes and len(shape) > 1):
        for name in foreign:
            if len(shapes[name]) == len(wanted[missing]):
                yield {missing if key == name else key: shape for key, shape in shapes.items()}


def tensor_rows(entries: Sequence[Entry], structure: Structure) -> list[TensorRow]:
    """A row for each tensor of a checkpoint, and for each that is missing, in the order of the layers.

    A tensor whose name is unknown takes the place of a missing one whose name it ends with, else of the next one of its
    shape behind its predecessor.
    """
    wanted = official_shapes(structure)
    order = {name: place for place, name in enumerate(wanted)}
    layer = {name: canonical for canonical, names in official_names(structure).items() for name in names}
    missing = dict.fromkeys(name for name in wanted if name not in {entry.name for entry in entries})
    modules = {
        module for module, _, kind in (entry.name.rpartition(".") for entry in entries) if kind in NORM_STATISTICS
    }
    rows: list[tuple[int, TensorRow]] = []
    place = -1
    for entry in entries:
        module, _, kind = entry.name.rpartition(".")
        row = TensorRow(entry.key, entry.shape, entry.dtype, "refused")
        if module in modules or (NORM_MODULE.search(module) and entry.name not in wanted):
            row = replace(row, status="batch norm", note=f"batch norm's {kind}: A&B BNN has none")
        elif entry.name in wanted:
            place = order[entry.name]
            row = _judged(row, entry, wanted[entry.name], layer[entry.name], structure)
        elif entry.array is None:
            row = replace(row, note=entry.fault)
        else:
            name = _likely(entry, missing, wanted, order, layer, place)
            if name is None:
                row = replace(row, note=f"does not belong to {structure.name}")
            else:
                del missing[name]
                place = order[name]
                reshape = "" if entry.shape == wanted[name] else f", with shape {wanted[name]}"
                row = replace(row, status="rename", layer=layer[name], note=f"rename to {name}{reshape}")
        rows.append((place, row))
    rows += [
        (order[name], TensorRow(name, wanted[name], "", "missing", layer[name], note=f"missing; shape {wanted[name]}"))
        for name in missing
    ]
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _judged(row: TensorRow, entry: Entry, shape: Shape, canonical: str, structure: Structure) -> TensorRow:
    """The row of a tensor that has a known name."""
    if entry.array is None:
        return replace(row, layer=canonical, note=entry.fault)
    try:
        check_tensor(entry.name, entry.array, shape, structure)
    except UserError as error:
        return replace(row, layer=canonical, note=str(error))
    into, note = folded(canonical, structure)
    return replace(row, status="recognised", layer=canonical, folded_into=into, note=note)


def _likely(
    entry: Entry,
    missing: Mapping[str, None],
    wanted: Mapping[str, Shape],
    order: Mapping[str, int],
    layer: Mapping[str, str],
    place: int,
) -> str | None:
    """The missing tensor that `entry`, behind the one at `place`, probably is."""
    for name in missing:
        if entry.shape == wanted[name] and (entry.name.endswith(f".{name}") or entry.name == layer[name]):
            return name
    alike = [name for name in missing if wanted[name] == entry.shape]
    alike = alike or [name for name in missing if _squeezed(wanted[name]) == _squeezed(entry.shape)]
    return min(alike, key=lambda name: abs(order[name] - place - 1), default=None)


def _squeezed(shape: Shape) -> Shape:
    return tuple(side for side in shape if side != 1)


def layer_rows(network: IntegerNetwork) -> list[LayerRow]:
    """A row for every sum of `network`. UserError if range analysis refuses it."""
    structure, ranges = network.structure, analyse(network)
    saturating = ranges.can_saturate

    def summed(
        name: str,
        output: Shape,
        found: SumRange,
        scale: Scale | None,
        layer: SumLayer | None = None,
        saturates: bool | None = None,
    ) -> LayerRow:
        return LayerRow(
            name,
            output,
            None if scale is None else scale.terms,
            None if layer is None else layer.planes,
            _ends(found.sum),
            found.sum.bits,
            found.products_bits,
            _ends(found.scaled),
            found.scaled.bits,
            saturates,
        )

    stem = (structure.stem.out_channels, *structure.stem_conv_output)
    rows = [summed("stem", stem, ranges.stem, network.stem_scale, network.stem, "stem" in saturating)]
    if ranges.stem_prelu is not None:
        possible = "stem.prelu" in saturating
        rows.append(summed("stem.prelu", stem, ranges.stem_prelu, network.stem_prelu, saturates=possible))
    for index, (block, numbers, found) in enumerate(zip(structure.blocks, network.blocks, ranges.blocks, strict=True)):
        name = block_name(index)
        rows.append(summed(f"{name}.conv", block.output, found.conv, numbers.scale))
        if found.shortcut is not None:
            scale, layer = numbers.shortcut_scale, numbers.shortcut
            rows.append(summed(f"{name}.shortcut", block.output, found.shortcut, scale, layer))
        prelu, terms = found.prelu, None if numbers.prelu is None else numbers.prelu.terms
        added = None if prelu is None else _ends(prelu.sum)
        inner = found.activation_bits if prelu is None else prelu.products_bits
        result = _ends(found.output), found.output.bits
        saturates = name in saturating
        rows.append(LayerRow(name, block.output, terms, None, added, found.added_bits, inner, *result, saturates))
    channels = structure.head_input[2]
    pool, scores = _ends(ranges.pool), _ends(ranges.scores)
    summed_bits = ranges.pool_bits + network.pool_shift
    rows.append(LayerRow("pool", (channels,), None, None, None, summed_bits, None, pool, ranges.pool_bits, None))
    bits = ranges.scores.bits
    rows.append(
        LayerRow("head", (structure.classes,), None, network.head.planes, scores, bits, None, scores, bits, None)
    )
    return rows


def _ends(interval: Interval) -> tuple[int, int]:
    return int(interval.low.min()), int(interval.high.max())


@dataclass(frozen=True)
class InspectedNetwork:
    """A frozen network's sums; `refused` is why range analysis refuses it, if it does."""

    file: str
    name: str
    value_width: int
    fraction_bits: int
    layers: Sequence[LayerRow]
    refused: str

    @staticmethod
    def of(file: str, network: IntegerNetwork) -> InspectedNetwork:
        layers, refused = [], ""
        try:
            layers = layer_rows(network)
        except UserError as error:
            refused = str(error)
        name, width, fraction = network.structure.name, network.value_width, network.fraction_bits
        return InspectedNetwork(file, name, width, fraction, layers, refused)

    @property
    def accepted(self) -> bool:
        return not self.refused

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"accepted": self.accepted}

    def summary(self) -> str:
        """Widths, and where values might saturate."""
        saturating = ", ".join(row.layer for row in self.layers if row.saturates) or "none"
        widths = f"values of {self.value_width} bits (W), {self.fraction_bits} of them fraction (F)"
        return f"{widths}; layers that an image might saturate: {saturating}"

    def print(self) -> None:
        print(f"{self.file}: {self.name}, frozen")
        if self.refused:
            print(f"refused: {self.refused}")
            return
        columns = ("layer", "output", "T", "planes", "sum", "bits", "inside", "result", "bits", "saturates")
        table = new_table(None, columns, texts=2)
        for row in self.layers:
            saturates = "" if row.saturates is None else "possible" if row.saturates else "none"
            sums = "" if row.sum is None else _range(row.sum)
            numbers = (row.terms, row.planes, row.sum_bits, row.inner_bits, row.result_bits)
            terms, planes, bits, inner, last = ("" if number is None else str(number) for number in numbers)
            result = _range(row.result), last, saturates
            table.add_row(row.layer, _sides(row.output), terms, planes, sums, bits, inner, *result)
        console().print(table)
        print(self.summary())


@dataclass(frozen=True)
class InspectedCheckpoint:
    """A checkpoint's tensors, why `network` is taken for what it holds, and what freezing says: `frozen` or `refused`.

    Freezing is tried where every tensor is recognised.
    """

    file: str
    network: str
    because: str
    tensors: Sequence[TensorRow]
    frozen: InspectedNetwork | None
    refused: str

    @property
    def accepted(self) -> bool:
        return self.frozen is not None and self.frozen.accepted

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"accepted": self.accepted}

    def print(self) -> None:
        print(f"{self.file}: a checkpoint, taken for {self.network} ({self.because})")
        table = new_table(None, ("tensor", "type", "shape", "taken for", "goes into, or what is wrong"), texts=5)
        for column in (table.columns[0], table.columns[-1]):
            column.no_wrap, column.overflow = False, "fold"
        for row in self.tensors:
            layer = row.layer.rpartition(".")[0]
            into = ", ".join(name.removeprefix(f"{layer}.") for name in row.folded_into)
            into = into.replace(", activation.", ", .")
            note = f"{into}: {row.note}" if into else row.note
            # Texts, for a file's names may look like markup.
            table.add_row(*map(Text, (row.tensor, row.dtype, _sides(row.shape), row.layer, note)))
        console().print(table)
        counts = Counter(row.status for row in self.tensors)
        print(", ".join(f"{counts[status]} {status}" for status in get_args(Status) if counts[status]))
        if counts["batch norm"]:
            print(NO_BATCH_NORM)
        if self.frozen is not None:
            print(f"freezing takes it: {self.frozen.summary()}")
        else:
            print(f"freezing refuses it: {self.refused}")


def _sides(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _range(ends: tuple[int, int]) -> str:
    return f"{ends[0]}..{ends[1]}"


def inspect_checkpoint(path: Path, network: str | None, reader: ModuleType) -> InspectedCheckpoint:
    """The checkpoint at `path`, read by `train.checkpoint`; of None, `network` is what it states or fits best.

    UserError if it cannot be read.
    """
    entries, metadata = reader.entries(path)
    shapes = {entry.name: entry.shape for entry in entries}
    numbers = {key: metadata.get(key) for key in ("image", "stem_stride")}
    geometry = {key: value for key, value in numbers.items() if type(value) is int and value > 0}
    stated = metadata.get("network")
    because = "as asked"
    if network is None and isinstance(stated, str) and stated in DECLARATIONS:
        network, because = stated, "as it states"
    elif network is None:
        network, because = likeliest(shapes, geometry), "the best fit; --network chooses another"
    tensors = tensor_rows(entries, structure_of(shapes, network, geometry))
    wrong = next((row for row in tensors if row.status != "recognised"), None)
    frozen, refused = None, ""
    if wrong is not None:
        refused = f"{wrong.tensor}: {wrong.note}"
    else:
        try:
            structure, variant, arrays, source = reader.load(path, network)
            frozen = InspectedNetwork.of(str(path), freeze(arrays, structure, variant, FreezeOptions(), source=source))
        except UserError as error:
            refused = str(error).removeprefix(f"{path}: ")
    return InspectedCheckpoint(str(path), network, because, tensors, frozen, refused)
