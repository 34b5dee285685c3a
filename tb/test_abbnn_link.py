"""abbnn_link between bytes and a core in Python: every request, damage of every kind, and what the core gets to see."""

import struct
from collections import deque

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles, FallingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteRam

from abbnn.host.packet import Decoder, Identity, Packet, Reason, Type, encode
from abbnn.tb.bench import Bench, load_case, rows, simulate

LINT_PARAMETERS = rows(
    "PIXELS CLASSES RX_BYTES TAGS GAP_CYCLES POLL_CYCLES",
    (1, 1, 128, 2, 1, 1),
    (50176, 1000, 4096, 251, 600, 65535),
)
BAD_PARAMETERS = [
    ("abbnn_link", {"PIXELS": 0}, "PIXELS_must_be_at_least_1"),
    ("abbnn_link", {"CLASSES": 0}, "CLASSES_must_be_at_least_1"),
    ("abbnn_link", {"RX_BYTES": 127}, "RX_BYTES_must_be_at_least_128"),
    ("abbnn_link", {"TAGS": 1}, "TAGS_must_be_2_to_251"),
    ("abbnn_link", {"TAGS": 252}, "TAGS_must_be_2_to_251"),
    ("abbnn_link", {"GAP_CYCLES": 0}, "GAP_CYCLES_must_be_at_least_1"),
    ("abbnn_link", {"POLL_CYCLES": 0}, "POLL_CYCLES_must_be_at_least_1"),
]

PIXELS, CLASSES, RX_BYTES, TAGS, GAP = 12, 3, 256, 4, 150
WINDOW = RX_BYTES - 64
CONTROL, STATUS = 0x1C, 0x20
READY, LOADING = 1, 2


def scores(pixels):
    """A core that any pixel matters to: (CLASSES,) words."""
    return [(sum((i + 1) ** 2 * (k + 1) * int(p) for i, p in enumerate(pixels)) & 0xFFFFFFFF) for k in range(CLASSES)]


def pixels_of(payload):
    return [int.from_bytes(payload[i : i + 3], "little") for i in range(0, len(payload), 3)]


def result(tag, payload):
    return Packet(Type.RESULT, tag, struct.pack(f"<{CLASSES + 1}I", *scores(pixels_of(payload)), tag ^ 0x5A))


class LinkBench:
    """A host that speaks in bytes on one side, a core and its registers on the other.

    The core takes frames from m_pixel; one of PIXELS beats gives a result, unless `answering` is off, in which case it
    waits in `finished`. The class of a result is made from the order of the tags, to see that these fit.
    """

    def __init__(self, dut):
        self.dut = dut
        self.bench = Bench(dut, sources=("s_result",), sinks=("m_axis", "m_pixel", "m_load"))
        self.registers = AxiLiteRam(AxiLiteBus.from_prefix(dut, "m_axil"), dut.clk, dut.rst, size=4096)
        for end in (self.registers.write_if, self.registers.read_if):
            end.log.setLevel("ERROR")
        self.decoder = Decoder()
        self.spacing = int(load_case()["spacing"])
        self.answering = True
        self.frames, self.finished, self.classes = [], deque(), deque()
        self.credits = []
        dut.rx_valid.value = dut.rx_error.value = 0
        cocotb.start_soon(self._core())

    async def _core(self):
        while True:
            frame = await self.bench.sinks["m_pixel"].recv()
            self.frames.append(list(frame.tdata))
            if len(frame.tdata) == PIXELS:
                self.finished.append(list(frame.tdata))
                if self.answering:
                    self.answer()

    def answer(self, count=1000):
        """Give the results that wait, so many at most."""
        for _ in range(min(count, len(self.finished))):
            frame = self.finished.popleft()
            self.bench.send([*scores(frame), self.classes.popleft() ^ 0x5A], "s_result")

    async def reset(self):
        await self.bench.reset()
        self.status(READY)
        self.registers.write_dword(CONTROL, 0)
        await ClockCycles(self.dut.clk, 10)

    def status(self, value):
        self.registers.write_dword(STATUS, value)

    async def send(self, data, *, error_at=None):
        """Bytes, one every `spacing` cycles; the one numbered `error_at` has no stop bit."""
        dut = self.dut
        for index, byte in enumerate(data):
            await FallingEdge(dut.clk)
            dut.rx_data.value, dut.rx_error.value, dut.rx_valid.value = byte, int(index == error_at), 1
            await FallingEdge(dut.clk)
            dut.rx_valid.value = 0
            if self.spacing > 1:
                await ClockCycles(dut.clk, self.spacing - 1)

    async def image(self, tag, payload, **damage):
        self.classes.append(tag)
        await self.send(encode(Type.IMAGE, tag, payload), **damage)

    async def settle(self, cycles=GAP + 250):
        await ClockCycles(self.dut.clk, cycles)

    def packets(self):
        """What has come for the host; credits are put aside."""
        found = self.decoder.feed(bytes(self.bench.sinks["m_axis"].read_nowait()))
        assert self.decoder.skipped == 0, "the device sends what is no packet"
        self.credits += [int.from_bytes(p.payload, "little") for p in found if p.type == Type.CREDIT]
        return [p for p in found if p.type != Type.CREDIT]

    async def check(self, *expected, cycles=GAP + 250):
        await self.settle(cycles)
        found = self.packets()
        assert found == list(expected), f"{found}\nin place of\n{list(expected)}"

    async def identity(self):
        await self.send(encode(Type.PING, 0xEE))
        await self.settle()
        (answer,) = self.packets()
        assert (answer.type, answer.tag) == (Type.IDENTITY, 0xEE)
        return Identity.from_bytes(answer.payload)


