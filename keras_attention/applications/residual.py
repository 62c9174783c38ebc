"""The residual networks that ResNet18, ResNet34 and ResNet50 share.

Reference: He et al., Deep Residual Learning for Image Recognition (2016), table 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Tensor,
    batch_normalized,
    channel_axis,
    normalized,
)
from keras_attention.applications.placement import Attention
from keras_attention.arguments import one_of, positive_integer
from keras_attention.limits import checked_weight

# How many times wider the output of a block of three convolutions is.
EXPANSION = 4
STEMS = ("cifar", "imagenet")
# Images with smaller sides keep their size in the stem.
SMALLEST_FOR_IMAGENET = 64


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
