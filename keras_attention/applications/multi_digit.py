"""Networks that recognize house numbers in images of any size.

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
    add_dropout,
    build_model,
    convolution,
    image_input,
    pool,
    validate_width,
    weight_decay_regularizer,
)
from keras_attention.applications.dynamic_capacity import open_input
from keras_attention.applications.registry import register
from keras_attention.layers.base import ConfigurableLayer
from keras_attention.layers.dynamic_capacity import PatchRefiner
from keras_attention.ops.attention_transfer import at_least_float32
from keras_attention.ops.multi_digit import (
    SMALLEST_PROBABILITY,
    inverse_entropy_weights,
    most_probable_sequence,
)
from keras_attention.utils.data_format import (
    channel_axis,
    map_shape,
    spatial_axes,
    spatial_shape,
    standardize_data_format,
)
from keras_attention.utils.validation import (
    fraction,
    one_of,
    positive_integer,
    positive_integers,
    positive_number,
)

GRAYSCALE = (None, None, 1)
# Height and width of the patch that gives one vector.
PATCH = (54, 110)
# Filters, kernel sizes and strides of convolutions without padding.
COARSE: tuple[tuple[int, Any, Any], ...] = (
    (24, 5, 2),
    (48, 5, 2),
    (128, 5, 2),
    (192, (4, 5), (1, 2)),
    (192, (1, 4), 1),
)
COARSE_HIDDEN = 2
# Filters of 5x5 convolutions with padding, then of 3x3 convolutions without.
FINE_PADDED = (48, 64, 128, 160, 192)
FINE_VALID = (192, 192, 192)
FINE_HIDDEN = 3
POOLED = (1, 3, 5)
HIDDEN = 1024
LARGEST_DIGITS = 100
SHARED_DOCSTRINGS = {
    "svhn_arguments": """
input_shape: `(H, W, channels)`. Defaults to `(None, None, 1)`. Images smaller than 54x110 are
    zero-padded at the bottom and right.
{common_arguments}
digits: Largest number of digits. Defaults to 5. Each digit has one more class, "none".
scales: Factors by which the image is resized; predictions are averaged. Defaults to `(1,)`; the
    paper also uses 0.75 and 0.5.
width: Factor of the channels. Defaults to 1.
dropout: Dropout rate after convolutions. Defaults to 0.2, the paper's.
hidden_dropout: Dropout rate after 1x1 convolutions. Defaults to 0.5, the paper's for fully
    connected layers.
weight_decay: Weight decay of all kernels, as it appears in their gradients. Defaults to 0, because
    the paper mentions none.
""",
    "svhn_returns": """
Returns:
    A `keras.Model` from images in `[0, 1]` to a list of `1 + digits` float32 probabilities
    (log-probabilities with `classifier_activation=None`).

Raises:
    ValueError: For an invalid argument.
