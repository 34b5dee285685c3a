"""Lane packing and $readmemh files: every word that crosses from Python to the RTL goes through these functions.

A word holds `lanes` fields of `width` bits. Lane 0 has the least significant bits; signed fields are two's complement:

>>> [hex(word) for word in pack([[1, 2], [-1, 0]], 4)]
['0x21', '0xf']
>>> unpack([0x21, 0x0F], 2, 4, signed=True).tolist()
[[1, 2], [-1, 0]]
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abbnn.errors import UserError
from abbnn.golden.ops import Integers

HEX_DIGITS = frozenset(string.hexdigits)


def pack(values: ArrayLike, width: int) -> list[int]:
    """Pack a (words, lanes) array of integers, Python's too, into words of lanes * width bits, lane 0 lowest.

    A field fits if it lies in [-2**(width - 1), 2**width): two's complement or unsigned; anything else is a UserError.
    """
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "iubO":
        raise UserError(f"pack takes a 2-D integer array, not {array.dtype} of shape {array.shape}")
    array = array if array.dtype == object else array.astype(np.int64)
    if array.size and not (-(1 << (width - 1)) <= array.min() and array.max() < 1 << width):
        raise UserError(f"values {array.min()}..{array.max()} do not fit {width} bits")
    if width == 1:  # one bit a lane: the whole row is one big number, which NumPy packs byte by byte
        packed = np.packbits(array.astype(np.uint8) & 1, axis=1, bitorder="little")
        return [int.from_bytes(row.tobytes(), "little") for row in packed]
    mask = (1 << width) - 1
    return [sum((int(v) & mask) << (lane * width) for lane, v in enumerate(row)) for row in array.tolist()]


def unpack(words: Iterable[int], lanes: int, width: int, *, signed: bool) -> Integers:
    """The inverse of `pack`: int64 array of shape (words, lanes)."""
    mask = (1 << width) - 1
    array = np.array(
        [[(word >> (lane * width)) & mask for lane in range(lanes)] for word in words], dtype=np.int64
    ).reshape(-1, lanes)
    if signed:
        array -= (array >> (width - 1)) << width
    return array


def unpack_bits(words: Iterable[int], lanes: int) -> NDArray[np.uint8]:
    """`unpack` for one-bit lanes, fast for wide words: uint8 array of shape (words, lanes)."""
    size = -(-lanes // 8)
    rows = [np.frombuffer(word.to_bytes(size, "little"), np.uint8) for word in words]
    return np.unpackbits(np.array(rows, np.uint8).reshape(-1, size), axis=1, count=lanes, bitorder="little")


def pack_fields(columns: Sequence[tuple[ArrayLike, int]]) -> tuple[NDArray[Any], int]:
    """Join several fields of one table entry into one wider field; the first column is the lowest.

    `columns` are (integer array, bits) of equal shapes; the result is (object array of unsigned ints, total bits).
    """
    total = 0
    result: NDArray[Any] | None = None
    for values, bits in columns:
        array = np.asarray(values).astype(np.int64)
        if array.size and not (-(1 << (bits - 1)) <= array.min() and array.max() < 1 << bits):
            raise UserError(f"values {array.min()}..{array.max()} do not fit {bits} bits")
        field = (array & ((1 << bits) - 1)).astype(object) << total
        result = field if result is None else result + field
        total += bits
    if result is None:
        raise UserError("pack_fields takes at least one column")
    return result, total


def mem_text(words: Sequence[int], bits: int) -> str:
    """The text of a $readmemh file: one word a line, most significant digit first, ceil(bits / 4) digits."""
    digits = -(-bits // 4)
    for word in words:
        if not 0 <= word < 1 << bits:
            raise UserError(f"word {word:#x} does not fit {bits} bits")
    return "".join(f"{word:0{digits}x}\n" for word in words)


def read_mem(path: Path, depth: int, bits: int) -> list[int]:
    """Read back what `mem_text` wrote. A wrong depth, digit count or character is a UserError that names the file."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text of hexadecimal words") from None
    if len(lines) != depth:
        raise UserError(f"{path}: {len(lines)} words, expected {depth}")
    words = []
    for number, line in enumerate(lines, 1):
        if not line or not set(line) <= HEX_DIGITS:
            raise UserError(f"{path}:{number}: {line!r} is not a hexadecimal word")
        word = int(line, 16)
        if word >> bits or len(line) != -(-bits // 4):
            raise UserError(f"{path}:{number}: {line!r} is not a word of {bits} bits")
        words.append(word)
    return words
