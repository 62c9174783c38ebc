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
        (plain, ("ran",), "a recurrent layer"),
        (plain, ("san-c", "top"), "Received: placement='top'"),
        (plain, ("cbam",), None),
        (lambda: "model", ("cbam",), "Received: model='model'"),
        (lambda: keras.Model(*[keras.Input((3,))] * 2), ("cbam",), "without one"),
        (lambda: keras.Sequential([keras.Input((9, 4)), L.LSTM(3)]), ("san",), "without one"),
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


def names_with(kind, model):
    return [layer.name for layer in model._flatten_layers() if isinstance(layer, kind)]


def test_chosen_layers(rng):
    model = ka.surgery.add_attention(nested(), "cbam", layers=["inner/inside", "outside"])
    assert names_with(ka.layers.CBAM, model) == ["inside_attention", "outside_attention"]
    model = ka.surgery.add_attention(plain(), "san-d", layers=["a_bn"], identity=True)
    assert attention_layers(model) == ["a_bn_attention"]
    assert read_by(model, "a_bn") == ["pixels", "a_bn"]
    x = rng.uniform(size=(2, 12, 10, 2)).astype("float32")
    for name, message in (("c1", "Did you mean"), ("flatten", "return feature maps")):
        flat = L.Flatten(name="flatten")
        inputs = keras.Input((12, 10, 2))
        other = keras.Model(inputs, flat(L.Conv2D(2, 3, name="c2")(inputs)))
        with pytest.raises(ValueError, match=message):
            ka.surgery.add_attention(other, "cbam", layers=[name])
    assert model(x).shape == (2, 3)


@pytest.mark.slow
def test_once_per_residual_block(rng):
    model = ka.applications.ResNet18(input_shape=(16, 16, 3), classes=3, width=4, stem="cifar")
    for name, kind in (("cbam", ka.layers.CBAM), ("san-c", ka.layers.SANBlock)):
        new = ka.surgery.add_attention(model, name, "block", identity=True)
        assert len(names_with(kind, new)) == 8
        x = rng.uniform(size=(2, 16, 16, 3)).astype("float32")
        np.testing.assert_allclose(numpy(new(x)), numpy(model(x)), atol=1e-6)
    with pytest.raises(ValueError, match="a residual block"):
        ka.surgery.add_attention(plain(), "cbam", "block")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "blocks"),
    [("ResNet50", 16), ("ResNet50V2", 16), ("MobileNetV2", 10), ("EfficientNetB0", 9)],
)
def test_residual_blocks_of_keras_applications(name, blocks):
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3))
    new = ka.surgery.add_attention(model, "cbam", "block")
    assert len(names_with(ka.layers.CBAM, new)) == blocks


def unet():
    inputs = keras.Input((16, 16, 3), name="pixels")

    def two(x, filters, name):
        x = L.Conv2D(filters, 3, padding="same", activation="relu", name=f"{name}a")(x)
        return L.Conv2D(filters, 3, padding="same", activation="relu", name=f"{name}b")(x)

    first = two(inputs / 255.0, 4, "first")
    second = two(L.MaxPooling2D()(first), 6, "second")
    x = two(L.MaxPooling2D()(second), 8, "deepest")
    x = L.Conv2DTranspose(6, 2, 2, name="up1")(x)
    x = two(L.Concatenate()([x, second]), 6, "third")
    x = L.UpSampling2D(name="up2")(x)
    skip = L.Conv2D(4, 1, name="skip")(first)
    x = two(L.Concatenate()([x, skip]), 4, "fourth")
    return keras.Model(inputs, L.Conv2D(2, 1, activation="softmax", name="pixelwise")(x))


def test_encoders_get_attention_and_decoders_do_not(rng):
    model = ka.surgery.add_attention(unet(), "cbam", identity=True)
    assert attention_layers(model) == ["firstb_attention", "secondb_attention"]
    x = rng.uniform(0, 255, size=(2, 16, 16, 3)).astype("float32")
    np.testing.assert_allclose(numpy(model(x)), numpy(unet_of(model)(x)), atol=1e-6)
    # The skip connections read the attended maps.
    source = model.get_layer("skip").input._keras_history.operation
    assert source.name == "firstb_attention_rezero"


