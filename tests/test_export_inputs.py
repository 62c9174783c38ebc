"""Exports of models with several inputs, layers for training only, and value ranges of images."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention.export import onnx, saved_model, verification
from keras_attention.export.litert import LiteRTFile
from tests.harness import cross_section

L = keras.layers
here = pytest.mark.usefixtures("reloads_here")
FILES = {"onnx": ".onnx", "litert": ".tflite"}


def augmented(*layers, nested=False):
    """A model with layers that change their inputs in training."""
    inputs = keras.Input((12, 10, 3), name="images")
    x = keras.Sequential(list(layers))(inputs) if nested else inputs
    for layer in () if nested else layers:
        x = layer(x)
    x = L.Conv2D(4, 3, padding="same", name="maps")(x)
    return keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(L.Dropout(0.5)(x))))


def random_layers():
    return [L.RandomFlip(), L.RandomRotation(0.3), L.RandomContrast(0.5), L.GaussianNoise(0.5)]


class Subclassed(keras.Model):
    """A model whose `call` has no `training`."""

    def __init__(self):
        super().__init__()
        self.flip, self.noise, self.top = L.RandomFlip(), L.GaussianNoise(1.0), L.Dense(2)

    def call(self, inputs):
        return self.top(L.Flatten()(self.noise(self.flip(inputs))))


@here
@pytest.mark.parametrize("nested", cross_section([False, True], fast={True}))
def test_layers_for_training_only_are_left_out(nested, rng, tmp_path):
    model = augmented(*random_layers(), nested=nested)
    x = rng.uniform(size=(2, 12, 10, 3)).astype("float32")
    expected = model(x, training=False)
    path = ka.export.export_saved_model(model, tmp_path / "served")
    served = tf.saved_model.load(path)
    np.testing.assert_allclose(served.serve(x), expected, atol=1e-5)
    path = ka.export.export_litert(model, tmp_path / "model.tflite")
    np.testing.assert_allclose(LiteRTFile(path)([x])[0], expected, atol=1e-5)
    assert "__call__" not in vars(model)


@pytest.mark.parametrize("nested", [False, True])
def test_layers_for_training_only_in_onnx(nested, rng, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = augmented(*random_layers(), nested=nested)
    x = rng.uniform(size=(2, 12, 10, 3)).astype("float32")
    path = ka.export.export_onnx(model, tmp_path / "model.onnx")
    outputs = onnxruntime.InferenceSession(str(path)).run(None, {"images": x})[0]
    np.testing.assert_allclose(outputs, model(x, training=False), atol=1e-5)


@here
@pytest.mark.parametrize("kind", ["saved_model", "onnx", "litert"])
def test_subclassed_models_with_random_layers(kind, rng, tmp_path):
    model, x = Subclassed(), rng.uniform(size=(2, 5, 4, 3)).astype("float32")
    model(x)
    path = getattr(ka.export, f"export_{kind}")(model, tmp_path / "model", inputs=x)
    assert path.exists()


@here
def test_saved_model_after_a_failed_onnx_export(tmp_path, monkeypatch):
    """Attend-and-rectify models share compiled functions among exports."""
    model = augmented(*random_layers())
    model = ka.surgery.add_attend_rectify(model, ["maps"], 3)

    def fails(*args):
        raise RuntimeError("no session")

    with monkeypatch.context() as patch:
        patch.setattr(onnx, "_run_onnx", fails)
        with pytest.raises(RuntimeError, match="no session"):
            ka.export.export_onnx(model, tmp_path / "model.onnx")
    assert ka.export.export_saved_model(model, tmp_path / "served").is_dir()


def difference(kind):
    """A model of two inputs of the same shape with different roles."""
    # The names are sorted in another order than the inputs.
    first, second = keras.Input((4,), name="z"), keras.Input((4,), name="a")
    outputs = L.Dense(2, name="plus")(first) - 2 * L.Dense(2, name="minus")(second)
    inputs = {
        "list": [first, second],
        "dictionary": {"z": first, "a": second},
        "nested": [first, {"a": (second,)}],
    }
    return keras.Model(inputs[kind], outputs)


@here
@pytest.mark.parametrize("kind", ["list", "dictionary", "nested"])
@pytest.mark.parametrize("format_", ["saved_model", "onnx", "litert"])
def test_inputs_of_equal_shapes(kind, format_, rng, tmp_path):
    model = difference(kind)
    path = getattr(ka.export, f"export_{format_}")(model, tmp_path / "model")
    z, a = rng.normal(size=(2, 3, 4)).astype("float32")
    plus, minus = model.get_layer("plus"), model.get_layer("minus")
    expected = plus(z) - 2 * minus(a)
    if format_ == "litert":
        np.testing.assert_allclose(LiteRTFile(path)({"z": z, "a": a})[0], expected, atol=1e-5)


def test_int8_calibration_of_inputs_with_different_ranges(rng, tmp_path):
    model = difference("list")
    wide, narrow = rng.normal(size=(50, 4)), 0.01 * rng.normal(size=(50, 4))
    path = ka.export.export_litert(
        model, tmp_path / "model.tflite", quantize="int8", inputs=[wide, narrow]
    )
    wide, narrow = wide.astype("float32"), narrow.astype("float32")
    outputs = LiteRTFile(path)({"z": wide, "a": narrow})[0]
    np.testing.assert_allclose(outputs, model([wide, narrow]), atol=0.1)


@here
def test_examples_are_converted_and_validated(rng, tmp_path):
    model = difference("dictionary")
    inputs = {"a": rng.normal(size=(3, 4)), "z": rng.integers(0, 5, (3, 4))}
    assert ka.export.export_litert(model, tmp_path / "a", inputs=inputs).name == "a.tflite"
    for wrong in ({"a": inputs["a"]}, {**inputs, "b": inputs["a"]}, [inputs["a"]] * 2):
        with pytest.raises(ValueError, match="must have the structure of the model's inputs"):
            ka.export.export_saved_model(model, tmp_path / "b", inputs=wrong)


@pytest.mark.parametrize("kind", FILES)
def test_suffixes(kind, tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    export = getattr(ka.export, f"export_{kind}")
    assert export(model, tmp_path / "model").name == f"model{FILES[kind]}"

    def computed(*args, **kwargs):
        raise AssertionError("computed before the path was validated")

    monkeypatch.setattr(verification, "expected_outputs", computed)
    wrong = {"pb", "keras", "onnx", "tflite", "txt"} - {FILES[kind][1:]}
    for suffix in wrong:
        with pytest.raises(ValueError, match=f"must end with '{FILES[kind]}'.*x.{suffix}"):
            export(model, tmp_path / f"x.{suffix}")
    assert [item.name for item in tmp_path.iterdir()] == [f"model{FILES[kind]}"]


@pytest.mark.parametrize("suffix", ["onnx", "pb", "tflite", "keras", "h5"])
def test_saved_models_are_folders(suffix, tmp_path):
    model = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    with pytest.raises(ValueError, match=f"must be a folder.*x.{suffix}.*export_onnx"):
        ka.export.export_saved_model(model, tmp_path / f"x.{suffix}")
    assert not list(tmp_path.iterdir())


def rescaled(first):
    layers = [keras.Input((8, 9, 3), name="images"), first, L.Conv2D(4, 3, activation="relu")]
    return keras.Sequential([*layers, L.GlobalAveragePooling2D(), L.Dense(3)])


@here
@pytest.mark.parametrize(
    ("first", "options", "expected"),
    [
        (L.Rescaling(1 / 255), {}, (0, 255)),
        (L.Rescaling(1 / 127.5, offset=-1), {}, (0, 255)),
        (L.Rescaling(2.0, offset=-1), {}, (0, 1)),
        (L.ReLU(), {}, (0, 1)),
        (L.ReLU(), {"image_range": (-1, 1)}, (-1, 1)),
    ],
)
def test_image_files_are_decoded_to_the_range_of_the_model(first, options, expected, rng, tmp_path):
    model = rescaled(first)
    path = ka.export.export_saved_model(model, tmp_path / "served", **options)
    pixels = rng.integers(0, 256, (2, 8, 9, 3), dtype=np.uint8)
    files = tf.stack([tf.io.encode_png(image) for image in pixels])
    images = expected[0] + (expected[1] - expected[0]) * pixels.astype("float32") / 255
    served = tf.saved_model.load(path)
    np.testing.assert_allclose(served.serve_bytes(files), model(images), rtol=1e-4, atol=1e-4)


@here
def test_examples_show_the_range(rng, tmp_path):
    model, pixels = rescaled(L.ReLU()), rng.integers(0, 256, (2, 8, 9, 3), dtype=np.uint8)
    with pytest.warns(UserWarning, match=r"so \[0, 255\] is used"):
        path = ka.export.export_saved_model(
            model, tmp_path / "served", inputs=pixels.astype("float32")
        )
    files = tf.stack([tf.io.encode_png(image) for image in pixels])
    served = tf.saved_model.load(path)
    np.testing.assert_allclose(
        served.serve_bytes(files), model(pixels.astype("float32")), rtol=1e-4
    )


@here
def test_a_wrong_decoder_is_noticed(tmp_path, monkeypatch):
    decoder = saved_model.image_decoder
    monkeypatch.setattr(saved_model, "image_decoder", lambda shape, first, _: decoder(shape, first))
    with pytest.raises(RuntimeError, match=r"\(serve_bytes\)'s outputs differ"):
        ka.export.export_saved_model(rescaled(L.Rescaling(1 / 255)), tmp_path / "served")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["saved_model", "onnx", "litert"])
def test_wrong_ranges_are_refused_first(kind, tmp_path):
    with pytest.raises(ValueError, match="`image_range` must be a pair of increasing"):
        getattr(ka.export, f"export_{kind}")(
            rescaled(L.ReLU()), tmp_path / "model", image_range=(1, 0)
        )


def test_int8_examples_in_another_range_warn(rng, tmp_path):
    images = rng.uniform(size=(10, 8, 9, 3)).astype("float32")
    model, path = rescaled(L.Rescaling(1 / 255)), tmp_path / "model.tflite"
    with pytest.warns(UserWarning, match="look like another range"):
        ka.export.export_litert(model, path, quantize="int8", inputs=images)
    path = ka.export.export_litert(
        model, path, quantize="int8", inputs=255 * images, overwrite=True
    )
    np.testing.assert_allclose(LiteRTFile(path)([255 * images])[0], model(255 * images), atol=0.1)
