"""The verdict as one page of HTML: self-contained, in the order in which was judged, for a colleague.

What belongs here: laying out what a verdict holds. What does not: computing anything, and rows of data: a page holds
figures of at least ten rows each, because the verdict does.
"""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

from ds_pipelines.lab.measured import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ds_pipelines.evidence import Verdict

COLOURS = {"signal": "#1b7f5c", "no signal": "#a8562a", "undecided": "#8a6d00", "invalid": "#a02c3a"}
MARKS = {"holds": ("✓", "#1b7f5c"), "fails": ("✗", "#a02c3a"), "warns": ("!", "#8a6d00"), "unknown": ("?", "#6b7883")}
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#22303c;background:#fff;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.answer{display:inline-block;color:#fff;border-radius:.3rem;padding:.1rem .7rem;font-weight:700}
.words{font-size:1.1rem}table{border-collapse:collapse;width:100%}caption{text-align:left;color:#6b7883}
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #e6eaee;vertical-align:top}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}
img{max-width:100%}footer{color:#6b7883;margin-top:2rem}
"""


def report(verdict: Verdict, null: NDArray[np.float64]) -> str:
    """The page; `null` is what the verdict's figure draws beside it."""
    parts = [
        f"<h1>{escape(verdict.question)}</h1>",
        f'<p><span class="answer" style="background:{COLOURS[verdict.answer]}">{_answer(verdict)}</span></p>',
        f'<p class="words">{escape(verdict.words)}</p>',
        _section("1. Is the split valid, and does anything leak?", _checks(verdict)),
    ]
    if verdict.families:
        parts += [
            _section("2. Against dummy and simple baselines", _families(verdict)),
            _section("3. Is it more than chance?, 4. and how much?", _test(verdict, null)),
            *([_section("Which classes?", _classes(verdict))] if verdict.by_class else []),
            _section("5. Would more rows help?", _learning(verdict)),
            _section("6. For whom?", _subgroups(verdict)),
            _section("7. Do its values hold?", _calibration(verdict)),
        ]
    parts.append(_section("What it rests on, and what it cannot show", _list([*verdict.assumptions, *verdict.limits])))
    look = "not counted" if verdict.look is None else f"look {verdict.look}"
    parts.append(
        f"<footer>Held-out rows {escape((verdict.holdout or 'unnamed')[:12])}, {look}; seed {verdict.seed}. No figure "
        "on this page is of fewer than ten rows.</footer>"
    )
    title = escape(f"{verdict.answer}: {verdict.question}")
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _answer(verdict: Verdict) -> str:
    if verdict.answer == "undecided":
        return f"undecided: about {verdict.more_rows:,} rows more"
    leaking = "invalid: leakage" in verdict.words
    return "invalid: leakage" if leaking else verdict.answer


def _checks(verdict: Verdict) -> str:
    if not verdict.checks:
        return "<p>Nothing was looked for: the verdict was not given the training and held-out features.</p>"
    rows = []
    for check in verdict.checks:
        mark, colour = MARKS[check.standing]
        rows.append(
            f'<tr><td style="color:{colour};font-weight:700" title="{check.standing}">{mark}</td>'
            f"<td>{escape(check.name)}</td><td>{escape(check.words)}</td></tr>"
        )
    key = "✓ holds, ✗ fails, ! a warning, ? could not be looked at"
    return f"<table><caption>{key}</caption>{''.join(rows)}</table>"


def _families(verdict: Verdict) -> str:
    rows = [("always the same", "0.500", "")]
    rows += [(each.name, f"{each.auc:.3f}", "") for each in verdict.baselines]
    rows += [(each.name, f"{each.auc:.3f}", f"{each.low:.3f} to {each.high:.3f}") for each in verdict.families]
    note = "" if verdict.baselines else "<p>No simple baseline: the verdict was not given the training rows.</p>"
    return _table(("", NAMES[verdict.task], f"{100 * verdict.confidence:.3g} % interval"), rows) + note


def _test(verdict: Verdict, null: NDArray[np.float64]) -> str:
    from ds_pipelines.lab.plots import png, verdict_figure

    said = (
        f"p = {verdict.p:.2g}; the {verdict.permutations:,} permutations could show {verdict.resolution:.2g} at least, "
        f"and {verdict.level:.2g} counts. Effect: {verdict.effect:+.3f} above chance."
    )
    return f"<p>{said}</p>{_image(png(verdict_figure(verdict, null)), 'Chance, and the families')}"


def _classes(verdict: Verdict) -> str:
    from ds_pipelines.lab.plots import classes_figure, png

    rows = [
        (each.name, f"{each.rows:,}", f"{each.auc:.3f}", f"{each.low:.3f} to {each.high:.3f}")
        for each in verdict.by_class
    ]
    header = (f"{verdict.best}: class against the rest", "rows", "ROC AUC", "interval of each by itself")
    return _table(header, rows) + _image(png(classes_figure(verdict)), "Each class against the rest")


def _learning(verdict: Verdict) -> str:
    from ds_pipelines.lab.plots import learning_figure, png

    if not verdict.learning:
        return "<p>Not asked: <code>learning_curve={family: estimator}</code> refits it on growing shares.</p>"
    return _image(png(learning_figure(verdict)), "Learning curve")


def _subgroups(verdict: Verdict) -> str:
    if not verdict.subgroups:
        return "<p>Not asked: <code>subgroups=[column, …]</code> cuts the held-out rows.</p>"
    hidden = "hidden"
    rows = [
        (
            f"{each.column}: {each.value}",
            hidden if each.rows is None else f"{each.rows:,}",
            hidden if each.auc is None else f"{each.auc:.3f}",
            "" if each.low is None or each.high is None else f"{each.low:.3f} to {each.high:.3f}",
        )
        for each in verdict.subgroups
    ]
    header = ("", "rows", NAMES[verdict.task], "99 % interval of each by itself")
    return (
        _table(header, rows)
        + "<p>Cells under ten rows (or of a class) are hidden. Of many cells, some look odd by chance.</p>"
    )


def _calibration(verdict: Verdict) -> str:
    from ds_pipelines.lab.plots import calibration_figure, png

    if not verdict.calibration:
        return "<p>A ranking's scores promise nothing, or there are too few rows to say.</p>"
    return _image(png(calibration_figure(verdict)), "What was said, and what came true")


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>"


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...], tag: str) -> str:
        first = f"<{tag}>{escape(cells[0])}</{tag}>"
        return first + "".join(f'<{tag} class="number">{escape(cell)}</{tag}>' for cell in cells[1:])

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<table><tr>{line(header, 'th')}</tr>{body}</table>"


def _image(png: bytes, words: str) -> str:
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
