"""From float tensors to the frozen integer network. NumPy only: reading the checkpoint is `train.checkpoint`'s work.

Every rounding of the float network happens here, once: weights to signs and odd integers, factors to signed powers of
two, thresholds, biases and slopes to fixed point. docs/formats.md says what each number means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.network import (
    BIAS_BITS,
    EXPONENT_RANGE,
    PIXEL_BITS,
    SHIFT_MAX,
    Activation,
    BlockNumbers,
    IntegerNetwork,
    Scale,
    SumLayer,
)
from golden.ops import value_range
from golden.ranges import analyse
from golden.structure import Structure
from train.betas import block_betas
from train.data import MEAN, STD

Floats = NDArray[np.float64]

EPSILON = 1e-5
"""Of the scaled weight standardization."""
FIELD_BITS = 30
"""Of bias1 and bias2: their sum, and half of a shift's last bit more, must fit the file's 32."""
PRECISION_BITS = 6
"""Terms of a factor finer than 2**-PRECISION_BITS of a value's last bit for an input of 1.0 are dropped."""


@dataclass(frozen=True)
class FreezeOptions:
    """What the user may choose. `terms` of None means 1 for power-of-two checkpoints, else 3."""

    value_width: int = 16
    fraction_bits: int = 9
    stem_planes: int = 8
    head_planes: int = 8
    terms: int | None = None

    def __post_init__(self) -> None:
        for name, low, high in (
            ("value_width", 8, 24),
            ("fraction_bits", 1, 20),
            ("stem_planes", 2, 15),
            ("head_planes", 2, 15),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} {getattr(self, name)} is outside {low}..{high}")
        if self.fraction_bits >= self.value_width:
            raise ValueError(f"{self.fraction_bits} fraction bits leave nothing of {self.value_width}")
        if self.terms is not None and not 1 <= self.terms <= 8:
            raise ValueError(f"terms {self.terms} is outside 1..8")


def expected_tensors(structure: Structure) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the checkpoint's tensors, in the official spelling without `module.`."""
    stem = structure.stem
    shapes: dict[str, tuple[int, ...]] = {
        "conv1.weight": (stem.out_channels, stem.in_channels, stem.kernel, stem.kernel),
        "conv1.gain": (stem.out_channels, 1, 1, 1),
    }
    for name, block in zip(block_names(structure), structure.blocks, strict=True):
        cin, cout = block.in_channels, block.out_channels
        shapes |= {
            f"{name}.move0.bias": (1, cin, 1, 1),
            f"{name}.conv1.weight": (cout, cin, 3, 3),
            f"{name}.conv1.gain": (cout, 1, 1, 1),
            f"{name}.move1.bias": (1, cout, 1, 1),
            f"{name}.prelu.L_alpha": (cout,),
            f"{name}.move2.bias": (1, cout, 1, 1),
        }
        if block.downsamples:
            shapes |= {
                f"{name}.downsample.1.weight": (cout, cin, 1, 1),
                f"{name}.downsample.1.gain": (cout, 1, 1, 1),
            }
    return shapes | {"fc.weight": (structure.classes, structure.head_input[2]), "fc.bias": (structure.classes,)}


def block_names(structure: Structure) -> list[str]:
    """layerS.B of every block: a new stage S begins at every later block that downsamples."""
    names: list[str] = []
    stage, index = 1, 0
    for block in structure.blocks:
        if block.downsamples and names:
            stage, index = stage + 1, 0
        names.append(f"layer{stage}.{index}")
        index += 1
    return names


def check_tensors(tensors: Mapping[str, NDArray[Any]], structure: Structure) -> dict[str, Floats]:
    """All expected tensors as float64. ValueError names the first that is missing, extra, misshapen or not finite."""
    expected = expected_tensors(structure)
    for name in expected:
        if name not in tensors:
            raise ValueError(f"tensor {name} of {structure.name} is missing")
    for name, tensor in tensors.items():
        if name not in expected:
            raise ValueError(f"tensor {name} does not belong to {structure.name}")
        if tuple(tensor.shape) != expected[name]:
            raise ValueError(f"tensor {name} has shape {tuple(tensor.shape)}, {structure.name} has {expected[name]}")
        if not np.isfinite(tensor).all():
            raise ValueError(f"tensor {name} holds NaN or infinity")
    return {name: np.asarray(tensor, np.float64) for name, tensor in tensors.items()}


