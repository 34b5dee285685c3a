"""Every rounding of freezing against brute force, what may be chosen, and what cannot be frozen."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abbnn import paths
from abbnn.export.freeze import (
    FRACTION_BITS_CHOSEN_MAX,
    PRECISION_BITS,
    FreezeOptions,
    calibration_images,
    freeze,
    freeze_scale,
    odd_weights,
    peak,
    rounding_bias,
    scale_names,
    scale_terms,
    signed_powers,
    threshold_overflows,
    weight_exponent,
)
from abbnn.export.random_network import random_images
from abbnn.golden import ops
from abbnn.golden.images import read_images
from abbnn.golden.model import forward
from abbnn.golden.network import Scale, load_network, save_network
from abbnn.golden.ranges import analyse
from abbnn.golden.structure import CIFAR_STEM, FAMILIES, RESNET_STEM, STRIDED_STEM, block_name, member
from abbnn.train.random_checkpoint import random_checkpoint
from abbnn.train.tensors import standardize
from abbnn.train.variant import Variant

PROPERTY = settings(max_examples=100)
SMALL = member("small", (3, 5), (1, 2), image=8, stem=STRIDED_STEM, classes=4)
NARROW = [
    SMALL,
    member("bireal", (3, 5), (1, 2), family="birealnet", image=16, stem=RESNET_STEM, classes=4),
    member("xnor", (3, 5), (1, 2), family="xnornet", image=8, classes=4),
    member("paired", (3, 6, 12), (0, 1, 1), family="reactneta", image=8, classes=4),
]
EVERY_FAMILY = pytest.mark.parametrize("structure", NARROW, ids=lambda structure: structure.name)


def random_tensors(structure=SMALL, seed=1, spread=0.7):
    return random_checkpoint(structure, np.random.default_rng(seed), spread=spread)


def frozen(tensors, scales="pow2", structure=SMALL, **options):
    return freeze(tensors, structure, Variant(scales=scales), FreezeOptions(**{"fraction_bits": 9} | options))


def value_of(sign, exponent):
    return (sign * 2.0**exponent).sum(axis=-1)


@given(st.floats(-300, 300), st.integers(1, 4), st.integers(-9, 1))
@PROPERTY
def test_signed_powers_take_the_nearest_power_each_time(factor, terms, lowest) -> None:
    """One term against all candidates; more terms by the same rule on the rest."""
    sign, exponent = signed_powers(np.array([factor]), terms, lowest)
    assert sign.shape == exponent.shape == (1, terms)
    rest = factor
    for term in range(terms):
        candidates = [0.0, *(s * 2.0**e for s in (-1, 1) for e in range(lowest, 12))]
        best = min(abs(rest - candidate) for candidate in candidates)
        taken = sign[0, term] * 2.0 ** exponent[0, term]
        assert abs(rest - taken) == pytest.approx(best, abs=1e-12)
        assert exponent[0, term] >= lowest
        rest -= taken
    assert abs(rest) <= max(abs(factor) * 3.0**-terms, 2.0 ** (lowest - 1))


def test_signed_powers_by_hand() -> None:
    """7/16 = 1/2 - 1/16; 5 = 4 + 1; -0.75 lies in the middle and takes the upper; 0 has no term; 0.1 is below half."""
    sign, exponent = signed_powers(np.array([0.4375, 5.0, -0.75, 0.0, 0.1, 0.13]), 2, -2)
    assert value_of(sign, exponent).tolist() == [0.5, 5.0, -0.75, 0.0, 0.0, 0.25]
    assert sign[:2].tolist() == [[1, 0], [1, 1]]
    assert exponent[1].tolist() == [2, 0]
    assert sign[2].tolist() == [-1, 1]
    assert exponent[3].tolist() == [-2, -2]
    sign, exponent = signed_powers(np.array([0.4375]), 2, -9)
    assert (sign.tolist(), exponent.tolist()) == ([[1, -1]], [[-1, -4]])


def test_two_terms_are_nearly_the_best_two() -> None:
    """Greedy against all pairs of signed powers: never more than the worst case that the docstring's rule allows."""
    powers = [0.0, *(s * 2.0**e for s in (-1, 1) for e in range(-10, 3))]
    pairs = np.array([a + b for a, b in itertools.product(powers, powers)])
    factors = np.random.default_rng(2).uniform(-2, 2, 300)
    sign, exponent = signed_powers(factors, 2, -10)
    greedy = np.abs(value_of(sign, exponent) - factors)
    best = np.abs(pairs[None] - factors[:, None]).min(axis=1)
    assert (greedy >= best - 1e-12).all()
    assert np.median(greedy) <= 1.01 * np.median(best) + 1e-12


@given(st.lists(st.tuples(st.sampled_from([-1, 1]), st.integers(-12, 9)), min_size=1, max_size=6))
@PROPERTY
def test_power_of_two_scales_are_exact(factors) -> None:
    values = np.array([sign * 2.0**exponent for sign, exponent in factors])
    scale = freeze_scale("s", values, 1, True, reach=20)
    assert scale.terms == 1
    assert scale.guard == max(0, *(-exponent for _, exponent in factors))
    assert (scale.shift >= 0).all()
    np.testing.assert_array_equal(scale.multiplier * 2.0**-scale.guard, values)


