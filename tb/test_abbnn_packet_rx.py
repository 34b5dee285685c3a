"""abbnn_packet_rx: packets behind and between anything, damage of every kind, each with its reason, in order."""

import cocotb
import pytest
from cocotb.triggers import ClockCycles, FallingEdge

from abbnn.host.packet import encode
from abbnn.tb.bench import Bench, load_case, rows, simulate

LINT_PARAMETERS = rows("GAP_CYCLES", (1,), (255,), (256,))
BAD_PARAMETERS = [("abbnn_packet_rx", {"GAP_CYCLES": 0}, "GAP_CYCLES_must_be_at_least_1")]

GOOD, CHECKSUM, GAP, LINE, LOST = 0, 1, 4, 5, 6
REFUSED_TYPE = 0xEE
"""The bench takes every header but those of this type."""


class Receiver:
    """Answers the offers after random delays; `events` is everything that came out, in order."""

    def __init__(self, dut):
        self.bench, self.dut = Bench(dut), dut
        self.bench.receives = False
        self.gap = int(load_case()["gap"])
        self.events = []
        self.slow = 0.0
        dut.header_ready.value = dut.header_take.value = dut.end_ready.value = 0
        cocotb.start_soon(self._watch())

    async def _watch(self):
        dut, chance = self.dut, self.bench.random.random
        while True:
            await FallingEdge(dut.clk)
            dut.header_ready.value = dut.end_ready.value = 0
            if str(dut.rst.value) != "0":
                continue
            states = [str(pin.value) for pin in (dut.header_valid, dut.end_valid, dut.m_axis_tvalid)]
            assert states.count("1") <= 1, "two things at once"
            if states[2] == "1" and dut.m_axis_tready.value == 1:
                self.events.append(int(dut.m_axis_tdata.value))
            if states[0] == "1" and chance() >= self.slow:
                kind = int(dut.header_type.value)
                self.events.append(("header", kind, int(dut.header_tag.value), int(dut.header_length.value)))
                dut.header_take.value = kind != REFUSED_TYPE
                dut.header_ready.value = 1
            if states[1] == "1" and chance() >= self.slow:
                self.events.append(("end", int(dut.end_reason.value)))
                dut.end_ready.value = 1

    def send(self, symbols):
        if symbols:
            self.bench.send(symbols)

    async def sent(self):
        """All symbols have been taken, and what they lead to has come out."""
        source = self.bench.sources["s_axis"]
        for _ in range(200_000):
            await FallingEdge(self.dut.clk)
            if source.idle() and str(self.dut.s_axis_tvalid.value) == "0":
                await ClockCycles(self.dut.clk, 30)
                return
        raise AssertionError("the input is stuck")

    async def silence(self):
        await ClockCycles(self.dut.clk, self.gap + 40)

    async def check(self, expected):
        await self.sent()
        same = next((i for i, pair in enumerate(zip(self.events, expected, strict=False)) if pair[0] != pair[1]), None)
        where = min(len(self.events), len(expected)) if same is None else same
        shown = [events[max(where - 10, 0) : where + 10] for events in (self.events, expected)]
        assert self.events == expected, f"event {where}: {shown[0]}\nin place of\n{shown[1]}"
        self.events.clear()
        self.bench.sinks["m_axis"].read_queue.clear()
        self.bench.sinks["m_axis"].clear()


def parts(random, length):
    """(bytes, header event, payload, kind, tag) of a random packet."""
    kind, tag, payload = random.randrange(0xE0), random.randrange(256), random.randbytes(length)
    return encode(kind, tag, payload), ("header", kind, tag, length), list(payload)


def noise(random, count):
    """Bytes without a header: no 4E behind an AB."""
    data = [random.choice([0xAB, 0x00, 0xFF, random.randrange(256)]) for _ in range(count)]
    return [0x4F if byte == 0x4E else byte for byte in data]


def scenario(random, gap_follows):
    """(symbols, events, whether silence has to follow) of one thing that can happen."""
    data, header, payload = parts(random, random.choice([0, 1, 2, 3, 17, 40]))
    symbols = list(data)
    what = random.choice(["good", "good", "noise", "check", "damage", "mark", "early mark", "refuse", "overlap", "cut"])
    if what == "noise":
        return noise(random, random.randrange(30)), [], False
    if what == "check":
        symbols[random.randrange(2, 9)] ^= 1 << random.randrange(8)
        # What follows a bad header is looked at for headers: nothing of it may look like one.
        return symbols[:9], [], False
    if what == "damage":
        index = random.randrange(9, len(symbols))
        symbols[index] ^= 1 << random.randrange(8)
        return symbols, [header, *symbols[9:-4], ("end", CHECKSUM)], False
    if what == "mark":
        index, reason = random.randrange(9, len(symbols)), random.choice([LINE, LOST])
        taken = symbols[9 : min(index, len(symbols) - 4)]
        return [*symbols[:index], 0x100 | reason], [header, *taken, ("end", reason)], False
    if what == "early mark":
        index = random.randrange(1, 9)
        return [*symbols[:index], 0x100 | random.choice([LINE, LOST]), *symbols[index:9]], [], False
    if what == "refuse":
        inner = encode(3, 9, b"inside")
        outer = encode(REFUSED_TYPE, 1, noise_bytes(random, 5) + inner)
        events = [("header", REFUSED_TYPE, 1, 5 + len(inner)), ("header", 3, 9, 6), *b"inside", ("end", GOOD)]
        return list(outer[:-4]), events, False
    if what == "overlap":
        return list(data[: random.randrange(1, 9)]) + symbols, [header, *payload, ("end", GOOD)], False
    if what == "cut" and gap_follows:
        index = random.randrange(9, len(symbols))
        return symbols[:index], [header, *symbols[9 : min(index, len(symbols) - 4)], ("end", GAP)], True
    return symbols, [header, *payload, ("end", GOOD)], False


