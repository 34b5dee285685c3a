"""The network: parameters, betas, gradients, and the forward pass of each variant against numpy.

What the official checkpoints of all families compute is in test_train_official.py.
"""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from abbnn.golden.structure import NETWORKS, RESNET_STEM, STRIDED_STEM, declared_network, member  # noqa: E402
from abbnn.train.layers import fast_bfloat16  # noqa: E402
from abbnn.train.model import Network  # noqa: E402
from abbnn.train.tensors import canonical_shapes  # noqa: E402
from abbnn.train.variant import Variant  # noqa: E402

torch.set_num_threads(1)  # a busy machine makes two threads wait for each other

SMALL = member("small", (4, 6), (2, 2), image=8, stem=STRIDED_STEM, classes=3)
MEMBERS = [
    SMALL,
    member("birealnet18", (4, 6), (1, 2), family="birealnet", image=32, stem=RESNET_STEM, classes=3),
    member("xnornet18", (4, 6), (2, 1), family="xnornet", image=8, classes=3),
    member("reactneta", (3, 6, 12), (0, 2, 1), family="reactneta", image=8, classes=3),
]
VARIANT = Variant(scales="pow2")


@pytest.mark.parametrize("structure", [*NETWORKS.values(), declared_network("reactneta", classes=1000, image=224)])
def test_parameters_are_the_canonical_ones(structure) -> None:
    for step in ("Qa", "Qaw"):
        state = Network(structure, Variant(step)).state_dict()
        assert {name: tuple(value.shape) for name, value in state.items()} == canonical_shapes(structure)


def test_betas_are_the_official_ones() -> None:
    def betas(name: str) -> list[float]:
        return [block.beta for block in Network(NETWORKS[name], VARIANT).blocks]

    resnet = [1, 1, 0.9701, 0.9428] + [0.9177, 1, 0.9701, 0.9428] * 3
    for name in ("reactnet18", "birealnet18", "xnornet18"):
        np.testing.assert_allclose(betas(name), resnet, atol=5e-5)
    mobile = [1, 0.9701, 0.9428, 0.9177] * 4
    mobile += [0.8944, 0.8729, 0.8528, 0.8341, 0.8165, 0.8, 0.7845, 0.7698, 1, 0.9701]
    np.testing.assert_allclose(betas("reactneta"), mobile, atol=5e-5)
    halved = Network(SMALL, Variant(alpha=0.5)).blocks
    assert [block.beta for block in halved] == [1.0, 1.0, 1.25**-0.5, 1.0]


def random_model(structure=SMALL, variant: Variant = VARIANT) -> Network:
    torch.manual_seed(5)
    model = Network(structure, variant).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("weight"):
                parameter.add_((1.0 if name.endswith("l_alpha") else 0.3) * torch.randn_like(parameter))
    return model


def numpy_conv(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """(C, H, W) with (out, C, k, k), padded by k // 2 zeros."""
    k = weight.shape[2]
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,ocij->ohw", windows, weight)


def numpy_forward(state: dict[str, np.ndarray], x: np.ndarray, variant: Variant) -> np.ndarray:
    """SMALL in float64, one image (3, H, W)."""

    def weights(name: str, multiplier: float, binary: bool) -> np.ndarray:
        w, gain = state[f"{name}.weight"], state[f"{name}.gain"][:, None, None, None]
        mean, std = (f(w, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.std))
        w_hat = (w - mean) / (std + 1e-5) / np.sqrt(w[0].size)
        if not binary:
            return multiplier * gain * w_hat
        scale = multiplier * gain * np.abs(w_hat).mean(axis=(1, 2, 3), keepdims=True)
        if variant.scales == "pow2":
            scale = np.sign(scale) * 2.0 ** np.round(np.log2(np.abs(scale)))
        return np.where(w_hat >= 0, 1.0, -1.0) * scale

    binary = variant.step == "Qaw"
    x = numpy_conv(x, weights("stem", 1.0, False), 2)
    betas = [1, 1, (1 + variant.alpha**2) ** -0.5, 1]
    for name, beta, stride in zip(["block00", "block01", "block02", "block03"], betas, [1, 1, 2, 1], strict=True):
        bias = [state[f"{name}.bias{i}"][:, None, None] for i in range(3)]
        b = np.where(beta * x + bias[0] >= 0, 1.0, -1.0)
        out = numpy_conv(b, weights(name, variant.alpha, binary), stride)
        if stride == 2:
            pooled = x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2] // 2, 2).mean(axis=(2, 4))
            x = numpy_conv(pooled, weights(f"{name}.shortcut", 1.0, binary), 1)
        y = out + x
        slope = 2.0 ** np.round(state[f"{name}.l_alpha"])[:, None, None]
        if variant.form == "paper":
            x = np.where(y >= 0, y, slope * (y + bias[1]) + bias[2])
        else:
            x = np.where(y + bias[1] >= 0, y + bias[1], slope * (y + bias[1])) + bias[2]
    return state["head.weight"] @ x.mean(axis=(1, 2)) + state["head.bias"]


