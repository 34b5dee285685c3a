"""cocotb tests of modules with a fixed latency: the cycle of every beat. streams.py says what is expected."""

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles
from numpy.typing import NDArray

from abbnn.tb.bench import assert_equal
from abbnn.tb.streams import StreamBench


def paced(earliest: NDArray[Any]) -> NDArray[Any]:
    """Every beat as early as given, and at least one cycle after the one before it."""
    index = np.arange(len(earliest))
    return np.maximum.accumulate(earliest - index) + index


@cocotb.test()
async def every_beat_in_its_cycle(dut: Any) -> None:
    """Latency and throughput over back-to-back frames, from the first cycle after the reset on."""
    bench = StreamBench(dut)
    await bench.reset(cycles=1)
    taken = {prefix: bench.transfers(prefix) for prefix in bench.inputs}
    given = {prefix: bench.transfers(prefix) for prefix in bench.outputs}
    bench.send_all()
    await bench.check_all()
    await bench.silent()
    start = next(iter(taken.values()))[0]
    for prefix, cycles in taken.items():
        assert_equal(np.array(cycles) - start, bench.case["entries"], f"cycle of {prefix} beat")
    entered = start + bench.case["entries"].reshape(bench.frames, -1)
    expected = paced(entered[:, bench.case["needs"]].ravel() + bench.case["latency"])
    for prefix, cycles in given.items():
        assert_equal(np.array(cycles), expected, f"cycle of {prefix} beat")


@cocotb.test()
async def stalled_output(dut: Any) -> None:
    """tvalid comes up without tready, and exactly as many beats are accepted as the module holds."""
    bench = StreamBench(dut)
    await bench.reset()
    for sink in bench.sinks.values():
        sink.pause = True
    await ClockCycles(dut.clk, 2)
    taken = {prefix: bench.transfers(prefix) for prefix in bench.inputs}
    accepted = int(bench.case["accepted"])
    bench.send_all()
    await ClockCycles(dut.clk, 2 * accepted + int(bench.case["latency"]) + 20)
    for prefix, cycles in taken.items():
        assert len(cycles) == accepted, f"{prefix}: {len(cycles)} beats accepted, not {accepted}"
    for prefix in bench.sinks:
        assert getattr(dut, f"{prefix}_tvalid").value == 1, f"{prefix} waits for tready"
    bench.stall(0, 0)
    await bench.check_all()
    await bench.silent()
