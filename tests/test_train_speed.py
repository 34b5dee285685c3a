"""`abbnn speed`: every path that this machine has, timed."""

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from abbnn.golden.structure import STRIDED_STEM, member  # noqa: E402
from abbnn.train import speed  # noqa: E402
from abbnn.train.recipe import PRESETS, TrainOptions  # noqa: E402

SMALL = member("small", (4, 6), (1, 1), stem=STRIDED_STEM)


def test_the_eager_path_is_always_there_and_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    (eager,) = speed.measure(SMALL, TrainOptions(batch_size=8))
    assert eager.path == "eager"
    assert eager.batch_seconds > 0
    assert eager.epoch_seconds == pytest.approx(eager.batch_seconds * 50_000 / 8)
    operations = 6 * 8 * (SMALL.binary_macs + SMALL.stem_macs)
    assert eager.teraflops == pytest.approx(operations / eager.batch_seconds / 1e12)


def test_the_paths_differ_in_what_they_are_called_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed.binary_conv, "compiler", lambda: "g++")
    monkeypatch.setattr(speed.binary_conv, "available", lambda: True)
    monkeypatch.setattr(speed, "fast_bfloat16", lambda device: False)
    chosen = speed.paths(PRESETS["quick"])
    assert {path: (o.compile, o.byte_gradients) for path, o in chosen.items()} == {
        "eager": (False, False),
        "compiled": (True, False),
        "compiled, 8-bit gradients": (True, True),
    }
