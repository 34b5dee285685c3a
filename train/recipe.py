"""The recipe: two steps ("Qa", then "Qaw"), Adam, adaptive gradient clipping, a rate that falls to 0."""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from abbnn.errors import UserError
from abbnn.golden.structure import Structure
from abbnn.train import checkpoint
from abbnn.train.data import DataSet, LabelledImages
from abbnn.train.model import Network
from abbnn.train.ranks import Ranks
from abbnn.train.tensors import Tensors
from abbnn.train.variant import ALPHA, STEPS, Form, Scales, Step, Variant

AGC_EPS = 1e-3  # the norm that stands in for that of an all but zero parameter
EVALUATION_VALUES = {"cpu": 2**22, "cuda": 2**26}  # of the stem's output, an evaluation batch
POSTFIX_EVERY = 20  # batches: reading the loss waits for a GPU

MODEL_FILE = "model.pt"
QA_FILE = "model_qa.pt"
RESUME_FILE = "resume.pt"
LOG_FILE = "log.jsonl"


@dataclass(frozen=True)
class TrainOptions:
    """What one run depends on. The defaults are those of the shipped `tiny`.

    A step of 0 epochs is left out. `slope` fixes all QPReLUs' slopes at 2^slope. `validation` training images are held
    out to choose each step's epoch with; with 0 it is the last. `teacher` and `init` are the sha256 of the files that a
    run distils from and starts with, empty for none.
    """

    epochs_qa: int = 32
    epochs_qaw: int = 64
    batch_size: int = 128
    rate: float = 2e-3
    weight_decay: float = 5e-6  # in step Qa only
    agc: float = 1e-3
    alpha: float = ALPHA
    scales: Scales = "pow2"
    form: Form = "code"
    slope: float | None = None
    teacher: str = ""
    init: str = ""
    validation: int = 0
    seed: int = 2023
    evaluate_every: int = 5
    bfloat16: bool = True
    device: str = "cpu"

    def epochs(self, step: Step) -> int:
        return self.epochs_qa if step == "Qa" else self.epochs_qaw

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for step in STEPS if self.epochs(step))

    def variant(self, step: Step) -> Variant:
        return Variant(step, self.alpha, self.scales, self.form)


PRESETS: dict[str, TrainOptions] = {
    "quick": TrainOptions(),
    "paper-cifar": TrainOptions(
        epochs_qa=256, epochs_qaw=256, batch_size=256, rate=1e-3, scales="free", evaluate_every=1, bfloat16=False
    ),
    "paper-imagenet": TrainOptions(
        epochs_qa=128,
        epochs_qaw=128,
        batch_size=256,
        rate=1e-3,
        agc=2e-2,
        scales="free",
        evaluate_every=1,
        bfloat16=False,
    ),
}
DISTILLING_PRESETS = ("paper-imagenet",)


@dataclass
class Position:
    """Where a run stands: `epoch` epochs of `step` are done; `log` holds one record for each epoch so far.

    `best` is the record of the step's epoch that knows most held-out images, where there are any.
    """

    step: Step
    epoch: int
    log: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None


