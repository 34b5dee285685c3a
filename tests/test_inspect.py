"""`abbnn inspect`: what a checkpoint's tensors are taken for, what is wrong with them, and a frozen network's sums."""

import json
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="reading a checkpoint needs torch")

from abbnn import paths  # noqa: E402
from abbnn.export.__main__ import main  # noqa: E402
from abbnn.export.freeze import FreezeOptions, freeze  # noqa: E402
from abbnn.export.inspection import folded  # noqa: E402
from abbnn.golden.network import load_network, to_tensors  # noqa: E402
from abbnn.golden.ranges import analyse  # noqa: E402
from abbnn.golden.structure import FAMILIES, NETWORKS, STRIDED_STEM, member  # noqa: E402
from abbnn.train.random_checkpoint import random_checkpoint  # noqa: E402
from abbnn.train.tensors import canonical_shapes, official_names, official_shapes, to_official  # noqa: E402
from abbnn.train.variant import Variant  # noqa: E402

TINY = paths.MODELS / "tiny.safetensors"
NARROW = {
    "tiny": member("tiny", (4, 6), (1, 2), image=8, stem=STRIDED_STEM),
    "birealnet18": member("birealnet18", (4, 6), (1, 2), family="birealnet", image=8),
    "xnornet18": member("xnornet18", (4, 6), (1, 2), family="xnornet", image=8),
    "reactneta": member("reactneta", (4, 8, 16), (0, 1, 1), family="reactneta", image=8),
}
EVERY_NETWORK = pytest.mark.parametrize("network", NARROW)


def official(network="tiny"):
    """An official state dict of the narrow member of `network`."""
    structure = NARROW[network]
    tensors = to_official(random_checkpoint(structure, np.random.default_rng(3)), structure)
    return {name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()}


def renamed(state, old, new):
    """`state` with one key spelled otherwise, in its place."""
    return {new if key == old else key: tensor for key, tensor in state.items()}


def inspected(tmp_path, state, status, *options):
    """The report on a state dict, which must end with `status`."""
    checkpoint, report = tmp_path / "model.pt", tmp_path / "report.json"
    torch.save(state, checkpoint)
    assert main(list(map(str, ["inspect", checkpoint, "--json", report, *options]))) == status
    found = json.loads(report.read_text())
    assert found["accepted"] == (status == 0)
    return found


def wrong(found):
    """(status, tensor) -> note of every tensor that is not recognised."""
    rows = found["tensors"]
    return {(row["status"], row["tensor"]): row["note"] for row in rows if row["status"] != "recognised"}


def test_the_shipped_checkpoint(tmp_path, capsys):
    """All of its tensors, in the order of the layers; it is frozen with the shipped network's widths."""
    report = tmp_path / "report.json"
    assert main(["inspect", str(paths.MODELS / "tiny.pt"), "--json", str(report)]) == 0
    found, printed = json.loads(report.read_text()), capsys.readouterr().out
    network = load_network(TINY)
    assert (found["network"], wrong(found)) == ("tiny", {})
    names = official_names(network.structure)
    assert [row["layer"] for row in found["tensors"]] == list(canonical_shapes(network.structure))
    assert [(row["tensor"],) for row in found["tensors"]] == list(names.values())
    assert {row["tensor"]: tuple(row["shape"]) for row in found["tensors"]} == official_shapes(network.structure)
    assert found["frozen"]["value_width"] == network.value_width
    for row in found["tensors"]:
        assert row["tensor"] in printed
    assert f"{len(names)} recognised" in printed


@EVERY_NETWORK
def test_the_network_is_found(network, tmp_path):
    """By its tensors alone: a narrow member of the same family, whatever its name."""
    found = inspected(tmp_path, official(network), 0)
    family = {"tiny": "reactnet18"}.get(network, network)
    assert (found["network"], wrong(found)) == (family, {})
    assert inspected(tmp_path, official(network), 0, "--network", network)["network"] == network


@pytest.mark.parametrize("name", list(official_shapes(NARROW["tiny"])))
def test_any_tensor_renamed(name, tmp_path):
    """Also those that widths and depths are read from."""
    found = inspected(tmp_path, renamed(official(), name, "my.own.name"), 1, "--network", "tiny")
    assert wrong(found) == {("rename", "my.own.name"): f"rename to {name}"}


def test_all_tensors_below_a_module(tmp_path):
    state = {f"backbone.{name}": tensor for name, tensor in official().items()}
    found = inspected(tmp_path, state, 1, "--network", "tiny")
    assert wrong(found) == {("rename", f"backbone.{name}"): f"rename to {name}" for name in official()}


