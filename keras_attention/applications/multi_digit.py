"""Networks that read house numbers in images of any size.

References: Almahairi et al., Dynamic Capacity Networks (2016), section 4.2 and appendix 6.2;
Goodfellow et al., Multi-digit Number Recognition from Street View Imagery (2013).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import backend
from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    channel_axis,
    decay_of_all_weights,
    finish,
    image_input,
    pool,
)
from keras_attention.applications.dynamic_capacity import open_input
from keras_attention.applications.registry import register
from keras_attention.layers.dynamic_capacity import PatchRefiner
from keras_attention.limits import checked_weight
from keras_attention.ops.attention_transfer import at_least_float32
from keras_attention.ops.multi_digit import (
    LEAST_PROBABILITY,
    inverse_entropy_weights,
    most_probable_sequence,
)
from keras_attention.utils.validation import (
    one_of,
    positive_integer,
    positive_integers,
    positive_number,
    share,
    standard_data_format,
)

GRAYSCALE = (None, None, 1)
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


@register
def SVHNCoarse(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "svhn_coarse",
    *,
    digits: int = 5,
    weighting: str = "mean",
    scales: Sequence[float] = (1.0,),
    width: float = 1.0,
    dropout: float = 0.2,
    hidden_dropout: float = 0.5,
    weight_decay: float = 0.0,
) -> keras.Model:
    """The coarse layers for house numbers and their top: table 2's coarse and soft-attention model.

    Seven convolutions without padding: 5x5 of 24, 48 and 128 channels with stride 2, 4x5 of 192
    with stride 1x2, 1x4 of 192, two 1x1 of 1024. A place of the map sees 53x109 pixels, and says
    the length of a number and each digit; the model returns the means over the places, a list of
    answers named `length`, `digit1` and so on. Labels are lists too:

        model.compile("sgd", "sparse_categorical_crossentropy")
        dataset = dataset.map(lambda x, y: (x, ka.ops.split_sequence_labels(y)))

    2,131,292 trainable parameters. `get_layer("coarse")` and `get_layer("top")` are models for any
    size; see `SVHNDCN`.

    Args:
        input_shape: `(H, W, channels)`; `(None, None, 1)` by default. Images smaller than 54x110
            get zeros below and to the right.
        classes: Of a digit; 10 by default. Each answer has one more, "none".
        classifier_activation: `"softmax"` for probabilities; None for their logarithms.
        include_top: Whether to answer; else the map is returned.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        digits: The most that a number has; 5 by default.
        weighting: Of the places: `"mean"` (default, equation 11), or `"entropy"`, the soft
            attention of equations 12 to 14.
        scales: Factors of the image's sides; the answers are averaged. `(1,)` by default; the paper
            has 0.75 and 0.5 too.
        width: Factor of the channels; 1 by default.
        dropout: Rate behind convolutions; 0.2 by default, the paper's.
        hidden_dropout: Rate behind those of 1x1; 0.5 by default, the paper's for fully connected
            layers.
        weight_decay: Of all kernels, in their gradients; 0 by default, the paper names none.

    Returns:
        A `keras.Model` from images in `[0, 1]` to a list of `1 + digits` float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = SVHNCoarse(width=0.25)
    >>> answers = model(keras.ops.ones((2, 64, 128, 1)))
    >>> [tuple(answer.shape) for answer in answers[:2]], model.output_names[:2]
    ([(2, 5), (2, 11)], ['length', 'digit1'])
    """
    parts = MultiDigitParts(width, dropout, hidden_dropout, decay_of_all_weights(weight_decay))
    inputs = image_input(input_shape, GRAYSCALE, input_tensor)
    coarse = parts.coarse(inputs.shape[channel_axis()])
    top = parts.top(answer_sizes(classes, digits), weighting, "coarse")
    given = (include_top, classifier_activation, pooling)
    x = _answered(inputs, coarse, top, scales, *given)
    return finish(inputs, input_tensor, x, name, weights)


@register
def SVHNFine(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "svhn_fine",
    *,
    digits: int = 5,
    weighting: str = "mean",
    scales: Sequence[float] = (1.0,),
    width: float = 1.0,
    dropout: float = 0.2,
    hidden_dropout: float = 0.5,
    weight_decay: float = 0.0,
) -> keras.Model:
    """The fine layers for house numbers and their top: table 2's fine model.

    Eleven convolutions: 5x5 of 48, 64, 128, 160 and 192 channels with zeros around and 2x2 pooling
    behind the first, third and fifth, which rounds up; three 3x3 of 192 and three 1x1 of 1024
    without padding. 54x110 pixels end as 1x8 places. Each says the length of a number and each
    digit; the model returns the means over the places, as `SVHNCoarse` does. 4,917,628 trainable
    parameters.

    Args:
        input_shape: `(H, W, channels)`; `(None, None, 1)` by default. Images smaller than 54x110
            get zeros below and to the right.
        classes: Of a digit; 10 by default. Each answer has one more, "none".
        classifier_activation: `"softmax"` for probabilities; None for their logarithms.
        include_top: Whether to answer; else the map is returned.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        digits: The most that a number has; 5 by default.
        weighting: Of the places: `"mean"` (default) or `"entropy"`; see `SVHNCoarse`.
        scales: Factors of the image's sides; the answers are averaged. `(1,)` by default.
        width: Factor of the channels; 1 by default.
        dropout: Rate behind convolutions; 0.2 by default, the paper's.
        hidden_dropout: Rate behind those of 1x1; 0.5 by default, the paper's for fully connected
            layers.
        weight_decay: Of all kernels, in their gradients; 0 by default, the paper names none.

    Returns:
        A `keras.Model` from images in `[0, 1]` to a list of `1 + digits` float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> SVHNFine((54, 110, 1), width=0.25, include_top=False).output_shape
    (None, 1, 8, 256)
    """
    parts = MultiDigitParts(width, dropout, hidden_dropout, decay_of_all_weights(weight_decay))
    inputs = image_input(input_shape, GRAYSCALE, input_tensor)
    fine = parts.fine(inputs.shape[channel_axis()])
    top = parts.top(answer_sizes(classes, digits), weighting, "fine")
    given = (include_top, classifier_activation, pooling)
    x = _answered(inputs, fine, top, scales, *given)
    return finish(inputs, input_tensor, x, name, weights)


@register
def SVHNDCN(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "svhn_dcn",
    *,
    patches: int = 6,
    scales: Sequence[float] = (1.0,),
    weighting: str = "mean",
    coarse: keras.Model | None = None,
    fine: keras.Model | None = None,
    digits: int = 5,
    width: float = 1.0,
    dropout: float = 0.2,
    hidden_dropout: float = 0.5,
    weight_decay: float = 0.0,
) -> keras.Model:
    """A Dynamic Capacity Network for house numbers: fine layers read six patches of the image.

    The patches are those with which the entropy of the digits in a coarse answer changes most
    (equation 10). The fine answers alone are averaged; coarse layers only say where to look, and
    get no gradient. The two are trained apart and joined, on the same weights:

        coarse, fine = SVHNCoarse(), SVHNFine()  # compile and fit each
        model = SVHNDCN(coarse=coarse, fine=fine, patches=3, scales=(1.0, 0.75, 0.5))

    7,048,920 trainable parameters. The layer `"refiner"` is a `layers.PatchRefiner`.

    Args:
        input_shape: `(H, W, channels)`; `(None, None, 1)` by default. Images smaller than 54x110
            get zeros below and to the right. A size that is given must have as many places as
            `patches`; of others all are read where there are fewer.
        classes: Of a digit; 10 by default. Given models have their own.
        classifier_activation: `"softmax"` for probabilities; None for their logarithms.
        include_top: Whether to average; else what is said of each patch is returned,
            `(patches, 1, all classes)`.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        patches: How many are read at each scale; 6 by default, the paper's for one scale. For two
            and three it has 3.
        scales: Factors of the image's sides; the answers are averaged. `(1,)` by default; the paper
            has 0.75 and 0.5 too.
        weighting: Of the patches: `"mean"` (default) or `"entropy"`, equations 12 to 14.
        coarse: A trained `SVHNCoarse`; None for new layers.
        fine: A trained `SVHNFine`; None for new layers.
        digits: The most that a number has; 5 by default. Given models have their own.
        width: Factor of the channels of new layers; 1 by default.
        dropout: Rate behind convolutions of new layers; 0.2 by default.
        hidden_dropout: Rate behind new layers of 1x1; 0.5 by default.
        weight_decay: Of all kernels of new layers, in their gradients; 0 by default.

    Returns:
        A `keras.Model` from images in `[0, 1]` to a list of `1 + digits` float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be, and for
            models that do not go together.

    Example:
    >>> model = SVHNDCN(width=0.25, patches=3, scales=(1.0, 0.5))
    >>> read_numbers(model(keras.ops.ones((2, 80, 200, 1))))[0].isdigit()
    True
    """
    parts = MultiDigitParts(width, dropout, hidden_dropout, decay_of_all_weights(weight_decay))
    inputs = image_input(input_shape, GRAYSCALE, input_tensor)
    channels = inputs.shape[channel_axis()]
    sizes = _sizes(answer_sizes(classes, digits), coarse, fine)
    looks = _part(coarse, "coarse") or parts.coarse(channels)
    reads = _part(fine, "fine") or parts.fine(channels)
    refiner = PatchRefiner(
        looks,
        joined_answers(reads, _part(fine, "top") or parts.top(sizes, "mean", "fine"), channels),
        _part(coarse, "top") or parts.top(sizes, "mean", "coarse"),
        patches,
        PATCH,
        combine="fine_only",
        hint_weight=0.0,
        fine_top=split_answers(sizes, weighting),
        outputs=tuple(range(1, len(sizes))),
        include_top=include_top,
        name="refiner",
    )
    x = at_scales(inputs, checked_scales(scales, include_top), refiner)
    x = named_answers(x, classifier_activation) if include_top else pool(x[0], pooling)
    return finish(inputs, input_tensor, x, name, weights)


def read_numbers(answers: Sequence[Any]) -> list[str]:
    """Reads what a network for house numbers says, or the labels it learns from.

    Args:
        answers: What the model returns or predicts, probabilities; or labels `(B, 1 + digits)`,
            integers: the length less 1, then the digits.

    Returns:
        The most probable number of each image (equation 9), or that of the labels.

    Example:
    >>> read_numbers(np.array([[1, 4, 2, 10], [0, 7, 10, 10]]))
    ['42', '7']
    """
    if not isinstance(answers, (list, tuple)):
        labels = np.asarray(answers)
    else:
        labels = keras.ops.convert_to_numpy(most_probable_sequence(answers))
    return ["".join(map(str, number[1 : 2 + number[0]])) for number in labels.tolist()]


def _answered(
    inputs: Tensor,
    maps: keras.Model,
    top: keras.Model,
    scales: Any,
    include_top: bool,
    activation: Any,
    pooling: str | None,
) -> Any:
    """The answers of a network of layers and a top, or the map below."""
    scales = checked_scales(scales, include_top)
    if not include_top:
        return pool(at_scales(inputs, scales, maps)[0], pooling)
    return named_answers(at_scales(inputs, scales, lambda x: top(maps(x))), activation)


def _part(model: keras.Model | None, name: str) -> keras.Model | None:
    """A part of a given model."""
    if model is None:
        return None
    if isinstance(model, keras.Model) and name in {layer.name for layer in model.layers}:
        return model.get_layer(name)
    raise ValueError(
        "`coarse` must be an `SVHNCoarse` and `fine` an `SVHNFine`, both with their tops. "
        f"Received: {model!r}, without a layer {name!r}"
    )


def _sizes(sizes: tuple[int, ...], *models: keras.Model | None) -> tuple[int, ...]:
    """Classes of each answer: those of given models, which must be the same."""
    tops = [_part(model, "top") for model in models]
    found = {tuple(answer.shape[-1] for answer in top.outputs) for top in tops if top is not None}
    if len(found) > 1:
        raise ValueError(
            "`coarse` and `fine` must have the same answers. "
            f"Received: models with {' and '.join(map(str, sorted(found)))} classes"
        )
    return found.pop() if found else sizes


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


class _Sides(keras.Layer, ABC):
    """What changes the height and the width alone."""

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = standard_data_format(data_format)

    @abstractmethod
    def new_side(self, axis: int, side: Any) -> Any:
        """The height, of axis 0, or the width: an integer or a tensor."""

    def sides_of(self, shape: Any) -> tuple[Any, ...]:
        """Height and width after the change, of a shape of known or unknown sides."""
        first = 2 if self.data_format == "channels_first" else 1
        sides = enumerate(shape[first : first + 2])
        return tuple(side if side is None else self.new_side(axis, side) for axis, side in sides)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if self.data_format == "channels_first":
            return (*input_shape[:2], *self.sides_of(input_shape))
        return (input_shape[0], *self.sides_of(input_shape), input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


@keras.saving.register_keras_serializable(package="keras_attention")
class ScaledImages(_Sides):
    """Resizes images by a factor, between their pixels.

    Args:
        scale: Of both sides, which are rounded to whole pixels.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first; any H and W.

    Example:
    >>> tuple(ScaledImages(0.75)(ops.ones((1, 8, 20, 1))).shape)
    (1, 6, 15, 1)
    """

    def __init__(self, scale: float, data_format: str | None = None, **kwargs: Any):
        super().__init__(data_format, **kwargs)
        self.scale = positive_number("scale", scale)

    def new_side(self, axis: int, side: Any) -> Any:
        if isinstance(side, int):
            return max(round(side * self.scale), 1)
        pixels = ops.cast(ops.round(ops.cast(side, "float32") * self.scale), "int32")
        return ops.maximum(pixels, 1)

    def call(self, images: Tensor) -> Tensor:
        sides = self.sides_of(ops.shape(images))
        return backend.resize_bilinear(images, sides, self.data_format)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable(package="keras_attention")
class LeastSides(_Sides):
    """Adds zeros below and to the right of images that are smaller than a network reads.

    What a pixel's row and column are stays as it was.

    Args:
        least: Height and width in pixels, one integer for both.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first; any H and W.

    Example:
    >>> tuple(LeastSides((6, 10))(ops.ones((1, 8, 8, 1))).shape)
    (1, 8, 10, 1)
    """

    def __init__(self, least: int | Sequence[int], data_format: str | None = None, **kwargs: Any):
        super().__init__(data_format, **kwargs)
        self.least = positive_integers("least", least, 2)

    def new_side(self, axis: int, side: Any) -> Any:
        least = self.least[axis]
        return max(side, least) if isinstance(side, int) else ops.maximum(side, least)

    def call(self, images: Tensor) -> Tensor:
        first = 2 if self.data_format == "channels_first" else 1
        shape = ops.shape(images)
        amounts: list[Any] = [(0, 0)] * 4
        for axis, side in enumerate(self.sides_of(shape), start=first):
            amounts[axis] = (0, side - shape[axis])
        return ops.pad(images, amounts)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "least": self.least}


@keras.saving.register_keras_serializable(package="keras_attention")
class EntropyPooling(keras.Layer):
    """Averages probabilities over places, by weights of one over the entropy (equation 12).

    Args:
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: Probabilities of each place.
        return_attention: Whether to return the weights too, `(B, H, W)`, float32.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first.

    Output shape:
        `(B, C)`, float32 or what is wider.

    Example:
    >>> unsure_and_sure = ops.convert_to_tensor([[[[0.5, 0.5], [0.0, 1.0]]]])
    >>> [round(float(p), 3) for p in EntropyPooling()(unsure_and_sure)[0]]
    [0.0, 1.0]

    Reference:
        Almahairi et al., Dynamic Capacity Networks (2016), equations 12 to 14.
    """

    keeps_probabilities = True

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = standard_data_format(data_format)

    def call(self, inputs: Tensor, return_attention: bool = False) -> Any:
        inputs = at_least_float32(inputs)
        weights = inverse_entropy_weights(inputs, self.data_format)
        axes = (2, 3) if self._channels == 1 else (1, 2)
        each = ops.cast(ops.expand_dims(weights, self._channels), inputs.dtype)
        pooled = ops.sum(inputs * each, axis=axes)
        return (pooled, weights) if return_attention else pooled

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], input_shape[self._channels]

    def compute_output_spec(self, inputs: Tensor, return_attention: bool = False) -> Any:
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        pooled = keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype)
        sides = [side for axis, side in enumerate(inputs.shape) if axis != self._channels % 4]
        weights = keras.KerasTensor(tuple(sides), "float32")
        return (pooled, weights) if return_attention else pooled

    @property
    def _channels(self) -> int:
        return 1 if self.data_format == "channels_first" else -1

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}
