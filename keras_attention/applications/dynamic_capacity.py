"""Dynamic Capacity Networks for cluttered digits, and their coarse and fine models alone.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), sections 2 and 4.1, appendix 6.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
    pool,
    weight_decay_regularizer,
)
from keras_attention.applications.registry import register
from keras_attention.layers.dynamic_capacity import PatchRefiner
from keras_attention.utils.data_format import channel_axis, map_shape
from keras_attention.utils.validation import one_of, positive_integer

CLUTTERED = (100, 100, 1)
VARIANTS = ("paper", "code")
# Length of the feature vectors of coarse and fine layers.
DEPTH = 24
# Filters and kernel sizes, all with stride 2.
COARSE = ((12, 7), (DEPTH, 3))
FINE_LAYERS = 5
# Fine layers with zero padding: of their inputs in the paper, of their outputs in the code.
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
    """Coarse layers of Dynamic Capacity Networks and their top, the coarse model of table 1.

    7x7 and 3x3 convolutions with stride 2, 12 and 24 channels. The top is a 4x4 convolution with
    stride 2 and 96 channels, global max pooling and a classifier. 41,278 trainable parameters.

    `get_layer("coarse")` and `get_layer("top")` are models for images and maps of any size, which
    can be combined with those of other models.

    Args:
        input_shape: `(H, W, channels)`. Defaults to `(100, 100, 1)`; H and W may be None.
        {common_arguments}
        variant: `"paper"` (default), or `"code"` for the normalization of the authors' code, see
            `DCN`.
        weight_decay: Weight decay of all kernels, as it appears in their gradients. Defaults to
            5e-4, as in the authors' code.

    {returns}

    Example:
    >>> DCNCoarse().get_layer("coarse").output.shape, DCNCoarse(include_top=False).output_shape
    ((None, None, None, 24), (None, 23, 23, 24))
    """
    parts = CapacityParts(variant, weight_decay_regularizer(weight_decay))
    inputs = image_input(input_shape, CLUTTERED, input_tensor)
    x = parts.coarse(inputs.shape[channel_axis()])(inputs)
    x = parts.top(classes, classifier_activation)(x) if include_top else pool(x, pooling)
    return build_model(inputs, input_tensor, x, name, weights)


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
    """Fine layers of Dynamic Capacity Networks and their top, the fine model of table 1.

    Five 3x3 convolutions of 24 channels with 2x2 max pooling after the second and the fourth, then
    the top of `DCNCoarse`. 59,218 trainable parameters.

    `get_layer("fine")` and `get_layer("top")` are models for images and maps of any size, which can
    be combined with those of other models.

    Args:
        input_shape: `(H, W, channels)`. Defaults to `(100, 100, 1)`; H and W may be None.
        {common_arguments}
        variant: `"paper"` (default), or `"code"` for the normalization and padding of the authors'
            code, see `DCN`.
        weight_decay: Weight decay of all kernels, as it appears in their gradients. Defaults to
            5e-4, as in the authors' code.

    {returns}

    Example:
    >>> [DCNFine((side, side, 1), include_top=False).output_shape for side in (100, 14)]
    [(None, 22, 22, 24), (None, 1, 1, 24)]
    """
    parts = CapacityParts(variant, weight_decay_regularizer(weight_decay))
    inputs = image_input(input_shape, CLUTTERED, input_tensor)
    x = parts.fine(inputs.shape[channel_axis()])(inputs)
    x = parts.top(classes, classifier_activation)(x) if include_top else pool(x, pooling)
    return build_model(inputs, input_tensor, x, name, weights)


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
    """Dynamic Capacity Network: coarse features for the image, fine features for eight patches.

    It applies the layers of `DCNCoarse` to the image and those of `DCNFine` to the patches to which
    the entropy of the coarse prediction is most sensitive; see `layers.PatchRefiner`. 62,470
    trainable parameters; with `variant="code"` 62,228, as in the authors' code.

    Coarse and fine models that were trained separately, or any Keras models with matching shapes,
    can be combined:

        joined = DCN(
            coarse=coarse_model.get_layer("coarse"),
            fine=fine_model.get_layer("fine"),
            top=fine_model.get_layer("top"),
        )

    The layer `"refiner"` has the attributes `coarse`, `fine` and `top`.

    Args:
        input_shape: `(H, W, channels)`. Defaults to `(100, 100, 1)`; H and W may be None.
        {common_arguments}
        patches: Number of patches. Defaults to 8, the paper's.
        patch_size: Height and width of a patch, or one integer for both. Defaults to 14, the
            paper's. None uses the receptive field of the coarse features.
        hint_weight: Weight of the squared distance between coarse and fine vectors, a loss of the
            coarse layers. Defaults to 0.01, as in the authors' code; 0 means "without hints".
        convex: If True, the task loss is weighted by `1 - hint_weight` for the coarse layers, as in
            appendix 6.1. Defaults to False, as in the authors' code.
        jitter: Largest number of pixels by which patches are shifted up and left in training.
            Defaults to 0; the authors' code uses 1.
        combine: `"swap"` (default), or `"fine_only"`, with which `fine_top` reads only the fine
            vectors.
        saliency_training: If True, patches are selected with batch statistics in training, as in
            the authors' code. Defaults to False.
        variant: `"paper"` (default); or `"code"`, in which normalization has no scale (except for
            the logits, which have no bias), and the outputs of fine layers 2 to 4 are padded in
            place of their inputs.
        coarse: Model from images to a map of vectors. None creates new layers.
        fine: Model from a patch to one vector of that length. None creates new layers.
        top: Model from the map to probabilities or logits, with its own `classes` and
            `classifier_activation`; it also selects the patches. None creates new layers.
        fine_top: With `"fine_only"`, a model from the vectors, a map of shape `(patches, 1,
            channels)`, to the outputs of `top`. None uses the given `top`.
        fused: If True (default), batches of one image with known size are compiled by XLA.
        weight_decay: Weight decay of the kernels of new layers, as it appears in their gradients.
            Defaults to 5e-4, as in the authors' code.

    {returns}

    Example:
    >>> model = DCN((None, None, 1), patches=4)
    >>> tuple(model(keras.ops.ones((2, 64, 80, 1))).shape)
    (2, 10)
    >>> model.get_layer("refiner").patch_grid.offset
    (1, 1)
    """
    parts = CapacityParts(variant, weight_decay_regularizer(weight_decay))
    inputs = image_input(input_shape, CLUTTERED, input_tensor)
    channels = inputs.shape[channel_axis()]
    if combine == "fine_only" and top is None and fine_top is None:
        raise ValueError(
            "`combine='fine_only'` needs `fine_top`, or a `top` that reads a map of patches x 1; "
            f"the default top reads at least 4x4 vectors. Received: fine_top={fine_top!r}"
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
    return build_model(inputs, input_tensor, x if include_top else pool(x, pooling), name, weights)


def open_input(channels: int, name: str) -> Tensor:
    """Returns the input of a part: a map of any size."""
    return keras.Input(map_shape(None, (None, None), channels)[1:], name=name)


@dataclass(frozen=True)
class CapacityParts:
    """Coarse layers, fine layers and the top: convolutions with normalization and ReLU.

    Attributes:
        variant: `"paper"` or `"code"`, see `DCN`.
        decay: Regularizer of the kernels.
    """

    variant: str
    decay: Any = None

    def __post_init__(self) -> None:
        one_of("variant", self.variant, VARIANTS)

    def coarse(self, channels: int) -> keras.Model:
        """Returns a model from images to a map with stride 4 and receptive fields of 11x11."""
        x = images = open_input(channels, "images")
        for index, (filters, kernel_size) in enumerate(COARSE, start=1):
            x = self._layer(x, filters, kernel_size, f"coarse_conv{index}", strides=2)
        return keras.Model(images, x, name="coarse")

    def fine(self, channels: int) -> keras.Model:
        """Returns a model from images to a map with stride 4; 14x14 pixels give one vector."""
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
        """Returns a model from a map of at least 4x4 vectors to classes."""
        features = open_input(DEPTH, "features")
        x = pool(self._layer(features, 96, 4, "top_conv1", strides=2), "max")
        if self.variant == "paper":
            x = classifier(x, classes, activation, self.decay)
        else:
            x = self._normalized_classifier(x, classes, activation)
        return keras.Model(features, x, name="top")

    def _layer(
        self, x: Tensor, filters: int, kernel_size: int, name: str, **options: Any
    ) -> Tensor:
        """Adds convolution, normalization and ReLU."""
        options = {"padding": "valid", **options}
        x = convolution(filters, kernel_size, self.decay, name, **options)(x)
        if self.variant == "paper":
            return batch_norm_relu(x, name)
        x = _normalization(channel_axis(), name, scale=False)(x)
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    def _normalized_classifier(self, x: Tensor, classes: int, activation: Any) -> Tensor:
        """Adds a dense layer with normalization in place of a bias, in float32."""
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
    """Returns batch normalization with the momentum and epsilon of the authors' code."""
    return keras.layers.BatchNormalization(
        axis, momentum=0.99, epsilon=1e-3, scale=scale, name=f"{name}_bn", **options
    )
