"""Configurations for Triton Inference Server."""

import os
from pathlib import Path

from keras_attention.export.signatures import Endpoint, read_signature
from keras_attention.utils.validation import positive_integer

TYPES = {
    "float16": "TYPE_FP16",
    "bfloat16": "TYPE_BF16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    "int8": "TYPE_INT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "uint8": "TYPE_UINT8",
    "bool": "TYPE_BOOL",
    "string": "TYPE_STRING",
}


def triton_config(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    max_batch_size: int = 64,
    signature: str = "serving_default",
) -> str:
    """Writes Triton's `config.pbtxt` for an export, from what the export says that it takes.

    Put it at `models/NAME/config.pbtxt`, beside the export: a SavedModel as
    `models/NAME/1/model.savedmodel`, an ONNX file as `models/NAME/1/model.onnx`.

    Args:
        path: A SavedModel or an ONNX file that was exported.
        name: The model's name at the server; None takes that of the file or folder.
        max_batch_size: The most examples that the server puts into one batch.
        signature: Of a SavedModel: `"serving_default"`, or `"serve_bytes"` for files of pictures.

    Returns:
        The text of the file.

    Raises:
        ValueError: For a path that is no export, a signature that is not there, a size that is
            not positive, or an export whose batch is not open.

    Example:
    >>> import keras, tempfile
    >>> model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.export(f"{folder}/dense", format="tf_saved_model", verbose=False)
    ...     print(triton_config(f"{folder}/dense", max_batch_size=8))
    name: "dense"
    platform: "tensorflow_savedmodel"
    max_batch_size: 8
    input [
      { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }
    ]
    output [
      { name: "output_0" data_type: TYPE_FP32 dims: [ 2 ] }
    ]
    """
    path = Path(path)
    positive_integer("max_batch_size", max_batch_size)
    found = read_signature(path, signature)
    is_onnx = path.suffix == ".onnx"
    lines = [
        f'name: "{path.stem if name is None else name}"',
        f'platform: "{"onnxruntime_onnx" if is_onnx else "tensorflow_savedmodel"}"',
        f"max_batch_size: {max_batch_size}",
        *_block("input", found.inputs),
        *_block("output", found.outputs),
    ]
    if not is_onnx and signature != "serving_default":
        value = f'value: {{ string_value: "{signature}" }}'
        lines.append(f'parameters: {{ key: "TF_SIGNATURE_DEF" {value} }}')
    return "\n".join(lines)


def _block(kind: str, endpoints: tuple[Endpoint, ...]) -> list[str]:
    return [f"{kind} [", ",\n".join(f"  {{ {_tensor(each)} }}" for each in endpoints), "]"]


def _tensor(endpoint: Endpoint) -> str:
    """A tensor without its batch, which Triton adds; of nothing else it has to be made."""
    batch, *sizes = endpoint.shape or (1,)
    if batch is not None:
        raise ValueError(
            "`path` must be an export whose batch is open. "
            f"Received: {endpoint.name!r} of shape {endpoint.shape}"
        )
    dims = " ".join(["[", ", ".join(str(-1 if size is None else size) for size in sizes), "]"])
    shape = f"dims: {dims}" if sizes else "dims: [ 1 ] reshape: { shape: [ ] }"
    return f'name: "{endpoint.name}" data_type: {TYPES[endpoint.dtype]} {shape}'
