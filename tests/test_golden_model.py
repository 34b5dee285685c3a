"""The fast forward pass against the plain one, value by value, and the frozen network against the float network.

Float pin. Rounding can flip a sign, and a flipped sign moves a sum by two whole weights: no useful bound on the scores
holds without looking at the signs. So the float network below is told which signs the integer network took; then every
step is continuous, and an error e of the input becomes (lsb = 2**-fraction_bits, the weight of a value's last bit):

- stem: a weight of P planes is off by at most 2**(1 - P) of the filter's greatest, times the sum over the valid taps of
  |pixel - mean|; the fraction of the mean that the integer centre leaves is also taken off on padding; its bias and the
  result are rounded, half a step each;
- a factor or slope as a sum of T terms is off by 3**-T of itself or half the finest term, whichever is greater, since
  the power of two nearest to x is never more than |x| / 3 away; a trained power of two is exact;
- binary convolution: exact, its factor is not; one lsb for the floor;
- shortcut: an average's floor is one lsb; a convolution makes |factor| * sum of e, the error of the factor, and a floor
  that its bias turns into rounding: half an lsb and at most half a factor;
- QPReLU: at most max(1, slope) times e and half an lsb of bias1, then one and a half lsb of shift and bias2;
- PReLU: at most max(1, |slope|) times e, the error of the slope, one lsb for the floor;
- max-pool: the greatest e of the window;
- head: |weights| times the mean of e and the pooling's floor; a weight is off by at most 2**(1 - P) of the greatest,
  times the pooled value; half a last bit of a score for its bias.

Scores must lie within that bound, and every sign that the float network would take differently must belong to a value
that is no farther from its threshold than its error bound.
"""

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_network import random_network, saturation_counts

from abbnn.export.folding import stages
from abbnn.export.freeze import PRECISION_BITS, FreezeOptions, freeze
from abbnn.export.random_network import random_images, random_structure
from abbnn.golden import ops
from abbnn.golden.model import BATCH_IMAGES, Model, batches, forward, layer_names, saturating_layers
from abbnn.golden.network import Scale
from abbnn.golden.ranges import analyse
from abbnn.golden.structure import (
    RESNET_STEM,
    STRIDED_STEM,
    Activation,
    Shortcut,
    StemForm,
    Structure,
    member,
)
from abbnn.train.random_checkpoint import random_checkpoint
from abbnn.train.variant import Variant

PROPERTY = settings(max_examples=40)

OBLONG = member("oblong", (3, 4), (1, 2), image=(6, 10), classes=4)
BIREAL = member("bireal", (4, 6, 5), (1, 2, 1), family="birealnet", image=12, classes=3)
BIREAL_POOLED = member("bireal_pooled", (4, 6), (2, 1), family="birealnet", image=23, stem=RESNET_STEM)
XNOR = member("xnor", (3, 5), (2, 2), family="xnornet", image=8)
XNOR_POOLED = member("xnor_pooled", (5, 4), (1, 1), family="xnornet", image=(30, 16), stem=RESNET_STEM, classes=2)
PAIRED = member("paired", (3, 6, 12), (0, 2, 1), family="reactneta", image=8, classes=4)
PAIRED_STRIDED = member("paired_strided", (2, 4, 8), (1, 1, 2), family="reactneta", image=16, stem=STRIDED_STEM)
POOLED = member("pooled", (4, 6), (1, 1), image=22, stem=StemForm(5, 2, max_pool=True), classes=3)