def test_a_trained_scale_takes_the_power_that_training_took() -> None:
    """Rounded in the logarithm: the border between 1 and 2 is sqrt(2), not 1.5."""
    scale = freeze_scale("s", np.array([1.41, 1.42, -1.45, 0.70, 0.71, 0.0]), 1, True, reach=10)
    assert (scale.multiplier * 2.0**-scale.guard).tolist() == [1, 2, -2, 0.5, 1, 0]
    free = freeze_scale("s", np.array([1.41, 1.42, -1.45, 1.51]), 1, False, reach=10)
    assert (free.multiplier * 2.0**-free.guard).tolist() == [1, 1, -1, 2]


@pytest.mark.parametrize("in_bits", [0, 8])
def test_free_scales_are_as_fine_as_stated(in_bits) -> None:
    factors = np.random.default_rng(3).lognormal(-2, 2, 200)
    scale = freeze_scale("s", factors, 8, False, reach=10, in_bits=in_bits)
    error = np.abs(scale.multiplier * 2.0**-scale.guard - factors)
    assert (error <= np.maximum(factors * 3.0**-8, 2.0 ** (-PRECISION_BITS - in_bits - 1))).all()
    assert scale.guard == PRECISION_BITS + in_bits


def test_rounding_bias_against_brute_force() -> None:
    """With it, scale() rounds to within half a last bit and half a factor, and nearer on average than without."""
    rng = np.random.default_rng(4)
    sums = np.arange(-300, 300)[:, None].repeat(40, axis=1)
    for terms in (1, 2, 3):
        scale = Scale(rng.integers(-1, 2, (40, terms)), rng.integers(0, 7, (40, terms)), 6)
        bias = rounding_bias(scale)
        factors = scale.multiplier / 64
        assert (bias[factors == 0] == 0).all()
        exact = sums * factors
        with_bias = np.abs(ops.scale(sums + bias, scale.sign, scale.shift, 6, 40) - exact).max(axis=0)
        without = np.abs(ops.scale(sums, scale.sign, scale.shift, 6, 40) - exact).max(axis=0)
        small = np.abs(factors) <= 1
        assert small.sum() > 10
        assert (with_bias <= 0.5 + 0.5 * np.minimum(np.abs(factors), 1) + 1e-12)[small].all()
        assert (with_bias <= without + 1e-12)[small].all()
        assert with_bias.mean() < without.mean()
        for channel in range(40):  # no other bias comes nearer to half of the guard's unit
            if scale.multiplier[channel]:
                candidates = np.arange(-40, 41) * scale.multiplier[channel]
                best = np.abs(candidates - 32).min()
                assert abs(int(bias[channel]) * int(scale.multiplier[channel]) - 32) == best


def test_no_rounding_bias_without_guard_bits() -> None:
    scale = Scale(np.array([[1], [-1]]), np.array([[0], [3]]), 0)
    assert rounding_bias(scale).tolist() == [0, 0]


@given(st.lists(st.floats(-40, 40), min_size=1, max_size=8), st.integers(1, 6))
@PROPERTY
def test_odd_weights_are_the_nearest(weights, planes) -> None:
    limit = (1 << planes) - 1
    candidates = np.arange(-limit, limit + 1, 2)
    result = odd_weights(np.array(weights), planes)
    assert set(result.tolist()) <= set(candidates.tolist())
    best = np.abs(np.array(weights)[:, None] - candidates).min(axis=1)
    np.testing.assert_allclose(np.abs(result - weights), best, atol=1e-9)


def test_odd_weights_by_hand() -> None:
    weights = np.array([-9.0, -7.1, -0.3, 0.2, 1.9, 2.1, 6.5, 99.0])
    assert odd_weights(weights, 3).tolist() == [-7, -7, -1, 1, 1, 3, 7, 7]
    assert odd_weights(np.array([-0.1, 0.1, 5.0]), 1).tolist() == [-1, 1, 1]


@given(st.floats(1e-6, 1e6), st.integers(1, 15))
@PROPERTY
def test_weight_exponent_is_the_greatest_that_fits(largest, planes) -> None:
    exponent = int(weight_exponent(np.array([largest]), planes)[0])
    assert largest * 2.0**exponent <= 2.0**planes < largest * 2.0 ** (exponent + 1)


def test_standardize_by_hand() -> None:
    """Mean 2, population deviation 1, fan-in 4."""
    weight = np.array([1.0, 3.0, 1.0, 3.0]).reshape(1, 4, 1, 1)
    np.testing.assert_allclose(standardize(weight).ravel(), [-0.5, 0.5, -0.5, 0.5], rtol=2e-5)


