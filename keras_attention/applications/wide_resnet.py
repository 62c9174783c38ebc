"""Wide residual networks, with and without attention modules.

References: Zagoruyko and Komodakis, Wide Residual Networks (2016); Rodriguez et al., Attend and
Rectify (2018), sections 4.3 and 4.4, tables 1 and 2; Zagoruyko and Komodakis, Paying More Attention
to Attention (2017), section 4.1.
"""

from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    add_dropout,
    batch_norm_relu,
    build_model,
    deepest_maps,
    image_input,
    pool,
    pooled_classifier,
    rectified_classifier,
    residual_convolution,
    validate_width,
    weight_decay_regularizer,
)
from keras_attention.applications.registry import register
from keras_attention.layers.attend_rectify import AttendRectifyHead
from keras_attention.utils.data_format import channel_axis
from keras_attention.utils.validation import fraction, is_integer, one_of

CIFAR = (32, 32, 3)
VARIANTS = ("warn", "at")
STEM_CHANNELS = 16
GROUPS = 3
# The deepest residual networks that were trained have about as many layers: He et al. (2016).
LARGEST_DEPTH = 1198


@register
def WideResNet(
    depth: int = 28,
    width: float = 10,
    variant: str = "warn",
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "wide_resnet",
    *,
    dropout: float = 0.0,
    weight_decay: float = 5e-4,
) -> keras.Model:
    """Wide residual network: three groups of blocks with 16, 32 and 64 times `width` channels.

    Batch normalization and ReLU precede each convolution; global average pooling. 36,479,194
    trainable parameters for depth 28, width 10 and 10 classes at 32x32x3.

    Layers for attention transfer: `group1`, `group2` and `group3`, the outputs of the groups before
    the next normalization and ReLU, as in the authors' code.

    Args:
        depth: Number of layers with weights, 6 n + 4. Defaults to 28.
        width: Factor of the channels, which may be below 1. Defaults to 10.
        variant: `"warn"` (default): the 1x1 convolution of a shortcut reads the input of the block,
            as in the code of Attend and Rectify. `"at"`: it reads the input after normalization and
            ReLU, as in the code of Attention Transfer.
        input_shape: `(H, W, channels)`. Defaults to `(32, 32, 3)`; H and W may be None.
        {common_arguments}
        dropout: Dropout rate between the convolutions of a block. Defaults to 0.
        weight_decay: Weight decay of all weights, as it appears in their gradients. Defaults to
            5e-4, as in both papers.

    {returns}

    Example:
    >>> WideResNet(16, 1).count_params()
    175994
    >>> student = WideResNet(16, 1, variant="at")
    >>> [student.get_layer(f"group{group}").output.shape[1:] for group in (1, 2, 3)]
    [(32, 32, 16), (16, 16, 32), (8, 8, 64)]
    """
    decay = weight_decay_regularizer(weight_decay)
    blocks = WideBlocks(depth, width, variant, dropout, decay=decay)
    inputs = image_input(input_shape, CIFAR, input_tensor)
    x = blocks.features(inputs)[1][-1]
    top = (include_top, classes, classifier_activation, pooling)
    x = pooled_classifier(x, *top, decay, bias_regularizer=decay)
    return build_model(inputs, input_tensor, x, name, weights)