def noise_bytes(random, count):
    return bytes(noise(random, count))


@cocotb.test()
async def everything(dut):
    """A long random mixture under every stall; every byte is accounted for."""
    receiver = Receiver(dut)
    random = receiver.bench.random
    await receiver.bench.reset()
    consumed, ends = 0, set()
    for idle, back_pressure in ((0.0, 0.0), (0.4, 0.0), (0.0, 0.5), (0.3, 0.4)):
        receiver.bench.stall(idle, back_pressure)
        receiver.slow = back_pressure
        expected = []
        for _ in range(60):
            # Idle bursts are far shorter than a gap.
            symbols, events, silence = scenario(random, True)
            receiver.send(symbols)
            expected += events
            consumed += sum(symbol != 0x100 | LOST for symbol in symbols)
            if silence:
                await receiver.sent()
                await receiver.silence()
        ends |= {event for event in expected if isinstance(event, tuple) and event[0] == "end"}
        await receiver.check(expected)
        assert int(dut.consumed.value) == consumed
    assert {reason for _, reason in ends} == {GOOD, CHECKSUM, GAP, LINE, LOST}, "not all of it happened"


@cocotb.test()
async def header_checked(dut):
    """Any one or two wrong bits of a header, exhaustively and at random: no packet begins."""
    receiver = Receiver(dut)
    await receiver.bench.reset()
    data = encode(4, 0x35, bytes(300))[:9]
    wrong = [(bit,) for bit in range(72)]
    wrong += [tuple(receiver.bench.random.sample(range(72), 2)) for _ in range(100)]
    for bits in wrong:
        header = bytearray(data)
        for bit in bits:
            header[bit // 8] ^= 1 << bit % 8
        receiver.send(list(header))
    await receiver.check([])
    receiver.send(list(encode(1, 2)))
    await receiver.check([("header", 1, 2, 0), ("end", GOOD)])


@cocotb.test()
async def gap(dut):
    """A pause of GAP_CYCLES ends a packet, a shorter one does not; one where the consumer waits does not count."""
    receiver = Receiver(dut)
    await receiver.bench.reset()
    data = encode(5, 1, b"abcdefgh")
    for cut in (9, 12, 17, 20):
        receiver.send(list(data[:cut]))
        await receiver.sent()
        await ClockCycles(dut.clk, receiver.gap - 40)
        receiver.send(list(data[cut:]))
        await receiver.check([("header", 5, 1, 8), *b"abcdefgh", ("end", GOOD)])
        receiver.send(list(data[:cut]))
        await receiver.sent()
        await receiver.silence()
        receiver.send(list(data))
        cut_payload = data[9 : min(cut, 17)]
        whole = [("header", 5, 1, 8), *b"abcdefgh", ("end", GOOD)]
        await receiver.check([("header", 5, 1, 8), *cut_payload, ("end", GAP), *whole])
    receiver.send(list(data))
    receiver.bench.sinks["m_axis"].pause = True
    await receiver.silence()
    await receiver.silence()
    receiver.bench.sinks["m_axis"].pause = False
    await receiver.check([("header", 5, 1, 8), *b"abcdefgh", ("end", GOOD)])


@cocotb.test()
async def longest(dut):
    """All three bytes of a length are looked at."""
    receiver = Receiver(dut)
    await receiver.bench.reset()
    for length in (0x010000, 0x000100, 0xFFFFFF):
        receiver.send(list(encode(4, 7, bytes(length))[:9]))
        await receiver.sent()
        await receiver.silence()
        await receiver.check([("header", 4, 7, length), ("end", GAP)])
    receiver.send(list(encode(4, 7, bytes(range(256)) * 3)))
    await receiver.check([("header", 4, 7, 768), *range(256), *range(256), *range(256), ("end", GOOD)])


@cocotb.test()
async def reset_in_mid_packet(dut):
    receiver = Receiver(dut)
    data = encode(5, 1, b"abcdefgh")
    for cut in (5, 12, 20):
        await receiver.bench.reset()
        receiver.send(list(data[:cut]))
        await receiver.sent()
        await receiver.bench.reset()
        receiver.events.clear()
        receiver.send(list(data))
        await receiver.check([("header", 5, 1, 8), *b"abcdefgh", ("end", GOOD)])


@cocotb.test()
async def ready_at_once(dut):
    """In reset the first byte is awaited, and behind a packet's end the next one is taken without delay."""
    receiver = Receiver(dut)
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    await FallingEdge(dut.clk)
    assert int(dut.s_axis_tready.value) == 1
    await receiver.bench.reset()
    taken = receiver.bench.transfers("s_axis")
    receiver.send([*encode(1, 2), *bytes(20)])
    for _ in range(200):
        await FallingEdge(dut.clk)
        if dut.end_valid.value == 1:
            break
    before = len(taken)
    await ClockCycles(dut.clk, 4)
    await FallingEdge(dut.clk)
    assert len(taken) > before, "nothing is taken behind a packet"
    await receiver.check([("header", 1, 2, 0), ("end", GOOD)])
    assert int(dut.consumed.value) == len(encode(1, 2)) + 20


@pytest.mark.parametrize("gap", [100, 255])
def test_packet_rx(gap):
    simulate("abbnn_packet_rx", "test_abbnn_packet_rx", {"GAP_CYCLES": gap}, case={"gap": gap})
