"""The command line of training: `abbnn train`, and its verbs `teacher`, `evaluate` and `speed`."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import nn

from abbnn.errors import UserError, run
from abbnn.golden.files import replacing
from abbnn.golden.images import image_size, read_images
from abbnn.golden.network import EXPONENT_RANGE
from abbnn.golden.structure import CIFAR_SIDE, DECLARATIONS, Structure, declared_network
from abbnn.options import above_zero, natural, positive, whole
from abbnn.train import checkpoint, teachers
from abbnn.train.data import ArrayImages, DataSet, read
from abbnn.train.model import Network
from abbnn.train.ranks import joined
from abbnn.train.recipe import (
    DISTILLING_PRESETS,
    MODEL_FILE,
    PRESETS,
    RESUME_FILE,
    Fall,
    Flips,
    Optimizer,
    TrainOptions,
    accuracy,
    predict,
    train,
)
from abbnn.train.resume import refuse_other
from abbnn.train.speed import measure
from abbnn.train.teacher import LABELS_FILE, TEACHER_FILE, TeacherOptions, read_labels, train_teacher
from abbnn.train.teacher import RESUME_FILE as TEACHER_RESUME_FILE
from abbnn.train.tensors import Tensors
from abbnn.train.variant import Form, Scales

DEFAULT_PRESET = "quick"


def _train_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="abbnn train",
        description="Train a network in two steps: Qa binarizes activations, Qaw weights too. "
        "`abbnn evaluate --help` tells how to run a trained one, docs/training.md more.",
    )
    add = parser.add_argument
    add("--network", required=True, choices=sorted(DECLARATIONS), help="what to train")
    add("--data", required=True, type=Path, help="folder of CIFAR-10 or CIFAR-100, or with train/ and val/ of ImageNet")
    add("--out", required=True, type=Path, help="folder for model.pt, resume.pt and log.jsonl")
    add("--preset", choices=sorted(PRESETS), default=DEFAULT_PRESET, help="%(default)s; what follows overrides it")
    add("--steps", choices=("Qa", "Qaw", "both"), default="both", help="default %(default)s")
    add("--epochs", type=positive, help="of both steps together, shared out as in the preset")
    add("--epochs-qa", type=natural, help="of step Qa; 0 leaves it out")
    add("--epochs-qaw", type=natural, help="of step Qaw; 0 leaves it out")
    add("--batch-size", type=positive, help="images, over all processes")
    add("--rate", type=above_zero(), help="Adam's first learning rate")
    add("--optimizer", choices=get_args(Optimizer), help="of binary weights; the rest always learns by Adam")
    add("--muon-rate", type=above_zero(), help="Muon's first learning rate")
    add(
        "--cooldown",
        type=above_zero(1),
        help="share of a step's epochs over which the rates fall to 0; before, they stay",
    )
    add("--fall", choices=get_args(Fall), help="how they fall")
    add("--shift", type=natural, help="pixels that a random crop of CIFAR moves an image by at most")
    add("--flips", choices=get_args(Flips), help="of CIFAR: random, or alternating from epoch to epoch")
    add("--sides", metavar="SIDExEPOCHS,...", help="shrink the images of the first epochs, as in 16x4,24x2")
    add(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="train through torch.compile where there is a C++ compiler (or a GPU)",
    )
    add("--weight-decay", type=above_zero(or_zero=True), help="of convolutions' weights in step Qa")
    add("--agc", type=above_zero(), help="limit of the adaptive gradient clipping")
    add("--alpha", type=above_zero(), help="factor of the binary convolutions")
    add("--scales", choices=get_args(Scales), help="one power of two a channel, or any number")
    add("--form", choices=get_args(Form), help="of the activation: the official code's, or the paper's Eq. 8")
    add("--slope", type=whole(*EXPONENT_RANGE), help="fixed slopes of 2^SLOPE instead of learned ones")
    add("--validation", type=natural, help="training images to hold out and choose each step's epoch with")
    add("--seed", type=natural, help="of weights, order and augmentation")
    add("--evaluate-every", type=positive, help="epochs")
    add(
        "--bfloat16",
        action=argparse.BooleanOptionalAction,
        help="train the binary convolutions in bfloat16 where the device is fast at it; evaluation does not use it",
    )
    add(
        "--byte-gradients",
        action=argparse.BooleanOptionalAction,
        help="8-bit gradients of binary convolutions, three times as fast, where a CPU has AVX2 and no bfloat16",
    )
    add("--device", help="torch device: cpu, cuda; with torchrun each process takes one GPU")
    add("--classes", type=positive, help="classes of the network, at least those of the data, which is the default")
    add("--image", type=positive, help="side of the images, for folders of pictures (224)")
    add(
        "--init", type=Path, metavar="FILE", help="checkpoint of the same network to start from; step Qaw alone with it"
    )
    add("--teacher", type=Path, metavar="FILE", help="float network to distil from instead of learning the labels")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--teacher-network", choices=sorted(DECLARATIONS), help="the teacher is a checkpoint of this")
    kind.add_argument(
        "--teacher-torchscript", action="store_true", help="the teacher is a TorchScript file, which is code and runs"
    )
    add("--soft-labels", type=Path, metavar="FILE", help="labels.npz of `abbnn teacher`, to learn from")
    add("--no-distillation", action="store_true", help="for presets that distil: learn the labels all the same")
    add("--resume", action="store_true", help="continue from the resume.pt in --out; more --epochs than before go on")
    add("--copy", type=Path, action="append", default=[], metavar="DIR", help="second folder for all that --out gets")
    add("--threads", type=positive, default=1, help="CPU threads (%(default)s)")
    add("--workers", type=natural, default=4, help="processes that load pictures (%(default)s)")
    return parser


def _teacher_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="abbnn teacher",
        description="Train a float network for CIFAR, and write the soft labels that --soft-labels takes.",
    )
    add = parser.add_argument
    add("--data", required=True, type=Path, help="folder of CIFAR-10 or CIFAR-100")
    add("--out", required=True, type=Path, help=f"folder for {TEACHER_FILE}, {LABELS_FILE} and its log")
    add("--epochs", type=positive, default=TeacherOptions.epochs, help="default %(default)s")
    add("--seed", type=natural, default=TeacherOptions.seed, help="of weights, order and augmentation (%(default)s)")
    add("--device", default="cpu", help="torch device (%(default)s)")
    add("--resume", action="store_true", help=f"continue from the {TEACHER_RESUME_FILE} in --out")
    add("--copy", type=Path, action="append", default=[], metavar="DIR", help="second folder for all that --out gets")
    add("--threads", type=positive, default=1, help="CPU threads (%(default)s)")
    return parser


def _speed_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="abbnn speed",
        description="Time training steps on this CPU by each path that it has, on made images.",
    )
    add = parser.add_argument
    add("--network", required=True, choices=sorted(DECLARATIONS), help="what to train")
    add("--preset", choices=sorted(PRESETS), default=DEFAULT_PRESET, help="default %(default)s")
    add("--batch-size", type=positive, help="images; the preset's by default")
    add("--threads", type=positive, default=1, help="CPU threads (%(default)s)")
    return parser


def _evaluate_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="abbnn evaluate", description="Run a float checkpoint, and write its logits.")
    add = parser.add_argument
    add("checkpoint", type=Path, metavar="CHECKPOINT", help="model.pt, or an official state dict")
    add("--network", required=True, choices=sorted(DECLARATIONS), help="what the checkpoint is of")
    add(
        "--images",
        required=True,
        type=Path,
        help=".npy uint8 (N,H,W,3), .npz of images and labels, a folder of pictures, or a cifar-10-batches-bin folder",
    )
    add("--out", required=True, type=Path, metavar="LOGITS.npy", help="float32 (N, classes)")
    add(
        "--image",
        type=positive,
        help="side of the images; default: the checkpoint's, else that of a .npy's or .npz's images, else 32 or 224",
    )
    add("--threads", type=positive, default=os.cpu_count() or 1, help="CPU threads (%(default)s)")
    add("--device", default="cpu", help="torch device (%(default)s)")
    return parser


def _options(arguments: argparse.Namespace) -> TrainOptions:
    """The preset, with what the command line says otherwise."""
    preset = PRESETS[arguments.preset]
    names = [option.name for option in fields(TrainOptions) if option.name not in ("init", "teacher")]
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    epochs_qa, epochs_qaw = _epochs(arguments, preset)
    return replace(preset, **given | {"epochs_qa": epochs_qa, "epochs_qaw": epochs_qaw})


def _epochs(arguments: argparse.Namespace, preset: TrainOptions) -> tuple[int, int]:
    """Epochs of Qa and of Qaw; 0 for a step that is left out."""
    epochs, qa, qaw = arguments.epochs, arguments.epochs_qa, arguments.epochs_qaw
    if epochs is None:
        qa = preset.epochs_qa if qa is None else qa
        qaw = preset.epochs_qaw if qaw is None else qaw
    elif qaw is not None or (qa is not None and arguments.steps != "both"):
        raise UserError("--epochs and the epochs of a step contradict each other")
    elif arguments.steps == "both":
        if qa is None:
            qa = epochs * preset.epochs_qa // (preset.epochs_qa + preset.epochs_qaw)
            if preset.epochs_qa and not qa:
                raise UserError(f"--epochs {epochs} leaves nothing to step Qa: add --steps Qaw, or more epochs")
        qaw = epochs - qa
        if qaw < 1:
            raise UserError(f"--epochs-qa {qa} leaves nothing of {epochs} epochs to step Qaw")
    else:
        qa = qaw = epochs
    qa, qaw = (0 if arguments.steps == "Qaw" else qa), (0 if arguments.steps == "Qa" else qaw)
    if qa + qaw == 0:
        raise UserError("there are no epochs to train")
    return qa, qaw


def _check_device(device: str) -> None:
    try:
        kind = torch.empty(1, device=device).device.type
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: {str(error).splitlines()[0]}") from None
    if kind not in ("cpu", "cuda"):
        raise UserError(f"--device {device}: there are cpu and cuda")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _structure(arguments: argparse.Namespace, data: DataSet) -> Structure:
    classes = arguments.classes or data.classes
    if classes < data.classes:
        raise UserError(f"--classes {classes} is less than the {data.classes} of {arguments.data}")
    return declared_network(arguments.network, classes=classes, image=data.train.side)


def _init(path: Path, structure: Structure) -> Tensors:
    loaded = checkpoint.load(path, structure.name, structure.height)
    if loaded.structure != structure:
        raise UserError(f"{path}: its {structure.name} has other widths, depths, classes or strides")
    return loaded.tensors


def _load_teacher(arguments: argparse.Namespace, structure: Structure) -> nn.Module | None:
    path, network = arguments.teacher, arguments.teacher_network
    if arguments.soft_labels is not None:
        return None
    if path is None:
        if network or arguments.teacher_torchscript:
            raise UserError("--teacher-network and --teacher-torchscript tell what the file of --teacher is")
        if arguments.preset in DISTILLING_PRESETS and not arguments.no_distillation:
            raise UserError(f"preset {arguments.preset} distils: give --teacher, or --no-distillation")
        return None
    if arguments.teacher_torchscript:
        return teachers.load_torchscript(path)
    if network:
        return teachers.load_network(path, network, structure.height)
    raise UserError("--teacher needs --teacher-network or --teacher-torchscript")


def _train(arguments: argparse.Namespace) -> None:
    options = _options(arguments)
    _check_device(options.device)
    refuse_other(arguments.out / RESUME_FILE, arguments.resume)
    data = read(arguments.data, side=arguments.image, workers=arguments.workers)
    if arguments.soft_labels is not None:
        if arguments.teacher is not None:
            raise UserError("--soft-labels and --teacher contradict each other")
        if not isinstance(data.train, ArrayImages):
            raise UserError("--soft-labels are for CIFAR; --teacher is for pictures")
        soft, digest = read_labels(arguments.soft_labels, data.train)
        data, options = data._replace(train=data.train.taught(soft)), replace(options, teacher=digest)
    structure = _structure(arguments, data)
    init, teacher = None, _load_teacher(arguments, structure)
    if arguments.init is not None:
        init, options = _init(arguments.init, structure), replace(options, init=_sha256(arguments.init))
    with joined(options.device) as ranks:
        if teacher is not None:
            options = replace(options, teacher=_sha256(arguments.teacher))
            teacher = teachers.prepared(
                teacher,
                arguments.teacher,
                classes=structure.classes,
                image=structure.height,
                device=ranks.device,
            )
        metadata = train(
            structure,
            data,
            arguments.out,
            options,
            resume=arguments.resume,
            init=init,
            teacher=teacher,
            ranks=ranks,
            copies=arguments.copy,
        )
    assert metadata is not None
    if ranks.first:
        print(f"{arguments.out / MODEL_FILE}: test top-1 {metadata['test_top1']:.2f}%, {metadata['chosen']}")


def _teach(arguments: argparse.Namespace) -> None:
    _check_device(arguments.device)
    refuse_other(arguments.out / TEACHER_RESUME_FILE, arguments.resume)
    options = TeacherOptions(epochs=arguments.epochs, seed=arguments.seed, device=arguments.device)
    record = train_teacher(read(arguments.data), arguments.out, options, resume=arguments.resume, copies=arguments.copy)
    print(
        f"{arguments.out / TEACHER_FILE}: test top-1 {record['test_top1']:.2f}% over an image and its flip, last epoch"
    )
    print(f"{arguments.out / LABELS_FILE}: soft labels of the training images")


def _speed(arguments: argparse.Namespace) -> None:
    options = PRESETS[arguments.preset]
    if arguments.batch_size:
        options = replace(options, batch_size=arguments.batch_size)
    print(f"{'path':25} {'CPU-s a batch':>14} {'CPU-s an epoch':>15} {'TFLOP/s':>8}")
    for speed in measure(declared_network(arguments.network, classes=10, image=CIFAR_SIDE), options):
        numbers = f"{speed.batch_seconds:14.3f} {speed.epoch_seconds:15.1f} {speed.teraflops:8.3f}"
        print(f"{speed.path:25} {numbers}", flush=True)


def _evaluate(arguments: argparse.Namespace) -> None:
    _check_device(arguments.device)
    size = image_size(arguments.images)
    # Of images that are no squares, reading them complains.
    assumed = size[0] if size is not None and size[0] == size[1] else None
    loaded = checkpoint.load(arguments.checkpoint, arguments.network, arguments.image, assumed_image=assumed)
    structure = loaded.structure
    images, labels = read_images(arguments.images, structure.height, structure.width)
    model = Network(structure, loaded.variant)
    model.load(loaded.tensors)
    logits = predict(model, images, arguments.device)
    with replacing(arguments.out) as temporary, temporary.open("wb") as file:
        np.save(file, logits)
    print(f"{arguments.out}: logits of {len(images)} images")
    if labels is not None:
        print(f"{arguments.checkpoint}: top-1 {accuracy(logits, labels):.2f}% of {len(labels)} images")


VERBS: dict[str, tuple[Callable[[], argparse.ArgumentParser], Callable[[argparse.Namespace], None]]] = {
    "train": (_train_parser, _train),
    "teacher": (_teacher_parser, _teach),
    "speed": (_speed_parser, _speed),
    "evaluate": (_evaluate_parser, _evaluate),
}


def main(argv: Sequence[str] | None = None) -> int:
    """One command, `train` where none is named; status as `errors.run` has it."""
    words = list(sys.argv[1:] if argv is None else argv)
    verb = words.pop(0) if words[:1] and words[0] in VERBS else "train"
    parser, action = VERBS[verb]
    arguments = parser().parse_args(words)
    torch.set_num_threads(arguments.threads)
    return run(f"abbnn {verb}", lambda: action(arguments))
