"""The three ways of `make proof`: each finds a planted multiplication by itself, and none finds one in rtl/.

What runs Yosys is skipped without it; a family that this Yosys infers no DSP for is skipped where that is the question.
"""

import argparse
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from random_network import random_network

from abbnn import paths, verilog
from abbnn.executor import Workers
from abbnn.export.folding import balance
from abbnn.golden.network import save_network
from abbnn.golden.structure import STRIDED_STEM, member
from abbnn.syn import proof, yosys
from abbnn.syn.__main__ import main
from abbnn.syn.cells import FAMILIES
from abbnn.syn.proof import Cell, Find, Subject
from abbnn.syn.yosys import executable

try:
    executable()
    INSTALLED = True
except FileNotFoundError:
    INSTALLED = False

needs_yosys = pytest.mark.skipif(not INSTALLED, reason=verilog.INSTALL["yosys"])

NETWORK = random_network(member("small", (4, 6), (1, 1), image=8, stem=STRIDED_STEM, classes=3), 1)

# The last stage of abbnn_qprelu's lane gets what is planted: every network has it, and it is in the data path.
MODULE = "abbnn_qprelu"
TAKES = "result_reg       <= result_next;"
PLANTS = {
    "signals": ("result_reg <= result_next * after_4_reg[M_WIDTH-1:0];", "*", "$mul"),
    "constant": ("result_reg <= result_next * 11;", "*", "$mul"),
    "power_of_two": ("result_reg <= result_next * (1 << SHIFT_WIDTH);", "*", "$mul"),
    "division": ("result_reg <= result_next / after_4_reg[M_WIDTH-1:0];", "/", "$div"),
    "modulo": ("result_reg <= result_next % after_4_reg[M_WIDTH-1:0];", "%", "$mod"),
    "function": ("result_reg <= planted(result_next);", "*", "$mul"),
    "function_of_constant": ("result_reg <= result_next ^ hidden(3);", "*", "$mul"),
}
FUNCTIONS = """function [M_WIDTH-1:0] planted;
    input [M_WIDTH-1:0] x;
    planted = x * x;
endfunction
function [31:0] hidden;
    input [31:0] x;
    hidden = x * s_axis_tdata;
endfunction
"""


def planted(folder: Path, statement: str) -> int:
    """Copy rtl/ to `folder` with the statement planted; its line."""
    shutil.copytree(verilog.RTL, folder)
    path = folder / "nn" / f"{MODULE}.v"
    text = path.read_text()
    assert text.count(TAKES) == 1
    used = FUNCTIONS if "planted(" in statement or "hidden(" in statement else ""
    text = text.replace(TAKES, statement).replace("\ngenvar i;\n", f"\n{used}genvar i;\n", 1)
    path.write_text(text)
    return text[: text.index(statement)].count("\n") + 1


def subject(folder: Path) -> Subject:
    return Subject("planted", NETWORK, balance(NETWORK), folder)


@pytest.fixture(scope="module")
def includes(tmp_path_factory) -> list[Path]:
    """Folder with the header of the network."""
    folder = tmp_path_factory.mktemp("header")
    for name, text in subject(verilog.RTL).memories.items():
        (folder / name).write_text(text)
    return [folder]


# ---- syntax tree ----------------------------------------------------------------------------------------------------


def test_syntax_tree_finds_nothing_in_rtl(includes) -> None:
    files, finds = proof.syntax_tree(verilog.RTL, includes)
    assert files == len(verilog.modules())
    assert finds == []


@pytest.mark.parametrize("name", PLANTS)
def test_syntax_tree_finds_what_is_planted(tmp_path, includes, name) -> None:
    statement, operator, _ = PLANTS[name]
    line = planted(tmp_path / "rtl", statement)
    path = tmp_path / "rtl" / "nn" / f"{MODULE}.v"
    _, finds = proof.syntax_tree(tmp_path / "rtl", includes)
    if "function" in name:
        which = "planted = x" if name == "function" else "hidden = x"
        line = path.read_text()[: path.read_text().index(which)].count("\n") + 1
    assert Find(f"{path}:{line}", operator) in finds


