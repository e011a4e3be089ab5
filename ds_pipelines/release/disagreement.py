"""How two releases disagree about a day: shares, ranks and segments; never a row, nor a group that is small.

What belongs here: turning two columns of scores into an aggregate that may be shown to people who may not see rows.
What does not: scoring, and which releases are compared (`shadow`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from ds_pipelines.evidence import Segment

if TYPE_CHECKING:
    from collections.abc import Iterator

FEWEST = 20
"""A group of fewer is not told of."""
FEW_VALUES = 8
"""A feature with so many values is told by value; one with more by quarters of the population."""
QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")
STEPS = 20
"""Of a change of rank, from −100 % to +100 %."""
DECILES = 10


def disagreement(scores: pl.DataFrame, features: pl.DataFrame) -> dict[str, Any]:
    """What two columns of scores make of the same rows.

    Args:
        scores: `champion` and `candidate`, a row an entity that both scored, shape (n, 2).
        features: What the entities are described by, in the same order; numbers, shape (n, …).
    """
    both = scores.with_columns(
        _decile("champion").alias("before"),
        _decile("candidate").alias("after"),
        ((pl.col("candidate").rank() - pl.col("champion").rank()) / pl.len()).alias("moved"),
    )
    apart = pl.col("candidate") - pl.col("champion")
    top = both.filter(pl.col("before") == DECILES)
    told = both.select(
        rows=pl.len(),
        mean_difference=apart.mean(),
        mean_distance=apart.abs().mean(),
        rank_agreement=pl.corr("champion", "candidate", method="spearman"),
    ).row(0, named=True)
    return told | {
        "rank_agreement": _number(told["rank_agreement"]),
        "top_kept": _number((top["after"] == DECILES).mean()),
        "rank_changes": _rank_changes(both),
        "deciles": _deciles(both),
        "segments": tuple(_segments(both, features)),
    }


def _decile(name: str) -> pl.Expr:
    """From 1 to 10, the highest scores in 10; equal scores are in the same one."""
    return ((DECILES * pl.col(name).rank("max").cast(pl.Int64) + pl.len() - 1) // pl.len()).cast(pl.Int16)


def _number(value: Any) -> float:
    """Equal scores throughout have no correlation: they agree as far as can be told."""
    return float(value) if value is not None and value == value else 1.0  # noqa: PLR0124 — NaN alone is not itself


def _rank_changes(both: pl.DataFrame) -> tuple[float, ...]:
    step = ((pl.col("moved") + 1) * STEPS / 2).floor().clip(0, STEPS - 1).cast(pl.Int64)
    counted = dict(both.group_by(step.alias("step")).len().iter_rows())
    return tuple(counted.get(at, 0) / both.height for at in range(STEPS))


def _deciles(both: pl.DataFrame) -> tuple[tuple[int | None, ...], ...]:
    counted = {(before, after): rows for before, after, rows in both.group_by("before", "after").len().iter_rows()}
    numbers = range(1, DECILES + 1)

    def shown(rows: int) -> int | None:
        return rows if rows == 0 or rows >= FEWEST else None

    return tuple(tuple(shown(counted.get((before, after), 0)) for after in numbers) for before in numbers)


def _segments(both: pl.DataFrame, features: pl.DataFrame) -> Iterator[Segment]:
    for feature in features:
        few = feature.n_unique() <= FEW_VALUES
        part = feature.cast(pl.Float64).to_frame().select(_value() if few else _quarter()).to_series()
        parts = both.with_columns(part.alias("part")).group_by("part").agg(
            rows=pl.len(),
            champion=pl.col("champion").mean(),
            candidate=pl.col("candidate").mean(),
            decile_changed=(pl.col("before") != pl.col("after")).mean(),
        )  # fmt: skip
        if parts.height > 1 and (parts["rows"] >= FEWEST).all():  # else what is left out would follow from the rest
            for each in parts.sort("part").iter_rows(named=True):
                part_of = f"{each.pop('part'):g}" if few else QUARTERS[int(each.pop("part")) - 1]
                yield Segment(feature=feature.name, part=part_of, **each)


def _value() -> pl.Expr:
    return pl.first()


def _quarter() -> pl.Expr:
    return (pl.first().rank("max") * len(QUARTERS) / pl.len()).ceil()
