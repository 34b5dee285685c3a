"""Area of every pipeline stage by formula: LUTs, flip-flops and block RAMs of a folding on a family of FPGAs.

Bottom-up: `children` says which RTL modules a stage instantiates, `_FEATURES` what a module consists of (register bits,
adder bits, table words, ...), and one coefficient a feature, module and family says what that costs. The coefficients
are fitted by least squares on synthesis results, the points of `calibration.json`, when a family is first asked for;
a coefficient without evidence stays near 1, which is what its feature is scaled to. Memories go where the
mapper of Yosys puts them (passes/memory/memory_libmap.cc, with the costs of its library files): the cheapest of
block RAM, LUT RAM, and LUTs or flip-flops.

`calibration.json` was synthesised when pipelines could have fewer registers, and `children` are those of that form.
What is built now has more: `tiny` 6% more LUTs and 32% more flip-flops. `abbnn bitstream` counts `REGISTERS` as well.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from abbnn.errors import UserError
from abbnn.export.config import pipeline_config
from abbnn.export.folding import Fold, stages
from abbnn.golden.network import IntegerNetwork
from abbnn.golden.ranges import analyse

Parameters = Mapping[str, int]
"""Of an RTL module, by name."""

CALIBRATION = Path(__file__).with_name("calibration.json")
DEVICES = Path(__file__).with_name("devices.json")
CORE = "abbnn_core"
REGISTERS = 3.2
"""Flip-flops, a binary lane, that a pipeline has beside those of the form in `calibration.json`."""
RIDGE = 1e-3
"""Weight of a coefficient's squared distance from 1, beside squared relative errors."""
VARYING = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)
"""What is tried for Family.varying."""


@dataclass(frozen=True)
class Device:
    """What a chip has, and the clock that is assumed where nobody gives one."""

    name: str
    family: str
    lut: int
    ff: int
    bram: int
    bram_bits: int
    clock_mhz: float
    source: str


def devices() -> dict[str, Device]:
    return {name: Device(name, **fields) for name, fields in json.loads(DEVICES.read_text(encoding="utf-8")).items()}


class Area(NamedTuple):
    """Block RAMs count in blocks of the family: RAMB36, DP16KD, SB_RAM40_4K, BSRAM; half a RAMB36 is a RAMB18."""

    lut: float
    ff: float
    bram: float

    def __add__(self, other: object) -> Area:
        if not isinstance(other, Area):
            return NotImplemented
        return Area(self.lut + other.lut, self.ff + other.ff, self.bram + other.bram)


NOTHING = Area(0.0, 0.0, 0.0)


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
    varying: float = 1.0
    """Part of the columns of a table of numbers that differ from word to word: the others are wires, not memory."""


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
    "ice40": Family(4, (_Block(1.0, 1 << 12, (2, 4, 8, 16), 64),), (), 1 / 16),
    "gowin": Family(4, (_Block(1.0, 1 << 14, _WIDTHS_18K, 128),), (_LutRam(4, 16, 6, 4),), 1 / 16),
}
"""By the names that `calibration.json` and `devices.json` use. Source: the brams and lutrams files of Yosys 0.23."""


