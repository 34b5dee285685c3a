"""The ReActNet form of A&B BNN as a torch module, built from a `golden.structure.Structure`.

Parameter names are those of the official checkpoints without their "module." prefix.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from golden.structure import Block, Structure
from train.betas import block_betas
from train.layers import Bias, QPReLU, ScaledConv, Scales, biased_qprelu, biased_sign

Step = Literal["Qa", "Qaw"]
STEPS: tuple[Step, ...] = ("Qa", "Qaw")
ALPHA = 0.25


class BinaryBlock(nn.Module):
    """QPReLU(alpha * conv(sign(beta * x + bias0)) + shortcut(x) + bias1) + bias2 on (N, C, H, W)."""

    def __init__(self, block: Block, beta: float, alpha: float, binary: bool, scales: Scales) -> None:
        super().__init__()
        self.beta = beta
        self.training_dtype = torch.float32
        self.move0 = Bias(block.in_channels)
        self.conv1 = ScaledConv(
            block.in_channels,
            block.out_channels,
            3,
            stride=block.stride,
            multiplier=alpha,
            binary=binary,
            scales=scales,
        )
        self.move1 = Bias(block.out_channels)
        self.prelu = QPReLU(block.out_channels)
        self.move2 = Bias(block.out_channels)
        self.downsample: nn.Sequential | None = None
        if block.downsamples:
            projection = ScaledConv(block.in_channels, block.out_channels, 1, binary=binary, scales=scales)
            self.downsample = nn.Sequential(nn.AvgPool2d(2, 2), projection)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        dtype = self.training_dtype if self.training else torch.float32
        out = self.conv1(biased_sign(x, self.move0.bias, self.beta, dtype))
        return biased_qprelu(out, shortcut, self.move1.bias, self.prelu.L_alpha, self.move2.bias)


class ReActNet(nn.Module):
    """Images normalised and (N, 3, H, W) in, logits (N, classes) out. `step` says whether weights are binary too."""

    def __init__(
        self, structure: Structure, *, step: Step = "Qaw", alpha: float = ALPHA, scales: Scales = "pow2"
    ) -> None:
        super().__init__()
        binary = step == "Qaw"
        stem = structure.stem
        self.structure = structure
        self.conv1 = ScaledConv(stem.in_channels, stem.out_channels, stem.kernel, stride=stem.stride)
        self.stages: list[nn.Sequential] = []
        blocks: list[BinaryBlock] = []
        for block, beta in zip(structure.blocks, block_betas(structure, alpha), strict=True):
            if block.downsamples and blocks:
                self._close_stage(blocks)
                blocks = []
            blocks.append(BinaryBlock(block, beta, alpha, binary, scales))
        self._close_stage(blocks)
        self.fc = nn.Linear(structure.head_input[2], structure.classes)

    def _close_stage(self, blocks: list[BinaryBlock]) -> None:
        stage = nn.Sequential(*blocks)
        self.stages.append(stage)
        self.add_module(f"layer{len(self.stages)}", stage)

    def train_in_bfloat16(self) -> None:
        """Lets the 3x3 binary convolutions run in bfloat16 in training mode, never in evaluation.

        Their inputs -1 and 1 and power-of-two weights are exact in it; sums and gradients are rounded to 8 bits.
        """
        for module in self.modules():
            if isinstance(module, BinaryBlock):
                module.training_dtype = torch.bfloat16

    def settle_gains(self) -> None:
        """`ScaledConv.settle_gain` of every convolution; for a model that is about to be saved."""
        for module in self.modules():
            if isinstance(module, ScaledConv):
                module.settle_gain()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits
