"""New weights in a finished bitstream: exactly the boot ROM changes, and what does not fit is refused.

The bitstream is that of tests/test_bitstream.py, of a small board. Without its tools, what needs them is skipped.
"""

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from random_network import random_network
from test_bitstream import FOLDING, NETWORK, block_words, built, flipped, needs_tools, small_board

from abbnn import paths, verilog
from abbnn.errors import UserError
from abbnn.export.config import pipeline_config
from abbnn.export.pipeline import Pipeline
from abbnn.golden.network import network_hash, save_network
from abbnn.golden.ranges import analyse
from abbnn.golden.structure import STRIDED_STEM, member
from abbnn.syn import bitstream, patch, trellis

OTHER = flipped(NETWORK)


def outside(config: str) -> str:
    """A text configuration without the numbers of the block RAMs and without our comment, by means of its own."""
    lines, inside = [], False
    for line in config.splitlines():
        inside = line.startswith(".bram_init") or (inside and line != "")
        if not line.startswith(f".comment {patch.PREFIX}") and not (inside and not line.startswith(".bram_init")):
            lines.append(line)
    return "\n".join(lines)


def with_header(text: str | None) -> bytes:
    """The bitstream with other metadata, or without."""
    data = built().bitstream
    body = data[data.index(b"\xff", 1) :]
    comments = ["Part: LFE5U-25F-6CABGA381"] + ([] if text is None else [patch.PREFIX + text])
    return b"\xff\0" + b"".join(comment.encode() + b"\0" for comment in comments) + body


def run(*words: object) -> None:
    parser = argparse.ArgumentParser()
    patch.add_arguments(parser)
    patch.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """old.bit, and the networks old, other (same layout), wider (other widths) and longer (other structure)."""
    (tmp_path / "old.bit").write_bytes(built().bitstream)
    structure = NETWORK.structure
    networks = {
        "old": NETWORK,
        "other": OTHER,
        "wider": random_network(structure, 3, value_width=14),
        "longer": random_network(
            member("small", (8, 12, 12), (1, 1, 1), image=8, stem=STRIDED_STEM, classes=3),
            1,
        ),
    }
    for name, network in networks.items():
        save_network(network, tmp_path / f"{name}.safetensors")
    return tmp_path


def refused(files: Path, bitstream_file: str, network: str, message: str) -> None:
    """One line that names the culprit and says why; the output is left as it was."""
    out = files / "out.bit"
    out.write_text("mine")
    before = sorted(files.iterdir())
    with pytest.raises((ValueError, OSError)) as caught:
        run(files / bitstream_file, files / network, "--out", out)
    said = " ".join(str(caught.value).split())
    assert message in said, said
    assert bitstream_file in said or network in said
    assert out.read_text() == "mine"
    assert sorted(files.iterdir()) == before


@needs_tools
def test_exactly_the_boot_rom_changes(files, capsys) -> None:
    run(files / "old.bit", files / "other.safetensors", "--out", files / "new.bit")
    said = capsys.readouterr().out
    new = (files / "new.bit").read_bytes()
    old_config, new_config = trellis.unpack(built().bitstream), trellis.unpack(new)
    image, before = Pipeline(OTHER, FOLDING).load_image, Pipeline(NETWORK, FOLDING).load_image
    meta = patch.read_metadata(new)
    words = [word for wid in meta.boot_blocks for word in block_words(new_config, wid)]
    assert words[: len(image)] == image != before
    assert not any(words[len(image) :])
    assert outside(new_config) == outside(old_config)
    others = [wid for wid, _ in trellis.blocks(old_config) if wid not in meta.boot_blocks]
    assert [block_words(old_config, wid) for wid in others] == [block_words(new_config, wid) for wid in others]
    changed = sum(a != b for a, b in zip(image, before, strict=True))
    assert f"{changed:,} of {len(image):,} words of the boot ROM changed" in said
    expected = replace(built().metadata, network_sha256=network_hash(OTHER))
    assert meta == expected


@needs_tools
def test_patching_is_building(files) -> None:
    """The same bytes as a build from the start, there and back."""
    run(files / "old.bit", files / "other.safetensors", "--out", files / "new.bit")
    new = (files / "new.bit").read_bytes()
    fresh = bitstream.build(OTHER, FOLDING, small_board(paths.BUILD / "tests" / "small_board"))
    assert new == fresh.bitstream != built().bitstream
    run(files / "new.bit", files / "old.safetensors", "--out", files / "new.bit")
    assert (files / "new.bit").read_bytes() == built().bitstream


