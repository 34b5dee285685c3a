"""From float tensors to the frozen integer network. NumPy only: reading the checkpoint is `train.checkpoint`'s work.

Every rounding of the float network happens here, once: weights to signs and odd integers, factors to signed powers of
two, thresholds, biases and slopes to fixed point. docs/formats.md says what each number means.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbnn.errors import UserError
from abbnn.golden.model import Model, batches, saturating_layers
from abbnn.golden.network import (
    BIAS_BITS,
    PIXEL_BITS,
    SCORE_FRACTION_BITS,
    SHIFT_MAX,
    TERMS_MAX,
    Activation,
    BlockNumbers,
    IntegerNetwork,
    Scale,
    SumLayer,
)
from abbnn.golden.ops import value_range
from abbnn.golden.ranges import SCORE_WIDTH_MAX, Interval, analyse
from abbnn.golden.structure import Block, Structure, block_name
from abbnn.train.tensors import canonical_shapes, slope_exponents, standardize
from abbnn.train.variant import Variant

Floats = NDArray[np.float64]

CONV_DIMENSIONS = 4
FIELD_BITS = 30
"""Of bias1 and bias2: their sum, and half of a shift's last bit more, must fit the file's 32."""
PRECISION_BITS = 6
"""Terms of a factor finer than 2**-PRECISION_BITS of a value's last bit for an input of 1.0 are dropped."""

VALUE_WIDTHS = (8, 24)
WIDTH_ASSUMED = 16
"""Where the value width follows from the fraction bits, and these from the value width."""
FRACTION_BITS = (1, 20)
FRACTION_BITS_CHOSEN_MAX = 12
"""More cost shifter bits and change no accuracy that was measured."""
FRACTION_BITS_CHOSEN_MIN = 4
"""Fewer lose more than saturation does."""
INTEGER_BITS_CHOSEN_MAX = 10
"""Sign included. It takes outliers to need more: that they saturate costs less than the fraction bits of all others."""
SCORE_BITS_CHOSEN_MAX = 28
"""Fraction bits of scores where a head's weights are below 2**-20: they leave room for biases up to 8."""
PLANES = (2, 15)
DEFAULT_TERMS = 3
DEFAULT_STEM_PLANES = 12
"""Rounding a stem's weights to 8 bits costs random networks about as much correlation with their float form as all
other roundings together; those that were trained with power-of-two scales keep their accuracy with POW2_STEM_PLANES."""
POW2_STEM_PLANES = 8
DEFAULT_HEAD_PLANES = 8
DEFAULT_SHORTCUT_PLANES = 8


@dataclass(frozen=True)
class FreezeOptions:
    """What the user may choose. `shortcut_planes` are those of shortcuts with real weights.

    `value_width` or `fraction_bits` of None are chosen by range analysis. Of None, `stem_planes` are 12 and `terms`
    (powers of two a factor) 3, for power-of-two checkpoints 8 and 1. `terms_of` overrides `terms` for scales by name
    (`scale_names`).
    """

    value_width: int | None = 16
    fraction_bits: int | None = None
    stem_planes: int | None = None
    head_planes: int = DEFAULT_HEAD_PLANES
    terms: int | None = None
    terms_of: Mapping[str, int] = field(default_factory=dict)
    shortcut_planes: int = DEFAULT_SHORTCUT_PLANES

    def __post_init__(self) -> None:
        for name, (low, high) in {
            "value_width": VALUE_WIDTHS,
            "fraction_bits": FRACTION_BITS,
            "stem_planes": PLANES,
            "head_planes": PLANES,
            "shortcut_planes": PLANES,
            "terms": (1, TERMS_MAX),
        }.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UserError(f"{name} {value} is outside {low}..{high}")
        for name, terms in self.terms_of.items():
            if not 1 <= terms <= TERMS_MAX:
                raise UserError(f"terms of {name} {terms} is outside 1..{TERMS_MAX}")
        if None not in (self.value_width, self.fraction_bits) and self.fraction_bits >= self.value_width:  # type: ignore[operator]
            raise UserError(f"{self.fraction_bits} fraction bits leave nothing of {self.value_width}")


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
        raise UserError(f"{name}: factors from 2**{-guard} to 2**{shift.max() - guard} take shifts beyond {SHIFT_MAX}")


