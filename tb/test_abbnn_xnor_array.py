"""abbnn_xnor_array: binary convolutions of several foldings against the golden model, latency and throughput."""

import cocotb
import numpy as np
import pytest
from bench import STALLS, Bench, assert_elaboration_fails, assert_equal, load_case, simulate
from cocotb.triggers import ClockCycles, FallingEdge

from export.layout import mem_text, pack, unpack
from export.tables import xnor_array_tables
from golden import ops

FRAMES = 3

SIZES = ("PE", "LANES", "IN_CHANNELS", "CHANNELS", "HEIGHT", "WIDTH", "KERNEL", "STRIDE")
GOOD_PARAMETERS = [  # and whether in the synthesis form of the popcount
    ((8, 32, 32, 32, 6, 6, 3, 1), False),
    ((4, 8, 24, 12, 7, 5, 3, 2), True),
    ((4, 2, 6, 4, 2, 2, 3, 1), False),
    ((3, 1, 1, 3, 4, 3, 3, 1), False),
    ((1, 3, 3, 2, 1, 1, 3, 1), True),
    ((2, 16, 32, 8, 3, 4, 1, 1), False),
    ((1, 1, 1, 1, 3, 3, 1, 2), False),
]
BAD_PARAMETERS = [
    ("abbnn_xnor_array", {"PE": 0}, "PE_must_be_at_least_1"),
    ("abbnn_xnor_array", {"CHANNELS": 0}, "CHANNELS_must_be_a_multiple_of_PE"),
    ("abbnn_xnor_array", {"PE": 4, "CHANNELS": 6}, "CHANNELS_must_be_a_multiple_of_PE"),
    ("abbnn_xnor_array", {"SIMD": 0}, "SIMD_must_be_at_least_1"),
    ("abbnn_xnor_array", {"SIMD_FOLD": 0}, "SIMD_FOLD_must_be_at_least_1"),
    ("abbnn_xnor_array", {"OUT_HEIGHT": 0}, "OUT_HEIGHT_must_be_at_least_1"),
    ("abbnn_xnor_array", {"OUT_WIDTH": 0}, "OUT_WIDTH_must_be_at_least_1"),
    ("abbnn_xnor_array", {"BORDER": 2}, "BORDER_must_be_0_or_1"),
    ("abbnn_xnor_array", {"SIMD": 255, "SUM_WIDTH": 8}, "SUM_WIDTH_must_hold_plus_and_minus_the_fan_in"),
    ("abbnn_xnor_array", {"SIMD": 256, "SUM_WIDTH": 9}, "SUM_WIDTH_must_hold_plus_and_minus_the_fan_in"),
]


def latency(simd_fold):
    """Edges from the last beat of a fold to its sums."""
    return 5 if simd_fold == 1 else 6


async def transfers(dut, prefix, cycles):
    """Append the number of every cycle in which the stream transfers a beat."""
    cycle = 0
    valid, ready = getattr(dut, f"{prefix}_tvalid"), getattr(dut, f"{prefix}_tready")
    while True:
        await FallingEdge(dut.clk)
        cycle += 1
        if str(valid.value) + str(ready.value) == "11":
            cycles.append(cycle)


def send(bench, case, frames):
    for beats in case["beats"][:frames]:
        bench.send(pack(beats, 1))


