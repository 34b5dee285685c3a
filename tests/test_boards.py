"""The boards of the bitstream flow: their entries, their files, and what is refused."""

import json
import re

import pytest

from abbnn import verilog
from abbnn.export.area import devices
from abbnn.syn.boards import BOARDS, board, read_boards, sources_hash

NAMES = sorted(read_boards())


def ports(text: str, module: str) -> dict[str, tuple[int, int] | None]:
    """Ports of a module and, of vectors, their bounds."""
    head = re.search(rf"module {module}\b.*?\n\);", text, re.DOTALL)
    assert head is not None
    found = re.findall(r"^\s*(?:input|output|inout)\s+wire\s*(?:\[(\d+):(\d+)\])?\s*(\w+)", head[0], re.MULTILINE)
    return {name: (int(high), int(low)) if high else None for high, low, name in found}


def test_the_shipped_boards_are_there() -> None:
    assert NAMES == ["colorlight-i5", "ulx3s-85f"]
    with pytest.raises(ValueError, match=r"^no board arty; there are colorlight-i5, ulx3s-85f$"):
        board("arty")


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_fits_its_files(name: str) -> None:
    """The top is in its file, takes what the flow gives it, and every port has a pin; the core is below it."""
    one = board(name)
    assert one.device == devices()[one.device.name]
    assert one.device.family == "ecp5"
    assert f"--{one.device.name.removeprefix('ecp5-')}" in one.nextpnr, "device of nextpnr and of the area model"
    text = "".join(path.read_text() for path in one.sources)
    for parameter in ("CLOCK_MHZ", "BOOT_WORDS", "BOOT_FILE"):
        assert re.search(rf"parameter\s+(integer\s+)?{parameter}\b", text), f"{one.top} has no {parameter}"
    modules = {path.stem for path in one.files()}
    assert {"abbnn_core", "abbnn_boot", "abbnn_load", "abbnn_popcount_lut4"} <= modules
    pins = re.findall(r'^LOCATE COMP "([^"]+)" SITE "(\w+)";', one.lpf.read_text(), re.MULTILINE)
    expected = set()
    for port, bounds in ports(text, one.top).items():
        expected |= {port} if bounds is None else {f"{port}[{bit}]" for bit in range(bounds[1], bounds[0] + 1)}
    assert {port for port, _ in pins} == expected
    assert set(one.line) <= expected
    assert len({site for _, site in pins}) == len(pins), "a pin has two ports"


def test_the_hash_is_that_of_all_sources(tmp_path) -> None:
    data = json.loads(BOARDS.read_text())["ulx3s-85f"] | {"sources": ["top.v"], "lpf": "top.lpf"}
    (tmp_path / "boards.json").write_text(json.dumps({"mine": data}))
    (tmp_path / "top.v").write_text("module top;\nabbnn_boot boot_inst ();\nendmodule\n")
    (tmp_path / "top.lpf").write_text("# pins\n")
    mine = read_boards(tmp_path / "boards.json", tmp_path)["mine"]
    assert mine.files() == [tmp_path / "top.v", verilog.file("abbnn_boot")]
    hashes = [sources_hash(mine.texts())]
    for file, text in (("top.lpf", "# other pins\n"), ("top.v", "module top;\nendmodule\n")):
        (tmp_path / file).write_text(text)
        hashes.append(sources_hash(mine.texts()))
    assert len(set(hashes)) == 3
    assert all(re.fullmatch(r"[0-9a-f]{16}", one) for one in hashes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": "ecp5-99k"}, "no device ecp5-99k"),
        ({"clock_mhz": 60}, "clock_mhz 60 is none of clocks_mhz"),
        ({"fill": 0}, "fill 0 is not in"),
        ({"cycles": 0}, "cycles 0 is no number"),
        ({"reserve": {"lut": 1, "ff": 1}}, "bram"),
        ({"top": None}, "top None is no name"),
        ({"line": {"clock": "clk", "txd": "txd"}}, "rxd"),
    ],
)
def test_a_bad_entry_is_named(tmp_path, change, message) -> None:
    data = json.loads(BOARDS.read_text())["ulx3s-85f"] | change
    path = tmp_path / "boards.json"
    path.write_text(json.dumps({"mine": data}))
    with pytest.raises(ValueError, match=r"boards.json: mine: .*" + message):
        read_boards(path)
