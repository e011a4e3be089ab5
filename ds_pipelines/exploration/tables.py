"""Assets that fetch published tables through the gateway into the lab's cache.

What belongs here: which tables the data scientists can have, as assets. What does not: how they are fetched
(`lab.table`) and what the privacy policy made of them (the gateway's manifests tell).
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any, Literal

import dagster as dg

from ds_pipelines.errors import MissingDaysError
from ds_pipelines.evidence import Column, SnapshotManifest
from ds_pipelines.settings import Settings, load_settings

TABLES: Mapping[str, tuple[Literal["day", "state"], str]] = {
    "orders": ("day", "Orders placed on a day: sales and returns, with pseudonymous customers."),
    "order_lines": ("day", "Lines of the orders placed on a day: product, quantity, price."),
    "tickets": ("day", "Support tickets opened on a day; what was written in them is withheld."),
    "customers": ("state", "Customers as they are now: segment, age group, region; nobody's name."),
    "products": ("state", "Products as they are now."),
    "categories": ("state", "Categories as they are now."),
}
"""What can be fetched: whether its rows are those of a day or the state as it was read, and what it holds."""


def table_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """One asset a table: `lab/<table>`, downstream of production's `extract/<table>`."""
    days = dg.DailyPartitionsDefinition(
        start_date=settings.first_day.isoformat(),
        end_date=settings.today.isoformat() if settings.today else None,
        timezone=settings.zone,
    )
    return [_table_asset(name, rows_of, text, days) for name, (rows_of, text) in TABLES.items()]


def _table_asset(
    table: str, rows_of: Literal["day", "state"], description: str, days: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
    @dg.asset(
        key=["lab", table],
        deps=[dg.AssetDep(["extract", table])],
        partitions_def=days if rows_of == "day" else None,
        backfill_policy=dg.BackfillPolicy.single_run() if rows_of == "day" else None,
        description=f"{description} Fetched through the gateway, verified, and kept in the lab's cache.",
        owners=["team:data-science"],
        group_name="lab_tables",
        kinds={"parquet", "polars"},
        tags={"dagster/max_runtime": "1800"},
    )
    def fetched(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        from ds_pipelines.gateway.client import connect

        with connect(load_settings()) as gateway:
            published = gateway.manifests(table)
            chosen = published[-1:] if rows_of == "state" else _of_days(table, published, context.partition_keys)
            gateway.fetch_all(chosen)
        for manifest in chosen:
            # What the columns are goes with the last day only: it is the one whose columns the pages show.
            facts = _facts(manifest) | (_columns(manifest) if manifest is chosen[-1] else {})
            context.add_asset_metadata(facts, partition_key=None if rows_of == "state" else str(manifest.day))
        # The rows' digest as the version: fetching the same rows again makes no experiment out of date.
        version = dg.DataVersion(chosen[-1].logical_digest) if rows_of == "state" else None
        yield dg.MaterializeResult(data_version=version)

    return fetched


def _of_days(table: str, published: Iterable[SnapshotManifest], days: Iterable[str]) -> list[SnapshotManifest]:
    by_day = {str(each.day): each for each in published}
    if missing := [date.fromisoformat(day) for day in days if day not in by_day]:
        raise MissingDaysError(table, missing)
    return [by_day[day] for day in days]


def _facts(manifest: SnapshotManifest) -> dict[str, Any]:
    return {
        "dagster/row_count": manifest.rows,
        "snapshot": manifest.digest,
        "read from production": dg.MetadataValue.timestamp(manifest.read_at),
    }


def _columns(manifest: SnapshotManifest) -> dict[str, Any]:
    """The columns as they are, and that each comes from the extract's column of the same name."""
    source = dg.AssetKey(["extract", manifest.table])
    return {
        "dagster/column_schema": _column_schema(manifest.columns),
        "dagster/column_lineage": dg.TableColumnLineage(
            {column.name: [dg.TableColumnDep(source, column.name)] for column in manifest.columns}
        ),
    }


def _column_schema(columns: Iterable[Column]) -> dg.TableSchema:
    return dg.TableSchema([
        dg.TableColumn(each.name, each.dtype, description=f"{each.treatment}. {each.explanation}".strip())
        for each in columns
    ])  # fmt: skip
