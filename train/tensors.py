"""The float network's tensors, one name a layer: canonical here, spelled otherwise in the official checkpoints.

Training and freezing see canonical tensors only: `stem.weight`, `blockNN.bias0`, `head.bias` and so on, with one
convolution a block and vectors (C,) for everything that belongs to channels. The official code has a spelling a
network, `(1, C, 1, 1)` biases, `(C, 1, 1, 1)` gains, and splits a convolution that doubles the width in two. NumPy
only: freezing needs all this without torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbnn.errors import UserError
from abbnn.golden.network import EXPONENT_RANGE
from abbnn.golden.structure import (
    CIFAR_SIDE,
    CIFAR_SIDE_MAX,
    DECLARATIONS,
    FAMILIES,
    IMAGENET_SIDE,
    StemForm,
    Structure,
    block_name,
    member,
)

Tensors = dict[str, NDArray[Any]]
Shape = tuple[int, ...]

EPSILON = 1e-5
"""Of the scaled weight standardization."""

NORM_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""What batch norm's tensors that no other module has are called."""

CIFAR_CLASSES_MAX = 100
"""With more classes and no word about the image, a checkpoint is taken for one of ImageNet."""


def standardize(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scaled weight standardization (Eq. 1) an output channel: (w - mean) / (std + eps) / sqrt(fan-in).

    Freezing and evaluation both take their signs here: where a weight is its filter's mean but for rounding, other
    arithmetic would give others.
    """
    flat = weight.reshape(len(weight), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    result: NDArray[np.float64] = centred / (flat.std(axis=1, keepdims=True) + EPSILON) / np.sqrt(flat.shape[1])
    return np.reshape(result, weight.shape)


def slope_exponents(name: str, l_alpha: NDArray[Any]) -> NDArray[np.int64]:
    """round(`l_alpha`), from the least that the format holds on, below which slopes are as good as 0.

    ValueError names tensor `name` if one is beyond the greatest.
    """
    low, high = EXPONENT_RANGE
    exponents = np.maximum(np.round(l_alpha), low)
    if exponents.max() > high:
        raise UserError(f"tensor {name}: a slope of 2**{exponents.max():g}; they end at 2**{high}")
    return exponents.astype(np.int64)


def canonical_shapes(structure: Structure) -> dict[str, Shape]:
    """Every parameter of the float network: name -> shape, in the order of the layers.

    `.weight` is latent, `.gain` a factor a filter, `bias0` is added before the sign (times beta), `bias1` and `bias2`
    before and behind QPReLU, whose slopes are 2**round(`l_alpha`); `prelu` holds free slopes.
    """
    stem = structure.stem
    shapes: dict[str, Shape] = {
        "stem.weight": (stem.out_channels, stem.in_channels, stem.kernel, stem.kernel),
        "stem.gain": (stem.out_channels,),
    }
    if stem.prelu:
        shapes["stem.prelu"] = (stem.out_channels,)
    for index, block in enumerate(structure.blocks):
        name, cin, cout = block_name(index), block.in_channels, block.out_channels
        if block.biased:
            shapes[f"{name}.bias0"] = (cin,)
        shapes[f"{name}.weight"] = (cout, cin, block.kernel, block.kernel)
        shapes[f"{name}.gain"] = (cout,)
        if block.projects:
            shapes[f"{name}.shortcut.weight"] = (cout, cin, 1, 1)
            shapes[f"{name}.shortcut.gain"] = (cout,)
        if block.activation == "qprelu":
            shapes |= {f"{name}.{key}": (cout,) for key in ("bias1", "l_alpha", "bias2")}
        elif block.activation == "prelu":
            shapes[f"{name}.prelu"] = (cout,)
    channels = structure.head_input[2]
    return shapes | {"head.weight": (structure.classes, channels), "head.bias": (structure.classes,)}


def official_names(structure: Structure) -> dict[str, tuple[str, ...]]:
    """Canonical name -> official names without "module."; two where the official code splits a convolution."""
    paired = FAMILIES[structure.family].paired
    stem = "feature.0.conv1" if paired else "conv1"
    names: dict[str, tuple[str, ...]] = {"stem.weight": (f"{stem}.weight",), "stem.gain": (f"{stem}.gain",)}
    names |= {"head.weight": ("fc.weight",), "head.bias": ("fc.bias",), "stem.prelu": ("prelu1.weight",)}
    stage, place = 1, 0
    for index, block in enumerate(structure.blocks):
        name = block_name(index)
        if paired:
            # Unit I has the blocks 2 I - 2 (3x3) and 2 I - 1 (1x1).
            unit, half = f"feature.{index // 2 + 1}", index % 2 + 1
            convs = ["binary_3x3"] if half == 1 else ["binary_pw"]
            if block.shortcut == "repeat":
                convs = ["binary_pw_down1", "binary_pw_down2"]
            parts = (f"move{half}1", f"move{half}2", f"prelu{half}", f"move{half}3")
        else:
            if block.stride == 2 and index:
                stage, place = stage + 1, 0
            unit, convs, parts = f"layer{stage}.{place}", ["conv1"], ("move0", "move1", "prelu", "move2")
            place += 1
        bias0, bias1, l_alpha, bias2 = (f"{unit}.{part}" for part in parts)
        names |= {
            f"{name}.bias0": (f"{bias0}.bias",),
            f"{name}.weight": tuple(f"{unit}.{conv}.weight" for conv in convs),
            f"{name}.gain": tuple(f"{unit}.{conv}.gain" for conv in convs),
            f"{name}.bias1": (f"{bias1}.bias",),
            f"{name}.l_alpha": (f"{l_alpha}.L_alpha",),
            f"{name}.bias2": (f"{bias2}.bias",),
            f"{name}.prelu": ("prelu2.weight",),
        }
        # The place in the official nn.Sequential: behind the average pool, or alone.
        place_of_conv = 1 if block.averages else 0
        for key in ("weight", "gain"):
            names[f"{name}.shortcut.{key}"] = (f"{unit}.downsample.{place_of_conv}.{key}",)
    return {name: names[name] for name in canonical_shapes(structure)}


def official_shapes(structure: Structure) -> dict[str, Shape]:
    """Names and shapes of an official checkpoint of `structure`, without "module."."""
    result: dict[str, Shape] = {}
    names = official_names(structure)
    for name, shape in canonical_shapes(structure).items():
        for official in names[name]:
            result[official] = _official_shape(official, (shape[0] // len(names[name]), *shape[1:]))
    return result


def _official_shape(official: str, shape: Shape) -> Shape:
    if official.endswith(".gain"):
        return (*shape, 1, 1, 1)
    if official.endswith(".bias") and official != "fc.bias":
        return (1, *shape, 1, 1)
    return shape


def to_official(tensors: Mapping[str, NDArray[Any]], structure: Structure) -> Tensors:
    """Canonical tensors in the official spelling, without "module."."""
    shapes = official_shapes(structure)
    result: Tensors = {}
    for name, officials in official_names(structure).items():
        for official, part in zip(officials, np.split(tensors[name], len(officials)), strict=True):
            result[official] = part.reshape(shapes[official])
    return result


def check_tensor(name: str, tensor: NDArray[Any], shape: Shape, structure: Structure) -> None:
    """ValueError if the official tensor `name` has another shape than `shape`, is not finite, or has a slope beyond the
    format's.
    """
    if tuple(tensor.shape) != shape:
        raise UserError(f"tensor {name} has shape {tuple(tensor.shape)}, {structure.name} has {shape}")
    if not np.isfinite(tensor).all():
        raise UserError(f"tensor {name} holds NaN or infinity")
    if name.endswith("L_alpha"):
        slope_exponents(name, tensor)


def to_canonical(tensors: Mapping[str, NDArray[Any]], structure: Structure) -> Tensors:
    """Official tensors by their canonical names.

    ValueError names the first that is missing, foreign, misshapen, not finite, or a slope beyond the format's.
    """
    shapes = official_shapes(structure)
    for name in shapes:
        if name not in tensors:
            raise UserError(f"tensor {name} of {structure.name} is missing")
        check_tensor(name, tensors[name], shapes[name], structure)
    for name in tensors:
        if name not in shapes:
            raise UserError(f"tensor {name} does not belong to {structure.name}")
    canonical = canonical_shapes(structure)
    return {
        name: np.concatenate([tensors[official].reshape(-1, *canonical[name][1:]) for official in officials])
        for name, officials in official_names(structure).items()
    }


def infer_structure(
    tensors: Mapping[str, NDArray[Any]], network: str, *, image: int | None = None, stem_stride: int | None = None
) -> Structure:
    """The structure of an official checkpoint of the network called `network`: widths, depths, classes and stem from
    the tensors' shapes, the block pattern from the network's family.

    Shapes do not tell the image's side nor, where both stems are 3x3, which one it is: the ImageNet one for more than
    100 classes or a side of more than 100. The side is by default 224 for an ImageNet stem, else 32. `to_canonical`
    checks the tensors one by one afterwards. ValueError if the shapes fit no member of the family, or another declared
    network.
    """
    declared = DECLARATIONS[network]
    kind = FAMILIES[declared.family]
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    classes = _shape(shapes, network, "fc.weight", 2)[0]
    kernel = _shape(shapes, network, "feature.0.conv1.weight" if kind.paired else "conv1.weight", 4)[2]
    imagenet = kernel == kind.imagenet_stem.kernel
    if imagenet and kernel == declared.cifar_stem.kernel:
        imagenet = (image or 0) > CIFAR_SIDE_MAX or classes > CIFAR_CLASSES_MAX
    side = image or (IMAGENET_SIDE if imagenet else CIFAR_SIDE)
    stem = kind.imagenet_stem if imagenet else StemForm(kernel, declared.cifar_stem.stride)
    if stem_stride is not None:
        stem = StemForm(kernel, stem_stride, stem.max_pool)
    stages = _paired_stages(shapes, network) if kind.paired else _single_stages(shapes, network)
    widths, depths = (tuple(column) for column in zip(*stages, strict=True))
    for other, declaration in DECLARATIONS.items():
        same = (declaration.family, declaration.widths, declaration.depths) == (declared.family, widths, depths)
        if same and (declared.widths, declared.depths) != (widths, depths):
            raise UserError(f"has the widths and depths of {other}, not of {network}")
    return member(network, widths, depths, family=declared.family, classes=classes, image=side, stem=stem)


def _shape(shapes: Mapping[str, Shape], network: str, name: str, rank: int) -> Shape:
    if name not in shapes:
        raise UserError(f"tensor {name} of {network} is missing")
    if len(shapes[name]) != rank:
        raise UserError(f"tensor {name} has shape {shapes[name]}, {network} has {rank} dimensions there")
    if 0 in shapes[name]:
        raise UserError(f"tensor {name} has shape {shapes[name]}: it is empty")
    return shapes[name]


def _numbers(names: Iterable[str], prefix: str, network: str, first: int) -> range:
    """The numbers behind `prefix` in the names: consecutive, from `first` on."""
    found = {int(match[1]) for match in (re.match(rf"{re.escape(prefix)}(\d+)\.", name) for name in names) if match}
    numbers = range(first, first + len(found))
    for number in numbers:
        if number not in found:
            raise UserError(f"tensor {prefix}{number} of {network} is missing, {prefix}{max(found)} is there")
    return numbers


def _single_stages(shapes: Mapping[str, Shape], network: str) -> list[tuple[int, int]]:
    """(width, depth) of layer1, layer2, ... of the ResNet forms."""
    stages = []
    for stage in _numbers(shapes, "layer", network, 1):
        places = _numbers(shapes, f"layer{stage}.", network, 0)
        stages.append((_shape(shapes, network, f"layer{stage}.0.conv1.weight", 4)[0], len(places)))
    if not stages:
        raise UserError(f"tensor layer1.0.conv1.weight of {network} is missing")
    return stages


def _paired_stages(shapes: Mapping[str, Shape], network: str) -> list[tuple[int, int]]:
    """(width, units) of each width of the MobileNet form; the stem's width is the first, with no unit or more."""
    width = _shape(shapes, network, "feature.0.conv1.weight", 4)[0]
    stages = [(width, 0)]
    for unit in _numbers(shapes, "feature.", network, 0)[1:]:
        if f"feature.{unit}.binary_pw_down1.weight" in shapes:
            width *= 2
            stages.append((width, 0))
        stages[-1] = (width, stages[-1][1] + 1)
    return stages
