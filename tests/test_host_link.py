"""The host against a board in software (device_model.py) over a line that loses, doubles and damages bytes."""

import itertools
import json
import random
import re
import struct
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from device_model import WINDOW, DeviceModel, packet

from abbnn.host import __main__ as command
from abbnn.host.link import Device, Link, LinkError, Refused
from abbnn.host.packet import Reason

HEIGHT, WIDTH, CLASSES = 6, 8, 3


def scores(image):
    sums = image.astype(np.int64).sum(axis=(0, 1))
    return np.array([sums[0] - sums[1], sums[1] - sums[2], -(sums[2] << 8)])


def make(**options):
    model = DeviceModel(scores, HEIGHT, WIDTH, CLASSES)
    return model, Device(Link(model, **options))


def images(count, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)


def check(results, sent):
    assert len(results) == len(sent) > 0
    for result, image in zip(results, sent, strict=True):
        np.testing.assert_array_equal(result.scores, scores(image))
        assert result.label == scores(image).argmax()


def noisy(rng, share):
    """A wire: of its bytes this share is lost, doubled, damaged or followed by noise."""

    def wire(byte):
        if rng.random() >= share:
            return bytes([byte])
        other = bytes([byte ^ 1 << rng.randrange(8)])
        return rng.choice([b"", bytes([byte]) * 2, other, bytes([byte]) + rng.randbytes(5)])

    return wire


def test_a_clean_line():
    model, device = make()
    device.connect()
    assert (device.height, device.width, device.classes, device.stages) == (HEIGHT, WIDTH, CLASSES, 3)
    assert device.network() == 0x5566778811223344
    sent, counts = images(40), []
    check(device.classify(sent, flying=8, progress=counts.append), sent)
    assert counts == list(range(1, 41))
    assert model.registers[0x2C] == 40
    assert device.counters() == {"FRAMES": 40, "SHORT_FRAMES": 0, "LONG_FRAMES": 0, "LOADS": 0, "LOAD_ERRORS": 0}
    assert vars(device.link.statistics) == {"repeated": 0, "refused": 0, "silences": 0}
    assert WINDOW // 2 < model.most <= WINDOW, "more on its way than the device has room for, or far less"
    assert model.lost == 0
    assert device.classify(images(0)) == []


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("way", ["to_device", "to_host", "both"])
def test_a_bad_line(seed, way):
    """All results are right, whatever the line does; and it does something."""
    model, device = make(tries=40)
    device.connect()
    rng = random.Random(seed)
    if way != "to_host":
        model.to_device = noisy(rng, 0.002)
    if way != "to_device":
        model.to_host = noisy(rng, 0.005)
    sent = images(60, seed)
    check(device.classify(sent, flying=4), sent)
    assert device.link.statistics.repeated > 0
    for _ in range(30):
        assert device.read("LAYOUT") == 0xCAFE
    device.write("IRQ_ENABLE", 5)
    assert set(model.written) == {(0x24, 5)}


def test_every_byte_of_a_request_lost_or_damaged():
    """Byte by byte: exactly one request suffers, it is repeated, and nothing wrong is written."""
    length = len(packet(3, 1, bytes(6)))
    for index in range(length):
        for wire in (lambda byte: b"", lambda byte: bytes([byte ^ 0x10])):
            model, device = make()
            device.connect()
            position = iter(range(10**6))
            model.to_device = lambda byte, wire=wire, index=index, position=position: (
                wire(byte) if next(position) == index else bytes([byte])
            )
            device.write("IRQ_ENABLE", 0x0000000F)
            assert model.written == [(0x24, 15)]
            assert device.link.statistics.repeated == 1


def test_a_lost_nack_and_a_lost_result():
    """An image whose answer never came is sent again as soon as a later one's has come."""
    model, device = make()
    device.connect()
    answered = []

    def first_answer_lost(kind, tag, payload=b"", answer=model._answer):
        if kind == 0x84:
            answered.append(tag)
            if len(answered) == 1:
                return
        answer(kind, tag, payload)

    model._answer = first_answer_lost
    sent = images(5)
    before = model.now
    check(device.classify(sent, flying=2), sent)
    assert len(answered) == 6
    assert model.now - before < 1.0, "waited for a timeout"
    assert device.link.statistics.silences == 0


def test_a_dead_device():
    model, device = make(tries=3)
    model.dead = True
    with pytest.raises(LinkError, match=r"does not answer \(3 pings\)"):
        device.connect()
    model, device = make(tries=3)
    device.connect()
    model.dead = True
    with pytest.raises(LinkError, match="does not answer"):
        device.classify(images(3))
    assert model.now < 60
    with pytest.raises(LinkError, match="does not answer"):
        device.read("ID")