def nack(kind, tag, reason):
    return Packet(Type.NACK, tag, bytes([reason, kind]))


def payloads(link, count):
    return [link.bench.random.randbytes(3 * PIXELS) for _ in range(count)]


@cocotb.test()
async def registers(dut):
    link = LinkBench(dut)
    await link.reset()
    await link.send(encode(Type.PING, 5))
    identity = Identity(1, TAGS + 4, 0, WINDOW, 13, 0, 0)
    await link.check(Packet(Type.IDENTITY, 5, identity.to_bytes()))
    for tag in range(20):
        address, value = 4 * link.bench.random.randrange(16, 1024), link.bench.random.getrandbits(32)
        await link.send(encode(Type.WRITE, tag, struct.pack("<HI", address, value)))
        await link.check(Packet(Type.WRITTEN, tag), cycles=200)
        assert link.registers.read_dword(address) == value
        await link.send(encode(Type.READ, tag, struct.pack("<H", address)))
        await link.check(Packet(Type.VALUE, tag, struct.pack("<I", value)), cycles=200)
    before = link.registers.read(0, 4096)
    for address in (0x1000, 0x8000 + CONTROL):
        await link.send(encode(Type.WRITE, 1, struct.pack("<HI", address, 1)))
        await link.check(nack(Type.WRITE, 1, Reason.REFUSED))
        await link.send(encode(Type.READ, 2, struct.pack("<H", address)))
        await link.check(nack(Type.READ, 2, Reason.REFUSED))
    assert link.registers.read(0, 4096) == before
    assert dut.status_error.value == 0


@cocotb.test()
async def wrong_requests(dut):
    """Unknown types and wrong lengths are refused by their header; a packet right behind is found."""
    link = LinkBench(dut)
    await link.reset()
    wrong = [(kind, b"", Reason.TYPE) for kind in (0x00, 0x06, 0x81, 0xFF)]
    lengths = [(Type.PING, 1), (Type.READ, 3), (Type.WRITE, 5), (Type.LOAD, 0), (Type.LOAD, 6)]
    lengths += [(Type.IMAGE, 3 * PIXELS - 3), (Type.IMAGE, 3 * PIXELS + 3), (Type.IMAGE, 3 * PIXELS + 0x10000)]
    wrong += [(kind, bytes(length), Reason.LENGTH) for kind, length in lengths]
    for kind, payload, reason in wrong:
        await link.send(encode(kind, 9, payload)[:9] + encode(Type.READ, 1, bytes([STATUS, 0])))
        await link.check(nack(kind, 9, reason), Packet(Type.VALUE, 1, struct.pack("<I", READY)), cycles=400)
    assert link.frames == []
    assert (await link.identity()).bad_packets == 0


