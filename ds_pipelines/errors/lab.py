"""Errors of experiments and what they ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError, how_to_ask, listing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date


class MissingDaysError(DsPipelinesError):
    """An extract has gaps in the days asked for."""

    def __init__(self, table: str, missing: Sequence[date]) -> None:
        named = ", ".join(str(day) for day in missing[:5]) + (", …" if len(missing) > 5 else "")
        super().__init__(
            f"{len(missing)} of the days asked for of {table!r} are not published: {named}. "
            f"{how_to_ask(table, missing[0], missing[-1])} Or ask for fewer days."
        )


class TableArgumentError(DsPipelinesError):
    """`lab.table` was asked for something that it cannot mean."""

    def __init__(self, table: str, argument: str, expected: str) -> None:
        super().__init__(f"lab.table({table!r}) cannot use {argument} as given: expected {expected}.")


class UnknownColumnError(DsPipelinesError):
    """A column was asked for that an extract does not have."""

    def __init__(
        self, table: str, unknown: Iterable[str], available: Iterable[str], withheld: Mapping[str, str]
    ) -> None:
        reasons = [
            f"{name!r} is withheld by the privacy policy ({why or 'no reason given'})" for name, why in withheld.items()
        ]
        plain = listing(repr(name) for name in unknown)
        if plain:
            reasons.insert(0, f"there is no {plain}")
        super().__init__(f"Columns of {table!r} cannot be read: {'; '.join(reasons)}. There are: {listing(available)}.")


class MixedExtractError(DsPipelinesError):
    """Days of one extract were published in ways that do not fit together."""

    def __init__(self, table: str, day: date, other: date, difference: str) -> None:
        super().__init__(
            f"{table!r} cannot be read as one table: {difference} on {day}, unlike {other}. "
            f"Materialize extract/{table} anew for the older days, or ask for days and columns that agree."
        )


class UnknownExperimentError(DsPipelinesError):
    """No experiment has this name, and no script lies at this path."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"There is no experiment {name!r}: expected a script's path, or one of {listing(known) or 'none yet'}. "
            "An experiment is any .py, .ipynb or .R file below DS_EXPERIMENTS, unless its name begins with _ or a dot."
        )


class ExperimentFailedError(DsPipelinesError):
    """An experiment's script raised; its message is left out, unless it is one of ours, because it may quote data."""

    def __init__(self, script: str, line: int | None, kind: str, said: str | None = None) -> None:
        where = script if line is None else f"{script}, line {line}"
        super().__init__(
            f"Experiment {where}, ended with {kind}{f': {said}' if said else '.'} "
            "What it had noted until then is in MLflow, marked as failed; "
            "`python` with the script's path runs it by itself and shows the whole message."
        )


class UnusableNoteError(DsPipelinesError):
    """A script notes something that a run cannot keep."""

    def __init__(self, call: str, name: str, expected: str) -> None:
        super().__init__(f"lab.{call} cannot keep {name!r}: expected {expected}. Correct the call in the script.")


class UnusableParameterError(DsPipelinesError):
    """A run was started with a parameter that its script does not ask for, or of another type."""

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(
            f"Parameter {name!r} cannot be used: expected {expected}. Start the run again with such a value."
        )


class UnsavableModelError(DsPipelinesError):
    """A model cannot be kept in a form that is safe to load, or does not give the predictions it came with."""

    def __init__(self, name: str, kind: str, expected: str) -> None:
        super().__init__(
            f"Model {name!r} ({kind}) cannot be saved: expected {expected}. "
            "Save a LightGBM model or a scikit-learn pipeline of its own parts, with the predictions it makes."
        )


class TrackingUnreachableError(DsPipelinesError):
    """MLflow does not answer, or refuses."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"MLflow at {address} cannot record runs: {reason}. "
            "Start it with `ds-pipelines up`, or name another server with DS_TRACKING_ADDRESS."
        )


class UnfitForVerdictError(DsPipelinesError):
    """An argument of a verdict has the wrong shape, missing values, or values out of range."""

    def __init__(self, culprit: str, expected: str) -> None:
        super().__init__(
            f"{culprit} cannot be judged: expected {expected}. Correct it where the verdict is called; "
            "labels, predictions, blocks and groups must have one value a row, in the same order."
        )
