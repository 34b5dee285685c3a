"""The timing formulas' latencies are those that the testbenches measure, and the recurrences do what they say."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_network import random_network

from abbnn.export import schedule
from abbnn.export.folding import balance
from abbnn.golden.structure import CIFAR_STEM, Block, StemForm, member

TB = Path(__file__).resolve().parent.parent / "tb"


@pytest.mark.parametrize("module", sorted(schedule.LATENCY))
def test_latency_is_the_measured_one(module):
    """A testbench that measures a latency keeps it in a constant LATENCY; the formulas must hold the same number."""
    text = (TB / f"test_abbnn_{module}.py").read_text()
    constants = re.findall(r"^LATENCY = (\d+)$", text, re.MULTILINE)
    if module == "drop":  # wires
        assert not constants
        assert schedule.LATENCY[module] == 0
    else:
        assert constants == [str(schedule.LATENCY[module])]


def test_paced_is_one_beat_a_cycle():
    assert schedule._paced(np.array([5, 5, 5, 20, 6])).tolist() == [5, 6, 7, 20, 21]


def test_replay_first_pass_follows_the_arrivals():
    times = np.array([0, 10, 11, 12])
    assert schedule.replay(times, 2, 2).tolist() == [2, 12, 13, 14, 15, 16, 17, 18]


def test_window_waits_for_one_row_and_two_pixels():
    times = np.arange(16) * 10  # a 4x4 map
    first = schedule.window(times, 4, 4, 1, 3, 1)[0]
    assert first == times[5] + schedule.LATENCY["window"]


def test_window_of_one_pixel():
    times = np.arange(12) * 10  # a 2x3 map of two beats a pixel
    assert schedule.window(times, 2, 3, 2, 1, 1) is times
    assert schedule.window(times, 2, 3, 2, 1, 2).tolist() == [0, 10, 40, 50]


def test_small_maps_follow_the_last_value_that_they_need():
    times = np.arange(24) * 10  # a 4x6 map
    latency = schedule.LATENCY
    assert schedule.pool(times, 4, 6, 1).tolist() == [10 * k + latency["pool"] for k in (7, 9, 11, 19, 21, 23)]
    assert schedule.subsample(times, 4, 6, 1).tolist() == [10 * k for k in (0, 2, 4, 12, 14, 16)]
    assert schedule.max_pool(times, 4, 6, 1).tolist() == [10 * k + latency["max_pool"] for k in (7, 9, 11, 19, 21, 23)]
    # Of an odd map the last window ends at the map's end; two beats a pixel.
    odd = schedule.max_pool(np.arange(30) * 10, 3, 5, 2)
    assert odd.tolist() == [10 * k + latency["max_pool"] for k in (12, 13, 16, 17, 18, 19, 22, 23, 26, 27, 28, 29)]


def residual(shortcut, s_lanes, pe, **changes):
    """Times of the residual at the adder, of a 4x4 map of two channels that enters a pixel every 100 cycles."""
    block = Block(2, 2, 3, 1, 4, 4, shortcut, "none", biased=False, variance_steps=0)
    pixels = np.repeat(np.arange(16) * 100, 2 // s_lanes) + np.tile(np.arange(2 // s_lanes), 16)
    return schedule.residual(pixels, replace(block, **changes), s_lanes, pe).tolist()


def test_residuals_without_weights():
    fifo, pool, resize, replay = (schedule.LATENCY[name] for name in ("fifo", "pool", "resize", "replay"))
    assert residual("identity", 2, 2)[:3] == [fifo, 100 + fifo, 200 + fifo]
    assert residual("identity", 2, 1)[:4] == [fifo + resize + k for k in (0, 1, 100, 101)]
    delay = fifo + resize + replay
    assert residual("repeat", 1, 2, out_channels=4)[:4] == [1 + delay + k for k in (0, 1, 100, 101)]
    assert residual("repeat", 2, 1, out_channels=4)[:6] == [delay + k for k in (0, 1, 2, 3, 100, 101)]
    assert residual("pool", 2, 2, stride=2) == [100 * k + pool + fifo for k in (5, 7, 13, 15)]


def test_interval_is_the_slowest_stage():
    network = random_network(member("n", (4, 8), (1, 1), image=8, stem=CIFAR_STEM), 1)
    folding = balance(network, 640)
    timing = schedule.timing(network, folding)
    assert timing.interval == max([*timing.ideal.values(), 64])
    assert timing.ideal[timing.bottleneck] == timing.interval
    use = schedule.utilisation(network, folding, timing.interval)
    assert 0 < use["binary"] <= 1
    assert max(use["stages"].values()) == 1


def test_interval_of_pixels_and_scores():
    """What enters takes a beat a cycle, what leaves one in two."""
    for classes, bottleneck, interval in ((2, "stem", 256), (307, "scores", 614)):
        structure = member("wide", (2,), (1,), image=16, classes=classes, stem=StemForm(3, 2))
        network = random_network(structure, 1, stem_planes=2, head_planes=3)
        timing = schedule.timing(network, balance(network, 614))
        assert (timing.bottleneck, timing.interval) == (bottleneck, interval)
