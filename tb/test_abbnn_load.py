"""abbnn_load: the writes of a load, word for word, behind idle, and every kind of bad load."""

import zlib

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, FallingEdge

from abbnn.export.load_image import MAGIC, to_bytes
from abbnn.tb.bench import Bench, load_case, rows, simulate

LINT_PARAMETERS = rows(
    "TABLES HEADERS DRAIN", (1, "64'h0010000000010000", 1), (2, "128'h00000003000000010000000500020000", 255)
)
BAD_PARAMETERS = [
    ("abbnn_load", {"DRAIN": 0}, "DRAIN_must_be_1_to_255"),
    ("abbnn_load", {"DRAIN": 256}, "DRAIN_must_be_1_to_255"),
    ("abbnn_load", {"TABLES": 0}, "TABLES_must_be_1_to_1024"),
    ("abbnn_load", {"TABLES": 1025}, "TABLES_must_be_1_to_1024"),
]
LAYOUT, DRAIN = 0x12345678, 5
NETWORK = 0xFEDCBA9876543210
TABLES = ((0, 1, 1), (0xFFF, 5, 3), (0x123, 4, 1))
"""Number, depth, slices of each."""


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


def image(tables, rng=None):
    """(words, writes) of a load image with these tables, (number, depth, slices) each; contents 0 without `rng`."""
    words, writes = [MAGIC, LAYOUT, NETWORK & 0xFFFFFFFF, NETWORK >> 32], []
    for number, depth, slices in tables:
        words += [slices - 1 << 16 | number, depth]
        for address in range(depth):
            for index in range(slices):
                words.append(int(rng.integers(1 << 32)) if rng else 0)
                writes.append((number, address, index, words[-1]))
    return sealed(words), writes


def sealed(words):
    return [*words, zlib.crc32(to_bytes(words))]


def bad_images():
    """What is wrong -> words. All but the first three are complete in themselves, with a good checksum."""
    good, _ = image(TABLES)
    first, second, third = TABLES
    number, depth, slices = second
    at = -1 - 2 - 4  # the last table
    return {
        "checksum": [*good[:-1], good[-1] ^ 1],
        "early end": good[:20],
        "late end": [*good, 0],
        "magic": sealed([good[0] ^ 1 << 31, *good[1:-1]]),
        "layout": sealed([good[0], good[1] ^ 1, *good[2:-1]]),
        "no table": image([])[0],
        "first table missing": image([second, third])[0],
        "middle table missing": image([first, third])[0],
        "last table missing": image([first, second])[0],
        "a table twice": image([first, second, second, third])[0],
        "a table instead of another": image([first, second, second])[0],
        "the last table twice": image([*TABLES, third])[0],
        "all tables twice": image([*TABLES, *TABLES])[0],
        "other order": image([second, first, third])[0],
        "other number": image([first, (number - 1, depth, slices), third])[0],
        "number beyond the bus": sealed([*good[:at], good[at] | 1 << 12, *good[at + 1 : -1]]),
        "slices beyond the bus": sealed([*good[:at], good[at] | 1 << 28, *good[at + 1 : -1]]),
        "less deep": image([first, (number, depth - 1, slices), third])[0],
        "deeper": image([first, (number, depth + 1, slices), third])[0],
        "deeper than the bus": sealed([*good[:5], good[5] + (1 << 20), *good[6:-1]]),
        "fewer slices": image([first, (number, depth, slices - 1), third])[0],
        "more slices": image([first, (number, depth, slices + 1), third])[0],
        "as many words in another shape": image([first, (number, slices, depth), third])[0],
        "depth 0": image([first, (number, 0, slices), third])[0],
    }


BEFORE_WRITING = ("magic", "layout")
"""Bad images that leave the old tables."""


@cocotb.test()
async def bad_loads(dut):
    """Each is counted and leaves no tables, or the old ones where none was written; a good one mends it."""
    bench = Bench(dut, sinks=())
    case = load_case()
    good = [int(word) for word in case["words"]]
    dut.idle.value = 1
    await bench.reset()

    async def load(words):
        before = int(dut.loads.value) + int(dut.errors.value)
        bench.send(words)
        for _ in range(8 * len(words) + 100):
            await FallingEdge(dut.clk)
            if int(dut.loads.value) + int(dut.errors.value) != before:
                break
        else:
            raise AssertionError("the load is not counted")
        await FallingEdge(dut.clk)
        assert int(dut.loading.value) == int(dut.load_rst.value) == 0
        assert int(dut.hold.value) == 1 - int(dut.ready.value)

    for count, (what, words) in enumerate(bad_images().items()):
        assert int(dut.loads.value) == int(dut.errors.value) == count
        await load(good)
        assert int(dut.ready.value) == 1
        await load(words)
        assert int(dut.errors.value) == count + 1, f"{what}: counts as a good load"
        assert int(dut.ready.value) == (what in BEFORE_WRITING), what
        assert int(dut.network.value) == NETWORK
    await load(good)
    assert int(dut.ready.value) == 1
    dut.rst.value = 1
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    assert int(dut.ready.value) == 0
    assert int(dut.hold.value) == 1
    assert int(dut.loads.value) == int(dut.errors.value) == int(dut.network.value) == 0


def test_abbnn_load():
    """Memories of one word and one slice, of several of both, and the greatest numbers that the bus has room for."""
    words, writes = image(TABLES, np.random.default_rng(2))
    headers = "".join(f"{depth:08x}{slices - 1:04x}{number:04x}" for number, depth, slices in reversed(TABLES))
    simulate(
        "abbnn_load",
        "test_abbnn_load",
        {"LAYOUT": LAYOUT, "TABLES": len(TABLES), "HEADERS": f"{64 * len(TABLES)}'h{headers}", "DRAIN": DRAIN},
        case={
            "words": np.array(words, np.int64),
            "writes": np.array(writes, np.int64),
            "network": np.array(NETWORK, np.uint64),
        },
    )
