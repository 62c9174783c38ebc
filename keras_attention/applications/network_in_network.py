"""Networks in networks, a thin student and a wide teacher.

References: Lin, Chen and Yan, Network In Network (2013); Zagoruyko and Komodakis, Paying More
Attention to Attention (2017), sections 3.1, 4.1.1 and 4.1.3, tables 1 and 3.
"""

from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    batch_normalized,
    decay_of_all_weights,
    finish,
    image_input,
    pool,
)
from keras_attention.applications.registry import register
from keras_attention.limits import checked_weight
from keras_attention.utils.validation import flag, positive_integer, positive_number, share

CIFAR = (32, 32, 3)
# Channels of each block's convolutions but the ninth, which has the classes. They are ours: near
# the ratios of Lin et al., 192, 160, 96 and then 192, at the paper's numbers of parameters.
THIN = ((104, 88, 56), (104, 104, 104), (104, 104))
WIDE = ((232, 192, 128), (232, 232, 232), (232, 232))
KERNEL_SIZES = (3, 1, 1)


@dataclass(frozen=True)
class NetworkInNetwork:
    """Three blocks of a 3x3 and two 1x1 convolutions, with pooling between them.

    Attributes:
        channels: Of the convolutions of each block, but for the one that makes maps of classes.
        width: Factor of all of them.
        batch_normalization: Whether convolutions are normalized, but for that one.
        relu_before_pool: Whether ReLU precedes the two poolings; None for the same as
            `batch_normalization`.
        dropout: Rate behind the two poolings.
        decay: Regularizer of all weights.
    """

    channels: tuple[tuple[int, ...], ...]
    width: float = 1.0
    batch_normalization: bool = True
    relu_before_pool: bool | None = None
    dropout: float = 0.0
    decay: Any = None

    def __post_init__(self) -> None:
        fewest = min(map(min, self.channels))
        if not int(fewest * positive_number("width", self.width)):
            raise ValueError(
                f"`width` must leave a channel: 1 / {fewest} or more. "
                f"Received: width={self.width!r}"
            )
        most = int(max(map(max, self.channels)) * float(self.width))
        checked_weight((*[KERNEL_SIZES[0]] * 2, most, most), width=self.width)
        flag("batch_normalization", self.batch_normalization)
        if self.relu_before_pool is not None:
            flag("relu_before_pool", self.relu_before_pool)
        share("dropout", self.dropout)

    def features(self, images: Tensor) -> Tensor:
        """Builds everything but the maps of classes. Blocks end with layers `block1`, `block2`."""
        *pooled, last = self.channels
        x = images
        for block, channels in enumerate(pooled, start=1):
            x = self._block(x, channels, f"block{block}")
        return self._convolutions(x, last, f"block{len(self.channels)}")

    def class_maps(self, x: Tensor, classes: int) -> Tensor:
        """A map of each class, in float32 whatever the policy, so that probabilities are exact."""
        return keras.layers.Conv2D(
            positive_integer("classes", classes),
            1,
            kernel_initializer="he_normal",
            kernel_regularizer=self.decay,
            bias_regularizer=self.decay,
            dtype="float32",
            name=f"block{len(self.channels)}",
        )(x)

    def _block(self, x: Tensor, channels: tuple[int, ...], name: str) -> Tensor:
        x = self._convolutions(x, channels[:-1], name)
        x = self._convolution(x, channels[-1], len(channels), name)
        relu = self.relu_before_pool
        relu = self.batch_normalization if relu is None else relu
        # One layer whatever the options, so that the same name is tapped.
        x = keras.layers.Activation("relu" if relu else "linear", name=name)(x)
        x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
        if self.dropout:
            x = keras.layers.Dropout(self.dropout, name=f"{name}_dropout")(x)
        return x

    def _convolutions(self, x: Tensor, channels: tuple[int, ...], name: str) -> Tensor:
        """Convolutions with ReLU."""
        for index, filters in enumerate(channels, start=1):
            x = self._convolution(x, filters, index, name)
            x = keras.layers.ReLU(name=f"{name}_conv{index}_relu")(x)
        return x

    def _convolution(self, x: Tensor, channels: int, index: int, block: str) -> Tensor:
        """The convolution of that index in a block, normalized where that is asked for."""
        name = f"{block}_conv{index}"
        x = keras.layers.Conv2D(
            int(channels * float(self.width)),
            KERNEL_SIZES[index - 1],
            padding="same",
            use_bias=not self.batch_normalization,
            kernel_initializer="he_normal",
            kernel_regularizer=self.decay,
            bias_regularizer=None if self.batch_normalization else self.decay,
            name=name,
        )(x)
        return batch_normalized(x, name, self.decay) if self.batch_normalization else x


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
    """A thin network in network, the student of Attention Transfer's tables 1 and 3.

    Three blocks of a 3x3 and two 1x1 convolutions, with normalization and ReLU; 3x3 max pooling of
    stride 2 between them. The last convolution has a channel for each class: the means of its map
    are the logits. Channels are (104, 88, 56), (104, 104, 104) and (104, 104, classes).
    201,682 trainable parameters with 10 classes (the paper: 0.2M), 200,914 without normalization.

    Taps for attention transfer: `block1` and `block2`, what is pooled, with or without ReLU; and
    `block3`, the maps of the classes, without ReLU and absent without the top.

    The student of section 4.1.3, for gradients of gradients:

        NINThin(batch_normalization=False, weight_decay=0)

    Args:
        input_shape: `(H, W, channels)`; `(32, 32, 3)` by default. H and W may be None.
        classes: Channels of the last convolution; 10 by default.
        classifier_activation: Of the means of the class maps; None returns logits.
        include_top: Whether to add the class maps and their means.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        batch_normalization: Whether the first eight convolutions are normalized, else they have
            biases; True by default, as in section 4.1. False is for gradient-based attention.
        relu_before_pool: Whether ReLU precedes the two poolings; None, the default, for the same as
            `batch_normalization`, as section 4.1.3 finds best.
        dropout: Rate behind the two poolings; 0 by default, the paper names none. Lin et al. have
            0.5.
        width: Factor of the channels, also below 1; 1 by default.
        weight_decay: Of all weights, in their gradients; 5e-4 by default, that of the authors'
            code for CIFAR. Section 4.1.3 has 0.

    Returns:
        A `keras.Model` from images to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = NINThin()
    >>> [model.get_layer(f"block{block}").output.shape[1:] for block in (1, 2, 3)]
    [(32, 32, 56), (16, 16, 104), (8, 8, 10)]
    """
    decay = decay_of_all_weights(weight_decay)
    options = (width, batch_normalization, relu_before_pool, dropout, decay)
    network = NetworkInNetwork(THIN, *options)
    inputs = image_input(input_shape, CIFAR, input_tensor)
    x = network.features(inputs)
    if include_top:
        x = _answer(network.class_maps(x, classes), classifier_activation)
    else:
        x = pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


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
    """A wide network in network, the teacher of Attention Transfer's tables 1 and 3.

    Three blocks of a 3x3 and two 1x1 convolutions, with normalization and ReLU; 3x3 max pooling of
    stride 2 between them. The last convolution has a channel for each class: the means of its map
    are the logits. Channels are (232, 192, 128), (232, 232, 232) and (232, 232, classes).
    994,290 trainable parameters with 10 classes (the paper: 1M), 992,578 without normalization.

    Taps for attention transfer: `block1` and `block2`, what is pooled, with or without ReLU; and
    `block3`, the maps of the classes, without ReLU and absent without the top.

    The teacher of section 4.1.3, whose student has no ReLU before poolings:

        NINWide(relu_before_pool=False)

    Args:
        input_shape: `(H, W, channels)`; `(32, 32, 3)` by default. H and W may be None.
        classes: Channels of the last convolution; 10 by default.
        classifier_activation: Of the means of the class maps; None returns logits.
        include_top: Whether to add the class maps and their means.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        batch_normalization: Whether the first eight convolutions are normalized, else they have
            biases; True by default, as in section 4.1. False is for gradient-based attention.
        relu_before_pool: Whether ReLU precedes the two poolings; None, the default, for the same as
            `batch_normalization`, as section 4.1.3 finds best.
        dropout: Rate behind the two poolings; 0 by default, the paper names none. Lin et al. have
            0.5.
        width: Factor of the channels, also below 1; 1 by default.
        weight_decay: Of all weights, in their gradients; 5e-4 by default, that of the authors'
            code for CIFAR. Section 4.1.3 has 0.

    Returns:
        A `keras.Model` from images to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = NINWide((None, None, 3))
    >>> [model.get_layer(f"block{block}").output.shape[1:] for block in (1, 2, 3)]
    [(None, None, 128), (None, None, 232), (None, None, 10)]
    """
    decay = decay_of_all_weights(weight_decay)
    options = (width, batch_normalization, relu_before_pool, dropout, decay)
    network = NetworkInNetwork(WIDE, *options)
    inputs = image_input(input_shape, CIFAR, input_tensor)
    x = network.features(inputs)
    if include_top:
        x = _answer(network.class_maps(x, classes), classifier_activation)
    else:
        x = pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


def _answer(maps: Tensor, activation: Any) -> Tensor:
    x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="avg_pool")(maps)
    return keras.layers.Activation(activation, dtype="float32", name="predictions")(x)
