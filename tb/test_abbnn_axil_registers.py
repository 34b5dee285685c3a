"""abbnn_axil_registers: every address read and written over AXI4-Lite, against host/registers.py."""

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, Timer
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from abbnn.host.registers import (
    ADDRESS_BITS,
    BY_NAME,
    IRQ_LOAD_DONE,
    REGISTERS,
    STALL_OFFSET,
    Access,
    Register,
    expanded,
)
from abbnn.tb.bench import STALLS, Bench, assert_equal, load_case, pauses, rows, simulate

LATENCY_READ, LATENCY_WRITE = 3, 2
"""Cycles from an address taken to its data; from the later of address and data taken to the response."""
SOFT_CYCLES = 8
SHAPE = {"HEIGHT": 24, "WIDTH": 40, "CLASSES": 7, "LAYOUT": "32'hdeadbeef"}

LINT_PARAMETERS = rows(
    "STAGES HEIGHT WIDTH CLASSES", (1, 1, 1, 1), (8, 65535, 65535, 65535), (9, 32, 64, 10), (64, 224, 224, 1000)
)
BAD_PARAMETERS = [
    ("abbnn_axil_registers", {"STAGES": 0}, "STAGES_must_be_1_to_64"),
    ("abbnn_axil_registers", {"STAGES": 65}, "STAGES_must_be_1_to_64"),
    ("abbnn_axil_registers", {"HEIGHT": 0}, "HEIGHT_must_be_1_to_65535"),
    ("abbnn_axil_registers", {"HEIGHT": 65536}, "HEIGHT_must_be_1_to_65535"),
    ("abbnn_axil_registers", {"WIDTH": 0}, "WIDTH_must_be_1_to_65535"),
    ("abbnn_axil_registers", {"WIDTH": 65536}, "WIDTH_must_be_1_to_65535"),
    ("abbnn_axil_registers", {"CLASSES": 0}, "CLASSES_must_be_1_to_65535"),
    ("abbnn_axil_registers", {"CLASSES": 65536}, "CLASSES_must_be_1_to_65535"),
]


