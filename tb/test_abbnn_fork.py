"""abbnn_fork: both branches get every beat once and in order, each as soon as it is ready."""

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles

from abbnn.tb.bench import assert_equal, pauses, rows
from abbnn.tb.streams import Stream, StreamBench, run_streams

LATENCY = 0
BRANCHES = ("m0_axis", "m1_axis")

LINT_PARAMETERS = rows("DATA_WIDTH", (1,), (576,))
BAD_PARAMETERS = [("abbnn_fork", {"DATA_WIDTH": 0}, "DATA_WIDTH_must_be_at_least_1")]


@cocotb.test()
async def unequal_stalls(dut):
    """One branch alone or much more stalled than the other, with an input that comes in drops."""
    bench = StreamBench(dut)
    await bench.reset()
    for idle in (0.0, 0.4):
        for shares in ((0.5, 0.0), (0.0, 0.5), (0.8, 0.5), (0.5, 0.8)):
            bench.stall(idle, 0.0)
            for branch, share in zip(BRANCHES, shares, strict=True):
                bench.sinks[branch].set_pause_generator(pauses(share, bench.random))
            bench.send_all()
            await bench.check_all()
            await bench.silent()


@cocotb.test()
async def valid_does_not_wait(dut):
    """With both branches stalled both see the beat; the first to be ready takes exactly one, whichever it is."""
    bench = StreamBench(dut)
    beats = bench.inputs["s_axis"][0]
    for first, second in (BRANCHES, BRANCHES[::-1]):
        await bench.reset()
        for branch in BRANCHES:
            bench.sinks[branch].pause = True
        await ClockCycles(dut.clk, 2)
        bench.send_frame(0)
        await ClockCycles(dut.clk, 5)
        assert [int(getattr(dut, f"{branch}_tvalid").value) for branch in BRANCHES] == [1, 1]
        bench.sinks[first].pause = False
        await ClockCycles(dut.clk, 10)
        assert await bench.receive(1, first) == beats[:1]
        assert bench.sinks[first].empty(), f"{first} ran ahead of {second}"
        assert bench.sinks[second].empty(), f"{second} took a beat while stalled"
        bench.sinks[second].pause = False
        assert_equal(np.array(await bench.receive(len(beats), second)), np.array(beats), "beat")
        assert_equal(np.array(await bench.receive(len(beats) - 1, first)), np.array(beats[1:]), "beat")
        await bench.silent()


@cocotb.test()
async def reset_with_one_copy_taken(dut):
    """A reset while one branch has its copy and the other not."""
    bench = StreamBench(dut)
    await bench.reset()
    for stalled in BRANCHES:
        bench.stall(0.3, 0.3)
        bench.send_all()
        await ClockCycles(dut.clk, 20)
        bench.stall(0, 0)
        bench.sinks[stalled].pause = True
        await ClockCycles(dut.clk, 10)
        await bench.reset()
        await bench.silent()
        bench.send_frame(1)
        await bench.check_frame(1)
        await bench.silent()


@pytest.mark.parametrize("width", [1, 40])
def test_abbnn_fork(width):
    values = np.random.default_rng(width).integers(0, 1 << width, (2, 50))
    values[0, :2] = 0, (1 << width) - 1
    beats = Stream(values, 1, width)
    outputs = dict.fromkeys(BRANCHES, beats)
    run_streams("abbnn_fork", {"DATA_WIDTH": width}, beats, outputs, latency=LATENCY, modules=["test_abbnn_fork"])
