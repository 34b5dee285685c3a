"""abbnn_argmax: every score and index of back-to-back frames, ties included, tlast on the index alone."""

import cocotb
import numpy as np
import pytest
from bench import STALLS, Bench, assert_elaboration_fails, assert_equal, load_case, simulate
from cocotb.triggers import ClockCycles, FallingEdge

from export.layout import pack, unpack
from golden import ops

LATENCY = 1
FRAMES = 12

SIZES = ("SCORE_WIDTH", "CLASSES", "M_WIDTH")
GOOD_PARAMETERS = [(20, 10, 32), (2, 2, 2), (8, 1, 8), (5, 33, 6), (3, 16, 4)]
BAD_PARAMETERS = [
    ("abbnn_argmax", {"SCORE_WIDTH": 1}, "SCORE_WIDTH_must_be_at_least_2"),
    ("abbnn_argmax", {"CLASSES": 0}, "CLASSES_must_be_at_least_1"),
    ("abbnn_argmax", {"SCORE_WIDTH": 17}, "M_WIDTH_must_hold_a_score_and_an_index"),
    ("abbnn_argmax", {"SCORE_WIDTH": 4, "CLASSES": 17, "M_WIDTH": 4}, "M_WIDTH_must_hold_a_score_and_an_index"),
]


async def transfers(dut, prefix, cycles, lasts=None):
    """Append the number of every cycle in which the stream transfers a beat, and its tlast."""
    cycle = 0
    valid, ready = getattr(dut, f"{prefix}_tvalid"), getattr(dut, f"{prefix}_tready")
    while True:
        await FallingEdge(dut.clk)
        cycle += 1
        if str(valid.value) + str(ready.value) == "11":
            cycles.append(cycle)
            if lasts is not None:
                lasts.append(int(dut.m_axis_tlast.value))


def send(bench, case, frames):
    for scores in case["scores"][:frames]:
        bench.send(pack(scores[:, None], int(case["SCORE_WIDTH"])))


async def check(bench, case, frames):
    """Scores are signed, indices are not: they are compared as the bits of a beat."""
    width = int(case["M_WIDTH"])
    expected = np.concatenate([case["scores"], case["classes"][:, None]], axis=1)[:frames] & ((1 << width) - 1)
    beats = await bench.receive(expected.size)
    actual = unpack(beats, 1, width, signed=False)
    assert_equal(actual.reshape(expected.shape), expected, "frame, beat")


@cocotb.test()
async def stream(dut):
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    given, lasts = [], []
    cocotb.start_soon(transfers(dut, "m_axis", given, lasts))
    for idle, back_pressure in STALLS:
        bench.stall(idle, back_pressure)
        send(bench, case, FRAMES)
        await check(bench, case, FRAMES)
        await bench.silent()
    pattern = [0] * int(case["CLASSES"]) + [1]
    assert_equal(np.array(lasts), np.array(pattern * FRAMES * len(STALLS)), "tlast of beat")


@cocotb.test()
async def timing(dut):
    """Latency; a frame takes CLASSES + 1 cycles on both sides."""
    case = load_case()
    bench = Bench(dut)
    await bench.reset(cycles=1)
    taken, given = [], []
    cocotb.start_soon(transfers(dut, "s_axis", taken))
    cocotb.start_soon(transfers(dut, "m_axis", given))
    send(bench, case, FRAMES)
    await check(bench, case, FRAMES)
    beats = int(case["CLASSES"]) + 1
    cycles = np.arange(FRAMES * beats)
    assert_equal(np.array(taken), taken[0] + cycles[cycles % beats < beats - 1], "input beat")
    assert_equal(np.array(given), taken[0] + LATENCY + cycles, "output beat")


@cocotb.test()
async def stalled_output(dut):
    """tvalid comes up without tready, and one beat is taken."""
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    taken = []
    cocotb.start_soon(transfers(dut, "s_axis", taken))
    bench.sinks["m_axis"].pause = True
    await ClockCycles(dut.clk, 2)
    send(bench, case, 1)
    await ClockCycles(dut.clk, 20)
    assert len(taken) == LATENCY, f"{len(taken)} beats taken"
    assert dut.m_axis_tvalid.value == 1
    bench.sinks["m_axis"].pause = False
    await check(bench, case, 1)
    await bench.silent()


@cocotb.test()
async def reset_in_mid_frame(dut):
    """After a reset among the scores, and one just before the index, frames are right again."""
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    for cycles in range(1, int(case["CLASSES"]) + 3):
        send(bench, case, 1)
        await ClockCycles(dut.clk, cycles)
        await bench.reset(cycles=1)
        send(bench, case, 2)
        await check(bench, case, 2)
        await bench.silent(cycles=8)


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_argmax(sizes):
    parameters = dict(zip(SIZES, sizes, strict=True))
    score_width, classes, _ = sizes
    low, high = ops.value_range(score_width)
    rng = np.random.default_rng(sizes)
    scores = rng.integers(low, high + 1, (FRAMES, classes))
    scores[1] = low
    scores[2] = high
    scores[3], scores[3, -1] = low, high
    scores[4], scores[4, 0] = -1, 0
    scores[5], scores[5, 1:] = -1, 0
    scores[6:9] = rng.integers(-1, 1, (3, classes))
    case = {"scores": scores, "classes": ops.argmax(scores), **parameters}
    simulate("abbnn_argmax", "test_abbnn_argmax", parameters, case=case)


@pytest.mark.parametrize(("toplevel", "parameters", "message"), BAD_PARAMETERS)
def test_abbnn_argmax_parameters(toplevel, parameters, message):
    assert_elaboration_fails(toplevel, parameters, message)
