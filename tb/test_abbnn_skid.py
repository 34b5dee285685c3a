"""abbnn_skid: the stream passes unchanged, one beat a cycle, through any stalls and after a reset in mid-stream."""

import cocotb
import numpy as np
import pytest
from bench import STALLS, Bench, assert_elaboration_fails, assert_equal, load_case, simulate
from cocotb.triggers import ClockCycles
from cocotb.utils import get_sim_time

BAD_PARAMETERS = [("abbnn_skid", {"DATA_WIDTH": 0}, "DATA_WIDTH_must_be_at_least_1")]


@cocotb.test()
async def stream(dut):
    case = load_case()
    bench = Bench(dut)
    await bench.reset()
    for idle, back_pressure in STALLS:
        bench.stall(idle, back_pressure)
        bench.send(case["beats"])
        actual = await bench.receive(len(case["beats"]))
        assert_equal(np.array(actual, dtype=object), case["beats"].astype(object), "beat")
        await bench.silent()


@cocotb.test()
async def full_throughput(dut):
    beats = load_case()["beats"]
    bench = Bench(dut)
    await bench.reset()
    start = get_sim_time("ns")
    bench.send(beats)
    await bench.receive(len(beats))
    cycles = (get_sim_time("ns") - start) / 10
    assert cycles <= len(beats) + 4, f"{len(beats)} beats took {cycles} cycles"


@cocotb.test()
async def reset_in_mid_stream(dut):
    beats = load_case()["beats"]
    bench = Bench(dut)
    await bench.reset()
    bench.stall(0.0, 0.5)
    bench.send(beats)
    await ClockCycles(dut.clk, 20)
    await bench.reset()
    await bench.silent()
    bench.send(beats[:50])
    actual = await bench.receive(50)
    assert_equal(np.array(actual), beats[:50], "beat")
    await bench.silent()


@pytest.mark.parametrize("width", [1, 8, 61])
def test_abbnn_skid(width):
    beats = np.random.default_rng(width).integers(0, 1 << width, 300)
    simulate("abbnn_skid", "test_abbnn_skid", {"DATA_WIDTH": width}, case={"beats": beats})


@pytest.mark.parametrize(("toplevel", "parameters", "message"), BAD_PARAMETERS)
def test_abbnn_skid_parameters(toplevel, parameters, message):
    assert_elaboration_fails(toplevel, parameters, message)
