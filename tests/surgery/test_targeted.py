import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.surgery import to_targeted
from tests.harness import cross_section, slow_on_jax

L = keras.layers
BACKBONES = {
    "VGG16": "block2_conv1",
    "ResNet50": "conv3_block2_2_conv",
    "EfficientNetB0": "block2b_expand_conv",
}


@pytest.mark.slow
@slow_on_jax
@pytest.mark.parametrize(("name", "layer"), BACKBONES.items())
def test_backbones_compute_window_times_the_original(name, layer, rng):
    backbone = getattr(keras.applications, name)(
        weights=None, include_top=False, input_shape=(48, 40, 3)
    )
    targeted = to_targeted(backbone, [layer], roi="full")
    x = rng.uniform(size=(2, 48, 40, 3)).astype("float32")
    extractor = keras.Model(backbone.input, backbone.get_layer(layer).output)
    new_extractor = keras.Model(targeted.input, targeted.get_layer(layer).output)
    original = extractor.predict(x, verbose=0)
    window = targeted.get_layer(layer).attention_window(*original.shape[1:3])
    expected = original * keras.ops.convert_to_numpy(window)
    np.testing.assert_allclose(new_extractor.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5)
    assert targeted.output_shape == backbone.output_shape


@slow_on_jax
@pytest.mark.parametrize("name", cross_section(["CNN6", "DN10"], fast={"CNN6"}))
def test_every_convolution_keeps_its_weights(name, rng):
    model = ka.applications.build(name, input_shape=(12, 12, 1))
    before = [weight.copy() for weight in model.get_weights()]
    targeted = to_targeted(model, window="gaussian", scale_regularizer="l2")
    for layer in model.layers:
        new = targeted.get_layer(layer.name)
        assert isinstance(new, ka.layers.TargetLayer) == isinstance(layer, L.Conv2D)
        for weight, old in zip(new.get_weights(), layer.get_weights(), strict=False):
            np.testing.assert_array_equal(weight, old)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    assert len(targeted.losses) > len(model.losses)


def test_wide_windows_change_nothing_that_matters(rng, tmp_path):
    """A model inside a model, a shared layer, bias and activation; trained, saved and loaded."""
    shared = L.Conv2D(4, 3, padding="same", activation="relu", bias_initializer="ones")
    inner_inputs = keras.Input((8, 8, 4))
    inner = keras.Model(inner_inputs, shared(shared(inner_inputs)), name="inner")
    inputs = keras.Input((8, 8, 1))
    x = inner(L.Conv2D(4, 1, padding="same", name="first")(inputs))
    model = keras.Model(inputs, L.Dense(2)(L.GlobalAveragePooling2D()(x)))
    targeted = to_targeted(model, roi="full")
    for layer in targeted._flatten_layers():
        if isinstance(layer, ka.layers.TargetLayer):
            layer.scale.assign(np.full(layer.scale.shape, 1e4))  # a window of ones
    images = rng.normal(size=(3, 8, 8, 1)).astype("float32")
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(targeted.predict(images, verbose=0), expected, atol=1e-5)
    targeted.compile("sgd", "mse")
    targeted.fit(images, np.zeros((3, 2)), verbose=0)
    targeted.save(tmp_path / "targeted.keras")
    loaded = keras.saving.load_model(tmp_path / "targeted.keras")
    np.testing.assert_array_equal(
        loaded.predict(images, verbose=0), targeted.predict(images, verbose=0)
    )


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["fist"], "Received: 'fist'. Did you mean 'first'"),
        (["strided"], "Received: 'strided' with strides="),
        (["valid"], "Received: 'valid' with padding='valid'"),
        (["grouped"], "Received: 'grouped' with groups=2"),
        (["dense"], "must name Conv2D layers .*'dense', which is a Dense"),
        (["wrapped"], "'wrapped', which is inside of another layer"),
    ],
)
def test_layers_that_cannot_be_turned(layers, message):
    model = keras.Sequential(
        [
            keras.Input((9, 9, 2)),
            L.Conv2D(2, 3, padding="same", name="first"),
            L.Conv2D(2, 3, padding="same", strides=2, name="strided"),
            L.Conv2D(2, 3, name="valid"),
            L.Conv2D(2, 3, padding="same", groups=2, name="grouped"),
            L.SpectralNormalization(L.Conv2D(2, 3, padding="same", name="wrapped")),
            L.Dense(2, name="dense"),
        ]
    )
    with pytest.raises(ValueError, match=message):
        to_targeted(model, layers)


def test_models_without_convolutions():
    with pytest.raises(ValueError, match="must contain a Conv2D layer"):
        to_targeted(keras.Sequential([keras.Input((3,)), L.Dense(2)]))
    with pytest.raises(ValueError, match="functional or sequential"):
        to_targeted(keras.Sequential([L.Dense(2)]))


def random_images(rng, side=9):
    return rng.uniform(size=(3, side, side, 2)).astype("float32")


