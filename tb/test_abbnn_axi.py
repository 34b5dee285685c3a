"""abbnn_axi: a real core behind its registers: what they tell is what the streams do."""

import json
import random

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge
from cocotbext.axi import AxiStreamBus, AxiStreamSink, AxiStreamSource
from random_network import random_network
from test_abbnn_axil_registers import AxiLite

from abbnn.building import run_folder
from abbnn.export.config import pipeline_config
from abbnn.export.folding import balance
from abbnn.export.layout import unpack
from abbnn.export.mem import layout_id, write
from abbnn.export.pipeline import Pipeline
from abbnn.export.random_network import random_images
from abbnn.export.schedule import timing
from abbnn.golden.network import network_hash
from abbnn.golden.ranges import analyse
from abbnn.golden.structure import block_name, member
from abbnn.host.registers import IDENTITY, REGISTERS, VERSION_MAJOR, VERSION_MINOR
from abbnn.tb.bench import BUILD, STALLS, Bench, assert_equal, load_case, rows, simulate
from abbnn.tb.core_tests import pixel_beats
from abbnn.tb.pipeline import MEM_FOLDER, golden_layers

CLOCK_NS = 10
LINT_PARAMETERS = rows("LOADABLE", (0,))
BAD_PARAMETERS = [
    ("abbnn_axi", {"LOADABLE": 2}, "LOADABLE_must_be_0_or_1"),
    ("abbnn_axi", {"LOADABLE": -1}, "LOADABLE_must_be_0_or_1"),
]


class Ports:
    """The design under the names that `Bench` knows: clk for aclk."""

    def __init__(self, dut):
        self.handle = dut
        self.clk = dut.aclk

    def __getattr__(self, name):
        return getattr(self.handle, name)


class AxiBench(Bench):
    """Streams, registers, and what a testbench counts by itself on the core's streams."""

    def __init__(self, dut):
        self.random = random.Random(cocotb.RANDOM_SEED)
        self.dut = Ports(dut)
        self.case = load_case()
        self.facts = json.loads(str(self.case["facts"]))
        self.loadable = self.facts["loadable"]
        self.images = [pixel_beats(image) for image in self.case["images"]]
        self.scores, self.classes = self.case["scores"], self.case["class"]
        self.image_words = [int(word) for word in self.case["load_image"]]
        cocotb.start_soon(Clock(dut.aclk, CLOCK_NS, unit="ns").start())
        options = {"byte_lanes": 1, "reset_active_level": False}
        self.sources = {
            prefix: AxiStreamSource(AxiStreamBus.from_prefix(dut, prefix), dut.aclk, dut.aresetn, **options)
            for prefix in ("s_axis", "s_load_axis")
        }
        bus = AxiStreamBus.from_prefix(dut, "m_axis")
        self.sinks = {"m_axis": AxiStreamSink(bus, dut.aclk, dut.aresetn, **options)}
        for end in (*self.sources.values(), *self.sinks.values()):
            end.log.setLevel("ERROR")
        for source in self.sources.values():
            cocotb.start_soon(self._blank_idle_payload(source))
        self.axil = AxiLite(dut, dut.aclk, dut.aresetn, False, self.random)
        self.stalls = np.zeros(self.facts["stages"], np.int64)
        self.entered = self.left = 0
        cocotb.start_soon(self._watch())

    async def _watch(self):
        """Stalled cycles by stage, and the beats of the frame that is entering and of the result that is leaving."""
        core = self.dut.core_inst
        names = ["stem", *(block_name(index) for index in range(len(self.stalls) - 2)), "head"]
        edge = FallingEdge(self.dut.clk)
        while True:
            await edge
            if int(self.dut.aresetn.value) == 0 or str(self.dut.rst_reg.value) != "0":
                self.stalls[:] = 0
                self.entered = self.left = 0
                continue
            for prefix, count in (("s_axis", "entered"), ("m_axis", "left")):
                valid, ready, last = (getattr(self.dut, f"{prefix}_t{x}").value for x in ("valid", "ready", "last"))
                if valid == 1 and ready == 1:
                    setattr(self, count, 0 if last == 1 else getattr(self, count) + 1)
            if int(core.soft_rst.value):
                self.stalls[:] = 0
                continue
            for stage, name in enumerate(names):
                valid, ready = (getattr(core, f"{name}_t{end}").value for end in ("valid", "ready"))
                self.stalls[stage] += valid == 1 and ready == 0

    def hold(self):
        """Takes no more results."""
        self.sinks["m_axis"].clear_pause_generator()
        self.sinks["m_axis"].pause = True

    async def reset(self, cycles=4, load=True):
        """aresetn; of a loadable core also a load, unless it is unwanted."""
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.clk, cycles)
        for end in (*self.sources.values(), *self.sinks.values()):
            end.clear()
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.clk, 2)
        if load and self.loadable:
            self.send(self.image_words, "s_load_axis")
            await self.until("STATUS", 1)

    async def until(self, name, wanted, polls=2000):
        for _ in range(polls):
            value = await self.axil.value(name)
            if value == wanted:
                return
        raise AssertionError(f"{name} stays {value:x}, never becomes {wanted:x}")

    async def check_result(self, index):
        """The next result is that of image `index`."""
        beats = await self.receive(self.scores.shape[1] + 1, cycles=self.facts["timeout"])
        scores = unpack(beats[:-1], 1, 32, signed=True).ravel()
        assert_equal(np.append(scores, beats[-1]), np.append(self.scores[index], self.classes[index]), "score")

    async def run(self):
        """All images back to back."""
        for image in self.images:
            self.send(image)
        for index in range(len(self.images)):
            await self.check_result(index)

    async def check_registers(self, **expected):
        for name, value in expected.items():
            got = await self.axil.value(name)
            assert got == value, f"{name} reads {got:x}, expected {value:x}"

    async def check_stalls(self):
        """Once nothing moves: the counters are the testbench's counts."""
        await self.silent()
        await ClockCycles(self.dut.clk, 4)
        counts = [await self.axil.value(f"STALL[{stage}]") for stage in range(self.facts["stages"])]
        assert_equal(np.array(counts), self.stalls, "stage")


