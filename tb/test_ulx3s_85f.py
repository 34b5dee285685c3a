"""The boards' tops, from oscillator and serial pins to the scores, with the host's own code at the other end."""

import contextlib
import io
import json
import random
from dataclasses import replace
from functools import partial
from pathlib import Path

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge, Timer
from random_network import random_network

from abbnn import paths, verilog
from abbnn.building import run_folder
from abbnn.export.config import pipeline_config
from abbnn.export.folding import balance
from abbnn.export.mem import layout_id, write
from abbnn.export.pipeline import Pipeline
from abbnn.export.random_network import random_images
from abbnn.golden.network import network_hash
from abbnn.golden.ranges import analyse
from abbnn.golden.structure import member
from abbnn.host import __main__ as command
from abbnn.host.link import Device, Link, Refused
from abbnn.host.packet import OVERHEAD, VERSION, Reason, Type, encode
from abbnn.host.registers import IDENTITY
from abbnn.syn import boards
from abbnn.tb.bench import BUILD, load_case, simulate
from abbnn.tb.pipeline import MEM_FOLDER, golden_layers
from abbnn.tb.serial_port import SerialPort, run

PLL = paths.TB / "ehxplll.v"
LINES = {each.top: each.line for each in boards.read_boards().values()}
LINES["abbnn_board"] = boards.Line("clk", "uart_rxd", "uart_txd")
BAUDS = {"abbnn_board": 12_500_000, "ulx3s_85f": 3_000_000, "colorlight_i5": 115_200}
"""The tops' own."""
GAP_CYCLES = 1500
"""Of the simulated boards: far shorter than a real one's quarter of a second."""


class Board:
    """Oscillator, serial port and host, and a count of what reaches the core."""

    def __init__(self, dut):
        self.dut, self.case = dut, load_case()
        self.facts = json.loads(str(self.case["facts"]))
        line = LINES[self.facts["top"]]
        self.inner = dut if self.facts["top"] == "abbnn_board" else dut.board_inst
        Clock(getattr(dut, line.clock), 10 if self.inner is dut else 40, unit="ns", impl="gpi").start()
        self.random = random.Random(cocotb.RANDOM_SEED)
        if self.facts["top"] == "ulx3s_85f":
            dut.btn.value = 0
        self.port = SerialPort(getattr(dut, line.rxd), getattr(dut, line.txd), self.facts["bit_ns"])
        byte = 10e-9 * self.facts["bit_ns"]
        # Longer than a gap; longer than two images on the line, in the core, and their results.
        self.times = {"quiet": 1.3e-8 * GAP_CYCLES + 4 * byte, "timeout": 200 * byte}
        self.device = self.new_device()
        self.images, self.scores = self.case["images"], self.case["scores"]
        self.frames = []
        cocotb.start_soon(self._count())

    def new_device(self, tries=8):
        return Device(Link(self.port, tries=tries, **self.times))

    async def _count(self):
        """Lengths of the frames on the core's pixel stream, where tvalid falls behind every beat (abbnn_gather)."""
        board, length = self.inner, 0
        while True:
            await RisingEdge(board.pixel_tvalid)
            await FallingEdge(self.dut.clk)
            length += 1
            if board.pixel_tlast.value == 1:
                self.frames.append(length)
                length = 0

    async def start(self):
        """Behind the reset: what comes before it is over is lost."""
        await Timer(2, "us")
        await run(self.device.connect)

    async def load(self, words):
        """All of the load image is on its way at once, so its answer takes as long as it does."""
        link = self.device.link
        link.timeout = self.times["timeout"] + 40e-9 * self.facts["bit_ns"] * len(words)
        try:
            await run(lambda: self.device.load(words))
        finally:
            link.timeout = self.times["timeout"]

    def leds(self):
        return int(self.inner.leds.value)

    def check(self, results, chosen, roll=0):
        assert len(results) == len(chosen) > 0
        for result, index in zip(results, chosen, strict=True):
            expected = np.roll(self.scores[index], roll)
            np.testing.assert_array_equal(result.scores, expected, err_msg=f"scores of image {index}")
            assert result.label == expected.argmax()

    async def classify(self, chosen, **options):
        return await run(lambda: self.device.classify(self.images[chosen], **options))

    async def check_counters(self):
        """The core has counted what its pixel stream has brought."""
        counters = await run(self.device.counters)
        pixels = self.images[0].size // 3
        assert counters["FRAMES"] == self.frames.count(pixels)
        assert counters["SHORT_FRAMES"] == sum(length < pixels for length in self.frames)
        assert counters["LONG_FRAMES"] == 0
        return counters


