"""The whole core in simulation: export, golden results, the run, and every layer compared value by value.

`run_core` is called by `make sim` (tb/sim.py), by tb/test_abbnn_core.py and by the benchmark; the cocotb side is
`stream_images` in tb/core_tests.py, which fills a `Report`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from abbnn.building import ticking
from abbnn.export.config import StageConfig, pipeline_config
from abbnn.export.folding import Folding, balance
from abbnn.export.mem import read_manifest, write
from abbnn.export.pipeline import Pipeline
from abbnn.export.schedule import timing
from abbnn.golden.model import Layers, batches, forward, layer_names
from abbnn.golden.network import IntegerNetwork, network_hash
from abbnn.golden.ranges import analyse
from abbnn.tb import waves
from abbnn.tb.bench import CLOCK_NS, SIM_LOG, simulate, waves_wanted
from abbnn.tb.collect import Record

MEM_FOLDER = "mem"
"""The export's folder below the one the simulation runs in; the core is built with ABBNN_MEM_DIR set to it."""
REPORT_FILE = "report.json"
RESULTS = "results"
"""The record of the stream that leaves the core: each image's scores and class."""
PATIENCE = 10
"""Latencies and intervals without a result after which the core counts as stuck, heavily stalled or not."""
PROGRESS = "PROGRESS"
"""First word of a line that tells how many results have come out."""


@dataclass(frozen=True)
class Mismatch:
    """The first value of a layer that differs, in image order, then row, column, channel."""

    layer: str
    image: int
    row: int
    column: int
    channel: int
    expected: int
    got: int

    def __str__(self) -> str:
        return (
            f"layer {self.layer}, channel {self.channel}, row {self.row}, column {self.column} of image {self.image}: "
            f"expected {self.expected}, got {self.got}"
        )


@dataclass
class Report:
    """What a run has shown: one entry an image, one a layer, cycles counted from the first pixel's transfer."""

    simulator: str
    network: str
    images: list[dict[str, int]] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)
    first_mismatch: str | None = None
    first_mismatch_ns: int | None = None
    """A moment of the cycle in which that beat is taken, since the simulation began."""
    cycles: int = 0
    seconds: float = 0.0

    def save(self, folder: Path) -> None:
        (folder / REPORT_FILE).write_text(json.dumps(asdict(self), indent=1))

    @staticmethod
    def load(folder: Path) -> Report:
        return Report(**json.loads((folder / REPORT_FILE).read_text()))


def golden_layers(network: IntegerNetwork, images: NDArray[np.uint8]) -> Layers:
    """Every layer of `golden.model.forward` for all images."""
    ranges = analyse(network)
    parts = [forward(network, batch, ranges) for batch in batches(images)]
    return {name: np.concatenate([part[name] for part in parts]) for name in layer_names(network.structure)}


def simulate_core(
    network: IntegerNetwork,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64] | None,
    run_folder: Path,
    testcase: str,
    *,
    folding: Folding | None = None,
    sim: str | None = None,
    monitor: bool = True,
    damage: Mapping[str, int] | None = None,
    idle: float = 0.0,
    back_pressure: float = 0.0,
    held: int = 0,
    loadable: bool = False,
    verilog: Sequence[Path] | None = None,
    builds: Path | None = None,
) -> None:
    """Export `network` into `run_folder`, build the core and run one cocotb test of tb/core_tests.py on `images`.

    With `monitor` the case holds every layer's golden values, and their streams are recorded (tb/collect.py), else the
    scores and classes alone. `damage` maps a memory file to the bit (counted from the file's first word's lowest bit)
    to flip after the export, with the manifest made to match: a consistent but wrong set of files. `idle` and
    `back_pressure` stall the ends, behind `held` cycles with a closed output. A `loadable` core gets its tables over
    the load port, after every reset. `verilog`, a netlist, is built in place of rtl/, and `builds` is the folder for
    that (see `bench.simulate`). A failing test raises SystemExit.
    """
    run_folder.mkdir(parents=True, exist_ok=True)
    folding = folding or balance(network)
    write(network, folding, run_folder / MEM_FOLDER)
    for name, bit in (damage or {}).items():
        flip_bit(run_folder / MEM_FOLDER, name, bit)
    read_manifest(run_folder / MEM_FOLDER)
    (run_folder / REPORT_FILE).unlink(missing_ok=True)
    expected = timing(network, folding)
    layers = golden_layers(network, images)
    inner = [name for name in layers if name not in ("scores", "class")] if monitor else []
    kept = [*inner, "scores", "class"]
    stages = {name: name.partition(".")[0] for name in inner}
    if monitor:
        stages["pool"] = inner[-2]  # pooled in the lanes that the last block gives
    case: dict[str, Any] = {f"layer.{name}": layers[name].astype(np.int32) for name in kept}
    case |= {
        "images": images,
        "labels": np.full(len(images), -1) if labels is None else labels,
        "lanes": json.dumps({name: folding[stage].pe for name, stage in stages.items()}),
        "network_id": int(network_hash(network)[:16], 16),
        "network_name": network.structure.name,
        "stalls": [idle, back_pressure],
        "held": held,
        "timeout": PATIENCE * (expected.latency + expected.interval),
    }
    shown: list[waves.Shown] = []
    tables: dict[str, str] = {}
    if waves_wanted() and verilog is None:  # a netlist has no instances to look into
        configs = pipeline_config(network, analyse(network), folding)
        shown, tables = core_streams(configs, layers, kept if testcase == "stream_images" else ())
    if loadable:
        case["load"] = np.array(Pipeline(network, folding).load_image, np.int64)
    simulate(
        "abbnn_core",
        "abbnn.tb.core_tests",
        {} if verilog else {"LOADABLE": int(loadable)},  # a netlist has no parameters
        includes=[run_folder / MEM_FOLDER],
        defines=[f'ABBNN_MEM_DIR="{MEM_FOLDER}"'],
        case=case,
        tables=tables,
        testcase=testcase,
        sim=sim,
        work_dir=run_folder,
        verilog=verilog,
        inside=testcase == "attacked",
        streams=layer_streams(inner, netlist=verilog is not None),
        shown=shown,
        builds=builds,
    )


