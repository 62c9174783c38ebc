"""Dynamic Capacity Networks for digits in clutter, and the coarse and the fine model alone.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), sections 2 and 4.1, appendix 6.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    channel_axis,
    classifier,
    decay_of_all_weights,
    finish,
    image_input,
    normalized,
    pool,
)
from keras_attention.applications.registry import register
from keras_attention.layers.dynamic_capacity import PatchRefiner
from keras_attention.utils.validation import one_of, positive_integer

CLUTTERED = (100, 100, 1)
VARIANTS = ("paper", "code")
# Of the vectors that coarse and fine layers make.
DEPTH = 24
# Filters and kernel sizes, all with stride 2.
COARSE = ((12, 7), (DEPTH, 3))
FINE_LAYERS = 5
# What has a rim of zeros: as the paper counts, their inputs; in the code, their outputs.
PADDED = (2, 3, 4)
POOLED = (2, 4)


@register
def DCNCoarse(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "dcn_coarse",
    *,
    variant: str = "paper",
    weight_decay: float = 5e-4,
) -> keras.Model:
    """The coarse layers of Dynamic Capacity Networks and their top: table 1's coarse model.

    Convolutions of 7x7 and 3x3 with stride 2, 12 and 24 channels; then the top, of 4x4 with stride
    2 and 96, whose maximum over the places is classified. 41,278 trainable parameters.

    Its parts, models for images and maps of any size, can be joined with those of others:
    `get_layer("coarse")` and `get_layer("top")`.

    Args:
        input_shape: `(H, W, channels)`; `(100, 100, 1)` by default. H and W may be None.
        classes: Units of the last layer; 10 by default.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add the top.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        variant: `"paper"` (default) or `"code"`, the authors' normalization: see `DCN`.
        weight_decay: Of all kernels, in their gradients; 5e-4 by default, that of the authors'
            code.

    Returns:
        A `keras.Model` from images to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> DCNCoarse().get_layer("coarse").output.shape, DCNCoarse(include_top=False).output_shape
    ((None, None, None, 24), (None, 23, 23, 24))
    """
    parts = CapacityParts(variant, decay_of_all_weights(weight_decay))
    inputs = image_input(input_shape, CLUTTERED, input_tensor)
    x = parts.coarse(inputs.shape[channel_axis()])(inputs)
    top = (classes, classifier_activation)
    x = parts.top(*top)(x) if include_top else pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


@register
def DCNFine(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "dcn_fine",
    *,
    variant: str = "paper",
    weight_decay: float = 5e-4,
) -> keras.Model:
    """The fine layers of Dynamic Capacity Networks and their top: table 1's fine model.

    Five 3x3 convolutions of 24 channels, with 2x2 pooling behind the second and the fourth; then
    the top of `DCNCoarse`. 59,218 trainable parameters.

    Its parts, models for images and maps of any size, can be joined with those of others:
    `get_layer("fine")` and `get_layer("top")`.

    Args:
        input_shape: `(H, W, channels)`; `(100, 100, 1)` by default. H and W may be None.
        classes: Units of the last layer; 10 by default.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add the top.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        variant: `"paper"` (default) or `"code"`, the authors' normalization and zeros: see `DCN`.
        weight_decay: Of all kernels, in their gradients; 5e-4 by default, that of the authors'
            code.

    Returns:
        A `keras.Model` from images to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> [DCNFine((side, side, 1), include_top=False).output_shape for side in (100, 14)]
    [(None, 22, 22, 24), (None, 1, 1, 24)]
    """
    parts = CapacityParts(variant, decay_of_all_weights(weight_decay))
    inputs = image_input(input_shape, CLUTTERED, input_tensor)
    x = parts.fine(inputs.shape[channel_axis()])(inputs)
    top = (classes, classifier_activation)
    x = parts.top(*top)(x) if include_top else pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


@register
def DCN(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "dcn",
    *,
    patches: int = 8,
    patch_size: int | Sequence[int] | None = 14,
    hint_weight: float = 0.01,
    convex: bool = False,
    jitter: int = 0,
    combine: str = "swap",
    saliency_training: bool = False,
    variant: str = "paper",
    coarse: keras.Model | None = None,
    fine: keras.Model | None = None,
    top: keras.Model | None = None,
    fine_top: keras.Model | None = None,
    fused: bool = True,
    weight_decay: float = 5e-4,
) -> keras.Model:
    """A Dynamic Capacity Network: a coarse look at the image, a fine one at eight patches.

    The layers of `DCNCoarse`, and those of `DCNFine` for the patches with which the entropy of the
    first answer changes most; see `layers.PatchRefiner`. 62,470 trainable parameters, with
    `variant="code"` the 62,228 of the authors' code.

    Coarse and fine models that were trained apart are joined by their parts, and so are any three
    Keras models that fit:

        joined = DCN(
            coarse=coarse_model.get_layer("coarse"),
            fine=fine_model.get_layer("fine"),
            top=fine_model.get_layer("top"),
        )

    The layer `"refiner"` has them as `coarse`, `fine` and `top`.

    Args:
        input_shape: `(H, W, channels)`; `(100, 100, 1)` by default. H and W may be None.
        classes: Units of the last layer; 10 by default. A given `top` has its own.
        classifier_activation: Activation of the last layer; None returns logits. A given `top` has
            its own.
        include_top: Whether to add the top to the refined map. It chooses the patches in any case.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the refined map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        patches: How many places are looked at finely; 8 by default, the paper's.
        patch_size: Height and width of a patch, one integer for both; 14 by default, the paper's.
            None for what a place of the coarse map sees.
        hint_weight: Of the squared distance of coarse from fine vectors, added to the loss for the
            coarse layers; 0.01 by default, as in the authors' code. 0 is "without hints".
        convex: Whether the loss counts `1 - hint_weight` times for the coarse layers, as appendix
            6.1 has it; False by default, as in the authors' code.
        jitter: In training patches start up to so many pixels earlier; 0 by default, 1 in the
            authors' code.
        combine: `"swap"` (default), or `"fine_only"`, in which `fine_top` reads the fine vectors
            alone.
        saliency_training: Whether in training the patches are chosen by the statistics of the
            batch, as in the authors' code; False by default.
        variant: `"paper"` (default); or `"code"`, in which normalization has no factors (but for
            the logits, which have no bias), and zeros surround the outputs of fine layers 2 to 4,
            not their inputs.
        coarse: From images to a map of vectors; None for new layers.
        fine: From a patch to one vector of that length; None for new layers.
        top: From the map to probabilities or logits; None for new layers.
        fine_top: With `"fine_only"`, from the vectors, a map `(patches, 1, channels)`, to what
            `top` returns; None for a given `top`.
        fused: Whether one image at a time, of known sides, is compiled by XLA; True by default.
        weight_decay: Of all kernels of new layers, in their gradients; 5e-4 by default, that of the
            authors' code.

    Returns:
        A `keras.Model` from images to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = DCN((None, None, 1), patches=4)
    >>> tuple(model(keras.ops.ones((2, 64, 80, 1))).shape), model.get_layer("refiner").place.offset
    ((2, 10), (1, 1))
    """
    parts = CapacityParts(variant, decay_of_all_weights(weight_decay))
    inputs = image_input(input_shape, CLUTTERED, input_tensor)
    channels = inputs.shape[channel_axis()]
    if combine == "fine_only" and top is None and fine_top is None:
        raise ValueError(
            "`combine='fine_only'` needs `fine_top`, or a `top` that reads a map of patches x 1: "
            f"that of this network reads 4x4 places. Received: fine_top={fine_top!r}"
        )
    refiner = PatchRefiner(
        parts.coarse(channels) if coarse is None else coarse,
        parts.fine(channels) if fine is None else fine,
        parts.top(classes, classifier_activation) if top is None else top,
        patches,
        patch_size,
        combine=combine,
        hint_weight=hint_weight,
        convex=convex,
        jitter=jitter,
        fine_top=fine_top,
        saliency_training=saliency_training,
        epsilon=1e-8 if variant == "code" else 0.0,
        fused=fused,
        include_top=include_top,
        name="refiner",
    )
    x = refiner(inputs)
    return finish(inputs, input_tensor, x if include_top else pool(x, pooling), name, weights)


def open_input(channels: int, name: str) -> Tensor:
    """The input of a part: a map with so many channels, of any size."""
    sides: tuple[int | None, ...] = (None, None)
    shape = (*sides, channels) if channel_axis() == -1 else (channels, *sides)
    return keras.Input(shape, name=name)


@dataclass(frozen=True)
class CapacityParts:
    """Coarse layers, fine layers and the top, of convolutions with normalization and ReLU.

    Attributes:
        variant: `"paper"`, or `"code"`: normalization without factors but for the logits, which
            have it instead of a bias, and zeros around the outputs of fine layers 2 to 4 instead
            of their inputs.
        decay: Regularizer of the kernels.
    """

    variant: str
    decay: Any = None

    def __post_init__(self) -> None:
        one_of("variant", self.variant, VARIANTS)

    def coarse(self, channels: int) -> keras.Model:
        """From images to a map with one place for 4x4 pixels, each of which sees 11x11."""
        x = images = open_input(channels, "images")
        for index, (filters, kernel_size) in enumerate(COARSE, start=1):
            x = self._layer(x, filters, kernel_size, f"coarse_conv{index}", strides=2)
        return keras.Model(images, x, name="coarse")

    def fine(self, channels: int) -> keras.Model:
        """From images to a map with one place for 4x4 pixels; of 14x14 pixels one vector."""
        x = images = open_input(channels, "images")
        for index in range(1, FINE_LAYERS + 1):
            name = f"fine_conv{index}"
            padded = index in PADDED
            padding = "same" if padded and self.variant == "paper" else "valid"
            x = self._layer(x, DEPTH, 3, name, padding=padding)
            if padded and self.variant == "code":
                x = keras.layers.ZeroPadding2D(1, name=f"{name}_zeros")(x)
            if index in POOLED:
                x = keras.layers.MaxPooling2D(2, name=f"fine_pool{index // 2}")(x)
        return keras.Model(images, x, name="fine")

    def top(self, classes: int, activation: Any) -> keras.Model:
        """From a map of vectors, 4x4 or more, to classes."""
        features = open_input(DEPTH, "features")
        x = pool(self._layer(features, 96, 4, "top_conv1", strides=2), "max")
        if self.variant == "paper":
            x = classifier(x, classes, activation, self.decay)
        else:
            x = self._normalized_classifier(x, classes, activation)
        return keras.Model(features, x, name="top")

    def _layer(
        self,
        x: Tensor,
        filters: int,
        kernel_size: int,
        name: str,
        strides: int = 1,
        padding: str = "valid",
    ) -> Tensor:
        """Convolution, normalization and ReLU."""
        x = keras.layers.Conv2D(
            filters,
            kernel_size,
            strides,
            padding,
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer=self.decay,
            name=name,
        )(x)
        if self.variant == "paper":
            return normalized(x, name)
        x = _normalization(channel_axis(), name, scale=False)(x)
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    def _normalized_classifier(self, x: Tensor, classes: int, activation: Any) -> Tensor:
        """A dense layer with normalization for a bias, in float32 whatever the policy."""
        x = keras.layers.Dense(
            positive_integer("classes", classes),
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer=self.decay,
            dtype="float32",
            name="top_logits",
        )(x)
        x = _normalization(-1, "top_logits", scale=True, dtype="float32")(x)
        return keras.layers.Activation(activation, dtype="float32", name="predictions")(x)


def _normalization(axis: int, name: str, scale: bool, **options: Any) -> keras.layers.Layer:
    """With the decay and the epsilon of the code."""
    return keras.layers.BatchNormalization(
        axis, momentum=0.99, epsilon=1e-3, scale=scale, name=f"{name}_bn", **options
    )
