"""abbnn_framer: the data pass unchanged, tlast stands on every BEATS-th beat and nowhere else."""

import cocotb
import numpy as np
import pytest
from bench import STALLS, Bench, assert_elaboration_fails, assert_equal, load_case, simulate
from cocotb.triggers import ClockCycles

FRAMES = 12

BAD_PARAMETERS = [
    ("abbnn_framer", {"DATA_WIDTH": 0}, "DATA_WIDTH_must_be_at_least_1"),
    ("abbnn_framer", {"BEATS": 0}, "BEATS_must_be_at_least_1"),
]


async def check_frames(bench, frames):
    for frame in frames:
        received = await bench.receive(len(frame))
        assert_equal(np.array(received), frame, "beat")


@cocotb.test()
async def frames(dut):
    beats = load_case()["beats"]
    bench = Bench(dut)
    await bench.reset()
    for stalls in STALLS:
        bench.stall(*stalls)
        bench.send(beats.ravel())
        await check_frames(bench, beats)
        await bench.silent()


@cocotb.test()
async def reset_in_mid_frame(dut):
    beats = load_case()["beats"]
    bench = Bench(dut)
    await bench.reset()
    bench.send(beats.ravel()[: beats.shape[1] + 1])
    await ClockCycles(dut.clk, beats.shape[1] + 10)
    await bench.reset()
    bench.send(beats.ravel())
    await check_frames(bench, beats)
    await bench.silent()


@pytest.mark.parametrize(("width", "beats"), [(8, 5), (1, 1), (33, 8)])
def test_abbnn_framer(width, beats):
    data = np.random.default_rng(beats).integers(0, 1 << width, (FRAMES, beats))
    simulate("abbnn_framer", "test_abbnn_framer", {"DATA_WIDTH": width, "BEATS": beats}, case={"beats": data})


@pytest.mark.parametrize(("module", "parameters", "message"), BAD_PARAMETERS)
def test_abbnn_framer_refuses(module, parameters, message):
    assert_elaboration_fails(module, parameters, message)
