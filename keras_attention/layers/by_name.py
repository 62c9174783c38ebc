"""The mechanisms that refine a layer's output, by the names that networks and tables call them."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_attention.layers.bam import BAM
from keras_attention.layers.cbam import CBAM
from keras_attention.layers.scale_space import SANBlock
from keras_attention.utils.validation import one_of

Tensor = Any

# Dilation of the smoothing: the paper has none for SAN-d, 4 is BAM's.
SAN_DILATIONS = {"san-c": 1, "san-d": 4}
IMAGE_ATTENTIONS = ("cbam", "bam", *SAN_DILATIONS)
# Along a side: 1 would tell SAN-c and SAN-d apart no more, which table V does for ResNet-50.
SMALLEST_SMOOTHING = 3
# Channels for one hidden unit of CBAM and BAM, where that leaves enough of them: a single unit of
# a thin network may never be above 0, and then learns nothing.
REDUCTION = 16
FEWEST_UNITS = 4


def attended(
    attention: str,
    y_prev: Tensor,
    y: Tensor,
    kernel_size: int | Sequence[int],
    name: str,
    options: Mapping[str, Any] | None = None,
) -> Tensor:
    """Adds a mechanism to the output of a layer.

    Args:
        attention: `"cbam"`, `"bam"`, `"san-c"` or `"san-d"`.
        y_prev: What that layer reads.
        y: Its output.
        kernel_size: The layer's, for the smoothing of SAN; for a 1x1 convolution SAN takes 3, as
            there would be nothing to smooth.
        name: Of the new layer.
        options: More arguments of `CBAM`, `BAM` or `SANBlock`. Without `reduction` CBAM and BAM
            have one hidden unit for 16 channels, but 4 at least, of so many channels.

    Returns:
        The output to go on with, of the shape of `y`.

    Raises:
        ValueError: For a mechanism that does not exist, or options that it does not have.

    Example:
    >>> images = keras.Input((8, 8, 3))
    >>> x = keras.layers.Conv2D(6, 5, padding="same")(images)
    >>> attended("san-d", images, x, 5, "attention").shape
    (None, 8, 8, 6)
    """
    one_of("attention", attention, IMAGE_ATTENTIONS)
    options = {"name": name, **(options or {})}
    if attention in SAN_DILATIONS:
        options = {
            "kernel_size": SMALLEST_SMOOTHING if _is_one(kernel_size) else kernel_size,
            "dilation_rate": SAN_DILATIONS[attention],
            **options,
        }
        return SANBlock(**options)([y_prev, y])
    if "reduction" not in options:
        last = options.get("data_format", keras.config.image_data_format()) == "channels_last"
        channels = y.shape[-1 if last else 1]
        options["reduction"] = max(1, min(REDUCTION, channels // FEWEST_UNITS))
    return (CBAM if attention == "cbam" else BAM)(**options)(y)


def _is_one(kernel_size: int | Sequence[int]) -> bool:
    return all(size == 1 for size in keras.tree.flatten(kernel_size))
