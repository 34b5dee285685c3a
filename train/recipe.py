"""The recipe: two steps ("Qa", then "Qaw"), Adam and Muon, adaptive gradient clipping, rates that fall to 0."""

from __future__ import annotations

import copy
import math
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from abbnn.errors import UserError
from abbnn.golden.structure import Structure
from abbnn.train import binary_conv, checkpoint
from abbnn.train.data import Batch, DataSet, LabelledImages
from abbnn.train.layers import fast_bfloat16
from abbnn.train.model import Network
from abbnn.train.muon import Muon
from abbnn.train.ranks import Ranks
from abbnn.train.resume import RESUME_EVERY, Stop, read_state, restoring, same_options, write_log, write_state
from abbnn.train.tensors import Tensors
from abbnn.train.variant import ALPHA, STEPS, Form, Scales, Step, Variant

AGC_EPS = 1e-3  # the norm that stands in for that of an all but zero parameter
EVALUATION_VALUES = {"cpu": 2**22, "cuda": 2**26}  # of the stem's output, an evaluation batch
POSTFIX_EVERY = 20  # batches: reading the loss waits for a GPU

MODEL_FILE = "model.pt"
QA_FILE = "model_qa.pt"
RESUME_FILE = "resume.pt"
CONSTANT_FILE = "constant.pt"
LOG_FILE = "log.jsonl"

Optimizer = Literal["adam", "muon"]
Fall = Literal["linear", "cosine"]
Flips = Literal["random", "alternate"]


@dataclass(frozen=True)
class TrainOptions:
    """What one run depends on. The defaults are the recipe of the shipped `tiny` and `small`.

    A step of 0 epochs is left out. `slope` fixes all QPReLUs' slopes at 2^slope. `validation` training images are held
    out to choose each step's epoch with; with 0 it is the last. `teacher` and `init` are the sha256 of the files that a
    run distils from and starts with, empty for none.
    """

    epochs_qa: int = 32
    epochs_qaw: int = 64
    batch_size: int = 128
    rate: float = 2e-3
    optimizer: Optimizer = "adam"
    muon_rate: float = 0.05
    cooldown: float = 1.0
    fall: Fall = "linear"
    shift: int = 4
    flips: Flips = "random"
    sides: str = ""
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
    byte_gradients: bool = False
    compile: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        for key, choices in (("optimizer", Optimizer), ("fall", Fall), ("flips", Flips)):
            if getattr(self, key) not in get_args(choices):
                raise UserError(f"{key} is {getattr(self, key)!r}; there are {' and '.join(get_args(choices))}")
        if not 0.0 < self.cooldown <= 1.0:
            raise UserError(f"cooldown {self.cooldown} is not a share of the epochs")
        self.side(0)

    def side(self, epoch: int) -> int | None:
        """What images are shrunk to in an epoch, from 0; None for their own size."""
        for entry in filter(None, self.sides.split(",")):
            side, _, epochs = entry.partition("x")
            if not (side.isdecimal() and epochs.isdecimal()) or int(side) < 1:
                raise UserError(f"sides {self.sides!r}: {entry!r} is no SIDExEPOCHS")
            epoch -= int(epochs)
            if epoch < 0:
                return int(side)
        return None

    def constant_epochs(self, step: Step) -> int:
        """Epochs before the rates begin to fall."""
        return self.epochs(step) - max(1, round(self.cooldown * self.epochs(step)))

    def rate_factor(self, step: Step, epochs: float) -> float:
        """What the rates are multiplied with after so many epochs of a step."""
        constant = self.constant_epochs(step)
        fallen = max(0.0, (epochs - constant) / (self.epochs(step) - constant))
        return 1.0 - fallen if self.fall == "linear" else 0.5 + 0.5 * math.cos(math.pi * fallen)

    def epochs(self, step: Step) -> int:
        return self.epochs_qa if step == "Qa" else self.epochs_qaw

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for step in STEPS if self.epochs(step))

    def variant(self, step: Step) -> Variant:
        return Variant(step, self.alpha, self.scales, self.form)