def test_thresholds_are_the_first_value_that_is_plus_one() -> None:
    """sign(beta * v / 256 + bias0) in floats for every value v around the threshold."""
    tensors = random_tensors()
    network = frozen(tensors, fraction_bits=8)
    for index, (block, beta) in enumerate(zip(network.blocks, (1.0, 1.0, 1.0), strict=True)):
        bias = tensors[f"{block_name(index)}.bias0"].astype(np.float64)
        for channel, threshold in enumerate(block.threshold):
            values = int(threshold) + np.arange(-3, 4)
            expected = beta * values / 256 + bias[channel] >= 0
            assert ops.compare(values, np.full(7, threshold)).tolist() == expected.astype(int).tolist()


@pytest.mark.parametrize("alpha", [0.25, 0.125])
def test_thresholds_follow_beta(alpha) -> None:
    """Block 2 of the first stage has seen one block's variance: beta = 1 / sqrt(1 + alpha^2)."""
    structure = member("deep", (2,), (3,), image=4)
    tensors = random_tensors(structure)
    network = freeze(tensors, structure, Variant(alpha=alpha), FreezeOptions(fraction_bits=8))
    for index, variance in enumerate((1, 1, 1 + alpha**2)):
        bias = tensors[f"{block_name(index)}.bias0"].astype(np.float64)
        assert network.blocks[index].threshold.tolist() == np.ceil(-bias * 256 * variance**0.5).astype(int).tolist()


def test_without_biases_the_threshold_is_zero() -> None:
    for block in frozen(random_tensors(NARROW[1]), structure=NARROW[1]).blocks:
        assert not block.threshold.any()


def with_activation(bias1, bias2, l_alpha):
    tensors = random_tensors()
    tensors |= {
        "block00.bias1": np.array(bias1),
        "block00.bias2": np.array(bias2),
        "block00.l_alpha": np.array(l_alpha),
    }
    return tensors


def test_activation_fields() -> None:
    tensors = with_activation([0.5, -0.25, 1.0], [-1.0, 0.125, 0.0], [-2.6, 1.4, -30.0])
    act = frozen(tensors, fraction_bits=8).blocks[0].activation
    assert act.threshold.tolist() == [-128, 64, -256]
    assert act.add_positive.tolist() == [-128, -32, 256]
    assert act.add_before.tolist() == [128 + 4, -64, 256 + (1 << 13)]
    assert act.exponent.tolist() == [-3, 1, -19]
    assert act.add_after.tolist() == [-256, 32, 0]


def test_activation_fields_of_eq_8() -> None:
    tensors = with_activation([0.5, -0.25, 1.0], [-1.0, 0.125, 0.0], [-2.6, 1.4, -30.0])
    act = freeze(tensors, SMALL, Variant(form="paper"), FreezeOptions(fraction_bits=8)).blocks[0].activation
    assert act.threshold.tolist() == act.add_positive.tolist() == [0, 0, 0]
    assert act.add_before.tolist() == [128 + 4, -64, 256 + (1 << 13)]
    assert act.exponent.tolist() == [-3, 1, -19]
    assert act.add_after.tolist() == [-256, 32, 0]


@pytest.mark.parametrize("form", ["code", "paper"])
def test_both_forms_of_the_activation(form) -> None:
    """Every sum from -3000 to 3000 last bits; each bias is off by half of one, so is the shift's result."""
    rng = np.random.default_rng(5)
    bias1, bias2, l_alpha = rng.normal(0, 1, 3), rng.normal(0, 1, 3), np.array([-7.2, -3.0, 1.6])
    tensors = with_activation(bias1, bias2, l_alpha)
    act = freeze(tensors, SMALL, Variant(form=form), FreezeOptions(fraction_bits=8)).blocks[0].activation
    sums = np.arange(-3000, 3001)[:, None].repeat(3, axis=1)
    fields = (act.threshold, act.add_positive, act.add_before, act.exponent, act.add_after)
    actual = ops.qprelu(sums, *fields, 20)
    y, slope = sums / 256, 2.0 ** np.round(l_alpha)
    if form == "code":
        expected = np.where(y + bias1 >= 0, y + bias1, slope * (y + bias1)) + bias2
    else:
        expected = np.where(y >= 0, y, slope * (y + bias1) + bias2)
    allowed = 0.5 * np.maximum(slope, 1) + 0.5 + 0.5
    assert (np.abs(actual - 256 * expected) <= allowed + 1e-9).all()
    assert (np.abs(actual - 256 * expected) <= 1.0).mean() > 0.6  # the bound is no loose one


def test_signs_of_weights_are_taken_behind_the_mean() -> None:
    tensors = random_tensors()
    weight = tensors["block01.weight"]
    weight += 10  # all positive: their own signs say nothing
    network = frozen(tensors)
    expected = (weight.astype(np.float64) >= weight.astype(np.float64).mean(axis=(1, 2, 3), keepdims=True)).astype(int)
    np.testing.assert_array_equal(network.blocks[1].weights, expected.transpose(0, 2, 3, 1))
    assert 0 < network.blocks[1].weights.mean() < 1


