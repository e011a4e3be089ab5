"""Noticing what scikit-learn and LightGBM are told to do and how well they do it, without a word in the script.

What belongs here: parameters and seeds of estimators that are fitted, and the numbers that their own metrics give. What
does not: models (save.py keeps the one that is offered), and examples of their input, which would be data.

Parameters are noted as `LogisticRegression.C`, metrics by their function, as `roc_auc_score`; what is called again is
numbered. Whatever the script notes itself counts more.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from numbers import Real
from typing import TYPE_CHECKING, Any

from ds_pipelines.lab.seeds import UNSEEDED, Seeds, named_as

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from ds_pipelines.lab.imports import Watch
    from ds_pipelines.lab.notes import Notes

LONGEST = 100
"""Characters of a parameter; longer ones may be data, and are named by their type."""
MOST = 20
"""Different settings of a kind of estimator, and calls of a metric, that are noted: a search tries thousands."""
METRICS = ("_score", "_error", "_loss", "_coefficient", "_deviance", "auc", "_coef")
"""How the names of scikit-learn's metrics end."""
STEPS = frozenset({"sag", "saga", "liblinear"})
DRAWING: Mapping[str, tuple[str, frozenset[object]]] = {
    **dict.fromkeys(("LogisticRegression", "LogisticRegressionCV", "Ridge", "RidgeClassifier"), ("solver", STEPS)),
    **dict.fromkeys(("Lasso", "LassoCV", "ElasticNet", "ElasticNetCV"), ("selection", frozenset({"random"}))),
    **dict.fromkeys(("SVC", "NuSVC"), ("probability", frozenset({True}))),
}
"""Estimators that draw random numbers only with some values of one parameter: which, and with which values."""
LIGHTGBM_SEEDS = ("seed", "random_state", "random_seed")


class Noticed:
    """What was noticed so far in one run."""

    def __init__(self, notes: Notes, seeds: Seeds) -> None:
        self.notes, self.seeds = notes, seeds
        self._settings: dict[str, list[dict[str, str]]] = {}
        self._calls: Counter[str] = Counter()

    def fitted(self, kind: str, parameters: Mapping[str, Any]) -> None:
        """Notes with which parameters something is fitted, unless it was with the same before."""
        settings = {name: _text(value) for name, value in parameters.items()}
        known = self._settings.setdefault(kind, [])
        if settings in known or len(known) >= MOST:
            return
        known.append(settings)
        prefix = kind if len(known) == 1 else f"{kind}-{len(known)}"
        for name, value in settings.items():
            self.notes.notice(f"{prefix}.{name}", value)

    def measured(self, name: str, value: object) -> None:
        """Notes the number that a metric gave; other things than numbers are nobody's metric."""
        if not isinstance(value, Real) or float(value) != float(value) or abs(float(value)) == float("inf"):
            return
        self._calls[name] += 1
        if self._calls[name] <= MOST:
            numbered = name if self._calls[name] == 1 else f"{name}-{self._calls[name]}"
            self.notes.number(numbered, float(value), noticed=True)


def install(watch: Watch, notes: Notes, seeds: Seeds) -> None:
    """Notices, from when the libraries are imported."""
    noticed = Noticed(notes, seeds)
    watch.after("sklearn.base", lambda module: _estimators(module, noticed))
    watch.after("sklearn.metrics", lambda module: _metrics(module, noticed))
    watch.after("lightgbm", lambda _: _lightgbm(noticed))


def _estimators(module: ModuleType, noticed: Noticed) -> None:
    """Every fit of scikit-learn validates its parameters first, those within another fit excepted: there we look on."""
    base = module.BaseEstimator
    validate = base._validate_params

    @functools.wraps(validate)
    def validated(estimator: Any) -> None:
        kind, parameters = type(estimator).__name__, estimator.get_params(deep=False)
        noticed.fitted(kind, parameters)
        if "random_state" in parameters and _draws(kind, parameters):
            seed = parameters["random_state"]
            # Without one, an estimator draws from numpy's generator, and is as reproducible as that is.
            noticed.seeds.note(kind, seed if seed is not None else _shared(noticed.seeds))
        validate(estimator)

    base._validate_params = validated
    for mixin in (module.ClassifierMixin, module.RegressorMixin):
        mixin.score = _measuring(mixin.score, noticed, lambda given: f"{type(given[0]).__name__}.score")


def _draws(kind: str, parameters: Mapping[str, Any]) -> bool:
    """Whether an estimator makes anything of a seed: some do by one way of solving and not by another."""
    setting, random = DRAWING.get(kind, ("", frozenset()))
    return not setting or parameters.get(setting) in random


def _shared(seeds: Seeds) -> str | None:
    found = seeds.of("numpy")
    return None if found is None or UNSEEDED in found else f"numpy {found}"


def _metrics(module: ModuleType, noticed: Noticed) -> None:
    for name in module.__all__:
        if name.endswith(METRICS) and callable(function := getattr(module, name)):
            measuring = _measuring(function, noticed, lambda _, name=name: name)  # type: ignore[misc]
            setattr(module, name, named_as(module, name)(measuring))


def _measuring(
    function: Callable[..., Any], noticed: Noticed, name: Callable[[tuple[Any, ...]], str]
) -> Callable[..., Any]:
    @functools.wraps(function)
    def measuring(*given: Any, **named: Any) -> Any:
        value = function(*given, **named)
        caller = str(sys._getframe(1).f_globals.get("__name__"))
        if caller.partition(".")[0] != "sklearn":  # of a search, its result counts and not each step
            noticed.measured(name(given), value)
        return value

    return measuring


def _lightgbm(noticed: Noticed) -> None:
    """`lightgbm.train` is what all of its interfaces come down to; each knows it by a name of its own."""
    package, engine, wrapper = (sys.modules.get(name) for name in ("lightgbm", "lightgbm.engine", "lightgbm.sklearn"))
    train = getattr(engine, "train", None)
    if train is None:
        return

    @functools.wraps(train)
    def trained(params: dict[str, Any], *given: Any, **named: Any) -> Any:
        rounds = {"num_boost_round": named["num_boost_round"]} if "num_boost_round" in named else {}
        noticed.fitted("lightgbm", {**params, **rounds})
        for seed in (params[each] for each in LIGHTGBM_SEEDS if params.get(each) is not None):
            noticed.seeds.note("lightgbm", seed)
        booster = train(params, *given, **named)
        for data, scores in booster.best_score.items():
            for metric, value in scores.items():
                noticed.measured(f"lightgbm.{data}.{metric}", value)
        return booster

    for module in (package, engine, wrapper):
        if getattr(module, "train", None) is train:
            module.train = trained  # type: ignore[union-attr]


def _text(value: Any) -> str:
    """A parameter for people: what may be data is named by its type only."""
    if value is None or isinstance(value, (bool, Real)):
        return str(value)
    if isinstance(value, str) and len(value) <= LONGEST:
        return value
    if callable(value) and hasattr(value, "__name__"):
        return str(value.__name__)
    return type(value).__name__
