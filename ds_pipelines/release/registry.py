"""Production's registry: which release of each job is in use, and the proof that its files are still what was released.

What belongs here: verifying an offer, taking it over, and finding the release in use. What does not: scoring with it.

The registry is MLflow's, in a database of production's own: a registered model a job, a version a release, the alias
`champion` for the one in use. MLflow only remembers; it never loads a model here. A release's files are copied first
and verified as copied, in a folder that is complete before it gets its name. Importing an older manifest again goes
back to it.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from ds_pipelines import postgres
from ds_pipelines.errors import NoChampionError, ReleaseRefusedError
from ds_pipelines.evidence import RunInput
from ds_pipelines.release import faithful
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release.manifest import EVIDENCE, INPUTS, PREDICTIONS, code_of, contract_of
from ds_pipelines.scoring import model as models
from ds_pipelines.settings import quiet_libraries
from ds_pipelines.snapshots.ledger import Ledger

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ds_pipelines.evidence import ModelCard
    from ds_pipelines.release.faithful import Faithful
    from ds_pipelines.release.manifest import ReleaseManifest
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.model import Model
    from ds_pipelines.settings import Settings

ALIAS = "champion"
TAG = "ds.release"
"""The tag of a version that holds its release's digest."""
MANIFEST = "release.yaml"
"""The manifest's name in the release's folder."""


@dataclass(frozen=True)
class Champion:
    """The release of a job that is in use; its files were verified when this was made."""

    manifest: ReleaseManifest
    folder: Path
    version: int
    """MLflow's version of the registered model."""

    @property
    def digest(self) -> str:
        """The release's identity, for rows and receipts."""
        return self.manifest.digest

    @property
    def card(self) -> ModelCard | None:
        """The model's card; None for a computation."""
        return self.manifest.model

    def model(self) -> Model | None:
        """The model, loaded; None for a computation.

        Raises:
            UnsafeModelError: its file is not what was released, or must not be loaded.
        """
        return None if self.card is None else models.load(self.card, self.folder / "model")


@dataclass(frozen=True)
class ImportedRelease:
    """A release that is in use now."""

    champion: Champion
    faithful: Faithful | None
    """What was compared at this import; None for a computation, or if the release was in use already."""


def import_release(path: Path, job: ScoringJob, settings: Settings) -> ImportedRelease:
    """Takes over the release that a manifest offers, once all that it says has been verified.

    In this order, and nothing is loaded before the last: the manifest's digest; the job's code and contract as they are
    in production; the verdict; the hash of every file, and that there are no others; that production's features and the
    loaded model give the experiment's predictions. If the release is in use already, nothing is done again.

    Args:
        path: The manifest.
        job: Production's job of that name.
        settings: Name the registry, the store of files and the snapshots.

    Raises:
        ManifestError: the manifest is malformed or was edited.
        ReleaseRefusedError: code, contract, verdict or a file differ; the message names which.
        UnsafeModelError: the model's file must not be loaded.
        UnfaithfulReleaseError: production does not get the experiment's predictions.
        DatabaseUnreachableError: the registry does not answer.
    """
    manifest = manifests.load(path)
    _require_job(manifest, job)
    client = _client(settings)
    if _digest_in_use(client, job.name) == manifest.digest:
        return ImportedRelease(champion(job, settings), None)
    folder = _accepted(manifest, settings)
    shown = None
    if folder.exists():
        _require_files(manifest, folder, settings)
    else:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as draft:
            whole = Path(draft) / "whole"
            if (reason := evidence_ledger(settings).entries().get(f"{manifest.digest}/{PREDICTIONS}")) is not None:
                raise ReleaseRefusedError(manifest.name, PREDICTIONS, f"the evidence that was offered, but {reason}")
            _copy(manifest, settings.registry_artifacts / "offered" / manifest.digest, whole)
            _require_files(manifest, whole, settings)
            shown = _require_faithful(manifest, job, whole, settings)
            whole.rename(folder)
    version = _register(client, manifest, folder)
    return ImportedRelease(Champion(manifest, folder, version), shown)


def champion(job: ScoringJob, settings: Settings) -> Champion:
    """The release of a job that is in use, its files and the job's code verified again.

    Raises:
        NoChampionError: none is.
        ReleaseRefusedError: the job's code, its contract or a file are not what was released.
        DatabaseUnreachableError: the registry does not answer.
    """
    client = _client(settings)
    digest = _digest_in_use(client, job.name)
    if digest is None:
        raise NoChampionError(job.name)
    folder = settings.registry_artifacts / "accepted" / digest
    manifest = manifests.load(folder / MANIFEST)
    if manifest.digest != digest:
        raise ReleaseRefusedError(job.name, MANIFEST, "the manifest that the registry names")
    _require_job(manifest, job)
    _require_files(manifest, folder, settings)
    return Champion(manifest, folder, int(client.get_model_version_by_alias(job.name, ALIAS).version))


