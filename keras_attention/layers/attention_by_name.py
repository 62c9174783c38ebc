"""Attention layers for images by name, as in options of models and in tables of results."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_attention.layers.bam import BAM
from keras_attention.layers.cbam import CBAM
from keras_attention.layers.scale_space import SANBlock
from keras_attention.utils.data_format import channel_axis
from keras_attention.utils.validation import one_of

Tensor = Any

# Dilation of SAN's smoothing. The paper gives none for SAN-d; 4 is the dilation of BAM.
SAN_DILATIONS = {"san-c": 1, "san-d": 4}
IMAGE_ATTENTIONS = ("cbam", "bam", *SAN_DILATIONS)
# With a kernel size of 1, SAN-c and SAN-d would be the same; table V reports both for ResNet-50.
SMALLEST_SMOOTHING = 3
# CBAM and BAM: channels per hidden unit, and the smallest number of hidden units. A single ReLU
# unit of a narrow network may never be positive, and then gets no gradient.
REDUCTION = 16
SMALLEST_HIDDEN = 4


def apply_attention(
    attention: str,
    y_prev: Tensor,
    y: Tensor,
    kernel_size: int | Sequence[int],
    name: str,
    options: Mapping[str, Any] | None = None,
) -> Tensor:
    """Applies an attention layer to the output `y` of a layer whose input is `y_prev`.

    Args:
        attention: `"cbam"`, `"bam"`, `"san-c"` or `"san-d"`.
        y_prev: Input of the layer.
        y: Output of the layer.
        kernel_size: Kernel size of the layer, used for the smoothing of SAN. SAN uses 3 after a
            1x1 convolution, which would smooth nothing.
        name: Name of the attention layer.
        options: More arguments of `CBAM`, `BAM` or `SANBlock`. By default CBAM and BAM have one
            hidden unit per 16 channels, but at least 4, if there are as many channels.

    Example:
    >>> images = keras.Input((8, 8, 3))
    >>> x = keras.layers.Conv2D(6, 5, padding="same")(images)
    >>> apply_attention("san-d", images, x, 5, "attention").shape
    (None, 8, 8, 6)
    """
    one_of("attention", attention, IMAGE_ATTENTIONS)
    options = {"name": name, **(options or {})}
    if attention in SAN_DILATIONS:
        is_pointwise = all(size == 1 for size in keras.tree.flatten(kernel_size))
        options = {
            "kernel_size": SMALLEST_SMOOTHING if is_pointwise else kernel_size,
            "dilation_rate": SAN_DILATIONS[attention],
            **options,
        }
        return SANBlock(**options)([y_prev, y])
    if "reduction" not in options:
        channels = y.shape[channel_axis(options.get("data_format"))]
        options["reduction"] = max(1, min(REDUCTION, channels // SMALLEST_HIDDEN))
    return (CBAM if attention == "cbam" else BAM)(**options)(y)
