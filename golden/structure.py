"""What a network is made of: one layer list, read by training, freezing, the golden model and the RTL's header.

Only geometry lives here: channel counts, kernel sizes, strides. Numbers (weights, thresholds, shifts) belong to the
float checkpoint or to the frozen `golden.network.IntegerNetwork`. The paper's networks are declared at the end; their
block patterns are the four families above them.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from abbnn.errors import UserError

Shortcut = Literal["identity", "repeat", "pool", "pool-conv", "conv", "pool-real-conv"]
"""What meets the scaled convolution in a block's adder.

identity   the block's input; stride 1, equal widths
repeat     the input twice, concatenated; stride 1, doubled width: the pair of convolutions that shares its residual
pool       the input's 2x2 average; stride 2, equal widths
pool-conv  a 1x1 convolution with binary weights on the 2x2 average of the real-valued map; stride 2
conv       a 1x1 convolution of stride 2 with binary weights on the real-valued map; stride 2
pool-real-conv    pool-conv with real weights, like the stem's
"""
Activation = Literal["none", "qprelu", "prelu"]
"""Behind the adder: nothing; bias, QPReLU, bias; a PReLU with a free slope a channel."""

CUSTOM = "custom"
"""The family of a network that has any blocks together."""
BLOCKS_MAX = 100
NUMBER_MAX = 0xFFFF
"""Of channels, classes, sides: registers give them 16 bits."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}")
"""Of a network: it goes into paths and into the comments of Verilog."""


def block_name(index: int) -> str:
    """Name of a block in layer lists, tensors and files: two digits, so that names sort and have one length."""
    return f"block{index:02d}"