@register
def WARN(
    depth: int = 28,
    width: float = 10,
    attention_depth: int = 3,
    attention_width: int = 4,
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "warn",
    *,
    space: str = "log",
    gates: str = "softmax",
    gate_normalization: bool = True,
    gate_depth: int = 1,
    mask: str = "softmax",
    overlap_weight: float = 1e-3,
    gradient_scale: float = 1.0,
    dropout: float = 0.0,
    weight_decay: float = 5e-4,
) -> keras.Model:
    """Wide residual network with attention modules after its groups (Attend and Rectify).

    As in the authors' code, normalization and ReLU follow the first convolution, unlike in
    `WideResNet`. 36,965,634 trainable parameters for depth 28, width 10, 3 modules with 4 heads and
    10 classes at 32x32x3.

    Layers for attention transfer: `group1`, `group2` and `group3`, as in `WideResNet`.

    To train as the paper does, build the model with `classifier_activation=None`. A model for
    training can also share the weights of a model for serving:

        model = WARN(28, 10)
        training_model = keras.Model(model.input, model.get_layer("rectify").output)

    Args:
        depth: Number of layers with weights, 6 n + 4. Defaults to 28.
        width: Factor of the channels, which may be below 1. Defaults to 10.
        attention_depth: Number of attention modules, 1 to 3, from the last group backwards.
            Defaults to 3.
        attention_width: Number of heads in each module. Defaults to 4.
        input_shape: `(H, W, channels)`. Defaults to `(32, 32, 3)`; H and W may be None.
        {common_arguments}
        {rectify_arguments}
        gate_depth: 1, or 2 for a hidden layer before the gates.
        dropout: Dropout rate between the convolutions of a block. Defaults to 0.
        weight_decay: Weight decay of all weights, as it appears in their gradients. Defaults to
            5e-4, as in the paper.

    {returns}

    Example:
    >>> model = WARN(10, 1, attention_depth=2, input_shape=(None, None, 3))
    >>> [tuple(maps.shape) for maps in model.get_layer("rectify").modules[0].get_weights()]
    [(3, 3, 64, 4), (3, 3, 64, 40), (3, 3, 64, 4)]
    """
    decay = weight_decay_regularizer(weight_decay)
    blocks = WideBlocks(depth, width, "warn", dropout, True, decay)
    inputs = image_input(input_shape, CIFAR, input_tensor)
    maps = blocks.features(inputs)[1]
    if not include_top:
        return build_model(inputs, input_tensor, pool(maps[-1], pooling), name, weights)
    head = AttendRectifyHead(
        classes,
        attention_width,
        space,
        gates,
        gate_normalization,
        mask,
        overlap_weight,
        gate_depth=gate_depth,
        gradient_scale=gradient_scale,
        regularizer=decay,
        name="rectify",
    )
    features = pool(maps[-1], "avg")
    attended_maps = deepest_maps(attention_depth, maps)
    x = rectified_classifier(attended_maps, features, features, classifier_activation, head)
    return build_model(inputs, input_tensor, x, name, weights)


@dataclass(frozen=True)
class WideBlocks:
    """Feature extractor with three groups of pre-activation residual blocks.

    Attributes:
        depth: Number of layers with weights, 6 n + 4 for n blocks per group.
        width: Factor of the channels of the groups, 16, 32 and 64.
        variant: Input of a shortcut's 1x1 convolution: the input of the block (`"warn"`), or the
            same after normalization and ReLU (`"at"`).
        dropout: Dropout rate between the convolutions of a block.
        normalized_stem: If True, normalization and ReLU follow the first convolution.
        decay: Regularizer of all weights.
    """

    depth: int
    width: float
    variant: str = "warn"
    dropout: float = 0.0
    normalized_stem: bool = False
    decay: Any = None

    def __post_init__(self) -> None:
        if (
            not is_integer(self.depth)
            or not 10 <= self.depth <= LARGEST_DEPTH
            or (self.depth - 4) % 6
        ):
            raise ValueError(
                f"`depth` must be 6 n + 4: 10, 16, 22, 28, 34, 40, ... {LARGEST_DEPTH}. "
                f"Received: depth={self.depth!r}"
            )
        one_of("variant", self.variant, VARIANTS)
        fraction("dropout", self.dropout)
        validate_width(self.width, STEM_CHANNELS)

    def features(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the outputs of the groups, and the same after normalization and ReLU."""
        x = self._convolution(images, STEM_CHANNELS, 3, 1, "conv0")
        if self.normalized_stem:
            x = batch_norm_relu(x, "conv0", self.decay)
        raw, activated_maps = [], []
        count = (self.depth - 4) // 6
        for group in range(1, GROUPS + 1):
            for block in range(1, count + 1):
                strides = 2 if group > 1 and block == 1 else 1
                name = f"group{group}_block{block}"
                activated = batch_norm_relu(x, f"{name}_pre", self.decay)
                if group > 1 and block == 1:
                    activated_maps.append(activated)
                total = f"group{group}" if block == count else f"{name}_add"
                x = self._block(x, activated, self._channels(group), strides, name, total)
            raw.append(x)
        return raw, [*activated_maps, batch_norm_relu(x, f"group{GROUPS}", self.decay)]

    def _channels(self, group: int) -> int:
        return int(STEM_CHANNELS * 2 ** (group - 1) * float(self.width))

    def _block(
        self, x: Tensor, activated: Tensor, filters: int, strides: int, name: str, total: str
    ) -> Tensor:
        shortcut = x
        if x.shape[channel_axis()] != filters or strides > 1:
            read = x if self.variant == "warn" else activated
            shortcut = self._convolution(read, filters, 1, strides, f"{name}_shortcut")
        y = self._convolution(activated, filters, 3, strides, f"{name}_conv1")
        y = batch_norm_relu(y, f"{name}_conv1", self.decay)
        y = add_dropout(y, self.dropout, name)
        y = self._convolution(y, filters, 3, 1, f"{name}_conv2")
        return keras.layers.Add(name=total)([shortcut, y])

    def _convolution(self, x: Tensor, filters: int, size: int, strides: int, name: str) -> Tensor:
        return residual_convolution(x, filters, size, strides, self.decay, name)
