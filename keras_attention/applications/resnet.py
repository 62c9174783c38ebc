"""Residual networks of 18, 34 and 50 layers, with attention where it is asked for.

Reference: He et al., Deep Residual Learning for Image Recognition (2016), as in Garg et al., SAN:
Scale-Space Attention Networks (2020), section IV-B, figures 6c and 7, and in Zagoruyko and
Komodakis, Paying More Attention to Attention (2017), section 4.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    batch_normalized,
    channel_axis,
    classifier,
    finish,
    image_input,
    l2,
    normalized,
    pool,
)
from keras_attention.applications.placement import Attention
from keras_attention.applications.registry import register
from keras_attention.limits import checked_weight
from keras_attention.utils.validation import one_of, positive_integer

# Blocks of each stage.
STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
# How many times wider the output of a block of three convolutions is.
EXPANSION = 4
STEMS = ("cifar", "imagenet")
# Images with smaller sides keep their size in the stem.
SMALLEST_FOR_IMAGENET = 64


@register
def ResNet18(
    input_shape: Shape | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "resnet18",
    *,
    attention: str | None = None,
    placement: str = "bottleneck",
    attention_options: Mapping[str, Any] | None = None,
    stem: str | None = None,
    width: int = 64,
    weight_decay: float = 0.0,
) -> keras.Model:
    """18 layers with weights, in residual blocks, stages of [2, 2, 2, 2].

    Two 3x3 convolutions a block, batch normalization and ReLU; the mean of the last map.
    11,689,512 trainable parameters with 1000 classes at 224x224x3, 11,173,962 with 10 at 32x32x3.

    Taps for attention transfer: `stage1` to `stage4`, the last ReLU of each stage, in front of the
    attention that may follow it.

    Args:
        input_shape: `(H, W, channels)`; `(224, 224, 3)` by default.
        classes: Units of the last layer; 1000 by default.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add the dense layer; without it H and W may be None.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        attention: None, `"cbam"`, `"bam"`, `"san-c"` or `"san-d"`.
        placement: `"bottleneck"`, attention before each reduction of the map, or `"full"`, after
            every convolution.
        attention_options: More arguments of `CBAM`, `BAM` or `SANBlock`.
        stem: `"cifar"`, a 3x3 convolution, or `"imagenet"`, a 7x7 one of stride 2 and a max pool of
            stride 2; None for the first where both sides are known and under 64 pixels.
        width: Channels of the stem and the first stage, doubled by each of the others; 64 by
            default.
        weight_decay: L2 weight of all kernels; 0 by default, the SAN paper has none.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = ResNet18((32, 32, 3), 10, attention="bam")
    >>> model.output_shape, sum("attention" in layer.name for layer in model.layers)
    ((None, 10), 4)
    """
    attends = Attention(attention, placement, attention_options)
    network = ResNet(STAGES[18], width, False, attends, l2(weight_decay, "weight_decay"))
    inputs = image_input(input_shape, (224, 224, 3), input_tensor)
    x = network.features(inputs, stem)
    top = (classes, classifier_activation, network.decay)
    x = classifier(pool(x, "avg"), *top) if include_top else pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


@register
def ResNet34(
    input_shape: Shape | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "resnet34",
    *,
    attention: str | None = None,
    placement: str = "bottleneck",
    attention_options: Mapping[str, Any] | None = None,
    stem: str | None = None,
    width: int = 64,
    weight_decay: float = 0.0,
) -> keras.Model:
    """34 layers with weights, in residual blocks, stages of [3, 4, 6, 3].

    Two 3x3 convolutions a block, batch normalization and ReLU; the mean of the last map.
    21,797,672 trainable parameters with 1000 classes at 224x224x3, 21,282,122 with 10 at 32x32x3.

    Taps for attention transfer: `stage1` to `stage4`, the last ReLU of each stage, in front of the
    attention that may follow it.

    Args:
        input_shape: `(H, W, channels)`; `(224, 224, 3)` by default.
        classes: Units of the last layer; 1000 by default.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add the dense layer; without it H and W may be None.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        attention: None, `"cbam"`, `"bam"`, `"san-c"` or `"san-d"`.
        placement: `"bottleneck"`, attention before each reduction of the map, or `"full"`, after
            every convolution.
        attention_options: More arguments of `CBAM`, `BAM` or `SANBlock`.
        stem: `"cifar"`, a 3x3 convolution, or `"imagenet"`, a 7x7 one of stride 2 and a max pool of
            stride 2; None for the first where both sides are known and under 64 pixels.
        width: Channels of the stem and the first stage, doubled by each of the others; 64 by
            default.
        weight_decay: L2 weight of all kernels; 0 by default, the SAN paper has none.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = ResNet34((32, 32, 3), 10, attention="bam")
    >>> model.output_shape, sum("attention" in layer.name for layer in model.layers)
    ((None, 10), 4)
    """
    attends = Attention(attention, placement, attention_options)
    network = ResNet(STAGES[34], width, False, attends, l2(weight_decay, "weight_decay"))
    inputs = image_input(input_shape, (224, 224, 3), input_tensor)
    x = network.features(inputs, stem)
    top = (classes, classifier_activation, network.decay)
    x = classifier(pool(x, "avg"), *top) if include_top else pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


@register
def ResNet50(
    input_shape: Shape | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "resnet50",
    *,
    attention: str | None = None,
    placement: str = "bottleneck",
    attention_options: Mapping[str, Any] | None = None,
    stem: str | None = None,
    width: int = 64,
    weight_decay: float = 0.0,
) -> keras.Model:
    """50 layers with weights, in residual blocks, stages of [3, 4, 6, 3].

    Convolutions of 1x1, 3x3 and 1x1 a block, batch normalization and ReLU; the mean of the last
    map.
    25,557,032 trainable parameters with 1000 classes at 224x224x3, 23,520,842 with 10 at 32x32x3.

    Taps for attention transfer: `stage1` to `stage4`, the last ReLU of each stage, in front of the
    attention that may follow it.

    Args:
        input_shape: `(H, W, channels)`; `(224, 224, 3)` by default.
        classes: Units of the last layer; 1000 by default.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add the dense layer; without it H and W may be None.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        attention: None, `"cbam"`, `"bam"`, `"san-c"` or `"san-d"`.
        placement: `"bottleneck"`, attention before each reduction of the map, or `"full"`, after
            every convolution.
        attention_options: More arguments of `CBAM`, `BAM` or `SANBlock`.
        stem: `"cifar"`, a 3x3 convolution, or `"imagenet"`, a 7x7 one of stride 2 and a max pool of
            stride 2; None for the first where both sides are known and under 64 pixels.
        width: Channels of the stem and the first stage, doubled by each of the others; 64 by
            default.
        weight_decay: L2 weight of all kernels; 0 by default, the SAN paper has none.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = ResNet50((32, 32, 3), 10, attention="bam")
    >>> model.output_shape, sum("attention" in layer.name for layer in model.layers)
    ((None, 10), 4)
    """
    attends = Attention(attention, placement, attention_options)
    network = ResNet(STAGES[50], width, True, attends, l2(weight_decay, "weight_decay"))
    inputs = image_input(input_shape, (224, 224, 3), input_tensor)
    x = network.features(inputs, stem)
    top = (classes, classifier_activation, network.decay)
    x = classifier(pool(x, "avg"), *top) if include_top else pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


@dataclass(frozen=True)
class ResNet:
    """Four stages of residual blocks.

    Attention stands at the end of a stage, as BAM does, or after every convolution of a block and
    before its sum, as CBAM does. What attention compares an output with is what its convolution
    reads.

    Attributes:
        blocks: Of each stage.
        width: Channels of the stem and the first stage; each other stage has twice as many.
        bottleneck: Whether a block is a 1x1, a 3x3 and a 1x1 convolution, else two of 3x3.
        attends: What attends to which outputs.
        decay: Regularizer of all kernels.
    """

    blocks: Sequence[int]
    width: int
    bottleneck: bool
    attends: Attention
    decay: Any = None

    def features(self, images: Tensor, stem: str | None = None) -> Tensor:
        """Builds everything but the top. Each stage ends with the ReLU `stage1` to `stage4`."""
        one_of("stem", stem, (None, *STEMS))
        width = positive_integer("width", self.width)
        checked_weight((3, 3, *[width * 2 ** (len(self.blocks) - 1)] * 2), width=width)
        x = self._stem(images, stem or _stem_for(images))
        for stage, count in enumerate(self.blocks, start=1):
            for block in range(1, count + 1):
                strides = 2 if stage > 1 and block == 1 else 1
                name = f"stage{stage}_block{block}"
                relu = f"stage{stage}" if block == count else f"{name}_relu"
                y_prev, x = self._block(x, width * 2 ** (stage - 1), strides, name, relu)
            # A stage ends where the next one, or the global mean, reduces the map.
            x = self.attends.before_reduction(y_prev, x, 3, f"stage{stage}")
        return x

    def _stem(self, images: Tensor, stem: str) -> Tensor:
        if stem == "cifar":
            x = normalized(self._convolution(images, self.width, 3, 1, "stem"), "stem")
            return self.attends.after_convolution(images, x, 3, "stem")
        x = normalized(self._convolution(images, self.width, 7, 2, "stem"), "stem")
        x = self.attends.after_convolution(images, x, 7, "stem")
        x = self.attends.before_reduction(images, x, 7, "stem")
        # No value is under 0 here: zeros are what padding with minus infinity would be.
        x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        return keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)

    def _block(
        self, x: Tensor, filters: int, strides: int, name: str, relu: str
    ) -> tuple[Tensor, Tensor]:
        """The output of a block, and before it what its last convolution reads."""
        wide = filters * EXPANSION if self.bottleneck else filters
        shortcut = x
        if strides != 1 or x.shape[channel_axis()] != wide:
            shortcut = self._convolution(x, wide, 1, strides, f"{name}_shortcut")
            shortcut = batch_normalized(shortcut, f"{name}_shortcut")
        sizes = [(filters, 1), (filters, 3), (wide, 1)] if self.bottleneck else [(filters, 3)] * 2
        for index, (channels, size) in enumerate(sizes, start=1):
            here, y_prev = f"{name}_conv{index}", x
            x = self._convolution(x, channels, size, strides if index == 1 else 1, here)
            x = (batch_normalized if index == len(sizes) else normalized)(x, here)
            x = self.attends.after_convolution(y_prev, x, size, here)
        x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
        return y_prev, keras.layers.ReLU(name=relu)(x)

    def _convolution(self, x: Tensor, filters: int, size: int, strides: int, name: str) -> Tensor:
        padding = "same"
        if strides > 1 and size > 1:
            # The same zeros on both sides, as in the original; "same" would add more at the end.
            x = keras.layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
            padding = "valid"
        layer = keras.layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding=padding,
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer=self.decay,
            name=name,
        )
        return layer(x)


def _stem_for(images: Tensor) -> str:
    sides = images.shape[1:-1] if channel_axis() == -1 else images.shape[2:]
    is_small = all(side is not None and side < SMALLEST_FOR_IMAGENET for side in sides)
    return "cifar" if is_small else "imagenet"
