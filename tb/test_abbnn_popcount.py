"""abbnn_popcount: both forms ($countones and counters) give the exact count, LATENCY enables later."""

import cocotb
import numpy as np
import pytest
from bench import CLOCK_NS, assert_equal, load_case, simulate
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from export.layout import pack

LATENCY = 3
"""Enabled clock edges from the operands to their count, in both forms and for every WIDTH."""

BAD_PARAMETERS = [("abbnn_popcount", {"WIDTH": 0}, "WIDTH_must_be_at_least_1")]


async def counts(dut, a, b, enables):
    """Offer one pair at every enabled edge, none twice; the counts seen after each enabled edge."""
    seen = []
    pairs = iter(zip(pack(a, 1), pack(b, 1), strict=True))
    for enable in enables:
        dut.enable.value = int(enable)
        if enable:
            dut.a.value, dut.b.value = next(pairs)
        else:
            dut.a.value, dut.b.value = 0, 0  # must not be sampled
        await FallingEdge(dut.clk)
        if enable:
            seen.append(dut.count.value)
    return [int(count) for count in seen[LATENCY - 1 :]]


@cocotb.test()
async def every_cycle(dut):
    case = load_case()
    cocotb.start_soon(Clock(dut.clk, CLOCK_NS, unit="ns").start())
    await FallingEdge(dut.clk)
    actual = await counts(dut, case["a"], case["b"], np.ones(len(case["a"])))
    assert_equal(np.array(actual), case["expected"][: len(case["a"]) - LATENCY + 1], "pair")


@cocotb.test()
async def paused(dut):
    case = load_case()
    cocotb.start_soon(Clock(dut.clk, CLOCK_NS, unit="ns").start())
    await FallingEdge(dut.clk)
    length = min(400, len(case["a"]))
    enables = np.random.default_rng(1).permutation(np.arange(2 * length) < length)
    actual = await counts(dut, case["a"][:length], case["b"][:length], enables)
    assert_equal(np.array(actual), case["expected"][: length - LATENCY + 1], "pair")


def stimulus(width):
    """All pairs of narrow operands; of wide ones the extremes, every single agreeing bit and random agreement."""
    rng = np.random.default_rng(width)
    if width <= 5:
        index = np.arange(1 << (2 * width))
        bits = (index[:, None] >> np.arange(2 * width)) & 1
        return bits[:, :width], bits[:, width:]
    share = np.concatenate([[0, 1], np.zeros(width), np.repeat([0.02, 0.5, 0.98], 150)])
    agree = rng.random((len(share), width)) < share[:, None]
    agree[2 : 2 + width] ^= np.eye(width, dtype=bool)
    a = rng.integers(0, 2, agree.shape)
    return a, a ^ ~agree


@pytest.mark.parametrize(
    ("width", "structural"),
    [(1, False), (5, False), (288, False), (1, True), (5, True), (19, True), (108, True), (115, True), (288, True)],
)
def test_abbnn_popcount(width, structural):
    a, b = stimulus(width)
    expected = (a == b).sum(axis=1)
    assert (expected.min(), expected.max()) == (0, width)
    case = {"a": a, "b": b, "expected": expected}
    simulate("abbnn_popcount", "test_abbnn_popcount", {"WIDTH": width}, case=case, structural=structural)
