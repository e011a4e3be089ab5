"""An ONNX model is loaded if all of it is in the one file and consists of operators on the list."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from ds_pipelines.errors import UnfitForModelError, UnsafeModelError
from ds_pipelines.evidence import Feature, ModelCard, ModelFile
from ds_pipelines.scoring import model

if TYPE_CHECKING:
    from collections.abc import Callable

    from ds_pipelines.scoring.model import Model

onnx: Any = pytest.importorskip("onnx", reason="skl2onnx, of the extra `dev`, is not installed")

NAMES = ("recency_days", "orders_total", "spend_total")
ROWS = np.random.default_rng(3).normal(size=(400, 3))
FEATURES = pl.DataFrame(ROWS, schema=list(NAMES))
BOUGHT = (ROWS[:, 0] + 0.3 * ROWS[:, 1] > 0).astype(int)


@pytest.fixture(scope="module")
def pipeline() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, BOUGHT)


@pytest.fixture(scope="module")
def graph(pipeline: Any) -> Any:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType

    shape = [("features", DoubleTensorType([None, len(NAMES)]))]
    return to_onnx(pipeline, initial_types=shape, options={"zipmap": False})


def loaded(content: bytes, names: tuple[str, ...] = NAMES) -> Model:
    file = ModelFile(path="model.onnx", sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    card = ModelCard(
        name="repurchase",
        format="onnx",
        artifact="model",
        files=(file,),
        features=tuple(Feature(name=name, dtype="Float64") for name in names),
        target="an order within 30 days",
        entity="customer_id",
        predictions="evidence/predictions.parquet",
    )
    return model.restored(card, content)


def test_an_onnx_model_scores_as_the_estimator_that_it_was_made_from(graph: Any, pipeline: Any) -> None:
    scores = loaded(graph.SerializeToString()).predict(FEATURES)
    assert np.allclose(scores, pipeline.predict_proba(ROWS)[:, 1], rtol=0, atol=1e-9)


def with_an_operator_of_ones_own(graph: Any) -> None:
    graph.graph.node[0].op_type, graph.graph.node[0].domain = "Shell", "my.own"


def with_a_branch(graph: Any) -> None:
    inner = onnx.helper.make_graph([onnx.helper.make_node("Shell", [], ["x"], domain="my.own")], "inner", [], [])
    graph.graph.node[0].attribute.append(onnx.helper.make_attribute("then_branch", inner))


def with_a_function(graph: Any) -> None:
    graph.functions.append(onnx.helper.make_function("my.own", "Sub", ["a"], ["b"], [], []))


def with_data_in_another_file(graph: Any) -> None:
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


UNSAFE: dict[str, tuple[Callable[[Any], None], str]] = {
    "an operator that is not on the list": (with_an_operator_of_ones_own, r"my\.own\.Shell"),
    "one inside of a branch": (with_a_branch, r"my\.own\.Shell"),
    "a function of its own": (with_a_function, "no functions of its own"),
    "data in another file": (with_data_in_another_file, "in the one file"),
}


@pytest.mark.parametrize("case", UNSAFE)
def test_a_model_that_reaches_outside_is_refused_before_it_is_loaded(
    case: str, graph: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    opened: list[Any] = []
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *given, **_: opened.append(given))
    change, named = UNSAFE[case]
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    change(changed)
    with pytest.raises(UnsafeModelError, match=named):
        loaded(changed.SerializeToString())
    assert opened == []


@pytest.mark.parametrize("content", [b"\x08", b"\x08\x0a\x3a", b"\x08" * 40, b"\x08\x0a" + b"\x3a\xff\xff\xff\xff\x7f"])
def test_what_is_no_onnx_file_is_refused(content: bytes) -> None:
    with pytest.raises(UnsafeModelError, match="format of ONNX"):
        loaded(content)


def test_a_model_of_another_number_of_features_is_refused(graph: Any) -> None:
    with pytest.raises(UnfitForModelError, match="its input"):
        loaded(graph.SerializeToString(), NAMES[:2])


def test_a_logistic_regression_scores_a_row_alike_in_whatever_batch_it_comes(pipeline: Any) -> None:
    from ds_pipelines.scoring import linear

    compiled = linear.compiled(pipeline)
    assert compiled is not None
    whole = compiled(np.asfortranarray(ROWS))
    assert np.allclose(whole, pipeline.predict_proba(ROWS)[:, 1], rtol=0, atol=1e-12)
    for start, length in ((0, 1), (1, 7), (3, 390), (399, 1)):
        assert compiled(np.asfortranarray(ROWS[start : start + length])).tobytes() == whole[start:][:length].tobytes()
