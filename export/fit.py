"""The tables of a network in the layout of another: what lets a bitstream take the weights of a network trained anew.

A layout (the parameters of `export.config`) has widths that range analysis found for one network. Another of the same
structure and folding fits if none of its own widths is greater; its tables are then written in the layout's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from abbnn.errors import UserError
from abbnn.export.config import Parameters, StageConfig
from abbnn.golden.ranges import SCORE_WIDTH_MAX

ROOMY = ("SUM_WIDTH", "SCALED_WIDTH", "SHIFT_WIDTH", "FIELD_WIDTH", "SCORE_WIDTH", "TERMS", "GUARD", "LEFT_MAX")
"""Ends of the names of parameters that may be greater than a network needs."""
ROOM_MAX = 64
"""By so much: what a file says beyond that is no layout, and its tables would fill the memory."""
SCALES = ("SCALE", "PRELU", "SHORTCUT_SCALE")
"""Prefixes of the parameters of an abbnn_scale."""


def with_headroom(layout: Sequence[Parameters], bits: int) -> list[dict[str, int]]:
    """A layout with `bits` more in every sum and every guard, for networks yet to be trained.

    The shifts in front of a sum grow by the guard's bits. Sums of the binary convolutions are bounded by their fan-in
    and need none.
    """
    result = []
    for parameters in layout:
        more = {"SCALED_WIDTH": bits, "SHORTCUT_SUM_WIDTH": bits, "SHORTCUT_SCALED_WIDTH": bits, "FIELD_WIDTH": bits}
        more |= dict.fromkeys(("LEFT_MAX", "ACTIVATION_SHIFT_WIDTH"), min(bits, 1))
        if "CENTER" in parameters:  # the stem
            more["SUM_WIDTH"] = bits
        for prefix in SCALES:
            more |= {f"{prefix}_GUARD": bits, f"{prefix}_SUM_WIDTH": 2 * bits}
        roomy = {key: value + more.get(key, 0) for key, value in parameters.items()}
        for key in (f"{prefix}_SHIFT_WIDTH" for prefix in SCALES):
            if key in roomy:
                roomy[key] = ((1 << roomy[key]) - 1 + bits).bit_length()
        if "SCORE_WIDTH" in roomy:
            roomy["SCORE_WIDTH"] = min(SCORE_WIDTH_MAX, roomy["SCORE_WIDTH"] + bits)
        result.append(roomy)
    return result


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
    result = replace(config, parameters={key: layout[key] for key in own})
    try:
        _ = result.memories
    except UserError as error:
        raise UserError(f"{config.name}: {error}") from None
    for prefix in SCALES:
        key, guard = f"{prefix}_SUM_WIDTH", f"{prefix}_GUARD"
        if guard in own and (needed := own[key] + layout[guard] - own[guard]) > layout[key]:
            raise UserError(f"{config.name}: {key} is {needed} with the layout's guard, the layout's is {layout[key]}")
    return result
