"""abbnn_memory: the read port gives what the load bus wrote, or the file had; other memories' words change nothing."""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from abbnn.export.layout import mem_text
from abbnn.tb.bench import load_case, rows, simulate

SIZES = ("WIDTH", "DEPTH", "LOAD_MEMORY", "STYLE")
GOOD_PARAMETERS = [(1, 1, 0, 0), (32, 2, 4095, 1), (75, 5, 0x123, 2), (75, 5, -1, 0), (1, 1, -1, 1)]
LINT_PARAMETERS = rows(
    "WIDTH DEPTH LOAD_MEMORY STYLE", (1, 1, 0, 0), (32, 2, 4095, 1), (33, 5, 7, 2), (576, 256, 1, 0), (9, 5, -1, 2)
)
BAD_PARAMETERS = [
    ("abbnn_memory", {"WIDTH": 0}, "WIDTH_must_be_1_to_131072"),
    ("abbnn_memory", {"DEPTH": 0}, "DEPTH_must_be_1_to_1048576"),
    ("abbnn_memory", {"LOAD_MEMORY": 4096}, "LOAD_MEMORY_must_be_minus_1_to_4095"),
    ("abbnn_memory", {"LOAD_MEMORY": -2}, "LOAD_MEMORY_must_be_minus_1_to_4095"),
    ("abbnn_memory", {"STYLE": 3}, "STYLE_must_be_0_to_2"),
]


def file_words(width, depth):
    """What a memory with fixed words holds."""
    rng = random.Random(width)
    return [rng.getrandbits(width) for _ in range(depth)]


@cocotb.test()
async def writes_and_reads(dut):
    """Random writes and reads, never of one address in one cycle, against a list of words."""
    width, depth, number, _ = (int(value) for value in load_case()["sizes"])
    loadable = number >= 0
    rng = random.Random(cocotb.RANDOM_SEED)
    slices = -(-width // 32)
    words = [None] * depth if loadable else file_words(width, depth)
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    dut.load.value = 0
    dut.enable.value = 0
    expected, compared = None, 0
    address_before = None
    written = set() if loadable else {(address, part) for address in range(depth) for part in range(slices)}
    for _ in range(40 * slices * depth + 400):
        await FallingEdge(dut.clk)
        if expected is not None:
            assert int(dut.word.value) == expected
            compared += 1
        write = rng.random() < 0.5
        memory = number & 0xFFF if rng.random() < 0.8 else (number & 0xFFF) ^ 1 << rng.randrange(12)
        address, index, data = rng.randrange(depth), rng.randrange(slices), rng.getrandbits(32)
        dut.load.value = write << 76 | memory << 64 | index << 52 | address << 32 | data
        read = rng.randrange(depth)
        hit = loadable and write and memory == number
        # A word is written a cycle after the bus had it.
        enable = rng.random() < 0.7 and address_before != read
        address_before = address if hit else None
        dut.enable.value = int(enable)
        dut.address.value = read
        if enable:
            expected = words[read] if all((read, part) in written for part in range(slices)) else None
        if hit:
            mask = (1 << 32) - 1 << 32 * index
            words[address] = ((words[address] or 0) & ~mask | data << 32 * index) & (1 << width) - 1
            written.add((address, index))
    assert compared > 20


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_memory(sizes):
    width, depth, number, _ = sizes
    parameters = dict(zip(SIZES, sizes, strict=True)) | ({"TABLE_FILE": "words.mem"} if number < 0 else {})
    tables = {"words.mem": mem_text(file_words(width, depth), width)}
    simulate("abbnn_memory", "test_abbnn_memory", parameters, tables=tables, case={"sizes": sizes})
