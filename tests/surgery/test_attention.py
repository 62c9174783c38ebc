import itertools

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.harness import EAGERLY, ON_TENSORFLOW, cross_section, slow_on_jax

L = keras.layers
numpy = keras.ops.convert_to_numpy


def plain():
    """Convolution, normalization and activation apart; pooling; a flat top."""
    inputs = keras.Input((12, 10, 2), name="pixels")
    x = L.Conv2D(4, 3, padding="same", name="a")(inputs)
    x = L.ReLU(name="a_relu")(L.BatchNormalization(name="a_bn")(x))
    x = L.Conv2D(6, 5, padding="same", activation="relu", name="b")(x)
    x = L.MaxPooling2D(name="pool")(x)
    x = L.Conv2D(8, 1, name="c")(x)
    x = L.Flatten()(x)
    return keras.Model(inputs, L.Dense(3, activation="softmax")(x), name="plain")


def residual():
    """A stage with a projection, a stride behind padding, and squeeze and excitation."""
    inputs = keras.Input((16, 16, 3))
    x = L.Conv2D(4, 3, padding="same", activation="relu", name="stem")(inputs)
    shortcut = L.Conv2D(8, 1, name="projection")(x)
    y = L.Conv2D(8, 3, padding="same", activation="relu", name="first")(x)
    y = L.BatchNormalization(name="second_bn")(L.Conv2D(8, 3, padding="same", name="second")(y))
    squeezed = L.GlobalAveragePooling2D(keepdims=True)(y)
    squeezed = L.Conv2D(8, 1, activation="sigmoid", name="excite")(squeezed)
    y = L.Multiply()([y, squeezed])
    x = L.ReLU(name="out")(L.Add()([shortcut, y]))
    x = L.ZeroPadding2D(name="padding")(x)
    x = L.Conv2D(8, 3, strides=2, activation="relu", name="down")(x)
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, L.Dense(2)(x), name="residual")


def nested():
    inner = keras.Sequential(
        [keras.Input((12, 12, 3)), L.Conv2D(4, 3, name="inside"), L.MaxPooling2D()], name="inner"
    )
    inputs = keras.Input((12, 12, 3))
    x = L.GlobalAveragePooling2D()(L.Conv2D(4, 3, name="outside")(inner(inputs)))
    return keras.Model(inputs, x, name="nested")


def attention_layers(model):
    return [layer.name for layer in model.layers if layer.name.endswith("_attention")]


def read_by(model, name):
    layer = model.get_layer(f"{name}_attention")
    return [tensor._keras_history.operation.name for tensor in layer.input]


def test_insertion_points():
    model = ka.surgery.add_attention(plain(), "san-c")
    assert attention_layers(model) == ["b_attention", "c_attention"]
    assert read_by(model, "b") == ["a_relu", "b"]
    assert model.get_layer("b_attention").kernel_size == (5, 5)
    assert model.get_layer("c_attention").kernel_size == 3  # 1x1 would smooth nothing
    model = ka.surgery.add_attention(plain(), "san-d", "full")
    assert attention_layers(model) == ["a_relu_attention", "b_attention", "c_attention"]
    assert read_by(model, "a_relu") == ["pixels", "a_relu"]
    assert read_by(model, "b") == ["a_relu_attention", "b"]
    assert model.get_layer("b_attention").dilation_rate == 4


def test_insertion_points_in_a_residual_network():
    model = ka.surgery.add_attention(residual(), "san-c", smoothing="depthwise")
    # Not in squeeze-and-excitation branches.
    assert attention_layers(model) == ["out_attention", "down_attention"]
    assert read_by(model, "out") == ["first", "out"]  # of the longer branch
    assert read_by(model, "down") == ["out_attention", "down"]  # what was before the padding
    assert model.get_layer("out_attention").smoothing == "depthwise"
    full = ka.surgery.add_attention(residual(), "cbam", "full", reduction=2)
    assert set(attention_layers(full)) == {
        f"{name}_attention" for name in ("stem", "projection", "first", "second_bn", "down")
    }


KINDS = ["san-c", "san-d", "cbam", "bam"] if ON_TENSORFLOW else ["san-c"]
FAST = [
    (plain, "full", "san-c"),
    (residual, "bottleneck", "san-d"),
    (nested, "full", "cbam"),
    (plain, "bottleneck", "bam"),
]


