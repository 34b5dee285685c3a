"""abbnn_cut: a skid register whose packets end with tlast, even those that a cut takes the rest of."""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

from abbnn.tb.bench import load_case, rows, simulate

LINT_PARAMETERS = rows("DATA_WIDTH", (1,), (33,))
BAD_PARAMETERS = [("abbnn_cut", {"DATA_WIDTH": 0}, "DATA_WIDTH_must_be_at_least_1")]


@cocotb.test()
async def cuts(dut):
    """Random packets, stalls and cuts against what was shown, cycle by cycle."""
    width = int(load_case()["width"])
    end = (1 << width) - 1
    rng = random.Random(cocotb.RANDOM_SEED)
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    dut.rst.value, dut.cut.value, dut.s_axis_tvalid.value, dut.m_axis_tready.value = 1, 0, 0, 0
    for _ in range(2):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    waiting, shown, is_open = [], None, False  # taken and never shown; on m_axis; the last one shown had no tlast
    cutting, remaining, full_rate = 0, 0, 0
    counts = dict.fromkeys(("whole", "ended", "cut stalled", "cut before", "stays"), 0)
    for cycle in range(30_000):
        easy = cycle >= 29_000
        # What stands behind a closed output may not change, whatever is cut.
        if cutting == 0 and not easy and rng.random() < 0.02:
            cutting = rng.choice([1, 2, 8])
        cut = cutting > 0
        cutting -= cut
        take = easy or rng.random() < (0.02 if cycle // 1000 % 3 == 0 else 0.6)
        if remaining == 0:
            remaining = rng.randrange(1, 6)
        valid = easy or rng.random() < 0.7
        beat = (int(remaining == 1), rng.getrandbits(width))
        dut.cut.value, dut.m_axis_tready.value, dut.s_axis_tvalid.value = int(cut), int(take), int(valid)
        dut.s_axis_tlast.value, dut.s_axis_tdata.value = beat
        await Timer(1, "ns")
        assert int(dut.m_axis_tvalid.value) == (shown is not None), cycle
        if shown:
            assert (int(dut.m_axis_tlast.value), int(dut.m_axis_tdata.value)) == shown, cycle
            if take:
                counts["whole"] += shown[0]
                full_rate += cycle >= 29_010
        taken = valid and int(dut.s_axis_tready.value) == 1
        if cut:
            counts["cut stalled"] += is_open and shown is not None and not take
            counts["cut before"] += not is_open
            counts["stays"] += bool(shown and shown[0] and not take)
            counts["ended"] += is_open and (1, end) not in waiting
            waiting = [(1, end)] if is_open else []
            remaining = 0  # the sender is reset too
        elif taken:
            waiting.append(beat)
            remaining -= 1
        if shown is None or take:
            shown = waiting.pop(0) if waiting else None
            if shown:
                is_open = not shown[0]
        await FallingEdge(dut.clk)
    assert full_rate == 990
    assert min(counts.values()) > 20, counts
    dut.rst.value = 1
    await FallingEdge(dut.clk)
    assert int(dut.m_axis_tvalid.value) == 0


@pytest.mark.parametrize("width", [1, 32])
def test_abbnn_cut(width):
    simulate("abbnn_cut", "test_abbnn_cut", {"DATA_WIDTH": width}, case={"width": width})
