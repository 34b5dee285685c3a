"""`make lint`: every module of rtl/ as its own top, at its defaults and its corners, and all Python files.

    python -m tools.lint [MODULE ...] [--jobs N] [--scheduler ADDRESS]   (no module: all, then ruff, mypy and imports)

Verilator (-Wall, Verilog-2005), Icarus (-Wall) and Yosys elaborate each set of parameters of LINT_PARAMETERS in the
module's testbench; pyverilog parses every file. Whatever a tool says is a fault.

Corners are the least, the greatest usual and the unequal values: one lane, one channel group, as many lanes as
channels, more outputs than inputs and the other way round, and the sizes that the shipped network uses.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from abbnn import paths, verilog
from abbnn.building import made
from abbnn.errors import UserError, run
from abbnn.executor import Task, Workers
from abbnn.export.mem import HEADER
from abbnn.golden.files import replacing
from abbnn.options import add_workers
from tools.verify import REPORTS, tree

NETWORK = paths.MODELS / "tiny.safetensors"
BUILD = paths.BUILD / "lint"
REPORT = REPORTS / "lint.json"
SHOWN_LINES = 20

SIMULATION_FORM = re.compile(r"^`ifdef (ABBNN_\w+)", re.MULTILINE)
"""A define that replaces a part of a module by a form that simulates faster."""


@functools.cache
def core_files() -> tuple[list[Path], list[str]]:
    """(include folders, defines) that the core and what holds one need: header and tables of the shipped network.

    Raises ValueError with one line if they cannot be made.
    """
    if not NETWORK.is_file():
        raise UserError(f"{HEADER}: {NETWORK} is missing, so it cannot be made")
    folder = BUILD / "mem"
    made(BUILD)
    status, said = verilog.run([sys.executable, "-m", "abbnn", "mem", str(NETWORK), "--out", str(folder)])
    if status:
        raise UserError(f"{HEADER}: abbnn mem: {said}")
    return [folder], [f'ABBNN_MEM_DIR="{folder}"']


def header_files(module: str) -> tuple[list[Path], list[str]]:
    """`core_files` if the module or one below it includes the header, else nothing. Raises ValueError as those do."""
    needed = any(f'`include "{HEADER}"' in Path(file).read_text() for file in verilog.sources(module))
    return core_files() if needed else ([], [])


Elaborate = Callable[..., list[str]]
TOOLS: dict[str, Elaborate] = {"verilator": verilog.verilator, "icarus": verilog.icarus, "yosys": verilog.yosys}


def elaborated(tool: str, module: str, parameters: verilog.Parameters, form: str) -> str:
    """What a tool has to say about a module; its header is made on the machine that this runs on."""
    includes, defines = header_files(module)
    defines = [*defines, form] if form else defines
    return _said(TOOLS[tool](module, parameters, includes=includes, defines=defines))


def parsed(modules: Sequence[str]) -> str:
    """What pyverilog has to say. Its parser takes seconds to come up, so it is one task for all."""
    faults = []
    for module in modules:
        try:
            verilog.parse(verilog.file(module), header_files(module)[0])
        except ValueError as error:
            faults.append(str(error))
    return "\n".join(faults)


def _said(command: Sequence[str]) -> str:
    status, said = verilog.run(command)
    return said or (f"exit status {status}" if status else "")


def lint_parameters(module: str) -> list[verilog.Parameters]:
    """Of the module's testbench. UserError if a module with parameters has none."""
    sys.path += [path for path in (str(paths.TB), *paths.search_path()) if path not in sys.path]
    testbench = importlib.import_module(f"abbnn.tb.test_{module}")
    found: list[verilog.Parameters] = getattr(testbench, "LINT_PARAMETERS", [])
    if not found and verilog.has_parameters(module):
        raise UserError(f"{module}: tb/test_{module}.py has no LINT_PARAMETERS")
    return found


def module_checks(module: str, corners: Sequence[verilog.Parameters]) -> list[Task]:
    """What elaborates one module."""
    checks = []
    forms = ["", *sorted(set(SIMULATION_FORM.findall(verilog.file(module).read_text())))]
    for parameters in [{}, *corners]:
        values = " ".join(f"{name}={value}" for name, value in parameters.items()) or "defaults"
        for form in forms:
            where = f"{module}: {values}{' with ' if form else ''}{form}"
            for tool in TOOLS:
                # Synthesis never sees a form for simulation, and $countones is not Verilog-2005.
                if (tool, form) != ("icarus", verilog.COUNTONES) and not (tool == "yosys" and form):
                    checks.append(Task(f"{where}: {tool}", elaborated, (tool, module, parameters, form)))
    return checks


def rtl_checks(modules: Sequence[str]) -> tuple[list[Task], list[str]]:
    """All checks of these modules, and the faults that are known before any tool runs."""
    checks, faults, known = [Task("pyverilog", parsed, (modules,))], [], verilog.modules()
    for module in modules:
        if module not in known:
            raise UserError(f"{module}: no such module in rtl/; there are {', '.join(known)}")
        try:
            checks += module_checks(module, lint_parameters(module))
        except UserError as error:
            faults.append(str(error))
    return checks, faults


def _imports() -> str:
    status, said = verilog.run([str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"])
    return said if status else ""


def python_checks() -> list[Task]:
    quiet = {"ruff": ["check", "--quiet"], "mypy": ["--no-error-summary"]}
    return [
        *(Task(name, _said, ([sys.executable, "-m", name, *options],)) for name, options in quiet.items()),
        Task("the tower of imports (pyproject.toml)", _imports),
    ]


def lint(options: argparse.Namespace) -> int:
    modules, before = options.modules or verilog.modules(), tree()
    checks, faults = rtl_checks(modules)
    if not options.modules:
        checks = python_checks() + checks
    header_files("abbnn_core")  # made once, before several want it
    for check, said in zip(checks, Workers.of(options).all(checks, "check"), strict=True):
        if said:
            lines = said.splitlines()
            more = [f"... {len(lines) - SHOWN_LINES} more lines"] if len(lines) > SHOWN_LINES else []
            faults.append("\n    ".join([check.name, *lines[:SHOWN_LINES], *more]))
    for fault in faults:
        print(fault)
    if not options.modules:
        with replacing(REPORT) as temporary:
            temporary.write_text(json.dumps({"sources": before, "checks": len(checks), "faults": len(faults)}) + "\n")
    print(f"lint: {len(modules)} modules, {len(checks)} checks, {len(faults)} faults")
    return 1 if faults else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.lint", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="modules of rtl/; none: all, and the Python files")
    add_workers(parser)
    options = parser.parse_args(arguments)
    return run("lint", lambda: lint(options))


if __name__ == "__main__":
    sys.exit(main())
