"""cocotb tests of the whole core: images in, every layer compared, inputs that are wrong, streams that stall.

`pipeline.simulate_core` builds the core and starts one of them on the case that it has prepared.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge
from cocotb.utils import get_sim_time
from numpy.typing import NDArray

from abbnn.export.layout import unpack
from abbnn.export.mem import read_manifest
from abbnn.tb import waves
from abbnn.tb.bench import CLOCK_NS, Bench, assert_equal, built_headers, load_case
from abbnn.tb.pipeline import (
    MEM_FOLDER,
    PROGRESS,
    LayerMonitor,
    Mismatch,
    Report,
    compare_layer,
    layer_monitors,
    waves_stream,
)
from abbnn.tb.stall import Stalls

SLOWER = 20
"""How much longer than PATIENCE a result may take while every stream inside stalls."""


LOAD_CYCLES = 100
"""A word of a load takes no longer, even through streams that stall."""


def pixel_beats(image: NDArray[np.uint8]) -> list[int]:
    """(H, W, 3) uint8 -> one beat a pixel, red lowest."""
    flat = image.reshape(-1, 3).astype(np.int64)
    beats: list[int] = (flat[:, 0] | flat[:, 1] << 8 | flat[:, 2] << 16).tolist()
    return beats


def cycle() -> int:
    """Of the clock, since the simulation began."""
    return round(get_sim_time("ns") / CLOCK_NS)


class CoreBench(Bench):
    """The core with its pixel stream, its result stream and the case that `run_core` has prepared."""

    def __init__(self, dut: Any, sources: Sequence[str] = ("s_axis",)) -> None:
        self.case = load_case()
        dut.soft_rst.value = 0
        dut.s_load_axis_tvalid.value = 0
        super().__init__(dut, sources=[*sources, "s_load_axis"] if "load" in self.case else sources)
        self.images = self.case["images"]
        self.classes = self.case["layer.scores"].shape[1]

    async def reset(self, cycles: int = 4) -> None:
        """Reset, load the tables of a loadable core, and refuse memory files that are not those of the header and
        network the core was built for."""
        await super().reset(cycles)
        if "load" in self.case:
            words = self.case["load"].tolist()
            self.send(words, "s_load_axis")
            for _ in words:
                await ClockCycles(self.dut.clk, LOAD_CYCLES)
                if int(self.dut.status_ready.value):
                    break
            assert int(self.dut.status_ready.value) == 1, "the load was not taken"
        manifest = read_manifest(Path(MEM_FOLDER))
        headers = {header["file"]: header["sha256"] for header in manifest["headers"]}
        assert built_headers() == headers, "the memory files belong to another header"
        wanted = int(manifest["network_sha256"][:16], 16)
        built = int(self.dut.status_network.value)
        assert built == wanted == int(self.case["network_id"]), (
            f"the core was built for network {built:016x}, the memory files are of {wanted:016x}"
        )

    async def result(self) -> tuple[NDArray[Any], int]:
        """(scores, class) of the next frame; AssertionError if none comes in time."""
        beats = await self.receive(self.classes + 1, cycles=int(self.case["timeout"]))
        scores = unpack(beats[:-1], 1, 32, signed=True).ravel()
        return scores, beats[-1]


@cocotb.test()
async def stream_images(dut: Any) -> None:
    """All images back to back; report.json says what was compared; the first mismatch fails the test."""
    bench = CoreBench(dut)
    case = bench.case
    layers = {key.removeprefix("layer."): values for key, values in case.items() if key.startswith("layer.")}
    report = Report(cocotb.SIM_NAME, str(case["network_name"]))
    monitors = layer_monitors(dut, layers, json.loads(str(case["lanes"])))
    results = LayerMonitor(dut, "scores", dut, "m_axis", 1, (1, 1, bench.classes + 1))
    await bench.reset()
    bench.stall(*case["stalls"])
    started = time.monotonic()
    entered: list[int] = []

    async def watch_entries() -> None:
        pixels = bench.images[0].shape[0] * bench.images[0].shape[1]
        edge = RisingEdge(dut.clk)
        seen = 0
        while len(entered) < len(bench.images):
            await edge
            if dut.s_axis_tvalid.value == 1 and dut.s_axis_tready.value == 1:
                if seen == 0:
                    entered.append(cycle())
                seen = (seen + 1) % pixels

    watcher = cocotb.start_soon(watch_entries())
    first_cycle = cycle()
    for image in bench.images:
        bench.send(pixel_beats(image))
    if case["held"]:
        bench.stall(0, 0)
        bench.sinks["m_axis"].pause = True
        await ClockCycles(dut.clk, int(case["held"]))
        assert int(dut.s_axis_tready.value) == 0, f"{len(entered)} images do not fill the core"
        bench.stall(*case["stalls"])
    all_scores: list[NDArray[Any]] = []
    all_classes: list[int] = []
    left: list[int] = []
    for index in range(len(bench.images)):
        scores, winner = await bench.result()
        left.append(cycle())
        all_scores.append(scores)
        all_classes.append(winner)
        print(f"{PROGRESS} {index + 1}/{len(bench.images)}", file=sys.stderr, flush=True)
    await bench.silent()
    await watcher
    report.cycles, report.seconds = cycle() - first_cycle, time.monotonic() - started
    report.images = [
        {
            "label": int(case["labels"][index]),
            "predicted": int(all_classes[index]),
            "entered": entered[index] - entered[0],
            "left": left[index] - entered[0],
        }
        for index in range(len(bench.images))
    ]
    mismatches: list[Mismatch] = []
    outputs = {
        "scores": np.array(all_scores)[:, None, None, :],
        "class": np.array(all_classes)[:, None, None, None],
    }
    for name, got in [*((m.layer, m.values()) for m in monitors), *outputs.items()]:
        row, mismatch = compare_layer(name, got, layers[name])
        report.layers.append(row)
        mismatches += [mismatch] if mismatch else []
    if mismatches:
        report.first_mismatch, first = str(mismatches[0]), mismatches[0]
        monitor = next((each for each in monitors if each.layer == first.layer), results)
        results.values()
        channel = bench.classes if first.layer == "class" else first.channel
        report.first_mismatch_ns = monitor.taken_ns(first.image, first.row, first.column, channel)
        waves.Mark(report.first_mismatch_ns, report.first_mismatch, waves_stream(first.layer)).save(Path())
    report.save(Path())
    assert sum(row["values"] for row in report.layers) > 0, "nothing was compared"
    assert int(dut.status_frames.value) == len(bench.images)
    assert int(dut.status_error.value) == 0
    assert not mismatches, f"first mismatch: {mismatches[0]}"
    assert all(row["mismatches"] == 0 for row in report.layers), "a layer gave a wrong number of values"


@cocotb.test()
async def attacked(dut: Any) -> None:
    """Every stream inside stalls at random, paths and streams are closed and opened: results come, and are golden."""
    bench = CoreBench(dut)
    stalls = Stalls(dut)
    limit = int(bench.case["timeout"])
    bench.case["timeout"] = np.array(SLOWER * limit)
    stalls.set(active=True)  # a load stalls, too
    await bench.reset()
    for image in bench.images:
        bench.send(pixel_beats(image))
    started = cycle()
    attack = cocotb.start_soon(stalls.attack(bench, limit))
    for scores, winner in zip(bench.case["layer.scores"], bench.case["layer.class"], strict=True):
        result = await bench.result()
        assert_equal(result[0], scores, "class")
        assert result[1] == winner
    attack.cancel()
    stalls.set(active=False)
    await bench.silent()
    assert int(dut.status_frames.value) == len(bench.images)
    assert int(dut.status_error.value) == 0
    stalls.report(Path(), cycle() - started)


@cocotb.test()
async def bad_frames(dut: Any) -> None:
    """Short and long frames, data in reset and reset in mid-frame give no result, are counted, and harm nothing."""
    bench = CoreBench(dut)
    expected = [(s, int(c)) for s, c in zip(bench.case["layer.scores"], bench.case["layer.class"], strict=True)]
    frames = [pixel_beats(image) for image in bench.images[:3]]

    async def check(index: int) -> None:
        scores, winner = await bench.result()
        assert_equal(scores, expected[index][0], "class")
        assert winner == expected[index][1]

    await bench.reset()
    bench.send(frames[0][:100])  # tlast early
    bench.send(frames[0])
    bench.send(frames[1] + frames[2][:7])  # tlast late
    bench.send(frames[2])
    await check(0)
    await check(2)
    await bench.silent(256)
    assert int(dut.status_short_frames.value) == 1
    assert int(dut.status_long_frames.value) == 1
    assert int(dut.status_error.value) == 1
    assert int(dut.status_frames.value) == 2

    bench.send(frames[0])
    await ClockCycles(dut.clk, 500)
    await bench.reset()  # in mid-frame: the rest of the frame is gone with it
    assert int(dut.status_error.value) == 0
    dut.rst.value = 1
    await ClockCycles(dut.clk, 2)
    assert int(dut.s_axis_tready.value) == 0, "pixels are taken during reset"
    await bench.reset()
    bench.send(frames[1])
    await check(1)
    await bench.silent(256)
    assert int(dut.status_frames.value) == 1
    assert int(dut.status_error.value) == 0
