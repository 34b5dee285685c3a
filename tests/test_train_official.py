"""`abbnn evaluate` on checkpoints as the official code writes them, against plain torch arithmetic.

The arithmetic, the lists of keys and the table of betas stand here a second time, layer by layer and straight from the
paper and its official code; nothing of them comes from the project.
"""

import zlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the float network needs torch")

from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, conv2d, max_pool2d, prelu  # noqa: E402

from abbnn.golden.structure import declared_network  # noqa: E402
from abbnn.train.command import main  # noqa: E402
from abbnn.train.tensors import official_shapes  # noqa: E402

ALPHA = 0.25
MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).reshape(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).reshape(3, 1, 1)
RESNETS = ("reactnet18", "reactnet34", "birealnet18", "xnornet18")

# Depths -> for every sign, how often alpha^2 has been added to the running variance of 1.
RESNET_GROWTH = {
    (4, 4, 4, 4): [0, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2],
    (3, 2, 1): [0, 0, 1, 2, 0, 1],
    (1, 2, 2): [0, 0, 0, 1, 0],
}
# Units a width, from the stem's on -> the same for both signs of every unit.
MOBILE_GROWTH = {
    (0, 1, 2, 2, 6, 2): [
        *[(0, 1), (2, 3), (0, 1), (2, 3), (0, 1), (2, 3), (0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11), (0, 1)]
    ],
    (0, 1, 2, 1): [(0, 1), (2, 3), (0, 1), (2, 3)],
    (1, 2, 1): [(0, 1), (2, 3), (4, 5), (6, 7)],
}


def beta(growth: int) -> float:
    return 1.0 / (1.0 + growth * ALPHA**2) ** 0.5


def test_the_tables_are_the_published_betas() -> None:
    resnet = "1 1 .9701 .9428 .9177 1 .9701 .9428 .9177 1 .9701 .9428 .9177 1 .9701 .9428"
    assert [round(beta(n), 4) for n in RESNET_GROWTH[4, 4, 4, 4]] == [float(text) for text in resnet.split()]
    mobile = "1 .9701 .9428 .9177 " * 4 + ".8944 .8729 .8528 .8341 .8165 .8 .7845 .7698 1 .9701"
    growth = [n for unit in MOBILE_GROWTH[0, 1, 2, 2, 6, 2] for n in unit]
    assert [round(beta(n), 4) for n in growth] == [float(text) for text in mobile.split()]


def resnet_keys(
    network: str, widths: tuple[int, ...], depths: tuple[int, ...], classes: int, kernel: int
) -> dict[str, tuple[int, ...]]:
    biased = network.startswith("reactnet")
    keys: dict[str, tuple[int, ...]] = {
        "conv1.weight": (widths[0], 3, kernel, kernel),
        "conv1.gain": (widths[0], 1, 1, 1),
        "fc.weight": (classes, widths[-1]),
        "fc.bias": (classes,),
    }
    if not biased:
        keys |= {"prelu1.weight": (widths[0],), "prelu2.weight": (widths[-1],)}
    into = widths[0]
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), 1):
        for place in range(depth):
            block = f"layer{stage}.{place}"
            keys |= {f"{block}.conv1.weight": (width, into, 3, 3), f"{block}.conv1.gain": (width, 1, 1, 1)}
            if biased:
                keys |= {f"{block}.move0.bias": (1, into, 1, 1), f"{block}.prelu.L_alpha": (width,)}
                keys |= {f"{block}.move{i}.bias": (1, width, 1, 1) for i in (1, 2)}
            if stage > 1 and place == 0:
                shortcut = f"{block}.downsample.{0 if network == 'xnornet18' else 1}"
                keys |= {f"{shortcut}.weight": (width, into, 1, 1), f"{shortcut}.gain": (width, 1, 1, 1)}
            into = width
    return keys


