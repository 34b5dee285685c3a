"""`make nightly`: what takes too long for `make test`, step by step, and a dated line of how each ended.

    python -m tools.nightly [STEP ...] [--data IMAGES] [--count N] [--out FILE.jsonl] [--trend]

A failed step does not stop those behind it. The line holds the hash of the tree, the seed, and each step's status and
seconds, so that `--trend` shows when a step first failed and what has become slower. A step is a command that a user
can give as well; its output goes to a log beside the results.

Exit status 1: a step failed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from abbnn import paths
from abbnn.building import ticking
from abbnn.errors import UserError, run
from abbnn.options import positive
from abbnn.tables import console, new_table
from tools.verify import CHECKOUT, tree

OUT = paths.BUILD / "reports" / "nightly.jsonl"
SHOWN = 12
"""Runs that `--trend` shows."""


def steps(arguments: argparse.Namespace, seed: int) -> dict[str, list[str]]:
    """Name -> command. `seed` also chooses the random networks, so that each night tries others."""
    abbnn, tool = [sys.executable, "-m", "abbnn"], [sys.executable, "-m"]
    images = [str(arguments.data)] if arguments.data else []
    return {
        "test": ["make", "test"],
        "formal": ["make", "formal"],
        "proof": [*abbnn, "proof"],
        "torture": [*tool, "abbnn.tb.torture", "--count", str(arguments.count), "--first", str(seed)],
        "volume": [*abbnn, "volume", str(paths.MODELS / "tiny.safetensors"), *images],
        "volume-stalled": [*abbnn, "volume", str(paths.MODELS / "tiny.safetensors"), *images, "--stall", str(seed)],
        "gates": ["make", "gates"],
    }


def step(name: str, command: Sequence[str], seed: int, log: Path) -> dict[str, object]:
    """Run one command to its end; its status and seconds."""
    begun = time.monotonic()
    environment = {**os.environ, "NIGHTLY": "1", "SEED": str(seed)}
    with log.open("w") as file, ticking(lambda: f"{name}: {' '.join(command)}"):
        done = subprocess.run(
            command, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False
        )
    return {"status": done.returncode, "seconds": round(time.monotonic() - begun)}


def _cell(end: dict[str, int] | None) -> str:
    if end is None:
        return "-"
    return f"failed, {end['status']}" if end["status"] else f"{end['seconds']} s"


def trend(out: Path) -> None:
    """A row a run, the newest last: seconds of each step, or its status where it failed."""
    lines = [json.loads(line) for line in out.read_text().splitlines()][-SHOWN:]
    names = list(dict.fromkeys(name for line in lines for name in line["steps"]))
    table = new_table(None, ["date", "sources", "seed", *names], texts=2)
    for line in lines:
        cells = [_cell(line["steps"].get(name)) for name in names]
        table.add_row(line["date"], line["sources"], str(line["seed"]), *cells)
    console(160).print(table)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.trend:
        if not arguments.out.is_file():
            raise UserError(f"{arguments.out}: no results yet")
        trend(arguments.out)
        return 0
    seed = arguments.seed if arguments.seed is not None else random.randrange(1 << 20)
    known = steps(arguments, seed)
    if unknown := [name for name in arguments.steps if name not in known]:
        raise UserError(f"{unknown[0]}: no such step; there are: {' '.join(known)}")
    chosen = {name: known[name] for name in arguments.steps or known}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    line = {"date": datetime.datetime.now().isoformat(timespec="minutes"), "sources": tree(), "seed": seed}
    ends: dict[str, dict[str, object]] = {}
    for number, (name, command) in enumerate(chosen.items(), 1):
        log = arguments.out.parent / f"nightly-{name}.log"
        ends[name] = step(name, command, seed, log)
        said = f"failed with status {ends[name]['status']}, see {log}" if ends[name]["status"] else "passed"
        print(f"{number} of {len(chosen)}, {name}: {said}, {ends[name]['seconds']} s", flush=True)
    with arguments.out.open("a") as file:
        file.write(json.dumps({**line, "steps": ends}) + "\n")
    print(f"{arguments.out}: a line added; --trend shows the last {SHOWN}")
    return 1 if any(end["status"] for end in ends.values()) else 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.nightly", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help="default: all")
    parser.add_argument("--data", type=Path, metavar="IMAGES", help="of `abbnn volume`; default: the shipped 100")
    parser.add_argument(
        "--count", type=positive, default=1000, metavar="N", help="random networks; default %(default)s"
    )
    parser.add_argument("--seed", type=int, metavar="SEED", help="default: another each time; the line holds it")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="lines are added; default: %(default)s")
    parser.add_argument("--trend", action="store_true", help="show the last runs, and run nothing")
    arguments = parser.parse_args(argv)
    return run("nightly", lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
