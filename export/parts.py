"""What every pipeline stage is made of, for a family of FPGAs: the modules of rtl/ with what their area depends on.

`parts` lists the modules that a stage with the parameters of `export.config` has. Memories go where Yosys' mapper
(passes/memory/memory_libmap.cc, with the costs of its library files) puts them: to the cheapest of block RAM, LUT RAM,
and LUTs or flip-flops.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, get_args

from abbnn.export.folding import WeightMemory

Parameters = Mapping[str, int]
"""Of a stage's RTL module, by name."""

CORE = "abbnn_core"
SLICE = 32
"""Bits of a loadable memory that are written at once (rtl/nn/abbnn_memory.v)."""
LUT_WORDS = 64
"""Words up to which abbnn_table is in LUTs when it is loadable, and has no second register."""
VARYING = 0.85
"""Part of the columns of a table of numbers that differ from word to word: the others are wires, not memory."""


class Area(NamedTuple):
    """Block RAMs count in blocks of the family: RAMB36, DP16KD, SB_RAM40_4K, BSRAM; half a RAMB36 is a RAMB18."""

    lut: float
    ff: float
    bram: float

    def rounded(self) -> dict[str, float]:
        """As reports have it."""
        return {"lut": round(self.lut), "ff": round(self.ff), "bram": round(self.bram, 1)}

    def lacks(self, needed: Area) -> dict[str, float]:
        """By how much an area exceeds this one, for each resource that it does."""
        over = {name: getattr(needed, name) - getattr(self, name) for name in self._fields}
        return {name: excess for name, excess in over.items() if excess > 1e-9}


NOTHING = Area(0.0, 0.0, 0.0)


def total(areas: Iterable[Area]) -> Area:
    lut, ff, bram = 0.0, 0.0, 0.0
    for area in areas:
        lut, ff, bram = lut + area.lut, ff + area.ff, bram + area.bram
    return Area(lut, ff, bram)


# ---- memories


class _Block(NamedTuple):
    """One way to use a block RAM."""

    share: float
    """Of a block."""
    bits: int
    """Without parity, which makes 8 bits 9 where the widths are so."""
    widths: tuple[int, ...]
    cost: int

    def words(self, width: int) -> int:
        return self.bits // (width // 9 * 8 if width % 9 == 0 else width)


class _LutRam(NamedTuple):
    """`width` bits x `depth` words a cell of `luts` LUTs."""

    width: int
    depth: int
    luts: int
    cost: int


@dataclass(frozen=True)
class Family:
    """What memory_libmap chooses from, and the inputs of a LUT."""

    lut_inputs: int
    blocks: tuple[_Block, ...]
    lut_rams: tuple[_LutRam, ...]
    rom_cost: float
    """Of a bit of a table in LUTs; a bit of a memory in flip-flops costs 1."""
    step: float = 1.0
    """Block RAMs come in multiples of it."""
    loadable: bool = False
    """Whether tables are written through the load bus."""
    like: str | None = None
    """The family whose coefficients take the place of 1 where there is no evidence."""


_WIDTHS_18K = (1, 2, 4, 9, 18, 36)
FAMILIES: Mapping[str, Family] = {
    "xc7": Family(
        6,
        (_Block(0.5, 1 << 14, _WIDTHS_18K, 129), _Block(1.0, 1 << 15, (*_WIDTHS_18K, 72), 257)),
        (_LutRam(6, 32, 4, 8), _LutRam(3, 64, 4, 8)),
        1 / 64,
        0.5,
    ),
    "ecp5": Family(4, (_Block(1.0, 1 << 14, _WIDTHS_18K, 128),), (_LutRam(4, 16, 6, 4),), 1 / 16),
    "ice40": Family(4, (_Block(1.0, 1 << 12, (2, 4, 8, 16), 64),), (), 1 / 16, like="ecp5"),
    "gowin": Family(4, (_Block(1.0, 1 << 14, _WIDTHS_18K, 128),), (_LutRam(4, 16, 6, 4),), 1 / 16, like="ecp5"),
}
"""By the names that `calibration.json` and `devices.json` use. Source: the brams and lutrams files of Yosys 0.23."""