async def check(bench, case, frames):
    expected = case["sums"][:frames]
    pe, width = int(case["pe"]), int(case["sum_width"])
    beats = await bench.receive(expected.size // pe)
    actual = unpack(beats, pe, width, signed=True)
    assert_equal(actual.reshape(expected.shape), expected, "frame, output row, output column, channel")


@cocotb.test()
async def stream(dut):
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    for idle, back_pressure in STALLS:
        bench.stall(idle, back_pressure)
        send(bench, case, FRAMES)
        await check(bench, case, FRAMES)
        await bench.silent()


@cocotb.test()
async def timing(dut):
    """Latency, one beat a cycle over back-to-back frames, one output beat every SIMD_FOLD cycles."""
    case = load_case()
    fold = int(case["simd_fold"])
    bench = Bench(dut)
    await bench.reset()
    taken, given = [], []
    cocotb.start_soon(transfers(dut, "s_axis", taken))
    cocotb.start_soon(transfers(dut, "m_axis", given))
    send(bench, case, FRAMES)
    await check(bench, case, FRAMES)
    assert len(taken) == case["beats"].shape[0] * case["beats"].shape[1]
    assert_equal(np.diff(taken), np.ones(len(taken) - 1), "cycles between input beats")
    delays = np.array(given) - np.array(taken)[fold - 1 :: fold]
    assert_equal(delays, np.full(len(given), latency(fold)), "latency of output beat")


@cocotb.test()
async def stalled_output(dut):
    """tvalid comes up without tready; two sums wait at the output, and every stage before it fills up."""
    case = load_case()
    fold = int(case["simd_fold"])
    bench = Bench(dut)
    await bench.reset()
    taken = []
    cocotb.start_soon(transfers(dut, "s_axis", taken))
    bench.sinks["m_axis"].pause = True
    await ClockCycles(dut.clk, 2)
    send(bench, case, FRAMES)
    expected = min(2 * fold + latency(fold) - 1, case["beats"].shape[0] * case["beats"].shape[1])
    await ClockCycles(dut.clk, 2 * expected + 20)
    assert len(taken) == expected, f"{len(taken)} beats taken, expected {expected}"
    assert dut.m_axis_tvalid.value == 1
    bench.stall(0, 0)
    await check(bench, case, FRAMES)
    await bench.silent()


@cocotb.test()
async def reset_in_mid_frame(dut):
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    bench.stall(0.0, 0.2)
    length = case["beats"].shape[1]
    for cycles in (int(case["simd_fold"]) + 1, length // 2 + 2, length + 7):
        send(bench, case, 2)
        await ClockCycles(dut.clk, cycles)
        await bench.reset()
    await bench.silent()
    send(bench, case, 2)
    await check(bench, case, 2)
    await bench.silent()


@pytest.mark.parametrize(("sizes", "structural"), GOOD_PARAMETERS)
def test_abbnn_xnor_array(sizes, structural):
    pe, lanes, in_channels, channels, height, width, kernel, stride = sizes
    rng = np.random.default_rng(sizes)
    bits = rng.integers(0, 2, (FRAMES, height, width, in_channels), dtype=np.uint8)
    bits[1] = 1
    weights = rng.integers(0, 2, (channels, kernel, kernel, in_channels), dtype=np.uint8)
    weights[0], weights[-1] = 1, 0  # with the second frame: +fan-in and, in the last channel, -fan-in

    simd, simd_fold, folds = kernel * kernel * lanes, in_channels // lanes, channels // pe
    fan_in = simd * simd_fold
    sum_width = (fan_in).bit_length() + 1
    windows = ops.window(bits, kernel, stride)
    out_height, out_width = windows.shape[1:3]
    windows = windows.reshape(FRAMES, out_height * out_width, kernel * kernel, simd_fold, lanes)
    beats = windows.transpose(0, 1, 3, 2, 4)[:, :, None].repeat(folds, axis=2)
    sums = ops.xnor_conv(bits, weights, stride)
    if min(height, width) > 2:
        assert sums.min() == -fan_in

    weight_words, correction_words = xnor_array_tables(weights, sum_width, pe, simd, height, width, stride)
    parameters = {
        "PE": pe,
        "SIMD": simd,
        "SIMD_FOLD": simd_fold,
        "CHANNELS": channels,
        "OUT_HEIGHT": out_height,
        "OUT_WIDTH": out_width,
        "BORDER": int(kernel > 1),
        "SUM_WIDTH": sum_width,
        "WEIGHT_FILE": "weights.mem",
        "CORRECTION_FILE": "correction.mem",
    }
    tables = {
        "weights.mem": mem_text(weight_words, pe * simd),
        "correction.mem": mem_text(correction_words, pe * sum_width),
    }
    case = {
        "beats": beats.reshape(FRAMES, -1, simd),
        "sums": sums,
        "pe": pe,
        "simd_fold": simd_fold,
        "sum_width": sum_width,
    }
    simulate("abbnn_xnor_array", "test_abbnn_xnor_array", parameters, tables=tables, case=case, structural=structural)


@pytest.mark.parametrize(("module", "parameters", "message"), BAD_PARAMETERS)
def test_abbnn_xnor_array_parameters(module, parameters, message):
    assert_elaboration_fails(module, parameters, message)
