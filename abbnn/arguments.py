"""Types of arguments, for every parser: what is wrong with a value is said in words of the user."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Whole numbers of `least` to `most`, which None leaves open.

    >>> whole(1)("12")
    12
    """
    wanted = f"a whole number from {least} {'up' if most is None else f'to {most}'}"

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is not {wanted}") from None
        if value < least or (most is not None and value > most):
            raise ArgumentTypeError(f"{value} is not {wanted}")
        return value

    return read


def positive(most: float = math.inf) -> Callable[[str], float]:
    """Numbers above 0 and up to `most`; never infinite.

    >>> positive(1)("0.5")
    0.5
    """
    wanted = "a number above 0" + ("" if most == math.inf else f" and up to {most:g}")

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value <= most or value == math.inf:
            raise ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return read
