"""Where the package's own files are, and where what is built goes.

A checkout holds the parts of the package as top-level folders, and `abbnn/` links to them; an installed package holds
them itself. Both are found through this module alone.
"""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent if (PACKAGE / "golden").is_symlink() else None
"""The root of the checkout that this package is imported from; None if it is installed."""

RTL = (PACKAGE / "rtl").resolve()
SOC = (PACKAGE / "soc").resolve()
TB = (PACKAGE / "tb").resolve()
MODELS = (PACKAGE / "models").resolve()

BUILD = Path(os.environ.get("ABBNN_BUILD") or (CHECKOUT or Path.cwd()) / "build").resolve()
"""Everything that is made and can be made again: ABBNN_BUILD, or build/ in the checkout or the current folder."""


def search_path() -> list[str]:
    """What PYTHONPATH must hold for another process to import this package, and in a checkout its tests' helpers."""
    root = str(PACKAGE.parent)
    return [root, str(PACKAGE.parent / "tests")] if CHECKOUT else [root]
