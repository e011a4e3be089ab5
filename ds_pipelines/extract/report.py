"""The privacy report: one page an extract, for the people who answer for it.

What belongs here: the page and its plots. What does not: what is proved and measured. The page holds counts, shares and
names of columns, never a value. It stands alone: nothing is fetched when it is opened.
"""

from __future__ import annotations

import html
import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ds_pipelines.extract.proofs import PROOFS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from ds_pipelines.extract.anonymity import Anonymity
    from ds_pipelines.extract.policy import TablePolicy
    from ds_pipelines.extract.proofs import Proofs
    from ds_pipelines.settings import Settings

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Privacy report: {title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 60em; margin: 2em auto; padding: 0 1em }}
h1 {{ font-size: 1.5em }} h2 {{ font-size: 1.1em; margin-top: 1.6em }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .3em .8em .3em 0; border-bottom: 1px solid #ddd }}
.held {{ color: #176b3a }} .failed {{ color: #a31515; font-weight: bold }} small {{ color: #666 }}
svg {{ max-width: 100%; height: auto }}
</style>
<h1>Privacy report: {title}</h1>
<p>{verdict}</p>
<p><small>Pseudonymised data is still personal data. This page says what was proved of it, and measured.</small></p>
<h2>Proofs</h2><table><tr><th>Proof</th><th></th><th>Found</th></tr>{proofs}</table>
{plots}
<h2>What became of the columns</h2><table><tr><th>Column</th><th>Treatment</th><th>Why</th></tr>{columns}</table>
</html>
"""


def write(
    proved: Proofs, table: TablePolicy, rows: Mapping[date, int], anonymity: Anonymity | None, settings: Settings
) -> Path:
    """Writes the report of an extract, in place of an earlier one of the same last day.

    Args:
        proved: What was proved, or failed.
        table: The decisions about the table.
        rows: How many rows each day has.
        anonymity: What was counted of the quasi-identifiers, if there are any.
        settings: Where reports lie.
    """
    folder = settings.home / "reports" / table.name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{proved.last}.html"
    descriptor, draft = tempfile.mkstemp(dir=folder, suffix=".draft")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_page(proved, table, rows, anonymity))
    Path(draft).replace(path)
    return path


def _page(proved: Proofs, table: TablePolicy, rows: Mapping[date, int], anonymity: Anonymity | None) -> str:
    days = str(proved.last) if proved.first == proved.last else f"{proved.first} to {proved.last}"
    failed = ", ".join(proved.failed)
    verdict = (
        f'<span class="failed">Not published: {html.escape(failed)} failed.</span>'
        if failed
        else f'<span class="held">Published: every proof holds.</span> {proved.rows:,} rows.'
    )
    plots = [("Rows by day", _by_day(rows))] if len(rows) > 1 else []
    if anonymity is not None and anonymity.classes.height:
        plots.append((f"Persons who share {', '.join(anonymity.columns)}", _classes(anonymity)))
    return _PAGE.format(
        title=html.escape(f"{table.name}, {days}"),
        verdict=verdict,
        proofs="".join(
            f"<tr><td><b>{html.escape(proof.name)}</b><br><small>{html.escape(PROOFS[proof.name])}</small></td>"
            f'<td class="{"held" if proof.passed else "failed"}">{"holds" if proof.passed else "fails"}</td>'
            f"<td>{html.escape(proof.found)}.</td></tr>"
            for proof in proved.proofs
        ),
        plots="".join(f"<h2>{html.escape(title)}</h2>{svg}" for title, svg in plots),
        columns="".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(column.treatment.label)}</td>"
            f"<td>{html.escape(column.because)}</td></tr>"
            for name, column in table.columns.items()
        ),
    )


def _by_day(rows: Mapping[date, int]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.2), layout="constrained")
    axes = figure.subplots()
    days = sorted(rows)
    axes.fill_between(days, [rows[day] for day in days], step="mid", color="#3b6ea5")  # type: ignore[arg-type]
    axes.set_ylim(bottom=0)
    axes.set_ylabel("rows")
    return _svg(figure)


def _classes(anonymity: Anonymity) -> str:
    import numpy as np
    from matplotlib.figure import Figure

    sizes = anonymity.classes["persons"].to_numpy()
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axes = figure.subplots()
    edges = np.unique(np.geomspace(1, max(sizes.max(), 2) + 1, 30).astype(int)).tolist()
    axes.hist(sizes, bins=edges, weights=sizes, color="#3b6ea5")
    axes.axvline(anonymity.k, color="#a31515", label=f"k = {anonymity.k}: to the left all is blanked")
    axes.set_xscale("log")
    axes.set_xlabel("persons who share a combination")
    axes.set_ylabel("persons")
    axes.legend(frameon=False)
    return _svg(figure)


def _svg(figure: object) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)  # noqa: S101 — matplotlib is imported where it is used
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "ds_pipelines", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    drawn = buffer.getvalue()
    return drawn[drawn.index("<svg") :]