def test_syntax_tree_reads_every_form(tmp_path, includes) -> None:
    """What only one `ifdef selects is looked at."""
    shutil.copytree(verilog.RTL, tmp_path / "rtl")
    path = tmp_path / "rtl" / "stream" / "abbnn_skid.v"
    hidden = "`ifdef ABBNN_LUT4\nwire [1:0] p = m_axis_tdata * s_axis_tdata;\n`endif"
    path.write_text(path.read_text().replace("\nendmodule", f"\n{hidden}\nendmodule"))
    _, finds = proof.syntax_tree(tmp_path / "rtl", includes)
    assert [find.what for find in finds] == ["*"]


def test_a_folder_without_verilog_is_an_error(tmp_path) -> None:
    with pytest.raises(ValueError, match="no Verilog files"):
        proof.syntax_tree(tmp_path, [])


# ---- netlists -------------------------------------------------------------------------------------------------------


@needs_yosys
@pytest.mark.parametrize("defines", [(), ("ABBNN_LUT4",)])
def test_elaborated_netlist_of_rtl_holds_none(defines) -> None:
    for parameters in subject(verilog.RTL).forms:
        result = proof.elaborated(subject(verilog.RTL), defines, parameters)
        assert result.finds == ()
        assert result.looked_at > 1000
        assert not set(result.inventory or ()) & {f"${cell}" for cell in proof.MULTIPLIERS}


@needs_yosys
@pytest.mark.parametrize("name", PLANTS)
def test_elaborated_netlist_shows_what_is_planted(tmp_path, name) -> None:
    statement, _, cell = PLANTS[name]
    planted(tmp_path / "rtl", statement)
    result = proof.elaborated(subject(tmp_path / "rtl"), (), {})
    assert any(find.what == cell and find.where.startswith(f"{MODULE}.v:") for find in result.finds)


@needs_yosys
@pytest.mark.parametrize("family", FAMILIES)
def test_dsp_inference_shows_what_is_planted(tmp_path, family) -> None:
    _, dsp = proof.seeing_tool(family)
    if not dsp:
        pytest.skip(f"no Yosys here infers DSPs for {family}")
    planted(tmp_path / "rtl", PLANTS["signals"][0])
    result = proof.inferred(subject(tmp_path / "rtl"), family, {})
    assert not result.blind
    assert any(re.fullmatch(proof.DSP[family], find.what) for find in result.finds)


@needs_yosys
def test_a_product_too_small_for_a_dsp_is_found_behind_inference(tmp_path) -> None:
    """iCE40's inference leaves narrow products to LUTs: what they become is found all the same."""
    planted(tmp_path / "rtl", "result_reg <= result_next[2:0] * after_4_reg[2:0];")
    result = proof.inferred(subject(tmp_path / "rtl"), "ice40", {})
    assert [find.what for find in result.finds if find.what.startswith("$mul") or "$macc" in find.what]


@needs_yosys
@pytest.mark.parametrize("family", ["xc7", "ecp5", "ice40"])
def test_mapped_netlist_shows_what_is_planted(tmp_path, family) -> None:
    """Of the one stage that has the planted module and nothing before it."""
    planted(tmp_path / "rtl", PLANTS["signals"][0])
    where = subject(tmp_path / "rtl")
    result = proof.mapped(where, family, Workers(), tmp_path / "cache", stages=["block00"])
    assert [find.where for find in result.finds] == [f"block00: {MODULE}"]
    clean = proof.mapped(subject(verilog.RTL), family, Workers(), tmp_path / "cache", stages=["block00"])
    assert clean.finds == ()


@needs_yosys
@pytest.mark.parametrize(
    ("family", "sees"), [("xc7", "DSP48E1"), ("ecp5", "MULT18X18D"), ("ice40", "SB_MAC16"), ("gowin", "MULT18X18")]
)
def test_the_control_becomes_a_dsp(family, sees) -> None:
    tool, dsp = proof.seeing_tool(family)
    if family == "gowin" and not dsp:
        assert not any(tuple(map(int, yosys.version(each).split(".")[:2])) >= (0, 70) for each in yosys.tools())
        pytest.skip(f"Yosys {yosys.version(tool)} infers no DSP for {family}")
    assert sees in dsp


@needs_yosys
@pytest.mark.parametrize("family", FAMILIES)
def test_no_step_behind_the_cut_is_about_dsps(family) -> None:
    """Yosys' own description of the command, from the step on that the proof stops before."""
    command = FAMILIES[family].command.split()[0]
    tool, _ = proof.seeing_tool(family)
    said = subprocess.run(
        [tool, "-Q", "-T", "-p", f"help {command}"], capture_output=True, text=True, check=True
    ).stdout
    before, cut, behind = said.partition(f"\n    {FAMILIES[family].memory_label}:")
    assert cut
    assert "dsp" not in behind
    assert ("dsp" in before.partition("The following commands")[2]) == bool(proof.seeing_tool(family)[1])


