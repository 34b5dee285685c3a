"""Packets of the byte protocol, docs/protocol.md: encoding, and decoding of whatever a line brings.

>>> encode(Type.PING, 7).hex(" ")
'ab 4e 01 07 00 00 00 14 e6 14 e6 95 66'
>>> decoder = Decoder()
>>> decoder.feed(b"noise" + encode(Type.READ, 1, b"\\x20\\x00"))
[Packet(type=2, tag=1, payload=b' \\x00')]
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from abbnn.errors import UserError

SYNC = b"\xab\x4e"
HEADER_BYTES = 9
OVERHEAD = HEADER_BYTES + 4
"""Bytes of a packet without its payload."""
MAX_LENGTH = (1 << 24) - 1
VERSION = 1
"""Of the protocol."""


class Type(IntEnum):
    """What a packet is; the answer to request t is t + 0x80."""

    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    IMAGE = 0x04
    LOAD = 0x05
    IDENTITY = 0x81
    VALUE = 0x82
    WRITTEN = 0x83
    RESULT = 0x84
    LOADED = 0x85
    CREDIT = 0xFE
    NACK = 0xFF


class Reason(IntEnum):
    """Why a request was not carried out."""

    CHECKSUM = 1
    LENGTH = 2
    TYPE = 3
    GAP = 4
    LINE = 5
    LOST = 6
    REFUSED = 7
    NOT_READY = 8


DAMAGE = frozenset({Reason.CHECKSUM, Reason.GAP, Reason.LINE, Reason.LOST})
"""Reasons that the line is to blame for: the same request again may succeed."""


@dataclass(frozen=True)
class Packet:
    """`type` is a Type, or a number that this version does not know."""

    type: int
    tag: int
    payload: bytes = b""


def encode(kind: int, tag: int, payload: bytes = b"") -> bytes:
    """UserError if the payload is longer than a length can say."""
    if len(payload) > MAX_LENGTH:
        raise UserError(f"a payload of {len(payload)} bytes; a packet has {MAX_LENGTH} at most")
    head = struct.pack("<BBI", kind, tag, len(payload))[:5]
    check = zlib.crc32(head)
    return SYNC + head + struct.pack("<H", check & 0xFFFF) + payload + struct.pack("<I", zlib.crc32(payload, check))


class Decoder:
    """Finds packets in a stream of bytes.

    What is no packet is skipped byte by byte, so a packet is found wherever it begins. A header that promises more than
    `longest` bytes is none: with it a false header costs that many bytes at most, or what comes until `flush`.
    """

    def __init__(self, longest: int = 1 << 20) -> None:
        self.longest = longest
        self.skipped = 0
        """Bytes that belonged to no packet."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that are complete with these bytes."""
        self._buffer += data
        return self._packets()

    def flush(self) -> list[Packet]:
        """For a line that has been silent: a packet that has begun will not end; the packets that lie inside it."""
        packets: list[Packet] = []
        while self._buffer:
            self._skip(1)
            packets += self._packets()
        return packets

    def _skip(self, count: int) -> None:
        self.skipped += count
        del self._buffer[:count]

    def _packets(self) -> list[Packet]:
        packets: list[Packet] = []
        buffer = self._buffer
        while True:
            start = buffer.find(SYNC)
            if start < 0:
                # The last byte may be the first of a header.
                self._skip(len(buffer) - (buffer[-1:] == SYNC[:1]))
                return packets
            if start:
                self._skip(start)
            if len(buffer) < HEADER_BYTES:
                return packets
            head = bytes(buffer[2:7])
            kind, tag = head[:2]
            length = int.from_bytes(head[2:], "little")
            check = zlib.crc32(head)
            if int.from_bytes(buffer[7:9], "little") != check & 0xFFFF or length > self.longest:
                self._skip(1)
                continue
            if len(buffer) < OVERHEAD + length:
                return packets
            payload = bytes(buffer[HEADER_BYTES : HEADER_BYTES + length])
            if int.from_bytes(buffer[HEADER_BYTES + length : OVERHEAD + length], "little") != zlib.crc32(
                payload, check
            ):
                self._skip(1)
                continue
            packets.append(Packet(kind, tag, payload))
            del buffer[: OVERHEAD + length]


@dataclass(frozen=True)
class Identity:
    """The payload of the answer to a ping, 16 bytes."""

    version: int
    images: int
    """Images that may be under way at once before the device holds further ones back."""
    bad_packets: int
    """Packets since reset that began with a good header and were damaged; like the next two it stops at 65535."""
    window: int
    """Bytes that the device has room for."""
    consumed: int
    """Bytes that it has taken out of its buffer since reset, modulo 2**32."""
    line_errors: int
    """Bytes without a stop bit."""
    lost: int
    """Bytes that found no room."""

    FORMAT = "<BBHIIHH"

    @classmethod
    def from_bytes(cls, payload: bytes) -> Identity:
        """UserError if the length is wrong."""
        if len(payload) != struct.calcsize(cls.FORMAT):
            raise UserError(f"an identity of {len(payload)} bytes")
        return cls(*struct.unpack(cls.FORMAT, payload))

    def to_bytes(self) -> bytes:
        return struct.pack(
            self.FORMAT,
            self.version,
            self.images,
            self.bad_packets,
            self.window,
            self.consumed,
            self.line_errors,
            self.lost,
        )
