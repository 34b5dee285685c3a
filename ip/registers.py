"""The register table for other tools: a C header and SystemRDL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from abbnn.host.registers import REGISTERS, Access, Field, Register

FIELDLESS = "value"
"""Name of the only field of a register that the table gives none."""


def fields(register: Register) -> tuple[Field, ...]:
    """At least one: formats that put every bit into a field get one of all bits."""
    return register.fields or (Field(FIELDLESS, 0, 32, register.meaning),)


def field_reset(register: Register, field: Field) -> int | None:
    return None if register.reset is None else (register.reset & field.mask) >> field.low


def _guarded(name: str, lines: list[str]) -> str:
    return "\n".join([f"#ifndef {name}", f"#define {name}", *lines, "", f"#endif /* {name} */"]) + "\n"


def _defines(rows: list[tuple[str, str]]) -> Iterator[str]:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        yield f"#define {name:<{width}} {value}"


def c_header(core: Mapping[str, tuple[str, str]]) -> str:
    """registers.h. `core`: name -> (value, meaning) of the constants of one network."""
    lines = [
        "/* registers.h : offsets and fields of the registers, and constants of the network",
        " * SPDX-FileCopyrightText: 2026 The abbnn authors",
        " * SPDX-License-Identifier: Apache-2.0",
        " *",
        " * Written by `abbnn ip`. Offsets are byte addresses.",
        " */",
    ]
    for register in REGISTERS:
        name = f"ABBNN_{register.name}"
        said = f": {register.meaning}" if register.meaning else ""
        lines += ["", f"/* {register.access.value}{said} */"]
        offset = f"0x{register.offset:03X}"
        rows = [(f"{name}_OFFSET(i)", f"({offset} + 4 * (i))") if register.per_stage else (f"{name}_OFFSET", offset)]
        if register.reset is not None:
            rows.append((f"{name}_RESET", f"0x{register.reset:X}"))
        for field in register.fields:
            rows.append((f"{name}_{field.name.upper()}_MASK", f"0x{field.mask:X}"))
            rows.append((f"{name}_{field.name.upper()}_SHIFT", str(field.low)))
        lines += _defines(rows)
    for name, (value, meaning) in core.items():
        lines += ["", f"/* {meaning} */", f"#define {name} {value}"]
    return _guarded("ABBNN_REGISTERS_H", lines)


_SOFTWARE = {
    Access.RO: ("sw = r;", "hw = w;"),
    Access.RW: ("sw = rw;", "hw = r;"),
    Access.W1C: ("sw = rw;", "hw = rw;"),
}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _rdl_register(register: Register, stages: int) -> Iterator[str]:
    yield "    reg {"
    if register.meaning:
        yield f"        desc = {_quoted(register.meaning)};"
    for field in fields(register):
        yield "        field {"
        if field.meaning != register.meaning:
            yield f"            desc = {_quoted(field.meaning)};"
        # The core ends a soft reset by itself.
        software, hardware = ("sw = rw;", "hw = rw;") if field.name == "soft_reset" else _SOFTWARE[register.access]
        yield f"            {software} {hardware}" + (" onwrite = woclr;" if register.access is Access.W1C else "")
        reset = field_reset(register, field)
        bits = f"[{field.low + field.width - 1}:{field.low}]"
        yield f"        }} {field.name}{bits}" + ("" if reset is None else f" = {field.width}'h{reset:x}") + ";"
    array = f"[{stages}]" if register.per_stage else ""
    step = " += 0x4" if register.per_stage else ""
    yield f"    }} {register.name}{array} @ 0x{register.offset:03X}{step};"


def systemrdl(stages: int) -> str:
    """abbnn.rdl, for a core of so many stages."""
    lines = [
        "// abbnn.rdl : the registers in SystemRDL 2.0",
        "// SPDX-FileCopyrightText: 2026 The abbnn authors",
        "// SPDX-License-Identifier: Apache-2.0",
        "//",
        "// Written by `abbnn ip`.",
        "addrmap abbnn {",
        "    default regwidth = 32;",
        "    default accesswidth = 32;",
    ]
    for register in REGISTERS:
        lines += ["", *_rdl_register(register, stages)]
    return "\n".join([*lines, "};"]) + "\n"
