"""What `--port sim` stands for: a board with a network, simulated for as long as the command runs (tb/board.py)."""

from __future__ import annotations

import argparse
from pathlib import Path

from abbnn.errors import UserError
from abbnn.export.folding import Folding, balance
from abbnn.export.pipeline import Pipeline
from abbnn.golden.network import IntegerNetwork
from abbnn.host.packet import OVERHEAD
from abbnn.options import SHIPPED_NETWORK, add_folding
from abbnn.syn.bitstream import HEADROOM

PORT = "sim"
BOARD = "ulx3s-85f"
BIT_CYCLES = 8
"""Clocks of a bit on its line: the fewest that abbnn_baud takes, since every one is simulated."""
BYTE_CYCLES = 10 * BIT_CYCLES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--network",
        dest="booted",
        type=Path,
        metavar="NETWORK",
        help=f"of the simulated board; default: NETWORK of the command, or else the shipped {SHIPPED_NETWORK.stem}",
    )
    parser.add_argument("--board", metavar="BOARD", help=f"the simulated one (docs/bitstream.md); default {BOARD}")
    add_folding(parser)


def check(arguments: argparse.Namespace) -> None:
    """UserError if options of a simulated board are given for another one."""
    folding = [] if arguments.command == "load" else ["fold", "cycles"]
    given = [name for name in ("network", "board", *folding) if getattr(arguments, name.replace("network", "booted"))]
    if arguments.port != PORT and given:
        raise UserError(f"--{given[0]} is of a simulated board, --port {PORT}")


def pipeline(arguments: argparse.Namespace) -> Pipeline:
    """What the simulated board is built for and boots: its layout has a bitstream's usual headroom."""
    path = arguments.booted or getattr(arguments, "network", None) or SHIPPED_NETWORK
    found = Pipeline.read(path, arguments.fold, arguments.cycles)
    if not (arguments.fold or arguments.cycles):
        found = Pipeline(found.network, default_folding(found.network))
    return found.roomy(HEADROOM)


def default_folding(network: IntegerNetwork) -> Folding:
    """For as many cycles as an image takes on the line: nothing needs to be faster, and what is narrower is sooner
    built and simulated."""
    structure = network.structure
    return balance(network, BYTE_CYCLES * (OVERHEAD + 3 * structure.height * structure.width))


def load_image(network: IntegerNetwork, board: Pipeline) -> list[int]:
    """Of `network`, in the widths of the simulated board. UserError says what does not fit."""
    return Pipeline(network, board.folding, [config.parameters for config in board.configs]).load_image