def run_core(
    network: IntegerNetwork,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64] | None,
    run_folder: Path,
    **options: Any,
) -> Report:
    """Stream `images` through the core and compare with golden; `options` are those of `simulate_core`.

    A mismatch raises SystemExit after the report has been written.
    """
    simulate_core(network, images, labels, run_folder, "stream_images", **options)
    return Report.load(run_folder)


def layer_stream(layer: str) -> tuple[str, str]:
    """The stage of abbnn_core that a layer's values come from, and what the names of their stream begin with there."""
    stage, _, part = layer.partition(".")
    if stage == "pool":
        return "head", "pool"
    inner = {"conv": "scaled", "prelu": "active"} if stage == "stem" else {"conv": "conv", "shortcut": "residual"}
    return stage, inner[part] if part else "m_axis"


def layer_streams(names: Iterable[str], *, netlist: bool) -> dict[str, str]:
    """Layer -> what the names of its stream begin with as `abbnn_core` sees them, and RESULTS.

    A `netlist` (syn/gates.py) has no instances: its streams' names begin with the stage's.
    """
    return {name: ("_" if netlist else ".").join(layer_stream(name)) for name in names} | {RESULTS: "m_axis"}


def waves_stream(layer: str) -> str:
    """The scope in which a waveform shows a layer."""
    return "m_axis" if layer in ("scores", "class") else layer.replace(".", "_")


def _lanes_and_bits(layer: str, parameters: Mapping[str, int]) -> tuple[int, int]:
    """Of a layer's stream, as its stage declares it."""
    stage, _, part = layer.partition(".")
    bits = parameters["VALUE_WIDTH"]
    if stage == "pool":
        return parameters["S_LANES"], bits + (parameters["POSITIONS"] - 1).bit_length() - parameters["POOL_SHIFT"]
    if stage != "stem" and part == "conv":
        bits = parameters["SUM_WIDTH"]
    if part == "shortcut":
        bits = parameters.get("SHORTCUT_SCALED_WIDTH", bits)
    return parameters["PE"], bits