def _fixed(tensors: Mapping[str, Floats], name: str, unit: float, bits: int) -> NDArray[np.int64]:
    """Tensor `name` in multiples of 1 / unit, rounded; ValueError if it leaves signed `bits` bits."""
    values = np.round(tensors[name].ravel() * unit)
    if np.abs(values).max() >= 2.0 ** (bits - 1):
        raise UserError(f"tensor {name}: {np.abs(tensors[name]).max():g} is too great for {bits} bits")
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


def freeze_filters(
    name: str, weights: Floats, planes: int, *, reach: int, in_bits: int, out_bits: int, bias: Floats | float = 0.0
) -> tuple[NDArray[np.int64], Scale]:
    """Real weights (Cout, k, k, Cin) as odd integers, and a power of two a filter that turns their sums, of numbers of
    `in_bits` fraction bits, into values of `out_bits`. `name` goes into errors.

    The sum of the numbers' magnitudes is below 2**reach. A filter that cannot make half a last bit of that needs no
    finer weights, and no guard bits for them. Nor does one beside whose `bias` (Cout,), of values, its sum is as small:
    the bias in the sum's unit stays within 2**(reach + planes).
    """
    weakest = np.maximum(2.0 ** (in_bits - out_bits - 1 - reach), np.abs(bias) * 2.0 ** (in_bits - reach))
    exponent = weight_exponent(np.maximum(np.abs(weights).max(axis=(1, 2, 3)), weakest), planes)
    integers = odd_weights(weights * 2.0 ** exponent[:, None, None, None], planes)
    down = exponent + in_bits - out_bits
    guard = int(max(down.max(), 0))
    _check_shifts(name, guard - down, guard)
    return integers, Scale(np.ones((len(down), 1), np.int64), (guard - down)[:, None], guard)


