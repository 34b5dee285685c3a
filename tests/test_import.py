"""`abbnn import`: networks written in plain torch, with batch norm and names of their own, against the integer ones."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="reading a state dict needs torch")

from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

from abbnn import paths  # noqa: E402
from abbnn.__main__ import usage  # noqa: E402
from abbnn.export.__main__ import main  # noqa: E402
from abbnn.export.freeze import FreezeOptions, freeze  # noqa: E402
from abbnn.export.importing import least_terms  # noqa: E402
from abbnn.golden.images import SHIPPED_IMAGES, read_images, resized  # noqa: E402
from abbnn.golden.model import forward  # noqa: E402
from abbnn.golden.network import load_network, to_tensors  # noqa: E402
from abbnn.golden.ranges import analyse  # noqa: E402
from abbnn.golden.structure import RESNET_STEM, STRIDED_STEM, member  # noqa: E402
from abbnn.train.checkpoint import entries  # noqa: E402
from abbnn.train.mapping import SECTIONS, MappingFile  # noqa: E402
from abbnn.train.random_checkpoint import random_checkpoint  # noqa: E402
from abbnn.train.tensors import to_official  # noqa: E402
from abbnn.train.unfolded import logits  # noqa: E402
from abbnn.train.variant import Variant  # noqa: E402

SIDE = 16
EPSILON = 1e-4
MEAN, STD = (0.4, 0.4, 0.4), (0.25, 0.25, 0.2)
"""0.4 is 102 of 255: the frozen network centres pixels by whole numbers."""


class Sign(nn.Module):
    """ReActNet's RSign; without a shift, the plain sign."""

    def __init__(self, channels, shifted):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1, channels, 1, 1)) if shifted else None

    def forward(self, x):
        return torch.sign(x if self.shift is None else x + self.shift)


