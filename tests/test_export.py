import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention.export import saved_model
from keras_attention.ops.roi_grouping import ConvolutionCost
from tests.harness import cross_section

# Groups cost nothing: every saved pixel counts.
FREE = ConvolutionCost(start=0.0, assembly=0.0, half_kernels=0.0, half_pixels=0.0)


@pytest.fixture
def model():
    inputs = keras.Input((None, None, 1))
    x = ka.layers.TargetLayer(4, 3)(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


here = pytest.mark.usefixtures("reloads_here")


@pytest.mark.parametrize(
    "fixture", ["reloads_here", pytest.param("tmp_path", marks=pytest.mark.slow, id="new process")]
)
def test_any_batch_and_image_size_in_float32(fixture, model, rng, tmp_path, request):
    request.getfixturevalue(fixture)
    path = ka.export.export_saved_model(model, tmp_path / "served", tolerance=1e-6)
    served = tf.saved_model.load(path)
    for shape in ((1, 28, 28, 1), (5, 17, 30, 1)):
        x = rng.uniform(size=shape).astype("float32")
        outputs = served.serve(x).numpy()
        assert outputs.dtype == np.float32
        np.testing.assert_allclose(outputs, model(x), atol=1e-6)
    assert list(served.signatures) == ["serve", "serve_bytes", "serving_default"]
    assert [item.name for item in tmp_path.iterdir()] == ["served"], "no temporary files"


@pytest.mark.slow
@here
def test_half_precision_features_are_served_in_float32(rng, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    inputs = keras.Input((12, 12, 1))
    model = keras.Model(inputs, ka.layers.TargetLayer(4, 3)(inputs))
    assert model.output.dtype == "bfloat16"
    served = tf.saved_model.load(ka.export.export_saved_model(model, tmp_path / "served"))
    assert served.serve(rng.uniform(size=(2, 12, 12, 1)).astype("float32")).dtype == tf.float32


class Doubled(keras.Model):
    def call(self, inputs):
        return inputs * 2.0


@here
def test_subclassed_models(rng, tmp_path):
    x = rng.normal(size=(4, 3)).astype("float32")
    model = Doubled()
    expected = model(x)
    served = tf.saved_model.load(ka.export.export_saved_model(model, tmp_path / "served", inputs=x))
    np.testing.assert_allclose(served.serve(x), expected, atol=1e-6)


@here
def test_named_inputs(rng, tmp_path):
    inputs = {"b": keras.Input((3,), name="b"), "a": keras.Input((3,), name="a")}
    model = keras.Model(inputs, inputs["a"] - inputs["b"])
    served = tf.saved_model.load(ka.export.export_saved_model(model, tmp_path / "served"))
    x = rng.normal(size=(4, 3)).astype("float32")
    np.testing.assert_allclose(served.serve({"a": x, "b": 2 * x}), -x, atol=1e-6)


def test_subclassed_models_need_inputs(rng, tmp_path):
    model = Doubled()
    model(rng.normal(size=(4, 3)))
    with pytest.raises(ValueError, match="`inputs` must be given"):
        ka.export.export_saved_model(model, tmp_path / "served")


def test_existing_path_is_not_changed(model, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("keep")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="must be new"):
            ka.export.export_saved_model(model, tmp_path / "mine", overwrite=overwrite)
    assert (tmp_path / "mine" / "file").read_text() == "keep"


@here
def test_overwrite_replaces_a_saved_model_at_a_relative_path(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "saved_model.pb").write_text("old")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        ka.export.export_saved_model(model, "served")
    written = ka.export.export_saved_model(model, "served", overwrite=True)
    assert written == tmp_path / "served"
    assert tf.saved_model.load(tmp_path / "served").serve is not None
    assert [item.name for item in tmp_path.iterdir()] == ["served"]


def test_different_outputs_raise_and_leave_no_files(model, tmp_path, monkeypatch):
    def different(path, calls, folder):
        return {endpoint: [np.full((2, 3), 0.5, "float32")] for endpoint in calls}

    monkeypatch.setattr(saved_model, "outputs_in_new_process", different)
    with pytest.raises(RuntimeError, match="differ from the model's by"):
        ka.export.export_saved_model(model, tmp_path / "served")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_nan_outputs_raise(model, tmp_path, monkeypatch):
    nan = {"serve": [np.full((2, 3), np.nan)]}
    monkeypatch.setattr(saved_model, "outputs_in_new_process", lambda *args: nan)
    with pytest.raises(RuntimeError, match="differ"):
        ka.export.export_saved_model(model, tmp_path / "served")


def test_error_of_the_new_process(model, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model, "_SERVING_PROGRAM", "raise SystemExit('no TensorFlow here')")
    with pytest.raises(RuntimeError, match="does not load: no TensorFlow here"):
        ka.export.export_saved_model(model, tmp_path / "served")
    assert list(tmp_path.iterdir()) == []


def test_models_must_be_built(tmp_path):
    with pytest.raises(ValueError, match="must be built"):
        ka.export.export_saved_model(keras.Sequential([keras.layers.Dense(2)]), tmp_path / "a")


@pytest.mark.slow
@here
@pytest.mark.parametrize("fused", [True, False])
def test_san_fused_and_plain(fused, rng, tmp_path):
    model = ka.applications.LeNet5((None, None, 1), attention="san-d", include_top=False)
    path = ka.export.export_saved_model(model, tmp_path / "served", fused=fused)
    graph = (path / "saved_model.pb").read_bytes()
    compiled = tf.saved_model.load(path).serve.concrete_functions[0].graph.as_graph_def()
    must = [f.attr["_XlaMustCompile"].b for f in compiled.library.function]
    assert any(must) == fused
    assert graph


every_attention = pytest.mark.parametrize(
    "attention", cross_section(["san-d", "cbam", "bam"], fast={"cbam"})
)


@every_attention
def test_litert(attention, tmp_path):
    model, path = ka.applications.LeNet5(attention=attention), tmp_path / "model.tflite"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        ka.export.export_litert(model, path)
    assert path.read_bytes() == b"old"
    ka.export.export_litert(model, path, overwrite=True)
    assert path.read_bytes() != b"old"
    assert len(list(tmp_path.iterdir())) == 1


@every_attention
def test_onnx(attention, tmp_path):
    model = ka.applications.LeNet5(attention=attention)
    assert ka.export.export_onnx(model, tmp_path / "model.onnx").is_file()


def test_regrouped_layers_go_to_onnx(tmp_path):
    """Their fixed rectangles are of steps of training; the file has whole maps."""
    layer = ka.layers.TargetLayer(4, 3)
    model = keras.Sequential([keras.Input((16, 16, 1)), layer])
    layer.center.assign([[0.2, 0.2, 0.8, 0.8]] * 2)
    layer.scale.assign([[0.25] * 4] * 2)
    layer.regroup(layer.plan_groups(fixed_shapes=True, cost=FREE))
    assert len(layer.slice_groups) > 1
    assert ka.export.export_onnx(model, tmp_path / "model.onnx").is_file()


@pytest.mark.parametrize("kind", ["adapted", "given", "function", "padding"])
def test_onnx_of_constants_and_padding(kind, rng, tmp_path):
    """Tensors that the graph captures, and padding before a convolution with its own padding."""
    layers = keras.layers
    adapted = layers.Normalization()
    adapted.adapt(rng.uniform(0, 255, (4, 12, 10, 3)))
    offset = keras.ops.convert_to_tensor([0.5, 1.0, 2.0])
    first = {
        "adapted": adapted,
        "given": layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0]),
        "function": lambda x: keras.ops.subtract(x, offset),
        "padding": lambda x: keras.ops.pad(x, [[0, 0], [2, 1], [1, 3], [0, 0]]),
    }[kind]
    inputs = keras.Input((12, 10, 3))
    x = layers.Conv2D(6, 3, padding="same")(first(inputs))
    network = keras.Model(inputs, layers.BatchNormalization()(x))
    compact = ka.surgery.compact(ka.surgery.to_targeted(network))
    assert ka.export.export_onnx(compact, tmp_path / "compact.onnx").is_file()


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Activation("gelu"),
        keras.layers.Conv2D(4, 3, groups=2, padding="same"),
        keras.layers.Conv2D(8, (2, 3), groups=4, strides=2, activation="gelu"),
        keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
        keras.layers.SeparableConv2D(6, 3, padding="same"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_onnx_of_layers_without_conversion_in_tf2onnx(layer, tmp_path):
    model = keras.Sequential(
        [keras.Input((9, 8, 4)), keras.layers.Conv2D(4, 1, name="first"), layer]
    )
    assert ka.export.export_onnx(model, tmp_path / "model.onnx").is_file()


def resizing(sides, interpolation):
    inputs = keras.Input((sides[0], 8, 3))
    x = keras.ops.image.resize(inputs, (sides[1], 8), interpolation=interpolation)
    return keras.Model(inputs, keras.layers.Conv2D(4, 1)(x))


@pytest.mark.parametrize(
    ("sides", "interpolation"),
    [
        *(((old, new), "bilinear") for old, new in ((20, 18), (37, 35), (9, 7), (3, 7), (8, 16))),
        *(((old, new), "nearest") for old, new in ((37, 35), (9, 7), (3, 7), (8, 16))),
    ],
    ids=str,
)
def test_onnx_of_resizing(sides, interpolation, tmp_path):
    """18 / 20 in float32, times 20, is less than 18."""
    model = resizing(sides, interpolation)
    assert ka.export.export_onnx(model, tmp_path / "model.onnx").is_file()


@pytest.mark.parametrize("interpolation", ["nearest", "bicubic"])
def test_onnx_of_resizing_that_the_runtime_computes_otherwise(interpolation, tmp_path):
    with pytest.raises(RuntimeError, match="differ from the model's"):
        ka.export.export_onnx(resizing((20, 18), interpolation), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("sides", [(20, 18), (37, 35), (9, 7), (10, 3)], ids=str)
def test_onnx_of_maps_that_shrink_between_layers(sides, tmp_path):
    old, new = sides
    inputs = keras.Input((old, 8, 3))
    y = keras.layers.Conv2D(4, (old - new + 1, 1))(inputs)
    model = keras.Model(inputs, ka.layers.SANBlock(smoothing="depthwise")([inputs, y]))
    assert ka.export.export_onnx(model, tmp_path / "model.onnx").is_file()


def test_onnx_names_missing_packages(model, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="keras-cnn-attention"):
        ka.export.export_onnx(model, tmp_path / "model.onnx")


@pytest.mark.slow
@here
def test_attention_and_predictions(rng, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    options = {"attention_depth": 2, "attention_width": 3, "weight_decay": 0.0}
    model = ka.applications.WARN(10, 0.25, input_shape=(None, None, 3), **options)
    path = ka.export.export_saved_model(model, tmp_path / "served", attention=True)
    served = tf.saved_model.load(path)
    names = ["predictions", "rectify_gates", "rectify_masks1", "rectify_masks2"]
    assert sorted(served.signatures["serving_default"].structured_outputs) == names
    x = rng.uniform(size=(5, 24, 16, 3)).astype("float32")
    outputs = served.serve(x)
    assert all(tensor.dtype == tf.float32 for tensor in outputs.values())
    assert [outputs[name].shape[1:] for name in names] == [(10,), (3,), (6, 4, 3), (12, 8, 3)]
    np.testing.assert_allclose(outputs["predictions"], model(x), atol=5e-2)


@pytest.mark.parametrize("kind", cross_section(["litert", "onnx"], fast={"onnx"}))
def test_attention_in_a_single_file(kind, tmp_path):
    model = ka.applications.ClutteredCNN(2, input_shape=(16, 16, 1), filters=2, units=4)
    export = getattr(ka.export, f"export_{kind}")
    assert export(model, tmp_path / "model", attention=True).is_file()


def test_attention_requires_a_model_with_attention(tmp_path):
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="a call option `return_attention`"):
        ka.export.export_saved_model(plain, tmp_path / "a", attention=True)


@pytest.mark.slow
@here
def test_softmax_of_log_probabilities(rng, tmp_path):
    options = {"classifier_activation": None, "weight_decay": 0.0}
    trained = ka.applications.WARN(10, 0.25, 1, input_shape=(16, 16, 3), **options)
    model = keras.Model(trained.input, keras.ops.softmax(trained.output))
    served = tf.saved_model.load(ka.export.export_saved_model(model, tmp_path / "served"))
    x = rng.uniform(size=(3, 16, 16, 3)).astype("float32")
    np.testing.assert_allclose(tf.reduce_sum(served.serve(x), axis=1), 1.0, atol=1e-6)
    assert not np.allclose(tf.reduce_sum(tf.exp(trained(x)), axis=1), 1.0, atol=1e-4)
