"""Grad-CAM heat maps, compared with their closed form and with independent gradients."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.harness import ON_TENSORFLOW

L = keras.layers


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def network(activation, classes=4, shape=(8, 6, 3), data_format="channels_last", **options):
    """A linear classifier on the mean of the map "map"."""
    inputs = keras.Input(shape, name="image")
    x = L.Conv2D(5, 3, padding="same", data_format=data_format, name="first")(inputs)
    x = L.Conv2D(7, 3, strides=2, padding="same", data_format=data_format, name="map")(x)
    x = L.GlobalAveragePooling2D(data_format=data_format)(x)
    outputs = L.Dense(classes, activation, name="top", **options)(x)
    return keras.Model(inputs, outputs, name="network")


def closed_form(maps, kernel, classes, sign=None):
    """`ReLU(sum_k w_kc A_k / (h w))`: the gradient of the mean is `w_kc / (h w)` everywhere."""
    pixels = maps.shape[1] * maps.shape[2]
    weights = kernel[:, classes].T / pixels
    weights = weights if sign is None else weights * np.asarray(sign)[:, None]
    return np.maximum(np.einsum("bhwc,bc->bhw", maps, weights), 0.0)


def maps_and_kernel(model, images):
    maps = to_numpy(keras.Model(model.input, model.get_layer("map").output)(images))
    return maps, to_numpy(model.get_layer("top").kernel)


@pytest.mark.parametrize("activation", ["softmax", None, "sigmoid"])
def test_closed_form(activation, rng):
    """The score is the logit, also of a softmax: probabilities have other gradients."""
    images = rng.normal(size=(3, 8, 6, 3)).astype("float32")
    model = network(activation)
    maps, kernel = maps_and_kernel(model, images)
    best = to_numpy(model(images)).argmax(axis=-1)
    options = {} if activation else {"from_logits": True}
    np.testing.assert_allclose(
        ka.inspect.grad_cam(model, images, **options), closed_form(maps, kernel, best), atol=1e-6
    )
    np.testing.assert_allclose(
        ka.inspect.grad_cam(model, images, "map", 2),
        closed_form(maps, kernel, [2, 2, 2]),
        atol=1e-6,
    )
    found = ka.inspect.grad_cam(model, images, "map", np.array([0, 3, 1]))
    np.testing.assert_allclose(found, closed_form(maps, kernel, [0, 3, 1]), atol=1e-6)
    assert found.shape == (3, 4, 3)
    assert found.dtype == np.float32
    assert found.max() > 0.0


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_unit_has_two_classes(activation, rng):
    images = rng.normal(size=(4, 8, 6, 3)).astype("float32")
    model = network(activation, classes=1)
    maps, kernel = maps_and_kernel(model, images)
    logits = maps.mean(axis=(1, 2)) @ kernel[:, 0]
    signs = {1: np.ones(4), 0: -np.ones(4), None: np.where(logits > 0, 1.0, -1.0)}
    for class_index, sign in signs.items():
        np.testing.assert_allclose(
            ka.inspect.grad_cam(model, images, class_index=class_index),
            closed_form(maps, kernel, [0] * 4, sign),
            atol=1e-6,
        )


@pytest.mark.parametrize(
    "end",
    [
        lambda x: L.Softmax()(x),
        lambda x: L.Activation("softmax")(x),
        lambda x: keras.ops.softmax(x),
        lambda x: L.Reshape((4,))(L.Activation("softmax", dtype="float32")(x)),
        lambda x: keras.Sequential([keras.Input((4,)), L.Dropout(0.5), L.Softmax()])(x),
    ],
)
def test_softmax_of_its_own(end, rng):
    images = rng.normal(size=(2, 8, 6, 3)).astype("float32")
    plain = network(None)
    model = keras.Model(plain.input, end(plain.output))
    expected = ka.inspect.grad_cam(plain, images, class_index=1)
    assert expected.max() > 0.0
    np.testing.assert_allclose(
        ka.inspect.grad_cam(model, images, class_index=1), expected, atol=1e-6
    )


@pytest.fixture
def float64():
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


@pytest.mark.skipif(not ON_TENSORFLOW, reason="JAX has no float64 by default")
def test_earlier_layers_have_the_gradients_of_finite_differences(rng, float64):
    images = rng.normal(size=(1, 8, 6, 3))
    inputs = keras.Input((8, 6, 3))
    x = L.Conv2D(2, 3, activation="tanh", name="first")(inputs)
    rest_inputs = keras.Input((6, 4, 2))
    rest = keras.Model(
        rest_inputs, L.Dense(3)(L.Flatten()(L.Conv2D(4, 3, activation="tanh")(rest_inputs)))
    )
    model = keras.Model(inputs, rest(x))
    maps = keras.ops.convert_to_numpy(keras.Model(inputs, x)(images))
    gradient = np.zeros_like(maps)
    for index in np.ndindex(*maps.shape):
        change = np.zeros_like(maps)
        change[index] = 1e-5
        pair = [keras.ops.convert_to_numpy(rest(maps + sign * change))[0, 2] for sign in (1, -1)]
        gradient[index] = (pair[0] - pair[1]) / 2e-5
    weights = gradient.mean(axis=(1, 2))
    expected = np.maximum(np.einsum("bhwc,bc->bhw", maps, weights), 0.0)
    found = ka.inspect.grad_cam(model, images, "first", 2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_nested_layers_and_paths(rng):
    images = rng.normal(size=(2, 8, 6, 3)).astype("float32")

    def branch(name):
        inputs = keras.Input((8, 6, 3))
        return keras.Model(inputs, L.Conv2D(4, 3, name="conv")(inputs), name=name)

    inputs = keras.Input((8, 6, 3))
    left, right = branch("left"), branch("right")
    pooled = L.GlobalAveragePooling2D()(L.Add(name="sum")([left(inputs), 2.0 * right(inputs)]))
    model = keras.Model(inputs, L.Dense(3, "softmax", name="top")(pooled))
    kernel = to_numpy(model.get_layer("top").kernel)
    for name, factor, part in (("left/conv", 1.0, left), ("right/conv", 2.0, right)):
        expected = closed_form(to_numpy(part(images)), factor * kernel, [1, 1])
        np.testing.assert_allclose(ka.inspect.grad_cam(model, images, name, 1), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"name of '.*/conv', '.*/conv'. Use one of these paths"):
        ka.inspect.grad_cam(model, images, "conv")


def test_several_inputs(rng):
    images = rng.normal(size=(2, 8, 6, 3)).astype("float32")
    extra = rng.normal(size=(2, 5)).astype("float32")
    one = network(None)
    more = keras.Input((5,), name="more")
    outputs = L.Activation("softmax")(one.output + L.Dense(4, name="extra")(more))
    model = keras.Model({"image": one.input, "more": more}, outputs)
    found = ka.inspect.grad_cam(model, {"image": images, "more": extra}, class_index=0)
    maps, kernel = maps_and_kernel(one, images)
    np.testing.assert_allclose(found, closed_form(maps, kernel, [0, 0]), atol=1e-6)


def test_several_outputs(rng):
    images = rng.normal(size=(2, 8, 6, 3)).astype("float32")
    one = network(None)
    model = keras.Model(one.input, [one.output, L.Flatten()(one.get_layer("first").output)])
    maps, kernel = maps_and_kernel(one, images)
    found = ka.inspect.grad_cam(model, images, class_index=0, output=0)
    np.testing.assert_allclose(found, closed_form(maps, kernel, [0, 0]), atol=1e-6)
    with pytest.raises(ValueError, match="`output` must be the index of one of the 2 outputs"):
        ka.inspect.grad_cam(model, images)


def test_half_precision(rng):
    images = rng.normal(size=(2, 8, 6, 3)).astype("float32")
    keras.config.set_dtype_policy("mixed_float16")
    model = network("softmax", dtype="float32")
    maps, kernel = maps_and_kernel(model, images)
    found = ka.inspect.grad_cam(model, images, class_index=1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, closed_form(maps, kernel, [1, 1]), rtol=2e-2, atol=1e-3)


def test_channels_first(rng):
    images = rng.normal(size=(2, 3, 8, 6)).astype("float32")
    model = network("softmax", shape=(3, 8, 6), data_format="channels_first")
    maps, kernel = maps_and_kernel(model, images)
    expected = closed_form(np.moveaxis(maps, 1, -1), kernel, [1, 1])
    np.testing.assert_allclose(
        ka.inspect.grad_cam(model, images, class_index=1), expected, atol=1e-6
    )


def test_maps_of_logits_are_summed(rng):
    """In segmentation the score is the sum over the positions of a class."""
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    inputs = keras.Input((5, 6, 3))
    x = L.Conv2D(4, 3, padding="same", name="map")(inputs)
    model = keras.Model(inputs, L.Conv2D(3, 1, activation="softmax", name="top")(x))
    maps = to_numpy(keras.Model(inputs, x)(images))
    kernel = to_numpy(model.get_layer("top").kernel)[0, 0]
    expected = np.maximum(maps @ kernel[:, 2], 0.0)
    np.testing.assert_allclose(
        ka.inspect.grad_cam(model, images, class_index=2), expected, atol=1e-5
    )


def test_the_last_call_of_a_shared_layer(rng):
    images = rng.normal(size=(2, 8, 6, 3)).astype("float32")
    shared, inputs = L.Conv2D(3, 3, padding="same", name="shared"), keras.Input((8, 6, 3))
    first = shared(inputs)
    last = shared(first)
    model = keras.Model(inputs, L.Dense(3, "softmax", name="top")(L.GlobalAveragePooling2D()(last)))
    maps = to_numpy(shared(shared(images)))
    expected = closed_form(maps, to_numpy(model.get_layer("top").kernel), [1, 1])
    np.testing.assert_allclose(ka.inspect.grad_cam(model, images, "shared", 1), expected, atol=1e-6)


def test_subclassed_models(rng):
    class Small(keras.Model):
        def __init__(self):
            super().__init__()
            self.map = L.Conv2D(4, 3, name="map")
            self.top = L.Dense(3, "softmax", name="top")

        def call(self, inputs):
            return self.top(keras.ops.mean(self.map(inputs), axis=(1, 2)))

    model, images = Small(), rng.normal(size=(2, 8, 6, 3)).astype("float32")
    model(images)
    expected = closed_form(to_numpy(model.map(images)), to_numpy(model.top.kernel), [1, 1])
    np.testing.assert_allclose(ka.inspect.grad_cam(model, images, "map", 1), expected, atol=1e-6)


def test_rectified_predictions_have_log_probabilities(rng):
    """Probabilities that are no softmax of logits: the score is their logarithm."""
    model = ka.applications.build("ClutteredCNN", input_shape=(20, 20, 1), attention_depth=1)
    found = ka.inspect.grad_cam(model, rng.uniform(size=(1, 20, 20, 1)), class_index=1)
    assert np.isfinite(found).all()
    assert len(found.shape) == 3


@pytest.mark.skipif(not ON_TENSORFLOW, reason="slow compilation of a wide network")
def test_training_state_is_unchanged(rng):
    model = keras.Sequential([keras.Input((8, 6, 3)), L.Conv2D(4, 3), L.BatchNormalization()])
    model = keras.Sequential([model, L.GlobalAveragePooling2D(), L.Dropout(0.5), L.Dense(2)])
    model.build((None, 8, 6, 3))
    before = [to_numpy(variable) for variable in model.variables]
    found = ka.inspect.grad_cam(model, rng.normal(size=(2, 8, 6, 3)))
    assert found.shape == (2, 6, 4)
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, to_numpy(variable))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "top"}, r"output of shape \(B, H, W, channels\), such as 'map'. .*layer='top'"),
        ({"layer": "mop"}, r"Received: 'mop'. Did you mean .*'map'"),
        ({"layer": 3}, "Received: layer=3"),
        ({"class_index": 4}, "integer from 0 to 3, .* Received: class_index=4"),
        ({"class_index": -1}, "Received: class_index=-1"),
        ({"class_index": [0, 1]}, "one for each of the 3 images"),
        ({"class_index": 0.5}, "Received: class_index=0.5"),
        ({"output": 1}, "Received: output=1"),
        ({"from_logits": "no"}, "Received: from_logits='no'"),
        ({"images": np.zeros((3, 8, 6, 1))}, r"Received: images.shape=\(3, 8, 6, 1\)"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ka.inspect.grad_cam(
            **{"model": network("softmax"), "images": np.zeros((3, 8, 6, 3)), **arguments}
        )


def test_models_without_maps_or_with_unknown_outputs():
    dense = keras.Sequential([keras.Input((4, 4, 1)), L.Flatten(), L.Dense(2)])
    with pytest.raises(ValueError, match="must have a feature map"):
        ka.inspect.grad_cam(dense, np.zeros((1, 4, 4, 1)))
    inputs = keras.Input((8, 6, 3))
    x = L.GlobalAveragePooling2D()(L.Conv2D(3, 3)(inputs))

    unknown = keras.Model(inputs, keras.ops.softmax(x) * keras.ops.sigmoid(x))
    with pytest.raises(ValueError, match="`from_logits` must be True or False"):
        ka.inspect.grad_cam(unknown, np.zeros((1, 8, 6, 3)))
    found = ka.inspect.grad_cam(unknown, np.zeros((1, 8, 6, 3)), from_logits=False)
    assert found.shape == (1, 6, 4)
