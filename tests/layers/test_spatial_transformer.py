import keras
import numpy as np
import pytest

from keras_attention.layers import SpatialTransformer
from tests import harness


def layer_with(transform, shape, **options):
    """A transformer that warps every image in the same way."""
    layer = SpatialTransformer(keras.layers.Flatten(), **options)
    layer.build(shape)
    layer.affine.bias.assign(np.ravel(transform))
    return layer


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_images_initially_pass_unchanged(data_format, rng):
    x = rng.normal(size=(2, 9, 14, 3)).astype("float32")
    localization = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(6)])
    layer = SpatialTransformer(localization, data_format=data_format)
    np.testing.assert_array_equal(numpy(layer(x)), x)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_mirrors(data_format, rng):
    x = rng.normal(size=(2, 6, 4, 5)).astype("float32")
    layer = layer_with([[-1, 0, 0], [0, 1, 0]], x.shape, data_format=data_format)
    axis = 2 if data_format == "channels_last" else 3
    np.testing.assert_array_equal(numpy(layer(x)), np.flip(x, axis))


def test_gradients_are_those_of_differences(rng):
    x = rng.normal(size=(2, 5, 6, 1)).astype("float32")
    transform = np.array([0.7, 0.2, 0.1, -0.1, 0.8, 0.05])
    weights = rng.normal(size=(2, 4, 3, 1)).astype("float32")
    layer = layer_with(transform, x.shape, output_size=(4, 3))

    def loss(bias):
        layer.affine.bias.assign(bias)
        return float(np.sum(np.square(numpy(layer(x)), dtype="float64") * weights))

    by_bias = harness.value_and_gradients(layer, x, weights)[3]
    for index in range(6):
        step = 1e-3 * np.eye(6)[index]
        slope = (loss(transform + step) - loss(transform - step)) / 2e-3
        assert by_bias[index] == pytest.approx(slope, rel=2e-2, abs=2e-2)


@pytest.mark.slow
def test_learns_to_center_squares(rng):
    """Trains on squares at random positions whose target is the center."""
    x = np.zeros((16, 12, 12, 1), "float32")
    for image, (top, left) in zip(x, rng.integers(1, 6, (16, 2)), strict=True):
        image[top : top + 5, left : left + 5] = 1.0
    target = np.zeros((16, 12, 12, 1), "float32")
    target[:, 3:9, 3:9] = 1.0
    inputs = keras.Input((12, 12, 1))
    localization = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(16, "relu")])
    model = keras.Model(inputs, SpatialTransformer(localization)(inputs))
    model.compile(keras.optimizers.Adam(0.03), "mse")
    first = model.evaluate(x, target, verbose=0)
    model.fit(x, target, epochs=20, batch_size=16, verbose=0)
    assert model.evaluate(x, target, verbose=0) < 0.5 * first


def test_nested_weights_and_state_are_tracked(rng):
    localization = keras.Sequential([keras.layers.Flatten(), keras.layers.BatchNormalization()])
    layer = SpatialTransformer(localization)
    x = rng.normal(size=(4, 3, 5, 1)).astype("float32")
    layer(x, training=True)
    assert len(layer.trainable_weights) == 4
    assert np.abs(numpy(layer.non_trainable_weights[0])).max() > 0.0
    copy = SpatialTransformer.from_config(layer.get_config())
    assert copy.localization is not localization
    assert type(copy.localization) is keras.Sequential


def test_transforms_stay_in_float32(rng):
    x = rng.normal(size=(1, 200, 300, 1)).astype("float16")
    layer = SpatialTransformer(keras.layers.GlobalMaxPooling2D(), dtype="mixed_float16")
    outputs, transforms = layer(x, return_attention=True)
    np.testing.assert_array_equal(numpy(outputs), x)
    assert keras.backend.standardize_dtype(transforms.dtype) == "float32"


@pytest.mark.parametrize("localization", [None, 6, "flatten"])
def test_localization_that_is_not_a_layer(localization):
    with pytest.raises(ValueError, match="Received: localization="):
        SpatialTransformer(localization)


@pytest.mark.parametrize("localization", [keras.layers.ReLU(), keras.layers.Flatten()])
def test_localization_that_does_not_return_a_vector(localization):
    layer = SpatialTransformer(localization)
    with pytest.raises(ValueError, match=r"must return \(B, features\).*Received: localization="):
        layer.build((None, None, 8, 1))


@pytest.mark.parametrize("size", [0, (3,), "big", (4, -1)])
def test_bad_output_size(size):
    with pytest.raises(ValueError, match="Received: output_size="):
        SpatialTransformer(keras.layers.Flatten(), output_size=size)


def test_channels_first_equals_channels_last_on_any_size(rng):
    x = rng.normal(size=(2, 8, 6, 3)).astype("float32")
    transform = [[0.5, 0.2, 0.1], [0, 1.2, -0.2]]
    last = layer_with(transform, x.shape, output_size=(5, 7))
    swapped = harness.to_channels_first(x)
    first = layer_with(transform, swapped.shape, output_size=(5, 7), data_format="channels_first")
    got = harness.to_channels_last(numpy(first(swapped)))
    np.testing.assert_allclose(got, numpy(last(x)), atol=1e-6)
