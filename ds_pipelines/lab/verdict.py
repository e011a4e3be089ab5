"""`lab.verdict`: is there a signal at all? The call, and what it keeps.

What belongs here: reading what the caller has, counting the look, judging, and keeping record, report and figure with
the run. What does not: judging (judge.py), and drawing or writing the report (plots.py, report.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ds_pipelines.errors import UnusableNoteError
from ds_pipelines.lab.notes import current, figure, say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from ds_pipelines.evidence import Task, Verdict
    from ds_pipelines.lab.notes import Notes
    from ds_pipelines.lab.split import Split

RECORD, REPORT, ASSUMPTIONS = "evidence/verdict.json", "evidence/verdict.html", "evidence/assumptions.json"
UNCOUNTED = "Looks at these held-out rows could not be counted: the ledger below the home cannot be written."


def verdict(
    question: str,
    y_true: ArrayLike,
    predictions: Mapping[str, ArrayLike],
    *,
    task: Task = "classification",
    train_prevalence: float | None = None,
    train_ends: date | None = None,
    test_begins: date | None = None,
    train: Any = None,
    test: Any = None,
    target: str | None = None,
    blocks: ArrayLike | str | None = None,
    groups: ArrayLike | str | None = None,
    time: str | None = None,
    subgroups: Mapping[str, ArrayLike] | Sequence[str] = (),
    learning_curve: Mapping[str, Any] | None = None,
    classes: Sequence[Any] | None = None,
    level: float = 0.01,
    permutations: int = 2_000,
    seed: int = 0,
) -> Verdict:
    """Judges on held-out rows whether any model family predicts a target, and keeps the answer with report and figure.

    Args:
        question: What was asked, in words that a colleague understands.
        y_true: Held-out targets, shape (n,): 0 and 1 or booleans, names or numbers of three or more classes, or numbers
            of a regression or ranking.
        predictions: Each family's predictions, shape (n,), in the order of `y_true`: the probability of the positive
            class, the number, or the score to rank by. Of three or more classes `predict_proba`, shape (n, classes).
        task: `classification`, `regression`, or `ranking` (then `blocks` name the queries).
        train_prevalence: Share of positives among the training rows; unnecessary with `train` and `target`.
        train_ends: The last day that training looked at, the horizon of its labels included.
        test_begins: The first as-of day of the held-out rows.
        train: The features of the training rows, a Polars or pandas frame: with `test`, leaks are looked for.
        test: The same of the held-out rows, in the order of `y_true`.
        target: The column of `train` (and perhaps of `test`) that is the target.
        blocks: Within which rows are exchangeable, as the as-of day: one value a row, or a column of `test`. None: all.
        groups: The entity of each row, as the customer: one value a row, or a column of both frames. None: every row is
            one of its own.
        time: The column of both frames that orders the rows in time: the test must lie after the training.
        subgroups: Ways to cut the held-out rows: columns of `test`, or by name one value a row.
        learning_curve: Unfitted estimators by family, refitted on growing shares of `train` (20,000 rows at most).
        classes: Of three or more classes, the order of the predictions' columns; without it they are sorted, as
            scikit-learn sorts them.
        level: Largest p that counts at the first look at these held-out rows; at the k-th it is level / k².
        permutations: How many; the smallest p they can show is 1 / (1 + permutations).
        seed: Decides the permutations.

    Raises:
        UnfitForVerdictError: an argument has the wrong shape, missing values, or values out of range.
        UnusableNoteError: the run has a verdict already; several would earn several chances.
    """
    from ds_pipelines.lab.classes import resolved
    from ds_pipelines.lab.holdout import codes, read, require
    from ds_pipelines.lab.judge import judge
    from ds_pipelines.lab.looks import holdout_digest, look_at, note_look, predictions_digest
    from ds_pipelines.lab.split import column_of, read_split
    from ds_pipelines.settings import load_settings

    notes = current()
    if notes is not None and notes.verdict is not None:
        raise UnusableNoteError("verdict", question, "one verdict a run, with all model families in it")
    require((train is None) == (test is None), "train, test", "both frames or neither")
    known = None if train is None or target is None else column_of(train, target, "target", "train")
    task, named, places = resolved(y_true, task, known, classes)
    given = read(places, predictions, None, task, named)
    entities = column_of(test, groups, "groups")
    if entities is not None:
        codes(entities, "groups", len(given.target))
    split = None
    if train is not None:
        declared = train_ends is not None and test_begins is not None and train_ends < test_begins
        entity = groups if isinstance(groups, str) else None
        split = read_split(
            train, test, given.target, target=target, groups=entity, time=time, ordered=declared, classes=named
        )
    home, holdout = load_settings().home, holdout_digest(given.target, entities, task)
    this = predictions_digest(given.target, given.columns(predictions))
    judgement = judge(
        question,
        y_true,
        predictions,
        task=task,
        train_prevalence=train_prevalence,
        blocks=column_of(test, blocks, "blocks"),
        groups=entities,
        level=level,
        permutations=permutations,
        seed=seed,
        train_ends=train_ends,
        test_begins=test_begins,
        split=split,
        look=look_at(home, holdout, this),
        subgroups=_cuts(test, subgroups),
        estimators=learning_curve,
        classes=named or None,
    )
    judged = judgement.verdict
    shown = judged.answer != "invalid"  # a verdict that shows no figure is no look
    judged = judged.model_copy(update={"holdout": holdout, "look": note_look(home, holdout, this) if shown else None})
    if shown and judged.look is None:
        judged = judged.model_copy(update={"limits": (*judged.limits, UNCOUNTED)})
    say(judged.words)
    if notes is not None:
        _keep(notes, judged, judgement.null, split)
    return judged


def _cuts(test: Any, subgroups: Mapping[str, ArrayLike] | Sequence[str]) -> dict[str, Any]:
    from ds_pipelines.lab.split import column_of

    if isinstance(subgroups, Mapping):
        return dict(subgroups)
    return {name: column_of(test, name, "subgroups") for name in subgroups}


def _keep(notes: Notes, judged: Verdict, null: NDArray[np.float64], split: Split | None) -> None:
    from ds_pipelines.lab.assumptions import measured
    from ds_pipelines.lab.plots import verdict_figure
    from ds_pipelines.lab.report import report

    notes.verdict = judged
    notes.keep(RECORD, judged.model_dump_json(indent=2).encode())
    notes.keep(REPORT, report(judged, null).encode())
    facts = [fact.model_dump() for fact in measured(judged, split)]
    notes.keep(ASSUMPTIONS, json.dumps(facts, indent=2, ensure_ascii=False).encode())
    figure(verdict_figure(judged, null), "verdict")
