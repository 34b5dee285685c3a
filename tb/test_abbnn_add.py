"""abbnn_add: every sum, whichever of the two streams waits for the other."""

import cocotb
import numpy as np
import pytest
from bench import STALLS, Bench, assert_elaboration_fails, assert_equal, load_case, simulate
from cocotb.triggers import ClockCycles, FallingEdge

from export.layout import pack, unpack
from golden import ops

LATENCY = 1
FRAMES = 3
BEATS = 60

SIZES = ("LANES", "A_WIDTH", "B_WIDTH")
GOOD_PARAMETERS = [(4, 15, 20), (1, 2, 2), (3, 21, 16)]
BAD_PARAMETERS = [
    ("abbnn_add", {"LANES": 0}, "LANES_must_be_at_least_1"),
    ("abbnn_add", {"A_WIDTH": 1}, "A_WIDTH_must_be_at_least_2"),
    ("abbnn_add", {"B_WIDTH": 1}, "B_WIDTH_must_be_at_least_2"),
]
STREAMS = ("s0_axis", "s1_axis")


async def transfers(dut, prefix, cycles):
    """Append the number of every cycle in which the stream transfers a beat."""
    cycle = 0
    valid, ready = getattr(dut, f"{prefix}_tvalid"), getattr(dut, f"{prefix}_tready")
    while True:
        await FallingEdge(dut.clk)
        cycle += 1
        if str(valid.value) + str(ready.value) == "11":
            cycles.append(cycle)


def send(bench, case, frames):
    for prefix, values, width in zip(STREAMS, ("a", "b"), ("A_WIDTH", "B_WIDTH"), strict=True):
        for frame in case[values][:frames]:
            bench.send(pack(frame, int(case[width])), prefix)


async def check(bench, case, frames):
    expected = (case["a"] + case["b"])[:frames]
    width = max(int(case["A_WIDTH"]), int(case["B_WIDTH"])) + 1
    beats = await bench.receive(expected.size // int(case["LANES"]))
    actual = unpack(beats, int(case["LANES"]), width, signed=True)
    assert_equal(actual.reshape(expected.shape), expected, "frame, beat, lane")


def stall_one(bench, prefix, share):
    """Pause one of the sources in `share` of the cycles, on top of `bench.stall`."""
    others = [name for name in STREAMS if name != prefix]
    bench.stall(share, 0)
    for name in others:
        bench.sources[name].clear_pause_generator()
        bench.sources[name].pause = False


@cocotb.test()
async def stream(dut):
    case = load_case()
    bench = Bench(dut, sources=STREAMS)
    await bench.reset()
    for idle, back_pressure in STALLS:
        bench.stall(idle, back_pressure)
        send(bench, case, FRAMES)
        await check(bench, case, FRAMES)
        await bench.silent()
    for prefix in STREAMS:
        stall_one(bench, prefix, 0.6)
        send(bench, case, FRAMES)
        await check(bench, case, FRAMES)
        await bench.silent()


@cocotb.test()
async def timing(dut):
    """Latency, one beat a cycle, and both streams move in the same cycles."""
    case = load_case()
    bench = Bench(dut, sources=STREAMS)
    await bench.reset(cycles=1)
    taken_0, taken_1, given = [], [], []
    for prefix, cycles in (("s0_axis", taken_0), ("s1_axis", taken_1), ("m_axis", given)):
        cocotb.start_soon(transfers(dut, prefix, cycles))
    send(bench, case, FRAMES)
    await check(bench, case, FRAMES)
    assert taken_0 == taken_1
    assert given[0] - taken_0[0] == LATENCY, f"latency {given[0] - taken_0[0]}"
    assert taken_0[-1] - taken_0[0] + 1 == FRAMES * BEATS, "cycles lost at the input"
    assert given[-1] - given[0] + 1 == FRAMES * BEATS, "cycles lost at the output"
    stall_one(bench, "s1_axis", 0.5)
    send(bench, case, FRAMES)
    await check(bench, case, FRAMES)
    assert taken_0 == taken_1


@cocotb.test()
async def one_alone(dut):
    """A stream that comes alone gives nothing and is not taken, until the other one comes."""
    case = load_case()
    bench = Bench(dut, sources=STREAMS)
    await bench.reset()
    for prefix in STREAMS:
        bench.sources[prefix].pause = True
        send(bench, case, 1)
        await ClockCycles(dut.clk, 30)
        assert bench.sinks["m_axis"].empty(), "a sum of one stream alone"
        bench.sources[prefix].pause = False
        await check(bench, case, 1)
        await bench.silent()


@cocotb.test()
async def stalled_output(dut):
    """tvalid comes up without tready, and one beat is taken."""
    case = load_case()
    bench = Bench(dut, sources=STREAMS)
    await bench.reset()
    taken = []
    cocotb.start_soon(transfers(dut, "s0_axis", taken))
    bench.sinks["m_axis"].pause = True
    await ClockCycles(dut.clk, 2)
    send(bench, case, 1)
    await ClockCycles(dut.clk, 20)
    assert len(taken) == LATENCY, f"{len(taken)} beats taken"
    assert dut.m_axis_tvalid.value == 1
    bench.sinks["m_axis"].pause = False
    await check(bench, case, 1)
    await bench.silent()


@cocotb.test()
async def reset_in_mid_frame(dut):
    case = load_case()
    bench = Bench(dut, sources=STREAMS)
    await bench.reset()
    bench.stall(0.2, 0.3)
    send(bench, case, 1)
    await ClockCycles(dut.clk, 20)
    await bench.reset()
    await bench.silent()
    send(bench, case, 1)
    await check(bench, case, 1)
    await bench.silent()


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_add(sizes):
    parameters = dict(zip(SIZES, sizes, strict=True))
    rng = np.random.default_rng(sizes)
    case = {}
    for name, width in (("a", parameters["A_WIDTH"]), ("b", parameters["B_WIDTH"])):
        low, high = ops.value_range(width)
        case[name] = rng.integers(low, high + 1, (FRAMES, BEATS, parameters["LANES"]))
        case[name][:, 0], case[name][:, 1] = low, high
        case[name][:, 2] = high if name == "a" else low
        case[name][:, 3] = low if name == "a" else high
    simulate("abbnn_add", "test_abbnn_add", parameters, case={**case, **parameters})


@pytest.mark.parametrize(("toplevel", "parameters", "message"), BAD_PARAMETERS)
def test_abbnn_add_parameters(toplevel, parameters, message):
    assert_elaboration_fails(toplevel, parameters, message)