CASES: list[tuple[Structure, dict[str, Any]]] = [
    (member("stride1", (3, 5), (2, 2), image=8, classes=3), {}),
    (member("stride2", (4, 6, 5), (1, 2, 1), image=16, stem=STRIDED_STEM), {"terms": 2}),
    (member("free", (5, 7), (1, 2), image=12, stem=STRIDED_STEM, classes=2), {"scales": "free"}),
    (member("stem7", (4, 4), (1, 1), image=12, stem=StemForm(7, 2)), {"terms": 1, "scales": "free"}),
    (member("odd_image", (3,), (2,), image=7, stem=STRIDED_STEM, classes=5), {"scales": "free", "terms": 4}),
    (member("odd_map", (3,), (2,), image=5, classes=1), {"stem_planes": 2, "head_planes": 15}),
    (OBLONG, {"terms": 3, "value_width": 20, "fraction_bits": 12}),
    (BIREAL, {}),
    (BIREAL_POOLED, {"scales": "free", "terms": 2, "spread": 2.0}),
    (XNOR, {"terms": 4}),
    (XNOR_POOLED, {"scales": "free", "value_width": 24, "fraction_bits": 14, "terms": 4}),
    (PAIRED, {}),
    (PAIRED_STRIDED, {"scales": "free", "spread": 2.0}),
    (POOLED, {"value_width": 8, "fraction_bits": 3}),
    (member("saturating", (4, 5), (2, 1), image=8), {"value_width": 9, "fraction_bits": 5, "spread": 2.0}),
    (
        member("saturating_xnor", (4, 5), (2, 1), family="xnornet", image=16, stem=RESNET_STEM),
        {"value_width": 9, "fraction_bits": 6, "spread": 2.0},
    ),
]
SATURATING = CASES[-2:]
IDS = [structure.name for structure, _ in CASES]


def assert_fast_is_plain(network, images) -> None:
    layers = forward(network, images)
    assert list(layers) == layer_names(network.structure)
    for index, image in enumerate(images):
        expected = plain.forward(network, image)
        assert list(expected) == list(layers)
        for name, values in expected.items():
            kind = layers[name].dtype
            assert kind in (np.int32, np.int64)
            np.testing.assert_array_equal(layers[name][index], np.array(values, kind), err_msg=name, strict=True)


@pytest.mark.parametrize(("structure", "options"), CASES, ids=IDS)
def test_fast_forward_is_the_plain_one(structure, options) -> None:
    assert_fast_is_plain(random_network(structure, 3, **options), random_images(structure, 4, 6))


@given(st.integers(0, 2**32 - 1))
@PROPERTY
def test_fast_forward_is_the_plain_one_for_any_blocks(seed) -> None:
    """Members of no family too: what a block does depends on its own fields alone."""
    structure = random_structure(seed)
    scales, terms = (("pow2", None), ("free", 1), ("free", 3))[seed % 3]
    network = random_network(structure, seed, scales=scales, terms=terms, spread=1.5, value_width=12 + seed % 13)
    assert_fast_is_plain(network, random_images(structure, seed, 2))


def test_the_cases_have_every_kind_of_part() -> None:
    blocks = [block for structure, _ in CASES for block in structure.blocks]
    assert {block.shortcut for block in blocks} == set(get_args(Shortcut))
    assert {block.activation for block in blocks} == set(get_args(Activation))
    assert {(block.kernel, block.stride) for block in blocks} == {(1, 1), (3, 1), (3, 2)}
    stems = {(stem.kernel, stem.stride, stem.max_pool) for stem in (structure.stem for structure, _ in CASES)}
    assert stems >= {(3, 1, False), (3, 2, False), (7, 2, True)}
    prelus = [scale for network in (random_network(s, 3, **o) for s, o in CASES) for scale in prelu_scales(network)]
    assert len(prelus) == 10
    assert any((scale.multiplier < 0).any() for scale in prelus)


def prelu_scales(network) -> list[Scale]:
    return [scale for scale in (network.stem_prelu, *(block.prelu for block in network.blocks)) if scale is not None]


@pytest.mark.parametrize(("structure", "options"), SATURATING, ids=[s.name for s, _ in SATURATING])
def test_the_saturating_cases_saturate(structure, options) -> None:
    network = random_network(structure, 3, **options)
    counts = saturation_counts(network, forward(network, random_images(structure, 4, 6)))
    assert list(counts) == saturating_layers(structure)
    assert all(counts[name] > 0 for name in ("block00", "block01"))


