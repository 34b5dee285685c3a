"""What holds for every file of rtl/: its frame, its testbench, pyverilog reads it, and it multiplies nothing."""

import re

import pytest

from abbnn import paths, verilog
from tools.lint import core_files

HEADER = re.compile(
    r"// (?P<file>\S+) : \S.*\n"
    r"// SPDX-FileCopyrightText: 2026 The abbnn authors\n"
    r"// SPDX-License-Identifier: Apache-2\.0\n"
    r"// Language: Verilog-2005\n"
    r"`resetall\n"
    r"`timescale 1ns / 1ps\n"
    r"`default_nettype none\n"
)
FILES = list(verilog.files().values())


def includes_of(path):
    """Where the headers of this file are."""
    return core_files()[0] if "`include" in path.read_text() else []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_frame(path):
    text = path.read_text()
    assert path.suffix == ".v"
    header = HEADER.match(text)
    assert header, f"{path.name} does not begin with the header of every file"
    assert header["file"] == path.name
    assert text.endswith("\nendmodule\n\n`resetall\n"), f"{path.name} does not end with endmodule and `resetall"
    assert re.findall(r"^\s*module\s+(\w+)", text, re.MULTILINE) == [path.stem]
    for number, line in enumerate(text.splitlines(), 1):
        assert line == line.rstrip(), f"{path.name}:{number}: space at the end"
        assert "\t" not in line, f"{path.name}:{number}: tab"
        assert line.isascii(), f"{path.name}:{number}: not ASCII"


@pytest.mark.parametrize("module", verilog.modules())
def test_has_a_testbench_and_a_description(module):
    assert (paths.TB / f"test_{module}.py").is_file()
    pages = [page.name for page in (paths.CHECKOUT / "docs").rglob("*.md") if f"`{module}`" in page.read_text()]
    assert pages, f"no page of docs/ is about {module}"


@pytest.mark.parametrize("module", verilog.modules())
def test_no_multiplication(module):
    path = verilog.file(module)
    assert verilog.multiplications(path, includes_of(path)) == []


def unnamed_generate_blocks(path, includes=()):
    """`file:line: ...` of every branch or loop body of a generate construct that has no name beginning with gen_."""
    faults = []
    for generate in verilog.nodes(verilog.parse(path, includes), "GenerateStatement"):
        todo = list(generate.items)
        while todo:
            node = todo.pop()
            kind = type(node).__name__
            if kind == "IfStatement":
                branches = [node.true_statement, node.false_statement]
            elif kind == "ForStatement":
                branches = [node.statement]
            else:
                continue
            for branch in branches:
                if type(branch).__name__ == "IfStatement":  # else if
                    todo.append(branch)
                elif branch is not None:
                    if not str(getattr(branch, "scope", None) or "").startswith("gen_"):
                        faults.append(f"{path}:{branch.lineno}: generate block without a name gen_...")
                    todo += getattr(branch, "statements", None) or ()
    return faults


@pytest.mark.parametrize("module", verilog.modules())
def test_generate_blocks_are_named(module):
    path = verilog.file(module)
    assert unnamed_generate_blocks(path, includes_of(path)) == []


@pytest.mark.parametrize(
    ("statement", "operator"),
    [
        ("wire [DATA_WIDTH-1:0] product = s_axis_tdata * data_reg;", "*"),
        ("wire [DATA_WIDTH-1:0] product = s_axis_tdata * 3;", "*"),
        ("wire [DATA_WIDTH-1:0] product = s_axis_tdata / DATA_WIDTH;", "/"),
        ("wire [DATA_WIDTH-1:0] product = s_axis_tdata % 2;", "%"),
        ("wire [DATA_WIDTH-1:0] product = 2 ** s_axis_tdata;", "**"),
        ("wire product = s_axis_tdata[valid_reg * (DATA_WIDTH - 1)];", "*"),
        ("integer k; always @* begin k = s_axis_tdata; k = k * 2; end", "*"),
        ("integer k; always @* for (k = 0; k < s_axis_tdata; k = k + 1) skid_reg = k * 2;", "*"),
        ("function [7:0] f; input [7:0] x; f = x * 2; endfunction wire [7:0] product = f(s_axis_tdata);", "*"),
        ("abbnn_skid skid_inst (.s_axis_tdata(data_reg * skid_reg));", "*"),
    ],
)
def test_planted_multiplication_is_found(tmp_path, statement, operator):
    text = verilog.file("abbnn_skid").read_text()
    path = tmp_path / "abbnn_skid.v"
    path.write_text(text.replace("\nendmodule", f"\n{statement}\nendmodule"))
    line = text[: text.index("\nendmodule")].count("\n") + 2
    assert verilog.multiplications(path) == [f"{path}:{line}: {operator}"]


