"""A look at a table before and after the policy, for who writes the policy: some rows, side by side.

What belongs here: reading those rows and laying them out. What does not: the command, which shows them on a terminal
alone. They are written nowhere. Withheld columns are not read for this either, and pseudonyms are made by a key that is
forgotten at once, so that nothing on the screen undoes those of published extracts.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.errors import NotATerminalError
from ds_pipelines.extract import source
from ds_pipelines.extract.fitting import fitted
from ds_pipelines.extract.masking import Masker
from ds_pipelines.extract.pseudonyms import SECRET_BYTES, Pseudonyms
from ds_pipelines.extract.transform import transform

if TYPE_CHECKING:
    from rich.console import Console

    from ds_pipelines.extract.policy import Policy, TablePolicy
    from ds_pipelines.settings import Settings

ROWS = 20
BATCH_BYTES = 1 << 16
"""Small: the rest of the table is never sent."""
LONGEST = 40
"""Characters of a value that are shown."""
PAIR_WIDTH = 44
"""Characters of the terminal that a column takes, before and after."""


@dataclass(frozen=True)
class Preview:
    """The same rows as production has them and as the extract would. Holds personal data: show it, keep it nowhere."""

    table: TablePolicy
    before: pl.DataFrame
    after: pl.DataFrame


def require_terminal(console: Console, command: str) -> None:
    """Refuses to show real rows to a pipe or a file.

    Raises:
        NotATerminalError: the output goes elsewhere than to a terminal.
    """
    if not console.file.isatty():
        raise NotATerminalError(command)


def preview(policy: Policy, table: str, settings: Settings, *, rows: int = ROWS) -> Preview:
    """Some rows of a table, before and after the policy, in production's own order.

    Raises:
        UndeclaredTableError: the policy does not name the table.
        The errors of `source`.
    """
    with source.connect("extract", settings) as session:
        readable = session.readable(policy, table)
        before = next(session.batches(readable, batch_bytes=BATCH_BYTES), pl.DataFrame(schema=readable.dtypes)).head(
            rows
        )
        decisions = fitted(policy, readable, session, settings, keep=False)
        masker = Masker.of(policy, readable, session)
    pseudonyms = Pseudonyms(secrets.token_bytes(SECRET_BYTES))
    after = transform(before, decisions, pseudonyms, zone=settings.zone, masker=masker)
    return Preview(readable.policy, before, after)


def show(shown: Preview, console: Console) -> None:
    """Prints a preview: as many columns side by side as fit, then the next ones, then what is withheld and why."""
    from rich.markup import escape
    from rich.table import Table

    columns = list(shown.table.visible)
    fitting = max(1, console.width // PAIR_WIDTH)
    for start in range(0, len(columns), fitting):
        grid = Table(title=f"{escape(shown.table.name)}, columns {start + 1} to {min(start + fitting, len(columns))}")
        for name in columns[start : start + fitting]:
            label = escape(shown.table.columns[name].treatment.label)
            grid.add_column(f"{escape(name)}\nbefore", overflow="fold", style="red")
            grid.add_column(f"{label}\nafter", overflow="fold", style="green")
        for row in range(shown.before.height):
            cells = [
                _cell(frame[name][row])
                for name in columns[start : start + fitting]
                for frame in (shown.before, shown.after)
            ]
            grid.add_row(*cells)
        console.print(grid)
    for name, decision in shown.table.withheld.items():
        console.print(f"[bold]{escape(name)}[/] is not read ({escape(decision.treatment.label)}): "
                      f"{escape(decision.because)}", highlight=False)  # fmt: skip
    console.print("Pseudonyms are of a key made for this look alone; published ones differ.")


def _cell(value: object) -> str:
    """A value as it is shown; control characters would act on the terminal."""
    from rich.markup import escape

    if value is None:
        return "[dim]null[/]"
    text = "".join(char if char.isprintable() else "·" for char in str(value)[: LONGEST + 1])
    return escape(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")
