"""abbnn_axil_master: against cocotbext-axi's memory and a slave that refuses, with stalls on every channel."""

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteRam

from abbnn.tb.bench import CLOCK_NS, pauses, rows, simulate

LINT_PARAMETERS = rows("ADDRESS_WIDTH", (1,), (32,))
BAD_PARAMETERS = [("abbnn_axil_master", {"ADDRESS_WIDTH": 0}, "ADDRESS_WIDTH_must_be_at_least_1")]


class Master:
    def __init__(self, dut):
        import random

        self.dut, self.random = dut, random.Random(cocotb.RANDOM_SEED)
        cocotb.start_soon(Clock(dut.clk, CLOCK_NS, unit="ns").start())
        dut.request_valid.value = 0

    async def reset(self):
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 3)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)

    async def access(self, address, data=None):
        """(read data, error); AssertionError if the answer does not come, or comes twice."""
        dut = self.dut
        await FallingEdge(dut.clk)
        dut.request_write.value = data is not None
        dut.request_address.value = address
        dut.request_data.value = data or 0
        dut.request_valid.value = 1
        assert dut.request_ready.value == 1
        await RisingEdge(dut.clk)
        await FallingEdge(dut.clk)
        dut.request_valid.value = 0
        for _ in range(500):
            if dut.done.value == 1:
                answer = int(dut.read_data.value) if data is None else None, int(dut.error.value)
                await FallingEdge(dut.clk)
                assert dut.done.value == 0, "done for two cycles"
                await FallingEdge(dut.clk)
                return answer
            await FallingEdge(dut.clk)
        raise AssertionError("no answer in 500 cycles")


@cocotb.test()
async def memory(dut):
    master = Master(dut)
    ram = AxiLiteRam(AxiLiteBus.from_prefix(dut, "m_axil"), dut.clk, dut.rst, size=256)
    for end in (ram.write_if, ram.read_if):
        end.log.setLevel("ERROR")
    await master.reset()
    channels = [
        ram.write_if.aw_channel,
        ram.write_if.w_channel,
        ram.write_if.b_channel,
        ram.read_if.ar_channel,
        ram.read_if.r_channel,
    ]
    model = {}
    for share in (0.0, 0.6):
        for channel in channels:
            channel.clear_pause_generator()
            if share:
                channel.set_pause_generator(pauses(share, master.random))
        for _ in range(150):
            address = 4 * master.random.randrange(64)
            if master.random.random() < 0.5:
                model[address] = master.random.getrandbits(32)
                assert await master.access(address, model[address]) == (None, 0)
                assert ram.read_dword(address) == model[address]
            else:
                assert await master.access(address) == (model.get(address, 0), 0)
    assert len(model) > 30


@cocotb.test()
async def refused(dut):
    """Any response but OKAY is an error; address and data may be taken in either order."""
    master = Master(dut)
    names = ("awready", "wready", "bvalid", "arready", "rvalid")
    pins = {name: getattr(dut, f"m_axil_{name}") for name in names}
    for pin in pins.values():
        pin.value = 0
    await master.reset()

    async def pulse(name):
        pins[name].value = 1
        await RisingEdge(dut.clk)
        await FallingEdge(dut.clk)
        pins[name].value = 0

    async def slave(order, response):
        await FallingEdge(dut.clk)
        dut.m_axil_bresp.value = dut.m_axil_rresp.value = response
        dut.m_axil_rdata.value = 0x89ABCDEF
        await ClockCycles(dut.clk, 4)
        await FallingEdge(dut.clk)
        for name in order:
            await pulse(name)
            await FallingEdge(dut.clk)

    for response in (0, 2, 3, 0):
        for order in (("awready", "wready", "bvalid"), ("wready", "awready", "bvalid")):
            task = cocotb.start_soon(slave(order, response))
            assert await master.access(0x1C, 1) == (None, int(response != 0))
            await task
        task = cocotb.start_soon(slave(("arready", "rvalid"), response))
        assert await master.access(0x20) == (0x89ABCDEF, int(response != 0))
        await task


@pytest.mark.parametrize("width", [8, 12])
def test_axil_master(width):
    simulate("abbnn_axil_master", "test_abbnn_axil_master", {"ADDRESS_WIDTH": width})
