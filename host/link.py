"""A device at the other end of a serial port: reliable requests over an unreliable line.

`Link` sends packets, watches the device's receive buffer and repeats what was lost; `Device` knows the registers,
images and results. Neither knows what the port is: anything with `read(count)`, `write(data)` and `timeout` serves.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from abbnn.errors import UserError
from abbnn.host.packet import DAMAGE, MAX_LENGTH, OVERHEAD, VERSION, Decoder, Identity, Packet, Reason, Type, encode
from abbnn.host.registers import (
    IDENTITY,
    SOFT_RESET,
    STATUS_LOADING,
    STATUS_READY,
    VERSION_MAJOR,
    Register,
    expanded,
    find,
)

COUNTERS = ("FRAMES", "SHORT_FRAMES", "LONG_FRAMES", "LOADS", "LOAD_ERRORS")


SILENCE = 10
"""Times `quiet`, beside the timeout: what an earlier host has left takes no longer."""


class LinkError(UserError):
    """The device does not answer, or refuses; one line."""


class Refused(LinkError):
    """The device has answered that it will not, whatever the line does."""

    def __init__(self, what: str, reason: int) -> None:
        self.reason = reason
        name = Reason(reason).name if reason in Reason.__members__.values() else f"reason {reason}"
        super().__init__(f"the device refuses {what}: {name}")


class Port(Protocol):
    """As pyserial's: `read` gives at most `count` bytes, fewer after `timeout` seconds."""

    timeout: float | None

    def read(self, count: int, /) -> bytes: ...

    def write(self, data: bytes, /) -> object: ...


@dataclass
class Statistics:
    """What the line cost."""

    repeated: int = 0
    """Requests that were sent again."""
    refused: int = 0
    """Damaged packets that the device has answered with a NACK."""
    silences: int = 0
    """Times that the device did not answer."""


@dataclass(frozen=True)
class Result:
    """Of one image: `label` is the class that the device gives, `scores` (classes,) int32."""

    label: int
    scores: NDArray[np.int32]


