"""The figures of a verdict: what chance does and what the model families do; learning curve; calibration.

What belongs here: drawing what a verdict holds, for those who read a run in Dagster or MLflow. What does not: computing
anything a verdict does not hold, and figures of an experiment's own.
"""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING

from ds_pipelines.lab.measured import NAMES

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ds_pipelines.evidence import Verdict

INK, QUIET, CHANCE = "#22303c", "#6b7883", "#c3ccd4"
COLOURS = {"signal": "#1b7f5c", "no signal": "#a8562a", "undecided": "#8a6d00", "invalid": "#a02c3a"}


def verdict_figure(verdict: Verdict, null: NDArray[np.float64]) -> Figure:
    """Draw the null distribution with the observed statistic, and the families' AUC with intervals beside it.

    Args:
        verdict: The verdict to show; an invalid one has its words only.
        null: The best family's AUC in each permutation, shape (permutations,), as its judgement hands over.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if not verdict.families:
        figure = Figure(figsize=(11, 2.2), dpi=110, facecolor="white")
        figure.text(0.03, 0.78, verdict.answer.upper(), color=COLOURS[verdict.answer], fontsize=15, fontweight="bold")
        figure.text(0.03, 0.62, textwrap.fill(verdict.words, 120), color=INK, fontsize=11, va="top", linespacing=1.5)
        return figure
    figure = Figure(
        figsize=(11, 3.8 + 0.4 * len(verdict.families)),
        dpi=110,
        facecolor="white",
        layout=ConstrainedLayoutEngine(w_pad=0.2, h_pad=0.12, wspace=0.05),
    )
    figure.suptitle(
        textwrap.fill(f"{verdict.answer.upper()}: {verdict.question}", 95),
        x=0.018,
        ha="left",
        color=COLOURS[verdict.answer],
        fontsize=13,
        fontweight="bold",
    )
    chance, families = figure.subplots(1, 2)
    _draw_chance(chance, verdict, null)
    _draw_families(families, verdict)
    return figure


def learning_figure(verdict: Verdict) -> Figure:
    """Draw each refitted family's AUC over the rows it learnt from."""
    figure, axes = _square()
    for family in dict.fromkeys(point.family for point in verdict.learning):
        points = [point for point in verdict.learning if point.family == family]
        axes.plot([point.rows for point in points], [point.auc for point in points], "o-", label=family)
    axes.axhline(0.5, color=INK, linewidth=1, zorder=0)
    axes.legend(frameon=False)
    _dress(axes, "What more rows bring", "training rows")
    return figure


def calibration_figure(verdict: Verdict) -> Figure:
    """Draw what the best family said against what came true."""
    figure, axes = _square()
    said, observed = ([getattr(bin_, name) for bin_ in verdict.calibration] for name in ("said", "observed"))
    ends = (min(*said, *observed), max(*said, *observed)) if len(said) > 1 else (0.0, 1.0)
    axes.plot(ends, ends, color=CHANCE, linestyle="--")
    for label in dict.fromkeys(each.label for each in verdict.calibration):
        bins = [each for each in verdict.calibration if each.label == label]
        colour = None if label else INK
        axes.plot([each.said for each in bins], [each.observed for each in bins], "o-", color=colour, label=label)
    if verdict.classes:
        axes.legend(frameon=False, title="class", fontsize=8)
    axes.set_ylabel("what came true", color=INK)
    _dress(axes, f"{verdict.best}, by tenths of what it said", "what it said")
    return figure


