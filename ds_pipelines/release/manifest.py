"""The manifest of a release: one YAML file in git that pins, by hash, everything production is asked to take over.

What belongs here: its shape, its digest, and its file. What does not: filling it in (`propose`), believing it
(`registry`).

The digest is over all of it but who offered it when: the same model, code, contract and evidence are the same release,
however often it is offered.
"""

import hashlib
import inspect
import json
import os
import tempfile
from datetime import date
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import AwareDatetime, Field, ValidationError

from ds_pipelines.errors import ManifestError, NothingProposedError
from ds_pipelines.evidence import Answer, ModelCard, ModelFile, Record, ReproductionAnswer
from ds_pipelines.scoring.job import ScoringJob, ServedType
from ds_pipelines.settings import PACKAGE

VOLATILE = frozenset({"proposed_at", "proposed_by", "run_id"})
"""What the digest leaves out."""
VERDICT, PREDICTIONS, INPUTS = "evidence/verdict.json", "evidence/predictions.parquet", "evidence/inputs.json"
REVIEW, REPRODUCTION, PROFILE = "evidence/review.json", "evidence/reproduction.json", "evidence/profile.json"
"""The files of a release's evidence, below its folder; the second three are missing where they were waived."""
EVIDENCE = (VERDICT, PREDICTIONS, INPUTS, REVIEW, REPRODUCTION, PROFILE)
DIGITS = 12
"""Of the digest, in the file's name."""
HEAD = "# A release, as offered. Its digest is over everything but run_id and proposed_…: propose anew, do not edit.\n"


class Code(Record):
    """The module that defines the job."""

    file: str = Field(description="Path below the package; the release keeps it below code/")
    sha256: str
    bytes: int


class ContractColumn(Record):
    """One column of what is delivered."""

    name: str
    type: ServedType
    least: float | None = None
    most: float | None = None


class Contract(Record):
    """What consumers are promised."""

    table: str
    key: tuple[str, ...]
    columns: tuple[ContractColumn, ...]


class InputRange(Record):
    """The snapshots of a table that the training read; each by itself is in the file of inputs."""

    table: str
    first: date = Field(description="First business day")
    last: date
    snapshots: int


class Evidence(Record):
    """Why the model deserves to be used: the verdict's figures, and the files that hold the rest."""

    question: str
    answer: Answer
    family: str = Field(description="The model family with the highest AUC")
    p: float | None
    effect: float | None = Field(description="That family's AUC − 0.5")
    interval: tuple[float, float] = Field(description="Of that AUC")
    rows: int = Field(description="Held-out rows judged")
    inputs: tuple[InputRange, ...]
    files: tuple[ModelFile, ...] = Field(description="Below the release's folder, as evidence/verdict.json")


class SignedReview(Record):
    """Who answered for the method, once; what was answered is in the file of that hash."""

    method: str
    by: str
    at: AwareDatetime
    sha256: str


class Reproduced(Record):
    """What came of repeating the run; all of it is in the file of that hash."""

    answer: ReproductionAnswer
    tolerance: float | None = Field(None, description="Declared before the run; None: none was")
    sha256: str


class Waiver(Record):
    """One condition of offering a release that somebody else set aside, for a reason."""

    gate: str
    by: str
    because: str
    entry: str = Field(description="Digest of the ledger's entry")


