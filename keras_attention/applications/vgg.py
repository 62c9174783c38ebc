"""VGG with 16 and 19 layers, with attention where it is asked for.

Reference: Simonyan and Zisserman, Very Deep Convolutional Networks (2015), as in Garg et al., SAN:
Scale-Space Attention Networks (2020), section IV-B and figure 6b.
"""

from collections.abc import Mapping, Sequence
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
from keras_attention.limits import checked_weight
from keras_attention.utils.validation import positive_integer, share

# Channels of each block, over those of the first.
GROWTH = (1, 2, 4, 8, 8)
# Convolutions of each block.
CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
KERNEL_SIZE = 3
HIDDEN_LAYERS = 2


@register
def VGG16(
    input_shape: Shape | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "vgg16",
    *,
    attention: str | None = None,
    placement: str = "bottleneck",
    attention_options: Mapping[str, Any] | None = None,
    width: int = 64,
    units: int = 4096,
    weight_decay: float = 0.0,
    dropout: float = 0.5,
) -> keras.Model:
    """16 layers with weights: five blocks of convolutions, three dense layers.

    3x3 convolutions and max pooling, then 4096 units twice. 138,357,544 parameters at 224x224x3.
    Layers are named as in keras.applications, whose weights fit. Kernels start as He et al. (2015)
    have it: without normalization the network would not train otherwise.

    Args:
        input_shape: `(H, W, channels)`; `(224, 224, 3)` by default.
        classes: Units of the last layer; 1000 by default.
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
        width: Channels of the first block; the others have up to 8 times as many. 64 by default,
            VGG's.
        units: Of both hidden dense layers; 4096 by default, VGG's for ImageNet.
        weight_decay: L2 weight of all kernels; 0 by default, the SAN paper has none.
        dropout: Share of the hidden units that training drops; 0.5 by default, VGG's.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = VGG16((32, 32, 3), 10, include_top=False, attention="cbam", placement="full")
    >>> model.output_shape, sum("attention" in layer.name for layer in model.layers)
    ((None, 1, 1, 512), 13)
    """
    attends = Attention(attention, placement, attention_options)
    decay = l2(weight_decay, "weight_decay")
    inputs = image_input(input_shape, (224, 224, 3), input_tensor, known_sides=include_top)
    x = _features(inputs, CONVOLUTIONS[16], width, attends, decay)
    units = positive_integer("units", units)
    top = (units, classes, classifier_activation, decay, share("dropout", dropout))
    x = _top(x, *top) if include_top else pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


@register
def VGG19(
    input_shape: Shape | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "vgg19",
    *,
    attention: str | None = None,
    placement: str = "bottleneck",
    attention_options: Mapping[str, Any] | None = None,
    width: int = 64,
    units: int = 4096,
    weight_decay: float = 0.0,
    dropout: float = 0.5,
) -> keras.Model:
    """19 layers with weights: five blocks of convolutions, three dense layers.

    3x3 convolutions and max pooling, then 4096 units twice. 143,667,240 parameters at 224x224x3.
    Layers are named as in keras.applications, whose weights fit. Kernels start as He et al. (2015)
    have it: without normalization the network would not train otherwise.

    Args:
        input_shape: `(H, W, channels)`; `(224, 224, 3)` by default.
        classes: Units of the last layer; 1000 by default.
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
        width: Channels of the first block; the others have up to 8 times as many. 64 by default,
            VGG's.
        units: Of both hidden dense layers; 4096 by default, VGG's for ImageNet.
        weight_decay: L2 weight of all kernels; 0 by default, the SAN paper has none.
        dropout: Share of the hidden units that training drops; 0.5 by default, VGG's.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = VGG19((32, 32, 3), 10, include_top=False, attention="cbam", placement="full")
    >>> model.output_shape, sum("attention" in layer.name for layer in model.layers)
    ((None, 1, 1, 512), 16)
    """
    attends = Attention(attention, placement, attention_options)
    decay = l2(weight_decay, "weight_decay")
    inputs = image_input(input_shape, (224, 224, 3), input_tensor, known_sides=include_top)
    x = _features(inputs, CONVOLUTIONS[19], width, attends, decay)
    units = positive_integer("units", units)
    top = (units, classes, classifier_activation, decay, share("dropout", dropout))
    x = _top(x, *top) if include_top else pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


def _features(
    x: Tensor, counts: Sequence[int], width: int, attends: Attention, decay: Any
) -> Tensor:
    width = positive_integer("width", width)
    checked_weight((KERNEL_SIZE, KERNEL_SIZE, *[width * GROWTH[-1]] * 2), width=width)
    for block, (count, growth) in enumerate(zip(counts, GROWTH, strict=True), start=1):
        for index in range(1, count + 1):
            name = f"block{block}_conv{index}"
            y = _convolution(width * growth, decay, name)(x)
            if index == count:
                y = attends.before_reduction(x, y, KERNEL_SIZE, name)
            x = attends.after_convolution(x, y, KERNEL_SIZE, name)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    return x


def _convolution(filters: int, decay: Any, name: str) -> keras.Layer:
    return keras.layers.Conv2D(
        filters,
        KERNEL_SIZE,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        kernel_regularizer=decay,
        name=name,
    )


def _top(
    x: Tensor, units: int, classes: int, activation: Any, decay: Any, dropout: float
) -> Tensor:
    checked_weight((units, units), units=units)
    x = flattened(x, units)
    for index in range(1, HIDDEN_LAYERS + 1):
        x = keras.layers.Dense(
            units,
            activation="relu",
            kernel_initializer="he_normal",
            kernel_regularizer=decay,
            name=f"fc{index}",
        )(x)
        x = keras.layers.Dropout(dropout, name=f"dropout{index}")(x)
    return classifier(x, classes, activation, decay)
