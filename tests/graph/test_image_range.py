"""Value ranges of images, inferred from the first operations of a model and from images."""

import warnings

import keras
import numpy as np
import pytest

from keras_attention.graph.image_range import (
    infer_image_range,
    resolve_image_range,
    scale_images,
    validate_image_range,
)
from tests.harness import ON_TENSORFLOW

L = keras.layers
BYTES, UNIT, SYMMETRIC = (0.0, 255.0), (0.0, 1.0), (-1.0, 1.0)
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def starting_with(function, sides=(6, 6, 3), **options):
    inputs = keras.Input(sides, **options)
    return keras.Model(inputs, L.Conv2D(2, 3)(function(inputs)))


def normalization(low, high):
    layer = L.Normalization()
    layer.adapt(np.random.default_rng(0).uniform(low, high, (8, 6, 6, 3)).astype("float32"))
    return layer


def augmentation():
    return keras.Sequential([L.RandomFlip(), L.RandomRotation(0.1), L.Rescaling(1 / 255)])


FIRST_OPERATIONS = {
    "none": (lambda x: x, None),
    "Rescaling": (L.Rescaling(1 / 255), BYTES),
    "Rescaling to [-1, 1]": (L.Rescaling(1 / 127.5, offset=-1), BYTES),
    "Rescaling from [0, 1]": (L.Rescaling(2.0, offset=-1), UNIT),
    "Rescaling from [-1, 1]": (L.Rescaling(0.5, offset=0.5), SYMMETRIC),
    "Rescaling to bytes": (L.Rescaling(255), UNIT),
    "division": (lambda x: x / 255.0, BYTES),
    "product": (lambda x: x * (1 / 127.5) - 1, BYTES),
    "division by 256": (lambda x: x / 256 - 0.5, BYTES),
    "inverted": (lambda x: 1 - x / 255, BYTES),
    "standard deviation": (lambda x: x / 100, BYTES),
    "mean": (lambda x: x[..., ::-1] - np.array([103.9, 116.8, 123.7], "float32"), BYTES),
    "mean of [0, 1]": (lambda x: x - 0.5, UNIT),
    "ImageNet": (lambda x: (x / 255 - MEAN) / DEVIATION, BYTES),
    "ImageNet of [0, 1]": (lambda x: (x - MEAN) / DEVIATION, UNIT),
    "Normalization": (lambda x: normalization(0, 255)(x), BYTES),
    "Normalization of [0, 1]": (lambda x: normalization(0, 1)(x), UNIT),
    "Normalization of [-1, 1]": (lambda x: normalization(-1, 1)(x), SYMMETRIC),
    "Normalization, not adapted": (L.Normalization(), None),
    "augmentation, nested": (lambda x: augmentation()(x), BYTES),
    "nested twice": (lambda x: keras.Sequential([augmentation()])(x), BYTES),
    "noise": (lambda x: L.GaussianNoise(0.1)(L.Rescaling(1 / 255)(x)), BYTES),
    "padding": (lambda x: L.ZeroPadding2D()(L.Rescaling(1 / 127.5, offset=-1)(x)), BYTES),
    "resizing": (lambda x: L.Rescaling(1 / 255)(L.Resizing(9, 9)(x)), BYTES),
    "clip": (lambda x: keras.ops.clip(x / 255, 0, 1), BYTES),
    "there and back": (lambda x: L.Rescaling(1 / 255)(L.Rescaling(255)(x)), None),
    "preprocess_input": (keras.applications.densenet.preprocess_input, BYTES),
}


@pytest.mark.parametrize("name", FIRST_OPERATIONS)
def test_first_operations(name):
    function, expected = FIRST_OPERATIONS[name]
    assert infer_image_range(starting_with(function)) == expected


def test_integer_images_and_any_size():
    cast = starting_with(lambda x: keras.ops.cast(x, "float32") / 255, dtype="uint8")
    assert infer_image_range(cast) == BYTES
    assert infer_image_range(starting_with(lambda x: x / 255, (None, None, 1))) == BYTES


