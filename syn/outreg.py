"""Block RAMs of the ECP5 take the register behind them into themselves.

Yosys maps a registered read to a DP16KD and leaves a register behind it in flip-flops. The block RAM has one of its own
(REGMODE "OUTREG"), whose clock-to-output time is a tenth: that is what the clock of a deep pipeline needs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Net = int | str
"""As Yosys' JSON has it: a number, or a constant's text."""

WIDE = 36
"""DATA_WIDTH of a word that both ports give: it is read at port B."""


@dataclass(frozen=True)
class _Register:
    """A flip-flop that may move: D to Q at every clock edge with `enable`."""

    name: str
    clock: Net
    enable: Net
    q: Net


def _registers(module: Mapping[str, Any]) -> dict[Net, _Register]:
    """D to flip-flop, of those that start from 0, have neither set nor reset, and no inverted input."""
    result = {}
    for name, cell in module["cells"].items():
        if cell["type"] != "TRELLIS_FF":
            continue
        # Yosys ends a text that looks like a number with a space.
        parameters = {key: value.strip() for key, value in cell["parameters"].items()}
        pins = cell["connections"]
        cleared = pins.get("LSR", ["0"])[0]
        plain = cleared == "0" and parameters.get("REGSET", "RESET") == "RESET"
        enable = "1" if parameters.get("CEMUX") == "1" else pins.get("CE", ["1"])[0]
        straight = parameters.get("CEMUX", "CE") in ("CE", "1") and parameters.get("CLKMUX", "CLK") == "CLK"
        if plain and straight and len(pins["DI"]) == 1 and len(pins["Q"]) == 1:
            result[pins["DI"][0]] = _Register(name, pins["CLK"][0], enable, pins["Q"][0])
    return result


def _readers(module: Mapping[str, Any]) -> Mapping[Net, int]:
    """How many input pins, and ports of the module, a net drives."""
    result: defaultdict[Net, int] = defaultdict(int)
    for cell in module["cells"].values():
        for port, nets in cell["connections"].items():
            if cell["port_directions"][port] != "output":
                for net in nets:
                    result[net] += 1
    for port in module["ports"].values():
        if port["direction"] != "input":
            for net in port["bits"]:
                result[net] += 1
    return result


def _outputs(cell: Mapping[str, Any], sides: Sequence[str]) -> list[tuple[str, Net]]:
    """(port, net) of the data outputs of these sides that something is connected to."""
    return [
        (port, cell["connections"][port][0])
        for side in sides
        for port in (f"DO{side}{bit}" for bit in range(18))
        if cell["connections"].get(port)
    ]


def use_output_registers(module: dict[str, Any]) -> int:
    """Move the flip-flops behind block RAMs into them; returns how many flip-flops that were.

    `module`: one module of Yosys' JSON after synth_ecp5, changed in place. A side of a DP16KD is left as it is unless
    every data output that is read drives one flip-flop and nothing else, all of them with one clock, that of the block
    RAM, one enable, and neither set nor reset, and the block RAM has no reset either. Words of 36 bits come out of both
    sides, whose registers then have clock and enable of port B: so nextpnr packs a PDPW16KD, the vendor's name for that
    mode.
    """
    registers, readers = _registers(module), _readers(module)
    moved = 0
    for cell in list(module["cells"].values()):
        if cell["type"] != "DP16KD":
            continue
        pins, parameters = cell["connections"], cell["parameters"]
        wide = int(parameters["DATA_WIDTH_B"], 2) == WIDE
        for sides in (("A", "B"),) if wide else (("A",), ("B",)):
            used = [(port, net) for port, net in _outputs(cell, sides) if readers[net]]
            behind = [registers.get(net) for _, net in used]
            found = [register for register in behind if register is not None]
            if not found or len(found) < len(behind) or any(readers[net] != 1 for _, net in used):
                continue
            clock = pins[f"CLK{sides[-1]}"][0]
            if {(register.clock, register.enable) for register in found} != {(clock, found[0].enable)}:
                continue
            if any(parameters[f"REGMODE_{side}"] != "NOREG" or pins[f"RST{side}"][0] != "0" for side in sides):
                continue  # the block RAM's reset would clear its output register, too
            for side in sides:
                parameters[f"REGMODE_{side}"] = "OUTREG"
                pins[f"OCE{side}"] = [found[0].enable]
            for (port, _), register in zip(used, found, strict=True):
                pins[port] = [register.q]
                del module["cells"][register.name]
            moved += len(found)
    return moved
