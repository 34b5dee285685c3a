"""`abbnn host`, where `--port sim` is a board without hardware: its top on Verilator, for as long as the command runs.

tb/board.cpp drives the verilated top through its serial line. The build depends on the Verilog, the board and the
layout of the core, but not on the weights: these are in the boot ROM, whose files are read when the simulation starts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO

from abbnn import paths
from abbnn.building import once
from abbnn.errors import UserError
from abbnn.export.pipeline import Pipeline
from abbnn.host import __main__ as host
from abbnn.host import simulated
from abbnn.host.link import LinkError, Port
from abbnn.syn.bitstream import BOOT_FILE
from abbnn.syn.boards import Board, board
from abbnn.syn.patch import chunks
from abbnn.tb.bench import simulation_defines, simulator_version
from abbnn.tb.volume import VERILATE, Fault, compiled, structure_headers
from abbnn.verilog import quoted

BUILD = paths.BUILD / "board"
DRIVER = paths.TB / "board.cpp"
PLL = paths.TB / "ehxplll.v"
SECOND = 100_000
"""Clocks of a second, at least: far fewer than a board's, since the host waits for seconds and all are simulated."""
BOOT_WORD = 5
"""Clocks of a word in the boot ROM."""
BOOT_WORDS_MAX = 512_000
"""What abbnn_boot takes."""
MAKE = ["CFG_CXXFLAGS_PCH_I=-include", "OPT_FAST=-O1", "OPT_SLOW=-O0"]
"""As of tb/volume.py, but a few images are sooner simulated than -O3 is done."""
ANSWER = struct.Struct("<QBB")


def second(pipeline: Pipeline) -> int:
    """Clocks of a second of the simulated board's time: it is never without a word to the host for longer."""
    timing = pipeline.timing
    return max(SECOND, BOOT_WORD * len(pipeline.load_image), timing.latency + timing.interval)


class SimulatedPort:
    """As a serial port; the board's time passes while somebody reads. LinkError if the simulation ends."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[str], second: int) -> None:
        self.timeout: float | None = 1.0
        self._process, self._log, self._second = process, log, second
        self._cycles = 0

    def clock(self) -> float:
        return self._cycles / self._second

    def write(self, data: bytes, /) -> None:
        self._send(b"w" + struct.pack("<I", len(data)) + data)

    def read(self, count: int, /) -> bytes:
        """The next byte, whatever `count` is."""
        self._send(b"r" + struct.pack("<Q", max(1, math.ceil((self.timeout or 0.0) * self._second))))
        assert self._process.stdout is not None
        answer = self._process.stdout.read(ANSWER.size)
        if len(answer) < ANSWER.size:
            raise self._ended()
        self._cycles, given, byte = ANSWER.unpack(answer)
        return bytes([byte]) if given else b""

    def _send(self, request: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _ended(self) -> LinkError:
        status = self._process.wait()
        self._log.seek(0)
        return LinkError(f"the simulated board has ended: {self._log.read().strip() or f'exit status {status}'}")


def build(pipeline: Pipeline, where: Board) -> Path:
    """The simulator of `where` with a core of this pipeline's layout, built unless there."""
    words, cycles = len(pipeline.load_image), second(pipeline)
    if words > BOOT_WORDS_MAX:
        raise UserError(f"{words:,} words of tables; a board's boot ROM has {BOOT_WORDS_MAX:,} at most")
    rate = 1_000_000 * where.clock_mhz // simulated.BIT_CYCLES
    parameters = {"CLOCK_MHZ": where.clock_mhz, "BAUD": rate, "GAP_CYCLES": cycles // 4, "BOOT_WORDS": words}
    texts = {**structure_headers(pipeline.headers), DRIVER.name: DRIVER.read_text()}
    files = [*where.files(), PLL]
    line = {f"BOARD_{key.upper()}": port for key, port in where.line._asdict().items()}
    options = [*VERILATE, "--prefix", "Vboard", *(f"-D{name}" for name in simulation_defines("verilator"))]
    options += [f"-G{name}={value}" for name, value in parameters.items()] + [f"-GBOOT_FILE={quoted(BOOT_FILE)}"]
    options += ["-CFLAGS", " ".join(f"-D{name}={port}" for name, port in line.items())]
    read = [file.read_text() for file in files]
    key = json.dumps([simulator_version("verilator"), where.top, options, MAKE, texts, read])
    program = BUILD / f"{where.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"

    def built(folder: Path) -> None:
        print(f"building a simulator of {where.name} for this layout, once: {program}", file=sys.stderr, flush=True)
        compiled(program, folder, where.top, texts, options, MAKE, [*map(str, files), DRIVER.name])

    try:
        return once(program, built)
    except Fault as fault:
        raise UserError(str(fault)) from None


@contextmanager
def simulation(pipeline: Pipeline, where: Board) -> Iterator[SimulatedPort]:
    """The port of a board that boots the network of `pipeline`; it ends with the block."""
    program = build(pipeline, where)
    with tempfile.TemporaryDirectory(prefix="abbnn-board-") as name, tempfile.TemporaryFile("w+") as log:
        for number, chunk in enumerate(chunks(pipeline.load_image)):
            text = "".join(f"{word:08x}\n" for word in chunk)
            (Path(name) / f"{BOOT_FILE}.{number:03}.mem").write_text(text, encoding="ascii")
        command = [str(program), str(simulated.BIT_CYCLES)]
        with subprocess.Popen(command, cwd=name, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log) as process:
            assert process.stdin is not None
            try:
                yield SimulatedPort(process, log, second(pipeline))
            finally:
                process.kill()
                with suppress(BrokenPipeError):  # a request that an interrupt has cut
                    process.stdin.close()


def port(arguments: argparse.Namespace) -> AbstractContextManager[Port]:
    """What `abbnn host` talks to."""
    if arguments.port != simulated.PORT:
        return host.serial_port(arguments)
    return simulation(simulated.pipeline(arguments), board(arguments.board or simulated.BOARD))


def main(argv: Sequence[str] | None = None) -> int:
    return host.main(argv, port)


if __name__ == "__main__":
    sys.exit(main())
