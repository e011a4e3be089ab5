"""What is computed with a candidate's model, in the process that `confined` starts: here alone a gate loads one.

What belongs here: a task each for what gates must see the model do, told and answered in files. What does not: judging
the answer, which whoever asked does.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import TypeAdapter

from ds_pipelines.errors import DsPipelinesError, ReleaseRefusedError
from ds_pipelines.evidence import RunInput
from ds_pipelines.extract import policy as policies
from ds_pipelines.extract import production
from ds_pipelines.release import faithful
from ds_pipelines.release.manifest import INPUTS, PREDICTIONS, ReleaseManifest
from ds_pipelines.scoring import model as models
from ds_pipelines.scoring.deliver import deliver
from ds_pipelines.scoring.score import score_day
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings


def day_of_candidate(folder: Path, task: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Scores a day and delivers it, as production would every day."""
    job, manifest, files = _release(folder, "candidate", Path(task["candidate"]))
    began = time.monotonic()
    model = None if manifest.model is None else models.load(manifest.model, files / "model")
    loaded = time.monotonic()
    day = date.fromisoformat(task["day"])
    scored = score_day(job, day, settings, release=manifest.digest, model=model)
    computed = time.monotonic()
    receipt = deliver(scored.frame, job, day, release=manifest.digest, inputs=scored.inputs, settings=settings)
    return {
        "rows": receipt.rows,
        "checksum": receipt.checksum,
        "seconds": round(time.monotonic() - began, 3),
        "loading": round(loaded - began, 3),
        "scoring": round(computed - loaded, 3),
        "delivering": round(time.monotonic() - computed, 3),
    }


def faithfulness(folder: Path, task: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Production's features from the experiment's snapshots, and the model's scores of them, beside the experiment's."""
    job, manifest, files = _release(folder, "candidate", Path(task["candidate"]))
    if manifest.model is None:
        raise AssertionError("a computation has nothing to be faithful to")
    model = models.load(manifest.model, files / "model")
    predictions = pl.read_parquet(files / PREDICTIONS)
    inputs = TypeAdapter(list[RunInput]).validate_json((files / INPUTS).read_bytes())
    shown = faithful.check(job, model, predictions, inputs, settings)
    return {"rows": shown.rows, "days": shown.days, "difference": shown.difference}


def past_days(folder: Path, task: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The scores that the candidate, and the champion, would have given at the end of past days, with what came true."""
    job, manifest, files = _release(folder, "candidate", Path(task["candidate"]))
    scorers = {"candidate": (job, manifest, files)}
    if task["champion"]:
        scorers["champion"] = _release(folder, "champion", Path(task["champion"]))
    reads = sorted({table for each, _, _ in scorers.values() for table in each.reads})
    tables = {name: production.transformed(name, settings).lazy() for name in reads}
    loaded = {
        name: models.load(found.model, place / "model") for name, (_, found, place) in scorers.items() if found.model
    }
    days = []
    for day in (date.fromisoformat(each) for each in task["days"]):
        known = {name: _until(table, name, day, settings) for name, table in tables.items()}
        outcome = _outcome(job, tables, day, settings)
        for name, model in loaded.items():
            scorer = scorers[name][0]
            features = scorer.compute(known, day, settings.zone).collect()
            entity = str(scorer.entity)
            scores = features.select(entity, pl.Series(name, model.predict(features.drop(entity))))
            outcome = outcome.join(scores, on=entity, how="full", coalesce=True)
        days.append(outcome.with_columns(day=pl.lit(day), outcome=pl.col("outcome").fill_null(0.0)))
    pl.concat(days).drop_nulls(list(loaded)).write_parquet(folder / "past.parquet")
    return {"days": [str(each) for each in task["days"]]}


TASKS: Mapping[str, Callable[[Path, Mapping[str, Any], Settings], dict[str, Any]]] = {
    "day": day_of_candidate, "faithful": faithfulness, "past": past_days,
}  # fmt: skip


def main(task: str, folder: Path) -> None:
    """Does a task, and writes what came of it; a refusal of ours is an answer, too."""
    settings = load_settings()
    told = json.loads((folder / "task.json").read_text())
    try:
        answer = TASKS[task](folder, told, settings)
    except DsPipelinesError as error:
        answer = {"refused": str(error), "kind": type(error).__name__}
    draft = folder / "answer.draft"
    draft.write_text(json.dumps(answer))
    draft.rename(folder / "answer.json")


def _release(folder: Path, name: str, files: Path) -> tuple[ScoringJob, ReleaseManifest, Path]:
    """A release's job, from the module that it keeps, not from the one that lies in the package."""
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
    return job, manifest, files


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