@EVERY_FAMILY
def test_terms(structure) -> None:
    tensors = random_tensors(structure)
    trained, free = frozen(tensors, structure=structure), frozen(tensors, "free", structure)
    names = scale_names(structure)
    for network in (trained, free):
        assert list(scale_terms(network)) == names
        assert network.stem_scale.terms == 1
    assert set(scale_terms(free).values()) == {3}
    for name, terms in scale_terms(trained).items():
        assert terms == (3 if name.endswith(".prelu") else 1)
    for terms in (1, 2, 3, 4, 8):
        assert set(scale_terms(frozen(tensors, "free", structure, terms=terms)).values()) == {terms}
    assert scale_terms(frozen(tensors, structure=structure, terms=2))["block00"] == 2
    for name in names:
        chosen = scale_terms(frozen(tensors, "free", structure, terms=2, terms_of={name: 5}))
        assert chosen == {other: 5 if other == name else 2 for other in names}


def float_factors(tensors, structure, variant):
    """Name of a scale -> the factor a channel that it stands for, between values in units of 1."""

    def filters(name, multiplier):
        weight = tensors[f"{name}.weight"].astype(np.float64)
        deviation = np.sqrt(((weight - weight.mean(axis=(1, 2, 3), keepdims=True)) ** 2).mean(axis=(1, 2, 3)))
        centred = np.abs(weight - weight.mean(axis=(1, 2, 3), keepdims=True)).mean(axis=(1, 2, 3))
        return multiplier * tensors[f"{name}.gain"] * centred / (deviation + 1e-5) / np.sqrt(weight[0].size)

    found = {}
    for name in scale_names(structure):
        if name.endswith(".prelu"):
            found[name] = tensors[name].astype(np.float64)
        else:
            found[name] = filters(name, 1.0 if name.endswith(".shortcut") else variant.alpha)
    return found


def scale_of(network, name) -> Scale:
    if name == "stem.prelu":
        return network.stem_prelu
    block = network.blocks[int(name[5:7])]
    return {"": block.scale, "prelu": block.prelu, "shortcut": block.shortcut_scale}[name[8:]]


@EVERY_FAMILY
@pytest.mark.parametrize("terms", [1, 2, 3, 4])
def test_factors_are_as_near_as_their_terms_allow(structure, terms) -> None:
    """A third of what is left remains after each term, down to 2**-7 of a last bit for an input of 1."""
    tensors, variant = random_tensors(structure, spread=1.0), Variant(alpha=0.125)
    network = freeze(tensors, structure, variant, FreezeOptions(fraction_bits=8, terms=terms))
    for name, exact in float_factors(tensors, structure, variant).items():
        scale = scale_of(network, name)
        # The sums of a binary convolution are plain integers, those of values and the values themselves have 8
        # fraction bits like the results.
        in_bits = 0 if "." not in name else 8
        wanted = exact * 2.0 ** (8 - in_bits)
        error = np.abs(scale.multiplier * 2.0**-scale.guard - wanted)
        assert (error <= np.maximum(np.abs(wanted) * 3.0**-terms, 2.0 ** (-PRECISION_BITS - 1 - in_bits)) + 1e-12).all()
        if terms == 1:
            assert error.max() > 0.05 * np.abs(wanted).max()  # the bound is put to the test


@EVERY_FAMILY
def test_power_of_two_factors_are_those_of_training(structure) -> None:
    tensors, variant = random_tensors(structure), Variant(scales="pow2")
    network = freeze(tensors, structure, variant, FreezeOptions(fraction_bits=9))
    for name, exact in float_factors(tensors, structure, variant).items():
        if not name.endswith(".prelu"):
            scale, in_bits = scale_of(network, name), 0 if "." not in name else 9
            trained = np.sign(exact) * 2.0 ** np.round(np.log2(np.abs(exact)))
            np.testing.assert_array_equal(scale.multiplier * 2.0 ** (in_bits - 9 - scale.guard), trained)


@pytest.mark.parametrize("terms", [1, 2, 3, 4])
def test_slopes_of_prelu(terms) -> None:
    """Free numbers of either sign, and 0, as signed powers of two: the result is off by |y| 3^-T and one last bit."""
    structure = NARROW[1]
    slopes = np.array([0.25, 0.3017, -0.11, 0.0, 1.9])[: structure.stem.out_channels]
    tensors = random_tensors(structure) | {"stem.prelu": slopes}
    scale = frozen(tensors, "free", structure, terms=terms).stem_prelu
    values = np.arange(-20000, 20001, 7)[:, None].repeat(len(slopes), axis=1)
    actual = ops.prelu(values, scale.sign, scale.shift, scale.guard, 20)
    error = np.abs(actual - np.where(values >= 0, values, slopes * values))
    assert not error[values >= 0].any()
    assert (error <= np.abs(slopes * values) * 3.0**-terms + np.abs(values) * 2.0 ** (-PRECISION_BITS - 10) + 1).all()


