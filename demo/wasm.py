"""The core as WebAssembly: Verilator makes C++ of the Verilog, and Emscripten compiles that with core.cpp.

As in tb/volume.py the build depends on the Verilog and the exported headers but not on the weights: the memory files
are read when the page starts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from abbnn import paths
from abbnn.building import once
from abbnn.errors import UserError
from abbnn.export.pipeline import Pipeline
from abbnn.tb.bench import simulation_defines, simulator_version, verilator_environment
from abbnn.tb.pipeline import MEM_FOLDER
from abbnn.tb.volume import TOP, VERILATE, structure_headers
from abbnn.verilog import sources

BUILD = paths.BUILD / "demo-core"
DRIVER = Path(__file__).resolve().with_name("core.cpp")
FILES = ("core.js", "core.wasm")
NO_EMSCRIPTEN = "Emscripten is not installed: apt-get install --no-install-recommends emscripten"
ENTRIES = ("core_reset", "core_run", "core_state", "core_streams", "core_map", "core_results", "core_left")
COMPILE = [
    "-std=c++17",
    "-DVL_IGNORE_UNKNOWN_ARCH",
    "-include",  # svdpi.h has it on the systems that it knows alone
    "stdint.h",
]
LINK = [
    "-O3",
    "-sMODULARIZE",
    "-sEXPORT_NAME=abbnnCore",
    "-sENVIRONMENT=worker",
    "-sALLOW_MEMORY_GROWTH",
    "-sFORCE_FILESYSTEM",
    "-sEXPORTED_RUNTIME_METHODS=FS",
    f"-sEXPORTED_FUNCTIONS={','.join(f'_{name}' for name in ENTRIES)}",
]
RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
"""Of Verilator. Without -pthread the second only asks what core.cpp answers."""
DEBIAN_MODULES = "/usr/share/nodejs"
"""Where Debian keeps the JavaScript modules that its Emscripten loads."""


@dataclass(frozen=True)
class Stream:
    """What a stage gives for a frame: `height` x `width` x `channels` signed values, `lanes` of `bits` bits a beat.

    The head's are its scores and the class, one a beat.
    """

    name: str
    height: int
    width: int
    channels: int
    lanes: int
    bits: int

    @property
    def values(self) -> int:
        return self.height * self.width * self.channels


def streams(pipeline: Pipeline) -> list[Stream]:
    """The output streams of all stages, in their order."""
    structure, folding, bits = pipeline.network.structure, pipeline.folding, pipeline.network.value_width
    maps = {name: size for name, size in structure.outputs.items() if name != "head"}
    found = [Stream(name, *size, folding[name].pe, bits) for name, size in maps.items()]
    return [*found, Stream("head", 1, 1, structure.classes + 1, 1, 32)]


def visible(shown: Sequence[Stream]) -> str:
    """Verilator's configuration that keeps these streams, and them alone, for core.cpp to read."""
    names = [f"{stream.name}_{end}" for stream in shown for end in ("tdata", "tvalid", "tready")]
    return "`verilator_config\n" + "".join(f'public_flat_rd -module "{TOP}" -var "{name}"\n' for name in names)


def listed(shown: Sequence[Stream]) -> str:
    """streams.inc, as core.cpp reads it."""
    return "".join(f"STREAM({stream.name}, {stream.lanes}, {stream.bits}, {stream.values})\n" for stream in shown)


def emscripten() -> list[str]:
    """The compiler and what it says it is. UserError if it is not there or does not work."""
    found = shutil.which("em++")
    if found is None:
        raise UserError(NO_EMSCRIPTEN)
    done = subprocess.run([found, "--version"], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise UserError(f"{found} --version: does not work, exit status {done.returncode}")
    return [found, done.stdout.partition("\n")[0]]


def _run(command: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]) -> None:
    with log.open("a") as file:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            check=False,
        )
    if done.returncode:
        lines = [line for line in log.read_text(errors="replace").splitlines() if "error" in line.lower()]
        what = lines[0] if lines else f"{command[0]} ended with status {done.returncode}"
        raise UserError(f"the core cannot be built, see {log}: {what}")


def build(pipeline: Pipeline) -> Path:
    """A folder with FILES for the core with this pipeline's hardware, built unless there."""
    compiler, tools = emscripten(), simulator_version("verilator")
    shown = streams(pipeline)
    texts = {
        **structure_headers(pipeline.headers),
        "streams.vlt": visible(shown),
        "streams.inc": listed(shown),
        DRIVER.name: DRIVER.read_text(),
    }
    verilog = sources(TOP)
    defines = [f"-D{name}" for name in simulation_defines("verilator")] + [f'-DABBNN_MEM_DIR="{MEM_FOLDER}"']
    verilate = [*VERILATE, "--no-public-flat-rw", *defines]
    read = [Path(file).read_text() for file in verilog]
    key = hashlib.sha256(json.dumps([compiler, tools, verilate, COMPILE, LINK, texts, read]).encode()).hexdigest()[:16]
    result = BUILD / f"core-{key}"

    def made(folder: Path) -> None:
        print(f"building {result} (half a minute; minutes for a large network)", flush=True)
        for name, text in texts.items():
            (folder / name).write_text(text)
        log = BUILD / f"{result.name}.log"
        log.unlink(missing_ok=True)
        environment = verilator_environment()
        include = Path(environment["VERILATOR_ROOT"]) / "include"
        command = ["verilator_bin", "--cc", "--top-module", TOP, "-I.", "--Mdir", "obj", *verilate, "streams.vlt"]
        _run([*command, *verilog], folder, log, environment)
        environment = {"NODE_PATH": os.pathsep.join(filter(None, [os.environ.get("NODE_PATH"), DEBIAN_MODULES]))}
        # What runs once, to set the core up, is most of the code and takes the longest to optimise.
        units = sorted((folder / "obj").glob("*.cpp"))
        slow = [str(unit) for unit in units if "Slow" in unit.name]
        fast = [str(unit) for unit in units if "Slow" not in unit.name] + [DRIVER.name]
        includes = ["-I.", "-Iobj", f"-I{include}", f"-I{include / 'vltstd'}"]
        for level, group in (("-O1", [*slow, *(str(include / name) for name in RUNTIME)]), ("-O3", fast)):
            _run([compiler[0], *COMPILE, level, "-c", *includes, *group], folder, log, environment)
        (folder / result.name).mkdir()
        objects = sorted(path.name for path in folder.glob("*.o"))
        _run([compiler[0], *LINK, *objects, "-o", str(Path(result.name) / FILES[0])], folder, log, environment)

    return once(result, made)
