"""Muon for latent binary weights: momentum whose matrix is made (nearly) orthogonal before each step.

A binary filter's latent weights matter by their signs only, so their scale is free: it is fixed, and each step then
moves all directions of a layer by the same part of it (K. Jordan's Muon, 2024, with fixed norms).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 3
MOMENTUM = 0.9


def orthogonalized(matrix: Tensor) -> Tensor:
    """A matrix with the singular vectors of `matrix` (rows, columns) and singular values near 1.

    The iteration X <- (a + b XX' + c (XX')^2) X runs on the small XX' alone, whose polynomials are collected and
    applied once: half the work where columns are many more than rows.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalized(matrix.T).T
    a, b, c = NEWTON_SCHULZ
    x = matrix / matrix.norm().clamp_min(1e-12)
    gram = x @ x.T
    product: Tensor | None = None
    for iteration in range(ITERATIONS):
        polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal().add_(a)
        product = polynomial if product is None else polynomial @ product
        if iteration + 1 < ITERATIONS:
            gram = polynomial @ gram @ polynomial
    return product @ x


class Muon(torch.optim.Optimizer):
    """Weights (out, in, k, k), each a matrix (out, the rest), kept at the norm sqrt(out) and moved by `lr`."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = MOMENTUM) -> None:
        super().__init__(list(parameters), {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].mul_(group["momentum"]).add_(weight.grad)
                ahead = torch.add(weight.grad, momentum, alpha=group["momentum"])
                # As the maps lie in memory, (out, k, k, in): a view where the weights are channels_last.
                update = orthogonalized(ahead.permute(0, 2, 3, 1).flatten(1))
                weight.mul_(len(weight) ** 0.5 / weight.norm().clamp_min(1e-12))
                shape = weight.permute(0, 2, 3, 1).shape
                weight.sub_(update.reshape(shape).permute(0, 3, 1, 2), alpha=group["lr"])