@needs_tools
def test_the_old_network_gives_the_old_bytes(files, capsys) -> None:
    run(files / "old.bit", files / "old.safetensors", "--out", files / "old.bit")
    assert (files / "old.bit").read_bytes() == built().bitstream
    assert " 0 of " in capsys.readouterr().out


@needs_tools
def test_another_layout_says_what_differs(files) -> None:
    refused(files, "old.bit", "wider.safetensors", "it does not fit the layout of the bitstream: stem: ")
    refused(files, "old.bit", "longer.safetensors", "its structure is not that of small in the bitstream: folding: ")


@needs_tools
def test_files_that_are_no_bitstream_of_ours(files) -> None:
    (files / "text.bit").write_text("not a bitstream")
    refused(files, "text.bit", "old.safetensors", "text.bit: not an ECP5 bitstream")
    (files / "empty.bit").write_bytes(b"")
    refused(files, "empty.bit", "old.safetensors", "empty.bit: not an ECP5 bitstream")
    (files / "foreign.bit").write_bytes(with_header(None))
    refused(files, "foreign.bit", "old.safetensors", "foreign.bit: a bitstream, but not one of abbnn bitstream")
    refused(files, "gone.bit", "old.safetensors", "No such file")
    refused(files, "old.bit", "gone.safetensors", "gone.safetensors")
    with (files / "vast.bit").open("wb") as file:
        file.truncate(3 << 30)
    refused(files, "vast.bit", "old.safetensors", "no ECP5 has a bitstream of more than 16,777,216")
    (files / "bad.safetensors").write_text("nothing")
    refused(files, "old.bit", "bad.safetensors", "bad.safetensors")


@needs_tools
@pytest.mark.parametrize("where", ["header", "frames", "block RAM", "end", "one byte"])
def test_a_file_that_was_cut_off(files, where) -> None:
    data = built().bitstream
    header = data.index(b"\xff", 1)
    cut = {
        "header": header // 2,
        "frames": header + (len(data) - header) // 4,
        "block RAM": len(data) - 1000,
        "end": len(data) - 8,
        "one byte": len(data) - 1,
    }[where]
    (files / "cut.bit").write_bytes(data[:cut])
    message = "not an ECP5 bitstream" if where == "header" else "cut off"
    refused(files, "cut.bit", "old.safetensors", message)


@needs_tools
def test_another_packing_is_not_called_damaged(files) -> None:
    data = trellis.pack(trellis.unpack(built().bitstream), ["--freq", "38.8"])
    body = data[data.index(b"\xff", 1) :]
    (files / "packed.bit").write_bytes(built().bitstream[: built().bitstream.index(b"\xff", 1)] + body)
    said = "it unpacks, but is not as abbnn bitstream has written it: of another ecppack or of other options"
    refused(files, "packed.bit", "old.safetensors", said)


@needs_tools
@pytest.mark.parametrize("distance", [1500, 60_000])
def test_a_flipped_bit(files, distance) -> None:
    """In the block RAMs and in the frames: checksums of the bitstream itself."""
    data = bytearray(built().bitstream)
    data[-min(distance, len(data) // 2)] ^= 4
    (files / "flipped.bit").write_bytes(data)
    refused(files, "flipped.bit", "old.safetensors", "damaged")


@needs_tools
def test_a_boot_rom_that_was_changed_by_others(files) -> None:
    meta = built().metadata
    config = trellis.unpack(built().bitstream)
    words = dict(trellis.blocks(config))[meta.boot_blocks[0]].copy()
    words[100] ^= 1
    (files / "odd.bit").write_bytes(trellis.pack(trellis.replaced(config, {meta.boot_blocks[0]: words}), meta.pack))
    refused(files, "odd.bit", "old.safetensors", "what its boot ROM holds is no load image")


@needs_tools
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "abbnn-bitstream 1, not abbnn-bitstream 2"),
        ({"boot_blocks": [3, 3]}, "the blocks of the boot ROM are not those of its words"),
        ({"extra": 1}, "extra"),
        ({"boot_words": 0, "boot_blocks": []}, "without a boot ROM"),
        ({"boot_blocks": None}, "cannot be read"),
    ],
)
def test_metadata_that_cannot_be_used(files, change, message) -> None:
    fields = json.loads(built().metadata.text()) | change
    (files / "meta.bit").write_bytes(with_header(json.dumps(fields)))
    refused(files, "meta.bit", "old.safetensors", message)


@needs_tools
@pytest.mark.parametrize("name", ["ecppack", "ecpunpack"])
def test_a_missing_tool(files, monkeypatch, name) -> None:
    there = verilog.tool

    def tool(asked: str) -> str:
        if asked == name:
            raise FileNotFoundError(verilog.INSTALL[name])
        return there(asked)

    monkeypatch.setattr(verilog, "tool", tool)
    with pytest.raises(FileNotFoundError, match=f"{name} is not installed"):
        run(files / "old.bit", files / "other.safetensors", "--out", files / "new.bit")
    assert not (files / "new.bit").exists()