@cocotb.test()
async def classify(dut):
    """From power-up: reset, boot, images in flight, counters, lights."""
    board = Board(dut)
    await Timer(100, "ns")
    assert dut.rst.value == 1, "no reset before the PLL has locked"
    await board.start()
    assert dut.rst.value == 0
    assert await run(board.device.network) == int(board.facts["network_id"])
    chosen = list(range(len(board.images)))
    board.check(await board.classify(chosen, flying=2), chosen)
    counters = await board.check_counters()
    assert counters == {"FRAMES": len(chosen), "SHORT_FRAMES": 0, "LONG_FRAMES": 0, "LOADS": 1, "LOAD_ERRORS": 0}
    assert vars(board.device.link.statistics) == {"repeated": 0, "refused": 0, "silences": 0}
    assert board.leds() & 0b1111 == 0b0001
    if board.facts["top"] == "ulx3s_85f":
        assert int(dut.led.value) == board.leds()
        assert dut.wifi_gpio0.value == 1
        dut.btn.value = 1
        await Timer(2, "us")
        assert dut.rst.value == 1
        dut.btn.value = 0
        await Timer(1, "us")
        await run(board.device.connect)
        board.frames.clear()
        board.check(await board.classify([1]), [1])
        assert (await board.check_counters())["FRAMES"] == 1


@cocotb.test()
async def commands(dut):
    """`abbnn host classify` and `status`, as typed."""
    board = Board(dut)
    await Timer(2, "us")
    images, labels = board.images[:3], board.scores[:3].argmax(axis=1)
    labels[0] = (labels[0] + 1) % board.scores.shape[1]
    np.savez("typed.npz", images=images, labels=labels)
    timeout = ["--timeout", str(board.times["timeout"])]
    command.Link = partial(Link, quiet=board.times["quiet"])

    def typed(*arguments):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = command.main(
                [*arguments, "--port", "SIM", *timeout, "--json"], lambda arguments: contextlib.nullcontext(board.port)
            )
        return status, said.getvalue()

    try:
        status, said = await run(lambda: typed("classify", "typed.npz"))
        report = json.loads(said)
        assert status == 0
        assert [row["scores"] for row in report["results"]] == board.scores[:3].tolist()
        assert (report["images"], report["right"]) == (3, 2)
        assert report["counters"]["FRAMES"] == 3
        assert (report["line"]["bad_packets"], report["line"]["requests_repeated"]) == (0, 0)
        status, said = await run(lambda: typed("status"))
        assert status == 0
        assert json.loads(said)["registers"]["FRAMES"] == 3
    finally:
        command.Link = Link


