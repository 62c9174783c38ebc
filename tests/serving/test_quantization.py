"""Exports with int8 weights and activations, and models that Keras has quantized."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention.export.litert import LiteRTFile

here = pytest.mark.usefixtures("reloads_here")


@pytest.fixture
def model():
    inputs = keras.Input((10, 10, 1))
    x = keras.layers.Conv2D(16, 3, activation="relu")(inputs)
    x = ka.layers.CBAM(1, name="cbam")(x)
    x = keras.layers.Flatten()(keras.layers.Conv2D(32, 3, activation="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(x))


@pytest.fixture
def images(rng):
    return rng.uniform(size=(20, 10, 10, 1)).astype("float32")


@pytest.mark.slow
def test_int8_outputs_are_close_and_the_file_is_smaller(model, images, tmp_path):
    plain = ka.export.export_litert(model, tmp_path / "plain.tflite", inputs=images)
    path = ka.export.export_litert(
        model, tmp_path / "int8.tflite", inputs=images, quantize="int8", attention=True
    )
    assert path.stat().st_size < 0.8 * plain.stat().st_size
    tensors = LiteRTFile(path)._interpreter.get_tensor_details()
    kernels = [each for each in tensors if each["dtype"] == np.int8]
    assert any(tuple(each["shape"]) == (32, 3, 3, 16) for each in kernels)
    maps, predictions = LiteRTFile(path)([images])
    assert maps.dtype == predictions.dtype == np.float32
    assert maps.shape == (20, 8, 8, 16)
    np.testing.assert_allclose(predictions, model(images), atol=0.05)


def test_int8_requires_inputs_and_outputs_within_tolerance(model, images, tmp_path):
    path = tmp_path / "int8.tflite"
    with pytest.raises(ValueError, match="`inputs` must be given"):
        ka.export.export_litert(model, path, quantize="int8")
    with pytest.raises(ValueError, match="must be one of None, 'int8'"):
        ka.export.export_litert(model, path, quantize="int4", inputs=images)
    with pytest.raises(RuntimeError, match="root mean square"):
        ka.export.export_litert(model, path, quantize="int8", inputs=images, tolerance=0.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@here
def test_models_that_keras_quantized(model, images, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it lists all layers that are not quantized
        model.quantize("int8")
    quantized = [
        w.path for w in model.weights if keras.backend.standardize_dtype(w.dtype) == "int8"
    ]
    assert quantized == ["cbam/hidden/kernel", "cbam/channels/kernel", "dense/kernel"]
    path = ka.export.export_saved_model(model, tmp_path / "served", inputs=images)
    served = tf.saved_model.load(path)
    np.testing.assert_allclose(served.serve(images), model(images), atol=1e-5)
    assert ka.export.export_onnx(model, tmp_path / "model.onnx", inputs=images).is_file()
    with pytest.raises(RuntimeError, match="Keras has quantized the model"):
        ka.export.export_litert(model, tmp_path / "model.tflite", inputs=images)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["model.onnx", "served"]


def test_recurrent_layers_require_a_fixed_sequence_length(tmp_path):
    model = keras.Sequential([keras.Input((None, 2)), keras.layers.LSTM(3)])
    with pytest.raises(ValueError, match="fixed sequence length"):
        ka.export.export_litert(model, tmp_path / "model.tflite")
    assert not model.layers[0].unroll
