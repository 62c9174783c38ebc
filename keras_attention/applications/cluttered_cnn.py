"""The network for digits in clutter.

Reference: Rodriguez et al., Attend and Rectify (2018), section 4.2, figure 4.
"""

from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    batch_normalized,
    classifier,
    finish,
    flattened,
    image_input,
    l2,
    pool,
    rectified,
    taps,
)
from keras_attention.applications.registry import register
from keras_attention.layers.attend_rectify import AttendRectifyHead
from keras_attention.layers.spatial_transformer import SpatialTransformer
from keras_attention.limits import checked_weight
from keras_attention.utils.validation import flag, positive_integer

# Of the convolutions, in multiples of `filters`; pooling follows those of the first three.
CHANNELS = (1, 1, 2, 2, 2)
POOLED = 3


@register
def ClutteredCNN(
    attention_depth: int = 4,
    attention_width: int = 4,
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "cluttered_cnn",
    *,
    space: str = "log",
    gates: str = "softmax",
    gate_normalization: bool = True,
    mask: str = "softmax",
    overlap_weight: float = 1e-3,
    gradient_scale: float = 1.0,
    spatial_transformer: bool = False,
    filters: int = 32,
    units: int = 256,
    weight_decay: float = 0.0,
) -> keras.Model:
    """Five 3x3 convolutions and two dense layers, with attention modules or without.

    Normalization and 2x2 max pooling follow the first three convolutions, ReLU all five. The paper
    does not give the numbers of channels and units: those here are ours.

    Args:
        attention_depth: Modules, from the fifth convolution backwards, on the pooled map where
            there is one: 0 to 5; 4 by default, the paper's best. 0 is the paper's baseline.
        attention_width: Heads of each module; 4 by default, the paper's best.
        input_shape: `(H, W, channels)`; `(40, 40, 1)` by default, the paper's.
        classes: Units of the last layer; 10 by default.
        classifier_activation: Activation of the last layer; None returns logits, or with attention
            the sum of logarithms of probabilities, for `losses.NegativeLogLikelihood`.
        include_top: Whether to add the dense layers, the modules and gates.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        space: `"log"` or `"probability"`: see `layers.AttendRectifyHead`, also for what follows.
        gates: `"softmax"`, `"sigmoid"` or `"mean"`.
        gate_normalization: Whether the gates' scores are normalized over the batch.
        mask: `"softmax"` or `"sigmoid"`.
        overlap_weight: Of the regularizer that keeps the heads apart; 1e-3 by default.
        gradient_scale: Of the gradients from the modules into the network; 1 by default.
        spatial_transformer: Whether a `layers.SpatialTransformer` comes first, as in figure 4e.
        filters: Channels of the first two convolutions, half of the others'; 32 by default.
        units: Of the first dense layer; 256 by default.
        weight_decay: L2 weight of all kernels; 0 by default, the paper has none.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> plain, attends = ClutteredCNN(0), ClutteredCNN(4)
    >>> plain.output_shape, len(attends.get_layer("rectify").modules)
    ((None, 10), 4)
    """
    decay = l2(weight_decay, "weight_decay")
    inputs = image_input(input_shape, (40, 40, 1), input_tensor, known_sides=include_top)
    filters = positive_integer("filters", filters)
    checked_weight((3, 3, filters, filters), filters=filters)
    x = inputs
    if flag("spatial_transformer", spatial_transformer):
        x = SpatialTransformer(_localization(filters), name="transformer")(x)
    maps = _maps(x, filters, decay)
    chosen = taps(attention_depth, maps, least=0)
    if not include_top:
        return finish(inputs, input_tensor, pool(maps[-1], pooling), name, weights)
    x = flattened(maps[-1], positive_integer("units", units))
    x = _dense(units, decay)(x)
    if not chosen:
        x = classifier(x, classes, classifier_activation, decay)
        return finish(inputs, input_tensor, x, name, weights)
    head = AttendRectifyHead(
        classes,
        attention_width,
        space,
        gates,
        gate_normalization,
        mask,
        overlap_weight,
        gradient_scale=gradient_scale,
        regularizer=decay,
        name="rectify",
    )
    x = rectified(chosen, pool(maps[-1], "avg"), x, classifier_activation, head)
    return finish(inputs, input_tensor, x, name, weights)


def _maps(x: Tensor, filters: int, decay: Any) -> list[Tensor]:
    """What modules can attend to: the pooled maps and the last two, the deepest last."""
    maps = []
    for index, factor in enumerate(CHANNELS, start=1):
        pooled = index <= POOLED
        x = _convolution(factor * filters, f"conv{index}", decay, use_bias=not pooled)(x)
        if pooled:
            x = batch_normalized(x, f"conv{index}")
        x = keras.layers.ReLU(name=f"conv{index}_relu")(x)
        if pooled:
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"pool{index}")(x)
        maps.append(x)
    return maps


def _convolution(filters: int, name: str, decay: Any, use_bias: bool = True) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(
        filters,
        3,
        padding="same",
        use_bias=use_bias,
        kernel_initializer="he_normal",
        kernel_regularizer=decay,
        name=name,
    )


def _dense(units: int, decay: Any) -> keras.layers.Dense:
    return keras.layers.Dense(
        units,
        activation="relu",
        kernel_initializer="he_normal",
        kernel_regularizer=decay,
        name="hidden",
    )


def _localization(filters: int) -> keras.Sequential:
    """Finds the frame that the network is to look at."""
    layers: list[keras.layers.Layer] = []
    for index in (1, 2):
        layers += [
            _convolution(filters, f"where{index}", None),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(2, padding="same"),
        ]
    layers += [keras.layers.Flatten(), _dense(64, None)]
    return keras.Sequential(layers, name="localization")
