"""STN, a spatial transformer and a CNN for traffic signs, and its targeted version TSTN.

Reference: Chitta, Targeted Kernel Networks (2018), table 1 and section 4.3; the spatial transformer
is that of Jaderberg et al., Spatial Transformer Networks (2015).
"""

from collections.abc import Callable
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    batch_norm_relu,
    build_model,
    classifier,
    convolution,
    image_input,
    l2,
    pool,
    target_layers,
)
from keras_attention.applications.registry import register
from keras_attention.layers import SpatialTransformer
from keras_attention.utils.validation import fraction

KERNEL_SIZES = (7, 5, 3)
FILTERS = (128, 128, 256)
UNITS = 96
LOCALIZATION_SIZE = (16, 16)
LOCALIZATION_FILTERS = (16, 32, 64)
LOCALIZATION_UNITS = (128, 64)

Convolution = Callable[[int, str], keras.Layer]
SHARED_DOCSTRINGS = {
    "stn_arguments": """
weight_decay: L2 weight of all kernels except that of the transform. Section 4.2 uses 0.05 for GTSRB
    and 1e-4 for other data.
dropout: Dropout rate after the last hidden layer (section 4.3).
""",
}


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
    """Spatial transformer followed by three convolutions of 128, 128 and 256 kernels.

    1,197,473 trainable parameters and 145.3M MACs at 32x32x3 with the 43 classes of traffic signs
    of GTSRB; the paper's table 5 gives 1.18M and 145M. Batch normalization and ReLU follow each
    convolution and hidden dense layer, and 2x2 max pooling follows each convolution. The
    localization network has 7x7, 5x5 and 3x3 convolutions of 16, 32 and 64 kernels, and reads the
    image resized to 16x16 pixels. The paper does not give its size; this choice is nearest to the
    paper's MACs and suits images of any size.

    Args:
        input_shape: `(H, W, channels)`. Defaults to `(32, 32, 3)` (section 4.1); H and W may be
            None only with `include_top=False`.
        {common_arguments}
        {stn_arguments}

    {returns}

    Example:
    >>> import keras_attention as ka
    >>> ka.inspect.trainable_parameters(STN())
    1197473
    """
    decay = l2(weight_decay, "weight_decay")

    def plain(block: int, layer_name: str) -> keras.Layer:
        return convolution(FILTERS[block], KERNEL_SIZES[block], decay, layer_name)

    inputs = image_input(input_shape, (32, 32, 3), input_tensor, known_sides=include_top)
    x = _blocks(_aligned(inputs, decay), plain)
    x = _top(x, classes, classifier_activation, decay, dropout) if include_top else pool(x, pooling)
    return build_model(inputs, input_tensor, x, name, weights)


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
    """STN with target layers in place of the convolutions after the transformer.

    1,199,521 trainable parameters at 32x32x3 with the 43 classes of GTSRB. It starts with as many
    MACs as STN; after training it has 55.7M in the paper's table 5, with `scale_l2=1e-3` and about
    61,000 steps.

    Args:
        input_shape: `(H, W, channels)`. Defaults to `(32, 32, 3)` (section 4.1); H and W may be
            None only with `include_top=False`.
        {common_arguments}
        {targeted_arguments}
        min_roi_size: Smallest region of interest in pixels. None uses the kernel size, 7, 5 and 3,
            or the size of a smaller map.
        {stn_arguments}

    {returns}

    Example:
    >>> model = TSTN(input_shape=(48, 40, 3), roi_groups=4)
    >>> model.get_layer("target3").rois(12, 10)[0].tolist()
    [[0, 12], [0, 10]]
    """
    decay = l2(weight_decay, "weight_decay")
    options = {"window": window, "roi": roi, "roi_groups": roi_groups, "min_roi_size": min_roi_size}
    target_layer = target_layers(decay, scale_l2, beta, **options)

    def targeted(block: int, layer_name: str) -> keras.Layer:
        layer_name = layer_name.replace("conv", "target")
        return target_layer(block, FILTERS[block], KERNEL_SIZES[block], layer_name)

    inputs = image_input(input_shape, (32, 32, 3), input_tensor, known_sides=include_top)
    x = _blocks(_aligned(inputs, decay), targeted)
    x = _top(x, classes, classifier_activation, decay, dropout) if include_top else pool(x, pooling)
    return build_model(inputs, input_tensor, x, name, weights)


def _aligned(images: Tensor, decay: Any) -> Tensor:
    """Adds the spatial transformer, whose localization network is a model of its own."""

    def plain(block: int, layer_name: str) -> keras.Layer:
        return convolution(LOCALIZATION_FILTERS[block], KERNEL_SIZES[block], decay, layer_name)

    inputs = keras.Input(images.shape[1:])
    # An operation, because a Resizing layer would set training=True for the layers after it.
    x = keras.ops.image.resize(inputs, LOCALIZATION_SIZE)
    x = keras.layers.Flatten(name="flatten")(_blocks(x, plain))
    for index, units in enumerate(LOCALIZATION_UNITS):
        x = _hidden(x, units, decay, f"hidden{index + 1}")
    localization = keras.Model(inputs, x, name="localization")
    return SpatialTransformer(localization, name="align")(images)


def _blocks(x: Tensor, layer: Convolution) -> Tensor:
    for block in range(len(FILTERS)):
        name = f"conv{block + 1}"
        x = batch_norm_relu(layer(block, name)(x), name)
        x = keras.layers.MaxPooling2D(2, name=f"pool{block + 1}")(x)
    return x


def _hidden(x: Tensor, units: int, decay: Any, name: str) -> Tensor:
    options: dict[str, Any] = {"kernel_initializer": "he_normal", "kernel_regularizer": decay}
    return batch_norm_relu(keras.layers.Dense(units, use_bias=False, name=name, **options)(x), name)


def _top(x: Tensor, classes: int, activation: Any, decay: Any, dropout: float) -> Tensor:
    x = keras.layers.Flatten(name="flatten")(x)
    x = _hidden(x, UNITS, decay, "hidden")
    x = keras.layers.Dropout(fraction("dropout", dropout), name="dropout")(x)
    return classifier(x, classes, activation, decay)
