"""`make formal`: proofs about the stream modules and the arithmetic of a lane, each for small parameters.

    python -m tools.formal [PROOF ...] [--quick] [--faults] [--jobs N] [--scheduler ADDRESS] [--out FILE.json]

A proof is a harness of formal/ around a module of rtl/: its output `bad` shall never be 1, whatever its inputs do.
ABC's pdr answers for any number of cycles; a pipeline without feedback goes to Yosys' SAT solver, from any first
state on, when as many cycles have passed as the pipeline is long. `--faults` plants in each proof's module the fault
that belongs to it, and wants a counterexample. docs/verification.md says what is proven.

Exit status 1: a proof failed, or a fault was not found. 2: a tool is missing or broken, which proves nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import resource
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from abbnn import paths, verilog
from abbnn.errors import UserError, run
from abbnn.executor import Task, Workers
from abbnn.golden.files import replacing
from abbnn.options import add_workers
from abbnn.syn import trellis

HARNESSES = Path(__file__).resolve().parents[1] / "formal"
REPORT = paths.BUILD / "reports" / "formal.json"
FAULTS_REPORT = paths.BUILD / "reports" / "formal_faults.json"
ABC = ("berkeley-abc", "yosys-abc")
LIMIT_SECONDS = 1200
QUICK_SECONDS = 5.0
"""A proof of the quick subset takes no longer, alone on a core."""

ELABORATE = ("prep -flatten -top top", "memory_map")
TO_AIGER = (
    *ELABORATE,
    "techmap",
    "opt -fast",
    "dffunmap",
    "setundef -undriven -anyseq",
    "aigmap",
    "opt_clean",
    "write_aiger -zinit top.aig",
)


Macros = Mapping[str, str | int]


@dataclass(frozen=True)
class Proof:
    """`bad` of `harness` is never 1 with `module` under these macros, and is 1 some time with `fault` planted."""

    name: str
    module: str
    harness: str
    macros: Macros
    fault: tuple[str, str]
    """A text of the module that is there once, and what takes its place."""
    latency: int | None = None
    """Of a pipeline without feedback; else None."""
    seconds: float = 1.0
    """About what it takes."""

    @property
    def method(self) -> str:
        return "unbounded" if self.latency is None else f"any first state, {self.latency + 1} cycles"


@dataclass(frozen=True)
class Result:
    """What became of a proof; with its fault planted, `holds` ought to be false."""

    name: str
    module: str
    parameters: str
    method: str
    faulty: bool
    holds: bool
    seconds: float
    macros: Macros = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return self.holds != self.faulty


def named(values: Mapping[str, int]) -> str:
    """Parameters of an instance."""
    return ", ".join(f".{name}({value})" for name, value in values.items())


def _streams() -> list[Proof]:
    proofs = []
    macros: Macros

    def stream(
        module: str, name: str, parameters: Mapping[str, int], fault: tuple[str, str], capacity: int, **more: int
    ) -> None:
        lanes = {"S_LANES": 1, "M_LANES": 1, "IDLE": 3} | {key: value for key, value in more.items() if key.isupper()}
        own: Macros = {"DUT": module, "PARAMETERS": named(parameters), "CAPACITY": capacity, **lanes}
        proofs.append(Proof(name, module, "stream", own, fault, seconds=more.get("seconds", 1)))

    stream("abbnn_skid", "skid", {"DATA_WIDTH": 1}, ("ready_reg ? s_axis_tdata : skid_reg", "s_axis_tdata"), 2)
    for depth in (2, 3, 4):
        overflow = ("room_reg  <= count_reg < DEPTH[COUNT_WIDTH-1:0];", "room_reg  <= 1'b1;")
        stream("abbnn_fifo", f"fifo_{depth}", {"DATA_WIDTH": 1, "DEPTH": depth}, overflow, depth + 3, seconds=2 * depth)
    for s_lanes, m_lanes in ((1, 1), (2, 1), (3, 1), (4, 2), (1, 2), (1, 3), (2, 4)):
        if s_lanes > m_lanes:
            fault = ("assign s_axis_tready = advance && last;", "assign s_axis_tready = advance;")
        elif s_lanes < m_lanes:
            fault = ("assign s_axis_tready = !valid_reg || m_axis_tready;", "assign s_axis_tready = 1'b1;")
        else:
            fault = ("assign m_axis_tdata  = s_axis_tdata;", "assign m_axis_tdata  = ~s_axis_tdata;")
        parameters = {"LANE_WIDTH": 1, "S_LANES": s_lanes, "M_LANES": m_lanes}
        capacity = s_lanes + m_lanes
        stream(
            "abbnn_resize",
            f"resize_{s_lanes}_{m_lanes}",
            parameters,
            fault,
            capacity,
            S_LANES=s_lanes,
            M_LANES=m_lanes,
        )
    for depth in (2, 3, 4):
        macros = {"PARAMETERS": named({"DATA_WIDTH": 1, "DEPTH": depth}), "CAPACITY": depth}
        fault = ("leave_reg <= 1'b0;", "")
        proofs.append(Proof(f"credit_{depth}", "abbnn_credit", "credit", macros, fault, seconds=2))
    for depth, times in ((1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1), (3, 2), (2, 3)):
        fault = ("vectors == 2'd2 || fills", "vectors == 2'd2")
        if depth == 1 and times > 1:
            fault = ("next_valid_reg ? !advance : s_axis_tvalid", "s_axis_tvalid")
        macros = {"DEPTH": depth, "TIMES": times}
        proofs.append(Proof(f"replay_{depth}_{times}", "abbnn_replay", "replay", macros, fault, seconds=depth * times))
    fault = ("wire passes      = !row_reg[0] && !column_reg[0];", "wire passes      = !column_reg[0];")
    for groups, height, width in ((1, 2, 2), (2, 3, 3), (1, 4, 3), (3, 2, 4)):
        macros = {"GROUPS": groups, "HEIGHT": height, "WIDTH": width}
        proofs.append(Proof(f"subsample_{groups}_{height}_{width}", "abbnn_subsample", "subsample", macros, fault))
    fault = ("!s_axis_tlast && (discard_reg || beat_last)", "!s_axis_tlast && discard_reg")
    for beats in (1, 2, 3, 5):
        proofs.append(Proof(f"guard_{beats}", "abbnn_guard", "guard", {"BEATS": beats}, fault))
    fork = ("m0_done_reg <= m0_done && !m1_done;", "m0_done_reg <= m0_done;")
    proofs.append(Proof("fork", "abbnn_fork", "fork", {"PARAMETERS": named({"DATA_WIDTH": 2})}, fork))
    drop = ("s_verdict_tvalid && (m_axis_tready || s_verdict_tdata)", "s_verdict_tvalid && m_axis_tready")
    proofs.append(Proof("drop", "abbnn_drop", "drop", {}, drop))
    proofs.append(Proof("gate", "abbnn_gate", "gate", {}, ("wire open  = inside_reg || !hold;", "wire open  = !hold;")))
    proofs.append(Proof("cut", "abbnn_cut", "cut", {}, ("cut ? !last_reg :", "cut ? 1'b0 :")))
    return proofs


def _arithmetic() -> list[Proof]:
    proofs = []

    def leaf(
        module: str,
        name: str,
        latency: int,
        definition: str,
        parameters: Mapping[str, int],
        s_width: int,
        m_width: int,
        fault: tuple[str, str],
        saturate: int = 1,
    ) -> None:
        macros: dict[str, str | int] = {
            "DUT": module,
            "PARAMETERS": named(parameters),
            "DEFINITION": definition,
            "LATENCY": latency,
            "S_WIDTH": s_width,
            "M_WIDTH": m_width,
            "SATURATE": saturate,
        }
        if module != "abbnn_saturate":
            macros["HAS_TABLE"] = 1
        proofs.append(Proof(name, module, "leaf", macros, fault, latency=latency))

    for s_width, m_width in ((5, 3), (21, 16), (4, 4), (3, 5)):
        fault = ("{{M_WIDTH-S_WIDTH+1{sign}}, value[S_WIDTH-2:0]}", "{{M_WIDTH-S_WIDTH+1{1'b0}}, value[S_WIDTH-2:0]}")
        if s_width > m_width:
            fault = ("{sign, {M_WIDTH-1{!sign}}}", "{!sign, {M_WIDTH-1{!sign}}}")
        parameters = {"LANES": 1, "S_WIDTH": s_width, "M_WIDTH": m_width}
        leaf("abbnn_saturate", f"saturate_{s_width}_{m_width}", 1, "x", parameters, s_width, m_width, fault)
    for width in (2, 8, 16):
        parameters = {"LANES": 1, "CHANNELS": 1, "VALUE_WIDTH": width}
        fault = (">= $signed(threshold_reg", "> $signed(threshold_reg")
        definition = f"x >= $signed(w[{width - 1}:0])"
        leaf("abbnn_compare", f"compare_{width}", 2, definition, parameters, width, 1, fault, saturate=0)
    for s_width, m_width, bits, left, shift in (
        (4, 4, 5, 3, 3),
        (6, 9, 6, 2, 2),
        (2, 2, 2, 0, 1),
        (17, 16, 18, 7, 5),
    ):
        parts = [f"$signed(w[{(i + 1) * bits - 1}:{i * bits}])" for i in range(4)]
        definition = (
            f"x >= {parts[0]} ? x + {parts[1]}"
            f" : (((x + {parts[2]}) <<< {left}) >>> w[{4 * bits + shift - 1}:{4 * bits}]) + {parts[3]}"
        )
        parameters = {"LANES": 1, "CHANNELS": 1, "S_WIDTH": s_width, "M_WIDTH": m_width, "FIELD_WIDTH": bits}
        parameters |= {"LEFT_MAX": left, "SHIFT_WIDTH": shift}
        fault = ("$signed(y) >= $signed(threshold)", "$signed(y) > $signed(threshold)")
        leaf("abbnn_qprelu", f"qprelu_{s_width}_{m_width}", 6, definition, parameters, s_width, m_width, fault)
    for terms, s_width, sums, guard, m_width, prelu in ((1, 5, 10, 3, 4, 0), (2, 5, 10, 3, 4, 0), (2, 4, 9, 2, 8, 1)):
        shift, one = 2, 4
        fault = ("negate ? minus_reg : plus_reg", "negate ? plus_reg : minus_reg")
        summed = " + ".join(
            f"(w[{t * one + 3}] ? (w[{t * one + 2}] ? -x : x) <<< w[{t * one + 1}:{t * one}] : 32'sd0)"
            for t in range(terms)
        )
        definition = f"{'x >= 32' + chr(39) + 'sd0 ? x : ' if prelu else ''}(({summed}) >>> {guard})"
        parameters = {"LANES": 1, "CHANNELS": 1, "TERMS": terms, "SHIFT_WIDTH": shift, "GUARD": guard}
        parameters |= {"S_WIDTH": s_width, "SUM_WIDTH": sums, "M_WIDTH": m_width, "PRELU": prelu}
        leaf("abbnn_scale", f"scale_{terms}_{prelu}", 4, definition, parameters, s_width, m_width, fault)
    for module, fault in (
        ("abbnn_popcount_lut4", ("assign made[2*i] = three0[i]", "assign made[2*i] = ~three0[i]")),
        ("abbnn_popcount_lut6", ("+: TRIPLES] = three0 ^", "+: TRIPLES] = ~three0 ^")),
    ):
        for width, latency in ((1, 1), (5, 1), (9, 2), (18, 3)):
            macros: dict[str, str | int] = {"DUT": module, "WIDTH": width, "LATENCY": latency}
            name = f"{module.removeprefix('abbnn_')}_{width}"
            proofs.append(Proof(name, module, "popcount", macros, fault, latency=latency, seconds=width / 2))
    return proofs


PROOFS = {proof.name: proof for proof in (*_streams(), *_arithmetic())}


def abc() -> str:
    found = next(filter(None, map(shutil.which, ABC)), None)
    if found is None:
        raise UserError(f"{' and '.join(ABC)}: neither is installed: apt-get install berkeley-abc")
    return found


def decided(proof: Proof, harness: str, sources: Mapping[str, str]) -> tuple[bool, float]:
    """(whether `bad` is never 1, CPU seconds of the tools); UserError if a tool gives no answer."""
    begun = _children_seconds()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in sources.items():
            (folder / file).write_text(text)
        macros = "".join(f"`define {macro} {value}\n" for macro, value in proof.macros.items())
        (folder / "top.v").write_text(macros + harness)
        read = f"read_verilog {' '.join(sources)} top.v"
        if proof.latency is None:
            script = [read, *TO_AIGER]
        else:
            cycles = f"-timeout {LIMIT_SECONDS} -seq {proof.latency + 1} -prove-skip {proof.latency}"
            script = [read, *ELABORATE, f"sat {cycles} -set-def-inputs -prove bad 0"]
        said = trellis.run("yosys", [verilog.tool("yosys"), "-p", "; ".join(script)], folder)
        good, wrong = r"SAT proof finished - no model found: SUCCESS!", r"SAT proof finished - model found: FAIL!"
        if proof.latency is None:
            said = trellis.run("abc", [abc(), "-c", f"read_aiger top.aig; scorr; pdr -T {LIMIT_SECONDS}"], folder)
            good, wrong = r"^Property proved\.", r"^Output 0 of miter .* was asserted"
        holds, fails = (re.search(pattern, said, re.MULTILINE) is not None for pattern in (good, wrong))
        if holds == fails:
            raise UserError(f"{proof.name}: no answer: {said.strip().splitlines()[-1]}")
    return holds, _children_seconds() - begun


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def planted(proof: Proof, text: str) -> str:
    """The module's source with the proof's fault."""
    old, new = proof.fault
    if text.count(old) != 1:
        raise UserError(f"{proof.name}: {proof.module} has {text.count(old)} times {old!r}")
    return text.replace(old, new)


def task(proof: Proof, faulty: bool) -> Task:
    files = [verilog.file(proof.module)] if proof.harness == "leaf" else map(Path, verilog.sources(proof.module))
    sources = {path.name: path.read_text() for path in files}
    if faulty:
        own = f"{proof.module}.v"
        sources[own] = planted(proof, sources[own])
    harness = (HARNESSES / f"{proof.harness}.v").read_text()
    return Task(proof.name + (", faulty" if faulty else ""), decided, (proof, harness, sources))


def prove(proofs: list[Proof], faulty: bool, workers: Workers) -> list[Result]:
    """In the order of `proofs`."""
    abc()
    verilog.tool("yosys")
    results: dict[int, Result] = {}
    for index, (holds, seconds) in workers.results([task(proof, faulty) for proof in proofs], "proof"):
        proof = proofs[index]
        shown = str(
            proof.macros.get("PARAMETERS", named({k: v for k, v in proof.macros.items() if isinstance(v, int)}))
        )
        result = Result(
            proof.name, proof.module, shown, proof.method, faulty, holds, round(seconds, 1), dict(proof.macros)
        )
        results[index] = result
        what = "counterexample" if not holds else "proved, " + proof.method
        print(
            f"{'' if result.good else 'WRONG '}{proof.name}: {proof.module} {shown}: {what}, {seconds:.1f} s",
            flush=True,
        )
    return [results[index] for index in range(len(proofs))]


def sources() -> str:
    """sha256 of all that the proofs are about: the code of the modules, and the harnesses."""
    harnesses = [path.read_text() for path in sorted(HARNESSES.glob("*.v"))]
    return hashlib.sha256("".join([verilog.digest(verilog.modules()), *harnesses]).encode()).hexdigest()


def _run(arguments: argparse.Namespace) -> int:
    unknown = [name for name in arguments.proofs if name not in PROOFS]
    if unknown:
        raise UserError(f"{unknown[0]}: no such proof; there are: {' '.join(PROOFS)}")
    chosen = [PROOFS[name] for name in arguments.proofs or PROOFS]
    if arguments.quick:
        chosen = [proof for proof in chosen if proof.seconds <= QUICK_SECONDS]
    results = prove(chosen, arguments.faults, Workers.of(arguments))
    out = arguments.out or (FAULTS_REPORT if arguments.faults else REPORT)
    report = {"sources": sources(), "results": [asdict(result) for result in results]}
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
    good = sum(result.good for result in results)
    print(f"{good} of {len(results)} {'faults found' if arguments.faults else 'proofs hold'}; {out}")
    return 0 if good == len(results) else 1


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.formal", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("proofs", nargs="*", metavar="PROOF", help="default: all")
    parser.add_argument("--quick", action="store_true", help="only those that take seconds")
    parser.add_argument("--faults", action="store_true", help="plant each proof's fault, which it has to find")
    parser.add_argument("--out", type=Path, help=f"default: {REPORT}, or {FAULTS_REPORT.name}")
    add_workers(parser)
    arguments = parser.parse_args(argv)
    return run("formal", lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
