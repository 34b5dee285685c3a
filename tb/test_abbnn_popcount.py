"""abbnn_popcount: every form ($countones and both codings) gives the exact count, LATENCY enables later.

The codings' own testbenches use what is here: the cocotb tests, the stimulus, and the proof in Yosys.
"""

import shutil

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from abbnn import paths, verilog
from abbnn.export.layout import pack
from abbnn.tb.bench import CLOCK_NS, assert_equal, load_case, rows, simulate

LINT_PARAMETERS = rows("WIDTH LATENCY", (1, 1), (19, 3), (576, 4))
BAD_PARAMETERS = [
    ("abbnn_popcount", {"WIDTH": 0}, "WIDTH_must_be_at_least_1"),
    ("abbnn_popcount", {"LATENCY": 0}, "LATENCY_must_be_at_least_1"),
]

REFERENCE = """
module reference (input wire clk, input wire enable, input wire [WIDTH-1:0] a, input wire [WIDTH-1:0] b,
                  output wire [$clog2(WIDTH+1)-1:0] count);
parameter integer WIDTH = 1;
reg [$clog2(WIDTH+1)-1:0] ones;
reg [$clog2(WIDTH+1)-1:0] ones_reg;
integer i;
always @* begin
    ones = 0;
    for (i = 0; i < WIDTH; i = i + 1) if (a[i] == b[i]) ones = ones + 1;
end
always @(posedge clk) if (enable) ones_reg <= ones;
assign count = ones_reg;
endmodule
"""


async def counts(dut, a, b, enables, latency):
    """Offer one pair at every enabled edge, none twice; the counts seen `latency` enabled edges later."""
    seen = []
    pairs = iter(zip(pack(a, 1), pack(b, 1), strict=True))
    for enable in enables:
        dut.enable.value = int(enable)
        if enable:
            dut.a.value, dut.b.value = next(pairs)
        else:
            dut.a.value, dut.b.value = 0, 0  # must not be sampled
        await FallingEdge(dut.clk)
        if enable:
            seen.append(dut.count.value)
    return [int(count) for count in seen[latency - 1 :]]


@cocotb.test()
async def every_cycle(dut):
    case = load_case()
    latency = int(case["latency"])
    cocotb.start_soon(Clock(dut.clk, CLOCK_NS, unit="ns").start())
    await FallingEdge(dut.clk)
    actual = await counts(dut, case["a"], case["b"], np.ones(len(case["a"])), latency)
    assert_equal(np.array(actual), case["expected"][: len(case["a"]) - latency + 1], "pair")


@cocotb.test()
async def paused(dut):
    case = load_case()
    latency = int(case["latency"])
    cocotb.start_soon(Clock(dut.clk, CLOCK_NS, unit="ns").start())
    await FallingEdge(dut.clk)
    length = min(400, len(case["a"]))
    enables = np.random.default_rng(1).permutation(np.arange(2 * length) < length)
    actual = await counts(dut, case["a"][:length], case["b"][:length], enables, latency)
    assert_equal(np.array(actual), case["expected"][: length - latency + 1], "pair")


def stimulus(width):
    """All pairs of narrow operands; of wide ones the extremes, single agreeing bits and random agreement."""
    rng = np.random.default_rng(width)
    if width <= 5:
        index = np.arange(1 << (2 * width))
        bits = (index[:, None] >> np.arange(2 * width)) & 1
        return bits[:, :width], bits[:, width:]
    pairs = 150 if width < 300 else 9_000 // width  # the codings simulate slowly
    single = rng.permutation(width)[: 2 * pairs]
    share = np.concatenate([[0, 1], np.zeros(len(single)), np.repeat([0.02, 0.5, 0.98], pairs)])
    agree = rng.random((len(share), width)) < share[:, None]
    agree[2 + np.arange(len(single)), single] ^= True
    a = rng.integers(0, 2, agree.shape)
    return a, a ^ ~agree


def compare(module, width, latency, **options):
    """Simulate `module` and compare it with sums in NumPy."""
    a, b = stimulus(width)
    expected = (a == b).sum(axis=1)
    assert (expected.min(), expected.max()) == (0, width)
    case = {"a": a, "b": b, "expected": expected, "latency": latency}
    simulate(module, "test_abbnn_popcount", {"WIDTH": width, "LATENCY": latency}, case=case, **options)


def prove(module, width):
    """Yosys: with one register, no pair of operands gives another count than the reference."""
    if shutil.which("yosys") is None:
        pytest.skip("yosys is not installed")
    parameters = {"WIDTH": width, "LATENCY": 1}
    path = paths.BUILD / "tb" / "popcount_reference.v"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(REFERENCE)
    script = [
        f"read_verilog -defer {' '.join(verilog.sources(module))}",
        f"hierarchy -check -top {module} -chparam WIDTH {width} -chparam LATENCY 1",
        "proc; flatten; opt -full; rename -top gate; design -stash gate",
        f"read_verilog -defer {path}",
        f"hierarchy -check -top reference -chparam WIDTH {width}",
        "proc; opt -full; rename -top gold; design -copy-from gate -as gate gate",
        "miter -equiv -flatten gold gate miter; hierarchy -top miter",
        "sat -verify -set in_enable 1 -seq 2 -prove-skip 1 -prove trigger 0 miter",
    ]
    status, said = verilog.run(["yosys", "-p", "; ".join(script)])
    assert status == 0, f"{module} {parameters}: {said[-2000:]}"
    assert "SUCCESS!" in said, f"{module} {parameters}: yosys proved nothing: {said[-2000:]}"


@pytest.mark.parametrize(
    ("width", "latency", "options"),
    [
        (1, 1, {}),
        (5, 2, {}),
        (288, 3, {}),
        (576, 4, {}),
        (19, 3, {"structural": True}),
        (288, 3, {"structural": True}),
        (19, 3, {"structural": True, "defines": ["ABBNN_LUT4"]}),
    ],
)
def test_abbnn_popcount(width, latency, options):
    compare("abbnn_popcount", width, latency, **options)
