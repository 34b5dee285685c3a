"""The flow to a bitstream on a small board: words, reports, refusals, the same bytes from the same inputs.

The board has the boot ROM and a register that every word goes through, so a build takes seconds; without Yosys or
nextpnr the tests that build are skipped.
"""

import functools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_network import random_network

from abbnn import paths, verilog
from abbnn.errors import UserError
from abbnn.executor import Workers
from abbnn.export.folding import Fold, balance, cycles, stages, to_json
from abbnn.export.parts import LUT_WORDS, Area
from abbnn.export.pipeline import Pipeline
from abbnn.golden.network import load_network, network_hash, save_network
from abbnn.golden.structure import STRIDED_STEM, member
from abbnn.syn import bitstream, patch, pnr, trellis, yosys
from abbnn.syn.boards import Board, read_boards
from abbnn.syn.outreg import use_output_registers

TOP = """
module small_board #(parameter integer CLOCK_MHZ = 25, parameter integer BOOT_WORDS = 1, parameter BOOT_FILE = "") (
    input wire clk_in, output wire out
);
wire [31:0] word; wire valid; wire last;
reg  [31:0] sum_reg; reg out_reg; reg [3:0] start_reg = 4'd0;
wire rst = !start_reg[3];
always @(posedge clk_in) begin
    if (rst) start_reg <= start_reg + 4'd1;
    if (valid) sum_reg <= {sum_reg[30:0], sum_reg[31]} ^ word;
    out_reg <= ^sum_reg ^ last;
end
abbnn_boot #(
    .WORDS(BOOT_WORDS),
    .FILE(BOOT_FILE)
) boot_inst (
    .clk(clk_in), .rst(rst),
    .s_axis_tdata(sum_reg), .s_axis_tvalid(out_reg), .s_axis_tready(), .s_axis_tlast(out_reg),
    .m_axis_tdata(word), .m_axis_tvalid(valid), .m_axis_tready(1'b1), .m_axis_tlast(last)
);
assign out = out_reg;
endmodule
"""
PINS = """
LOCATE COMP "clk_in" SITE "P3";
IOBUF PORT "clk_in" IO_TYPE=LVCMOS33;
FREQUENCY PORT "clk_in" {mhz} MHZ;
LOCATE COMP "out" SITE "U16";
IOBUF PORT "out" IO_TYPE=LVCMOS33;
"""
NETWORK = random_network(member("small", (8, 12), (1, 1), image=8, stem=STRIDED_STEM, classes=3), 1)
FOLDING = balance(NETWORK, 1024)

try:
    for name in verilog.INSTALL:
        verilog.tool(name)
    INSTALLED = True
except FileNotFoundError:
    INSTALLED = False

needs_tools = pytest.mark.skipif(not INSTALLED, reason="Yosys, nextpnr-ecp5, ecppack or ecpunpack is not installed")


def small_board(folder: Path, mhz: int = 25) -> Board:
    """An LFE5U-25F with TOP on it, its files in `folder`."""
    (folder / "small_board.v").write_text(TOP)
    (folder / "small_board.lpf").write_text(PINS.format(mhz=mhz))
    return replace(
        read_boards()["colorlight-i5"],
        name="small",
        top="small_board",
        sources=(folder / "small_board.v",),
        lpf=folder / "small_board.lpf",
        clock_mhz=mhz,
        clocks_mhz=(mhz,),
        reserve=Area(0, 0, 0),
    )


@functools.cache
def built() -> bitstream.Build:
    folder = paths.BUILD / "tests" / "small_board"
    folder.mkdir(parents=True, exist_ok=True)
    return bitstream.build(NETWORK, FOLDING, small_board(folder))


def block_words(config: str, wid: int) -> list[int]:
    """Read by the definition in docs/bitstream.md, without the code under test."""
    lines = config.split(f"\n.bram_init {wid}\n")[1].split("\n\n")[0].split()
    numbers = [int(number, 16) for number in lines]
    assert len(numbers) == 2048
    return [sum(numbers[4 * word + part] << (9 * part) for part in range(4)) for word in range(512)]