@pytest.mark.parametrize(
    ("make", "placement", "kind"),
    cross_section(
        itertools.product([plain, residual, nested], ["bottleneck", "full"], KINDS), FAST
    ),
)
def test_old_weights_and_their_order_are_kept(make, placement, kind, rng):
    model = make()
    before = [weight.copy() for weight in model.get_weights()]
    new = ka.surgery.add_attention(model, kind, placement, identity=True)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    kept = [w for w in new.weights if "attention" not in w.path]
    assert [w.name for w in kept] == [w.name for w in model.weights]
    for weight, old in zip(kept, before, strict=True):
        np.testing.assert_array_equal(numpy(weight), old)
    x = rng.uniform(size=(2, *model.input_shape[1:])).astype("float32")
    np.testing.assert_allclose(numpy(new(x)), numpy(model(x)), atol=1e-6)
    names = [[x._keras_history.operation.name for x in m.inputs] for m in (new, model)]
    assert names[0] == names[1]


def test_an_identity_learns(rng):
    model = ka.surgery.add_attention(plain(), "san-c", identity=True)
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.SGD(0.05), loss, run_eagerly=EAGERLY)
    x, y = rng.uniform(size=(8, 12, 10, 2)), np.arange(8) % 3
    layer = model.get_layer("b_attention")
    kernel = numpy(layer.kernel).copy()
    losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert not np.array_equal(numpy(layer.kernel), kernel)


def test_files_and_nested_models(rng, tmp_path):
    model = ka.surgery.add_attention(nested(), "bam", reduction=2)
    assert attention_layers(model) == ["outside_attention"]
    assert attention_layers(model.get_layer("inner")) == ["inside_attention"]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = rng.uniform(size=(2, 12, 12, 3)).astype("float32")
    np.testing.assert_array_equal(numpy(loaded(x)), numpy(model(x)))


def test_a_sequential_model_and_a_shared_layer(rng):
    shared = L.Conv2D(3, 3, padding="same", name="shared")
    model = keras.Sequential([keras.Input((8, 8, 3)), shared, L.MaxPooling2D(), L.Flatten()])
    new = ka.surgery.add_attention(model, "san-c")
    assert attention_layers(new) == ["shared_attention"]
    inputs = keras.Input((8, 8, 3))
    twice = keras.Model(inputs, L.Flatten()(shared(shared(inputs))))
    new = ka.surgery.add_attention(twice, "san-c", "full")
    assert attention_layers(new) == ["shared_attention"]
    assert "shared_attention_2" in [layer.name for layer in new.layers]


@pytest.mark.slow
def test_twice_in_the_same_model():
    once = ka.surgery.add_attention(plain(), "cbam", "full")
    twice = ka.surgery.add_attention(once, "bam", "full")
    names = [layer.name for layer in twice.layers if "attention" in layer.name]
    assert names.count("b_attention") == names.count("b_attention_2") == 1


def test_mixed_precision_and_channels_first(rng):
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.config.set_image_data_format("channels_first")
    inputs = keras.Input((3, 8, 9))
    x = L.MaxPooling2D()(L.Conv2D(4, 3, padding="same", name="a")(inputs))
    model = keras.Model(inputs, x)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
    layer = ka.surgery.add_attention(model, "san-c").get_layer("a_attention")
    assert (layer.data_format, layer.compute_dtype) == ("channels_first", "bfloat16")


@slow_on_jax
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet50", "MobileNetV2", "EfficientNetB0"])
def test_models_of_keras_applications(name, rng):
    builder = getattr(keras.applications, name)
    model = builder(weights=None, input_shape=(32, 32, 3), classes=4)
    new = ka.surgery.add_attention(model, "bam", "full", identity=True)
    kept = [w.path for w in new.weights if "attention" not in w.path]
    assert kept == [w.path for w in model.weights]
    bottleneck = ka.surgery.add_attention(model, "san-c", smoothing="depthwise")
    assert len(attention_layers(bottleneck)) == 4  # the last map is of one pixel here


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (plain, ("se",), "Received: name='se'"),
        (plain, ("san-c", "top"), "Received: placement='top'"),
        (plain, ("cbam",), None),
        (lambda: "model", ("cbam",), "Received: model='model'"),
        (lambda: keras.Model(*[keras.Input((3,))] * 2), ("cbam",), "without one"),
        (lambda: keras.Sequential([keras.Input((9, 4)), L.LSTM(3)]), ("san-c",), "without one"),
    ],
)
def test_bad_arguments(make, arguments, message):
    if message is None:  # CBAM fits thin layers by itself
        ka.surgery.add_attention(make(), *arguments)
        message = "Received: reduction=16"
        with pytest.raises(ValueError, match=message):
            ka.surgery.add_attention(make(), *arguments, reduction=16)
        return
    with pytest.raises(ValueError, match=message):
        ka.surgery.add_attention(make(), *arguments)
