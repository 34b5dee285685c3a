"""From a mapped float network (`train.mapping`) to the frozen one, and what rounding its factors and slopes costs.

A block's biases, batch norm's and the shortcut's among them, all stand between its adder and its PReLU: they become
one. What multiplies a convolution becomes its scale. docs/import.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbnn.errors import UserError
from abbnn.export.freeze import Floats, FreezeOptions, freeze, scales, signed_powers
from abbnn.golden.network import EXPONENT_RANGE, TERMS_MAX, IntegerNetwork
from abbnn.golden.structure import Block, block_name
from abbnn.tables import console, new_table
from abbnn.train.mapping import MappedBlock, MappedNetwork, Slopes

TOLERANCE = 0.04
"""Of a factor: three powers of two, each the nearest to what is left, come within 1/27."""
SLOPE_TOLERANCE = 1e-6
"""Float32 holds powers of two exactly; a training script's own arithmetic may not."""
FINEST = -60
"""The least exponent of terms where no value's last bit limits them."""


@dataclass(frozen=True)
class ScaleRow:
    """A scale's terms, and the relative errors of its factors; `dropped` ones are too small to move a value."""

    scale: str
    terms: int
    channels: int
    worst: float
    mean: float
    dropped: int


@dataclass(frozen=True)
class SlopeRow:
    """How many of a PReLU's slopes were rounded, and by how much at the worst."""

    tensor: str
    channels: int
    rounded: int
    worst: float


@dataclass(frozen=True)
class Accuracy:
    """On `images`, in percent: equal classes, and right ones where there are labels."""

    images: int
    agreement: float
    float_top1: float | None
    integer_top1: float | None

    @staticmethod
    def of(logits: Floats, scores: NDArray[Any], labels: NDArray[np.int64] | None) -> Accuracy:
        ours, theirs = scores.argmax(axis=1), logits.argmax(axis=1)
        right = [None if labels is None else float(100 * (classes == labels).mean()) for classes in (theirs, ours)]
        return Accuracy(len(logits), float(100 * (ours == theirs).mean()), *right)


@dataclass(frozen=True)
class Report:
    """What importing made of a network, and what it cost."""

    scales: tuple[ScaleRow, ...]
    slopes: tuple[SlopeRow, ...]
    accuracy: Accuracy | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def print(self) -> None:
        table = new_table(
            "Factors as signed sums of T powers of two", ("scale", "T", "channels", "worst", "mean", "dropped")
        )
        for row in self.scales:
            errors = f"{row.worst:.2%}", f"{row.mean:.2%}"
            table.add_row(row.scale, str(row.terms), str(row.channels), *errors, str(row.dropped or ""))
        console().print(table)
        for slope in self.slopes:
            if slope.rounded:
                print(f"{slope.tensor}: {slope.rounded} of {slope.channels} slopes rounded, by up to {slope.worst:.3g}")
        found = self.accuracy
        if found is not None:
            print(f"same class as the float network: {found.agreement:.2f}% of {found.images} images")
            if found.float_top1 is not None:
                print(f"top-1: float {found.float_top1:.2f}%, integer {found.integer_top1:.2f}%")


def factors(network: MappedNetwork) -> dict[str, Floats]:
    """Name in `export.freeze.scale_names` -> what the scale has to come close to, from a sum's unit to a value's."""
    result = {} if network.stem_slopes is None else {"stem.prelu": network.stem_slopes.values}
    for index, (block, geometry) in enumerate(zip(network.blocks, network.structure.blocks, strict=True)):
        name = block_name(index)
        result[name] = network.variant.alpha * block.conv.factor
        if block.shortcut is not None and not geometry.projects_real:
            result[f"{name}.shortcut"] = block.shortcut.factor
        if geometry.activation == "prelu" and block.slopes is not None:
            result[f"{name}.prelu"] = block.slopes.values
    return result


def _errors(factors: Floats, sums: NDArray[Any]) -> Floats:
    """Relative errors of `sums` (C, ...) against factors (C,); that of a factor of 0 is 0."""
    wanted = factors.reshape(-1, *[1] * (sums.ndim - 1))
    errors: Floats = np.abs(sums - wanted) / np.where(wanted == 0, 1.0, np.abs(wanted))
    return errors


def least_terms(factors: Floats, tolerance: float) -> int:
    """The fewest powers of two a factor that bring every factor (C,) within the relative tolerance, 8 at most.

    >>> least_terms(np.array([0.5, -4.0]), 0.01), least_terms(np.array([0.75, 0.5]), 0.01)
    (1, 2)
    """
    sign, exponent = signed_powers(factors, TERMS_MAX, FINEST)
    worst = _errors(factors, np.cumsum(sign * 2.0**exponent, axis=1)).max(axis=0)
    return int(np.argmax(worst <= tolerance)) + 1 if worst.min() <= tolerance else TERMS_MAX


