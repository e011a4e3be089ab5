"""Assets that fetch published tables through the gateway into the lab's cache.

What belongs here: which tables the data scientists can have, as assets. What does not: how they are fetched
(`lab.table`) and what the privacy policy made of them (the gateway's manifests tell).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import dagster as dg

from ds_pipelines.evidence import Column
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

        wanted = set(context.partition_keys) if rows_of == "day" else None
        with connect(load_settings()) as gateway:
            published = gateway.manifests(table)
            chosen = published[-1:] if wanted is None else [each for each in published if str(each.day) in wanted]
            gateway.fetch_all(chosen)
        for manifest in chosen:
            facts = {
                "dagster/row_count": manifest.rows,
                "snapshot": manifest.digest,
                "read from production": dg.MetadataValue.timestamp(manifest.read_at),
            }
            partition = manifest.day.isoformat() if wanted is not None else None
            context.add_asset_metadata(facts, partition_key=partition)
        yield dg.MaterializeResult(metadata={"dagster/column_schema": _column_schema(chosen[-1].columns)})

    return fetched


def _column_schema(columns: Iterable[Column]) -> dg.TableSchema:
    return dg.TableSchema([
        dg.TableColumn(each.name, each.dtype, description=f"{each.treatment}. {each.explanation}".strip())
        for each in columns
    ])  # fmt: skip
