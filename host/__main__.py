"""Command line: images, status and new networks over a board's serial port."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from abbnn import paths
from abbnn.errors import UserError, run
from abbnn.export.pipeline import Pipeline
from abbnn.golden.images import read_images
from abbnn.golden.network import IntegerNetwork, load_network
from abbnn.host.link import Device, Link, Port, Result, open_port
from abbnn.host.registers import expanded, markdown
from abbnn.options import above_zero, add_folding, add_images, add_network, positive, whole

BAUD = 3_000_000
"""Of the ULX3S; the Colorlight i5 has 115200."""
BAUD_MAX = 100_000_000
TIMEOUT_MAX = 3600

Opener = Callable[[str, int], Port]


def _connect(arguments: argparse.Namespace, opener: Opener) -> Device:
    device = Device(Link(opener(arguments.port, arguments.baud), tries=arguments.tries, timeout=arguments.timeout))
    device.connect()
    return device


def _statistics(device: Device) -> dict[str, int]:
    """What both ends of the line have seen, the device's part since its reset."""
    own, identity = device.link.statistics, device.link.synchronise()
    return {
        "requests_repeated": own.repeated,
        "refusals_seen": own.refused,
        "bad_packets": identity.bad_packets,
        "line_errors": identity.line_errors,
        "bytes_lost": identity.lost,
    }


