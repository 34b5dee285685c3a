"""`abbnn import`: networks written in plain torch, with batch norm and names of their own, against the integer ones."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="reading a state dict needs torch")

from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

from abbnn import paths  # noqa: E402
from abbnn.export.__main__ import main  # noqa: E402
from abbnn.export.freeze import FreezeOptions, freeze  # noqa: E402
from abbnn.export.importing import canonical, least_terms  # noqa: E402
from abbnn.golden.images import SHIPPED_IMAGES, read_images, resized  # noqa: E402
from abbnn.golden.model import forward  # noqa: E402
from abbnn.golden.network import load_network, to_tensors  # noqa: E402
from abbnn.golden.ranges import analyse  # noqa: E402
from abbnn.golden.structure import CIFAR_STEM, RESNET_STEM, STRIDED_STEM, member  # noqa: E402
from abbnn.train.checkpoint import entries  # noqa: E402
from abbnn.train.mapping import MappingFile  # noqa: E402
from abbnn.train.random_checkpoint import random_checkpoint  # noqa: E402
from abbnn.train.tensors import to_official  # noqa: E402
from abbnn.train.unfolded import logits  # noqa: E402
from abbnn.train.variant import MEAN, STD, Variant  # noqa: E402

SIDE = 16
EPSILON = 1e-4


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
    """norm(conv(sign(x))) + shortcut(x), then an RPReLU or nothing; `shortcut` may hold modules, or repeat the input."""

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
    mean, std = (torch.tensor(colours).reshape(3, 1, 1) for colours in (MEAN, STD))
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


def written(tmp_path, model, images):
    """The paths of a model's state dict and mapping, and its own logits."""
    make, text = MODELS[model]
    network = randomized(make, images)
    file, mapping = tmp_path / f"{model}.pt", tmp_path / f"{model}.toml"
    torch.save(network.state_dict(), file)
    mapping.write_text(text)
    return file, mapping, plain_logits(network, images)


def imported(file, mapping, out, *options, status=0):
    """The frozen network that the command makes."""
    assert main([str(word) for word in ("import", file, "--map", mapping, "--out", out, *options)]) == status
    return load_network(out) if status == 0 else None


def compared(network, images, wanted):
    """(share of equal classes, error of the scores over the spread of the logits)."""
    scores = forward(network, images)["scores"] * 2.0**-network.score_fraction_bits
    error = np.sqrt(np.mean((scores - wanted) ** 2)) / (wanted - wanted.mean(axis=0)).std()
    return (scores.argmax(1) == wanted.argmax(1)).mean(), error


@EVERY_MODEL
def test_numbers(model, images, tmp_path):
    pictures, _ = images
    file, mapping, wanted = written(tmp_path, model, pictures)
    mapped = MappingFile.read(mapping).network(entries(file)[0])
    print(model, np.abs(logits(mapped, pictures)-wanted).max(), wanted.std(), mapped.structure.family)
    fine = ["--value-bits", 24, "--fraction-bits", 14, "--terms", 8, "--stem-bits", 15, "--head-bits", 12, "--shortcut-bits", 15]
    print(compared(imported(file, mapping, tmp_path / "fine", *fine), pictures, wanted))
    print(compared(imported(file, mapping, tmp_path / "usual"), pictures, wanted))
