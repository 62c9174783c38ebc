"""Network in network: a thin student and a wide teacher.

References: Lin, Chen and Yan, Network In Network (2013); Zagoruyko and Komodakis, Paying More
Attention to Attention (2017), sections 3.1, 4.1.1 and 4.1.3, tables 1 and 3.
"""

from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    add_dropout,
    batch_norm,
    build_model,
    convolution,
    image_input,
    pool,
    validate_width,
    weight_decay_regularizer,
)
from keras_attention.applications.registry import register
from keras_attention.utils.validation import boolean, fraction, positive_integer

CIFAR = (32, 32, 3)
# Channels of the convolutions in each block; the ninth has one channel per class. This package's
# choice: near the ratios of Lin et al. (192, 160, 96 and then 192), with as many parameters as the
# paper's networks.
THIN = ((104, 88, 56), (104, 104, 104), (104, 104))
WIDE = ((232, 192, 128), (232, 232, 232), (232, 232))
KERNEL_SIZES = (3, 1, 1)
SHARED_DOCSTRINGS = {
    "nin_details": """
Three blocks of a 3x3 and two 1x1 convolutions with normalization and ReLU, and 3x3 max pooling with
stride 2 between them. The last convolution has a channel for each class; the means of its maps are
the logits.

Layers for attention transfer: `block1` and `block2`, the inputs of the pooling layers, with or
without ReLU; `block3`, the class maps without ReLU, which is missing without the top.

Args:
    input_shape: `(H, W, channels)`. Defaults to `(32, 32, 3)`; H and W may be None.
    {common_arguments}
    batch_normalization: If True (default, section 4.1), the first eight convolutions are
        normalized; otherwise they have biases, for gradient-based attention.
    relu_before_pool: If True, ReLU precedes both pooling layers. None (default) means the same
        as `batch_normalization`, the best choice in section 4.1.3.
    dropout: Dropout rate after both pooling layers. Defaults to 0, because the paper mentions
        none; Lin et al. use 0.5.
    width: Factor of the channels, which may be below 1. Defaults to 1.
    weight_decay: Weight decay of all weights, as it appears in their gradients. Defaults to
        5e-4, as in the authors' code for CIFAR. Section 4.1.3 uses 0.

{returns}
""",
}


@dataclass(frozen=True)
class NetworkInNetwork:
    """Three blocks of a 3x3 and two 1x1 convolutions, with pooling between them.

    Attributes:
        channels: Channels of the convolutions in each block, except the one for the class maps.
        width: Factor of all channels.
        batch_normalization: If True, batch normalization follows each convolution except the last.
        relu_before_pool: If True, ReLU precedes both pooling layers; None means the same as
            `batch_normalization`.
        dropout: Dropout rate after both pooling layers.
        decay: Regularizer of all weights.
    """

    channels: tuple[tuple[int, ...], ...]
    width: float = 1.0
    batch_normalization: bool = True
    relu_before_pool: bool | None = None
    dropout: float = 0.0
    decay: Any = None

    def __post_init__(self) -> None:
        validate_width(self.width, min(map(min, self.channels)))
        boolean("batch_normalization", self.batch_normalization)
        if self.relu_before_pool is not None:
            boolean("relu_before_pool", self.relu_before_pool)
        fraction("dropout", self.dropout)

    def features(self, images: Tensor) -> Tensor:
        """Builds the network without class maps; blocks end with layers `block1` and `block2`."""
        *pooled, last = self.channels
        x = images
        for block, channels in enumerate(pooled, start=1):
            x = self._block(x, channels, f"block{block}")
        return self._convolutions(x, last, f"block{len(self.channels)}")

    def class_maps(self, x: Tensor, classes: int) -> Tensor:
        """Adds a map for each class, in float32 with any dtype policy for exact probabilities."""
        options = {"use_bias": True, "bias_regularizer": self.decay, "dtype": "float32"}
        name, filters = f"block{len(self.channels)}", positive_integer("classes", classes)
        return convolution(filters, 1, self.decay, name, padding="valid", **options)(x)

    def _block(self, x: Tensor, channels: tuple[int, ...], name: str) -> Tensor:
        x = self._convolutions(x, channels[:-1], name)
        x = self._convolution(x, channels[-1], len(channels), name)
        relu = self.relu_before_pool
        relu = self.batch_normalization if relu is None else relu
        # The layer exists with and without ReLU, so that its name can be used in both cases.
        x = keras.layers.Activation("relu" if relu else "linear", name=name)(x)
        x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
        return add_dropout(x, self.dropout, name)

    def _convolutions(self, x: Tensor, channels: tuple[int, ...], name: str) -> Tensor:
        """Adds convolutions with ReLU."""
        for index, filters in enumerate(channels, start=1):
            x = self._convolution(x, filters, index, name)
            x = keras.layers.ReLU(name=f"{name}_conv{index}_relu")(x)
        return x

    def _convolution(self, x: Tensor, channels: int, index: int, block: str) -> Tensor:
        """Adds one convolution of a block, with normalization if requested."""
        name = f"{block}_conv{index}"
        x = convolution(
            int(channels * float(self.width)),
            KERNEL_SIZES[index - 1],
            self.decay,
            name,
            use_bias=not self.batch_normalization,
            bias_regularizer=None if self.batch_normalization else self.decay,
        )(x)
        return batch_norm(x, name, self.decay) if self.batch_normalization else x


