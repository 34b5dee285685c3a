"""`abbnn report page`: all that is known of a network and its hardware as one HTML file that needs nothing else.

What is computed comes from the modules that the other commands use; what was not measured is not there, and the page
names the command that measures it.
"""

from __future__ import annotations

import glob
import hashlib
import platform
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from string import Template
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray

from abbnn.__main__ import version
from abbnn.errors import UserError
from abbnn.export.folding import stages
from abbnn.export.freeze import scale_terms
from abbnn.export.pipeline import Pipeline
from abbnn.export.schedule import stage_times, utilisation
from abbnn.golden.files import read_json
from abbnn.golden.images import ImageSource
from abbnn.golden.model import Layers, Model, layer_names
from abbnn.golden.network import Scale, network_hash
from abbnn.golden.ops import value_range
from abbnn.golden.ranges import Interval
from abbnn.golden.structure import block_name
from abbnn.report import operations
from abbnn.report.markup import Markup, bar, element, facts, histogram, html, joined, maps, picture, png, shaded, table
from abbnn.report.networks import FLOAT_TOP1
from abbnn.report.picture import svg
from abbnn.syn import bitstream
from abbnn.tb.bench import simulator_version
from abbnn.tb.pipeline import Report

TEMPLATE = Path(__file__).with_name("page.html")
CONFIDENCE = 0.95
CHANNELS = 6
"""Of a layer's map that are shown."""
CLASSES_MAX = 32
"""A confusion matrix of more is no longer read."""
DASH = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"


# ---- what is measured here ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Measured:
    """What the golden model gives: least and greatest value of each layer, classes, all layers of the first image."""

    seen: Mapping[str, tuple[int, int]]
    classes: NDArray[np.int64]
    first_image: NDArray[np.uint8]
    first_layers: Layers
    images_sha256: str


def measure(pipeline: Pipeline, images: ImageSource, count: int, progress: Callable[[int], object]) -> Measured:
    """The first `count` images through the network, a batch at a time; `progress` is told how many are done."""
    model = Model(pipeline.network, pipeline.ranges)
    seen: dict[str, tuple[int, int]] = {}
    classes: list[NDArray[np.int64]] = []
    first_layers: Layers = {}
    digest = hashlib.sha256()
    for start in range(0, count, model.batch_size):
        batch = np.ascontiguousarray(images[start : min(count, start + model.batch_size)])
        digest.update(batch.tobytes())
        for name, values in model.layers(batch):
            low, high = int(values.min()), int(values.max())
            before = seen.get(name, (low, high))
            seen[name] = min(low, before[0]), max(high, before[1])
            if not start:
                first_layers[name] = values[0].copy()
            if name == "class":
                classes.append(values.astype(np.int64))
        progress(len(batch))
    return Measured(seen, np.concatenate(classes), np.asarray(images[:1])[0], first_layers, digest.hexdigest())


@dataclass(frozen=True)
class RangeRow:
    """A sum or value: its width, what range analysis proves before it saturates, what the images showed."""

    name: str
    bits: int
    proven: tuple[int, int]
    seen: tuple[int, int] | None

    @property
    def saturates(self) -> bool:
        low, high = value_range(self.bits)
        return self.proven[0] < low or self.proven[1] > high


def range_rows(pipeline: Pipeline, seen: Mapping[str, tuple[int, int]]) -> list[RangeRow]:
    """Every width of the hardware in the order of the pipeline. What is no layer of the golden model was not seen."""
    network, ranges, width = pipeline.network, pipeline.ranges, pipeline.network.value_width
    named = layer_names(network.structure)
    rows: list[RangeRow] = []

    def add(name: str, bits: int, interval: Interval, *, layer: bool = True) -> None:
        if not layer or name in named:
            rows.append(RangeRow(name, bits, (int(interval.low.min()), int(interval.high.max())), seen.get(name)))

    add("stem, sums", ranges.stem.sum.bits, ranges.stem.sum, layer=False)
    add("stem.conv", width, ranges.stem.scaled)
    if ranges.stem_prelu:
        add("stem.prelu", width, ranges.stem_prelu.scaled)
    values = (ranges.stem_prelu or ranges.stem).scaled
    add("stem", width, values)
    for index, block in enumerate(ranges.blocks):
        name = block_name(index)
        add(f"{name}.conv", block.conv.sum.bits, block.conv.sum)
        add(f"{name}.conv, scaled", block.conv.scaled.bits, block.conv.scaled, layer=False)
        if block.shortcut:
            add(f"{name}.shortcut, sums", block.shortcut.sum.bits, block.shortcut.sum, layer=False)
            add(f"{name}.shortcut", block.shortcut.scaled.bits, block.shortcut.scaled)
        else:
            add(f"{name}.shortcut", width, values.clip(width))
        values = block.output
        add(name, width, values)
    add("pool", ranges.pool_bits, ranges.pool)
    add("scores", ranges.scores.bits, ranges.scores)
    return rows


