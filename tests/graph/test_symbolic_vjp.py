"""The rules compute what the layers compute, and the gradients of the backend."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention import backend
from keras_attention.graph.symbolic_vjp import SymbolicVJP, UnusualLayerError
from keras_attention.graph.vjp_rules import GRADIENTS_WITH_NORMS
from tests.harness import cross_section

layers = keras.layers

TOPS = {
    "convolution, maximum": lambda: [
        layers.Conv2D(5, 4, 2, activation="relu"),
        layers.GlobalMaxPooling2D(),
        layers.Dense(3, activation="softmax"),
    ],
    "same, softplus": lambda: [
        layers.Conv2D(5, 3, 2, padding="same", activation="softplus"),
        layers.GlobalMaxPooling2D(),
        layers.Dense(3),
    ],
    "strides over kernel": lambda: [
        layers.Conv2D(5, 2, 3, activation="elu"),
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.Conv2D(3, 1),
        layers.Flatten(),
    ],
    "normalized": lambda: [
        layers.Conv2D(5, 3, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.GlobalMaxPooling2D(keepdims=True),
        layers.Reshape((5,)),
        layers.Dense(3),
        layers.BatchNormalization(scale=False),
        layers.Softmax(),
    ],
    "pooled": lambda: [
        layers.Conv2D(4, (3, 2), padding="same"),
        layers.MaxPooling2D(2),
        layers.LeakyReLU(),
        layers.AveragePooling2D((3, 2), 1),
        layers.Dropout(0.5),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="silu"),
    ],
    "overlapping windows": lambda: [
        layers.MaxPooling2D(3, 2),
        layers.ZeroPadding2D(((1, 0), (2, 1))),
        layers.Conv2D(4, 2, activation="sigmoid"),
        layers.Activation("tanh"),
        layers.GlobalMaxPooling2D(),
        layers.Dense(3),
    ],
    "maximum of products": lambda: [layers.Dense(5), layers.GlobalMaxPooling2D(), layers.Dense(3)],
    "maximum of maxima": lambda: [
        layers.Conv2D(5, 2),
        layers.MaxPooling2D(2),
        layers.GlobalMaxPooling2D(),
        layers.Dense(3),
    ],
    "maximum of probabilities": lambda: [
        layers.Conv2D(5, 2, activation="softmax"),
        layers.ZeroPadding2D(1),
        layers.GlobalMaxPooling2D(),
        layers.Dense(3),
    ],
    "maximum alone": lambda: [layers.GlobalMaxPooling2D(), layers.Dense(3)],
    "pointwise products": lambda: [
        layers.Conv2D(1, 1, activation="tanh"),
        layers.Conv2D(3, 1),
        layers.Softmax(),
        layers.GlobalAveragePooling2D(),
    ],
    "a model inside": lambda: [
        keras.Sequential([keras.Input((9, 8, 2)), layers.Conv2D(4, 3, activation="relu")]),
        layers.GlobalMaxPooling2D(),
        layers.Dense(3),
    ],
}
every_top = pytest.mark.parametrize("top", TOPS)


def model_of(top, shape=(9, 8, 2)):
    inputs = x = keras.Input(shape)
    for layer in TOPS[top]():
        x = layer(x)
    model = keras.Model(inputs, x)
    generator = np.random.default_rng(1)
    for weight in model.weights:
        values = generator.normal(size=weight.shape) * 0.5
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def compare(model, x, weights):
    symbolic_vjp = SymbolicVJP(model)
    values = symbolic_vjp.forward(x)
    (output,) = symbolic_vjp.outputs(values)
    np.testing.assert_allclose(output, model(x), atol=1e-5)
    expected = backend.input_gradient(lambda inputs: model(inputs) * weights, x)
    found = symbolic_vjp.backward(values, [ops.convert_to_tensor(weights)])
    np.testing.assert_allclose(found, expected, atol=1e-6)


@every_top
def test_gradients_equal_those_of_the_backend(top, rng):
    x = ops.convert_to_tensor(rng.normal(size=(3, 9, 8, 2)).astype("float32"))
    compare(model_of(top), x, rng.normal(size=(3, 3)).astype("float32"))


@every_top
def test_gradients_without_fused_operations(top, rng):
    x = ops.convert_to_tensor(rng.normal(size=(3, 9, 8, 2)).astype("float32"))
    with backend.fusion_disabled():
        compare(model_of(top), x, rng.normal(size=(3, 3)).astype("float32"))


@pytest.mark.parametrize("top", [name for name in TOPS if name != "a model inside"])
@pytest.mark.parametrize("fused", cross_section([True, False], fast=[True]))
@pytest.mark.skipif(backend.BACKEND != "tensorflow", reason="sizes are known in tracing")
def test_dynamic_sizes(top, fused, rng):
    import tensorflow as tf

    model = model_of(top, (None, None, 2))
    symbolic_vjp = SymbolicVJP(model)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 2))], autograph=False)
    def gradient(x):
        values = symbolic_vjp.forward(x)
        ones = [ops.ones_like(output) for output in symbolic_vjp.outputs(values)]
        if fused:
            return symbolic_vjp.backward(values, ones)
        with backend.fusion_disabled():
            return symbolic_vjp.backward(values, ones)

    for sides in ((9, 8), (12, 11), (10, 13)):
        x = tf.constant(rng.normal(size=(2, *sides, 2)).astype("float32"))
        expected = backend.input_gradient(model, x)
        np.testing.assert_allclose(gradient(x), expected, atol=1e-5)


@every_top
def test_norms_equal_those_of_the_dense_gradient(top, rng):
    model, x = model_of(top), ops.convert_to_tensor(rng.normal(size=(3, 9, 8, 2)).astype("float32"))
    symbolic_vjp = SymbolicVJP(model)
    values = symbolic_vjp.forward(x)
    upstream = [ops.convert_to_tensor(rng.normal(size=(3, 3)).astype("float32"))]
    gradient = symbolic_vjp.sparse_backward(values, upstream)
    if isinstance(gradient, GRADIENTS_WITH_NORMS):
        whole = symbolic_vjp.backward(values, upstream)
        expected = np.square(np.asarray(whole)).sum(-1)
        np.testing.assert_allclose(gradient.squared_norms(), expected, atol=1e-5)
    if top == "pointwise products":
        assert isinstance(gradient, GRADIENTS_WITH_NORMS)


def test_equal_maxima_share_the_gradient():
    model = keras.Sequential([keras.Input((2, 2, 1)), layers.GlobalMaxPooling2D()])
    x = ops.reshape(ops.convert_to_tensor([1.0, 3.0, 3.0, 2.0]), (1, 2, 2, 1))
    symbolic_vjp = SymbolicVJP(model)
    gradient = symbolic_vjp.backward(symbolic_vjp.forward(x), [ops.ones((1, 1))])
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[0.0, 0.5], [0.5, 0.0]])


def test_gradients_of_several_outputs_add_up(rng):
    inputs = keras.Input((4,))
    shared = layers.Dense(3, activation="tanh")(inputs)
    model = keras.Model(inputs, [layers.Dense(2)(shared), layers.Dense(2)(shared), shared])
    x = ops.convert_to_tensor(rng.normal(size=(2, 4)).astype("float32"))
    symbolic_vjp = SymbolicVJP(model)
    values = symbolic_vjp.forward(x)
    outputs = symbolic_vjp.outputs(values)
    found = symbolic_vjp.backward(values, [ops.ones_like(outputs[0]), None, ops.ones((2, 3))])
    expected = backend.input_gradient(lambda y: ops.sum(model(y)[0]) + ops.sum(model(y)[2]), x)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(4, 2, groups=2),
        layers.Conv2D(4, 2, dilation_rate=2),
        layers.Conv2D(4, 2, activation="mish"),
        layers.DepthwiseConv2D(2),
        layers.MaxPooling2D(2, padding="same"),
        layers.BatchNormalization(axis=1),
        layers.ReLU(max_value=6.0),
        layers.Softmax(axis=1),
        layers.Conv2D(4, 2, data_format="channels_first"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_unusual_layers_are_left_to_the_backend(layer):
    with pytest.raises(UnusualLayerError, match=r"has|is not|does not|pools"):
        SymbolicVJP(keras.Sequential([keras.Input((4, 4, 2)), layer]))


def test_quantized_layers(rng):
    """int8 kernels are dequantized; other types are left to the backend."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    kernel = model.layers[-1].get_weights()[0]
    model.layers[-1].quantize("int8")
    x, gradient = rng.normal(size=(2, 4)), rng.normal(size=(2, 3))
    vjp = SymbolicVJP(model)
    values = vjp.forward(x.astype("float32"))
    step = np.max(np.abs(kernel)) / 127
    np.testing.assert_allclose(
        vjp.outputs(values)[0], x @ kernel, atol=step * np.abs(x).sum(axis=1).max()
    )
    found = vjp.backward(values, [gradient.astype("float32")])
    bound = step * np.abs(gradient).sum(axis=1).max()
    np.testing.assert_allclose(found, gradient @ kernel.T, atol=bound)
    other = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    other.layers[-1].quantize("int4")
    with pytest.raises(UnusualLayerError, match="is quantized"):
        SymbolicVJP(other)


def test_merging_layers_are_left_to_the_backend():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Add()([inputs, inputs]))
    with pytest.raises(UnusualLayerError, match="reads several tensors"):
        SymbolicVJP(model)
