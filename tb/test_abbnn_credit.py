"""abbnn_credit behind registers that never stall: every result once, in order, at full rate if DEPTH allows."""

import random
from collections import deque

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

from abbnn.tb.bench import load_case, rows, simulate

LINT_PARAMETERS = rows("DATA_WIDTH DEPTH", (1, 2), (320, 5), (20, 24))
BAD_PARAMETERS = [
    ("abbnn_credit", {"DATA_WIDTH": 0}, "DATA_WIDTH_must_be_at_least_1"),
    ("abbnn_credit", {"DEPTH": 1}, "DEPTH_must_be_at_least_2"),
]


@cocotb.test()
async def nothing_is_lost(dut):
    """`delay` cycles lie between enter and the result; both ends are stalled at random, then not at all."""
    case = load_case()
    delay, depth = int(case["delay"]), int(case["depth"])
    rng = random.Random(cocotb.RANDOM_SEED)
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    dut.rst.value, dut.enter.value, dut.s_axis_tvalid.value, dut.m_axis_tready.value = 1, 0, 0, 0
    for _ in range(3):
        await FallingEdge(dut.clk)
    assert int(dut.ready.value) == 0
    dut.rst.value = 0
    pipeline = deque([None] * delay)
    entered, left, under_way, full_rate = 0, 0, 0, 0
    for cycle in range(3000):
        stalls = cycle < 2000
        await Timer(1, "ns")
        enter = int(dut.ready.value) == 1 and not (stalls and rng.random() < 0.3)
        take = not (stalls and rng.random() < rng.choice((0.1, 0.9)))
        arriving = pipeline.popleft()
        pipeline.append(entered if enter else None)
        dut.enter.value, dut.m_axis_tready.value = int(enter), int(take)
        dut.s_axis_tvalid.value = int(arriving is not None)
        dut.s_axis_tdata.value = 0 if arriving is None else arriving % 4096
        await Timer(1, "ns")
        if take and int(dut.m_axis_tvalid.value):
            assert int(dut.m_axis_tdata.value) == left % 4096
            left += 1
            under_way -= 1
            full_rate += cycle >= 2100
        entered += enter
        under_way += enter
        assert under_way <= depth
        await FallingEdge(dut.clk)
    assert left > 300
    assert (full_rate == 900) == (depth >= delay + 5)


@cocotb.test()
async def reset_under_way(dut):
    """A reset of one cycle, while a result leaves: afterwards there is leave for DEPTH results, and no more."""
    delay, depth = int(load_case()["delay"]), int(load_case()["depth"])
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    for leaving in (False, True):
        dut.rst.value, dut.enter.value, dut.s_axis_tvalid.value, dut.m_axis_tready.value = 1, 0, 0, 0
        for _ in range(3):
            await FallingEdge(dut.clk)
        dut.rst.value = 0
        pipeline = deque([0] * delay)
        entered = 0
        for cycle in range(depth + delay + 20):
            reset = cycle == depth + delay + 5
            await Timer(1, "ns")
            enter = int(dut.ready.value) and cycle < depth + delay + 5
            dut.rst.value, dut.m_axis_tready.value = int(reset), int(reset and leaving)
            dut.enter.value, dut.s_axis_tvalid.value = enter, pipeline.popleft()
            pipeline.append(enter)
            entered += enter
            await Timer(1, "ns")
            assert not reset or int(dut.m_axis_tvalid.value)
            await FallingEdge(dut.clk)
        assert entered == depth
        entered = 0
        for _ in range(depth + 20):
            await Timer(1, "ns")
            dut.enter.value = int(dut.ready.value)
            entered += int(dut.ready.value)
            await FallingEdge(dut.clk)
        assert entered == depth, f"leave for {entered} results"


@pytest.mark.parametrize(("delay", "depth"), [(1, 2), (3, 8), (3, 7), (12, 24), (10, 5)])
def test_abbnn_credit(delay, depth):
    simulate(
        "abbnn_credit",
        "test_abbnn_credit",
        {"DATA_WIDTH": 12, "DEPTH": depth},
        case={"delay": delay, "depth": depth},
    )
