"""Parameters and memories of every pipeline stage, from the frozen network, its ranges and a folding.

Parameter names are those of `abbnn_stem`, `abbnn_block` and `abbnn_head` (rtl/core); memory names are the suffixes that
these modules append to their PREFIX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from abbnn.errors import UserError
from abbnn.export.folding import Fold, Folding, WeightMemory
from abbnn.export.layout import mem_text
from abbnn.export.tables import compare_table, qprelu_table, scale_table, sum_array_tables, xnor_array_tables
from abbnn.golden.network import Activation, IntegerNetwork, Scale, SumLayer
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


@dataclass(frozen=True)
class StageConfig:
    """`parameters` of the stage's RTL module, those that it has a use for, and its `memories` by file name."""

    name: str
    parameters: Mapping[str, int]
    memories: Mapping[str, Memory]


SHORTCUTS: tuple[Shortcut, ...] = ("identity", "repeat", "pool", "pool-conv", "conv")
"""In the order of SHORTCUT of rtl/core/abbnn_block.v; real weights are "pool-conv" with SHORTCUT_PLANES planes."""


def stage_kind(name: str) -> str:
    """ "stem", "block" or "head": what the stage's module and its place among the tables are named after."""
    return name.rstrip("0123456789")


def _bits(value: int) -> int:
    """Bits of an unsigned field that holds 0..value, at least 1."""
    return max(1, value.bit_length())


def _scale(
    prefix: str, scale: Scale | None, bounds: SumRange | None, lanes: int, meaning: str
) -> tuple[dict[str, int], Memory | None]:
    """Parameters of an abbnn_scale, each with `prefix`, and its table; of one that is not there, none."""
    if scale is None or bounds is None:
        return {}, None
    shift_width = _bits(int(scale.shift.max()))
    parameters = {
        f"{prefix}_TERMS": scale.terms,
        f"{prefix}_SHIFT_WIDTH": shift_width,
        f"{prefix}_GUARD": scale.guard,
        f"{prefix}_SUM_WIDTH": bounds.products_bits,
    }
    memory = Memory(
        scale_table(scale.sign, scale.shift, lanes, shift_width),
        lanes * scale.terms * (shift_width + 2),
        f"{meaning} as signed powers of two",
        f"{lanes} channels x {scale.terms} terms x (shift[{shift_width}], negate[1], enable[1])",
    )
    return parameters, memory


def _sum_memories(name: str, layer: SumLayer, fold: Fold, sum_width: int) -> dict[str, Memory]:
    """The tables of an abbnn_sum_array with the prefix `name`."""
    weights, bias = sum_array_tables(layer.weights, layer.bias, layer.planes, fold.pe, fold.simd, sum_width)
    order = "fold" if layer.planes == 1 else "(fold * planes + plane from the top)"
    return {
        f"{name}_weights.mem": Memory(
            weights,
            fold.pe * fold.simd,
            f"weights, 1 for +1; address {order} * beats + beat",
            f"{fold.pe} PE x {fold.simd} SIMD x 1",
        ),
        f"{name}_bias.mem": Memory(
            bias, fold.pe * sum_width, "bias plus the number of -1 weights", f"{fold.pe} PE x signed[{sum_width}]"
        ),
    }


def _present(memories: Mapping[str, Memory | None]) -> dict[str, Memory]:
    return {name: memory for name, memory in memories.items() if memory is not None}


def stem_config(network: IntegerNetwork, ranges: Ranges, folding: Folding) -> StageConfig:
    structure, fold, stem = network.structure, folding["stem"], network.stem
    sum_width = ranges.stem.sum.bits
    scale, scale_memory = _scale("SCALE", network.stem_scale, ranges.stem, fold.pe, "factors")
    prelu, prelu_memory = _scale("PRELU", network.stem_prelu, ranges.stem_prelu, fold.pe, "slopes")
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
        "PLANES": stem.planes,
        "SUM_WIDTH": sum_width,
        **scale,
        "PRELU": int(structure.stem.prelu),
        **prelu,
        "MAX_POOL": int(structure.stem.max_pool),
        "VALUE_WIDTH": network.value_width,
    }
    memories = _sum_memories("stem", stem, fold, sum_width)
    memories |= _present({"stem_scale.mem": scale_memory, "stem_prelu.mem": prelu_memory})
    return StageConfig("stem", parameters, memories)


def _activation(activation: Activation | None, bounds: BlockRange, lanes: int) -> tuple[dict[str, int], Memory | None]:
    """Parameters of abbnn_qprelu and its table; none for a block without one."""
    if activation is None:
        return {}, None
    width = bounds.field_bits
    left_max = max(0, int(activation.exponent.max()))
    # Values above the threshold are shifted by left_max, whether or not a channel has the exponent 0.
    shift_width = _bits(left_max - min(0, int(activation.exponent.min())))
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
    return {"FIELD_WIDTH": width, "LEFT_MAX": left_max, "ACTIVATION_SHIFT_WIDTH": shift_width}, memory