@dataclass(frozen=True)
class _Freezer:
    """One checkpoint at one value width and number of fraction bits; convolutions' weights are as they are used.

    The options' own width and fraction bits do not count.
    """

    tensors: Mapping[str, Floats]
    structure: Structure
    variant: Variant
    options: FreezeOptions
    value_width: int
    fraction_bits: int

    @property
    def unit(self) -> float:
        return 2.0**self.fraction_bits

    def network(self) -> IntegerNetwork:
        """With everything but the source."""
        center, stem, stem_scale = self._stem()
        height, width, channels = self.structure.head_input
        classes = self.structure.classes
        headless = IntegerNetwork(
            structure=self.structure,
            value_width=self.value_width,
            fraction_bits=self.fraction_bits,
            center=center,
            stem=stem,
            stem_scale=stem_scale,
            stem_prelu=self._prelu("stem.prelu") if self.structure.stem.prelu else None,
            blocks=tuple(self._block(index, block) for index, block in enumerate(self.structure.blocks)),
            head=SumLayer(np.zeros((classes, 1, 1, channels), np.int64), np.zeros(classes, np.int64), 1),
            pool_shift=(height * width).bit_length() - 1,
            score_fraction_bits=0,
        )
        return self._with_head(headless)

    def _terms(self, name: str) -> tuple[int, bool]:
        """Terms of a scale, and whether it is taken as a trained power of two."""
        trained = self.variant.scales == "pow2"
        default = 1 if trained else DEFAULT_TERMS
        terms = self.options.terms_of.get(name, self.options.terms or default)
        return terms, trained and terms == 1

    def _stem(self) -> tuple[NDArray[np.int64], SumLayer, Scale]:
        """Fold the input normalisation in: sum of w * (p / 255 - mean) / std = sum of w' * (p - center) + bias."""
        mean, std = 255 * np.array(self.variant.mean), 255 * np.array(self.variant.std)
        default = POW2_STEM_PLANES if self.variant.scales == "pow2" else DEFAULT_STEM_PLANES
        planes = self.options.stem_planes or default
        gain = self.tensors["stem.gain"][:, None, None, None]
        weights = (self.tensors["stem.weight"] * gain).transpose(0, 2, 3, 1) / std
        center = np.round(mean).astype(np.int64)
        reach = PIXEL_BITS + int(np.prod(weights.shape[1:])).bit_length()
        added = self.tensors.get("stem.bias", np.zeros(len(weights)))
        integers, scale = freeze_filters(
            "stem", weights, planes, reach=reach, in_bits=0, out_bits=self.fraction_bits, bias=added
        )
        # The fraction of the mean that the integer centre leaves; at padded taps it is left out of the float sum as
        # well, but not here: at most half a pixel step on the border's missing taps.
        fraction = (integers * (center - mean)).sum(axis=(1, 2, 3))
        bias = np.round(fraction + added * self.unit / 2.0 ** (scale.shift[:, 0] - scale.guard)).astype(np.int64)
        bias += rounding_bias(scale)
        return center, SumLayer(integers, bias, planes), scale

    def _block(self, index: int, block: Block) -> BlockNumbers:
        name = block_name(index)
        standard = self.tensors[f"{name}.weight"]
        threshold = np.zeros(block.in_channels, np.int64)
        if block.biased:
            wanted = np.ceil(-self.tensors[f"{name}.bias0"] / self.variant.beta(block.variance_steps) * self.unit)
            threshold = np.clip(wanted, *value_range(self.value_width)).astype(np.int64)
        factors = self.variant.alpha * self._unit_scale(name, standard) * self.unit
        reach = int(np.prod(standard.shape[1:])).bit_length()
        shortcut, shortcut_scale = self._shortcut(f"{name}.shortcut", block) if block.projects else (None, None)
        return BlockNumbers(
            threshold=threshold,
            weights=(standard >= 0).astype(np.uint8).transpose(0, 2, 3, 1),
            scale=freeze_scale(name, factors, *self._terms(name), reach=reach),
            activation=self._activation(name) if block.activation == "qprelu" else None,
            prelu=self._prelu(f"{name}.prelu") if block.activation == "prelu" else None,
            shortcut=shortcut,
            shortcut_scale=shortcut_scale,
        )

    def _unit_scale(self, name: str, standard: Floats) -> Floats:
        """gain * mean magnitude a filter."""
        scale: Floats = self.tensors[f"{name}.gain"] * np.abs(standard).mean(axis=(1, 2, 3))
        return scale

    def _shortcut(self, name: str, block: Block) -> tuple[SumLayer, Scale]:
        standard, bits = self.tensors[f"{name}.weight"], self.fraction_bits
        reach = self.value_width - 1 + block.in_channels.bit_length()
        if block.projects_real:
            planes = self.options.shortcut_planes
            weights = (standard * self.tensors[f"{name}.gain"][:, None, None, None]).transpose(0, 2, 3, 1)
            integers, scale = freeze_filters(name, weights, planes, reach=reach, in_bits=bits, out_bits=bits)
            return SumLayer(integers, rounding_bias(scale), planes), scale
        scale = freeze_scale(name, self._unit_scale(name, standard), *self._terms(name), reach=reach, in_bits=bits)
        signs = np.where(standard >= 0, 1, -1).transpose(0, 2, 3, 1)
        return SumLayer(signs, rounding_bias(scale), 1), scale

    def _prelu(self, name: str) -> Scale:
        """A slope is a free number, whatever the scales were trained as."""
        terms = self.options.terms_of.get(name, self.options.terms or DEFAULT_TERMS)
        return freeze_scale(name, self.tensors[name], terms, False, reach=self.value_width, in_bits=self.fraction_bits)

    def _activation(self, name: str) -> Activation:
        """z = y + b1; (z >= 0 ? z : 2**round(a) * z) + b2 of the official code, or Eq. 8 of the paper."""
        before = _fixed(self.tensors, f"{name}.bias1", self.unit, FIELD_BITS)
        after = _fixed(self.tensors, f"{name}.bias2", self.unit, FIELD_BITS)
        exponent = slope_exponents(f"{name}.l_alpha", self.tensors[f"{name}.l_alpha"])
        # Half of the last bit that a right shift drops turns its floor into rounding; beyond the value's width the
        # result is 0 or -1 either way.
        down = np.clip(-exponent, 0, self.value_width - 2)
        half = (1 << down) >> 1
        if self.variant.form == "paper":
            zero = np.zeros_like(before)
            return Activation(zero, zero, before + half, exponent, after)
        return Activation(-before, before + after, before + half, exponent, after)

    def _with_head(self, network: IntegerNetwork) -> IntegerNetwork:
        """Where scores would be too wide, the pool's shift drops as many fraction bits as it takes."""
        pool = analyse(network).pool
        most = min(self.fraction_bits, self.value_width - 2)
        for dropped in range(most + 1):
            head, bits = self._head(network.pool_shift, dropped)
            positive, negative = np.maximum(head.weights[:, 0, 0], 0), np.minimum(head.weights[:, 0, 0], 0)
            low, high = pool.low >> dropped, pool.high >> dropped
            scores = Interval(
                positive @ low + negative @ high + head.bias, positive @ high + negative @ low + head.bias
            )
            if scores.bits <= SCORE_WIDTH_MAX:
                break
        return replace(network, head=head, pool_shift=network.pool_shift + dropped, score_fraction_bits=bits)

    def _head(self, shift: int, dropped: int) -> tuple[SumLayer, int]:
        """The linear layer behind a pool that shifts right by `shift` and then by `dropped`; the scores' fraction bits.

        The weights take what the shift leaves of the division, the bias what flooring the dropped bits takes off.
        """
        height, width, _ = self.structure.head_input
        planes = self.options.head_planes
        weights = self.tensors["head.weight"] * (2.0**shift / (height * width))
        exponent = int(weight_exponent(np.abs(weights).max(keepdims=True), planes)[0, 0])
        if exponent > SCORE_BITS_CHOSEN_MAX:  # weights of all but 0, beside which the bias sets the unit
            exponent = SCORE_BITS_CHOSEN_MAX - self.fraction_bits + dropped
        bits = exponent + self.fraction_bits - dropped
        if bits < SCORE_FRACTION_BITS[0]:
            raise UserError(f"tensor head.weight: {np.abs(self.tensors['head.weight']).max():g} is too great")
        integers = odd_weights(weights * 2.0**exponent, planes)
        floor = np.round(integers.sum(axis=1) * (1 - 2.0**-dropped) / 2).astype(np.int64)
        bias = _fixed(self.tensors, "head.bias", 2.0**bits, BIAS_BITS) + floor
        return SumLayer(integers[:, None, None, :], bias, planes), bits


