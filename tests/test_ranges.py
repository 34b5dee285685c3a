"""Range analysis: whatever the image, every sum and value lies in its proven interval and fits its proven width."""

import doctest
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_network import random_images, random_network

from golden import ranges as ranges_module
from golden.model import forward, saturation_counts
from golden.network import Activation, IntegerNetwork, Scale, SumLayer
from golden.ops import value_range
from golden.ranges import Interval, SumRange, analyse, signed_bits
from golden.structure import Block, Stem, Structure, reactnet

PROPERTY = settings(derandomize=True, deadline=None, max_examples=25)

STRUCTURES = (
    reactnet("a", (3, 5), (1, 2), image=8),
    reactnet("b", (4, 4, 6), (2, 1, 1), image=16, stem_stride=2, classes=3),
    reactnet("c", (3,), (2,), image=7, stem_kernel=5, stem_stride=2, classes=2),
    reactnet("d", (2, 3), (1, 1), image=6, stem_kernel=1, classes=1),
    Structure("e", 6, 10, Stem(3, 3, 3, 1), (Block(3, 3, 1, 6, 10), Block(3, 4, 2, 6, 10)), 4),
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
    total = np.zeros_like(sums)
    for term in range(scale.terms):
        shifted = sums << scale.shift[:, term].astype(np.int64)
        assert_fits(shifted * (scale.sign[:, term] != 0), bounds.products_bits, f"{where} term")
        total += scale.sign[:, term].astype(np.int64) * shifted
        assert_fits(total, bounds.products_bits, f"{where} partial sum")
    scaled = total >> scale.guard
    assert_within(scaled, bounds.scaled, f"{where} scaled")
    return scaled


def check_activation(sums, act: Activation):
    """Before saturation."""
    inner = sums + act.add_before
    exponent = act.exponent.astype(np.int64)
    shifted = np.where(exponent >= 0, inner << np.maximum(exponent, 0), inner >> np.maximum(-exponent, 0))
    return np.where(sums >= act.threshold, sums + act.add_positive, shifted + act.add_after)


def check_network(network: IntegerNetwork, images) -> set[str]:
    """Walk through the network in plain int64; the layers that saturated."""
    bounds, structure, width = analyse(network), network.structure, network.value_width
    layers = forward(network, images, bounds)
    saturated = set()

    def saturate(values, name):
        clipped = np.clip(values, *value_range(width))
        if (clipped != values).any():
            saturated.add(name)
        np.testing.assert_array_equal(clipped, layers[name], err_msg=name)
        return clipped

    centred = images.astype(np.int64) - network.center
    scaled = check_sums(centred, network.stem, structure.stem.stride, network.stem_scale, bounds.stem, "stem")
    values = saturate(scaled, "stem")
    for index, (geometry, block, limits) in enumerate(
        zip(structure.blocks, network.blocks, bounds.blocks, strict=True)
    ):
        name = f"block{index:02d}"
        signs = np.where(values >= block.threshold, 1, -1)
        kernel = SumLayer(2 * block.weights.astype(np.int64) - 1, np.zeros(len(block.weights), np.int64), 1)
        scaled = check_sums(signs, kernel, geometry.stride, block.scale, limits.conv, f"{name}.conv")
        residual = values
        if block.shortcut is not None:
            n, height, columns, channels = values.shape
            quads = values.reshape(n, height // 2, 2, columns // 2, 2, channels).sum(axis=(2, 4))
            assert limits.shortcut is not None
            residual = check_sums(
                quads >> 2, block.shortcut, 1, block.shortcut_scale, limits.shortcut, f"{name}.shortcut"
            )
        sums = scaled + residual
        assert_fits(sums, limits.added_bits, f"{name} added")
        assert limits.field_bits >= limits.added_bits
        for field in (
            block.activation.threshold,
            block.activation.add_positive,
            block.activation.add_before,
            block.activation.add_after,
        ):
            assert_fits(field, limits.field_bits, f"{name} field")
        output = check_activation(sums, block.activation)
        assert_within(output, limits.output, name)
        values = saturate(output, name)
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
    interval = ranges_module._activation_range("a", act, Interval(ends[0], ends[1]))
    for channel in range(channels):
        one = Activation(*(getattr(act, name)[channel : channel + 1] for name in act.__dataclass_fields__))
        reached = check_activation(np.arange(ends[0, channel], ends[1, channel] + 1)[:, None], one)
        assert (interval.low[channel], interval.high[channel]) == (reached.min(), reached.max())


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
    structure = reactnet("ends", (3,), (1,), image=5)
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
    structure = reactnet("saturating", (4, 5), (2, 2), image=8)
    network = random_network(structure, 3, value_width=9, fraction_bits=6, spread=2.0)
    images = np.concatenate([adversarial_images(network), random_images(structure, 3, 8)])
    saturated = check_network(network, images)
    assert saturated == {"stem", "block00", "block01", "block02", "block03"}
    assert set(analyse(network).can_saturate) == saturated
    counts = saturation_counts(network, forward(network, images))
    assert all(counts[name] > 0 for name in saturated)


def test_a_network_that_cannot_saturate_is_not_reported() -> None:
    structure = reactnet("wide", (4, 5), (2, 2), image=8)
    network = random_network(structure, 3, value_width=24, fraction_bits=6, head_planes=4, spread=0.5)
    assert analyse(network).can_saturate == ()
    images = np.concatenate([adversarial_images(network), random_images(structure, 3, 8)])
    assert not any(saturation_counts(network, forward(network, images)).values())


def test_saturation_starts_one_beyond_the_range() -> None:
    """A 1x1 stem that passes one channel on: 255 - 124 + bias just fits 8 bits, one more is reported and clipped."""
    structure = Structure("edge", 2, 2, Stem(3, 1, 1, 1), (), 1)
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
    structure = reactnet("wide", (3, 5), (1, 1), image=8)
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
    structure = reactnet("slope", (3,), (1,), image=8)
    network = random_network(structure, 1, head_planes=3)
    block = network.blocks[0]
    far = Scale(np.ones((3, 1), np.int8), np.full((3, 1), 40, np.uint8), 0)
    steep = replace(block.activation, exponent=np.full(3, 30, np.int8))
    with pytest.raises(ValueError, match=r"block00 needs \d+ bits"):
        analyse(replace(network, blocks=(replace(block, scale=far, activation=steep),)))


def test_scores_beyond_32_bits_are_refused() -> None:
    network = random_network(reactnet("scores", (3,), (1,), image=8), 1)
    head = replace(network.head, bias=network.head.bias + (1 << 31))
    with pytest.raises(ValueError, match="scores need 33 bits"):
        analyse(replace(network, head=head))