def mobile_keys(widths: tuple[int, ...], depths: tuple[int, ...], classes: int) -> dict[str, tuple[int, ...]]:
    keys: dict[str, tuple[int, ...]] = {
        "feature.0.conv1.weight": (widths[0], 3, 3, 3),
        "feature.0.conv1.gain": (widths[0], 1, 1, 1),
        "fc.weight": (classes, widths[-1]),
        "fc.bias": (classes,),
    }
    into, unit = widths[0], 0
    for width, depth in zip(widths, depths, strict=True):
        for _ in range(depth):
            unit += 1
            name = f"feature.{unit}"
            keys |= {f"{name}.move{i}.bias": (1, into, 1, 1) for i in (11, 12, 13, 21)}
            keys |= {f"{name}.move{i}.bias": (1, width, 1, 1) for i in (22, 23)}
            keys |= {f"{name}.prelu1.L_alpha": (into,), f"{name}.prelu2.L_alpha": (width,)}
            keys |= {f"{name}.binary_3x3.weight": (into, into, 3, 3), f"{name}.binary_3x3.gain": (into, 1, 1, 1)}
            for conv in ("binary_pw",) if width == into else ("binary_pw_down1", "binary_pw_down2"):
                keys |= {f"{name}.{conv}.weight": (into, into, 1, 1), f"{name}.{conv}.gain": (into, 1, 1, 1)}
            into = width
    return keys


@pytest.mark.parametrize(("classes", "image"), [(10, 32), (100, 32), (1000, 224)])
def test_keys_of_the_full_networks(classes: int, image: int) -> None:
    def declared(name: str) -> dict[str, tuple[int, ...]]:
        return official_shapes(declared_network(name, classes=classes, image=image))

    widths = (64, 128, 256, 512)
    for name in RESNETS:
        depths = (6, 8, 12, 6) if name == "reactnet34" else (4, 4, 4, 4)
        assert declared(name) == resnet_keys(name, widths, depths, classes, 7 if image == 224 else 3), name
    wide = (32, 64, 128, 256, 512, 1024)
    assert declared("reactneta") == mobile_keys(wide, (0, 1, 2, 2, 6, 2), classes)


State = dict[str, "torch.Tensor"]


def random_state(keys: dict[str, tuple[int, ...]], rng: np.random.Generator) -> State:
    """Tensors as training leaves them: latent weights off centre, gains of either sign, every slope that was seen."""
    state = {}
    for key, shape in keys.items():
        normal = rng.normal(size=shape)
        if key.endswith("gain"):
            values = 1.0 + 0.6 * normal
        elif key.endswith("L_alpha"):
            values = rng.uniform(-7.0, 2.0, shape)
        elif key.startswith("prelu"):
            values = rng.uniform(-0.4, 0.5, shape)  # below 0, max-pool and PReLU must not change places
        else:
            values = {"fc.weight": 0.1, "fc.bias": 0.1}.get(key, 0.3 if "move" in key else 0.05) * normal + 0.01
        state[f"module.{key}"] = torch.tensor(values, dtype=torch.float32)
    return state


