"""Options that several verbs have, spelt once: a network, images, a folding, workers; and numbers with their limits."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

IMAGES = (
    ".npy uint8 (N,H,W,3), .npz of images and labels, a folder of pictures, one of class folders, or a "
    "cifar-10-batches-bin folder"
)

Number = TypeVar("Number", int, float)


def number(kind: type[Number], legal: Callable[[Number], bool], wanted: str) -> Callable[[str], Number]:
    """A parser of arguments that says what is wanted in place of a text that it cannot take."""

    def parse(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None
        if not (math.isfinite(value) and legal(value)):
            raise argparse.ArgumentTypeError(f"{text} is not {wanted}")
        return value

    return parse


positive = number(int, lambda value: value >= 1, "a whole number from 1 on")
natural = number(int, lambda value: value >= 0, "a whole number from 0 on")
above_zero = number(float, lambda value: value > 0.0, "a number above 0")
from_zero = number(float, lambda value: value >= 0.0, "a number from 0 on")
fraction = number(float, lambda value: 0.0 < value <= 1.0, "above 0 and at most 1")


def add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", type=Path, metavar="NETWORK", help="a frozen network, FILE.safetensors")


def add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", type=Path, metavar="IMAGES", help=IMAGES)


def add_folding(parser: argparse.ArgumentParser) -> None:
    """`--fold` or `--cycles`: what `export.pipeline.Pipeline.read` takes."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--fold", type=Path, metavar="FOLD.json", help="PE and SIMD of every stage (`abbnn fold`)")
    choice.add_argument(
        "--cycles", type=positive, metavar="N", help="or: all stages balanced to at most N cycles a frame"
    )


def add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs", type=positive, default=os.cpu_count() or 1, metavar="N", help="workers; default: one a core"
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """`--jobs` and `--scheduler`: what `executor.Workers.of` takes."""
    add_jobs(parser)
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help='of a Dask cluster to run on (pip install "abbnn[dask]"); local: one of --jobs workers on this machine',
    )
