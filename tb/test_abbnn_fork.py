"""abbnn_fork: both branches get every beat once and in order, each as soon as it is ready."""

import cocotb
import numpy as np
import pytest
from bench import STALLS, Bench, assert_elaboration_fails, assert_equal, load_case, pauses, simulate
from cocotb.triggers import ClockCycles, FallingEdge

LATENCY = 0
BRANCHES = ("m0_axis", "m1_axis")

BAD_PARAMETERS = [("abbnn_fork", {"DATA_WIDTH": 0}, "DATA_WIDTH_must_be_at_least_1")]


def make_bench(dut):
    return Bench(dut, sinks=BRANCHES)


async def check(bench, beats):
    for branch in BRANCHES:
        assert_equal(np.array(await bench.receive(len(beats), branch, cycles=20_000)), beats, f"{branch} beat")


async def transfers(dut, prefix, cycles):
    """Append the number of every cycle in which the stream transfers a beat."""
    cycle = 0
    valid, ready = getattr(dut, f"{prefix}_tvalid"), getattr(dut, f"{prefix}_tready")
    while True:
        await FallingEdge(dut.clk)
        cycle += 1
        if str(valid.value) + str(ready.value) == "11":
            cycles.append(cycle)


@cocotb.test()
async def stream(dut):
    """Both branches stalled alike, then each alone, then by different shares."""
    beats = load_case()["beats"]
    bench = make_bench(dut)
    await bench.reset()
    for idle, pressure in STALLS:
        for shares in ((pressure, pressure), (pressure, 0.0), (0.0, pressure), (0.8, pressure)):
            bench.stall(idle, 0.0)
            for branch, share in zip(BRANCHES, shares, strict=True):
                bench.sinks[branch].set_pause_generator(pauses(share, bench.random))
            bench.send(beats)
            await check(bench, beats)
            await bench.silent()


@cocotb.test()
async def timing(dut):
    """Latency, and a beat every cycle on both branches."""
    beats = load_case()["beats"]
    bench = make_bench(dut)
    await bench.reset()
    cycles = {prefix: [] for prefix in ("s_axis", *BRANCHES)}
    for prefix, found in cycles.items():
        cocotb.start_soon(transfers(dut, prefix, found))
    bench.send(beats)
    await check(bench, beats)
    assert cycles["s_axis"][-1] - cycles["s_axis"][0] + 1 == len(beats), "cycles lost between beats"
    for branch in BRANCHES:
        assert cycles[branch][0] - cycles["s_axis"][0] == LATENCY
        assert cycles[branch] == cycles["s_axis"]


@cocotb.test()
async def valid_does_not_wait(dut):
    """With both branches stalled both see the beat; the first to be ready takes exactly one, whichever it is."""
    beats = load_case()["beats"]
    bench = make_bench(dut)
    for first, second in (BRANCHES, BRANCHES[::-1]):
        await bench.reset()
        for branch in BRANCHES:
            bench.sinks[branch].pause = True
        await ClockCycles(dut.clk, 2)
        bench.send(beats)
        await ClockCycles(dut.clk, 5)
        assert [int(getattr(dut, f"{branch}_tvalid").value) for branch in BRANCHES] == [1, 1]
        bench.sinks[first].pause = False
        await ClockCycles(dut.clk, 10)
        assert await bench.receive(1, first) == [int(beats[0])]
        assert bench.sinks[first].empty(), f"{first} ran ahead of {second}"
        assert bench.sinks[second].empty(), f"{second} took a beat while stalled"
        bench.sinks[second].pause = False
        assert_equal(np.array(await bench.receive(len(beats), second)), beats, "beat")
        assert_equal(np.array(await bench.receive(len(beats) - 1, first)), beats[1:], "beat")
        await bench.silent()


@cocotb.test()
async def reset_in_mid_stream(dut):
    """Also while one branch has its copy and the other not."""
    beats = load_case()["beats"]
    bench = make_bench(dut)
    await bench.reset()
    for stalled in BRANCHES:
        bench.stall(0.3, 0.3)
        bench.send(beats)
        await ClockCycles(dut.clk, 20)
        bench.stall(0, 0)
        bench.sinks[stalled].pause = True
        await ClockCycles(dut.clk, 10)
        await bench.reset()
        await bench.silent()
        bench.send(beats[:50])
        await check(bench, beats[:50])
        await bench.silent()


@pytest.mark.parametrize("width", [1, 40])
def test_abbnn_fork(width):
    beats = np.random.default_rng(width).integers(0, 1 << width, 100)
    beats[:2] = 0, (1 << width) - 1
    simulate("abbnn_fork", "test_abbnn_fork", {"DATA_WIDTH": width}, case={"beats": beats})


@pytest.mark.parametrize(("toplevel", "parameters", "message"), BAD_PARAMETERS)
def test_abbnn_fork_parameters(toplevel, parameters, message):
    assert_elaboration_fails(toplevel, parameters, message)
