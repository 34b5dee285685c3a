"""Every illegal parameter stops elaboration in Icarus, Verilator and Yosys with a message that names it.

The testbenches list what is illegal: BAD_PARAMETERS = [(module, parameters, message)]. Here all of it meets all tools.
The checks are instances of modules that do not exist, named like the message, because that stops every open tool.
"""

import importlib
import re
import shutil

import pytest

from abbnn import paths, verilog
from tools.lint import header_files, rtl_checks

TOOLS = [
    pytest.param(verilog.icarus, id="icarus"),
    pytest.param(verilog.verilator, id="verilator"),
    pytest.param(
        verilog.yosys,
        id="yosys",
        marks=pytest.mark.skipif(shutil.which("yosys") is None, reason="yosys is not installed"),
    ),
]


def bad_parameters():
    """All entries of all testbenches."""
    found = []
    for path in sorted((paths.TB).glob("test_*.py")):
        found += getattr(importlib.import_module(f"abbnn.tb.{path.stem}"), "BAD_PARAMETERS", [])
    return found


BAD_PARAMETERS = bad_parameters()


def entry_id(entry):
    module, parameters, _ = entry
    return "-".join([module, *(f"{name}={value}" for name, value in parameters.items())])


@pytest.mark.parametrize("command", TOOLS)
@pytest.mark.parametrize(("module", "parameters", "message"), BAD_PARAMETERS, ids=map(entry_id, BAD_PARAMETERS))
def test_refused(command, module, parameters, message):
    includes, defines = header_files(module)
    status, said = verilog.run(command(module, parameters, includes=includes, defines=defines))
    assert status != 0, f"{module} accepts {parameters}"
    assert message in said, f"{module} with {parameters} fails, but not with {message}:\n{said}"


@pytest.mark.parametrize("module", [module for module in verilog.modules() if verilog.has_parameters(module)])
def test_every_check_has_an_entry(module):
    """No check of a module goes untried, and a module with parameters has at least one."""
    text = verilog.file(module).read_text()
    checks = set(re.findall(r"^\s*(\w+)\s+param_error\b", text, re.MULTILINE))
    assert checks, f"{module} has parameters, and checks none of them"
    tried = {message for entry, _, message in BAD_PARAMETERS if entry == module}
    assert checks <= tried, f"BAD_PARAMETERS of tb/test_{module}.py lacks {', '.join(sorted(checks - tried))}"


PLANTED = {
    "latch": ("always @* if (enable) state = data;", ["verilator", "yosys"]),
    "asynchronous reset": (
        "always @(posedge clk or posedge rst) if (rst) state <= 8'd0; else state <= data;",
        ["yosys"],
    ),
    "two drivers": ("always @(posedge clk) state <= data;\nassign out = data;", ["yosys"]),
    "width": ("always @(posedge clk) state <= {data, 1'b0};", ["verilator"]),
    "language": ("always @(posedge clk) state <= $countones(data);", ["verilator"]),
    "undeclared": ("always @(posedge clk) state <= missing;", ["verilator", "icarus", "yosys"]),
}


@pytest.mark.parametrize("fault", [*PLANTED, "none"])
def test_lint_finds_planted_faults(tmp_path, monkeypatch, fault):
    """The commands of `make lint` complain about each of these, and about nothing in the same module without it."""
    body, expected = PLANTED.get(fault, ("always @(posedge clk) if (enable || rst) state <= data;", []))
    unused = "" if "enable" in body else "wire unused_enable = &{1'b0, enable};\n"
    unused += "" if "rst" in body else "wire unused_rst = &{1'b0, rst};\n"
    unused += "" if "clk" in body else "wire unused_clk = &{1'b0, clk};\n"
    (tmp_path / "planted.v").write_text(
        "`resetall\n`timescale 1ns / 1ps\n`default_nettype none\n"
        "module planted (input wire clk, input wire rst, input wire enable, input wire [7:0] data,"
        " output wire [7:0] out);\nreg [7:0] state;\nassign out = state;\n"
        f"{unused}{body}\nendmodule\n`resetall\n"
    )
    monkeypatch.setattr(verilog, "RTL", tmp_path)
    monkeypatch.setattr("tools.lint.CORNERS", {"planted": []})
    with_yosys = shutil.which("yosys") is not None
    checks, faults = rtl_checks(["planted"], with_yosys=with_yosys)
    said = {check.title.split(": ")[-1]: check.run() for check in checks}
    assert not faults
    assert set(said) == {"pyverilog", "verilator", "icarus"} | ({"yosys"} if with_yosys else set())
    for tool in expected:
        if tool in said:
            assert said[tool], f"{tool} accepts: {fault}"
    if not expected:
        assert not any(said.values()), said


def test_lint_wants_an_entry_for_every_module(monkeypatch):
    monkeypatch.setattr("tools.lint.CORNERS", {})
    checks, faults = rtl_checks(["abbnn_skid", "abbnn_gone"], with_yosys=False)
    assert not checks
    assert faults[0] == "abbnn_skid: has no entry in tools/lint_corners.py"
    assert faults[1].startswith("abbnn_gone: no such module in rtl/")
