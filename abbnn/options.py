"""Options that several verbs have, spelt once: a network, images, a folding, workers; and numbers with their limits."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path

from abbnn import paths

SHIPPED_NETWORK = paths.MODELS / "tiny.safetensors"


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A parser of whole numbers from `least` to `most`, which None leaves open.

    >>> whole(1)("12")
    12
    """
    wanted = f"a whole number from {least} {'on' if most is None else f'to {most}'}"

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{value} is not {wanted}")
        return value

    return read


positive = whole(1)
natural = whole(0)


def above_zero(most: float = math.inf, *, or_zero: bool = False) -> Callable[[str], float]:
    """A parser of numbers above 0, or 0 itself, and up to `most`; never infinite.

    >>> above_zero(1)("0.5")
    0.5
    """
    wanted = "0 or a number above it" if or_zero else "a number above 0"
    wanted += "" if most == math.inf else f" and up to {most:g}"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (0 < value <= most or (or_zero and value == 0)) or value == math.inf:
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return read


def add_network(parser: argparse.ArgumentParser, *, default: Path | None = None) -> None:
    """NETWORK, which may be left out where there is a default."""
    text = "a frozen network, FILE.safetensors"
    if default is None:
        parser.add_argument("network", type=Path, metavar="NETWORK", help=text)
    else:
        text += f"; default: the shipped {default.stem}"
        parser.add_argument("network", type=Path, nargs="?", default=default, metavar="NETWORK", help=text)


def add_images(parser: argparse.ArgumentParser, *, default: str = "") -> None:
    """IMAGES, which may be left out where `default` says what is taken instead."""
    text = (
        ".npy uint8 (N,H,W,3), .npz of images and labels, a folder of pictures or of class folders, or a "
        "cifar-10-batches-bin folder"
    )
    if default:
        parser.add_argument("images", type=Path, nargs="?", metavar="IMAGES", help=f"{text}; default: {default}")
    else:
        parser.add_argument("images", type=Path, metavar="IMAGES", help=text)


def add_folding(parser: argparse.ArgumentParser) -> None:
    """`--fold` or `--cycles`: what `export.pipeline.Pipeline.read` takes."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--fold", type=Path, metavar="FOLD.json", help="PE and SIMD of every stage (`abbnn fold`)")
    choice.add_argument(
        "--cycles", type=positive, metavar="N", help="or: all stages balanced to at most N cycles a frame"
    )


def add_headroom(parser: argparse.ArgumentParser, default: str | int) -> None:
    """`--headroom`: what `Pipeline.roomy` takes. A `default` in words stands for None, which the verb resolves."""
    parser.add_argument(
        "--headroom",
        type=natural,
        default=default if isinstance(default, int) else None,
        metavar="BITS",
        help="bits more in every sum and guard than this network needs, for retrained ones; default " + str(default),
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
