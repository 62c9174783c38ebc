"""Base classes of layers, and a limit for values that they normalize."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.utils.data_format import channel_axis
from keras_attention.utils.tensor_validation import map_input_spec, validate_input_shape

Tensor = Any
Shape = tuple[int | None, ...]
LARGEST_NORMALIZED = 1e7
# By the last word of an argument's name, such as `kernel_initializer`.
SERIALIZERS = {
    "activation": keras.activations.serialize,
    "constraint": keras.constraints.serialize,
    "initializer": keras.initializers.serialize,
    "regularizer": keras.regularizers.serialize,
}


class ConfigurableLayer(keras.Layer):
    """Base class of layers that keep each argument of `__init__` in an attribute of its name.

    Subclasses outside this package extend `get_config` for arguments of their own, as in Keras.
    """

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for base in reversed(type(self).__mro__):
            if base.__module__.startswith("keras_attention.") and "__init__" in vars(base):
                for name in inspect.signature(vars(base)["__init__"]).parameters:
                    if name not in ("self", "kwargs"):
                        config[name] = _serialize(name, getattr(self, name))
        return config


def _serialize(argument: str, value: Any) -> Any:
    kind = argument.rpartition("_")[-1]
    if isinstance(value, keras.Layer):
        return keras.saving.serialize_keras_object(value)
    return SERIALIZERS[kind](value) if kind in SERIALIZERS else value


class AttentionLayer(ConfigurableLayer):
    """Base class of layers of one feature map, which may also return a mask of its shape."""

    data_format: str

    def _validate_map(self, input_shape: Shape, ranks: Sequence[int] = (4,)) -> tuple[Any, ...]:
        """Returns the input shape, and restricts inputs to its numbers of axes and channels."""
        axis = channel_axis(self.data_format)
        shape = validate_input_shape(self, input_shape, axis, ranks)
        self.input_spec = map_input_spec(shape, axis)
        return shape

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def compute_output_spec(
        self, inputs: Any, training: bool | None = None, return_attention: bool = False
    ) -> Any:
        shape = self.compute_output_shape(inputs.shape)
        outputs = keras.KerasTensor(shape, dtype=self.compute_dtype)
        return (outputs, keras.KerasTensor(shape, dtype="float32")) if return_attention else outputs


def clip_to_normalizable(x: Tensor) -> Tensor:
    """Clips values so that batch normalization in float32 stays finite.

    Beyond this range the variance of a batch overflows to infinity, and gradients become NaN.

    Example:
    >>> float(clip_to_normalizable(ops.convert_to_tensor(1e30))) < 1.1e7
    True
    """
    if keras.backend.standardize_dtype(x.dtype) == "float16":
        return x
    return ops.clip(x, -LARGEST_NORMALIZED, LARGEST_NORMALIZED)
