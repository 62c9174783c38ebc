"""Layers of the house-number networks: padding, resizing, entropy-weighted pooling."""

from functools import partial

import keras
import numpy as np
import pytest

from keras_attention.applications.multi_digit import (
    EntropyPooling,
    PadToMinimumSize,
    ResizeByFactor,
)
from tests.harness import ON_TENSORFLOW, to_channels_first, to_channels_last

SIZES = [(3, 9), (8, 4), (5, 7), (1, 1), (12, 20)]


@pytest.mark.parametrize("sides", SIZES)
def test_zeros_below_and_to_the_right(sides, rng):
    x = rng.uniform(size=(2, *sides, 3)).astype("float32")
    padded = np.asarray(PadToMinimumSize((5, 7))(x))
    assert padded.shape == (2, max(sides[0], 5), max(sides[1], 7), 3)
    np.testing.assert_array_equal(padded[:, : sides[0], : sides[1]], x)
    assert padded.sum() == pytest.approx(x.sum(), rel=1e-5)


def test_half_the_size_is_the_mean_of_four(rng):
    x = rng.uniform(size=(2, 6, 8, 3)).astype("float32")
    means = x.reshape(2, 3, 2, 4, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(ResizeByFactor(0.5)(x), means, atol=1e-6)


@pytest.mark.parametrize("make", [partial(ResizeByFactor, 0.7), partial(PadToMinimumSize, 6)])
@pytest.mark.parametrize("sides", SIZES[:3])
def test_sizes_known_and_unknown(make, sides, rng):
    x = rng.uniform(size=(2, *sides, 3)).astype("float32")
    layer = make()
    expected = np.asarray(layer(x))
    assert layer.compute_output_shape(x.shape) == expected.shape
    assert layer.compute_output_shape((None, None, None, 3)) == (None, None, None, 3)
    first = make(data_format="channels_first")
    np.testing.assert_allclose(to_channels_last(np.asarray(first(to_channels_first(x)))), expected)
    assert first.compute_output_shape((2, 3, None, None)) == (2, 3, None, None)
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layer(inputs))
    for jit in (False, True):
        model.compile(jit_compile=jit)
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-6)
    copy = type(layer).from_config(layer.get_config())
    np.testing.assert_allclose(copy(x), expected)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="JAX knows all sizes")
def test_channels_stay_known(rng):
    inputs = keras.Input((None, None, 3))
    for layer in (ResizeByFactor(0.5), PadToMinimumSize(9)):
        assert layer(inputs).shape == (None, None, None, 3)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_mean_by_entropy(data_format, rng):
    maps = np.asarray(keras.ops.softmax(rng.normal(size=(2, 3, 4, 5)))).astype("float32")
    x = maps if data_format == "channels_last" else to_channels_first(maps)
    layer = EntropyPooling(data_format)
    pooled, weights = layer(x, return_attention=True)
    expected = np.sum(maps * np.asarray(weights)[..., None], axis=(1, 2))
    np.testing.assert_allclose(pooled, expected, rtol=1e-5)
    np.testing.assert_allclose(np.sum(pooled, axis=-1), 1.0, rtol=1e-5)
    assert layer.compute_output_shape(x.shape) == pooled.shape
    both = layer(keras.Input(x.shape[1:]), return_attention=True)
    assert [tensor.shape for tensor in both] == [(None, 5), (None, 3, 4)]
    assert EntropyPooling.from_config(layer.get_config()).data_format == data_format


def test_mean_by_entropy_in_half_precision(rng):
    keras.config.set_dtype_policy("mixed_float16")
    pooled = EntropyPooling()(np.full((1, 2, 2, 4), 0.25))
    assert pooled.dtype == "float32"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResizeByFactor(0), "Received: scale=0"),
        (lambda: PadToMinimumSize((0, 3)), r"Received: minimum=\(0, 3\)"),
        (lambda: EntropyPooling("last"), "Received: data_format='last'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
