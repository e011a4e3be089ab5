"""`ds-pipelines job new` starts a job from a release: the reviewed module, with another name and table."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ds_pipelines.errors import JobExistsError, JobNameError, ReleasedCodeMissingError
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.production.new_job import start
from ds_pipelines.release.manifest import ReleaseManifest, code_of, contract_of, independent_of
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings


@pytest.fixture
def place(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home")


def manifest(name: str) -> ReleaseManifest:
    job = JOBS[name]
    return ReleaseManifest(
        name=name,
        kind=job.kind,
        owner=job.owner,
        consumers=job.consumers,
        code=code_of(job),
        contract=contract_of(job),
        independent=independent_of(job),
        budget_seconds=60,
        budget_memory=1 << 30,
        proposed_at=datetime(2025, 3, 3, tzinfo=UTC),
    )


def job_of(path: Path) -> ScoringJob:
    specification = importlib.util.spec_from_file_location("started", path)
    assert specification is not None
    assert specification.loader is not None
    module: Any = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    started: ScoringJob = module.JOB
    return started


def source(job: ScoringJob) -> list[str]:
    return Path(inspect.getfile(job.compute)).read_text().splitlines()


@pytest.mark.parametrize(("name", "table"), [("repurchase", "win_back_scores"), ("top_sellers", "win_back")])
def test_a_new_job_is_the_released_one_but_for_its_name_table_and_description(
    name: str, table: str, place: Settings, tmp_path: Path
) -> None:
    path, *others = start("win_back", manifest(name), place, folder=tmp_path)
    made, old = job_of(path), JOBS[name]
    assert (made.name, made.table) == ("win_back", table)
    assert made.description == f"As {name}: {old.description}"
    assert (made.columns, made.key, made.reads, made.entity) == (old.columns, old.key, old.reads, old.entity)
    unlike = set(path.read_text().splitlines()) - set(source(old))
    assert {line.split("=")[0].strip() for line in unlike} == {"name", "table", "description"}
    assert [each.name for each in others] == (["win_back.sql"] if name == "top_sellers" else [])


def test_code_that_has_changed_since_is_taken_from_the_releases_own_folder(place: Settings, tmp_path: Path) -> None:
    released = b'"""As it was then."""\n' + Path(inspect.getfile(JOBS["repurchase"].compute)).read_bytes()
    then = manifest("repurchase")
    digest = hashlib.sha256(released).hexdigest()
    then = then.model_copy(update={"code": then.code.model_copy(update={"sha256": digest})})
    with pytest.raises(ReleasedCodeMissingError, match="repurchase"):
        start("win_back", then, place, folder=tmp_path)
    kept = place.registry_artifacts / "accepted" / then.digest / "code" / then.code.file
    kept.parent.mkdir(parents=True)
    kept.write_bytes(released)
    [path] = start("win_back", then, place, folder=tmp_path)
    assert path.read_text().startswith('"""As it was then."""')


def test_a_job_that_is_there_is_not_written_over(place: Settings, tmp_path: Path) -> None:
    (tmp_path / "win_back.py").write_text("mine")
    with pytest.raises(JobExistsError):
        start("win_back", manifest("repurchase"), place, folder=tmp_path)
    assert (tmp_path / "win_back.py").read_text() == "mine"


@pytest.mark.parametrize("name", ["Churn", "../x", "class", "1st", "a" * 41, ""])
def test_a_name_that_is_no_modules_is_refused(name: str, place: Settings, tmp_path: Path) -> None:
    with pytest.raises(JobNameError):
        start(name, manifest("repurchase"), place, folder=tmp_path)
    assert not list(tmp_path.glob("*.py"))
