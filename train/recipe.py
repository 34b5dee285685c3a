"""The CIFAR recipe: two steps ("Qa", then "Qaw"), Adam, adaptive gradient clipping, a rate that falls to 0."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm  # type: ignore[import-untyped]

from golden.structure import Structure
from train import checkpoint
from train.data import MEAN, STD, Cifar, Images, augmented_batches
from train.layers import Scales
from train.model import ALPHA, STEPS, ReActNet, Step

AGC_EPS = 1e-3  # the norm that stands in for that of an all but zero parameter
EVALUATION_BATCH = 500

MODEL_FILE = "model.pt"
RESUME_FILE = "resume.pt"
LOG_FILE = "log.jsonl"


@dataclass(frozen=True)
class TrainOptions:
    """What one run depends on. The defaults are those of the shipped `tiny`."""

    epochs_qa: int = 32
    epochs_qaw: int = 64
    batch_size: int = 128
    rate: float = 2e-3
    weight_decay: float = 5e-6  # in step Qa only
    agc: float = 1e-3
    alpha: float = ALPHA
    scales: Scales = "pow2"
    seed: int = 2023
    evaluate_every: int = 5
    bfloat16: bool = True
    device: str = "cpu"

    def epochs(self, step: Step) -> int:
        return self.epochs_qa if step == "Qa" else self.epochs_qaw


@dataclass
class Position:
    """Where a run stands: `epoch` epochs of `step` are done; `log` holds one record for each epoch so far."""

    step: Step
    epoch: int
    log: list[dict[str, Any]] = field(default_factory=list)


def in_channels_last(model: nn.Module) -> None:
    """Lays the filters out as the maps are: (out, k, k, in) in memory."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def normalise(images: Images, device: str = "cpu") -> Tensor:
    """uint8 (N, H, W, 3) to float32 (N, 3, H, W), channels_last, with the constants of the official CIFAR code."""
    std = torch.tensor(STD, device=device)
    mean = torch.tensor(MEAN, device=device)
    x = torch.from_numpy(images).to(device).float()
    return (x.mul_(1.0 / (255.0 * std)).sub_(mean / std)).permute(0, 3, 1, 2)


def unitwise_norm(x: Tensor) -> Tensor:
    """The norm of each output unit of (out, in, k, k) or (out, in), or of a vector as a whole; broadcastable to x."""
    if x.ndim <= 1:
        return torch.sqrt((x * x).sum())
    return torch.sqrt((x * x).sum(dim=tuple(range(1, x.ndim)), keepdim=True))


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> None:
    """Adaptive gradient clipping (Brock et al., 2021): unit by unit, |gradient| <= limit * max(|parameter|, 1e-3)."""
    for parameter in parameters:
        if parameter.grad is None:
            continue
        largest = unitwise_norm(parameter).clamp_min_(AGC_EPS).mul_(limit)
        norm = unitwise_norm(parameter.grad).clamp_min_(1e-6)
        parameter.grad.mul_((largest / norm).clamp_max_(1.0))


