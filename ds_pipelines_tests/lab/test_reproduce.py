"""A run is repeated from what it recorded; what differs is named with its cause, and what cannot is said."""

from __future__ import annotations

import platform
import shutil
import subprocess
import textwrap
from datetime import timedelta
from typing import TYPE_CHECKING
from zipfile import ZipFile

import polars as pl
import pytest

from ds_pipelines import lab
from ds_pipelines.evidence import Reproduction
from ds_pipelines.lab import pruning
from ds_pipelines.lab.capture_environment import installed
from ds_pipelines.lab.history import opened
from ds_pipelines.lab.own_environment import interpreter, name_of
from ds_pipelines.lab.reproduce import reproduce
from ds_pipelines.settings import PROJECT, environment
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.gateway.scenario import MONDAY, orders_of, publish

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.settings import Settings

PACKAGE = "ds_test_rates"
HELPER = "FACTOR = 2\n"
COUNT = """
import polars as pl
from ds_pipelines import lab
from {name}_helper import FACTOR

orders = lab.table("{name}").collect()
lab.save(orders.select("order_id", doubled=pl.col("paid") * FACTOR), "orders")
lab.metric("paid", float(orders["paid"].sum()) * FACTOR)
"""
FIRST = orders_of(MONDAY)


@pytest.fixture(scope="module")
def counted(installation: Settings) -> str:
    """A run of COUNT, which many tests repeat."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in installation.as_environment().items():
            patch.setenv(key, value)
        return run_once(installation, "counted", COUNT)


@pytest.fixture
def run_id(counted: str, desk: Settings) -> str:
    """That run, all it read and imported being as it was then."""
    as_then(desk, "counted")
    return counted


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An experiment, and a table, that no other test has."""
    return request.node.name.removeprefix("test_").split("[")[0][:50]


@pytest.fixture
def make(desk: Settings, name: str) -> Callable[[str], str]:
    """Writes a script with its helper and runs it once; returns the run's id."""
    return lambda script: run_once(desk, name, script)


def run_once(settings: Settings, name: str, script: str) -> str:
    as_then(settings, name)
    write(settings, name, script)
    return lab.run(name, settings=settings).record.run_id


def as_then(settings: Settings, name: str) -> None:
    publish(settings, name, {MONDAY: FIRST})
    (settings.experiments / f"{name}_helper.py").write_text(HELPER)


def write(settings: Settings, name: str, script: str) -> None:
    (settings.experiments / f"{name}.py").write_text(textwrap.dedent(script).replace("{name}", name))


def kinds(found: Reproduction) -> list[str]:
    return [cause.kind for cause in found.causes]


def test_a_run_is_repeated_identically_and_the_answer_is_kept_with_it(run_id: str, installation: Settings) -> None:
    found = reproduce(run_id, installation)
    assert found.answer == "identical", found.words
    assert {each.artifact for each in found.outputs} >= {"tables/orders.parquet", "metric paid", "stdout.txt"}
    assert (found.causes, found.executions) == ((), 1)
    with opened(installation) as history:
        run = history.run(found.run_id)
        with history.artifacts(run) as folder:
            kept = Reproduction.model_validate_json((folder / "evidence" / "reproduction.json").read_bytes())
    assert (run.reproduction, kept) == ("identical", found)


def test_an_edited_helper_changes_nothing_unless_it_is_asked_for(run_id: str, installation: Settings) -> None:
    (installation.experiments / "counted_helper.py").write_text("FACTOR = 3\n")
    restored = reproduce(run_id, installation)
    assert restored.answer == "identical", restored.words
    assert [(each.kind, each.words) for each in restored.changed_since] == [
        ("edited helper", "counted_helper.py was edited since the run")
    ]
    today = reproduce(run_id, installation, today=["code"])
    assert today.answer == "differs"
    assert today.first_difference == "tables/orders.parquet"
    assert [(each.kind, each.proven) for each in today.causes] == [("edited helper", True)]


