"""Boards that the flow knows: device, top, pins, options of the tools, and what the core must leave free."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from abbnn import paths, verilog
from abbnn.errors import UserError
from abbnn.export.area import Device, devices
from abbnn.export.parts import Area

BOARDS = Path(__file__).with_name("boards.json")
LPF = "design.lpf"


class Line(NamedTuple):
    """Ports of the top: its oscillator, and the serial line, as seen from the board."""

    clock: str
    rxd: str
    txd: str


@dataclass(frozen=True)
class Board:
    """One entry of boards.json."""

    name: str
    device: Device
    nextpnr: tuple[str, ...]
    """Options that name device, package and speed grade."""
    pack: tuple[str, ...]
    """Options of ecppack."""
    top: str
    """Module, with the parameters CLOCK_MHZ, BOOT_WORDS and BOOT_FILE."""
    sources: tuple[Path, ...]
    """Files beside those of rtl/ that they use."""
    lpf: Path
    line: Line
    clock_mhz: int
    """Of the core, unless a user asks for another."""
    clocks_mhz: tuple[int, ...]
    """What the top's PLL makes."""
    boot: bool
    """Whether the network goes into the bitstream; else the host loads it after configuration."""
    fill: float
    """Part of the device's LUTs and flip-flops that a folding chosen here may take, the reserve included."""
    cycles: int
    """A frame, at least, of a folding chosen here: faster ones were seen to miss `clock_mhz`."""
    reserve: Area
    """What stands around the stages of a loadable core: the top, the link, the load bus."""

    def files(self) -> list[Path]:
        """The Verilog of the top and everything below it, in an order that depends on nothing but their names."""
        texts = [path.read_text(encoding="utf-8") for path in self.sources]
        used = {
            found
            for module in verilog.modules()
            if any(re.search(rf"^\s*{module}\b", text, re.MULTILINE) for text in texts)
            for found in verilog.reachable(module)
        }
        return [*self.sources, *(verilog.file(module) for module in sorted(used))]

    def texts(self) -> dict[str, bytes]:
        """All the Verilog by file name, in the order of `files`, and the pins as LPF."""
        return {path.name: path.read_bytes() for path in self.files()} | {LPF: self.lpf.read_bytes()}


def sources_hash(texts: Mapping[str, bytes]) -> str:
    """First 64 bits of the sha256 of `Board.texts`."""
    digest = hashlib.sha256()
    for name, text in texts.items():
        digest.update(f"{name} {len(text)}\n".encode() + text)
    return digest.hexdigest()[:16]


def _fraction(value: Any) -> float:
    number = float(value)
    if not 0 < number <= 1:
        raise UserError(f"fill {number:g} is not in (0, 1]")
    return number


def _positive(value: Any) -> int:
    if not isinstance(value, int) or value < 1:
        raise UserError(f"cycles {value!r} is no number from 1 on")
    return value


def _board(name: str, entry: Mapping[str, Any], root: Path) -> Board:
    known = devices()
    if entry["device"] not in known:
        raise UserError(f"no device {entry['device']} in devices.json")
    if not isinstance(entry["top"], str):
        raise UserError(f"top {entry['top']} is no name")
    if entry["clock_mhz"] not in entry["clocks_mhz"]:
        raise UserError(f"clock_mhz {entry['clock_mhz']} is none of clocks_mhz")
    return Board(
        name,
        known[entry["device"]],
        tuple(entry["nextpnr"]),
        tuple(entry["pack"]),
        entry["top"],
        tuple(root / path for path in entry["sources"]),
        root / entry["lpf"],
        Line(*(str(entry["line"][key]) for key in Line._fields)),
        entry["clock_mhz"],
        tuple(entry["clocks_mhz"]),
        bool(entry["boot"]),
        _fraction(entry["fill"]),
        _positive(entry["cycles"]),
        Area(**{key: float(entry["reserve"][key]) for key in Area._fields}),
    )


def read_boards(path: Path = BOARDS, root: Path = paths.PACKAGE) -> dict[str, Board]:
    """All boards; their files lie below `root`. ValueError names the board and what is wrong with its entry."""
    result = {}
    for name, entry in json.loads(path.read_text(encoding="utf-8")).items():
        try:
            result[name] = _board(name, entry, root)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: {name}: {error!r}") from None
    return result


def board(name: str) -> Board:
    """ValueError lists the boards that there are."""
    known = read_boards()
    if name not in known:
        raise UserError(f"no board {name}; there are {', '.join(sorted(known))}")
    return known[name]