class AxiLite:
    """A master on `s_axil_*`, with a watch that no answer changes or goes before it is taken.

    `reset` is the reset port, `active` its level.
    """

    def __init__(self, dut, clock, reset, active, random):
        self.dut, self.clock, self.reset, self.random = dut, clock, reset, random
        self.active = int(active)
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), clock, reset, reset_active_level=active)
        write, read = self.master.write_if, self.master.read_if
        self.sources = {"aw": write.aw_channel, "w": write.w_channel, "ar": read.ar_channel}
        self.sinks = {"b": write.b_channel, "r": read.r_channel}
        for part in (write, read):
            part.log.setLevel("ERROR")
        for channel in (*self.sources.values(), *self.sinks.values()):
            channel.log.setLevel("ERROR")
        self.taken = {"aw": [], "w": [], "ar": []}
        self.answered = {"b": [], "r": []}
        self.cycle = 0
        cocotb.start_soon(self._watch())

    async def _watch(self):
        """Cycle numbers of the channels' transfers and of each answer's first cycle; stability of the answers."""
        waiting = {}
        busy = dict.fromkeys(("aw", "w", "ar"), False)
        edge = FallingEdge(self.clock)
        while True:
            await edge
            self.cycle += 1
            if int(self.reset.value) == self.active:
                waiting.clear()
                busy = dict.fromkeys(busy, False)
                continue
            for channel in self.taken:
                valid, ready = (getattr(self.dut, f"s_axil_{channel}{name}").value for name in ("valid", "ready"))
                assert not (busy[channel] and ready == 1), f"{channel}: a second one taken before the first is answered"
                if valid == 1 and ready == 1:
                    self.taken[channel].append(self.cycle)
                    busy[channel] = True
            for channel, payload in (("b", ("bresp",)), ("r", ("rdata", "rresp"))):
                valid, ready = (getattr(self.dut, f"s_axil_{channel}{name}").value for name in ("valid", "ready"))
                values = [str(getattr(self.dut, f"s_axil_{name}").value) for name in payload]
                if channel in waiting:
                    assert valid == 1, f"{channel}: withdrawn"
                    assert values == waiting[channel], f"{channel}: changed while it waited"
                elif valid == 1:
                    self.answered[channel].append(self.cycle)
                if valid == 1:
                    waiting[channel] = values
                    if ready == 1:
                        del waiting[channel]
                        for ended in ("aw", "w") if channel == "b" else ("ar",):
                            busy[ended] = False

    def pause(self, idle, back_pressure):
        """Each channel by itself; 0 is never."""
        for channels, share in ((self.sources, idle), (self.sinks, back_pressure)):
            for channel in channels.values():
                channel.clear_pause_generator()
                channel.pause = False
                if share > 0:
                    channel.set_pause_generator(pauses(share, self.random))

    async def read(self, address):
        """(value, whether it was answered with OKAY); SLVERR is the only other answer."""
        answer = await self.master.read(address, 4)
        assert answer.resp in (AxiResp.OKAY, AxiResp.SLVERR)
        return int.from_bytes(answer.data, "little"), answer.resp == AxiResp.OKAY

    async def value(self, name):
        """Of the register of that name, which must be there; "STALL[2]" is that of a stage."""
        name, _, index = name.rstrip("]").partition("[")
        value, okay = await self.read(BY_NAME[name].offset + 4 * int(index or 0))
        assert okay, f"{name} was refused"
        return value

    async def write(self, address, value, strobes=15):
        """Whether it was answered with OKAY. `strobes` are neighbouring bytes, as many writes do without any others."""
        low, count = (strobes & -strobes).bit_length() - 1, strobes.bit_count()
        assert strobes == (1 << count) - 1 << low, "cocotbext-axi writes neighbouring bytes"
        answer = await self.master.write(address + low, value.to_bytes(4, "little")[low : low + count])
        assert answer.resp in (AxiResp.OKAY, AxiResp.SLVERR)
        return answer.resp == AxiResp.OKAY

    async def set(self, name, value):
        assert await self.write(BY_NAME[name].offset, value), f"{name} was refused"


STROBES = [(1 << count) - 1 << low for low in range(4) for count in range(1, 5 - low)]
"""Every run of neighbouring bytes."""
SAID = [
    *("network", "frames", "short_frames", "long_frames", "frame_error"),
    *("ready", "loading", "loads", "load_errors"),
]
"""Inputs that registers pass on."""


class RegisterBench(Bench):
    """The registers with all that the core would tell them in the hand of the test."""

    def __init__(self, dut):
        super().__init__(dut, sources=(), sinks=())
        self.stages = int(load_case()["stages"])
        self.table = expanded(self.stages)
        self.axil = AxiLite(dut, dut.clk, dut.rst, True, self.random)
        for name in (*SAID, "stalled", "result"):
            getattr(dut, name).value = 0

    def core_says(self):
        """Drive random values that are never 0, and return what the registers that only pass them on must read."""
        random, dut = self.random, self.dut
        values = {name: random.randint(1, (1 << len(getattr(dut, name))) - 1) for name in SAID}
        for name, value in values.items():
            getattr(dut, name).value = value
        return {
            "NETWORK_LO": values["network"] & 0xFFFFFFFF,
            "NETWORK_HI": values["network"] >> 32,
            "FRAMES": values["frames"],
            "SHORT_FRAMES": values["short_frames"],
            "LONG_FRAMES": values["long_frames"],
            "LOADS": values["loads"],
            "LOAD_ERRORS": values["load_errors"],
            "STATUS": values["ready"] | values["loading"] << 1 | values["frame_error"] << 2 | 8,
        }

    def constants(self):
        return {
            "LAYOUT": 0xDEADBEEF,
            "IMAGE": SHAPE["HEIGHT"] << 16 | SHAPE["WIDTH"],
            "SHAPE": self.stages << 16 | SHAPE["CLASSES"],
            "STATUS": 0,
            "NETWORK_LO": 0,
            "NETWORK_HI": 0,
        }

    async def check_all(self, expected, addresses):
        """Every address reads its register's value, or 0 with SLVERR. CYCLES_LO is left to another test."""
        by_offset = {register.offset: register for register in self.table}
        seen = set()
        for address in addresses:
            value, okay = await self.axil.read(address)
            register = by_offset.get(address)
            assert okay == (register is not None), f"{address:03x}: {'OKAY' if okay else 'SLVERR'}"
            if register is None:
                assert value == 0, f"{address:03x} reads {value:x}"
            elif register.name != "CYCLES_LO":
                assert value == expected[register.name], (
                    f"{register.name} reads {value:x}, expected {expected[register.name]:x}"
                )
                seen.add(register.name)
        return seen


