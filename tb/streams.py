"""Testbench of whatever maps streams of frames to streams of frames: a small module or a whole stage.

`run_streams` is the pytest side. The cocotb tests below check values only; those of cycles.py, for modules with a fixed
latency, check the cycle of every beat. Both take all that they expect from the case and run on any design.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles
from numpy.typing import ArrayLike, NDArray

from abbnn.export.layout import pack, unpack, unpack_bits
from abbnn.tb import waves
from abbnn.tb.bench import STALLS, Bench, assert_equal, load_case, pauses, simulate

ALONE = 0.6
"""Share of the cycles in which one of several streams is stalled while the others are not."""


@dataclass(frozen=True)
class Stream:
    """What passes one port: (frames, ...) integers in stream order, in beats of `lanes` values of `width` bits."""

    values: NDArray[Any]
    lanes: int
    width: int

    def beats(self) -> NDArray[Any]:
        """(frames, beats, lanes)"""
        return np.asarray(self.values).reshape(len(self.values), -1, self.lanes)

    def shown(self, prefix: str) -> list[waves.Shown]:
        """How a waveform shows it at the port `prefix`; a stream of bits has no lanes that one would read."""
        if self.width == 1:
            return []
        counters = (("beat", self.beats().shape[1]), ("frame", 0))
        signed = bool(np.asarray(self.values).min() < 0)
        return [waves.Shown(prefix, prefix, waves.lanes(self.lanes), self.width, counters, prefix, signed=signed)]


def run_streams(
    toplevel: str,
    parameters: Mapping[str, int | str],
    inputs: Stream | Mapping[str, Stream],
    outputs: Stream | Mapping[str, Stream],
    *,
    latency: int | None = None,
    needs: ArrayLike | None = None,
    entries: ArrayLike | None = None,
    accepted: int | None = None,
    interval: int | None = None,
    stalls: Sequence[tuple[float, float]] = (),
    resets: Sequence[int] | None = None,
    modules: Sequence[str] = (),
    settle: int = 0,
    reset_cycles: int = 1,
    extra: Mapping[str, Any] | None = None,
    **options: Any,
) -> None:
    """Simulate one design. `inputs` and `outputs` are by port prefix; a single one is that of s_axis or m_axis.

    With a `latency`, the tests of cycles.py run as well. They expect, when nothing stalls, output beat k of all frames
    `latency` cycles after the last input beat that it needs, or one cycle after beat k - 1 if that is later, where
    - `needs` are the numbers, within the frame, of the input beats that each output beat of a frame waits for
      (default: its own number),
    - `entries` are the cycles in which the input beats of all frames enter, from the first (default: one a cycle),
    and they expect `accepted` input beats to enter while the outputs are stalled (default: what the first output beat
    needs, and the beats in the pipeline's stages behind it).

    `interval` is the number of cycles from frame to frame (default: that of one beat a cycle), `stalls` are patterns on
    top of STALLS, and `resets` the cycles after the first frame's start at which a reset comes (default: early, in the
    middle and in the second frame). The first beat follows a reset `settle` cycles later than it could; a reset in
    mid-frame lasts `reset_cycles`, more than one where a leaf of the reset tree is inside. `modules` are further files
    of cocotb tests for the same build, `extra` is theirs.
    """
    sides = {
        "inputs": {"s_axis": inputs} if isinstance(inputs, Stream) else dict(inputs),
        "outputs": {"m_axis": outputs} if isinstance(outputs, Stream) else dict(outputs),
    }
    case: dict[str, Any] = dict(extra or {})
    beats = {}
    for side, streams in sides.items():
        case[side] = list(streams)
        for prefix, stream in streams.items():
            case[f"{prefix}.beats"] = stream.beats()
            case[f"{prefix}.width"] = stream.width
            beats[prefix] = stream.beats().shape[1]
    case["settle"] = settle
    case["reset_cycles"] = reset_cycles
    case["interval"] = interval or max(beats.values())
    case["stalls"] = [*STALLS, *stalls]
    case["resets"] = resets or (3, case["interval"] // 2 + 2, case["interval"] + 7)
    tests = ["streams"]
    if latency is not None:
        tests.append("cycles")
        first = next(iter(sides["inputs"]))
        count = len(case[f"{first}.beats"]) * beats[first]
        case["latency"] = latency
        case["needs"] = np.arange(beats[first]) if needs is None else needs
        case["entries"] = np.arange(count) if entries is None else entries
        case["accepted"] = min(int(case["needs"][0]) + latency if accepted is None else accepted, count)
    shown = [each for streams in sides.values() for prefix, stream in streams.items() for each in stream.shown(prefix)]
    simulate(toplevel, ",".join([*tests, *modules]), parameters, case=case, shown=shown, **options)


class StreamBench(Bench):
    """The design and the case that `run_streams` was given."""

    def __init__(self, dut: Any) -> None:
        self.case = case = load_case()
        super().__init__(dut, sources=case["inputs"].tolist(), sinks=case["outputs"].tolist())
        self.inputs = {p: [pack(frame, int(case[f"{p}.width"])) for frame in case[f"{p}.beats"]] for p in self.sources}
        self.outputs = {p: case[f"{p}.beats"] for p in self.sinks}
        self.frames = len(next(iter(self.outputs.values())))
        self.interval = int(case["interval"])

    async def reset(self, cycles: int = 4) -> None:
        from cocotb.triggers import ClockCycles

        await super().reset(cycles)
        if settle := int(self.case["settle"]):
            await ClockCycles(self.dut.clk, settle)

    def send_frame(self, index: int) -> None:
        """Queue frame `index` on all inputs."""
        for prefix, frames in self.inputs.items():
            self.send(frames[index], prefix)

    def send_all(self) -> None:
        for index in range(self.frames):
            self.send_frame(index)

    async def check_frame(self, index: int) -> None:
        """The next frame of every output is frame `index`."""
        for prefix, frames in self.outputs.items():
            expected = frames[index]
            lanes, width = expected.shape[1], int(self.case[f"{prefix}.width"])
            words = await self.receive(len(expected), prefix, cycles=100 * self.interval + 10_000)
            actual = unpack_bits(words, lanes) if width == 1 else unpack(words, lanes, width, signed=frames.min() < 0)
            assert_equal(actual, expected, f"beat, lane of {prefix} in frame {index}")

    async def check_all(self) -> None:
        for index in range(self.frames):
            await self.check_frame(index)

    def stall_alone(self, prefix: str, share: float = ALONE) -> None:
        """Pause this stream in `share` of the cycles, and no other."""
        self.stall(0, 0)
        end = {**self.sources, **self.sinks}[prefix]
        end.set_pause_generator(pauses(share, self.random))


@cocotb.test()
async def frames(dut: Any) -> None:
    """All frames back to back under every pattern of stalls; each of several streams is also stalled alone."""
    bench = StreamBench(dut)
    await bench.reset()
    patterns: list[tuple[Any, Any]] = [(bench.stall, stalls) for stalls in bench.case["stalls"]]
    for side in (bench.sources, bench.sinks):
        patterns += [(bench.stall_alone, (prefix,)) for prefix in side if len(side) > 1]
    for stall, pattern in patterns:
        stall(*pattern)
        bench.send_all()
        await bench.check_all()
        await bench.silent()


@cocotb.test()
async def reset_in_mid_frame(dut: Any) -> None:
    """What was under way is gone, and the next frame is right."""
    bench = StreamBench(dut)
    await bench.reset()
    for stalls in ((0.0, 0.0), (0.2, 0.3)):
        for cycles in bench.case["resets"]:
            bench.stall(*stalls)
            bench.send_all()
            await ClockCycles(dut.clk, int(cycles))
            await bench.reset(int(bench.case["reset_cycles"]))
            await bench.silent()
            bench.send_frame(1)
            await bench.check_frame(1)
            await bench.silent(8)
