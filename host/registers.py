"""The registers of abbnn_axi: the one table for the RTL's tests, the host's commands and docs/registers.md.

A register is 32 bits at a byte offset that is a multiple of four. Fields are unsigned; bits that no field names read 0
and ignore writes.

>>> find("STATUS").offset, find("stall[3]").offset
(32, 268)
>>> find("IMAGE").decode(0x0020_0018)
{'width': 24, 'height': 32}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from abbnn.errors import UserError

IDENTITY = 0x4142_424E
"""What ID reads: "ABBN"."""
VERSION_MAJOR, VERSION_MINOR = 1, 0
"""Of the register map: the major number changes when a register changes or goes, the minor one when some are added."""
ADDRESS_BITS = 12
MAX_STAGES = 64
"""Stages that a core has at most: stem, blocks, head."""
SOFT_RESET = 1
"""CONTROL: the bit to write."""
IRQ_RESULT, IRQ_FRAME_ERROR, IRQ_LOAD_DONE, IRQ_LOAD_ERROR = 1, 2, 4, 8
"""IRQ_ENABLE and IRQ_PENDING: masks."""
STATUS_READY, STATUS_LOADING, STATUS_FRAME_ERROR, STATUS_LOAD_ERROR = 1, 2, 4, 8
"""STATUS: masks."""


class Access(Enum):
    """What a write does; reading is always allowed and changes nothing but the CYCLES_HI that comes after CYCLES_LO."""

    RO = "RO"
    RW = "RW"
    W1C = "W1C"


@dataclass(frozen=True)
class Field:
    """Bits `low + width - 1` to `low` of a register."""

    name: str
    low: int
    width: int
    meaning: str

    @property
    def mask(self) -> int:
        return ((1 << self.width) - 1) << self.low


@dataclass(frozen=True)
class Register:
    """`reset` is the value after a reset of a core that was never fed, None where the network decides.

    `per_stage`: one register for each stage i, 4 * i bytes behind `offset`.
    """

    name: str
    offset: int
    access: Access
    reset: int | None
    meaning: str
    fields: tuple[Field, ...] = ()
    per_stage: bool = False

    def decode(self, value: int) -> dict[str, int]:
        """Field name -> its value; a register without fields is one field, "value"."""
        if not self.fields:
            return {"value": value}
        return {field.name: (value & field.mask) >> field.low for field in self.fields}

    @property
    def writable(self) -> int:
        """Mask of the bits that a write of ones can change."""
        if self.access is Access.RO:
            return 0
        return sum(field.mask for field in self.fields) if self.fields else 0xFFFF_FFFF


def _events(what: str) -> tuple[Field, ...]:
    return (
        Field("result", 0, 1, f"{what}: the last beat of a result has left, but not of one that a soft reset has cut"),
        Field("frame_error", 1, 1, f"{what}: SHORT_FRAMES or LONG_FRAMES has counted"),
        Field("load_done", 2, 1, f"{what}: LOADS has counted"),
        Field("load_error", 3, 1, f"{what}: LOAD_ERRORS has counted"),
    )


RO, RW, W1C = Access.RO, Access.RW, Access.W1C

REGISTERS: tuple[Register, ...] = (
    Register("ID", 0x000, RO, IDENTITY, '"ABBN" in ASCII, "A" highest'),
    Register(
        "VERSION",
        0x004,
        RO,
        VERSION_MAJOR << 16 | VERSION_MINOR,
        "of this register map",
        (
            Field("minor", 0, 16, "counts additions"),
            Field("major", 16, 16, "counts changes that break programs"),
        ),
    ),
    Register("NETWORK_LO", 0x008, RO, None, "low half of the network id, the first 64 bits of the network's sha256"),
    Register("NETWORK_HI", 0x00C, RO, None, "high half; a loadable core has 0 in both until the first good load"),
    Register("LAYOUT", 0x010, RO, None, "LAYOUT_ID of abbnn_config.vh: which load images fit"),
    Register(
        "IMAGE",
        0x014,
        RO,
        None,
        "size of an input image in pixels",
        (Field("width", 0, 16, "columns"), Field("height", 16, 16, "rows")),
    ),
    Register(
        "SHAPE",
        0x018,
        RO,
        None,
        "",
        (
            Field("classes", 0, 16, "scores of a result, which has one beat more"),
            Field("stages", 16, 16, "stem, blocks and head; registers STALL"),
        ),
    ),
    Register(
        "CONTROL",
        0x01C,
        RW,
        0,
        "",
        (
            Field(
                "soft_reset",
                0,
                1,
                "1 drops every frame in flight and clears FRAMES, SHORT_FRAMES, LONG_FRAMES, CYCLES and STALL; reads 1 "
                "for as long as that takes, then 0. The tables, the load counters and the interrupt registers stay",
            ),
        ),
    ),
    Register(
        "STATUS",
        0x020,
        RO,
        None,
        "",
        (
            Field("ready", 0, 1, "the tables are complete: images are taken"),
            Field("loading", 1, 1, "a load waits for the frames in flight or writes tables"),
            Field("frame_error", 2, 1, "a frame was short or long since the last reset, soft or not"),
            Field("load_error", 3, 1, "LOAD_ERRORS is not 0"),
        ),
    ),
    Register("IRQ_ENABLE", 0x024, RW, 0, "which pending bits raise `interrupt`", _events("enable")),
    Register(
        "IRQ_PENDING",
        0x028,
        W1C,
        0,
        "what has happened, enabled or not, since the bit was last cleared by writing 1 to it; an event in the "
        "cycle of the write stays",
        _events("pending"),
    ),
    Register("FRAMES", 0x02C, RO, 0, "results given; wraps around"),
    Register("SHORT_FRAMES", 0x030, RO, 0, "frames that ended early; stops at 65535"),
    Register("LONG_FRAMES", 0x034, RO, 0, "frames that ended late; stops at 65535"),
    Register("LOADS", 0x038, RO, 0, "good loads; stops at 65535"),
    Register("LOAD_ERRORS", 0x03C, RO, 0, "refused or broken loads; stops at 65535"),
    Register("CYCLES_LO", 0x040, RO, None, "low half of the clock cycles since the last reset, soft or not"),
    Register("CYCLES_HI", 0x044, RO, 0, "high half, as it was when CYCLES_LO was last read"),
    Register(
        "STALL",
        0x100,
        RO,
        0,
        "cycles in which the output of stage i waited: valid, but not taken; stops at 4294967295. Stage 0 is the stem, "
        "then come the blocks, the last is the head",
        per_stage=True,
    ),
)

BY_NAME = {register.name: register for register in REGISTERS}
STALL_OFFSET = BY_NAME["STALL"].offset


def expanded(stages: int) -> tuple[Register, ...]:
    """The table for a core of so many stages: STALL becomes STALL[0], STALL[1], ... Offsets ascend."""
    if not 1 <= stages <= MAX_STAGES:
        raise UserError(f"{stages} stages; a core has 1 to {MAX_STAGES}")
    table: list[Register] = []
    for one in REGISTERS:
        if not one.per_stage:
            table.append(one)
            continue
        for index in range(stages):
            name, offset = f"{one.name}[{index}]", one.offset + 4 * index
            table.append(Register(name, offset, one.access, one.reset, one.meaning, one.fields))
    return tuple(table)


def find(name: str) -> Register:
    """The register of that name in any case, "STALL[3]" for one of a stage. ValueError if there is none."""
    match = re.fullmatch(r"([A-Z_]+)(?:\[(\d{1,2})\])?", name.strip().upper())
    if match and match[1] in BY_NAME:
        register, index = BY_NAME[match[1]], match[2]
        if not register.per_stage and index is None:
            return register
        if register.per_stage and index is not None and int(index) < MAX_STAGES:
            return expanded(MAX_STAGES)[REGISTERS.index(register) + int(index)]
    raise UserError(f"no register {name!r}; there are {', '.join(BY_NAME)}, STALL with a stage's number: STALL[0]")


RULES = """\
Offsets are byte addresses. `-` as a reset value: the network, the core's state or the clock decides.