def _rows(title: str, values: dict[str, Any]) -> Table:
    table = Table(title=title, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in values.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    return table


def _image_rows(results: Sequence[Result], labels: NDArray[np.int64] | None) -> Table:
    table = Table()
    for name in ("image", *(() if labels is None else ("label",)), "class", "scores"):
        table.add_column(name, justify="left" if name == "scores" else "right")
    for index, result in enumerate(results):
        label = () if labels is None else (str(labels[index]),)
        table.add_row(str(index), *label, str(result.label), " ".join(map(str, result.scores)))
    return table


def _classify(arguments: argparse.Namespace, opener: Opener) -> None:
    device = _connect(arguments, opener)
    images, labels = read_images(arguments.images, device.height, device.width, device.classes)
    started = time.perf_counter()
    with tqdm(total=len(images), unit="img", disable=True if arguments.json else None) as bar:
        results = device.classify(images, flying=arguments.flying, progress=lambda count: bar.update(count - bar.n))
    seconds = time.perf_counter() - started
    summary: dict[str, Any] = {
        "network": f"{device.network():016x}",
        "images": len(images),
        "seconds": round(seconds, 3),
        "images_per_second": round(len(images) / seconds, 2),
    }
    if labels is not None:
        right = sum(int(result.label == label) for result, label in zip(results, labels, strict=True))
        summary |= {"right": right, "accuracy": right / len(images)}
    counters, line = device.counters(), _statistics(device)
    if arguments.json:
        rows = [{"class": result.label, "scores": result.scores.tolist()} for result in results]
        for row, label in zip(rows, () if labels is None else labels.tolist(), strict=labels is not None):
            row["label"] = label
        print(json.dumps(summary | {"counters": counters, "line": line, "results": rows}))
        return
    console = Console()
    console.print(_image_rows(results, labels))
    if labels is not None:
        summary["accuracy"] = f"{100 * summary['accuracy']:.2f}%"
    console.print(_rows("run", summary))
    console.print(_rows("core, since its reset", counters))
    console.print(_rows("line", line))


def _status(arguments: argparse.Namespace, opener: Opener) -> None:
    device = _connect(arguments, opener)
    values = device.registers()
    line = _statistics(device)
    if arguments.json:
        print(json.dumps({"registers": values, "line": line}))
        return
    table = Table()
    for name in ("offset", "register", "value", "fields"):
        table.add_column(name, justify="right" if name in ("offset", "value") else "left")
    for register in expanded(device.stages):
        fields = register.decode(values[register.name])
        shown = " ".join(f"{name}={value}" for name, value in fields.items()) if register.fields else ""
        table.add_row(f"{register.offset:03x}", register.name, f"{values[register.name]:08x}", shown)
    console = Console()
    console.print(table)
    console.print(_rows("line", line))


def _fitting(arguments: argparse.Namespace, network: IntegerNetwork, layout: int) -> list[int]:
    """The load image of `network` for a core of `layout`, whose bitstream says how it was built.

    That is `--bitstream`, or one in build/bitstream of that layout.
    """
    from abbnn.syn.patch import image_for, read_bitstream, read_metadata

    files = [arguments.bitstream] if arguments.bitstream else sorted((paths.BUILD / "bitstream").glob("*/*.bit"))
    for file in files:
        data = read_bitstream(file)
        try:
            metadata = read_metadata(data)
        except UserError as error:
            if arguments.bitstream:
                raise UserError(f"{file}: {error}") from None
            continue
        if arguments.bitstream or metadata.layout == f"{layout:08x}":
            try:
                return image_for(network, metadata)
            except UserError as error:
                raise UserError(f"{arguments.network}: {error} ({file})") from None
    raise UserError(
        f"no bitstream in {paths.BUILD / 'bitstream'} has the core's layout {layout:08x}: name it with --bitstream, or "
        "say how the core was folded with --fold or --cycles"
    )


def _load(arguments: argparse.Namespace, opener: Opener) -> None:
    if arguments.bitstream or not (arguments.fold or arguments.cycles):
        network = load_network(arguments.network)
        device = _connect(arguments, opener)
        words = _fitting(arguments, network, device.layout)
    else:
        words = Pipeline.read(arguments.network, arguments.fold, arguments.cycles).load_image
        device = _connect(arguments, opener)
    started = time.perf_counter()
    device.load(words)
    seconds = time.perf_counter() - started
    print(f"{arguments.network}: {4 * len(words):,} bytes in {seconds:.1f} s; network {device.network():016x}")


def _registers(arguments: argparse.Namespace, opener: Opener) -> None:
    print(markdown(), end="")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="abbnn host", description=(__doc__ or "").strip())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, function: Callable[[argparse.Namespace, Opener], None], text: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=function)
        return added

    def line(added: argparse.ArgumentParser) -> None:
        added.add_argument("--port", required=True, metavar="DEV", help="serial port, /dev/ttyUSB0 or the like")
        added.add_argument(
            "--baud",
            type=whole(1, BAUD_MAX),
            default=BAUD,
            metavar="N",
            help="bits a second that the bitstream has; %(default)s",
        )
        added.add_argument("--tries", type=positive, default=5, metavar="N", help="of each request; %(default)s")
        added.add_argument(
            "--timeout",
            type=above_zero(TIMEOUT_MAX),
            default=2.0,
            metavar="S",
            help="seconds without an answer; %(default)s",
        )

    classify = command("classify", _classify, "Send images through the core and show classes and scores.")
    add_images(classify)
    line(classify)
    classify.add_argument("--flying", type=positive, default=4, metavar="N", help="images under way; %(default)s")
    classify.add_argument("--json", action="store_true", help="one JSON object on stdout")

    status = command("status", _status, "Show every register of the core, and what the line has seen.")
    line(status)
    status.add_argument("--json", action="store_true", help="one JSON object on stdout")

    load = command("load", _load, "Give the core another network of the same layout, without a new bitstream.")
    add_network(load)
    line(load)
    load.add_argument(
        "--bitstream",
        type=Path,
        metavar="FILE.bit",
        help="what the board was configured with; default: the one in build/bitstream that has the core's layout",
    )
    add_folding(load)

    command("registers", _registers, "Print the register table (docs/registers.md).")
    return parser


def main(argv: Sequence[str] | None = None, opener: Opener = open_port) -> int:
    arguments = _parser().parse_args(argv)
    return run("abbnn host", lambda: arguments.run(arguments, opener))


if __name__ == "__main__":
    sys.exit(main())
