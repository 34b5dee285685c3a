"""ECP5 bitstreams through Project Trellis: its tools, its text configuration, and the block RAM contents in it.

A text configuration says of every block RAM what it holds at the start, after a number, the WID, which the placed block
has in its own configuration:

    .bram_init 3
    0f1 002 1ff ...

2,048 numbers of 9 bits in hexadecimal, eight a line: row r of 18 bits (18 x 1024, row r is INITVAL's row r) is numbers
2 r and 2 r + 1, low half first. A word of 36 bits is two rows, the lower first, so word w is numbers 4 w .. 4 w + 3.
(nextpnr, ecp5/bitstream.cc, write_bram; prjtrellis, ChipConfig.cpp and ecpbram.cpp; syn/memory.py for the rows.)
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abbnn import verilog
from abbnn.building import ticking
from abbnn.errors import UserError

CHUNK = 512
"""Words of 32 bits in a block RAM of 512 x 36."""
NUMBERS = 2048

Words = NDArray[np.uint32]


class ToolError(UserError):
    """A tool ended badly; its last words."""


def version(name: str) -> str:
    """ "0.11.1" of nextpnr-ecp5, "1.4-82-g3afe7b5" of ecppack."""
    result = subprocess.run([verilog.tool(name), "--version"], capture_output=True, text=True, check=False)
    said = result.stdout + result.stderr
    found = re.search(r"Version (?:nextpnr-)?([^\s)]+)", said)
    if found is None:
        raise ToolError(f"{name} --version says no version: {said.strip()!r}")
    return found[1]


def run(
    name: str,
    command: Sequence[str],
    folder: Path,
    log: Path | None = None,
    line: Callable[[str], object] = lambda text: None,
) -> str:
    """Run a tool in `folder`: all it says, which goes into `log` and, line by line, to `line`, too. ToolError if it
    fails."""
    said: list[str] = []
    with (
        ticking(lambda: name),
        subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for text in process.stdout:
                said.append(text)
                line(text.rstrip("\n"))
        except BaseException:
            process.kill()
            raise
        status = process.wait()
    if log is not None:
        log.write_text("".join(said), encoding="utf-8")
    if status < 0:
        raise ToolError(f"{name}: ended by signal {-status}")
    if status:
        words = [text.strip() for text in said if text.strip()] or [f"status {status}"]
        errors = [text for text in words if re.match(r"(?i)(error|failed)", text)]
        raise ToolError(f"{name}: {(errors or words[-1:])[0]}")
    return "".join(said)


def pack(config: str, options: Sequence[str]) -> bytes:
    """The bitstream of a text configuration."""
    return _converted("ecppack", options, config.encode("ascii"))


def unpack(bitstream: bytes) -> str:
    """The text configuration of a bitstream. What `pack` was told by options is not in it."""
    return _converted("ecpunpack", (), bitstream).decode("ascii")


def _converted(name: str, options: Sequence[str], data: bytes) -> bytes:
    """What a tool makes of one file."""
    executable = verilog.tool(name)
    with tempfile.TemporaryDirectory(prefix="abbnn-pack-") as folder:
        (Path(folder) / "in").write_bytes(data)
        run(name, [executable, *options, "in", "out"], Path(folder))
        return (Path(folder) / "out").read_bytes()


def comments(bitstream: bytes) -> list[str]:
    """The texts in front of a bitstream: FF 00, each with a NUL behind it, FF. ValueError if there is no header."""
    end = bitstream.find(b"\xff", 1)
    if bitstream[:2] != b"\xff\x00" or end < 0 or not bitstream[end - 1 : end] == b"\0":
        raise UserError("not an ECP5 bitstream: it has no header of one")
    return [text.decode("ascii", "replace") for text in bitstream[2:end].split(b"\0")[:-1]]


# ---- text configuration ---------------------------------------------------------------------------------------------

_BLOCK = re.compile(r"^\.bram_init (\d+)\n((?:[0-9a-f ]+\n)+)", re.MULTILINE)


def blocks(config: str) -> Iterator[tuple[int, Words]]:
    """WID and contents, 512 words of 36 bits without their upper 4, of every block RAM. ValueError for other sizes."""
    for found in _BLOCK.finditer(config):
        yield int(found[1]), _words(_numbers(found))


def _numbers(found: re.Match[str]) -> NDArray[np.uint64]:
    numbers = np.array([int(number, 16) for number in found[2].split()], np.uint64)
    if numbers.shape != (NUMBERS,):
        raise UserError(f".bram_init {found[1]} has {len(numbers)} numbers, not {NUMBERS}")
    return numbers


def _words(numbers: NDArray[np.uint64]) -> Words:
    """(512,) from (2048,)."""
    shifts = np.array([0, 9, 18, 27], np.uint64)
    words: NDArray[np.uint64] = (numbers.reshape(-1, 4) << shifts).sum(axis=1, dtype=np.uint64)
    return (words & np.uint64(0xFFFFFFFF)).astype(np.uint32)


def block_text(wid: int, words: Sequence[int] | Words) -> str:
    """The entry of a block RAM that holds 512 words of 32 bits, the upper 4 bits of each 36 zero."""
    values = np.asarray(words, np.uint64)
    if values.shape != (CHUNK,):
        raise UserError(f"{len(values)} words for a block of {CHUNK}")
    numbers = (values[:, None] >> np.array([0, 9, 18, 27], np.uint64) & np.uint64(511)).reshape(-1, 8)
    return f".bram_init {wid}\n" + "".join(" ".join(f"{number:03x}" for number in row) + "\n" for row in numbers)


def replaced(config: str, contents: Mapping[int, Sequence[int] | Words]) -> str:
    """`config` with other words in the block RAMs of these WIDs. ValueError if it lacks one."""
    missing = set(contents)

    def entry(found: re.Match[str]) -> str:
        wid = int(found[1])
        missing.discard(wid)
        return block_text(wid, contents[wid]) if wid in contents else found[0]

    result = _BLOCK.sub(entry, config)
    if missing:
        raise UserError(f"there is no block RAM of WID {', '.join(map(str, sorted(missing)))}")
    return result


def without_contents(config: str) -> str:
    """All but what the block RAMs hold; that they are initialised, and their WIDs, stays."""
    return _BLOCK.sub(lambda found: f".bram_init {found[1]}\n", config)


def with_comment(config: str, prefix: str, text: str) -> str:
    """`config` with one `.comment`, "prefixtext", for that of the same prefix, or behind those there are."""
    entry = f".comment {prefix}{text}\n"
    if re.search(rf"^\.comment {re.escape(prefix)}", config, re.MULTILINE):
        return re.sub(rf"^\.comment {re.escape(prefix)}.*\n", lambda _: entry, config, flags=re.MULTILINE)
    there = list(re.finditer(r"^\.(?:comment|variant|device) .*\n", config, re.MULTILINE))
    if not there:
        raise UserError("not a text configuration: no .device")
    end = there[-1].end()
    return config[:end] + entry + config[end:]


def sysconfig(config: str) -> dict[str, str]:
    return dict(re.findall(r"^\.sysconfig (\S+) (\S+)$", config, re.MULTILINE))


def find_chunks(config: str, chunks: Sequence[Words]) -> list[int]:
    """The WID of the block RAM that holds each chunk. ValueError unless each is in exactly one."""
    there: dict[bytes, list[int]] = {}
    for wid, words in blocks(config):
        there.setdefault(words.tobytes(), []).append(wid)
    result = []
    for number, chunk in enumerate(chunks):
        found = there.get(np.asarray(chunk, np.uint32).tobytes(), [])
        if len(found) != 1:
            raise UserError(f"chunk {number} of the boot ROM is in {len(found)} block RAMs, not in one")
        result += found
    return result
