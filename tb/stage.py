"""Testbench of a whole stage (stem, block, shortcut, head): golden inputs in, golden outputs expected.

`run_stage` is the pytest side; the cocotb tests below run on whatever stage it has built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cocotb
import numpy as np
from bench import STALLS, Bench, assert_equal, load_case, simulate
from cocotb.triggers import ClockCycles
from cocotb.utils import get_sim_time
from numpy.typing import NDArray

from export.layout import pack, unpack


def run_stage(
    toplevel: str,
    parameters: Mapping[str, int | str],
    tables: Mapping[str, str],
    inputs: NDArray[Any],
    outputs: NDArray[Any],
    *,
    s_lanes: int,
    s_width: int,
    m_lanes: int,
    m_width: int,
    interval: int,
    **options: Any,
) -> None:
    """Simulate one stage. inputs and outputs are (frames, ...) in stream order, cut into beats of lanes x width bits;
    `interval` is the number of cycles between frames that the stage must keep when nothing stalls it.
    """
    simulate(
        toplevel,
        "stage",
        parameters,
        tables=tables,
        case={
            "inputs": inputs.reshape(len(inputs), -1, s_lanes),
            "outputs": outputs.reshape(len(outputs), -1, m_lanes),
            "s_width": s_width,
            "m_width": m_width,
            "interval": interval,
        },
        **options,
    )


class StageBench(Bench):
    """The stage and its frames as beats."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        case = load_case()
        self.inputs = [pack(frame, int(case["s_width"])) for frame in case["inputs"]]
        self.outputs = case["outputs"]
        self.width = int(case["m_width"])
        self.interval = int(case["interval"])

    async def check(self, index: int) -> None:
        """The next frame out equals frame `index`."""
        expected = self.outputs[index]
        beats = await self.receive(len(expected), cycles=100 * self.interval + 10_000)
        assert_equal(unpack(beats, expected.shape[1], self.width, signed=True), expected, "beat, lane")


@cocotb.test()
async def frames(dut):
    """All frames back to back under every pattern of stalls."""
    bench = StageBench(dut)
    await bench.reset()
    for stalls in STALLS:
        bench.stall(*stalls)
        for beats in bench.inputs:
            bench.send(beats)
        for index in range(len(bench.inputs)):
            await bench.check(index)
        await bench.silent()


@cocotb.test()
async def keeps_its_interval(dut):
    """With input always there and output always taken, frames follow each other at exactly the formula's interval."""
    bench = StageBench(dut)
    await bench.reset()
    for beats in 3 * bench.inputs:
        bench.send(beats)
    ends = []
    for index in range(3 * len(bench.inputs)):
        await bench.check(index % len(bench.inputs))
        ends.append(round(get_sim_time("ns") / 10))
    intervals = np.diff(ends)[2:]
    assert_equal(intervals, np.full(len(intervals), bench.interval), "frame")


@cocotb.test()
async def reset_in_mid_frame(dut):
    """What was under way is gone, and the next frame is right."""
    bench = StageBench(dut)
    await bench.reset()
    bench.stall(0.2, 0.3)
    bench.send(bench.inputs[0])
    bench.send(bench.inputs[1])
    await ClockCycles(dut.clk, bench.interval + 17)
    await bench.reset()
    await bench.silent()
    bench.send(bench.inputs[1])
    await bench.check(1)
    await bench.silent()
