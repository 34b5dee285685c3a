"""Muon: what a step does to a weight, against a plain Newton-Schulz iteration."""

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from abbnn.train.muon import ITERATIONS, NEWTON_SCHULZ, Muon, orthogonalized  # noqa: E402


def plainly(matrix: "torch.Tensor") -> "torch.Tensor":
    a, b, c = NEWTON_SCHULZ
    x = matrix / matrix.norm()
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x


@pytest.mark.parametrize("shape", [(8, 50), (20, 6), (7, 7)], ids=str)
def test_orthogonalized_is_the_newton_schulz_iteration(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthogonalized(matrix), plainly(matrix))
    singular = torch.linalg.svdvals(orthogonalized(torch.linalg.qr(torch.randn(30, 9).double()).Q))
    assert 0.6 < float(singular.min()) <= float(singular.max()) < 1.3
    assert torch.isfinite(orthogonalized(torch.zeros(3, 4))).all()


def test_a_step_keeps_the_norm_and_moves_by_the_rate() -> None:
    random = torch.Generator().manual_seed(1)
    weight = torch.nn.Parameter(torch.randn(8, 4, 3, 3, generator=random).to(memory_format=torch.channels_last))
    gradients = [torch.randn(8, 4, 3, 3, generator=random) for _ in range(2)]
    optimizer = Muon([weight], lr=0.1)
    momentum = torch.zeros(8, 36)
    for gradient in gradients:
        before = weight.detach().clone().permute(0, 2, 3, 1).flatten(1)
        weight.grad = gradient.to(memory_format=torch.channels_last)
        optimizer.step()
        matrix = gradient.permute(0, 2, 3, 1).flatten(1)
        momentum = 0.9 * momentum + matrix
        expected = before * 8**0.5 / before.norm() - 0.1 * plainly(matrix + 0.9 * momentum)
        torch.testing.assert_close(weight.detach().permute(0, 2, 3, 1).flatten(1), expected)