@EVERY_FAMILY
def test_planes(structure) -> None:
    tensors = random_tensors(structure)
    for scales, planes in (("pow2", 8), ("free", 12)):
        network = frozen(tensors, scales, structure)
        assert (network.stem.planes, network.head.planes) == (planes, 8)
        network = frozen(tensors, scales, structure, stem_planes=5, head_planes=11)
        assert (network.stem.planes, network.head.planes) == (5, 11)
        assert np.abs(network.stem.weights).max() < 1 << 5
        assert 1 << 10 <= np.abs(network.head.weights).max() < 1 << 11


def real_shortcut(tensors):
    """Block 1's shortcut of the Bi-Real network in float64: (Cout, Cin)."""
    weight = tensors["block01.shortcut.weight"][:, :, 0, 0].astype(np.float64)
    centred = weight - weight.mean(axis=1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True))
    return tensors["block01.shortcut.gain"][:, None] * centred / (deviation + 1e-5) / np.sqrt(weight.shape[1])


@pytest.mark.parametrize("scales", ["pow2", "free"])
@pytest.mark.parametrize("planes", [2, 8, 15])
def test_real_shortcuts_are_as_near_as_their_planes_allow(planes, scales) -> None:
    """Off by a step of 2**(1 - planes) of each filter's greatest weight, one power of two a filter; rounded sums."""
    tensors = random_tensors(NARROW[1], spread=1.0)
    network = frozen(tensors, scales, NARROW[1], shortcut_planes=planes)
    layer, scale = network.blocks[1].shortcut, network.blocks[1].shortcut_scale
    assert layer.planes == planes
    assert scale.terms == 1
    expected = real_shortcut(tensors)
    actual = layer.weights[:, 0, 0] * (scale.multiplier * 2.0**-scale.guard)[:, None]
    greatest = np.abs(expected).max(axis=1, keepdims=True)
    assert (np.abs(actual - expected) <= 2.0 ** (1 - planes) * greatest).all()
    assert (np.abs(layer.weights).max(axis=(1, 2, 3)) >= 1 << (planes - 1)).all()
    values = np.random.default_rng(4).integers(-3000, 3000, (500, expected.shape[1]))
    sums = values @ layer.weights[:, 0, 0].T + layer.bias
    result = ops.scale(sums, scale.sign, scale.shift, scale.guard, 24)
    assert (np.abs(result - values @ actual.T) <= 0.5 + 1e-9).all()


@pytest.mark.parametrize("gain", [0.0, 1e-30, -1e-12])
def test_a_dead_filter_of_a_real_shortcut_costs_the_others_nothing(gain) -> None:
    structure = NARROW[1]
    alive = random_tensors(structure)
    dead = {key: value.copy() for key, value in alive.items()}
    dead["block01.shortcut.gain"][1] = gain
    images = random_images(structure, 1, 5)
    network = frozen(dead, structure=structure)
    expected = forward(frozen(alive, structure=structure), images)["block01.shortcut"]
    actual = forward(network, images)["block01.shortcut"]
    others = np.arange(expected.shape[-1]) != 1
    np.testing.assert_array_equal(actual[..., others], expected[..., others])
    assert not actual[..., 1].any()
    assert network.blocks[1].shortcut_scale.guard <= 32


def test_a_real_shortcut_beyond_all_widths_is_refused() -> None:
    tensors = random_tensors(NARROW[1])
    tensors["block01.shortcut.gain"][1] = 1e20
    with pytest.raises(ValueError, match=r"^block01\.shortcut[^\n]+$"):
        frozen(tensors, structure=NARROW[1])


@pytest.mark.parametrize(("value_width", "dropped"), [(16, 0), (18, 0), (20, 2), (24, 6)])
def test_the_pool_drops_what_scores_have_no_room_for(value_width, dropped, tmp_path) -> None:
    """40 weights of 255 and values that fill their width need 32 bits up to a width of 18: 40 * 255 * 2**17 < 2**31.

    What the floor takes off the dropped bits, half a bit of what is left for each of the 40, the bias gives back.
    """
    structure = member("passing", (40,), (1,), family="birealnet", image=2, classes=3)
    tensors = random_tensors(structure) | {"head.weight": np.ones((3, 40)), "head.bias": np.array([-1.0, 0.0, 2.0])}
    # The block adds nothing.
    tensors |= {"stem.gain": np.full(40, 6000.0), "stem.prelu": np.ones(40)}
    tensors |= {"block00.gain": np.zeros(40), "block00.prelu": np.ones(40)}
    network = frozen(tensors, "free", structure, value_width=value_width, fraction_bits=10)
    assert network.head.planes == 8
    save_network(network, tmp_path / "n.safetensors")
    assert load_network(tmp_path / "n.safetensors").pool_shift == network.pool_shift == 2 + dropped
    ranges = analyse(network)
    assert ranges.scores.bits <= 32
    assert dropped == 0 or ranges.scores.bits == 32
    values = np.zeros(40, np.int64) + np.arange(-20, 20) * 1001
    pooled = values >> dropped
    scores = (network.head.weights[:, 0, 0] @ pooled + network.head.bias) * 2.0**-network.score_fraction_bits
    # 255 of the 256 that a weight of 1 would be.
    exact = values.sum() * 2.0**-10 * 255 / 256 + tensors["head.bias"]
    np.testing.assert_allclose(scores, exact, atol=4 * 2.0 ** (dropped - 10))