@pytest.mark.parametrize(
    "variant",
    [
        VARIANT,
        Variant(scales="free"),
        Variant("Qa"),
        Variant(scales="pow2", form="paper"),
        Variant(alpha=0.125),
        Variant("Qa", alpha=0.125, form="paper"),
    ],
)
def test_forward_matches_the_specification_in_numpy(variant: Variant) -> None:
    model = random_model(variant=variant)
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        logits = model(images.to(memory_format=torch.channels_last)).numpy()
        precise = model.for_evaluation()(images.double()).numpy()
    assert precise.dtype == np.float64
    state = {name: value.numpy().astype(np.float64) for name, value in model.state_dict().items()}
    expected = np.stack([numpy_forward(state, image.numpy().astype(np.float64), variant) for image in images])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    # In float64 nothing but sums of real weights in step Qa is rounded; settled gains round to float32.
    np.testing.assert_allclose(precise, expected, rtol=1e-6, atol=1e-5 if variant.step == "Qa" else 1e-6)


@pytest.mark.parametrize("structure", MEMBERS, ids=lambda structure: structure.name)
@pytest.mark.parametrize("step", ["Qa", "Qaw"])
def test_every_parameter_gets_a_gradient(structure, step: str) -> None:
    model = random_model(structure, replace(VARIANT, step=step)).train()
    if fast_bfloat16("cpu"):
        model.train_in_bfloat16()
    model(torch.randn(4, 3, structure.height, structure.width)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_which_weights_are_binary() -> None:
    """In step Qaw every block's; of the shortcuts Bi-Real's never."""
    for structure in MEMBERS:
        assert Network(structure, Variant("Qa")).binary_convolutions() == []
        expected = []
        for index, block in enumerate(structure.blocks):
            expected.append(f"block{index:02d}")
            if block.projects and structure.family != "birealnet":
                expected.append(f"block{index:02d}.shortcut")
        assert Network(structure, Variant("Qaw")).binary_convolutions() == expected


@pytest.mark.parametrize("step", ["Qa", "Qaw"])
def test_the_real_shortcut_is_a_plain_convolution(step: str) -> None:
    structure = MEMBERS[1]
    model = random_model(structure, replace(VARIANT, step=step))
    shortcut = model.blocks[1].shortcut
    assert shortcut is not None
    weight, gain = (value.detach().numpy().astype(np.float64) for value in (shortcut.weight, shortcut.gain))
    mean, std = (f(weight, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.std))
    weight = gain[:, None, None, None] * (weight - mean) / (std + 1e-5) / 2.0  # a fan-in of 4
    x = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(6))
    pooled = x.numpy().astype(np.float64).reshape(4, 4, 2, 4, 2).mean(axis=(2, 4))
    with torch.no_grad():
        actual = model.blocks[1]._residual(x[None])[0].numpy()
    np.testing.assert_allclose(actual, numpy_conv(pooled, weight, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("structure", MEMBERS, ids=lambda structure: structure.name)
def test_tensors_load_into_an_equal_network(structure) -> None:
    model, other = random_model(structure), Network(structure, VARIANT).eval()
    other.load(model.tensors())
    images = torch.randn(2, 3, structure.height, structure.width)
    assert torch.equal(model(images), other(images))


def test_bfloat16_is_for_training_only() -> None:
    model = random_model(variant=Variant(scales="free"))  # powers of two would be exact in it
    images = torch.randn(2, 3, 8, 8)
    before = model(images)
    model.train_in_bfloat16()
    assert all(block.training_dtype == torch.bfloat16 for block in model.blocks)
    assert torch.equal(model(images), before)
    assert not torch.equal(model.train()(images), before)


def test_fixed_slopes_do_not_learn() -> None:
    model = random_model()
    model.fix_slopes(-7)
    model.train()(torch.randn(2, 3, 8, 8)).sum().backward()
    for block in model.blocks:
        assert block.l_alpha.tolist() == [-7.0] * len(block.l_alpha)
        assert block.l_alpha.grad is None


def test_evaluation_leaves_the_model_alone() -> None:
    model = random_model().train()
    before = model.tensors()
    evaluated = model.for_evaluation()
    assert model.training
    assert not evaluated.training
    for name, tensor in model.tensors().items():
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor, before[name])
    with torch.no_grad():
        model.stem.gain.zero_()
        assert evaluated(torch.randn(1, 3, 8, 8).double()).std() > 0
