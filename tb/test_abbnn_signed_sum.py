"""abbnn_signed_sum: all three forms (wide sum, table, chains and tree) give the exact sums, LATENCY enables later."""

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from abbnn.export.layout import pack, unpack
from abbnn.tb.bench import CLOCK_NS, assert_equal, load_case, rows, simulate

LINT_PARAMETERS = rows(
    "PE SIMD DATA_WIDTH TREE_WIDTH",
    (1, 1, 2, 3),
    (3, 1, 2, 3),
    (4, 2, 16, 17),
    (2, 27, 9, 14),
    (3, 5, 20, 23),
    (3, 27, 9, 14),
    (4, 10, 16, 20),
)
BAD_PARAMETERS = [
    ("abbnn_signed_sum", {"PE": 0}, "PE_must_be_at_least_1"),
    ("abbnn_signed_sum", {"SIMD": 0}, "SIMD_must_be_at_least_1"),
    ("abbnn_signed_sum", {"DATA_WIDTH": 1}, "DATA_WIDTH_must_be_at_least_2"),
    ("abbnn_signed_sum", {"TREE_WIDTH": 17}, "TREE_WIDTH_is_derived_and_must_not_be_set"),
]


def latency(simd):
    return 1 + max(1, (simd - 1).bit_length())


@cocotb.test()
async def sums_under_enable(dut):
    """One pair of operands at every enabled edge, garbage at the others; the sums after each enabled edge."""
    case = load_case()
    values, weights, expected = case["values"], case["weights"], case["expected"]
    width = int(dut.DATA_WIDTH.value)
    value_words, weight_words = pack(values, width), pack(weights.reshape(len(weights), -1), 1)
    cocotb.start_soon(Clock(dut.clk, CLOCK_NS, unit="ns").start())
    await FallingEdge(dut.clk)
    for share in (1.0, 0.5):
        rng = np.random.default_rng(int(10 * share))
        seen = []
        for value, weight in zip(value_words, weight_words, strict=True):
            while rng.random() >= share:
                dut.enable.value, dut.values.value, dut.weights.value = 0, ~value & 1, 0
                await FallingEdge(dut.clk)
            dut.enable.value, dut.values.value, dut.weights.value = 1, value, weight
            await FallingEdge(dut.clk)
            seen.append(dut.sums.value)
        delay = latency(values.shape[1])
        got = unpack(
            [int(word) for word in seen[delay - 1 :]],
            expected.shape[1],
            len(dut.sums) // expected.shape[1],
            signed=True,
        )
        assert_equal(got, expected[: len(got)], "operands, output")


def check(pe, simd, width, **options):
    rng = np.random.default_rng(simd)
    count = 200
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    values = rng.integers(low, high + 1, (count, simd))
    values[:4] = [[low], [high], [-1], [0]]
    weights = rng.integers(0, 2, (count, pe, simd))
    weights[:8] = np.array([1, 1, 0, 0, 0, 0, 1, 1])[:, None, None]
    # Sums as far from 0 as they get.
    values[8:24] = rng.choice([low, high], (16, simd))
    weights[8:24] = (values[8:24] > 0)[:, None] == rng.integers(0, 2, (16, pe, 1))
    lane = np.arange(simd)
    counted = (lane % 2 == 1) | (lane == simd - 1)
    expected = np.where(weights == 1, values[:, None], -values[:, None] - counted).sum(axis=2)
    parameters = {"PE": pe, "SIMD": simd, "DATA_WIDTH": width}
    case = {"values": values, "weights": weights, "expected": expected}
    simulate("abbnn_signed_sum", "test_abbnn_signed_sum", parameters, case=case, structural=True, **options)


SIZES = [(1, 1, 2), (3, 1, 3), (1, 2, 5), (4, 3, 2), (2, 5, 4), (3, 27, 9), (2, 32, 16)]
SHAPES = [(1, 2, 5), (2, 32, 16), (2, 27, 9), (8, 27, 9), (3, 64, 16), (3, 147, 9)]
"""Chains of depth 0 (PE of 1 and 2), 2 and 3; and every SIMD from 1 to 16: all ways to end a chain, and depth 1."""


@pytest.mark.parametrize("form", ["ABBNN_WIDE_SUM", "ABBNN_TABLE_SUM"])
@pytest.mark.parametrize("sizes", SIZES)
def test_simulation_forms(sizes, form):
    check(*sizes, defines=[form])


@pytest.mark.parametrize("sizes", SHAPES + [(pe, simd, 3) for pe in (1, 3) for simd in range(1, 17)])
def test_structural_form(sizes):
    check(*sizes)


def test_table_form_on_verilator():
    """The simulator that it is for."""
    check(4, 27, 9, defines=["ABBNN_TABLE_SUM"], sim="verilator")
