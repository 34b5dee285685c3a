"""Operations of one image, a layer, in four forms of a network: counted from `golden.structure` alone.

BN        batch normalisation behind every convolution, real-valued 1x1 convolutions in the shortcuts
BN-Free   alpha and beta instead, binary weights in the shortcuts too, but for Bi-Real's; slopes and scales are real
          numbers
A&B       the official code's inference: alpha, slopes and 2x2 averages are shifts, beta is gone
hardware  what the frozen network does

The paper counts multiplications of the first three outside stem and head, and leaves out gain * mean|w|, which it takes
for part of the weights. docs/report.md has the rule of every layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from rich.table import Table

from abbnn.export.freeze import (
    DEFAULT_HEAD_PLANES,
    DEFAULT_SHORTCUT_PLANES,
    DEFAULT_STEM_PLANES,
    DEFAULT_TERMS,
    scale_terms,
)
from abbnn.golden.network import IntegerNetwork
from abbnn.golden.structure import Block, Structure, block_name
from abbnn.tables import new_table

Form = Literal["BN", "BN-Free", "A&B", "hardware"]
FORMS: tuple[Form, ...] = get_args(Form)
KINDS = ("multiply", "add", "binary", "shift")


@dataclass(frozen=True)
class Count:
    """`additions` are of any two numbers, subtractions and comparisons too; `binary` is an XNOR and its place in a
    popcount; `shifts` are by a table's amount or a fixed one.
    """

    multiplications: int = 0
    additions: int = 0
    binary: int = 0
    shifts: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(**{name: number + getattr(other, name) for name, number in vars(self).items()})

    def __mul__(self, times: int) -> Count:
        return Count(**{name: number * times for name, number in vars(self).items()})


Row = dict[Form, Count]
"""One layer in all forms."""

NONE = Count()
MULTIPLICATION = Count(multiplications=1)
ADDITION = Count(additions=1)
SHIFT = Count(shifts=1)


@dataclass(frozen=True)
class Precision:
    """What the hardware's numbers depend on: planes of weights, those of real shortcuts by block; terms of scales by
    the names of `FreezeOptions.terms_of`.
    """

    stem_planes: int = DEFAULT_STEM_PLANES
    head_planes: int = DEFAULT_HEAD_PLANES
    terms: int = DEFAULT_TERMS
    terms_of: Mapping[str, int] = field(default_factory=dict)
    shortcut_planes_of: Mapping[str, int] = field(default_factory=dict)

    def scale(self, name: str) -> Count:
        """One number times a factor: its terms are shifted and summed, the guard bits are dropped."""
        terms = self.terms_of.get(name, self.terms)
        return SHIFT * terms + ADDITION * (terms - 1) + SHIFT

    @staticmethod
    def of(network: IntegerNetwork) -> Precision:
        """Planes and terms of a frozen network."""
        shortcuts = {block_name(index): block.shortcut for index, block in enumerate(network.blocks)}
        return Precision(
            network.stem.planes,
            network.head.planes,
            terms_of=scale_terms(network),
            shortcut_planes_of={name: layer.planes for name, layer in shortcuts.items() if layer is not None},
        )


def _row(bn: Count, bn_free: Count, ab: Count, hardware: Count, times: int = 1) -> Row:
    counts = (bn, bn_free, ab, hardware)
    return {form: count * times for form, count in zip(FORMS, counts, strict=True)}


def _same(count: Count, times: int) -> Row:
    return dict.fromkeys(FORMS, count * times)


def _dot(terms: int) -> Count:
    """A sum of products."""
    return MULTIPLICATION * terms + ADDITION * (terms - 1)


def _planes(terms: int, planes: int) -> Count:
    """A sum of values times weights of `planes` planes of +-1, and the bias; the sum doubles between planes."""
    return ADDITION * (terms * planes) + SHIFT * (planes - 1)


def _prelu(slope: Count, elements: int) -> Row:
    """The official code's free slopes are multiplied with in the A&B form, too."""
    return _row(MULTIPLICATION, MULTIPLICATION, MULTIPLICATION, slope, elements)


def block_input(block: Block) -> int:
    """Elements of the map that the block's sign sees."""
    return block.in_channels * block.height * block.width


def block_output(block: Block) -> int:
    return block.out_channels * block.out_height * block.out_width


