"""`make bench`: what each design needs and does, measured, beside what the formulas say, in build/reports/bench.json.

A design is a network with a folding. Latency and interval are counted in unstalled simulations and must equal
`export.schedule.timing`; every class and score is compared with the golden model on the way. LUT, FF, block RAM and DSP
are those of `abbnn area`, each stage synthesised by itself; "at most" has the carry sites added (docs/area.md).
Results are kept in build/syn, so that only the first run takes its time. The clock is assumed: nothing here has been
placed and routed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from abbnn import paths
from abbnn.errors import UserError, run
from abbnn.executor import Workers
from abbnn.export.folding import Folding, balance, check, read_folding, stages
from abbnn.export.random_network import random_network
from abbnn.export.schedule import timing, utilisation
from abbnn.golden.images import SHIPPED_IMAGES, read_images, resized
from abbnn.golden.model import Model, batches
from abbnn.golden.network import IntegerNetwork, load_network
from abbnn.golden.structure import declared_network
from abbnn.report.networks import FLOAT_TOP1
from abbnn.syn import area, yosys
from abbnn.tables import console, new_table

REPORT = paths.BUILD / "reports" / "bench.json"
MODELS = paths.MODELS
FAMILIES = ("xc7", "ecp5")
SEED = 1
"""Of random weights."""
GOLDEN_SECONDS = 4.0
"""CPU time that the golden model's rate is measured for."""
LEAST_UTILISATION = 0.9
"""Of the lanes of all binary 3x3 convolutions together."""


@dataclass(frozen=True)
class Design:
    """What is measured. `images` a simulator: of "icarus" and "verilator" cocotb has the clock, of "volume" C++."""

    name: str
    network: str
    """Shipped in models/, else declared, with random weights."""
    folding: str | None
    """A file of models/; None: as `export mem` chooses."""
    images: Mapping[str, int]

    @property
    def shipped(self) -> Path:
        return MODELS / f"{self.network}.safetensors"


DESIGNS = (
    Design("tiny", "tiny", None, {"icarus": 4, "verilator": 20, "volume": 500}),
    Design("small", "small", None, {"volume": 200}),
    Design("reactnet18", "reactnet18", "reactnet18.fold.json", {"verilator": 2, "volume": 40}),
    Design("reactnet18-low-cost", "reactnet18", "reactnet18-low-cost.fold.json", {"volume": 8}),
)


def network_of(design: Design, images: NDArray[np.uint8]) -> IntegerNetwork:
    if design.shipped.is_file():
        return load_network(design.shipped)
    structure = declared_network(design.network)
    return random_network(structure, SEED, images=resized(images, structure.height, structure.width))


def golden_rate(network: IntegerNetwork, images: NDArray[np.uint8]) -> float:
    """Images a second of CPU time of `golden.model.Model`, every layer computed."""
    model = Model(network)
    dict(model.layers(images[:10]))
    started, done = time.process_time(), 0
    while time.process_time() - started < GOLDEN_SECONDS:
        for batch in batches(images, model.batch_size):
            dict(model.layers(batch))
            done += len(batch)
    return done / (time.process_time() - started)


