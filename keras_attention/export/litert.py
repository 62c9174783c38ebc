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
from keras_attention.export.verification import export_file, replaced_attribute
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
) -> Path:
    """Exports a model to a LiteRT (TensorFlow Lite) file, runs it and compares the outputs.

    The file is written under a temporary name and renamed to `path` after verification. Outputs
    are float32 for every dtype policy. Operations that XLA fuses in training are exported
    unfused. Recurrent layers are unrolled.

    With `quantize="int8"`, weights and activations are quantized to 8-bit integers, with ranges
    that are calibrated on `inputs`; the file is about a quarter of the size. Inputs, outputs and
    operations without an integer kernel stay float32. Measure the effect on accuracy with your own
    data: `keras-attention export --quantize int8` prints the test error before and after.

    Args:
        model: A built Keras model, on the TensorFlow backend.
        path: The file to write, usually with the suffix `.tflite`.
        inputs: See `export_saved_model`. Required for int8, for the calibration: a hundred or more
            examples of the training data, preprocessed as for the model.
        tolerance: See `export_saved_model`. For int8, the largest root mean square difference of an
            output, relative to the output; None for 0.25.
        overwrite: If True, an existing file is replaced.
        attention: See `export_saved_model`.
        quantize: None or `"int8"`.

    Returns:
        The path of the file.

    Raises:
        FileExistsError: If `path` exists and must not be replaced.
        ValueError: If the model is not built, the inputs do not match, `attention` is requested for
            a model without attention, a recurrent model accepts sequences of any length, or
            `quantize` is requested without inputs.
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
        quantization = {"converter": _int8_converter_options(inputs), "quantized": True}
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
        **quantization,
    )


class LiteRTFile:
    """LiteRT file, called on the flat list of a model's inputs, of any batch size."""

    def __init__(self, path: Path):
        import tensorflow as tf

        with warnings.catch_warnings():
            # The interpreter is deprecated in favor of a separate package.
            warnings.simplefilter("ignore", UserWarning)
            self._interpreter = tf.lite.Interpreter(str(path))
        self._input_indices = [each["index"] for each in self._interpreter.get_input_details()]

    def __call__(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the outputs in the order of the model's outputs."""
        interpreter = self._interpreter
        for index, array in zip(self._input_indices, inputs, strict=True):
            interpreter.resize_tensor_input(index, array.shape)
        interpreter.allocate_tensors()
        for index, array in zip(self._input_indices, inputs, strict=True):
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        outputs = sorted(interpreter.get_output_details(), key=_output_number)
        return [interpreter.get_tensor(each["index"]) for each in outputs]


def _output_number(output: dict[str, Any]) -> int:
    """Parses the position among the model's outputs from a name such as `"Identity:1"`."""
    number = output["name"].rpartition(":")[2]
    return int(number) if number.isdigit() else 0


def _int8_converter_options(inputs: Any) -> dict[str, Any]:
    import tensorflow as tf

    if inputs is None:
        raise ValueError(
            '`inputs` must be given with quantize="int8": examples of the data, on which the '
            "ranges of the activations are calibrated. Received: inputs=None"
        )
    arrays = [np.asarray(array) for array in keras.tree.flatten(inputs)]
    return {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": lambda: (
            [array[index : index + 1] for array in arrays] for index in range(len(arrays[0]))
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
        for layer in recurrent:
            stack.enter_context(replaced_attribute(layer, "unroll", True))
        yield
