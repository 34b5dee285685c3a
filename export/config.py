"""Parameters and memories of every pipeline stage, from the frozen network, its ranges and a folding.

Parameter names are those of `rtl/abbnn_stem.v`, `abbnn_block.v` and `abbnn_head.v`; memory names are the suffixes that
these modules append to their PREFIX.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from export.folding import Fold, Folding
from export.layout import mem_text
from export.tables import compare_table, qprelu_table, scale_table, sum_array_tables, xnor_array_tables
from golden.network import IntegerNetwork, Scale
from golden.ranges import Ranges, SumRange
from golden.structure import block_name


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


@dataclass(frozen=True)
class StageConfig:
    """`parameters` of the stage's RTL module and its `memories` by file name."""

    name: str
    parameters: Mapping[str, int]
    memories: Mapping[str, Memory]


def _bits(value: int) -> int:
    """Bits of an unsigned field that holds 0..value, at least 1."""
    return max(1, value.bit_length())


def _scale(scale: Scale, bounds: SumRange, lanes: int) -> tuple[dict[str, int], Memory]:
    """Parameters of abbnn_scale (without SUM_WIDTH of its input) and its table."""
    shift_width = _bits(int(scale.shift.max()))
    parameters = {
        "TERMS": scale.terms,
        "SHIFT_WIDTH": shift_width,
        "GUARD": scale.guard,
        "SCALE_SUM_WIDTH": bounds.products_bits,
    }
    memory = Memory(
        scale_table(scale.sign, scale.shift, lanes, shift_width),
        lanes * scale.terms * (shift_width + 2),
        "factors as signed powers of two",
        f"{lanes} channels x {scale.terms} terms x (shift[{shift_width}], negate[1], enable[1])",
    )
    return parameters, memory


def _sum_memories(words: tuple[list[int], list[int]], fold: Fold, sum_width: int, order: str) -> tuple[Memory, Memory]:
    weights, bias = words
    return (
        Memory(
            weights, fold.pe * fold.simd, f"weights, 1 for +1; address {order}", f"{fold.pe} PE x {fold.simd} SIMD x 1"
        ),
        Memory(bias, fold.pe * sum_width, "bias plus the number of -1 weights", f"{fold.pe} PE x signed[{sum_width}]"),
    )


def stem_config(network: IntegerNetwork, ranges: Ranges, folding: Folding) -> StageConfig:
    structure, fold, stem = network.structure, folding["stem"], network.stem
    sum_width = ranges.stem.sum.bits
    scale, scale_memory = _scale(network.stem_scale, ranges.stem, fold.pe)
    words = sum_array_tables(stem.weights, stem.bias, stem.planes, fold.pe, fold.simd, sum_width)
    weights, bias = _sum_memories(words, fold, sum_width, "(fold * planes + plane from the top) * beats + beat")
    center = sum(int(value) << (8 * channel) for channel, value in enumerate(network.center))
    parameters = {
        "CHANNELS": structure.stem.in_channels,
        "OUT_CHANNELS": structure.stem.out_channels,
        "HEIGHT": structure.height,
        "WIDTH": structure.width,
        "KERNEL": structure.stem.kernel,
        "STRIDE": structure.stem.stride,
        "CENTER": center,
        "PE": fold.pe,
        "SIMD": fold.simd,
        "PLANES": stem.planes,
        "SUM_WIDTH": sum_width,
        "SCALE_TERMS": scale["TERMS"],
        "SCALE_SHIFT_WIDTH": scale["SHIFT_WIDTH"],
        "SCALE_GUARD": scale["GUARD"],
        "SCALE_SUM_WIDTH": scale["SCALE_SUM_WIDTH"],
        "VALUE_WIDTH": network.value_width,
    }
    memories = {"stem_weights.mem": weights, "stem_bias.mem": bias, "stem_scale.mem": scale_memory}
    return StageConfig("stem", parameters, memories)