class SignConv(nn.Conv2d):
    """Multiplies with the weights' signs, and with their mean magnitude a filter where `scaled`."""

    scaled = True

    def forward(self, x):
        weight = torch.sign(self.weight)
        if self.scaled:
            weight = weight * self.weight.abs().mean((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class RPReLU(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.before = nn.Parameter(torch.zeros(channels, 1, 1))
        self.slope = nn.PReLU(channels)
        self.after = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x):
        return self.slope(x + self.before) + self.after


def norm(channels):
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=None)


class Unit(nn.Module):
    """norm(conv(sign(x))) + shortcut(x), then an RPReLU or nothing; `shortcut` is modules, or repeats the input."""

    def __init__(self, cin, cout, kernel, stride, *, active=True, shortcut=(), bias=False):
        super().__init__()
        self.sign = Sign(cin, active)
        self.repeats = stride == 1 and cout == 2 * cin
        halves = 2 if self.repeats else 1
        shape = cin, cout // halves, kernel, stride, kernel // 2
        self.convs = nn.ModuleList(SignConv(*shape, bias=bias) for _ in range(halves))
        self.norms = nn.ModuleList(norm(cout // halves) for _ in range(halves))
        self.shortcut = nn.Sequential(*shortcut)
        self.act = RPReLU(cout) if active else nn.Identity()

    def forward(self, x):
        bits = self.sign(x)
        out = torch.cat([norm(conv(bits)) for conv, norm in zip(self.convs, self.norms, strict=True)], 1)
        return self.act(out + (torch.cat((x, x), 1) if self.repeats else self.shortcut(x)))


class Plain(nn.Module):
    def __init__(self, stem, units, width, classes=10, last=None):
        super().__init__()
        self.entry = nn.Sequential(*stem)
        self.trunk = nn.ModuleList(units)
        self.exit = nn.Sequential(*([] if last is None else [last]), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classify = nn.Linear(width, classes)

    def forward(self, x):
        x = self.entry(x)
        for unit in self.trunk:
            x = unit(x)
        return self.classify(self.exit(x))


def react():
    """ReActNet's blocks behind a stem with max-pool; one downsampling shortcut of real weights."""
    down = (nn.AvgPool2d(2, 2), nn.Conv2d(8, 12, 1, bias=False), norm(12))
    units = [Unit(8, 8, 3, 1), Unit(8, 8, 3, 1), Unit(8, 12, 3, 2, shortcut=down), Unit(12, 12, 3, 1)]
    return Plain((nn.Conv2d(3, 8, 7, 2, 3, bias=False), norm(8), nn.MaxPool2d(3, 2, 1)), units, 12)


def react_binary():
    """The same with binary weights in the shortcut, convolutions with biases, and one slope for all channels."""
    down = (nn.AvgPool2d(2, 2), SignConv(8, 12, 1, bias=True), norm(12))
    units = [Unit(8, 8, 3, 1, bias=True), Unit(8, 12, 3, 2, shortcut=down, bias=True)]
    for unit in units:
        unit.act.slope = nn.PReLU(1)
    return Plain((nn.Conv2d(3, 8, 3, 1, 1), norm(8)), units, 12)


def mobile():
    """ReActNet-A's pairs: both shortcuts without weights, and two convolutions side by side."""
    pool = (nn.AvgPool2d(2, 2),)
    units = [Unit(4, 4, 3, 1), Unit(4, 8, 1, 1), Unit(8, 8, 3, 1), Unit(8, 8, 1, 1)]
    units += [Unit(8, 8, 3, 2, shortcut=pool), Unit(8, 16, 1, 1)]
    return Plain((nn.Conv2d(3, 4, 3, 2, 1, bias=False), norm(4)), units, 16)


def bireal():
    """Bi-Real: no activation but the sign, weights without magnitudes, and batch norm behind the pool."""
    down = (nn.AvgPool2d(2, 2), nn.Conv2d(8, 12, 1, bias=False), norm(12))
    units = [Unit(8, 8, 3, 1, active=False), Unit(8, 12, 3, 2, active=False, shortcut=down)]
    network = Plain((nn.Conv2d(3, 8, 3, 1, 1, bias=False), norm(8), nn.PReLU(8)), units, 12)
    network.exit.append(nn.BatchNorm1d(12, eps=EPSILON, momentum=None))
    for unit in units:
        unit.convs[0].scaled = False
    return network


def xnor():
    """XNOR-Net's shortcut, a 1x1 convolution of stride 2 with binary weights, and a PReLU in front of the pool."""
    units = [
        Unit(8, 8, 3, 1, active=False),
        Unit(8, 12, 3, 2, active=False, shortcut=(SignConv(8, 12, 1, 2, bias=False), norm(12))),
    ]
    return Plain((nn.Conv2d(3, 8, 3, 1, 1, bias=False), norm(8)), units, 12, last=nn.PReLU(12))


BLOCK = """
[block]
conv = "trunk.{i}.convs.0.weight"
bn = "trunk.{i}.norms.0"
"""
ACTIVE = """
bias0 = "trunk.{i}.sign.shift"
bias1 = "trunk.{i}.act.before"
prelu = "trunk.{i}.act.slope.weight"
bias2 = "trunk.{i}.act.after"
"""
DOWNSAMPLE = """
[downsample]
conv = "trunk.{i}.shortcut.1.weight"
bn = "trunk.{i}.shortcut.2"
"""
HEAD = """
[head]
weight = "classify.weight"
bias = "classify.bias"
"""


def network_section(family, widths, depths, more=""):
    return f"""
[network]
family = "{family}"
widths = {list(widths)}
depths = {list(depths)}
classes = 10
image = {SIDE}
eps = {EPSILON}
mean = {list(MEAN)}
std = {list(STD)}
{more}
[stem]
conv = "entry.0.weight"
bn = "entry.1"
"""


MODELS = {
    "react": (
        react,
        network_section("reactnet", (8, 12), (2, 2), 'shortcut = "pool-real-conv"')
        + "kernel = 7\nstride = 2\nmax_pool = true"
        + BLOCK
        + ACTIVE
        + DOWNSAMPLE
        + HEAD,
    ),
    "react-binary": (
        react_binary,
        network_section("reactnet", (8, 12), (1, 1))
        + 'conv_bias = "entry.0.bias"'
        + BLOCK.replace("{i}", "{stage-1}")
        + 'conv_bias = "trunk.{i}.convs.0.bias"'
        + ACTIVE
        + DOWNSAMPLE
        + 'conv_bias = "trunk.{i}.shortcut.1.bias"'
        + HEAD,
    ),
    "mobile": (
        mobile,
        network_section("reactneta", (4, 8, 16), (0, 2, 1))
        + "stride = 2"
        + BLOCK
        + ACTIVE
        + """
[halves]
conv = ["trunk.{i}.convs.0.weight", "trunk.{i}.convs.1.weight"]
bn = ["trunk.{i}.norms.0", "trunk.{i}.norms.1"]
"""
        + HEAD,
    ),
    "bireal": (
        bireal,
        network_section("birealnet", (8, 12), (1, 1), 'weights = "sign"')
        + 'prelu = "entry.2.weight"'
        + BLOCK
        + DOWNSAMPLE
        + HEAD
        + 'bn = "exit.2"',
    ),
    "xnor": (
        xnor,
        network_section("xnornet", (8, 12), (1, 1))
        + BLOCK
        + DOWNSAMPLE.replace("shortcut.1", "shortcut.0").replace("shortcut.2", "shortcut.1")
        + HEAD
        + 'prelu = "exit.0.weight"',
    ),
}
EVERY_MODEL = pytest.mark.parametrize("model", MODELS)


@pytest.fixture(scope="module")
def images():
    """CIFAR's, 50 of them, and their labels."""
    pictures, labels = read_images(SHIPPED_IMAGES)
    return resized(pictures, SIDE, SIDE)[::2], labels[::2]


def normalised(images):
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(colours, dtype=torch.float64).reshape(3, 1, 1) for colours in (MEAN, STD))
    return (pixels - mean) / std


@torch.no_grad()
def randomized(make, images, seed=1):
    """A network with weights of trained-looking statistics, and the running statistics that they give on images."""
    torch.manual_seed(seed)
    network = make()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            signs = torch.where(torch.rand(module.weight.shape) < 0.1, -1.0, 1.0)
            module.weight.copy_(signs * torch.exp(0.4 * torch.randn(module.weight.shape)))
            module.bias.normal_(0, 0.3)
        elif isinstance(module, Sign) and module.shift is not None:
            module.shift.normal_(0, 0.3)
        elif isinstance(module, RPReLU):
            module.before.normal_(0, 0.3)
            module.after.normal_(0, 0.3)
        elif isinstance(module, nn.PReLU):
            module.weight.copy_(torch.exp2(torch.randint(-6, 2, module.weight.shape)))
    if isinstance(network.entry[-1], nn.PReLU):
        network.entry[-1].weight.normal_(0.25, 0.2)  # free: no batch norm stands in its way
    network.train()
    for part in np.split(images, 2):
        network(normalised(part).float())
    return network.eval()


@torch.no_grad()
def plain_logits(network, images):
    return network.double()(normalised(images)).numpy()


TRAINED = {}
"""Model -> its state dict and its logits, which several tests need."""


def written(tmp_path, model, images):
    """The paths of a model's state dict and mapping, and its own logits."""
    make, text = MODELS[model]
    file, mapping = tmp_path / f"{model}.pt", tmp_path / f"{model}.toml"
    if model not in TRAINED:
        network = randomized(make, images)
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        TRAINED[model] = state, plain_logits(network, images)
    state, wanted = TRAINED[model]
    torch.save(state, file)
    mapping.write_text(text)
    return file, mapping, wanted


def imported(file, mapping, out, *options, status=0):
    """The frozen network that the command makes."""
    assert main([str(word) for word in ("import", file, "--map", mapping, "--out", out, *options)]) == status
    return load_network(out) if status == 0 else None


def differences(network, images, wanted):
    """Share of equal classes, and errors of the scores over the spread of the logits, (N, classes)."""
    scores = forward(network, images)["scores"] * 2.0**-network.score_fraction_bits
    spread = (wanted - wanted.mean(axis=0)).std()
    return (scores.argmax(1) == wanted.argmax(1)).mean(), np.abs(scores - wanted) / spread


@EVERY_MODEL
def test_the_fold(model, images, tmp_path):
    """Before anything is rounded, the mapped network computes what the plain one does, to float64's last bits."""
    file, mapping, wanted = written(tmp_path, model, images[0])
    mapped = MappingFile.read(mapping).network(entries(file)[0])
    np.testing.assert_allclose(logits(mapped, images[0]), wanted, rtol=0, atol=1e-12)


FINE = ["--value-bits", 24, "--fraction-bits", 14, "--terms", 8]
FINE += ["--stem-bits", 15, "--head-bits", 12, "--shortcut-bits", 15]


@EVERY_MODEL
def test_nothing_but_rounding_is_lost(model, images, tmp_path):
    """With widths to spare, all that is left is a value that falls on the other side of a sign. With values good to
    2**-14 that is rare: most images have none, and their scores are good to the 12 bits of the head's weights.
    """
    file, mapping, wanted = written(tmp_path, model, images[0])
    same, errors = differences(imported(file, mapping, tmp_path / "n", *FINE), images[0], wanted)
    assert same == 1
    assert np.mean(errors.max(axis=1) < 0.01) >= 0.8


@EVERY_MODEL
def test_the_usual_widths(model, images, tmp_path):
    """At the defaults T brings factors within 4%, and values are good to 2**-8 or better. That moves signs, and in a
    random network every sign counts, the more the fewer channels there are: the error of the scores is 0.3 of their
    spread with 4 channels and below 0.2 with 8. A batch norm's bias left out makes it more than the spread.
    """
    file, mapping, wanted = written(tmp_path, model, images[0])
    same, errors = differences(imported(file, mapping, tmp_path / "n"), images[0], wanted)
    assert same >= 0.9
    assert np.sqrt(np.mean(errors**2)) < 0.35


BREVITAS = """
[network]
family = "reactnet"
widths = [8, 16]
depths = [1, 2]
classes = 10
weights = "sign"
mean = [0.4, 0.4, 0.4]
std = [0.25, 0.25, 0.25]
[stem]
stride = 2
conv = "0.weight"
bn = "1"
[block]
bias0 = "{i+2}.shift"
conv = "{i+2}.conv.weight"
gain = 0.1
bn = "{i+2}.norm"
prelu = "{i+2}.act.weight"
[downsample]
conv = "{i+2}.shortcut.1.weight"
gain = 0.1
bn = "{i+2}.shortcut.2"
[head]
weight = "7.weight"
bias = "7.bias"
"""


def test_what_brevitas_writes(tmp_path):
    """brevitas_network.py made the file with Brevitas' own layers; the logits beside the state dict are theirs."""
    file, mapping = Path(__file__).with_name("brevitas_network.pt"), tmp_path / "n.toml"
    mapping.write_text(BREVITAS)
    pictures = read_images(SHIPPED_IMAGES)[0][:50]
    wanted = torch.load(file)["logits"].double().numpy()
    mapped = MappingFile.read(mapping).network(entries(file)[0])
    # Brevitas' are float32: a value may fall on the other side of a sign for that alone.
    close = np.abs(logits(mapped, pictures) - wanted).max(axis=1) < 1e-5
    assert close.mean() >= 0.9
    same, errors = differences(imported(file, mapping, tmp_path / "n", *FINE), pictures, wanted)
    assert same == 1
    assert np.mean(errors.max(axis=1) < 0.01) >= 0.8


def same_numbers(one, other):
    tensors, metadata = zip(to_tensors(one), to_tensors(other), strict=True)
    assert tensors[0].keys() == tensors[1].keys()
    for name in tensors[0]:
        np.testing.assert_array_equal(tensors[0][name], tensors[1][name], err_msg=name)
    one, other = (dict(each, source=None) for each in metadata)
    assert one == other


ABBNN = 'weights = "standardized"\nalpha = 0.25\nbeta = true\n'
RESNET_BLOCK = """
[block]
conv = "layer{stage}.{place}.conv1.weight"
gain = "layer{stage}.{place}.conv1.gain"
"""
OFFICIAL = {
    "reactnet": (
        member("tiny", (4, 6), (1, 2), image=8, stem=STRIDED_STEM),
        RESNET_BLOCK
        + """
bias0 = "layer{stage}.{place}.move0.bias"
bias1 = "layer{stage}.{place}.move1.bias"
exponent = "layer{stage}.{place}.prelu.L_alpha"
bias2 = "layer{stage}.{place}.move2.bias"
[downsample]
conv = "layer{stage}.{place}.downsample.1.weight"
gain = "layer{stage}.{place}.downsample.1.gain"
[stem]
conv = "conv1.weight"
gain = "conv1.gain"
stride = 2
""",
    ),
    "birealnet": (
        member("birealnet18", (4, 6), (1, 2), family="birealnet", image=8),
        RESNET_BLOCK
        + """
[downsample]
conv = "layer{stage}.{place}.downsample.1.weight"
gain = "layer{stage}.{place}.downsample.1.gain"
[stem]
conv = "conv1.weight"
gain = "conv1.gain"
prelu = "prelu1.weight"
[head]
prelu = "prelu2.weight"
""",
    ),
    "xnornet": (
        member("xnornet18", (4, 6), (1, 2), family="xnornet", image=32, stem=RESNET_STEM),
        RESNET_BLOCK
        + """
[downsample]
conv = "layer{stage}.{place}.downsample.0.weight"
gain = "layer{stage}.{place}.downsample.0.gain"
[stem]
conv = "conv1.weight"
gain = "conv1.gain"
prelu = "prelu1.weight"
kernel = 7
stride = 2
max_pool = true
[head]
prelu = "prelu2.weight"
""",
    ),
    "reactneta": (
        member("reactneta", (4, 8, 16), (0, 1, 1), family="reactneta", image=8),
        """
[block]
conv = ["feature.{i//2+1}.binary_3x3.weight", "feature.{i//2+1}.binary_pw.weight"]
gain = ["feature.{i//2+1}.binary_3x3.gain", "feature.{i//2+1}.binary_pw.gain"]
bias0 = ["feature.{i//2+1}.move11.bias", "feature.{i//2+1}.move21.bias"]
bias1 = ["feature.{i//2+1}.move12.bias", "feature.{i//2+1}.move22.bias"]
exponent = ["feature.{i//2+1}.prelu1.L_alpha", "feature.{i//2+1}.prelu2.L_alpha"]
bias2 = ["feature.{i//2+1}.move13.bias", "feature.{i//2+1}.move23.bias"]
[halves]
conv = ["feature.{i//2+1}.binary_pw_down1.weight", "feature.{i//2+1}.binary_pw_down2.weight"]
gain = ["feature.{i//2+1}.binary_pw_down1.gain", "feature.{i//2+1}.binary_pw_down2.gain"]
[stem]
conv = "feature.0.conv1.weight"
gain = "feature.0.conv1.gain"
""",
    ),
}


@pytest.mark.parametrize("family", OFFICIAL)
def test_without_batch_norm_it_is_freezing(family, tmp_path):
    """A mapping of the official names gives the very numbers that `freeze` gives."""
    structure, names = OFFICIAL[family]
    tensors = random_checkpoint(structure, np.random.default_rng(3))
    file, mapping = tmp_path / "n.safetensors", tmp_path / "n.toml"
    official = to_official(tensors, structure)
    save_file({f"module.{name}": torch.from_numpy(np.array(tensor)) for name, tensor in official.items()}, file)
    widths, depths = {True: ([4, 8, 16], [0, 1, 1]), False: ([4, 6], [1, 2])}[family == "reactneta"]
    head = 'weight = "fc.weight"\nbias = "fc.bias"\n'
    text = f"[network]\nname = '{structure.name}'\nfamily = '{family}'\nwidths = {widths}\ndepths = {depths}\n"
    text += f"classes = 10\nimage = {structure.height}\n{ABBNN}{names}"
    mapping.write_text(text + head if "[head]" in text else f"{text}[head]\n{head}")
    expected = freeze(tensors, structure, Variant(), FreezeOptions(terms=3))
    same_numbers(imported(file, mapping, tmp_path / "out", "--terms", 3), expected)


def test_channels_that_batch_norm_has_switched_off(images, tmp_path):
    """Of the stem: their bias alone is left, and is no wider than sums of 147 pixels with 12-bit weights can be."""
    file, mapping, _ = written(tmp_path, "react", images[0])
    state = torch.load(file)
    state["entry.1.weight"][:2] = torch.tensor([0.0, 1e-12])
    state["entry.1.bias"][:2] = torch.tensor([1.3, -1.3])
    torch.save(state, file)
    network = imported(file, mapping, tmp_path / "after")
    values = forward(network, images[0])["stem"][..., :2]
    wanted = np.array([1.3, -1.3]) * 2.0**network.fraction_bits
    assert np.abs(values - wanted).max() <= 1
    assert analyse(network).stem.sum.bits <= 12 + 8 + (147).bit_length() + 1


def test_least_terms():
    """0.7 is 1/2 + 1/4 - 1/16 + 1/64 - 1/256 + ..."""
    assert [least_terms(np.array([0.7, 1.0]), part) for part in (0.3, 0.1, 0.02, 0.01, 1e-9)] == [1, 2, 3, 4, 8]
    assert least_terms(np.array([0.0, -0.5]), 1e-9) == 1


def test_the_report(images, tmp_path, capsys):
    """T is the fewest for the tolerance, or as asked; errors are those of the numbers in the file."""
    file, mapping, wanted = written(tmp_path, "react-binary", images[0])
    data, report = tmp_path / "images.npz", tmp_path / "report.json"
    np.savez(data, images=images[0], labels=images[1])
    worst = {}
    for options, terms in (
        (["--tolerance", 0.334], 1),
        (["--tolerance", 0.001, "--terms-of", "block01=2"], None),
        (["--terms", 2], 2),
    ):
        network = imported(file, mapping, tmp_path / "n", "--json", report, "--images", data, *options)
        found = json.loads(report.read_text())
        rows = {row["scale"]: row for row in found["scales"]}
        assert list(rows) == ["block00", "block01", "block01.shortcut"]
        assert {row["terms"] for row in rows.values()} == ({terms} if terms else {2, rows["block00"]["terms"]})
        worst[terms] = rows["block00"]["worst"]
        assert all(0 <= row["mean"] <= row["worst"] and not row["dropped"] for row in rows.values())
        same, _ = differences(network, images[0], wanted)
        accuracy = found["accuracy"]
        assert accuracy["images"] == 50
        assert accuracy["agreement"] == pytest.approx(100 * same)
        assert accuracy["float_top1"] == pytest.approx(100 * (wanted.argmax(1) == images[1]).mean())
        right = forward(network, images[0])["class"] == images[1]
        assert accuracy["integer_top1"] == pytest.approx(100 * right.mean())
        printed = capsys.readouterr().out
        assert f"integer {accuracy['integer_top1']:.2f}%" in printed
        assert f"{rows['block01.shortcut']['worst']:.2%}" in printed
    assert worst[None] <= 0.001 < worst[2] < worst[1] <= 1 / 3
    mapped = MappingFile.read(mapping).network(entries(file)[0])
    scale = network.blocks[0].scale
    factor = (scale.sign * 2.0 ** (scale.shift - float(scale.guard))).sum(axis=1) / 2.0**network.fraction_bits
    assert worst[2] == pytest.approx(np.abs(factor / mapped.blocks[0].conv.factor - 1).max())


def test_slopes_to_the_nearest(images, tmp_path):
    """Upper power from 1.5 times the lower one on; nothing below 0. The others stay as they are."""
    file, mapping, _ = written(tmp_path, "react", images[0])
    state = torch.load(file)
    name = "trunk.1.act.slope.weight"
    state[name][:5] = torch.tensor([0.18, 0.2, -0.1, 300.0, 0.0])
    torch.save(state, file)
    report = tmp_path / "report.json"
    network = imported(file, mapping, tmp_path / "n", "--slopes", "nearest", "--json", report)
    exponent = network.blocks[1].activation.exponent
    assert exponent[:5].tolist() == [-3, -2, -19, 7, -19]
    np.testing.assert_array_equal(2.0 ** exponent[5:], state[name][5:].numpy())
    rows = {row["tensor"]: row for row in json.loads(report.read_text())["slopes"]}
    assert rows[f"tensor {name}"]["rounded"] == 4
    assert rows[f"tensor {name}"]["worst"] == pytest.approx(172)
    assert all(row["rounded"] == 0 for tensor, row in rows.items() if name not in tensor)


def refused(capsys, file, mapping, *parts):
    """One line that holds all `parts`, status 2, and no file."""
    capsys.readouterr()
    out = file.parent / "refused"
    imported(file, mapping, out, status=2)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1, printed.err
    for part in parts:
        assert part in printed.err
    assert not out.exists()


@pytest.fixture(scope="module")
def good(images, tmp_path_factory):
    """A state dict and the text of its mapping, which the tests damage."""
    file, _, _ = written(tmp_path_factory.mktemp("good"), "react", images[0])
    return torch.load(file), MODELS["react"][1]


TENSORS = {
    "missing": ("trunk.1.convs.0.weight", None, ["trunk.1.convs.0.weight, [block] conv of block01, is missing"]),
    "misshapen": ("trunk.1.convs.0.weight", torch.ones(8, 8, 1, 1), ["shape (8, 8, 1, 1)", "has (8, 8, 3, 3)"]),
    "norm": ("trunk.2.shortcut.2.bias", torch.ones(8), ["trunk.2.shortcut.2.bias", "[downsample] bn of block02"]),
    "nan": ("classify.bias", torch.full((10,), torch.nan), ["classify.bias holds NaN"]),
    "integers": ("trunk.0.sign.shift", torch.ones(1, 8, 1, 1, dtype=torch.int32), ["trunk.0.sign.shift", "int32"]),
    "variance": ("entry.1.running_var", -torch.ones(8), ["entry.1.running_var holds -1"]),
    "unknown": (
        "trunk.0.attention.weight",
        torch.ones(8),
        ["trunk.0.attention.weight is not in the mapping", "ignore"],
    ),
    "slope": (
        "trunk.3.act.slope.weight",
        torch.full((12,), 0.3),
        ["trunk.3.act.slope.weight: 0.3 of channel 0", "0.25"],
    ),
    "negative slope": ("trunk.3.act.slope.weight", torch.full((12,), -0.5), ["-0.5", "--slopes nearest makes it 0"]),
    "steep slope": ("trunk.3.act.slope.weight", torch.full((12,), 256.0), ["256 of channel 0", "to 2**7"]),
}


@pytest.mark.parametrize("damage", TENSORS)
def test_tensors_that_are_refused(damage, good, tmp_path, capsys):
    state, text = good
    name, tensor, parts = TENSORS[damage]
    state = {key: value for key, value in state.items() if key != name} | ({} if tensor is None else {name: tensor})
    file, mapping = tmp_path / "n.pt", tmp_path / "n.toml"
    torch.save(state, file)
    mapping.write_text(text)
    refused(capsys, file, mapping, str(file), *parts)


def test_what_the_network_does_without(good, tmp_path):
    """A teacher's head, for example; the file is the same otherwise, with a prefix that wrappers put in front."""
    state, text = good
    file, mapping = tmp_path / "n.pt", tmp_path / "n.toml"
    torch.save({f"module.{key}": value for key, value in state.items()} | {"module.aux.0.weight": torch.ones(3)}, file)
    mapping.write_text(text.replace("[stem]", 'ignore = ["aux.*"]\n[stem]'))
    imported(file, mapping, tmp_path / "out")


def test_weights_as_a_column(good, tmp_path):
    """ReActNet's own code keeps binary weights so; a slope may stand in the mapping."""
    state, text = good
    file, mapping = tmp_path / "n.pt", tmp_path / "n.toml"
    slope = "trunk.{i}.act.slope.weight"
    state = {key: value.clone() for key, value in state.items() if not key.endswith("slope.weight")}
    torch.save(state, file)
    mapping.write_text(text.replace(f'"{slope}"', "0.125"))
    expected = imported(file, mapping, tmp_path / "expected")
    for key in (f"trunk.{index}.convs.0.weight" for index in range(4)):
        state[key] = state[key].reshape(-1, 1)
    torch.save(state, file)
    same_numbers(imported(file, mapping, tmp_path / "out"), expected)
    assert set(expected.blocks[0].activation.exponent) == {-3}


MAPPINGS = {
    "no TOML": ("[network]", "[network", ["no TOML"]),
    "section": ("[head]", "[tail]", ["tail is no section", "downsample"]),
    "key": ("classes =", "labels =", ["[network] has no labels"]),
    "lacks": ("classes = 10", "", ["[network] lacks classes"]),
    "type": ("classes = 10", "classes = '10'", ["[network] classes is '10'; a whole number is wanted"]),
    "family": ('"reactnet"', '"resnet"', ["[network] family is 'resnet'", "reactneta"]),
    "field": ("trunk.{i}.convs", "trunk.{j}.convs", ["trunk.{j}.convs.0.weight", "{stage}"]),
    "shortcut": ('"pool-real-conv"', '"pool"', ["block02 has 8 to 12 channels", "pool goes with 8"]),
    "geometry": ("depths = [2, 2]", "depths = [2]", ["2 widths for 1 depths"]),
    "downsample": ("[downsample]\nconv", "[downsample]\ngain", ["[downsample] lacks conv"]),
    "two activations": ("[head]", "[head]\nprelu = 0.5", ["[block] prelu and [head] prelu"]),
    "colours": ("mean = [0.4, 0.4, 0.4]", "mean = [128, 128, 128]", ["mean (128, 128, 128)"]),
}


@pytest.mark.parametrize("damage", MAPPINGS)
def test_mappings_that_are_refused(damage, good, tmp_path, capsys):
    state, text = good
    old, new, parts = MAPPINGS[damage]
    assert old in text
    file, mapping = tmp_path / "n.pt", tmp_path / "n.toml"
    torch.save(state, file)
    mapping.write_text(text.replace(old, new))
    refused(capsys, file, mapping, str(mapping), *parts)


def test_files_that_are_no_state_dicts(good, tmp_path, capsys):
    mapping = tmp_path / "n.toml"
    mapping.write_text(good[1])
    for name, content, part in (
        ("n.onnx", b"\x08\x0a", "ONNX, not a state dict: save its arrays by name with safetensors"),
        ("n.h5", b"\x89HDF\r\n\x1a\n", "an HDF5 file, not a state dict"),
        ("n.txt", b"weights", "torch.save did not write it"),
        ("n.safetensors", b"\x08\0\0\0\0\0\0\0{}      "[:-1], "not a readable safetensors file"),
    ):
        file = tmp_path / name
        file.write_bytes(content)
        refused(capsys, file, mapping, str(file), part)
    refused(capsys, tmp_path / "nowhere.pt", mapping, "nowhere.pt")
    refused(capsys, tmp_path / "n.txt", tmp_path / "nowhere.toml", "nowhere.toml")


def test_freezing_points_to_it(good, tmp_path, capsys):
    file = tmp_path / "n.pt"
    torch.save(good[0], file)
    assert main(["freeze", str(file), "--network", "tiny", "--out", str(tmp_path / "out")]) == 2
    assert "which abbnn import folds in (docs/import.md)" in capsys.readouterr().err


PAGE = (paths.CHECKOUT / "docs" / "import.md").read_text()


def shifts(**widths):
    return {f"{name}.bias": (1, width, 1, 1) for name, width in widths.items()}


def norms(**widths):
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (width,) for name, width in widths.items() for part in parts}


def published_resnet(active):
    """Names and shapes of the code that its authors published for ReActNet (`active`) and Bi-Real Net, but narrow."""
    shapes = {"conv1.weight": (4, 3, 7, 7), **norms(bn1=4)}
    for stage, (cin, cout) in enumerate(((4, 4), (4, 8), (8, 16), (16, 32)), 1):
        for place in range(4):
            into = cout if place else cin
            block = {**norms(bn1=cout)}
            if active:
                block |= {"binary_conv.weight": (cout, into, 3, 3), **shifts(move0=into, move1=cout, move2=cout)}
                block |= {"prelu.weight": (cout,)}
            else:
                block |= {"binary_conv.weights": (9 * cout * into, 1)}
            if stage > 1 and place == 0:
                down = norms(**{"2": cout}) | {"1.weight": (cout, into, 1, 1)}
                block |= {f"downsample.{name}": shape for name, shape in down.items()}
            shapes |= {f"layer{stage}.{place}.{name}": shape for name, shape in block.items()}
    return shapes | {"fc.weight": (10, 32), "fc.bias": (10,)}


def published_mobilenet():
    """The same of ReActNet-A."""
    shapes = {"feature.0.conv1.weight": (2, 3, 3, 3), **{f"feature.0.{key}": n for key, n in norms(bn1=2).items()}}
    widths = [2, 4, 8, 8, 16, 16, *[32] * 6, 64, 64]
    for unit, (cin, cout) in enumerate(pairwise(widths), 1):
        block = {**shifts(move11=cin, move12=cin, move13=cin, move21=cin, move22=cout, move23=cout), **norms(bn1=cin)}
        block |= {"binary_3x3.weights": (9 * cin * cin, 1), "prelu1.weight": (cin,), "prelu2.weight": (cout,)}
        if cin == cout:
            block |= {"binary_pw.weights": (cin * cin, 1), **norms(bn2=cin)}
        else:
            block |= {f"binary_pw_down{half}.weights": (cin * cin, 1) for half in (1, 2)}
            block |= norms(bn2_1=cin, bn2_2=cin)
        shapes |= {f"feature.{unit}.{name}": shape for name, shape in block.items()}
    return shapes | {"fc.weight": (10, 64), "fc.bias": (10,)}


PUBLISHED = [published_resnet(True), published_mobilenet(), published_resnet(False)]


@pytest.mark.parametrize("index", range(3), ids=["reactnet", "reactneta", "birealnet"])
def test_the_mappings_of_the_page(index, tmp_path):
    """Each takes all tensors of the published code, of narrow networks for small images."""
    text = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[index]
    for old, new in (
        ("[64, 128, 256, 512]", "[4, 8, 16, 32]"),
        ("[32, 64, 128, 256, 512, 1024]", "[2, 4, 8, 16, 32, 64]"),
        ("1000", "10"),
        ("224", "64"),
    ):
        text = text.replace(old, new)
    rng = np.random.default_rng(7)
    state = {}
    for name, shape in PUBLISHED[index].items():
        values = rng.uniform(0.5, 2, shape) if name.endswith("var") else rng.normal(0, 0.5, shape)
        if "prelu" in name:
            values = 2.0 ** rng.integers(-5, 1, shape)
        state[f"module.{name}"] = torch.tensor(values, dtype=torch.float32)
        if name.endswith("running_var"):
            state[f"module.{name}".replace("running_var", "num_batches_tracked")] = torch.tensor(9)
    file, mapping = tmp_path / "n.pth.tar", tmp_path / "n.toml"
    torch.save({"epoch": 3, "state_dict": state}, file)
    mapping.write_text(text)
    network = imported(file, mapping, tmp_path / "out", "--fraction-bits", 8)
    assert len(network.blocks) == (26 if index == 1 else 16)


def test_the_page_names_every_key():
    """And the help of `abbnn` names the verb."""
    table = PAGE.partition("| section |")[2].partition("\n\n")[0]
    for section, keys in SECTIONS.items():
        assert f"`{section}`" in table
        for key in keys:
            assert f"`{key}`" in table, key
    assert "  import " in usage()
