"""CNN6 and its targeted version TKN6.

Reference: Chitta, Targeted Kernel Networks (2018), table 1 and section 4.3.
"""

from collections.abc import Callable
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
    target_layers,
)
from keras_attention.applications.registry import register
from keras_attention.utils.data_format import spatial_shape

FILTERS = (256, 256, 128)
UNITS = (328, 192)
KERNEL_SIZE = 5


@register
def CNN6(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "cnn6",
    *,
    weight_decay: float = 1e-4,
    dropout: float = 0.5,
) -> keras.Model:
    """CNN with three 5x5 convolutions of 256, 256 and 128 kernels and three dense layers.

    4,586,642 parameters and 368.4M MACs at 28x28x1; 10,758,290 and 1470M at 56x56x1.

    Args:
        input_shape: `(H, W, channels)`. Defaults to `(28, 28, 1)`, as MNIST; H and W may be None
            only with `include_top=False`.
        {common_arguments}
        weight_decay: L2 weight of all kernels (section 4.2).
        dropout: Dropout rate after the last hidden layer (section 4.3).

    {returns}

    Example:
    >>> model = CNN6(input_shape=(28, 28, 1))
    >>> model.output_shape, model.count_params()
    ((None, 10), 4586642)
    """
    decay = l2(weight_decay, "weight_decay")

    def plain(block: int, sides: Shape) -> keras.Layer:
        name = f"conv{block + 1}"
        return convolution(FILTERS[block], KERNEL_SIZE, decay, name, activation="relu")

    inputs = image_input(input_shape, (28, 28, 1), input_tensor, known_sides=include_top)
    x = _features(inputs, plain)
    x = _top(x, classes, classifier_activation, decay, dropout) if include_top else pool(x, pooling)
    return build_model(inputs, input_tensor, x, name, weights)


@register
def TKN6(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "tkn6",
    *,
    window: str = "cauchy",
    scale_l2: float = 1e-4,
    beta: float = 2.0,
    roi: str = "slice",
    roi_groups: int | None = None,
    min_roi_size: int | None = None,
    weight_decay: float = 1e-4,
    dropout: float = 0.5,
) -> keras.Model:
    """CNN6 with target layers in place of its convolutions.

    4,589,202 parameters at 28x28x1. It starts with as many MACs as CNN6; after training it has
    28.6M in the paper's table 2.

    Args:
        input_shape: `(H, W, channels)`. Defaults to `(28, 28, 1)`, as MNIST; H and W may be None
            only with `include_top=False`.
        {common_arguments}
        {targeted_arguments}
        min_roi_size: Smallest region of interest in pixels. None uses 3, as the authors' code does,
            or the size of a smaller map.
        weight_decay: L2 weight of all kernels (section 4.2).
        dropout: Dropout rate after the last hidden layer (section 4.3).

    {returns}

    Example:
    >>> model = TKN6(input_shape=(28, 28, 1), window="gaussian", beta=4)
    >>> model.output_shape, model.count_params()
    ((None, 10), 4589202)
    """
    decay = l2(weight_decay, "weight_decay")
    options = {"window": window, "roi": roi, "roi_groups": roi_groups, "activation": "relu"}
    target_layer = target_layers(decay, scale_l2, beta, **options)

    def targeted(block: int, sides: Shape) -> keras.Layer:
        default = tuple(3 if side is None else min(3, side) for side in sides)
        smallest = default if min_roi_size is None else min_roi_size
        name = f"target{block + 1}"
        return target_layer(block, FILTERS[block], KERNEL_SIZE, name, min_roi_size=smallest)

    inputs = image_input(input_shape, (28, 28, 1), input_tensor, known_sides=include_top)
    x = _features(inputs, targeted)
    x = _top(x, classes, classifier_activation, decay, dropout) if include_top else pool(x, pooling)
    return build_model(inputs, input_tensor, x, name, weights)


def _features(x: Tensor, layer: Callable[[int, Shape], keras.Layer]) -> Tensor:
    for block in range(len(FILTERS)):
        sides = spatial_shape(x.shape)
        x = layer(block, sides)(x)
        if block < len(FILTERS) - 1:
            x = keras.layers.MaxPooling2D(2, name=f"pool{block + 1}")(x)
    return x


def _top(x: Tensor, classes: int, activation: Any, decay: Any, dropout: float) -> Tensor:
    x = keras.layers.Flatten(name="flatten")(x)
    for index, units in enumerate(UNITS):
        x = hidden_layer(units, decay, f"hidden{index + 1}")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    return classifier(x, classes, activation, decay)
