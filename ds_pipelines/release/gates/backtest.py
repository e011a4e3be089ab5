"""The gate over what the candidate would have been worth lately: better than the champion, or than knowing nothing.

What belongs here: the comparison, with its uncertainty. What does not: choosing the days (`judgement`), and scoring
them (`child`).

Days lie behind everything that the model learned from: none before the first that it was judged on. Customers come on
several days; the interval counts each of them once, by what they add up to (DeLong's influences, clustered).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.release.gates.case import answer
from ds_pipelines.release.gates.confined import PAST

if TYPE_CHECKING:
    from ds_pipelines.evidence import GateResult
    from ds_pipelines.release.gates.case import Case

ONE_SIDED_95 = 1.645
KNOWING_NOTHING = 0.5
"""The ROC AUC of the same score for everybody."""


@dataclass(frozen=True)
class Gain:
    """How much better the candidate ranked than what it is compared with."""

    candidate: float
    other: float
    low: float
    """Lower end of the gain's one-sided 95 % interval."""
    rows: int
    entities: int

    @property
    def gain(self) -> float:
        """In ROC AUC."""
        return self.candidate - self.other


def backtest(case: Case) -> GateResult:
    """On recent days, the candidate would have beaten the champion, or the baseline, by the margin it declares."""
    manifest = case.manifest
    against = "the champion" if case.champion and case.champion.manifest.model else "the same score for everybody"
    margin = manifest.margin or 0.0
    expected = f"a ROC AUC on recent days at least {margin:g} above that of {against}, and not by chance"
    if manifest.model is None:
        return answer("backtest", expected, None, "a computation, which predicts nothing")
    past = case.judged.told.get("past")
    if past is None:
        lacking = "no day since it was judged whose outcome is known, or no outcome in the job's module"
        return answer("backtest", expected, lacking, "")
    if "refused" in past:
        return answer("backtest", expected, str(past["refused"]), "")
    found = compare(pl.read_parquet(case.judged.folder / PAST), str(case.job.entity))
    if found is None:
        return answer("backtest", expected, "on no day came both outcomes", "", days=past["days"])
    gained = f"{found.gain:+.3f}, at least {found.low:+.3f}"
    words = f"{found.candidate:.3f} against {found.other:.3f} of {against}: {gained}"
    # A margin below 0 asks only not to be worse, which then must be shown as well.
    fine = found.gain >= margin and found.low >= min(margin, 0.0)
    return answer(
        "backtest", expected, None if fine else words, words,
        days=past["days"], against=against, margin=margin, auc=found.candidate, auc_of_other=found.other,
        gain=found.gain, gain_at_least=found.low, rows=found.rows, entities=found.entities,
    )  # fmt: skip


def compare(past: pl.DataFrame, entity: str) -> Gain | None:
    """The mean over days of the ROC AUC, and how sure the difference is; None if no day has both outcomes.

    Args:
        past: `day`, the entity, `outcome` (positive or not), `candidate`, and perhaps `champion`.
        entity: The column of whom is scored.
    """
    positive = pl.col("outcome") > 0
    both = past.filter(positive.any().over("day") & (~positive).any().over("day")).with_columns(positive=positive)
    if both.is_empty():
        return None
    days = both["day"].n_unique()
    names = [name for name in ("candidate", "champion") if name in past.columns]
    shown = both.with_columns(_placement(name).alias(name) for name in names)
    by_day = shown.filter("positive").group_by("day").agg(pl.col(names).mean())
    auc = {name: float(by_day[name].mean()) for name in names}  # type: ignore[arg-type]
    auc.setdefault("champion", KNOWING_NOTHING)
    # What each row adds to the mean of the days' areas, less that mean.
    size = pl.len().over("day", "positive") * days
    centred = [((pl.col(name) - pl.col(name).mean().over("day", "positive")) / size).alias(name) for name in names]
    influence = shown.with_columns(centred).group_by(entity).agg(pl.col(names).sum())
    difference = influence["candidate"] - (influence["champion"] if "champion" in names else 0.0)
    error = math.sqrt(float((difference**2).sum()))
    gain = auc["candidate"] - auc["champion"]
    return Gain(auc["candidate"], auc["champion"], gain - ONE_SIDED_95 * error, both.height, influence.height)


def _placement(name: str) -> pl.Expr:
    """The share of the day's rows of the other outcome that a row is on the right side of; ties count half."""
    of_all = pl.col(name).rank("average").over("day")
    of_own = pl.col(name).rank("average").over("day", "positive")
    others = pl.len().over("day") - pl.len().over("day", "positive")
    above = (of_all - of_own) / others
    return pl.when("positive").then(above).otherwise(1 - above)
