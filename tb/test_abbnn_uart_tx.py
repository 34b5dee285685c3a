"""abbnn_uart_tx: the line, cycle by cycle, and as an independent receiver reads it."""

import cocotb
import pytest
from cocotb.triggers import ClockCycles, FallingEdge
from cocotbext.uart import UartSink

from abbnn.tb.bench import CLOCK_NS, Bench, load_case, rows, simulate

LINT_PARAMETERS = rows("CLOCK_HZ BAUD", (8, 1), (9, 1), (50000000, 2000000), (125000000, 115200))
BAD_PARAMETERS = [
    ("abbnn_uart_tx", {"BAUD": 0}, "BAUD_must_be_at_least_1"),
    ("abbnn_uart_tx", {"CLOCK_HZ": 21000000, "BAUD": 3000000}, "CLOCK_HZ_must_be_at_least_8_BAUD"),
    ("abbnn_uart_tx", {"CLOCK_HZ": 50000000, "BAUD": 3000000}, "BAUD_must_divide_CLOCK_HZ_within_1_5_percent"),
]


def levels(values, divider):
    return [
        level for value in values for bit in (0, *(value >> i & 1 for i in range(8)), 1) for level in [bit] * divider
    ]


async def record(dut, levels):
    while True:
        await FallingEdge(dut.clk)
        levels.append(int(dut.txd.value))


@cocotb.test()
async def exact_cycles(dut):
    """Back to back, every bit lasts DIVIDER clocks and the line is high before and after."""
    bench, divider = Bench(dut, sinks=()), int(load_case()["divider"])
    await bench.reset()
    assert dut.txd.value == 1
    values = [0x00, 0xFF, 0x55, *(bench.random.randrange(256) for _ in range(20))]
    seen = []
    task = cocotb.start_soon(record(dut, seen))
    bench.send(values)
    await ClockCycles(dut.clk, 10 * divider * (len(values) + 2))
    task.cancel()
    start = seen.index(0)
    expected = levels(values, divider)
    assert seen[:start] == [1] * start
    assert seen[start : start + len(expected)] == expected
    assert set(seen[start + len(expected) :]) == {1}


@cocotb.test()
async def received(dut):
    """A receiver of its own, with pauses between the bytes and without."""
    bench, clocks = Bench(dut, sinks=()), float(load_case()["clocks"])
    await bench.reset()
    sink = UartSink(dut.txd, baud=round(1e9 / (CLOCK_NS * clocks)))
    for idle in (0.0, 0.9):
        bench.stall(idle, 0)
        values = [bench.random.randrange(256) for _ in range(100)]
        bench.send(values)
        await ClockCycles(dut.clk, round(10 * clocks * 130))
        assert list(sink.read_nowait()) == values


@cocotb.test()
async def reset_in_mid_byte(dut):
    bench, divider = Bench(dut, sinks=()), int(load_case()["divider"])
    await bench.reset()
    bench.send([0x00, 0x00])
    await ClockCycles(dut.clk, 4 * divider)
    assert dut.txd.value == 0
    await bench.reset()
    seen = []
    cocotb.start_soon(record(dut, seen))
    await ClockCycles(dut.clk, 12 * divider)
    assert set(seen) == {1}
    bench.send([0xA5])
    await ClockCycles(dut.clk, 12 * divider)
    assert seen[seen.index(0) :][: 10 * divider] == levels([0xA5], divider)


@pytest.mark.parametrize(
    ("clock", "baud", "divider"),
    [(8, 1, 8), (9, 1, 9), (100_000_000, 3_000_000, 33), (125_000_000, 3_000_000, 42), (50_000_000, 2_000_000, 25)],
)
def test_uart_tx(clock, baud, divider):
    case = {"divider": divider, "clocks": clock / baud}
    simulate("abbnn_uart_tx", "test_abbnn_uart_tx", {"CLOCK_HZ": clock, "BAUD": baud}, case=case)
