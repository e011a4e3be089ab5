"""What is fitted on data: the edges, limits and frequent categories that a policy leaves to the data.

What belongs here: finding them, once for each version of the policy, and keeping them. What does not: what they are for
(`generalisations`), and using them (`transform`).

    <home>/fitted/<policy's digest>/<table>.json

Who needs them first finds them, on the whole table as it is then; from then on extract and scoring use the same ones.
On a column without a value there is nothing to find, and nothing is kept, so that it is found when there is one.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from ds_pipelines.errors import DamagedFitError
from ds_pipelines.extract.generalisations import Bins, Limits, Quantile, Rare
from ds_pipelines.snapshots.store import folder_name

if TYPE_CHECKING:
    from ds_pipelines.extract.policy import ColumnPolicy, Policy, TablePolicy
    from ds_pipelines.extract.source import Readable, Source
    from ds_pipelines.extract.treatments import Treatment
    from ds_pipelines.settings import Settings


class _Fit(BaseModel):
    """What was found in a column: numbers for bins and limits, categories for `rare`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    numbers: tuple[Decimal, ...] = ()
    categories: tuple[str, ...] = ()


class _Fits(BaseModel):
    """What was found in a table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, _Fit]


def fitted(policy: Policy, table: Readable, session: Source, settings: Settings, *, keep: bool = True) -> TablePolicy:
    """The decisions about a table, with what is fitted filled in; it is found in the data if nobody has yet.

    `keep` is whether what is found is kept for the next time.

    Raises:
        DamagedFitError: what was kept cannot be read.
        SourceRefusedError: the data cannot be read.
    """
    wanted = {name: column for name, column in table.policy.columns.items() if column.treatment.unfitted}
    if not wanted:
        return table.policy
    path = settings.home / "fitted" / policy.digest / f"{folder_name(table.policy.name)}.json"
    fits = _kept(path, table.policy.name) if path.exists() else _find(wanted, table, session)
    if keep and not path.exists() and all(fit.numbers or fit.categories for fit in fits.columns.values()):
        _keep(path, fits)
        fits = _kept(path, table.policy.name)  # another process may have been first
    columns = {
        name: column.model_copy(update={"treatment": _filled(column.treatment, fits.columns[name])})
        for name, column in wanted.items()
    }
    return table.policy.model_copy(update={"columns": {**table.policy.columns, **columns}})


def _find(wanted: dict[str, ColumnPolicy], table: Readable, session: Source) -> _Fits:
    found: dict[str, _Fit] = {}
    for name, column in wanted.items():
        match column.treatment:
            case Rare(below=below):
                found[name] = _Fit(categories=tuple(session.frequent(table, name, below)))
            case Bins(quantiles=int(parts)):
                shares = [number / parts for number in range(1, parts)]
                edges = session.quantiles(table, name, shares) or ()
                found[name] = _Fit(numbers=tuple(sorted(set(edges))))
            case Limits(bottom=bottom, top=top):
                shares = [limit.quantile for limit in (bottom, top) if isinstance(limit, Quantile)]
                found[name] = _Fit(numbers=tuple(session.quantiles(table, name, shares) or ()))
    return _Fits(columns=found)


def _filled(treatment: Treatment, fit: _Fit) -> Treatment:
    """The treatment with what was found; without a value there are no edges, no limits and no category."""
    match treatment:
        case Rare():
            return treatment.model_copy(update={"frequent": fit.categories})
        case Bins():
            return treatment.model_copy(update={"edges": fit.numbers})
        case Limits():
            numbers = iter(fit.numbers)
            names = [name for name in ("bottom", "top") if isinstance(getattr(treatment, name), Quantile)]
            return treatment.model_copy(update={name: next(numbers, Decimal("NaN")) for name in names})
        case _:
            return treatment


def _kept(path: Path, table: str) -> _Fits:
    try:
        return _Fits.model_validate_json(path.read_bytes())
    except ValidationError:
        raise DamagedFitError(path, table) from None


def _keep(path: Path, fits: _Fits) -> None:
    """Links the file into place whole; the first one stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".fit-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(fits.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()
