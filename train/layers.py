"""The layers of A&B BNN with their training gradients (Ma et al., CVPR 2024, Section 3).

All are plain tensor operations, so that `torch.compile` fuses the element-wise chains between two convolutions, which
else set the pace on a CPU. Maps are (N, C, H, W), kept in channels_last memory; what belongs to channels is (C,).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from abbnn.golden.network import EXPONENT_RANGE
from abbnn.train import binary_conv
from abbnn.train.tensors import standardize as standardize_exactly
from abbnn.train.variant import Scales

MASK_DELTA = 3.0  # the mask layer's sharpness: sign is differentiated as 2 * sigmoid(3 x)
STANDARDIZE_EPS = 1e-5
INITIAL_L_ALPHA = -3.0  # slope 1/8
INITIAL_SLOPE = 0.25  # of a PReLU with free slopes


def fast_bfloat16(device: str) -> bool:
    """Whether the device has units for it; without them a CPU takes ten times as long as in float32."""
    if torch.device(device).type != "cpu":
        return True
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def by_channel(x: Tensor) -> Tensor:
    """(C,) as (C, 1, 1), to meet maps (N, C, H, W)."""
    return x.reshape(-1, 1, 1)


def _pow2_slope(l_alpha: Tensor) -> Tensor:
    """2^round(l_alpha) by channel, for maps, within the format's range; the gradient passes straight through."""
    exponent = torch.round(l_alpha.detach()).clamp(*EXPONENT_RANGE)
    # The second factor is exactly 1 forward; backward it stands for d slope / d l_alpha = ln 2 * slope.
    slope = torch.exp2(exponent) * (1.0 + math.log(2.0) * (l_alpha - l_alpha.detach()))
    return by_channel(slope)