def unet_of(model):
    """The network without attention, with the weights of a network with it."""
    plain_model = unet()
    for layer in plain_model.layers:
        if layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return plain_model


def recurrent():
    inputs = keras.Input((12, 5), name="steps")
    x = L.LSTM(4, return_sequences=True, name="lstm1")(inputs)
    x = L.AveragePooling1D(2)(L.GRU(4, return_sequences=True, name="gru")(x))
    x = L.Bidirectional(L.LSTM(3, return_sequences=True), name="both")(x)
    return keras.Model(inputs, L.Dense(2)(L.LSTM(4, name="last")(x)))


@pytest.mark.parametrize(
    ("placement", "expected"),
    [("bottleneck", ["gru", "both"]), ("full", ["lstm1", "gru", "both"])],
)
def test_recurrent_networks(placement, expected, rng):
    model = recurrent()
    new = ka.surgery.add_attention(model, "san", placement, identity=True)
    assert attention_layers(new) == [f"{name}_attention" for name in expected]
    x = rng.normal(size=(2, 12, 5)).astype("float32")
    np.testing.assert_allclose(numpy(new(x)), numpy(model(x)), atol=1e-6)


def test_recurrent_attention_masks_the_inputs_of_cells(rng, tmp_path):
    model = recurrent()
    new = ka.surgery.add_attention(model, "ran", "full")
    for name in ("lstm1", "gru"):
        cell = new.get_layer(name).cell
        assert isinstance(cell, ka.layers.RecurrentAttention)
        old = model.get_layer(name).get_weights()
        for weight, expected in zip(cell.cell.get_weights(), old, strict=True):
            np.testing.assert_array_equal(weight, expected)
        cell.kernel.assign(np.zeros(cell.kernel.shape))
        cell.recurrent_kernel.assign(np.zeros(cell.recurrent_kernel.shape))
        cell.bias.assign(np.full(cell.bias.shape, 50.0))  # a mask of ones
    x = rng.normal(size=(2, 12, 5)).astype("float32")
    np.testing.assert_allclose(numpy(new(x)), numpy(model(x)), atol=1e-6)
    new.save(tmp_path / "model.keras")
    np.testing.assert_allclose(
        numpy(keras.saving.load_model(tmp_path / "model.keras")(x)), numpy(new(x)), atol=1e-6
    )
    with pytest.raises(ValueError, match="`identity` must be False"):
        ka.surgery.add_attention(model, "ran", identity=True)


def test_volumes(rng):
    inputs = keras.Input((6, 8, 6, 1))
    x = L.Conv3D(3, 3, padding="same", activation="relu", name="a")(inputs)
    x = L.Conv3D(4, 3, padding="same", activation="relu", name="b")(x)
    model = keras.Model(inputs, L.GlobalAveragePooling3D()(L.MaxPooling3D()(x)))
    new = ka.surgery.add_attention(model, "san-c", "full", identity=True)
    assert attention_layers(new) == ["a_attention", "b_attention"]
    x = rng.normal(size=(2, 6, 8, 6, 1)).astype("float32")
    np.testing.assert_allclose(numpy(new(x)), numpy(model(x)), atol=1e-6)


@pytest.mark.slow
def test_the_last_map_of_a_model_without_its_top_counts_as_reduced():
    def backbone(pooling):
        return ka.applications.ResNet18(
            input_shape=(32, 32, 3), include_top=False, pooling=pooling, width=4, stem="cifar"
        )

    found = [
        attention_layers(ka.surgery.add_attention(backbone(pooling), "cbam"))
        for pooling in (None, "avg")
    ]
    assert found[0] == found[1] != []
    rectified = [
        [tensor._keras_history.operation.name for tensor in keras.tree.flatten(head.input)[:2]]
        for head in (
            ka.surgery.add_attend_rectify(backbone(pooling), 2, 5).get_layer("rectify")
            for pooling in (None, "avg")
        )
    ]
    assert rectified[0] == rectified[1]
