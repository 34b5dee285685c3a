"""Counts of operations against formulas written out by hand, the paper's totals, and `abbnn report operations`."""

import json

import pytest
from random_network import random_network

from abbnn.golden.network import save_network
from abbnn.golden.structure import DECLARATIONS, RESNET_STEM, declared_network, member
from abbnn.report.__main__ import main
from abbnn.report.operations import (
    FORMS,
    Count,
    Precision,
    inner_layers,
    outer_layers,
    removed,
    total,
    weight_bits,
)

PLAIN = Precision(stem_planes=8, head_planes=8, terms=3)


def reading(row) -> list[tuple[int, int, int, int]]:
    """(multiplications, additions, binary, shifts) of BN, BN-Free, A&B and hardware."""
    return [(row[form].multiplications, row[form].additions, row[form].binary, row[form].shifts) for form in FORMS]


def test_every_layer_of_a_small_network_by_hand() -> None:
    """8x8 image, stem to 4 channels, an identity block, a block of stride 2 to 6 channels, 10 classes."""
    structure = member("small", (4, 6), (1, 1), image=8)
    whole, half = 8 * 8 * 4, 4 * 4 * 6
    pooled = 4 * 4 * 4
    blocks = {
        "block00.sign": [(0, whole, 0, 0), (whole, whole, 0, 0), (0, whole, 0, 0), (0, whole, 0, 0)],
        "block00.conv": [(0, 0, 36 * whole, 0)] * 3 + [(0, whole, 36 * whole, whole)],
        "block00.scale": [(whole, whole, 0, 0), (whole, 0, 0, 0), (0, 0, 0, whole), (0, 2 * whole, 0, 4 * whole)],
        "block00.shortcut": [(0, whole, 0, 0)] * 4,
        "block00.activation": [
            (whole, 2 * whole, 0, 0),
            (whole, 2 * whole, 0, 0),
            (0, 2 * whole, 0, whole),
            (0, 3 * whole, 0, whole),
        ],
        "block01.sign": [(0, whole, 0, 0), (whole, whole, 0, 0), (0, whole, 0, 0), (0, whole, 0, 0)],
        "block01.conv": [(0, 0, 36 * half, 0)] * 3 + [(0, half, 36 * half, half)],
        "block01.scale": [(half, half, 0, 0), (half, 0, 0, 0), (0, 0, 0, half), (0, 2 * half, 0, 4 * half)],
        # The average of 4 and a shift or product, the 1x1 convolution of 4 channels, the adder.
        "block01.shortcut": [
            (pooled + 4 * half, 3 * pooled + 3 * half + half + half, 0, 0),
            (pooled, 3 * pooled + 3 * half + half, 0, 0),
            (0, 3 * pooled + 3 * half + half, 0, pooled),
            (0, 3 * pooled + 4 * half + 2 * half + half, 0, pooled + 4 * half),
        ],
        "block01.activation": [
            (half, 2 * half, 0, 0),
            (half, 2 * half, 0, 0),
            (0, 2 * half, 0, half),
            (0, 3 * half, 0, half),
        ],
    }
    assert {name: reading(row) for name, row in inner_layers(structure, PLAIN).items()} == blocks
    outside = {
        "stem.conv": [
            (28 * whole, 27 * whole, 0, 0),
            (27 * whole, 26 * whole, 0, 0),
            (27 * whole, 26 * whole, 0, 0),
            (0, 8 * 27 * whole + 8 * 8 * 3, 0, 7 * whole + 2 * whole),
        ],
        "pool": [(6, 6 * 15, 0, 0), (6, 6 * 15, 0, 0), (0, 6 * 15, 0, 6), (0, 6 * 15, 0, 6)],
        "head": [(60, 60 + 9, 0, 0)] * 3 + [(0, 8 * 60 + 9, 0, 70)],
    }
    assert {name: reading(row) for name, row in outer_layers(structure, PLAIN).items()} == outside
    sums = total(inner_layers(structure, PLAIN))
    assert reading(sums) == [
        tuple(map(sum, zip(*column, strict=True))) for column in zip(*blocks.values(), strict=True)
    ]


