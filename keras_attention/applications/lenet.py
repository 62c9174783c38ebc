"""LeNet-5 for small images, optionally with attention.

Reference: LeCun et al., Gradient-based learning applied to document recognition (1998), as in
Garg et al., SAN: Scale-Space Attention Networks (2020), section IV-B and figure 6a.
"""

from collections.abc import Mapping
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    build_model,
    classifier,
    image_input,
    l2,
    pool,
)
from keras_attention.applications.placement import AttentionBlocks
from keras_attention.applications.registry import register

FILTERS = (6, 16)
PADDINGS = ("same", "valid")
KERNEL_SIZE = 5
UNITS = (120, 84)


@register
def LeNet5(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "lenet5",
    *,
    attention: str | None = None,
    placement: str = "bottleneck",
    attention_options: Mapping[str, Any] | None = None,
    weight_decay: float = 0.0,
) -> keras.Model:
    """LeNet-5: two 5x5 convolutions with tanh and average pooling, and three dense layers.

    6 and 16 kernels; 61,706 parameters and 0.42M MACs at 28x28x1. The first convolution keeps the
    size of the map, because the original pads digits of 28 pixels to 32. Pooling follows both
    convolutions, so both placements of attention are the same.

    Args:
        input_shape: `(H, W, channels)`. Defaults to `(28, 28, 1)`, as MNIST; H and W may be None
            only with `include_top=False`.
        {common_arguments}
        {attention_arguments}
        weight_decay: L2 weight of all kernels. Defaults to 0, as in the SAN paper.

    {returns}

    Example:
    >>> model = LeNet5(attention="san-c")
    >>> model.output_shape, model.count_params()
    ((None, 10), 69028)
    """
    decay = l2(weight_decay, "weight_decay")
    attention_blocks = AttentionBlocks(attention, placement, attention_options)
    inputs = image_input(input_shape, (28, 28, 1), input_tensor, known_sides=include_top)
    x = inputs
    for index, (filters, padding) in enumerate(zip(FILTERS, PADDINGS, strict=True), start=1):
        layer = keras.layers.Conv2D(
            filters,
            KERNEL_SIZE,
            padding=padding,
            activation="tanh",
            kernel_regularizer=decay,
            name=f"conv{index}",
        )
        y = layer(x)
        y = attention_blocks.before_reduction(x, y, KERNEL_SIZE, layer.name)
        y = attention_blocks.after_convolution(x, y, KERNEL_SIZE, layer.name)
        x = keras.layers.AveragePooling2D(2, name=f"pool{index}")(y)
    x = _top(x, classes, classifier_activation, decay) if include_top else pool(x, pooling)
    return build_model(inputs, input_tensor, x, name, weights)


def _top(x: Tensor, classes: int, activation: Any, decay: Any) -> Tensor:
    x = keras.layers.Flatten(name="flatten")(x)
    for index, units in enumerate(UNITS, start=1):
        x = keras.layers.Dense(
            units, activation="tanh", kernel_regularizer=decay, name=f"hidden{index}"
        )(x)
    return classifier(x, classes, activation, decay)