@cocotb.test()
async def images(dut):
    """Many images, the results of which come late and under the right tags."""
    link = LinkBench(dut)
    await link.reset()
    link.answering = False
    sent = payloads(link, TAGS + 4)
    for tag, payload in enumerate(sent):
        await link.image(tag, payload)
    await link.check()
    assert link.frames == [pixels_of(payload) for payload in sent]
    # The tags are full: one more waits at its end, and goes on with the first result.
    (extra,) = payloads(link, 1)
    await link.image(200, extra)
    await link.settle()
    assert len(link.frames) == len(sent)
    link.answering = True
    link.answer()
    expected = [*(result(tag, payload) for tag, payload in enumerate(sent)), result(200, extra)]
    await link.check(*expected, cycles=6000)
    for stalls in ((0.0, 0.0), (0.3, 0.3)):
        link.bench.stall(*stalls)
        sent = {tag: payload for tag, payload in enumerate(payloads(link, 12), 40)}
        for tag, payload in sent.items():
            await link.image(tag, payload)
            await link.settle(100)
        await link.check(*(result(tag, payload) for tag, payload in sent.items()), cycles=6000)
    await link.bench.silent()


@cocotb.test()
async def damaged_images(dut):
    """Every byte of an image lost, damaged, without a stop bit, or the last: no result, at most a short frame."""
    link = LinkBench(dut)
    await link.reset()
    (payload,) = payloads(link, 1)
    data = encode(Type.IMAGE, 3, payload)
    bad = 0
    for index in range(0, len(data), int(load_case()["step"])):
        for what in ("lost", "flipped", "line", "cut"):
            link.frames.clear()
            if what == "lost":
                await link.send(data[:index] + data[index + 1 :])
            elif what == "flipped":
                bit = 1 << link.bench.random.randrange(8)
                await link.send(data[:index] + bytes([data[index] ^ bit]) + data[index + 1 :])
            elif what == "line":
                await link.send(data[: index + 1], error_at=index)
            else:
                await link.send(data[:index])
            await link.settle()
            found = link.packets()
            if index < 9:
                assert found == [] or (what == "lost" and found == [])
                assert link.frames == []
            else:
                reason = {"lost": Reason.GAP, "flipped": Reason.CHECKSUM, "line": Reason.LINE, "cut": Reason.GAP}[what]
                assert found == [nack(Type.IMAGE, 3, reason)], f"byte {index} {what}: {found}"
                bad += 1
                assert all(0 < len(frame) < PIXELS for frame in link.frames), "a frame of full length"
                whole = min(index - 9, len(payload)) // 3 if what in ("line", "cut") else None
                if whole is not None:
                    assert [len(frame) for frame in link.frames] == ([whole - 1] if whole > 1 else [])
            # The link is as good as before.
            link.frames.clear()
            await link.image(4, payload)
            await link.check(result(4, payload), cycles=900)
            assert link.frames == [pixels_of(payload)]
    assert bad > 10
    assert dut.status_error.value == 1
    assert (await link.identity()).bad_packets == bad


@cocotb.test()
async def damaged_writes(dut):
    """No register is written by a damaged packet."""
    link = LinkBench(dut)
    await link.reset()
    link.registers.write_dword(0x24, 0x1234)
    data = encode(Type.WRITE, 3, struct.pack("<HI", 0x24, 0xFFFFFFFF))
    for index in range(len(data)):
        for bit in link.bench.random.sample(range(8), 2):
            await link.send(data[:index] + bytes([data[index] ^ 1 << bit]) + data[index + 1 :])
            await link.settle()
            found = link.packets()
            assert found == ([nack(Type.WRITE, 3, Reason.CHECKSUM)] if index >= 9 else []), f"byte {index}: {found}"
            assert link.registers.read_dword(0x24) == 0x1234
    await link.send(data)
    await link.check(Packet(Type.WRITTEN, 3))
    assert link.registers.read_dword(0x24) == 0xFFFFFFFF


