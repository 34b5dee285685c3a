"""What became of a design's memories in the mapped netlist, and whether the initialised ones still hold their words.

The contents are read back through the netlist itself, without Yosys' mapping rules or cell names: for every address at
once the value of the register that a read goes to is computed from the address register's nets, through LUTs, muxes and
flip-flops, down to the INIT bits of block RAMs, whose order is the vendor's (UG473, FPGA-TN-02204). So a wrong pin, a
swapped address line, a lost bit and a flipped INIT bit all show. Which register and which address belong to a $readmemh
file is read from the Verilog source. (Yosys' library has RAMB36E1 and DP16KD as shells that do not simulate.)
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbnn import verilog
from abbnn.errors import UserError
from abbnn.syn.cells import FAMILIES
from abbnn.syn.yosys import Synthesis, own_cells, source_name

Net = int | str
"""A net of Yosys' JSON: a number, or a constant "0", "1", "x"."""

Bits = NDArray[np.uint8]
"""Value of one net for every address."""

UNDEFINED = 2
"""In `Bits`: an INIT bit that says nothing, or a value that depends on more than the address."""

CONSTANTS = {"0": 0, "1": 1, "x": UNDEFINED}


NO_READER = "not read back: of this family nothing here can"


@dataclass(frozen=True)
class Read:
    """`word <= memory[address]` of a module, where `$readmemh` fills the memory from the file of `parameter`."""

    parameter: str
    memory: str
    address: str
    """Signal that the memory is read at."""
    word: str
    enables: tuple[str, ...]
    """Signals that are high while a word is read."""


@functools.cache
def reads(module: str) -> tuple[Read, ...]:
    """The initialised memories of a module of rtl/. ValueError if one is read in another way."""
    text = verilog.file(module).read_text()
    result = []
    for parameter, memory in re.findall(r"\$readmemh\((\w+), (\w+)\)", text):
        found = list(re.finditer(rf"(\w+)\s*<=\s*{memory}\[(\w+)\];", text))
        if len(found) != 1:
            raise UserError(f"{module}: {memory} is not read by one register")
        word, address = found[0].groups()
        condition = re.findall(r"\bif \((.*)\) begin\n", text[: found[0].start()])[-1]
        result.append(Read(parameter, memory, address, word, tuple(re.findall(r"\w+", condition))))
    return tuple(result)


@dataclass(frozen=True)
class MemoryReport:
    """One memory of one module. Every figure is of one instance."""

    module: str
    memory: str
    instances: int
    depth: int
    width: int
    """Bits of a word, as the file has it; of a memory without one, what Yosys kept of it."""
    where: str
    """"block" RAM, "lut" (distributed RAM, or logic of an initialised one), or "registers"."""
    blocks: float
    """Block RAMs, a half as 0.5."""
    file: str | None = None
    check: str = ""
    """Of an initialised memory: "equal", or what differs, or why its contents could not be read back."""

    @property
    def bits(self) -> int:
        return self.depth * self.width

    @property
    def wrong(self) -> bool:
        """Whether contents in block RAM are not proven equal, or any contents differ."""
        unproven = self.where == "block" and self.check not in ("equal", NO_READER)
        return self.file is not None and (unproven or "differ" in self.check)


class UnreadableError(ValueError):
    """What the contents of a memory cannot be read back through."""


