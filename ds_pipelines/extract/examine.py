"""One extract under examination: measured while its rows pass, and proved before they are published.

What belongs here: collecting the measures of one extract into its proofs. What does not: each measure, and publishing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ds_pipelines.errors import ProofFailedError
from ds_pipelines.extract import anonymity, disclosure, patterns, proofs, report
from ds_pipelines.extract.order import columns_of_order
from ds_pipelines.extract.proofs import Proof, Proofs
from ds_pipelines.extract.references import References
from ds_pipelines.extract.search import Search

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date
    from pathlib import Path

    import polars as pl

    from ds_pipelines.extract.masking import Masker
    from ds_pipelines.extract.policy import Policy
    from ds_pipelines.extract.pseudonyms import Pseudonyms
    from ds_pipelines.extract.source import Readable, Source
    from ds_pipelines.settings import Settings
    from ds_pipelines.snapshots.parquet import Written
    from ds_pipelines.snapshots.store import SnapshotStore


class Examination:
    """The examination of one extract, over all that it publishes."""

    def __init__(
        self,
        policy: Policy,
        readable: Readable,
        source: Source,
        *,
        schema: pl.Schema,
        pseudonyms: Pseudonyms,
        masker: Masker | None,
        store: SnapshotStore,
        settings: Settings,
    ) -> None:
        """`source` is a session of its own: it is used while another one reads the rows."""
        self.schema = schema
        """What the extract's rows are, as the transformation leaves them."""
        self.tell: Callable[[Proofs], None] | None = None
        self.masker = masker
        """What masks the extract's free text, if it has any."""
        self.residual = masker.residual() if masker is not None else None
        """What that misses, measured."""
        self._policy, self._table = policy, readable.policy
        self._source, self._store, self._settings = source, store, settings
        self._search = Search(policy, readable.policy, masker)
        self._anonymity: anonymity.Anonymity | None = None
        self._counter: anonymity.Counter | None = None
        if readable.policy.k is not None and readable.policy.by_day is None:
            self._counter = anonymity.Counter(readable.policy)
        elif readable.policy.k is not None:
            self._anonymity = anonymity.measure(source, readable, pseudonyms, settings.zone)
        live = source.foreign_keys(policy.database_schema, readable.policy.name)
        self._references = References(store, policy, readable.policy, live, pseudonyms.key_id)
        self._read = self._written = 0
        self._rows: dict[date, int] = {}
        self._difference: disclosure.Difference | None = None

    def seek(self, read: pl.DataFrame | None, rows: pl.DataFrame, *, now: bool = True) -> Mapping[str, int]:
        """Seeks in some rows, once they are transformed, what identifies somebody; how many texts hold it so far.

        Args:
            read: The rows as they were read; None: they were compared with those before.
            rows: The rows as they are to be published.
            now: Whether people may be looked up at once.
        """
        self._search.add(read, rows, self._source if now else None)
        return self._search.so_far

    def go_on(self, found: Mapping[str, int]) -> None:
        """Takes over what an interrupted extract had found."""
        self._search.go_on(found)

    def take(self, rows: pl.DataFrame) -> None:
        """Counts some rows of which it is certain that they are to be published."""
        self._read += rows.height
        if self._counter is not None:
            self._counter.take(rows)

    def released(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Some rows as they may be published; only once all rows of a table of current state were taken."""
        self._settle()
        return rows if self._anonymity is None else self._anonymity.blank(rows)

    def prove(self, staged: Mapping[date, Written]) -> None:
        """Makes sure that what was staged may be published together.

        Raises:
            ProofFailedError: it may not; the report says why.
        """
        self._settle()
        self._search.flush(self._source)
        self._references.follow(staged)
        self._rows |= {day: file.rows for day, file in staged.items()}
        self._written += sum(file.rows for file in staged.values())
        if len(staged) == 1:
            [(day, file)] = staged.items()
            self._difference = disclosure.difference(self._store, self._table, day, file.rows, file.path)
        required = self._required()
        if any(not proof.passed for proof in required):
            proved = self._proofs(required)
            path = self._report(proved)
            raise ProofFailedError(proved.table, proved.last, proved.failed, path)

    def conclude(self) -> None:
        """Reports what was proved of all that was published."""
        followed = disclosure.sequences(self._store, self._policy, self._table)
        self._report(self._proofs([*self._required(), proofs.over_time(self._difference, followed)]))

    def _settle(self) -> None:
        if self._counter is not None:
            self._anonymity, self._counter = self._counter.counted(), None

    def _required(self) -> list[Proof]:
        table = self._table
        looked_at = patterns.findings(self._search.patterned) if table.person or table.masked else (0, {}, {})
        return [
            proofs.rows(self._read, self._written),
            proofs.order(table, columns_of_order(table)),
            proofs.nobody_named(self._search),
            proofs.patterns(*looked_at),
            proofs.free_text(table, self._search, self.residual),
            proofs.k_anonymity(self._anonymity, anonymity.MOST_BLANKED),
            proofs.foreign_keys(self._references),
        ]

    def _proofs(self, proved: list[Proof]) -> Proofs:
        return Proofs(self._table.name, min(self._rows), max(self._rows), self._written, tuple(proved))

    def _report(self, proved: Proofs) -> Path:
        measured = report.Measured(self._rows, self._anonymity, self.residual)
        path = report.write(proved, self._table, measured, self._settings)
        if self.tell is not None:
            self.tell(replace(proved, report=path))
        return path
