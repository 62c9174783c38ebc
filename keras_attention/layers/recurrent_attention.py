"""Attention to some of a sequence's values at each step."""

from typing import Any

import keras
from keras import ops

from keras_attention.utils.validation import check_not_empty, map_spec, taken_map

Tensor = Any
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="keras_attention")
class RecurrentAttention(keras.layers.StackedRNNCells):
    """A recurrent cell that sees its input through a mask, made from what it remembers.

    `a_t = sigmoid(x_t W_x + h_(t-1) W_h + b)`, and the wrapped cell reads `a_t * x_t`. It is a cell
    itself: put it into `keras.layers.RNN`.

    Args:
        cell: Any Keras cell whose first state is a vector, such as `keras.layers.LSTMCell(64)`.
        kernel_initializer: Initializer of `W_x`.
        recurrent_initializer: Initializer of `W_h`.
        bias_initializer: Initializer of `b`.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: One step, `(B, features)`.
        states: Those of the cell, in a list.

    Weights:
        kernel: `W_x`, `(features, features)`.
        recurrent_kernel: `W_h`, `(units, features)`.
        bias: `b`, `(features,)`; the cell's weights follow.

    Input shape:
        `(B, features)`; of the `RNN` around it `(B, T, features)`.

    Output shape:
        The cell's.

    Raises:
        ValueError: For what is no cell, or one whose state is no vector.

    Example:
    >>> layer = keras.layers.RNN(RecurrentAttention(keras.layers.LSTMCell(8)))
    >>> tuple(layer(ops.ones((2, 5, 3))).shape)
    (2, 8)

    Reference:
        The competitor RAN of Garg et al., SAN: Scale-Space Attention Networks (2020), section IV-D.
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
        # A stack of one: Keras's RNN then looks after the dropout masks of the cell inside.
        super().__init__([cell], **kwargs)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    @property
    def cell(self) -> keras.Layer:
        """The wrapped cell."""
        return self.cells[0]

    def build(self, input_shape: Shape) -> None:
        check_not_empty(self, input_shape)
        super().build(input_shape)
        features, units = input_shape[-1], keras.tree.flatten(self.cell.state_size)[0]
        if not isinstance(units, int) or len(input_shape) != 2:
            raise ValueError(
                "RecurrentAttention takes cells that read and remember vectors. Received: "
                f"cell={self.cell.name!r} with state_size={self.cell.state_size}, "
                f"input_shape={tuple(input_shape)}"
            )
        self.input_spec = map_spec(input_shape)
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
        inputs = taken_map(self, inputs)
        mask = self.attention(inputs, keras.tree.flatten(states)[0])
        attended = inputs * ops.cast(mask, inputs.dtype)
        outputs, after = super().call(attended, states, training=training, **kwargs)
        # Keras unwraps the states of a stack of one; with masked steps they have to stay as they
        # came, and of the type that they had, also where the cell has a precision of its own.
        after = [
            ops.cast(new, old.dtype)
            for new, old in zip(keras.tree.flatten(after), keras.tree.flatten(states), strict=True)
        ]
        outputs = ops.cast(outputs, self.compute_dtype)
        return outputs, keras.tree.pack_sequence_as(states, after)

    def attention(self, inputs: Tensor, previous: Tensor) -> Tensor:
        """Computes the mask of one step or of all steps at once.

        Args:
            inputs: `(..., features)`.
            previous: What the cell remembered before, `(..., units)`.

        Returns:
            Float32 tensor of the shape of `inputs`, from 0 to 1.
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
