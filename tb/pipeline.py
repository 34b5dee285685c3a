"""The whole core in simulation: export, golden results, the run, and every layer compared value by value.

`run_core` is called by `make sim` (tb/sim.py), by tb/test_abbnn_core.py and by the benchmark; the cocotb side is
`stream_images` in tb/core_tests.py, which fills a `Report`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from abbnn.building import ticking
from abbnn.export.folding import Folding, balance
from abbnn.export.load_image import load_image
from abbnn.export.mem import read_manifest, write
from abbnn.export.schedule import timing
from abbnn.golden.model import Layers, batches, forward, layer_names
from abbnn.golden.network import IntegerNetwork, network_hash
from abbnn.golden.ranges import analyse
from abbnn.tb.bench import SIM_LOG, simulate
from abbnn.tb.collect import recorded

MEM_FOLDER = "mem"
"""The export's folder below the one the simulation runs in; the core is built with ABBNN_MEM_DIR set to it."""
REPORT_FILE = "report.json"
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
) -> None:
    """Export `network` into `run_folder`, build the core and run one cocotb test of tb/core_tests.py on `images`.

    With `monitor` the case holds every layer's golden values, and their streams are recorded (tb/collect.py), else the
    scores and classes alone. `damage` maps a memory file to the bit (counted from the file's first word's lowest bit)
    to flip after the export, with the manifest made to match: a consistent but wrong set of files. `idle` and
    `back_pressure` stall the ends, behind `held` cycles with a closed output. A `loadable` core gets its tables over
    the load port, after every reset. `verilog`, a netlist, is built in place of rtl/ (see `bench.simulate`). A failing
    test raises SystemExit.
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
    case: dict[str, Any] = {f"layer.{name}": layers[name].astype(np.int32) for name in (*inner, "scores", "class")}
    stages = {name: name.partition(".")[0] for name in inner}
    if monitor:
        stages["pool"] = inner[-2]  # pooled in the lanes that the last block gives
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
    if loadable:
        case["load"] = np.array(load_image(network, folding), np.int64)
    simulate(
        "abbnn_core",
        "abbnn.tb.core_tests",
        {"LOADABLE": int(loadable)},
        includes=[run_folder / MEM_FOLDER],
        defines=[f'ABBNN_MEM_DIR="{MEM_FOLDER}"'],
        case=case,
        testcase=testcase,
        sim=sim,
        work_dir=run_folder,
        verilog=verilog,
        inside=testcase == "attacked",
        streams=layer_streams(inner, netlist=verilog is not None),
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


def layer_streams(names: Iterable[str], *, netlist: bool) -> dict[str, str]:
    """Layer -> prefix of its stream's nets as `abbnn_core` sees them; scores and class come out of the core itself.

    A `netlist` (syn/gates.py) has no instances: its streams' names begin with the stage's.
    """
    streams = {}
    for name in names:
        stage, _, part = name.partition(".")
        if stage == "stem":
            place = "stem", {"": "m_axis", "conv": "scaled", "prelu": "active"}[part]
        elif stage == "pool":
            place = "head", "pool"
        else:
            place = stage, {"": "m_axis", "conv": "conv", "shortcut": "residual"}[part]
        streams[name] = ("_" if netlist else ".").join(place)
    return streams


# ---- inside the simulator ---------------------------------------------------------------------------------------


def layer_values(layer: str, lanes: int, shape: Sequence[int]) -> NDArray[np.int32]:
    """All values of a layer's stream so far: (images, H, W, C), of `shape` (C,) or (H, W, C) an image.

    A number of beats that is no whole image is an AssertionError.
    """
    beats = recorded(layer, lanes)
    shape = (*(1,) * (3 - len(shape)), *shape)
    per_image = int(np.prod(shape)) // lanes
    assert len(beats) % per_image == 0, f"layer {layer}: {len(beats)} beats are no whole images of {per_image}"
    return beats.reshape(-1, *shape)


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
