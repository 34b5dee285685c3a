"""The watcher of streams (tb/watch.v) in the testbenches of modules that break a rule while all values are right."""

import numpy as np
import pytest

from abbnn import verilog
from abbnn.tb import watch
from abbnn.tb.streams import Stream, run_streams

DATA, VALID = "assign m_axis_tdata  = data_reg;", "assign m_axis_tvalid = valid_reg;"
INVERTED = "assign m_axis_tdata = data_reg ^ {DATA_WIDTH{m_axis_tvalid && !m_axis_tready}};"
FLICKER = """reg [3:0] cycle = 4'd0;
always @(posedge clk) cycle <= cycle + 4'd1;
assign m_axis_tvalid = valid_reg && (m_axis_tready || cycle != 4'd0);"""
SATURATE = {"LANES": 1, "S_WIDTH": 8, "M_WIDTH": 8}
WIDTH = {"DATA_WIDTH": 8}
FAULTS = {
    "saturate_data": (
        "abbnn_saturate",
        SATURATE,
        "= result_reg;",
        "= result_reg ^ {8{m_axis_tvalid && !m_axis_tready}};",
    ),
    "saturate_high_bit": (
        "abbnn_saturate",
        SATURATE,
        "= result_reg;",
        "= result_reg ^ {m_axis_tvalid && !m_axis_tready, 7'd0};",
    ),
    "saturate_valid": ("abbnn_saturate", SATURATE, VALID, FLICKER),
    "saturate_unknown": ("abbnn_saturate", SATURATE, "valid_reg <= 1'b0;", "valid_reg <= 1'bx;"),
    "skid_data": ("abbnn_skid", WIDTH, DATA, INVERTED),
    "fifo_data": ("abbnn_fifo", WIDTH, DATA, INVERTED),
    "replay_data": ("abbnn_replay", {**WIDTH, "DEPTH": 8, "TIMES": 1}, DATA, INVERTED),
}


@pytest.mark.parametrize("name", FAULTS)
def test_watch_finds(name, tmp_path, capsys):
    module, parameters, old, new = FAULTS[name]
    text = verilog.file(module).read_text()
    assert text.count(old) == 1
    (tmp_path / f"{module}.v").write_text(text.replace(old, new))
    values = np.random.default_rng(1).integers(-128, 128, (2, 8))
    with pytest.raises(SystemExit):
        run_streams(module, parameters, Stream(values, 1, 8), Stream(values, 1, 8), verilog=[tmp_path / f"{module}.v"])
    assert f"watch: {module}.m_axis_watch: " in capsys.readouterr().out


def test_watch_leaves_alone_what_gives_no_stream():
    text = verilog.file("abbnn_crc32").read_text()
    assert watch.watched(text, "abbnn_crc32") == text
    assert watch.watched(text, "abbnn_skid") == text
    skid = verilog.file("abbnn_skid").read_text()
    once = watch.watched(skid, "abbnn_skid")
    assert once.count("watch #") == 1
    assert watch.watched(once, "abbnn_skid") == once
    assert once.count("\n") == skid.count("\n")
