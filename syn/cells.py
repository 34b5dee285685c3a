"""What a mapped cell costs, for each FPGA family, and what each module of rtl/ is there for.

LUTs are counted one a cell: two functions that a vendor's tool would pack into one 6-input LUT count as two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from abbnn.errors import UserError


@dataclass(frozen=True)
class Resources:
    """What cells occupy. `bram` counts blocks of the family, a half of a RAMB36E1 as 0.5."""

    lut: int = 0
    ff: int = 0
    bram: float = 0
    dsp: int = 0
    carry: int = 0
    """Carry cells: CARRY4, CCU2C, SB_CARRY, ALU."""
    lut_memory: int = 0
    """Those LUTs among `lut` that are memory: distributed RAM and shift registers."""
    carry_only: int = 0
    """LUT sites, not among `lut`, that carry chains take at most: positions of a CARRY4 whose LUT only passes a signal
    or holds a constant."""

    def __add__(self, other: Resources) -> Resources:
        return Resources(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def __mul__(self, times: int) -> Resources:
        return Resources(**{name: times * value for name, value in vars(self).items()})


def _memory(luts: int) -> Resources:
    return Resources(lut=luts, lut_memory=luts)


CARRY_ONLY = "$carry_only"
"""Counted like a cell: see `Resources.carry_only`."""

FamilyName = Literal["xc7", "ecp5", "ice40", "gowin"]


@dataclass(frozen=True)
class Family:
    """How Yosys synthesises for a family, and what its cells cost."""

    name: FamilyName
    what: str
    command: str
    """The synthesis command. It keeps the hierarchy, inserts no pads and may use DSPs."""
    memory_label: str
    """The step of the command that maps memories: up to it they are $mem_v2 cells."""
    defines: tuple[str, ...]
    """Of the Verilog source."""
    block_bits: int
    """Bits of a whole block RAM, parity included."""
    readable: bool
    """Whether `syn/memory.py` knows how the bits lie in its block RAMs."""
    costs: tuple[tuple[str, Resources], ...]
    """Patterns of cell types, the first that matches a whole type counts."""

    def cost(self, cell: str) -> Resources:
        """ValueError for a cell that nobody has priced, latches among them."""
        for pattern, resources in self.costs:
            if re.fullmatch(pattern, cell):
                return resources
        raise UserError(f"{self.name}: no cost is known of cell {cell}")

    def resources(self, cells: Mapping[str, int]) -> Resources:
        return sum((self.cost(cell) * count for cell, count in cells.items()), Resources())


LUT4_CODING = ("ABBNN_LUT4",)
"""Counters for 4-input LUTs in place of those for 6-input ones."""

LUT = Resources(lut=1)
FF = Resources(ff=1)
NOTHING = Resources()

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            "xc7",
            "7-series: 6-input LUTs, RAMB36E1",
            "synth_xilinx -family xc7 -noiopad -noclkbuf",
            "map_memory",
            (),
            36 * 1024,
            True,
            (
                (r"LUT[1-6]", LUT),
                # The LUTs of a slice's memory: four ports of 32 or 64 bits, or two ports.
                (r"RAM(32|64)M", _memory(4)),
                (r"RAM(32|64)X1D", _memory(2)),
                (r"RAM128X1D|RAM256X1S", _memory(4)),
                (r"RAM128X1S", _memory(2)),
                (r"RAM(32|64)X1S", _memory(1)),
                (r"SRL16E|SRLC16E|SRLC32E", _memory(1)),
                (r"FD[RSCP]E(_1)?", FF),
                (r"RAMB36E1", Resources(bram=1)),
                (r"RAMB18E1", Resources(bram=0.5)),
                (r"DSP48E1", Resources(dsp=1)),
                (r"CARRY4", Resources(carry=1)),
                (re.escape(CARRY_ONLY), Resources(carry_only=1)),
                # Muxes of a slice, and inverters that a LUT or a pin takes in.
                (r"MUXF[78]|INV", NOTHING),
            ),
        ),
        Family(
            "ecp5",
            "ECP5: 4-input LUTs, DP16KD",
            # Wide LUTs of muxes nearly double shifters.
            "synth_ecp5 -nowidelut -noflatten",
            "map_ram",
            LUT4_CODING,
            18 * 1024,
            True,
            (
                (r"LUT4", LUT),
                (r"CCU2C", Resources(lut=2, carry=1)),
                # As nextpnr counts: four LUTs that hold bits, and the two of the slice that drives their write port.
                (r"TRELLIS_DPR16X4", _memory(6)),
                (r"TRELLIS_FF", FF),
                (r"DP16KD|PDPW16KD", Resources(bram=1)),
                (r"MULT18X18D|ALU54B", Resources(dsp=1)),
                (r"PFUMX|L6MUX21", NOTHING),
            ),
        ),
        Family(
            "ice40",
            "iCE40: 4-input LUTs, SB_RAM40_4K",
            "synth_ice40 -dsp -noflatten",
            "map_ram",
            LUT4_CODING,
            4 * 1024,
            False,
            (
                (r"SB_LUT4", LUT),
                (r"SB_CARRY", Resources(carry=1)),
                (r"SB_DFF\w*", FF),
                (r"SB_RAM40_4K\w*", Resources(bram=1)),
                (r"SB_MAC16", Resources(dsp=1)),
            ),
        ),
        Family(
            "gowin",
            "Gowin: 4-input LUTs, 18 kbit block SRAM",
            "synth_gowin -nowidelut -noflatten -noiopads",
            "map_ram",
            LUT4_CODING,
            18 * 1024,
            False,
            (
                (r"LUT[1-4]", LUT),
                (r"ALU", Resources(lut=1, carry=1)),
                # As for the ECP5, whose memories are alike; nothing here checks it.
                (r"RAM16S(DP)?[124]", _memory(6)),
                (r"DFF\w*", FF),
                (r"(SP|SDP|DP)(X9)?", Resources(bram=1)),
                (r"MUX2_LUT[5-8]|INV|GND|VCC|GSR", NOTHING),
            ),
        ),
    )
}

assert set(FAMILIES) == set(get_args(FamilyName))

Role = Literal["array", "arithmetic", "memory", "window", "replay", "control"]

_MODULES: Mapping[Role, str] = {
    # XNOR, popcount, accumulation and corrections of the binary convolutions, and weights that LUTs hold.
    "array": "xnor_array popcount",
    # Everything on values: sums of stem, shortcut and head, scale, residual, activation, sign, pools.
    "arithmetic": "add argmax compare gap max_pool pool qprelu saturate scale signed_sum sum_array",
    # Tables and delays.
    "memory": "credit fifo memory table",
    "window": "window",
    "replay": "replay",
    # Streams: registers, regrouping, frames, and the shells that wire the rest.
    "control": "axi axil_master axil_registers baud block board boot core crc32 cut drop fork gate gather guard head "
    "link link_rx link_tx load packet_rx packet_tx reset resize shortcut skid stem subsample uart_rx uart_tx",
}
ROLES: Mapping[str, Role] = {f"abbnn_{name}": role for role, names in _MODULES.items() for name in names.split()}

OVERHEAD: tuple[Role, ...] = ("window", "replay", "control")
"""Roles that move data without computing."""


def owner(module: str) -> str:
    """The module that `module` is a part of, by its name (abbnn_popcount of abbnn_popcount_lut6); else itself.

    ValueError for one that has no role.
    """
    name = module
    while name not in ROLES and "_" in name:
        name = name.rpartition("_")[0]
    if name not in ROLES:
        raise UserError(f"{module} has no role in syn/cells.py")
    return name


def role_of(module: str) -> Role:
    return ROLES[owner(module)]
