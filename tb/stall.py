"""Random stalls on every stream inside a design at once, to attack it for deadlocks. Nothing of it is in rtl/.

`stalled_rtl` writes a copy of rtl/ in which each module that makes an output stream itself is wrapped: same name,
parameters and ports, with a `stall` (tb/stall.v) between each of its output streams and the port, and a watcher of the
stream's rules (tb/watch.py) in front of it. Every stream has one producer, so none is forgotten: a module whose output
stream is neither its own nor a part's is an error. Inside the simulator, `Stalls` finds them all by walking the
hierarchy, opens and closes them, and counts.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import abbnn.verilog
from abbnn.errors import UserError
from abbnn.tb.watch import watched

SOURCE = Path(__file__).resolve().parent / "stall.v"
REPORT_FILE = "stalls.json"
"""In the run's folder: what every stream did; see `Stalls.report`."""
LONGEST = 256
"""Cycles of the longest random burst."""
QUIET = 300
"""Cycles without a transfer on any stream after which a design in which one is closed counts as at a standstill."""
STUCK = QUIET + 4 * LONGEST
"""The same for one in which none is closed for long: it is stuck."""

FORK = "fork_inst.m0_axis"
"""A stream that every block has, relative to the block."""
RESIDUAL = r"fork_inst\.m1_|gen_values\.|gen_shortcut\."
CONVOLUTION = r"(fork_inst\.m0_|(compare|bits_resize|window|replay|array|scale)_inst\.)"
"""Which of a block's streams are on the residual path, and which on the convolution's, up to the adder."""

_STREAM = re.compile(r"^\s*output wire\s+(m\d?_(?:axis|verdict))_tvalid", re.MULTILINE)
_HEADER = re.compile(r"^module (\w+)(.*?)\n\);\n", re.MULTILINE | re.DOTALL)
_PARAMETER = re.compile(r"^\s*parameter\s.*?(\w+)\s*=", re.MULTILINE)
_PORT = re.compile(r"^\s*(?:input|output)\s+wire\s.*?(\w+),?$", re.MULTILINE)


def wrapped(text: str) -> str:
    """A module's source with a `stall` behind each stream that it makes itself; unchanged if it makes none.

    ValueError if an output stream is neither assigned nor connected to an instance.
    """
    header = _HEADER.search(text)
    assert header is not None
    name, ports = header[1], _PORT.findall(header[2])
    own = [stream for stream in _STREAM.findall(header[2]) if re.search(rf"assign {stream}_tvalid\b", text)]
    for stream in _STREAM.findall(header[2]):
        if stream not in own and not re.search(rf"\.\w+_tvalid\({stream}_tvalid\)", text):
            raise UserError(f"{name}: what makes the stream {stream}?")
    if not own:
        return text
    handshakes = [f"{stream}_{end}" for stream in own for end in ("tvalid", "tready")]
    parameters = ", ".join(f".{each}({each})" for each in _PARAMETER.findall(header[2]))
    connections = [f".{port}({f'inner_{port}' if port in handshakes else port})" for port in ports]
    stalls = [
        f"stall {stream}_stall (.clk(clk), .rst(rst), .s_axis_tvalid(inner_{stream}_tvalid), "
        f".s_axis_tready(inner_{stream}_tready), .m_axis_tvalid({stream}_tvalid), .m_axis_tready({stream}_tready));"
        for stream in own
    ]
    wrapper = [
        header[0],
        *(f"wire inner_{net};" for net in handshakes),
        f"{name}__inner {f'#({parameters}) ' if parameters else ''}inner ({', '.join(connections)});",
        *stalls,
        "endmodule",
        "`resetall",
        "",
    ]
    inner = text.replace(f"module {name}", f"module {name}__inner", 1)
    frame = text[: header.start()]
    return inner + "\n" + frame + "\n".join(wrapper)


