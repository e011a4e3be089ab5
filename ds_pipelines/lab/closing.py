"""Closing an idea with its reason, so that nobody tries it again without knowing.

What belongs here: closed experiments, as small files below the home that a code location reads while it loads, without
contacting anybody; and the same in MLflow, as a tag of the experiment. What does not: removing anything.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import ValidationError

from ds_pipelines.errors import NoReasonError, UnknownClosingError, UnknownRunError
from ds_pipelines.evidence import Closing
from ds_pipelines.gateway.cache import replacing
from ds_pipelines.gateway.users import of_this_account
from ds_pipelines.lab.history import opened

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.settings import Settings

TAG = "ds.closed"


def closings(settings: Settings) -> dict[str, Closing]:
    """The closed experiments by name; contacts nobody."""
    found = {}
    for path in sorted(settings.closed.glob("*.json")):
        try:
            closing = Closing.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue  # a damaged file must not keep a code location from loading
        found[closing.experiment] = closing
    return found


def close(name: str, because: str, settings: Settings, *, user: str | None = None) -> Closing:
    """Closes an experiment: it stays findable, with the reason.

    Args:
        name: An experiment that has runs, or one that lies in the experiments folder.
        because: Why, for whoever has the same idea.
        settings: Name the home and MLflow.
        user: Who closes it; by default the account.

    Raises:
        NoReasonError: the reason says nothing.
        UnknownRunError: nobody knows such an experiment.
        TrackingUnreachableError: MLflow does not answer.
    """
    if len(because.strip()) < 5:
        raise NoReasonError(name)
    closing = Closing(experiment=name, because=because.strip(), by=user or of_this_account(), at=datetime.now(UTC))
    _tag(name, closing.because, settings)
    with replacing(_path(name, settings)) as file:
        file.write(closing.model_dump_json(indent=2).encode())
    return closing


def reopen(name: str, settings: Settings) -> Closing:
    """Takes a closing back, and returns what it was.

    Raises:
        UnknownClosingError: the experiment is not closed.
        TrackingUnreachableError: MLflow does not answer.
    """
    known = closings(settings)
    if name not in known:
        raise UnknownClosingError(name, known)
    _tag(name, "", settings)
    _path(name, settings).unlink(missing_ok=True)
    return known[name]


def _tag(name: str, reason: str, settings: Settings) -> None:
    """The experiment's tag in MLflow, an empty one when it is open; of one without runs there is none."""
    from ds_pipelines.lab.scripts import discover

    with opened(settings) as history:
        found = history.client.get_experiment_by_name(name)
        if found is not None:
            history.client.set_experiment_tag(found.experiment_id, TAG, reason)
            return
        known = {script.name for script in discover(settings.experiments)}
        if name not in known:
            raise UnknownRunError(name, known | {run.experiment for run in history.runs()})


def _path(name: str, settings: Settings) -> Path:
    return settings.closed / f"{quote(name, safe='')}.json"
