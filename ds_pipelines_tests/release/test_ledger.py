"""The ledger of releases grows, and nothing in it can be changed without that showing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg2
import pytest

from ds_pipelines import postgres
from ds_pipelines.errors import LedgerBrokenError, LedgerRefusedError
from ds_pipelines.release.ledger import COLUMNS, GENESIS, Entry, Ledger
from ds_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIGEST, OTHER = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A home of its own: its ledger is broken here."""
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="ds-ledger-")
    settings = load_settings(home=folder)
    yield settings
    postgres.cluster("platform", settings).release()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ledger(installation: Settings) -> Ledger:
    """A ledger without entries."""
    made = Ledger(installation)
    made.entries()
    _as_owner(installation, "ALTER TABLE entries DISABLE TRIGGER append_only; DELETE FROM entries; "
              "ALTER TABLE entries ENABLE TRIGGER append_only")  # fmt: skip
    installation.ledger_head.unlink(missing_ok=True)
    return made


def _as_owner(settings: Settings, statement: str) -> None:
    with closing(postgres.connect("ledger_owner", settings)) as connection, connection:
        connection.cursor().execute(statement)


def _three(ledger: Ledger) -> list[Entry]:
    ledger.append("proposed", job="repurchase", release=DIGEST, actor="ana", evidence={"run": "1", "p": 0.001})
    ledger.append("approved", job="repurchase", release=DIGEST, actor="ben", because="the gates are passed")
    ledger.append("deployed", job="repurchase", release=DIGEST, actor="ben")
    return ledger.verify()


def test_entries_are_read_as_they_were_added_and_each_names_the_one_before(ledger: Ledger) -> None:
    entries = _three(ledger)
    assert [(each.number, each.action, each.actor) for each in entries] == [
        (1, "proposed", "ana"),
        (2, "approved", "ben"),
        (3, "deployed", "ben"),
    ]
    assert [each.previous for each in entries] == [GENESIS, entries[0].digest, entries[1].digest]
    assert entries[0].evidence == {"run": "1", "p": 0.001}
    assert ledger.entries(release=OTHER) == []


def test_many_writers_at_once_leave_one_chain(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as pool:
        wanted = [
            pool.submit(ledger.append, "proposed", job="repurchase", release=DIGEST, actor=f"user {number}")
            for number in range(24)
        ]
    assert {each.result().number for each in wanted} == set(range(1, 25))
    assert len(ledger.verify()) == 24


CHANGES = {
    "changed": "UPDATE entries SET actor = 'cai' WHERE number = 2",
    "removed": "DELETE FROM entries WHERE number = 3",
    "emptied": "TRUNCATE entries",
}


@pytest.mark.parametrize("case", CHANGES)
@pytest.mark.parametrize("role", ["ledger", "ledger_owner"])
def test_the_database_refuses_a_change(case: str, role: postgres.Role, ledger: Ledger, installation: Settings) -> None:
    before = _three(ledger)
    with (
        closing(postgres.connect(role, installation)) as connection,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        connection.cursor().execute(CHANGES[case])
    assert ledger.verify() == before


def _insert(settings: Settings, entry: Entry) -> None:
    values = entry.model_dump() | {"evidence": "{}"}
    with closing(postgres.connect("ledger", settings)) as connection, connection:
        names = ", ".join(COLUMNS)
        connection.cursor().execute(
            f"INSERT INTO entries ({names}) VALUES ({', '.join(['%s'] * len(COLUMNS))})",
            [values[name] for name in COLUMNS],
        )


def _forged(after: Entry, **changes: object) -> Entry:
    entry = after.model_copy(
        update={
            "number": after.number + 1,
            "previous": after.digest,
            "at": datetime.now(UTC),
            "evidence": {},
            **changes,
        }
    )
    return entry.model_copy(update={"digest": entry.computed})


@pytest.mark.parametrize(
    "changes", [{"at": datetime(2020, 1, 1, tzinfo=UTC)}, {"number": 9}, {"previous": GENESIS}], ids=str
)
def test_its_writer_cannot_add_out_of_order_or_with_another_date(
    changes: dict[str, object], ledger: Ledger, installation: Settings
) -> None:
    newest = _three(ledger)[-1]
    with pytest.raises(psycopg2.errors.IntegrityError):
        _insert(installation, _forged(newest, **changes))


UNSEEN = "ALTER TABLE entries DISABLE TRIGGER ALL; {} ; ALTER TABLE entries ENABLE TRIGGER ALL"


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("UPDATE entries SET because = 'for a better reason' WHERE number = 2", 2),
        ("UPDATE entries SET at = at - interval '1 year' WHERE number = 1", 1),
        ("DELETE FROM entries WHERE number = 2", 2),
        ("DELETE FROM entries WHERE number = 3", 3),
        ("DELETE FROM entries", 3),
    ],
)
def test_what_the_databases_master_changes_shows_by_its_number(
    statement: str, number: int, ledger: Ledger, installation: Settings
) -> None:
    _three(ledger)
    _as_owner(installation, UNSEEN.format(statement))
    with pytest.raises(LedgerBrokenError, match=f"broken at entry {number}:"):
        ledger.verify()


def test_a_rewritten_end_with_right_digests_shows_by_its_witness(ledger: Ledger, installation: Settings) -> None:
    entries = _three(ledger)
    forged = entries[2].model_copy(update={"actor": "cai"})
    forged = forged.model_copy(update={"digest": forged.computed})
    change = f"UPDATE entries SET actor = 'cai', digest = '{forged.digest}' WHERE number = 3"
    _as_owner(installation, UNSEEN.format(change))
    with pytest.raises(LedgerBrokenError, match=r"entry 3: expected the entry that ledger\.head witnesses"):
        ledger.verify()


def test_an_approval_is_used_once_by_the_databases_own_word(ledger: Ledger) -> None:
    _three(ledger)
    ledger.append("deployed", job="repurchase", release=DIGEST, actor="ben", evidence={"approval": OTHER})
    with pytest.raises(LedgerRefusedError, match="used before"):
        ledger.append("deployed", job="repurchase", release=DIGEST, actor="cai", evidence={"approval": OTHER})


def test_the_champion_of_a_day_is_the_one_at_its_end(ledger: Ledger) -> None:
    today = datetime.now(UTC).date()
    for release in (DIGEST, OTHER):
        ledger.append("deployed", job="repurchase", release=release, actor="ben")
    ledger.append("rolled back", job="repurchase", release=DIGEST, actor="ben", because="worse on returns")
    ledger.append("deployed", job="top_sellers", release=OTHER, actor="ben")
    found = ledger.champion_on("repurchase", today)
    assert found is not None
    assert (found.release, found.because) == (DIGEST, "worse on returns")
    assert ledger.champion_on("repurchase", today - timedelta(days=2)) is None
    ledger.append("retired", job="repurchase", release=DIGEST, actor="ben")
    assert ledger.champion_on("repurchase", today) is None


def test_the_witness_is_a_file_of_the_home(ledger: Ledger, installation: Settings, tmp_path: Path) -> None:
    newest = _three(ledger)[-1]
    assert installation.ledger_head.read_text() == f"3 {newest.digest}\n"
