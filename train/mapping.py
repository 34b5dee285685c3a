"""A network of somebody else's, read by a mapping file (docs/import.md): which of its tensors is what.

Batch norm, and whatever else is a factor or a term a channel, is read as gain and bias of the convolution in front of
it. Nothing is rounded here. NumPy only.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from abbnn.errors import UserError
from abbnn.golden.structure import (
    CIFAR_SIDE,
    CUSTOM,
    FAMILIES,
    Block,
    Shortcut,
    StemForm,
    Structure,
    block_name,
    member,
)
from abbnn.train.tensors import Shape, slope_exponents, standardize
from abbnn.train.variant import MEAN, STD, Variant

if TYPE_CHECKING:
    from abbnn.train.checkpoint import Entry

Floats = NDArray[np.float64]
Section = Mapping[str, Any]

TORCH_EPSILON = 1e-5
"""What torch's batch norm adds to the variance unless it is told otherwise."""


def signs(weight: Floats) -> Floats:
    """-1 and 1; a weight of 0 has the sign 1."""
    return np.where(weight >= 0, 1.0, -1.0)


BINARIZATIONS: dict[str, Callable[[Floats], Floats]] = {
    "magnitude": lambda weight: weight,
    "sign": signs,
    "centred": lambda weight: weight - weight.mean(axis=(1, 2, 3), keepdims=True),
    "standardized": standardize,
}
"""How a network binarizes its weights -> what of them it takes sign and mean magnitude of, filter by filter."""


