"""abbnn_window: every window of back-to-back frames, its frame interval, its latency and how far it decouples."""

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles

from abbnn.golden import ops
from abbnn.tb.bench import assert_equal, rows
from abbnn.tb.streams import Stream, StreamBench, run_streams

LATENCY = 3
"""Edges from the last input beat that a column step reads to its output beat."""

FRAMES = 3

SIZES = ("DATA_WIDTH", "LANES", "GROUPS", "HEIGHT", "WIDTH", "KERNEL", "STRIDE")
GOOD_PARAMETERS = [
    (1, 32, 1, 16, 16, 3, 1),
    (1, 64, 2, 4, 4, 3, 1),
    (9, 3, 1, 8, 8, 3, 2),
    (2, 2, 3, 5, 7, 3, 2),
    (3, 1, 1, 1, 1, 3, 1),
    (1, 2, 2, 2, 3, 3, 2),
    (4, 3, 1, 6, 5, 5, 1),
    (1, 5, 2, 9, 10, 7, 2),
    (1, 2, 1, 2, 3, 7, 1),
    (3, 5, 2, 3, 4, 1, 1),
    (3, 5, 2, 5, 4, 1, 2),
]
LINT_PARAMETERS = rows(
    "DATA_WIDTH LANES GROUPS HEIGHT WIDTH KERNEL STRIDE",
    (1, 1, 1, 1, 1, 1, 1),
    (1, 1, 1, 1, 1, 3, 1),
    (8, 3, 1, 32, 32, 3, 2),
    (8, 1, 3, 9, 7, 7, 2),
    (1, 16, 8, 4, 4, 3, 1),
    (1, 2, 3, 5, 6, 5, 1),
)
BAD_PARAMETERS = [
    ("abbnn_window", {name: value}, f"{name}_must_be_{rule}")
    for name, value, rule in [
        ("DATA_WIDTH", 0, "at_least_1"),
        ("LANES", 0, "at_least_1"),
        ("GROUPS", 0, "at_least_1"),
        ("HEIGHT", 0, "at_least_1"),
        ("WIDTH", 0, "at_least_1"),
        ("KERNEL", 0, "1_3_5_or_7"),
        ("KERNEL", 4, "1_3_5_or_7"),
        ("KERNEL", 9, "1_3_5_or_7"),
        ("STRIDE", 0, "1_or_2"),
        ("STRIDE", 3, "1_or_2"),
    ]
]


def interval(groups, height, width, kernel, stride):
    """Cycles from frame to frame: the slower of writing all rows and reading all output rows."""
    out_height, out_width = -(-height // stride), -(-width // stride)
    steps = (out_width - 1) * stride + kernel // 2 + 1
    reading = 0 if kernel == 1 else out_height * steps * groups
    return max(height * width * groups, reading)


def first_window(groups, height, width, kernel):
    """Index of the last input beat in the first output beat, and the latency from it: narrow maps add padded steps."""
    pad = kernel // 2
    column = min(pad, width - 1)
    latency = LATENCY + (pad - column) * groups if kernel > 1 else 0
    return (min(pad, height - 1) * width + column) * groups, latency


def accepted(groups, width, kernel):
    """Input beats that are accepted while the output is stalled from the start: KERNEL + 1 rows."""
    return (kernel + 1) * width * groups if kernel > 1 else 0


@cocotb.test()
async def timing(dut):
    """Frame interval and first latency at full speed; latency again with an input that comes in drops."""
    bench = StreamBench(dut)
    case = bench.case
    await bench.reset()
    taken, given = bench.transfers("s_axis"), bench.transfers("m_axis")
    bench.send_all()
    await bench.check_all()
    latency = given[0] - taken[int(case["first_window"])]
    assert latency == case["latency"], f"latency {latency}, expected {case['latency']}"
    beats = len(given) // FRAMES
    ends = np.array(given)[beats - 1 :: beats]
    assert_equal(np.diff(ends), np.full(FRAMES - 1, bench.interval), "frame interval")

    await bench.silent()
    taken.clear()
    given.clear()
    bench.stall(0.9, 0)
    bench.send_frame(0)
    await bench.check_frame(0)
    latency = given[0] - taken[int(case["first_window"])]
    assert latency == case["latency"], f"latency {latency} after idle cycles, expected {case['latency']}"


@cocotb.test()
async def stalled_output(dut):
    """KERNEL + 1 rows are accepted, and nothing leaves."""
    bench = StreamBench(dut)
    await bench.reset()
    bench.sinks["m_axis"].pause = True
    await ClockCycles(dut.clk, 2)
    taken, given = bench.transfers("s_axis"), bench.transfers("m_axis")
    bench.send_all()
    await ClockCycles(dut.clk, 3 * bench.interval + 20)
    accept = int(bench.case["accepted"])
    if accept >= 0:
        accept = min(accept, sum(map(len, bench.inputs["s_axis"])))
        assert len(taken) == accept, f"{len(taken)} beats accepted, expected {accept}"
    assert not given
    bench.stall(0, 0)
    await bench.check_all()
    await bench.silent()


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS, ids=lambda sizes: "-".join(map(str, sizes)))
def test_abbnn_window(sizes):
    data_width, lanes, groups, height, width, kernel, stride = sizes
    maps = np.random.default_rng(sizes).integers(0, 1 << data_width, (FRAMES, height, width, groups * lanes))
    windows = ops.window(maps, kernel, stride)
    windows = windows.reshape(*windows.shape[:5], groups, lanes).transpose(0, 1, 2, 5, 3, 4, 6)
    first, latency = first_window(groups, height, width, kernel)
    beats = maps[0].size // lanes
    run_streams(
        "abbnn_window",
        dict(zip(SIZES, sizes, strict=True)),
        Stream(maps, lanes, data_width),
        Stream(windows, kernel * kernel * lanes, data_width),
        interval=interval(groups, height, width, kernel, stride),
        resets=(3, beats // 2, beats + 3),
        modules=["test_abbnn_window"],
        extra={
            "first_window": first,
            "latency": latency,
            # Of a map as small as the output registers the first rows are read before the output stalls.
            "accepted": accepted(groups, width, kernel) if windows.shape[2] * groups > 2 else -1,
        },
    )
