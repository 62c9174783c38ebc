"""What an export takes and returns, read from its files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_attention.utils.validation import nearest


@dataclass(frozen=True)
class Endpoint:
    """A tensor that clients send or get.

    Attributes:
        name: What clients call it.
        dtype: As NumPy calls it, `"string"` for bytes.
        shape: Its sizes, None where they are open.
        tensor: Its name in the graph, for clients that know graphs alone; in ONNX the same.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    tensor: str


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a way to call an export."""

    inputs: tuple[Endpoint, ...]
    outputs: tuple[Endpoint, ...]


def read_signature(path: str | os.PathLike[str], signature: str = "serving_default") -> Signature:
    """Reads what a SavedModel or an ONNX file takes and returns, without loading its weights.

    Args:
        path: A SavedModel's folder, or an ONNX file.
        signature: Of a SavedModel: `"serving_default"`, `"serve"` or `"serve_bytes"`.

    Returns:
        Inputs and outputs, by name.

    Raises:
        ValueError: For another file, or a signature that is not there.
    """
    path = Path(path)
    if (path / "saved_model.pb").is_file():
        return _of_saved_model(path, signature)
    if path.is_file() and path.suffix == ".onnx":
        return _of_onnx(path)
    raise ValueError(
        f"`path` must be a SavedModel's folder or an .onnx file. Received: path={str(path)!r}"
    )


def _of_saved_model(path: Path, name: str) -> Signature:
    from tensorflow.core.protobuf import saved_model_pb2

    message = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    signatures = {
        key: found
        for graph in message.meta_graphs
        for key, found in graph.signature_def.items()
        if not key.startswith("__")
    }
    if name not in signatures:
        raise ValueError(
            f"`signature` must be one of {', '.join(sorted(signatures))}. "
            f"Received: signature={name!r}.{nearest(name, signatures)}"
        )
    return Signature(_of_tensors(signatures[name].inputs), _of_tensors(signatures[name].outputs))


def _of_tensors(tensors: Any) -> tuple[Endpoint, ...]:
    import tensorflow as tf

    return tuple(
        Endpoint(
            name,
            tf.as_dtype(tensor.dtype).name,
            _shape(None if dim.size < 0 else dim.size for dim in tensor.tensor_shape.dim),
            tensor.name,
        )
        for name, tensor in sorted(tensors.items())
    )


def _of_onnx(path: Path) -> Signature:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return Signature(_of_values(graph.input), _of_values(graph.output))


def _of_values(values: Sequence[Any]) -> tuple[Endpoint, ...]:
    import onnx

    return tuple(
        Endpoint(
            value.name,
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            _shape(
                dim.dim_value if dim.HasField("dim_value") else None
                for dim in value.type.tensor_type.shape.dim
            ),
            value.name,
        )
        for value in values
    )


def _shape(sizes: Any) -> tuple[int | None, ...]:
    return tuple(sizes)