_QUICK = TrainOptions(
    epochs_qa=0,
    epochs_qaw=64,
    rate=8e-3,
    optimizer="muon",
    fall="cosine",
    shift=2,
    flips="alternate",
    byte_gradients=True,
    compile=True,
)
_PAPER = TrainOptions(
    epochs_qa=256, epochs_qaw=256, batch_size=256, rate=1e-3, scales="free", evaluate_every=1, bfloat16=False
)
PRESETS: dict[str, TrainOptions] = {
    "quick": _QUICK,
    "flagship": replace(
        _QUICK, epochs_qaw=30, batch_size=256, muon_rate=0.07, cooldown=0.5, fall="linear", sides="16x4,24x2"
    ),
    "two-step": TrainOptions(),
    "paper-cifar": _PAPER,
    "paper-imagenet": replace(_PAPER, epochs_qa=128, epochs_qaw=128, agc=2e-2),
}
DISTILLING_PRESETS = ("paper-imagenet",)


@dataclass
class Position:
    """Where a run stands: `epoch` epochs of `step` and `batch` batches of the next one are done; `log` holds one record
    for each epoch so far.

    `sums` are the loss, how many images were right, how many there were, and the seconds, in those batches. `best` is
    the record of the step's epoch that knows most held-out images, where there are any.
    """

    step: Step
    epoch: int
    batch: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * 4)
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


def make_optimizers(model: Network, step: Step, options: TrainOptions) -> list[torch.optim.Optimizer]:
    """Adam, and Muon where it is asked for and weights are binary; only step Qa decays weights, and only those of
    convolutions.
    """
    binary: list[nn.Parameter] = []
    convolutions: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    muon = {f"{name}.weight" for name in model.binary_convolutions()} if options.optimizer == "muon" else set()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = binary if name in muon else convolutions if parameter.ndim == 4 else others
            kind.append(parameter)
    groups = [
        {"params": convolutions, "weight_decay": options.weight_decay if step == "Qa" else 0.0},
        {"params": others, "weight_decay": 0.0},
    ]
    adam = torch.optim.Adam(groups, lr=options.rate, fused=True)
    return [adam, Muon(binary, lr=options.muon_rate)] if binary else [adam]


def summed_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with labels (N,) or probabilities (N, classes) (Eq. 3), summed over the images."""
    return functional.cross_entropy(logits, target, reduction="sum")


def shrunk(x: Tensor, side: int | None) -> Tensor:
    """Maps (N, C, H, W) averaged down to `side` pixels; as they are with None."""
    return x if side is None else functional.interpolate(x, size=(side, side), mode="area")


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
def top1(model: Network, data: LabelledImages, ranks: Ranks, between: Callable[[], None] = lambda: None) -> float:
    """Top-1 (%) of `predict`'s arithmetic on `data`; the processes share the work. Calls `between` between batches."""
    evaluated = model.for_evaluation()
    right = torch.zeros((), dtype=torch.int64, device=ranks.device)
    size = evaluation_batch(model.structure, ranks.device) * ranks.world
    for batch in data.batches(size, ranks):
        if len(batch.labels):
            x = normalise(batch.images, model.variant, dtype=torch.float64)
            right += (evaluated(x).argmax(1) == batch.labels).sum()
        between()
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
    copies: Sequence[Path] = (),
) -> dict[str, Any] | None:
    """Both steps; writes model.pt, resume.pt and log.jsonl into `out` (and `copies`), and returns the metadata of
    model.pt.

    Where another step follows, step Qa's result goes to model_qa.pt. `init` holds canonical tensors to start from,
    `teacher` takes the same normalised images and gives logits. With `resume` the run continues from resume.pt, bit for
    bit as if it had not stopped; with more epochs than before, from where the rates began to fall. After `stop_after`
    epochs it stops as an interrupted run would, and returns None. Raises ValueError if resume.pt does not fit, and
    Stopped when SIGINT or SIGTERM has ended the run.
    """
    run = Run(structure, data, (out, *copies), options, teacher, ranks or Ranks(device=options.device), report)
    run.start(init, resume)
    # Of several processes, all would not end behind the same batch.
    with run.stop.listening() if run.ranks.world == 1 else nullcontext():
        return run.finish(stop_after)


