import keras
import numpy as np
import pytest

from keras_attention.graph.classifier import output_kind
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
        layer.name
        for layer in feature_extractor(nested(), ["first"], with_outputs=False)._flatten_layers()
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


def power(x):
    """Probabilities of a function that Keras does not know."""
    return keras.ops.exp(x) / keras.ops.sum(keras.ops.exp(x), axis=-1, keepdims=True)


def sharpen(x):
    """Probabilities of probabilities."""
    return x**2


def dense(activation=None):
    return layers.Dense(3, activation=activation)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([dense()], "logits"),
        ([dense("softmax")], "softmax"),
        ([dense(), layers.Softmax()], "softmax"),
        ([dense("softmax"), layers.Activation("linear")], "softmax"),
        ([dense("softmax"), dense()], "logits"),
        ([dense("sigmoid")], "sigmoid"),
        ([layers.Dense(1, activation="sigmoid")], "sigmoid"),
        ([dense("relu")], "logits"),
        ([keras.Sequential([dense(), layers.Activation("softmax")])], "softmax"),
        ([dense(keras.ops.softmax)], "softmax"),
        ([dense(power)], "softmax"),
        ([dense("hard_sigmoid")], "sigmoid"),
        ([dense("log_softmax")], "logits"),
        ([dense(), layers.Lambda(lambda x: keras.ops.softmax(x))], "softmax"),
        ([dense(), layers.Lambda(lambda x: x / 2.0)], "logits"),
        ([dense("softmax"), layers.Lambda(sharpen)], None),
        ([layers.Reshape((5, 1)), layers.TimeDistributed(dense("softmax"))], "softmax"),
        ([layers.Flatten()], None),
    ],
)
def test_kind_of_outputs(ends, expected):
    assert output_kind(keras.Sequential([keras.Input((5,)), *ends])) == expected


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: keras.ops.softmax(dense()(x)), "softmax"),
        (lambda x: keras.ops.sigmoid(dense()(x)), "sigmoid"),
        (lambda x: keras.ops.log(dense("softmax")(x)), "logits"),
        (lambda x: layers.Average()([dense("softmax")(x), dense("softmax")(x)]), "softmax"),
        (lambda x: layers.Average()([dense("softmax")(x), dense()(x)]), None),
        (lambda x: (dense("softmax")(x) + dense("softmax")(x)) / 2.0, None),
        (lambda x: dense()(x) + 3.0 * dense()(x), "logits"),
        (lambda x: dense("softmax")(x)[:, 1:], "softmax"),
        (lambda x: keras.ops.max(dense()(x), axis=-1, keepdims=True), "logits"),
    ],
)
def test_kind_of_operations(function, expected):
    inputs = keras.Input((5,))
    assert output_kind(keras.Model(inputs, function(inputs))) == expected