def test_layers_of_the_other_families_by_hand() -> None:
    """Free slopes, max-pool, a shortcut without average; the doubled width; a pool whose divisor is no power of two."""
    structure = member("bi", (4, 6), (1, 1), family="xnornet", image=48, stem=RESNET_STEM)
    stem, whole, half = 24 * 24 * 4, 12 * 12 * 4, 6 * 6 * 6
    outside = outer_layers(structure, PLAIN)
    assert reading(outside["stem.prelu"]) == [(stem, 0, 0, 0)] * 3 + [(0, 2 * stem, 0, 4 * stem)]
    assert reading(outside["stem.pool"]) == [(0, 8 * whole, 0, 0)] * 4
    assert reading(outside["pool"])[1:] == [(6, 6 * 35, 0, 0), (6, 6 * 35, 0, 0), (0, 6 * 35, 0, 6)]
    blocks = inner_layers(structure, PLAIN)
    assert "block00.activation" not in blocks
    assert reading(blocks["block00.sign"]) == [(0, 0, 0, 0), (whole, 0, 0, 0), (0, 0, 0, 0), (0, whole, 0, 0)]
    assert reading(blocks["block01.shortcut"])[1:3] == [(0, 4 * half, 0, 0)] * 2
    assert reading(blocks["block01.activation"]) == [(half, 0, 0, 0)] * 3 + [(0, 2 * half, 0, 4 * half)]

    # Real weights are multiplied with in every form but the hardware's: here as 8 planes, with a power of two behind.
    real = inner_layers(member("b", (4, 6), (1, 1), family="birealnet", image=8), PLAIN)
    pooled, half = 4 * 4 * 4, 4 * 4 * 6
    assert reading(real["block01.shortcut"]) == [
        (pooled + 4 * half, 3 * pooled + 4 * half + half, 0, 0),
        (pooled + 4 * half, 3 * pooled + 3 * half + half, 0, 0),
        (4 * half, 3 * pooled + 3 * half + half, 0, pooled),
        (0, 3 * pooled + 8 * 4 * half + half, 0, pooled + 7 * half + 2 * half),
    ]

    paired = inner_layers(member("a", (4, 8, 16), (0, 1, 1), family="reactneta", image=8), PLAIN)
    # block01: 1x1, 4 to 8 channels of 8x8. block02: 3x3 of stride 2 on 8 channels; its shortcut is an average.
    assert reading(paired["block01.conv"])[0] == (0, 0, 4 * 8 * 64, 0)
    assert reading(paired["block01.shortcut"]) == [(0, 8 * 64, 0, 0)] * 4
    assert reading(paired["block02.shortcut"])[1:3] == [(8 * 16, 4 * 8 * 16, 0, 0), (0, 4 * 8 * 16, 0, 8 * 16)]


def test_precision_of_a_frozen_network_is_what_it_holds() -> None:
    structure = member("small", (4, 6), (1, 1), image=8)
    options = {"scales": "free", "terms": 2, "terms_of": {"block01": 4}, "stem_planes": 5, "head_planes": 6}
    precision = Precision.of(random_network(structure, 1, **options))
    rows = inner_layers(structure, precision) | outer_layers(structure, precision)
    assert rows["block00.scale"]["hardware"] == Count(additions=256, shifts=3 * 256)
    assert rows["block01.scale"]["hardware"] == Count(additions=3 * 96, shifts=5 * 96)
    assert rows["stem.conv"]["hardware"] == Count(additions=5 * 27 * 256 + 192, shifts=(4 + 2) * 256)
    assert rows["head"]["hardware"] == Count(additions=6 * 60 + 9, shifts=5 * 10)
    structure = member("real", (4, 6), (1, 1), family="birealnet", image=8)
    rows = inner_layers(structure, Precision.of(random_network(structure, 1, terms=2, shortcut_planes=5)))
    added = 3 * 64 + 5 * 4 * 96 + 96
    assert rows["block01.shortcut"]["hardware"] == Count(additions=added, shifts=64 + (4 + 2) * 96)


@pytest.mark.parametrize("name", DECLARATIONS)
@pytest.mark.parametrize(("side", "classes"), [(32, 10), (224, 1000)])
def test_the_hardware_multiplies_nowhere(name, side, classes) -> None:
    structure = declared_network(name, image=side, classes=classes)
    rows = inner_layers(structure, PLAIN) | outer_layers(structure, PLAIN)
    assert all(row["hardware"].multiplications == 0 for row in rows.values())
    assert all(row["hardware"].additions or row["hardware"].binary for row in rows.values())


def test_the_papers_totals() -> None:
    """Tables 1 and 2 and Figure 2, 224x224, to the digits that they print."""
    resnet = declared_network("reactnet18", classes=1000, image=224)
    mobile = declared_network("reactneta", classes=1000, image=224)
    assert f"{removed(resnet, PLAIN)['beta on outputs'] / 1e6:.2f}" == "4.60"
    assert f"{removed(mobile, PLAIN)['beta on inputs'] / 1e6:.2f}" == "14.65"
    # What the other rule gives, so that the footnote's claim is watched too.
    assert f"{removed(resnet, PLAIN)['beta on inputs'] / 1e6:.2f}" == "4.78"
    assert f"{removed(mobile, PLAIN)['beta on outputs'] / 1e6:.2f}" == "14.30"

    def millions(structure, part) -> float:
        rows = inner_layers(structure, PLAIN)
        return sum(row["BN-Free"].multiplications for name, row in rows.items() if name.endswith(part)) / 1e6

    for structure, parts in (
        (resnet, {"scale": "1.5", "activation": "1.5", "shortcut": "0.088"}),
        (mobile, {"sign": "5.0", "scale": "4.6", "activation": "4.6", "shortcut": "0.38"}),
    ):
        for part, printed in parts.items():
            digits = len(printed.partition(".")[2])
            assert f"{millions(structure, part):.{digits}f}" == printed, (structure.name, part)
    bn = total(inner_layers(resnet, PLAIN))["BN"]
    assert f"{bn.multiplications / 1e6:.2f}" == "22.37"