class Run:
    """The state of one `train`: the model, its optimizer, and where it stands."""

    def __init__(
        self,
        structure: Structure,
        data: DataSet,
        folders: Sequence[Path],
        options: TrainOptions,
        teacher: nn.Module | None,
        ranks: Ranks,
        report: Callable[[str], None],
    ) -> None:
        self.structure = structure
        self.data = data
        images = data.train.augmented(options.shift, options.flips == "alternate")
        self.images, self.held_out = hold_out(images, options.validation, options.seed)
        self.folders = folders
        self.written = folders if ranks.first else ()
        self.options = options
        self.teacher = teacher
        self.ranks = ranks
        self.report = report if ranks.first else lambda line: None
        self.position = Position(options.steps[0], 0)
        self.best_state: dict[str, Tensor] | None = None
        self.stop = Stop()

    def start(self, init: Tensors | None, resume: bool) -> None:
        """The model and its optimizer as they are before the first epoch to come; then `out` and its log."""
        saved = _read_resume(self.folders[0], self.structure, self.options) if resume else None
        if saved is not None:
            self.position = Position(**{name: saved[name] for name in POSITION})
        self.prepare(init)
        if saved is not None:
            with restoring(self.folders[0] / RESUME_FILE):
                self.model.load_state_dict(saved["state"])
                for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
                    optimizer.load_state_dict(state)
                if saved["best_state"] is not None:
                    self.best_state = {name: value.to(self.ranks.device) for name, value in saved["best_state"].items()}
                    copy.deepcopy(self.model).load_state_dict(self.best_state)
        write_log(self.written, LOG_FILE, self.position.log)
        steps = " and ".join(f"{self.options.epochs(step)} epochs of {step}" for step in self.options.steps)
        self.report(f"{self.structure.name}: {steps}, seed {self.options.seed}, {self.options}")

    def prepare(self, tensors: Mapping[str, NDArray[Any]] | None) -> None:
        """The position's model, with these tensors or the seed's initial weights, and its optimizer."""
        torch.manual_seed(self.options.seed)
        self.model = Network(self.structure, self.options.variant(self.position.step))
        if tensors is not None:
            self.model.load(tensors)
        if self.options.slope is not None:
            self.model.fix_slopes(self.options.slope)
        if self.options.bfloat16 and fast_bfloat16(self.ranks.device):
            self.model.train_in_bfloat16()
        elif self.options.byte_gradients and self.ranks.device == "cpu" and binary_conv.available():
            self.model.train_with_byte_gradients()
        self.model.to(self.ranks.device)
        self.clipped = [(name, p) for name, p in self.model.named_parameters() if not name.startswith("head.")]
        self.optimizers = make_optimizers(self.model, self.position.step, self.options)
        self.trained: nn.Module = self.model
        if self.options.compile and self.ranks.world == 1 and (self.ranks.device != "cpu" or binary_conv.compiler()):
            self.trained = torch.compile(self.model, dynamic=False)
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
                self._write_resume()
                if position.epoch == self.options.constant_epochs(position.step):
                    self._write_resume(CONSTANT_FILE)
                write_log(self.written, LOG_FILE, position.log)
                self.report(_describe(record))
            metadata = self._close_step()
            if position.step == self.options.steps[-1]:
                return metadata
            tensors = self.model.tensors()
            self.position = position = Position(self.options.steps[-1], 0, log=position.log)
            self.best_state = None
            self.prepare(tensors)

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
        # Gains and slopes settle in a copy: training goes on with those that it has.
        result = copy.deepcopy(self.model)
        result.settle()
        name = MODEL_FILE if position.step == options.steps[-1] else QA_FILE
        for folder in self.written:
            checkpoint.save(folder / name, result.tensors(), self.structure, metadata)
        return metadata

    def _run_epoch(self) -> dict[str, Any]:
        """One epoch, and the test images when it is their turn; moves the position on and returns the new record."""
        position, options = self.position, self.options
        epochs = options.epochs(position.step)
        rate = options.rate * options.rate_factor(position.step, position.epoch)
        record: dict[str, Any] = {"step": position.step, "epoch": position.epoch + 1, "rate": rate}
        record |= self._train_epoch(f"{position.step} {position.epoch + 1}/{epochs}")
        measured = position.epoch + 1 == epochs or (position.epoch + 1) % options.evaluate_every == 0
        record["test_top1"] = top1(self.model, self.data.test, self.ranks, self.stop.check) if measured else None
        if self.held_out is not None:
            held_out = top1(self.model, self.held_out, self.ranks, self.stop.check) if measured else None
            record["validation_top1"] = held_out
            if held_out is not None and (position.best is None or held_out > position.best["validation_top1"]):
                position.best = record
                self.best_state = {name: value.clone() for name, value in self.model.state_dict().items()}
        position.epoch, position.batch, position.sums = position.epoch + 1, 0, [0.0] * 4
        position.log.append(record)
        return record

    def _train_epoch(self, description: str) -> dict[str, float]:
        """One pass over the training images from the position's batch on; the mean loss, the top-1 (%) and the seconds
        it took.
        """
        position, device = self.position, self.ranks.device
        self.trained.train()
        # Summed over this process's images: the loss, how many are right, how many there were.
        sums = torch.tensor(position.sums[:3], dtype=torch.float64, device=device)
        written = start = time.perf_counter()
        before, first = position.sums[3], position.batch
        with self._bar(description) as bar:
            for index, batch in enumerate(self._batches(), first):
                sums += self.train_batch(batch, position.epoch + index / self._count)
                position.batch = index + 1
                now = time.perf_counter()
                if index % POSTFIX_EVERY == 0:
                    seen = float(sums[2]) or 1.0
                    text = {"loss": f"{float(sums[0]) / seen:.3f}", "top1": f"{100 * float(sums[1]) / seen:.1f}%"}
                    bar.set_postfix(text | self._forecast((now - start) / (index + 1 - first)), refresh=False)
                bar.update(batch.total)
                if now - written > RESUME_EVERY or self.stop.signum is not None or position.batch == self._count:
                    position.sums, written = [*sums.tolist(), before + now - start], now
                    self._write_resume()
                    self.stop.check()
        loss_sum, correct, seen = self.ranks.total(sums).tolist()
        if not np.isfinite(loss_sum):
            raise UserError(f"{description}: the loss is not finite")
        return {"train_loss": loss_sum / seen, "train_top1": 100 * correct / seen, "seconds": position.sums[3]}

    @property
    def _count(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.images.labels) // self.options.batch_size)

    def train_batch(self, batch: Batch, epochs: float) -> Tensor:
        """One step after so many epochs: this process's summed loss, how many images it got right, of how many."""
        options = self.options
        factor = options.rate_factor(self.position.step, epochs)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = factor * (options.muon_rate if isinstance(optimizer, Muon) else options.rate)
        x = normalise(batch.images, self.model.variant, light=batch.light)
        target = self._target(batch, x)
        # A short last batch is not worth compiling for.
        model = self.trained if batch.total == options.batch_size or self.ranks.world > 1 else self.model
        logits = model(shrunk(x, options.side(self.position.epoch)))
        loss = summed_loss(logits, target)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        # DistributedDataParallel averages over the processes what is to be the mean over the whole batch.
        loss.mul(self.ranks.world / batch.total).backward()
        clip_gradients(self.clipped, options.agc)
        for optimizer in self.optimizers:
            optimizer.step()
        right = (logits.detach().argmax(1) == batch.labels).sum()
        return torch.stack((loss.detach(), right, torch.full_like(right, len(batch.labels)))).double()

    def _forecast(self, seconds: float) -> dict[str, str]:
        """The hours left of the run at `seconds` a batch of this epoch, and the most memory that it has held."""
        position, options, side = self.position, self.options, self.structure.height
        costs = [
            [float(options.side(epoch) or side) ** 2 for epoch in range(options.epochs(step))] for step in options.steps
        ]
        step = options.steps.index(position.step)
        now = costs[step][position.epoch]
        left = sum(costs[step][position.epoch :]) + sum(sum(later) for later in costs[step + 1 :])
        batches = self._count * left / now - position.batch
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        return {"left": f"{batches * seconds / 3600:.1f}h", "mem": f"{held:.1f}GiB"}

    def _batches(self) -> Iterator[Batch]:
        seed = (self.options.seed, STEPS.index(self.position.step), self.position.epoch)
        return self.images.batches(self.options.batch_size, self.ranks, seed, first=self.position.batch)

    @torch.no_grad()
    def _target(self, batch: Batch, x: Tensor) -> Tensor:
        """What the logits shall be: soft labels, a teacher's probabilities, or the labels."""
        if batch.soft is not None:
            return batch.soft
        return batch.labels if self.teacher is None else functional.softmax(self.teacher(x).float(), dim=1)

    def _bar(self, description: str) -> Any:
        every = 0.5 if sys.stderr.isatty() else 30.0  # a log file needs no line a second
        return tqdm(
            total=len(self.images.labels),
            initial=self.position.batch * self.options.batch_size,
            desc=description,
            unit="img",
            unit_scale=True,
            mininterval=every,
            disable=not self.ranks.first,
        )

    def _write_resume(self, name: str = RESUME_FILE) -> None:
        content = {
            "state": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "best_state": self.best_state,
            "structure": self.structure.to_dict(),
            "options": asdict(self.options),
            **asdict(self.position),
        }
        write_state(self.written, name, content)


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


