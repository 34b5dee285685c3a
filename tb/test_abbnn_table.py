"""abbnn_table: every word in order and back to the first, one step a cycle, held between steps, word 0 after reset."""

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from abbnn.export.layout import mem_text, pack
from abbnn.tb.bench import CLOCK_NS, load_case, rows, simulate

LAPS = 3
"""How often a test goes round the table."""
LUT_WORDS = 64
"""A table of more words needs a second cycle behind the reset."""

LINT_PARAMETERS = rows("WIDTH DEPTH", (1, 1), (1, 2), (13, 5), (576, 256))
LINT_PARAMETERS += [{**corner, "LOAD_MEMORY": 16} for corner in LINT_PARAMETERS[-2:]]
BAD_PARAMETERS = [
    ("abbnn_table", {"WIDTH": 0}, "WIDTH_must_be_at_least_1"),
    ("abbnn_table", {"DEPTH": 0}, "DEPTH_must_be_at_least_1"),
]


class Reader:
    """Drives one table and compares its word after every clock edge with the one that is due."""

    def __init__(self, dut):
        self.dut = dut
        case = load_case()
        self.words = pack(case["bits"], 1)
        self.priming = 1 if len(self.words) <= LUT_WORDS else 2
        self.index = 0
        cocotb.start_soon(Clock(dut.clk, CLOCK_NS, unit="ns").start())

    async def clock(self, *, step, rst=0):
        self.dut.rst.value, self.dut.step.value = rst, step
        await FallingEdge(self.dut.clk)
        self.index = 0 if rst else (self.index + step) % len(self.words)
        if rst:
            return
        seen, due = str(self.dut.word.value), format(self.words[self.index], f"0{len(self.dut.word)}b")
        assert seen == due, f"word {self.index}: expected {due}, got {seen}"

    async def reset(self, cycles=1, step=0):
        """A step in reset moves nothing, nor in the cycles behind it in which it reads the first words."""
        for _ in range(cycles):
            await self.clock(rst=1, step=step)
        for _ in range(self.priming):
            self.dut.rst.value, self.dut.step.value = 0, step
            await FallingEdge(self.dut.clk)


@cocotb.test()
async def step_every_cycle(dut):
    """The first step in the second or third cycle after reset."""
    reader = Reader(dut)
    await reader.reset()
    for _ in range(LAPS * len(reader.words)):
        await reader.clock(step=1)


@cocotb.test()
async def pauses_hold_the_word(dut):
    reader = Reader(dut)
    await reader.reset()
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    steps = 0
    while steps < LAPS * len(reader.words):
        step = int(rng.random() < 0.4)
        await reader.clock(step=step)
        steps += step


@cocotb.test()
async def reset_starts_over(dut):
    """From every word of the table, with and without steps in the reset and a pause behind it."""
    reader = Reader(dut)
    await reader.reset(3)
    for steps in range(len(reader.words) + 1):
        for cycles, step, pause in ((1, 0, 0), (1, 1, 2), (3, 0, 2), (3, 1, 0)):
            for _ in range(steps):
                await reader.clock(step=1)
            await reader.reset(cycles, step)
            for _ in range(pause):
                await reader.clock(step=0)
            for _ in range(min(3, len(reader.words))):
                await reader.clock(step=1)
            await reader.reset()


@pytest.mark.parametrize(("width", "depth"), [(1, 2), (8, 1), (13, 5), (576, 8), (9, 64), (40, 65)])
def test_abbnn_table(width, depth):
    bits = np.random.default_rng(depth).integers(0, 2, (depth, width))
    bits[0], bits[-1] = 1, 0
    if depth == 1:
        bits[0, ::2] = 1
    table = mem_text(pack(bits, 1), width)
    parameters = {"WIDTH": width, "DEPTH": depth, "TABLE_FILE": "table.mem"}
    simulate("abbnn_table", "test_abbnn_table", parameters, tables={"table.mem": table}, case={"bits": bits})
