"""Pipelines of faces that are warped to one shape, with noise on the landmarks and flips."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_attention.datasets.face_warp import fit_to_square, mean_shape, warp, warp_weights
from keras_attention.datasets.in_memory import indices, plain
from keras_attention.datasets.picture_limits import checked_file

CHANNELS = 3


@dataclass(frozen=True)
class Faces:
    """Pictures of faces on disk, and how to warp them.

    Attributes:
        paths: Of PNG files, `(N,)`.
        landmarks: Float32 `(N, points, 2)`, columns x and y in pixels.
        weights: What `warp_weights` returns for the reference shape.
        size: Pixels along the sides of the warped faces.
        samples: Points read along each side of a warped pixel.
        noise: Standard deviation of the landmarks' noise, as a share of the face's longer side.
    """

    paths: np.ndarray
    landmarks: np.ndarray
    weights: tf.Tensor
    size: int
    samples: int
    noise: float

    @classmethod
    def fit(
        cls,
        paths: np.ndarray,
        landmarks: np.ndarray,
        reference: np.ndarray,
        *,
        size: int,
        noise: float = 0.0,
    ) -> "Faces":
        """Takes the mean of `reference`, landmarks `(M, points, 2)`, as the shape to warp to."""
        shape = fit_to_square(mean_shape(reference), size)
        samples = max(1, round(float(np.mean(longer_sides(reference))) / size))
        weights = tf.constant(warp_weights(shape, size, samples))
        return cls(paths, landmarks, weights, size, samples, noise)

    def __len__(self) -> int:
        return len(self.paths)

    def warp(self, path: tf.Tensor, landmarks: tf.Tensor) -> tf.Tensor:
        """Reads a picture and warps it: float32 `(size, size, 3)` in `[0, 1]`."""
        picture = tf.io.decode_png(checked_file(tf.io.read_file(path)), CHANNELS)
        return warp(picture, landmarks, self.weights, self.size, self.samples)


def longer_sides(landmarks: np.ndarray) -> np.ndarray:
    """The longer side of each shape's box, in pixels."""
    return np.ptp(landmarks, axis=1).max(axis=1)


def serve_faces(
    faces: Faces,
    labels: np.ndarray,
    *,
    seed: int = 0,
    shuffle: bool = False,
    redraw: bool = False,
) -> tf.data.Dataset:
    """Warps faces to the reference shape.

    Args:
        faces: What to warp, and how.
        labels: `(N,)`.
        seed: Of the order, the noise and the flips.
        shuffle: Whether every pass has an order of its own.
        redraw: Whether every pass adds new noise to the landmarks before the warp and mirrors half
            of the faces after it, which reads the pictures anew. Without, they are warped once
            as they are and kept as bytes.

    Returns:
        A data set of `(image, label)` with float32 images `(size, size, 3)` in `[0, 1]`.
    """
    if not redraw:
        return plain(_warp_all(faces), labels, seed=seed, shuffle=shuffle)
    paths, shapes, targets = map(tf.constant, (faces.paths, faces.landmarks, labels))
    deviations = tf.constant(faces.noise * longer_sides(faces.landmarks), tf.float32)

    def draw(index: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        shape = shapes[index]
        noise = tf.random.stateless_normal(tf.shape(shape), (number, index))
        face = faces.warp(paths[index], shape + deviations[index] * noise)
        # Another seed than the noise's, for every index.
        mirrored = tf.random.stateless_uniform((), (number, -1 - index)) < 0.5
        return tf.cond(mirrored, lambda: tf.reverse(face, [1]), lambda: face), targets[index]

    draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    order = indices(len(faces), seed, shuffle)
    return tf.data.Dataset.zip(order, draws).map(draw, num_parallel_calls=tf.data.AUTOTUNE)


def _warp_all(faces: Faces) -> np.ndarray:
    dataset = tf.data.Dataset.from_tensor_slices((faces.paths, faces.landmarks)).map(
        lambda path, landmarks: tf.cast(tf.round(255 * faces.warp(path, landmarks)), tf.uint8),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return np.stack(list(dataset.as_numpy_iterator()))
