"""The weekly report's picture: a row a job, with its deliveries, scores, drift and live performance.

What belongs here: that figure. What does not: gathering what it shows (`weekly`).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from ds_pipelines.scoring.checks import STOPPED_PSI
from ds_pipelines.scoring.drift import MOVED_PSI

if TYPE_CHECKING:
    from ds_pipelines.watch.weekly import JobWeek, Report

INK, COLOUR, ALARM = "#22303c", "#1b6f8f", "#a02c3a"


def plot(report: Report) -> bytes:
    """A PNG."""
    from matplotlib.figure import Figure

    rows = len(report.jobs)
    figure = Figure(figsize=(15, 3.4 * rows + 0.4), dpi=90, facecolor="white", layout="constrained")
    for week, axes in zip(report.jobs, figure.subplots(rows, 4, squeeze=False), strict=True):
        _deliveries(axes[0], week)
        _scores(axes[1], week)
        _drift(axes[2], week)
        _performance(axes[3], week)
        for each in axes:
            each.tick_params(axis="x", rotation=45, labelsize=7)
            each.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _deliveries(axes: Any, week: JobWeek) -> None:
    rows = [week.delivered[day].rows if day in week.delivered else 0 for day in week.days]
    colours = [
        ALARM if not count else COLOUR if day in week.week else "#c3ccd4"
        for day, count in zip(week.days, rows, strict=True)
    ]
    axes.bar(week.days, rows, color=colours)
    for day in week.days:
        if day not in week.delivered:
            axes.axvline(day, color=ALARM, linewidth=1, linestyle=":")
    axes.set_title(f"{week.job.name}: delivered rows", loc="left", fontsize=10, color=INK)


def _scores(axes: Any, week: JobWeek) -> None:
    axes.set_title("scores: middle, and four fifths", loc="left", fontsize=10, color=INK)
    if not week.scores:
        _empty(axes, "no scores")
        return
    days = sorted(week.scores)
    low, middle, high = zip(*(week.scores[day] for day in days), strict=True)
    axes.fill_between(days, low, high, color=COLOUR, alpha=0.2)
    axes.plot(days, middle, "o-", color=COLOUR, markersize=3)


def _drift(axes: Any, week: JobWeek) -> None:
    axes.set_title("PSI: the farthest feature, and the score", loc="left", fontsize=10, color=INK)
    shown = False
    for check, colour in (("input_drift", INK), ("score_distribution", COLOUR)):
        points = [(day, psi) for day in week.days if (psi := week.figure(check, "psi", day)) is not None]
        if points:
            shown = True
            days, values = zip(*points, strict=True)
            axes.plot(days, values, "o-", color=colour, markersize=3, label=check)
    if not shown:
        _empty(axes, "nothing to compare with")
        return
    axes.axhline(MOVED_PSI, color="#c3ccd4", linestyle="--")
    axes.axhline(STOPPED_PSI, color=ALARM, linestyle="--")
    axes.legend(frameon=False, fontsize=7)


def _performance(axes: Any, week: JobWeek) -> None:
    axes.set_title("what came true: live, and as promised", loc="left", fontsize=10, color=INK)
    if not week.performance:
        _empty(axes, "no outcome is known yet")
        return
    days = [each.day for each in week.performance]
    axes.fill_between(
        days, [each.low for each in week.performance], [each.high for each in week.performance], color=COLOUR, alpha=0.2
    )
    axes.plot(days, [each.value for each in week.performance], "o-", color=COLOUR, markersize=3)
    promised = [each.promised_low for each in week.performance]
    if None not in promised:
        axes.step(days, promised, where="mid", color=ALARM, linestyle="--", label="promised at least")
        axes.legend(frameon=False, fontsize=7)


def _empty(axes: Any, words: str) -> None:
    axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes, color="#6b7883")
    axes.set_xticks([])
    axes.set_yticks([])