def test_a_deaf_line():
    """What never comes through ends after a bounded number of tries, and says which image."""
    model, device = make(tries=4)
    device.connect()
    model.to_device = lambda byte: bytes([byte ^ 1]) if byte == 77 else bytes([byte])
    sent = images(3)
    sent[:] = 1
    sent[1] = 77
    with pytest.raises(LinkError, match="image 1 did not come through in 4 tries"):
        device.classify(sent)
    assert model.registers[0x30] == 4


def test_refusals():
    model, device = make()
    device.connect()
    with pytest.raises(Refused, match="the device refuses write: REFUSED") as refused:
        device.write("ID", 1)
    assert refused.value.reason == Reason.REFUSED
    model.registers[0x20] = 0
    with pytest.raises(Refused, match="refuses image 0: NOT_READY"):
        device.classify(images(2))
    with pytest.raises(ValueError, match=r"images of shape \(5, 8, 3\), the core takes \(6, 8, 3\)"):
        device.classify(np.zeros((1, 5, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="0 images under way"):
        device.classify(images(1), flying=0)


@pytest.mark.parametrize(
    ("address", "value", "message"),
    [(0x00, 1, "says that it is 00000001"), (0x04, 0x00020003, "version 2 of the registers")],
)
def test_another_device(address, value, message):
    model, device = make()
    model.registers[address] = value
    with pytest.raises(LinkError, match=message):
        device.connect()


def test_another_protocol():
    model, device = make()
    model._request = lambda kind, tag, payload: model._answer(0x81, tag, bytes([2]) + bytes(15))
    with pytest.raises(LinkError, match="version 2 of the protocol"):
        device.connect()


def test_load():
    model, device = make()
    device.connect()
    words = [0x4C424241, 0xCAFE, *range(2000)]
    device.load(words)
    assert model.loads == [np.array(words, "<u4").tobytes()]
    assert WINDOW // 2 < model.most <= WINDOW
    assert model.lost == 0
    model.after_load = lambda data: False
    with pytest.raises(LinkError, match=r"refused the load image \(1 errors\)"):
        device.load(words)
    with pytest.raises(LinkError, match="for layout 0000beef, the core has 0000cafe"):
        device.load([0x4C424241, 0xBEEF, 0])
    with pytest.raises(LinkError, match="16777224 bytes"):
        device.load([0x4C424241, 0xCAFE] + [0] * (1 << 22))
    assert len(model.loads) == 2


def once(position, damage):
    """A wire that damages the byte of this number."""
    numbers = itertools.count()
    return lambda byte: damage(byte) if next(numbers) == position else bytes([byte])


@pytest.mark.parametrize("seed", range(4))
def test_load_over_a_bad_line(seed):
    """One byte of every load, or of the reads before it, is lost or damaged: one request more each time."""
    model, device = make()
    device.connect()
    rng = random.Random(seed)
    words = [0x4C424241, 0xCAFE, *range(300)]
    payload = np.array(words, "<u4").tobytes()
    reads = 2 * len(packet(2, 0, bytes(2)))
    for count in range(1, 6):
        position = rng.randrange(reads + len(packet(5, 0, payload)))
        model.to_device = once(position, rng.choice([lambda byte: b"", lambda byte: bytes([byte ^ 16])]))
        device.load(words)
        assert device.link.statistics.repeated == count, f"byte {position}"
    assert model.loads == [payload] * 5


# ---- the commands


def run(model, *arguments):
    def opener(arguments):
        assert (arguments.port, arguments.baud) == ("DEV", 3_000_000)
        return nullcontext(model)

    return command.main([str(argument) for argument in arguments], opener)


def test_classify_command(tmp_path, capsys):
    model, _ = make()
    sent, labels = images(6), np.array([scores(image).argmax() for image in images(6)])
    labels[2] = (labels[2] + 1) % CLASSES
    np.savez(tmp_path / "six.npz", images=sent, labels=labels)
    assert run(model, "classify", tmp_path / "six.npz", "--port", "DEV", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["images"], report["right"], report["accuracy"]) == (6, 5, 5 / 6)
    assert [row["scores"] for row in report["results"]] == [scores(image).tolist() for image in sent]
    assert [row["label"] for row in report["results"]] == labels.tolist()
    assert report["counters"]["FRAMES"] == 6
    assert report["line"]["bad_packets"] == 0
    np.save(tmp_path / "six.npy", sent)
    assert run(model, "classify", tmp_path / "six.npy", "--port", "DEV") == 0
    text = capsys.readouterr().out
    assert "images_per_second" in text
    assert "FRAMES" in text
    assert "accuracy" not in text
    assert str(scores(sent[5])[2]) in text


def test_status_command(capsys):
    model, _ = make()
    assert run(model, "status", "--port", "DEV") == 0
    text = capsys.readouterr().out
    assert "STALL[2]" in text
    assert "height=6" in text
    assert run(model, "status", "--port", "DEV", "--json") == 0
    assert json.loads(capsys.readouterr().out)["registers"]["LAYOUT"] == 0xCAFE


def test_registers_command(capsys):
    from abbnn.host.registers import markdown

    assert command.main(["registers"]) == 0
    assert capsys.readouterr().out == markdown()


def test_load_command(tmp_path, capsys):
    from random_network import random_network

    from abbnn.export.folding import balance
    from abbnn.export.pipeline import Pipeline
    from abbnn.golden.network import save_network
    from abbnn.golden.structure import member

    network = random_network(member("small", (4,), (1,), image=8, classes=3), 1)
    save_network(network, tmp_path / "net.safetensors")
    words = Pipeline(network, balance(network)).load_image
    model, _ = make()
    model.registers[0x10] = words[1]
    assert run(model, "load", tmp_path / "net.safetensors", "--port", "DEV", "--cycles", 4096) == 0
    assert model.loads == [np.array(words, "<u4").tobytes()]
    assert f"{4 * len(words):,} bytes" in capsys.readouterr().out


def test_errors_are_one_line(tmp_path, capsys):
    model, _ = make()
    np.save(tmp_path / "wrong.npy", np.zeros((1, 5, 5, 3), np.uint8))
    model.dead = True
    cases = [
        (["status", "--port", "DEV", "--tries", 2], "does not answer (2 pings)"),
        (["classify", tmp_path / "none.npy", "--port", "DEV", "--tries", 2], "does not answer"),
        (["load", tmp_path / "none.safetensors", "--port", "DEV"], "none.safetensors"),
    ]
    for arguments, message in cases:
        assert run(model, *arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert message in said.err
    model, _ = make()
    assert run(model, "classify", tmp_path / "wrong.npy", "--port", "DEV") == 2
    assert "wrong.npy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ports", "listed"), [([], "none"), (["/dev/ttyUSB1", "/dev/ttyACM0"], "/dev/ttyACM0, /dev/ttyUSB1")]
)
def test_no_such_port(monkeypatch, capsys, ports, listed):
    """Said once, with the ports that there are."""
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [SimpleNamespace(device=port) for port in ports])
    assert command.main(["status", "--port", "/dev/there-is-none"]) == 2
    said = capsys.readouterr().err
    assert said == f"abbnn host: /dev/there-is-none: No such file or directory (serial ports here: {listed})\n"