def test_canonical_names(tmp_path):
    """Every matrix is told its official name by its canonical one, whatever the order."""
    declared = NETWORKS["tiny"]
    names = {canonical: names[0] for canonical, names in official_names(declared).items()}
    tensors = random_checkpoint(declared, np.random.default_rng(1))
    state = {name: torch.from_numpy(tensors[name]) for name in sorted(tensors) if tensors[name].ndim != 1}
    found = wrong(inspected(tmp_path, state, 1, "--network", "tiny"))
    for name in state:
        assert found["rename", name] == f"rename to {names[name]}"


def test_another_shape_of_the_same_numbers(tmp_path):
    state = official()
    state["layer1.0.bias_before"] = state.pop("layer1.0.move0.bias").flatten()
    found = inspected(tmp_path, state, 1)
    assert wrong(found) == {
        ("rename", "layer1.0.bias_before"): "rename to layer1.0.move0.bias, with shape (1, 4, 1, 1)"
    }


@EVERY_NETWORK
def test_one_is_missing(network, tmp_path, capsys):
    state = official(network)
    name = [name for name in state if name.endswith("gain")][-1]
    del state[name]
    found = inspected(tmp_path, state, 1)
    shape = official_shapes(NARROW[network])[name]
    assert wrong(found) == {("missing", name): f"missing; shape {shape}"}
    assert f"freezing refuses it: {name}: missing" in capsys.readouterr().out


def test_batch_norm(tmp_path, capsys):
    """Its five tensors are named as such, the sequential module's numbers too; nothing else is."""
    state = official()
    for module in ("layer1.0.bn1", "layer2.0.downsample.2"):
        width = 4 if module.startswith("layer1") else 6
        for kind in ("weight", "bias", "running_mean", "running_var"):
            state[f"module.{module}.{kind}"] = torch.ones(width)
        state[f"module.{module}.num_batches_tracked"] = torch.tensor(7)
    found = wrong(inspected(tmp_path, state, 1))
    assert len(found) == 10
    assert {status for status, _ in found} == {"batch norm"}
    assert found["batch norm", "module.layer2.0.downsample.2.weight"] == "batch norm's weight: A&B BNN has none"
    assert "abbnn import folds that of a trained network" in " ".join(capsys.readouterr().out.split())
    assert (paths.CHECKOUT / "docs" / "import.md").is_file()


def test_batch_norm_without_statistics(tmp_path):
    state = official() | {"layer1.0.bn1.weight": torch.ones(4)}
    assert list(wrong(inspected(tmp_path, state, 1))) == [("batch norm", "layer1.0.bn1.weight")]


def test_tensors_that_are_refused(tmp_path):
    """Each says why; a foreign name that looks like markup is printed as it is."""
    state = official()
    state["fc.bias"][0] = float("nan")
    state["conv1.gain"] = state["conv1.gain"][1:]
    state["layer1.0.prelu.L_alpha"][0] = 9
    state["layer1.0.conv1.gain"] = state["layer1.0.conv1.gain"].to(torch.int32)
    state["[bold]extra"] = torch.zeros(3, 5)
    state["module.fc.weight"] = state["fc.weight"]
    state["epoch"] = 3
    found = wrong(inspected(tmp_path, state, 1, "--network", "tiny"))
    assert {status for status, _ in found} == {"refused"}
    for name, part in {
        "fc.bias": "NaN",
        "conv1.gain": "shape (3, 1, 1, 1)",
        "layer1.0.prelu.L_alpha": "slope of 2**9",
        "layer1.0.conv1.gain": "torch.int32",
        "[bold]extra": "does not belong to tiny",
        "module.fc.weight": "there twice",
        "epoch": "int, not a tensor",
    }.items():
        assert part in found["refused", name]
    assert len(found) == 7


def test_what_freezing_alone_refuses(tmp_path, capsys):
    """Every tensor is as it should be, but step Qa has real weights."""
    metadata = {"network": "tiny", "image": 8, "step": "Qa"}
    found = inspected(tmp_path, {"state": official(), "metadata": metadata}, 1)
    assert wrong(found) == {}
    assert "step Qa has real weights" in found["refused"]
    assert "freezing refuses it: step Qa" in capsys.readouterr().out


def test_another_network_than_stated(tmp_path):
    found = inspected(tmp_path, {"state": official(), "metadata": {"network": "tiny"}}, 1, "--network", "small")
    assert found["refused"] == "holds tiny, not small"


