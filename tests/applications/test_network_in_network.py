"""NINThin and NINWide: the paper's numbers of parameters, and where normalization and ReLU are."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.harness import ON_TENSORFLOW, cross_section

SMALL = {"input_shape": (12, 10, 2), "classes": 3, "width": 0.1}


@pytest.mark.parametrize(
    ("name", "arguments", "parameters", "papers"),
    [
        ("NINThin", {}, 201_682, 0.2e6),
        ("NINThin", {"batch_normalization": False}, 200_914, 0.2e6),
        ("NINWide", {}, 994_290, 1e6),
        ("NINWide", {"batch_normalization": False}, 992_578, 1e6),
    ],
)
def test_parameters_of_the_paper(name, arguments, parameters, papers):
    model = ka.applications.build(name, **arguments)
    assert ka.inspect.trainable_parameters(model) == parameters
    assert parameters == pytest.approx(papers, rel=0.01)


@pytest.mark.parametrize("name", ["NINThin", "NINWide"])
def test_blocks_are_of_a_3x3_and_two_1x1_convolutions(name):
    model = ka.applications.build(name)
    found = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.kernel_size for layer in found] == [(3, 3), (1, 1), (1, 1)] * 3
    assert [layer.use_bias for layer in found] == [False] * 8 + [True]
    assert model.layers[-1].output is model.output
    assert not any(isinstance(layer, keras.layers.Dense) for layer in model.layers)


def test_without_normalization_convolutions_have_biases():
    model = ka.applications.NINThin(**SMALL, batch_normalization=False)
    kinds = [type(layer) for layer in model.layers]
    assert keras.layers.BatchNormalization not in kinds
    assert all(layer.use_bias for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    normalized = ka.applications.NINThin(**SMALL)
    kinds = [type(layer) for layer in normalized.layers]
    assert kinds.count(keras.layers.BatchNormalization) == 8


@pytest.mark.parametrize(
    ("arguments", "relu"),
    [
        ({}, True),
        ({"batch_normalization": False}, False),
        ({"relu_before_pool": False}, False),
        ({"batch_normalization": False, "relu_before_pool": True}, True),
    ],
    ids=str,
)
def test_relu_before_pools(arguments, relu, rng):
    """The layers for attention transfer are the inputs of pooling, and the last convolution."""
    model = ka.applications.NINThin(**SMALL, **arguments)
    names = [layer.name for layer in model.layers]
    layers = [model.get_layer(f"block{block}") for block in (1, 2, 3)]
    outputs = keras.Model(model.input, [layer.output for layer in layers])
    maps = outputs(rng.normal(size=(4, *SMALL["input_shape"])))
    for layer, values in zip(layers[:2], maps[:2], strict=True):
        assert (np.min(values) >= 0) == relu
        assert names[names.index(layer.name) + 1] == f"{layer.name}_pool"
        assert np.max(values) > 0
    assert np.min(maps[2]) < 0, "maps of classes have no ReLU"
    inner = {name for name in names if name.endswith("_relu")}
    assert len(inner) == 6, "all other convolutions have ReLU"


def test_logits_are_means_of_class_maps(rng):
    model = ka.applications.NINThin(**SMALL, classifier_activation=None)
    both = keras.Model(model.input, [model.output, model.get_layer("block3").output])
    logits, maps = both(rng.normal(size=(4, *SMALL["input_shape"])))
    np.testing.assert_allclose(logits, np.mean(maps, axis=(1, 2)), atol=1e-6)


@pytest.mark.parametrize("arguments", [{}, {"batch_normalization": False}], ids=str)
def test_weights_serve_every_size(arguments, rng):
    every = ka.applications.NINThin((None, None, 2), 3, width=0.1, **arguments)
    known = ka.applications.NINThin((9, 14, 2), 3, width=0.1, **arguments)
    known.set_weights(every.get_weights())
    x = rng.uniform(size=(2, 9, 14, 2)).astype("float32")
    np.testing.assert_allclose(every(x), known(x), atol=1e-6)


def test_decay_is_of_all_weights():
    for arguments in ({}, {"batch_normalization": False}):
        model = ka.applications.NINThin(**SMALL, **arguments)
        expected = sum(2.5e-4 * np.square(weight).sum() for weight in model.get_weights())
        if not arguments:  # running variances are 1 at first, and no weights to decay
            expected -= 2.5e-4 * sum(weight.numpy().sum() for weight in model.non_trainable_weights)
        assert sum(map(float, model.losses)) == pytest.approx(expected, rel=1e-4)
        assert not ka.applications.NINThin(**SMALL, **arguments, weight_decay=0).losses


def test_dropout_follows_the_pools():
    model = ka.applications.NINWide(**SMALL, dropout=0.5)
    found = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    before = [layer.input._keras_history.operation.name for layer in found]
    assert before == ["block1_pool", "block2_pool"]
    assert {layer.rate for layer in found} == {0.5}


@pytest.mark.skipif(not ON_TENSORFLOW, reason="written for TensorFlow's tapes")
@pytest.mark.parametrize("jit", cross_section([False, True], fast=[False]))
def test_gradients_have_gradients(jit, rng):
    """Section 4.1.3 learns from the gradient by the input: through convolutions and poolings."""
    import tensorflow as tf

    model = ka.applications.NINThin(**SMALL, batch_normalization=False, weight_decay=0)
    kernels = [layer.kernel.value for layer in model.layers if hasattr(layer, "kernel")]

    @tf.function(jit_compile=jit)
    def of_squared_gradient(images):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(images)
                loss = -tf.reduce_sum(tf.math.log(model(images)[:, 0]))
            squared = tf.reduce_sum(tf.square(inner.gradient(loss, images)))
        return outer.gradient(squared, kernels)

    x = tf.constant(rng.uniform(size=(4, *SMALL["input_shape"])), "float32")
    for gradient in of_squared_gradient(x):
        assert np.isfinite(gradient).all()
        assert np.any(gradient)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "Received: width=0"),
        ({"width": 0.01}, "at least 1 / 56, so that a channel is left. Received: width=0.01"),
        ({"batch_normalization": None}, "Received: batch_normalization=None"),
        ({"relu_before_pool": "no"}, "Received: relu_before_pool='no'"),
        ({"dropout": 1}, "Received: dropout=1"),
        ({"classes": 0}, "Received: classes=0"),
    ],
    ids=str,
)
def test_bad_options(arguments, message):
    with pytest.raises(ValueError, match=message):
        ka.applications.NINThin(**{**SMALL, **arguments})
