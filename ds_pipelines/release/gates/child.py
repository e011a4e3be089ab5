"""What is computed with a candidate's model, in the process that `confined` starts: here alone a gate loads one.

What belongs here: a task each for what gates must see the model do, told and answered in files. What does not: judging
the answer, which whoever asked does.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import TypeAdapter

from ds_pipelines.errors import DsPipelinesError, ReleaseRefusedError
from ds_pipelines.evidence import Profile, RunInput
from ds_pipelines.extract import policy as policies
from ds_pipelines.extract import production
from ds_pipelines.release import faithful
from ds_pipelines.release.gates.confined import PAST
from ds_pipelines.release.manifest import INPUTS, PREDICTIONS, PROFILE, ReleaseManifest
from ds_pipelines.scoring import drift
from ds_pipelines.scoring import model as models
from ds_pipelines.scoring.checks import Expected
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.scoring.score import score_day
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.score import Scored
    from ds_pipelines.settings import Settings


LIBRARIES: Mapping[str | None, tuple[str, ...]] = {
    None: ("pandera.polars",),
    "lightgbm": ("pandera.polars", "lightgbm"),
    "skops": ("pandera.polars", "skops.io", "sklearn.pipeline"),
    "onnx": ("pandera.polars", "onnxruntime"),
}
"""What production has imported before a day begins, by the model's format."""


