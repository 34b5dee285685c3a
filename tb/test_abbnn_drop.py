"""abbnn_drop: good frames pass whole, bad ones vanish whole, each with its own verdict, in whatever order they come."""

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles

from abbnn.tb.bench import STALLS, Bench, assert_equal, load_case, rows, simulate

LINT_PARAMETERS = rows("DATA_WIDTH", (1,), (64,))
BAD_PARAMETERS = [("abbnn_drop", {"DATA_WIDTH": 0}, "DATA_WIDTH_must_be_at_least_1")]


@cocotb.test()
async def frames(dut):
    case = load_case()
    data, bad = case["data"], case["bad"]
    bench = Bench(dut, sources=("s_axis", "s_verdict"))
    await bench.reset()
    passed = 0
    for stalls in STALLS:
        bench.stall(*stalls)
        for frame, verdict in zip(data, bad, strict=True):
            bench.send(frame)
            bench.send([int(verdict)], "s_verdict")
        for frame in data[bad == 0]:
            received = await bench.receive(len(frame))
            assert_equal(np.array(received), frame, "beat")
        await bench.silent()
        passed += int((bad == 0).sum())
        assert int(dut.frames.value) == passed


@cocotb.test()
async def waits_for_the_verdict(dut):
    frame = load_case()["data"][0]
    bench = Bench(dut, sources=("s_axis", "s_verdict"))
    await bench.reset()
    bench.send(frame)
    await bench.silent()
    bench.send([0], "s_verdict")
    received = await bench.receive(len(frame))
    assert_equal(np.array(received), frame, "beat")
    await bench.silent()


@cocotb.test()
async def reset_clears_the_count(dut):
    frame = load_case()["data"][0]
    bench = Bench(dut, sources=("s_axis", "s_verdict"))
    await bench.reset()
    bench.send(frame)
    bench.send([0], "s_verdict")
    await bench.receive(len(frame))
    await ClockCycles(dut.clk, 2)
    assert int(dut.frames.value) == 1
    await bench.reset()
    assert int(dut.frames.value) == 0


@pytest.mark.parametrize(("width", "beats"), [(32, 11), (1, 1)])
def test_abbnn_drop(width, beats):
    rng = np.random.default_rng(beats)
    bad = rng.integers(0, 2, 24)
    bad[:4] = [0, 1, 1, 0]
    case = {"data": rng.integers(0, 1 << width, (len(bad), beats)), "bad": bad}
    simulate("abbnn_drop", "test_abbnn_drop", {"DATA_WIDTH": width}, case=case)
