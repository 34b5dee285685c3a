"""What freezing loses: the integer network against the float one over T, W and the stem's weight bits.

One quantity varies at a time, the others stay at `export.freeze`'s defaults; every row is a network frozen and run.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from abbnn.export.freeze import FreezeOptions, freeze
from abbnn.golden.files import replacing
from abbnn.golden.model import scores as golden_scores
from abbnn.golden.structure import Structure
from abbnn.tables import new_table
from abbnn.train.variant import Variant

SWEEPS: dict[str, tuple[int, ...]] = {
    "terms": (1, 2, 3, 4),
    "value_width": (8, 10, 12, 16),
    "stem_planes": (4, 6, 8, 10, 12),
}
"""Field of FreezeOptions -> its values."""
TITLES = {"terms": "T: terms a scale", "value_width": "W: bits a value", "stem_planes": "bits a stem weight"}
FIELDS = ("varied", "terms", "value_width", "fraction_bits", "stem_planes", "top1", "agreement", "correlation", "error")


@dataclass(frozen=True, eq=False)
class Case:
    """A float network, images uint8 (N, H, W, 3), its logits (N, classes) on them, and labels (N,) where they mean
    something: never for random weights.
    """

    structure: Structure
    variant: Variant
    tensors: dict[str, NDArray[Any]]
    images: NDArray[np.uint8]
    logits: NDArray[Any]
    labels: NDArray[np.int64] | None

    @property
    def top1(self) -> float | None:
        """The float network's, in percent."""
        return None if self.labels is None else _percent(self.logits.argmax(axis=1) == self.labels)


@dataclass(frozen=True)
class Row:
    """One frozen network. `top1` and `agreement` (equal classes) in percent.

    `correlation` of scores with logits, each class's mean over the images taken off both: what all images share tells
    nothing, and random networks share much. `error` is their root mean square difference over the standard deviation
    of the logits, taken in the same way.
    """

    varied: str
    terms: int
    value_width: int
    fraction_bits: int
    stem_planes: int
    top1: float | None
    agreement: float
    correlation: float
    error: float


def _percent(hits: NDArray[np.bool_]) -> float:
    return float(100 * hits.mean())


def float_logits(
    structure: Structure, variant: Variant, tensors: dict[str, NDArray[Any]], images: NDArray[np.uint8]
) -> NDArray[Any]:
    """(N, classes) of the torch network; needs torch."""
    from abbnn.train.model import Network
    from abbnn.train.recipe import predict

    network = Network(structure, variant)
    network.load(tensors)
    return np.asarray(predict(network, images))


def measure(case: Case, options: FreezeOptions, varied: str, advance: Callable[[int], Any]) -> Row:
    """Freeze and run; `advance` is told how many images are done. ValueError if it cannot be frozen so."""
    network = freeze(case.tensors, case.structure, case.variant, options)
    parts = []
    for part in golden_scores(network, case.images):
        parts.append(part)
        advance(len(part))
    scores = np.concatenate(parts) * 2.0**-network.score_fraction_bits
    classes = scores.argmax(axis=1)
    logits = case.logits.astype(np.float64)
    own, float_own = scores - scores.mean(axis=0), logits - logits.mean(axis=0)
    spread = float(float_own.std())
    return Row(
        varied=varied,
        terms=max(block.scale.terms for block in network.blocks),
        value_width=network.value_width,
        fraction_bits=network.fraction_bits,
        stem_planes=network.stem.planes,
        top1=None if case.labels is None else _percent(classes == case.labels),
        agreement=_percent(classes == logits.argmax(axis=1)),
        correlation=float(np.corrcoef(own.ravel(), float_own.ravel())[0, 1]) if own.any() and spread else 0.0,
        error=float(np.sqrt(np.mean((scores - logits) ** 2))) / (spread or 1.0),
    )


def sweep(case: Case, advance: Callable[[int], Any]) -> list[Row]:
    """Every value of SWEEPS, and `advance` as in `measure`."""
    default = asdict(FreezeOptions())
    return [
        measure(case, FreezeOptions(**default | {field: value}), field, advance)
        for field, values in SWEEPS.items()
        for value in values
    ]


def runs() -> int:
    """How many networks `sweep` runs."""
    return sum(map(len, SWEEPS.values()))


def table(case: Case, rows: list[Row]) -> Table:
    reference = "" if case.top1 is None else f"; float top-1 {case.top1:.2f}%"
    columns = ("varied", "T", "W", "F", "stem", "top-1 %", "agree %", "correlation", "error")
    result = new_table(f"{case.structure.name} on {len(case.images)} images{reference}", columns)
    for index, row in enumerate(rows):
        if index and row.varied != rows[index - 1].varied:
            result.add_section()
        bits = (row.terms, row.value_width, row.fraction_bits, row.stem_planes)
        top1 = "" if row.top1 is None else f"{row.top1:.2f}"
        measured = (top1, f"{row.agreement:.2f}", f"{row.correlation:.5f}", f"{row.error:.4f}")
        result.add_row(TITLES[row.varied], *map(str, bits), *measured)
    return result


def plot(case: Case, rows: list[Row], path: Path) -> None:
    """A PNG, one panel a quantity: top-1 where there are labels, else the score error; needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, len(SWEEPS), sharey=True)
    for panel, (field, title) in zip(panels, TITLES.items(), strict=True):
        points = [row for row in rows if row.varied == field]
        heights = [row.error if case.top1 is None else row.top1 for row in points]
        panel.plot([getattr(row, field) for row in points], heights, "o-", label="integer network")
        if case.top1 is not None:
            panel.axhline(case.top1, linestyle="--", color="grey", label="float network")
        panel.set_xticks([getattr(row, field) for row in points])
        panel.set_xlabel(title)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("score error" if case.top1 is None else "top-1, %")
    if case.top1 is None:
        panels[0].set_yscale("log")
    panels[0].legend()
    figure.suptitle(f"{case.structure.name}, {len(case.images)} images")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def write(case: Case, rows: list[Row], source: dict[str, Any], folder: Path) -> list[Path]:
    """scale.csv, scale.json and scale.png in `folder`; `source` says in the JSON where network and images are from."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    record = source | {"float_top1": case.top1, "images": len(case.images), "rows": [asdict(row) for row in rows]}
    contents = {"scale.csv": text.getvalue(), "scale.json": json.dumps(record, indent=1) + "\n"}
    for name, content in contents.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(content)
    plot(case, rows, folder / "scale.png")
    return [folder / name for name in (*contents, "scale.png")]
