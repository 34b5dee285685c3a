"""A float network for CIFAR that trains in minutes, and the soft labels that binary networks learn from.

Its first convolution whitens 2x2 patches and does not learn; three stages of two 3x3 convolutions follow, with
max-pool, batch norm that only shifts, and GELU. Filters begin as the identity and learn by Muon, the rest by SGD;
labels are smoothed, crops move by up to 2 pixels, flips alternate from epoch to epoch (after K. Jordan, "94% on
CIFAR-10 in 3.29 seconds on a single GPU", 2024).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from abbnn.errors import UserError
from abbnn.golden.files import readable, replacing
from abbnn.train import binary_conv
from abbnn.train.data import ArrayImages, Batch, DataSet
from abbnn.train.layers import fast_bfloat16
from abbnn.train.muon import Muon
from abbnn.train.ranks import Ranks
from abbnn.train.resume import RESUME_EVERY, Stop, read_state, restoring, same_options, write_log, write_state

TEACHER_FILE = "teacher.pt"
LABELS_FILE = "labels.npz"
LOG_FILE = "teacher.jsonl"
RESUME_FILE = "teacher_resume.pt"

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
    data: DataSet,
    out: Path,
    options: TeacherOptions,
    *,
    resume: bool = False,
    report: Callable[[str], None] = print,
    copies: Sequence[Path] = (),
) -> dict[str, Any]:
    """Trains a teacher; writes its files into `out` (and `copies`), and returns the last record of its log.

    Its accuracy is that of the last epoch, averaged over an image and its flip as the soft labels are. With `resume`
    the run continues from teacher_resume.pt, bit for bit as if it had not stopped.
    """
    if not isinstance(data.train, ArrayImages) or not isinstance(data.test, ArrayImages):
        raise UserError("a teacher can be trained for CIFAR only; give --teacher a file of another one")
    run = _Run(data, data.train.augmented(options.shift, alternate=True), (out, *copies), options)
    if resume:
        run.resume()
    while run.epoch < options.epochs:
        record = run.train_epoch()
        if run.epoch + 1 == options.epochs:
            predicted = probabilities(run.model, data.test.images, options.device).argmax(1)
            record["test_top1"] = float(100.0 * (predicted == data.test.labels).mean())
        run.end_epoch(record)
        report(f"teacher epoch {run.epoch}: " + ", ".join(f"{key} {value:.4g}" for key, value in record.items()))
    content = {
        "state": run.model.state_dict(),
        "classes": data.classes,
        "data": data.name,
        "options": asdict(options),
        "log": run.log,
    }
    write_state(run.folders, TEACHER_FILE, content)
    write_labels(run.folders, run.model, data.train, options.device)
    return run.log[-1]


class _Run:
    """The state of one `train_teacher`: the model, its optimizers, and where it stands.

    `epoch` epochs and `batch` batches of the next one are done; `sums` are the loss, how many images were right and the
    seconds in those batches.
    """

    def __init__(self, data: DataSet, images: ArrayImages, folders: Sequence[Path], options: TeacherOptions) -> None:
        torch.manual_seed(options.seed)
        self.images = images
        self.folders = folders
        self.options = options
        self.model = Teacher(data.classes, options.widths).to(options.device)
        self.model.whiten(torch.from_numpy(images.images[:WHITENING_IMAGES]).to(options.device))
        self.optimizers = _optimizers(self.model, options)
        self.rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        compiled = binary_conv.compiler() or options.device != "cpu"
        self.trained = torch.compile(self.model, dynamic=False) if compiled else self.model
        self.steps = -(-len(images.labels) // options.batch_size)
        self.epoch = self.batch = 0
        self.sums = [0.0] * 3
        self.log: list[dict[str, Any]] = []
        self.digest = _digest(images)
        self.stop = Stop()

    def resume(self) -> None:
        path = self.folders[0] / RESUME_FILE
        content = read_state(path, STATE)
        if content["images"] != self.digest:
            raise UserError(f"{path}: it learned other training images")
        if set(content["options"]) != set(asdict(self.options)):
            raise UserError(f"{path}: not a file to resume from")
        same_options(path, content["options"], asdict(self.options), ("device",))
        with restoring(path):
            self.model.load_state_dict(content["state"])
            for optimizer, state in zip(self.optimizers, content["optimizers"], strict=True):
                optimizer.load_state_dict(state)
        self.epoch, self.batch, self.sums, self.log = (content[key] for key in ("epoch", "batch", "sums", "log"))

    def _write(self) -> None:
        content = {
            "state": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "options": asdict(self.options),
            "images": self.digest,
            "epoch": self.epoch,
            "batch": self.batch,
            "sums": self.sums,
            "log": self.log,
        }
        write_state(self.folders, RESUME_FILE, content)

    def train_epoch(self) -> dict[str, Any]:
        """One pass over the images from `batch` on; its record."""
        options, count = self.options, len(self.images.labels)
        self.model.train()
        batches = self.images.batches(
            options.batch_size, Ranks(device=options.device), (options.seed, self.epoch), first=self.batch
        )
        bar = tqdm(
            total=count,
            initial=self.batch * options.batch_size,
            desc=f"teacher {self.epoch + 1}/{options.epochs}",
            unit="img",
        )
        written = start = time.perf_counter()
        before = self.sums[2]
        with bar, self.stop.listening():
            for batch in batches:
                self._train_batch(batch)
                self.batch += 1
                bar.update(batch.total)
                now = time.perf_counter()
                self.sums[2] = before + now - start
                if now - written > RESUME_EVERY or self.stop.signum is not None or self.batch == self.steps:
                    self._write()
                    self.stop.check()
                    written = now
        loss, right, seconds = self.sums
        return {
            "epoch": self.epoch + 1,
            "train_loss": loss / count,
            "train_top1": 100.0 * right / count,
            "seconds": seconds,
        }

    def end_epoch(self, record: dict[str, Any]) -> None:
        self.log.append(record)
        self.epoch, self.batch, self.sums = self.epoch + 1, 0, [0.0] * 3
        self._write()
        write_log(self.folders, LOG_FILE, self.log)

    def _train_batch(self, batch: Batch) -> None:
        options = self.options
        left = 1.0 - (self.epoch * self.steps + self.batch) / (options.epochs * self.steps)
        for optimizer, rates in zip(self.optimizers, self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * left
            optimizer.zero_grad(set_to_none=True)
        for part in range(0, batch.total, options.part):
            pixels, labels = (value[part : part + options.part] for value in (batch.images, batch.labels))
            network = self.trained if len(labels) == options.part else self.model
            with torch.autocast(
                torch.device(options.device).type, torch.bfloat16, enabled=fast_bfloat16(options.device)
            ):
                logits = network(pixels).float()
            loss = functional.cross_entropy(logits, labels, label_smoothing=options.smoothing, reduction="sum")
            (loss / batch.total).backward()
            self.sums[0] += float(loss.detach())
            self.sums[1] += int((logits.detach().argmax(1) == labels).sum())
        for optimizer in self.optimizers:
            optimizer.step()


STATE = {
    "state": dict,
    "optimizers": list,
    "options": dict,
    "images": str,
    "epoch": int,
    "batch": int,
    "sums": list,
    "log": list,
}
"""What teacher_resume.pt holds."""


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


def write_labels(folders: Sequence[Path], model: nn.Module, images: ArrayImages, device: str) -> None:
    """The soft labels of training images, with the sha256 of the folder's teacher.pt and of the images."""
    content = {
        "probabilities": probabilities(model, images.images, device).astype(np.float16),
        "teacher": hashlib.sha256((folders[0] / TEACHER_FILE).read_bytes()).hexdigest(),
        "images": _digest(images),
    }
    for folder in folders:
        with replacing(folder / LABELS_FILE) as temporary, temporary.open("wb") as file:
            np.savez(file, **content)


def read_labels(path: Path, images: ArrayImages) -> tuple[Tensor, str]:
    """Soft labels float32 (N, classes) of these very images, and the sha256 of the teacher that they are of.

    ValueError, with one line that names the file, if it is something else.
    """
    with readable(path, "file of soft labels"), np.load(path, allow_pickle=False) as file:
        soft, teacher, of = (file[key] for key in ("probabilities", "teacher", "images"))
    if soft.ndim != 2 or len(soft) != len(images.labels) or str(of) != _digest(images):
        raise UserError(f"{path}: it is of other training images, or of the same in another order")
    return torch.from_numpy(soft.astype(np.float32)), str(teacher)
