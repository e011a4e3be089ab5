"""ONNX models: what one is made of, read before anything loads it, and scoring with it.

What belongs here: the operators that are loaded at all, and the refusal of what reaches outside the file. What does
not: whether its bytes are those that were released (`model`).

An ONNX file is data, but not only: it can name further files to be read, and operators that are compiled code of
somebody's own. So its parts are read here first, field by field as Protocol Buffers write them, with no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ds_pipelines.errors import UnfitForModelError, UnsafeModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ds_pipelines.evidence import ModelCard

    Floats: TypeAlias = NDArray[np.float64]

FILE = "model.onnx"
OPERATORS = frozenset(
    {
        *(("", name) for name in (
            "Abs", "Add", "And", "ArgMax", "Asinh", "Cast", "Clip", "Concat", "Constant", "Div", "Equal", "Exp",
            "Flatten", "Gather", "Gemm", "Greater", "Identity", "Less", "Log", "MatMul", "Max", "Min", "Mul", "Neg",
            "Not", "Or", "Pow", "ReduceSum", "Relu", "Reshape", "Shape", "Sigmoid", "Slice", "Softmax", "Split",
            "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze", "Where",
        )),
        *(("ai.onnx.ml", name) for name in (
            "ArrayFeatureExtractor", "Binarizer", "FeatureVectorizer", "Imputer", "LabelEncoder", "LinearClassifier",
            "LinearRegressor", "Normalizer", "Scaler", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "ZipMap",
        )),
    }
)  # fmt: skip
"""By domain and name: operators that only compute, of ONNX's own two domains."""
LONGEST_NESTING = 8

_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODE, _GRAPH_TENSORS, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14


def loaded(card: ModelCard, content: bytes) -> Callable[[Floats], Any]:
    """The probabilities of class 1 for numbers of shape (rows, features).

    Raises:
        UnsafeModelError: it has parts that are not on our list, or cannot be read.
        UnfitForModelError: it takes other features than the card says, or does not give probabilities.
    """
    require_parts(card.name, content)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # so that a sum has one order
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception:
        raise UnsafeModelError(card.name, FILE, "a model that ONNX Runtime can read") from None
    inputs, outputs = session.get_inputs(), session.get_outputs()
    types = {"tensor(double)": np.float64, "tensor(float)": np.float32}
    if len(inputs) != 1 or inputs[0].type not in types or inputs[0].shape[-1] != len(card.features):
        raise UnfitForModelError(card.name, "its input", f"one of numbers, shape (rows, {len(card.features)})")
    fitting = [each.name for each in outputs if each.type in types]
    if len(fitting) != 1:
        raise UnfitForModelError(card.name, "its output", "one array of probabilities (zipmap=False in skl2onnx)")
    name, dtype = inputs[0].name, types[inputs[0].type]

    def probabilities(numbers: Floats) -> Any:
        (answer,) = session.run(fitting, {name: np.ascontiguousarray(numbers, dtype=dtype)})
        return answer[:, 1] if answer.ndim == 2 and answer.shape[1] == 2 else answer.reshape(len(numbers))

    return probabilities


def require_parts(model: str, content: bytes) -> None:
    """Refuses a model that has operators which are not on our list, functions of its own, or data in other files.

    Raises:
        UnsafeModelError: it has; or it is no ONNX file.
    """
    try:
        fields = list(_fields(content))
        if any(number == _MODEL_FUNCTIONS for number, _ in fields):
            raise UnsafeModelError(model, FILE, "only operators of ONNX, and no functions of its own")
        graphs = [_message(value) for number, value in fields if number == _MODEL_GRAPH]
        _require_graph(model, b"".join(graphs), LONGEST_NESTING if len(graphs) == 1 else 0)
    except (IndexError, ValueError):
        raise UnsafeModelError(model, FILE, "a model in the format of ONNX") from None


def _require_graph(model: str, graph: bytes, depth: int) -> None:
    if not depth:
        raise ValueError
    for number, value in _fields(graph):
        if number == _GRAPH_NODE:
            _require_node(model, _message(value), depth)
        elif number == _GRAPH_TENSORS:
            _require_tensor(model, _message(value))
        elif number == _GRAPH_SPARSE:
            raise UnsafeModelError(model, FILE, "no sparse tensors")


def _require_node(model: str, node: bytes, depth: int) -> None:
    fields = list(_fields(node))
    texts = {number: _message(value).decode() for number, value in fields if number in (_NODE_OPERATOR, _NODE_DOMAIN)}
    domain, operator = texts.get(_NODE_DOMAIN, ""), texts.get(_NODE_OPERATOR, "")
    if ("" if domain == "ai.onnx" else domain, operator) not in OPERATORS:
        raise UnsafeModelError(
            model, FILE, f"only operators on our list, which {domain or 'ai.onnx'}.{operator} is not"
        )
    for number, attribute in fields:
        if number != _NODE_ATTRIBUTE:
            continue
        for kind, value in _fields(_message(attribute)):
            if kind in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
                _require_tensor(model, _message(value))
            elif kind in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                _require_graph(model, _message(value), depth - 1)


def _require_tensor(model: str, tensor: bytes) -> None:
    if any(
        number in (_TENSOR_EXTERNAL, _TENSOR_LOCATION) and value not in (0, b"") for number, value in _fields(tensor)
    ):
        raise UnsafeModelError(model, FILE, "all of its data in the one file")


def _message(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError  # noqa: TRY004 - malformed, as everything else that is not as ONNX says
    return value


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of every field of a message of Protocol Buffers."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(content, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            length, at = _varint(content, at)
        else:
            length = {1: 8, 5: 4}.get(kind, -1)
        if length < 0 or at + length > len(content):
            raise ValueError
        yield tag >> 3, content[at : at + length]
        at += length


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError
