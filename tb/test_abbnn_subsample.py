"""abbnn_subsample: the pixels of even rows and columns of back-to-back frames, and nothing of the others."""

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles

from abbnn.tb.bench import assert_equal, rows
from abbnn.tb.streams import Stream, StreamBench, run_streams

LATENCY = 0
FRAMES = 3

SIZES = ("DATA_WIDTH", "GROUPS", "HEIGHT", "WIDTH")
GOOD_PARAMETERS = [(16, 3, 4, 6), (1, 1, 2, 2), (9, 2, 5, 3), (8, 1, 3, 4), (5, 2, 1, 1), (32, 1, 6, 5)]
LINT_PARAMETERS = rows("DATA_WIDTH GROUPS HEIGHT WIDTH", (1, 1, 1, 1), (64, 3, 5, 7), (32, 16, 32, 32))
BAD_PARAMETERS = [
    ("abbnn_subsample", {name: 0}, f"{name}_must_be_at_least_1") for name in ("DATA_WIDTH", "GROUPS", "HEIGHT", "WIDTH")
]


@cocotb.test()
async def swallowing_does_not_wait(dut):
    """While the output is stalled, input beats come in until the next one that passes."""
    bench = StreamBench(dut)
    passing = [*bench.case["passing"].tolist(), len(bench.inputs["s_axis"][0])]
    taken = bench.transfers("s_axis")
    sink = bench.sinks["m_axis"]
    sink.pause = True
    await bench.reset()
    bench.send_frame(0)
    held = []
    for _ in passing:
        await ClockCycles(dut.clk, bench.interval + 4)
        held.append(len(taken))
        sink.pause = False
        await ClockCycles(dut.clk, 1)
        sink.pause = True
    assert_equal(np.array(held), np.array(passing), "beats taken")
    sink.pause = False
    await bench.check_frame(0)


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_subsample(sizes):
    data_width, groups, height, width = sizes
    values = np.random.default_rng(sizes).integers(0, 1 << data_width, (FRAMES, height, width, groups))
    passing = np.arange(height * width * groups).reshape(height, width, groups)[::2, ::2].ravel()
    run_streams(
        "abbnn_subsample",
        dict(zip(SIZES, sizes, strict=True)),
        Stream(values, 1, data_width),
        Stream(values[:, ::2, ::2], 1, data_width),
        latency=LATENCY,
        needs=passing,
        modules=["test_abbnn_subsample"],
        extra={"passing": passing},
    )