@cocotb.test()
async def reset_values(dut):
    """All 1024 words after reset, when the core says nothing and when it says something else everywhere."""
    bench = RegisterBench(dut)
    await bench.reset()
    expected = {register.name: register.reset for register in bench.table if register.reset is not None}
    expected |= bench.constants()
    words = range(0, 1 << ADDRESS_BITS, 4)
    names = {register.name for register in bench.table} - {"CYCLES_LO"}
    assert await bench.check_all(expected, words) == names
    for stalls in STALLS:
        bench.axil.pause(*stalls)
        expected |= bench.core_says()
        await ClockCycles(dut.clk, 3)
        pending = await bench.axil.value("IRQ_PENDING")
        expected["IRQ_PENDING"] = pending
        assert await bench.check_all(expected, bench.random.sample([r.offset for r in bench.table], len(names))) >= {
            "FRAMES",
            "NETWORK_HI",
        }


@cocotb.test()
async def writes(dut):
    """Random words and strobes to every register and to others: what the access kinds allow changes, nothing else."""
    bench = RegisterBench(dut)
    await bench.reset()
    expected = {register.name: register.reset for register in bench.table if register.reset is not None}
    expected |= bench.constants()
    stall_end = STALL_OFFSET + 4 * bench.stages
    foreign = [0x048, 0x04C, 0x07C, 0x080, 0x0FC, stall_end, 0x200, 0x41C, 0x424, 0x81C, 0xC28, 0xFFC]
    others = [Register("-", offset, Access.RO, 0, "") for offset in foreign]
    for event in ("short_frames", "loads"):
        getattr(dut, event).value = 1
        expected[event.upper()] = 1
    await ClockCycles(dut.clk, 4)
    expected["IRQ_PENDING"] = 0b0110
    changed = set()
    for stalls in STALLS:
        bench.axil.pause(*stalls)
        for register in [*bench.table, *others, *[BY_NAME["IRQ_ENABLE"], BY_NAME["IRQ_PENDING"]] * 12]:
            strobes = bench.random.choice(STROBES)
            value = bench.random.getrandbits(32)
            if register.name == "CONTROL":
                value &= ~1  # the soft reset has a test of its own
            okay = await bench.axil.write(register.offset, value, strobes)
            assert okay == (register.access is not Access.RO), f"{register.name} {register.offset:03x}"
            if okay and strobes & 1:
                old = expected[register.name]
                mask = register.writable & 0xFF
                new = value & mask if register.access is Access.RW else old & ~value
                if new != old:
                    changed.add(register.name)
                expected[register.name] = new
        await bench.check_all(expected, [r.offset for r in (*bench.table, *others)])
        assert expected["IRQ_PENDING"] != 0b0110
        for event, bit in (("short_frames", 2), ("loads", 4)):
            now = int(getattr(dut, event).value) + 1
            getattr(dut, event).value = now
            expected[event.upper()] = now
            expected["IRQ_PENDING"] |= bit
        await ClockCycles(dut.clk, 4)
    assert changed == {"IRQ_ENABLE", "IRQ_PENDING"}


