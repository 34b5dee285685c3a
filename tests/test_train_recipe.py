"""Clipping, the optimizer's groups, and whole runs on a few made images."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from golden.structure import reactnet  # noqa: E402
from train import checkpoint, recipe  # noqa: E402
from train.data import Cifar  # noqa: E402
from train.model import ReActNet  # noqa: E402
from train.recipe import TrainOptions, accuracy, clip_gradients, make_optimizer, normalise, predict, train  # noqa: E402

SMALL = reactnet("small", (4, 6), (1, 1), stem_stride=2)
OPTIONS = TrainOptions(epochs_qa=2, epochs_qaw=2, batch_size=16, evaluate_every=1)


def made(seed: int, count: int) -> Cifar:
    random = np.random.default_rng(seed)
    return Cifar(random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), random.integers(0, 10, count))


TRAIN, TEST = made(0, 40), made(1, 20)


def run(out: Path, **options: object) -> dict[str, object] | None:
    return train(SMALL, TRAIN, TEST, out, OPTIONS, report=lambda line: None, **options)


def test_clipping_by_hand() -> None:
    weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    weight.grad = torch.tensor([[0.0, 1.0], [3e-5, 4e-5]])
    vector = torch.nn.Parameter(torch.tensor([6.0, 8.0]))
    vector.grad = torch.tensor([0.03, 0.04])
    clip_gradients([weight, vector, torch.nn.Parameter(torch.zeros(1))], 0.01)
    # unit 0: |w| = 5 allows 0.05 of 1; unit 1: |w| = 0 counts as 1e-3 and allows 1e-5 of 5e-5
    torch.testing.assert_close(weight.grad, torch.tensor([[0.0, 0.05], [6e-6, 8e-6]]))
    # a vector is one unit: |v| = 10 allows 0.1, and 0.05 passes as it is
    torch.testing.assert_close(vector.grad, torch.tensor([0.03, 0.04]))


def test_clipping_takes_each_filter_for_itself() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2, 3, 3))
    weight.grad = torch.stack([torch.full((2, 3, 3), 1.0), torch.full((2, 3, 3), 1e-4)])
    clip_gradients([weight], 1e-3)
    torch.testing.assert_close(weight.grad, torch.stack([torch.full((2, 3, 3), 1e-3), torch.full((2, 3, 3), 1e-4)]))


def test_only_convolutions_decay_and_only_in_the_first_step() -> None:
    model = ReActNet(SMALL)
    for step, decay in (("Qa", 5e-6), ("Qaw", 0.0)):
        groups = make_optimizer(model, step, OPTIONS).param_groups
        assert [group["weight_decay"] for group in groups] == [decay, 0.0]
        assert {id(p) for p in groups[0]["params"]} == {
            id(p) for name, p in model.named_parameters() if ".weight" in name and name != "fc.weight"
        }
        assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_normalise_uses_the_official_constants() -> None:
    images = TEST.images[:2]
    expected = (images / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(normalise(images).numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-4, atol=1e-5)


def test_a_run_writes_a_model_that_predicts_as_it_says(tmp_path: Path) -> None:
    metadata = run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "model.pt", "resume.pt"]
    arrays, read = checkpoint.read(tmp_path / "model.pt")
    assert read == metadata
    assert read["structure"] == SMALL.to_dict()
    assert (read["step"], read["scales"], read["alpha"], read["seed"]) == ("Qaw", "pow2", 0.25, 2023)
    model = ReActNet(SMALL)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in arrays.items()})
    assert accuracy(predict(model, TEST.images), TEST.labels) == read["test_top1"]

    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(record["step"], record["epoch"]) for record in log] == [("Qa", 1), ("Qa", 2), ("Qaw", 1), ("Qaw", 2)]
    assert [record["rate"] for record in log] == [2e-3, 1e-3, 2e-3, 1e-3]
    assert log[-1]["test_top1"] == read["test_top1"]
    assert set(log[0]) == {"step", "epoch", "rate", "train_loss", "train_top1", "seconds", "test_top1"}


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, stop: int) -> None:
    whole = run(tmp_path / "whole")
    assert run(tmp_path / "parts", stop_after=stop) is None
    assert not (tmp_path / "parts" / "model.pt").exists()
    assert run(tmp_path / "parts", resume=True) == whole
    one, two = (checkpoint.read(tmp_path / name / "model.pt")[0] for name in ("whole", "parts"))
    for key, value in one.items():
        np.testing.assert_array_equal(value, two[key], err_msg=key)


def test_the_rate_falls_with_every_batch_and_the_epochs_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates, seeds = [], []
    step, batches = torch.optim.Adam.step, recipe.augmented_batches

    def counted_step(self: torch.optim.Adam, *args: object) -> object:
        rates.append(self.param_groups[1]["lr"])
        return step(self, *args)

    def seen_batches(data: Cifar, batch_size: int, seed: tuple[int, ...]) -> object:
        seeds.append(seed)
        return batches(data, batch_size, seed)

    monkeypatch.setattr(torch.optim.Adam, "step", counted_step)
    monkeypatch.setattr(recipe, "augmented_batches", seen_batches)
    run(tmp_path)
    np.testing.assert_allclose(rates, 2 * [2e-3 * (1 - k / 6) for k in range(6)])
    assert seeds == [(2023, 0, 0), (2023, 0, 1), (2023, 1, 0), (2023, 1, 1)]


def test_the_second_step_starts_from_the_first_ones_result(tmp_path: Path) -> None:
    options = replace(OPTIONS, rate=1e-12)
    for epochs_qa, name in ((2, "two"), (0, "one")):
        train(SMALL, TRAIN, TEST, tmp_path / name, replace(options, epochs_qa=epochs_qa, epochs_qaw=1), report=str)
    one, two = (checkpoint.read(tmp_path / name / "model.pt")[0] for name in ("one", "two"))
    for key, value in one.items():
        np.testing.assert_allclose(value, two[key], atol=1e-9, err_msg=key)


def test_it_learns(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 256)
    # Stripes along or across: standardized filters have mean 0, and would not see a difference in brightness.
    stripes = 100 * (np.arange(32) // 2 % 2)
    stripes = np.where(labels[:, None, None] == 0, stripes[:, None], stripes[None, :])
    images = random.integers(0, 50, (256, 32, 32, 3)) + stripes[..., None]
    data = Cifar(images.astype(np.uint8), labels)
    options = TrainOptions(epochs_qa=6, epochs_qaw=6, batch_size=16, rate=2e-2)
    metadata = train(SMALL, data, data, tmp_path, options, report=str)
    assert metadata is not None
    assert metadata["test_top1"] > 95


def test_a_resume_file_of_something_else_is_refused(tmp_path: Path) -> None:
    run(tmp_path, stop_after=1)
    saved = checkpoint.load_file(tmp_path / "resume.pt")
    other = reactnet("small", (4, 8), (1, 1), stem_stride=2)
    with pytest.raises(ValueError, match="another network"):
        train(other, TRAIN, TEST, tmp_path, OPTIONS, resume=True)
    with pytest.raises(ValueError, match="seed 2023, not 1"):
        train(SMALL, TRAIN, TEST, tmp_path, replace(OPTIONS, seed=1), resume=True)
    with pytest.raises(ValueError, match="no such file"):
        train(SMALL, TRAIN, TEST, tmp_path / "empty", OPTIONS, resume=True)
    assert not (tmp_path / "empty").exists()
    for damage in ({"state": {}}, {"optimizer": {}}, {"step": "Qx"}, {"epoch": "1"}, {"log": None}):
        torch.save(saved | damage, tmp_path / "resume.pt")
        with pytest.raises(ValueError, match=r"resume\.pt: not a file to resume from"):
            run(tmp_path, resume=True)
