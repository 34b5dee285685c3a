"""Parameters and memories of every pipeline stage, from the frozen network, its ranges and a folding.

Parameter names are those of `abbnn_stem`, `abbnn_block` and `abbnn_head` (rtl/core); memory names are the suffixes that
these modules append to their PREFIX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import get_args

import numpy as np

from abbnn.errors import UserError
from abbnn.export.folding import Fold, Folding, WeightMemory
from abbnn.export.layout import mem_text
from abbnn.export.tables import compare_table, qprelu_table, scale_table, sum_array_tables, xnor_array_tables
from abbnn.golden.network import Activation, BlockNumbers, IntegerNetwork, Scale, SumLayer
from abbnn.golden.ranges import BlockRange, Ranges, SumRange
from abbnn.golden.structure import Activation as ActivationKind
from abbnn.golden.structure import Shortcut, block_name


@dataclass(frozen=True)
class Memory:
    """One table: `words` of `width` bits. `fields` says what a word holds, lowest bits first."""

    words: list[int]
    width: int
    meaning: str
    fields: str

    @property
    def text(self) -> str:
        return mem_text(self.words, self.width)

    @property
    def slices(self) -> int:
        """Words of the load bus that one word is."""
        return -(-self.width // 32)


Parameters = Mapping[str, int]
"""Of a stage's RTL module, by name."""


@dataclass(frozen=True)
class StageConfig:
    """`parameters` of the stage's RTL module, those that it has a use for, and its `memories` by file name.

    `tables` writes the memories in the widths of any parameters that are no less than the network's own.
    """

    name: str
    parameters: Parameters
    tables: Callable[[Parameters], dict[str, Memory]]

    @cached_property
    def memories(self) -> dict[str, Memory]:
        return self.tables(self.parameters)


SHORTCUTS: tuple[Shortcut, ...] = ("identity", "repeat", "pool", "pool-conv", "conv")
"""In the order of SHORTCUT of rtl/core/abbnn_block.v; real weights are "pool-conv" with SHORTCUT_PLANES planes."""


def stage_kind(name: str) -> str:
    """ "stem", "block" or "head": what the stage's module and its place among the tables are named after."""
    return name.rstrip("0123456789")


def _bits(value: int) -> int:
    """Bits of an unsigned field that holds 0..value, at least 1."""
    return max(1, value.bit_length())


def _scale(prefix: str, scale: Scale | None, bounds: SumRange | None) -> dict[str, int]:
    """Parameters of an abbnn_scale, each with `prefix`; none where it is not there."""
    if scale is None or bounds is None:
        return {}
    return {
        f"{prefix}_TERMS": scale.terms,
        f"{prefix}_SHIFT_WIDTH": _bits(int(scale.shift.max())),
        f"{prefix}_GUARD": scale.guard,
        f"{prefix}_SUM_WIDTH": bounds.products_bits,
    }


def _scale_memory(file: str, prefix: str, scale: Scale | None, p: Parameters, meaning: str) -> dict[str, Memory]:
    """Its table. Terms that are not used are off; with a greater guard, the same shifts go further left."""
    if scale is None:
        return {}
    lanes, terms, shift_width = p["PE"], p[f"{prefix}_TERMS"], p[f"{prefix}_SHIFT_WIDTH"]
    fill = ((0, 0), (0, terms - scale.terms))
    shift = scale.shift.astype(np.int64) + p[f"{prefix}_GUARD"] - scale.guard
    memory = Memory(
        scale_table(np.pad(scale.sign, fill), np.pad(shift, fill), lanes, shift_width),
        lanes * terms * (shift_width + 2),
        f"{meaning} as signed powers of two",
        f"{lanes} channels x {terms} terms x (shift[{shift_width}], negate[1], enable[1])",
    )
    return {file: memory}


def _sum_memories(name: str, layer: SumLayer, pe: int, simd: int, sum_width: int) -> dict[str, Memory]:
    """The tables of an abbnn_sum_array with the prefix `name`."""
    weights, bias = sum_array_tables(layer.weights, layer.bias, layer.planes, pe, simd, sum_width)
    order = "fold" if layer.planes == 1 else "(fold * planes + plane from the top)"
    return {
        f"{name}_weights.mem": Memory(
            weights, pe * simd, f"weights, 1 for +1; address {order} * beats + beat", f"{pe} PE x {simd} SIMD x 1"
        ),
        f"{name}_bias.mem": Memory(
            bias, pe * sum_width, "bias plus the number of -1 weights", f"{pe} PE x signed[{sum_width}]"
        ),
    }