def _bits(count: int) -> int:
    """Bits of a counter of `count` values, at least 1."""
    return max(1, (count - 1).bit_length())


def table_luts(family: Family, depth: int, width: int) -> float:
    """LUTs of a table of random bits: one an output and 2**lut_inputs words, and multiplexers.

    Equal columns are shared, of which a shallow table has many; 7-series slices choose one of four LUTs for nothing.
    """
    if depth < 2:
        return 0.0
    columns = 2.0**depth if depth < 30 else math.inf
    distinct = width if columns > 1e3 * width else columns * -math.expm1(width * math.log1p(-1 / columns))
    leaves = -(-depth // (1 << family.lut_inputs))
    muxes = -(-(-(-leaves // 4) - 1) // 3) if family.lut_inputs == 6 else leaves - 1
    return distinct * (leaves + muxes)


@cache
def place(family: Family, depth: int, width: int, *, rom: bool = False, style: str = "auto") -> Area:
    """Of a memory with its output register and the multiplexers between its cells. `style`: "auto", "lut", "block"."""
    if depth < 2:
        return NOTHING if rom else Area(0.0, 2.0 * width, 0.0)
    found: list[tuple[float, Area]] = []
    if style != "lut":
        for block in family.blocks:
            for lanes in block.widths:
                slices = -(-depth // block.words(lanes))
                # Words that share a line can be read, but not written, one by one.
                count = -(-width * slices // lanes) if rom else -(-width // lanes) * slices
                mux = width * (slices - 1) / 2
                found.append((count * block.cost + mux + 2, Area(mux, 0.0, count * block.share)))
    if style != "block" and rom:
        found.append((depth * width * family.rom_cost, Area(table_luts(family, depth, width), float(width), 0.0)))
    elif style != "block":
        for cell in family.lut_rams:
            slices = -(-depth // cell.depth)
            count, mux = -(-width // cell.width) * slices, width * (slices - 1) / 2
            # The last of the terms of the cost enables the slices.
            found.append((count * cell.cost + mux + slices - 1, Area(count * cell.luts + mux, float(width), 0.0)))
        # A multiplexer reads, and a decoder enables each word.
        reads = width * (depth - 1) / (3 if family.lut_inputs == 6 else 1)
        found.append((float(depth * width), Area(reads + depth, float(depth * width + width), 0.0)))
    return min(found, key=lambda choice: choice[0])[1]


# ---- what a stage consists of


class Part(NamedTuple):
    """Instances of one module: the features of each, and what its memory takes, which nothing is fitted to.

    A module's features are always as many.
    """

    module: str
    lut: tuple[float, ...]
    ff: tuple[float, ...]
    memory: Area = NOTHING
    times: int = 1


def _skid(bits: int) -> Part:
    return Part("abbnn_skid", (bits, 4), (2 * bits + 2,))


def _resize(width: int, s_lanes: int, m_lanes: int) -> Part:
    """A beat that is given in parts is shifted through multiplexers; one that is collected, through registers alone."""
    if s_lanes == m_lanes:
        return Part("abbnn_resize", (0, 0), (0,))
    few, many = sorted((s_lanes, m_lanes))
    counter = _bits(many // few)
    return Part("abbnn_resize", (width * many if s_lanes > m_lanes else 0, 4 + counter), (width * many + 1 + counter,))


def _fifo(family: Family, bits: int, depth: int) -> Part:
    counters = 2 * _bits(depth + 1) + _bits(depth + 2)
    return Part("abbnn_fifo", (2 * counters + 5,), (bits + counters + 5,), place(family, depth + 1, bits))


def _replay(family: Family, bits: int, depth: int, times: int) -> Part:
    counters = _bits(times) + (0 if depth == 1 and times > 1 else 2 * _bits(depth) + 4)
    if depth == 1 and times > 1:
        return Part("abbnn_replay", (2 * counters + 5,), (counters + 2,), Area(0, 2 * bits, 0))
    return Part("abbnn_replay", (2 * counters + 5,), (counters + 2,), place(family, 2 * depth, bits))


def _memory(family: Family, bits: int, depth: int, style: str, *, numbers: bool) -> Part:
    if family.loadable:
        slices = [min(SLICE, bits - low) for low in range(0, bits, SLICE)]
        memory = total(place(family, depth, each, style=style) for each in slices)
        written = min(SLICE, bits) + _bits(depth) + len(slices)
        return Part("abbnn_memory", (0, 0, 4 * len(slices)), (0, written), memory)
    placed = place(family, depth, max(1, round(VARYING * bits)) if numbers else bits, rom=True, style=style)
    luts = (placed.lut, 0) if numbers else (0, placed.lut)
    return Part("abbnn_memory", (*luts, 0), (placed.ff, 0), Area(0, 0, placed.bram))


def _table(family: Family, bits: int, depth: int, *, numbers: bool = True) -> list[Part]:
    address, style = _bits(depth), "lut" if family.loadable and depth <= LUT_WORDS else "auto"
    return [
        _memory(family, bits, depth, style, numbers=numbers),
        Part("abbnn_table", (2 * address + 2,), (address + 2, bits if depth > LUT_WORDS else 0)),
    ]


def _window(family: Family, width: int, lanes: int, groups: int, p: Parameters) -> list[Part]:
    """Banks of rows, the newest column behind a rotation of the banks, and the columns before it."""
    kernel, beat = p["KERNEL"], lanes * width
    if kernel == 1:
        return []
    banks = place(family, p["WIDTH"] * groups, beat)
    past = place(family, groups - 1, (kernel - 1) * kernel * beat)
    if groups == 1:
        past = Area(0, (kernel - 1) * kernel * beat, 0)
    rotation = kernel * beat * (1 if kernel == 3 else 2)
    counters = 3 * _bits(p["WIDTH"] * groups) + 4 * _bits(p["HEIGHT"]) + _bits(p["WIDTH"]) + _bits(groups)
    memory = total([*[banks] * (kernel + 1), past])
    lut = (rotation, (kernel - 1) * kernel * beat, counters + 100)
    return [Part("abbnn_window", lut, (kernel * beat, counters + 20), memory)]


def _xnor_array(family: Family, p: Parameters) -> list[Part]:
    pe, simd, sums, folds = p["PE"], p["SIMD"], p["PE"] * p["SUM_WIDTH"], p["OUT_CHANNELS"] // p["PE"]
    beats = p["IN_CHANNELS"] * p["KERNEL"] ** 2 // simd
    words = simd // 4 + 1
    levels = (words - 1).bit_length()
    tree = sum(-(-words // (1 << n)) * (n + 3) - 1 for n in range(levels + 1))
    latency = 10 + levels + (beats > 1)
    style = get_args(WeightMemory)[p["WEIGHT_MEMORY"]]
    corrections = folds * (9 if p["KERNEL"] == 3 else 1)
    return [
        _memory(family, pe * simd, folds * beats, style, numbers=False),
        _memory(family, sums, corrections, "auto", numbers=True),
        Part("abbnn_popcount", (simd, tree), (simd, tree), times=pe),
        Part(
            "abbnn_xnor_array",
            (sums, sums if beats > 1 else 0, 50),
            (pe * simd + 2 * simd, 2 * sums, sums if beats > 1 else 0, 50),
        ),
        _fifo(family, sums, -(-latency // beats) + 2),
    ]


def _signed_sum(pe: int, lanes: int, width: int) -> Part:
    """As rtl/nn/abbnn_signed_sum.v makes an output: chains that take in terms of two lanes, which outputs share, and a
    tree that adds the chains up; for one or two outputs every lane is a chain.

    Features: adders, chains that start inverted, shared sums; registers, and those that are shift registers of three.
    """
    levels = _bits(lanes)
    depth = 0 if pe <= 2 else 3 if levels > 2 and 7 << (levels - 3) >= lanes else min(2, levels)
    chains = -(-lanes // (2 * depth + 1))
    pairs, terms = (lanes - chains) // 2, -(-(lanes - chains) // 2)
    places = [term % depth for term in range(terms)]
    adders = registers = sum(width + min((2 * place + 2).bit_length(), levels) for place in places)
    nodes, bits = chains, width + (4 * depth + 1).bit_length()
    for _ in range(levels - depth):
        adders, registers = adders + nodes // 2 * bits, registers + -(-nodes // 2) * (bits + 1)
        nodes, bits = -(-nodes // 2), bits + 1
    shared, shifted = 2 * pairs * (width + 1), 6 * places.count(2)
    kept = chains * width + shared + 2 * width * sum(places) + pe * (registers + lanes + 2 * sum(places) - shifted)
    return Part("abbnn_signed_sum", (pe * adders, pe * width, shared), (kept, pe * shifted))


def _sum_array(family: Family, p: Parameters, width: int, sum_width: int, inputs: int, outputs: int) -> list[Part]:
    """`inputs` lanes' worth of every output, at PE, SIMD and PLANES."""
    pe, simd, planes = p["PE"], p["SIMD"], p["PLANES"]
    sums, beats, levels = pe * sum_width, planes * (inputs // simd), _bits(simd)
    folds = outputs // pe
    return [
        *_table(family, pe * simd, folds * beats, numbers=False),
        *_table(family, sums, folds),
        _signed_sum(pe, simd, width),
        Part("abbnn_sum_array", (2 * sums, 10 + levels), (3 * sums, 10 + 4 * levels)),
        _fifo(family, sums, -(-(levels + 9) // beats) + 2),
    ]


def _scale(family: Family, p: Parameters, prefix: str, channels: int, s_width: int, m_width: int) -> list[Part]:
    lanes, terms, width = p["PE"], p[f"{prefix}_TERMS"], p[f"{prefix}_SUM_WIDTH"]
    word = lanes * terms * (p[f"{prefix}_SHIFT_WIDTH"] + 2)
    result, x = width - p[f"{prefix}_GUARD"], s_width + (width > s_width)
    behind = lanes * (terms * width + result + m_width)
    # One term that needs no saturation passes three registers unchanged: a shift register, where a family has them.
    delayed = terms == 1 and result <= m_width
    lut = (
        lanes * terms * width * p[f"{prefix}_SHIFT_WIDTH"] / 2,
        lanes * (x + width * (terms - 1)),
        behind / 3 if delayed else lanes * m_width,
        lanes * width if prefix == "PRELU" else 0,
        5,
    )
    ff = (2 * lanes * x + word + 4, 0 if delayed else behind, behind if delayed else 0)
    return [*_table(family, word, channels // lanes), Part("abbnn_scale", lut, ff)]


def _qprelu(family: Family, p: Parameters, s_width: int) -> list[Part]:
    lanes, width, shift = p["PE"], p["FIELD_WIDTH"], p["ACTIVATION_SHIFT_WIDTH"]
    shifted, word = width + 1 + p["LEFT_MAX"], 4 * width + shift
    registers = 2 * s_width + 7 * width + 2 * shift + 2 * shifted + 3 + p["VALUE_WIDTH"] + word
    lut = (lanes * shifted * shift / 2, 3 * lanes * width + 5, lanes * p["VALUE_WIDTH"])
    return [
        *_table(family, lanes * word, p["OUT_CHANNELS"] // lanes),
        Part("abbnn_qprelu", lut, (lanes * registers + 6,)),
    ]


def _pool(family: Family, bits: int, lanes: int, groups: int, width: int) -> Part:
    """Average of 2x2."""
    beats = width // 2 * groups
    memory = total((place(family, groups, bits), place(family, beats, bits + lanes)))
    counters = _bits(groups) + 2 * _bits(beats)
    return Part("abbnn_pool", (2 * bits, 2 * counters + 5), (5 * bits + counters + 8,), memory)


def _max_pool(family: Family, bits: int, groups: int, height: int, width: int) -> Part:
    beats = -(-width // 2) * groups
    memory = total((place(family, groups, bits), place(family, beats, bits)))
    counters = 3 * _bits(beats) + _bits(width) + _bits(height)
    return Part("abbnn_max_pool", (4 * bits, 2 * counters + 5), (4 * bits + counters + 15,), memory)


def _stem(family: Family, p: Parameters) -> Iterator[Part]:
    taps, pixel, pe, value = p["KERNEL"] ** 2, 9, p["PE"], p["VALUE_WIDTH"]
    lanes = p["SIMD"] // taps
    groups, folds = p["CHANNELS"] // lanes, p["OUT_CHANNELS"] // pe
    yield Part("abbnn_stem", (pixel * p["CHANNELS"], 10), (1,))
    yield _skid(p["CHANNELS"] * pixel)
    yield _resize(pixel, p["CHANNELS"], lanes)
    yield from _window(family, pixel, lanes, groups, p)
    yield _replay(family, p["SIMD"] * pixel, groups, folds * p["PLANES"])
    yield from _sum_array(family, p, pixel, p["SUM_WIDTH"], p["CHANNELS"] * taps, p["OUT_CHANNELS"])
    yield _skid(pe * p["SUM_WIDTH"])
    yield from _scale(family, p, "SCALE", p["OUT_CHANNELS"], p["SUM_WIDTH"], value)
    if p["PRELU"]:
        yield from _scale(family, p, "PRELU", p["OUT_CHANNELS"], value, value)
    if p["MAX_POOL"]:
        height, width = (-(-p[side] // p["STRIDE"]) for side in ("HEIGHT", "WIDTH"))
        yield _max_pool(family, pe * value, folds, height, width)
    yield _skid(pe * value)


def _shortcut(family: Family, block: Parameters) -> Iterator[Part]:
    """abbnn_shortcut of a block that has one."""
    own = {key.removeprefix("SHORTCUT_"): value for key, value in block.items() if key.startswith("SHORTCUT_")}
    p = {**block, **own}
    s_lanes, pe, simd, value, inputs = p["S_LANES"], p["PE"], p["SIMD"], p["VALUE_WIDTH"], p["IN_CHANNELS"]
    groups, pooled = inputs // s_lanes, block["SHORTCUT"] == 3
    yield Part("abbnn_shortcut", (20,), (20,))
    if pooled:
        yield _pool(family, s_lanes * value, s_lanes, groups, p["WIDTH"])
    yield _fifo(family, s_lanes * value, (p["WIDTH"] // (2 if pooled else 1) + 4) * groups + 16)
    yield _resize(value, s_lanes, simd)
    yield _replay(family, simd * value, inputs // simd, p["OUT_CHANNELS"] // pe * p["PLANES"])
    yield from _sum_array(family, p, value, p["SUM_WIDTH"], inputs, p["OUT_CHANNELS"])
    yield from _scale(family, p, "SCALE", p["OUT_CHANNELS"], p["SUM_WIDTH"], p["SCALED_WIDTH"])
    yield _skid(pe * p["SCALED_WIDTH"])
    if not pooled:
        yield _fifo(family, pe * p["SCALED_WIDTH"], 32)


def _block(family: Family, p: Parameters) -> Iterator[Part]:
    """abbnn_block without its abbnn_shortcut."""
    value, s_lanes, pe, inputs, outputs = (
        p[name] for name in ("VALUE_WIDTH", "S_LANES", "PE", "IN_CHANNELS", "OUT_CHANNELS")
    )
    lanes = p["SIMD"] // p["KERNEL"] ** 2
    residual = value if p["SHORTCUT"] < 3 else p["SHORTCUT_SCALED_WIDTH"]
    added = max(p["SCALED_WIDTH"], residual) + 1
    yield Part("abbnn_block", (20,), (20,))
    yield from _table(family, s_lanes * value, inputs // s_lanes)
    yield Part("abbnn_compare", (s_lanes * value + 2,), (2 * s_lanes * value + s_lanes + 2,))
    yield _skid(s_lanes)
    yield _resize(1, s_lanes, lanes)
    yield _skid(lanes)
    yield from _window(family, 1, lanes, inputs // lanes, p)
    yield _replay(family, p["SIMD"], inputs // lanes, outputs // pe)
    yield from _xnor_array(family, p)
    yield from _scale(family, p, "SCALE", outputs, p["SUM_WIDTH"], p["SCALED_WIDTH"])
    if p["SHORTCUT"] < 3:
        kept = max(s_lanes, pe)
        if p["SHORTCUT"] == 2:
            yield _pool(family, s_lanes * value, s_lanes, inputs // s_lanes, p["WIDTH"])
        pixels = p["WIDTH"] // 2 + 4 if p["SHORTCUT"] == 2 else p["WIDTH"] + 4 if p["KERNEL"] == 3 else 3
        yield _resize(value, s_lanes, kept)
        yield _fifo(family, kept * value, pixels * (inputs // kept) - (-72 * s_lanes // kept))
        yield _resize(value, kept, pe)
        if p["SHORTCUT"] == 1:
            yield _replay(family, pe * value, inputs // pe, 2)
    yield Part("abbnn_add", (pe * added + 2,), (pe * added + 1,))
    yield _skid(pe * added)
    if p["ACTIVATION"] == 0:
        yield Part("abbnn_saturate", (pe * value + 2,), (pe * value + 1,))
    elif p["ACTIVATION"] == 1:
        yield from _qprelu(family, p, added)
    else:
        yield from _scale(family, p, "PRELU", outputs, added, value)
    yield _skid(pe * value)


def _head(family: Family, p: Parameters) -> Iterator[Part]:
    s_lanes, pe, simd, score, channels = (p[name] for name in ("S_LANES", "PE", "SIMD", "SCORE_WIDTH", "CHANNELS"))
    groups, summed = channels // s_lanes, p["VALUE_WIDTH"] + (p["POSITIONS"] - 1).bit_length()
    pooled, sums = summed - p["POOL_SHIFT"], s_lanes * summed
    memory = place(family, groups, sums) if groups > 3 else Area(0, groups * sums, 0)
    counters = (4 if groups > 3 else 1) * _bits(groups) + _bits(p["POSITIONS"])
    yield Part(
        "abbnn_gap", (sums, 2 * counters + 5), (2 * s_lanes * p["VALUE_WIDTH"] + 2 * sums + counters + 8,), memory
    )
    yield _resize(pooled, s_lanes, simd)
    yield _replay(family, simd * pooled, channels // simd, p["CLASSES"] // pe * p["PLANES"])
    yield from _sum_array(family, p, pooled, score, channels, p["CLASSES"])
    yield _skid(pe * score)
    yield _resize(score, pe, 1)
    yield Part("abbnn_head", (2 * score + 40,), (2 * score + 2 * _bits(p["CLASSES"]),))
    yield _skid(33)


def _core(family: Family, p: Parameters) -> Iterator[Part]:
    """What abbnn_core has besides its stages."""
    yield Part(CORE, (200, 2 * _bits(p["IMAGE_HEIGHT"] * p["IMAGE_WIDTH"])), (250 + p["BLOCKS"],))


_STAGES = {"abbnn_stem": _stem, "abbnn_block": _block, "abbnn_shortcut": _shortcut, "abbnn_head": _head, CORE: _core}


def alone(family: Family, top: str, p: Parameters) -> Iterable[Part]:
    """Of a stage, an abbnn_block without its abbnn_shortcut; of that with the block's parameters."""
    return _STAGES[top](family, p)


def parts(family: Family, top: str, p: Parameters) -> list[Part]:
    """Of a stage with everything in it."""
    beside = _shortcut(family, p) if top == "abbnn_block" and p["SHORTCUT"] >= 3 else ()
    return [*alone(family, top, p), *beside]
