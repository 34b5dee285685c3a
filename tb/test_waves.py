"""Waveforms (tb/waves.py): what a view names is in the file, and the file's beats are those of golden."""

import os
import re
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import pywellen
from random_network import random_network

from abbnn import verilog
from abbnn.export.folding import balance
from abbnn.export.random_network import random_images
from abbnn.golden.model import forward
from abbnn.golden.network import save_network
from abbnn.golden.structure import STRIDED_STEM, member
from abbnn.tb import bench, sim, waves
from abbnn.tb.pipeline import Report, run_core
from abbnn.tb.streams import Stream, run_streams

NIGHTLY = os.environ.get("NIGHTLY") == "1"
SIMULATORS = [
    "icarus",
    pytest.param("verilator", marks=pytest.mark.skipif(not NIGHTLY, reason="minutes to build: NIGHTLY=1")),
]
STRUCTURE = member("waves", (4, 8), (1, 1), classes=5, image=(8, 12), stem=STRIDED_STEM)
CYCLES = 400
ROW = re.compile(r"\+\{(\S+)\} (\S+?)(\[\d+:0\])?")


@pytest.fixture
def recorded(monkeypatch):
    """The waves of what the test simulates."""
    monkeypatch.setenv("WAVES", "1")
    bench.waves_written.clear()
    yield bench.waves_written
    bench.waves_written.clear()


class Wave:
    """A waveform file: its signals with their widths, and what they are just before an edge of the clock."""

    def __init__(self, written):
        wave = pywellen.Waveform(str(written.file))
        assert (wave.timescale.factor, str(wave.timescale.unit)) == (1, "ps")
        self.signals = {var.full_name: var for var in wave.all_vars()}
        self.view = written.view.read_text()
        self.rows = [ROW.fullmatch(line).groups() for line in self.view.splitlines() if line.startswith("+")]
        [self.top] = {name.removesuffix(".clk") for alias, name, _ in self.rows if alias == "clk"}
        clk = list(self.signals[f"{self.top}.clk"].tv)
        self.edges = [now for (_, before), (now, after) in pairwise(clk) if (before, after) == (0, 1)]

    def groups(self):
        """Names of the open groups."""
        return [line[1:] for flags, line in pairwise(self.view.splitlines()) if flags == "@800200"]

    def values(self, name, edges):
        return [self.signals[f"{self.top}.{name}"].signal.value_at(edge - 1) for edge in edges]

    def beats(self, stream):
        """The edges of the clock that take a beat of a stream."""
        ends = (self.values(name, self.edges) for name in ("rst", f"waves.{stream}.valid", f"waves.{stream}.ready"))
        return [edge for edge, *values in zip(self.edges, *ends, strict=True) if values == [0, 1, 1]]

    def numbers(self, stream, names, edges, bits=None):
        """(edges, names) integers; `bits`: signed, of so many bits."""
        values = np.array([self.values(f"waves.{stream}.{name}", edges) for name in names], np.int64).T
        return values if bits is None else values - (values >> (bits - 1) << bits)


def assert_view_is_in_file(wave):
    assert len(wave.rows) > 5
    for alias, name, brackets in wave.rows:
        assert name in wave.signals, alias
        bits = int(brackets[1:-3]) + 1 if brackets else 1
        assert wave.signals[name].bitwidth == bits, f"{name}{brackets or ''}"


def assert_stream_is(wave, name, values):
    """The stream's beats, and what stands for golden beside them, are `values`, and the counters say which they are."""
    pattern = rf"waves\.{name}\.(lane\d+|value|red|green|blue)"
    found = [re.fullmatch(pattern, signal.removeprefix(f"{wave.top}.")) for _, signal, _ in wave.rows]
    lanes = [each[1] for each in found if each]
    bits = None if name == "s_axis" else wave.signals[f"{wave.top}.waves.{name}.{lanes[0]}"].bitwidth
    edges = wave.beats(name)
    assert len(edges) * len(lanes) == values.size, name
    beats = wave.numbers(name, lanes, edges, bits)
    np.testing.assert_array_equal(beats.ravel(), values.ravel(), name)
    if name != "s_axis":
        np.testing.assert_array_equal(
            wave.numbers(name, [f"golden_{lane}" for lane in lanes], edges, bits), beats, name
        )
    counters = {4: ["image", "row", "column", "channel"], 2: ["image", "channel"]}[values.ndim]
    places = np.transpose(np.unravel_index(np.arange(len(edges)) * len(lanes), values.shape))
    if name == "s_axis":  # all channels of a pixel are one beat
        counters, places = counters[:3], places[:, :3]
    np.testing.assert_array_equal(wave.numbers(name, counters, edges), places, name)


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_core(simulator, recorded, tmp_path):
    network = random_network(STRUCTURE, 1, stem_planes=2)
    images = random_images(STRUCTURE, 1, 2)
    run_core(network, images, None, tmp_path, folding=balance(network, CYCLES), sim=simulator)
    [written] = recorded
    assert written.mark is None
    wave = Wave(written)
    assert_view_is_in_file(wave)
    assert wave.groups() == ["s_axis", "s_load_axis", "stem", "block00", "block01", "head", "m_axis", "other ports"]
    layers = forward(network, images)
    results = np.concatenate([layers.pop("scores"), layers.pop("class").reshape(-1, 1)], axis=1)
    assert set(layers) == {"stem", "block00.conv", "block00", "block01.conv", "block01.shortcut", "block01", "pool"}
    for name, values in {"s_axis": images, **layers, "head": results, "m_axis": results}.items():
        assert_stream_is(wave, name.replace(".", "_"), values)
    assert not any(wave.values("waves.mismatch", wave.edges))


