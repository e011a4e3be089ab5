"""Assets that fetch published tables through the gateway into the lab's cache.

What belongs here: which tables the data scientists can have, as assets, and telling a run of what becomes of its
request. What does not: how they are fetched or asked for (`lab.request`, `gateway.client`), and what the privacy policy
made of them (the gateway's manifests tell).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import Field

from ds_pipelines.errors import DsPipelinesError, SettingsError
from ds_pipelines.evidence import Column, SnapshotManifest
from ds_pipelines.gateway.users import SHARED
from ds_pipelines.gateway.wire import LONGEST_REASON
from ds_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from ds_pipelines.lab.request import Plea

Tables = Mapping[str, tuple[Literal["day", "state"], str]]
"""What can be fetched: whether its rows are those of a day or the state as it was read, and what it holds."""

SHOP: Tables = {
    "orders": ("day", "Orders placed on a day: sales and returns, with pseudonymous customers."),
    "order_lines": ("day", "Lines of the orders placed on a day: product, quantity, price."),
    "tickets": ("day", "Support tickets opened on a day; what was written in them is withheld."),
    "customers": ("state", "Customers as they are now: segment, age group, region; nobody's name."),
    "products": ("state", "Products as they are now."),
    "categories": ("state", "Categories as they are now."),
}
"""The sample shop's, until the gateway has told of others."""

SCORES = "scores_"
"""How the names of published scores begin."""
NAME = re.compile(r"[A-Za-z0-9_]+")
"""What Dagster takes for a name."""
STANDS_FOR = "defined in"
"""Metadata of an asset that stands for another location's."""
USER = "user"
"""The tag of a run that says who launched it (`operate.attribution`)."""


class Ask(dg.Config):
    """What to do about days that are not published yet."""

    because: str = Field(
        "", max_length=LONGEST_REASON, description="What they are needed for; those who answer for the data read it"
    )
    wait_minutes: int = Field(30, ge=1, le=150, description="For how long to wait for production at most")

    def reason(self, asset: str, days: str, user: str) -> str:
        """The reason given, or which asset and who wanted it."""
        return self.because.strip() or f"{user} materialized {asset}{days} in Dagster"


def known_tables(settings: Settings) -> Tables:
    """The tables that the gateway listed when it was last reached; the shop's, while it told of no other.

    Of the shop, some may not be published yet: they stay, because they can be asked for. Contacts nobody.
    """
    from ds_pipelines.gateway.client import last_tables

    try:
        listed = {each.table: each.rows_of for each in last_tables(settings) if NAME.fullmatch(each.table)}
    except SettingsError:  # said when something is fetched; the experiments' pages need no gateway
        return SHOP
    scores: Tables = {
        name: (rows_of, f"Scores that production delivered, as {name}: persons under pseudonyms, scores rounded.")
        for name, rows_of in listed.items()
        if name.startswith(SCORES)
    }
    if all(name in SHOP and SHOP[name][0] == rows_of for name, rows_of in listed.items() if name not in scores):
        return {**SHOP, **scores}
    return {name: (rows_of, f"The table {name}, as published.") for name, rows_of in listed.items()}


def extract_specs(settings: Settings) -> list[dg.AssetSpec]:
    """`extract/<table>` as it stands in the lineage of an instance that does not load production."""
    days = _days(settings)
    return [
        _extract_spec(name, days if rows_of == "day" else None) for name, (rows_of, _) in known_tables(settings).items()
    ]


def table_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """One asset a table: `lab/<table>`, downstream of production's `extract/<table>`."""
    days = _days(settings)
    return [_table_asset(name, rows_of, text, days) for name, (rows_of, text) in known_tables(settings).items()]


def _days(settings: Settings) -> dg.DailyPartitionsDefinition:
    return dg.DailyPartitionsDefinition(
        start_date=settings.first_day.isoformat(),
        end_date=settings.today.isoformat() if settings.today else None,
        timezone=settings.zone,
    )


def _extract_spec(table: str, days: dg.DailyPartitionsDefinition | None) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=["extract", table],
        partitions_def=days,
        description=(
            f"The anonymized extract of {table}, which production publishes and the gateway serves. It is made in the "
            f"code location production; here it is the source of lab/{table}, which asks for what is not there yet."
        ),
        owners=["team:platform-engineering"],
        group_name="anonymized_scores" if table.startswith(SCORES) else "anonymized_extracts",
        kinds={"postgres", "parquet"},
        metadata={STANDS_FOR: "the code location production"},
    )


