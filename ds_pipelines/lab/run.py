"""Running an experiment: in a process of its own, watched to its end and recorded whole.

What belongs here: preparing a run's folder, starting its process, and what the caller is told. What does not: what runs
there (child.py), limits (launch.py), the record (record.py), or deciding which scripts run when.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ds_pipelines.errors import (
    ExperimentFailedError,
    ForecastTooLargeError,
    RunCappedError,
    RunProcessError,
    TrackingUnreachableError,
    UnusableParameterError,
    listing,
)
from ds_pipelines.gateway.users import of_this_account
from ds_pipelines.lab import capture_code, spool, strays
from ds_pipelines.lab.capture_environment import describe
from ds_pipelines.lab.child_environment import child_environment, recorded_variables
from ds_pipelines.lab.launch import Ended, launch
from ds_pipelines.lab.layout import LOOKS, Layout
from ds_pipelines.lab.record import Completed, complete, draft, open_run
from ds_pipelines.lab.scripts import Script, find
from ds_pipelines.lab.seeds import UNSEEDED
from ds_pipelines.settings import Settings, load_settings, quiet_libraries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ds_pipelines.evidence import Limits, RunRecord, Verdict
    from ds_pipelines.lab.rehearsal import Foreseen
    from ds_pipelines.lab.tracking import Opened


@dataclass(frozen=True)
class Ran:
    """A run that succeeded, with what a page may show of it."""

    record: RunRecord
    verdict: Verdict | None
    figures: dict[str, bytes]
    """PNG by name."""

    @property
    def unseeded(self) -> list[str]:
        """Generators of random numbers that were used without a seed: another run may differ."""
        seeds = self.record.environment.seeds if self.record.environment else {}
        return sorted(name for name, value in seeds.items() if UNSEEDED in value.split(", "))


@dataclass(frozen=True)
class Orchestration:
    """The run of Dagster's that asked for an experiment."""

    run_id: str
    url: str
    """Of its page."""
    pipes: Mapping[str, str] = field(default_factory=dict)
    """The parameters of Dagster Pipes, by which the experiment reports."""
    folder: Path | None = None
    """Where the messages of Pipes go."""
    opened: Callable[[str], None] | None = None
    """Told where the run is in MLflow, as soon as it is there."""


def run(
    script: str | Path,
    *,
    settings: Settings | None = None,
    parameters: Mapping[str, str] | None = None,
    dagster_run: str | Orchestration | None = None,
    user: str | None = None,
    tell: Callable[[str], None] | None = None,
) -> Ran:
    """Runs an experiment in a process of its own and records it in MLflow, whether it succeeds or not.

    While MLflow does not answer, the run is kept in the spool and recorded later.

    Args:
        script: The script's path, or the experiment's name.
        settings: Where experiments and MLflow are; by default what the environment says.
        parameters: Values, as text, that replace the defaults of `lab.param` in the script.
        dagster_run: The Dagster run that asked for it, or its id, if one did.
        user: Who started it; by default who is logged in here.
        tell: Told of each line that the script prints; by default it is printed.

    Raises:
        UnknownExperimentError: there is no such script.
        BrokenScriptError: it cannot be run as it stands; it has not been run.
        UnusableParameterError: a parameter is not one that the script asks for.
        ForecastTooLargeError: it is foretold not to fit, and its header wants it refused then; it has not been run.
        ExperimentFailedError: the script raised; what it had noted is kept in a failed run.
        RunCappedError: it met a limit; what it had noted is kept.
        RunProcessError: its process ended without a word; what it had noted is kept.
    """
    quiet_libraries()
    settings = (settings or load_settings()).model_copy(update={"table_share": 1.0})  # its record names whole snapshots
    found = find(script, settings.experiments, settings)
    found.require_sound()
    asked_by = Orchestration(dagster_run, "") if isinstance(dagster_run, str) else dagster_run
    foreseen = None
    if found.header.forecast:
        foreseen = _foresee(found, settings, parameters or {}, of_a_server=asked_by is not None)
        (tell or _print)(f"{foreseen.words}\n")
    with spool.opened(settings) as layout:
        task = _prepare(
            layout, found, settings, parameters=parameters or {}, asked_by=asked_by, user=user or of_this_account()
        )
        if foreseen is not None:
            foreseen.keep(layout.artifacts / "evidence")
        opened, interruption = _watch(layout, task, found, settings, asked_by=asked_by, tell=tell or _print)
        completed, recorded = _complete(layout, settings, opened)
    if interruption is not None:
        raise interruption
    _require_finished(completed, task["place"])
    if recorded:
        spool.replay(settings)
    return Ran(completed.record, completed.verdict, completed.figures)


