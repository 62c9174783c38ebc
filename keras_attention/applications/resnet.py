"""Residual networks of 18, 34 and 50 layers, optionally with attention.

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
    batch_norm,
    batch_norm_relu,
    build_model,
    image_input,
    l2,
    pooled_classifier,
    residual_convolution,
)
from keras_attention.applications.placement import AttentionBlocks
from keras_attention.applications.registry import register
from keras_attention.utils.data_format import channel_axis, spatial_shape
from keras_attention.utils.validation import one_of, positive_integer

# Number of blocks in each stage.
STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
# Output channels of a bottleneck block as a multiple of those of its 3x3 convolution.
EXPANSION = 4
# Images with smaller sides use the "cifar" stem, which keeps their size.
SMALLEST_IMAGENET_SIDE = 64
SHARED_DOCSTRINGS = {
    "resnet_details": """
Layers for attention transfer: `stage1` to `stage4`, the last ReLU of each stage, before an
attention layer that may follow.

Args:
    input_shape: `(H, W, channels)`. Defaults to `(224, 224, 3)`; H and W may be None.
    {common_arguments}
    {attention_arguments}
    stem: `"cifar"`, a 3x3 convolution, or `"imagenet"`, a 7x7 convolution with stride 2 and max
        pooling with stride 2. None uses the first if both sides are known and below 64 pixels.
    width: Channels of the stem and the first stage; each other stage doubles them. Defaults to
        64.
    weight_decay: L2 weight of all kernels. Defaults to 0, as in the SAN paper.