@dataclass(frozen=True)
class Stem:
    """The first convolution: image channels to `out_channels`, `kernel` x `kernel`, padded by kernel // 2.

    Behind it a PReLU with a free slope a channel, then a 3x3 max-pool of stride 2 padded by 1, where asked for.
    """

    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    prelu: bool = False
    max_pool: bool = False

    def conv_output(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) behind the convolution of an image: it is padded, so only the stride shrinks it."""
        return -(-height // self.stride), -(-width // self.stride)

    def output(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) behind the max-pool, if there is one."""
        height, width = self.conv_output(height, width)
        return (-(-height // 2), -(-width // 2)) if self.max_pool else (height, width)


@dataclass(frozen=True)
class Block:
    """One binary convolution, padded by kernel // 2, with a shortcut around it and an activation behind both.

    (height, width) are those of the block's input. `biased` says whether a learned bias stands in front of the sign.
    `variance_steps` counts the convolutions whose outputs have piled up in the input since its variance was 1 by
    design: beta = 1 / sqrt(1 + variance_steps * alpha^2) (Section 3.1 of the paper).
    """

    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    height: int
    width: int
    shortcut: Shortcut
    activation: Activation
    biased: bool
    variance_steps: int

    @property
    def out_height(self) -> int:
        return self.height // self.stride

    @property
    def out_width(self) -> int:
        return self.width // self.stride

    @property
    def output(self) -> tuple[int, int, int]:
        """(channels, height, width) of the block's output."""
        return self.out_channels, self.out_height, self.out_width

    @property
    def projects(self) -> bool:
        """Whether the shortcut has weights of its own."""
        return self.shortcut in ("pool-conv", "conv", "pool-real-conv")

    @property
    def projects_real(self) -> bool:
        """Whether these weights are real numbers: odd integers once frozen, not signs."""
        return self.shortcut == "pool-real-conv"

    @property
    def averages(self) -> bool:
        """Whether the shortcut begins with the 2x2 average."""
        return self.shortcut in ("pool", "pool-conv", "pool-real-conv")

    @property
    def binary_weights(self) -> int:
        """Of the convolution and, unless it has real ones, of the shortcut."""
        taps = self.kernel**2 + (self.projects and not self.projects_real)
        return self.out_channels * self.in_channels * taps


@dataclass(frozen=True)
class Structure:
    """A network: stem, blocks in order, global average pool and linear head. (height, width) are the image's.

    One without blocks is part of a network, for tests of that: `member` and `from_dict` make none.
    """

    name: str
    family: str
    height: int
    width: int
    stem: Stem
    blocks: tuple[Block, ...]
    classes: int

    def __post_init__(self) -> None:
        self._check_fields()
        channels, height, width = self.stem.out_channels, *self.stem_output
        if len(self.blocks) > BLOCKS_MAX:
            raise UserError(f"{self.name}: more than {BLOCKS_MAX} blocks")
        for index, block in enumerate(self.blocks):
            where = f"{self.name}: {block_name(index)}"
            if (block.in_channels, block.height, block.width) != (channels, height, width):
                raise UserError(f"{where} takes {block}, but gets {channels} channels of {height}x{width}")
            _check_block(where, block)
            channels, height, width = block.output
        if min(height, width, self.classes) < 1:
            raise UserError(f"{self.name}: nothing is left of the image before the head")

    def _check_fields(self) -> None:
        """UserError names the first field of a wrong type or value."""
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise UserError(f"{str(self.name)[:80]!r} is no name: up to 64 letters, digits and _ . + - make one")
        if self.family not in (*FAMILIES, CUSTOM):
            raise UserError(f"{self.name}: family is {self.family!r}; there are {', '.join((*FAMILIES, CUSTOM))}")
        parts = {"stem": self.stem} | {block_name(index): block for index, block in enumerate(self.blocks)}
        fields: dict[str, Any] = {key: getattr(self, key) for key in ("height", "width", "classes")}
        for part, values in parts.items():
            fields |= {f"{part}.{key}": value for key, value in asdict(values).items()}
        for key, value in fields.items():
            kind = key.rpartition(".")[2]
            if kind in _CHOICES:
                legal = type(value) is type(_CHOICES[kind][0]) and value in _CHOICES[kind]
            else:
                least, most = (0, BLOCKS_MAX) if kind == "variance_steps" else (1, NUMBER_MAX)
                legal = type(value) is int and least <= value <= most
            if not legal:
                raise UserError(f"{self.name}: {key} is {value!r}")
        for key in ("stem.kernel", *(f"{name}.kernel" for name in parts if name != "stem")):
            if fields[key] % 2 == 0:
                raise UserError(f"{self.name}: {key} {fields[key]} is even")

    @property
    def stem_conv_output(self) -> tuple[int, int]:
        """(height, width) behind the stem's convolution."""
        return self.stem.conv_output(self.height, self.width)

    @property
    def stem_output(self) -> tuple[int, int]:
        """(height, width) of the stem's output, behind its max-pool if it has one."""
        return self.stem.output(self.height, self.width)

    @property
    def head_input(self) -> tuple[int, int, int]:
        """(height, width, channels) of the map that the global average pool sees."""
        return list(self.outputs.values())[-2]

    @property
    def outputs(self) -> dict[str, tuple[int, int, int]]:
        """(height, width, channels) of what stem, blocks and head give, by their names."""
        maps = {"stem": (*self.stem_output, self.stem.out_channels)}
        maps |= {block_name(i): (b.out_height, b.out_width, b.out_channels) for i, b in enumerate(self.blocks)}
        return maps | {"head": (1, 1, self.classes)}

    @property
    def stem_macs(self) -> int:
        """Products of an image with the stem's weights; padded taps count."""
        height, width = self.stem_conv_output
        return height * width * self.stem.out_channels * self.stem.in_channels * self.stem.kernel**2

    @property
    def binary_macs(self) -> int:
        """Products of an image with binary weights: XNORs, and additions in the shortcuts. Padded taps count."""
        return sum(block.out_height * block.out_width * block.binary_weights for block in self.blocks)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Structure:
        """The inverse of `to_dict`. Raises TypeError, KeyError or UserError on anything else."""
        fields = dict(data)
        stem = Stem(**fields.pop("stem"))
        blocks = tuple(Block(**block) for block in fields.pop("blocks"))
        return Structure(stem=stem, blocks=blocks, **fields)._whole()

    def _whole(self) -> Structure:
        """This network, if it has a block and only such blocks as its family has."""
        if not self.blocks:
            raise UserError(f"{self.name}: a network without a block; the core has one at least")
        for index, block in enumerate(self.blocks if self.family != CUSTOM else ()):
            for key, legal in FAMILIES[self.family].blocks.items():
                value = getattr(block, key)
                if value not in legal:
                    where = f"{self.name}: {block_name(index)}.{key}"
                    raise UserError(f"{where} is {value}; family {self.family} has {' and '.join(map(str, legal))}")
        return self


_CHOICES: dict[str, tuple[Any, ...]] = {
    "shortcut": get_args(Shortcut),
    "activation": get_args(Activation),
    "biased": (False, True),
    "prelu": (False, True),
    "max_pool": (False, True),
}

# Shortcut -> (stride, widths that it joins: out_channels for in_channels, None for any).
_SHORTCUTS: dict[str, tuple[int, int | None]] = {
    "identity": (1, 1),
    "repeat": (1, 2),
    "pool": (2, 1),
    "pool-conv": (2, None),
    "conv": (2, None),
    "pool-real-conv": (2, None),
}


def _check_block(where: str, block: Block) -> None:
    stride, widening = _SHORTCUTS[block.shortcut]
    if block.kernel not in (1, 3):
        raise UserError(f"{where} has a kernel of {block.kernel}; 1 and 3 exist")
    if block.stride != stride:
        raise UserError(f"{where} has stride {block.stride}; a shortcut of kind {block.shortcut} goes with {stride}")
    if widening is not None and block.out_channels != widening * block.in_channels:
        raise UserError(
            f"{where} has {block.in_channels} to {block.out_channels} channels; a shortcut of kind {block.shortcut} "
            f"goes with {widening * block.in_channels}"
        )
    if block.height % stride or block.width % stride:
        raise UserError(f"{where} halves an odd map of {block.height}x{block.width}")


@dataclass(frozen=True)
class StemForm:
    """Kernel and stride of a stem's convolution, and whether a max-pool follows."""

    kernel: int
    stride: int
    max_pool: bool = False


CIFAR_STEM = StemForm(3, 1)
STRIDED_STEM = StemForm(3, 2)
RESNET_STEM = StemForm(7, 2, max_pool=True)


@dataclass(frozen=True)
class Family:
    """What all members of a family share; a member adds widths, depths, classes and image.

    Not `paired`: stages of single 3x3 blocks, the first block of every later stage with stride 2 and the shortcut
    `downsampling`. `paired`: the MobileNet form, units of a 3x3 block that keeps the width and a 1x1 block that, in the
    first unit of every later stage, doubles it; that unit's 3x3 block has stride 2, but in the first such unit.
    `biased`: biases and QPReLU in every block; otherwise two PReLUs, behind the stem and behind the last block.
    """

    biased: bool
    downsampling: Shortcut
    paired: bool
    imagenet_stem: StemForm

    @property
    def blocks(self) -> dict[str, tuple[Any, ...]]:
        """Field of a block -> what it may be in this family."""
        shortcuts = ["identity", self.downsampling, *(["repeat"] if self.paired else [])]
        if self.downsampling == "pool-real-conv":
            shortcuts.append("pool-conv")  # what freezing once made of it
        return {
            "kernel": (3, 1) if self.paired else (3,),
            "shortcut": tuple(shortcuts),
            "activation": ("qprelu",) if self.biased else ("none", "prelu"),
            "biased": (self.biased,),
        }


FAMILIES: dict[str, Family] = {
    "reactnet": Family(biased=True, downsampling="pool-conv", paired=False, imagenet_stem=RESNET_STEM),
    "birealnet": Family(biased=False, downsampling="pool-real-conv", paired=False, imagenet_stem=RESNET_STEM),
    "xnornet": Family(biased=False, downsampling="conv", paired=False, imagenet_stem=RESNET_STEM),
    "reactneta": Family(biased=True, downsampling="pool", paired=True, imagenet_stem=STRIDED_STEM),
}


def member(
    name: str,
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    *,
    family: str = "reactnet",
    classes: int = 10,
    image: int | tuple[int, int] = 32,
    stem: StemForm = CIFAR_STEM,
) -> Structure:
    """The member of `family` with one width and depth a stage, for images of `image` (height, width) or a square.

    Depths count blocks or, in a paired family, units; only a paired family's first stage may have none.
    """
    kind = FAMILIES[family]
    if len(widths) != len(depths) or not widths:
        raise UserError(f"{name}: {len(widths)} widths for {len(depths)} depths")
    if any(depth < 1 for depth in depths[1:]) or depths[0] < 0:
        raise UserError(f"{name}: depths {depths}: a stage has no block")
    height, width = image if isinstance(image, tuple) else (image, image)
    stem_layer = Stem(3, widths[0], stem.kernel, stem.stride, not kind.biased, stem.max_pool)
    blocks = _blocks(kind, stem_layer.output(height, width), widths, depths)
    return Structure(name, family, height, width, stem_layer, blocks, classes)._whole()


def _blocks(kind: Family, size: tuple[int, int], widths: tuple[int, ...], depths: tuple[int, ...]) -> tuple[Block, ...]:
    """Behind a stem whose maps are of `size`."""
    blocks: list[Block] = []
    entering, steps = (widths[0], *size), 0

    def add(out_channels: int, kernel: int, shortcut: Shortcut, activation: Activation, steps: int) -> None:
        nonlocal entering
        channels, height, width = entering
        geometry = channels, out_channels, kernel, _SHORTCUTS[shortcut][0], height, width
        blocks.append(Block(*geometry, shortcut, activation, kind.biased, steps))
        entering = blocks[-1].output

    for stage, (out, depth) in enumerate(zip(widths, depths, strict=True)):
        for index in range(depth):
            first = stage > 0 and index == 0
            down = first and (stage > 1 or not kind.paired)
            shortcut = kind.downsampling if down else "identity"
            if kind.paired:
                add(entering[0], 3, shortcut, "qprelu", steps)
                add(out, 1, "repeat" if first else "identity", "qprelu", steps + 1)
                steps = 0 if down else steps + 2
            else:
                last = stage == len(widths) - 1 and index == depth - 1
                add(out, 3, shortcut, "qprelu" if kind.biased else "prelu" if last else "none", steps)
                # The official code counts the variance as 1 behind a stage's first block and lets the later ones add.
                steps = 0 if down else steps + (index > 0)
    return tuple(blocks)


@dataclass(frozen=True)
class Declaration:
    """A network by name: a family's member, without its classes and image."""

    family: str
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    cifar_stem: StemForm = CIFAR_STEM


DECLARATIONS: dict[str, Declaration] = {
    "reactnet18": Declaration("reactnet", (64, 128, 256, 512), (4, 4, 4, 4)),
    "reactnet34": Declaration("reactnet", (64, 128, 256, 512), (6, 8, 12, 6)),
    "birealnet18": Declaration("birealnet", (64, 128, 256, 512), (4, 4, 4, 4)),
    "xnornet18": Declaration("xnornet", (64, 128, 256, 512), (4, 4, 4, 4)),
    "reactneta": Declaration("reactneta", (32, 64, 128, 256, 512, 1024), (0, 1, 2, 2, 6, 2)),
    "half": Declaration("reactnet", (32, 64, 128, 256), (4, 4, 4, 4)),
    "tiny": Declaration("reactnet", (32, 64, 128), (2, 2, 2), STRIDED_STEM),
    "small": Declaration("reactnet", (64, 128, 256), (2, 2, 2), STRIDED_STEM),
}

IMAGENET_SIDE = 224
CIFAR_SIDE = 32
CIFAR_SIDE_MAX = 100
"""Images with a longer side get a family's ImageNet stem, unless they ask for another."""


def declared_network(name: str, *, classes: int = 10, image: int = CIFAR_SIDE) -> Structure:
    """The declared network `name` at full width and depth, with the stem that goes with the image's side."""
    declared = DECLARATIONS[name]
    stem = FAMILIES[declared.family].imagenet_stem if image > CIFAR_SIDE_MAX else declared.cifar_stem
    return member(
        name, declared.widths, declared.depths, family=declared.family, classes=classes, image=image, stem=stem
    )


NETWORKS: dict[str, Structure] = {name: declared_network(name) for name in DECLARATIONS}
"""Every declared network for CIFAR-10."""