def _table_asset(
    table: str, rows_of: Literal["day", "state"], description: str, days: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
    @dg.asset(
        key=["lab", table],
        deps=[dg.AssetDep(["extract", table])],
        partitions_def=days if rows_of == "day" else None,
        backfill_policy=dg.BackfillPolicy.single_run() if rows_of == "day" else None,
        description=(
            f"{description} Fetched through the gateway, verified, and kept in the lab's cache. What is not published "
            "yet is asked of production, and waited for."
        ),
        owners=["team:data-science"],
        group_name="lab_tables",
        kinds={"parquet", "polars"},
        tags={"dagster/max_runtime": "10800"},
    )
    def fetched(context: dg.AssetExecutionContext, config: Ask) -> Iterator[dg.MaterializeResult[Any]]:
        from ds_pipelines.gateway.client import connect
        from ds_pipelines.lab.request import ensure

        wanted = [date.fromisoformat(day) for day in context.partition_keys] if rows_of == "day" else None
        user = context.run.tags.get(USER, SHARED)
        with connect(load_settings(), user=None if user == SHARED else user) as gateway:
            chosen = ensure(gateway, table, wanted, _plea(context, config, table, wanted))
            gateway.fetch_all(chosen)
            with suppress(DsPipelinesError):  # only for the next load of this location
                gateway.tables()
        for manifest in chosen:
            # What the columns are goes with the last day only: it is the one whose columns the pages show.
            facts = _facts(manifest) | (_columns(manifest) if manifest is chosen[-1] else {})
            context.add_asset_metadata(facts, partition_key=None if rows_of == "state" else str(manifest.day))
        yield dg.MaterializeResult(data_version=_version(chosen))

    return fetched


def _plea(context: dg.AssetExecutionContext, config: Ask, table: str, days: Sequence[date] | None) -> "Plea":
    from ds_pipelines.lab.request import Plea

    words = "" if days is None else f" for {days[0]}" if len(days) == 1 else f" for {days[0]} to {days[-1]}"
    return Plea(
        because=config.reason(f"lab/{table}", words, context.run.tags.get(USER, SHARED)),
        patience=timedelta(minutes=config.wait_minutes),
        tell=context.log.info,
    )


def _version(chosen: Sequence[SnapshotManifest]) -> dg.DataVersion:
    """The rows' digest: fetching the same rows again makes no experiment out of date.

    The days of one run have one version in Dagster; of several, that of all their rows.
    """
    if len(chosen) == 1:
        return dg.DataVersion(chosen[0].logical_digest)
    digests = "".join(manifest.logical_digest for manifest in chosen)
    return dg.DataVersion(hashlib.sha256(digests.encode()).hexdigest())


def _facts(manifest: SnapshotManifest) -> dict[str, Any]:
    from ds_pipelines.gateway.ages import words

    return {
        "dagster/row_count": manifest.rows,
        "snapshot": manifest.digest,
        "rows' digest": manifest.logical_digest,
        "read from production": dg.MetadataValue.timestamp(manifest.read_at),
        "published": dg.MetadataValue.timestamp(manifest.published_at),
        "age when fetched": words(datetime.now(UTC) - manifest.published_at),
    }


def _columns(manifest: SnapshotManifest) -> dict[str, Any]:
    """The columns as they are, and that each comes from the extract's column of the same name."""
    source = dg.AssetKey(["extract", manifest.table])
    withheld = "\n".join(f"- `{each.name}`: {each.explanation or 'no reason given'}" for each in manifest.withheld)
    return {
        "dagster/column_schema": _column_schema(manifest.columns),
        "dagster/column_lineage": dg.TableColumnLineage(
            {column.name: [dg.TableColumnDep(source, column.name)] for column in manifest.columns}
        ),
        "withheld by the privacy policy": dg.MetadataValue.md(withheld or "nothing"),
    }


def _column_schema(columns: Iterable[Column]) -> dg.TableSchema:
    return dg.TableSchema([
        dg.TableColumn(each.name, each.dtype, description=f"{each.treatment}. {each.explanation}".strip())
        for each in columns
    ])  # fmt: skip
