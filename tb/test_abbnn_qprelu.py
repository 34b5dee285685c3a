"""abbnn_qprelu: every result against the golden model, around the thresholds, with and without saturation.

The fields are random over their whole width and the exponents over all that the shift field can say.
"""

import cocotb
import numpy as np
import pytest
from bench import STALLS, Bench, assert_elaboration_fails, assert_equal, load_case, simulate
from cocotb.triggers import ClockCycles, FallingEdge

from export.layout import mem_text, pack, unpack
from export.tables import qprelu_table
from golden import ops

LATENCY = 5
FRAMES = 3
PIXELS = 40

SIZES = ("LANES", "CHANNELS", "S_WIDTH", "M_WIDTH", "FIELD_WIDTH", "LEFT_MAX", "SHIFT_WIDTH")
GOOD_PARAMETERS = [
    (4, 12, 17, 16, 18, 7, 5),
    (1, 1, 2, 2, 2, 0, 1),
    (3, 3, 12, 24, 13, 3, 6),
    (1, 5, 9, 14, 9, 3, 3),
    (2, 4, 8, 30, 12, 2, 2),
]
BAD_PARAMETERS = [
    ("abbnn_qprelu", {"LANES": 0}, "LANES_must_be_at_least_1"),
    ("abbnn_qprelu", {"CHANNELS": 0}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_qprelu", {"LANES": 4, "CHANNELS": 6}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_qprelu", {"S_WIDTH": 1}, "S_WIDTH_must_be_at_least_2"),
    ("abbnn_qprelu", {"M_WIDTH": 1}, "M_WIDTH_must_be_at_least_2"),
    ("abbnn_qprelu", {"S_WIDTH": 16, "FIELD_WIDTH": 15}, "FIELD_WIDTH_must_be_at_least_S_WIDTH"),
    ("abbnn_qprelu", {"LEFT_MAX": -1}, "LEFT_MAX_must_not_be_negative"),
    ("abbnn_qprelu", {"SHIFT_WIDTH": 0}, "SHIFT_WIDTH_must_be_at_least_1_and_hold_LEFT_MAX"),
    ("abbnn_qprelu", {"LEFT_MAX": 8, "SHIFT_WIDTH": 3}, "SHIFT_WIDTH_must_be_at_least_1_and_hold_LEFT_MAX"),
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
def test_abbnn_qprelu(sizes):
    parameters = dict(zip(SIZES, sizes, strict=True))
    lanes, channels, s_width, m_width, field_width, left_max, shift_width = sizes
    rng = np.random.default_rng(sizes)
    low, high = ops.value_range(field_width)
    # Shifted right by random amounts, so that numbers of all magnitudes meet.
    fields = rng.integers(low, high + 1, (4, channels)) >> rng.integers(0, field_width, (4, channels))
    threshold, add_positive, add_before, add_after = fields
    threshold = np.clip(threshold, *ops.value_range(s_width))
    exponent = left_max - rng.integers(0, 1 << shift_width, channels)
    # Channel 0 takes every sum to its upper end, the last one to its lower end.
    add_positive[[0, -1]] = add_before[[0, -1]] = add_after[[0, -1]] = [high, low]
    exponent[[0, -1]] = left_max
    if channels > 2:
        threshold[1], add_positive[2], add_before[2], add_after[2] = low, -1, 1, 0
    low, high = ops.value_range(s_width)
    values = rng.integers(low, high + 1, (FRAMES, PIXELS, channels)) >> rng.integers(0, s_width, (PIXELS, 1))
    values[:, 0::4] = np.maximum(threshold, low)
    values[:, 1::8] = np.maximum(threshold - 1, low)
    values[:, 2] = low
    values[:, 3] = high
    fields = (threshold, add_positive, add_before, exponent, add_after)
    expected = ops.qprelu(values, *fields, m_width)
    words = qprelu_table(*fields, lanes, field_width, left_max, shift_width)
    simulate(
        "abbnn_qprelu",
        "test_abbnn_qprelu",
        {**parameters, "TABLE_FILE": "table.mem"},
        tables={"table.mem": mem_text(words, lanes * (4 * field_width + shift_width))},
        case={"values": values, "expected": expected, **parameters},
    )


@pytest.mark.parametrize(("toplevel", "parameters", "message"), BAD_PARAMETERS)
def test_abbnn_qprelu_parameters(toplevel, parameters, message):
    assert_elaboration_fails(toplevel, parameters, message)