class Link:
    """Packets to a device and back.

    The device takes at most `window` bytes that it has not worked off. How much it has is known from its credits and
    from its answers: what was sent up to a request has been taken when the request is answered. After `timeout`
    seconds without progress the link waits until the line has been silent for `quiet` seconds, longer than the device
    keeps a packet open, and asks anew with a ping, which there is always room for. A line that is not silent in time is
    no device's. Seconds are those of `clock`; by default the port's, where it has a `clock` of its own, as a simulated
    board has.
    """

    def __init__(
        self,
        port: Port,
        *,
        timeout: float = 2.0,
        quiet: float = 0.4,
        tries: int = 5,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.port = port
        self.timeout = timeout
        self.quiet = quiet
        self.tries = tries
        self.clock: Callable[[], float] = getattr(port, "clock", time.monotonic) if clock is None else clock
        self.decoder = Decoder()
        self.statistics = Statistics()
        self.window = 0
        self._sent = 0
        self._taken = 0
        self._base = 0
        self._tag = 0
        self._ends: dict[int, int] = {}
        self._inbox: deque[Packet] = deque()

    # ---- receiving

    def _receive(self, seconds: float) -> bool:
        """Reads what comes in at most that time into the inbox; whether anything came."""
        self.port.timeout = max(seconds, 0.0)
        data = self.port.read(max(1, int(getattr(self.port, "in_waiting", 0))))
        for packet in self.decoder.feed(bytes(data)) if data else ():
            self._enter(packet)
        return bool(data)

    def _enter(self, packet: Packet) -> None:
        if packet.type == Type.CREDIT and len(packet.payload) == 4:
            taken = (int.from_bytes(packet.payload, "little") - self._base) % 2**32
            # A credit from before the last ping seems to be far ahead.
            if taken <= self._sent:
                self._taken = max(self._taken, taken)
        else:
            end = self._ends.pop(packet.tag, None)
            if end is not None:
                self._taken = max(self._taken, end)
        self._inbox.append(packet)

    def next_packet(self, seconds: float | None = None) -> Packet | None:
        """The next packet from the device, or None if none comes in that time (default: the link's timeout)."""
        deadline = self.clock() + (self.timeout if seconds is None else seconds)
        while not self._inbox:
            left = deadline - self.clock()
            if left <= 0:
                self.statistics.silences += 1
                return None
            self._receive(left)
        return self._inbox.popleft()

    # ---- sending

    def _new_tag(self) -> int:
        self._tag = (self._tag + 1) % 256
        return self._tag

    def send(self, kind: int, payload: bytes = b"") -> int | None:
        """Sends one packet as room for it appears; its tag, or None if the device has fallen silent in between.

        Packets that come meanwhile wait for `next_packet`.
        """
        tag = self._new_tag()
        data = encode(kind, tag, payload)
        self._ends[tag] = self._sent + len(data)
        sent = 0
        # A crumb a credit would be slow: whole packets, or a quarter of the window.
        wanted = min(len(data), max(self.window // 4, 1))
        while sent < len(data):
            room = self.window - (self._sent - self._taken)
            if room < min(wanted, len(data) - sent):
                before, deadline = self._taken, self.clock() + self.timeout
                while self._taken == before:
                    left = deadline - self.clock()
                    if left <= 0:
                        self.statistics.silences += 1
                        return None
                    self._receive(left)
                continue
            piece = data[sent : sent + room]
            self.port.write(piece)
            sent += len(piece)
            self._sent += len(piece)
        return tag

    def request(self, kind: int, payload: bytes = b"") -> bytes:
        """The payload of the answer. Repeats a damaged or lost request; LinkError when that does not help.

        Packets that are no answer to it are dropped: nothing else may be under way.
        """
        for attempt in range(self.tries):
            if attempt:
                self.statistics.repeated += 1
            tag = self.send(kind, payload)
            answer = None if tag is None else self._answer(tag)
            if answer is None:
                self.synchronise()
            elif answer.type == Type.NACK:
                self._judge(answer, Type(kind).name.lower())
            elif answer.type == kind + 0x80:
                return answer.payload
        raise LinkError(f"no {Type(kind).name.lower()} came through in {self.tries} tries")

    def _answer(self, tag: int) -> Packet | None:
        deadline, taken = self.clock() + self.timeout, self._taken
        while True:
            packet = self.next_packet(deadline - self.clock())
            if packet is None or (packet.tag == tag and packet.type != Type.CREDIT):
                return packet
            if self._taken > taken:
                deadline, taken = self.clock() + self.timeout, self._taken

    def _judge(self, nack: Packet, what: str) -> None:
        """Raises if the refusal is for good."""
        reason = nack.payload[0] if nack.payload else 0
        if reason not in DAMAGE:
            raise Refused(what, reason)
        self.statistics.refused += 1

    def synchronise(self) -> Identity:
        """Waits for silence, then asks for the state of the device's buffer. LinkError if either does not come."""
        for _ in range(self.tries):
            deadline = self.clock() + self.timeout + SILENCE * self.quiet
            while self._receive(self.quiet):
                if self.clock() > deadline:
                    raise LinkError("the line is never silent: another device's, or another speed's (--port, --baud)")
            self.decoder.flush()
            self._inbox.clear()
            identity = self.ping()
            if identity is not None:
                return identity
        raise LinkError(f"the device does not answer ({self.tries} pings)")

    def ping(self) -> Identity | None:
        """What the device says of itself, None if it says nothing. Nothing else may be under way."""
        tag = self._new_tag()
        self.port.write(encode(Type.PING, tag))
        answer = self._answer(tag)
        if answer is None or answer.type != Type.IDENTITY:
            return None
        try:
            identity = Identity.from_bytes(answer.payload)
        except UserError:
            return None
        if identity.version != VERSION:
            raise LinkError(f"the device speaks version {identity.version} of the protocol, this host {VERSION}")
        if identity.window <= OVERHEAD:
            raise LinkError(f"the device has room for {identity.window} bytes only")
        self.window = identity.window
        self._sent = self._taken = 0
        self._base = identity.consumed
        self._ends.clear()
        return identity


class Device:
    """A board with a core. `connect` comes first."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.identity: Identity | None = None
        self.height = self.width = self.classes = self.stages = self.layout = 0

    def connect(self) -> None:
        """Finds the device and what its core is. LinkError if there is none, or another kind of device."""
        # The first tries may meet the rest of what an earlier host has left.
        self.identity = self.link.ping() or self.link.synchronise()
        found = self.read("ID")
        if found != IDENTITY:
            raise LinkError(f"the device says that it is {found:08x}, not {IDENTITY:08x}")
        major = find("VERSION").decode(self.read("VERSION"))["major"]
        if major != VERSION_MAJOR:
            raise LinkError(f"the device has version {major} of the registers, this host {VERSION_MAJOR}")
        image, shape = find("IMAGE").decode(self.read("IMAGE")), find("SHAPE").decode(self.read("SHAPE"))
        self.height, self.width = image["height"], image["width"]
        self.classes, self.stages = shape["classes"], shape["stages"]
        self.layout = self.read("LAYOUT")

    # ---- registers

    def read(self, register: str | Register) -> int:
        one = find(register) if isinstance(register, str) else register
        answer = self.link.request(Type.READ, struct.pack("<H", one.offset))
        if len(answer) != 4:
            raise LinkError(f"{one.name}: a value of {len(answer)} bytes")
        return int.from_bytes(answer, "little")

    def write(self, register: str | Register, value: int) -> None:
        """Once or, if the answer was lost, more than once."""
        one = find(register) if isinstance(register, str) else register
        self.link.request(Type.WRITE, struct.pack("<HI", one.offset, value))

    def network(self) -> int:
        """First 64 bits of the network's sha256, 0 if there is none yet. What is being loaded is waited for."""
        self._settled()
        return self.read("NETWORK_HI") << 32 | self.read("NETWORK_LO")

    def counters(self) -> dict[str, int]:
        return {name: self.read(name) for name in COUNTERS}

    def registers(self) -> dict[str, int]:
        """All of them, STALL of every stage."""
        return {register.name: self.read(register) for register in expanded(self.stages)}

    def soft_reset(self) -> None:
        self.write("CONTROL", SOFT_RESET)

    def _settled(self) -> int:
        """STATUS when no load is under way. LinkError if one does not end."""
        deadline = self.link.clock() + self.link.timeout
        while (status := self.read("STATUS")) & STATUS_LOADING:
            if self.link.clock() > deadline:
                raise LinkError("the core does not finish its load")
        return status

    # ---- network

    def load(self, words: Sequence[int], progress: Callable[[], object] = lambda: None) -> None:
        """Gives the core new tables: the words of `export.load_image`. LinkError if it does not take them."""
        payload = np.asarray(words, "<u4").tobytes()
        if len(payload) > MAX_LENGTH:
            raise LinkError(f"a load image of {len(payload)} bytes; {MAX_LENGTH} at most go through the link")
        if len(words) > 1 and words[1] != self.layout:
            raise LinkError(f"the load image is for layout {words[1]:08x}, the core has {self.layout:08x}")
        errors = self.read("LOAD_ERRORS")
        loads = self.read("LOADS")
        self.link.request(Type.LOAD, payload)
        progress()
        status = self._settled()
        # A counter that has reached its end no longer counts.
        counted = self.read("LOADS") > loads or loads == 0xFFFF
        if not status & STATUS_READY or not counted:
            raise LinkError(f"the core has refused the load image ({self.read('LOAD_ERRORS') - errors} errors)")

    # ---- images

    def classify(
        self, images: NDArray[np.uint8], *, flying: int = 4, progress: Callable[[int], object] = lambda count: None
    ) -> list[Result]:
        """Results of `images` (N, height, width, 3), in their order; `flying` images are under way at once.

        Damaged, dropped and unanswered images are sent again, each at most as often as the link's tries. LinkError when
        that does not help; UserError for images of another size. `progress` is told how many results have come.
        """
        if images.ndim != 4 or images.shape[1:] != (self.height, self.width, 3):
            raise UserError(f"images of shape {images.shape[1:]}, the core takes {(self.height, self.width, 3)}")
        if not 1 <= flying <= 128:
            raise UserError(f"{flying} images under way; 1 to 128 work")
        return _Classification(self, images, flying, progress).run()


class _Classification:
    def __init__(
        self, device: Device, images: NDArray[np.uint8], flying: int, progress: Callable[[int], object]
    ) -> None:
        self.device, self.link, self.images, self.progress = device, device.link, images, progress
        limit = device.identity.images if device.identity is not None else 1
        self.depth = min(flying, max(limit, 1))
        self.results: list[Result | None] = [None] * len(images)
        self.attempts = [0] * len(images)
        self.waiting = deque(range(len(images)))
        # Tag -> image, in the order in which they were sent; results come in that order.
        self.under_way: dict[int, int] = {}
        self.done = 0

    def run(self) -> list[Result]:
        deadline, progress = 0.0, (-1, 0, 0)
        while self.done < len(self.images):
            now, silent = (self.done, len(self.waiting), self.link._taken), False
            if now != progress:
                deadline, progress = self.link.clock() + self.link.timeout, now
            if self.waiting and len(self.under_way) < self.depth:
                silent = not self._send(self.waiting.popleft())
            else:
                packet = self.link.next_packet(deadline - self.link.clock())
                silent = packet is None
                if packet is not None:
                    self._handle(packet)
            while not silent and self.link._inbox:
                self._handle(self.link._inbox.popleft())
            if silent:
                self._again(list(self.under_way))
                self.device.identity = self.link.synchronise()
        return [result for result in self.results if result is not None]

    def _send(self, index: int) -> bool:
        self.attempts[index] += 1
        if self.attempts[index] > 1:
            self.link.statistics.repeated += 1
        if self.attempts[index] > self.link.tries:
            raise LinkError(f"image {index} did not come through in {self.link.tries} tries")
        tag = self.link.send(Type.IMAGE, self.images[index].tobytes())
        if tag is None:
            self.waiting.appendleft(index)
            return False
        self.under_way[tag] = index
        return True

    def _again(self, tags: Sequence[int]) -> None:
        self.waiting.extendleft(reversed([self.under_way.pop(tag) for tag in tags]))

    def _handle(self, packet: Packet) -> None:
        # An answer to what has been given up, or to a request that the host does not know of.
        if packet.tag not in self.under_way or packet.type not in (Type.RESULT, Type.NACK):
            return
        if packet.type == Type.NACK:
            self.link._judge(packet, f"image {self.under_way[packet.tag]}")
            self._again([packet.tag])
            return
        if len(packet.payload) != 4 * (self.device.classes + 1):
            raise LinkError(f"a result of {len(packet.payload)} bytes for {self.device.classes} classes")
        values = np.frombuffer(packet.payload, "<i4")
        # Results are in order: what was sent before this one and is still open has been lost, or its result has.
        tags = list(self.under_way)
        self._again(tags[: tags.index(packet.tag)])
        self.results[self.under_way.pop(packet.tag)] = Result(int(values[-1]), values[:-1].astype(np.int32))
        self.done += 1
        self.progress(self.done)


def open_port(name: str, baud: int) -> Any:
    """The serial port `name`, a device file or what pyserial takes as a URL. LinkError with one line if it fails."""
    try:
        serial = importlib.import_module("serial")
        list_ports = importlib.import_module("serial.tools.list_ports")
    except ImportError:
        raise LinkError("pyserial is not installed: pip install pyserial") from None
    try:
        port = serial.serial_for_url(name, baudrate=baud, timeout=1.0, write_timeout=10.0)
    except Exception as error:  # of pyserial, termios, struct
        number = getattr(error, "errno", None)
        said = os.strerror(number) if number else " ".join(str(error).split())
        there = ", ".join(sorted(port.device for port in list_ports.comports())) or "none"
        raise LinkError(f"{name}: {said} (serial ports here: {there})") from None
    # FTDI's driver otherwise keeps short answers for 16 ms. Not every port knows the like.
    with contextlib.suppress(AttributeError, NotImplementedError, OSError, ValueError):
        port.set_low_latency_mode(True)
    return port
