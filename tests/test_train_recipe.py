"""Clipping, the optimizer's groups, distillation, and whole runs on a few made images, alone and in two processes."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from abbnn import paths  # noqa: E402
from abbnn.errors import Stopped  # noqa: E402
from abbnn.golden.structure import STRIDED_STEM, member  # noqa: E402
from abbnn.train import checkpoint  # noqa: E402
from abbnn.train.data import ArrayImages, DataSet  # noqa: E402
from abbnn.train.model import Network  # noqa: E402
from abbnn.train.ranks import Ranks  # noqa: E402
from abbnn.train.recipe import (  # noqa: E402
    PRESETS,
    TrainOptions,
    accuracy,
    clip_gradients,
    hold_out,
    make_optimizers,
    normalise,
    predict,
    shrunk,
    summed_loss,
    top1,
    train,
)
from abbnn.train.variant import Variant  # noqa: E402

torch.set_num_threads(1)  # a busy machine makes two threads wait for each other

SMALL = member("small", (4, 6), (1, 1), stem=STRIDED_STEM)
OPTIONS = TrainOptions(epochs_qa=2, epochs_qaw=2, batch_size=16, evaluate_every=1, compile=False)


def made(seed: int, count: int) -> ArrayImages:
    random = np.random.default_rng(seed)
    return ArrayImages(random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), random.integers(0, 10, count))


DATA = DataSet("made", made(0, 40), made(1, 20), 10)
UNEVEN = DataSet("uneven", made(0, 33), made(1, 21), 10)
"""Its last batch of 16 is one image: of two processes, one has none."""


def run(out: Path, options: TrainOptions = OPTIONS, **more: object) -> dict[str, object] | None:
    return train(SMALL, DATA, out, options, report=lambda line: None, **more)


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    return checkpoint.load(path, "small").tensors


def test_the_presets_are_the_papers_and_ours() -> None:
    assert PRESETS["two-step"] == TrainOptions(epochs_qa=32, epochs_qaw=64, rate=2e-3, weight_decay=5e-6, agc=1e-3)
    cifar = TrainOptions(
        epochs_qa=256, epochs_qaw=256, batch_size=256, rate=1e-3, scales="free", evaluate_every=1, bfloat16=False
    )
    assert PRESETS["paper-cifar"] == cifar
    assert PRESETS["paper-imagenet"] == replace(cifar, epochs_qa=128, epochs_qaw=128, agc=2e-2)
    for name in ("two-step", "paper-cifar", "paper-imagenet"):
        assert (PRESETS[name].optimizer, PRESETS[name].cooldown, PRESETS[name].fall) == ("adam", 1.0, "linear")
    quick, flagship = PRESETS["quick"], PRESETS["flagship"]
    assert quick.steps == flagship.steps == ("Qaw",)
    assert (quick.optimizer, quick.muon_rate, quick.rate, quick.batch_size) == ("muon", 0.05, 8e-3, 128)
    assert (quick.fall, quick.cooldown, quick.shift, quick.flips, quick.sides) == ("cosine", 1.0, 2, "alternate", "")
    assert flagship == replace(
        quick, epochs_qaw=30, batch_size=256, muon_rate=0.07, cooldown=0.5, fall="linear", sides="16x4,24x2"
    )


def test_clipping_by_hand() -> None:
    weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    weight.grad = torch.tensor([[0.0, 1.0], [3e-5, 4e-5]])
    gain = torch.nn.Parameter(torch.tensor([6.0, -8.0]))
    gain.grad = torch.tensor([0.07, 0.07])
    vector = torch.nn.Parameter(torch.tensor([6.0, 8.0]))
    vector.grad = torch.tensor([0.03, 0.04])
    idle = torch.nn.Parameter(torch.zeros(1))
    clip_gradients([("x.weight", weight), ("x.bias0", vector), ("x.bias1", idle), ("x.gain", gain)], 0.01)
    # unit 0: |w| = 5 allows 0.05 of 1; unit 1: |w| = 0 counts as 1e-3 and allows 1e-5 of 5e-5
    torch.testing.assert_close(weight.grad, torch.tensor([[0.0, 0.05], [6e-6, 8e-6]]))
    # a vector is one unit: |v| = 10 allows 0.1, and 0.05 passes as it is
    torch.testing.assert_close(vector.grad, torch.tensor([0.03, 0.04]))
    # each gain is one
    torch.testing.assert_close(gain.grad, torch.tensor([0.06, 0.07]))


def test_clipping_takes_each_filter_for_itself() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2, 3, 3))
    weight.grad = torch.stack([torch.full((2, 3, 3), 1.0), torch.full((2, 3, 3), 1e-4)])
    clip_gradients([("x.weight", weight)], 1e-3)
    torch.testing.assert_close(weight.grad, torch.stack([torch.full((2, 3, 3), 1e-3), torch.full((2, 3, 3), 1e-4)]))


def test_only_convolutions_decay_and_only_in_the_first_step() -> None:
    model = Network(SMALL, Variant())
    for step, decay in (("Qa", 5e-6), ("Qaw", 0.0)):
        (adam,) = make_optimizers(model, step, OPTIONS)
        groups = adam.param_groups
        assert [group["weight_decay"] for group in groups] == [decay, 0.0]
        assert {id(p) for p in groups[0]["params"]} == {
            id(p) for name, p in model.named_parameters() if name.endswith("weight") and p.ndim == 4
        }
        assert len(groups[0]["params"]) == 4
        assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_normalise_uses_the_variants_constants() -> None:
    images = DATA.test.images[:2]
    light = np.array([[0.1, 0.0, -0.1], [0.02, 0.05, 0.0]], np.float32)
    for variant in (Variant(), Variant(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))):
        expected = (images / 255.0 - variant.mean) / variant.std
        x = normalise(torch.from_numpy(images), variant)
        np.testing.assert_allclose(x.numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-4, atol=1e-5)
        expected += light[:, None, None, :] / np.array(variant.std)
        x = normalise(torch.from_numpy(images), variant, light=torch.from_numpy(light), dtype=torch.float64)
        np.testing.assert_allclose(x.numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-6, atol=1e-6)


def test_the_loss_with_labels_and_with_probabilities() -> None:
    logits, soft = torch.randn(3, 4), torch.softmax(torch.randn(3, 4), 1)
    labels = torch.tensor([2, 0, 3])
    log = torch.log_softmax(logits, 1)
    torch.testing.assert_close(summed_loss(logits, labels), -log[torch.arange(3), labels].sum())
    # Eq. 3: the mean over the batch of the sum over classes; here the sum over both.
    torch.testing.assert_close(summed_loss(logits, soft), -(soft * log).sum())


def test_a_run_writes_a_model_that_predicts_as_it_says(tmp_path: Path) -> None:
    metadata = run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "model.pt", "model_qa.pt", "resume.pt"]
    loaded = checkpoint.load(tmp_path / "model.pt", "small")
    assert loaded.metadata == {"network": "small", "image": 32, "stem_stride": 2} | metadata
    assert loaded.structure == SMALL
    assert loaded.variant == Variant("Qaw", 0.25, "pow2")
    assert (metadata["seed"], metadata["chosen"], metadata["epoch"]) == (2023, "last epoch", 2)
    model = Network(SMALL, loaded.variant)
    model.load(loaded.tensors)
    logits = predict(model, DATA.test.images)
    assert accuracy(logits, DATA.test.labels) == metadata["test_top1"] == top1(model, DATA.test, Ranks())

    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(record["step"], record["epoch"]) for record in log] == [("Qa", 1), ("Qa", 2), ("Qaw", 1), ("Qaw", 2)]
    assert [record["rate"] for record in log] == [2e-3, 1e-3, 2e-3, 1e-3]
    assert log[-1]["test_top1"] == metadata["test_top1"]
    assert set(log[0]) == {"step", "epoch", "rate", "train_loss", "train_top1", "seconds", "test_top1"}
    first = checkpoint.load(tmp_path / "model_qa.pt", "small")
    assert first.variant.step == "Qa"
    assert first.metadata["test_top1"] == log[1]["test_top1"]


def assert_equal_models(one: Path, two: Path) -> None:
    first, second = tensors_of(one / "model.pt"), tensors_of(two / "model.pt")
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key], err_msg=key)


@pytest.mark.parametrize("stop", [1, 2, 3])
@pytest.mark.parametrize("validation", [0, 10])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, stop: int, validation: int) -> None:
    options = replace(OPTIONS, validation=validation)
    whole = run(tmp_path / "whole", options)
    assert run(tmp_path / "parts", options, stop_after=stop) is None
    assert not (tmp_path / "parts" / "model.pt").exists()
    assert run(tmp_path / "parts", options, resume=True) == whole
    assert_equal_models(tmp_path / "whole", tmp_path / "parts")


MUON = replace(
    OPTIONS, epochs_qa=0, epochs_qaw=4, optimizer="muon", cooldown=0.5, shift=2, flips="alternate", sides="16x1,24x1"
)


def test_a_run_stopped_within_an_epoch_goes_on_from_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(tmp_path / "whole", MUON)
    step, steps = torch.optim.Adam.step, []

    def interrupted_step(self: torch.optim.Adam, *args: object) -> object:
        steps.append(1)
        if len(steps) == 5:  # the second batch of three of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", interrupted_step)
        with pytest.raises(Stopped, match="stopped by SIGTERM") as stop:
            run(tmp_path / "parts", MUON, copies=[tmp_path / "copy"])
    assert stop.value.signum == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    saved = checkpoint.load_file(tmp_path / "copy" / "resume.pt")
    assert (saved["epoch"], saved["batch"], saved["sums"][2]) == (1, 2, 32)
    assert run(tmp_path / "copy", MUON, resume=True) == whole
    assert_equal_models(tmp_path / "whole", tmp_path / "copy")
    one, two = ((tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "copy"))
    for first, second in zip(map(json.loads, one), map(json.loads, two), strict=True):
        assert first | {"seconds": 0} == second | {"seconds": 0}


def test_a_finished_run_goes_on_to_more_epochs_from_before_its_rates_fell(tmp_path: Path) -> None:
    longer = replace(MUON, epochs_qaw=6)
    whole = run(tmp_path / "whole", longer)
    run(tmp_path / "parts", MUON)
    assert run(tmp_path / "parts", longer, resume=True) == whole
    assert_equal_models(tmp_path / "whole", tmp_path / "parts")
    with pytest.raises(ValueError, match="it ran for 6 epochs of Qaw; a run can grow, not shrink"):
        run(tmp_path / "parts", MUON, resume=True)

    falling = replace(MUON, cooldown=1.0)
    run(tmp_path / "falling", falling)
    with pytest.raises(ValueError, match="rates fell from the start"):
        run(tmp_path / "falling", replace(falling, epochs_qaw=6), resume=True)


def test_rates_stay_and_then_fall() -> None:
    linear = replace(MUON, epochs_qaw=8)
    assert linear.constant_epochs("Qaw") == 4
    assert [linear.rate_factor("Qaw", epochs) for epochs in (0, 3.5, 4, 5, 8)] == [1, 1, 1, 0.75, 0]
    cosine = replace(linear, fall="cosine")
    np.testing.assert_allclose([cosine.rate_factor("Qaw", e) for e in (0, 4, 6, 8)], [1, 1, 0.5, 0], atol=1e-9)
    for wrong in ({"cooldown": 0.0}, {"fall": "x"}, {"sides": "16"}, {"sides": "0x2"}, {"optimizer": "sgd"}):
        with pytest.raises(ValueError, match=r"cooldown|fall|sides|optimizer"):
            replace(OPTIONS, **wrong)


def test_images_of_the_first_epochs_are_shrunk() -> None:
    assert [MUON.side(epoch) for epoch in range(4)] == [16, 24, None, None]
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert shrunk(x, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert shrunk(x, None) is x


def test_compiled_and_eager_runs_have_the_same_losses(tmp_path: Path) -> None:
    losses = []
    for compiled in (False, True):
        options = replace(MUON, epochs_qaw=1, sides="", compile=compiled, batch_size=20)
        run(tmp_path / str(compiled), options)
        losses.append(json.loads((tmp_path / str(compiled) / "log.jsonl").read_text())["train_loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_the_rate_falls_with_every_batch_and_the_epochs_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates, seeds = [], []
    step, batches = torch.optim.Adam.step, ArrayImages.batches

    def counted_step(self: torch.optim.Adam, *args: object) -> object:
        rates.append(self.param_groups[1]["lr"])
        return step(self, *args)

    def seen_batches(
        self: ArrayImages, size: int, ranks: Ranks, seed: tuple[int, ...] | None = None, first: int = 0
    ) -> object:
        if seed is not None:
            seeds.append(seed)
        return batches(self, size, ranks, seed, first=first)

    monkeypatch.setattr(torch.optim.Adam, "step", counted_step)
    monkeypatch.setattr(ArrayImages, "batches", seen_batches)
    run(tmp_path)
    np.testing.assert_allclose(rates, 2 * [2e-3 * (1 - k / 6) for k in range(6)])
    assert seeds == [(2023, 0, 0), (2023, 0, 1), (2023, 1, 0), (2023, 1, 1)]


def test_the_best_held_out_epoch_is_kept(tmp_path: Path) -> None:
    options = replace(OPTIONS, epochs_qa=0, epochs_qaw=6, validation=15, rate=2e-2)
    metadata = run(tmp_path, options)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    best = max(log, key=lambda record: record["validation_top1"])
    assert best["epoch"] < 6, "the last epoch being the best would prove nothing: take another seed"
    assert metadata["chosen"] == "best of 15 held-out training images"
    assert (metadata["epoch"], metadata["test_top1"]) == (best["epoch"], best["test_top1"])
    loaded = checkpoint.load(tmp_path / "model.pt", "small")
    model = Network(SMALL, loaded.variant)
    model.load(loaded.tensors)
    held = hold_out(DATA.train, 15, 2023)[1]
    assert top1(model, held, Ranks()) == best["validation_top1"]
    assert top1(model, DATA.test, Ranks()) == best["test_top1"]


def test_held_out_images_are_drawn_by_the_seed_and_not_trained_on() -> None:
    rest, held = hold_out(DATA.train, 15, 1)
    pixels = np.concatenate([rest.images, held.images]).reshape(40, -1)
    assert (len(rest.labels), len(held.labels)) == (25, 15)
    assert len(np.unique(pixels, axis=0)) == 40
    np.testing.assert_array_equal(hold_out(DATA.train, 15, 1)[1].images, held.images)
    assert not np.array_equal(hold_out(DATA.train, 15, 2)[1].images, held.images)
    assert hold_out(DATA.train, 0, 1) == (DATA.train, None)
    with pytest.raises(ValueError, match="40 images held out leave nothing of 40"):
        hold_out(DATA.train, 40, 1)


def test_one_step_alone_and_from_anothers_result(tmp_path: Path) -> None:
    run(tmp_path / "both")
    first = run(tmp_path / "qa", replace(OPTIONS, epochs_qaw=0))
    assert first["step"] == "Qa"
    loaded = checkpoint.load(tmp_path / "qa" / "model.pt", "small")
    run(tmp_path / "qaw", replace(OPTIONS, epochs_qa=0, init="x"), init=loaded.tensors)
    one, two = (tensors_of(tmp_path / name / "model.pt") for name in ("both", "qaw"))
    for key, value in one.items():
        np.testing.assert_array_equal(value, two[key], err_msg=key)


def test_ablations_reach_the_network(tmp_path: Path) -> None:
    run(tmp_path, replace(OPTIONS, alpha=0.125, form="paper", slope=-7, scales="free", epochs_qa=0))
    loaded = checkpoint.load(tmp_path / "model.pt", "small")
    assert loaded.variant == Variant("Qaw", 0.125, "free", "paper")
    for name, tensor in loaded.tensors.items():
        if name.endswith("l_alpha"):
            assert (tensor == -7).all()


def test_clipping_spares_the_head(tmp_path: Path) -> None:
    options = replace(OPTIONS, epochs_qa=0, epochs_qaw=1, scales="free")
    run(tmp_path / "start", replace(options, rate=1e-30))
    run(tmp_path / "clipped", replace(options, agc=1e-15))
    start, clipped = (tensors_of(tmp_path / name / "model.pt") for name in ("start", "clipped"))
    for name, tensor in start.items():
        assert np.allclose(tensor, clipped[name], rtol=0, atol=1e-6) != name.startswith("head."), name


def test_lighting_reaches_the_network(tmp_path: Path) -> None:
    class Lit(ArrayImages):
        def _load(self, *args: object) -> object:
            for images, _ in super()._load(*args):
                yield images, torch.tensor([[0.5, -0.3, 0.1]]).expand(len(images), 3)

    options = replace(OPTIONS, epochs_qa=0, epochs_qaw=1)
    for name, kind in (("dark", ArrayImages), ("lit", Lit)):
        images = kind(DATA.train.images, DATA.train.labels)
        train(SMALL, DATA._replace(train=images), tmp_path / name, options, report=str)
    dark, lit = (json.loads((tmp_path / name / "log.jsonl").read_text()) for name in ("dark", "lit"))
    assert abs(dark["train_loss"] - lit["train_loss"]) > 1e-3


def test_a_teacher_is_followed(tmp_path: Path) -> None:
    """A teacher that is sure of one class for all images makes a student that says so."""

    class Teacher(torch.nn.Module):
        def forward(self, x: "torch.Tensor") -> "torch.Tensor":
            assert x.shape[1:] == (3, 32, 32)
            return torch.nn.functional.one_hot(torch.full((len(x),), 7), 10) * 20.0

    options = replace(OPTIONS, rate=2e-2, teacher="x", epochs_qa=0, epochs_qaw=6)
    run(tmp_path, options, teacher=Teacher())
    model = Network(SMALL, Variant(scales="pow2"))
    model.load(tensors_of(tmp_path / "model.pt"))
    assert (predict(model, DATA.test.images).argmax(1) == 7).mean() > 0.8


def test_the_second_step_starts_from_the_first_ones_result(tmp_path: Path) -> None:
    options = replace(OPTIONS, rate=1e-12)
    for epochs_qa, name in ((2, "two"), (0, "one")):
        run(tmp_path / name, replace(options, epochs_qa=epochs_qa, epochs_qaw=1))
    one, two = (tensors_of(tmp_path / name / "model.pt") for name in ("one", "two"))
    for key, value in one.items():
        np.testing.assert_allclose(value, two[key], atol=1e-9, err_msg=key)


def test_it_learns(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 256)
    # Stripes along or across: standardized filters have mean 0, and would not see a difference in brightness.
    stripes = 100 * (np.arange(32) // 2 % 2)
    stripes = np.where(labels[:, None, None] == 0, stripes[:, None], stripes[None, :])
    images = random.integers(0, 50, (256, 32, 32, 3)) + stripes[..., None]
    stripes = ArrayImages(images.astype(np.uint8), labels)
    data = DataSet("stripes", stripes, stripes, 2)
    options = replace(OPTIONS, epochs_qa=6, epochs_qaw=6, rate=2e-2)
    metadata = train(SMALL, data, tmp_path, options, report=str)
    assert metadata is not None
    assert metadata["test_top1"] > 95


def test_a_resume_file_of_something_else_is_refused(tmp_path: Path) -> None:
    run(tmp_path, stop_after=1)
    saved = checkpoint.load_file(tmp_path / "resume.pt")
    other = member("small", (4, 8), (1, 1), stem=STRIDED_STEM)
    with pytest.raises(ValueError, match="another network"):
        train(other, DATA, tmp_path, OPTIONS, resume=True)
    with pytest.raises(ValueError, match="seed 2023, not 1"):
        run(tmp_path, replace(OPTIONS, seed=1), resume=True)
    with pytest.raises(ValueError, match="no such file"):
        run(tmp_path / "empty", resume=True)
    assert not (tmp_path / "empty").exists()
    for damage in (
        {"state": {}},
        {"optimizers": []},
        {"batch": None},
        {"options": {}},
        {"step": "Qx"},
        {"epoch": "1"},
        {"log": None},
        {"best_state": {}},
        {"best": 3},
    ):
        torch.save(saved | damage, tmp_path / "resume.pt")
        with pytest.raises(ValueError, match=r"resume\.pt: not a file to resume from"):
            run(tmp_path, resume=True)


# With a rate of all but 0 the weights stay, so that gradients of all batches can be compared.
STILL = replace(OPTIONS, rate=1e-9, agc=1e9, bfloat16=False)
RANKS_SCRIPT = """
import sys
from pathlib import Path
import torch
from test_train_recipe import OPTIONS, SMALL, STILL, UNEVEN
from abbnn.train.ranks import joined
from abbnn.train.recipe import Run