def stem_config(network: IntegerNetwork, ranges: Ranges, folding: Folding) -> StageConfig:
    structure, fold = network.structure, folding["stem"]
    parameters = {
        "CHANNELS": structure.stem.in_channels,
        "OUT_CHANNELS": structure.stem.out_channels,
        "HEIGHT": structure.height,
        "WIDTH": structure.width,
        "KERNEL": structure.stem.kernel,
        "STRIDE": structure.stem.stride,
        "CENTER": sum(int(value) << (8 * channel) for channel, value in enumerate(network.center)),
        "PE": fold.pe,
        "SIMD": fold.simd,
        "PLANES": network.stem.planes,
        "SUM_WIDTH": ranges.stem.sum.bits,
        **_scale("SCALE", network.stem_scale, ranges.stem),
        "PRELU": int(structure.stem.prelu),
        **_scale("PRELU", network.stem_prelu, ranges.stem_prelu),
        "MAX_POOL": int(structure.stem.max_pool),
        "VALUE_WIDTH": network.value_width,
    }
    return StageConfig("stem", parameters, partial(_stem_memories, network))


def _stem_memories(network: IntegerNetwork, p: Parameters) -> dict[str, Memory]:
    return {
        **_sum_memories("stem", network.stem, p["PE"], p["SIMD"], p["SUM_WIDTH"]),
        **_scale_memory("stem_scale.mem", "SCALE", network.stem_scale, p, "factors"),
        **_scale_memory("stem_prelu.mem", "PRELU", network.stem_prelu, p, "slopes"),
    }


def _activation(activation: Activation | None, bounds: BlockRange) -> dict[str, int]:
    """Parameters of abbnn_qprelu; none for a block without one."""
    if activation is None:
        return {}
    left_max = max(0, int(activation.exponent.max()))
    # Values above the threshold are shifted by left_max, whether or not a channel has the exponent 0.
    shift_width = _bits(left_max - min(0, int(activation.exponent.min())))
    return {"FIELD_WIDTH": bounds.field_bits, "LEFT_MAX": left_max, "ACTIVATION_SHIFT_WIDTH": shift_width}


def _activation_memory(file: str, activation: Activation | None, p: Parameters) -> dict[str, Memory]:
    if activation is None:
        return {}
    lanes, width = p["PE"], p["FIELD_WIDTH"]
    left_max, shift_width = p["LEFT_MAX"], p["ACTIVATION_SHIFT_WIDTH"]
    memory = Memory(
        qprelu_table(
            activation.threshold,
            activation.add_positive,
            activation.add_before,
            activation.exponent,
            activation.add_after,
            lanes,
            width,
            left_max,
            shift_width,
        ),
        lanes * (4 * width + shift_width),
        "QPReLU fields",
        f"{lanes} channels x (threshold, add_positive, add_before, add_after: signed[{width}] each, "
        f"shift[{shift_width}] = {left_max} - exponent)",
    )
    return {file: memory}


def _shortcut(
    layer: SumLayer | None, scale: Scale | None, bounds: SumRange | None, fold: Fold | None
) -> dict[str, int]:
    """Parameters of abbnn_shortcut; none for a shortcut without weights."""
    if layer is None or bounds is None or fold is None:
        return {}
    return {
        "SHORTCUT_SIMD": fold.simd,
        "SHORTCUT_PLANES": layer.planes,
        "SHORTCUT_SUM_WIDTH": bounds.sum.bits,
        **_scale("SHORTCUT_SCALE", scale, bounds),
        "SHORTCUT_SCALED_WIDTH": bounds.scaled.bits,
    }


def block_config(network: IntegerNetwork, ranges: Ranges, folding: Folding, index: int) -> StageConfig:
    name, numbers, bounds = block_name(index), network.blocks[index], ranges.blocks[index]
    geometry = network.structure.blocks[index]
    if geometry.kernel < geometry.stride:
        raise UserError(f"{name}: abbnn_block has no 1x1 convolution of stride 2")
    fold = folding[name]
    parameters = {
        "IN_CHANNELS": geometry.in_channels,
        "OUT_CHANNELS": geometry.out_channels,
        "HEIGHT": geometry.height,
        "WIDTH": geometry.width,
        "KERNEL": geometry.kernel,
        "STRIDE": geometry.stride,
        "SHORTCUT": SHORTCUTS.index("pool-conv" if geometry.projects_real else geometry.shortcut),
        "ACTIVATION": get_args(ActivationKind).index(geometry.activation),
        "S_LANES": folding[block_name(index - 1) if index else "stem"].pe,
        "PE": fold.pe,
        "SIMD": fold.simd,
        "VALUE_WIDTH": network.value_width,
        "SUM_WIDTH": bounds.conv.sum.bits,
        **_scale("SCALE", numbers.scale, bounds.conv),
        "SCALED_WIDTH": bounds.conv.scaled.bits,
        **_shortcut(numbers.shortcut, numbers.shortcut_scale, bounds.shortcut, folding.get(f"{name}.shortcut")),
        **_activation(numbers.activation, bounds),
        **_scale("PRELU", numbers.prelu, bounds.prelu),
        "WEIGHT_MEMORY": get_args(WeightMemory).index(fold.weights),
    }
    return StageConfig(name, parameters, partial(_block_memories, name, numbers))


