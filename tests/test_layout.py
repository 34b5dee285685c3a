"""Words, lanes and $readmemh files: literal examples, round trips, and what does not fit."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from read_tables import unpack_wide

from abbnn.export import layout
from abbnn.export.layout import mem_text, pack, pack_fields, read_mem, unpack, unpack_bits

PROPERTY = settings(max_examples=60)


def test_docstring() -> None:
    assert doctest.testmod(layout) == (0, 2)


def test_pack_by_hand() -> None:
    assert pack([[1, 2, 3]], 4) == [0x321]
    assert pack([[-1, 0], [7, -8], [15, 8]], 4) == [0x0F, 0x87, 0x8F]
    assert pack([[1, 0, 1, 1]], 1) == [0b1101]
    assert pack([[0x1234, -2]], 16) == [0xFFFE1234]
    assert pack(np.zeros((0, 3), np.int64), 5) == []
    assert pack(np.array([[True, False, True]]), 1) == [0b101]
    assert pack([[5, 6]], 3) == [0b110101]


def test_unpack_by_hand() -> None:
    assert unpack([0x8F], 2, 4, signed=True).tolist() == [[-1, -8]]
    assert unpack([0x8F], 2, 4, signed=False).tolist() == [[15, 8]]
    assert unpack([], 2, 4, signed=True).shape == (0, 2)
    assert unpack_bits([0b1101, 0b0010], 4).tolist() == [[1, 0, 1, 1], [0, 1, 0, 0]]
    assert unpack_bits([], 9).shape == (0, 9)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 5), st.booleans(), st.data())
@PROPERTY
def test_pack_round_trip(width, lanes, words, signed, data) -> None:
    low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
    rows = st.lists(st.lists(st.integers(low, high), min_size=lanes, max_size=lanes), min_size=words, max_size=words)
    values = data.draw(rows)
    packed = pack(np.array(values, np.int64).reshape(words, lanes), width)
    assert len(packed) == words
    assert all(0 <= word < 1 << (lanes * width) for word in packed)
    assert unpack(packed, lanes, width, signed=signed).tolist() == values
    for word, row in zip(packed, values, strict=True):  # lane by lane, without the module's own shifts
        digits = f"{word:0{lanes * width}b}"[::-1]
        assert [digits[lane * width : (lane + 1) * width][::-1] for lane in range(lanes)] == [
            f"{value % (1 << width):0{width}b}" for value in row
        ]


@given(st.integers(1, 300), st.integers(1, 4), st.integers(0, 2**32 - 1))
@PROPERTY
def test_bits_round_trip(lanes, words, seed) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, (words, lanes))
    packed = pack(bits, 1)
    assert packed == [sum(int(bit) << lane for lane, bit in enumerate(row)) for row in bits]
    np.testing.assert_array_equal(unpack_bits(packed, lanes), bits)
    np.testing.assert_array_equal(unpack(packed, lanes, 1, signed=False), bits)


@pytest.mark.parametrize(
    ("values", "width", "message"),
    [
        ([[16]], 4, "16..16 do not fit 4 bits"),
        ([[-9, 3]], 4, "-9..3 do not fit 4 bits"),
        ([[2]], 1, "do not fit 1 bits"),
        ([1, 2], 4, "2-D integer array"),
        ([[1.0]], 4, "2-D integer array"),
        ([[[1]]], 4, "2-D integer array"),
    ],
)
def test_pack_refuses(values, width, message) -> None:
    with pytest.raises(ValueError, match=message):
        pack(values, width)


def test_pack_fields_by_hand() -> None:
    """The first column is the lowest: 3 in 4 bits, -1 in 3 bits above it, 1 in 1 bit on top."""
    entries, width = pack_fields([([3, 0], 4), ([-1, 2], 3), ([1, 0], 1)])
    assert width == 8
    assert entries.tolist() == [0b1_111_0011, 0b0_010_0000]
    wide, width = pack_fields([([-1], 62), ([5], 40)])
    assert (wide.tolist(), width) == ([(5 << 62) + (1 << 62) - 1], 102)


def test_pack_fields_refuses() -> None:
    with pytest.raises(ValueError, match="do not fit 3 bits"):
        pack_fields([([1], 4), ([8], 3)])
    with pytest.raises(ValueError, match="do not fit 3 bits"):
        pack_fields([([-5], 3)])
    with pytest.raises(ValueError, match="at least one column"):
        pack_fields([])


@given(st.integers(1, 150), st.integers(1, 5), st.data())
@PROPERTY
def test_wide_round_trip(width, lanes, data) -> None:
    row = st.lists(st.integers(0, (1 << width) - 1), min_size=lanes, max_size=lanes)
    values = data.draw(st.lists(row, min_size=1, max_size=4))
    words = pack(np.array(values, dtype=object), width)
    assert unpack_wide(words, lanes, width) == [value for row in values for value in row]
    if width < 60:
        assert words == pack(np.array(values, np.int64), width)


def test_pack_refuses_wide_fields() -> None:
    for value in (1 << 70, -(1 << 69) - 1):
        with pytest.raises(ValueError, match="do not fit 70 bits"):
            pack(np.array([[0, value]], dtype=object), 70)


def test_mem_text_by_hand() -> None:
    assert mem_text([0, 1, 0x1F], 5) == "00\n01\n1f\n"
    assert mem_text([0xABC], 12) == "abc\n"
    assert mem_text([1], 1) == "1\n"
    assert mem_text([], 8) == ""
    for word in (32, -1):
        with pytest.raises(ValueError, match="does not fit 5 bits"):
            mem_text([word], 5)


@given(st.integers(1, 200), st.data())
@PROPERTY
def test_mem_round_trip(tmp_path_factory, bits, data) -> None:
    words = data.draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=8))
    path = tmp_path_factory.getbasetemp() / "words.mem"
    path.write_text(mem_text(words, bits), encoding="ascii")
    assert read_mem(path, len(words), bits) == words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("01\n02\n", ": 2 words, expected 3"),
        ("01\n02\n03\n04\n", ": 4 words, expected 3"),
        ("", ": 0 words, expected 3"),
        ("01\n02\n0g\n", ":3: '0g' is not a hexadecimal word"),
        ("01\n\n03\n", ":2: '' is not a hexadecimal word"),
        ("01\n2\n03\n", ":2: '2' is not a word of 5 bits"),
        ("001\n02\n03\n", ":1: '001' is not a word of 5 bits"),
        ("01\n20\n03\n", ":2: '20' is not a word of 5 bits"),
        ("01\n-1\n03\n", ":2: '-1' is not a hexadecimal word"),
        ("01\n+1\n03\n", ":2: '\\+1' is not a hexadecimal word"),
        ("01\n 1\n03\n", ":2: ' 1' is not a hexadecimal word"),
        ("01\n02\n0x1\n", ":3: '0x1' is not a hexadecimal word"),
        ("01\n02\n1_1\n", ":3: '1_1' is not a hexadecimal word"),
        ("01\n02\nxx\n", ":3: 'xx' is not a hexadecimal word"),
        ("01\n02\n0\u00e9\n", ": not a text of hexadecimal words"),
    ],
)
def test_read_mem_refuses(tmp_path, text, message) -> None:
    path = tmp_path / "words.mem"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"words\.mem" + message):
        read_mem(path, 3, 5)


def test_read_mem_names_a_missing_file(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"nothing\.mem: No such file"):
        read_mem(tmp_path / "nothing.mem", 3, 5)
