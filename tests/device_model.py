"""A board in software, for tests of the host: the byte protocol as docs/protocol.md has it, on a port with a slow line.

Written against the document, not against host/packet.py: a packet that both got wrong in the same way would be noticed.
Time is the model's own: it passes only while somebody reads. A byte takes BYTE seconds on the line and WORK in the
device, so what a host sends without waiting piles up, and is lost where the device has no room for it.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

WINDOW = 512
SPARE = 64
GAP = 0.25
BYTE = 1e-5
WORK = 2e-5


def packet(kind: int, tag: int, payload: bytes = b"") -> bytes:
    head = bytes([kind, tag]) + len(payload).to_bytes(3, "little")
    check = zlib.crc32(head).to_bytes(4, "little")[:2]
    return b"\xab\x4e" + head + check + payload + zlib.crc32(head + payload).to_bytes(4, "little")


class DeviceModel:
    """Port and device in one. `scores` maps (H, W, 3) uint8 to (classes,) integers.

    `to_device` and `to_host` are applied to every byte on its way and give the bytes that arrive: b"" loses it, two
    bytes double it. `dead`: nothing answers.
    """

    def __init__(
        self, scores: Callable[[NDArray[np.uint8]], NDArray[np.int64]], height: int, width: int, classes: int
    ) -> None:
        self.scores, self.shape, self.classes = scores, (height, width, 3), classes
        self.to_device: Callable[[int], bytes] = lambda byte: bytes([byte])
        self.to_host: Callable[[int], bytes] = lambda byte: bytes([byte])
        self.dead = False
        self.timeout: float | None = 1.0
        self.now = 0.0
        # (arrival, byte) of what is on the line, and what has arrived and is not consumed.
        self.line: deque[tuple[float, int]] = deque()
        self.received: deque[int] = deque()
        self.last_arrival = self.next_work = 0.0
        self.recent = b""
        self.open: bytearray | None = None
        self.answers: deque[int] = deque()
        self.consumed = self.credited = self.bad = self.lost = 0
        self.most = 0
        """Bytes, the greatest number at once, that the host had sent and the device had not consumed."""
        self.written: list[tuple[int, int]] = []
        self.loads: list[bytes] = []
        self.after_load: Callable[[bytes], bool] = lambda data: True
        self.registers = {
            0x00: 0x4142424E,
            0x04: 0x00010000,
            0x08: 0x11223344,
            0x0C: 0x55667788,
            0x10: 0xCAFE,
            0x14: height << 16 | width,
            0x18: 3 << 16 | classes,
            0x20: 1,
            **dict.fromkeys((0x1C, 0x24, 0x28, 0x2C, 0x30, 0x34, 0x38, 0x3C, 0x40, 0x44, 0x100, 0x104, 0x108), 0),
        }

    # ---- the port

    def clock(self) -> float:
        return self.now

    def write(self, data: bytes) -> int:
        for byte in data:
            for arrived in self.to_device(byte):
                self.last_arrival = max(self.now, self.last_arrival) + BYTE
                self.line.append((self.last_arrival, arrived))
        self.most = max(self.most, len(self.line) + len(self.received))
        return len(data)

    def read(self, count: int) -> bytes:
        """What there is, or nothing after the timeout."""
        deadline = self.now + (self.timeout or 0.0)
        while not self.answers and self._step(deadline):
            pass
        if not self.answers:
            self.now = max(self.now, deadline)
            return b""
        self.now += BYTE
        return bytes(self.answers.popleft() for _ in range(min(count, len(self.answers))))

    # ---- the device

    def _step(self, deadline: float) -> bool:
        """The next thing that happens, if that is not later than `deadline`."""
        arrival = self.line[0][0] if self.line else np.inf
        work = max(self.now, self.next_work) if self.received else np.inf
        gap = self.last_arrival + GAP if self.open is not None and not self.line and not self.received else np.inf
        event = min(arrival, work, gap)
        if event > deadline:
            return False
        self.now = max(self.now, event)
        if event == arrival:
            byte = self.line.popleft()[1]
            if self.dead:
                pass
            elif len(self.received) < WINDOW + SPARE:
                self.received.append(byte)
            else:
                self.lost += 1
        elif event == work:
            self.next_work = self.now + WORK
            self._take(self.received.popleft())
        elif self.open is not None:
            self.bad += 1
            self._nack(self.open[2], self.open[3], 4)
            self.open = None
        return True

    def _answer(self, kind: int, tag: int, payload: bytes = b"") -> None:
        for byte in packet(kind, tag, payload):
            self.answers.extend(self.to_host(byte))

    def _nack(self, kind: int, tag: int, reason: int) -> None:
        self._answer(0xFF, tag, bytes([reason, kind]))

    def _take(self, byte: int) -> None:
        self.consumed += 1
        if self.consumed - self.credited >= WINDOW // 4:
            self.credited = self.consumed
            self._answer(0xFE, 0, struct.pack("<I", self.consumed % 2**32))
        if self.open is None:
            self._look(byte)
            return
        self.open.append(byte)
        length = int.from_bytes(self.open[4:7], "little")
        if len(self.open) < 13 + length:
            return
        whole, self.open = bytes(self.open), None
        kind, tag = whole[2:4]
        if zlib.crc32(whole[2:7] + whole[9:-4]).to_bytes(4, "little") != whole[-4:]:
            self.bad += 1
            if kind == 4:
                self.registers[0x30] += 1
            self._nack(kind, tag, 1)
            return
        self._request(kind, tag, whole[9:-4])

    def _look(self, byte: int) -> None:
        """For a header that ends with this byte."""
        self.recent = (self.recent + bytes([byte]))[-9:]
        found = self.recent[:2] == b"\xab\x4e" and len(self.recent) == 9
        if not found or zlib.crc32(self.recent[2:7]).to_bytes(4, "little")[:2] != self.recent[7:]:
            return
        kind, tag = self.recent[2:4]
        length = int.from_bytes(self.recent[4:7], "little")
        lengths = {1: 0, 2: 2, 3: 6, 4: int(np.prod(self.shape)), 5: length if length and length % 4 == 0 else -1}
        if lengths.get(kind) == length:
            self.open, self.recent = bytearray(self.recent), b""
        else:
            self._nack(kind, tag, 2 if kind in lengths else 3)

    def _request(self, kind: int, tag: int, payload: bytes) -> None:
        if kind == 1:
            identity = struct.pack("<BBHIIHH", 1, 32, self.bad, WINDOW, self.consumed % 2**32, 0, 0)
            self._answer(0x81, tag, identity)
        elif kind == 2:
            address = int.from_bytes(payload, "little")
            if address in self.registers:
                self._answer(0x82, tag, struct.pack("<I", self.registers[address]))
            else:
                self._nack(kind, tag, 7)
        elif kind == 3:
            address, value = struct.unpack("<HI", payload)
            if address in (0x1C, 0x24, 0x28):
                self.written.append((address, value))
                self._answer(0x83, tag)
            else:
                self._nack(kind, tag, 7)
        elif kind == 4:
            if not self.registers[0x20] & 1:
                self._nack(kind, tag, 8)
                return
            self.registers[0x2C] += 1
            scores = self.scores(np.frombuffer(payload, np.uint8).reshape(self.shape))
            self._answer(0x84, tag, np.append(scores, scores.argmax()).astype("<i4").tobytes())
        else:
            self.loads.append(payload)
            good = self.after_load(payload)
            self.registers[0x38 if good else 0x3C] += 1
            self.registers[0x20] = 1 if good else 8
            self._answer(0x85, tag)