class ReleaseManifest(Record):
    """A release: what it is, whose, and the hashes of all that it consists of."""

    name: str = Field(description="The scoring job's")
    kind: Literal["model", "computation"]
    owner: str
    consumers: tuple[str, ...]
    code: Code
    contract: Contract
    independent: Code | None = Field(None, description="A computation's second, independent definition")
    budget_seconds: int = Field(description="How long a day may take")
    budget_memory: int = Field(description="Bytes that a day may take")
    margin: float | None = Field(
        None, description="By how much the backtest must beat the champion, or the baseline, in ROC AUC; of a model"
    )
    model: ModelCard | None = Field(None, description="Its files lie in the release's folder, below model/")
    evidence: Evidence | None = None
    review: SignedReview | None = None
    reproduction: Reproduced | None = None
    waivers: tuple[Waiver, ...] = ()
    run_id: str | None = Field(None, description="MLflow's id of the run that made the model")
    proposed_by: str | None = Field(None, description="The user of the token that was presented")
    proposed_at: AwareDatetime

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of the canonical JSON of everything that is not volatile: the release's identity."""
        content = self.model_dump(mode="json", exclude=set(VOLATILE))
        canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """The name of its file in git."""
        return f"{self.name}-{self.digest[:DIGITS]}.yaml"

    @property
    def files(self) -> dict[str, ModelFile]:
        """Every file of the release by its path below the release's folder."""
        model = {f"model/{file.path}": file for file in self.model.files} if self.model else {}
        evidence = {file.path: file for file in self.evidence.files} if self.evidence else {}
        code = {f"code/{each.file}": each for each in (self.code, self.independent) if each is not None}
        kept = {path: ModelFile(path=path, sha256=each.sha256, bytes=each.bytes) for path, each in code.items()}
        return model | evidence | kept


def dump(manifest: ReleaseManifest, path: Path) -> None:
    """Writes a manifest's file, whole or not at all."""
    content = {"digest": manifest.digest, **manifest.model_dump(mode="json", exclude_none=True)}
    text = HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".draft")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def load(path: Path) -> ReleaseManifest:
    """Reads a manifest, and holds it to the digest that it names.

    Raises:
        ManifestError: the file is missing, malformed, or was changed after it was offered.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(path, "the file", f"one that can be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ManifestError(path, "the file", "YAML") from None
    if not isinstance(content, dict) or not isinstance(content.get("digest"), str):
        raise ManifestError(path, "digest", "the release's digest") from None
    digest = content.pop("digest")
    try:
        manifest = ReleaseManifest.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ManifestError(path, key, str(first["msg"])[:1].lower() + str(first["msg"])[1:]) from None
    if manifest.digest != digest:
        raise ManifestError(path, "digest", "the digest of what the manifest says, which was changed since")
    return manifest


def newest(name: str, folder: Path) -> Path:
    """The manifest of a job that was proposed last.

    Raises:
        NothingProposedError: there is none in the folder.
        ManifestError: one of the job's manifests is malformed or was edited.
    """
    found = {path: load(path) for path in folder.glob(f"{name}-*.yaml")}
    offered = {path: manifest.proposed_at for path, manifest in found.items() if manifest.name == name}
    if not offered:
        raise NothingProposedError(name, folder)
    return max(offered, key=lambda path: offered[path])


def find(wanted: str, folder: Path) -> Path:
    """The manifest that a person names: a job for its newest, or the name of a manifest, or its file.

    Raises:
        NothingProposedError: there is none.
    """
    for path in (Path(wanted), folder / wanted, folder / f"{wanted}.yaml"):
        if path.suffix == ".yaml" and path.is_file():
            return path
    return newest(wanted, folder)


def code_of(job: ScoringJob) -> Code:
    """The module that defines a job, and its hash as it lies on the disk now."""
    return _code(source_of(job))


def independent_of(job: ScoringJob) -> Code | None:
    """The second definition of a computation, in SQL beside its module; None if there is none."""
    path = source_of(job).with_suffix(".sql")
    return _code(path) if path.is_file() else None


def source_of(job: ScoringJob) -> Path:
    """The file of the module that defines a job."""
    return Path(inspect.getsourcefile(job.compute) or "")


def _code(path: Path) -> Code:
    content = path.read_bytes()
    file = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name
    return Code(file=file, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def package_digest() -> str:
    """SHA-256 over the code with which releases are judged and scored: the package's, without the experiments."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*")):
        inside = path.relative_to(PACKAGE).as_posix()
        if path.suffix in {".py", ".sql"} and not inside.startswith("exploration/"):
            digest.update(f"{inside}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def contract_of(job: ScoringJob) -> Contract:
    """What a job promises its consumers."""
    columns = tuple(
        ContractColumn(name=column.name, type=column.type, least=column.least, most=column.most)
        for column in job.columns
    )
    return Contract(table=job.table, key=job.key, columns=columns)
