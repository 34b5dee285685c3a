"""Command line: bitstreams, the proof that nothing multiplies, netlists, and what everything costs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from abbnn import paths
from abbnn.errors import UserError, run
from abbnn.executor import Workers
from abbnn.export.area import CALIBRATION, area_model, read_calibration
from abbnn.export.parts import total
from abbnn.export.pipeline import Pipeline
from abbnn.golden.files import replacing
from abbnn.options import above_zero, add_folding, add_network, add_workers
from abbnn.syn import area, bitstream, calibrate, gates, patch, proof, table3
from abbnn.syn.cells import FAMILIES, OVERHEAD
from abbnn.syn.yosys import executable
from abbnn.tables import console

REPORTS = paths.BUILD / "reports"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="abbnn")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, description in (
        (
            "area",
            "Synthesise every stage of a network by itself with Yosys and add up. Results are kept in build/syn and "
            "used again while sources, parameters, contents and Yosys stay the same.",
        ),
        ("memory", "The same synthesis; what became of the memories, and whether each still holds its file's words."),
    ):
        command = commands.add_parser(name, description=description)
        add_network(command)
        add_folding(command)
        command.add_argument("--family", choices=sorted(FAMILIES), default="xc7", help="default %(default)s")
        command.add_argument("--stage", action="append", metavar="NAME", help="only this one; may be repeated")
        add_workers(command)
        command.add_argument(
            "--clock",
            type=above_zero(),
            default=area.CLOCK_MHZ,
            metavar="MHZ",
            help="assumed; default %(default)s",
        )
        command.add_argument(
            "--out", type=Path, metavar="FILE.json", help="default build/reports/area-NAME-FAMILY.json"
        )
        command.set_defaults(run=_measure)

    modules = {"bitstream": bitstream, "patch": patch, "proof": proof, "table3": table3, "gates": gates}
    for name, module in modules.items():
        command = commands.add_parser(name, description=getattr(module, "DESCRIPTION", module.__doc__))
        module.add_arguments(command)
        command.set_defaults(run=module.run)

    command = commands.add_parser(
        "calibrate",
        description=f"Write {CALIBRATION.name}. What was synthesised before is taken from build/syn, so that an "
        "interrupted run goes on where it was.",
    )
    add_workers(command)
    command.add_argument("--out", type=Path, default=CALIBRATION, metavar="FILE.json", help="default %(default)s")
    command.set_defaults(run=_calibrate)
    return parser


def _measure(arguments: argparse.Namespace) -> int:
    pipeline = Pipeline.read(arguments.network, arguments.fold, arguments.cycles)
    network, folding = pipeline.network, pipeline.folding
    designs = area.stage_designs(network, folding)
    names = [each.stage for each in designs]
    for name in arguments.stage or ():
        if name not in names:
            raise UserError(f"--stage {name}: there are {', '.join(names)}")
    chosen = [each for each in designs if not arguments.stage or each.stage in arguments.stage]
    complete = len(chosen) == len(designs)
    areas = area.measure_all(chosen, arguments.family, Workers.of(arguments))
    report = area.to_json(network, folding, arguments.family, areas, arguments.clock if complete else None)
    out = arguments.out or REPORTS / f"area-{arguments.network.stem}-{arguments.family}.json"
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
    name = network.structure.name
    tables = area.area_tables(name, arguments.family, areas) if arguments.command == "area" else []
    for table in [*tables, *(area.memory_tables(name, areas) if arguments.command == "memory" else [])]:
        console().print(table)
    if arguments.command == "area":
        _say_area(report)
        model = area_model(arguments.family)
        guess = total(model.stage(each.design.top, each.parameters) for each in chosen)
        print(f"the area model says {guess.lut:,.0f} LUT, {guess.ff:,.0f} FF, {guess.bram:g} BRAM")
        if warning := read_calibration().warning:
            print(f"abbnn area: {warning}", file=sys.stderr)
    print(f"{out}: written")
    for fault in report["faults"]:
        print(f"abbnn {arguments.command}: {fault}", file=sys.stderr)
    return 1 if report["faults"] else 0


def _say_area(report: dict[str, Any]) -> None:
    reused = [stage["stage"] for stage in report["stages"] if stage["reused_from"]]
    print(
        f"{len(report['stages'])} stages, synthesised one by one and added up, hierarchy kept; {len(reused)} of them "
        "not run: a stage of equal parameters stands for each"
    )
    print(f"{' + '.join(OVERHEAD)}: {report['overhead_share']:.1%} of the LUTs; half or more is too much")
    if figures := report["efficiency"]:
        print(
            f"{figures['interval']:,} cycles a frame, {figures['clock_mhz']:g} MHz assumed: "
            f"{figures['frames_per_second']:,.0f} frames/s, {figures['gops']:,.1f} GOPS, "
            f"{figures['gops_per_klut']:.1f} GOPS/kLUT"
        )


def _calibrate(arguments: argparse.Namespace) -> int:
    plans = calibrate.plan()
    calibrate.write(calibrate.run(plans, Workers.of(arguments)), arguments.out)
    print(f"{arguments.out}: {len(plans)} points written")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)

    def command() -> int:
        if arguments.command != "patch":
            executable()
        status: int = arguments.run(arguments)
        return status

    return run(f"abbnn {arguments.command}", command)


if __name__ == "__main__":
    sys.exit(main())
