"""`make volume`: whole data sets through abbnn_core on Verilator; the class and all scores of every image compared.

    abbnn volume [--network FILE.safetensors] [--images IMAGES] [--shard K/N] [--jobs J] [--stall SEED] ...
    abbnn volume --summary DIR ...       (the shards of one run, together)

tb/volume.cpp drives the verilated core, so no Python runs per cycle. Its build depends on the Verilog, the exported
header and that file, but not on the weights: they are read when a simulation starts. Results are kept, a line an
image, in RESULTS of the run's folder; a run that was stopped continues there.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from abbnn import paths
from abbnn.building import once
from abbnn.errors import Stopped, UserError, run
from abbnn.executor import Task, Workers, fingerprint
from abbnn.export.folding import Folding, to_json
from abbnn.export.mem import HEADER, STAGES, write
from abbnn.export.pipeline import Pipeline
from abbnn.export.schedule import timing
from abbnn.golden.files import replacing
from abbnn.golden.images import SHIPPED_IMAGES, read_images
from abbnn.golden.model import Model
from abbnn.golden.network import IntegerNetwork, network_hash
from abbnn.options import SHIPPED_NETWORK, add_folding, add_images, add_network, add_workers, positive
from abbnn.syn.gates import cell_files, synthesise, verilog_text
from abbnn.tb.bench import simulation_defines, simulator_version, verilator_environment, verilator_root
from abbnn.tb.pipeline import MEM_FOLDER, PATIENCE
from abbnn.tb.sim import shipped_images
from abbnn.verilog import sources

TOP = "abbnn_core"
DRIVER = paths.TB / "volume.cpp"
BUILD = paths.BUILD / "volume"
RESULTS = "results.jsonl"
FOLDING = "folding.json"
NETLIST = "netlist.v"
FORMAT = "abbnn-volume"
VERSION = 1
PART = 250
"""Images that a simulation streams without a reset in between: about half a minute at full size."""
CLUSTER = 16
"""In how many parts a cluster gets a few images."""

VERILATE = ["-Wno-fatal", "-Wno-lint", "-Wno-style", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert"]
"""Lint is `make lint`'s business."""
MAKE = ["CFG_CXXFLAGS_PCH_I=-include", "OPT_FAST=-O3", "OPT_SLOW=-O1"]
"""Make's precompiled header rule fails in the wheel's layout without the first variable."""
MAKE_NETLIST = [MAKE[0], "OPT_FAST=-O1", "OPT_SLOW=-O0"]
"""The scalars of a netlist are slow to compile, and -O1 does for them."""

Scores = NDArray[np.int32]


class Fault(Exception):
    """The core or its simulation failed: one line."""


# ---- build ------------------------------------------------------------------------------------------------------


def structure_headers(files: Mapping[str, str]) -> dict[str, str]:
    """The headers of an export with 0 for the network's hash: equal for all weights that need equal hardware."""
    header, count = re.subn(r"(NETWORK_ID = 64'h)[0-9a-f]{16};", r"\g<1>0;", files[HEADER])
    if count != 1:
        raise Fault(f"{HEADER}: {count} lines of NETWORK_ID, expected one")
    return {HEADER: header, STAGES: files[STAGES]}


def rtl_hash() -> str:
    """sha256 of all Verilog that the core consists of."""
    return hashlib.sha256("".join(Path(file).read_text() for file in sources(TOP)).encode()).hexdigest()


def compiled(
    program: Path,
    folder: Path,
    top: str,
    texts: Mapping[str, str],
    options: Sequence[str],
    make: Sequence[str],
    files: Sequence[str],
) -> None:
    """`program.name` in `folder`: what Verilator makes of `top` in `files`, among them the C++ that drives it.

    `texts` are files of the folder; `options` are Verilator's, `make` is for its makefile. Fault names the log, which
    lies beside `program`.
    """
    for name, text in texts.items():
        (folder / name).write_text(text)
    # In the folder and relative to it, so that make never meets a path that it cannot read.
    command = ["verilator_bin", "--cc", "--exe", "--build", "-j", "1", "--top-module", top, "-I.", "--Mdir", "obj"]
    command += ["-o", program.name, *options, "-MAKEFLAGS", " ".join([*make, verilator_root()]), *files]
    log = program.with_name(f"{program.name}.log")
    with log.open("w") as file:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **verilator_environment()},
            check=False,
        )
    if done.returncode:
        lines = [line for line in log.read_text(errors="replace").splitlines() if "rror" in line]
        raise Fault(f"{top} cannot be built, see {log}: {lines[0] if lines else done.returncode}")
    (folder / "obj" / program.name).replace(folder / program.name)