def test_lines_are_counted_through_an_include(tmp_path):
    (tmp_path / "config.vh").write_text("localparam A = 1;  // one\nlocalparam B = 2;\n")
    path = tmp_path / "top.v"
    path.write_text('module top (input wire a);\n`include "config.vh"\n\nwire b = A * B;\nwire c = a * B;\nendmodule\n')
    assert verilog.multiplications(path, [tmp_path]) == [f"{path}:5: *"]


@pytest.mark.parametrize(
    "statement",
    [
        "localparam SIZE = DATA_WIDTH * 3 / 2 % 5 + 2 ** DATA_WIDTH;",
        "wire [2*DATA_WIDTH-1:0] pair = {2 * DATA_WIDTH{1'b0}};",
        "genvar i; generate for (i = 0; i < 2; i = i + 1) begin : gen_x wire x = s_axis_tdata[i * 2]; end endgenerate",
        "integer k; always @* for (k = 0; k < DATA_WIDTH; k = k + 1) skid_reg[k] = s_axis_tdata[k * 2 / 2];",
        "function [31:0] f; input [31:0] x; f = x * 2; endfunction localparam SIZE = f(DATA_WIDTH);",
        "wire [$clog2(DATA_WIDTH*2)-1:0] x = s_axis_tdata[$clog2(DATA_WIDTH) * 2 +: 1];",
    ],
)
def test_constants_may_be_multiplied(tmp_path, statement):
    path = tmp_path / "abbnn_skid.v"
    text = verilog.file("abbnn_skid").read_text()
    path.write_text(text.replace("\nendmodule", f"\n{statement}\nendmodule"))
    assert verilog.multiplications(path) == []


@pytest.mark.parametrize(
    "statement",
    [
        "generate if (DATA_WIDTH > 1) begin wire x = 1'b0; end endgenerate",
        "generate if (DATA_WIDTH > 1) begin : wide wire x = 1'b0; end endgenerate",
        "generate if (DATA_WIDTH > 1) begin : gen_a wire x = 1'b0; end else begin wire y = 1'b0; end endgenerate",
        "genvar i; generate for (i = 0; i < 2; i = i + 1) begin wire x = 1'b0; end endgenerate",
    ],
)
def test_planted_unnamed_generate_block_is_found(tmp_path, statement):
    path = tmp_path / "abbnn_skid.v"
    text = verilog.file("abbnn_skid").read_text()
    path.write_text(text.replace("\nendmodule", f"\n{statement}\nendmodule"))
    line = text[: text.index("\nendmodule")].count("\n") + 2
    assert unnamed_generate_blocks(path) == [f"{path}:{line}: generate block without a name gen_..."]


def test_parse_error_names_the_file(tmp_path):
    path = tmp_path / "broken.v"
    path.write_text("module broken (input wire a);\nassign = a;\nendmodule\n")
    with pytest.raises(ValueError, match=r"broken\.v: pyverilog: .*line:2"):
        verilog.parse(path)
    with pytest.raises(ValueError, match=r"gone\.v"):
        verilog.parse(tmp_path / "gone.v")
    assert verilog.parse(verilog.file("abbnn_skid")) is not None
