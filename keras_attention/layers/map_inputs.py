"""What layers of maps take: a map with something in it, in floating point.

Backends answer an empty map with a crash or with NaN, so it is refused by its shape, which costs
nothing where a graph is traced.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

Tensor = Any

KINDS = {3: "sequences (3 axes)", 4: "images (4)", 5: "volumes (5)"}


def checked_shape(
    layer: keras.Layer, shape: Sequence[int | None], axis: int = -1, ranks: Sequence[int] = (4,)
) -> tuple[Any, ...]:
    """Returns the shape of a map that a layer is built on.

    Args:
        layer: Whose name the error says.
        shape: The map's; None for what is not known yet.
        axis: Of the channels.
        ranks: Numbers of axes that the layer takes.

    Raises:
        ValueError: For another number of axes, a side of 0, or channels that are not known.
    """
    sizes = tuple(shape) if isinstance(shape, (list, tuple)) else ()
    who = f"{type(layer).__name__} {layer.name!r}"
    if len(sizes) not in ranks:
        kinds = " or ".join(KINDS[rank] for rank in ranks)
        raise ValueError(f"{who} takes {kinds}. Received: input_shape={shape!r}")
    check_not_empty(layer, sizes)
    if sizes[axis] is None:
        raise ValueError(f"{who} needs a known number of channels. Received: input_shape={sizes}")
    return sizes


def check_not_empty(layer: keras.Layer, shape: Sequence[Any]) -> None:
    """Refuses data without an example, a pixel or a channel."""
    if any(isinstance(side, int) and side == 0 for side in shape):
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r} takes one example, pixel and channel at least. "
            f"Received: input_shape={tuple(shape)}"
        )


def taken_map(layer: keras.Layer, inputs: Tensor) -> Tensor:
    """Returns a map that is not empty, whole numbers in the layer's precision.

    Raises:
        ValueError: For an empty map, or one that does not hold numbers.

    Example:
    >>> layer = keras.layers.Identity()
    >>> keras.backend.standardize_dtype(taken_map(layer, ops.ones((1, 2), "uint8")).dtype)
    'float32'
    """
    check_not_empty(layer, inputs.shape)
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if keras.backend.is_float_dtype(dtype):
        return inputs
    if keras.backend.is_int_dtype(dtype) or dtype == "bool":
        return ops.cast(inputs, layer.compute_dtype)
    raise ValueError(
        f"{type(layer).__name__} {layer.name!r} takes numbers. Received: inputs of dtype={dtype!r}"
    )


def map_spec(shape: Sequence[int | None], axis: int = -1) -> keras.layers.InputSpec:
    """What a layer takes once it is built on such a map: as many axes and channels."""
    return keras.layers.InputSpec(ndim=len(shape), axes={axis: shape[axis]})
