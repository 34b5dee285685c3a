"""The scales in front of the signs; no torch here, because freezing a checkpoint needs them too."""

from __future__ import annotations

from golden.structure import Structure


def block_betas(structure: Structure, alpha: float) -> list[float]:
    """One beta a block: 1 / sqrt(v), v being the variance the block's input has by design.

    v starts at 1 and grows by alpha^2 after every block that is not the first of its stage; the first block of a later
    stage (stride 2) uses the v it finds, then resets it to 1, as the official code does.
    """
    if not 0.0 < alpha < float("inf"):
        raise ValueError(f"alpha is {alpha}; it must be positive and finite")
    betas = []
    variance = 1.0
    for index, block in enumerate(structure.blocks):
        betas.append(variance**-0.5)
        if block.downsamples:
            variance = 1.0
        elif index > 0:
            variance += alpha * alpha
    return betas
