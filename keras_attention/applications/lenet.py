"""LeNet-5 for small images, with attention where it is asked for.

Reference: LeCun et al., Gradient-based learning applied to document recognition (1998), as in
Garg et al., SAN: Scale-Space Attention Networks (2020), section IV-B and figure 6a.
"""

from collections.abc import Mapping
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    classifier,
    finish,
    flattened,
    image_input,
    l2,
    pool,
)
from keras_attention.applications.placement import Attention
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
    """Two 5x5 convolutions of 6 and 16 kernels, tanh and average pooling, then 120 and 84 units.

    61,706 parameters and 0.42M MACs at 28x28x1. The first convolution keeps the size of the map, as
    for the original's digits of 28 pixels on 32. Both convolutions stand before a pooling: the two
    placements are the same here.

    Args:
        input_shape: `(H, W, channels)`; `(28, 28, 1)` by default, MNIST's.
        classes: Units of the last layer; 10 by default.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add the dense layers; without them H and W may be None.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        attention: None, `"cbam"`, `"bam"`, `"san-c"` or `"san-d"`.
        placement: `"bottleneck"`, attention before each pooling, or `"full"`, after every
            convolution.
        attention_options: More arguments of `CBAM`, `BAM` or `SANBlock`.
        weight_decay: L2 weight of all kernels; 0 by default, the SAN paper has none.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = LeNet5(attention="san-c")
    >>> model.output_shape, model.count_params()
    ((None, 10), 69028)
    """
    decay = l2(weight_decay, "weight_decay")
    attends = Attention(attention, placement, attention_options)
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
        y = attends.before_reduction(x, y, KERNEL_SIZE, layer.name)
        y = attends.after_convolution(x, y, KERNEL_SIZE, layer.name)
        x = keras.layers.AveragePooling2D(2, name=f"pool{index}")(y)
    x = _top(x, classes, classifier_activation, decay) if include_top else pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


def _top(x: Tensor, classes: int, activation: Any, decay: Any) -> Tensor:
    x = flattened(x, UNITS[0])
    for index, units in enumerate(UNITS, start=1):
        x = keras.layers.Dense(
            units, activation="tanh", kernel_regularizer=decay, name=f"hidden{index}"
        )(x)
    return classifier(x, classes, activation, decay)
