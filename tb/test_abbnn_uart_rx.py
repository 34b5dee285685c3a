"""abbnn_uart_rx: every byte once, at any phase and a few percent off; glitches and breaks are no bytes."""

import cocotb
import pytest
from cocotb.triggers import FallingEdge, Timer
from cocotb.utils import get_sim_steps

from abbnn.tb.bench import CLOCK_NS, Bench, load_case, rows, simulate

LINT_PARAMETERS = rows("CLOCK_HZ BAUD", (8, 1), (9, 1), (50000000, 2000000), (125000000, 115200))
BAD_PARAMETERS = [
    ("abbnn_uart_rx", {"BAUD": 0}, "BAUD_must_be_at_least_1"),
    ("abbnn_uart_rx", {"CLOCK_HZ": 21000000, "BAUD": 3000000}, "CLOCK_HZ_must_be_at_least_8_BAUD"),
    ("abbnn_uart_rx", {"CLOCK_HZ": 50000000, "BAUD": 3000000}, "BAUD_must_divide_CLOCK_HZ_within_1_5_percent"),
    ("abbnn_uart_rx", {"CLOCK_HZ": 20400000, "BAUD": 2000000}, "BAUD_must_divide_CLOCK_HZ_within_1_5_percent"),
]


class Line:
    """Drives rxd; collects (data or None for an error) of every cycle with valid."""

    def __init__(self, dut):
        self.bench, self.dut = Bench(dut, sources=(), sinks=()), dut
        case = load_case()
        self.bit = CLOCK_NS * 1000.0 * float(case["clocks"])
        self.received = []
        dut.rxd.value = 1
        cocotb.start_soon(self._watch())

    async def _watch(self):
        dut = self.dut
        while True:
            await FallingEdge(dut.clk)
            if str(dut.rst.value) == "0" and str(dut.valid.value) == "1":
                self.received.append(None if str(dut.error.value) == "1" else int(dut.data.value))
            else:
                assert str(dut.error.value) != "1" or str(dut.rst.value) != "0", "an error without valid"

    async def hold(self, level, bits, rate=1.0):
        self.dut.rxd.value = level
        await Timer(round(bits * self.bit / rate / 1000 * get_sim_steps(1, "ns")), "step")

    async def byte(self, value, rate=1.0, stop=1, stop_bits=1.0):
        await self.hold(0, 1, rate)
        for index in range(8):
            await self.hold(value >> index & 1, 1, rate)
        await self.hold(stop, stop_bits, rate)

    async def start(self):
        await self.bench.reset()
        await self.hold(1, 2)

    async def check(self, expected):
        await self.hold(1, 3)
        assert self.received == expected, f"{self.received} in place of {expected}"
        self.received.clear()


@cocotb.test()
async def all_bytes(dut):
    """Back to back, and with pauses of any length."""
    line = Line(dut)
    await line.start()
    for value in range(256):
        await line.byte(value)
    await line.check(list(range(256)))
    values = [line.bench.random.randrange(256) for _ in range(200)]
    for value in values:
        await line.byte(value)
        await line.hold(1, line.bench.random.random() * 3)
    await line.check(values)


@cocotb.test()
async def off_rate(dut):
    """The sender is slower or faster by up to 3 %."""
    line = Line(dut)
    await line.start()
    for rate in (0.97, 0.985, 1.015, 1.03):
        values = [0x00, 0xFF, 0x55, 0xAA, *(line.bench.random.randrange(256) for _ in range(60))]
        for value in values:
            await line.byte(value, rate)
        await line.check(values)


@cocotb.test()
async def glitches(dut):
    """A pulse of one clock anywhere, or a start bit that ends before its middle, changes nothing."""
    line = Line(dut)
    await line.start()
    for _ in range(50):
        await line.hold(1, line.bench.random.random())
        dut.rxd.value = 0
        await Timer(CLOCK_NS, "ns")
        dut.rxd.value = 1
    await line.check([])
    await line.hold(0, 0.3)
    await line.check([])
    for value in (0x00, 0xFF, 0x5A):
        task = cocotb.start_soon(line.byte(value))
        await Timer(round(2.45 * line.bit), "ps")
        level = int(dut.rxd.value)
        dut.rxd.value = 1 - level
        await Timer(CLOCK_NS, "ns")
        dut.rxd.value = level
        await task
        await line.check([value])


@cocotb.test()
async def missing_stop_bits(dut):
    """A byte without a stop bit is one error, however long the line stays low; the next byte is right."""
    line = Line(dut)
    await line.start()
    for stop_bits in (1.0, 5.0, 30.0):
        await line.byte(0xC3)
        await line.byte(0x5A, stop=0, stop_bits=stop_bits)
        await line.hold(1, 1.5)
        await line.byte(0x3C)
        await line.check([0xC3, None, 0x3C])


@cocotb.test()
async def reset_in_mid_byte(dut):
    line = Line(dut)
    for cut in (0.3, 2.2, 9.4):
        await line.start()
        task = cocotb.start_soon(line.byte(0xFF))
        await Timer(round(cut * line.bit), "ps")
        await line.bench.reset()
        await task
        await line.hold(1, 12)
        line.received.clear()
        await line.byte(0x81)
        await line.check([0x81])


# Clock, rate, and clocks of an exact bit.
@pytest.mark.parametrize(
    ("clock", "baud"),
    [(8, 1), (9, 1), (100_000_000, 3_000_000), (125_000_000, 3_000_000), (50_000_000, 2_000_000)],
)
def test_uart_rx(clock, baud):
    simulate("abbnn_uart_rx", "test_abbnn_uart_rx", {"CLOCK_HZ": clock, "BAUD": baud}, case={"clocks": clock / baud})
