"""From training to integers for every family: both steps, checkpoint, freezing, golden against the float network."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from abbnn.export.freeze import FreezeOptions, freeze  # noqa: E402
from abbnn.golden.model import forward  # noqa: E402
from abbnn.golden.structure import CIFAR_STEM, RESNET_STEM, STRIDED_STEM, member  # noqa: E402
from abbnn.train import checkpoint  # noqa: E402
from abbnn.train.data import ArrayImages, DataSet  # noqa: E402
from abbnn.train.model import Network  # noqa: E402
from abbnn.train.recipe import TrainOptions, predict, train  # noqa: E402

MEMBERS = [
    member("reactnet18", (8, 16), (2, 2), classes=100, stem=CIFAR_STEM),
    member("reactnet34", (8, 16), (3, 2), stem=RESNET_STEM),
    member("birealnet18", (8, 16), (2, 2), family="birealnet", classes=100, stem=RESNET_STEM),
    member("xnornet18", (8, 16), (2, 2), family="xnornet"),
    member("reactneta", (8, 16, 32), (0, 1, 2), family="reactneta", stem=STRIDED_STEM),
]


def made(seed, count, classes):
    """Images of one random colour a class under noise: two epochs learn something of them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    colours = np.random.default_rng(7).integers(30, 226, (classes, 1, 1, 3))
    images = np.clip(colours[labels] + rng.normal(0, 20, (count, 32, 32, 3)), 0, 255).astype(np.uint8)
    return ArrayImages(images, labels)


@pytest.mark.parametrize("scales", ["pow2", "free"])
@pytest.mark.parametrize("structure", MEMBERS, ids=lambda structure: structure.name)
def test_train_freeze_and_run(structure, scales, tmp_path):
    test = made(1, 60, structure.classes)
    data = DataSet("made", made(0, 160, structure.classes), test, structure.classes)
    options = TrainOptions(epochs_qa=1, epochs_qaw=1, batch_size=16, scales=scales)
    torch.manual_seed(1)
    before = Network(structure, options.variant("Qa")).tensors()
    train(structure, data, tmp_path, options, report=lambda line: None)
    stride = structure.stem.stride
    loaded = checkpoint.load(tmp_path / "model.pt", structure.name, 32)
    assert (loaded.structure, loaded.structure.stem.stride) == (structure, stride)
    assert set(loaded.tensors) == set(before)
    assert not any(np.array_equal(loaded.tensors[name], values) for name, values in before.items())
    model = Network(loaded.structure, loaded.variant)
    model.load(loaded.tensors)
    logits = predict(model, test.images)
    network = freeze(loaded.tensors, structure, loaded.variant, FreezeOptions(stem_planes=12))
    scores = forward(network, test.images)["scores"].astype(np.float64)
    # Signs amplify the rounding of 16-bit values and 12-bit stem weights; more than this is an error of arithmetic.
    own, expected = scores - scores.mean(axis=0), logits - logits.mean(axis=0)
    assert np.corrcoef(own.ravel(), expected.ravel())[0, 1] > 0.94