@pytest.mark.parametrize("kind", ["text", "damaged safetensors", "list", "npz", "nothing", "folder"])
def test_files_that_cannot_be_read(kind, tmp_path, capsys):
    path = tmp_path / "bad"
    if kind == "text":
        path.write_text("conv1.weight\n")
    elif kind == "damaged safetensors":
        content = bytearray(TINY.read_bytes())
        path.write_bytes(content[:-100])
    elif kind == "list":
        torch.save([torch.zeros(3)], path)
    elif kind == "npz":
        with path.open("wb") as file:
            np.savez(file, weight=np.zeros(3))
    elif kind == "folder":
        path.mkdir()
    assert main(["inspect", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert str(path) in printed.err


def test_a_frozen_network(tmp_path, capsys):
    report = tmp_path / "report.json"
    assert main(["inspect", str(TINY), "--json", str(report)]) == 0
    found, printed = json.loads(report.read_text()), capsys.readouterr().out
    network = load_network(TINY)
    ranges = analyse(network)
    rows = {row["layer"]: row for row in found["layers"]}
    assert list(rows) == [line.split()[1] for line in printed.splitlines() if line.startswith("│")]
    assert tuple(name for name, row in rows.items() if row["saturates"]) == ranges.can_saturate
    for name, row in rows.items():
        for ends, bits in ((row["sum"], row["sum_bits"]), (row["result"], row["result_bits"])):
            if ends is not None:
                assert -(1 << (bits - 1)) <= ends[0] <= ends[1] < 1 << (bits - 1), name
    assert rows["head"]["sum"] == [ranges.scores.low.min(), ranges.scores.high.max()]
    assert rows["block02.shortcut"]["inner_bits"] == ranges.blocks[2].shortcut.products_bits
    assert f"{network.value_width} bits (W), {network.fraction_bits} of them" in printed
    assert main(["inspect", str(TINY), "--network", "tiny"]) == 2


def frozen_tensors(tensors, structure):
    """Name -> contents, scales without `.sign` and `.shift`, and their guard with them."""
    options = FreezeOptions(fraction_bits=9)
    found, metadata = to_tensors(freeze(tensors, structure, Variant(), options))
    result = {}
    for name, tensor in found.items():
        scale = name.removesuffix(".sign").removesuffix(".shift")
        result.setdefault(scale, [metadata["guards"].get(scale)]).append(tensor.tolist())
    return result


@EVERY_NETWORK
def test_what_a_tensor_goes_into(network):
    """When it changes, the frozen tensors that are named change, and no others."""
    structure = NARROW[network]
    rng = np.random.default_rng(5)
    tensors = random_checkpoint(structure, rng)
    before = frozen_tensors(tensors, structure)
    for name, tensor in tensors.items():
        seen = set()
        for factor in (0.1, 1.7, 7.3):
            changed = rng.permutation(tensor.reshape(-1)).reshape(tensor.shape) * factor
            if name.endswith("weight"):  # standardized, unlike its signs and outliers
                changed = changed**3
            if name.endswith("l_alpha"):
                changed = np.round(tensor) - np.ceil(factor)
            after = frozen_tensors(tensors | {name: changed.astype(np.float32)}, structure)
            seen |= {key for key in before if before[key] != after[key]}
        assert set(folded(name, structure)[0]) == seen, name


def wanted_names():
    """The rows of the table of names in docs/formats.md, from a member of each family."""
    rows = {}
    for family in FAMILIES:
        widths, depths = ((5, 10, 20), (0, 2, 1)) if FAMILIES[family].paired else ((5, 7), (2, 2))
        structure = member("doc", widths, depths, family=family)
        shapes = official_shapes(structure)
        for canonical, names in official_names(structure).items():
            kind = re.sub(r"^block\d+", "blockNN", canonical)
            for name in names:
                spelling = re.sub(r"^feature\.[1-9]\d*", "feature.U", re.sub(r"^layer\d+\.\d+", "layerS.B", name))
                rank = len(shapes[name])
                shape = {1: "(C)", 2: "(classes, C)", 4: "(Cout, Cin, k, k)"}[rank]
                if rank == 4 and not name.endswith("weight"):
                    shape = "(C, 1, 1, 1)" if name.endswith("gain") else "(1, C, 1, 1)"
                rows.setdefault((kind, spelling, shape), {})[f"`{family}`"] = None
    return [f"| `{kind}` | `{name}` | {shape} | {', '.join(who)} |" for (kind, name, shape), who in rows.items()]


def test_the_documented_names():
    page = (paths.CHECKOUT / "docs" / "formats.md").read_text()
    table = page.partition("### Names in a checkpoint")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `.*$", table, re.MULTILINE)) == sorted(wanted_names())
