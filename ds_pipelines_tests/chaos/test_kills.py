"""Killed at random moments, an extract and a delivery leave what is whole, and the next try ends as if undisturbed.

A few rounds in every test run; `make chaos` asks for many.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from ds_pipelines import postgres
from ds_pipelines.settings import environment
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from ds_pipelines.settings import Settings

pytestmark = pytest.mark.chaos

SLOWER = 4
"""A round of these takes so many times as long as one of `test_changes`: they have so many fewer."""
ROLES: tuple[postgres.Role, ...] = ("extract", "scoring", "serving", "consumer")

EXTRACT = """
import sys
from datetime import date
from ds_pipelines.extract.publish import extract_days
from ds_pipelines.settings import load_settings
print("started", flush=True)
extract_days("orders", date.fromisoformat(sys.argv[1]), date.fromisoformat(sys.argv[2]), load_settings())
"""
DELIVER = """
import dataclasses, sys
from datetime import date
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.scoring.score import score_day
from ds_pipelines.settings import load_settings
job = dataclasses.replace(JOBS["top_sellers"], name="chaos", table="chaos")
day = date.fromisoformat(sys.argv[1])
print("started", flush=True)
settings = load_settings()
began = begin(settings)
scored = score_day(job, day, settings, release="0" * 64)
deliver(scored.frame, job, day, release="0" * 64, inputs=scored.inputs, settings=settings, began=began)
"""


@pytest.fixture
def elsewhere(settings: Settings, tmp_path: Path) -> Settings:
    """The same databases, and snapshots of its own."""
    urls = {f"{role}_url": SecretStr(postgres.url(role, settings)) for role in ROLES}
    return settings.model_copy(update={"home": tmp_path / "home", **urls})


def start(program: str, settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    urls = {f"DS_{role.upper()}_URL": postgres.url(role, settings) for role in ROLES}
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE, text=True, env=environment(**settings.as_environment(), **urls),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def kill_within(process: subprocess.Popen[str], seconds: float, chance: random.Random) -> None:
    time.sleep(chance.uniform(0, seconds))
    process.kill()
    process.communicate()


def undisturbed(program: str, settings: Settings, *arguments: str) -> float:
    began = time.monotonic()
    process = start(program, settings, *arguments)
    process.communicate(timeout=120)
    assert process.returncode == 0
    return time.monotonic() - began


def visible(settings: Settings) -> dict[date, str]:
    """The days of orders that are published, with the digest of what each holds; every file is read whole."""
    import hashlib

    store = SnapshotStore(settings.snapshots)
    if "orders" not in store.tables():
        return {}
    found = {manifest.day: manifest.digest for manifest in store.manifests("orders")}
    for digest in found.values():
        assert hashlib.sha256(store.path(digest).read_bytes()).hexdigest() == digest
    return found


def test_an_extract_killed_again_and_again_publishes_only_whole_days_and_then_all(
    elsewhere: Settings, tmp_path: Path, chaos_rounds: int
) -> None:
    chance = random.Random(7)
    first, last = elsewhere.first_day, elsewhere.first_day + timedelta(days=59)
    span = (str(first), str(last))
    calm = elsewhere.model_copy(update={"home": tmp_path / "calm"})
    key = calm.pseudonym_key
    seconds = undisturbed(EXTRACT, calm, *span)
    expected = visible(calm)
    elsewhere.secrets.mkdir(parents=True, mode=0o700)
    elsewhere.pseudonym_key.write_text(key.read_text())
    elsewhere.pseudonym_key.chmod(0o600)
    for _ in range(-(-chaos_rounds // SLOWER)):
        kill_within(start(EXTRACT, elsewhere, *span), seconds, chance)
        assert visible(elsewhere).items() <= expected.items()
    undisturbed(EXTRACT, elsewhere, *span)
    assert visible(elsewhere) == expected


def test_a_delivery_killed_again_and_again_is_there_whole_or_not_at_all_and_then_once(
    elsewhere: Settings, chaos_rounds: int
) -> None:
    chance = random.Random(11)
    day = elsewhere.last_extractable_day()
    seconds = undisturbed(DELIVER, elsewhere, str(day))
    whole = delivered(elsewhere, day)
    for _ in range(-(-chaos_rounds // SLOWER)):
        kill_within(start(DELIVER, elsewhere, str(day)), seconds, chance)
        assert delivered(elsewhere, day) == whole
    undisturbed(DELIVER, elsewhere, str(day))
    assert delivered(elsewhere, day) == whole


def delivered(settings: Settings, day: date) -> tuple[int, int, str]:
    """Receipts of the day, rows of the day, and the receipt's checksum."""
    with closing(postgres.connect("consumer", settings)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*), min(checksum) FROM receipts WHERE job = 'chaos' AND day = %s", (day,))
        receipts, checksum = cursor.fetchone() or (0, "")
        cursor.execute("SELECT count(*) FROM chaos WHERE day = %s", (day,))
        (rows,) = cursor.fetchone() or (0,)
    return receipts, rows, checksum