def core_streams(
    configs: Sequence[StageConfig], layers: Layers, golden: Container[str]
) -> tuple[list[waves.Shown], dict[str, str]]:
    """What a waveform of abbnn_core shows, in the order that a pixel takes, and the files of the golden beats of those
    layers of `layers` that are in `golden`."""
    parameters = {config.name: config.parameters for config in configs}
    stem, classes = parameters["stem"], parameters["head"]["CLASSES"]
    files: dict[str, str] = {}

    def file(layer: str, beats: NDArray[Any], bits: int) -> str | None:
        if layer not in golden:
            return None
        name = f"golden_{layer}.hex"
        files[name] = waves.golden_text(beats, bits)
        return name

    pixels = (("column", stem["WIDTH"]), ("row", stem["HEIGHT"]), ("image", 0))
    colours = ("red", "green", "blue")
    streams = [waves.Shown("s_axis", "s_axis", colours, 8, pixels, "s_axis", signed=False, reset="core_rst")]
    for layer, values in layers.items():
        if layer in ("scores", "class"):
            continue
        stage, prefix = layer_stream(layer)
        count, bits = _lanes_and_bits(layer, parameters[stage])
        sizes = zip(("channel", "column", "row"), values.shape[:0:-1], strict=False)
        shown = waves.Shown(
            waves_stream(layer),
            f"abbnn_core.{stage}.{prefix}",
            waves.lanes(count),
            bits,
            (*sizes, ("image", 0)),
            stage,
            step=count,
            golden=file(layer, values.reshape(-1, count), bits),
            reset="core_rst",
        )
        streams.append(shown)
    results = np.concatenate([layers["scores"], layers["class"].reshape(-1, 1)], axis=1)
    expected = file("scores", results.reshape(-1, 1), 32)
    counters = (("channel", classes + 1), ("image", 0))
    for name in ("head", "m_axis"):
        streams.append(waves.Shown(name, name, ("value",), 32, counters, name, golden=expected, reset="core_rst"))
    order = ["s_axis", *parameters, "m_axis"]
    # A stage's own output comes before what is inside it.
    streams.sort(key=lambda stream: (order.index(stream.group), stream.name != stream.group))
    return streams, files


def flip_bit(folder: Path, name: str, bit: int) -> None:
    """Flip one bit of a memory file and make the manifest agree, as if the exporter itself had been wrong."""
    import hashlib

    path, manifest_path = folder / name, folder / "manifest.json"
    manifest = json.loads(manifest_path.read_text())
    entry = next(memory for memory in manifest["memories"] if memory["file"] == name)
    lines = path.read_text().splitlines()
    address, position = divmod(bit, entry["width"])
    lines[address] = f"{int(lines[address], 16) ^ 1 << position:0{len(lines[address])}x}"
    text = "\n".join(lines) + "\n"
    path.write_text(text)
    entry["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    manifest_path.write_text(json.dumps(manifest, indent=2) + "\n")


@contextmanager
def counted(folder: Path, images: int, title: str) -> Iterator[None]:
    """While the block builds and runs the core in `folder`, a bar or a line now and then counts the results."""
    with tqdm(total=images, unit="img", desc=title, disable=None) as bar:

        def said() -> str:
            log = folder / SIM_LOG
            found = (
                re.findall(rf"^{PROGRESS} (\d+)/", log.read_text(errors="replace"), re.MULTILINE)
                if log.exists()
                else []
            )
            bar.n = int(found[-1]) if found else 0
            return f"{title}: {bar.n} of {images} images" if log.exists() else f"{title}: building"

        with ticking(said, bar):
            yield


# ---- inside the simulator ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerValues:
    """What a layer's stream has carried: `values` (images, H, W, C), and when."""

    values: NDArray[np.int32]
    record: Record

    @staticmethod
    def read(layer: str, lanes: int, shape: Sequence[int]) -> LayerValues:
        """`shape` is one image's, (C,) or (H, W, C). A number of beats that is no whole image is an AssertionError."""
        record = Record.read(layer, lanes)
        shape = (*(1,) * (3 - len(shape)), *shape)
        beats, per_image = len(record.values), int(np.prod(shape)) // lanes
        assert beats % per_image == 0, f"layer {layer}: {beats} beats are no whole images of {per_image}"
        return LayerValues(record.values.reshape(-1, *shape), record)

    def taken_ns(self, image: int, row: int, column: int, channel: int) -> int:
        """A moment at which the beat with this value can be seen: the middle of the cycle in which it is taken."""
        value = int(np.ravel_multi_index((image, row, column, channel), self.values.shape))
        return int(self.record.taken[value // self.record.values.shape[1]]) - CLOCK_NS // 2


def compare_layer(name: str, got: NDArray[Any], expected: NDArray[Any]) -> tuple[dict[str, Any], Mismatch | None]:
    """A row of the report, and the first mismatch. A different number of images is a mismatch of the whole layer."""
    expected = expected.reshape(len(expected), *got.shape[1:])
    count = min(len(got), len(expected))
    wrong = np.argwhere(got[:count] != expected[:count])
    missing = abs(len(got) - len(expected)) * int(np.prod(got.shape[1:]))
    row = {"layer": name, "values": int(expected.size), "mismatches": len(wrong) + missing}
    if not len(wrong):
        return row, None
    image, y, x, channel = (int(i) for i in wrong[0])
    index = (image, y, x, channel)
    return row, Mismatch(name, image, y, x, channel, int(expected[index]), int(got[index]))