@cocotb.test()
async def loads(dut):
    """Words with tlast on the last; a damaged load ends early, without its last word; the answer comes at the end."""
    link = LinkBench(dut)
    await link.reset()
    sink = link.bench.sinks["m_load"]
    words = [link.bench.random.getrandbits(32) for _ in range(30)]
    payload = struct.pack("<30I", *words)
    data = encode(Type.LOAD, 8, payload)
    await link.send(data)
    await link.check(Packet(Type.LOADED, 8))
    assert list(sink.recv_nowait().tdata) == words
    for index in (9, 20, 60, len(data) - 5, len(data) - 1):
        await link.send(data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :])
        await link.check(nack(Type.LOAD, 8, Reason.CHECKSUM))
        assert len(sink.recv_nowait().tdata) == 29
    await link.send(data[:50])
    await link.check(nack(Type.LOAD, 8, Reason.GAP))
    assert list(sink.recv_nowait().tdata) == words[:9]
    sink.pause = True
    await link.send(data)
    await link.check()
    sink.pause = False
    await link.check(Packet(Type.LOADED, 8))
    assert list(sink.recv_nowait().tdata) == words
    assert sink.empty()


@cocotb.test()
async def not_ready(dut):
    """Without tables images are refused; while a load is under way they wait."""
    link = LinkBench(dut)
    await link.reset()
    (payload,) = payloads(link, 1)
    data = encode(Type.IMAGE, 3, payload)
    link.status(0)
    await link.send(data)
    await link.check(nack(Type.IMAGE, 3, Reason.NOT_READY))
    await link.send(data[:-1] + b"?")
    await link.check(nack(Type.IMAGE, 3, Reason.CHECKSUM))
    assert link.frames == []
    for status in (LOADING, LOADING | READY):
        link.status(status)
        await link.image(3, payload)
        await link.check()
        assert link.frames == []
        link.status(READY)
        await link.check(result(3, payload))
        assert link.frames == [pixels_of(payload)]
        link.frames.clear()
    link.status(LOADING)
    await link.send(data)
    await link.check()
    link.status(0)
    await link.check(nack(Type.IMAGE, 3, Reason.NOT_READY))
    assert link.frames == []


@cocotb.test()
async def status_is_watched(dut):
    link = LinkBench(dut)
    link.bench.receives = False
    await link.reset()
    for status in (0, READY, LOADING, 12, 15):
        link.status(status)
        await ClockCycles(dut.clk, 400)
        assert int(dut.status_core.value) == status


@cocotb.test()
async def overflow(dut):
    """A core that stalls, a host that sends too much: what did not fit is counted and refused; then all is well."""
    link = LinkBench(dut)
    await link.reset()
    sent = payloads(link, 8)
    link.bench.sinks["m_pixel"].pause = True
    await ClockCycles(dut.clk, 5)
    for tag, payload in enumerate(sent):
        await link.image(tag, payload)
    await link.settle()
    link.bench.sinks["m_pixel"].pause = False
    await link.settle(4000)
    found = link.packets()
    good = [p for p in found if p.type == Type.RESULT]
    lost = [p for p in found if p.type == Type.NACK]
    assert 3 <= len(good) <= 6
    assert good == [result(tag, sent[tag]) for tag in range(len(good))]
    assert lost == [nack(Type.IMAGE, len(good), Reason.LOST)]
    identity = await link.identity()
    assert identity.lost > 0
    assert identity.bad_packets == 1
    link.classes.clear()
    await link.image(99, sent[0])
    await link.check(result(99, sent[0]))


