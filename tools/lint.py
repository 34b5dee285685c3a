"""`make lint`: every module of rtl/ as its own top, at its defaults and its corners, and all Python files.

    python -m tools.lint [MODULE ...]      (no module: all of them, then ruff and mypy)

Verilator (-Wall, Verilog-2005), Icarus (-Wall) and, where it is installed, Yosys elaborate each set of parameters of
tools/lint_corners.py; pyverilog parses every file. Whatever a tool says is a fault. Waivers: tools/verilator.vlt.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from abbnn import paths, verilog
from abbnn.errors import UserError
from tools.lint_corners import CORNERS

NETWORK = paths.MODELS / "tiny.safetensors"
BUILD = paths.BUILD / "lint"
HEADER = "abbnn_config.vh"
SHOWN_LINES = 20

SIMULATION_FORM = re.compile(r"^`ifdef (ABBNN_\w+)", re.MULTILINE)
"""A define that replaces a part of a module by a form that simulates faster."""


class Check(NamedTuple):
    """One thing to run; `run` returns what is wrong, empty if nothing."""

    title: str
    run: Callable[[], str]


@functools.cache
def core_files() -> tuple[list[Path], list[str]]:
    """(include folders, defines) that the core and what holds one need: header and tables of the shipped network.

    Raises ValueError with one line if they cannot be made.
    """
    if not NETWORK.is_file():
        raise UserError(f"{HEADER}: {NETWORK} is missing, so it cannot be made")
    folder = BUILD / "mem"
    folder.parent.mkdir(parents=True, exist_ok=True)
    status, said = verilog.run([sys.executable, "-m", "abbnn", "mem", str(NETWORK), "--out", str(folder)])
    if status:
        raise UserError(f"{HEADER}: abbnn mem: {said}")
    return [folder], [f'ABBNN_MEM_DIR="{folder}"']


def header_files(module: str) -> tuple[list[Path], list[str]]:
    """`core_files` if the module or one below it includes the header, else nothing. Raises ValueError as those do."""
    needed = any(f'`include "{HEADER}"' in Path(file).read_text() for file in verilog.sources(module))
    return core_files() if needed else ([], [])


def _tool_check(title: str, command: Sequence[str]) -> Check:
    def check() -> str:
        status, said = verilog.run(command)
        return said or (f"exit status {status}" if status else "")

    return Check(title, check)


def _parse_check(module: str, includes: Sequence[Path]) -> Check:
    def check() -> str:
        try:
            verilog.parse(verilog.file(module), includes)
        except ValueError as error:
            return str(error)
        return ""

    return Check(f"{module}: pyverilog", check)


def module_checks(module: str, corners: Sequence[verilog.Parameters], *, with_yosys: bool) -> list[Check]:
    """Every check of one module. Raises ValueError if its header cannot be made."""
    includes, defines = header_files(module)
    checks = [_parse_check(module, includes)]
    text = verilog.file(module).read_text()
    forms = ["", *sorted(set(SIMULATION_FORM.findall(text)))]
    for parameters in [{}, *corners]:
        values = " ".join(f"{name}={value}" for name, value in parameters.items()) or "defaults"
        for form in forms:
            where = f"{module}: {values}{' with ' if form else ''}{form}"
            tools = {"verilator": verilog.verilator, "icarus": verilog.icarus, "yosys": verilog.yosys}
            if form or not with_yosys:  # synthesis never sees a form for simulation
                del tools["yosys"]
            if form == verilog.COUNTONES:  # not Verilog-2005
                del tools["icarus"]
            for name, command in tools.items():
                all_defines = [*defines, form] if form else defines
                checks.append(
                    _tool_check(f"{where}: {name}", command(module, parameters, includes=includes, defines=all_defines))
                )
    return checks


def rtl_checks(modules: Sequence[str], *, with_yosys: bool) -> tuple[list[Check], list[str]]:
    """All checks of these modules, and the faults that are known before any tool runs."""
    checks: list[Check] = []
    faults: list[str] = []
    for module in modules:
        if module not in verilog.modules():
            faults.append(f"{module}: no such module in rtl/; there are {', '.join(verilog.modules())}")
        elif module not in CORNERS:
            faults.append(f"{module}: has no entry in tools/lint_corners.py")
        else:
            try:
                checks += module_checks(module, CORNERS[module], with_yosys=with_yosys)
            except ValueError as error:
                faults.append(str(error))
    return checks, faults


def _imports() -> str:
    status, said = verilog.run([str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"])
    return said if status else ""


def python_checks() -> list[Check]:
    quiet = {"ruff": ["check", "--quiet"], "mypy": ["--no-error-summary"]}
    return [
        *(_tool_check(name, [sys.executable, "-m", name, *options]) for name, options in quiet.items()),
        Check("the tower of imports (pyproject.toml)", _imports),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.lint", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="modules of rtl/; none: all, and the Python files")
    options = parser.parse_args(arguments)
    with_yosys = shutil.which("yosys") is not None
    if not with_yosys:
        print("lint: yosys not found: skipped")
    modules = options.modules or verilog.modules()
    checks, faults = rtl_checks(modules, with_yosys=with_yosys)
    if not options.modules:
        unknown = sorted(set(CORNERS) - set(modules))
        faults += [f"tools/lint_corners.py: {name} is no module of rtl/" for name in unknown]
        checks = python_checks() + checks
    # pyverilog's parser is one object: its checks go first, one by one.
    parsing = [check for check in checks if check.title.endswith(": pyverilog")]
    others = [check for check in checks if check not in parsing]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pending = [pool.submit(check.run) for check in others]
        results = [(check.title, check.run()) for check in parsing]
        results += [(check.title, future.result()) for check, future in zip(others, pending, strict=True)]
    for title, said in results:
        if said:
            lines = said.splitlines()
            more = [f"... {len(lines) - SHOWN_LINES} more lines"] if len(lines) > SHOWN_LINES else []
            faults.append("\n    ".join([title, *lines[:SHOWN_LINES], *more]))
    for fault in faults:
        print(fault)
    print(f"lint: {len(modules)} modules, {len(results)} checks, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