@contextmanager
def stalled_rtl(folder: Path, changes: Mapping[str, tuple[str, str]] | None = None) -> Iterator[None]:
    """While the block runs, designs are built from a copy of rtl/ in `folder` with a `stall` on every stream.

    `changes` maps a module to a text of its source and what to put in its place, to see an attack succeed; a text that
    is not there once is a ValueError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SOURCE.name).write_text(SOURCE.read_text())
    for path in sorted(abbnn.verilog.RTL.rglob("*.v")):
        text = path.read_text()
        old, replacement = (changes or {}).get(path.stem, ("", ""))
        if old and text.count(old) != 1:
            raise UserError(f"{path.name}: {text.count(old)} times {old!r}")
        text = text.replace(old, replacement) if old else text
        (folder / path.name).write_text(wrapped(watched(text, path.stem)))
    rtl, abbnn.verilog.RTL = abbnn.verilog.RTL, folder
    abbnn.verilog.reachable.cache_clear()
    try:
        yield
    finally:
        abbnn.verilog.RTL = rtl
        abbnn.verilog.reachable.cache_clear()


# ---- inside the simulator ---------------------------------------------------------------------------------------


class Stalls:
    """All `stall` instances below `dut`; a stream's name is its producer's path and port, without the top."""

    def __init__(self, dut: Any) -> None:
        import cocotb

        self.clk = dut.clk
        self.streams: dict[str, Any] = {}
        self.random = random.Random(cocotb.RANDOM_SEED)
        self._walk(dut)
        self.phases = 0
        self._beats, self._still = -1, 0

    def _walk(self, scope: Any) -> None:
        from cocotb.handle import HierarchyArrayObject, HierarchyObject

        for child in scope:
            if isinstance(child, (HierarchyObject, HierarchyArrayObject)):
                if child._name.endswith("_stall"):
                    stream: Any = child
                    self.streams[stream._path.partition(".")[2].removesuffix("_stall")] = stream
                    stream.seed.value = self.random.randrange(1, 1 << 32)
                else:
                    self._walk(child)

    def where(self, pattern: str) -> list[str]:
        """The streams whose name begins with the regular expression."""
        return [name for name in self.streams if re.match(pattern, name)]

    def set(self, *, active: bool, shut: Iterable[str] = ()) -> None:
        """Random bursts with new shares of 10% to 80%, or none; the streams of `shut` closed for good."""
        closed = set(shut)
        self.phases += 1
        for name, stream in self.streams.items():
            stream.share.value = self.random.randint(10, 80)
            stream.active.value = int(active)
            stream.shut.value = int(name in closed)

    async def wait(self, cycles: int) -> int:
        """Let them pass; returns for how many cycles, at least, no stream has moved."""
        from cocotb.triggers import ClockCycles

        for _ in range(0, cycles, 50):
            await ClockCycles(self.clk, 50)
            beats = sum(int(stream.beats.value) for stream in self.streams.values())
            self._still = self._still + 50 if beats == self._beats else 0
            self._beats = beats
        return self._still

    async def recover(self, cycles: int) -> None:
        """Random stalls on all streams for that long; AssertionError with those that wait once none moves any more."""
        self.set(active=True)
        self._still = 0
        while await self.wait(cycles) >= QUIET:
            cycles = QUIET
            if self._still >= STUCK:
                waiting = [name for name, stream in self.streams.items() if str(stream.waiting.value) == "1"]
                raise AssertionError(f"stuck: nothing has moved for {self._still} cycles; waiting: {' '.join(waiting)}")

    async def close(self, name: str, limit: int) -> None:
        """Close one stream, open all others, until none moves; AssertionError if that takes more than `limit`."""
        self.set(active=False, shut=[name])
        self._still = 0
        for _ in range(0, limit, QUIET):
            if await self.wait(QUIET) >= QUIET:
                return
        raise AssertionError(f"{name} is closed, but the rest moves on")

    async def attack(self, bench: Any, limit: int) -> None:
        """For ever: all streams stalled at random, then one block's residual path and its convolution path closed in
        turn while the other moves; every second time, the stream least held so far closed until nothing moves."""
        blocks = [name.removesuffix(FORK) for name in self.streams if name.endswith(FORK)]
        order = self.random.sample(list(self.streams), len(self.streams))
        for step in itertools.count(1):
            bench.stall(self.random.choice([0, 0.3]), self.random.choice([0, 0.5]))
            await self.recover(self.random.randint(200, 1500))
            block = self.random.choice(blocks)
            paths = [self.where(f"{re.escape(block)}({path})") for path in (RESIDUAL, CONVOLUTION)]
            assert all(paths), block
            for path in self.random.sample(paths, 2):
                self.set(active=True, shut=path)
                await self.wait(self.random.randint(100, 1000))
                await self.recover(self.random.randint(50, 300))
            if step % 2 == 0:
                bench.stall(0, 0)
                await self.close(min(order, key=self._held), limit)

    def _held(self, name: str) -> tuple[int, int]:
        stream = self.streams[name]
        return int(stream.held.value), int(stream.beats.value)

    def report(self, folder: Path, cycles: int) -> None:
        """AssertionError unless every stream has moved, was closed, and was closed while it had a beat to give."""
        counts = {
            name: {what: int(getattr(stream, what).value) for what in ("beats", "stalled", "held")}
            for name, stream in self.streams.items()
        }
        (folder / REPORT_FILE).write_text(
            json.dumps({"cycles": cycles, "phases": self.phases, "streams": counts}, indent=1)
        )
        for what in ("beats", "stalled", "held"):
            never = [name for name, count in counts.items() if count[what] == 0]
            assert not never, f"{what}: none on {' '.join(never)}"
