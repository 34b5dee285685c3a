"""The spellings of a checkpoint's tensors, what their shapes tell, and what a variant may say. NumPy only."""

import numpy as np
import pytest

from abbnn.golden.structure import (
    CIFAR_STEM,
    DECLARATIONS,
    NETWORKS,
    RESNET_STEM,
    STRIDED_STEM,
    StemForm,
    Structure,
    declared_network,
    member,
)
from abbnn.train.tensors import (
    Tensors,
    canonical_shapes,
    infer_structure,
    official_names,
    official_shapes,
    to_canonical,
    to_official,
)
from abbnn.train.variant import Variant

NARROW = [
    member("reactnet18", (4, 6, 8), (2, 1, 3), image=16),
    member("birealnet18", (4, 6), (1, 2), family="birealnet", classes=100),
    member("xnornet18", (4, 6), (2, 2), family="xnornet", image=64, classes=1000, stem=RESNET_STEM),
    member("reactneta", (3, 6, 12), (0, 2, 1), family="reactneta", image=48, classes=1000, stem=STRIDED_STEM),
    member("reactneta", (4, 8), (2, 1), family="reactneta", image=16),
]


def hollow(structure: Structure) -> Tensors:
    """Official tensors of the right shapes that take no memory."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in official_shapes(structure).items()}


@pytest.mark.parametrize("structure", [*NARROW, *NETWORKS.values()], ids=lambda structure: structure.name)
def test_every_tensor_has_its_official_names(structure: Structure) -> None:
    names, shapes = official_names(structure), canonical_shapes(structure)
    assert list(names) == list(shapes)
    flat = [official for officials in names.values() for official in officials]
    assert sorted(flat) == sorted(official_shapes(structure))
    assert len(set(flat)) == len(flat)


@pytest.mark.parametrize("structure", NARROW, ids=lambda structure: structure.name)
def test_spelling_there_and_back(structure: Structure) -> None:
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=shape) for name, shape in canonical_shapes(structure).items()}
    official = to_official(tensors, structure)
    assert {name: tensor.shape for name, tensor in official.items()} == official_shapes(structure)
    back = to_canonical(official, structure)
    assert list(back) == list(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(back[name], tensor)


def test_the_two_halves_of_a_doubling_convolution() -> None:
    structure = member("reactneta", (4, 8), (0, 1), family="reactneta", image=8)
    official = {name: np.zeros(shape) + ("down2" in name) for name, shape in official_shapes(structure).items()}
    tensors = to_canonical(official, structure)
    assert tensors["block01.weight"].shape == (8, 4, 1, 1)
    assert tensors["block01.weight"][:, 0, 0, 0].tolist() == [0.0] * 4 + [1.0] * 4
    assert tensors["block01.gain"].tolist() == [0.0] * 4 + [1.0] * 4


@pytest.mark.parametrize("structure", NARROW, ids=lambda structure: structure.name)
def test_shapes_tell_the_structure(structure: Structure) -> None:
    assert infer_structure(hollow(structure), structure.name, image=structure.height) == structure


@pytest.mark.parametrize("name", sorted(DECLARATIONS))
@pytest.mark.parametrize(("classes", "image"), [(10, 32), (100, 32), (1000, 224)])
def test_full_networks_need_no_telling(name: str, classes: int, image: int) -> None:
    structure = declared_network(name, classes=classes, image=image)
    assert infer_structure(hollow(structure), name) == structure


def test_what_shapes_do_not_tell() -> None:
    tensors = hollow(member("reactneta", (3, 6, 12), (0, 2, 1), family="reactneta"))
    for image, form in ((None, CIFAR_STEM), (64, CIFAR_STEM), (128, STRIDED_STEM)):
        stem = infer_structure(tensors, "reactneta", image=image).stem
        assert (stem.kernel, stem.stride) == (form.kernel, form.stride)
    assert infer_structure(tensors, "reactneta", stem_stride=2).stem.stride == 2
    stem = infer_structure(hollow(member("tiny", (4, 6), (1, 1), stem=StemForm(5, 2))), "tiny").stem
    assert (stem.kernel, stem.stride, stem.max_pool) == (5, 2, False)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ({"layer1.0.conv1.weight": None}, "layer1.0.conv1.weight of reactnet18 is missing"),
        ({"conv1.weight": None}, "conv1.weight of reactnet18 is missing"),
        ({"conv1.weight": (4, 3, 9)}, "conv1.weight has shape"),
        ({"conv1.weight": (4, 3, 0, 0)}, "conv1.weight has shape"),
        ({"conv1.weight": (4, 3, 4, 4)}, "even"),
        ({"fc.weight": (0, 8)}, "fc.weight has shape"),
        ({"layer4.0.x": (1,), "layer6.0.x": (1,)}, "layer5 of reactnet18 is missing"),
        ({"layer1.3.x": (1,)}, r"layer1\.2 of reactnet18 is missing"),
        ({"layer3.9.x": (1,)}, r"layer3\.3 of reactnet18 is missing"),
    ],
)
def test_shapes_of_nothing_are_refused(damage: dict[str, tuple[int, ...] | None], complaint: str) -> None:
    tensors = hollow(NARROW[0])
    for name, shape in damage.items():
        tensors.pop(name, None)
        if shape is not None:
            tensors[name] = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=complaint):
        infer_structure(tensors, "reactnet18")


@pytest.mark.parametrize("held", sorted(DECLARATIONS))
@pytest.mark.parametrize("asked", sorted(DECLARATIONS))
def test_another_network_than_asked_for(held: str, asked: str) -> None:
    """Refused by its declaration within a family, by its tensors beyond."""
    tensors = hollow(NETWORKS[held])

    def load() -> None:
        to_canonical(tensors, infer_structure(tensors, asked))

    if held == asked:
        load()
        return
    same_stages = (DECLARATIONS[held].widths, DECLARATIONS[held].depths) in (
        (declared.widths, declared.depths)
        for declared in DECLARATIONS.values()
        if declared.family == DECLARATIONS[asked].family and declared is not DECLARATIONS[asked]
    )
    with pytest.raises(ValueError, match=f"widths and depths of .*, not of {asked}" if same_stages else "tensor "):
        load()


def test_variants() -> None:
    assert Variant.from_metadata({}) == Variant(
        "Qaw", 0.25, "free", "code", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )
    variant = Variant("Qa", 0.125, "pow2", "paper", (0.5, 0.5, 0.5), (0.25, 0.25, 0.2))
    assert Variant.from_metadata(variant.to_dict() | {"seed": 3}) == variant
    assert [Variant().beta(steps) for steps in (0, 1, 15)] == [1.0, 1.0625**-0.5, 1.9375**-0.5]
