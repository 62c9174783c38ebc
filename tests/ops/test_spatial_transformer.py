import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from keras_attention import ops

IDENTITY = np.array([[1, 0, 0], [0, 1, 0]], "float32")


def warp(images, transform, size=None, **options):
    transforms = np.broadcast_to(np.asarray(transform, "float32"), (len(images), 2, 3))
    return keras.ops.convert_to_numpy(ops.spatial_transform(images, transforms, size, **options))


def reference(image, transform, size):
    """Equations 1 and 5, one pixel at a time in double precision."""
    height, width, channels = image.shape
    outputs = np.zeros((*size, channels))
    for i, j in np.ndindex(*size):
        target = np.array([(2 * j + 1) / size[1] - 1, (2 * i + 1) / size[0] - 1, 1])
        x, y = np.asarray(transform, "float64") @ target
        column, row = ((x + 1) * width - 1) / 2, ((y + 1) * height - 1) / 2
        for n, m in np.ndindex(height, width):
            weight = max(0, 1 - abs(column - m)) * max(0, 1 - abs(row - n))
            outputs[i, j] += image[n, m] * weight
    return outputs


@settings(max_examples=25, deadline=None)
@given(
    transform=arrays("float32", (2, 3), elements=st.floats(-2, 2, width=32)),
    size=st.sampled_from([(1, 1), (5, 2), (3, 6)]),
)
def test_equations(transform, size):
    image = np.random.default_rng(0).uniform(size=(4, 3, 2)).astype("float32")
    expected = reference(image, transform, size)
    np.testing.assert_allclose(warp(image[None], transform, size)[0], expected, atol=2e-5)


@pytest.mark.parametrize("sides", [(1, 1), (5, 8), (47, 33), (224, 300)])
def test_identity_is_exact(sides, rng):
    images = rng.normal(size=(2, *sides, 3)).astype("float32")
    np.testing.assert_array_equal(warp(images, IDENTITY), images)


def test_flips_rotations_and_shifts_by_whole_pixels(rng):
    images = rng.normal(size=(2, 6, 8, 3)).astype("float32")
    np.testing.assert_array_equal(warp(images, [[-1, 0, 0], [0, 1, 0]]), images[:, :, ::-1])
    np.testing.assert_array_equal(warp(images, [[1, 0, 0], [0, -1, 0]]), images[:, ::-1])
    # Two of 8 pixels are half of the distance from the center to the border.
    right = warp(images, [[1, 0, 0.5], [0, 1, 0]])
    np.testing.assert_allclose(right[:, :, :6], images[:, :, 2:], atol=1e-6)
    np.testing.assert_array_equal(right[:, :, 6:], 0.0)
    rotated = warp(images, [[0, 1, 0], [-1, 0, 0]], (8, 6))
    np.testing.assert_allclose(rotated, np.rot90(images, axes=(2, 1)), atol=1e-6)


def test_agrees_with_scipy(rng):
    image = rng.normal(size=(9, 12)).astype("float32")
    theta = np.array([[0.8, 0.3, 0.1], [-0.2, 0.9, -0.25]])
    points = ops.affine_grid(theta[None], (9, 12), (7, 10))
    rows_and_columns = np.moveaxis(keras.ops.convert_to_numpy(points)[0], -1, 0)
    # With a border of zeros SciPy interpolates to zero beyond the last pixel, too.
    bordered = np.pad(image, 20)
    expected = ndimage.map_coordinates(bordered, rows_and_columns + 20, order=1)
    outputs = warp(image[None, :, :, None], theta, (7, 10))[0, :, :, 0]
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_each_image_has_its_own_transform(rng):
    images = rng.normal(size=(3, 4, 5, 2)).astype("float32")
    transforms = rng.uniform(-1, 1, size=(3, 2, 3)).astype("float32")
    together = keras.ops.convert_to_numpy(ops.spatial_transform(images, transforms))
    for index in range(3):
        single = warp(images[index : index + 1], transforms[index])
        np.testing.assert_allclose(together[index : index + 1], single, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_non_finite_transforms_do_not_read_outside_the_image(value):
    outputs = warp(np.ones((1, 4, 4, 1), "float32"), np.full((2, 3), value))
    assert outputs.shape == (1, 4, 4, 1)
