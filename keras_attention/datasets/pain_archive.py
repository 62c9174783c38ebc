"""UNBC-McMaster Shoulder Pain Expression Archive: aligned faces with pain intensities.

Reference: Lucey et al., Painful data (2011); Chitta, Targeted Kernel Networks (2018), section 4.1.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_attention.datasets.folders import (
    check_all_inside,
    check_inside,
    describe_folder,
    require_folder,
)
from keras_attention.datasets.image_files import check_image_file
from keras_attention.datasets.pipelines import epoch_seeds, index_order, serve_arrays, to_float
from keras_attention.datasets.splits import choose_subjects, draw_examples
from keras_attention.utils.validation import non_negative_number

POINTS = 66
MAX_PSPI = 16
SOURCE = "their owners, who send them to researchers on request: https://jeffcohn.net/Resources/"
FRAMES, LANDMARKS, LABELS = "Images", "AAM_landmarks", "Frame_Labels/PSPI"
LAYOUT = (
    f"{FRAMES}/SUBJECT/SEQUENCE/FRAME.png, {LANDMARKS}/SUBJECT/SEQUENCE/FRAME_aam.txt and "
    f"{LABELS}/SUBJECT/SEQUENCE/FRAME_facs.txt"
)
CHANNELS = 3
ALIGNMENTS = 5


@dataclass(frozen=True)
class Frames:
    """Images, landmarks `(N, 66, 2)` in pixels, pain intensities and subjects of all frames."""

    paths: np.ndarray
    landmarks: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray


def read_pain_archive(
    split: str,
    size: int = 48,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    landmark_noise: float = 0.01,
    test_subjects: Sequence[str] | None = None,
) -> tuple[Faces, np.ndarray]:
    """Reads the landmarks and labels of one split; images are read later.

    For each frame, the folder contains the image, 66 landmarks (lines of x and y) and the pain
    intensity (one number, the PSPI). Numbers are in exponent notation:

        Images/042-ll042/ll042t1aaaff/ll042t1aaaff001.png
        AAM_landmarks/042-ll042/ll042t1aaaff/ll042t1aaaff001_aam.txt
        Frame_Labels/PSPI/042-ll042/ll042t1aaaff/ll042t1aaaff001_facs.txt

    Frames without landmarks or label are skipped with a warning.

    Args:
        split: `"train"`, or `"test"` for the paper's validation split, which has other subjects.
        size: Side of the warped faces in pixels.
        train_size: Number of training frames, drawn deterministically; None uses all.
        data_dir: The archive's folder; None uses the environment variable `PAIN_ARCHIVE_DIR`.
        landmark_noise: Standard deviation of the noise on landmarks with `augment`, relative to
            the longer side of the face. The paper only calls it small.
        test_subjects: Names of the test subjects, such as `["042-ll042"]`. The paper does not name
            its seven. None chooses 7 of 25 whose share of the frames is closest to 30 %.

    Returns:
        The faces and float32 labels `(N,)`.

    Raises:
        ValueError: If the archive is not found or its files are malformed.
    """
    noise = non_negative_number("landmark_noise", landmark_noise)
    frames = read_frames(require_folder("pain_archive", data_dir, LAYOUT, SOURCE, FRAMES))
    for_test = np.isin(frames.subjects, choose_subjects(frames.subjects, test_subjects))
    reference = frames.landmarks[~for_test]
    chosen = np.flatnonzero(for_test if split == "test" else ~for_test)
    if split == "train" and train_size is not None:
        chosen = draw_examples(chosen, train_size)
    faces = Faces.fit(
        frames.paths[chosen], frames.landmarks[chosen], reference, size=size, noise=noise
    )
    return faces, frames.labels[chosen]


def read_frames(folder: Path) -> Frames:
    """Reads landmarks, label and subject of every frame, but not the images."""
    paths, landmarks, labels, without = [], [], [], []
    found = sorted((folder / FRAMES).glob("*/*/*.png"))
    check_all_inside(folder, found)
    for path in found:
        of_frame = path.relative_to(folder / FRAMES).with_suffix("")
        points = folder / LANDMARKS / f"{of_frame}_aam.txt"
        label = folder / LABELS / f"{of_frame}_facs.txt"
        if not (points.is_file() and label.is_file()):
            without.append(path)
            continue
        paths.append(path)
        landmarks.append(_read_landmarks(check_inside(folder, points)))
        labels.append(_read_label(check_inside(folder, label)))
    if not paths:
        raise ValueError(
            f"`data_dir` must be a folder with {LAYOUT}. Received: data_dir={str(folder)!r}, "
            f"{describe_folder(folder)}, {len(without)} frames without landmarks or label"
        )
    if without:
        warnings.warn(
            f"{len(without)} of {len(paths) + len(without)} frames have no landmarks or no label "
            f"and are skipped; the first is {str(without[0])!r}.",
            stacklevel=2,
        )
    return Frames(
        np.array([str(path) for path in paths]),
        np.array(landmarks, "float32"),
        np.array(labels, "float32"),
        np.array([path.parent.parent.name for path in paths]),
    )


def _read_numbers(path: Path) -> np.ndarray:
    try:
        return np.array(path.read_text(encoding="ascii").split(), "float64")
    except ValueError:
        return np.full(1, np.nan)


def _read_landmarks(path: Path) -> np.ndarray:
    numbers = _read_numbers(path)
    if numbers.size != 2 * POINTS or not np.isfinite(numbers).all() or not np.ptp(numbers) > 0:
        raise ValueError(
            f"Expected {POINTS} lines of x and y in {str(path)!r}. "
            f"Received: {numbers.size} numbers, {np.isfinite(numbers).sum()} of them finite"
        )
    return numbers.reshape(POINTS, 2)


def _read_label(path: Path) -> float:
    numbers = _read_numbers(path)
    if numbers.size != 1 or not 0 <= numbers[0] <= MAX_PSPI:
        raise ValueError(
            f"Expected one number from 0 to {MAX_PSPI} in {str(path)!r}. "
            f"Received: {numbers.tolist()}"
        )
    return float(numbers[0])


@dataclass(frozen=True)
class Faces:
    """Face images on disk that are warped to a common shape.

    `landmarks` are float32 `(N, points, 2)`, x and y in pixels. `weights` is the result of
    `warp_weights` for the reference shape. `noise` is relative to the longer side of a face.
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
    ) -> Faces:
        """Uses the mean shape of `reference`, landmarks `(M, points, 2)`, as the target."""
        shape = fit_to_square(mean_shape(reference), size)
        samples = max(1, round(float(np.mean(longer_side_lengths(reference))) / size))
        weights = tf.constant(warp_weights(shape, size, samples))
        return cls(paths, landmarks, weights, size, samples, noise)

    def __len__(self) -> int:
        return len(self.paths)

    def warp(self, path: tf.Tensor, landmarks: tf.Tensor) -> tf.Tensor:
        """Reads an image and warps it: float32 `(size, size, 3)` in `[0, 1]`."""
        image = tf.io.decode_png(check_image_file(tf.io.read_file(path)), CHANNELS)
        return warp(image, landmarks, self.weights, self.size, self.samples)