def _block_memories(name: str, numbers: BlockNumbers, p: Parameters) -> dict[str, Memory]:
    s_lanes, pe, simd, value_width, sum_width = (
        p[key] for key in ("S_LANES", "PE", "SIMD", "VALUE_WIDTH", "SUM_WIDTH")
    )
    weights, correction = xnor_array_tables(numbers.weights, sum_width, pe, simd, p["HEIGHT"], p["WIDTH"], p["STRIDE"])
    memories = {
        f"{name}_threshold.mem": Memory(
            compare_table(numbers.threshold, s_lanes, value_width),
            s_lanes * value_width,
            "sign thresholds",
            f"{s_lanes} channels x signed[{value_width}]",
        ),
        f"{name}_weights.mem": Memory(
            weights, pe * simd, "weights, 1 for +1; address fold * beats + beat", f"{pe} PE x {simd} SIMD x 1"
        ),
        f"{name}_correction.mem": Memory(
            correction,
            pe * sum_width,
            "popcount corrections; address border class * folds + fold",
            f"{pe} PE x signed[{sum_width}]",
        ),
        **_scale_memory(f"{name}_scale.mem", "SCALE", numbers.scale, p, "factors"),
        **_activation_memory(f"{name}_activation.mem", numbers.activation, p),
        **_scale_memory(f"{name}_prelu.mem", "PRELU", numbers.prelu, p, "slopes"),
    }
    if numbers.shortcut is not None:
        own = f"{name}_shortcut"
        memories |= _sum_memories(own, numbers.shortcut, pe, p["SHORTCUT_SIMD"], p["SHORTCUT_SUM_WIDTH"])
        memories |= _scale_memory(f"{own}_scale.mem", "SHORTCUT_SCALE", numbers.shortcut_scale, p, "factors")
    return memories


def head_config(network: IntegerNetwork, ranges: Ranges, folding: Folding) -> StageConfig:
    structure, fold = network.structure, folding["head"]
    height, width, channels = structure.head_input
    last = block_name(len(structure.blocks) - 1) if structure.blocks else "stem"
    parameters = {
        "CHANNELS": channels,
        "POSITIONS": height * width,
        "CLASSES": structure.classes,
        "S_LANES": folding[last].pe,
        "PE": fold.pe,
        "SIMD": fold.simd,
        "PLANES": network.head.planes,
        "VALUE_WIDTH": network.value_width,
        "POOL_SHIFT": network.pool_shift,
        "SCORE_WIDTH": ranges.scores.bits,
    }
    return StageConfig("head", parameters, partial(_head_memories, network))


def _head_memories(network: IntegerNetwork, p: Parameters) -> dict[str, Memory]:
    return _sum_memories("head", network.head, p["PE"], p["SIMD"], p["SCORE_WIDTH"])


def pipeline_config(network: IntegerNetwork, ranges: Ranges, folding: Folding) -> list[StageConfig]:
    """All stages in pipeline order."""
    blocks = [block_config(network, ranges, folding, index) for index in range(len(network.blocks))]
    return [stem_config(network, ranges, folding), *blocks, head_config(network, ranges, folding)]


SLOTS = {
    "stem": ("weights", "bias", "scale", "prelu"),
    "block": (
        "threshold",
        "weights",
        "correction",
        "scale",
        "activation",
        "prelu",
        "shortcut_weights",
        "shortcut_bias",
        "shortcut_scale",
    ),
    "head": ("weights", "bias"),
}
"""Tables of a stage in the order of their numbers on the load bus (LOAD_MEMORY of rtl/core/abbnn_stem.v and so on)."""
STAGE_NUMBERS = 16
"""Numbers on the load bus that each stage has."""


def table_headers(configs: Sequence[StageConfig]) -> list[tuple[int, int]]:
    """The two words in front of each table of a load image: slices of a word less 1 and number on the bus; depth."""
    headers = []
    for stage, config in enumerate(configs):
        slots = SLOTS[stage_kind(config.name)]
        for file, memory in config.memories.items():
            slot = slots.index(file.removeprefix(f"{config.name}_").removesuffix(".mem"))
            headers.append(((memory.slices - 1) << 16 | stage * STAGE_NUMBERS + slot, len(memory.words)))
    return headers
