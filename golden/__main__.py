"""Command line: run images through a frozen network, bit-exact."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from golden.files import replacing
from golden.images import read_images
from golden.model import Layers, batches, forward, layer_names, saturation_counts
from golden.network import IntegerNetwork, load_network
from golden.ranges import analyse


class LayerFiles:
    """One .npy file a layer, int32 with the images first, filled batch by batch in a hidden folder beside `folder`."""

    def __init__(self, folder: Path, network: IntegerNetwork, images: int) -> None:
        if folder.exists():
            raise ValueError(f"{folder}: exists; --layers wants a new folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        self.files: dict[str, NDArray[np.int32]] = {}
        self.names = layer_names(network)
        self.images = images
        self.filled = 0

    def append(self, layers: Layers) -> None:
        count = len(layers["class"])
        for name in self.names:
            values = layers[name]
            if name not in self.files:
                self.files[name] = np.lib.format.open_memmap(
                    self.temporary / f"{name}.npy", "w+", np.int32, (self.images, *values.shape[1:])
                )
            self.files[name][self.filled : self.filled + count] = values
        self.filled += count

    def close(self, *, keep: bool) -> None:
        self.files.clear()
        if keep:
            self.temporary.chmod(0o755)
            self.temporary.rename(self.folder)
        else:
            shutil.rmtree(self.temporary)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m golden",
        description="Class scores of images by the bit-exact integer model: what the RTL must give, value by value.",
    )
    parser.add_argument("network", type=Path, metavar="FILE.safetensors", help="a frozen network")
    parser.add_argument(
        "images",
        type=Path,
        metavar="IMAGES",
        help=".npy uint8 (N,H,W,3), .npz of images and labels, a folder of pictures, or a cifar-10-batches-bin folder",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="SCORES.npy", help="int32 (N, classes)")
    parser.add_argument("--layers", type=Path, metavar="DIR", help="also every layer's output, one .npy each, into DIR")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    network = load_network(arguments.network)
    structure = network.structure
    images, labels = read_images(arguments.images, structure.height, structure.width)
    ranges = analyse(network)
    layer_files = LayerFiles(arguments.layers, network, len(images)) if arguments.layers else None
    scores = []
    saturated: dict[str, int] = {}
    try:
        with tqdm(total=len(images), unit="img", disable=None) as progress:
            for batch in batches(images):
                layers = forward(network, batch, ranges)
                scores.append(layers["scores"].astype(np.int32))
                for name, count in saturation_counts(network, layers).items():
                    saturated[name] = saturated.get(name, 0) + count
                if layer_files:
                    layer_files.append(layers)
                progress.update(len(batch))
        all_scores = np.concatenate(scores)
        with replacing(arguments.out) as temporary, temporary.open("wb") as file:
            np.save(file, all_scores)
    except BaseException:
        if layer_files:
            layer_files.close(keep=False)
        raise
    if layer_files:
        layer_files.close(keep=True)
    at_limit = {name: count for name, count in saturated.items() if count}
    print(f"{arguments.out}: scores of {len(images)} images, worth 2**-{network.score_fraction_bits} each")
    print(f"values at the end of their range: {at_limit or 'none'}")
    if labels is not None:
        right = int((all_scores.argmax(axis=1) == labels).sum())
        print(f"top-1 {right} of {len(labels)}: {100 * right / len(labels):.2f}%")


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        _run(arguments)
    except (ValueError, OSError) as error:
        print(f"python -m golden: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
