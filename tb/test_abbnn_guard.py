"""abbnn_guard: whatever comes in, every frame that goes out is BEATS long, and its verdict tells whether it came so."""

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles, FallingEdge, with_timeout

from abbnn.tb.bench import STALLS, Bench, assert_equal, load_case, rows, simulate

LATENCY = 1

LINT_PARAMETERS = rows("DATA_WIDTH BEATS", (1, 1), (8, 2), (24, 1024), (24, 1000))
BAD_PARAMETERS = [
    ("abbnn_guard", {"DATA_WIDTH": 0}, "DATA_WIDTH_must_be_at_least_1"),
    ("abbnn_guard", {"BEATS": 0}, "BEATS_must_be_at_least_1"),
]


class Monitor:
    """Watches every cycle: transfers, error pulses, the stability of what is offered, and the ports during reset."""

    def __init__(self, dut, beats):
        self.dut, self.beats = dut, beats
        cocotb.start_soon(self._watch())
        self.clear()

    def clear(self):
        self.cycle = self.position = 0
        self.starts, self.expected_short, self.expected_long = [], [], []
        self.taken, self.given, self.ends, self.verdicts = [], [], [], []
        self.short, self.long = [], []
        self.waiting = {}

    async def _watch(self):
        dut = self.dut
        while True:
            await FallingEdge(dut.clk)
            self.cycle += 1
            if str(dut.rst.value) == "1":
                self.clear()
                assert [str(s.value) for s in (dut.s_axis_tready, dut.m_verdict_tvalid)] == ["0", "0"], (
                    "active in reset"
                )
                continue
            self._stable("m_axis", dut.m_axis_tvalid, dut.m_axis_tready, (dut.m_axis_tdata, dut.m_axis_tlast))
            self._stable("m_verdict", dut.m_verdict_tvalid, dut.m_verdict_tready, (dut.m_verdict_tdata,))
            if dut.error_short.value == 1:
                self.short.append(self.cycle)
            if dut.error_long.value == 1:
                self.long.append(self.cycle)
            if dut.m_axis_tvalid.value == 1 and dut.m_axis_tready.value == 1:
                self.given.append(self.cycle)
                if dut.m_axis_tlast.value == 1:
                    self.ends.append(self.cycle)
            if dut.m_verdict_tvalid.value == 1 and dut.m_verdict_tready.value == 1:
                self.verdicts.append(self.cycle)
            if dut.s_axis_tvalid.value == 1 and dut.s_axis_tready.value == 1:
                self._input(dut.s_axis_tlast.value == 1)

    def _input(self, last):
        self.taken.append(self.cycle)
        if self.position == 0:
            self.starts.append(self.cycle)
        if last and self.position < self.beats - 1:
            self.expected_short.append(self.cycle + 1)
        if not last and self.position == self.beats - 1:
            self.expected_long.append(self.cycle + 1)
        self.position = 0 if last else self.position + 1

    def _stable(self, name, valid, ready, payload):
        offer = [str(signal.value) for signal in payload] if valid.value == 1 else None
        before = self.waiting.get(name)
        assert before is None or offer == before, f"{name} offers {before}, then {offer} without a transfer"
        self.waiting[name] = None if ready.value == 1 else offer

    def check(self, lengths):
        """Pulses in the cycle after the offending transfer, one a bad frame; every verdict before its frame's end."""
        assert (self.short, self.long) == (self.expected_short, self.expected_long), "error pulses"
        assert len(self.short) == sum(length < self.beats for length in lengths)
        assert len(self.long) == sum(length > self.beats for length in lengths)
        assert len(self.verdicts) == len(self.ends) == len(lengths)
        assert all(verdict < end for verdict, end in zip(self.verdicts, self.ends, strict=True)), "a verdict came late"


def make(dut):
    case = load_case()
    beats = int(case["beats"])
    frames = np.split(case["data"], np.cumsum(case["lengths"])[:-1])
    return Bench(dut, sinks=("m_axis", "m_verdict")), Monitor(dut, beats), frames, beats


async def check(bench, frames, beats):
    """All the output that the frames give: exact frames and verdict."""
    for number, frame in enumerate(frames):
        expected = np.zeros(beats, dtype=np.int64)
        expected[: min(len(frame), beats)] = frame[:beats]
        received = await with_timeout(bench.sinks["m_axis"].recv(), 200_000, "ns")
        assert_equal(np.array(list(received.tdata)), expected, f"frame {number} of {len(frame)} beats: beat")
    verdicts = await bench.receive(len(frames), "m_verdict", cycles=1000)
    assert_equal(np.array(verdicts), np.array([int(len(frame) != beats) for frame in frames]), "frame verdict")


