"""A model is loaded only if its bytes are those that were released, and of a kind that may be loaded at all."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from ds_pipelines.errors import UnfitForModelError, UnsafeModelError
from ds_pipelines.evidence import Feature, ModelCard, ModelFile
from ds_pipelines.scoring import model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = np.random.default_rng(3).normal(size=(400, 3))
BOUGHT = (ROWS[:, 0] + 0.3 * ROWS[:, 1] > 0).astype(int)
NAMES = ("recency_days", "orders_total", "spend_total")
FEATURES = pl.DataFrame(ROWS, schema=list(NAMES))


@pytest.fixture(scope="session")
def booster() -> Any:
    import lightgbm

    options = {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": 1}
    return lightgbm.train(options, lightgbm.Dataset(ROWS, BOUGHT), num_boost_round=5)


@pytest.fixture(scope="session")
def pipeline() -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    long_tailed = ("long_tailed", FunctionTransformer(np.arcsinh), slice(2))
    columns = ColumnTransformer([long_tailed], remainder="passthrough")
    return make_pipeline(columns, StandardScaler(), LogisticRegression()).fit(ROWS, BOUGHT)


def stored(folder: Path, form: model.Format, content: bytes, name: str | None = None) -> ModelCard:
    """Writes a model's file into an empty folder, and the card that goes with it."""
    name = name or model.MODEL_FILE[form]
    (folder / name).write_bytes(content)
    return ModelCard(
        name="repurchase",
        format=form,
        artifact="model",
        files=(ModelFile(path=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)),),
        features=tuple(Feature(name=name, dtype="Float64") for name in NAMES),
        target="an order within 30 days",
        entity="customer_id",
        predictions="evidence/predictions.parquet",
    )


def as_lightgbm(booster: Any) -> bytes:
    return str(booster.model_to_string()).encode()


def as_skops(estimator: Any) -> bytes:
    import skops.io

    return bytes(skops.io.dumps(estimator))


def test_a_lightgbm_model_scores_as_it_did_when_trained(tmp_path: Path, booster: Any) -> None:
    loaded = model.load(stored(tmp_path, "lightgbm", as_lightgbm(booster)), tmp_path)
    assert np.array_equal(loaded.predict(FEATURES), booster.predict(ROWS))


def test_a_skops_model_scores_as_it_did_when_trained(tmp_path: Path, pipeline: Any) -> None:
    loaded = model.load(stored(tmp_path, "skops", as_skops(pipeline)), tmp_path)
    assert np.allclose(loaded.predict(FEATURES), pipeline.predict_proba(ROWS)[:, 1], rtol=0, atol=1e-12)


def test_changed_bytes_are_refused(tmp_path: Path, booster: Any) -> None:
    card = stored(tmp_path, "lightgbm", as_lightgbm(booster))
    path = tmp_path / "model.lgb"
    path.write_bytes(path.read_bytes().replace(b"leaf_value=", b"leaf_value=9", 1))
    with pytest.raises(UnsafeModelError, match=r"model\.lgb.*SHA-256"):
        model.load(card, tmp_path)


def test_a_file_beside_the_released_one_is_refused(tmp_path: Path, booster: Any) -> None:
    card = stored(tmp_path, "lightgbm", as_lightgbm(booster))
    (tmp_path / "model.pkl").write_bytes(b"")
    with pytest.raises(UnsafeModelError, match=r"model\.pkl"):
        model.load(card, tmp_path)


def test_a_link_to_the_released_file_is_refused(tmp_path: Path, booster: Any) -> None:
    card = stored(tmp_path, "lightgbm", as_lightgbm(booster))
    (folder := tmp_path / "other").mkdir()
    (folder / "model.lgb").symlink_to(tmp_path / "model.lgb")
    with pytest.raises(UnsafeModelError, match="plain file"):
        model.load(card, folder)


def test_a_missing_file_is_refused(tmp_path: Path, booster: Any) -> None:
    card = stored(tmp_path, "lightgbm", as_lightgbm(booster))
    with pytest.raises(UnsafeModelError, match=r"model\.lgb"):
        model.load(card, tmp_path / "nowhere")


class Intruder:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (type(self.trace).touch, (self.trace,))