def classes_figure(verdict: Verdict) -> Figure:
    """Draw how the best family tells each class from the rest, with intervals of each by itself."""
    from matplotlib.figure import Figure

    height = 1.4 + 0.35 * len(verdict.by_class)
    figure = Figure(figsize=(6, height), dpi=110, facecolor="white", layout="constrained")
    axes = figure.subplots()
    for place, each in enumerate(verdict.by_class):
        axes.plot((each.low, each.high), (place, place), color=QUIET, linewidth=3, solid_capstyle="round")
        axes.plot(each.auc, place, "o", color=INK, markersize=7, markeredgecolor="white")
    axes.axvline(0.5, color=INK, linewidth=1, zorder=0)
    axes.set_yticks(range(len(verdict.by_class)), [f"{each.name} ({each.rows:,})" for each in verdict.by_class])
    axes.invert_yaxis()
    _dress(axes, f"{verdict.best}: each class against the rest", "ROC AUC, with intervals of each by itself")
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG; equal figures are equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _square() -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=110, facecolor="white", layout="constrained")
    return figure, figure.subplots()


def _draw_chance(axes: Axes, verdict: Verdict, null: NDArray[np.float64]) -> None:
    observed = max(family.auc for family in verdict.families)
    axes.hist(null, bins=40, color=CHANCE)
    axes.axvline(observed, color=COLOURS[verdict.answer], linewidth=2)
    right = observed > (null.min() + max(null.max(), observed)) / 2
    axes.annotate(
        f"observed {observed:.3f}\np = {verdict.p:.2g}",
        (observed, 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(-7 if right else 7, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va="top",
        color=COLOURS[verdict.answer],
        fontweight="bold",
    )
    axes.set_yticks([])
    _dress(axes, f"What chance does: {verdict.permutations:,} permutations of the labels", verdict.statistic)


def _draw_families(axes: Axes, verdict: Verdict) -> None:
    if verdict.p is not None and verdict.p <= verdict.level:
        mark, meaning = 0.5 + verdict.smallest_effect, "smallest effect\nthat counts"
    else:
        mark, meaning = 0.5 + verdict.material_effect, "no signal needs all\nintervals left of this"
    for place, family in enumerate(verdict.families):
        colour = COLOURS[verdict.answer] if family.name == verdict.best else QUIET
        axes.plot((family.low, family.high), (place, place), color=colour, linewidth=3, solid_capstyle="round")
        axes.plot(family.auc, place, "o", color=colour, markersize=9, markeredgecolor="white")
        axes.annotate(
            f"{family.name}  {family.auc:.3f}  ({family.low:.3f} to {family.high:.3f})",
            (0.02, place),
            xycoords=("axes fraction", "data"),
            xytext=(0, 9),
            textcoords="offset points",
            color=colour,
            fontweight="bold" if family.name == verdict.best else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    for at, style, label, side in (
        (0.5, "-", "chance", "right"),
        (mark, ":", meaning, "left"),
    ):
        axes.axvline(at, color=INK, linewidth=1, linestyle=style, zorder=0)
        axes.annotate(
            label,
            (at, 0.02),
            xycoords=("data", "axes fraction"),
            xytext=(-5 if side == "right" else 5, 0),
            textcoords="offset points",
            ha=side,
            color=QUIET,
            fontsize=9,
        )
    lowest = min(0.5, *(family.low for family in verdict.families))
    highest = max(mark, *(family.high for family in verdict.families))
    span = highest - lowest
    axes.set_xlim(min(lowest, 0.5 - 0.15 * span) - 0.03 * span, max(highest, mark + 0.4 * span) + 0.03 * span)
    axes.set_ylim(len(verdict.families) - 0.2, -0.8)
    axes.set_yticks([])
    _dress(
        axes,
        f"What the models do: {verdict.rows:,} held-out rows"
        + (f", {verdict.positives:,} positive" if verdict.task == "classification" else ""),
        f"{NAMES[verdict.task]} with {100 * verdict.confidence:.3g} % intervals, valid jointly",
    )


def _dress(axes: Axes, title: str, label: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=11, pad=12)
    axes.set_xlabel(label, color=INK)
    axes.locator_params(axis="x", nbins=6)
    axes.tick_params(colors=INK, length=0)
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(CHANCE)