def block_config(network: IntegerNetwork, ranges: Ranges, folding: Folding, index: int) -> StageConfig:
    name, numbers, bounds = block_name(index), network.blocks[index], ranges.blocks[index]
    geometry = network.structure.blocks[index]
    fold = folding[name]
    s_lanes = folding[block_name(index - 1) if index else "stem"].pe
    sum_width = bounds.conv.sum.bits
    words = xnor_array_tables(
        numbers.weights, sum_width, fold.pe, fold.simd, geometry.height, geometry.width, geometry.stride
    )
    scale, scale_memory = _scale(numbers.scale, bounds.conv, fold.pe)
    act = numbers.activation
    left_max = max(0, int(act.exponent.max()))
    shift_width = _bits(left_max - int(act.exponent.min()))
    memories = {
        f"{name}_threshold.mem": Memory(
            compare_table(numbers.threshold, s_lanes, network.value_width),
            s_lanes * network.value_width,
            "sign thresholds",
            f"{s_lanes} channels x signed[{network.value_width}]",
        ),
        f"{name}_weights.mem": Memory(
            words[0],
            fold.pe * fold.simd,
            "weights, 1 for +1; address fold * beats + beat",
            f"{fold.pe} PE x {fold.simd} SIMD x 1",
        ),
        f"{name}_correction.mem": Memory(
            words[1],
            fold.pe * sum_width,
            "popcount corrections; address border class * folds + fold",
            f"{fold.pe} PE x signed[{sum_width}]",
        ),
        f"{name}_scale.mem": scale_memory,
        f"{name}_activation.mem": Memory(
            qprelu_table(
                act.threshold,
                act.add_positive,
                act.add_before,
                act.exponent,
                act.add_after,
                fold.pe,
                bounds.field_bits,
                left_max,
                shift_width,
            ),
            fold.pe * (4 * bounds.field_bits + shift_width),
            "QPReLU fields",
            f"{fold.pe} channels x (threshold, add_positive, add_before, add_after: signed[{bounds.field_bits}] each, "
            f"shift[{shift_width}] = {left_max} - exponent)",
        ),
    }
    shortcut_parameters = dict.fromkeys(
        ("SIMD", "SUM_WIDTH", "TERMS", "SHIFT_WIDTH", "SCALE_SUM_WIDTH", "SCALED_WIDTH"), 1
    )
    shortcut_parameters["GUARD"] = 0
    if numbers.shortcut is not None and numbers.shortcut_scale is not None and bounds.shortcut is not None:
        short, short_fold, short_width = numbers.shortcut, folding[f"{name}.shortcut"], bounds.shortcut.sum.bits
        short_words = sum_array_tables(
            short.weights, short.bias, short.planes, short_fold.pe, short_fold.simd, short_width
        )
        weights, bias = _sum_memories(short_words, short_fold, short_width, "fold * beats + beat")
        short_scale, short_memory = _scale(numbers.shortcut_scale, bounds.shortcut, short_fold.pe)
        shortcut_parameters = {
            "SIMD": short_fold.simd,
            "SUM_WIDTH": short_width,
            **short_scale,
            "SCALED_WIDTH": bounds.shortcut.scaled.bits,
        }
        memories |= {
            f"{name}_shortcut_weights.mem": weights,
            f"{name}_shortcut_bias.mem": bias,
            f"{name}_shortcut_scale.mem": short_memory,
        }
    parameters = {
        "IN_CHANNELS": geometry.in_channels,
        "OUT_CHANNELS": geometry.out_channels,
        "HEIGHT": geometry.height,
        "WIDTH": geometry.width,
        "STRIDE": geometry.stride,
        "S_LANES": s_lanes,
        "PE": fold.pe,
        "SIMD": fold.simd,
        "VALUE_WIDTH": network.value_width,
        "SUM_WIDTH": sum_width,
        "SCALE_TERMS": scale["TERMS"],
        "SCALE_SHIFT_WIDTH": scale["SHIFT_WIDTH"],
        "SCALE_GUARD": scale["GUARD"],
        "SCALE_SUM_WIDTH": scale["SCALE_SUM_WIDTH"],
        "SCALED_WIDTH": bounds.conv.scaled.bits,
        **{f"SHORTCUT_{key}": value for key, value in shortcut_parameters.items()},
        "FIELD_WIDTH": bounds.field_bits,
        "LEFT_MAX": left_max,
        "ACTIVATION_SHIFT_WIDTH": shift_width,
    }
    return StageConfig(name, parameters, memories)


def head_config(network: IntegerNetwork, ranges: Ranges, folding: Folding) -> StageConfig:
    structure, fold, head = network.structure, folding["head"], network.head
    height, width, channels = structure.head_input
    score_width = ranges.scores.bits
    words = sum_array_tables(head.weights, head.bias, head.planes, fold.pe, fold.simd, score_width)
    weights, bias = _sum_memories(words, fold, score_width, "(fold * planes + plane from the top) * beats + beat")
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
    return StageConfig("head", parameters, {"head_weights.mem": weights, "head_bias.mem": bias})


def pipeline_config(network: IntegerNetwork, ranges: Ranges, folding: Folding) -> list[StageConfig]:
    """All stages in pipeline order."""
    blocks = [block_config(network, ranges, folding, index) for index in range(len(network.blocks))]
    return [stem_config(network, ranges, folding), *blocks, head_config(network, ranges, folding)]