# ---- the bitstream --------------------------------------------------------------------------------------------------


@needs_tools
def test_every_word_of_the_image_reads_back() -> None:
    result, image = built(), Pipeline(NETWORK, FOLDING).load_image
    meta = result.metadata
    assert result.words_read_back == meta.boot_words == len(image) > 512, "more than one chunk"
    assert len(meta.boot_blocks) == -(-len(image) // 512)
    config = trellis.unpack(result.bitstream)
    words = [word for wid in meta.boot_blocks for word in block_words(config, wid)]
    assert words[: len(image)] == image
    assert not any(words[len(image) :])
    assert result.cells["DP16KD"] == len(meta.boot_blocks), "a chunk is one block RAM"


@needs_tools
def test_metadata() -> None:
    meta = built().metadata
    assert patch.read_metadata(built().bitstream) == meta
    assert meta.network_sha256 == network_hash(NETWORK)
    assert meta.folds() == FOLDING
    assert f"{Pipeline(NETWORK, FOLDING).load_image[1]:08x}" == meta.layout
    assert (meta.board, meta.device, meta.clock_mhz, meta.seed) == ("small", "ecp5-25k", 25, 1)
    assert set(meta.tools) == {"yosys", "nextpnr-ecp5", "ecppack"}
    header = built().bitstream[: built().bitstream.index(b"\xff", 1)]
    assert b"Part: LFE5U-25F-6CABGA381\0" in header
    assert b"/" not in header, "a path"


@needs_tools
def test_the_same_bytes_elsewhere(tmp_path) -> None:
    """Another process, folder, temporary folder, home and user name, hash seed, time zone: the same bitstream."""
    for sub in ("work", "tmp", "home", "a b"):
        (tmp_path / sub).mkdir()
    script = (
        "import sys; from pathlib import Path; import test_bitstream as t; from syn import bitstream\n"
        "made = bitstream.build(t.NETWORK, t.FOLDING, t.small_board(Path(sys.argv[1])))\n"
        "Path('out.bit').write_bytes(made.bitstream); Path('out.config').write_text(made.config)\n"
    )
    cache = {name: os.environ[name] for name in ("PATH",)} | {"XDG_CACHE_HOME": str(Path.home() / ".cache")}
    environment = {
        **cache,
        "PYTHONPATH": os.pathsep.join(paths.search_path()),
        "TMPDIR": str(tmp_path / "tmp"),
        "HOME": str(tmp_path / "home"),
        "USER": "somebody",
        "TZ": "Pacific/Auckland",
        "PYTHONHASHSEED": "7",
    }
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a b")], cwd=tmp_path / "work", env=environment, check=True
    )
    assert (tmp_path / "work" / "out.bit").read_bytes() == built().bitstream
    assert (tmp_path / "work" / "out.config").read_text() == built().config


@needs_tools
def test_weights_do_not_move_anything() -> None:
    """A network of the same layout and other weights is placed and routed the same."""
    result = bitstream.build(flipped(NETWORK), FOLDING, small_board(paths.BUILD / "tests" / "small_board"))
    assert result.bitstream != built().bitstream
    assert patch._skeleton(result.config) == patch._skeleton(built().config)


def flipped(network):
    """Other weights, thresholds and so a load image of the same layout."""
    blocks = tuple(replace(block, weights=1 - block.weights) for block in network.blocks)
    return replace(network, blocks=blocks)