def test_data_published_anew_is_restored_and_named(run_id: str, installation: Settings) -> None:
    publish(installation, "counted", {MONDAY: FIRST.with_columns(paid=pl.col("paid") * 2)})
    assert reproduce(run_id, installation).answer == "identical"
    today = reproduce(run_id, installation, today=["data"])
    assert (today.answer, kinds(today)) == ("differs", ["changed data"])
    assert f"counted of {MONDAY}" in today.causes[0].words


def test_the_same_rows_in_another_order_are_named_so(run_id: str, installation: Settings) -> None:
    publish(installation, "counted", {MONDAY: FIRST.reverse()})
    today = reproduce(run_id, installation, today=["data"])
    assert (today.answer, kinds(today)) == ("differs", ["reordered rows"])
    assert today.outputs[0].likeness == "reordered"


def test_of_two_changes_the_one_that_matters_is_found_by_trying_each(run_id: str, installation: Settings) -> None:
    (installation.experiments / "counted_helper.py").write_text("FACTOR = 2  # twice\n")
    publish(installation, "counted", {MONDAY: FIRST.with_columns(paid=pl.col("paid") * 2)})
    today = reproduce(run_id, installation, today=["code", "data"])
    assert [(each.kind, each.proven) for each in today.causes] == [("changed data", True)]


def test_erased_data_cannot_be_had_back(make: Callable[..., str], installation: Settings, name: str) -> None:
    run_id = make(COUNT)
    for path in installation.cache.rglob("*.parquet"):  # an erasure empties caches, too
        path.unlink()
    publish(installation, name, {MONDAY: FIRST.head(2)}, erased_rows=1)
    found = reproduce(run_id, installation)
    assert (found.answer, kinds(found)) == ("cannot", ["erased data"])
    assert "1 rows of persons who were erased" in found.words


def test_a_missing_seed_is_found_by_repeating(make: Callable[..., str], installation: Settings) -> None:
    found = reproduce(make("""
        import numpy as np
        from ds_pipelines import lab
        lab.metric("drawn", np.random.default_rng().normal())
    """), installation)  # fmt: skip
    assert (found.answer, kinds(found)) == ("differs", ["missing seed"])
    assert "default_rng" in found.causes[0].words
    assert found.causes[0].proven


def test_an_order_of_hashes_is_a_missing_seed(make: Callable[..., str], installation: Settings) -> None:
    found = reproduce(make("""
        import polars as pl
        from ds_pipelines import lab
        lab.save(pl.DataFrame({"word": list({f"word {n}" for n in range(50)})}), "words")
    """), installation)  # fmt: skip
    assert (found.answer, found.outputs[0].likeness, kinds(found)) == ("differs", "reordered", ["missing seed"])


def test_rows_whose_order_no_seed_reaches_are_named(make: Callable[..., str], installation: Settings) -> None:
    found = reproduce(make("""
        import os
        import polars as pl
        from ds_pipelines import lab
        lab.save(pl.DataFrame({"row": sorted(range(500), key=lambda row: os.urandom(8))}), "rows")
    """), installation)  # fmt: skip
    assert (found.outputs[0].likeness, kinds(found)) == ("reordered", ["reordered rows"])


def test_threads_that_add_in_any_order_are_named(make: Callable[..., str], installation: Settings) -> None:
    found = reproduce(make("""
        import os, threading, time
        import joblib, numpy as np, polars as pl
        from ds_pipelines import lab

        total, lock = np.zeros(200), threading.Lock()
        def add(row):
            time.sleep(os.urandom(1)[0] / 1e5)  # whichever is done first
            with lock:
                total[:] += row
        rows = np.random.default_rng(1).normal(size=(60, 200))
        joblib.Parallel(n_jobs=2, backend="threading")(joblib.delayed(add)(row) for row in rows)
        lab.save(pl.DataFrame({"total": total}), "totals")
    """), installation)  # fmt: skip
    assert found.answer == "equal within tolerance", found.words
    assert [(each.kind, each.proven) for each in found.causes] == [("threads", True)]