""",
}


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
    """Coarse layers for house numbers and their top: coarse and soft-attention models of table 2.

    Seven convolutions without padding: 5x5 with 24, 48 and 128 channels and stride 2, 4x5 with 192
    and stride 1x2, 1x4 with 192, two 1x1 with 1024. Each position of the map has a receptive field
    of 53x109 pixels and predicts the length of the number and each digit. The model returns the
    averages over positions: a list of outputs named `length`, `digit1` and so on. Labels are lists
    too:

        model.compile("sgd", "sparse_categorical_crossentropy")
        dataset = dataset.map(lambda x, y: (x, ka.ops.split_sequence_labels(y)))

    2,131,292 trainable parameters. `get_layer("coarse")` and `get_layer("top")` are models for
    images and maps of any size; see `SVHNDCN`.

    Args:
        {svhn_arguments}
        weighting: Weights of the positions: `"mean"` (default, equation 11), or `"entropy"`, the
            soft attention of equations 12 to 14.

    {svhn_returns}

    Example:
    >>> model = SVHNCoarse(width=0.25)
    >>> outputs = model(keras.ops.ones((2, 64, 128, 1)))
    >>> [tuple(output.shape) for output in outputs[:2]], model.output_names[:2]
    ([(2, 5), (2, 11)], ['length', 'digit1'])
    """
    parts = MultiDigitParts(width, dropout, hidden_dropout, weight_decay_regularizer(weight_decay))
    inputs = image_input(input_shape, GRAYSCALE, input_tensor)
    coarse = parts.coarse(inputs.shape[channel_axis()])
    top = parts.top(output_sizes(classes, digits), weighting, "coarse")
    x = _outputs(inputs, coarse, top, scales, include_top, classifier_activation, pooling)
    return build_model(inputs, input_tensor, x, name, weights)


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
    """Fine layers for house numbers and their top, the fine model of table 2.

    Eleven convolutions: 5x5 with 48, 64, 128, 160 and 192 channels, padding, and 2x2 max pooling
    (rounded up) after the first, third and fifth; three 3x3 with 192 and three 1x1 with 1024
    channels without padding. An image of 54x110 pixels gives a map of 1x8 vectors. The outputs are
    those of `SVHNCoarse`. 4,917,628 trainable parameters.

    Args:
        {svhn_arguments}
        weighting: Weights of the positions: `"mean"` (default) or `"entropy"`, see `SVHNCoarse`.

    {svhn_returns}

    Example:
    >>> SVHNFine((54, 110, 1), width=0.25, include_top=False).output_shape
    (None, 1, 8, 256)
    """
    parts = MultiDigitParts(width, dropout, hidden_dropout, weight_decay_regularizer(weight_decay))
    inputs = image_input(input_shape, GRAYSCALE, input_tensor)
    fine = parts.fine(inputs.shape[channel_axis()])
    top = parts.top(output_sizes(classes, digits), weighting, "fine")
    x = _outputs(inputs, fine, top, scales, include_top, classifier_activation, pooling)
    return build_model(inputs, input_tensor, x, name, weights)


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
    """Dynamic Capacity Network for house numbers: fine layers read six patches of the image.

    The patches are those to which the entropy of the digits in the coarse prediction is most
    sensitive (equation 10). Only the fine predictions are averaged; the coarse layers select the
    patches and receive no gradient. Both models are trained separately and then joined, with shared
    weights:

        coarse, fine = SVHNCoarse(), SVHNFine()  # compile and fit each
        model = SVHNDCN(coarse=coarse, fine=fine, patches=3, scales=(1.0, 0.75, 0.5))

    7,048,920 trainable parameters. The layer `"refiner"` is a `layers.PatchRefiner`. With
    `include_top=False` the output is a map of the predictions of all patches,
    `(patches, 1, all classes)`.

    Args:
        {svhn_arguments}
        patches: Number of patches at each scale. Defaults to 6, the paper's for one scale; it uses
            3 for two and three scales. A fixed size of the image must have at least as many
            positions; with unknown sizes all positions are read if there are fewer.
        weighting: Weights of the patches: `"mean"` (default) or `"entropy"` (equations 12 to 14).
        coarse: A trained `SVHNCoarse`, with its own classes, digits, width, dropout rates and
            weight decay. None creates new layers.
        fine: A trained `SVHNFine`, likewise. None creates new layers. If both are models, they must
            have the same classes and digits.

    {svhn_returns}

    Example:
    >>> model = SVHNDCN(width=0.25, patches=3, scales=(1.0, 0.5))
    >>> decode_digits(model(keras.ops.ones((2, 80, 200, 1))))[0].isdigit()
    True
    """
    parts = MultiDigitParts(width, dropout, hidden_dropout, weight_decay_regularizer(weight_decay))
    inputs = image_input(input_shape, GRAYSCALE, input_tensor)
    channels = inputs.shape[channel_axis()]
    sizes = _sizes(output_sizes(classes, digits), coarse, fine)
    coarse_layers = _part(coarse, "coarse") or parts.coarse(channels)
    fine_layers = _part(fine, "fine") or parts.fine(channels)
    refiner = PatchRefiner(
        coarse_layers,
        joined_outputs(
            fine_layers, _part(fine, "top") or parts.top(sizes, "mean", "fine"), channels
        ),
        _part(coarse, "top") or parts.top(sizes, "mean", "coarse"),
        patches,
        PATCH,
        combine="fine_only",
        hint_weight=0.0,
        fine_top=split_outputs(sizes, weighting),
        outputs=tuple(range(1, len(sizes))),
        include_top=include_top,
        name="refiner",
    )
    x = at_scales(inputs, checked_scales(scales, include_top), refiner)
    x = named_outputs(x, classifier_activation) if include_top else pool(x[0], pooling)
    return build_model(inputs, input_tensor, x, name, weights)


def decode_digits(outputs: Sequence[Any]) -> list[str]:
    """Decodes the outputs of a network for house numbers, or labels, to strings.

    Args:
        outputs: Outputs or predictions of the model, a list of probabilities; or integer labels of
            shape `(B, 1 + digits)`: the length minus 1, then the digits.

    Returns:
        The most probable number of each image (equation 9), or the number in each label.

    Example:
    >>> decode_digits(np.array([[1, 4, 2, 10], [0, 7, 10, 10]]))
    ['42', '7']
    """
    if not isinstance(outputs, (list, tuple)):
        labels = np.asarray(outputs)
    else:
        labels = keras.ops.convert_to_numpy(most_probable_sequence(outputs))
    return ["".join(map(str, number[1 : 2 + number[0]])) for number in labels.tolist()]


def _outputs(
    inputs: Tensor,
    maps: keras.Model,
    top: keras.Model,
    scales: Any,
    include_top: bool,
    activation: Any,
    pooling: str | None,
) -> Any:
    scales = checked_scales(scales, include_top)
    if not include_top:
        return pool(at_scales(inputs, scales, maps)[0], pooling)
    return named_outputs(at_scales(inputs, scales, lambda x: top(maps(x))), activation)


def _part(model: keras.Model | None, name: str) -> keras.Model | None:
    """Returns a part of a given model."""
    if model is None:
        return None
    if isinstance(model, keras.Model) and name in {layer.name for layer in model.layers}:
        return model.get_layer(name)
    raise ValueError(
        "`coarse` must be an `SVHNCoarse` and `fine` an `SVHNFine`, both with their tops. "
        f"Received: {model!r} without a layer {name!r}"
    )


def _sizes(sizes: tuple[int, ...], *models: keras.Model | None) -> tuple[int, ...]:
    """Returns the number of classes of each output; given models must have the same."""
    tops = [_part(model, "top") for model in models]
    found = {tuple(output.shape[-1] for output in top.outputs) for top in tops if top is not None}
    if len(found) > 1:
        raise ValueError(
            "`coarse` and `fine` must have the same numbers of classes. "
            f"Received: models with {' and '.join(map(str, sorted(found)))} classes"
        )
    return found.pop() if found else sizes


def output_sizes(classes: int, digits: int) -> tuple[int, ...]:
    """Returns the number of classes of each output: the length, then the digits with "none".

    Example:
    >>> output_sizes(10, 5)
    (5, 11, 11, 11, 11, 11)
    """
    if positive_integer("digits", digits) > LARGEST_DIGITS:
        raise ValueError(f"`digits` must be at most {LARGEST_DIGITS}. Received: digits={digits!r}")
    return int(digits), *[positive_integer("classes", classes) + 1] * int(digits)


def output_names(sizes: Sequence[int]) -> list[str]:
    """Returns the names of the outputs.

    Example:
    >>> output_names((2, 11, 11))
    ['length', 'digit1', 'digit2']
    """
    return ["length", *(f"digit{index}" for index in range(1, len(sizes)))]


@dataclass(frozen=True)
class MultiDigitParts:
    """Coarse layers, fine layers and the top: convolutions with ReLU.

    Attributes:
        width: Factor of the channels.
        dropout: Dropout rate after convolutions.
        hidden_dropout: Dropout rate after 1x1 convolutions, the "fully connected" layers.
        decay: Regularizer of the kernels.
    """

    width: float = 1.0
    dropout: float = 0.2
    hidden_dropout: float = 0.5
    decay: Any = None

    def __post_init__(self) -> None:
        validate_width(self.width, COARSE[0][0])
        fraction("dropout", self.dropout)
        fraction("hidden_dropout", self.hidden_dropout)

    def coarse(self, channels: int) -> keras.Model:
        """Returns a model from images to a map with strides 8x16 and receptive fields of 53x109."""
        x = images = open_input(channels, "images")
        for index, (filters, kernel_size, strides) in enumerate(COARSE, start=1):
            x = self._layer(x, filters, kernel_size, f"coarse_conv{index}", strides=strides)
        x = self._hidden(x, "coarse", COARSE_HIDDEN)
        return keras.Model(images, x, name="coarse")

    def fine(self, channels: int) -> keras.Model:
        """Returns a model from images to a map with stride 8; 54x110 pixels give 1x8 vectors."""
        x = images = open_input(channels, "images")
        for index, filters in enumerate(FINE_PADDED, start=1):
            x = self._layer(x, filters, 5, f"fine_conv{index}", padding="same", pool=index)
        for index, filters in enumerate(FINE_VALID, start=len(FINE_PADDED) + 1):
            x = self._layer(x, filters, 3, f"fine_conv{index}")
        x = self._hidden(x, "fine", FINE_HIDDEN)
        return keras.Model(images, x, name="fine")

    def top(self, sizes: Sequence[int], weighting: str, prefix: str) -> keras.Model:
        """Returns a model from a map of vectors to the averages of each output over positions.

        Args:
            sizes: Number of classes of each output.
            weighting: Weights of the positions.
            prefix: Prefix of the layer names.
        """
        features = open_input(self._channels(HIDDEN), "features")
        # One convolution for all outputs, because thin convolutions would cost as much each.
        options: dict[str, Any] = {"padding": "valid", "use_bias": True, "dtype": "float32"}
        x = convolution(sum(sizes), 1, self.decay, f"{prefix}_outputs", **options)(features)
        outputs = []
        for name, part in zip(output_names(sizes), split_channels(x, sizes), strict=True):
            softmax = keras.layers.Softmax(
                channel_axis(), dtype="float32", name=f"{prefix}_{name}_map"
            )
            outputs.append(pooling_layer(weighting, f"{prefix}_{name}_mean")(softmax(part)))
        return keras.Model(features, outputs, name="top")

    def _channels(self, filters: int) -> int:
        return int(filters * float(self.width))

    def _layer(
        self,
        x: Tensor,
        filters: int,
        kernel_size: Any,
        name: str,
        pool: int = 0,
        **options: Any,
    ) -> Tensor:
        """Adds a convolution with ReLU, pooling for some layers, and dropout."""
        x = self._convolution(x, filters, kernel_size, name, **options)
        if pool in POOLED:
            # "same" rounds up: 54x110 pixels give 7x14 positions, then 1x8 without padding.
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"{name}_pool")(x)
        return add_dropout(x, self.dropout, name)

    def _hidden(self, x: Tensor, part: str, count: int) -> Tensor:
        for index in range(1, count + 1):
            name = f"{part}_hidden{index}"
            x = add_dropout(self._convolution(x, HIDDEN, 1, name), self.hidden_dropout, name)
        return x

    def _convolution(
        self, x: Tensor, filters: int, kernel_size: Any, name: str, **options: Any
    ) -> Tensor:
        options = {"padding": "valid", "use_bias": True, "activation": "relu", **options}
        return convolution(self._channels(filters), kernel_size, self.decay, name, **options)(x)


def pooling_layer(weighting: str, name: str) -> keras.Layer:
    """Returns average pooling over positions, with equal weights or by the entropy."""
    if one_of("weighting", weighting, ("mean", "entropy")) == "mean":
        return keras.layers.GlobalAveragePooling2D(dtype="float32", name=name)
    return EntropyPooling(dtype="float32", name=name)


def joined_outputs(fine: keras.Model, top: keras.Model, channels: int) -> keras.Model:
    """Returns a model from a patch to one vector with all outputs of its top."""
    patch = keras.Input(map_shape(None, PATCH, channels)[1:], name="patch")
    outputs = keras.tree.flatten(top(fine(patch)))
    x = keras.layers.Concatenate(axis=-1, dtype="float32", name="outputs")(outputs)
    return keras.Model(patch, x, name="fine_outputs")


def split_outputs(sizes: Sequence[int], weighting: str) -> keras.Model:
    """Returns a model from the joined outputs of patches to their averages over the patches."""
    x = open_input(sum(sizes), "outputs")
    parts = [
        pooling_layer(weighting, f"{name}_mean")(part)
        for name, part in zip(output_names(sizes), split_channels(x, sizes), strict=True)
    ]
    return keras.Model(x, parts, name="fine_top")


def split_channels(maps: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Returns the channels of each output in maps of joined outputs."""
    stops = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    spans = [slice(stop - size, stop) for stop, size in zip(stops, sizes, strict=True)]
    return [maps[..., span] if channel_axis() == -1 else maps[:, span] for span in spans]


