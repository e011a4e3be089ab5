"""The extracts as Dagster shows them: each proof is an asset check, of what was published and of what was refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds_pipelines.extract.policy import SHOP, load
from ds_pipelines.extract.proofs import PROOFS
from ds_pipelines.extract.publish import extract_days
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.extract.scenario import VISITS_COLUMNS, policy_file

if TYPE_CHECKING:
    import dagster as dg
    import pytest

    from ds_pipelines.settings import Settings


def materialized(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, table: str, day: str | None = None
) -> dg.ExecuteInProcessResult:
    import dagster as dg

    from ds_pipelines.production.assets.extracts import extract_assets
    from ds_pipelines.production.days import daily

    urls = {"DS_EXTRACT_URL": settings.extract_url.get_secret_value()} if settings.extract_url else {}
    for name, value in (settings.as_environment() | urls).items():
        monkeypatch.setenv(name, value)
    assets = extract_assets(load(settings.policies / SHOP), daily(settings))
    [wanted] = [asset for asset in assets if asset.key.path[-1] == table]
    return dg.materialize([wanted], partition_key=day, raise_on_error=False)


def test_what_was_proved_is_shown_as_checks(place: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    result = materialized(place, monkeypatch, "tickets", str(place.first_day))
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert result.success
    assert set(checks) == set(PROOFS)
    assert all(check.passed for check in checks.values())
    assert "read" in checks["rows"].metadata
    page = str(checks["rows"].metadata["privacy report"].value)
    assert "every proof holds" in Path(page).read_text()


def test_a_proof_that_failed_is_shown_and_fails_the_run(
    place: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("policies")
    written = (place.policies / SHOP).read_text()
    fine = "    person: customer_id\n    quasi_identifiers: [postcode, birth_date]\n    k: 50\n"
    (folder / SHOP).write_text(written.replace("    person: customer_id\n", fine, 1))
    settings = place.model_copy(update={"policies": folder})
    result = materialized(settings, monkeypatch, "customers")
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert not result.success
    assert checks["k_anonymity"] is False
    assert checks["nobody_named"] is True
    assert not (settings.snapshots / "published" / "customers").exists()


def test_what_an_extract_did_to_production_is_shown(place: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    result = materialized(place, monkeypatch, "products")
    [shown] = [event.materialization.metadata for event in result.get_asset_materialization_events()]
    assert "the probe took" in str(shown["harm"].value)
    assert {"rows a second", "seconds waited"} <= shown.keys()


def test_with_the_newest_day_earlier_ones_are_read_again_and_shown_if_they_have_changed(
    place: Settings, sql: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = place.last_extractable_day()
    sql(f"""
        CREATE TABLE visits (visit_id int PRIMARY KEY, at timestamptz NOT NULL, note text);
        CREATE INDEX ON visits (at);
        INSERT INTO visits SELECT n, timestamptz '{newest} 12:00+00' - n * interval '12 hours'
        FROM generate_series(0, 9) AS n
    """)
    path = policy_file(tmp_path / "policies", VISITS_COLUMNS, schema=sql.schema)
    settings = place.model_copy(update={"policies": path.parent})
    before = extract_days("visits", newest - timedelta(2), newest - timedelta(1), settings)
    sql("DELETE FROM visits WHERE visit_id = 2")
    result = materialized(settings, monkeypatch, "visits", str(newest))
    assert result.success
    shown = {event.partition for event in result.get_asset_materialization_events()}
    assert shown == {str(newest), str(newest - timedelta(1))}
    now = SnapshotStore(settings.snapshots).manifests("visits")
    assert [each.rows for each in now] == [before[0].rows, before[1].rows - 1, 2]
    assert now[0] == before[0]
