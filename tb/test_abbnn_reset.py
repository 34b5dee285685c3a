"""abbnn_reset: the reset one cycle later."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from abbnn.tb.bench import simulate


@cocotb.test()
async def one_cycle_later(dut):
    rng = random.Random(cocotb.RANDOM_SEED)
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    seen = set()
    for _ in range(100):
        level = rng.randrange(2)
        dut.s_rst.value = level
        await FallingEdge(dut.clk)
        assert int(dut.m_rst.value) == level
        seen.add(level)
        dut.s_rst.value = 1 - level
        assert int(dut.m_rst.value) == level
    assert seen == {0, 1}


def test_abbnn_reset():
    simulate("abbnn_reset", "test_abbnn_reset")
