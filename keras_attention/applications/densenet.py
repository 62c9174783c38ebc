"""The dense networks that DN10, DN40 and their targeted versions share.

Reference: Chitta, Targeted Kernel Networks (2018), table 1 and section 4.3.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Tensor,
    channel_axis,
    classifier,
    normalized,
    pool,
    scale_l2_of_blocks,
)
from keras_attention.layers import TargetLayer

BLOCKS = 3

Convolution = Callable[[int, str], keras.Layer]


@dataclass(frozen=True)
class DenseNet:
    """Sizes of a network of three densely connected blocks.

    Attributes:
        stem: Channels of the first convolution.
        layers: 3x3 convolutions of a block.
        growth: Channels that each of them adds.
        bottleneck: Channels of the 1x1 convolution before each of them; 0 for none.
        compression: Share of the channels that a transition keeps.
        dropout: Share of the activations that training drops after each convolution but the first.
        decay: Regularizer of all kernels.
    """

    stem: int
    layers: int
    growth: int
    bottleneck: int = 0
    compression: float = 1.0
    dropout: float = 0.0
    decay: Any = None

    def features(self, x: Tensor, convolution: Convolution | None = None) -> Tensor:
        """Builds everything but the top.

        Args:
            x: Images.
            convolution: Makes the 3x3 convolution of a block by the block's number, from 0, and
                the layer's name; None for plain ones.
        """
        x = self._plain(self.stem, 3, "stem")(x)
        for block in range(BLOCKS):
            if block > 0:
                x = self._transition(x, f"transition{block}")
            for layer in range(self.layers):
                name = f"block{block + 1}_conv{layer + 1}"
                new = x
                if self.bottleneck:
                    before = name.replace("conv", "bottleneck")
                    new = self._plain(self.bottleneck, 1, before)(normalized(new, before))
                    new = self._dropped(new, before)
                make = convolution or (lambda _, name: self._plain(self.growth, 3, name))
                new = self._dropped(make(block, name)(normalized(new, name)), name)
                x = keras.layers.Concatenate(axis=channel_axis(), name=f"{name}_concat")([x, new])
        return normalized(x, "final")

    def target_layers(self, *, scale_l2: float, beta: float, **options: Any) -> Convolution:
        """Makes what `features` takes to build target layers.

        Args:
            scale_l2: L2 weight of the scales in the first block.
            beta: Factor of that weight from each block to the next.
            **options: Arguments of every `TargetLayer`.

        Raises:
            ValueError: For weights or factors that are no numbers, or negative.
        """
        scales = scale_l2_of_blocks(scale_l2, beta)

        def convolution(block: int, name: str) -> keras.Layer:
            return TargetLayer(
                self.growth,
                3,
                scale_regularizer=scales(block),
                kernel_regularizer=self.decay,
                name=name.replace("conv", "target"),
                **options,
            )

        return convolution

    def top(
        self, x: Tensor, include_top: bool, classes: int, activation: Any, pooling: str | None
    ) -> Tensor:
        """Adds the classifier, or what `include_top=False` asks for."""
        if not include_top:
            return pool(x, pooling)
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
        return classifier(x, classes, activation, self.decay)

    def _transition(self, x: Tensor, name: str) -> Tensor:
        filters = int(x.shape[channel_axis()] * self.compression)
        x = self._plain(filters, 1, f"{name}_conv")(normalized(x, name))
        x = self._dropped(x, name)
        return keras.layers.AveragePooling2D(2, name=f"{name}_pool")(x)

    def _plain(self, filters: int, kernel_size: int, name: str) -> keras.Layer:
        return keras.layers.Conv2D(
            filters,
            kernel_size,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer=self.decay,
            name=name,
        )

    def _dropped(self, x: Tensor, name: str) -> Tensor:
        return keras.layers.Dropout(self.dropout, name=f"{name}_dropout")(x) if self.dropout else x
