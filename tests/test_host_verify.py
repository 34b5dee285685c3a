"""`abbnn host verify` against a board in software: what it compares, what it says, and what it refuses."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
from device_model import DeviceModel
from random_network import random_network

from abbnn.export.random_network import random_images
from abbnn.golden.model import forward
from abbnn.golden.network import network_hash, save_network
from abbnn.golden.structure import member
from abbnn.host import __main__ as command

STRUCTURE = member("small", (2,), (1,), image=4, classes=3)
NETWORK = random_network(STRUCTURE, 7)
NAME = f"small {network_hash(NETWORK)[:16]}"
IMAGES = random_images(STRUCTURE, 5, 30)
SCORES = forward(NETWORK, IMAGES)["scores"]


@pytest.fixture
def files(tmp_path):
    save_network(NETWORK, tmp_path / "net.safetensors")
    np.save(tmp_path / "images.npy", IMAGES)
    return tmp_path


@pytest.fixture
def board():
    """A board with NETWORK."""
    model = DeviceModel(lambda image: forward(NETWORK, image[None])["scores"][0], 4, 4, 3)
    high, low = divmod(int(network_hash(NETWORK)[:16], 16), 1 << 32)
    model.registers |= {0x08: low, 0x0C: high}
    return model


def verify(files, model, *options):
    words = ["verify", files / "net.safetensors", files / "images.npy", "--port", "DEV", *options]
    return command.main([str(word) for word in words], lambda arguments: nullcontext(model))


def wrong_answers(model, wrong):
    """`wrong` maps the number of a result and its values to those that are given."""
    answer, results = model._answer, iter(range(10**6))

    def changed(kind, tag, payload=b""):
        if kind == 0x84:
            payload = wrong(next(results), np.frombuffer(payload, "<i4").copy()).tobytes()
        answer(kind, tag, payload)

    model._answer = changed


def test_equal(files, board, capsys):
    assert verify(files, board) == 0
    said = capsys.readouterr().out
    assert said.endswith("small: the class and all scores of 30 images, 120 values, are golden's\n")
    assert "expected" not in said
    assert verify(files, board, "--json", "--count", 7) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["line"]["bad_packets"] == 0
    del report["line"]
    network = network_hash(NETWORK)[:16]
    assert report == {"network": network, "images": 7, "values": 28, "equal": True, "differences": []}
    assert board.registers[0x2C] == 37


@pytest.mark.parametrize("value", range(4))
def test_one_value_that_differs(files, board, capsys, value):
    """Any score, or the class alone, of one image: named with what was expected."""

    def wrong(number, values):
        values[value] += number == 17
        return values

    wrong_answers(board, wrong)
    assert verify(files, board, "--json", "--flying", 1) == 1
    report = json.loads(capsys.readouterr().out)
    expected = [*SCORES[17].tolist(), int(SCORES[17].argmax())][value]
    score = None if value == 3 else value
    assert report["differences"] == [{"image": 17, "score": score, "expected": expected, "got": expected + 1}]
    assert report["equal"] is False


def test_many_values_that_differ(files, board, capsys):
    """A table of the first, and how many there are."""
    wrong_answers(board, lambda number, values: values + (number >= 10))
    assert verify(files, board) == 1
    said = capsys.readouterr().out
    assert said.endswith("80 of 120 values differ, in 20 of 30 images\n")
    assert "and 60 more; --json has all" in said
    rows = [line.split("│")[1:-1] for line in said.splitlines() if "score" in line or "class" in line]
    assert len(rows) == command.SHOWN
    assert [cell.strip() for cell in rows[0]] == ["10", "score 0", str(SCORES[10, 0]), str(SCORES[10, 0] + 1)]


@pytest.mark.parametrize(
    ("registers", "message"),
    [
        ({0x08: 0x89ABCDEF, 0x0C: 0x01234567}, f"the board has network 0123456789abcdef, not {NAME}, which is to be"),
        ({0x08: 0, 0x0C: 0}, f"the board has no network yet; {NAME} is to be verified"),
    ],
)
def test_another_network(files, board, capsys, registers, message):
    """Refused in one line, before any image is sent."""
    board.registers |= registers
    assert verify(files, board) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"abbnn host: {message}")
    assert said.err.count("\n") == 1
    assert board.registers[0x2C] == 0


def test_a_load_under_way_is_waited_for(files, board):
    """A board that has just been switched on has no network yet, but soon will."""
    ready, asked = board.registers, []

    class Loading(dict):
        def __getitem__(self, address):
            if address == 0x20:
                asked.append(address)
                return 2 if len(asked) < 5 else 1
            return 0 if address in (0x08, 0x0C) and len(asked) < 5 else ready[address]

    board.registers = Loading(ready)
    assert verify(files, board, "--count", 1) == 0
    assert len(asked) >= 5


def test_what_cannot_be_used(files, board, capsys, monkeypatch):
    assert verify(files, board, "--count", 31) == 2
    assert "images.npy: 30 images, fewer than --count 31" in capsys.readouterr().err
    for option in (["--board", "ulx3s-85f"], ["--network", "x"], ["--cycles", "9"]):
        assert verify(files, board, *option) == 2
        assert capsys.readouterr().err == f"abbnn host: {option[0]} is of a simulated board, --port sim\n"
    np.save(files / "images.npy", IMAGES[:, :3])
    assert verify(files, board) == 2
    assert "images of shape (30, 3, 4, 3), expected (N, 4, 4, 3)" in capsys.readouterr().err


def test_no_board(files, capsys, monkeypatch):
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    words = ["verify", str(files / "net.safetensors"), str(files / "images.npy"), "--port", "/dev/there-is-none"]
    assert command.main(words) == 2
    said = capsys.readouterr().err
    assert said == "abbnn host: /dev/there-is-none: No such file or directory (serial ports here: none)\n"
