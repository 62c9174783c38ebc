"""LSTM-4 for multivariate time series, with attention where it is asked for.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), section IV-B4.
"""

from collections.abc import Mapping
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    classifier,
    finish,
    l2,
    pool,
    sequence_input,
)
from keras_attention.applications.placement import PLACEMENTS
from keras_attention.applications.registry import register
from keras_attention.layers import RecurrentAttention, SANBlock
from keras_attention.utils.validation import one_of

LAYERS = 4
UNITS = 64
# Recurrent layers before each pooling.
LAYERS_A_POOL = 2


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
    """Four layers of 64 LSTM units, the steps averaged in pairs after every two, one dense layer.

    132,104 parameters with 62 features and 8 classes. The dense layer reads the mean of the steps
    that are left, so that any length serves. For forecasting, `classes` is the number of values to
    forecast and `classifier_activation` None.

    Args:
        input_shape: `(T, features)`; `(128, 62)` by default, the sensors of the paper's motion
            capture; T may be None.
        classes: Units of the last layer; 8 by default.
        classifier_activation: Activation of the last layer; None or `"linear"` for forecasting.
        include_top: Whether to add the dense layer.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the sequence, `"avg"` or `"max"` for a vector.
        name: The model's name.
        attention: None, `"ran"`, where a cell sees its input through a mask, or `"san"`, after a
            layer's output.
        placement: `"bottleneck"`, attention in the layer before each pooling, or `"full"`, in every
            layer.
        attention_options: More arguments of `RecurrentAttention` or `SANBlock`.
        weight_decay: L2 weight of all kernels; 0 by default, the paper has none.

    Returns:
        A `keras.Model` from sequences to float32 probabilities, or forecasts.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

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
        before_pool = index % LAYERS_A_POOL == 0
        kind = attention if before_pool or placement == "full" else None
        x = _recurrent(x, kind, options, decay, f"lstm{index}")
        if before_pool:
            pool_name = f"pool{index // LAYERS_A_POOL}"
            x = keras.layers.AveragePooling1D(2, padding="same", name=pool_name)(x)
    if include_top:
        x = classifier(pool(x, "avg"), classes, classifier_activation, decay)
    else:
        x = pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


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
