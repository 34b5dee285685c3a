"""abbnn_replay: every vector comes TIMES times in a row, with no lost cycle and no word overwritten too early."""

import cocotb
import numpy as np
import pytest
from bench import STALLS, Bench, assert_elaboration_fails, assert_equal, load_case, simulate
from cocotb.triggers import ClockCycles, FallingEdge

LATENCY = 2

BAD_PARAMETERS = [
    ("abbnn_replay", {"DATA_WIDTH": 0}, "DATA_WIDTH_must_be_at_least_1"),
    ("abbnn_replay", {"DEPTH": 0}, "DEPTH_must_be_at_least_1"),
    ("abbnn_replay", {"TIMES": 0}, "TIMES_must_be_at_least_1"),
]


def replay(beats, depth, times):
    """(vectors * depth) beats -> (vectors * times * depth)."""
    return np.repeat(beats.reshape(-1, 1, depth), times, axis=1).reshape(-1)


async def transfers(dut, prefix, cycles):
    """Append the number of every cycle in which the stream transfers a beat."""
    cycle = 0
    valid, ready = getattr(dut, f"{prefix}_tvalid"), getattr(dut, f"{prefix}_tready")
    while True:
        await FallingEdge(dut.clk)
        cycle += 1
        if str(valid.value) + str(ready.value) == "11":
            cycles.append(cycle)


async def run(bench, beats, depth, times):
    bench.send(beats)
    expected = replay(beats, depth, times)
    assert_equal(np.array(await bench.receive(len(expected), cycles=20_000)), expected, "beat")


@cocotb.test()
async def stream(dut):
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    for idle, back_pressure in STALLS:
        bench.stall(idle, back_pressure)
        await run(bench, case["beats"], int(case["depth"]), int(case["times"]))
        await bench.silent()


@cocotb.test()
async def timing(dut):
    """Latency, one output beat every cycle, and the first cycle in which the next vector may enter."""
    case = load_case()
    depth, times = int(case["depth"]), int(case["times"])
    bench = Bench(dut)
    await bench.reset()
    taken, given = [], []
    cocotb.start_soon(transfers(dut, "s_axis", taken))
    cocotb.start_soon(transfers(dut, "m_axis", given))
    await run(bench, case["beats"], depth, times)
    assert len(taken) == len(case["beats"])
    assert given[0] - taken[0] == LATENCY
    gaps = given[-1] - given[0] + 1 - len(given)
    assert gaps == 0, f"{gaps} cycles lost between {len(given)} beats"
    for vector in range(2, len(taken) // depth):
        # The last read of vector - 2 ends the cycle before its beat is on the output.
        first = taken[vector * depth]
        earliest = max(taken[vector * depth - 1] + 1, given[(vector - 1) * depth * times - 1])
        assert first == earliest, f"vector {vector} enters in cycle {first}, not {earliest}"


@cocotb.test()
async def stalled_output(dut):
    """A stalled output lets in two vectors, and one beat more where the output register frees a vector."""
    case = load_case()
    depth, times = int(case["depth"]), int(case["times"])
    bench = Bench(dut)
    await bench.reset()
    bench.sinks["m_axis"].pause = True
    taken = []
    cocotb.start_soon(transfers(dut, "s_axis", taken))
    bench.send(case["beats"])
    await ClockCycles(dut.clk, 2 * depth + 20)
    assert len(taken) == 2 * depth + (depth * times == 1)
    bench.stall(0, 0)
    expected = replay(case["beats"], depth, times)
    assert_equal(np.array(await bench.receive(len(expected), cycles=20_000)), expected, "beat")
    await bench.silent()


@cocotb.test()
async def reset_in_mid_stream(dut):
    case = load_case()
    depth, times = int(case["depth"]), int(case["times"])
    bench = Bench(dut)
    for cycles in (3, 2 * depth + 4, depth * times + 5):
        await bench.reset()
        bench.stall(0.0, 0.3)
        bench.send(case["beats"])
        await ClockCycles(dut.clk, cycles)
        await bench.reset()
        await bench.silent()
        await run(bench, case["beats"][: 3 * depth], depth, times)
        await bench.silent()


SIZES = [(8, 1, 1), (3, 1, 2), (1, 3, 1), (16, 9, 4), (60, 4, 3), (9, 2, 2)]


@pytest.mark.parametrize(("width", "depth", "times"), SIZES)
def test_abbnn_replay(width, depth, times):
    rng = np.random.default_rng([width, depth, times])
    beats = rng.integers(0, 1 << width, 12 * depth)
    beats[1] = (1 << width) - 1
    parameters = {"DATA_WIDTH": width, "DEPTH": depth, "TIMES": times}
    simulate("abbnn_replay", "test_abbnn_replay", parameters, case={"beats": beats, "depth": depth, "times": times})


@pytest.mark.parametrize(("toplevel", "parameters", "message"), BAD_PARAMETERS)
def test_abbnn_replay_parameters(toplevel, parameters, message):
    assert_elaboration_fails(toplevel, parameters, message)
