"""Range analysis: whatever the image, every sum and value lies in its proven interval and fits its proven width."""

import doctest
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_network import random_network, saturation_counts

from abbnn.export.random_network import random_images, random_structure
from abbnn.golden import ranges as ranges_module
from abbnn.golden.model import forward
from abbnn.golden.network import Activation, IntegerNetwork, Scale, SumLayer
from abbnn.golden.ops import value_range
from abbnn.golden.ranges import BlockRange, Interval, SumRange, analyse, signed_bits
from abbnn.golden.structure import RESNET_STEM, STRIDED_STEM, Stem, StemForm, Structure, member

PROPERTY = settings(max_examples=25)

STRUCTURES = (
    member("a", (3, 5), (1, 2), image=8),
    member("b", (4, 4, 6), (2, 1, 1), image=16, stem=STRIDED_STEM, classes=3),
    member("c", (3,), (2,), image=7, stem=StemForm(5, 2), classes=2),
    member("d", (2, 3), (1, 1), image=6, stem=StemForm(1, 1), classes=1),
    member("e", (3, 4), (1, 1), image=(6, 10), classes=4),
    member("f", (3, 5), (2, 1), family="birealnet", image=32, stem=RESNET_STEM, classes=3),
    member("g", (3, 4), (1, 2), family="xnornet", image=12, stem=STRIDED_STEM, classes=3),
    member("h", (2, 4, 8), (1, 1, 1), family="reactneta", image=8, classes=3),
    member("i", (3, 4), (1, 1), image=23, stem=StemForm(3, 2, max_pool=True), classes=2),
)


def test_signed_bits_docstring() -> None:
    assert doctest.testmod(ranges_module).failed == 0


@given(st.integers(-(1 << 40), 1 << 40), st.integers(0, 1 << 40))
@PROPERTY
def test_signed_bits_is_the_least_width(low, span) -> None:
    bits = signed_bits(low, low + span)
    least, greatest = value_range(bits)
    assert least <= low <= low + span <= greatest
    if bits > 1:
        least, greatest = value_range(bits - 1)
        assert low < least or low + span > greatest


def test_interval_by_hand() -> None:
    interval = Interval(np.array([-5, 0]), np.array([3, 200]))
    assert (interval.bits, interval.magnitude) == (9, 200)
    clipped = interval.clip(3)
    assert (clipped.low.tolist(), clipped.high.tolist()) == ([-4, 0], [3, 3])
    total = interval + clipped
    assert (total.low.tolist(), total.high.tolist()) == ([-9, 0], [6, 203])
    assert Interval(np.array([0]), np.array([0])).bits == 2


