"""abbnn_gap: every sum of back-to-back frames, and the cycle of every output beat."""

import cocotb
import numpy as np
import pytest
from bench import STALLS, Bench, assert_elaboration_fails, assert_equal, load_case, simulate
from cocotb.triggers import ClockCycles, FallingEdge

from export.layout import pack, unpack
from golden import ops

LATENCY = 3
FRAMES = 3

SIZES = ("LANES", "CHANNELS", "VALUE_WIDTH", "POSITIONS", "SHIFT")
GOOD_PARAMETERS = [
    (4, 12, 16, 16, 4),
    (1, 1, 2, 1, 0),
    (2, 4, 9, 5, 1),
    (3, 3, 8, 7, 0),
    (1, 5, 12, 1, 3),
    (2, 8, 21, 9, 4),
]
BAD_PARAMETERS = [
    ("abbnn_gap", {"LANES": 0}, "LANES_must_be_at_least_1"),
    ("abbnn_gap", {"CHANNELS": 0}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_gap", {"LANES": 4, "CHANNELS": 6}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_gap", {"VALUE_WIDTH": 1}, "VALUE_WIDTH_must_be_at_least_2"),
    ("abbnn_gap", {"POSITIONS": 0}, "POSITIONS_must_be_at_least_1"),
    ("abbnn_gap", {"SHIFT": -1}, "SHIFT_must_leave_a_bit_of_the_sum"),
    ("abbnn_gap", {"VALUE_WIDTH": 8, "POSITIONS": 4, "SHIFT": 10}, "SHIFT_must_leave_a_bit_of_the_sum"),
]


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
    for frame in case["values"][:frames]:
        bench.send(pack(frame.reshape(-1, int(case["LANES"])), int(case["VALUE_WIDTH"])))


async def check(bench, case, frames):
    expected = case["expected"][:frames]
    lanes = int(case["LANES"])
    beats = await bench.receive(expected.size // lanes)
    width = int(case["VALUE_WIDTH"]) + (int(case["POSITIONS"]) - 1).bit_length() - int(case["SHIFT"])
    actual = unpack(beats, lanes, width, signed=True)
    assert_equal(actual.reshape(expected.shape), expected, "frame, channel")


def last_beats(case):
    """For every output beat of a frame, the number of the last input beat that it needs."""
    groups = int(case["CHANNELS"]) // int(case["LANES"])
    return (int(case["POSITIONS"]) - 1) * groups + np.arange(groups)


@cocotb.test()
async def stream(dut):
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    for idle, back_pressure in [*STALLS, (0.0, 0.9)]:
        bench.stall(idle, back_pressure)
        send(bench, case, FRAMES)
        await check(bench, case, FRAMES)
        await bench.silent()


@cocotb.test()
async def timing(dut):
    """One input beat a cycle, and every output beat LATENCY cycles after its last input beat."""
    case = load_case()
    bench = Bench(dut)
    await bench.reset(cycles=1)
    taken, given = [], []
    cocotb.start_soon(transfers(dut, "s_axis", taken))
    cocotb.start_soon(transfers(dut, "m_axis", given))
    send(bench, case, FRAMES)
    await check(bench, case, FRAMES)
    assert taken[-1] - taken[0] + 1 == len(taken), "cycles lost at the input"
    frame_beats = len(taken) // FRAMES
    last = np.concatenate([last_beats(case) + frame * frame_beats for frame in range(FRAMES)])
    assert_equal(np.array(given), np.array(taken)[last] + LATENCY, "output beat")


@cocotb.test()
async def stalled_output(dut):
    """tvalid comes up without tready; the pipeline takes what the first output beat needs and as much as it holds."""
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    taken = []
    cocotb.start_soon(transfers(dut, "s_axis", taken))
    bench.sinks["m_axis"].pause = True
    await ClockCycles(dut.clk, 2)
    send(bench, case, FRAMES)
    expected = int(last_beats(case)[0]) + LATENCY
    await ClockCycles(dut.clk, expected + 20)
    assert len(taken) == expected, f"{len(taken)} beats taken, expected {expected}"
    assert dut.m_axis_tvalid.value == 1
    bench.sinks["m_axis"].pause = False
    await check(bench, case, FRAMES)
    await bench.silent()


@cocotb.test()
async def reset_in_mid_frame(dut):
    """After a reset in the first pixel, in the middle and with results on the way, frames are right again."""
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    groups = int(case["CHANNELS"]) // int(case["LANES"])
    for cycles in (3, groups + 3, groups * int(case["POSITIONS"]) + 2):
        send(bench, case, FRAMES)
        await ClockCycles(dut.clk, cycles)
        await bench.reset()
        await bench.silent()
        send(bench, case, 1)
        await check(bench, case, 1)
        await bench.silent()


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_gap(sizes):
    parameters = dict(zip(SIZES, sizes, strict=True))
    _, channels, value_width, positions, shift = sizes
    low, high = ops.value_range(value_width)
    values = np.random.default_rng(sizes).integers(low, high + 1, (FRAMES, positions, 1, channels))
    values[1, :, :, 0] = low
    values[1, :, :, -1] = high
    case = {"values": values, "expected": ops.gap(values, shift), **parameters}
    simulate("abbnn_gap", "test_abbnn_gap", parameters, case=case)


@pytest.mark.parametrize(("toplevel", "parameters", "message"), BAD_PARAMETERS)
def test_abbnn_gap_parameters(toplevel, parameters, message):
    assert_elaboration_fails(toplevel, parameters, message)