def test_saturating_layers() -> None:
    assert saturating_layers(OBLONG) == ["stem", "block00", "block01", "block02"]
    assert saturating_layers(XNOR_POOLED) == ["stem.conv", "stem.prelu", "stem", "block00", "block01"]
    assert saturating_layers(XNOR)[:3] == ["stem.conv", "stem", "block00"]


@pytest.mark.parametrize(("structure", "options"), CASES, ids=IDS)
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


@pytest.mark.parametrize(("structure", "options"), CASES, ids=IDS)
def test_every_number_of_bits_is_enough(structure, options, monkeypatch) -> None:
    """int32 or int64 is chosen by it: the widest number of each operation, were it computed without limits."""
    network = random_network(structure, 3, **options)
    widest: list[tuple[int, int]] = []

    def check(needed: Callable[..., list[Any]], exact):
        def checked(values, *arguments):
            *others, bits = (a.astype(np.int64) if isinstance(a, np.ndarray) else a for a in arguments)
            numbers = needed(values.astype(np.int64), *others)
            widest.append((max(max(int(n.max()), -1 - int(n.min())).bit_length() + 1 for n in numbers), bits))
            return exact(values, *arguments)

        return checked

    def products(sums, sign, shift, guard, width):
        terms = [sign[:, t] * (sums << shift[:, t]) for t in range(sign.shape[1])]
        return [sums, *terms, *np.cumsum(terms, axis=0)]

    def inside(sums, threshold, positive, before, exponent, after, width):
        shifted = np.where(exponent >= 0, (sums + before) << np.maximum(exponent, 0), sums + before)
        right = shifted >> np.maximum(-exponent, 0)
        return [sums, threshold, positive, before, after, sums + positive, sums + before, shifted, right + after]

    monkeypatch.setattr(ops, "scale", check(products, ops.scale))
    monkeypatch.setattr(ops, "qprelu", check(inside, ops.qprelu))
    monkeypatch.setattr(ops, "prelu", check(products, ops.prelu))
    forward(network, random_images(structure, 4, 6))
    assert len(widest) >= 1 + 2 * len(structure.blocks) - sum(b.activation == "none" for b in structure.blocks)
    assert all(found <= bits for found, bits in widest), widest


@pytest.mark.parametrize(("products", "shift"), [(32, 27), (33, 28)])
def test_both_sides_of_32_bits(products, shift) -> None:
    """Sums to +-9 shifted up to the last bit that int32 holds, and by one more."""
    structure = member("edge", (1,), (1,), image=5, classes=1)
    network = random_network(structure, 1, value_width=24)
    block = network.blocks[0]
    network.blocks[0].weights[:] = 1
    network.blocks[0].threshold[:] = -(1 << 23)
    scale = Scale(np.array([[1]]), np.array([[shift]]), 16)
    network = replace(network, blocks=(replace(block, scale=scale),))
    assert analyse(network).blocks[0].conv.products_bits == products
    layers = forward(network, random_images(structure, 1, 3))
    assert layers["block00.conv"].max() == 9
    assert_fast_is_plain(network, random_images(structure, 1, 3))


def test_random_networks_are_as_asked_for() -> None:
    structure = member("asked", (3, 4), (1, 2), image=8)
    assert random_network(structure, 1).blocks[1].scale.terms == 1
    assert random_network(structure, 1, scales="free").blocks[1].scale.terms == 3
    network = random_network(structure, 1, terms=2, value_width=20, stem_planes=3, head_planes=4, fraction_bits=6)
    assert (network.blocks[0].scale.terms, network.value_width, network.fraction_bits) == (2, 20, 6)
    assert (network.stem.planes, network.head.planes) == (3, 4)