@EVERY_FAMILY
@pytest.mark.parametrize("fraction_bits", [None, 7])
def test_a_proven_width_cannot_saturate(structure, fraction_bits) -> None:
    """Not by the analysis, which says that one bit less could, and not on images of every kind."""
    tensors = random_tensors(structure, spread=1.0)
    network = frozen(tensors, "free", structure, value_width=None, fraction_bits=fraction_bits)
    width, fraction_bits = network.value_width, network.fraction_bits
    assert analyse(network).can_saturate == ()
    assert analyse(frozen(tensors, "free", structure, value_width=width - 1, fraction_bits=fraction_bits)).can_saturate
    wide = frozen(tensors, "free", structure, value_width=24, fraction_bits=fraction_bits, head_planes=4)
    images = random_images(structure, 3, 24)
    actual, expected = forward(network, images), forward(wide, images)
    for name in set(expected) - {"scores", "class"}:
        np.testing.assert_array_equal(actual[name], expected[name])


@pytest.mark.parametrize("exponent", [6, 7])
def test_a_proven_width_may_cost_fraction_bits(exponent) -> None:
    """Slopes of up to 2**7 that no calibration image reaches, behind a bias, take bits from the proof alone."""
    tensors = random_tensors()
    for name, slope in (("block01", 7), ("block02", exponent)):
        tensors |= {f"{name}.bias1": np.full(5, 4.0), f"{name}.bias2": np.full(5, -4.0)}
        tensors[f"{name}.l_alpha"] = np.full(5, slope)
    measured = freeze(tensors, SMALL, Variant(), FreezeOptions()).fraction_bits
    network = freeze(tensors, SMALL, Variant(), FreezeOptions(None))
    assert (network.value_width, analyse(network).can_saturate) == (24, ())
    assert 1 < network.fraction_bits < measured
    assert network.source["freeze"]["fraction_bits"] == "the most with which a value width is proven"
    for fraction_bits in (network.fraction_bits + 1, measured):
        with pytest.raises(ValueError, match=f"^with {fraction_bits} fraction bits, no value width up to 24 is proven"):
            frozen(tensors, "free", value_width=None, fraction_bits=fraction_bits)
    tensors["stem.gain"] = np.full(3, 1e6)
    with pytest.raises(ValueError, match=r"^with 1 fraction bits, no value width up to 24 is proven"):
        freeze(tensors, SMALL, Variant(), FreezeOptions(None, head_planes=2))


def greatest_value(network, images) -> int:
    layers = forward(network, images)
    values = [layer for name, layer in layers.items() if name.startswith("stem") or name[5:].isdecimal()]
    assert len(values) >= 1 + len(network.blocks)
    return max(int(np.abs(layer.astype(np.int64)).max()) for layer in values)


@EVERY_FAMILY
@pytest.mark.parametrize("value_width", [8, 12, 16])
@pytest.mark.parametrize("spread", [0.3, 1.5])
def test_chosen_fraction_bits_leave_one_bit_free(structure, value_width, spread) -> None:
    """And no more than one, unless the greatest number of fraction bits is reached; ten integer bits have to do."""
    tensors, images = random_tensors(structure, 2, spread), random_images(structure, 4, 12)

    def at(fraction_bits):
        options = FreezeOptions(value_width, fraction_bits)
        return freeze(tensors, structure, Variant(), options, images=images)

    network = at(None)
    chosen = network.fraction_bits
    assert peak(network, images) == greatest_value(network, images)
    fewest = max(4, value_width - 10)
    assert chosen >= fewest
    assert chosen == fewest or greatest_value(network, images) < 1 << (value_width - 2)
    if chosen < min(FRACTION_BITS_CHOSEN_MAX, value_width - 2):
        assert greatest_value(at(chosen + 1), images) >= 1 << (value_width - 2)


def test_fraction_bits_depend_on_the_images() -> None:
    tensors = random_tensors()
    grey = np.full((1, SMALL.height, SMALL.width, 3), 116, np.uint8)
    options = FreezeOptions(12)
    by_grey = freeze(tensors, SMALL, Variant(), options, images=grey).fraction_bits
    by_noise = freeze(tensors, SMALL, Variant(), options).fraction_bits
    assert by_grey > by_noise
    assert freeze(tensors, SMALL, Variant(), options, images=calibration_images(SMALL)).fraction_bits == by_noise


@pytest.mark.parametrize(("value_width", "fewest"), [(8, 4), (12, 4), (16, 6), (24, 12)])
def test_outliers_do_not_take_all_fraction_bits(value_width, fewest) -> None:
    tensors = random_tensors()
    tensors["block00.bias2"][1] = 1e5
    assert freeze(tensors, SMALL, Variant(), FreezeOptions(value_width)).fraction_bits == fewest