def at_scales(
    images: Tensor, scales: Sequence[float], network: Callable[[Tensor], Sequence[Tensor]]
) -> list[Tensor]:
    """Averages the outputs of a network over several image sizes.

    Args:
        images: Images of any size; images smaller than a patch are zero-padded.
        scales: Factors of the image size.
        network: Function from images to a list of outputs.
    """
    resized = [_resized(images, scale, index) for index, scale in enumerate(scales, start=1)]
    outputs = [keras.tree.flatten(network(x)) for x in resized]
    if len(outputs) == 1:
        return outputs[0]
    pairs = zip(*outputs, strict=True)
    return [keras.layers.Average(dtype="float32")(list(output)) for output in pairs]


def checked_scales(scales: Any, include_top: bool) -> tuple[float, ...]:
    """Validates `scales`: only one is allowed without a top, because maps are not averaged."""
    values = tuple(scales) if isinstance(scales, (list, tuple)) else ()
    if not values or (len(values) > 1 and not include_top):
        raise ValueError(
            "`scales` must be a list of one or more numbers above 0, of one number with "
            f"`include_top=False`. Received: scales={scales!r}"
        )
    return tuple(positive_number("scales", scale) for scale in values)


def named_outputs(outputs: Sequence[Tensor], activation: Any) -> list[Tensor]:
    """Returns the named outputs of a network: probabilities, or log-probabilities for None."""
    activation = getattr(activation, "__name__", activation)
    one_of("classifier_activation", activation, ("softmax", None))
    if activation is None:
        outputs = [ops.log(ops.maximum(output, SMALLEST_PROBABILITY)) for output in outputs]
    return [
        keras.layers.Activation("linear", dtype="float32", name=name)(output)
        for name, output in zip(output_names(outputs), outputs, strict=True)
    ]