def _foresee(script: Script, settings: Settings, parameters: Mapping[str, str], *, of_a_server: bool) -> Foreseen:
    """Rehearses the script on shares of its tables.

    Raises:
        ForecastTooLargeError: it may not fit, and its header wants it refused then.
    """
    from ds_pipelines.lab.rehearsal import rehearse

    def execute(shared: Settings, limits: Limits) -> Ended:
        limited = replace(script, header=replace(script.header, limits=limits))
        with tempfile.TemporaryDirectory(prefix="ds-rehearsal-") as place:
            layout = Layout(Path(place))
            for made in (layout.artifacts, layout.temporary):
                made.mkdir()
            task = _prepare(layout, limited, shared, parameters=parameters, asked_by=None, user=None)
            variables = child_environment(shared, layout, of_a_server=of_a_server)
            return _launch(layout, task, limited, shared, variables=variables, tell=lambda _: None)

    foreseen = rehearse(script, settings, execute)
    if foreseen.refused:
        raise ForecastTooLargeError(foreseen.words)
    return foreseen


def _prepare(
    layout: Layout,
    script: Script,
    settings: Settings,
    *,
    parameters: Mapping[str, str],
    asked_by: Orchestration | None,
    user: str | None,
) -> dict[str, Any]:
    """Lays out what the run's process needs, and what a record needs should this one be killed."""
    code = script.path.read_bytes()
    layout.code.write_bytes(code)
    strays.lay_out(layout, script.path.parent)
    repository = capture_code.repository(script.path)
    if repository is not None:
        facts = {"commit": repository.commit, "dirty": bool(repository.difference)}
        layout.repository.write_text(json.dumps(facts), encoding="utf-8")
        if repository.difference:
            (layout.artifacts / "code").mkdir()
            (layout.artifacts / "code" / "uncommitted.diff").write_bytes(repository.difference)
    inside = script.path.is_relative_to(settings.experiments)
    bases = [settings.experiments if inside else script.path.parent, *([repository.root] if repository else [])]
    task = {
        "script": str(script.path),
        "place": script.path.relative_to(settings.experiments).as_posix() if inside else script.path.name,
        "experiment": script.name,
        "kind": script.kind,
        "code_digest": hashlib.sha256(code).hexdigest(),
        "bases": [str(base) for base in bases],
        "parameters": dict(parameters),
        "pipes": dict(asked_by.pipes) if asked_by else {},
        "dagster_run": asked_by.run_id if asked_by else None,
        "dagster_url": (asked_by.url or None) if asked_by else None,
        "user": user,
        "owner": script.header.owner,
        "question": script.header.question,
        "tolerance": script.header.tolerance,
        "limits": script.header.limits.model_dump(),
        "started_at": datetime.now(UTC).isoformat(),
    }
    layout.task.write_text(json.dumps(task), encoding="utf-8")
    return task


def _watch(
    layout: Layout,
    task: Mapping[str, Any],
    script: Script,
    settings: Settings,
    *,
    asked_by: Orchestration | None,
    tell: Callable[[str], None],
) -> tuple[Opened | None, BaseException | None]:
    """Starts the process and waits for its end; meanwhile the run is opened in MLflow, and its environment described.

    Returns:
        The run in MLflow, and what interrupted the waiting; either may be None.
    """
    variables = child_environment(settings, layout, of_a_server=asked_by is not None)
    pipes = [asked_by.folder] if asked_by and asked_by.folder else []
    interruption: BaseException | None = None
    with ThreadPoolExecutor(2) as aside:
        opening = aside.submit(_open, layout, settings, asked_by)
        describing = aside.submit(_describe, layout, variables)
        try:
            ended = _launch(layout, task, script, settings, variables=variables, tell=tell, writable=pipes)
            layout.ended.write_text(json.dumps(_facts(ended)), encoding="utf-8")
        except BaseException as error:  # the run is recorded as killed, and the interruption goes on
            layout.ended.write_text(json.dumps({"interrupted": True}), encoding="utf-8")
            interruption = error
        describing.result()
        opened = opening.result()
    return opened, interruption


