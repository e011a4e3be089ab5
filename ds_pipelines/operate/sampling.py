"""Which sample business an installation holds, and loading it.

What belongs here: remembering the sample's source, so that loading it again is no work, and refusing to mix the days of
two shops in one home. What does not: making the shop.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ds_pipelines.errors import DsPipelinesError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ds_pipelines.settings import Settings

SOURCE = Path("sample") / "source.json"
"""Below the home; written once the sample is loaded."""


class OtherSampleError(DsPipelinesError):
    """A home holds extracts of one sample, and another was asked for."""

    def __init__(self, home: Path, held: str, asked: str) -> None:
        super().__init__(
            f"{home} holds extracts of {held}, and {asked} was asked for; expected one business a home. "
            f"Give the other a home of its own, as DS_HOME={home}-other, or remove {home} to start anew."
        )


@dataclass(frozen=True)
class Sample:
    """What the sample is made from: invented customers, or a file of real transactions."""

    transactions: Path | None
    customers: int
    seed: int

    def __str__(self) -> str:
        if self.transactions is not None:
            return f"the shop built around {self.transactions.name} (seed {self.seed})"
        return f"the invented shop of {self.customers:,} customers (seed {self.seed})"

    @property
    def fingerprint(self) -> str:
        """Differs whenever the shop would."""
        if self.transactions is None:
            return f"invented {self.customers} {self.seed}"
        # A file that cannot be read is explained by the importer, which knows what it expects.
        content = self.transactions.read_bytes() if self.transactions.is_file() else b""
        return f"transactions {hashlib.sha256(content).hexdigest()} {self.seed}"


@dataclass(frozen=True)
class Loaded:
    """What loading did."""

    rows: Mapping[str, int]
    accounting: tuple[tuple[str, int, str], ...]
    """Rule, rows, fate; empty for an invented shop."""
    anew: bool


def load_sample(settings: Settings, sample: Sample) -> Loaded:
    """Makes sure that the shop database holds the sample.

    Raises:
        OtherSampleError: the home holds extracts of another shop.
        DsPipelinesError: the file of transactions cannot be used, or the database not be written.
    """
    from ds_pipelines import sample as room

    path = settings.home / SOURCE
    held = json.loads(path.read_text()) if path.exists() else None
    if held is not None and held["fingerprint"] != sample.fingerprint and any(settings.snapshots.glob("published/*")):
        raise OtherSampleError(settings.home, held["described"], str(sample))
    if held is not None and held["fingerprint"] == sample.fingerprint and _is_loaded(settings, held["rows"]):
        accounting = tuple((rule, rows, fate) for rule, rows, fate in held["accounting"])
        return Loaded(held["rows"], accounting, anew=False)
    if sample.transactions is None:
        shop = room.generate(customers=sample.customers, seed=sample.seed)
    else:
        shop = room.from_transactions(sample.transactions, seed=sample.seed)
    room.load(shop, settings)
    accounting = tuple((each.rule, each.rows, each.fate) for each in shop.accounting)
    record = {
        "fingerprint": sample.fingerprint, "described": str(sample), "rows": shop.rows, "accounting": accounting,
    }  # fmt: skip
    path.write_text(json.dumps(record, indent=2))
    return Loaded(shop.rows, accounting, anew=True)


def _is_loaded(settings: Settings, rows: Mapping[str, int]) -> bool:
    from contextlib import closing

    import psycopg2
    from psycopg2 import sql

    from ds_pipelines import postgres

    try:
        with closing(postgres.connect("owner", settings)) as connection, connection.cursor() as cursor:
            for table, expected in rows.items():
                cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
                if cursor.fetchone() != (expected,):
                    return False
    except psycopg2.errors.UndefinedTable:
        return False
    return True
