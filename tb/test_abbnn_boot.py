"""abbnn_boot: after every reset the image comes first, each word once, then what the host sends."""

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles, FallingEdge

from abbnn.tb.bench import STALLS, Bench, assert_equal, load_case, rows, simulate

CHUNK = 512
CYCLES_A_WORD = 5

LINT_PARAMETERS = rows("WORDS", (0,), (512,), (513,), (12000,))
BAD_PARAMETERS = [
    ("abbnn_boot", {"WORDS": -1}, "WORDS_must_be_at_least_0"),
    ("abbnn_boot", {"WORDS": 512001}, "WORDS_must_be_at_most_512000"),
]


class Monitor:
    """Watches every cycle: what is offered stays until it is taken, and nothing of the host passes during the image."""

    def __init__(self, dut, words):
        self.dut, self.words = dut, words
        self.clear()
        cocotb.start_soon(self._watch())

    def clear(self):
        self.cycle, self.given, self.offer, self.host = 0, [], None, 0

    async def _watch(self):
        dut = self.dut
        while True:
            await FallingEdge(dut.clk)
            if str(dut.rst.value) == "1":
                self.clear()
                assert str(dut.s_axis_tready.value) == "0", "takes a beat in reset"
                continue
            self.cycle += 1
            offer = None
            if dut.m_axis_tvalid.value == 1:
                offer = str(dut.m_axis_tdata.value), str(dut.m_axis_tlast.value)
            assert self.offer is None or offer == self.offer, f"offers {self.offer}, then {offer} without a transfer"
            self.offer = None if dut.m_axis_tready.value == 1 else offer
            if offer and dut.m_axis_tready.value == 1:
                self.given.append(self.cycle)
            if dut.s_axis_tvalid.value == 1 and dut.s_axis_tready.value == 1:
                self.host += 1
                assert len(self.given) > self.words, "takes a beat of the host before the image has ended"


def make(dut):
    case = load_case()
    image = case["image"]
    return Bench(dut), Monitor(dut, len(image)), image


def host_frames(bench):
    """A load of one word, and longer ones."""
    return [bench.numpy_random.integers(0, 1 << 32, length) for length in (1, 2, 37)]


async def check_image(bench, image):
    if len(image):
        words = await bench.receive(len(image), cycles=40 * len(image) + 1000)
        assert_equal(np.array(words), image, "word of the image")


async def check_host(bench, frames):
    for frame in frames:
        assert_equal(np.array(await bench.receive(len(frame))), frame, "word of the host's load")


@cocotb.test()
async def image_then_host(dut):
    """The host's loads wait until the image is out, under every stall, and follow it unchanged; then silence."""
    bench, monitor, image = make(dut)
    for idle, back_pressure in STALLS:
        await bench.reset()
        bench.stall(idle, back_pressure)
        frames = host_frames(bench)
        for frame in frames:
            bench.send(frame)
        await check_image(bench, image)
        await check_host(bench, frames)
        await bench.silent()
        assert monitor.host == sum(map(len, frames))


@cocotb.test()
async def timing(dut):
    """A word every fourth cycle; the host's beats pass in the cycle in which they come."""
    bench, monitor, image = make(dut)
    await bench.reset()
    await check_image(bench, image)
    await ClockCycles(dut.clk, 1)
    assert len(monitor.given) == len(image)
    assert set(np.diff(monitor.given).tolist()) <= {CYCLES_A_WORD}, "cycles between words"
    await bench.silent()
    frames = host_frames(bench)
    bench.send(frames[-1])
    await check_host(bench, frames[-1:])
    await ClockCycles(dut.clk, 1)
    passed = monitor.given[len(image) :]
    assert len(passed) == len(frames[-1])
    assert set(np.diff(passed).tolist()) == {1}, "cycles lost between the host's beats"


@cocotb.test()
async def reset_in_the_middle(dut):
    """The image starts over wherever the reset comes: in a word, between words, in chunk 1, behind the end."""
    bench, _, image = make(dut)
    end = CYCLES_A_WORD * len(image)
    cuts = {1, 2, 3, 4, 5, 6, 7, end // 2, end - 3, end - 1, end, end + 1, end + 2, end + 9} - {0}
    cuts |= {CYCLES_A_WORD * CHUNK + after for after in (-1, 0, 1, 2, 3, 4)} if len(image) > CHUNK else set()
    for number, cut in enumerate(sorted(cut for cut in cuts if cut > 0)):
        await bench.reset(cycles=1 + number % 3)
        bench.stall(0.0, 0.0)
        bench.send(host_frames(bench)[-1])
        await ClockCycles(dut.clk, cut)
    await bench.reset(cycles=1)
    frames = host_frames(bench)
    bench.send(frames[1])
    bench.stall(0.3, 0.3)
    await check_image(bench, image)
    await check_host(bench, frames[1:2])
    await bench.silent()
    for cut in (5, end + 5):  # and once more with the whole image behind each
        bench.stall(0.0, 0.0)
        await bench.reset(cycles=1)
        await ClockCycles(dut.clk, cut)
        await bench.reset(cycles=1)
        await check_image(bench, image)
        await bench.silent()


@pytest.mark.parametrize("words", [0, 1, 2, 511, 512, 513, 1100])
def test_abbnn_boot(words):
    """Chunks of other contents behind the image's end; they must not come out."""
    rng = np.random.default_rng([words, 1])
    chunks = rng.integers(0, 1 << 32, (-(-words // CHUNK), CHUNK))
    tables = {
        f"image.{number:03}.mem": "".join(f"{int(word):08x}\n" for word in chunk) for number, chunk in enumerate(chunks)
    }
    case = {"image": chunks.reshape(-1)[:words]}
    simulate("abbnn_boot", "test_abbnn_boot", {"WORDS": words, "FILE": "image"}, tables=tables, case=case)