def _launch(
    layout: Layout,
    task: Mapping[str, Any],
    script: Script,
    settings: Settings,
    *,
    variables: Mapping[str, str],
    tell: Callable[[str], None],
    writable: Sequence[Path] = (),
) -> Ended:
    looks = settings.home / LOOKS
    looks.mkdir(parents=True, exist_ok=True, mode=0o700)
    return launch(
        [sys.executable, "-m", "ds_pipelines.lab.child", str(layout.folder)],
        limits=script.header.limits,
        environment=variables,
        folder=layout.folder,
        readable=_readable(layout, task, settings),
        writable=[layout.folder, settings.cache, looks, *writable],
        ports=[urlsplit(settings.gateway_base).port or settings.gateway_port],
        output=layout.output,
        on_output=tell,
        settings=settings,
    )


def _open(layout: Layout, settings: Settings, asked_by: Orchestration | None) -> Opened | None:
    try:
        opened = open_run(layout, settings)
    except TrackingUnreachableError:
        return None
    if asked_by is not None and asked_by.opened is not None:
        asked_by.opened(opened.url)
    return opened


def _describe(layout: Layout, variables: Mapping[str, str]) -> None:
    environment = describe(recorded_variables(variables))
    layout.environment.write_text(environment.model_dump_json(), encoding="utf-8")


def _facts(ended: Ended) -> dict[str, Any]:
    return {
        "code": ended.code,
        "capped": ended.capped,
        "seconds": ended.seconds,
        "peak_memory": ended.peak_memory,
        "written": ended.written,
    }


def _readable(layout: Layout, task: Mapping[str, Any], settings: Settings) -> list[Path]:
    """What an experiment needs: Python, its own code and its neighbours, the gateway's token."""
    python = {Path(each).resolve() for each in (sys.prefix, sys.base_prefix, sys.executable)}
    own = [Path(base) for base in task["bases"]]
    return [
        *python, *own, Path(task["script"]).parent, layout.folder, settings.cache, settings.gateway_token,
        settings.home / "settings.toml",
    ]  # fmt: skip


def _complete(layout: Layout, settings: Settings, opened: Opened | None) -> tuple[Completed, bool]:
    """The run's record, and whether MLflow has got it; else it stays in the spool, and that is said."""
    try:
        return complete(layout, settings, opened=opened), True
    except TrackingUnreachableError as error:
        waiting = draft(layout, url=layout.folder.as_uri())
        sys.stderr.write(
            f"{error} Until then the run is kept in {layout.folder}: the next run records it, "
            f"or `ds-pipelines experiments replay`. It will be there as “{layout.name_of(waiting.record.experiment)}”, "
            f"and `ds-pipelines experiments show {waiting.record.run_id}` finds it.\n"
        )
        return waiting, False


def _require_finished(completed: Completed, place: str) -> None:
    """Says why a run is not finished: an interruption as it was, what the script raised by its type and line."""
    record, failure = completed.record, completed.failure
    if record.status == "finished":
        return
    if record.status == "capped":
        raise RunCappedError(place, record.failure or "", record.url)
    if failure is not None and failure["interrupted"]:
        raise KeyboardInterrupt
    if failure is not None:
        raise ExperimentFailedError(place, failure["line"], failure["kind"], failure["said"])
    if completed.unasked:
        asked = listing(set(record.parameters) - set(completed.unasked)) or "none"
        raise UnusableParameterError(listing(completed.unasked), f"one that the script asks for, which are {asked}")
    raise RunProcessError(place, completed.how, record.url)


def _print(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()
