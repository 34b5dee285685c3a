"""The AVX2 convolutions against torch's: equal forward, gradients close and right on average."""

import copy
import math

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from torch.nn import functional  # noqa: E402

from abbnn.golden.structure import STRIDED_STEM, member  # noqa: E402
from abbnn.train.binary_conv import available, binary_conv, fits  # noqa: E402
from abbnn.train.model import Network  # noqa: E402
from abbnn.train.variant import Variant  # noqa: E402

torch.set_num_threads(1)  # a busy machine makes two threads wait for each other
pytestmark = pytest.mark.skipif(not available(), reason="needs a CPU with AVX2 and a C++ compiler")

# images, channels, outputs, side, stride; more channels than 16 bits hold sums of, sides that halve and do not
CASES = [(4, 16, 32, 5, 1), (8, 64, 16, 8, 2), (12, 32, 48, 7, 2), (4, 512, 16, 3, 1), (132, 16, 16, 4, 1)]


def made(images: int, channels: int, outs: int, side: int, stride: int) -> tuple["torch.Tensor", ...]:
    random = torch.Generator().manual_seed(0)

    def signs(*shape: int) -> "torch.Tensor":
        return torch.where(torch.rand(shape, generator=random) < 0.5, -1.0, 1.0)

    last = torch.channels_last
    x = signs(images, channels, side, side).to(memory_format=last).requires_grad_()
    factors = 2.0 ** torch.randint(-9, -3, (outs, 1, 1, 1), generator=random).float()
    weight = (signs(outs, channels, 3, 3) * factors).to(memory_format=last).requires_grad_()
    out_side = math.ceil(side / stride)
    gradient = torch.randn(images, outs, out_side, out_side, generator=random).to(memory_format=last)
    return x, weight, gradient


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_is_exact_and_gradients_are_close(case: tuple[int, ...]) -> None:
    x, weight, gradient = made(*case)
    stride = case[-1]
    assert fits(x, weight)
    out = binary_conv(x, weight, stride)
    expected = functional.conv2d(x, weight, stride=stride, padding=1)
    assert torch.equal(out, expected)
    for mine, theirs in zip(
        torch.autograd.grad(out, (x, weight), gradient),
        torch.autograd.grad(expected, (x, weight), gradient),
        strict=True,
    ):
        # A normal gradient's greatest of thousands is 4 deviations: steps of 1/30, errors of 1/80 of a deviation.
        assert float((mine - theirs).norm() / theirs.norm()) < 0.03
        assert abs(float((mine - theirs).mean())) < 1e-3 * float(theirs.std())


def test_the_greatest_gradients_do_not_overflow() -> None:
    x, weight, gradient = made(4, 512, 512, 2, 1)
    with torch.no_grad():
        x.fill_(1.0)
        weight.fill_(0.5)
        gradient.fill_(3.0)
    out = binary_conv(x, weight, 1)
    grads = torch.autograd.grad(out, (x, weight), gradient)
    expected = torch.autograd.grad(functional.conv2d(x, weight, padding=1), (x, weight), gradient)
    for mine, theirs in zip(grads, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=0)


def test_a_gradient_of_zero_stays_zero() -> None:
    x, weight, gradient = made(4, 16, 16, 4, 1)
    for grad in torch.autograd.grad(binary_conv(x, weight, 1), (x, weight), torch.zeros_like(gradient)):
        assert not grad.any()


def test_what_it_cannot_do_does_not_fit() -> None:
    x, weight = torch.ones(4, 16, 4, 4), torch.ones(16, 16, 3, 3)
    assert fits(x, weight)
    assert not fits(x[:3], weight)
    assert not fits(x, weight[:8])
    assert not fits(x, weight[:, :, :1, :1])
    assert not fits(torch.ones(4, 1024, 1, 1), torch.ones(16, 1024, 3, 3))


def test_a_network_trains_with_it_and_evaluates_without() -> None:
    structure = member("small", (16, 32), (1, 1), stem=STRIDED_STEM)
    torch.manual_seed(0)
    plain = Network(structure, Variant(scales="pow2")).train()
    other = copy.deepcopy(plain)
    other.train_with_byte_gradients()
    images = torch.randn(8, 3, 32, 32)
    losses = [model(images).square().sum() for model in (plain, other)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    for (name, one), two in zip(plain.named_parameters(), other.parameters(), strict=True):
        assert float((one.grad - two.grad).norm()) <= 0.1 * float(one.grad.norm()), name
    with torch.no_grad():
        assert torch.equal(plain.eval()(images), other.eval()(images))
