"""Waveforms that a person can read: a stream's lanes as numbers, counters, golden values, and a saved view of it all.

With WAVES=1 `bench.simulate` adds a scope `waves` to the toplevel by a few lines of Verilog; nothing of it is in rtl/.
Below it, each `Shown` stream has a scope with `valid`, `ready`, one signal a lane, the counters of `waves` (tb/waves.v)
and, where its golden beats are known, one golden value a lane and `mismatch`. `view` writes what GTKWave reads as a
save file: a group a stream, and a marker where a test has left a `Mark`.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from abbnn.export.layout import pack
from abbnn.tb.watch import clocks

SOURCE = Path(__file__).resolve().parent / "waves.v"
PORTS_FILE = "ports.txt"
"""In the run's folder: each port of the toplevel with its bits and 1 if it is a vector, as the simulation sees them."""
MARK_FILE = "mark.json"
FEW_LANES = 8
"""More are in a group that is closed at first."""
PICOSECONDS = 1000
"""In a nanosecond; the files' unit of time, which the Verilog's `timescale says."""
SCALE = 16
"""2**SCALE picoseconds are 200 pixels at first: a cycle has room for a number of three digits."""
BEFORE_MARK_NS = 150
TEXT_WIDTH = 32
"""Letters; a longer line of text would widen the column of names."""

# Flags of a row, in hexadecimal: a signal in binary, decimal, signed decimal, hexadecimal; then rows without one.
_BIT, _DECIMAL, _SIGNED, _HEX = "28", "24", "420", "22"
_TEXT, _OPEN, _CLOSED, _END, _CLOSED_END = "200", "800200", "c00200", "1000200", "1401200"
_RED = 1


@dataclass(frozen=True)
class Shown:
    """One stream: `nets` begins the Verilog names of its tdata, tvalid and tready as the toplevel sees them.

    A beat holds `lanes` values of `width` bits, lowest first. `counters` have a name and a size each, from the
    innermost, which grows by `step`; the last has no end, whatever its size. `golden` names the file of the beats that
    are expected. Streams of one `group`, which has the name of the first, are shown together. `reset` is active high;
    by default it is the toplevel's.
    """

    name: str
    nets: str
    lanes: tuple[str, ...]
    width: int
    counters: tuple[tuple[str, int], ...]
    group: str
    step: int = 1
    signed: bool = True
    golden: str | None = None
    reset: str = ""


@dataclass(frozen=True)
class Mark:
    """A moment to look at: where in time, why, and at which stream, if it is one's."""

    ns: int
    text: str
    stream: str = ""

    def save(self, folder: Path) -> None:
        (folder / MARK_FILE).write_text(json.dumps(asdict(self)))

    @staticmethod
    def load(folder: Path) -> Mark | None:
        """None if the run in `folder` has left no mark."""
        file = folder / MARK_FILE
        return Mark(**json.loads(file.read_text())) if file.exists() else None


@dataclass(frozen=True)
class Waves:
    """What a run has written: the waveform, its view, and what is marked in it."""

    file: Path
    view: Path
    mark: Mark | None

    def __str__(self) -> str:
        marked = f"  (marked at {self.mark.ns:,} ns: {self.mark.text})" if self.mark else ""
        return f"waves: gtkwave {self.file} {self.view}{marked}"


def lanes(count: int) -> tuple[str, ...]:
    return tuple(f"lane{lane}" for lane in range(count))


def golden_text(beats: ArrayLike, width: int) -> str:
    """The file that `Shown.golden` names, of (beats, lanes) integers."""
    return "".join(f"{word:x}\n" for word in pack(np.asarray(beats), width))


# ---- what is added to the toplevel ----------------------------------------------------------------------------------