def biased_sign(x: Tensor, bias: Tensor | None, beta: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """sign(beta * x + bias) with sign(0) = 1: x (N, C, H, W), bias (C,) or none; -1 and 1 out, as `dtype`.

    Backward it is 2 * sigmoid(3 u), whose derivative is 6 s (1 - s): the mask layer of the paper.
    """
    u = beta * x if bias is None else beta * x + by_channel(bias)
    signs = torch.where(u >= 0.0, 1.0, -1.0).to(dtype)
    if not torch.is_grad_enabled():
        return signs
    # The added term is exactly 0 forward.
    mask = 2.0 * torch.sigmoid(MASK_DELTA * u)
    return signs + (mask - mask.detach()).to(dtype)


def biased_qprelu(x: Tensor, residual: Tensor, before: Tensor, l_alpha: Tensor, after: Tensor) -> Tensor:
    """QPReLU(x + residual + before) + after: maps (N, C, H, W), the others (C,).

    QPReLU multiplies what is negative by 2^round(l_alpha); round() passes the gradient straight through.
    """
    z = x + residual + by_channel(before)
    return torch.where(z > 0.0, z, _pow2_slope(l_alpha) * z) + by_channel(after)


def one_sided_qprelu(x: Tensor, residual: Tensor, before: Tensor, l_alpha: Tensor, after: Tensor) -> Tensor:
    """Eq. 8 of the paper on y = x + residual: y >= 0 ? y : 2^round(l_alpha) * (y + before) + after.

    Shapes and the gradient of round() as in `biased_qprelu`.
    """
    y = x + residual
    return torch.where(y >= 0, y, _pow2_slope(l_alpha) * (y + by_channel(before)) + by_channel(after))


def standardize(weight: Tensor) -> Tensor:
    """Scaled weight standardization of (out, in, k, k): (w - mean) / (std + eps) / sqrt(N), std of the population."""
    fan_in = weight[0].numel()
    std, mean = torch.std_mean(weight, dim=(1, 2, 3), keepdim=True, correction=0)
    return (weight - mean) / ((std + STANDARDIZE_EPS) * math.sqrt(fan_in))


def nearest_power_of_two(x: Tensor) -> Tensor:
    """sign(x) * 2^round(log2 |x|), passed straight through backward; 0 counts as the smallest normal number."""
    magnitude = torch.exp2(torch.round(torch.log2(x.detach().abs().clamp_min(torch.finfo(x.dtype).tiny))))
    quantized = torch.where(x.detach() >= 0, magnitude, -magnitude)
    return x + (quantized - x).detach()


class ScaledConv(nn.Module):
    """A convolution without bias; its `weight` (out, in, k, k) is standardized, then times `gain` (out,).

    `binary` replaces the standardized weights by sign * mean magnitude a filter; a standardized weight of 0 has the
    sign +1. `byte_gradients` lets one whose inputs are +-1 learn from gradients of 8 bits (`train.binary_conv`).
    `scales` "pow2" then rounds multiplier * gain * mean magnitude to a power of two; "free" leaves it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        multiplier: float = 1.0,
        binary: bool = False,
        scales: Scales = "pow2",
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel))
        self.gain = nn.Parameter(torch.ones(out_channels))
        nn.init.kaiming_normal_(self.weight)
        self.stride = stride
        self.padding = kernel // 2
        self.multiplier = multiplier
        self.binary = binary
        self.scales = scales
        self.byte_gradients = False
        self.fixed: tuple[Tensor, Tensor | None] | None = None

    def effective_weight(self) -> Tensor:
        """What the convolution multiplies with, (out, in, k, k)."""
        w_hat = standardize(self.weight)
        gain = self.gain.reshape(-1, 1, 1, 1)
        if not self.binary:
            return w_hat * (gain * self.multiplier)
        signs, scale = self._signs_and_scale(w_hat)
        # The latent weights learn through clamp(w_hat, -1, 1) times the gain, without the (detached) mean magnitude;
        # the added term is exactly zero forward.
        through = w_hat.clamp(-1.0, 1.0)
        return torch.addcmul(signs * scale, through - through.detach(), gain.detach() * self.multiplier)

    def _signs_and_scale(self, w_hat: Tensor) -> tuple[Tensor, Tensor]:
        """+-1 (out, in, k, k) and the filters' factors (out, 1, 1, 1) of a binary convolution."""
        scale = self.gain.reshape(-1, 1, 1, 1) * self._unit_scale(w_hat)
        if self.scales == "pow2":
            scale = nearest_power_of_two(scale)
        return torch.where(w_hat.detach() >= 0, 1.0, -1.0), scale

    def _unit_scale(self, w_hat: Tensor) -> Tensor:
        """The scale of each filter at gain 1, (out, 1, 1, 1), detached."""
        return self.multiplier * w_hat.detach().abs().mean(dim=(1, 2, 3), keepdim=True)

    @torch.no_grad()
    def settle_gain(self) -> None:
        """Moves each gain to where its scale is the power of two that the forward pass uses.

        Nothing changes forward, but a reader whose mean magnitude differs in the last bit then cannot round log2 of
        the scale to another integer.
        """
        if self.binary and self.scales == "pow2":
            unit_scale = self._unit_scale(standardize(self.weight)).flatten()
            self.gain.copy_(nearest_power_of_two(self.gain * unit_scale) / unit_scale)

    @torch.no_grad()
    def fix(self) -> None:
        """Computes the weights once for all calls to come; they no longer follow the parameters, nor learn.

        A binary convolution then multiplies with +-1 and scales its sums, which are exact on inputs of +-1. Its signs
        are those that freezing takes (`train.tensors.standardize`).
        """
        if self.binary:
            _, scale = self._signs_and_scale(standardize(self.weight))
            exactly = torch.from_numpy(standardize_exactly(self.weight.double().cpu().numpy()))
            signs = torch.where(exactly >= 0, 1.0, -1.0).to(self.weight)
            self.fixed = signs, scale.reshape(-1, 1, 1)
        else:
            self.fixed = self.effective_weight(), None

    def forward(self, x: Tensor) -> Tensor:
        """The convolution in the type of x, (N, in, H, W); the parameters' type out."""
        weight, scale = (self.effective_weight(), None) if self.fixed is None else self.fixed
        if self.byte_gradients and self.training and binary_conv.fits(x, weight):
            return binary_conv.binary_conv(x, weight, self.stride)
        stride = self.stride
        if self.padding == 0 and stride > 1:
            # The same, and the gradients of torch 2.13's own 1x1 convolutions with a stride corrupt memory on AVX2.
            x, stride = x[:, :, ::stride, ::stride], 1
        out = functional.conv2d(x, weight.to(x.dtype), stride=stride, padding=self.padding).to(self.gain.dtype)
        return out if scale is None else out.mul_(scale)
