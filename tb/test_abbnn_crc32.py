"""abbnn_crc32: the state after each word of a message, against zlib."""

import zlib

import cocotb
import numpy as np
import pytest
from cocotb.triggers import Timer

from abbnn.tb.bench import assert_equal, load_case, rows, simulate

LINT_PARAMETERS = rows("WIDTH", (1,), (32,))
BAD_PARAMETERS = [("abbnn_crc32", {"WIDTH": 0}, "WIDTH_must_be_at_least_1")]


@cocotb.test()
async def steps(dut):
    case = load_case()
    state, got = 0xFFFFFFFF, []
    for word in case["words"]:
        dut.state.value = state
        dut.data.value = int(word)
        await Timer(1, "ns")
        state = int(dut.next.value)
        got.append(state ^ 0xFFFFFFFF)
    assert_equal(np.array(got), case["checksums"], "word")


@pytest.mark.parametrize("size", [1, 4])
def test_abbnn_crc32(size):
    """Words of `size` bytes, little-endian; the first message is the usual check value's."""
    message = b"123456789012" + np.random.default_rng(size).bytes(400)
    words = np.frombuffer(message, "u1" if size == 1 else "<u4")
    checksums = [zlib.crc32(message[: size * (index + 1)]) for index in range(len(words))]
    assert size != 1 or checksums[8] == 0xCBF43926
    simulate("abbnn_crc32", "test_abbnn_crc32", {"WIDTH": 8 * size}, case={"words": words, "checksums": checksums})