def _stem_rows(structure: Structure, precision: Precision) -> dict[str, Row]:
    stem = structure.stem
    conv_height, conv_width = structure.stem_conv_output
    elements, taps = stem.out_channels * conv_height * conv_width, stem.in_channels * stem.kernel**2
    # The stem's own scale is a power of two, whatever T is.
    hardware = (_planes(taps, precision.stem_planes) + SHIFT * 2) * elements
    centering = ADDITION * (structure.height * structure.width * stem.in_channels)
    conv = _row(_dot(taps) + MULTIPLICATION + ADDITION, _dot(taps), _dot(taps), NONE, elements)
    conv["hardware"] = hardware + centering
    rows = {"stem.conv": conv}
    if stem.prelu:
        rows["stem.prelu"] = _prelu(precision.scale("stem.prelu"), elements)
    if stem.max_pool:
        height, width = structure.stem_output
        rows["stem.pool"] = _same(ADDITION * 8, stem.out_channels * height * width)
    return rows


def _shortcut_row(name: str, block: Block, precision: Precision) -> Row:
    """What the shortcut computes, and the adder."""
    row = _same(ADDITION, block_output(block))
    if block.averages:
        average = ADDITION * 3
        pooled = block.in_channels * block.out_height * block.out_width
        by_product, by_shift = average + MULTIPLICATION, average + SHIFT
        row = _sum([row, _row(by_product, by_product, by_shift, by_shift, pooled)])
    if block.projects:
        terms = block.in_channels
        without = _dot(terms) if block.projects_real else ADDITION * (terms - 1)
        # BN: the normalisation is folded into the real weights and leaves an offset. Hardware: a bias that rounds; the
        # scale behind real weights is a power of two, whatever T is.
        if block.projects_real:
            hardware = _planes(terms, precision.shortcut_planes_of.get(name, DEFAULT_SHORTCUT_PLANES)) + SHIFT * 2
        else:
            hardware = _planes(terms, 1) + precision.scale(f"{name}.shortcut")
        row = _sum([row, _row(_dot(terms) + ADDITION, without, without, hardware, block_output(block))])
    return row


def _block_rows(name: str, block: Block, precision: Precision) -> dict[str, Row]:
    elements = block_output(block)
    taps = block.in_channels * block.kernel**2
    bias = ADDITION if block.biased else NONE
    products = Count(binary=taps)
    # 2 * popcount and what corrects it: - taps, and padding.
    sums = products + SHIFT + ADDITION
    rows = {
        "sign": _row(bias, bias + MULTIPLICATION, bias, ADDITION, block_input(block)),
        "conv": _row(products, products, products, sums, elements),
        "scale": _row(MULTIPLICATION + ADDITION, MULTIPLICATION, SHIFT, precision.scale(name), elements),
        "shortcut": _shortcut_row(name, block, precision),
    }
    if block.activation == "qprelu":
        biases = ADDITION * 2
        rows["activation"] = _row(
            MULTIPLICATION + biases, MULTIPLICATION + biases, SHIFT + biases, SHIFT + biases + ADDITION, elements
        )
    elif block.activation == "prelu":
        rows["activation"] = _prelu(precision.scale(f"{name}.prelu"), elements)
    return {f"{name}.{part}": row for part, row in rows.items()}


def _head_rows(structure: Structure, precision: Precision) -> dict[str, Row]:
    height, width, channels = structure.head_input
    positions = height * width
    total = ADDITION * (positions - 1)
    divided, shifted = total + MULTIPLICATION, total + SHIFT
    # Hardware: what a shift leaves of the division is in the head's weights.
    power_of_two = positions & (positions - 1) == 0
    linear = _dot(channels) + ADDITION
    greatest = _same(ADDITION, structure.classes - 1)
    return {
        "pool": _row(divided, divided, shifted if power_of_two else divided, shifted, channels),
        "head": _sum(
            [_row(linear, linear, linear, _planes(channels, precision.head_planes), structure.classes), greatest]
        ),
    }


def _sum(rows: list[Row]) -> Row:
    return {form: sum((row[form] for row in rows), NONE) for form in FORMS}


