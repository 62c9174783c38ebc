"""The parts of networks that read house numbers, each a model for maps of any size.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), section 4.2 and appendix 6.2.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_attention.applications.conventions import Tensor, channel_axis
from keras_attention.applications.dynamic_capacity_parts import open_input
from keras_attention.arguments import one_of, positive_integer, positive_number, share
from keras_attention.layers.entropy_pooling import EntropyPooling
from keras_attention.layers.image_sides import LeastSides, ScaledImages
from keras_attention.limits import checked_weight
from keras_attention.ops.multi_digit import LEAST_PROBABILITY

# Height and width that one vector is made of.
PATCH = (54, 110)
WEIGHTINGS = ("mean", "entropy")
# Filters, kernel sizes and strides; without padding.
COARSE: tuple[tuple[int, Any, Any], ...] = (
    (24, 5, 2),
    (48, 5, 2),
    (128, 5, 2),
    (192, (4, 5), (1, 2)),
    (192, (1, 4), 1),
)
COARSE_HIDDEN = 2
# Filters of 5x5 with zeros around; then of 3x3 without.
FINE_PADDED = (48, 64, 128, 160, 192)
FINE_VALID = (192, 192, 192)
FINE_HIDDEN = 3
POOLED = (1, 3, 5)
HIDDEN = 1024
# Of a number.
MOST_DIGITS = 100


def answer_sizes(classes: int, digits: int) -> tuple[int, ...]:
    """Classes of each answer: the length, then each digit with one for "none".

    Example:
    >>> answer_sizes(10, 5)
    (5, 11, 11, 11, 11, 11)
    """
    if positive_integer("digits", digits) > MOST_DIGITS:
        raise ValueError(f"`digits` must be at most {MOST_DIGITS}. Received: digits={digits!r}")
    return int(digits), *[positive_integer("classes", classes) + 1] * int(digits)


def answer_names(sizes: Sequence[int]) -> list[str]:
    """Names of the answers.

    Example:
    >>> answer_names((2, 11, 11))
    ['length', 'digit1', 'digit2']
    """
    return ["length", *(f"digit{index}" for index in range(1, len(sizes)))]


@dataclass(frozen=True)
class MultiDigitParts:
    """Coarse and fine layers and the top, of convolutions with ReLU.

    Attributes:
        width: Factor of the channels.
        dropout: Rate behind convolutions.
        hidden_dropout: Rate behind those of 1x1, "fully connected" ones.
        decay: Regularizer of the kernels.
    """

    width: float = 1.0
    dropout: float = 0.2
    hidden_dropout: float = 0.5
    decay: Any = None

    def __post_init__(self) -> None:
        if not int(COARSE[0][0] * positive_number("width", self.width)):
            raise ValueError(
                f"`width` must leave a channel: 1 / {COARSE[0][0]} or more. "
                f"Received: width={self.width!r}"
            )
        checked_weight((self._channels(HIDDEN),) * 2, width=self.width)
        share("dropout", self.dropout)
        share("hidden_dropout", self.hidden_dropout)

    def coarse(self, channels: int) -> keras.Model:
        """From images to a map with one place for 8x16 pixels, each of which sees 53x109."""
        x = images = open_input(channels, "images")
        for index, (filters, kernel_size, strides) in enumerate(COARSE, start=1):
            x = self._layer(x, filters, kernel_size, f"coarse_conv{index}", strides)
        x = self._hidden(x, "coarse", COARSE_HIDDEN)
        return keras.Model(images, x, name="coarse")

    def fine(self, channels: int) -> keras.Model:
        """From images to a map with one place for 8x8 pixels; of 54x110 pixels 1x8 vectors."""
        x = images = open_input(channels, "images")
        for index, filters in enumerate(FINE_PADDED, start=1):
            x = self._layer(x, filters, 5, f"fine_conv{index}", padding="same", pool=index)
        for index, filters in enumerate(FINE_VALID, start=len(FINE_PADDED) + 1):
            x = self._layer(x, filters, 3, f"fine_conv{index}")
        x = self._hidden(x, "fine", FINE_HIDDEN)
        return keras.Model(images, x, name="fine")

    def top(self, sizes: Sequence[int], weighting: str, prefix: str) -> keras.Model:
        """From a map of vectors to the means of what all places say, of each answer.

        Args:
            sizes: Classes of each answer.
            weighting: Of the places.
            prefix: Of the layers' names.
        """
        features = open_input(self._channels(HIDDEN), "features")
        # One convolution for all: thin ones cost as much each.
        x = keras.layers.Conv2D(
            sum(sizes),
            1,
            kernel_initializer="he_normal",
            kernel_regularizer=self.decay,
            dtype="float32",
            name=f"{prefix}_answers",
        )(features)
        answers = []
        for name, part in zip(answer_names(sizes), answer_parts(x, sizes), strict=True):
            maps = f"{prefix}_{name}_map"
            said = keras.layers.Softmax(channel_axis(), dtype="float32", name=maps)(part)
            answers.append(pooling_layer(weighting, f"{prefix}_{name}_mean")(said))
        return keras.Model(features, answers, name="top")

    def _channels(self, filters: int) -> int:
        return int(filters * float(self.width))

    def _layer(
        self,
        x: Tensor,
        filters: int,
        kernel_size: Any,
        name: str,
        strides: Any = 1,
        padding: str = "valid",
        pool: int = 0,
    ) -> Tensor:
        """Convolution, ReLU, pooling behind some, dropout."""
        x = self._convolution(x, filters, kernel_size, name, strides, padding)
        if pool in POOLED:
            # "same" rounds up: 54x110 pixels end as 7x14 places, of which 1x8 vectors are left.
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"{name}_pool")(x)
        return _dropped(x, self.dropout, name)

    def _hidden(self, x: Tensor, part: str, count: int) -> Tensor:
        for index in range(1, count + 1):
            name = f"{part}_hidden{index}"
            x = _dropped(self._convolution(x, HIDDEN, 1, name), self.hidden_dropout, name)
        return x

    def _convolution(
        self,
        x: Tensor,
        filters: int,
        kernel_size: Any,
        name: str,
        strides: Any = 1,
        padding: str = "valid",
    ) -> Tensor:
        return keras.layers.Conv2D(
            self._channels(filters),
            kernel_size,
            strides,
            padding,
            activation="relu",
            kernel_initializer="he_normal",
            kernel_regularizer=self.decay,
            name=name,
        )(x)


def pooling_layer(weighting: str, name: str) -> keras.Layer:
    """The mean over places, of equal weights or by their entropy, in float32."""
    if one_of("weighting", weighting, WEIGHTINGS) == "mean":
        return keras.layers.GlobalAveragePooling2D(dtype="float32", name=name)
    return EntropyPooling(dtype="float32", name=name)


def joined_answers(fine: keras.Model, top: keras.Model, channels: int) -> keras.Model:
    """From a patch to one vector: all answers of its top, one behind the other."""
    shape = (*PATCH, channels) if channel_axis() == -1 else (channels, *PATCH)
    patch = keras.Input(shape, name="patch")
    answers = keras.tree.flatten(top(fine(patch)))
    x = keras.layers.Concatenate(axis=-1, dtype="float32", name="answers")(answers)
    return keras.Model(patch, x, name="fine_answers")


def split_answers(sizes: Sequence[int], weighting: str) -> keras.Model:
    """From the joined answers of some patches to the means of each, over the patches."""
    x = open_input(sum(sizes), "answers")
    parts = [
        pooling_layer(weighting, f"{name}_mean")(part)
        for name, part in zip(answer_names(sizes), answer_parts(x, sizes), strict=True)
    ]
    return keras.Model(x, parts, name="fine_top")


def answer_parts(maps: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """The channels of each answer, of maps that have them one behind the other."""
    stops = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    spans = [slice(stop - size, stop) for stop, size in zip(stops, sizes, strict=True)]
    return [maps[..., span] if channel_axis() == -1 else maps[:, span] for span in spans]


def at_scales(
    images: Tensor, scales: Sequence[float], answers: Callable[[Tensor], Sequence[Tensor]]
) -> list[Tensor]:
    """Averages what a network says of images at several sizes.

    Args:
        images: Any size; what is smaller than a patch gets a rim of zeros.
        scales: Factors of the sides.
        answers: The network, from images to several answers.
    """
    brought = [_brought(images, scale, index) for index, scale in enumerate(scales, start=1)]
    found = [keras.tree.flatten(answers(x)) for x in brought]
    if len(found) == 1:
        return found[0]
    return [keras.layers.Average(dtype="float32")(list(each)) for each in zip(*found, strict=True)]


def checked_scales(scales: Any, include_top: bool) -> tuple[float, ...]:
    """The factors of an image's sides, one where there is no answer to average."""
    values = tuple(scales) if isinstance(scales, (list, tuple)) else ()
    if not values or (len(values) > 1 and not include_top):
        raise ValueError(
            "`scales` must be a list of numbers above 0, one or more; one where "
            f"`include_top=False`. Received: scales={scales!r}"
        )
    return tuple(positive_number("scales", scale) for scale in values)


def named_answers(answers: Sequence[Tensor], activation: Any) -> list[Tensor]:
    """The outputs of a network, by their names: probabilities, or their logarithms for None."""
    activation = getattr(activation, "__name__", activation)
    one_of("classifier_activation", activation, ("softmax", None))
    if activation is None:
        answers = [ops.log(ops.maximum(answer, LEAST_PROBABILITY)) for answer in answers]
    return [
        keras.layers.Activation("linear", dtype="float32", name=name)(answer)
        for name, answer in zip(answer_names(answers), answers, strict=True)
    ]


def _brought(images: Tensor, scale: float, index: int) -> Tensor:
    if scale != 1.0:
        images = ScaledImages(scale, name=f"scaled{index}")(images)
    return LeastSides(PATCH, name=f"padded{index}")(images)


def _dropped(x: Tensor, rate: float, name: str) -> Tensor:
    return keras.layers.Dropout(rate, name=f"{name}_dropout")(x) if rate else x