def test_calibration_images() -> None:
    """Of the network's own shape, of every brightness, and the same each time."""
    structure = member("oblong", (2,), (1,), image=(20, 12))
    images = calibration_images(structure)
    assert (images.dtype, images.shape) == (np.uint8, (8, 20, 12, 3))
    np.testing.assert_array_equal(images, calibration_images(structure))
    assert images.min() == 0
    assert images.max() == 255
    assert len(np.unique(images.reshape(8, -1), axis=0)) == 8


CORRELATING = [(family, stem) for family in FAMILIES for stem in ("cifar", "imagenet")]


@pytest.mark.parametrize(("family", "stem"), CORRELATING)
def test_scores_follow_the_float_network(family, stem) -> None:
    """Default options, an official checkpoint's free scales: at least 0.94 over the shipped photographs, with and
    without the classes' means, which all images share.

    What correlates imperfectly are signs that rounding flips, each of which moves all later values. Without the means
    0.975 to 0.996 were measured here; with one term a scale, or four fraction bits, most of these networks fall below.
    """
    torch = pytest.importorskip("torch", reason="the float network needs torch")
    from abbnn.train.model import Network
    from abbnn.train.recipe import predict

    kind = FAMILIES[family]
    depths = (0, 2, 2) if kind.paired else (2, 2, 2)
    form = CIFAR_STEM if stem == "cifar" else kind.imagenet_stem
    structure = member("x", (16, 32, 64), depths, family=family, stem=form)
    images, _ = read_images(paths.MODELS / "cifar10_test100.npz")
    images = images[:30]
    tensors = random_tensors(structure, 1, spread=1.0)
    model = Network(structure, Variant())
    model.load(tensors)
    torch.set_num_threads(1)
    logits = predict(model, images).astype(np.float64)
    network = freeze(tensors, structure, Variant(), FreezeOptions())
    scores = forward(network, images)["scores"] * 2.0**-network.score_fraction_bits
    assert np.corrcoef(scores.ravel(), logits.ravel())[0, 1] >= 0.94
    scores, logits = scores - scores.mean(axis=0), logits - logits.mean(axis=0)
    assert np.corrcoef(scores.ravel(), logits.ravel())[0, 1] >= 0.94


DEAD = {"stem.gain": "stem", "block00.gain": "block00", "block01.shortcut.gain": "block01.shortcut"}


@pytest.mark.parametrize("gain", [0.0, 1e-30, -1e-12])
@pytest.mark.parametrize("scales", ["pow2", "free"])
@pytest.mark.parametrize("name", list(DEAD))
def test_a_dead_channel_costs_the_others_nothing(name, scales, gain, tmp_path) -> None:
    """Its factor is too small to move a last bit: it is dropped, instead of shifting all others out of 64 bits."""
    alive = random_tensors()
    dead = {key: value.copy() for key, value in alive.items()}
    dead[name][1] = gain
    images = random_images(SMALL, 1, 5)
    network = frozen(dead, scales)
    save_network(network, tmp_path / "n.safetensors")
    load_network(tmp_path / "n.safetensors")
    layer = DEAD[name]
    expected, actual = forward(frozen(alive, scales), images)[layer], forward(network, images)[layer]
    others = np.arange(expected.shape[-1]) != 1
    np.testing.assert_array_equal(actual[..., others], expected[..., others])
    if layer != "block00":
        assert not actual[..., 1].any()
    assert max(network.stem_scale.guard, network.blocks[0].scale.guard, network.blocks[1].shortcut_scale.guard) <= 32


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stem.gain", 1e30),
        ("block00.gain", 1e30),
        ("block00.gain", -3e15),
        ("block01.shortcut.gain", 1e20),
        ("block00.bias1", 1e8),
        ("block00.bias1", 1e30),
        ("block02.bias2", -1e30),
        ("head.bias", 1e30),
        ("head.bias", -1e12),
    ],
)
@pytest.mark.parametrize("scales", ["pow2", "free"])
def test_numbers_beyond_all_widths_are_refused(name, value, scales) -> None:
    checkpoint = random_tensors()
    checkpoint[name].reshape(-1)[1] = value
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        frozen(checkpoint, scales)
    assert name.removesuffix(".gain").removesuffix(".bias") in str(caught.value)


@pytest.mark.parametrize(("bias", "threshold"), [(1e30, -32768), (-1e30, 32767), (200.0, -32768), (-200.0, 32767)])
def test_far_thresholds_are_clipped_to_their_own_side(bias, threshold) -> None:
    checkpoint = random_tensors()
    checkpoint["block00.bias0"][2] = bias
    network = frozen(checkpoint)
    assert network.blocks[0].threshold[2] == threshold
    assert threshold_overflows(network) == 1


def test_a_slope_beyond_all_widths_is_refused() -> None:
    tensors = random_tensors(NARROW[1])
    tensors["block02.prelu"][1] = 1e20
    with pytest.raises(ValueError, match=r"^block02\.prelu: factors from [^\n]+$"):
        frozen(tensors, structure=NARROW[1])


