"""The tables of a network in the layout of another: what lets a bitstream take the weights of a network trained anew.

A layout (the parameters of `export.config`) has widths that range analysis found for one network. Another of the same
structure and folding fits if none of its own widths is greater; its tables are then written in the layout's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from abbnn.errors import UserError
from abbnn.export.config import Memory, StageConfig
from abbnn.export.layout import pack, unpack
from abbnn.export.tables import qprelu_table, read_qprelu_table, read_scale_table, scale_table

Parameters = Mapping[str, int]

ROOMY = ("SUM_WIDTH", "SCALED_WIDTH", "SHIFT_WIDTH", "FIELD_WIDTH", "SCORE_WIDTH", "TERMS", "GUARD", "LEFT_MAX")
"""Ends of the names of parameters that may be greater than a network needs."""
ROOM_MAX = 64
"""By so much: what a file says beyond that is no layout, and its tables would fill the memory."""

SCALES = {"scale": "SCALE", "prelu": "PRELU", "shortcut_scale": "SHORTCUT_SCALE"}
"""Table of an abbnn_scale to the prefix of its parameters."""


def with_headroom(configs: Sequence[StageConfig], bits: int) -> list[dict[str, int]]:
    """Parameters of a layout with `bits` more in every sum and every guard, for networks yet to be trained.

    The shifts in front of a sum grow by the guard's bits. Sums of the binary convolutions are bounded by their fan-in
    and need none.
    """
    result = []
    for config in configs:
        parameters = dict(config.parameters)
        for prefix, present in _scales(config).items():
            if present:
                greatest = (1 << parameters[f"{prefix}_SHIFT_WIDTH"]) - 1 + bits
                parameters[f"{prefix}_SHIFT_WIDTH"] = greatest.bit_length()
                parameters[f"{prefix}_GUARD"] += bits
                parameters[f"{prefix}_SUM_WIDTH"] += 2 * bits
        if config.name == "stem":
            parameters["SUM_WIDTH"] += bits
        elif config.name == "head":
            parameters["SCORE_WIDTH"] = min(32, parameters["SCORE_WIDTH"] + bits)
        else:
            parameters["SCALED_WIDTH"] += bits
            if f"{config.name}_shortcut_weights.mem" in config.memories:
                parameters["SHORTCUT_SUM_WIDTH"] += bits
                parameters["SHORTCUT_SCALED_WIDTH"] += bits
            if f"{config.name}_activation.mem" in config.memories:
                parameters["FIELD_WIDTH"] += bits
                parameters["LEFT_MAX"] += min(bits, 1)
                parameters["ACTIVATION_SHIFT_WIDTH"] += min(bits, 1)
        result.append(parameters)
    return result


def _scales(config: StageConfig) -> dict[str, bool]:
    """Prefix of each abbnn_scale's parameters to whether the stage has it."""
    return {prefix: f"{config.name}_{table}.mem" in config.memories for table, prefix in SCALES.items()}


def fitted(configs: Sequence[StageConfig], layout: Sequence[Parameters]) -> list[StageConfig]:
    """`configs` with the parameters of `layout`, one mapping a stage, and the tables in their widths.

    UserError names the first stage and parameter in which the network does not fit.
    """
    if len(configs) != len(layout):
        raise UserError(f"the network has {len(configs)} stages, the layout {len(layout)}")
    return [_fitted(config, parameters) for config, parameters in zip(configs, layout, strict=True)]


def _fitted(config: StageConfig, layout: Parameters) -> StageConfig:
    own = config.parameters
    for key in dict.fromkeys([*own, *layout]):  # in an order that is the same every time
        mine, theirs = own.get(key), layout.get(key)
        roomy = ROOM_MAX if key.endswith(ROOMY) else 0
        if mine is None or theirs is None or not mine <= theirs <= mine + roomy:
            raise UserError(f"{config.name}: {key} is {mine}, the layout's is {theirs}")
    memories = {file: _table(config, file, memory, layout) for file, memory in config.memories.items()}
    return replace(config, parameters={key: layout[key] for key in own}, memories=memories)


