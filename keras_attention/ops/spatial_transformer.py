"""Affine warps that are differentiable with respect to the image and the transform.

A transform is a matrix of two rows, for x and y, and three columns, for x, y and 1. It maps
positions of the output to positions of the input. Along both axes -1 and 1 are the borders of the
image, so that a transform means the same at every size.

Reference: Jaderberg et al., Spatial Transformer Networks (2015), section 3.
"""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_attention.utils.data_format import from_channels_last, to_channels_last
from keras_attention.utils.tensor_validation import height_and_width, optional, validate_arguments

Tensor = Any


@validate_arguments(transforms="B 2 3", source=height_and_width, target=height_and_width)
def affine_grid(transforms: Tensor, source: Sequence[int], target: Sequence[int]) -> Tensor:
    """Computes the positions of the input that each output pixel samples (section 3.2, eq. 1).

    Args:
        transforms: `(B, 2, 3)`.
        source: Height and width of the input in pixels, integers or integer scalar tensors.
        target: Height and width of the output, likewise.

    Returns:
        Float32 tensor `(B, H_out, W_out, 2)` of rows and columns, in pixels of the input; integers
        are the centers of pixels. The identity returns exactly the pixels themselves.

    Example:
    >>> points = affine_grid([[[1.0, 0, 0], [0, 1, 0]]], (4, 6), (4, 6))
    >>> [float(value) for value in points[0, 3, 5]]
    [3.0, 5.0]
    """
    theta = ops.cast(ops.convert_to_tensor(transforms), "float32")[:, :, :, None, None]
    height, width, rows, columns = (ops.cast(side, "float32") for side in (*source, *target))
    # In pixels from the center, because the identity then multiplies them by exactly 1.
    y = (ops.arange(target[0], dtype="float32") - (rows - 1.0) / 2.0)[:, None]
    x = (ops.arange(target[1], dtype="float32") - (columns - 1.0) / 2.0)[None, :]
    # Elementwise, because some devices compute matrix products in half precision.
    column = theta[:, 0, 0] * (x * (width / columns)) + theta[:, 0, 1] * (y * (width / rows))
    row = theta[:, 1, 0] * (x * (height / columns)) + theta[:, 1, 1] * (y * (height / rows))
    column = column + theta[:, 0, 2] * (width / 2.0) + (width - 1.0) / 2.0
    row = row + theta[:, 1, 2] * (height / 2.0) + (height - 1.0) / 2.0
    return ops.stack([row, column], axis=-1)


@validate_arguments(images="B _ _ C", points="B _ _ 2")
def bilinear_sample(images: Tensor, points: Tensor) -> Tensor:
    """Samples images by bilinear interpolation, with zeros outside (section 3.3, eq. 5).

    Args:
        images: `(B, H, W, C)`.
        points: `(B, H_out, W_out, 2)`, rows and columns in pixels, as from `affine_grid`.

    Returns:
        `(B, H_out, W_out, C)` in the dtype of the images.

    Example:
    >>> image = ops.reshape(ops.arange(6.0), (1, 2, 3, 1))
    >>> float(bilinear_sample(image, [[[[0.5, 1.0]]]])[0, 0, 0, 0])
    2.5
    """
    images, points = ops.convert_to_tensor(images), ops.cast(points, "float32")
    batch, height, width, channels = ops.shape(images)
    # With a border of zeros, the four neighbors of any clipped point are inside the image.
    flat = ops.reshape(
        ops.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]]),
        (batch * (height + 2) * (width + 2), channels),
    )
    top, low, below = _neighbors(points[..., 0], height)
    left, beside, right = _neighbors(points[..., 1], width)
    first = ops.reshape(ops.arange(batch, dtype="int32"), (-1, 1, 1)) * (height + 2)

    def read(row: Tensor, column: Tensor, weight: Tensor) -> Tensor:
        index = (first + row) * (width + 2) + column
        return ops.multiply(ops.take(flat, index, axis=0), weight[..., None])  # float32

    upper = read(top, left, (1 - below) * (1 - right)) + read(top, beside, (1 - below) * right)
    lower = read(low, left, below * (1 - right)) + read(low, beside, below * right)
    return ops.cast(upper + lower, images.dtype)


@validate_arguments(images="B _ _ _", transforms="B 2 3", size=optional(height_and_width))
def spatial_transform(
    images: Tensor,
    transforms: Tensor,
    size: Sequence[int] | None = None,
    data_format: str = "channels_last",
) -> Tensor:
    """Warps each image by its affine transform (sections 3.2 and 3.3).

    Args:
        images: `(B, H, W, C)`, or `(B, C, H, W)` with channels first.
        transforms: `(B, 2, 3)`.
        size: Height and width of the output; None for those of the input.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        The warped images. Pixels that lie outside the input are zero.

    Example:
    >>> mirror = [[[-1.0, 0, 0], [0, 1, 0]]]
    >>> [float(v) for v in spatial_transform([[[[1.0], [2], [3]]]], mirror)[0, 0, :, 0]]
    [3.0, 2.0, 1.0]
    """
    images = to_channels_last(ops.convert_to_tensor(images), data_format)
    sides = ops.shape(images)[1:3]
    outputs = bilinear_sample(images, affine_grid(transforms, sides, size or sides))
    return from_channels_last(outputs, data_format)


def _neighbors(positions: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns both neighboring pixels of the padded image and the weight of the second."""
    positions = ops.clip(positions + 1.0, 0.0, ops.cast(side + 1, "float32"))
    before = ops.floor(positions)
    # NaN must not become an index outside the image.
    index = ops.clip(ops.cast(ops.stop_gradient(before), "int32"), 0, side)
    return index, index + 1, positions - ops.cast(index, "float32")
