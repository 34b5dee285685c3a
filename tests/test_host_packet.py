"""The packet codec: encoded, then decoded, from any chunks, behind any noise; damage is never taken for a packet."""

import itertools
import zlib

import pytest
from device_model import packet
from hypothesis import given
from hypothesis import strategies as st

from abbnn.host.packet import OVERHEAD, Decoder, Identity, Packet, Type, encode

packets = st.builds(Packet, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=80))


def chunks(data, cuts):
    edges = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(st.lists(packets, max_size=6), st.lists(st.integers(0, 400), max_size=20))
def test_round_trip_in_any_chunks(sent, cuts):
    decoder = Decoder()
    data = b"".join(encode(p.type, p.tag, p.payload) for p in sent)
    assert [p for chunk in chunks(data, cuts) for p in decoder.feed(chunk)] == sent
    assert decoder.skipped == 0


@given(packets)
def test_as_the_document_says(sent):
    """device_model.py was written from docs/protocol.md alone."""
    assert encode(sent.type, sent.tag, sent.payload) == packet(sent.type, sent.tag, sent.payload)


@given(st.lists(st.tuples(st.binary(max_size=20), packets), min_size=1, max_size=5), st.binary(max_size=12))
def test_found_behind_noise(parts, tail):
    """Noise that looks like a header may hold what follows back until the line is silent, but never for good."""
    decoder = Decoder(longest=200)
    sent = [p for _, p in parts]
    found = decoder.feed(b"".join(noise + encode(p.type, p.tag, p.payload) for noise, p in parts) + tail)
    found += decoder.flush()
    assert [p for p in found if p in sent] == sent


def test_false_headers():
    """A header with the right check and no packet behind it costs no packet."""
    good = [Packet(Type.VALUE, tag, bytes([tag] * 4)) for tag in range(10)]
    false = encode(Type.RESULT, 9, bytes(60))[:9]
    data = b"".join(false[: 3 + index] + encode(p.type, p.tag, p.payload) for index, p in enumerate(good))
    decoder = Decoder()
    found = decoder.feed(data)
    assert found + decoder.flush() == good
    too_long = encode(Type.RESULT, 9, bytes(5000))[:9]
    decoder = Decoder(longest=4999)
    assert decoder.feed(too_long + encode(1, 2)) == [Packet(1, 2)]
    assert decoder.skipped == 9


@given(packets, st.data())
def test_damage_is_no_packet(sent, data):
    """Up to three wrong bits anywhere, a missing byte, a byte too many: never another packet."""
    whole = bytearray(encode(sent.type, sent.tag, sent.payload))
    damage = data.draw(st.sampled_from(["bits", "lose", "double"]))
    if damage == "bits":
        for bit in data.draw(st.sets(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=3)):
            whole[bit // 8] ^= 1 << bit % 8
    else:
        index = data.draw(st.integers(0, len(whole) - 1))
        whole[index : index + 1] = b"" if damage == "lose" else bytes(whole[index : index + 1]) * 2
    decoder = Decoder()
    found = decoder.feed(bytes(whole)) + decoder.flush()
    # A doubled first or last byte leaves the packet whole.
    assert found in ([], [sent])
    assert found == [] or damage == "double"


def test_header_check_finds_any_three_wrong_bits():
    """What docs/protocol.md claims: 40 bits and their check, exhaustively, by linearity."""
    zero = zlib.crc32(bytes(5))
    columns = [(zlib.crc32((1 << bit).to_bytes(5, "little")) ^ zero) & 0xFFFF for bit in range(40)]
    columns += [1 << bit for bit in range(16)]
    assert all(columns)
    assert len(set(columns)) == 56
    assert not {a ^ b for a, b in itertools.combinations(columns, 2)} & set(columns)


def test_lengths():
    assert len(encode(1, 2, b"abc")) == OVERHEAD + 3
    with pytest.raises(ValueError, match="16777216 bytes"):
        encode(1, 2, bytes(1 << 24))


def test_identity():
    identity = Identity(1, 32, 3, 4032, 2**32 - 1, 4, 65535)
    assert Identity.from_bytes(identity.to_bytes()) == identity
    assert identity.to_bytes().hex() == "01200300c00f0000ffffffff0400ffff"
    with pytest.raises(ValueError, match="15 bytes"):
        Identity.from_bytes(bytes(15))
