"""Other tool chains: vendors' memory files, the FuseSoC core file, and the Tcl scripts against recorded commands."""

import json
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_network import random_network

from export.folding import balance
from export.layout import read_mem
from export.mem import MANIFEST, read_manifest
from export.mem import write as write_mem
from export.vendor import KINDS, coe_text, mif_text, read_coe, read_mif, write
from golden.structure import member
from tools import fusesoc_mem, rtl

memories = st.integers(1, 200).flatmap(
    lambda bits: st.tuples(st.just(bits), st.lists(st.integers(0, (1 << bits) - 1), min_size=1, max_size=40))
)


@given(memories)
def test_coe_round_trip(memory):
    bits, words = memory
    assert read_coe(coe_text(words, bits)) == words


@given(memories)
def test_mif_round_trip(memory):
    bits, words = memory
    assert read_mif(mif_text(words, bits)) == (words, bits)


COE = """; A comment line; and more
Memory_Initialization_Radix = 2; binary
MEMORY_INITIALIZATION_VECTOR=
101, 0
 11 ; the end, 1
"""
MIF = """% several
lines : 1; % -- one line
WIDTH=8; DEPTH = 3; -- in words
ADDRESS_RADIX = UNS;
DATA_RADIX = BIN;
content
begin
2 : 11111111; 0 : 00000001;
%between% 1:10; -- done : 3;
end;
"""


def test_what_the_vendors_pages_allow():
    assert read_coe(COE) == [5, 0, 3]
    assert read_mif(MIF) == ([1, 2, 255], 8)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "; nothing",
        "memory_initialization_radix = 16;\n",
        "memory_initialization_radix = 16;\nmemory_initialization_vector = ;\n",
        "memory_initialization_radix = 16;\nmemory_initialization_vector = 1, 2\n",
        "memory_initialization_radix = 8;\nmemory_initialization_vector = 1;\n",
        "memory_initialization_radix = 10;\nmemory_initialization_vector = a;\n",
        "memory_initialization_radix = 16;\nmemory_initialization_vector = 1,,2;\n",
        "memory_initialization_radix = 16;\nmemory_initialization_vector = 1, 2,;\n",
        "memory_initialization_radix = 16;\nmemory_initialization_vector = -1;\n",
        "radix = 16;\ncoefdata = 1;\n",
        "memory_initialization_radix = 16;\nmemory_initialization_vector = 1;\nmore\n",
    ],
)
def test_bad_coe(text):
    with pytest.raises(ValueError, match=r"coe"):
        read_coe(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("DEPTH = 3", "DEPTH = 4"),
        ("DEPTH = 3", "DEPTH = 2"),
        ("DEPTH = 3;", ""),
        ("DEPTH = 3;", "DEPTH = 3; DEPTH = 3;"),
        ("WIDTH=8", "WIDTH=7"),
        ("RADIX = BIN", "RADIX = DEC"),
        ("1:10;", "1:12;"),
        ("1:10;", "1;"),
        ("1:10;", ""),
        ("1:10;", "1:10; 1:10;"),
        ("1:10;", "[1..1] : 10;"),
        ("1:10;", "1 : 10 11;"),
        ("end;", ""),
        ("end;", "3 : 0 end;"),
        ("content", ""),
        ("WIDTH=8;", "WIDTH=8"),
    ],
)
def test_bad_mif(old, new):
    assert old in MIF
    with pytest.raises(ValueError, match=r"mif"):
        read_mif(MIF.replace(old, new, 1))


@pytest.mark.parametrize("text", [coe_text, mif_text])
@pytest.mark.parametrize(("words", "bits"), [([], 4), ([16], 4), ([-1], 4)])
def test_words_that_do_not_fit(text, words, bits):
    with pytest.raises(ValueError, match=r"word"):
        text(words, bits)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    network = random_network(member("small", (4,), (1,), classes=3, image=8), seed=1)
    folder = tmp_path_factory.mktemp("export") / "mem"
    write_mem(network, balance(network), folder)
    return folder


