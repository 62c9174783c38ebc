"""Export to LiteRT (TensorFlow Lite), for phones and embedded devices."""

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention import backend
from keras_attention.export.verification import NamedArrays, export_file, replaced_attribute
from keras_attention.utils.validation import one_of

# Largest root mean square difference of an int8 output, relative to the output. A wrong scale
# gives about 1.
INT8_TOLERANCE = 0.25


def export_litert(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    inputs: Any = None,
    tolerance: float | None = None,
    overwrite: bool = False,
    attention: bool = False,
    quantize: str | None = None,
    image_range: Any = None,
) -> Path:
    """Exports a model to a LiteRT (TensorFlow Lite) file, runs it and compares the outputs.

    The file is written under a temporary name and renamed to `path` after verification. Outputs
    are float32 for every dtype policy. Operations that XLA fuses in training are exported
    unfused. Recurrent layers are unrolled.

    With `quantize="int8"`, weights and activations are quantized to 8-bit integers, with ranges
    that are calibrated on `inputs`; the file is about a quarter of the size. Inputs, outputs and
    operations without an integer kernel stay float32. The examples must have the value range of
    the training data; if `image_range` or the model shows another one, a warning is issued. Measure
    the effect on accuracy with your own data: `keras-attention export --quantize int8` prints the
    test error before and after.

    Args:
        model: A built Keras model, on the TensorFlow backend.
        path: The file to write. The suffix `.tflite` is appended if there is none.
        inputs: See `export_saved_model`. Required for int8, for the calibration: a hundred or more
            examples of the training data, preprocessed as for the model.
        tolerance: See `export_saved_model`. For int8, the largest root mean square difference of an
            output, relative to the output; None for 0.25.
        overwrite: If True, an existing file is replaced.
        attention: See `export_saved_model`.
        quantize: None or `"int8"`.
        image_range: `(low, high)`, the value range of the model's images, from which examples are
            drawn. See `export_saved_model`.

    Returns:
        The path of the file.

    Raises:
        FileExistsError: If `path` exists and must not be replaced.
        ValueError: If the path has another suffix, the model is not built, the inputs do not match,
            `attention` is requested for a model without attention, a recurrent model accepts
            sequences of any length, or `quantize` is requested without inputs.
        RuntimeError: If the model cannot be converted, or the outputs of the file differ.

    Example:
    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_litert(model, f"{folder}/model.tflite").name
    'model.tflite'
    """
    quantization: dict[str, Any] = {}
    if one_of("quantize", quantize, (None, "int8")):
        if inputs is None:
            raise ValueError(
                '`inputs` must be given with quantize="int8": examples of the data, on which the '
                "ranges of the activations are calibrated. Received: inputs=None"
            )
        quantization = {"converter": _int8_converter_options, "quantized": True}
        tolerance = INT8_TOLERANCE if tolerance is None else tolerance
    return export_file(
        model,
        path,
        "litert",
        lambda path, inputs: LiteRTFile(path)(inputs),
        _litert_conversion,
        inputs=inputs,
        tolerance=tolerance,
        overwrite=overwrite,
        attention=attention,
        image_range=image_range,
        **quantization,
    )


class LiteRTFile:
    """LiteRT file, called on arrays of any batch size.

    `inputs` is a dictionary by the names of the model's inputs, or a list with the only input.
    """

    def __init__(self, path: Path):
        import tensorflow as tf

        with warnings.catch_warnings():
            # The interpreter is deprecated in favor of a separate package.
            warnings.simplefilter("ignore", UserWarning)
            self._interpreter = tf.lite.Interpreter(str(path))
        details = self._interpreter.get_input_details()
        self._input_indices = {_input_name(each): each["index"] for each in details}

    def __call__(self, inputs: NamedArrays | list[np.ndarray]) -> list[np.ndarray]:
        """Returns the outputs in the order of the model's outputs."""
        interpreter, indices = self._interpreter, self._input_indices
        if not isinstance(inputs, dict):
            inputs = dict(zip(indices, inputs, strict=True))
        # An input that no output depends on is missing in the file.
        inputs = {name: array for name, array in inputs.items() if name in indices}
        for name, array in inputs.items():
            interpreter.resize_tensor_input(indices[name], array.shape)
        interpreter.allocate_tensors()
        for name, array in inputs.items():
            interpreter.set_tensor(indices[name], array)
        interpreter.invoke()
        outputs = sorted(interpreter.get_output_details(), key=_output_number)
        return [interpreter.get_tensor(each["index"]) for each in outputs]


def _input_name(details: dict[str, Any]) -> str:
    """Parses the name of a model's input from one such as `"serving_default_images:0"`."""
    return details["name"].removeprefix("serving_default_").rpartition(":")[0]


def _output_number(output: dict[str, Any]) -> int:
    """Parses the position among the model's outputs from a name such as `"Identity:1"`."""
    number = output["name"].rpartition(":")[2]
    return int(number) if number.isdigit() else 0


def _int8_converter_options(inputs: NamedArrays) -> dict[str, Any]:
    import tensorflow as tf

    count = min(map(len, inputs.values()))
    return {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": lambda: (
            {name: array[index : index + 1] for name, array in inputs.items()}
            for index in range(count)
        ),
        "target_spec": {
            "supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
        },
    }


@contextmanager
def _litert_conversion(model: keras.Model) -> Iterator[None]:
    """Disables fusion and unrolls recurrent layers: LiteRT does not support their loops."""
    recurrent = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN)]
    shapes = [tuple(tensor.shape) for tensor in getattr(model, "inputs", None) or []]
    if recurrent and any(len(shape) > 1 and shape[1] is None for shape in shapes):
        raise ValueError(
            "`model` must have a fixed sequence length, because recurrent layers are unrolled for "
            f"LiteRT. Received: model={model.name!r} with inputs {shapes}"
        )
    with backend.fusion_disabled(), ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        # The interpreter, which calibrates int8, is deprecated in favor of a separate package.
        warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter", UserWarning)
        for layer in recurrent:
            stack.enter_context(replaced_attribute(layer, "unroll", True))
        yield
