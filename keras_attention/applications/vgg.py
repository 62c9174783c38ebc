"""VGG with 16 and 19 layers, optionally with attention.

Reference: Simonyan and Zisserman, Very Deep Convolutional Networks (2015), as in Garg et al., SAN:
Scale-Space Attention Networks (2020), section IV-B and figure 6b.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    build_model,
    classifier,
    convolution,
    hidden_layer,
    image_input,
    l2,
    pool,
)
from keras_attention.applications.placement import AttentionBlocks
from keras_attention.applications.registry import register
from keras_attention.utils.validation import fraction, positive_integer

# Channels of each block as a multiple of those of the first.
GROWTH = (1, 2, 4, 8, 8)
# Number of convolutions in each block.
CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
KERNEL_SIZE = 3
SHARED_DOCSTRINGS = {
    "vgg_details": """
Layers have the names of keras.applications, so its weights can be loaded. Kernels are initialized
as in He et al. (2015), because the network does not train otherwise without normalization.

Args:
    input_shape: `(H, W, channels)`. Defaults to `(224, 224, 3)`; H and W may be None only with
        `include_top=False`.
    {common_arguments}
    {attention_arguments}
    width: Channels of the first block; the others have up to 8 times as many. Defaults to 64,
        as in VGG.
    units: Units of both hidden dense layers. Defaults to 4096, as in VGG for ImageNet.
    weight_decay: L2 weight of all kernels. Defaults to 0, as in the SAN paper.
    dropout: Dropout rate after the hidden layers. Defaults to 0.5, as in VGG.

{returns}
""",
}


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
    """VGG-16: 13 convolutions in five blocks and three dense layers.

    3x3 convolutions and max pooling, then 4096 units twice. 138,357,544 parameters at 224x224x3.

    {vgg_details}

    Example:
    >>> model = VGG16((32, 32, 3), 10, include_top=False, attention="cbam", placement="full")
    >>> model.output_shape, sum("attention" in layer.name for layer in model.layers)
    ((None, 1, 1, 512), 13)
    """
    attention_blocks = AttentionBlocks(attention, placement, attention_options)
    decay = l2(weight_decay, "weight_decay")
    inputs = image_input(input_shape, (224, 224, 3), input_tensor, known_sides=include_top)
    x = _features(inputs, CONVOLUTIONS[16], width, attention_blocks, decay)
    units = positive_integer("units", units)
    top = (units, classes, classifier_activation, decay, fraction("dropout", dropout))
    x = _top(x, *top) if include_top else pool(x, pooling)
    return build_model(inputs, input_tensor, x, name, weights)


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
    """VGG-19: 16 convolutions in five blocks and three dense layers.

    3x3 convolutions and max pooling, then 4096 units twice. 143,667,240 parameters at 224x224x3.

    {vgg_details}

    Example:
    >>> model = VGG19((32, 32, 3), 10, include_top=False, attention="cbam", placement="full")
    >>> model.output_shape, sum("attention" in layer.name for layer in model.layers)
    ((None, 1, 1, 512), 16)
    """
    attention_blocks = AttentionBlocks(attention, placement, attention_options)
    decay = l2(weight_decay, "weight_decay")
    inputs = image_input(input_shape, (224, 224, 3), input_tensor, known_sides=include_top)
    x = _features(inputs, CONVOLUTIONS[19], width, attention_blocks, decay)
    units = positive_integer("units", units)
    top = (units, classes, classifier_activation, decay, fraction("dropout", dropout))
    x = _top(x, *top) if include_top else pool(x, pooling)
    return build_model(inputs, input_tensor, x, name, weights)


def _features(
    x: Tensor, counts: Sequence[int], width: int, attention_blocks: AttentionBlocks, decay: Any
) -> Tensor:
    width = positive_integer("width", width)
    for block, (count, growth) in enumerate(zip(counts, GROWTH, strict=True), start=1):
        for index in range(1, count + 1):
            name = f"block{block}_conv{index}"
            options: dict[str, Any] = {"use_bias": True, "activation": "relu"}
            y = convolution(width * growth, KERNEL_SIZE, decay, name, **options)(x)
            if index == count:
                y = attention_blocks.before_reduction(x, y, KERNEL_SIZE, name)
            x = attention_blocks.after_convolution(x, y, KERNEL_SIZE, name)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    return x


def _top(
    x: Tensor, units: int, classes: int, activation: Any, decay: Any, dropout: float
) -> Tensor:
    x = keras.layers.Flatten(name="flatten")(x)
    for index in (1, 2):
        x = hidden_layer(units, decay, f"fc{index}")(x)
        x = keras.layers.Dropout(dropout, name=f"dropout{index}")(x)
    return classifier(x, classes, activation, decay)
