"""STN, a spatial transformer and a CNN for traffic signs, and its targeted version TSTN.

Reference: Chitta, Targeted Kernel Networks (2018), table 1 and section 4.3; the transformer is
Jaderberg et al., Spatial Transformer Networks (2015).
"""

from collections.abc import Callable
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
    normalized,
    pool,
    scale_l2_of_blocks,
)
from keras_attention.applications.registry import register
from keras_attention.layers import SpatialTransformer, TargetLayer
from keras_attention.utils.validation import share

KERNEL_SIZES = (7, 5, 3)
FILTERS = (128, 128, 256)
UNITS = 96
LOCALIZATION_SIZE = (16, 16)
LOCALIZATION_FILTERS = (16, 32, 64)
LOCALIZATION_UNITS = (128, 64)

Convolution = Callable[[int, str], keras.Layer]


@register
def STN(
    input_shape: Shape | None = None,
    classes: int = 43,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "stn",
    *,
    weight_decay: float = 0.05,
    dropout: float = 0.6,
) -> keras.Model:
    """A spatial transformer before three convolutions of 128, 128 and 256 kernels.

    1,197,473 trainable parameters and 145.3M MACs at 32x32x3 with 43 classes; the paper's table 5
    has 1.18M and 145M. Each convolution and hidden dense layer is followed by batch normalization
    and ReLU, each convolution then by a 2x2 max pool. The localization network, 7x7, 5x5 and 3x3
    convolutions of 16, 32 and 64 kernels, is built likewise and sees the image at 16x16 pixels:
    the paper does not say, this comes nearest to its MACs and suits every size of image.

    Args:
        input_shape: `(H, W, channels)`; `(32, 32, 3)` by default, section 4.1.
        classes: Units of the last layer; 43 by default, the traffic signs of GTSRB.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add the dense layers; without them H and W may be None.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        weight_decay: L2 weight of all kernels but that of the transform; section 4.2 has 0.05 for
            GTSRB, 1e-4 for other data.
        dropout: Share of the last hidden units that training drops, section 4.3.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes or weights that cannot be.

    Example:
    >>> import keras_attention as ka
    >>> ka.inspect.trainable_parameters(STN())
    1197473
    """
    decay = l2(weight_decay, "weight_decay")

    def convolution(block: int, layer_name: str) -> keras.Layer:
        return _convolution(FILTERS[block], block, decay, layer_name)

    inputs = image_input(input_shape, (32, 32, 3), input_tensor, known_sides=include_top)
    x = _blocks(_aligned(inputs, decay), convolution)
    x = _top(x, classes, classifier_activation, decay, dropout) if include_top else pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


@register
def TSTN(
    input_shape: Shape | None = None,
    classes: int = 43,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "tstn",
    *,
    window: str = "cauchy",
    scale_l2: float = 1e-3,
    beta: float = 2.0,
    roi: str = "slice",
    roi_groups: int | None = None,
    min_roi_size: int | None = None,
    weight_decay: float = 0.05,
    dropout: float = 0.6,
) -> keras.Model:
    """STN whose convolutions after the transformer are target layers.

    1,199,521 trainable parameters at 32x32x3 with 43 classes; as many MACs as STN at first, 55.7M
    after training in the paper's table 5.

    Args:
        input_shape: `(H, W, channels)`; `(32, 32, 3)` by default, section 4.1.
        classes: Units of the last layer; 43 by default, the traffic signs of GTSRB.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add the dense layers; without them H and W may be None.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        window: `"cauchy"` or `"gaussian"`.
        scale_l2: L2 weight of the scales in the first block, table 5, for about 61,000 steps of
            training (section 4.2); shorter training wants more.
        beta: Factor of that weight from each block to the next, section 4.3.
        roi: `"slice"`, `"mask"` or `"full"`, see `TargetLayer`.
        roi_groups: None for one region per kernel, or the number of shared regions per layer.
        min_roi_size: Smallest region in pixels; None for the kernel size, 7, 5 and 3, or the map
            where that is smaller.
        weight_decay: L2 weight of all kernels but that of the transform; section 4.2 has 0.05 for
            GTSRB, 1e-4 for other data.
        dropout: Share of the last hidden units that training drops, section 4.3.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = TSTN(input_shape=(48, 40, 3), roi_groups=4)
    >>> model.get_layer("target3").rois(12, 10)[0].tolist()
    [[0, 12], [0, 10]]
    """
    decay = l2(weight_decay, "weight_decay")
    scales = scale_l2_of_blocks(scale_l2, beta)

    def convolution(block: int, layer_name: str) -> keras.Layer:
        return TargetLayer(
            FILTERS[block],
            KERNEL_SIZES[block],
            window=window,
            roi=roi,
            roi_groups=roi_groups,
            min_roi_size=min_roi_size,
            scale_regularizer=scales(block),
            kernel_regularizer=decay,
            name=layer_name.replace("conv", "target"),
        )

    inputs = image_input(input_shape, (32, 32, 3), input_tensor, known_sides=include_top)
    x = _blocks(_aligned(inputs, decay), convolution)
    x = _top(x, classes, classifier_activation, decay, dropout) if include_top else pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


def _aligned(images: Tensor, decay: Any) -> Tensor:
    """Adds the transformer, whose localization network is a model of its own."""

    def convolution(block: int, layer_name: str) -> keras.Layer:
        return _convolution(LOCALIZATION_FILTERS[block], block, decay, layer_name)

    inputs = keras.Input(images.shape[1:])
    # Not a Resizing layer: left to itself it switches the layers after it to training.
    x = keras.ops.image.resize(inputs, LOCALIZATION_SIZE)
    x = keras.layers.Flatten(name="flatten")(_blocks(x, convolution))
    for index, units in enumerate(LOCALIZATION_UNITS):
        x = _hidden(x, units, decay, f"hidden{index + 1}")
    localization = keras.Model(inputs, x, name="localization")
    return SpatialTransformer(localization, name="align")(images)


def _blocks(x: Tensor, convolution: Convolution) -> Tensor:
    for block in range(len(FILTERS)):
        name = f"conv{block + 1}"
        x = normalized(convolution(block, name)(x), name)
        x = keras.layers.MaxPooling2D(2, name=f"pool{block + 1}")(x)
    return x


def _convolution(filters: int, block: int, decay: Any, name: str) -> keras.Layer:
    return keras.layers.Conv2D(
        filters,
        KERNEL_SIZES[block],
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        kernel_regularizer=decay,
        name=name,
    )


def _hidden(x: Tensor, units: int, decay: Any, name: str) -> Tensor:
    x = keras.layers.Dense(
        units,
        use_bias=False,
        kernel_initializer="he_normal",
        kernel_regularizer=decay,
        name=name,
    )(x)
    return normalized(x, name)


def _top(x: Tensor, classes: int, activation: Any, decay: Any, dropout: float) -> Tensor:
    x = flattened(x, UNITS)
    x = _hidden(x, UNITS, decay, "hidden")
    x = keras.layers.Dropout(share("dropout", dropout), name="dropout")(x)
    return classifier(x, classes, activation, decay)
