"""Attack on the resets of abbnn_core: at any cycle, with pixels and results that never wait for them to end."""

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer
from random_network import random_network

from abbnn.building import run_folder
from abbnn.export.folding import balance
from abbnn.export.mem import write
from abbnn.export.random_network import random_images
from abbnn.export.schedule import timing
from abbnn.golden.model import forward
from abbnn.golden.structure import STRIDED_STEM, member
from abbnn.tb.bench import BUILD, default_simulator, load_case, simulate
from abbnn.tb.core_tests import pixel_beats
from abbnn.tb.pipeline import MEM_FOLDER

END = 0xFFFFFFFF
RESETS = 60
PERIOD_NS = 10


class Attack:
    """Pixels that are always there, results that are taken as `pressure` says, and what has to come of them."""

    def __init__(self, dut):
        self.dut, self.case = dut, load_case()
        self.rng = np.random.default_rng(cocotb.RANDOM_SEED)
        self.frames = [pixel_beats(image) for image in self.case["images"]]
        self.results = [
            [int(word) & 0xFFFFFFFF for word in (*scores, winner)]
            for scores, winner in zip(self.case["scores"], self.case["class"], strict=True)
        ]
        self.pressure = 0.0
        self.at = None  # frame and beat at the input, or nothing
        self.packet, self.packets, self.shown = [], [], None
        cocotb.start_soon(Clock(dut.clk, PERIOD_NS, unit="ns").start())

    async def cycle(self, rst=0, soft_rst=0):
        """One clock cycle; `shown` is the beat, (tlast, tdata), that m_axis has behind it."""
        dut = self.dut
        dut.rst.value, dut.soft_rst.value = rst, soft_rst
        dut.m_axis_tready.value = int(self.rng.random() >= self.pressure)
        dut.s_axis_tvalid.value = int(self.at is not None)
        if self.at:
            frame, beat = self.at
            dut.s_axis_tdata.value = self.frames[frame][beat]
            dut.s_axis_tlast.value = int(beat == len(self.frames[frame]) - 1)
        await Timer(1, "ns")
        if self.at and int(dut.s_axis_tready.value):
            assert rst == soft_rst == 0, "a pixel is taken in reset"
            self.at = (frame, beat + 1) if beat + 1 < len(self.frames[frame]) else self.following(frame)
        taken = self.shown if int(dut.m_axis_tready.value) else None
        if taken:
            self.packet.append(taken[1])
            if taken[0]:
                self.packets.append(self.packet)
                self.packet = []
        await FallingEdge(dut.clk)
        held, self.shown = None if taken or rst else self.shown, None
        if int(dut.m_axis_tvalid.value):
            self.shown = int(dut.m_axis_tlast.value), int(dut.m_axis_tdata.value)
        assert held in (None, self.shown), "a beat does not stay until it is taken"

    def following(self, frame):
        """The first frame again and again, until the last one is wanted."""
        return (0, 0) if frame == 0 else None

    async def until(self, count, limit):
        for _ in range(limit):
            if len(self.packets) >= count:
                return
            await self.cycle()
        raise AssertionError(f"{len(self.packets)} of {count} results after {limit} cycles")


@cocotb.test()
async def resets(dut):
    """The frame behind a reset is golden, wherever it cuts; a soft reset ends the result that it cuts, and no other."""
    attack = Attack(dut)
    rng, limit = attack.rng, int(attack.case["timeout"])
    last = len(attack.frames) - 1
    for _ in range(4):
        await attack.cycle(rst=1)
    met = dict.fromkeys(("hard", "soft", "ended", "ended unseen", "whole", "between", "short"), 0)
    # The first cycles one by one, then any in which results leave.
    moments = [*range(12), *rng.integers(0, 2 * limit, RESETS - 12)]
    for count, moment in enumerate(moments):
        soft = count % 2
        attack.at, attack.packet, attack.packets = (0, 0), [], []
        attack.pressure = rng.choice([0.0, 0.5, 0.9])
        for _ in range(int(moment)):
            await attack.cycle()
        if count % 6 in (1, 3):  # two of three soft resets: while a result's last beat is shown, or another one
            for _ in range(4 * limit):
                if attack.shown and attack.shown[0] == (count % 6 == 1):
                    break
                await attack.cycle()
        assert all(packet == attack.results[0] for packet in attack.packets)
        attack.packets = []
        # The sender of a soft reset's frame may know nothing of it: the rest of its frame is a short one.
        rest = bool(soft and attack.at[1] and rng.random() < 0.5)
        if not rest:
            attack.at = (last, 0)
        cut = [*attack.packet, *([attack.shown[1]] if attack.shown else [])]
        assert cut == attack.results[0][: len(cut)]
        met["hard" if not soft else "between" if not cut else "whole" if cut == attack.results[0] else "ended"] += 1
        met["soft"] += soft
        met["ended unseen"] += soft and len(cut) > len(attack.packet)
        met["short"] += rest
        expected = []
        if soft and cut:
            expected = [cut if cut == attack.results[0] else [*cut, END]]
        for _ in range(int(rng.choice([2, 3, 8]))):
            await attack.cycle(rst=1 - soft, soft_rst=soft)
        if not soft:
            attack.packet, attack.packets = [], []
            assert attack.shown is None
        if rest:
            while attack.at[1]:
                await attack.cycle()
            attack.at = (last, 0)
        await attack.until(len(expected) + 1, 4 * limit)
        assert attack.packets == [*expected, attack.results[last]], f"reset {count} after {moment} cycles"
        assert attack.at is None
        for _ in range(20):
            await attack.cycle()
        assert attack.shown is None
        assert len(attack.packets) == len(expected) + 1
        assert int(dut.status_frames.value) == 1
        assert int(dut.status_short_frames.value) == rest
        assert int(dut.status_long_frames.value) == 0
    assert min(met.values()) > 0, met


@pytest.mark.parametrize("family", ["reactnet", "xnornet"])
def test_core_reset(family):
    structure = member("small", (2, 4), (1, 1), family=family, classes=3, image=8, stem=STRIDED_STEM)
    network = random_network(structure, 3, stem_planes=2)
    folding = balance(network, 64)
    images = random_images(structure, 5, 2)
    layers = forward(network, images)
    expected = timing(network, folding)
    folder = run_folder(BUILD / f"reset-{family}-{default_simulator()}")
    write(network, folding, folder / MEM_FOLDER)
    simulate(
        "abbnn_core",
        "test_core_reset",
        includes=[folder / MEM_FOLDER],
        defines=[f'ABBNN_MEM_DIR="{MEM_FOLDER}"'],
        case={
            "images": images,
            "scores": layers["scores"],
            "class": layers["class"],
            "timeout": expected.latency + expected.interval,
        },
        work_dir=folder,
    )
