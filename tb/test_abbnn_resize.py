"""abbnn_resize: every lane comes out once and in order, and the narrower side never misses a cycle."""

import cocotb
import numpy as np
import pytest
from bench import STALLS, Bench, assert_elaboration_fails, assert_equal, load_case, simulate
from cocotb.triggers import ClockCycles, FallingEdge

from export.layout import pack, unpack

LATENCY = 1
"""From the last input beat that an output beat needs; equal lane counts are wires (0)."""

BAD_PARAMETERS = [
    ("abbnn_resize", {"LANE_WIDTH": 0}, "LANE_WIDTH_must_be_at_least_1"),
    ("abbnn_resize", {"S_LANES": 0}, "S_LANES_must_be_at_least_1"),
    ("abbnn_resize", {"M_LANES": 0}, "M_LANES_must_be_at_least_1"),
    ("abbnn_resize", {"S_LANES": 6, "M_LANES": 4}, "one_of_S_LANES_and_M_LANES_must_be_a_multiple_of_the_other"),
    ("abbnn_resize", {"S_LANES": 2, "M_LANES": 3}, "one_of_S_LANES_and_M_LANES_must_be_a_multiple_of_the_other"),
]


async def run(bench, case, lanes):
    """Send the lanes, receive them regrouped."""
    width, s_lanes, m_lanes = (int(case[name]) for name in ("width", "s_lanes", "m_lanes"))
    bench.send(pack(lanes.reshape(-1, s_lanes), width))
    beats = await bench.receive(lanes.size // m_lanes, cycles=20_000)
    assert_equal(unpack(beats, m_lanes, width, signed=False), lanes.reshape(-1, m_lanes), "beat, lane")


async def transfers(dut, prefix, cycles):
    """Append the number of every cycle in which the stream transfers a beat."""
    cycle = 0
    valid, ready = getattr(dut, f"{prefix}_tvalid"), getattr(dut, f"{prefix}_tready")
    while True:
        await FallingEdge(dut.clk)
        cycle += 1
        if str(valid.value) + str(ready.value) == "11":
            cycles.append(cycle)


@cocotb.test()
async def stream(dut):
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    for idle, back_pressure in STALLS:
        bench.stall(idle, back_pressure)
        await run(bench, case, case["lanes"])
        await bench.silent()


@cocotb.test()
async def timing(dut):
    """Latency, and a beat every cycle on the side with more beats."""
    case = load_case()
    s_lanes, m_lanes = int(case["s_lanes"]), int(case["m_lanes"])
    bench = Bench(dut)
    await bench.reset()
    taken, given = [], []
    cocotb.start_soon(transfers(dut, "s_axis", taken))
    cocotb.start_soon(transfers(dut, "m_axis", given))
    await run(bench, case, case["lanes"])
    latency = 0 if s_lanes == m_lanes else LATENCY
    parts = max(s_lanes, m_lanes) // min(s_lanes, m_lanes)
    if s_lanes > m_lanes:
        first, beats = taken[0] + latency, len(given)
        assert given == [first + i for i in range(beats)], "cycles lost between the output beats"
        assert np.diff(taken).tolist() == [parts] * (len(taken) - 1)
    else:
        assert taken == [taken[0] + i for i in range(len(taken))], "cycles lost between the input beats"
        assert given == [cycle + latency for cycle in taken[parts - 1 :: parts]]


@cocotb.test()
async def reset_in_mid_stream(dut):
    """Also in the middle of a beat's parts."""
    case = load_case()
    lanes = case["lanes"]
    bench = Bench(dut)
    for cycles in (3, 4, 5, 21):
        await bench.reset()
        bench.stall(0.0, 0.3)
        bench.send(pack(lanes.reshape(-1, int(case["s_lanes"])), int(case["width"])))
        await ClockCycles(dut.clk, cycles)
        await bench.reset()
        await bench.silent()
        await run(bench, case, lanes[: lanes.size // 2])
        await bench.silent()


@pytest.mark.parametrize(
    ("width", "s_lanes", "m_lanes"), [(8, 6, 2), (1, 8, 1), (13, 2, 1), (8, 2, 6), (1, 1, 9), (16, 4, 8), (5, 3, 3)]
)
def test_abbnn_resize(width, s_lanes, m_lanes):
    lanes = np.random.default_rng([width, s_lanes, m_lanes]).integers(0, 1 << width, 40 * max(s_lanes, m_lanes))
    lanes[:2] = 0, (1 << width) - 1
    parameters = {"LANE_WIDTH": width, "S_LANES": s_lanes, "M_LANES": m_lanes}
    case = {"lanes": lanes, "width": width, "s_lanes": s_lanes, "m_lanes": m_lanes}
    simulate("abbnn_resize", "test_abbnn_resize", parameters, case=case)


@pytest.mark.parametrize(("toplevel", "parameters", "message"), BAD_PARAMETERS)
def test_abbnn_resize_parameters(toplevel, parameters, message):
    assert_elaboration_fails(toplevel, parameters, message)
