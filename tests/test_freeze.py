"""Every rounding of freezing against brute force, and what cannot be frozen."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_network import ALPHA, random_checkpoint, random_images

from export.freeze import (
    PRECISION_BITS,
    FreezeOptions,
    block_names,
    expected_tensors,
    freeze,
    freeze_scale,
    odd_weights,
    rounding_bias,
    signed_powers,
    standardize,
    threshold_overflows,
    weight_exponent,
)
from golden import ops
from golden.model import forward
from golden.network import Scale, load_network, save_network
from golden.structure import NETWORKS, reactnet

PROPERTY = settings(derandomize=True, deadline=None, max_examples=100)
SMALL = reactnet("small", (3, 5), (1, 2), image=8, stem_stride=2, classes=4)


def small_checkpoint(seed=1):
    return random_checkpoint(SMALL, np.random.default_rng(seed), spread=0.7)


def frozen(checkpoint, scales="pow2", **options):
    return freeze(checkpoint, SMALL, {"scales": scales, "alpha": ALPHA}, FreezeOptions(**options))


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
    checkpoint = small_checkpoint()
    network = frozen(checkpoint, fraction_bits=8)
    for name, block, beta in zip(block_names(SMALL), network.blocks, (1.0, 1.0, 1.0), strict=True):
        bias = checkpoint[f"{name}.move0.bias"].ravel().astype(np.float64)
        for channel, threshold in enumerate(block.threshold):
            values = int(threshold) + np.arange(-3, 4)
            expected = beta * values / 256 + bias[channel] >= 0
            assert ops.compare(values, np.full(7, threshold)).tolist() == expected.astype(int).tolist()


def test_thresholds_follow_beta() -> None:
    """Block 2 of the first stage has seen one block's variance: beta = 1 / sqrt(1 + 1/16)."""
    structure = reactnet("deep", (2,), (3,), image=4)
    checkpoint = random_checkpoint(structure, np.random.default_rng(1))
    network = freeze(checkpoint, structure, {"scales": "pow2"}, FreezeOptions(fraction_bits=8))
    for index, variance in enumerate((1, 1, 1 + 1 / 16)):
        bias = checkpoint[f"layer1.{index}.move0.bias"].ravel().astype(np.float64)
        assert network.blocks[index].threshold.tolist() == np.ceil(-bias * 256 * variance**0.5).astype(int).tolist()


def test_activation_fields() -> None:
    checkpoint = small_checkpoint()
    checkpoint["layer1.0.move1.bias"][:] = np.array([0.5, -0.25, 1.0]).reshape(1, 3, 1, 1)
    checkpoint["layer1.0.move2.bias"][:] = np.array([-1.0, 0.125, 0.0]).reshape(1, 3, 1, 1)
    checkpoint["layer1.0.prelu.L_alpha"][:] = [-2.6, 1.4, -30.0]
    act = frozen(checkpoint, fraction_bits=8).blocks[0].activation
    assert act.threshold.tolist() == [-128, 64, -256]
    assert act.add_positive.tolist() == [-128, -32, 256]
    assert act.add_before.tolist() == [128 + 4, -64, 256 + (1 << 13)]
    assert act.exponent.tolist() == [-3, 1, -19]
    assert act.add_after.tolist() == [-256, 32, 0]


def test_signs_of_weights_are_taken_behind_the_mean() -> None:
    checkpoint = small_checkpoint()
    weight = checkpoint["layer2.0.conv1.weight"]
    weight += 10  # all positive: their own signs say nothing
    network = frozen(checkpoint)
    expected = (weight.astype(np.float64) >= weight.astype(np.float64).mean(axis=(1, 2, 3), keepdims=True)).astype(int)
    np.testing.assert_array_equal(network.blocks[1].weights, expected.transpose(0, 2, 3, 1))
    assert 0 < network.blocks[1].weights.mean() < 1


def test_terms() -> None:
    checkpoint = small_checkpoint()
    assert frozen(checkpoint).blocks[1].scale.terms == 1
    assert frozen(checkpoint, "free").blocks[1].scale.terms == 3
    assert frozen(checkpoint, "free", terms=5).blocks[1].shortcut_scale.terms == 5
    assert frozen(checkpoint, terms=2).blocks[1].scale.terms == 2


def test_block_names_are_the_official_ones() -> None:
    assert block_names(NETWORKS["tiny"]) == ["layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1"]
    names = list(expected_tensors(NETWORKS["reactnet18"]))
    assert "layer4.3.prelu.L_alpha" in names
    assert "layer2.0.downsample.1.gain" in names
    assert "layer1.0.downsample.1.gain" not in names
    assert names[0] == "conv1.weight"
    assert names[-1] == "fc.bias"


DEAD = {"conv1.gain": "stem", "layer1.0.conv1.gain": "block00", "layer2.0.downsample.1.gain": "block01.shortcut"}


@pytest.mark.parametrize("gain", [0.0, 1e-30, -1e-12])
@pytest.mark.parametrize("scales", ["pow2", "free"])
@pytest.mark.parametrize("name", list(DEAD))
def test_a_dead_channel_costs_the_others_nothing(name, scales, gain, tmp_path) -> None:
    """Its factor is too small to move a last bit: it is dropped, instead of shifting all others out of 64 bits."""
    alive = small_checkpoint()
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
        ("conv1.gain", 1e30),
        ("layer1.0.conv1.gain", 1e30),
        ("layer1.0.conv1.gain", -3e15),
        ("layer2.0.downsample.1.gain", 1e20),
        ("layer1.0.move1.bias", 1e8),
        ("layer1.0.move1.bias", 1e30),
        ("layer2.1.move2.bias", -1e30),
        ("fc.bias", 1e30),
        ("fc.bias", -1e12),
    ],
)
@pytest.mark.parametrize("scales", ["pow2", "free"])
def test_numbers_beyond_all_widths_are_refused(name, value, scales) -> None:
    checkpoint = small_checkpoint()
    checkpoint[name].reshape(-1)[1] = value
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        frozen(checkpoint, scales)
    assert name.removesuffix(".gain").removesuffix(".bias") in str(caught.value)