@cocotb.test()
async def window(dut):
    """A host that keeps to the window loses nothing, whatever the core does; credits tell it when to go on."""
    link = LinkBench(dut)
    await link.reset()
    data = b"".join(encode(Type.IMAGE, tag, payload) for tag, payload in enumerate(payloads(link, 30)))
    link.classes.extend(range(30))
    link.bench.sinks["m_pixel"].set_pause_generator(
        iter([True] * 3000 + [False] * 50 + ([True] * 200 + [False] * 9) * 900)
    )
    sent = results = 0
    for _ in range(3000):
        results += len(link.packets())
        room = WINDOW - (sent - max(link.credits, default=0))
        if sent < len(data) and room > 0:
            await link.send(data[sent : sent + room])
            sent += min(room, len(data) - sent)
        elif results == 30:
            break
        await ClockCycles(dut.clk, 40)
    assert results == 30
    identity = await link.identity()
    assert (identity.lost, identity.bad_packets, identity.consumed) == (0, 0, len(data) + 13)


@cocotb.test()
async def soft_reset(dut):
    """Images under way are forgotten, with their tags; a result on its way to the line is sent whole."""
    link = LinkBench(dut)
    await link.reset()
    link.answering = False
    sent = payloads(link, 4)
    for tag, payload in enumerate(sent):
        await link.image(tag, payload)
    await link.check()
    link.bench.sinks["m_axis"].pause = True
    link.answer(1)
    # The next result has begun to show when the reset comes: its first score, and the beat that ends it.
    link.bench.send([scores(pixels_of(sent[1]))[0], 0xFFFFFFFF], "s_result")
    await ClockCycles(dut.clk, 50)
    await link.send(encode(Type.WRITE, 9, struct.pack("<HI", CONTROL, 1)))
    await link.settle()
    assert link.registers.read_dword(CONTROL) == 0, "written under a result"
    link.bench.sinks["m_axis"].pause = False
    await link.settle()
    assert link.registers.read_dword(CONTROL) == 1
    # The core drops what it has and clears the bit; only then comes the answer.
    assert link.packets() == [result(0, sent[0])]
    link.registers.write_dword(CONTROL, 0)
    await link.check(Packet(Type.WRITTEN, 9))
    link.finished.clear()
    link.classes.clear()
    link.answering = True
    await link.image(77, sent[1])
    await link.check(result(77, sent[1]))
    # Another write to CONTROL, and one to another register, drop nothing.
    link.answering = False
    await link.image(78, sent[2])
    await link.send(encode(Type.WRITE, 10, struct.pack("<HI", CONTROL, 2)))
    await link.send(encode(Type.WRITE, 11, struct.pack("<HI", 0x24, 1)))
    await link.check(Packet(Type.WRITTEN, 10), Packet(Type.WRITTEN, 11))
    link.answering = True
    link.answer()
    await link.check(result(78, sent[2]))


@cocotb.test()
async def noise(dut):
    """Packets between garbage, part of which looks like headers: what is answered is right; then all is well."""
    link = LinkBench(dut)
    await link.reset()
    random = link.bench.random
    right = 0
    for tag in range(60):
        payload = link.bench.random.randbytes(3 * PIXELS)
        garbage = random.randbytes(random.randrange(20))
        if random.random() < 0.3:
            garbage += encode(Type.IMAGE, 200, payload)[: random.randrange(1, 30)]
        await link.send(garbage)
        if random.random() < 0.5:
            await link.settle()
        link.packets()
        link.frames.clear()
        link.classes.clear()
        link.classes.append(tag)
        await link.send(encode(Type.IMAGE, tag, payload))
        await link.settle()
        results = [p for p in link.packets() if p.type == Type.RESULT]
        assert results in ([], [result(tag, payload)])
        right += len(results)
    assert right > 30
    await link.image(61, payload)
    await link.check(result(61, payload))


@pytest.mark.parametrize("spacing", [3, 12])
def test_link(spacing):
    parameters = {
        "PIXELS": PIXELS,
        "CLASSES": CLASSES,
        "RX_BYTES": RX_BYTES,
        "TAGS": TAGS,
        "GAP_CYCLES": GAP,
        "POLL_CYCLES": 200,
    }
    simulate("abbnn_link", "test_abbnn_link", parameters, case={"spacing": spacing, "step": 3 if spacing == 3 else 11})


def test_scores_depend_on_order():
    assert len({tuple(scores(np.roll([1, 2, 3], k))) for k in range(3)}) == 3