with joined("cpu") as ranks:
    for name, options in (("still", STILL), ("moving", OPTIONS)):
        out = Path(sys.argv[1]) / name
        run = Run(SMALL, UNEVEN, [out], options, None, ranks, print)
        run.start(None, False)
        run.finish(None)
        torch.save(run.model.state_dict(), out / f"rank{ranks.rank}.pt")
"""


def test_two_processes_agree_and_learn_what_one_does(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(RANKS_SCRIPT)
    search = os.pathsep.join([*paths.search_path(), os.environ.get("PYTHONPATH", "")])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    two = tmp_path / "two"
    done = subprocess.run(
        [*torchrun, str(tmp_path / "script.py"), str(two)],
        env=os.environ | {"PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("seed 2023") == 2, "one process talks, once a run"
    for name in ("still", "moving"):
        first, second = (torch.load(two / name / f"rank{rank}.pt") for rank in (0, 1))
        assert all(torch.equal(first[key], second[key]) for key in first)
        assert checkpoint.load(two / name / "model.pt", "small").structure == SMALL

    one = tmp_path / "one"
    train(SMALL, UNEVEN, one, STILL, report=str)
    logs = [[json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()] for out in (one, two / "still")]
    for alone, shared in zip(*logs, strict=True):
        for key in ("train_loss", "train_top1", "test_top1"):
            assert shared[key] == pytest.approx(alone[key], rel=1e-5), key
    moments = [torch.load(out / "resume.pt")["optimizers"][0]["state"] for out in (one, two / "still")]
    for alone, shared in zip(*(moment.values() for moment in moments), strict=True):
        largest = float(alone["exp_avg"].abs().max())
        torch.testing.assert_close(shared["exp_avg"], alone["exp_avg"], rtol=0, atol=1e-4 * largest)