LAYER_SHAPES: list[tuple[Structure, dict[str, tuple[int, ...]]]] = [
    (
        member("shapes", (3, 5), (1, 2), image=8, stem=STRIDED_STEM, classes=7),
        {
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
        },
    ),
    (
        member("paired_shapes", (2, 4, 8), (0, 1, 1), family="reactneta", image=6, classes=3),
        {
            "stem": (2, 6, 6, 2),
            "block00.conv": (2, 6, 6, 2),
            "block00": (2, 6, 6, 2),
            "block01.conv": (2, 6, 6, 4),
            "block01": (2, 6, 6, 4),
            "block02.conv": (2, 3, 3, 4),
            "block02.shortcut": (2, 3, 3, 4),
            "block02": (2, 3, 3, 4),
            "block03.conv": (2, 3, 3, 8),
            "block03": (2, 3, 3, 8),
            "pool": (2, 8),
            "scores": (2, 3),
            "class": (2,),
        },
    ),
    (
        member("pooled_shapes", (4, 3), (0, 1), family="xnornet", image=(16, 21), stem=StemForm(7, 2, max_pool=True)),
        {
            "stem.conv": (2, 8, 11, 4),
            "stem.prelu": (2, 8, 11, 4),
            "stem": (2, 4, 6, 4),
            "block00.conv": (2, 2, 3, 3),
            "block00.shortcut": (2, 2, 3, 3),
            "block00": (2, 2, 3, 3),
            "pool": (2, 3),
            "scores": (2, 10),
            "class": (2,),
        },
    ),
]


@pytest.mark.parametrize(("structure", "shapes"), LAYER_SHAPES, ids=[case[0].name for case in LAYER_SHAPES])
def test_layer_shapes(structure, shapes) -> None:
    layers = forward(random_network(structure, 1), random_images(structure, 1, 2))
    assert {name: layer.shape for name, layer in layers.items()} == shapes
    assert list(layers) == list(shapes)


@pytest.mark.parametrize(
    ("stem", "family", "names"),
    [
        (StemForm(3, 1), "reactnet", ["stem"]),
        (StemForm(3, 1, max_pool=True), "reactnet", ["stem.conv", "stem"]),
        (StemForm(3, 1), "birealnet", ["stem.conv", "stem"]),
        (StemForm(3, 1, max_pool=True), "birealnet", ["stem.conv", "stem.prelu", "stem"]),
    ],
)
def test_the_stems_layers(stem, family, names) -> None:
    """Each step that another follows has a layer of its own, and each layer is its step of the one before."""
    structure = member("stems", (3,), (1,), family=family, image=6, stem=stem)
    network = random_network(structure, 1, spread=2.0)
    layers = forward(network, random_images(structure, 1, 4))
    assert [name for name in layers if name.startswith("stem")] == names
    values = layers[names[0]]
    if network.stem_prelu is not None:
        slopes = network.stem_prelu
        values = ops.prelu(values, slopes.sign, slopes.shift, slopes.guard, network.value_width)
        np.testing.assert_array_equal(layers[names[1]], values)
    if stem.max_pool:
        values = ops.max_pool(values)
    np.testing.assert_array_equal(layers["stem"], values)


def test_a_repeated_residual_is_the_input_twice() -> None:
    network = random_network(PAIRED, 1)
    index = next(index for index, block in enumerate(PAIRED.blocks) if block.shortcut == "repeat")
    name, width = f"block{index:02d}", PAIRED.blocks[index].in_channels
    layers = forward(network, random_images(PAIRED, 1, 3))
    numbers = network.blocks[index]
    scaled = ops.scale(layers[f"{name}.conv"], numbers.scale.sign, numbers.scale.shift, numbers.scale.guard, 40)
    values = layers["stem" if index == 0 else f"block{index - 1:02d}"]
    scaled[..., :width] += values
    scaled[..., width:] += values
    act = numbers.activation
    fields = (act.threshold, act.add_positive, act.add_before, act.exponent, act.add_after)
    np.testing.assert_array_equal(layers[name], ops.qprelu(scaled, *fields, network.value_width))


@pytest.mark.parametrize("structure", [member("batch", (4, 6), (1, 1), image=8), XNOR_POOLED, PAIRED])
def test_images_do_not_influence_one_another(structure) -> None:
    network, images = random_network(structure, 1), random_images(structure, 1, 7)
    together = forward(network, images)
    model = Model(network)
    for start, batch in zip((0, 3, 6), batches(images, 3), strict=True):
        for name, layer in model.layers(batch):
            np.testing.assert_array_equal(layer, together[name][start : start + 3])


