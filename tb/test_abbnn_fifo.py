"""abbnn_fifo: the stream passes unchanged, one beat a cycle; exactly DEPTH + 2 beats fit behind a stalled output."""

import cocotb
import numpy as np
import pytest
from bench import STALLS, Bench, assert_elaboration_fails, assert_equal, load_case, simulate
from cocotb.triggers import ClockCycles, FallingEdge

LATENCY = 3
REGISTERS = 2
"""Beats held beside the memory's DEPTH."""

BAD_PARAMETERS = [
    ("abbnn_fifo", {"DATA_WIDTH": 0}, "DATA_WIDTH_must_be_at_least_1"),
    ("abbnn_fifo", {"DEPTH": 1}, "DEPTH_must_be_at_least_2"),
]


def load_beats():
    """Any number of bits: the case holds hexadecimal texts."""
    return np.array([int(beat, 16) for beat in load_case()["beats"]], dtype=object)


async def check(bench, beats):
    assert_equal(np.array(await bench.receive(len(beats), cycles=20_000), dtype=object), beats, "beat")


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
    beats = load_beats()
    bench = Bench(dut)
    await bench.reset()
    for idle, back_pressure in [*STALLS, (0.1, 0.8), (0.8, 0.1)]:
        bench.stall(idle, back_pressure)
        bench.send(beats)
        await check(bench, beats)
        await bench.silent()


@cocotb.test()
async def timing(dut):
    """Latency and no lost cycle: from empty, and again after a stall has filled every place."""
    beats = load_beats()
    capacity = int(load_case()["depth"]) + REGISTERS
    bench = Bench(dut)
    await bench.reset()
    taken, given = [], []
    cocotb.start_soon(transfers(dut, "s_axis", taken))
    cocotb.start_soon(transfers(dut, "m_axis", given))
    bench.send(beats)
    await check(bench, beats)
    assert given[0] - taken[0] == LATENCY
    assert given[-1] - given[0] + 1 == len(beats), "cycles lost between beats"
    for early in (0, 1, 2):  # these beats come first and leave a gap behind them, which must not cost a place
        taken.clear()
        given.clear()
        bench.sinks["m_axis"].pause = True
        await ClockCycles(dut.clk, 2)
        if early:
            bench.send(beats[:early])
            await ClockCycles(dut.clk, 10)
        bench.send(beats[early:])
        await ClockCycles(dut.clk, capacity + 20)
        assert len(taken) == capacity, f"{len(taken)} beats accepted, not {capacity}"
        assert taken[-1] - taken[early] + 1 == capacity - early, "cycles lost while filling"
        bench.stall(0, 0)
        await check(bench, beats)
        assert given[-1] - given[0] + 1 == len(beats), "cycles lost after the FIFO was full"
    await bench.silent()


@cocotb.test()
async def reset_in_mid_stream(dut):
    beats = load_beats()
    bench = Bench(dut)
    for cycles in (4, len(beats) // 2):
        await bench.reset()
        bench.stall(0.0, 0.5)
        bench.send(beats)
        await ClockCycles(dut.clk, cycles)
        await bench.reset()
        await bench.silent()
        bench.send(beats[:50])
        await check(bench, beats[:50])
        await bench.silent()


@pytest.mark.parametrize(("width", "depth"), [(1, 2), (8, 3), (512, 37), (16, 128)])
def test_abbnn_fifo(width, depth):
    rng = np.random.default_rng([width, depth])
    beats = [int.from_bytes(rng.bytes(64), "little") >> (512 - width) for _ in range(2 * depth + 60)]
    beats[1] = (1 << width) - 1
    case = {"beats": [f"{beat:x}" for beat in beats], "depth": depth}
    simulate("abbnn_fifo", "test_abbnn_fifo", {"DATA_WIDTH": width, "DEPTH": depth}, case=case)


@pytest.mark.parametrize(("toplevel", "parameters", "message"), BAD_PARAMETERS)
def test_abbnn_fifo_parameters(toplevel, parameters, message):
    assert_elaboration_fails(toplevel, parameters, message)
