"""What the last features say of each hypothesis: the scores that global gates are made of."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.finite import normalizable
from keras_attention.layers.initializers import fresh_initializer

Tensor = Any
Shape = tuple[int | None, ...]

# PyTorch's momentum of 0.1 is Keras's 0.9.
NORMALIZATION = {"momentum": 0.9, "epsilon": 1e-5}


class Relevance(keras.Layer):
    """Scores hypotheses by the tanh of a normalized product (eq. 6).

    Args:
        hypotheses: How many.
        depth: 1, or 2 for a hidden layer with ReLU of as many units, as in the authors' code.
        normalization: Whether products are normalized over the batch, as in the authors' code;
            without it as in the paper.
        kernel_initializer: Of the products' weights.
        regularizer: Of all weights.
        **kwargs: Arguments of `keras.Layer`.

    Input shape:
        `(B, C)`, globally pooled features.

    Output shape:
        `(B, hypotheses)`, float32.

    Example:
    >>> tuple(Relevance(4)(ops.ones((2, 32))).shape)
    (2, 4)
    """

    def __init__(
        self,
        hypotheses: int,
        depth: int = 1,
        normalization: bool = True,
        kernel_initializer: Any = "he_normal",
        regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        names = ["gate"] if depth == 1 else ["hidden", "gate"]
        options: dict[str, Any] = {"dtype": self.dtype_policy}
        self.products = [
            keras.layers.Dense(
                hypotheses,
                use_bias=False,
                kernel_initializer=fresh_initializer(kernel_initializer),
                kernel_regularizer=regularizer,
                name=name,
                **options,
            )
            for name in names
        ]
        options |= {"beta_regularizer": regularizer, "gamma_regularizer": regularizer}
        self.normalizations = [
            keras.layers.BatchNormalization(name=f"{name}_bn", **NORMALIZATION, **options)
            for name in names
            if normalization
        ]

    def build(self, input_shape: Shape) -> None:
        for index, product in enumerate(self.products):
            product.build(input_shape)
            input_shape = product.compute_output_shape(input_shape)
            if self.normalizations:
                self.normalizations[index].build(input_shape)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        x = inputs
        for index, product in enumerate(self.products):
            x = product(ops.relu(x) if index else x)
            if self.normalizations:
                x = self.normalizations[index](normalizable(x), training=training)
        return ops.tanh(ops.cast(x, "float32"))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.products[-1].units)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype="float32")