- RO: a write is refused with SLVERR. RW: a write sets the bytes that its strobes name. W1C: a 1 in such a byte clears
  its bit. Bits without a meaning read 0 and ignore writes.
- **Any other address answers SLVERR**: a read gives 0, a write is dropped. Many processors turn SLVERR into a bus error
  or a data abort, so do not scan the address space, and read only as many `STALL` as `SHAPE` says.
- One read and one write can be under way at a time, independent of each other; a write's address and data come in
  either order.
- A register is read in one cycle, two registers are not. `CYCLES_LO`, then `CYCLES_HI` is one 64-bit number.
- `interrupt` is high while `IRQ_ENABLE` and `IRQ_PENDING` have a bit in common, one cycle late.

## Start-up

1. Hold `aresetn` low for two cycles of `aclk` or more.
2. Read `ID` ({ID}): {IDENTITY}. Read `VERSION` ({VERSION}): its upper half must be {MAJOR}.
3. Read `IMAGE` ({IMAGE}) and `SHAPE` ({SHAPE}) for the size of the buffers.
4. With LOADABLE = 1, send a load image for the core's `LAYOUT` ({LAYOUT}) to `s_load_axis`. Then `LOADS` ({LOADS})
   counts, or `LOAD_ERRORS` ({LOAD_ERRORS}).