def build(headers: Mapping[str, str], netlist: str | None = None) -> Path:
    """The simulator of the core with these `structure_headers`, built unless there; of a netlist in place of rtl/."""
    tools = simulator_version("verilator")
    texts = {**headers, DRIVER.name: DRIVER.read_text(), **({} if netlist is None else {NETLIST: netlist})}
    files = sources(TOP) if netlist is None else [NETLIST, *map(str, cell_files())]
    defines = [f"-D{name}" for name in simulation_defines("verilator")] + [f'-DABBNN_MEM_DIR="{MEM_FOLDER}"']
    options = [*VERILATE, *defines]
    make = MAKE if netlist is None else MAKE_NETLIST
    read = [Path(file).read_text() for file in files if file != NETLIST]
    key = hashlib.sha256(json.dumps([tools, options, make, texts, read]).encode()).hexdigest()[:16]
    program = BUILD / f"core-{key}"

    def built(folder: Path) -> None:
        print(f"building {program} (minutes for a large network)", flush=True)
        compiled(program, folder, TOP, texts, options, make, [*files, DRIVER.name])

    return once(program, built)


def memory_files(network: IntegerNetwork, folding: Folding) -> Path:
    """A folder whose MEM_FOLDER has header and memory files, written unless there."""
    key = json.dumps([fingerprint(), network_hash(network), to_json(folding)])
    path = BUILD / f"files-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    return once(path, lambda folder: write(network, folding, folder / path.name / MEM_FOLDER))