def _table(config: StageConfig, file: str, memory: Memory, layout: Parameters) -> Memory:
    own, kind = config.parameters, file.removeprefix(f"{config.name}_").removesuffix(".mem")
    if kind in SCALES:
        return _scale(config, SCALES[kind], memory, layout)
    if kind == "activation":
        return _activation(config, memory, layout)
    sums = {
        "correction": "SUM_WIDTH",
        "shortcut_bias": "SHORTCUT_SUM_WIDTH",
        "bias": "SCORE_WIDTH" if config.name == "head" else "SUM_WIDTH",
    }
    if kind not in sums:  # thresholds and weights: their widths are not roomy
        return memory
    width, room = own[sums[kind]], layout[sums[kind]]
    lanes = memory.width // width
    words = pack(unpack(memory.words, lanes, width, signed=True), room)
    return replace(memory, words=words, width=lanes * room, fields=f"{lanes} PE x signed[{room}]")


def _scale(config: StageConfig, prefix: str, memory: Memory, layout: Parameters) -> Memory:
    """Unused terms are switched off. A greater guard takes the same shifts further left: the result is the same."""
    own = config.parameters
    terms, shift_width = own[f"{prefix}_TERMS"], own[f"{prefix}_SHIFT_WIDTH"]
    further = layout[f"{prefix}_GUARD"] - own[f"{prefix}_GUARD"]
    lanes = memory.width // (terms * (shift_width + 2))
    sign, shift = read_scale_table(memory.words, lanes, terms, shift_width)
    room_terms, room_shift = layout[f"{prefix}_TERMS"], layout[f"{prefix}_SHIFT_WIDTH"]
    shift = np.where(sign != 0, shift + further, 0)
    if shift.max() >= 1 << room_shift:
        raise UserError(f"{config.name}: a shift of {shift.max()} does not fit {prefix}_SHIFT_WIDTH {room_shift}")
    if own[f"{prefix}_SUM_WIDTH"] + further > layout[f"{prefix}_SUM_WIDTH"]:
        raise UserError(
            f"{config.name}: {prefix}_SUM_WIDTH is {own[f'{prefix}_SUM_WIDTH'] + further} with the layout's guard, "
            f"the layout's is {layout[f'{prefix}_SUM_WIDTH']}"
        )
    fill = ((0, 0), (0, room_terms - terms))
    words = scale_table(np.pad(sign, fill), np.pad(shift, fill), lanes, room_shift)
    fields = f"{lanes} channels x {room_terms} terms x (shift[{room_shift}], negate[1], enable[1])"
    return replace(memory, words=words, width=lanes * room_terms * (room_shift + 2), fields=fields)


def _activation(config: StageConfig, memory: Memory, layout: Parameters) -> Memory:
    own = config.parameters
    names = ("FIELD_WIDTH", "LEFT_MAX", "ACTIVATION_SHIFT_WIDTH")
    width, left_max, shift_width = (own[name] for name in names)
    room, room_left, room_shift = (layout[name] for name in names)
    lanes = memory.width // (4 * width + shift_width)
    fields = read_qprelu_table(memory.words, lanes, width, left_max, shift_width)
    exponent = fields[3]
    if room_left - exponent.min() >= 1 << room_shift:
        raise UserError(
            f"{config.name}: a slope of 2^{exponent.min()} does not fit LEFT_MAX {room_left} and "
            f"ACTIVATION_SHIFT_WIDTH {room_shift}"
        )
    words = qprelu_table(*fields, lanes, room, room_left, room_shift)
    text = (
        f"{lanes} channels x (threshold, add_positive, add_before, add_after: signed[{room}] each, "
        f"shift[{room_shift}] = {room_left} - exponent)"
    )
    return replace(memory, words=words, width=lanes * (4 * room + room_shift), fields=text)
