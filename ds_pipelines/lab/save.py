"""Keeping what an experiment made: its model with the predictions that prove it, or a table.

What belongs here: writing a model in a form that is safe to load, and the card by which production knows it. What does
not: uploading (tracking.py), and loading for production, which trusts nothing that is written here.

A model is kept as LightGBM's native text or as skops that needs no trust beyond skops' own; anything else is refused.
It lies below the run's artifacts as plain files, not in MLflow's store of logged models: a path is all a release needs.
"""

from __future__ import annotations

import hashlib
import io
import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload
from zipfile import ZipFile, ZipInfo

import polars as pl

from ds_pipelines.errors import UnsavableModelError, UnusableNoteError
from ds_pipelines.evidence import Feature, ModelCard, ModelFile
from ds_pipelines.lab.notes import Notes, current, require_name, say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Format = Literal["lightgbm", "skops"]

ARTIFACT = "model"
PREDICTIONS = "evidence/predictions.parquet"
PREVIEW_ROWS = 20
ONE_SCORE = (
    "one score a row: a model of several classes cannot be released. Fit one of the class that matters against the "
    "rest; lab.verdict judges all classes together, and lab.save keeps their predictions as a table"
)
CLOSE = 1e-9
"""Largest difference between a score given and the one that the saved model makes."""


@overload
def save(thing: pl.DataFrame, name: str) -> None: ...


@overload
def save(
    thing: object, name: str, *, features: pl.DataFrame, predictions: pl.DataFrame, target: str, entity: str
) -> None: ...


def save(
    thing: Any,
    name: str,
    *,
    features: pl.DataFrame | None = None,
    predictions: pl.DataFrame | None = None,
    target: str | None = None,
    entity: str | None = None,
) -> None:
    """Keeps a table, or the one model that a run offers.

    Args:
        thing: A Polars frame, kept as `tables/<name>.parquet` with its first rows as CSV beside it; or a LightGBM
            model, or a scikit-learn estimator or pipeline, that was fitted on `features.to_numpy()`.
        name: Letters, digits, spaces, `_`, `-` and dots.
        features: The frame the model was fitted on: its columns and types, in their order.
        predictions: Held-out rows: the entity, `as_of`, every feature, `score`.
        target: What the model predicts, in words.
        entity: The column that names what is predicted for, as `customer_id`.

    Raises:
        UnusableNoteError: something is missing, or the run has a model already.
        UnsavableModelError: the model cannot be kept safely, or does not give the scores of `predictions`.
    """
    require_name("save", name)
    notes = current()
    if isinstance(thing, pl.DataFrame):
        _save_table(thing, name, notes)
        return
    if features is None or predictions is None or target is None or entity is None:
        raise UnusableNoteError(
            "save", name, "a Polars frame, or a model with features, predictions, target and entity"
        )
    columns = [entity, "as_of", *features.columns, "score"]
    if predictions.columns != columns:
        raise UnusableNoteError("save", name, f"predictions with the columns {', '.join(columns)}, in this order")
    if notes is None:
        say(f"model {name}: kept when the script is run as an experiment")
        return
    if notes.model is not None:
        raise UnusableNoteError("save", name, "one model a run, the one it would offer to production")
    if _scores_a_row(thing) > 1:
        raise UnsavableModelError(name, _kind(thing), ONE_SCORE)
    folder = notes.folder / ARTIFACT
    stored = _store(thing, name, folder, features)
    _require_same(thing, name, stored, folder, predictions.select(*features.columns, "score"))
    buffer = io.BytesIO()
    predictions.rechunk().write_parquet(buffer)
    notes.keep(PREDICTIONS, buffer.getvalue())
    notes.model = ModelCard(
        name=name,
        format=stored,
        artifact=ARTIFACT,
        files=tuple(_file(path, folder) for path in sorted(folder.rglob("*")) if path.is_file()),
        features=tuple(Feature(name=column, dtype=str(dtype)) for column, dtype in features.schema.items()),
        target=target,
        entity=entity,
        predictions=PREDICTIONS,
    )
    for each in notes.model.files:
        notes.output(f"{ARTIFACT}/{each.path}", (folder / each.path).read_bytes())
    notes.keep("evidence/model.json", notes.model.model_dump_json(indent=2).encode())
    say(f"model {name}: kept as {stored}, with {predictions.height:,} held-out predictions")


def _save_table(frame: pl.DataFrame, name: str, notes: Notes | None) -> None:
    if notes is None:
        say(f"table {name}: {frame.height:,} rows, kept when the script is run as an experiment")
        return
    buffer = io.BytesIO()
    frame.rechunk().write_parquet(buffer)
    notes.keep(f"tables/{name}.parquet", buffer.getvalue())
    preview = frame.select(~pl.selectors.nested() & ~pl.selectors.binary()).head(PREVIEW_ROWS)
    notes.keep(f"tables/{name}.preview.csv", preview.write_csv().encode())
    say(f"table {name}: {frame.height:,} rows")


