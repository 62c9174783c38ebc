"""Piecewise affine warps: faces are brought to one shape by their landmarks.

Every triangle between the landmarks of a reference shape is filled from the triangle between the
same landmarks of a picture. Where a pixel is read is then a mean of three landmarks whose weights
depend on the reference alone, so that one matrix warps every picture.
"""

import numpy as np
import tensorflow as tf

from keras_attention.datasets.in_memory import as_floats

ALIGNMENTS = 5


def mean_shape(shapes: np.ndarray) -> np.ndarray:
    """Averages shapes, each moved, turned and scaled to fit the average (Procrustes analysis).

    Args:
        shapes: Landmarks `(N, points, 2)`, columns x and y.

    Returns:
        The average `(points, 2)`: centered, as upright as the shapes are on the whole, of norm 1.

    Raises:
        ValueError: For a shape whose points all coincide.

    Example:
    >>> square = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    >>> mean_shape(np.stack([square, 3 * square + 5])).round(2).tolist()
    [[-0.35, -0.35], [0.35, -0.35], [0.35, 0.35], [-0.35, 0.35]]
    """
    points = np.asarray(shapes, "float64") @ np.array([1, 1j])
    points = points - points.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    if not norms.min() > 0:
        raise ValueError(
            "`shapes` must have finite landmarks that differ. "
            f"Received: shapes[{int(np.argmin(norms))}] of norm {norms.min()}"
        )
    points = points / norms
    upright = points.mean(axis=0)
    mean = upright / np.linalg.norm(upright)
    for _ in range(ALIGNMENTS):
        turns = points.conj() @ mean
        mean = (points * (turns / np.abs(turns))[:, None]).mean(axis=0)
        mean = mean / np.linalg.norm(mean)
    turn = np.vdot(mean, upright)
    mean = mean * turn / np.abs(turn)
    return np.stack([mean.real, mean.imag], axis=1)


def fit_to_square(shape: np.ndarray, size: int) -> np.ndarray:
    """Moves and scales a shape so that it fills a square of `size` pixels along its longer side.

    Example:
    >>> fit_to_square(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.5]]), size=5).tolist()
    [[0.0, 1.0], [4.0, 1.0], [4.0, 3.0]]
    """
    low, high = shape.min(axis=0), shape.max(axis=0)
    return (shape - (low + high) / 2) * (size - 1) / (high - low).max() + (size - 1) / 2


def warp_weights(reference: np.ndarray, size: int, samples: int = 1) -> np.ndarray:
    """Says of which landmarks each pixel of a warped picture is a mean.

    Args:
        reference: Landmarks `(points, 2)` in the warped picture, columns x and y; pixel centers
            are whole numbers from 0.
        size: Pixels along the sides of the warped picture.
        samples: Points read along each side of a pixel. Their mean is smooth where pictures shrink.

    Returns:
        Float32 weights `(size * samples * size * samples, points)`, row after row of the picture.
        They sum to 1, or are 0 outside the reference's outline.

    Raises:
        ValueError: For landmarks on a line.

    Example:
    >>> corners = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    >>> warp_weights(corners, 3).round(1)[1].tolist()
    [0.5, 0.5, 0.0]
    """
    from scipy.spatial import Delaunay

    reference = np.asarray(reference, "float64")
    if np.linalg.matrix_rank(reference - reference.mean(axis=0), tol=1e-6 * size) < 2:
        raise ValueError(
            "`reference` must have landmarks that span an area. "
            f"Received: reference={reference.tolist()}"
        )
    along = (np.arange(size * samples) + 0.5) / samples - 0.5
    pixels = np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)
    mesh = Delaunay(reference)
    triangle = mesh.find_simplex(pixels, tol=1e-6)
    to_shares, corner = mesh.transform[triangle, :2], mesh.transform[triangle, 2]
    shares = np.einsum("nij,nj->ni", to_shares, pixels - corner)
    shares = np.concatenate([shares, 1 - shares.sum(axis=1, keepdims=True)], axis=1)
    weights: np.ndarray = np.zeros((len(pixels), len(reference)), "float32")
    np.put_along_axis(weights, mesh.simplices[triangle], shares.astype("float32"), axis=1)
    weights[triangle < 0] = 0.0
    return weights


def warp(
    picture: tf.Tensor, landmarks: tf.Tensor, weights: tf.Tensor, size: int, samples: int = 1
) -> tf.Tensor:
    """Brings a picture to the shape of the reference; black outside its outline.

    Args:
        picture: `(H, W, channels)`, bytes or floats in `[0, 1]`.
        landmarks: Float32 `(points, 2)` in the picture, columns x and y. What lies beyond its rim
            is read at the rim.
        weights: What `warp_weights` returns for `size` and `samples`.
        size: Pixels along the sides of the result.
        samples: Points read along each side of a pixel.

    Returns:
        Float32 `(size, size, channels)` in `[0, 1]`.

    Example:
    >>> corners = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]], "float32")
    >>> ramp = np.arange(3, dtype="float32")[None, :, None] / 2 * np.ones((3, 1, 1), "float32")
    >>> warp(ramp, corners, warp_weights(corners, 3), 3)[0, :, 0].numpy().tolist()
    [0.0, 0.5, 1.0]
    """
    channels = picture.shape[-1]
    last = tf.reverse(tf.shape(picture)[:2], [0]) - 1  # x, y
    places = tf.matmul(weights, landmarks)
    places = tf.clip_by_value(places, 0.0, tf.cast(last, tf.float32))
    low = tf.cast(places, tf.int32)
    right, below = tf.split(places - tf.cast(low, tf.float32), 2, axis=1)
    high = tf.minimum(low + 1, last)

    def read(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return as_floats(tf.gather_nd(picture, tf.stack([y[:, 1], x[:, 0]], axis=1)))

    upper = read(low, low) * (1 - right) + read(high, low) * right
    lower = read(low, high) * (1 - right) + read(high, high) * right
    inside = tf.reduce_sum(weights, axis=1, keepdims=True)
    values = (upper * (1 - below) + lower * below) * inside
    values = tf.reshape(values, (size, samples, size, samples, channels))
    return tf.clip_by_value(tf.reduce_mean(values, axis=(1, 3)), 0.0, 1.0)
