"""Tables on a terminal, alike in all commands; lines for a program."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def grid(*headings: str) -> "Table":
    """An empty table with these headings."""
    from rich.table import Table

    made = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for column in made.columns:
        column.overflow = "fold"
    return made


def show(made: "Table") -> None:
    """For a person as wide as the terminal; for a program, a line a row."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 10_000, highlight=False, markup=False).print(made)
