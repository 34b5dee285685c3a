"""abbnn_scale: every result against the golden model, with and without saturation, for 1 to 5 terms."""

import cocotb
import numpy as np
import pytest
from bench import STALLS, Bench, assert_elaboration_fails, assert_equal, load_case, simulate
from cocotb.triggers import ClockCycles, FallingEdge

from export.layout import mem_text, pack, unpack
from export.tables import scale_table
from golden import ops

LATENCY = 4
FRAMES = 3
PIXELS = 40

SIZES = ("LANES", "CHANNELS", "TERMS", "SHIFT_WIDTH", "GUARD", "S_WIDTH", "SUM_WIDTH", "M_WIDTH")
GOOD_PARAMETERS = [
    (4, 12, 2, 4, 5, 12, 28, 16),
    (1, 1, 1, 1, 0, 2, 2, 2),
    (3, 3, 1, 3, 8, 13, 21, 13),
    (1, 5, 3, 4, 9, 10, 27, 24),
    (2, 4, 5, 5, 37, 11, 45, 4),
    (2, 6, 4, 2, 0, 7, 12, 16),
]
BAD_PARAMETERS = [
    ("abbnn_scale", {"LANES": 0}, "LANES_must_be_at_least_1"),
    ("abbnn_scale", {"CHANNELS": 0}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_scale", {"LANES": 4, "CHANNELS": 6}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_scale", {"TERMS": 0}, "TERMS_must_be_at_least_1"),
    ("abbnn_scale", {"SHIFT_WIDTH": 0}, "SHIFT_WIDTH_must_be_at_least_1"),
    ("abbnn_scale", {"GUARD": -1}, "GUARD_must_be_0_to_SUM_WIDTH_minus_1"),
    ("abbnn_scale", {"GUARD": 24, "SUM_WIDTH": 24}, "GUARD_must_be_0_to_SUM_WIDTH_minus_1"),
    ("abbnn_scale", {"S_WIDTH": 1}, "S_WIDTH_must_be_at_least_2"),
    ("abbnn_scale", {"S_WIDTH": 16, "SUM_WIDTH": 15}, "SUM_WIDTH_must_be_at_least_S_WIDTH"),
    ("abbnn_scale", {"M_WIDTH": 1}, "M_WIDTH_must_be_at_least_2"),
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
    width, lanes = int(case["S_WIDTH"]), int(case["LANES"])
    for frame in case["values"][:frames]:
        bench.send(pack(frame.reshape(-1, lanes), width))


async def check(bench, case, frames):
    expected = case["expected"][:frames]
    lanes = int(case["LANES"])
    beats = await bench.receive(expected.size // lanes)
    actual = unpack(beats, lanes, int(case["M_WIDTH"]), signed=True)
    assert_equal(actual.reshape(expected.shape), expected, "frame, pixel, channel")


@cocotb.test()
async def stream(dut):
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    for idle, back_pressure in STALLS:
        bench.stall(idle, back_pressure)
        send(bench, case, FRAMES)
        await check(bench, case, FRAMES)
        await bench.silent()


@cocotb.test()
async def timing(dut):
    """Latency, and one beat a cycle over back-to-back frames."""
    case = load_case()
    bench = Bench(dut)
    await bench.reset(cycles=1)
    taken, given = [], []
    cocotb.start_soon(transfers(dut, "s_axis", taken))
    cocotb.start_soon(transfers(dut, "m_axis", given))
    send(bench, case, FRAMES)
    await check(bench, case, FRAMES)
    assert given[0] - taken[0] == LATENCY, f"latency {given[0] - taken[0]}"
    assert taken[-1] - taken[0] + 1 == len(taken), "cycles lost at the input"
    assert given[-1] - given[0] + 1 == len(taken), "cycles lost at the output"


@cocotb.test()
async def stalled_output(dut):
    """tvalid comes up without tready, and the pipeline takes as many beats as it has stages."""
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    taken = []
    cocotb.start_soon(transfers(dut, "s_axis", taken))
    bench.sinks["m_axis"].pause = True
    await ClockCycles(dut.clk, 2)
    send(bench, case, 1)
    await ClockCycles(dut.clk, LATENCY + 20)
    assert len(taken) == LATENCY, f"{len(taken)} beats taken"
    assert dut.m_axis_tvalid.value == 1
    bench.sinks["m_axis"].pause = False
    await check(bench, case, 1)
    await bench.silent()


@cocotb.test()
async def reset_in_mid_frame(dut):
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    for cycles in (7, 20):
        bench.stall(0.2, 0.3)
        send(bench, case, 1)
        await ClockCycles(dut.clk, cycles)
        await bench.reset()
        await bench.silent()
        send(bench, case, 1)
        await check(bench, case, 1)
        await bench.silent()


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_scale(sizes):
    parameters = dict(zip(SIZES, sizes, strict=True))
    lanes, channels, terms, shift_width, guard, s_width, sum_width, m_width = sizes
    rng = np.random.default_rng(sizes)
    low, high = ops.value_range(s_width)
    values = rng.integers(low, high + 1, (FRAMES, PIXELS, channels))
    values[:, 0::4] = low
    values[:, 1::8] = high
    # Where one term could leave SUM_WIDTH bits, smaller shifts and values keep the promise that none does.
    shift_limit = min(1 << shift_width, max(sum_width - s_width - terms + 1, 1))
    sign = rng.integers(-1, 2, (channels, terms))
    shift = rng.integers(0, shift_limit, (channels, terms))
    sign[0], shift[0] = -1, shift_limit - 1
    if channels > 1:
        sign[1], shift[1] = 0, shift_limit - 1
        sign[-1], shift[-1] = 1, shift_limit - 1
    if sum_width == s_width:
        values = np.maximum(values, low + 1)
    width = lanes * terms * (shift_width + 2)
    simulate(
        "abbnn_scale",
        "test_abbnn_scale",
        {**parameters, "TABLE_FILE": "table.mem"},
        tables={"table.mem": mem_text(scale_table(sign, shift, lanes, shift_width), width)},
        case={"values": values, "expected": ops.scale(values, sign, shift, guard, m_width), **parameters},
    )


@pytest.mark.parametrize(("toplevel", "parameters", "message"), BAD_PARAMETERS)
def test_abbnn_scale_parameters(toplevel, parameters, message):
    assert_elaboration_fails(toplevel, parameters, message)
