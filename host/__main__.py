"""Command line: images, status and new networks over a board's serial port."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from abbnn import paths
from abbnn.building import ticking
from abbnn.errors import UserError, run
from abbnn.export.pipeline import Pipeline
from abbnn.golden.images import Images, Labels, open_images
from abbnn.golden.network import IntegerNetwork, load_network, network_hash
from abbnn.host import simulated
from abbnn.host.link import Device, Link, Port, Result, open_port
from abbnn.host.registers import expanded, markdown
from abbnn.host.verify import Difference, check_network, differences
from abbnn.options import above_zero, add_images, add_network, positive, whole

BAUD = 3_000_000
"""Of the ULX3S; the Colorlight i5 has 115200."""
BAUD_MAX = 100_000_000
TIMEOUT_MAX = 3600
SHOWN = 20
"""Differences in a table; `--json` has all."""

Opener = Callable[[argparse.Namespace], AbstractContextManager[Port]]


def serial_port(arguments: argparse.Namespace) -> AbstractContextManager[Port]:
    return nullcontext(open_port(arguments.port, arguments.baud))


@contextmanager
def _connected(arguments: argparse.Namespace, opener: Opener) -> Iterator[Device]:
    """The device at the port, for as long as the block runs."""
    simulated.check(arguments)
    with opener(arguments) as port:
        device = Device(Link(port, tries=arguments.tries, timeout=arguments.timeout))
        device.connect()
        yield device


def _images(arguments: argparse.Namespace, height: int, width: int, classes: int) -> tuple[Images, Labels | None]:
    """The first `--count` of IMAGES."""
    images, labels = open_images(arguments.images, height, width, classes)
    count = arguments.count or len(images)
    if count > len(images):
        raise UserError(f"{arguments.images}: {len(images)} images, fewer than --count {count}")
    return np.require(images[:count], requirements=("C", "W")), None if labels is None else labels[:count]


def _results(arguments: argparse.Namespace, device: Device, images: Images) -> list[Result]:
    """What the device makes of `images`; says how far it is."""
    bar = tqdm(total=len(images), unit="img", disable=True if arguments.json else None)
    done = 0

    def progress(count: int) -> None:
        nonlocal done
        bar.update(count - done)
        done = count

    with bar, ticking(lambda: f"{done} of {len(images)} images", bar):
        return device.classify(images, flying=arguments.flying, progress=progress)


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
    with _connected(arguments, opener) as device:
        images, labels = _images(arguments, device.height, device.width, device.classes)
        started = time.perf_counter()
        results = _results(arguments, device, images)
        seconds = time.perf_counter() - started
        network, counters, line = device.network(), device.counters(), _statistics(device)
    summary: dict[str, Any] = {
        "network": f"{network:016x}",
        "images": len(images),
        "seconds": round(seconds, 3),
        "images_per_second": round(len(images) / seconds, 2),
    }
    if labels is not None:
        right = sum(int(result.label == label) for result, label in zip(results, labels, strict=True))
        summary |= {"right": right, "accuracy": right / len(images)}
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


def _difference_rows(found: Sequence[Difference]) -> Table:
    table = Table(caption=None if len(found) <= SHOWN else f"and {len(found) - SHOWN:,} more; --json has all")
    for name in ("image", "value", "expected", "got"):
        table.add_column(name, justify="left" if name == "value" else "right")
    for one in found[:SHOWN]:
        value = "class" if one.score is None else f"score {one.score}"
        table.add_row(str(one.image), value, str(one.expected), str(one.got))
    return table


def _verify(arguments: argparse.Namespace, opener: Opener) -> int:
    network = load_network(arguments.network)
    structure = network.structure
    images, _ = _images(arguments, structure.height, structure.width, structure.classes)
    with _connected(arguments, opener) as device:
        check_network(device, network)
        results = _results(arguments, device, images)
        line = _statistics(device)
    bar = tqdm(total=len(images), unit="img", desc="golden", disable=True if arguments.json else None)
    with bar, ticking(lambda: "computing what the golden model gives", bar):
        found = differences(network, images, results, bar.update)
    values, wrong = len(images) * (structure.classes + 1), len({one.image for one in found})
    if arguments.json:
        summary = {"network": network_hash(network)[:16], "images": len(images), "values": values}
        rows = [asdict(one) for one in found]
        print(json.dumps(summary | {"equal": not found, "line": line, "differences": rows}))
        return 1 if found else 0
    console = Console()
    if found:
        console.print(_difference_rows(found))
    console.print(_rows("line", line))
    if found:
        print(f"{len(found):,} of {values:,} values differ, in {wrong:,} of {len(images):,} images")
        return 1
    print(f"{structure.name}: the class and all scores of {len(images):,} images, {values:,} values, are golden's")
    return 0


def _status(arguments: argparse.Namespace, opener: Opener) -> None:
    with _connected(arguments, opener) as device:
        values, stages, line = device.registers(), device.stages, _statistics(device)
    if arguments.json:
        print(json.dumps({"registers": values, "line": line}))
        return
    table = Table()
    for name in ("offset", "register", "value", "fields"):
        table.add_column(name, justify="right" if name in ("offset", "value") else "left")
    for register in expanded(stages):
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
    words: list[int] | None = None
    if arguments.port == simulated.PORT:
        words = simulated.load_image(load_network(arguments.network), simulated.pipeline(arguments))
    elif (arguments.fold or arguments.cycles) and not arguments.bitstream:
        words = Pipeline.read(arguments.network, arguments.fold, arguments.cycles).load_image
    else:
        network = load_network(arguments.network)
    with _connected(arguments, opener) as device:
        words = words or _fitting(arguments, network, device.layout)
        started = time.perf_counter()
        with ticking(lambda: f"loading {arguments.network}"):
            device.load(words)
        seconds, found = time.perf_counter() - started, device.network()
    print(f"{arguments.network}: {4 * len(words):,} bytes in {seconds:.1f} s; network {found:016x}")


def _registers(arguments: argparse.Namespace, opener: Opener) -> None:
    print(markdown(), end="")


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="abbnn host", description=(__doc__ or "").strip())
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, function: Callable[[argparse.Namespace, Opener], int | None], text: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=function)
        return added

    def line(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--port",
            required=True,
            metavar="DEV",
            help=f"serial port, /dev/ttyUSB0 or the like; {simulated.PORT}: a board that is simulated meanwhile",
        )
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
        simulated.add_arguments(added)

    def images(added: argparse.ArgumentParser) -> None:
        add_images(added)
        line(added)
        added.add_argument("--count", type=positive, metavar="N", help="the first N images; default: all")
        added.add_argument("--flying", type=positive, default=4, metavar="N", help="images under way; %(default)s")
        added.add_argument("--json", action="store_true", help="one JSON object on stdout")

    images(command("classify", _classify, "Send images through the core and show classes and scores."))

    verify = command(
        "verify",
        _verify,
        "Compare class and all scores of each image with the golden model's; status 1: one differs.",
    )
    add_network(verify)
    images(verify)

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

    command("registers", _registers, "Print the register table (docs/registers.md).")
    return result


def main(argv: Sequence[str] | None = None, opener: Opener = serial_port) -> int:
    arguments = parser().parse_args(argv)
    return run("abbnn host", lambda: arguments.run(arguments, opener))


if __name__ == "__main__":
    sys.exit(main())
