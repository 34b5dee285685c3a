"""abbnn_fifo: the stream passes unchanged, one beat a cycle; DEPTH + 3 beats fit behind a stalled output."""

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles

from abbnn.tb.bench import rows
from abbnn.tb.streams import Stream, StreamBench, run_streams

LATENCY = 3
HELD = 3
"""Beats held beside DEPTH: two in registers, and one more in the memory, for ready falls late."""

LINT_PARAMETERS = rows("DATA_WIDTH DEPTH", (1, 2), (1, 3), (64, 4), (33, 1000), (8, 1024))
BAD_PARAMETERS = [
    ("abbnn_fifo", {"DATA_WIDTH": 0}, "DATA_WIDTH_must_be_at_least_1"),
    ("abbnn_fifo", {"DEPTH": 1}, "DEPTH_must_be_at_least_2"),
]


@cocotb.test()
async def full(dut):
    """Every place fills up without a lost cycle, also behind a gap, and empties without one."""
    bench = StreamBench(dut)
    beats = [beat for frame in bench.inputs["s_axis"] for beat in frame]
    capacity = int(bench.case["accepted"])
    await bench.reset()
    taken, given = bench.transfers("s_axis"), bench.transfers("m_axis")
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
        await bench.check_all()
        assert given[-1] - given[0] + 1 == len(beats), "cycles lost after the FIFO was full"
    await bench.silent()


# One of fewer words loses cycles behind a stall: its ready comes back late.
@pytest.mark.parametrize(("lanes", "width", "depth"), [(16, 32, 37), (1, 16, 128), (1, 8, 7)])
def test_abbnn_fifo(lanes, width, depth):
    values = np.random.default_rng([width, depth]).integers(0, 1 << width, (3, 2 * depth // 3 + 20, lanes))
    values[0, 1] = (1 << width) - 1
    beats = Stream(values, lanes, width)
    run_streams(
        "abbnn_fifo",
        {"DATA_WIDTH": lanes * width, "DEPTH": depth},
        beats,
        beats,
        latency=LATENCY,
        accepted=depth + HELD,
        stalls=[(0.1, 0.8), (0.8, 0.1)],
        modules=["test_abbnn_fifo"],
    )