def standardize(weight: Floats) -> Floats:
    """Scaled weight standardization (Eq. 1) an output channel: (w - mean) / (std + eps) / sqrt(fan-in)."""
    flat = weight.reshape(len(weight), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    result: Floats = centred / (flat.std(axis=1, keepdims=True) + EPSILON) / np.sqrt(flat.shape[1])
    return np.reshape(result, weight.shape)


def signed_powers(factors: Floats, terms: int, lowest: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Greedy signed sums of powers of two: sign and exponent, each (C, terms), of factors (C,).

    Each term is the power of two nearest to what is left; it stops where less than half of 2**lowest is left. Unused
    terms have sign 0 and exponent `lowest`.
    """
    sign = np.zeros((len(factors), terms), np.int64)
    exponent = np.full((len(factors), terms), lowest, np.int64)
    rest = factors.copy()
    for term in range(terms):
        used = np.abs(rest) >= 2.0 ** (lowest - 1)
        magnitude = np.where(used, np.abs(rest), 1.0)
        # The nearest power of two is the upper one from 1.5 times the lower one on.
        power = np.maximum(np.floor(np.log2(magnitude / 0.75)).astype(np.int64), lowest)
        sign[:, term] = np.where(used, np.sign(rest), 0)
        exponent[:, term] = np.where(used, power, lowest)
        rest = rest - sign[:, term] * 2.0 ** exponent[:, term]
    return sign, exponent


def freeze_scale(name: str, factors: Floats, terms: int, power_of_two: bool, *, reach: int, in_bits: int = 0) -> Scale:
    """Factors from integers in to last bits of a value out; a trained power of two is taken as it was trained.

    `name` goes into errors. The integers are below 2**reach: a power of two that cannot make half a last bit of them is
    dropped, for its guard bits would be wasted on all channels. `in_bits` are the fraction bits of what comes in: sums
    of values are that much greater than sums of +-1.
    """
    if power_of_two:
        # The same rounding, in the logarithm, as the straight-through estimator of training.
        exponent = np.round(np.log2(np.abs(np.where(factors == 0, 1.0, factors)))).astype(np.int64)[:, None]
        sign = np.where(exponent >= -reach, np.sign(factors).astype(np.int64)[:, None], 0)
    else:
        sign, exponent = signed_powers(factors, terms, -PRECISION_BITS - in_bits)
    guard = int(max(0, -exponent[sign != 0].min(initial=0)))
    shift = np.where(sign != 0, exponent + guard, 0)
    _check_shifts(name, shift, guard)
    return Scale(sign, shift, guard)


def _check_shifts(name: str, shift: NDArray[np.int64], guard: int) -> None:
    if shift.max() > SHIFT_MAX:
        raise ValueError(f"{name}: factors from 2**{-guard} to 2**{shift.max() - guard} take shifts beyond {SHIFT_MAX}")


def _fixed(tensors: Mapping[str, Floats], name: str, unit: float, bits: int) -> NDArray[np.int64]:
    """Tensor `name` in multiples of 1 / unit, rounded; ValueError if it leaves signed `bits` bits."""
    values = np.round(tensors[name].ravel() * unit)
    if np.abs(values).max() >= 2.0 ** (bits - 1):
        raise ValueError(f"tensor {name}: {np.abs(tensors[name]).max():g} is too great for {bits} bits")
    return values.astype(np.int64)


def rounding_bias(scale: Scale) -> NDArray[np.int64]:
    """What to add to a sum so that the scale's floor becomes rounding to nearest: half a last bit over the factor."""
    half = (1 << scale.guard) >> 1
    multiplier = scale.multiplier
    return np.where(multiplier == 0, 0, np.round(half / np.where(multiplier == 0, 1, multiplier))).astype(np.int64)


def odd_weights(weights: Floats, planes: int) -> NDArray[np.int64]:
    """The nearest odd integers within +-(2**planes - 1): the numbers that `planes` planes of +-1 can hold."""
    limit = (1 << planes) - 1
    code = np.clip(np.round((weights + limit) / 2), 0, limit).astype(np.int64)
    return 2 * code - limit


def weight_exponent(largest: Floats, planes: int) -> NDArray[np.int64]:
    """The greatest e with largest * 2**e in the range of `odd_weights`, where half a step beyond its end rounds in."""
    return np.floor(np.log2((1 << planes) / np.maximum(largest, 2.0**-40))).astype(np.int64)


def _normalisation(metadata: Mapping[str, Any]) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the three colours in steps of a pixel, the official ones if none are given."""
    try:
        mean = 255 * np.array(metadata.get("mean", MEAN), np.float64)
        std = 255 * np.array(metadata.get("std", STD), np.float64)
    except (TypeError, ValueError):
        raise ValueError("mean and std must be three numbers each") from None
    if mean.shape != (3,) or std.shape != (3,):
        raise ValueError("mean and std must be three numbers each")
    if not (np.all((mean >= 0) & (mean <= 255)) and np.all((std > 0) & (std <= 255))):
        raise ValueError(f"mean {mean / 255} and std {std / 255} are not those of pixels from 0 to 1")
    return mean, std


def _freeze_stem(
    tensors: Mapping[str, Floats], mean: Floats, std: Floats, options: FreezeOptions
) -> tuple[NDArray[np.int64], SumLayer, Scale]:
    """Fold the input normalisation in: sum of w * (p / 255 - mean) / std = sum of w' * (p - center) + bias."""
    weights = (standardize(tensors["conv1.weight"]) * tensors["conv1.gain"]).transpose(0, 2, 3, 1) / std
    center = np.round(mean).astype(np.int64)
    # A filter that cannot make half a last bit of any image needs no finer weights, and no guard bits for them.
    reach = PIXEL_BITS + int(np.prod(weights.shape[1:])).bit_length()
    weakest = 2.0 ** (-options.fraction_bits - 1 - reach)
    exponent = weight_exponent(np.maximum(np.abs(weights).max(axis=(1, 2, 3)), weakest), options.stem_planes)
    unit = 2.0**exponent
    integers = odd_weights(weights * unit[:, None, None, None], options.stem_planes)
    down = exponent - options.fraction_bits
    guard = int(max(down.max(), 0))
    _check_shifts("conv1", guard - down, guard)
    scale = Scale(np.ones((len(unit), 1), np.int64), (guard - down)[:, None], guard)
    # The fraction of the mean that the integer centre leaves; at padded taps it is left out of the float sum as well,
    # but not here: at most half a pixel step on the border's missing taps.
    fraction = (integers * (center - mean)).sum(axis=(1, 2, 3))
    bias = np.round(fraction).astype(np.int64) + rounding_bias(scale)
    return center, SumLayer(integers, bias, options.stem_planes), scale


def _freeze_activation(tensors: Mapping[str, Floats], name: str, options: FreezeOptions) -> Activation:
    """bias1, QPReLU, bias2 of the official code: z = y + b1; (z >= 0 ? z : 2**round(a) * z) + b2."""
    unit = 2.0**options.fraction_bits
    before = _fixed(tensors, f"{name}.move1.bias", unit, FIELD_BITS)
    after = _fixed(tensors, f"{name}.move2.bias", unit, FIELD_BITS)
    exponent = np.clip(np.round(tensors[f"{name}.prelu.L_alpha"]), *EXPONENT_RANGE).astype(np.int64)
    # Half of the last bit that a right shift drops turns its floor into rounding; beyond the value's width the result
    # is 0 or -1 either way.
    down = np.clip(-exponent, 0, options.value_width - 2)
    return Activation(-before, before + after, before + ((1 << down) >> 1), exponent, after)


def freeze(
    tensors: Mapping[str, NDArray[Any]], structure: Structure, metadata: Mapping[str, Any], options: FreezeOptions
) -> IntegerNetwork:
    """Freeze a checkpoint in the official tensor spelling.

    `metadata` is the checkpoint's own: alpha (0.25 if absent), scales ("pow2" or "free"), mean and std of the input
    normalisation; all of it is passed on as the network's source. ValueError names whatever cannot be frozen.
    """
    floats = check_tensors(tensors, structure)
    alpha = metadata.get("alpha", 0.25)
    if not isinstance(alpha, (int, float)):
        raise ValueError(f"alpha is {alpha!r}; it must be positive and finite")
    power_of_two = metadata.get("scales") == "pow2"
    if metadata.get("step", "Qaw") != "Qaw":
        raise ValueError(f"step {metadata['step']} has real weights; only a Qaw checkpoint can be frozen")
    terms = options.terms or (1 if power_of_two else 3)
    if terms != 1:
        power_of_two = False
    unit = 2.0**options.fraction_bits
    center, stem, stem_scale = _freeze_stem(floats, *_normalisation(metadata), options)
    blocks = []
    for name, geometry, beta in zip(
        block_names(structure), structure.blocks, block_betas(structure, alpha), strict=True
    ):
        standard = standardize(floats[f"{name}.conv1.weight"])
        factor = alpha * floats[f"{name}.conv1.gain"].ravel() * np.abs(standard).mean(axis=(1, 2, 3))
        threshold = np.ceil(-floats[f"{name}.move0.bias"].ravel() / beta * unit)
        shortcut = shortcut_scale = None
        if geometry.downsamples:
            pointwise = standardize(floats[f"{name}.downsample.1.weight"])
            shortcut_factor = floats[f"{name}.downsample.1.gain"].ravel() * np.abs(pointwise).mean(axis=(1, 2, 3))
            shortcut_scale = freeze_scale(
                f"{name}.downsample.1",
                shortcut_factor,
                terms,
                power_of_two,
                reach=options.value_width - 1 + geometry.in_channels.bit_length(),
                in_bits=options.fraction_bits,
            )
            signs = np.where(pointwise >= 0, 1, -1).transpose(0, 2, 3, 1)
            shortcut = SumLayer(signs, rounding_bias(shortcut_scale), 1)
        blocks.append(
            BlockNumbers(
                np.clip(threshold, *value_range(options.value_width)).astype(np.int64),
                (standard >= 0).astype(np.uint8).transpose(0, 2, 3, 1),
                freeze_scale(
                    f"{name}.conv1", factor * unit, terms, power_of_two, reach=(9 * geometry.in_channels).bit_length()
                ),
                _freeze_activation(floats, name, options),
                shortcut,
                shortcut_scale,
            )
        )
    height, width, _ = structure.head_input
    positions = height * width
    pool_shift = positions.bit_length() - 1
    weights = floats["fc.weight"] * ((1 << pool_shift) / positions)
    exponent = int(weight_exponent(np.abs(weights).max(keepdims=True), options.head_planes)[0, 0])
    score_fraction_bits = exponent + options.fraction_bits
    head = SumLayer(
        odd_weights(weights * 2.0**exponent, options.head_planes)[:, None, None, :],
        _fixed(floats, "fc.bias", 2.0**score_fraction_bits, BIAS_BITS),
        options.head_planes,
    )
    network = IntegerNetwork(
        structure=structure,
        value_width=options.value_width,
        fraction_bits=options.fraction_bits,
        center=center,
        stem=stem,
        stem_scale=stem_scale,
        blocks=tuple(blocks),
        head=head,
        pool_shift=pool_shift,
        score_fraction_bits=score_fraction_bits,
        source=dict(metadata),
    )
    analyse(network)
    return network


def threshold_overflows(network: IntegerNetwork) -> int:
    """Thresholds that had to be clipped to the value range: such a channel's sign is (all but) constant."""
    low, high = value_range(network.value_width)
    return int(sum(((b.threshold == low) | (b.threshold == high)).sum() for b in network.blocks))
