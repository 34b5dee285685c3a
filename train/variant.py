"""What a checkpoint's tensors mean beyond their shapes: alpha, scales, step, the activation's form, normalisation.

An official checkpoint says nothing of this; the defaults are the official code's. NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from abbnn.errors import UserError

Step = Literal["Qa", "Qaw"]
STEPS: tuple[Step, ...] = get_args(Step)
Scales = Literal["pow2", "free"]
Form = Literal["code", "paper"]

ALPHA = 0.25
# The official code normalises CIFAR images, too, with ImageNet's constants.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Variant:
    """How the tensors of a structure are used.

    step     "Qa" binarizes activations only, "Qaw" weights too
    alpha    factor of every binary convolution
    scales   "pow2": alpha * gain * mean|w| is rounded to a power of two a filter; "free": it is not
    form     of bias, QPReLU, bias on y: "code" is QPReLU(y + bias1) + bias2, "paper" is Eq. 8,
             y >= 0 ? y : slope * (y + bias1) + bias2
    mean, std    of the colours, pixels from 0 to 1
    """

    step: Step = "Qaw"
    alpha: float = ALPHA
    scales: Scales = "free"
    form: Form = "code"
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    def __post_init__(self) -> None:
        for key, choices in (("step", STEPS), ("scales", get_args(Scales)), ("form", get_args(Form))):
            if getattr(self, key) not in choices:
                raise UserError(f"{key} is {getattr(self, key)!r}; there are {' and '.join(choices)}")
        if not _is_number(self.alpha) or not 0.0 < self.alpha < math.inf:
            raise UserError(f"alpha is {self.alpha!r}; it must be positive and finite")
        for key, low in (("mean", 0.0), ("std", 1e-3)):
            values = getattr(self, key)
            if len(values) != 3 or not all(_is_number(value) and low <= value <= 1.0 for value in values):
                raise UserError(f"{key} {values!r} is not that of three colours from 0 to 1")

    def beta(self, variance_steps: int) -> float:
        """The factor in front of a sign: 1 / sqrt of the variance that its input has by design."""
        return float((1.0 + variance_steps * self.alpha**2) ** -0.5)

    def to_dict(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @staticmethod
    def from_metadata(metadata: Mapping[str, Any]) -> Variant:
        """What `metadata` says, the official code's where it says nothing. ValueError names what is wrong."""
        known = {field.name: metadata[field.name] for field in fields(Variant) if field.name in metadata}
        for key in ("mean", "std"):
            if key in known:
                if not isinstance(known[key], (list, tuple)):
                    raise UserError(f"{key} {known[key]!r} is not that of three colours from 0 to 1")
                known[key] = tuple(known[key])
        return Variant(**known)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
