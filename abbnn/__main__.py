"""The command `abbnn`: every verb is a module's `main`, imported when it is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from typing import NamedTuple

from abbnn.errors import run


class Verb(NamedTuple):
    """`module`'s `main` takes the words behind the verb; a module of several verbs takes the verb before them."""

    module: str
    help: str
    several: bool = False


VERBS: dict[str, Verb] = {
    "train": Verb("train.command", "train a network (needs torch)"),
    "teacher": Verb("train.command", "train a float network from scratch, and its soft labels (needs torch)", True),
    "speed": Verb("train.command", "time training steps on this CPU (needs torch)", True),
    "evaluate": Verb("train.command", "run a float checkpoint and write its logits (needs torch)", True),
    "freeze": Verb("export.__main__", "checkpoint -> frozen integer network (needs torch)", True),
    "import": Verb("export.__main__", "a network of your own, with batch norm -> frozen network (needs torch)", True),
    "inspect": Verb("export.__main__", "a checkpoint tensor by tensor, or a frozen network layer by layer", True),
    "random": Verb("export.__main__", "a frozen network with random weights", True),
    "golden": Verb("golden.__main__", "class scores of images by the bit-exact integer model"),
    "fold": Verb("export.__main__", "frozen network -> PE and SIMD of every stage for a device", True),
    "mem": Verb("export.__main__", "frozen network -> memory files, header and manifest for the Verilog", True),
    "sim": Verb("tb.sim", "stream images through the core and compare every layer with the golden model"),
    "volume": Verb("tb.volume", "stream a whole data set through the core on Verilator and compare every score"),
    "area": Verb("syn.__main__", "LUTs, flip-flops, block RAMs and DSPs of each stage by Yosys", True),
    "memory": Verb("syn.__main__", "memories as Yosys maps them, their contents read back", True),
    "bitstream": Verb("syn.__main__", "a network as the bitstream of a board", True),
    "patch": Verb("syn.__main__", "new weights in a finished bitstream", True),
    "host": Verb("tb.board", "talk to a board over its serial line, or to a simulated one"),
    "proof": Verb("syn.__main__", "no multiplication, shown in independent ways", True),
    "table3": Verb("syn.__main__", "the paper's Table 3 by open tools", True),
    "gates": Verb("syn.__main__", "the mapped ECP5 netlist of a core as Verilog that simulates", True),
    "calibrate": Verb("syn.__main__", "synthesise what the area model is fitted to", True),
    "demo": Verb("demo.__main__", "a web page in which the core runs, by Verilator and Emscripten"),
    "ip": Verb("ip.__main__", "a network as an IP block: a folder that simulates and synthesises by itself"),
    "bench": Verb("report.bench", "cycles, area and speeds of the shipped designs"),
    "report": Verb("report.__main__", "operations, accuracy against precision, networks, published accelerators"),
}


def usage() -> str:
    """What `abbnn --help` prints."""
    rows = [f"  {name:<11}{verb.help}" for name, verb in VERBS.items()]
    return "\n".join(["usage: abbnn VERB ...", "", *rows, "", "`abbnn VERB --help` tells more; `abbnn --version`."])


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if words in (["--help"], ["-h"]):
        return run("abbnn", lambda: print(usage()))
    if words == ["--version"]:
        return run("abbnn", lambda: print(f"abbnn {version()}"))
    name = words[0] if words else ""
    if name not in VERBS:
        print(f"abbnn: {f'no verb {name}' if name else 'a verb is missing'}\n{usage()}", file=sys.stderr)
        return 2
    verb = VERBS[name]

    # Commands spread work over processes and threads themselves. BLAS reads this once, when NumPy loads it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    def command() -> int:
        status: int = import_module(f"abbnn.{verb.module}").main(words if verb.several else words[1:])
        return status

    return run(f"abbnn {name}", command)


def version() -> str:
    """The installed package's, or that of the checkout's pyproject.toml."""
    try:
        return metadata.version("abbnn")
    except metadata.PackageNotFoundError:
        return "of a checkout"


if __name__ == "__main__":
    sys.exit(main())
