"""Anonymized extracts: one asset a table of the privacy policy.

What belongs here: the assets, a manifest's facts as metadata, and each proof as an asset check. What does not: reading,
anonymizing, proving and publishing, which are the extract's.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg

from ds_pipelines.evidence import SnapshotManifest
from ds_pipelines.extract.harm import Harm
from ds_pipelines.extract.policy import Policy, TablePolicy
from ds_pipelines.extract.proofs import PROOFS, Proofs
from ds_pipelines.settings import Settings, load_settings


def extract_assets(policy: Policy, days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """`extract/<table>` for every table of the policy; by day where the policy says so."""
    return [_extract_asset(table, days if table.by_day else None) for table in policy.tables.values()]


def _extract_asset(table: TablePolicy, days: dg.DailyPartitionsDefinition | None) -> dg.AssetsDefinition:
    rows = f"Rows of a day, by {table.by_day}." if days else "All rows, as they were when read."
    withheld = f" Withheld: {', '.join(table.withheld)}." if table.withheld else ""

    @dg.asset(
        key=["extract", table.name],
        deps=[dg.AssetDep(["shop", table.name])],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run() if days else None,
        description=f"{table.description} {rows}{withheld} Anonymized by the privacy policy; still personal data.",
        owners=["team:platform-engineering"],
        group_name="anonymized_extracts",
        kinds={"postgres", "parquet"},
        metadata={"dagster/column_schema": _column_schema(table)},
        check_specs=_check_specs(table),
        pool="production_database",
        tags={"dagster/max_runtime": "3600"},
    )
    def extracted(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        from ds_pipelines.errors import ProofFailedError
        from ds_pipelines.extract.pace import polite
        from ds_pipelines.extract.publish import extract_days, extract_state

        polite()
        told, settings = _Told([], []), load_settings()
        try:
            if days is None:
                newest = extract_state(table.name, settings, told.proofs.append, told.harms.append)
                # The rows' digest as the version: reading the same rows again makes nothing downstream out of date.
                version, facts = dg.DataVersion(newest.logical_digest), _facts(newest) | _columns(newest)
                result = dg.MaterializeResult[Any](metadata=facts | told.harm, data_version=version)
            else:
                wanted = context.partition_key_range
                first, last = date.fromisoformat(wanted.start), date.fromisoformat(wanted.end)
                for manifest in extract_days(
                    table.name, first, last, settings, on_proofs=told.proofs.append, on_harm=told.harms.append
                ):
                    # What the columns are goes with the last day only: it is the one whose columns the pages show.
                    facts = _facts(manifest) | (_columns(manifest) | told.harm if manifest.day == last else {})
                    context.add_asset_metadata(facts, partition_key=manifest.day.isoformat())
                if first == last == settings.last_extractable_day():
                    _reconcile(context, table.name, last, settings)
                result = dg.MaterializeResult()
        except ProofFailedError:
            yield from _checks(told.proofs)
            raise
        yield result
        yield from _checks(told.proofs)

    return extracted


@dataclass(frozen=True)
class _Told:
    """What an extract tells beside its manifests."""

    proofs: list[Proofs]
    harms: list[Harm]

    @property
    def harm(self) -> dict[str, Any]:
        """What it did to production, with a plot of it."""
        from ds_pipelines.extract.harm_plot import plot

        told: dict[str, Any] = {}
        for harm in self.harms:
            told |= {
                "harm": "\n".join([harm.words, *harm.notes]),
                "rows a second": round(harm.rate),
                "seconds waited": round(sum(harm.waited.values()), 1),
            }
            if (picture := plot(harm)) is not None:
                encoded = base64.b64encode(picture).decode()
                told["pace"] = dg.MarkdownMetadataValue(
                    f"![What it did to production](data:image/png;base64,{encoded})"
                )
        return told


def _reconcile(context: dg.AssetExecutionContext, table: str, newest: date, settings: Settings) -> None:
    """Reads the days before the newest again; what has changed becomes visible as if it had been extracted anew."""
    from ds_pipelines.extract.reconcile import reconcile

    done = reconcile(table, settings, before=newest, days=settings.reconcile_days)
    context.log.info("%d earlier days were read again, %d had changed", len(done.read), len(done.changed))
    for manifest in done.changed:
        day = manifest.day.isoformat()
        context.log_event(dg.AssetMaterialization(context.asset_key, metadata=_facts(manifest), partition=day))


def _check_specs(table: TablePolicy) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(name, asset=["extract", table.name], description=description)
        for name, description in PROOFS.items()
    ]


def _checks(proved: list[Proofs]) -> Iterator[dg.AssetCheckResult]:
    """What was proved, be it that it failed; of an extract that failed, the proofs that were made."""
    for proofs in proved:
        page = {"privacy report": dg.MetadataValue.path(str(proofs.report))} if proofs.report else {}
        for proof in proofs.proofs:
            figures = dict(proof.figures) | page
            yield dg.AssetCheckResult(
                passed=proof.passed, check_name=proof.name, description=proof.found, metadata=figures
            )


def _facts(manifest: SnapshotManifest) -> dict[str, Any]:
    return {
        "dagster/row_count": manifest.rows,
        "day": manifest.day.isoformat(),
        "snapshot": manifest.digest,
        "bytes": manifest.bytes,
        "policy": manifest.policy_digest,
        "key": manifest.key_id,
    }


def _column_schema(table: TablePolicy) -> dg.TableSchema:
    """What the policy says of the columns; their types show in what was published."""
    return dg.TableSchema(
        [
            dg.TableColumn(name, "see what is published", f"{column.treatment.label}. {column.explanation}")
            for name, column in table.visible.items()
        ]
    )


def _columns(manifest: SnapshotManifest) -> dict[str, Any]:
    """The columns as they were published, and that each comes from the shop's column of the same name."""
    source = dg.AssetKey(["shop", manifest.table])
    return {
        "dagster/column_schema": dg.TableSchema(
            [
                dg.TableColumn(column.name, column.dtype, f"{column.treatment}. {column.explanation}")
                for column in manifest.columns
            ]
        ),
        "dagster/column_lineage": dg.TableColumnLineage(
            {column.name: [dg.TableColumnDep(source, column.name)] for column in manifest.columns}
        ),
    }