def exponents(pipeline: Pipeline) -> dict[str, Counter[int]]:
    """How often each power of two is a term of a factor, by what the factor is of."""

    def terms(scale: Scale | None) -> list[int]:
        if scale is None:
            return []
        powers: list[int] = (scale.shift.astype(np.int64) - scale.guard)[scale.sign != 0].tolist()
        return powers

    network = pipeline.network
    result = {
        "scales behind binary convolutions": Counter[int](),
        "QPReLU slopes": Counter[int](),
        "PReLU slopes": Counter(terms(network.stem_prelu)),
        "scales behind stem and shortcuts": Counter(terms(network.stem_scale)),
    }
    for block in network.blocks:
        result["scales behind binary convolutions"].update(terms(block.scale))
        result["PReLU slopes"].update(terms(block.prelu))
        result["scales behind stem and shortcuts"].update(terms(block.shortcut_scale))
        if block.activation:
            result["QPReLU slopes"].update(block.activation.exponent.tolist())
    return {name: counts for name, counts in result.items() if counts}


def wilson(right: int, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a share.

    >>> ["%.4f" % end for end in wilson(89, 100)]
    ['0.8137', '0.9375']
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, spread = right / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    reach = z * (share * (1 - share) / count + spread / (4 * count)) ** 0.5 / (1 + spread)
    return middle - reach, middle + reach


def confusion(labels: NDArray[np.int64], classes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(label, class given) -> images."""
    result = np.zeros((count, count), np.int64)
    np.add.at(result, (labels, classes), 1)
    return result


def read_bitstreams(stem: str, sha256: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """The reports of `abbnn bitstream` on this network, one a board. Those of other weights are left out."""
    paths = sorted((folder or bitstream.OUT).glob(f"{glob.escape(stem)}-*/report.json"))
    found = [(path, read_json(path, "bitstream report")) for path in paths]
    return [report | {"path": str(path)} for path, report in found if report.get("network_sha256") == sha256]


# ---- the page -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Page:
    """All that is on a page. `command` is what it was made with, `folding_options` those of its words that chose the
    folding; `simulation` is what a run of the RTL on `simulator` has shown, and what was wrong with it.
    """

    path: Path
    pipeline: Pipeline
    measured: Measured
    labels: NDArray[np.int64] | None
    images_name: str
    command: Sequence[str]
    folding_options: Sequence[str] = ()
    simulator: str = ""
    simulation: tuple[Report, str | None] | None = None
    bitstreams: Sequence[dict[str, Any]] = ()
    date: str = ""
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", network_hash(self.pipeline.network))

    def command_for(self, *words: str) -> Markup:
        return element("code", shlex.join(["abbnn", *words]), class_="command")

    def render(self) -> str:
        structure = self.pipeline.network.structure
        sections = [
            ("network", "Network", self._network()),
            ("layers", "Layers", self._layers()),
            ("ranges", "Value ranges", self._ranges()),
            ("shifts", "Shifts and slopes", self._shifts()),
            ("operations", "Operations", self._operations()),
            ("accuracy", "Accuracy", self._accuracy()),
            ("rtl", "RTL against golden", self._rtl()),
            ("device", "Area, clock and critical path", self._device()),
            ("provenance", "Provenance", self._provenance()),
        ]
        return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
            title=html(self.path.stem),
            subtitle=f"{structure.family}, {structure.height}{TIMES}{structure.width}, {structure.classes} classes: "
            "a binary network that adds, shifts and compares, as an FPGA pipeline.",
            links=joined([element("li", element("a", title, href=f"#{key}")) for key, title, _ in sections]),
            sections=joined(
                [
                    element(
                        "section",
                        joined([element("h2", title, id=f"{key}-title"), *parts]),
                        id=key,
                        aria_labelledby=f"{key}-title",
                    )
                    for key, title, parts in sections
                ]
            ),
            footer=f"abbnn {version()}",
        )

    def _network(self) -> Iterator[Markup]:
        network, timing = self.pipeline.network, self.pipeline.timing
        structure, recorded = network.structure, network.source.get(FLOAT_TOP1)
        terms = sorted(set(scale_terms(network).values()))
        pairs: list[tuple[str, object]] = [
            ("name", structure.name),
            ("family", structure.family),
            ("image", f"{structure.height}{TIMES}{structure.width}, {structure.classes} classes"),
            ("binary blocks", len(structure.blocks)),
            ("binary MACs an image", f"{structure.binary_macs:,}"),
            ("binary weights", f"{operations.weight_bits(structure):,}"),
            ("W, bits of a value", network.value_width),
            ("F, of them fraction", network.fraction_bits),
            ("T, terms of a scale", " to ".join(map(str, terms[:1] + terms[1:][-1:]))),
            ("weight planes, stem and head", f"{network.stem.planes} and {network.head.planes}"),
            ("interval", f"{timing.interval:,} cycles a frame, set by {timing.bottleneck}"),
            ("latency", f"{timing.latency:,} cycles"),
        ]
        if isinstance(recorded, (int, float)):
            pairs.append(("float top-1, as training recorded", f"{recorded:.2f}%"))
        pairs.append(("sha256", element("span", self.sha256, class_="hash")))
        yield facts(pairs, wide=["sha256"])
        alt = "The pipeline from pixels to class: its stages with their maps, lanes and busy shares, as in Layers."
        image = picture(svg(self.pipeline).encode(), "image/svg+xml", alt)
        yield element("div", image, class_="scroll picture", tabindex="0", role="region", aria_label="The pipeline")

    def _layers(self) -> Iterator[Markup]:
        pipeline = self.pipeline
        network, timing, folding = pipeline.network, pipeline.timing, pipeline.folding
        use = utilisation(network, folding, timing.interval)
        times = stage_times(network, folding)
        yield element(
            "p",
            f"One hardware stage a layer, a frame every {timing.interval:,} cycles; the class comes {timing.latency:,} "
            f"cycles after the first pixel. In a cycle, {use['binary']:.1%} of all XNOR lanes work. Beats are those of "
            "one frame in an idle pipeline, counted from its first pixel. All of this is computed by formulas.",
        )
        weights = {
            file.removesuffix("_weights.mem").replace("_shortcut", ".shortcut"): memory
            for config in pipeline.configs
            for file, memory in config.memories.items()
            if file.endswith("weights.mem")
        }
        sizes = network.structure.outputs
        rows = []
        for stage in stages(network):
            name, fold, memory = stage.name, folding[stage.name], weights[stage.name]
            size = sizes[name.removesuffix(".shortcut")]
            busy, beats = use["stages"][name], times.get(name)
            first, last = (0, 0) if beats is None else (int(beats[0]), int(beats[-1]))
            rows.append(
                (
                    name,
                    f"{size[0]}{TIMES}{size[1]}{TIMES}{stage.outputs}",
                    f"{fold.pe}{TIMES}{fold.simd}",
                    f"{len(memory.words)}{TIMES}{memory.width}",
                    fold.weights if stage.binary else DASH,
                    f"{timing.ideal[name]:,}",
                    f"{busy:.1%}",
                    bar(("seen", 0.0, busy)),
                    DASH if beats is None else f"{first:,}",
                    DASH if beats is None else f"{last:,}",
                    "" if beats is None else bar(("seen", first / timing.latency, last / timing.latency)),
                )
            )
        columns = (
            "stage",
            "map",
            f"PE{TIMES}SIMD",
            "weight words",
            "in",
            "cycles",
            "busy",
            "share",
            "first beat",
            "last beat",
            "of the latency",
        )
        yield table("Stages in the order of the pipeline", columns, rows, texts=[4, 7, 10])
        maps_of = self.measured.first_layers
        shown = [
            element(
                "figure",
                joined(
                    [
                        element("figcaption", f"{name}, {TIMES.join(map(str, maps_of[name].shape))}"),
                        maps(maps_of[name][..., :CHANNELS], f"The first channels of {name}, of the first image."),
                    ]
                ),
            )
            for name in layer_names(network.structure)
            if maps_of[name].ndim == 3
        ]
        yield element("h3", "Maps of the first image")
        yield element(
            "p",
            f"The first {CHANNELS} channels of each layer of the golden model; negative values are blue, positive ones "
            "orange, zero is clear.",
            class_="note",
        )
        pixels = png(self.measured.first_image, "The first image.")
        yield element("figure", joined([element("figcaption", "image"), pixels]), class_="image")
        yield element("div", joined(shown), class_="maps")

    def _ranges(self) -> Iterator[Markup]:
        rows = range_rows(self.pipeline, self.measured.seen)
        count = sum(row.saturates for row in rows)
        yield element(
            "p",
            joined(
                [
                    "Range analysis proves for any image whatever what a sum or value can be, before it saturates ",
                    Markup('(<span class="key proven"></span>); '),
                    f"the golden model showed what it was on {len(self.measured.classes):,} images ",
                    Markup('(<span class="key seen"></span>). '),
                    "Sums never overflow: their widths follow from the proof. "
                    f"{f'{count} values' if count != 1 else 'One value'} might saturate on some image. "
                    "A bar is as wide as the field, a bit a step from the middle outwards. What lies inside a stage is "
                    "no layer of the golden model and was not watched.",
                ],
                "",
            ),
        )
        yield table(
            "Widths, proven and seen ranges",
            ("sum or value", "bits", "of the field", "proven", "seen", "can saturate"),
            [
                (
                    row.name,
                    row.bits,
                    bar(
                        ("proven", *_reach(row.proven, row.bits)),
                        *([] if row.seen is None else [("seen", *_reach(row.seen, row.bits))]),
                        zero=True,
                    ),
                    _span(row.proven),
                    DASH if row.seen is None else _span(row.seen),
                    "yes" if row.saturates else "no",
                )
                for row in rows
            ],
            texts=[2, 5],
        )

    def _shifts(self) -> Iterator[Markup]:
        yield element(
            "p",
            "Where other networks multiply, this one shifts: how often each power of two is a term of a channel's "
            "factor. Figure 10 of the paper shows the slopes of its own networks.",
        )
        drawn = [histogram(name, counts) for name, counts in exponents(self.pipeline).items()]
        yield element("div", joined(drawn), class_="figures")

    def _operations(self) -> Iterator[Markup]:
        network = self.pipeline.network
        structure, precision = network.structure, operations.Precision.of(network)
        yield element(
            "p",
            joined(
                [
                    "The forms of the paper and what the hardware does. A binary operation is an XNOR and its place in "
                    "a popcount. Layer by layer: ",
                    self.command_for("report", "operations", "--file", str(self.path)),
                ],
                "",
            ),
        )
        sums = {
            "blocks": operations.total(operations.inner_layers(structure, precision)),
            "stem, pool, head": operations.total(operations.outer_layers(structure, precision)),
        }
        yield table(
            "Operations of one image",
            ("form", "layers", "multiplications", "additions", "binary operations", "shifts"),
            [
                (
                    form,
                    part,
                    *(f"{n:,}" for n in (count.multiplications, count.additions, count.binary, count.shifts)),
                )
                for part, row in sums.items()
                for form, count in row.items()
            ],
            texts=[1],
        )
        for note in operations.footnotes(structure, precision):
            yield element("p", note, class_="note")

    def _accuracy(self) -> Iterator[Markup]:
        classes, count = self.measured.classes, self.pipeline.network.structure.classes
        if self.labels is None:
            yield element("p", f"{self.images_name}: no labels, so no accuracy.")
            return
        right = int((classes == self.labels).sum())
        low, high = wilson(right, len(classes))
        yield facts(
            [
                ("images", self.images_name),
                ("top-1", f"{right:,} of {len(classes):,}: {right / len(classes):.2%}"),
                (f"Wilson's {CONFIDENCE:.0%} interval", f"{low:.2%} to {high:.2%}"),
            ]
        )
        if count > CLASSES_MAX:
            return
        matrix = confusion(self.labels, classes, count)
        most = int(matrix.max())
        yield table(
            "Confusion matrix: label by class given",
            ["label", *range(count)],
            [[label, *(shaded(int(number), most) for number in row)] for label, row in enumerate(matrix)],
            kind="shades",
        )

    def _rtl(self) -> Iterator[Markup]:
        again = self.command_for("report", *self.command, "--simulate", "2")
        if self.simulation is None:
            yield element("p", joined(["Not simulated for this page. With the Verilog's values: ", again], ""))
            return
        report, failure = self.simulation
        values, wrong = (sum(row[key] for row in report.layers) for key in ("values", "mismatches"))
        if failure is None:
            said = f"All {values:,} values of {len(report.images)} images equal the golden model."
        else:
            said = f"{wrong:,} of {values:,} values differ: {failure}"
        yield element("p", said, class_="bad" if failure else "good")
        pairs: list[tuple[str, object]] = [
            ("simulator", report.simulator),
            ("images", len(report.images)),
            ("cycles", f"{report.cycles:,}"),
        ]
        if report.images:
            latency = report.images[0]["left"] - report.images[0]["entered"]
            pairs.append(("latency of the first image", f"{latency:,} cycles"))
            pairs.append(("latency by formula", f"{self.pipeline.timing.latency:,} cycles"))
        yield facts(pairs)
        yield table(
            "Values compared",
            ("layer", "values", "mismatches"),
            [(row["layer"], f"{row['values']:,}", f"{row['mismatches']:,}") for row in report.layers],
        )

    def _device(self) -> Iterator[Markup]:
        build = self.command_for("bitstream", str(self.path), "--board", "ulx3s-85f", *self.folding_options)
        if not self.bitstreams:
            yield element("p", joined(["No bitstream of these weights has been built. This measures it: ", build], ""))
        for report in self.bitstreams:
            try:
                yield element("h3", f"{report['board']}, {report['device']}")
                yield facts(
                    [
                        ("clock", f"{report['clock_mhz']:g} MHz, {'met' if report['timing_met'] else 'not met'}"),
                        ("interval", f"{report['interval']:,} cycles"),
                        ("frames a second", f"{report['frames_per_second']:,.1f}"),
                        ("seed", report["seed"]),
                        ("tools", ", ".join(f"{name} {of}" for name, of in report["tools"].items())),
                        (
                            "folding",
                            "this page's" if self._same_folding(report["folding"]) else "another than this page's",
                        ),
                    ]
                )
                for title, columns, rows in bitstream.sections(report):
                    if title != "run time":
                        yield table(title, columns, rows, texts=[1] if "module" in columns else [])
            except (KeyError, TypeError, ValueError, AttributeError):
                raise UserError(f"{report['path']}: not a report of this version's abbnn bitstream") from None

    def _same_folding(self, folding: Mapping[str, Mapping[str, Any]]) -> bool:
        own = {name: (fold.pe, fold.simd, fold.weights) for name, fold in self.pipeline.folding.items()}
        return own == {name: (fold["pe"], fold["simd"], fold["weights"]) for name, fold in folding.items()}

    def _provenance(self) -> Iterator[Markup]:
        def hashed(text: str) -> Markup:
            return element("span", text, class_="hash")

        pairs: list[tuple[str, object]] = [
            ("abbnn", version()),
            ("Python", platform.python_version()),
            ("NumPy", np.__version__),
            ("Pillow", PIL.__version__),
        ]
        if self.simulator:
            # Each says where it is in front of what it is; the place is of no interest elsewhere.
            said = [text.partition(" ")[2] or text for text in simulator_version(self.simulator)]
            pairs.append(("simulator's tools", "; ".join(said)))
        if self.date:
            pairs.append(("date", self.date))
        pairs += [
            ("network file", self.path.name),
            ("layout", f"{self.pipeline.layout_id:08x}"),
            ("images", f"{self.images_name}: {len(self.measured.classes):,}"),
            ("network sha256", hashed(self.sha256)),
            ("images sha256", hashed(self.measured.images_sha256)),
            ("command", self.command_for("report", *self.command)),
        ]
        yield facts(pairs, wide=["network sha256", "images sha256", "command"])


def _span(ends: tuple[int, int]) -> str:
    return f"{ends[0]:,} to {ends[1]:,}".replace("-", "\N{MINUS SIGN}")


def _reach(ends: tuple[int, int], bits: int) -> tuple[float, float]:
    """Where two numbers stand on a bar of the field's bits, the sign in the middle."""
    low, high = (np.sign(end) * np.log2(1 + abs(end)) / (bits - 1) for end in ends)
    return float(max(0, (1 + low) / 2)), float(min(1, (1 + high) / 2))
