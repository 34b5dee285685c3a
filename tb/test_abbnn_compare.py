"""abbnn_compare: every bit against the golden model, at thresholds and one below them, at both ends of the range."""

import cocotb
import numpy as np
import pytest
from bench import STALLS, Bench, assert_elaboration_fails, assert_equal, load_case, simulate
from cocotb.triggers import ClockCycles, FallingEdge

from export.layout import mem_text, pack, unpack
from export.tables import compare_table
from golden import ops

LATENCY = 2
FRAMES = 3
PIXELS = 40

SIZES = ("LANES", "CHANNELS", "VALUE_WIDTH")
GOOD_PARAMETERS = [(4, 12, 16), (1, 1, 2), (3, 3, 11), (1, 5, 21)]
BAD_PARAMETERS = [
    ("abbnn_compare", {"LANES": 0}, "LANES_must_be_at_least_1"),
    ("abbnn_compare", {"CHANNELS": 0}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_compare", {"LANES": 4, "CHANNELS": 6}, "CHANNELS_must_be_a_multiple_of_LANES"),
    ("abbnn_compare", {"VALUE_WIDTH": 1}, "VALUE_WIDTH_must_be_at_least_2"),
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
    width, lanes = int(case["width"]), int(case["lanes"])
    for frame in case["values"][:frames]:
        bench.send(pack(frame.reshape(-1, lanes), width))


async def check(bench, case, frames):
    expected = case["expected"][:frames]
    lanes = int(case["lanes"])
    beats = await bench.receive(expected.size // lanes)
    actual = unpack(beats, lanes, 1, signed=False)
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


@pytest.mark.parametrize(SIZES, GOOD_PARAMETERS)
def test_abbnn_compare(LANES, CHANNELS, VALUE_WIDTH):
    rng = np.random.default_rng([LANES, CHANNELS, VALUE_WIDTH])
    low, high = ops.value_range(VALUE_WIDTH)
    thresholds = rng.integers(low, high + 1, CHANNELS)
    values = rng.integers(low, high + 1, (FRAMES, PIXELS, CHANNELS))
    values[:, 0::4] = thresholds
    values[:, 1::8] = np.maximum(thresholds - 1, low)
    values[0, 2] = low
    values[0, 3] = high
    parameters = dict(zip(SIZES, (LANES, CHANNELS, VALUE_WIDTH), strict=True)) | {"TABLE_FILE": "table.mem"}
    simulate(
        "abbnn_compare",
        "test_abbnn_compare",
        parameters,
        tables={"table.mem": mem_text(compare_table(thresholds, LANES, VALUE_WIDTH), LANES * VALUE_WIDTH)},
        case={"values": values, "expected": ops.compare(values, thresholds), "width": VALUE_WIDTH, "lanes": LANES},
    )


@pytest.mark.parametrize(("toplevel", "parameters", "message"), BAD_PARAMETERS)
def test_abbnn_compare_parameters(toplevel, parameters, message):
    assert_elaboration_fails(toplevel, parameters, message)
