"""Teachers for distillation: float networks that take the same normalised images as the student and give logits."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from abbnn.errors import UserError
from abbnn.train import checkpoint
from abbnn.train.model import Network
from abbnn.train.variant import MEAN, STD


def load_network(path: Path, network: str, image: int) -> nn.Module:
    """A checkpoint of one of our networks, of either step, for images of side `image`."""
    loaded = checkpoint.load(path, network, image)
    if (loaded.variant.mean, loaded.variant.std) != (MEAN, STD):
        raise UserError(f"{path}: it normalises images otherwise than the student")
    model = Network(loaded.structure, loaded.variant)
    model.load(loaded.tensors)
    return model


def load_torchscript(path: Path) -> nn.Module:
    """A TorchScript archive, which is code and runs as such: only for files that the user trusts."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        return torch.jit.load(path, map_location="cpu")
    except Exception as error:  # damaged archives raise nearly anything
        reason = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
        raise UserError(f"{path}: not a TorchScript archive: {reason}") from None


@torch.no_grad()
def prepared(teacher: nn.Module, path: Path, *, classes: int, image: int, device: str) -> nn.Module:
    """`teacher` on `device`, ready; ValueError if it does not give `classes` logits for such images."""
    teacher = teacher.eval().to(device)
    try:
        shape = tuple(teacher(torch.zeros(2, 3, image, image, device=device)).shape)
    except Exception as error:  # foreign code
        reason = " ".join(str(error).strip().splitlines()[-1].split()) if str(error) else type(error).__name__
        raise UserError(f"{path}: it does not take images of {image}x{image}: {reason}") from None
    if shape != (2, classes):
        raise UserError(f"{path}: it gives logits of shape {shape} for two images, expected {(2, classes)}")
    return teacher