def normalise(
    images: Tensor, variant: Variant, *, light: Tensor | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """uint8 (N, H, W, 3) to (N, 3, H, W), channels_last; `light` (N, 3) is added to pixels from 0 to 1."""
    std = torch.tensor(variant.std, device=images.device, dtype=dtype)
    offset = torch.tensor(variant.mean, device=images.device, dtype=dtype) / std
    if light is not None:
        offset = offset - (light / std)[:, None, None, :]
    return images.to(dtype).mul_(1.0 / (255.0 * std)).sub_(offset).permute(0, 3, 1, 2)


def unitwise_norm(x: Tensor) -> Tensor:
    """The norm of each output unit of (out, in, k, k) or (out, in), or of a vector as a whole; broadcastable to x."""
    if x.ndim <= 1:
        return torch.sqrt((x * x).sum())
    return torch.sqrt((x * x).sum(dim=tuple(range(1, x.ndim)), keepdim=True))


@torch.no_grad()
def clip_gradients(parameters: Iterable[tuple[str, nn.Parameter]], limit: float) -> None:
    """Adaptive gradient clipping (Brock et al., 2021): unit by unit, |gradient| <= limit * max(|parameter|, 1e-3).

    A gain is a factor of one filter, so each is a unit; of the other vectors, each is one as a whole.
    """
    for name, parameter in parameters:
        if parameter.grad is None:
            continue
        norm_of = torch.abs if name.endswith(".gain") else unitwise_norm
        largest = norm_of(parameter).clamp_min_(AGC_EPS).mul_(limit)
        norm = norm_of(parameter.grad).clamp_min_(1e-6)
        parameter.grad.mul_((largest / norm).clamp_max_(1.0))


def make_optimizer(model: nn.Module, step: Step, options: TrainOptions) -> torch.optim.Adam:
    """Adam; only step Qa decays weights, and only those of convolutions."""
    convolutions: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (convolutions if parameter.ndim == 4 else others).append(parameter)
    groups = [
        {"params": convolutions, "weight_decay": options.weight_decay if step == "Qa" else 0.0},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.Adam(groups, lr=options.rate, fused=True)


def summed_loss(logits: Tensor, labels: Tensor, teacher_logits: Tensor | None) -> Tensor:
    """Cross-entropy with the labels or, with a teacher, with its softmax (Eq. 3), summed over the images."""
    target = labels if teacher_logits is None else functional.softmax(teacher_logits.float(), dim=1)
    return functional.cross_entropy(logits, target, reduction="sum")


def evaluation_batch(structure: Structure, device: str) -> int:
    """Images a batch, so that memory stays bounded whatever the network."""
    height, width = structure.stem_conv_output
    values = EVALUATION_VALUES[torch.device(device).type]
    return max(1, values // (height * width * structure.stem.out_channels))


@torch.inference_mode()
def predict(model: Network, images: NDArray[np.uint8], device: str = "cpu") -> NDArray[np.float32]:
    """Logits (N, classes) of images (N, H, W, 3) uint8, as `Network.for_evaluation` computes them."""
    evaluated = model.for_evaluation().to(device)
    size = evaluation_batch(model.structure, device)
    logits = np.empty((len(images), model.structure.classes), np.float32)
    with tqdm(total=len(images), unit="img", disable=None) as bar:
        for start in range(0, len(images), size):
            batch = torch.from_numpy(images[start : start + size]).to(device)
            x = normalise(batch, model.variant, dtype=torch.float64)
            logits[start : start + size] = evaluated(x).float().cpu().numpy()
            bar.update(len(batch))
    return logits


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Top-1 in percent."""
    return float(100.0 * (logits.argmax(axis=1) == labels).mean())


@torch.inference_mode()
def top1(model: Network, data: LabelledImages, ranks: Ranks) -> float:
    """Top-1 (%) of `predict`'s arithmetic on `data`; the processes share the work."""
    evaluated = model.for_evaluation()
    right = torch.zeros((), dtype=torch.int64, device=ranks.device)
    size = evaluation_batch(model.structure, ranks.device) * ranks.world
    for batch in data.batches(size, ranks):
        if len(batch.labels):
            x = normalise(batch.images, model.variant, dtype=torch.float64)
            right += (evaluated(x).argmax(1) == batch.labels).sum()
    return 100.0 * int(ranks.total(right)) / len(data.labels)


def hold_out(data: LabelledImages, count: int, seed: int) -> tuple[LabelledImages, LabelledImages | None]:
    """`data` without `count` images that `seed` draws, and those."""
    if not count:
        return data, None
    if count >= len(data.labels):
        raise UserError(f"{count} images held out leave nothing of {len(data.labels)} to train on")
    order = np.random.default_rng((seed, len(STEPS))).permutation(len(data.labels))
    return data.subset(np.sort(order[count:])), data.subset(np.sort(order[:count]))


def train(
    structure: Structure,
    data: DataSet,
    out: Path,
    options: TrainOptions,
    *,
    resume: bool = False,
    init: Tensors | None = None,
    teacher: nn.Module | None = None,
    ranks: Ranks | None = None,
    report: Callable[[str], None] = print,
    stop_after: int | None = None,
) -> dict[str, Any] | None:
    """Both steps; writes model.pt, resume.pt and log.jsonl into `out`, and returns the metadata of model.pt.

    Where another step follows, step Qa's result goes to model_qa.pt. `init` holds canonical tensors to start from,
    `teacher` takes the same normalised images and gives logits. With `resume` the run continues from resume.pt, bit for
    bit as if it had not stopped. After `stop_after` epochs it stops as an interrupted run would, and returns None.
    Raises ValueError if resume.pt does not fit.
    """
    run = Run(structure, data, out, options, teacher, ranks or Ranks(device=options.device), report)
    run.start(init, resume)
    return run.finish(stop_after)


class Run:
    """The state of one `train`: the model, its optimizer, and where it stands."""

    def __init__(
        self,
        structure: Structure,
        data: DataSet,
        out: Path,
        options: TrainOptions,
        teacher: nn.Module | None,
        ranks: Ranks,
        report: Callable[[str], None],
    ) -> None:
        self.structure = structure
        self.data = data
        self.images, self.held_out = hold_out(data.train, options.validation, options.seed)
        self.out = out
        self.options = options
        self.teacher = teacher
        self.ranks = ranks
        self.report = report if ranks.first else lambda line: None
        self.position = Position(options.steps[0], 0)
        self.best_state: dict[str, Tensor] | None = None

    def start(self, init: Tensors | None, resume: bool) -> None:
        """The model and its optimizer as they are before the first epoch to come; then `out` and its log."""
        path = self.out / RESUME_FILE
        saved = _read_resume(path, self.structure, self.options) if resume else None
        if saved is not None:
            self.position = Position(saved["step"], saved["epoch"], list(saved["log"]), saved["best"])
        self._prepare(init)
        if saved is not None:
            try:
                self.model.load_state_dict(saved["state"])
                self.optimizer.load_state_dict(saved["optimizer"])
                if saved["best_state"] is not None:
                    self.best_state = {name: value.to(self.ranks.device) for name, value in saved["best_state"].items()}
                    copy.deepcopy(self.model).load_state_dict(self.best_state)
            except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(f"{path}: not a file to resume from: {_first_line(error)}") from None
        if self.ranks.first:
            self.out.mkdir(parents=True, exist_ok=True)
            self._write_log()
        self.report(f"{self.structure.name}: seed {self.options.seed}, {self.options}")

    def _prepare(self, tensors: Mapping[str, NDArray[Any]] | None) -> None:
        """The position's model, with these tensors or the seed's initial weights, and its optimizer."""
        torch.manual_seed(self.options.seed)
        self.model = Network(self.structure, self.options.variant(self.position.step))
        if tensors is not None:
            self.model.load(tensors)
        if self.options.slope is not None:
            self.model.fix_slopes(self.options.slope)
        if self.options.bfloat16:
            self.model.train_in_bfloat16()
        self.model.to(self.ranks.device)
        self.optimizer = make_optimizer(self.model, self.position.step, self.options)
        self.trained: nn.Module = self.model
        if self.ranks.world > 1:
            device_ids = None if self.ranks.device == "cpu" else [self.ranks.device]
            self.trained = DistributedDataParallel(self.model, device_ids=device_ids)

    def finish(self, stop_after: int | None) -> dict[str, Any] | None:
        """The epochs that are left, and the files of each step's result."""
        position, done = self.position, 0
        while True:
            while position.epoch < self.options.epochs(position.step):
                if done == stop_after:
                    return None
                record = self._run_epoch()
                done += 1
                if self.ranks.first:
                    self._write_resume()
                    self._write_log()
                self.report(_describe(record))
            metadata = self._close_step()
            if position.step == self.options.steps[-1]:
                return metadata
            tensors = self.model.tensors()
            position.step, position.epoch, position.best, self.best_state = self.options.steps[-1], 0, None, None
            self._prepare(tensors)

    def _close_step(self) -> dict[str, Any]:
        """Writes the step's result, and leaves it in `model`."""
        position, options = self.position, self.options
        if self.best_state is not None:
            self.model.load_state_dict(self.best_state)
        record = position.best or position.log[-1]
        chosen = f"best of {options.validation} held-out training images" if position.best else "last epoch"
        metadata = self.model.variant.to_dict() | {
            "data": self.data.name,
            "seed": options.seed,
            "epochs": {step: options.epochs(step) for step in STEPS},
            "chosen": chosen,
            "epoch": record["epoch"],
            "test_top1": record["test_top1"],
            "options": asdict(options),
        }
        if self.ranks.first:
            # The gains settle in a copy: training goes on with those that it has.
            result = copy.deepcopy(self.model)
            result.settle_gains()
            name = MODEL_FILE if position.step == options.steps[-1] else QA_FILE
            checkpoint.save(self.out / name, result.tensors(), self.structure, metadata)
        return metadata

    def _run_epoch(self) -> dict[str, Any]:
        """One epoch, and the test images when it is their turn; moves the position on and returns the new record."""
        position, options = self.position, self.options
        epochs = options.epochs(position.step)
        rate = options.rate * (1.0 - position.epoch / epochs)
        record: dict[str, Any] = {"step": position.step, "epoch": position.epoch + 1, "rate": rate}
        record |= self._train_epoch(f"{position.step} {position.epoch + 1}/{epochs}")
        position.epoch += 1
        measured = position.epoch == epochs or position.epoch % options.evaluate_every == 0
        record["test_top1"] = top1(self.model, self.data.test, self.ranks) if measured else None
        if self.held_out is not None:
            record["validation_top1"] = top1(self.model, self.held_out, self.ranks) if measured else None
            if measured and (position.best is None or record["validation_top1"] > position.best["validation_top1"]):
                position.best = record
                self.best_state = {name: value.clone() for name, value in self.model.state_dict().items()}
        position.log.append(record)
        return record

    def _train_epoch(self, description: str) -> dict[str, float]:
        """One pass over the training images; the mean loss, the top-1 (%) and the seconds it took."""
        position, options, device = self.position, self.options, self.ranks.device
        self.trained.train()
        clipped = [(name, p) for name, p in self.model.named_parameters() if not name.startswith("head.")]
        batches = -(-len(self.images.labels) // options.batch_size)
        total, iteration = options.epochs(position.step) * batches, position.epoch * batches
        # Summed over this process's images: the loss, how many are right, how many there were.
        sums = torch.zeros(3, dtype=torch.float64, device=device)
        start = time.perf_counter()
        with self._bar(description) as bar:
            for index, batch in enumerate(self._batches()):
                for group in self.optimizer.param_groups:
                    group["lr"] = options.rate * (1.0 - (iteration + index) / total)
                x = normalise(batch.images, self.model.variant, light=batch.light)
                logits = self.trained(x)
                loss = summed_loss(logits, batch.labels, self._teach(x))
                self.optimizer.zero_grad(set_to_none=True)
                # DistributedDataParallel averages over the processes what is to be the mean over the whole batch.
                loss.mul(self.ranks.world / batch.total).backward()
                clip_gradients(clipped, options.agc)
                self.optimizer.step()
                right = (logits.detach().argmax(1) == batch.labels).sum()
                sums += torch.stack((loss.detach(), right, torch.full_like(right, len(batch.labels)))).double()
                if index % POSTFIX_EVERY == 0:
                    seen = float(sums[2]) or 1.0
                    text = {"loss": f"{float(sums[0]) / seen:.3f}", "top1": f"{100 * float(sums[1]) / seen:.1f}%"}
                    bar.set_postfix(text, refresh=False)
                bar.update(batch.total)
        loss_sum, correct, seen = self.ranks.total(sums).tolist()
        if not np.isfinite(loss_sum):
            raise UserError(f"{description}: the loss is not finite")
        seconds = time.perf_counter() - start
        return {"train_loss": loss_sum / seen, "train_top1": 100 * correct / seen, "seconds": seconds}

    def _batches(self) -> Iterator[Any]:
        seed = (self.options.seed, STEPS.index(self.position.step), self.position.epoch)
        return self.images.batches(self.options.batch_size, self.ranks, seed)

    @torch.no_grad()
    def _teach(self, x: Tensor) -> Tensor | None:
        return None if self.teacher is None else self.teacher(x)

    def _bar(self, description: str) -> Any:
        every = 0.5 if sys.stderr.isatty() else 30.0  # a log file needs no line a second
        return tqdm(
            total=len(self.images.labels),
            desc=description,
            unit="img",
            unit_scale=True,
            mininterval=every,
            disable=not self.ranks.first,
        )

    def _write_resume(self) -> None:
        content = {
            "state": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_state": self.best_state,
            "structure": self.structure.to_dict(),
            "options": asdict(self.options),
            **asdict(self.position),
        }
        checkpoint.write_atomically(self.out / RESUME_FILE, content)

    def _write_log(self) -> None:
        text = "".join(json.dumps(record) + "\n" for record in self.position.log)
        (self.out / LOG_FILE).write_text(text)


def _describe(record: dict[str, Any]) -> str:
    measured = "".join(
        f", {name} top-1 {record[f'{name}_top1']:.2f}%"
        for name in ("validation", "test")
        if record.get(f"{name}_top1") is not None
    )
    return (
        f"{record['step']} epoch {record['epoch']}: loss {record['train_loss']:.4f}, "
        f"train top-1 {record['train_top1']:.2f}%{measured}, {record['seconds']:.0f} s"
    )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n")[0].split()) or type(error).__name__


def _read_resume(path: Path, structure: Structure, options: TrainOptions) -> dict[str, Any]:
    content = checkpoint.load_file(path)
    wanted = {"state", "optimizer", "best_state", "structure", "options", "step", "epoch", "log", "best"}
    if (
        not isinstance(content, dict)
        or set(content) != wanted
        or content["step"] not in STEPS
        or not isinstance(content["epoch"], int)
        or not isinstance(content["log"], list)
        or not isinstance(content["options"], dict)
        or not isinstance(content["best"], dict | None)
    ):
        raise UserError(f"{path}: not a file to resume from")
    if content["structure"] != structure.to_dict():
        raise UserError(f"{path}: it is of another network")
    for name, value in asdict(options).items():
        if content["options"].get(name) != value:
            raise UserError(f"{path}: it ran with {name} {content['options'].get(name)}, not {value}")
    return content