def test_size_of_reactnet18_on_cifar() -> None:
    structure = declared_network("reactnet18")
    assert f"{structure.binary_macs / 1e6:.1f}" == "553.6"
    assert f"{structure.stem_macs / 1e6:.2f}" == "1.77"
    assert f"{weight_bits(structure) / 1e6:.2f}" == "11.16"
    rows = inner_layers(structure, PLAIN) | outer_layers(structure, PLAIN)
    assert rows["head"]["A&B"].multiplications == 5120
    assert rows["stem.conv"]["A&B"].multiplications == structure.stem_macs
    # Shortcuts: 1x1 from 64, 128 and 256 channels, as additions.
    shortcuts = 64 * 128 * 256 + 128 * 256 * 64 + 256 * 512 * 16
    assert total(rows)["A&B"].binary == structure.binary_macs - shortcuts


def test_real_shortcuts_are_no_binary_products() -> None:
    react, bireal = declared_network("reactnet18"), declared_network("birealnet18")
    shortcuts = 64 * 128 * 256 + 128 * 256 * 64 + 256 * 512 * 16
    assert bireal.binary_macs == react.binary_macs - shortcuts
    assert weight_bits(bireal) == weight_bits(react) - (64 * 128 + 128 * 256 + 256 * 512)
    kept = total(inner_layers(bireal, PLAIN))["A&B"].multiplications
    assert kept == shortcuts + 4 * 4 * 512  # and the last block's PReLU
    # Both the BN-Free and the A&B form have them: what is removed is alpha, beta and the averages.
    difference = removed(react, PLAIN)["beta on inputs"] - removed(bireal, PLAIN)["beta on inputs"]
    assert (
        difference
        == total({k: v for k, v in inner_layers(react, PLAIN).items() if k.endswith("activation")})[
            "BN-Free"
        ].multiplications
    )


def test_command(tmp_path, capsys) -> None:
    path = tmp_path / "operations.json"
    assert main(["operations", "--network", "reactnet18", "--image", "224", "--json", str(path)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    for form in FORMS:
        assert f"{form}: reactnet18, 224x224" in said.out
    for number in ("4,779,264", "4,603,648"):
        assert number in said.out
    written = json.loads(path.read_text())
    assert written["classes"] == 1000
    assert written["removed multiplications"] == {"beta on inputs": 4779264, "beta on outputs": 4603648}
    for part in ("blocks", "stem, pool, head"):
        for form in FORMS:
            sums = {kind: sum(row[form][kind] for row in written[part].values()) for kind in ("additions", "shifts")}
            assert {kind: written["sums"][part][form][kind] for kind in sums} == sums
            words = [f"{form}:", *part.split(), "│", f"{written['sums'][part][form]['multiplications']:,}"]
            assert any(line.split()[1 : 1 + len(words)] == words for line in said.out.splitlines())


def test_command_on_a_frozen_network(tmp_path, capsys) -> None:
    path = tmp_path / "small.safetensors"
    save_network(random_network(member("small", (4, 6), (1, 1), image=8), 1), path)
    assert main(["operations", "--file", str(path)]) == 0
    assert "hardware: small, 8x8" in capsys.readouterr().out


def refused(capsys, arguments, culprit) -> None:
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith(f"abbnn report {arguments[0]}: ")
    assert culprit in said.err


def test_bad_input(tmp_path, capsys) -> None:
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"junk")
    good = tmp_path / "good.safetensors"
    save_network(random_network(member("small", (4, 6), (1, 1), image=8), 1), good)
    json_file = tmp_path / "out.json"
    refused(capsys, ["operations", "--file", junk, "--json", json_file], "junk.safetensors")
    refused(capsys, ["operations", "--file", tmp_path / "none.safetensors"], "none.safetensors")
    refused(capsys, ["operations", "--file", good, "--image", "32", "--json", json_file], "--image")
    refused(capsys, ["operations", "--network", "tiny", "--image", "30", "--json", json_file], "halves an odd map")
    refused(capsys, ["operations", "--network", "tiny", "--json", good / "x.json"], "good.safetensors")
    assert sorted(tmp_path.iterdir()) == [good, junk]


@pytest.mark.parametrize(
    "arguments",
    [[], ["--network", "resnet50"], ["--network", "tiny", "--image", "0"], ["--network", "tiny", "--file", "x"]],
)
def test_bad_options(arguments, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["operations", *arguments])
    assert stop.value.code == 2
    assert capsys.readouterr().out == ""
