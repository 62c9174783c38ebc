"""Checks of all layers and models, whose cases are in `layer_cases.py` and `model_cases.py`."""

import warnings

import keras
import numpy as np
import pytest
from hypothesis import settings
from keras.src.testing import TestCase

import keras_attention as ka
from keras_attention import backend

# JAX compiles every operation for every shape, so there are fewer examples there.
ON_TENSORFLOW = backend.BACKEND == "tensorflow"
slow_on_jax = pytest.mark.skipif(not ON_TENSORFLOW, reason="minutes of compilation")

# Tracing a graph takes longer than a few eager steps; other backends always compile.
EAGERLY = ON_TENSORFLOW
in_graphs_if_slow = pytest.mark.parametrize(
    "eagerly",
    [pytest.param(True, id="eager"), pytest.param(False, id="graph", marks=pytest.mark.slow)]
    if ON_TENSORFLOW
    else [False],
)


def cross_section(cases, fast):
    """Cases of a test, slow ones except those that are, or whose first value is, in `fast`."""
    parameters, fast = [], list(fast)  # cases may be unhashable
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        is_fast = case in fast or values[0] in fast
        parameters.append(pytest.param(*values, marks=() if is_fast else pytest.mark.slow))
    return parameters


def examples(count):
    """Settings of hypothesis with a number of examples; 2 on backends where each takes seconds."""
    return settings(max_examples=count if ON_TENSORFLOW else 2, deadline=None)


def run_keras_layer_test(case):
    """Keras's layer test: config, symbolic and eager calls, training, mixed precision."""
    TestCase().run_layer_test(
        getattr(ka.layers, case.name),
        init_kwargs=case.options(),
        input_shape=case.input_shape,
        expected_output_shape=case.output_shape,
        expected_num_trainable_weights=case.trainable_weights,
        expected_num_non_trainable_weights=case.non_trainable_weights,
        expected_num_seed_generators=0,
        expected_num_losses=case.num_losses,
        supports_masking=case.supports_masking,
        # Keras's training check does not support several inputs.
        run_training_check=not isinstance(case.input_shape, list),
    )


def model_of_layer(case, sides=None, **more):
    """A model of one layer; with `sides="any"` the spatial sizes are None."""
    inputs = case.inputs(sides)
    model = keras.Model(inputs, case.make(**more)(inputs))
    jitter(model)
    return model


def jitter(model):
    """Moves trainable weights away from their initial values, which are often symmetric."""
    generator = np.random.default_rng(1)
    for weight in model.trainable_weights:
        values, factors = weight.numpy(), generator.uniform(0.75, 0.95, weight.shape)
        # A kernel of zeros would block gradients.
        weight.assign(values * factors if values.any() else 0.1 * (factors - 0.85))


def without_dropout(model):
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    return model


def check_training_step(model, x, y, loss, rate=1e-3, idle=(), eagerly=False):
    """Checks that a step lowers the loss and changes every trainable weight except idle ones.

    Idle weights are biases before a normalization, which removes them.
    """
    model.compile(keras.optimizers.SGD(rate), loss, run_eagerly=eagerly)
    before = [weight.numpy().copy() for weight in model.trainable_weights]
    with warnings.catch_warnings():
        if idle:
            warnings.filterwarnings("ignore", "Gradients do not exist")
        first = model.train_on_batch(x, y)
    unchanged = [
        weight.path
        for weight, old in zip(model.trainable_weights, before, strict=True)
        if np.array_equal(weight.numpy(), old) and not weight.path.endswith(tuple(idle))
    ]
    assert not unchanged, f"no gradient reached {unchanged}"
    assert model.train_on_batch(x, y) < first


def value_and_gradients(layer, inputs, weights):
    """Outputs of a layer, and gradients of their weighted squares by inputs and weights."""
    if backend.BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            x = tf.constant(inputs)
            tape.watch(x)
            outputs = layer(x)
            loss = keras.ops.sum(keras.ops.square(outputs) * weights)
        variables = [variable.value for variable in layer.trainable_variables]
        return [outputs.numpy(), *(g.numpy() for g in tape.gradient(loss, [x, *variables]))]
    import jax

    def loss(values, x):
        outputs, _ = layer.stateless_call(values, [], x)
        return keras.ops.sum(keras.ops.square(outputs) * weights), outputs

    values = [variable.value for variable in layer.trainable_variables]
    gradients, outputs = jax.grad(loss, argnums=(0, 1), has_aux=True)(values, inputs)
    return [np.asarray(array) for array in (outputs, gradients[1], *gradients[0])]


def to_channels_first(arrays):
    return keras.tree.map_structure(lambda array: np.moveaxis(array, -1, 1), arrays)


def to_channels_last(array):
    return np.moveaxis(array, 1, -1)


def shapes(arrays):
    return keras.tree.map_structure(lambda array: array.shape, arrays)
