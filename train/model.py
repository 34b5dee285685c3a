"""The float network as a torch module, for every family, built from a `golden.structure.Structure`.

Parameters are called as `train.tensors.canonical_shapes` lists them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from abbnn.golden.network import EXPONENT_RANGE
from abbnn.golden.structure import Block, Structure, block_name
from abbnn.golden.structure import Stem as StemGeometry
from abbnn.train.layers import INITIAL_L_ALPHA, INITIAL_SLOPE, ScaledConv, biased_qprelu, biased_sign, one_sided_qprelu
from abbnn.train.tensors import Tensors
from abbnn.train.variant import Variant


class Stem(ScaledConv):
    """The first convolution, with real weights, and behind it a PReLU and a max-pool where the geometry says so."""

    def __init__(self, stem: StemGeometry) -> None:
        super().__init__(stem.in_channels, stem.out_channels, stem.kernel, stride=stem.stride)
        self.max_pool = stem.max_pool
        self.prelu = nn.Parameter(torch.full((stem.out_channels,), INITIAL_SLOPE)) if stem.prelu else None

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        if self.prelu is not None:
            x = functional.prelu(x, self.prelu)
        return functional.max_pool2d(x, 3, stride=2, padding=1) if self.max_pool else x


class BinaryBlock(ScaledConv):
    """activation(alpha * conv(sign(beta * x + bias0)) + shortcut(x)) on (N, C, H, W)."""

    def __init__(self, block: Block, variant: Variant) -> None:
        binary = variant.step == "Qaw"
        geometry = block.in_channels, block.out_channels
        super().__init__(
            *geometry,
            block.kernel,
            stride=block.stride,
            multiplier=variant.alpha,
            binary=binary,
            scales=variant.scales,
        )
        self.block = block
        self.beta = variant.beta(block.variance_steps)
        self.form = variant.form
        self.training_dtype = torch.float32
        self.bias0 = nn.Parameter(torch.zeros(block.in_channels)) if block.biased else None
        self.shortcut: ScaledConv | None = None
        if block.projects:
            stride = block.stride if block.shortcut == "conv" else 1
            binary = binary and not block.projects_real
            self.shortcut = ScaledConv(*geometry, 1, stride=stride, binary=binary, scales=variant.scales)
        if block.activation == "qprelu":
            self.bias1 = nn.Parameter(torch.zeros(block.out_channels))
            self.l_alpha = nn.Parameter(torch.full((block.out_channels,), INITIAL_L_ALPHA))
            self.bias2 = nn.Parameter(torch.zeros(block.out_channels))
        elif block.activation == "prelu":
            self.prelu = nn.Parameter(torch.full((block.out_channels,), INITIAL_SLOPE))

    def forward(self, x: Tensor) -> Tensor:
        dtype = self.training_dtype if self.training else torch.float32
        out = super().forward(biased_sign(x, self.bias0, self.beta, dtype))
        residual = self._residual(x)
        if self.block.activation == "qprelu":
            activate = one_sided_qprelu if self.form == "paper" else biased_qprelu
            return activate(out, residual, self.bias1, self.l_alpha, self.bias2)
        out = out + residual
        return functional.prelu(out, self.prelu) if self.block.activation == "prelu" else out

    def _residual(self, x: Tensor) -> Tensor:
        if self.block.shortcut == "repeat":
            return torch.cat((x, x), 1)
        if self.block.averages:
            x = functional.avg_pool2d(x, 2, 2)
        return x if self.shortcut is None else self.shortcut(x)


class Network(nn.Module):
    """Images normalised and (N, 3, H, W) in, logits (N, classes) out."""

    def __init__(self, structure: Structure, variant: Variant) -> None:
        super().__init__()
        self.structure = structure
        self.variant = variant
        self.stem = Stem(structure.stem)
        for index, block in enumerate(structure.blocks):
            self.add_module(block_name(index), BinaryBlock(block, variant))
        self.head = nn.Linear(structure.head_input[2], structure.classes)
        # Filters lie in memory as the maps do: (out, k, k, in).
        self.to(memory_format=torch.channels_last)

    @property
    def blocks(self) -> list[BinaryBlock]:
        return [getattr(self, block_name(index)) for index in range(len(self.structure.blocks))]

    def binary_convolutions(self) -> list[str]:
        """Names of the modules whose weights are binary."""
        return [name for name, module in self.named_modules() if isinstance(module, ScaledConv) and module.binary]

    def _convolutions(self) -> list[ScaledConv]:
        return [module for module in self.modules() if isinstance(module, ScaledConv)]

    def load(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Takes the canonical tensors of `train.tensors` as parameters."""
        self.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})

    def tensors(self) -> Tensors:
        """The parameters as canonical tensors."""
        return {name: value.detach().cpu().contiguous().numpy() for name, value in self.state_dict().items()}

    def train_in_bfloat16(self) -> None:
        """Lets the binary convolutions run in bfloat16 in training mode, never in evaluation.

        Their inputs -1 and 1 and power-of-two weights are exact in it; sums and gradients are rounded to 8 bits.
        """
        for block in self.blocks:
            block.training_dtype = torch.bfloat16

    def train_with_byte_gradients(self) -> None:
        """Lets the binary 3x3 convolutions compute as `train.binary_conv` in training mode, never in evaluation."""
        for block in self.blocks:
            block.byte_gradients = block.binary

    def fix_slopes(self, exponent: float) -> None:
        """Sets every QPReLU's slope to 2^exponent and keeps it from learning."""
        for block in self.blocks:
            if block.block.activation == "qprelu":
                block.l_alpha.requires_grad_(False).fill_(exponent)

    @torch.no_grad()
    def settle(self) -> None:
        """Gains and slopes to where the forward pass has them, for a model that is about to be saved."""
        for conv in self._convolutions():
            conv.settle_gain()
        for block in self.blocks:
            if block.block.activation == "qprelu":
                block.l_alpha.clamp_(*EXPONENT_RANGE)

    def for_evaluation(self) -> Network:
        """A copy that computes in float64, its weights fixed.

        The signs between the layers amplify every rounding. So only the sums of +-1 stay float32, where they are exact
        (in step Qa, whose weights are real, they are not).
        """
        result = copy.deepcopy(self).eval()
        result.settle()
        result.double()
        for conv in result._convolutions():
            conv.fix()
        return result

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits
