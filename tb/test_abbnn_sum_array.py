"""abbnn_sum_array: every sum of stem-like, shortcut-like and head-like shapes, in a SUM_WIDTH that just holds them."""

import cocotb
import numpy as np
import pytest
from bench import STALLS, Bench, assert_elaboration_fails, assert_equal, load_case, simulate
from cocotb.triggers import ClockCycles, FallingEdge

from export.layout import mem_text, pack, unpack
from export.tables import sum_array_tables
from golden import ops

FRAMES = 3
POSITIONS = 4

SIZES = ("PE", "SIMD", "SIMD_FOLD", "CHANNELS", "PLANES", "DATA_WIDTH")
GOOD_PARAMETERS = [
    (2, 27, 1, 6, 8, 9),
    (1, 1, 1, 1, 1, 2),
    (4, 4, 3, 8, 1, 16),
    (1, 3, 5, 10, 8, 20),
    (3, 6, 2, 3, 2, 5),
    (2, 16, 1, 4, 1, 4),
]
BAD_PARAMETERS = [
    ("abbnn_sum_array", {"PE": 0}, "PE_must_be_at_least_1"),
    ("abbnn_sum_array", {"CHANNELS": 0}, "CHANNELS_must_be_a_multiple_of_PE"),
    ("abbnn_sum_array", {"PE": 4, "CHANNELS": 6}, "CHANNELS_must_be_a_multiple_of_PE"),
    ("abbnn_sum_array", {"SIMD": 0}, "SIMD_must_be_at_least_1"),
    ("abbnn_sum_array", {"SIMD_FOLD": 0}, "SIMD_FOLD_must_be_at_least_1"),
    ("abbnn_sum_array", {"PLANES": 0}, "PLANES_must_be_at_least_1"),
    ("abbnn_sum_array", {"DATA_WIDTH": 1}, "DATA_WIDTH_must_be_at_least_2"),
    ("abbnn_sum_array", {"SUM_WIDTH": 1}, "SUM_WIDTH_must_be_at_least_2"),
]


def latency(simd):
    """Input register, one level of the adder tree a cycle (at least one), accumulator, bias."""
    return 3 + max(1, (simd - 1).bit_length())


async def transfers(dut, prefix, cycles):
    """Append the number of every cycle in which the stream transfers a beat."""
    cycle = 0
    valid, ready = getattr(dut, f"{prefix}_tvalid"), getattr(dut, f"{prefix}_tready")
    while True:
        await FallingEdge(dut.clk)
        cycle += 1
        if str(valid.value) + str(ready.value) == "11":
            cycles.append(cycle)


def fold_beats(case):
    return int(case["PLANES"]) * int(case["SIMD_FOLD"])


def send(bench, case, frames):
    """Every vector once for each plane of each fold, as abbnn_replay does."""
    times = int(case["CHANNELS"]) // int(case["PE"]) * int(case["PLANES"])
    simd = int(case["SIMD"])
    for frame in case["values"][:frames]:
        beats = []
        for vector in frame:
            beats += pack(vector.reshape(-1, simd), int(case["DATA_WIDTH"])) * times
        bench.send(beats)


async def check(bench, case, frames):
    expected = case["expected"][:frames]
    pe = int(case["PE"])
    beats = await bench.receive(expected.size // pe)
    actual = unpack(beats, pe, int(case["SUM_WIDTH"]), signed=True)
    assert_equal(actual.reshape(expected.shape), expected, "frame, position, channel")


@cocotb.test()
async def stream(dut):
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    for idle, back_pressure in [*STALLS, (0.0, 0.95)]:
        bench.stall(idle, back_pressure)
        send(bench, case, FRAMES)
        await check(bench, case, FRAMES)
        await bench.silent()


@cocotb.test()
async def timing(dut):
    """Latency, one input beat a cycle, one output beat a fold."""
    case = load_case()
    bench = Bench(dut)
    await bench.reset(cycles=1)
    taken, given = [], []
    cocotb.start_soon(transfers(dut, "s_axis", taken))
    cocotb.start_soon(transfers(dut, "m_axis", given))
    send(bench, case, FRAMES)
    await check(bench, case, FRAMES)
    first = given[0] - taken[fold_beats(case) - 1]
    assert first == latency(int(case["SIMD"])), f"latency {first}"
    assert taken[-1] - taken[0] + 1 == len(taken), "cycles lost at the input"
    assert len(taken) == fold_beats(case) * len(given)
    assert (given[-1] - given[0]) == fold_beats(case) * (len(given) - 1), "cycles lost at the output"


@cocotb.test()
async def stalled_output(dut):
    """tvalid comes up without tready, and the pipeline takes a fold and as many beats as it has stages, less one."""
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    taken = []
    cocotb.start_soon(transfers(dut, "s_axis", taken))
    bench.sinks["m_axis"].pause = True
    await ClockCycles(dut.clk, 2)
    send(bench, case, FRAMES)
    expected = fold_beats(case) + latency(int(case["SIMD"])) - 1
    await ClockCycles(dut.clk, expected + 20)
    assert len(taken) == expected, f"{len(taken)} beats taken, expected {expected}"
    assert dut.m_axis_tvalid.value == 1
    bench.sinks["m_axis"].pause = False
    await check(bench, case, FRAMES)
    await bench.silent()


@cocotb.test()
async def reset_in_mid_frame(dut):
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    for cycles in (3, fold_beats(case) + 7):
        bench.stall(0.2, 0.3)
        send(bench, case, FRAMES)
        await ClockCycles(dut.clk, cycles)
        await bench.reset()
        await bench.silent()
        send(bench, case, 1)
        await check(bench, case, 1)
        await bench.silent()


@pytest.mark.parametrize("sizes", GOOD_PARAMETERS)
def test_abbnn_sum_array(sizes):
    parameters = dict(zip(SIZES, sizes, strict=True))
    pe, simd, simd_fold, channels, planes, data_width = sizes
    fan_in = simd * simd_fold
    rng = np.random.default_rng(sizes)
    limit = (1 << planes) - 1
    weights = 2 * rng.integers(0, limit + 1, (channels, 1, 1, fan_in)) - limit
    weights[0] = limit
    weights[-1] = -limit
    low, high = ops.value_range(data_width)
    bias = rng.integers(-1000, 1000, channels) if data_width > 5 else rng.integers(-2, 3, channels)
    values = rng.integers(low, high + 1, (FRAMES, POSITIONS, fan_in))
    values[0, 0], values[0, 1] = low, high
    if simd == 16:  # sums that need fewer bits than the adder tree gives
        values >>= 2
    bound = fan_in * limit * -low
    expected = ops.sum_conv(values[:, None], weights, bias, 1, bound)[:, 0]
    sum_width = max(int(expected.max()).bit_length(), int(-1 - expected.min()).bit_length()) + 1
    weight_words, bias_words = sum_array_tables(weights, bias, planes, pe, simd, sum_width)
    parameters["SUM_WIDTH"] = sum_width
    simulate(
        "abbnn_sum_array",
        "test_abbnn_sum_array",
        {**parameters, "WEIGHT_FILE": "weights.mem", "BIAS_FILE": "bias.mem"},
        tables={
            "weights.mem": mem_text(weight_words, pe * simd),
            "bias.mem": mem_text(bias_words, pe * sum_width),
        },
        case={"values": values, "expected": expected, **parameters},
    )


@pytest.mark.parametrize(("toplevel", "parameters", "message"), BAD_PARAMETERS)
def test_abbnn_sum_array_parameters(toplevel, parameters, message):
    assert_elaboration_fails(toplevel, parameters, message)
