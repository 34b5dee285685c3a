"""abbnn_window: every window of back-to-back frames, its frame interval, its latency and how far it decouples."""

import cocotb
import numpy as np
import pytest
from bench import STALLS, Bench, assert_elaboration_fails, assert_equal, load_case, simulate
from cocotb.triggers import ClockCycles, RisingEdge

from export.layout import pack, unpack
from golden import ops

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


class Watch:
    """Edge numbers of all transfers on both sides."""

    def __init__(self, dut):
        self.dut = dut
        self.inputs = []
        self.outputs = []
        cocotb.start_soon(self.watch())

    async def watch(self):
        edge = 0
        ports = [
            (self.inputs, self.dut.s_axis_tvalid, self.dut.s_axis_tready),
            (self.outputs, self.dut.m_axis_tvalid, self.dut.m_axis_tready),
        ]
        while True:
            await RisingEdge(self.dut.clk)
            edge += 1
            for edges, valid, ready in ports:
                if str(valid.value) == str(ready.value) == "1":
                    edges.append(edge)


def check(actual, expected, case):
    """Compare output beats as (frame, output row, output column, group, kernel row, kernel column, lane)."""
    shape = expected.shape
    lanes = int(np.prod(shape[4:]))
    values = unpack(actual, lanes, int(case["data_width"]), signed=False)
    axes = "frame, output row, output column, group, kernel row, kernel column, lane"
    assert_equal(values.reshape(shape), expected, axes)


@cocotb.test()
async def stream(dut):
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    for idle, back_pressure in STALLS:
        bench.stall(idle, back_pressure)
        for frame in case["maps"]:
            bench.send(pack(frame, int(case["data_width"])))
        check(await bench.receive(int(case["beats"]) * FRAMES), case["windows"], case)
        await bench.silent()


@cocotb.test()
async def timing(dut):
    """Frame interval and first latency at full speed; latency again with an input that comes in drops."""
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    watch = Watch(dut)
    for frame in case["maps"]:
        bench.send(pack(frame, int(case["data_width"])))
    beats = int(case["beats"])
    check(await bench.receive(beats * FRAMES), case["windows"], case)
    latency = watch.outputs[0] - watch.inputs[int(case["first_window"])]
    assert latency == case["latency"], f"latency {latency}, expected {case['latency']}"
    ends = np.array(watch.outputs)[beats - 1 :: beats]
    expected = np.full(FRAMES - 1, case["interval"])
    assert_equal(np.diff(ends), expected, "frame interval")

    await bench.silent()
    watch.inputs.clear()
    watch.outputs.clear()
    bench.stall(0.9, 0)
    bench.send(pack(case["maps"][0], int(case["data_width"])))
    await bench.receive(beats)
    latency = watch.outputs[0] - watch.inputs[int(case["first_window"])]
    assert latency == case["latency"], f"latency {latency} after idle cycles, expected {case['latency']}"


@cocotb.test()
async def stalled_output(dut):
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    watch = Watch(dut)
    bench.sinks["m_axis"].pause = True
    await ClockCycles(dut.clk, 2)
    for frame in case["maps"]:
        bench.send(pack(frame, int(case["data_width"])))
    await ClockCycles(dut.clk, 3 * int(case["interval"]) + 20)
    if case["accepted"] >= 0:
        accept = min(case["accepted"], case["maps"].shape[0] * case["maps"].shape[1])
        assert len(watch.inputs) == accept, f"{len(watch.inputs)} beats accepted, expected {accept}"
    assert not watch.outputs
    bench.stall(0, 0)
    check(await bench.receive(int(case["beats"]) * FRAMES), case["windows"], case)
    await bench.silent()


@cocotb.test()
async def reset_in_mid_frame(dut):
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    bench.stall(0.0, 0.3)
    beats = pack(case["maps"][0], int(case["data_width"]))
    for cycles in (3, len(beats) // 2, len(beats) + 3):
        bench.send(beats)
        bench.send(beats)
        await ClockCycles(dut.clk, cycles)
        await bench.reset()
    await bench.silent()
    bench.send(pack(case["maps"][1], int(case["data_width"])))
    check(await bench.receive(int(case["beats"])), case["windows"][1:2], case)
    await bench.silent()


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS, ids=lambda sizes: "-".join(map(str, sizes)))
def test_abbnn_window(sizes):
    parameters = dict(zip(SIZES, sizes, strict=True))
    data_width, lanes, groups, height, width, kernel, stride = sizes
    maps = np.random.default_rng(sizes).integers(0, 1 << data_width, (FRAMES, height, width, groups * lanes))
    windows = ops.window(maps, kernel, stride)
    windows = windows.reshape(*windows.shape[:5], groups, lanes).transpose(0, 1, 2, 5, 3, 4, 6)
    first, latency = first_window(groups, height, width, kernel)
    case = {
        "maps": maps.reshape(FRAMES, -1, lanes),
        "windows": windows,
        "beats": np.prod(windows.shape[1:4]),
        "data_width": data_width,
        "first_window": first,
        "latency": latency,
        "interval": interval(groups, height, width, kernel, stride),
        # Of a map as small as the output registers the first rows are read before the output stalls.
        "accepted": accepted(groups, width, kernel) if windows.shape[2] * groups > 2 else -1,
    }
    simulate("abbnn_window", "test_abbnn_window", parameters, case=case)


@pytest.mark.parametrize(("module", "parameters", "message"), BAD_PARAMETERS)
def test_abbnn_window_parameters(module, parameters, message):
    assert_elaboration_fails(module, parameters, message)