class Arithmetic:
    """The layers in float64; `margin` is the least distance of a sign's input from 0 so far."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.margin = np.inf

    def tensor(self, key: str) -> "torch.Tensor":
        return self.state[f"module.{key}"].double()

    def weight(self, name: str, *, binary: bool) -> "torch.Tensor":
        weight, gain = self.tensor(f"{name}.weight"), self.tensor(f"{name}.gain")
        mean = weight.mean(dim=(1, 2, 3), keepdim=True)
        std = (weight - mean).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        w_hat = weight[0].numel() ** -0.5 * (weight - mean) / (std + 1e-5)
        if binary:
            w_hat = w_hat.sign() * w_hat.abs().mean(dim=(1, 2, 3), keepdim=True)
        return gain * w_hat

    def sign(self, x: "torch.Tensor", growth: int, bias: str | None = None) -> "torch.Tensor":
        u = x if bias is None else x + self.tensor(bias) / beta(growth)
        u = beta(growth) * u
        self.margin = min(self.margin, float(u.abs().min()))
        return u.sign()

    def qprelu(self, z: "torch.Tensor", l_alpha: str) -> "torch.Tensor":
        slope = 2.0 ** self.tensor(l_alpha).round()
        return torch.where(z >= 0, z, slope.reshape(1, -1, 1, 1) * z)

    def head(self, x: "torch.Tensor") -> "torch.Tensor":
        return adaptive_avg_pool2d(x, 1).flatten(1) @ self.tensor("fc.weight").T + self.tensor("fc.bias")


def resnet_logits(
    a: Arithmetic, x: "torch.Tensor", network: str, depths: tuple[int, ...], imagenet: bool
) -> "torch.Tensor":
    stem = a.weight("conv1", binary=False)
    x = conv2d(x, stem, stride=2, padding=3) if imagenet else conv2d(x, stem, padding=1)
    biased = network.startswith("reactnet")
    if not biased:
        x = prelu(x, a.tensor("prelu1.weight"))
    if imagenet:
        x = max_pool2d(x, 3, 2, 1)
    growth = iter(RESNET_GROWTH[depths])
    for stage, depth in enumerate(depths, 1):
        for place in range(depth):
            block = f"layer{stage}.{place}"
            stride = 2 if stage > 1 and place == 0 else 1
            shortcut = x
            if stride == 2 and network == "xnornet18":
                shortcut = conv2d(x, a.weight(f"{block}.downsample.0", binary=True), stride=2)
            elif stride == 2:
                real = network == "birealnet18"
                shortcut = conv2d(avg_pool2d(x, 2, 2), a.weight(f"{block}.downsample.1", binary=not real))
            b = a.sign(x, next(growth), f"{block}.move0.bias" if biased else None)
            x = ALPHA * conv2d(b, a.weight(f"{block}.conv1", binary=True), stride=stride, padding=1) + shortcut
            if biased:
                x = a.qprelu(x + a.tensor(f"{block}.move1.bias"), f"{block}.prelu.L_alpha")
                x = x + a.tensor(f"{block}.move2.bias")
    assert next(growth, None) is None
    return a.head(x if biased else prelu(x, a.tensor("prelu2.weight")))


def mobile_logits(
    a: Arithmetic, x: "torch.Tensor", widths: tuple[int, ...], depths: tuple[int, ...], imagenet: bool
) -> "torch.Tensor":
    x = conv2d(x, a.weight("feature.0.conv1", binary=False), stride=2 if imagenet else 1, padding=1)
    outputs = [width for width, depth in zip(widths, depths, strict=True) for _ in range(depth)]
    into, doublings = widths[0], 0
    for unit, (width, growth) in enumerate(zip(outputs, MOBILE_GROWTH[depths], strict=True), 1):
        name = f"feature.{unit}"
        doublings += width != into
        stride = 2 if width != into and doublings > 1 else 1  # the first doubling keeps the size

        b = a.sign(x, growth[0], f"{name}.move11.bias")
        out = conv2d(b, a.weight(f"{name}.binary_3x3", binary=True), stride=stride, padding=1)
        x = ALPHA * out + (avg_pool2d(x, 2, 2) if stride == 2 else x)
        x = a.qprelu(x + a.tensor(f"{name}.move12.bias"), f"{name}.prelu1.L_alpha") + a.tensor(f"{name}.move13.bias")

        b = a.sign(x, growth[1], f"{name}.move21.bias")
        if width == into:
            x = ALPHA * conv2d(b, a.weight(f"{name}.binary_pw", binary=True)) + x
        else:
            halves = [conv2d(b, a.weight(f"{name}.binary_pw_down{half}", binary=True)) for half in (1, 2)]
            x = torch.cat([ALPHA * half + x for half in halves], dim=1)
        x = a.qprelu(x + a.tensor(f"{name}.move22.bias"), f"{name}.prelu2.L_alpha") + a.tensor(f"{name}.move23.bias")
        into = width
    return a.head(x)


def check(
    folder: Path,
    network: str,
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    *,
    classes: int,
    side: int,
    imagenet: bool,
    options: tuple[str, ...] = (),
) -> None:
    """A random checkpoint's logits of four random images."""
    case = f"{network} {widths} {depths} {classes} {side} {imagenet}"
    seed = zlib.crc32(case.encode())
    print(f"{case}: seed {seed}")
    rng = np.random.default_rng(seed)
    mobile = network == "reactneta"
    if mobile:
        keys = mobile_keys(widths, depths, classes)
    else:
        keys = resnet_keys(network, widths, depths, classes, 7 if imagenet else 3)
    state = random_state(keys, rng)
    images = rng.integers(0, 256, (4, side, side, 3), dtype=np.uint8)
    torch.save(state, folder / "official.h5")
    np.save(folder / "images.npy", images)
    words = ["evaluate", str(folder / "official.h5"), "--network", network, "--images", str(folder / "images.npy")]
    assert main([*words, "--out", str(folder / "logits.npy"), "--threads", "1", *options]) == 0

    arithmetic = Arithmetic(state)
    x = (torch.from_numpy(images).double().permute(0, 3, 1, 2) / 255.0 - MEAN) / STD
    if mobile:
        expected = mobile_logits(arithmetic, x, widths, depths, imagenet)
    else:
        expected = resnet_logits(arithmetic, x, network, depths, imagenet)
    logits, wanted = np.load(folder / "logits.npy"), expected.numpy()
    # Both sides compute in float64, so a sign could differ only where its input all but touches 0. None does here.
    assert arithmetic.margin > 1e-10
    assert logits.shape == wanted.shape == (4, classes)
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    assert np.ptp(wanted, axis=0).max() > 1e-2 * np.abs(wanted).max(), "the images all look the same to the network"


