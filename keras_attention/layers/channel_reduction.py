"""The narrow layer inside CBAM and BAM."""

import keras


def channels_and_units(layer: keras.Layer, channels: int, reduction: int) -> tuple[int, int]:
    """The channels of a map, and how many hidden units are left of them.

    Args:
        layer: Who asks, for the error.
        channels: Of its input.
        reduction: Channels for one unit.

    Raises:
        ValueError: For fewer channels than `reduction`.
    """
    if channels < reduction:
        raise ValueError(
            f"`reduction` of {type(layer).__name__} must be at most {channels}, the channels of "
            f"its input. Received: reduction={reduction}"
        )
    return channels, channels // reduction