@dataclass
class Cone:
    """Values of a module's nets as functions of the address, all addresses at once.

    There are two points in time: before the clock edge of a read, when `known` holds, and after it, when the word is in
    its register. Flip-flops and block RAMs lead from one to the other.
    """

    module: Mapping[str, Any]
    known: dict[Net, Bits]
    """Nets before the edge: constants, address bits, and the enables of what the word comes from, which are on."""
    blocks: set[str] = field(default_factory=set)
    """Names of the block RAMs that a value came from."""
    _after: dict[Net, Bits] = field(default_factory=dict)

    @functools.cached_property
    def drivers(self) -> Mapping[Net, tuple[str, str, int]]:
        """Net to (cell, port, bit of the port)."""
        return {
            net: (name, port, index)
            for name, cell in self.module["cells"].items()
            for port, nets in cell["connections"].items()
            if cell["port_directions"][port] == "output"
            for index, net in enumerate(nets)
        }

    def enable(self, word: Sequence[Net]) -> None:
        """Take the enables of the registers of `word` as on: a read that happens is what is looked at."""
        todo, seen = list(word), set()
        while todo:
            net = todo.pop()
            if net in seen or net not in self.drivers:
                continue
            seen.add(net)
            cell = self.module["cells"][self.drivers[net][0]]
            pins = cell["connections"]
            if cell["type"] in COMBINATIONAL:
                todo += [each for port in pins if cell["port_directions"][port] == "input" for each in pins[port]]
                continue
            for port in ("CE", "ENARDEN", "ENBWREN", "CEA", "CEB"):
                for each in pins.get(port, ()):
                    self.known.setdefault(each, self.known["1"])

    def after(self, net: Net) -> Bits:
        if isinstance(net, str):
            return self.known[net]
        if net not in self._after:
            self._after[net] = self.known["x"]
            if net in self.drivers:
                name, port, index = self.drivers[net]
                cell = self.module["cells"][name]
                clocked = self._clocked(name, cell, port, index)
                self._after[net] = self._combinational(cell, self.after) if clocked is None else clocked
        return self._after[net]

    def before(self, net: Net) -> Bits:
        if net not in self.known:
            self.known[net] = self.known["x"]
            if net in self.drivers:
                self.known[net] = self._combinational(self.module["cells"][self.drivers[net][0]], self.before)
        return self.known[net]

    def _number(self, nets: Sequence[Net]) -> NDArray[np.int64]:
        """The number that `nets`, lowest first, hold before the edge. UnreadableError if a bit is undefined."""
        result = np.zeros(len(self.known["0"]), np.int64)
        for position, net in enumerate(nets):
            bits = self.before(net)
            if (bits == UNDEFINED).any():
                raise UnreadableError(f"the address does not decide net {net}")
            result |= bits.astype(np.int64) << position
        return result

    def _clocked(self, name: str, cell: Mapping[str, Any], port: str, index: int) -> Bits | None:
        """The value that a flip-flop or block RAM takes up; None for any other cell."""
        kind, pins, parameters = cell["type"], cell["connections"], cell["parameters"]
        if kind in FLIP_FLOPS:
            reset, data, set_value = FLIP_FLOPS[kind]
            value = parameters.get("REGSET", "SET" if set_value else "RESET") == "SET"
            if parameters.get("LSRMUX", "LSR") != "LSR":
                raise UnreadableError(f"{name}: LSRMUX is {parameters['LSRMUX']}")
            # A reset by the address is part of the contents.
            table = "1110" if value else "0100"
            return _lookup(table, [self.before(pins[reset][0]), self.before(pins[data][0])])
        if kind in ("RAMB36E1", "RAMB18E1"):
            row = _ramb(kind, pins, parameters, port, index)
        elif kind == "DP16KD":
            row = _dp16kd(pins, parameters, port)
        else:
            return None
        self.blocks.add(name)
        if self._number(row.reset).any():
            raise UnreadableError(f"{name} is reset while it is read")
        return row.contents[self._number(row.address)]

    def _combinational(self, cell: Mapping[str, Any], value: Callable[[Net], Bits]) -> Bits:
        """UNDEFINED for cells that are no logic."""
        kind, pins = cell["type"], cell["connections"]
        if kind not in COMBINATIONAL:
            return self.known["x"]
        ports, init = COMBINATIONAL[kind]
        if "A" in pins:  # the ECP5's LUT4
            ports = "ABCD"
        return _lookup(init or cell["parameters"]["INIT"], [value(pins[port][0]) for port in ports])


COMBINATIONAL: Mapping[str, tuple[Sequence[str], str]] = {
    **{f"LUT{width}": ([f"I{index}" for index in range(width)], "") for width in range(1, 7)},
    "MUXF7": (("I0", "I1", "S"), "11001010"),
    "MUXF8": (("I0", "I1", "S"), "11001010"),
    "INV": (("I",), "01"),
}
"""Cell to its inputs, lowest first, and its truth table, that of all ones first; "" for a cell with one of its own."""

FLIP_FLOPS = {"FDRE": ("R", "D", False), "FDSE": ("S", "D", True), "TRELLIS_FF": ("LSR", "DI", False)}
"""Flip-flop to its reset, its data, and whether the reset sets it."""


def _lookup(init: str, inputs: Sequence[Bits]) -> Bits:
    """A truth table. An undefined input makes the result undefined where it matters."""
    table = _bits(init)
    if not any((bits == UNDEFINED).any() for bits in inputs):
        index = np.zeros(len(inputs[0]), np.int64)
        for position, bits in enumerate(inputs):
            index |= bits.astype(np.int64) << position
        return table[index]
    can_be = np.zeros((3, len(inputs[0])), bool)
    for row, entry in enumerate(table):
        agree = [(bits == (row >> position & 1)) | (bits == UNDEFINED) for position, bits in enumerate(inputs)]
        can_be[entry] |= np.logical_and.reduce(agree)
    undefined = can_be[UNDEFINED] | (can_be[0] & can_be[1])
    return np.where(undefined, np.uint8(UNDEFINED), can_be[1].astype(np.uint8))


