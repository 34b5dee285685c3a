"""abbnn_gather: whole frames are whole, and a frame with a bad verdict can never be taken for one."""

import cocotb
import pytest
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge

from abbnn.tb.bench import STALLS, Bench, load_case, rows, simulate

LINT_PARAMETERS = rows("BYTES", (2,), (4,))
BAD_PARAMETERS = [("abbnn_gather", {"BYTES": 1}, "BYTES_must_be_at_least_2")]


async def verdict(dut, good):
    """Offer it until it is taken."""
    await FallingEdge(dut.clk)
    dut.end_good.value, dut.end_valid.value = good, 1
    for _ in range(5000):
        if dut.end_ready.value == 1:
            await RisingEdge(dut.clk)
            await FallingEdge(dut.clk)
            dut.end_valid.value = 0
            return
        await FallingEdge(dut.clk)
    raise AssertionError("the verdict is not taken")


async def taken(bench):
    for _ in range(20_000):
        await FallingEdge(bench.dut.clk)
        if bench.sources["s_axis"].idle() and str(bench.dut.s_axis_tvalid.value) == "0":
            return
    raise AssertionError("the bytes are not taken")


@cocotb.test()
async def frames(dut):
    """Frames of every number of bytes, good and bad, under every stall."""
    bench, size = Bench(dut), int(load_case()["bytes"])
    dut.end_valid.value = 0
    await bench.reset()
    sink = bench.sinks["m_axis"]
    for idle, back_pressure in STALLS:
        bench.stall(idle, back_pressure)
        for length in [*range(5 * size + 1), 40 * size]:
            for good in (1, 0):
                data = bench.random.randbytes(length)
                if data:
                    bench.send(list(data))
                await taken(bench)
                beats = [int.from_bytes(data[i : i + size], "little") for i in range(0, length - size + 1, size)]
                expected = beats if good else beats[:-1]
                held = max(len(beats) - 2, 0)
                await ClockCycles(dut.clk, 40)
                assert sink.count() == 0, "a frame ends before its verdict"
                if back_pressure == 0:
                    assert sink.active == (held > 0), f"{held} beats before the verdict"
                await verdict(dut, good)
                await ClockCycles(dut.clk, 40)
                received = [list(sink.recv_nowait().tdata) for _ in range(sink.count())]
                assert received == ([expected] if expected else []), f"{length} bytes, good {good}"
        assert not sink.active
    await bench.silent()


@cocotb.test()
async def held_back(dut):
    """Before the verdict, exactly two beats fewer than have come are out."""
    bench, size = Bench(dut), int(load_case()["bytes"])
    bench.receives = False
    dut.end_valid.value = 0
    await bench.reset()
    moved = bench.transfers("m_axis")
    for beats in (1, 2, 3, 10):
        await bench.reset()
        moved.clear()
        bench.send([7] * (beats * size))
        await taken(bench)
        await ClockCycles(dut.clk, 20)
        assert len(moved) == max(0, beats - 2)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_gather(size):
    simulate("abbnn_gather", "test_abbnn_gather", {"BYTES": size}, case={"bytes": size})
