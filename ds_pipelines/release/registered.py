"""What MLflow remembers of releases: a registered model a job, a version a release, an alias for the one in use.

What belongs here: writing and reading that. What does not: believing it, or any file (`registry`). MLflow never loads a
model here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ds_pipelines import postgres
from ds_pipelines.settings import quiet_libraries

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient

    from ds_pipelines.release.manifest import ReleaseManifest
    from ds_pipelines.settings import Settings

ALIAS = "champion"
TAG = "ds.release"
"""The tag of a version that holds its release's digest."""


def register(manifest: ReleaseManifest, folder: Path, settings: Settings) -> int:
    """Puts a release in use, as a version of the registered model: a new one, or the one it had before."""
    from mlflow.exceptions import MlflowException

    client = _client(settings)
    try:
        client.create_registered_model(manifest.name, tags={"ds.kind": manifest.kind})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = client.search_model_versions(f"name = '{manifest.name}' AND tags.`{TAG}` = '{manifest.digest}'")
    if known:
        version = int(known[0].version)
    else:
        tags = {TAG: manifest.digest, "ds.owner": manifest.owner, "ds.code": manifest.code.sha256}
        created = client.create_model_version(
            manifest.name, folder.as_uri(), tags=tags, description=f"As offered by {manifest.file_name}"
        )
        version = int(created.version)
    client.set_registered_model_alias(manifest.name, ALIAS, str(version))
    return version


def in_use(name: str, settings: Settings) -> tuple[str, int] | None:
    """Digest of the release of a job that is in use, and its version; None: none is.

    Raises:
        DatabaseUnreachableError: the registry does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        version = _client(settings).get_model_version_by_alias(name, ALIAS)
        return str(version.tags[TAG]), int(version.version)
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise


def take_out_of_use(name: str, settings: Settings) -> None:
    """Leaves a job without a release in use; its versions stay known."""
    _client(settings).delete_registered_model_alias(name, ALIAS)


def _client(settings: Settings) -> MlflowClient:
    # MLflow itself would try for minutes, and quote the URL.
    postgres.connect("registry", settings).close()
    return _client_of(postgres.sqlalchemy_url(postgres.url("registry", settings)))


@lru_cache(maxsize=4)
def _client_of(uri: str) -> MlflowClient:
    """A client on the registry's database; making one checks its schema, and makes it the first time, in seconds."""
    quiet_libraries()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)
