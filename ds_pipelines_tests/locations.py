"""The code locations as a code server would load them: from the environment, at import."""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from ds_pipelines.exploration.tables import STANDS_FOR

if TYPE_CHECKING:
    from ds_pipelines.settings import Settings

GROUPS = {
    "production_database", "anonymized_extracts", "lab_tables", "experiments", "releases", "serving_tables",
    "anonymized_scores", "watch",
}  # fmt: skip
STUB = "dagster/auto_created_stub_asset"
"""Dagster's mark on a key that another location defines."""


def load(location: str, settings: Settings) -> dg.Definitions:
    """The location's definitions under these settings, whatever was loaded before."""
    with pytest.MonkeyPatch.context() as patch:
        adopt(patch, settings)
        patch.delitem(sys.modules, f"ds_pipelines.{location}.definitions", raising=False)
        definitions: dg.Definitions = importlib.import_module(f"ds_pipelines.{location}.definitions").defs
    return definitions


def adopt(patch: pytest.MonkeyPatch, settings: Settings) -> None:
    """Sets the variables of these settings."""
    for name, value in settings.as_environment().items():
        patch.setenv(name, value)


def defined(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    """What a location defines itself, by key; not what stands in it for another location's."""
    specs = definitions.resolve_all_asset_specs()
    return {spec.key.to_user_string(): spec for spec in specs if not {STUB, STANDS_FOR} & spec.metadata.keys()}


def materializable(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    """What a location can make, by key."""
    keys = {key.to_user_string() for key in definitions.resolve_asset_graph().materializable_asset_keys}
    return {key: spec for key, spec in defined(definitions).items() if key in keys}


def run(
    definitions: dg.Definitions, job: str, key: str, settings: Settings, *, day: str | None = None
) -> dg.ExecuteInProcessResult:
    """Materializes one asset of a job, or a day of it, on an instance of its own; what is deprecated is an error."""
    with (
        pytest.MonkeyPatch.context() as patch,
        dg.DagsterInstance.ephemeral() as instance,
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("error", category=DeprecationWarning, module="ds_pipelines")
        adopt(patch, settings)
        return definitions.resolve_job_def(job).execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey.from_user_string(key)],
            partition_key=day,
            raise_on_error=False,
        )


def version(result: dg.ExecuteInProcessResult) -> str:
    """The data version of the one materialization of a run: equal versions make nothing downstream out of date."""
    [event] = result.get_asset_materialization_events()
    return str((event.materialization.tags or {})["dagster/data_version"])


def facts(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    """The metadata of the one materialization of a run."""
    [event] = result.get_asset_materialization_events()
    return {name: getattr(value, "value", value) for name, value in event.materialization.metadata.items()}


def reason(result: dg.ExecuteInProcessResult) -> str:
    """Why the run's step failed, as the pages show it."""
    [failure] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    return str(failure.error.cause.message if failure.error and failure.error.cause else failure.error)
