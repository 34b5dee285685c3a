"""`make bench`: what the shipped network and folding do in simulation, beside what the formulas say.

Cycles between frames and latency are counted in an unstalled run on both simulators and must equal
`export.schedule.timing`; the interval must be within 1% of the slowest stage's ideal. Writes build/reports/bench.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tb")]

import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from export.folding import balance  # noqa: E402
from export.freeze import FreezeOptions, freeze  # noqa: E402
from export.schedule import Timing, timing, utilisation  # noqa: E402
from golden.images import read_images  # noqa: E402
from golden.model import Model, batches  # noqa: E402
from golden.network import IntegerNetwork, load_network  # noqa: E402
from golden.structure import declared_network  # noqa: E402
from train.random_checkpoint import random_checkpoint  # noqa: E402
from train.variant import Variant  # noqa: E402

SHIPPED = ROOT / "models" / "cifar10_test100.npz"
REPORT = ROOT / "build" / "reports" / "bench.json"
GOLDEN_IMAGES = 1000
"""Images that the golden model's rate is measured on: the shipped ones over and over."""
FULL_SIZE, FULL_SIZE_IMAGES = "reactnet18", 200
"""Whose rate is measured as well, with random weights."""


def full_size_network() -> IntegerNetwork:
    structure = declared_network(FULL_SIZE)
    return freeze(random_checkpoint(structure, np.random.default_rng(1)), structure, Variant(), FreezeOptions())


def golden_rate(network: IntegerNetwork, images: Any, count: int) -> float:
    """Images a second of CPU time of `golden.model.Model`, every layer computed, for at least `count` images."""
    model = Model(network)
    dict(model.layers(images[:10]))
    started, done = time.process_time(), 0
    while done < count:
        for batch in batches(images, model.batch_size):
            dict(model.layers(batch))
            done += len(batch)
    return done / (time.process_time() - started)


def simulated(network: IntegerNetwork, images: Any, labels: Any, sim: str) -> dict[str, float]:
    """Latency of the first frame, interval between the last two, and cycles a second, scores checked, no monitors."""
    from pipeline import default_run_folder, logged, run_core

    folder = default_run_folder("bench", sim)
    with logged(folder / "sim.log", len(images), sim):
        report = run_core(network, images, labels, folder, sim=sim, monitor=False)
    left = [row["left"] for row in report.images]
    return {
        "latency": left[0] - report.images[0]["entered"],
        "interval": left[-1] - left[-2],
        "images": len(left),
        "cycles": report.cycles,
        "cycles_per_second": report.cycles / report.seconds,
    }


def check(expected: Timing, runs: dict[str, dict[str, float]]) -> list[str]:
    """What does not hold."""
    faults = []
    for sim, run in runs.items():
        for name in ("latency", "interval"):
            if run[name] != getattr(expected, name):
                faults.append(f"{sim}: {name} {run[name]} cycles, the formula says {getattr(expected, name)}")
    slowest = max(expected.ideal.values())
    if expected.interval > 1.01 * slowest:
        faults.append(f"interval {expected.interval} is more than 1% above the slowest stage's {slowest}")
    return faults


def _tables(result: dict[str, Any]) -> list[Table]:
    cycles = Table(title=f"{result['network']}, cycles")
    for column in ("", "formula", *result["simulated"]):
        cycles.add_column(column, justify="right")
    for name in ("latency", "interval"):
        cycles.add_row(name, str(result["formula"][name]), *(str(run[name]) for run in result["simulated"].values()))
    rates = (f"{run['cycles_per_second']:,.0f}" for run in result["simulated"].values())
    cycles.add_row("cycles/s simulated", "", *rates)
    stages = Table(title="stages")
    for column in ("stage", "PE", "SIMD", "ideal cycles", "utilisation"):
        stages.add_column(column, justify="right")
    for name, row in result["stages"].items():
        use = f"{row['utilisation']:.1%}"
        stages.add_row(name, str(row["pe"]), str(row["simd"]), str(row["cycles"]), use)
    return [cycles, stages]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument(
        "--network", type=Path, default=ROOT / "models" / "tiny.safetensors", metavar="FILE.safetensors"
    )
    parser.add_argument("--sim", action="append", choices=["icarus", "verilator"], help="default: both")
    arguments = parser.parse_args(argv)
    network = load_network(arguments.network)
    structure = network.structure
    shipped, _ = read_images(SHIPPED)
    images, labels = read_images(SHIPPED, structure.height, structure.width)
    folding = balance(network)
    expected = timing(network, folding)
    counts = {"icarus": 4, "verilator": 20}
    runs = {
        sim: simulated(network, images[: counts[sim]], None if labels is None else labels[: counts[sim]], sim)
        for sim in arguments.sim or counts
    }
    use = utilisation(network, folding, expected.interval)
    result = {
        "network": structure.name,
        "formula": {
            "latency": expected.latency,
            "interval": expected.interval,
            "bottleneck": expected.bottleneck,
            "bottleneck_ideal": max(expected.ideal.values()),
        },
        "simulated": runs,
        "utilisation": use["binary"],
        "golden_images_per_second": golden_rate(network, images, GOLDEN_IMAGES),
        "golden_full_size_images_per_second": golden_rate(full_size_network(), shipped, FULL_SIZE_IMAGES),
        "stages": {
            name: {
                "pe": folding[name].pe,
                "simd": folding[name].simd,
                "cycles": ideal,
                "utilisation": use["stages"][name],
            }
            for name, ideal in expected.ideal.items()
        },
    }
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(result, indent=2) + "\n")
    console = Console()
    for table in _tables(result):
        console.print(table)
    console.print(f"useful binary MACs over XNOR lanes x interval: {result['utilisation']:.1%}")
    console.print(f"golden model: {result['golden_images_per_second']:.0f} images/s of one core")
    full_size = result["golden_full_size_images_per_second"]
    console.print(f"golden model of full-size {FULL_SIZE}: {full_size:.0f} images/s of one core")
    console.print(f"{REPORT.relative_to(ROOT)}: written")
    faults = check(expected, runs)
    for fault in faults:
        print(f"make bench: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
