"""A change of keys: every pseudonym is another, everything joins as before, and nobody sees both at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import polars as pl
import pytest

from ds_pipelines import postgres
from ds_pipelines.errors import (
    ErasedSnapshotError,
    ForeignPseudonymsError,
    MissingSecretError,
    UnfinishedRotationError,
)
from ds_pipelines.extract import pseudonyms, publish
from ds_pipelines.extract.rotation import rotate, told
from ds_pipelines.operate.erase import erase
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.release.registry import champion
from ds_pipelines_tests.operate.conftest import HELD_OUT, REPURCHASE, Installation
from ds_pipelines_tests.operate.test_erase import _environment, pseudonym

if TYPE_CHECKING:
    from collections.abc import Callable

PSEUDONYMS = {
    "customers": ["customer_id"],
    "orders": ["order_id", "customer_id"],
    "order_lines": ["order_line_id", "order_id", "customer_id"],
    "tickets": ["ticket_id", "customer_id", "order_id"],
}


def words_of(tables: dict[str, pl.DataFrame]) -> set[str]:
    return {word for name, columns in PSEUDONYMS.items() for column in columns for word in tables[name][column] if word}


def test_every_pseudonym_changes_and_every_join_and_value_stays(installation: Callable[[], Installation]) -> None:
    place = installation()
    before = place.tables()
    former = {place.store.manifest("orders", HELD_OUT).digest}
    rotate(place.settings, do_it=True)
    after = place.tables()
    assert not words_of(before) & words_of(after)
    assert len(words_of(before)) == len(words_of(after))
    for name, frame in before.items():
        values = frame.drop(PSEUDONYMS[name])
        assert after[name].drop(PSEUDONYMS[name]).sort(pl.all()).equals(values.sort(pl.all())), name
    for tables in (before, after):
        known = set(tables["orders"]["order_id"])
        assert tables["order_lines"]["order_id"].is_in(list(known)).all()
    spent = [
        tables["orders"].join(tables["order_lines"], on=["order_id", "customer_id"], nulls_equal=True).height
        for tables in (before, after)
    ]
    assert spent[0] == spent[1]
    assert place.holding(set(list(words_of(before))[:50]) | set(before["customers"]["customer_id"])) == []
    with pytest.raises(ErasedSnapshotError, match="a secret that was replaced"):
        place.store.path(former.pop())


def test_the_new_secret_is_in_use_and_the_old_one_is_gone(installation: Callable[[], Installation]) -> None:
    place = installation()
    old = place.settings.pseudonym_key.read_text()
    rotation = rotate(place.settings, do_it=True)
    assert old.strip().encode() not in b"".join(place.bytes().values())
    assert pseudonyms.load(place.settings).key_id == rotation.new_key != rotation.old_key
    assert {manifest.key_id for manifest in place.store.manifests("orders")} == {rotation.new_key}
    assert not place.settings.next_pseudonym_key.exists()
    digest = place.store.manifest("orders", HELD_OUT).digest
    assert publish.extract_day("orders", HELD_OUT, place.settings).digest == digest


def test_a_dry_run_changes_nothing(installation: Callable[[], Installation]) -> None:
    place = installation()
    before = place.bytes()
    rotation = rotate(place.settings, do_it=False)
    assert place.bytes() == before
    assert rotation.rows == {name: frame.height for name, frame in place.tables().items()}
    assert "dry run" in "".join(told(rotation))


def test_the_champion_keeps_serving_and_artifacts_have_the_new_pseudonyms(
    installation: Callable[[], Installation],
) -> None:
    place = installation()
    rotate(place.settings, do_it=True)
    assert champion(REPURCHASE, place.settings).model() is not None
    [path] = place.settings.artifacts.rglob("predictions.parquet")
    held_out = pl.read_parquet(path)
    assert held_out["customer_id"].is_in(place.tables()["customers"]["customer_id"].to_list()).all()
    assert held_out.height > 100


def test_what_production_no_longer_holds_is_dropped_and_counted(
    installation: Callable[[], Installation],
) -> None:
    place = installation()
    counts = {name: frame.height for name, frame in place.tables().items()}
    with closing(postgres.connect("owner", place.settings)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT ticket_id FROM tickets WHERE opened_at < %s ORDER BY ticket_id LIMIT 3", (HELD_OUT,))
        gone = tuple(ticket for (ticket,) in cursor.fetchall())
        cursor.execute("CREATE TEMP TABLE kept AS SELECT * FROM tickets WHERE ticket_id IN %s", (gone,))
        cursor.execute("DELETE FROM tickets WHERE ticket_id IN %s", (gone,))
        connection.commit()
        try:
            rotation = rotate(place.settings, do_it=True)
        finally:
            cursor.execute("INSERT INTO tickets SELECT * FROM kept")
            connection.commit()
    assert rotation.dropped == {"customers": 0, "order_lines": 0, "orders": 0, "tickets": 3}
    assert place.tables()["tickets"].height == counts["tickets"] - 3


def test_an_erased_person_stays_erased_after_a_change_of_keys(installation: Callable[[], Installation]) -> None:
    place, backup = installation(), installation()
    person = place.customers[5]
    erase(str(person), place.settings, JOBS.values(), do_it=True)
    rotate(place.settings, do_it=True)
    publish.extract_state("customers", place.settings)
    word = pseudonym(person, place.settings)
    assert place.holding({word}) == []
    assert backup.holding({pseudonym(person, backup.settings)})


def test_extracts_of_a_third_secret_are_refused_before_anything_is_made(
    installation: Callable[[], Installation],
) -> None:
    place = installation()
    place.settings.pseudonym_key.write_text("ab" * 32)
    before = place.bytes()
    with pytest.raises(ForeignPseudonymsError, match="customers"):
        rotate(place.settings, do_it=True)
    assert place.bytes() == before


def test_without_a_secret_there_is_nothing_to_change(installation: Callable[[], Installation]) -> None:
    place = installation()
    place.settings.pseudonym_key.unlink()
    with pytest.raises(MissingSecretError):
        rotate(place.settings, do_it=True)


def test_nobody_is_erased_between_two_keys(installation: Callable[[], Installation]) -> None:
    place = installation()
    pseudonyms.new_secret(place.settings.next_pseudonym_key)
    with pytest.raises(UnfinishedRotationError, match="rotate-key"):
        erase(str(place.customers[0]), place.settings, JOBS.values(), do_it=True)


@pytest.mark.chaos
def test_killed_at_any_moment_one_key_is_published_and_the_next_call_finishes(
    installation: Callable[[], Installation], chaos_rounds: int
) -> None:
    place = installation()
    before = place.tables()
    command = [sys.executable, "-m", "ds_pipelines.cli", "rotate-key", "--do-it"]
    for at in range(chaos_rounds):
        started = time.monotonic()
        process = subprocess.Popen(command, env=_environment(place.settings), stdout=subprocess.DEVNULL)
        while not place.settings.next_pseudonym_key.exists() and time.monotonic() < started + 30:
            time.sleep(0.01)
        time.sleep(0.4 * at)
        process.send_signal(signal.SIGKILL)
        process.wait()
        published = [each for table in PSEUDONYMS for each in place.store.manifests(table)]
        assert {each.key_id for each in published} == {pseudonyms.load(place.settings).key_id}
        assert {name: frame.height for name, frame in place.tables().items()} == {
            name: frame.height for name, frame in before.items()
        }
    rotate(place.settings, do_it=True)
    assert not words_of(before) & words_of(place.tables())
    assert place.holding(set(before["customers"]["customer_id"])) == []


def test_stopped_after_the_switch_extracts_use_the_new_secret_and_the_next_call_finishes(
    installation: Callable[[], Installation],
) -> None:
    place = installation()
    before = place.tables()
    obstacle = place.settings.registry_artifacts / "withdrawn"
    obstacle.mkdir()
    with pytest.raises(IsADirectoryError):
        rotate(place.settings, do_it=True)
    published = place.store.manifest("orders", HELD_OUT)
    assert published.key_id == pseudonyms.load(place.settings).key_id
    assert publish.extract_day("orders", HELD_OUT, place.settings).digest == published.digest
    obstacle.rmdir()
    rotate(place.settings, do_it=True)
    assert pseudonyms.load(place.settings).key_id == published.key_id
    assert not place.settings.next_pseudonym_key.exists()
    assert place.holding(set(before["customers"]["customer_id"])) == []