def _bits(text: str) -> Bits:
    """A parameter's bits, lowest first."""
    characters = np.frombuffer(text.encode("ascii"), np.uint8)[::-1]
    return np.where(characters > ord("1"), UNDEFINED, characters - ord("0")).astype(np.uint8)


def _concatenated(parameters: Mapping[str, str], prefix: str, width: int) -> Bits:
    """INIT parameters `prefix`00, 01, ... in hexadecimal, each of `width` bits."""
    names = sorted(name for name in parameters if re.fullmatch(rf"{prefix}[0-9A-F]{{2}}", name))
    return np.concatenate([_bits(parameters[name])[:width] for name in names])


@dataclass(frozen=True)
class Row:
    """One output bit of a block RAM."""

    contents: Bits
    """By address."""
    address: Sequence[Net]
    reset: Sequence[Net]


def _ramb(kind: str, pins: Mapping[str, Sequence[Net]], parameters: Mapping[str, str], port: str, index: int) -> Row:
    """An output bit of a RAMB36E1 or RAMB18E1, after UG473.

    A word of 9 * 2**n bits has 8 * 2**n data bits, which lie one behind the other in INIT, and 2**n parity bits in
    INITP. The address pins count data bits; those inside a word are not looked at. A word of the full simple dual-port
    width comes out of both data ports at port A's address.
    """
    if any(parameters.get(f"RAM_EXTENSION_{side}", "NONE") != "NONE" for side in "AB"):
        raise UnreadableError(f"cascaded {kind}")
    address_bits, port_width = (15, 36) if kind == "RAMB36E1" else (14, 18)
    read_a = int(parameters["READ_WIDTH_A"], 2)
    both = read_a == 2 * port_width
    parity = port in ("DOPADOP", "DOPBDOP")
    second = port in ("DOBDO", "DOPBDOP")
    width = read_a if both or not second else int(parameters["READ_WIDTH_B"], 2)
    if parameters["DOB_REG" if second and not both else "DOA_REG"].strip("0"):
        raise UnreadableError(f"{kind} with an output register")
    address = pins["ADDRBWRADDR" if second and not both else "ADDRARDADDR"][:address_bits]
    data_width = width * 8 // 9 if width % 9 == 0 else width
    if both and second:
        index += port_width // 9 if parity else port_width * 8 // 9
    row_width, contents = (
        (width // 9, _concatenated(parameters, "INITP_", 256))
        if parity
        else (data_width, _concatenated(parameters, "INIT_", 256))
    )
    if width == 0 or index >= row_width:
        raise UnreadableError(f"{kind}: {port}[{index}] is no output of {width} bits")
    reset = pins["RSTRAMB" if second and not both else "RSTRAMARSTRAM"]
    return Row(contents.reshape(-1, row_width)[:, index], address[data_width.bit_length() - 1 :], reset)


def _dp16kd(pins: Mapping[str, Sequence[Net]], parameters: Mapping[str, str], port: str) -> Row:
    """An output bit of a DP16KD, after FPGA-TN-02204.

    1,024 rows of 18 bits, each in 20 bits of INITVAL. The address counts bits, without parity bits: words of 9 are
    halves of a row, those of 4, 2 and 1 lie in a half's lower 8 bits. A word of 36 is two rows, the lower first; it is
    read at port B's address, its lower half comes out of port A.
    """
    side, index = port[2], int(port[3:])
    wide = int(parameters["DATA_WIDTH_B"], 2) == 36
    width = int(parameters[f"DATA_WIDTH_{side}"], 2)
    if parameters["REGMODE_B" if wide else f"REGMODE_{side}"] != "NOREG":
        raise UnreadableError("DP16KD with an output register")
    address = [pins[f"AD{'B' if wide else side}{bit}"][0] for bit in range(14)]
    reset = pins[f"RST{'B' if wide else side}"]
    rows = _concatenated(parameters, "INITVAL_", 320).reshape(-1, 20)[:, :18]
    if wide:
        return Row(rows.reshape(-1, 36)[:, index if side == "A" else index + 18], address[5:], reset)
    if index >= width:
        raise UnreadableError(f"DP16KD: {port} is no output of {width} bits")
    if width >= 9:
        return Row(rows.reshape(-1, width)[:, index], address[4 if width == 18 else 3 :], reset)
    return Row(rows.reshape(-1, 9)[:, :8].reshape(-1, width)[:, index], address[width.bit_length() - 1 :], reset)


# ---- one design -----------------------------------------------------------------------------------------------------


def _net(module: Mapping[str, Any], name: str) -> list[Net]:
    """Nets of the signal `name`, in whatever generate block it is. UnreadableError if it is gone."""
    for full, net in module["netnames"].items():
        if full == name or full.endswith(f".{name}"):
            bits: list[Net] = net["bits"]
            return bits
    raise UnreadableError(f"signal {name} is gone")


def _whole(module: Mapping[str, Any], net: list[Net], width: int) -> list[Net]:
    """`net`, or the signal of `width` bits that begins with it. UnreadableError if there is none.

    Of two names for a register Yosys' wreduce may leave one with its lower bits only.
    """
    if len(net) == width:
        return net
    for signal in module["netnames"].values():
        bits: list[Net] = signal["bits"]
        if len(bits) == width and bits[: len(net)] == net:
            return bits
    raise UnreadableError(f"only {len(net)} bits of {width} have a name")


def _file(module: Mapping[str, Any], parameter: str) -> str:
    """A text parameter's value; Yosys gives one that was computed as the bits of its characters."""
    text: str = module.get("parameter_default_values", {}).get(parameter, "")
    if text and len(text) % 8 == 0 and set(text) <= {"0", "1"}:
        return int(text, 2).to_bytes(len(text) // 8, "big").lstrip(b"\0").decode("ascii")
    return text.strip(" ")


def read_back(module: Mapping[str, Any], read: Read, words: Sequence[int], width: int) -> tuple[str, set[str]]:
    """(what `MemoryReport.check` says, the block RAMs that the words come from)."""
    addresses = np.arange(len(words))
    constants: dict[Net, Bits] = {text: np.full(len(words), value, np.uint8) for text, value in CONSTANTS.items()}
    cone = Cone(module, constants)
    expected = np.array([[word >> bit & 1 for bit in range(width)] for word in words], np.uint8)
    try:
        word = _whole(module, _net(module, read.word), width)
        with contextlib.suppress(UnreadableError):  # a single word has no address
            for position, net in enumerate(_net(module, read.address)):
                cone.known.setdefault(net, (addresses >> position & 1).astype(np.uint8))
        for name in read.enables:
            for net in _net(module, name):
                cone.known.setdefault(net, constants["1"])
        cone.enable(word)
        found = np.stack([cone.after(net) for net in word], axis=1)
    except UnreadableError as error:
        return f"not read back: {error}", cone.blocks
    undefined = int((found == UNDEFINED).sum())
    if undefined:
        return f"not read back: {undefined} bits depend on more than the address", cone.blocks
    differing = int((found != expected).sum())
    if not differing:
        return "equal", cone.blocks
    address, bit = np.argwhere(found != expected)[0]
    return f"{differing} bits differ, the first at address {address}, bit {bit}", cone.blocks


def memories(
    synthesis: Synthesis, family: str, contents: Mapping[str, tuple[Sequence[int], int]]
) -> list[MemoryReport]:
    """All memories of the design. `contents`: file name to (words, bits of a word).

    ValueError if a block RAM belongs to no memory.
    """
    description = FAMILIES[family]
    result = []
    for name, times in synthesis.instances.items():
        coarse, mapped = synthesis.coarse.get(name), synthesis.mapped[name]
        module = source_name(name)
        costs = {cell: description.cost(kind) for cell, kind in own_cells(synthesis.mapped, name).items()}
        left = {cell for cell, cost in costs.items() if cost.bram}
        filled = set()
        for read in reads(module) if module in verilog.modules() else ():
            file = _file(mapped, read.parameter)
            if not file:
                continue
            words, width = contents[file]
            check, blocks = read_back(mapped, read, words, width)
            # Named after the memory, should its contents not lead to them.
            blocks = blocks | {cell for cell in left if _belongs(cell, read.memory)}
            left -= blocks
            filled.add(read.memory)
            used = sum(costs[cell].bram for cell in blocks)
            where = "block" if blocks else "lut"
            if blocks and not description.readable:
                check = NO_READER
            result.append(MemoryReport(module, read.memory, times, len(words), width, where, used, file, check))
        for cell in (coarse or {"cells": {}})["cells"].values():
            if not cell["type"].startswith("$mem"):
                continue
            memory = cell["parameters"]["MEMID"].lstrip("\\")
            if memory.rpartition(".")[2] in filled:
                continue
            blocks = {each for each in left if _belongs(each, memory)}
            left -= blocks
            spread = any(cost.lut_memory and _belongs(each, memory) for each, cost in costs.items())
            where = "block" if blocks else "lut" if spread else "registers"
            depth, width = (int(cell["parameters"][key], 2) for key in ("SIZE", "WIDTH"))
            used = sum(costs[each].bram for each in blocks)
            result.append(MemoryReport(module, memory, times, depth, width, where, used))
        if left:
            raise UserError(f"{module}: block RAM {sorted(left)[0]} belongs to no memory of it")
    return result


def _belongs(cell: str, memory: str) -> bool:
    """Yosys names the cells of a memory after it."""
    return re.search(rf"(^|\.){re.escape(memory)}\.\d+\.\d+", cell) is not None