def test_a_model_keeps_no_layer() -> None:
    """What a caller lets go of is freed while the network goes on: memory does not grow with depth."""
    structure = member("deep", (4,), (8,), image=8)
    found = []
    for name, values in Model(random_network(structure, 1)).layers(random_images(structure, 1, 2)):
        found.append((name, weakref.ref(values)))
        del values
        assert sum(reference() is not None for _, reference in found) <= 6, name
    assert len(found) == len(layer_names(structure))


def test_a_model_has_weights_of_its_own() -> None:
    structure = member("own", (4,), (1,), image=8)
    network, images = random_network(structure, 1), random_images(structure, 1, 3)
    before = forward(network, images)["block00.conv"]
    model = Model(network)
    network.blocks[0].weights[:] ^= 1
    np.testing.assert_array_equal(dict(model.layers(images))["block00.conv"], before)
    np.testing.assert_array_equal(forward(network, images)["block00.conv"], -before)


def test_batches_shrink_with_the_maps() -> None:
    """A batch's greatest map is of 2**20 values, unless that makes too few images or too many."""
    sizes = {
        side: Model(random_network(member("s", (64, 128), (1, 1), image=side), 1)).batch_size
        for side in (8, 24, 32, 64)
    }
    assert sizes == {8: BATCH_IMAGES[1], 24: 28, 32: 16, 64: BATCH_IMAGES[0]}


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
    network = random_network(member("small", (4,), (1,), image=8), 1)
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
    for row in range(kernel):
        for column in range(kernel):
            tap = padded[row::stride, column::stride][:height, :width]
            out += tap @ weight[:, :, row, column].T
    return out


def averaged(maps):
    height, width, channels = maps.shape
    return maps.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))


def window_maximum(maps):
    """3x3, stride 2, padded by 1."""
    height, width, _ = maps.shape
    rows = [maps[max(0, row - 1) : row + 2] for row in range(0, height, 2)]
    return np.array([[r[:, max(0, c - 1) : c + 2].max(axis=(0, 1)) for c in range(0, width, 2)] for r in rows])


def binary_filters(checkpoint, name, multiplier, power_of_two):
    """Signs and factors of a binary convolution."""
    filters = standardized(checkpoint[f"{name}.weight"])
    factor = multiplier * checkpoint[f"{name}.gain"].astype(np.float64) * np.abs(filters).mean(axis=(1, 2, 3))
    if power_of_two:
        factor = np.sign(factor) * 2.0 ** np.round(np.log2(np.abs(factor)))
    return np.where(filters >= 0, 1.0, -1.0), factor


