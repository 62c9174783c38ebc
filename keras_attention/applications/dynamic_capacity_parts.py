"""The parts of Dynamic Capacity Networks for digits in clutter, each a model for maps of any size.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), appendix 6.1.
"""

from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Tensor,
    channel_axis,
    classifier,
    normalized,
    pool,
)
from keras_attention.arguments import one_of, positive_integer

VARIANTS = ("paper", "code")
# Of the vectors that coarse and fine layers make.
DEPTH = 24
# Filters and kernel sizes, all with stride 2.
COARSE = ((12, 7), (DEPTH, 3))
FINE_LAYERS = 5
# What has a rim of zeros: as the paper counts, their inputs; in the code, their outputs.
PADDED = (2, 3, 4)
POOLED = (2, 4)


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
