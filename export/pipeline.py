"""A network with a folding: the hardware that it makes, the files that fill it, and how long a frame takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from abbnn.errors import UserError
from abbnn.export.config import Parameters, StageConfig, pipeline_config
from abbnn.export.fit import fitted, with_headroom
from abbnn.export.folding import Folding, balance, check, read_folding
from abbnn.export.load_image import stage_image
from abbnn.export.mem import headers, layout_id
from abbnn.export.schedule import Timing, timing
from abbnn.golden.network import IntegerNetwork, load_network, network_hash
from abbnn.golden.ranges import Ranges, analyse


def proven(path: Path) -> IntegerNetwork:
    """The network of a file whose numbers all fit. UserError names the file."""
    network = load_network(path)
    try:
        analyse(network)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return network


@dataclass(frozen=True, eq=False)
class Pipeline:
    """UserError names the first stage whose fold is illegal. Everything else is computed when it is first asked for.

    `layout` holds one mapping of parameters a stage where the hardware is wider than the network needs
    (`export.fit`); without it the hardware is what range analysis finds for the network.
    """

    network: IntegerNetwork
    folding: Folding
    layout: Sequence[Parameters] | None = None

    def __post_init__(self) -> None:
        check(self.network, self.folding)

    @staticmethod
    def read(path: Path, fold: Path | None = None, cycles: int | None = None) -> Pipeline:
        """The network in the file `path`, folded as the file `fold` says or for at most `cycles` cycles a frame.

        UserError names the file whose contents are at fault.
        """
        network = proven(path)
        try:
            return Pipeline(network, read_folding(fold) if fold else balance(network, cycles))
        except UserError as error:
            raise (
                error if fold and str(error).startswith(f"{fold}: ") else UserError(f"{fold or path}: {error}")
            ) from None

    def roomy(self, bits: int) -> Pipeline:
        """The same with `bits` bits more in all that another network's weights may need more of."""
        layout = with_headroom([config.parameters for config in self.configs], bits)
        return Pipeline(self.network, self.folding, layout) if bits else self

    @cached_property
    def ranges(self) -> Ranges:
        return analyse(self.network)

    @cached_property
    def configs(self) -> list[StageConfig]:
        """Parameters and tables of every stage; UserError if the network does not fit the layout."""
        own = pipeline_config(self.network, self.ranges, self.folding)
        return own if self.layout is None else fitted(own, self.layout)

    @cached_property
    def layout_id(self) -> int:
        return layout_id(self.configs)

    @property
    def network_id(self) -> int:
        """First 64 bits of the network's sha256."""
        return int(network_hash(self.network)[:16], 16)

    @cached_property
    def headers(self) -> dict[str, str]:
        """File name -> text of what the core's Verilog includes."""
        return headers(self.network, self.configs)

    @cached_property
    def load_image(self) -> list[int]:
        """32-bit words that a loadable core takes, the CRC last."""
        return stage_image(self.configs, self.network_id)

    @cached_property
    def timing(self) -> Timing:
        """Latency and interval, by formula."""
        return timing(self.network, self.folding)
