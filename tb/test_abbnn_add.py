"""abbnn_add: every sum, whichever of the two streams waits for the other."""

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles

from abbnn.golden import ops
from abbnn.tb.bench import rows
from abbnn.tb.streams import Stream, StreamBench, run_streams

LATENCY = 1
FRAMES = 3
BEATS = 60

SIZES = ("LANES", "A_WIDTH", "B_WIDTH")
GOOD_PARAMETERS = [(4, 15, 20), (1, 2, 2), (3, 21, 16)]
LINT_PARAMETERS = rows("LANES A_WIDTH B_WIDTH", (1, 2, 2), (4, 15, 20), (3, 20, 16))
BAD_PARAMETERS = [
    ("abbnn_add", {"LANES": 0}, "LANES_must_be_at_least_1"),
    ("abbnn_add", {"A_WIDTH": 1}, "A_WIDTH_must_be_at_least_2"),
    ("abbnn_add", {"B_WIDTH": 1}, "B_WIDTH_must_be_at_least_2"),
]
STREAMS = ("s0_axis", "s1_axis")


@cocotb.test()
async def in_step(dut):
    """Both streams move in the same cycles, whichever is late."""
    bench = StreamBench(dut)
    await bench.reset()
    taken = [bench.transfers(prefix) for prefix in STREAMS]
    for late in STREAMS:
        bench.stall_alone(late)
        bench.send_all()
        await bench.check_all()
        assert taken[0] == taken[1]


@cocotb.test()
async def one_alone(dut):
    """A stream that comes alone gives nothing and is not taken, until the other one comes."""
    bench = StreamBench(dut)
    await bench.reset()
    taken = {prefix: bench.transfers(prefix) for prefix in STREAMS}
    for prefix in STREAMS:
        bench.sources[prefix].pause = True
        for cycles in taken.values():
            cycles.clear()
        bench.send_frame(0)
        await ClockCycles(dut.clk, 30)
        assert bench.sinks["m_axis"].empty(), "a sum of one stream alone"
        assert not any(taken.values()), f"beats were taken without one on {prefix}"
        bench.sources[prefix].pause = False
        await bench.check_frame(0)
        await bench.silent()


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_add(sizes):
    lanes, *widths = sizes
    rng = np.random.default_rng(sizes)
    inputs = {}
    for prefix, width, swap in zip(STREAMS, widths, (1, -1), strict=True):
        low, high = ops.value_range(width)
        values = rng.integers(low, high + 1, (FRAMES, BEATS, lanes))
        values[:, 0], values[:, 1] = low, high
        values[:, 2], values[:, 3] = (high, low)[::swap]
        inputs[prefix] = Stream(values, lanes, width)
    sums = sum(stream.values for stream in inputs.values())
    run_streams(
        "abbnn_add",
        dict(zip(SIZES, sizes, strict=True)),
        inputs,
        Stream(sums, lanes, max(widths) + 1),
        latency=LATENCY,
        modules=["test_abbnn_add"],
    )