@needs_tools
def test_report() -> None:
    report = json.loads(json.dumps(bitstream.to_json(built())))
    (clock,) = report["clocks"]
    assert (clock["name"], clock["wanted"], clock["met"]) == ("clk_in", 25.0, True)
    assert clock["achieved"] > 60
    assert report["timing_met"] is True
    assert report["utilisation"]["DP16KD"] == {"used": len(built().metadata.boot_blocks), "available": 56}
    (slowest,) = [path for path in report["critical_paths"] if path["start"] == path["end"] == "posedge clk_in"]
    assert slowest["delay_ns"] == pytest.approx(1000 / clock["achieved"], abs=0.5)
    assert slowest["logic_ns"] + slowest["routing_ns"] == pytest.approx(slowest["delay_ns"], abs=0.002)
    steps = {
        (step["instance"].split(".")[0], step["module"]) for path in report["critical_paths"] for step in path["steps"]
    }
    assert steps
    assert {instance for instance, _ in steps} <= {"", "boot_inst"}
    assert all(bool(instance) == bool(module) for instance, module in steps)
    assert set(report["seconds"]) == {"export", "yosys", "nextpnr", "ecppack"}
    text = bitstream.to_markdown(report)
    for word in ("clk_in", "block RAM", "nextpnr-ecp5", f"{clock['achieved']:.2f}"):
        assert word in text


def test_cell_area_counts_what_nextpnr_packs() -> None:
    cells = {"LUT4": 10, "CCU2C": 3, "TRELLIS_DPR16X4": 2, "TRELLIS_FF": 7, "DP16KD": 4, "EHXPLLL": 1}
    assert bitstream.cell_area(cells) == Area(28, 7, 4)


def test_random_chunks_are_distinct_and_fixed() -> None:
    chunks = bitstream.random_image(40)
    assert len({chunk.tobytes() for chunk in chunks}) == 40
    assert np.array_equal(chunks[0][:2], bitstream.random_image(1)[0][:2])
    assert f"{chunks[0][0]:08x}" == "ac86b818"


# ---- text configuration ---------------------------------------------------------------------------------------------

CONFIG = ".device LFE5U-25F\n\n.comment Part: X\n\n.tile A\narc: B C\n\n"


def test_blocks_round_trip() -> None:
    words = np.arange(512, dtype=np.uint32) * np.uint32(8_388_593)
    config = CONFIG + trellis.block_text(3, words) + "\n" + trellis.block_text(11, words[::-1].copy()) + "\n"
    assert [wid for wid, _ in trellis.blocks(config)] == [3, 11]
    assert block_words(config, 3) == words.tolist()
    assert dict(trellis.blocks(config))[11].tolist() == words[::-1].tolist()
    other = trellis.replaced(config, {11: words})
    assert block_words(other, 11) == words.tolist()
    assert trellis.without_contents(other) == trellis.without_contents(config)
    assert trellis.find_chunks(config, [words[::-1], words]) == [11, 3]
    with pytest.raises(ValueError, match="chunk 0 of the boot ROM is in 2 block RAMs"):
        trellis.find_chunks(other, [words])
    with pytest.raises(ValueError, match="chunk 0 of the boot ROM is in 0 block RAMs"):
        trellis.find_chunks(config, [words + np.uint32(1)])
    with pytest.raises(ValueError, match="no block RAM of WID 4"):
        trellis.replaced(config, {4: words})
    with pytest.raises(ValueError, match="511 words"):
        trellis.block_text(3, words[1:])


def test_comments() -> None:
    once = trellis.with_comment(CONFIG, "abbnn: ", "one\\1")
    assert once == CONFIG.replace("Part: X\n", "Part: X\n.comment abbnn: one\\1\n")
    assert trellis.with_comment(once, "abbnn: ", "two") == once.replace("one\\1", "two")
    assert trellis.comments(b"\xff\x00Part: X\0abbnn: {}\0\xff\xff\xbd\xb3") == ["Part: X", "abbnn: {}"]
    for bad in (b"", b"PK\3\4", b"\xff\x00", b"\xff\x00abc", b"\xff\x00abc\xff"):
        with pytest.raises(ValueError, match="not an ECP5 bitstream"):
            trellis.comments(bad)


def test_options_of_the_pin_file_are_given_to_ecppack() -> None:
    given = trellis.sysconfig(".sysconfig MCCLK_FREQ 62\n.sysconfig COMPRESS_CONFIG ON\n")
    assert bitstream._pack_options(["--spimode", "qspi"], given) == [
        *("--spimode", "qspi", "--compress", "--freq", "62.0")
    ]
    assert bitstream._pack_options(["--compress", "--freq", "38.8"], given) == ["--compress", "--freq", "38.8"]