def _resized(images: Tensor, scale: float, index: int) -> Tensor:
    if scale != 1.0:
        images = ResizeByFactor(scale, name=f"scaled{index}")(images)
    return PadToMinimumSize(PATCH, name=f"padded{index}")(images)


class _ResizingLayer(ConfigurableLayer, ABC):
    """Base class of layers that change the height and the width only."""

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format)

    @abstractmethod
    def new_side(self, axis: int, side: Any) -> Any:
        """Returns the new height (axis 0) or width (axis 1): an integer or a tensor."""

    def sides_of(self, shape: Any) -> tuple[Any, ...]:
        """Returns the new height and width for an input shape; None stays None."""
        sides = enumerate(spatial_shape(shape, self.data_format))
        return tuple(side if side is None else self.new_side(axis, side) for axis, side in sides)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels = input_shape[channel_axis(self.data_format)]
        return map_shape(input_shape[0], self.sides_of(input_shape), channels, self.data_format)


@keras.saving.register_keras_serializable(package="keras_attention")
class ResizeByFactor(_ResizingLayer):
    """Resizes images by a factor with bilinear interpolation.

    Args:
        scale: Factor of the height and width, which are rounded to whole pixels.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first; any H and W.

    Example:
    >>> tuple(ResizeByFactor(0.75)(ops.ones((1, 8, 20, 1))).shape)
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


@keras.saving.register_keras_serializable(package="keras_attention")
class PadToMinimumSize(_ResizingLayer):
    """Pads images with zeros at the bottom and right to a minimum size.

    Args:
        minimum: Height and width in pixels, one integer for both.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first; any H and W.

    Example:
    >>> tuple(PadToMinimumSize((6, 10))(ops.ones((1, 8, 8, 1))).shape)
    (1, 8, 10, 1)
    """

    def __init__(self, minimum: int | Sequence[int], data_format: str | None = None, **kwargs: Any):
        super().__init__(data_format, **kwargs)
        self.minimum = positive_integers("minimum", minimum, 2)

    def new_side(self, axis: int, side: Any) -> Any:
        minimum = self.minimum[axis]
        return max(side, minimum) if isinstance(side, int) else ops.maximum(side, minimum)

    def call(self, images: Tensor) -> Tensor:
        shape = ops.shape(images)
        amounts: list[Any] = [(0, 0)] * 4
        axes = spatial_axes(4, self.data_format)
        for axis, side in zip(axes, self.sides_of(shape), strict=True):
            amounts[axis] = (0, side - shape[axis])
        return ops.pad(images, amounts)


@keras.saving.register_keras_serializable(package="keras_attention")
class EntropyPooling(ConfigurableLayer):
    """Averages probabilities over positions with weights of one over the entropy (equation 12).

    Call arguments:
        inputs: Probabilities at each position.
        return_attention: If True, the weights `(B, H, W)` are returned too, in float32.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first.

    Output shape:
        `(B, C)`, in float32 or higher precision.

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
        self.data_format = standardize_data_format(data_format)

    def call(self, inputs: Tensor, return_attention: bool = False) -> Any:
        inputs = at_least_float32(inputs)
        weights = inverse_entropy_weights(inputs, self.data_format)
        each = ops.cast(ops.expand_dims(weights, channel_axis(self.data_format)), inputs.dtype)
        pooled = ops.sum(inputs * each, axis=spatial_axes(4, self.data_format))
        return (pooled, weights) if return_attention else pooled

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], input_shape[channel_axis(self.data_format)]

    def compute_output_spec(self, inputs: Tensor, return_attention: bool = False) -> Any:
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        pooled = keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype)
        sides = spatial_shape(inputs.shape, self.data_format)
        weights = keras.KerasTensor((inputs.shape[0], *sides), "float32")
        return (pooled, weights) if return_attention else pooled