def calibration_images(structure: Structure, count: int = 8, seed: int = 1) -> NDArray[np.uint8]:
    """Images (N, H, W, 3) to choose fraction bits with where none are given: flat colours under noise of every grain
    and contrast, so that no value range depends on one data set.
    """
    rng = np.random.default_rng(seed)
    height, width = structure.height, structure.width
    images = np.empty((count, height, width, 3), np.uint8)
    for index in range(count):
        picture = np.repeat(np.repeat(rng.uniform(0, 255, (1, 1, 3)), height, 0), width, 1)
        for cell in (1, 2, 4, 8, 16):
            rows, columns = -(-height // cell), -(-width // cell)
            noise = rng.normal(0, rng.uniform(5, 60), (rows, columns, 3))
            picture += np.repeat(np.repeat(noise, cell, 0), cell, 1)[:height, :width]
        images[index] = np.clip(picture, 0, 255)
    return images


def freeze(
    tensors: Mapping[str, NDArray[Any]],
    structure: Structure,
    variant: Variant,
    options: FreezeOptions,
    *,
    source: Mapping[str, Any] | None = None,
    images: NDArray[np.uint8] | None = None,
    latent: bool = True,
) -> IntegerNetwork:
    """Freeze a checkpoint's canonical tensors (`train.tensors`); the network's `source` is `source`, the variant and
    what was chosen.

    `latent` weights are standardized first. Others count as they are: a binary filter's signs, and its mean magnitude
    as a factor. There may be a `stem.bias` (Cout,) beside the canonical tensors.

    Fraction bits of None are the most, up to 12, with which the values on `images` (else `calibration_images`) leave
    one bit of the value range free, but at least 4, and so many that values have at most 10 integer bits. A value width
    of None is the narrowest that no image at all can saturate, by interval arithmetic; if need be, with fewer fraction
    bits than these. ValueError names whatever cannot be frozen.
    """
    if variant.step != "Qaw":
        raise UserError(f"step {variant.step} has real weights; only a Qaw checkpoint can be frozen")
    names = scale_names(structure)
    for name in options.terms_of:
        if name not in names:
            raise UserError(f"{name} is no scale of {structure.name}; there are {', '.join(names)}")
    floats = {name: np.asarray(tensors[name], np.float64) for name in canonical_shapes(structure)}
    for name, tensor in floats.items():
        if latent and tensor.ndim == CONV_DIMENSIONS:
            floats[name] = standardize(tensor)
    if "stem.bias" in tensors:
        floats["stem.bias"] = np.asarray(tensors["stem.bias"], np.float64)

    def frozen(value_width: int, fraction_bits: int) -> IntegerNetwork:
        return _Freezer(floats, structure, variant, options, value_width, fraction_bits).network()

    how = {"value_bits": "as asked", "fraction_bits": "as asked"}
    value_width, fraction_bits = options.value_width, options.fraction_bits
    if fraction_bits is None:
        images = calibration_images(structure) if images is None else images
        fraction_bits = _most_fraction_bits(frozen, value_width or WIDTH_ASSUMED, images)
        how["fraction_bits"] = "the most for the calibration images"
    while value_width is None:
        how["value_bits"] = "the fewest that no image can saturate"
        value_width = _proven_value_width(frozen, fraction_bits)
        if value_width is None:
            if options.fraction_bits or fraction_bits == FRACTION_BITS[0]:
                most = f"no value width up to {VALUE_WIDTHS[1]} is proven for every image"
                raise UserError(f"with {fraction_bits} fraction bits, {most}")
            fraction_bits -= 1
            how["fraction_bits"] = "the most with which a value width is proven"
    network = frozen(value_width, fraction_bits)
    analyse(network)
    return replace(network, source=dict(source or {}) | variant.to_dict() | {"freeze": how})


def scale_names(structure: Structure) -> list[str]:
    """What `FreezeOptions.terms_of` may name."""
    names = ["stem.prelu"] if structure.stem.prelu else []
    for index, block in enumerate(structure.blocks):
        name = block_name(index)
        names.append(name)
        if block.projects and not block.projects_real:
            names.append(f"{name}.shortcut")
        if block.activation == "prelu":
            names.append(f"{name}.prelu")
    return names


def scales(network: IntegerNetwork) -> dict[str, Scale]:
    """Every scale by its name in `scale_names`."""
    found = {"stem.prelu": network.stem_prelu}
    for index, block in enumerate(network.blocks):
        name = block_name(index)
        found |= {name: block.scale, f"{name}.shortcut": block.shortcut_scale, f"{name}.prelu": block.prelu}
    return {name: scale for name in scale_names(network.structure) if (scale := found[name]) is not None}


def scale_terms(network: IntegerNetwork) -> dict[str, int]:
    """Terms of every scale by its name in `scale_names`."""
    return {name: scale.terms for name, scale in scales(network).items()}


def _most_fraction_bits(
    frozen: Callable[[int, int], IntegerNetwork], value_width: int, images: NDArray[np.uint8]
) -> int:
    """Range analysis by measurement: the most fraction bits with which all values on `images` leave one bit free.

    It is the frozen network that is measured: where its values leave the lower half of their range, they show it even
    if they saturate.
    """
    free = value_width - 2
    fraction_bits = min(FRACTION_BITS_CHOSEN_MAX, free)
    fewest = min(max(FRACTION_BITS_CHOSEN_MIN, value_width - INTEGER_BITS_CHOSEN_MAX), fraction_bits)
    while fraction_bits > fewest:
        excess = peak(frozen(value_width, fraction_bits), images).bit_length() - free
        if excess <= 0:
            break
        fraction_bits -= excess
    return max(fraction_bits, fewest)


def peak(network: IntegerNetwork, images: NDArray[np.uint8]) -> int:
    """The greatest magnitude of all values on `images`, in last bits."""
    model, names = Model(network), set(saturating_layers(network.structure))
    return max(
        int(np.abs(values).max())
        for batch in batches(images, model.batch_size)
        for name, values in model.layers(batch)
        if name in names
    )


def _proven_value_width(frozen: Callable[[int, int], IntegerNetwork], fraction_bits: int) -> int | None:
    """Range analysis by proof: the narrowest width without a layer in `Ranges.can_saturate`, if there is one."""
    widths = range(max(VALUE_WIDTHS[0], fraction_bits + 2), VALUE_WIDTHS[1] + 1)
    enough = bisect_left(widths, True, key=lambda width: not analyse(frozen(width, fraction_bits)).can_saturate)
    return widths[enough] if enough < len(widths) else None


def threshold_overflows(network: IntegerNetwork) -> int:
    """Thresholds that had to be clipped to the value range: such a channel's sign is (all but) constant."""
    low, high = value_range(network.value_width)
    return int(sum(((b.threshold == low) | (b.threshold == high)).sum() for b in network.blocks))