# ---- instances ------------------------------------------------------------------------------------------------------


def test_instances_have_modules() -> None:
    top = read_boards()["ulx3s-85f"].sources[0].read_text()
    path = "board_inst.axi_inst.core_inst.block04.array_inst.gen_pe[0].x_LUT4_Z"
    assert pnr.instance_of(path) == "board_inst.axi_inst.core_inst.block04.array_inst"
    assert pnr.module_of("board_inst.axi_inst.core_inst.head", top) == "abbnn_head"
    assert pnr.instance_of("led_LUT4_Z") == ""
    assert pnr.module_of("board_inst.boot_inst", top) == "abbnn_boot"
    assert pnr.module_of(pnr.instance_of(path), top) == "abbnn_xnor_array"
    assert pnr.module_of("board_inst.link_inst", top) == "abbnn_link"
    assert pnr.module_of("elsewhere_inst", top) == ""


# ---- what does not fit ----------------------------------------------------------------------------------------------


def never(*_args, **_options):
    raise AssertionError("a tool was started")


def test_too_big_is_said_before_synthesis(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(trellis, "run", never)
    big = random_network(member("big", (64, 128), (1, 1), image=16, stem=STRIDED_STEM, classes=10), 1)
    folding = balance(big, 512)
    with pytest.raises(
        ValueError, match=r"^big is estimated not to fit small: [\d,]+ LUT too many \([\d,]+ of 24,288\)"
    ):
        bitstream.build(big, folding, small_board(tmp_path))


def test_a_folding_is_found_or_refused(tmp_path) -> None:
    where = small_board(tmp_path)
    assert bitstream.choose_folding(NETWORK, where) == balance(NETWORK, where.cycles)
    assert bitstream.choose_folding(NETWORK, replace(where, cycles=1)) == balance(NETWORK)
    tight = replace(where, fill=0.5)
    chosen = bitstream.choose_folding(NETWORK, tight)
    need = bitstream.estimate(NETWORK, chosen, tight).area
    assert need.lut <= 0.5 * where.device.lut
    full = replace(where, reserve=Area(24_000, 0, 0))
    with pytest.raises(ValueError, match=r"^small does not fit small at any rate: .*LUT"):
        bitstream.choose_folding(NETWORK, full)
    with pytest.raises(ValueError, match=r"^small does not fit small at any rate: .*block RAM"):
        bitstream.choose_folding(NETWORK, replace(where, reserve=Area(0, 0, 56)))
    without = bitstream.estimate(NETWORK, chosen, where, boot=False).area
    assert bitstream.estimate(NETWORK, chosen, where).area.bram - without.bram == -(
        -len(Pipeline(NETWORK, chosen).load_image) // 512
    )


@pytest.mark.parametrize("name", sorted(read_boards()))
def test_tiny_fits_every_board(name) -> None:
    tiny = load_network(paths.MODELS / "tiny.safetensors")
    where = read_boards()[name]
    folding = bitstream.choose_folding(tiny, where, boot=where.boot)
    assert max(cycles(stage, folding[stage.name]) for stage in stages(tiny)) >= where.cycles
    need = bitstream.estimate(tiny, folding, where, boot=where.boot).area
    assert need.lut <= where.fill * where.device.lut
    assert need.bram <= where.device.bram


@needs_tools
@pytest.mark.parametrize("words", [100, 513, 3000, 18601])
def test_the_boot_rom_is_as_large_as_estimated(words, tmp_path) -> None:
    """By itself with random words: within the few cells that Yosys shares or saves."""
    for index, chunk in enumerate(bitstream.random_image(-(-words // trellis.CHUNK))):
        (tmp_path / f"boot.{index:03d}.mem").write_text("".join(f"{word:08x}\n" for word in chunk.tolist()))
    values = {"WORDS": words, "FILE": "boot"}
    source = str(verilog.file("abbnn_boot"))
    read, elaborate = verilog.yosys_elaboration("abbnn_boot", values, [source], defines=bitstream.DEFINES)
    commands = [read, elaborate.replace(" -check", ""), "synth_ecp5 -nowidelut -top abbnn_boot", "write_json boot.json"]
    subprocess.run([yosys.executable(), "-q", "-p", "; ".join(commands)], cwd=tmp_path, check=True)
    module = json.loads((tmp_path / "boot.json").read_text())["modules"]["abbnn_boot"]
    use_output_registers(module)
    area = bitstream.cell_area(Counter(cell["type"] for cell in module["cells"].values()))
    expected = bitstream.boot_area(words)
    assert area.lut == pytest.approx(expected.lut, rel=0.03, abs=4)
    assert area.ff == pytest.approx(expected.ff, rel=0.03, abs=4)
    assert area.bram == expected.bram


def test_tables_of_lut_ram_are_those_of_the_rtl() -> None:
    (words,) = re.findall(r"localparam integer LUT_WORDS = (\d+);", verilog.file("abbnn_table").read_text())
    assert int(words) == LUT_WORDS


def test_headroom_counts_in_what_fits(tmp_path) -> None:
    """Wider sums, shifts and tables, also where the solver looks for a folding."""
    where = replace(small_board(tmp_path), fill=0.5)
    folding = bitstream.choose_folding(NETWORK, where)
    tight, roomy = (bitstream.estimate(NETWORK, folding, where, headroom=bits).area for bits in (0, 2))
    assert roomy.lut > tight.lut
    assert roomy.ff > tight.ff
    barely = replace(where, fill=1.001 * tight.lut / where.device.lut)
    assert bitstream.choose_folding(NETWORK, barely) == folding
    with pytest.raises(ValueError, match="LUT too many"):
        bitstream.build(NETWORK, folding, replace(barely, reserve=Area(23_990 - tight.lut, 0, 0)), headroom=9)
    chosen = bitstream.choose_folding(NETWORK, barely, headroom=2)
    assert chosen != folding
    assert bitstream.estimate(NETWORK, chosen, barely, headroom=2).area.lut <= barely.fill * barely.device.lut


@needs_tools
def test_too_big_is_said_after_synthesis(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pnr, "routing", never)
    monkeypatch.setattr(bitstream, "cell_area", lambda cells: Area(24_289, 1, 1))
    with pytest.raises(
        ValueError, match=r"^small, synthesized, does not fit small: 1 LUT too many \(24,289 of 24,288\)$"
    ):
        bitstream.build(NETWORK, FOLDING, small_board(tmp_path))


# ---- command line ---------------------------------------------------------------------------------------------------


def run(monkeypatch, where: Board, *words: str) -> int:
    import argparse

    monkeypatch.setattr(bitstream, "board", lambda name: where)
    parser = argparse.ArgumentParser()
    bitstream.add_arguments(parser)
    return bitstream.run(parser.parse_args([*words, "--board", where.name]))


@needs_tools
def test_a_missed_clock_is_status_1_with_the_figure(tmp_path, monkeypatch, capsys) -> None:
    """And the bitstream is there, with its report, beside the logs."""
    save_network(NETWORK, tmp_path / "net.safetensors")
    (tmp_path / "fold.json").write_text(to_json(FOLDING))
    where, out = small_board(tmp_path, mhz=400), tmp_path / "out"
    words = (str(tmp_path / "net.safetensors"), "--fold", str(tmp_path / "fold.json"), "--out", str(out))
    assert run(monkeypatch, where, *words) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "clk_in reaches" in said.err
    assert "MHz of 400" in said.err
    report = json.loads((out / "report.json").read_text())
    assert report["timing_met"] is False
    assert f"{report['clocks'][0]['achieved']:.2f} MHz of" in said.err
    names = {"net-small.bit", "net-small.config", "report.json", "report.md", "nextpnr.log", "yosys.log"}
    assert {path.name for path in out.iterdir()} == names
    assert patch.read_metadata((out / "net-small.bit").read_bytes()).clock_mhz == 400


@needs_tools
def test_the_best_of_several_seeds_is_kept() -> None:
    """The bitstream is the one that its seed alone gives, and every seed is in the report."""
    where = small_board(paths.BUILD / "tests" / "small_board")
    result = bitstream.build(NETWORK, FOLDING, where, seeds=range(1, 4), workers=Workers(2))
    report = bitstream.to_json(result)
    rates = report["seeds"]["mhz"]
    assert list(rates) == ["1", "2", "3"]
    assert rates["1"] == round(bitstream.reached(built().report, 25), 2)
    assert report["seeds"]["mhz_max"] == max(rates.values()) == rates[str(report["seed"])]
    assert report["seeds"]["mhz_median"] == sorted(rates.values())[1]
    alone = bitstream.build(NETWORK, FOLDING, where, seeds=[report["seed"]])
    assert alone.bitstream == result.bitstream
    assert "## seeds: median" in bitstream.to_markdown(report)


@needs_tools
def test_a_seed_that_fails_is_said_and_the_others_count(monkeypatch) -> None:
    route = pnr.routing

    def failing(options, files, seed, freq):
        return pnr.Routing(seed, "", "", {}, "nextpnr-ecp5: no") if seed < 3 else route(options, files, seed, freq)

    monkeypatch.setattr(pnr, "routing", failing)
    where = small_board(paths.BUILD / "tests" / "small_board")
    report = bitstream.to_json(bitstream.build(NETWORK, FOLDING, where, seeds=range(1, 4)))
    assert [report["seeds"]["mhz"][seed] for seed in ("1", "2")] == [None, None]
    assert report["seed"] == 3
    with pytest.raises(UserError, match="nextpnr-ecp5: no"):
        bitstream.build(NETWORK, FOLDING, where, seeds=range(1, 3))


def test_what_is_refused_before_anything_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(trellis, "run", never)
    monkeypatch.setattr(verilog, "tool", lambda name: name)
    save_network(NETWORK, tmp_path / "net.safetensors")
    where, net = small_board(tmp_path), str(tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="small has no clock of 50 MHz; there are 25"):
        run(monkeypatch, where, net, "--freq", "50")
    (tmp_path / "fold.json").write_text(to_json({name: Fold(3, 1) for name in FOLDING}))
    with pytest.raises(ValueError, match=r"fold\.json: "):
        run(monkeypatch, where, net, "--fold", str(tmp_path / "fold.json"))
    with pytest.raises(ValueError, match=r"net\.safetensors: 1 cycles a frame: "):
        run(monkeypatch, where, net, "--cycles", "1")
    with pytest.raises(ValueError, match=r"net\.safetensors: small does not fit small at .*LUT.*takes most, [\d,]+$"):
        run(monkeypatch, replace(where, reserve=Area(24_200, 0, 0)), net)
    with pytest.raises(ValueError, match=r"block RAM too many .*; with --no-boot it fits$"):
        run(monkeypatch, replace(where, boot=True, reserve=Area(0, 0, 54)), net)
    with pytest.raises(ValueError, match=r"gone\.v is missing"):
        run(monkeypatch, replace(where, sources=(tmp_path / "gone.v",)), net)
    assert not list(tmp_path.glob("**/*.bit"))


@pytest.mark.parametrize("name", sorted(verilog.INSTALL))
def test_a_missing_tool_is_named(name, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(FileNotFoundError, match=f"(?i){name} is not installed: .*pip install yowasp-"):
        verilog.tool(name)


@needs_tools
def test_a_tool_that_fails_says_why(tmp_path, monkeypatch) -> None:
    where = small_board(tmp_path)
    logs: dict[str, str] = {}
    with pytest.raises(ValueError, match=r"^small: Yosys: ERROR: .*absent"):
        bitstream.build(NETWORK, FOLDING, replace(where, top="absent"), logs=logs)
    where = small_board(tmp_path)
    where.lpf.write_text(PINS.format(mhz=25).replace("U16", "ZZ99"))
    with pytest.raises(ValueError, match=r"^nextpnr-ecp5: .*ZZ99"):
        bitstream.build(NETWORK, FOLDING, where, logs=logs)
    assert "nextpnr.log" in logs