{returns}
""",
}


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
    """ResNet-18: 8 residual blocks in stages of [2, 2, 2, 2].

    Two 3x3 convolutions per block with batch normalization and ReLU; global average pooling.
    11,689,512 trainable parameters with 1000 classes at 224x224x3, 11,173,962 with 10 classes at
    32x32x3.

    {resnet_details}

    Example:
    >>> model = ResNet18((32, 32, 3), 10, attention="bam")
    >>> model.output_shape, sum("attention" in layer.name for layer in model.layers)
    ((None, 10), 4)
    """
    attention_blocks = AttentionBlocks(attention, placement, attention_options)
    network = ResNet(STAGES[18], width, False, attention_blocks, l2(weight_decay, "weight_decay"))
    inputs = image_input(input_shape, (224, 224, 3), input_tensor)
    x = network.features(inputs, stem)
    top = (include_top, classes, classifier_activation, pooling)
    x = pooled_classifier(x, *top, network.decay)
    return build_model(inputs, input_tensor, x, name, weights)


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
    """ResNet-34: 16 residual blocks in stages of [3, 4, 6, 3].

    Two 3x3 convolutions per block with batch normalization and ReLU; global average pooling.
    21,797,672 trainable parameters with 1000 classes at 224x224x3, 21,282,122 with 10 classes at
    32x32x3.

    {resnet_details}

    Example:
    >>> model = ResNet34((32, 32, 3), 10, attention="bam")
    >>> model.output_shape, sum("attention" in layer.name for layer in model.layers)
    ((None, 10), 4)
    """
    attention_blocks = AttentionBlocks(attention, placement, attention_options)
    network = ResNet(STAGES[34], width, False, attention_blocks, l2(weight_decay, "weight_decay"))
    inputs = image_input(input_shape, (224, 224, 3), input_tensor)
    x = network.features(inputs, stem)
    top = (include_top, classes, classifier_activation, pooling)
    x = pooled_classifier(x, *top, network.decay)
    return build_model(inputs, input_tensor, x, name, weights)


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
    """ResNet-50: 16 residual blocks in stages of [3, 4, 6, 3].

    1x1, 3x3 and 1x1 convolutions per block with batch normalization and ReLU; global average
    pooling. 25,557,032 trainable parameters with 1000 classes at 224x224x3, 23,520,842 with 10
    classes at 32x32x3.

    {resnet_details}

    Example:
    >>> model = ResNet50((32, 32, 3), 10, attention="bam")
    >>> model.output_shape, sum("attention" in layer.name for layer in model.layers)
    ((None, 10), 4)
    """
    attention_blocks = AttentionBlocks(attention, placement, attention_options)
    network = ResNet(STAGES[50], width, True, attention_blocks, l2(weight_decay, "weight_decay"))
    inputs = image_input(input_shape, (224, 224, 3), input_tensor)
    x = network.features(inputs, stem)
    top = (include_top, classes, classifier_activation, pooling)
    x = pooled_classifier(x, *top, network.decay)
    return build_model(inputs, input_tensor, x, name, weights)


@dataclass(frozen=True)
class ResNet:
    """Feature extractor with four stages of residual blocks.

    With bottleneck placement, attention follows each stage, as in BAM; with full placement, it
    follows every convolution of a block, before the sum, as in CBAM. SAN compares an output with
    the input of its convolution.

    Attributes:
        blocks: Number of blocks in each stage.
        width: Channels of the stem and the first stage; each other stage doubles them.
        bottleneck: If True, blocks have 1x1, 3x3 and 1x1 convolutions, otherwise two 3x3
            convolutions.
        attention_blocks: Attention layers and their placement.
        decay: Regularizer of all kernels.
    """

    blocks: Sequence[int]
    width: int
    bottleneck: bool
    attention_blocks: AttentionBlocks
    decay: Any = None

    def features(self, images: Tensor, stem: str | None = None) -> Tensor:
        """Builds the network without its top; the stages end with layers `stage1` to `stage4`."""
        one_of("stem", stem, (None, "cifar", "imagenet"))
        width = positive_integer("width", self.width)
        if stem is None:
            sides = spatial_shape(images.shape)
            is_small = all(side is not None and side < SMALLEST_IMAGENET_SIDE for side in sides)
            stem = "cifar" if is_small else "imagenet"
        x = self._stem(images, stem)
        for stage, count in enumerate(self.blocks, start=1):
            for block in range(1, count + 1):
                strides = 2 if stage > 1 and block == 1 else 1
                name = f"stage{stage}_block{block}"
                relu = f"stage{stage}" if block == count else f"{name}_relu"
                y_prev, x = self._block(x, width * 2 ** (stage - 1), strides, name, relu)
            # The next stage, or the global pooling, reduces the map.
            x = self.attention_blocks.before_reduction(y_prev, x, 3, f"stage{stage}")
        return x

    def _stem(self, images: Tensor, stem: str) -> Tensor:
        if stem == "cifar":
            x = batch_norm_relu(self._convolution(images, self.width, 3, 1, "stem"), "stem")
            return self.attention_blocks.after_convolution(images, x, 3, "stem")
        x = batch_norm_relu(self._convolution(images, self.width, 7, 2, "stem"), "stem")
        x = self.attention_blocks.after_convolution(images, x, 7, "stem")
        x = self.attention_blocks.before_reduction(images, x, 7, "stem")
        # After ReLU no value is negative, so zero padding equals padding with minus infinity.
        x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        return keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)

    def _block(
        self, x: Tensor, filters: int, strides: int, name: str, relu: str
    ) -> tuple[Tensor, Tensor]:
        """Returns the input of the last convolution of a block, and the output of the block."""
        wide = filters * EXPANSION if self.bottleneck else filters
        shortcut = x
        if strides != 1 or x.shape[channel_axis()] != wide:
            shortcut = self._convolution(x, wide, 1, strides, f"{name}_shortcut")
            shortcut = batch_norm(shortcut, f"{name}_shortcut")
        sizes = [(filters, 1), (filters, 3), (wide, 1)] if self.bottleneck else [(filters, 3)] * 2
        for index, (channels, size) in enumerate(sizes, start=1):
            here, y_prev = f"{name}_conv{index}", x
            x = self._convolution(x, channels, size, strides if index == 1 else 1, here)
            x = (batch_norm if index == len(sizes) else batch_norm_relu)(x, here)
            x = self.attention_blocks.after_convolution(y_prev, x, size, here)
        x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
        return y_prev, keras.layers.ReLU(name=relu)(x)

    def _convolution(self, x: Tensor, filters: int, size: int, strides: int, name: str) -> Tensor:
        return residual_convolution(x, filters, size, strides, self.decay, name)
