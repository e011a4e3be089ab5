"""The record of a run, made from what lies in its folder, however the run ended, and handed to MLflow.

What belongs here: reading the folder, and completing it as artifacts. What does not: what is noted and when (notes.py,
child.py), and MLflow (tracking.py).

Nothing is taken from memory: the process that watched a run and the one that replays it make the same record.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from ds_pipelines.errors import SpooledRunError, listing
from ds_pipelines.evidence import Code, Limits, Output, RunEnvironment, RunInput, RunRecord, Verdict
from ds_pipelines.lab import strays
from ds_pipelines.lab.capture_environment import lock
from ds_pipelines.lab.layout import OWN_NAME
from ds_pipelines.lab.notes import kind_of
from ds_pipelines.lab.private import redacted
from ds_pipelines.lab.tracking import Opened, Result, tracking

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.lab.layout import Layout
    from ds_pipelines.settings import Settings

Status = Literal["finished", "failed", "capped", "killed"]
TEXTS = ("code/**/*", "*.txt", "*.ipynb")
"""Artifacts in which secrets are looked for; files of the script's own are, when they are taken out."""


@dataclass(frozen=True)
class Journal:
    """What a run noted."""

    parameters: dict[str, str]
    metrics: dict[str, float]
    inputs: tuple[RunInput, ...]
    outputs: dict[str, Output]
    helpers: dict[str, str]
    seeds: dict[str, str]
    threads: dict[str, int]
    asked: frozenset[str]
    """Parameters that the script itself asked for."""
    failure: dict[str, Any] | None
    seconds: float | None
    """How long the script took; None if it did not come to its end."""


@dataclass(frozen=True)
class Completed:
    """A run whose record is made."""

    record: RunRecord
    verdict: Verdict | None
    figures: dict[str, bytes]
    """PNG by name."""
    failure: dict[str, Any] | None
    """What the script raised: kind, line, said, interrupted."""
    unasked: tuple[str, ...]
    """Parameters that were given and that it did not ask for."""
    how: str = ""
    """How its process ended."""