def day_of_candidate(folder: Path, task: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Scores a day and delivers it, as production would every day."""
    candidate = _release(folder, "candidate", Path(task["candidate"]))
    job, manifest = candidate.job, candidate.manifest
    for library in LIBRARIES[None if manifest.model is None else manifest.model.format]:
        importlib.import_module(library)
    began = time.monotonic()
    model = None if manifest.model is None else candidate.loaded()
    loaded = time.monotonic()
    day = date.fromisoformat(task["day"])
    run_began = begin(settings)
    with score_day(job, day, settings, release=manifest.digest, model=model) as scored:
        computed = time.monotonic()
        receipt = deliver(
            scored.batches(), job, day, release=manifest.digest, inputs=scored.inputs, settings=settings,
            began=run_began, expected=_expected(scored, candidate.files),
        )  # fmt: skip
    return {
        "rows": receipt.rows,
        "checksum": receipt.checksum,
        "checks": {check.name: check.words for check in receipt.checks},
        "seconds": round(time.monotonic() - began, 3),
        "loading": round(loaded - began, 3),
        "scoring": round(computed - loaded, 3),
        "delivering": round(time.monotonic() - computed, 3),
    }


def _expected(scored: Scored, files: Path) -> Expected:
    """What a day's rows are checked against, as in production."""
    profile = files / PROFILE
    return Expected(
        scored.population,
        Profile.model_validate_json(profile.read_bytes()) if profile.is_file() else None,
        None if scored.features is None else drift.sampled(scored.features),
    )


def judged(folder: Path, task: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """What the model says of the held-out rows, and, if that is what the experiment had, of past days."""
    candidate = _release(folder, "candidate", Path(task["candidate"]))
    told: dict[str, Any] = {"faithful": _answered(lambda: _held_out(candidate, settings))}
    if "refused" not in told["faithful"] and task["days"]:
        champion = _release(folder, "champion", Path(task["champion"])) if task["champion"] else None
        told["past"] = _answered(lambda: _past(candidate, champion, folder, task["days"], settings))
    return told


def _held_out(candidate: Release, settings: Settings) -> dict[str, Any]:
    predictions = pl.read_parquet(candidate.files / PREDICTIONS)
    inputs = TypeAdapter(list[RunInput]).validate_json((candidate.files / INPUTS).read_bytes())
    shown = faithful.check(candidate.job, candidate.loaded(), predictions, inputs, settings)
    return {"rows": shown.rows, "days": shown.days, "difference": shown.difference}


def _past(
    candidate: Release, champion: Release | None, folder: Path, days: list[str], settings: Settings
) -> dict[str, Any]:
    """Scores that both would have given at the end of past days, with what came true, into a file."""
    scorers = {"candidate": candidate} | ({"champion": champion} if champion else {})
    reads = sorted({table for each in scorers.values() for table in each.job.reads})
    tables = {name: production.transformed(name, settings).lazy() for name in reads}
    models_of = {name: each.loaded() for name, each in scorers.items()}
    made = []
    for day in (date.fromisoformat(each) for each in days):
        known = {name: _until(table, name, day, settings) for name, table in tables.items()}
        rows = _outcome(candidate.job, tables, day, settings)
        for name, each in scorers.items():
            entity = str(each.job.entity)
            features = each.job.compute(known, day, settings.zone).collect()
            scores = features.select(entity, pl.Series(name, models_of[name].predict(features.drop(entity))))
            rows = rows.join(scores, on=entity, how="full", coalesce=True)
        made.append(rows.with_columns(day=pl.lit(day), outcome=pl.col("outcome").fill_null(0.0)))
    pl.concat(made).drop_nulls(list(scorers)).write_parquet(folder / PAST)
    return {"days": days}


def _answered(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What came of some work; a refusal of ours is an answer, too."""
    try:
        return work()
    except DsPipelinesError as error:
        return {"refused": str(error)}


TASKS: Mapping[str, Callable[[Path, Mapping[str, Any], Settings], dict[str, Any]]] = {
    "day": day_of_candidate, "judged": judged,
}  # fmt: skip


def main(task: str, folder: Path) -> None:
    """Does a task, and writes what came of it, whole."""
    settings = load_settings()
    told, began = json.loads((folder / "task.json").read_text()), time.monotonic()
    answer = _answered(lambda: TASKS[task](folder, told, settings))
    answer.setdefault("seconds", round(time.monotonic() - began, 3))  # what is refused took its time, too
    draft = folder / "answer.draft"
    draft.write_text(json.dumps(answer))
    draft.rename(folder / "answer.json")


@dataclass(frozen=True)
class Release:
    """A release as it keeps itself: its module is the one in its folder, not the one in the package."""

    job: ScoringJob
    manifest: ReleaseManifest
    files: Path

    def loaded(self) -> models.Model:
        """Its model, loaded."""
        if self.manifest.model is None:
            raise AssertionError("a computation has no model to load")
        return models.load(self.manifest.model, self.files / "model")


def _release(folder: Path, name: str, files: Path) -> Release:
    manifest = ReleaseManifest.model_validate_json((folder / f"{name}.json").read_text())
    path = files / "code" / manifest.code.file
    specification = importlib.util.spec_from_file_location(f"ds_pipelines_{name}", path)
    if specification is None or specification.loader is None:
        raise ReleaseRefusedError(manifest.name, manifest.code.file, "a module of Python")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    job: ScoringJob = module.JOB
    if job.name != manifest.name:
        raise ReleaseRefusedError(manifest.name, manifest.code.file, f"the module of job {manifest.name}")
    return Release(job, manifest, files)


def _until(table: pl.LazyFrame, name: str, day: date, settings: Settings) -> pl.LazyFrame:
    """What was there at the end of a day; a table of current state is as it is now."""
    column = policies.load(settings.policies / policies.SHOP).table(name).by_day
    if column is None:
        return table
    dated = table.collect_schema()[column] == pl.Date
    return table.filter(pl.col(column) <= day if dated else pl.col(column) < settings.bounds(day)[1])


def _outcome(job: ScoringJob, tables: Mapping[str, pl.LazyFrame], day: date, settings: Settings) -> pl.DataFrame:
    if job.outcome is None or job.entity is None:
        raise AssertionError("a day without an outcome is not asked for")
    return job.outcome(tables, day, settings.zone).collect().select(job.entity, pl.col("outcome").cast(pl.Float64))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
