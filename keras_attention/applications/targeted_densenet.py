"""The small DenseNet DN10 and its targeted version TDN10.

Reference: Chitta, Targeted Kernel Networks (2018), table 1 and section 4.3.
"""

from collections.abc import Callable
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    channel_axis,
    classifier,
    finish,
    image_input,
    l2,
    pool,
)
from keras_attention.applications.registry import register
from keras_attention.arguments import non_negative_number
from keras_attention.layers import TargetLayer

BLOCKS = 3
LAYERS_OF_BLOCK = 2
GROWTH = 12

Convolution = Callable[[int, str], keras.Layer]


@register
def DN10(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "dn10",
    *,
    weight_decay: float = 1e-4,
) -> keras.Model:
    """A DenseNet of three blocks with two 3x3 convolutions each, growth 12.

    44,746 trainable parameters at any size; 11.3M MACs at 28x28x1, 45.2M at 56x56x1.

    Args:
        input_shape: `(H, W, channels)`; `(28, 28, 1)` by default; H and W may be None.
        classes: Units of the last layer.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add global pooling and the dense layer.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        weight_decay: L2 weight of all kernels, section 4.2.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes or weights that cannot be.

    Example:
    >>> model = DN10(input_shape=(None, None, 3), classes=43)
    >>> model.output_shape
    (None, 43)
    """
    decay = l2(weight_decay, "weight_decay")

    def convolution(block: int, layer_name: str) -> keras.Layer:
        return _convolution(GROWTH, 3, decay, layer_name)

    inputs = image_input(input_shape, (28, 28, 1), input_tensor)
    x = _densenet(inputs, convolution, decay)
    x = _top(x, include_top, classes, classifier_activation, pooling, decay)
    return finish(inputs, input_tensor, x, name, weights)


@register
def TDN10(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "tdn10",
    *,
    window: str = "cauchy",
    scale_l2: float = 1e-4,
    beta: float = 2.0,
    roi: str = "slice",
    roi_groups: int | None = None,
    min_roi_size: int | None = None,
    weight_decay: float = 1e-4,
) -> keras.Model:
    """DN10 whose 3x3 convolutions inside the blocks are target layers.

    45,034 trainable parameters at any size; as many MACs as DN10 at first, 25.6M at 56x56x1 after
    training in the paper's table 3.

    Args:
        input_shape: `(H, W, channels)`; `(28, 28, 1)` by default; H and W may be None.
        classes: Units of the last layer.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add global pooling and the dense layer.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        window: `"cauchy"` or `"gaussian"`.
        scale_l2: L2 weight of the scales in the first block, for about 9,000 steps of training
            (section 4.2); shorter training wants more.
        beta: Factor of that weight from each block to the next, section 4.3.
        roi: `"slice"`, `"mask"` or `"full"`, see `TargetLayer`.
        roi_groups: None for one region per kernel, or the number of shared regions per layer.
        min_roi_size: Smallest region in pixels; None for the kernel size, 3.
        weight_decay: L2 weight of all kernels, section 4.2.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = TDN10(input_shape=(56, 56, 1), roi_groups=3)
    >>> model.output_shape
    (None, 10)
    """
    decay = l2(weight_decay, "weight_decay")
    growth = non_negative_number("beta", beta)
    first_l2 = non_negative_number("scale_l2", scale_l2)

    def convolution(block: int, layer_name: str) -> keras.Layer:
        return TargetLayer(
            GROWTH,
            3,
            window=window,
            roi=roi,
            roi_groups=roi_groups,
            min_roi_size=min_roi_size,
            scale_regularizer=l2(first_l2 * growth**block, "scale_l2"),
            kernel_regularizer=decay,
            name=layer_name.replace("conv", "target"),
        )

    inputs = image_input(input_shape, (28, 28, 1), input_tensor)
    x = _densenet(inputs, convolution, decay)
    x = _top(x, include_top, classes, classifier_activation, pooling, decay)
    return finish(inputs, input_tensor, x, name, weights)


def _densenet(x: Tensor, convolution: Convolution, decay: Any) -> Tensor:
    x = _convolution(24, 3, decay, "stem")(x)
    for block in range(BLOCKS):
        if block > 0:
            x = _transition(x, decay, f"transition{block}")
        for layer in range(LAYERS_OF_BLOCK):
            name = f"block{block + 1}_conv{layer + 1}"
            new = convolution(block, name)(_normalized(x, name))
            x = keras.layers.Concatenate(axis=channel_axis(), name=f"{name}_concat")([x, new])
    return _normalized(x, "final")


def _transition(x: Tensor, decay: Any, name: str) -> Tensor:
    filters = x.shape[channel_axis()]
    x = _convolution(filters, 1, decay, f"{name}_conv")(_normalized(x, name))
    return keras.layers.AveragePooling2D(2, name=f"{name}_pool")(x)


def _normalized(x: Tensor, name: str) -> Tensor:
    # Keras's momentum of 0.99 leaves short trainings with unsettled statistics.
    x = keras.layers.BatchNormalization(
        axis=channel_axis(), momentum=0.9, epsilon=1e-5, name=f"{name}_bn"
    )(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _convolution(filters: int, kernel_size: int, decay: Any, name: str) -> keras.Layer:
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        kernel_regularizer=decay,
        name=name,
    )


def _top(
    x: Tensor,
    include_top: bool,
    classes: int,
    activation: Any,
    pooling: str | None,
    decay: Any,
) -> Tensor:
    if not include_top:
        return pool(x, pooling)
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return classifier(x, classes, activation, decay)
