"""abbnn_board without a boot image: no core until the host has loaded a network. The rest: tb/test_ulx3s_85f.py."""

import cocotb
import pytest
from cocotb.triggers import ClockCycles
from test_ulx3s_85f import Board, simulate_board

from abbnn.host.link import Refused
from abbnn.host.packet import Reason
from abbnn.tb.bench import rows
from abbnn.tb.serial_port import run

LINT_PARAMETERS = rows("CLOCK_HZ BAUD BOOT_WORDS RX_BYTES GAP_CYCLES", (100000000, 115200, 0, 128, 100))
BAD_PARAMETERS = [("abbnn_board", {"CLOCK_HZ": 19, "BAUD": 2}, "CLOCK_HZ_must_be_at_least_20")]


@cocotb.test()
async def load_and_classify(dut):
    board = Board(dut)
    dut.rst.value = 1
    await ClockCycles(dut.clk, 16)
    dut.rst.value = 0
    await board.start()
    assert await run(board.device.network) == 0
    with pytest.raises(Refused) as refused:
        await board.classify([0])
    assert refused.value.reason == Reason.NOT_READY
    assert board.leds() & 1 == 0
    await board.load([int(word) for word in board.case["words"]])
    assert await run(board.device.network) == int(board.facts["network_id"])
    chosen = list(range(len(board.images)))
    board.check(await board.classify(chosen, flying=2), chosen)
    assert (await board.check_counters())["FRAMES"] == len(chosen)
    assert board.leds() & 0b11111 == 0b10001


def test_board():
    simulate_board("abbnn_board", "load_and_classify", module="test_abbnn_board", images=3)
