"""The groups of wide residual blocks that WideResNet and WARN share.

Reference: Zagoruyko and Komodakis, Wide Residual Networks (2016), table 1.
"""

from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.applications.conventions import Tensor, channel_axis, normalized
from keras_attention.arguments import is_integer, one_of, positive_number, share
from keras_attention.limits import checked_weight

VARIANTS = ("warn", "at")
STEM_CHANNELS = 16
GROUPS = 3
# As deep as residual networks were trained: He et al. (2016).
DEEPEST = 1198


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
