"""demo/ without Emscripten: what Verilator and the page are told, and its files. The rest is `make demo-test`."""

import hashlib
import json
import re
import tomllib
import urllib.request
from fnmatch import fnmatch
from threading import Thread

import numpy as np
import pytest
from random_network import random_network

from abbnn import paths
from abbnn.api import shipped_images
from abbnn.demo import __main__ as demo
from abbnn.demo import wasm
from abbnn.errors import UserError
from abbnn.export.folding import balance
from abbnn.export.mem import MANIFEST, STAGES, render
from abbnn.export.pipeline import Pipeline
from abbnn.golden.model import forward
from abbnn.golden.structure import STRIDED_STEM, member

TINY = Pipeline.read(paths.MODELS / "tiny.safetensors")
STRUCTURE = member("small", (2, 4), (1, 1), classes=3, image=(8, 16), stem=STRIDED_STEM)
NETWORK = random_network(STRUCTURE, seed=3, stem_planes=2)
SMALL = Pipeline(NETWORK, balance(NETWORK))
PAGE = {path.name: path for path in demo.PAGE.iterdir()}
BUILT = {*wasm.FILES, demo.NETWORK, demo.MEMORIES, demo.IMAGES}


@pytest.fixture
def core(monkeypatch, tmp_path):
    """In place of a core that Emscripten has made."""
    folder = tmp_path / "core"
    folder.mkdir()
    for name in wasm.FILES:
        (folder / name).write_text(name)
    monkeypatch.setattr(demo, "build", lambda pipeline: folder)


# ---- the core


@pytest.mark.parametrize("pipeline", [TINY, SMALL], ids=["tiny", "small"])
def test_streams_are_those_of_the_stages(pipeline):
    """Widths as the exporter declares them, shapes as the golden model has them."""
    shown = wasm.streams(pipeline)
    widths = re.findall(r"^wire \[(\d+):0\] (\w+)_tdata;", pipeline.headers[STAGES], re.MULTILINE)
    declared = {name: int(high) + 1 for high, name in widths}
    assert {stream.name: stream.lanes * stream.bits for stream in shown} == declared
    structure = pipeline.network.structure
    layers = forward(pipeline.network, np.zeros((1, structure.height, structure.width, 3), np.uint8))
    *maps, head = shown
    assert [(s.height, s.width, s.channels) for s in maps] == [layers[s.name].shape[1:] for s in maps]
    assert head.values == layers["scores"].size + layers["class"].size
    assert all(stream.values % stream.lanes == 0 for stream in shown)


def test_nothing_else_is_kept_visible():
    lines = wasm.visible(wasm.streams(SMALL)).splitlines()
    assert lines[0] == "`verilator_config"
    assert lines[1] == 'public_flat_rd -module "abbnn_core" -var "stem_tdata"'
    assert len(lines) == 1 + 3 * len(SMALL.configs)


def test_without_emscripten(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert demo.main(["--out", str(tmp_path / "page")]) == 2
    error = capsys.readouterr().err
    assert error == "abbnn demo: Emscripten is not installed: apt-get install --no-install-recommends emscripten\n"
    assert not (tmp_path / "page").exists()


# ---- the page's folder


def test_the_page_is_complete(core, tmp_path):
    """All that is written, and every name in it leads to a file that is there; nothing leads out of the folder."""
    out = tmp_path / "page"
    demo.write(SMALL, out)
    there = {path.name for path in out.iterdir()}
    assert there == {*PAGE, *BUILT}
    patterns = {
        "index.html": r'(?:href|src)="([^"]+)"',
        "worker.js": r'(?:importScripts|fetched)\("([^"]+)"\)',
    }
    for name, path in PAGE.items():
        text = path.read_text()
        used = re.findall(patterns.get(name, r'(?:from "\./([^"]+)"|fetched\("([^"]+)"\)|Worker\("([^"]+)"\))'), text)
        for one in used:
            file = one if isinstance(one, str) else "".join(one)
            assert file in there, f"{name} wants {file}"
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text), f"{name} leads elsewhere"
    assert re.search("Content-Security-Policy", PAGE["index.html"].read_text())


