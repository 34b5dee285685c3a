"""abbnn_link_rx: packets out of a buffer that may overflow; every byte is looked at or counted as lost."""

import cocotb
import pytest
from cocotb.triggers import ClockCycles, FallingEdge

from abbnn.host.packet import Reason, encode
from abbnn.tb.bench import Bench, load_case, rows, simulate

LINT_PARAMETERS = rows("RX_BYTES GAP_CYCLES", (128, 1), (4096, 600))
BAD_PARAMETERS = [
    ("abbnn_link_rx", {"RX_BYTES": 127}, "RX_BYTES_must_be_at_least_128"),
    ("abbnn_link_rx", {"GAP_CYCLES": 0}, "GAP_CYCLES_must_be_at_least_1"),
]
GAP = 100


class Line:
    """Takes every header while `taking`; `events` is (type, tag) of each, and the reason that its packet ended with."""

    def __init__(self, dut):
        self.bench, self.dut = Bench(dut, sources=()), dut
        self.taking, self.events, self.sent = True, [], 0
        dut.rx_valid.value = dut.rx_error.value = 0
        cocotb.start_soon(self._take())

    async def _take(self):
        dut = self.dut
        dut.header_take.value = 1
        while True:
            await FallingEdge(dut.clk)
            header = self.taking and str(dut.header_valid.value) == "1"
            end = str(dut.end_valid.value) == "1"
            dut.header_ready.value, dut.end_ready.value = int(header), int(end)
            if header:
                self.events.append((int(dut.header_type.value), int(dut.header_tag.value)))
            if end:
                self.events.append(int(dut.end_reason.value))

    async def send(self, data, *, spacing=4, error_at=None):
        dut = self.dut
        for index, byte in enumerate(data):
            await FallingEdge(dut.clk)
            dut.rx_data.value, dut.rx_error.value, dut.rx_valid.value = byte, int(index == error_at), 1
            await FallingEdge(dut.clk)
            dut.rx_valid.value = 0
            await ClockCycles(dut.clk, spacing - 1)
        self.sent += len(data)

    async def check(self, events, payload, *, line_errors=0):
        await ClockCycles(self.dut.clk, GAP + 10 * int(load_case()["bytes"]))
        assert self.events == events
        assert bytes(self.bench.sinks["m_axis"].read_nowait()) == payload
        assert self.dut.line_errors.value == line_errors
        assert int(self.dut.consumed.value) + int(self.dut.losses.value) == self.sent


@cocotb.test()
async def packets(dut):
    """Whole ones, one with a byte without a stop bit, and one that breaks off."""
    line = Line(dut)
    await line.bench.reset()
    payload = line.bench.random.randbytes(40)
    await line.send(encode(4, 1, payload))
    await line.send(encode(1, 2))
    await line.send(encode(4, 3, payload), error_at=9 + 10)
    await line.send(encode(4, 5, payload)[: 9 + 6])
    ends = [(4, 1), 0, (1, 2), 0, (4, 3), Reason.LINE, (4, 5), Reason.GAP]
    await line.check(ends, payload + payload[:10] + payload[:6], line_errors=1)
    assert dut.losses.value == 0


@cocotb.test()
async def overflow(dut):
    """What the buffer holds comes out; one mark stands for the rest, and the next packet is whole again."""
    line, size = Line(dut), int(load_case()["bytes"])
    await line.bench.reset()
    line.taking = False
    payload = line.bench.random.randbytes(2 * size)
    await line.send(encode(1, 1))
    await line.send(encode(4, 2, payload[:7]))
    await line.send(encode(5, 3, payload))
    stored = line.sent - int(dut.losses.value)
    assert size <= stored < size + 64
    line.taking = True
    rest = payload[: stored - len(encode(1, 1)) - len(encode(4, 2, payload[:7])) - 9]
    await line.check([(1, 1), 0, (4, 2), 0, (5, 3), Reason.LOST], payload[:7] + rest)
    await line.send(encode(1, 4))
    await line.check([(1, 1), 0, (4, 2), 0, (5, 3), Reason.LOST, (1, 4), 0], b"")


@cocotb.test()
async def crowded(dut):
    """Noise that comes faster than it is looked at: room and none in turn, and no byte goes uncounted."""
    line, size = Line(dut), int(load_case()["bytes"])
    await line.bench.reset()
    await line.send([0x4E] * (6 * size), spacing=2)
    await line.check([], b"")
    assert int(dut.losses.value) > size
    assert int(dut.consumed.value) > 2 * size
    await line.send(encode(4, 7, b"whole"))
    await line.check([(4, 7), 0], b"whole")


@pytest.mark.parametrize("size", [128, 201])
def test_link_rx(size):
    simulate("abbnn_link_rx", "test_abbnn_link_rx", {"RX_BYTES": size, "GAP_CYCLES": GAP}, case={"bytes": size})