@pytest.mark.parametrize("exponent", [7.6, 30.0, 1e30])
def test_a_slope_beyond_the_formats_is_refused(exponent: float) -> None:
    tensors = random_tensors()
    tensors["block00.l_alpha"][1] = exponent
    with pytest.raises(ValueError, match=r"^tensor block00\.l_alpha: a slope of 2\*\*[^\n]+; they end at 2\*\*7$"):
        frozen(tensors)


def test_a_head_beyond_all_scores_is_refused() -> None:
    tensors = random_tensors()
    tensors["head.weight"][1, 2] = 1e30
    with pytest.raises(ValueError, match=r"^tensor head\.weight: 1e\+30 is too great$"):
        frozen(tensors)


def test_a_head_of_nothing_but_its_bias() -> None:
    tensors = random_tensors()
    tensors["head.weight"][:] = 0.0
    tensors["head.bias"][:] = np.linspace(-0.4, 0.3, len(tensors["head.bias"]))
    network = frozen(tensors)
    worth = network.head.bias * 2.0**-network.score_fraction_bits
    np.testing.assert_allclose(worth, tensors["head.bias"], atol=1e-6)


def test_step_one_is_refused() -> None:
    with pytest.raises(ValueError, match="step Qa has real weights"):
        freeze(random_tensors(), SMALL, Variant(step="Qa"), FreezeOptions())


@EVERY_FAMILY
def test_terms_of_a_scale_that_is_not_there(structure) -> None:
    for name in (
        "block99",
        "block00.shortcut",
        "stem",
        "head",
        "stem.prelu" if structure is SMALL else "block00.prelu",
    ):
        with pytest.raises(ValueError, match=f"^{name} is no scale of {structure.name}; there are [^\n]*block01"):
            frozen(random_tensors(structure), structure=structure, terms_of={name: 2})


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        ({"value_width": 7}, "value_width 7"),
        ({"value_width": 25}, "value_width 25"),
        ({"fraction_bits": 0}, "fraction_bits 0"),
        ({"value_width": 8, "fraction_bits": 8}, "8 fraction bits"),
        ({"stem_planes": 1}, "stem_planes 1"),
        ({"head_planes": 16}, "head_planes 16"),
        ({"shortcut_planes": 1}, "shortcut_planes 1"),
        ({"terms": 0}, "terms 0"),
        ({"terms": 9}, "terms 9"),
        ({"terms_of": {"block00": 0}}, "terms of block00 0"),
        ({"terms_of": {"block00": 2, "block01": 9}}, "terms of block01 9"),
    ],
)
def test_bad_options(options, culprit) -> None:
    with pytest.raises(ValueError, match=culprit):
        FreezeOptions(**options)


def test_scores_too_wide_are_refused() -> None:
    """There are only two fraction bits to drop."""
    structure = member("wide", (40,), (1,), family="birealnet", image=2, classes=3)
    tensors = random_tensors(structure) | {"head.weight": np.ones((3, 40)), "stem.gain": np.full(40, 2e6)}
    with pytest.raises(ValueError, match="scores need 36 bits, 32 are there: lower the head's weight bits"):
        frozen(tensors, "free", structure, value_width=24, fraction_bits=2)


def test_the_source_says_what_was_chosen() -> None:
    variant = Variant(scales="pow2", alpha=0.125)
    metadata = {"epochs": 3, "alpha": 0.125}
    network = freeze(random_tensors(), SMALL, variant, FreezeOptions(), source=metadata)
    how = {"value_bits": "as asked", "fraction_bits": "the most for the calibration images"}
    assert network.source == {"epochs": 3, "freeze": how, **variant.to_dict()}
    network = freeze(random_tensors(), SMALL, variant, FreezeOptions(None, 9))
    how = {"value_bits": "the fewest that no image can saturate", "fraction_bits": "as asked"}
    assert network.source == {"freeze": how, **variant.to_dict()}
    assert json.dumps(network.source)
    assert metadata == {"epochs": 3, "alpha": 0.125}


def test_freezing_needs_no_torch() -> None:
    """golden and export work where torch is not installed."""
    code = "import sys; sys.modules['torch'] = None; import export.freeze, export.mem, golden.model"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=paths.CHECKOUT)


def test_normalisation_is_the_checkpoints() -> None:
    """With mean 0.5 and std 0.25 a constant image of value p gives, inside, sum(w) * (p - 127.5) / 63.75."""
    tensors = random_tensors()
    variant = Variant(mean=(0.5,) * 3, std=(0.25,) * 3)
    network = freeze(tensors, SMALL, variant, FreezeOptions(fraction_bits=9, stem_planes=14))
    assert network.center.tolist() == [128] * 3
    weights = standardize(tensors["stem.weight"].astype(np.float64)).sum(axis=(1, 2, 3)) * tensors["stem.gain"]
    for pixel in (0, 100, 255):
        images = np.full((1, SMALL.height, SMALL.width, 3), pixel, np.uint8)
        stem = forward(network, images)["stem"][0, 1, 1] / 2**network.fraction_bits
        # 27 weights, each off by at most one odd step of 2**-14 of the greatest, and a rounded last bit.
        np.testing.assert_allclose(stem, weights * (pixel - 127.5) / 63.75, atol=2**-7)
