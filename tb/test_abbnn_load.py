"""abbnn_load: the writes of a load, word for word, behind idle; tb/test_core_load.py has every kind of bad load."""

import zlib

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, FallingEdge

from abbnn.export.load_image import MAGIC, to_bytes
from abbnn.tb.bench import Bench, load_case, simulate

BAD_PARAMETERS = [
    ("abbnn_load", {"DRAIN": 0}, "DRAIN_must_be_1_to_255"),
    ("abbnn_load", {"DRAIN": 256}, "DRAIN_must_be_1_to_255"),
]
LAYOUT, DRAIN = 0x12345678, 5


@cocotb.test()
async def writes(dut):
    bench = Bench(dut, sinks=())
    case = load_case()
    dut.idle.value = 0
    await bench.reset()
    assert int(dut.hold.value) == 1
    seen, at = [], []
    cycle = 0

    async def watch():
        nonlocal cycle
        while True:
            await FallingEdge(dut.clk)
            cycle += 1
            bus = int(dut.load.value) if dut.load.value[76] == "1" else 0
            if bus >> 76:
                assert int(dut.load_rst.value) == 1
                assert int(dut.ready.value) == 0
                at.append(cycle)
                seen.append((bus >> 64 & 0xFFF, bus >> 32 & 0xFFFFF, bus >> 52 & 0xFFF, bus & 0xFFFFFFFF))

    cocotb.start_soon(watch())
    for stall in (0.0, 0.5):
        bench.stall(stall, 0)
        seen.clear()
        at.clear()
        dut.idle.value = 0
        bench.send(case["words"], "s_axis")
        await ClockCycles(dut.clk, 60)
        assert int(dut.loading.value) == 1
        assert int(dut.hold.value) == 1
        assert not seen, "written before the core is idle"
        before = int(dut.loads.value)
        dut.idle.value = 1
        for _ in range(8 * len(case["words"]) + 100):
            await FallingEdge(dut.clk)
            if int(dut.loads.value) != before:
                break
        assert int(dut.ready.value) == 1
        await FallingEdge(dut.clk)
        assert int(dut.hold.value) == 0
        assert int(dut.load_rst.value) == 0
        assert int(dut.network.value) == int(case["network"])
        assert seen == [tuple(int(x) for x in write) for write in case["writes"]]
        if not stall:
            assert np.diff(at).min() == 4, "a word every four cycles"
    assert int(dut.loads.value) == 2
    assert int(dut.errors.value) == 0


def test_abbnn_load():
    """Memories of one word and one slice, of several of both, and the greatest numbers that the bus has room for."""
    rng = np.random.default_rng(2)
    network = 0xFEDCBA9876543210
    words, writes = [MAGIC, LAYOUT, network & 0xFFFFFFFF, network >> 32], []
    for number, depth, slices in ((0, 1, 1), (0xFFF, 5, 3), (0x123, 4, 1)):
        words += [slices - 1 << 16 | number, depth]
        for address in range(depth):
            for index in range(slices):
                words.append(int(rng.integers(1 << 32)))
                writes.append((number, address, index, words[-1]))
    words.append(zlib.crc32(to_bytes(words)))
    simulate(
        "abbnn_load",
        "test_abbnn_load",
        {"LAYOUT": LAYOUT, "DRAIN": DRAIN},
        case={
            "words": np.array(words, np.int64),
            "writes": np.array(writes, np.int64),
            "network": np.array(network, np.uint64),
        },
    )
