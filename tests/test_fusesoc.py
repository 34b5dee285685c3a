"""The FuseSoC core file lists the Verilog as it is, and its generator makes what a target asks for."""

import json
import re
import subprocess
import sys

import pytest

from abbnn import paths, verilog
from abbnn.errors import UserError
from abbnn.export.layout import read_mem
from abbnn.export.mem import read_manifest
from tools import fusesoc_mem

CORE = (paths.CHECKOUT / "abbnn.core").read_text()


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
    assert listed("rtl") == sorted(str(path.relative_to(paths.CHECKOUT)) for path in verilog.files().values())
    assert listed("smoke")
    assert all((paths.CHECKOUT / name).is_file() for name in listed("smoke"))
    assert (paths.CHECKOUT / re.search(r"command: (\S+)", CORE)[1]).is_file()
    version = re.search(r'^version = "(.*)"', (paths.CHECKOUT / "pyproject.toml").read_text(), re.MULTILINE)[1]
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
    assert (paths.CHECKOUT / network).is_file()
    top = re.search(r"toplevel: (\w+)", block)[1]
    assert top in verilog.files() or (paths.TB / f"{top}.v").is_file()


def request(**parameters):
    return {"vlnv": "::abbnn-x:0", "files_root": str(paths.CHECKOUT), "parameters": parameters}


def test_generator(tmp_path):
    """Everything that an export has, and what the smoke bench reads."""
    core = fusesoc_mem.generate(request(network="models/tiny.safetensors", images=1), tmp_path)
    files = [next(iter(file)) for file in core["filesets"]["mem"]["files"]]
    manifest = read_manifest(tmp_path / "mem")
    wanted = {entry["file"] for entry in (*manifest["headers"], *manifest["memories"])}
    assert set(files) == {f"mem/{name}" for name in wanted | {fusesoc_mem.PIXELS, fusesoc_mem.RESULTS}}
    assert all((tmp_path / name).is_file() for name in files)
    assert len(read_mem(tmp_path / "mem" / fusesoc_mem.PIXELS, 32 * 32, 24)) == 1024
    assert len(read_mem(tmp_path / "mem" / fusesoc_mem.RESULTS, 11, 32)) == 11
    for file in core["filesets"]["mem"]["files"]:
        ((name, options),) = file.items()
        assert options.get("copyto") == (None if name.endswith(".vh") else name.removeprefix("mem/"))


TINY = "models/tiny.safetensors"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"network": "models/none.safetensors"}, r"none\.safetensors: No such file"),
        ({"network": "README.md"}, r"README\.md"),
        ({"netwrok": TINY}, "no parameter netwrok"),
        ({}, "the parameter network is missing"),
        ({"network": 1}, "the parameter network is missing"),
        ({"network": TINY, "images": 101}, "images is 101; 100 are shipped"),
        ({"network": TINY, "images": "two"}, "images is 'two', not a whole number from 0 on"),
        ({"network": TINY, "cycles": 0}, "cycles is 0, not a whole number from 1 on"),
    ],
)
def test_generator_refuses(tmp_path, parameters, message):
    with pytest.raises(UserError, match=message):
        fusesoc_mem.generate(request(**parameters), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_generator_as_fusesoc_runs_it(tmp_path):
    """The file by itself, in another folder; JSON is YAML, so that no YAML reader is needed."""
    (tmp_path / "yaml.py").write_text("from json import loads as safe_load\n")
    (tmp_path / "request.yml").write_text(json.dumps(request(network=TINY)))
    command = [sys.executable, str(paths.CHECKOUT / "tools" / "fusesoc_mem.py"), "request.yml"]
    subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, check=True)
    core = json.loads((tmp_path / "abbnn-x.core").read_text().removeprefix("CAPI=2:\n"))
    assert core["name"] == "::abbnn-x:0"
    read_manifest(tmp_path / "mem")


def test_generator_without_yaml(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert fusesoc_mem.main(["fusesoc_mem", "request.yml"]) == 2
    assert capsys.readouterr().err == (
        "fusesoc_mem: PyYAML is missing beside the project's packages: pip install pyyaml\n"
    )