def _shortcut(
    name: str, layer: SumLayer | None, scale: Scale | None, bounds: SumRange | None, fold: Fold | None
) -> tuple[dict[str, int], dict[str, Memory]]:
    """Parameters of abbnn_shortcut and its tables; none for a shortcut without weights."""
    if layer is None or bounds is None or fold is None:
        return {}, {}
    scale_parameters, scale_memory = _scale("SHORTCUT_SCALE", scale, bounds, fold.pe, "factors")
    parameters = {
        "SHORTCUT_SIMD": fold.simd,
        "SHORTCUT_PLANES": layer.planes,
        "SHORTCUT_SUM_WIDTH": bounds.sum.bits,
        **scale_parameters,
        "SHORTCUT_SCALED_WIDTH": bounds.scaled.bits,
    }
    return parameters, _sum_memories(name, layer, fold, bounds.sum.bits) | _present({f"{name}_scale.mem": scale_memory})


def block_config(network: IntegerNetwork, ranges: Ranges, folding: Folding, index: int) -> StageConfig:
    name, numbers, bounds = block_name(index), network.blocks[index], ranges.blocks[index]
    geometry = network.structure.blocks[index]
    if geometry.kernel < geometry.stride:
        raise UserError(f"{name}: abbnn_block has no 1x1 convolution of stride 2")
    fold = folding[name]
    s_lanes = folding[block_name(index - 1) if index else "stem"].pe
    sum_width = bounds.conv.sum.bits
    weights, correction = xnor_array_tables(
        numbers.weights, sum_width, fold.pe, fold.simd, geometry.height, geometry.width, geometry.stride
    )
    scale, scale_memory = _scale("SCALE", numbers.scale, bounds.conv, fold.pe, "factors")
    activation, activation_memory = _activation(numbers.activation, bounds, fold.pe)
    prelu, prelu_memory = _scale("PRELU", numbers.prelu, bounds.prelu, fold.pe, "slopes")
    shortcut, shortcut_memories = _shortcut(
        f"{name}_shortcut",
        numbers.shortcut,
        numbers.shortcut_scale,
        bounds.shortcut,
        folding.get(f"{name}.shortcut"),
    )
    memories = {
        f"{name}_threshold.mem": Memory(
            compare_table(numbers.threshold, s_lanes, network.value_width),
            s_lanes * network.value_width,
            "sign thresholds",
            f"{s_lanes} channels x signed[{network.value_width}]",
        ),
        f"{name}_weights.mem": Memory(
            weights,
            fold.pe * fold.simd,
            "weights, 1 for +1; address fold * beats + beat",
            f"{fold.pe} PE x {fold.simd} SIMD x 1",
        ),
        f"{name}_correction.mem": Memory(
            correction,
            fold.pe * sum_width,
            "popcount corrections; address border class * folds + fold",
            f"{fold.pe} PE x signed[{sum_width}]",
        ),
    }
    memories |= _present(
        {
            f"{name}_scale.mem": scale_memory,
            f"{name}_activation.mem": activation_memory,
            f"{name}_prelu.mem": prelu_memory,
        }
    )
    parameters = {
        "IN_CHANNELS": geometry.in_channels,
        "OUT_CHANNELS": geometry.out_channels,
        "HEIGHT": geometry.height,
        "WIDTH": geometry.width,
        "KERNEL": geometry.kernel,
        "STRIDE": geometry.stride,
        "SHORTCUT": SHORTCUTS.index("pool-conv" if geometry.projects_real else geometry.shortcut),
        "ACTIVATION": get_args(ActivationKind).index(geometry.activation),
        "S_LANES": s_lanes,
        "PE": fold.pe,
        "SIMD": fold.simd,
        "VALUE_WIDTH": network.value_width,
        "SUM_WIDTH": sum_width,
        **scale,
        "SCALED_WIDTH": bounds.conv.scaled.bits,
        **shortcut,
        **activation,
        **prelu,
        "WEIGHT_MEMORY": get_args(WeightMemory).index(fold.weights),
    }
    return StageConfig(name, parameters, memories | shortcut_memories)


def head_config(network: IntegerNetwork, ranges: Ranges, folding: Folding) -> StageConfig:
    structure, fold, head = network.structure, folding["head"], network.head
    height, width, channels = structure.head_input
    score_width = ranges.scores.bits
    last = block_name(len(structure.blocks) - 1) if structure.blocks else "stem"
    parameters = {
        "CHANNELS": channels,
        "POSITIONS": height * width,
        "CLASSES": structure.classes,
        "S_LANES": folding[last].pe,
        "PE": fold.pe,
        "SIMD": fold.simd,
        "PLANES": head.planes,
        "VALUE_WIDTH": network.value_width,
        "POOL_SHIFT": network.pool_shift,
        "SCORE_WIDTH": score_width,
    }
    return StageConfig("head", parameters, _sum_memories("head", head, fold, score_width))


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