@cocotb.test()
async def what_it_is(dut):
    """All registers that tell which network and which hardware this is, and the end of the stall counters."""
    bench = AxiBench(dut)
    for load in (False, True):
        await bench.reset(load=load)
        network = bench.facts["network"] if load or not bench.loadable else 0
        await bench.check_registers(
            ID=IDENTITY,
            VERSION=VERSION_MAJOR << 16 | VERSION_MINOR,
            NETWORK_LO=network & 0xFFFFFFFF,
            NETWORK_HI=network >> 32,
            LAYOUT=bench.facts["layout"],
            IMAGE=bench.facts["height"] << 16 | bench.facts["width"],
            SHAPE=bench.facts["stages"] << 16 | bench.scores.shape[1],
            STATUS=int(load or not bench.loadable),
            LOADS=int(load and bench.loadable),
            IRQ_PENDING=4 * int(load and bench.loadable),
            **{register.name: 0 for register in REGISTERS if register.reset == 0 and "FRAMES" in register.name},
        )
        assert await bench.axil.read(0x100 + 4 * bench.facts["stages"]) == (0, False)
        assert not await bench.axil.write(0x100, 1)


@cocotb.test()
async def frames_and_stalls(dut):
    """Right results under all patterns while registers are read; FRAMES and every STALL are what the streams did."""
    bench = AxiBench(dut)
    await bench.reset()
    await bench.axil.set("IRQ_PENDING", 15)
    bench.axil.pause(0.3, 0.3)
    reads = 0
    running = True

    async def read():
        nonlocal reads
        while running:
            register = bench.random.choice([r for r in REGISTERS if r.name not in ("IRQ_PENDING", "CONTROL")])
            assert (await bench.axil.read(register.offset))[1]
            reads += 1

    reader = cocotb.start_soon(read())
    for stalls in STALLS:
        bench.stall(*stalls)
        await bench.run()
    # A closed output, until every stage waits.
    bench.stall(0, 0)
    bench.hold()
    held = 0
    while held < 40 and not (bench.stalls > 0).all():
        bench.send(bench.images[held % len(bench.images)])
        held += 1
        await ClockCycles(dut.aclk, bench.facts["latency"])
    bench.sinks["m_axis"].pause = False
    for index in range(held):
        await bench.check_result(index % len(bench.images))
    running = False
    await reader
    assert reads > 20
    bench.axil.pause(0, 0)
    await bench.check_stalls()
    assert (bench.stalls > 0).all(), f"not every stage has ever waited: {bench.stalls}"
    count = len(STALLS) * len(bench.images) + held
    await bench.check_registers(FRAMES=count, SHORT_FRAMES=0, LONG_FRAMES=0, STATUS=1, IRQ_PENDING=1)
    low = await bench.axil.value("CYCLES_LO")
    assert low > count * len(bench.images[0])
    await bench.check_registers(CYCLES_HI=0)


