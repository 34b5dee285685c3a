"""Published accelerators beside what `make bench` measured here.

`peers.csv` names the source of each row and how the figures are known: read in a file of the source, in an abstract, or
derived. What is not stated there is empty. GOPS = 2 * binary multiply-accumulates a second.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rich.table import Table

from abbnn.errors import UserError

PEERS = Path(__file__).with_name("peers.csv")


@dataclass(frozen=True)
class Row:
    """One accelerator. Numbers are None where the source does not state them."""

    name: str
    network: str
    top1_percent: float | None
    fps: float | None
    latency_us: float | None
    lut: float | None
    ff: float | None
    bram36: float | None
    dsp: float | None
    mhz: float | None
    device: str
    gop_per_image: float | None
    gops: float | None
    gops_per_klut: float | None
    source: str
    how: str


NUMBERS = tuple(field.name for field in fields(Row) if field.type == "float | None")


def read_peers(path: Path = PEERS) -> list[Row]:
    """ValueError names the file and the line of a row without source, with an unknown column or a bad number."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        expected = [field.name for field in fields(Row)]
        if reader.fieldnames != expected:
            raise UserError(f"{path}: columns {reader.fieldnames}, expected {expected}")
        rows = []
        for record in reader:
            where = f"{path}, line {reader.line_num}"
            if None in record or None in record.values() or not record["source"] or not record["how"]:
                raise UserError(f"{where}: not a whole row with a source")
            try:
                values: dict[str, Any] = record | {
                    name: float(record[name]) if record[name] else None for name in NUMBERS
                }
            except ValueError as error:
                raise UserError(f"{where}: {error}") from None
            rows.append(Row(**values))
    return rows


def bench_rows(path: Path) -> list[Row]:
    """One row for every design of bench.json that has an area for xc7. ValueError says what is missing."""
    try:
        designs: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["designs"]
        rows = []
        for design in designs:
            area = design["area"].get("xc7")
            if area is None:
                continue
            clock = area["clock_mhz"]
            rows.append(
                Row(
                    name=f"abbnn, {design['cycles']:,} cycles",
                    network=f"{design['network']}, {design['weights']} weights",
                    top1_percent=design["top1_percent"],
                    fps=1e6 * clock / design["interval"],
                    latency_us=design["latency"] / clock,
                    lut=area["lut"],
                    ff=area["ff"],
                    bram36=area["bram"],
                    dsp=area["dsp"],
                    mhz=clock,
                    device="xc7",
                    gop_per_image=design["gop_per_image"],
                    gops=area["gops"],
                    gops_per_klut=area["gops_per_klut"],
                    source="make bench",
                    how="Yosys; clock assumed",
                )
            )
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; make bench writes it") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not what make bench writes ({error!r})") from None
    return rows


COLUMNS = {
    "top-1 %": ("top1_percent", 2),
    "images/s": ("fps", 0),
    "latency us": ("latency_us", 0),
    "LUT": ("lut", 0),
    "BRAM36": ("bram36", 1),
    "DSP": ("dsp", 0),
    "MHz": ("mhz", 0),
    "GOPS": ("gops", 0),
    "GOPS/kLUT": ("gops_per_klut", 1),
}
"""Of numbers: the field and the digits behind its point."""


def table(rows: list[Row]) -> Table:
    result = Table(caption="empty: not stated by the source")
    for column in ("accelerator", "network", *COLUMNS, "device", "source", "how"):
        result.add_column(column, justify="right" if column in COLUMNS else "left")
    for row in rows:
        numbers = [(getattr(row, name), digits) for name, digits in COLUMNS.values()]
        texts = ["" if number is None else f"{number:,.{digits}f}" for number, digits in numbers]
        result.add_row(row.name, row.network, *texts, row.device, row.source, row.how)
    return result
