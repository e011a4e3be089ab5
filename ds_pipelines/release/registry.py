"""Production's registry: which release of each job is in use, and the proof that its files are still what was released.

What belongs here: verifying an offer, taking it over, and finding the release in use. What does not: scoring with it.

The registry is MLflow's, in a database of production's own; MLflow only remembers (`registered`). A release's files are
copied first and verified as copied, in a folder that is complete before it gets its name, and signed.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from ds_pipelines.errors import NoChampionError, ReleaseRefusedError
from ds_pipelines.evidence import RunInput
from ds_pipelines.release import faithful, registered, signing
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release.ledger import Ledger as ReleaseLedger
from ds_pipelines.release.ledger import champion_of
from ds_pipelines.release.manifest import EVIDENCE, INPUTS, PREDICTIONS, code_of, contract_of
from ds_pipelines.release.module import job_of
from ds_pipelines.scoring import model as models
from ds_pipelines.snapshots.ledger import Ledger

if TYPE_CHECKING:
    from ds_pipelines.evidence import ModelCard
    from ds_pipelines.release.faithful import Faithful
    from ds_pipelines.release.manifest import ReleaseManifest
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.model import Model
    from ds_pipelines.settings import Settings

MANIFEST = "release.yaml"
"""The manifest's name in the release's folder."""


@dataclass(frozen=True)
class Champion:
    """The release of a job that is in use; its files were verified when this was made."""

    manifest: ReleaseManifest
    folder: Path
    version: int
    """MLflow's version of the registered model."""
    job: ScoringJob
    """As it was released, with its features and settings; production's code may have gone on since."""

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
class Taken:
    """A release whose files are production's own now, verified and signed; not in use yet."""

    folder: Path
    faithful: Faithful | None
    """What was compared; None for a computation, and where it was not asked for."""


@dataclass(frozen=True)
class ImportedRelease:
    """A release that is in use now."""

    champion: Champion
    faithful: Faithful | None
    """What was compared at this import; None for a computation, or if the release was in use already."""


def import_release(path: Path, job: ScoringJob, settings: Settings) -> ImportedRelease:
    """Takes over the release that a manifest offers and puts it in use, once all that it says has been verified.

    `approval.deploy` is the way of people: production uses nothing that its ledger does not know to be deployed. If the
    release is in use already, nothing is done again.

    Args:
        path: The manifest.
        job: Production's job of that name.
        settings: Name the registry, the store of files and the snapshots.

    Raises:
        ManifestError: the manifest is malformed or was edited.
        The errors of `take_in`.
        DatabaseUnreachableError: the registry does not answer.
    """
    manifest = manifests.load(path)
    _require_job(manifest, job)
    if (used := registered.in_use(job.name, settings)) is not None and used[0] == manifest.digest:
        return ImportedRelease(champion(job, settings), None)
    taken = take_in(manifest, job, settings, prove=True)
    return ImportedRelease(put_in_use(manifest, job, taken.folder, settings), taken.faithful)


def take_in(manifest: ReleaseManifest, job: ScoringJob, settings: Settings, *, prove: bool = False) -> Taken:
    """Makes the files of a release production's own: copied, verified as copied, and signed.

    In this order, and nothing is loaded before the last: the job's code and contract as they are in production; the
    verdict; the hash of every file, and that there are no others; where it is to be proved, that production's features
    and the loaded model give the experiment's predictions.

    Raises:
        ReleaseRefusedError: code, contract, verdict or a file differ; the message names which.
        UnsafeModelError: the model's file must not be loaded.
        UnfaithfulReleaseError: production does not get the experiment's predictions.
        MissingSecretError: this installation cannot sign.
    """
    _require_job(manifest, job)
    folder, shown = _accepted(manifest.digest, settings), None
    if folder.exists():
        _require_files(manifest, folder, settings)
    else:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as draft:
            whole = Path(draft) / manifest.digest
            if (reason := evidence_ledger(settings).entries().get(f"{manifest.digest}/{PREDICTIONS}")) is not None:
                raise ReleaseRefusedError(manifest.name, PREDICTIONS, f"the evidence that was offered, but {reason}")
            _copy(manifest, settings.registry_artifacts / "offered" / manifest.digest, whole)
            _require_files(manifest, whole, settings)
            shown = _require_faithful(manifest, job, whole, settings) if prove else None
            whole.rename(folder)
    if not signing.signature_of(folder).exists():
        signing.sign(folder, settings)
    signing.verify(manifest.name, folder, settings)
    return Taken(folder, shown)


