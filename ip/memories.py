"""Every memory of a design, as Yosys elaborates it: what an SRAM macro or a block RAM has to hold."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from abbnn import verilog
from abbnn.building import ticking
from abbnn.errors import UserError

READ_ONLY, LOADABLE, BUFFER = "read-only", "loadable", "buffer"


@dataclass(frozen=True)
class Memory:
    """One memory; `instance` is its path below the top, and its name."""

    instance: str
    module: str
    words: int
    width: int
    kind: str
    table: str = ""
    """The table of the network that it holds, or a part of."""
    init_file: str = ""
    """Of a read-only memory."""
    load_memory: int | str = ""
    load_slice: int | str = ""
    """Of a loadable one: its number and its slice on the load bus."""


@dataclass
class _Module:
    """What RTLIL says of an elaborated module."""

    parameters: dict[str, str] = field(default_factory=dict)
    memories: list[tuple[str, int, int]] = field(default_factory=list)
    """Name, words, bits of a word."""
    cells: list[tuple[str, str]] = field(default_factory=list)
    """Module, and name of the instance."""


def _scoped(name: str) -> str:
    """Without the scopes that Yosys gives nested conditions of a generate block, and the language does not."""
    return re.sub(r"\bgenblk\d+\.", "", name.removeprefix("\\"))


def _modules(rtlil: str) -> dict[str, _Module]:
    found: dict[str, _Module] = {}
    module = _Module()
    for line in rtlil.splitlines():
        words = line.split()
        if not words:
            continue
        if line.startswith("module "):
            module = found[words[1]] = _Module()
        elif line.startswith("  parameter ") and len(words) > 2:
            module.parameters[words[1].removeprefix("\\")] = line.split(maxsplit=2)[2]
        elif line.startswith("  memory "):
            sizes = {key: int(value) for key, value in zip(words[1:-1:2], words[2:-1:2], strict=True)}
            module.memories.append((_scoped(words[-1]), sizes["size"], sizes.get("width", 1)))
        elif line.startswith("  cell "):
            module.cells.append((words[1], _scoped(words[2])))
    return found


def _number(text: str) -> int:
    """A parameter of RTLIL: 12, or 32'1111 in binary, two's complement."""
    if "'" not in text:
        return int(text)
    width, bits = text.split("'")
    value = int(bits, 2)
    return value - (1 << int(width)) if len(bits) == int(width) and bits[0] == "1" else value


def _source_name(name: str) -> str:
    """The Verilog's name of a module that Yosys calls \\NAME, $paramod\\NAME\\PARAMETERS or $paramod$HASH\\NAME."""
    found = re.match(r"(?:\$paramod(?:\$\w+)?)?\\(\w+)", name)
    if found is None:
        raise ValueError(f"{name} is no name of an elaborated module")
    return found[1]


def _walk(modules: Mapping[str, _Module], name: str, path: str, tables: Mapping[int, str]) -> Iterator[Memory]:
    module, source = modules[name], _source_name(name)
    for memory, words, width in module.memories:
        instance = f"{path}{memory}"
        if source != "abbnn_memory":
            yield Memory(instance, source, words, width, BUFFER)
            continue
        number = _number(module.parameters["LOAD_MEMORY"])
        if number < 0:
            file = module.parameters["TABLE_FILE"].strip('"').removeprefix("./")
            yield Memory(instance, source, words, width, READ_ONLY, Path(file).stem, file)
        else:
            part = re.search(r"gen_slice\[(\d+)\]", memory)
            index = int(part[1]) if part else 0
            yield Memory(instance, source, words, width, LOADABLE, tables[number], "", number, index)
    for kind, cell in module.cells:
        if kind in modules:
            yield from _walk(modules, kind, f"{path}{cell}.", tables)


def memories(top: str, folder: Path, include: str, files: Sequence[str], tables: Mapping[int, str]) -> list[Memory]:
    """Those of `top` by name, elaborated in `folder` from `files` there. `tables`: number on the load bus -> name.

    UserError if Yosys is missing or finds a fault.
    """
    # Below the folder, for Yosys as WebAssembly sees no other.
    with tempfile.TemporaryDirectory(dir=folder) as name:
        script, rtlil = Path(name) / "script.ys", Path(name) / "design.il"
        lines = [
            *verilog.yosys_elaboration(top, {}, files, includes=[Path(include)]),
            f"write_rtlil {rtlil.relative_to(folder)}",
        ]
        script.write_text("\n".join(lines) + "\n")
        with ticking(lambda: f"elaborating {top}"):
            done = subprocess.run(
                [verilog.tool("yosys"), "-q", "-s", str(script.relative_to(folder))],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
            raise UserError(f"Yosys cannot elaborate {top}: {said[-1]}")
        found = _walk(_modules(rtlil.read_text()), f"\\{top}", "", tables)
        return sorted(found, key=lambda memory: memory.instance)


def to_csv(found: Sequence[Memory]) -> str:
    """memories.csv: a heading, and a line a memory."""
    names = [each.name for each in fields(Memory)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(memory, name) for name in names] for memory in found)
    return text.getvalue()
