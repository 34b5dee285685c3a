"""What a network is made of: one layer list, read by training, freezing, the golden model and the RTL's header.

Only geometry lives here: channel counts, kernel sizes, strides. Numbers (weights, thresholds, shifts) belong to the
float checkpoint or to the frozen `golden.network.IntegerNetwork`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


def block_name(index: int) -> str:
    """Name of a block in layer lists, tensors and files: two digits, so that names sort and have one length."""
    return f"block{index:02d}"


@dataclass(frozen=True)
class Stem:
    """The first convolution: image channels to `out_channels`, `kernel` x `kernel`, padded by kernel // 2."""

    in_channels: int
    out_channels: int
    kernel: int
    stride: int


@dataclass(frozen=True)
class Block:
    """One binary block: a padded 3x3 binary convolution with a residual around it, then QPReLU between two biases.

    With `stride` 2 the shortcut is a 2x2 average, then a 1x1 convolution with binary weights on the real-valued map;
    with stride 1 it is the identity. (height, width) are those of the block's input.
    """

    in_channels: int
    out_channels: int
    stride: int
    height: int
    width: int

    @property
    def out_height(self) -> int:
        return self.height // self.stride

    @property
    def out_width(self) -> int:
        return self.width // self.stride

    @property
    def downsamples(self) -> bool:
        return self.stride == 2


@dataclass(frozen=True)
class Structure:
    """A network: stem, blocks in order, global average pool and linear head. (height, width) are the image's."""

    name: str
    height: int
    width: int
    stem: Stem
    blocks: tuple[Block, ...]
    classes: int

    def __post_init__(self) -> None:
        self._check_numbers()
        channels, height, width = self.stem.out_channels, *self.stem_output
        for index, block in enumerate(self.blocks):
            where = f"{self.name}: {block_name(index)}"
            if index > 99:
                raise ValueError(f"{self.name}: more than 100 blocks")
            if (block.in_channels, block.height, block.width) != (channels, height, width):
                raise ValueError(f"{where} takes {block}, but gets {channels} channels of {height}x{width}")
            if block.stride not in (1, 2):
                raise ValueError(f"{where} has stride {block.stride}; 1 and 2 exist")
            if block.stride == 1 and block.in_channels != block.out_channels:
                raise ValueError(f"{where} changes the width without a stride of 2")
            if height % block.stride or width % block.stride:
                raise ValueError(f"{where} halves an odd map of {height}x{width}")
            channels, height, width = block.out_channels, block.out_height, block.out_width
        if min(height, width, self.classes) < 1:
            raise ValueError(f"{self.name}: nothing is left of the image before the head")

    def _check_numbers(self) -> None:
        """ValueError names the first number that is no positive integer, and an even kernel: it has no centre."""
        parts = {"stem": self.stem} | {block_name(index): block for index, block in enumerate(self.blocks)}
        numbers = {key: getattr(self, key) for key in ("height", "width", "classes")}
        for part, fields in parts.items():
            numbers |= {f"{part}.{key}": value for key, value in asdict(fields).items()}
        for key, value in numbers.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"{self.name}: {key} is {value!r}")
        if self.stem.kernel % 2 == 0:
            raise ValueError(f"{self.name}: stem.kernel {self.stem.kernel} is even")

    @property
    def stem_output(self) -> tuple[int, int]:
        """(height, width) of the stem's output: padded by kernel // 2, so only the stride shrinks it."""
        return -(-self.height // self.stem.stride), -(-self.width // self.stem.stride)

    @property
    def head_input(self) -> tuple[int, int, int]:
        """(height, width, channels) of the map that the global average pool sees."""
        if not self.blocks:
            return *self.stem_output, self.stem.out_channels
        last = self.blocks[-1]
        return last.out_height, last.out_width, last.out_channels

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Structure:
        """The inverse of `to_dict`. Raises TypeError, KeyError or ValueError on anything else."""
        fields = dict(data)
        stem = Stem(**fields.pop("stem"))
        blocks = tuple(Block(**block) for block in fields.pop("blocks"))
        return Structure(stem=stem, blocks=blocks, **fields)


def reactnet(
    name: str,
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    *,
    classes: int = 10,
    image: int = 32,
    stem_kernel: int = 3,
    stem_stride: int = 1,
) -> Structure:
    """The ReActNet form: stages of single-convolution blocks; the first block of every later stage has stride 2."""
    if len(widths) != len(depths):
        raise ValueError(f"{name}: {len(widths)} widths for {len(depths)} depths")
    stem = Stem(3, widths[0], stem_kernel, stem_stride)
    blocks = []
    channels, size = widths[0], -(-image // stem_stride)
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for index in range(depth):
            stride = 2 if stage > 0 and index == 0 else 1
            blocks.append(Block(channels, width, stride, size, size))
            channels, size = width, size // stride
    return Structure(name, image, image, stem, tuple(blocks), classes)


NETWORKS: dict[str, Structure] = {
    network.name: network
    for network in (
        reactnet("tiny", (32, 64, 128), (2, 2, 2), stem_stride=2),
        reactnet("reactnet18", (64, 128, 256, 512), (4, 4, 4, 4)),
    )
}
