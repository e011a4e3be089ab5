"""The shop's tables in the production database, the source of everything: external assets that nothing here writes."""

import dagster as dg

from ds_pipelines.extract.policy import Policy, TablePolicy


def shop_tables(policy: Policy) -> list[dg.AssetSpec]:
    """`shop/<table>` for every table that the policy names, with what the policy says of each column."""
    return [_specification(table) for table in policy.tables.values()]


def _specification(table: TablePolicy) -> dg.AssetSpec:
    columns = [
        dg.TableColumn(name, "see the database", f"In extracts: {column.treatment.label}. {column.explanation}")
        for name, column in table.columns.items()
    ]
    return dg.AssetSpec(
        key=["shop", table.name],
        description=f"{table.description} In the production database, which only the extract and the scoring read.",
        owners=["team:platform-engineering"],
        group_name="production_database",
        kinds={"postgres", "table"},
        metadata={"dagster/column_schema": dg.TableSchema(columns), "dagster/table_name": f"shop.public.{table.name}"},
    )
