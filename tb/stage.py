"""Testbench of a whole stage (stem, block, shortcut, head): golden inputs in, golden outputs expected.

`run_stage` is the pytest side; the cocotb test below runs on whatever stage it has built, after those of streams.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cocotb
import numpy as np
from cocotb.utils import get_sim_time
from numpy.typing import NDArray

from abbnn.tb.bench import CLOCK_NS, assert_equal
from abbnn.tb.streams import Stream, StreamBench, run_streams


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
    run_streams(
        toplevel,
        parameters,
        Stream(inputs, s_lanes, s_width),
        Stream(outputs, m_lanes, m_width),
        interval=interval,
        resets=[interval + 17],
        modules=["stage"],
        tables=tables,
        **options,
    )


@cocotb.test()
async def keeps_its_interval(dut: Any) -> None:
    """With input always there and output always taken, frames follow each other at exactly the formula's interval."""
    bench = StreamBench(dut)
    await bench.reset()
    ends = []
    for _ in range(3):
        bench.send_all()
    for index in range(3 * bench.frames):
        await bench.check_frame(index % bench.frames)
        ends.append(round(get_sim_time("ns") / CLOCK_NS))
    intervals = np.diff(ends)[2:]
    assert_equal(intervals, np.full(len(intervals), bench.interval), "frame")