def adversarial_images(network: IntegerNetwork) -> np.ndarray:
    """All 0, all 255, and for each stem filter the images that drive the middle's sum to either end."""
    structure = network.structure
    shape = (structure.height, structure.width, structure.stem.in_channels)
    kernel, stride = structure.stem.kernel, structure.stem.stride
    images = [np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)]
    row, column = (stride * (size // stride // 2) - kernel // 2 for size in shape[:2])
    assert 0 <= row <= shape[0] - kernel
    assert 0 <= column <= shape[1] - kernel
    for weights in network.stem.weights:
        for wanted in (weights > 0, weights < 0):
            image = np.zeros(shape, np.uint8)
            image[row : row + kernel, column : column + kernel] = np.where(wanted, 255, 0)
            images.append(image)
            # The same pattern everywhere, so that later layers see strong values all over the map.
            tiled = np.tile(np.where(wanted, 255, 0), (shape[0] // kernel + 1, shape[1] // kernel + 1, 1))
            images.append(tiled[: shape[0], : shape[1]].astype(np.uint8))
    return np.array(images)


def convolved(maps, weights, stride):
    """int64, tap by tap; also the sum of the products' magnitudes."""
    kernel = weights.shape[1]
    pad = kernel // 2
    padded = np.pad(maps, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = (-(-size // stride) for size in maps.shape[1:3])
    total = np.zeros((len(maps), height, width, len(weights)), np.int64)
    magnitude = np.zeros_like(total)
    for row in range(kernel):
        for column in range(kernel):
            shifted = padded[:, row:, column:][:, : maps.shape[1] : stride, : maps.shape[2] : stride]
            total += np.einsum("nhwc,oc->nhwo", shifted, weights[:, row, column])
            magnitude += np.einsum("nhwc,oc->nhwo", np.abs(shifted), np.abs(weights[:, row, column]))
    return total, magnitude


def assert_within(values, interval: Interval, where: str) -> None:
    axes = tuple(range(values.ndim - 1))
    assert (values.min(axis=axes) >= interval.low).all(), where
    assert (values.max(axis=axes) <= interval.high).all(), where
    assert_fits(values, interval.bits, where)


def assert_fits(values, bits: int, where: str) -> None:
    low, high = value_range(bits)
    assert low <= values.min() <= values.max() <= high, where


def check_sums(maps, layer: SumLayer, stride, scale: Scale | None, bounds: SumRange, where: str):
    """The scaled sums before saturation, every step on the way checked."""
    sums, magnitude = convolved(maps, layer.weights.astype(np.int64), stride)
    assert magnitude.max() <= bounds.sum_bound, where
    return check_scale(sums + layer.bias, scale, bounds, where)


def check_scale(sums, scale: Scale | None, bounds: SumRange, where: str):
    assert_within(sums, bounds.sum, f"{where} sum")
    if scale is None:
        return sums
    scaled = check_terms(sums, scale, bounds, where) >> scale.guard
    assert_within(scaled, bounds.scaled, f"{where} scaled")
    return scaled


def check_terms(sums, scale: Scale, bounds: SumRange, where: str):
    """The sum of the shifted terms, guard bits included."""
    total = np.zeros_like(sums)
    for term in range(scale.terms):
        shifted = sums << scale.shift[:, term].astype(np.int64)
        assert_fits(shifted * (scale.sign[:, term] != 0), bounds.products_bits, f"{where} term")
        total += scale.sign[:, term].astype(np.int64) * shifted
        assert_fits(total, bounds.products_bits, f"{where} partial sum")
    return total


def check_prelu(values, slopes: Scale, bounds: SumRange | None, where: str):
    """Before saturation; the values that pass are shifted up by the guard and down again, as in the RTL."""
    assert bounds is not None
    multiplier = (slopes.sign.astype(np.int64) << slopes.shift.astype(np.int64)).sum(axis=1)
    assert_fits(values << slopes.guard, bounds.products_bits, f"{where} passing")
    scaled = check_terms(np.minimum(values, 0), slopes, bounds, where) >> slopes.guard
    np.testing.assert_array_equal(scaled, np.minimum(values, 0) * multiplier >> slopes.guard)
    output = np.where(values >= 0, values, scaled)
    assert_within(output, bounds.scaled, where)
    return output


def check_activation(sums, act: Activation, bounds: BlockRange | None = None):
    """Before saturation."""
    inner = sums + act.add_before
    exponent = act.exponent.astype(np.int64)
    shifted = np.where(exponent >= 0, inner << np.maximum(exponent, 0), inner >> np.maximum(-exponent, 0))
    positive, negative = sums + act.add_positive, shifted + act.add_after
    if bounds is not None:
        for number in (inner, shifted, positive, negative):
            assert_fits(number, bounds.activation_bits, "inside the activation")
        for field in (act.threshold, act.add_positive, act.add_before, act.add_after):
            assert_fits(field, bounds.field_bits, "field")
        assert bounds.field_bits >= bounds.added_bits
    return np.where(sums >= act.threshold, positive, negative)


def check_network(network: IntegerNetwork, images) -> set[str]:
    """Walk through the network in plain int64; the layers that saturated."""
    bounds, structure, width = analyse(network), network.structure, network.value_width
    layers = forward(network, images, bounds)
    saturated = set()

    def saturate(values, name, layer):
        """`name` in the ranges; the layer is checked if it has a name of its own."""
        clipped = np.clip(values, *value_range(width))
        if (clipped != values).any():
            saturated.add(name)
        if layer in layers:
            np.testing.assert_array_equal(clipped, layers[layer], err_msg=layer)
        return clipped

    centred = images.astype(np.int64) - network.center
    scaled = check_sums(centred, network.stem, structure.stem.stride, network.stem_scale, bounds.stem, "stem")
    values = saturate(scaled, "stem", "stem.conv")
    if network.stem_prelu is not None:
        output = check_prelu(values, network.stem_prelu, bounds.stem_prelu, "stem.prelu")
        values = saturate(output, "stem.prelu", "stem.prelu")
    if structure.stem.max_pool:
        values = layers["stem"]  # of values whose interval holds for each of them
    np.testing.assert_array_equal(values, layers["stem"])
    for index, (geometry, block, limits) in enumerate(
        zip(structure.blocks, network.blocks, bounds.blocks, strict=True)
    ):
        name = f"block{index:02d}"
        signs = np.where(values >= block.threshold, 1, -1)
        kernel = SumLayer(2 * block.weights.astype(np.int64) - 1, np.zeros(len(block.weights), np.int64), 1)
        scaled = check_sums(signs, kernel, geometry.stride, block.scale, limits.conv, f"{name}.conv")
        residual = values
        if geometry.shortcut == "repeat":
            residual = np.tile(values, 2)
        if geometry.shortcut in ("pool", "pool-conv", "pool-real-conv"):
            n, height, columns, channels = values.shape
            residual = values.reshape(n, height // 2, 2, columns // 2, 2, channels).sum(axis=(2, 4)) >> 2
        if geometry.shortcut == "conv":
            residual = values[:, ::2, ::2]
        if block.shortcut is not None:
            assert limits.shortcut is not None
            residual = check_sums(
                residual, block.shortcut, 1, block.shortcut_scale, limits.shortcut, f"{name}.shortcut"
            )
        assert (limits.shortcut is None) == (block.shortcut is None)
        sums = output = scaled + residual
        assert_fits(sums, limits.added_bits, f"{name} added")
        if block.activation is not None:
            output = check_activation(sums, block.activation, limits)
        if block.prelu is not None:
            output = check_prelu(sums, block.prelu, limits.prelu, f"{name}.prelu")
        assert (limits.prelu is None) == (block.prelu is None)
        assert_within(output, limits.output, name)
        values = saturate(output, name, name)
    total = values.sum(axis=(1, 2))
    assert_fits(total, bounds.pool_bits + network.pool_shift, "pool sum")
    pooled = total >> network.pool_shift
    assert_within(pooled, bounds.pool, "pool")
    assert_fits(pooled, bounds.pool_bits, "pool width")
    head = SumRange(bounds.scores, bounds.head_bound, bounds.scores.bits, bounds.scores)
    check_sums(pooled[:, None, None], network.head, 1, None, head, "head")
    assert bounds.scores.bits <= 32
    assert saturated <= set(bounds.can_saturate)
    return saturated


@given(st.integers(0, 2**32 - 1))
@PROPERTY
def test_activation_interval_is_exact(seed) -> None:
    """Both ends are reached by some y of the sums' interval, whichever fields and however the threshold lies."""
    rng = np.random.default_rng(seed)
    channels = 40
    ends = np.sort(rng.integers(-60, 60, (2, channels)), axis=0)
    threshold, positive, before, after = rng.integers(-70, 70, (4, channels))
    act = Activation(threshold, positive, before, rng.integers(-8, 5, channels), after)
    interval = ranges_module._activation_range(act, Interval(ends[0], ends[1]))
    for channel in range(channels):
        one = Activation(*(getattr(act, name)[channel : channel + 1] for name in act.__dataclass_fields__))
        reached = check_activation(np.arange(ends[0, channel], ends[1, channel] + 1)[:, None], one)
        assert (interval.low[channel], interval.high[channel]) == (reached.min(), reached.max())


@given(st.integers(0, 2**32 - 1))
@PROPERTY
def test_prelu_interval_is_exact(seed) -> None:
    """Both ends are reached by some value, whichever slope, also a negative one or one beyond 1."""
    rng = np.random.default_rng(seed)
    channels = 40
    ends = np.sort(rng.integers(-60, 60, (2, channels)), axis=0)
    slopes = Scale(rng.integers(-1, 2, (channels, 2)), rng.integers(0, 7, (channels, 2)), 4)
    bounds = ranges_module._prelu_range("p", slopes, Interval(ends[0], ends[1]), 8)
    for channel in range(channels):
        one = Scale(slopes.sign[channel : channel + 1], slopes.shift[channel : channel + 1], 4)
        values = np.arange(ends[0, channel], ends[1, channel] + 1)[:, None]
        reached = np.where(values >= 0, values, values * one.multiplier >> 4)
        assert (bounds.scaled.low[channel], bounds.scaled.high[channel]) == (reached.min(), reached.max())


def test_prelu_products_by_hand() -> None:
    """Values of -8 to 7, slope 1/4 with two guard bits: the widest number is 7 << 2, a value that passes."""
    quarter = Scale(np.array([[1]]), np.array([[0]]), 2)
    bounds = ranges_module._prelu_range("p", quarter, Interval(np.array([-8]), np.array([7])), 4)
    assert bounds.products_bits == 6
    assert (bounds.scaled.low.tolist(), bounds.scaled.high.tolist()) == ([-2], [7])
    # A slope of -3 has two terms, -4 + 1: the first makes 32 of -8, and the result is the greatest.
    steep = Scale(np.array([[-1, 1]]), np.array([[2, 0]]), 0)
    bounds = ranges_module._prelu_range("p", steep, Interval(np.array([-8]), np.array([7])), 4)
    assert bounds.products_bits == 7
    assert (bounds.scaled.low.tolist(), bounds.scaled.high.tolist()) == ([0], [24])
    # Without a negative value there is no slope.
    bounds = ranges_module._prelu_range("p", steep, Interval(np.array([2]), np.array([7])), 4)
    assert (bounds.scaled.low.tolist(), bounds.scaled.high.tolist()) == ([2], [7])


def test_a_repeated_interval() -> None:
    """Both halves of a doubled block get the input's interval, channel by channel."""
    structure = member("twice", (2, 4), (0, 1), family="reactneta", image=6)
    network = random_network(structure, 1)
    block = network.blocks[1]
    nothing = replace(block.scale, sign=np.zeros_like(block.scale.sign))
    passing = [np.zeros(4, np.int64)] * 5
    passing[0] = np.full(4, -(1 << 20))
    blocks = (network.blocks[0], replace(block, scale=nothing, activation=Activation(*passing)))
    bounds = analyse(replace(network, blocks=blocks)).blocks
    entering = bounds[0].output.clip(network.value_width)
    assert bounds[1].output.low.tolist() == entering.low.tolist() * 2
    assert bounds[1].output.high.tolist() == entering.high.tolist() * 2
    assert entering.low[0] != entering.low[1]


def test_a_block_without_activation_is_as_wide_as_its_sum() -> None:
    structure = member("none", (4,), (2,), family="birealnet", image=8)
    bounds = analyse(random_network(structure, 1)).blocks
    assert (bounds[0].field_bits, bounds[0].activation_bits, bounds[0].prelu) == (1, bounds[0].added_bits, None)
    assert bounds[1].prelu is not None
    np.testing.assert_array_equal(bounds[1].output.high, bounds[1].prelu.scaled.high)


def test_a_padded_tap_counts_as_zero() -> None:
    """Inputs of 5 to 9: a 3x3 kernel may stand with all but one tap on padding, a 1x1 kernel never."""
    values = Interval(np.array([5]), np.array([9]))
    for kernel, low, high in ((3, -9 * 4, 9 * 5), (1, 5, 9)):
        weights = np.ones((1, kernel, kernel, 1), np.int64)
        weights.reshape(-1)[1::2] = -1
        bounds = ranges_module._sum_range("s", SumLayer(weights, np.array([0]), 1), values, None)
        assert (bounds.sum.low.tolist(), bounds.sum.high.tolist()) == ([low], [high])


@given(
    st.sampled_from(STRUCTURES),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    st.sampled_from(["pow2", "free"]),
    st.sampled_from([(16, 8, 8, 8, None), (10, 5, 4, 3, 2), (8, 6, 2, 2, 4), (20, 12, 12, 6, 3), (12, 4, 15, 5, 1)]),
)
@PROPERTY
def test_every_number_lies_in_its_proven_interval(structure, seed, spread, scales, numbers) -> None:
    width, fraction, stem_planes, head_planes, terms = numbers
    network = random_network(
        structure,
        seed,
        spread=spread,
        scales=scales,
        value_width=width,
        fraction_bits=fraction,
        stem_planes=stem_planes,
        head_planes=head_planes,
        terms=terms,
    )
    check_network(network, np.concatenate([adversarial_images(network), random_images(structure, seed, 8)]))


@given(st.integers(0, 2**32 - 1), st.sampled_from([10, 16, 24]))
@PROPERTY
def test_any_blocks_lie_in_their_proven_intervals(seed, width) -> None:
    structure = random_structure(seed)
    scales = "free" if seed % 2 else "pow2"
    network = random_network(structure, seed, spread=1.5, scales=scales, value_width=width, head_planes=4)
    check_network(network, random_images(structure, seed, 8))


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda structure: structure.name)
def test_the_stem_reaches_both_ends(structure) -> None:
    """Proven, and not wider than need be: some image drives each filter to either end of its interval."""
    network = random_network(structure, 5)
    bounds = analyse(network).stem.sum
    centred = adversarial_images(network).astype(np.int64) - network.center
    sums = convolved(centred, network.stem.weights.astype(np.int64), structure.stem.stride)[0] + network.stem.bias
    np.testing.assert_array_equal(sums.max(axis=(0, 1, 2)), bounds.high)
    np.testing.assert_array_equal(sums.min(axis=(0, 1, 2)), bounds.low)


def test_binary_sums_reach_both_ends() -> None:
    """Thresholds at the ends make a sign constant, and a kernel of one sign then sums its whole fan-in."""
    structure = member("ends", (3,), (1,), image=5)
    network = random_network(structure, 1)
    low, high = value_range(16)
    for threshold, sign in ((low, 1), (high, -1)):
        network.blocks[0].threshold[:] = threshold
        network.blocks[0].weights[0] = 1
        network.blocks[0].weights[1] = 0
        sums = forward(network, random_images(structure, 1, 3))["block00.conv"]
        bounds = analyse(network).blocks[0].conv.sum
        assert sums[:, 2, 2, 0].tolist() == [27 * sign] * 3
        assert sums[:, 2, 2, 1].tolist() == [-27 * sign] * 3
        assert (bounds.low.tolist(), bounds.high.tolist()) == ([-27] * 3, [27] * 3)
        assert bounds.bits == 6


def test_a_network_that_saturates_is_reported() -> None:
    structure = member("saturating", (4, 5), (2, 2), image=8)
    network = random_network(structure, 3, value_width=9, fraction_bits=6, spread=2.0)
    images = np.concatenate([adversarial_images(network), random_images(structure, 3, 8)])
    saturated = check_network(network, images)
    assert saturated == {"stem", "block00", "block01", "block02", "block03"}
    assert set(analyse(network).can_saturate) == saturated
    counts = saturation_counts(network, forward(network, images))
    assert all(counts[name] > 0 for name in saturated)


def test_prelus_that_saturate_are_reported() -> None:
    structure = member("steep", (4,), (2,), family="xnornet", image=8, stem=StemForm(3, 1, max_pool=True))
    network = random_network(structure, 3, value_width=9, fraction_bits=5)
    steep = Scale(np.tile([[-1]], (4, 1)), np.full((4, 1), 4), 0)
    last = replace(network.blocks[1], prelu=steep)
    network = replace(network, stem_prelu=steep, blocks=(network.blocks[0], last))
    images = np.concatenate([adversarial_images(network), random_images(structure, 3, 8)])
    saturated = check_network(network, images)
    assert {"stem.prelu", "block01"} <= saturated <= set(analyse(network).can_saturate)
    counts = saturation_counts(network, forward(network, images))
    assert counts["stem.prelu"] > 0
    assert counts["block01"] > 0


@pytest.mark.parametrize("family", ["reactnet", "birealnet", "xnornet"])
def test_a_network_that_cannot_saturate_is_not_reported(family) -> None:
    structure = member("wide", (4, 5), (2, 2), family=family, image=8)
    network = random_network(structure, 3, value_width=24, fraction_bits=6, head_planes=4, spread=0.5)
    assert analyse(network).can_saturate == ()
    images = np.concatenate([adversarial_images(network), random_images(structure, 3, 8)])
    assert not any(saturation_counts(network, forward(network, images)).values())


def test_saturation_starts_one_beyond_the_range() -> None:
    """A 1x1 stem that passes one channel on: 255 - 124 + bias just fits 8 bits, one more is reported and clipped."""
    structure = Structure("edge", "reactnet", 2, 2, Stem(3, 1, 1, 1), (), 1)
    base = random_network(structure, 1, value_width=8, fraction_bits=4)
    weights = np.array([1, -1, 1]).reshape(1, 1, 1, 3)
    ends = 255 + int(base.center[1]) - int(base.center[0]) - int(base.center[2]) + 255
    scale = Scale(np.array([[1]]), np.array([[0]]), 0)
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[..., [0, 2]] = 255
    for extra, reported in ((0, False), (1, True)):
        stem = SumLayer(weights, np.array([127 + extra - ends]), 1)
        network = replace(base, stem=stem, stem_scale=scale, value_width=8)
        low = analyse(network).stem.sum.low[0]
        assert low < -128
        fitting = replace(network, value_width=signed_bits(int(low), 127))
        assert analyse(network).stem.sum.high.tolist() == [127 + extra]
        assert analyse(network).can_saturate == ("stem",)
        assert forward(network, image)["stem"].max() == 127
        assert analyse(fitting).can_saturate == ()
        assert forward(fitting, image)["stem"].max() == 127 + extra
        assert (forward(network, image)["stem"] != forward(fitting, image)["stem"]).any() == reported


@pytest.mark.parametrize("bits", [40, 33])
def test_widths_beyond_64_bits_are_refused(bits) -> None:
    """Sums, shifts and slopes that would leave NumPy's integers are an error that names the layer, never a wrap."""
    structure = member("wide", (3, 5), (1, 1), image=8)
    network = random_network(structure, 1, value_width=24, head_planes=3)
    far = Scale(np.ones((5, 1), np.int8), np.full((5, 1), bits, np.uint8), 0)
    block = network.blocks[1]
    assert block.shortcut is not None
    shortcut = replace(block.shortcut, bias=block.shortcut.bias + (1 << 40))
    with pytest.raises(ValueError, match=r"block01\.shortcut needs \d+ bits"):
        analyse(replace(network, blocks=(network.blocks[0], replace(block, shortcut=shortcut, shortcut_scale=far))))
    stem = replace(network.stem, bias=network.stem.bias - (1 << 46))
    far = Scale(np.ones((3, 1), np.int8), np.full((3, 1), bits, np.uint8), 0)
    with pytest.raises(ValueError, match=r"stem needs \d+ bits"):
        analyse(replace(network, stem=stem, stem_scale=far))


def test_a_slope_beyond_64_bits_is_refused() -> None:
    structure = member("slope", (3,), (1,), image=8)
    network = random_network(structure, 1, head_planes=3)
    block = network.blocks[0]
    far = Scale(np.ones((3, 1), np.int8), np.full((3, 1), 40, np.uint8), 0)
    steep = replace(block.activation, exponent=np.full(3, 30, np.int8))
    with pytest.raises(ValueError, match=r"block00 needs \d+ bits"):
        analyse(replace(network, blocks=(replace(block, scale=far, activation=steep),)))


def test_a_free_slope_beyond_64_bits_is_refused() -> None:
    structure = member("slope", (3,), (1,), family="birealnet", image=8)
    network = random_network(structure, 1, value_width=24, head_planes=3)
    far = Scale(np.ones((3, 1), np.int8), np.full((3, 1), 40, np.uint8), 0)
    with pytest.raises(ValueError, match=r"stem.prelu needs \d+ bits"):
        analyse(replace(network, stem_scale=replace(far, shift=far.shift // 2), stem_prelu=far))
    guarded = Scale(np.ones((3, 1), np.int8), np.full((3, 1), 0, np.uint8), 40)
    with pytest.raises(ValueError, match=r"block00 needs \d+ bits"):
        analyse(replace(network, blocks=(replace(network.blocks[0], prelu=guarded),)))


def test_scores_beyond_32_bits_are_refused() -> None:
    network = random_network(member("scores", (3,), (1,), image=8), 1)
    head = replace(network.head, bias=network.head.bias + (1 << 31))
    with pytest.raises(ValueError, match="scores need 33 bits"):
        analyse(replace(network, head=head))
