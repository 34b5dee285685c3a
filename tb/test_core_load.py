"""The load port of abbnn_core: tables rewritten under traffic, between frames, whole or not at all."""

import zlib

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge
from random_network import random_network

from abbnn.building import run_folder
from abbnn.export.config import pipeline_config
from abbnn.export.folding import balance
from abbnn.export.load_image import to_bytes
from abbnn.export.mem import layout_id, write
from abbnn.export.pipeline import Pipeline
from abbnn.export.random_network import random_images
from abbnn.export.schedule import timing
from abbnn.golden.model import forward
from abbnn.golden.network import network_hash
from abbnn.golden.ranges import analyse
from abbnn.golden.structure import STRIDED_STEM, member
from abbnn.tb.bench import BUILD, assert_equal, default_simulator, simulate
from abbnn.tb.core_tests import CoreBench, pixel_beats
from abbnn.tb.pipeline import MEM_FOLDER

LAYOUT_WORD, NETWORK_WORD, DATA_WORD = 1, 2, 6
FRAMES = 12


class LoadBench(CoreBench):
    """The loadable core. Its case: load images a and b, the same pixels' golden results with both."""

    def __init__(self, dut):
        super().__init__(dut, sources=("s_axis", "s_load_axis"))
        self.words = {name: [int(word) for word in self.case[f"load.{name}"]] for name in "ab"}
        self.frames = [pixel_beats(image) for image in self.images]

    async def reset(self, cycles=4):
        """Reset; the tables are gone."""
        await super(CoreBench, self).reset(cycles)
        assert int(self.dut.status_ready.value) == 0
        assert int(self.dut.status_network.value) == 0

    async def load(self, words, *, good):
        """Send one load, wait until it has been dealt with, and check what the core says of it."""
        counter = self.dut.status_loads if good else self.dut.status_load_errors
        before = int(counter.value)
        self.send(words, "s_load_axis")
        for _ in range(8 * len(words) + 4 * int(self.case["timeout"])):
            await RisingEdge(self.dut.clk)
            if int(counter.value) != before:
                break
        assert int(counter.value) == before + 1, "the load was not counted"
        assert int(self.dut.status_loading.value) == 0

    async def check(self, index, network):
        scores, winner = await self.result()
        assert_equal(scores, self.case[f"scores.{network}"][index], "class")
        assert winner == int(self.case[f"class.{network}"][index])

    async def closed(self, cycles=200):
        """No pixel is taken and no result comes; what is queued at the input stays there."""
        self.send(self.frames[0])
        for _ in range(cycles):
            await FallingEdge(self.dut.clk)
            assert int(self.dut.s_axis_tready.value) == 0, "a pixel is taken by a core without tables"
        assert self.sinks["m_axis"].empty()


@cocotb.test()
async def loads(dut):
    """Nothing before the first load; after it the network's results; each of two networks loads over the other."""
    bench = LoadBench(dut)
    await bench.reset()
    await bench.closed()
    await bench.load(bench.words["a"], good=True)
    await bench.check(0, "a")  # the frame that waited
    for name in "ba":
        await bench.load(bench.words[name], good=True)
        assert int(dut.status_network.value) == int(bench.case[f"network.{name}"])
        assert int(dut.status_ready.value) == 1
        for index in (1, 2):
            bench.send(bench.frames[index])
        for index in (1, 2):
            await bench.check(index, name)
    assert int(dut.status_loads.value) == 3
    assert int(dut.status_load_errors.value) == 0
    await bench.silent()
    await bench.reset()
    await bench.closed()


@cocotb.test()
async def under_traffic(dut):
    """A load among stalled frames back to back: those begun before it are of one network, the others of the next."""
    bench = LoadBench(dut)
    await bench.reset()
    await bench.load(bench.words["a"], good=True)
    bench.stall(0.3, 0.5)
    begun = [0]

    async def count_frames():
        inside = False
        while True:
            await FallingEdge(dut.clk)
            if int(dut.s_axis_tvalid.value) and int(dut.s_axis_tready.value):
                assert int(dut.gen_load.load_rst.value) == 0, "a pixel is taken while tables are written"
                begun[0] += not inside
                inside = not int(dut.s_axis_tlast.value)
            elif int(dut.gen_load.load_rst.value):
                assert not inside, "tables are written in mid-frame"

    watcher = cocotb.start_soon(count_frames())
    for frame in bench.frames:
        bench.send(frame)
    network, changes, at_load = "a", 0, 0
    for index in range(len(bench.frames)):
        if index in (2, 7):
            # In the middle of a frame, with others in flight.
            while not int(dut.s_axis_tready.value):
                await RisingEdge(dut.clk)
            await ClockCycles(dut.clk, bench.random.randint(1, 40))
            bench.send(bench.words["ba"[changes]], "s_load_axis")
            while not int(dut.status_loading.value):
                await RisingEdge(dut.clk)
            at_load = begun[0]
            changes += 1
        if changes and index == at_load:
            network = "ab"[changes % 2]
        await bench.check(index, network)
    watcher.cancel()
    assert changes == 2
    assert network == "a"
    assert int(dut.status_loads.value) == 3
    await bench.silent()