@register
def NINThin(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "nin_thin",
    *,
    batch_normalization: bool = True,
    relu_before_pool: bool | None = None,
    dropout: float = 0.0,
    width: float = 1.0,
    weight_decay: float = 5e-4,
) -> keras.Model:
    """Thin network in network, the student in tables 1 and 3 of Attention Transfer.

    The convolutions have (104, 88, 56), (104, 104, 104) and (104, 104, classes) channels.
    201,682 trainable parameters with 10 classes (the paper: 0.2M), 200,914 without normalization.

    The student of section 4.1.3, for second-order gradients:

        NINThin(batch_normalization=False, weight_decay=0)

    {nin_details}

    Example:
    >>> model = NINThin()
    >>> [model.get_layer(f"block{block}").output.shape[1:] for block in (1, 2, 3)]
    [(32, 32, 56), (16, 16, 104), (8, 8, 10)]
    """
    decay = weight_decay_regularizer(weight_decay)
    options = (width, batch_normalization, relu_before_pool, dropout, decay)
    network = NetworkInNetwork(THIN, *options)
    inputs = image_input(input_shape, CIFAR, input_tensor)
    x = network.features(inputs)
    if include_top:
        x = _predictions(network.class_maps(x, classes), classifier_activation)
    else:
        x = pool(x, pooling)
    return build_model(inputs, input_tensor, x, name, weights)


@register
def NINWide(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "nin_wide",
    *,
    batch_normalization: bool = True,
    relu_before_pool: bool | None = None,
    dropout: float = 0.0,
    width: float = 1.0,
    weight_decay: float = 5e-4,
) -> keras.Model:
    """Wide network in network, the teacher in tables 1 and 3 of Attention Transfer.

    The convolutions have (232, 192, 128), (232, 232, 232) and (232, 232, classes) channels.
    994,290 trainable parameters with 10 classes (the paper: 1M), 992,578 without normalization.

    The teacher of section 4.1.3, whose student has no ReLU before pooling:

        NINWide(relu_before_pool=False)

    {nin_details}

    Example:
    >>> model = NINWide((None, None, 3))
    >>> [model.get_layer(f"block{block}").output.shape[1:] for block in (1, 2, 3)]
    [(None, None, 128), (None, None, 232), (None, None, 10)]
    """
    decay = weight_decay_regularizer(weight_decay)
    options = (width, batch_normalization, relu_before_pool, dropout, decay)
    network = NetworkInNetwork(WIDE, *options)
    inputs = image_input(input_shape, CIFAR, input_tensor)
    x = network.features(inputs)
    if include_top:
        x = _predictions(network.class_maps(x, classes), classifier_activation)
    else:
        x = pool(x, pooling)
    return build_model(inputs, input_tensor, x, name, weights)


def _predictions(maps: Tensor, activation: Any) -> Tensor:
    x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="avg_pool")(maps)
    return keras.layers.Activation(activation, dtype="float32", name="predictions")(x)
