"""Watches the rules of AXI4-Stream on what a design gives out, in every simulation, by a few lines of Verilog.

`watched` adds a `watch` (tb/watch.v) to a module for each of its output streams: `bench.simulate` to every toplevel,
the attack (tb/stall.py) to every module. Nothing of it is in rtl/.
"""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "watch.v"
INSTANCE = "_watch"
"""End of the name of a watcher's instance, which begins with the stream's."""

_TVALID = re.compile(r"^\s*output\s+(?:wire\s+)?(\w+)_tvalid\b", re.MULTILINE)
_CLOCKS = (("clk", "rst", "rst"), ("aclk", "aresetn", "!aresetn"))
"""Names that clock and reset may have, and an active high reset."""


def _has_port(module: str, name: str) -> bool:
    return re.search(rf"^\s*(?:input|output)\b[^;,\n]*\b{name}\b", module, re.MULTILINE) is not None


def _bits(module: str, port: str) -> str:
    """How many a port has, as an expression in the module's parameters."""
    found = re.search(rf"^\s*output\s+(?:wire\s+)?(?:\[(.*):0\])?\s*{port}\b", module, re.MULTILINE)
    assert found is not None, port
    return f"({found[1]}) + 1" if found[1] else "1"


def clocks(module: str) -> tuple[str, str] | None:
    """Of a module's source: the clock, and the reset as an expression that is active high. None if it has none."""
    for clk, rst, active in _CLOCKS:
        if _has_port(module, clk) and _has_port(module, rst):
            return clk, active
    return None


def watched(text: str, module: str) -> str:
    """A file's source with a watcher on each stream that `module` gives out; lines keep their numbers.

    Unchanged if the file has no such module, no such stream, or watchers already.
    """
    found = re.search(rf"^module {module}\b.*?(?=^endmodule)", text, re.MULTILINE | re.DOTALL)
    if found is None or re.search(rf"\w{INSTANCE} \(", found[0]):
        return text
    body = found[0]
    watchers = []
    for stream in _TVALID.findall(body):
        payload = [f"{stream}_{name}" for name in ("tlast", "tdata") if _has_port(body, f"{stream}_{name}")]
        # The sum of what the ports declare: Icarus 11 takes $bits for 0 in a parameter's value.
        width = " + ".join(_bits(body, name) for name in payload) or "1"
        found_clocks = clocks(body)
        assert found_clocks is not None, f"{module} has a stream but no clock"
        clock, reset = found_clocks
        bits = f"{{{', '.join(payload or [f'{stream}_tvalid'])}}}"
        watchers.append(
            f"watch #(.WIDTH({width})) {stream}{INSTANCE} (.clk({clock}), .rst({reset}), "
            f".payload({bits}), .tvalid({stream}_tvalid), .tready({stream}_tready)); "
        )
    return text[: found.end()] + "".join(watchers) + text[found.end() :]