def _store(model: Any, name: str, folder: Path, features: pl.DataFrame) -> Format:
    """Writes the model by MLflow's flavor; requirements are named, because inferring them takes many seconds."""
    import lightgbm
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from sklearn.base import BaseEstimator

    common: dict[str, Any] = {
        "path": str(folder),
        "signature": ModelSignature(inputs=Schema([ColSpec("double", column) for column in features.columns])),
    }
    if isinstance(model, (lightgbm.Booster, lightgbm.LGBMModel)):
        import mlflow.lightgbm

        # The sklearn wrapper would be pickled; the booster within it is plain text, and scores alike.
        booster = model if isinstance(model, lightgbm.Booster) else model.booster_
        mlflow.lightgbm.save_model(booster, pip_requirements=_pinned("lightgbm"), **common)
        return "lightgbm"
    if isinstance(model, BaseEstimator):
        import mlflow.sklearn
        import skops.io

        untrusted = skops.io.get_untrusted_types(data=skops.io.dumps(model))
        if untrusted:
            raise UnsavableModelError(name, _kind(model), f"parts that skops knows, not {', '.join(sorted(untrusted))}")
        requirements = _pinned("scikit-learn", "skops")
        mlflow.sklearn.save_model(model, serialization_format="skops", pip_requirements=requirements, **common)
        _settle(folder / "model.skops")
        return "skops"
    raise UnsavableModelError(name, _kind(model), "a LightGBM model, or a scikit-learn estimator")


def _scores_a_row(model: Any) -> int:
    """How many scores a fitted model gives each row: one, unless it tells more than two classes apart."""
    booster = getattr(model, "booster_", model)
    if hasattr(booster, "num_model_per_iteration"):
        return int(booster.num_model_per_iteration())
    return max(1, len(getattr(model, "classes_", ())) - 1)


def _settle(path: Path) -> None:
    """Gives equal models equal bytes, so that an experiment run again offers the same release.

    skops numbers a model's parts by their addresses in memory, and dates the files that it makes of them.
    """
    with ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    numbers: dict[int, int] = {}
    names: dict[str, str] = {}

    def settled(node: Any) -> Any:
        if isinstance(node, list):
            return [settled(each) for each in node]
        if not isinstance(node, dict):
            return node
        copy = {key: settled(value) for key, value in node.items()}
        if isinstance(number := node.get("__id__"), int):
            copy["__id__"] = numbers.setdefault(number, len(numbers))
        if isinstance(name := node.get("file"), str):
            copy["file"] = names.setdefault(name, f"{len(names)}{Path(name).suffix}")
        return copy

    schema = json.dumps(settled(json.loads(parts.pop("schema.json"))), indent=2)
    with ZipFile(path, "w") as archive:
        for name, content in sorted((names[name], content) for name, content in parts.items()):
            archive.writestr(ZipInfo(name), content)
        archive.writestr(ZipInfo("schema.json"), schema)


def _require_same(model: Any, name: str, stored: Format, folder: Path, held_out: pl.DataFrame) -> None:
    """Refuses predictions that the model, as it was stored, does not give: they are what a release is judged by."""
    import numpy as np

    again = predict(stored, folder, held_out.drop("score").to_numpy().astype(np.float64))
    given = held_out["score"].to_numpy()
    if again.shape != given.shape or not np.allclose(again, given, rtol=0, atol=CLOSE):
        raise UnsavableModelError(name, _kind(model), f"scores that the stored model gives again, to within {CLOSE:g}")


def predict(stored: Format, folder: Path, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scores that a stored model gives to inputs of shape (rows, features), shape (rows,)."""
    if stored == "lightgbm":
        import lightgbm

        return lightgbm.Booster(model_file=str(folder / "model.lgb")).predict(inputs)  # type: ignore[no-any-return]
    import skops.io

    loaded = skops.io.load(folder / "model.skops", trusted=[])
    if hasattr(loaded, "predict_proba"):
        return loaded.predict_proba(inputs)[:, 1]  # type: ignore[no-any-return]
    return loaded.predict(inputs)  # type: ignore[no-any-return]


def _file(path: Path, folder: Path) -> ModelFile:
    content = path.read_bytes()
    return ModelFile(
        path=path.relative_to(folder).as_posix(), sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)
    )


def _pinned(*packages: str) -> list[str]:
    return [f"{package}=={version(package)}" for package in packages]


def _kind(model: object) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"
