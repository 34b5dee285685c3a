"""Tables for a terminal, a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table


def new_table(title: str | None, columns: Sequence[str], *, texts: int = 1) -> Table:
    """Without rows yet. `texts`: how many columns from the left are no numbers."""
    result = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        result.add_column(column, justify="left" if index < texts else "right", no_wrap=True)
    return result


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> str:
    """The same in Markdown, without an end of line."""
    alignment = ["---" if index < texts else "---:" for index in range(len(columns))]
    head, *body = (f"| {' | '.join(row)} |" for row in (columns, *rows))
    return "\n".join([head, f"|{'|'.join(alignment)}|", *body])


def console(columns: int = 120) -> Console:
    """As wide as the terminal, or of so many columns where there is none."""
    return Console(width=None if sys.stdout.isatty() else columns)
