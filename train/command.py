"""The command line of training: `python -m train` and `python -m train evaluate`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from golden.images import read_images
from golden.structure import NETWORKS, Structure
from train import checkpoint
from train.data import read_test, read_train
from train.model import ALPHA, STEPS, ReActNet
from train.recipe import MODEL_FILE, RESUME_FILE, TrainOptions, accuracy, in_channels_last, predict, train

DEFAULTS = TrainOptions()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _train_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description="Train a network on CIFAR-10 in two steps: Qa binarizes activations, Qaw weights too. "
        "`python -m train evaluate --help` tells how to run a trained one.",
    )
    parser.add_argument("--network", required=True, choices=sorted(NETWORKS), help="what to train")
    parser.add_argument("--data", required=True, type=Path, help="the folder of CIFAR-10, binary or Python version")
    parser.add_argument("--out", required=True, type=Path, help="folder for model.pt, resume.pt and log.jsonl")
    parser.add_argument(
        "--epochs",
        type=_positive,
        default=DEFAULTS.epochs_qa + DEFAULTS.epochs_qaw,
        help="epochs of both steps together (%(default)s); a third, rounded down, goes to step Qa",
    )
    parser.add_argument("--epochs-qa", type=_natural, help="epochs of step Qa, instead of a third of --epochs")
    parser.add_argument(
        "--seed", type=_natural, default=DEFAULTS.seed, help="of weights, order and crops (%(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="continue from the resume.pt in --out")
    parser.add_argument(
        "--scales",
        choices=("pow2", "free"),
        default=DEFAULTS.scales,
        help="one power of two a channel, or any number (%(default)s)",
    )
    parser.add_argument("--batch-size", type=_positive, default=DEFAULTS.batch_size, help="images (%(default)s)")
    parser.add_argument("--rate", type=_rate, default=DEFAULTS.rate, help="Adam's first learning rate (%(default)s)")
    parser.add_argument(
        "--bfloat16",
        action=argparse.BooleanOptionalAction,
        default=DEFAULTS.bfloat16,
        help="train the binary convolutions in bfloat16, fast on CPUs that have it; evaluation stays float32",
    )
    parser.add_argument(
        "--evaluate-every", type=_positive, default=DEFAULTS.evaluate_every, help="epochs (%(default)s)"
    )
    parser.add_argument("--threads", type=_positive, default=1, help="CPU threads (%(default)s)")
    parser.add_argument("--device", default=DEFAULTS.device, help="torch device (%(default)s)")
    return parser


def _evaluate_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train evaluate", description="Run a float checkpoint, and write its logits."
    )
    parser.add_argument("checkpoint", type=Path, help="model.pt, or an official state dict")
    parser.add_argument("--network", required=True, choices=sorted(NETWORKS), help="what the checkpoint is of")
    parser.add_argument("--images", required=True, type=Path, help=".npy, .npz, pictures or CIFAR-10's test batch")
    parser.add_argument("--out", required=True, type=Path, help="the .npy of logits, float32 (N, classes)")
    parser.add_argument("--threads", type=_positive, default=1, help="CPU threads (%(default)s)")
    return parser


def _train(arguments: argparse.Namespace) -> None:
    structure = NETWORKS[arguments.network]
    epochs_qa = arguments.epochs // 3 if arguments.epochs_qa is None else arguments.epochs_qa
    if epochs_qa >= arguments.epochs:
        raise ValueError(f"--epochs-qa {epochs_qa} leaves nothing of {arguments.epochs} epochs to step Qaw")
    options = TrainOptions(
        epochs_qa=epochs_qa,
        epochs_qaw=arguments.epochs - epochs_qa,
        batch_size=arguments.batch_size,
        rate=arguments.rate,
        scales=arguments.scales,
        seed=arguments.seed,
        evaluate_every=arguments.evaluate_every,
        bfloat16=arguments.bfloat16,
        device=arguments.device,
    )
    try:
        torch.empty(1, device=options.device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {options.device}: {str(error).splitlines()[0]}") from None
    if (arguments.out / RESUME_FILE).exists() and not arguments.resume:
        raise ValueError(f"{arguments.out / RESUME_FILE}: exists; add --resume, or choose another --out")
    train_data, test_data = read_train(arguments.data), read_test(arguments.data)
    metadata = train(structure, train_data, test_data, arguments.out, options, resume=arguments.resume)
    assert metadata is not None
    print(f"{arguments.out / MODEL_FILE}: test top-1 {metadata['test_top1']:.2f}% after the last epoch")


def _evaluate(arguments: argparse.Namespace) -> None:
    structure = NETWORKS[arguments.network]
    images, labels = read_images(arguments.images, structure.height, structure.width)
    model = load_model(arguments.checkpoint, structure)
    logits = predict(model, images)
    with arguments.out.open("wb") as file:
        np.save(file, logits)
    if labels is not None:
        print(f"{arguments.checkpoint}: top-1 {accuracy(logits, labels):.2f}% of {len(labels)} images")


def load_model(path: Path, structure: Structure) -> ReActNet:
    """The network of a checkpoint; a bare state dict counts as the official code's: step Qaw with free scales.

    Raises ValueError with one line where the file and `structure` do not fit.
    """
    arrays, metadata = checkpoint.read(path)
    if "structure" in metadata and metadata["structure"] != structure.to_dict():
        raise ValueError(f"{path}: it is a checkpoint of another network than {structure.name}")
    step, scales = metadata.get("step", "Qaw"), metadata.get("scales", "free")
    alpha = metadata.get("alpha", ALPHA)
    if step not in STEPS or scales not in ("pow2", "free") or not isinstance(alpha, float):
        raise ValueError(f"{path}: its metadata name step {step!r}, scales {scales!r}, alpha {alpha!r}")
    try:
        model = ReActNet(structure, step=step, alpha=alpha, scales=scales)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    for key, shape in wanted.items():
        if key not in arrays:
            raise ValueError(f"{path}: {key} is missing")
        if arrays[key].shape != shape:
            raise ValueError(f"{path}: {key} has shape {arrays[key].shape}, expected {shape}")
    for key in arrays:
        if key not in wanted:
            raise ValueError(f"{path}: {key} is no parameter of {structure.name}")
    model.load_state_dict({key: torch.from_numpy(value) for key, value in arrays.items()})
    in_channels_last(model)
    return model


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code is 2 where the input is bad, after one line on stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    evaluating = words[:1] == ["evaluate"]
    arguments = _evaluate_parser().parse_args(words[1:]) if evaluating else _train_parser().parse_args(words)
    torch.set_num_threads(arguments.threads)
    try:
        _evaluate(arguments) if evaluating else _train(arguments)
    except (ValueError, OSError) as error:
        print(f"{'evaluate' if evaluating else 'train'}: {error}", file=sys.stderr)
        return 2
    return 0