@cocotb.test()
async def a_write_without_strobes(dut):
    """Changes nothing and is answered with OKAY."""
    bench = RegisterBench(dut)
    await bench.reset()
    await bench.axil.set("IRQ_ENABLE", 5)
    for name in ("aw", "w"):
        bench.axil.sources[name].pause = True
    for name, value in (("awaddr", 0x024), ("wdata", 0xFFFFFFFF), ("wstrb", 0), ("awvalid", 1), ("wvalid", 1)):
        getattr(dut, f"s_axil_{name}").value = value
    await RisingEdge(dut.clk)
    dut.s_axil_awvalid.value = 0
    dut.s_axil_wvalid.value = 0
    await ClockCycles(dut.clk, LATENCY_WRITE + 1)
    assert bench.axil.answered["b"], "no answer"
    assert int(dut.s_axil_bresp.value) == 0
    bench.axil.pause(0, 0)
    assert await bench.axil.value("IRQ_ENABLE") == 5


@cocotb.test()
async def order_and_latency(dut):
    """Address long before data, data long before address, and a read that passes a write in waiting."""
    bench = RegisterBench(dut)
    await bench.reset()
    axil = bench.axil
    for held in ("aw", "w"):
        axil.sources[held].pause = True
        value = bench.random.randint(1, 15)
        write = cocotb.start_soon(axil.set("IRQ_ENABLE", value))
        await ClockCycles(dut.clk, 10)
        assert not write.done()
        assert await axil.value("IRQ_ENABLE") != value
        axil.sources[held].pause = False
        await write
        assert await axil.value("IRQ_ENABLE") == value
    assert len(axil.taken["aw"]) == len(axil.taken["w"]) == len(axil.answered["b"]) == 2
    for address, data, answer in zip(axil.taken["aw"], axil.taken["w"], axil.answered["b"], strict=True):
        assert abs(address - data) > 5
        assert answer - max(address, data) == LATENCY_WRITE
    latencies = {b - a for a, b in zip(axil.taken["ar"], axil.answered["r"], strict=True)}
    assert latencies == {LATENCY_READ}
    # Both at once, neither waits for the other: the write's answer is held, reads go on, and the other way round.
    axil.sinks["b"].pause = True
    write = cocotb.start_soon(axil.set("IRQ_ENABLE", 9))
    await ClockCycles(dut.clk, 5)
    assert await axil.value("IRQ_ENABLE") == 9
    assert not write.done()
    axil.sinks["b"].pause = False
    await write
    axil.sinks["r"].pause = True
    read = cocotb.start_soon(axil.value("IRQ_ENABLE"))
    await ClockCycles(dut.clk, 5)
    await axil.set("IRQ_ENABLE", 6)
    assert not read.done()
    axil.sinks["r"].pause = False
    assert await read == 9


@cocotb.test()
async def stall_counters(dut):
    """Each counts its own bit's cycles, stops at the greatest value, and is cleared by the soft reset."""
    bench = RegisterBench(dut)
    await bench.reset()
    rng = bench.numpy_random
    shares = rng.random(bench.stages)
    totals = np.zeros(bench.stages, np.int64)
    for _ in range(200):
        bits = rng.random(bench.stages) < shares
        totals += bits
        dut.stalled.value = sum(1 << i for i, bit in enumerate(bits) if bit)
        await RisingEdge(dut.clk)
    dut.stalled.value = 0
    await ClockCycles(dut.clk, 2)

    async def counts():
        return np.array([await bench.axil.value(f"STALL[{i}]") for i in range(bench.stages)])

    assert_equal(await counts(), totals, "stage")
    greatest = (1 << 32) - 1
    for stage in {0, bench.stages - 1}:
        counter = dut.gen_stage[stage].gen_counter.count_reg
        for left, stalled in ((3, 3), (3, 4), (2, 9)):
            await FallingEdge(dut.clk)
            counter.value = greatest - left
            await RisingEdge(dut.clk)
            dut.stalled.value = 1 << stage
            await ClockCycles(dut.clk, stalled)
            dut.stalled.value = 0
            await ClockCycles(dut.clk, 2)
            assert await bench.axil.value(f"STALL[{stage}]") == greatest - left + min(left, stalled)
            assert int(counter.value) <= greatest + 1, "counts on behind the end"
    await bench.axil.set("CONTROL", 1)
    await ClockCycles(dut.clk, SOFT_CYCLES)
    assert_equal(await counts(), np.zeros(bench.stages, np.int64), "stage")


