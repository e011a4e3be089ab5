"""Loading a released model safely, and scoring with it.

What belongs here: the proof that a folder holds exactly the file that was released, the formats that are loaded at all,
and the checks around a prediction. What does not: which model is in use (`release`), and features (`production/jobs`).

Loading runs code for most formats, so nothing is handed to a library before its bytes have the released hash, and only
three formats are known: LightGBM's native text, ONNX made of the operators listed in `onnx`, and skops made of the
parts listed here. MLflow is not involved: it loads what it finds, and reads from the model's own folder which types to
trust.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import polars as pl

from ds_pipelines.errors import UnfitForModelError, UnsafeModelError
from ds_pipelines.scoring import linear, onnx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ds_pipelines.evidence import ModelCard

    Floats: TypeAlias = NDArray[np.float64]

Format: TypeAlias = Literal["lightgbm", "onnx", "skops"]

MODEL_FILE: Mapping[Format, str] = {"lightgbm": "model.lgb", "onnx": onnx.FILE, "skops": "model.skops"}
"""The one file of each format."""

BEGINNING: Mapping[Format, bytes] = {"lightgbm": b"tree\n", "onnx": b"\x08", "skops": b"PK\x03\x04"}
"""The first bytes of that file, by which another format under its name is told."""

PARTS = frozenset(
    {
        ("DictNode", "builtins.dict"),
        ("FunctionNode", "numpy.arcsinh"),
        ("FunctionNode", "numpy.log1p"),
        ("FunctionNode", "numpy.sqrt"),
        ("JsonNode", "builtins.str"),
        ("ListNode", "builtins.list"),
        ("NdArrayNode", "numpy.float64"),
        ("NdArrayNode", "numpy.int64"),
        ("NdArrayNode", "numpy.ndarray"),
        ("ObjectNode", "sklearn.compose._column_transformer.ColumnTransformer"),
        ("ObjectNode", "sklearn.linear_model._logistic.LogisticRegression"),
        ("ObjectNode", "sklearn.pipeline.Pipeline"),
        ("ObjectNode", "sklearn.preprocessing._data.MinMaxScaler"),
        ("ObjectNode", "sklearn.preprocessing._data.PowerTransformer"),
        ("ObjectNode", "sklearn.preprocessing._data.QuantileTransformer"),
        ("ObjectNode", "sklearn.preprocessing._data.RobustScaler"),
        ("ObjectNode", "sklearn.preprocessing._data.StandardScaler"),
        ("ObjectNode", "sklearn.preprocessing._function_transformer.FunctionTransformer"),
        ("SliceNode", "builtins.slice"),
        ("TupleNode", "builtins.tuple"),
        ("TypeNode", "builtins.int"),
        ("TypeNode", "builtins.str"),
        ("TypeNode", "numpy.int64"),
    }
)
"""Of what a skops model may consist: how a part is restored, and its type. Data, and estimators that only compute."""

PROTOCOL = 2
"""Of skops' format: a file that names an older one is restored by older, laxer code."""


@dataclass(frozen=True)
class Model:
    """A released model, loaded."""

    card: ModelCard
    _probabilities: Callable[[Floats], Any]
    content: bytes = b""
    """Of its file, from which `restored` makes it again in another process."""

    def predict(self, features: pl.DataFrame) -> Floats:
        """A score for each row, shape (rows,), in the order of the rows.

        Args:
            features: The columns that the card names, all of them and no others, in its order; numbers without nulls.

        Raises:
            UnfitForModelError: the columns differ, or a value or a score is missing, NaN or infinite.
        """
        expected = [feature.name for feature in self.card.features]
        if features.columns != expected:
            raise UnfitForModelError(self.card.name, "the features", f"{', '.join(expected)}, in this order")
        for name, dtype in features.schema.items():
            if not (dtype.is_numeric() or dtype == pl.Boolean):
                raise UnfitForModelError(self.card.name, f"feature {name!r}", "a number")
        numbers = features.select(pl.all().cast(pl.Float64))
        matrix = numbers.to_numpy()
        # The sum of finite numbers is hardly ever infinite or NaN: looking at each is left to when it is.
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not np.isfinite(matrix.sum())
        if suspicious and (unfit := [column.name for column in numbers if not _finite(column)]):
            raise UnfitForModelError(self.card.name, f"feature {', '.join(unfit)}", "a finite number in every row")
        scores = np.asarray(self._probabilities(matrix), dtype=np.float64)
        if scores.shape != (features.height,) or not np.isfinite(scores).all():
            raise UnfitForModelError(self.card.name, "its answer", "one finite number a row")
        return scores


def load(card: ModelCard, folder: Path) -> Model:
    """Verifies a model's folder against its card, then loads it.

    Raises:
        UnsafeModelError: the folder holds anything but the released file, its bytes have another hash, or it is of
            another format or made of parts that are not on our list. Nothing was loaded then.
        UnfitForModelError: the model takes other features than the card says.
    """
    return restored(card, verified(card, folder))


