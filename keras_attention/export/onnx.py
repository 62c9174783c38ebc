"""Export to ONNX."""

import functools
import importlib.util
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention import backend
from keras_attention.export.verification import NamedArrays, export_file, replaced_attribute

REQUIRED_PACKAGES = ("tf2onnx", "onnx", "onnxruntime")
# Bicubic interpolation of TensorFlow and of ONNX Runtime differ: the export raises an error.
RESIZING = ["ResizeBilinear", "ResizeNearestNeighbor"]
CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative")


def export_onnx(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    inputs: Any = None,
    tolerance: float | None = None,
    overwrite: bool = False,
    attention: bool = False,
    image_range: Any = None,
) -> Path:
    """Exports a model to an ONNX file, runs it with ONNX Runtime and compares the outputs.

    The file is written under a temporary name and renamed to `path` after verification. Outputs
    are float32 for every dtype policy. Operations that XLA fuses in training are exported
    unfused. ONNX does not support shapes that depend on weights, so target layers with
    `roi="slice"` compute whole feature maps, with the same outputs; apply `surgery.compact` before
    the export to compute the regions of interest only.

    Args:
        model: A built Keras model.
        path: The file to write. The suffix `.onnx` is appended if there is none.
        inputs: See `export_saved_model`.
        tolerance: See `export_saved_model`.
        overwrite: If True, an existing file is replaced.
        attention: See `export_saved_model`.
        image_range: `(low, high)`, the value range of the model's images, from which examples are
            drawn. See `export_saved_model`.

    Returns:
        The path of the file.

    Raises:
        ImportError: If the packages of the extra `export` are not installed.
        FileExistsError: If `path` exists and must not be replaced.
        ValueError: If the path has another suffix, the model is not built, the inputs do not match,
            or `attention` is requested for a model without attention.
        RuntimeError: If the model cannot be converted, or the outputs of the file differ.

    Example:
    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_onnx(model, f"{folder}/model.onnx").name
    'model.onnx'
    """
    missing = [name for name in REQUIRED_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"`export_onnx` requires {', '.join(missing)}: pip install "
            '"keras-cnn-attention[export]"'
        )
    return export_file(
        model,
        path,
        "onnx",
        _run_onnx,
        lambda model: _onnx_conversion(),
        inputs=inputs,
        tolerance=tolerance,
        overwrite=overwrite,
        attention=attention,
        image_range=image_range,
    )


def _run_onnx(path: Path, inputs: NamedArrays) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    # An input that no output depends on is missing in the file.
    names = {tensor.name for tensor in session.get_inputs()}
    return list(session.run(None, {name: inputs[name] for name in inputs if name in names}))


@contextmanager
def _onnx_conversion() -> Iterator[None]:
    """Disables fusion and shapes that depend on weights, and works around faults of converters.

    tf2onnx 1.17 declares the tensors that a function captures, such as the statistics of
    Normalization, as inputs of the file. It merges padding into a subsequent convolution whose own
    explicit padding is then lost. It has no conversion of `Erfc`, of which Keras's GELU consists,
    and of functions compiled by XLA, such as Keras's grouped convolutions. It rounds the scales of
    resized images so that the size may be a pixel too small.

    TensorFlow's graph optimizer, called by tf2onnx, merges convolution kernels with subsequent
    multiplications; if the shape of the multiplier is unknown, this ends the process (TensorFlow
    2.21, a failed check in `MulConvPushDown`). The optimizer does not modify output nodes, so the
    convolutions are declared as outputs.
    """
    from keras.src.backend.tensorflow import nn
    from tf2onnx import tf_loader, tfonnx

    _register_conversions()
    load, optimize = tf_loader.from_function, tf_loader.tf_optimize_grappler
    merge_padding = tfonnx.rewrite_conv2d_with_pad

    def load_without_captures(function: Any, inputs: list[str], *args: Any, **kwargs: Any) -> Any:
        captured = {tensor.name for tensor in function.graph.internal_captures}
        inputs[:] = [name for name in inputs if name not in captured]  # a list of the caller
        return load(function, inputs, *args, **kwargs)

    def optimize_without_convolutions(inputs: list[str], outputs: list[str], graph: Any) -> Any:
        kept = [f"{node.name}:0" for node in graph.node if node.op in CONVOLUTIONS]
        return optimize([*inputs, *kept], outputs, graph)

    def merge_into_unpadded(graph: Any, nodes: list[Any]) -> list[Any]:
        merge_padding(graph, [node for node in nodes if not _has_explicit_padding(node)])
        return nodes

    replacements = (
        (tf_loader, "from_function", load_without_captures),
        (tf_loader, "tf_optimize_grappler", optimize_without_convolutions),
        (tfonnx, "rewrite_conv2d_with_pad", merge_into_unpadded),
        (nn, "tf", _WithoutXLA(nn.tf)),
    )
    with backend.fusion_disabled(), backend.fixed_shapes(), ExitStack() as stack:
        for replacement in replacements:
            stack.enter_context(replaced_attribute(*replacement))
        yield


def _has_explicit_padding(node: Any) -> bool:
    return node.type == "Conv2D" and node.get_attr_value("padding") == b"EXPLICIT"


class _WithoutXLA:
    """The module `tensorflow` for Keras's operations, with functions that XLA does not compile."""

    def __init__(self, module: Any):
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def function(self, *arguments: Any, **options: Any) -> Any:
        """Replaces `tf.function`."""
        return self._module.function(*arguments, **{**options, "jit_compile": False})


@functools.cache
def _register_conversions() -> None:
    """Registers conversions that tf2onnx does not have, or in which it makes a mistake."""
    from tf2onnx.handler import tf_op

    tf_op.register_handler(_convert_erfc, 9, ["Erfc"], "", {})
    tf_op.register_handler(_convert_resize, 11, RESIZING, "", {})


def _convert_erfc(context: Any, node: Any, **_: Any) -> None:
    """Converts `erfc(x)` to `1 - erf(x)`."""
    from tf2onnx import utils

    dtype, shape = context.get_dtype(node.output[0]), context.get_shape(node.output[0])
    error = context.make_node("Erf", node.input, dtypes=[dtype], shapes=[shape])
    name = f"{node.name}_one"
    one = context.make_const(name, np.ones((), utils.map_onnx_to_numpy_type(dtype)))
    outputs = list(node.output)
    context.remove_node(node.name)
    context.make_node("Sub", [one.output[0], error.output[0]], outputs=outputs)


def _convert_resize(context: Any, node: Any, **options: Any) -> None:
    """Converts resizing, with scales whose products with the sizes do not lose a pixel."""
    from tf2onnx.onnx_opset.nn import Resize

    old, new = (context.get_shape(name) for name in (node.input[0], node.output[0]))
    output = node.output[0]
    Resize.version_11(context, node, **options)
    scales = context.get_node_by_output(output).inputs[0].inputs[2]
    if not (scales.is_const() and old and new):
        return
    values = scales.get_tensor_value(as_list=False).copy()
    for axis, (before, after) in enumerate(zip(old[1:3], new[1:3], strict=True), start=2):
        while np.floor(float(values[axis]) * before) < after:
            values[axis] = np.nextafter(values[axis], np.float32(np.inf))
    scales.set_tensor_value(values)
