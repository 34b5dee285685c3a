"""A float network for CIFAR that trains in minutes, and the soft labels that binary networks learn from.

Its first convolution whitens 2x2 patches and does not learn; three stages of two 3x3 convolutions follow, with
max-pool, batch norm that only shifts, and GELU. Filters begin as the identity and learn by Muon, the rest by SGD;
labels are smoothed, crops move by up to 2 pixels, flips alternate from epoch to epoch (after K. Jordan, "94% on
CIFAR-10 in 3.29 seconds on a single GPU", 2024).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from abbnn.errors import UserError
from abbnn.golden.files import replacing
from abbnn.train import binary_conv, checkpoint
from abbnn.train.data import ArrayImages, DataSet
from abbnn.train.layers import fast_bfloat16
from abbnn.train.muon import Muon
from abbnn.train.ranks import Ranks

TEACHER_FILE = "teacher.pt"
LABELS_FILE = "labels.npz"
LOG_FILE = "teacher.jsonl"

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.262)  # CIFAR's own
PATCH = 2
WHITENING_IMAGES = 5000
EVALUATION_IMAGES = 500


@dataclass(frozen=True)
class TeacherOptions:
    """The recipe. A step's `batch_size` images are taken `part` at a time; all rates fall linearly to 0."""

    epochs: int = 10
    widths: tuple[int, int, int] = (64, 256, 256)
    batch_size: int = 2000
    part: int = 250
    muon_rate: float = 0.24
    muon_momentum: float = 0.6
    bias_rate: float = 0.053
    head_rate: float = 0.67
    momentum: float = 0.85
    smoothing: float = 0.2
    shift: int = 2
    seed: int = 2023
    device: str = "cpu"


class Shift(nn.BatchNorm2d):
    """Batch norm whose scale stays 1."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight.requires_grad_(False)


def _identity_conv(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution whose first filters pass the channels on."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(conv.weight[: min(inputs, outputs)].detach())
    return conv


class Teacher(nn.Module):
    """Images uint8 (N, H, W, 3) in, logits (N, classes) out."""

    def __init__(self, classes: int, widths: tuple[int, ...] = TeacherOptions.widths) -> None:
        super().__init__()
        patch = 3 * PATCH**2
        self.whitening = nn.Conv2d(3, 2 * patch, PATCH, bias=False)
        self.whitening.weight.requires_grad_(False)
        layers: list[nn.Module] = []
        channels = 2 * patch
        for width in widths:
            layers += [_identity_conv(channels, width), nn.MaxPool2d(2), Shift(width), nn.GELU()]
            layers += [_identity_conv(width, width), Shift(width), nn.GELU()]
            channels = width
        self.stages = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes, bias=False)
        self.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def whiten(self, images: Tensor) -> None:
        """Sets the first convolution to the directions of the images' 2x2 patches, each of variance 1, and their
        opposites.
        """
        patches = functional.unfold(colours(images), PATCH).transpose(1, 2).flatten(0, 1).double()
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (vectors / torch.sqrt(values + 5e-4)).T.reshape(-1, 3, PATCH, PATCH)
        self.whitening.weight.copy_(torch.cat((filters, -filters)))

    def forward(self, images: Tensor) -> Tensor:
        x = functional.gelu(self.whitening(colours(images)))
        x = functional.adaptive_max_pool2d(self.stages(x), 1).flatten(1)
        logits: Tensor = self.head(x) / 9.0
        return logits


def colours(images: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) to normalised float32 (N, 3, H, W)."""
    mean, std = (torch.tensor(values, device=images.device) * 255.0 for values in (MEAN, STD))
    return ((images.float() - mean) / std).permute(0, 3, 1, 2)


def _optimizers(model: Teacher, options: TeacherOptions) -> list[torch.optim.Optimizer]:
    learning = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    filters = [p for _, p in learning if p.ndim == 4]
    biases = [p for _, p in learning if p.ndim == 1]
    groups = [
        {"params": biases, "lr": options.bias_rate},
        {"params": [model.head.weight], "lr": options.head_rate},
    ]
    sgd = torch.optim.SGD(groups, lr=options.bias_rate, momentum=options.momentum, nesterov=True)
    return [sgd, Muon(filters, lr=options.muon_rate, momentum=options.muon_momentum)]


