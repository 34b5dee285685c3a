"""abbnn_link_tx: answers, credits and results as whole packets, in the order of their preference; nothing lost."""

import struct

import cocotb
import pytest
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge

from abbnn.host.packet import Decoder, Packet, Type
from abbnn.tb.bench import STALLS, Bench, load_case, rows, simulate

LINT_PARAMETERS = rows("CLASSES CREDIT_BYTES", (1, 1), (1000, 16))
BAD_PARAMETERS = [
    ("abbnn_link_tx", {"CLASSES": 0}, "CLASSES_must_be_at_least_1"),
    ("abbnn_link_tx", {"CREDIT_BYTES": 0}, "CREDIT_BYTES_must_be_at_least_1"),
]


class Sender:
    def __init__(self, dut):
        self.bench, self.dut = Bench(dut, sources=("s_axis", "s_tag")), dut
        case = load_case()
        self.classes, self.credit = int(case["classes"]), int(case["credit"])
        self.decoder = Decoder()
        dut.answer_valid.value = dut.hold.value = dut.drop.value = dut.consumed.value = 0

    def packets(self):
        """What has come since the last call; everything is part of a packet."""
        sink = self.bench.sinks["m_axis"]
        found = self.decoder.feed(bytes(sink.read_nowait()))
        assert self.decoder.skipped == 0
        return found

    async def quiet(self):
        """Until the line has been silent for longer than any stall lasts."""
        sink, seen = self.bench.sinks["m_axis"], -1
        for _ in range(1000):
            await ClockCycles(self.dut.clk, 100)
            if sink.count() == seen:
                return
            seen = sink.count()
        raise AssertionError("the line does not fall silent")

    async def answer(self, kind, tag, payload):
        dut = self.dut
        await FallingEdge(dut.clk)
        dut.answer_type.value, dut.answer_tag.value, dut.answer_length.value = kind, tag, len(payload)
        dut.answer_data.value = int.from_bytes(payload, "little")
        dut.answer_valid.value = 1
        for _ in range(20_000):
            await RisingEdge(dut.clk)
            if dut.answer_ready.value == 1:
                await FallingEdge(dut.clk)
                dut.answer_valid.value = 0
                return
        raise AssertionError("the answer is not taken")

    def result(self, tag):
        """Queue one; the packet that it has to become."""
        words = [self.bench.random.getrandbits(32) for _ in range(self.classes + 1)]
        self.bench.send(words)
        self.bench.send([tag], "s_tag")
        return Packet(Type.RESULT, tag, struct.pack(f"<{len(words)}I", *words))


@cocotb.test()
async def all_three(dut):
    sender = Sender(dut)
    random = sender.bench.random
    await sender.bench.reset()
    consumed = 0
    for idle, back_pressure in STALLS:
        sender.bench.stall(idle, back_pressure)
        answers, results, credits = [], [], []
        for _ in range(30):
            what = random.choice(["answer", "result", "consumed"])
            if what == "answer":
                payload = random.randbytes(random.choice([0, 1, 2, 4, 16]))
                answers.append(Packet(random.randrange(0x80, 0x84), random.randrange(256), payload))
                await sender.answer(answers[-1].type, answers[-1].tag, payload)
            elif what == "result":
                results.append(sender.result(random.randrange(256)))
            else:
                consumed += sender.credit + random.randrange(3)
                await FallingEdge(dut.clk)
                dut.consumed.value = consumed
                credits.append(consumed)
                await ClockCycles(dut.clk, random.choice([10, 400]))
        await sender.quiet()
        found = sender.packets()
        assert [p for p in found if p.type == Type.RESULT] == results
        assert [p for p in found if p.type != Type.RESULT and p.type != Type.CREDIT] == answers
        seen = [int.from_bytes(p.payload, "little") for p in found if p.type == Type.CREDIT]
        assert seen == sorted(set(seen)), "a credit twice, or late"
        assert set(seen) <= set(credits)
        assert seen[-1:] == credits[-1:], "the last credit is missing"
    await sender.bench.silent()