def repeated(images: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """`count` images: these over and over."""
    return images[np.arange(count) % len(images)]


def cocotb_run(design: Design, network: IntegerNetwork, folding: Folding, images: Any, sim: str) -> dict[str, float]:
    """Latency of the first frame, interval between the last two, and rates; scores checked, no monitors."""
    from abbnn.building import run_folder
    from abbnn.tb.bench import BUILD
    from abbnn.tb.pipeline import counted, run_core

    folder = run_folder(BUILD / f"run-bench-{design.name}-{sim}")
    with counted(folder, len(images), sim):
        report = run_core(network, images, None, folder, folding=folding, sim=sim, monitor=False)
    left = [row["left"] for row in report.images]
    return _rates(left[0] - report.images[0]["entered"], left[-1] - left[-2], len(left), report.cycles, report.seconds)


def volume_run(network: IntegerNetwork, folding: Folding, images: NDArray[np.uint8]) -> dict[str, float]:
    """The same of tb/volume.py, built before the clock starts."""
    from abbnn.tb import volume

    run = volume.Run(network, folding, images, None, None)
    volume.simulate(run.part([0]))  # builds
    part = run.part(range(len(images)))
    started = time.monotonic()
    results = volume.simulate(part)
    seconds = time.monotonic() - started
    if wrong := [line["image"] for line in volume.compared(part, results) if line["wrong"]]:
        raise UserError(f"{network.structure.name}: image {wrong[0]} differs from the golden model")
    cycles = [result.cycles for result in results]
    return _rates(cycles[0], cycles[-1], len(cycles), sum(cycles), seconds)


def _rates(latency: int, interval: int, images: int, cycles: int, seconds: float) -> dict[str, float]:
    return {
        "latency": latency,
        "interval": interval,
        "images": images,
        "cycles": cycles,
        "cycles_per_second": cycles / seconds,
        "images_per_second": images / seconds,
    }


def synthesised(network: IntegerNetwork, folding: Folding, family: str) -> tuple[dict[str, Any], list[str]]:
    """LUT, FF, BRAM and DSP in all and a stage, efficiency at the assumed clock; and what is wrong with it."""
    areas = area.measure_all(area.stage_designs(network, folding), family, Workers())
    report = area.to_json(network, folding, family, areas, area.CLOCK_MHZ)
    memory = [stage["memory"] for stage in report["stages"]]
    used = sum(each["block_ram_bits_used"] for each in memory)
    figures = {
        **{key: report["total"][key] for key in ("lut", "ff", "bram", "dsp", "carry", "carry_only")},
        "yosys": report["yosys"],
        "overhead_share": report["overhead_share"],
        "block_ram_fill": sum(each["block_ram_bits_needed"] for each in memory) / used if used else None,
        **{key: report["efficiency"][key] for key in ("clock_mhz", "frames_per_second", "gops", "gops_per_klut")},
        "roles": {role: resources["lut"] for role, resources in report["roles"].items()},
        "stages": {
            stage["stage"]: {key: stage["total"][key] for key in ("lut", "ff", "bram", "dsp")}
            | {"block_ram_fill": stage["memory"]["block_ram_fill"], "reused_from": stage["reused_from"]}
            for stage in report["stages"]
        },
    }
    return figures, report["faults"]


def measured(design: Design, images: NDArray[np.uint8], families: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The design's entry in the report, and everything that does not hold."""
    network = network_of(design, images)
    structure = network.structure
    folding = read_folding(MODELS / design.folding) if design.folding else balance(network)
    check(network, folding)
    expected = timing(network, folding)
    use = utilisation(network, folding, expected.interval)
    kernels = {stage.name for stage in stages(network) if stage.binary and stage.taps == 9}
    lanes = {name: folding[name].pe * folding[name].simd for name in folding}
    useful = sum(use["stages"][name] * lanes[name] for name in kernels) / sum(lanes[name] for name in kernels)
    pictures = resized(images, structure.height, structure.width)
    runs = {
        sim: volume_run(network, folding, repeated(pictures, count))
        if sim == "volume"
        else cocotb_run(design, network, folding, pictures[:count], sim)
        for sim, count in design.images.items()
    }
    areas, faults = {}, []
    for family in families:
        areas[family], wrong = synthesised(network, folding, family)
        faults += [f"{family}: {fault}" for fault in wrong]
    for sim, said in runs.items():
        for name in ("latency", "interval"):
            if said[name] != getattr(expected, name):
                faults.append(f"{sim}: {name} {said[name]} cycles, the formula says {getattr(expected, name)}")
    slowest = max(expected.ideal.values())
    if expected.interval > 1.01 * slowest:
        faults.append(f"interval {expected.interval} is more than 1% above the slowest stage's {slowest}")
    if useful < LEAST_UTILISATION:
        faults.append(f"the lanes of the 3x3 stages are {useful:.1%} used")
    entry = {
        "name": design.name,
        "network": structure.name,
        "weights": "trained" if design.shipped.is_file() else "random",
        "top1_percent": network.source.get(FLOAT_TOP1),
        "folding_file": design.folding,
        "cycles": slowest,
        "interval": expected.interval,
        "latency": expected.latency,
        "bottleneck": expected.bottleneck,
        "binary_macs": structure.binary_macs,
        "gop_per_image": 2 * structure.binary_macs / 1e9,
        "xnor_lanes": sum(lanes[stage.name] for stage in stages(network) if stage.binary),
        "utilisation_3x3": useful,
        "utilisation": use["binary"],
        "stages": {
            name: {**asdict(folding[name]), "cycles": ideal, "utilisation": use["stages"][name]}
            for name, ideal in expected.ideal.items()
        },
        "simulated": runs,
        "golden_images_per_second": golden_rate(network, pictures),
        "area": areas,
    }
    return entry, [f"{design.name}: {fault}" for fault in faults]


def _tables(designs: Sequence[Mapping[str, Any]]) -> list[Table]:
    rates = ("interval", "latency", "formula", "XNOR lanes", "used, 3x3", "golden img/s")
    cycles = new_table("cycles and rates", ("design", *rates))
    speed = new_table("simulators", ("design", "simulator", "images", "cycles/s", "images/s"))
    counts = ("LUT", "at most", "FF", "BRAM", "DSP", "BRAM fill", "overhead")
    columns = ("design", "family", *counts, "MHz", "frames/s", "GOPS", "GOPS/kLUT")
    size = new_table("area, stages synthesised one by one and added up; clock assumed", columns)
    for each in designs:
        run = list(each["simulated"].values())[-1]
        cycles.add_row(
            each["name"],
            f"{run['interval']:,}",
            f"{run['latency']:,}",
            f"{each['interval']:,} / {each['latency']:,}",
            f"{each['xnor_lanes']:,}",
            f"{each['utilisation_3x3']:.1%}",
            f"{each['golden_images_per_second']:,.0f}",
        )
        for sim, run in each["simulated"].items():
            speeds = (f"{run['cycles_per_second']:,.0f}", f"{run['images_per_second']:,.2f}")
            speed.add_row(each["name"], sim, f"{run['images']:,}", *speeds)
        for family, figures in each["area"].items():
            fill = figures["block_ram_fill"]
            size.add_row(
                each["name"],
                family,
                f"{figures['lut']:,}",
                f"{figures['lut'] + figures['carry_only']:,}",
                f"{figures['ff']:,}",
                f"{figures['bram']:,g}",
                str(figures["dsp"]),
                "" if fill is None else f"{fill:.0%}",
                f"{figures['overhead_share']:.1%}",
                f"{figures['clock_mhz']:g}",
                f"{figures['frames_per_second']:,.0f}",
                f"{figures['gops']:,.1f}",
                f"{figures['gops_per_klut']:,.1f}",
            )
    return [cycles, speed, size]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="abbnn bench", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument(
        "--design", action="append", choices=[design.name for design in DESIGNS], help="only this one; may be repeated"
    )
    parser.add_argument(
        "--family", action="append", choices=FAMILIES, help=f"area for it; default {' and '.join(FAMILIES)}"
    )
    parser.add_argument("--no-area", action="store_true", help="no synthesis")
    arguments = parser.parse_args(argv)
    return run("abbnn bench", lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    families = [] if arguments.no_area else arguments.family or list(FAMILIES)
    images, _ = read_images(SHIPPED_IMAGES)
    designs, faults = [], []
    if families:
        yosys.executable()
    for design in DESIGNS:
        if not arguments.design or design.name in arguments.design:
            entry, wrong = measured(design, images, families)
            designs.append(entry)
            faults += wrong
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps({"designs": designs, "faults": faults}, indent=2) + "\n")
    for each in _tables(designs):
        console(160).print(each)
    print(f"{REPORT}: written")
    for fault in faults:
        print(f"abbnn bench: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