@pytest.mark.parametrize(("classes", "imagenet", "side"), [(10, False, 16), (100, False, 24), (1000, True, 48)])
@pytest.mark.parametrize("depths", [(3, 2, 1), (1, 2, 2)])
@pytest.mark.parametrize("network", RESNETS)
def test_narrow_resnet_forms(
    tmp_path: Path, network: str, depths: tuple[int, ...], classes: int, imagenet: bool, side: int
) -> None:
    check(tmp_path, network, (6, 8, 12), depths, classes=classes, side=side, imagenet=imagenet)


@pytest.mark.parametrize(
    ("classes", "imagenet", "side"), [(10, False, 16), (100, False, 24), (1000, True, 40), (10, True, 104)]
)
@pytest.mark.parametrize(("widths", "depths"), [((3, 6, 12, 24), (0, 1, 2, 1)), ((4, 8, 16), (1, 2, 1))])
def test_narrow_mobile_forms(
    tmp_path: Path, widths: tuple[int, ...], depths: tuple[int, ...], classes: int, imagenet: bool, side: int
) -> None:
    check(tmp_path, "reactneta", widths, depths, classes=classes, side=side, imagenet=imagenet)


def test_the_side_can_be_given(tmp_path: Path) -> None:
    check(
        tmp_path,
        "birealnet18",
        (6, 8, 12),
        (3, 2, 1),
        classes=10,
        side=64,
        imagenet=True,
        options=("--image", "64"),
    )


def test_full_reactnet18(tmp_path: Path) -> None:
    widths, depths = (64, 128, 256, 512), (4, 4, 4, 4)
    check(tmp_path, "reactnet18", widths, depths, classes=10, side=32, imagenet=False)


def test_full_birealnet18(tmp_path: Path) -> None:
    widths, depths = (64, 128, 256, 512), (4, 4, 4, 4)
    check(tmp_path, "birealnet18", widths, depths, classes=100, side=32, imagenet=False)


def test_full_reactneta(tmp_path: Path) -> None:
    widths, depths = (32, 64, 128, 256, 512, 1024), (0, 1, 2, 2, 6, 2)
    check(tmp_path, "reactneta", widths, depths, classes=100, side=32, imagenet=False)