@cocotb.test()
async def small_growth(dut):
    """Less than CREDIT_BYTES is no credit; what has added up is; the count wraps around."""
    sender = Sender(dut)
    await sender.bench.reset()
    dut.consumed.value = sender.credit - 1
    await sender.quiet()
    assert sender.packets() == []
    dut.consumed.value = sender.credit
    await sender.quiet()
    assert sender.packets() == [Packet(Type.CREDIT, 0, struct.pack("<I", sender.credit))]
    for count in (0xFFFFFFF0, 2 * sender.credit):
        dut.consumed.value = count
        await sender.quiet()
        assert sender.packets() == [Packet(Type.CREDIT, 0, struct.pack("<I", count))]


@cocotb.test()
async def preference(dut):
    """With all three waiting: answer, credit, result."""
    sender = Sender(dut)
    await sender.bench.reset()
    sender.bench.sinks["m_axis"].pause = True
    first = sender.result(1)
    await ClockCycles(dut.clk, 20)
    second = sender.result(2)
    cocotb.start_soon(sender.answer(0x81, 3, b"abc"))
    dut.consumed.value = 5 * sender.credit
    await ClockCycles(dut.clk, 20)
    sender.bench.sinks["m_axis"].pause = False
    await sender.quiet()
    credit = Packet(Type.CREDIT, 0, struct.pack("<I", 5 * sender.credit))
    assert sender.packets() == [first, Packet(0x81, 3, b"abc"), credit, second]


@cocotb.test()
async def hold(dut):
    """A result under way ends, idle tells when, and none begins; not a word of a withheld one is taken."""
    sender = Sender(dut)
    await sender.bench.reset()
    moved = sender.bench.transfers("s_axis")
    first, second = sender.result(1), sender.result(2)
    for _ in range(1000):
        if moved:
            break
        await FallingEdge(dut.clk)
    assert moved, "the result does not begin"
    assert dut.idle.value == 0
    dut.hold.value = 1
    await sender.quiet()
    assert dut.idle.value == 1
    assert sender.packets() == [first]
    assert len(moved) == sender.classes + 1
    await sender.answer(0x83, 9, b"")
    await sender.quiet()
    assert sender.packets() == [Packet(0x83, 9)]
    dut.hold.value = 0
    await sender.quiet()
    assert sender.packets() == [second]


@cocotb.test()
async def drop(dut):
    """What comes while drop is high goes nowhere, and its tag stays."""
    sender = Sender(dut)
    await sender.bench.reset()
    moved = sender.bench.transfers("s_axis")
    dut.hold.value = 1
    sender.bench.send([1, 0xFFFFFFFF])
    await sender.quiet()
    assert not moved
    dut.drop.value = 1
    await ClockCycles(dut.clk, 6)
    dut.drop.value = 0
    assert len(moved) == 2
    result = sender.result(5)
    dut.hold.value = 0
    await sender.quiet()
    assert sender.packets() == [result]


@cocotb.test()
async def no_tag(dut):
    """A result without a tag waits for one."""
    sender = Sender(dut)
    await sender.bench.reset()
    sender.bench.send(range(sender.classes + 1))
    await sender.quiet()
    assert sender.packets() == []
    sender.bench.send([77], "s_tag")
    await sender.quiet()
    payload = struct.pack(f"<{sender.classes + 1}I", *range(sender.classes + 1))
    assert sender.packets() == [Packet(Type.RESULT, 77, payload)]


@pytest.mark.parametrize(("classes", "credit"), [(1, 1), (10, 1008), (60, 40)])
def test_link_tx(classes, credit):
    parameters = {"CLASSES": classes, "CREDIT_BYTES": credit}
    simulate("abbnn_link_tx", "test_abbnn_link_tx", parameters, case={"classes": classes, "credit": credit})