@cocotb.test()
async def cycle_counter(dut):
    """CYCLES_LO, then CYCLES_HI is the number of cycles at one moment, over a carry as well."""
    bench = RegisterBench(dut)
    await bench.reset()
    axil = bench.axil

    async def both():
        """(cycle in which the address was taken, the 64-bit number)"""
        low = await axil.value("CYCLES_LO")
        taken = axil.taken["ar"][-1]
        await ClockCycles(dut.clk, bench.random.randint(1, 20))
        return taken, await axil.value("CYCLES_HI") << 32 | low

    assert await axil.value("CYCLES_HI") == 0
    start, first = await both()
    assert first < start + 8
    for stalls in STALLS:
        axil.pause(*stalls)
        taken, number = await both()
        assert number - first == taken - start
    axil.pause(0, 0)
    carried = 0
    for ahead in range(2, 20):
        await FallingEdge(dut.clk)
        dut.cycles_lo_reg.value = (1 << 32) - ahead
        dut.cycles_hi_reg.value = 41
        await Timer(1, "ns")
        start = axil.cycle
        for _ in range(3):
            taken, number = await both()
            since = (number - (42 << 32) + ahead) - (taken - start)
            assert since == 1, f"{number:x}, {taken - start} cycles after {(42 << 32) - ahead:x}"
            carried += number >> 32 == 42
    assert 18 < carried < 54, f"{carried} of 54 were behind the carry"
    await axil.set("CONTROL", 1)
    set_at = axil.answered["b"][-1]
    await ClockCycles(dut.clk, 2 * SOFT_CYCLES)
    taken, number = await both()
    assert number == taken - set_at - SOFT_CYCLES + 1


@cocotb.test()
async def interrupts(dut):
    """Each event sets its bit alone; irq follows the enabled; an event in the cycle of a clearing write stays."""
    bench = RegisterBench(dut)
    await bench.reset()
    axil = bench.axil

    async def happens(bit, cause):
        if cause == "result":
            dut.result.value = 1
            await RisingEdge(dut.clk)
            dut.result.value = 0
        else:
            counter = getattr(dut, cause)
            counter.value = int(counter.value) + 1
            await RisingEdge(dut.clk)

    async def later(cycles):
        """Counts a load after these cycles; returns the cycle of the change."""
        await ClockCycles(dut.clk, cycles + 1)
        await happens(4, "loads")
        return axil.cycle

    causes = [(1, "result"), (2, "short_frames"), (2, "long_frames"), (4, "loads"), (8, "load_errors")]
    for _ in range(2):
        for bit, cause in causes:
            await happens(bit, cause)
            await ClockCycles(dut.clk, 4)
            assert await axil.value("IRQ_PENDING") == bit, cause
            assert int(dut.irq.value) == 0
            for enabled in (15 & ~bit, bit, 15):
                await axil.set("IRQ_ENABLE", enabled)
                await ClockCycles(dut.clk, 2)
                assert int(dut.irq.value) == bool(enabled & bit), f"{cause}, enabled {enabled:x}"
            await axil.set("IRQ_PENDING", 15 & ~bit)
            assert await axil.value("IRQ_PENDING") == bit
            await axil.set("IRQ_PENDING", bit)
            assert await axil.value("IRQ_PENDING") == 0
            await ClockCycles(dut.clk, 2)
            assert int(dut.irq.value) == 0
            await axil.set("IRQ_ENABLE", 0)
    # An event at every distance from the clearing write: before it, it is cleared, with it or behind it, it stays.
    outcomes = []
    for delay in range(12):
        await ClockCycles(dut.clk, 1)
        event = cocotb.start_soon(later(delay))
        await ClockCycles(dut.clk, 5)
        await axil.set("IRQ_PENDING", IRQ_LOAD_DONE)
        happened = await event
        written = axil.answered["b"][-1]
        await ClockCycles(dut.clk, 4)
        outcomes.append((happened - written, await axil.value("IRQ_PENDING")))
        await axil.set("IRQ_PENDING", IRQ_LOAD_DONE)
    values = [value for _, value in sorted(outcomes)]
    assert values == sorted(values), outcomes
    assert values[0] == 0, outcomes
    assert values[-1] == 4, outcomes
    assert all((value == 4) == (distance >= -2) for distance, value in outcomes), outcomes
    # Counters that go back to 0 or stand at the end have not counted.
    for name in ("short_frames", "long_frames", "loads", "load_errors"):
        for value in (3, 0, 0xFFFE):
            getattr(dut, name).value = value
            await ClockCycles(dut.clk, 4)
            if value:
                await axil.set("IRQ_PENDING", 15)
        getattr(dut, name).value = 0xFFFF
        await ClockCycles(dut.clk, 4)
        assert await axil.value("IRQ_PENDING") != 0
        await axil.set("IRQ_PENDING", 15)
        getattr(dut, name).value = 0
        await ClockCycles(dut.clk, 4)
        assert await axil.value("IRQ_PENDING") == 0, name


