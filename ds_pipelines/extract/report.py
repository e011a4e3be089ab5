"""The privacy report: one page an extract, for the people who answer for it.

What belongs here: the page and its plots. What does not: what is proved and measured. The page holds counts, shares and
names of columns, never a value. It stands alone: nothing is fetched when it is opened.
"""

from __future__ import annotations

import html
import os
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ds_pipelines.extract.proofs import PROOFS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from ds_pipelines.evidence import ResidualRisk
    from ds_pipelines.extract.anonymity import Anonymity
    from ds_pipelines.extract.policy import TablePolicy
    from ds_pipelines.extract.proofs import Proof, Proofs
    from ds_pipelines.settings import Settings

_WIDTH, _HEIGHT = 800, 160
_LABELLED = 5
"""Up to so many bars each have their words below them; of more, the first and the last."""
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


@dataclass(frozen=True)
class Measured:
    """What was counted and measured of an extract, for its plots."""

    rows: Mapping[date, int]
    """How many rows each day has."""
    anonymity: Anonymity | None
    """What was counted of the quasi-identifiers, if there are any."""
    residual: ResidualRisk | None
    """What masking free text misses, if there is any."""


def write(proved: Proofs, table: TablePolicy, measured: Measured, settings: Settings) -> Path:
    """Writes the report of an extract, in place of an earlier one of the same last day.

    Args:
        proved: What was proved, or failed.
        table: The decisions about the table.
        measured: What was counted and measured.
        settings: Where reports lie.
    """
    folder = settings.home / "reports" / table.name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{proved.last}.html"
    descriptor, draft = tempfile.mkstemp(dir=folder, suffix=".draft")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_page(proved, table, measured))
    Path(draft).replace(path)
    return path


def _page(proved: Proofs, table: TablePolicy, measured: Measured) -> str:
    rows, anonymity = measured.rows, measured.anonymity
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
            f'<td class="{"held" if proof.passed else "failed"}">{_word(proof)}</td>'
            f"<td>{html.escape(proof.found)}.</td></tr>"
            for proof in proved.proofs
        ),
        plots="".join(f"<h2>{html.escape(title)}</h2>{svg}" for title, svg in plots) + _risk(table, measured.residual),
        columns="".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(column.treatment.label)}</td>"
            f"<td>{html.escape(column.because)}</td></tr>"
            for name, column in table.columns.items()
        ),
    )


def _risk(table: TablePolicy, residual: ResidualRisk | None) -> str:
    """What is left in free text, as a table: of the source's own persons, by how somebody writes their names."""
    if residual is None:
        return ""
    lines = "".join(
        f"<tr><td>{html.escape(each.written_as)}</td><td>{'' if each.own is None else f'{each.own:.1%}'}</td>"
        f"<td>{each.others:.1%}</td></tr>"
        for each in residual.recall
    )
    return (
        f"<h2>What masking finds in {html.escape(', '.join(table.masked))}</h2>"
        f"<p>{residual.persons} persons of the source were written into sentences in every spelling. Of 1,000 of "
        f"{residual.ordinary_words:,} ordinary words, {residual.masked_per_thousand:.2f} are masked. Whom the source "
        "does not know, nothing finds by name.</p>"
        f"<table><tr><th>Written as</th><th>Masked in their own row</th><th>Anywhere</th></tr>{lines}</table>"
    )


def _word(proof: Proof) -> str:
    if not proof.passed:
        return "fails"
    return "informs" if proof.name == "over_time" else "holds"


def _by_day(rows: Mapping[date, int]) -> str:
    return _bars([(str(day), rows[day]) for day in sorted(rows)])


def _classes(anonymity: Anonymity) -> str:
    """Persons by how many share their combination: below k, up to twice k, and so on."""
    sizes, k = anonymity.classes["persons"], anonymity.k
    edges = [0, k]
    while edges[-1] <= max(sizes):
        edges.append(2 * edges[-1])
    return _bars(
        [
            (
                f"shared by {'fewer than ' + str(k) if not low else str(low) + ' to ' + str(high - 1)}",
                int(sizes.filter((sizes >= low) & (sizes < high)).sum()),
            )
            for low, high in pairwise(edges)
        ],
        marked=1,
    )


def _bars(bars: Sequence[tuple[str, int]], *, marked: int = 0) -> str:
    """Upright bars as SVG, the first `marked` of them in red; each tells its label and number when pointed at.

    Drawn by hand: to import a plotting library would take longer than to extract a day.
    """
    highest = max(count for _, count in bars) or 1
    width = _WIDTH / len(bars)
    drawn = []
    for number, (label, count) in enumerate(bars):
        height = _HEIGHT * count / highest
        box = f'x="{number * width:.1f}" y="{_HEIGHT - height:.1f}" width="{width * 0.9:.1f}" height="{height:.1f}"'
        colour = "#a31515" if number < marked else "#3b6ea5"
        drawn.append(f'<rect {box} fill="{colour}"><title>{html.escape(label)}: {count:,}</title></rect>')
    if len(bars) <= _LABELLED:
        words = [(f"{label}: {count:,}", (n + 0.45) * width, "middle") for n, (label, count) in enumerate(bars)]
    else:
        words = [(bars[0][0], 0.0, "start"), (bars[-1][0], float(_WIDTH), "end")]
    for label, place, anchor in words:
        drawn.append(f'<text x="{place:.1f}" y="{_HEIGHT + 18}" text-anchor="{anchor}">{html.escape(label)}</text>')
    drawn.append(f'<text x="{_WIDTH}" y="-8" text-anchor="end" fill="#666">highest: {highest:,}</text>')
    return f'<svg viewBox="0 -24 {_WIDTH} {_HEIGHT + 50}" font-size="13">{"".join(drawn)}</svg>'
