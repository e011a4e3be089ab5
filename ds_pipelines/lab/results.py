"""What the dummy and each model family achieve on the held-out rows: losses, skill, and the AUC with its interval.

What belongs here: those figures. What does not: the permutation test (concordance.py), and what follows from figures
(measured.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ds_pipelines.evidence import DummyBaseline, FamilyResult
from ds_pipelines.lab.concordance import auc_and_error, interval
from ds_pipelines.lab.holdout import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ds_pipelines.lab.holdout import Holdout
    from ds_pipelines.lab.split import Split

    Floats = NDArray[np.float64]


def dummy_of(train_prevalence: float | None, split: Split | None, given: Holdout) -> Floats:
    """What the dummy predicts: the training prevalence or mean, shape (1,); of more classes, the share of each.

    Raises:
        UnfitForVerdictError: the prevalence is needed and unknown, or given where it means nothing.
    """
    known = split.train_target if split is not None else None
    if given.classes:
        expected = "nothing: of several classes, train=… and target=… tell their shares"
        require(train_prevalence is None, "train_prevalence", expected)
        learnt = given.target if known is None else known
        return np.bincount(learnt.astype(np.int64), minlength=given.classes) / len(learnt)
    if given.task != "classification":
        return np.array([(given.target if known is None else known).mean()])
    if train_prevalence is None and known is not None:
        train_prevalence = float(known.mean())
    expected = "a share between 0 and 1, both excluded; or train=… and target=…, which tell it"
    require(train_prevalence is not None and 0 < train_prevalence < 1, "train_prevalence", expected)
    return np.array([train_prevalence or 0.0])


def baseline_of(judged: Holdout, dummy: Floats) -> DummyBaseline:
    """How the dummy does."""
    if judged.classes:
        log_loss, brier = _losses_of_classes(judged.target, np.tile(dummy, (len(judged.target), 1)))
        accuracy = float((judged.target == dummy.argmax()).mean())
        return DummyBaseline(prevalence=float(dummy.max()), log_loss=log_loss, brier=brier, accuracy=accuracy)
    said = float(dummy[0])
    if judged.task == "classification":
        log_loss, brier = _losses(judged.target, np.full(len(judged.target), said))
        return DummyBaseline(prevalence=said, log_loss=log_loss, brier=brier)
    means = np.bincount(judged.blocks, weights=judged.target) / np.maximum(np.bincount(judged.blocks), 1)
    return DummyBaseline(prevalence=said, brier=float(np.square(judged.target - means[judged.blocks]).mean()))


def result_of(
    name: str, family: int, *, judged: Holdout, compared: Holdout, baseline: DummyBaseline, confidence: float
) -> FamilyResult:
    """How one family does; `compared` are those of the rows judged that form pairs."""
    auc, error = auc_and_error(compared, family)
    low, high = interval(auc, error, compared.fewest, confidence)
    said = judged.predictions[:, family]
    common: dict[str, Any] = {"name": name, "auc": auc, "low": low, "high": high}
    match judged.task:
        case "classification":
            log_loss, brier = _losses(judged.target, said)
            return FamilyResult(**common, log_loss=log_loss, brier=brier, skill=1 - brier / baseline.brier)
        case "multiclass":
            log_loss, brier = _losses_of_classes(judged.target, said)
            accuracy = float((said.argmax(axis=1) == judged.target).mean())
            skill = 1 - brier / baseline.brier
            return FamilyResult(**common, log_loss=log_loss, brier=brier, skill=skill, accuracy=accuracy)
        case "regression":
            error = float(np.square(said - judged.target).mean())
            return FamilyResult(**common, brier=error, skill=1 - error / baseline.brier, rank_correlation=2 * auc - 1)
        case _:
            return FamilyResult(**common, ndcg=_ndcg(compared, said[judged.comparable()]))


def _losses(labels: Floats, probabilities: Floats) -> tuple[float, float]:
    """Log loss and Brier score; a certainty counts as 1e-15 from it, to keep the log loss finite."""
    clipped = np.clip(probabilities, 1e-15, 1 - 1e-15)
    log_loss = -np.where(labels == 1, np.log(clipped), np.log1p(-clipped)).mean()
    return float(log_loss), float(np.square(probabilities - labels).mean())


def _losses_of_classes(places: Floats, probabilities: Floats) -> tuple[float, float]:
    """The same of more than two classes; the Brier score sums over them."""
    actual = places[:, None] == np.arange(probabilities.shape[1])
    log_loss = -np.log(np.clip(probabilities[actual], 1e-15, 1)).mean()
    return float(log_loss), float(np.square(probabilities - actual).sum(axis=1).mean())


def _ndcg(compared: Holdout, said: Floats) -> float:
    """Mean over queries; a gain is the relevance above the query's lowest, ties in the score go by the rows' order."""
    _, blocks = np.unique(compared.blocks, return_inverse=True)
    lowest = np.full(blocks.max() + 1, np.inf)
    np.minimum.at(lowest, blocks, compared.target)
    gain = compared.target - lowest[blocks]

    def discounted(by: Floats) -> Floats:
        order = np.lexsort((-by, blocks))
        starts = np.concatenate([[0], np.cumsum(np.bincount(blocks))[:-1]])
        place = np.arange(len(by)) - starts[blocks[order]]
        return np.bincount(blocks[order], weights=gain[order] / np.log2(place + 2.0)).astype(np.float64)

    return float((discounted(said) / discounted(gain)).mean())
