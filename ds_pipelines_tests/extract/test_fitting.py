"""What is fitted on data is found once for each version of the policy, and extract and scoring use the same."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from ds_pipelines.errors import DamagedFitError
from ds_pipelines.extract.policy import load
from ds_pipelines.extract.production import transformed
from ds_pipelines.extract.publish import extract_day, extract_state
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.extract.scenario import kept, policy_file

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.settings import Settings


def fits(written: str) -> str:
    return f"{{treatment: {written}, description: D., because: B.}}"


COLUMNS = {
    "id": kept(),
    "who": fits("{pseudonym: customer}"),
    "amount": fits("{generalise: {top: {quantile: 0.9}, bottom: {quantile: 0.1}}}"),
    "size": fits("{generalise: {bins: {quantiles: 4}}}"),
    "speed": fits("{generalise: {bins: {quantiles: 2}}}"),
    "town": fits("{rare: {below: 3}}"),
}


@pytest.fixture
def visits(place: Settings, sql: Any, tmp_path: Path) -> Settings:
    """A hundred visits of ten persons; in Ely are ten visits of one person, in Ayr three of three."""
    sql("CREATE TYPE town AS ENUM ('York', 'Ely', 'Ayr', 'Rye')")
    sql("""
        CREATE TABLE visits (id int, who int, amount numeric(8,2), size int, speed float8, town town, at date);
        INSERT INTO visits SELECT n, n % 10, n * 1.5, n, CASE WHEN n > 90 THEN float8 'NaN' ELSE n END,
            (CASE WHEN n % 10 = 1 THEN 'Ely' WHEN n IN (2, 3, 4) THEN 'Ayr' ELSE 'York' END)::town, NULL
        FROM generate_series(0, 99) AS n
    """)
    return decided(place, sql, tmp_path / "policy", COLUMNS)


def decided(place: Settings, sql: Any, folder: Path, columns: dict[str, str]) -> Settings:
    columns = columns | {"at": "{treatment: drop, because: B.}"}
    path = policy_file(folder, columns, schema=sql.schema, rows="all", key="[id]\n    person: who")
    return place.model_copy(update={"policies": path.parent})


def rows_of(settings: Settings, manifest: SnapshotManifest) -> pl.DataFrame:
    return pl.read_parquet(SnapshotStore(settings.snapshots).path(manifest.digest)).sort("id")


def test_edges_limits_and_frequent_categories_are_found_in_the_data(visits: Settings) -> None:
    rows = rows_of(visits, extract_state("visits", visits))
    assert (rows["amount"].min(), rows["amount"].max()) == (Decimal("13.50"), Decimal("133.50"))
    assert rows.schema["amount"] == pl.Decimal(38, 2)
    assert sorted(rows["size"].value_counts().rows()) == [
        ("24 to below 49", 25), ("49 to below 74", 25), ("74 and above", 26), ("below 24", 24)
    ]  # fmt: skip
    assert rows["speed"].null_count() == 9
    assert sorted(rows["town"].unique()) == ["Ayr", "York", "other"]  # ten visits to Ely are one person's
    assert rows.filter(pl.col("town") == "other")["id"].to_list() == list(range(1, 100, 10))


def test_it_is_found_once_and_scoring_uses_the_same(visits: Settings, sql: Any) -> None:
    before = rows_of(visits, extract_state("visits", visits))
    sql("UPDATE visits SET amount = amount + 1000, size = size + 1000, town = 'Rye' WHERE id >= 50")
    after = rows_of(visits, extract_state("visits", visits))
    assert (before["amount"].max(), after["amount"].max()) == (Decimal("133.50"), Decimal("133.50"))
    assert set(after["size"][50:]) == {"74 and above"}
    assert set(after["town"][50:]) == {"other"}
    assert transformed("visits", visits).sort("id").drop("who").equals(after.drop("who"))


def test_another_version_of_the_policy_is_fitted_anew(visits: Settings, sql: Any, tmp_path: Path) -> None:
    extract_state("visits", visits)
    sql("UPDATE visits SET amount = amount + 1000")
    newer = decided(visits, sql, tmp_path / "newer", COLUMNS | {"id": kept("Another description.")})
    assert rows_of(newer, extract_state("visits", newer))["amount"].max() == Decimal("1133.50")
    digests = {load(each.policies / "shop.yaml").digest for each in (visits, newer)}
    found = list((visits.home / "fitted").iterdir())
    assert {each.name for each in found} == digests
    for folder in found:
        assert folder.stat().st_mode & 0o777 == 0o700
        [file] = folder.iterdir()
        assert (file.name, file.stat().st_mode & 0o777) == ("visits.json", 0o600)


def test_without_a_value_there_is_nothing_to_fit_and_nothing_is_kept(visits: Settings, sql: Any) -> None:
    sql("UPDATE visits SET amount = NULL")
    made = rows_of(visits, extract_state("visits", visits))
    assert made["amount"].null_count() == 100
    sql("DELETE FROM visits")
    assert extract_state("visits", visits).rows == 0
    assert not (visits.home / "fitted").exists()
    sql("INSERT INTO visits VALUES (1, 1, 7, 7, 7, 'Rye', NULL)")
    assert rows_of(visits, extract_state("visits", visits)).row(0)[2:] == (
        Decimal("7.00"), "7 and above", "7 and above", "other"
    )  # fmt: skip


def test_a_damaged_fit_is_never_replaced_silently(visits: Settings) -> None:
    extract_state("visits", visits)
    [path] = (visits.home / "fitted").glob("*/*.json")
    path.write_text("{}")
    with pytest.raises(DamagedFitError, match="remove it, to fit anew"):
        extract_state("visits", visits)


def test_keyed_treatments_are_the_same_in_extract_and_scoring_and_by_day(
    place: Settings, sql: Any, tmp_path: Path
) -> None:
    sql(f"""
        CREATE TABLE visits (id int, who int, at timestamptz NOT NULL, born date, weight numeric(5,1));
        INSERT INTO visits SELECT n, n % 5, timestamptz '{place.first_day} 12:00+00', '1980-05-06', n
        FROM generate_series(1, 50) AS n
    """)
    columns = {
        "id": fits("{pseudonym: {domain: visit, as: bigint}}"),
        "who": fits("{pseudonym: {domain: customer, as: uuid}}"),
        "at": kept(),
        "born": fits("{shift: {days: 40, per: who}}"),
        "weight": fits("{noise: {scale: 4}}"),
    }
    path = policy_file(tmp_path / "policy", columns, schema=sql.schema, key="[id]")
    there = place.model_copy(update={"policies": path.parent})
    made = rows_of(there, extract_day("visits", there.first_day, there))
    real = transformed("visits", there)
    assert made["id"].dtype == pl.Int64
    assert made["born"].n_unique() == real["born"].n_unique() > 1
    assert date(1980, 5, 6) not in made["born"]
    assert sorted(made.select("born", "weight").rows()) == sorted(real.select("born", "weight").rows())


def test_values_that_are_not_needed_are_not_asked_for(place: Settings, sql: Any, tmp_path: Path) -> None:
    sql("CREATE TABLE visits (id int, name text, born date); INSERT INTO visits VALUES (1, 'Ada', '1815-12-10')")
    sql("REVOKE ALL ON visits FROM extract; GRANT SELECT (id) ON visits TO extract")
    columns = {"id": kept(), "name": fits("{constant: somebody}"), "born": fits("null")}
    path = policy_file(tmp_path / "policy", columns, schema=sql.schema, rows="all", key="[id]")
    there = place.model_copy(update={"policies": path.parent})
    rows = rows_of(there, extract_state("visits", there))
    assert rows.rows() == [(1, "somebody", None)]
    assert rows.schema["born"] == pl.Date()
