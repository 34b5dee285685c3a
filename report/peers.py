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


def _text(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def table(rows: list[Row]) -> Table:
    result = Table(caption="empty: not stated by the source")
    for column in ("accelerator", "network"):
        result.add_column(column)
    for column in ("top-1 %", "images/s", "latency us", "LUT", "BRAM36", "DSP", "MHz", "GOPS", "GOPS/kLUT"):
        result.add_column(column, justify="right")
    for column in ("device", "source", "how"):
        result.add_column(column)
    for row in rows:
        result.add_row(
            row.name,
            row.network,
            _text(row.top1_percent, 2),
            _text(row.fps),
            _text(row.latency_us),
            _text(row.lut),
            _text(row.bram36, 1),
            _text(row.dsp),
            _text(row.mhz),
            _text(row.gops),
            _text(row.gops_per_klut, 1),
            row.device,
            row.source,
            row.how,
        )
    return result
