"""The methodology review of a run: what its method takes for granted, what a person says of it, and a signature.

What belongs here: opening a review from what a run left, answering, signing, and keeping it with the run. What does
not: the assumptions and how they are measured (assumptions.py), and asking at a terminal (cli_review.py).

A review is of one verdict and one model: it names their hashes, and is opened anew if either changes.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from ds_pipelines.errors import (
    UnknownAssumptionError,
    UnknownRunError,
    UnnamedReviewerError,
    UnreviewableRunError,
    UnsignedReviewError,
)
from ds_pipelines.evidence import Assumption, ModelCard, Review
from ds_pipelines.lab.assumptions import assumptions_of
from ds_pipelines.lab.history import opened
from ds_pipelines.lab.save import ARTIFACT
from ds_pipelines.lab.verdict import ASSUMPTIONS, RECORD
from ds_pipelines.settings import quiet_libraries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlflow import MlflowClient

    from ds_pipelines.settings import Settings

REVIEW, MODEL, TAG = "evidence/review.json", "evidence/model.json", "ds.review"
SHORTEST_ANSWER = 5
"""Characters of an answer, so that it says more than yes."""
METHODS = {
    "linear_model": "linear model", "ensemble": "trees", "tree": "trees", "neighbors": "neighbours",
    "svm": "kernel machine", "neural_network": "network", "naive_bayes": "naive Bayes",
}  # fmt: skip
"""Family of methods by scikit-learn's module."""


def open_review(run_id: str, settings: Settings) -> Review:
    """The review of a run: as it was left, if verdict and model are the same, or a new one.

    Raises:
        UnreviewableRunError: MLflow knows no such run, or it left no verdict.
        TrackingUnreachableError: MLflow does not answer, or refuses.
    """
    with _run(run_id, settings) as run:
        verdict = run.read(RECORD)
        if verdict is None:
            raise UnreviewableRunError(run_id, "a run with a verdict, which the script gets from lab.verdict")
        card = run.card()
        model = None if card is None else _digest("".join(sorted(file.sha256 for file in card.files)).encode())
        before = run.read(REVIEW)
        if before is not None:
            review = Review.model_validate_json(before)
            if (review.verdict_sha256, review.model_sha256) == (_digest(verdict), model):
                return review
        method = "unknown method" if card is None else _method(run, card)
        facts = TypeAdapter(tuple[Assumption, ...]).validate_json(run.read(ASSUMPTIONS) or b"[]")
    return Review(
        run_id=run_id,
        method=method,
        assumptions=assumptions_of(method, facts),
        verdict_sha256=_digest(verdict),
        model_sha256=model,
    )


def answered(review: Review, answers: Mapping[str, str]) -> Review:
    """The review with these answers, by an assumption's key; an answer takes an earlier signature back.

    Raises:
        UnknownAssumptionError: a key is not one of the review's.
        UnsignedReviewError: an answer says too little.
    """
    known = {each.key for each in review.assumptions}
    if unknown := answers.keys() - known:
        raise UnknownAssumptionError(unknown, known)
    said = {key: text.strip() for key, text in answers.items()}
    if empty := [key for key, text in said.items() if len(text) < SHORTEST_ANSWER]:
        raise UnsignedReviewError(review.run_id, empty)
    if all(review.answers.get(key) == text for key, text in said.items()):
        return review
    return review.model_copy(update={"answers": {**review.answers, **said}, "signed_by": None, "signed_at": None})


def sign(review: Review, name: str, settings: Settings) -> Review:
    """Signs a review and keeps it with the run.

    Raises:
        UnsignedReviewError: something needs a person's answer and has none.
        UnnamedReviewerError: the name is empty.
        UnreviewableRunError: verdict or model have changed since it was opened, or it cannot be written.
        TrackingUnreachableError: MLflow does not answer, or refuses.
    """
    if review.unanswered:
        raise UnsignedReviewError(review.run_id, review.unanswered)
    if not name.strip():
        raise UnnamedReviewerError
    now = open_review(review.run_id, settings)
    if (now.verdict_sha256, now.model_sha256) != (review.verdict_sha256, review.model_sha256):
        raise UnreviewableRunError(review.run_id, "the verdict and model that were reviewed, and they have changed")
    signed = review.model_copy(update={"signed_by": name.strip(), "signed_at": datetime.now(UTC)})
    keep(signed, settings)
    return signed


def keep(review: Review, settings: Settings) -> None:
    """Keeps a review with its run, signed or not; the tag says which.

    Raises:
        UnreviewableRunError: it cannot be written.
        TrackingUnreachableError: MLflow does not answer, or refuses.
    """
    with _run(review.run_id, settings) as run:
        run.write(review)


@contextmanager
def _run(run_id: str, settings: Settings) -> Iterator[_Run]:
    """What a run left in MLflow, while the block lasts.

    Raises:
        UnreviewableRunError: MLflow knows no such run.
    """
    quiet_libraries()
    with opened(settings) as history:
        try:
            run = history.run(run_id)
        except UnknownRunError:
            raise UnreviewableRunError(run_id, "a run that MLflow knows") from None
        with history.artifacts(run, "evidence", ARTIFACT) as folder:
            yield _Run(run.run_id, folder, history.client)


@dataclass(frozen=True)
class _Run:
    """A run's id, its artifacts, and the MLflow that keeps them."""

    run_id: str
    folder: Path
    client: MlflowClient

    def read(self, path: str) -> bytes | None:
        """One artifact, or None if the run has none of this path."""
        try:
            return (self.folder / path).read_bytes()
        except OSError:
            return None

    def card(self) -> ModelCard | None:
        """What the run says about its model."""
        content = self.read(MODEL)
        try:
            return None if content is None else ModelCard.model_validate_json(content)
        except ValidationError:
            raise UnreviewableRunError(self.run_id, "a model's card in the form that is used now") from None

    def write(self, review: Review) -> None:
        """Keeps the review and says in a tag who signed it."""
        state = f"signed by {review.signed_by}" if review.signed_by else f"open: {len(review.unanswered)} to answer"
        try:
            self.client.log_text(self.run_id, review.model_dump_json(indent=2), REVIEW)
        except OSError:
            raise UnreviewableRunError(self.run_id, "a store of artifacts that takes what is written") from None
        self.client.set_tag(self.run_id, TAG, state)


def _method(run: _Run, card: ModelCard) -> str:
    """The family of methods of the model that was saved; its file is read as text, and nothing of it is run."""
    if card.format == "lightgbm":
        return "trees"
    import io
    import json
    from zipfile import BadZipFile, ZipFile

    content = run.read(f"{card.artifact}/model.skops")
    try:
        schema = json.loads(ZipFile(io.BytesIO(content or b"")).read("schema.json"))
    except (BadZipFile, KeyError, ValueError):
        return "unknown method"
    # The last estimator that is named decides: the one at the end of a pipeline.
    found = [METHODS[part] for module in _modules(schema) for part in module.split(".")[1:2] if part in METHODS]
    return found[-1] if found else "unknown method"


def _modules(node: object) -> list[str]:
    """Modules of scikit-learn's that a schema names, in the order in which it does."""
    if isinstance(node, list):
        return [module for each in node for module in _modules(each)]
    if not isinstance(node, dict):
        return []
    own = str(node.get("__module__", ""))
    inner = [module for each in node.values() for module in _modules(each)]
    return [*inner, own] if own.startswith("sklearn.") else inner


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