def in_use(name: str, settings: Settings) -> tuple[ReleaseManifest, Path] | None:
    """The manifest and the folder of the release of a job that is in use, whatever the job's code is now; None: none.

    Raises:
        ManifestError, ReleaseRefusedError: its manifest is not what was released, or a file is not.
        DatabaseUnreachableError: the registry does not answer.
    """
    digest = _digest_in_use(_client(settings), name)
    if digest is None:
        return None
    folder = settings.registry_artifacts / "accepted" / digest
    manifest = manifests.load(folder / MANIFEST)
    if manifest.digest != digest:
        raise ReleaseRefusedError(name, MANIFEST, "the manifest that the registry names")
    _require_files(manifest, folder, settings)
    return manifest, folder


def _require_job(manifest: ReleaseManifest, job: ScoringJob) -> None:
    if (manifest.name, manifest.kind) != (job.name, job.kind):
        raise ReleaseRefusedError(job.name, "its manifest", f"one of the {job.kind} {job.name}")
    code = code_of(job)
    if manifest.code != code:
        raise ReleaseRefusedError(job.name, code.file, "the code that was released, by its SHA-256")
    if manifest.contract != contract_of(job):
        raise ReleaseRefusedError(job.name, "its contract", "the one that was released")
    if (manifest.model is None) != (job.entity is None):
        raise ReleaseRefusedError(job.name, "its manifest", "a model, or none, as the job needs")
    if manifest.model is None:
        return
    waived = any(waiver.gate == "verdict" for waiver in manifest.waivers)
    if manifest.evidence is None or (manifest.evidence.answer != "signal" and not waived):
        answer = manifest.evidence.answer if manifest.evidence else "none"
        raise ReleaseRefusedError(job.name, "its verdict", f"signal, not {answer}")
    form = manifest.model.format
    if strange := manifest.files.keys() - {f"model/{models.MODEL_FILE[form]}", *EVIDENCE, f"code/{manifest.code.file}"}:
        raise ReleaseRefusedError(job.name, min(strange), f"only the file of a {form} model, and evidence")


def _copy(manifest: ReleaseManifest, offered: Path, target: Path) -> None:
    """Copies the files that the manifest names, and writes the manifest beside them."""
    for name in manifest.files:
        source, place = offered / name, target / name
        if source.is_symlink() or not source.is_file():
            raise ReleaseRefusedError(manifest.name, name, "a file of this name among those offered")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
    manifests.dump(manifest, target / MANIFEST)


def evidence_ledger(settings: Settings) -> Ledger:
    """Held-out predictions that were removed because of the persons in them, as `<release>/<path>`.

    A release in use serves on without them: its model and its code are verified as before. It cannot be taken over
    anew, because its faithfulness cannot be shown.
    """
    return Ledger(settings.registry_artifacts / "withdrawn")


def _require_files(manifest: ReleaseManifest, folder: Path, settings: Settings) -> None:
    """Every file that the manifest names with its hash, except for withdrawn evidence, and no other."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file()}
    for name in sorted(found - manifest.files.keys() - {MANIFEST}):
        raise ReleaseRefusedError(manifest.name, name, "no file that the manifest does not name")
    withdrawn = evidence_ledger(settings).entries()
    for name, file in manifest.files.items():
        path = folder / name
        if name == PREDICTIONS and f"{manifest.digest}/{name}" in withdrawn and not path.exists():
            continue
        if path.is_symlink() or not path.is_file() or sha256(path.read_bytes()).hexdigest() != file.sha256:
            raise ReleaseRefusedError(manifest.name, name, "the bytes that were released, by their SHA-256")


def _require_faithful(manifest: ReleaseManifest, job: ScoringJob, folder: Path, settings: Settings) -> Faithful | None:
    import polars as pl

    if manifest.model is None:
        return None
    model = models.load(manifest.model, folder / "model")
    predictions = pl.read_parquet(folder / PREDICTIONS)
    inputs = TypeAdapter(list[RunInput]).validate_json((folder / INPUTS).read_bytes())
    return faithful.check(job, model, predictions, inputs, settings)


def _accepted(manifest: ReleaseManifest, settings: Settings) -> Path:
    return settings.registry_artifacts / "accepted" / manifest.digest


def _register(client: MlflowClient, manifest: ReleaseManifest, folder: Path) -> int:
    """Puts a release in use, as a version of the registered model: a new one, or the one it had before."""
    from mlflow.exceptions import MlflowException

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


def _digest_in_use(client: MlflowClient, name: str) -> str | None:
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_model_version_by_alias(name, ALIAS).tags[TAG])
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise


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