FREE_TO_CHANGE = ("evaluate_every", "compile", "device")
"""Options that a resumed run may be given anew: they change its results by roundings at most."""
POSITION = tuple(entry.name for entry in fields(Position))
STATE = {
    "state": dict,
    "optimizers": list,
    "best_state": dict | None,
    "structure": dict,
    "options": dict,
    "step": str,
    "epoch": int,
    "batch": int,
    "sums": list,
    "log": list,
    "best": dict | None,
}
"""What resume.pt holds."""


def _read_resume(folder: Path, structure: Structure, options: TrainOptions) -> dict[str, Any]:
    """The content of `folder`'s resume.pt or, where more epochs are wanted than its rates fell for, of constant.pt."""
    path = folder / RESUME_FILE
    content = _read_state(path, structure)
    ran = TrainOptions(**content["options"])
    longer = replace(ran, epochs_qa=options.epochs_qa) if content["step"] == "Qa" else ran
    longer = replace(longer, epochs_qaw=options.epochs_qaw)
    if longer != ran:
        step = content["step"]
        if longer.epochs(step) < ran.epochs(step):
            raise UserError(f"{path}: it ran for {ran.epochs(step)} epochs of {step}; a run can grow, not shrink")
        if content["epoch"] > ran.constant_epochs(step) or (
            content["epoch"] == ran.constant_epochs(step) and content["batch"]
        ):
            path = folder / CONSTANT_FILE
            if not path.exists():
                raise UserError(f"{path}: missing; a run whose rates fell from the start cannot go on to more epochs")
            content = _read_state(path, structure)
    same_options(path, asdict(longer), asdict(options), FREE_TO_CHANGE)
    return content


def _read_state(path: Path, structure: Structure) -> dict[str, Any]:
    content = read_state(path, STATE)
    if content["step"] not in STEPS or set(content["options"]) != {option.name for option in fields(TrainOptions)}:
        raise UserError(f"{path}: not a file to resume from")
    if content["structure"] != structure.to_dict():
        raise UserError(f"{path}: it is of another network")
    return content