def test_every_memory_is_converted(exported, tmp_path):
    out = tmp_path / "deep" / "vendor"
    memories = read_manifest(exported)["memories"]
    assert len(memories) > 5
    assert write(exported, out) == 2 * len(memories)
    assert write(exported, out) == 2 * len(memories), "an earlier result is replaced"
    for memory in memories:
        words = read_mem(exported / memory["file"], memory["depth"], memory["width"])
        stem = memory["file"].removesuffix(".mem")
        assert read_coe((out / f"{stem}.coe").read_text()) == words
        assert read_mif((out / f"{stem}.mif").read_text()) == (words, memory["width"])
    manifest = json.loads((out / MANIFEST).read_text())
    assert manifest["network_sha256"] == read_manifest(exported)["network_sha256"]
    assert {entry["file"] for entry in manifest["memories"]} | {MANIFEST} == {path.name for path in out.iterdir()}
    assert write(exported, out, ["mif"]) == len(memories)
    assert not list(out.glob("*.coe"))
    assert [path.name for path in out.parent.iterdir()] == ["vendor"]


@pytest.mark.parametrize("kinds", [[], ["hex"], ["coe", "hex"]])
def test_unknown_kinds(exported, tmp_path, kinds):
    with pytest.raises(ValueError, match="coe, mif"):
        write(exported, tmp_path / "out", kinds)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over_or_left_behind(exported, tmp_path):
    """A damaged export, no export, a foreign folder, a foreign file: refused with their names, and nothing changes."""
    damaged = tmp_path / "damaged"
    shutil.copytree(exported, damaged)
    victim = next(damaged.glob("*.mem"))
    victim.write_text(victim.read_text().replace("0", "1"))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "mine.coe").write_text("precious")
    file = tmp_path / "file"
    file.write_text("precious")
    out = tmp_path / "out"
    before = sorted(path.name for path in tmp_path.iterdir())
    for folder, target, named in (
        (damaged, out, victim.name),
        (tmp_path / "none", out, "none"),
        (exported, foreign, "foreign"),
        (exported, file, "file"),
        (exported, exported, exported.name),
    ):
        with pytest.raises(ValueError, match=re.escape(named)):
            write(folder, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (foreign / "mine.coe").read_text() == file.read_text() == "precious"
    assert read_manifest(exported)


# ---- FuseSoC

CORE = (rtl.ROOT / "abbnn.core").read_text()


def section(name, text=CORE, indent=""):
    """The lines below a key of the core file, up to the next key that is no deeper."""
    found = re.search(rf"^{indent}{name}:\n((?:{indent}  .*\n|\n|\s*#.*\n)+)", text, re.MULTILINE)
    assert found, f"abbnn.core has no {name}"
    return found[1]


def listed(fileset):
    block = section(fileset, section("filesets"), "  ")
    inline = re.search(r"files: \[(.*)\]", block)
    return inline[1].split(", ") if inline else re.findall(r"^      - (\S+)$", block, re.MULTILINE)


def test_the_core_file_lists_the_rtl():
    """Without FuseSoC or a YAML reader: the file keeps to a form that this reads."""
    assert CORE.startswith("CAPI=2:\n")
    assert listed("rtl") == sorted(f"rtl/{path.name}" for path in rtl.RTL.glob("*.v"))
    for fileset in ("waivers", "smoke"):
        assert listed(fileset)
        assert all((rtl.ROOT / name).is_file() for name in listed(fileset))
    assert (rtl.ROOT / re.search(r"command: (\S+)", CORE)[1]).is_file()
    version = re.search(r'^version = "(.*)"', (rtl.ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert re.search(r"^name: ::abbnn:(.*)$", CORE, re.MULTILINE)[1] == version


@pytest.mark.parametrize("target", ["lint", "sim", "ecp5"])
def test_targets_refer_to_what_is_there(target):
    block = section(target, section("targets"), "  ")
    filesets = re.search(r"filesets: \[(.*)\]", block)[1].split(", ")
    known = re.findall(r"^  (\w+):$", section("filesets"), re.MULTILINE)
    assert set(filesets) <= set(known)
    generated = re.search(r"generate: \[(\w+)\]", block)[1]
    parameters = section(generated, section("generate"), "  ")
    network = re.search(r"network: (\S+)", parameters)[1]
    assert (rtl.ROOT / network).is_file()
    top = re.search(r"toplevel: (\w+)", block)[1]
    assert any((rtl.ROOT / folder / f"{top}.v").is_file() for folder in ("rtl", "tb"))


def request(**parameters):
    return {"vlnv": "::abbnn-x:0", "files_root": str(rtl.ROOT), "parameters": parameters}


def test_generator(tmp_path):
    """Everything that an export has, and what the smoke bench reads."""
    core = fusesoc_mem.generate(request(network="models/tiny.safetensors", images=1), tmp_path)
    files = [next(iter(file)) for file in core["filesets"]["mem"]["files"]]
    manifest = read_manifest(tmp_path / "mem")
    wanted = {manifest["header"]["file"], *(memory["file"] for memory in manifest["memories"])}
    assert set(files) == {f"mem/{name}" for name in wanted | {fusesoc_mem.PIXELS, fusesoc_mem.RESULTS}}
    assert all((tmp_path / name).is_file() for name in files)
    assert len(read_mem(tmp_path / "mem" / fusesoc_mem.PIXELS, 32 * 32, 24)) == 1024
    assert len(read_mem(tmp_path / "mem" / fusesoc_mem.RESULTS, 11, 32)) == 11
    for file in core["filesets"]["mem"]["files"]:
        ((name, options),) = file.items()
        assert options.get("copyto") == (None if name.endswith(".vh") else name.removeprefix("mem/"))


@pytest.mark.parametrize(
    "parameters", [{"network": "models/none.safetensors"}, {"network": "README.md"}, {"netwrok": 1}]
)
def test_generator_refuses(tmp_path, parameters):
    with pytest.raises((ValueError, OSError), match=r"none|README|netwrok"):
        fusesoc_mem.generate(request(**parameters), tmp_path)
    assert list(tmp_path.iterdir()) == []


# ---- Tcl scripts

VIVADO = [
    *("read_verilog", "read_xdc", "synth_design", "create_clock", "get_ports", "opt_design", "place_design"),
    *("route_design", "report_utilization", "report_timing_summary", "report_timing", "write_checkpoint"),
    "write_bitstream",
]
QUARTUS = [
    *("project_new", "set_global_assignment", "set_instance_assignment", "set_location_assignment"),
    *("set_parameter", "execute_flow", "project_close"),
]
needs_tclsh = pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not installed")


def run_tcl(tmp_path, script, commands, arguments):
    """(exit status, recorded calls as lists of words, stderr) of a script with stubs for the tool's commands.

    A stub that the script does not know is an error, as in the tool.
    """
    harness = tmp_path / "harness.tcl"
    lines = [f"package provide ::quartus::{name} 1.0" for name in ("project", "flow")]
    lines += [f"proc {name} args {{ puts [join [linsert $args 0 CALL {name}] \\t]; return {{}} }}" for name in commands]
    if script == "quartus.tcl":  # quartus_sh gives the arguments so
        lines.append("set quartus(args) $argv; unset argv")
    harness.write_text("\n".join([*lines, f"source {{{rtl.ROOT / 'syn' / script}}}"]) + "\n")
    command = ["tclsh", str(harness), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    calls = [line.split("\t")[1:] for line in result.stdout.splitlines() if line.startswith("CALL\t")]
    return result.returncode, calls, result.stderr


def option(call, name):
    return call[call.index(name) + 1]


SOURCES = sorted(str(path) for path in rtl.RTL.glob("*.v"))


@needs_tclsh
@pytest.mark.parametrize("with_pins", [False, True])
def test_vivado(exported, tmp_path, with_pins):
    arguments = ["-mem", exported, "-out", "out", "-part", "xc7z020clg400-1", "-clock", "125"]
    if with_pins:
        (tmp_path / "pins.xdc").write_text("")
        arguments += ["-xdc", "pins.xdc", "-top", "abbnn_core", "-loadable", "1"]
    status, calls, said = run_tcl(tmp_path, "vivado.tcl", VIVADO, arguments)
    assert (status, said) == (0, "")
    order = [call[0] for call in calls if call[0] not in ("get_ports", "create_clock", "read_xdc")]
    assert order == [name for name in VIVADO if name in order]
    assert ("write_bitstream" in order) == with_pins
    by_name = {call[0]: call for call in calls}
    assert by_name["read_verilog"][1].split() == SOURCES
    synth = by_name["synth_design"]
    assert option(synth, "-top") == ("abbnn_core" if with_pins else "abbnn_axi")
    assert option(synth, "-part") == "xc7z020clg400-1"
    assert option(synth, "-include_dirs") == str(exported)
    assert option(synth, "-verilog_define") == f'ABBNN_MEM_DIR="{exported}"'
    assert option(synth, "-generic") == f"LOADABLE={int(with_pins)}"
    assert ("out_of_context" in synth) == (not with_pins)
    assert ("read_xdc" in by_name) == with_pins
    if not with_pins:
        assert by_name["get_ports"] == ["get_ports", "aclk"]
        assert option(by_name["create_clock"], "-period") == "8.000"
    assert option(by_name["report_utilization"], "-file") == str(tmp_path / "out" / "utilization.rpt")


@needs_tclsh
@pytest.mark.parametrize("with_pins", [False, True])
def test_quartus(exported, tmp_path, with_pins):
    arguments = ["-mem", exported, "-out", "out", "-family", "Cyclone V", "-part", "5CSEMA5F31C6", "-clock", "80"]
    if with_pins:
        (tmp_path / "pins.tcl").write_text("set_location_assignment PIN_AF14 -to clk\n")
        arguments += ["-pins", "pins.tcl", "-top", "abbnn_core"]
    status, calls, said = run_tcl(tmp_path, "quartus.tcl", QUARTUS, arguments)
    assert (status, said) == (0, "")
    assert calls[0] == ["project_new", "abbnn", "-overwrite"]
    assert calls[-2:] == [["execute_flow", "-compile"], ["project_close"]]
    settings = [call[2:] for call in calls if call[0] == "set_global_assignment"]
    assert [value for name, value in settings if name == "VERILOG_FILE"] == SOURCES
    values = dict(settings)
    assert values["FAMILY"] == "Cyclone V"
    assert values["DEVICE"] == "5CSEMA5F31C6"
    assert values["TOP_LEVEL_ENTITY"] == ("abbnn_core" if with_pins else "abbnn_axi")
    assert values["SEARCH_PATH"] == str(exported)
    assert values["VERILOG_MACRO"] == f'ABBNN_MEM_DIR="{exported}"'
    assert ["set_parameter", "-name", "LOADABLE", "0"] in calls
    port = "clk" if with_pins else "aclk"
    sdc = (tmp_path / "out" / "abbnn.sdc").read_text()
    assert sdc == f"create_clock -name {port} -period 12.500 [get_ports {port}]\n"
    names = [call[0] for call in calls]
    assert ("set_location_assignment" in names) == with_pins
    assert ("set_instance_assignment" in names) == (not with_pins)


@needs_tclsh
@pytest.mark.parametrize(("script", "commands"), [("vivado.tcl", VIVADO), ("quartus.tcl", QUARTUS)])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "-mem is missing"),
        (["-mem", "nowhere", "-out", "o", "-part", "p", "-family", "f"], "nowhere: no abbnn_config.vh"),
        (["-mem", "m", "-out", "o", "-part", "p", "-family", "f", "-clock", "fast"], "fast is no frequency"),
        (["-speed", "9"], "no option -speed"),
        (["-mem", "m", "-out"], "-out has no value"),
    ],
)
def test_tcl_usage(tmp_path, script, commands, arguments, said):
    """One line, exit status 2, and none of the tool's commands called."""
    if script == "vivado.tcl":
        arguments = [word for word in arguments if word not in ("-family", "f")]
    status, calls, error = run_tcl(tmp_path, script, commands, arguments)
    assert status == 2
    assert calls == []
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("script", ["vivado.tcl", "quartus.tcl"])
def test_tcl_scripts_say_that_nobody_has_run_them(script):
    head = (rtl.ROOT / "syn" / script).read_text().splitlines()[:8]
    assert any("Never run with" in line for line in head)


def test_kinds():
    assert set(KINDS) == {"coe", "mif"}
