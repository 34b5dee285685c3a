"""abbnn_baud: a tick in every bit, the first one a bit or half a bit behind idle."""

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge

from abbnn.tb.bench import CLOCK_NS, load_case, rows, simulate

LINT_PARAMETERS = rows("CLOCK_HZ BAUD HALF", (8, 1, 0), (9, 1, 1), (50000000, 2000000, 0), (125000000, 115200, 1))
BAD_PARAMETERS = [
    ("abbnn_baud", {"BAUD": 0}, "BAUD_must_be_at_least_1"),
    ("abbnn_baud", {"CLOCK_HZ": 22000000, "BAUD": 3000000}, "CLOCK_HZ_must_be_at_least_8_BAUD"),
    ("abbnn_baud", {"CLOCK_HZ": 50000000, "BAUD": 3000000}, "BAUD_must_divide_CLOCK_HZ_within_1_5_percent"),
    ("abbnn_baud", {"CLOCK_HZ": 20400000, "BAUD": 2000000}, "BAUD_must_divide_CLOCK_HZ_within_1_5_percent"),
    ("abbnn_baud", {"HALF": 2}, "HALF_must_be_0_or_1"),
]


@cocotb.test()
async def exact_cycles(dut):
    """Where idle ends in any phase, and none while it is high."""
    first, divider = int(load_case()["first"]), int(load_case()["divider"])
    Clock(dut.clk, CLOCK_NS, unit="ns").start()
    for length in (1, *range(first, first + divider + 1), 5 * divider):
        dut.idle.value = 1
        await ClockCycles(dut.clk, 2)
        seen = []
        for cycle in range(length):
            await FallingEdge(dut.clk)
            # Cycle 0 is the first one without idle.
            seen += [cycle] if dut.tick.value == 1 else []
            dut.idle.value = 0
        assert seen == list(range(first - 1, length, divider))


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize(("clock", "baud", "divider"), [(8, 1, 8), (9, 1, 9), (100_000_000, 3_000_000, 33)])
def test_baud(clock, baud, divider, half):
    case = {"divider": divider, "first": divider // 2 if half else divider}
    simulate("abbnn_baud", "test_abbnn_baud", {"CLOCK_HZ": clock, "BAUD": baud, "HALF": half}, case=case)
