"""The network: official keys, betas, and the forward pass against numpy."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from golden.structure import NETWORKS, Structure, reactnet  # noqa: E402
from train.betas import block_betas  # noqa: E402
from train.model import BinaryBlock, ReActNet  # noqa: E402

SMALL = reactnet("small", (4, 6), (2, 2), image=8, stem_stride=2, classes=3)


def test_betas_of_resnet18_are_the_official_ones() -> None:
    expected = [1, 1, 0.9701, 0.9428] + [0.9177, 1, 0.9701, 0.9428] * 3
    np.testing.assert_allclose(block_betas(NETWORKS["reactnet18"], 0.25), expected, atol=5e-5)


def test_betas_of_other_depths_and_alphas() -> None:
    assert block_betas(NETWORKS["tiny"], 0.25) == [1, 1, 1.0625**-0.5, 1, 1.0625**-0.5, 1]
    deep = reactnet("deep", (4, 8), (6, 1), image=8)
    expected = [1, 1] + [(1 + n * 0.5**2) ** -0.5 for n in (1, 2, 3, 4, 5)]
    np.testing.assert_allclose(block_betas(deep, 0.5), expected)
    with pytest.raises(ValueError, match="alpha"):
        block_betas(deep, 0.0)


def official_keys(structure: Structure) -> dict[str, tuple[int, ...]]:
    """Section 3's table for the ResNet forms, written out."""
    stem = structure.stem
    keys: dict[str, tuple[int, ...]] = {
        "conv1.weight": (stem.out_channels, stem.in_channels, stem.kernel, stem.kernel),
        "conv1.gain": (stem.out_channels, 1, 1, 1),
        "fc.weight": (structure.classes, structure.head_input[2]),
        "fc.bias": (structure.classes,),
    }
    stage, index = 1, 0
    for number, block in enumerate(structure.blocks):
        if block.stride == 2 and number > 0:
            stage, index = stage + 1, 0
        prefix, wide, narrow = f"layer{stage}.{index}.", block.out_channels, block.in_channels
        keys[prefix + "move0.bias"] = (1, narrow, 1, 1)
        keys[prefix + "conv1.weight"] = (wide, narrow, 3, 3)
        keys[prefix + "conv1.gain"] = (wide, 1, 1, 1)
        keys[prefix + "move1.bias"] = (1, wide, 1, 1)
        keys[prefix + "prelu.L_alpha"] = (wide,)
        keys[prefix + "move2.bias"] = (1, wide, 1, 1)
        if block.stride == 2:
            keys[prefix + "downsample.1.weight"] = (wide, narrow, 1, 1)
            keys[prefix + "downsample.1.gain"] = (wide, 1, 1, 1)
        index += 1
    return keys


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("step", ["Qa", "Qaw"])
def test_keys_and_shapes_are_the_official_ones(name: str, step: str) -> None:
    state = ReActNet(NETWORKS[name], step=step).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == official_keys(NETWORKS[name])


def test_resnet18_ends_its_stages_where_the_official_code_does() -> None:
    keys = ReActNet(NETWORKS["reactnet18"]).state_dict().keys()
    assert {"layer1.3.move0.bias", "layer4.3.prelu.L_alpha", "layer2.0.downsample.1.gain"} <= keys
    assert not {"layer5.0.move0.bias", "layer1.0.downsample.1.gain", "layer1.4.move0.bias"} & keys


def random_model(scales: str, step: str = "Qaw") -> ReActNet:
    torch.manual_seed(5)
    model = ReActNet(SMALL, step=step, scales=scales).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "gain")):
                parameter.add_(0.3 * torch.randn_like(parameter))
            if name.endswith("L_alpha"):
                parameter.add_(torch.randn_like(parameter))
    return model


def numpy_conv(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """(C, H, W) with (out, C, k, k), padded by k // 2 zeros."""
    k = weight.shape[2]
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,ocij->ohw", windows, weight)


def numpy_forward(
    state: dict[str, np.ndarray], x: np.ndarray, betas: list[float], scales: str, step: str
) -> np.ndarray:
    """Sections 1 and 2 in float64, one image (3, H, W)."""

    def weights(prefix: str, multiplier: float, binary: bool) -> np.ndarray:
        w, gain = state[f"{prefix}.weight"], state[f"{prefix}.gain"]
        mean, std = (f(w, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.std))
        w_hat = (w - mean) / (std + 1e-5) / np.sqrt(w[0].size)
        if not binary:
            return multiplier * gain * w_hat
        scale = multiplier * gain * np.abs(w_hat).mean(axis=(1, 2, 3), keepdims=True)
        if scales == "pow2":
            scale = np.sign(scale) * 2.0 ** np.round(np.log2(np.abs(scale)))
        return np.where(w_hat >= 0, 1.0, -1.0) * scale

    binary = step == "Qaw"
    x = numpy_conv(x, weights("conv1", 1.0, False), SMALL.stem.stride)
    for prefix, beta, block in zip(["layer1.0", "layer1.1", "layer2.0", "layer2.1"], betas, SMALL.blocks, strict=True):
        bias = [state[f"{prefix}.move{i}.bias"][0] for i in range(3)]
        b = np.where(beta * x + bias[0] >= 0, 1.0, -1.0)
        out = numpy_conv(b, weights(f"{prefix}.conv1", 0.25, binary), block.stride)
        if block.stride == 2:
            pooled = x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2] // 2, 2).mean(axis=(2, 4))
            x = numpy_conv(pooled, weights(f"{prefix}.downsample.1", 1.0, binary), 1)
        z = out + x + bias[1]
        slope = 2.0 ** np.round(state[f"{prefix}.prelu.L_alpha"])[:, None, None]
        x = np.where(z >= 0, z, slope * z) + bias[2]
    return state["fc.weight"] @ x.mean(axis=(1, 2)) + state["fc.bias"]


@pytest.mark.parametrize(("scales", "step"), [("pow2", "Qaw"), ("free", "Qaw"), ("pow2", "Qa")])
def test_forward_matches_the_specification_in_numpy(scales: str, step: str) -> None:
    model = random_model(scales, step)
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        logits = model(images.to(memory_format=torch.channels_last)).numpy()
    state = {key: value.numpy().astype(np.float64) for key, value in model.state_dict().items()}
    betas = [1, 1, 1.0625**-0.5, 1]
    expected = [numpy_forward(state, image.numpy().astype(np.float64), betas, scales, step) for image in images]
    np.testing.assert_allclose(logits, np.stack(expected), rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_gradient() -> None:
    model = random_model("pow2").train()
    model.train_in_bfloat16()
    model(torch.randn(4, 3, 8, 8)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_bfloat16_is_for_training_only() -> None:
    model = random_model("pow2")
    images = torch.randn(2, 3, 8, 8)
    before = model(images)
    model.train_in_bfloat16()
    assert all(block.training_dtype == torch.bfloat16 for block in model.modules() if isinstance(block, BinaryBlock))
    assert torch.equal(model(images), before)