def two_blocks(**options):
    inputs = keras.Input((9, 9, 2))
    x = L.Conv2D(4, 3, padding="same", activation="relu", name="first", **options)(inputs)
    x = L.MaxPooling2D()(x)
    inner_inputs = keras.Input((4, 4, 4))
    inner = L.Conv2D(4, 1, name="second")(inner_inputs)  # valid, which equals same
    inner = L.AveragePooling2D(2)(inner)
    inner = L.Conv2D(4, 3, padding="same", name="third")(inner)
    x = keras.Model(inner_inputs, inner, name="inner")(x)
    return keras.Model(inputs, L.Dense(2)(L.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("roi", ["slice", "mask", "full"])
def test_identity_starts_with_the_old_outputs(roi, rng, tmp_path):
    model, x = two_blocks(), random_images(rng)
    targeted = to_targeted(model, identity=True, roi=roi)
    for layer in targeted._flatten_layers():
        if isinstance(layer, ka.layers.TargetLayer):
            layer.scale.assign(rng.uniform(0.1, 0.4, layer.scale.shape))
    np.testing.assert_allclose(targeted(x), model(x), atol=1e-6)
    targeted.compile(keras.optimizers.SGD(0.05), "mse")
    before = targeted.get_layer("first").get_weights()
    losses = targeted.fit(x, np.ones((3, 2)), epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert 0.0 <= float(targeted.get_layer("first").share) <= 1.0
    assert len(before) == 5
    targeted.save(tmp_path / "targeted.keras")
    loaded = keras.saving.load_model(tmp_path / "targeted.keras")
    np.testing.assert_allclose(loaded(x), targeted(x), atol=1e-6)


def test_identity_becomes_the_window(rng):
    """With a share of 1 the layer is an ordinary target layer, regions of interest included."""
    x = random_images(rng)
    plain, layer = (
        ka.layers.TargetLayer(6, 3, identity=identity, roi="slice") for identity in (False, True)
    )
    plain(x)
    layer(x)
    for one in (plain, layer):
        one.kernel.assign(rng.normal(size=one.kernel.shape))
    layer.kernel.assign(plain.kernel)
    scale = rng.uniform(0.1, 0.3, plain.scale.shape)
    plain.scale.assign(scale)
    layer.scale.assign(scale)
    assert layer.rois(9, 9).tolist() == [[[0, 9], [0, 9]]] * 6
    layer.share.assign(1.0)
    np.testing.assert_array_equal(layer.rois(9, 9), plain.rois(9, 9))
    np.testing.assert_allclose(layer(x), plain(x), atol=1e-6)
    assert layer.macs((1, 9, 9, 2)) == plain.macs((1, 9, 9, 2))


def test_penalty_grows_where_the_map_gets_smaller():
    targeted = to_targeted(two_blocks(), scale_regularizer=keras.regularizers.L2(0.5), beta=3.0)
    inner = targeted.get_layer("inner")
    layers = [targeted.get_layer("first"), inner.get_layer("second"), inner.get_layer("third")]
    assert [float(layer.scale_regularizer.l2) for layer in layers] == [0.5, 1.5, 4.5]
    regularizer = keras.regularizers.OrthogonalRegularizer()
    with pytest.raises(ValueError, match="Received: scale_regularizer="):
        to_targeted(two_blocks(), scale_regularizer=regularizer, beta=2.0)


def test_constraints_and_activity_regularizers_are_kept(rng):
    model = two_blocks(kernel_constraint="non_neg", activity_regularizer=keras.regularizers.L2(0.1))
    targeted = to_targeted(model, identity=True)
    layer = targeted.get_layer("first")
    assert isinstance(layer.kernel_constraint, keras.constraints.NonNeg)
    x = random_images(rng)
    losses = []
    for one in (model, targeted):
        one.compile("sgd", "mse")
        losses.append(one.evaluate(x, np.zeros((3, 2)), verbose=0))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert layer.get_config()["activity_regularizer"] is not None


def test_lora_is_merged(rng):
    model, x = two_blocks(), random_images(rng)
    layer = model.get_layer("first")
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(rng.normal(size=layer.lora_kernel_b.shape))
    np.testing.assert_allclose(to_targeted(model, identity=True)(x), model(x), atol=1e-5)


def test_a_path_to_a_nested_layer():
    targeted = to_targeted(two_blocks(), ["inner/third"])
    kinds = [isinstance(layer, ka.layers.TargetLayer) for layer in targeted._flatten_layers()]
    assert sum(kinds) == 1


def test_nested_models_that_were_never_called_otherwise(rng):
    """A model in a Sequential model in a Sequential model."""
    deepest = keras.Sequential([keras.Input((6, 6, 4)), L.Conv2D(4, 3, padding="same")])
    middle = keras.Sequential([keras.Input((12, 12, 4)), L.MaxPooling2D(), deepest])
    first = L.Conv2D(4, 3, padding="same")
    model = keras.Sequential([keras.Input((12, 12, 3)), first, middle, L.GlobalMaxPooling2D()])
    x = rng.uniform(size=(2, 12, 12, 3)).astype("float32")
    targeted = ka.surgery.to_targeted(model, identity=True, scale_regularizer="l2", beta=4.0)
    np.testing.assert_array_equal(targeted(x), model(x))
    targets = [each for each in targeted._flatten_layers() if hasattr(each, "rois")]
    assert [float(each.scale_regularizer.l2) for each in targets] == pytest.approx([0.01, 0.04])
