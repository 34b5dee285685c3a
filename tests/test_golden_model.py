"""The fast forward pass against the plain one, value by value, and the frozen network against the float network.

Float pin. Rounding can flip a sign, and a flipped sign moves a sum by two whole weights: no useful bound on the scores
holds without looking at the signs. So the float network below is told which signs the integer network took; then every
step is continuous, and an error e of the input becomes (lsb = 2**-fraction_bits, the weight of a value's last bit):

- stem: a weight of P planes is off by at most 2**(1 - P) of the filter's greatest, times the sum over the valid taps of
  |pixel - mean|; the fraction of the mean that the integer centre leaves is also taken off on padding; its bias and the
  result are rounded, half a step each;
- binary convolution: exact; its factor is exact (power of two) or off by 3**-T or half the finest term, whichever is
  greater, since the power of two nearest to x is never more than |x| / 3 away; one lsb for the floor;
- shortcut: |factor| * sum of (e + 1 lsb for the average's floor), the same error of the factor, and a floor that its
  bias turns into rounding: half an lsb and at most half a factor;
- activation: at most max(1, slope) times e and half an lsb of bias1, then one and a half lsb of shift and bias2;
- head: |weights| times the mean of e and the pooling's floor; a weight is off by at most 2**(1 - P) of the greatest,
  times the pooled value; half a last bit of a score for its bias.

Scores must lie within that bound, and every sign that the float network would take differently must belong to a value
that is no farther from its threshold than its error bound.
"""

from typing import Any

import numpy as np
import pytest
from random_network import ALPHA, random_checkpoint, random_images, random_network

from export.folding import stages
from export.freeze import PRECISION_BITS, FreezeOptions, freeze
from golden import ops, plain
from golden.model import batches, forward, layer_names, saturation_counts
from golden.structure import Block, Stem, Structure, reactnet

OBLONG = Structure(
    "oblong",
    6,
    10,
    Stem(3, 3, 3, 1),
    (Block(3, 3, 1, 6, 10), Block(3, 4, 2, 6, 10), Block(4, 4, 1, 3, 5)),
    4,
)

CASES: list[tuple[Structure, dict[str, Any]]] = [
    (reactnet("stride1", (3, 5), (2, 2), image=8, stem_stride=1, classes=3), {}),
    (reactnet("stride2", (4, 6, 5), (1, 2, 1), image=16, stem_stride=2), {"terms": 2}),
    (reactnet("free", (5, 7), (1, 2), image=12, stem_stride=2, classes=2), {"scales": "free"}),
    (reactnet("stem7", (4, 4), (1, 1), image=12, stem_kernel=7, stem_stride=2), {"terms": 1, "scales": "free"}),
    (reactnet("odd_image", (3,), (2,), image=7, stem_stride=2, classes=5), {"scales": "free", "terms": 4}),
    (reactnet("odd_map", (3,), (2,), image=5, classes=1), {"stem_planes": 2, "head_planes": 15}),
    (reactnet("no_block", (4,), (0,), image=6, classes=3), {}),
    (OBLONG, {"terms": 3, "value_width": 20, "fraction_bits": 12}),
    (reactnet("saturating", (4, 5), (2, 1), image=8), {"value_width": 9, "fraction_bits": 5, "spread": 2.0}),
]


@pytest.mark.parametrize(("structure", "options"), CASES, ids=[case[0].name for case in CASES])
def test_fast_forward_is_the_plain_one(structure, options) -> None:
    network = random_network(structure, 3, **options)
    images = random_images(structure, 4, 6)
    layers = forward(network, images)
    assert list(layers) == layer_names(network)
    for index, image in enumerate(images):
        expected = plain.forward(network, image)
        assert list(expected) == list(layers)
        for name, values in expected.items():
            np.testing.assert_array_equal(layers[name][index], np.array(values, np.int64), err_msg=name, strict=True)


def test_the_saturating_case_saturates() -> None:
    structure, options = CASES[-1]
    network = random_network(structure, 3, **options)
    counts = saturation_counts(network, forward(network, random_images(structure, 4, 6)))
    assert counts["block01"] > 0
    assert list(counts) == ["stem", "block00", "block01", "block02"]


