"""Records of streams (tb/collect.py): what a file holds, and what is none. The core's testbench makes real ones."""

import numpy as np
import pytest

from abbnn import verilog
from abbnn.export.layout import pack
from abbnn.tb import collect


def record(folder, bits, lines):
    """With times of 100 ns more from beat to beat."""
    timed = [line if line == "x" else f"{100 * (index + 1):016x}{line}" for index, line in enumerate(lines)]
    (folder / collect.file_name("layer")).write_text("".join(f"{line}\n" for line in (bits, *timed)))


@pytest.mark.parametrize(("lanes", "width"), [(1, 1), (1, 13), (3, 5), (2, 16), (4, 31), (5, 32)])
def test_collect_signed_values(lanes, width, tmp_path, monkeypatch):
    """Of any width in any number of lanes, the extremes among them."""
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(1).integers(-(1 << width - 1), 1 << width - 1, (40, lanes))
    values[0], values[1] = -(1 << width - 1), (1 << width - 1) - 1
    digits = -(-lanes * width // 4)
    record(tmp_path, lanes * width, [f"{word:0{digits}x}" for word in pack(values, width)])
    found = collect.Record.read("layer", lanes)
    assert found.values.tolist() == values.tolist()
    assert found.taken.tolist() == [100 * (index + 1) for index in range(40)]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([], "layer layer: its stream never moved"),
        (["01", "0x"], "layer layer: a beat has unknown bits"),
        (["01", "0Z"], "layer layer: a beat has unknown bits"),
        (["01", "x", "02"], "layer layer: a handshake of its stream was unknown"),
    ],
)
def test_collect_refuses(lines, fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record(tmp_path, 8, lines)
    with pytest.raises(AssertionError, match=fault):
        collect.Record.read("layer", 1)


def test_collect_leaves_other_modules_alone():
    text = verilog.file("abbnn_skid").read_text()
    assert collect.collected(text, "abbnn_fifo", {"layer": "s_axis"}) == text
    assert collect.collected(text, "abbnn_skid", {}) == text
    ports = [f"{side}_axis_t{name}" for side in "sm" for name in ("data", "valid", "ready")]
    assert collect.visible(text, "abbnn_skid") == ["clk", "rst", *ports]
    with_record = collect.collected(text, "abbnn_skid", {"layer": "s_axis"})
    assert collect.visible(with_record, "abbnn_skid") == ["clk", "rst", *ports, collect.FLUSH]