# ---- what is run ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `count` contiguous parts."""

    number: int = 1
    count: int = 1

    @staticmethod
    def parse(text: str) -> Shard:
        """
        >>> Shard.parse("2/3").range(10)
        range(3, 6)
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(f"--shard {text}: K/N with K from 1 to N, such as 1/4")
        return Shard(int(match[1]), int(match[2]))

    def range(self, images: int) -> range:
        """The images of this part."""
        return range(images * (self.number - 1) // self.count, images * self.number // self.count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class Run:
    """One network, folding and data set; `images` uint8 (N, H, W, 3), `labels` (N,) or None."""

    network: IntegerNetwork
    folding: Folding
    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    stall: int | None
    netlist: str | None = None
    """Verilog of the mapped netlist (syn/gates.py) to simulate in place of rtl/."""

    def identity(self, shard: Shard) -> dict[str, Any]:
        """What two runs must share to continue each other; shards of one run differ in `shard` alone."""
        digest = hashlib.sha256(self.images.tobytes())
        digest.update(b"" if self.labels is None else self.labels.tobytes())
        expected = timing(self.network, self.folding)
        return {
            "format": FORMAT,
            "version": VERSION,
            "network": self.network.structure.name,
            "network_sha256": network_hash(self.network),
            "folding_sha256": hashlib.sha256(to_json(self.folding).encode()).hexdigest(),
            "rtl_sha256": rtl_hash() if self.netlist is None else hashlib.sha256(self.netlist.encode()).hexdigest(),
            "images": len(self.images),
            "images_sha256": digest.hexdigest(),
            "labelled": self.labels is not None,
            "classes": self.network.structure.classes,
            "stall": self.stall,
            "latency": expected.latency,
            "interval": expected.interval,
            "shard": str(shard),
        }

    def part(self, which: Sequence[int]) -> Part:
        """What simulates these images."""
        labels = None if self.labels is None else self.labels[which]
        seed = None if self.stall is None else self.stall * len(self.images) + which[0]
        return Part(self.network, self.folding, self.netlist, which, self.images[which], labels, seed)


@dataclass(frozen=True)
class Part:
    """What one simulation streams without a reset, with everything that it takes to simulate and to judge it."""

    network: IntegerNetwork
    folding: Folding
    netlist: str | None
    which: Sequence[int]
    """Numbers of `images`, to which `labels` belong."""
    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    seed: int | None
    """Of the stalls; None: without."""


@dataclass(frozen=True)
class Result:
    """What the core gave for an image, and when."""

    image: int
    scores: Scores
    winner: int
    cycles: int
    """From the last class before it in the same simulation to its own; of the first, from its first pixel."""
    first: bool


# ---- results on disk --------------------------------------------------------------------------------------------


class Store:
    """RESULTS of a folder: the run's identity, then a line an image, in any order."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], lines: Mapping[int, Mapping[str, Any]]) -> None:
        self.folder = folder
        self.identity = dict(identity)
        self.lines = dict(lines)
        self.file: IO[str] | None = None

    @staticmethod
    def read(folder: Path) -> Store:
        """The results so far. A last line without its end, of a run that was killed, is left out."""
        path = folder / RESULTS
        try:
            whole = path.read_bytes().decode()
        except FileNotFoundError:
            raise UserError(f"{path}: missing") from None
        except UnicodeDecodeError:
            raise UserError(f"{path}: not a text file") from None
        text = whole[: whole.rfind("\n") + 1].splitlines()
        try:
            entries = [json.loads(line) for line in text]
            identity = entries[0]
            if (identity["format"], identity["version"]) != (FORMAT, VERSION):
                raise UserError("another format or version")
            part = Shard.parse(identity["shard"]).range(identity["images"])
            lines = {entry["image"]: entry for entry in entries[1:]}
            for entry in lines.values():
                if not all(type(entry[key]) is int for key in ("class", "wrong", "cycles")):
                    raise UserError(f"image {entry['image']} has no result")
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            raise UserError(f"{path}: not the results of a run ({error!r})") from None
        stray = [image for image in lines if image not in part]
        if stray or len(lines) != len(entries) - 1:
            culprit = f"image {stray[0]} is not in shard {identity['shard']}" if stray else "an image twice"
            raise UserError(f"{path}: {culprit}")
        return Store(folder, identity, lines)

    @staticmethod
    @contextmanager
    def opened(folder: Path, identity: Mapping[str, Any]) -> Iterator[Store]:
        """The folder's results, to be added to; those of another run are refused, a torn last line is cut off."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / RESULTS
        with path.open("a+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{path}: in use by another run") from None
            lock.seek(0)
            whole = lock.read()
            lock.truncate(whole.rfind(b"\n") + 1)
            if b"\n" not in whole:
                lock.write(json.dumps(identity).encode() + b"\n")
                lock.flush()
            store = Store.read(folder)
            for key in {**store.identity, **identity}:
                if store.identity.get(key) != identity.get(key):
                    raise UserError(f"{path}: of a run with another {key}; delete {folder} or take another --out")
            with path.open("a", encoding="ascii") as store.file:
                yield store

    def add(self, entries: Sequence[dict[str, Any]]) -> None:
        """Write lines, and have them on their way to the disk."""
        assert self.file is not None
        self.file.write("".join(json.dumps(entry) + "\n" for entry in entries))
        self.file.flush()
        self.lines.update({entry["image"]: entry for entry in entries})


# ---- simulation -------------------------------------------------------------------------------------------------


def simulate(part: Part) -> list[Result]:
    """What the core gives for every image of the part. Fault if the simulator fails."""
    folder = memory_files(part.network, part.folding)
    headers = structure_headers({name: (folder / MEM_FOLDER / name).read_text() for name in (HEADER, STAGES)})
    program = build(headers, part.netlist)
    structure, expected = part.network.structure, timing(part.network, part.folding)
    # Closed for up to about two frames, so that the core fills up and runs empty.
    burst = 0 if part.seed is None else (2 * expected.interval).bit_length()
    numbers = [structure.height * structure.width, structure.classes]
    numbers += [PATIENCE * (expected.latency + expected.interval), expected.interval, burst, part.seed or 0]
    command = [str(program), *map(str, numbers)]
    done = subprocess.run(command, cwd=folder, input=part.images.tobytes(), capture_output=True, check=False)
    results: list[Result] = []
    before, last = 0, b""
    for last in done.stdout.splitlines(keepends=True):
        if last.startswith(b"end ") or not last.endswith(b"\n") or len(results) == len(part.which):
            break
        try:
            entered, left, winner, *scores = (int(word) for word in last.split())
        except ValueError as error:
            raise Fault(f"unreadable results: {error!r}") from None
        cycles = left - before if results else left - entered
        results.append(Result(part.which[len(results)], np.array(scores, np.int32), winner, cycles, not results))
        before = left
    count = len(results)
    if done.returncode or count != len(part.which) or last.split()[:2] != [b"end", str(count).encode()]:
        said = " ".join(done.stderr.decode(errors="replace").split())
        reason = said or (f"exit status {done.returncode}" if done.returncode else "it stopped early")
        following = part.which[min(count, len(part.which) - 1)]
        raise Fault(f"after {count} of {len(part.which)} results, image {following} being next: {reason}")
    return results


def compared(part: Part, results: Sequence[Result]) -> list[dict[str, Any]]:
    """A line of RESULTS for each result; `wrong` counts the scores and the class that differ from the golden model's,
    `mismatch` is the first of them."""
    model = Model(part.network)
    lines: list[dict[str, Any]] = []
    for begin in range(0, len(results), model.batch_size):
        batch = slice(begin, begin + model.batch_size)
        layers = dict(model.layers(part.images[batch]))
        for result, scores, winner in zip(results[batch], layers["scores"], layers["class"], strict=True):
            line: dict[str, Any] = {"image": result.image, "class": result.winner, "cycles": result.cycles}
            if result.first:
                line["first"] = True
            if part.labels is not None:
                line["right"] = bool(part.labels[len(lines)] == result.winner)
            expected = [*(int(score) for score in scores), int(winner)]
            got = [*(int(score) for score in result.scores), result.winner]
            if len(got) != len(expected):
                raise Fault(f"image {result.image}: {len(got) - 1} scores, expected {len(expected) - 1}")
            wrong = [index for index, (a, b) in enumerate(zip(expected, got, strict=True)) if a != b]
            line["wrong"] = len(wrong)
            if wrong:
                line["mismatch"] = {"score": wrong[0], "expected": expected[wrong[0]], "got": got[wrong[0]]}
            lines.append(line)
    return lines


def checked(part: Part) -> list[dict[str, Any]]:
    """The lines of a part, wherever it is simulated."""
    return compared(part, simulate(part))


def _parts(which: Sequence[int], workers: Workers, length: int) -> list[Sequence[int]]:
    """Of at most `length` images, and if there are enough, one for every worker."""
    length = min(length, -(-len(which) // (workers.jobs if workers.scheduler is None else CLUSTER)))
    return [which[begin : begin + length] for begin in range(0, len(which), length)]


def simulate_images(run: Run, store: Store, missing: Sequence[int], workers: Workers, length: int) -> None:
    """Stream the images `missing` and add their lines to `store`. Fault if a simulator fails."""
    (store.folder / FOLDING).write_text(to_json(run.folding))
    tasks = [
        Task(f"images {part[0]} to {part[-1]}", checked, (run.part(part),)) for part in _parts(missing, workers, length)
    ]
    begun, cycles, shown = time.monotonic(), 0, len(store.lines)
    structure = run.network.structure
    told = False
    with tqdm(total=shown + len(missing), initial=shown, unit="img", desc=structure.name, disable=None) as bar:
        for _, lines in workers.results(tasks, bar=bar):
            store.add(lines)
            cycles += sum(line["cycles"] for line in lines)
            bar.set_postfix_str(f"{cycles / (time.monotonic() - begun):,.0f} cycles/s", refresh=False)
            bar.update(len(lines))
            wrong = [line for line in lines if line["wrong"]]
            if wrong and not told:
                tqdm.write(f"MISMATCH: {described(wrong[0], structure.classes)}; the run goes on")
                told = True
    seconds = time.monotonic() - begun
    where = f"{workers.jobs} simulators" if workers.scheduler is None else "a cluster"
    print(
        f"{len(missing):,} images in {seconds:.1f} s of {where}: {len(missing) / seconds:,.1f} images/s, "
        f"{cycles / seconds:,.0f} cycles/s"
    )


# ---- report -----------------------------------------------------------------------------------------------------


def described(line: Mapping[str, Any], classes: int) -> str:
    """The first mismatch of a line of RESULTS that has one."""
    found = line["mismatch"]
    what = "class" if found["score"] == classes else f"score {found['score']}"
    return f"{what} of image {line['image']}: expected {found['expected']}, got {found['got']}"


def report(stores: Sequence[Store], *, whole: bool, file: Path | None = None) -> bool:
    """Print what these shards of one run have shown together, and write it to `file`. True if all their images, or with
    `whole` all images of the run, were compared and equal.

    ValueError if they are of different runs, or a shard is there twice.
    """
    identity = stores[0].identity
    for store in stores:
        for key in identity:
            if key != "shard" and store.identity.get(key) != identity[key]:
                raise UserError(f"{store.folder}: of a run with another {key} than {stores[0].folder}")
    shards = [Shard.parse(store.identity["shard"]) for store in stores]
    if len({shard.count for shard in shards}) > 1:
        raise UserError(f"shards {', '.join(map(str, shards))}: not parts of one whole")
    twice = [str(shard) for shard, times in Counter(shards).items() if times > 1]
    if twice:
        raise UserError(f"shard {twice[0]}: given twice")
    lines = [store.lines[image] for store in stores for image in sorted(store.lines)]
    lines.sort(key=lambda line: int(line["image"]))
    images, classes = identity["images"], identity["classes"]
    wrong = [line for line in lines if line["wrong"]]
    paced = [line["cycles"] for line in lines if not line.get("first")]
    latencies = sorted({line["cycles"] for line in lines if line.get("first")})

    def row(name: str, value: str) -> None:
        print(f"{name:<28} {value}")

    row("network", f"{identity['network']}, sha256 {identity['network_sha256'][:16]}")
    row("images compared", f"{len(lines):,} of {images:,}")
    row("scores and classes compared", f"{len(lines) * (classes + 1):,}")
    row("mismatches", f"{sum(line['wrong'] for line in wrong):,} in {len(wrong):,} images")
    if identity["labelled"] and lines:
        right = sum(line["right"] for line in lines)
        row("accuracy of the core", f"{right:,} of {len(lines):,}: {100 * right / len(lines):.2f}%")
    row("cycles simulated", f"{sum(line['cycles'] for line in lines):,}")
    if identity["stall"] is None:
        row("cycles between classes", f"{f'{paced[-1]:,}' if paced else '-'}, formula {identity['interval']:,}")
        row(
            "cycles, first pixel to class",
            f"{', '.join(f'{each:,}' for each in latencies) or '-'}, formula {identity['latency']:,}",
        )
    else:
        row("stalled with seed", str(identity["stall"]))
    absent = {Shard(number + 1, shards[0].count) for number in range(shards[0].count)} - set(shards)
    if absent and whole:
        names = (str(shard) for shard in sorted(absent, key=lambda shard: shard.number))
        print(f"incomplete: no results of shard {', '.join(names)}")
    for store, shard in zip(stores, shards, strict=True):
        part = shard.range(images)
        if len(store.lines) < len(part):
            print(f"incomplete: {store.folder} has {len(store.lines):,} of the {len(part):,} images of shard {shard}")
    wanted = images if whole else sum(len(shard.range(images)) for shard in shards)
    if wrong:
        print(f"MISMATCH: {described(wrong[0], classes)}")
    elif len(lines) == wanted:
        print("the class and every score of every image equal the golden model's")
    if file is not None:
        measured = {
            "compared": len(lines),
            "mismatches": sum(line["wrong"] for line in wrong),
            "right": sum(line["right"] for line in lines) if identity["labelled"] else None,
            "cycles": sum(line["cycles"] for line in lines),
            "measured_interval": paced[-1] if paced and identity["stall"] is None else None,
            "measured_latencies": latencies,
        }
        with replacing(file) as temporary:
            temporary.write_text(json.dumps({**identity, "shard": "1/1", **measured}, indent=1) + "\n")
    return not wrong and len(lines) == wanted


# ---- command line -----------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="abbnn volume",
        description="Whole data sets through the verilated core; class and scores compared with the golden model.",
    )
    add_network(parser, default=SHIPPED_NETWORK)
    add_images(parser, default="the shipped 100, resized")
    parser.add_argument("--limit", type=int, metavar="M", help="the first M images only")
    add_folding(parser)
    parser.add_argument("--shard", default="1/1", metavar="K/N", help="part K, from 1, of N parts; default %(default)s")
    parser.add_argument(
        "--part", type=positive, default=PART, metavar="M", help="images that a simulation streams; default %(default)s"
    )
    add_workers(parser)
    parser.set_defaults(jobs=1)
    parser.add_argument("--gates", action="store_true", help="the netlist that Yosys maps the core to, on ECP5's cells")
    parser.add_argument("--stall", type=int, metavar="SEED", help="open and close both ends at random")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"{RESULTS}; default: a folder of this run's in {BUILD}",
    )
    parser.add_argument("--summary", type=Path, nargs="+", metavar="DIR", help="only report what is in these folders")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what is reported there, too")
    return parser


def _prepared(arguments: argparse.Namespace) -> Run:
    pipeline = Pipeline.read(arguments.network, arguments.fold, arguments.cycles)
    network, folding = pipeline.network, pipeline.folding
    structure = network.structure
    if arguments.images is None:
        images, labels = shipped_images(structure)
    else:
        images, labels = read_images(arguments.images, structure.height, structure.width, structure.classes)
    if arguments.limit is not None:
        if not 1 <= arguments.limit <= len(images):
            source = arguments.images or SHIPPED_IMAGES
            raise UserError(f"--limit {arguments.limit}: {source} has 1 to {len(images)} images")
        images, labels = images[: arguments.limit], None if labels is None else labels[: arguments.limit]
    netlist = verilog_text(synthesise(network, folding)) if arguments.gates else None
    return Run(network, folding, images, labels, arguments.stall, netlist)


def _run(arguments: argparse.Namespace) -> bool:
    if arguments.summary:
        return report([Store.read(folder) for folder in arguments.summary], whole=True, file=arguments.json)
    workers = Workers.of(arguments)
    if arguments.stall is not None and not 0 <= arguments.stall < 2**31:
        raise UserError(f"--stall {arguments.stall}: 0 to {2**31 - 1}")
    shard = Shard.parse(arguments.shard)
    run = _prepared(arguments)
    if shard.count > len(run.images):
        raise UserError(f"--shard {shard}: there are {len(run.images)} images")
    identity = run.identity(shard)
    folder = arguments.out
    if folder is None:
        digest = hashlib.sha256(json.dumps({**identity, "shard": ""}).encode()).hexdigest()[:12]
        folder = BUILD / f"run-{identity['network']}-{digest}-{shard.number}of{shard.count}"
    part = shard.range(len(run.images))
    with Store.opened(folder, identity) as store:
        missing = [image for image in part if image not in store.lines]
        path = folder / RESULTS
        if len(missing) < len(part):
            print(f"{path}: continued, {len(part) - len(missing):,} of {len(part):,} images are there")
        else:
            print(f"{path}: {len(part):,} images to compare")
        if missing:
            try:
                simulate_images(run, store, missing, workers, arguments.part)
            except (KeyboardInterrupt, Stopped):
                print(
                    f"stopped: {len(store.lines):,} of {len(part):,} images are in {path}; the same command continues"
                )
                raise
        equal = report([store], whole=False, file=arguments.json)
        if wrong := [image for image in sorted(store.lines) if store.lines[image]["wrong"]]:
            # With the image before it, in case that leaves something behind in the core.
            first = max(wrong[0] - 1, 0)
            data = f"DATA={arguments.images} " if arguments.images else ""
            print(
                f"to find the layer: make sim SIM=verilator NETWORK={arguments.network} {data}FOLD={folder / FOLDING} "
                f"FIRST={first} IMAGES={wrong[0] - first + 1}"
            )
        return equal


def main(argv: list[str] | None = None) -> int:
    """0: all compared and equal; 1: a mismatch, or the simulation failed; else as `errors.run` says."""
    arguments = _parser().parse_args(argv)

    def command() -> int:
        try:
            return 0 if _run(arguments) else 1
        except Fault as fault:
            print(f"abbnn volume: {fault}", file=sys.stderr)
            return 1

    return run("abbnn volume", command)


if __name__ == "__main__":
    sys.exit(main())
