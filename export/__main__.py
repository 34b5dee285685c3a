"""Command line: freeze a checkpoint, fold a network for a device, write the RTL's memory files."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from abbnn.errors import UserError, run
from abbnn.export.area import DEVICES, Device, devices, read_calibration, validate
from abbnn.export.folding import cycles, stages, to_json
from abbnn.export.freeze import (
    DEFAULT_STEM_PLANES,
    DEFAULT_TERMS,
    FRACTION_BITS_CHOSEN_MAX,
    POW2_STEM_PLANES,
    FreezeOptions,
    calibration_images,
    freeze,
    peak,
    scale_terms,
    threshold_overflows,
)
from abbnn.export.importing import TOLERANCE, Accuracy, import_network
from abbnn.export.inspection import InspectedCheckpoint, InspectedNetwork, inspect_checkpoint
from abbnn.export.mem import write
from abbnn.export.parts import Area
from abbnn.export.pipeline import Pipeline, proven
from abbnn.export.random_network import random_network
from abbnn.export.solve import DEFAULT_FILL, Solution, Solver, estimate, rate, solve
from abbnn.golden.files import replacing, what_is
from abbnn.golden.images import SHIPPED_IMAGES, read_images, resized
from abbnn.golden.model import scores
from abbnn.golden.network import IntegerNetwork, load_network, network_hash, save_network
from abbnn.golden.ops import value_range
from abbnn.golden.ranges import analyse
from abbnn.golden.structure import CIFAR_SIDE, DECLARATIONS, Structure, block_name, declared_network
from abbnn.options import above_zero, add_folding, add_network, natural, positive
from abbnn.train.mapping import MappingFile
from abbnn.train.variant import ALPHA, Form, Scales

if TYPE_CHECKING:
    from abbnn.train.checkpoint import Checkpoint


def _value_bits(text: str) -> int | None:
    if text != "auto" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of bits nor auto")
    return None if text == "auto" else int(text)


def _device_names() -> str:
    return ", ".join(sorted(devices()))


def _terms_of(text: str) -> tuple[str, int]:
    name, _, terms = text.rpartition("=")
    if not name or not terms.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not SCALE=T")
    return name, int(terms)


def _add_freezing(command: argparse.ArgumentParser, terms: str) -> None:
    """Widths and terms: what `_freeze_options` reads. `terms` says what T is by default."""
    add, defaults = command.add_argument, FreezeOptions()
    add(
        "--value-bits",
        type=_value_bits,
        default=defaults.value_width,
        metavar="W",
        help="default %(default)s; auto: the fewest that no image at all can saturate",
    )
    add(
        "--fraction-bits",
        type=int,
        metavar="F",
        help=f"of the W; default: the most, up to {FRACTION_BITS_CHOSEN_MAX}, that leave one bit of the values free on "
        "the calibration images",
    )
    add(
        "--calibrate",
        type=Path,
        metavar="IMAGES",
        help="calibration images as for abbnn golden; default: a few synthetic ones",
    )
    add(
        "--stem-bits",
        type=int,
        metavar="B",
        help=f"default {DEFAULT_STEM_PLANES}, or {POW2_STEM_PLANES} if trained with power-of-two scales",
    )
    add(
        "--head-bits",
        type=int,
        metavar="B",
        default=defaults.head_planes,
        help="default %(default)s",
    )
    add(
        "--shortcut-bits",
        type=int,
        metavar="B",
        default=defaults.shortcut_planes,
        help="of the real weights that Bi-Real's shortcuts have; default %(default)s",
    )
    add(
        "--terms",
        type=int,
        metavar="T",
        help=f"powers of two a scale factor; default: {terms}",
    )
    add(
        "--terms-of",
        type=_terms_of,
        action="append",
        default=[],
        metavar="SCALE=T",
        help="T of one scale: blockNN, blockNN.shortcut, blockNN.prelu or stem.prelu; may be given more than once",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="abbnn")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser(
        "freeze",
        description="Turn a trained checkpoint, ours or an official one, into an integer network: one safetensors file "
        "that golden, mem and the testbenches read. Classes, widths, depths and stem come from the tensors' shapes; "
        "every width is proven by range analysis for any image.",
    )
    add = command.add_argument
    add("checkpoint", type=Path, metavar="CHECKPOINT", help="model.pt of abbnn train, or an official .h5")
    add("--network", required=True, choices=sorted(DECLARATIONS), help="what the checkpoint holds")
    add("--out", required=True, type=Path, metavar="FILE.safetensors")
    _add_freezing(command, f"{DEFAULT_TERMS}, or 1 if trained so")
    add(
        "--image",
        type=positive,
        metavar="N",
        help="side of the images; default: the checkpoint's, else 32 or 224",
    )
    official = command.add_argument_group("what an official checkpoint does not tell")
    official.add_argument("--stem-stride", type=positive, metavar="N", help="default: the network's declared one")
    official.add_argument("--alpha", type=float, metavar="A", help=f"factor of binary convolutions; default {ALPHA}")
    official.add_argument(
        "--form", choices=get_args(Form), help="of the activation: the official code's (default), or the paper's Eq. 8"
    )

    command = commands.add_parser(
        "import",
        description="Turn a trained residual binary network of your own into an integer network. A mapping file says "
        "how its tensors are called; batch norm is folded into scales and biases. What the hardware lacks is refused "
        "by the tensor's name. Prints what each scale cost in terms and accuracy. docs/import.md has the mapping file "
        "and the formulas.",
    )
    add = command.add_argument
    add("checkpoint", type=Path, metavar="FILE", help="a state dict: .pt or .pth of torch, or .safetensors")
    add("--map", required=True, type=Path, metavar="MAPPING.toml")
    add("--out", required=True, type=Path, metavar="FILE.safetensors")
    add(
        "--tolerance",
        type=above_zero(1),
        default=TOLERANCE,
        metavar="PART",
        help="relative error of a scale's factors that T is chosen for; default %(default)s",
    )
    add("--slopes", choices=("exact", "nearest"), default="exact", help="nearest: round them to powers of two")
    add("--images", type=Path, metavar="IMAGES", help="compare float and integer network on these, as for abbnn golden")
    add("--json", type=Path, metavar="FILE", help="write the report there, too")
    _add_freezing(command, "the fewest within the tolerance")

    command = commands.add_parser(
        "inspect",
        description="A table of a checkpoint's tensors: what each is recognised as and folded into, why it is refused, "
        "what to rename, what is missing. Of a frozen network, a table of its sums with the widths that range analysis "
        "proves. Exit 0 if freezing with default options takes the file, 1 if not, 2 if it cannot be read.",
    )
    command.add_argument("file", type=Path, metavar="FILE", help="a checkpoint as for freeze, or FILE.safetensors")
    command.add_argument(
        "--network",
        choices=sorted(DECLARATIONS),
        help="what a checkpoint holds; default: what it states, else what it fits best",
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the same there, too")

    command = commands.add_parser(
        "random",
        description="Write a declared network at full size with random weights of trained-looking statistics.",
    )
    command.add_argument("--network", required=True, choices=sorted(DECLARATIONS))
    command.add_argument("--seed", type=natural, default=1, metavar="N", help="default %(default)s")
    command.add_argument(
        "--scales", choices=get_args(Scales), default="pow2", help="pow2: T = 1, as trained here (default); free: T = 3"
    )
    command.add_argument("--classes", type=positive, default=10, metavar="N", help="default %(default)s")
    command.add_argument("--image", type=positive, default=CIFAR_SIDE, metavar="N", help="side; default %(default)s")
    command.add_argument("--out", required=True, type=Path, metavar="FILE.safetensors")

    command = commands.add_parser(
        "fold",
        description="Find the folding for a device: with a rate the cheapest that reaches it, without one the fastest "
        "that fits. Areas are estimates, fitted on synthesis results; nothing is synthesized here.",
    )
    add_network(command)
    command.add_argument("--target", required=True, metavar="DEVICE", help=f"one of {DEVICES.name}: {_device_names()}")
    command.add_argument("--out", required=True, type=Path, metavar="FOLD.json", help="what mem --fold reads")
    goal = command.add_mutually_exclusive_group()
    goal.add_argument("--fps", type=above_zero(), metavar="N", help="frames a second at the clock, at least")
    goal.add_argument("--cycles", type=positive, metavar="N", help="cycles a frame, at most")
    command.add_argument(
        "--fill",
        type=above_zero(1),
        default=DEFAULT_FILL,
        metavar="PART",
        help="of the device's LUTs, flip-flops and block RAMs that may be used; default %(default)s",
    )
    command.add_argument(
        "--clock",
        type=above_zero(),
        metavar="MHZ",
        help="default: what is assumed for the device, see the same file",
    )

    command = commands.add_parser(
        "mem",
        description="Write what abbnn_core is built with: *.mem for $readmemh, abbnn_config.vh, manifest.json.",
    )
    add_network(command)
    command.add_argument("--out", required=True, type=Path, metavar="DIR", help="an earlier export there is replaced")
    add_folding(command)
    return parser


def _torch_reader() -> ModuleType:
    """The module that reads state dicts."""
    try:
        from abbnn.train import checkpoint
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UserError("reading a checkpoint needs torch: make setup-train") from None
    return checkpoint


def _state_reader(path: Path) -> ModuleType:
    """The module that reads the state dict at `path`."""
    reader, kind = _torch_reader(), what_is(path)
    if path.suffix == ".onnx" or kind in ("an HDF5 file", "an array of NumPy", "an archive of NumPy arrays"):
        raise UserError(
            f"{path}: {kind or 'ONNX'}, not a state dict: save its arrays by name with safetensors, "
            "convolutions as (out, in, height, width)"
        )
    return reader


def _checkpoints(path: Path) -> ModuleType:
    """The module that reads the checkpoint at `path`."""
    checkpoint, kind = _torch_reader(), what_is(path)
    if kind in ("a safetensors file", "an array of NumPy", "an archive of NumPy arrays"):
        raise UserError(f"{path}: {kind}, not a checkpoint of abbnn train, nor an official one")
    return checkpoint


def _load(arguments: argparse.Namespace) -> Checkpoint:
    """The checkpoint, used as the options say where it says nothing itself."""
    load, stride = _checkpoints(arguments.checkpoint).load, arguments.stem_stride
    found: Checkpoint = load(arguments.checkpoint, arguments.network, arguments.image, stem_stride=stride)
    given = {"stem_stride": stride, "alpha": arguments.alpha, "form": arguments.form}
    for key, value in given.items():
        stated = found.metadata.get(key)
        if None not in (value, stated) and value != stated:
            raise UserError(f"{arguments.checkpoint}: says that its {key} is {stated}, not {value}")
    variant = {key: given[key] for key in ("alpha", "form") if given[key] is not None}
    return found._replace(variant=replace(found.variant, **variant))


def _freeze_options(arguments: argparse.Namespace) -> FreezeOptions:
    return FreezeOptions(
        arguments.value_bits,
        arguments.fraction_bits,
        arguments.stem_bits,
        arguments.head_bits,
        arguments.terms,
        dict(arguments.terms_of),
        arguments.shortcut_bits,
    )


def _calibration(arguments: argparse.Namespace, structure: Structure) -> NDArray[np.uint8]:
    if arguments.calibrate is None:
        return calibration_images(structure)
    return read_images(arguments.calibrate, structure.height, structure.width)[0]


def _freeze(arguments: argparse.Namespace) -> None:
    chosen = _freeze_options(arguments)
    structure, variant, tensors, metadata = _load(arguments)
    images = _calibration(arguments, structure)
    try:
        network = freeze(tensors, structure, variant, chosen, source=metadata, images=images)
    except UserError as error:
        raise UserError(f"{arguments.checkpoint}: {error}") from None
    _save(network, arguments.out, images)


def _save(network: IntegerNetwork, out: Path, images: NDArray[np.uint8]) -> None:
    save_network(network, out)
    print(f"{out}: {network.structure.name}, sha256 {network_hash(network)[:16]}, {out.stat().st_size} bytes")
    for line in _description(network, images):
        print(line)


def _import(arguments: argparse.Namespace) -> None:
    chosen, mapping, path = _freeze_options(arguments), MappingFile.read(arguments.map), arguments.checkpoint
    structure = mapping.structure()
    images = _calibration(arguments, structure)
    pictures = None
    if arguments.images is not None:
        pictures = read_images(arguments.images, structure.height, structure.width, structure.classes)
    entries, _ = _state_reader(path).entries(path)
    try:
        mapped = mapping.network(entries)
        network, report = import_network(
            mapped,
            chosen,
            tolerance=arguments.tolerance,
            nearest=arguments.slopes == "nearest",
            source={"mapping": mapping.sections},
            images=images,
        )
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if pictures is not None:
        from abbnn.train.unfolded import logits

        with tqdm(total=2 * len(pictures[0]), unit="img", disable=None) as bar:
            own = logits(mapped, pictures[0], bar.update)
            parts = []
            for part in scores(network, pictures[0]):
                parts.append(part)
                bar.update(len(part))
        report = replace(report, accuracy=Accuracy.of(own, np.concatenate(parts), pictures[1]))
    if arguments.json:
        with replacing(arguments.json) as temporary:
            temporary.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    _save(network, arguments.out, images)
    report.print()


def _description(network: IntegerNetwork, images: NDArray[np.uint8]) -> Iterator[str]:
    """What was frozen, what was chosen and how, and what is proven, a line each."""
    structure, ranges, how = network.structure, analyse(network), network.source["freeze"]
    stem = structure.stem
    widths = dict.fromkeys([stem.out_channels, *(block.out_channels for block in structure.blocks)])
    yield (
        f"{structure.classes} classes, images of {structure.height}x{structure.width}, stem of "
        f"{stem.kernel}x{stem.kernel} and stride {stem.stride}, {len(structure.blocks)} blocks, "
        f"widths {'/'.join(map(str, widths))}"
    )
    yield f"values: {network.value_width} bits ({how['value_bits']})"
    yield f"fraction bits: {network.fraction_bits} ({how['fraction_bits']})"
    greatest = peak(network, images)
    _, limit = value_range(network.value_width)
    yield f"peak of the values on {len(images)} calibration images: {greatest} of {limit}"
    yield f"weights: stem {network.stem.planes} bits, head {network.head.planes} bits"
    terms = scale_terms(network)
    usual = Counter(terms.values()).most_common(1)[0][0]
    others = [f"{name} {count}" for name, count in terms.items() if count != usual]
    yield f"terms a scale: {usual}" + (f", but {', '.join(others)}" if others else "")
    bits = {"stem": ranges.stem.scaled.bits}
    bits |= {"stem.prelu": ranges.stem_prelu.scaled.bits} if ranges.stem_prelu else {}
    bits |= {block_name(index): block.output.bits for index, block in enumerate(ranges.blocks)}
    bits |= {"pool": ranges.pool_bits, "scores": ranges.scores.bits}
    yield "bits proven for any image: " + ", ".join(f"{name} {count}" for name, count in bits.items())
    saturating = ", ".join(ranges.can_saturate) or "none"
    yield f"layers whose proven range exceeds the value width, so that an image might saturate there: {saturating}"
    clipped = threshold_overflows(network)
    if clipped:
        yield f"{clipped} sign thresholds lie beyond the value range and were clipped to it"


def _inspect(arguments: argparse.Namespace) -> int:
    frozen = what_is(arguments.file) == "a safetensors file"
    if frozen and arguments.network:
        raise UserError(f"--network: {arguments.file} says itself what it holds")
    if frozen:
        found: InspectedNetwork | InspectedCheckpoint = InspectedNetwork.of(
            str(arguments.file), load_network(arguments.file)
        )
    else:
        found = inspect_checkpoint(arguments.file, arguments.network, _checkpoints(arguments.file))
    if arguments.json:
        with replacing(arguments.json) as temporary:
            temporary.write_text(json.dumps(found.to_json(), indent=1) + "\n", encoding="utf-8")
    found.print()
    return 0 if found.accepted else 1


def _random(arguments: argparse.Namespace) -> None:
    structure = declared_network(arguments.network, classes=arguments.classes, image=arguments.image)
    images = resized(read_images(SHIPPED_IMAGES)[0], structure.height, structure.width)
    network = random_network(structure, arguments.seed, scales=arguments.scales, images=images)
    save_network(network, arguments.out)
    digest = network_hash(network)[:16]
    print(f"{arguments.out}: {structure.name}, random weights of seed {arguments.seed}, sha256 {digest}")


def _fold(arguments: argparse.Namespace) -> None:
    known = devices()
    if arguments.target not in known:
        raise UserError(f"no device {arguments.target}; there are {_device_names()}")
    device = known[arguments.target]
    network = proven(arguments.network)
    clock = arguments.clock or device.clock_mhz
    target = arguments.cycles if arguments.fps is None else math.floor(clock * 1e6 / arguments.fps)
    solver = Solver(network, device.family)
    found = solve(solver, device, target=target, fill=arguments.fill, clock_mhz=clock)
    estimates = estimate(found, device, arguments.fill, clock)
    text = json.dumps(json.loads(to_json(found.folding)) | {"estimate": estimates}, indent=2) + "\n"
    with replacing(arguments.out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    for line in _folded(solver, found, device):
        print(line)
    assumed = "assumed " if arguments.clock is None else ""
    print(
        f"{arguments.out}: {found.interval} cycles a frame, {rate(found.interval, clock):,.1f} frames a second at "
        f"{assumed}{clock:g} MHz"
    )


def _folded(solver: Solver, found: Solution, device: Device) -> Iterator[str]:
    """A table of the stages, what the device has, and how far estimates were off."""
    of = f"{'stage':<18} {'PE':>4} {'SIMD':>5} {'weights':>7} {'cycles':>9}"
    yield f"{of} {'LUT':>8} {'FF':>8} {'BRAM':>6}   (estimated)"
    for stage in stages(solver.network):
        fold, area = found.folding[stage.name], found.areas[stage.name]
        yield (
            f"{stage.name:<18} {fold.pe:>4} {fold.simd:>5} {fold.weights:>7} {cycles(stage, fold):>9} "
            f"{area.lut:>8.0f} {area.ff:>8.0f} {area.bram:>6g}"
        )
    for name, area in (("rest", found.fixed), ("all", found.area)):
        yield f"{name:<18} {'':>27} {area.lut:>9.0f} {area.ff:>8.0f} {area.bram:>6g}"
    area = found.area
    lut, ff, bram = 100 * area.lut / device.lut, 100 * area.ff / device.ff, 100 * area.bram / device.bram
    yield f"{'% of ' + device.name:<18} {'':>27} {lut:>9.1f} {ff:>8.1f} {bram:>6.1f}"
    calibration = read_calibration()
    errors = validate(solver.model, calibration)
    if errors:
        lut, ff, blocks = (max(abs(getattr(error, name)) for error in errors) for name in Area._fields)
        yield (
            f"estimates were off by up to {lut:.0%} of the LUTs, {ff:.0%} of the flip-flops and {blocks:g} block RAMs "
            f"on {len(errors)} stages for {device.family} that they were not fitted to"
        )
    else:
        yield f"nothing tells how far estimates for {device.family} are off"
    if guessed := solver.area.guessed:
        yield f"never measured on {device.family}: {', '.join(sorted(guessed))}"
    if calibration.warning:
        yield calibration.warning


def _mem(arguments: argparse.Namespace) -> None:
    pipeline = Pipeline.read(arguments.network, arguments.fold, arguments.cycles)
    write(pipeline.network, pipeline.folding, arguments.out)
    print(f"{'stage':<18} {'PE':>4} {'SIMD':>5} {'cycles a frame':>15}")
    for stage in stages(pipeline.network):
        fold = pipeline.folding[stage.name]
        print(f"{stage.name:<18} {fold.pe:>4} {fold.simd:>5} {cycles(stage, fold):>15}")
    print(f"{arguments.out}: written")


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    commands: dict[str, Callable[[argparse.Namespace], int | None]] = {
        "freeze": _freeze,
        "import": _import,
        "inspect": _inspect,
        "random": _random,
        "fold": _fold,
        "mem": _mem,
    }
    return run(f"abbnn {arguments.command}", lambda: commands[arguments.command](arguments))


if __name__ == "__main__":
    sys.exit(main())
