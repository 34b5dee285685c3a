"""Writes brevitas_network.pt, which test_import.py reads: a state dict of Brevitas, and its network's logits.

pip install brevitas==0.13.4        # into an environment of its own; nothing else here needs it
python tests/brevitas_network.py tests/brevitas_network.pt
"""

import sys
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import torch
from brevitas.quant.binary import SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst
from torch import nn

IMAGES = Path(__file__).parents[1] / "models" / "cifar10_test100.npz"


def binary_conv(cin, cout, kernel):
    """Its weights are +-0.1, Brevitas' own constant."""
    quantizer = SignedBinaryWeightPerTensorConst
    return qnn.QuantConv2d(cin, cout, kernel, padding=kernel // 2, bias=False, weight_quant=quantizer)


class Block(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.shift = nn.Parameter(0.3 * torch.randn(1, cin, 1, 1))
        self.sign = qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst)
        self.conv = binary_conv(cin, cout, 3)
        self.conv.stride = (stride, stride)
        self.norm = nn.BatchNorm2d(cout)
        pooled = (nn.AvgPool2d(2), binary_conv(cin, cout, 1), nn.BatchNorm2d(cout))
        self.shortcut = nn.Sequential(*(pooled if stride == 2 else ()))
        self.act = nn.PReLU(cout)

    def forward(self, x):
        return self.act(self.norm(self.conv(self.sign(x + self.shift))) + self.shortcut(x))


@torch.no_grad()
def main(out):
    torch.manual_seed(1)
    stem = (nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8))
    blocks = (Block(8, 8, 1), Block(8, 16, 2), Block(16, 16, 1))
    network = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.weight.copy_(torch.exp(0.4 * torch.randn(module.weight.shape)))
            module.bias.normal_(0, 0.3)
    images = torch.from_numpy(np.load(IMAGES)["images"][:50]).permute(0, 3, 1, 2) / 255
    network((images - 0.4) / 0.25)
    network.eval()
    torch.save({"state_dict": network.state_dict(), "logits": network((images - 0.4) / 0.25)}, out)


if __name__ == "__main__":
    main(sys.argv[1])