def test_image_input_among_others():
    numbers, images = keras.Input((3,), name="numbers"), keras.Input((6, 6, 3), name="images")
    x = L.Concatenate()([L.Flatten()(images / 255), numbers])
    for inputs in ([numbers, images], {"numbers": numbers, "images": images}):
        assert infer_image_range(keras.Model(inputs, L.Dense(2)(x))) == BYTES
    assert infer_image_range(keras.Model(numbers, L.Dense(2)(numbers))) is None


class Rescaled(keras.Model):
    def __init__(self):
        super().__init__()
        self.rescaling, self.convolution = L.Rescaling(1 / 255), L.Conv2D(2, 3)

    def call(self, inputs):
        return self.convolution(self.rescaling(inputs))


def test_subclassed_models():
    model = Rescaled()
    model(np.zeros((1, 6, 6, 3)))
    assert infer_image_range(model) == BYTES


def test_random_numbers_are_not_consumed():
    model = starting_with(augmentation())
    before = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    infer_image_range(model)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


@pytest.mark.slow
@pytest.mark.skipif(not ON_TENSORFLOW, reason="models of Keras, the same on every backend")
@pytest.mark.parametrize(
    ("name", "expected"),
    [("EfficientNetB0", BYTES), ("MobileNetV3Small", BYTES), ("ConvNeXtTiny", BYTES)],
)
def test_models_of_keras(name, expected):
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3))
    assert infer_image_range(model) == expected


IMAGES = np.random.default_rng(0).uniform(size=(2, 6, 6, 3)).astype("float32")
RESCALING, PLAIN = L.Rescaling(1 / 255), L.Rescaling(1.0)


@pytest.mark.parametrize(
    ("first", "image_range", "images", "expected", "warning"),
    [
        (RESCALING, None, 255 * IMAGES, BYTES, None),
        (RESCALING, None, None, BYTES, None),
        (RESCALING, None, np.zeros_like(IMAGES), BYTES, None),
        (RESCALING, None, IMAGES, BYTES, "look like another range"),
        (RESCALING, (0, 1), IMAGES, UNIT, r"is one for images in \[0, 255\]"),
        (PLAIN, None, IMAGES, UNIT, None),
        (PLAIN, None, None, UNIT, None),
        (PLAIN, None, 255 * IMAGES, BYTES, "`image_range` is not given"),
        (PLAIN, None, (255 * IMAGES).astype("uint8"), BYTES, None),
        (PLAIN, None, 2 * IMAGES - 1, SYMMETRIC, "`image_range` is not given"),
        (PLAIN, (0, 255), 255 * IMAGES, BYTES, None),
        (PLAIN, (-1, 1), 2 * IMAGES - 1, SYMMETRIC, None),
        (PLAIN, (0, 1), 255 * IMAGES, UNIT, r"must be in \[0, 1\]"),
    ],
)
def test_range_of_images(first, image_range, images, expected, warning):
    model = starting_with(first)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert resolve_image_range(model, image_range, images) == expected
    assert len(caught) == (warning is not None)
    if warning is not None:
        with pytest.warns(UserWarning, match=warning):
            resolve_image_range(model, image_range, images)


def test_values_beyond_common_ranges():
    with pytest.warns(UserWarning, match="from -1.98"):
        low, high = resolve_image_range(starting_with(PLAIN), None, 4.5 * IMAGES - 2)
    assert (low, high) == (np.min(4.5 * IMAGES - 2), np.max(4.5 * IMAGES - 2))
    with pytest.raises(ValueError, match="must be finite"):
        resolve_image_range(starting_with(PLAIN), None, np.full((1, 6, 6, 3), np.nan))


@pytest.mark.parametrize("wrong", [(1, 0), (0, 0), (0,), "01", 255, (0, np.inf), (np.nan, 1), {}])
def test_wrong_ranges(wrong):
    with pytest.raises(ValueError, match="`image_range` must be a pair of increasing"):
        validate_image_range(wrong)


def test_scaling():
    assert validate_image_range(np.array([-1, 1])) == SYMMETRIC
    np.testing.assert_allclose(scale_images(np.array([-1.0, 0.0]), SYMMETRIC, BYTES), [0, 127.5])