@pytest.mark.parametrize(("bias", "threshold"), [(1e30, -32768), (-1e30, 32767), (200.0, -32768), (-200.0, 32767)])
def test_far_thresholds_are_clipped_to_their_own_side(bias, threshold) -> None:
    checkpoint = small_checkpoint()
    checkpoint["layer1.0.move0.bias"].reshape(-1)[2] = bias
    network = frozen(checkpoint)
    assert network.blocks[0].threshold[2] == threshold
    assert threshold_overflows(network) == 1


@pytest.mark.parametrize("name", list(expected_tensors(SMALL)))
def test_bad_tensors(name) -> None:
    good = small_checkpoint()
    nan, infinite = good[name].copy(), good[name].copy()
    nan.reshape(-1)[0], infinite.reshape(-1)[-1] = np.nan, np.inf
    for bad, message in (
        ({key: value for key, value in good.items() if key != name}, f"tensor {name} of small is missing"),
        (good | {name: good[name][..., None]}, f"tensor {name} has shape"),
        (good | {name: good[name][:-1]}, f"tensor {name} has shape"),
        (good | {name: nan}, f"tensor {name} holds NaN or infinity"),
        (good | {name: infinite}, f"tensor {name} holds NaN or infinity"),
        (good | {f"{name}.extra": good[name]}, rf"tensor {name}\.extra does not belong to small"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            frozen(bad)


def test_another_network_is_refused() -> None:
    checkpoint = random_checkpoint(reactnet("other", (3, 5), (1, 1), image=8), np.random.default_rng(1))
    with pytest.raises(ValueError, match=r"tensor layer2\.1\.move0\.bias of small is missing"):
        frozen(checkpoint)


def test_step_one_is_refused() -> None:
    with pytest.raises(ValueError, match="step Qa has real weights"):
        freeze(small_checkpoint(), SMALL, {"scales": "pow2", "step": "Qa"}, FreezeOptions())
    freeze(small_checkpoint(), SMALL, {"scales": "pow2", "step": "Qaw"}, FreezeOptions())


@pytest.mark.parametrize("metadata", [{"alpha": None}, {"alpha": "much"}, {"alpha": -1.0}, {"alpha": float("nan")}])
def test_bad_alpha_is_refused(metadata) -> None:
    with pytest.raises(ValueError, match="alpha"):
        freeze(small_checkpoint(), SMALL, metadata, FreezeOptions())


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        ({"value_width": 7}, "value_width 7"),
        ({"value_width": 25}, "value_width 25"),
        ({"fraction_bits": 0}, "fraction_bits 0"),
        ({"value_width": 8, "fraction_bits": 8}, "8 fraction bits"),
        ({"stem_planes": 1}, "stem_planes 1"),
        ({"head_planes": 16}, "head_planes 16"),
        ({"terms": 0}, "terms 0"),
        ({"terms": 9}, "terms 9"),
    ],
)
def test_bad_options(options, culprit) -> None:
    with pytest.raises(ValueError, match=culprit):
        FreezeOptions(**options)


def test_scores_too_wide_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scores need 3[3-9] bits"):
        frozen(small_checkpoint(), value_width=24, fraction_bits=16, head_planes=15)


def test_metadata_is_the_source() -> None:
    metadata = {"scales": "pow2", "alpha": 0.25, "epochs": 3}
    network = freeze(small_checkpoint(), SMALL, metadata, FreezeOptions())
    assert network.source == metadata
    assert replace(network, source={}).source == {}
    assert json.dumps(network.source)


def test_freezing_needs_no_torch() -> None:
    """golden and export work where torch is not installed."""
    code = "import sys; sys.modules['torch'] = None; import export.freeze, export.mem, golden.model, golden.plain"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


def test_normalisation_is_the_checkpoints() -> None:
    """With mean 0.5 and std 0.25 a constant image of value p gives, inside, sum(w) * (p - 127.5) / 63.75."""
    checkpoint = small_checkpoint()
    metadata = {"scales": "pow2", "mean": [0.5] * 3, "std": [0.25] * 3}
    network = freeze(checkpoint, SMALL, metadata, FreezeOptions(stem_planes=14))
    assert network.center.tolist() == [128] * 3
    weights = (standardize(checkpoint["conv1.weight"].astype(np.float64)) * checkpoint["conv1.gain"]).sum(
        axis=(1, 2, 3)
    )
    for pixel in (0, 100, 255):
        images = np.full((1, SMALL.height, SMALL.width, 3), pixel, np.uint8)
        stem = forward(network, images)["stem"][0, 1, 1] / 2**network.fraction_bits
        # 27 weights, each off by at most one odd step of 2**-14 of the greatest, and a rounded last bit.
        np.testing.assert_allclose(stem, weights * (pixel - 127.5) / 63.75, atol=2**-7)


@pytest.mark.parametrize(
    "metadata", [{"mean": [0.5, 0.5]}, {"std": [0, 1, 1]}, {"mean": "x"}, {"mean": [124, 116, 104]}]
)
def test_bad_normalisation(metadata) -> None:
    with pytest.raises(ValueError, match=r"mean|std"):
        freeze(small_checkpoint(), SMALL, {"scales": "pow2", **metadata}, FreezeOptions())