def test_a_variable_of_today_is_named_without_its_value(
    make: Callable[..., str], installation: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = make("""
        import os
        from ds_pipelines import lab
        lab.metric("rate", float(os.environ.get("VAT_RATE", "0.2")))
    """)
    monkeypatch.setenv("VAT_RATE", "0.19")
    assert reproduce(run_id, installation).answer == "identical"
    today = reproduce(run_id, installation, today=["variables"])
    assert (today.answer, kinds(today)) == ("differs", ["environment variable"])
    assert "VAT_RATE" in today.causes[0].words
    assert "0.19" not in today.causes[0].words


def test_only_the_time_that_is_printed_differs(make: Callable[..., str], installation: Settings) -> None:
    found = reproduce(make("import time\nprint(f'it is {time.strftime(\"%H:%M:%S\")}')\ntime.sleep(1)"), installation)
    assert (found.answer, kinds(found)) == ("differs", ["clock"])


def test_a_file_that_no_run_records_is_what_fails(make: Callable[..., str], installation: Settings, name: str) -> None:
    (installation.experiments / f"{name}.json").write_text("{}")
    run_id = make("import json\njson.load(open('{name}.json'))")
    (installation.experiments / f"{name}.json").unlink()
    found = reproduce(run_id, installation)
    assert (found.answer, kinds(found)) == ("differs", ["unrecorded"])


def test_a_run_that_outlives_the_days_it_read_is_named(
    make: Callable[..., str], installation: Settings, name: str
) -> None:
    run_id = make(COUNT)
    store = SnapshotStore(installation.snapshots)
    [first] = store.manifests(name)
    publish(installation, name, {MONDAY + timedelta(days=1): FIRST})
    store.unpublish([first])
    pruned = pruning.prune(installation, store=installation.tracking_base, do_it=False)
    assert f"run {run_id[:12]} outlives its data, which is no longer published: {name} {MONDAY}" in pruning.told(pruned)


# Environments


def wheel(folder: Path, version: str) -> Path:
    """A package of one line that is on no index."""
    path = folder / f"{PACKAGE}-{version}-py3-none-any.whl"
    facts = f"{PACKAGE}-{version}.dist-info"
    with ZipFile(path, "w") as archive:
        archive.writestr(f"{PACKAGE}.py", f"RATE = {version}\n")
        archive.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {version}\n")
        archive.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{facts}/RECORD", "")
    return path


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which uv looks for packages, too."""
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    return tmp_path


RATE = """
from ds_pipelines import lab
try:
    from ds_test_rates import RATE
except ImportError:
    RATE = 2.0
lab.metric("rate", RATE)
"""


def test_other_packages_are_restored_in_an_environment_of_their_own(
    desk: Settings, installation: Settings, name: str, links: Path
) -> None:
    write(installation, name, RATE)
    kept = wheel(links, "1.0")
    then = {**installed(), name_of(PACKAGE): "1.0"}
    lock = (PROJECT / "requirements.lock").read_bytes()
    python = interpreter(then, platform.python_version(), lock, installation)
    assert python.is_relative_to(installation.environments)
    subprocess.run(
        [python, "-m", "ds_pipelines.cli", "run", name], env=environment(**installation.as_environment()), check=True,
        capture_output=True,
    )  # fmt: skip

    restored = reproduce(name, installation)
    assert restored.answer == "identical", restored.words
    assert restored.python == str(python)

    today = reproduce(name, installation, today=["environment"])
    assert (today.answer, kinds(today)) == ("differs", ["package version"])
    assert f"{name_of(PACKAGE)} was 1.0 and is not installed" in today.causes[0].words

    shutil.rmtree(installation.environments)
    kept.unlink()
    gone = reproduce(name, installation)
    assert (gone.answer, kinds(gone)) == ("cannot", ["package gone"])
    assert f"{name_of(PACKAGE)}==1.0" in gone.words