def restored(card: ModelCard, content: bytes) -> Model:
    """A model from the bytes of its file, once they are shown to be those that its card names.

    Raises:
        UnsafeModelError, UnfitForModelError: as for `load`.
    """
    _require_bytes(card, content)
    form: Format = card.format
    kinds = {"lightgbm": _lightgbm, "onnx": onnx.loaded, "skops": _skops}
    return Model(card, kinds[form](card, content), content)


def verified(card: ModelCard, folder: Path) -> bytes:
    """The bytes of a model's file, once they are shown to be those that the card names.

    Raises:
        UnsafeModelError: as for `load`.
    """
    name = MODEL_FILE[card.format]
    strange = [file.path for file in card.files if file.path != name]
    strange += [path.name for path in sorted(folder.iterdir()) if path.name != name] if folder.is_dir() else []
    if strange:
        raise UnsafeModelError(card.name, strange[0], f"only {name}, the whole of a {card.format} model")
    path = folder / name
    if not card.files or path.is_symlink() or not path.is_file():
        raise UnsafeModelError(card.name, name, "a plain file of this name, in the folder and on the model's card")
    content = path.read_bytes()
    _require_bytes(card, content)
    return content


def _require_bytes(card: ModelCard, content: bytes) -> None:
    name = MODEL_FILE[card.format]
    if hashlib.sha256(content).hexdigest() != card.files[0].sha256:
        raise UnsafeModelError(card.name, name, "the bytes that were released, by their SHA-256")
    if not content.startswith(BEGINNING[card.format]):
        raise UnsafeModelError(card.name, name, f"a model stored as {card.format}")


def _finite(column: pl.Series) -> bool:
    return not column.null_count() and bool(column.is_finite().all())


def _lightgbm(card: ModelCard, content: bytes) -> Callable[[Floats], Any]:
    import lightgbm

    try:
        booster = lightgbm.Booster(model_str=content.decode())
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError):
        raise UnsafeModelError(card.name, MODEL_FILE["lightgbm"], "a model that LightGBM can read") from None
    names = booster.feature_name()
    unnamed = [f"Column_{at}" for at in range(len(names))]  # trained on an array: only their number is known
    _require_features(card, len(names), None if names == unnamed else names)
    return booster.predict  # type: ignore[no-any-return]


def inspected(card: ModelCard, folder: Path) -> None:
    """Holds a model's file to its card and to the parts on our list, by reading it alone: nothing is loaded.

    Raises:
        UnsafeModelError: as for `load`.
    """
    content = verified(card, folder)
    if card.format == "skops":
        _require_parts(card, content)


def _require_parts(card: ModelCard, content: bytes) -> None:
    file = MODEL_FILE["skops"]
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            schema = json.loads(archive.read("schema.json"))
        protocol, parts = schema["protocol"], set(_parts(schema))
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError):
        raise UnsafeModelError(card.name, file, "a model that skops can read") from None
    if protocol != PROTOCOL:
        raise UnsafeModelError(card.name, file, f"protocol {PROTOCOL} of skops")
    unlisted = sorted(f"{kind} as {how}" for how, kind in parts - PARTS)
    if unlisted:
        raise UnsafeModelError(card.name, file, f"only parts on our list, which {unlisted[0]} is not")


def _skops(card: ModelCard, content: bytes) -> Callable[[Floats], Any]:
    _require_parts(card, content)
    import skops.io

    try:
        estimator = skops.io.loads(content, trusted=[])
    except (KeyError, TypeError, ValueError):
        raise UnsafeModelError(card.name, MODEL_FILE["skops"], "a model that skops can read") from None
    if list(getattr(estimator, "classes_", ())) != [0, 1]:
        raise UnfitForModelError(card.name, "its classes", "0 and 1")
    names = getattr(estimator, "feature_names_in_", None)
    _require_features(card, estimator.n_features_in_, None if names is None else list(names))
    if (simple := linear.compiled(estimator)) is not None:
        return simple

    def probabilities(numbers: Floats) -> Any:
        if names is None:
            return estimator.predict_proba(numbers)[:, 1]
        import pandas as pd

        return estimator.predict_proba(pd.DataFrame(numbers, columns=list(names)))[:, 1]

    return probabilities


def _parts(node: Any) -> Iterator[tuple[str, str]]:
    """How each part of a skops schema is restored, and as what."""
    if isinstance(node, dict):
        if "__class__" in node or "__loader__" in node:
            yield str(node.get("__loader__")), f"{node.get('__module__')}.{node.get('__class__')}"
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _parts(each)


def _require_features(card: ModelCard, count: int, names: list[str] | None) -> None:
    expected = [feature.name for feature in card.features]
    if count != len(expected) or (names is not None and names != expected):
        raise UnfitForModelError(card.name, "what it was trained on", f"its card's features: {', '.join(expected)}")