def exponents(slopes: Slopes, *, nearest: bool) -> tuple[NDArray[np.int64], SlopeRow]:
    """log2 of the slopes, the least that there is for 0. UserError names one that is no power of two, unless it is to
    become the `nearest`.
    """
    low, high = EXPONENT_RANGE
    values = slopes.values
    # The nearest power of two is the upper one from 1.5 times the lower one on.
    found = np.clip(np.floor(np.log2(np.maximum(values, 2.0**low) / 0.75)), low, high).astype(np.int64)
    powers = np.where(found == low, 0.0, 2.0**found)
    off = np.abs(powers - values)
    wrong = off > np.maximum(SLOPE_TOLERANCE * np.abs(values), 2.0**low)
    if wrong.any() and not nearest:
        channel = int(np.argmax(wrong))
        raise UserError(
            f"{slopes.name}: {values[channel]:g} of channel {channel} is no slope of a QPReLU: they are 0 and 2**{low} "
            f"to 2**{high}; --slopes nearest makes it {powers[channel]:g}, and training with such slopes loses nothing"
        )
    return found, SlopeRow(slopes.name, len(values), int(wrong.sum()), float(off.max(where=wrong, initial=0.0)))


def canonical(network: MappedNetwork, *, nearest: bool = False) -> tuple[dict[str, Floats], tuple[SlopeRow, ...]]:
    """The canonical tensors that `freeze` takes, with weights that are not latent, and what became of the slopes."""
    tensors = {
        "stem.weight": network.stem.weight,
        "stem.gain": network.stem.gain,
        "stem.bias": network.stem.bias,
        "head.weight": network.head_weight,
        "head.bias": network.head_bias,
    }
    if network.stem_slopes is not None:
        tensors["stem.prelu"] = network.stem_slopes.values
    rows = []
    for index, (block, geometry) in enumerate(zip(network.blocks, network.structure.blocks, strict=True)):
        found, row = _block(block, geometry, nearest)
        tensors |= {f"{block_name(index)}.{key}": values for key, values in found.items()}
        rows += [] if row is None else [row]
    return tensors, tuple(rows)


def _block(block: MappedBlock, geometry: Block, nearest: bool) -> tuple[dict[str, Floats], SlopeRow | None]:
    tensors, row = {"bias0": block.bias0, "weight": block.conv.weight, "gain": block.conv.gain}, None
    added = block.conv.bias + block.bias1
    if block.shortcut is not None:
        tensors |= {"shortcut.weight": block.shortcut.weight, "shortcut.gain": block.shortcut.gain}
        added = added + block.shortcut.bias
    if geometry.activation == "qprelu":
        exponent = np.zeros(geometry.out_channels)
        if block.slopes is not None:
            found, row = exponents(block.slopes, nearest=nearest)
            exponent = found.astype(np.float64)
        tensors |= {"bias1": added, "l_alpha": exponent, "bias2": block.bias2}
    elif geometry.activation == "prelu" and block.slopes is not None:
        tensors["prelu"] = block.slopes.values
    return tensors, row


def import_network(
    network: MappedNetwork,
    options: FreezeOptions,
    *,
    tolerance: float = TOLERANCE,
    nearest: bool = False,
    source: Mapping[str, Any] | None = None,
    images: NDArray[np.uint8] | None = None,
) -> tuple[IntegerNetwork, Report]:
    """The frozen network, and what it cost. Without `options.terms` each scale has as few as bring it within
    `tolerance`; `nearest` rounds slopes that are no powers of two. The rest is `freeze`'s.
    """
    tensors, slopes = canonical(network, nearest=nearest)
    wanted = factors(network)
    if options.terms is None:
        terms = {name: least_terms(values, tolerance) for name, values in wanted.items()}
        options = replace(options, terms_of=terms | dict(options.terms_of))
    frozen = freeze(tensors, network.structure, network.variant, options, source=source, images=images, latent=False)
    rows = []
    for name, scale in scales(frozen).items():
        # Only a binary convolution's sums are numbers without a fraction.
        unit = 2.0**frozen.fraction_bits if "." not in name else 1.0
        approximations = scale.multiplier / (2.0**scale.guard * unit)
        dropped = (approximations == 0) & (wanted[name] != 0)
        errors = _errors(wanted[name], approximations)[~dropped]
        worst, mean = (float(errors.max(initial=0.0)), float(errors.mean())) if len(errors) else (0.0, 0.0)
        rows.append(ScaleRow(name, scale.terms, len(dropped), worst, mean, int(dropped.sum())))
    return frozen, Report(tuple(rows), slopes)