@pytest.mark.parametrize("port", ["/dev/null", "nothing://here"])
def test_no_serial_port(capsys, port):
    assert command.main(["status", "--port", port]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"abbnn host: {port}: ")
    assert said.count("\n") == 1


def test_pyserial_missing(monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "serial", None)
    assert command.main(["status", "--port", "/dev/ttyUSB0"]) == 2
    assert capsys.readouterr().err == "abbnn host: pyserial is not installed: pip install pyserial\n"


class Chatter:
    """A port on which something else never stops talking; time passes with every read."""

    def __init__(self, text):
        self.text, self.now, self.timeout, self.sent = text, 0.0, 1.0, b""

    def clock(self):
        return self.now

    def write(self, data):
        self.sent += data

    def read(self, count):
        self.now += 0.01
        return self.text


@pytest.mark.parametrize("text", [b"login: ", b"\xab\x4e", packet(0xFE, 0, bytes(4)), packet(0x84, 9, bytes(16))])
def test_a_line_that_is_never_silent(text):
    """Another board's console, noise, and packets that bring nothing forward."""
    port = Chatter(text)
    with pytest.raises(LinkError, match="never silent"):
        Device(Link(port, timeout=0.5, tries=3)).connect()
    assert port.now < 10


def test_credits_alone_are_no_progress():
    """A device that says for ever how much it has taken, and never answers, is given up."""
    model, device = make(tries=2)
    device.connect()
    model.dead = True
    talk = itertools.cycle(packet(0xFE, 0, struct.pack("<I", model.consumed)))

    def read(count):
        model.now += 0.01
        return bytes([next(talk)])

    model.read = read
    for work in (lambda: device.classify(images(2)), lambda: device.read("LAYOUT")):
        with pytest.raises(LinkError, match="never silent"):
            work()
        assert model.now < 60


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--timeout", value) for value in ("nan", "inf", "1e10", "0", "-1", "soon")),
        *(("--baud", value) for value in ("9999999999", "0", "fast")),
        *(("--tries", value) for value in ("0", "many")),
    ],
)
def test_numbers_beyond_their_limits(capsys, option, value):
    with pytest.raises(SystemExit):
        command.main(["status", "--port", "/dev/there-is-none", option, value])
    assert re.search(rf"argument {option}: '?{re.escape(value)}'? is not a", capsys.readouterr().err)


def test_labels_beyond_the_classes(tmp_path, capsys):
    model, _ = make()
    np.savez(tmp_path / "x.npz", images=images(2), labels=[0, CLASSES])
    assert run(model, "classify", tmp_path / "x.npz", "--port", "DEV") == 2
    assert f"label {CLASSES} of image 1; the network has {CLASSES} classes" in capsys.readouterr().err
