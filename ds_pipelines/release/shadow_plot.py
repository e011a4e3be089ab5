"""The report of a shadow as a picture: how ranks and deciles moved, where, and on which day.

What belongs here: that one figure. What does not: what it shows (`disagreement`).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ds_pipelines.evidence import Disagreement

INK, COLOUR = "#22303c", "#1b6f8f"
MOST = 14
"""Segments that are shown: those in which the mean score differs most."""


def plot(compared: Sequence[Disagreement]) -> bytes:
    """A PNG of the newest day, and of how all days agreed."""
    from matplotlib.figure import Figure

    newest = compared[-1]
    figure = Figure(figsize=(12, 8), dpi=110, facecolor="white", layout="constrained")
    figure.suptitle(
        f"{newest.job}: candidate {newest.candidate[:12]} beside champion {newest.champion[:12]}, {newest.day}, "
        f"{newest.rows:,} rows",
        x=0.01, ha="left", color=INK,
    )  # fmt: skip
    (deciles, changes), (segments, days) = figure.subplots(2, 2)
    _deciles(deciles, newest)
    _changes(changes, newest)
    _segments(segments, newest)
    _days(days, compared)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _deciles(axes: Any, newest: Disagreement) -> None:
    shares = [[(cell or 0) / max(newest.rows, 1) for cell in row] for row in newest.deciles]
    axes.imshow(shares, cmap="Blues", origin="lower", extent=(0.5, 10.5, 0.5, 10.5))
    axes.set(title="Rows by decile; few are left blank", xlabel="candidate", ylabel="champion")


def _changes(axes: Any, newest: Disagreement) -> None:
    steps = len(newest.rank_changes)
    places = [-100 + 200 * (at + 0.5) / steps for at in range(steps)]
    axes.bar(places, [100 * share for share in newest.rank_changes], width=180 / steps, color=COLOUR)
    axes.set(title="Change of rank", xlabel="% of all rows, up is to the right", ylabel="% of rows")


def _segments(axes: Any, newest: Disagreement) -> None:
    shown = sorted(newest.segments, key=lambda each: abs(each.candidate - each.champion))[-MOST:]
    for at, each in enumerate(shown):
        axes.plot([each.champion, each.candidate], [at, at], color="#c3ccd4", zorder=1)
    axes.scatter([each.champion for each in shown], range(len(shown)), color=INK, label="champion")
    axes.scatter([each.candidate for each in shown], range(len(shown)), color=COLOUR, label="candidate")
    axes.set_yticks(range(len(shown)), [f"{each.feature}: {each.part} ({each.rows:,})" for each in shown], fontsize=7)
    axes.set(title="Mean score by segment", xlabel="mean score")
    axes.legend(frameon=False, fontsize=8)


def _days(axes: Any, compared: Sequence[Disagreement]) -> None:
    names = [f"{each.day:%m-%d}" for each in compared]
    axes.plot(names, [each.rank_agreement for each in compared], "o-", color=INK, label="agreement of ranks")
    axes.plot(names, [each.top_kept for each in compared], "o-", color=COLOUR, label="champion's best tenth kept")
    axes.set(title="By day", ylim=(min(0.0, *(each.rank_agreement for each in compared)), 1.02))
    axes.tick_params(axis="x", rotation=45, labelsize=7)
    axes.legend(frameon=False, fontsize=8)