def read_journal(path: Path) -> Journal:
    """What was noted so far; half a line, as a killed process leaves it, is none."""
    notes: dict[str, list[dict[str, Any]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            note = json.loads(line)
        except ValueError:
            continue
        notes.setdefault(note.pop("note"), []).append(note)

    def last(note: str) -> dict[str, Any] | None:
        return notes[note][-1] if note in notes else None

    asked = {each["name"]: each["value"] for each in notes.get("parameter", [])}
    inputs = [RunInput(**each) for note in notes.get("inputs", []) for each in note["inputs"]]
    outputs: dict[str, Output] = {}
    for each in notes.get("output", []):
        outputs.pop(each["artifact"], None)  # made anew, it comes last
        outputs[each["artifact"]] = Output(**each)
    return Journal(
        parameters={each["name"]: each["value"] for each in notes.get("noticed", [])} | asked,
        metrics={each["name"]: each["value"] for each in notes.get("metric", [])},
        inputs=tuple(dict.fromkeys(inputs)),
        outputs=outputs,
        helpers={each["path"]: each["sha256"] for each in notes.get("helper", [])},
        seeds={each["generator"]: each["seeds"] for each in notes.get("seed", [])},
        threads=(last("threads") or {"threads": {}})["threads"],
        asked=frozenset(asked),
        failure=last("failure"),
        seconds=(last("ended") or {"seconds": None})["seconds"],
    )


def complete(layout: Layout, settings: Settings, *, opened: Opened | None = None) -> Completed:
    """Makes the record, hands everything to MLflow and removes the folder.

    Args:
        layout: The run's folder, which nobody else works at.
        settings: Where MLflow is.
        opened: The run in MLflow, if it was opened already.

    Raises:
        TrackingUnreachableError: MLflow does not answer; the folder stays, complete as artifacts.
        SpooledRunError: what is in the folder is no run.
    """
    completed = draft(layout, url=layout.folder.as_uri())
    with tracking(settings) as tracked:
        run = opened or _known(layout) or open_run(layout, settings)
        record = completed.record.model_copy(update={"run_id": run.run_id, "url": run.url})
        _write(layout, record)
        tracked.finish(run, _result(record, completed.verdict), layout.artifacts)
    shutil.rmtree(layout.folder)
    return replace(completed, record=record)


def open_run(layout: Layout, settings: Settings) -> Opened:
    """Opens the run in MLflow, and remembers which one it is.

    Raises:
        TrackingUnreachableError: MLflow does not answer, or refuses.
    """
    task = _task(layout)
    with tracking(settings) as tracked:
        opened = tracked.open(
            task["experiment"],
            name=layout.name_of(task["experiment"]),
            tags={**_tags(task), OWN_NAME: layout.name},
            started_at=datetime.fromisoformat(task["started_at"]),
        )
    layout.tracked.write_text(json.dumps(opened.as_dict()), encoding="utf-8")
    return opened


def draft(layout: Layout, *, url: str) -> Completed:
    """Completes a run's folder as artifacts and makes its record, under a name of its own while MLflow has none."""
    task, journal = _task(layout), read_journal(layout.journal)
    ended = json.loads(layout.ended.read_bytes()) if layout.ended.exists() else {}
    _keep_code(layout, task)
    kept = strays.take_out(layout) if layout.work.exists() else []
    _redact(layout.artifacts)
    unasked = tuple(sorted(set(task["parameters"]) - journal.asked)) if journal.seconds is not None else ()
    status, why = _status(ended, journal, unasked)
    verdict = _verdict(layout.artifacts / "evidence" / "verdict.json")
    record = RunRecord(
        run_id=layout.name,
        experiment=task["experiment"],
        kind=task["kind"],
        script=task["place"],
        code_digest=task["code_digest"],
        code=_code(layout, task, journal),
        environment=_environment(layout, journal),
        limits=Limits(**task["limits"]),
        inputs=journal.inputs,
        outputs=_outputs(layout, journal, kept),
        parameters=journal.parameters,
        metrics=journal.metrics,
        tolerance=task["tolerance"],
        verdict=verdict.answer if verdict else None,
        question=verdict.question if verdict else task["question"],
        status=status,
        failure=why,
        owner=task["owner"],
        user=task["user"],
        dagster_run=task["dagster_run"],
        started_at=datetime.fromisoformat(task["started_at"]),
        seconds=_seconds(layout, task, journal, ended),
        peak_memory=ended.get("peak_memory"),
        written=ended.get("written"),
        url=url,
    )
    _write(layout, record)
    return Completed(record, verdict, _figures(layout, journal), journal.failure, unasked, how(ended.get("code")))


def _task(layout: Layout) -> dict[str, Any]:
    try:
        task: dict[str, Any] = json.loads(layout.task.read_bytes())
    except (OSError, ValueError) as error:
        raise SpooledRunError(str(layout.folder), f"its task cannot be read ({type(error).__name__})") from None
    return task


def _known(layout: Layout) -> Opened | None:
    return Opened(**json.loads(layout.tracked.read_bytes())) if layout.tracked.exists() else None


def _status(ended: dict[str, Any], journal: Journal, unasked: tuple[str, ...]) -> tuple[Status, str | None]:
    """How a run ended, and why it is not finished, in words without data."""
    failure = journal.failure
    if ended.get("capped"):
        return "capped", str(ended["capped"])
    if ended.get("interrupted") or (failure is not None and failure["interrupted"]):
        return "killed", "it was interrupted"
    if failure is not None:
        where = f"line {failure['line']} of the script: " if failure["line"] else ""
        return "failed", f"{where}{failure['kind']}{': ' + failure['said'] if failure['said'] else ''}"
    if not ended:
        return "killed", "the process that watched it was killed"
    if ended["code"] == 0 and not unasked:
        return "finished", None
    words = f"it does not ask for the parameters {listing(unasked)}" if unasked else f"its process {how(ended['code'])}"
    return "failed", words


def how(code: int | None) -> str:
    """How a process ended, by its exit status."""
    if code is None or code >= 0:
        return f"ended with status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _seconds(layout: Layout, task: dict[str, Any], journal: Journal, ended: dict[str, Any]) -> float:
    if journal.seconds is not None:
        return journal.seconds
    if "seconds" in ended:
        return float(ended["seconds"])
    last = max((path.stat().st_mtime for path in (layout.journal, layout.output) if path.exists()), default=None)
    started = datetime.fromisoformat(task["started_at"]).timestamp()
    return round(max(0.0, last - started), 3) if last is not None else 0.0


def _keep_code(layout: Layout, task: dict[str, Any]) -> None:
    target = layout.artifacts / "code" / task["place"]
    if not target.exists() and layout.code.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(layout.code.read_bytes())


def _code(layout: Layout, task: dict[str, Any], journal: Journal) -> Code:
    repository = json.loads(layout.repository.read_bytes()) if layout.repository.exists() else {}
    files = {task["place"]: task["code_digest"], **journal.helpers}
    return Code(commit=repository.get("commit"), dirty=bool(repository.get("dirty")), files=files)


def _environment(layout: Layout, journal: Journal) -> RunEnvironment | None:
    try:
        environment = RunEnvironment.model_validate_json(layout.environment.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None  # the watcher was killed before it had looked
    return environment.model_copy(update={"threads": journal.threads, "seeds": journal.seeds})


def _outputs(layout: Layout, journal: Journal, kept: list[tuple[str, bytes]]) -> tuple[Output, ...]:
    """What was made, in order: what was noted, the files that were written, what was printed."""
    late = [(name, content) for name, content in kept]
    known = {name for name, _ in kept}
    files = layout.artifacts / "files"
    # A replay finds the files of an attempt before it taken out already.
    earlier = [path for path in files.rglob("*") if path.is_file()] if files.is_dir() else []
    for path in sorted(earlier, key=lambda each: each.stat().st_mtime_ns):
        name = path.relative_to(layout.artifacts).as_posix()
        if name not in known and name != strays.LISTED:
            late.append((name, path.read_bytes()))
    if layout.output.exists():
        late.append(("stdout.txt", layout.output.read_bytes()))
    made = [
        Output(artifact=name, kind=kind_of(name), sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        for name, content in late
    ]
    return (*journal.outputs.values(), *made)


def _redact(artifacts: Path) -> None:
    for pattern in TEXTS:
        for path in artifacts.glob(pattern):
            if path.is_file() and (clean := redacted(content := path.read_bytes())) != content:
                path.write_bytes(clean)


def _verdict(path: Path) -> Verdict | None:
    try:
        return Verdict.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _figures(layout: Layout, journal: Journal) -> dict[str, bytes]:
    drawn = [layout.artifacts / name for name, output in journal.outputs.items() if output.kind == "figure"]
    return {path.stem: path.read_bytes() for path in drawn if path.suffix == ".png" and path.exists()}


def _write(layout: Layout, record: RunRecord) -> None:
    """The record beside what it is about, in one piece."""
    folder = layout.artifacts / "evidence"
    folder.mkdir(exist_ok=True)
    if record.environment is not None:
        text = record.environment.model_dump_json(indent=2)
        (folder / "environment.json").write_text(text, encoding="utf-8")
        if (content := lock()) is not None and hashlib.sha256(content).hexdigest() == record.environment.lock_sha256:
            (layout.artifacts / "environment").mkdir(exist_ok=True)
            (layout.artifacts / "environment" / "requirements.lock").write_bytes(content)
    part = folder / "run.json.part"
    part.write_text(record.model_dump_json(indent=2), encoding="utf-8")
    part.replace(folder / "run.json")


def _tags(task: dict[str, Any]) -> dict[str, str]:
    tags = {
        "ds.experiment": task["experiment"],
        "ds.kind": task["kind"],
        "ds.code_digest": task["code_digest"],
        "ds.status": "running",
        "mlflow.source.name": task["place"],
        "mlflow.source.type": "LOCAL",
    }
    optional = {
        "ds.owner": task["owner"],
        "ds.user": task["user"],
        "mlflow.user": task["user"],
        "ds.question": task["question"],
        "ds.dagster_run": task["dagster_run"],
        "ds.dagster_url": task["dagster_url"],
        "mlflow.note.content": f"[The run in Dagster]({task['dagster_url']})" if task["dagster_url"] else None,
    }
    return tags | {name: value for name, value in optional.items() if value}


def _result(record: RunRecord, verdict: Verdict | None) -> Result:
    states = {"finished": "FINISHED", "failed": "FAILED", "capped": "FAILED", "killed": "KILLED"}
    inputs = "".join(f"{each.table} {each.day} {each.digest}\n" for each in sorted(record.inputs, key=str))
    tags = {
        "ds.status": record.status,
        "ds.verdict": record.verdict,
        "ds.question": record.question,
        # Runs that share a holdout looked at the same held-out rows.
        "ds.holdout": verdict.holdout if verdict else None,
        "ds.look": str(verdict.look) if verdict and verdict.look else None,
        "ds.inputs": hashlib.sha256(inputs.encode()).hexdigest() if record.inputs else None,
        "mlflow.source.git.commit": record.code.commit,
    }
    return Result(
        status=states[record.status],
        parameters=record.parameters,
        metrics=record.metrics,
        tags={name: value for name, value in tags.items() if value},
        inputs=record.inputs,
        ended_at=(record.started_at + timedelta(seconds=record.seconds)).astimezone(UTC),
    )