def send(bench, frames):
    for frame in frames:
        bench.send(frame)


def lengths(frames):
    return [len(frame) for frame in frames]


@cocotb.test()
async def stream(dut):
    """Good, short and long frames in random order, through every stall."""
    bench, monitor, frames, beats = make(dut)
    await bench.reset()
    for idle, back_pressure in STALLS:
        monitor.clear()
        bench.stall(idle, back_pressure)
        send(bench, frames)
        await check(bench, frames, beats)
        await bench.silent()
        monitor.check(lengths(frames))


@cocotb.test()
async def timing(dut):
    """A frame holds the input for max(its length, BEATS) cycles, and its beats come out one cycle after they go in."""
    bench, monitor, frames, beats = make(dut)
    await bench.reset()
    send(bench, frames)
    await check(bench, frames, beats)
    held = [max(length, beats) for length in lengths(frames)]
    assert np.diff(monitor.starts).tolist() == held[:-1], "cycles lost between frames"
    expected = [start + LATENCY + beat for start in monitor.starts for beat in range(beats)]
    assert monitor.given == expected, "cycles of the output beats"
    monitor.check(lengths(frames))


@cocotb.test()
async def verdict_stalled(dut):
    """The last beat waits for the verdict to be taken; nothing is lost."""
    bench, monitor, frames, beats = make(dut)
    good, long = (next(f for f in frames if len(f) == length) for length in (beats, beats + 1))
    for frame in (frames[0], good, long):
        await bench.reset()
        bench.sinks["m_verdict"].pause = True
        await ClockCycles(dut.clk, 2)
        send(bench, [frame, frame])
        await ClockCycles(dut.clk, beats + 20)
        assert len(monitor.given) == beats - 1, "the last beat did not wait"
        assert dut.m_verdict_tvalid.value == 1
        bench.stall(0, 0)
        await check(bench, [frame, frame], beats)
        await bench.silent()
        monitor.check(lengths([frame, frame]))


@cocotb.test()
async def output_stalled(dut):
    """A verdict is offered as soon as its last beat is at the input, even if the beat before waits on the output."""
    bench, monitor, frames, beats = make(dut)
    good = next(f for f in frames if len(f) == beats)
    await bench.reset()
    bench.sinks["m_axis"].pause = True
    await ClockCycles(dut.clk, 2)
    send(bench, [good, good])
    await ClockCycles(dut.clk, 10)
    assert len(monitor.verdicts) == {1: 2, 2: 1}.get(beats, 0)
    bench.stall(0, 0)
    await check(bench, [good, good], beats)
    await bench.silent()


@cocotb.test()
async def reset_in_mid_frame(dut):
    """The rest of a cut frame is a short frame, and the frame after it is good; data during reset is not taken."""
    bench, monitor, frames, beats = make(dut)
    good = next(f for f in frames if len(f) == beats)
    await bench.reset()
    for cut in frames[:8]:
        bench.stall(0.0, 0.3)
        send(bench, [cut] * 3)
        await ClockCycles(dut.clk, int(bench.numpy_random.integers(3, 3 * len(cut) + 4)))
        await bench.reset()
        dut.rst.value = 1
        await ClockCycles(dut.clk, 2)
        dut.s_axis_tvalid.value = 1
        await ClockCycles(dut.clk, 3)
        dut.s_axis_tvalid.value = 0
        await ClockCycles(dut.clk, 1)
        dut.rst.value = 0
        await bench.silent()
        tail = [good[beats // 2 + 1 :]] if beats // 2 + 1 < beats else []
        send(bench, [*tail, good, good])
        await check(bench, [*tail, good, good], beats)
        await bench.silent()
        monitor.check(lengths([*tail, good, good]))


@pytest.mark.parametrize(("width", "beats"), [(8, 1), (1, 2), (24, 7), (60, 16)])
def test_abbnn_guard(width, beats):
    rng = np.random.default_rng([width, beats])
    kinds = [1, max(beats - 1, 1), beats, beats, beats, beats + 1, 2 * beats, 2 * beats + 3]
    lengths = [*kinds, *rng.choice(kinds, 20), *rng.integers(1, 3 * beats + 1, 10), beats]
    data = rng.integers(0, 1 << width, sum(lengths)) | 1  # no beat is zero: a completed one is never like a real one
    case = {"data": data, "lengths": lengths, "beats": beats}
    simulate("abbnn_guard", "test_abbnn_guard", {"DATA_WIDTH": width, "BEATS": beats}, case=case)