def test_parameters_come_back_stage_by_stage() -> None:
    configs = pipeline_config(NETWORK, analyse(NETWORK), FOLDING)
    meta = replace(built_metadata(), parameters={config.name: config.parameters for config in configs})
    assert meta.stages() == [dict(config.parameters) for config in configs]
    assert patch.image_for(NETWORK, meta) == Pipeline(NETWORK, FOLDING).load_image


def built_metadata() -> patch.Metadata:
    """Of a bitstream that was not built."""
    image = Pipeline(NETWORK, FOLDING).load_image
    folds = {name: [fold.pe, fold.simd, fold.weights] for name, fold in FOLDING.items()}
    blocks = list(range(3, 3 + -(-len(image) // 512)))
    layout = f"{image[1]:08x}"
    return patch.Metadata("small", "", layout, 0, "b", "d", 25, folds, "", {}, 1, [], len(image), blocks, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folding": {"stem": [1, "auto"]}}, "[1, 'auto'] is no PE, SIMD and weight memory"),
        ({"folding": {"stem": [1.0, 9]}}, "[1.0, 9] is no PE"),
        ({"folding": {"stem": [1, 9, []]}}, "[1, 9, []] is no PE"),
        ({"folding": [1]}, "folding is [1]"),
        ({"sources": 1 << 63}, "sources is 9223372036854775808"),
        ({"tools": {"yosys": None}}, "tools is {'yosys': None}"),
        ({"headroom": True}, "headroom is True"),
        ({"parameters": {"stem": {"PE": "1"}}}, "parameters is {'stem': {'PE': '1'}}"),
        ({"parameters": None}, "parameters is None"),
        ({"parameters": {"block00": {"SCALE_SHIFT_WIDTH": 10**12}}}, "a parameter of more than 24 bits"),
        ({"boot_words": "512"}, "boot_words is 512"),
        ({"pack": ["--svf", "/tmp/elsewhere"]}, "options for ecppack"),
    ],
)
def test_metadata_of_wrong_types(change, message) -> None:
    fields = json.loads(built_metadata().text()) | change
    with pytest.raises(UserError, match=re.escape(message)):
        patch.read_metadata(b"\xff\0" + patch.PREFIX.encode() + json.dumps(fields).encode() + b"\0\xff")


def test_a_key_of_the_metadata_that_is_there_twice() -> None:
    text = built_metadata().text().replace('"seed":1', '"seed":1,"seed":2')
    with pytest.raises(UserError, match="seed is there twice"):
        patch.read_metadata(b"\xff\0" + patch.PREFIX.encode() + text.encode() + b"\0\xff")


@pytest.mark.parametrize("key", ["SCALE_TERMS", "SCALE_SHIFT_WIDTH", "SUM_WIDTH", "SCALE_GUARD"])
def test_a_layout_of_absurd_widths(key) -> None:
    """Refused before tables of that width are made."""
    configs = pipeline_config(NETWORK, analyse(NETWORK), FOLDING)
    layout = {config.name: dict(config.parameters) for config in configs}
    layout["block00"][key] = 10**6
    with pytest.raises(UserError, match=f"block00: {key} is .*, the layout's is 1000000"):
        patch.image_for(NETWORK, replace(built_metadata(), parameters=layout))


def test_chunks_are_padded_with_zeros() -> None:
    parts = patch.chunks(list(range(1, 514)))
    assert [len(part) for part in parts] == [512, 512]
    assert parts[1][:2].tolist() == [513, 0]
    assert not parts[1][1:].any()
    assert patch.chunks([]) == []


@needs_tools
def test_headroom_takes_a_network_of_other_widths(tmp_path) -> None:
    """Another network of the same structure, trained anew so to speak: it fits where room was left, and only there."""
    retrained = random_network(NETWORK.structure, 8)
    with pytest.raises(patch.Refused, match="does not fit the layout"):
        patch.patched(built().bitstream, retrained)
    roomy = bitstream.build(NETWORK, FOLDING, small_board(tmp_path), headroom=4)
    result = patch.patched(roomy.bitstream, retrained)
    assert result.metadata.network_sha256 == network_hash(retrained)
    assert result.changed > 0
    fitted_image = patch.image_for(retrained, roomy.metadata)
    assert patch.image_in(trellis.unpack(result.bitstream), result.metadata) == fitted_image
    assert fitted_image[1] == int(roomy.metadata.layout, 16)