class Placement(NamedTuple):
    """LUTs, flip-flops and blocks of a memory with its output register, and the bits of multiplexers between blocks."""

    lut: float
    ff: float
    bram: float
    mux: float


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
def place(family: Family, depth: int, width: int, *, rom: bool = False, style: str = "auto") -> Placement:
    """Where a memory of depth x width goes. `style` "lut" or "block" forces it."""
    if depth < 2 and not rom:
        return Placement(0.0, 2.0 * width, 0.0, 0.0)
    register = float(width)
    found: list[tuple[float, Placement]] = []
    if style != "lut":
        for block in family.blocks:
            for lanes in block.widths:
                slices = -(-depth // block.words(lanes))
                # Words that share a line can be read, but not written, one by one.
                count = -(-width * slices // lanes) if rom else -(-width // lanes) * slices
                mux = width * (slices - 1)
                found.append((count * block.cost + mux / 2 + 2, Placement(0.0, 0.0, count * block.share, mux)))
    if style != "block":
        if rom:
            cost = depth * width * family.rom_cost
            found.append((cost, Placement(table_luts(family, depth, width), register, 0.0, 0.0)))
        else:
            for cell in family.lut_rams:
                slices = -(-depth // cell.depth)
                count = -(-width // cell.width) * slices
                mux = width * (slices - 1)
                cost = count * cell.cost + mux / 2 + slices - 1  # the last of them enables the slices
                found.append((cost, Placement(count * cell.luts + mux / 2, register, 0.0, 0.0)))
            # A multiplexer reads, and a decoder enables each word.
            reads = width * (depth - 1) / (3 if family.lut_inputs == 6 else 1)
            found.append((float(depth * width), Placement(reads + depth, depth * width + register, 0.0, 0.0)))
    return min(found, key=lambda choice: choice[0])[1]


# ---- which modules a module instantiates

Instance = tuple[str, Parameters]

CODINGS: Mapping[str, str] = {
    "abbnn_popcount_lut4": "abbnn_popcount",
    "abbnn_popcount_lut6": "abbnn_popcount",
}
"""Modules that are another's inside for one kind of LUT: their cells count as its own."""


def _scale(p: Parameters, prefix: str, **given: int) -> Instance:
    names = ("TERMS", "SHIFT_WIDTH", "GUARD", "SUM_WIDTH")
    return "abbnn_scale", {"PRELU": 0} | {name: p[f"{prefix}_{name}"] for name in names} | given


def _resize(width: int, s_lanes: int, m_lanes: int) -> Instance:
    return "abbnn_resize", {"LANE_WIDTH": width, "S_LANES": s_lanes, "M_LANES": m_lanes}


def _table(width: int, depth: int) -> Instance:
    return "abbnn_table", {"WIDTH": width, "DEPTH": depth}


def _fifo(width: int, depth: int) -> Instance:
    return "abbnn_fifo", {"DATA_WIDTH": width, "DEPTH": depth}


def _replay(width: int, depth: int, times: int) -> Instance:
    return "abbnn_replay", {"DATA_WIDTH": width, "DEPTH": depth, "TIMES": times}


def _framer(width: int, beats: int) -> Instance:
    return "abbnn_framer", {"DATA_WIDTH": width, "BEATS": beats}


def _map(p: Parameters, lanes: int, channels: int, height: int, width: int) -> dict[str, int]:
    return {
        "LANES": lanes,
        "CHANNELS": channels,
        "VALUE_WIDTH": p["VALUE_WIDTH"],
        "HEIGHT": height,
        "WIDTH": width,
    }


def _stem_children(p: Parameters) -> list[Instance]:
    taps, pixel, pe, value = p["KERNEL"] ** 2, 9, p["PE"], p["VALUE_WIDTH"]
    lanes = p["SIMD"] // taps
    groups, folds = p["CHANNELS"] // lanes, p["OUT_CHANNELS"] // pe
    height, width = (-(-p[side] // p["STRIDE"]) for side in ("HEIGHT", "WIDTH"))
    window = {"DATA_WIDTH": pixel, "LANES": lanes, "GROUPS": groups}
    array = {"SIMD_FOLD": groups, "CHANNELS": p["OUT_CHANNELS"], "DATA_WIDTH": pixel}
    result: list[Instance] = [
        ("abbnn_skid", {"DATA_WIDTH": p["CHANNELS"] * pixel}),
        _resize(pixel, p["CHANNELS"], lanes),
        ("abbnn_window", window | {key: p[key] for key in ("HEIGHT", "WIDTH", "KERNEL", "STRIDE")}),
        _replay(p["SIMD"] * pixel, groups, folds * p["PLANES"]),
        ("abbnn_sum_array", array | {key: p[key] for key in ("PE", "SIMD", "PLANES", "SUM_WIDTH")}),
        _scale(p, "SCALE", LANES=pe, CHANNELS=p["OUT_CHANNELS"], S_WIDTH=p["SUM_WIDTH"], M_WIDTH=value),
    ]
    if p["PRELU"]:
        result.append(_scale(p, "PRELU", PRELU=1, LANES=pe, CHANNELS=p["OUT_CHANNELS"], S_WIDTH=value, M_WIDTH=value))
    if p["MAX_POOL"]:
        result.append(("abbnn_max_pool", _map(p, pe, p["OUT_CHANNELS"], height, width)))
        height, width = -(-height // 2), -(-width // 2)
    return [*result, _framer(pe * value, height * width * folds)]


def _shortcut_children(p: Parameters) -> list[Instance]:
    value, s_lanes, pe, simd = p["VALUE_WIDTH"], p["S_LANES"], p["PE"], p["SIMD"]
    groups, depth, folds = p["IN_CHANNELS"] // s_lanes, p["IN_CHANNELS"] // simd, p["OUT_CHANNELS"] // pe
    size = {"HEIGHT": p["HEIGHT"], "WIDTH": p["WIDTH"]}
    pixels = p["WIDTH"] // 2 + 4 if p["POOL"] else p["WIDTH"] + 4
    first: Instance = (
        ("abbnn_pool", _map(p, s_lanes, p["IN_CHANNELS"], p["HEIGHT"], p["WIDTH"]))
        if p["POOL"]
        else ("abbnn_subsample", {"DATA_WIDTH": s_lanes * value, "GROUPS": groups, **size})
    )
    planes = p.get("PLANES", 1)
    array = {"PE": pe, "SIMD": simd, "SIMD_FOLD": depth, "CHANNELS": p["OUT_CHANNELS"], "PLANES": planes}
    return [
        first,
        _fifo(s_lanes * value, pixels * groups),
        _resize(value, s_lanes, simd),
        _replay(simd * value, depth, folds * planes),
        ("abbnn_sum_array", array | {"DATA_WIDTH": value, "SUM_WIDTH": p["SUM_WIDTH"]}),
        _scale(p, "SCALE", LANES=pe, CHANNELS=p["OUT_CHANNELS"], S_WIDTH=p["SUM_WIDTH"], M_WIDTH=p["SCALED_WIDTH"]),
        *([] if p["POOL"] else [_fifo(pe * p["SCALED_WIDTH"], 32)]),
    ]


def shortcut_parameters(p: Parameters) -> dict[str, int]:
    """The parameters of the abbnn_shortcut in an abbnn_block with weights in its shortcut."""
    names = ("IN_CHANNELS", "OUT_CHANNELS", "HEIGHT", "WIDTH", "S_LANES", "PE", "VALUE_WIDTH")
    own = {key.removeprefix("SHORTCUT_"): value for key, value in p.items() if key.startswith("SHORTCUT_")}
    return {name: p[name] for name in names} | own | {"POOL": int(p["SHORTCUT"] == 3)}


def block_children(p: Parameters) -> list[Instance]:
    """What an abbnn_block instantiates besides its abbnn_shortcut."""
    taps, value, s_lanes, pe = p["KERNEL"] ** 2, p["VALUE_WIDTH"], p["S_LANES"], p["PE"]
    lanes = p["SIMD"] // taps
    s_groups, groups, folds = p["IN_CHANNELS"] // s_lanes, p["IN_CHANNELS"] // lanes, p["OUT_CHANNELS"] // pe
    out_height, out_width = p["HEIGHT"] // p["STRIDE"], p["WIDTH"] // p["STRIDE"]
    residual = value if p["SHORTCUT"] < 3 else p["SHORTCUT_SCALED_WIDTH"]
    added = max(p["SCALED_WIDTH"], residual) + 1
    out = {"LANES": pe, "CHANNELS": p["OUT_CHANNELS"]}
    window = {"DATA_WIDTH": 1, "LANES": lanes, "GROUPS": groups}
    array = {
        "SIMD_FOLD": groups,
        "CHANNELS": p["OUT_CHANNELS"],
        "OUT_HEIGHT": out_height,
        "OUT_WIDTH": out_width,
        "BORDER": int(p["KERNEL"] == 3),
        "WEIGHT_MEMORY": p.get("WEIGHT_MEMORY", 0),
    }
    result: list[Instance] = [
        ("abbnn_fork", {"DATA_WIDTH": s_lanes * value}),
        ("abbnn_compare", {"LANES": s_lanes, "CHANNELS": p["IN_CHANNELS"], "VALUE_WIDTH": value}),
        _resize(1, s_lanes, lanes),
        ("abbnn_window", window | {key: p[key] for key in ("HEIGHT", "WIDTH", "KERNEL", "STRIDE")}),
        _replay(p["SIMD"], groups, folds),
        ("abbnn_xnor_array", array | {key: p[key] for key in ("PE", "SIMD", "SUM_WIDTH")}),
        _scale(p, "SCALE", **out, S_WIDTH=p["SUM_WIDTH"], M_WIDTH=p["SCALED_WIDTH"]),
        ("abbnn_add", {"LANES": pe, "A_WIDTH": p["SCALED_WIDTH"], "B_WIDTH": residual}),
        _framer(pe * value, out_height * out_width * folds),
    ]
    if p["SHORTCUT"] < 3:
        pixels = p["WIDTH"] // 2 + 4 if p["SHORTCUT"] == 2 else p["WIDTH"] + 4 if p["KERNEL"] == 3 else 3
        result += [_fifo(s_lanes * value, pixels * s_groups + 48), _resize(value, s_lanes, pe)]
    if p["SHORTCUT"] == 1:
        result.append(_replay(pe * value, p["IN_CHANNELS"] // pe, 2))
    if p["SHORTCUT"] == 2:
        result.append(("abbnn_pool", _map(p, s_lanes, p["IN_CHANNELS"], p["HEIGHT"], p["WIDTH"])))
    if p["ACTIVATION"] == 0:
        result.append(("abbnn_saturate", {"LANES": pe, "S_WIDTH": added, "M_WIDTH": value}))
    elif p["ACTIVATION"] == 1:
        fields = {"FIELD_WIDTH": p["FIELD_WIDTH"], "LEFT_MAX": p["LEFT_MAX"]}
        shift = {"SHIFT_WIDTH": p["ACTIVATION_SHIFT_WIDTH"]}
        result.append(("abbnn_qprelu", {**out, "S_WIDTH": added, "M_WIDTH": value, **fields, **shift}))
    else:
        result.append(_scale(p, "PRELU", PRELU=1, **out, S_WIDTH=added, M_WIDTH=value))
    return result


def _head_children(p: Parameters) -> list[Instance]:
    pooled = p["VALUE_WIDTH"] + (p["POSITIONS"] - 1).bit_length() - p["POOL_SHIFT"]
    depth, folds = p["CHANNELS"] // p["SIMD"], p["CLASSES"] // p["PE"]
    pool = {"LANES": p["S_LANES"], "SHIFT": p["POOL_SHIFT"]}
    array = {"SIMD_FOLD": depth, "CHANNELS": p["CLASSES"], "DATA_WIDTH": pooled, "SUM_WIDTH": p["SCORE_WIDTH"]}
    return [
        ("abbnn_gap", pool | {key: p[key] for key in ("CHANNELS", "VALUE_WIDTH", "POSITIONS")}),
        _resize(pooled, p["S_LANES"], p["SIMD"]),
        _replay(p["SIMD"] * pooled, depth, folds * p["PLANES"]),
        ("abbnn_sum_array", array | {key: p[key] for key in ("PE", "SIMD", "PLANES")}),
        _resize(p["SCORE_WIDTH"], p["PE"], 1),
        ("abbnn_argmax", {"SCORE_WIDTH": p["SCORE_WIDTH"], "CLASSES": p["CLASSES"], "M_WIDTH": 32}),
    ]


def _core_children(p: Parameters) -> list[Instance]:
    """What abbnn_core has besides its stages."""
    return [
        ("abbnn_guard", {"DATA_WIDTH": 24, "BEATS": p["IMAGE_HEIGHT"] * p["IMAGE_WIDTH"]}),
        _fifo(1, 2 * p["BLOCKS"] + 8),
        ("abbnn_drop", {"DATA_WIDTH": 32}),
        ("abbnn_skid", {"DATA_WIDTH": 33}),
    ]


def children(module: str, p: Parameters) -> list[Instance]:
    """The modules that one instance of `module` instantiates, with their parameters. What a cycle holds is in rtl/."""
    if module == "abbnn_stem":
        return _stem_children(p)
    if module == "abbnn_block":
        shortcut: list[Instance] = [("abbnn_shortcut", shortcut_parameters(p))] if p["SHORTCUT"] >= 3 else []
        return block_children(p) + shortcut
    if module == "abbnn_shortcut":
        return _shortcut_children(p)
    if module == "abbnn_head":
        return _head_children(p)
    if module == CORE:
        return _core_children(p)
    if module == "abbnn_framer":
        return [("abbnn_skid", {"DATA_WIDTH": p["DATA_WIDTH"] + 1})]
    if module == "abbnn_xnor_array":
        skid: Instance = ("abbnn_skid", {"DATA_WIDTH": p["PE"] * p["SUM_WIDTH"]})
        return [*[("abbnn_popcount", {"WIDTH": p["SIMD"]})] * p["PE"], skid]
    if module == "abbnn_sum_array":
        folds = p["CHANNELS"] // p["PE"]
        return [
            _table(p["PE"] * p["SIMD"], folds * p["PLANES"] * p["SIMD_FOLD"]),
            _table(p["PE"] * p["SUM_WIDTH"], folds),
            ("abbnn_signed_sum", {"PE": p["PE"], "SIMD": p["SIMD"], "DATA_WIDTH": p["DATA_WIDTH"]}),
        ]
    if module == "abbnn_compare":
        return [_table(p["LANES"] * p["VALUE_WIDTH"], p["CHANNELS"] // p["LANES"])]
    if module == "abbnn_scale":
        return [_table(p["LANES"] * p["TERMS"] * (p["SHIFT_WIDTH"] + 2), p["CHANNELS"] // p["LANES"])]
    if module == "abbnn_qprelu":
        return [_table(p["LANES"] * (4 * p["FIELD_WIDTH"] + p["SHIFT_WIDTH"]), p["CHANNELS"] // p["LANES"])]
    if module == "abbnn_window" and p["KERNEL"] == 1 and p["STRIDE"] == 2:
        data = {"DATA_WIDTH": p["LANES"] * p["DATA_WIDTH"], "GROUPS": p["GROUPS"]}
        return [("abbnn_subsample", data | {key: p[key] for key in ("HEIGHT", "WIDTH")})]
    return []


def instances(module: str, p: Parameters) -> Iterable[Instance]:
    """`module` itself and everything below it."""
    yield module, p
    for child, parameters in children(module, p):
        yield from instances(child, parameters)


# ---- what a module's own cells are made of


class Features(NamedTuple):
    """Each number is about what the feature costs, so that coefficients are about 1. A module's lengths are fixed."""

    lut: tuple[float, ...]
    ff: tuple[float, ...]
    bram: float = 0.0


def _none(family: Family, p: Parameters) -> Features:
    return Features((), ())


def _popcount(family: Family, p: Parameters) -> Features:
    """Up to 288 lanes, and beyond, where a register more lies on the way."""
    half = p["WIDTH"] / 2
    few, many = (half, 0.0) if p["WIDTH"] <= 288 else (0.0, half)
    return Features((p["WIDTH"], 10.0), (few, many, 10.0))


def place_numbers(family: Family, depth: int, width: int) -> Placement:
    """Where a table of numbers with fixed contents goes."""
    return place(family, depth, max(1, round(family.varying * width)), rom=True)


_STYLES = ("auto", "lut", "block")


def _xnor_array(family: Family, p: Parameters) -> Features:
    folds, sums = p["CHANNELS"] // p["PE"], p["PE"] * p["SUM_WIDTH"]
    style = _STYLES[p["WEIGHT_MEMORY"]]
    weights = place(family, folds * p["SIMD_FOLD"], p["PE"] * p["SIMD"], rom=True, style=style)
    correction = place_numbers(family, (9 if p["BORDER"] else 1) * folds, sums)
    totals = sums if p["SIMD_FOLD"] > 1 else 0
    mux = weights.mux + correction.mux
    return Features(
        (weights.lut, correction.lut, sums + totals, mux / 2, 30.0),
        (weights.ff + p["SIMD"], correction.ff, float(totals), 30.0),
        weights.bram + correction.bram,
    )


def _table_features(family: Family, p: Parameters) -> Features:
    table = place_numbers(family, p["DEPTH"], p["WIDTH"])
    address = _bits(p["DEPTH"]) if p["DEPTH"] > 1 else 0
    return Features((table.lut, table.mux / 2, 2.0 * address), (table.ff, float(address)), table.bram)


def _scale_features(family: Family, p: Parameters) -> Features:
    terms, lanes, total = p["TERMS"], p["LANES"], p["SUM_WIDTH"]
    word = lanes * terms * (p["SHIFT_WIDTH"] + 2)
    result = total - p["GUARD"]
    shifters = lanes * terms * total * p["SHIFT_WIDTH"] / 2
    sums = lanes * total * (terms - 1)
    x = p["S_WIDTH"] + (1 if total > p["S_WIDTH"] else 0)
    behind = terms * total + result + p["M_WIDTH"]
    # One term that needs no saturation passes three registers unchanged: a shift register, where a family has them.
    delayed = terms == 1 and result <= p["M_WIDTH"]
    saturate, computed, delays = (0, 0, behind) if delayed else (p["M_WIDTH"], behind, 0)
    prelu = lanes * total * p["PRELU"]
    return Features(
        (
            shifters,
            float(sums),
            float(lanes * saturate),
            lanes * delays / 3,
            float(lanes * x),
            float(prelu),
            5.0,
        ),
        (2.0 * lanes * x + word, float(lanes * computed), float(lanes * delays), 4.0),
    )


def _qprelu(family: Family, p: Parameters) -> Features:
    lanes, width, shift = p["LANES"], p["FIELD_WIDTH"], p["SHIFT_WIDTH"]
    shifted = width + 1 + p["LEFT_MAX"]
    registers = 2 * p["S_WIDTH"] + 3 * width + 2 * shift + 2 * (width + 1) + shifted + width + p["M_WIDTH"]
    word = 4 * width + shift
    return Features(
        (lanes * shifted * shift / 2, lanes * 3.0 * width, lanes * p["M_WIDTH"], 5.0),
        (lanes * (registers + word), 5.0),
    )


def _compare(family: Family, p: Parameters) -> Features:
    bits = p["LANES"] * p["VALUE_WIDTH"]
    return Features((float(bits), 4.0), (2.0 * bits + p["LANES"], 2.0))


def _window(family: Family, p: Parameters) -> Features:
    kernel = p["KERNEL"]
    if kernel == 1:
        return Features((0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    beat, past = p["LANES"] * p["DATA_WIDTH"], kernel - 1
    bank = place(family, p["WIDTH"] * p["GROUPS"], beat)
    # Of the earlier columns, with their register.
    delay = Placement(0.0, float(past * kernel * beat), 0.0, 0.0)
    if p["GROUPS"] > 1:
        delay = place(family, p["GROUPS"] - 1, past * kernel * beat)
    counters = _bits(p["WIDTH"] * p["GROUPS"]) * 2 + _bits(p["HEIGHT"]) + _bits(p["WIDTH"]) + _bits(p["GROUPS"])
    return Features(
        (
            (kernel + 1) * bank.lut + delay.lut,
            (kernel + 1) * bank.mux / 2,
            float(kernel * beat * (1 if kernel == 3 else 2)),
            float(past * kernel * beat),
            3.0 * counters,
        ),
        ((kernel + 1) * bank.ff + delay.ff, float(kernel * beat), counters + 20.0),
        (kernel + 1) * bank.bram + delay.bram,
    )


def _replay_features(family: Family, p: Parameters) -> Features:
    width, counters = p["DATA_WIDTH"], _bits(p["TIMES"]) + 2 * _bits(p["DEPTH"])
    if p["DEPTH"] == 1 and p["TIMES"] > 1:
        return Features((0.0, 0.0, 2.0 * counters, 5.0), (2.0 * width, counters, 5.0))
    memory = place(family, 2 * p["DEPTH"], width)
    return Features((memory.lut, memory.mux / 2, 2.0 * counters, 5.0), (memory.ff, counters, 5.0), memory.bram)


def _sum_array(family: Family, p: Parameters) -> Features:
    sums, lanes = p["PE"] * p["SUM_WIDTH"], p["PE"] * p["SIMD"]
    levels = _bits(p["SIMD"])
    return Features((2.0 * sums, 10.0 + levels), (3.0 * sums, lanes + p["SIMD"] * p["DATA_WIDTH"], 10.0 + 4 * levels))


def _tree(nodes: int, width: int) -> int:
    """Bits of the adders that add `nodes` numbers up, a bit more at each level."""
    bits = 0
    while nodes > 1:
        bits += nodes // 2 * width
        nodes, width = -(-nodes // 2), width + 1
    return bits


def _signed_sum(family: Family, p: Parameters) -> Features:
    """As rtl/nn/abbnn_signed_sum.v makes an output: a tree of lanes, or chains of pairs whose sums outputs share.

    Features: bits of the adders, of the lanes that an adder takes in by themselves, and of the shared sums.
    """
    pe, lanes, width = p["PE"], p["SIMD"], p["DATA_WIDTH"]
    inputs = pe * lanes + lanes * width
    if pe <= 2:
        adders, alone = pe * _tree(-(-lanes // 2), width + 1), pe * lanes * width
        return Features((float(adders), float(alone), 0.0), (float(adders + alone / 2), 0.0, float(inputs)))
    levels = _bits(lanes)
    depth = 3 if levels > 2 and 7 << (levels - 3) >= lanes else min(2, levels)
    chains = -(-lanes // (2 * depth + 1))
    pairs, terms = (lanes - chains) // 2, -(-(lanes - chains) // 2)
    adders = pe * (terms * (width + 2) + _tree(chains, width + 1 + depth))
    shared = 2 * pairs * (width + 1)
    delays = pe * terms * depth
    return Features(
        (float(adders), float(pe * chains * width), float(shared)),
        (float(adders), float(delays), float(inputs + shared)),
    )


def _fifo_features(family: Family, p: Parameters) -> Features:
    memory = place(family, p["DEPTH"], p["DATA_WIDTH"])
    address = 2.0 * _bits(p["DEPTH"])
    return Features(
        (memory.lut, memory.mux / 2, 2 * address, 5.0), (memory.ff + p["DATA_WIDTH"], address + 4), memory.bram
    )


def _skid(family: Family, p: Parameters) -> Features:
    return Features((float(p["DATA_WIDTH"]), 4.0), (2.0 * p["DATA_WIDTH"], 4.0))


def _framer_features(family: Family, p: Parameters) -> Features:
    return Features((1.5 * _bits(p["BEATS"]), 2.0), (float(_bits(p["BEATS"])),))


def _fork(family: Family, p: Parameters) -> Features:
    return Features((5.0,), (2.0,))


def _resize_features(family: Family, p: Parameters) -> Features:
    """A beat that is given in parts is shifted through multiplexers; one that is collected, through registers alone."""
    if p["S_LANES"] == p["M_LANES"]:
        return Features((0.0, 0.0), (0.0, 0.0))
    bits = p["LANE_WIDTH"] * max(p["S_LANES"], p["M_LANES"])
    counter = _bits(max(p["S_LANES"], p["M_LANES"]) // min(p["S_LANES"], p["M_LANES"]))
    return Features((float(bits if p["S_LANES"] > p["M_LANES"] else 0), 4.0 + counter), (float(bits), 1.0 + counter))


def _pool(family: Family, p: Parameters) -> Features:
    groups, bits = p["CHANNELS"] // p["LANES"], p["LANES"] * p["VALUE_WIDTH"]
    beats = p["WIDTH"] // 2 * groups
    pairs, rows = place(family, groups, bits), place(family, beats, bits + p["LANES"])
    counters = _bits(groups) + 2 * _bits(beats)
    return Features(
        (pairs.lut + rows.lut, (pairs.mux + rows.mux) / 2, 2.0 * bits, 2.0 * counters + 5),
        (pairs.ff + rows.ff, 6.0 * bits, counters + 8.0),
        pairs.bram + rows.bram,
    )


def _max_pool(family: Family, p: Parameters) -> Features:
    groups, bits = p["CHANNELS"] // p["LANES"], p["LANES"] * p["VALUE_WIDTH"]
    beats = -(-p["WIDTH"] // 2) * groups
    carry, rows = place(family, groups, bits), place(family, beats, bits)
    counters = 3 * _bits(beats) + _bits(p["WIDTH"]) + _bits(p["HEIGHT"])
    return Features(
        (carry.lut + rows.lut, (carry.mux + rows.mux) / 2, 4.0 * bits, 2.0 * counters + 5),
        (carry.ff + rows.ff, 4.0 * bits, counters + 15.0),
        carry.bram + rows.bram,
    )


def _gap(family: Family, p: Parameters) -> Features:
    groups, bits = p["CHANNELS"] // p["LANES"], p["LANES"] * p["VALUE_WIDTH"]
    sums = p["LANES"] * (p["VALUE_WIDTH"] + (p["POSITIONS"] - 1).bit_length())
    memory = place(family, groups, sums) if groups > 3 else Placement(0.0, float(groups * sums), 0.0, 0.0)
    counters = 3 * _bits(groups) + _bits(p["POSITIONS"])
    return Features(
        (memory.lut, memory.mux / 2, float(sums), 2.0 * counters),
        (memory.ff, 2.0 * bits + 2 * sums - p["LANES"] * p["SHIFT"], counters + 8.0),
        memory.bram,
    )


def _subsample(family: Family, p: Parameters) -> Features:
    counters = _bits(p["GROUPS"]) + _bits(p["HEIGHT"]) + _bits(p["WIDTH"])
    return Features((2.0 * counters + 5,), (float(counters),))


def _argmax(family: Family, p: Parameters) -> Features:
    return Features((2.0 * p["SCORE_WIDTH"] + 20,), (float(p["SCORE_WIDTH"] + p["M_WIDTH"] + 2 * _bits(p["CLASSES"])),))


def _add(family: Family, p: Parameters) -> Features:
    bits = float(p["LANES"] * (max(p["A_WIDTH"], p["B_WIDTH"]) + 1))
    return Features((bits, 3.0), (bits, 1.0))


def _saturate(family: Family, p: Parameters) -> Features:
    bits = float(p["LANES"] * p["M_WIDTH"])
    return Features((bits, 3.0), (bits, 1.0))


def _guard(family: Family, p: Parameters) -> Features:
    count = _bits(p["BEATS"])
    return Features((2.0 * count + p["DATA_WIDTH"] + 10,), (float(count + p["DATA_WIDTH"] + 8),))


def _drop(family: Family, p: Parameters) -> Features:
    return Features((36.0,), (32.0,))


def _core(family: Family, p: Parameters) -> Features:
    return Features((40.0,), (33.0,))


_FEATURES: Mapping[str, Callable[[Family, Parameters], Features]] = {
    CORE: _core,
    "abbnn_stem": lambda family, p: Features((9.0 * p["CHANNELS"],), ()),
    "abbnn_block": _none,
    "abbnn_shortcut": _none,
    "abbnn_head": _none,
    "abbnn_add": _add,
    "abbnn_argmax": _argmax,
    "abbnn_compare": _compare,
    "abbnn_drop": _drop,
    "abbnn_fifo": _fifo_features,
    "abbnn_fork": _fork,
    "abbnn_framer": _framer_features,
    "abbnn_gap": _gap,
    "abbnn_guard": _guard,
    "abbnn_max_pool": _max_pool,
    "abbnn_pool": _pool,
    "abbnn_popcount": _popcount,
    "abbnn_qprelu": _qprelu,
    "abbnn_replay": _replay_features,
    "abbnn_resize": _resize_features,
    "abbnn_saturate": _saturate,
    "abbnn_scale": _scale_features,
    "abbnn_signed_sum": _signed_sum,
    "abbnn_skid": _skid,
    "abbnn_subsample": _subsample,
    "abbnn_sum_array": _sum_array,
    "abbnn_table": _table_features,
    "abbnn_window": _window,
    "abbnn_xnor_array": _xnor_array,
}


# ---- coefficients from synthesis results

Vector = NDArray[np.float64]
_RESOURCES = ("lut", "ff")


class Coefficients(NamedTuple):
    """What a unit of each feature of a module costs."""

    lut: Vector
    ff: Vector


def measured_modules(point: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The modules of a point, those of CODINGS as the ones that they belong to."""
    result: dict[str, dict[str, float]] = {}
    for name, numbers in point["modules"].items():
        module = CODINGS.get(name, name)
        before = result.get(module, {})
        result[module] = {key: before.get(key, 0) + numbers[key] for key in Area._fields}
        result[module]["count"] = max(before.get("count", 0), numbers["count"])
    return result


def read_calibration(path: Path = CALIBRATION) -> list[dict[str, Any]]:
    """The points of a calibration file. ValueError names the file."""
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        return [point for point in data["points"] if point["family"] and point["use"] in ("fit", "validation")]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a calibration file ({error!r})") from None


def _module_features(family: Family, top: str, parameters: Parameters) -> dict[str, Features]:
    """The sum over all instances of each module in a stage."""
    result: dict[str, Features] = {}
    for module, p in instances(top, parameters):
        found = _FEATURES[module](family, p)
        if module in result:
            before = result[module]
            found = Features(
                tuple(map(sum, zip(before.lut, found.lut, strict=True))),
                tuple(map(sum, zip(before.ff, found.ff, strict=True))),
                before.bram + found.bram,
            )
        result[module] = found
    return result


def module_counts(top: str, parameters: Parameters) -> Counter[str]:
    """How often a stage instantiates each module, itself included."""
    return Counter(module for module, _ in instances(top, parameters))


def fit(rows: Vector, values: Vector) -> Vector:
    """Coefficients >= 0 of the features (points, features) that give `values` (points) with the least relative error.

    sum(((rows @ c - values) / max(values, sums of rows, 1% of the greatest))**2) + RIDGE * sum((c - 1)**2), the least
    over every set of coefficients that are not 0. The sums are there for a memory that went elsewhere than foreseen.
    """
    columns = rows.shape[1]
    if columns == 0:
        return np.zeros(0)
    scale = 1 / np.maximum(np.maximum(values, rows.sum(axis=1)), max(1.0, 0.01 * float(values.max(initial=0.0))))
    ridge = math.sqrt(RIDGE) * np.eye(columns)
    matrix = np.concatenate([rows * scale[:, None], ridge])
    target = np.concatenate([values * scale, math.sqrt(RIDGE) * np.ones(columns)])
    best, least = np.zeros(columns), math.inf
    for chosen in itertools.product((True, False), repeat=columns):
        kept = np.flatnonzero(chosen)
        solution = np.zeros(columns)
        if kept.size:
            solution[kept] = np.linalg.lstsq(matrix[:, kept], target, rcond=None)[0]
        error = float(((matrix @ solution - target) ** 2).sum())
        if solution.min() >= 0 and error < least:
            best, least = solution, error
    return best


def _fit_modules(family: Family, points: Sequence[Mapping[str, Any]]) -> dict[str, Coefficients]:
    rows: dict[str, list[tuple[Features, Mapping[str, float]]]] = {}
    for point in points:
        features = _module_features(family, point["top"], point["parameters"])
        for module, measured in measured_modules(point).items():
            if module in features:
                rows.setdefault(module, []).append((features[module], measured))
    result = {}
    for module, pairs in rows.items():
        fitted = [
            fit(
                np.array([getattr(features, resource) for features, _ in pairs], np.float64).reshape(len(pairs), -1),
                np.array([measured[resource] for _, measured in pairs], np.float64),
            )
            for resource in _RESOURCES
        ]
        result[module] = Coefficients(*fitted)
    return result


class Errors(NamedTuple):
    """Prediction against synthesis of one design that nothing was fitted on."""

    design: str
    predicted: Area
    measured: Area

    @property
    def lut(self) -> float:
        return self.predicted.lut / self.measured.lut - 1

    @property
    def ff(self) -> float:
        return self.predicted.ff / self.measured.ff - 1


@dataclass(frozen=True)
class AreaModel:
    """Predicts for one family."""

    family: str
    mapping: Family
    """FAMILIES' one, with the part of tables that varies."""
    coefficients: Mapping[str, Coefficients]
    guessed: frozenset[str]
    """Modules that no point of this family has: their coefficients come from another family, or are 1."""
    _known: dict[tuple[str, tuple[int, ...]], Area] = field(default_factory=dict, repr=False, compare=False)

    def own(self, module: str, parameters: Parameters) -> Area:
        """Of one instance, without what it instantiates."""
        features = _FEATURES[module](self.mapping, parameters)
        found = self.coefficients[module]
        return Area(
            math.fsum(a * b for a, b in zip(found.lut, features.lut, strict=True)),
            math.fsum(a * b for a, b in zip(found.ff, features.ff, strict=True)),
            features.bram,
        )

    def instance(self, module: str, parameters: Parameters) -> Area:
        """Of one instance and everything below it."""
        key = module, tuple(parameters.values())
        if key not in self._known:
            below = [self.instance(child, p) for child, p in children(module, parameters)]
            self._known[key] = total([self.own(module, parameters), *below])
        return self._known[key]


def total(areas: Iterable[Area]) -> Area:
    lut, ff, bram = 0.0, 0.0, 0.0
    for area in areas:
        lut, ff, bram = lut + area.lut, ff + area.ff, bram + area.bram
    return Area(lut, ff, bram)


def calibrate(points: Sequence[Mapping[str, Any]], family: str) -> AreaModel:
    """Fit on the points of `family` that are not for validation. ValueError if there are none.

    A module that none of them has is taken from a family that has it, scaled as the others are on the whole; if there
    is none, its coefficients are 1.
    """
    known = sorted({str(point["family"]) for point in points if point["use"] == "fit"})
    if family not in known:
        raise UserError(f"no synthesis results to estimate {family} with; there are some for {', '.join(known)}")
    used, mapping = _with_varying(points, family)
    found = _fit_modules(mapping, used)
    measured = set(found)
    for other in known:
        if other == family or not set(_FEATURES) - set(found):
            continue
        theirs = _fit_modules(*_with_varying(points, other)[::-1])
        ratio = {name: _ratio(mapping, used, theirs, measured, name) for name in _RESOURCES}
        for module in set(theirs) - set(found):
            found[module] = Coefficients(theirs[module].lut * ratio["lut"], theirs[module].ff * ratio["ff"])
    for module in set(_FEATURES) - set(found):
        features = _FEATURES[module](mapping, _AnyParameters())
        found[module] = Coefficients(np.ones(len(features.lut)), np.ones(len(features.ff)))
    return AreaModel(family, mapping, found, frozenset(set(_FEATURES) - measured))


def _with_varying(points: Sequence[Mapping[str, Any]], name: str) -> tuple[list[Mapping[str, Any]], Family]:
    """A family's points to fit on, and the family with the `varying` that explains their block RAMs best."""
    used = [point for point in points if point["family"] == name and point["use"] == "fit"]
    cases = [(point["top"], point["parameters"], float(point["total"]["bram"])) for point in used]

    def error(family: Family) -> float:
        found = (
            math.fsum(features.bram for features in _module_features(family, top, p).values()) - blocks
            for top, p, blocks in cases
        )
        return math.fsum(abs(each) for each in found)

    return used, min((replace(FAMILIES[name], varying=part) for part in VARYING), key=error)


class _AnyParameters(dict[str, int]):
    """1 for every name: what the number of a module's features is found out with."""

    def __missing__(self, name: str) -> int:
        return 1


def _ratio(
    family: Family,
    points: Sequence[Mapping[str, Any]],
    coefficients: Mapping[str, Coefficients],
    modules: set[str],
    resource: str,
) -> float:
    """What `points` cost over what another family's coefficients say, on the modules that both know."""
    real, said = 0.0, 0.0
    for point in points:
        features = _module_features(family, point["top"], point["parameters"])
        measured = measured_modules(point)
        for module in modules & set(coefficients) & set(features) & set(measured):
            real += measured[module][resource]
            said += float(np.dot(getattr(coefficients[module], resource), getattr(features[module], resource)))
    return real / said if said else 1.0


@cache
def area_model(family: str) -> AreaModel:
    """The model of a family, fitted on `calibration.json`."""
    return calibrate(read_calibration(), family)


def validate(model: AreaModel, points: Sequence[Mapping[str, Any]]) -> list[Errors]:
    """The model's errors on each of its family's validation designs, all stages of one together."""
    designs: dict[str, tuple[Area, Area]] = {}
    for point in points:
        if point["use"] == "validation" and point["family"] == model.family:
            predicted, measured = designs.get(point["design"], (NOTHING, NOTHING))
            real = Area(*(float(point["total"][name]) for name in ("lut", "ff", "bram")))
            guess = model.instance(point["top"], point["parameters"])
            designs[point["design"]] = predicted + guess, measured + real
    return [Errors(design, *areas) for design, areas in designs.items()]


# ---- the stages of a network


class NetworkArea:
    """Areas of a network's stages for any folding. The folding's `weights` are part of it."""

    def __init__(self, network: IntegerNetwork, model: AreaModel) -> None:
        self.model = model
        self.stages = {stage.name: stage for stage in stages(network)}
        slowest = {name: Fold(1, stage.taps) for name, stage in self.stages.items()}
        configs = pipeline_config(network, analyse(network), slowest)
        self._parameters = {config.name: dict(config.parameters) for config in configs}
        structure = network.structure
        self._size = {
            "IMAGE_HEIGHT": structure.height,
            "IMAGE_WIDTH": structure.width,
            "BLOCKS": len(structure.blocks),
        }
        self.fixed = model.instance(CORE, self._size)
        """Guard, verdict FIFO, drop, output register."""

    @property
    def modules(self) -> frozenset[str]:
        """Names of the modules that the network needs, for any folding."""
        used = {CORE} | {name for name, _ in _core_children(self._size)}
        for name, p in self._parameters.items():
            top = f"abbnn_{'block' if name.startswith('block') else name}"
            used |= set(module_counts(top, p))
        return frozenset(used)

    def stage(self, name: str, fold: Fold, entering: int) -> Area:
        """Of stem, blockNN without its shortcut, blockNN.shortcut or head, behind `entering` stream lanes."""
        block, _, shortcut = name.partition(".")
        lanes = {"S_LANES": entering, "PE": fold.pe}
        if shortcut:
            p = shortcut_parameters(self._parameters[block]) | lanes | {"SIMD": fold.simd}
            return self.model.instance("abbnn_shortcut", p)
        p = self._parameters[name] | {"PE": fold.pe, "SIMD": fold.simd}
        if name == "stem":
            return self.model.instance("abbnn_stem", p)
        if name == "head":
            return self.model.instance("abbnn_head", p | lanes)
        p |= {**lanes, "WEIGHT_MEMORY": _STYLES.index(fold.weights)}
        return total(self.model.instance(module, q) for module, q in block_children(p))

    def folding(self, folding: Mapping[str, Fold]) -> dict[str, Area]:
        """Of every stage of a folding."""
        result: dict[str, Area] = {}
        entering, leaving = 0, 0
        for name in self.stages:
            if not name.endswith(".shortcut"):
                entering = leaving
            result[name] = self.stage(name, folding[name], entering)
            leaving = folding[name].pe
        return result