@pytest.mark.parametrize(("structure", "options"), CASES, ids=[case[0].name for case in CASES])
def test_every_product_gets_a_bound_that_holds(structure, options, monkeypatch) -> None:
    """float32 or float64 is chosen by it: too small a bound would go unnoticed until a sum is large and odd."""
    network = random_network(structure, 3, **options)
    calls = []

    def dot(vectors, weights, bound):
        magnitudes = np.abs(vectors.astype(np.int64)) @ np.abs(weights.astype(np.int64)).T
        calls.append(magnitudes.max() <= bound)
        return exact(vectors, weights, bound)

    exact = ops.dot
    monkeypatch.setattr(ops, "dot", dot)
    forward(network, random_images(structure, 4, 6))
    assert calls == [True] * len(stages(network))


def test_random_networks_are_as_asked_for() -> None:
    structure = reactnet("asked", (3, 4), (1, 2), image=8)
    assert random_network(structure, 1).blocks[1].scale.terms == 1
    assert random_network(structure, 1, scales="free").blocks[1].scale.terms == 3
    network = random_network(structure, 1, terms=2, value_width=20, stem_planes=3, head_planes=4, fraction_bits=6)
    assert (network.blocks[0].scale.terms, network.value_width, network.fraction_bits) == (2, 20, 6)
    assert (network.stem.planes, network.head.planes) == (3, 4)


def test_layer_shapes() -> None:
    structure = reactnet("shapes", (3, 5), (1, 2), image=8, stem_stride=2, classes=7)
    layers = forward(random_network(structure, 1), random_images(structure, 1, 2))
    assert {name: layer.shape for name, layer in layers.items()} == {
        "stem": (2, 4, 4, 3),
        "block00.conv": (2, 4, 4, 3),
        "block00": (2, 4, 4, 3),
        "block01.conv": (2, 2, 2, 5),
        "block01.shortcut": (2, 2, 2, 5),
        "block01": (2, 2, 2, 5),
        "block02.conv": (2, 2, 2, 5),
        "block02": (2, 2, 2, 5),
        "pool": (2, 5),
        "scores": (2, 7),
        "class": (2,),
    }
    assert all(np.issubdtype(layer.dtype, np.integer) for layer in layers.values())


def test_images_do_not_influence_one_another() -> None:
    structure = reactnet("batch", (4, 6), (1, 1), image=8)
    network, images = random_network(structure, 1), random_images(structure, 1, 7)
    together = forward(network, images)
    for start, batch in zip((0, 3, 6), batches(images, 3), strict=True):
        alone = forward(network, batch)
        for name, layer in alone.items():
            np.testing.assert_array_equal(layer, together[name][start : start + 3])


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 8, 8, 3), np.int64),
        np.zeros((1, 3, 8, 8), np.uint8),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((1, 8, 9, 3), np.uint8),
    ],
)
def test_foreign_images_are_refused(images) -> None:
    network = random_network(reactnet("small", (4,), (1,), image=8), 1)
    with pytest.raises(ValueError, match=r"expected uint8\(N, 8, 8, 3\)") as caught:
        forward(network, images)
    assert "\n" not in str(caught.value)


def standardized(weight):
    """Eq. 1 with gamma = 1, filter by filter."""
    filters = []
    for w in np.asarray(weight, np.float64):
        filters.append((w - np.mean(w)) / ((np.sqrt(np.mean((w - np.mean(w)) ** 2)) + 1e-5) * np.sqrt(w.size)))
    return np.array(filters)


def convolve(maps, weight, stride):
    """(H, W, C) with (O, I, k, k), zero padding."""
    kernel = weight.shape[2]
    pad = kernel // 2
    padded = np.pad(maps, ((pad, pad), (pad, pad), (0, 0)))
    height, width = (-(-size // stride) for size in maps.shape[:2])
    out = np.zeros((height, width, len(weight)))
    for row in range(height):
        for column in range(width):
            patch = padded[row * stride : row * stride + kernel, column * stride : column * stride + kernel]
            out[row, column] = np.einsum("klc,ockl->o", patch, weight)
    return out


def averaged(maps):
    height, width, channels = maps.shape
    return maps.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))


def binary_filters(checkpoint, name, multiplier, power_of_two):
    """Signs and factors of a binary convolution."""
    filters = standardized(checkpoint[f"{name}.weight"])
    factor = multiplier * checkpoint[f"{name}.gain"].ravel().astype(np.float64) * np.abs(filters).mean(axis=(1, 2, 3))
    if power_of_two:
        factor = np.sign(factor) * 2.0 ** np.round(np.log2(np.abs(factor)))
    return np.where(filters >= 0, 1.0, -1.0), factor