def test_elements_are_there():
    """Every element that a script asks for by its name."""
    present = set(re.findall(r'\bid="([^"]+)"', PAGE["index.html"].read_text()))
    asked = {
        name
        for path in PAGE.values()
        if path.suffix == ".js"
        for name in re.findall(r'\bat\("([^"]+)"\)', path.read_text())
    }
    assert len(asked) > 20
    assert asked <= present
    for attribute in ("aria-controls", "aria-labelledby", "aria-describedby", "for"):
        assert set(re.findall(rf'\b{attribute}="([^"]+)"', PAGE["index.html"].read_text())) <= present


def test_what_the_page_knows(core, tmp_path):
    demo.write(TINY, tmp_path / "page")
    known = json.loads((tmp_path / "page" / demo.NETWORK).read_text())
    images, labels = shipped_images(TINY.network)
    layers = forward(TINY.network, images)
    assert known["golden"] == layers["scores"].tolist()
    assert known["labels"] == labels.tolist()
    assert (known["latency"], known["interval"]) == (10597, 4096)
    assert (known["height"], known["width"], len(known["classes"])) == (32, 32, 10)
    assert [stage["name"] for stage in known["stages"]] == [config.name for config in TINY.configs]
    for stage in known["stages"][:-1]:
        share = (np.abs(layers[stage["name"]]) > stage["brightest"]).mean()
        assert 0 < share <= 1 - demo.BRIGHTEST / 100
    assert (tmp_path / "page" / demo.IMAGES).read_bytes() == images.tobytes()


def test_memories_are_the_exports(core, tmp_path):
    demo.write(SMALL, tmp_path / "page")
    memories = json.loads((tmp_path / "page" / demo.MEMORIES).read_text())
    manifest = json.loads(render(SMALL.network, SMALL.folding)[MANIFEST])
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in memories.items()}
    assert digests == {memory["file"]: memory["sha256"] for memory in manifest["memories"]}


def test_classes_without_names(core, tmp_path):
    demo.write(SMALL, tmp_path / "page")
    known = json.loads((tmp_path / "page" / demo.NETWORK).read_text())
    assert known["classes"] == ["class 0", "class 1", "class 2"]
    assert known["labels"] is None


def test_an_earlier_page_is_replaced_and_nothing_else(core, tmp_path):
    out = tmp_path / "page"
    demo.write(SMALL, out)
    (out / "of-an-older-version.js").write_text("")
    demo.write(SMALL, out)
    assert {path.name for path in out.iterdir()} == {*PAGE, *BUILT}
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("")
    with pytest.raises(UserError, match=f"{other}: exists and is no earlier page; it is left alone"):
        demo.write(SMALL, other)
    assert [path.name for path in other.iterdir()] == ["mine"]


def test_served_as_a_browser_wants_it(core, tmp_path):
    """A module is JavaScript, WebAssembly is compiled as it comes; both by their types."""
    demo.write(SMALL, tmp_path / "page")
    with demo.server(tmp_path / "page", 0) as serving:
        Thread(target=serving.serve_forever, daemon=True).start()
        for name, kind in (("", "text/html"), ("app.js", "text/javascript"), ("core.wasm", "application/wasm")):
            with urllib.request.urlopen(f"http://127.0.0.1:{serving.server_port}/{name}") as answer:
                assert answer.headers["Content-Type"].split(";")[0] == kind
                assert answer.headers["Cache-Control"] == "no-cache"
        serving.shutdown()


def test_a_port_that_is_taken(tmp_path):
    with (
        demo.server(tmp_path, 0) as serving,
        pytest.raises(UserError, match=f"port {serving.server_port}: Address already in use"),
    ):
        demo.server(tmp_path, serving.server_port)


def test_the_wheel_holds_the_page():
    """Every file beside the modules is package data."""
    data = tomllib.loads((paths.CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    folder = demo.PAGE.parent
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            name = str(path.relative_to(folder))
            assert any(fnmatch(name, pattern) for pattern in data["abbnn.demo"]), f"{name} is in no wheel"
