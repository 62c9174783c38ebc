import numpy as np
import pytest

from keras_attention.datasets.pain_archive import fit_to_square, mean_shape, warp, warp_weights
from tests.datasets.made_folders import face_shape

SIZE = 24
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.4, 0.6], [0.7, 0.2]]) * (SIZE - 1.0)


def smooth(height, width):
    """An image whose bilinear interpolation is almost exact."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + y / 7), np.cos(x / 8 - y / 9), np.sin(y / 6)]
    return (np.stack(waves, axis=-1) / 2 + 0.5).astype("float32")


def turned(shape, angle=0.0, scale=1.0, move=(0.0, 0.0)):
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return shape @ np.array([[cos, sin], [-sin, cos]]) + np.array(move)


def test_reference_landmarks_change_nothing():
    image = smooth(SIZE, SIZE)
    warped = warp(image, CORNERS.astype("float32"), warp_weights(CORNERS, SIZE), SIZE)
    np.testing.assert_allclose(warped, image, atol=1e-5)


def test_an_affine_change_is_undone():
    """The image at A x must come back to x."""
    affine, move = np.array([[1.3, 0.2], [-0.3, 1.1]]), np.array([9.0, 4.0])
    wide = smooth(60, 60)
    landmarks = (CORNERS @ affine + move).astype("float32")
    warped = warp(wide, landmarks, warp_weights(CORNERS, SIZE), SIZE)
    y, x = np.mgrid[:SIZE, :SIZE]
    u, v = np.moveaxis(np.stack([x, y], axis=-1) @ affine + move, -1, 0)
    waves = [np.sin(u / 9 + v / 7), np.cos(u / 8 - v / 9), np.sin(v / 6)]
    np.testing.assert_allclose(warped, np.stack(waves, axis=-1) / 2 + 0.5, atol=5e-3)


def test_each_triangle_is_warped_on_its_own():
    """Moving one landmark moves what is read around it and nothing far away."""
    moved = CORNERS.copy()
    moved[4] += [3.0, -2.0]
    image, weights = smooth(SIZE, SIZE), warp_weights(CORNERS, SIZE)
    where = weights @ moved
    inner = weights @ CORNERS - np.stack(np.meshgrid(*[np.arange(SIZE)] * 2), -1).reshape(-1, 2)
    np.testing.assert_allclose(inner, 0, atol=1e-5)
    far = weights[:, 4] == 0
    assert 0.1 < far.mean() < 0.9
    warped = warp(image, moved.astype("float32"), weights, SIZE).numpy().reshape(-1, 3)
    np.testing.assert_allclose(warped[far], image.reshape(-1, 3)[far], atol=1e-5)
    assert np.abs(where[~far] - (weights @ CORNERS)[~far]).max() > 2


def test_outside_the_outline_is_black_and_inside_weights_sum_to_one():
    shape = fit_to_square(face_shape(), SIZE)
    weights = warp_weights(shape, SIZE, samples=2)
    assert weights.shape == (4 * SIZE * SIZE, 66)
    sums = weights.sum(axis=1)
    assert np.all(np.isclose(sums, 1, atol=1e-5) | (sums == 0))
    assert 0.5 < sums.mean() < 0.9
    white = np.ones((40, 40, 1), "float32")
    warped = warp(white, (shape + 5).astype("float32"), weights, SIZE, 2).numpy()
    assert warped[0, 0, 0] == 0
    assert warped.max() == 1


def test_samples_smooth_images_that_shrink():
    """Rows of black and white, four to a pixel of the result."""
    rows = np.zeros((4 * SIZE, 4 * SIZE, 1), "float32")
    rows[1::2] = 1
    landmarks = (CORNERS * 4).astype("float32")
    rough = warp(rows, landmarks + 1.0, warp_weights(CORNERS, SIZE), SIZE)
    np.testing.assert_allclose(rough, 1, atol=1e-4)
    fine = warp(rows, landmarks + 1.5, warp_weights(CORNERS, SIZE, 4), SIZE, 4)
    np.testing.assert_allclose(fine[1:-1, 1:-1], 0.5, atol=1e-4)


def test_mean_shape_forgets_place_size_and_turn():
    shape = face_shape()
    changes = [(0.1, 1.0, (3, 4)), (-0.1, 2.5, (100, 50)), (0.0, 0.4, (-7, 0))]
    mean = mean_shape(np.stack([turned(shape, *change) for change in changes]))
    centered = shape - shape.mean(axis=0)
    np.testing.assert_allclose(mean, centered / np.linalg.norm(centered), atol=1e-6)


def test_fit_to_square_fills_the_longer_side():
    shape = fit_to_square(face_shape(), 48)
    assert np.ptp(shape, axis=0).max() == pytest.approx(47)
    np.testing.assert_allclose((shape.min(axis=0) + shape.max(axis=0)) / 2, 23.5)


def test_bad_shapes():
    with pytest.raises(ValueError, match=r"landmarks that differ. Received: shapes\[1\]"):
        mean_shape(np.stack([CORNERS, np.ones_like(CORNERS)]))
    line = np.arange(5.0)[:, None] * [1.0, 2.0]
    with pytest.raises(ValueError, match=r"span an area\. Received: reference="):
        warp_weights(line, 8)