def factor_error(factor, options, power_of_two, lsb):
    if power_of_two:
        return np.zeros_like(factor)
    return np.maximum(np.abs(factor) * 3.0**-options.terms, 2.0 ** (-PRECISION_BITS - 1) * lsb)


def float_forward(checkpoint, structure, image, options, power_of_two, layers, restart):
    """Every layer of the float network in float64 as (values, error bounds), and the signs it would take differently.

    `layers` are the integer network's, in units of the float network. Its signs are used in place of the float ones;
    with `restart`, so are the values that enter each block and the head. The second result has |value - threshold|
    over the value's error bound for every sign that differs.
    """
    c = {name: tensor.astype(np.float64) for name, tensor in checkpoint.items()}
    lsb = 2.0**-options.fraction_bits
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    stride = structure.stem.stride
    filters = standardized(checkpoint["conv1.weight"]) * c["conv1.gain"]
    x = convolve((image / 255 - mean) / std, filters, stride)
    magnitude = np.abs(filters) / (255 * std)[:, None, None]
    step = 2.0 ** (1 - options.stem_planes) * magnitude.max(axis=(1, 2, 3))
    largest = magnitude + step[:, None, None, None]
    off_centre = np.abs(np.round(255 * mean) - 255 * mean)
    on_padding = np.einsum("ockl,c->o", largest, off_centre) - convolve(off_centre + 0 * image, largest, stride)
    error = step * (convolve(np.abs(image - 255 * mean), np.ones_like(filters), stride) + 0.5) + on_padding + 0.5 * lsb
    result = {"stem": (x, error)}
    flips = []
    name, variance, stage, place = "stem", 1.0, 1, 0
    for number, block in enumerate(structure.blocks):
        if block.stride == 2:
            stage, place = stage + 1, 0
        if restart:
            x, error = layers[name], np.zeros_like(x)
        at = f"layer{stage}.{place}"
        threshold = -c[f"{at}.move0.bias"].ravel() * np.sqrt(variance)
        signs = layers[name] >= threshold
        differs = signs != (x >= threshold)
        flips.append(np.abs(x - threshold)[differs] / error[differs])
        kernel, factor = binary_filters(c, f"{at}.conv1", ALPHA, power_of_two)
        sums = convolve(2.0 * signs - 1, kernel, block.stride)
        name = f"block{number:02d}"
        result[f"{name}.conv"] = sums, np.zeros_like(sums)
        branch, branch_error = sums * factor, factor_error(factor, options, power_of_two, lsb) * np.abs(sums) + lsb
        if block.stride == 2:
            kernel, factor = binary_filters(c, f"{at}.downsample.1", 1.0, power_of_two)
            error = convolve(averaged(error) + lsb, np.abs(kernel), 1)
            sums = convolve(averaged(x), kernel, 1)
            off = factor_error(factor, options, power_of_two, lsb)
            x = sums * factor
            rounding = 0.5 * lsb * (1 + np.minimum(np.abs(factor), 1))
            error = (np.abs(factor) + off) * error + off * np.abs(sums) + rounding
            result[f"{name}.shortcut"] = x, error
        z = branch + x + c[f"{at}.move1.bias"].ravel()
        slope = 2.0 ** np.round(c[f"{at}.prelu.L_alpha"])
        x = np.where(z >= 0, z, slope * z) + c[f"{at}.move2.bias"].ravel()
        error = np.maximum(1, slope) * (branch_error + error + 0.5 * lsb) + 1.5 * lsb
        result[name] = x, error
        variance = 1.0 if block.stride == 2 else variance + ALPHA**2 * (number > 0)
        place += 1
    if restart:
        x, error = layers[name], np.zeros_like(x)
    features, error = x.mean(axis=(0, 1)), error.mean(axis=(0, 1)) + lsb
    step = 2.0 ** (1 - options.head_planes) * np.abs(c["fc.weight"]).max()
    error = np.abs(c["fc.weight"]) @ error + step * (np.abs(features) + error).sum() + 0.5 * lsb
    result["scores"] = c["fc.weight"] @ features + c["fc.bias"], error
    return result, np.concatenate([np.zeros(0), *flips])


def in_float_units(network, layers, index):
    """One image's layers, each as the real numbers that its integers stand for."""
    units = dict.fromkeys(layers, 2.0**-network.fraction_bits)
    units["scores"] = 2.0**-network.score_fraction_bits
    units |= {name: 1.0 for name in layers if name.endswith(".conv")}
    return {name: layer[index] * units[name] for name, layer in layers.items()}