@cocotb.test()
async def soft_reset(dut):
    """Eight cycles for each write of 1, CONTROL reads 1 meanwhile; the interrupt registers stay."""
    bench = RegisterBench(dut)
    await bench.reset()
    axil = bench.axil
    await axil.set("IRQ_ENABLE", 10)
    dut.result.value = 1
    await RisingEdge(dut.clk)
    dut.result.value = 0
    high = []

    async def watch():
        while True:
            await FallingEdge(dut.clk)
            if int(dut.soft_rst.value):
                high.append(axil.cycle)

    cocotb.start_soon(watch())
    assert await axil.write(BY_NAME["CONTROL"].offset, 1, 2)
    assert await axil.write(BY_NAME["CONTROL"].offset, 0xFFFFFFFE)
    await ClockCycles(dut.clk, 10)
    assert not high
    for times in range(3):
        await axil.set("CONTROL", 0xFFFFFFFF)
        assert await axil.value("CONTROL") == 1
        await ClockCycles(dut.clk, 2 * SOFT_CYCLES)
        assert await axil.value("CONTROL") == 0
        assert len(high) == SOFT_CYCLES * (times + 1)
        assert high[-1] - high[-SOFT_CYCLES] == SOFT_CYCLES - 1
    assert await axil.value("IRQ_ENABLE") == 10
    assert await axil.value("IRQ_PENDING") == 1


@cocotb.test()
async def reset_in_mid_access(dut):
    """A reset drops what is under way on either channel and brings every register back."""
    bench = RegisterBench(dut)
    await bench.reset()
    axil = bench.axil
    for cycles in range(1, 7):
        for channel in axil.sinks.values():
            channel.pause = cycles % 2 == 0
        await axil.set("IRQ_ENABLE", 15) if cycles % 2 else None
        axil.master.init_write(BY_NAME["IRQ_ENABLE"].offset, bytes([7, 0, 0, 0]))
        axil.master.init_read(BY_NAME["ID"].offset, 4)
        await ClockCycles(dut.clk, cycles)
        dut.rst.value = 1
        await ClockCycles(dut.clk, 2)
        await FallingEdge(dut.clk)
        for name in ("awready", "wready", "bvalid", "arready", "rvalid"):
            assert int(getattr(dut, f"s_axil_{name}").value) == 0, name
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        axil.pause(0, 0)
        await ClockCycles(dut.clk, 12)
        assert await axil.value("IRQ_ENABLE") == 0
        assert await axil.value("CYCLES_HI") == 0


@pytest.mark.parametrize("stages", [1, 2, 8, 9, 20, 64])
def test_abbnn_axil_registers(stages):
    assert [register.offset for register in REGISTERS] == sorted(register.offset for register in REGISTERS)
    parameters = {"STAGES": stages, **{name: value for name, value in SHAPE.items() if name != "LAYOUT"}}
    simulate(
        "abbnn_axil_registers",
        "test_abbnn_axil_registers",
        {**parameters, "LAYOUT": 0xDEADBEEF},
        case={"stages": stages},
    )