def test_first_mismatch_is_marked(recorded, tmp_path, monkeypatch, capsys):
    """At the marked time the beat is taken that the report names, and the report says how to open the waves."""
    network = random_network(STRUCTURE, 1, stem_planes=2)
    save_network(network, tmp_path / "net.safetensors")
    monkeypatch.setattr(sim, "run_core", partial(run_core, damage={"block01_weights.mem": 0}))
    monkeypatch.setattr(sim, "default_simulator", lambda: "icarus")
    assert sim.main([str(tmp_path / "net.safetensors"), "--count", "1", "--cycles", str(CYCLES)]) == 1
    [written] = recorded
    said = capsys.readouterr().out
    assert f"waves: gtkwave {written.file} {written.view}  (marked at {written.mark.ns:,} ns: layer block01" in said
    assert f", at {written.mark.ns:,} ns" in " ".join(said.partition("MISMATCH")[2].split())
    report = Report.load(written.file.parent)
    pattern = r"layer (\S+), channel (\d+), row (\d+), column (\d+) of image (\d+): expected (\S+), got (\S+)"
    layer, *place, expected, got = re.fullmatch(pattern, report.first_mismatch).groups()
    channel, row, column, image = map(int, place)

    wave = Wave(written)
    assert_view_is_in_file(wave)
    time = 1000 * written.mark.ns
    assert f"\n*-{waves.SCALE} {time} {time}\n" in wave.view
    edge = next(edge for edge in wave.edges if edge > time)
    name = layer.replace(".", "_")
    assert wave.groups()[:2] == [name, f"{name}: golden"]
    assert edge in wave.beats(name)
    assert wave.values(f"waves.{name}.mismatch", [time, edge]) == [1, 1]
    [counters] = wave.numbers(name, ["image", "row", "column", "channel"], [edge]).tolist()
    bits = wave.signals[f"{wave.top}.waves.{name}.lane0"].bitwidth
    lane = channel - counters[3]
    [values] = wave.numbers(name, [f"lane{lane}", f"golden_lane{lane}"], [edge], bits).tolist()
    assert counters[:3] == [image, row, column]
    assert values == [int(got), int(expected)]
    wrong = [each for each in wave.edges if wave.values("waves.mismatch", [each]) == [1]]
    assert wrong[0] == edge


def test_module(recorded):
    """Of any module's testbench: the ports by stream, lanes as signed numbers, the beats counted."""
    values = np.random.default_rng(1).integers(-128, 128, (2, 8))
    parameters = {"LANES": 2, "S_WIDTH": 8, "M_WIDTH": 8}
    run_streams("abbnn_saturate", parameters, Stream(values, 2, 8), Stream(values, 2, 8), sim="icarus")
    [written] = recorded
    wave = Wave(written)
    assert_view_is_in_file(wave)
    assert wave.groups() == ["s_axis", "m_axis"]
    for name in wave.groups():
        edges = wave.beats(name)[: values.size // 2]
        np.testing.assert_array_equal(wave.numbers(name, ["lane0", "lane1"], edges, 8).reshape(values.shape), values)
        places = wave.numbers(name, ["frame", "beat"], edges).tolist()
        assert places == [[frame, beat] for frame in range(2) for beat in range(4)]


def test_module_that_fails(recorded, tmp_path):
    """The end of the first test that fails is marked."""
    text = verilog.file("abbnn_skid").read_text()
    (tmp_path / "abbnn_skid.v").write_text(text.replace("= data_reg;", "= ~data_reg;"))
    values = np.arange(16).reshape(2, 8)
    stream = Stream(values, 1, 8)
    with pytest.raises(SystemExit):
        run_streams("abbnn_skid", {"DATA_WIDTH": 8}, stream, stream, sim="icarus", verilog=[tmp_path / "abbnn_skid.v"])
    [written] = recorded
    wave = Wave(written)
    assert written.mark.text == "frames fails"
    assert 0 < 1000 * written.mark.ns <= wave.edges[-1]


@pytest.mark.parametrize("module", verilog.modules())
def test_ports_of_every_module(module):
    text = verilog.file(module).read_text()
    header = re.search(rf"^module {module}\b.*?^\);", text, re.MULTILINE | re.DOTALL)[0]
    lines = re.findall(r"^ +(?:input|output)\b.*$", header, re.MULTILINE)
    declared = [(re.sub(r"[ ,]*(//.*)?$", "", line).split()[-1], "[" in line) for line in lines]
    assert waves.ports(header) == declared
