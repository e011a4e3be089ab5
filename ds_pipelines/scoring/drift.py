"""Drift: how far the features and scores of a day have moved from where the model was judged.

What belongs here: the profile that a release keeps of its training data, the comparison with it, and a sample of rows
that go by. What does not: what follows from a movement (`checks`).

A profile holds shares and quantiles and no row. The population stability index is the symmetric relative entropy of the
shares of its bins, which are tenths of the profiled values or, where values repeat, the values themselves; the
Kolmogorov-Smirnov distance is that to its quantiles. Both are SciPy's. By custom an index below 0.1 is nothing, and one
from 0.25 on is a movement; for two normal distributions it is the square of the distance of their means, in standard
deviations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from ds_pipelines.evidence.releases import ColumnProfile, Drift, Profile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

BINS = 10
QUANTILES = 200
"""Steps between the quantiles: the distance is known to half a hundredth."""
MOVED_PSI = 0.25
MOVED_KS = 0.25
"""From here on a column has moved; a shift of a normal distribution by 0.65 standard deviations reaches it."""
LEAST_SHARE = 1e-4
"""An empty bin counts as this much, for the index would be infinite."""
SAMPLED = 50_000
"""Rows that a comparison needs: the distance is exact to 0.01 with them."""


def profile(frame: pl.DataFrame, score: str | None = None) -> Profile:
    """The profile of a frame's numeric columns; Booleans count as 0 and 1, other columns are passed over.

    Args:
        frame: The features, a row an entity, and the score among them or not.
        score: The column that holds the score; None: there is none.
    """
    told = {name: _profiled(frame[name]) for name in frame.columns if _numeric(frame[name])}
    of_score = told.pop(score, None) if score is not None else None
    return Profile(rows=frame.height, columns=tuple(told.values()), score=of_score)


def compare(
    known: Profile, frame: pl.DataFrame, *, score: str | None = None, psi: float = MOVED_PSI, ks: float = MOVED_KS
) -> list[Drift]:
    """How far each column has moved that both the profile and the frame have, the farthest first.

    Missing values count as a bin of their own.

    Args:
        known: From where.
        frame: Where the columns are now; a sample of a day's rows is enough.
        score: The column to compare with the profile's score; None: only features are compared.
        psi: From this index on a column has moved …
        ks: … or from this distance on.
    """
    pairs = [(column, column.name) for column in known.columns if column.name in frame.columns]
    if score is not None and known.score is not None and score in frame.columns:
        pairs.append((known.score, score))
    found = [_drift(column, frame[name], psi, ks) for column, name in pairs]
    return sorted(found, key=lambda each: (-each.psi, each.column))


class Sample:
    """Every n-th row of what goes by, evenly over all of it, and never more than twice `SAMPLED` rows."""

    def __init__(self) -> None:
        self._kept: list[pl.DataFrame] = []
        self._step, self._seen = 1, 0

    def see(self, batch: pl.DataFrame) -> None:
        """Takes what it needs of the next batch."""
        first = -self._seen % self._step
        self._seen += batch.height
        if first < batch.height:
            self._kept.append(batch[first :: self._step])
        while sum(each.height for each in self._kept) > 2 * SAMPLED:
            self._step *= 2
            self._kept = [pl.concat(self._kept)[::2]]

    @property
    def rows(self) -> pl.DataFrame:
        """What was kept; an empty frame if nothing went by."""
        return pl.concat(self._kept) if self._kept else pl.DataFrame()


def sampled(path: Path) -> pl.DataFrame:
    """Every n-th row of a Parquet file, evenly over all of it: at least `SAMPLED` of them, or all."""
    rows = pl.scan_parquet(path)
    count: int = rows.select(pl.len()).collect().item()
    return rows.gather_every(max(1, count // SAMPLED)).collect(engine="streaming")


def _numeric(column: pl.Series) -> bool:
    return column.dtype.is_numeric() or column.dtype == pl.Boolean


def _values(column: pl.Series) -> tuple[Floats, float]:
    """A column's values in order, and the share that is missing."""
    whole = column.cast(pl.Float64)
    there = whole.filter(whole.is_finite()).sort().to_numpy()
    return there, 1 - len(there) / max(len(whole), 1)


def _profiled(column: pl.Series) -> ColumnProfile:
    values, missing = _values(column)
    if not len(values):
        return ColumnProfile(name=column.name, missing=missing, quantiles=(), edges=(), shares=(1.0,))
    distinct = np.unique(values)
    if len(distinct) <= BINS:
        edges = (distinct[1:] + distinct[:-1]) / 2
    else:
        edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS))
    quantiles = np.quantile(values, np.linspace(0, 1, QUANTILES + 1), method="inverted_cdf")
    return ColumnProfile(
        name=column.name,
        missing=missing,
        quantiles=tuple(quantiles.tolist()),
        edges=tuple(edges.tolist()),
        shares=tuple(_shares(values, edges).tolist()),
    )


def _shares(values: Floats, edges: Floats) -> Floats:
    """Of each bin, shape (edges + 1,); an edge belongs to the bin above it."""
    ends = np.append(np.searchsorted(values, edges), len(values))
    shares: Floats = np.diff(ends, prepend=0) / max(len(values), 1)
    return shares


def _drift(known: ColumnProfile, column: pl.Series, psi: float, ks: float) -> Drift:
    from scipy.stats import entropy, ks_2samp

    values, missing = _values(column)
    then = np.append(np.array(known.shares) * (1 - known.missing), known.missing)
    now = np.append(_shares(values, np.array(known.edges)) * (1 - missing), missing)
    now, then = np.maximum(now, LEAST_SHARE), np.maximum(then, LEAST_SHARE)  # entropy makes them shares again
    index = float(entropy(now, then) + entropy(then, now))
    if len(values) and known.quantiles:
        distance = float(ks_2samp(values, np.array(known.quantiles), method="asymp").statistic)
    else:
        distance = float(bool(len(values)) != bool(known.quantiles))
    return Drift(column=known.name, psi=index, ks=distance, moved=index >= psi or distance >= ks)
