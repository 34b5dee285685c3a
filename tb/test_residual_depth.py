"""How deep a block's residual FIFO must be: with the room that the argument in docs/architecture.md needs, the attack
(tb/stall.py) is survived; with less, it finds the deadlock.
"""

from pathlib import Path

import cocotb
import pytest
from test_abbnn_block import Case, example

from abbnn import verilog
from abbnn.export.config import block_config
from abbnn.export.folding import Fold
from abbnn.golden.ranges import analyse
from abbnn.tb.stall import Stalls, stalled_rtl
from abbnn.tb.streams import Stream, StreamBench, run_streams

# One beat a pixel or several; rows longer than what the registers of a path hold.
CASES = {
    "identity": Case((2, 2), 3, "identity", "none", 2, Fold(1, 18), size=(4, 24)),
    "repeat": Case((2, 4), 3, "repeat", "none", 1, Fold(2, 18), size=(4, 24)),
    "identity_1x1": Case((16, 16), 1, "identity", "none", 1, Fold(4, 16), size=(3, 4)),
    "repeat_1x1": Case((16, 32), 1, "repeat", "none", 1, Fold(8, 16), size=(3, 4)),
    "pool": Case((2, 2), 3, "pool", "none", 1, Fold(2, 18), size=(4, 24)),
    "pool_conv": Case((2, 4), 3, "pool-conv", "none", 1, Fold(2, 18), Fold(2, 2), size=(4, 24)),
    "conv": Case((2, 4), 3, "conv", "none", 2, Fold(2, 18), Fold(2, 2), size=(2, 96)),
}
SHORT = {"identity": 16, "repeat": 16, "conv": 8}
"""Memory words that are too few, by more than what the registers of the path make up for."""


def room(case: Case) -> int:
    """Words of FIFO memory that are enough, whatever the registers around it hold."""
    direct = case.shortcut in ("identity", "repeat", "pool")
    groups = case.channels[0] // (max(case.s_lanes, case.fold.pe) if direct else case.s_lanes)
    if case.shortcut == "conv":
        pixels = case.size[1] // 2
    elif case.shortcut in ("identity", "repeat") and case.kernel == 3:
        pixels = case.size[1] + 2
    else:
        pixels = 1
    return max(2, pixels * groups)


@cocotb.test()
async def attacked(dut):
    """Frames come out as golden while every stream inside stalls at random."""
    bench = StreamBench(dut)
    stalls = Stalls(dut)
    await bench.reset()
    bench.send_all()
    attack = cocotb.start_soon(stalls.attack(bench, 100 * bench.interval + 10_000))
    await bench.check_all()
    attack.cancel()
    stalls.set(active=False)
    await bench.silent()


def attack(case: Case, folder: Path, depth: int | None = None) -> None:
    """Attack a block, with the residual FIFO's memory of `depth` words or as rtl/ has it; SystemExit if that fails."""
    network, folding, layers = example(case)
    config = block_config(network, analyse(network), folding, 0)
    changes = {}
    if depth is not None:
        values = "localparam integer RESIDUAL_DEPTH = RESIDUAL_PIXELS * (IN_CHANNELS / KEPT_LANES) + PATH_BEATS;"
        shortcut = ".DEPTH(FIFO_PIXELS * S_GROUPS + PATH_BEATS)"
        changes = {
            "abbnn_block": (values, f"localparam integer RESIDUAL_DEPTH = {depth};"),
            "abbnn_shortcut": (shortcut, f".DEPTH({depth})"),
        }
    with stalled_rtl(folder, changes):
        run_streams(
            "abbnn_block",
            {**config.parameters, "PREFIX": "block00"},
            Stream(layers["stem"], case.s_lanes, network.value_width),
            Stream(layers["block00"], case.fold.pe, network.value_width),
            interval=layers["stem"][0].size,
            modules=["test_residual_depth"],
            tables={file: memory.text for file, memory in config.memories.items()},
            testcase="attacked",
        )


@pytest.mark.parametrize("name", CASES)
def test_residual_depth_is_enough(name, tmp_path):
    attack(CASES[name], tmp_path, room(CASES[name]))


@pytest.mark.parametrize("name", SHORT)
def test_residual_depth_too_small_is_found(name, tmp_path, capsys):
    """The attack reports a standstill, and names the streams that wait."""
    with pytest.raises(SystemExit):
        attack(CASES[name], tmp_path, SHORT[name])
    said = capsys.readouterr().out
    assert "stuck: nothing has moved" in said
    assert "fork_inst.m0_axis" in said or "fork_inst.m1_axis" in said


def test_stalled_rtl_refuses_a_stream_without_a_producer(tmp_path, monkeypatch):
    """A module whose output stream comes from an expression in a port list would have no valve."""
    (tmp_path / "abbnn_skid.v").write_text(
        verilog.file("abbnn_skid").read_text().replace("assign m_axis_tvalid = valid_reg;", "")
    )
    monkeypatch.setattr("abbnn.verilog.RTL", tmp_path)
    with pytest.raises(ValueError, match="abbnn_skid: what makes the stream m_axis"), stalled_rtl(tmp_path / "out"):
        pass