class FloatNetwork:
    """The float network in float64 from canonical tensors, and how far the frozen one of `options` may be from it.

    Values come in pairs (value, error bound).
    """

    def __init__(self, checkpoint, structure, variant, options) -> None:
        self.tensors = {name: tensor.astype(np.float64) for name, tensor in checkpoint.items()}
        self.structure, self.variant, self.options = structure, variant, options
        self.lsb = 2.0**-options.fraction_bits
        self.power_of_two = variant.scales == "pow2" and options.terms == 1

    def term_error(self, factor):
        return np.maximum(np.abs(factor) * 3.0**-self.options.terms, 2.0 ** (-PRECISION_BITS - 1) * self.lsb)

    def factor_error(self, factor):
        return np.zeros_like(factor) if self.power_of_two else self.term_error(factor)

    def stem(self, image):
        mean, std = np.array(self.variant.mean), np.array(self.variant.std)
        stride = self.structure.stem.stride
        filters = standardized(self.tensors["stem.weight"]) * self.tensors["stem.gain"][:, None, None, None]
        x = convolve((image / 255 - mean) / std, filters, stride)
        magnitude = np.abs(filters) / (255 * std)[:, None, None]
        step = 2.0 ** (1 - self.options.stem_planes) * magnitude.max(axis=(1, 2, 3))
        largest = magnitude + step[:, None, None, None]
        off_centre = np.abs(np.round(255 * mean) - 255 * mean)
        on_padding = np.einsum("ockl,c->o", largest, off_centre) - convolve(off_centre + 0 * image, largest, stride)
        deviation = convolve(np.abs(image - 255 * mean), np.ones_like(filters), stride) + 0.5
        return x, step * deviation + on_padding + 0.5 * self.lsb

    def prelu(self, name, x, error):
        slope = self.tensors[name]
        off = self.term_error(slope)
        steepest = np.maximum(1, np.abs(slope) + off)
        return np.where(x >= 0, x, slope * x), steepest * error + off * np.abs(x) + self.lsb

    def qprelu(self, name, x, error):
        z = x + self.tensors[f"{name}.bias1"]
        slope = 2.0 ** np.round(self.tensors[f"{name}.l_alpha"])
        x = np.where(z >= 0, z, slope * z) + self.tensors[f"{name}.bias2"]
        return x, np.maximum(1, slope) * (error + 0.5 * self.lsb) + 1.5 * self.lsb

    def threshold(self, name, block):
        if not block.biased:
            return np.zeros(block.in_channels)
        return -self.tensors[f"{name}.bias0"] * np.sqrt(1 + block.variance_steps * self.variant.alpha**2)

    def branch(self, name, block, signs):
        """The sums of the binary convolution, and what it brings to the adder."""
        kernel, factor = binary_filters(self.tensors, name, self.variant.alpha, self.power_of_two)
        sums = convolve(2.0 * signs - 1, kernel, block.stride)
        return sums, (sums * factor, self.factor_error(factor) * np.abs(sums) + self.lsb)

    def residual(self, name, block, x, error):
        if block.shortcut == "repeat":
            return np.concatenate([x, x], axis=-1), np.concatenate([error, error], axis=-1)
        if block.shortcut in ("pool", "pool-conv", "pool-real-conv"):
            x, error = averaged(x), averaged(error) + self.lsb
        if block.shortcut == "conv":
            x, error = x[::2, ::2], error[::2, ::2]
        if block.shortcut == "pool-real-conv":
            gain = self.tensors[f"{name}.shortcut.gain"][:, None, None, None]
            filters = standardized(self.tensors[f"{name}.shortcut.weight"]) * gain
            step = 2.0 ** (1 - self.options.shortcut_planes) * np.abs(filters).max(axis=(1, 2, 3))
            off = step * (np.abs(x) + error).sum(axis=-1, keepdims=True)
            return convolve(x, filters, 1), convolve(error, np.abs(filters), 1) + off + 0.5 * self.lsb
        if block.shortcut not in ("pool-conv", "conv"):
            return x, error
        kernel, factor = binary_filters(self.tensors, f"{name}.shortcut", 1.0, self.power_of_two)
        sums, error, off = convolve(x, kernel, 1), convolve(error, np.abs(kernel), 1), self.factor_error(factor)
        rounding = 0.5 * self.lsb * (1 + np.minimum(np.abs(factor), 1))
        return sums * factor, (np.abs(factor) + off) * error + off * np.abs(sums) + rounding

    def head(self, x, error):
        weight = self.tensors["head.weight"]
        features, error = x.mean(axis=(0, 1)), error.mean(axis=(0, 1)) + self.lsb
        step = 2.0 ** (1 - self.options.head_planes) * np.abs(weight).max()
        # The pool divides by a power of two, the weights by what is left: greatest and step shrink by less than 2.
        error = np.abs(weight) @ error + step * (np.abs(features) + error).sum() + 0.5 * self.lsb
        return weight @ features + self.tensors["head.bias"], error

    def forward(self, image, layers=None, restart=False):
        """Every layer of one (H, W, 3) image, and the signs that the float network would take differently.

        `layers` are the integer network's, in units of the float network. Its signs are used in place of the float
        ones; with `restart`, so are the values that enter each block and the head. The second result has
        |value - threshold| over the value's error bound for every sign that differs. Without `layers` it is the float
        network alone.
        """
        result, flips = {}, [np.zeros(0)]
        x, error = result["stem.conv"] = self.stem(image)
        if self.structure.stem.prelu:
            x, error = result["stem.prelu"] = self.prelu("stem.prelu", x, error)
        if self.structure.stem.max_pool:
            x, error = window_maximum(x), window_maximum(error)
        result["stem"] = x, error
        before = "stem"
        for number, block in enumerate(self.structure.blocks):
            name = f"block{number:02d}"
            threshold = self.threshold(name, block)
            signs = x >= threshold
            if layers:
                if restart:
                    x, error = layers[before], np.zeros_like(x)
                signs = layers[before] >= threshold
                differs = signs != (x >= threshold)
                flips.append(np.abs(x - threshold)[differs] / error[differs])
            sums, (y, y_error) = self.branch(name, block, signs)
            result[f"{name}.conv"] = sums, np.zeros_like(sums)
            x, error = result[f"{name}.shortcut"] = self.residual(name, block, x, error)
            x, error = x + y, error + y_error
            if block.activation == "qprelu":
                x, error = self.qprelu(name, x, error)
            elif block.activation == "prelu":
                x, error = self.prelu(f"{name}.prelu", x, error)
            result[name], before = (x, error), name
        if layers and restart:
            x, error = layers[before], np.zeros_like(x)
        result["scores"] = self.head(x, error)
        return {name: result[name] for name in layer_names(self.structure) if name in result}, np.concatenate(flips)


