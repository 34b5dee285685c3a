"""Memory files of the FPGA vendors: the words of a `.mem` file as Xilinx `.coe` and as Intel `.mif`.

The RTL reads `.mem` files by $readmemh with every tool; these are for designs that put a vendor's memory block in the
place of a table. Sources: AMD UG896, "COE File Syntax"; Intel Quartus Prime Help, "Memory Initialization File (.mif)
Definition". What is written here is understood by both vendors' tools according to these pages; none of the tools has
read it.

>>> print(coe_text([0, 0x1F, 0x2A], 6), end="")
memory_initialization_radix = 16;
memory_initialization_vector =
00,
1f,
2a;
>>> read_coe(coe_text([0, 0x1F, 0x2A], 6))
[0, 31, 42]
>>> print(mif_text([0x1F, 0x2A], 6), end="")
DEPTH = 2;
WIDTH = 6;
ADDRESS_RADIX = HEX;
DATA_RADIX = HEX;
CONTENT
BEGIN
0 : 1f;
1 : 2a;
END;
>>> read_mif(mif_text([0x1F, 0x2A], 6))
([31, 42], 6)
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from export.layout import mem_text, read_mem
from export.mem import MANIFEST, read_manifest

FORMAT = "abbnn-vendor-memory-files"
VERSION = 1

RADIX_DIGITS = {2: "[01]+", 8: "[0-7]+", 10: "[0-9]+", 16: "[0-9a-fA-F]+"}
MIF_RADIX = {"BIN": 2, "OCT": 8, "UNS": 10, "HEX": 16}
"""DEC, signed decimal, is left out: nothing here is signed."""


def _number(text: str, radix: int, where: str) -> int:
    if not re.fullmatch(RADIX_DIGITS[radix], text):
        raise ValueError(f"{where}: {text!r} is no number of radix {radix}")
    return int(text, radix)


# ---- Xilinx


def coe_text(words: Sequence[int], bits: int) -> str:
    """One hexadecimal word of ceil(bits / 4) digits a line, address 0 first. A word too wide, or none: ValueError."""
    if not words:
        raise ValueError("a .coe file has at least one word")
    lines = mem_text(words, bits).split()
    vector = ",\n".join(lines)
    return f"memory_initialization_radix = 16;\nmemory_initialization_vector =\n{vector};\n"


def read_coe(text: str) -> list[int]:
    """The words of a .coe file of a memory, radix 2, 10 or 16. Anything else is a ValueError.

    The format does not tell the width. What follows a semicolon in its line is a comment; words are separated by
    commas or white space.
    """
    statements = [""]
    for line in text.splitlines():
        value, end, _ = line.partition(";")
        statements[-1] += f"{value}\n"
        if end:
            statements.append("")
    keywords: dict[str, str] = {}
    for statement in statements:
        if not statement.strip():
            continue
        name, equals, value = statement.partition("=")
        if not equals:
            raise ValueError(f"not a .coe file: {statement.strip()[:40]!r} has no value")
        keywords.setdefault(name.strip().lower(), value.strip())
    if statements[-1].strip():
        raise ValueError("not a whole .coe file: no semicolon ends the last word")
    if set(keywords) != {"memory_initialization_radix", "memory_initialization_vector"}:
        raise ValueError(f"not a memory's .coe file: it has {', '.join(sorted(keywords)) or 'no keyword'}")
    radix = keywords["memory_initialization_radix"]
    if radix not in ("2", "10", "16"):
        raise ValueError(f".coe file: radix {radix!r} is none of 2, 10 and 16")
    vector = keywords["memory_initialization_vector"]
    if not vector:
        raise ValueError(".coe file: no words")
    return [_number(word, int(radix), ".coe file") for word in re.split(r"\s*,\s*|\s+", vector)]


# ---- Intel


def mif_text(words: Sequence[int], bits: int) -> str:
    """One word a line with its address, all hexadecimal. A word too wide, or none, is a ValueError."""
    if not words:
        raise ValueError("a .mif file has at least one word")
    lines = [f"DEPTH = {len(words)};", f"WIDTH = {bits};", "ADDRESS_RADIX = HEX;", "DATA_RADIX = HEX;"]
    lines += ["CONTENT", "BEGIN"]
    lines += [f"{address:x} : {word};" for address, word in enumerate(mem_text(words, bits).split())]
    return "\n".join([*lines, "END;"]) + "\n"


def read_mif(text: str) -> tuple[list[int], int]:
    """(words, bits) of a .mif file that gives every address once, one word a pair; comments may stand anywhere.

    Ranges of addresses, several words a pair and signed decimals are refused with a ValueError, like all else.
    """
    text = re.sub(r"%.*?%", " ", text, flags=re.DOTALL)
    text = re.sub(r"--.*", " ", text)
    whole = re.fullmatch(r"(.*?)\bCONTENT\s+BEGIN\b(.*)\bEND\s*;\s*", text, flags=re.DOTALL | re.IGNORECASE)
    if not whole:
        raise ValueError("not a whole .mif file: CONTENT BEGIN ... END; is not there")
    head = re.findall(r"\s*(\w+)\s*=\s*(\w+)\s*;", whole[1])
    options = {name.upper(): value.upper() for name, value in head}
    wanted = {"DEPTH", "WIDTH", "ADDRESS_RADIX", "DATA_RADIX"}
    if re.sub(r"\s*\w+\s*=\s*\w+\s*;", "", whole[1]).strip() or set(options) != wanted or len(head) != len(wanted):
        raise ValueError(f".mif file: its head is not one each of {', '.join(sorted(wanted))}")
    radix = {}
    for name in ("ADDRESS_RADIX", "DATA_RADIX"):
        if options[name] not in MIF_RADIX:
            raise ValueError(f".mif file: {name} {options[name]} is none of {', '.join(MIF_RADIX)}")
        radix[name] = MIF_RADIX[options[name]]
    depth, bits = (_number(options[name], 10, f".mif file: {name}") for name in ("DEPTH", "WIDTH"))
    *pairs, rest = whole[2].split(";")
    if rest.strip():
        raise ValueError(f".mif file: {rest.strip()[:40]!r} has no semicolon")
    words: dict[int, int] = {}
    for pair in pairs:
        left, colon, right = (part.strip() for part in pair.partition(":"))
        if not colon:
            raise ValueError(f".mif file: {pair.strip()[:40]!r} is no address : word")
        address = _number(left, radix["ADDRESS_RADIX"], ".mif file: address")
        word = _number(right, radix["DATA_RADIX"], f".mif file: address {left}")
        if address in words or address >= depth or word >> bits:
            raise ValueError(f".mif file: {pair.strip()[:40]!r} comes twice or does not fit {depth} x {bits} bits")
        words[address] = word
    if len(words) != depth or not depth:
        raise ValueError(f".mif file: {len(words)} of {depth} words")
    return [words[address] for address in range(depth)], bits


# ---- a folder

KINDS: Mapping[str, Callable[[Sequence[int], int], str]] = {"coe": coe_text, "mif": mif_text}


def _is_replaceable(out: Path) -> bool:
    """Whether `out` is an empty folder or one that `write` has made."""
    if not out.is_dir():
        return False
    names = {entry.name for entry in out.iterdir()}
    if not names:
        return True
    try:
        ours = json.loads((out / MANIFEST).read_text(encoding="utf-8"))["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return bool(ours) and all(name == MANIFEST or Path(name).suffix[1:] in KINDS for name in names)


def render(folder: Path, kinds: Sequence[str]) -> dict[str, str]:
    """File name -> text of all files for the export in `folder`; ValueError if its manifest does not match it."""
    if not kinds or set(kinds) - set(KINDS):
        raise ValueError(f"kinds {', '.join(kinds) or 'none'}: there are {', '.join(KINDS)}")
    manifest = read_manifest(folder)
    files: dict[str, str] = {}
    memories = []
    for memory in manifest["memories"]:
        words = read_mem(folder / memory["file"], memory["depth"], memory["width"])
        for kind in dict.fromkeys(kinds):
            name = f"{memory['file'].removesuffix('.mem')}.{kind}"
            files[name] = KINDS[kind](words, memory["width"])
            digest = hashlib.sha256(files[name].encode()).hexdigest()
            memories.append(
                {
                    "file": name,
                    "mem": memory["file"],
                    "depth": memory["depth"],
                    "width": memory["width"],
                    "sha256": digest,
                }
            )
    head = {"format": FORMAT, "version": VERSION}
    head |= {key: manifest[key] for key in ("network", "network_sha256")}
    files[MANIFEST] = json.dumps(head | {"memories": memories}, indent=2) + "\n"
    return files


def write(folder: Path, out: Path, kinds: Sequence[str] = tuple(KINDS)) -> int:
    """Convert every memory of the export in `folder` into files of these kinds in `out`; returns how many.

    What `write` has made there before is replaced; a folder of anything else is a ValueError, and so is an export that
    its manifest does not match. `out` is written as a whole or not at all.
    """
    files = render(folder, kinds)
    if out.exists() and not _is_replaceable(out):
        raise ValueError(f"{out}: exists and holds no earlier vendor files; it is left alone")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        fresh, old = Path(temporary) / "fresh", Path(temporary) / "old"
        fresh.mkdir()
        for name, text in files.items():
            (fresh / name).write_text(text, encoding="ascii")
        if out.exists():
            out.rename(old)
        fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    return len(files) - 1
