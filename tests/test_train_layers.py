"""The training layers against plain arithmetic: numpy forward, formulas or torch's own autograd backward."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from torch.nn import functional  # noqa: E402

from abbnn.train.layers import (  # noqa: E402
    ScaledConv,
    biased_qprelu,
    biased_sign,
    nearest_power_of_two,
    one_sided_qprelu,
    standardize,
)
from abbnn.train.tensors import standardize as exactly  # noqa: E402

torch.set_num_threads(1)  # a busy machine makes two threads wait for each other


def maps(*shape: int, seed: int = 0) -> "torch.Tensor":
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return x.to(memory_format=torch.channels_last).requires_grad_()


def vector(channels: int, seed: int) -> "torch.Tensor":
    return torch.randn(channels, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("beta", [1.0, 0.9701])
def test_biased_sign_is_the_sign_forward_and_the_masks_derivative_backward(beta: float, biased: bool) -> None:
    x = maps(2, 3, 4, 5)
    bias = (0.3 * vector(3, 1)).detach().requires_grad_() if biased else None
    upstream = maps(2, 3, 4, 5, seed=2).detach()
    out = biased_sign(x, bias, beta)
    out.backward(upstream)

    u = beta * x.detach().numpy().astype(np.float64)
    if bias is not None:
        u += bias.detach().numpy()[:, None, None]
    np.testing.assert_array_equal(out.detach().numpy(), np.where(u >= 0, 1.0, -1.0))
    with torch.no_grad():
        assert torch.equal(biased_sign(x, bias, beta), out)
    s = 1.0 / (1.0 + np.exp(-3.0 * u))
    grad = upstream.numpy() * 6.0 * s * (1.0 - s)
    np.testing.assert_allclose(x.grad.numpy(), beta * grad, rtol=1e-4, atol=1e-6)
    if bias is not None:
        np.testing.assert_allclose(bias.grad.numpy(), grad.sum(axis=(0, 2, 3)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("learning", [True, False])
def test_biased_sign_takes_zero_as_plus_one_in_either_type(learning: bool) -> None:
    x, bias = torch.tensor([-1.0, -0.5, 0.0]).reshape(1, 1, 1, 3), torch.full((1,), 0.5)
    with torch.set_grad_enabled(learning):
        for dtype in (torch.float32, torch.bfloat16):
            out = biased_sign(x, bias, 1.0, dtype)
            assert out.dtype == dtype
            assert out.flatten().tolist() == [-1.0, 1.0, 1.0]


@pytest.mark.parametrize("form", ["code", "paper"])
def test_qprelu_matches_autograd_of_the_formula(form: str) -> None:
    channels = 4
    x, residual = maps(2, channels, 3, 5), maps(2, channels, 3, 5, seed=1)
    before, after = vector(channels, 2), vector(channels, 3)
    l_alpha = torch.tensor([-3.4, 0.6, -7.0, 1.2]).requires_grad_()
    inputs = (x, residual, before, l_alpha, after)
    upstream = maps(2, channels, 3, 5, seed=4).detach()
    out = (biased_qprelu if form == "code" else one_sided_qprelu)(*inputs)
    grads = torch.autograd.grad(out, inputs, upstream)

    rounded = l_alpha + (torch.round(l_alpha) - l_alpha).detach()
    slope, first, second = (v.reshape(1, -1, 1, 1) for v in (torch.pow(2.0, rounded), before, after))
    y = x + residual
    if form == "code":
        z = y + first
        expected = torch.where(z >= 0, z, slope * z) + second
    else:
        expected = torch.where(y >= 0, y, slope * (y + first) + second)
    torch.testing.assert_close(out, expected)
    for mine, theirs in zip(grads, torch.autograd.grad(expected, inputs, upstream), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_standardize_matches_numpy() -> None:
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0)) + 0.2
    w = weight.numpy().astype(np.float64).reshape(5, -1)
    expected = (w - w.mean(1, keepdims=True)) / (w.std(1, keepdims=True) + 1e-5) / math.sqrt(27)
    np.testing.assert_allclose(standardize(weight).numpy().reshape(5, -1), expected, rtol=1e-5, atol=1e-7)


def test_nearest_power_of_two_rounds_the_logarithm_and_passes_the_gradient() -> None:
    x = torch.tensor([1.0, 1.4, 1.42, -0.3, -0.35, 3.0e-3], requires_grad=True)
    out = nearest_power_of_two(x)
    assert out.tolist() == [1.0, 1.0, 2.0, -0.25, -0.25, 2.0**-8]
    out.sum().backward()
    assert x.grad.tolist() == [1.0] * 6
    assert torch.isfinite(nearest_power_of_two(torch.zeros(1))).all()


def conv(scales: str, *, binary: bool = True) -> ScaledConv:
    torch.manual_seed(3)
    layer = ScaledConv(4, 6, 3, multiplier=0.25, binary=binary, scales=scales)
    with torch.no_grad():
        layer.gain.copy_(torch.tensor([1.0, -1.3, 0.4, 2.0, -0.2, 0.9]))
        layer.weight.add_(0.1)
    return layer


def test_real_weights_are_standardized_times_gain_times_multiplier() -> None:
    layer = conv("free", binary=False)
    torch.testing.assert_close(
        layer.effective_weight(), 0.25 * layer.gain[:, None, None, None] * standardize(layer.weight)
    )


@pytest.mark.parametrize("scales", ["free", "pow2"])
def test_binary_weights_are_signs_times_a_scale_a_filter(scales: str) -> None:
    layer = conv(scales)
    w_hat = standardize(layer.weight).detach().numpy().astype(np.float64).reshape(6, -1)
    scale = 0.25 * layer.gain.detach().numpy() * np.abs(w_hat).mean(axis=1)
    if scales == "pow2":
        scale = np.sign(scale) * 2.0 ** np.round(np.log2(np.abs(scale)))
    expected = np.where(w_hat >= 0, 1.0, -1.0) * scale[:, None]
    found = layer.effective_weight().detach().numpy().reshape(6, -1)
    np.testing.assert_allclose(found, expected, rtol=0 if scales == "pow2" else 1e-5)


@pytest.mark.parametrize("scales", ["free", "pow2"])
def test_binary_weights_pass_the_gradient_through_the_clamp_and_to_the_gain(scales: str) -> None:
    layer = conv(scales)
    with torch.no_grad():
        layer.weight[0].zero_()
        layer.weight[0, 0, 0, 0] = 1.0  # standardized to almost 1 by the sqrt(N): inside the clamp still
    upstream = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    layer.effective_weight().backward(upstream)

    weight = layer.weight.detach().clone().requires_grad_()
    w_hat = standardize(weight)
    through = 0.25 * layer.gain.detach()[:, None, None, None] * torch.clamp(w_hat, -1.0, 1.0)
    through.backward(upstream)
    torch.testing.assert_close(layer.weight.grad, weight.grad, rtol=1e-4, atol=1e-6)

    signs = torch.where(w_hat.detach() >= 0, 1.0, -1.0)
    mean = w_hat.detach().abs().mean(dim=(1, 2, 3))
    expected = 0.25 * mean * (upstream * signs).sum(dim=(1, 2, 3))
    torch.testing.assert_close(layer.gain.grad, expected, rtol=1e-4, atol=1e-6)


def test_a_padded_tap_adds_nothing() -> None:
    layer = conv("pow2")
    x = torch.ones(1, 4, 2, 2)
    weight = layer.effective_weight()
    # Around a 2x2 map each output sees 4 of the 9 taps.
    expected = torch.stack(
        [weight[:, :, 1 - r : 3 - r, 1 - c : 3 - c].sum(dim=(1, 2, 3)) for r in (0, 1) for c in (0, 1)]
    )
    torch.testing.assert_close(layer(x)[0].flatten(1).T, expected)


def test_settled_gains_leave_the_weights_and_make_the_scales_powers_of_two() -> None:
    layer = conv("pow2")
    before = layer.effective_weight().detach().clone()
    layer.settle_gain()
    assert torch.equal(layer.effective_weight(), before)
    mean = standardize(layer.weight).detach().abs().mean(dim=(1, 2, 3))
    exponents = torch.log2((0.25 * mean * layer.gain).abs()).detach()
    torch.testing.assert_close(exponents, torch.round(exponents), rtol=0, atol=1e-5)

    free = conv("free")
    gain = free.gain.detach().clone()
    free.settle_gain()
    assert torch.equal(free.gain, gain)


def test_bfloat16_signs_and_powers_of_two_lose_nothing_but_the_sums_bits() -> None:
    layer = conv("pow2")
    x = biased_sign(maps(2, 4, 5, 5), torch.zeros(4), 1.0, torch.bfloat16).detach()
    out = layer(x)
    assert out.dtype == torch.float32
    # 36 taps of +-2^k sum to at most 6 bits: exact even in bfloat16.
    assert torch.equal(out, functional.conv2d(x.float(), layer.effective_weight(), padding=1))


@pytest.mark.parametrize("binary", [True, False])
def test_fixed_weights_give_the_same_and_follow_no_parameter(binary: bool) -> None:
    layer = conv("free", binary=binary)
    x = biased_sign(maps(2, 4, 5, 5), torch.zeros(4), 1.0).detach()
    expected = layer(x).detach()
    layer.fix()
    torch.testing.assert_close(layer(x), expected)
    with torch.no_grad():
        layer.gain.zero_()
    torch.testing.assert_close(layer(x), expected)


def test_fixed_signs_are_those_of_freezing_where_weights_lie_on_the_mean() -> None:
    layer = conv("pow2")
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.1, 0.2, 0.3]).repeat(72).reshape(6, 4, 3, 3))
        layer.gain.abs_()
    layer.double().fix()
    assert layer.fixed is not None
    frozen = exactly(layer.weight.detach().numpy()) >= 0
    np.testing.assert_array_equal(layer.fixed[0].numpy() > 0, frozen)
