"""Command line: freeze a checkpoint, write the RTL's memory files."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from export.folding import DEFAULT_CYCLES, balance, cycles, read_folding, stages
from export.freeze import FreezeOptions, freeze, threshold_overflows
from export.mem import write
from golden.network import load_network, network_hash, save_network
from golden.ranges import analyse
from golden.structure import NETWORKS, Structure


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export", description="From a checkpoint to the files the RTL reads."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser(
        "freeze",
        help="checkpoint -> frozen integer network (needs torch)",
        description="Turn a trained checkpoint into an integer network: one safetensors file that golden, mem and the "
        "testbenches read. Every width is proven by range analysis for any image.",
    )
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="model.pt of python -m train")
    command.add_argument("--network", required=True, choices=sorted(NETWORKS), help="what the checkpoint holds")
    command.add_argument("--out", required=True, type=Path, metavar="FILE.safetensors")
    defaults = FreezeOptions()
    command.add_argument(
        "--value-bits", type=int, default=defaults.value_width, metavar="W", help="default %(default)s"
    )
    command.add_argument(
        "--fraction-bits", type=int, default=defaults.fraction_bits, metavar="F", help="of the W; default %(default)s"
    )
    command.add_argument("--stem-bits", type=int, default=defaults.stem_planes, metavar="B", help="default %(default)s")
    command.add_argument("--head-bits", type=int, default=defaults.head_planes, metavar="B", help="default %(default)s")
    command.add_argument(
        "--terms", type=int, metavar="T", help="powers of two a scale factor; default 1 if trained so, else 3"
    )

    command = commands.add_parser(
        "mem",
        help="frozen network -> memory init files, parameter header, manifest",
        description="Write what abbnn_core is built with: *.mem for $readmemh, abbnn_config.vh, manifest.json.",
    )
    command.add_argument("network", type=Path, metavar="FILE.safetensors")
    command.add_argument("--out", required=True, type=Path, metavar="DIR", help="an earlier export there is replaced")
    choice = command.add_mutually_exclusive_group()
    choice.add_argument("--fold", type=Path, metavar="FOLD.json", help="PE and SIMD of every stage")
    choice.add_argument(
        "--cycles",
        type=int,
        default=DEFAULT_CYCLES,
        metavar="N",
        help="balance all stages to at most N cycles a frame; default %(default)s",
    )
    return parser


def _check_metadata(metadata: dict[str, Any], structure: Structure) -> None:
    """ValueError if the checkpoint says that it holds another network, or what a frozen network cannot pass on."""
    try:
        stated = json.loads(json.dumps(metadata)).get("structure")
    except (TypeError, ValueError, RecursionError):
        raise ValueError("its metadata hold more than numbers, texts, lists and objects") from None
    if "structure" not in metadata:
        return
    if not isinstance(stated, dict) or "name" not in stated:
        raise ValueError(f"its metadata name no structure, but {stated!r}")
    if stated["name"] != structure.name:
        raise ValueError(f"holds {stated['name']}, not {structure.name}")
    if stated != json.loads(json.dumps(structure.to_dict())):
        raise ValueError(f"holds another {structure.name}: its layers or their strides differ")


def _freeze(arguments: argparse.Namespace) -> None:
    options = FreezeOptions(
        arguments.value_bits, arguments.fraction_bits, arguments.stem_bits, arguments.head_bits, arguments.terms
    )
    try:
        from train.checkpoint import read
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ValueError("freezing a checkpoint needs torch: make setup-train") from None
    tensors, metadata = read(arguments.checkpoint)
    structure = NETWORKS[arguments.network]
    try:
        _check_metadata(metadata, structure)
        network = freeze(tensors, structure, metadata, options)
    except ValueError as error:
        raise ValueError(f"{arguments.checkpoint}: {error}") from None
    save_network(network, arguments.out)
    ranges = analyse(network)
    saturating = ", ".join(ranges.can_saturate) or "none"
    print(
        f"{arguments.out}: {structure.name}, sha256 {network_hash(network)[:16]}, {arguments.out.stat().st_size} bytes"
    )
    print(
        f"values {network.value_width} bits, {network.fraction_bits} of them fraction; scores {ranges.scores.bits} bits"
    )
    print(f"layers whose proven range exceeds the value width, so that an image might saturate there: {saturating}")
    clipped = threshold_overflows(network)
    if clipped:
        print(f"{clipped} sign thresholds lie beyond the value range and were clipped to it")


def _mem(arguments: argparse.Namespace) -> None:
    network = load_network(arguments.network)
    try:
        analyse(network)
    except ValueError as error:
        raise ValueError(f"{arguments.network}: {error}") from None
    folding = read_folding(arguments.fold) if arguments.fold else balance(network, arguments.cycles)
    write(network, folding, arguments.out)
    print(f"{'stage':<18} {'PE':>4} {'SIMD':>5} {'cycles a frame':>15}")
    for stage in stages(network):
        fold = folding[stage.name]
        print(f"{stage.name:<18} {fold.pe:>4} {fold.simd:>5} {cycles(stage, fold):>15}")
    print(f"{arguments.out}: written")


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        {"freeze": _freeze, "mem": _mem}[arguments.command](arguments)
    except (ValueError, OSError) as error:
        print(f"python -m export {arguments.command}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