class Kind(NamedTuple):
    """What a key of the mapping file may hold."""

    wanted: str
    fits: Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_natural(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_list(value: Any, fits: Callable[[Any], bool], count: int | None = None) -> bool:
    return isinstance(value, list) and len(value) > 0 and count in (None, len(value)) and all(map(fits, value))


def _one_of(*values: str) -> Kind:
    return Kind(f"one of {', '.join(values)}", lambda value: value in values)


_TEXT = Kind("a text", _is_text)
_NUMBER = Kind("a number", _is_number)
_NATURAL = Kind("a whole number", _is_natural)
_NATURALS = Kind("a list of whole numbers", lambda value: _is_list(value, _is_natural))
_SIDES = Kind("a side or [height, width]", lambda value: _is_natural(value) or _is_list(value, _is_natural, 2))
_COLOURS = Kind("a list of three numbers", lambda value: _is_list(value, _is_number, 3))
_SWITCH = Kind("true or false", lambda value: isinstance(value, bool))
_TEXTS = Kind("a list of names", lambda value: _is_list(value, _is_text))
_NAME = Kind("a name", _is_text)
_NAMES = Kind("a name or a list of names", lambda value: _is_text(value) or _is_list(value, _is_text))
_TWO_NAMES = Kind("a list of two names", lambda value: _is_list(value, _is_text, 2))
_FACTOR = Kind("a name or a number", lambda value: _is_text(value) or _is_number(value))
_FACTORS = Kind("a name, a list of names or a number", lambda value: _NAMES.fits(value) or _is_number(value))

_CONV = {"conv": _NAME, "conv_bias": _NAME, "gain": _FACTOR, "bn": _NAME}
SECTIONS: dict[str, dict[str, Kind]] = {
    "network": {
        "name": _TEXT,
        "family": _one_of(*FAMILIES),
        "widths": _NATURALS,
        "depths": _NATURALS,
        "classes": _NATURAL,
        "image": _SIDES,
        "shortcut": _one_of(*(kind for kind in get_args(Shortcut) if kind not in ("identity", "repeat"))),
        "weights": _one_of(*BINARIZATIONS),
        "alpha": _NUMBER,
        "beta": _SWITCH,
        "eps": _NUMBER,
        "mean": _COLOURS,
        "std": _COLOURS,
        "ignore": _TEXTS,
    },
    "stem": {"kernel": _NATURAL, "stride": _NATURAL, "max_pool": _SWITCH} | _CONV | {"prelu": _FACTOR},
    "block": dict.fromkeys((*_CONV, "bias0", "bias1", "exponent", "bias2"), _NAMES)
    | dict.fromkeys(("gain", "prelu"), _FACTORS),
    "halves": dict.fromkeys(_CONV, _TWO_NAMES),
    "downsample": _CONV,
    "head": {"prelu": _FACTOR, "bn": _NAME, "weight": _NAME, "bias": _NAME},
}
"""What a mapping file may say."""
REQUIRED = (
    *(("network", key) for key in ("family", "widths", "depths", "classes")),
    ("stem", "conv"),
    ("block", "conv"),
    ("head", "weight"),
)
ADDING = {"conv_bias", "bn", "bias1", "bias2"}
"""Keys of what adds something between a convolution and the end of its block."""

_FIELD = re.compile(r"\{(i|stage|place)(?://([1-9][0-9]*))?([+-][0-9]+)?\}")


@dataclass(frozen=True)
class Place:
    """Where a block stands: `i` from 0, `stage` from 1, `place` in its stage from 0."""

    i: int
    stage: int
    place: int

    def fill(self, pattern: str) -> str:
        """The pattern with its numbers.

        >>> Place(5, 2, 3).fill("layer{stage}.{place//2}.conv{i-4}.weight")
        'layer2.1.conv1.weight'
        """

        def number(match: re.Match[str]) -> str:
            name, divisor, added = match.groups()
            return str(getattr(self, name) // int(divisor or 1) + int(added or 0))

        return _FIELD.sub(number, pattern)

    def names(self, section: Section) -> dict[str, Any]:
        """The section for this block: of a list, names are used in turn from the first block of a stage on."""
        turns = {key: said[self.place % len(said)] if isinstance(said, list) else said for key, said in section.items()}
        return {key: self.fill(said) if isinstance(said, str) else said for key, said in turns.items()}


@dataclass(frozen=True, eq=False)
class Conv:
    """conv(x, weight) * gain + bias, the last two (Cout,). A binary convolution has the weights' signs, times the mean
    magnitude of each filter's.
    """

    weight: Floats
    gain: Floats
    bias: Floats

    @property
    def factor(self) -> Floats:
        """Of a binary convolution's sums, (Cout,)."""
        factor: Floats = self.gain * np.abs(self.weight).mean(axis=(1, 2, 3))
        return factor

    def beside(self, other: Conv) -> Conv:
        """One convolution with the outputs of both."""
        pairs = ((self.weight, other.weight), (self.gain, other.gain), (self.bias, other.bias))
        return Conv(*map(np.concatenate, pairs))


@dataclass(frozen=True, eq=False)
class Slopes:
    """Of a PReLU, (C,), and what errors call them."""

    name: str
    values: Floats


@dataclass(frozen=True, eq=False)
class MappedBlock:
    """PReLU(alpha * conv(sign(beta * x + bias0)) + shortcut(x) + bias1) + bias2; no `slopes`, no PReLU."""

    conv: Conv
    shortcut: Conv | None
    bias0: Floats
    bias1: Floats
    slopes: Slopes | None
    bias2: Floats


@dataclass(frozen=True, eq=False)
class MappedNetwork:
    """A float network as its owner has it; the head's batch norm is in the head."""

    structure: Structure
    variant: Variant
    stem: Conv
    stem_slopes: Slopes | None
    blocks: tuple[MappedBlock, ...]
    head_weight: Floats
    head_bias: Floats


@dataclass(frozen=True)
class MappingFile:
    """A mapping whose every word is known; `sections` as in the file."""

    sections: Mapping[str, Section]

    @staticmethod
    def read(path: Path) -> MappingFile:
        """UserError names the file, and the section and key that are wrong."""
        try:
            with path.open("rb") as file:
                mapping = MappingFile(tomllib.load(file))
            mapping.check()
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        except ValueError as error:
            raise UserError(f"{path}: no TOML: {error}") from None
        return mapping

    def __getitem__(self, section: str) -> Section:
        return self.sections.get(section, {})

    def check(self) -> None:
        """UserError if the mapping lacks a word, has one too many, or describes no network that there can be."""
        for section, table in self.sections.items():
            if section not in SECTIONS or not isinstance(table, dict):
                raise UserError(f"{section} is no section; there are {', '.join(SECTIONS)}")
            for key, said in table.items():
                _check_key(section, key, said)
        for section, key in REQUIRED:
            if key not in self[section]:
                raise UserError(f"[{section}] lacks {key}")
        if "prelu" in self["block"] and ("exponent" in self["block"] or "prelu" in self["head"]):
            other = "[block] exponent" if "exponent" in self["block"] else "[head] prelu"
            raise UserError(f"[block] prelu and {other} are two activations of one block")
        self.variant()
        if any(block.projects for block in self.structure().blocks) and "conv" not in self["downsample"]:
            raise UserError("[downsample] lacks conv")

    def variant(self) -> Variant:
        said = self["network"]
        mean, std = (tuple(said.get(key, default)) for key, default in (("mean", MEAN), ("std", STD)))
        return Variant(alpha=said.get("alpha", 1.0), mean=mean, std=std)

    def structure(self) -> Structure:
        """The member of the family, with the shortcuts and activations that the mapping asks for."""
        said, stem = self["network"], self["stem"]
        image = said.get("image", CIFAR_SIDE)
        base = member(
            said.get("name", "imported"),
            tuple(said["widths"]),
            tuple(said["depths"]),
            family=said["family"],
            classes=said["classes"],
            image=tuple(image) if isinstance(image, list) else image,
            stem=StemForm(stem.get("kernel", 3), stem.get("stride", 1), stem.get("max_pool", False)),
        )
        blocks = tuple(self._block(block, block is base.blocks[-1]) for block in base.blocks)
        legal = FAMILIES[base.family].blocks.items()
        known = all(getattr(block, key) in values for block in blocks for key, values in legal)
        stem_layer = replace(base.stem, prelu="prelu" in stem)
        return replace(base, family=base.family if known else CUSTOM, stem=stem_layer, blocks=blocks)

    def _block(self, block: Block, last: bool) -> Block:
        """A PReLU that stands alone may have any slopes. Whatever is added in front of it or in its place is added by a
        QPReLU.
        """
        said, names = self["network"], self["block"]
        shortcut = said.get("shortcut", block.shortcut) if block.stride == 2 else block.shortcut
        block = replace(block, shortcut=shortcut)
        keys = set(names) | set(self["halves"] if shortcut == "repeat" else ())
        keys |= set(self["downsample"] if block.projects else ())
        sloped = "prelu" in names or (last and "prelu" in self["head"])
        return replace(
            block,
            activation="qprelu" if keys & (ADDING | {"exponent"}) else "prelu" if sloped else "none",
            biased=block.biased or "bias0" in names,
            variance_steps=block.variance_steps if said.get("beta", False) else 0,
        )

    def places(self) -> Iterator[Place]:
        """Of the blocks, in order."""
        unit = 2 if FAMILIES[self["network"]["family"]].paired else 1
        stages = enumerate(self["network"]["depths"], 1)
        places = [(stage, place) for stage, depth in stages for place in range(unit * depth)]
        return (Place(index, stage, place) for index, (stage, place) in enumerate(places))

    def network(self, entries: Iterable[Entry]) -> MappedNetwork:
        """The network whose state dict has these entries. UserError names the first tensor that is in the way."""
        return _Reader(self, entries).network()


def _check_key(section: str, key: str, said: Any) -> None:
    if key not in SECTIONS[section]:
        raise UserError(f"[{section}] has no {key}; there are {', '.join(SECTIONS[section])}")
    kind = SECTIONS[section][key]
    if not kind.fits(said):
        raise UserError(f"[{section}] {key} is {said!r}; {kind.wanted} is wanted")
    for pattern in said if isinstance(said, list) else [said]:
        rest = (
            _FIELD.sub("", pattern) if isinstance(pattern, str) and section in ("block", "halves", "downsample") else ""
        )
        if "{" in rest or "}" in rest:
            raise UserError(f"[{section}] {key} is {pattern!r}; the fields are {{i}}, {{stage}} and {{place}}")


class _Reader:
    """Takes the tensors that a mapping names out of a state dict, and remembers which."""

    def __init__(self, mapping: MappingFile, entries: Iterable[Entry]) -> None:
        self.mapping = mapping
        self.entries = list(entries)
        # Under what a wrapper puts before every name, or without it.
        self.found = {name: entry for entry in self.entries for name in (entry.key, entry.name)}
        self.used: set[str] = set()

    def network(self) -> MappedNetwork:
        structure, head = self.mapping.structure(), self.mapping["head"]
        stem, said = structure.stem, self.mapping["stem"]
        shape = (stem.out_channels, stem.in_channels, stem.kernel, stem.kernel)
        stem_conv = self.conv(said, "[stem] {}", shape, binary=False)
        stem_slopes = self.slopes(said["prelu"], "[stem] prelu", stem.out_channels) if stem.prelu else None
        places = self.mapping.places()
        blocks = tuple(self.block(place, block) for place, block in zip(places, structure.blocks, strict=True))
        weight = self.tensor(head["weight"], "[head] weight", (structure.classes, structure.head_input[2]))
        bias = self.vector(head, "bias", "[head] {}", structure.classes)
        if "bn" in head:
            gain, added = self.norm(head["bn"], "[head] bn", structure.head_input[2])
            bias, weight = bias + weight @ added, weight * gain
        if "prelu" in head:
            slopes = self.slopes(head["prelu"], "[head] prelu", structure.head_input[2])
            blocks = (*blocks[:-1], replace(blocks[-1], slopes=slopes))
        self.check_all_used()
        return MappedNetwork(structure, self.mapping.variant(), stem_conv, stem_slopes, blocks, weight, bias)

    def block(self, place: Place, block: Block) -> MappedBlock:
        names, of = place.names(self.mapping["block"]), f"{{}} of {block_name(place.i)}"
        cin, cout, where = block.in_channels, block.out_channels, f"[block] {of}"
        halves = self.mapping["halves"] if block.shortcut == "repeat" else {}
        if halves:
            shape = (cout // 2, cin, block.kernel, block.kernel)
            pair = [{key: place.fill(both[half]) for key, both in halves.items()} for half in (0, 1)]
            first, second = (self.conv(half, f"[halves] {of}", shape, binary=True) for half in pair)
            conv = first.beside(second)
        else:
            conv = self.conv(names, where, (cout, cin, block.kernel, block.kernel), binary=True)
        shortcut = None
        if block.projects:
            shape = (cout, cin, 1, 1)
            said = place.names(self.mapping["downsample"])
            shortcut = self.conv(said, f"[downsample] {of}", shape, binary=not block.projects_real)
        slopes = None
        if "prelu" in names:
            slopes = self.slopes(names["prelu"], where.format("prelu"), cout)
        elif "exponent" in names:
            exponents = slope_exponents(names["exponent"], self.vector(names, "exponent", where, cout))
            slopes = Slopes(f"tensor {names['exponent']}", (2.0**exponents).astype(np.float64))
        bias0, bias1, bias2 = (
            self.vector(names, key, where, width) for key, width in (("bias0", cin), ("bias1", cout), ("bias2", cout))
        )
        return MappedBlock(conv, shortcut, bias0, bias1, slopes, bias2)

    def conv(self, names: Section, where: str, shape: Shape, *, binary: bool) -> Conv:
        if "conv" not in names:
            raise UserError(f"{where.partition(' ')[0]} lacks conv")
        weight = self.tensor(names["conv"], where.format("conv"), shape)
        form = self.mapping["network"].get("weights", "magnitude")
        if binary or form == "standardized":
            weight = BINARIZATIONS[form](weight)
        gain = self.vector(names, "gain", where, shape[0], 1.0)
        bias = self.vector(names, "conv_bias", where, shape[0])
        if "bn" in names:
            factor, added = self.norm(names["bn"], where.format("bn"), shape[0])
            gain, bias = gain * factor, bias * factor + added
        return Conv(weight, gain, bias)

    def norm(self, module: str, where: str, channels: int) -> tuple[Floats, Floats]:
        """Gain and bias that batch norm is in evaluation."""
        parts = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, variance = (self.tensor(f"{module}.{part}", where, (channels,)) for part in parts)
        epsilon = self.mapping["network"].get("eps", TORCH_EPSILON)
        if variance.min() + epsilon <= 0:
            raise UserError(f"tensor {module}.running_var holds {variance.min():g}, which is no variance")
        counter = self.found.get(f"{module}.num_batches_tracked")
        if counter is not None:
            self.used.add(counter.key)
        gain = weight / np.sqrt(variance + epsilon)
        return gain, bias - mean * gain

    def slopes(self, said: str | float, where: str, channels: int) -> Slopes:
        """One a channel, or one for all, which may stand in the mapping itself."""
        if not isinstance(said, str):
            return Slopes(where, np.full(channels, float(said)))
        single = said in self.found and int(np.prod(self.found[said].shape)) == 1
        values = self.tensor(said, where, (1,) if single else (channels,))
        return Slopes(f"tensor {said}", np.broadcast_to(values, channels))

    def vector(self, names: Section, key: str, where: str, channels: int, default: float = 0.0) -> Floats:
        """What the section names as `key`, or the number that stands there; `default` if that is nothing."""
        said = names.get(key, default)
        if not isinstance(said, str):
            return np.full(channels, float(said))
        return self.tensor(said, where.format(key), (channels,))

    def tensor(self, name: str, where: str, shape: Shape) -> Floats:
        """Sides of 1 do not count, and a column of numbers has any shape: so ReActNet's own code keeps weights."""
        entry = self.found.get(name)
        if entry is None:
            near = get_close_matches(name, self.found, 1)
            raise UserError(f"tensor {name}, {where}, is missing" + (f"; the file has {near[0]}" if near else ""))
        self.used.add(entry.key)
        if entry.array is None:
            raise UserError(f"tensor {entry.fault}")
        has, wanted = (tuple(side for side in sides if side != 1) for sides in (entry.shape, shape))
        if has != wanted and entry.shape != (int(np.prod(shape)), 1):
            raise UserError(f"tensor {name} has shape {entry.shape}, {where} has {shape}")
        return entry.array.astype(np.float64).reshape(shape)

    def check_all_used(self) -> None:
        """A tensor that nothing asked for is an operation that the mapping does not know of."""
        ignored = self.mapping["network"].get("ignore", [])
        for entry in self.entries:
            names = (entry.key, entry.name)
            if entry.key not in self.used and not any(fnmatchcase(name, each) for name in names for each in ignored):
                raise UserError(
                    f"tensor {entry.key} is not in the mapping; one that the network computes without goes into ignore"
                )
