"""Recurrent attention: masks the features of a sequence at each step."""

from typing import Any

import keras
from keras import ops

from keras_attention.utils.tensor_validation import (
    convert_input,
    map_input_spec,
    validate_not_empty,
)

Tensor = Any
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="keras_attention")
class RecurrentAttention(keras.layers.StackedRNNCells):
    """Recurrent attention cell: multiplies the inputs of a cell by a mask computed from its state.

    `a_t = sigmoid(x_t W_x + h_(t-1) W_h + b)`, and the wrapped cell receives `a_t * x_t`. The layer
    is a cell itself: pass it to `keras.layers.RNN`.

    Args:
        cell: Keras cell whose first state is a vector, such as `keras.layers.LSTMCell(64)`.
        kernel_initializer: Initializer of `W_x`.
        recurrent_initializer: Initializer of `W_h`.
        bias_initializer: Initializer of `b`.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: One step, `(B, features)`.
        states: List of the states of the cell.

    Weights:
        kernel: `W_x`, `(features, features)`.
        recurrent_kernel: `W_h`, `(units, features)`.
        bias: `b`, `(features,)`. The weights of the cell follow.

    Input shape:
        `(B, features)`; `(B, T, features)` for the `RNN` layer around it.

    Output shape:
        Same as that of the cell.

    Raises:
        ValueError: For a `cell` that is not a Keras cell, or whose state is not a vector.

    Example:
    >>> layer = keras.layers.RNN(RecurrentAttention(keras.layers.LSTMCell(8)))
    >>> tuple(layer(ops.ones((2, 5, 3))).shape)
    (2, 8)

    Reference:
        RAN, a baseline in Garg et al., SAN: Scale-Space Attention Networks (2020), section IV-D.
    """

    def __init__(
        self,
        cell: keras.Layer,
        *,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ):
        if not (hasattr(cell, "state_size") and callable(getattr(cell, "call", None))):
            raise ValueError(
                "`cell` must be a Keras cell, such as keras.layers.LSTMCell(64). "
                f"Received: cell={cell!r}"
            )
        # As a stack of one cell, so that Keras's RNN resets the dropout masks of the inner cell.
        super().__init__([cell], **kwargs)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    @property
    def cell(self) -> keras.Layer:
        """The wrapped cell."""
        return self.cells[0]

    def build(self, input_shape: Shape) -> None:
        validate_not_empty(self, input_shape)
        super().build(input_shape)
        features, units = input_shape[-1], keras.tree.flatten(self.cell.state_size)[0]
        if not isinstance(units, int) or len(input_shape) != 2:
            raise ValueError(
                "`cell` must be a cell whose inputs and states are vectors. Received: "
                f"cell={self.cell.name!r} with state_size={self.cell.state_size}, "
                f"input_shape={tuple(input_shape)}"
            )
        self.input_spec = map_input_spec(input_shape)
        self.kernel = self.add_weight(
            name="kernel", shape=(features, features), initializer=self.kernel_initializer
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(units, features), initializer=self.recurrent_initializer
        )
        self.bias = self.add_weight(
            name="bias", shape=(features,), initializer=self.bias_initializer
        )

    def call(self, inputs: Tensor, states: Any, training: bool = False, **kwargs: Any) -> Any:
        inputs = convert_input(self, inputs)
        mask = self.attention(inputs, keras.tree.flatten(states)[0])
        attended = inputs * ops.cast(mask, inputs.dtype)
        outputs, after = super().call(attended, states, training=training, **kwargs)
        # Keras unwraps the states of a stack of one cell. RNN layers with masked steps need the
        # structure and the dtype of the previous states, even if the cell has its own dtype policy.
        after = [
            ops.cast(new, old.dtype)
            for new, old in zip(keras.tree.flatten(after), keras.tree.flatten(states), strict=True)
        ]
        outputs = ops.cast(outputs, self.compute_dtype)
        return outputs, keras.tree.pack_sequence_as(states, after)

    def attention(self, inputs: Tensor, previous: Tensor) -> Tensor:
        """Computes the mask of one step, or of all steps at once.

        Args:
            inputs: `(..., features)`.
            previous: Previous state of the cell, `(..., units)`.

        Returns:
            Float32 tensor of the shape of `inputs`, with values from 0 to 1.
        """
        logits = ops.matmul(inputs, self.kernel) + ops.matmul(previous, self.recurrent_kernel)
        return ops.sigmoid(ops.cast(logits + self.bias, "float32"))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["cells"]
        return {
            **config,
            "cell": keras.saving.serialize_keras_object(self.cell),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "recurrent_initializer": keras.initializers.serialize(self.recurrent_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "RecurrentAttention":
        config = dict(config)
        config["cell"] = keras.saving.deserialize_keras_object(
            config["cell"], custom_objects=custom_objects
        )
        return cls(**config)
