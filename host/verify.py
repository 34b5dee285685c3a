"""Whether a board gives what the golden model gives: the class and every score of every image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abbnn.errors import UserError
from abbnn.golden.model import Model, batches
from abbnn.golden.network import IntegerNetwork, network_hash
from abbnn.host.link import Device, Result


@dataclass(frozen=True)
class Difference:
    """`score` is the score's number, None for the class."""

    image: int
    score: int | None
    expected: int
    got: int


def check_network(device: Device, network: IntegerNetwork) -> None:
    """UserError if the board has another network than `network`, or none yet."""
    wanted, found = network_hash(network)[:16], device.network()
    if not found:
        raise UserError(f"the board has no network yet; {network.structure.name} {wanted} is to be verified")
    if f"{found:016x}" != wanted:
        raise UserError(
            f"the board has network {found:016x}, not {network.structure.name} {wanted}, which is to be verified"
        )


def differences(
    network: IntegerNetwork,
    images: NDArray[np.uint8],
    results: Sequence[Result],
    progress: Callable[[int], object] = lambda count: None,
) -> list[Difference]:
    """All values of `results` that are not the golden model's, in their order; the class comes behind the scores.

    `progress` is told how many images more have been computed.
    """
    model = Model(network)
    expected = []
    for batch in batches(images, model.batch_size):
        layers = dict(model.layers(batch))
        expected.append(np.column_stack([layers["scores"], layers["class"]]))
        progress(len(batch))
    got = np.array([[*result.scores.tolist(), result.label] for result in results])
    wanted = np.concatenate(expected)
    if got.shape != wanted.shape:
        raise UserError(f"results of shape {got.shape}, the golden model's have {wanted.shape}")
    return [
        Difference(image, None if value == network.structure.classes else value, want, have)
        for image, value in np.argwhere(got != wanted).tolist()
        for want, have in [(int(wanted[image, value]), int(got[image, value]))]
    ]
