"""Wide residual networks, plain and with attention modules.

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
    channel_axis,
    classifier,
    decay_of_all_weights,
    finish,
    image_input,
    normalized,
    pool,
    rectified,
    taps,
)
from keras_attention.applications.registry import register
from keras_attention.layers.attend_rectify import AttendRectifyHead
from keras_attention.limits import checked_weight
from keras_attention.utils.validation import is_integer, one_of, positive_number, share

CIFAR = (32, 32, 3)
VARIANTS = ("warn", "at")
STEM_CHANNELS = 16
GROUPS = 3
# As deep as residual networks were trained: He et al. (2016).
DEEPEST = 1198


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
    """A wide residual network: three groups of residual blocks of 16, 32 and 64 times `width`.

    Normalization and ReLU come before each convolution; the mean of the last map is classified.
    36,479,194 trainable parameters for depth 28, width 10 and 10 classes at 32x32x3.

    Taps for attention transfer: `group1`, `group2` and `group3`, what the groups put out, before
    the next normalization and ReLU, as in the code of Attention Transfer.

    Args:
        depth: Layers with weights, 6 n + 4; 28 by default.
        width: Factor of the channels, also below 1; 10 by default.
        variant: `"warn"` (default), in which the 1x1 convolution of a shortcut reads the block's
            input as it is, as in the code of Attend and Rectify; or `"at"`, in which it reads it
            after normalization and ReLU, as in the code of Attention Transfer.
        input_shape: `(H, W, channels)`; `(32, 32, 3)` by default. H and W may be None.
        classes: Units of the last layer; 10 by default.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add the mean and the dense layer.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        dropout: Rate between the convolutions of a block; 0 by default.
        weight_decay: Of all weights, in their gradients; 5e-4 by default, both papers'.

    Returns:
        A `keras.Model` from images to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> WideResNet(16, 1).count_params()
    175994
    >>> student = WideResNet(16, 1, variant="at")
    >>> [student.get_layer(f"group{group}").output.shape[1:] for group in (1, 2, 3)]
    [(32, 32, 16), (16, 16, 32), (8, 8, 64)]
    """
    decay = decay_of_all_weights(weight_decay)
    blocks = WideBlocks(depth, width, variant, dropout, decay=decay)
    inputs = image_input(input_shape, CIFAR, input_tensor)
    x = blocks.features(inputs)[1][-1]
    if include_top:
        top = (classes, classifier_activation, decay)
        x = classifier(pool(x, "avg"), *top, bias_regularizer=decay)
    else:
        x = pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


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
    """A wide residual network with attention modules after its groups (Attend and Rectify).

    As the authors' code it has a normalization and ReLU after the first convolution, which
    `WideResNet` lacks. 36,965,634 trainable parameters for depth 28, width 10, 3 modules of 4 heads
    and 10 classes at 32x32x3.

    Taps for attention transfer: `group1`, `group2` and `group3`, as in `WideResNet`.

    To train as the paper does, build it with `classifier_activation=None` and take
    `losses.NegativeLogLikelihood`; or train and serve with the same weights:

        model = WARN(28, 10)
        for_training = keras.Model(model.input, model.get_layer("rectify").output)

    Args:
        depth: Layers with weights, 6 n + 4; 28 by default.
        width: Factor of the channels, also below 1; 10 by default.
        attention_depth: Modules, from the last group backwards: 1 to 3, by default 3.
        attention_width: Heads of each module; 4 by default.
        input_shape: `(H, W, channels)`; `(32, 32, 3)` by default. H and W may be None.
        classes: Units of the last layer; 10 by default.
        classifier_activation: Activation of the answer; None returns the sum of the logarithms of
            probabilities, for `losses.NegativeLogLikelihood`.
        include_top: Whether to add the mean, the dense layer, the modules and gates.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        space: `"log"` or `"probability"`: see `layers.AttendRectifyHead`, also for what follows.
        gates: `"softmax"`, `"sigmoid"` or `"mean"`.
        gate_normalization: Whether the gates' scores are normalized over the batch.
        gate_depth: 1, or 2 for a hidden layer before the gates.
        mask: `"softmax"` or `"sigmoid"`.
        overlap_weight: Of the regularizer that keeps the heads apart; 1e-3 by default.
        gradient_scale: Of the gradients from the modules into the network; 1 by default.
        dropout: Rate between the convolutions of a block; 0 by default.
        weight_decay: Of all weights, in their gradients; 5e-4 by default, the paper's.

    Returns:
        A `keras.Model` from images to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = WARN(10, 1, attention_depth=2, input_shape=(None, None, 3))
    >>> [tuple(maps.shape) for maps in model.get_layer("rectify").modules[0].get_weights()]
    [(3, 3, 64, 4), (3, 3, 64, 40), (3, 3, 64, 4)]
    """
    decay = decay_of_all_weights(weight_decay)
    blocks = WideBlocks(depth, width, "warn", dropout, True, decay)
    inputs = image_input(input_shape, CIFAR, input_tensor)
    maps = blocks.features(inputs)[1]
    if not include_top:
        return finish(inputs, input_tensor, pool(maps[-1], pooling), name, weights)
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
    chosen = taps(attention_depth, maps)
    x = rectified(chosen, features, features, classifier_activation, head)
    return finish(inputs, input_tensor, x, name, weights)


@dataclass(frozen=True)
class WideBlocks:
    """Three groups of residual blocks with normalization and ReLU before each convolution.

    Attributes:
        depth: Layers with weights, 6 n + 4 for n blocks a group.
        width: Factor of the channels of the groups, 16, 32 and 64.
        variant: What a shortcut's 1x1 convolution reads where channels change: the block's input as
            it is (`"warn"`) or after its normalization and ReLU (`"at"`).
        dropout: Rate between the convolutions of a block.
        normalized_stem: Whether normalization and ReLU follow the first convolution.
        decay: Regularizer of all weights.
    """

    depth: int
    width: float
    variant: str = "warn"
    dropout: float = 0.0
    normalized_stem: bool = False
    decay: Any = None

    def __post_init__(self) -> None:
        if not is_integer(self.depth) or not 10 <= self.depth <= DEEPEST or (self.depth - 4) % 6:
            raise ValueError(
                f"`depth` must be 6 n + 4: 10, 16, 22, 28, 34, 40, ... {DEEPEST}. "
                f"Received: depth={self.depth!r}"
            )
        one_of("variant", self.variant, VARIANTS)
        share("dropout", self.dropout)
        if not int(STEM_CHANNELS * positive_number("width", self.width)):
            raise ValueError(
                f"`width` must leave a channel: 1 / {STEM_CHANNELS} or more. "
                f"Received: width={self.width!r}"
            )
        checked_weight((3, 3, *[self._channels(GROUPS)] * 2), width=self.width)

    def features(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Builds everything but the top.

        Returns:
            What the groups put out, raw, and the same after normalization and ReLU; the last of
            these is what a classifier reads. The raw ones are layers `group1` to `group3`.
        """
        x = self._convolution(images, STEM_CHANNELS, 3, 1, "conv0")
        if self.normalized_stem:
            x = normalized(x, "conv0", self.decay)
        raw, ready = [], []
        count = (self.depth - 4) // 6
        for group in range(1, GROUPS + 1):
            for block in range(1, count + 1):
                strides = 2 if group > 1 and block == 1 else 1
                name = f"group{group}_block{block}"
                activated = normalized(x, f"{name}_pre", self.decay)
                if group > 1 and block == 1:
                    ready.append(activated)
                total = f"group{group}" if block == count else f"{name}_add"
                x = self._block(x, activated, self._channels(group), strides, name, total)
            raw.append(x)
        return raw, [*ready, normalized(x, f"group{GROUPS}", self.decay)]

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
        y = normalized(y, f"{name}_conv1", self.decay)
        if self.dropout:
            y = keras.layers.Dropout(self.dropout, name=f"{name}_dropout")(y)
        y = self._convolution(y, filters, 3, 1, f"{name}_conv2")
        return keras.layers.Add(name=total)([shortcut, y])

    def _convolution(self, x: Tensor, filters: int, size: int, strides: int, name: str) -> Tensor:
        padding = "same"
        if strides > 1 and size > 1:
            # The same zeros on both sides, as in the original; "same" would add more at the end.
            x = keras.layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
            padding = "valid"
        return keras.layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding=padding,
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer=self.decay,
            name=name,
        )(x)
