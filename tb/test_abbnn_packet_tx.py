"""abbnn_packet_tx: the bytes of packets are those of host.packet.encode."""

import cocotb
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge

from abbnn.host.packet import encode
from abbnn.tb.bench import STALLS, Bench, simulate


async def header(dut, kind, tag, length, delay):
    await ClockCycles(dut.clk, delay + 1)
    await FallingEdge(dut.clk)
    dut.header_type.value, dut.header_tag.value, dut.header_length.value = kind, tag, length
    dut.header_valid.value = 1
    for _ in range(20_000):
        if dut.header_ready.value == 1:
            await RisingEdge(dut.clk)
            await FallingEdge(dut.clk)
            dut.header_valid.value = 0
            return
        await FallingEdge(dut.clk)
    raise AssertionError("the header is not taken")


@cocotb.test()
async def packets(dut):
    bench = Bench(dut)
    dut.header_valid.value = 0
    await bench.reset()
    for idle, back_pressure in STALLS:
        bench.stall(idle, back_pressure)
        expected = b""
        for length in (0, 1, 2, 4, 16, 40, 300, 0, 0, 7):
            kind, tag = bench.random.randrange(256), bench.random.randrange(256)
            payload = bench.random.randbytes(length)
            if payload:
                bench.send(list(payload))
            await header(dut, kind, tag, length, bench.random.choice([0, 0, 30]))
            expected += encode(kind, tag, payload)
        assert bytes(await bench.receive(len(expected))) == expected
        await bench.silent()


@cocotb.test()
async def long_length(dut):
    """The header of the longest packet."""
    bench = Bench(dut)
    dut.header_valid.value = 0
    await bench.reset()
    cocotb.start_soon(header(dut, 0x84, 0xFE, 0xABCDEF, 0))
    assert bytes(await bench.receive(9)) == encode(0x84, 0xFE, bytes(0xABCDEF))[:9]
    await bench.reset()
    bench.send(list(b"ok"))
    await header(dut, 1, 2, 2, 0)
    assert bytes(await bench.receive(15)) == encode(1, 2, b"ok")


def test_packet_tx():
    simulate("abbnn_packet_tx", "test_abbnn_packet_tx")
