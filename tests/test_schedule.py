"""The timing formulas' latencies are those that the testbenches measure, and the recurrences do what they say."""

import re
from pathlib import Path

import numpy as np
import pytest
from random_network import random_network

from export import schedule
from export.folding import balance
from golden.structure import reactnet

TB = Path(__file__).resolve().parent.parent / "tb"


@pytest.mark.parametrize("module", sorted(schedule.LATENCY))
def test_latency_is_the_measured_one(module):
    """A testbench that measures a latency keeps it in a constant LATENCY; the formulas must hold the same number."""
    text = (TB / f"test_abbnn_{module}.py").read_text()
    constants = re.findall(r"^LATENCY = (\d+)$", text, re.MULTILINE)
    if module in ("framer", "drop"):  # a skid register with a counter, and wires
        assert not constants
        assert schedule.LATENCY[module] == {"framer": schedule.LATENCY["skid"], "drop": 0}[module]
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


def test_interval_is_the_slowest_stage():
    network = random_network(reactnet("n", (4, 8), (1, 1), image=8, stem_stride=1), 1)
    folding = balance(network, 640)
    timing = schedule.timing(network, folding)
    assert timing.interval == max([*timing.ideal.values(), 64])
    assert timing.ideal[timing.bottleneck] == timing.interval
    use = schedule.utilisation(network, folding, timing.interval)
    assert 0 < use["binary"] <= 1
    assert max(use["stages"].values()) == pytest.approx(timing.interval / timing.interval)