@cocotb.test()
async def bad_frames_interrupt(dut):
    """Short and long frames are counted, raise the interrupt when enabled, and leave the next frame alone."""
    bench = AxiBench(dut)
    await bench.reset()
    await bench.axil.set("IRQ_PENDING", 15)
    await bench.axil.set("IRQ_ENABLE", 2)
    pixels = len(bench.images[0])
    short = long = 0
    for beats in (bench.images[0][: pixels // 2], bench.images[0] + [1], bench.images[1][:-1], bench.images[1] * 2):
        bench.send(beats)
        short, long = short + (len(beats) < pixels), long + (len(beats) > pixels)
        bench.send(bench.images[2])
        await bench.check_result(2)
        await ClockCycles(dut.aclk, 4)
        assert int(dut.interrupt.value) == 1
        await bench.check_registers(SHORT_FRAMES=short, LONG_FRAMES=long, FRAMES=short + long, STATUS=5, IRQ_PENDING=3)
        await bench.axil.set("IRQ_PENDING", 2)
        await ClockCycles(dut.aclk, 2)
        assert int(dut.interrupt.value) == 0
        await bench.check_registers(IRQ_PENDING=1, STATUS=5)
        await bench.axil.set("IRQ_PENDING", 1)
    await bench.axil.set("IRQ_ENABLE", 1)
    assert int(dut.interrupt.value) == 0
    bench.send(bench.images[1])
    await bench.check_result(1)
    await ClockCycles(dut.aclk, 4)
    assert int(dut.interrupt.value) == 1


@cocotb.test()
async def soft_reset_in_mid_frame(dut):
    """At many moments: what was under way is gone, the counters are 0, and the next frame's result is right."""
    bench = AxiBench(dut)
    latency = bench.facts["latency"]
    cuts = {"frame": 0, "flight": 0, "result": 0}
    moments = {(0, 0): (0.05, 0.3, 0.6, 0.9, 1.0, 1.02), (0.2, 0.3): (0.2, 0.95, 1.05)}
    for stalls, shares in moments.items():
        for share in shares:
            await bench.reset()
            bench.stall(*stalls)
            bench.hold()
            bench.send(bench.images[0])
            await ClockCycles(dut.aclk, int(latency * share))
            if share > 1:
                bench.sinks["m_axis"].pause = False
                while not bench.left:
                    await FallingEdge(dut.aclk)
                bench.hold()
                await ClockCycles(dut.aclk, 2)
            bench.axil.master.init_write(0x01C, bytes([1, 0, 0, 0]))
            while not int(dut.soft_rst.value):
                await FallingEdge(dut.aclk)
            await FallingEdge(dut.aclk)
            entered, left = bench.entered, bench.left + int(dut.m_axis_tvalid.value)
            assert left <= bench.scores.shape[1]
            cuts["result" if left else "frame" if entered else "flight"] += 1
            await bench.axil.master.wait()
            bench.sinks["m_axis"].pause = False
            await bench.until("CONTROL", 0)
            if left:
                beats = await bench.receive(left + 1, cycles=50)
                words = unpack(beats[:-1], 1, 32, signed=True).ravel()
                assert_equal(words, bench.scores[0][:left], "score")
                assert beats[-1] == 0xFFFFFFFF
            # What is left of the cut frame is a short one; it gives no result.
            rest = int(bool(entered))
            while not bench.sources["s_axis"].idle():
                await ClockCycles(dut.aclk, 1)
            await ClockCycles(dut.aclk, 4)
            await bench.check_registers(
                FRAMES=0, SHORT_FRAMES=rest, LONG_FRAMES=0, STATUS=1 + 4 * rest, LOADS=bench.loadable
            )
            assert not await bench.axil.value("IRQ_PENDING") & 1, "a result counts that has not left as a whole"
            bench.stall(*stalls)
            bench.send(bench.images[1])
            await bench.check_result(1)
            await bench.check_stalls()
            await bench.check_registers(FRAMES=1, SHORT_FRAMES=rest)
    assert min(cuts.values()) >= 2, f"not every kind of moment was met: {cuts}"


@cocotb.test()
async def loads(dut):
    """Good, broken and foreign load images: LOADS, LOAD_ERRORS, STATUS, NETWORK and the interrupts."""
    bench = AxiBench(dut)
    await bench.reset(load=False)
    if not bench.loadable:
        bench.send(bench.image_words, "s_load_axis")
        await ClockCycles(dut.aclk, 50)
        assert int(dut.s_load_axis_tready.value) == 0
        await bench.check_registers(LOADS=0, LOAD_ERRORS=0, STATUS=1, IRQ_PENDING=0)
        return
    network = bench.facts["network"]
    bench.send(bench.images[0])
    await ClockCycles(dut.aclk, 20)
    assert int(dut.s_axis_tready.value) == 0, "frames are taken with no tables"
    await bench.axil.set("IRQ_ENABLE", 12)
    good = bench.image_words
    broken = [*good[:-1], good[-1] ^ 1]
    foreign = [good[0], good[1] ^ 1, *good[2:]]
    done = failed = 0
    for words, ready, bad in ((good, 1, 0), (foreign, 1, 1), (broken, 0, 1), (foreign, 0, 1), (good, 1, 0)):
        bench.send(words, "s_load_axis")
        done, failed = done + (not bad), failed + bad
        await bench.until("LOADS" if not bad else "LOAD_ERRORS", failed if bad else done)
        await bench.until("STATUS", ready | 8 * bool(failed))
        await ClockCycles(dut.aclk, 4)
        assert int(dut.interrupt.value) == 1
        shown = network if ready else None
        if shown is not None:
            await bench.check_registers(NETWORK_LO=shown & 0xFFFFFFFF, NETWORK_HI=shown >> 32)
        await bench.check_registers(LOADS=done, LOAD_ERRORS=failed)
        pending = await bench.axil.value("IRQ_PENDING") & 12
        assert pending == (8 if bad else 4)
        await bench.axil.set("IRQ_PENDING", 15)
        await ClockCycles(dut.aclk, 2)
        assert int(dut.interrupt.value) == 0
        if ready:
            if done == 1 and failed == 0:
                await bench.check_result(0)
            bench.send(bench.images[1])
            await bench.check_result(1)
            await ClockCycles(dut.aclk, 4)
            await bench.axil.set("IRQ_PENDING", 1)
    await bench.silent()


@pytest.mark.parametrize("loadable", [0, 1])
def test_abbnn_axi(loadable):
    network = random_network(member("small", (4, 6), (1, 1), classes=3, image=8), seed=3)
    folding = balance(network)
    images = random_images(network.structure, 5, 3)
    layers = golden_layers(network, images)
    expected = timing(network, folding)
    structure = network.structure
    facts = {
        "loadable": loadable,
        "network": int(network_hash(network)[:16], 16),
        "layout": layout_id(pipeline_config(network, analyse(network), folding)),
        "height": structure.height,
        "width": structure.width,
        "stages": len(structure.blocks) + 2,
        "latency": expected.latency,
        "timeout": 20 * (expected.latency + expected.interval),
    }
    folder = run_folder(BUILD / f"run-axi-{loadable}")
    write(network, folding, folder / MEM_FOLDER)
    simulate(
        "abbnn_axi",
        "test_abbnn_axi",
        {"LOADABLE": loadable},
        includes=[folder / MEM_FOLDER],
        defines=[f'ABBNN_MEM_DIR="{MEM_FOLDER}"'],
        case={
            "images": images,
            "scores": layers["scores"],
            "class": layers["class"],
            "load_image": np.array(Pipeline(network, folding).load_image, np.uint32),
            "facts": json.dumps(facts),
        },
        work_dir=folder,
    )
