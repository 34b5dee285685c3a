"""Tables for a terminal, a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


def new_table(title: str | None, columns: Sequence[str], *, texts: int = 1) -> Table:
    """Without rows yet. `texts`: how many columns from the left are no numbers."""
    result = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        result.add_column(column, justify="left" if index < texts else "right", no_wrap=True)
    return result


def console(columns: int = 120) -> Console:
    """As wide as the terminal, or of so many columns where there is none."""
    return Console(width=None if sys.stdout.isatty() else columns)