def train_teacher(
    data: DataSet, out: Path, options: TeacherOptions, report: Callable[[str], None] = print
) -> dict[str, Any]:
    """Trains a teacher; writes teacher.pt, labels.npz and teacher.jsonl into `out` and returns the last record.

    Its accuracy is that of the last epoch, averaged over an image and its flip as the soft labels are.
    """
    if not isinstance(data.train, ArrayImages) or not isinstance(data.test, ArrayImages):
        raise UserError("a teacher can be trained for CIFAR only; give --teacher a file of another one")
    torch.manual_seed(options.seed)
    images = data.train.augmented(options.shift, alternate=True)
    model = Teacher(data.classes, options.widths).to(options.device)
    model.whiten(torch.from_numpy(data.train.images[:WHITENING_IMAGES]).to(options.device))
    optimizers = _optimizers(model, options)
    initial = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    trained = torch.compile(model, dynamic=False) if binary_conv.compiler() or options.device != "cpu" else model
    steps = -(-len(images.labels) // options.batch_size)
    out.mkdir(parents=True, exist_ok=True)
    log: list[dict[str, Any]] = []
    for epoch in range(options.epochs):
        start, loss_sum, right = time.perf_counter(), 0.0, 0
        model.train()
        batches = images.batches(options.batch_size, Ranks(device=options.device), (options.seed, epoch))
        with tqdm(total=len(images.labels), desc=f"teacher {epoch + 1}/{options.epochs}", unit="img") as bar:
            for index, batch in enumerate(batches):
                left = 1.0 - (epoch * steps + index) / (options.epochs * steps)
                for optimizer, rates in zip(optimizers, initial, strict=True):
                    for group, rate in zip(optimizer.param_groups, rates, strict=True):
                        group["lr"] = rate * left
                    optimizer.zero_grad(set_to_none=True)
                for part in range(0, batch.total, options.part):
                    pixels, labels = (value[part : part + options.part] for value in (batch.images, batch.labels))
                    network = trained if len(labels) == options.part else model
                    with torch.autocast(
                        torch.device(options.device).type, torch.bfloat16, enabled=fast_bfloat16(options.device)
                    ):
                        logits = network(pixels).float()
                    loss = functional.cross_entropy(logits, labels, label_smoothing=options.smoothing, reduction="sum")
                    (loss / batch.total).backward()
                    loss_sum += float(loss.detach())
                    right += int((logits.detach().argmax(1) == labels).sum())
                for optimizer in optimizers:
                    optimizer.step()
                bar.update(batch.total)
        count = len(images.labels)
        record = {"epoch": epoch + 1, "train_loss": loss_sum / count, "train_top1": 100.0 * right / count}
        record["seconds"] = time.perf_counter() - start
        log.append(record)
        if epoch + 1 == options.epochs:
            predicted = probabilities(model, data.test.images, options.device).argmax(1)
            record["test_top1"] = float(100.0 * (predicted == data.test.labels).mean())
        report(f"teacher epoch {epoch + 1}: " + ", ".join(f"{key} {value:.4g}" for key, value in record.items()))
        (out / LOG_FILE).write_text("".join(json.dumps(line) + "\n" for line in log))
    checkpoint.write_atomically(
        out / TEACHER_FILE,
        {
            "state": model.state_dict(),
            "classes": data.classes,
            "data": data.name,
            "options": asdict(options),
            "log": log,
        },
    )
    write_labels(out / LABELS_FILE, out / TEACHER_FILE, model, data.train, options.device)
    return log[-1]


@torch.inference_mode()
def probabilities(model: nn.Module, images: np.ndarray, device: str) -> np.ndarray:
    """float32 (N, classes): the softmax, averaged over an image and its flip."""
    model.eval()
    parts = []
    for start in range(0, len(images), EVALUATION_IMAGES):
        batch = torch.from_numpy(images[start : start + EVALUATION_IMAGES]).to(device)
        both = model(torch.cat((batch, batch.flip(2)))).float().softmax(1)
        parts.append((both[: len(batch)] + both[len(batch) :]).cpu().numpy() / 2.0)
    return np.concatenate(parts)


def _digest(images: ArrayImages) -> str:
    return hashlib.sha256(np.ascontiguousarray(images.images).tobytes()).hexdigest()


def write_labels(path: Path, teacher: Path, model: nn.Module, images: ArrayImages, device: str) -> None:
    """The soft labels of training images, with the sha256 of the teacher's file and of the images."""
    content = {
        "probabilities": probabilities(model, images.images, device).astype(np.float16),
        "teacher": hashlib.sha256(teacher.read_bytes()).hexdigest(),
        "images": _digest(images),
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **content)


def read_labels(path: Path, images: ArrayImages) -> tuple[Tensor, str]:
    """Soft labels float32 (N, classes) of these very images, and the sha256 of the teacher that they are of.

    ValueError, with one line that names the file, if it is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            soft, teacher, of = (file[key] for key in ("probabilities", "teacher", "images"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # damaged archives raise nearly anything
        raise UserError(f"{path}: not a file of soft labels: {' '.join(str(error).split())}") from None
    if soft.ndim != 2 or len(soft) != len(images.labels) or str(of) != _digest(images):
        raise UserError(f"{path}: it is of other training images, or of the same in another order")
    return torch.from_numpy(soft.astype(np.float32)), str(teacher)