def inner_layers(structure: Structure, precision: Precision) -> dict[str, Row]:
    """Every layer between stem and global pool, in order: what the paper counts."""
    rows: dict[str, Row] = {}
    for index, block in enumerate(structure.blocks):
        rows |= _block_rows(block_name(index), block, precision)
    return rows


def outer_layers(structure: Structure, precision: Precision) -> dict[str, Row]:
    """Stem, global pool and head: what the paper leaves out."""
    return _stem_rows(structure, precision) | _head_rows(structure, precision)


def total(rows: Mapping[str, Row]) -> Row:
    return _sum(list(rows.values()))


def removed(structure: Structure, precision: Precision) -> dict[str, int]:
    """Multiplications of the BN-Free form that the A&B form is without, as the paper counts them: two ways.

    beta meets each convolution's input ("beta on inputs"). Counted once an element of the output instead ("beta on
    outputs"), it gives the paper's number of ReActNet-18.
    """
    row = total(inner_layers(structure, precision))
    on_inputs = row["BN-Free"].multiplications - row["A&B"].multiplications
    difference = sum(block_output(block) - block_input(block) for block in structure.blocks)
    return {"beta on inputs": on_inputs, "beta on outputs": on_inputs + difference}


def weight_bits(structure: Structure) -> int:
    """Binary weights, those of the shortcuts among them."""
    return sum(block.binary_weights for block in structure.blocks)


def footnotes(structure: Structure, precision: Precision) -> list[str]:
    """What the tables do not say by themselves."""
    numbers = removed(structure, precision)
    notes = [
        f"A&B is without {numbers['beta on inputs']:,} multiplications that BN-Free has in the blocks; with beta "
        f"counted on each convolution's output instead of its input, {numbers['beta on outputs']:,}. The paper's "
        "4.60 M of ReActNet-18 (reactnet18 --image 224) has beta on outputs, its 14.65 M of ReActNet-A (reactneta "
        "--image 224) on inputs; no rule that was tried gives both.",
        "Like the paper, BN, BN-Free and A&B take gain * mean|w| for part of the weights; beside XNOR and popcount it "
        "is a factor a channel, which the hardware's scale has.",
    ]
    kept = total(inner_layers(structure, precision))["A&B"].multiplications
    if kept:
        notes.append(
            f"A&B keeps {kept:,} multiplications in the blocks: those of a PReLU, whose slopes are free in the "
            "official code, and of shortcuts with real weights; the paper counts 0. The hardware shifts and adds."
        )
    return notes


def tables(structure: Structure, precision: Precision) -> list[Table]:
    """One table a form with a row a layer, then the sums of all forms."""
    inner, outer = inner_layers(structure, precision), outer_layers(structure, precision)
    title = f"{structure.name}, {structure.height}x{structure.width}"
    result = []
    for form in FORMS:
        layers = new_table(f"{form}: {title}", ("layer", *KINDS))
        for rows in (inner, outer):
            for name, row in rows.items():
                layers.add_row(name, *_cells(row[form]))
            layers.add_section()
        layers.add_row("all", *_cells(total(inner | outer)[form]))
        result.append(layers)
    sums = new_table(title, ("form", *KINDS))
    for part, rows in (("blocks", inner), ("stem, pool, head", outer)):
        for form, count in total(rows).items():
            sums.add_row(f"{form}: {part}", *_cells(count, "0"))
        sums.add_section()
    return [*result, sums]


def _cells(count: Count, zero: str = "") -> list[str]:
    numbers = (count.multiplications, count.additions, count.binary, count.shifts)
    return [f"{number:,}" if number else zero for number in numbers]


def to_json(structure: Structure, precision: Precision) -> dict[str, Any]:
    """All that the tables hold: layer -> form -> operations."""
    inner, outer = inner_layers(structure, precision), outer_layers(structure, precision)

    def plain(row: Row) -> dict[str, dict[str, int]]:
        return {form: asdict(count) for form, count in row.items()}

    return {
        "network": structure.name,
        "image": [structure.height, structure.width],
        "classes": structure.classes,
        "blocks": {name: plain(row) for name, row in inner.items()},
        "stem, pool, head": {name: plain(row) for name, row in outer.items()},
        "sums": {"blocks": plain(total(inner)), "stem, pool, head": plain(total(outer))},
        "removed multiplications": removed(structure, precision),
        "notes": footnotes(structure, precision),
    }
