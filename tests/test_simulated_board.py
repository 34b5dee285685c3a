"""`abbnn host --port sim`: the boards' tops on Verilator, which tb/board.py starts and ends."""

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_network import random_network

from abbnn.export.load_image import to_bytes
from abbnn.export.pipeline import Pipeline
from abbnn.export.random_network import random_images
from abbnn.golden.network import network_hash, save_network
from abbnn.golden.structure import member
from abbnn.host import __main__ as host
from abbnn.host import simulated
from abbnn.host.link import Device, Link, LinkError
from abbnn.syn import boards
from abbnn.tb import board, volume

STRUCTURE = member("small", (2, 4), (1, 1), image=4, classes=3)
NETWORK = random_network(STRUCTURE, 7)
IMAGES = random_images(STRUCTURE, 5, 8)
CYCLES = 4096
"""A frame, of the simulated core: one build for all tests."""
BOARD = boards.board(simulated.BOARD)


def rolled(network):
    """The same with its classes in another order."""
    head = network.head
    weights, bias = (np.roll(values, 1, axis=0) for values in (head.weights, head.bias))
    return replace(network, head=replace(head, weights=weights, bias=bias))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    save_network(NETWORK, folder / "net.safetensors")
    save_network(rolled(NETWORK), folder / "other.safetensors")
    np.save(folder / "images.npy", IMAGES)
    np.save(folder / "many.npy", np.repeat(IMAGES, 1000, axis=0))
    return folder


@pytest.fixture(scope="module")
def pipeline(files):
    words = ["status", "--port", "sim", "--network", str(files / "net.safetensors"), "--cycles", str(CYCLES)]
    return simulated.pipeline(host.parser().parse_args(words))


@pytest.fixture(scope="module")
def port(pipeline):
    """Of a board that runs while the module's tests do."""
    with board.simulation(pipeline, BOARD) as port:
        yield port


def command(files, *words):
    """`abbnn host WORDS --port sim`, files of the folder by their names."""
    words = [str(files / word) if Path(word).suffix else word for word in words]
    return board.main([*words, "--port", "sim", "--cycles", str(CYCLES)])


def verify(files, port, capsys):
    """Status and report of `verify` on a board that is there."""
    words = ["verify", str(files / "net.safetensors"), str(files / "images.npy"), "--port", "DEV", "--json"]
    return host.main(words, lambda arguments: nullcontext(port)), json.loads(capsys.readouterr().out)


def test_commands(files, capsys):
    """Each starts a board of its own, which boots the network."""
    assert command(files, "verify", "net.safetensors", "images.npy", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["equal"], report["images"], report["values"]) == (True, 8, 32)
    assert set(report["line"].values()) == {0}
    assert command(files, "classify", "images.npy", "--network", "net.safetensors", "--count", "3", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["counters"] == {"FRAMES": 3, "SHORT_FRAMES": 0, "LONG_FRAMES": 0, "LOADS": 1, "LOAD_ERRORS": 0}
    assert command(files, "load", "other.safetensors", "--network", "net.safetensors") == 0
    assert capsys.readouterr().out.endswith(f"network {network_hash(rolled(NETWORK))[:16]}\n")


def test_another_network(files, capsys):
    assert command(files, "verify", "other.safetensors", "images.npy", "--network", "net.safetensors") == 2
    said = capsys.readouterr()
    for each in (NETWORK, rolled(NETWORK)):
        assert network_hash(each)[:16] in said.err
    assert said.out == ""
    assert said.err.count("\n") == 1


def planted(pipeline, table):
    """The load image, its checksum right, with one bit of `table` wrong: of the middle of its first word."""
    words, at = list(pipeline.load_image), 4  # behind magic, layout and network
    for config in pipeline.configs:
        for name, memory in config.memories.items():
            if name == table:
                words[at + 2] ^= 1 << min(memory.width, 32) // 2
            at += 2 + memory.slices * len(memory.words)
    return [*words[:-1], zlib.crc32(to_bytes(words[:-1]))]


TABLES = [name for config in Pipeline(NETWORK, simulated.default_folding(NETWORK)).configs for name in config.memories]


@pytest.mark.parametrize("table", TABLES)
def test_a_wrong_bit(files, pipeline, port, capsys, table):
    """In one word of a table: verify names images and scores."""
    device = Device(Link(port))
    device.connect()
    device.load(planted(pipeline, table))
    status, report = verify(files, port, capsys)
    assert (status, report["equal"]) == (1, False)
    for found in report["differences"]:
        assert found["expected"] != found["got"]
        assert found["image"] in range(len(IMAGES))
        assert found["score"] in (0, 1, 2, None)


def test_the_right_words_again(files, pipeline, port, capsys):
    device = Device(Link(port))
    device.connect()
    device.load(planted(pipeline, TABLES[0]))
    assert verify(files, port, capsys)[0] == 1
    device.load(pipeline.load_image)
    status, report = verify(files, port, capsys)
    assert (status, report["equal"], report["differences"]) == (0, True, [])


def running(process, program):
    """The child of `process` that runs `program`, if there is one."""
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        for child in thread.read_text().split():
            with suppress(OSError):  # it may just have ended
                if Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0] == bytes(program):
                    return int(child)
    return None


def test_ctrl_c_ends_the_board_too(files, pipeline):
    program = board.build(pipeline, BOARD)
    words = ["host", "classify", files / "many.npy", "--port", "sim", "--network", files / "net.safetensors"]
    command = [sys.executable, "-m", "abbnn", *map(str, words), "--cycles", str(CYCLES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (child := running(process.pid, program)):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "abbnn host: interrupted"
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_simulation_that_ends(pipeline):
    with board.simulation(pipeline, BOARD) as port:
        device = Device(Link(port))
        device.connect()
        port._process.kill()
        with pytest.raises(LinkError, match="the simulated board has ended: exit status -9"):
            device.read("ID")


def test_what_cannot_be_built(files, capsys, monkeypatch, tmp_path):
    def broken(*arguments):
        raise volume.Fault("ulx3s_85f cannot be built, see a.log: error")

    monkeypatch.setattr(board, "BUILD", tmp_path)
    monkeypatch.setattr(board, "compiled", broken)
    assert command(files, "verify", "net.safetensors", "images.npy") == 2
    assert capsys.readouterr().err.endswith("\nabbnn host: ulx3s_85f cannot be built, see a.log: error\n")
    monkeypatch.setattr(board, "BOOT_WORDS_MAX", 300)
    assert command(files, "verify", "net.safetensors", "images.npy") == 2
    assert " words of tables; a board's boot ROM has 300 at most" in capsys.readouterr().err
    assert board.main(["status", "--port", "sim", "--board", "arty"]) == 2
    assert "no board arty" in capsys.readouterr().err


@pytest.mark.skipif(os.environ.get("NIGHTLY") != "1", reason="builds another top (NIGHTLY=1)")
def test_the_other_board(files, capsys):
    assert command(files, "verify", "net.safetensors", "images.npy", "--board", "colorlight-i5") == 0