5. Read `STATUS` ({STATUS}) until bit 0, `ready`, is 1.
6. Write 0xF to `IRQ_PENDING` ({IRQ_PENDING}), and the events that you want to `IRQ_ENABLE` ({IRQ_ENABLE}).
7. For each image, start the transfer of the result first, then that of the image.

```c
volatile uint32_t *abbnn = base;              /* of the AXI4-Lite slave */
if (abbnn[{ID} / 4] != {IDENTITY} || abbnn[{VERSION} / 4] >> 16 != {MAJOR})
    return -1;
uint32_t pixels  = (abbnn[{IMAGE} / 4] >> 16) * (abbnn[{IMAGE} / 4] & 0xFFFF);
uint32_t classes = abbnn[{SHAPE} / 4] & 0xFFFF;
while (!(abbnn[{STATUS} / 4] & {READY}))
    ;
```

## Streams

| stream | a beat | a packet, `tlast` on its last beat | length of a DMA transfer |
|---|---|---|---|
| `s_axis` | 24 bits, a pixel: red 7:0, green 15:8, blue 23:16 | an image in raster order | \
4 * pixels bytes from a DMA of 32-bit words, bits 31:24 not connected |
| `m_axis` | 32 bits, signed | the scores, class 0 first, then the number of the greatest | 4 * (classes + 1) bytes |
| `s_load_axis` | 32 bits | a load image ([formats.md](formats.md#load-image)) | the file's length |

An image of the wrong length gives no result and counts as a short or a long frame.

A soft reset drops every frame under way, and no transfer is left hanging:

- A result that `m_axis` has begun to show ends with one more beat, 0xFFFFFFFF with `tlast`. So its DMA transfer ends,
  usually early, and its last word tells that it was cut: a class is never 0xFFFFFFFF. It is no event of `IRQ_PENDING`.
- The rest of an image that was being sent is a frame of its own behind the reset, a short one.
"""


def markdown_table() -> list[str]:
    """The lines of a table with a row for each register."""
    lines = [
        "| offset | name | access | reset | meaning |",
        "|---|---|---|---|---|",
    ]
    for register in REGISTERS:
        offset = f"0x{register.offset:03X}" + (" + 4 i" if register.per_stage else "")
        name = register.name + ("[i]" if register.per_stage else "")
        reset = "-" if register.reset is None else f"0x{register.reset:X}"
        parts = [register.meaning] if register.meaning else []
        for field in register.fields:
            high = field.low + field.width - 1
            bits = f"bit {field.low}" if field.width == 1 else f"bits {high}:{field.low}"
            parts.append(f"{bits} `{field.name}`: {field.meaning}")
        lines.append(f"| {offset} | `{name}` | {register.access.value} | {reset} | {'<br>'.join(parts)} |")
    return lines


def markdown() -> str:
    """docs/registers.md, whole: what `abbnn host registers` prints."""
    lines = [
        "# Registers",
        "",
        "Those of `abbnn_axi`, over AXI4-Lite: 32-bit data, 12-bit byte addresses, of which the lowest two bits are",
        "ignored. Made by `abbnn host registers` from `host/registers.py`.",
        "",
        *markdown_table(),
    ]
    values = {register.name: f"0x{register.offset:03X}" for register in REGISTERS}
    values |= {"IDENTITY": f"0x{IDENTITY:X}", "MAJOR": str(VERSION_MAJOR), "READY": str(STATUS_READY)}
    rules = re.sub(r"\{(\w+)\}", lambda match: values[match[1]], RULES)
    return "\n".join([*lines, "", rules])
