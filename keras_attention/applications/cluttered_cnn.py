"""CNN for cluttered digits.

Reference: Rodriguez et al., Attend and Rectify (2018), section 4.2, figure 4.
"""

from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    batch_norm,
    build_model,
    classifier,
    convolution,
    deepest_maps,
    hidden_layer,
    image_input,
    l2,
    pool,
    rectified_classifier,
)
from keras_attention.applications.registry import register
from keras_attention.layers.attend_rectify import AttendRectifyHead
from keras_attention.layers.spatial_transformer import SpatialTransformer
from keras_attention.utils.validation import boolean, positive_integer

# Channels of the convolutions as multiples of `filters`.
CHANNELS = (1, 1, 2, 2, 2)
# Number of convolutions that are followed by pooling.
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
    """CNN with five 3x3 convolutions and two dense layers, with or without attention modules.

    Normalization and 2x2 max pooling follow the first three convolutions, ReLU follows all five.
    The paper does not give the numbers of channels and units; the defaults are this package's
    choice.

    Args:
        attention_depth: Number of attention modules, 0 to 5, from the fifth convolution backwards,
            on the pooled map if there is one. Defaults to 4, the paper's best; 0 is the paper's
            baseline.
        attention_width: Number of heads in each module. Defaults to 4, the paper's best.
        input_shape: `(H, W, channels)`. Defaults to `(40, 40, 1)`, the paper's; H and W may be None
            only with `include_top=False`.
        {common_arguments}
        {rectify_arguments}
        spatial_transformer: If True, a `layers.SpatialTransformer` comes first, as in figure 4e.
        filters: Channels of the first two convolutions, half of the others'. Defaults to 32.
        units: Units of the first dense layer. Defaults to 256.
        weight_decay: L2 weight of all kernels. Defaults to 0, as in the paper.

    {returns}

    Example:
    >>> plain, attentive = ClutteredCNN(0), ClutteredCNN(4)
    >>> plain.output_shape, len(attentive.get_layer("rectify").modules)
    ((None, 10), 4)
    """
    decay = l2(weight_decay, "weight_decay")
    inputs = image_input(input_shape, (40, 40, 1), input_tensor, known_sides=include_top)
    filters = positive_integer("filters", filters)
    x = inputs
    if boolean("spatial_transformer", spatial_transformer):
        x = SpatialTransformer(_localization(filters), name="transformer")(x)
    maps = _maps(x, filters, decay)
    attended_maps = deepest_maps(attention_depth, maps, smallest=0)
    if not include_top:
        return build_model(inputs, input_tensor, pool(maps[-1], pooling), name, weights)
    units = positive_integer("units", units)
    x = keras.layers.Flatten(name="flatten")(maps[-1])
    x = hidden_layer(units, decay, "hidden")(x)
    if not attended_maps:
        x = classifier(x, classes, classifier_activation, decay)
        return build_model(inputs, input_tensor, x, name, weights)
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
    features = pool(maps[-1], "avg")
    x = rectified_classifier(attended_maps, features, x, classifier_activation, head)
    return build_model(inputs, input_tensor, x, name, weights)


def _maps(x: Tensor, filters: int, decay: Any) -> list[Tensor]:
    """Returns the three pooled maps and the last two maps, the deepest last."""
    maps = []
    for index, factor in enumerate(CHANNELS, start=1):
        pooled = index <= POOLED
        x = convolution(factor * filters, 3, decay, f"conv{index}", use_bias=not pooled)(x)
        if pooled:
            x = batch_norm(x, f"conv{index}")
        x = keras.layers.ReLU(name=f"conv{index}_relu")(x)
        if pooled:
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"pool{index}")(x)
        maps.append(x)
    return maps


def _localization(filters: int) -> keras.Sequential:
    """Builds the localization network of the spatial transformer."""
    layers: list[keras.layers.Layer] = []
    for index in (1, 2):
        layers += [
            convolution(filters, 3, None, f"localization{index}", use_bias=True),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(2, padding="same"),
        ]
    layers += [keras.layers.Flatten(), hidden_layer(64, None, "hidden")]
    return keras.Sequential(layers, name="localization")