@cocotb.test()
async def refused(dut):
    """Another magic or layout, or an end before any table is written: counted, and the old tables still work."""
    bench = LoadBench(dut)
    await bench.reset()
    await bench.load(bench.words["a"], good=True)
    words = bench.words["b"]
    foreign = [words[0], words[LAYOUT_WORD] ^ 1, *words[2:]]
    for bad in (
        [words[0] ^ 1 << 31, *words[1:]],
        foreign,
        words[:1],
        words[: LAYOUT_WORD + 1],
        words[: NETWORK_WORD + 2],
    ):
        await bench.load(bad, good=False)
        assert int(dut.status_ready.value) == 1
        assert int(dut.status_network.value) == int(bench.case["network.a"])
        bench.send(bench.frames[1])
        await bench.check(1, "a")
    assert int(dut.status_load_errors.value) == 5
    assert int(dut.status_loads.value) == 1
    await bench.silent()


def incomplete(words):
    """The same load image without its first table, with the checksum of what is left."""
    size = ((words[4] >> 16) + 1) * words[5]
    rest = words[:4] + words[DATA_WORD + size : -1]
    return [*rest, zlib.crc32(to_bytes(rest))]


@cocotb.test()
async def broken(dut):
    """A flipped bit, a lost word or table, an early or a late end: no frame is taken until a good load has come."""
    bench = LoadBench(dut)
    await bench.reset()
    words = bench.words["b"]
    flipped = [*words[:DATA_WORD], words[DATA_WORD] ^ 1, *words[DATA_WORD + 1 :]]
    middle = len(words) // 2
    for bad in (
        flipped,
        [*words[:-1], words[-1] ^ 1 << bench.random.randrange(32)],
        words[:middle] + words[middle + 1 :],
        words[:middle],
        words[: DATA_WORD - 1],
        [*words, 0],
        incomplete(words),
    ):
        await bench.load(bench.words["a"], good=True)
        await bench.load(bad, good=False)
        assert int(dut.status_ready.value) == 0
        await bench.closed()
        await bench.load(words, good=True)
        await bench.check(0, "b")
    await bench.silent()


@cocotb.test()
async def soft_reset(dut):
    """In mid-frame and in the middle of a load: frames in flight are dropped, loaded tables stay."""
    bench = LoadBench(dut)
    await bench.reset()
    await bench.load(bench.words["a"], good=True)
    bench.send(bench.frames[0])
    bench.send(bench.frames[1][:50])  # tlast early: the counters have something to lose
    for _ in range(2):
        await ClockCycles(dut.clk, 300)
        dut.soft_rst.value = 1
        await ClockCycles(dut.clk, 4)
        bench.sources["s_axis"].clear()
        bench.sinks["m_axis"].clear()
        await ClockCycles(dut.clk, 1)
        dut.soft_rst.value = 0
        await ClockCycles(dut.clk, 2)
        assert int(dut.status_ready.value) == 1
        assert int(dut.status_frames.value) == 0
        assert int(dut.status_short_frames.value) == 0
        assert int(dut.status_error.value) == 0
        bench.send(bench.frames[2])
        await bench.check(2, "a")
        bench.send(bench.frames[3])
    await bench.check(3, "a")
    await bench.load(bench.words["b"], good=True)  # what was dropped is not waited for
    bench.send(bench.frames[4])
    await bench.check(4, "b")
    await bench.silent()


def second(network):
    """The same layout with other weights: every binary weight flipped in half of the output channels."""
    from dataclasses import replace

    blocks = []
    for block in network.blocks:
        weights = block.weights.copy()
        weights[::2] ^= 1
        blocks.append(replace(block, weights=weights))
    return replace(network, blocks=tuple(blocks))


def run(family, testcase):
    structure = member("small", (2, 4), (1, 1), family=family, classes=3, image=(8, 12), stem=STRIDED_STEM)
    network = random_network(structure, 3, stem_planes=2)
    folding = balance(network, 96)
    other = second(network)
    images = random_images(network.structure, 5, FRAMES)
    expected = timing(network, folding)
    case = {"images": images, "timeout": 20 * (expected.latency + expected.interval)}
    layouts = set()
    for key, each in (("a", network), ("b", other)):
        layers = forward(each, images)
        layouts.add(layout_id(pipeline_config(each, analyse(each), folding)))
        case |= {
            f"load.{key}": np.array(Pipeline(each, folding).load_image, np.int64),
            f"scores.{key}": layers["scores"],
            f"class.{key}": layers["class"],
            f"network.{key}": int(network_hash(each)[:16], 16),
        }
    case["layer.scores"] = case["scores.a"]
    assert len(layouts) == 1
    assert not np.array_equal(case["scores.a"], case["scores.b"])
    folder = run_folder(BUILD / f"load-{family}-{default_simulator()}")
    write(network, folding, folder / MEM_FOLDER)
    simulate(
        "abbnn_core",
        "test_core_load",
        {"LOADABLE": 1},
        includes=[folder / MEM_FOLDER],
        case=case,
        testcase=testcase,
        work_dir=folder,
    )


@pytest.mark.parametrize("testcase", ["loads", "under_traffic", "refused", "broken", "soft_reset"])
@pytest.mark.parametrize("family", ["reactnet", "birealnet"])
def test_core_load(family, testcase):
    """QPReLU and shortcuts with weights; PReLU in stem and blocks: every table that there is."""
    run(family, testcase)