def make_optimizer(model: nn.Module, step: Step, options: TrainOptions) -> torch.optim.Adam:
    """Adam; only step Qa decays weights, and only those of convolutions."""
    convolutions: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_convolution = parameter.ndim == 4 and name.endswith(".weight")
        (convolutions if is_convolution else others).append(parameter)
    groups = [
        {"params": convolutions, "weight_decay": options.weight_decay if step == "Qa" else 0.0},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.Adam(groups, lr=options.rate, fused=True)


@torch.no_grad()
def predict(model: nn.Module, images: Images, device: str = "cpu") -> NDArray[np.float32]:
    """Logits (N, classes) of images (N, H, W, 3) uint8, in evaluation mode."""
    model.eval()
    batches = range(0, len(images), EVALUATION_BATCH)
    logits = [model(normalise(images[start : start + EVALUATION_BATCH], device)).cpu() for start in batches]
    return torch.cat(logits).numpy().astype(np.float32, copy=False)


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Top-1 in percent."""
    return float(100.0 * (logits.argmax(axis=1) == labels).mean())


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Cifar,
    position: Position,
    options: TrainOptions,
    description: str,
) -> dict[str, float]:
    """One pass over the training images; returns the mean loss, the top-1 (%) and the seconds it took."""
    model.train()
    clipped = [parameter for name, parameter in model.named_parameters() if not name.startswith("fc.")]
    batches = -(-len(data.labels) // options.batch_size)
    total, iteration = options.epochs(position.step) * batches, position.epoch * batches
    seed = (options.seed, STEPS.index(position.step), position.epoch)
    loss_sum, correct, seen, start = 0.0, 0, 0, time.perf_counter()
    every = 0.5 if sys.stderr.isatty() else 30.0  # a log file needs no line a second
    with tqdm(total=len(data.labels), desc=description, unit="img", unit_scale=True, mininterval=every) as bar:
        for images, labels in augmented_batches(data, options.batch_size, seed):
            for group in optimizer.param_groups:
                group["lr"] = options.rate * (1.0 - iteration / total)
            target = torch.from_numpy(labels).to(options.device)
            logits = model(normalise(images, options.device))
            loss = functional.cross_entropy(logits, target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            clip_gradients(clipped, options.agc)
            optimizer.step()
            iteration += 1
            seen += len(labels)
            loss_sum += float(loss.detach()) * len(labels)
            correct += int((logits.detach().argmax(1) == target).sum())
            bar.set_postfix(loss=f"{loss_sum / seen:.3f}", top1=f"{100 * correct / seen:.1f}%", refresh=False)
            bar.update(len(labels))
    if not np.isfinite(loss_sum):
        raise ValueError(f"{description}: the loss is not finite")
    seconds = time.perf_counter() - start
    return {"train_loss": loss_sum / seen, "train_top1": 100 * correct / seen, "seconds": seconds}


def metadata_of(structure: Structure, position: Position, options: TrainOptions) -> dict[str, Any]:
    """What a checkpoint says about itself; `test_top1` is that of the last epoch, None if it was not measured."""
    return {
        "structure": structure.to_dict(),
        "step": position.step,
        "alpha": options.alpha,
        "scales": options.scales,
        "mean": list(MEAN),
        "std": list(STD),
        "seed": options.seed,
        "epochs": {"Qa": options.epochs_qa, "Qaw": options.epochs_qaw},
        "test_top1": position.log[-1]["test_top1"] if position.log else None,
        "options": asdict(options),
    }


def train(
    structure: Structure,
    train_data: Cifar,
    test_data: Cifar,
    out: Path,
    options: TrainOptions,
    *,
    resume: bool = False,
    report: Callable[[str], None] = print,
    stop_after: int | None = None,
) -> dict[str, Any] | None:
    """Both steps; writes model.pt, resume.pt and log.jsonl into `out`, and returns the metadata of model.pt.

    With `resume` it continues from resume.pt, bit for bit as if it had not stopped. After `stop_after` epochs it stops
    as an interrupted run would, and returns None. Raises ValueError if resume.pt does not fit.
    """
    saved = _read_resume(out / RESUME_FILE, structure, options) if resume else None
    position = Position(STEPS[0], 0) if saved is None else Position(saved["step"], saved["epoch"], list(saved["log"]))
    model, optimizer = _prepare(structure, position.step, options)
    if saved is not None:
        try:
            model.load_state_dict(saved["state"])
            optimizer.load_state_dict(saved["optimizer"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{out / RESUME_FILE}: not a file to resume from: {_first_line(error)}") from None

    out.mkdir(parents=True, exist_ok=True)
    _write_log(out / LOG_FILE, position.log)
    report(f"{structure.name}: seed {options.seed}, {options}")
    done = 0
    while True:
        while position.epoch < options.epochs(position.step):
            if done == stop_after:
                return None
            record = _run_epoch(model, optimizer, train_data, test_data, position, options)
            done += 1
            content = {
                "state": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "structure": structure.to_dict(),
            }
            content |= {"options": asdict(options), **asdict(position)}
            checkpoint.write_atomically(out / RESUME_FILE, content)
            _write_log(out / LOG_FILE, position.log)
            report(_describe(record))
        if position.step == STEPS[-1]:
            break
        position.step, position.epoch = STEPS[STEPS.index(position.step) + 1], 0
        state = model.state_dict()
        model, optimizer = _prepare(structure, position.step, options)
        model.load_state_dict(state)
    model.settle_gains()
    metadata = metadata_of(structure, position, options)
    checkpoint.save(out / MODEL_FILE, model, metadata)
    return metadata


def _prepare(structure: Structure, step: Step, options: TrainOptions) -> tuple[ReActNet, torch.optim.Adam]:
    """A model with the seed's initial weights, and its optimizer."""
    torch.manual_seed(options.seed)
    model = ReActNet(structure, step=step, alpha=options.alpha, scales=options.scales)
    model.to(device=options.device)
    in_channels_last(model)
    if options.bfloat16:
        model.train_in_bfloat16()
    return model, make_optimizer(model, step, options)


def _run_epoch(
    model: ReActNet,
    optimizer: torch.optim.Adam,
    train_data: Cifar,
    test_data: Cifar,
    position: Position,
    options: TrainOptions,
) -> dict[str, Any]:
    """One epoch, and the test images when it is their turn; moves `position` on and returns the new record."""
    epochs = options.epochs(position.step)
    rate = options.rate * (1.0 - position.epoch / epochs)
    name = f"{position.step} {position.epoch + 1}/{epochs}"
    record: dict[str, Any] = {"step": position.step, "epoch": position.epoch + 1, "rate": rate}
    record |= train_epoch(model, optimizer, train_data, position, options, name)
    position.epoch += 1
    record["test_top1"] = None
    if position.epoch == epochs or position.epoch % options.evaluate_every == 0:
        record["test_top1"] = accuracy(predict(model, test_data.images, options.device), test_data.labels)
    position.log.append(record)
    return record


def _describe(record: dict[str, Any]) -> str:
    test = "" if record["test_top1"] is None else f", test top-1 {record['test_top1']:.2f}%"
    return (
        f"{record['step']} epoch {record['epoch']}: loss {record['train_loss']:.4f}, "
        f"train top-1 {record['train_top1']:.2f}%{test}, {record['seconds']:.0f} s"
    )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n")[0].split()) or type(error).__name__


def _write_log(path: Path, log: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in log))


def _read_resume(path: Path, structure: Structure, options: TrainOptions) -> dict[str, Any]:
    content = checkpoint.load_file(path)
    wanted = {"state", "optimizer", "step", "epoch", "log", "structure", "options"}
    if (
        not isinstance(content, dict)
        or set(content) != wanted
        or content["step"] not in STEPS
        or not isinstance(content["epoch"], int)
        or not isinstance(content["log"], list)
        or not isinstance(content["options"], dict)
    ):
        raise ValueError(f"{path}: not a file to resume from")
    if content["structure"] != structure.to_dict():
        raise ValueError(f"{path}: it is of another network")
    for name, value in asdict(options).items():
        if content["options"].get(name) != value:
            raise ValueError(f"{path}: it ran with {name} {content['options'].get(name)}, not {value}")
    return content
