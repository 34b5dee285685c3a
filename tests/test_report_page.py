"""`abbnn report page`: one file that needs no other, with the figures that the modules give."""

import json
import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest
from random_network import random_network

from abbnn import paths
from abbnn.export.folding import balance
from abbnn.export.pipeline import Pipeline
from abbnn.export.random_network import random_images
from abbnn.export.schedule import stage_times
from abbnn.golden.model import forward, layer_names
from abbnn.golden.network import network_hash, save_network
from abbnn.golden.structure import block_name, member
from abbnn.report import operations, page
from abbnn.report.__main__ import main
from abbnn.report.markup import Markup, histogram, maps, table
from abbnn.syn import bitstream
from abbnn.tb.pipeline import Report

TINY = paths.MODELS / "tiny.safetensors"
SECTIONS = ["network", "layers", "ranges", "shifts", "operations", "accuracy", "rtl", "device", "provenance"]
VOID = {"meta", "link", "img"}
SMALL = member("small", (4, 6), (1, 1), image=8)


class Reader(HTMLParser):
    """Tags must close in order; keeps what a browser would fetch, the tables by caption and the terms of lists."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.terms: dict[str, str] = {}
        self.tags: Counter[str] = Counter()
        self.unnamed: list[str] = []
        self._text = self._caption = self._term = ""
        self._row: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags[tag] += 1
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[name] for name in ("src", "href", "data", "action", "srcset") if name in given]
        if (tag == "img" and not given.get("alt")) or (
            tag == "svg" and not (given.get("aria-label") or given.get("aria-hidden"))
        ):
            self.unnamed.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("caption", "th", "td", "dt", "dd"):
            self._text = ""
        if tag == "tr":
            self._row = []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag
        if tag == "caption":
            self._caption = self._text
            self.tables[self._caption] = []
        elif tag in ("th", "td"):
            self._row.append(self._text)
        elif tag == "tr":
            self.tables[self._caption].append(self._row)
        elif tag == "dt":
            self._term = self._text
        elif tag == "dd":
            self.terms.setdefault(self._term, self._text)

    def handle_data(self, data):
        self._text += data


def made(folder, *words):
    out = folder / "page.html"
    assert main(["page", *map(str, words), "--out", str(out)]) == 0
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("page")
    with patch.context() as context:
        context.setattr(bitstream, "OUT", folder / "none")
        return made(folder, TINY)


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline.read(TINY)


def table_of(reader: Reader, caption: str) -> list[list[str]]:
    (found,) = [rows for name, rows in reader.tables.items() if name.startswith(caption)]
    assert len({len(row) for row in found}) == 1
    return found[1:]


def test_it_is_well_formed_and_fetches_nothing(tiny) -> None:
    reader = Reader(tiny)
    assert [name for name in reader.ids if not name.endswith("-title")] == SECTIONS
    assert len(reader.ids) == len(set(reader.ids))
    assert all(link.startswith(("data:", "#")) for link in reader.links)
    assert {link[1:] for link in reader.links if link.startswith("#")} == set(SECTIONS)
    assert not re.search(r"url\(|@import|https?://", tiny)
    assert reader.unnamed == []
    assert reader.tags["h1"] == 1
    assert reader.tags["h2"] == len(SECTIONS)
    assert reader.tags["table"] == reader.tags["caption"] == len(reader.tables)


def test_its_figures_are_those_of_the_modules(tiny, pipeline) -> None:
    reader, network, timing = Reader(tiny), pipeline.network, pipeline.timing
    assert reader.terms["top-1"] == "89 of 100: 89.00%"
    assert reader.terms["Wilson's 95% interval"] == "81.37% to 93.75%"
    assert reader.terms["latency"] == f"{timing.latency:,} cycles"
    assert reader.terms["interval"].startswith(f"{timing.interval:,} cycles")
    assert reader.terms["sha256"] == reader.terms["network sha256"] == network_hash(network)
    assert reader.terms["binary MACs an image"] == f"{network.structure.binary_macs:,}"
    rows = {row[0]: row for row in table_of(reader, "Stages")}
    assert list(rows) == list(pipeline.folding)
    times = stage_times(network, pipeline.folding)
    for name, row in rows.items():
        fold = pipeline.folding[name]
        assert row[2] == f"{fold.pe}{page.TIMES}{fold.simd}"
        assert row[5] == f"{timing.ideal[name]:,}"
        assert row[8:10] == ([f"{times[name][0]:,}", f"{times[name][-1]:,}"] if name in times else [page.DASH] * 2)
    matrix = np.array([row[1:] for row in table_of(reader, "Confusion")], int)
    assert (matrix.sum(), matrix.trace()) == (100, 89)
    assert (matrix.sum(axis=1) == 10).all()
    counts = operations.total(operations.inner_layers(network.structure, operations.Precision.of(network)))
    rows = {(row[0], row[1]): row[2:] for row in table_of(reader, "Operations")}
    for form, count in counts.items():
        assert rows[form, "blocks"][0] == f"{count.multiplications:,}"
        assert rows[form, "blocks"][2] == f"{count.binary:,}"


def test_exponents_are_those_of_the_factors(pipeline) -> None:
    """`tiny` has one term a factor."""
    network = pipeline.network
    scales = [network.stem_scale, *(block.shortcut_scale for block in network.blocks if block.shortcut_scale)]
    factors = np.concatenate([np.abs(scale.multiplier) / 2.0**scale.guard for scale in scales])
    expected = Counter(np.log2(factors).astype(int).tolist())
    assert page.exponents(pipeline)["scales behind stem and shortcuts"] == expected


def test_it_is_the_same_again_and_names_what_measures_the_rest(tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bitstream, "OUT", tmp_path / "none")
    again = made(tmp_path, TINY, "--count", 3, "--cycles", 16384, "--date", "<today>")
    assert again == made(tmp_path, TINY, "--count", 3, "--cycles", 16384, "--date", "<today>")
    assert "&lt;today&gt;" in again
    assert "<today>" not in again
    assert "date" not in Reader(tiny).terms
    assert f"abbnn bitstream {TINY} --board ulx3s-85f --cycles 16384" in again
    assert f"--out {tmp_path / 'page.html'} --simulate 2" in again
    assert Reader(again).terms["top-1"].endswith("of 3: 100.00%")


@pytest.mark.parametrize(
    ("family", "image"),
    [("small", 16), *((name, side) for name in ("birealnet18", "xnornet18", "reactneta") for side in (16, 128))],
)
def test_ranges_and_exponents_of_every_family(family, image) -> None:
    stages = 5 if family == "reactneta" else 2
    structure = member(family, (4, 8, 8, 8, 8)[:stages], (1,) * stages, image=image)
    network = random_network(structure, 3)
    pipeline = Pipeline(network, balance(network))
    layers = forward(pipeline.network, random_images(structure, 4, 3))
    seen = {name: (int(values.min()), int(values.max())) for name, values in layers.items()}
    rows = {row.name: row for row in page.range_rows(pipeline, seen)}
    assert [name for name in rows if "," not in name] == layer_names(structure)[:-1]
    for name, row in rows.items():
        assert (row.seen is None) == ("," in name)
        if row.seen:
            assert row.proven[0] <= row.seen[0] <= row.seen[1] <= row.proven[1]
    for config in pipeline.configs[1:-1]:
        assert rows[f"{config.name}.conv"].bits == config.parameters["SUM_WIDTH"]
        assert rows[f"{config.name}.conv, scaled"].bits == config.parameters["SCALED_WIDTH"]
    saturating = {name for name, row in rows.items() if row.saturates}
    assert saturating - {"stem.conv"} == set(pipeline.ranges.can_saturate) - {"stem.conv"}
    counts = page.exponents(pipeline)
    channels = sum(block.out_channels for block in structure.blocks)
    assert sum(counts.get("QPReLU slopes", Counter()).values()) == (channels if structure.blocks[0].biased else 0)


def test_the_rtl_is_compared(tmp_path, monkeypatch, capsys) -> None:
    network = random_network(SMALL, 1)
    path = tmp_path / "blank.safetensors"
    save_network(network, path)
    np.save(tmp_path / "images.npy", random_images(SMALL, 2, 8))
    monkeypatch.setattr(bitstream, "OUT", tmp_path / "none")
    monkeypatch.setenv("SIM", "icarus")
    words = ["page", str(path), str(tmp_path / "images.npy"), "--simulate", "2", "--out", str(tmp_path / "page.html")]
    assert main(words) == 0
    text = (tmp_path / "page.html").read_text()
    reader = Reader(text)
    assert "no labels, so no accuracy" in text
    assert "top-1" not in reader.terms
    assert reader.terms["latency of the first image"] == reader.terms["latency by formula"]
    assert reader.terms["simulator's tools"].startswith("Icarus Verilog version")
    rows = {row[0]: row[1:] for row in table_of(reader, "Values compared")}
    assert set(rows) >= {"stem", block_name(0), "scores"}
    assert {row[1] for row in rows.values()} == {"0"}
    assert rows["scores"][0] == "20"

    broken = Report("icarus", "blank", [], [{"layer": "stem", "values": 9, "mismatches": 4}], "layer stem, <here>")
    monkeypatch.setattr("abbnn.report.__main__.simulated", lambda *given: (broken, broken.first_mismatch))
    assert main(words) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith("layer stem, <here>")
    text = (tmp_path / "page.html").read_text()
    assert "4 of 9 values differ: layer stem, &lt;here&gt;" in text
    assert "equal the golden model" not in text


def bitstream_report(network, **changes):
    return {
        "network_sha256": network_hash(network),
        "board": "ulx3s-85f",
        "device": "85k",
        "clock_mhz": 100,
        "timing_met": True,
        "interval": 4096,
        "frames_per_second": 24414.1,
        "seed": 1,
        "seeds": {"mhz": {"1": 104.2}},
        "tools": {"yosys": "0.70"},
        "folding": {},
        "clocks": [{"name": "clk", "achieved": 104.2, "wanted": 100.0, "met": True}],
        "utilisation": {},
        "estimated": {"all": {"lut": 1, "ff": 2, "bram": 3}},
        "synthesized": {"lut": 12345, "ff": 2, "bram": 3},
        "critical_paths": [],
        "seconds": {},
    } | changes


def test_a_bitstream_of_these_weights_is_shown(tmp_path, pipeline, monkeypatch, capsys) -> None:
    monkeypatch.setattr(bitstream, "OUT", tmp_path)
    for board, sha256 in (("ulx3s-85f", network_hash(pipeline.network)), ("colorlight-i5", "0" * 64)):
        (tmp_path / f"tiny-{board}").mkdir()
        report = bitstream_report(pipeline.network, board=board, network_sha256=sha256)
        (tmp_path / f"tiny-{board}" / "report.json").write_text(json.dumps(report))
    text = made(tmp_path, TINY, "--count", 1)
    reader = Reader(text)
    assert table_of(reader, "clocks, MHz") == [["clk", "104.20", "100.00", "true"]]
    assert table_of(reader, "area")[1][1] == "12,345"
    assert "colorlight-i5" not in text
    (tmp_path / "tiny-ulx3s-85f" / "report.json").write_text(
        json.dumps({"network_sha256": network_hash(pipeline.network)})
    )
    assert main(["page", str(TINY), "--count", "1", "--out", str(tmp_path / "page.html")]) == 2
    assert "report.json: not a report" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        (["gone.safetensors"], "gone.safetensors"),
        ([str(TINY), "gone.npy"], "gone.npy"),
        ([str(TINY), "--count", "101"], "100 images, not 101"),
        ([str(TINY), "--simulate", "101"], "100 images, not 101"),
        ([str(TINY), "--fold", "gone.json"], "gone.json"),
        ([str(TINY), "--out", "taken/page.html"], "taken"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, words, culprit) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("no folder")
    given = words if "--out" in words else [*words, "--out", "page.html"]
    assert main(["page", *given]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert culprit in said
    assert not (tmp_path / "page.html").exists()


def test_pieces() -> None:
    escaped = table("<b>", ["a"], [["<i>"]])
    assert "<b>" not in escaped
    assert "<i>" not in escaped
    assert "<i>" in table("t", ["a"], [[Markup("<i>")]])
    drawn = histogram("slopes", {-3: 2, -1: 5})
    assert "2 to the -3: 2, 2 to the -2: 0, 2 to the -1: 5" in drawn
    assert [float(width) for width in re.findall(r'width="([\d.]+)" height="12"', drawn)] == [88.0, 0.0, 220.0]
    assert maps(np.zeros((2, 2, 3), np.int64), "nothing").startswith('<img src="data:image/png;base64,')