@cocotb.test()
async def cut_and_garbage(dut):
    """Half an image, then silence; garbage between the packets, also such that looks like a header."""
    board = Board(dut)
    await board.start()
    data = encode(Type.IMAGE, 0, board.images[0].tobytes())
    noise = bytes(byte for byte in board.random.randbytes(30) if byte != 0xAB)
    for garbage in (data[: len(data) // 2], data[:9], noise + b"\xab\x4e\xab"):
        await run(lambda garbage=garbage: board.port.write(garbage))
        await Timer(round(1e9 * board.times["quiet"]) + 10 * board.facts["bit_ns"] * len(garbage), "ns")
        board.check(await board.classify([2]), [2])
    counters = await board.check_counters()
    assert (counters["FRAMES"], counters["SHORT_FRAMES"]) == (3, 1)
    identity = await run(board.device.link.ping)
    assert (identity.bad_packets, identity.line_errors, identity.lost) == (2, 0, 0)
    assert board.leds() & 0b1100 == 0b1100


class Damage:
    """Wrong once behind each of so many calls, never again after the last."""

    def __init__(self, *gaps):
        self.left = list(gaps)

    def __call__(self):
        if self.left:
            self.left[0] -= 1
            if self.left[0] < 0:
                self.left.pop(0)
                return True
        return False


@cocotb.test()
async def bad_line(dut):
    """Wrong bits on the way in, lost and wrong bytes on the way out: all results right, counters as counted."""
    board = Board(dut)
    await board.start()
    bits = 10 * (OVERHEAD + board.images[0].size)
    # In three packets of the first seven: bits of a payload, one of a header, and a start or stop bit.
    header, payload = (board.random.randrange(lo, hi) for lo, hi in ((20, 90), (90, bits - 40)))
    line = 10 * board.random.randrange(9, bits // 10) + board.random.choice([0, 9])
    wrong = [payload, bits + header, 4 * bits + line]
    board.port.noise = Damage(*(b - a - 1 for a, b in zip([-1, *wrong], wrong, strict=False)))
    answer = OVERHEAD + 4 * (board.device.classes + 1)
    damage = Damage(answer + board.random.randrange(answer))
    board.port.to_host = lambda byte: board.random.choice([b"", bytes([byte ^ 16])]) if damage() else bytes([byte])
    chosen = [2, 0, 3, 1, 2, 3]
    board.check(await board.classify(chosen, flying=2), chosen)
    assert board.port.pin.errors == 3
    assert not damage.left
    statistics = board.device.link.statistics
    assert 3 <= statistics.repeated <= 4 + 2 * statistics.silences
    identity = await run(board.device.link.synchronise)
    assert identity.bad_packets >= 1
    assert identity.lost == 0
    await board.check_counters()


@cocotb.test()
async def reload(dut):
    """Another network through the line; a load that breaks leaves no core, and a good one brings it back."""
    board = Board(dut)
    await board.start()
    words = [int(word) for word in board.case["other"]]
    await board.load(words)
    assert await run(board.device.network) == int(board.facts["other_id"])
    board.check(await board.classify([2]), [2], roll=1)
    # Ends early.
    broken = words[:20]
    with pytest.raises(Exception, match="refused the load image"):
        await board.load(broken)
    with pytest.raises(Refused) as refused:
        await board.classify([0])
    assert refused.value.reason == Reason.NOT_READY
    await board.load([int(word) for word in board.case["words"]])
    board.check(await board.classify([2]), [2])
    counters = await board.check_counters()
    assert (counters["LOADS"], counters["LOAD_ERRORS"]) == (3, 1)
    await run(board.device.soft_reset)
    board.frames.clear()
    board.check(await board.classify([1]), [1])
    assert (await board.check_counters())["FRAMES"] == 1


@cocotb.test()
async def one_register(dut):
    board = Board(dut)
    await Timer(2, "us")
    assert (await run(board.device.link.ping)).version == VERSION
    assert await run(lambda: board.device.read("ID")) == IDENTITY
    assert vars(board.device.link.statistics) == {"repeated": 0, "refused": 0, "silences": 0}


@cocotb.test()
async def absent_line(dut):
    """A line that brings nothing back ends the host, in bounded time."""
    board = Board(dut)
    board.port.to_host = lambda byte: b""
    board.times["timeout"] /= 5
    device = board.new_device(tries=2)
    with pytest.raises(Exception, match=r"does not answer \(2 pings\)"):
        await run(device.connect)
    await FallingEdge(dut.clk)


def rolled(network):
    """The same network with its classes in another order: another network of the same layout."""
    head = network.head
    weights, bias = (np.roll(values, 1, axis=0) for values in (head.weights, head.bias))
    return replace(network, head=replace(head, weights=weights, bias=bias))


def chunks(words):
    """abbnn_boot's files: nnn -> text."""
    padded = [*words, *[0] * (-len(words) % 512)]
    return {
        f"boot.{n // 512:03}.mem": "".join(f"{word:08x}\n" for word in padded[n : n + 512])
        for n in range(0, len(padded), 512)
    }


def simulate_board(top, testcase, *, module=Path(__file__).stem, baud=12_500_000, clock_mhz=100, images=4):
    """One cocotb test of `module` on `top`: a small random network, its images and scores; the boards' tops boot it."""
    network = random_network(member("small", (2,), (1,), image=4, classes=3), 7)
    other, folding = rolled(network), balance(network)
    configs = [pipeline_config(each, analyse(each), folding) for each in (network, other)]
    assert layout_id(configs[0]) == layout_id(configs[1])
    folder = run_folder(BUILD / f"run-{top}-{testcase}")
    write(network, folding, folder / MEM_FOLDER)
    words, chosen = Pipeline(network, folding).load_image, random_images(network.structure, 5, images)
    layers = golden_layers(network, chosen)
    facts = {
        "top": top,
        "bit_ns": round(1e9 / baud),
        "network_id": str(int(network_hash(network)[:16], 16)),
        "other_id": str(int(network_hash(other)[:16], 16)),
    }
    case = {
        "images": chosen,
        "scores": layers["scores"].astype(np.int64),
        "words": words,
        "other": Pipeline(other, folding).load_image,
        "facts": json.dumps(facts),
    }
    parameters = {"GAP_CYCLES": GAP_CYCLES}
    if top == "abbnn_board":
        parameters |= {"CLOCK_HZ": 1_000_000 * clock_mhz, "BAUD": baud}
        files = verilog.sources(top)
    else:
        parameters |= {"CLOCK_MHZ": clock_mhz, "BOOT_WORDS": len(words), "BOOT_FILE": "boot"}
        parameters |= {} if baud == BAUDS[top] else {"BAUD": baud}
        files = [*verilog.sources("abbnn_board"), *boards.board(top.replace("_", "-")).sources, PLL]
    simulate(
        top,
        module,
        parameters,
        tables=chunks(words),
        case=case,
        testcase=testcase,
        includes=[folder / MEM_FOLDER],
        defines=[f'ABBNN_MEM_DIR="{MEM_FOLDER}"'],
        work_dir=folder,
        sim="icarus",
        verilog=[Path(file) for file in files],
    )


@pytest.mark.parametrize("testcase", ["classify", "commands", "cut_and_garbage", "bad_line", "reload", "absent_line"])
def test_ulx3s(testcase):
    simulate_board("ulx3s_85f", testcase)


@pytest.mark.parametrize("clock_mhz", [75, 100, 125])
def test_ulx3s_at_its_own_rate(clock_mhz):
    """The divider that the bitstream has."""
    simulate_board("ulx3s_85f", "one_register", baud=3_000_000, clock_mhz=clock_mhz)


def test_colorlight_i5():
    simulate_board("colorlight_i5", "classify", images=3)
