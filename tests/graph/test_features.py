import keras
import numpy as np
import pytest

from keras_attention.graph.classifier import outputs_probabilities
from keras_attention.graph.features import feature_extractor, names_before, split_model
from keras_attention.graph.functional import flatten_nested

layers = keras.layers


def nested():
    """A model in a sequential one, with normalization that moves in training."""
    keras.utils.set_random_seed(0)
    images = keras.Input((6, 6, 2), name="images")
    x = layers.Conv2D(3, 3, padding="same", name="first")(images)
    x = layers.BatchNormalization(name="norm")(x)
    skip = layers.Conv2D(3, 1, name="skip")(images)
    inner = keras.Model(images, layers.Add(name="sum")([x, skip]), name="inner")
    ends = [layers.GlobalAveragePooling2D(name="mean"), layers.Dense(4, name="top")]
    return keras.Sequential([keras.Input((6, 6, 2)), inner, layers.ReLU(name="relu"), *ends])


def images(rng):
    return keras.ops.convert_to_tensor(rng.normal(size=(3, 6, 6, 2)).astype("float32"))


def test_features_are_outputs_of_layers(rng):
    model, x = nested(), images(rng)
    outputs, (first, relu) = feature_extractor(model, ["first", "relu"])(x)
    inner = model.get_layer("inner")
    np.testing.assert_allclose(outputs, model(x), rtol=1e-6)
    np.testing.assert_allclose(first, inner.get_layer("first")(x), rtol=1e-6)
    np.testing.assert_allclose(relu, np.maximum(inner(x), 0), rtol=1e-6)


def test_without_outputs_later_layers_are_left_out():
    layers_called = [
        layer.name for layer in feature_extractor(nested(), ["first"], with_outputs=False).layers
    ]
    assert "top" not in layers_called
    assert "first" in layers_called


def test_a_split_model_computes_the_same(rng):
    model, x = nested(), images(rng)
    first, second = split_model(model, ["first", "relu"], at="sum")
    features, lower = first(x)
    outputs, upper = second([features, x])
    whole, (at_first, at_relu) = feature_extractor(model, ["first", "relu"])(x)
    for one, other in ((outputs, whole), (lower[0], at_first), (upper[0], at_relu)):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_layer_is_before_itself():
    assert names_before(nested(), ["relu", "sum", "norm"], "sum") == ["sum", "norm"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("firts", "Did you mean 'first'"), ("zzzz", "Maps before reductions: relu")],
)
def test_an_unknown_name_suggests_similar_ones(name, hint):
    with pytest.raises(ValueError, match=hint):
        feature_extractor(nested(), [name])


def test_a_layer_called_twice_is_refused():
    images, shared = keras.Input((4, 4, 2)), layers.Conv2D(2, 1, name="shared")
    model = keras.Model(images, shared(shared(images)))
    with pytest.raises(ValueError, match="called 2 times"):
        feature_extractor(model, ["shared"])


def test_a_subclassed_model_is_refused():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="functional or sequential"):
        feature_extractor(Own(), ["x"])


@pytest.mark.parametrize("training", [False, True])
def test_flattened_layers_train_when_the_model_does(rng, training):
    """A nested model called with `training=False` behaves as Keras defines it."""
    inner = nested().get_layer("inner")
    outside = keras.Input((6, 6, 2))
    model = keras.Model(outside, inner(outside, training=False))
    flat, x = flatten_nested(model), images(rng)
    np.testing.assert_allclose(flat(x, training=training), model(x, training=training), rtol=1e-5)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([layers.Dense(3)], False),
        ([layers.Dense(3, activation="softmax")], True),
        ([layers.Dense(3), layers.Softmax()], True),
        ([layers.Dense(3, activation="softmax"), layers.Activation("linear")], True),
        ([layers.Dense(3, activation="softmax"), layers.Dense(3)], False),
        ([layers.Dense(3, activation="sigmoid")], False),
        ([keras.Sequential([layers.Dense(3), layers.Activation("softmax")])], True),
    ],
)
def test_probabilities_are_what_a_softmax_ends(ends, expected):
    assert outputs_probabilities(keras.Sequential([keras.Input((5,)), *ends])) is expected


def test_an_operation_of_softmax_counts():
    inputs = keras.Input((5,))
    assert outputs_probabilities(keras.Model(inputs, keras.ops.softmax(inputs)))