def in_float_units(network, layers, index):
    """One image's layers, each as the real numbers that its integers stand for."""
    units = dict.fromkeys(layers, 2.0**-network.fraction_bits)
    units["scores"] = 2.0**-network.score_fraction_bits
    units |= {name: 1.0 for name in layers if name.endswith(".conv") and name != "stem.conv"}
    return {name: layer[index] * units[name] for name, layer in layers.items()}


PIN_CASES = [
    (member("pow2", (6, 8), (2, 2), image=8), "pow2", FreezeOptions(16, 8, 8, 8, 1)),
    (member("pow2_fine", (4, 6, 8), (1, 2, 1), image=16, stem=STRIDED_STEM), "pow2", FreezeOptions(24, 12, 15, 11, 1)),
    (member("free", (5, 7, 9), (1, 2, 1), image=16, stem=STRIDED_STEM), "free", FreezeOptions(16, 8, 8, 8, 3)),
    (member("free_fine", (4, 6), (2, 1), image=12), "free", FreezeOptions(24, 12, 15, 11, 8)),
    (OBLONG, "free", FreezeOptions(20, 10, 6, 6, 1)),
    (member("stem7", (4,), (2,), image=9, stem=StemForm(7, 2)), "free", FreezeOptions(18, 9, 8, 8, 2)),
    (BIREAL, "pow2", FreezeOptions(18, 9, 8, 8, 1)),
    (BIREAL_POOLED, "free", FreezeOptions(24, 12, 15, 11, 8)),
    (XNOR, "free", FreezeOptions(18, 9, 8, 8, 3)),
    (XNOR_POOLED, "pow2", FreezeOptions(20, 10, 10, 10, 1)),
    (PAIRED, "pow2", FreezeOptions(18, 9, 8, 8, 1)),
    (PAIRED_STRIDED, "free", FreezeOptions(24, 12, 15, 11, 8)),
    (POOLED, "free", FreezeOptions(18, 9, 8, 8, 3)),
]


@pytest.mark.parametrize("restart", [True, False], ids=["layer_by_layer", "end_to_end"])
@pytest.mark.parametrize(("structure", "scales", "options"), PIN_CASES, ids=[case[0].name for case in PIN_CASES])
def test_integers_lie_within_the_derived_bound_of_the_float_network(structure, scales, options, restart) -> None:
    for seed in (1, 2):
        checkpoint = random_checkpoint(structure, np.random.default_rng(seed), spread=0.7)
        network = freeze(checkpoint, structure, Variant(scales=scales), options)
        reference = FloatNetwork(checkpoint, structure, Variant(scales=scales), options)
        images = random_images(structure, seed, 8)
        layers = forward(network, images)
        assert not any(saturation_counts(network, layers).values())  # the bound knows of no saturation
        logits, bounds = [], []
        for index, image in enumerate(images):
            actual = in_float_units(network, layers, index)
            expected, flips = reference.forward(image, actual, restart)
            assert set(actual) - set(expected) == {"pool", "class"}
            for name, (values, error) in expected.items():
                assert (np.abs(actual[name] - values) <= error + 1e-9).all(), name
            assert (flips <= 1 + 1e-9).all()
            logits.append(expected["scores"][0])
            bounds.append(expected["scores"][1].max())
        # The bound means something: a small part of what tells the images and classes apart.
        if restart or options.value_width == 24:
            assert max(bounds) < 0.2 * np.ptp(logits)


