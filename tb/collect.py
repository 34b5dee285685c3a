"""Records streams of a design in files while it is simulated, by a few lines of Verilog in its toplevel.

Python that runs at every clock edge costs more than the design does. So the simulator writes a line a beat, and
`Record` reads the file when it is wanted. Nothing of it is in rtl/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FLUSH = "collect_flush"
"""A register of the toplevel; a clock cycle with it high puts all that was recorded into the files."""

TIME_DIGITS = 16
"""Of a time in ns."""

_PORT = re.compile(r"^\s*(?:input|output)\b[^/\n]*?(\w+)\s*,?\s*(?://.*)?$", re.MULTILINE)
_DIGITS = np.full(256, 255, np.uint8)
"""Hexadecimal digit -> its value, anything else -> 255."""
_DIGITS[np.frombuffer(b"0123456789abcdefABCDEF", np.uint8)] = [*range(16), *range(10, 16)]


def file_name(layer: str) -> str:
    """Of the record of a layer's stream, in the folder that the simulation runs in."""
    return f"{layer}.beats"


def collected(text: str, module: str, streams: Mapping[str, str]) -> str:
    """A file's source in which `module` records `streams`, layer -> prefix of the stream's nets (`block00.conv`).

    Each goes to the file `file_name(layer)`: the bits of a beat, then a line for every beat that moves outside reset,
    the time in ns and the beat in hexadecimal digits, x where a bit is unknown; a lone x where it is unknown whether
    one moves. Unchanged if the file has no such module.
    """
    found = re.search(rf"^module {module}\b.*?(?=^endmodule)", text, re.MULTILINE | re.DOTALL)
    if found is None or not streams:
        return text
    lines = [f"reg {FLUSH} = 1'b0;"]
    for number, (layer, stream) in enumerate(streams.items()):
        file, moves = f"collect_{number}", f"({stream}_tvalid && {stream}_tready)"
        lines += [
            f"integer {file}; reg [{4 * TIME_DIGITS - 1}:0] {file}_now;",
            f'initial begin {file} = $fopen("{file_name(layer)}", "w");',
            f'$fwrite({file}, "%0d\\n", $bits({stream}_tdata)); end',
            f"always @(posedge clk) begin if (rst === 1'b0 && {moves} === 1'b1) begin",
            # Of $time itself Icarus writes no more digits than it has.
            f'{file}_now = $time; $fwrite({file}, "%h%h\\n", {file}_now, {stream}_tdata); end',
            f"else if (rst === 1'b0 && {moves} !== 1'b0) $fwrite({file}, \"x\\n\");",
            f"if ({FLUSH}) $fflush({file}); end",
        ]
    return text[: found.end()] + "\n".join(lines) + "\n" + text[found.end() :]


def visible(text: str, module: str) -> list[str]:
    """What a testbench that does not look inside `module` needs of it: its ports, each on its own line, and FLUSH."""
    header = re.search(rf"^module {module}\b.*?\);", text, re.MULTILINE | re.DOTALL)
    return _PORT.findall(header[0]) + [FLUSH] * (f"reg {FLUSH} " in text) if header else []


@dataclass(frozen=True)
class Record:
    """What a stream has carried so far: (beats, lanes) signed values, lane 0 in a beat's lowest bits, and the times in
    ns of the clock's edges that took the beats."""

    values: NDArray[np.int32]
    taken: NDArray[np.int64]

    @staticmethod
    def read(layer: str, lanes: int) -> Record:
        """AssertionError if the stream has never moved, or if a bit is unknown."""
        first, _, text = Path(file_name(layer)).read_bytes().partition(b"\n")
        bits = int(first)
        digits = TIME_DIGITS - -bits // 4
        assert text, f"layer {layer}: its stream never moved"
        lines = np.frombuffer(text, np.uint8)
        whole = len(lines) % (digits + 1) == 0 and bool((lines[digits :: digits + 1] == ord("\n")).all())
        assert whole, f"layer {layer}: a handshake of its stream was unknown"
        nibbles = _DIGITS[lines.reshape(-1, digits + 1)[:, digits - 1 :: -1]]
        assert nibbles.max() < 16, f"layer {layer}: a beat has unknown bits"
        unpacked = np.unpackbits(nibbles[:, :, None], axis=2, count=4, bitorder="little").reshape(len(nibbles), -1)
        fields = unpacked[:, :bits].reshape(len(nibbles), lanes, -1)
        words = np.repeat(fields[:, :, -1:], 32, axis=2)  # the sign in all bits, then those that there are
        words[:, :, : fields.shape[2]] = fields
        values = np.packbits(words, axis=2, bitorder="little").view("<i4")[:, :, 0]
        times = np.packbits(unpacked[:, -4 * TIME_DIGITS :], axis=1, bitorder="little").view("<i8")[:, 0]
        return Record(values, times)
