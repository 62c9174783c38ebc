"""LSTM-4 for multivariate time series, optionally with attention.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), section IV-B4.
"""

from collections.abc import Mapping
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    build_model,
    l2,
    pooled_classifier,
    sequence_input,
)
from keras_attention.applications.placement import PLACEMENTS
from keras_attention.applications.registry import register
from keras_attention.layers import RecurrentAttention, SANBlock
from keras_attention.utils.validation import one_of

LAYERS = 4
UNITS = 64
LAYERS_PER_POOL = 2


@register
def LSTM4(
    input_shape: Shape | None = None,
    classes: int = 8,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "lstm4",
    *,
    attention: str | None = None,
    placement: str = "bottleneck",
    attention_options: Mapping[str, Any] | None = None,
    weight_decay: float = 0.0,
) -> keras.Model:
    """Four LSTM layers of 64 units, average pooling over time after every two, and a dense layer.

    132,104 parameters with 62 features and 8 classes. The dense layer reads the mean over the
    remaining time steps, so sequences may have any length. For forecasting, `classes` is the number
    of predicted values and `classifier_activation` is None.

    Args:
        input_shape: `(T, features)`. Defaults to `(128, 62)`, the sensors of the paper's motion
            capture data; T may be None.
        {common_arguments}
        attention: None, `"ran"` (a cell whose input is masked) or `"san"` (after the output of a
            layer).
        placement: `"bottleneck"` for attention in the layer before each pooling, or `"full"` for
            attention in every layer.
        attention_options: More arguments of `RecurrentAttention` or `SANBlock`.
        weight_decay: L2 weight of all kernels. Defaults to 0, as in the paper.

    Returns:
        A `keras.Model` from sequences to float32 probabilities or predictions.

    Raises:
        ValueError: For an invalid argument.

    Example:
    >>> model = LSTM4((None, 62), attention="san", placement="full")
    >>> model.output_shape, sum("attention" in layer.name for layer in model.layers)
    ((None, 8), 4)
    """
    one_of("attention", attention, (None, "ran", "san"))
    one_of("placement", placement, PLACEMENTS)
    decay, options = l2(weight_decay, "weight_decay"), dict(attention_options or {})
    inputs = sequence_input(input_shape, (128, 62), input_tensor)
    x = inputs
    for index in range(1, LAYERS + 1):
        before_pool = index % LAYERS_PER_POOL == 0
        kind = attention if before_pool or placement == "full" else None
        x = _recurrent(x, kind, options, decay, f"lstm{index}")
        if before_pool:
            pool_name = f"pool{index // LAYERS_PER_POOL}"
            x = keras.layers.AveragePooling1D(2, padding="same", name=pool_name)(x)
    x = pooled_classifier(x, include_top, classes, classifier_activation, pooling, decay)
    return build_model(inputs, input_tensor, x, name, weights)


def _recurrent(
    x: Tensor, attention: str | None, options: dict[str, Any], decay: Any, name: str
) -> Tensor:
    shared: dict[str, Any] = {"return_sequences": True, "name": name}
    if attention == "ran":
        cell = keras.layers.LSTMCell(UNITS, kernel_regularizer=decay)
        return keras.layers.RNN(RecurrentAttention(cell, **options), **shared)(x)
    y = keras.layers.LSTM(UNITS, kernel_regularizer=decay, **shared)(x)
    if attention == "san":
        return SANBlock(data_format="channels_last", name=f"{name}_attention", **options)([x, y])
    return y