def longer_side_lengths(landmarks: np.ndarray) -> np.ndarray:
    """Longer side of the bounding box of each shape, in pixels."""
    return np.ptp(landmarks, axis=1).max(axis=1)


def serve_faces(
    faces: Faces,
    labels: np.ndarray,
    *,
    seed: int = 0,
    shuffle: bool = False,
    augment: bool = False,
) -> tf.data.Dataset:
    """Builds a pipeline of faces that are warped to the reference shape.

    With `augment` every epoch reads the images again, adds new noise to the landmarks before the
    warp and flips faces at random after it. Otherwise they are warped once and kept as uint8.
    """
    if not augment:
        warped = tf.data.Dataset.from_tensor_slices((faces.paths, faces.landmarks)).map(
            lambda path, landmarks: tf.cast(tf.round(255 * faces.warp(path, landmarks)), tf.uint8),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        images = np.stack(list(warped.as_numpy_iterator()))
        return serve_arrays(images, labels, seed=seed, shuffle=shuffle)
    paths, shapes, targets = map(tf.constant, (faces.paths, faces.landmarks, labels))
    deviations = tf.constant(faces.noise * longer_side_lengths(faces.landmarks), tf.float32)

    def draw(index: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        shape = shapes[index]
        noise = tf.random.stateless_normal(tf.shape(shape), (number, index))
        face = faces.warp(paths[index], shape + deviations[index] * noise)
        # A seed other than that of the noise, for every index.
        mirrored = tf.random.stateless_uniform((), (number, -1 - index)) < 0.5
        return tf.cond(mirrored, lambda: tf.reverse(face, [1]), lambda: face), targets[index]

    order = index_order(len(faces), seed, shuffle)
    return tf.data.Dataset.zip(order, epoch_seeds(seed)).map(
        draw, num_parallel_calls=tf.data.AUTOTUNE
    )


def mean_shape(shapes: np.ndarray) -> np.ndarray:
    """Computes the mean of shapes, each translated, rotated and scaled to fit (Procrustes).

    It is centered, of norm 1, and has the mean orientation of the shapes.

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
            "`shapes` must have finite, different landmarks. "
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
    """Translates and scales a shape so that its longer side fills a square of `size` pixels.

    Example:
    >>> fit_to_square(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.5]]), size=5).tolist()
    [[0.0, 1.0], [4.0, 1.0], [4.0, 3.0]]
    """
    low, high = shape.min(axis=0), shape.max(axis=0)
    return (shape - (low + high) / 2) * (size - 1) / (high - low).max() + (size - 1) / 2


def warp_weights(reference: np.ndarray, size: int, samples: int = 1) -> np.ndarray:
    """Computes barycentric weights of the landmarks for every pixel of a warped image.

    A piecewise affine warp fills every triangle of the reference from the triangle between the same
    landmarks of an image. The sampling position of a pixel is then a weighted mean of three
    landmarks whose weights depend on the reference only, so one matrix warps all images.
    Pixel centers have integer coordinates from 0. `samples` points along each side of a pixel are
    averaged against aliasing. The weights `((size * samples)**2, points)` in row-major order sum to
    1, or are 0 outside of the reference shape.

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
    image: tf.Tensor, landmarks: tf.Tensor, weights: tf.Tensor, size: int, samples: int = 1
) -> tf.Tensor:
    """Warps an image to the reference shape, with black outside of it.

    Landmarks `(points, 2)` outside of the image are clipped to its border. `weights` is the result
    of `warp_weights` for `size` and `samples`. Returns float32 `(size, size, channels)`.

    Example:
    >>> corners = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]], "float32")
    >>> ramp = np.arange(3, dtype="float32")[None, :, None] / 2 * np.ones((3, 1, 1), "float32")
    >>> warp(ramp, corners, warp_weights(corners, 3), 3)[0, :, 0].numpy().tolist()
    [0.0, 0.5, 1.0]
    """
    channels = image.shape[-1]
    last = tf.reverse(tf.shape(image)[:2], [0]) - 1  # x, y
    positions = tf.matmul(weights, landmarks)
    positions = tf.clip_by_value(positions, 0.0, tf.cast(last, tf.float32))
    low = tf.cast(positions, tf.int32)
    right, below = tf.split(positions - tf.cast(low, tf.float32), 2, axis=1)
    high = tf.minimum(low + 1, last)

    def read(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return to_float(tf.gather_nd(image, tf.stack([y[:, 1], x[:, 0]], axis=1)))

    upper = read(low, low) * (1 - right) + read(high, low) * right
    lower = read(low, high) * (1 - right) + read(high, high) * right
    inside = tf.reduce_sum(weights, axis=1, keepdims=True)
    values = (upper * (1 - below) + lower * below) * inside
    values = tf.reshape(values, (size, samples, size, samples, channels))
    return tf.clip_by_value(tf.reduce_mean(values, axis=(1, 3)), 0.0, 1.0)