def added(text: str, module: str, streams: Iterable[Shown]) -> str:
    """A file's source with the scope `waves` at the end of `module`; unchanged if it has no such module."""
    found = re.search(rf"^module {module}\b.*?(?=^endmodule)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        return text
    told = "".join(
        f'$fdisplay(ports_file, "{name} %0d {int(vector)}", $bits({name})); ' for name, vector in ports(found[0])
    )
    lines = [
        "initial begin : waves_ports",
        f'integer ports_file; ports_file = $fopen("{PORTS_FILE}"); {told}$fclose(ports_file);',
        "end",
        *_scopes(list(streams), *(clocks(found[0]) or ("", ""))),
    ]
    return text[: found.end()] + "\n".join(lines) + "\n" + text[found.end() :]


def ports(module: str) -> list[tuple[str, bool]]:
    """Each port of a module's source, and whether it is declared with a range."""
    head = re.sub(r"//.*", "", module).partition(");")[0]
    found = re.findall(r"\b(?:input|output)\b(?:\s+(?:wire|reg|signed)\b)*\s*(\[[^,]*\])?\s*(\w+)\s*(?:,|$)", head)
    return [(name, bool(vector)) for vector, name in found]


def _scopes(streams: Sequence[Shown], clk: str, rst: str) -> Iterator[str]:
    if not streams:
        return
    yield "generate if (1) begin : waves"
    for stream in streams:
        width = len(stream.lanes) * stream.width
        names = [name for name, _ in stream.counters]
        sizes = [size for _, size in stream.counters[:-1]]
        yield f"if (1) begin : {stream.name}"
        yield f"wire valid = {stream.nets}_tvalid; wire ready = {stream.nets}_tready;"
        yield "".join(f"wire [31:0] {name}; " for name in names)
        yield f"wire mismatch; wire [{width - 1}:0] golden;"
        yield from _lanes(stream, "", f"{stream.nets}_tdata")
        if stream.golden:
            yield from _lanes(stream, "golden_", "golden")
        parameters = {
            **{"WIDTH": str(width), "STEP": str(stream.step), "GOLDEN": f'"{stream.golden or ""}"'},
            **{f"SIZE{index}": str(size) for index, size in enumerate(sizes)},
        }
        connections = {
            **{"clk": clk, "rst": stream.reset or rst, "tdata": f"{stream.nets}_tdata"},
            **{"tvalid": "valid", "tready": "ready", "golden": "golden", "mismatch": "mismatch"},
            **{f"count{index}": name for index, name in enumerate(names)},
        }
        bound = [", ".join(f".{key}({value})" for key, value in each.items()) for each in (parameters, connections)]
        yield f"waves #({bound[0]}) counters ({bound[1]});"
        yield "end"
    yield f"wire mismatch = {' || '.join(f'{stream.name}.mismatch' for stream in streams)};"
    yield "end endgenerate"


def _lanes(stream: Shown, prefix: str, vector: str) -> Iterator[str]:
    sign = "signed " if stream.signed else ""
    for index, lane in enumerate(stream.lanes):
        low = index * stream.width
        yield f"wire {sign}[{stream.width - 1}:0] {prefix}{lane} = {vector}[{low + stream.width - 1}:{low}];"


# ---- the saved view -------------------------------------------------------------------------------------------------


def view(top: str, streams: Sequence[Shown], ports: Mapping[str, str], mark: Mark | None) -> str:
    """GTKWave's save file. `top` is the toplevel, `ports` are its ports with their ranges."""
    at = mark.ns * PICOSECONDS if mark else -1
    start = max(0, mark.ns - BEFORE_MARK_NS) * PICOSECONDS if mark else 0
    lines = [
        f"[timestart] {start}",
        "[size] 1600 1000",
        f"*-{SCALE} {at} {at}",
        f"[treeopen] {top}.",
        *([f"[treeopen] {top}.waves."] if streams else []),
        "[signals_width] 300",
    ]
    if mark:
        lines += [f"@{_TEXT}", *(f"-{line}" for line in textwrap.wrap(f"{mark.ns} ns: {mark.text}", TEXT_WIDTH))]
        # What is wrong comes first, with all its lanes, and once more at its place.
        for stream in streams:
            if stream.name == mark.stream:
                lines += _group(stream.name, _stream(f"{top}.waves.{stream.name}", stream, marked=True))
    if any(stream.golden for stream in streams):
        lines += _signal(f"{top}.waves.mismatch", "mismatch", _BIT, _RED)
    grouped = _by_stream(ports)
    for name in grouped.pop("", []):
        lines += _signal(f"{top}.{name}{ports[name]}", name, _HEX if ports[name] else _BIT)
    inputs = [name for name in grouped if name.startswith("s")]
    inner = dict.fromkeys(stream.group for stream in streams if stream.group not in grouped)
    others = [name for name in grouped if name not in inputs]
    for group in (*inputs, *inner, *others):
        members = [stream for stream in streams if stream.group == group]
        rows: list[str] = []
        for name in grouped.get(group, []):
            if not (members and name.endswith(("_tvalid", "_tready"))):  # as `valid` and `ready` they are there anyway
                rows += _signal(f"{top}.{name}{ports[name]}", name, _HEX if ports[name] else _BIT)
        for index, stream in enumerate(members):
            own = _stream(f"{top}.waves.{stream.name}", stream)
            rows += own if index == 0 else _group(stream.name, own, closed=True)
        lines += _group(group, rows)
    return "\n".join(lines) + "\n"


def _by_stream(ports: Iterable[str]) -> dict[str, list[str]]:
    """Ports by the prefix that those of a stream or bus share; clock and reset under "", all without one last."""
    groups: dict[str, list[str]] = {}
    single: dict[str, list[str]] = {}
    for name in ports:
        found = re.match(r"(\w+?axil)_|(\w+)_t(?:data|valid|ready|last|keep|user)$", name)
        if found:
            groups.setdefault(found[1] or found[2], []).append(name)
        elif re.fullmatch(r"a?clk|rst|aresetn", name):
            groups.setdefault("", []).append(name)
        else:
            single.setdefault("other ports", []).append(name)
    return groups | single


def _signal(name: str, alias: str, flags: str, color: int | None = None) -> list[str]:
    return [f"@{flags}", *([f"[color] {color}"] if color else []), f"+{{{alias}}} {name}"]


def _group(name: str, rows: Sequence[str], *, closed: bool = False) -> list[str]:
    begin, end = (_CLOSED, _CLOSED_END) if closed else (_OPEN, _END)
    return [f"@{begin}", f"-{name}", *rows, f"@{end}", f"-{name}"]


def _stream(scope: str, stream: Shown, *, marked: bool = False) -> list[str]:
    def signal(name: str, flags: str, bits: int = 1, color: int | None = None) -> list[str]:
        return _signal(f"{scope}.{name}{bit_range(bits)}", f"{stream.name}.{name}", flags, color)

    number = _SIGNED if stream.signed else _DECIMAL
    rows = [*signal("valid", _BIT), *signal("ready", _BIT)]
    for name, _ in reversed(stream.counters):
        rows += signal(name, _DECIMAL, 32)
    values = [row for lane in stream.lanes for row in signal(lane, number, stream.width)]
    few = len(stream.lanes) <= FEW_LANES
    rows += values if few else _group(f"{stream.name}: lanes", values, closed=not marked)
    if stream.golden:
        rows += signal("mismatch", _BIT, color=_RED)
        golden = [row for lane in stream.lanes for row in signal(f"golden_{lane}", number, stream.width)]
        rows += _group(f"{stream.name}: golden", golden, closed=not marked)
    return rows


def bit_range(bits: int, *, vector: bool = False) -> str:
    """As GTKWave has it behind a signal's name; `vector`: one bit that was declared with a range."""
    return f"[{bits - 1}:0]" if bits > 1 or vector else ""


def read_ports(folder: Path, sim: str) -> dict[str, str]:
    """Port -> its range in the waveform, as the simulation in `folder` has told; none if it has not begun."""
    file = folder / PORTS_FILE
    found = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    # Icarus writes a vector of one bit without its range.
    return {name: bit_range(int(bits), vector=vector == "1" and sim == "verilator") for name, bits, vector in found}