@needs_yosys
def test_a_check_that_sees_nothing_is_a_fault(monkeypatch) -> None:
    monkeypatch.setattr(proof, "seeing_tool", lambda family: (executable(), ""))
    result = proof.inferred(subject(verilog.RTL), "xc7", {})
    assert result.blind
    assert any("sees nothing" in find.what for find in result.finds)


def test_products_of_macc_are_told_from_addends() -> None:
    sums = "34'0000100000000001000000001010000100"  # three addends: of 10, 4 (shown as 8) and 8 bits
    product = "14'10001000000100"  # 8 x 8 bits
    assert proof.products(Cell("$macc", "", {"CONFIG": sums, "CONFIG_WIDTH": "34"})) == 0
    assert proof.products(Cell("$macc", "", {"CONFIG": product, "CONFIG_WIDTH": "14"})) == 1
    assert proof.products(Cell("$macc_v2", "", {"NPRODUCTS": "1"})) == 1
    assert proof.products(Cell("$macc_v2", "", {"NPRODUCTS": "0"})) == 0
    with pytest.raises(ValueError, match="unknown CONFIG"):
        proof.products(Cell("$macc", "a.v:3", {"CONFIG": product, "CONFIG_WIDTH": "13"}))


def test_an_unknown_cell_and_an_empty_netlist_are_no_proof() -> None:
    def stat(cells: dict[str, int]) -> str:
        return json.dumps({"creator": "", "modules": {"\\abbnn_add": {"num_cells_by_type": cells}}})

    kinds, finds = proof.judge(stat({"$add": 2, "MYSTERY": 1}), "", "xc7")
    assert kinds.total() == 3
    assert finds == [Find("abbnn_add", "MYSTERY: unknown cell")]
    assert proof.judge(stat({"$add": 2, "LUT6": 1}), "", "xc7")[1] == []
    assert proof.judge(stat({"$add": 2, "LUT6": 1}), "", None)[1] == [Find("abbnn_add", "LUT6: unknown cell")]
    with pytest.raises(ValueError, match="netlist is empty"):
        proof.judge(stat({}), "", "xc7")
    with pytest.raises(ValueError, match=re.escape("counts 0 $mul and shows 1")):
        proof.judge(stat({"$add": 1}), "  cell $mul $m\n  end\n", None)


# ---- command line ---------------------------------------------------------------------------------------------------


@needs_yosys
def test_command_says_what_and_where(tmp_path, monkeypatch, capsys) -> None:
    save_network(NETWORK, tmp_path / "net.safetensors")
    planted(tmp_path / "rtl", PLANTS["constant"][0])
    monkeypatch.setattr(proof, "FAMILIES", {"ecp5": FAMILIES["ecp5"]})
    arguments = [str(tmp_path / "net.safetensors"), "--quick", "--out", str(tmp_path / "out.json"), "--jobs", "1"]
    assert main(["proof", *arguments, "--rtl", str(tmp_path / "rtl")]) == 1
    said = capsys.readouterr()
    assert re.search(rf"net, syntax tree, all forms: \S*{MODULE}\.v:\d+: \*$", said.err, re.MULTILINE)
    assert re.search(rf"net, elaborated, ABBNN_LUT4: {MODULE}\.v:\d+: \$mul$", said.err, re.MULTILINE)
    assert re.search(rf"net, inferred, ecp5: {MODULE}\.v:\d+: ", said.err, re.MULTILINE)
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["multipliers"] == sum(len(each["finds"]) for each in report["results"]) > 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.safetensors"], "gone.safetensors"),
        (["--rtl", "nowhere"], "has no abbnn_core.v"),
        (["--fold", "f.json", "a.safetensors", "b.safetensors"], "needs one network"),
    ],
)
@needs_yosys
def test_bad_arguments_are_one_line(capsys, arguments, message) -> None:
    assert main(["proof", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_shipped_networks_are_the_default() -> None:
    parser = argparse.ArgumentParser()
    proof.add_arguments(parser)
    subjects = proof.subjects_of(parser.parse_args([]))
    assert [each.name for each in subjects] == ["reactnet18", "small", "tiny"]
    assert not proof.is_frozen(paths.MODELS / "tiny.pt")