PIN_CASES = [
    (reactnet("pow2", (6, 8), (2, 2), image=8), "pow2", FreezeOptions(16, 8, 8, 8, 1)),
    (reactnet("pow2_fine", (4, 6, 8), (1, 2, 1), image=16, stem_stride=2), "pow2", FreezeOptions(24, 12, 15, 11, 1)),
    (reactnet("free", (5, 7, 9), (1, 2, 1), image=16, stem_stride=2), "free", FreezeOptions(16, 8, 8, 8, 3)),
    (reactnet("free_fine", (4, 6), (2, 1), image=12), "free", FreezeOptions(24, 12, 15, 11, 8)),
    (OBLONG, "free", FreezeOptions(20, 10, 6, 6, 1)),
    (reactnet("stem7", (4,), (2,), image=9, stem_kernel=7, stem_stride=2), "free", FreezeOptions(18, 9, 8, 8, 2)),
]


@pytest.mark.parametrize("restart", [True, False], ids=["layer_by_layer", "end_to_end"])
@pytest.mark.parametrize(("structure", "scales", "options"), PIN_CASES, ids=[case[0].name for case in PIN_CASES])
def test_integers_lie_within_the_derived_bound_of_the_float_network(structure, scales, options, restart) -> None:
    for seed in (1, 2):
        checkpoint = random_checkpoint(structure, np.random.default_rng(seed), spread=0.7)
        network = freeze(checkpoint, structure, {"scales": scales, "alpha": ALPHA}, options)
        images = random_images(structure, seed, 8)
        layers = forward(network, images)
        assert not any(saturation_counts(network, layers).values())  # the bound knows of no saturation
        logits, bounds = [], []
        for index, image in enumerate(images):
            actual = in_float_units(network, layers, index)
            expected, flips = float_forward(checkpoint, structure, image, options, scales == "pow2", actual, restart)
            assert set(actual) - set(expected) == {"pool", "class"}
            for name, (values, error) in expected.items():
                assert (np.abs(actual[name] - values) <= error + 1e-9).all(), name
            assert (flips <= 1 + 1e-9).all()
            logits.append(expected["scores"][0])
            bounds.append(expected["scores"][1].max())
        # The bound means something: a small part of what tells the images and classes apart.
        if restart or options.value_width == 24:
            assert max(bounds) < 0.2 * np.ptp(logits)


@pytest.mark.parametrize(("scales", "terms", "seed"), [("pow2", 1, 1), ("pow2", 1, 2), ("free", 8, 1), ("free", 8, 2)])
def test_integer_scores_follow_the_torch_model(scales, terms, seed) -> None:
    """Sign flips included: with fine numbers and two blocks few are left, and scores and classes are those of torch."""
    torch = pytest.importorskip("torch", reason="the float model needs torch")
    from train.model import ReActNet

    structure = reactnet("torch", (16, 24), (1, 1), image=16, stem_stride=1 + seed % 2)
    rng = np.random.default_rng(seed)
    checkpoint = random_checkpoint(structure, rng, spread=0.5)
    # Flat images give many equal values, that flip all at once: patches with noise on them are more like photographs.
    patches = rng.integers(0, 256, (64, 4, 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    images = np.clip(patches + rng.normal(0, 20, patches.shape), 0, 255).astype(np.uint8)
    pixels = (images / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    model = ReActNet(structure, alpha=ALPHA, scales=scales).eval()

    def logits():
        model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in checkpoint.items()})
        with torch.no_grad():
            return model(torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32))).numpy()

    # A random network prefers one class; without its preference the images spread over the classes.
    checkpoint["fc.bias"] = checkpoint["fc.bias"] - logits().mean(axis=0)
    expected = logits()
    network = freeze(checkpoint, structure, {"scales": scales}, FreezeOptions(18, 12, 15, 12, terms))
    layers = forward(network, images)
    scores = layers["scores"] * 2.0**-network.score_fraction_bits
    assert np.corrcoef(scores.ravel(), expected.ravel())[0, 1] > 0.999
    assert np.abs(scores - expected).max() < 0.05 * np.ptp(expected)
    best = np.sort(expected, axis=1)
    clear = best[:, -1] - best[:, -2] > 0.02 * np.ptp(expected)
    assert clear.sum() > 32
    assert len(np.unique(expected.argmax(axis=1)[clear])) > 3
    np.testing.assert_array_equal(layers["class"][clear], expected.argmax(axis=1)[clear])
