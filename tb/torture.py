"""`make torture`: random networks through the core, every layer against the golden model.

    python -m abbnn.tb.torture [--count N] [--first SEED] [--sim S] [--jobs N] [--scheduler ADDRESS] [--out FILE.jsonl]

A seed gives a small network: a stem and one to four blocks of 1 to 48 channels, kinds mixed as no family has them, maps
of up to 8x8 behind the stem, odd or not square, 1 to 1,000 classes, values of 9 to 20 bits, any number of terms,
statistics up to values that saturate all the time; any legal folding, balanced or not, with weights in any memory; a
loadable core or a fixed one; streams that flow or stall. Where nothing stalls,
latency and interval have to be those of the formulas. A line is written for each seed. What fails is made smaller
while it still fails, and kept as a network, a folding and images that `abbnn sim` takes.

Exit status 1: a network failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from abbnn import paths
from abbnn.errors import UserError, run
from abbnn.executor import Task, Workers
from abbnn.export.folding import Folding, WeightMemory, balance, stages, to_json
from abbnn.export.freeze import FreezeOptions
from abbnn.export.random_network import random_folding, random_images, random_network, random_structure
from abbnn.export.schedule import timing
from abbnn.golden.network import IntegerNetwork, save_network
from abbnn.golden.structure import Structure
from abbnn.options import add_workers, natural, positive
from abbnn.tb.pipeline import Report, run_core
from abbnn.tb.volume import rtl_hash

OUT = paths.BUILD / "reports" / "torture.jsonl"
CASES = paths.BUILD / "torture"
CYCLES_MAX = 6000
"""Between frames: a random folding that is slower gives way to a balanced one."""
IMAGES = 4
"""The last two are an interval apart."""
SHRINK_MAX = 40
"""Simulations spent on making a failure smaller."""


@dataclass(frozen=True)
class Case:
    """All that a simulation depends on; `seed` draws weights, folding and images."""

    seed: int
    structure: Structure
    options: dict[str, Any] = field(default_factory=dict)
    """Of FreezeOptions."""
    spread: float = 1.0
    scales: str = "pow2"
    balanced: bool = False
    memory: WeightMemory = "auto"
    loadable: bool = False
    stalls: tuple[float, float] = (0.0, 0.0)
    """How often the source idles and the sink is not ready."""
    images: int = IMAGES

    def network(self) -> IntegerNetwork:
        """UserError where freezing refuses what was drawn."""
        options = FreezeOptions(**self.options)
        return random_network(self.structure, self.seed, spread=self.spread, scales=self.scales, options=options)  # type: ignore[arg-type]

    def folding(self, network: IntegerNetwork) -> Folding:
        """Random, unless the case is balanced or that would take too long; weights go where `memory` says."""
        folding = random_folding(network, self.seed)
        if self.balanced or timing(network, folding).interval > CYCLES_MAX:
            folding = balance(network)
        binary = {stage.name for stage in stages(network) if stage.binary}
        return {name: replace(fold, weights=self.memory) if name in binary else fold for name, fold in folding.items()}


def widened(structure: Structure, factor: int) -> Structure:
    """With so many times the channels everywhere."""
    blocks = (
        replace(block, in_channels=factor * block.in_channels, out_channels=factor * block.out_channels)
        for block in structure.blocks
    )
    stem = replace(structure.stem, out_channels=factor * structure.stem.out_channels)
    return replace(structure, stem=stem, blocks=tuple(blocks))


def drawn(seed: int) -> Case:
    """The case of a seed."""
    rng = np.random.default_rng(seed)
    structure = random_structure(seed)
    if rng.random() < 0.2:
        structure = replace(structure, classes=int(rng.choice([1, 2, 10, 100, 1000])))
    structure = widened(structure, int(rng.choice([1, 1, 1, 2, 4, 8])))
    options: dict[str, Any] = {
        "value_width": int(rng.integers(9, 21)),
        "stem_planes": int(rng.integers(2, 13)),
        "head_planes": int(rng.integers(2, 9)),
        "shortcut_planes": int(rng.integers(2, 9)),
        "terms": int(rng.integers(1, 5)),
    }
    if rng.random() < 0.5:
        options["fraction_bits"] = int(rng.integers(4, options["value_width"] - 2))
    return Case(
        seed,
        structure,
        options,
        spread=float(rng.choice([0.0, 0.5, 1.0, 2.0, 4.0])),
        scales=str(rng.choice(["pow2", "free"])),
        balanced=bool(rng.integers(2)),
        memory=rng.choice(get_args(WeightMemory)).item(),
        loadable=bool(rng.integers(2)),
        stalls=(0.0, 0.0) if rng.random() < 0.5 else (float(rng.choice([0, 0.3, 0.7])), float(rng.choice([0.2, 0.7]))),
    )


def fault(case: Case, sim: str) -> str | None:
    """What is wrong with the core of this case, in a line; None: every value and both times are right."""
    network = case.network()
    folding, images = case.folding(network), random_images(case.structure, case.seed, case.images)
    expected = timing(network, folding)
    with tempfile.TemporaryDirectory(prefix="abbnn-torture-") as name:
        try:
            report: Report = run_core(
                network,
                images,
                None,
                Path(name) / "run",
                folding=folding,
                sim=sim,
                idle=case.stalls[0],
                back_pressure=case.stalls[1],
                loadable=case.loadable,
                builds=Path(name),  # a core that no other case has: it goes when the case does
            )
        except (SystemExit, UserError) as error:
            return str(error)
    if any(case.stalls):
        return None
    left = [row["left"] for row in report.images]
    found = [left[0] - report.images[0]["entered"], left[-1] - left[-2] if len(left) >= IMAGES else expected.interval]
    wanted = [expected.latency, expected.interval]
    return None if found == wanted else f"latency and interval are {found}, the formulas give {wanted}"


def smaller(case: Case) -> Iterator[Case]:
    """Cases that are simpler by one step."""
    if any(case.stalls):
        yield replace(case, stalls=(0.0, 0.0))
    if case.loadable:
        yield replace(case, loadable=False)
    if case.images > 1:
        yield replace(case, images=1)
    blocks = case.structure.blocks
    if len(blocks) > 1:
        yield replace(case, structure=replace(case.structure, blocks=blocks[:-1]))
    if case.structure.classes > 1:
        yield replace(case, structure=replace(case.structure, classes=1))
    if not case.balanced:
        yield replace(case, balanced=True)
    if case.memory != "auto":
        yield replace(case, memory="auto")
    for name in case.options:
        yield replace(case, options={key: value for key, value in case.options.items() if key != name})
    if case.spread != 1.0:
        yield replace(case, spread=1.0)


def shrunk(case: Case, sim: str) -> Case:
    """The simplest case that was found to fail still."""
    tries = 0
    while True:
        for candidate in smaller(case):
            tries += 1
            if tries > SHRINK_MAX:
                return case
            try:
                fails = fault(candidate, sim) is not None
            except UserError:
                continue
            if fails:
                case = candidate
                break
        else:
            return case


def tried(seed: int, sim: str) -> tuple[dict[str, Any], Case | None]:
    """(the line of this seed, the shrunk case if it fails)."""
    begun = time.monotonic()
    case = drawn(seed)
    structure = case.structure
    line: dict[str, Any] = {
        "seed": seed,
        "sim": sim,
        "image": [structure.height, structure.width],
        "classes": structure.classes,
        "blocks": [f"{block.shortcut}/{block.activation}" for block in structure.blocks],
        **{name: value for name, value in asdict(case).items() if name not in ("seed", "structure")},
    }
    found: str | None = None
    failing = None
    try:
        found = fault(case, sim)
        line["result"] = "failed" if found else "equal"
        if found:
            line["fault"] = found
            failing = shrunk(case, sim)
    except UserError as error:
        line |= {"result": "refused", "fault": str(error)}
    return line | {"seconds": round(time.monotonic() - begun, 1)}, failing


def keep(case: Case, folder: Path) -> str:
    """Write what `abbnn sim` takes; the command that repeats the failure."""
    folder.mkdir(parents=True, exist_ok=True)
    network = case.network()
    save_network(network, folder / "network.safetensors")
    (folder / "fold.json").write_text(to_json(case.folding(network)))
    np.save(folder / "images.npy", random_images(case.structure, case.seed, case.images))
    (folder / "case.json").write_text(json.dumps(asdict(case), indent=1, default=str) + "\n")
    return f"abbnn sim {folder}/network.safetensors {folder}/images.npy --fold {folder}/fold.json"


def _run(arguments: argparse.Namespace) -> int:
    seeds = range(arguments.first, arguments.first + arguments.count)
    tasks = [Task(f"seed {seed}", tried, (seed, arguments.sim)) for seed in seeds]
    counts = {"equal": 0, "refused": 0, "failed": 0}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    sources = rtl_hash()
    with arguments.out.open("a") as file:
        for _, (line, failing) in Workers.of(arguments).results(tasks, "network"):
            counts[line["result"]] += 1
            file.write(json.dumps({**line, "sources": sources}) + "\n")
            file.flush()
            if failing:
                print(f"seed {line['seed']}: {line['fault']}")
                print(f"  smaller: {keep(failing, CASES / str(line['seed']))}", flush=True)
    print(
        f"{counts['equal']:,} of {arguments.count:,} random networks equal the golden model, {counts['failed']} failed"
        f", {counts['refused']} were refused when frozen; {arguments.out}"
    )
    return 1 if counts["failed"] or not counts["equal"] else 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m abbnn.tb.torture", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=positive, default=20, metavar="N", help="networks; default %(default)s")
    parser.add_argument("--first", type=natural, default=0, metavar="SEED", help="the first seed; default %(default)s")
    parser.add_argument("--sim", choices=["icarus", "verilator"], default="icarus", help="default %(default)s")
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="FILE.jsonl", help="lines are added; default: %(default)s"
    )
    add_workers(parser)
    arguments = parser.parse_args(argv)
    return run("torture", lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