def put_in_use(manifest: ReleaseManifest, job: ScoringJob, folder: Path, settings: Settings) -> Champion:
    """Makes a release that was taken in the champion; doing it again changes nothing.

    Raises:
        ReleaseRefusedError: its module does not define what it describes.
        DatabaseUnreachableError: the registry does not answer.
    """
    released = job_of(manifest, job, folder)
    return Champion(manifest, folder, registered.register(manifest, folder, settings), released)


def kept(digest: str, job: ScoringJob, settings: Settings) -> tuple[ReleaseManifest, Path]:
    """The manifest and the folder of a release that production has taken in, all of it verified again.

    Raises:
        ReleaseRefusedError: it is not there any more, or its manifest, a file or the signature is another.
    """
    folder = _accepted(digest, settings)
    if not (folder / MANIFEST).is_file():
        raise ReleaseRefusedError(job.name, MANIFEST, "the files that production took in, where they were put")
    manifest = manifests.load(folder / MANIFEST)
    if (manifest.digest, manifest.name) != (digest, job.name):
        raise ReleaseRefusedError(job.name, MANIFEST, "the manifest that the registry names")
    _require_files(manifest, folder, settings)
    signing.verify(job.name, folder, settings)
    return manifest, folder


def champion(job: ScoringJob, settings: Settings) -> Champion:
    """The release of a job that is in use, its files and their signature verified again.

    In production the ledger must know, too, that this very release was deployed or rolled back to.

    Raises:
        NoChampionError: none is.
        ReleaseRefusedError: its module, its contract, a file or the signature are not what was released, or the ledger
            says otherwise.
        LedgerBrokenError: the ledger was changed.
        DatabaseUnreachableError: the registry does not answer.
    """
    used = registered.in_use(job.name, settings)
    if used is None:
        raise NoChampionError(job.name)
    digest, version = used
    if settings.environment == "production":
        _require_in_ledger(job.name, digest, settings)
    manifest, folder = kept(digest, job, settings)
    return Champion(manifest, folder, version, job_of(manifest, job, folder))


def in_use(name: str, settings: Settings) -> tuple[ReleaseManifest, Path] | None:
    """The manifest and the folder of the release of a job that is in use, whatever the job's code is now; None: none.

    Raises:
        ManifestError, ReleaseRefusedError: its manifest is not what was released, or a file is not.
        DatabaseUnreachableError: the registry does not answer.
    """
    used = registered.in_use(name, settings)
    if used is None:
        return None
    folder = _accepted(used[0], settings)
    manifest = manifests.load(folder / MANIFEST)
    if manifest.digest != used[0]:
        raise ReleaseRefusedError(name, MANIFEST, "the manifest that the registry names")
    _require_files(manifest, folder, settings)
    return manifest, folder


def sha256_of(path: Path) -> str:
    """Of a file's bytes, in hex."""
    return sha256(path.read_bytes()).hexdigest()


def _require_in_ledger(name: str, digest: str, settings: Settings) -> None:
    entry = champion_of(each for each in ReleaseLedger(settings).verify() if each.job == name)
    if entry is None or entry.release != digest:
        expected = "the release that was deployed last; finish the deployment or the rollback by doing it again"
        raise ReleaseRefusedError(name, "what the ledger says", expected)


def _require_job(manifest: ReleaseManifest, job: ScoringJob) -> None:
    if (manifest.name, manifest.kind) != (job.name, job.kind):
        raise ReleaseRefusedError(job.name, "its manifest", f"one of the {job.kind} {job.name}")
    code = code_of(job)
    if (manifest.code.file, manifest.code.sha256) != (code.file, code.sha256):
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


def _accepted(digest: str, settings: Settings) -> Path:
    return settings.registry_artifacts / "accepted" / digest
