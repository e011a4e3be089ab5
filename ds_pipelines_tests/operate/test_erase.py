"""An erased person is nowhere, does not come back, and everybody else is as before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from ds_pipelines import postgres
from ds_pipelines.errors import EmptyIdentifierError, ErasedSnapshotError, MissingSecretError
from ds_pipelines.extract import production, pseudonyms, publish, tombstones
from ds_pipelines.operate.erase import erase, told
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.release.registry import champion
from ds_pipelines.scoring.deliver import checksum
from ds_pipelines.scoring.receipt import find
from ds_pipelines.scoring.score import score_day
from ds_pipelines_tests.operate.conftest import HELD_OUT, REPURCHASE, TABLES, Installation

if TYPE_CHECKING:
    from collections.abc import Callable

    from ds_pipelines.operate.erase import Erasure
    from ds_pipelines.settings import Settings


def pseudonym(customer: int, settings: Settings) -> str:
    [value] = pseudonyms.load(settings).of(pl.Series([customer]), "customer")
    return str(value)


def served(customer: int, settings: Settings) -> int:
    with closing(postgres.connect("serving", settings)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM repurchase_scores WHERE customer_id = %s", (customer,))
        ((count,),) = cursor.fetchall()
        return int(count)


@dataclass(frozen=True)
class Erased:
    """An installation after one person was erased, and what it was before."""

    place: Installation
    person: int
    words: set[str]
    """The person's pseudonym, and those of the person's orders, lines and tickets."""
    before: dict[str, pl.DataFrame]
    digests: set[str]
    dry: Erasure
    erasure: Erasure


@pytest.fixture(scope="module")
def erased(installation: Callable[[], Installation]) -> Erased:
    place = installation()
    person = place.customers[0]
    word, before = pseudonym(person, place.settings), place.tables()
    mine = {name: frame.filter(pl.col("customer_id") == word) for name, frame in before.items()}
    words = {word} | {value for name, frame in mine.items() if name != "customers" for value in frame.to_series(0)}
    dry = erase(str(person), place.settings, JOBS.values(), do_it=False)
    done = erase(str(person), place.settings, JOBS.values(), do_it=True)
    return Erased(place, person, words, before, place.store.digests(), dry, done)


def test_a_dry_run_changes_nothing(installation: Callable[[], Installation]) -> None:
    place = installation()
    person = place.customers[3]
    before, rows = place.bytes(), served(person, place.settings)
    erase(str(person), place.settings, JOBS.values(), do_it=False)
    assert place.bytes() == before
    assert served(person, place.settings) == rows == 1


def test_a_dry_run_tells_what_the_erasure_does(erased: Erased) -> None:
    assert erased.dry.snapshots == erased.erasure.snapshots
    assert erased.dry.scores == erased.erasure.scores
    assert len(erased.dry.files) == len(erased.erasure.files)
    assert erased.dry.evidence == erased.erasure.evidence
    assert erased.dry.retrain == erased.erasure.retrain


def test_neither_the_person_nor_the_persons_orders_are_in_any_file(erased: Erased) -> None:
    assert len(erased.words) > 3
    assert erased.place.holding(erased.words) == []


def test_the_identifier_itself_is_not_remembered(erased: Erased) -> None:
    text = (erased.place.settings.erased / "tombstones").read_text()
    assert str(erased.person) not in [
        part.strip('":, {}') for line in text.splitlines() for part in line.split('"mark"')
    ]
    assert not erased.words & set(text.split('"'))
    assert (erased.place.settings.erased / "tombstones").stat().st_mode & 0o777 == 0o600


def test_every_other_row_is_as_it_was(erased: Erased) -> None:
    after = erased.place.tables()
    [word] = erased.words & set(erased.before["customers"]["customer_id"])
    assert set(after) == set(TABLES)
    for name, frame in erased.before.items():
        assert after[name].equals(frame.filter(pl.col("customer_id").ne_missing(word))), name


def test_manifests_count_the_erased_rows(erased: Erased) -> None:
    for name, frame in erased.before.items():
        manifests = erased.place.store.manifests(name)
        assert sum(manifest.rows + manifest.erased_rows for manifest in manifests) == frame.height


def test_an_erased_snapshot_answers_that_it_was_erased(erased: Erased) -> None:
    manifest, _ = erased.erasure.snapshots.days[0]
    with pytest.raises(ErasedSnapshotError, match="a person in it was erased"):
        erased.place.store.path(manifest.digest)


def test_the_delivered_score_is_gone_and_the_receipt_tells_what_is_left(erased: Erased) -> None:
    settings = erased.place.settings
    assert served(erased.person, settings) == 0
    receipt = find(REPURCHASE, HELD_OUT, settings)
    assert receipt is not None
    with closing(postgres.connect("serving", settings)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT batch FROM receipts WHERE delivery = %s", (str(receipt.delivery),))
        [(batch,)] = cursor.fetchall()
        assert receipt.checksum == checksum(cursor, REPURCHASE, batch)
        cursor.execute("SELECT count(*) FROM repurchase_scores WHERE day = %s", (HELD_OUT,))
        assert cursor.fetchall() == [(receipt.rows,)]
        cursor.execute("SELECT rows FROM erasures WHERE job = 'repurchase' AND delivery = %s", (str(receipt.delivery),))
        assert (1,) in cursor.fetchall()


def test_the_champion_keeps_serving_and_leaves_the_person_out(erased: Erased) -> None:
    settings = erased.place.settings
    used = champion(REPURCHASE, settings)
    assert erased.erasure.evidence
    scored = score_day(REPURCHASE, HELD_OUT, settings, release=used.digest, model=used.model())
    assert scored.frame.height > 100
    assert erased.person not in scored.frame["customer_id"].to_list()


def test_releases_and_runs_to_train_anew_are_named(erased: Erased) -> None:
    kinds = {words.split()[0] for words in erased.erasure.retrain}
    assert kinds == {"release", "run"}


def test_a_later_extract_does_not_bring_the_person_back(erased: Erased) -> None:
    settings, store = erased.place.settings, erased.place.store
    manifests = [publish.extract_state("customers", settings)]
    for table in ("orders", "order_lines", "tickets"):
        manifests += publish.extract_days(table, settings.first_day, HELD_OUT + timedelta(days=1), settings)
    assert erased.place.holding(erased.words) == []
    left_out = {table: sum(each.erased_rows for each in manifests if each.table == table) for table in TABLES}
    assert left_out["customers"] == 1
    assert left_out["orders"] > 1
    assert store.manifests("customers")[-1].rows == erased.before["customers"].height - 1


def test_scoring_reads_production_without_the_person(erased: Erased) -> None:
    customers = production.transformed("customers", erased.place.settings)["customer_id"]
    assert erased.person not in customers.to_list()
    assert len(customers) == erased.before["customers"].height - 1


def test_nothing_is_extracted_when_the_secret_of_the_tombstones_is_missing(
    installation: Callable[[], Installation],
) -> None:
    place = installation()
    erase(str(place.customers[1]), place.settings, JOBS.values(), do_it=True)
    place.settings.tombstone_key.unlink()
    with pytest.raises(MissingSecretError, match="who was erased"):
        publish.extract_state("customers", place.settings)


def test_what_a_restored_backup_brought_back_is_erased_again_without_naming_anybody(
    installation: Callable[[], Installation],
) -> None:
    place, backup = installation(), installation()
    person = place.customers[2]
    word = pseudonym(person, place.settings)
    erase(str(person), place.settings, JOBS.values(), do_it=True)
    shutil.rmtree(place.settings.snapshots)
    shutil.copytree(backup.settings.snapshots, place.settings.snapshots)
    assert place.holding({word})
    erase(None, place.settings, JOBS.values(), do_it=True)
    assert place.holding({word}) == []


@pytest.mark.parametrize("customer", ["", "  "])
def test_an_empty_identifier_is_refused(installation: Callable[[], Installation], customer: str) -> None:
    with pytest.raises(EmptyIdentifierError):
        erase(customer, installation().settings, JOBS.values(), do_it=True)


def test_what_is_told_names_nobody_and_says_what_was_not_reached(erased: Erased) -> None:
    text = "\n".join(told(erased.erasure))
    assert not any(word in text for word in erased.words)
    assert "not reached: backups" in text
    assert "train anew: release" in text


def test_extracts_under_another_secret_are_told_as_not_reached(installation: Callable[[], Installation]) -> None:
    place = installation()
    place.settings.pseudonym_key.write_text("ab" * 32)
    erasure = erase(str(place.customers[0]), place.settings, JOBS.values(), do_it=False)
    assert any("customers, order_lines, orders, tickets" in words for words in erasure.unreached)


def test_a_record_of_an_erased_person_goes_from_rows_that_name_no_person() -> None:
    frame = pl.DataFrame(
        {"parcel": ["p1", "p2", "p3", "p4"], "order": ["o1", "o1", "o2", None], "by": [None, "other", None, None]}
    )
    kept, gone = tombstones.split(
        frame,
        person=[pl.Series([False] * 4)],
        records={"order": pl.Series([True, True, False, False])},
        domains={"parcel": "parcel", "order": "order", "by": "customer"},
        key=("parcel",),
    )
    assert gone["parcel"].to_list() == ["p1"]
    assert kept.rows() == [("p2", None, "other"), ("p3", "o2", None), ("p4", None, None)]


@pytest.mark.chaos
def test_an_erasure_that_is_killed_is_finished_by_the_next_one(
    installation: Callable[[], Installation], chaos_rounds: int
) -> None:
    place = installation()
    person = place.customers[4]
    word, before = pseudonym(person, place.settings), place.tables()
    command = [sys.executable, "-m", "ds_pipelines.cli", "erase", "--customer", str(person), "--do-it"]
    for at in range(chaos_rounds):
        process = subprocess.Popen(command, env=_environment(place.settings), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not (place.settings.erased / "tombstones").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05 * at)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert place.holding({word})
    erase(str(person), place.settings, JOBS.values(), do_it=True)
    assert place.holding({word}) == []
    for name, frame in place.tables().items():
        assert frame.equals(before[name].filter(pl.col("customer_id").ne_missing(word))), name


def _environment(settings: Settings) -> dict[str, str]:
    urls = {
        f"DS_{role.upper()}_URL": str(getattr(settings, f"{role}_url").get_secret_value())
        for role in ("extract", "scoring", "serving", "registry")
    }
    return {**os.environ, **settings.as_environment(), **urls}
