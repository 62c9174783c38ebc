"""Sizes beyond which a layer is a slip of the pen: the memory for it is refused, not asked for."""

import math
from collections.abc import Sequence
from typing import Any

# 1 GiB in float32; the largest weight of VGG-16 has 103 million values.
LARGEST_WEIGHT = 2**28
# Padding for taps that see zeros alone is still paid for, so far taps are a matter of the map.
ALWAYS_NEAR = 64


def checked_weight(shape: Sequence[int], **arguments: Any) -> tuple[int, ...]:
    """Returns the shape of a weight that fits into memory.

    Args:
        shape: The weight's.
        **arguments: What it follows from, for the error.

    Raises:
        ValueError: For more than `LARGEST_WEIGHT` values.

    Example:
    >>> checked_weight((3, 3, 64), filters=64)
    (3, 3, 64)
    """
    if math.prod(shape) <= LARGEST_WEIGHT:
        return tuple(shape)
    names, received = " and ".join(f"`{name}`" for name in arguments), _received(arguments)
    raise ValueError(
        f"{names} must leave a weight of at most {LARGEST_WEIGHT} values, not {tuple(shape)}. "
        f"Received: {received}"
    )


def check_reach(dilations: Sequence[int], sides: Sequence[int | None]) -> None:
    """Refuses taps so far apart that all but the middle one miss the map by its side.

    Args:
        dilations: Distance between taps along each side, in pixels.
        sides: Of the map, None where not known.

    Raises:
        ValueError: For a distance above twice the side, and above 64.

    Example:
    >>> check_reach((4, 4), (2, 2))
    """
    for dilation, side in zip(dilations, sides, strict=True):
        if side is not None and dilation > max(2 * side, ALWAYS_NEAR):
            raise ValueError(
                f"`dilation_rate` must be at most twice the side of the map, or {ALWAYS_NEAR}. "
                f"Received: dilation_rate={tuple(dilations)}, for a map of {tuple(sides)}"
            )


def _received(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())