FOLLOWING = [
    member("react", (16, 24), (1, 1), image=16),
    member("bireal", (16, 24), (1, 1), family="birealnet", image=16),
    member("xnor", (16, 24), (1, 1), family="xnornet", image=32, stem=RESNET_STEM),
    member("paired", (12, 24), (0, 1), family="reactneta", image=16, stem=STRIDED_STEM),
]


def patchwork(structure, rng, count):
    """Flat images give many equal values, that flip all at once: noisy patches are more like photographs."""
    height, width = structure.height, structure.width
    patches = rng.integers(0, 256, (count, height // 4, width // 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    return np.clip(patches + rng.normal(0, 20, patches.shape), 0, 255).astype(np.uint8)


def float_and_integer_scores(structure, variant, options, seed, count=64):
    """Scores (count, classes) of both networks, in units of the float one, and the integer one's classes."""
    rng = np.random.default_rng(seed)
    checkpoint = random_checkpoint(structure, rng, spread=0.5)
    images = patchwork(structure, rng, count)

    def scores():
        reference = FloatNetwork(checkpoint, structure, variant, options)
        return np.array([reference.forward(image)[0]["scores"][0] for image in images])

    # A random network prefers one class; without its preference the images spread over the classes.
    checkpoint["head.bias"] = (checkpoint["head.bias"] - scores().mean(axis=0)).astype(np.float32)
    network = freeze(checkpoint, structure, variant, options)
    layers = forward(network, images)
    return scores(), layers["scores"] * 2.0**-network.score_fraction_bits, layers["class"]


@pytest.mark.parametrize(("scales", "terms"), [("pow2", 1), ("free", 8)])
@pytest.mark.parametrize("structure", FOLLOWING, ids=lambda structure: structure.name)
def test_fine_integer_scores_follow_the_float_ones(structure, scales, terms) -> None:
    """Sign flips included: with fine numbers and two blocks few are left, and scores and classes are the float ones."""
    options = FreezeOptions(18, 12, 15, 10, terms, {name: 8 for name in prelu_names(structure)}, shortcut_planes=15)
    expected, scores, classes = float_and_integer_scores(structure, Variant(scales=scales), options, 1)
    assert np.corrcoef(scores.ravel(), expected.ravel())[0, 1] > 0.999
    assert np.abs(scores - expected).max() < 0.05 * np.ptp(expected)
    best = np.sort(expected, axis=1)
    clear = best[:, -1] - best[:, -2] > 0.02 * np.ptp(expected)
    assert clear.sum() > 32
    assert len(np.unique(expected.argmax(axis=1)[clear])) > 3
    np.testing.assert_array_equal(classes[clear], expected.argmax(axis=1)[clear])


def prelu_names(structure) -> list[str]:
    names = [f"block{index:02d}.prelu" for index, block in enumerate(structure.blocks) if block.activation == "prelu"]
    return ["stem.prelu", *names] if structure.stem.prelu else names


@pytest.mark.parametrize("structure", FOLLOWING, ids=lambda structure: structure.name)
def test_three_terms_correlate_with_float(structure) -> None:
    """As frozen by default: random networks amplify every rounding, and 0.94 is what is asked of them."""
    expected, scores, _ = float_and_integer_scores(structure, Variant(), FreezeOptions(16, 9, 8, 8, 3), 2)
    assert np.corrcoef(scores.ravel(), expected.ravel())[0, 1] > 0.94