@pytest.mark.parametrize("form", ["lightgbm", "skops"])
def test_a_pickle_under_another_format_is_not_loaded(form: model.Format, tmp_path: Path) -> None:
    (folder := tmp_path / "model").mkdir()
    card = stored(folder, form, pickle.dumps(Intruder(tmp_path / "trace")))
    with pytest.raises(UnsafeModelError, match=f"stored as {form}"):
        model.load(card, folder)
    assert not (tmp_path / "trace").exists()


def test_a_pickle_named_as_one_is_refused_by_name(tmp_path: Path, pipeline: Any) -> None:
    card = stored(tmp_path, "skops", pickle.dumps(pipeline), name="model.pkl")
    with pytest.raises(UnsafeModelError, match=r"model\.pkl"):
        model.load(card, tmp_path)


def test_formats_swapped_are_refused(tmp_path: Path, booster: Any) -> None:
    card = stored(tmp_path, "skops", as_lightgbm(booster))
    with pytest.raises(UnsafeModelError, match="stored as skops"):
        model.load(card, tmp_path)


def test_a_skops_model_with_a_part_that_is_not_listed_is_refused_though_skops_trusts_it(tmp_path: Path) -> None:
    from sklearn.tree import DecisionTreeClassifier

    content = as_skops(DecisionTreeClassifier(max_depth=1).fit(ROWS, BOUGHT))
    with pytest.raises(UnsafeModelError, match="on our list"):
        model.load(stored(tmp_path, "skops", content), tmp_path)


def with_schema(content: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """A skops file whose schema was changed by hand."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "schema.json":
                schema = json.loads(data)
                change(schema)
                data = json.dumps(schema).encode()
            new.writestr(name, data)
    return changed.getvalue()


def test_a_skops_model_that_names_a_function_is_refused(tmp_path: Path, pipeline: Any) -> None:
    system = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "__id__": 1}
    content = with_schema(as_skops(pipeline), lambda schema: schema["content"]["content"].update(memory=system))
    with pytest.raises(UnsafeModelError, match=r"os\.system as FunctionNode"):
        model.load(stored(tmp_path, "skops", content), tmp_path)


def test_a_skops_model_of_an_older_protocol_is_refused(tmp_path: Path, pipeline: Any) -> None:
    content = with_schema(as_skops(pipeline), lambda schema: schema.update(protocol=0))
    with pytest.raises(UnsafeModelError, match="protocol 2"):
        model.load(stored(tmp_path, "skops", content), tmp_path)


def test_a_model_of_other_features_than_its_card_says_is_refused(tmp_path: Path) -> None:
    import lightgbm

    names = ["recency_days", "spend_total", "orders_total"]
    data = lightgbm.Dataset(ROWS, BOUGHT, feature_name=names)
    other = lightgbm.train({"objective": "binary", "verbose": -1}, data, num_boost_round=1)
    with pytest.raises(UnfitForModelError, match="recency_days, orders_total, spend_total"):
        model.load(stored(tmp_path, "lightgbm", as_lightgbm(other)), tmp_path)


UNFIT = {
    "in another order": (FEATURES.select(reversed(NAMES)), "in this order"),
    "with one too many": (FEATURES.with_columns(age=pl.lit(1)), "in this order"),
    "with one missing": (FEATURES.drop("spend_total"), "in this order"),
    "with a null": (FEATURES.with_columns(spend_total=pl.lit(None, pl.Float64)), "spend_total"),
    "with NaN": (FEATURES.with_columns(spend_total=pl.lit(float("nan"))), "spend_total"),
    "with infinity": (FEATURES.with_columns(orders_total=pl.lit(float("inf"))), "orders_total"),
    "that are no numbers": (FEATURES.with_columns(orders_total=pl.lit("7")), "orders_total"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_features_that_the_model_was_not_trained_on_are_refused_by_name(
    case: str, tmp_path: Path, booster: Any
) -> None:
    loaded = model.load(stored(tmp_path, "lightgbm", as_lightgbm(booster)), tmp_path)
    features, named = UNFIT[case]
    with pytest.raises(UnfitForModelError, match=named):
        loaded.predict(features)
